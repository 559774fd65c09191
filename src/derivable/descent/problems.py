"""Objective functions with their compiled gradients and the constants that the theorems ask for.

A problem bundles what a descent loop takes (`gradient`, `value`, `args`) with what a chapter compares a run
with: the smoothness L, the strong convexity mu, and the minimiser where it is known in closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from derivable.descent.functions import InPlace
from derivable.jit import kernel
from derivable.validation import as_array, check_count, check_finite, check_number

__all__ = ["Problem", "least_squares", "logistic", "quadratic", "rosenbrock"]


# The inner products may be summed in any order, which lets the compiler use vector registers: three to four times
# as fast on rows of 100. NaN and infinities keep their meaning.
SUMS = {"reassoc"}


@dataclass(frozen=True, eq=False)
class Problem:
    r"""A function to minimise, ready for a descent loop.

    Use it as `dv.gradient_descent(p.gradient, p.w0, 1 / p.L, steps, p.args, value=p.value)`.

    Attributes:
        value: `value(w, *args)`, compiled.
        gradient: its gradient, in place, compiled.
        args: the data of both.
        w0: a start.
        L: the smallest known constant with $\|\nabla f(u) - \nabla f(v)\| \le L \|u - v\|$; None if there is
            none.
        mu: the largest known constant of strong convexity, 0 for a function that is just convex; None if it
            is not convex.
        w_star: a minimiser, where there is a closed form.
        f_star: the lowest value, where there is a closed form.
    """

    value: Callable[..., Any]
    gradient: Callable[..., Any]
    args: tuple[Any, ...]
    w0: np.ndarray
    L: float | None = None
    mu: float | None = None
    w_star: np.ndarray | None = None
    f_star: float | None = None


@kernel
def quadratic_value(w: np.ndarray, A: np.ndarray, b: np.ndarray) -> float:
    """Return <w, A w> / 2 - <b, w>."""
    total = 0.0
    for i in range(w.size):
        s = 0.0
        for j in range(w.size):
            s += A[i, j] * w[j]
        total += w[i] * (s / 2 - b[i])
    return total


@kernel
def quadratic_gradient(w: np.ndarray, A: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Write A w - b for a symmetric A."""
    for i in range(w.size):
        out[i] = -b[i]
    for j in range(w.size):  # A is symmetric: go along its rows, so that the inner loop runs over neighbours
        for i in range(w.size):
            out[i] += A[j, i] * w[j]


def quadratic(A: Any, b: Any = None) -> Problem:
    r"""Return $f(w) = \frac12 w^\top A w - b^\top w$ with a symmetric positive semidefinite $A$.

    Args:
        A: a symmetric matrix (n, n).
        b: a vector (n,); zeros by default.

    Returns:
        The problem; `w_star` solves $A w = b$ (the shortest solution, if $A$ is singular).

    Raises:
        ValueError: if `A` is not square, symmetric and positive semidefinite, or if no minimiser exists.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.quadratic([[1.0, 0.0], [0.0, 10.0]], [1.0, 10.0])
        print(p.L, p.mu, p.w_star)
        #> 10.0 1.0 [1. 1.]
        ```
    """
    A = np.ascontiguousarray(as_array(A, "A", kinds="iuf", ndim=2), dtype=np.float64)
    if A.shape[0] != A.shape[1]:
        raise ValueError(f"A must be square, got shape {A.shape}")
    check_finite(A, "A")
    b = np.zeros(len(A)) if b is None else np.ascontiguousarray(as_array(b, "b", kinds="iuf", ndim=1), np.float64)
    if b.shape != (len(A),):
        raise ValueError(f"b must have {len(A)} entries, got {b.size}")
    check_finite(b, "b")
    if not np.allclose(A, A.T, rtol=1e-12, atol=0):
        raise ValueError("A must be symmetric")
    eigenvalues = np.linalg.eigvalsh(A)
    L = float(eigenvalues[-1])
    if eigenvalues[0] < -1e-12 * abs(L):
        raise ValueError(f"A must be positive semidefinite, got the eigenvalue {eigenvalues[0]}")
    w_star = np.linalg.lstsq(A, b)[0]
    if np.linalg.norm(A @ w_star - b) > 1e-9 * max(float(np.linalg.norm(b)), 1e-300):
        raise ValueError("b must lie in the range of A: the function has no minimiser")
    return Problem(
        quadratic_value,
        InPlace(quadratic_gradient),
        (A, b),
        np.zeros(len(A)),
        L=L,
        mu=max(float(eigenvalues[0]), 0.0),
        w_star=w_star,
        f_star=float(-b @ w_star / 2),
    )


