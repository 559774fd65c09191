"""Every algorithm for a layer against the definition, over random geometries; NaN, infinity, threads and bounds."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import derivable as dv
from derivable import jit, simd
from derivable.convolution import bands, choice, winograd
from derivable.convolution.choice import run_convolution, run_input_gradient, run_kernel_gradient

METHODS = [m for m in choice.METHODS if m not in ("auto", "direct")]
WAYS = [*METHODS, "unpacked"]  # the last is "implicit" with the kernel as it lies, however small it is
PLAIN = type(choice.implicit.implicit_part).__name__ == "function"  # NUMBA_DISABLE_JIT=1
CASES = 12 if PLAIN else 150


@pytest.fixture
def method(request, monkeypatch):
    if request.param != "unpacked":
        return request.param
    monkeypatch.setattr(choice.implicit, "is_few", lambda *sizes: True)
    return "implicit"


def geometry(rng, dimensions, method="", step=1):
    """Return a random layer in normal form: shapes and the arguments that `run_convolution` takes.

    Minimal filtering gets the stride `step`.
    """
    filtered = method == "winograd"
    groups = int(rng.choice([1, 1, 2, 3]))
    channels, per_group = groups * int(rng.integers(1, 10)), int(rng.integers(1, 19))
    if rng.random() < 0.2:
        channels, per_group = groups, 1
    sizes, kernel, stride, before, dilation, out = [], [], [], [], [], []
    for axis in range(3):
        if axis < 3 - max(dimensions, 2 * filtered):
            n, k, s, p, q, d = 1, 1, 1, 0, 0, 1
        else:
            n = int(rng.integers(1, 50 if dimensions < 3 else 9))
            k, s, d = int(rng.integers(1, 6)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
            p, q = int(rng.integers(0, 5)), int(rng.integers(0, 5))
            if filtered:
                k, s, d = (3, step, 1) if axis else (k, 1 if step == 1 else s, d)
            q = max(q, (k - 1) * d + 1 - n - p)
        sizes.append(n)
        kernel.append(k)
        stride.append(s)
        before.append(p)
        dilation.append(d)
        out.append((n + p + q - (k - 1) * d - 1) // s + 1)
    x_shape = (int(rng.integers(1, 4)), channels, *sizes)
    w_shape = (groups * per_group, channels // groups, *kernel)
    return x_shape, w_shape, tuple(out), tuple(stride), tuple(before), tuple(dilation), groups


def arrays(rng, dtype, *shapes):
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("method", WAYS, indirect=True)
def test_forward_and_gradients_of_random_layers(method, dimensions, dtype):
    rng = np.random.default_rng([dimensions, METHODS.index(method)])
    for case in range(CASES // 3 if dimensions == 3 else CASES):
        x_shape, w_shape, out, stride, before, dilation, groups = geometry(rng, dimensions, method, 1 + case % 2)
        x, w, bias = arrays(rng, dtype, x_shape, w_shape, w_shape[:1])
        g, back = arrays(rng, dtype, (x_shape[0], w_shape[0], *out), (x_shape[1],))
        where = (stride, before, dilation, groups)
        tolerance = (2000 if method == "winograd" else 60) * np.finfo(dtype).eps
        calls = [
            (run_convolution, (x, w, bias, out), w[0].size),
            (run_input_gradient, (g, w, back, x_shape[2:]), w.size // w_shape[1]),
            (run_kernel_gradient, (g, x, w_shape[2:]), g.size // w_shape[0]),
        ]
        if method == "winograd" and stride != (1, 1, 1) and not choice.spreadable(w_shape, stride, before, dilation):
            with pytest.raises(ValueError, match="with stride 1, or with stride 2 of rows and columns and odd padding"):
                run_input_gradient(g, w, back, x_shape[2:], *where, method)
            del calls[1]
        for run, values, terms in calls:
            got, want = run(*values, *where, method), run(*values, *where, "direct")
            assert got.dtype == dtype
            message = f"{run.__name__} {x_shape} {w_shape} {out} {where}"
            assert_allclose(got, want, rtol=0, atol=tolerance * 4 * np.sqrt(terms), err_msg=message)


def transposed(g, w, bias, sizes, *rest):
    """Return the transposed map by `columns` and by the definition."""
    return [run_input_gradient(g, w, bias, sizes, *rest, method) for method in ("columns", "direct")]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_columns_of_random_layers(dimensions, dtype):
    rng = np.random.default_rng([dimensions, 11])
    for _ in range(CASES // 3 if dimensions == 3 else CASES):
        x_shape, w_shape, out, *where = geometry(rng, dimensions)
        w, g, bias = arrays(rng, dtype, w_shape, (x_shape[0], w_shape[0], *out), (x_shape[1],))
        got, want = transposed(g, w, bias, x_shape[2:], *where)
        assert got.dtype == dtype
        atol = 240 * np.finfo(dtype).eps * np.sqrt(w.size // w_shape[1])
        assert_allclose(got, want, rtol=0, atol=atol, err_msg=f"{x_shape} {w_shape} {out} {where}")


@pytest.mark.skipif(PLAIN, reason="needs minutes in plain Python")
@pytest.mark.parametrize(
    ("channels", "sizes", "kernel", "per_group", "stride", "groups"),
    [
        (3, (1, 1, 5000), (1, 1, 50), 20, 3, 1),  # a row of g is cut into blocks of columns
        (40, (1, 6, 300), (1, 5, 5), 9, 1, 1),  # and here one tile is more than there is room for
        (2, (1, 30, 31), (1, 3, 3), 300, 2, 2),  # the sum over the out channels is cut
        (5, (6, 9, 9), (3, 2, 4), 16, 1, 1),
        (1, (1, 90, 7), (1, 9, 1), 8, 1, 3),  # many short rows in one block
    ],
)
def test_columns_in_blocks_by_several_threads(monkeypatch, channels, sizes, kernel, per_group, stride, groups):
    monkeypatch.setattr(jit, "_handover", 0.0)
    monkeypatch.setattr(jit, "LEAST_SECONDS", 0.0)
    rng = np.random.default_rng(3)
    steps = tuple(stride if n > 1 else 1 for n in sizes)
    before = tuple(k // 2 for k in kernel)
    out = tuple((n + 2 * b - k) // s + 1 for n, b, k, s in zip(sizes, before, kernel, steps, strict=True))
    w_shape = (per_group * groups, channels, *kernel)
    w, g, bias = arrays(rng, np.float64, w_shape, (1, per_group * groups, *out), (channels * groups,))
    threads, results = dv.get_num_threads(), []
    try:
        for n in (1, 2, 3, 7):
            dv.set_num_threads(n)
            results.append(transposed(g, w, bias, sizes, steps, before, (1, 1, 1), groups))
    finally:
        dv.set_num_threads(threads)
    assert_allclose(results[0][0], results[0][1], rtol=0, atol=1e-11)
    for got, _ in results[1:]:
        assert_array_equal(got, results[0][0])


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # in plain Python
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_columns_put_nan_and_infinity_where_the_definition_does(bad):
    rng = np.random.default_rng(5)
    for _ in range(3 if PLAIN else 20):
        x_shape, w_shape, out, *where = geometry(rng, 2)
        w, g, bias = arrays(rng, np.float64, w_shape, (x_shape[0], w_shape[0], *out), (x_shape[1],))
        for array in (w, g):
            array.flat[rng.integers(array.size)] = bad
        got, want = transposed(g, w, bias, x_shape[2:], *where)
        assert_array_equal(np.isfinite(got), np.isfinite(want))
        assert_array_equal(np.isnan(got), np.isnan(want))
        assert_allclose(got[np.isfinite(want)], want[np.isfinite(want)], rtol=0, atol=1e-11)


def test_columns_are_taken_for_few_channels():
    for g_shape, w_shape, sizes, stride in (
        ((1, 64, 1, 112, 112), (64, 3, 1, 7, 7), (1, 224, 224), (1, 2, 2)),
        ((1, 64, 1, 224, 224), (64, 3, 1, 3, 3), (1, 224, 224), (1, 1, 1)),
        ((1, 32, 1, 16, 16), (32, 16, 1, 3, 3), (1, 32, 32), (1, 2, 2)),
    ):
        chosen = choice.choose_transposed(g_shape, w_shape, sizes, stride, (1, 1, 1), 1, np.dtype(np.float32))
        assert chosen == "columns"
    one = ((1, 1, 1), (1, 1, 1), 1, np.dtype(np.float32))
    assert choice.choose_transposed((1, 64, 1, 56, 56), (64, 64, 1, 3, 3), (1, 56, 56), *one) == "winograd"
    x, w, bias = arrays(np.random.default_rng(0), float, (1, 2, 1, 8, 8), (9, 2, 1, 3, 3), 9)
    with pytest.raises(ValueError, match="method must be one of"):  # it computes nothing else
        run_convolution(x, w, bias, (1, 6, 6), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1, "columns")


@pytest.mark.parametrize("method", ["implicit", "unpacked"], indirect=True)
def test_one_tap_may_meet_nothing_but_padding(method):
    """The sizes let one take the tap for one that meets every number in its own place."""
    rng = np.random.default_rng(9)
    one = (1, 1, 1)
    x, w, bias, two = arrays(rng, np.float64, (2, 9, 1, 1, 100), (10, 9, 1, 1, 1), (10,), (9, 10, 1, 2, 1))
    got = run_convolution(x, w, bias, (1, 1, 100), (1, 3, 1), (0, 1, 0), one, 1, method)
    assert_array_equal(got, np.broadcast_to(bias[:, None, None, None], (2, 10, 1, 1, 100)))
    # A row is spread to the rows 0 and 1. Of these and three more, without a tap, the first four are cut off.
    got = run_input_gradient(x, two, bias, (1, 1, 100), (1, 4, 1), (0, 4, 0), one, 1, method)
    assert_array_equal(got, np.broadcast_to(bias[:, None, None, None], (2, 10, 1, 1, 100)))
    x, g = arrays(rng, np.float64, (2, 9, 1, 4, 5), (2, 10, 1, 5, 8))
    got = run_kernel_gradient(g, x, one, one, (0, 0, 0), one, 1, method)[:, :, 0, 0, 0]
    assert_allclose(got, np.einsum("nohw,nchw->oc", g[:, :, 0, :4, :5], x[:, :, 0]), rtol=0, atol=1e-13)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # in plain Python
@pytest.mark.parametrize("method", WAYS, indirect=True)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_in_the_input_stay_where_the_definition_puts_them(method, bad):
    rng = np.random.default_rng(5)
    for _ in range(3 if PLAIN else 20):
        x_shape, w_shape, out, *where = geometry(rng, 2, method)
        x, w, bias = arrays(rng, np.float64, x_shape, w_shape, w_shape[:1])
        g = rng.standard_normal((x_shape[0], w_shape[0], *out))
        x.flat[rng.integers(x.size)] = bad
        g.flat[rng.integers(g.size)] = bad
        zero = np.zeros(x_shape[1])
        for run, values in (
            (run_convolution, (x, w, bias, out)),
            (run_input_gradient, (g, w, zero, x_shape[2:])),
            (run_kernel_gradient, (g, x, w_shape[2:])),
        ):
            got, want = run(*values, *where, method), run(*values, *where, "direct")
            assert_array_equal(np.isnan(got), np.isnan(want))
            assert_array_equal(np.isposinf(got), np.isposinf(want))
            assert_array_equal(np.isneginf(got), np.isneginf(want))


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # in plain Python
@pytest.mark.parametrize("method", METHODS)
def test_an_infinite_weight_meets_no_padding(method):
    rng = np.random.default_rng(6)
    x, w = arrays(rng, np.float64, (1, 8, 20, 20), (8, 8, 3, 3))
    w[0, 0, 0, 0] = np.inf
    want = dv.conv2d(x, w, padding=1, method="direct")
    assert not np.isnan(want[0, 0, 0, 0])
    assert_array_equal(np.isnan(dv.conv2d(x, w, padding=1)), np.isnan(want))
    assert_array_equal(np.isnan(dv.conv2d(x, w, method=method)), np.isnan(dv.conv2d(x, w, method="direct")))
    if method == "winograd":  # sees that an output is not finite, and leaves the layer to the definition
        assert_array_equal(np.isnan(dv.conv2d(x, w, padding=1, method=method)), np.isnan(want))
        return
    with pytest.raises(ValueError, match="needs a finite weight"):
        dv.conv2d(x, w, padding=1, method=method)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # in plain Python
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_large_weight_that_is_not_finite_meets_no_padding(bad):
    """Where a kernel has more numbers than the result, the result is looked at and not the kernel."""
    n = 12 if PLAIN else 90
    rng = np.random.default_rng(8)
    x, w = arrays(rng, np.float64, (1, n, 3, 3), (n, n, 3, 3))
    w[5, 3, 0, 0] = bad
    want = dv.conv2d(x, w, padding=1, method="direct")
    assert 0 < np.isfinite(want[0, 5]).sum() < 9
    got = dv.conv2d(x, w, padding=1)
    assert_array_equal(np.isfinite(got), np.isfinite(want))
    assert_allclose(got[np.isfinite(want)], want[np.isfinite(want)])
    for padding in (0, 1):
        out = 3 - 2 * (1 - padding)
        where = ((1, 1, 1), (0, padding, padding), (1, 1, 1), 1)
        (g,) = arrays(rng, np.float64, (1, n, 1, out, out))
        values = (g, w[:, :, None], np.zeros(n), (1, 3, 3), *where)
        got, want = run_input_gradient(*values), run_input_gradient(*values, "direct")
        assert_array_equal(np.isfinite(got), np.isfinite(want))
        assert_allclose(got[np.isfinite(want)], want[np.isfinite(want)])


@pytest.mark.parametrize("method", METHODS)
def test_other_dtypes_are_refused(method):
    with pytest.raises(ValueError, match="use 'direct'"):
        dv.conv2d(np.ones((1, 1, 5, 5), complex), np.ones((1, 1, 3, 3)), method=method)


@pytest.mark.skipif(PLAIN, reason="needs minutes in plain Python")
@pytest.mark.parametrize("method", ["auto", *METHODS])
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "groups"),
    [
        ((1, 40, 1, 30, 31), (50, 40, 1, 3, 3), 1),
        ((1, 64, 1, 40, 41), (64, 1, 1, 5, 5), 64),
        ((3, 24, 1, 14, 14), (70, 24, 1, 3, 3), 1),
        ((1, 90, 1, 7, 7), (90, 90, 1, 3, 3), 1),  # few positions: "implicit" does not pack the kernel
        ((1, 72, 1, 20, 20), (63, 24, 1, 3, 3), 3),  # groups, of which 2 or 7 threads cannot have the same number
        ((1, 48, 1, 16, 16), (48, 6, 1, 3, 3), 8),  # and of which they can
        ((2, 33, 3, 30, 70), (40, 33, 1, 3, 3), 1),  # so many tiles that each thread has some
        ((1, 64, 1, 1, 900), (40, 64, 1, 1, 9), 1),  # one signal, of which there is one band for all threads
    ],
)  # fmt: skip
def test_the_number_of_threads_changes_no_bit(monkeypatch, method, x_shape, w_shape, groups):
    monkeypatch.setattr(jit, "_handover", 0.0)  # so that all of these are computed by as many threads as are allowed
    monkeypatch.setattr(jit, "LEAST_SECONDS", 0.0)
    rng = np.random.default_rng(7)
    x, w, bias = arrays(rng, np.float32, x_shape, w_shape, w_shape[:1])
    (g,) = arrays(rng, np.float32, (x_shape[0], w_shape[0], *x_shape[2:]))
    k = w_shape[-1]
    if method == "winograd" and k != 3:
        return
    where = ((1, 1, 1), (0, w_shape[3] // 2, k // 2), (1, 1, 1), groups)
    before = dv.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 7):
            dv.set_num_threads(threads)
            results.append(
                (
                    run_convolution(x, w, bias, x_shape[2:], *where, method),
                    run_input_gradient(g, w, np.zeros(x_shape[1], np.float32), x_shape[2:], *where, method),
                    run_kernel_gradient(g, x, w_shape[2:], *where, method),
                )
            )
    finally:
        dv.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


@pytest.mark.skipif(PLAIN, reason="arrays know their own end in plain Python")
@pytest.mark.parametrize("method", [*WAYS, "columns"])
def test_nothing_is_read_or_written_beyond_the_arrays(method):
    """Arrays end where a forbidden page begins: a read beyond crashes, in a fresh process."""
    program = f"""
