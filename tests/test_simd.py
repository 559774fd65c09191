"""The micro-kernels against their plain twins, every variant and every edge of a tile."""

import inspect
import os
import platform
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from derivable import simd
from derivable.convolution import winograd
from derivable.jit import kernel


@kernel(cache=False)
def move(target, i, source, j):
    simd.move(target, i, source, j)


@kernel(cache=False)
def move_every_other(target, i, source, j):
    simd.move_every_other(target, i, source, j)


@kernel(cache=False)
def stream(target, i, source, j):
    simd.stream(target, i, source, j)
    simd.finish_streams()


@kernel(cache=False)
def move_some(target, i, source, j, begin, end):
    simd.move_some(target, i, source, j, begin, end)


@kernel(cache=False)
def move_some_of_every_other(target, i, source, j, begin, end):
    simd.move_some_of_every_other(target, i, source, j, begin, end)


@kernel(cache=False)
def clear(target, i):
    simd.clear(target, i)


@kernel(cache=False)
def turn(target, i, offsets, j, source, k, pitch):
    simd.turn(target, i, offsets, j, source, k, pitch)


@kernel(cache=False)
def sum_sizes(count, x, i, out):
    simd.sum_sizes(count, x, i, out)


DTYPES = [np.float32, np.float64]


def lanes(dtype):
    return simd.VECTOR_BYTES // np.dtype(dtype).itemsize


def numbers(rng, size, dtype):
    return rng.standard_normal(size).astype(dtype)


