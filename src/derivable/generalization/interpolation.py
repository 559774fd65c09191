r"""Which of the many solutions: least squares with the smallest norm, and where gradient descent ends.

With more unknowns than equations, infinitely many functions fit the data. All of this file is one formula,
$w = X^+ y$, with the points as they are, with random features, or with a kernel in place of features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derivable.activations import relu
from derivable.generalization.streams import stream
from derivable.validation import as_array, check_count, check_finite, check_number, check_positive

__all__ = [
    "GaussianKernel",
    "LinearFit",
    "RandomFeatures",
    "gradient_descent_limit",
    "margins",
    "min_norm_solution",
    "random_feature_regression",
]


# -------------------------------------------------------------------------------------- features and kernels


@dataclass(frozen=True)
class GaussianKernel:
    r"""The kernel $k(x, x') = \exp(-\|x - x'\|^2 / (2 \sigma^2))$; call it on two sets of points for its matrix.

    Attributes:
        sigma: the width $\sigma > 0$.

    Examples:
        ```python
        import derivable as dv

        print(dv.GaussianKernel(1.0)([[0.0], [1.0]], [[0.0], [1.0], [2.0]]).round(4))
        #> [[1.     0.6065 0.1353]
        #>  [0.6065 1.     0.6065]]
        ```
    """

    sigma: float

    def __post_init__(self) -> None:
        check_positive(self.sigma, "sigma")

    def __call__(self, X: Any, Z: Any) -> np.ndarray:
        """Return the matrix of k(x_i, z_j)."""
        A, B = _points(X, "X"), _points(Z, "Z")
        if A.shape[1] != B.shape[1]:
            raise ValueError(f"Z must have {A.shape[1]} columns, as X, got {B.shape[1]}")
        scaled = []
        with np.errstate(all="ignore"):  # what overflows is refused here
            center = B.mean(axis=0)  # distances do not change, and less is lost in the differences below
            for points, name in ((A, "X"), (B, "Z")):
                scaled.append((points - center) / self.sigma)
                if not np.isfinite((scaled[-1] ** 2).sum()):
                    raise ValueError(f"{name} is too large for the width sigma = {self.sigma:g}: distances overflow")
        P, Q = scaled
        lengths = (P * P).sum(axis=1)[:, None]
        squares = P @ Q.T
        squares *= -2
        squares += lengths
        squares += (Q * Q).sum(axis=1)
        rows, columns = np.nonzero(squares < 1e-6 * lengths)  # where digits were lost: by the definition
        block = max(1, 2**20 // A.shape[1])  # pairs at a time: some megabytes
        for start in range(0, len(rows), block):
            i, j = rows[start : start + block], columns[start : start + block]
            squares[i, j] = (((A[i] - B[j]) / self.sigma) ** 2).sum(axis=1)
        squares /= -2
        with np.errstate(under="ignore"):
            return np.exp(squares, out=squares)


@dataclass(frozen=True, eq=False)
class RandomFeatures:
    r"""The features $\max(\langle v_j, x\rangle, 0)$ with fixed vectors $v_j$; call it on points.

    Attributes:
        directions: the vectors $v_j$ (features, d).
    """

    directions: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "directions", _points(self.directions, "directions"))

    @classmethod
    def draw(cls, d: int, features: int, seed: int = 0) -> RandomFeatures:
        """Draw the directions with independent normal entries of variance 1/d."""
        d, features = check_count(d, "d"), check_count(features, "features")
        rng = stream(check_count(seed, "seed", least=0), "features")
        return cls(rng.normal(size=(features, d)) / np.sqrt(d))

    def __call__(self, X: Any) -> np.ndarray:
        """Return the matrix of features, one row for each point."""
        points = _points(X, "X")
        if points.shape[1] != self.directions.shape[1]:
            raise ValueError(f"X must have {self.directions.shape[1]} columns, got {points.shape[1]}")
        return relu(points @ self.directions.T)


@dataclass(frozen=True, eq=False)
class KernelFeatures:
    """The features k(x, x_1), ..., k(x, x_n) of a kernel and n training points."""

    kernel: Callable[[Any, Any], Any]
    points: np.ndarray

    def __call__(self, X: Any) -> np.ndarray:
        """Return the matrix of features, one row for each point."""
        points = _points(X, "X")
        if points.shape[1] != self.points.shape[1]:
            raise ValueError(f"X must have {self.points.shape[1]} columns, got {points.shape[1]}")
        return np.asarray(self.kernel(points, self.points))


# ---------------------------------------------------------------------------------------------- least squares


@dataclass(frozen=True, eq=False)
class LinearFit:
    r"""A function that is linear in its coefficients, fitted by least squares; call it on points.

    Attributes:
        coefficients: $w$ (features,), or (features, outputs) for several outputs.
        norm: the norm that was made smallest: $\|w\|$, or for a kernel $\sqrt{w^\top K w}$, the norm of the
            function. Over several outputs, the root of the sum of squares.
        residual: $\|f(X) - y\| / \|y\|$ on the training points (the numerator alone if $y = 0$).
        rank: the rank of the matrix of features.
        features: maps points to their features; None where the points are used as they are.
    """

    coefficients: np.ndarray
    norm: float
    residual: float
    rank: int
    features: Callable[[Any], np.ndarray] | None = field(default=None, repr=False)

    def __call__(self, X: Any) -> np.ndarray:
        """Return the function's values, one row (or number) for each point."""
        matrix = _points(X, "X") if self.features is None else self.features(X)
        if matrix.shape[1] != len(self.coefficients):
            raise ValueError(f"X must have {len(self.coefficients)} columns, got {matrix.shape[1]}")
        return matrix @ self.coefficients

    def __repr__(self) -> str:
        return (
            f"LinearFit({' x '.join(map(str, self.coefficients.shape))} coefficients, rank {self.rank}, "
            f"norm {self.norm:.6g}, relative residual {self.residual:.3g})"
        )


