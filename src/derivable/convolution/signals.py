"""Convolution and correlation of signals and images, in any number of dimensions.

One rule for all: the full result is computed as the definition says, and every mode is a part of it.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from derivable.convolution.bands import bands_at_once
from derivable.convolution.choice import SMALL_WORK, run_convolution
from derivable.convolution.direct import plane_at_once, planes_part, rows_part
from derivable.convolution.fourier import fft_is_faster, fft_is_safe, fourier_convolve
from derivable.convolution.normal import FLOATING, to_contiguous
from derivable.convolution.sizes import MODES, extended_index
from derivable.validation import as_array, check_choice

__all__ = ["convolve", "correlate"]

CONVOLVE_MODES = ("full", "same", "valid")
BOUNDARIES = {"fill": "zeros", "wrap": "circular", "symm": "symmetric"}
SIGNAL_METHODS = ("auto", "direct", "fft")


def convolve(
    x: Any,
    h: Any,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: Any = 0,
    method: str = "auto",
) -> Any:
    """Convolve two arrays of the same number of dimensions: out[i] is the sum over k of h[k] * x[i - k].

    *Modes.* For n and m numbers along an axis, "full" has all n + m - 1 sums. "same" is the part of it that has the
    size of `x`, whatever the size of `h`, and begins at (m - 1) // 2, the centre of `h` (for an even m the
    earlier of the two middle ones). "valid" is the part in which the shorter array lies inside the longer one, of
    |n - m| + 1 numbers; one array must be at least as long as the other along every axis.

    *SciPy.* The results are those of `scipy.signal.convolve` in any number of dimensions. `convolve2d` agrees with it.
    NumPy's "same" has the size of the longer array instead.

    *Boundaries.* What `x` reads outside itself: "fill" the constant `fillvalue` (for 0 there is no term, so an infinity
    in `h` makes no NaN), "wrap" its periodic continuation, "symm" its mirror image, the border repeated. Any
    length of `h` is allowed with each. They apply to `x`, never to `h`, and change nothing in "valid".

    *Integers* (and bool, as 0 and 1) are computed exactly, in int64. If the result might not fit, that is if
    max|x| * sum|h| exceeds 2**63 - 1, an OverflowError is raised: convert to float then. An integer and a
    floating array together are computed in NumPy's common dtype.

    *NaN and infinity* affect the outputs whose sums they are part of and no others, with every method: "auto" takes
    the FFT only where all numbers are finite, of similar size (the largest at most 1000 times the mean size) and far
    from overflow, and "fft" raises an error where they are not finite. The error of the FFT is of the order of the
    machine precision times the norm of x times the norm of h, for each output alike.

    Args:
        x: the signal.
        h: the kernel.
        mode: "full", "same" or "valid".
        boundary: "fill", "wrap" or "symm".
        fillvalue: the constant outside `x` for "fill".
        method: "auto", "direct" or "fft".

    Returns:
        An array of int64, or of the floating dtype common to the two.

    Raises:
        TypeError: if an array is not numeric.
        ValueError: if an array is empty, their numbers of dimensions differ, a word is unknown, "valid" is asked of
            arrays of which neither contains the other, or "fft" of integers or of numbers that are not finite.
        OverflowError: if an exact integer result might exceed int64.

    Examples:
        ```python
        import derivable as dv

        print(dv.convolve([1, 2, 3, 4, 5], [1, 2, 3]))
        #> [ 1  4 10 16 22 22 15]
        print(dv.convolve([1, 2, 3, 4, 5], [1, 2, 3], mode="same"))
        #> [ 4 10 16 22 22]
        print(dv.convolve([1, 2, 3, 4, 5], [1, 2, 3], mode="same", boundary="wrap"))
        #> [19 10 16 22 23]
        ```
    """
    if (
        type(x) is type(h) is np.ndarray
        and x.dtype == h.dtype
        and x.dtype in FLOATING
        and x.flags.carray
        and type(mode) is type(boundary) is type(method) is str
        and type(fillvalue) is int
        and (boundary, fillvalue, method) == ("fill", 0, "auto")
    ):
        plan = plain_plan(x.shape, h.shape, mode, x.dtype)
        if plan is not None:
            return convolve_plain(x, h, plan)
    x, h, dtype = check_signals(x, h, mode, boundary, fillvalue, method)
    return compute(x, h, dtype, mode, boundary, fillvalue, method)


def correlate(
    x: Any,
    h: Any,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: Any = 0,
    method: str = "auto",
) -> Any:
    """Cross-correlate two arrays: the sum over k of conj(h[k]) * x[i + k], for i from -(m - 1) to n - 1.

    It is the convolution of `x` with the flipped conjugate of `h`, and the modes are the same parts of the full result:
    "same" begins at (m - 1) // 2, so that the output i has the element m - 1 - (m - 1) // 2 = m // 2 of `h` over x[i].

    *SciPy.* The results are those of `scipy.signal.correlate`, in any number of dimensions. `correlate2d` differs for
    "same" with an even kernel: it begins one place later; and where `h` is the longer one
    its "valid" is not conjugated. Exchanging the arrays reverses and conjugates the result.

    Integers, boundaries, NaN and infinity are treated as in [`convolve`][derivable.convolution.signals.convolve].

    Args:
        x: the signal.
        h: the template.
        mode: "full", "same" or "valid".
        boundary: "fill", "wrap" or "symm".
        fillvalue: the constant outside `x` for "fill".
        method: "auto", "direct" or "fft".

    Returns:
        An array of int64, or of the floating dtype common to the two.

    Raises:
        TypeError: if an array is not numeric.
        ValueError: if an array is empty, their numbers of dimensions differ, a word is unknown, "valid" is asked of
            arrays of which neither contains the other, or "fft" of integers or of numbers that are not finite.
        OverflowError: if an exact integer result might exceed int64.

    Examples:
        ```python
        import derivable as dv

        print(dv.correlate([1, 2, 3, 4, 5], [1, 2, 3]))
        #> [ 3  8 14 20 26 14  5]
        print(dv.correlate([1j, 2], [1j]))
        #> [1.+0.j 0.-2.j]
        ```
    """
    x, h, dtype = check_signals(x, h, mode, boundary, fillvalue, method)
    flipped = np.conj(h[(slice(None, None, -1),) * h.ndim])
    return compute(x, flipped, dtype, mode, boundary, fillvalue, method)


class PlainPlan(NamedTuple):
    """What the sums of two plain arrays need besides their numbers."""

    turned: tuple[slice, ...]
    x_shape: tuple[int, ...]
    h_shape: tuple[int, ...]
    shape: tuple[int, ...]
    before: tuple[int, ...]
    out: tuple[int, ...]
    small: bool
    bands: bool  # whether bands of rows are faster than the definition, if the kernel is finite
    plane: bool


@functools.lru_cache(4096)
def plain_plan(x_shape: tuple[int, ...], h_shape: tuple[int, ...], mode: str, dtype: Any) -> PlainPlan | None:
    """Return how to convolve plain arrays, or None where there is something to check, or the FFT to think of."""
    ndim = len(x_shape)
    if not 1 <= ndim <= 3 or len(h_shape) != ndim or mode not in CONVOLVE_MODES:
        return None
    if any(n < m or m < 1 for n, m in zip(x_shape, h_shape, strict=True)):
        return None
    if mode == "full":
        start, out = (0,) * ndim, tuple(n + m - 1 for n, m in zip(x_shape, h_shape, strict=True))
    elif mode == "same":
        start, out = tuple((m - 1) // 2 for m in h_shape), x_shape
    else:
        start, out = tuple(m - 1 for m in h_shape), tuple(n - m + 1 for n, m in zip(x_shape, h_shape, strict=True))
    if fft_is_faster(x_shape, h_shape, dtype, out):
        return None
    front, one = (1,) * (3 - ndim), (1, 1, 1)
    before = (0,) * (3 - ndim) + tuple(m - 1 - s for m, s in zip(h_shape, start, strict=True))
    # Where the kernel would have to be finite, rows: they multiply no padding.
    plane = plane_at_once((*front, *x_shape), (*front, *h_shape), (*front, *out), one, before, one) == 1
    turned = (slice(None, None, -1),) * ndim
    return PlainPlan(
        turned,
        (1, 1, *front, *x_shape),
        (1, 1, *front, *h_shape),
        (1, 1, *front, *out),
        before,
        out,
        math.prod(out) * math.prod(h_shape) < SMALL_WORK,
        dtype.kind == "f" and ndim > 1 and out[-2] > 1 and mode != "valid",
        plane,
    )


def convolve_plain(x: Any, h: Any, plan: PlainPlan) -> Any:
    """Return a convolution by its sums; where it is small the time goes into the call, so there is little in it."""
    taps = h[plan.turned].copy().reshape(plan.h_shape)
    one = (1, 1, 1)
    if not plan.small:
        bias = np.zeros(1, x.dtype)
        result = run_convolution(x.reshape(plan.x_shape), taps, bias, plan.shape[2:], one, plan.before, one, 1)
        return result.reshape(plan.out)
    result = np.empty(plan.shape, x.dtype)
    arguments = (x.reshape(plan.x_shape), taps, np.zeros(1, x.dtype), result, one, plan.before, one, 1)
    if plan.bands and bands_at_once(True, *arguments):
        return result.reshape(plan.out)
    if plan.plane:
        planes_part(0, plan.shape[2], *arguments)
    else:
        rows_part(0, plan.shape[2] * plan.shape[3], *arguments)
    return result.reshape(plan.out)


def check_signals(x: Any, h: Any, mode: Any, boundary: Any, fillvalue: Any, method: Any) -> tuple[Any, Any, Any]:
    """Return both arrays and the dtype to compute in."""
    x, h = as_array(x, "x", kinds="biufc"), as_array(h, "h", kinds="biufc")
    if x.ndim != h.ndim or x.ndim == 0:
        raise ValueError(
            f"h must have as many dimensions as x, at least 1: x has shape {x.shape}, h has shape {h.shape}"
        )
    check_choice(mode, "mode", CONVOLVE_MODES)
    check_choice(boundary, "boundary", tuple(BOUNDARIES))
    check_choice(method, "method", SIGNAL_METHODS)
    if np.ndim(fillvalue) != 0 or np.asarray(fillvalue).dtype.kind not in "biufc":
        raise TypeError(f"fillvalue must be a number, got {fillvalue!r}")
    if mode == "valid":
        larger = [n >= m for n, m in zip(x.shape, h.shape, strict=True)]
        smaller = [n <= m for n, m in zip(x.shape, h.shape, strict=True)]
        if not all(larger) and not all(smaller):
            raise ValueError(
                "mode 'valid' needs x to be at least as long as h along every axis, or h as x: "
                f"x has shape {x.shape}, h has shape {h.shape}"
            )
    fill = np.asarray(fillvalue)
    kinds = {x.dtype.kind, h.dtype.kind} | ({fill.dtype.kind} if boundary == "fill" else set())
    if kinds <= set("biu"):
        return x, h, np.dtype(np.int64)
    dtype = np.result_type(x, h)
    if boundary == "fill":  # a Python number adapts to the arrays' precision, as in NumPy
        dtype = np.result_type(dtype, fillvalue if isinstance(fillvalue, (int, float, complex)) else fill)
    return x, h, dtype.newbyteorder("=")


def compute(x: Any, h: Any, dtype: Any, mode: str, boundary: str, fillvalue: Any, method: str) -> Any:
    """Return the part of the full convolution which the mode names."""
    if dtype.kind == "i":
        check_overflow(x, h, fillvalue if boundary == "fill" else 0)
        if method == "fft":
            raise ValueError("method 'fft' needs floating arrays; integers are computed exactly by 'direct'")
    x, h = to_contiguous(x, dtype), to_contiguous(h, dtype)
    # The part of the full result, its first index and its size along each axis.
    if mode == "full":
        start = (0,) * x.ndim
        out = tuple(n + m - 1 for n, m in zip(x.shape, h.shape, strict=True))
    elif mode == "same":
        start, out = tuple((m - 1) // 2 for m in h.shape), x.shape
    else:
        start = tuple(min(n, m) - 1 for n, m in zip(x.shape, h.shape, strict=True))
        out = tuple(abs(n - m) + 1 for n, m in zip(x.shape, h.shape, strict=True))
    if mode != "valid" and (boundary != "fill" or fillvalue != 0):
        # Written out as far as the outputs read it, the rest is a sum over numbers that all exist.
        for axis, (n, m) in enumerate(zip(x.shape, h.shape, strict=True)):
            first, last = start[axis] - (m - 1), start[axis] + out[axis]
            if boundary == "fill":
                widths = [(0, 0)] * x.ndim
                widths[axis] = (max(0, -first), max(0, last - n))
                x = np.pad(x, widths, constant_values=fillvalue)
                keep = [slice(None)] * x.ndim
                keep[axis] = slice(max(0, first), max(0, first) + last - first)
                x = x[tuple(keep)]
            else:
                code = MODES[BOUNDARIES[boundary]]
                x = np.take(x, [extended_index(i, n, code) for i in range(first, last)], axis=axis)
        x = np.ascontiguousarray(x)
        start = tuple(m - 1 for m in h.shape)
    elif h.size > x.size:
        x, h = h, x  # the sums are the same, and the loops over the kernel are short
    if method == "fft":
        if not (np.isfinite(x).all() and np.isfinite(h).all()):
            raise ValueError("method 'fft' needs finite x and h: one NaN would spread to every output")
        return fourier_convolve(x, h, start, out)
    if method == "auto" and fft_is_faster(x.shape, h.shape, x.dtype, out) and fft_is_safe(x, h):
        return fourier_convolve(x, h, start, out)
    return direct_convolve(x, h, start, out)


def direct_convolve(x: Any, h: Any, start: tuple[int, ...], out: tuple[int, ...]) -> Any:
    """Return out numbers of the full convolution from `start` on, by the sums themselves."""
    kernel = np.ascontiguousarray(h[(slice(None, None, -1),) * h.ndim])
    before = tuple(m - 1 - s for m, s in zip(h.shape, start, strict=True))
    if x.ndim <= 3:
        front = (1,) * (3 - x.ndim)
        result = run_convolution(
            x.reshape(1, 1, *front, *x.shape),
            kernel.reshape(1, 1, *front, *h.shape),
            np.zeros(1, x.dtype),
            front + out,
            (1, 1, 1),
            (0,) * (3 - x.ndim) + before,
            (1, 1, 1),
            1,
        )
        return result.reshape(out)
    # More than three axes: for each tap along the axes in front, one convolution over the last three.
    result = np.zeros(out, x.dtype)
    lead = x.ndim - 3
    for tap in np.ndindex(*h.shape[:lead]):
        source, target = [], []
        for axis in range(lead):
            shift = tap[axis] - before[axis]  # output o reads input o + shift
            first, last = max(0, -shift), min(out[axis], x.shape[axis] - shift)
            source.append(slice(first + shift, max(first, last) + shift))
            target.append(slice(first, max(first, last)))
        part = x[tuple(source)]
        if part.size == 0:
            continue
        value = run_convolution(
            np.ascontiguousarray(part).reshape(-1, 1, *x.shape[lead:]),
            kernel[tap].reshape(1, 1, *h.shape[lead:]),
            np.zeros(1, x.dtype),
            out[lead:],
            (1, 1, 1),
            before[lead:],
            (1, 1, 1),
            1,
        )
        result[tuple(target)] += value.reshape(part.shape[:lead] + out[lead:])
    return result


def check_overflow(x: Any, h: Any, fillvalue: Any) -> None:
    """Raise OverflowError if a sum of integer products might not fit into int64."""
    limit = 2**63 - 1

    def largest(array: Any) -> int:
        return max(abs(int(array.max())), abs(int(array.min())))

    def total(array: Any) -> int:
        bound = largest(array) * array.size
        if bound <= limit:
            return int(np.abs(array.astype(np.int64)).sum())
        return sum(abs(int(v)) for v in array.flat)

    big, kernel_big = max(largest(x), abs(int(fillvalue))), largest(h)
    if big <= limit and kernel_big <= limit:
        if big * kernel_big * min(x.size, h.size) <= limit and big == largest(x):
            return
        if big * kernel_big * h.size <= limit or big * total(h) <= limit:
            return
    raise OverflowError(
        f"the result might not fit into int64: max|x| = {big} times sum|h| exceeds 2**63 - 1; convert x or h to float64"
    )
