"""The subgradient method, momentum, Nesterov's method, line searches and proximal steps against their definitions."""

import warnings

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

import derivable as dv
from derivable.descent import loops
from derivable.descent.accelerated import inertia

COMPILED = not numba.config.DISABLE_JIT
compiled_only = pytest.mark.skipif(not COMPILED, reason="about compiled functions")

# One set of compiled programs for the whole file: a quadratic through args, in float64 (and once in float32).
BOWL = dv.problems.quadratic(np.diag([1.0, 4.0, 10.0]), [1.0, -2.0, 3.0])


def slope(w, A, b):
    return A @ w - b


def random_bowl(seed, n=3):
    rng = np.random.default_rng(seed)
    R = rng.normal(size=(n, n))
    return dv.problems.quadratic(R @ R.T + 0.1 * np.eye(n), rng.normal(size=n)), rng


# ------------------------------------------------------------------------------------------ subgradient method


def sizes_of(schedule, eta, T):
    t = np.arange(1, T + 1)
    return {"constant": np.full(T, eta), "inverse_sqrt": eta / np.sqrt(t), "linear": eta * (1 - t / (T + 1))}[schedule]


@pytest.mark.parametrize("schedule", ["constant", "inverse_sqrt", "linear"])
@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_subgradient_method_equals_the_plain_loop(schedule, T, seed):
    rng = np.random.default_rng(seed)
    A, b = rng.normal(size=(6, 3)), rng.normal(size=6)
    p = dv.problems.max_affine(np.vstack([A, -A]), np.concatenate([b, -b]))
    w, eta = rng.normal(size=3), 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dv.DivergenceWarning)
        run = dv.subgradient_method(p.gradient, w, eta, T, p.args, schedule=schedule, value=p.value)
    points, rows = [w], p.args[0]
    for size in sizes_of(schedule, eta, T):
        w = w - size * rows[np.argmax(rows @ w + p.args[1])]
        points.append(w)
    np.testing.assert_allclose(run.iterates, points, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(run.values, [np.max(rows @ w + p.args[1]) for w in points], rtol=1e-12)
    np.testing.assert_allclose(run.average, np.mean(points[:-1], axis=0), rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(run.best, run.iterates[np.argmin(run.values)])
    np.testing.assert_allclose(np.broadcast_to(run.step_sizes, T), sizes_of(schedule, eta, T), rtol=1e-15)


def test_polyak_steps():
    p = dv.problems.max_affine([[3.0, 4.0], [-3.0, 1.0], [0.0, -1.0]], [0.0, 1.0, 0.5])
    run = dv.subgradient_method(
        p.gradient, [2.0, 5.0], None, 30, p.args, schedule="polyak", value=p.value, f_star=p.f_star
    )
    expected = (run.values[:-1] - p.f_star) / run.gradient_norms[:-1] ** 2
    np.testing.assert_allclose(run.step_sizes, expected, rtol=1e-12)
    moves = run.iterates[:-1] - run.iterates[1:]
    gradients = np.array([p.gradient(w, *p.args) for w in run.iterates[:-1]])
    np.testing.assert_allclose(moves, run.step_sizes[:, None] * gradients, atol=1e-12)
    sides = dv.regret(run, p.w_star)
    assert sides.weighted
    assert sides.total + sides.slack == pytest.approx(sides.bound, rel=1e-12)


def test_polyak_steps_end_at_the_target_or_at_a_zero_subgradient():
    p = dv.problems.huber(2, w0=[3.0, 4.0])
    run = dv.subgradient_method(p.gradient, p.w0, None, 500, p.args, schedule="polyak", value=p.value, f_star=0.0)
    assert run.reason in ("target", "steps")
    at_once = dv.subgradient_method(
        p.gradient, [0.0, 0.0], None, 5, p.args, schedule="polyak", value=p.value, f_star=0.0
    )
    assert (at_once.reason, at_once.steps, at_once.converged) == ("target", 0, True)
    low = dv.subgradient_method(p.gradient, [0.0, 0.0], None, 5, p.args, schedule="polyak", value=p.value, f_star=-1.0)
    assert (low.reason, low.steps) == ("tolerance", 0)


def test_a_subgradient_run_that_never_comes_down_warns_and_others_do_not():
    p = dv.problems.max_affine([[1.0], [-1.7]])
    with pytest.warns(dv.DivergenceWarning, match="in the second half of 10 steps the lowest value was"):
        dv.subgradient_method(p.gradient, [0.3], 5.0, 10, p.args, value=p.value)
    run = dv.subgradient_method(p.gradient, [0.1], 0.15, 10, p.args, value=p.value)
    assert run.values.max() <= 0.3
    polyak = {"schedule": "polyak", "value": p.value}
    with pytest.warns(dv.DivergenceWarning, match=r"went up: .*no value as low as f_star = -5,"):
        dv.subgradient_method(p.gradient, [0.1], None, 10, p.args, f_star=-5.0, **polyak)
    dv.subgradient_method(p.gradient, [0.1], None, 10, p.args, f_star=0.0, **polyak)

    @njit
    def square(w):
        return w * w * np.sign(w)

    with pytest.warns(dv.DivergenceWarning, match="subgradient_method diverged"):
        dv.subgradient_method(square, [10.0], 5.0, 30)


@pytest.mark.parametrize("where", ["box", "ball"])
def test_projected_subgradient_method(where):
    A, b = np.array([[1.0, 2.0], [-3.0, 1.0], [1.0, -4.0]]), np.array([1.0, 0.0, -1.0])
    p = dv.problems.max_affine(A, b)
    psi = dv.proximal.box([-0.2, -1.0], 0.1) if where == "box" else dv.proximal.ball(0.05, [0.3, 0.3])
    w = np.array([0.5, 0.5])
    run = dv.subgradient_method(p.gradient, w, 0.1, 40, p.args, value=p.value, proximal=psi)
    vectors = []
    for point in run.iterates[1:]:
        v = A[np.argmax(A @ w + b)]
        vectors.append(v)
        w = psi(w - 0.1 * v)
        np.testing.assert_allclose(point, w, rtol=1e-12, atol=1e-14)
    inside = psi([0.0, 0.0])
    sides = dv.regret(run, inside, np.array(vectors))
    assert sides.total + sides.slack <= sides.bound + 1e-12
    with pytest.raises(ValueError, match="give vectors"):
        dv.regret(run, inside)


# ------------------------------------------------------------------------------------------ the lemma


@njit
def any_vector(w, V, used):
    used[0] += 1
    return V[used[0] - 1]


def unused():
    """Return the counter; without the compiler the function is called once before the run."""
    return np.array([0 if COMPILED else -1])


def test_the_lemma_is_an_identity_in_ten_thousand_runs():
    rng = np.random.default_rng(7)
    runs, worst = (10_000 if COMPILED else 100), 0.0
    for _ in range(runs):
        n, T = rng.integers(1, 6), rng.integers(1, 20)
        V = rng.normal(size=(T + 1, n)) * 10.0 ** rng.uniform(-3, 3)
        eta, w_star = float(10.0 ** rng.uniform(-3, 3)), rng.normal(size=n) * 10.0 ** rng.uniform(-2, 2)
        run = dv.subgradient_method(any_vector, np.zeros(n), eta, int(T), (V, unused()))
        distance = run.iterates - w_star
        total = np.sum(distance[:-1] * V[:-1])
        bound = w_star @ w_star / (2 * eta) + eta / 2 * np.sum(V[:-1] ** 2)
        slack = distance[-1] @ distance[-1] / (2 * eta)
        size = np.sum(np.abs(distance[:-1] * V[:-1])) + bound + slack
        worst = max(worst, abs(total + slack - bound) / size)
        assert total <= bound + 1e-12 * size
    assert worst < 1e-13


@given(st.integers(1, 6), st.integers(1, 30), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_regret_gives_both_sides_and_the_slack(n, T, changing, seed):
    rng = np.random.default_rng(seed)
    V, w_star = rng.normal(size=(T + 1, n)), rng.normal(size=n)
    step = rng.uniform(0.1, 2, size=T) if changing and T > 1 else 0.7
    run = dv.subgradient_method(any_vector, rng.normal(size=n), step, T, (V, unused()))
    sides, given_too = dv.regret(run, w_star), dv.regret(run, w_star, V[:-1])
    eta = np.broadcast_to(step, T)
    scale = 1.0 if np.ndim(step) else 1 / step
    expected = scale * np.sum(eta[:, None] * (run.iterates[:-1] - w_star) * V[:-1])
    for found in (sides, given_too):
        assert found.total == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert found.total + found.slack == pytest.approx(found.bound, rel=1e-9, abs=1e-9)
        assert found.slack == pytest.approx(scale * np.sum((run.last - w_star) ** 2) / 2)
        assert found.weighted == bool(np.ndim(step))


def test_regret_of_a_single_precision_run():
    run = dv.gradient_descent(BOWL.gradient, np.ones(3, np.float32), 0.05, 20, tuple(a.astype("f4") for a in BOWL.args))
    sides = dv.regret(run, np.zeros(3))
    assert sides.total + sides.slack == pytest.approx(sides.bound, rel=1e-5)


# ------------------------------------------------------------------------------------------ momentum


@pytest.mark.parametrize("convention", ["pytorch", "sutskever"])
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.95), st.booleans())
@settings(max_examples=25, deadline=None)
def test_momentum_equals_the_plain_loop(convention, seed, beta, changing):
    p, rng = random_bowl(seed)
    step = rng.uniform(0.1, 1, size=20) / p.L if changing else 0.5 / p.L
    w, m, points = rng.normal(size=3), np.zeros(3), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dv.DivergenceWarning)
        run = dv.momentum(p.gradient, w, step, 20, p.args, beta=beta, convention=convention, value=p.value)
    for eta in np.broadcast_to(step, 20):
        points.append(w)
        g = slope(w, *p.args)
        if convention == "pytorch":
            m = beta * m + g
            w = w - eta * m
        else:
            m = beta * m - eta * g
            w = w + m
    np.testing.assert_allclose(run.iterates, [*points, w], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(run.average, np.mean(points, axis=0), rtol=1e-9, atol=1e-10)


def test_momentum_without_momentum_is_gradient_descent():
    plain = dv.gradient_descent(BOWL.gradient, BOWL.w0, 0.1, 30, BOWL.args)
    for convention in ("pytorch", "sutskever"):
        run = dv.momentum(BOWL.gradient, BOWL.w0, 0.1, 30, BOWL.args, beta=0.0, convention=convention)
        np.testing.assert_allclose(run.iterates, plain.iterates, rtol=1e-14)


def test_momentum_diverges_beyond_its_own_limit_only():
    limit = 2 * 1.9 / 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dv.momentum(BOWL.gradient, [1.0, 1.0, 1.0], 0.95 * limit, 500, BOWL.args, beta=0.9, value=BOWL.value)
    with pytest.warns(dv.DivergenceWarning, match=r"less than 3.8/L, .* 3.8/L <= 0.38"):
        dv.momentum(BOWL.gradient, [1.0, 1.0, 1.0], 1.1 * limit, 9000, BOWL.args, beta=0.9, value=BOWL.value)


@pytest.mark.peer
@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_momentum_equals_pytorch(beta):
    torch = pytest.importorskip("torch", reason="the peer torch is not installed")
    A, b = (torch.tensor(a) for a in BOWL.args)
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.05, momentum=beta)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.1)
    points = []
    for _ in range(100):
        points.append(w.detach().numpy().copy())
        optimizer.zero_grad()
        (w @ A @ w / 2 - b @ w).backward()
        optimizer.step()
        schedule.step()
    sizes = [0.05 * 0.1 ** (t // 10) for t in range(100)]
    run = dv.momentum(BOWL.gradient, np.ones(3), sizes, 100, BOWL.args, beta=beta)
    np.testing.assert_allclose(run.iterates[:100], points, atol=1e-12)


# ------------------------------------------------------------------------------------------ Nesterov


@given(st.integers(0, 2**32 - 1), st.sampled_from(["convex", "optimized", 0.5, "array", "mu"]))
@settings(max_examples=40, deadline=None)
def test_nesterov_equals_the_plain_loop(seed, kind):
    p, rng = random_bowl(seed)
    T, eta = 15, 1 / p.L
    s = inertia(T, optimized=kind == "optimized")
    betas = {
        "convex": (s[:-1] - 1) / s[1:],
        "optimized": (s[:-1] - 1) / s[1:],
        0.5: np.full(T, 0.5),
        "array": np.linspace(0, 0.9, T),
        "mu": np.full(T, (1 - np.sqrt(p.mu * eta)) / (1 + np.sqrt(p.mu * eta))),
    }[kind]
    options = {"array": {"beta": betas}, "mu": {"mu": p.mu}}.get(kind, {"beta": kind})
    start = rng.normal(size=3)
    run = dv.nesterov(p.gradient, start, eta, T, p.args, value=p.value, **options)
    w = y = start
    landed, ahead = [w], [y]
    for t in range(T):
        new = y - eta * slope(y, *p.args)
        extra = s[t] / s[t + 1] * (new - y) if kind == "optimized" else 0.0
        y = new + betas[t] * (new - w) + extra
        w = new
        landed.append(w)
        ahead.append(y)
    expected = np.array(ahead if kind == "optimized" else landed)
    np.testing.assert_allclose(run.iterates, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(run.values, [p.value(v, *p.args) for v in expected], rtol=1e-9, atol=1e-10)
    norms = np.linalg.norm([slope(y, *p.args) for y in ahead], axis=1)
    np.testing.assert_allclose(run.gradient_norms, norms, rtol=1e-8, atol=1e-10)


def test_inertia():
    s = inertia(10)
    assert np.all(s >= (np.arange(11) + 2) / 2)
    np.testing.assert_allclose(s[1:] ** 2 - s[1:], s[:-1] ** 2)
    last = inertia(10, optimized=True)[-1]
    assert last**2 - last == pytest.approx(2 * s[9] ** 2)


def test_fista_and_proximal_descent_solve_the_lasso():
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Lasso

    X, y = load_diabetes(return_X_y=True)
    X, y = X / X.std(axis=0), y - y.mean()
    p = dv.problems.lasso(X, y, weight=2.0)
    options = {"value": p.value, "proximal": p.proximal, "keep": "last"}
    steps = 20_000 if COMPILED else 30
    run = dv.nesterov(p.gradient, p.w0, 1 / p.L, steps, p.args, **options)
    slow = dv.gradient_descent(p.gradient, p.w0, 1 / p.L, steps, p.args, tol=1e-9, **options)
    if COMPILED:
        theirs = Lasso(alpha=2.0, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X, y).coef_
        np.testing.assert_allclose(run.last, theirs, atol=1e-6)
        np.testing.assert_allclose(slow.last, theirs, atol=1e-6)
        assert slow.reason == "tolerance"
        assert np.count_nonzero(run.last) == np.count_nonzero(theirs) < 10


# ------------------------------------------------------------------------------------------ line search


def test_exact_line_search_on_quadratics_and_beyond():
    for seed in range(20):
        p, rng = random_bowl(seed)
        run = dv.steepest_descent(p.gradient, rng.normal(size=3), 5, p.args, value=p.value, search="exact", initial=0.3)
        for w, size in zip(run.iterates, run.step_sizes, strict=False):
            g = slope(w, *p.args)
            assert size == pytest.approx(g @ g / (g @ p.args[0] @ g), rel=1e-6)
        assert np.all(np.diff(run.values) <= 1e-12)
    from scipy.optimize import minimize_scalar

    p = dv.problems.rosenbrock(2)
    run = dv.steepest_descent(p.gradient, [-1.2, 1.0], 3, value=p.value, search="exact", initial=1e-4)
    for w, size in zip(run.iterates, run.step_sizes, strict=False):
        g = p.gradient(w)
        best = minimize_scalar(lambda s, w=w, g=g: p.value(w - s * g), bracket=(0, size), options={"xtol": 1e-12}).x
        assert size == pytest.approx(best, rel=1e-4)


def test_backtracking_satisfies_armijo():
    p = dv.problems.rosenbrock(2)
    run = dv.steepest_descent(p.gradient, [-1.2, 1.0], 200, value=p.value, decrease=0.3, shrink=0.6)
    drop = run.values[:-1] - run.values[1:]
    assert np.all(drop >= 0.3 * run.step_sizes * run.gradient_norms[:-1] ** 2 - 1e-14)
    ratio = np.log(run.step_sizes[1:] / run.step_sizes[:-1] / 2) / np.log(0.6)
    np.testing.assert_allclose(ratio, np.round(ratio), atol=1e-9)
    q = dv.problems.quadratic(np.diag([1.0, 10.0]))
    run = dv.steepest_descent(q.gradient, [1.0, 1.0], 50, q.args, value=q.value)
    assert run.step_sizes.min() >= 0.5 / q.L


def test_line_search_ends_where_nothing_is_lower():
    run = dv.steepest_descent(BOWL.gradient, [1.0, 1.0, 1.0], 10_000, BOWL.args, value=BOWL.value)
    assert run.reason == "stalled"
    np.testing.assert_allclose(run.last, BOWL.w_star, atol=1e-6)
    assert len(run.step_sizes) == run.steps < 10_000

    @njit
    def falls(w):
        return -np.ones_like(w)

    run = dv.steepest_descent(falls, [1.0], 5, search="exact")
    assert (run.reason, run.steps, run.last[0]) == ("stalled", 0, 1.0)


@pytest.mark.parametrize("search", ["exact", "backtracking"])
def test_line_search_started_at_the_minimiser_has_converged(search):
    # Line searches elsewhere fail there, as the gradient is no direction of descent, and report an error.
    args = (BOWL.args[0], np.zeros(3))
    run = dv.steepest_descent(BOWL.gradient, np.zeros(3), 5, args, value=BOWL.value, search=search)
    assert (run.gradient_norms[-1], run.reason, run.converged, run.steps) == (0.0, "tolerance", True, 0)
    np.testing.assert_array_equal(run.last, 0.0)


# ------------------------------------------------------------------------------------------ proximal maps


@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0.01, 10))
@settings(max_examples=60, deadline=None)
def test_proximal_points_are_minimisers(n, seed, size):
    rng = np.random.default_rng(seed)
    v = 3 * rng.normal(size=n)
    np.testing.assert_allclose(dv.proximal.l1(0.5)(v, size), np.sign(v) * np.maximum(np.abs(v) - 0.5 * size, 0))
    low, high = np.sort(rng.normal(size=(2, n)), axis=0)
    np.testing.assert_array_equal(dv.proximal.box(low, high)(v, size), np.clip(v, low, high))
    centre = rng.normal(size=n)
    d = v - centre
    expected = centre + d * min(1, 1.5 / np.linalg.norm(d))
    np.testing.assert_allclose(dv.proximal.ball(1.5, centre)(v, size), expected, rtol=1e-12, atol=1e-13)
    u = dv.proximal.simplex(2.0)(v, size)
    assert u.min() >= 0
    assert u.sum() == pytest.approx(2.0)
    # The optimality condition of the projection: v - u is largest, and the same, where u is positive.
    gap = v - u
    assert np.all(np.abs(gap[u > 0] - gap.max()) < 1e-9)


def test_proximal_maps_keep_shape_and_dtype_and_refuse_other_sizes():
    v = np.arange(6.0, dtype=np.float32).reshape(2, 3)[:, ::-1]
    out = dv.proximal.l1(1.0)(v)
    assert out.shape == (2, 3)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, np.maximum(v - 1, 0))
    assert dv.proximal.l1(1.0)(3) == 2.0
    with pytest.raises(ValueError, match=r"box was made for 2 entries, got 6"):
        dv.proximal.box([0, 0], [1, 1])(v)
    with pytest.raises(ValueError, match="box was made for 2 entries"):
        dv.gradient_descent(BOWL.gradient, BOWL.w0, 0.1, 3, BOWL.args, proximal=dv.proximal.box([0, 0], [1, 1]))
    huge = dv.proximal.ball(1.0)([3e200, 4e200])
    np.testing.assert_allclose(huge, [0.6, 0.8])
    assert repr(dv.proximal.l1(0.5)) == "proximal.l1(0.5)"
    for psi, inside, outside in (
        (dv.proximal.box(0.0, 1.0), [0.5, 1.0], [0.5, 1.1]),
        (dv.proximal.ball(1.0), [0.6, 0.8], [0.7, 0.8]),
        (dv.proximal.simplex(), [0.4, 0.6], [0.4, 0.7]),
    ):
        assert psi.penalty(np.array(inside)) == 0
        assert psi.penalty(np.array(outside)) == np.inf
    assert dv.proximal.l1(2.0).penalty(np.array([1.0, -2.0])) == 6.0


