"""Convolution by the fast Fourier transform: products of spectra, for large finite arrays."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from derivable.jit import get_num_threads, kernel

__all__ = ["fft_is_faster", "fft_is_safe", "fourier_convolve"]

# How many multiplications of the direct sums take as long as one step of a transform. Measured on one thread of
# an AVX2 machine: they break even between 3 (images) and 10 (float32 signals).
DIRECT_PER_FFT_STEP = 6.0
LARGEST_RATIO = 1e3
PARALLEL_SIZE = 1 << 16  # numbers from which on a transform is worth more threads
TOGETHER = 8  # blocks of a signal that are transformed in one call, which then computes several in each vector


def fft_is_faster(x_shape: tuple[int, ...], h_shape: tuple[int, ...], dtype: Any, out: tuple[int, ...]) -> bool:
    """Compare the multiplications of the definition with the n log n of three transforms."""
    taps = math.prod(h_shape)
    if taps < 32 or dtype.kind not in "fc":
        return False
    n = math.prod(a + b - 1 for a, b in zip(x_shape, h_shape, strict=True))
    return math.prod(out) * float(taps) > DIRECT_PER_FFT_STEP * 3 * n * math.log2(max(2, n))


def fft_is_safe(x: Any, h: Any) -> bool:
    """Return whether the FFT's error, which is the same everywhere, is small beside all but negligible outputs.

    The numbers must be finite, their products and sums far from overflow, and none much larger than the mean.
    """
    limit = float(np.finfo(x.dtype).max) ** 0.25
    for array in (x, h):
        largest, mean = largest_and_mean(array)
        if not math.isfinite(largest) or largest > limit or largest > LARGEST_RATIO * mean:
            return False
        if 0 < largest < 1 / limit:  # products would fall below the smallest normal numbers
            return False
    return True


def largest_and_mean(array: Any) -> tuple[float, float]:
    """Return the largest and the mean absolute value; both are not finite where the sum is not."""
    if array.dtype.kind == "f" and array.flags.c_contiguous and not numba.config.DISABLE_JIT:
        largest, total = sizes_of(array.reshape(-1))
        return float(largest), total / array.size
    size = np.abs(array)
    return float(size.max()), float(size.mean(dtype=np.float64))


@kernel
def sizes_of(values):  # type: ignore[no-untyped-def]
    """Return the largest and the sum of the absolute values, block by block, so that memory is read once."""
    largest, total = 0.0, 0.0
    for start in range(0, values.size, 4096):
        stop = min(values.size, start + 4096)
        total += sum_of_sizes(values, start, stop)
        if total - total != 0:  # the maximum supposes numbers
            return np.inf, total
        largest = max(largest, largest_size(values, start, stop))
    return largest, total


@kernel(fastmath={"reassoc"})
def sum_of_sizes(values, start, stop):  # type: ignore[no-untyped-def]
    """Return the sum of |values[i]| in double precision."""
    total = 0.0
    for i in range(start, stop):
        total += abs(values[i])
    return total


@kernel(fastmath={"reassoc", "nnan", "nsz"})
def largest_size(values, start, stop):  # type: ignore[no-untyped-def]
    """Return the largest |values[i]|, where none is NaN."""
    largest = values.dtype.type(0)
    for i in range(start, stop):
        size = abs(values[i])
        if size > largest:
            largest = size
    return largest


def fourier_convolve(x: Any, h: Any, start: tuple[int, ...], out: tuple[int, ...]) -> Any:
    """Return out numbers of the full convolution from `start` on, by the product of spectra.

    Args:
        x: floating array, finite.
        h: floating array of the same dtype and number of dimensions, finite.
        start: first index of the part, along each axis.
        out: size of the part.

    Returns:
        The part of the full convolution.
    """
    from scipy import fft

    real = x.dtype.kind == "f"
    axes = list(range(x.ndim))
    whole = [fft.next_fast_len(o + m - 1, real) for o, m in zip(out, h.shape, strict=True)]
    shape = [min(n, fft.next_fast_len(block_length(m, x.ndim), real)) for n, m in zip(whole, h.shape, strict=True)]
    if fft_steps(whole) < fft_steps(shape) * math.prod(
        -(-o // (n - m + 1)) for o, n, m in zip(out, shape, h.shape, strict=True)
    ):
        shape = whole
    workers = get_num_threads() if math.prod(whole) >= PARALLEL_SIZE else 1
    forward, backward = (fft.rfftn, fft.irfftn) if real else (fft.fftn, fft.ifftn)
    spectrum = forward(h, shape, axes, workers=workers)
    # Of each block's cyclic convolution the first m - 1 numbers along an axis are mixed up with its end: they are
    # left out ("overlap and save"). So a block of n numbers gives n - m + 1 outputs.
    steps = [n - m + 1 for n, m in zip(shape, h.shape, strict=True)]
    corners = list(itertools.product(*(range(0, o, step) for o, step in zip(out, steps, strict=True))))
    together = min(len(corners), TOGETHER) if x.ndim == 1 else 1
    blocks, inner = np.empty((together, *shape), x.dtype), [axis + 1 for axis in axes]
    result = np.empty(out, x.dtype)
    for i in range(0, len(corners), together):
        batch = corners[i : i + together]
        for block, corner in zip(blocks, batch, strict=False):
            fill_block(block, x, [s + c - (m - 1) for s, c, m in zip(start, corner, h.shape, strict=True)])
        product = forward(blocks[: len(batch)], shape, inner, workers=workers)
        product *= spectrum
        product = backward(product, shape, inner, workers=workers)
        for block, corner in zip(product, batch, strict=True):
            part = tuple(slice(c, c + step) for c, step in zip(corner, steps, strict=True))
            target = result[part]
            target[...] = block[tuple(slice(m - 1, m - 1 + n) for m, n in zip(h.shape, target.shape, strict=True))]
    return result


def fill_block(block: Any, x: Any, first: list[int]) -> None:
    """Copy the part of x that begins at the index `first` into the block; where x has no numbers there are zeros."""
    source = tuple(slice(max(0, f), max(0, f + n)) for f, n in zip(first, block.shape, strict=True))
    part = x[source]
    front = [max(0, -f) for f in first]
    block[...] = 0
    block[tuple(slice(f, f + n) for f, n in zip(front, part.shape, strict=True))] = part


def fft_steps(shape: Sequence[int]) -> float:
    """Return the steps of one transform."""
    n = math.prod(shape)
    return n * math.log2(max(2, n))


def block_length(m: int, dimensions: int) -> int:
    """Return how many numbers along one axis a block should have for a kernel of m.

    Longer blocks waste less on the overlap, shorter ones stay in the cache.
    """
    return max(8 * m, 8192) if dimensions == 1 else max(4 * m, 256 if dimensions == 2 else 32)
