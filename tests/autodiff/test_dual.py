"""Tests of dual numbers, against computer algebra, mpmath and JAX."""

import math

import hypothesis.extra.numpy as hnp
import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

import derivable as dv
from derivable import activations
from derivable.autodiff.overloading import PARTIALS

# For each operation a place where it is smooth.
PLACES = {
    "power": (1.7, 2.3), "arctan2": (1.2, -0.4), "remainder": (7.3, 2.1),
    "maximum": (1.0, 2.0), "minimum": (1.0, 2.0),
    "arccosh": (1.8,), "log": (0.6,), "log2": (0.6,), "log10": (0.6,), "sqrt": (0.6,), "cbrt": (0.6,),
}  # fmt: skip
OWN = ("relu", "sigmoid", "softplus", "softsign")


def ufunc(name):
    """Return the function of that name as one that takes numbers and overloaded numbers."""
    if name in OWN:
        own = lambda x: getattr(activations, name)(x)  # noqa: E731
        own.nin = 1
        return own
    return scipy.special.expit if name == "expit" else getattr(np, name)


def derivative(f):
    return lambda x: dv.Dual.jvp(f, x, 1.0)[1]


@pytest.mark.parametrize("name", PARTIALS)
class TestRules:
    """Each rule of the table, against differences and in second order."""

    def test_partials(self, name):
        f = ufunc(name)
        x = PLACES.get(name, (0.6, -0.7)[: f.nin])
        for i in range(f.nin):
            moved = lambda t, i=i, x=x: f(*(t if k == i else v for k, v in enumerate(x)))  # noqa: E731
            assert derivative(moved)(x[i]) == pytest.approx(dv.numerical_gradient(moved, x[i]), rel=1e-8, abs=1e-9)

    def test_second_order(self, name):
        f = ufunc(name)
        x = PLACES.get(name, (0.6, -0.7)[: f.nin])
        for i in range(f.nin):
            moved = lambda t, i=i, x=x: f(*(t if k == i else v for k, v in enumerate(x)))  # noqa: E731
            expected = dv.numerical_gradient(derivative(moved), x[i])
            assert derivative(derivative(moved))(x[i]) == pytest.approx(expected, rel=1e-7, abs=1e-9)

    def test_tape_agrees(self, name):
        f = ufunc(name)
        x = PLACES.get(name, (0.6, -0.7)[: f.nin])
        tape = dv.Tape()
        nodes = tuple(tape.variable(v) for v in x)
        found = tape.gradient(f(*nodes), nodes)
        for i in range(f.nin):
            moved = lambda t, i=i, x=x: f(*(t if k == i else v for k, v in enumerate(x)))  # noqa: E731
            assert found[i] == pytest.approx(derivative(moved)(x[i]), rel=1e-15)


