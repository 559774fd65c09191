"""The steps of SGD on a linear model, in which no gradient is written down.

The gradient of a loss of <x, w> is a number, the slope, times the row x. A step then needs two passes over the row, one
for the inner product and one for the update. A gradient that carries its slope (those of `derivable.losses` do) is
stepped along in this way wherever nothing else has to see it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.jit import kernel
from derivable.stochastic.components import prefetch
from derivable.stochastic.schedules import step_size

__all__ = ["linear_steps", "row_product"]

AHEAD = 8  # rows between the one worked on and the one asked for from memory


# The products may be summed in any order, which lets the compiler use vector registers.
@kernel(fastmath={"reassoc"}, forceinline=True)
def row_product(w: np.ndarray, X: np.ndarray, i: int) -> float:
    """Return the model's output for row i; the last entry of a longer w is the intercept."""
    d = X.shape[1]
    z = X.dtype.type(0.0)
    for j in range(d):
        z += X[i, j] * w[j]
    return z + w[d] if w.size > d else z


@kernel
def linear_steps(
    slope: Any,
    u: np.ndarray,
    data: Any,
    order: np.ndarray,
    ahead: bool,
    start: int,
    stop: int,
    t: int,
    sizes: Any,
    table: np.ndarray,
    decay: np.ndarray,
) -> None:
    """Take a plain step along each of the rows order[start:stop]; the first of them is step t."""
    X, y = data
    d = X.shape[1]
    size = u.dtype.type(sizes.a)
    fixed = sizes.kind == 0 and sizes.warmup == 0
    for k in range(start, stop):
        i = np.int64(order[k])
        if ahead and k + AHEAD < order.size:
            prefetch(data, order[k + AHEAD])
        if not fixed:
            size = u.dtype.type(step_size(sizes.kind, sizes.a, sizes.b, sizes.c, sizes.warmup, table, t + k - start))
        s = u.dtype.type(slope(np.float64(row_product(u, X, i)), np.float64(y[i])))
        if decay.size > 0:
            for j in range(d):
                u[j] -= size * (s * X[i, j] + u.dtype.type(decay[j]) * u[j])
            if u.size > d:
                u[d] -= size * (s + u.dtype.type(decay[d]) * u[d])
        else:
            for j in range(d):
                u[j] -= size * (s * X[i, j])
            if u.size > d:
                u[d] -= size * s
