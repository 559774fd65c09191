"""Convolution by the fast Fourier transform: products of spectra, for large finite arrays."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from derivable.convolution.fourier_blocks import CALL, Blocks, blocks_for, convolve_blocks
from derivable.jit import get_num_threads, kernel
from derivable.simd import lanes, sum_sizes

__all__ = ["fft_is_faster", "fft_is_safe", "fourier_convolve"]

# How many multiplications of the direct sums take as long as one step of a transform: for arrays that SciPy
# transforms. Measured on one thread of an AVX2 machine, they break even between 3 (images) and 10 (float32 signals).
DIRECT_PER_FFT_STEP = 6.0
# Seconds for one multiplication of the direct sums and each byte of a number, along a signal and in an image; measured
# like the constants of `blocks_for`, on the same machine.
DIRECT_SECONDS = (7e-12, 4.4e-12)
# Of SciPy's transforms: seconds for each number, byte of it and bit of their number; and the bytes that double it.
SCIPY_STEP, SCIPY_FAR_BYTES = 7e-11, 8e6
LARGEST_RATIO = 1e3
PARALLEL_SIZE = 1 << 16  # numbers from which on a transform is worth more threads
TOGETHER = 8  # blocks of a signal that are transformed in one call, which then computes several in each vector


def fft_is_faster(x_shape: tuple[int, ...], h_shape: tuple[int, ...], dtype: Any, out: tuple[int, ...]) -> bool:
    """Compare the multiplications of the definition with the n log n of the transforms."""
    taps = math.prod(h_shape)
    if taps < 16 or dtype.kind not in "fc":
        return False
    axes = long_axes(x_shape, h_shape, out)
    if dtype.kind == "f" and len(axes) <= 2:
        direct = math.prod(out) * float(taps) * dtype.itemsize * DIRECT_SECONDS[len(axes) - 1]
        if direct < CALL:
            return False
        sizes = tuple(h_shape[a] for a in axes), tuple(out[a] for a in axes)
        blocks = worthy_blocks(*sizes, dtype)
        return direct > 1.1 * (scipy_seconds(*sizes, dtype) if blocks is None else blocks.seconds)
    n = math.prod(a + b - 1 for a, b in zip(x_shape, h_shape, strict=True))
    return math.prod(out) * float(taps) > DIRECT_PER_FFT_STEP * 3 * n * math.log2(max(2, n))


def worthy_blocks(h_shape: tuple[int, ...], out: tuple[int, ...], dtype: Any) -> Blocks | None:
    """Return blocks for this package's transforms, or None where there are none, or SciPy's should take less time.

    That is so where the kernel leaves little of the largest block; the estimates are good up to a half.
    """
    blocks = blocks_for(h_shape, out, dtype)
    if blocks is None or blocks.seconds > 1.5 * scipy_seconds(h_shape, out, dtype):
        return None
    return blocks


def scipy_seconds(h_shape: tuple[int, ...], out: tuple[int, ...], dtype: Any) -> float:
    """Estimate the time of `fourier_convolve_scipy` for real arrays, measured beside the constants of `blocks_for`."""
    whole = [o + m - 1 for o, m in zip(out, h_shape, strict=True)]
    shape = [min(n, block_length(m, len(out))) for n, m in zip(whole, h_shape, strict=True)]
    count = math.prod(-(-o // (n - m + 1)) for o, n, m in zip(out, shape, h_shape, strict=True))
    if fft_steps(whole) < fft_steps(shape) * count:
        shape, count = whole, 1
    size = math.prod(shape) * dtype.itemsize
    far = 1 + min(1.5, size / SCIPY_FAR_BYTES)
    return (2 * count + 1) * fft_steps(shape) * dtype.itemsize * SCIPY_STEP * far + CALL


def long_axes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes along which some array has more than one number; the first, if there are none."""
    return tuple(a for a, sizes in enumerate(zip(*shapes, strict=True)) if max(sizes) > 1) or (0,)


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
    if array.dtype.kind == "f" and array.flags.c_contiguous:
        largest, total = sizes_of(array.reshape(-1))
        return (float(largest) if math.isfinite(total) else math.inf), total / array.size
    size = np.abs(array)
    return float(size.max()), float(size.mean(dtype=np.float64))


@kernel
def sizes_of(values):  # type: ignore[no-untyped-def]
    """Return the largest and the sum of the absolute values; where one is not finite, the sum is not."""
    width, most, total = lanes(values), 0.0, 0.0
    sums = np.zeros(2 * width, values.dtype)
    whole = values.size // (4 * width)
    # Each lane adds few numbers before the rest is summed in double precision.
    for start in range(0, whole, 64):
        sums[:width] = 0
        sum_sizes(min(64, whole - start), values, start * 4 * width, sums)
        for t in range(width):
            total += sums[t]
    for t in range(width):
        most = max(most, sums[width + t])
    for i in range(whole * 4 * width, values.size):
        total += abs(values[i])
        most = max(most, abs(values[i]))
    return most, total


def fourier_convolve(x: Any, h: Any, start: tuple[int, ...], out: tuple[int, ...]) -> Any:
    """Return out numbers of the full convolution from `start` on, by the product of spectra.

    Real arrays of one or two long axes are transformed by this package, all others by SciPy.

    Args:
        x: contiguous floating array, finite.
        h: contiguous floating array of the same dtype and number of dimensions, finite.
        start: first index of the part, along each axis.
        out: size of the part.

    Returns:
        The part of the full convolution.
    """
    axes = long_axes(x.shape, h.shape, out)
    if len(axes) <= 2 and (
        blocks := worthy_blocks(tuple(h.shape[a] for a in axes), tuple(out[a] for a in axes), x.dtype)
    ):
        short = [a for a in range(x.ndim) if a not in axes]
        # One number along the other axes, so the only output is number 0.
        x, h = x.squeeze(tuple(short)), h.squeeze(tuple(short))
        return convolve_blocks(x, h, tuple(start[a] for a in axes), tuple(out[a] for a in axes), blocks).reshape(out)
    return fourier_convolve_scipy(x, h, start, out)


def fourier_convolve_scipy(x: Any, h: Any, start: tuple[int, ...], out: tuple[int, ...]) -> Any:
    """Return the same as `fourier_convolve`, for any arrays, by SciPy's transforms."""
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
