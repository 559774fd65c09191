r"""The lemma's two sides for a run, and the bounds that the theorems of the convergence chapter give.

Letters: $T$ steps from $w_1$; $\|w_1 - w^\star\| \le B$ (the lemma starts at 0, where that is $\|w^\star\| \le B$);
subgradients of norm at most rho; $L$ smoothness; mu strong convexity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from derivable.descent.accelerated import inertia
from derivable.descent.loops import step_sizes
from derivable.descent.trajectory import Trajectory
from derivable.validation import as_array, check_choice, check_count, check_finite, check_number, check_positive

__all__ = ["Regret", "rate_bound", "regret"]


@dataclass(frozen=True)
class Regret:
    r"""Both sides of the lemma for one run, and what lies between them.

    For a constant step $\eta$ these are the numbers of the lemma. For steps that change, each term has its own
    $\eta_t$ as a weight: the three numbers are $\sum_t \eta_t \langle w_t - w^\star, v_t\rangle$,
    $\frac12 \|w_1 - w^\star\|^2 + \frac12 \sum_t \eta_t^2 \|v_t\|^2$ and $\frac12 \|w_{T+1} - w^\star\|^2$.

    Attributes:
        total: the left side, $\sum_t \langle w_t - w^\star, v_t\rangle$.
        bound: the right side, $\frac{1}{2\eta}\|w_1 - w^\star\|^2 + \frac{\eta}{2} \sum_t \|v_t\|^2$.
        slack: $\frac{1}{2\eta}\|w_{T+1} - w^\star\|^2$. For plain steps `total + slack == bound`, up to rounding.
        weighted: whether the terms are weighted by steps that change.
    """

    total: float
    bound: float
    slack: float
    weighted: bool


def regret(trajectory: Trajectory, w_star: Any, vectors: Any = None) -> Regret:
    r"""Return both sides of the lemma for a run, and its slack.

    For $w_{t+1} = w_t - \eta v_t$, whatever the vectors $v_t$,

    $$
    \sum_{t=1}^T \langle w_t - w^\star, v_t\rangle
    = \frac{\|w_1 - w^\star\|^2}{2\eta} + \frac{\eta}{2} \sum_{t=1}^T \|v_t\|^2
    - \frac{\|w_{T+1} - w^\star\|^2}{2\eta} .
    $$

    Args:
        trajectory: a run with all its points, of `gradient_descent` or `subgradient_method`.
        w_star: any point, in the shape of `w0`; a minimiser, in the theorem.
        vectors: the $v_t$, an array (T, ...). By default they are read off the points, $(w_t - w_{t+1}) / \eta_t$,
            which is right for plain steps only; their squares are then taken from the recorded gradient norms.

    Returns:
        The two sides and the slack. After projected steps, with their `vectors` given, `total + slack <= bound`
        for a `w_star` in the set.

    Raises:
        TypeError: if `trajectory` is not a Trajectory.
        ValueError: if the run did not keep all its points, took no step, or was not one of plain steps and `vectors` is
            not given; if a shape is wrong.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.quadratic([[2.0]], [2.0])
        run = dv.subgradient_method(p.gradient, [0.0], 0.25, 10, p.args)
        sides = dv.regret(run, p.w_star)
        print(abs(sides.total + sides.slack - sides.bound) < 1e-15, sides.total <= sides.bound)
        #> True True
        ```
    """
    if not isinstance(trajectory, Trajectory):
        raise TypeError(f"trajectory must be a Trajectory, got {type(trajectory).__name__}")
    T = trajectory.steps
    if len(trajectory.iterates) != T + 1 or len(trajectory.gradient_norms) != T + 1:
        raise ValueError('regret needs all points of the run: keep="all"')
    if T == 0:
        raise ValueError("regret needs a run of at least one step")
    points = np.asarray(trajectory.iterates, dtype=np.float64).reshape(T + 1, -1)
    star = as_array(w_star, "w_star", kinds="iuf").astype(np.float64)
    check_finite(star, "w_star")
    shape = trajectory.iterates.shape[1:]
    if star.shape != shape and not star.size == points.shape[1] == 1:
        raise ValueError(f"w_star must have the shape of w0, {shape}, got {star.shape}")
    constant = np.ndim(trajectory.step_sizes) == 0
    sizes = np.broadcast_to(np.asarray(trajectory.step_sizes, dtype=np.float64), (T,))
    if vectors is None:
        moves = points[:-1] - points[1:]
        norms = sizes * trajectory.gradient_norms[:-1]
        single = trajectory.iterates.dtype == np.float32
        tolerance = (1e-3 if single else 1e-7) * norms + (1e-6 if single else 1e-14) * np.abs(points[:-1]).max()
        if np.any(np.abs(np.linalg.norm(moves, axis=1) - norms) > tolerance):
            raise ValueError(
                "the run's steps are not its gradients times its step sizes (a metric, momentum or a projection): "
                "give vectors"
            )
    else:
        v = as_array(vectors, "vectors", kinds="iuf").astype(np.float64)
        check_finite(v, "vectors")
        if v.size != T * points.shape[1] or v.ndim == 0 or len(v) != T:
            raise ValueError(f"vectors must have a row for each of the {T} steps, got shape {v.shape}")
        moves = sizes[:, None] * v.reshape(T, -1)
        norms = np.linalg.norm(moves, axis=1)
    distance = points - star.reshape(-1)
    total = float(np.sum(distance[:-1] * moves))
    slack = float(distance[-1] @ distance[-1]) / 2
    bound = float(distance[0] @ distance[0]) / 2 + float(norms @ norms) / 2
    scale = 1 / float(sizes[0]) if constant else 1.0
    return Regret(total * scale, bound * scale, slack * scale, not constant)


# ------------------------------------------------------------------------------------------------- the bounds


def _subgradient(B: float, rho: float, T: int, step: Any = None) -> float:
    if step is None:
        return B * rho / np.sqrt(T)
    sizes = np.broadcast_to(step_sizes(step, T), (T,))
    return float((B**2 + rho**2 * np.sum(sizes**2)) / (2 * np.sum(sizes)))


def _last_iterate(B: float, rho: float, T: int) -> float:
    return B * rho / np.sqrt(T + 1)


def _last_iterate_constant(B: float, rho: float, T: int) -> float:
    return B * rho * np.sqrt(1 + np.log(T) / 4) / np.sqrt(T + 1)


def _smooth(B: float, L: float, T: int, step: float | None = None) -> float:
    gamma = 1 / L if step is None else check_positive(step, "step")
    if gamma * L > 1 + 1e-12:
        raise ValueError(f"step must be at most 1/L = {1 / L:.6g} for this bound, got {gamma:.6g}")
    return L * B**2 / (4 * T * L * gamma + 2)


def _strongly_convex(B: float, L: float, mu: float, T: int, step: float | None = None) -> float:
    gamma = 2 / (L + mu) if step is None else check_positive(step, "step")
    return max(abs(1 - gamma * mu), abs(1 - gamma * L)) ** T * B


def _exact_line_search(gap: float, L: float, mu: float, T: int) -> float:
    return ((L - mu) / (L + mu)) ** (2 * T) * gap


def _nesterov(B: float, L: float, T: int) -> float:
    return L * B**2 / (2 * inertia(T)[T - 1] ** 2)


def _nesterov_strongly_convex(B: float, L: float, mu: float, T: int) -> float:
    return (1 - np.sqrt(mu / L)) ** T * (L + mu) / 2 * B**2


def _optimized(B: float, L: float, T: int) -> float:
    return L * B**2 / (2 * inertia(T, optimized=True)[T] ** 2)


def _smooth_lower(B: float, L: float, T: int) -> float:
    return 3 * L * B**2 / (32 * (T + 1) ** 2)


KINDS: dict[str, Callable[..., float]] = {
    "subgradient": _subgradient,
    "last iterate, linear steps": _last_iterate,
    "last iterate, best constant step": _last_iterate_constant,
    "smooth": _smooth,
    "strongly convex": _strongly_convex,
    "exact line search": _exact_line_search,
    "nesterov": _nesterov,
    "nesterov, strongly convex": _nesterov_strongly_convex,
    "optimized": _optimized,
    "smooth lower bound": _smooth_lower,
}


def rate_bound(kind: str, **constants: Any) -> float:
    r"""Return the bound that a theorem gives after `T` steps.

    - "subgradient" (B, rho, T; step): $f(\bar w) - f^\star$, and that of the best of $w_1, ..., w_T$, is at most
      $B\rho/\sqrt T$ with the theorem's step, $(B^2 + \rho^2 \sum_t \eta_t^2) / (2 \sum_t \eta_t)$ with others;
    - "last iterate, linear steps" (B, rho, T): $f(w_{T+1}) - f^\star \le B\rho/\sqrt{T+1}$ for
      $\eta_t = \frac{B}{\rho\sqrt{T+1}} (1 - \frac{t}{T+1})$;
    - "last iterate, best constant step" (B, rho, T): $B\rho\sqrt{1 + \ln(T)/4}/\sqrt{T+1}$;
    - "smooth" (B, L, T; step $\eta \le 1/L$): $f(w_{T+1}) - f^\star \le L B^2/(4 T L \eta + 2)$;
    - "strongly convex" (B, L, mu, T; step):
      $\|w_{T+1} - w^\star\| \le \max(|1 - \eta\mu|, |1 - \eta L|)^T B$;
    - "exact line search" (gap, L, mu, T): $f(w_{T+1}) - f^\star \le (\frac{L-\mu}{L+\mu})^{2T} \mathrm{gap}$;
    - "nesterov" (B, L, T): $f(w_{T+1}) - f^\star \le L B^2/(2 s_T^2)$;
    - "nesterov, strongly convex" (B, L, mu, T):
      $f(w_{T+1}) - f^\star \le (1 - \sqrt{\mu/L})^T \frac{L+\mu}{2} B^2$;
    - "optimized" (B, L, T): $f(y_{T+1}) - f^\star \le L B^2/(2 s_{T+1}^2)$, where the last s has an 8 for the 4;
    - "smooth lower bound" (B, L, T): $3 L B^2/(32 (T+1)^2)$, from below, for every method whose points lie in the span
      of the gradients, in a dimension of at least 2T + 1.

    For the "subgradient" kind `T` is the number of points of which the average is taken; the step sizes that
    change give the bound for the mean weighted by them, and for the best point.

    Args:
        kind: one of the kinds above.
        **constants: $B \ge \|w_1 - w^\star\|$, rho, L, mu, $\mathrm{gap} = f(w_1) - f^\star$, T; and step, a number
            (for "subgradient" also an array), by default $1/L$ for "smooth", $2/(L + \mu)$ for "strongly convex".

    Returns:
        The bound.

    Raises:
        TypeError: if a constant is missing or not one of the kind's.
        ValueError: if `kind` is unknown, a constant is not positive (`gap` may be 0), or the step is outside the
            theorem.

    Examples:
        ```python
        import derivable as dv

        print(dv.rate_bound("subgradient", B=3.0, rho=2.0, T=100))
        #> 0.6
        print(dv.rate_bound("smooth", B=1.0, L=1.0, T=10), 1 / 42)
        #> 0.023809523809523808 0.023809523809523808
        print(f'{dv.rate_bound("optimized", B=1.0, L=1.0, T=10):.8f}')
        #> 0.00628648
        ```

    References:
        G. Garrigos and R. M. Gower, arXiv 2301.11235. Tight constants: Y. Drori and M. Teboulle, Mathematical
        Programming 145 (2014) and 160 (2016); A. B. Taylor, J. M. Hendrickx and F. Glineur, Mathematical Programming
        161 (2017). E. de Klerk, F. Glineur and A. B. Taylor, Optimization Letters 11 (2017), for the line search.
    """
    check_choice(kind, "kind", tuple(KINDS))
    formula = KINDS[kind]
    allowed = formula.__code__.co_varnames[: formula.__code__.co_argcount]
    defaults = formula.__defaults__ or ()
    needed = allowed[: len(allowed) - len(defaults)]
    missing = [name for name in needed if name not in constants]
    strange = [name for name in constants if name not in allowed]
    if missing or strange:
        got = f"missing {', '.join(missing)}" if missing else f"got {', '.join(strange)}"
        raise TypeError(f"the bound {kind!r} takes {', '.join(allowed)}: {got}")
    ready: dict[str, Any] = {}
    for name, value in constants.items():
        if name == "T":
            ready[name] = check_count(value, "T")
        elif name == "step":
            ready[name] = value
        elif name == "gap":
            ready[name] = check_number(value, name)
            if ready[name] < 0:
                raise ValueError(f"gap must be at least 0, got {value}")
        else:
            ready[name] = check_positive(value, name)
    if "mu" in ready and ready["mu"] > ready["L"]:
        raise ValueError(f"mu must be at most L, got mu = {ready['mu']:.6g} and L = {ready['L']:.6g}")
    return float(formula(**ready))
