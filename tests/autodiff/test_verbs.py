"""The verbs: from Python, within @njit, nested; precision; edges; errors."""

import math
import pickle

import numba
import numpy as np
import pytest
from numba import njit

import derivable as dv
from derivable.autodiff.derivative import derivative
from derivable.autodiff.kinds import Kind


@njit
def cubic(x):
    return math.sin(x) * x**3


def d_cubic(x):
    return math.cos(x) * x**3 + 3 * x**2 * math.sin(x)


def d2_cubic(x):
    return -math.sin(x) * x**3 + 6 * x**2 * math.cos(x) + 6 * x * math.sin(x)


@njit
def rosenbrock(x):
    s = 0.0
    for i in range(x.shape[0] - 1):
        s += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return s


def d_rosenbrock(x):
    from scipy.optimize import rosen_der

    return rosen_der(x)


POINT = np.array([1.2, -0.4, 0.5])


def test_grad_from_python():
    assert dv.grad(cubic)(1.2) == pytest.approx(d_cubic(1.2), rel=1e-14)
    np.testing.assert_allclose(dv.grad(rosenbrock)(POINT), d_rosenbrock(POINT), rtol=1e-13)
    value, gradient = dv.value_and_grad(rosenbrock)(POINT)
    assert value == pytest.approx(rosenbrock(POINT))
    np.testing.assert_allclose(gradient, d_rosenbrock(POINT), rtol=1e-13)


def test_grad_of_a_global_within_njit():
    @njit
    def user(x):
        return dv.grad(cubic)(x)

    assert user(1.2) == pytest.approx(d_cubic(1.2))


def test_grad_of_a_closed_over_function_within_njit_in_a_loop():
    def make(f):
        @njit
        def user(x):
            s = 0.0
            for i in range(4):
                s += dv.grad(f)(x + i)
            return s

        return user

    assert make(cubic)(0.3) == pytest.approx(sum(d_cubic(0.3 + i) for i in range(4)))


def test_grad_of_an_argument_within_njit():
    @njit
    def user(f, x):
        value, slope = dv.value_and_grad(f)(x)
        return value + slope

    assert user(cubic, 1.2) == pytest.approx(cubic(1.2) + d_cubic(1.2))


def test_a_derivative_is_an_ordinary_compiled_function():
    slope = dv.grad(cubic)

    @njit
    def newton(slope, x):
        return x - slope(x)

    assert newton(slope, 1.2) == pytest.approx(1.2 - d_cubic(1.2))


def test_nested_twice():
    assert dv.grad(dv.grad(cubic))(1.2) == pytest.approx(d2_cubic(1.2))

    @njit
    def user(x):
        return dv.grad(dv.grad(cubic))(x)

    assert user(1.2) == pytest.approx(d2_cubic(1.2))


@njit
def add(x, y):
    return x + y


def test_no_perturbation_confusion():
    @njit
    def f(x):
        return x * dv.grad(add, 1)(x, 2.0)

    assert dv.grad(f)(3.0) == 1.0


def test_grad_within_a_differentiated_function():
    @njit
    def f(x):
        return x * dv.grad(cubic)(x)

    assert dv.grad(f)(1.2) == pytest.approx(d_cubic(1.2) + 1.2 * d2_cubic(1.2))


def test_into_writes_into_the_buffer():
    out = np.full(3, np.nan)
    assert dv.grad(rosenbrock).into(POINT, out) is None
    np.testing.assert_allclose(out, d_rosenbrock(POINT), rtol=1e-13)
    dv.grad_into(rosenbrock)(POINT, out)
    np.testing.assert_allclose(out, d_rosenbrock(POINT), rtol=1e-13)

    @njit
    def descend(into, w, steps):
        g = np.empty_like(w)
        for _ in range(steps):
            into(w, g)
            w -= 1e-3 * g
        return w

    w = POINT.copy()
    for _ in range(5):
        w = w - 1e-3 * d_rosenbrock(w)
    np.testing.assert_allclose(descend(dv.grad(rosenbrock).into, POINT.copy(), 5), w)


def test_several_argnums_and_defaults_and_keywords():
    @njit
    def f(x, a=2.0, n=3):
        return a * x**n

    assert dv.grad(f)(2.0) == pytest.approx(24.0)
    assert dv.grad(f)(2.0, 3.0) == pytest.approx(36.0)
    assert dv.grad(f)(2.0, n=2) == pytest.approx(8.0)
    assert dv.grad(f, (0, 1))(2.0, 2.0, 3) == pytest.approx((24.0, 8.0))
    assert dv.grad(f, -2)(2.0, 2.0, 3) == pytest.approx(8.0)


