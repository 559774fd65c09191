"""Convolution of real signals and images by the fast Fourier transform, in blocks that stay in the cache.

A block is a matrix of `rows` x `columns` numbers, each of them a power of two. It is transformed along both axes: first
down its columns, as many at a time as a vector has lanes (a *strip*); then, turned round so that rows come to lie in
lanes, along its rows. There its spectrum meets that of the kernel, and the same way leads back.

A piece of an image is such a matrix. So is a piece of a signal, cut into rows: with n = rows * columns numbers
x[columns * j + k], and a frequency f = q + rows * p,

    exp(-2 pi i f (columns * j + k) / n) = exp(-2 pi i q j / rows) * exp(-2 pi i q k / n) * exp(-2 pi i p k / columns),

so there is one factor more between the two rounds, and nothing else.

The kernel is real. So two blocks, as the real and the imaginary part of one complex block, do not mix: the parts of the
product belong to them.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from derivable.convolution.fft import forward, frequencies, inverse, multiply, steps_of, together
from derivable.jit import kernel, parallel_for, threads_for
from derivable.simd import ROWS, aligned, ask, ask_to_write, lanes, move, turn

__all__ = ["Blocks", "blocks_for", "convolve_blocks"]

# Of how long a pair of blocks takes: seconds for each byte and each bit of its size, for each byte, and for each
# transform; of how long a call takes; and what size of a block doubles its time. Fitted to 448 runs on one thread of an
# AVX-512 machine, which they meet up to a fifth; only their ratios matter.
STEP, COPY, TRANSFORM, CALL, FAR_BYTES = 2.3e-11, 5.9e-10, 8.7e-8, 1.28e-5, 1.4e6
LARGEST_BYTES = 1 << 24  # of one part of a block
FEW_TURNS = 1 << 17  # up to so many factors are kept for several sizes of a signal's blocks, more for the last one only
STRIPS = 8  # strips that are read and written together: whole lines of memory, and few pages at a time


class Blocks(NamedTuple):
    """Into which blocks a convolution is cut."""

    rows: int
    columns: int
    flat: bool  # whether a block is a piece of a signal
    steps: tuple[int, int]  # outputs of a block, down and along; 1 and all of them for a signal
    counts: tuple[int, int]  # blocks, down and along
    seconds: float  # an estimate for one thread


@functools.lru_cache(1024)
def blocks_for(h_shape: tuple[int, ...], out: tuple[int, ...], dtype: Any) -> Blocks | None:
    """Return the blocks that should take least time.

    Args:
        h_shape: shape of the kernel.
        out: shape of the outputs.
        dtype: dtype of both arrays.

    Returns:
        The blocks; None for arrays that are not real, or not of one or two axes, and for kernels so large that a block
        of which they leave something would take more than LARGEST_BYTES for each of its two parts.
    """
    if dtype.kind != "f" or not 1 <= len(out) <= 2:
        return None
    width, flat, best = together(dtype), len(out) == 1, None
    sizes = [1 << bits for bits in range(width.bit_length() - 1, 23)]
    for rows, columns in itertools.product(sizes, sizes):
        n = rows * columns
        if n * dtype.itemsize > LARGEST_BYTES or (flat and columns not in (rows, 2 * rows)):
            continue
        if flat:
            steps, total = (1, n - h_shape[0] + 1), (1, out[0])
        else:
            steps, total = (rows - h_shape[0] + 1, columns - h_shape[1] + 1), (out[0], out[1])
        if min(steps) < 1:
            continue
        counts = (-(-total[0] // steps[0]), -(-total[1] // steps[1]))
        size = n * dtype.itemsize
        far = 1 + min(1.0, size / FAR_BYTES)
        pair = size * (STEP * math.log2(n) + COPY) * far + TRANSFORM * (rows + columns) / width
        # The spectrum of the kernel takes half as long as a pair of blocks.
        seconds = (counts[0] * -(-counts[1] // 2) + 0.5) * pair + CALL
        if best is None or seconds < best.seconds:
            best = Blocks(rows, columns, flat, steps, counts, seconds)
    return best


def turns_for(rows: int, columns: int, dtype: Any) -> Any:
    """Return the factors between the two rounds of a signal's transform, strip by strip, as `multiply` takes them."""
    keep = few_turns if rows * columns <= FEW_TURNS else many_turns
    return keep(rows, columns, dtype)


