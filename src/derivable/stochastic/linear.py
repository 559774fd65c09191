r"""The steps of SGD on a linear model, in which no gradient is written down and no inner product is waited for.

The gradient of a loss of $\langle x, w\rangle$ is a number, the slope $s$, times the row $x$. So a step from $w$
along the row $x$ needs only $s$, and the next row's product is known before the step is done:

$$\langle x', w - \eta s x\rangle = \langle x', w\rangle - \eta s \langle x', x\rangle .$$

Both products on the right do not wait for $s$, an exponential in the logistic case: the processor works on them
meanwhile. The update itself is put off until the next row's products are formed, and done in the same pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.jit import kernel
from derivable.stochastic.components import prefetch
from derivable.stochastic.schedules import step_size

__all__ = ["AHEAD", "CACHED", "first_product", "linear_steps", "write_gradient"]

AHEAD = 8  # rows between the one worked on and the one asked for from memory
# Bytes of data up to which rows taken in order are not asked for. In a near cache asking only costs, a seventh of a
# step on rows of 50; from memory the processor fetches ahead by itself, but no further than to the end of a page.
CACHED = 2**21


# The step is rounded as it is written, wherever it is done: no point depends on where a stretch of steps ends.
@kernel(forceinline=True)
def moved(u: float, g: float, x: float) -> float:
    """Return a parameter after a step."""
    return u - g * x


@kernel(forceinline=True)
def moved_with_decay(u: float, eta: float, s: float, x: float, decay: float) -> float:
    """Return a parameter after a step with weight decay."""
    return u - eta * (s * x + decay * u)


# The products may be summed in any order, which lets the compiler use vector registers, and a product and a sum may be
# rounded once: a tenth of a step's time each.
@kernel(fastmath={"reassoc", "contract"}, forceinline=True)
def step_and_products(u: np.ndarray, X: np.ndarray, g: float, h: int, i: int, k: int) -> tuple[float, float]:
    """Step by g along row h; return the products of row k with the point reached, and with row i. One pass does it."""
    d = X.shape[1]
    a = X.dtype.type(0.0)
    b = X.dtype.type(0.0)
    for j in range(d):
        v = moved(u[j], g, X[h, j])
        u[j] = v
        a += X[k, j] * v
        b += X[k, j] * X[i, j]
    if u.size > d:  # the last entry of a longer point is the intercept
        u[d] -= g
        a += u[d]
        b += X.dtype.type(1.0)
    return a, b


@kernel(fastmath={"reassoc", "contract"}, forceinline=True)
def decayed_step_and_products(
    u: np.ndarray, X: np.ndarray, eta: float, s: float, decay: np.ndarray, h: int, i: int, k: int
) -> tuple[float, float, float]:
    """Do the same with weight decay; the third product is that of row k with the decay at the point reached."""
    d = X.shape[1]
    a = X.dtype.type(0.0)
    b = X.dtype.type(0.0)
    c = X.dtype.type(0.0)
    for j in range(d):
        v = moved_with_decay(u[j], eta, s, X[h, j], decay[j])
        u[j] = v
        a += X[k, j] * v
        b += X[k, j] * X[i, j]
        c += X[k, j] * (decay[j] * v)
    if u.size > d:
        u[d] = moved_with_decay(u[d], eta, s, X.dtype.type(1.0), decay[d])
        a += u[d]
        b += X.dtype.type(1.0)
        c += decay[d] * u[d]
    return a, b, c


@kernel
def first_product(u: np.ndarray, data: Any, i: int) -> float:
    """Return the product of row i with the point."""
    a, _ = step_and_products(u, data[0], u.dtype.type(0.0), i, i, i)
    return float(a)


@kernel
def write_gradient(slope: Any, data: Any, i: int, z: float, h: np.ndarray) -> None:
    """Write the gradient on row i, whose product with the point is z."""
    X, y = data
    s = h.dtype.type(slope(z, np.float64(y[i])))
    for j in range(X.shape[1]):
        h[j] = s * X[i, j]
    if h.size > X.shape[1]:
        h[X.shape[1]] = s


@kernel
def linear_steps(
    slope: Any,
    u: np.ndarray,
    data: Any,
    order: np.ndarray,
    ahead: bool,
    i: int,
    z: float,
    start: int,
    stop: int,
    t: int,
    sizes: Any,
    table: np.ndarray,
    decay: np.ndarray,
) -> tuple[int, float]:
    """Take steps t, t + 1, ...; the points that they lead to have the rows order[start:stop].

    On entry the point has row i, and z is its product with the point; the same is returned for the last point.
    """
    X, y = data
    d = X.shape[1]
    number = u.dtype.type
    eta = number(sizes.a)
    fixed = sizes.kind == 0 and sizes.warmup == 0
    h, s, g, before = i, number(0.0), number(0.0), number(0.0)  # the step that is still to be done, along row h
    for q in range(start, stop):
        k = int(order[q])
        if ahead and q + AHEAD < order.size:
            prefetch(data, order[q + AHEAD])
        if not fixed:
            eta = number(step_size(sizes.kind, sizes.a, sizes.b, sizes.c, sizes.warmup, table, t + q - start))
        if decay.size == 0:
            a, b = step_and_products(u, X, g, h, i, k)
            g = eta * number(slope(z, np.float64(y[i])))
            z = np.float64(a) - np.float64(g) * np.float64(b)
        else:
            a, b, c = decayed_step_and_products(u, X, before, s, decay, h, i, k)
            s = number(slope(z, np.float64(y[i])))
            z = np.float64(a) - np.float64(eta) * (np.float64(s) * np.float64(b) + np.float64(c))
            before = eta
        h, i = i, k
    if decay.size == 0:
        for j in range(d):
            u[j] = moved(u[j], g, X[h, j])
        if u.size > d:
            u[d] -= g
    else:
        for j in range(d):
            u[j] = moved_with_decay(u[j], before, s, X[h, j], decay[j])
        if u.size > d:
            u[d] = moved_with_decay(u[d], before, s, number(1.0), decay[d])
    return i, z
