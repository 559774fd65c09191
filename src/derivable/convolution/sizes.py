"""Sizes, strides and padding: from the arguments people write to three ints per axis.

A layer of 1, 2 or 3 dimensions is brought to a *normal form* of three spatial axes by axes of length 1 in front:
stride (2,) becomes (1, 1, 2). The kernels know only that form.

How an index outside the input is read, by `padding_mode`, for the input 1 2 3 4:

| mode | continued | what it is |
|---|---|---|
| `zeros` | 0 0 **1 2 3 4** 0 0 | nothing there |
| `reflect` | 3 2 **1 2 3 4** 3 2 | mirrored at the border's centre, the border not repeated |
| `symmetric` | 2 1 **1 2 3 4** 4 3 | mirrored at the border's edge (SciPy's `symm`) |
| `replicate` | 1 1 **1 2 3 4** 4 4 | the border repeated |
| `circular` | 3 4 **1 2 3 4** 1 2 | periodic (SciPy's `wrap`) |

All but `zeros` go on for ever: the mirrored ones have period 2n - 2 and 2n, so that any padding is defined.
"""

from __future__ import annotations

import functools
import numbers
from typing import Any, NamedTuple

import numpy as np

from derivable.jit import kernel
from derivable.validation import check_choice, check_count

__all__ = [
    "MODES",
    "Geometry",
    "extend",
    "extend_transposed",
    "extended_index",
    "geometry",
    "normal_sizes",
    "output_size",
    "per_axis",
]

Sizes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

MODES = {"zeros": 0, "reflect": 1, "replicate": 2, "circular": 3, "symmetric": 4}
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
PADDING_WORDS = ("valid", "same", "same_lower")


def per_axis(value: Any, name: str, dimensions: int, *, least: int = 1) -> Sizes:
    """Return one int per axis, from an int or a sequence of ints.

    Args:
        value: an int, or as many ints as there are dimensions.
        name: the argument's name, for the message.
        dimensions: the number of axes.
        least: the least allowed value.

    Returns:
        A tuple of ints.

    Raises:
        TypeError: if something in it is not an int.
        ValueError: if an int is less than `least` or their number is wrong.
    """
    if type(value) is int and value >= least:
        return (value,) * dimensions
    if isinstance(value, (str, bytes)) or (not isinstance(value, numbers.Integral) and not hasattr(value, "__len__")):
        raise TypeError(f"{name} must be an int or {dimensions} int(s), got {value!r}")
    if isinstance(value, (numbers.Integral, np.bool_)):
        return (check_count(value, name, least=least),) * dimensions
    if len(value) != dimensions:
        raise ValueError(f"{name} must be an int or have one int for each of {dimensions} axes, got {value!r}")
    return tuple(check_count(v, f"each {name}", least=least) for v in value)


