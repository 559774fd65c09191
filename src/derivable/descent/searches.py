"""Steepest descent with a line search: the step size is found anew at each point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from derivable.descent.functions import borrow, invoke, launch
from derivable.descent.loops import CONVERGED, STALLED, VISITED, Record, State, arrive, drive, prepare_run, take
from derivable.descent.trajectory import Progress, Trajectory
from derivable.jit import kernel
from derivable.validation import check_choice, check_count, check_number, check_positive

__all__ = ["steepest_descent"]


@kernel
def slope_along(gradient: Any, args: Any, size: float, direction: np.ndarray, state: State) -> float:
    """Move to before - size * direction, evaluate the gradient; return the derivative by size (NaN: wrong shape)."""
    w, u, before, g, h = state
    for i in range(u.size):
        u[i] = before[i] - size * direction[i]
    if not take(invoke(gradient, w, args, g), w, h):
        return np.nan
    s = 0.0
    for i in range(u.size):
        s -= np.float64(h[i]) * direction[i]
    return s


@kernel
def search_exactly(gradient: Any, args: Any, guess: float, direction: np.ndarray, state: State) -> float:
    """Return the size at which the function is smallest along -direction; NaN if none is found.

    The derivative along the line is negative at 0. It is followed until it is positive, and its zero is then enclosed
    by secants (with the Illinois rule: an end that stays has its value halved). For a quadratic function the first
    secant hits it.
    """
    squares = 0.0
    for i in range(direction.size):
        squares += np.float64(direction[i]) ** 2
    low, at_low = 0.0, -squares
    high, at_high = guess, slope_along(gradient, args, guess, direction, state)
    for _ in range(200):
        if at_high >= 0.0:
            break
        if not at_high < 0.0 or not high < 1e300:
            return np.nan
        ahead = high - at_high * (high - low) / (at_high - at_low) if at_high > at_low else 2 * high
        low, at_low = high, at_high
        high = min(max(ahead, high * (1 + 1e-12)), 100 * high)
        at_high = slope_along(gradient, args, high, direction, state)
        if abs(at_high) <= 1e-13 * squares:
            return high
    if not at_high >= 0.0:
        return np.nan
    side = 0
    for _ in range(200):
        if high - low <= 4e-16 * high or abs(at_high) <= 1e-15 * squares:
            break
        size = low - at_low * (high - low) / (at_high - at_low)
        if not low < size < high:
            size = low + (high - low) / 2
        now = slope_along(gradient, args, size, direction, state)
        if abs(now) <= 1e-13 * squares:
            return size
        if now < 0.0:
            low, at_low = size, now
            at_high = at_high / 2 if side == -1 else at_high
            side = -1
        else:
            high, at_high = size, now
            at_low = at_low / 2 if side == 1 else at_low
            side = 1
    return high


@kernel
def step_and_search(
    gradient: Any,
    value: Any,
    args: Any,
    sizes: np.ndarray,
    exactly: bool,
    initial: float,
    shrink: float,
    grow: float,
    decrease: float,
    first: int,
    last: int,
    tolerance: float,
    state: State,
    direction: np.ndarray,
    record: Record,
) -> tuple[int, int]:
    """Visit the points first..last of steepest descent, and write the step sizes found to `sizes`."""
    state, record = borrow(state), borrow(record)
    w, u, before, g, h = state
    total = record.total
    reached, status = last, VISITED
    for p in range(first, last + 1):
        if p > 0:
            for i in range(u.size):
                before[i] = u[i]
                direction[i] = h[i]
            length = record.norms[p - 1]
            if length == 0.0:  # nothing to search along: the point is stationary, whatever the tolerance
                reached, status = p - 1, CONVERGED
                break
            guess = initial if p == 1 else sizes[p - 2] * (1.0 if exactly else grow)
            size = guess
            found = False
            if exactly:
                size = search_exactly(gradient, args, guess, direction, state)
                found = size > 0.0
            elif value is not None:
                for _ in range(1100):
                    for i in range(u.size):
                        u[i] = before[i] - size * direction[i]
                    f, at_start = float(invoke(value, w, args, g)), record.values[p - 1]
                    if f < at_start and f <= at_start - decrease * size * length * length:
                        found = True
                        break
                    size *= shrink
            moved = False
            for i in range(u.size):
                u[i] = before[i] - size * direction[i]
                moved = moved or u[i] != before[i]
            if not (found and moved):
                for i in range(u.size):
                    u[i] = before[i]
                    h[i] = direction[i]
                reached, status = p - 1, STALLED
                break
            for i in range(total.size):
                total[i] += before[i]
            sizes[p - 1] = size
        reached, status = arrive(gradient, value, args, w, p, tolerance, state, record)
        if status != VISITED:
            break
    return reached, status


def steepest_descent(
    gradient: Callable[..., Any],
    w0: Any,
    steps: int,
    args: tuple[Any, ...] = (),
    *,
    value: Callable[..., Any] | None = None,
    search: Literal["exact", "backtracking"] = "backtracking",
    initial: float = 1.0,
    shrink: float = 0.5,
    grow: float = 2.0,
    decrease: float = 0.5,
    tol: float | None = None,
    keep: Literal["all", "last"] | int = "all",
    callback: Callable[[Progress], Any] | None = None,
    every: int = 1,
    allow_nan: bool = False,
) -> Trajectory:
    r"""Minimise a function by gradient descent with a line search: the step size is found at each point.

    - "exact": $\eta_t$ minimises $f(w_t - \eta \nabla f(w_t))$ over $\eta > 0$ (the nearest minimiser, if $f$ is not
      convex), found as a zero of the derivative along the line. On a quadratic that takes two gradients.
    - "backtracking": from a guess, $\eta$ is multiplied by `shrink` until
      $f(w_t - \eta \nabla f(w_t)) \le f(w_t) - c\, \eta \|\nabla f(w_t)\|^2$ (Armijo's condition), where $c$ is
      `decrease`.

    Args:
        gradient: the compiled gradient, as in [`gradient_descent`][derivable.gradient_descent].
        w0: the start $w_1$.
        steps: the number of steps $T$.
        args: the data that the functions take after `w`.
        value: the objective function, compiled; "backtracking" needs it.
        search: "exact" or "backtracking".
        initial: the guess for the first step size. Later the guess is the step before, times `grow` when backtracking.
        shrink: the factor of a refused step, in (0, 1).
        grow: at least 1; 1 never lets the step grow again.
        decrease: $c$ in Armijo's condition, in (0, 1). With 1/2 the step that sufficient decrease
            guarantees, $1/L$, is always accepted.
        tol: stop at the first point whose gradient has a norm of at most `tol`; never by default.
        keep: which points to keep, as in `gradient_descent`.
        callback: called after every `every` steps, as in `gradient_descent`.
        every: the steps between two calls of `callback`.
        allow_nan: whether `args` may hold NaN.

    Returns:
        The run; `step_sizes` holds the sizes found. It ends with the reason "tolerance" at a point whose gradient is 0,
        with or without `tol`, and with "stalled" where no step lowers f any more in floating-point numbers, or, if the
        search is exact, where f falls along the line for ever.

    Raises:
        TypeError: as `gradient_descent`.
        ValueError: as `gradient_descent`; if "backtracking" lacks `value`, or a parameter is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        p = dv.problems.quadratic(np.diag([1.0, 10.0]))
        run = dv.steepest_descent(p.gradient, [10.0, 1.0], 20, p.args, value=p.value, search="exact")
        print(run.values[1:4] / run.values[:3], (9 / 11) ** 2)
        #> [0.66942149 0.66942149 0.66942149] 0.6694214876033059
        ```

    References:
        J. Nocedal and S. J. Wright, *Numerical Optimization*, second edition, Springer 2006, chapter 3.
        L. Armijo, *Minimization of functions having Lipschitz continuous first partial derivatives*, Pacific
        Journal of Mathematics 16 (1966).
    """
    steps = check_count(steps, "steps")
    check_choice(search, "search", ("exact", "backtracking"))
    if search == "backtracking" and value is None:
        raise ValueError('search="backtracking" compares values: give value')
    numbers = {"shrink": check_number(shrink, "shrink"), "decrease": check_number(decrease, "decrease")}
    for name, number in numbers.items():
        if not 0 < number < 1:
            raise ValueError(f"{name} must be greater than 0 and less than 1, got {number}")
    if check_number(grow, "grow") < 1:
        raise ValueError(f"grow must be at least 1, got {grow}")
    run = prepare_run(gradient, value, w0, steps, args, tol, keep, allow_nan)
    sizes = np.zeros(steps)
    direction = np.zeros(run.w.size, run.state.g.dtype)
    exactly = search == "exact"
    options = (exactly, check_positive(initial, "initial"), float(shrink), float(grow), float(decrease))
    enter = launch(
        step_and_search,
        *(run.slope, run.f, run.args, sizes, *options, 0, 0, 0.0, run.state, direction, run.keeper.record),
    )

    def advance(first: int, last: int) -> tuple[int, int]:
        return enter(
            *(*run.functions, sizes, *options, first, last, run.tolerance, run.state, direction, run.keeper.record)
        )

    return drive(advance, run.keeper, sizes, run.slope, run.args, run.scalar, callback, every, "steepest_descent")
