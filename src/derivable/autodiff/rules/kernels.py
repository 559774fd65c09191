"""Kernels that generated programs call: selection, sums over broadcast axes, growing tapes, array derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.jit import kernel, ufunc

__all__ = [
    "accumulate",
    "add_outer",
    "cholesky_reverse",
    "cholesky_tangent",
    "cumprod_reverse",
    "cumprod_tangent",
    "latest",
    "narrow",
    "outer",
    "overlap",
    "pick",
    "prod_reverse",
    "reserve",
    "scatter",
    "scatter_diagonal",
    "scatter_mask",
    "unbroadcast",
    "unbroadcast_1",
    "unbroadcast_2",
    "unbroadcast_21",
    "wide",
]


@ufunc
def pick(c: Any, a: Any, b: Any) -> Any:
    """Return a where c holds and b elsewhere; Numba fuses it with the operations around it, unlike np.where."""
    return a if c else b


@kernel
def narrow(c: Any, like: Any) -> Any:
    """Tell, for each element of `like`, whether c holds anywhere where that element was broadcast to."""
    shape = np.broadcast_shapes(c.shape, like.shape)
    wide = np.broadcast_to(c, shape)
    out = np.zeros(like.size, np.bool_)
    lead = wide.ndim - like.ndim
    for index, value in np.ndenumerate(wide):
        if value:
            place = 0
            for axis in range(like.ndim):
                size = like.shape[axis]
                place = place * size + (index[lead + axis] if size != 1 else 0)
            out[place] = True
    return out.reshape(like.shape)


@kernel
def wide(x: Any, shape: Any) -> Any:
    """Return the elements of an array, broadcast to this shape, in one row."""
    if x.shape == shape:
        return x.ravel()
    values, size = x.ravel(), 1
    for k in shape:
        size *= k
    out = np.empty(size, x.dtype)
    extents, steps = np.empty(len(shape), np.int64), np.zeros(len(shape), np.int64)
    lead, step = len(shape) - x.ndim, 1
    for axis in range(len(shape) - 1, -1, -1):
        extents[axis] = shape[axis]
        if axis >= lead and x.shape[axis - lead] != 1:
            if x.shape[axis - lead] != shape[axis]:
                raise ValueError("an array cannot be broadcast to the shape of the array that it is added to")
            steps[axis] = step
            step *= shape[axis]
    if lead < 0:
        raise ValueError("an array cannot be broadcast to the shape of the array that it is added to")
    take(values, extents, steps, out)
    return out


@kernel
def take(values: Any, extents: Any, steps: Any, out: Any) -> None:
    """Fill `out`, an array of these extents, with the values at the places that the index times `steps` gives."""
    last = extents.shape[0] - 1
    index, place, start = np.zeros(last + 1, np.int64), 0, 0
    while start < out.shape[0]:
        for k in range(extents[last]):
            out[start + k] = values[place + k * steps[last]]
        start += extents[last]
        for axis in range(last - 1, -1, -1):  # the next row
            index[axis] += 1
            place += steps[axis]
            if index[axis] < extents[axis]:
                break
            place -= steps[axis] * extents[axis]
            index[axis] = 0


@kernel
def accumulate(total: Any, more: Any) -> None:
    """Do `total += more`, in a fraction of the time that this takes to compile for arrays of four axes."""
    values = wide(np.asarray(more), total.shape)
    flat = total.ravel()
    for k in range(flat.size):
        flat[k] += values[k]
    if flat.size and flat.ctypes.data != total.ctypes.data:  # a copy: the array does not lie in one piece
        for k, index in enumerate(np.ndindex(total.shape)):
            total[index] = flat[k]


@kernel
def unbroadcast(g: Any, shape: Any) -> Any:
    """Sum over the axes along which an array of this shape was repeated to the shape of `g`."""
    values = np.ascontiguousarray(g)
    size = 1
    for k in shape:
        size *= k
    if g.size == size:
        return values.reshape(shape)
    out = np.zeros(size, g.dtype)
    extents, steps = np.empty(g.ndim, np.int64), np.zeros(g.ndim, np.int64)
    lead, step = g.ndim - len(shape), 1
    for axis in range(g.ndim - 1, -1, -1):
        extents[axis] = g.shape[axis]
        if axis >= lead and shape[axis - lead] != 1:
            steps[axis] = step
            step *= shape[axis - lead]
    add_up(values.reshape(g.size), extents, steps, out)
    return out.reshape(shape)


@kernel
def add_up(values: Any, extents: Any, steps: Any, out: Any) -> None:
    """Add each value, of an array of these extents, to the place in `out` that its index times `steps` gives."""
    last = extents.shape[0] - 1
    index, place, start = np.zeros(last + 1, np.int64), 0, 0
    while start < values.shape[0]:
        if steps[last] == 0:
            for k in range(extents[last]):
                out[place] += values[start + k]
        else:  # the last axis lies in one piece
            for k in range(extents[last]):
                out[place + k] += values[start + k]
        start += extents[last]
        for axis in range(last - 1, -1, -1):  # the next row
            index[axis] += 1
            place += steps[axis]
            if index[axis] < extents[axis]:
                break
            place -= steps[axis] * extents[axis]
            index[axis] = 0


# The next three set their zeros by a loop, and compare instead of min: np.zeros and min would be half of what they
# take to compile.
@kernel
def unbroadcast_1(g: Any, shape: Any) -> Any:
    """Do what `unbroadcast` does, from one axis to one; the cases one and two compile in a third of its time."""
    if g.shape[0] == shape[0]:
        return g
    total = 0.0
    for k in range(g.shape[0]):
        total += g[k]
    out = np.empty(1, g.dtype)
    out[0] = total
    return out


@kernel
def unbroadcast_2(g: Any, shape: Any) -> Any:
    """Do what `unbroadcast` does, from two axes to two."""
    if g.shape[0] == shape[0] and g.shape[1] == shape[1]:
        return g
    out = np.empty((shape[0], shape[1]), g.dtype)
    for i in range(shape[0]):
        for j in range(shape[1]):
            out[i, j] = 0.0
    for i in range(g.shape[0]):
        for j in range(g.shape[1]):
            out[i if shape[0] > 1 else 0, j if shape[1] > 1 else 0] += g[i, j]
    return out


@kernel
def unbroadcast_21(g: Any, shape: Any) -> Any:
    """Do what `unbroadcast` does, from two axes to the last of them."""
    out = np.empty(shape[0], g.dtype)
    for j in range(shape[0]):
        out[j] = 0.0
    for i in range(g.shape[0]):
        for j in range(g.shape[1]):
            out[j if shape[0] > 1 else 0] += g[i, j]
    return out


@kernel
def outer(x: Any, y: Any) -> Any:
    """Return the matrix of the products x[i] * y[j], of one dtype; compiled in a tenth of the time of NumPy's."""
    out = np.empty((x.shape[0], y.shape[0]), x.dtype)
    for i in range(x.shape[0]):
        for j in range(y.shape[0]):
            out[i, j] = x[i] * y[j]
    return out