import ctypes, mmap
import numpy as np
from derivable.convolution import implicit
from derivable.convolution.choice import run_convolution, run_input_gradient, run_kernel_gradient
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
keep = []
def guarded(array):
    pages = -(-array.nbytes // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    keep.append(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(address + pages * mmap.PAGESIZE, mmap.PAGESIZE, 0) == 0
    copy = np.frombuffer(memory, array.dtype, array.size, pages * mmap.PAGESIZE - array.nbytes).reshape(array.shape)
    copy[...] = array
    return copy
rng = np.random.default_rng(0)
method = {method!r}
if method == "unpacked":
    method, implicit.is_few = "implicit", lambda *sizes: True
for dtype in (np.float32, np.float64):
    for channels, sizes, k, s, p in (
        (9, (7, 7), 3, 1, 1), (3, (20, 33), 5, 2, 2), (1, (9, 50), 3, 1, 0),
        (16, (14, 15), 1, 1, 0), (16, (14, 15), 1, 2, 0), (2, (9, 41), 4, 3, 1),
        (9, (15, 34), 3, 2, 1), (2, (8, 7), 3, 2, 3), (1, (150, 170), 3, 1, 1), (2, (151, 170), 3, 2, 1),
    ):
        if method == "winograd":
            k, s = 3, min(s, 2)
        out = tuple((n + 2 * p - k) // s + 1 for n in sizes)
        x = rng.standard_normal((2, channels, 1, *sizes)).astype(dtype)
        w = rng.standard_normal((11, channels, 1, k, k)).astype(dtype)
        g = rng.standard_normal((2, 11, 1, *out)).astype(dtype)
        x, w, g, b, c = map(guarded, (x, w, g, np.zeros(11, dtype), np.zeros(channels, dtype)))
        where = ((1, s, s), (0, p, p), (1, 1, 1), 1)
        if method != "winograd" or s == 1 or p % 2:
            run_input_gradient(g, w, c, (1, *sizes), *where, method)
        if method != "columns":
            run_convolution(x, w, b, (1, *out), *where, method)
            run_kernel_gradient(g, x, (1, k, k), *where, method)
print("fine")
import os

os._exit(0)  # arrays still point into the guarded memory
"""
    if sys.platform != "linux":
        pytest.skip("mprotect through the C library of Linux")
    environment = {**os.environ, "PYTHONPATH": str(Path(dv.__file__).parents[1])}
    command = [sys.executable, "-u", "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == "fine\n", (done.returncode, done.stderr[-2000:])


@pytest.mark.parametrize("m", [2, 4])
def test_minimal_filtering_is_correlation_in_fractions(m):
    a, g, b = winograd.filtering(m, winograd.POINTS[m])
    a, g, b = (np.array(part, object) for part in (a, g, b))
    rng = np.random.default_rng(m)
    taps, inputs = (np.array([Fraction(int(v)) for v in rng.integers(-9, 9, n)]) for n in (3, m + 2))
    want = [sum(taps[k] * inputs[i + k] for k in range(3)) for i in range(m)]
    assert list(a @ ((g @ taps) * (b @ inputs))) == want


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [2, 4, winograd.STRIDED])
def test_winograd_keeps_its_error_bound(kind, dtype):
    rng = np.random.default_rng(kind)
    m, stride, out_sizes = (2, (1, 2, 2), (1, 5, 5)) if kind == winograd.STRIDED else (kind, (1, 1, 1), (1, 9, 10))
    for channels, sort in ((1, "normal"), (5, "signs"), (40, "normal"), (40, "signs"), (8, "mean"), (16, "spread")):
        x, w = arrays(rng, dtype, (2, channels, 1, 9, 10), (4, channels, 1, 3, 3))
        if sort == "signs":  # all numbers as large as the largest
            x, w = np.sign(x), np.sign(w)
        elif sort == "mean":
            x += 100
        elif sort == "spread":
            x *= 10.0 ** rng.integers(-6, 6, x.shape).astype(dtype)
        out, zero = np.empty((2, 4, *out_sizes), dtype), np.zeros(4, dtype)
        one = (1, 1, 1)
        assert winograd.convolution_winograd(x, w, zero, out, (0, 1, 1), one, stride, 1, m)
        exact = run_convolution(
            x.astype(np.float64), w.astype(np.float64), zero.astype(np.float64), out_sizes,
            stride, (0, 1, 1), one, 1, "direct",
        )  # fmt: skip
        size = float(np.abs(x).max()) * float(np.abs(w).max()) * np.finfo(dtype).eps
        error = np.abs(out - exact).max()
        assert error <= winograd.ERROR[kind] * (channels + 20) * size
        assert error <= 40 * m**2 * np.sqrt(9 * channels) * size  # what the chapter says of ordinary numbers


def test_winograd_refuses_other_geometries():
    x, w = np.ones((1, 1, 9, 9)), np.ones((1, 1, 3, 3))
    with pytest.raises(ValueError, match="3 x 3 kernels with stride 1 or 2"):
        dv.conv2d(x, w, stride=3, method="winograd")
    with pytest.raises(ValueError, match="3 x 3 kernels with stride 1 or 2"):
        dv.conv2d(x, w, stride=(1, 2), method="winograd")
    with pytest.raises(ValueError, match="3 x 3 kernels with stride 1 or 2"):
        dv.conv2d(x, w[..., :2], method="winograd")
    with pytest.raises(ValueError, match="stride 1"):
        dv.conv_transpose2d(x, w, stride=2, method="winograd")
    with pytest.raises(ValueError, match="stride 1"):
        dv.conv_transpose2d(x, w, stride=(2, 1), padding=1, method="winograd")
    with pytest.raises(ValueError, match="stride 1"):
        dv.conv_transpose2d(x, w, stride=2, padding=(1, 2), method="winograd")
    with pytest.raises(ValueError, match="stride 1"):
        dv.conv_transpose2d(x, w, stride=2, padding=1, dilation=2, method="winograd")
    with pytest.raises(ValueError, match="stride 1"):
        dv.conv_transpose3d(np.ones((1, 1, 5, 5, 5)), w[None], stride=2, padding=1, method="winograd")


# Batch and sizes of the inputs, channels of a group there and here, depth of the kernel, padding, groups.
SPREAD = [
    ((1, 1, 8, 8), (1, 1), 1, 1, 1), ((1, 1, 7, 9), (3, 5), 1, 1, 1), ((2, 1, 13, 30), (9, 8), 1, 1, 1),
    ((1, 1, 3, 70), (2, 17), 1, 1, 2), ((2, 1, 11, 12), (8, 3), 1, 3, 3), ((1, 1, 1, 1), (2, 2), 1, 1, 1),
    ((2, 4, 9, 10), (3, 4), 2, 1, 1), ((1, 1, 2, 5), (1, 9), 1, 5, 1), ((3, 1, 26, 26), (16, 24), 1, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("size", "channels", "depth", "padding", "groups"), SPREAD)
def test_winograd_spreads_with_stride_2(size, channels, depth, padding, groups, dtype):
    rng = np.random.default_rng(0)
    (batch, *sizes), (inner, outer) = size, channels
    where = (1, 2, 2), (0, padding, padding), (1, 1, 1), groups
    reach = (depth, 3, 3)
    out = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(sizes, where[1], reach, where[0], strict=True)]
    g, w, bias = arrays(
        rng, dtype, (batch, outer * groups, *out), (outer * groups, inner, *reach), (inner * groups,)
    )  # fmt: skip
    got = run_input_gradient(g, w, bias, tuple(sizes), *where, "winograd")
    want = run_input_gradient(*(a.astype(np.float64) for a in (g, w, bias)), tuple(sizes), *where, "direct")
    terms = 9 * depth * outer
    size_of_terms = np.abs(g).max() * np.abs(w).max() * np.finfo(dtype).eps
    np.testing.assert_allclose(got, want, rtol=0, atol=60 * np.sqrt(terms) * size_of_terms + 4 * np.finfo(dtype).eps)
    assert np.abs(got - want).max() <= winograd.ERROR[winograd.SPREAD] * (outer * depth + 20) * size_of_terms + 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["gradient", "weight"])
def test_what_is_not_finite_stays_where_it_is_when_spread(where, bad):
    rng = np.random.default_rng(0)
    g, w, bias = arrays(rng, np.float64, (1, 40, 1, 12, 12), (40, 50, 1, 3, 3), (50,))
    geometry = (1, 23, 24), (1, 2, 2), (0, 1, 1), (1, 1, 1), 1
    assert choice.spread_pays(g.shape, w.shape, 1, g.dtype)
    if where == "gradient":
        g[0, 7, 0, 5, 6] = bad
    else:
        w[3, 4, 0, 0, 2] = bad
    got, want = (run_input_gradient(g, w, bias, *geometry, method) for method in ("auto", "direct"))
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
    assert not np.isfinite(got).all()
    finite = np.isfinite(want)
    np.testing.assert_allclose(got[finite], want[finite], atol=1e-11)


def test_strided_gradients_of_many_channels_are_spread(monkeypatch):
    calls = []
    spread = winograd.input_gradient_winograd
    monkeypatch.setattr(winograd, "input_gradient_winograd", lambda *a: calls.append(a[5]) or spread(*a))
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 64, 16, 16)), rng.standard_normal((64, 64, 3, 3))
    g = dv.conv2d(x, w, stride=2, padding=1)
    back = dv.conv_input_gradient(g, w, x.shape, stride=2, padding=1)
    assert len(calls) == 1
    np.testing.assert_allclose(np.sum(back * x), np.sum(g * g), rtol=1e-12)
    dv.conv_transpose2d(g, w, stride=2, padding=1, output_padding=1)
    assert len(calls) == 2
    dv.conv_input_gradient(g[:, :, 1:, 1:].copy(), w, (1, 64, 15, 15), stride=2, padding=0)  # even padding
    dv.conv_input_gradient(g.astype(complex), w, x.shape, stride=2, padding=1)
    assert len(calls) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("channels", "per_group", "groups", "depth", "taps", "stride", "pads"),
    [
        (1, 1, 5, 1, 1, 1, (0, 1, 1)),  # depthwise
        (2, 3, 2, 4, 3, 1, (1, 1, 1)),
        (3, 2, 1, 5, 2, 3, (0, 1, 3)),  # planes that no tap meets have the bias alone
        (1, 1, 2, 1, 1, 1, (0, 3, 1)),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (9, 16), (10, 31), (66, 33), (131, 7)])
def test_gradients_in_the_input_with_stride_2_are_spread_in_registers(
    monkeypatch, dtype, channels, per_group, groups, depth, taps, stride, pads, size
):
    calls = []
    spread = bands.input_gradient_spread
    monkeypatch.setattr(bands, "input_gradient_spread", lambda *a: calls.append(a) or spread(*a))
    rng = np.random.default_rng(11)
    out = tuple(
        (n + 2 * p - k) // s + 1 for n, p, k, s in zip((depth, *size), pads, (taps, 3, 3), (stride, 2, 2), strict=True)
    )
    shapes = (3, per_group * groups, *out), (per_group * groups, channels, taps, 3, 3), (channels * groups,)
    g, w, bias = arrays(rng, dtype, *shapes)
    where = ((stride, 2, 2), pads, (1, 1, 1), groups)
    got, want = (run_input_gradient(g, w, bias, (depth, *size), *where, method) for method in ("bands", "direct"))
    assert len(calls) == 1
    assert got.dtype == dtype
    np.testing.assert_allclose(got, want, rtol=0, atol=200 * np.finfo(dtype).eps)


@pytest.mark.skipif(PLAIN, reason="needs minutes in plain Python")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("channels", "per_group", "groups", "size", "taps", "together"),
    [
        (19, 27, 1, (9, 40), (3, 3), 8),  # several pieces of channels and of out channels
        (3, 14, 2, (5, 3000), (3, 3), 3),  # and several stretches of columns
        (5, 3, 1, (20, 33), (7, 5), 1),
        (9, 2, 1, (1, 5000), (1, 20), 2),
    ],
)
def test_gradients_in_the_kernel_are_summed_piece_by_piece(dtype, channels, per_group, groups, size, taps, together):
    rng = np.random.default_rng(13)
    out = tuple(n - k + 1 for n, k in zip(size, taps, strict=True))
    w_shape = (per_group * groups, channels, 1, *taps)
    assert bands.channels_together(w_shape) == together
    x, g = arrays(rng, dtype, (2, channels * groups, 1, *size), (2, per_group * groups, 1, *out))
    where = ((1, *taps), (1, 1, 1), (0, 0, 0), (1, 1, 1), groups)
    got, want = (run_kernel_gradient(g, x, *where, method) for method in ("bands", "direct"))
    np.testing.assert_allclose(got, want, rtol=0, atol=60 * np.finfo(dtype).eps * 4 * np.sqrt(2 * out[0] * out[1]))


def test_strided_gradients_of_few_channels_are_spread_or_sorted():
    """In registers where even inputs meet the middle tap; else as classes of inputs."""
    shapes = (1, 5, 1, 30, 30), (5, 1, 1, 3, 3), (1, 60, 60), (1, 2, 2), (1, 1, 1), 5, np.dtype(np.float32)
    assert choice.choose_transposed(*shapes, True) == "bands"
    assert choice.choose_transposed(*shapes) == "sliding"
    ones, w_shape = (1, 1, 1), (5, 1, 1, 3, 3)
    assert bands.is_spread(w_shape, (3, 2, 2), (0, 1, 3), ones)
    for other in (
        ((5, 1, 1, 3, 5), (1, 2, 2), (0, 1, 1), ones),
        (w_shape, (1, 2, 1), (0, 1, 1), ones),
        (w_shape, (1, 2, 2), (0, 0, 1), ones),
        (w_shape, (1, 2, 2), (0, 1, 2), ones),
        (w_shape, (1, 2, 2), (0, 1, 1), (1, 1, 2)),
    ):
        assert not bands.is_spread(*other)


@pytest.mark.skipif(PLAIN, reason="needs minutes in plain Python")
@pytest.mark.parametrize("threads", [1, 2])
def test_what_working_space_held_before_does_not_matter(monkeypatch, threads):
    monkeypatch.setattr(jit, "_handover", 0.0)
    monkeypatch.setattr(jit, "LEAST_SECONDS", 0.0)
    enter = jit.working_space.__enter__

    def poisoned(self):
        space = enter(self)
        space[...] = np.nan
        return space

    monkeypatch.setattr(jit.working_space, "__enter__", poisoned)
    before = dv.get_num_threads()
    dv.set_num_threads(threads)
    rng = np.random.default_rng(12)
    try:
        for x_shape, out_channels, stride in (
            ((1, 20, 1, 7, 7), 17, 1),
            ((2, 9, 1, 30, 41), 10, 1),
            ((1, 30, 1, 29, 28), 9, 2),
        ):
            out = (1, *((n - 1) // stride + 1 for n in x_shape[3:]))
            x, w, g = arrays(
                rng, np.float64, x_shape, (out_channels, x_shape[1], 1, 3, 3), (x_shape[0], out_channels, *out)
            )
            where = ((1, stride, stride), (0, 1, 1), (1, 1, 1), 1, "winograd")
            for got in (
                by_filtering(run_convolution, x, w, np.zeros(out_channels), out, *where),
                by_filtering(run_input_gradient, g, w, np.zeros(x_shape[1]), x_shape[2:], *where),
                by_filtering(run_kernel_gradient, g, x, (1, 3, 3), *where),
            ):
                assert np.isfinite(got).all()
    finally:
        dv.set_num_threads(before)


def by_filtering(run, *arguments):
    """Run minimal filtering, and fail where it is given up for another algorithm."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("convolution_winograd", "input_gradient_winograd", "kernel_gradient_winograd"):
            function = getattr(winograd, name)
            patch.setattr(winograd, name, lambda *a, function=function: function(*a) or pytest.fail("given up"))
        return run(*arguments)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_channels_with_stride_2_are_filtered(monkeypatch, dtype):
    kinds = []
    multiply, turn = winograd.multiply_tiles, winograd.kernel_gradient_winograd
    monkeypatch.setattr(winograd, "multiply_tiles", lambda *a: kinds.append(a[-1]) or multiply(*a))
    monkeypatch.setattr(winograd, "kernel_gradient_winograd", lambda *a: kinds.append(a[5]) or turn(*a))
    rng = np.random.default_rng(0)
    x, w = arrays(rng, dtype, (1, 128, 13, 14), (128, 128, 3, 3))
    out = dv.conv2d(x, w, stride=2, padding=1, method="winograd")
    assert kinds == [winograd.STRIDED]
    dv.conv_kernel_gradient(out, x, w.shape, stride=2, padding=1)
    assert kinds == [winograd.STRIDED, (1, 2, 2)]
    plain = dv.conv2d(x.astype(np.float64), w.astype(np.float64), stride=2, padding=1, method="implicit")
    np.testing.assert_allclose(out, plain, rtol=0, atol=2000 * np.finfo(dtype).eps * 34)
    dv.conv2d(x[:, :8].copy(), w[:, :8].copy(), stride=2, padding=1)
    dv.conv_kernel_gradient(out, x[:, :8].copy(), (128, 8, 3, 3), stride=2, padding=1)
    assert len(kinds) == 2, "few channels are not"


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("channels", [16, 64, 80, 81])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_gradient_in_the_kernel_is_the_same_past_the_caches(threads, channels, groups, monkeypatch):
    if PLAIN and channels > 16:
        pytest.skip("needs minutes in plain Python")
    rng = np.random.default_rng(0)
    one = (1, 1, 1)
    monkeypatch.setattr(winograd, "threads_for", lambda *_: threads)
    sum_part, streamed = winograd.sum_part, []

    def observed(start, stop, u, v, out, w_shape, mine, a, room, by_rows, streams, *rest):
        streamed.append(streams)
        sum_part(start, stop, u, v, out, w_shape, mine, a, room, by_rows, streams, *rest)

    monkeypatch.setattr(winograd, "sum_part", observed)
    for dtype in (np.float32, np.float64):
        whole = simd.VECTOR_BYTES == 64 and channels * np.dtype(dtype).itemsize % 64 == 0
        sizes = (1, channels * groups, 1, 7, 7), (1, 40 * groups, 1, 7, 7)
        x, g = arrays(rng, dtype, *sizes)
        results = []
        for least in (0, 1 << 40):
            monkeypatch.setattr(winograd, "STREAM_BYTES", least)
            streamed.clear()
            results.append(run_kernel_gradient(g, x, (1, 3, 3), one, (0, 1, 1), one, groups, "winograd"))
            assert set(streamed) == {whole and least == 0}
        assert_array_equal(*results)
        want = run_kernel_gradient(*(a.astype(np.float64) for a in (g, x)), (1, 3, 3), one, (0, 1, 1), one, groups)
        assert_allclose(results[0], want, rtol=0, atol=800 * np.finfo(dtype).eps * 7)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # in plain Python
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "weight", "gradient"])
def test_what_is_not_finite_stays_where_it_is_with_stride_2(where, bad):
    rng = np.random.default_rng(0)
    x, w, g = arrays(rng, np.float64, (1, 12, 1, 21, 22), (10, 12, 1, 3, 3), (1, 10, 1, 11, 11))
    geometry = (1, 2, 2), (0, 1, 1), (1, 1, 1), 1
    if where == "input":
        x[0, 7, 0, 5, 6] = bad
    elif where == "weight":
        w[3, 4, 0, 0, 2] = bad
    else:
        g[0, 9, 0, 10, 3] = bad
    bias = np.zeros(10)
    pairs = [
        [run_convolution(x, w, bias, (1, 11, 11), *geometry, method) for method in ("winograd", "direct")],
        [run_kernel_gradient(g, x, (1, 3, 3), *geometry, method) for method in ("winograd", "direct")],
    ]
    for got, want in pairs:
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        finite = np.isfinite(want)
        np.testing.assert_array_equal(np.isfinite(got), finite)
        np.testing.assert_allclose(got[finite], want[finite], atol=1e-10)


