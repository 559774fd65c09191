"""Bring `break`, `continue` and `return` to the ends of blocks, where a program can be read backwards.

An `if` whose condition literals decide is replaced by the branch that is taken, as Python and Numba do it: what never
runs must not be all that defines a name. What follows an `if` that may jump moves into the branch that does not jump.
Where both branches may go on, a flag remembers the jump. A `return` within a loop sets a flag, breaks, and returns
after the loop.
"""

from __future__ import annotations

import ast
import copy
from typing import Any

__all__ = ["structure"]

Jump = (ast.Return, ast.Break, ast.Continue)


def may_jump(node: Any) -> bool:
    """Tell whether control may leave the block around this statement from within it."""
    if isinstance(node, Jump):
        return True
    if isinstance(node, ast.If):
        return any(map(may_jump, node.body + node.orelse))
    if isinstance(node, (ast.For, ast.While)):
        return returns(node) or any(map(may_jump, node.orelse))
    return False


def returns(node: ast.AST) -> bool:
    """Tell whether a `return` stands somewhere in it, and not in a function within."""
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        return False
    return isinstance(node, ast.Return) or any(map(returns, ast.iter_child_nodes(node)))


def always_jumps(body: list[Any]) -> bool:
    """Tell whether control never reaches the end of these statements."""
    for node in body:
        if isinstance(node, (*Jump, ast.Raise)):
            return True
        if isinstance(node, ast.If) and always_jumps(node.body) and always_jumps(node.orelse):
            return True
    return False


def known(test: ast.expr) -> bool | None:
    """Return what a condition is whose literals decide it, or None."""
    if isinstance(test, ast.BoolOp):
        also = isinstance(test.op, ast.And)
        parts = [known(part) for part in test.values]
        if (not also) in parts:
            return not also
        return None if None in parts else also
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = known(test.operand)
        return None if inner is None else not inner
    plain = (ast.Constant, ast.Compare, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.cmpop)
    if not all(isinstance(node, plain) for node in ast.walk(test)):
        return None
    try:
        return bool(eval(compile(ast.Expression(test), "<condition>", "eval")))
    except (ArithmeticError, TypeError):
        return None


class _Living(ast.NodeTransformer):
    """Leaves out the branches that never run."""

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        taken = known(node.test)
        if taken is None:
            return node
        return (node.body if taken else node.orelse) or ast.copy_location(ast.Pass(), node)

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        self.generic_visit(node)
        taken = known(node.test)
        return node if taken is None else node.body if taken else node.orelse


class _Structure:
    def __init__(self) -> None:
        self.flags = 0

    def assign(self, name: str, value: ast.expr, place: ast.AST) -> ast.stmt:
        node = ast.Assign([ast.Name(name, ast.Store())], value)
        return ast.fix_missing_locations(ast.copy_location(node, place))

    def flag(self, kind: str) -> str:
        self.flags += 1
        return f"_{kind}" if self.flags == 1 else f"_{kind}{self.flags}"

    def when(self, test: ast.expr, body: list[Any], orelse: list[Any], place: ast.AST) -> ast.If:
        return ast.fix_missing_locations(ast.copy_location(ast.If(test, body or [ast.Pass()], orelse), place))

    def block(self, body: list[Any], leave: str | None) -> list[Any]:
        """Structure a block; `leave` is the flag to set at a return within a loop, None outside of loops."""
        done: list[Any] = []
        for position, node in enumerate(body):
            rest = body[position + 1 :]
            if isinstance(node, ast.Return):
                value = node.value or ast.Constant(None)
                done.append(self.assign("_result", value, node))
                if leave is not None:
                    done.append(self.assign(leave, ast.Constant(True), node))
                    done.append(ast.copy_location(ast.Break(), node))
                return done
            if isinstance(node, Jump):
                return [*done, node]
            if isinstance(node, (ast.For, ast.While)) and node.orelse:
                return done + self.block([*self.without_else(node), *rest], leave)
            if isinstance(node, (ast.For, ast.While)):
                flag = self.flag("returned") if returns(node) else None
                copy = _replace(node, body=self.block(node.body, flag))
                if flag is None:
                    done.append(copy)
                    continue
                done += [self.assign(flag, ast.Constant(False), node), copy]
                again = self.when(
                    ast.Name(flag, ast.Load()),
                    [ast.copy_location(ast.Return(ast.Name("_result", ast.Load())), node)],
                    [],
                    node,
                )
                if leave is None and not rest:
                    return done  # the function ends here, and _result is set
                return done + self.block([again, *rest], leave)
            if isinstance(node, ast.If) and may_jump(node):
                if always_jumps(node.body):
                    return [*done, self._branch(node, node.body, node.orelse + rest, leave)]
                if always_jumps(node.orelse):
                    return [*done, self._branch(node, node.body + rest, node.orelse, leave)]
                if not rest:
                    return [*done, self._branch(node, node.body, node.orelse, leave)]
                flag = self.flag("jump")
                marked, codes = _mark(node, flag, self)
                follow: list[Any] = list(rest)
                for code, jump in codes.items():
                    test = ast.Compare(ast.Name(flag, ast.Load()), [ast.Eq()], [ast.Constant(code)])
                    follow = [self.when(test, [jump], follow, node)]
                start = self.assign(flag, ast.Constant(0), node)
                return [*done, start, *self.block([marked], leave), *self.block(follow, leave)]
            done.append(self._plain(node, leave))
        return done

    def without_else(self, node: Any) -> list[Any]:
        """Return statements that do the same as a loop with an else."""
        if not _breaks(node.body):
            return [_replace(node, orelse=[]), *node.orelse]
        flag = self.flag("broke")
        start = self.assign(flag, ast.Constant(False), node)
        loop = _replace(node, body=_flagged(node.body, self.assign(flag, ast.Constant(True), node)), orelse=[])
        finish = self.when(ast.UnaryOp(ast.Not(), ast.Name(flag, ast.Load())), node.orelse, [], node)
        return [start, loop, finish]

    def _branch(self, node: ast.If, body: list[Any], orelse: list[Any], leave: str | None) -> ast.If:
        return self.when(node.test, self.block(body, leave), self.block(orelse, leave), node)

    def _plain(self, node: Any, leave: str | None) -> Any:
        if isinstance(node, ast.If):
            return self._branch(node, node.body, node.orelse, leave)
        return node


