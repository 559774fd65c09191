"""Descent loops, compiled whole around the gradient they are given.

A loop is a kernel that visits points: it takes a step, evaluates the gradient (and the value), records, and
returns when it has visited its last point or something stops it. `drive` runs such a kernel in stretches of a
fraction of a second, so that a run can be interrupted, watched and stopped from Python, and turns the record
into a `Trajectory`.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from derivable.descent.functions import (
    Prepared,
    borrow,
    find_nan,
    invoke,
    invoke_proximal,
    launch,
    prepare,
    prepare_args,
    prepare_proximal,
)
from derivable.descent.proximal import Proximal
from derivable.descent.trajectory import DivergenceWarning, Progress, Trajectory
from derivable.jit import kernel
from derivable.validation import as_array, check_count, check_finite, check_number, check_positive

__all__ = ["gradient_descent"]

# Why a loop returned to Python before its last point.
VISITED, CONVERGED, BAD_GRADIENT, BAD_POINT, BAD_VALUE, WRONG_SHAPE, ON_TARGET, STALLED = range(8)
ENDS = {CONVERGED: "tolerance", ON_TARGET: "target", STALLED: "stalled"}

# Largest record of iterates, in bytes; a run that would need more is refused with advice.
LARGEST_RECORD = 2**32


class Record(NamedTuple):
    """The arrays that a loop writes its history to. Points are numbered from 0 here: row p is w_{p+1}."""

    iterates: np.ndarray  # (rows, n): points 0, every, 2 every, ...
    every: int  # 0: keep none
    norms: np.ndarray  # (T + 1,)
    values: np.ndarray  # (T + 1,), or empty
    total: np.ndarray  # (n,): the sum of the points from which a step was taken; empty if not wanted
    best: np.ndarray  # (n,): the point of lowest value so far; empty if not wanted
    lowest: np.ndarray  # (1,): its value


# ------------------------------------------------------------------------------------ pieces of the kernels


def take(v: Any, w: Any, flat: Any) -> bool:
    """Copy a returned gradient to the vector `flat`; False if it has not the shape of `w`.

    Copied, as it may be a view into `w`, which the step is about to change. This is the plain version;
    compiled, one of those below takes its place, by what the user's function returns.
    """
    if v.shape != w.shape:
        return False
    flat[...] = v.reshape(-1)
    return True


@overload(take)
def _take(v, w, flat):  # type: ignore[no-untyped-def]
    if w.ndim == 1 and isinstance(v, types.Array):

        def vector(v, w, flat):  # type: ignore[no-untyped-def]
            if v.size != flat.size:
                return False
            for i in range(flat.size):
                flat[i] = v[i]
            return True

        return vector
    if isinstance(v, types.Array):

        def array(v, w, flat):  # type: ignore[no-untyped-def]
            if v.shape != w.shape:
                return False
            source = np.ascontiguousarray(v).reshape(-1)
            for i in range(flat.size):
                flat[i] = source[i]
            return True

        return array

    if isinstance(v, types.NoneType):  # it wrote in place

        def nothing(v, w, flat):  # type: ignore[no-untyped-def]
            return True

        return nothing

    def number(v, w, flat):  # type: ignore[no-untyped-def]
        flat[0] = v
        return True

    return number


@kernel
def sum_of_squares(x: np.ndarray) -> float:
    """Return the sum of squares in float64; eight partial sums, so that the additions overlap."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = x.size - x.size % 8
    for i in range(0, whole, 8):
        s0 += np.float64(x[i]) ** 2
        s1 += np.float64(x[i + 1]) ** 2
        s2 += np.float64(x[i + 2]) ** 2
        s3 += np.float64(x[i + 3]) ** 2
        s4 += np.float64(x[i + 4]) ** 2
        s5 += np.float64(x[i + 5]) ** 2
        s6 += np.float64(x[i + 6]) ** 2
        s7 += np.float64(x[i + 7]) ** 2
    s = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    for i in range(whole, x.size):
        s += np.float64(x[i]) ** 2
    return s


