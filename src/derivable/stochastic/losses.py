r"""Losses of a linear model on one row of data, with their gradients, ready for [`sgd`][derivable.sgd].

The model is $z = \langle x, \beta\rangle$ for a `w` of as many entries as the row `x`, and $z = \langle x,
\beta\rangle + b$ for a `w` of one entry more: the last is then the intercept $b$.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from derivable.descent.functions import InPlace
from derivable.jit import kernel

__all__ = ["Loss", "hinge", "logistic", "squared"]

# The inner products may be summed in any order, which lets the compiler use vector registers.
SUMS = {"reassoc"}


class LinearGradient(InPlace):
    """An in-place gradient that also carries its slope, and knows which labels it takes.

    Attributes:
        slope: `slope(z, y)`, the derivative of the loss by the model's output, compiled.
        labels: the allowed values of y; empty for any.
    """

    def __init__(self, into: Callable[..., Any], slope: Callable[..., Any], labels: tuple[float, ...] = ()):
        super().__init__(into)
        self.slope, self.labels = slope, labels

    def check(self, data: tuple[np.ndarray, ...], w: Any, name: str = "data") -> None:
        """Raise ValueError if `data` are not rows and their labels, or `w` does not fit the rows."""
        if len(data) != 2 or data[0].ndim != 2 or data[1].ndim != 1:
            raise ValueError(f"{name} must be (X, y), got arrays of {[x.ndim for x in data]} dimension(s)")
        if any(x.dtype.kind == "c" for x in data):
            raise TypeError(f"{name} must hold real numbers, got dtypes {[str(x.dtype) for x in data]}")
        d = data[0].shape[1]
        if not isinstance(w, np.ndarray) or w.shape not in ((d,), (d + 1,)):
            got = f"the shape {w.shape}" if isinstance(w, np.ndarray) else type(w).__name__
            raise ValueError(
                f"w0 must be an array of {d} numbers, one for each column of {name}[0], or of {d + 1} with the "
                f"intercept, got {got}"
            )
        y = data[1]
        known = np.logical_or.reduce([y == label for label in self.labels]) if self.labels else np.True_
        if not known.all() and not np.isnan(y).any():
            raise ValueError(f"{name}[1] must hold the labels +1 and -1, got {np.unique(y)[:5]}")


@dataclass(frozen=True, eq=False)
class Loss:
    """A loss of a linear model.

    Attributes:
        name: what it is called.
        value: `value(w, x, y)`, the loss on one row, compiled.
        gradient: its gradient by `w`, in place, compiled.
        batch_value: `batch_value(w, X, y)`, the mean of the losses on the rows of a batch, compiled.
        batch_gradient: its gradient, in place, compiled.
        curvature: the largest second derivative of the loss by $z$; None if there is none.
    """

    name: str
    value: Callable[..., Any]
    gradient: Callable[..., Any]
    batch_value: Callable[..., Any]
    batch_gradient: Callable[..., Any]
    curvature: float | None

    def __repr__(self) -> str:
        return f"Loss({self.name})"


@kernel(fastmath=SUMS, forceinline=True)
def inner(w: np.ndarray, x: np.ndarray) -> float:
    """Return the model's output for one row."""
    d = x.size
    if w.size < d or w.size > d + 1:
        raise ValueError("w must have as many entries as a row, or one more, the intercept")
    z = x.dtype.type(0.0)
    for j in range(d):
        z += x[j] * w[j]
    return z + w[d] if w.size > d else z


