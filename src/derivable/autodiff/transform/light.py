"""Keep the work on arrays of three and more axes light to compile.

Numba compiles an operation of two arrays for every way in which they may be broadcast, twofold for each axis of each:
on four axes that takes ten seconds, on one axis a tenth of a second. So the program of a derivative writes such work
on the elements in one row: `(g.ravel() * y.ravel()).reshape(g.shape)`. Where an array lies in one piece, as nearly all
do, `ravel` is a view and costs nothing; and one loop runs at least as fast as four nested ones. An array that may be
broadcast is spread over the row by `wide(y, g.shape)`; `x += y` becomes `accumulate(x, y)`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from derivable.autodiff.rules.table import ELEMENTWISE
from derivable.autodiff.transform.activity import same_shape
from derivable.autodiff.transform.program import Let, Value

if TYPE_CHECKING:
    from derivable.autodiff.transform.guards import Guard

__all__ = [
    "AXES",
    "accumulated",
    "in_a_row",
    "is_heavy",
    "is_quotient_in_a_row",
    "lighten",
    "row",
    "shaped",
    "single",
    "wide_guard",
]

AXES = 3  # from so many axes on


def call(function: str, *args: Any) -> Any:
    """Return the expression of a call."""
    return ast.Call(ast.Name(function, ast.Load()), [*args], [])


def method(x: Any, word: str, *args: Any) -> Any:
    """Return the expression of the call of a method."""
    return ast.Call(ast.Attribute(x, word, ast.Load()), [*args], [])


def is_heavy(node: Any, arrays: set[str]) -> bool:
    """Tell whether an expression combines two of these arrays, or more."""
    return len({n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & arrays) > 1


def row(node: Any) -> Any:
    """Return the expression of an array's elements in one row."""
    return method(node, "ravel")


def in_a_row(args: list[Value], k: int, read: Callable[[], Any], shape: Callable[[], Any]) -> Any:
    """Return the expression of the elements of an argument, of as many as the result has.

    Args:
        args: all arguments of the operation.
        k: which of them.
        read: makes the expression of the argument.
        shape: makes the expression of the shape of the result.
    """
    others = [b for b in args if b.kind.ndim]
    if not args[k].kind.ndim:
        return read()
    if all(same_shape(args[k], b) for b in others):
        return row(read())
    return call("wide", read(), shape())


def lighten(s: Let, node: Any, args: list[Any], arrays: set[str], make: Callable[[list[Any]], Any]) -> Any:
    """Return the right-hand side of a statement of the function itself, in one row where that is light.

    Args:
        s: the statement.
        node: its right-hand side.
        args: the expressions of its arguments.
        arrays: the names of arrays.
        make: makes the right-hand side from expressions of its arguments.
    """
    whole = [a for a in s.args if a.kind.ndim]
    if s.target.kind.ndim < AXES or s.op not in ELEMENTWISE or not all(same_shape(a, whole[0]) for a in whole):
        return node
    rows = [
        (row(n) if isinstance(n, ast.Name) else getattr(n, "in_a_row", None)) if a.kind.ndim else n
        for a, n in zip(s.args, args, strict=True)
    ]
    if None in rows:
        return node
    made = make(rows)
    if is_heavy(node, arrays):
        first = next(n for n in ast.walk(made) if isinstance(n, ast.Name) and n.id in arrays)
        node = shaped(made, ast.Attribute(first, "shape", ast.Load()))
    node.in_a_row = made  # for the expression that this one is folded into
    return node


def wide_guard(guard: Guard, shape: Any) -> Guard:
    """Return a guard whose condition, if it is one on the elements, is in one row."""
    return replace(guard, make=lambda: call("wide", guard.make(), shape)) if guard.array else guard


class _Single(ast.NodeTransformer):
    """Makes the zeros that are picked float32."""

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "pick":
            zero = method(ast.Name("np", ast.Load()), "float32", ast.Constant(0.0))
            node.args = [zero if isinstance(a, ast.Constant) and a.value == 0.0 else a for a in node.args]
        return node


def single(node: Any) -> Any:
    """Let picks among float32 arrays and zero remain float32: a zero of its own would make them float64."""
    return _Single().visit(node)


def shaped(node: Any, shape: Any) -> Any:
    """Return the expression of an array of this shape whose elements are given in one row."""
    return method(node, "reshape", shape)


def is_quotient_in_a_row(node: Any) -> bool:
    """Tell whether an array is the reshaped row of a quotient, which a second derivative may read again."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reshape"):
        return False
    return isinstance(node.func.value, ast.BinOp) and isinstance(node.func.value.op, ast.Div)


def accumulated(body: list[Any], arrays: set[str]) -> list[Any]:
    """Write `accumulate(x, y)` for `x += y` if x is one of these arrays, `add_outer` where y is an outer product."""

    def better(s: Any) -> Any:
        for field in ("body", "orelse"):
            if isinstance(getattr(s, field, None), list):
                setattr(s, field, [better(part) for part in getattr(s, field)])
        if not (isinstance(s, ast.AugAssign) and isinstance(s.target, ast.Name)):
            return s
        if isinstance(s.op, ast.Add) and isinstance(s.value, ast.Call) and getattr(s.value.func, "id", "") == "outer":
            return ast.Expr(call("add_outer", ast.Name(s.target.id, ast.Load()), *s.value.args))
        if s.target.id not in arrays or not isinstance(s.op, (ast.Add, ast.Sub)):
            return s
        value = s.value if isinstance(s.op, ast.Add) else ast.UnaryOp(ast.USub(), s.value)
        return ast.Expr(call("accumulate", ast.Name(s.target.id, ast.Load()), value))

    return [better(s) for s in body]
