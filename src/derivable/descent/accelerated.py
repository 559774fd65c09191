"""Momentum: the heavy ball in its two conventions, Nesterov's method, and the optimized gradient method."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from derivable.descent.functions import borrow, invoke_proximal, launch, prepare_proximal
from derivable.descent.loops import (
    CONVERGED,
    VISITED,
    Record,
    State,
    arrive,
    drive,
    judge_descent,
    prepare_run,
    step_sizes,
)
from derivable.descent.proximal import Proximal
from derivable.descent.trajectory import Progress, Trajectory
from derivable.jit import kernel
from derivable.validation import as_array, check_choice, check_count, check_finite, check_number, check_positive

__all__ = ["momentum", "nesterov"]


@kernel
def roll(
    gradient: Any,
    value: Any,
    args: Any,
    sizes: np.ndarray,
    beta: float,
    sized: bool,
    first: int,
    last: int,
    tolerance: float,
    state: State,
    velocity: np.ndarray,
    record: Record,
) -> tuple[int, int]:
    """Visit the points first..last of the heavy ball. `sized`: the step size is part of the velocity (Sutskever)."""
    state, record = borrow(state), borrow(record)
    w, u, before, _, h = state
    total = record.total
    reached, status = last, VISITED
    for p in range(first, last + 1):
        if p > 0:
            size = sizes[min(p, sizes.size) - 1]
            for i in range(total.size):
                total[i] += u[i]
            for i in range(u.size):
                before[i] = u[i]
                if sized:
                    velocity[i] = beta * velocity[i] - size * h[i]
                    u[i] += velocity[i]
                else:
                    velocity[i] = beta * velocity[i] + h[i]
                    u[i] -= size * velocity[i]
        reached, status = arrive(gradient, value, args, w, p, tolerance, state, record)
        if status != VISITED:
            break
    return reached, status


def momentum(
    gradient: Callable[..., Any],
    w0: Any,
    step: Any,
    steps: int,
    args: tuple[Any, ...] = (),
    *,
    beta: float = 0.9,
    convention: Literal["pytorch", "sutskever"] = "pytorch",
    value: Callable[..., Any] | None = None,
    tol: float | None = None,
    keep: Literal["all", "last"] | int = "all",
    callback: Callable[[Progress], Any] | None = None,
    every: int = 1,
    allow_nan: bool = False,
) -> Trajectory:
    r"""Minimise a function by gradient descent with momentum (Polyak's heavy ball).

    A velocity $m$, at first 0, collects the gradients. There are two conventions:

    - "pytorch", that of `torch.optim.SGD`: $m_t = \beta m_{t-1} + g_t$ and $w_{t+1} = w_t - \eta_t m_t$;
    - "sutskever": $m_t = \beta m_{t-1} - \eta_t g_t$ and $w_{t+1} = w_t + m_t$, which is the heavy ball
      $w_{t+1} = w_t - \eta_t g_t + \beta (w_t - w_{t-1})$.

    With one step size they give the same points. When the step size changes, the first one rescales the whole
    velocity at once, the second lets the old gradients keep the step size of their own time.

    Args:
        gradient: the compiled gradient, as in [`gradient_descent`][derivable.gradient_descent].
        w0: the start $w_1$.
        step: $\eta$: a number, an array of `steps` sizes, or a function of $t = 1, 2, ...$.
        steps: the number of steps $T$.
        args: the data that the functions take after `w`.
        beta: how much of the velocity is kept, at least 0 and less than 1.
        convention: "pytorch" or "sutskever".
        value: the objective function, compiled.
        tol: stop at the first point whose gradient has a norm of at most `tol`; never by default.
        keep: which points to keep, as in `gradient_descent`.
        callback: called after every `every` steps, as in `gradient_descent`.
        every: the steps between two calls of `callback`.
        allow_nan: whether `args` may hold NaN.

    Returns:
        The run.

    Raises:
        TypeError: as `gradient_descent`.
        ValueError: as `gradient_descent`; if `beta` is not in [0, 1).

    Warns:
        DivergenceWarning: if the run leaves the finite numbers or ends higher than it began. On quadratics the heavy
            ball converges for $\eta < 2 (1 + \beta) / L$.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.quadratic([[1.0, 0.0], [0.0, 100.0]])
        for beta in (0.0, 0.8):
            run = dv.momentum(p.gradient, [1.0, 1.0], 0.015, 200, p.args, beta=beta, value=p.value)
            print(beta, f"{run.values[-1]:.1e}")
        #> 0.0 1.2e-03
        #> 0.8 7.9e-20
        ```

    References:
        B. T. Polyak, *Some methods of speeding up the convergence of iteration methods*, USSR Computational
        Mathematics and Mathematical Physics 4 (1964). I. Sutskever, J. Martens, G. Dahl and G. Hinton, *On the
        importance of initialization and momentum in deep learning*, ICML 2013.
    """
    steps = check_count(steps, "steps")
    check_choice(convention, "convention", ("pytorch", "sutskever"))
    beta = _check_beta(beta)
    sizes = step_sizes(step, steps)
    run = prepare_run(gradient, value, w0, steps, args, tol, keep, allow_nan)
    fitting = run.fit(sizes)
    beta = fitting.dtype.type(beta)
    velocity = np.zeros(run.w.size, np.result_type(run.w, run.state.g))
    sized = convention == "sutskever"
    enter = launch(
        roll, run.slope, run.f, run.args, fitting, beta, sized, 0, 0, 0.0, run.state, velocity, run.keeper.record
    )

    def advance(first: int, last: int) -> tuple[int, int]:
        return enter(
            *run.functions, fitting, beta, sized, first, last, run.tolerance, run.state, velocity, run.keeper.record
        )

    judge = functools.partial(judge_descent, limit=2 * (1 + float(beta)))
    return drive(advance, run.keeper, sizes, run.slope, run.args, run.scalar, callback, every, "momentum", judge)


@kernel
def accelerate(
    gradient: Any,
    value: Any,
    args: Any,
    sizes: np.ndarray,
    betas: np.ndarray,
    gammas: np.ndarray,
    proximal: Any,
    proximal_args: Any,
    first: int,
    last: int,
    tolerance: float,
    state: State,
    landed: np.ndarray,
    ahead: np.ndarray,
    flat_ahead: np.ndarray,
    record: Record,
) -> tuple[int, int]:
    """Visit the points first..last of an accelerated method.

    A step goes from the extrapolated point `ahead` down the gradient there, to `landed`, and extrapolates again: by
    beta times the move from the point landed on before, and gamma times that from the point ahead before. The
    state's point, the one that is recorded, shares its memory with `landed` or with `ahead`. With a `proximal`
    map the tolerance is for the length of the step from `ahead` to `landed` over its size, which is the gradient
    where no map is.
    """
    state, record = borrow(state), borrow(record)
    _, u, before, _, h = state
    total = record.total
    reached, status = last, VISITED
    limit = tolerance if proximal is None else -1.0
    for p in range(first, last + 1):
        move, size = 0.0, 1.0
        if p > 0:
            size = sizes[min(p, sizes.size) - 1]
            beta = betas[min(p, betas.size) - 1]
            gamma = gammas[min(p, gammas.size) - 1]
            for i in range(total.size):
                total[i] += u[i]
            for i in range(u.size):
                before[i] = u[i]
            if proximal is None:
                for i in range(u.size):
                    old, from_there = landed[i], flat_ahead[i]
                    new = from_there - size * h[i]
                    landed[i] = new
                    flat_ahead[i] = new + beta * (new - old) + gamma * (new - from_there)
            else:
                for i in range(u.size):  # here the state's point is `landed`, and gamma is 0
                    landed[i] = flat_ahead[i] - size * h[i]
                invoke_proximal(proximal, landed, np.float64(size), proximal_args)
                for i in range(u.size):
                    move += (np.float64(landed[i]) - flat_ahead[i]) ** 2
                    flat_ahead[i] = landed[i] + beta * (landed[i] - before[i])
        reached, status = arrive(gradient, value, args, ahead, p, limit, state, record)
        if proximal is not None and p > 0 and status == VISITED and np.sqrt(move) <= tolerance * size:
            status = CONVERGED
        if status != VISITED:
            break
    return reached, status


def nesterov(
    gradient: Callable[..., Any],
    w0: Any,
    step: Any,
    steps: int,
    args: tuple[Any, ...] = (),
    *,
    beta: Any = "convex",
    mu: float | None = None,
    value: Callable[..., Any] | None = None,
    proximal: Proximal | None = None,
    tol: float | None = None,
    keep: Literal["all", "last"] | int = "all",
    callback: Callable[[Progress], Any] | None = None,
    every: int = 1,
    allow_nan: bool = False,
) -> Trajectory:
    r"""Minimise a function by Nesterov's accelerated gradient method.

    With $y_1 = w_1$, a step is taken from an extrapolated point:

    $$
    w_{t+1} = y_t - \eta \nabla f(y_t), \qquad y_{t+1} = w_{t+1} + \beta_t (w_{t+1} - w_t).
    $$

    Args:
        gradient: the compiled gradient, as in [`gradient_descent`][derivable.gradient_descent].
        w0: the start $w_1$.
        step: $\eta$: a number (the theorems have $1/L$), an array of `steps` sizes, or a function of $t = 1, 2, ...$.
        steps: the number of steps $T$.
        args: the data that the functions take after `w`.
        beta: "convex", $\beta_t = (s_t - 1)/s_{t+1}$ with $s_1 = 1$, $s_{t+1} = (1 + \sqrt{1 + 4 s_t^2})/2$; a
            number in [0, 1); an array of `steps` numbers; or "optimized", the optimized gradient method, whose
            recorded points are the extrapolated ones and whose guarantee holds for the last of them.
        mu: a constant of strong convexity: then $\beta = (1 - \sqrt{\mu\eta})/(1 + \sqrt{\mu\eta})$.
        value: the objective function, compiled.
        proximal: a map of [`proximal`][derivable.proximal], applied to each $w_{t+1}$: the method is then FISTA.
        tol: stop at the first $t$ with $\|\nabla f(y_t)\|$ at most `tol`; never by default. With a `proximal` map the
            gradient of the smooth part need not vanish: `tol` is then compared with $\|w_{t+1} - y_t\| / \eta_t$.
        keep: which points to keep, as in `gradient_descent`.
        callback: called after every `every` steps, as in `gradient_descent`.
        every: the steps between two calls of `callback`.
        allow_nan: whether `args` may hold NaN.

    Returns:
        The run. Its points and values are those of $w_1, ..., w_{T+1}$; its gradient norms are measured at the
        extrapolated points $y_1, ..., y_{T+1}$, where the gradient is evaluated. It is no descent method.

    Raises:
        TypeError: as `gradient_descent`.
        ValueError: as `gradient_descent`; if `beta` or `mu` is out of range or both are given.

    Warns:
        DivergenceWarning: if the run leaves the finite numbers or ends higher than it began. For $\beta_t$ near 1 the
            method converges on quadratics for $\eta < 4/(3L)$; the optimized one, in long runs, for no step above
            $1/L$.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.nesterov_quadratic(101, L=1.0)
        plain = dv.gradient_descent(p.gradient, p.w0, 1 / p.L, 50, p.args, value=p.value)
        fast = dv.nesterov(p.gradient, p.w0, 1 / p.L, 50, p.args, value=p.value)
        print(f"{plain.values[-1] - p.f_star:.4f} {fast.values[-1] - p.f_star:.4f}")
        #> 0.0128 0.0038
        ```

    References:
        Y. Nesterov, *A method for solving the convex programming problem with convergence rate O(1/k^2)*, Soviet
        Mathematics Doklady 27 (1983). A. Beck and M. Teboulle, *A fast iterative shrinkage-thresholding
        algorithm*, SIAM Journal on Imaging Sciences 2 (2009). D. Kim and J. A. Fessler, *Optimized first-order
        methods for smooth convex minimization*, Mathematical Programming 159 (2016).
    """
    steps = check_count(steps, "steps")
    sizes = step_sizes(step, steps)
    gammas = np.zeros(1)
    optimized = isinstance(beta, str) and beta == "optimized"
    if mu is not None:
        if not (isinstance(beta, str) and beta == "convex"):
            raise ValueError("mu determines beta: give one of them")
        q = np.sqrt(check_positive(mu, "mu") * sizes)
        if q.max() >= 1:
            raise ValueError(f"mu * step must be less than 1, got {float(q.max()) ** 2:.6g}")
        betas = (1 - q) / (1 + q)
    elif isinstance(beta, str):
        check_choice(beta, "beta", ("convex", "optimized"))
        s = inertia(steps, optimized=optimized)
        betas = (s[:-1] - 1) / s[1:]
        gammas = s[:-1] / s[1:] if optimized else gammas
    elif isinstance(beta, (list, tuple)) or np.ndim(beta):
        betas = np.ascontiguousarray(as_array(beta, "beta", kinds="iuf", ndim=1), dtype=np.float64)
        check_finite(betas, "beta")
        if betas.size != steps:
            raise ValueError(f"beta must be one number or one for each of the {steps} steps, got {betas.size}")
    else:
        betas = np.array([_check_beta(beta)])
    if optimized and proximal is not None:
        raise ValueError('beta="optimized" has no proximal form here: take beta="convex"')
    run = prepare_run(gradient, value, w0, steps, args, tol, keep, allow_nan)
    fitting = run.fit(sizes)
    betas, gammas = betas.astype(fitting.dtype), gammas.astype(fitting.dtype)
    pull, pull_args = prepare_proximal(proximal, run.state.flat_w)
    other = run.w.copy()
    landed, ahead = (other.reshape(-1), run.w) if optimized else (run.state.flat_w, other)
    data, points = (fitting, betas, gammas), (landed, ahead, ahead.reshape(-1))
    enter = launch(
        accelerate,
        *(run.slope, run.f, run.args, *data, pull, pull_args, 0, 0, 0.0, run.state, *points, run.keeper.record),
    )
    handed = (*run.functions, *data, pull and pull.function, pull_args)

    def advance(first: int, last: int) -> tuple[int, int]:
        return enter(*handed, first, last, run.tolerance, run.state, *points, run.keeper.record)

    # On a quadratic, with h = step * L: y'' = ((1 + beta + gamma) (1 - h) - gamma) y' - beta (1 - h) y.
    b, c = float(betas.max()), float(gammas.max())
    judge = functools.partial(judge_descent, limit=1 + (1 - c) / (1 + 2 * b + c), mapped=proximal is not None)
    return drive(advance, run.keeper, sizes, run.slope, run.args, run.scalar, callback, every, "nesterov", judge)


def inertia(steps: int, *, optimized: bool = False) -> np.ndarray:
    """Return s_1, ..., s_{steps + 1}: s_{t+1} = (1 + sqrt(1 + 4 s_t^2)) / 2 from s_1 = 1; the optimized last has 8."""
    s = np.ones(steps + 1)
    write_inertia(s, optimized)
    return s


@kernel
def write_inertia(s: np.ndarray, optimized: bool) -> None:
    """Write s_2, ..., given s_1. In Python this took ten times as long as the steps of a small problem."""
    last = s.size - 2
    for t in range(s.size - 1):
        factor = 8.0 if optimized and t == last else 4.0
        s[t + 1] = (1.0 + np.sqrt(1.0 + factor * s[t] ** 2)) / 2.0


def _check_beta(beta: Any) -> float:
    number = check_number(beta, "beta")
    if not 0 <= number < 1:
        raise ValueError(f"beta must be at least 0 and less than 1, got {beta}")
    return number