def test_proximal_descent_equals_the_plain_loop_and_stops_at_its_own_measure():
    psi = dv.proximal.simplex()
    w, points = np.array([1.0, 0.0, 0.0]), []
    run = dv.gradient_descent(BOWL.gradient, w, 0.05, 300, BOWL.args, proximal=psi, value=BOWL.value, tol=1e-8)
    assert run.reason == "tolerance"
    for _ in range(run.steps):
        points.append(w)
        w = psi(w - 0.05 * slope(w, *BOWL.args))
    np.testing.assert_allclose(run.iterates, [*points, w], atol=1e-13)
    assert np.linalg.norm(run.iterates[-1] - run.iterates[-2]) / 0.05 <= 1e-8
    assert run.gradient_norms[-1] > 0.1  # the gradient itself does not vanish on the boundary


@pytest.mark.parametrize("keep", ["all", "last"])
def test_fista_stops_at_the_length_of_its_step(keep):
    psi = dv.proximal.simplex()
    start = np.array([1.0, 0.0, 0.0])
    options = {"proximal": psi, "value": BOWL.value, "keep": keep}
    run = dv.nesterov(BOWL.gradient, start, 0.05, 3000, BOWL.args, tol=1e-8, **options)
    assert run.reason == "tolerance"
    assert 5 < run.steps < 3000
    assert run.gradient_norms[-1] > 0.1  # the gradient of the smooth part does not vanish there
    w, y, s, measures = start, start, 1.0, []
    for _ in range(run.steps):
        landed = psi(y - 0.05 * slope(y, *BOWL.args))
        measures.append(np.linalg.norm(landed - y) / 0.05)
        following = (1 + np.sqrt(1 + 4 * s * s)) / 2
        w, y, s = landed, landed + (s - 1) / following * (landed - w), following
    assert measures[-1] <= 1e-8 * (1 + 1e-6)
    assert min(measures[:-1]) > 1e-8 * (1 - 1e-6)
    np.testing.assert_allclose(run.last, w, atol=1e-13)


