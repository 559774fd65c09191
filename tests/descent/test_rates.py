"""Every bound on random problems, the reference numbers, and the problems' constants."""

import warnings

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import derivable as dv

COMPILED = not numba.config.DISABLE_JIT


def kinked(seed):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(8, 3))
    return dv.problems.max_affine(np.vstack([A, -A.mean(axis=0)]), rng.normal(size=9)), rng


def smooth(seed, weight=0.0):
    rng = np.random.default_rng(seed)
    R = rng.normal(size=(2, 3))
    return dv.problems.quadratic(R.T @ R + weight * np.eye(3), R.T @ rng.normal(size=2)), rng


def test_reference_numbers():
    bound = dv.rate_bound
    assert bound("subgradient", B=3, rho=2, T=16) == 1.5
    assert bound("subgradient", B=3, rho=2, T=100) == pytest.approx(0.6)
    for N, number in ((1, 0.707), (2, 0.625), (4, 0.519)):
        assert bound("last iterate, best constant step", B=1, rho=1, T=N) == pytest.approx(number, abs=6e-4)
    assert bound("last iterate, linear steps", B=1, rho=1, T=4) == pytest.approx(1 / np.sqrt(5))
    assert bound("smooth", B=1, L=1, T=1) == pytest.approx(1 / 6)
    assert bound("smooth", B=1, L=1, T=10) == pytest.approx(0.0238095, abs=1e-7)
    assert bound("nesterov", B=1, L=1, T=10) == pytest.approx(0.0141608, abs=1e-7)
    assert bound("optimized", B=1, L=1, T=10) == pytest.approx(0.00628648, abs=1e-8)
    assert bound("exact line search", gap=1, L=10, mu=1, T=1) == pytest.approx(0.6694214876, abs=1e-10)
    assert bound("strongly convex", B=1, L=10, mu=1, T=1) == pytest.approx(9 / 11)
    assert bound("smooth lower bound", B=1, L=1, T=3) == pytest.approx(3 / 512)


