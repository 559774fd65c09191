"""gradient_descent against the plain loop that defines it."""

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

import derivable as dv
from derivable.descent import loops

COMPILED = not numba.config.DISABLE_JIT
compiled_only = pytest.mark.skipif(not COMPILED, reason="about compiled functions")


def plain_loop(gradient, w0, step, steps, metric=1.0):
    """The definition: every point of gradient descent, w_1 to w_{T+1}."""
    w = np.array(w0, dtype=np.result_type(w0, np.float32) if np.asarray(w0).dtype.kind == "f" else np.float64)
    points = [w]
    for t in range(steps):
        eta = np.asarray(step, dtype=np.result_type(w, gradient(w)))
        w = (w - (eta if eta.ndim == 0 else eta[t]) * gradient(w) / metric).astype(w.dtype)
        points.append(w)
    return np.array(points)


@njit
def scaled(w, curvature):
    return curvature * w


@njit
def matrix(w, A, b):
    return A @ w - b


@njit
def half_square(w, curvature):
    return np.sum(curvature * w * w) / 2


@dv.in_place
@njit
def scaled_into(w, curvature, out):
    a, b, c = w.ravel(), curvature.ravel(), out.ravel()
    for i in range(a.size):
        c[i] = a[i] * b[i]


@njit
def number_gradient(w, a):
    return a * (w - 1)


@njit
def number_value(w, a):
    return a * (w - 1) ** 2 / 2


@njit
def double(w):
    return 2 * w


# ------------------------------------------------------------------------------------ the iterates themselves