def min_norm_solution(
    X: Any, y: Any, *, kernel: Callable[[Any, Any], Any] | None = None, ridge: float = 0.0
) -> LinearFit:
    r"""Solve a least-squares problem; of all its solutions return the one with the smallest norm.

    It is $w = X^+ y$ with the pseudoinverse $X^+$. With a kernel it is the function of smallest norm in the
    kernel's space, $f = \sum_i w_i k(\cdot, x_i)$ with $w = K^+ y$ and $K_{ij} = k(x_i, x_j)$. With a `ridge`
    $\lambda > 0$ it minimises $\|f(X) - y\|^2 + \lambda \|f\|^2$ instead; the limit for $\lambda \to 0$ is the
    solution of smallest norm.

    Args:
        X: the points (n, d). No column of ones is added: append one for an intercept.
        y: the wanted values, (n,), or (n, outputs). For classes, give indicator vectors: `np.eye(10)[labels]`.
        kernel: a positive semidefinite kernel, `kernel(X, Z)` that returns the matrix of $k(x_i, z_j)$;
            [`GaussianKernel`][derivable.GaussianKernel] for example. By default the linear one, without
            making its matrix.
        ridge: $\lambda \ge 0$.

    Returns:
        The fit, in double precision; call it on points. Singular values below `max(n, d)` rounding errors of the
        largest count as 0.

    Raises:
        TypeError: if an argument is not numeric, or `kernel` is not a function.
        ValueError: if something is not finite, shapes disagree, `ridge` is negative, the solution overflows, or the
            kernel's matrix is not symmetric and positive semidefinite.

    Examples:
        ```python
        import derivable as dv

        fit = dv.min_norm_solution([[1.0, 1.0]], [4.0])  # one equation, two unknowns
        print(fit.coefficients, fit.norm)
        #> [2. 2.] 2.82842712474619  [rtol 1e-12]
        ```

    References:
        G. Kimeldorf and G. Wahba, *Some results on Tchebycheffian spline functions*, Journal of Mathematical
        Analysis and Applications 33 (1971), for the kernel.
    """
    points = _points(X, "X")
    targets = _targets(y, len(points))
    ridge = check_number(ridge, "ridge")
    if ridge < 0:
        raise ValueError(f"ridge must be at least 0, got {ridge}")
    if kernel is None:
        return _fit_dense(points, targets, ridge, None)
    if isinstance(kernel, type):
        raise TypeError(
            f"kernel must be a function of two sets of points, got the class {kernel.__name__}: make a kernel of it, "
            "such as GaussianKernel(1.0)"
        )
    if not callable(kernel):
        raise TypeError(f"kernel must be a function of two sets of points, got {type(kernel).__name__}")
    return _fit_kernel(points, targets, kernel, ridge)


