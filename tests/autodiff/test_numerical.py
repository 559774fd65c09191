"""Tests of differences, the complex step and check_gradient."""

import math

import hypothesis.extra.numpy as hnp
import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import derivable as dv

E = math.e


def source_problem(w):
    sigmoid = 1 / (1 + np.exp(-w[1]))
    return np.array([np.cos(w[0]) * np.cos(w[1]) + sigmoid, np.log(w[0] + w[1]) + w[0] ** 2 * w[1]])


W = np.array([1.0, 2.0])


def exact_jacobian():
    """The Jacobian of the source problem, by computer algebra."""
    a, b = sympy.symbols("a b")
    f = sympy.Matrix([sympy.cos(a) * sympy.cos(b) + 1 / (1 + sympy.exp(-b)), sympy.log(a + b) + a**2 * b])
    return np.array(f.jacobian([a, b]).subs({a: 1, b: 2}).evalf(30).tolist(), dtype=float)


class TestSourceProblem:
    def test_forward_differences_with_a_hundredth(self):
        expected = [[0.351293868253, -0.385568670823], [4.352779009267, 1.332779009267]]
        np.testing.assert_allclose(dv.numerical_jacobian(source_problem, W, "forward", 0.01), expected, atol=6e-13)

    def test_central_differences_with_a_hundredth(self):
        expected = [[0.350169652145, -0.386293075292], [4.333334567910, 1.333334567910]]
        np.testing.assert_allclose(dv.numerical_jacobian(source_problem, W, "central", 0.01), expected, atol=6e-13)

    @pytest.mark.parametrize(("method", "rtol"), [("forward", 2e-7), ("central", 1e-9), ("complex", 1e-15)])
    def test_chosen_step(self, method, rtol):
        np.testing.assert_allclose(dv.numerical_jacobian(source_problem, W, method), exact_jacobian(), rtol=rtol)

    def test_complex_step(self):
        np.testing.assert_allclose(dv.complex_step(source_problem, W), exact_jacobian(), rtol=1e-15)


FUNCTIONS = {
    "exp": (np.exp, mpmath.exp),
    "sin": (np.sin, mpmath.sin),
    "tanh": (np.tanh, mpmath.tanh),
    "rational": (lambda x: (x**3 - 2 * x) / (1 + x * x), lambda x: (x**3 - 2 * x) / (1 + x * x)),
    "sqrt of 1 + x^2": (lambda x: np.sqrt(1 + x * x), lambda x: mpmath.sqrt(1 + x * x)),
}


class TestScalars:
    @pytest.mark.parametrize("name", FUNCTIONS)
    @pytest.mark.parametrize(("method", "tolerance"), [("forward", 2e-7), ("central", 1e-9), ("complex", 2e-15)])
    @settings(max_examples=20)
    @given(x=st.floats(-3, 3))
    def test_against_mpmath(self, name, method, tolerance, x):
        f, exact = FUNCTIONS[name]
        with mpmath.workdps(40):
            expected = float(mpmath.diff(exact, mpmath.mpf(x)))
        found = dv.numerical_gradient(f, x, method)
        assert isinstance(found, float)
        assert abs(found - expected) <= tolerance * max(1, abs(expected))

    def test_errors_of_e_to_the_x_at_one(self):
        """Half and two thirds of the digits, and all of them."""
        h = 1e-8
        assert abs((np.exp(1 + h) - E) / h - E) / E < 1e-8
        assert abs(dv.numerical_gradient(np.exp, 1.0, "forward") - E) / E < 4e-8
        assert abs(dv.numerical_gradient(np.exp, 1.0, "central") - E) / E < 5e-11
        assert dv.complex_step(np.exp, 1.0, 1e-200) == E

    def test_math_functions_take_the_number_as_it_was_given(self):
        assert dv.numerical_gradient(math.exp, 1.0) == pytest.approx(E, rel=1e-9)
        assert dv.numerical_gradient(lambda x: math.factorial(3) * x, 2) == pytest.approx(6, rel=1e-9)

    def test_integers_promote(self):
        assert dv.numerical_gradient(lambda x: x**2, 3) == pytest.approx(6, rel=1e-9)
        grad = dv.numerical_gradient(lambda x: np.sum(x**2), np.array([1, -2], dtype=np.int8))
        np.testing.assert_allclose(grad, [2, -4], rtol=1e-9)
        assert grad.dtype == np.float64

    def test_steps_scale_with_the_component(self):
        """A step that ignores the size of x would be lost at 1e12."""
        grad = dv.numerical_gradient(lambda x: x[0] ** 2, np.array([1e12, 1.0]))
        np.testing.assert_allclose(grad, [2e12, 0.0], rtol=1e-9)

    @pytest.mark.parametrize("method", ["central", "forward"])
    @pytest.mark.parametrize("x", [1.1, 1e3, -7.7])
    def test_the_stored_step_divides(self, method, x):
        """For a linear function nothing is truncated; an h that x cannot represent would show."""
        assert dv.numerical_gradient(lambda x: 0.5 * x, x, method, 1e-9) == 0.5


