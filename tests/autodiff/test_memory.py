"""Cotangents do not share memory where one of them is changed in place, and no gradients share it."""

import numpy as np
import pytest

import derivable as dv
from derivable.autodiff.kinds import Kind


def sums(x, y):
    w = x * x
    z = x + y  # the cotangents of x and y are that of z; that of x grows later
    return np.sum(z * w)


def differences(x, y):
    w = y * y * x
    z = x - y
    return np.sum(z * w) + np.sum(z)


def chains(x, y):
    u = x + 1.0
    v = u + y
    w = u * y + v
    return np.sum(w * v) + np.sum(u)


def loops(x, y):
    for _ in range(3):
        w = x * y
        x = x + y
        y = y + w
    return np.sum(x * y)


def taken(x, y):
    z = x.copy()
    z[0] = y[1]
    w = z + y
    return np.sum(w * x) + z[1]


@pytest.mark.parametrize("program", [sums, differences, chains, loops, taken], ids=lambda f: f.__name__)
def test_cotangents_that_could_share_memory(program):
    x, y = np.array([0.3, 0.9]), np.array([1.1, -0.4])
    kinds = (Kind("f8", 1),) * 2
    both = dv.grad(program, (0, 1)).maker.function_for(kinds, plain=True)
    got = both(x, y)
    assert not np.shares_memory(*got)
    assert not any(np.shares_memory(g, a) for g in got for a in (x, y))
    for k, g in enumerate(got):
        np.testing.assert_allclose(
            g, dv.numerical_gradient(lambda v, k=k: program(*((v, y), (x, v))[k]), (x, y)[k]), rtol=1e-7
        )
        alone = dv.grad(program, k).maker.function_for(kinds, plain=True)
        np.testing.assert_allclose(alone(x, y), g, rtol=1e-14)