class TestDual:
    def test_arithmetic_of_dual_numbers(self):
        x, y = dv.Dual(2.0, 1.0), dv.Dual(3.0, 5.0)
        for found, value, tangent in [
            (x + y, 5, 6), (x - y, -1, -4), (x * y, 6, 13), (x / y, 2 / 3, (3 - 10) / 9),
            (x**3, 8, 12), (-x, -2, -1),
            (3 * x, 6, 3), (1 / x, 0.5, -0.25), (3 - x, 1, -1), (2**x, 4, 4 * math.log(2)), (abs(-x), 2, 1),
        ]:  # fmt: skip
            assert found.value == pytest.approx(value)
            assert found.tangent == pytest.approx(tangent)

    def test_integers_do_not_stay_integers(self):
        assert (dv.Dual(3, 1) ** -1).tangent == pytest.approx(-1 / 9)

    def test_float32_stays(self):
        out = np.sin(dv.Dual(np.float32(1), np.float32(1))) * 2 + 1
        assert out.value.dtype == out.tangent.dtype == np.float32

    @settings(max_examples=40)
    @given(
        x=hnp.arrays(np.float64, 3, elements=st.floats(-2, 2)),
        v=hnp.arrays(np.float64, 3, elements=st.floats(-2, 2)),
    )
    def test_jvp_is_linear_and_agrees_with_the_jacobian(self, x, v):
        a = np.array([[1.0, -2.0, 0.5], [0.3, 0.7, 2.0]])

        def f(x):
            return np.tanh(a @ x) * np.exp(-x[0]) + x[1] * x[2]

        value, tangent = dv.Dual.jvp(f, x, v)
        np.testing.assert_allclose(value, f(x), rtol=1e-15)
        np.testing.assert_allclose(tangent, dv.complex_step(f, x) @ v, rtol=1e-12, atol=1e-12)

    def test_control_flow_follows_the_value(self):
        def f(x):
            while x < 100:
                x = x * x if x > 2 else 3 * x
            return x

        assert dv.Dual.jvp(f, 1.5, 1.0) == (f(1.5), 4 * 4.5**3 * 3)

    def test_many_derivatives_of_one_program(self):
        f = lambda x: np.exp(x) * np.sin(x)  # noqa: E731
        g = f
        for order in range(1, 6):
            g = derivative(g)
            with mpmath.workdps(30):
                expected = float(mpmath.diff(lambda x: mpmath.exp(x) * mpmath.sin(x), mpmath.mpf("0.3"), order))
            assert g(0.3) == pytest.approx(expected, rel=1e-12)

    def test_perturbation_confusion(self):
        """d/dx [x d/dy (x + y)] = 1; with one perturbation for both derivatives it comes out as 2."""
        assert derivative(lambda x: x * derivative(lambda y: x + y)(1.0))(1.0) == 1.0
        assert derivative(lambda x: derivative(lambda y: x * x * y)(2.0))(3.0) == 6.0

    def test_perturbation_confusion_with_one_level_for_both(self):
        """The same expression with hand-made duals of equal level shows what the levels are for."""
        inner = lambda x: (x + dv.Dual(1.0, 1.0)).tangent  # noqa: E731
        x = dv.Dual(1.0, 1.0)
        assert (x * inner(x)).tangent == 2.0

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda x: math.sin(x), TypeError, "np.sin, not math.sin"),
            (lambda x: np.gcd(x, 2), TypeError, "no rule for np.gcd"),
            (lambda x: np.sin(x, dtype=np.float32), TypeError, "with keywords"),
            (lambda x: np.add.accumulate(x), TypeError, "np.add.accumulate"),
        ],
    )
    def test_message(self, call, error, message):
        with pytest.raises(error, match=message):
            call(dv.Dual(1.0, 1.0))

    def test_more_messages(self):
        with pytest.raises(TypeError, match="holds one number"):
            dv.Dual(np.ones(2))
        with pytest.raises(ValueError, match="v must have the shape of x"):
            dv.Dual.jvp(np.sum, np.ones(2), np.ones(3))

    def test_constants_and_scalars_out(self):
        assert dv.Dual.jvp(lambda x: 3.0, 1.0, 1.0) == (3.0, 0.0)
        value, tangent = dv.Dual.jvp(lambda x: (x, 2.0), 1.0, 1.0)
        np.testing.assert_array_equal(value, [1, 2])
        np.testing.assert_array_equal(tangent, [1, 0])

    def test_where_of_one_number_has_no_dimensions(self):
        f = lambda x: np.where(x > 0, x * x, 0.0)  # noqa: E731
        assert dv.Dual.jvp(f, 3.0, 1.0) == (9.0, 6.0)
        tape = dv.Tape()
        x = tape.variable(3.0)
        assert tape.gradient(f(x), x) == 6.0
        assert dv.trace(f, 3.0).outputs[0].value == 9.0

    @pytest.mark.parametrize("activation", [dv.sigmoid, dv.relu])
    def test_activations_take_each_element_of_an_array(self, activation):
        x = np.array([[-1.0, 0.5], [2.0, 3.0]])
        value, tangent = dv.Dual.jvp(activation, x, np.ones((2, 2)))
        np.testing.assert_array_equal(value, activation(x))
        np.testing.assert_allclose(tangent, dv.numerical_gradient(lambda x: np.sum(activation(x)), x), rtol=1e-8)

    @pytest.mark.peer
    def test_against_jax(self):
        jax = pytest.importorskip("jax", reason="JAX is the oracle here")
        jax.config.update("jax_enable_x64", True)
        jnp = jax.numpy

        def f(np, x):
            return np.sum(np.sin(x) * x / (1 + np.exp(-x))) * np.arctan2(x[0], x[1]) ** 2 + np.maximum(x[2], 0.3)

        x, v = np.array([0.5, -1.2, 2.0]), np.array([1.0, 0.2, -0.3])
        _, tangent = dv.Dual.jvp(lambda x: f(np, x), x, v)
        _, expected = jax.jvp(lambda x: f(jnp, x), (jnp.array(x),), (jnp.array(v),))
        assert tangent == pytest.approx(float(expected), rel=1e-13)