@pytest.mark.parametrize("T", [1, 2, 3, 16, 100, 1024])
@pytest.mark.parametrize(("B", "rho"), [(1.0, 1.0), (3.0, 2.0), (0.01, 70.0)])
def test_the_worst_function_attains_the_bound(T, B, rho):
    p = dv.problems.worst_subgradient(T, B, rho)
    step = B / (rho * np.sqrt(T))
    run = dv.subgradient_method(p.gradient, p.w0, step, T, p.args, value=p.value)
    bound = dv.rate_bound("subgradient", B=B, rho=rho, T=T)
    np.testing.assert_array_equal(run.values[:T], 0.0)
    assert p.value(run.average, *p.args) - p.f_star == pytest.approx(bound, rel=1e-12)
    np.testing.assert_allclose(run.last, p.w_star, rtol=1e-12)
    sides = dv.regret(run, p.w_star)
    assert sides.slack <= 1e-20 * sides.bound
    assert sides.total == pytest.approx(sides.bound, rel=1e-12)
    if T > 1:  # linear steps: the last of T points is on the bound as well
        linear = dv.subgradient_method(p.gradient, p.w0, step, T - 1, p.args, schedule="linear", value=p.value)
        assert linear.values[-1] - p.f_star == pytest.approx(
            dv.rate_bound("last iterate, linear steps", B=B, rho=rho, T=T - 1), rel=1e-12
        )


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_nonsmooth_bounds_hold_on_random_problems(T, seed, factor):
    p, rng = kinked(seed)
    B, rho = p.B * (1 + rng.uniform()), p.rho
    step = factor * B / (rho * np.sqrt(T))
    options = {"args": p.args, "value": p.value}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dv.DivergenceWarning)
        run = dv.subgradient_method(p.gradient, p.w0, step, T, **options)
        inverse = dv.subgradient_method(p.gradient, p.w0, step, T, schedule="inverse_sqrt", **options)
        linear = dv.subgradient_method(p.gradient, p.w0, B / (rho * np.sqrt(T + 1)), T, schedule="linear", **options)
        polyak = dv.subgradient_method(p.gradient, p.w0, None, T, schedule="polyak", f_star=p.f_star, **options)
    bound = dv.rate_bound("subgradient", B=B, rho=rho, T=T, step=step) + 1e-9
    assert p.value(run.average, *p.args) - p.f_star <= bound
    assert run.values[:T].min() - p.f_star <= bound
    weights = np.broadcast_to(inverse.step_sizes, T)
    mean = weights @ inverse.iterates[:-1] / weights.sum()
    bound = dv.rate_bound("subgradient", B=B, rho=rho, T=T, step=inverse.step_sizes)
    assert p.value(mean, *p.args) - p.f_star <= bound + 1e-9
    assert linear.values[-1] - p.f_star <= dv.rate_bound("last iterate, linear steps", B=B, rho=rho, T=T) + 1e-9
    if polyak.reason == "steps":
        assert polyak.values[:T].min() - p.f_star <= dv.rate_bound("subgradient", B=B, rho=rho, T=T) + 1e-9


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.floats(0.05, 1.0))
@settings(max_examples=50, deadline=None)
def test_smooth_bounds_hold_on_random_problems(T, seed, fraction):
    p, _ = smooth(seed)
    B, options = p.B + 1e-9, {"args": p.args, "value": p.value}
    run = dv.gradient_descent(p.gradient, p.w0, fraction / p.L, T, **options)
    assert run.values[-1] - p.f_star <= dv.rate_bound("smooth", B=B, L=p.L, T=T, step=fraction / p.L) + 1e-9
    run = dv.nesterov(p.gradient, p.w0, 1 / p.L, T, **options)
    assert run.values[-1] - p.f_star <= dv.rate_bound("nesterov", B=B, L=p.L, T=T) + 1e-9
    run = dv.nesterov(p.gradient, p.w0, 1 / p.L, T, beta="optimized", **options)
    assert run.values[-1] - p.f_star <= dv.rate_bound("optimized", B=B, L=p.L, T=T) + 1e-9


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.floats(0.05, 1.99))
@settings(max_examples=50, deadline=None)
def test_strongly_convex_bounds_hold_on_random_problems(T, seed, fraction):
    p, rng = smooth(seed, weight=0.2)
    start = rng.normal(size=3)
    B = float(np.linalg.norm(start - p.w_star))
    run = dv.gradient_descent(p.gradient, start, fraction / p.L, T, p.args, value=p.value)
    bound = dv.rate_bound("strongly convex", B=B, L=p.L, mu=p.mu, T=T, step=fraction / p.L)
    assert np.linalg.norm(run.last - p.w_star) <= bound * (1 + 1e-9) + 1e-9
    gap = run.values[0] - p.f_star
    exact = dv.steepest_descent(p.gradient, start, T, p.args, value=p.value, search="exact")
    limit = dv.rate_bound("exact line search", gap=gap, L=p.L, mu=p.mu, T=exact.steps or 1)
    assert exact.values[-1] - p.f_star <= limit + 1e-9
    run = dv.nesterov(p.gradient, start, 1 / p.L, T, p.args, mu=p.mu, value=p.value)
    limit = dv.rate_bound("nesterov, strongly convex", B=B, L=p.L, mu=p.mu, T=T)
    assert run.values[-1] - p.f_star <= limit + 1e-9


