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
| `norm` at 0 | 0 | the subgradient of least norm |
| `arctan2` at the origin | NaN | there is no limit |

**Strong zeros.** Where a partial can be infinite at a finite point (`strong=True` below: sqrt, log, pow, division,
arctan2 and the inverse functions at the ends of their domains), a cotangent of exactly zero times that partial is 0,
not NaN. So `where(x < 1, x, sqrt(x))` has derivative 1 at 0: the branch not taken says nothing. `exp` and its family
have no strong zero. Where they overflow, a zero cotangent comes from an infinity further on, and 0 would be wrong:
`log1p(exp(x))` at 800 has derivative 1, and we answer NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ELEMENTWISE", "NAMES", "OPERATORS", "Rule"]


@dataclass(frozen=True)
class Rule:
    """The derivative of an elementwise function.

    Attributes:
        name: how the table calls the function.
        partials: an expression for each argument, or None where the derivative is zero everywhere.
        strong: whether a zero cotangent silences an infinite partial.
        result: the sort of the result: "float", "same" (as the arguments) or "bool".
    """

    name: str
    partials: tuple[str | None, ...]
    strong: bool = False
    result: str = "float"


ELEMENTWISE: dict[str, Rule] = {}


def rule(name: str, *partials: str | None, strong: bool = False, result: str = "float") -> None:
    """Enter one line into the table."""
    ELEMENTWISE[name] = Rule(name, partials, strong, result)


# Arithmetic.
rule("+", "1", "1", result="same")
rule("-", "1", "-1", result="same")
rule("*", "y", "x", result="same")
rule("/", "1 / y", "-z / y", strong=True)
rule("//", None, None, result="same")
rule("%", "1", "-floor(x / y)", result="same")
# The comparisons add 1 exactly where a factor is 0 already: y = 0 gives 0 and not 0 * inf, x = 0 gives log 1.
rule("**", "y * x ** (y - 1 + (y == 0))", "z * log(x + (x == 0))", strong=True, result="same")
rule("neg", "-1", result="same")
rule("pos", "1", result="same")
rule("abs", "sign(x)", result="same")
rule("square", "2 * x", result="same")
rule("reciprocal", "-z * z", strong=True)

# Exponentials and logarithms.
rule("exp", "z")
rule("exp2", "0.6931471805599453 * z")
rule("expm1", "z + 1")
rule("log", "1 / x", strong=True)
rule("log2", "1.4426950408889634 / x", strong=True)
rule("log10", "0.4342944819032518 / x", strong=True)
rule("log1p", "1 / (1 + x)", strong=True)
rule("logaddexp", "exp(x - z)", "exp(y - z)")
rule("sqrt", "0.5 / z", strong=True)
rule("cbrt", "1 / (3 * z * z)", strong=True)
rule("hypot", "x / (z + (z == 0))", "y / (z + (z == 0))")

# Circular and hyperbolic functions.
rule("sin", "cos(x)")
rule("cos", "-sin(x)")
rule("tan", "1 + z * z")
rule("arcsin", "1 / sqrt(1 - x * x)", strong=True)
rule("arccos", "-1 / sqrt(1 - x * x)", strong=True)
rule("arctan", "1 / (1 + x * x)")
rule("arctan2", "y / (x * x + y * y)", "-x / (x * x + y * y)", strong=True)
rule("sinh", "cosh(x)")
rule("cosh", "sinh(x)")
rule("tanh", "1 - z * z")
rule("arcsinh", "1 / sqrt(x * x + 1)")
rule("arccosh", "1 / sqrt(x * x - 1)", strong=True)
rule("arctanh", "1 / (1 - x * x)", strong=True)
rule("deg2rad", "0.017453292519943295")
rule("rad2deg", "57.29577951308232")

# Special functions.
rule("erf", "1.1283791670955126 * exp(-x * x)")
rule("erfc", "-1.1283791670955126 * exp(-x * x)")

# Kinks and steps.
rule("maximum", "(x > y) + 0.5 * (x == y)", "(y > x) + 0.5 * (x == y)", result="same")
rule("minimum", "(x < y) + 0.5 * (x == y)", "(y < x) + 0.5 * (x == y)", result="same")
rule("clip", "1.0 * ((x >= y) & (x <= w))", "1.0 * (x < y)", "1.0 * (x > w)", result="same")
rule("where", None, "1.0 * x", "1.0 - x", result="same")  # written out by the reverse and the forward pass
rule("copysign", "sign(x) * sign(z)", None)
rule("sign", None, result="same")
rule("floor", None)
rule("ceil", None)
rule("trunc", None)
rule("rint", None)
rule("fmod", "1", "-trunc(x / y)", result="same")

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
