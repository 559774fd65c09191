"""Least norm, kernels, limits of gradient descent and random features, against NumPy and SciPy."""

import pickle

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

import derivable as dv

EPS = np.finfo(np.float64).eps


@st.composite
def systems(draw):
    """Matrices of every rank, wide and tall, and one or more right-hand sides."""
    n, d = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    rank = draw(st.integers(1, min(n, d)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d))
    shape = draw(st.sampled_from([(n,), (n, 1), (n, 3)]))
    return X, draw(hnp.arrays(np.float64, shape, elements=st.floats(-1e3, 1e3)))


def tolerance(X, y):
    values = np.linalg.svd(X, compute_uv=False)
    kept = values[values > max(X.shape) * EPS * values[0]]
    return 1000 * EPS * (1 + kept[0] / kept[-1]) ** 2 * (1 + np.abs(y).max() / kept[-1])


class TestDense:
    @given(systems())
    @settings(max_examples=150)
    def test_is_the_pseudoinverse(self, system):
        X, y = system
        fit = dv.min_norm_solution(X, y)
        expected = np.linalg.pinv(X, rcond=max(X.shape) * EPS) @ y
        np.testing.assert_allclose(fit.coefficients, expected, rtol=0, atol=tolerance(X, y))
        assert fit.coefficients.shape == (X.shape[1], *y.shape[1:])
        assert fit.rank == np.linalg.matrix_rank(X)
        assert fit.norm == pytest.approx(np.linalg.norm(expected), rel=1e-6, abs=tolerance(X, y))

    def test_agrees_to_rounding_on_a_good_matrix(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(30, 80)), rng.normal(size=30)
        fit = dv.min_norm_solution(X, y)
        np.testing.assert_allclose(fit.coefficients, np.linalg.pinv(X) @ y, rtol=0, atol=2e-15)
        assert fit.residual < 1e-14
        np.testing.assert_allclose(fit(X), y, atol=1e-13)

    @given(systems(), st.sampled_from([1e-3, 1.0, 50.0]))
    @settings(max_examples=60)
    def test_a_ridge_solves_the_normal_equations(self, system, ridge):
        X, y = system
        fit = dv.min_norm_solution(X, y, ridge=ridge)
        expected = np.linalg.solve(X.T @ X + ridge * np.eye(X.shape[1]), X.T @ y)
        size = 1 + np.abs(X.T @ y).max() / ridge
        np.testing.assert_allclose(fit.coefficients, expected, rtol=1e-6, atol=1e-9 * size)

    def test_zero_matrix_and_extreme_scales(self):
        assert dv.min_norm_solution(np.zeros((2, 3)), [1.0, 2.0]).rank == 0
        X = np.array([[3.0, 4.0]])
        for scale in (1e-200, 1e200):
            fit = dv.min_norm_solution(X * scale, [25.0])
            np.testing.assert_allclose(fit.coefficients * scale, [3.0, 4.0], rtol=1e-12)

    def test_layouts(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(6, 4)), rng.normal(size=6)
        expected = dv.min_norm_solution(X, y).coefficients
        big = np.zeros((12, 8))
        big[::2, ::2] = X
        for other in (np.asfortranarray(X), big[::2, ::2]):
            np.testing.assert_allclose(dv.min_norm_solution(other, y).coefficients, expected, rtol=1e-12)


