"""Convolution as a matrix: Toeplitz, circulant, doubly block Toeplitz, and that of any layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from derivable.convolution.layers import check_extension
from derivable.convolution.normal import check_channels
from derivable.convolution.sizes import (
    MODES,
    PADDING_MODES,
    Pairs,
    Sizes,
    extended_index,
    geometry,
    normal_sizes,
    transposed_geometry,
)
from derivable.validation import as_array, check_choice, check_count

__all__ = ["circulant", "conv_matrix", "toeplitz"]


def toeplitz(h: Any, n: int, mode: str = "full") -> Any:
    """Return the matrix T with T @ x == convolve(x, h, mode) for every x of n numbers.

    Its entry (i, j) is h[i - j], the same along each diagonal: a Toeplitz matrix.

    Args:
        h: kernel of m numbers.
        n: the length of the signals.
        mode: "full" (n + m - 1 rows), "same" (n rows) or "valid" (|n - m| + 1 rows).

    Returns:
        A matrix of n columns, of the dtype of `h`.

    Raises:
        TypeError: if `h` is not numeric or `n` is not an int.
        ValueError: if `h` is empty or not one-dimensional, `n` is less than 1, or the mode is unknown.

    Examples:
        ```python
        import derivable as dv

        print(dv.toeplitz([1, 2, 3], 3))
        #> [[1 0 0]
        #>  [2 1 0]
        #>  [3 2 1]
        #>  [0 3 2]
        #>  [0 0 3]]
        ```

    References:
        Gray, Toeplitz and Circulant Matrices: A Review, 2006.
    """
    h = as_array(h, "h", ndim=1)
    n = check_count(n, "n")
    check_choice(mode, "mode", ("full", "same", "valid"))
    m = h.size
    full = np.zeros((n + m - 1, n), dtype=h.dtype)
    for j in range(n):
        full[j : j + m, j] = h
    if mode == "full":
        return full
    start, rows = ((m - 1) // 2, n) if mode == "same" else (min(n, m) - 1, abs(n - m) + 1)
    return full[start : start + rows].copy()


def circulant(h: Any, n: int) -> Any:
    """Return the n by n matrix of the convolution with `h` on a circle of n points.

    Its entry (i, j) is h[(i - j) mod n]. A kernel of more than n numbers goes round the circle and adds up.

    Args:
        h: kernel.
        n: the number of points.

    Returns:
        The matrix, of the dtype of `h`.

    Raises:
        TypeError: if `h` is not numeric or `n` is not an int.
        ValueError: if `h` is empty or not one-dimensional or `n` is less than 1.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        C = dv.circulant([1, 2, 3], 5)
        print(C)
        #> [[1 0 0 3 2]
        #>  [2 1 0 0 3]
        #>  [3 2 1 0 0]
        #>  [0 3 2 1 0]
        #>  [0 0 3 2 1]]
        print(round(np.linalg.norm(C, 2), 12))
        #> 6.0
        ```

    References:
        Gray, Toeplitz and Circulant Matrices: A Review, 2006.
    """
    h = as_array(h, "h", ndim=1)
    n = check_count(n, "n")
    wrapped = np.zeros(n, dtype=h.dtype)
    for k in range(h.size):
        wrapped[k % n] += h[k]
    i = np.arange(n)
    return wrapped[(i[:, None] - i[None, :]) % n]


def conv_matrix(
    kernel: Any,
    input_shape: int | Sizes,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs | str = 0,
    dilation: int | Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    *,
    transposed: bool = False,
    output_padding: int | Sizes = 0,
    sparse: bool = False,
) -> Any:
    """Return the matrix of a layer: its product with x.ravel() is the ravelled output.

    For an image and stride 1 it is doubly block Toeplitz: blocks that are the same along each diagonal of
    blocks, and Toeplitz inside. With `padding_mode="circular"` and "same" padding it is doubly block circulant.

    Args:
        kernel: kernels in the layer's layout with `input_shape` (channels, *sizes), or an array of as many axes as
            `input_shape` for one channel: then it is *correlated*, as a layer does; flip it for a convolution.
        input_shape: the shape of one example: (channels, *sizes), or the sizes alone for one channel.
        stride: as in the layer.
        padding: as in the layer.
        dilation: as in the layer.
        groups: as in the layer.
        padding_mode: as in the layer.
        transposed: whether the layer is `conv_transpose1d`, `2d` or `3d`.
        output_padding: for the transposed layer.
        sparse: whether to return a `scipy.sparse` array (CSR) instead of a dense one.

    Returns:
        A matrix of as many columns as the input has numbers and as many rows as the output.

    Raises:
        TypeError: if the kernel is not numeric or an int is none.
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        kernel = np.array([[1, 2], [3, 4]])
        A = dv.conv_matrix(kernel, (3, 3))
        print(A)
        #> [[1 2 0 3 4 0 0 0 0]
        #>  [0 1 2 0 3 4 0 0 0]
        #>  [0 0 0 1 2 0 3 4 0]
        #>  [0 0 0 0 1 2 0 3 4]]
        x = np.arange(9).reshape(3, 3)
        assert np.array_equal(A @ x.ravel(), dv.correlate(x, kernel, "valid").ravel())
        ```
    """
    kernel = as_array(kernel, "kernel")
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
    shape = tuple(check_count(n, "each size in input_shape") for n in shape)
    if kernel.ndim == len(shape):
        kernel, shape = kernel[None, None], (1, *shape)
    if kernel.ndim != len(shape) + 1 or not 2 <= len(shape) <= 4:
        raise ValueError(
            "kernel must have as many axes as input_shape (one channel) or one more (out channels, "
            f"channels / groups, *kernel sizes), with 1 to 3 spatial axes: kernel has shape {kernel.shape}, "
            f"input_shape is {shape}"
        )
    check_choice(padding_mode, "padding_mode", PADDING_MODES)
    groups = check_channels(shape[0], kernel.shape, groups, transposed=transposed)
    sizes = shape[1:]
    if transposed:
        if padding_mode != "zeros":
            raise ValueError(f"padding_mode must be 'zeros' for a transposed convolution, got {padding_mode!r}")
        place = transposed_geometry(sizes, kernel.shape[2:], stride, padding, dilation, output_padding)
        # The transposed layer is the transpose of the layer that goes from its output to its input.
        inputs, outputs = place.out, normal_sizes(sizes)
    else:
        if output_padding != 0:
            raise ValueError("output_padding must be 0 unless transposed=True")
        place = geometry(sizes, kernel.shape[2:], stride, padding, dilation)
        inputs, outputs = normal_sizes(sizes), place.out
        check_extension(inputs, place.before, place.after, padding_mode)

    # For each axis: which input does tap k of output o read (-1: none)?
    weight = kernel.reshape(*kernel.shape[:2], *normal_sizes(kernel.shape[2:]))
    reads = []
    for axis in range(3):
        o, k = np.arange(outputs[axis])[:, None], np.arange(weight.shape[2 + axis])[None, :]
        index = o * place.stride[axis] - place.before[axis] + k * place.dilation[axis]
        n, code = inputs[axis], MODES[padding_mode]
        reads.append(np.array([[extended_index(int(i), n, code) for i in row] for row in index]))
    d, h, w = (
        reads[0][:, None, None, :, None, None],
        reads[1][None, :, None, None, :, None],
        reads[2][None, None, :, None, None, :],
    )
    exists = (d >= 0) & (h >= 0) & (w >= 0)
    position, taps = (d * inputs[1] + h) * inputs[2] + w, exists.shape[3:]
    position = position.reshape(math.prod(outputs), math.prod(taps))
    exists = exists.reshape(position.shape)
    place_in_output, tap = np.nonzero(exists)
    column = position[place_in_output, tap]

    out_channels, channels = weight.shape[:2]
    flat = weight.reshape(out_channels, channels, -1)
    points, numbers = math.prod(outputs), math.prod(inputs)
    rows, columns, values = [], [], []
    for out_channel in range(out_channels):
        first = out_channel // (out_channels // groups) * channels
        for channel in range(channels):
            rows.append(out_channel * points + place_in_output)
            columns.append((first + channel) * numbers + column)
            values.append(flat[out_channel, channel, tap])
    row, col, value = np.concatenate(rows), np.concatenate(columns), np.concatenate(values)
    size = (out_channels * points, channels * groups * numbers)
    if transposed:
        row, col, size = col, row, size[::-1]
    if sparse:
        from scipy import sparse as scipy_sparse

        return scipy_sparse.csr_array((value, (row, col)), shape=size)
    matrix = np.zeros(size, dtype=kernel.dtype)
    np.add.at(matrix, (row, col), value)
    return matrix
