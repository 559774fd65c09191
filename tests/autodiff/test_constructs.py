"""What the language of the transformation contains: each construct in reverse, forward and second order."""

import numpy as np
import pytest
from numba import njit

import derivable as dv
from derivable.autodiff.derivative import derivative
from derivable.autodiff.kinds import kind_of_value

X = np.array([0.3, 0.8, 1.2, 0.5, 0.7])


def exchanged_buffers(x):
    a, b = x.copy(), np.zeros_like(x)
    for _ in range(5):
        for i in range(1, len(x) - 1):
            b[i] = a[i] + 0.1 * (a[i - 1] * a[i] - 2 * a[i] + a[i + 1])
        a, b = b, a
    return np.sum(a * a)


def exchanged_whole_buffers(x):
    a, b, c = x.copy(), np.zeros_like(x), np.ones_like(x)
    for _ in range(4):
        b[:] = np.sin(a) * x + c
        a, b, c = b, c, a
    return np.sum(a * a * b)


def literals(x):
    y = np.array([x[0] * x[1], x[1], 2.0])
    m = np.array([[x[2], 1], [x[0] * x[0], 3]])
    pair = np.array((x[3], x[4]), dtype=np.float64)
    return np.sum(y * y * x[0]) + np.sum((m @ y[:2]) ** 2) + pair[0] * pair[1]


def comprehensions(x):
    i = 3
    y = np.array([x[i] * x[i] * i for i in range(len(x))])
    z = np.array([v * 2.0 for v in x[1:]])
    count = np.array([k * k for k in range(2, 5)])
    pairs = np.array([a * b for a, b in zip(x, y)])  # noqa: B905
    return np.sum(y[1:] * z) * x[i] + count[0] * np.sum(pairs)


def loops_with_else(x):
    s = 0.0
    for i in range(len(x)):
        if x[i] > 5.0:
            break
        s += x[i] ** 3
    else:
        s *= s
    for v in x:
        if v > 1.0:
            s += v * v
            break
    else:
        s = 0.0
    k = 0
    while k < 3:
        s += x[k] ** 3
        k += 1
    else:
        s *= x[0]
    return s


def left_from_else(x):
    for v in x:
        if v > 5.0:
            break
    else:
        return x[0] * x[1]
    return x[2]


def functions_within(x):
    c = x[0] * 2.0

    def product(a, b, scale=2.0):
        t = a * c
        for _ in range(2):
            if t > 100.0:
                return t
            t = t * b
        return t * scale

    square = lambda t: t * t + c  # noqa: E731
    c = x[1] * c
    return product(x[2], square(x[3])) + square(c) + product(x[0], x[1], scale=x[4])


def arrays_on_tapes(x):
    w, h, k = np.outer(x, x) * 0.1, np.zeros(len(x)), 0
    for _ in range(2):
        h = np.tanh(w @ h + x)
    while k < 2:
        h = np.sin(w @ h) * x
        k += 1
    return np.sum(h * h)


def gelu_twice(x):
    return np.sum(dv.gelu_tanh(x) * x)


FUNCTIONS = [exchanged_buffers, exchanged_whole_buffers, literals, comprehensions, loops_with_else, left_from_else]
FUNCTIONS += [functions_within, arrays_on_tapes, gelu_twice]


def run(f, verb, *args):
    maker = derivative(f, verb, (0,) if verb in ("jvp", "vjp") else 0).maker
    kinds = tuple(kind_of_value(a, "x") for a in args[: len(maker.names)])
    return maker.function_for(kinds, plain=True)(*args)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_both_modes_and_second_order_as_plain_python(f):
    expected = dv.numerical_gradient(f, X)
    np.testing.assert_allclose(run(f, "grad", X), expected, rtol=1e-6, atol=1e-8)
    direction = np.array([0.3, -1.0, 0.2, 0.7, -0.4])
    assert run(f, "jvp", X, direction)[1] == pytest.approx(expected @ direction, rel=1e-6)
    product = dv.numerical_jacobian(lambda x: run(f, "grad", x), X) @ direction
    gradient = dv.grad(f)
    np.testing.assert_allclose(run(gradient, "jvp", X, direction)[1], product, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(run(gradient, "vjp", X, direction)[1][0], product, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("f", [exchanged_buffers, comprehensions, functions_within, literals], ids=lambda f: f.__name__)
def test_compiled(f):
    np.testing.assert_allclose(dv.grad(njit(f))(X), dv.numerical_gradient(f, X), rtol=1e-6, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_second_order_compiled(f):
    direction = np.ones(5)
    expected = dv.numerical_jacobian(dv.grad(njit(f)), X) @ direction
    np.testing.assert_allclose(dv.hvp(njit(f), (X,), (direction,)), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(dv.vjp(dv.grad(njit(f)), (X,), direction)[1][0], expected, rtol=1e-6, atol=1e-8)


def test_a_string_as_an_argument():
    @njit
    def f(x, mode="square"):
        if mode == "square":
            return x * x
        return x**3

    assert dv.grad(f)(2.0) == 4.0
    assert dv.grad(f)(2.0, "cube") == 12.0
    assert dv.grad(f)(2.0, "square") == 4.0

    @njit
    def user(x):
        return dv.grad(f)(x, "cube") + dv.grad(f)(x)

    assert user(2.0) == 16.0
    with pytest.raises(dv.DerivativeError, match="with respect to mode: it is a str"):
        dv.grad(f, 1)(2.0, "cube")


def refusal(f, *args):
    with pytest.raises(dv.DerivativeError) as error:
        run(f, "grad", *args)
    message = str(error.value)
    assert f"{f.__name__}, line " in message
    assert "; " in message or "use " in message
    return message


def test_refusals_say_what_and_what_to_do():
    def exchanged_with_a_view(x):
        a, b = x.copy(), x * 2.0
        view = a[1:]
        for _ in range(3):
            a, b = b, a
            b[0] = 1.0
        return np.sum(view)

    def indexed_list(x):
        values = []
        for v in x:
            values.append(v)
        return values[1]

    def calls_a_method(x):
        return text.join(x)

    def an_array_times_a_number(x):
        return x @ x[0]

    def rows_of_other_lengths(x):
        return np.sum(np.array([[x[0], x[1]], [x[2]]]))

    def calls_itself(x):
        def g(t):
            return g(t)

        return g(x[0])

    def index_is_an_int_range(x):
        for _ in range(x[0]):
            pass
        return x[0]

    text = "abc"
    assert "view is another name for the memory of one of them" in refusal(exchanged_with_a_view, X)
    assert "an array made by np.zeros or np.empty" in refusal(indexed_list, X)
    assert "join" in refusal(calls_a_method, X)
    assert "a product of a 1-dimensional float64 array and a float64" in refusal(an_array_times_a_number, X)
    assert "give each row the same length" in refusal(rows_of_other_lengths, X)
    with pytest.raises(dv.DerivativeError, match=r"g, line(.|\n)*g calls itself; write the recursion as a loop"):
        run(calls_itself, "grad", X)
    assert "range of a float64" in refusal(index_is_an_int_range, X)
    with pytest.raises(dv.DerivativeError, match="it is an int, which"):
        dv.grad(lambda x: x)(3)
    with pytest.raises(dv.DerivativeError, match=r"no dimensions, .*pass the number in it, as x.item\(\)"):
        dv.grad(lambda x: x)(np.array(3.0))


class Scaled:
    def times(self, x):
        return 2.0 * x


def test_a_method_of_an_object_is_called_that():
    with pytest.raises(dv.DerivativeError, match="times is a method of an object"):
        dv.grad(Scaled().times)(2.0)
