"""proximal_step and trust_region_step against brute force, SciPy's optimisers and linear programming."""

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import derivable as dv

NORMS = {
    "l1": lambda d: np.abs(d).sum(),
    "l2": lambda d: np.sqrt(np.sum(d * d)),
    "linf": lambda d: np.abs(d).max(),
}


def vectors(n):
    return st.lists(st.floats(-5, 5, width=32), min_size=n, max_size=n).map(np.array)


def around(centre, rng, count=400):
    """Points at all distances around a point."""
    n = centre.size
    return centre + rng.normal(size=(count, n)) * 10.0 ** rng.uniform(-4, 1, size=(count, 1))


@given(st.integers(1, 4).flatmap(lambda n: st.tuples(vectors(n), vectors(n))), st.floats(0.05, 20), st.booleans())
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("norm", ["l2", "l1", "linf"])
def test_no_other_point_has_a_lower_model(norm, pair, lam, half):
    g, w = pair
    factor = lam / 2 if half else lam

    def model(v):
        return g @ (v - w) + factor * NORMS[norm](v - w) ** 2

    new = dv.proximal_step(g, w, lam, norm=norm, half=half)
    best = model(new)
    for v in [*around(new, np.random.default_rng(0)), w]:
        assert model(v) >= best - 1e-9 * (1 + abs(best))


@given(st.integers(1, 4).flatmap(lambda n: st.tuples(vectors(n), vectors(n))), st.floats(0.1, 5))
@settings(max_examples=40, deadline=None)
def test_full_metric_solves_the_first_order_condition(pair, lam):
    g, w = pair
    rng = np.random.default_rng(1)
    R = rng.normal(size=(g.size, g.size))
    M = R @ R.T + np.eye(g.size)
    new = dv.proximal_step(g, w, lam, metric=M)
    np.testing.assert_allclose(g + lam * M @ (new - w), 0, atol=1e-10)
    diagonal = np.diag(M).copy()
    np.testing.assert_allclose(
        dv.proximal_step(g, w, lam, metric=diagonal),
        dv.proximal_step(g, w, lam, metric=np.diag(diagonal)),
        rtol=1e-12,
    )


@given(st.integers(1, 5).flatmap(vectors), st.floats(0.1, 5))
@settings(max_examples=25, deadline=None)
def test_polyhedral_balls_against_linear_programming(g, radius):
    n = g.size
    w = np.zeros(n)
    # linprog takes costs below 1e-7 for zero: up to 2 * 5 entries * radius 5 * 1e-7 may separate the two.
    box = scipy.optimize.linprog(g, bounds=[(-radius, radius)] * n)
    assert g @ dv.trust_region_step(g, w, radius, norm="linf") == pytest.approx(box.fun, abs=1e-5)
    # d = p - q with p, q >= 0 and sum(p + q) <= radius
    diamond = scipy.optimize.linprog(np.concatenate([g, -g]), A_ub=np.ones((1, 2 * n)), b_ub=[radius])
    assert g @ dv.trust_region_step(g, w, radius, norm="l1") == pytest.approx(diamond.fun, abs=1e-5)


def test_l2_ball_is_the_normalised_gradient():
    np.testing.assert_allclose(dv.trust_region_step([3.0, 4.0], [1.0, 1.0], 10.0), [-5.0, -7.0])
    tiny = dv.trust_region_step([3e-200, 4e-200], [0.0, 0.0], 1.0)
    np.testing.assert_allclose(tiny, [-0.6, -0.8])
    huge = dv.trust_region_step([3e200, 4e200], [0.0, 0.0], 1.0)
    np.testing.assert_allclose(huge, [-0.6, -0.8])


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_zero_gradient_stays(norm):
    w = np.array([1.0, 2.0])
    np.testing.assert_array_equal(dv.trust_region_step(np.zeros(2), w, 1.0, norm=norm), w)
    np.testing.assert_array_equal(dv.proximal_step(np.zeros(2), w, 1.0, norm=norm), w)


def test_newton_solves_a_quadratic_in_one_step():
    A = np.array([[3.0, 1.0], [1.0, 2.0]])
    b = np.array([1.0, -1.0])
    w = np.array([10.0, -7.0])
    np.testing.assert_allclose(A @ dv.proximal_step(A @ w - b, w, 1.0, metric=A), b, atol=1e-12)