def test_a_penalty_that_pulls_away_from_the_start_is_no_divergence():
    # The unconstrained minimiser lies outside the simplex: from there the gradient and the value must grow.
    away = np.array([5.0, 5.0, -9.0])
    p = dv.problems.quadratic(np.diag([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 4.0]) * away)
    for value in (None, p.value):
        options = {"args": p.args, "proximal": dv.proximal.simplex(), "value": value}
        dv.gradient_descent(p.gradient, away, 0.2, 300, tol=1e-9, **options)
        dv.nesterov(p.gradient, away, 0.2, 300, tol=1e-9, **options)
        dv.subgradient_method(p.gradient, away, 0.2, 300, tol=1e-9, **options)
    with pytest.warns(dv.DivergenceWarning, match="went up"):
        dv.gradient_descent(p.gradient, away, 2.0, 30, p.args, proximal=dv.proximal.l1(0.1), value=p.value)


def test_a_point_of_the_wrong_size_is_refused_by_each_problem():
    X, y = np.ones((4, 2)), np.array([1, 0, 1, 0])
    three = np.ones(3)
    for p in (
        dv.problems.quadratic(np.eye(2)),
        dv.problems.least_squares(X, y),
        dv.problems.hinge(X, y),
        dv.problems.max_affine([[1.0, 0.0], [-1.0, 0.0]]),
        dv.problems.logistic(np.ones((4, 1)), y),
    ):
        assert p.w0.size == 2
        with pytest.raises(ValueError, match="w must have one entry for each column"):
            p.value(three, *p.args)
        with pytest.raises(ValueError, match="w must have one entry for each column"):
            dv.gradient_descent(p.gradient, three, 0.1, 3, p.args)


