"""Pooling: the largest or the mean of each window, with PyTorch's arguments, and its derivatives.

Padding adds no numbers to a maximum (the window is cut at the border), and zeros to a mean unless
`count_include_pad` is False. A NaN in the window makes its maximum NaN. The derivative of a maximum goes to the first
of the largest numbers of the window, in the order of the indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.convolution.normal import common_dtype, normal, spatial_array
from derivable.convolution.sizes import Sizes, per_axis
from derivable.jit import kernel, parallel_for, threads_for
from derivable.validation import as_array

__all__ = [
    "avg_pool1d",
    "avg_pool1d_gradient",
    "avg_pool2d",
    "avg_pool2d_gradient",
    "avg_pool3d",
    "avg_pool3d_gradient",
    "max_pool1d",
    "max_pool1d_gradient",
    "max_pool2d",
    "max_pool2d_gradient",
    "max_pool3d",
    "max_pool3d_gradient",
]

SECONDS_TO_COMPARE = 1e-9


# ------------------------------------------------------------------------------------------------ kernels


@kernel
def largest_in_window(x, n, c, start, size, dilation):  # type: ignore[no-untyped-def]
    """Return the index (i, j, k) of the first largest number of a window, or of its first NaN."""
    best_i, best_j, best_k = -1, -1, -1
    best = x[n, c, 0, 0, 0]
    for a in range(size[0]):
        i = start[0] + a * dilation[0]
        if i < 0 or i >= x.shape[2]:
            continue
        for b in range(size[1]):
            j = start[1] + b * dilation[1]
            if j < 0 or j >= x.shape[3]:
                continue
            for e in range(size[2]):
                k = start[2] + e * dilation[2]
                if k < 0 or k >= x.shape[4]:
                    continue
                value = x[n, c, i, j, k]
                if best_i < 0 or value > best or (value != value and best == best):
                    best, best_i, best_j, best_k = value, i, j, k
    return best_i, best_j, best_k


@kernel
def max_pool_part(start, stop, x, out, size, stride, before, dilation):  # type: ignore[no-untyped-def]
    """Compute the planes start..stop of `out`, counted over (batch, channel)."""
    channels = x.shape[1]
    for item in range(start, stop):
        n, c = divmod(item, channels)
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                for k in range(out.shape[4]):
                    first = (
                        i * stride[0] - before[0],
                        j * stride[1] - before[1],
                        k * stride[2] - before[2],
                    )
                    p, q, r = largest_in_window(x, n, c, first, size, dilation)
                    out[n, c, i, j, k] = x[n, c, p, q, r]


@kernel
def max_pool_gradient_part(start, stop, g, x, out, size, stride, before, dilation):  # type: ignore[no-untyped-def]
    """Compute the planes start..stop of the gradient in x, counted over (batch, channel)."""
    channels = x.shape[1]
    for item in range(start, stop):
        n, c = divmod(item, channels)
        out[n, c] = 0
        for i in range(g.shape[2]):
            for j in range(g.shape[3]):
                for k in range(g.shape[4]):
                    first = (
                        i * stride[0] - before[0],
                        j * stride[1] - before[1],
                        k * stride[2] - before[2],
                    )
                    p, q, r = largest_in_window(x, n, c, first, size, dilation)
                    out[n, c, p, q, r] += g[n, c, i, j, k]


@kernel
def max_pool_tangent_part(start, stop, t, x, out, size, stride, before, dilation):  # type: ignore[no-untyped-def]
    """Compute the planes start..stop of `out`: the number of `t` where `x` has the largest of the window."""
    channels = x.shape[1]
    for item in range(start, stop):
        n, c = divmod(item, channels)
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                for k in range(out.shape[4]):
                    first = (
                        i * stride[0] - before[0],
                        j * stride[1] - before[1],
                        k * stride[2] - before[2],
                    )
                    p, q, r = largest_in_window(x, n, c, first, size, dilation)
                    out[n, c, i, j, k] = t[n, c, p, q, r]


@kernel
def window(o, stride, before, size, n):  # type: ignore[no-untyped-def]
    """Return begin and end of a window inside an axis of n numbers, and its size with the padding it covers."""
    begin = o * stride - before
    end = min(begin + size, n + before)
    return max(begin, 0), min(end, n), end - begin


@kernel
def avg_pool_part(start, stop, x, out, size, stride, before, include, divisor):  # type: ignore[no-untyped-def]
    """Compute the planes start..stop of `out`, counted over (batch, channel)."""
    channels = x.shape[1]
    for item in range(start, stop):
        n, c = divmod(item, channels)
        for i in range(out.shape[2]):
            i0, i1, di = window(i, stride[0], before[0], size[0], x.shape[2])
            for j in range(out.shape[3]):
                j0, j1, dj = window(j, stride[1], before[1], size[1], x.shape[3])
                for k in range(out.shape[4]):
                    k0, k1, dk = window(k, stride[2], before[2], size[2], x.shape[4])
                    count = di * dj * dk if include else (i1 - i0) * (j1 - j0) * (k1 - k0)
                    if divisor != 0:
                        count = divisor
                    total = x[n, c, i0, j0, k0]
                    total -= total
                    for p in range(i0, i1):
                        for q in range(j0, j1):
                            for r in range(k0, k1):
                                total += x[n, c, p, q, r]
                    out[n, c, i, j, k] = total / count


@kernel
def avg_pool_gradient_part(start, stop, g, out, size, stride, before, include, divisor):  # type: ignore[no-untyped-def]
    """Compute the planes start..stop of the gradient in x, counted over (batch, channel)."""
    channels = out.shape[1]
    for item in range(start, stop):
        n, c = divmod(item, channels)
        out[n, c] = 0
        for i in range(g.shape[2]):
            i0, i1, di = window(i, stride[0], before[0], size[0], out.shape[2])
            for j in range(g.shape[3]):
                j0, j1, dj = window(j, stride[1], before[1], size[1], out.shape[3])
                for k in range(g.shape[4]):
                    k0, k1, dk = window(k, stride[2], before[2], size[2], out.shape[4])
                    count = di * dj * dk if include else (i1 - i0) * (j1 - j0) * (k1 - k0)
                    if divisor != 0:
                        count = divisor
                    share = g[n, c, i, j, k] / count
                    for p in range(i0, i1):
                        for q in range(j0, j1):
                            for r in range(k0, k1):
                                out[n, c, p, q, r] += share


# ----------------------------------------------------------------------------------------------- arguments


def pool_geometry(
    sizes: Sizes, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> tuple[Sizes, Sizes, Sizes, Sizes, Sizes]:
    """Return kernel size, stride, padding, dilation and output sizes, three of each."""
    dimensions = len(sizes)
    kernel_sizes = per_axis(kernel_size, "kernel_size", dimensions)
    strides = kernel_sizes if stride is None else per_axis(stride, "stride", dimensions)
    paddings = per_axis(padding, "padding", dimensions, least=0)
    dilations = per_axis(dilation, "dilation", dimensions)
    if not isinstance(ceil_mode, (bool, np.bool_)):
        raise TypeError(f"ceil_mode must be True or False, got {ceil_mode!r}")
    out = []
    for axis in range(dimensions):
        n, k, s, p, d = (v[axis] for v in (sizes, kernel_sizes, strides, paddings, dilations))
        extent = d * (k - 1) + 1
        if p > extent // 2:
            raise ValueError(
                f"padding must be at most half of what the window spans, {extent // 2} along spatial axis {axis}, "
                f"got {p}"
            )
        room = n + 2 * p - extent
        if ceil_mode:
            count = -(-room // s) + 1
            if count > 0 and (count - 1) * s >= n + p:
                count -= 1  # a window that would begin in the padding behind
        else:
            count = room // s + 1
        if (
            count < 1
            or (room < 0 and not ceil_mode)
            or any(all(not 0 <= o * s - p + a * d < n for a in range(k)) for o in range(count))
        ):
            raise ValueError(
                f"kernel_size must fit into the padded x: along spatial axis {axis} it spans {extent} "
                f"(kernel size {k}, dilation {d}), x has {n} + padding {p} + {p}, and a window would hold no number"
            )
        out.append(count)
    front = 3 - dimensions
    ones, zeros = (1,) * front, (0,) * front
    return ones + kernel_sizes, ones + strides, zeros + paddings, ones + dilations, ones + tuple(out)


def check_divisor(count_include_pad: Any, divisor_override: Any) -> tuple[bool, int]:
    """Return the two arguments of a mean as the kernels take them, 0 for no divisor."""
    if not isinstance(count_include_pad, (bool, np.bool_)):
        raise TypeError(f"count_include_pad must be True or False, got {count_include_pad!r}")
    if divisor_override is None:
        return bool(count_include_pad), 0
    if (
        isinstance(divisor_override, bool)
        or not isinstance(divisor_override, (int, np.integer))
        or not divisor_override
    ):
        raise ValueError(f"divisor_override must be None or an int other than 0, got {divisor_override!r}")
    return bool(count_include_pad), int(divisor_override)


def run(part: Any, planes: int, work: int, *arguments: Any) -> None:
    """Call the kernel once, or for large work in pieces on several threads."""
    parallel_for(part, planes, *arguments, threads=threads_for(work * SECONDS_TO_COMPARE))


def pool_work(out: Any, size: Sizes) -> int:
    """Return how many numbers all windows hold together."""
    return int(out.size * size[0] * size[1] * size[2])


def max_pool(
    dimensions: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> Any:
    """Check the arguments of a maximum pooling of 1 to 3 dimensions and compute it."""
    x = spatial_array(x, "x", dimensions, kinds="iuf")
    size, step, before, gap, out = pool_geometry(
        x.shape[-dimensions:], kernel_size, stride, padding, dilation, ceil_mode
    )
    dtype = x.dtype.newbyteorder("=")
    x5 = normal(x, dimensions, dtype)
    result = np.empty((*x5.shape[:2], *out), dtype)
    run(max_pool_part, x5.shape[0] * x5.shape[1], pool_work(result, size), x5, result, size, step, before, gap)
    return result.reshape(*x.shape[:-dimensions], *out[3 - dimensions :])


def max_pool_gradient(
    dimensions: int,
    gradient: Any,
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
) -> Any:
    """Check the arguments of the derivative of a maximum pooling and compute it."""
    x = spatial_array(x, "x", dimensions, kinds="iuf")
    size, step, before, gap, out = pool_geometry(
        x.shape[-dimensions:], kernel_size, stride, padding, dilation, ceil_mode
    )
    gradient = check_pool_gradient(gradient, (*x.shape[:-dimensions], *out[3 - dimensions :]))
    dtype = common_dtype(gradient, x)
    g, x5 = normal(gradient, dimensions, dtype), normal(x, dimensions, dtype)
    result = np.empty_like(x5)
    run(
        max_pool_gradient_part,
        x5.shape[0] * x5.shape[1],
        pool_work(g, size),
        g,
        x5,
        result,
        size,
        step,
        before,
        gap,
    )
    return result.reshape(x.shape)


def max_pool_tangent(
    dimensions: int, tangent: Any, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> Any:
    """Return the derivative of a maximum pooling along a tangent of its input, the transposed map of its gradient."""
    x = spatial_array(x, "x", dimensions, kinds="iuf")
    size, step, before, gap, out = pool_geometry(
        x.shape[-dimensions:], kernel_size, stride, padding, dilation, ceil_mode
    )
    tangent = as_array(tangent, "tangent")
    if tangent.shape != x.shape:
        raise ValueError(f"tangent must have the input's shape {x.shape}, got {tangent.shape}")
    dtype = common_dtype(tangent, x)
    t, x5 = normal(tangent, dimensions, dtype), normal(x, dimensions, dtype)
    result = np.empty((*x5.shape[:2], *out), dtype)
    run(
        max_pool_tangent_part,
        x5.shape[0] * x5.shape[1],
        pool_work(result, size),
        t,
        x5,
        result,
        size,
        step,
        before,
        gap,
    )
    return result.reshape(*x.shape[:-dimensions], *out[3 - dimensions :])


def avg_pool(
    dimensions: int, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any, count_include_pad: Any,
    divisor_override: Any,
) -> Any:  # fmt: skip
    """Check the arguments of a mean pooling of 1 to 3 dimensions and compute it."""
    x = spatial_array(x, "x", dimensions)
    size, step, before, _, out = pool_geometry(x.shape[-dimensions:], kernel_size, stride, padding, 1, ceil_mode)
    include, divisor = check_divisor(count_include_pad, divisor_override)
    dtype = common_dtype(x)
    x5 = normal(x, dimensions, dtype)
    result = np.empty((*x5.shape[:2], *out), dtype)
    arguments = (x5, result, size, step, before, include, divisor)
    run(avg_pool_part, x5.shape[0] * x5.shape[1], pool_work(result, size), *arguments)
    return result.reshape(*x.shape[:-dimensions], *out[3 - dimensions :])


def avg_pool_gradient(
    dimensions: int, gradient: Any, input_shape: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any,
    count_include_pad: Any, divisor_override: Any,
) -> Any:  # fmt: skip
    """Check the arguments of the derivative of a mean pooling and compute it."""
    if not hasattr(input_shape, "__len__") or len(input_shape) not in (dimensions + 1, dimensions + 2):
        raise ValueError(
            f"input_shape must be a shape of {dimensions + 1} or {dimensions + 2} ints, got {input_shape!r}"
        )
    shape = per_axis(tuple(input_shape), "input_shape", len(input_shape))
    size, step, before, _, out = pool_geometry(shape[-dimensions:], kernel_size, stride, padding, 1, ceil_mode)
    include, divisor = check_divisor(count_include_pad, divisor_override)
    gradient = check_pool_gradient(gradient, (*shape[:-dimensions], *out[3 - dimensions :]))
    dtype = common_dtype(gradient)
    g = normal(gradient, dimensions, dtype)
    sizes = (1,) * (3 - dimensions) + shape[-dimensions:]
    result = np.empty((*g.shape[:2], *sizes), dtype)
    arguments = (g, result, size, step, before, include, divisor)
    run(avg_pool_gradient_part, g.shape[0] * g.shape[1], pool_work(g, size), *arguments)
    return result.reshape(shape)


def check_pool_gradient(gradient: Any, expected: Sizes) -> Any:
    """Return the gradient as an array of the output's shape."""
    gradient = as_array(gradient, "gradient")
    if gradient.shape != expected:
        raise ValueError(f"gradient must have the output's shape {expected}, got {gradient.shape}")
    return gradient