def test_nested_tuples_of_arrays():
    @njit
    def f(parameters, x):
        (w, b), (v, c) = parameters
        h = np.tanh(w @ x + b)
        return np.sum((v @ h + c) ** 2)

    parameters = ((np.ones((2, 3)), np.zeros(2)), (np.ones((1, 2)), np.zeros(1)))
    x = np.array([0.1, 0.2, 0.3])
    (dw, db), (dv_, dc) = dv.grad(f)(parameters, x)
    h = np.tanh(parameters[0][0] @ x)
    out = 2 * (h.sum())
    np.testing.assert_allclose(dc, [out])
    np.testing.assert_allclose(dv_, [out * h])
    np.testing.assert_allclose(db, out * (1 - h * h))
    np.testing.assert_allclose(dw, np.outer(out * (1 - h * h), x))
    assert "W1" not in dv.grad(f).source
    assert "w_bar" in dv.grad(f).source


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_kept(dtype):
    gradient = dv.grad(rosenbrock)(POINT.astype(dtype))
    assert gradient.dtype == dtype
    np.testing.assert_allclose(gradient, d_rosenbrock(POINT), rtol=1e-5)


@pytest.mark.parametrize(
    "x",
    [
        np.arange(6.0)[::2],
        np.arange(3.0)[::-1],
        np.broadcast_to(np.array([0.5]), (3,)),
        np.asfortranarray(np.ones((3, 2)))[:, 0],
    ],
    ids=["strided", "reversed", "zero stride, read-only", "column"],
)
def test_any_layout(x):
    np.testing.assert_allclose(dv.grad(rosenbrock)(x), d_rosenbrock(np.array(x)), rtol=1e-12)


def test_jacobian_both_modes_and_hessian():
    @njit
    def f(x):
        return np.sin(x) * x[0]

    expected = np.diag(np.cos(POINT) * POINT[0])
    expected[:, 0] += np.sin(POINT)
    for mode in (None, "forward", "reverse"):
        np.testing.assert_allclose(dv.jacobian(f, mode=mode)(POINT), expected, rtol=1e-13, atol=1e-15)
    from scipy.optimize import rosen_hess, rosen_hess_prod

    np.testing.assert_allclose(dv.hessian(rosenbrock)(POINT), rosen_hess(POINT), rtol=1e-13)
    v = np.array([0.3, -1.0, 2.0])
    np.testing.assert_allclose(dv.hvp(rosenbrock, (POINT,), (v,)), rosen_hess_prod(POINT, v), rtol=1e-13)


def test_jvp_vjp_hvp_within_njit():
    @njit
    def user(x, v):
        return dv.jvp(rosenbrock, (x,), (v,)), dv.vjp(rosenbrock, (x,), 2.0), dv.hvp(rosenbrock, (x,), (v,))

    v = np.array([0.3, -1.0, 2.0])
    (value, tangent), (again, (pulled,)), product = user(POINT, v)
    assert value == again == rosenbrock(POINT)
    assert tangent == pytest.approx(d_rosenbrock(POINT) @ v)
    np.testing.assert_allclose(pulled, 2 * d_rosenbrock(POINT))
    np.testing.assert_allclose(product, dv.hessian(rosenbrock)(POINT) @ v)


def test_custom_derivative_and_stop_gradient():
    @njit
    def double(x):
        return 2.0 * x

    @njit
    def pullback(g, z, x):
        return (3.0 * g,)

    @njit
    def pushforward(dx, z, x):
        return 3.0 * dx

    dv.custom_derivative(double, pullback=pullback, pushforward=pushforward)

    @njit
    def f(x):
        return double(x) * dv.stop_gradient(x)

    assert dv.grad(f)(5.0) == 15.0
    assert dv.jvp(f, (5.0,), (1.0,)) == (50.0, 15.0)
    assert dv.check_rule(f, 5.0) < 1e-12