@given(st.integers(1, 200), st.floats(0.1, 1.0), st.floats(0.1, 10), st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_the_worst_smooth_function_attains_the_bound(T, fraction, B, L):
    p = dv.problems.worst_smooth(T, B, L, fraction / L)
    run = dv.gradient_descent(p.gradient, p.w0, fraction / L, T, p.args, value=p.value)
    bound = dv.rate_bound("smooth", B=B, L=L, T=T, step=fraction / L)
    assert run.values[-1] == pytest.approx(bound, rel=1e-10)


@pytest.mark.parametrize(("mu", "L"), [(1.0, 10.0), (0.5, 0.6), (1e-3, 1.0)])
def test_exact_line_search_falls_by_its_factor_every_step(mu, L):
    p = dv.problems.quadratic(np.diag([mu, L]))
    run = dv.steepest_descent(p.gradient, [L, mu], 20, p.args, value=p.value, search="exact")
    np.testing.assert_allclose(run.values[1:11] / run.values[:10], ((L - mu) / (L + mu)) ** 2, rtol=1e-8)


@pytest.mark.parametrize("T", [1, 2, 7, 30])
def test_no_method_is_below_the_smooth_lower_bound(T):
    p = dv.problems.nesterov_quadratic(2 * T + 1, L=3.0)
    floor = dv.problems.nesterov_quadratic(T, L=3.0).f_star
    assert floor - p.f_star >= dv.rate_bound("smooth lower bound", B=p.B, L=3.0, T=T)
    options = {"args": p.args, "value": p.value}
    for run in (
        dv.gradient_descent(p.gradient, p.w0, 1 / 3, T, **options),
        dv.nesterov(p.gradient, p.w0, 1 / 3, T, beta="optimized", **options),
        dv.steepest_descent(p.gradient, p.w0, T, search="exact", **options),
    ):
        assert run.values[-1] >= floor - 1e-14
        np.testing.assert_array_equal(run.last[T:], 0.0)


# ------------------------------------------------------------------------------------------ the problems

rows, targets = np.random.default_rng(0).normal(size=(9, 2)), np.arange(9) % 2
PROBLEMS = {
    "lasso": dv.problems.lasso(rows, targets, 100.0),
    "hinge": dv.problems.hinge(rows, targets),
    "max affine": dv.problems.max_affine([[1.0, 2.0], [-3.0, 1.0], [1.0, -4.0]], [1.0, 0.0, -1.0]),
    "huber": dv.problems.huber(3, L=2.0, rho=0.7),
    "worst subgradient": dv.problems.worst_subgradient(4, 2.0, 3.0),
    "worst smooth": dv.problems.worst_smooth(4, 2.0, 3.0),
    "nesterov": dv.problems.nesterov_quadratic(6, L=2.5),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_are_what_they_say(name):
    p, rng = PROBLEMS[name], np.random.default_rng(1)
    n = p.w0.size
    smooth_part = dv.problems.least_squares(rows, targets) if name == "lasso" else p
    for _ in range(30):
        w, u = rng.normal(size=(2, n))
        g, h = (p.gradient(x, *p.args) for x in (w, u))
        below = smooth_part.value(w, *smooth_part.args) + g @ (u - w)
        assert smooth_part.value(u, *smooth_part.args) >= below - 1e-12  # a subgradient
        d, e = rng.normal(size=n), 1e-6
        ends = [smooth_part.value(w + s * e * d, *smooth_part.args) for s in (1, -1)]
        assert g @ d == pytest.approx((ends[0] - ends[1]) / (2 * e), rel=1e-5, abs=1e-5)
        if p.rho is not None:
            assert np.linalg.norm(g) <= p.rho * (1 + 1e-12)
        if p.L is not None:
            assert np.linalg.norm(g - h) <= p.L * np.linalg.norm(w - u) * (1 + 1e-12)
            assert (g - h) @ (w - u) >= p.mu * np.sum((w - u) ** 2) * (1 - 1e-12) - 1e-15
        if p.f_star is not None:
            assert p.value(w, *p.args) >= p.f_star
    if p.w_star is not None:
        assert p.value(p.w_star, *p.args) == pytest.approx(p.f_star, abs=1e-12)
        assert pytest.approx(np.linalg.norm(p.w0 - p.w_star)) == p.B
    else:
        assert p.B is None


def test_the_lasso_and_the_ball_of_the_worst_function():
    p = dv.problems.lasso(rows, targets, 0.01)
    assert p.w_star is None
    w = np.array([0.3, -2.0])
    expected = np.mean((rows @ w - targets) ** 2) / 2 + 0.01 * 2.3
    assert p.value(w, *p.args) == pytest.approx(expected)
    worst = dv.problems.worst_subgradient(4, 2.0, 3.0)
    far = np.array([-30.0, -40.0, 0.0, 0.0]) - 100  # there the norm is the larger term
    np.testing.assert_allclose(worst.gradient(far, *worst.args), 3 * far / np.linalg.norm(far))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: dv.problems.quadratic([[0.0]]), "A must not be 0 everywhere"),
        (lambda: dv.problems.least_squares([[0.0]], [1.0]), "X must not be 0 everywhere"),
        (lambda: dv.problems.lasso([[0.0]], [1.0], 1.0), "X must not be 0 everywhere"),
        (lambda: dv.problems.lasso([[1.0]], [1.0], 0.0), "weight must be greater than 0"),
        (lambda: dv.problems.hinge([[1.0]], [2.0]), "labels"),
        (lambda: dv.problems.max_affine([[1.0]]), "no lowest value"),
        (lambda: dv.problems.max_affine([[1.0]], [1.0, 2.0]), "b must have 1 entries"),
        (lambda: dv.problems.huber(2, w0=[1.0]), "w0 must have n = 2 entries"),
        (lambda: dv.problems.huber(L=0.0), "L must be greater than 0"),
        (lambda: dv.problems.worst_subgradient(0), "T must be at least 1"),
        (lambda: dv.problems.worst_subgradient(3, rho=-1.0), "rho must be greater than 0"),
        (lambda: dv.problems.worst_smooth(3, step=1.1), "step must be at most 1/L"),
        (lambda: dv.problems.nesterov_quadratic(0), "n must be at least 1"),
    ],
)
def test_bad_problems_are_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
