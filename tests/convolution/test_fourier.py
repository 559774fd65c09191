"""The transforms, the blocks and the choice of the FFT, against NumPy's and SciPy's."""

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

import derivable as dv
from derivable.convolution import fft, fourier
from derivable.convolution.fourier_blocks import LARGEST_BYTES, Blocks, blocks_for, convolve_blocks

SLOW = numba.config.DISABLE_JIT  # loops in Python


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [4, 8, 16, 32, 64, 128] if SLOW else [2**k for k in range(2, 15)])
def test_transform_there_and_back(n, dtype):
    width = fft.together(dtype)
    values = np.random.default_rng(n).standard_normal((n, 2, width)).astype(dtype)
    data = np.concatenate([np.zeros(5, dtype), values.reshape(-1), np.zeros(3, dtype)])  # it starts anywhere
    tables = fft.steps_of(n, np.dtype(dtype))
    assert math.prod(tables[0]) == n
    fft.forward(data, 5, n, *tables)
    got = data[5:-3].reshape(n, 2, width)
    want = np.fft.fft(values[:, 0] + 1j * values[:, 1].astype(np.float64), axis=0)[fft.frequencies(n)]
    bound = np.log2(n) * np.finfo(dtype).eps * np.sqrt(n) * 4
    np.testing.assert_allclose(got[:, 0] + 1j * got[:, 1], want, rtol=0, atol=bound)
    fft.inverse(data, 5, n, *tables)
    np.testing.assert_allclose(data[5:-3] / n, values.reshape(-1), rtol=0, atol=bound)
    assert not data[:5].any()
    assert not data[-3:].any()


@pytest.mark.parametrize("n", [2**k for k in range(2, 12)])
def test_frequencies_are_sorted_by_their_remainders(n):
    order = fft.frequencies(n)
    assert sorted(order) == list(range(n))
    radix = fft.steps_of(n, np.dtype(np.float32))[0][0]
    assert (np.diff(order.reshape(radix, -1) % radix, axis=1) == 0).all()