def test_a_pullback_of_the_wrong_form_is_refused():
    double = lambda x, y: 2.0 * x * y  # noqa: E731
    for word in ("pullback", "pushforward"):
        with pytest.raises(TypeError, match=f"{word} must be an @njit function, got int"):
            dv.custom_derivative(double, **{word: 3})
    with pytest.raises(TypeError, match=r"pullback must take the arguments \(g, z, x, y\), got \(g, x, y\)"):
        dv.custom_derivative(double, pullback=lambda g, x, y: (g, g))
    with pytest.raises(TypeError, match=r"pushforward must take the arguments \(dx, dy, z, x, y\), got \(dx, x\)"):
        dv.custom_derivative(double, pushforward=lambda dx, x: dx)
    for pullback, what in ((lambda g, z, x, y: g * y, "no tuple"), (lambda g, z, x, y: (g * y,), "a tuple of 1")):
        dv.custom_derivative(double, pullback=pullback)
        refuse(lambda x: double(x, 3.0), 2.0, match=f"the pullback of <lambda> returns {what}; .* a tuple of 2")


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="Numba tells what a function returns that cannot be read")
def test_a_function_of_numpy_gets_a_rule_within_one_of_the_user():
    @njit
    def gamma(x):
        return math.gamma(x)

    @njit
    def pullback(g, z, x):
        return (g * -0.5772156649015329,)  # right at 1

    refuse(lambda x: math.gamma(x), 1.0, match="call it in an @njit function with a custom_derivative")
    dv.custom_derivative(gamma, pullback=pullback)
    assert np.isclose(dv.grad(lambda x: gamma(x) * x)(1.0), 1.0 - 0.5772156649015329)


def test_check_rule_finds_a_wrong_rule():
    @njit
    def double(x):
        return 2.0 * x

    @njit
    def pullback(g, z, x):
        return (3.0 * g,)

    @njit
    def pushforward(dx, z, x):
        return 2.0 * dx

    dv.custom_derivative(double, pullback=pullback, pushforward=pushforward)
    with pytest.raises(AssertionError, match="J"):
        dv.check_rule(njit(lambda x: double(x) * 1.0), 5.0)


def test_the_source_is_readable_and_pickles():
    source = dv.grad(rosenbrock).source
    assert "# s += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2" in source
    assert "x_bar" in source
    assert "def grad_rosenbrock(x):" in source
    assert dv.grad(rosenbrock) is dv.grad(rosenbrock)
    assert pickle.loads(pickle.dumps(dv.grad(cubic)))(1.2) == pytest.approx(d_cubic(1.2))


# ----------------------------------------------------------------------------------------- kinks and edges


@njit(error_model="numpy")
def two_places(x):
    root = np.sqrt(x)
    return np.where(x > 1, root, x) + np.where(x < -1, root, x)


@njit(error_model="numpy")
def root_by_if(x):
    root = np.sqrt(x)
    y = x
    if x > 1:
        y = root
    return y


@njit(error_model="numpy")
def row_not_taken(x):
    table = np.ones((3, 2))
    row = np.arange(2.0) + np.zeros(2) * x
    inverse = table / row
    return np.sum(np.where(table * row > 0, inverse, 0.0)) + 3.0 * x


def slope(text, x):
    scope = {"np": np, "math": math, "dv": dv, "two_places": two_places, "root_by_if": root_by_if}
    scope["row_not_taken"] = row_not_taken
    import linecache

    source = f"def f(x):\n    return {text}\n"
    file = f"<edge {text}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), scope)
    f = njit(error_model="numpy")(scope["f"])
    plain = derivative(f, "jvp", (0,)).maker.function_for((Kind("f8"),), plain=True)
    backward, forward = dv.grad(f)(x), plain(x, 1.0)[1]
    assert backward == pytest.approx(forward, rel=1e-12, nan_ok=True)  # both modes have the same conventions
    return backward