@given(st.integers(1, 9), st.integers(1, 30), st.floats(0.01, 0.9), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=80, deadline=None)
def test_iterates_equal_the_plain_loop(n, steps, step, seed, in_place):
    rng = np.random.default_rng(seed)
    w0, curvature = rng.normal(size=n), rng.uniform(0, 2, size=n)
    run = dv.gradient_descent(
        scaled_into if in_place else scaled, w0, step, steps, args=(curvature,), value=half_square
    )
    expected = plain_loop(lambda w: curvature * w, w0, step, steps)
    np.testing.assert_array_equal(run.iterates, expected)
    np.testing.assert_array_equal(run.last, expected[-1])
    np.testing.assert_allclose(run.average, expected[:-1].mean(axis=0), rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(run.values, (expected**2 * curvature).sum(axis=1) / 2, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(run.gradient_norms, np.linalg.norm(curvature * expected, axis=1), rtol=1e-13)
    np.testing.assert_array_equal(run.best, expected[np.argmin(run.values)])
    assert (run.steps, run.reason, run.converged, run.step_sizes) == (steps, "steps", False, step)
    np.testing.assert_array_equal(run.kept, np.arange(1, steps + 2))


@given(st.integers(1, 25), st.integers(1, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_what_is_kept_does_not_change_the_run(keep, steps, seed):
    rng = np.random.default_rng(seed)
    w0, curvature = rng.normal(size=3), rng.uniform(0, 2.5, size=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dv.DivergenceWarning)  # a curvature above 2 goes up, in every run alike
        whole = dv.gradient_descent(scaled, w0, 0.9, steps, args=(curvature,), value=half_square)
        some = dv.gradient_descent(scaled, w0, 0.9, steps, args=(curvature,), value=half_square, keep=keep)
        none = dv.gradient_descent(scaled, w0, 0.9, steps, args=(curvature,), value=half_square, keep="last")
    expected = sorted({*range(1, steps + 2, keep), steps + 1})
    assert some.kept.tolist() == expected
    np.testing.assert_array_equal(some.iterates, whole.iterates[np.array(expected) - 1])
    assert none.kept.tolist() == [steps + 1]
    for run in (some, none):
        np.testing.assert_array_equal(run.last, whole.last)
        np.testing.assert_array_equal(run.values, whole.values)
        np.testing.assert_array_equal(run.gradient_norms, whole.gradient_norms)
        np.testing.assert_array_equal(run.best, whole.best)
        np.testing.assert_allclose(run.average, whole.average, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape", [(1,), (4,), (2, 3), (2, 1, 3), (1, 1)])
@pytest.mark.parametrize("gradient", [scaled, scaled_into], ids=["returned", "in place"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_shapes_and_dtypes(shape, gradient, dtype):
    rng = np.random.default_rng(3)
    w0, curvature = rng.normal(size=shape).astype(dtype), rng.uniform(0.5, 1, size=shape).astype(dtype)
    run = dv.gradient_descent(gradient, w0, 0.25, 7, args=(curvature,))
    assert run.last.dtype == run.iterates.dtype == run.average.dtype == dtype
    assert run.iterates.shape == (8, *shape)
    assert run.last.shape == run.average.shape == shape
    np.testing.assert_array_equal(run.iterates, plain_loop(lambda w: curvature * w, w0, 0.25, 7))


def test_layouts_of_start_and_data_are_ordinary():
    rng = np.random.default_rng(4)
    A, b, w0 = rng.normal(size=(6, 6)), rng.normal(size=6), rng.normal(size=12)[::2]
    A = A @ A.T
    step = 1 / np.linalg.norm(A, 2)
    expected = dv.gradient_descent(matrix, w0.copy(), step, 20, args=(A.copy(), b.copy())).last
    wide = np.repeat(np.repeat(A, 2, axis=0), 2, axis=1)
    read_only = A.copy()
    read_only.flags.writeable = False
    for a in (
        np.asfortranarray(A),
        wide[::2, ::2],
        A[::-1, ::-1].copy()[::-1, ::-1],
        read_only,
        A.astype(">f8"),
    ):
        for c in (b, np.repeat(b, 2)[::2], b[::-1].copy()[::-1]):
            start = w0.copy()
            start.flags.writeable = False
            for w in (w0, start, w0.copy()[::-1].copy()[::-1], w0.astype(">f8")):
                run = dv.gradient_descent(matrix, w, step, 20, args=(a, c))
                np.testing.assert_allclose(run.last, expected, rtol=1e-10)
    zero_stride = np.broadcast_to(1.0, (6,))
    np.testing.assert_array_equal(
        dv.gradient_descent(scaled, zero_stride, 0.5, 2, args=(np.ones(6),)).last, np.full(6, 0.25)
    )


def test_start_is_not_modified_and_integers_promote():
    w0 = np.array([4, 8])
    run = dv.gradient_descent(scaled, w0, 0.5, 2, args=(np.ones(2),))
    np.testing.assert_array_equal(w0, [4, 8])
    np.testing.assert_array_equal(run.last, [1.0, 2.0])
    start = np.ones(2)
    run = dv.gradient_descent(scaled, start, 0.5, 1, args=(np.ones(2),))
    assert not np.shares_memory(run.iterates, start)
    np.testing.assert_array_equal(start, 1.0)


def test_a_number_is_a_point():
    run = dv.gradient_descent(number_gradient, 3, 0.5, 4, args=(1.0,), value=number_value)
    np.testing.assert_array_equal(run.iterates, [3.0, 2.0, 1.5, 1.25, 1.125])
    assert run.last == run.best == 1.125
    assert run.average == 1.9375
    assert run.iterates.shape == (5,)
    assert np.ndim(run.last) == 0
    again = dv.gradient_descent(number_gradient, np.float32(3), 0.5, 4, args=(np.float32(1),), keep="last")
    assert again.last.dtype == np.float32


@njit
def mixed(w, X):  # a float64 gradient of a float32 point
    return X * w.astype(np.float64)


def test_float32_point_with_float64_gradient_rounds_once_a_step():
    X = np.array([0.3, 0.7])
    w0 = np.array([1.0, 2.0], np.float32)
    run = dv.gradient_descent(mixed, w0, 0.1, 9, args=(X,))
    assert run.last.dtype == np.float32
    np.testing.assert_array_equal(run.iterates, plain_loop(lambda w: X * w.astype(np.float64), w0, 0.1, 9))


@njit
def reversed_view(w):
    return w[::-1]


@njit
def same(w):
    return w


@njit
def buffer(w, memory):
    memory[:] = w
    return memory


def test_a_gradient_may_return_a_view_of_the_point_or_a_buffer_of_its_own():
    w0 = np.array([1.0, 2.0, 4.0])
    for _ in range(3):  # more often than references to the buffer were counted
        memory = np.empty(3)
        run = dv.gradient_descent(buffer, w0, 0.5, 3, args=(memory,))
        np.testing.assert_array_equal(run.last, w0 / 8)
        np.testing.assert_array_equal(memory, run.last)
    run = dv.gradient_descent(same, w0, 0.5, 3)
    np.testing.assert_array_equal(run.last, w0 / 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dv.DivergenceWarning)
        run = dv.gradient_descent(reversed_view, w0, 0.5, 3)
    np.testing.assert_array_equal(run.iterates, plain_loop(lambda w: w[::-1], w0, 0.5, 3))


# ------------------------------------------------------------------------------------ step sizes, metric, tol


def test_step_sizes_by_number_array_and_function():
    w0, c = np.array([1.0, -2.0]), np.array([1.0, 0.5])
    sizes = 1 / np.sqrt(np.arange(1, 11))
    expected = plain_loop(lambda w: c * w, w0, sizes, 10)
    for step in (sizes, list(sizes), np.repeat(sizes, 2)[::2], lambda t: 1 / np.sqrt(t)):
        run = dv.gradient_descent(scaled, w0, step, 10, args=(c,))
        np.testing.assert_array_equal(run.iterates, expected)
        np.testing.assert_array_equal(run.step_sizes, sizes)


def test_diagonal_metric():
    w0, c, m = np.array([1.0, -2.0]), np.array([1.0, 10.0]), np.array([1.0, 10.0])
    run = dv.gradient_descent(scaled, w0, 0.5, 6, args=(c,), metric=m)
    np.testing.assert_array_equal(run.iterates, plain_loop(lambda w: c * w, w0, 0.5, 6, m))
    w = w0
    for _ in range(6):
        w = dv.proximal_step(c * w, w, 2.0, metric=m)
    np.testing.assert_allclose(run.last, w, rtol=1e-14)


def test_tolerance_stops_at_the_first_small_gradient():
    c = np.array([1.0])
    run = dv.gradient_descent(scaled, [1.0], 0.5, 100, args=(c,), tol=0.1)
    assert run.converged
    assert run.reason == "tolerance"
    assert run.steps == 4
    assert run.last == [0.0625]
    assert run.iterates.shape == (5, 1)
    assert run.gradient_norms[-1] == 0.0625
    at_once = dv.gradient_descent(scaled, [0.0], 0.5, 100, args=(c,), tol=0, keep="last")
    assert at_once.steps == 0
    np.testing.assert_array_equal(at_once.average, [0.0])
    exact = dv.gradient_descent(scaled, [1.0], 1.0, 100, args=(c,), tol=0)
    assert exact.steps == 1


def test_tiny_and_huge_gradients_have_a_norm():
    run = dv.gradient_descent(scaled, [3e-200, 4e-200], 0.5, 2, args=(np.ones(2),), tol=0)
    assert not run.converged
    assert run.gradient_norms[0] == pytest.approx(5e-200, rel=1e-14)
    run = dv.gradient_descent(scaled, [3e200, 4e200], 0.5, 2, args=(np.ones(2),))
    assert run.gradient_norms[0] == pytest.approx(5e200, rel=1e-14)


def test_subgradient_steps_do_not_warn_without_a_reason():
    @njit
    def sign(w):
        return np.sign(w)

    run = dv.gradient_descent(sign, [0.25], 1.0, 9)
    assert run.reason == "steps"


# ---------------------------------------------------------------------------------- below and above 2 over L


@given(st.integers(1, 6), st.integers(0, 2**32 - 1), st.floats(0.01, 0.999))
@settings(max_examples=50, deadline=None)
def test_below_two_over_L_every_step_lowers_f(n, seed, fraction):
    rng = np.random.default_rng(seed)
    R = rng.normal(size=(n, n))
    p = dv.problems.quadratic(R @ R.T, R @ rng.normal(size=n))
    run = dv.gradient_descent(p.gradient, rng.normal(size=n), fraction * 2 / p.L, 30, p.args, value=p.value)
    assert np.all(np.diff(run.values) <= 1e-12 * (1 + np.abs(run.values[:-1])))
    eta = run.step_sizes
    drop = eta * (1 - p.L * eta / 2) * run.gradient_norms[:-1] ** 2
    assert np.all(run.values[1:] <= run.values[:-1] - drop + 1e-9 * (1 + np.abs(run.values[:-1])))


def test_above_two_over_L_it_diverges_and_says_so():
    p = dv.problems.quadratic(np.diag([1.0, 10.0]))
    with pytest.warns(dv.DivergenceWarning, match=r"after 510 of 5000 .* 0.3 is too large: .* 2/L <= 0.2\b"):
        run = dv.gradient_descent(p.gradient, [1.0, 1.0], 0.3, 5000, p.args, value=p.value)
    assert run.reason == "diverged"
    assert run.steps == 510
    assert np.isfinite(run.iterates).all()
    assert np.isfinite(run.values).all()
    assert len(run.iterates) == 511
    np.testing.assert_array_equal(run.last, run.iterates[-1])
    np.testing.assert_array_equal(run.best, [1.0, 1.0])
    with pytest.warns(dv.DivergenceWarning, match="went up: from value 5.5 at w0"):
        run = dv.gradient_descent(p.gradient, [1.0, 1.0], 0.3, 5, p.args, value=p.value)
    assert run.reason == "steps"
    with pytest.warns(dv.DivergenceWarning, match="gradient norm rose from 10"):
        dv.gradient_descent(p.gradient, [1.0, 1.0], 0.3, 5, p.args)
    with pytest.warns(dv.DivergenceWarning) as seen:
        dv.gradient_descent(p.gradient, [1.0, 1.0], 0.3, 5, p.args)
    assert seen[0].filename == __file__


def test_at_two_over_L_it_neither_falls_nor_rises():
    p = dv.problems.quadratic([[4.0]])
    run = dv.gradient_descent(p.gradient, [1.0], 2 / p.L, 50, p.args, value=p.value)
    np.testing.assert_array_equal(run.iterates[:, 0], np.resize([1.0, -1.0], 51))
    assert set(run.values) == {2.0}


def test_unscaled_data_diverges_loudly():
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    p = dv.problems.logistic(X, y)
    with pytest.warns(dv.DivergenceWarning, match="standardise"):
        dv.gradient_descent(p.gradient, p.w0, 1e-3, 500, p.args, value=p.value)
    with pytest.warns(dv.DivergenceWarning, match="0.1 is too large"):
        dv.gradient_descent(p.gradient, p.w0, 0.1, 500, p.args)


def test_bounded_gradient_with_an_overflowing_point_is_seen():
    @njit
    def ones(w):
        return np.full_like(w, -1e308)

    with pytest.warns(dv.DivergenceWarning, match="after 1 of 5 steps"):
        run = dv.gradient_descent(ones, [0.0], 1.0, 5)
    assert run.last == [1e308]


# ---------------------------------------------------------------------------------- callback and interruption


def test_callback_sees_the_run_and_can_stop_it():
    c = np.array([1.0])
    seen = []

    def stop_late(progress):
        seen.append((progress.t, progress.w[0], progress.gradient_norm, progress.value))
        return progress.t >= 6

    run = dv.gradient_descent(scaled, [1.0], 0.5, 100, args=(c,), value=half_square, callback=stop_late, every=2)
    assert [s[0] for s in seen] == [2, 4, 6]
    assert seen[0] == (2, 0.25, 0.25, 0.03125)
    assert run.reason == "callback"
    assert run.steps == 6
    assert run.last == [2.0**-6]
    quiet = dv.gradient_descent(scaled, [1.0], 0.5, 7, args=(c,), callback=seen.append, every=3)
    assert [s.t for s in seen[3:]] == [3, 6]
    assert seen[-1].value is None
    assert quiet.steps == 7


def test_interruption_leaves_the_run_so_far():
    def interrupt(progress):
        if progress.t == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        dv.gradient_descent(scaled, [1.0], 0.5, 100, args=(np.ones(1),), callback=interrupt, every=4)
    run = caught.value.trajectory
    assert run.reason == "interrupted"
    assert run.steps == 8
    np.testing.assert_array_equal(run.iterates[:, 0], 0.5 ** np.arange(9))


INTERRUPTED = """
import os, signal, threading
import numba, numpy as np
import derivable as dv

@numba.njit
def scaled(w, curvature):
    return curvature * w

signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background begins with it ignored
settings = dict(args=(np.ones(2),), keep="last")
dv.gradient_descent(scaled, np.ones(2), 1e-9, 1, **settings)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    dv.gradient_descent(scaled, np.ones(2), 1e-9, 10**8, **settings)
except KeyboardInterrupt as error:
    print(error.trajectory.reason, 0 < error.trajectory.steps < 10**8, error.__notes__)
"""


@compiled_only
@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_control_c_reaches_a_long_run():
    # In a process of its own, as a user's: a signal too late must not stop the tests.
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.startswith("interrupted True ['gradient_descent was interrupted after ")


# ------------------------------------------------------------------------------------------------- bad input


@njit
def two_arguments(w, X):
    return X @ w


@njit
def fixed_shape(w):
    return np.zeros(3)


@njit
def returns_number(w):
    return 1.0


@njit
def returns_complex(w):
    return w * 1j


@njit
def returns_pair(w):
    return 1.0, w


@njit
def returns_nothing(w):
    w[0] = w[0]


@njit
def fails(w):
    if w[0] < 0.3:
        raise ZeroDivisionError("from inside the gradient")
    return w


@njit
def not_a_number(w):
    return np.log(w - 1)


@dv.in_place
@njit
def forgets(w, out):
    out[0] = w[0]


@njit
def array_value(w, curvature):
    return w


ok = (scaled, [1.0, 1.0], 0.1, 3, (np.ones(2),))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: dv.gradient_descent(*ok[:2], 0.0, *ok[3:]),
            ValueError,
            "step must be greater than 0, got 0",
        ),
        (
            lambda: dv.gradient_descent(*ok[:2], -0.1, *ok[3:]),
            ValueError,
            "step must be greater than 0, got -0.1",
        ),
        (lambda: dv.gradient_descent(*ok[:2], np.nan, *ok[3:]), ValueError, "step must be finite"),
        (lambda: dv.gradient_descent(*ok[:2], None, *ok[3:]), TypeError, "step must be a real number"),
        (
            lambda: dv.gradient_descent(*ok[:2], [0.1], *ok[3:]),
            ValueError,
            "one for each of the 3 steps, got 1",
        ),
        (lambda: dv.gradient_descent(*ok[:2], [1, 1, -1], *ok[3:]), ValueError, "got -1.0 for step 3"),
        (lambda: dv.gradient_descent(*ok[:3], 0, ok[4]), ValueError, "steps must be at least 1, got 0"),
        (lambda: dv.gradient_descent(*ok[:3], 2.5, ok[4]), TypeError, "steps must be an int"),
        (
            lambda: dv.gradient_descent(scaled, [np.nan, 1], *ok[2:]),
            ValueError,
            "w0 must be finite, got nan at index 0",
        ),
        (lambda: dv.gradient_descent(scaled, [], *ok[2:]), ValueError, "w0 must not be empty"),
        (lambda: dv.gradient_descent(scaled, [1j], *ok[2:]), TypeError, "w0 must be numeric"),
        (
            lambda: dv.gradient_descent(*ok[:4], np.ones(2)),
            TypeError,
            r"args must be a tuple .* write args=\(X,\)",
        ),
        (lambda: dv.gradient_descent(*ok[:4], ([1.0, 2.0],)), TypeError, r"args\[0\] must be .* got a list"),
        (
            lambda: dv.gradient_descent(*ok[:4], (np.array([1, np.nan]),)),
            ValueError,
            r"args\[0\] must not hold NaN",
        ),
        (
            lambda: dv.gradient_descent(*ok[:4], (np.array(["a"]),)),
            TypeError,
            r"args\[0\] must be a numeric array",
        ),
        (lambda: dv.gradient_descent(*ok, tol=-1.0), ValueError, "tol must be at least 0"),
        (lambda: dv.gradient_descent(*ok, keep="some"), ValueError, "keep must be 'all', 'last' or"),
        (lambda: dv.gradient_descent(*ok, keep=0), ValueError, "keep must be at least 1"),
        (lambda: dv.gradient_descent(*ok[:3], 10**12, ok[4]), ValueError, "use keep='last', or keep="),
        (lambda: dv.gradient_descent(*ok, every=0), ValueError, "every must be at least 1"),
        (lambda: dv.gradient_descent(*ok, callback=3), TypeError, "callback must be a function"),
        (lambda: dv.gradient_descent(*ok, metric=[1.0]), ValueError, "metric must have the shape of w0"),
        (lambda: dv.gradient_descent(*ok, metric=[1.0, 0.0]), ValueError, "metric must be greater than 0"),
        (
            lambda: dv.gradient_descent(fixed_shape, np.ones(2), 0.1, 3),
            ValueError,
            r"shape of w, \(2,\), got \(3,\)",
        ),
        (
            lambda: dv.gradient_descent(not_a_number, np.ones(2), 0.1, 3),
            ValueError,
            "gradient at w0 must be finite",
        ),
        (
            lambda: dv.gradient_descent(forgets, np.ones(2), 0.1, 3),
            ValueError,
            "gradient at w0 must be finite, got nan",
        ),
        (
            lambda: dv.gradient_descent(fails, np.ones(2), 0.5, 9),
            ZeroDivisionError,
            "from inside the gradient",
        ),
        (lambda: dv.in_place(3), TypeError, "gradient must be a function"),
    ],
)
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()


@compiled_only
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: dv.gradient_descent(lambda w: w, np.ones(2), 0.1, 3), "put @numba.njit above it"),
        (lambda: dv.gradient_descent(3, np.ones(2), 0.1, 3), "gradient must be compiled, got int"),
        (
            lambda: dv.gradient_descent(two_arguments, np.ones(2), 0.1, 3),
            r"with 0 value\(s\) in args, but it is",
        ),
        (
            lambda: dv.gradient_descent(two_arguments, np.ones(2), 0.1, 3, ("x",)),
            "Numba cannot compile gradient",
        ),
        (
            lambda: dv.gradient_descent(two_arguments, np.ones(2), 0.1, 3, (np.ones((2, 2), int),)),
            "Numba cannot compile gradient 'two_arguments' for w: float64 array",
        ),
        (lambda: dv.gradient_descent(*ok[:4], (object(),)), r"args\[0\] must be something Numba knows"),
        (lambda: dv.gradient_descent(*ok[:4], (same,)), r"args\[0\] is a compiled function"),
        (
            lambda: dv.gradient_descent(returns_number, np.ones(2), 0.1, 3),
            "must return an array .* got float64",
        ),
        (
            lambda: dv.gradient_descent(returns_complex, np.ones(2), 0.1, 3),
            "must return an array of real numbers",
        ),
        (lambda: dv.gradient_descent(returns_pair, np.ones(2), 0.1, 3), "value and gradient together"),
        (lambda: dv.gradient_descent(returns_nothing, np.ones(2), 0.1, 3), r"pass dv.in_place\(gradient\)"),
        (lambda: dv.gradient_descent(fixed_shape, np.ones((2, 2)), 0.1, 3), "shape of w, "),
        (lambda: dv.gradient_descent(fixed_shape, 1.0, 0.1, 3), "must return a number, as w0 is a number"),
        (lambda: dv.gradient_descent(scaled_into, 1.0, 0.1, 3, (1.0,)), "give w0 as an array"),
        (lambda: dv.gradient_descent(*ok, value=array_value), "value must return a real number"),
    ],
)
def test_functions_that_do_not_fit_are_explained(call, text):
    with pytest.raises(TypeError, match=text) as caught:
        call()
    assert len(str(caught.value)) < 700


def test_nan_in_args_is_allowed_where_said():
    @njit
    def masked(w, x):
        g = np.zeros_like(w)
        for i in range(x.size):
            if not np.isnan(x[i]):
                g[0] += w[0] - x[i]
        return g

    x = np.array([1.0, np.nan, 3.0])
    run = dv.gradient_descent(masked, [0.0], 0.5, 3, args=(x,), allow_nan=True)
    assert run.last == [2.0]
    bounded = dv.gradient_descent(scaled, [1.0], 0.5, 1, args=(np.array([1.0]),))
    assert bounded.last == [0.5]


@compiled_only
def test_fixed_signatures_are_used_or_named():
    fixed = njit("float64[:](float64[:], float64[:])")(scaled.py_func)
    run = dv.gradient_descent(fixed, [1.0, 2.0], 0.5, 2, args=(np.ones(2),))
    np.testing.assert_array_equal(run.last, [0.25, 0.5])
    with pytest.raises(TypeError, match="leave the signatures out"):
        dv.gradient_descent(fixed, np.ones(2, np.float32), 0.5, 2, args=(np.ones(2, np.float32),))


def test_in_place_gradient_can_be_called_and_shown():
    np.testing.assert_array_equal(scaled_into([1, 2], np.array([3.0, 4.0])), [3.0, 8.0])
    assert repr(scaled_into) == "in_place(scaled_into)"
    assert dv.in_place(scaled_into) is scaled_into


def test_repr_is_one_line():
    run = dv.gradient_descent(*ok, value=half_square, keep="last")
    assert repr(run) == "Trajectory(3 steps, ended by steps, gradient norm 1.03, value 0.531441, 1 of 4 points kept)"


# ------------------------------------------------------------------------------- threads, processes, problems


def test_threads_give_the_same_result():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(20, 20))
    A = A @ A.T
    starts = rng.normal(size=(8, 20))
    b = np.ones(20)
    serial = [dv.gradient_descent(matrix, w, 1e-3, 300, args=(A, b)).last for w in starts]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda w: dv.gradient_descent(matrix, w, 1e-3, 300, args=(A, b)).last, starts))
    np.testing.assert_array_equal(serial, parallel)