@pytest.mark.parametrize(("beta", "limit"), [("convex", 4 / 3), ("optimized", 1.0), (0.5, 1.5)])
def test_accelerated_methods_diverge_beyond_their_own_limits_only(beta, limit):
    p = dv.problems.quadratic(np.diag([1.0, 4.0, 10.0]))
    go_on = (p.gradient, np.ones(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = dv.nesterov(*go_on, 0.99 * limit / p.L, 3000, p.args, beta=beta, value=p.value)
    assert run.values[-1] < 1e-4
    with pytest.warns(dv.DivergenceWarning, match=f"too large: it must be less than {limit:.3g}"):
        dv.nesterov(*go_on, 1.03 * limit / p.L, 3000, p.args, beta=beta, value=p.value)


def test_a_centre_of_one_number_holds_for_all_entries():
    np.testing.assert_array_equal(
        dv.proximal.ball(1.0, 2.0)([5.0, 6.0, 2.0]), dv.proximal.ball(1.0, [2.0] * 3)([5, 6, 2])
    )


def test_the_simplex_of_large_numbers():
    np.testing.assert_array_equal(dv.proximal.simplex()([1e308, 1e308, -1e308]), [0.5, 0.5, 0.0])
    np.testing.assert_array_equal(dv.proximal.simplex()([1e17, 1e17, 0.0]), [0.5, 0.5, 0.0])


@njit
def returns_its_point(v, size):
    return v / 2


@njit
def grouped(v, size, matrix):  # an argument whose size is not that of v
    for i in range(v.size):
        v[i] *= matrix[0, 1]


def test_custom_maps_overwrite_and_may_take_any_data():
    assert dv.proximal.custom(grouped, (np.full((2, 2), 0.5),))([4.0, 6.0, 8.0]).tolist() == [2.0, 3.0, 4.0]
    with pytest.raises(TypeError, match="must overwrite its first argument and return nothing"):
        dv.proximal.custom(returns_its_point)([1.0])
    with pytest.raises(TypeError, match="must overwrite its first argument and return nothing"):
        dv.gradient_descent(*go, proximal=dv.proximal.custom(returns_its_point))


# ------------------------------------------------------------------------------------------ bare runs


@given(st.integers(1, 5), st.integers(1, 60), st.floats(0.05, 2.6), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_run_without_a_record_takes_the_same_steps(n, T, fraction, seed, changing):
    p, rng = random_bowl(seed, n)
    start = rng.normal(size=n)
    step = np.full(T, fraction / p.L) if changing else fraction / p.L
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dv.DivergenceWarning)
        whole = dv.gradient_descent(p.gradient, start, step, T, p.args)
        bare = dv.gradient_descent(p.gradient, start, step, T, p.args, keep="last", record=False)
    np.testing.assert_array_equal(bare.last, whole.last)
    assert (bare.steps, bare.reason) == (whole.steps, whole.reason)
    np.testing.assert_allclose(bare.gradient_norms, whole.gradient_norms[[0, -1]], rtol=1e-14)
    assert bare.average is None
    assert bare.best is None
    assert bare.kept.tolist() == [T + 1]


def test_a_bare_run_diverges_at_the_same_point():
    p = dv.problems.quadratic(np.diag([1.0, 10.0]))
    with pytest.warns(dv.DivergenceWarning, match="after 1020 of 5000"):
        bare = dv.gradient_descent(p.gradient, [1.0, 1.0], 0.3, 5000, p.args, keep="last", record=False)
    with pytest.warns(dv.DivergenceWarning):
        whole = dv.gradient_descent(p.gradient, [1.0, 1.0], 0.3, 5000, p.args)
    assert (bare.steps, bare.reason) == (whole.steps, whole.reason) == (1020, "diverged")
    np.testing.assert_array_equal(bare.last, whole.last)
    assert bare.gradient_norms[-1] == whole.gradient_norms[-1]


def test_a_bare_run_calls_back_and_refuses_what_needs_a_record():
    seen = []
    run = dv.gradient_descent(
        BOWL.gradient, BOWL.w0, 0.1, 9, BOWL.args, keep="last", record=False, callback=seen.append, every=4
    )
    whole = dv.gradient_descent(BOWL.gradient, BOWL.w0, 0.1, 9, BOWL.args)
    assert [s.t for s in seen] == [4, 8]
    assert [s.gradient_norm for s in seen] == [whole.gradient_norms[4], whole.gradient_norms[8]]
    assert run.steps == 9
    for options, text in (
        ({}, 'give keep="last" as well'),
        ({"keep": "last", "value": BOWL.value}, "value must be None"),
        ({"keep": "last", "tol": 0.1}, "tol must be None"),
        ({"keep": "last", "metric": np.ones(3)}, "metric must be None"),
    ):
        with pytest.raises(ValueError, match=text):
            dv.gradient_descent(BOWL.gradient, BOWL.w0, 0.1, 9, BOWL.args, record=False, **options)
    with pytest.raises(TypeError, match="record must be True or False"):
        dv.gradient_descent(BOWL.gradient, BOWL.w0, 0.1, 9, BOWL.args, record=1)


# ------------------------------------------------------------------------------------------ all methods alike

METHODS = {
    "gradient descent": lambda *a, **k: dv.gradient_descent(a[0], a[1], 0.05, *a[2:], **k),
    "subgradient": lambda *a, **k: dv.subgradient_method(a[0], a[1], 0.05, *a[2:], **k),
    "momentum": lambda *a, **k: dv.momentum(a[0], a[1], 0.05, *a[2:], **k),
    "nesterov": lambda *a, **k: dv.nesterov(a[0], a[1], 0.05, *a[2:], **k),
    "optimized": lambda *a, **k: dv.nesterov(a[0], a[1], 0.05, *a[2:], beta="optimized", **k),
    "backtracking": lambda *a, **k: dv.steepest_descent(*a, **k),
    "exact": lambda *a, **k: dv.steepest_descent(*a, search="exact", **k),
}


@pytest.mark.parametrize("method", METHODS)
def test_what_is_kept_does_not_change_a_run(method):
    run = METHODS[method]
    whole = run(BOWL.gradient, np.ones(3), 11, BOWL.args, value=BOWL.value)
    some = run(BOWL.gradient, np.ones(3), 11, BOWL.args, value=BOWL.value, keep=4)
    none = run(BOWL.gradient, np.ones(3), 11, BOWL.args, value=BOWL.value, keep="last")
    assert whole.iterates.shape == (12, 3)
    np.testing.assert_array_equal(some.iterates, whole.iterates[[0, 4, 8, 11]])
    for other in (some, none):
        np.testing.assert_array_equal(other.last, whole.last)
        np.testing.assert_array_equal(other.values, whole.values)
        np.testing.assert_array_equal(other.step_sizes, whole.step_sizes)
        np.testing.assert_array_equal(other.best, whole.best)
        np.testing.assert_allclose(other.average, whole.average, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_callbacks_and_errors_in_them(method):
    run = METHODS[method]
    seen = []

    def stop(progress):
        seen.append(progress)
        return progress.t == 6

    ended = run(BOWL.gradient, np.ones(3), 30, BOWL.args, value=BOWL.value, callback=stop, every=3)
    assert [s.t for s in seen] == [3, 6]
    assert (ended.reason, ended.steps) == ("callback", 6)
    np.testing.assert_array_equal(seen[-1].w, ended.last)
    assert seen[-1].value == ended.values[-1]

    def fail(progress):
        if progress.t == 4:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        run(BOWL.gradient, np.ones(3), 30, BOWL.args, value=BOWL.value, callback=fail)
    partial = caught.value.trajectory
    assert (partial.reason, partial.steps) == ("interrupted", 4)
    np.testing.assert_array_equal(partial.iterates, ended.iterates[:5])
    assert "the run so far is error.trajectory" in caught.value.__notes__[0]


@pytest.mark.parametrize("method", ["subgradient", "momentum", "nesterov", "exact"])
def test_single_precision_and_layouts(method):
    run = METHODS[method]
    args = tuple(a.astype(np.float32) for a in BOWL.args)
    low = run(BOWL.gradient, np.ones(3, np.float32), 10, args)
    high = run(BOWL.gradient, np.ones(3), 10, BOWL.args)
    assert low.last.dtype == low.iterates.dtype == np.float32
    np.testing.assert_allclose(low.last, high.last, rtol=1e-4)
    A, b = np.asfortranarray(BOWL.args[0]), np.repeat(BOWL.args[1], 2)[::2]
    strided = run(BOWL.gradient, np.ones((3, 2))[:, 0], 10, (np.ascontiguousarray(A), b))
    np.testing.assert_array_equal(strided.last, high.last)


@pytest.mark.parametrize("method", ["momentum", "nesterov", "exact"])
def test_tolerance_ends_a_run(method):
    run = METHODS[method](BOWL.gradient, np.ones(3), 5000, BOWL.args, tol=1e-6)
    assert run.converged
    assert run.gradient_norms[-1] <= 1e-6 < run.gradient_norms[-2]


@compiled_only
def test_a_derivative_and_numbers_run_in_every_method():
    @njit
    def bowl(w, a):
        return a * w * w / 2

    slope_of_bowl = dv.grad(bowl)
    for method, run in METHODS.items():
        if method != "backtracking":
            assert abs(run(slope_of_bowl, 3.0, 200, (1.0,)).last) < 0.1


# ------------------------------------------------------------------------------------------ bad input

go = (BOWL.gradient, BOWL.w0, 0.1, 3, BOWL.args)
search = (BOWL.gradient, BOWL.w0, 3, BOWL.args)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: dv.subgradient_method(*go, schedule="cosine"), ValueError, "schedule must be one of"),
        (lambda: dv.subgradient_method(*go[:2], -1.0, *go[3:], schedule="linear"), ValueError, "step must be greater"),
        (
            lambda: dv.subgradient_method(*go[:2], [1, 2, 3], *go[3:], schedule="linear"),
            TypeError,
            "step must be a real",
        ),
        (lambda: dv.subgradient_method(*go, schedule="polyak"), ValueError, "step must be None"),
        (lambda: dv.subgradient_method(*go[:2], None, *go[3:], schedule="polyak"), ValueError, "need value and f_star"),
        (
            lambda: dv.subgradient_method(*go[:2], None, *go[3:], schedule="polyak", value=BOWL.value, f_star=5.0),
            ValueError,
            "f_star must not be greater than the value at w0, 0, got 5",
        ),
        (lambda: dv.subgradient_method(3, *go[1:]), TypeError, "subgradient must be"),
        (lambda: dv.momentum(*go, beta=1.0), ValueError, "beta must be at least 0 and less than 1, got 1.0"),
        (lambda: dv.momentum(*go, beta=-0.1), ValueError, "beta must be at least 0"),
        (lambda: dv.momentum(*go, convention="nesterov"), ValueError, "convention must be one of"),
        (lambda: dv.momentum(*go[:2], 0.0, *go[3:]), ValueError, "step must be greater than 0"),
        (lambda: dv.nesterov(*go, beta="fast"), ValueError, "beta must be one of"),
        (lambda: dv.nesterov(*go, beta=[0.1]), ValueError, "one for each of the 3 steps, got 1"),
        (lambda: dv.nesterov(*go, beta=0.5, mu=1.0), ValueError, "give one of them"),
        (lambda: dv.nesterov(*go, mu=11.0), ValueError, "must be less than 1, got 1.1"),
        (
            lambda: dv.nesterov(*go, beta="optimized", proximal=dv.proximal.l1(1.0)),
            ValueError,
            "no proximal form",
        ),
        (lambda: dv.nesterov(*go, proximal=3), TypeError, "proximal must be one of dv.proximal"),
        (lambda: dv.gradient_descent(*go, proximal=np.abs), TypeError, "proximal must be one of dv.proximal"),
        (
            lambda: dv.gradient_descent(*go, proximal=dv.proximal.l1(1.0), metric=np.ones(3)),
            ValueError,
            "cannot be combined",
        ),
        (lambda: dv.steepest_descent(*search), ValueError, "give value"),
        (lambda: dv.steepest_descent(*search, search="golden"), ValueError, "search must be one of"),
        (
            lambda: dv.steepest_descent(*search, value=BOWL.value, shrink=1.0),
            ValueError,
            "shrink must be greater than 0",
        ),
        (lambda: dv.steepest_descent(*search, value=BOWL.value, decrease=0), ValueError, "decrease must be greater"),
        (lambda: dv.steepest_descent(*search, value=BOWL.value, grow=0.5), ValueError, "grow must be at least 1"),
        (lambda: dv.steepest_descent(*search, value=BOWL.value, initial=0), ValueError, "initial must be greater"),
        (lambda: dv.proximal.l1(0), ValueError, "weight must be greater than 0"),
        (lambda: dv.proximal.ball(-1), ValueError, "radius must be greater than 0"),
        (lambda: dv.proximal.simplex(0), ValueError, "total must be greater than 0"),
        (lambda: dv.proximal.box(1, 0), ValueError, "low must not be greater than high"),
        (lambda: dv.proximal.box(np.nan, 0), ValueError, "low must not hold NaN"),
        (lambda: dv.proximal.box([0, 0], [1, 1, 1]), ValueError, "same number of entries"),
        (lambda: dv.proximal.ball(1, [np.inf]), ValueError, "centre must be finite"),
        (lambda: dv.proximal.custom(3), TypeError, "into must be a function"),
        (lambda: dv.proximal.custom(any_vector, [1]), TypeError, "args must be a tuple"),
        (lambda: dv.regret(3, [0.0]), TypeError, "trajectory must be a Trajectory"),
        (lambda: dv.regret(dv.gradient_descent(*go, keep="last"), np.zeros(3)), ValueError, 'keep="all"'),
        (lambda: dv.regret(dv.gradient_descent(*go), np.zeros(2)), ValueError, "shape of w0, .3,., got .2,."),
        (lambda: dv.regret(dv.gradient_descent(*go), np.zeros((3, 1))), ValueError, "shape of w0, .3,., got .3, 1."),
        (
            lambda: dv.regret(dv.gradient_descent(*go), np.zeros(3), np.full((3, 3), np.nan)),
            ValueError,
            "vectors must be finite",
        ),
        (lambda: dv.regret(dv.gradient_descent(*go), np.zeros(3), 3.0), ValueError, "row for each of the 3"),
        (lambda: dv.subgradient_method(*go, f_star=0.0), ValueError, "f_star belongs to schedule"),
        (lambda: dv.rate_bound("exact line search", gap=-1, L=2, mu=1, T=3), ValueError, "gap must be at least 0"),
        (lambda: dv.problems.huber(w0=[3.0, 4.0]), ValueError, "w0 must have n = 1 entries, got 2"),
        (
            lambda: dv.regret(dv.gradient_descent(*go), np.zeros(3), np.zeros((2, 3))),
            ValueError,
            "row for each of the 3",
        ),
        (lambda: dv.regret(dv.momentum(*go), np.zeros(3)), ValueError, "give vectors"),
        (lambda: dv.rate_bound("fast"), ValueError, "kind must be one of"),
        (lambda: dv.rate_bound("smooth", B=1.0, L=1.0), TypeError, "takes B, L, T, step: missing T"),
        (lambda: dv.rate_bound("smooth", B=1.0, L=1.0, T=3, rho=1.0), TypeError, "got rho"),
        (lambda: dv.rate_bound("smooth", B=1.0, L=1.0, T=0), ValueError, "T must be at least 1"),
        (lambda: dv.rate_bound("smooth", B=1.0, L=1.0, T=3, step=1.5), ValueError, "at most 1/L"),
        (lambda: dv.rate_bound("smooth", B=-1.0, L=1.0, T=3), ValueError, "B must be greater than 0"),
        (lambda: dv.rate_bound("strongly convex", B=1.0, L=1.0, mu=2.0, T=3), ValueError, "mu must be at most L"),
    ],
)
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()


@compiled_only
def test_the_loops_are_compiled_once_for_all_gradients_of_a_type():
    from derivable.descent import accelerated, searches

    kernels = [loops.descend, loops.sprint, accelerated.roll, accelerated.accelerate, searches.step_and_search]
    for run in METHODS.values():
        run(BOWL.gradient, np.ones(3), 2, BOWL.args, value=BOWL.value)
    before = [len(k.overloads) for k in kernels]

    @njit
    def another(w, A, b):
        return A @ w

    dv.momentum(dv.problems.quadratic(np.eye(3)).gradient, np.ones(3), 0.05, 2, BOWL.args, value=BOWL.value)
    assert [len(k.overloads) for k in kernels] == before
