"""Forward mode by overloading: numbers that carry a derivative along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from derivable.autodiff.overloading import Overloaded, fresh_level, partial

__all__ = ["Dual"]


class Dual(Overloaded):
    """Represent a dual number: a value and a tangent, `value + tangent e` with `e * e = 0`.

    Arithmetic and NumPy's functions compute with both, by the chain rule. A program run on duals gives its
    value and its derivative in the direction of the tangents of its inputs. Vectors are NumPy arrays of
    duals.

    Args:
        value: a number, or a dual of a lower level (for derivatives of derivatives).
        tangent: its derivative in the chosen direction.
        level: which derivative the tangent belongs to; `Dual.jvp` takes a new one each time, so that nested
            derivatives do not confuse their perturbations.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = dv.Dual(2.0, 1.0)
        print(x * x * x)
        #> Dual(8.0, 12.0)
        value, slope = dv.Dual.jvp(np.sin, 0.0, 1.0)
        print(float(value), float(slope))
        #> 0.0 1.0
        ```

    References:
        Siskind & Pearlmutter, Nesting forward-mode AD in a functional framework, 2008 (levels).
    """

    def __init__(self, value: Any, tangent: Any = 0.0, level: int = 0) -> None:
        self.value = float(value) if isinstance(value, (int, np.integer)) else value
        self.tangent = float(tangent) if isinstance(tangent, (int, np.integer)) else tangent
        self.level = level
        if isinstance(value, np.ndarray):
            raise TypeError("Dual holds one number; a vector is an array of them, see Dual.jvp")

    def _apply(self, function: Callable[..., Any], inputs: tuple[Any, ...], level: int) -> Dual:
        values = tuple(_part(x, "value", level, x) for x in inputs)
        tangents = [_part(x, "tangent", level, None) for x in inputs]
        value = function(*values)
        tangent = 0.0
        for i, t in enumerate(tangents):
            if t is not None:  # the chain rule: each partial derivative times its input's tangent
                tangent = tangent + partial(function.__name__, i, values, value) * t
        return Dual(value, tangent, level)

    def __repr__(self) -> str:
        number = [repr(p) if isinstance(p, Overloaded) else str(p) for p in (self.value, self.tangent)]
        return f"Dual({', '.join(number)})"

    @staticmethod
    def jvp(f: Callable[[Any], Any], x: Any, v: Any) -> tuple[Any, Any]:
        """Return `f(x)` and the derivative of `f` at `x` in the direction `v`, the Jacobian times `v`.

        Args:
            f: a function of one number or one array, written with operators and NumPy's functions.
            x: a number or an array.
            v: the direction, of the shape of `x`.

        Returns:
            The value and the tangent, each a number or an array of the shape of `f(x)`.

        Raises:
            ValueError: if `x` and `v` differ in shape.
        """
        if np.shape(x) != np.shape(v):
            raise ValueError(f"v must have the shape of x, {np.shape(x)}, got {np.shape(v)}")
        level = fresh_level()
        lift = np.frompyfunc(lambda value, tangent: Dual(value, tangent, level), 2, 1)
        out = f(lift(x, v) if np.ndim(x) else Dual(x, v, level))
        if isinstance(out, (np.ndarray, list, tuple)) and np.ndim(out):
            out = np.asarray(out)
            value = np.frompyfunc(lambda o: _part(o, "value", level, o), 1, 1)(out)
            tangent = np.frompyfunc(lambda o: _part(o, "tangent", level, 0.0), 1, 1)(out)
            return _numeric(value), _numeric(tangent)
        if isinstance(out, np.ndarray):  # without dimensions, as np.where makes them
            out = out[()]
        return _part(out, "value", level, out), _part(out, "tangent", level, 0.0)


def _part(x: Any, part: str, level: int, constant: Any) -> Any:
    """Return a part of a dual of this level; everything else is a constant here."""
    return getattr(x, part) if isinstance(x, Dual) and x.level == level else constant


def _numeric(array: Any) -> Any:
    """Turn an array of objects into one of numbers, unless it still holds duals of another level."""
    return array if any(isinstance(o, Overloaded) for o in array.flat) else np.array(array.tolist())
