"""What a snippet needs from the snippets above it, so that it can be copied as a script of its own.

A snippet leans on names that earlier snippets of its page have bound. The statements that bind them, those that
change what they are bound to, and what these need in turn are found from the source alone, read backwards: a
statement is kept if it binds or changes a name that is still needed. Printing and asserting above are left out.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence
from dataclasses import dataclass

from derivable_book.snippets import Block

# What these return changes whenever it is asked, also within an expression.
_RANDOM = ("default_rng", "RandomState", "Generator", "iter", "count", "open", "Tape", "Random")


@dataclass(frozen=True)
class Statement:
    """A top-level statement of a page.

    Attributes:
        block: the number of its block on the page, from 0.
        first: its first line within the block, from 1, decorators included.
        last: its last line.
        binds: the names that it binds.
        changes: the names whose objects it may change.
        needs: the names that it reads before it binds them.
        late: those of them that it reads only when a function it defines is called.
        fails: whether it is there to raise an error, so that nothing can lean on it.
    """

    block: int
    first: int
    last: int
    binds: frozenset[str]
    changes: frozenset[str]
    needs: frozenset[str]
    late: frozenset[str]
    fails: bool


class _Names(ast.NodeVisitor):
    """Collects what a statement binds, changes and needs at the level of the page."""

    def __init__(self, stateful: set[str]) -> None:
        self.binds: set[str] = set()
        self.changes: set[str] = set()
        self.needs: set[str] = set()
        self.late: set[str] = set()
        self.stateful = stateful

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.needs.add(node.id)
            if node.id in self.stateful:
                self.changes.add(node.id)
        else:
            self.binds.add(node.id)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.binds |= {(name.asname or name.name).partition(".")[0] for name in node.names}

    visit_ImportFrom = visit_Import

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        for name in ast.walk(node.target):
            if isinstance(name, ast.Name):
                self.needs.add(name.id)
                self.changes.add(name.id)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._into(target)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        # A call for its effect may change its object and its arguments: lists that grow, buffers that are filled.
        call = node.value
        if isinstance(call, ast.Call) and not (isinstance(call.func, ast.Name) and call.func.id == "print"):
            for part in [call.func, *call.args, *(k.value for k in call.keywords)]:
                root = _root(part)
                if root:
                    self.changes.add(root)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef) -> None:
        inner = _Names(self.stateful)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self.binds.add(node.name)
            for part in node.decorator_list:
                self.visit(part)
        parameters: set[str] = set()
        body: Sequence[ast.AST]
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                self.visit(base)
            body = node.body
        else:
            arguments = node.args
            for default in [*arguments.defaults, *(d for d in arguments.kw_defaults if d)]:
                self.visit(default)
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            parameters = {argument.arg for argument in every if argument}
            body = node.body if isinstance(node.body, list) else [node.body]
        for line in body:
            inner.visit(line)
        free = inner.needs - inner.binds - parameters
        self.needs |= free
        self.late |= free
        self.changes |= inner.changes - inner.binds - parameters

    visit_AsyncFunctionDef = visit_FunctionDef
    visit_Lambda = visit_FunctionDef
    visit_ClassDef = visit_FunctionDef

    def _comprehension(self, node: ast.AST) -> None:
        inner = _Names(self.stateful)
        for child in ast.iter_child_nodes(node):
            inner.visit(child)
        self.needs |= inner.needs - inner.binds
        self.changes |= inner.changes - inner.binds

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.binds.add(node.name)
        self.generic_visit(node)

    def _into(self, target: ast.AST) -> None:
        if isinstance(target, (ast.Subscript, ast.Attribute)):
            root = _root(target)
            if root:
                self.changes.add(root)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                self._into(part)


def _root(node: ast.AST) -> str | None:
    """Return the name at the beginning of `name.part[index]`."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def statements(blocks: Sequence[Block]) -> list[Statement]:
    """Read the top-level statements of a page's blocks.

    Args:
        blocks: the blocks, in order.

    Returns:
        The statements, in order.
    """
    found = []
    stateful: set[str] = set()
    for number, block in enumerate(blocks):
        body = ast.parse(block.source).body
        for node in body:
            names = _Names(stateful)
            names.visit(node)
            if isinstance(node, ast.Assign) and any(
                isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] in _RANDOM
                for call in ast.walk(node.value)
            ):
                stateful |= {name.id for t in node.targets for name in ast.walk(t) if isinstance(name, ast.Name)}
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            found.append(
                Statement(
                    number,
                    first,
                    node.end_lineno or node.lineno,
                    frozenset(names.binds),
                    frozenset(names.changes),
                    frozenset(names.needs),
                    frozenset(names.late),
                    block.mark("raises") is not None and node is body[-1],
                )
            )
    return found


def _kept(every: Sequence[Statement], block: int) -> list[Statement]:
    """Return what a block needs of the blocks above it, in order."""
    asked: set[str] = set()
    for own in reversed([s for s in every if s.block == block]):
        asked = (asked - own.binds) | own.needs | own.changes
    late: set[str] = set()
    while True:
        needed, kept = asked | late, []
        for statement in reversed([s for s in every if s.block < block and not s.fails]):
            if statement.binds & needed or statement.changes & needed:
                # What is only changed is still needed in its first form.
                needed = (needed - (statement.binds - statement.changes)) | statement.needs | statement.changes
                kept.append(statement)
        # A function reads its names when it is called, from here: as they were bound last.
        found = late.union(*(s.late for s in kept))
        if found == late:
            return kept[::-1]
        late = found


def needs(blocks: Sequence[Block]) -> list[list[tuple[int, int, int]]]:
    """Find for each block of a page what it needs from those above.

    Args:
        blocks: the blocks of the page, in order.

    Returns:
        For each block the parts to put before it, in order: the number of a block, a first and a last line of it.
    """
    every = statements(blocks)
    found = []
    for number in range(len(blocks)):
        parts = sorted((s.block, s.first, s.last) for s in _kept(every, number))
        joined: list[tuple[int, int, int]] = []
        for block, first, last in parts:
            if joined and joined[-1][0] == block and joined[-1][2] + 1 == first:
                joined[-1] = (block, joined[-1][1], last)
            else:
                joined.append((block, first, last))
        found.append(joined)
    return found


def script(blocks: Sequence[Block], number: int) -> str:
    """Write a block as a script of its own: what the page's second button copies.

    Args:
        blocks: the blocks of the page, in order.
        number: which block, from 0.

    Returns:
        The source. Outputs of the block itself stay as comments.
    """
    parts = []
    for block, first, last in needs(blocks)[number]:
        parts.append("\n".join(blocks[block].source.split("\n")[first - 1 : last]))
    return "\n".join([*parts, blocks[number].source])


def unbound(source: str) -> set[str]:
    """Return the names that a script reads at its top level without having bound them.

    Args:
        source: the script.

    Returns:
        The names, without Python's own.
    """
    bound = set(dir(builtins)) | {"__name__", "__file__"}
    missing: set[str] = set()
    for node in ast.parse(source).body:
        names = _Names(set())
        names.visit(node)
        own = (
            names.binds
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.For, ast.With, ast.Try, ast.If))
            else set()
        )
        missing |= names.needs - bound - own
        bound |= names.binds
    return missing


def encode(parts: Sequence[tuple[int, int, int]]) -> str:
    """Write parts as the page holds them: "0:1-3 2:5-5".

    Args:
        parts: what `needs` gives for a block.

    Returns:
        The text.
    """
    return " ".join(f"{block}:{first}-{last}" for block, first, last in parts)
