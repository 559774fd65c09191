r"""Step sizes that change along a run: $\eta_t$ as a function of the number $t = 1, 2, ...$ of the step.

A schedule counts steps, not epochs: where a recipe speaks of epochs, multiply by the steps of an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derivable.jit import kernel
from derivable.validation import as_array, check_count, check_finite, check_number, check_positive

__all__ = ["Schedule", "constant", "cosine", "inverse", "inverse_sqrt", "step_decay"]

CONSTANT, POWER, COSINE, STEPS, TABLE = range(5)


@kernel
def step_size(kind: int, a: float, b: float, c: float, warmup: float, table: np.ndarray, t: int) -> float:
    """Return the size of step t = 1, 2, ..."""
    if kind == CONSTANT:
        size = a
    elif kind == POWER:
        size = a / (1 + b * (t - 1)) ** c
    elif kind == COSINE:
        size = c + (a - c) * (1 + np.cos(np.pi * min((t - 1) / b, 1.0))) / 2
    elif kind == STEPS:
        size = a * c ** ((t - 1) // b)
    else:
        size = table[t - 1]
    if t < warmup:
        size *= t / warmup
    return size


@dataclass(frozen=True, eq=False)
class Schedule:
    r"""A rule for the step sizes; made by the functions of `derivable.schedules`, called with the step's number.

    Attributes:
        kind: which formula.
        a: its first parameter, the first step size.
        b: its second.
        c: its third.
        warmup: during the first `warmup` steps the size is multiplied by $t$ / `warmup`.
        table: the sizes themselves, where they are given one by one.
    """

    kind: int
    a: float
    b: float = 0.0
    c: float = 0.0
    warmup: float = 0.0
    table: Any = ()

    def __call__(self, t: int) -> float:
        """Return the size of step `t` = 1, 2, ..."""
        return float(step_size(*self.numbers, check_count(t, "t")))

    @property
    def numbers(self) -> tuple[Any, ...]:
        """What the kernel takes."""
        return self.kind, self.a, self.b, self.c, self.warmup, np.asarray(self.table, np.float64)

    def with_warmup(self, steps: int) -> Schedule:
        """Return the same schedule with a linear rise over its first `steps` steps."""
        return replace(self, warmup=float(check_count(steps, "steps")))


def constant(eta: float) -> Schedule:
    r"""Return $\eta_t = \eta$.

    Args:
        eta: the step size.

    Returns:
        The schedule.
    """
    return Schedule(CONSTANT, check_positive(eta, "eta"))


def inverse(eta: float, decay: float, power: float = 1.0) -> Schedule:
    r"""Return $\eta_t = \eta / (1 + \text{decay} \cdot (t - 1))^{\text{power}}$.

    scikit-learn's "invscaling" is `inverse(eta0, 1.0, power_t)`; its "optimal" is
    `inverse(1 / (alpha * t0), 1 / t0)`.

    Args:
        eta: the first step size.
        decay: how fast the sizes fall, greater than 0.
        power: the exponent, greater than 0. With exponents in (1/2, 1] the sizes have an infinite sum and a finite
            sum of squares.

    Returns:
        The schedule.

    Examples:
        ```python
        import derivable as dv

        eta = dv.schedules.inverse(0.5, decay=1.0)
        print(eta(1), eta(2), eta(5))
        #> 0.5 0.25 0.1
        ```

    References:
        H. Robbins and S. Monro, *A stochastic approximation method*, Annals of Mathematical Statistics 22 (1951).
    """
    return Schedule(POWER, check_positive(eta, "eta"), check_positive(decay, "decay"), check_positive(power, "power"))


def inverse_sqrt(eta: float, decay: float = 1.0) -> Schedule:
    r"""Return $\eta_t = \eta / \sqrt{1 + \text{decay} \cdot (t - 1)}$.

    Args:
        eta: the first step size.
        decay: how fast the sizes fall, greater than 0.

    Returns:
        The schedule.
    """
    return inverse(eta, decay, 0.5)


def cosine(eta: float, steps: int, floor: float = 0.0, *, warmup: int = 0) -> Schedule:
    r"""Return half a cosine wave from `eta` at the first step down to `floor`, reached after `steps` steps.

    Args:
        eta: the first (the largest) step size.
        steps: after how many steps the sizes have fallen to `floor`, where they stay. As every step size must be
            greater than 0, a run longer than this needs a positive floor.
        floor: the last step size, at least 0.
        warmup: multiply the first `warmup` sizes by $t$ / `warmup`.

    Returns:
        The schedule.

    References:
        I. Loshchilov and F. Hutter, *SGDR: stochastic gradient descent with warm restarts*, ICLR 2017.
    """
    eta, floor = check_positive(eta, "eta"), check_number(floor, "floor")
    if not 0 <= floor <= eta:
        raise ValueError(f"floor must be between 0 and eta = {eta}, got {floor}")
    rise = float(check_count(warmup, "warmup", least=0))
    return Schedule(COSINE, eta, float(check_count(steps, "steps")), floor, rise)


def step_decay(eta: float, every: int, factor: float = 0.1) -> Schedule:
    """Return step sizes that are multiplied by `factor` after every `every` steps.

    Args:
        eta: the first step size.
        every: the number of steps between two falls.
        factor: between 0 and 1.

    Returns:
        The schedule.
    """
    factor = check_positive(factor, "factor")
    if factor > 1:
        raise ValueError(f"factor must be at most 1, got {factor}")
    return Schedule(STEPS, check_positive(eta, "eta"), float(check_count(every, "every")), factor)


def as_schedule(step: Any, steps: int) -> Schedule:
    """Return what the caller gave as `step` as a schedule of positive, finite sizes."""
    if isinstance(step, Schedule):
        if step.kind == COSINE and step.c == 0 and steps > step.b:
            raise ValueError(
                f"step falls to 0 after {step.b:.0f} steps, and the run has {steps}: give cosine a floor, or more steps"
            )
        return step
    if callable(step):
        step = [step(t) for t in range(1, steps + 1)]
    if not isinstance(step, (list, tuple)) and np.ndim(step) == 0:
        return Schedule(CONSTANT, check_positive(step, "step"))
    sizes = np.ascontiguousarray(as_array(step, "step", kinds="iuf", ndim=1), dtype=np.float64)
    if sizes.size != steps:
        raise ValueError(f"step must be one number or one for each of the {steps} steps, got {sizes.size}")
    check_finite(sizes, "step")
    if sizes.min() <= 0:
        first = int(np.argmax(sizes <= 0))
        raise ValueError(f"step must be greater than 0, got {sizes[first]} for step {first + 1}")
    return Schedule(TABLE, float(sizes[0]), table=sizes)


@kernel
def write_sizes(kind: int, a: float, b: float, c: float, warmup: float, table: np.ndarray, out: np.ndarray) -> None:
    """Write the sizes of the first steps."""
    for i in range(out.size):
        out[i] = step_size(kind, a, b, c, warmup, table, i + 1)
