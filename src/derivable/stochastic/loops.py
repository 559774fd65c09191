"""Stochastic gradient descent, compiled whole: order, sampled gradient, update and record in one kernel.

The kernel visits points, as the descent loops do: it takes a step, draws the next rows and evaluates their gradient,
records where something is to be recorded, and returns when it has visited its last point or something stops it.
Python runs it in stretches of about a tenth of a second, however many epochs that is, so that a run can be watched
and interrupted.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numba
import numpy as np
from numba import types

from derivable.descent.functions import Prepared, borrow, launch, prepare_args
from derivable.descent.loops import LARGEST_RECORD, curvature, norm, sum_of_squares
from derivable.descent.trajectory import DivergenceWarning, Progress, Trajectory
from derivable.jit import kernel
from derivable.stochastic.components import (
    Component,
    Parameters,
    call_block,
    call_row,
    collect,
    gather,
    prefetch,
    prepare_component,
    prepare_data,
    refuse_nan,
)
from derivable.stochastic.linear import AHEAD, CACHED, first_product, linear_steps, write_gradient
from derivable.stochastic.orders import CYCLIC, MOST_ROWS, ORDERS, Order, check_seed, fill_order
from derivable.stochastic.schedules import CONSTANT, Schedule, as_schedule, step_size, write_sizes
from derivable.stochastic.updates import (
    ADAM,
    PLAIN,
    Adam,
    Memory,
    RMSProp,
    Rule,
    check_flag,
    make_memory,
    make_rule,
    update,
)
from derivable.validation import as_array, check_choice, check_count, check_finite, check_number

__all__ = ["StochasticTrajectory", "sgd"]

# Why the kernel returned to Python before its last point.
VISITED, STOPPED, NOT_FINITE, BAD_VALUE, WRONG_SHAPE = range(5)

MOST_STEPS = 2**62
CHECK = 1024  # steps between two looks at whether the point is still finite


@dataclass(frozen=True, eq=False)
class StochasticTrajectory(Trajectory):
    r"""A finished run of [`sgd`][derivable.sgd]: a [`Trajectory`][derivable.Trajectory] measured now and then.

    A run of $T$ steps visits $w_1, ..., w_{T+1}$. `iterates` and `kept` say which of them were kept. Gradient norms and
    values were taken at the points whose numbers are in `evaluated`, the start, the ends of the epochs and the last by
    default. A gradient norm is that of the *sampled* gradient with which the step from this point is taken; the values
    are means over all data. `average` is None unless the run was asked for it. For a tuple of arrays as `w0`, every
    point is such a tuple, and `iterates` is a tuple of arrays whose first axis counts the points.

    Attributes:
        evaluated: the numbers $t$ of the points $w_t$ to which `gradient_norms`, `values` and `held_out_values`
            belong.
        held_out_values: the mean loss on the held-out data; None without such data.
        epochs: how many times the run went through the data, a fraction if it ended within an epoch.
        best: the evaluated point of the lowest value, on the held-out data where there are such.
        reason: as for a `Trajectory`; "early" if the value on the held-out data stopped falling.
    """

    evaluated: np.ndarray
    held_out_values: np.ndarray | None
    epochs: float

    def __repr__(self) -> str:
        value = "" if self.values is None else f", value {self.values[-1]:.6g}"
        if self.held_out_values is not None:
            value += f", held out {self.held_out_values[-1]:.6g}"
        return f"StochasticTrajectory({self.steps} steps, {self.epochs:g} epochs, ended by {self.reason}{value})"


class Plan(NamedTuple):
    """What a run does when, as numbers."""

    n: int
    batch: int
    per_epoch: int  # steps
    kind: int  # of order
    seed: np.uint64
    steps: int
    evaluation: int  # steps between two evaluations
    keep: int  # steps between two kept points; 0: none
    average_from: int  # the average begins with the point from which this step is taken; beyond `steps`: none
    patience: int  # evaluations without improvement; 0: any number
    min_delta: float


class Sizes(NamedTuple):
    """A schedule's numbers."""

    kind: int
    a: float
    b: float
    c: float
    warmup: float


class State(NamedTuple):
    """Where a run stands."""

    u: np.ndarray  # the point
    h: np.ndarray  # the sampled gradient there
    before: np.ndarray  # the last point known to be finite
    spare: np.ndarray  # room to add up the gradients of a batch's rows
    order: np.ndarray  # of this epoch
    safe: np.ndarray  # (1,): the number of `before`
    carry: np.ndarray  # a linear model's next row, and its product with the point


class Record(NamedTuple):
    """The arrays that a run writes its history to. Points are numbered from 0: point p is w_{p+1}."""

    iterates: np.ndarray
    norms: np.ndarray
    values: np.ndarray
    held_out: np.ndarray
    evaluated: np.ndarray
    total: np.ndarray
    best: np.ndarray
    lowest: np.ndarray  # the lowest value; the value that the next has to fall below, by `min_delta`
    counts: np.ndarray  # evaluations so far; evaluations since the value last fell


