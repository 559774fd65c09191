"""Run a generated program as plain Python with the arithmetic of the compiled one: inf and NaN, not exceptions.

Python raises where a float is divided by zero or a power or an exponential overflows. NumPy's numbers do not. So the
program's floats become numbers of NumPy, and the functions of `math` those of NumPy.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
from typing import Any

import numpy as np

__all__ = ["as_compiled"]

OTHER = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh"}
OTHER |= {"acosh": "arccosh", "atanh": "arctanh", "pow": "power"}
ROUND = ("floor", "ceil", "trunc")  # these return integers, compiled too


class _Math:
    """The module `math`, by functions that do not raise."""

    def __getattr__(self, name: str) -> Any:
        if name in ("erf", "erfc"):
            return lambda x: np.float64(getattr(math, name)(x))
        if name in ROUND or not hasattr(np, OTHER.get(name, name)):
            return getattr(math, name)
        return getattr(np, OTHER.get(name, name))


class _Constants(ast.NodeTransformer):
    """Replaces the floats of a program by names of NumPy's numbers."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def visit_Constant(self, node: ast.Constant) -> Any:
        if not isinstance(node.value, float):
            return node
        name = f"constant_{node.value!r}"  # no name of the program can be like this
        self.found[name] = np.float64(node.value)
        return ast.copy_location(ast.Name(name, ast.Load()), node)


def convert(value: Any, out: bool) -> Any:
    """Turn Python's floats into NumPy's, or back, also within tuples."""
    if isinstance(value, tuple):
        return tuple(convert(part, out) for part in value)
    if out:
        return value.item() if isinstance(value, np.generic) else value
    return np.float64(value) if isinstance(value, float) else value


def as_compiled(function: Any) -> Any:
    """Return a plain function of a generated module that computes as the compiled one does."""
    constants = _Constants()
    tree = constants.visit(ast.parse(inspect.getsource(function)))
    namespace = {**function.__globals__, **constants.found, "math": _Math(), "float": np.float64}
    exec(compile(tree, function.__code__.co_filename, "exec"), namespace)
    made = namespace[function.__name__]

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return convert(made(*(convert(a, False) for a in args)), True)

    return run
