r"""Convolution written as it is defined, to be read beside the chapter; the oracle for every fast version.

For sequences $x$ and $h$ indexed by all integers, the *convolution* and the *cross-correlation* are

$$ (x * h)[i] = \sum_k h[k]\, x[i - k], \qquad (x \star h)[i] = \sum_k \overline{h[k]}\, x[i + k]. $$

They differ by a *flip*: correlation with h is convolution with the sequence $k \mapsto \overline{h[-k]}$. Deep learning
calls the second one (without the conjugate) a convolution.

An array has a first element, so an *origin* must be chosen: index 0 is the first element of both arrays.
Then the convolution lives on 0 .. n + m - 2 and the correlation on -(m - 1) .. n - 1, each n + m - 1 numbers.
*Centred* on a kernel of m numbers, the output has the size of x: it begins m - 1 - (m - 1) // 2 places
before the last element of the kernel meets the first of x, which is index (m - 1) // 2 of the full result. An even
kernel has no middle; of the two elements nearest to it the convolution centres on the earlier one.

Everything here is plain Python over index tuples, in any number of dimensions, and slow.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["centre", "convolution", "correlation", "flip", "layer", "transposed_layer"]


def indices(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Return all index tuples of an array, the last index running fastest."""
    return itertools.product(*(range(n) for n in shape))


def flip(h: Any) -> Any:
    """Reverse an array along every axis.

    Args:
        h: an array.

    Returns:
        The array k -> h[m - 1 - k].

    Examples:
        ```python
        import derivable as dv
        from derivable.convolution import definition

        print(definition.flip([[1, 2], [3, 4]]).tolist())
        #> [[4, 3], [2, 1]]
        ```
    """
    h = np.asarray(h)
    result = np.empty_like(h)
    for k in indices(h.shape):
        result[k] = h[tuple(m - 1 - i for i, m in zip(k, h.shape, strict=True))]
    return result


def convolution(x: Any, h: Any) -> Any:
    """Return the full convolution: out[i] is the sum over k of h[k] * x[i - k].

    Args:
        x: an array.
        h: an array of as many dimensions.

    Returns:
        An array of n + m - 1 numbers along each axis.

    Examples:
        ```python
        import derivable as dv
        from derivable.convolution import definition

        print(definition.convolution([1, 2, 3, 4, 5], [1, 2, 3]).tolist())
        #> [1, 4, 10, 16, 22, 22, 15]
        ```
    """
    x, h = np.asarray(x), np.asarray(h)
    shape = tuple(n + m - 1 for n, m in zip(x.shape, h.shape, strict=True))
    out = np.zeros(shape, dtype=np.result_type(x, h))
    for i in indices(shape):
        for k in indices(h.shape):
            j = tuple(a - b for a, b in zip(i, k, strict=True))
            if all(0 <= a < n for a, n in zip(j, x.shape, strict=True)):
                out[i] += h[k] * x[j]
    return out


def correlation(x: Any, h: Any) -> Any:
    """Return the full cross-correlation: the sum over k of conj(h[k]) * x[i + k], for i from -(m - 1) to n - 1.

    Args:
        x: an array.
        h: an array of as many dimensions.

    Returns:
        An array of n + m - 1 numbers along each axis; its index 0 stands for i = -(m - 1).

    Examples:
        ```python
        import derivable as dv
        from derivable.convolution import definition

        print(definition.correlation([1, 2, 3, 4, 5], [1, 2, 3]).tolist())
        #> [3, 8, 14, 20, 26, 14, 5]
        ```
    """
    x, h = np.asarray(x), np.asarray(h)
    shape = tuple(n + m - 1 for n, m in zip(x.shape, h.shape, strict=True))
    out = np.zeros(shape, dtype=np.result_type(x, h))
    for i in indices(shape):
        for k in indices(h.shape):
            j = tuple(a - (m - 1) + b for a, b, m in zip(i, k, h.shape, strict=True))
            if all(0 <= a < n for a, n in zip(j, x.shape, strict=True)):
                out[i] += np.conj(h[k]) * x[j]
    return out