class TestArrays:
    @settings(max_examples=30)
    @given(x=hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=3), elements=st.floats(-2, 2)))
    def test_any_shape(self, x):
        found = dv.numerical_gradient(lambda a: np.sum(a**3), x)
        assert found.shape == x.shape
        np.testing.assert_allclose(found, 3 * x**2, atol=1e-8)

    @pytest.mark.parametrize("method", ["central", "forward", "complex"])
    def test_jacobian_shape_is_values_then_arguments(self, method):
        a = np.arange(24.0).reshape(2, 3, 4)
        x = np.linspace(0, 1, 12).reshape(3, 4)
        found = dv.numerical_jacobian(lambda x: np.einsum("ijk,jl->kil", a, x), x, method)
        assert found.shape == (4, 2, 4, 3, 4)
        expected = np.zeros_like(found)
        for i, k, j, m in np.ndindex(2, 4, 3, 4):
            expected[k, i, m, j, m] = a[i, j, k]
        np.testing.assert_allclose(found, expected, atol=2e-6)

    def test_layouts(self):
        base = np.arange(1.0, 25.0).reshape(4, 6)
        read_only = base.copy()
        read_only.flags.writeable = False
        broadcast = np.broadcast_to(np.array([1.0, 2.0]), (3, 2))
        for x in (base[::2, ::-1], base.T, np.asfortranarray(base), read_only, broadcast, base[:, 1:2]):
            np.testing.assert_allclose(dv.numerical_gradient(lambda a: np.sum(a**2), x), 2 * x, atol=1e-6)

    def test_f_may_write_into_its_argument(self):
        def f(x):
            x *= 2
            return np.sum(x)

        x = np.array([1.0, 2.0])
        np.testing.assert_allclose(dv.numerical_gradient(f, x), [2, 2], rtol=1e-9)
        np.testing.assert_array_equal(x, [1, 2])

    @pytest.mark.parametrize(("method", "atol"), [("central", 1e-4), ("forward", 1e-3), ("complex", 1e-7)])
    def test_float32(self, method, atol):
        x = np.array([0.5, -1.5, 2.0], dtype=np.float32)
        found = dv.numerical_gradient(lambda a: np.sum(np.sin(a)), x, method)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.cos(x), atol=atol)

    def test_step_for_each_component(self):
        x = np.array([1.0, 2.0])
        found = dv.numerical_gradient(lambda x: np.sum(x**2), x, "forward", np.array([0.5, 0.25]))
        np.testing.assert_array_equal(found, [2.5, 4.25])

    def test_a_tuple_of_values_is_an_array_of_values(self):
        np.testing.assert_allclose(dv.numerical_jacobian(lambda x: (x, 2 * x), 3.0), [1, 2], rtol=1e-9)