@pytest.mark.skipif(PLAIN, reason="needs minutes in plain Python")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "weight", "bias"])
@pytest.mark.parametrize("stride", [1, 2])
def test_what_is_not_finite_stays_where_it_is_among_few_tiles(stride, where, bad):
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        x, w, bias = arrays(rng, dtype, (1, 70, 1, 7, 7), (80, 70, 1, 3, 3), (80,))
        if where == "input":
            x[0, 3, 0, 6, 6] = bad
        elif where == "weight":
            w[5, 69, 0, 2, 1] = bad
        else:
            bias[79] = bad
        size = (7 - 1) // stride + 1
        geometry = (1, stride, stride), (0, 1, 1), (1, 1, 1), 1
        got, want = (run_convolution(x, w, bias, (1, size, size), *geometry, m) for m in ("winograd", "direct"))
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        finite = np.isfinite(want)
        np.testing.assert_array_equal(np.isfinite(got), finite)
        np.testing.assert_allclose(got[finite], want[finite], rtol=0, atol=800 * np.finfo(dtype).eps * 25)


@pytest.mark.skipif(PLAIN, reason="needs minutes in plain Python")
@pytest.mark.parametrize(("channels", "rows", "depth"), [(300, 16, 1), (300, 45, 1), (20, 150, 1), (70, 140, 2)])
@pytest.mark.parametrize("size", [7, 14])
def test_few_tiles_are_summed_channel_block_by_channel_block(size, channels, rows, depth, monkeypatch):
    """Of a small image all tiles fill one panel, and the sum over many channels, there or here, is cut into blocks."""
    rng = np.random.default_rng(size)
    one, sizes, kernel = (1, 1, 1), (1, size, size), (depth, 3, 3)
    for dtype in (np.float32, np.float64):
        cut = winograd.CHANNEL_BYTES // simd.VECTOR_BYTES
        assert max(channels, rows) * depth > cut
        batch = 3 if size == 7 else 1  # of some batches several images are in a panel
        x_shape = (batch, channels, depth, size, size)
        x, w, g = arrays(rng, dtype, x_shape, (rows, channels, *kernel), (batch, rows, *sizes))
        where = one, (0, 1, 1), one, 1
        for run, (first, second), rest, terms in (
            (run_convolution, (x, w), (np.ones(rows, dtype), sizes), 9 * depth * channels),
            (run_input_gradient, (g, w), (np.ones(channels, dtype), x_shape[2:]), 9 * depth * rows),
            (run_kernel_gradient, (g, x), (kernel,), size**2),
        ):
            results = []
            for threads in (1, 2, 3):
                with monkeypatch.context() as patch:
                    patch.setattr(winograd, "threads_for", lambda *_, n=threads: n)
                    results.append(run(first, second, *rest, *where, "winograd"))
            assert_array_equal(results[0], results[1])
            assert_array_equal(results[0], results[2])
            want = run(first.astype(np.float64), second.astype(np.float64), *rest, *where, "direct")
            assert_allclose(results[0], want, rtol=0, atol=800 * np.finfo(dtype).eps * np.sqrt(terms))