PROGRAM = """
import numpy as np
import derivable as dv
from derivable.descent import loops, problems
p = problems.rosenbrock(2)
run = dv.gradient_descent(p.gradient, p.w0, 1e-3, 50, p.args, value=p.value)
kernels = [loops.descend, loops.norm, loops.sum_of_squares, p.gradient.into, p.value]
hits = sum(sum(k.stats.cache_hits.values()) for k in kernels)
misses = sum(sum(k.stats.cache_misses.values()) for k in kernels)
print(hits, misses, repr(float(run.values[-1])))
"""


@compiled_only
@pytest.mark.slow
def test_the_second_process_compiles_nothing(tmp_path):
    import os

    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def run():
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        size = sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file())
        hits, misses, value = done.stdout.split()
        return int(hits), int(misses), value, size

    first, second, third = run(), run(), run()
    assert first[1] >= 3
    assert second[1] == third[1] == 0
    assert second[0] >= 3
    assert first[2] == second[2] == third[2]
    assert first[3] == second[3] == third[3]  # the cache does not grow


@compiled_only
def test_the_loop_is_compiled_once_for_all_gradients_of_a_type():
    w0, c = np.ones(2), np.ones(2)
    dv.gradient_descent(scaled, w0, 0.1, 2, args=(c,))
    before = len(loops.descend.overloads)
    for _ in range(3):
        another = njit(lambda w, curvature: curvature * w)
        dv.gradient_descent(another, w0, 0.1, 2, args=(c,))
    assert len(loops.descend.overloads) == before