@kernel
def add_outer(total: Any, x: Any, y: Any) -> None:
    """Do `total += outer(x, y)` without the memory for the matrix."""
    if total.shape[0] != x.shape[0] or total.shape[1] != y.shape[0]:
        raise ValueError("an outer product has another shape than the matrix that it is added to")
    for i in range(x.shape[0]):
        for j in range(y.shape[0]):
            total[i, j] += x[i] * y[j]


@kernel
def overlap(a: Any, b: Any) -> bool:
    """Tell whether two arrays have an element in common."""
    if a.size == 0 or b.size == 0:
        return False
    low_a, high_a = bounds(a)
    low_b, high_b = bounds(b)
    if high_a <= low_b or high_b <= low_a:
        return False
    places = np.empty(a.size, np.int64)  # of one of the elements, in order; strides may interleave the arrays
    for k, index in enumerate(np.ndindex(a.shape)):
        places[k] = address(a, index)
    places.sort()
    for index in np.ndindex(b.shape):
        place = address(b, index)
        k = np.searchsorted(places, place + b.itemsize)
        if k > 0 and places[k - 1] + a.itemsize > place:
            return True
    return False


@kernel
def bounds(a: Any) -> tuple[int, int]:
    """Return the first address of an array's memory and the one behind its last."""
    low = a.ctypes.data
    high = low + a.itemsize
    for k in range(a.ndim):
        reach = a.strides[k] * (a.shape[k] - 1)
        if reach < 0:
            low += reach
        else:
            high += reach
    return low, high


@kernel
def address(a: Any, index: Any) -> int:
    """Return the address of an element."""
    place = a.ctypes.data
    for k in range(a.ndim):
        place += index[k] * a.strides[k]
    return place


