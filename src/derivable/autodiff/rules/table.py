"""The table of elementwise functions: one line a function, its partial derivatives as short expressions.

In an expression `x`, `y`, `w` are the inputs and `z` is the output. Both modes read the same line: forward mode
multiplies a partial by a tangent, reverse mode by a cotangent.

Where a function has no derivative, these are the conventions. Each has a test of its name.

| function, at | partial | why |
|---|---|---|
| `abs`, `relu` and `sign` at 0 | 0 | the subgradient of least norm; `sign` and rounding have 0 everywhere |
| `maximum(x, y)` at x = y | 1/2, 1/2 | symmetric; the two add up to 1, so `maximum(x, x)` has derivative 1 |
| `clip` at its borders | 1 for x, 0 for the border | the one-sided derivative from within |
| `max(a)`, `sort` with ties | shared equally; by position | as `maximum`; a sort that keeps equal elements in order |
| `sqrt`, `x ** 0.5`, `log` at 0 | inf | the limit |
| `x ** y` at x = 0, by y | 0 | where 0 < x the limit of x ** y log x, for y > 0 |
| `x ** 0` at 0 | 0 | the function is constant |
| `norm`, `hypot`, `std` at 0 | 0 | the subgradient of least norm |
| `arctan2` at the origin | NaN | there is no limit |

**Never a wrong number.** A product 0 * inf in the chain is NaN, and stays NaN: nobody knows what it should be. Two
things need care.

*Selection.* `where(x < 1, x, sqrt(x))` at 0 has derivative 1: the branch not taken says nothing. Its zero is not a
number that happens to be small, it means "not used". So selectors (`SELECTORS` below) pick and do not multiply, and the
reverse pass keeps the condition: all that leads to a value used only under it is picked by it too.

*Overflow.* A function whose slope vanishes at infinity while it goes on growing (sqrt, log, and so on), taken at an
infinity that is really a large number that has overflowed, would answer with slope 0: `sqrt(x * x + 1)` at 1e200. The
true slope is 1. Such rules have an `edge`: an expression that is 0, and NaN at infinity, and is added to the slope. Not
so where the function has a limit that it comes close to fast enough: 0 is right for tanh, arctan or 1 / y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ELEMENTWISE", "NAMES", "OPERATORS", "SELECTORS", "Rule", "Selector"]


@dataclass(frozen=True)
class Rule:
    """The derivative of an elementwise function.

    Attributes:
        name: how the table calls the function.
        partials: an expression for each argument, or None where the derivative is zero everywhere.
        edge: an expression that is 0, and NaN where an overflow has lost the slope.
        result: the sort of the result: "float", "same" (as the arguments) or "bool".
    """

    name: str
    partials: tuple[str | None, ...]
    edge: str | None = None
    result: str = "float"


@dataclass(frozen=True)
class Selector:
    """A function that hands one of its arguments on.

    Attributes:
        shares: the cotangent of each argument, in terms of `g`, by `pick(condition, a, b)`: a where it holds, else b.
        used: for each argument, the condition under which it is used at all.
        tangent: of the result, in terms of `dx`, `dy`, `dw`.
    """

    shares: tuple[str | None, ...]
    used: tuple[str | None, ...]
    tangent: str


ELEMENTWISE: dict[str, Rule] = {}


def rule(name: str, *partials: str | None, edge: str | None = None, result: str = "float") -> None:
    """Enter one line into the table."""
    ELEMENTWISE[name] = Rule(name, partials, edge, result)


# Arithmetic.
rule("+", "1", "1", result="same")
rule("-", "1", "-1", result="same")
rule("*", "y", "x", result="same")
rule("/", "1 / y", "-z / y", edge="0 * y")
rule("//", None, None, result="same")
rule("%", "1", "-floor(x / y)", result="same")
# The comparisons add 1 exactly where a factor is 0 already: y = 0 gives 0 and not 0 * inf, x = 0 gives log 1.
rule("**", "y * x ** (y - 1 + (y == 0))", "z * log(x + (x == 0))", edge="0 * x", result="same")
rule("neg", "-1", result="same")
rule("pos", "1", result="same")
rule("abs", "sign(x)", result="same")
rule("square", "2 * x", result="same")
rule("reciprocal", "-z * z")

# Exponentials and logarithms.
rule("exp", "z")
rule("exp2", "0.6931471805599453 * z")
rule("expm1", "z + 1")
rule("log", "1 / x", edge="0 * x")
rule("log2", "1.4426950408889634 / x", edge="0 * x")
rule("log10", "0.4342944819032518 / x", edge="0 * x")
rule("log1p", "1 / (1 + x)", edge="0 * x")
# Not exp(x - z): where x and y are large, z has lost log(2), and x = y would have the slopes 1 and 1.
rule("logaddexp", "1 / (1 + exp(y - x))", "1 / (1 + exp(x - y))")
rule("sqrt", "0.5 / z", edge="0 * z")
rule("cbrt", "1 / (3 * z * z)", edge="0 * z")
rule("hypot", "x / (z + (z == 0))", "y / (z + (z == 0))", edge="0 * z")

# Circular and hyperbolic functions.
rule("sin", "cos(x)")
rule("cos", "-sin(x)")
rule("tan", "1 + z * z")
rule("arcsin", "1 / sqrt((1 - x) * (1 + x))")
rule("arccos", "-1 / sqrt((1 - x) * (1 + x))")
rule("arctan", "1 / (1 + x * x)")
# Not x * x + y * y, which overflows and underflows where the slope is still a number.
rule("arctan2", "y / hypot(x, y) / hypot(x, y)", "-x / hypot(x, y) / hypot(x, y)", edge="0 * x * y")
rule("sinh", "cosh(x)")
rule("cosh", "sinh(x)")
rule("tanh", "1 - z * z")
rule("arcsinh", "1 / hypot(x, 1.0)", edge="0 * x")
rule("arccosh", "1 / (sqrt(x - 1) * sqrt(x + 1))", edge="0 * x")
rule("arctanh", "1 / ((1 - x) * (1 + x))")
rule("deg2rad", "0.017453292519943295")
rule("rad2deg", "57.29577951308232")

# Special functions.
rule("erf", "1.1283791670955126 * exp(-x * x)")
rule("erfc", "-1.1283791670955126 * exp(-x * x)")

# Kinks and steps.
rule("maximum", "(x > y) + 0.5 * (x == y)", "(y > x) + 0.5 * (x == y)", result="same")
rule("minimum", "(x < y) + 0.5 * (x == y)", "(y < x) + 0.5 * (x == y)", result="same")
rule("clip", "1.0 * ((x >= y) & (x <= w))", "1.0 * (x < y)", "1.0 * (x > w)", result="same")
rule("where", None, "1.0 * x", "1.0 - x", result="same")
rule("pick", None, "1.0 * x", "1.0 - x", result="same")
rule("copysign", "sign(x) * sign(z)", None)
rule("sign", None, result="same")
rule("floor", None)
rule("ceil", None)
rule("trunc", None)
rule("rint", None)
rule("fmod", "1", "-trunc(x / y)", result="same")

# Selectors pick; 0 * inf would be NaN where the argument is not even used.
SELECTORS: dict[str, Selector] = {
    "maximum": Selector(
        ("pick(x > y, g, pick(x == y, 0.5 * g, 0.0))", "pick(y > x, g, pick(x == y, 0.5 * g, 0.0))"),
        ("x >= y", "y >= x"),
        "pick(x > y, dx, pick(y > x, dy, 0.5 * (dx + dy)))",
    ),
    "minimum": Selector(
        ("pick(x < y, g, pick(x == y, 0.5 * g, 0.0))", "pick(y < x, g, pick(x == y, 0.5 * g, 0.0))"),
        ("x <= y", "y <= x"),
        "pick(x < y, dx, pick(y < x, dy, 0.5 * (dx + dy)))",
    ),
    "clip": Selector(
        ("pick((x >= y) & (x <= w), g, 0.0)", "pick(x < y, g, 0.0)", "pick(x > w, g, 0.0)"),
        ("(x >= y) & (x <= w)", "x < y", "x > w"),
        "pick(x < y, dy, pick(x > w, dw, dx))",
    ),
    "where": Selector((None, "pick(x, g, 0.0)", "pick(x, 0.0, g)"), (None, "x", "not x"), "pick(x, dy, dw)"),
    "pick": Selector((None, "pick(x, g, 0.0)", "pick(x, 0.0, g)"), (None, "x", "not x"), "pick(x, dy, dw)"),
    "activation relu": Selector(("pick(x > 0, g, 0.0)",), ("x > 0",), "pick(x > 0, dx, 0.0)"),
}

# Numbers that carry no derivative.
for _name in ("<", "<=", ">", ">=", "==", "!=", "isnan", "isinf", "isfinite", "and", "or", "not", "logical_and",
              "logical_or", "logical_not"):  # fmt: skip
    rule(_name, None, None, result="bool")
for _name in ("&", "|", "^", "<<", ">>", "~"):
    rule(_name, None, None, result="same")
rule("float", "1")
rule("float32", "1")
rule("int", None, result="int")
rule("bool", None, result="bool")
rule("stop", None, result="same")

OPERATORS = {"+", "-", "*", "/", "//", "%", "**", "<", "<=", ">", ">=", "==", "!=", "&", "|", "^", "<<", ">>"}

# Which objects of math, NumPy and Python are meant by the names above.
NAMES: dict[Any, str] = {}
_ALIASES = {"abs": "fabs", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2"}
_ALIASES |= {"arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "**": "pow"}
_ALIASES |= {"deg2rad": "radians", "rad2deg": "degrees"}
for _name in ELEMENTWISE:
    for _module in (np, math):
        for _spelling in (_name, _ALIASES.get(_name)):
            _function = getattr(_module, _spelling, None) if _spelling else None
            if callable(_function) and not isinstance(_function, type):
                NAMES[_function] = _name
NAMES |= {np.power: "**", np.negative: "neg", np.positive: "pos", np.add: "+", np.subtract: "-", np.multiply: "*"}
NAMES |= {np.divide: "/", np.true_divide: "/", np.fabs: "abs", np.remainder: "%", np.floor_divide: "//"}
NAMES |= {np.less: "<", np.greater: ">", np.less_equal: "<=", np.greater_equal: ">=", np.equal: "=="}
NAMES |= {np.not_equal: "!=", abs: "abs", pow: "**", float: "float", np.float64: "float", np.float32: "float32"}
NAMES |= {int: "int", np.int64: "int", np.int32: "int", np.intp: "int", bool: "bool", np.bool_: "bool"}
NAMES |= {np.radians: "deg2rad", np.degrees: "rad2deg", np.fmod: "fmod", math.fmod: "fmod", np.round: "rint"}