def centre(size: int) -> int:
    """Return the index of a kernel's centre: the middle element, of two middle ones the earlier.

    Args:
        size: how many elements the kernel has along this axis.

    Returns:
        (size - 1) // 2. The centred convolution is the full one from this index on.

    Examples:
        ```python
        import derivable as dv
        from derivable.convolution import definition

        print([definition.centre(m) for m in (1, 2, 3, 4, 5)])
        #> [0, 0, 1, 1, 2]
        ```
    """
    return (size - 1) // 2


def layer(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> Any:
    """Return what a convolutional layer computes, in any number of dimensions.

    out[n, o, i] is bias[o] plus the sum over the channels c of the group and the taps k of
    weight[o, c, k] * x[n, c, i * stride - before + k * dilation].

    Args:
        x: input (batch, channels, *sizes).
        weight: kernel (out channels, channels / groups, *kernel sizes).
        bias: one number for each out channel.
        stride: one int for each axis.
        padding: one pair (before, after) for each axis.
        dilation: one int for each axis.
        groups: the channels are cut into so many groups, which do not meet.

    Returns:
        The output (batch, out channels, *output sizes).
    """
    x, weight = np.asarray(x), np.asarray(weight)
    out_channels, channels = weight.shape[:2]
    sizes = tuple(
        (n + before + after - d * (k - 1) - 1) // s + 1
        for n, k, s, d, (before, after) in zip(x.shape[2:], weight.shape[2:], stride, dilation, padding, strict=True)
    )
    out = np.zeros((x.shape[0], out_channels, *sizes), dtype=np.result_type(x, weight))
    for n, o in indices((x.shape[0], out_channels)):
        first = o // (out_channels // groups) * channels
        for i in indices(sizes):
            total = out.dtype.type(0 if bias is None else bias[o])
            for c in range(channels):
                for k in indices(weight.shape[2:]):
                    j = tuple(
                        a * s - p[0] + b * d for a, b, s, d, p in zip(i, k, stride, dilation, padding, strict=True)
                    )
                    if all(0 <= a < m for a, m in zip(j, x.shape[2:], strict=True)):
                        total += weight[(o, c, *k)] * x[(n, first + c, *j)]
            out[(n, o, *i)] = total
    return out


def transposed_layer(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    output_padding: tuple[int, ...],
    groups: int = 1,
) -> Any:
    """Return what a transposed convolution computes: each input is spread over the outputs by the kernel.

    Input i adds weight[c, o, k] * x[n, c, i] to the output at i * stride - before + k * dilation.

    Args:
        x: input (batch, channels, *sizes).
        weight: kernel (channels, out channels / groups, *kernel sizes).
        bias: one number for each out channel.
        stride: one int for each axis.
        padding: one pair (before, after) for each axis, which crops the output.
        dilation: one int for each axis.
        output_padding: one int for each axis, added to the output's size at the end.
        groups: the number of groups.

    Returns:
        The output (batch, out channels, *output sizes).
    """
    x, weight = np.asarray(x), np.asarray(weight)
    channels, per_group = weight.shape[:2]
    sizes = tuple(
        (n - 1) * s - before - after + d * (k - 1) + 1 + extra
        for n, k, s, d, (before, after), extra in zip(
            x.shape[2:], weight.shape[2:], stride, dilation, padding, output_padding, strict=True
        )
    )
    out = np.zeros((x.shape[0], per_group * groups, *sizes), dtype=np.result_type(x, weight))
    for n, c in indices((x.shape[0], channels)):
        first = c // (channels // groups) * per_group
        for i in indices(x.shape[2:]):
            for r in range(per_group):
                for k in indices(weight.shape[2:]):
                    j = tuple(
                        a * s - p[0] + b * d for a, b, s, d, p in zip(i, k, stride, dilation, padding, strict=True)
                    )
                    if all(0 <= a < m for a, m in zip(j, sizes, strict=True)):
                        out[(n, first + r, *j)] += weight[(c, r, *k)] * x[(n, c, *i)]
    if bias is not None:
        out += np.reshape(bias, (1, -1) + (1,) * len(sizes))
    return out