class TestKernel:
    def test_gaussian_kernel(self):
        rng = np.random.default_rng(0)
        A, B = rng.normal(size=(7, 3)) + 1000, rng.normal(size=(5, 3)) + 1000
        expected = np.exp(-cdist(A, B, "sqeuclidean") / (2 * 0.7**2))
        np.testing.assert_allclose(dv.GaussianKernel(0.7)(A, B), expected, rtol=1e-9)

    @pytest.mark.parametrize("sigma", [1e-200, 1e-12, 1e-9, 1e-3, 1e200])
    def test_a_width_far_from_the_size_of_the_data(self, sigma):
        rng = np.random.default_rng(0)
        A = rng.normal(size=(6, 3)) * min(sigma, 1.0) * 1e9 + 1.0
        B = np.concatenate([A + 0.5 * min(sigma, 1.0), A])  # near and equal points; the others are far away
        expected = np.exp(-0.5 * (cdist(A, B) / sigma) ** 2)
        K = dv.GaussianKernel(sigma)(A, B)
        np.testing.assert_allclose(K, expected, rtol=1e-6, atol=1e-300)
        np.testing.assert_array_equal(np.diag(K[:, 6:]), 1.0)

    @pytest.mark.parametrize("outputs", [(), (3,)])
    def test_interpolates_with_the_least_norm(self, outputs):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(20, 4)), rng.normal(size=(20, *outputs))
        kernel = dv.GaussianKernel(1.0)
        fit = dv.min_norm_solution(X, y, kernel=kernel)
        K = kernel(X, X)
        np.testing.assert_allclose(fit.coefficients, scipy.linalg.solve(K, y, assume_a="pos"), rtol=1e-8)
        np.testing.assert_allclose(fit(X), y, atol=1e-10)
        assert fit.norm**2 == pytest.approx(np.sum(y * np.linalg.solve(K, y)), rel=1e-8)
        assert fit.rank == 20

    @pytest.mark.parametrize("ridge", [0.0, 0.3])
    def test_the_linear_kernel_is_the_dense_solution(self, ridge):
        rng = np.random.default_rng(1)
        for n, d in ((5, 9), (9, 5)):  # the second kernel matrix is singular
            X, y, new = rng.normal(size=(n, d)), rng.normal(size=(n, 2)), rng.normal(size=(4, d))
            dense = dv.min_norm_solution(X, y, ridge=ridge)
            fit = dv.min_norm_solution(X, y, kernel=lambda A, B: A @ B.T, ridge=ridge)
            np.testing.assert_allclose(fit(new), dense(new), atol=1e-10)
            assert fit.norm == pytest.approx(dense.norm, rel=1e-9)

    def test_a_point_given_twice_takes_the_mean(self):
        X = np.array([[0.0], [0.0], [3.0]])
        fit = dv.min_norm_solution(X, [1.0, 3.0, 5.0], kernel=dv.GaussianKernel(1.0))
        assert fit.rank == 2
        np.testing.assert_allclose(fit(X), [2.0, 2.0, 5.0], atol=1e-12)

    def test_fits_can_be_pickled(self):
        fit = dv.min_norm_solution([[0.0], [1.0]], [1.0, 2.0], kernel=dv.GaussianKernel(1.0))
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(fit))([[0.5]]), fit([[0.5]]))

    @pytest.mark.parametrize(
        ("kernel", "message"),
        [
            (lambda A, B: np.ones((1, 2)), r"kernel must return a matrix of shape \(3, 3\)"),
            (lambda A, B: np.arange(9.0).reshape(3, 3), "must be symmetric"),
            (lambda A, B: -np.eye(3), "positive semidefinite, got the eigenvalue -1"),
            (lambda A, B: np.full((3, 3), np.nan), "kernel's matrix must be finite"),
        ],
    )
    def test_refuses_what_is_no_kernel(self, kernel, message):
        with pytest.raises(ValueError, match=message):
            dv.min_norm_solution(np.eye(3), np.ones(3), kernel=kernel)


class TestLimit:
    @given(systems(), st.integers(0, 100))
    @settings(max_examples=100)
    def test_is_the_closest_solution(self, system, seed):
        X, y = system
        w0 = np.random.default_rng(seed).normal(size=(X.shape[1], *y.shape[1:]))
        found = dv.gradient_descent_limit(X, y, w0)
        expected = w0 + np.linalg.pinv(X, rcond=max(X.shape) * EPS) @ (y - X @ w0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=10 * tolerance(X, y))

    @pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
    def test_gradient_descent_ends_there(self, shape):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=shape), rng.normal(size=shape[0])
        problem = dv.problems.least_squares(X, y)
        for w0 in (np.zeros(shape[1]), rng.normal(size=shape[1])):
            run = dv.gradient_descent(problem.gradient, w0, 1.5 / problem.L, 20_000, problem.args, keep="last")
            np.testing.assert_allclose(run.last, dv.gradient_descent_limit(X, y, w0), rtol=0, atol=1e-13)

    def test_from_zero_it_is_the_least_norm(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(4, 9)), rng.normal(size=4)
        np.testing.assert_array_equal(dv.gradient_descent_limit(X, y), dv.min_norm_solution(X, y).coefficients)
        np.testing.assert_allclose(dv.gradient_descent_limit(X, y), np.linalg.pinv(X) @ y, rtol=0, atol=4e-16)

    def test_refuses_a_start_of_another_shape(self):
        with pytest.raises(ValueError, match=r"w0 must have shape \(2,\), got \(3,\)"):
            dv.gradient_descent_limit([[1.0, 1.0]], [1.0], [0.0, 0.0, 0.0])


