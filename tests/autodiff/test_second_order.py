"""Second derivatives of programs whose first derivative keeps arrays on tapes."""

import numpy as np
import pytest
from autodiff import running
from numba import njit

import derivable as dv

RNG = np.random.default_rng(2)
X, W, V = RNG.normal(size=(4, 3)), 0.5 * RNG.normal(size=(3, 3)), RNG.normal(size=3)


def recurrent(w, x, h):
    s = 0.0
    for t in range(x.shape[0]):
        h = np.tanh(w @ h + x[t])
        if h[0] > 0.0:
            s += np.sum(h * h)
        for _ in range(2):
            h = h + 0.1 * np.sin(w @ h)
    return s


def filled(w, x, h):
    s = 0.0
    for t in range(x.shape[0]):
        y = np.empty(3)
        for i in range(3):
            y[i] = h[i] * x[t, i]
        y[1] *= y[0]
        z = np.sin(y * y)
        y[2] = z[0] * y[1]
        s += np.sum(y * z) * np.sum(w[t % 3] * y)
    return s


def while_loop(w, x, h):
    n, s = 0, 0.0
    while n < 3:
        h = np.tanh(w @ h) * 1.5
        s += h[0] * h[1] * x[n, 0]
        n += 1
    return s


def difference(f, arguments, directions, step=1e-5):
    def gradient(t):
        moved = tuple(a + t * d for a, d in zip(arguments, directions, strict=True))
        return running.value_and_grad(f, (0, 1, 2), moved)[1]

    return [(a - b) / (2 * step) for a, b in zip(gradient(step), gradient(-step), strict=True)]


@pytest.mark.parametrize("f", [recurrent, filled, while_loop], ids=lambda f: f.__name__)
def test_forward_over_reverse(f):
    arguments = (W, X, V)
    directions = tuple(RNG.normal(size=a.shape) for a in arguments)
    expected = difference(f, arguments, directions)
    for got, right in zip(running.hvp(f, (0, 1, 2), arguments, directions), expected, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("f", [recurrent, while_loop], ids=lambda f: f.__name__)
def test_reverse_over_reverse(f):
    arguments = (W, X, V)
    directions = tuple(RNG.normal(size=a.shape) for a in arguments)
    expected = running.hvp(f, (0, 1, 2), arguments, directions)
    for got, right in zip(running.grad_grad(f, (0, 1, 2), arguments, directions), expected, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-11, atol=1e-13)


def test_third_order():
    arguments = (W, X, V)
    directions = tuple(RNG.normal(size=a.shape) for a in arguments)

    def second(t):
        moved = tuple(a + t * d for a, d in zip(arguments, directions, strict=True))
        products = running.hvp(recurrent, (0, 1, 2), moved, directions)
        return sum(np.sum(p * d) for p, d in zip(products, directions, strict=True))

    from derivable.autodiff.derivative import derivative

    made = derivative(recurrent, "grad", (0, 1, 2))
    for _ in range(2):
        made = derivative(made, "jvp", (0, 1, 2))
    _, (_, third) = running.program(made, (*arguments, *directions))(*arguments, *directions, *directions)
    total = sum(np.sum(p * d) for p, d in zip(third, directions, strict=True))
    np.testing.assert_allclose(total, (second(1e-5) - second(-1e-5)) / 2e-5, rtol=1e-6)


def test_reverse_over_reverse_of_changing_arrays_is_refused():
    arguments = (W, X, V)
    with pytest.raises(dv.DerivativeError, match="use forward mode for the outer derivative"):
        running.grad_grad(filled, (0, 1, 2), arguments, arguments)


def test_lists_stay_refused():
    @njit
    def f(x):
        items = []
        items.append(x)
        return items.pop()

    with pytest.raises(dv.DerivativeError, match="lists are not supported"):
        dv.grad(f)(1.0)


@pytest.mark.slow
def test_compiled():
    f = njit(recurrent)
    directions = tuple(RNG.normal(size=a.shape) for a in (W, X, V))
    got = dv.hvp(f, (W, X, V), (directions[0], None, None))
    np.testing.assert_allclose(
        got, running.hvp(recurrent, (0,), (W, X, V), (directions[0],))[0], rtol=1e-11, atol=1e-13
    )


def test_an_argument_that_stays_but_whose_name_moves():
    def f(x, h):
        for _ in range(3):
            h = h * x
        return h

    value, tangent = running.jvp(f, (0,), (np.array([2.0, 3.0]), np.array([1.0, 1.0])), (np.array([1.0, 0.0]),))
    np.testing.assert_allclose(value, [8.0, 27.0])
    np.testing.assert_allclose(tangent, [12.0, 0.0])
