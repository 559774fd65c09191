"""Objective functions with their compiled gradients and the constants that the theorems ask for.

A problem bundles what a descent loop takes (`gradient`, `value`, `args`) with what a chapter compares a run
with: the smoothness L, the strong convexity mu, the bound rho of the subgradients, and the minimiser where it is
known. Some are the functions on which a method is as slow as its theorem allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from derivable.descent import proximal as maps
from derivable.descent.functions import InPlace
from derivable.descent.proximal import Proximal
from derivable.jit import kernel
from derivable.validation import as_array, check_count, check_finite, check_number, check_positive

__all__ = [
    "Problem",
    "hinge",
    "huber",
    "lasso",
    "least_squares",
    "logistic",
    "max_affine",
    "nesterov_quadratic",
    "quadratic",
    "rosenbrock",
    "worst_smooth",
    "worst_subgradient",
]


# The inner products may be summed in any order, which lets the compiler use vector registers: three to four times
# as fast on rows of 100. NaN and infinities keep their meaning.
SUMS = {"reassoc"}

# The gradients make no arrays: Numba need not count the references to those they get, which at n = 2 takes as long as
# the gradient itself.
BARE: dict[str, Any] = {"_nrt": False}


@dataclass(frozen=True, eq=False)
class Problem:
    r"""A function to minimise, ready for a descent loop.

    Use it as `dv.gradient_descent(p.gradient, p.w0, 1 / p.L, steps, p.args, value=p.value)`.

    Attributes:
        value: `value(w, *args)`, compiled.
        gradient: its gradient (a subgradient, where it has no gradient), in place, compiled. Of a problem with
            a `proximal` it is that of the smooth part.
        args: the data of both.
        w0: a start.
        L: the smallest known constant with $\|\nabla f(u) - \nabla f(v)\| \le L \|u - v\|$; None if there is
            none.
        mu: the largest known constant of strong convexity, 0 for a function that is just convex; None if it
            is not convex.
        w_star: a minimiser, where there is a closed form.
        f_star: the lowest value, where there is a closed form.
        rho: a bound of the norms of the subgradients; None if there is none.
        proximal: the proximal map of the part that is not in `gradient`; None for most problems.
    """

    value: Callable[..., Any]
    gradient: Callable[..., Any]
    args: tuple[Any, ...]
    w0: np.ndarray
    L: float | None = None
    mu: float | None = None
    w_star: np.ndarray | None = None
    f_star: float | None = None
    rho: float | None = None
    proximal: Proximal | None = None

    @property
    def B(self) -> float | None:
        """The distance from `w0` to `w_star`."""
        return None if self.w_star is None else float(np.linalg.norm(self.w0 - self.w_star))


@kernel
def quadratic_value(w: np.ndarray, A: np.ndarray, b: np.ndarray) -> float:
    """Return <w, A w> / 2 - <b, w>."""
    if w.size != A.shape[1]:
        raise ValueError("w must have one entry for each column of A")
    total = 0.0
    for i in range(w.size):
        s = 0.0
        for j in range(w.size):
            s += A[i, j] * w[j]
        total += w[i] * (s / 2 - b[i])
    return total


@kernel(**BARE)
def quadratic_gradient(w: np.ndarray, A: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Write A w - b for a symmetric A."""
    if w.size != A.shape[1]:
        raise ValueError("w must have one entry for each column of A")
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
        ValueError: if `A` is not square, symmetric and positive semidefinite, or 0; or if no minimiser exists.

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
    if not A.any():
        raise ValueError("A must not be 0 everywhere: the function is linear, and L = 0 gives no step 1/L")
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
    if w.size != X.shape[1]:
        raise ValueError("w must have one entry for each column of X")
    total = 0.0
    for i in range(X.shape[0]):
        s = -y[i]
        for j in range(X.shape[1]):
            s += X[i, j] * w[j]
        total += s * s
    return total / (2 * X.shape[0])


