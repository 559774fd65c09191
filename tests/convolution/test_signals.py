"""Where SciPy is right we agree with it; where users met its faults, the right behaviour is a test."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

import derivable as dv


def some(rng, shape, dtype=float):
    value = rng.normal(size=shape)
    return value + 1j * rng.normal(size=shape) if dtype is complex else value


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_all_small_sizes_against_scipy(mode, dtype):
    from scipy import signal

    rng = np.random.default_rng(0)
    for n, m in itertools.product(range(1, 7), repeat=2):
        x, h = some(rng, n, dtype), some(rng, m, dtype)
        np.testing.assert_allclose(dv.convolve(x, h, mode), signal.convolve(x, h, mode), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(dv.correlate(x, h, mode), signal.correlate(x, h, mode), rtol=1e-12, atol=1e-14)
        two = dv.convolve(x[None], h[None], mode)
        np.testing.assert_allclose(two, signal.convolve2d(x[None], h[None], mode), rtol=1e-12, atol=1e-14)
        # One rule in all dimensions: an axis of length 1 more changes nothing (scipy.signal.correlate2d does).
        assert np.array_equal(dv.correlate(x[None], h[None], mode)[0], dv.correlate(x, h, mode))


def test_where_correlate2d_differs():
    from scipy import signal

    x, h = np.arange(1.0, 6), np.array([1.0, 10.0])
    assert dv.correlate(x, h, "same").tolist() == signal.correlate(x, h, "same").tolist() == [10, 21, 32, 43, 54]
    assert signal.correlate2d(x[None], h[None], "same")[0].tolist() == [21, 32, 43, 54, 5]  # one place later
    # "valid" with the longer array second: correlate2d reverses, but forgets to conjugate.
    a, b = np.array([[1j]]), np.array([[1.0, 2j]])
    assert dv.correlate(a, b, "valid").tolist() == [[2, 1j]]
    assert signal.correlate2d(a, b, "valid").tolist() != [[2, 1j]]


def test_exchanging_the_arrays_reverses_and_conjugates():
    rng = np.random.default_rng(1)
    x, h = some(rng, (4, 3), complex), some(rng, (2, 3), complex)
    for mode in ("full", "valid"):
        np.testing.assert_allclose(dv.correlate(h, x, mode), dv.correlate(x, h, mode)[::-1, ::-1].conj())


@pytest.mark.parametrize("boundary", ["wrap", "symm"])
def test_kernels_much_longer_than_the_signal(boundary):
    # scipy/scipy#8684 and #12686: convolve2d read memory outside its input here.
    x, h = np.array([[1, 2], [-2, 0]]), np.arange(35).reshape(5, 7)
    wide = np.pad(x, [(8, 8), (12, 12)], mode={"wrap": "wrap", "symm": "symmetric"}[boundary])
    expected = dv.convolve(wide, h)[8 : 8 + 6, 12 : 12 + 8]
    assert np.array_equal(dv.convolve(x, h, boundary=boundary), expected)


def test_same_with_boundary_has_the_size_of_x():
    # scipy/scipy#12685, #11973: exchanged inputs changed the meaning of the boundary, or the shape.
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(4, 4)), rng.normal(size=(4, 3))
    for x, h in ((a, b), (b, a), (a[:1, :1], b)):
        assert dv.correlate(x, h, "same", "wrap").shape == x.shape


def test_integers_do_not_overflow():
    # int8 and uint8 images wrap round in SciPy; masks of bool are counts.
    x = np.full(3, 100, np.int8)
    assert dv.convolve(x, x).tolist() == [10000, 20000, 30000, 20000, 10000]
    assert dv.correlate(np.array([True, True]), np.array([True, True])).tolist() == [1, 2, 1]
    assert dv.convolve(np.array([2**62]), [1]).tolist() == [2**62]
    assert dv.convolve(np.array([2**53 + 1]), np.array([1, 0, 0])).tolist() == [2**53 + 1, 0, 0]
    assert dv.convolve(np.array([2**63 - 1], np.uint64), np.array([1], np.int8)).tolist() == [2**63 - 1]
    # scipy/scipy#6076: 2 * 2**62 silently became -2**63.
    for a, b in ((np.array([2]), np.array([2**62])), (np.array([2**63], np.uint64), np.array([1], np.uint64))):
        with pytest.raises(OverflowError, match="int64"):
            dv.convolve(a, b)
    with pytest.raises(OverflowError, match="int64"):
        dv.convolve([1, 1], [2**40], boundary="fill", fillvalue=2**40)
    with pytest.raises(OverflowError, match="int64"):
        dv.convolve(np.array([-(2**63)]), np.array([-1]))


def test_large_integers_are_exact_where_the_fft_would_round():
    rng = np.random.default_rng(3)
    x, h = rng.integers(0, 2**25, 4000), rng.integers(0, 2**24, 1000)
    result = dv.convolve(x, h)
    for i in (0, 999, 2500, 4998):
        exact = sum(int(h[k]) * int(x[i - k]) for k in range(1000) if 0 <= i - k < 4000)
        assert int(result[i]) == exact


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_larger_plain_arrays_against_scipy(mode, dtype):
    # Those with too much work for the definition alone, and too few taps for the FFT.
    from scipy import signal

    rng = np.random.default_rng(3)
    for sizes, taps in (((3000,), (16,)), ((90, 70), (3, 5)), ((30, 20, 25), (3, 2, 3))):
        x, h = some(rng, sizes, complex), some(rng, taps, complex)
        x, h = (a.astype(dtype) if dtype is np.complex128 else a.real.astype(dtype) for a in (x, h))
        want = signal.convolve(x, h, mode, "direct")
        for a, b in ((x, h), (x[..., ::-1][..., ::-1], h), (x.copy("F"), h.copy("F"))):
            got = dv.convolve(a, b, mode)
            assert got.dtype == dtype
            np.testing.assert_allclose(got, want, rtol=0, atol=100 * np.finfo(dtype).eps)
        x[(7,) * x.ndim] = np.nan
        np.testing.assert_array_equal(
            np.isnan(dv.convolve(x, h, mode)), np.isnan(signal.convolve(x, h, mode, "direct"))
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_number_stays_where_it_is(value):
    # scipy/scipy#15927: with the FFT, one NaN is everywhere.
    rng = np.random.default_rng(4)
    x, h = rng.normal(size=3000), rng.normal(size=500)
    x[1000] = value
    bad = ~np.isfinite(dv.convolve(x, h))
    assert bad.sum() == 500
    assert bad[1000:1500].all()
    bad = ~np.isfinite(dv.convolve(h, x))
    assert bad[1000:1500].all()
    assert bad.sum() == 500
    with pytest.raises(ValueError, match="finite"):
        dv.convolve(x, h, method="fft")


def test_an_infinite_weight_meets_no_zero_outside():
    assert dv.convolve([1.0, 2.0], [1.0, np.inf]).tolist() == [1, np.inf, np.inf]
    image, kernel = np.ones((1, 1, 6, 6)), np.ones((1, 1, 3, 3))
    kernel[0, 0, 0, 0] = np.inf
    out = dv.conv2d(image, kernel, padding=1)
    assert not np.isnan(out).any()
    assert np.isinf(out[0, 0, 1:, 1:]).all()
    assert np.isfinite(out[0, 0, 0]).all()


def test_numbers_of_very_different_size_are_not_given_to_the_fft():
    # scipy/scipy#22390: all but the largest results were noise.
    a = np.array([0.0] * 10000 + [10.0 ** (9 * i) for i in range(10)])
    result = dv.convolve(a, a)
    np.testing.assert_allclose(result[20000], 1.0)
    np.testing.assert_allclose(result[20001], 2e9)
    big = np.full(5000, 1e200)
    assert np.isfinite(dv.convolve(big, np.full(1000, 1e-3))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_fft_agrees_with_the_sums(dtype):
    rng = np.random.default_rng(5)
    x, h = some(rng, (150, 90), complex), some(rng, (31, 40), complex)
    if np.dtype(dtype).kind == "f":
        x, h = x.real, h.real
    x, h = x.astype(dtype), h.astype(dtype)
    exact = dv.convolve(x.astype(complex), h.astype(complex), method="direct")
    bound = 4 * np.finfo(dtype).eps * np.linalg.norm(x) * np.linalg.norm(h)
    for mode, boundary in itertools.product(("full", "same", "valid"), ("fill", "wrap", "symm")):
        fast = dv.convolve(x, h, mode, boundary, method="fft")
        slow = dv.convolve(x, h, mode, boundary, method="direct")
        assert fast.dtype == slow.dtype == dtype
        np.testing.assert_allclose(fast, slow, rtol=0, atol=4 * bound)
    assert np.abs(dv.convolve(x, h, method="fft") - exact).max() < bound


def test_dtypes():
    f32, f64, i16 = np.ones(2, np.float32), np.ones(2), np.ones(2, np.int16)
    assert dv.convolve(f32, f32).dtype == np.float32
    assert dv.convolve(f32, f32, fillvalue=0.5).dtype == np.float32
    assert dv.convolve(f32, f64).dtype == np.float64
    assert dv.convolve(i16, f32).dtype == np.float32
    assert dv.convolve(i16, i16).dtype == np.int64
    assert dv.convolve(i16, i16, fillvalue=0.5).dtype == np.float64
    assert dv.convolve(f64.astype(">f8"), f64).dtype == np.dtype("=f8")
    assert dv.convolve(f32, f32.astype(np.complex64)).dtype == np.complex64


def test_inputs_are_not_changed():
    x, h = np.arange(5.0), np.arange(3.0)
    before = x.copy(), h.copy()
    dv.convolve(x, h, "same", "wrap")
    assert np.array_equal(x, before[0])
    assert np.array_equal(h, before[1])


def test_import_brings_no_scipy_signal():
    code = "import sys, derivable; print(any(m.startswith(('scipy.signal', 'scipy.fft')) for m in sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_many_blocks_of_a_long_signal(dtype):
    """More blocks than are transformed together, the last of them cut off."""
    rng = np.random.default_rng(4)
    x, h = (rng.standard_normal(n).astype(dtype) for n in (130_001, 40))
    if dtype is np.complex128:
        x = x + 1j * x[::-1]
    for mode in ("full", "same", "valid"):
        got, want = dv.convolve(x, h, mode=mode, method="fft"), np.convolve(x, h, mode)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, atol=50 * np.finfo(dtype).eps * np.abs(want).max())