@kernel
def norm(x: np.ndarray, squares: float) -> float:
    """Return the Euclidean norm, given the sum of squares; finite unless an entry is not, or it overflows."""
    if 1e-290 < squares < np.inf:
        return np.sqrt(squares)
    largest = 0.0  # squares that under- or overflow: scale by the largest entry first
    for i in range(x.size):
        a = abs(np.float64(x[i]))
        if not a < np.inf:
            return a
        largest = max(largest, a)
    if largest == 0.0:
        return 0.0
    s = 0.0
    for i in range(x.size):
        s += (np.float64(x[i]) / largest) ** 2
    return largest * np.sqrt(s)


# ----------------------------------------------------------------------------------------- gradient descent


class State(NamedTuple):
    """Where a loop stands: the point and its gradient, as the user's functions see them and as vectors."""

    w: np.ndarray
    flat_w: np.ndarray  # the same memory
    before: np.ndarray  # the point before, to return to if the next one is not finite
    g: np.ndarray
    flat_g: np.ndarray  # the same memory


@kernel(forceinline=True)
def arrive(
    gradient: Any,
    value: Any,
    args: Any,
    at: np.ndarray,
    p: int,
    tolerance: float,
    state: State,
    record: Record,
) -> tuple[int, int]:
    """Evaluate the gradient at `at` and the value at the state's point, which is number p; check and record both.

    Returns:
        The last point that is finite, p or p - 1, and why the loop must end (`VISITED`: it need not). If p is
        not finite, the state's point is again the one before.
    """
    w, u, before, g, h = state
    iterates, period, norms, values, _, best, lowest = record
    if not take(invoke(gradient, at, args, g), w, h):
        return p - 1, WRONG_SHAPE
    f = 0.0
    if value is not None:
        f = float(invoke(value, w, args, g))
    status = VISITED
    squares = sum_of_squares(h)
    length = np.sqrt(squares) if 1e-290 < squares < np.inf else norm(h, squares)
    if not length < np.inf:
        status = BAD_GRADIENT
    else:
        squares = sum_of_squares(u)
        if not squares < np.inf and not norm(u, squares) < np.inf:
            status = BAD_POINT
        elif not abs(f) < np.inf:
            status = BAD_VALUE
    if status != VISITED:
        if p > 0:
            for i in range(u.size):
                u[i] = before[i]
        return p - 1, status
    norms[p] = length
    if values.size > 0:
        values[p] = f
        if best.size > 0 and f < lowest[0]:
            lowest[0] = f
            for i in range(u.size):
                best[i] = u[i]
    if period > 0 and p % period == 0:
        for i in range(u.size):
            iterates[p // period, i] = u[i]
    if length <= tolerance:
        status = CONVERGED
    return p, status


@kernel
def descend(
    gradient: Any,
    value: Any,
    args: Any,
    sizes: np.ndarray,
    metric: Any,
    target: Any,
    proximal: Any,
    proximal_args: Any,
    first: int,
    last: int,
    tolerance: float,
    state: State,
    record: Record,
) -> tuple[int, int]:
    """Visit the points first..last of gradient descent: w <- w - size g (each entry over `metric`, if given).

    On entry `state` holds the point `first - 1` (at first = 0: the start) and the gradient there, and so it
    does on return for the point that was reached. With a `target` for the value, the step is Polyak's,
    (value - target) / |g|^2, and is noted in `sizes`. A `proximal` map is applied after each step; the
    tolerance is then for the length of the step over its size, which is the gradient where no map is.

    Returns:
        The last point that was visited and is finite, and why the loop returned.
    """
    state, record = borrow(state), borrow(record)
    w, u, before, _, h = state
    total = record.total
    reached, status = last, VISITED
    for p in range(first, last + 1):
        if p > 0:
            if target is not None:
                gap = record.values[p - 1] - target
                if not gap > 0.0:
                    reached, status = p - 1, ON_TARGET
                    break
                length = record.norms[p - 1]
                if not length > 0.0:  # 0 is a subgradient: a minimiser, higher than the target
                    reached, status = p - 1, CONVERGED
                    break
                sizes[p - 1] = gap / length / length
            size = sizes[min(p, sizes.size) - 1]
            for i in range(total.size):
                total[i] += u[i]
            for i in range(u.size):
                before[i] = u[i]
                if metric is None:
                    u[i] -= size * h[i]
                else:
                    u[i] -= size * h[i] / metric[i]
            if proximal is not None:
                invoke_proximal(proximal, u, np.float64(size), proximal_args)
        if proximal is None:
            reached, status = arrive(gradient, value, args, w, p, tolerance, state, record)
        else:
            reached, status = arrive(gradient, value, args, w, p, -1.0, state, record)
            if p > 0 and status == VISITED and tolerance >= 0.0:
                s = 0.0
                for i in range(u.size):
                    s += (np.float64(u[i]) - before[i]) ** 2
                if np.sqrt(s) <= tolerance * size:
                    status = CONVERGED
        if status != VISITED:
            break
    return reached, status


# Below this size the step is taken one number at a time, above in vectors.
SMALL = 16


@intrinsic
def _apart(typingctx):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", [], True)
        return context.get_dummy_value()

    return types.none(), codegen


def _apart_plain() -> None:
    return None


# Keep the compiler from joining neighbouring rounds of a loop to vectors: it emits no instruction, but may not be
# moved or repeated. A processor hands a number from a store to the load after it at once if the load lies within the
# store; a vector loaded from where single numbers (or vectors at another offset) were just stored waits until these
# have left for the cache, as long as a step of a problem with ten variables.
apart: Any = _apart_plain if numba.config.DISABLE_JIT else _apart


@kernel
def sprint(
    gradient: Any, args: Any, sizes: np.ndarray, first: int, last: int, state: State, record: Record
) -> tuple[int, int]:
    """Visit the points first..last of gradient descent, and record the gradient norm of none but 0 and `last`.

    The steps are those of `descend`, and nothing is between them. A number that is not finite stays so, since
    it only ever has numbers subtracted from it: it is enough to look at the end. If something is found there, the
    stretch is run again from its beginning with a look at each point.
    """
    w, u, before, g, h = state
    if first == 0:
        if not take(invoke(gradient, w, args, g), w, h):
            return -1, WRONG_SHAPE
        length = norm(h, sum_of_squares(h))
        if not length < np.inf:
            return -1, BAD_GRADIENT
        record.norms[0] = record.norms[1] = length
        first = 1
    if first > last:
        return last, VISITED
    for i in range(u.size):
        before[i] = u[i]
    for p in range(first, last + 1):
        size = sizes[min(p, sizes.size) - 1]
        if u.size < SMALL:
            for i in range(u.size):
                u[i] -= size * h[i]
                apart()
        else:
            for i in range(u.size):
                u[i] -= size * h[i]
        if not take(invoke(gradient, w, args, g), w, h):
            return p - 1, WRONG_SHAPE
    length = norm(h, sum_of_squares(h))
    if length < np.inf and norm(u, sum_of_squares(u)) < np.inf:
        record.norms[1] = length
        return last, VISITED
    for i in range(u.size):
        u[i] = before[i]
    if not take(invoke(gradient, w, args, g), w, h):
        return first - 1, WRONG_SHAPE
    for p in range(first, last + 1):
        record.norms[1] = norm(h, sum_of_squares(h))
        size = sizes[min(p, sizes.size) - 1]
        for i in range(u.size):
            before[i] = u[i]
            u[i] -= size * h[i]
        status = WRONG_SHAPE
        if take(invoke(gradient, w, args, g), w, h):
            status = VISITED
            if not norm(h, sum_of_squares(h)) < np.inf:
                status = BAD_GRADIENT
            elif not norm(u, sum_of_squares(u)) < np.inf:
                status = BAD_POINT
        if status != VISITED:
            for i in range(u.size):
                u[i] = before[i]
            return p - 1, status
    record.norms[1] = norm(h, sum_of_squares(h))
    return last, VISITED


def gradient_descent(
    gradient: Callable[..., Any],
    w0: Any,
    step: Any,
    steps: int,
    args: tuple[Any, ...] = (),
    *,
    value: Callable[..., Any] | None = None,
    metric: Any = None,
    tol: float | None = None,
    keep: Literal["all", "last"] | int = "all",
    callback: Callable[[Progress], Any] | None = None,
    every: int = 1,
    allow_nan: bool = False,
    proximal: Proximal | None = None,
    record: bool = True,
) -> Trajectory:
    r"""Minimise a function by gradient descent, $w_{t+1} = w_t - \eta_t \nabla f(w_t)$, in one compiled loop.

    The loop is compiled once for each combination of argument types and stored on disk. The gradient is
    compiled for the same types when first used; give it `@njit(cache=True)` to store it as well.

    Args:
        gradient: an `@njit` function `gradient(w, *args)` that returns the gradient at `w` in an array of its
            shape (for a `w0` that is a number: a number). `dv.grad(f)` is one. A function that writes into
            its last argument is marked by [`in_place`][derivable.in_place] and saves the memory traffic.
        w0: the start $w_1$: an array of any shape, or a number. Not modified. float32 stays float32, integers
            become float64.
        step: the step size $\eta > 0$; or an array of `steps` sizes; or a function of the step's number
            $t = 1, 2, ...$ that returns $\eta_t$, asked for all of them before the run.
        steps: the number of steps $T$, at least 1.
        args: the data that `gradient` and `value` take after `w`: arrays and numbers. Strided views are made
            contiguous, once.
        value: the objective function, an `@njit` function `value(w, *args)`; given it, the run records the
            value at each point and the best point.
        metric: positive numbers in the shape of `w0` by which the gradient is divided, entry by entry: the
            diagonal metric of [`proximal_step`][derivable.proximal_step].
        tol: stop at the first point whose gradient has a Euclidean norm of at most `tol`; never by default.
        keep: which points to keep: "all", "last", or every `keep`-th (and the last one always).
        callback: called from Python with a [`Progress`][derivable.Progress] after every `every` steps; the
            run stops if it returns True.
        every: the steps between two calls of `callback`.
        allow_nan: whether `args` may hold NaN, for a gradient that knows what to do with it.
        proximal: a map of [`proximal`][derivable.proximal] that is applied after each step: the method is then
            projected or proximal gradient descent, $w_{t+1} = \mathrm{prox}(w_t - \eta_t \nabla f(w_t))$. `gradient`
            is that of the smooth part, `value` the whole objective. `tol` is compared with
            $\|w_{t+1} - w_t\| / \eta_t$.
        record: whether to note the gradient norm at each point and the mean of the points. False, together with
            `keep="last"`, leaves nothing in the loop but the step, which is faster where the gradient takes
            less than some hundred nanoseconds: the run then holds the gradient norm of the first and the last
            point only, and no average.

    Returns:
        The run. Its points are $w_1, ..., w_{T+1}$, all evaluated.

    Raises:
        TypeError: if `gradient` or `value` is not compiled, does not take these arguments, or does not return
            what it should; if an argument has the wrong type.
        ValueError: if a number is out of range or not finite, if shapes disagree, if the gradient or value
            at `w0` is not finite, or if evaluating them modifies `w`.
        KeyboardInterrupt: if the user interrupts; its attribute `trajectory` holds the run so far. So does
            that of whatever `callback` raises.

    Warns:
        DivergenceWarning: if an iterate, gradient or value stops being finite (the run then ends at the last
            finite point), or if the run ends higher than it began.

    Examples:
        ```python
        import derivable as dv
        import numpy as np
        from numba import njit

        @njit
        def gradient(w, curvature):  # of f(w) = sum(curvature * w**2) / 2
            return curvature * w

        run = dv.gradient_descent(gradient, [1.0, 1.0], 0.15, 100, args=(np.array([1.0, 10.0]),), tol=1e-6)
        print(run)
        #> Trajectory(86 steps, ended by tolerance, gradient norm 8.51e-07, 87 of 87 points kept)
        ```

    References:
        G. Garrigos and R. M. Gower, *Handbook of convergence theorems for (stochastic) gradient methods*,
        arXiv 2301.11235, section 3.
    """
    if not isinstance(record, (bool, np.bool_)):
        raise TypeError(f"record must be True or False, got {record!r}")
    sizes = step_sizes(step, check_count(steps, "steps"))
    run = prepare_run(gradient, value, w0, steps, args, tol, keep, allow_nan, bare=not record)
    divisor = _diagonal(metric, run.w)
    if proximal is not None and metric is not None:
        raise ValueError("proximal and metric cannot be combined: a proximal map belongs to one metric")
    fitting = run.fit(sizes)
    if not record:
        _refuse_with_record(keep=keep, value=value, tol=tol, metric=metric, proximal=proximal)
        enter = launch(sprint, run.slope, run.args, fitting, 0, 0, run.state, run.keeper.record)

        def sprint_on(first: int, last: int) -> tuple[int, int]:
            return enter(run.slope.function, run.args, fitting, first, last, run.state, run.keeper.record)

        return drive(sprint_on, run.keeper, sizes, run.slope, run.args, run.scalar, callback, every, "gradient_descent")

    pull, pull_args = prepare_proximal(proximal, run.state.flat_w)
    data = (fitting, divisor, None)
    enter = launch(descend, run.slope, run.f, run.args, *data, pull, pull_args, 0, 0, 0.0, run.state, run.keeper.record)
    handed = (*run.functions, *data, pull and pull.function, pull_args)
    judge = functools.partial(judge_descent, mapped=proximal is not None)

    def advance(first: int, last: int) -> tuple[int, int]:
        return enter(*handed, first, last, run.tolerance, run.state, run.keeper.record)

    return drive(
        advance, run.keeper, sizes, run.slope, run.args, run.scalar, callback, every, "gradient_descent", judge
    )


def _refuse_with_record(**given: Any) -> None:
    """Say what a run without a record cannot do."""
    if given.pop("keep") != "last":
        raise ValueError('record=False keeps no point but the last: give keep="last" as well')
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"record=False leaves nothing but the plain step, so {name} must be None")


