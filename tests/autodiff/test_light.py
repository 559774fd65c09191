"""Element-wise work on arrays of three and four axes, written in one row: the same numbers, from lighter programs."""

import numpy as np
import pytest
from numba import njit

import derivable as dv
from autodiff import running
from derivable.autodiff.derivative import derivative
from derivable.autodiff.rules.kernels import accumulate, add_outer, wide

RNG = np.random.default_rng(5)


def activated(x, y):
    h = np.tanh(x) * x
    return np.sum(np.maximum(h, 0.2) / (1.0 + y * y) + np.where(y > 0.1, h * np.sqrt(np.abs(y)), x - y) ** 2)


def gathered(x, y):
    total = np.zeros(x.shape, x.dtype)
    for _ in range(2):
        total += x * y
        total -= y
        total += 2.0
    return np.sum(np.exp(0.1 * total) * total)


def carried(x, y):
    h, total = x * 0.5, np.zeros((x + y).shape)
    for _ in range(2):
        total += (1.5 + x) * (y - h)
        h = np.maximum(0.3, h / (1.5 + h * h)) + 0.0 * x
    return np.sum(total * x) + np.sum(total * total)


CASES = {
    "same shape": ((2, 3, 2, 2), (2, 3, 2, 2)),
    "broadcast": ((2, 3, 2, 2), (3, 1, 2)),
    "both broadcast": ((2, 1, 4), (3, 1)),
    "three axes": ((2, 3, 4), (2, 3, 4)),
    "without elements": ((2, 0, 3), (2, 0, 3)),
    "without elements, broadcast": ((2, 0, 3), (1, 3)),
}


def arrays(case):
    return tuple(RNG.normal(size=shape) for shape in CASES[case])


def slope(f, args, directions, step=1e-6):
    """Return the slope along directions, by central differences."""
    there, back = ([a + s * d for a, d in zip(args, directions, strict=True)] for s in (step, -step))
    return (f(*there) - f(*back)) / (2 * step)


PAIRS = [(carried, "same shape"), (carried, "both broadcast")]
PAIRS += [(f, case) for f in (activated, gathered) for case in CASES if (f, case) != (gathered, "both broadcast")]


@pytest.mark.parametrize(("f", "case"), PAIRS)
def test_all_modes_agree_with_differences(f, case):
    args, directions = arrays(case), arrays(case)
    value, gradient = running.value_and_grad(f, (0, 1), args)
    expected = slope(f, args, directions)
    assert value == pytest.approx(f(*args), rel=1e-13, abs=0)
    assert [g.shape for g in gradient] == [a.shape for a in args]
    assert sum(np.sum(g * d) for g, d in zip(gradient, directions, strict=True)) == pytest.approx(expected, rel=1e-6)
    assert running.jvp(f, (0, 1), args, directions)[1] == pytest.approx(expected, rel=1e-6)
    once, again = (mode(f, (0, 1), args, directions) for mode in (running.hvp, running.grad_grad))
    for a, b in zip(once, again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_what_the_programs_say():
    """Two arrays are combined in one row; three axes and more take no `+=` of arrays."""
    x, y = arrays("same shape")
    running.value_and_grad(activated, (0, 1), (x, y))
    running.value_and_grad(gathered, (0, 1), (x, y))
    source = derivative(activated, "value_and_grad", (0, 1)).source
    assert "h = (tanh_x.ravel() * x.ravel()).reshape(tanh_x.shape)" in source
    assert "pick(h.ravel() > 0.2, " in source
    assert "accumulate(total, product)" in derivative(gathered, "value_and_grad", (0, 1)).source
    running.value_and_grad(activated, (0, 1), (x[0, 0], y[0, 0]))
    assert "ravel" not in derivative(activated, "value_and_grad", (0, 1)).source


def rectified(x):
    return np.sum(dv.relu(x) * x)


def test_a_compiled_gradient_of_strided_arrays():
    x = RNG.normal(size=(2, 3, 4, 3)).astype(np.float32)
    gradient = dv.grad(njit(rectified))
    for part in (x, x[:, ::-1], x[:, :, ::2], x[:, :0]):
        got = gradient(part)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, np.where(part > 0, 2 * part, 0), rtol=1e-6)
    assert "pick(x.ravel() > 0, relu_x_bar.ravel(), " in gradient.source


def test_picks_of_float32_stay_float32():
    x = RNG.normal(size=(2, 3, 4)).astype(np.float32)
    running.value_and_grad(rectified, (0,), (x,))
    assert "np.float32(0.0)" in derivative(rectified, "value_and_grad", (0,)).source


def test_accumulate_and_wide_are_what_numpy_does():
    x = RNG.normal(size=(2, 3, 4))
    strided = np.repeat(x, 2, axis=1)[:, ::2]
    for total, more in ((x.copy(), x[0, :1]), (x.copy(), np.float64(2.5)), (strided, x[:, ::-1]), (strided[:0], x[:1])):
        expected = total + more
        accumulate(total, more)
        np.testing.assert_array_equal(total, expected)
    for part in (x, x[1], x[:1, :, :1], x[::-1], x > 0):
        np.testing.assert_array_equal(wide(part, x.shape), np.broadcast_to(part, x.shape).ravel())
    with pytest.raises(ValueError, match="cannot be broadcast"):
        wide(x[:, :2], x.shape)
    with pytest.raises(ValueError, match="cannot be broadcast"):
        wide(x, (3, 4))


def test_add_outer_is_what_numpy_does():
    total, x, y = RNG.normal(size=(3, 2)), RNG.normal(size=3), RNG.normal(size=2)
    expected = total + np.outer(x, y)
    add_outer(total, x, y)
    np.testing.assert_allclose(total, expected, rtol=1e-15)
    with pytest.raises(ValueError, match="another shape"):
        add_outer(total, y, x)