@kernel(fastmath=SUMS, **BARE)
def least_squares_gradient(w: np.ndarray, X: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Write X^T (X w - y) / n, row by row: X is read once, where two matrix products read it twice."""
    n, d = X.shape
    scale = 1.0 / n
    if (
        d == 2 and w.size == 2
    ):  # the loops over two columns would cost more than what they do: the sums stay in registers
        u, v, p, q = w[0], w[1], 0.0, 0.0
        for i in range(n):
            s = X[i, 0] * u + X[i, 1] * v - y[i]
            p += s * X[i, 0]
            q += s * X[i, 1]
        out[0], out[1] = scale * p, scale * q
        return
    if w.size != d:
        raise ValueError("w must have one entry for each column of X")
    for j in range(d):
        out[j] = 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):  # four rows at a time: w and out are read once for the four
        a, b, c, e = -y[i], -y[i + 1], -y[i + 2], -y[i + 3]
        for j in range(d):
            a += X[i, j] * w[j]
            b += X[i + 1, j] * w[j]
            c += X[i + 2, j] * w[j]
            e += X[i + 3, j] * w[j]
        for j in range(d):
            out[j] += a * X[i, j] + b * X[i + 1, j] + c * X[i + 2, j] + e * X[i + 3, j]
    for i in range(whole, n):
        s = -y[i]
        for j in range(d):
            s += X[i, j] * w[j]
        for j in range(d):
            out[j] += s * X[i, j]
    for j in range(d):
        out[j] *= scale


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
    if not X.any():
        raise ValueError("X must not be 0 everywhere: the function is constant, and L = 0 gives no step 1/L")
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
    if w.size != X.shape[1] + 1:
        raise ValueError("w must have one entry for each column of X, and one for the intercept")
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


@kernel(fastmath=SUMS, **BARE)
def logistic_gradient(w: np.ndarray, X: np.ndarray, y: np.ndarray, C: float, out: np.ndarray) -> None:
    """Write the gradient of `logistic_value`."""
    if w.size != X.shape[1] + 1:
        raise ValueError("w must have one entry for each column of X, and one for the intercept")
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
    y = _signs(y)
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


def _signs(y: np.ndarray) -> np.ndarray:
    labels = np.unique(y)
    if not (np.isin(labels, (0, 1)).all() or np.isin(labels, (-1, 1)).all()):
        raise ValueError(f"y must hold the labels +1 and -1, or 1 and 0, got {labels[:5]}")
    return np.where(y > 0, 1.0, -1.0)


@kernel
def rosenbrock_value(w: np.ndarray) -> float:
    """Return the sum of 100 (w_{i+1} - w_i^2)^2 + (1 - w_i)^2."""
    total = 0.0
    for i in range(w.size - 1):
        total += 100 * (w[i + 1] - w[i] ** 2) ** 2 + (1 - w[i]) ** 2
    return total


# A product and the sum it goes into may be rounded once: one instruction for two, a twelfth of a step at n = 10.
@kernel(fastmath={"contract"}, **BARE)
def rosenbrock_gradient(w: np.ndarray, out: np.ndarray) -> None:
    """Write the gradient of `rosenbrock_value`, in one pass."""
    if w.size < 2:
        raise ValueError("w must have at least 2 entries")
    n = w.size
    before = 0.0
    for i in range(n - 1):
        rise = w[i + 1] - w[i] ** 2
        out[i] = (2 * w[i] - 2) + 200 * before - 400 * w[i] * rise
        before = rise
    out[n - 1] = 200 * before


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


# --------------------------------------------------------------------------------------------- more regression


@kernel(fastmath=SUMS)
def lasso_value(w: np.ndarray, X: np.ndarray, y: np.ndarray, weight: float) -> float:
    """Return the mean of (<x_i, w> - y_i)^2 / 2, plus weight |w|_1."""
    total = 0.0
    for j in range(w.size):
        total += abs(w[j])
    return least_squares_value(w, X, y) + weight * total


@kernel(**BARE)
def lasso_gradient(w: np.ndarray, X: np.ndarray, y: np.ndarray, weight: float, out: np.ndarray) -> None:
    """Write the gradient of the smooth part."""
    least_squares_gradient(w, X, y, out)


def lasso(X: Any, y: Any, weight: float) -> Problem:
    r"""Return the lasso, $F(w) = \frac{1}{2n} \|X w - y\|^2 + \mathrm{weight}\, \|w\|_1$, as scikit-learn's `Lasso`.

    Args:
        X: the features (n, d).
        y: the targets (n,).
        weight: of the penalty, greater than 0.

    Returns:
        The problem: `value` is the whole objective, `gradient` and `L` are those of the first term, `proximal` is soft
        thresholding. The minimiser is known where it is 0: for a weight of at least $\|X^\top y\|_\infty / n$.

    Raises:
        ValueError: if the shapes disagree, something is not finite, or `weight` is not greater than 0.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.lasso([[1.0, 0.0], [0.0, 1.0]], [3.0, 0.4], weight=0.5)
        run = dv.gradient_descent(p.gradient, p.w0, 1 / p.L, 100, p.args, value=p.value, proximal=p.proximal)
        print(run.last)
        #> [2. 0.]
        ```
    """
    X, y = _data(X, y)
    weight = check_positive(weight, "weight")
    if not X.any():
        raise ValueError("X must not be 0 everywhere")
    n, d = X.shape
    singular = np.linalg.svd(X, compute_uv=False)
    zero = bool(weight >= np.abs(X.T @ y).max() / n)
    return Problem(
        lasso_value,
        InPlace(lasso_gradient),
        (X, y, weight),
        np.zeros(d),
        L=float(singular[0] ** 2 / n),
        mu=float(singular[-1] ** 2 / n) if n >= d else 0.0,
        w_star=np.zeros(d) if zero else None,
        f_star=float(y @ y / (2 * n)) if zero else None,
        proximal=maps.l1(weight),
    )


@kernel(fastmath=SUMS)
def hinge_value(w: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    """Return the mean of max(0, 1 - y_i <x_i, w>)."""
    if w.size != X.shape[1]:
        raise ValueError("w must have one entry for each column of X")
    total = 0.0
    for i in range(X.shape[0]):
        z = 0.0
        for j in range(w.size):
            z += X[i, j] * w[j]
        total += max(0.0, 1.0 - y[i] * z)
    return total / X.shape[0]


@kernel(fastmath=SUMS, **BARE)
def hinge_subgradient(w: np.ndarray, X: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Write the mean of -y_i x_i over the rows with a margin below 1."""
    if w.size != X.shape[1]:
        raise ValueError("w must have one entry for each column of X")
    for j in range(w.size):
        out[j] = 0.0
    for i in range(X.shape[0]):
        z = 0.0
        for j in range(w.size):
            z += X[i, j] * w[j]
        if y[i] * z < 1.0:
            for j in range(w.size):
                out[j] -= y[i] * X[i, j] / X.shape[0]


def hinge(X: Any, y: Any) -> Problem:
    r"""Return the mean hinge loss, $f(w) = \frac1n \sum_i \max(0, 1 - y_i \langle x_i, w\rangle)$: convex, not smooth.

    Args:
        X: the features (n, d); append a column of ones for an intercept.
        y: the labels (n,), each +1 or -1, or each 1 or 0.

    Returns:
        The problem. `rho` is the mean of the $\|x_i\|$.

    Raises:
        ValueError: if the shapes disagree, something is not finite, or `y` has other labels.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.hinge([[3.0, 4.0], [0.0, 1.0]], [1, -1])
        print(p.rho, p.value(p.w0, *p.args))
        #> 3.0 1.0
        ```
    """
    X, y = _data(X, y)
    y = _signs(y)
    return Problem(
        hinge_value,
        InPlace(hinge_subgradient),
        (X, y),
        np.zeros(X.shape[1]),
        mu=0.0,
        rho=float(np.linalg.norm(X, axis=1).mean()),
    )


# ------------------------------------------------------------------------------------------------ piecewise


@kernel
def max_affine_value(w: np.ndarray, A: np.ndarray, b: np.ndarray) -> float:
    """Return the largest of <a_i, w> + b_i."""
    if w.size != A.shape[1]:
        raise ValueError("w must have one entry for each column of A")
    largest = -np.inf
    for i in range(A.shape[0]):
        s = b[i]
        for j in range(w.size):
            s += A[i, j] * w[j]
        largest = max(largest, s)
    return largest


@kernel(**BARE)
def max_affine_subgradient(w: np.ndarray, A: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Write the first a_i for which <a_i, w> + b_i is largest."""
    if w.size != A.shape[1]:
        raise ValueError("w must have one entry for each column of A")
    largest, first = -np.inf, 0
    for i in range(A.shape[0]):
        s = b[i]
        for j in range(w.size):
            s += A[i, j] * w[j]
        if s > largest:
            largest, first = s, i
    for j in range(w.size):
        out[j] = A[first, j]


def max_affine(A: Any, b: Any = None) -> Problem:
    r"""Return a maximum of affine functions, $f(w) = \max_i \langle a_i, w\rangle + b_i$: convex, not smooth.

    Args:
        A: the slopes $a_i$, its rows (m, d).
        b: the offsets (m,); zeros by default.

    Returns:
        The problem. `rho` is the largest $\|a_i\|$; `w_star` and `f_star` solve a linear program.

    Raises:
        ValueError: if the shapes disagree, something is not finite, or the function has no lowest value.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.max_affine([[1.0], [-2.0]], [0.0, 3.0])
        print(p.rho, p.w_star, p.f_star)
        #> 2.0 [1.] 1.0
        ```
    """
    from scipy.optimize import linprog

    A = np.ascontiguousarray(as_array(A, "A", kinds="iuf", ndim=2), dtype=np.float64)
    b = np.zeros(len(A)) if b is None else np.ascontiguousarray(as_array(b, "b", kinds="iuf", ndim=1), np.float64)
    check_finite(A, "A")
    check_finite(b, "b")
    m, d = A.shape
    if b.shape != (m,):
        raise ValueError(f"b must have {m} entries, got {b.size}")
    # The smallest t with <a_i, w> + b_i <= t for every i.
    cost = np.zeros(d + 1)
    cost[-1] = 1
    found = linprog(cost, A_ub=np.column_stack([A, -np.ones(m)]), b_ub=-b, bounds=[(None, None)] * (d + 1))
    if found.status != 0:
        raise ValueError("A must have slopes whose hull holds 0: the function has no lowest value")
    return Problem(
        max_affine_value,
        InPlace(max_affine_subgradient),
        (A, b),
        np.zeros(d),
        mu=0.0,
        w_star=found.x[:d],
        f_star=float(max(A @ found.x[:d] + b)),
        rho=float(np.linalg.norm(A, axis=1).max()),
    )


@kernel
def huber_value(w: np.ndarray, L: float, rho: float) -> float:
    """Return L |w|^2 / 2 where L |w| <= rho, else rho |w| - rho^2 / (2 L)."""
    s = 0.0
    for i in range(w.size):
        s += w[i] ** 2
    length = np.sqrt(s)
    return L * s / 2 if L * length <= rho else rho * length - rho**2 / (2 * L)


@kernel(**BARE)
def huber_gradient(w: np.ndarray, L: float, rho: float, out: np.ndarray) -> None:
    """Write L w, cut to the length rho."""
    s = 0.0
    for i in range(w.size):
        s += w[i] ** 2
    length = np.sqrt(s)
    factor = L if L * length <= rho else rho / length
    for i in range(w.size):
        out[i] = factor * w[i]


def huber(n: int = 1, L: float = 1.0, rho: float = 1.0, w0: Any = None) -> Problem:
    r"""Return Huber's function of $\|w\|$: $\frac L2 \|w\|^2$ up to $\|w\| = \rho/L$, then linear with the slope rho.

    Args:
        n: the number of variables.
        L: the smoothness.
        rho: the largest norm of the gradient.
        w0: the start; $(1, 0, ..., 0)$ by default.

    Returns:
        The problem, with the minimiser 0.

    Raises:
        ValueError: if a constant is not greater than 0.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.huber(L=2.0, rho=1.0, w0=[3.0])
        print(p.gradient(p.w0, *p.args), p.value(p.w0, *p.args))
        #> [1.] 2.75
        ```
    """
    n = check_count(n, "n")
    start = np.eye(1, n)[0] if w0 is None else np.array(as_array(w0, "w0", kinds="iuf", ndim=1), dtype=np.float64)
    check_finite(start, "w0")
    if start.size != n:
        raise ValueError(f"w0 must have n = {n} entries, got {start.size}")
    L, rho = check_positive(L, "L"), check_positive(rho, "rho")
    return Problem(
        huber_value, InPlace(huber_gradient), (L, rho), start, L=L, mu=0.0, w_star=np.zeros(n), f_star=0.0, rho=rho
    )


# ----------------------------------------------------------------------------------------------- worst cases


@kernel
def worst_value(w: np.ndarray, rho: float, limit: float) -> float:
    """Return rho max(max_i w_i, |w| - limit)."""
    largest, s = -np.inf, 0.0
    for i in range(w.size):
        largest = max(largest, w[i])
        s += w[i] ** 2
    return rho * max(largest, np.sqrt(s) - limit)


@kernel(**BARE)
def worst_choice(w: np.ndarray, rho: float, limit: float, out: np.ndarray) -> None:
    """Write rho times the unit vector of the first largest entry; or rho w / |w|, if that term is the larger one."""
    largest, first, s = -np.inf, 0, 0.0
    for i in range(w.size):
        s += w[i] ** 2
        out[i] = 0.0
        if w[i] > largest:
            largest, first = w[i], i
    length = np.sqrt(s)
    if length - limit > largest:
        for i in range(w.size):
            out[i] = rho * w[i] / length
    else:
        out[first] = rho


def worst_subgradient(T: int, B: float = 1.0, rho: float = 1.0) -> Problem:
    r"""Return the function on which no method of the subgradient class does better than $B\rho/\sqrt T$.

    It is $f(w) = \rho \max(\max_i w_i,\ \|w\| - B (1 + 1/\sqrt T))$ in $T$ dimensions, with the subgradient
    $\rho e_i$ of the first largest entry. Each of $T$ answers tells of one coordinate more, and each point in the
    span of those before has a value of at least 0, while $f^\star = -B\rho/\sqrt T$.

    Args:
        T: the number of points that are evaluated, and of dimensions.
        B: the distance from the start, 0, to the minimiser.
        rho: the norm of the subgradients.

    Returns:
        The problem.

    Raises:
        ValueError: if `T` is less than 1 or a constant is not greater than 0.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.worst_subgradient(T=100, B=3.0, rho=2.0)
        print(f"{p.f_star:.6f} {p.B:.6f} {p.value(p.w_star, *p.args):.6f}")
        #> -0.600000 3.000000 -0.600000
        ```

    References:
        Y. Drori and M. Teboulle, *An optimal variant of Kelley's cutting-plane method*, Mathematical Programming
        160 (2016).
    """
    T = check_count(T, "T")
    B, rho = check_positive(B, "B"), check_positive(rho, "rho")
    root = float(np.sqrt(T))
    return Problem(
        worst_value,
        InPlace(worst_choice),
        (rho, B * (1 + 1 / root)),
        np.zeros(T),
        mu=0.0,
        w_star=np.full(T, -B / root),
        f_star=-B * rho / root,
        rho=rho,
    )


def worst_smooth(T: int, B: float = 1.0, L: float = 1.0, step: float | None = None) -> Problem:
    r"""Return the smooth function on which gradient descent is as slow as its bound, $L B^2 / (4 T L \eta + 2)$.

    It is Huber's function of one variable with the slope $\rho = L B / (2 T L \eta + 1)$, started at $B$: all $T$
    steps stay on the linear part.

    Args:
        T: the number of steps.
        B: the start.
        L: the smoothness.
        step: the step size, at most $1/L$, the default.

    Returns:
        The problem.

    Raises:
        ValueError: if a number is out of range.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.worst_smooth(T=10)
        run = dv.gradient_descent(p.gradient, p.w0, 1.0, 10, p.args, value=p.value)
        print(f"{run.values[-1]:.10f} {1 / 42:.10f}")
        #> 0.0238095238 0.0238095238
        ```

    References:
        Y. Drori and M. Teboulle, *Performance of first-order methods for smooth convex minimization: a novel
        approach*, Mathematical Programming 145 (2014).
    """
    T = check_count(T, "T")
    B, L = check_positive(B, "B"), check_positive(L, "L")
    gamma = 1 / L if step is None else check_positive(step, "step")
    if gamma * L > 1 + 1e-12:
        raise ValueError(f"step must be at most 1/L = {1 / L:.6g}, got {gamma:.6g}")
    return huber(1, L, L * B / (2 * T * L * gamma + 1), [B])


@kernel
def chain_value(w: np.ndarray, L: float) -> float:
    """Return L/4 (<w, A w> / 2 - w_1), where A has 2 on its diagonal and -1 beside it."""
    n = w.size
    s = w[0] ** 2 + w[n - 1] ** 2
    for i in range(n - 1):
        s += (w[i] - w[i + 1]) ** 2
    return L / 4 * (s / 2 - w[0])


@kernel(**BARE)
def chain_gradient(w: np.ndarray, L: float, out: np.ndarray) -> None:
    """Write L/4 (A w - e_1)."""
    n = w.size
    for i in range(n):
        s = 2 * w[i]
        if i > 0:
            s -= w[i - 1]
        if i < n - 1:
            s -= w[i + 1]
        out[i] = L / 4 * s
    out[0] -= L / 4


def nesterov_quadratic(n: int, L: float = 1.0) -> Problem:
    r"""Return the quadratic that is hard for every method whose points lie in the span of the gradients.

    It is $f(w) = \frac L4 \bigl(\frac12 \bigl(w_1^2 + \sum_{i<n} (w_i - w_{i+1})^2 + w_n^2\bigr) - w_1\bigr)$ from 0.
    A gradient brings in one coordinate more, so that after $T$ steps all but $T$ are 0; the minimiser has
    $w^\star_i = 1 - i/(n+1)$.

    Args:
        n: the number of variables.
        L: the smoothness is just below this number: $L$ bounds it for every n.

    Returns:
        The problem.

    Raises:
        ValueError: if `n` is less than 1 or `L` not greater than 0.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.nesterov_quadratic(3)
        print(p.w_star, p.f_star)
        #> [0.75 0.5  0.25] -0.09375
        ```

    References:
        Y. Nesterov, *Lectures on convex optimization*, second edition, Springer 2018, section 2.1.2.
    """
    n = check_count(n, "n")
    L = check_positive(L, "L")
    return Problem(
        chain_value,
        InPlace(chain_gradient),
        (L,),
        np.zeros(n),
        L=L,
        mu=float(L * np.sin(np.pi / (2 * (n + 1))) ** 2),
        w_star=1 - np.arange(1, n + 1) / (n + 1),
        f_star=-L / 8 * (1 - 1 / (n + 1)),
    )
