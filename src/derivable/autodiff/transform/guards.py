"""Guards: the conditions without which a cotangent or a tangent is zero because nothing depends on the value.

Behind `np.where(c, a, b)` the cotangent of a is zero where c does not hold. That zero means "not used", and it wins
against a partial derivative that is infinite. A zero that arithmetic gave does not: 0 * inf is NaN.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from derivable.autodiff.rules.table import SELECTORS
from derivable.autodiff.transform.activity import Analysis
from derivable.autodiff.transform.emit import template
from derivable.autodiff.transform.program import Let, Value

__all__ = ["Guard", "condition", "negation", "written"]


@dataclass(frozen=True)
class Guard:
    """A condition of the forward pass, of one number or of the elements of an array; its expression is made if used."""

    make: Callable[[], Any]
    array: bool

    def combine(self, other: Guard, both: bool) -> Guard:
        """Return the condition that both hold, or that either does."""
        if not self.array and not other.array:
            op = ast.And() if both else ast.Or()
            return Guard(lambda: ast.BoolOp(op, [self.make(), other.make()]), False)
        sign = ast.BitAnd() if both else ast.BitOr()
        return Guard(lambda: ast.BinOp(self.make(), sign, other.make()), True)


def negation(test: Any) -> Any:
    """Return the expression that a condition does not hold."""
    return ast.UnaryOp(ast.Not(), test)


def condition(s: Let, k: int, given: dict[str, Any]) -> Guard:
    """Return the condition under which a selector hands on its argument k."""
    text = SELECTORS[s.op].used[k] or ""
    each = bool(s.args[0].kind.ndim) if s.op in ("where", "pick") else bool(s.target.kind.ndim)
    return Guard(lambda: template(text, given, each), each)


def written(values: list[Value], analysis: Analysis) -> bool:
    """Tell whether arrays may have other elements when a condition on them is read again."""
    return any(v.kind.ndim and v.roots & w.array.roots for v in values for w in analysis.writes)
