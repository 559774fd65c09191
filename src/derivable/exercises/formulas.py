"""Formulas typed as text, such as `"2 * arccosh(1 / (2 * sqrt(eps)))"`, read without running anything else.

The text is parsed, every part of it is looked at, and only numbers, the exercise's variables, arithmetic and a fixed
list of functions are let through. It is then evaluated by a walk over the parts: nothing is handed to `eval`.
"""

from __future__ import annotations

import ast
import difflib
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["FormulaError", "formula"]

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "arccos": np.arccos, "arccosh": np.arccosh, "arcsin": np.arcsin, "arcsinh": np.arcsinh,
    "arctan": np.arctan, "arctanh": np.arctanh, "cbrt": np.cbrt, "ceil": np.ceil, "clip": np.clip, "cos": np.cos,
    "cosh": np.cosh, "exp": np.exp, "expm1": np.expm1, "floor": np.floor, "ln": np.log, "log": np.log,
    "log10": np.log10, "log1p": np.log1p, "log2": np.log2, "max": np.maximum, "maximum": np.maximum,
    "min": np.minimum, "minimum": np.minimum, "sign": np.sign, "sin": np.sin, "sinh": np.sinh, "sqrt": np.sqrt,
    "tan": np.tan, "tanh": np.tanh, "where": np.where,
    "acos": np.arccos, "acosh": np.arccosh, "asin": np.arcsin, "asinh": np.arcsinh, "atan": np.arctan,
    "atanh": np.arctanh,
}  # fmt: skip
CONSTANTS = {"pi": np.pi, "e": np.e, "inf": np.inf}
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eps": "ε", "eta": "η", "theta": "θ", "kappa": "κ",
    "lam": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
}  # fmt: skip
ALIASES = {letter: name for name, letter in GREEK.items()} | {"lambda_": "lam", "epsilon": "eps", "ϵ": "eps"}
BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
TYPESET = str.maketrans("−·×", "-**")  # signs as this book prints them, and as they are copied from it
LONGEST = 1000


class FormulaError(ValueError):
    """A text that is not a formula in the exercise's variables. The message says which part is not, and why."""


def formula(text: str, variables: tuple[str, ...] = (), *, several: bool = False) -> Callable[..., Any]:
    """Return the function that a formula says.

    Args:
        text: arithmetic in Python's spelling. Names are the variables, `pi`, `e`, and NumPy's elementary functions,
            with or without `np.` in front. A variable such as `eta` may be written η.
        variables: the names that stand for the function's arguments, in their order.
        several: whether the text may be a row of formulas, as in `"[1, sqrt(2)]"` or `"1, sqrt(2)"`; the function then
            returns a list.

    Returns:
        A function of the variables. Numbers in the text are floats.

    Raises:
        FormulaError: if the text cannot be read, or says anything else.

    Examples:
        ```python
        from derivable.exercises.formulas import formula

        f = formula("2 * L / (mu + L)", ("mu", "L"))
        print(f(1.0, 9.0))
        #> 1.8
        ```
    """
    source = text.strip().translate(TYPESET)
    if not source:
        raise FormulaError("the formula is empty")
    if len(source) > LONGEST:
        raise FormulaError(f"the formula is longer than {LONGEST} characters")
    if re.match(r"^[\w/]+(\s*\([^=]*\))?\s*=[^=]", source):
        raise FormulaError(f"give only the right side of the equation, not {source!r}")
    try:
        tree = ast.parse(source, mode="eval")
    except SyntaxError as error:
        raise FormulaError(_unreadable(source, error)) from None
    except (ValueError, RecursionError, MemoryError):
        raise FormulaError(f"this cannot be read as a formula: {source[:60]!r}") from None
    if not several and re.fullmatch(r"[-+]?\s*\d+\s*,\s*\d+", source):
        raise FormulaError(f"write a decimal point, not a comma: {source.replace(',', '.')!r}")
    row = tree.body.elts if several and isinstance(tree.body, (ast.List, ast.Tuple)) else None
    for part in [tree.body] if row is None else row:
        _inspect(part, variables)

    def function(*values: Any) -> Any:
        named = dict(zip(variables, values, strict=True))
        return _evaluate(tree.body, named) if row is None else [_evaluate(part, named) for part in row]

    function.__name__ = source
    return function