def gradient_descent_limit(X: Any, y: Any, w0: Any = None) -> np.ndarray:
    r"""Return where gradient descent on the squared error ends: $w_0 + X^+ (y - X w_0)$.

    Of all minimisers it is the one closest to the start. On $\frac12 \|X w - y\|^2$ it is the limit for every
    constant step size below $2/\sigma_1^2$, with $\sigma_1$ the largest singular value of $X$.

    Args:
        X: the matrix (n, d).
        y: the right-hand side (n,), or (n, outputs).
        w0: the start, (d,) or (d, outputs); zeros by default.

    Returns:
        The limit, in the shape of `w0`, in double precision.

    Raises:
        TypeError: if an argument is not numeric.
        ValueError: if something is not finite or shapes disagree.

    Examples:
        ```python
        import derivable as dv

        print(dv.gradient_descent_limit([[1.0, 1.0]], [4.0], [3.0, 0.0]))
        #> [3.5 0.5]
        ```
    """
    matrix = _points(X, "X")
    targets = _targets(y, len(matrix))
    shape = (matrix.shape[1], *targets.shape[1:])
    start = np.zeros(shape) if w0 is None else np.asarray(as_array(w0, "w0", kinds="biuf"), dtype=np.float64)
    if start.shape != shape:
        raise ValueError(f"w0 must have shape {shape}, got {start.shape}")
    check_finite(start, "w0")
    return start + _fit_dense(matrix, targets - matrix @ start, 0.0, None).coefficients


def random_feature_regression(X: Any, y: Any, features: int, *, seed: int = 0, ridge: float = 0.0) -> LinearFit:
    r"""Fit a network of one hidden layer whose first layer is random and stays as it was drawn.

    The features are $\max(\langle v_j, x\rangle, 0)$ with random $v_j$; the output weights solve the
    least-squares problem, with the smallest norm where there are many solutions. Around as many features as
    points the error on new points peaks (double descent).

    Args:
        X: the points (n, d).
        y: the wanted values, (n,) or (n, outputs).
        features: the number N of random features.
        seed: of the directions.
        ridge: as in [`min_norm_solution`][derivable.min_norm_solution].

    Returns:
        The fit; call it on points.

    Raises:
        TypeError: if an argument is not numeric, or a count is not an int.
        ValueError: if something is not finite, or shapes disagree.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.linspace(-1, 1, 9)
        fit = dv.random_feature_regression(np.column_stack([x, np.ones(9)]), np.sin(3 * x), 200)
        print(fit.residual < 1e-9)
        #> True
        ```

    References:
        A. Rahimi and B. Recht, *Random features for large-scale kernel machines*, NeurIPS 2007. M. Belkin,
        D. Hsu, S. Ma and S. Mandal, *Reconciling modern machine-learning practice and the classical
        bias-variance trade-off*, PNAS 116 (2019).
    """
    points = _points(X, "X")
    targets = _targets(y, len(points))
    ridge = check_number(ridge, "ridge")
    if ridge < 0:
        raise ValueError(f"ridge must be at least 0, got {ridge}")
    chosen = RandomFeatures.draw(points.shape[1], features, seed)
    return _fit_dense(chosen(points), targets, ridge, chosen)


def margins(scores: Any, labels: Any) -> np.ndarray:
    """Return by how much each right class's score beats the best of the others; negative where it does not.

    Args:
        scores: one row of scores for each point (n, classes), with at least two classes.
        labels: the right classes (n,), ints from 0.

    Returns:
        The margins (n,).

    Raises:
        TypeError: if `scores` is not numeric or `labels` are not ints.
        ValueError: if shapes disagree, a label is out of range, or something is not finite.

    Examples:
        ```python
        import derivable as dv

        print(dv.margins([[3.0, 1.0, 0.0], [0.0, 2.0, 5.0]], [0, 1]))
        #> [ 2. -3.]
        ```
    """
    table = np.array(as_array(scores, "scores", kinds="biuf", ndim=2), dtype=np.float64)
    check_finite(table, "scores")
    if table.shape[1] < 2:
        raise ValueError(f"scores must have at least 2 columns, got {table.shape[1]}")
    right = check_labels(labels, "labels", len(table), table.shape[1])
    rows = np.arange(len(table))
    own = table[rows, right]
    table[rows, right] = -np.inf
    return own - table.max(axis=1)


