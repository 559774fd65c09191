"""Make a generated program pleasant to read: fold values used once into the expressions that use them."""

from __future__ import annotations

import ast
import copy
from typing import Any

from derivable.autodiff.transform.emit import Comment

__all__ = ["tidy"]

WIDTH = 88


def names(node: Any, context: type) -> list[str]:
    """Return the names that are loaded, or stored, somewhere in a node."""
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, context)]


def loads(node: Any) -> list[str]:
    """Return the names that a statement reads; `x += 1` reads x."""
    found = names(node, ast.Load)
    for n in ast.walk(node):
        if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name):
            found.append(n.target.id)
    return found


class _Replace(ast.NodeTransformer):
    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> Any:
        return self.value if node.id == self.name and isinstance(node.ctx, ast.Load) else node


def width(s: Any) -> int:
    """Return about how long the line of a statement is."""
    if isinstance(s, (ast.If, ast.For)):
        return len(ast.unparse(s.test if isinstance(s, ast.If) else s.iter))
    value = getattr(s, "value", None)
    target = s.targets[0] if isinstance(s, ast.Assign) else getattr(s, "target", None)
    return sum(len(ast.unparse(part)) + 5 for part in (value, target) if part is not None)


def substitute(s: Any, name: str, value: Any) -> None:
    """Replace a name by an expression in what a statement reads first."""
    for field in ("test", "iter") if isinstance(s, (ast.If, ast.For)) else ("value", "targets", "target"):
        part = getattr(s, field, None)
        if isinstance(part, list):
            setattr(s, field, [_Replace(name, value).visit(copy.deepcopy(p)) for p in part])
        elif part is not None:
            setattr(s, field, _Replace(name, value).visit(copy.deepcopy(part)))


def head(s: Any) -> list[str]:
    """Return what a statement reads before anything within it runs."""
    if isinstance(s, (ast.Assign, ast.AugAssign, ast.Return, ast.Expr)):
        return names(s, ast.Load)
    if isinstance(s, ast.If):
        return names(s.test, ast.Load)
    if isinstance(s, ast.For):
        return names(s.iter, ast.Load)
    return []


def tidy(body: list[Any], keep: set[str], arrays: set[str]) -> list[Any]:
    """Fold what is assigned once and read once, in the same block, into where it is read.

    Args:
        body: the statements.
        keep: names that are read elsewhere.
        arrays: names of arrays, whose elements may change between two statements.
    """
    stored: dict[str, int] = {}
    read: dict[str, int] = {}
    for s in body:
        for n in names(s, ast.Store):
            stored[n] = stored.get(n, 0) + 1
        for n in loads(s):
            read[n] = read.get(n, 0) + 1

    def changes(s: Any, reads: set[str], memory: bool) -> bool:
        if isinstance(s, ast.Break):
            return True
        if set(names(s, ast.Store)) & reads:
            return True
        if not memory:
            return False
        for n in ast.walk(s):
            if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store):
                return True
            if isinstance(n, ast.AugAssign) and (not isinstance(n.target, ast.Name) or n.target.id in arrays):
                return True
        return False

    def block(statements: list[Any]) -> list[Any]:
        done = list(statements)
        position = 0
        while position < len(done):
            s = done[position]
            for field in ("body", "orelse"):
                part = getattr(s, field, None)
                if part and isinstance(s, (ast.If, ast.For, ast.While)):
                    setattr(s, field, block(part))
            position += 1
        position = len(done) - 1
        while position >= 0:
            s = done[position]
            position -= 1
            if not (isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name)):
                continue
            n = s.targets[0].id
            if (
                n in keep
                or stored.get(n) != 1
                or read.get(n) != 1
                or (n in arrays and not isinstance(s.value, ast.Name))
            ):
                continue
            if any(
                isinstance(c, ast.Call) and isinstance(c.func, ast.Attribute) and c.func.attr in ("pop", "copy")
                for c in ast.walk(s.value)
            ):
                continue
            reads = set(names(s.value, ast.Load))
            memory = any(isinstance(c, ast.Subscript) for c in ast.walk(s.value)) or bool(reads & arrays)
            for later in range(position + 2, len(done)):
                user = done[later]
                if n in head(user):
                    if len(ast.unparse(s.value)) + width(user) <= WIDTH or isinstance(
                        s.value, (ast.Name, ast.Constant)
                    ):
                        substitute(user, n, s.value)
                        done.remove(s)
                    break
                if isinstance(user, Comment):
                    continue
                if isinstance(user, (ast.While,)) or changes(user, reads, memory) or n in loads(user):
                    break
        return done

    return block(body)


def comments(body: list[Any]) -> list[Any]:
    """Leave out comments that repeat the one before."""

    def block(statements: list[Any], line: str) -> list[Any]:
        done: list[Any] = []
        for s in statements:
            if isinstance(s, Comment):
                if done and isinstance(done[-1], Comment):
                    done.pop()
                elif s.text == line:
                    continue
                line = s.text
                done.append(s)
                continue
            for field in ("body", "orelse"):
                part = getattr(s, field, None)
                if part and isinstance(s, (ast.If, ast.For, ast.While)):
                    setattr(s, field, block(part, line))
            if isinstance(s, (ast.For, ast.While)):
                line = ""
            done.append(s)
        return done

    return block(body, "")