def _breaks(body: list[Any]) -> bool:
    """Tell whether these statements, the body of a loop, hold a `break` of that loop."""
    return any(
        isinstance(n, ast.Break) or (isinstance(n, ast.If) and (_breaks(n.body) or _breaks(n.orelse))) for n in body
    )


def _flagged(body: list[Any], mark: ast.stmt) -> list[Any]:
    """Return the body of a loop with a statement before each `break` of that loop."""
    done: list[Any] = []
    for n in body:
        if isinstance(n, ast.Break):
            done.append(mark)
        if isinstance(n, ast.If):
            n = _replace(n, body=_flagged(n.body, mark), orelse=_flagged(n.orelse, mark))
        done.append(n)
    return done


def _replace(node: Any, **fields: Any) -> Any:
    new = type(node)(**{**{f: getattr(node, f) for f in node._fields if hasattr(node, f)}, **fields})
    return ast.copy_location(new, node)


def _mark(node: ast.If, flag: str, maker: _Structure) -> tuple[ast.If, dict[int, Any]]:
    """Return the `if` with its jumps replaced by setting the flag, and the jump that each number stands for."""
    codes: dict[int, Any] = {}

    def part(body: list[Any]) -> list[Any]:
        done: list[Any] = []
        for position, n in enumerate(body):
            if isinstance(n, Jump):
                code = 1 + (0 if isinstance(n, ast.Break) else 1 if isinstance(n, ast.Continue) else 2)
                if isinstance(n, ast.Return):
                    done.append(maker.assign("_result", n.value or ast.Constant(None), n))
                    codes[code] = ast.copy_location(ast.Return(ast.Name("_result", ast.Load())), n)
                else:
                    codes[code] = n
                return [*done, maker.assign(flag, ast.Constant(code), n)]
            if isinstance(n, ast.If) and may_jump(n):
                rest = body[position + 1 :]
                if always_jumps(n.body):
                    return [*done, maker.when(n.test, part(n.body), part(n.orelse + rest), n)]
                if always_jumps(n.orelse):
                    return [*done, maker.when(n.test, part(n.body + rest), part(n.orelse), n)]
                # What follows appears twice; nested jumps on both sides are rare.
                return [*done, maker.when(n.test, part(n.body + rest), part(n.orelse + rest), n)]
            if isinstance(n, (ast.For, ast.While)) and returns(n):
                inner = maker.flag("returned")
                loop = _replace(n, body=maker.block(n.body, inner))
                again = maker.when(
                    ast.Name(inner, ast.Load()),
                    [ast.copy_location(ast.Return(ast.Name("_result", ast.Load())), n)],
                    [],
                    n,
                )
                start = maker.assign(inner, ast.Constant(False), n)
                return [*done, start, loop, *part([again, *body[position + 1 :]])]
            done.append(n)
        return done

    return maker.when(node.test, part(node.body), part(node.orelse), node), codes


def structure(body: list[Any]) -> list[Any]:
    """Return the body of a function with one `return`, its last statement, and all other jumps at ends of blocks."""
    body = _Living().visit(ast.Module(copy.deepcopy(body), [])).body
    if body and isinstance(body[-1], ast.Return) and not any(returns(node) for node in body[:-1]):
        return [*_Structure().block(body[:-1], None), body[-1]]
    done = _Structure().block(body, None)
    if not any(returns(node) for node in body):
        return done
    last = ast.Return(ast.Name("_result", ast.Load()))
    return [*done, ast.fix_missing_locations(ast.copy_location(last, body[-1]))]
