r"""What one random step does on average, and where many of them settle.

`expected_step` goes through all draws of one row: an expectation is then a finite mean, computed and not sampled.
`noise_ball` is the covariance in which SGD with a constant step comes to rest on a quadratic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from derivable.descent.functions import prepare_args
from derivable.stochastic.components import Parameters, prepare_component, prepare_data, refuse_nan
from derivable.stochastic.updates import check_flag
from derivable.validation import as_array, check_choice, check_count, check_finite, check_number, check_positive

__all__ = ["ExpectedStep", "expected_step", "noise_ball"]


class ExpectedStep(NamedTuple):
    r"""What a step from one point does, over all draws of a row.

    With $f = \frac1n \sum_i f_i$ and $w_i^+ = w - \eta \nabla f_i(w)$:

    Attributes:
        before: $f(w)$.
        after: $f(w_i^+)$ for each row $i$: shape (n,).
        expected: their mean, $\mathbb{E} f(w^+)$.
        mean_gradient: $\frac1n \sum_i \nabla f_i(w)$, as one vector.
        noise: $\frac1n \sum_i \|\nabla f_i(w) - \nabla f(w)\|^2$, the variance of the sampled gradient.
        best: the step size that minimises $\mathbb{E} f(w^+)$ if $f$ is quadratic; NaN if there is none.
        limit: the step size below which $\mathbb{E} f(w^+) < f(w)$ if $f$ is quadratic: twice `best`.
    """

    before: float
    after: np.ndarray
    expected: float
    mean_gradient: np.ndarray
    noise: float
    best: float
    limit: float


def expected_step(
    gradient: Callable[..., Any],
    value: Callable[..., Any],
    w: Any,
    data: tuple[Any, ...],
    step: float,
    args: tuple[Any, ...] = (),
    *,
    total: bool = False,
) -> ExpectedStep:
    r"""Compute what a step of SGD with one row does, for every row and on average.

    Args:
        gradient: the gradient of the loss on one row, as for [`sgd`][derivable.sgd].
        value: the loss on one row.
        w: the point.
        data: a tuple of arrays with n rows.
        step: the step size $\eta$.
        args: what both take after the rows.
        total: measure the values of the sum $\sum_i f_i$ in place of the mean. The step is the same.

    Returns:
        The values. For each of the n draws the loss is evaluated on all n rows, so that the work grows as $n^2$.

    Raises:
        TypeError: if a function is not compiled or an argument has the wrong type.
        ValueError: if a number is out of range or not finite.

    Examples:
        ```python
        import derivable as dv
        import numpy as np
        from numba import njit

        loss = njit(lambda w, c: (w - c) ** 2 / 2)
        slope = njit(lambda w, c: w - c)
        look = dv.expected_step(slope, loss, 0.0, (np.array([2.0, -1.0]),), 0.1, total=True)
        print(look.after, look.expected)
        #> [2.34 2.61] 2.475  [rtol 1e-12]
        print(look.best, look.limit)
        #> 0.1 0.2  [rtol 1e-12]
        ```
    """
    data, args = prepare_data(data), prepare_args(args)
    refuse_nan(data)
    eta = check_positive(step, "step")
    check_flag(total, "total")
    parameters = Parameters(w)
    if check := getattr(gradient, "check", None):
        check(data, w if parameters.kind == "number" else parameters.w)
    slope = prepare_component(gradient, "gradient", parameters, data, args, batched=False, returns="gradient")
    loss = prepare_component(value, "value", parameters, data, args, batched=False, returns="value")
    n = len(data[0])
    rows = [tuple(x[i] for x in data) for i in range(n)]
    scale = n if total else 1

    def f(point: np.ndarray) -> float:
        at = parameters.view(point)
        return scale * sum(loss.call(at, row) for row in rows) / n

    point = parameters.flat.astype(np.float64)
    gradients = np.array([slope.call(parameters.view(parameters.flat), row) for row in rows], np.float64)

    def after(size: float) -> np.ndarray:
        return np.array([f((point - size * g).astype(parameters.flat.dtype)) for g in gradients])

    before, reached = f(parameters.flat), after(eta)
    mean = gradients.mean(axis=0)
    # If f is quadratic, E f is a parabola in the step size: two values and the slope at 0 determine it.
    slant = -scale * float(mean @ mean)
    bend = (reached.mean() - before - slant * eta) / eta**2
    best = -slant / (2 * bend) if bend > 0 else np.nan
    return ExpectedStep(
        before=before,
        after=reached,
        expected=float(reached.mean()),
        mean_gradient=mean,
        noise=float(((gradients - mean) ** 2).sum(axis=1).mean()),
        best=float(best),
        limit=float(2 * best),
    )


def noise_ball(
    step: float,
    curvature: Any,
    noise: Any,
    *,
    batch: int = 1,
    order: Literal["replacement", "shuffle"] = "replacement",
    n: int | None = None,
) -> Any:
    r"""Return the covariance in which SGD with a constant step comes to rest on a quadratic.

    Each $f_i$ has the same Hessian $A$; the sampled gradient at $w$ is $A (w - w^\star) + \xi_i$, where the $\xi_i$
    have mean 0 and covariance $C$ over the rows. With independent draws of `batch` rows, the stationary covariance
    $\Sigma$ of $w_t$ solves

    $$A \Sigma + \Sigma A - \eta A \Sigma A = \frac{\eta}{b} C .$$

    With a new permutation in each epoch of $n$ steps the covariance depends on the place within the epoch.

    Args:
        step: the step size $\eta$, less than 2 over the largest eigenvalue of $A$.
        curvature: $A$: a number, or a symmetric positive definite matrix (d, d).
        noise: $C$: a number, or a symmetric positive semidefinite matrix (d, d).
        batch: $b$; 1 for `order="shuffle"`.
        order: "replacement" or "shuffle".
        n: the number of rows, for `order="shuffle"`.

    Returns:
        $\Sigma$, a number or a matrix. For `order="shuffle"` an array of `n` of them along its first axis: after 1, 2,
        ..., n steps of an epoch; the last is the one at the ends of epochs.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if the step is at or beyond the limit, or if a matrix is not what it should be.

    Examples:
        ```python
        import derivable as dv

        print(dv.noise_ball(0.1, 1.0, 2.25))
        #> 0.11842105263157894  [rtol 1e-12]
        print(dv.noise_ball(0.1, 1.0, 2.25, order="shuffle", n=2))
        #> [0.02302995 0.00065426]  [rtol 1e-5]
        ```

    References:
        S. Mandt, M. D. Hoffman and D. M. Blei, *Stochastic gradient descent as approximate Bayesian inference*, Journal
        of Machine Learning Research 18 (2017).
    """
    eta, b = check_positive(step, "step"), check_count(batch, "batch")
    check_choice(order, "order", ("replacement", "shuffle"))
    if order == "replacement" and n is not None:
        raise ValueError("n must be None for order='replacement', where the number of rows does not matter")
    scalar = np.ndim(curvature) == 0 and np.ndim(noise) == 0
    if scalar:
        A = np.array([[check_positive(curvature, "curvature")]])
        C = np.array([[check_number(noise, "noise")]])
        if C[0, 0] < 0:
            raise ValueError(f"noise must be at least 0, got {noise}")
    else:
        A, C = (_symmetric(x, name) for x, name in ((curvature, "curvature"), (noise, "noise")))
        if A.shape != C.shape:
            raise ValueError(f"noise must have the shape of curvature, {A.shape}, got {C.shape}")
    a, Q = np.linalg.eigh(A)
    if a[0] <= 0:
        raise ValueError(f"curvature must be positive definite, got the eigenvalue {a[0]}")
    least = np.linalg.eigvalsh(C)[0]
    if least < -1e-12 * max(np.abs(C).max(), 1e-300):
        raise ValueError(f"noise must be positive semidefinite, got the eigenvalue {least}")
    if eta * a[-1] >= 2:
        raise ValueError(f"step must be less than 2/L = {2 / a[-1]:.6g}, got {eta}: beyond it no run comes to rest")
    C = Q.T @ C @ Q  # in the axes of A every entry is on its own
    if order == "replacement":
        result = Q @ (eta / b * C / (a[:, None] + a[None] - eta * a[:, None] * a[None])) @ Q.T
        return float(result[0, 0]) if scalar else result
    if b != 1:
        raise ValueError(f"batch must be 1 for order='shuffle', got {b}")
    if n is None:
        raise ValueError("order='shuffle' needs n, the number of rows")
    n = check_count(n, "n", least=2)
    r = 1 - eta * a  # the factor of one step along each axis
    rr = np.multiply.outer(r, r)
    k = np.arange(1, n + 1)[:, None]
    k3 = k[:, :, None]
    squares = np.cumsum(rr ** (k3 - 1), axis=0)  # (r_i r_j)^0 + ... + (r_i r_j)^(k-1)
    # Draws of a permutation have the covariance -C/(n - 1) with each other. In terms of the sums s_k and q_k of the
    # chapter the variance is n q_k - s_k^2, a difference of nearly equal numbers for small steps: it is (n - k) q_k and
    # what k q_k - s_k^2 is, k times the sum of squares of the powers' deviations from their mean. Here the powers less
    # 1, r^m - 1 = -eta a (1 + ... + r^(m-1)), take their place.
    powers = np.concatenate([np.zeros((1, a.size)), -eta * a * np.cumsum(r ** (k[:-1] - 1), axis=0)])
    sums = np.cumsum(powers, axis=0)
    centred = k3 * np.cumsum(powers[:, :, None] * powers[:, None, :], axis=0) - sums[:, :, None] * sums[:, None, :]
    drawn = eta**2 * C * ((n - k3) * squares + centred) / (n - 1)
    # 1 - (r_i r_j)^n is 1 - r_i r_j times q_n.
    forgotten = np.add.outer(eta * a, eta * a) - np.multiply.outer(eta * a, eta * a)  # 1 - r_i r_j
    end = drawn[-1] / np.where(rr > 0, forgotten * squares[-1], 1 - rr**n)
    inside = rr**k3 * end + drawn
    result = Q @ inside @ Q.T
    return result[:, 0, 0] if scalar else result


def _symmetric(value: Any, name: str) -> np.ndarray:
    matrix = as_array(value, name, kinds="iuf", ndim=2).astype(np.float64)
    check_finite(matrix, name)
    if matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0):
        raise ValueError(f"{name} must be a symmetric matrix, got shape {matrix.shape}")
    return matrix
