r"""Proximal maps: what a descent loop applies after each step, to keep to a set or to shrink the weights.

The proximal map of a convex function $\psi$ sends a point $v$ to the minimiser of
$\psi(u) + \frac{1}{2\eta} \|u - v\|^2$. For the indicator of a convex set, which is 0 in the set and infinite
outside, that is the projection onto the set. Each function here returns a [`Proximal`][derivable.proximal.Proximal],
which is one such map: call it on an array, or hand it to a loop as `proximal=`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from derivable.jit import kernel
from derivable.validation import as_array, check_finite, check_number, check_positive

__all__ = ["Proximal", "ball", "box", "custom", "l1", "simplex"]


@dataclass(frozen=True, eq=False)
class Proximal:
    r"""A proximal map, ready for a descent loop.

    Called as `p(v, size)` it returns the minimiser of $\psi(u) + \frac{1}{2\,\mathrm{size}} \|u - v\|^2$ in a new
    array. For a projection `size` is of no effect.

    Attributes:
        into: `into(v, size, *args)`, compiled: it overwrites the vector `v`.
        args: what it takes after `size`.
        name: what it is called in messages.
        penalty: $\psi$ as a Python function of an array; infinite outside a set. None if it was not given.
    """

    into: Callable[..., Any]
    args: tuple[Any, ...]
    name: str
    penalty: Callable[[np.ndarray], float] | None = None

    def __call__(self, v: Any, size: float = 1.0) -> Any:
        """Return the proximal point of `v`, in its shape; float32 if `v` is."""
        array = as_array(v, "v", kinds="iuf")
        check_finite(array, "v")
        size = check_positive(size, "size")
        flat = np.array(array.reshape(-1), dtype=array.dtype if array.dtype == np.float32 else np.float64)
        if self.into in (clip, onto_ball):  # their arrays belong to the entries; those of others may be anything
            for item in self.args:
                if isinstance(item, np.ndarray) and item.size not in (0, 1, flat.size):
                    raise ValueError(f"{self.name} was made for {item.size} entries, got {flat.size}")
        with np.errstate(all="ignore"):  # without the JIT NumPy would warn of an overflow that the kernels allow
            returned = self.into(flat, size, *self.args)
        if returned is not None:
            raise TypeError(f"{self.name} must overwrite its first argument and return nothing")
        return flat.reshape(array.shape)[()]

    def __repr__(self) -> str:
        return f"proximal.{self.name}"


@kernel
def shrink(v: np.ndarray, size: float, weight: float) -> None:
    """Move each entry towards 0 by size * weight, at most to 0."""
    threshold = size * weight
    for i in range(v.size):
        if v[i] > threshold:
            v[i] -= threshold
        elif v[i] < -threshold:
            v[i] += threshold
        elif abs(v[i]) <= threshold:  # a NaN stays one
            v[i] = 0.0


def l1(weight: float) -> Proximal:
    r"""Return soft thresholding, the proximal map of $\psi(w) = \mathrm{weight}\, \|w\|_1$.

    Args:
        weight: the weight of the penalty, greater than 0.

    Returns:
        The map: each entry moves towards 0 by `size * weight`, and stays there if it arrives.

    Raises:
        ValueError: if `weight` is not greater than 0.

    Examples:
        ```python
        import derivable as dv

        print(dv.proximal.l1(1.0)([3.0, -0.5, -2.0]))
        #> [ 2.  0. -1.]
        ```
    """
    weight = check_positive(weight, "weight")
    return Proximal(shrink, (weight,), f"l1({weight:g})", lambda w: weight * float(np.abs(w).sum()))


@kernel
def clip(v: np.ndarray, size: float, low: np.ndarray, high: np.ndarray) -> None:
    """Move each entry into [low, high]; bounds of one element hold for all."""
    for i in range(v.size):
        a, b = low[min(i, low.size - 1)], high[min(i, high.size - 1)]
        if v[i] < a:
            v[i] = a
        elif v[i] > b:
            v[i] = b


def box(low: Any = -np.inf, high: Any = np.inf) -> Proximal:
    """Return the projection onto a box, low <= w <= high entry by entry.

    Args:
        low: a number, or one for each entry of w; minus infinity means no bound.
        high: the same for the upper bound. `box(low=0)` is the set of nonnegative vectors.

    Returns:
        The map.

    Raises:
        ValueError: if a bound is NaN, or `low` is greater than `high` somewhere.

    Examples:
        ```python
        import derivable as dv

        print(dv.proximal.box(0.0, [1.0, 2.0, 3.0])([-5.0, 5.0, 2.5]))
        #> [0.  2.  2.5]
        ```
    """
    bounds = []
    for value, name in ((low, "low"), (high, "high")):
        array = np.ascontiguousarray(as_array(value, name, kinds="iuf").reshape(-1), dtype=np.float64)
        if np.isnan(array).any():
            raise ValueError(f"{name} must not hold NaN")
        bounds.append(array)
    a, b = bounds
    if a.size != b.size and 1 not in (a.size, b.size):
        raise ValueError(f"low and high must have the same number of entries, got {a.size} and {b.size}")
    if np.any(a > b):
        raise ValueError("low must not be greater than high")

    def penalty(w: np.ndarray) -> float:
        flat = np.reshape(w, -1)
        return 0.0 if np.all((flat >= a) & (flat <= b)) else np.inf

    return Proximal(clip, (a, b), "box", penalty)


@kernel
def onto_ball(v: np.ndarray, size: float, radius: float, centre: np.ndarray) -> None:
    """Move a point outside the ball along the line to its centre, to the surface. No centre means 0.

    A centre of one element holds for all entries.
    """
    same = centre.size - 1  # the last index of the centre
    largest = 0.0
    for i in range(v.size):
        d = np.float64(v[i]) - (centre[min(i, same)] if centre.size > 0 else 0.0)
        largest = max(largest, abs(d))
    if largest <= radius / np.sqrt(np.float64(v.size)) or not largest < np.inf:
        return
    s = 0.0
    for i in range(v.size):
        d = np.float64(v[i]) - (centre[min(i, same)] if centre.size > 0 else 0.0)
        s += (d / largest) ** 2  # scaled, so that no square overflows
    length = largest * np.sqrt(s)
    if length > radius:
        for i in range(v.size):
            c = centre[min(i, same)] if centre.size > 0 else 0.0
            v[i] = c + (np.float64(v[i]) - c) * (radius / length)


def ball(radius: float, centre: Any = None) -> Proximal:
    r"""Return the projection onto the Euclidean ball $\|w - \mathrm{centre}\| \le \mathrm{radius}$.

    Args:
        radius: greater than 0.
        centre: in the shape of w, or one number for all entries; 0 by default.

    Returns:
        The map.

    Raises:
        ValueError: if `radius` is not greater than 0 or `centre` is not finite.

    Examples:
        ```python
        import derivable as dv

        print(dv.proximal.ball(1.0)([3.0, 4.0]), dv.proximal.ball(1.0)([0.3, 0.4]))
        #> [0.6 0.8] [0.3 0.4]
        ```
    """
    radius = check_positive(radius, "radius")
    middle = np.zeros(0)
    if centre is not None:
        middle = np.ascontiguousarray(as_array(centre, "centre", kinds="iuf").reshape(-1), dtype=np.float64)
        check_finite(middle, "centre")

    def penalty(w: np.ndarray) -> float:
        d = np.reshape(w, -1) - (middle if middle.size else 0.0)
        return 0.0 if np.linalg.norm(d) <= radius * (1 + 1e-12) else np.inf

    return Proximal(onto_ball, (radius, middle), f"ball({radius:g})", penalty)


@kernel
def onto_simplex(v: np.ndarray, size: float, total: float) -> None:
    """Lower all entries by one number and cut off below 0, such that the sum is `total`.

    Entries are measured from the largest one, so that their sum neither overflows nor drowns `total`.
    """
    ordered = np.sort(v)
    top = np.float64(ordered[v.size - 1])
    s, t = 0.0, 0.0
    for k in range(1, v.size + 1):  # with the k largest entries positive, t would be this
        below = np.float64(ordered[v.size - k]) - top
        s += below
        candidate = (s - total) / k
        if below > candidate:
            t = candidate
    for i in range(v.size):
        if v[i] == v[i]:
            v[i] = max(np.float64(v[i]) - top - t, 0.0)


def simplex(total: float = 1.0) -> Proximal:
    r"""Return the projection onto the simplex $w_i \ge 0$, $\sum_i w_i = \mathrm{total}$.

    Args:
        total: the sum of the entries, greater than 0.

    Returns:
        The map. It sorts the entries: n log n operations.

    Raises:
        ValueError: if `total` is not greater than 0.

    Examples:
        ```python
        import derivable as dv

        print(dv.proximal.simplex()([1.5, 1.0, -3.0]))
        #> [0.75 0.25 0.  ]
        ```

    References:
        J. Duchi, S. Shalev-Shwartz, Y. Singer and T. Chandra, *Efficient projections onto the l1-ball for
        learning in high dimensions*, ICML 2008.
    """
    total = check_positive(total, "total")

    def penalty(w: np.ndarray) -> float:
        return 0.0 if np.min(w) >= 0 and abs(np.sum(w) - total) <= 1e-9 * total else np.inf

    return Proximal(onto_simplex, (total,), f"simplex({total:g})", penalty)


def custom(into: Callable[..., Any], args: tuple[Any, ...] = (), name: str = "custom") -> Proximal:
    """Return a proximal map of your own.

    Args:
        into: an `@njit` function `into(v, size, *args)` that overwrites the vector `v` with its proximal point;
            `size` is the step size, a float.
        args: a tuple of numbers and arrays.
        name: what it is called in messages.

    Returns:
        The map.

    Raises:
        TypeError: if `into` is not a function or `args` not a tuple.

    Examples:
        ```python
        import derivable as dv
        from numba import njit

        @njit
        def ridge(v, size, weight):  # of weight * |w|^2 / 2
            for i in range(v.size):
                v[i] /= 1 + size * weight

        print(dv.proximal.custom(ridge, (3.0,))([4.0, 8.0]))
        #> [1. 2.]
        ```
    """
    if not callable(into):
        raise TypeError(f"into must be a function into(v, size, *args), got {type(into).__name__}")
    if not isinstance(args, tuple):
        raise TypeError(f"args must be a tuple, got {type(args).__name__}")
    for i, value in enumerate(args):
        if isinstance(value, float):
            check_number(value, f"args[{i}]")
    return Proximal(into, args, name)