def new_turns(rows: int, columns: int, dtype: Any) -> Any:
    """Compute what `turns_for` returns."""
    width, n = together(dtype), rows * columns
    factors = np.empty((columns // width, rows, 2, width), dtype)
    order = frequencies(rows)[:, None]
    for s, strip in enumerate(factors):  # one at a time: they may be long
        angles = 2 * np.pi / n * (order * np.arange(s * width, (s + 1) * width) % n)
        strip[:, 0], strip[:, 1] = np.cos(angles), -np.sin(angles)
    factors.flags.writeable = False
    return factors.reshape(-1)


few_turns, many_turns = functools.lru_cache(16)(new_turns), functools.lru_cache(1)(new_turns)


@functools.lru_cache(4)
def no_turns(dtype: Any) -> Any:
    """Return what stands for the factors where there are none."""
    factors = np.empty(0, dtype)
    factors.flags.writeable = False
    return factors


def convolve_blocks(x: Any, h: Any, start: tuple[int, ...], out: tuple[int, ...], blocks: Blocks) -> Any:
    """Return out numbers of the full convolution of real arrays from `start` on, block by block.

    Of each block's cyclic convolution the first m - 1 numbers along an axis are mixed up with its end: they are left
    out ("overlap and save"). So a block of n numbers gives n - m + 1 outputs.

    Args:
        x: contiguous array of float32 or float64, of one or two axes, finite.
        h: kernel of the same dtype and number of axes, finite.
        start: first index of the part, along each axis.
        out: size of the part.
        blocks: from `blocks_for`, for these shapes.

    Returns:
        The part of the full convolution.
    """
    rows, columns, flat, steps, counts, seconds = blocks
    transforms = (*steps_of(rows, x.dtype), *steps_of(columns, x.dtype))
    turns = turns_for(rows, columns, x.dtype) if flat else no_turns(x.dtype)
    result = np.empty(out, x.dtype)
    image, taps, target, first = (x[None], h[None], result[None], (0, start[0])) if flat else (x, h, result, start)
    spectrum = np.empty(2 * rows * columns, x.dtype)
    spectrum_of(taps, spectrum, rows, columns, flat, *transforms, turns)
    pairs = counts[0] * -(-counts[1] // 2)
    parallel_for(
        blocks_part, pairs, image, spectrum, target, taps.shape, first, steps, counts, rows, columns, flat,
        *transforms, turns, threads=min(pairs, threads_for(seconds)),
    )  # fmt: skip
    return result


@kernel
def spectrum_of(  # type: ignore[no-untyped-def]
    taps, spectrum, rows, columns, flat, radices, factors, starts, radices_2, factors_2, starts_2, turns
):
    """Transform the kernel, filled up with zeros, and divide it by the size of a block, which `inverse` does not."""
    width = max(ROWS, lanes(spectrum))
    count, line = min(STRIPS, columns // width), 2 * columns * width
    strips, places = aligned(2 * rows * width * count, spectrum), np.arange(ROWS) * 2 * width
    for s in range(0, columns // width, count):
        # The second block begins where the kernel ends: the imaginary part is zero.
        read_strips(taps, 0, s * width, taps.shape[0], 0, strips, count, rows, columns, flat)
        transform_strips(strips, s, count, spectrum, rows, columns, flat, radices, factors, starts, turns, places)
    scale = spectrum.dtype.type(1 / (rows * columns))
    for i in range(0, spectrum.size, line):
        forward(spectrum, i, columns, radices_2, factors_2, starts_2)
    for i in range(spectrum.size):
        spectrum[i] *= scale


@kernel
def blocks_part(  # type: ignore[no-untyped-def]
    begin, end, x, spectrum, out, taps, first, steps, counts, rows, columns, flat,
    radices, factors, starts, radices_2, factors_2, starts_2, turns,
):  # fmt: skip
    """Compute the outputs of the pairs of blocks begin, ..., end - 1; a pair lies side by side."""
    width = max(ROWS, lanes(spectrum))
    count, line = min(STRIPS, columns // width), 2 * columns * width
    strips, places = aligned(2 * rows * width * count, spectrum), np.arange(ROWS) * 2 * width
    data = aligned(2 * rows * columns, spectrum)
    along = (counts[1] + 1) // 2
    for pair in range(begin, end):
        i, j = pair // along * steps[0], 2 * (pair % along) * steps[1]
        top, left = first[0] + i - (taps[0] - 1), first[1] + j - (taps[1] - 1)
        for s in range(0, columns // width, count):
            column = left + s * width
            read_strips(x, top, column, top, column + steps[1], strips, count, rows, columns, flat)
            transform_strips(strips, s, count, data, rows, columns, flat, radices, factors, starts, turns, places)
        for place in range(0, data.size, line):
            forward(data, place, columns, radices_2, factors_2, starts_2)
            multiply(False, columns, data, place, spectrum, place)
            inverse(data, place, columns, radices_2, factors_2, starts_2)
        for s in range(0, columns // width, count):
            if not flat and (s + count) * width < taps[1]:
                continue  # all columns of these strips are mixed up
            strips_back(strips, s, count, data, rows, columns, flat, radices, factors, starts, turns, places)
            bottom = min(i + steps[0], out.shape[0])
            for part in range(2):
                low = j + part * steps[1]
                high = min(low + steps[1], out.shape[1])
                row, column = i - (taps[0] - 1), low - (taps[1] - 1) + s * width
                write_strips(strips, count, part, out, row, column, i, bottom, low, high, rows, columns, flat)


@kernel
def read_strips(x, top, left, top_2, left_2, strips, count, rows, columns, flat):  # type: ignore[no-untyped-def]
    """Copy strips of the block of x that begins at (top, left), and those of a second block, with zeros outside x.

    The rows of a block of a signal lie one after the other in the one row of x.
    """
    width, values = max(ROWS, lanes(strips)), x.reshape(-1)
    size = 2 * rows * width
    for y in range(rows):
        for part in range(2):
            row, column = (top, left) if part == 0 else (top_2, left_2)
            if flat:
                column += y * columns
            else:
                row += y
            here = 0 <= row < x.shape[0]
            target = (2 * y + part) * width
            if here and column >= 0 and column + count * width <= x.shape[1]:
                source = row * x.shape[1] + column
                for s in range(count):
                    for t in range(0, width, lanes(strips)):
                        move(strips, target + s * size + t, values, source + s * width + t)
                    ask(values, source + (count + s) * width)  # for the next strips
            else:
                for s in range(count):
                    for t in range(width):
                        inside = here and 0 <= column + s * width + t < x.shape[1]
                        value = x[row, column + s * width + t] if inside else x.dtype.type(0)
                        strips[target + s * size + t] = value


@kernel
def write_strips(strips, count, part, out, row, column, top, bottom, low, high, rows, columns, flat):  # type: ignore[no-untyped-def]
    """Write the real or imaginary part of strips to the outputs from (row, column) on.

    Only what falls into the rows top, ..., bottom - 1 and columns low, ..., high - 1 is right, and written.
    """
    width, values = max(ROWS, lanes(strips)), out.reshape(-1)
    size = 2 * rows * width
    for y in range(rows):
        a, b = (row, column + y * columns) if flat else (row + y, column)
        if not top <= a < bottom:
            continue
        source = (2 * y + part) * width
        for _ in range(count):
            if low <= b and b + width <= high:
                for t in range(0, width, lanes(strips)):
                    move(values, a * out.shape[1] + b + t, strips, source + t)
                ask_to_write(values, a * out.shape[1] + b + count * width)
            else:
                for t in range(max(0, low - b), min(width, high - b)):
                    out[a, b + t] = strips[source + t]
            b += width
            source += size


@kernel
def transform_strips(strips, s, count, data, rows, columns, flat, radices, factors, starts, turns, places):  # type: ignore[no-untyped-def]
    """Transform strips down their columns, and store them with rows in lanes, from the strip s of the block on.

    `width` rows make one stretch of `data`: for each column the real and then the imaginary parts of all of them.
    """
    width = max(ROWS, lanes(strips))
    size, line = 2 * rows * width, 2 * columns * width
    for strip in range(0, count * size, size):
        forward(strips, strip, rows, radices, factors, starts)
        if flat:
            multiply(False, rows, strips, strip, turns, s * size + strip)
    for stretch in range(rows // width):
        for strip in range(count):
            source = strip * size + stretch * 2 * width * width
            target = stretch * line + (s + strip) * 2 * width * width
            turn_square(data, target, strips, source, width, places)


@kernel
def strips_back(strips, s, count, data, rows, columns, flat, radices, factors, starts, turns, places):  # type: ignore[no-untyped-def]
    """Undo `transform_strips`, but for the factor `rows`."""
    width = max(ROWS, lanes(strips))
    size, line = 2 * rows * width, 2 * columns * width
    for stretch in range(rows // width):
        for strip in range(count):
            source = stretch * line + (s + strip) * 2 * width * width
            target = strip * size + stretch * 2 * width * width
            turn_square(strips, target, data, source, width, places)
    for strip in range(0, count * size, size):
        if flat:
            multiply(True, rows, strips, strip, turns, s * size + strip)
        inverse(strips, strip, rows, radices, factors, starts)


@kernel
def turn_square(target, i, source, k, width, places):  # type: ignore[no-untyped-def]
    """Exchange rows and columns of a square of complex numbers, `width` each way, ROWS at a time."""
    for part in range(0, 2 * width, width):
        for r in range(0, width, ROWS):
            for t in range(0, width, ROWS):
                turn(
                    target, i + t * 2 * width + part + r, places, 0,
                    source, k + r * 2 * width + part + t, 2 * width,
                )  # fmt: skip