@pytest.mark.parametrize(
    "problem",
    [
        dv.problems.quadratic([[2.0, 0.5], [0.5, 1.0]], [1.0, -1.0]),
        dv.problems.least_squares(np.random.default_rng(0).normal(size=(7, 3)), np.arange(7.0)),
        dv.problems.logistic(np.random.default_rng(0).normal(size=(9, 2)), np.arange(9) % 2),
        dv.problems.rosenbrock(4),
    ],
    ids=["quadratic", "least squares", "logistic", "rosenbrock"],
)
def test_problems_are_what_they_say(problem):
    rng = np.random.default_rng(1)
    for _ in range(5):
        w, d = rng.normal(size=(2, problem.w0.size))
        h = 1e-5
        slope = (problem.value(w + h * d, *problem.args) - problem.value(w - h * d, *problem.args)) / (2 * h)
        assert problem.gradient(w, *problem.args) @ d == pytest.approx(slope, rel=1e-6, abs=1e-6)
    if problem.w_star is not None:
        np.testing.assert_allclose(problem.gradient(problem.w_star, *problem.args), 0, atol=1e-12)
        assert problem.value(problem.w_star, *problem.args) == pytest.approx(problem.f_star, abs=1e-12)
    if problem.L is not None:
        n = problem.w0.size
        hessian_norms = []
        for _ in range(20):
            u = rng.normal(size=n) * 0.3
            v = u + 1e-4 * rng.normal(size=n)
            change = problem.gradient(u, *problem.args) - problem.gradient(v, *problem.args)
            hessian_norms.append(np.linalg.norm(change) / np.linalg.norm(u - v))
        assert max(hessian_norms) <= problem.L * (1 + 1e-6)
        assert min(hessian_norms) >= problem.mu * (1 - 1e-6)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: dv.problems.quadratic([[1.0, 2.0]]), "A must be square"),
        (lambda: dv.problems.quadratic([[1.0, 2.0], [0.0, 1.0]]), "A must be symmetric"),
        (lambda: dv.problems.quadratic([[-1.0]]), "positive semidefinite"),
        (lambda: dv.problems.quadratic([[1.0]], [1.0, 2.0]), "b must have 1 entries"),
        (lambda: dv.problems.quadratic([[1.0, 0.0], [0.0, 0.0]], [0.0, 1.0]), "no minimiser"),
        (lambda: dv.problems.least_squares([[1.0]], [1.0, 2.0]), "y must have one entry"),
        (lambda: dv.problems.least_squares([[np.nan]], [1.0]), "X must be finite"),
        (lambda: dv.problems.logistic([[1.0], [2.0]], [0, 2]), "labels"),
        (lambda: dv.problems.logistic([[1.0], [2.0]], [0, 1], C=0), "C must be greater than 0"),
        (lambda: dv.problems.rosenbrock(1), "n must be at least 2"),
    ],
)
def test_bad_problems_are_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_logistic_regression_reaches_scikit_learns_optimum():
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    p = dv.problems.logistic(X, y)
    run = dv.gradient_descent(
        p.gradient, p.w0, 1 / p.L, 20_000 if COMPILED else 50, p.args, value=p.value, keep="last", tol=1e-3
    )
    model = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(X, y)
    theirs = p.value(np.append(model.coef_[0], model.intercept_), *p.args)
    if COMPILED:
        assert run.values[-1] == pytest.approx(theirs, rel=1e-6)
    else:
        assert run.values[-1] < 0.2 * run.values[0]