# --------------------------------------------------------------------------------------- what all loops share


def prepare_start(w0: Any) -> tuple[np.ndarray, bool]:
    """Return the start as a fresh contiguous float array, (1,) for a number, and whether it is a number."""
    array = as_array(w0, "w0", kinds="iuf")
    check_finite(array, "w0")
    dtype = array.dtype.newbyteorder("=") if array.dtype.kind == "f" else np.dtype(np.float64)
    scalar = array.ndim == 0
    return np.array(array.reshape(1) if scalar else array, dtype=dtype, order="C"), scalar


@dataclass(frozen=True)
class Run:
    """What every loop prepares before it starts."""

    steps: int
    w: np.ndarray
    scalar: bool
    args: tuple[Any, ...]
    tolerance: float
    slope: Prepared
    f: Prepared | None
    state: State
    keeper: Keeper

    @property
    def functions(self) -> tuple[Any, ...]:
        """The gradient, the value and their data, as a kernel takes them."""
        return self.slope.function, self.f and self.f.function, self.args

    def fit(self, sizes: np.ndarray) -> np.ndarray:
        """Return the step sizes in the type that the loop computes in."""
        return _in_type(sizes, "step", np.result_type(self.w, self.state.g))


def prepare_run(
    gradient: Any,
    value: Any,
    w0: Any,
    steps: Any,
    args: Any,
    tol: Any,
    keep: Any,
    allow_nan: bool,
    *,
    bare: bool = False,
    name: str = "gradient",
) -> Run:
    """Check what all loops take, compile the user's functions, and make the loop's buffers."""
    steps = check_count(steps, "steps")
    w, scalar = prepare_start(w0)
    args = prepare_args(args)
    if not allow_nan:
        for i, item in enumerate(args):
            if problem := find_nan(item, f"args[{i}]"):
                raise ValueError(f"{problem}; pass allow_nan=True if the gradient knows what to do with it")
    tolerance = -1.0 if tol is None else check_number(tol, "tol")
    if tol is not None and tol < 0:
        raise ValueError(f"tol must be at least 0, got {tol}")
    slope = prepare(gradient, name, w, args, returns="number" if scalar else "array")
    f = None
    if value is not None:
        f = prepare(value, "value", w, args, returns="number value" if scalar else "value")
    keeper = Keeper(w, steps, keep, f is not None, bare)
    return Run(steps, w, scalar, args, tolerance, slope, f, make_state(w, slope), keeper)