EDGES = {
    "abs at 0": ("abs(x)", 0.0, 0.0),
    "relu at 0": ("dv.relu(x)", 0.0, 0.0),
    "maximum at a tie": ("max(x, 1.0)", 1.0, 0.5),
    "maximum of x with itself": ("np.maximum(x, x)", 1.0, 1.0),
    "minimum at a tie": ("np.minimum(x, 1.0)", 1.0, 0.5),
    "clip at its border": ("np.clip(x, 0.0, 1.0)", 1.0, 1.0),
    "clip outside": ("np.clip(x, 0.0, 1.0)", 1.5, 0.0),
    "sqrt at 0": ("math.sqrt(x)", 0.0, math.inf),
    "log at 0": ("math.log(x)", 0.0, math.inf),
    "x ** 0.5 at 0": ("x ** 0.5", 0.0, math.inf),
    "x ** 0 at 0": ("x ** 0", 0.0, 0.0),
    "x ** 1 at 0": ("x ** 1", 0.0, 1.0),
    "x ** 2.5 at 0": ("x ** 2.5", 0.0, 0.0),
    "0 ** x at 2": ("0.0 ** x", 2.0, 0.0),
    "hypot at the origin": ("np.hypot(x, 0.0)", 0.0, 0.0),
    "arctan2 at the origin": ("np.arctan2(x, 0.0)", 0.0, math.nan),
    "a branch not taken, by where": ("np.where(x < 1, x, np.sqrt(x))", 0.0, 1.0),
    "a branch not taken, by where, in an array": (
        "np.sum(np.where(np.ones(1) * x < 1, x, np.sqrt(np.ones(1) * x)))",
        0.0,
        1.0,
    ),
    "a branch not taken, and its root squared": ("np.where(x < 1, x, np.sqrt(x) * np.sqrt(x))", 0.0, 1.0),
    "a branch not taken, nested": ("np.where(x < 1, x, np.where(x < 3, np.sqrt(x), np.log(x)))", 0.0, 1.0),
    "a branch not taken, used in two places": ("two_places(x)", 0.0, 2.0),
    "a branch not taken, by if": ("root_by_if(x)", 0.0, 1.0),
    "a selected root times a zero": ("np.where(x < 1, np.sqrt(x), x) ** 2", 0.0, math.nan),
    "the smaller argument of maximum": ("np.maximum(np.sqrt(x), 1.0)", 0.0, 0.0),
    "a root of what was cut off": ("np.sqrt(np.maximum(x, 0.0))", -1.0, 0.0),
    "a quotient cut off by clip": ("np.sum(np.clip(np.ones(2) / x, 0.0, 1.0))", 0.0, 0.0),
    "a root of relu": ("np.sqrt(dv.relu(x))", -1.0, 0.0),
    "an overflow in a branch not taken": ("np.where(x > 0, np.exp(-x), 1.0 / (1.0 + np.exp(-x)))", 800.0, 0.0),
    "a row not taken, by broadcasting": ("row_not_taken(x)", 0.0, 3.0),
    "the square of a root": ("np.sqrt(x) ** 2", 0.0, math.nan),
    "a root times itself": ("np.sqrt(x) * np.sqrt(x)", 0.0, math.nan),
    "exp of log": ("np.exp(np.log(x))", 0.0, math.nan),
    "one over one plus one over x": ("1 / (1 + 1 / x)", 0.0, math.nan),
    "arctan of one over x": ("np.arctan(1 / x)", 0.0, math.nan),
    "a root of what overflows": ("np.sqrt(x * x + 1)", 1e200, math.nan),
    "a logarithm of what overflows": ("np.log(1e300 * x)", 1e10, math.nan),
    "hypot that overflows": ("np.hypot(1.7e308 * x, 1.7e308)", 1.0, math.nan),
    "a norm that overflows": ("np.linalg.norm(np.full(2, 1.7e308) * x)", 1.0, math.nan),
    "arctan2 of large numbers": ("np.arctan2(1e200 * x, 1e200)", 1.0, 0.5),
    "arctan2 of small numbers": ("np.arctan2(1e-200 * x, 1e-200)", 1.0, 0.5),
    "arcsinh of a large number": ("np.arcsinh(1e200 * x)", 1.0, 1.0),
    "arccosh of a large number": ("np.arccosh(1e200 * x)", 1.0, 1.0),
    "logaddexp of a large number and itself": ("np.logaddexp(x, x)", 1e30, 1.0),
    "a division in a branch not taken": ("np.where(x == 0, 1.0 + x, np.sin(x) / x)", 0.0, 1.0),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", EDGES)
def test_edge(name):
    text, x, expected = EDGES[name]
    if expected == expected:
        assert slope(text, x) == pytest.approx(expected, rel=1e-15)
    else:
        assert math.isnan(slope(text, x))


@pytest.mark.parametrize(
    ("text", "x", "right"),
    [
        ("1.0 / (1.0 + math.exp(-x))", -800.0, 0.0),
        ("math.log1p(math.exp(x))", 800.0, 1.0),
        ("np.log(np.exp(x))", -800.0, 1.0),
    ],
)
def test_overflow_gives_the_right_value_or_nan(text, x, right):
    got = slope(text, x)
    assert got == right or math.isnan(got)


def test_norm_at_zero_and_ties_of_max():
    norm = njit(lambda x: np.linalg.norm(x))
    np.testing.assert_array_equal(dv.grad(norm)(np.zeros(2)), [0.0, 0.0])
    largest = njit(lambda x: np.max(x))
    np.testing.assert_array_equal(dv.grad(largest)(np.array([1.0, 3.0, 3.0])), [0.0, 0.5, 0.5])


# -------------------------------------------------------------------------------------------------- errors


def refuse(f, *args, match, argnum=0):
    with pytest.raises(dv.DerivativeError, match=match) as error:
        dv.grad(njit(f) if not hasattr(f, "py_func") else f, argnum)(*args)
    return str(error.value)


def test_integers_are_refused():
    refuse(cubic, 3, match=r"with respect to x: it is an int.*pass a float")
    refuse(rosenbrock, np.array([1, 2]), match="int array")


def test_other_arguments_are_refused():
    refuse(cubic, 1.0 + 1j, match="complex")
    refuse(rosenbrock, [1.0, 2.0], match="list")
    refuse(rosenbrock, np.ones(2, np.complex128), match="complex128")


def test_what_the_language_lacks_is_refused_with_function_line_text_and_remedy():
    def uses_a_dictionary(x):
        y = {1: x}
        return y[1]

    message = refuse(uses_a_dictionary, 1.0, match="not supported")
    assert "uses_a_dictionary, line" in message
    assert "y = {1: x}" in message
    assert "use numbers, arrays and tuples" in message


def test_writes_to_arguments_and_through_two_names_are_refused():
    def writes(x):
        x[0] = 1.0
        return x[1]

    def aliases(x):
        a = x.copy()
        b = np.ravel(a)
        a[0] = 3.0
        return b[0] * b[1]

    refuse(writes, np.ones(2), match="begin with x = x.copy")
    refuse(aliases, np.ones(2), match="two names")


def test_results_that_are_no_numbers_are_refused():
    refuse(lambda x: x * 2.0, np.ones(2), match="not a number; use jacobian")
    refuse(lambda x: x > 1.0, 2.0, match="bool")
    refuse(lambda x: None, 2.0, match="None")


def test_a_refusal_leads_to_what_does_have_a_rule():
    refuse(lambda x: sum(x), np.ones(2), match="Python's sum is known; use np.sum")
    refuse(lambda x: round(x) * x, 2.0, match="use np.round")
    refuse(lambda x: divmod(x, 2.0)[0], 2.0, match="Python's divmod is known; write it in terms of others")
    refuse(lambda x: np.sum(np.multiply(x, x, out=x)), np.ones(2), match=r"keyword out.*write y\[:\] =")
    refuse(lambda x: np.sum(x * (1.0, 2.0)), np.ones(2), match="make an array of it")
    refuse(lambda x: np.sum(x[[0, 1]]), np.ones(2), match="np.array of it")


def test_recursion_is_refused():
    refuse(recursive, 2.0, match="calls itself")


@njit
def recursive(x):
    return x if x < 1.0 else recursive(x - 1.0)


def test_a_function_without_source_is_refused():
    scope = {}
    exec("def f(x): return x", scope)
    with pytest.raises(dv.DerivativeError, match="source of f is not available"):
        dv.grad(njit(scope["f"]))


def test_bad_argnums():
    with pytest.raises(ValueError, match="argnum is 1"):
        dv.grad(cubic, 1)
    with pytest.raises(TypeError, match="argnum of hessian must be one int"):
        dv.hessian(lambda x, y: x * y, (0, 1))
    with pytest.raises(TypeError, match="argnum must be"):
        dv.grad(cubic, 1.0)
    with pytest.raises(ValueError, match="mode"):
        dv.jacobian(cubic, mode="sideways")


def test_a_first_class_function_is_refused():
    @njit
    def user(f, x):
        return dv.grad(f)(x)

    pointer = numba.types.FunctionType(numba.types.float64(numba.types.float64))
    with pytest.raises((dv.DerivativeError, numba.TypingError), match="machine code"):
        user.compile((pointer, numba.types.float64))