@kernel(fastmath=SUMS)
def least_squares_value(w: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    """Return the mean of (<x_i, w> - y_i)^2 / 2."""
    total = 0.0
    for i in range(X.shape[0]):
        s = -y[i]
        for j in range(X.shape[1]):
            s += X[i, j] * w[j]
        total += s * s
    return total / (2 * X.shape[0])


@kernel(fastmath=SUMS)
def least_squares_gradient(w: np.ndarray, X: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Write X^T (X w - y) / n, row by row: X is read once, where two matrix products read it twice."""
    n, d = X.shape
    for j in range(d):
        out[j] = 0.0
    for i in range(n):
        s = -y[i]
        for j in range(d):
            s += X[i, j] * w[j]
        s /= n
        for j in range(d):
            out[j] += s * X[i, j]


def least_squares(X: Any, y: Any) -> Problem:
    r"""Return $f(w) = \frac{1}{2n} \|X w - y\|^2$.

    Args:
        X: the features (n, d).
        y: the targets (n,).

    Returns:
        The problem; `w_star` is the shortest minimiser.

    Raises:
        ValueError: if the shapes disagree or something is not finite.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.least_squares([[1.0, 0.0], [0.0, 2.0]], [3.0, 4.0])
        print(p.L, p.w_star, p.f_star)
        #> 2.0 [3. 2.] 0.0
        ```
    """
    X, y = _data(X, y)
    w_star, _, _, singular = np.linalg.lstsq(X, y)
    n, d = X.shape
    return Problem(
        least_squares_value,
        InPlace(least_squares_gradient),
        (X, y),
        np.zeros(d),
        L=float(singular[0] ** 2 / n),
        mu=float(singular[-1] ** 2 / n) if n >= d else 0.0,
        w_star=w_star,
        f_star=float(np.sum((X @ w_star - y) ** 2) / (2 * n)),
    )


@kernel(fastmath=SUMS)
def logistic_value(w: np.ndarray, X: np.ndarray, y: np.ndarray, C: float) -> float:
    """Return C sum_i log(1 + exp(-y_i z_i)) + |weights|^2 / 2, where z = X weights + the last entry of w."""
    d = X.shape[1]
    total = 0.0
    for i in range(X.shape[0]):
        z = w[d]
        for j in range(d):
            z += X[i, j] * w[j]
        m = -y[i] * z
        total += max(m, 0.0) + np.log1p(np.exp(-abs(m)))  # stable for any m
    squares = 0.0
    for j in range(d):
        squares += w[j] ** 2
    return C * total + squares / 2


@kernel(fastmath=SUMS)
def logistic_gradient(w: np.ndarray, X: np.ndarray, y: np.ndarray, C: float, out: np.ndarray) -> None:
    """Write the gradient of `logistic_value`."""
    d = X.shape[1]
    for j in range(d):
        out[j] = w[j]
    out[d] = 0.0
    for i in range(X.shape[0]):
        z = w[d]
        for j in range(d):
            z += X[i, j] * w[j]
        slope = -C * y[i] / (1 + np.exp(y[i] * z))
        for j in range(d):
            out[j] += slope * X[i, j]
        out[d] += slope


def logistic(X: Any, y: Any, C: float = 1.0) -> Problem:
    r"""Return the objective of logistic regression with an intercept, as scikit-learn's `LogisticRegression`.

    With $w = (\beta, b)$ it is $C \sum_i \log(1 + e^{-y_i (x_i^\top \beta + b)}) + \frac12 \|\beta\|^2$: the
    intercept, the last entry of $w$, is not penalised.

    Args:
        X: the features (n, d).
        y: the labels (n,), each +1 or -1, or each 1 or 0.
        C: the weight of the data.

    Returns:
        The problem, of d + 1 variables. `L` is $1 + \frac{C}{4} \lambda_{\max}(\tilde X^\top \tilde X)$, with
        a column of ones in $\tilde X$. There is no closed form of the minimiser.

    Raises:
        ValueError: if the shapes disagree, something is not finite, or `y` has other labels.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.logistic([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
        run = dv.gradient_descent(p.gradient, p.w0, 1 / p.L, 10_000, p.args, value=p.value, tol=1e-9)
        print(run.converged, run.last.round(4))
        #> True [ 0.4529 -0.6793]
        ```
    """
    X, y = _data(X, y)
    C = check_number(C, "C")
    if C <= 0:
        raise ValueError(f"C must be greater than 0, got {C}")
    labels = np.unique(y)
    if not (np.isin(labels, (0, 1)).all() or np.isin(labels, (-1, 1)).all()):
        raise ValueError(f"y must hold the labels +1 and -1, or 1 and 0, got {labels[:5]}")
    y = np.where(y > 0, 1.0, -1.0)
    with_ones = np.column_stack([X, np.ones(len(X))])
    L = 1 + C * float(np.linalg.norm(with_ones, 2) ** 2) / 4
    return Problem(logistic_value, InPlace(logistic_gradient), (X, y, C), np.zeros(X.shape[1] + 1), L=L, mu=0.0)


def _data(X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    X = np.ascontiguousarray(as_array(X, "X", kinds="biuf", ndim=2), dtype=np.float64)
    y = np.ascontiguousarray(as_array(y, "y", kinds="biuf", ndim=1), dtype=np.float64)
    if len(X) != len(y):
        raise ValueError(f"y must have one entry for each of the {len(X)} rows of X, got {len(y)}")
    check_finite(X, "X")
    check_finite(y, "y")
    return X, y


@kernel
def rosenbrock_value(w: np.ndarray) -> float:
    """Return the sum of 100 (w_{i+1} - w_i^2)^2 + (1 - w_i)^2."""
    total = 0.0
    for i in range(w.size - 1):
        total += 100 * (w[i + 1] - w[i] ** 2) ** 2 + (1 - w[i]) ** 2
    return total


@kernel
def rosenbrock_gradient(w: np.ndarray, out: np.ndarray) -> None:
    """Write the gradient of `rosenbrock_value`."""
    n = w.size
    for i in range(n - 1):
        out[i] = -400 * w[i] * (w[i + 1] - w[i] ** 2) - 2 * (1 - w[i])
    out[n - 1] = 0.0
    for i in range(1, n):
        out[i] += 200 * (w[i] - w[i - 1] ** 2)


def rosenbrock(n: int = 2) -> Problem:
    r"""Return Rosenbrock's valley, $\sum_i 100 (w_{i+1} - w_i^2)^2 + (1 - w_i)^2$: smooth, not convex.

    Args:
        n: the number of variables, at least 2.

    Returns:
        The problem, with the minimiser $(1, ..., 1)$ and the usual start $(-1.2, 1, -1.2, 1, ...)$.

    Raises:
        ValueError: if `n` is less than 2.

    References:
        H. H. Rosenbrock, *An automatic method for finding the greatest or least value of a function*, The
        Computer Journal 3 (1960).
    """
    n = check_count(n, "n", least=2)
    w0 = np.where(np.arange(n) % 2 == 0, -1.2, 1.0)
    return Problem(rosenbrock_value, InPlace(rosenbrock_gradient), (), w0, w_star=np.ones(n), f_star=0.0)