def close(got, want, dtype, depth):
    np.testing.assert_allclose(got, want, rtol=0, atol=40 * np.sqrt(depth) * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vectors", [1, 2, 3])
@pytest.mark.parametrize("add", [False, True])
def test_multiply_tile(dtype, vectors, add):
    rng = np.random.default_rng(0)
    width = vectors * lanes(dtype)
    for depth in (1, 2, 37):
        a, b = numbers(rng, 3 + depth * simd.ROWS, dtype), numbers(rng, 5 + depth * width, dtype)
        for rows in (1, simd.ROWS - 1, simd.ROWS):
            for columns in {width, width - 1, (vectors - 1) * lanes(dtype) + 1}:
                c = numbers(rng, 7 + simd.ROWS * 61, dtype)
                got, want = c.copy(), c.copy()
                simd.multiply_tile(depth, vectors, a, 3, b, 5, got, 7, 61, rows, columns, add, b, 2, 999)
                simd.multiply_tile_plain(depth, vectors, a, 3, b, 5, want, 7, 61, rows, columns, add, b, 2, 999)
                close(got, want, dtype, depth)
                product = a[3:].reshape(depth, -1).T @ b[5:].reshape(depth, -1)
                tile = want[7:].reshape(simd.ROWS, 61)[:rows, :columns]
                old = c[7:].reshape(simd.ROWS, 61)[:rows, :columns] if add else 0
                close(tile, product[:rows, :columns] + old, dtype, depth)
                untouched = np.ones(c.size, bool)
                untouched[7:].reshape(simd.ROWS, 61)[:rows, :columns] = False
                np.testing.assert_array_equal(got[untouched], c[untouched])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vectors", [1, 2, 3])
@pytest.mark.parametrize("add", [False, True])
def test_multiply_rows(dtype, vectors, add):
    rng = np.random.default_rng(1)
    width = vectors * lanes(dtype)
    lines, length, pitch, line, step = 3, 11, 101, 37, 2
    for rows in (1, simd.ROWS - 1, simd.ROWS):
        # Exactly as long as the rows that exist: beyond them nothing may be read.
        a = numbers(rng, 3 + (rows - 1) * pitch + (lines - 1) * line + (length - 1) * step + 1, dtype)
        b = numbers(rng, 5 + lines * (length * width + 4), dtype)
        for columns in {width, (vectors - 1) * lanes(dtype) + 1}:
            c = numbers(rng, 7 + simd.ROWS * 61, dtype)
            got, want = c.copy(), c.copy()
            place = (lines, length, vectors, a, 3, pitch, line, step, b, 5, length * width + 4)
            simd.multiply_rows(*place, got, 7, 61, rows, columns, add)
            simd.multiply_rows_plain(*place, want, 7, 61, rows, columns, add)
            close(got, want, dtype, lines * length)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lines", [1, simd.LINES])
@pytest.mark.parametrize("vectors", [1, 2, 4])
@pytest.mark.parametrize("add", [False, True])
def test_correlate_tile(dtype, lines, vectors, add):
    rng = np.random.default_rng(2)
    width = vectors * lanes(dtype)
    for kh, kw in ((3, 3), (4, 1), (7, 2)) if lines > 1 else ((1, 1), (2, 3), (5, 2)):
        pitch = width + kw + 3
        x, w = numbers(rng, (lines + kh) * pitch + width, dtype), numbers(rng, 2 + kh * kw, dtype)
        shifts = np.arange(kw, dtype=np.int64)[::-1].copy()
        for rows in {1, lines}:
            for columns in {width, width - 1, (vectors - 1) * lanes(dtype) + 1}:
                c = numbers(rng, 7 + lines * 99, dtype)
                got, want = c.copy(), c.copy()
                place = (lines, vectors, kh, kw, x, 4, pitch, shifts, w, 2, dtype(0.5))
                simd.correlate_tile(*place, got, 7, 99, rows, columns, add)
                simd.correlate_tile_plain(*place, want, 7, 99, rows, columns, add)
                close(got, want, dtype, kh * kw)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("vectors", [1, 2, 4])
@pytest.mark.parametrize("add", [False, True])
def test_correlate_square(dtype, step, vectors, add):
    rng = np.random.default_rng(4)
    width = vectors * lanes(dtype)
    pitch, shifts = width + 9, np.array([5, 0, 3])
    for rows in (1, 2, 3, 4, 7):
        x, w = numbers(rng, 4 + (rows * step + 2 + simd.LINES) * pitch, dtype), numbers(rng, 2 + 9, dtype)
        for columns in {width, width - 1, (vectors - 1) * lanes(dtype) + 1}:
            c = numbers(rng, 7 + rows * 99, dtype)
            got, want = c.copy(), c.copy()
            place = (step, vectors, x, 4, pitch, shifts, w, 2, dtype(0.5))
            simd.correlate_square(*place, got, 7, 99, rows, columns, add)
            simd.correlate_square_plain(*place, want, 7, 99, rows, columns, add)
            close(got, want, dtype, 9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [False, True])
def test_spread_square(dtype, add):
    rng = np.random.default_rng(5)
    n = lanes(dtype)
    for rows in (1, 2, 3, 6):
        for columns in (1, 2, n - 1, n, n + 1, 2 * n - 1, 2 * n, 2 * n + 1, 5 * n + 3):
            pitch = columns // 2 + 2 * n
            g, w = numbers(rng, 4 + (rows // 2 + 3) * pitch, dtype), numbers(rng, 2 + 9, dtype)
            c = numbers(rng, 7 + rows * 99, dtype)
            got, want = c.copy(), c.copy()
            simd.spread_square(g, 4, pitch, w, 2, dtype(0.5), got, 7, 99, rows, columns, add)
            simd.spread_square_plain(g, 4, pitch, w, 2, dtype(0.5), want, 7, 99, rows, columns, add)
            close(got, want, dtype, 9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("square", "planes"), [(True, simd.PLANES), (True, 1), (False, 1)])
def test_sum_taps(dtype, square, planes):
    rng = np.random.default_rng(6)
    n = lanes(dtype)
    for length in (1, n - 1, n, 3 * n + 2):
        pitch = length + 2 * n
        shifts = rng.integers(0, n, 2 + 9)
        # Lines of g end with the array: beyond them nothing may be read.
        g, x = numbers(rng, 3 + (planes - 1) * 500 + 4 * 99 + length, dtype), numbers(rng, 4 + 5 * pitch, dtype)
        got = numbers(rng, 5 + planes * 200, dtype)
        want = got.copy()
        place = (square, planes, 5, length, g, 3, 99, 500, x, 4, pitch, shifts, 2)
        simd.sum_taps(*place, got, 5, 200)
        simd.sum_taps_plain(*place, want, 5, 200)
        close(got, want, dtype, 5 * 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_moves_of_some(dtype):
    n = lanes(dtype)
    source = np.arange(1, 3 * n + 1, dtype=dtype)
    for begin in (-3, 0, 1, n - 1, n, n + 2):
        for end in (-1, 0, 1, 2, n - 1, n, n + 3):
            for move_part, plain in (
                (move_some, simd.move_some_plain),
                (move_some_of_every_other, simd.move_some_of_every_other_plain),
            ):
                got, want = np.full(n + 2, -1, dtype), np.full(n + 2, -1, dtype)
                move_part(got, 1, source, 2, begin, end)
                plain(want, 1, source, 2, begin, end)
                np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_moves(dtype):
    n = lanes(dtype)
    source = np.arange(5 * n + simd.ROWS * 50, dtype=dtype)
    target = np.full(3 * n, -1, dtype)
    move(target, 2, source, 3)
    np.testing.assert_array_equal(target, np.r_[[-1] * 2, np.arange(3, 3 + n), [-1] * (2 * n - 2)])
    streamed = np.full(3 * n, -1, dtype)
    place = -streamed.ctypes.data % simd.VECTOR_BYTES // streamed.itemsize
    stream(streamed, place, source, 3)
    np.testing.assert_array_equal(streamed[place : place + n], np.arange(3, 3 + n))
    assert (streamed[:place] == -1).all()
    assert (streamed[place + n :] == -1).all()
    clear(target, 1)
    np.testing.assert_array_equal(target[: n + 3], np.r_[-1, np.zeros(n), 2 + n, -1])
    # The last number read is the last one needed.
    move_every_other(target, 0, source[: 3 + 2 * n - 1].copy(), 3)
    np.testing.assert_array_equal(target[:n], np.arange(3, 3 + 2 * n, 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_turn(dtype):
    rng = np.random.default_rng(3)
    r = simd.ROWS
    source = numbers(rng, 2 + r * 50, dtype)
    offsets = (np.arange(r + 1, dtype=np.int64) * (r + 3))[::-1].copy()
    got, want = np.zeros(5 + (r + 1) * (r + 3), dtype), np.zeros(5 + (r + 1) * (r + 3), dtype)
    turn(got, 5, offsets, 1, source, 2, 50)
    simd.turn_plain(want, 5, offsets, 1, source, 2, 50)
    np.testing.assert_array_equal(got, want)
    for t in range(r):
        np.testing.assert_array_equal(got[5 + offsets[1 + t] :][:r], source[2 + t :: 50][:r])


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # in plain Python
@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_are_summed_lane_by_lane(dtype):
    width = lanes(dtype)
    x = numbers(np.random.default_rng(0), 5 * 4 * width, dtype)
    got, want = np.ones(2 * width, dtype), np.ones(2 * width, dtype)
    sum_sizes(3, x, 7, got)
    simd.sum_sizes_plain(3, x, 7, want)
    np.testing.assert_allclose(got, want, rtol=20 * np.finfo(dtype).eps)
    block = np.abs(x[7 : 7 + 12 * width].reshape(-1, width))
    np.testing.assert_allclose(got[:width], 1 + block.sum(axis=0, dtype=np.float64), rtol=20 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(got[width:], np.maximum(1, block.max(axis=0)))
    x[7 + width + 2] = np.nan  # it comes to its sum alone
    got[:] = 0
    sum_sizes(3, x, 7, got)
    assert np.flatnonzero(np.isnan(got)).tolist() == [2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_stay_in_their_rows_and_columns(dtype):
    width = 3 * lanes(dtype)
    a, b, c = np.ones(2 * simd.ROWS, dtype), np.ones(2 * width, dtype), np.zeros(simd.ROWS * width, dtype)
    a[1], b[width + 2] = np.nan, np.inf
    simd.multiply_tile(2, 3, a, 0, b, 0, c, 0, width, simd.ROWS, width, False, b, 0, 0)
    tile = c.reshape(simd.ROWS, width)
    assert np.isnan(tile[1]).all()
    assert np.isposinf(np.delete(tile, 1, 0)[:, 2]).all()
    np.testing.assert_array_equal(np.delete(np.delete(tile, 1, 0), 2, 1), 2)


def test_other_arrays_are_refused():
    if simd.multiply_tile is simd.multiply_tile_plain:
        pytest.skip("the plain twin takes any array")
    from numba import TypingError

    for wrong in (np.zeros(9, np.int64), np.zeros(18)[::2], np.zeros(9, np.complex128), np.zeros(9, np.float32)):
        with pytest.raises(TypingError):
            simd.multiply_tile(1, 1, wrong, 0, np.zeros(99), 0, np.zeros(99), 0, 1, 1, 1, False, np.zeros(9), 0, 0)


def test_peak_is_a_rate():
    if simd.multiply_tile is simd.multiply_tile_plain:
        pytest.skip("minutes in plain Python")
    assert simd.peak(np.float32, threads=1, repeats=1) > 1e6


PROCESSORS = [("generic", "", 16), ("haswell", "+avx,+avx2,+fma", 32), ("skylake-avx512", "+avx512f,+avx512vl", 64)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "features", "size"), PROCESSORS)
def test_other_processors(name, features, size, tmp_path):
    """The same code on narrower registers: run here, where this processor knows those instructions."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("names of x86 processors")
    if size > simd.VECTOR_BYTES:
        pytest.skip(f"this processor has vectors of {simd.VECTOR_BYTES} bytes")
    environment = {
        **os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(simd.__file__).parents[1]),
    }  # fmt: skip
    program = f"""
import numpy as np
from derivable import simd
from derivable.jit import kernel
import derivable as dv
assert simd.VECTOR_BYTES == {size}, simd.VECTOR_BYTES
rng = np.random.default_rng(0)
x, w = rng.standard_normal((1, 9, 11, 13)), rng.standard_normal((10, 9, 3, 3))
want = dv.conv2d(x, w, padding=1, method="direct")
for method in ("bands", "implicit"):
    np.testing.assert_allclose(dv.conv2d(x, w, padding=1, method=method), want, atol=1e-11)
dtype = np.float64 if {size} == 16 else np.float32  # of those, a vector has fewer lanes than a transform
for sizes, taps in (((300,), (90,)), ((40, 50), (9, 11))):
    x, h = rng.standard_normal(sizes).astype(dtype), rng.standard_normal(taps).astype(dtype)
    direct, fft = (dv.convolve(x, h, method=method) for method in ("direct", "fft"))
    np.testing.assert_allclose(fft, direct, atol=400 * np.finfo(dtype).eps)
"""
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=300)


SMALL = {
    "output": winograd.A[4], "input": winograd.B[4], "kernel": winograd.G[4], "output of 2": winograd.A[2],
    "input of 2": winograd.B[2], "no pairs": np.array([[1.0, -1.0, 0.5], [0.0, 2.0, 3.0]]),
    "gradient": winograd.A_BACK[4], "a row in two pairs": np.array([[1.0, 1, 1], [1, -1, -1], [1, -1, 1], [1, 1, 1]]),
    "a column in two pairs": np.array([[1.0, 1, 1], [1, -1, -1], [1, 1, 1]]),
    "nothing even": np.array([[0.0, 1, 0], [0, -1, 0], [0, 0, 0]]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("matrix", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("rows", [False, True])
def test_sandwich_is_a_product_from_both_sides_in_each_lane(matrix, dtype, rows):
    rng = np.random.default_rng(0)
    (m, n), count = matrix.shape, 2
    length = count * (simd.ROWS if rows else lanes(dtype))
    source = numbers(rng, 3 + n * n * (length + 5), dtype)
    target = np.full(7 + m * m * (length + 9), np.nan, dtype)
    compute = run_small(simd.sandwich(matrix, rows))
    compute(count, source, 3, n * (length + 5), length + 5, target, 7, length + 9)
    blocks = source[3:].reshape(n, n, length + 5)[:, :, :length].astype(np.float64)
    want = np.einsum("pi,ijt,qj->pqt", matrix, blocks, matrix)
    got = target[7:].reshape(m, m, length + 9)
    np.testing.assert_allclose(got[:, :, :length], want, rtol=0, atol=400 * np.finfo(dtype).eps)
    assert np.isnan(got[:, :, length:]).all(), "nothing else is written"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", [2, 4, winograd.STRIDED])
def test_sandwich_of_rows_turns_them_round(kind, backwards, whole, dtype):
    rng = np.random.default_rng(0)
    matrix, count, panels, row_pitch = winograd.G[kind], 3, 2, 31
    size = lanes(dtype) if whole else simd.ROWS
    (m, n), step = matrix.shape, 7 * row_pitch * size
    source = numbers(rng, count * step + 40, dtype)
    line = size + 2  # from one k to the next
    pitch = count * line + 5
    panel = m * m * pitch + 3
    target = np.full(2 + panels * panel, np.nan, dtype)
    first = 20 if backwards else 11
    run_small(simd.sandwich_rows(matrix, backwards, whole))(
        count, panels, source, first, row_pitch, step, target, 2, pitch, panel, line
    )
    got = target[2:].reshape(panels, panel)[:, : m * m * pitch].reshape(panels, m * m, pitch)
    order = np.arange(n * n).reshape(n, n) * (-1 if backwards else 1)
    for q in range(panels):
        for k in range(count):
            for r in range(size):
                block = source[first + k * step + (q * size + r) * row_pitch + order].astype(np.float64)
                want = (matrix @ block @ matrix.T).reshape(-1)
                np.testing.assert_allclose(got[q, :, k * line + r], want, rtol=0, atol=100 * np.finfo(dtype).eps)
            assert np.isnan(got[q, :, k * line + size : (k + 1) * line]).all(), "nothing else is written"
    assert np.isnan(got[:, :, count * line :]).all(), "nothing else is written"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [2, 4, winograd.STRIDED, winograd.SPREAD])
def test_sandwich_joined_writes_rows(kind, dtype):
    rng = np.random.default_rng(0)
    matrix, count, first = winograd.A[kind], 2, dtype(0.5)
    (m, n), length = matrix.shape, count * lanes(dtype)
    source = numbers(rng, 3 + n * n * (length + 5), dtype)
    target = np.full(7 + m * (m * length + 9), np.nan, dtype)
    compute = run_small(simd.sandwich_joined(matrix))
    arguments = (count, source, 3, n * (length + 5), length + 5, first, target, 7, m * length + 9)
    total = np.zeros(lanes(dtype), dtype)
    compute(*arguments, total)
    blocks = source[3:].reshape(n, n, length + 5)[:, :, :length].astype(np.float64)
    want = np.einsum("pi,ijt,qj->ptq", matrix, blocks, matrix).reshape(m, -1) + 0.5
    got = target[7:].reshape(m, m * length + 9)
    np.testing.assert_allclose(got[:, : m * length], want, rtol=0, atol=400 * np.finfo(dtype).eps)
    assert np.isnan(got[:, m * length :]).all(), "nothing else is written"
    assert (total == 0).all()
    source[3 + lanes(dtype) + 1] = np.inf  # of the second vector, lane 1
    with np.errstate(invalid="ignore"):
        compute(*arguments, total)
    assert list(np.flatnonzero(total != 0)) == [1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("kind", [4, winograd.STRIDED])
def test_sandwich_turned_writes_each_lane_into_a_row(kind, add, dtype):
    rng = np.random.default_rng(0)
    matrix, count, step = winograd.A_BACK[kind], 2, 13
    (m, n), length = matrix.shape, count * lanes(dtype)
    source, before = numbers(rng, 3 + n * n * (length + 5), dtype), numbers(rng, 7 + length * step, dtype)
    target, total = before.copy(), np.zeros(lanes(dtype), dtype)
    run_small(simd.sandwich_turned(matrix))(count, source, 3, n * (length + 5), length + 5, target, 7, step, add, total)
    blocks = source[3:].reshape(n, n, length + 5)[:, :, :length].astype(np.float64)
    want = np.einsum("pi,ijt,qj->tpq", matrix, blocks, matrix).reshape(length, -1)
    got, old = target[7:].reshape(length, step), before[7:].reshape(length, step)
    want = want + old[:, : m * m] if add else want
    np.testing.assert_allclose(got[:, : m * m], want, rtol=0, atol=400 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(got[:, m * m :], old[:, m * m :], "nothing else is written")
    assert (total == 0).all()
    source[3 + 1] = np.nan
    run_small(simd.sandwich_turned(matrix))(count, source, 3, n * (length + 5), length + 5, target, 7, step, add, total)
    assert list(np.flatnonzero(np.isnan(total))) == [1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("vectors", [1, 2, 3])
@pytest.mark.parametrize("panels", [1, 2, 3])
def test_multiply_entries_is_one_tile_after_another(panels, vectors, add, dtype):
    rng = np.random.default_rng(0)
    entries, depth, width = 3, 5, vectors * lanes(dtype)
    a_entry, b_entry, pitch = depth * simd.ROWS + 3, depth * width + 5, width + 2
    a_panel, c_entry = entries * a_entry + 1, simd.ROWS * pitch
    c_panel = entries * c_entry + 4
    a, b = numbers(rng, 2 + panels * a_panel, dtype), numbers(rng, 6 + entries * b_entry, dtype)
    c = numbers(rng, 9 + panels * c_panel, dtype)
    got, want = c.copy(), c.copy()
    simd.multiply_entries(
        entries, panels, depth, vectors, a, 2, a_panel, a_entry, b, 6, b_entry, got, 9, c_panel, c_entry, pitch, add
    )
    for q in range(panels):
        for e in range(entries):
            simd.multiply_tile_plain(
                depth, vectors, a, 2 + q * a_panel + e * a_entry, b, 6 + e * b_entry,
                want, 9 + q * c_panel + e * c_entry, pitch, simd.ROWS, width, add, b, 0, 0,
            )  # fmt: skip
    close(got, want, dtype, depth)
    assert not np.array_equal(got, c)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("vectors", [1, 2, 3])
@pytest.mark.parametrize("panels", [1, 2, 3])
def test_multiply_beside_takes_panels_side_by_side(panels, vectors, add, dtype):
    rng = np.random.default_rng(0)
    entries, depth, width = 3, 5, vectors * lanes(dtype)
    a_line = panels * simd.ROWS + 1
    a_entry, b_entry, pitch = depth * a_line + 3, depth * width + 5, width + 2
    c_entry = simd.ROWS * pitch
    c_panel = entries * c_entry + 4
    a, b = numbers(rng, 2 + entries * a_entry, dtype), numbers(rng, 6 + entries * b_entry, dtype)
    c = numbers(rng, 9 + panels * c_panel, dtype)
    got, want = c.copy(), c.copy()
    # What is asked for need not exist.
    places = np.arange(entries * panels) * 1000 - 1
    simd.multiply_beside(
        entries, panels, depth, vectors, a, 2, a_line, a_entry, b, 6, b_entry, got, 9, c_panel, c_entry, pitch, add,
        b, 3, places, 10**6,
    )  # fmt: skip
    for q in range(panels):
        for e in range(entries):
            rows = a[2 + e * a_entry : 2 + e * a_entry + depth * a_line].reshape(depth, a_line)
            rows = rows[:, q * simd.ROWS :][:, : simd.ROWS].astype(np.float64)
            vector = b[6 + e * b_entry : 6 + e * b_entry + depth * width].reshape(depth, width)
            place = 9 + q * c_panel + e * c_entry
            for i, line in enumerate(rows.T @ vector):
                old = c[place + i * pitch : place + i * pitch + width] if add else 0
                want[place + i * pitch : place + i * pitch + width] = old + line
    close(got, want, dtype, depth)
    assert not np.array_equal(got, c)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("step", [2, 4])
def test_along_multiplies_overlapping_pieces_of_a_row(step, dtype):
    rng = np.random.default_rng(0)
    for matrix in (winograd.B[step], rng.standard_normal((3, step + 2)), rng.standard_normal((5, step + 1))):
        (m, n), count = matrix.shape, 2
        length = count * lanes(dtype)
        source = numbers(rng, 3 + step * length + lanes(dtype), dtype)
        target = np.full(7 + m * (length + 9), np.nan, dtype)
        run_small(simd.along(matrix, step))(count, source, 3, target, 7, length + 9)
        pieces = np.lib.stride_tricks.sliding_window_view(source[3:].astype(np.float64), n)[::step][:length]
        got = target[7:].reshape(m, length + 9)
        np.testing.assert_allclose(got[:, :length], matrix @ pieces.T, rtol=0, atol=200 * np.finfo(dtype).eps)
        assert np.isnan(got[:, length:]).all(), "nothing else is written"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kind", "columns"), [(2, None), (4, None), (winograd.SPREAD, 5), (winograd.STRIDED, None), (2, 3)]
)
def test_across_multiplies_from_the_left_in_each_lane(kind, columns, dtype):
    rng = np.random.default_rng(0)
    matrix, count = winograd.B[kind], 2
    (m, rows), length = matrix.shape, count * lanes(dtype)
    n = columns or rows
    source = numbers(rng, 3 + rows * n * (length + 5), dtype)
    target = np.full(7 + m * n * (length + 9), np.nan, dtype)
    run_small(simd.across(matrix, columns))(count, source, 3, length + 5, target, 7, length + 9)
    blocks = source[3:].reshape(rows, n, length + 5)[:, :, :length].astype(np.float64)
    got = target[7:].reshape(m, n, length + 9)
    want = np.einsum("pi,iqt->pqt", matrix, blocks)
    np.testing.assert_allclose(got[:, :, :length], want, rtol=0, atol=200 * np.finfo(dtype).eps)
    assert np.isnan(got[:, :, length:]).all(), "nothing else is written"


def run_small(compute):
    """Return a function for Python that calls an intrinsic."""
    if numba.config.DISABLE_JIT:
        return compute
    names = list(inspect.signature(compute._defn).parameters)[1:]
    scope = {"compute": compute}
    exec(f"def call({', '.join(names)}): compute({', '.join(names)})", scope)
    return numba.njit(scope["call"])


def test_rows_that_are_opposite_are_found():
    assert simd.opposite(winograd.B[4]) == [(1, 2), (3, 4)]
    assert simd.opposite(winograd.A[4].T) == [(1, 2), (3, 4)]
    assert simd.opposite(np.eye(3)) == []
    assert simd.opposite(np.array([[1.0, 0.0], [1.0, 0.0]])) == [], "equal rows have no half of their own"