def padding_pairs(
    padding: Any, dimensions: int, sizes: Sizes, extents: Sizes, stride: Sizes, *, name: str = "padding"
) -> Pairs:
    """Return the padding before and behind for each axis.

    Args:
        padding: an int, one int per axis, one pair per axis, or a word.
        dimensions: the number of axes.
        sizes: the input's sizes.
        extents: how far the kernel reaches: dilation * (kernel - 1) + 1 for each axis.
        stride: one for each axis.
        name: the argument's name, for the message.

    Returns:
        One pair (before, after) for each axis.
    """
    if type(padding) is int and padding >= 0:
        return ((padding, padding),) * dimensions
    if isinstance(padding, str):
        check_choice(padding, name, PADDING_WORDS)
        if padding == "valid":
            return ((0, 0),) * dimensions
        pairs = []
        for size, extent, step in zip(sizes, extents, stride, strict=True):
            total = max(0, (-(-size // step) - 1) * step + extent - size)
            small = total // 2
            pairs.append((small, total - small) if padding == "same" else (total - small, small))
        return tuple(pairs)
    if hasattr(padding, "__len__") and len(padding) == dimensions and all(hasattr(p, "__len__") for p in padding):
        for pair in padding:
            if len(pair) != 2:
                raise ValueError(f"each pair in {name} must be (before, after), got {pair!r}")
        return tuple(
            (check_count(a, f"each {name}", least=0), check_count(b, f"each {name}", least=0)) for a, b in padding
        )
    if hasattr(padding, "__len__") and any(hasattr(p, "__len__") for p in padding):
        raise ValueError(
            f"{name} must be an int, one int or one pair (before, after) for each of {dimensions} axes, "
            f"or one of {', '.join(map(repr, PADDING_WORDS))}, got {padding!r}"
        )
    return tuple((p, p) for p in per_axis(padding, name, dimensions, least=0))


class Geometry(NamedTuple):
    """Where a layer's kernel meets its input, in normal form: three ints each."""

    stride: Sizes
    before: Sizes
    after: Sizes
    dilation: Sizes
    out: Sizes


def geometry(sizes: Sizes, kernel_sizes: Sizes, stride: Any, padding: Any, dilation: Any) -> Geometry:
    """Return the normal form of stride, padding and dilation, and the output's sizes.

    Args:
        sizes: the input's sizes along the spatial axes.
        kernel_sizes: the kernel's.
        stride: an int or one per axis.
        padding: an int, one int or pair per axis, or a word.
        dilation: an int or one per axis.

    Returns:
        The geometry.

    Raises:
        TypeError: if one of them is of the wrong type.
        ValueError: if one of them is out of range or the kernel does not fit into the padded input.
    """
    # Keys of plain ints and str only: 1 and True are equal keys, and True must be refused.
    if type(stride) is int and type(dilation) is int and type(padding) in (int, str):
        return cached_geometry(sizes, kernel_sizes, stride, padding, dilation)
    return new_geometry(sizes, kernel_sizes, stride, padding, dilation)


def new_geometry(sizes: Sizes, kernel_sizes: Sizes, stride: Any, padding: Any, dilation: Any) -> Geometry:
    """Compute what `geometry` returns."""
    dimensions = len(sizes)
    strides = per_axis(stride, "stride", dimensions)
    dilations = per_axis(dilation, "dilation", dimensions)
    extents = tuple(d * (k - 1) + 1 for k, d in zip(kernel_sizes, dilations, strict=True))
    pairs = padding_pairs(padding, dimensions, sizes, extents, strides)
    out = []
    for axis, (size, extent, step, (before, after)) in enumerate(zip(sizes, extents, strides, pairs, strict=True)):
        if extent > size + before + after:
            raise ValueError(
                f"weight must fit into the padded input: along spatial axis {axis} it spans {extent} "
                f"(kernel size {kernel_sizes[axis]}, dilation {dilations[axis]}), the input "
                f"{size} + padding {before} + {after}"
            )
        out.append((size + before + after - extent) // step + 1)
    front = 3 - dimensions
    ones, zeros = (1,) * front, (0,) * front
    return Geometry(
        ones + strides,
        zeros + tuple(p[0] for p in pairs),
        zeros + tuple(p[1] for p in pairs),
        ones + dilations,
        ones + tuple(out),
    )


cached_geometry = functools.lru_cache(maxsize=1024)(new_geometry)


def normal_sizes(sizes: Sizes) -> Sizes:
    """Return sizes with ones in front, three in all."""
    return (1,) * (3 - len(sizes)) + tuple(sizes)


def output_size(
    input_size: int | Sizes,
    kernel_size: int | Sizes,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs | str = 0,
    dilation: int | Sizes = 1,
    *,
    transposed: bool = False,
    output_padding: int | Sizes = 0,
) -> int | Sizes:
    """Return how many outputs a convolution has along each axis.

    A kernel of size k and dilation d spans d (k - 1) + 1 inputs. It is laid on the padded input from the left and
    moved by the stride as long as it fits, which rounds down:

        floor((n + before + after - d (k - 1) - 1) / stride) + 1

    The transposed convolution goes back, to (n - 1) stride - before - after + d (k - 1) + 1 + output_padding. Since
    the floor sends `stride` sizes to one, `output_padding` says which of them is meant.

    Args:
        input_size: n, an int or one int per axis.
        kernel_size: k, an int or one int per axis.
        stride: an int or one per axis.
        padding: an int, one int or one pair (before, after) per axis, or "valid", "same", "same_lower".
        dilation: an int or one per axis.
        transposed: whether the convolution is transposed.
        output_padding: for the transposed one.

    Returns:
        An int if `input_size` and `kernel_size` are ints, else one int per axis.

    Raises:
        TypeError: if something that must be an int is not.
        ValueError: if something is out of range or the output would be empty.

    Examples:
        ```python
        import derivable as dv

        print(dv.output_size(224, 7, stride=2, padding=3))
        #> 112
        print(dv.output_size((28, 28), 5), dv.output_size(10, 3, dilation=2))
        #> (24, 24) 6
        print(dv.output_size(112, 4, stride=2, padding=1, transposed=True))
        #> 224
        ```

    References:
        Dumoulin and Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285.
    """
    scalar = isinstance(input_size, numbers.Integral) and isinstance(kernel_size, numbers.Integral)
    dimensions = 1
    for value in (input_size, kernel_size):
        if hasattr(value, "__len__"):
            dimensions = len(value)
    sizes = per_axis(input_size, "input_size", dimensions)
    kernel_sizes = per_axis(kernel_size, "kernel_size", dimensions)
    if transposed:
        out = transposed_geometry(sizes, kernel_sizes, stride, padding, dilation, output_padding).out
        result = out[3 - dimensions :] if dimensions < 3 else out
    else:
        if per_axis(output_padding, "output_padding", dimensions, least=0) != (0,) * dimensions:
            raise ValueError("output_padding must be 0 unless transposed=True")
        strides = per_axis(stride, "stride", dimensions)
        dilations = per_axis(dilation, "dilation", dimensions)
        out = new_geometry(sizes, kernel_sizes, strides, padding, dilations).out
        result = out[3 - dimensions :] if dimensions < 3 else out
    return result[0] if scalar else tuple(result)


def transposed_geometry(
    sizes: Sizes, kernel_sizes: Sizes, stride: Any, padding: Any, dilation: Any, output_padding: Any
) -> Geometry:
    """Return the normal form of a transposed convolution; `out` are the sizes of its output."""
    dimensions = len(sizes)
    strides = per_axis(stride, "stride", dimensions)
    dilations = per_axis(dilation, "dilation", dimensions)
    if isinstance(padding, str):
        if padding != "valid":
            raise ValueError(
                "padding must be 'valid', ints or pairs for a transposed convolution: 'same' names no single "
                f"size there, got {padding!r}"
            )
        padding = 0
    pairs = padding_pairs(padding, dimensions, sizes, kernel_sizes, strides)
    extra = per_axis(output_padding, "output_padding", dimensions, least=0)
    out = []
    for axis in range(dimensions):
        limit = max(strides[axis], dilations[axis])
        if extra[axis] >= limit:
            raise ValueError(
                f"output_padding must be less than stride or dilation, here less than {limit} "
                f"along spatial axis {axis}, got {extra[axis]}"
            )
        full = (sizes[axis] - 1) * strides[axis] + dilations[axis] * (kernel_sizes[axis] - 1) + 1
        size = full - sum(pairs[axis]) + extra[axis]
        if size < 1:
            raise ValueError(
                f"padding must leave an output: along spatial axis {axis} it takes {sum(pairs[axis])} "
                f"from {full + extra[axis]} numbers"
            )
        out.append(size)
    front = 3 - dimensions
    ones, zeros = (1,) * front, (0,) * front
    return Geometry(
        ones + strides,
        zeros + tuple(p[0] for p in pairs),
        zeros + tuple(p[1] for p in pairs),
        ones + dilations,
        ones + tuple(out),
    )


# --------------------------------------------------------------------------------- what stands outside the input


@kernel
def extended_index(i, n, mode):  # type: ignore[no-untyped-def]
    """Return the index into 0 .. n - 1 which index i reads, or -1 where nothing stands; mode as in `MODES`."""
    if 0 <= i < n:
        return i
    if mode == 0:
        return -1
    if mode == 1:
        period = 2 * n - 2
        i = i % period if period > 0 else 0
        return i if i < n else period - i
    if mode == 2:
        return 0 if i < 0 else n - 1
    if mode == 3:
        return i % n
    i = i % (2 * n)
    return i if i < n else 2 * n - 1 - i


@kernel
def extend(x, before, after, mode):  # type: ignore[no-untyped-def]
    """Return `x`, in normal form, continued by `before` and `after` numbers along its three spatial axes."""
    batch, channels, depth, height, width = x.shape
    shape = (
        batch,
        channels,
        depth + before[0] + after[0],
        height + before[1] + after[1],
        width + before[2] + after[2],
    )
    result = np.zeros(shape, dtype=x.dtype)
    columns = np.empty(shape[4], dtype=np.int64)
    for t in range(shape[4]):
        columns[t] = extended_index(t - before[2], width, mode)
    for n in range(batch):
        for c in range(channels):
            for i in range(shape[2]):
                p = extended_index(i - before[0], depth, mode)
                if p < 0:
                    continue
                for j in range(shape[3]):
                    q = extended_index(j - before[1], height, mode)
                    if q < 0:
                        continue
                    for t in range(shape[4]):
                        if columns[t] >= 0:
                            result[n, c, i, j, t] = x[n, c, p, q, columns[t]]
    return result


@kernel
def extend_transposed(g, x_shape, before, mode):  # type: ignore[no-untyped-def]
    """Return the transposed map of `extend`: each number of `g` is added to the input which it was a copy of."""
    batch, channels, depth, height, width = g.shape
    result = np.zeros((batch, channels, x_shape[0], x_shape[1], x_shape[2]), dtype=g.dtype)
    columns = np.empty(width, dtype=np.int64)
    for t in range(width):
        columns[t] = extended_index(t - before[2], x_shape[2], mode)
    for n in range(batch):
        for c in range(channels):
            for i in range(depth):
                p = extended_index(i - before[0], x_shape[0], mode)
                if p < 0:
                    continue
                for j in range(height):
                    q = extended_index(j - before[1], x_shape[1], mode)
                    if q < 0:
                        continue
                    for t in range(width):
                        if columns[t] >= 0:
                            result[n, c, p, q, columns[t]] += g[n, c, i, j, t]
    return result