@pytest.mark.parametrize("conjugate", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_spectra(conjugate, dtype):
    width = fft.together(dtype)
    a, b = np.random.default_rng(0).standard_normal((2, 7, 2, width)).astype(dtype)
    data = a.reshape(-1).copy()
    fft.multiply(conjugate, 7, data, 0, b.reshape(-1).copy(), 0)
    by = b[:, 0] + 1j * b[:, 1]
    want = (a[:, 0] + 1j * a[:, 1]) * (by.conj() if conjugate else by)
    got = data.reshape(7, 2, width)
    np.testing.assert_allclose(got[:, 0] + 1j * got[:, 1], want, rtol=0, atol=20 * np.finfo(dtype).eps)


def cut(h_shape, out, rows, columns):
    """Return blocks of the given size."""
    if len(out) == 1:
        steps, total = (1, rows * columns - h_shape[0] + 1), (1, out[0])
    else:
        steps, total = (rows - h_shape[0] + 1, columns - h_shape[1] + 1), out
    counts = tuple(-(-t // s) for t, s in zip(total, steps, strict=True))
    return Blocks(rows, columns, len(out) == 1, steps, counts, 1.0)


def check_blocks(x, h, start, out, blocks):
    """Compare some blocks with SciPy, in double precision."""
    want = signal.convolve(x.astype(np.float64), h.astype(np.float64), method="fft")
    want = np.pad(want, [(0, max(0, s + o - n)) for s, o, n in zip(start, out, want.shape, strict=True)])
    want = want[tuple(slice(s, s + o) for s, o in zip(start, out, strict=True))]
    got = convolve_blocks(x, h, start, out, blocks)
    assert got.dtype == x.dtype
    bound = 4 * np.finfo(x.dtype).eps * np.linalg.norm(x) * np.linalg.norm(h)
    np.testing.assert_allclose(got, want, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "sizes", [(1, 1), (2, 1)] if SLOW else [(1, 1), (1, 2), (2, 1), (4, 4), (2, 8), (1, 16), (2, 32)]
)
def test_blocks_of_every_size(sizes, dtype):
    """One and several strips and stretches; kernels that leave one output in a block; odd numbers of blocks."""
    width = fft.together(dtype)
    rows, columns = width * sizes[0], width * sizes[1]
    rng = np.random.default_rng(columns)
    for a, b in ((2, 3), (rows // 2, columns // 2), (1, columns - 1), (rows - 1, 1), (rows, columns)):
        steps = rows - a + 1, columns - b + 1
        for down, along in ((1, 1), (2, 3)):  # so many blocks, the last of which is cut off where it can be
            out = tuple(n * s - (s > 1) for n, s in zip((down, along), steps, strict=True))
            x = rng.standard_normal([max(1, o - 2) for o in out]).astype(dtype)
            h = rng.standard_normal((a, b)).astype(dtype)
            for start in ((0, 0), (1, 2), (a - 1, b - 1)):
                check_blocks(x, h, start, out, cut(h.shape, out, rows, columns))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 2)] if SLOW else [(1, 1), (1, 2), (2, 2), (2, 4), (8, 16), (16, 16)])
def test_blocks_of_signals(sizes, dtype):
    width = fft.together(dtype)
    n = width * width * sizes[0] * sizes[1]
    rng = np.random.default_rng(n)
    for length, m in ((1, 1), (5, 3), (n // 2, n // 2), (n + 1, 2), (2 * n + 7, n // 4), (3, n), (n - 1, n - 1)):
        x, h = (rng.standard_normal(k).astype(dtype) for k in (length, m))
        for start, out in ((0, length + m - 1), (m - 1, length), (m // 2, 1)):
            if m <= n // 2 or out < 10:
                check_blocks(x, h, (start,), (out,), cut(h.shape, (out,), width * sizes[0], width * sizes[1]))


@settings(max_examples=10 if SLOW else 150, deadline=None)
@given(st.data())
def test_what_is_chosen_against_scipy(data):
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    dimensions = data.draw(st.integers(1, 3))
    most = (3000, 90, 14)[dimensions - 1] // (10 if SLOW else 1)
    shapes = [tuple(data.draw(st.integers(1, max(1, most // part))) for _ in range(dimensions)) for part in (1, 2)]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, h = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    x, h = (
        a[(slice(None, None, -1),) * dimensions] if data.draw(st.booleans()) else np.asfortranarray(a) for a in (x, h)
    )
    mode = data.draw(st.sampled_from(["full", "same"]))
    got = dv.convolve(x, h, mode, method="fft")
    want = signal.convolve(x.astype(np.float64), h.astype(np.float64), "full", "direct")
    if mode == "same":
        want = want[tuple(slice((m - 1) // 2, (m - 1) // 2 + n) for n, m in zip(x.shape, h.shape, strict=True))]
    assert got.dtype == dtype
    assert got.shape == want.shape
    bound = 4 * np.finfo(dtype).eps * np.linalg.norm(x) * np.linalg.norm(h)
    np.testing.assert_allclose(got, want, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_do_not_depend_on_threads(dtype, monkeypatch):
    from derivable.convolution import fourier_blocks

    rng = np.random.default_rng(0)
    x, h = (rng.standard_normal(shape).astype(dtype) for shape in ((70, 130), (9, 7)))
    results = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(fourier_blocks, "threads_for", lambda seconds, threads=threads: threads)
        results.append(convolve_blocks(x, h, (0, 0), (78, 136), cut(h.shape, (78, 136), 16, 32)))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_arrays_that_may_not_be_written():
    x, h = np.random.default_rng(0).standard_normal((2, 60, 60))
    want = dv.convolve(x, h, method="fft")
    for array in (x, h):
        array.flags.writeable = False
    assert np.array_equal(dv.convolve(x, h, method="fft"), want)
    constant = np.broadcast_to(np.float64(2.0), (60, 60))
    np.testing.assert_allclose(
        dv.convolve(x, constant, method="fft"), 2 * dv.convolve(x, np.ones((60, 60))), atol=1e-11
    )


def test_kernels_too_large_for_a_block():
    """SciPy's transforms take over; no block may take more memory than is stated."""
    double = np.dtype(np.float64)
    n = LARGEST_BYTES // 8
    assert blocks_for((n + 1,), (5,), double) is None
    blocks = blocks_for((n,), (5,), double)
    assert blocks is not None
    assert blocks.rows * blocks.columns == n
    assert blocks_for((3, 3), (5, 5), np.dtype(np.complex128)) is None
    assert blocks_for((3, 3, 3), (5, 5, 5), double) is None
    assert blocks_for((3000, 3000), (5, 5), double) is None


def test_kernels_that_leave_little_of_a_block_are_left_to_scipy():
    double, single = np.dtype(np.float64), np.dtype(np.float32)
    for h, out, dtype in (
        ((1000, 1000), (1999, 1999), double), ((1000, 1000), (1000, 1000), double),
        ((1900, 1900), (3899, 3899), single), ((2_090_000,), (4_290_000,), double),
        ((1023, 2047), (2102, 3966), double),
    ):  # fmt: skip
        assert blocks_for(h, out, dtype) is not None
        assert fourier.worthy_blocks(h, out, dtype) is None
        assert fourier.fft_is_faster(tuple(o - m + 1 for o, m in zip(out, h, strict=True)), h, dtype, out)
    for h, out, dtype in (
        ((65, 65), (2112, 2112), double),
        ((4096,), (1 << 20,), double),
        ((300, 300), (599, 599), single),
    ):
        assert fourier.worthy_blocks(h, out, dtype) is not None


@pytest.mark.slow
def test_each_process_may_be_the_first_to_take_a_dtype(tmp_path):
    """Machine code of one dtype on disk is no hindrance to compile another."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(dv.__file__).parents[1])}
    for dtype in ("float64", "float32"):
        program = f"""
import numpy as np, derivable as dv
x, h = np.ones((40, 50), {dtype!r}), np.ones((9, 9), {dtype!r})
assert abs(dv.convolve(x, h, method="fft")[20, 20] - 81) < 1e-3
assert abs(dv.convolve(x[0], h[0], method="fft")[20] - 9) < 1e-3
"""
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=300)


def test_factors_are_kept_within_bounds():
    from derivable.convolution import fourier_blocks

    small, large = (fourier_blocks.turns_for(n, n, np.dtype(np.float32)) for n in (32, 512))
    assert fourier_blocks.turns_for(32, 32, np.dtype(np.float32)) is small
    assert fourier_blocks.many_turns.cache_info().maxsize == 1
    assert not large.flags.writeable
    width = fft.together(np.float32)
    q, k = np.arange(32), 5
    factors = small.reshape(-1, 32, 2, width)[k // width, :, :, k % width]
    want = np.exp(-2j * np.pi * fft.frequencies(32)[q] * k / 1024)
    np.testing.assert_allclose(factors[:, 0] + 1j * factors[:, 1], want, atol=1e-6)


def test_the_two_ways_agree(monkeypatch):
    rng = np.random.default_rng(0)
    for shape, taps in (
        ((300,), (70,)),
        ((40, 50), (9, 11)),
        ((1, 90), (1, 30)),
        ((1, 1), (1, 1)),
        ((1, 40, 30), (1, 9, 7)),
    ):
        x, h = rng.standard_normal(shape), rng.standard_normal(taps)
        out = tuple(n + m - 1 for n, m in zip(shape, taps, strict=True))
        got, want = (f(x, h, (0,) * len(out), out) for f in (fourier.fourier_convolve, fourier.fourier_convolve_scipy))
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_long_signals_with_long_kernels_take_the_transform():
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        assert fourier.fft_is_faster((100_000,), (1000,), dtype, (100_999,))
        assert fourier.fft_is_faster((512, 512), (31, 31), dtype, (542, 542))
        assert fourier.fft_is_faster((1, 100_000), (1, 1000), dtype, (1, 100_999))
        assert not fourier.fft_is_faster((100_000,), (16,), dtype, (100_015,))
        assert not fourier.fft_is_faster((512, 512), (5, 5), dtype, (516, 516))
        assert not fourier.fft_is_faster((20, 20), (15, 15), dtype, (34, 34))
    assert not fourier.fft_is_faster((100_000,), (1000,), np.dtype(np.int64), (100_999,))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
@pytest.mark.parametrize("size", [1, 5, 63, 64, 129, 1000])
def test_largest_and_mean(size, dtype):
    x = np.random.default_rng(size).standard_normal(size).astype(dtype)
    largest, mean = fourier.largest_and_mean(x)
    assert largest == np.abs(x).max()
    np.testing.assert_allclose(mean, np.abs(x).mean(dtype=np.float64), rtol=1e-6)
    for value, place in itertools.product((np.nan, np.inf, -np.inf), (0, size // 2, size - 1)):
        y = x.copy()
        y[place] = value
        with np.errstate(invalid="ignore"):
            assert not math.isfinite(fourier.largest_and_mean(y)[0])


def test_a_sum_beyond_the_largest_number_is_not_safe():
    huge = np.full(10_000, np.finfo(np.float32).max)
    with np.errstate(over="ignore"):
        assert not fourier.fft_is_safe(huge, huge)
        assert not fourier.fft_is_safe(np.ones(5, np.float32), huge)
    assert fourier.fft_is_safe(np.ones(5), np.ones(10_000))
