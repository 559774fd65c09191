"""The fast Fourier transform as convolution needs it: of several arrays at once, in an order of its own.

Let w(n) = exp(-2 pi i / n), and n = R * m. The transform of x[0], ..., x[n - 1] falls into R transforms of m numbers
(Cooley and Tukey's algorithm, "decimation in frequency"): the frequencies R * q + r, for one r and all q < m, are

    X[R * q + r] = sum over j < m of  y[r, j] * w(m)**(j * q),   where
    y[r, j] = w(n)**(j * r) * sum over s < R of x[j + s * m] * w(R)**(s * r).

The inner sum, a *butterfly*, is a transform of R numbers. Its results go where its numbers came from: y[r, j] takes the
place of x[j + r * m]. So no second array is needed, and the frequencies end up sorted by their remainders r first.
A library puts them in order, with a second array or a pass more. A product of spectra does not need it: it is the same
in any order, if both spectra have the same one, and the way back undoes the steps one by one.

Each number of a butterfly is a vector here, with numbers of as many different arrays as it has lanes. All arrays take
the same steps, so nothing is ever moved from lane to lane.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from derivable.jit import kernel
from derivable.simd import ROWS, VECTOR_BYTES, Emitter, check, lanes

__all__ = ["forward", "frequencies", "inverse", "multiply", "steps_of", "together"]

NEAR_BYTES = 1 << 15  # what stays in the nearest cache from one step of a transform to the next


def together(dtype: Any) -> int:
    """Return how many arrays are transformed at once: as many as a vector has lanes, and not less than ROWS."""
    return max(ROWS, VECTOR_BYTES // np.dtype(dtype).itemsize)


def dft(llvm: Emitter, values: list[tuple[Any, Any]], back: bool) -> list[tuple[Any, Any]]:
    """Return the transform of a power of two of complex vectors (real parts, imaginary parts), without a scale.

    That of the even ones and that of the odd ones are put together.
    """
    n, builder = len(values), llvm.builder
    if n == 1:
        return values
    even, odd = dft(llvm, values[::2], back), dft(llvm, values[1::2], back)
    low, high = [], []
    for k, ((a, b), (c, d)) in enumerate(zip(even, odd, strict=True)):
        if 4 * k == n:  # times -i, or i on the way back
            c, d = (builder.fneg(d), c) if back else (d, builder.fneg(c))
        elif k:
            angle = 2 * np.pi * k / n
            c, d = turn_by(llvm, (c, d), llvm.constant(np.cos(angle)), llvm.constant(np.sin(angle)), back)
        low.append((builder.fadd(a, c), builder.fadd(b, d)))
        high.append((builder.fsub(a, c), builder.fsub(b, d)))
    return low + high


def turn_by(llvm: Emitter, value: tuple[Any, Any], cos: Any, sin: Any, back: bool) -> tuple[Any, Any]:
    """Return a complex vector times cos - i sin, or times cos + i sin on the way back."""
    builder, (a, b) = llvm.builder, value
    x, y = builder.fmul(b, sin), builder.fmul(a, sin)
    if back:
        return llvm.multiply_add(a, cos, builder.fneg(x)), llvm.multiply_add(b, cos, y)
    return llvm.multiply_add(a, cos, x), llvm.multiply_add(b, cos, builder.fneg(y))


def butterfly(radix: int, back: bool, straight: bool) -> Any:
    """Return a function that computes butterflies of `radix` numbers, forward or back, in place.

    `compute(count, data, i, m, factors, k)` does it for all j < count: the numbers j + s * m, for s < radix, meet, and
    number r is turned by the angle whose cosine and sine stand at factors[k + 2 * (j * (radix - 1) + r - 1):], forward
    afterwards, back before. Number j of all arrays stands at data[i + 2 * j * width:], `width` real parts before
    `width` imaginary ones. Where `straight`, all angles are 0, as where m is 1.
    """
    if numba.config.DISABLE_JIT:

        def plain(count, data, i, m, factors, k):  # type: ignore[no-untyped-def]
            width = together(data.dtype)
            sign = 1j if back else -1j
            matrix = np.exp(sign * 2 * np.pi * (np.outer(range(radix), range(radix)) % radix) / radix)
            for j in range(count):
                places = [i + 2 * width * (j + s * m) for s in range(radix)]
                values = np.array([data[p : p + width] + 1j * data[p + width : p + 2 * width] for p in places])
                turns = np.ones(radix, complex)
                if not straight:
                    angles = factors[k + 2 * j * (radix - 1) :][: 2 * (radix - 1)]
                    turns[1:] = angles[::2] + sign * angles[1::2]
                values = matrix @ (turns[:, None] * values) if back else turns[:, None] * (matrix @ values)
                for p, value in zip(places, values, strict=True):
                    data[p : p + width], data[p + width : p + 2 * width] = value.real, value.imag

        return plain

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[1].dtype)
        data, factors = llvm.data(signature.args[1], args[1], args[2]), llvm.data(signature.args[4], args[4], args[5])
        width = max(ROWS, llvm.lanes)
        with cgutils.for_range(builder, args[0]) as block:
            first = llvm.at(data, builder.mul(block.index, llvm.index(2 * width)))
            distance = builder.mul(args[3], llvm.index(2 * width))
            rows = [llvm.at(first, builder.mul(distance, llvm.index(s))) for s in range(radix)]
            angles = []
            if not straight:
                here = llvm.at(factors, builder.mul(block.index, llvm.index(2 * (radix - 1))))
                angles = [
                    (llvm.copies(llvm.at(here, 2 * r)), llvm.copies(llvm.at(here, 2 * r + 1))) for r in range(radix - 1)
                ]
            for lane in range(0, width, llvm.lanes):
                values = [(llvm.load(llvm.at(row, lane)), llvm.load(llvm.at(row, width + lane))) for row in rows]
                if back and not straight:
                    values[1:] = [turn_by(llvm, v, *a, back) for v, a in zip(values[1:], angles, strict=True)]
                values = dft(llvm, values, back)
                if not back and not straight:
                    values[1:] = [turn_by(llvm, v, *a, back) for v, a in zip(values[1:], angles, strict=True)]
                for row, (real, imaginary) in zip(rows, values, strict=True):
                    llvm.store(real, llvm.at(row, lane))
                    llvm.store(imaginary, llvm.at(row, width + lane))
        return context.get_dummy_value()

    @intrinsic
    def compute(typing, count, data, i, m, factors, k):  # type: ignore[no-untyped-def]
        check(data, factors)
        n = types.intp
        return types.void(n, data, n, n, factors, n), emit

    return compute


def product(back: bool) -> Any:
    """Return a function that multiplies complex vectors, or conjugates the second ones and multiplies.

    `compute(count, data, i, factors, k)`: `count` complex vectors at data[i:] become their products with those at
    factors[k:], both as in `butterfly`.
    """
    if numba.config.DISABLE_JIT:

        def plain(count, data, i, factors, k):  # type: ignore[no-untyped-def]
            width = together(data.dtype)
            values, by = (a[p:][: 2 * width * count].reshape(count, 2, width) for a, p in ((data, i), (factors, k)))
            a, b, c, d = values[:, 0].copy(), values[:, 1].copy(), by[:, 0], -by[:, 1] if back else by[:, 1]
            values[:, 0], values[:, 1] = a * c - b * d, a * d + b * c

        return plain

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[1].dtype)
        data, factors = llvm.data(signature.args[1], args[1], args[2]), llvm.data(signature.args[3], args[3], args[4])
        width = max(ROWS, llvm.lanes)
        with cgutils.for_range(builder, args[0]) as block:
            shift = builder.mul(block.index, llvm.index(2 * width))
            here, there = llvm.at(data, shift), llvm.at(factors, shift)
            for lane in range(0, width, llvm.lanes):
                value, by = ((llvm.load(llvm.at(p, lane)), llvm.load(llvm.at(p, width + lane))) for p in (here, there))
                real, imaginary = turn_by(llvm, value, *by, not back)
                llvm.store(real, llvm.at(here, lane))
                llvm.store(imaginary, llvm.at(here, width + lane))
        return context.get_dummy_value()

    @intrinsic
    def compute(typing, count, data, i, factors, k):  # type: ignore[no-untyped-def]
        check(data, factors)
        n = types.intp
        return types.void(n, data, n, factors, n), emit

    return compute


forward_8, forward_4 = (butterfly(radix, back=False, straight=False) for radix in (8, 4))
inverse_8, inverse_4 = (butterfly(radix, back=True, straight=False) for radix in (8, 4))
straight_8, straight_4 = (butterfly(radix, back=False, straight=True) for radix in (8, 4))
straight_back_8, straight_back_4 = (butterfly(radix, back=True, straight=True) for radix in (8, 4))
multiply_by, multiply_conjugate = product(back=False), product(back=True)


@functools.lru_cache(64)
def steps_of(n: int, dtype: Any) -> tuple[Any, Any, Any]:
    """Return the butterflies of a transform of n numbers, n a power of two from 4 on.

    Args:
        n: how many numbers.
        dtype: float32 or float64.

    Returns:
        (radices, factors, starts): the radix of each step; cosines and sines of its angles, of all steps one after the
        other; and where those of each step start.
    """
    bits = n.bit_length() - 1
    # Steps of 8 take three bits of n. Where two are left they are a step of 4; where one is left, a step of 8 less
    # makes four bits, two steps of 4.
    fours = {0: 0, 2: 1, 1: 2}[bits % 3]
    radices = [8] * ((bits - 2 * fours) // 3) + [4] * fours
    factors, starts, m = [np.zeros(0)], [], n
    for radix in radices:
        starts.append(sum(f.size for f in factors))
        j, r = np.arange(m // radix)[:, None], np.arange(1, radix)
        angles = 2 * np.pi * (j * r) / m
        factors.append(np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(-1))
        m //= radix
    tables = np.array(radices), np.concatenate(factors).astype(dtype), np.array(starts)
    for table in tables:
        table.flags.writeable = False
    return tables


def frequencies(n: int) -> Any:
    """Return the frequency at each place of a transform of n numbers.

    Args:
        n: how many numbers, a power of two from 4 on.

    Returns:
        A permutation of 0, ..., n - 1.
    """
    order = np.zeros(1, np.int64)
    for radix in steps_of(n, np.dtype(np.float64))[0][::-1]:
        order = np.concatenate([radix * order + r for r in range(radix)])
    return order


@kernel
def forward(data, i, n, radices, factors, starts):  # type: ignore[no-untyped-def]
    """Transform the arrays of n numbers that stand at data[i:] as `butterfly` says, in place; see `frequencies`."""
    width = 2 * max(ROWS, lanes(data))
    m, level, last = n, 0, radices.size - 1
    while level < last and m * width * data.itemsize > NEAR_BYTES:
        for place in range(i, i + n * width, m * width):
            step_forward(radices[level], False, m, data, place, factors, starts[level])
        m //= radices[level]
        level += 1
    # The rest of the way goes piece by piece, each of which fits the nearest cache.
    for piece in range(i, i + n * width, m * width):
        part = m
        for step in range(level, radices.size):
            for place in range(piece, piece + m * width, part * width):
                step_forward(radices[step], step == last, part, data, place, factors, starts[step])
            part //= radices[step]


@kernel
def inverse(data, i, n, radices, factors, starts):  # type: ignore[no-untyped-def]
    """Undo `forward`, but for the factor n."""
    width = 2 * max(ROWS, lanes(data))
    m, level, last = n, 0, radices.size - 1
    while level < last and m * width * data.itemsize > NEAR_BYTES:
        m //= radices[level]
        level += 1
    for piece in range(i, i + n * width, m * width):
        part = 1
        for step in range(last, level - 1, -1):
            part *= radices[step]
            for place in range(piece, piece + m * width, part * width):
                step_back(radices[step], step == last, part, data, place, factors, starts[step])
    while level > 0:
        level -= 1
        m *= radices[level]
        for place in range(i, i + n * width, m * width):
            step_back(radices[level], False, m, data, place, factors, starts[level])


@kernel
def step_forward(radix, last, n, data, i, factors, k):  # type: ignore[no-untyped-def]
    """Cut transforms of n numbers into `radix` transforms each."""
    if radix == 8:
        if last:
            straight_8(1, data, i, 1, factors, k)
        else:
            forward_8(n // 8, data, i, n // 8, factors, k)
    elif last:
        straight_4(1, data, i, 1, factors, k)
    else:
        forward_4(n // 4, data, i, n // 4, factors, k)


@kernel
def step_back(radix, last, n, data, i, factors, k):  # type: ignore[no-untyped-def]
    """Undo `step_forward`, but for the factor `radix`."""
    if radix == 8:
        if last:
            straight_back_8(1, data, i, 1, factors, k)
        else:
            inverse_8(n // 8, data, i, n // 8, factors, k)
    elif last:
        straight_back_4(1, data, i, 1, factors, k)
    else:
        inverse_4(n // 4, data, i, n // 4, factors, k)


@kernel
def multiply(conjugate, count, data, i, factors, k):  # type: ignore[no-untyped-def]
    """Multiply `count` complex vectors at data[i:] by those at factors[k:], or by the conjugates of those."""
    if conjugate:
        multiply_conjugate(count, data, i, factors, k)
    else:
        multiply_by(count, data, i, factors, k)