@kernel
def reserve(tape: Any, room: int) -> Any:
    """Return the tape, or a longer copy of it if it has no room for so many entries."""
    if room <= tape.shape[0]:
        return tape
    longer = np.empty(max(room, 2 * tape.shape[0]), tape.dtype)
    for k in range(tape.shape[0]):  # to assign a slice takes Numba two seconds to compile
        longer[k] = tape[k]
    return longer


@kernel
def scatter(g: Any, index: Any, like: Any) -> Any:
    """Add g[k] to position index[k] of zeros like `like`: the transpose of `like[index]`."""
    out = np.zeros_like(like)
    for k in range(index.shape[0]):
        out[index[k]] += g[k]
    return out


@kernel
def latest(g: Any, index: Any, like: Any) -> Any:
    """Return g with 0 for each k whose index[k] comes again later: `like[index] = y` writes y[k] only to lose it."""
    out, written = g.copy(), np.zeros(like.shape[0], np.bool_)
    for k in range(index.shape[0] - 1, -1, -1):
        if written[index[k]]:
            out[k] = 0.0
        written[index[k]] = True
    return out


@kernel
def scatter_diagonal(g: Any, k: int, like: Any) -> Any:
    """Write g onto the diagonal k of zeros like `like`: the transpose of `np.diag(like, k)`."""
    out = np.zeros_like(like)
    for i in range(g.shape[0]):
        out[i + max(0, -k), i + max(0, k)] = g[i]
    return out


@kernel
def scatter_mask(g: Any, mask: Any, like: Any) -> Any:
    """Place g where the mask is true: the transpose of `like[mask]`."""
    out = np.zeros_like(like)
    flat, chosen = out.reshape(out.size), np.ascontiguousarray(mask).reshape(mask.size)
    width = out.size // max(1, mask.size)
    values = np.ascontiguousarray(g).reshape(g.size)
    k = 0
    for i in range(mask.size):
        if chosen[i]:
            for j in range(width):
                flat[i * width + j] = values[k * width + j]
            k += 1
    return out


@kernel
def prod_reverse(g: float, x: Any) -> Any:
    """Return g times the product of all other elements, for each element; right with zeros."""
    out = np.empty_like(x)
    source, target = x.flatten(), np.empty(x.size, x.dtype)
    before = 1.0
    for i in range(x.size):
        target[i] = g * before
        before *= source[i]
    after = 1.0
    for i in range(x.size - 1, -1, -1):
        target[i] *= after
        after *= source[i]
    out[:] = target.reshape(x.shape)
    return out


@kernel
def cumprod_reverse(g: Any, x: Any) -> Any:
    """Return the cotangent of x for z = cumprod(x); right with zeros, in n steps."""
    out = np.empty_like(x)
    n = x.shape[0]
    tail = np.empty(n, x.dtype)  # tail[i] = sum over k >= i of g[k] * x[i+1] ... x[k]
    total = 0.0
    for i in range(n - 1, -1, -1):
        total = g[i] + (total * x[i + 1] if i + 1 < n else 0.0)
        tail[i] = total
    before = 1.0
    for i in range(n):
        out[i] = before * tail[i]
        before *= x[i]
    return out


@kernel
def cumprod_tangent(x: Any, dx: Any) -> Any:
    """Return the tangent of cumprod(x)."""
    out = np.empty_like(x)
    value, tangent = 1.0, 0.0
    for i in range(x.shape[0]):
        tangent = tangent * x[i] + value * dx[i]
        value *= x[i]
        out[i] = tangent
    return out


@kernel
def cholesky_reverse(g: Any, z: Any) -> Any:
    """Return the cotangent of a symmetric x for z = cholesky(x) (Murray, arXiv 1602.07527)."""
    phi = np.tril(z.T @ np.tril(g))
    for i in range(z.shape[0]):
        phi[i, i] *= 0.5
    inverse = np.linalg.inv(z)
    full = inverse.T @ phi @ inverse
    return 0.5 * (full + full.T)


@kernel
def cholesky_tangent(dx: Any, z: Any) -> Any:
    """Return the tangent of cholesky(x) for a symmetric tangent dx."""
    inverse = np.linalg.inv(z)
    phi = np.tril(inverse @ (0.5 * (dx + dx.T)) @ inverse.T)
    for i in range(z.shape[0]):
        phi[i, i] *= 0.5
    return z @ phi
