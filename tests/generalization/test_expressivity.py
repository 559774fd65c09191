"""The memorizing network against its definition, and Rademacher complexity against brute force."""

from itertools import product

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import derivable as dv
from derivable.generalization import expressivity

EPS = np.finfo(np.float64).eps


def by_definition(net, X):
    """The network as its formula says."""
    return np.maximum((X @ net.direction)[:, None] - net.biases, 0) @ net.weights


def triangle(net, z):
    return np.maximum(z[:, None] - net.biases, 0)


@st.composite
def data(draw):
    """Different points on a grid, or drawn at random, and any values."""
    n, d = draw(st.integers(1, 30)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if draw(st.booleans()):
        X = rng.normal(size=(n, d)) * 10.0 ** draw(st.integers(-6, 6))
    else:
        X = np.unique(rng.integers(-4, 5, size=(n, d)).astype(float), axis=0)
        X = rng.permutation(X, axis=0)
    y = draw(hnp.arrays(np.float64, len(X), elements=st.floats(-1e6, 1e6)))
    return X, y


class TestMemorize:
    @given(data(), st.integers(0, 5), st.sampled_from([0.0, 0.1, 0.25]))
    @settings(max_examples=150)
    def test_takes_any_values_at_any_different_points(self, case, seed, position):
        X, y = case
        net = dv.memorize(X, y, seed, draws=20, position=position)
        assert net.parameters == 2 * len(X) + X.shape[1]
        z = np.sort(X @ net.direction)
        # A sum of n products is exact to n rounding errors of the products' sizes.
        sizes = triangle(net, np.sort(z)) @ np.abs(net.weights)
        order = np.argsort(X @ net.direction)
        error = np.abs(net(X) - y)[order]
        scale = np.abs(z).max() * np.abs(net.weights).sum()  # a rounding error of z meets every slope
        assert np.all(error <= 8 * len(X) * EPS * (sizes + scale) + 1e-300)

    @given(data())
    @settings(max_examples=60)
    def test_is_the_network_of_the_formula(self, case):
        X, y = case
        net = dv.memorize(X, y, draws=5)
        points = np.concatenate([X, X + 0.37, -2 * X])
        scale = (np.abs(points @ net.direction).max() + np.abs(net.biases).max()) * np.abs(net.weights).sum()
        np.testing.assert_allclose(net(points), by_definition(net, points), rtol=0, atol=50 * EPS * scale + 1e-300)
        assert net(points[0]) == net(points[:1])[0]

    def test_digits_with_random_labels(self):
        from sklearn.datasets import load_digits

        X = load_digits().data / 16
        for seed in range(3):
            y = np.random.default_rng(seed).integers(0, 10, len(X))
            net = dv.memorize(X, y, seed)
            assert net.parameters == 3658
            assert net.residual < 1e-9
            assert np.array_equal(np.rint(net(X)), y)
            halfway = dv.memorize(X, y, seed, position=0.5)
            assert net.residual < halfway.residual < 1e-6
            assert net.condition < halfway.condition / 10

    def test_the_stated_example(self):
        net = dv.memorize([[0.0], [1.0], [2.0]], [1.0, -1.0, 4.0], position=0.5)
        assert net.direction[0] == 1
        np.testing.assert_allclose(net.biases, [-1, 0.5, 1.5])
        np.testing.assert_allclose(net.weights, [1, -6, 20], rtol=1e-14)

    @pytest.mark.parametrize("position", [0.0, 0.2, 0.5, 0.6])
    @pytest.mark.parametrize("n", [1, 2, 3, 40])
    def test_recurrence_solves_the_triangular_system(self, n, position):
        rng = np.random.default_rng(n)
        z = np.sort(rng.normal(size=n))
        b = np.append(z[0] - 1, z[:-1] + position * np.diff(z))
        y, fast, plain = rng.normal(size=n), np.empty(n), np.empty(n)
        condition = expressivity.solve_slopes(z, b, y, fast)
        expressivity.solve_forward(z, b, y, plain)
        A = np.maximum(z[:, None] - b, 0)
        assert np.array_equal(A, np.tril(A))
        np.testing.assert_allclose(condition, np.linalg.cond(A, np.inf), rtol=1e-6)
        scale = np.abs(np.linalg.solve(A, y)).max()
        bound = 100 * EPS * condition * scale
        np.testing.assert_allclose(fast, np.linalg.solve(A, y), rtol=0, atol=bound)
        np.testing.assert_allclose(plain, np.linalg.solve(A, y), rtol=0, atol=bound)

    def test_takes_the_best_of_the_directions(self):
        X = np.random.default_rng(0).normal(size=(200, 5))
        y = np.arange(200)
        gaps = [dv.memorize(X, y, draws=k).gap for k in (1, 10, 100)]
        assert gaps[0] <= gaps[1] <= gaps[2]
        assert gaps[2] > 3 * gaps[0]
        z = np.sort(X @ dv.memorize(X, y, draws=10).direction)
        assert gaps[1] == pytest.approx(np.diff(z).min(), rel=1e-9)

    def test_layouts_and_types_are_ordinary(self):
        rng = np.random.default_rng(0)
        X, y = rng.integers(0, 50, size=(12, 3)), rng.integers(0, 5, size=12)
        expected = dv.memorize(X.astype(float), y)(X)
        big = np.zeros((24, 6))
        big[::2, ::2] = X
        for other in (np.asfortranarray(X), X.astype(np.float32), big[::2, ::2], X.tolist()):
            np.testing.assert_array_equal(dv.memorize(other, y)(other), expected)
        np.testing.assert_allclose(dv.memorize(X[::-1], y[::-1])(X), expected, atol=1e-9)
        locked = X.astype(float)
        locked.flags.writeable = False
        dv.memorize(locked, y)
        assert dv.memorize(X, y > 2).residual < 1e-9

    def test_zero_values(self):
        net = dv.memorize([[1.0], [2.0]], [0.0, 0.0])
        assert net.residual == 0
        assert not net.weights.any()

    @pytest.mark.parametrize(
        ("X", "y", "more", "message"),
        [
            ([[1.0, 2], [3, 4], [1, 2]], [0, 1, 2], {}, r"rows 0 and 2 are equal\."),
            ([[1.0], [2], [1], [2], [2]], range(5), {}, r"rows 0 and 2 are equal \(3 rows repeat"),
            ([[0.0], [-0.0]], [0, 0], {}, r"rows 0 and 1 are equal"),
            ([[np.nan], [1.0]], [0, 1], {}, r"X must be finite, got nan at index \(0, 0\)"),
            ([[0.0], [1.0]], [0, np.inf], {}, r"y must be finite, got inf at index 1"),
            ([[0.0], [1.0]], [0, 1, 2], {}, r"one entry for each of the 2 rows of X, got 3"),
            ([0.0, 1.0], [0, 1], {}, r"X must have 2 dimension"),
            (np.empty((0, 3)), [], {}, r"X must not be empty"),
            ([[0.0], [1.0]], [0, 1], {"position": 1.0}, r"position must be at least 0 and less than 1"),
            ([[0.0], [1.0]], [0, 1], {"draws": 0}, r"draws must be at least 1"),
            ([[0.0], [1.0]], [0, 1], {"seed": -1}, r"seed must be at least 0"),
            ([[1.0, 0], [1.0, 1e-300]], [0, 1], {"draws": 3}, r"rows 0 and 1 of X are too close"),
            ([[1e308] * 9, [-1e308] * 9], [0, 1], {}, r"projections overflow|weights overflow"),
            ([[0.0], [1e-300]], [0, 1e10], {}, r"the weights overflow"),
        ],
    )
    def test_refuses(self, X, y, more, message):
        with pytest.raises(ValueError, match=message):
            dv.memorize(X, list(y), **more)

    def test_refuses_points_of_another_dimension(self):
        net = dv.memorize([[0.0, 1.0]], [1.0])
        with pytest.raises(ValueError, match=r"X must have shape \(points, 2\) or \(2,\), got \(3,\)"):
            net([1.0, 2.0, 3.0])
        with pytest.raises(ValueError, match="X must be finite"):
            net([np.nan, 0.0])
        with pytest.raises(TypeError, match="X must be numeric"):
            dv.memorize([["a"]], [1.0])


def brute_force(values):
    values = np.asarray(values, dtype=float)
    signs = np.array(list(product([-1, 1], repeat=values.shape[1])))
    return (signs @ values.T).max(axis=1).mean() / values.shape[1]


class TestRademacher:
    @given(
        hnp.arrays(
            np.float64,
            st.tuples(st.integers(1, 6), st.integers(1, 9)),
            elements=st.floats(-100, 100, allow_subnormal=False),
        )
    )
    def test_is_the_mean_over_all_signs(self, values):
        np.testing.assert_allclose(dv.rademacher_complexity(values), brute_force(values), rtol=1e-11, atol=1e-11)

    def test_known_values(self):
        every = list(product([-1, 1], repeat=6))
        assert dv.rademacher_complexity(every) == 1
        assert dv.rademacher_complexity([[1, -1, 1]]) == 0
        assert dv.rademacher_complexity([[1.0], [-1.0]]) == 1
        assert dv.rademacher_complexity(np.array(every, dtype=np.int8)) == 1
        assert dv.rademacher_complexity(np.array([[True, False], [False, True]])) == 0.25

    def test_linear_class(self):
        """The vertices of a square: the supremum of a linear function is the l1 norm."""
        X = np.random.default_rng(1).normal(size=(8, 2))
        corners = np.array(list(product([-1, 1], repeat=2)))
        signs = np.array(list(product([-1, 1], repeat=8)))
        expected = np.abs(signs @ X).sum(axis=1).mean() / 8
        assert dv.rademacher_complexity(corners @ X.T) == pytest.approx(expected, rel=1e-13)

    def test_an_estimate_is_close_and_repeats(self):
        steps = [np.where(np.arange(12) < k, -1, 1) for k in range(13)]
        exact = dv.rademacher_complexity(steps)
        estimate = dv.rademacher_complexity(steps, draws=40_000, seed=3)
        assert abs(estimate - exact) < 0.005
        assert estimate == dv.rademacher_complexity(steps, draws=40_000, seed=3)

    @pytest.mark.parametrize(
        ("values", "more", "message"),
        [
            (np.ones((2, 25)), {}, "values has 25 points.*pass draws=10_000"),
            ([[1.0, np.nan]], {}, r"values must be finite, got nan at index \(0, 1\)"),
            ([1.0, 2.0], {}, "values must have 2 dimension"),
            ([[1.0]], {"draws": 0}, "draws must be at least 1"),
            ([[1e308, 1e308], [-1e308, -1e308]], {}, "values are too large"),
            ([[1e308, 1e308], [-1e308, -1e308]], {"draws": 50}, "values are too large"),
        ],
    )
    def test_refuses(self, values, more, message):
        with pytest.raises(ValueError, match=message):
            dv.rademacher_complexity(values, **more)