def make_state(w: np.ndarray, slope: Prepared) -> State:
    """Return the buffers of a loop that starts at `w`; the gradient's is NaN until it is written."""
    g = np.full(w.shape, np.nan, slope.dtype)
    return State(w, w.reshape(-1), np.empty(w.size, w.dtype), g, g.reshape(-1))


def step_sizes(step: Any, steps: int) -> np.ndarray:
    """Return the step sizes as an array of one element (a constant step) or of `steps` elements."""
    if callable(step):
        step = [step(t) for t in range(1, steps + 1)]
    if not isinstance(step, (list, tuple)) and np.ndim(step) == 0:
        return np.array([check_positive(step, "step")])
    sizes = np.ascontiguousarray(as_array(step, "step", kinds="iuf", ndim=1), dtype=np.float64)
    if sizes.size != steps:
        raise ValueError(f"step must be one number or one for each of the {steps} steps, got {sizes.size}")
    check_finite(sizes, "step")
    if sizes.min() <= 0:
        first = int(np.argmax(sizes <= 0))
        raise ValueError(f"step must be greater than 0, got {sizes[first]} for step {first + 1}")
    return sizes


def _diagonal(metric: Any, w: np.ndarray) -> np.ndarray | None:
    if metric is None:
        return None
    divisor = as_array(metric, "metric", kinds="iuf")
    if divisor.shape != w.shape and divisor.size * w.size != 1:
        raise ValueError(f"metric must have the shape of w0, {w.shape} (a diagonal metric), got {divisor.shape}")
    check_finite(divisor, "metric")
    if divisor.min() <= 0:
        raise ValueError(f"metric must be greater than 0 everywhere, got {divisor.min()}")
    return _in_type(divisor.reshape(-1), "metric", w.dtype)