class TestRandomFeatures:
    def test_is_a_network_with_a_fixed_first_layer(self):
        rng = np.random.default_rng(0)
        X, y, new = rng.normal(size=(20, 5)), rng.normal(size=(20, 2)), rng.normal(size=(6, 5))
        fit = dv.random_feature_regression(X, y, 50, seed=3)
        V = fit.features.directions
        assert V.shape == (50, 5)
        np.testing.assert_allclose(fit(new), np.maximum(new @ V.T, 0) @ fit.coefficients, rtol=1e-12)
        np.testing.assert_allclose(fit(X), y, atol=1e-8)
        again = dv.random_feature_regression(X, y, 50, seed=3)
        np.testing.assert_array_equal(again.coefficients, fit.coefficients)
        assert not np.allclose(dv.random_feature_regression(X, y, 50, seed=4).coefficients, fit.coefficients)
        pickle.loads(pickle.dumps(fit))

    def test_the_error_has_its_peak_at_the_threshold(self):
        rng = np.random.default_rng(0)
        X, new, teacher = rng.normal(size=(60, 10)), rng.normal(size=(500, 10)), rng.normal(size=10)

        def target(points):
            return np.tanh(points @ teacher)

        y = target(X) + 0.3 * rng.normal(size=60)

        def error(features):
            return np.mean(
                [
                    np.mean((dv.random_feature_regression(X, y, features, seed=s)(new) - target(new)) ** 2)
                    for s in range(20)
                ]
            )

        few, peak, many = error(20), error(60), error(1000)
        assert peak > 5 * few
        assert peak > 5 * many


class TestMargins:
    def test_values(self):
        rng = np.random.default_rng(0)
        scores, labels = rng.normal(size=(30, 4)), rng.integers(0, 4, 30)
        expected = [s[c] - max(np.delete(s, c)) for s, c in zip(scores, labels, strict=True)]
        np.testing.assert_array_equal(dv.margins(scores, labels), expected)
        assert np.mean(dv.margins(scores, labels) > 0) == np.mean(scores.argmax(axis=1) == labels)

    @pytest.mark.parametrize(
        ("scores", "labels", "error", "message"),
        [
            ([[1.0, 2.0]], [2], ValueError, "labels must be class numbers from 0 to 1, got 2"),
            ([[1.0, 2.0]], [-1], ValueError, "got -1"),
            ([[1.0, 2.0]], [0, 1], ValueError, "one entry for each of the 1 points, got 2"),
            ([[1.0, 2.0]], [0.0], TypeError, "labels must be numeric"),
            ([[1.0]], [0], ValueError, "scores must have at least 2 columns"),
            ([[np.nan, 1.0]], [0], ValueError, "scores must be finite"),
        ],
    )
    def test_refuses(self, scores, labels, error, message):
        with pytest.raises(error, match=message):
            dv.margins(scores, labels)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dv.min_norm_solution([[1.0], [2.0]], [1.0]), ValueError, "y must have one row for each of the 2"),
        (lambda: dv.min_norm_solution([[np.inf]], [1.0]), ValueError, "X must be finite"),
        (lambda: dv.min_norm_solution([[1.0]], [np.nan]), ValueError, "y must be finite"),
        (lambda: dv.min_norm_solution([[1.0]], [1.0], ridge=-1), ValueError, "ridge must be at least 0"),
        (lambda: dv.min_norm_solution([[1j]], [1.0]), TypeError, "X must be numeric"),
        (lambda: dv.min_norm_solution([[1.0]], [1.0])([[1.0, 2.0]]), ValueError, "X must have 1 columns, got 2"),
        (lambda: dv.random_feature_regression([[1.0]], [1.0], 0), ValueError, "features must be at least 1"),
        (lambda: dv.random_feature_regression([[1.0]], [1.0], 5, ridge=-1), ValueError, "ridge must be at least 0"),
        (lambda: dv.GaussianKernel(0.0), ValueError, "sigma must be greater than 0"),
        (lambda: dv.GaussianKernel(1.0)([[1.0]], [[1.0, 2.0]]), ValueError, "Z must have 1 columns"),
        (lambda: dv.GaussianKernel(1.0)([[1e200]], [[0.0]]), ValueError, "X is too large for the width sigma = 1"),
        (lambda: dv.min_norm_solution([[1.0]], [1.0], kernel="gaussian"), TypeError, "kernel must be a function"),
        (lambda: dv.min_norm_solution([[1.0]], [1.0], kernel=dv.GaussianKernel), TypeError, "kernel .* got the class"),
        (
            lambda: dv.min_norm_solution([[1.0]], [1.0], kernel=dv.GaussianKernel(1.0))([[1.0, 2.0]]),
            ValueError,
            "X must have 1 columns, got 2",
        ),
        (
            lambda: dv.random_feature_regression([[1.0]], [1.0], 5)([[1.0, 2.0]]),
            ValueError,
            "X must have 1 columns, got 2",
        ),
        (lambda: dv.RandomFeatures([1.0, 2.0]), ValueError, "directions must have 2 dimension"),
        (lambda: dv.min_norm_solution([[1e-310]], [1.0]), ValueError, "the solution overflows"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