def test_dtypes_shapes_and_layouts():
    for shape in [(), (3,), (2, 3), (2, 1, 2)]:
        g = np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(shape)
        for norm in NORMS:
            new = dv.proximal_step(g, np.zeros(shape, np.float32), 2.0, norm=norm)
            assert new.dtype == np.float32
            assert new.shape == shape
    assert dv.proximal_step(np.array([1, 2]), np.array([1, 2]), 2).dtype == np.float64
    assert dv.proximal_step(np.array([200, 100], np.uint8), np.array([1, 2], np.uint8), 1)[0] == -199.0
    w = np.arange(6.0).reshape(2, 3)
    expected = dv.proximal_step(w.copy(), w.copy(), 4.0)
    for view in (np.asfortranarray(w), w[::-1][::-1], np.broadcast_to(w, (2, 3))):
        view = view.view()
        view.flags.writeable = False
        np.testing.assert_array_equal(dv.proximal_step(view, view, 4.0), expected)


def test_arguments_are_not_modified():
    g, w, m = np.ones(3), np.ones(3), np.full(3, 2.0)
    dv.proximal_step(g, w, 1.0, metric=m)
    dv.trust_region_step(g, w, 1.0)
    for a, value in ((g, 1), (w, 1), (m, 2)):
        np.testing.assert_array_equal(a, value)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: dv.proximal_step([1.0], [1.0], 0.0), ValueError, "lam must be greater than 0"),
        (lambda: dv.proximal_step([1.0], [1.0], -1.0), ValueError, "lam must be greater than 0"),
        (lambda: dv.proximal_step([1.0], [1.0], np.nan), ValueError, "lam must be finite"),
        (lambda: dv.proximal_step([1.0], [1.0], "1"), TypeError, "lam must be a real number"),
        (lambda: dv.proximal_step([1.0], [1.0, 2.0], 1.0), ValueError, "gradient must have the shape of w"),
        (lambda: dv.proximal_step([np.nan], [1.0], 1.0), ValueError, "gradient must be finite"),
        (lambda: dv.proximal_step([1.0], [np.inf], 1.0), ValueError, "w must be finite"),
        (lambda: dv.proximal_step([1j], [1.0], 1.0), TypeError, "gradient must be numeric"),
        (lambda: dv.proximal_step([], [], 1.0), ValueError, "gradient must not be empty"),
        (lambda: dv.proximal_step([1.0], [1.0], 1.0, norm="l3"), ValueError, "norm must be one of"),
        (
            lambda: dv.proximal_step([1.0], [1.0], 1.0, norm="l1", metric=[1.0]),
            ValueError,
            "metric needs norm='l2'",
        ),
        (
            lambda: dv.proximal_step([1.0], [1.0], 1.0, metric=[-1.0]),
            ValueError,
            "metric must be greater than 0",
        ),
        (
            lambda: dv.proximal_step([1.0, 1.0], [1.0, 1.0], 1.0, metric=np.ones(3)),
            ValueError,
            "metric must have",
        ),
        (
            lambda: dv.proximal_step([1.0, 1.0], [1.0, 1.0], 1.0, metric=[[1.0, 2.0], [0.0, 1.0]]),
            ValueError,
            "metric must be symmetric",
        ),
        (
            lambda: dv.proximal_step([1.0, 1.0], [1.0, 1.0], 1.0, metric=[[1.0, 2.0], [2.0, 1.0]]),
            ValueError,
            "positive definite, got a smallest eigenvalue of -1",
        ),
        (lambda: dv.proximal_step([1.0], [1.0], 1.0, half=2), TypeError, "half must be True or False"),
        (lambda: dv.trust_region_step([1.0], [1.0], 0.0), ValueError, "radius must be greater than 0"),
        (lambda: dv.trust_region_step([1.0], [1.0], 1.0, norm="max"), ValueError, "norm must be one of"),
    ],
)
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize(
    ("gradient", "w", "lam", "more", "message"),
    [
        ([0.0, 1.0], [1.0, 2.0], 1e-320, {}, "the step from w must be finite in float64"),
        ([1e308, 1e308], [1.0, 2.0], 1.0, {"norm": "linf"}, "the step from w must be finite in float64"),
        (np.float32([1, 0]), np.float32([1, 2]), 1.0, {"metric": [1e-60, 1]}, "must be finite in float32"),
        ([1.0], [1.0], 10**400, {}, "lam must fit into a float64"),
        ([1.0], [1.0], 1.0, {"norm": np.array(["l1", "l2"])}, "norm must be one of"),
    ],
)
def test_steps_beyond_the_range_and_unusual_arguments_are_refused(gradient, w, lam, more, message):
    with pytest.raises(ValueError, match=message):
        dv.proximal_step(gradient, w, lam, **more)


def test_a_masked_array_is_refused():
    with pytest.raises(TypeError, match=r"w must be an array without a mask, got a MaskedArray"):
        dv.proximal_step([1.0, 2.0], np.ma.masked_array([1.0, 2.0], [True, False]), 1.0)