def check_labels(labels: Any, name: str, rows: int, classes: int | None = None) -> np.ndarray:
    """Return class numbers as an int64 array, one for each of `rows`, all from 0 and below `classes`."""
    array = as_array(labels, name, kinds="iu", ndim=1)
    if len(array) != rows:
        raise ValueError(f"{name} must have one entry for each of the {rows} points, got {len(array)}")
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0 or highest >= (2**63 if classes is None else classes):
        upper = "" if classes is None else f" to {classes - 1}"
        raise ValueError(f"{name} must be class numbers from 0{upper}, got {lowest if lowest < 0 else highest}")
    return array.astype(np.int64)


def _points(X: Any, name: str) -> np.ndarray:
    matrix = np.asarray(as_array(X, name, kinds="biuf", ndim=2), dtype=np.float64)
    check_finite(matrix, name)
    return matrix


def _targets(y: Any, rows: int) -> np.ndarray:
    targets = np.asarray(as_array(y, "y", kinds="biuf"), dtype=np.float64)
    if targets.ndim not in (1, 2) or len(targets) != rows:
        raise ValueError(f"y must have one row for each of the {rows} rows of X, got shape {targets.shape}")
    check_finite(targets, "y")
    return targets


def _fit_dense(
    matrix: np.ndarray, targets: np.ndarray, ridge: float, features: Callable[[Any], np.ndarray] | None
) -> LinearFit:
    """Solve by the singular value decomposition: each component of y is divided by its singular value."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    threshold = max(matrix.shape) * np.finfo(np.float64).eps * values[0]
    rank = int(np.sum(values > threshold))
    left, values, right = left[:, :rank], values[:rank], right[:rank]
    # sigma / (sigma^2 + ridge), written so that no square under- or overflows
    with np.errstate(all="ignore"):  # what overflows is refused here
        inverse = 1 / (values + ridge / values)
        scaled = inverse[:, None] * (left.T @ targets.reshape(len(targets), -1))
        w = (right.T @ scaled).reshape(matrix.shape[1], *targets.shape[1:])
    if not np.isfinite(w).all():
        raise ValueError("the solution overflows: X is too small, or X or y is too large; scale them")
    return LinearFit(w, _length(w), _residual(matrix @ w, targets), rank, features)


def _fit_kernel(points: np.ndarray, targets: np.ndarray, kernel: Callable[[Any, Any], Any], ridge: float) -> LinearFit:
    from scipy.linalg import cho_factor, cho_solve
    from scipy.linalg.lapack import dpocon

    features = KernelFeatures(kernel, points)
    K = features(points)
    n = len(points)
    if K.shape != (n, n):
        raise ValueError(f"kernel must return a matrix of shape {(n, n)} for {n} points, got {K.shape}")
    check_finite(K, "the kernel's matrix")
    if not np.allclose(K, K.T, rtol=1e-8, atol=1e-8 * float(np.abs(K).max())):
        raise ValueError("the kernel's matrix must be symmetric")
    K = (K + K.T) / 2
    shifted = K + ridge * np.eye(n)
    rounding = n * np.finfo(np.float64).eps
    try:
        factor = cho_factor(shifted, lower=True)
        well = dpocon(factor[0], float(np.abs(shifted).sum(axis=0).max()), uplo="L")[0] > rounding
    except np.linalg.LinAlgError:
        well = False
    if well:  # the usual case, and twenty times as fast as eigenvalues
        w, rank = cho_solve(factor, targets), n
    else:
        values, vectors = np.linalg.eigh(shifted)
        if values[0] < -rounding * 10 * max(abs(values[-1]), abs(values[0])):
            raise ValueError(f"the kernel's matrix must be positive semidefinite, got the eigenvalue {values[0]:.3g}")
        kept = values > rounding * values[-1]
        rank = int(kept.sum())
        vectors = vectors[:, kept]
        w = vectors @ ((vectors.T @ targets.reshape(n, -1)) / values[kept, None])
        w = w.reshape(targets.shape)
    fitted = K @ w
    square = float(np.sum(w * fitted))
    return LinearFit(w, float(np.sqrt(max(square, 0.0))), _residual(fitted, targets), rank, features)


def _residual(fitted: np.ndarray, targets: np.ndarray) -> float:
    return _length(fitted - targets) / (_length(targets) or 1.0)


def _length(array: np.ndarray) -> float:
    """Return the root of the sum of squares; no square over- or underflows."""
    largest = float(np.abs(array).max())
    return largest * float(np.linalg.norm(array / largest)) if largest > 0 else 0.0