class TestErrors:
    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (
                lambda: dv.numerical_gradient(np.sin, 1.0, "upwind"),
                ValueError,
                "method must be one of 'central'",
            ),
            (lambda: dv.numerical_gradient(3, 1.0), TypeError, "f must be a function, got int"),
            (lambda: dv.numerical_gradient(np.sin, "1"), TypeError, "x must be numeric"),
            (lambda: dv.numerical_gradient(np.sin, 1j), TypeError, "x must be numeric"),
            (lambda: dv.numerical_gradient(np.sum, []), ValueError, "x must not be empty"),
            (lambda: dv.numerical_gradient(np.sum, [1.0, np.nan]), ValueError, "x must be finite"),
            (lambda: dv.numerical_gradient(np.sin, [1.0]), ValueError, "use numerical_jacobian"),
            (lambda: dv.numerical_gradient(np.sin, [1.0], "complex"), ValueError, "use numerical_jacobian"),
            (lambda: dv.numerical_gradient(np.sin, 1.0, step=0.0), ValueError, "step must be greater than 0"),
            (
                lambda: dv.numerical_gradient(np.sin, 1.0, step=-1.0),
                ValueError,
                "step must be greater than 0",
            ),
            (lambda: dv.numerical_gradient(np.sum, [1.0, 2.0], step=[1.0]), ValueError, "shape of x"),
            (lambda: dv.numerical_gradient(np.sin, 1.0, step=1e-30), ValueError, "lost when added to x"),
            (lambda: dv.numerical_gradient(lambda x: "no", 1.0), TypeError, "f must return real numbers"),
            (lambda: dv.numerical_gradient(lambda x: x * 1j, 1.0), TypeError, "f must return real numbers"),
            (lambda: dv.numerical_gradient(lambda x: np.inf, 1.0), ValueError, "f is not finite at x: .* move x"),
            (lambda: dv.numerical_jacobian(lambda x: [x, [x]], 1.0), ValueError, "one shape"),
            (lambda: dv.complex_step(math.exp, 1.0), TypeError, "f must take complex numbers"),
            (lambda: dv.complex_step(abs, 1.0), TypeError, "drops the imaginary"),
            (
                lambda: dv.complex_step(np.exp, np.float32(1), 1e-60),
                ValueError,
                "is 0 in the precision of x",
            ),
        ],
    )
    def test_message(self, call, error, message):
        with pytest.raises(error, match=message):
            call()

    def test_an_edge_of_the_domain_names_the_component(self):
        def f(x):
            return math.sqrt(x[1]) if x[1] >= 0 else math.nan

        with pytest.raises(ValueError, match=r"f is not finite at x with component \[1\] moved by -"):
            dv.numerical_gradient(f, np.array([1.0, 1e-9]))


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_gradient(x):
    g = np.zeros_like(x)
    inner = x[1:] - x[:-1] ** 2
    g[1:] += 200 * inner
    g[:-1] += -400 * x[:-1] * inner - 2 * (1 - x[:-1])
    return g


