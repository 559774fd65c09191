"""The subgradient method, for convex functions that need not be smooth."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from derivable.descent.functions import Prepared, launch, prepare_proximal
from derivable.descent.loops import descend, drive, prepare_run, step_sizes
from derivable.descent.proximal import Proximal
from derivable.descent.trajectory import Progress, Trajectory
from derivable.validation import check_choice, check_count, check_number, check_positive

__all__ = ["subgradient_method"]

Schedule = Literal["constant", "inverse_sqrt", "linear", "polyak"]


def subgradient_method(
    subgradient: Callable[..., Any],
    w0: Any,
    step: Any,
    steps: int,
    args: tuple[Any, ...] = (),
    *,
    schedule: Schedule = "constant",
    value: Callable[..., Any] | None = None,
    f_star: float | None = None,
    proximal: Proximal | None = None,
    tol: float | None = None,
    keep: Literal["all", "last"] | int = "all",
    callback: Callable[[Progress], Any] | None = None,
    every: int = 1,
    allow_nan: bool = False,
) -> Trajectory:
    r"""Minimise a convex function by the subgradient method, $w_{t+1} = w_t - \eta_t v_t$, $v_t \in \partial f(w_t)$.

    It is no descent method: $f(w_{t+1})$ may be greater than $f(w_t)$, whatever the step. Its guarantees are for
    the average and the best of the points $w_1, ..., w_T$, and for a step that shrinks to zero linearly, for the last
    one. See [`rate_bound`][derivable.rate_bound].

    Args:
        subgradient: an `@njit` function `subgradient(w, *args)` that returns a subgradient at `w`, or an in-place
            one, as the gradient of [`gradient_descent`][derivable.gradient_descent]. `dv.grad(f)` is one
            where f is built of convex functions by sums and maxima.
        w0: the start $w_1$, as in `gradient_descent`.
        step: $\eta > 0$, scaled by `schedule`; or, with the schedule "constant", an array of `steps` sizes or a
            function of $t = 1, 2, ...$; None for Polyak's steps.
        steps: the number of steps $T$.
        args: the data that the functions take after `w`.
        schedule: the step sizes: "constant", $\eta$; "inverse_sqrt", $\eta / \sqrt t$; "linear", $\eta (1 - t/(T+1))$;
            "polyak", $(f(w_t) - f^\star) / \|v_t\|^2$, which needs `value` and `f_star`.
        value: the objective function, an `@njit` function `value(w, *args)`.
        f_star: the lowest value $f^\star$, for Polyak's steps; without them it must be None.
        proximal: a map of [`proximal`][derivable.proximal], applied after each step: the projected method.
        tol: stop at the first point whose subgradient has a norm of at most `tol`; never by default. (At a kink the
            subgradient that is returned need not be small.) With a `proximal` map `tol` is compared with
            $\|w_{t+1} - w_t\| / \eta_t$.
        keep: which points to keep, as in `gradient_descent`.
        callback: called after every `every` steps, as in `gradient_descent`.
        every: the steps between two calls of `callback`.
        allow_nan: whether `args` may hold NaN.

    Returns:
        The run. `average` is the mean of $w_1, ..., w_T$; `best` the point of the lowest value among
        $w_1, ..., w_{T+1}$. Polyak's run ends with the reason "target" where the value is `f_star` or less.

    Raises:
        TypeError: as `gradient_descent`.
        ValueError: as `gradient_descent`; if Polyak's steps lack `value` or `f_star`, or others have `f_star`; if
            `f_star` is greater than the value at `w0`.

    Warns:
        DivergenceWarning: if a point stops being finite, or if the run, in its second half, was never as low as
            at its start.

    Examples:
        ```python
        import derivable as dv

        p = dv.problems.worst_subgradient(T=16, B=3.0, rho=2.0)
        run = dv.subgradient_method(p.gradient, p.w0, 3.0 / (2.0 * 4.0), 16, p.args, value=p.value)
        print(p.value(run.average, *p.args) - p.f_star, dv.rate_bound("subgradient", B=3.0, rho=2.0, T=16))
        #> 1.5 1.5
        ```

    References:
        N. Z. Shor, *Minimization Methods for Non-Differentiable Functions*, Springer 1985. B. T. Polyak,
        *Minimization of unsmooth functionals*, USSR Computational Mathematics and Mathematical Physics 9 (1969).
        Linearly decaying steps: M. Zamani and F. Glineur, SIAM Journal on Optimization 35 (2025).
    """
    steps = check_count(steps, "steps")
    check_choice(schedule, "schedule", ("constant", "inverse_sqrt", "linear", "polyak"))
    target = None
    if schedule != "polyak" and f_star is not None:
        raise ValueError(f'f_star belongs to schedule="polyak", got schedule={schedule!r}')
    if schedule == "polyak":
        if step is not None:
            raise ValueError("Polyak's steps follow from the values: step must be None")
        if value is None or f_star is None:
            raise ValueError("Polyak's steps need value and f_star, the lowest value")
        target = check_number(f_star, "f_star")
        sizes = np.zeros(steps)
    elif schedule == "constant":
        sizes = step_sizes(step, steps)
    else:
        eta, t = check_positive(step, "step"), np.arange(1, steps + 1)
        sizes = eta / np.sqrt(t) if schedule == "inverse_sqrt" else eta * (1 - t / (steps + 1))
    run = prepare_run(subgradient, value, w0, steps, args, tol, keep, allow_nan, name="subgradient")
    fitting = sizes if target is not None else run.fit(sizes)
    if target is not None:
        with np.errstate(all="ignore"):
            begin = float(run.f.call(run.w))  # type: ignore[union-attr]
        if begin < target:
            raise ValueError(f"f_star must not be greater than the value at w0, {begin:.6g}, got {target:.6g}")
    pull, pull_args = prepare_proximal(proximal, run.state.flat_w)
    data = (fitting, None, target)
    enter = launch(descend, run.slope, run.f, run.args, *data, pull, pull_args, 0, 0, 0.0, run.state, run.keeper.record)
    handed = (*run.functions, *data, pull and pull.function, pull_args)

    def advance(first: int, last: int) -> tuple[int, int]:
        return enter(*handed, first, last, run.tolerance, run.state, run.keeper.record)

    judge = functools.partial(_judge, mapped=proximal is not None, target=target)
    return drive(
        advance, run.keeper, sizes, run.slope, run.args, run.scalar, callback, every, "subgradient_method", judge
    )


def _judge(
    run: Trajectory,
    status: int,
    method: str,
    steps: int,
    slope: Prepared,
    start: np.ndarray,
    end: np.ndarray,
    *,
    mapped: bool = False,
    target: float | None = None,
) -> str | None:
    """Return what to warn of: a run that left the numbers, or that was never low in its second half.

    `mapped`: a proximal map was applied; the start may then be lower than any point of the set. `target`: the
    lowest value of which Polyak's steps were made.
    """
    advice = "The steps are too large: with ||w*|| <= B and ||v|| <= rho the theorem's step is B / (rho sqrt(T))."
    if target is not None:
        advice = (
            f"Polyak's steps are too large if the function has no value as low as f_star = {target:.6g}, or if it is "
            "not convex."
        )
    if run.reason == "diverged":
        return (
            f"{method} diverged: after {run.steps} of {steps} steps the next point is not finite. The run ends at the "
            f"last finite point. {advice}"
        )
    if run.values is not None and run.steps > 1:
        low = float(run.values[(run.steps + 1) // 2 :].min())
        begin = run.values[: 1 + mapped].max()
        if low > begin + 1e-9 * abs(begin):
            return (
                f"{method} went up: in the second half of {run.steps} steps the lowest value was {low:.6g}, above "
                f"{run.values[0]:.6g} at w0. {advice}"
            )
    return None