@kernel
def sample(
    gradient: Any,
    w: Any,
    g: Any,
    data: Any,
    weights: Any,
    buffers: Any,
    args: Any,
    h: np.ndarray,
    spare: np.ndarray,
    order: np.ndarray,
    in_order: bool,
    start: int,
    stop: int,
) -> bool:
    """Evaluate the gradient on the rows order[start:stop], into the vector `h`; False if its shape is wrong.

    By rows (`weights` is an array, `buffers` None): the mean of the rows' gradients, each times its weight. By batches
    (the other way round): what the user's function makes of the whole batch.
    """
    if weights is not None:
        if stop - start == 1:
            i = np.int64(order[start])
            if collect(call_row(gradient, w, data, i, args, g), w, h, 0) != h.size:
                return False
            if weights.size > 0:
                for j in range(h.size):
                    h[j] *= weights[i]
            return True
        for j in range(h.size):
            spare[j] = 0
        for k in range(start, stop):
            i = np.int64(order[k])
            if collect(call_row(gradient, w, data, i, args, g), w, h, 0) != h.size:
                return False
            share = (weights[i] if weights.size > 0 else 1.0) / (stop - start)
            for j in range(h.size):
                spare[j] += share * h[j]
        for j in range(h.size):
            h[j] = spare[j]
    if buffers is not None:
        if in_order:  # the rows lie one after another: no copy
            return collect(call_block(gradient, w, data, start, stop - start, args, g), w, h, 0) == h.size
        gather(data, order, start, stop, buffers)
        return collect(call_block(gradient, w, buffers, 0, stop - start, args, g), w, h, 0) == h.size
    return True


@kernel
def mean_value(value: Any, w: Any, g: Any, data: Any, weights: Any, buffers: Any, args: Any, batch: int) -> float:
    """Return the mean of the user's loss over all rows: row by row, or batch by batch, weighted by their sizes."""
    n = data[0].shape[0]
    total = 0.0
    if weights is not None:
        for i in range(n):
            loss = float(call_row(value, w, data, i, args, g))
            total += loss * weights[i] if weights.size > 0 else loss
    if buffers is not None:
        for start in range(0, n, batch):
            count = min(batch, n - start)
            total += count * float(call_block(value, w, data, start, count, args, g))
    return total / n


