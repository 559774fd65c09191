"""Convolution by the fast Fourier transform: products of spectra, for large finite arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["fft_is_faster", "fft_is_safe", "fourier_convolve"]

# How many multiplications of the direct sums take as long as one step of a transform. Measured on one thread of
# an AVX2 machine: they break even between 3 (images) and 10 (float32 signals).
DIRECT_PER_FFT_STEP = 6.0
LARGEST_RATIO = 1e3


def fft_is_faster(x: Any, h: Any, out: tuple[int, ...]) -> bool:
    """Compare the multiplications of the definition with the n log n of three transforms."""
    if h.size < 32 or x.dtype.kind not in "fc":
        return False
    n = math.prod(a + b - 1 for a, b in zip(x.shape, h.shape, strict=True))
    return math.prod(out) * float(h.size) > DIRECT_PER_FFT_STEP * 3 * n * math.log2(max(2, n))


def fft_is_safe(x: Any, h: Any) -> bool:
    """Return whether the FFT's error, which is the same everywhere, is small beside all but negligible outputs.

    The numbers must be finite, their products and sums far from overflow, and none much larger than the mean.
    """
    limit = float(np.finfo(x.dtype).max) ** 0.25
    for array in (x, h):
        size = np.abs(array)
        largest, mean = float(size.max()), float(size.mean(dtype=np.float64))
        if not math.isfinite(largest) or largest > limit or largest > LARGEST_RATIO * mean:
            return False
        if 0 < largest < 1 / limit:  # products would fall below the smallest normal numbers
            return False
    return True


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

    full = [n + m - 1 for n, m in zip(x.shape, h.shape, strict=True)]
    real = x.dtype.kind == "f"
    shape = [fft.next_fast_len(n, real) for n in full]
    axes = list(range(x.ndim))
    if real:
        spectrum = fft.rfftn(x, shape, axes) * fft.rfftn(h, shape, axes)
        result = fft.irfftn(spectrum, shape, axes)
    else:
        result = fft.ifftn(fft.fftn(x, shape, axes) * fft.fftn(h, shape, axes), shape, axes)
    part = tuple(slice(s, s + o) for s, o in zip(start, out, strict=True))
    return np.ascontiguousarray(result[part])
