"""Numbers that intercept operations: the table of partial derivatives, and the base of `Dual` and `Node`.

NumPy asks an operand that has `__array_ufunc__` what `np.sin(x)`, `x * y` or `x ** 2` shall mean. One method
thus sees every elementary operation of a program. It looks the operation up in `PARTIALS` and hands it on to
`_apply`: `Dual` computes a tangent there, a `Node` records itself on its tape.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["PARTIALS", "Overloaded", "fresh_level", "partial"]

# The partial derivatives of each elementary operation by its arguments x and y, where `out` is its value.
# They stand here as text so that a page can print them; `partial` turns them into functions. Conventions: abs
# has slope 0 at 0, and a tie of maximum or minimum gives half to each argument.
PARTIALS: dict[str, tuple[str, ...]] = {
    "add": ("1.0", "1.0"),
    "subtract": ("1.0", "-1.0"),
    "multiply": ("y", "x"),
    "divide": ("1 / y", "-out / y"),
    "power": ("y * x ** (y - 1)", "out * log(x)"),
    "maximum": ("(x > y) + 0.5 * (x == y)", "(y > x) + 0.5 * (x == y)"),
    "minimum": ("(x < y) + 0.5 * (x == y)", "(y < x) + 0.5 * (x == y)"),
    "arctan2": ("y / (x * x + y * y)", "-x / (x * x + y * y)"),
    "hypot": ("x / out", "y / out"),
    "logaddexp": ("exp(x - out)", "exp(y - out)"),
    "remainder": ("1.0", "-floor(x / y)"),
    "positive": ("1.0",),
    "negative": ("-1.0",),
    "absolute": ("sign(x)",),
    "square": ("2 * x",),
    "reciprocal": ("-out * out",),
    "sqrt": ("0.5 / out",),
    "cbrt": ("out / (3 * x)",),
    "exp": ("out",),
    "exp2": ("out * ln2",),
    "expm1": ("out + 1",),
    "log": ("1 / x",),
    "log2": ("1 / (x * ln2)",),
    "log10": ("1 / (x * ln10)",),
    "log1p": ("1 / (1 + x)",),
    "sin": ("cos(x)",),
    "cos": ("-sin(x)",),
    "tan": ("1 + out * out",),
    "arcsin": ("1 / sqrt(1 - x * x)",),
    "arccos": ("-1 / sqrt(1 - x * x)",),
    "arctan": ("1 / (1 + x * x)",),
    "sinh": ("cosh(x)",),
    "cosh": ("sinh(x)",),
    "tanh": ("1 - out * out",),
    "arcsinh": ("1 / sqrt(x * x + 1)",),
    "arccosh": ("1 / sqrt(x * x - 1)",),
    "arctanh": ("1 / (1 - x * x)",),
    "expit": ("out * (1 - out)",),  # scipy.special.expit, the sigmoid
    "sigmoid": ("out * (1 - out)",),  # and the package's own activation functions
    "softplus": ("1 / (1 + exp(-x))",),
    "softsign": ("1 / ((1 + absolute(x)) * (1 + absolute(x)))",),
    "relu": ("1.0 * (x > 0)",),
    "sign": ("0.0",),
    "floor": ("0.0",),
    "ceil": ("0.0",),
    "rint": ("0.0",),
    "trunc": ("0.0",),
}
COMPARISONS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}
COMPARISONS |= {"isfinite", "isnan", "isinf", "signbit", "logical_not", "logical_and", "logical_or"}

_NAMES = {name: getattr(np, name) for name in (*PARTIALS, "log") if hasattr(np, name)}
_NAMES |= {"ln2": float(np.log(2)), "ln10": float(np.log(10))}
_FUNCTIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    name: tuple(eval(f"lambda x, y=None, out=None: {text}", _NAMES) for text in texts)
    for name, texts in PARTIALS.items()
}
_levels = itertools.count(1)


def partial(operation: str, position: int, inputs: tuple[Any, ...], value: Any) -> Any:
    """Evaluate the partial derivative of an operation by one of its arguments."""
    x, y = inputs if len(inputs) == 2 else (inputs[0], None)
    return _FUNCTIONS[operation][position](x, y, value)


def fresh_level() -> int:
    """Return a new level, above all before: the tag that keeps two derivatives' perturbations apart."""
    return next(_levels)


class Overloaded(np.lib.mixins.NDArrayOperatorsMixin):
    """A number that intercepts the operations in which it takes part.

    Attributes:
        value: the number itself, possibly an overloaded number of a lower level.
        level: which derivative it belongs to. The operand of the highest level decides; all others are
            constants.
    """

    value: Any
    level: int

    def _apply(self, function: Callable[..., Any], inputs: tuple[Any, ...], level: int) -> Any:
        raise NotImplementedError

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        name, kind = ufunc.__name__, type(self).__name__
        if any(isinstance(x, np.ndarray) for x in inputs):  # an array beside us: its elements one by one
            return np.frompyfunc(ufunc, ufunc.nin, ufunc.nout)(*map(_boxed, inputs))
        level = max(x.level for x in inputs if isinstance(x, Overloaded))
        if not any(type(x) is type(self) and x.level == level for x in inputs if isinstance(x, Overloaded)):
            return NotImplemented  # another kind of number stands above: NumPy asks that one next
        if name in COMPARISONS:
            return ufunc(*map(_plain, inputs))
        if method == "reduce":  # np.sum or np.max of one number
            return self
        if name not in PARTIALS or method != "__call__" or keywords:
            raise TypeError(
                f"{kind} has no rule for np.{name}{'.' + method if method != '__call__' else ''}"
                f"{' with keywords' if keywords else ''}; it knows {', '.join(sorted(PARTIALS))}"
            )
        return self._apply(ufunc, inputs, level)

    def __elementwise__(self, function: Callable[..., Any], *parameters: Any) -> Any:
        """Apply one of the package's activation functions; they ask for this method."""
        if function.__name__ not in PARTIALS:
            raise TypeError(f"{type(self).__name__} has no rule for {function.__name__}")
        return self._apply(function, (self, *parameters), self.level)

    def __bool__(self) -> bool:
        return bool(_plain(self))

    def __float__(self) -> float:
        kind = type(self).__name__
        raise TypeError(
            f"float() would drop the derivative of a {kind}: use NumPy's functions (np.sin, not math.sin), "
            f"and .value where the number alone is meant"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


def _plain(x: Any) -> Any:
    """Return the number under all levels."""
    while isinstance(x, Overloaded):
        x = x.value
    return x


def _boxed(x: Any) -> Any:
    """Wrap a number in an array without dimensions, which NumPy broadcasts and does not ask."""
    if not isinstance(x, Overloaded):
        return x
    box = np.empty((), dtype=object)
    box[()] = x
    return box


def _method(name: str) -> Callable[..., Any]:
    return lambda self, *others: getattr(np, name)(self, *others)


# NumPy applies np.sin to an array of objects by calling each element's method `sin`.
for _name in PARTIALS:
    if hasattr(np, _name):
        setattr(Overloaded, _name, _method(_name))