@kernel
def note(
    value: Any,
    w: Any,
    g: Any,
    data: Any,
    held_out: Any,
    weights: Any,
    no_weights: Any,
    buffers: Any,
    args: Any,
    plan: Plan,
    state: State,
    record: Record,
    p: int,
) -> tuple[int, int]:
    """Look whether point p is finite, and record what is due there; return a status, and when to come back."""
    u, h, before = state.u, state.h, state.before
    evaluating = p % plan.evaluation == 0 or p == plan.steps
    event = min(p - p % plan.evaluation + plan.evaluation, p - p % CHECK + CHECK)
    if plan.keep > 0:
        event = min(event, p - p % plan.keep + plan.keep)
    if p < plan.steps:
        event = min(event, plan.steps)
    length = norm(h, sum_of_squares(h))
    if not length < np.inf or not norm(u, sum_of_squares(u)) < np.inf:
        return NOT_FINITE, event
    counts, lowest = record.counts, record.lowest
    if evaluating:
        k = counts[0]
        watched = 0.0
        if value is not None:
            f = mean_value(value, w, g, data, weights, buffers, args, plan.batch)
            record.values[k] = f
            watched = f
            if held_out is not None:
                watched = mean_value(value, w, g, held_out, no_weights, buffers, args, plan.batch)
                record.held_out[k] = watched
            if not abs(f) < np.inf or not abs(watched) < np.inf:
                return BAD_VALUE, event
        record.norms[k] = length
        record.evaluated[k] = p
        counts[0] = k + 1
        if value is not None:
            counts[1] += 1
            if watched < lowest[1] - plan.min_delta:
                counts[1] = 0
                lowest[1] = watched
            if watched < lowest[0]:
                lowest[0] = watched
                for i in range(u.size):
                    record.best[i] = u[i]
    if plan.keep > 0 and p % plan.keep == 0:
        for i in range(u.size):
            record.iterates[p // plan.keep, i] = u[i]
    for i in range(u.size):
        before[i] = u[i]
    state.safe[0] = p
    if evaluating and plan.patience > 0 and counts[1] >= plan.patience:
        return STOPPED, event
    return VISITED, event


@kernel
def walk(
    gradient: Any,
    slope: Any,
    value: Any,
    w: Any,
    g: Any,
    data: Any,
    held_out: Any,
    weights: Any,
    no_weights: Any,
    buffers: Any,
    args: Any,
    sizes: Sizes,
    table: np.ndarray,
    rule: Rule,
    memory: Memory,
    plan: Plan,
    state: State,
    record: Record,
    first: int,
    last: int,
) -> tuple[int, int]:
    """Visit the points first..last: take the step, draw the next rows, evaluate their gradient, record.

    On entry `state` holds the point `first - 1` (at first = 0: the start) and the sampled gradient there.

    Returns:
        The last point that was visited and is finite, and why the kernel returned.
    """
    u, h, spare, order, carry = state.u, state.h, state.spare, state.order, state.carry
    decay, m, s, a = memory
    totals = record.total
    in_order = plan.kind == CYCLIC
    simple = rule.kind == PLAIN and rule.momentum == 0 and rule.clip == np.inf
    plain = simple and decay.size == 0
    fixed, size = sizes.kind == CONSTANT and sizes.warmup == 0, sizes.a
    single = False
    if weights is not None:
        single = plan.batch == 1 and weights.size == 0
    event = first
    p = first - 1

    if slope is not None:  # noqa: SIM102
        if single and simple and plan.average_from >= plan.steps:  # a linear model's rows, one by one
            ahead = not in_order or data[0].nbytes > CACHED
            while p < last:
                position = (p + 1) % plan.per_epoch
                if position == 0:
                    fill_order(order, plan.kind, plan.seed, (p + 1) // plan.per_epoch)
                if p < 0:
                    row = np.int64(order[0])
                    p, z = 0, first_product(u, data, row)
                else:
                    count = min(min(event, last) - p, plan.per_epoch - position)
                    row, z = linear_steps(
                        slope,
                        u,
                        data,
                        order,
                        ahead,
                        np.int64(carry[0]),
                        carry[1],
                        position,
                        position + count,
                        p + 1,
                        sizes,
                        table,
                        decay,
                    )
                    p += count
                carry[0], carry[1] = row, z
                if p >= event:
                    write_gradient(slope, data, row, z, h)
                    status, event = note(
                        value, w, g, data, held_out, weights, no_weights, buffers, args, plan, state, record, p
                    )
                    if status != VISITED:
                        return p, status
            return last, VISITED

    position = first % plan.per_epoch
    while p < last:
        p += 1
        if p > 0:
            if p > plan.average_from:
                for i in range(u.size):
                    totals[i] += u[i]
            if not fixed:
                size = step_size(sizes.kind, sizes.a, sizes.b, sizes.c, sizes.warmup, table, p)
            if plain:  # written out: handing the arrays to a function takes longer than such a step
                for i in range(u.size):
                    u[i] -= u.dtype.type(size) * h[i]
            else:
                update(u, h, size, p, rule, decay, m, s, a)
        if position == 0:
            fill_order(order, plan.kind, plan.seed, p // plan.per_epoch)
        start = position * plan.batch
        stop = min(start + plan.batch, plan.n)
        if weights is not None:  # noqa: SIM102
            if not in_order and start + AHEAD < plan.n:
                prefetch(data, order[start + AHEAD])
        if single:
            if weights is not None:  # noqa: SIM102
                if collect(call_row(gradient, w, data, np.int64(order[start]), args, g), w, h, 0) != h.size:
                    return p, WRONG_SHAPE
        elif not sample(gradient, w, g, data, weights, buffers, args, h, spare, order, in_order, start, stop):
            return p, WRONG_SHAPE
        position += 1
        if position == plan.per_epoch:
            position = 0
        if p >= event:
            status, event = note(
                value, w, g, data, held_out, weights, no_weights, buffers, args, plan, state, record, p
            )
            if status != VISITED:
                return p, status
    return last, VISITED


@kernel
def enter(
    gradient: Any,
    slope: Any,
    value: Any,
    w: Any,
    g: Any,
    data: Any,
    held_out: Any,
    weights: Any,
    no_weights: Any,
    buffers: Any,
    args: Any,
    sizes: Any,
    table: Any,
    rule: Any,
    memory: Any,
    plan: Any,
    state: Any,
    record: Any,
    first: Any,
    last: Any,
) -> tuple[int, int]:
    """Call `walk` with arrays whose references need no counting."""
    return walk(
        gradient,
        slope,
        value,
        borrow(w),
        borrow(g),
        borrow(data),
        borrow(held_out),
        borrow(weights),
        borrow(no_weights),
        borrow(buffers),
        borrow(args),
        sizes,
        borrow(table),
        rule,
        borrow(memory),
        plan,
        borrow(state),
        borrow(record),
        first,
        last,
    )


def sgd(
    gradient: Callable[..., Any],
    w0: Any,
    data: tuple[Any, ...],
    *,
    step: Any,
    epochs: int | None = None,
    steps: int | None = None,
    args: tuple[Any, ...] = (),
    batch: int = 1,
    batched: bool = False,
    order: Order = "shuffle",
    seed: int = 0,
    drop_last: bool = False,
    weights: Any = None,
    momentum: float = 0.0,
    nesterov: bool = False,
    rule: Adam | RMSProp | None = None,
    weight_decay: Any = 0.0,
    clip: float | None = None,
    average: Literal["all"] | float | None = None,
    value: Callable[..., Any] | None = None,
    held_out: tuple[Any, ...] | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    evaluate: Literal["epochs", "all"] | int = "epochs",
    keep: Literal["epochs", "all", "last"] | int = "epochs",
    callback: Callable[[Progress], Any] | None = None,
    every: int = 1,
    progress: bool = False,
    allow_nan: bool = False,
) -> StochasticTrajectory:
    r"""Minimise a mean of losses by stochastic gradient descent, whole epochs in one compiled loop.

    The objective is $f(w) = \frac1n \sum_i f_i(w)$, where $f_i$ is the loss on row $i$ of the data. A step is
    $w_{t+1} = w_t - \eta_t g_t$, with $g_t$ the gradient of the mean of $f_i$ over the rows of one batch.

    One step goes: draw the batch; evaluate its gradient; clip it; add the weight decay; update. The loop is compiled
    once for each combination of argument types and stored on disk; give the gradient `@njit(cache=True)` to store it
    as well.

    Args:
        gradient: an `@njit` function `gradient(w, *rows, *args)` that gets one row of each data array (a number, of an
            array of one dimension) and returns the gradient of $f_i$ there; `dv.grad` of a loss is one. With
            `batched=True` it gets `batch` rows at once (fewer in the last batch of an epoch) and returns the gradient
            of their *mean*. A function marked by [`in_place`][derivable.in_place] writes into its last argument. The
            rows are views into the data: do not write into them.
        w0: the start $w_1$: a number, an array of any shape, or a tuple of arrays (tuples may hold tuples). Not
            modified. float32 stays float32, integers become float64.
        data: a tuple of arrays with $n$ rows each, along the first axis. Strided ones are copied, once.
        step: the step size: a number, a schedule of `dv.schedules`, an array of one size for each step, or a function
            of the step's number $t = 1, 2, ...$, asked for all of them before the run.
        epochs: how many times to go through the data; or give `steps`.
        steps: how many steps to take.
        args: what the gradient takes after the rows: arrays and numbers.
        batch: the number of rows for each step.
        batched: whether `gradient` and `value` take batches. If not, the loop itself averages over the rows of a batch.
        order: "shuffle" (a new permutation each epoch), "shuffle_once", "cyclic" (as the rows lie), or "replacement"
            (independent draws); see [`sample_order`][derivable.sample_order].
        seed: of the order. The same seed gives the same run, in another process and at any number of threads.
        drop_last: leave out the last batch of an epoch where it is smaller than the others. If it is kept (the
            default), its rows weigh more than others, for a step is a mean over its batch.
        weights: a number for each row, at least 0, by which its gradient (and value) is multiplied. A weight of 2 makes
            one step twice as long; it is not two steps. With `batched=True`, put the weights among the data.
        momentum: $\beta$ in [0, 1): $m_t = \beta m_{t-1} + g_t$, $w_{t+1} = w_t - \eta_t m_t$, PyTorch's convention.
        nesterov: step along $g_t + \beta m_t$ instead.
        rule: an [`Adam`][derivable.Adam] or [`RMSProp`][derivable.RMSProp], in place of the plain step.
        weight_decay: $\lambda$, a number or numbers in the shape of `w0`: $\lambda w_t$ is added to the gradient (see
            `Adam` for the decoupled form). Not part of `value`.
        clip: scale a sampled gradient that is longer than this back to this length.
        average: also return the mean of the points from which steps were taken: "all" of them, or the last fraction,
            as in `average=0.5`.
        value: the loss: an `@njit` function of the same arguments as `gradient`. Given it, the run records its mean
            over the data and the best point.
        held_out: further data, in the shape of `data`, on which `value` is measured as well.
        patience: stop when the value (on the held-out data, where there are such) has not fallen below its lowest for
            this many evaluations.
        min_delta: by how much it has to fall to count.
        evaluate: when to evaluate: "epochs" (at the ends of the epochs), "all" (at each point), or every so many
            steps. The start and the last point always are.
        keep: which points to keep: "epochs", "all", "last", or every so many steps; the last one always.
        callback: called from Python with a [`Progress`][derivable.Progress] after every `every` evaluations; the run
            stops if it returns True. What it raises carries the run so far, as its attribute `trajectory`.
        every: the evaluations between two calls of `callback`.
        progress: show a bar on the standard error.
        allow_nan: whether the data may hold NaN.

    Returns:
        The run.

    Raises:
        TypeError: if `gradient` or `value` is not compiled, does not take these arguments, or does not return what it
            should; if an argument has the wrong type.
        ValueError: if a number is out of range or not finite, if shapes disagree, if the gradient or value at `w0` is
            not finite, or if evaluating them modifies `w`.
        KeyboardInterrupt: if the user interrupts; its attribute `trajectory` holds the run so far.

    Warns:
        DivergenceWarning: if a point, a gradient or a value stops being finite (the run then ends at the last point
            known to be finite), or if the run ends higher than it began and the step is beyond the limit.

    Examples:
        ```python
        import derivable as dv
        import numpy as np
        from numba import njit

        @njit
        def loss(w, x, y):
            return (x @ w - y) ** 2 / 2

        X = np.random.default_rng(0).normal(size=(100, 3))
        run = dv.sgd(dv.grad(loss), np.zeros(3), (X, X @ np.array([1.0, 2.0, 3.0])), step=0.1, epochs=20)
        print(run.last, run.steps)
        #> [1. 2. 3.] 2000  [rtol 1e-6]
        ```

    References:
        H. Robbins and S. Monro, *A stochastic approximation method*, Annals of Mathematical Statistics 22 (1951).
        L. Bottou, F. E. Curtis and J. Nocedal, *Optimization methods for large-scale machine learning*, SIAM Review 60
        (2018).
    """
    data = prepare_data(data)
    args = prepare_args(args)
    n = len(data[0])
    if n > MOST_ROWS:
        raise ValueError(f"data must have at most {MOST_ROWS} rows, got {n}")
    batch = check_count(batch, "batch")
    if batch > n:
        raise ValueError(f"batch must be at most the number of rows, {n}, got {batch}")
    for flag, name in (
        (batched, "batched"),
        (drop_last, "drop_last"),
        (progress, "progress"),
        (allow_nan, "allow_nan"),
    ):
        check_flag(flag, name)
    per_epoch = n // batch if drop_last else -(-n // batch)
    if (epochs is None) == (steps is None):
        raise ValueError(f"give either epochs or steps, got {'neither' if steps is None else 'both'}")
    total = check_count(steps, "steps") if steps is not None else check_count(epochs, "epochs") * per_epoch
    if total > MOST_STEPS:
        raise ValueError(f"{'epochs' if steps is None else 'steps'} must make at most {MOST_STEPS} steps, got {total}")
    kind = ORDERS.index(check_choice(order, "order", ORDERS))
    parameters = Parameters(w0)
    if check := getattr(gradient, "check", None):
        check(data, w0 if parameters.kind == "number" else parameters.w)
    shortcut = _shortcut(gradient, parameters, data, batched)
    # A NaN in a row of a linear model turns up in the point: where all rows come up, one look at the end of the first
    # epoch does, and saves a pass over the data.
    late = shortcut is not None and order != "replacement" and total * batch >= n
    if not allow_nan and not late:
        refuse_nan(data)
    dtype = parameters.flat.dtype
    schedule = as_schedule(step, total)
    _check_sizes(schedule, dtype, total)
    settings = make_rule(rule, momentum, nesterov, clip)
    share = _weights(weights, n, batched)
    if value is None:
        for given, name in ((held_out, "held_out"), (patience, "patience")):
            if given is not None:
                raise ValueError(f"{name} needs value, the loss to measure")
    others = None
    if held_out is not None:
        others = prepare_data(held_out, "held_out")
        if not allow_nan:
            refuse_nan(others, "held_out")
        if len(others) != len(data):
            raise ValueError(f"held_out must hold as many arrays as data, {len(data)}, got {len(others)}")
        others = tuple(
            a.astype(b.dtype) if np.can_cast(a.dtype, b.dtype) else a for a, b in zip(others, data, strict=True)
        )
        for k, (a, b) in enumerate(zip(others, data, strict=True)):
            if (a.dtype, a.shape[1:]) != (b.dtype, b.shape[1:]):
                raise ValueError(
                    "held_out must be arrays of the shapes and dtypes of data, but for the number of rows: "
                    f"held_out[{k}] has rows of {a.dtype}, shape {a.shape[1:]}, data[{k}] of {b.dtype}, {b.shape[1:]}"
                )
        if check := getattr(gradient, "check", None):
            check(others, w0 if parameters.kind == "number" else parameters.w, "held_out")
    slope = prepare_component(gradient, "gradient", parameters, data, args, batched=batched, returns="gradient")
    loss = None
    if value is not None:
        loss = prepare_component(value, "value", parameters, data, args, batched=batched, returns="value")
    period = _period(evaluate, "evaluate", per_epoch, total)
    keeping = 0 if keep == "last" else _period(keep, "keep", per_epoch, total)
    plan = Plan(
        n=n,
        batch=batch,
        per_epoch=per_epoch,
        kind=kind,
        seed=check_seed(seed),
        steps=total,
        evaluation=period,
        keep=keeping,
        average_from=_average_from(average, total),
        patience=0 if patience is None else check_count(patience, "patience"),
        min_delta=_at_least_zero(min_delta, "min_delta"),
    )
    size = parameters.flat.size
    gradient_there = np.full(size, np.nan, dtype)
    state = State(
        u=parameters.flat,
        h=gradient_there,
        before=parameters.flat.copy(),
        spare=np.zeros(size if batch > 1 and not batched else 0),
        order=np.zeros(n, np.uint32),  # half of int64's memory: it is visited at random
        safe=np.zeros(1, np.int64),
        carry=np.zeros(2),
    )
    record = _make_record(plan, size, dtype, loss is not None, others is not None, average is not None)
    buffers = tuple(np.empty((batch, *x.shape[1:]), x.dtype) for x in data) if batched else None
    memory = make_memory(settings, _decay(weight_decay, parameters), size, dtype)
    rest = (
        parameters.w,
        parameters.view(gradient_there),
        data,
        others,
        None if batched else share,
        None if batched else np.empty(0, dtype),
        buffers,
        args,
        Sizes(*schedule.numbers[:-1]),
        schedule.numbers[-1],
        settings,
        memory,
        plan,
        state,
        record,
    )
    begin = launch(enter, slope, shortcut, loss, *rest, 0, 0)
    run = _Run(
        parameters,
        plan,
        schedule,
        settings,
        memory,
        record,
        state,
        slope,
        data,
        args,
        batched,
        average is not None,
        allow_nan,
    )

    def advance(first: int, last: int) -> tuple[int, int]:
        return begin(slope.function, shortcut and shortcut.function, loss and loss.function, *rest, first, last)

    return run.drive(advance, callback, check_count(every, "every"), progress)


def _shortcut(gradient: Any, parameters: Parameters, data: tuple[np.ndarray, ...], batched: bool) -> Prepared | None:
    """Return the slope of a linear model's loss, compiled, where the gradient carries one and the data are a table."""
    slope = getattr(gradient, "slope", None)
    if slope is None or batched or parameters.kind != "array" or len(data) != 2:
        return None
    X, y = data
    if X.ndim != 2 or y.ndim != 1 or X.dtype.kind != "f" or y.dtype.kind not in "if":
        return None
    if parameters.w.shape not in ((X.shape[1],), (X.shape[1] + 1,)):
        return None
    if numba.config.DISABLE_JIT:
        return Prepared(slope, None, parameters.flat.dtype, slope)
    signature = types.float64(types.float64, types.float64)
    slope.compile(signature.args)
    return Prepared(slope, types.FunctionType(signature), parameters.flat.dtype, slope)


# --------------------------------------------------------------------------------------- checks of arguments


def _check_sizes(schedule: Schedule, dtype: Any, steps: int) -> None:
    sizes = np.asarray(schedule.table) if len(schedule.table) else np.array([schedule(1), schedule(steps)])
    with np.errstate(all="ignore"):
        fitting = sizes.astype(dtype)
    bad = np.flatnonzero(~((fitting > 0) & np.isfinite(fitting)))
    if bad.size:
        raise ValueError(f"step must be greater than 0 and finite in {dtype}, got {sizes[bad[0]]}")


def _decay(weight_decay: Any, parameters: Parameters) -> np.ndarray:
    if not isinstance(weight_decay, tuple) and np.ndim(weight_decay) == 0:
        number = _at_least_zero(weight_decay, "weight_decay")
        return np.full(parameters.flat.size if number > 0 else 0, number)
    decay = parameters.vector(weight_decay, "weight_decay")
    check_finite(decay, "weight_decay")
    if decay.min() < 0:
        raise ValueError(f"weight_decay must be at least 0 everywhere, got {decay.min()}")
    return decay if decay.max() > 0 else decay[:0]


def _weights(weights: Any, n: int, batched: bool) -> np.ndarray:
    if weights is None:
        return np.empty(0)
    if batched:
        raise ValueError("weights must be None with batched=True: put them among the data, as one more array")
    share = np.ascontiguousarray(as_array(weights, "weights", kinds="biuf", ndim=1), np.float64)
    if share.size != n:
        raise ValueError(f"weights must have one entry for each of the {n} rows, got {share.size}")
    check_finite(share, "weights")
    if share.min() < 0:
        raise ValueError(f"weights must be at least 0, got {share.min()} at index {int(np.argmin(share))}")
    if share.max() == 0:
        raise ValueError("weights must not be 0 for all rows")
    return share


def _at_least_zero(value: Any, name: str) -> float:
    number = check_number(value, name)
    if number < 0:
        raise ValueError(f"{name} must be at least 0, got {value}")
    return number


def _period(value: Any, name: str, per_epoch: int, steps: int) -> int:
    if isinstance(value, str):
        words = ("epochs", "all", "last") if name == "keep" else ("epochs", "all")
        value = per_epoch if check_choice(value, name, words) == "epochs" else 1
    return min(check_count(value, name), steps + 1)


def _average_from(average: Any, steps: int) -> int:
    if average is None:
        return steps + 1
    if isinstance(average, str):
        check_choice(average, "average", ("all",))
        return 0
    fraction = check_number(average, "average")
    if not 0 < fraction <= 1:
        raise ValueError(f"average must be None, 'all' or a fraction in (0, 1], got {average}")
    return steps - int(np.ceil(fraction * steps))


def _make_record(plan: Plan, size: int, dtype: Any, valued: bool, others: bool, averaged: bool) -> Record:
    rows = plan.steps // plan.keep + 1 if plan.keep else 0
    if rows * size * dtype.itemsize > LARGEST_RECORD:
        raise ValueError(
            f"keep would keep {rows} points of {size * dtype.itemsize} bytes, "
            f"{rows * size * dtype.itemsize / 1e9:.0f} GB: use keep='last', or a larger number of steps"
        )
    evaluations = plan.steps // plan.evaluation + 2
    if evaluations * 32 > LARGEST_RECORD:
        raise ValueError(f"evaluate would evaluate {evaluations} points: give a larger number of steps")
    return Record(
        iterates=np.empty((rows, size), dtype),
        norms=np.empty(evaluations),
        values=np.empty(evaluations if valued else 0),
        held_out=np.empty(evaluations if others else 0),
        evaluated=np.empty(evaluations, np.int64),
        total=np.zeros(size if averaged else 0),
        best=np.empty(size if valued else 0, dtype),
        lowest=np.full(2, np.inf),
        counts=np.zeros(2, np.int64),
    )


# -------------------------------------------------------------------------------------------- run the kernel


class _Run:
    """One run: drives the kernel in stretches, and turns its record into a trajectory."""

    def __init__(
        self,
        parameters: Parameters,
        plan: Plan,
        schedule: Schedule,
        rule: Rule,
        memory: Memory,
        record: Record,
        state: State,
        slope: Component,
        data: tuple[np.ndarray, ...],
        args: tuple[Any, ...],
        batched: bool,
        averaged: bool,
        allow_nan: bool,
    ):
        self.parameters, self.plan, self.schedule, self.rule, self.memory = parameters, plan, schedule, rule, memory
        self.record, self.state, self.slope, self.data, self.args = record, state, slope, data, args
        self.batched, self.averaged, self.allow_nan = batched, averaged, allow_nan
        self.start = parameters.flat.copy()

    def drive(
        self,
        advance: Callable[[int, int], tuple[int, int]],
        callback: Callable[[Progress], Any] | None,
        every: int,
        progress: bool,
    ) -> StochasticTrajectory:
        """Run to the end in stretches of about a tenth of a second."""
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be a function, got {type(callback).__name__}")
        plan, record, flat = self.plan, self.record, self.parameters.flat
        status, reached, stretch, reason = VISITED, -1, 1, "steps"
        pause = every * plan.evaluation
        bar = _Bar(plan) if progress else None
        try:
            while reached < plan.steps:
                first = reached + 1
                last = min(reached + stretch, plan.steps)
                if callback is not None:
                    last = min(last, (max(reached, 0) // pause + 1) * pause)
                began = time.perf_counter()
                with np.errstate(all="ignore"):
                    reached, status = advance(first, last)
                seconds = time.perf_counter() - began
                stretch = int(min(max(1, (last - first + 1) * 0.1 / max(seconds, 1e-6)), 8 * stretch + 1000))
                if status == WRONG_SHAPE:
                    raise ValueError(self.wrong_shape())
                if first == 0 and not np.array_equal(flat, self.start) and status in (VISITED, STOPPED):
                    raise ValueError(
                        "gradient and value must not modify w: after one call at w0 it holds other numbers"
                    )
                if status in (NOT_FINITE, BAD_VALUE):
                    if not self.allow_nan:
                        refuse_nan(self.data)
                    if first == 0:
                        raise ValueError(self.not_finite_at_start(status))
                    self.failed = reached
                    reached = int(self.state.safe[0])
                    flat[:] = self.state.before
                    reason = "diverged"
                    break
                if bar:
                    bar.show(reached, self.latest())
                if status == STOPPED:
                    reason = "early"
                    break
                if callback is not None and reached > 0 and reached % pause == 0:
                    w = self.parameters.public(flat.copy())
                    f = self.latest()
                    try:
                        stop = callback(Progress(reached, w, f, float(record.norms[record.counts[0] - 1])))
                    except Exception as error:
                        error.trajectory = self.finish(reached, "interrupted")  # type: ignore[attr-defined]
                        error.add_note(
                            f"callback raised this after {reached} steps; the run so far is error.trajectory"
                        )
                        raise
                    if isinstance(stop, (bool, np.bool_)) and stop:
                        reason = "callback"
                        break
        except KeyboardInterrupt as error:
            if reached >= 0:
                error.trajectory = self.finish(reached, "interrupted")  # type: ignore[attr-defined]
                error.add_note(f"sgd was interrupted after {reached} steps; the run so far is error.trajectory")
            raise
        finally:
            if bar:
                bar.close(reached, self.latest() if reached >= 0 else None)
        run = self.finish(reached, reason)
        if problem := self.divergence(run, status):
            warnings.warn(problem, DivergenceWarning, stacklevel=3)
        return run

    def latest(self) -> float | None:
        """Return the value at the last evaluation."""
        return float(self.record.values[self.record.counts[0] - 1]) if self.record.values.size else None

    def finish(self, reached: int, reason: str) -> StochasticTrajectory:
        """Return the run up to the point `reached` (numbered from 0), which is in the parameters."""
        plan, record, parameters = self.plan, self.record, self.parameters
        last = parameters.flat.copy()
        points = np.arange(0, reached + 1, plan.keep) if plan.keep else np.arange(0)
        iterates = record.iterates[: points.size]
        if points.size == 0 or points[-1] != reached:
            points = np.append(points, reached)
            iterates = np.concatenate([iterates, last[None]])
        elif points.size < len(record.iterates):
            iterates = iterates.copy()
        count = int(record.counts[0])
        averaged = max(reached - plan.average_from, 0)
        average = None
        if self.averaged:
            average = (record.total / averaged).astype(last.dtype) if averaged else last.copy()
        sizes: Any = self.schedule.a
        if self.schedule.kind != CONSTANT or self.schedule.warmup:
            sizes = np.empty(reached)
            write_sizes(*self.schedule.numbers, sizes)

        def public(flat: np.ndarray | None) -> Any:
            return None if flat is None else parameters.public(flat)

        return StochasticTrajectory(
            iterates=parameters.many(iterates),
            kept=points + 1,
            last=public(last),
            average=public(average),
            steps=reached,
            step_sizes=sizes,
            gradient_norms=record.norms[:count].copy(),
            values=record.values[:count].copy() if record.values.size else None,
            best=public(record.best.copy()) if record.values.size else None,
            reason=reason,
            evaluated=record.evaluated[:count] + 1,
            held_out_values=record.held_out[:count].copy() if record.held_out.size else None,
            epochs=reached / plan.per_epoch,
        )

    # ------------------------------------------------------------------------------ when something goes wrong

    def mean_gradient(self, rows: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return the gradient of the mean of some rows, evenly chosen, as a function of a flat vector."""
        chosen = np.unique(np.linspace(0, self.plan.n - 1, rows).astype(int))
        view, call = self.parameters.view, self.slope.call
        if self.batched:
            block = tuple(np.ascontiguousarray(x[chosen]) for x in self.data)
            return lambda flat: call(view(flat), block)

        def gradient(flat: np.ndarray) -> np.ndarray:
            w = view(flat)
            return np.mean([call(w, tuple(x[i] for x in self.data)) for i in chosen], axis=0)

        return gradient

    def wrong_shape(self) -> str:
        return "gradient must return an array of the shape of w (for a tuple: arrays of the shapes of its arrays)"

    def not_finite_at_start(self, status: int) -> str:
        if status == BAD_VALUE:
            return "value at w0 must be finite, got NaN or an infinity"
        message = (
            f"gradient at w0 must be finite, got {self.state.h[~np.isfinite(self.state.h)][:1]} on the first batch"
        )
        for k, x in enumerate(self.data):
            if x.dtype.kind in "fc" and not np.isfinite(x).all():
                message += f"; data[{k}] holds NaN or infinities"
        return message

    def divergence(self, run: StochasticTrajectory, status: int) -> str | None:
        """Return what to warn of, or None for a run that did not get worse."""
        sizes = run.step_sizes
        size = float(np.max(sizes)) if np.size(sizes) else self.schedule(1)
        values = run.values
        start, end = self.start, self.parameters.flat
        gradient = self.mean_gradient(64)
        if run.reason == "diverged":
            which = "the value" if status == BAD_VALUE else "the point or its gradient"
            what = f"sgd diverged: after {self.failed} of {self.plan.steps} steps {which} is not finite"
        elif values is not None:
            if not values[-1] > values[0] + 1e-9 * abs(values[0]):
                return None
            what = f"sgd went up: from value {values[0]:.6g} at w0 to {values[-1]:.6g} after {run.steps} steps"
        else:
            if not run.gradient_norms[-1] > 2 * run.gradient_norms[0]:
                return None  # a cheap look; the next costs many calls from Python
            with np.errstate(all="ignore"):
                norms = [float(np.linalg.norm(gradient(p))) for p in (start, end)]
            if not norms[1] > norms[0]:
                return None
            what = f"sgd may diverge: the norm of the mean gradient rose from {norms[0]:.3g} to {norms[1]:.3g}"
        remedy = "A large L often comes from features of very different scale: standardise them."
        if self.rule.kind != PLAIN:
            if run.reason != "diverged":
                return None
            name = "Adam" if self.rule.kind == ADAM else "RMSProp"
            return f"{what}. The step {size:.3g} is too large for {name}, or the data need scaling: standardise them."
        beta = self.rule.momentum
        limit = 2 * (1 + beta) / (1 + 2 * beta if self.rule.nesterov else 1)
        formula = "2/L" if beta == 0 else f"{limit:.3g}/L (with momentum {beta:g})"
        decay = float(self.memory.decay.max()) if self.memory.decay.size else 0.0
        smooth = max(curvature(gradient, start), curvature(gradient, end)) + decay
        if size * smooth > limit:
            return (
                f"{what}. The step {size:.3g} is too large: for the mean loss it must be less than {formula}, and "
                f"near the points visited L is at least {smooth:.3g}: {formula.split(' ')[0]} <= {limit / smooth:.3g}. "
                f"{remedy}"
            )
        chosen = np.unique(np.linspace(0, self.plan.n - 1, 64).astype(int))
        largest = 0.0
        for i in chosen:
            rows = tuple(np.ascontiguousarray(x[i : i + 1]) if self.batched else x[i] for x in self.data)

            def one_gradient(flat: np.ndarray, rows: tuple[Any, ...] = rows) -> np.ndarray:
                return self.slope.call(self.parameters.view(flat), rows)

            one = curvature(one_gradient, start)
            largest = max(largest, one + decay)
        if size * largest > limit:
            return (
                f"{what}. The step {size:.3g} is below {formula} for the mean loss, but single rows have an L of up to "
                f"{largest:.3g}: lower the step towards {limit / largest:.3g}, or take larger batches. {remedy}"
            )
        if run.reason == "diverged":
            return f"{what}. The step {size:.3g} may be too large (it must be less than {formula}). {remedy}"
        return None


class _Bar:
    """A progress bar of one line."""

    def __init__(self, plan: Plan):
        self.plan, self.began, self.shown = plan, time.perf_counter(), 0.0

    def show(self, reached: int, value: float | None) -> None:
        """Draw it, at most ten times a second."""
        now = time.perf_counter()
        if now - self.shown < 0.1:
            return
        self.shown = now
        done = reached / self.plan.steps
        text = f"\rsgd [{'#' * int(30 * done):<30}] {reached}/{self.plan.steps} steps, {now - self.began:.1f} s"
        if value is not None:
            text += f", value {value:.6g}"
        print(text, end="", file=sys.stderr, flush=True)

    def close(self, reached: int, value: float | None) -> None:
        """Draw it once more and end the line."""
        self.shown = 0.0
        self.show(max(reached, 0), value)
        print(file=sys.stderr, flush=True)