@njit
def half_square_of_number(w, a):
    return a * w * w / 2


@compiled_only
def test_a_derivative_of_the_package_is_a_gradient_and_runs_in_place():
    c = np.array([1.0, 0.5])
    derivative = dv.grad(half_square)
    assert derivative.into is not None
    run = dv.gradient_descent(derivative, [1.0, -2.0], 0.5, 6, args=(c,))
    np.testing.assert_allclose(run.iterates, plain_loop(lambda w: c * w, np.array([1.0, -2.0]), 0.5, 6), rtol=1e-14)
    number = dv.gradient_descent(dv.grad(half_square_of_number), 3.0, 0.5, 2, args=(1.0,))
    assert number.last == 0.75


@njit
def spoils_its_point(w):
    w *= 2
    return w


@njit
def nan_below_half(w):
    return w if w[0] > 0.5 else w * np.nan


def test_a_gradient_that_modifies_its_point_is_refused():
    with pytest.raises(ValueError, match="gradient and value must not modify w"):
        dv.gradient_descent(spoils_its_point, [1.0, 2.0], 0.1, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 1e-60}, "step must be greater than 0 and finite in float32, got 1e-60"),
        ({"step": 1e60}, "step must be greater than 0 and finite in float32, got 1e\\+60"),
        ({"metric": [1e-60, 1]}, "metric must be greater than 0 and finite in float32, got 1e-60"),
        ({"step": [[0.1], [0.1, 0.2]]}, "step must be an array with rows of equal length"),
        ({"step": 10**400}, "step must fit into a float64"),
        ({"steps": 10**30, "keep": "last"}, "steps must be less than"),
    ],
)
def test_numbers_outside_the_type_of_the_start_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        dv.gradient_descent(double, np.float32([1, 2]), **{"step": 0.1, "steps": 3, **options})


def test_a_period_longer_than_the_run_keeps_both_ends():
    run = dv.gradient_descent(double, [1.0, 2.0], 0.1, 3, keep=10**30)
    assert run.kept.tolist() == [1, 4]


def test_the_warning_says_what_is_not_finite():
    with pytest.warns(dv.DivergenceWarning, match="after 4 of 30 steps the gradient at the next point is not finite"):
        dv.gradient_descent(nan_below_half, [1.0, 2.0], 0.15, 30)