def _unreadable(source: str, error: SyntaxError) -> str:
    if re.search(r"\blambda\b", source):
        return "lambda is a word of Python: write lam, or λ"
    if re.search("[²³⁴]", source):
        return f"this cannot be read: {source!r}. A power is written with **: x**2, not x²"
    if "√" in source:
        return f"this cannot be read: {source!r}. A root is written sqrt(x)"
    product = re.search(r"\d\s*[A-Za-zα-ω(]|\)\s*[\w(]", re.sub(r"\d[eE][-+]?\d", "0", source))
    if product:
        return f"this cannot be read: {source!r}. A product needs its sign: 2 * x, not 2x"
    if re.search(r"[\w)]\s+[A-Za-zα-ω(]", source) and not re.search(r"\b(if|else|and|or|not|in|is)\b", source):
        return f"this cannot be read: {source!r}. A product needs its sign: x * y, not x y"
    if source.count("(") != source.count(")"):
        return (
            f"this cannot be read: {source!r} has {source.count('(')} opening and {source.count(')')} closing brackets"
        )
    place = " " * max((error.offset or 1) - 1, 0) + "^"
    return f"this cannot be read as a formula:\n    {source}\n    {place}"


def _plain(name: str) -> str:
    return ALIASES.get(name, name)


def _inspect(node: ast.AST, variables: tuple[str, ...]) -> None:
    """Refuse every part of a formula that is not arithmetic on the variables."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            raise FormulaError(f"a formula holds numbers, variables and functions, not {node.value!r}")
    elif isinstance(node, ast.Name):
        if node.id not in variables and _plain(node.id) not in {*variables, *CONSTANTS}:
            raise FormulaError(_unknown(node.id, variables))
    elif isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.BitXor):
            raise FormulaError("a power is written with ** in Python, not with ^")
        if type(node.op) not in BINARY:
            raise FormulaError(f"{type(node.op).__name__} is not arithmetic: use + - * / ** and functions")
        _inspect(node.left, variables)
        _inspect(node.right, variables)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        _inspect(node.operand, variables)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARE:
        _inspect(node.left, variables)
        _inspect(node.comparators[0], variables)
    elif isinstance(node, ast.IfExp):
        for part in (node.test, node.body, node.orelse):
            _inspect(part, variables)
    elif isinstance(node, ast.Call):
        name = _called(node.func)
        if name not in FUNCTIONS:
            if not isinstance(node.func, (ast.Name, ast.Attribute)) or name in {*variables, *CONSTANTS}:
                raise FormulaError(f"{ast.unparse(node.func)}(...) is no call: a product needs its sign, 2 * (x + 1)")
            raise FormulaError(_unknown(name or ast.unparse(node.func), variables))
        if node.keywords:
            raise FormulaError(f"{name} takes no keywords in a formula")
        for part in node.args:
            _inspect(part, variables)
    elif not (isinstance(node, ast.Attribute) and _called(node) in CONSTANTS):
        raise FormulaError(f"only arithmetic, variables and elementary functions, not {ast.unparse(node)!r}")


def _called(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("np", "math"):
        return node.attr
    return ""


def _unknown(name: str, variables: tuple[str, ...]) -> str:
    names = {*variables, *CONSTANTS, *ALIASES}
    for cut in range(1, len(name)):
        if name[:cut] in names and name[cut:] in names:
            return f"the name {name!r} is not known here: a product needs its sign, {name[:cut]} * {name[cut:]}"
    close = difflib.get_close_matches(name, [*variables, *CONSTANTS, *FUNCTIONS], n=1)
    meant = f": did you mean {close[0]}?" if close else "."
    if not variables:
        given = " There are no variables: give a number"
    elif len(variables) == 1:
        given = f" The variable is {variables[0]}"
    else:
        given = f" The variables are {', '.join(variables)}"
    return f"the name {name!r} is not known here{meant}{given}; functions are those of NumPy, such as sqrt, exp, abs"


def _evaluate(node: ast.AST, values: dict[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return np.float64(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        name = node.id if node.id in values else _plain(node.id)
        return values[name] if name in values else CONSTANTS[name]
    if isinstance(node, ast.Attribute):
        return CONSTANTS[node.attr]
    if isinstance(node, ast.BinOp):
        return BINARY[type(node.op)](_evaluate(node.left, values), _evaluate(node.right, values))
    if isinstance(node, ast.UnaryOp):
        operand = _evaluate(node.operand, values)
        return -operand if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.Compare):
        return COMPARE[type(node.ops[0])](_evaluate(node.left, values), _evaluate(node.comparators[0], values))
    if isinstance(node, ast.IfExp):
        return _evaluate(node.body if _evaluate(node.test, values) else node.orelse, values)
    assert isinstance(node, ast.Call)
    return FUNCTIONS[_called(node.func)](*[_evaluate(part, values) for part in node.args])