@pytest.mark.skipif(PLAIN, reason="needs minutes in plain Python")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, 2])
def test_large_images_are_read_where_they_lie(stride, dtype):
    """The channel of a small image is copied with its padding; that of a large one is read piece by piece."""
    rng = np.random.default_rng(stride)
    for sizes, before in (((150, 171), 1), ((230, 90), 0), ((3, 20000), 1), ((20001, 2), 2)):
        assert sizes[0] * sizes[1] * np.dtype(dtype).itemsize > winograd.PLANE_BYTES
        out = [(n + 2 * before - 3) // stride + 1 for n in sizes]
        x, w, bias = arrays(rng, dtype, (1, 3, 1, *sizes), (9, 3, 1, 3, 3), (9,))
        g, back = arrays(rng, dtype, (1, 9, 1, *out), (3,))
        where = (1, stride, stride), (0, before, before), (1, 1, 1), 1
        calls = [(run_convolution, (x, w, bias, (1, *out)), 27)]
        if stride == 1 or before == 1:
            calls.append((run_input_gradient, (g, w, back, (1, *sizes)), 81))
        for run, values, terms in calls:
            got, want = (run(*values, *where, method) for method in ("winograd", "direct"))
            assert_allclose(got, want, rtol=0, atol=800 * np.finfo(dtype).eps * np.sqrt(terms))


def test_costs_prefer_what_is_faster():
    one = (1, 1, 1)

    def choose(x, w, out, groups=1, stride=one, dtype=np.float32):
        return choice.choose(x, w, out, stride, one, groups, np.dtype(dtype))

    assert choose((1, 64, 1, 56, 56), (64, 64, 1, 3, 3), (1, 56, 56)) == "winograd"
    assert choose((1, 256, 1, 56, 56), (256, 256, 1, 3, 3), (1, 28, 28), stride=(1, 2, 2)) == "winograd"
    assert choose((1, 16, 1, 56, 56), (16, 16, 1, 3, 3), (1, 28, 28), stride=(1, 2, 2)) != "winograd"
    assert choose((1, 64, 1, 56, 56), (64, 64, 1, 5, 5), (1, 56, 56)) == "sliding"
    assert choose((1, 512, 1, 14, 14), (512, 512, 1, 5, 5), (1, 14, 14)) == "implicit"
    assert choose((1, 256, 1, 56, 56), (64, 256, 1, 1, 1), (1, 56, 56)) in ("sliding", "implicit")
    assert choose((1, 1, 1, 512, 512), (1, 1, 1, 15, 15), (1, 512, 512)) == "bands"
    assert choose((1, 1, 1, 8, 8), (1, 1, 1, 3, 3), (1, 6, 6)) == "direct"
    assert choose((1, 1, 1, 8, 8), (1, 1, 1, 3, 3), (1, 8, 8)) == "bands"  # padding on a small image
    assert choose((1, 1, 1, 1, 80), (1, 1, 1, 1, 3), (1, 1, 80)) == "direct"
    assert choose((1, 64, 1, 56, 56), (64, 64, 1, 3, 3), (1, 56, 56), dtype=np.complex64) == "direct"