# What forward mode calls, by the number of dimensions: `rules` enters them beside the public functions.


def max_pool1d_tangent(
    tangent: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
) -> Any:
    """Return the derivative of `max_pool1d` along a tangent."""
    return max_pool_tangent(1, tangent, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d_tangent(
    tangent: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
) -> Any:
    """Return the derivative of `max_pool2d` along a tangent."""
    return max_pool_tangent(2, tangent, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d_tangent(
    tangent: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
) -> Any:
    """Return the derivative of `max_pool3d` along a tangent."""
    return max_pool_tangent(3, tangent, x, kernel_size, stride, padding, dilation, ceil_mode)


# ---------------------------------------------------------------------------------------- public functions


def max_pool1d(
    x: Any,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    dilation: int | Sizes = 1,
    ceil_mode: bool = False,
) -> Any:
    """Return the largest number of each window, over 1 spatial axis.

    Args:
        x: input (batch, channels, length) or (channels, length); real.
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how much the windows may reach over the border, at most half their span.
        dilation: the distance between the numbers of a window.
        ceil_mode: whether a last window that only partly fits counts.

    Returns:
        The maxima, of the dtype of `x`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.array([[[1.0, 3.0, 2.0, 5.0, 4.0]]])
        print(dv.max_pool1d(x, 2))
        #> [[[3. 5.]]]
        ```
    """
    return max_pool(1, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool1d_gradient(
    gradient: Any,
    x: Any,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    dilation: int | Sizes = 1,
    ceil_mode: bool = False,
) -> Any:
    """Return the gradient in the input of `max_pool1d`: each output's goes to the first largest number of its window.

    Args:
        gradient: gradient in the output, of the output's shape.
        x: the input.
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how much the windows may reach over the border, at most half their span.
        dilation: the distance between the numbers of a window.
        ceil_mode: whether a last window that only partly fits counts.

    Returns:
        An array of the shape of `x`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.array([[[1.0, 3.0, 2.0, 2.0]]])
        print(dv.max_pool1d_gradient(np.ones((1, 1, 2)), x, 2))
        #> [[[0. 1. 1. 0.]]]
        ```
    """
    return max_pool_gradient(1, gradient, x, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool1d(
    x: Any,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Return the mean of each window, over 1 spatial axis.

    Args:
        x: input (batch, channels, length) or (channels, length).
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how many zeros x is continued, at most half a window.
        ceil_mode: whether a last window that only partly fits counts.
        count_include_pad: whether the padding's zeros count in the mean.
        divisor_override: what to divide the sums by, instead of the count.

    Returns:
        The means; of integers in float64.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.array([[[1.0, 3.0, 2.0, 5.0, 4.0]]])
        print(dv.avg_pool1d(x, 2))
        #> [[[2.  3.5]]]
        ```
    """
    return avg_pool(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool1d_gradient(
    gradient: Any,
    input_shape: Sizes,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Return the gradient in the input of `avg_pool1d`: each output's is shared by its window.

    Args:
        gradient: gradient in the output, of the output's shape.
        input_shape: the shape of the input.
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how many zeros x is continued, at most half a window.
        ceil_mode: whether a last window that only partly fits counts.
        count_include_pad: whether the padding's zeros count in the mean.
        divisor_override: what to divide the sums by, instead of the count.

    Returns:
        An array of shape `input_shape`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.avg_pool1d_gradient(np.ones((1, 1, 2)), (1, 1, 4), 2))
        #> [[[0.5 0.5 0.5 0.5]]]
        ```
    """
    return avg_pool_gradient(
        1, gradient, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def max_pool2d(
    x: Any,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    dilation: int | Sizes = 1,
    ceil_mode: bool = False,
) -> Any:
    """Return the largest number of each window, over 2 spatial axes.

    Args:
        x: input (batch, channels, height, width) or (channels, height, width); real.
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how much the windows may reach over the border, at most half their span.
        dilation: the distance between the numbers of a window.
        ceil_mode: whether a last window that only partly fits counts.

    Returns:
        The maxima, of the dtype of `x`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.arange(16.0).reshape(1, 1, 4, 4)
        print(dv.max_pool2d(x, 2)[0, 0])
        #> [[ 5.  7.]
        #>  [13. 15.]]
        ```
    """
    return max_pool(2, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d_gradient(
    gradient: Any,
    x: Any,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    dilation: int | Sizes = 1,
    ceil_mode: bool = False,
) -> Any:
    """Return the gradient in the input of `max_pool2d`: each output's goes to the first largest number of its window.

    Args:
        gradient: gradient in the output, of the output's shape.
        x: the input.
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how much the windows may reach over the border, at most half their span.
        dilation: the distance between the numbers of a window.
        ceil_mode: whether a last window that only partly fits counts.

    Returns:
        An array of the shape of `x`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.arange(4.0).reshape(1, 1, 2, 2)
        print(dv.max_pool2d_gradient(np.ones((1, 1, 1, 1)), x, 2)[0, 0])
        #> [[0. 0.]
        #>  [0. 1.]]
        ```
    """
    return max_pool_gradient(2, gradient, x, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool2d(
    x: Any,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Return the mean of each window, over 2 spatial axes.

    Args:
        x: input (batch, channels, height, width) or (channels, height, width).
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how many zeros x is continued, at most half a window.
        ceil_mode: whether a last window that only partly fits counts.
        count_include_pad: whether the padding's zeros count in the mean.
        divisor_override: what to divide the sums by, instead of the count.

    Returns:
        The means; of integers in float64.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.arange(16.0).reshape(1, 1, 4, 4)
        print(dv.avg_pool2d(x, 2)[0, 0])
        #> [[ 2.5  4.5]
        #>  [10.5 12.5]]
        ```
    """
    return avg_pool(2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool2d_gradient(
    gradient: Any,
    input_shape: Sizes,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Return the gradient in the input of `avg_pool2d`: each output's is shared by its window.

    Args:
        gradient: gradient in the output, of the output's shape.
        input_shape: the shape of the input.
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how many zeros x is continued, at most half a window.
        ceil_mode: whether a last window that only partly fits counts.
        count_include_pad: whether the padding's zeros count in the mean.
        divisor_override: what to divide the sums by, instead of the count.

    Returns:
        An array of shape `input_shape`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.avg_pool2d_gradient(np.ones((1, 1, 1, 1)), (1, 1, 2, 2), 2)[0, 0])
        #> [[0.25 0.25]
        #>  [0.25 0.25]]
        ```
    """
    return avg_pool_gradient(
        2, gradient, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def max_pool3d(
    x: Any,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    dilation: int | Sizes = 1,
    ceil_mode: bool = False,
) -> Any:
    """Return the largest number of each window, over 3 spatial axes.

    Args:
        x: input (batch, channels, depth, height, width) or (channels, depth, height, width); real.
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how much the windows may reach over the border, at most half their span.
        dilation: the distance between the numbers of a window.
        ceil_mode: whether a last window that only partly fits counts.

    Returns:
        The maxima, of the dtype of `x`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.arange(64.0).reshape(1, 1, 4, 4, 4)
        print(dv.max_pool3d(x, 4).ravel())
        #> [63.]
        ```
    """
    return max_pool(3, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d_gradient(
    gradient: Any,
    x: Any,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    dilation: int | Sizes = 1,
    ceil_mode: bool = False,
) -> Any:
    """Return the gradient in the input of `max_pool3d`: each output's goes to the first largest number of its window.

    Args:
        gradient: gradient in the output, of the output's shape.
        x: the input.
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how much the windows may reach over the border, at most half their span.
        dilation: the distance between the numbers of a window.
        ceil_mode: whether a last window that only partly fits counts.

    Returns:
        An array of the shape of `x`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.arange(8.0).reshape(1, 1, 2, 2, 2)
        print(dv.max_pool3d_gradient(np.ones((1, 1, 1, 1, 1)), x, 2).ravel())
        #> [0. 0. 0. 0. 0. 0. 0. 1.]
        ```
    """
    return max_pool_gradient(3, gradient, x, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool3d(
    x: Any,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Return the mean of each window, over 3 spatial axes.

    Args:
        x: input (batch, channels, depth, height, width) or (channels, depth, height, width).
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how many zeros x is continued, at most half a window.
        ceil_mode: whether a last window that only partly fits counts.
        count_include_pad: whether the padding's zeros count in the mean.
        divisor_override: what to divide the sums by, instead of the count.

    Returns:
        The means; of integers in float64.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.arange(64.0).reshape(1, 1, 4, 4, 4)
        print(dv.avg_pool3d(x, 4).ravel())
        #> [31.5]
        ```
    """
    return avg_pool(3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d_gradient(
    gradient: Any,
    input_shape: Sizes,
    kernel_size: int | Sizes,
    stride: int | Sizes | None = None,
    padding: int | Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Return the gradient in the input of `avg_pool3d`: each output's is shared by its window.

    Args:
        gradient: gradient in the output, of the output's shape.
        input_shape: the shape of the input.
        kernel_size: the window's size, an int or one per axis.
        stride: the step from window to window; the window's size by default.
        padding: by how many zeros x is continued, at most half a window.
        ceil_mode: whether a last window that only partly fits counts.
        count_include_pad: whether the padding's zeros count in the mean.
        divisor_override: what to divide the sums by, instead of the count.

    Returns:
        An array of shape `input_shape`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other, an argument is out of range, or a window would hold no number.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.avg_pool3d_gradient(np.ones((1, 1, 1, 1, 1)), (1, 1, 2, 2, 2), 2).ravel()[0])
        #> 0.125
        ```
    """
    return avg_pool_gradient(
        3, gradient, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
