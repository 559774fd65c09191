"""Make a generated program pleasant to read: fold values used once into the expressions that use them."""

from __future__ import annotations

import ast
import copy
import re
from typing import Any

from derivable.autodiff.transform.emit import Comment

__all__ = ["ascend", "distinct", "tidy"]

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


def elementwise(node: Any, arrays: set[str], rows: set[str]) -> bool:
    """Tell whether an expression is arithmetic on vectors and numbers, which Numba fuses with what it stands in."""
    if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.MatMult):
        return all(elementwise(part, arrays, rows) for part in (node.left, node.right))
    if isinstance(node, ast.UnaryOp):
        return elementwise(node.operand, arrays, rows)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and (node.id in rows or node.id not in arrays))


def tidy(body: list[Any], keep: set[str], arrays: set[str], rows: set[str] | None = None) -> list[Any]:
    """Fold what is assigned once and read once, in the same block, into where it is read.

    Args:
        body: the statements.
        keep: names that are read elsewhere.
        arrays: names of arrays, whose elements may change between two statements.
        rows: those of them that have one axis.
    """
    rows = rows or set()
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

    def fusible(n: str, value: Any, user: Any) -> bool:
        """Tell whether an array is best computed where it is read: one loop, and no memory of its own."""
        if n not in rows or not isinstance(value, ast.BinOp) or not elementwise(value, arrays, rows):
            return False
        operations = [c for c in ast.walk(user) if isinstance(c, ast.BinOp) and not isinstance(c.op, ast.MatMult)]
        return any(isinstance(part, ast.Name) and part.id == n for c in operations for part in (c.left, c.right))

    def follow(done: list[Any], place: int, n: str, value: ast.Name) -> None:
        """Read the original instead of a copy of a number, if it is still the same wherever the copy is read."""
        readers = [k for k in range(place + 1, len(done)) if n in loads(done[k])]
        found = sum(loads(done[k]).count(n) for k in readers)
        if stored.get(n) != 1 or found != read.get(n) or not readers:
            return
        if any(value.id in names(s, ast.Store) for s in done[place + 1 : readers[-1] + 1]):
            return
        for k in readers:
            done[k] = _Replace(n, value).visit(done[k])
        read[value.id] = read.get(value.id, 0) + found - 1
        del done[place]

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
            if isinstance(s.value, ast.Name) and n not in keep | arrays and s.value.id not in arrays:
                follow(done, position + 1, n, s.value)
                continue
            if (
                n in keep
                or stored.get(n) != 1
                or read.get(n) != 1
                or (n in arrays and not (isinstance(s.value, ast.Name) or n in rows))
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
                    if n in arrays and not isinstance(s.value, ast.Name) and not fusible(n, s.value, user):
                        break
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


FRESH = {"zeros", "zeros_like", "empty", "empty_like", "full", "copy", "outer", "where", "astype"}


def fresh(node: Any) -> bool:
    """Tell whether an expression is sure to be memory of its own."""
    if isinstance(node, ast.Call):
        return (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")) in FRESH
    return isinstance(node, (ast.BinOp, ast.UnaryOp, ast.Constant))


def polish(body: list[Any], arrays: set[str]) -> list[Any]:
    """Write `x += y` for `x = x + y`, and `x -= y` for `x += -y`; numbers only, since arrays may have other names."""

    def sign(node: Any) -> Any:
        """Return the expression without its leading minus, or None."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return node.operand
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
            left = sign(node.left)
            return None if left is None else ast.BinOp(left, node.op, node.right)
        return None

    def better(s: Any) -> Any:
        for field in ("body", "orelse"):
            if isinstance(getattr(s, field, None), list):
                setattr(s, field, [better(part) for part in getattr(s, field)])
        if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) and s.targets[0].id not in arrays:
            value, n = s.value, s.targets[0].id
            if isinstance(value, ast.BinOp) and isinstance(value.op, (ast.Add, ast.Sub)):
                left, right = value.left, value.right
                if isinstance(left, ast.Name) and left.id == n and n not in names(right, ast.Load):
                    s = ast.AugAssign(ast.Name(n, ast.Store()), value.op, right)
        if isinstance(s, ast.AugAssign) and isinstance(s.op, (ast.Add, ast.Sub)):
            without = sign(s.value)
            if without is not None:
                s = ast.AugAssign(s.target, ast.Sub() if isinstance(s.op, ast.Add) else ast.Add(), without)
        return s

    return [better(s) for s in body]


def ascend(body: list[Any], arrays: set[str]) -> list[Any]:
    """Let backward loops run upwards where the order of their iterations does not matter: LLVM vectorises these.

    It does not matter if an iteration only adds to what outlives it, and reads nothing of that.

    Args:
        body: the statements of the backward sweep.
        arrays: names of arrays.
    """
    links: dict[str, set[str]] = {}
    for node in (n for s in body for n in ast.walk(s)):
        if isinstance(node, ast.Assign) and not fresh(node.value):
            stored = {n for t in node.targets for n in names(t, ast.Store)} & arrays
            for a in stored:
                for b in set(names(node.value, ast.Load)) & arrays:
                    links.setdefault(a, set()).add(b)
                    links.setdefault(b, set()).add(a)

    def relatives(name: str) -> set[str]:
        """Return the other names that may stand for the same memory."""
        seen, todo = {name}, [name]
        while todo:
            new = links.get(todo.pop(), set()) - seen
            seen |= new
            todo += new
        return seen - {name}

    def base(node: Any) -> str:
        while isinstance(node, ast.Subscript):
            node = node.value
        return node.id if isinstance(node, ast.Name) else ""

    def independent(loop: ast.For) -> bool:
        first: dict[str, tuple[int, ...]] = {loop.target.id: ()}  # type: ignore[attr-defined]
        read: list[tuple[str, tuple[int, ...]]] = []
        added: set[str] = set()

        def look(statements: list[Any], path: tuple[int, ...]) -> bool:
            for k, s in enumerate(statements):
                here = (*path, k)
                if isinstance(s, (Comment, ast.Pass)):
                    continue
                if isinstance(s, ast.Assign):
                    if any(isinstance(n, (ast.Subscript, ast.Attribute)) for t in s.targets for n in ast.walk(t)):
                        return False
                    read.extend((n, here) for n in names(s.value, ast.Load))
                    for n in (n for t in s.targets for n in names(t, ast.Store)):
                        first.setdefault(n, here)
                elif isinstance(s, ast.AugAssign):
                    if not isinstance(s.op, (ast.Add, ast.Sub)) or not base(s.target):
                        return False
                    read.extend((n, here) for n in names(s.value, ast.Load))
                    if isinstance(s.target, ast.Subscript):
                        read.extend((n, here) for n in names(s.target.slice, ast.Load))
                        added.add(base(s.target))
                    elif s.target.id in first:  # type: ignore[union-attr]
                        read.append((s.target.id, here))  # type: ignore[union-attr]
                    else:
                        added.add(base(s.target))
                elif isinstance(s, (ast.For, ast.If)):
                    read.extend((n, here) for n in head(s))
                    if isinstance(s, ast.For):
                        first.setdefault(s.target.id, (*here, 0))  # type: ignore[attr-defined]
                    if not (look(s.body, (*here, 0)) and look(s.orelse, (*here, 1))):
                        return False
                else:
                    return False
                for c in ast.walk(s):
                    if isinstance(c, ast.Attribute) and c.attr in ("pop", "append"):
                        return False
            return True

        if not look(loop.body, ()):
            return False
        used = {n for n, _ in read}
        if added & (used | set(first)) or any(relatives(n) & (used | added | set(first)) for n in added):
            return False
        # What is assigned within is read only after that, in the same block or deeper.
        return all(p > first[n] and p[: len(first[n]) - 1] == first[n][:-1] for n, p in read if first.get(n))

    def one_more(node: Any) -> Any:
        if isinstance(node, ast.Constant):
            return ast.Constant(int(node.value) + 1)  # type: ignore[arg-type]
        if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
            return ast.Constant(1 - int(node.operand.value))  # type: ignore[arg-type]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and getattr(node.right, "value", None) == 1:
            return node.left
        return None

    for loop in (n for s in body for n in ast.walk(s) if isinstance(n, ast.For)):
        args = getattr(loop.iter, "args", [])
        if len(args) == 3 and ast.unparse(args[2]) == "-1" and isinstance(loop.target, ast.Name) and independent(loop):
            start, stop = one_more(args[1]), one_more(args[0])
            if start is not None and stop is not None:
                short = isinstance(start, ast.Constant) and start.value == 0
                loop.iter = ast.Call(ast.Name("range", ast.Load()), [stop] if short else [start, stop], [])
    return body


def distinct(body: list[Any], fixed: set[str]) -> None:
    """Rename `y_2` to `y_v2` where `y` is assigned more than once.

    Numba calls the assignments `y`, `y.1`, `y.2`. Where it fuses array operations it writes underscores for the dots,
    and an expression of `y.2` and `y_2` fails to compile with "'y_2_1' not unique".
    """
    nodes = [n for s in body for n in ast.walk(s) if isinstance(n, ast.Name)]
    stored = [n.id for n in nodes if isinstance(n.ctx, ast.Store)] + [*fixed]
    taken = {n.id for n in nodes} | fixed
    renamed = {}
    for text in sorted({n.id for n in nodes} - fixed):
        numbered = re.fullmatch(r"(.+)_(\d+)", text)
        if numbered is None or stored.count(numbered[1]) < 2:
            continue
        wish = f"{numbered[1]}_v{numbered[2]}"
        while wish in taken:
            wish += "_"
        taken.add(wish)
        renamed[text] = wish
    for n in nodes:
        n.id = renamed.get(n.id, n.id)


def comments(body: list[Any]) -> list[Any]:
    """Leave out comments that repeat the one before."""

    def block(statements: list[Any], line: str) -> list[Any]:
        done: list[Any] = []
        for s in statements:
            if isinstance(s, Comment):
                if done and isinstance(done[-1], Comment) and done[-1].text != "backwards":
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
