"""Derivatives from values alone: differences, the complex step, and tests of a gradient.

The steps come from an error analysis. A difference quotient has a truncation error that grows with the step h
and a rounding error that grows like u / h, where u is the unit roundoff of the numbers that `f` returns. For
a function that varies on the scale L, that is `|f| ~ L^k |f^(k)|`, their sum is least at

- forward: `h = 2 sqrt(u) L`, with an error of about `2 sqrt(u)`, half of the digits;
- central: `h = (3 u)^(1/3) L`, with an error of about `u^(2/3)`, two thirds of the digits.

L is not known. The default takes `max(1, |x_i|)` for component i; where your function varies on another
scale, give the steps yourself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from derivable.validation import as_array, check_choice, check_count, check_finite, check_positive

__all__ = ["GradientCheck", "check_gradient", "complex_step", "numerical_gradient", "numerical_jacobian"]

METHODS = ("central", "forward", "complex")


def numerical_gradient(f: Callable[[Any], Any], x: Any, method: str = "central", step: Any = None) -> Any:
    """Approximate the gradient of a scalar-valued function by differences of its values.

    It needs `n` evaluations (forward: one more; central: twice as many) for `n` components and only tells
    digits apart that rounding leaves: about 8 of 16 forward, 10 central, all of them by the complex step.

    Args:
        f: a function of one number or one array that returns a real number. It gets a fresh copy each time.
        x: the point, a number or an array of any shape; integers become float64.
        method: "central" `(f(x + h) - f(x - h)) / 2h`, "forward" `(f(x + h) - f(x)) / h`, or "complex", see
            [`complex_step`][derivable.complex_step].
        step: the step h, greater than 0, one number or an array of the shape of `x`. By default it is chosen
            for each component by error analysis, from the precision of `x` and `f(x)` and from `max(1,
            |x_i|)`.

    Returns:
        The gradient: a float for a number, else an array of the shape and precision of `x`.

    Raises:
        TypeError: if `x` is not real, or `f` returns no real number.
        ValueError: if `f` returns an array (see
            [`numerical_jacobian`][derivable.numerical_jacobian]) or a value that is not
            finite, if `step` is not positive, or if it is lost when added to `x`.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.array([1.0, 2.0])
        print(dv.numerical_gradient(lambda x: x[0] ** 2 * x[1], x).round(8))
        #> [4. 1.]
        ```

    References:
        Gill, Murray & Wright, Practical Optimization, 1981, section 8.6.
    """
    jacobian = _differentiate(f, x, method, step, scalar_only=True)
    return float(jacobian) if np.ndim(x) == 0 and not isinstance(x, (np.ndarray, np.generic)) else jacobian


def numerical_jacobian(f: Callable[[Any], Any], x: Any, method: str = "central", step: Any = None) -> Any:
    """Approximate the Jacobian of an array-valued function by differences of its values.

    Args:
        f: a function of one number or one array that returns a real number or an array of one shape, or a
            tuple or list that NumPy turns into one.
        x: the point, a number or an array of any shape.
        method: "central", "forward" or "complex", as for
            [`numerical_gradient`][derivable.numerical_gradient].
        step: the step, as for `numerical_gradient`.

    Returns:
        An array of shape `f(x).shape + x.shape`: entry `[i, j]` is the derivative of `f(x)[i]` by `x[j]`.

    Raises:
        TypeError: as `numerical_gradient`.
        ValueError: as `numerical_gradient`, but `f` may return an array.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        f = lambda x: np.array([x[0] * x[1], x[0] + x[1]])
        print(dv.numerical_jacobian(f, np.array([2.0, 3.0])).round(8))
        #> [[3. 2.]
        #>  [1. 1.]]
        ```
    """
    return np.asarray(_differentiate(f, x, method, step, scalar_only=False))


def complex_step(f: Callable[[Any], Any], x: Any, step: float | None = None) -> Any:
    """Differentiate by one evaluation at a complex point: `Im f(x + i h) / h`, without subtraction.

    Nothing cancels, so h may be so small that the truncation error `h^2 f''' / 6` is below every float: the
    result has the accuracy of `f` itself. `f` must be analytic and must compute with complex numbers.
    **`abs`, `max`, comparisons and `x.conj()` are not analytic: their part of the derivative is wrong, and
    nothing here can tell.** Where `f` drops the imaginary part altogether, there is an error.

    Args:
        f: a function of one number or one array.
        x: the point, a number or an array of any shape.
        step: the step h; by default 1e-200, and 1e-20 where `x` is float32.

    Returns:
        As [`numerical_jacobian`][derivable.numerical_jacobian]; a float where `x` and
        `f(x)` are numbers.

    Raises:
        TypeError: if `x` is not real, or `f` does not take complex numbers or drops the imaginary part.
        ValueError: if a value is not finite, or `step` is not positive.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.complex_step(np.exp, 1.0) - np.exp(1.0))
        #> 0.0
        ```

    References:
        Squire & Trapp, Using complex variables to estimate derivatives of real functions, 1998.
    """
    out = _differentiate(f, x, "complex", step, scalar_only=False)
    return float(out) if np.ndim(out) == 0 and not isinstance(x, (np.ndarray, np.generic)) else out


def _differentiate(f: Callable[[Any], Any], x: Any, method: str, step: Any, scalar_only: bool) -> Any:
    check_choice(method, "method", METHODS)
    if not callable(f):
        raise TypeError(f"f must be a function, got {type(f).__name__}")
    point, call = _prepare(f, x)
    if method == "complex":
        return _complex_differences(call, point, step, scalar_only)
    value = call(point, "x")
    if scalar_only:
        _require_scalar(value)
    u = _unit_roundoff(point, value)
    steps = _steps(point, u, method, step)
    out = np.empty(value.shape + point.shape, dtype=np.result_type(point, value))
    for index in np.ndindex(point.shape):
        h, where = steps[index], f"x with component {list(index)} moved" if index else "x moved"
        ahead, behind = point.copy(), point.copy()
        ahead[index] += h
        if method == "central":
            behind[index] -= h
        # The difference of the two points as they are stored is exact; h itself may not be.
        distance = ahead[index] - behind[index]
        if distance == 0:
            raise ValueError(f"step {h} is lost when added to {where.split(' moved')[0]}: give a larger step")
        back = call(behind, f"{where} by {-h:.3g}") if method == "central" else value
        out[(..., *index)] = (call(ahead, f"{where} by {h:.3g}") - back) / distance
    return out[()]


def _prepare(f: Callable[[Any], Any], x: Any) -> tuple[Any, Callable[..., Any]]:
    """Return x as an array of floats and a checked way to call f at such an array."""
    point = as_array(x, "x", kinds="iuf", empty=False)
    check_finite(point, "x")
    point = point.astype(np.result_type(point.dtype, np.float32) if point.dtype.kind == "f" else np.float64)
    number = np.ndim(x) == 0 and not isinstance(x, np.ndarray)

    def call(at: Any, where: str, kinds: str = "biuf") -> Any:
        # A number stays a number: `math.exp` and compiled functions take it as it was given.
        plain = number and not isinstance(x, np.generic)
        value = f(at.item() if plain else at[()] if number else at.copy())
        try:
            out = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"f must return numbers or arrays of one shape: {error}") from None
        if out.dtype.kind not in kinds:
            hint = "; an array of complex numbers has no real derivative" if out.dtype.kind == "c" else ""
            raise TypeError(f"f must return real numbers, got dtype {out.dtype} at {where}{hint}")
        if out.dtype.kind in "biu":
            out = out.astype(np.float64)
        if not np.all(np.isfinite(out)):
            advice = "Near an edge of where f is defined, use method='forward' or a smaller step"
            if where == "x":
                advice = "There is no derivative there; move x to where f is defined"
            raise ValueError(f"f is not finite at {where}: it gave {out[~np.isfinite(out)].flat[0]}. {advice}")
        return out

    return point, call


def _require_scalar(value: Any) -> None:
    if value.ndim:
        raise ValueError(
            f"f must return one number, got shape {value.shape}: "
            f"use numerical_jacobian for a function with an array of values"
        )


def _unit_roundoff(*arrays: Any) -> float:
    """Return the unit roundoff of the coarsest of the arrays, half of NumPy's eps."""
    return max(float(np.finfo(a.dtype).eps) for a in arrays) / 2


def _steps(point: Any, u: float, method: str, step: Any) -> Any:
    """Return the step for each component of the point, in its precision."""
    if step is None:
        relative = 2 * np.sqrt(u) if method == "forward" else np.cbrt(3 * u)
        return (relative * np.maximum(1, np.abs(point))).astype(point.dtype)
    steps = as_array(step, "step", kinds="iuf")
    if steps.ndim and steps.shape != point.shape:
        raise ValueError(f"step must be one number or have the shape of x, {point.shape}, got {steps.shape}")
    if not np.all(steps > 0):
        raise ValueError(f"step must be greater than 0, got {step}")
    check_finite(steps, "step")
    return np.broadcast_to(steps, point.shape).astype(point.dtype)


def _complex_differences(call: Callable[..., Any], point: Any, step: Any, scalar_only: bool) -> Any:
    single = point.dtype == np.float32
    if step is None:
        step = 1e-20 if single else 1e-200
    steps = _steps(point, 0.0, "complex", step)
    if not np.all(steps > 0):
        raise ValueError(f"step {step} is 0 in the precision of x, {point.dtype}: give a larger step")
    moved = point.astype(np.complex64 if single else np.complex128)
    out: Any = None
    for index in np.ndindex(point.shape):
        at = moved.copy()
        at[index] += 1j * steps[index]
        try:
            value = call(at, f"x + i h with h = {steps[index]:.3g}", kinds="biufc")
        except TypeError as error:
            raise TypeError(f"f must take complex numbers for the complex step: {error}") from error
        if value.dtype.kind != "c":
            raise TypeError(
                f"f must return complex numbers for the complex step, got dtype {value.dtype}: "
                f"it drops the imaginary part (abs, float, a comparison), and the derivative with it"
            )
        if scalar_only:
            _require_scalar(value)
        if out is None:
            out = np.empty(value.shape + point.shape, dtype=value.real.dtype)
        out[(..., *index)] = value.imag / steps[index]
    return out[()]


# --------------------------------------------------------------------------------------- tests of a gradient


@dataclass(frozen=True)
class GradientCheck:
    """Hold what a test of a gradient found; it is true if the gradient passed.

    Attributes:
        passed: whether all tests passed.
        slopes: for each random direction the slope of the Taylor remainder: 2 (or more) if the gradient is
            right, 1 if it is wrong, NaN if the remainder is all rounding, as for a linear function.
        steps: the steps h, largest first.
        remainders: `|f(x + h v) - f(x) - h <gradient, v>|`, one row for each direction; NaN where `f` is not
            finite.
        error: the largest relative error of a directional derivative or of a component, as far as it is more
            than three times the uncertainty of the differences.
        kinks: in how many directions the slopes ahead and behind differ, so that `f` has no derivative at
            `x`.
        message: what was found, in words.
    """

    passed: bool
    slopes: np.ndarray
    steps: np.ndarray
    remainders: np.ndarray
    error: float
    kinks: int
    message: str

    def __bool__(self) -> bool:
        return self.passed


def check_gradient(
    f: Callable[[Any], Any],
    gradient: Any,
    x: Any,
    *,
    directions: int = 3,
    components: int = 20,
    tolerance: float | None = None,
    seed: int = 0,
    raises: bool = True,
) -> GradientCheck:
    """Test a gradient against values of the function: by the Taylor remainder and by central differences.

    Along random directions v, the remainder `|f(x + h v) - f(x) - h <gradient, v>|` falls like h^2 if the
    gradient is right and like h if it is wrong: the slope in a plot of logarithms tells, and no step has to
    be chosen. Central differences, at the step where they are steadiest, confirm the directions and single
    components.

    At a kink (abs at 0, a tie of max) the slopes ahead and behind differ. Any value between them is accepted,
    and `kinks` counts the directions in which this was so.

    Args:
        f: a function of one number or one array that returns a real number.
        gradient: a function that returns the gradient at its argument, or the gradient at `x` itself.
        x: the point, a number or an array of any shape.
        directions: how many random directions to test.
        components: how many single components to test; all of them if there are no more, else a random
            choice.
        tolerance: the relative error allowed, beside the uncertainty of the difference itself; by default
            1e-6, and 1e-2 in single precision.
        seed: the seed of the random directions.
        raises: whether to raise if the test fails; else look at `passed`.

    Returns:
        What was found.

    Raises:
        AssertionError: if the gradient is wrong and `raises` is set; the message names the worst component.
        TypeError: if `x`, `f(x)` or the gradient is not real.
        ValueError: if the gradient has not the shape of `x`, or `f` is not finite at `x` or almost nowhere
            around.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.array([1.0, 2.0])
        found = dv.check_gradient(lambda x: np.sum(x**3), lambda x: 3 * x**2, x)
        print(found.passed, found.slopes.round(1))
        #> True [2. 2. 2.]
        wrong = dv.check_gradient(lambda x: np.sum(x**3), lambda x: 2 * x**2, x, raises=False)
        print(wrong.passed, wrong.slopes.round(1))
        #> False [1. 1. 1.]
        ```
    """
    if not callable(f):
        raise TypeError(f"f must be a function, got {type(f).__name__}")
    check_count(directions, "directions")
    check_count(components, "components", least=0)
    point, call = _prepare(f, x)
    value = call(point, "x")
    _require_scalar(value)
    given = gradient(x if np.ndim(x) == 0 else point.copy()) if callable(gradient) else gradient
    g = as_array(given, "gradient", kinds="iuf").astype(np.float64)
    if g.shape != point.shape:
        raise ValueError(f"gradient must have the shape of x, {point.shape}, got {g.shape}")
    check_finite(g, "gradient")
    u = _unit_roundoff(point, value)
    allowed = (1e-2 if u > 1e-10 else 1e-6) if tolerance is None else check_positive(tolerance, "tolerance")

    random = np.random.default_rng(seed)
    scale = np.maximum(1, np.abs(point)).astype(np.float64)
    steps = np.sqrt(10.0) ** -np.arange(2, 2 + np.ceil(-np.log10(u)))  # from 0.1 to about sqrt(u)

    rays = []
    for d in range(directions):
        v = random.standard_normal(point.shape) * scale
        v /= np.sqrt(np.mean((v / scale) ** 2))
        rays.append(_probe(call, point, value, g, v, f"the slope in random direction {d}", steps, u))
    chosen = np.arange(point.size)
    if point.size > components:
        chosen = np.sort(random.choice(point.size, components, replace=False))
    singles = []
    for k in chosen:
        v = np.zeros(point.shape)
        v.flat[k] = scale.flat[k]
        index = tuple(int(i) for i in np.unravel_index(k, point.shape))
        name = f"component {index[0] if len(index) == 1 else index}" if index else "the derivative"
        singles.append(_probe(call, point, value, g, v, name, steps[::2], u))

    tests = singles + rays
    failed = [t for t in tests if t.fails(allowed)]
    kinks = sum(t.kink for t in rays)
    slopes = np.array([t.slope for t in rays])
    error = max(t.error for t in tests)
    if failed:
        worst = max((t for t in singles if t in failed), key=lambda t: t.error, default=failed[0])
        unit = float(np.max(np.abs(worst.direction))) if worst in singles else 1.0
        expected = f"{worst.low / unit:.9g}"
        if worst.kink:
            expected = f"slopes between {expected} and {worst.high / unit:.9g} (f has a kink there)"
        message = (
            f"the gradient is wrong: {worst.name} is {worst.given / unit:.9g}, "
            f"differences of f give {expected}. {len(failed)} of {len(tests)} tests failed; "
            f"along the random directions the Taylor remainder falls with slopes {np.round(slopes, 2)} "
            f"(2 if right, 1 if wrong)"
        )
    else:
        message = (
            f"the gradient passed {len(tests)} tests; "
            f"along the random directions the Taylor remainder falls with slopes {np.round(slopes, 2)} "
            f"(2 if right, 1 if wrong)"
        )
        if kinks:
            message += f"; f has a kink at x in {kinks} of {directions} directions"
    if failed and raises:
        raise AssertionError(message)
    remainders = np.array([t.remainders for t in rays])
    return GradientCheck(not failed, slopes, steps, remainders, error, kinks, message)


@dataclass(frozen=True, eq=False)
class _Probe:
    """Hold what differences along one direction say about a gradient."""

    name: str
    direction: np.ndarray
    given: float  # <gradient, direction>
    low: float  # the slope of f; at a kink the smaller of the slopes behind and ahead
    high: float
    uncertainty: float
    kink: bool
    slope: float
    remainders: np.ndarray

    @property
    def distance(self) -> float:
        return max(self.low - self.given, self.given - self.high, 0.0)

    @property
    def size(self) -> float:
        return max(abs(self.low), abs(self.high), abs(self.given), float(np.finfo(float).tiny))

    @property
    def error(self) -> float:
        return max(self.distance - 3 * self.uncertainty, 0.0) / self.size

    def fails(self, allowed: float) -> bool:
        # A remainder that falls like h is the mark of a wrong gradient, even where differences are uncertain.
        marked = not self.kink and 0.75 < self.slope < 1.25 and self.distance > allowed * self.size
        return self.error > allowed or marked


def _probe(call: Callable[..., Any], point: Any, value: Any, g: Any, v: Any, name: str, steps: Any, u: float) -> _Probe:
    given, f0 = float(np.sum(g * v)), float(value)
    ahead, behind = np.full(steps.size, np.nan), np.full(steps.size, np.nan)
    for k, h in enumerate(steps):
        try:
            with np.errstate(all="ignore"):
                ahead[k] = call((point + h * v).astype(point.dtype), "x + h v")
                behind[k] = call((point - h * v).astype(point.dtype), "x - h v")
        except ValueError as error:
            if not str(error).startswith("f is not finite"):
                raise
            ahead[k] = behind[k] = np.nan  # beyond an edge of where f is defined; smaller steps may stay inside
    remainders = np.abs(ahead - f0 - steps * given)
    good = np.flatnonzero(np.isfinite(ahead))
    if good.size < 4:
        raise ValueError(f"f is not finite around x, along {name}: x lies on an edge of where f is defined")
    h, ahead, behind = steps[good], ahead[good], behind[good]
    largest = np.maximum(abs(f0), np.maximum(np.abs(ahead), np.abs(behind)))
    # Rounding in f (a sum of n terms has some sqrt(n) errors) and in x + h v.
    noise = 4 * u * ((2 + np.sqrt(point.size)) * largest + float(np.sum(np.abs(g * point))))

    central = (ahead - behind) / (2 * h)
    change = np.abs(np.diff(central))
    doubt = np.append(change, change[-1]) + noise / h
    best = int(np.argmin(doubt))
    low = high = float(central[best])
    gap = np.abs((ahead - f0) - (f0 - behind)) / h  # shrinks like h f'', unless the slopes differ
    size = max(np.max(np.abs((ahead - f0)[-1] / h[-1])), np.max(np.abs((f0 - behind)[-1] / h[-1])))
    far = 2 if h.size > 2 and h[-1] / h[-2] > 0.2 else 1
    kink = bool(gap[-1] > 10 * noise[-1] / h[-1] and gap[-1] > 0.5 * gap[-1 - far] and gap[-1] > 0.05 * size)
    if kink:
        low, high = sorted([float((ahead - f0)[-1] / h[-1]), float((f0 - behind)[-1] / h[-1])])
    above = np.flatnonzero(remainders[good] > 10 * noise)[-4:]
    slope = np.nan
    if above.size >= 3:
        slope = float(np.polyfit(np.log(h[above]), np.log(remainders[good][above]), 1)[0])
    uncertainty = float(doubt[best]) if not kink else float(noise[-1] / h[-1])
    return _Probe(name, v, given, low, high, uncertainty, kink, slope, remainders)
