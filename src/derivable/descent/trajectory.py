"""What a descent method returns: the points it visited, and what it measured there.

Numbering follows the book. A run of $T$ steps starts at $w_1$ = `w0`, evaluates the gradient at $w_1, ...,
w_T$ and takes a step from each; it ends at $w_{T+1}$. The gradient (and the value) are evaluated there too,
so that every array of a trajectory has one entry for each of the $T + 1$ points: entry `t - 1` belongs to
$w_t$.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["DivergenceWarning", "Progress", "Trajectory"]


class DivergenceWarning(RuntimeWarning):
    """A descent method ran away: its iterates overflow, or it ended higher than it began."""


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a run stands; what a callback is given.

    Attributes:
        t: the steps taken so far; the point is $w_{t+1}$.
        w: a copy of the point.
        value: the objective function there, None unless the run was given `value`.
        gradient_norm: the Euclidean norm of the gradient there.
    """

    t: int
    w: Any
    value: float | None
    gradient_norm: float


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A finished run of a descent method.

    With `T = steps`, the run evaluated the points $w_1, ..., w_{T+1}$, where $w_1$ is the start.

    Attributes:
        iterates: the kept points, one after another along the first axis; all $T + 1$ by default.
        kept: their numbers: `iterates[i]` is $w_t$ with `t = kept[i]`.
        last: the last point, $w_{T+1}$.
        average: the mean of $w_1, ..., w_T$, the points from which a step was taken; None for a run without a
            record.
        steps: the number of steps taken, $T$.
        step_sizes: the step sizes; one number, or one for each of the $T$ steps.
        gradient_norms: the Euclidean norm of the gradient at each of the $T + 1$ points; at the first and the last
            point for a run without a record.
        values: the objective function at each of the $T + 1$ points; None unless the run was given `value`.
        best: the point of the lowest value; None unless the run was given `value`.
        reason: why the run ended: "steps" (all taken), "tolerance" (gradient norm at most `tol`, or 0), "callback",
            "diverged" (the next point, or what was evaluated there, is not finite; it is left out), "target"
            (the value is `f_star`, for Polyak's steps), "stalled" (a line search found no lower point), or
            "interrupted" (by Ctrl-C or by an error in the callback; the run is then an attribute of what was
            raised).
    """

    iterates: np.ndarray
    kept: np.ndarray
    last: Any
    average: Any
    steps: int
    step_sizes: Any
    gradient_norms: np.ndarray
    values: np.ndarray | None
    best: Any
    reason: str

    @property
    def converged(self) -> bool:
        """Whether the run ended because the gradient norm fell to the tolerance, or the value to the target."""
        return self.reason in ("tolerance", "target")

    def __repr__(self) -> str:
        value = "" if self.values is None else f", value {self.values[-1]:.6g}"
        return (
            f"Trajectory({self.steps} steps, ended by {self.reason}, gradient norm "
            f"{self.gradient_norms[-1]:.3g}{value}, {len(self.iterates)} of {self.steps + 1} points kept)"
        )