def _in_type(positive: np.ndarray, name: str, dtype: np.dtype[Any]) -> np.ndarray:
    """Return an array of positive numbers in the type that the loop computes in, all still positive and finite."""
    with np.errstate(all="ignore"):
        fitting = np.array(positive, dtype=dtype)
    bad = np.flatnonzero(~((fitting > 0) & np.isfinite(fitting)))
    if bad.size:
        raise ValueError(f"{name} must be greater than 0 and finite in {dtype}, got {positive[bad[0]]}")
    return fitting


# What looks at a finished run: (run, status, method, steps, gradient, start, end) -> a warning or None.
Judge = Callable[[Trajectory, int, str, int, Prepared, np.ndarray, np.ndarray], str | None]


class Keeper:
    """The arrays of one run's record, and which of its points they hold."""

    def __init__(self, w: np.ndarray, steps: int, keep: Any, valued: bool, bare: bool = False):
        if isinstance(keep, str):
            if keep not in ("all", "last"):
                raise ValueError(f"keep must be 'all', 'last' or a number of steps, got {keep!r}")
            period = 1 if keep == "all" else 0
        else:
            period = check_count(keep, "keep")
        period = min(period, steps + 1)
        rows = steps // period + 1 if period else 0
        if rows * w.nbytes > LARGEST_RECORD:
            raise ValueError(
                f"keep={keep!r} would keep {rows} points of {w.nbytes} bytes, "
                f"{rows * w.nbytes / 1e9:.0f} GB: use keep='last', or "
                f"keep={rows * w.nbytes * max(period, 1) // LARGEST_RECORD + 1} or more"
            )
        if (steps + 1) * 8 > LARGEST_RECORD and not bare:
            raise ValueError(
                f"steps must be less than {LARGEST_RECORD // 8}, for a run records each gradient norm; got {steps}"
            )
        whole = period == 1  # then average and best are read off at the end
        self.steps = steps
        self.period = period
        self.w = w
        self.bare = bare
        self.record = Record(
            iterates=np.empty((rows, w.size), w.dtype),
            every=period,
            norms=np.empty(2 if bare else steps + 1),
            values=np.empty(steps + 1 if valued else 0),
            total=np.zeros(0 if whole or bare else w.size),
            best=np.empty(w.size if valued and not whole else 0, w.dtype),
            lowest=np.array([np.inf]),
        )

    def finish(self, reached: int, sizes: np.ndarray, scalar: bool, reason: str) -> Trajectory:
        """Return the run up to point `reached` (numbered from 0), which is in `w`."""
        record, shape = self.record, self.w.shape
        valued = record.values.size > 0
        last = self.w.reshape(-1).copy()
        points = np.arange(0, reached + 1, self.period) if self.period else np.arange(0)
        iterates = record.iterates[: points.size]
        if points.size == 0 or points[-1] != reached:
            points = np.append(points, reached)
            iterates = np.concatenate([iterates, last[None]])
        elif points.size < len(record.iterates):
            iterates = iterates.copy()  # let go of the memory of a run that ended early
        values = record.values[: reached + 1].copy() if valued else None
        average: np.ndarray | None
        if self.bare:
            average, best = None, None
        elif self.period == 1:
            average = iterates[: max(reached, 1)].mean(axis=0, dtype=np.float64)
            best = iterates[int(np.argmin(values))] if values is not None else None
        else:
            average = record.total / reached if reached else last
            best = record.best.copy() if valued else None

        def shaped(point: np.ndarray | None) -> Any:
            return None if point is None else point[0] if scalar else point.reshape(shape)

        return Trajectory(
            iterates=iterates[:, 0] if scalar else iterates.reshape(-1, *shape),
            kept=points + 1,
            last=shaped(last),
            average=shaped(average if average is None else average.astype(last.dtype)),
            steps=reached,
            step_sizes=float(sizes[0]) if sizes.size == 1 else sizes[:reached].copy(),
            gradient_norms=record.norms[: 2 if self.bare else reached + 1].copy(),
            values=values,
            best=shaped(best if best is None else best.copy()),
            reason=reason,
        )