class TestCheckGradient:
    @settings(max_examples=25, deadline=None)
    @given(x=hnp.arrays(np.float64, st.integers(2, 6), elements=st.floats(-2, 2)))
    def test_right(self, x):
        assert dv.check_gradient(rosenbrock, rosenbrock_gradient, x)

    @settings(max_examples=25, deadline=None)
    @given(
        x=hnp.arrays(np.float64, st.integers(2, 6), elements=st.floats(-2, 2)),
        k=st.integers(0, 1),
        size=st.sampled_from([1e-3, 0.1, 10.0]),
    )
    def test_wrong_in_one_component(self, x, k, size):
        wrong = rosenbrock_gradient(x)
        wrong[k] += size * max(1, abs(wrong[k]))
        found = dv.check_gradient(rosenbrock, wrong, x, raises=False)
        assert not found
        with pytest.raises(AssertionError, match=rf"component {k} is"):
            dv.check_gradient(rosenbrock, wrong, x)

    def test_slopes_are_two_and_one(self):
        x = np.array([0.3, -0.7, 1.2])
        right = dv.check_gradient(rosenbrock, rosenbrock_gradient, x)
        np.testing.assert_allclose(right.slopes, 2, atol=0.05)
        wrong = dv.check_gradient(rosenbrock, lambda x: 1.01 * rosenbrock_gradient(x), x, raises=False)
        np.testing.assert_allclose(wrong.slopes, 1, atol=0.05)
        assert right.remainders.shape == (3, right.steps.size)

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_numbers(self, name):
        f, _ = FUNCTIONS[name]
        assert dv.check_gradient(f, dv.complex_step(f, 0.7), 0.7)
        with pytest.raises(AssertionError, match="the derivative is"):
            dv.check_gradient(f, dv.complex_step(f, 0.7) + 1e-4, 0.7)

    def test_a_zero_gradient_at_a_minimum(self):
        assert dv.check_gradient(lambda x: x**4 + x**2, 0.0, 0.0)
        assert dv.check_gradient(rosenbrock, rosenbrock_gradient, np.ones(4))
        with pytest.raises(AssertionError):
            dv.check_gradient(lambda x: x**4 + x**2, 1e-3, 0.0)

    def test_linear_functions_have_no_slope(self):
        found = dv.check_gradient(lambda x: 3 * x, 3.0, 5.0)
        assert found
        assert np.all(np.isnan(found.slopes))

    @pytest.mark.parametrize("claimed", [-1.0, -0.3, 0.0, 1.0])
    def test_any_slope_between_is_accepted_at_a_kink(self, claimed):
        found = dv.check_gradient(abs, claimed, 0.0)
        assert found.kinks == 3

    @pytest.mark.parametrize("claimed", [-1.1, 1.5])
    def test_a_slope_outside_is_refused_at_a_kink(self, claimed):
        with pytest.raises(AssertionError, match="between -1 and 1"):
            dv.check_gradient(abs, claimed, 0.0)

    def test_tied_maximum(self):
        x = np.array([1.0, 1.0, 0.0])
        assert dv.check_gradient(np.max, np.array([0.5, 0.5, 0.0]), x).kinks == 3
        assert not dv.check_gradient(np.max, np.array([1.0, 1.0, 0.0]), x, raises=False)

    def test_a_discontinuous_second_derivative_is_no_kink(self):
        found = dv.check_gradient(lambda x: x / (1 + abs(x)), 1.0, 0.0)
        assert found.kinks == 0

    def test_close_to_the_edge_of_the_domain(self):
        assert dv.check_gradient(lambda x: math.sqrt(x) if x >= 0 else math.nan, 0.5 / math.sqrt(1e-3), 1e-3)
        with pytest.raises(ValueError, match="edge of where f is defined"):
            dv.check_gradient(lambda x: math.sqrt(x) if x >= 0 else math.nan, 1.0, 0.0)

    def test_float32(self):
        x = np.linspace(0, 1, 30, dtype=np.float32)
        assert dv.check_gradient(lambda x: np.sum(np.sin(x)), np.cos, x)
        assert not dv.check_gradient(lambda x: np.sum(np.sin(x)), lambda x: 1.1 * np.cos(x), x, raises=False)

    def test_large_arrays_test_some_components(self):
        x = np.linspace(-1, 1, 600).reshape(20, 30)
        assert dv.check_gradient(lambda x: np.sum(x**2), lambda x: 2 * x, x, components=5)
        with pytest.raises(AssertionError, match=r"component \(\d+, \d+\)"):
            dv.check_gradient(lambda x: np.sum(x**2), lambda x: 2.2 * x, x, components=5)

    def test_seed(self):
        x = np.array([0.3, -0.7])
        one, two, other = (dv.check_gradient(rosenbrock, rosenbrock_gradient, x, seed=s) for s in (1, 1, 2))
        np.testing.assert_array_equal(one.remainders, two.remainders)
        assert np.any(one.remainders != other.remainders)

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda: dv.check_gradient(np.sum, np.ones(2), np.ones(3)), ValueError, r"shape of x, \(3,\)"),
            (
                lambda: dv.check_gradient(np.sum, np.full(3, np.nan), np.ones(3)),
                ValueError,
                "gradient must be finite",
            ),
            (
                lambda: dv.check_gradient(np.sin, np.ones(3), np.ones(3)),
                ValueError,
                "f must return one number",
            ),
            (lambda: dv.check_gradient(np.sum, ["a"], np.ones(1)), TypeError, "gradient must be numeric"),
            (
                lambda: dv.check_gradient(np.sin, 1.0, 0.0, directions=0),
                ValueError,
                "directions must be at least 1",
            ),
            (
                lambda: dv.check_gradient(np.sin, 1.0, 0.0, tolerance=-1),
                ValueError,
                "tolerance must be greater",
            ),
        ],
    )
    def test_message(self, call, error, message):
        with pytest.raises(error, match=message):
            call()