@kernel
def spread(slope: float, x: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """Write the gradient of a loss whose derivative by the model's output is `slope`."""
    d = x.size
    s = out.dtype.type(slope)
    for j in range(d):
        out[j] = s * x[j]
    if w.size > d:
        out[d] = s


@kernel(forceinline=True)
def logistic_slope(z: float, y: float) -> float:
    """Return the derivative of log(1 + exp(-y z)) by z."""
    return -float(y) / (1 + np.exp(y * z))  # float: the negative of an unsigned label would wrap around


@kernel
def logistic_value(w: np.ndarray, x: np.ndarray, y: float) -> float:
    """Return log(1 + exp(-y z)), without overflow."""
    m = -float(y) * inner(w, x)
    return max(m, 0.0) + np.log1p(np.exp(-abs(m)))


@kernel
def logistic_gradient(w: np.ndarray, x: np.ndarray, y: float, out: np.ndarray) -> None:
    """Write the gradient of the logistic loss."""
    spread(logistic_slope(inner(w, x), y), x, w, out)


@kernel
def hinge_value(w: np.ndarray, x: np.ndarray, y: float) -> float:
    """Return max(0, 1 - y z)."""
    return max(0.0, 1 - y * inner(w, x))


@kernel
def hinge_slope(z: float, y: float) -> float:
    """Return a subderivative of max(0, 1 - y z): 0 where y z > 1, and -y elsewhere, the kink included."""
    return -float(y) if y * z <= 1 else 0.0


@kernel
def hinge_gradient(w: np.ndarray, x: np.ndarray, y: float, out: np.ndarray) -> None:
    """Write a subgradient of the hinge loss."""
    spread(hinge_slope(inner(w, x), y), x, w, out)


@kernel
def squared_value(w: np.ndarray, x: np.ndarray, y: float) -> float:
    """Return (z - y)^2 / 2."""
    return (inner(w, x) - y) ** 2 / 2


@kernel
def squared_slope(z: float, y: float) -> float:
    """Return the derivative of (z - y)^2 / 2 by z."""
    return z - y


@kernel
def squared_gradient(w: np.ndarray, x: np.ndarray, y: float, out: np.ndarray) -> None:
    """Write the gradient of the squared loss."""
    spread(squared_slope(inner(w, x), y), x, w, out)


@kernel
def logistic_batch_value(w: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    """Return the mean logistic loss of a batch."""
    total = 0.0
    for i in range(X.shape[0]):
        total += logistic_value(w, X[i], y[i])
    return total / X.shape[0]


@kernel
def hinge_batch_value(w: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    """Return the mean hinge loss of a batch."""
    total = 0.0
    for i in range(X.shape[0]):
        total += hinge_value(w, X[i], y[i])
    return total / X.shape[0]


@kernel
def squared_batch_value(w: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    """Return the mean squared loss of a batch."""
    total = 0.0
    for i in range(X.shape[0]):
        total += squared_value(w, X[i], y[i])
    return total / X.shape[0]


@kernel
def add_row(slope: float, x: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """Add one row's part to a batch's gradient."""
    d = x.size
    s = out.dtype.type(slope)
    for j in range(d):
        out[j] += s * x[j]
    if w.size > d:
        out[d] += s


@kernel
def logistic_batch_gradient(w: np.ndarray, X: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Write the mean of the logistic losses' gradients."""
    out[:] = 0
    for i in range(X.shape[0]):
        add_row(logistic_slope(inner(w, X[i]), y[i]) / X.shape[0], X[i], w, out)


@kernel
def hinge_batch_gradient(w: np.ndarray, X: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Write the mean of the hinge losses' subgradients."""
    out[:] = 0
    for i in range(X.shape[0]):
        if y[i] * inner(w, X[i]) <= 1:
            add_row(-float(y[i]) / X.shape[0], X[i], w, out)


@kernel
def squared_batch_gradient(w: np.ndarray, X: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Write the mean of the squared losses' gradients."""
    out[:] = 0
    for i in range(X.shape[0]):
        add_row((inner(w, X[i]) - y[i]) / X.shape[0], X[i], w, out)


SIGNS = (-1.0, 1.0)

# log(1 + exp(-y z)) for labels y = +1 and -1.
logistic = Loss(
    "logistic",
    logistic_value,
    LinearGradient(logistic_gradient, logistic_slope, SIGNS),
    logistic_batch_value,
    LinearGradient(logistic_batch_gradient, logistic_slope, SIGNS),
    0.25,
)
# max(0, 1 - y z) for labels y = +1 and -1.
hinge = Loss(
    "hinge",
    hinge_value,
    LinearGradient(hinge_gradient, hinge_slope, SIGNS),
    hinge_batch_value,
    LinearGradient(hinge_batch_gradient, hinge_slope, SIGNS),
    None,
)
# (z - y)^2 / 2.
squared = Loss(
    "squared",
    squared_value,
    LinearGradient(squared_gradient, squared_slope),
    squared_batch_value,
    LinearGradient(squared_batch_gradient, squared_slope),
    1.0,
)