def drive(
    advance: Callable[[int, int], tuple[int, int]],
    keeper: Keeper,
    sizes: np.ndarray,
    slope: Prepared,
    args: Sequence[Any],
    scalar: bool,
    callback: Callable[[Progress], Any] | None,
    every: int,
    method: str,
    judge: Judge | None = None,
) -> Trajectory:
    """Run a loop to its end in stretches of about a tenth of a second, and return its trajectory.

    Between two stretches Python sees signals (Ctrl-C) and the callback is called. `judge` looks at the finished
    run and returns what to warn of, or None; that of gradient descent by default.
    """
    steps, record = keeper.steps, keeper.record
    every = check_count(every, "every")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function, got {type(callback).__name__}")

    status = VISITED
    reached, stretch = (
        -1,
        1,
    )  # the first stretch is one point: it checks the gradient and tells how long it takes
    start = keeper.w.copy()
    reason = "steps"
    try:
        while reached < steps:
            last = min(reached + stretch, steps)
            if callback is not None:
                last = min(last, (max(reached, 0) // every + 1) * every)
            began = time.perf_counter()
            wanted = last
            first = reached + 1
            with np.errstate(all="ignore"):  # without the JIT NumPy would warn of what is checked here
                reached, status = advance(first, wanted)
            seconds = time.perf_counter() - began
            stretch = int(min(max(1, (wanted - first + 1) * 0.1 / max(seconds, 1e-6)), 8 * stretch + 1000))
            if status in ENDS:
                reason = ENDS[status]
                break
            if status == WRONG_SHAPE:
                got = np.shape(slope.call(keeper.w))
                raise ValueError(f"{slope.name} must return an array of the shape of w, {keeper.w.shape}, got {got}")
            if first == 0 and not np.array_equal(keeper.w, start):
                raise ValueError(
                    f"{slope.name} and value must not modify w: after one call at w0 it holds other numbers"
                )
            if status != VISITED:
                if reached < 0:
                    raise ValueError(_not_finite_at_start(status, slope, start, args))
                reason = "diverged"
                break
            if callback is not None and reached > 0 and (reached % every == 0):
                f = float(record.values[reached]) if record.values.size else None
                w = keeper.w[0] if scalar else keeper.w.copy()
                progress = Progress(reached, w, f, float(record.norms[-1 if keeper.bare else reached]))
                try:
                    stop = callback(progress)
                except Exception as error:
                    error.trajectory = keeper.finish(reached, sizes, scalar, "interrupted")  # type: ignore[attr-defined]
                    error.add_note(f"callback raised this after {reached} steps; the run so far is error.trajectory")
                    raise
                if isinstance(stop, (bool, np.bool_)) and stop:
                    reason = "callback"
                    break
    except KeyboardInterrupt as error:
        if reached >= 0:
            error.trajectory = keeper.finish(reached, sizes, scalar, "interrupted")  # type: ignore[attr-defined]
            error.add_note(f"{method} was interrupted after {reached} steps; the run so far is error.trajectory")
        raise
    run = keeper.finish(reached, sizes, scalar, reason)
    if problem := (judge or judge_descent)(run, status, method, steps, slope, start, keeper.w):
        warnings.warn(problem, DivergenceWarning, stacklevel=3)
    return run


# ---------------------------------------------------------------------------------- when something goes wrong


def _not_finite_at_start(status: int, slope: Prepared, start: np.ndarray, args: Sequence[Any]) -> str:
    message = "value at w0 must be finite, got NaN or an infinity"
    if status == BAD_GRADIENT:
        with np.errstate(all="ignore"):
            g = np.ravel(slope.call(start))
        bad = np.flatnonzero(~np.isfinite(g))
        if bad.size == 0:
            return f"the norm of the {slope.name} at w0 overflows: scale the problem"
        message = f"{slope.name} at w0 must be finite, got {g[bad[0]]} at (flat) index {bad[0]}"
        if bad.size == g.size and len(bad) > 1:
            message += f" and in all {g.size} entries"
    for i, item in enumerate(args):
        if isinstance(item, np.ndarray) and item.dtype.kind in "fc" and not np.isfinite(item).all():
            message += f"; args[{i}] holds NaN or infinities"
    return message


def judge_descent(
    run: Trajectory,
    status: int,
    method: str,
    steps: int,
    slope: Prepared,
    start: np.ndarray,
    end: np.ndarray,
    *,
    limit: float = 2.0,
    mapped: bool = False,
) -> str | None:
    """Return what to warn of, or None for a run that did not get worse.

    Args:
        run: the run.
        status: why the loop returned.
        method: the public function.
        steps: how many were asked for.
        slope: the gradient.
        start: the first point.
        end: the last point.
        limit: the method converges on quadratics for steps below `limit` / L.
        mapped: whether a proximal map was applied: the start may then lie outside the set, lower than any point of it,
            and the gradient of the smooth part may grow on the way to the minimiser.
    """
    size = float(np.max(run.step_sizes, initial=0.0))
    norms, values = run.gradient_norms, run.values
    bound = f"{limit:.3g}/L"
    if run.reason == "diverged":
        where = {BAD_GRADIENT: "the gradient at ", BAD_VALUE: "the value at "}.get(status, "")
        what = (
            f"{method} diverged: after {run.steps} of {steps} steps {where}the next point is not finite. The run "
            f"ends at the last finite point, with gradient norm {norms[-1]:.3g} ({norms[0]:.3g} at w0)."
        )
    elif values is not None and values[-1] > (low := values[: 1 + mapped].max()) + 1e-9 * abs(low):
        what = f"{method} went up: from value {values[0]:.6g} at w0 to {values[-1]:.6g} after {run.steps} steps."
    elif values is None and not mapped and run.steps > 0 and norms[-1] > norms[0]:
        what = f"{method} may diverge: the gradient norm rose from {norms[0]:.3g} to {norms[-1]:.3g}."
    else:
        return None
    smoothness = max(curvature(slope.call, start), curvature(slope.call, end))
    if size * smoothness > limit:
        return (
            f"{what} The step {size:.3g} is too large: it must be less than {bound}, and near the points "
            f"visited L is at least {smoothness:.3g}, so that {bound} <= {limit / smoothness:.3g}. A large L often "
            "comes from features of very different scale: standardise them."
        )
    if run.reason == "steps" and values is None:
        return None  # a gradient may grow on the way down, where f is not convex
    return (
        f"{what} The step {size:.3g} may be too large (it must be less than {bound}), or gradient is not that of value."
    )


def curvature(gradient: Callable[[np.ndarray], Any], w: np.ndarray, rounds: int = 12) -> float:
    """Estimate the largest |eigenvalue| of the Hessian at `w` from below, by power iteration on differences.

    Each round replaces a unit vector d by (grad f(w + h d) - grad f(w)) / h, close to the Hessian times d.
    The result is a lower bound of the gradient's Lipschitz constant L, up to the error of the difference.
    """
    with np.errstate(all="ignore"):
        step = np.cbrt(np.finfo(w.dtype).eps) * (1 + float(np.linalg.norm(w.reshape(-1).astype(np.float64))))
        here = np.asarray(gradient(w), dtype=np.float64)
        d = here.reshape(-1)
        largest = 0.0
        for _ in range(rounds):
            length = np.linalg.norm(d)
            if not 0 < length < np.inf:
                break
            d = d / length
            ahead = (w.reshape(-1) + step * d).astype(w.dtype).reshape(w.shape)
            d = (np.asarray(gradient(ahead), dtype=np.float64) - here).reshape(-1) / step
            estimate = float(np.linalg.norm(d))
            if not np.isfinite(estimate):
                break
            largest = max(largest, estimate)
    return largest
