"""The program between the two sources: three-address statements in nested blocks.

Every value is assigned in one place (static single assignment). Where paths meet, at the end of an `if` and at the
head and the exit of a loop, a `Phi` names the value that comes from either. All values that meet in phis share one
variable of the generated program: `Value.web()` is its representative.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from derivable.autodiff.kinds import Kind

APPEND = (("append",),)

__all__ = [
    "APPEND",
    "Block",
    "Break",
    "For",
    "If",
    "Let",
    "Line",
    "Phi",
    "Raise",
    "Statement",
    "Value",
    "While",
    "Write",
    "place",
    "walk",
]


@dataclass(eq=False)
class Value:
    """A value of the program: an argument, the result of a statement, a loop index or a phi."""

    kind: Kind
    name: str | None = None  # the user's name for it; temporaries have none
    define: Any = None  # Let, Phi, "argument", or the For whose index it is
    block: Any = None
    const: Any = None  # its number, where that is known
    roots: frozenset[int] = frozenset()  # for arrays: which memory it may refer to
    used: bool = False
    text: str = ""  # its name in the generated program
    parent: Value | None = None
    position: int = 0
    leaf: bool = False  # part of a tuple argument, without a name of its own so far

    def web(self) -> Value:
        """Return the representative of all values that share its variable."""
        node = self
        while node.parent is not None:
            node = node.parent
        return node

    def unite(self, other: Value) -> None:
        """Let it share a variable with another value."""
        mine, theirs = self.web(), other.web()
        if mine is not theirs:
            theirs.parent = mine


class Line(str):
    """A line of the user's source, and where it stands: "f, line 3 of file.py"."""

    where: str = ""


def place(statement: Statement, program: Program) -> str:
    """Return where a statement stands and its text, for an error message."""
    where = getattr(statement.line, "where", "") or program.name
    return f"{where}:\n    {statement.line}"


@dataclass(eq=False)
class Statement:
    """What all statements have: the line they come from, and their place."""

    line: str = field(default="", kw_only=True)
    block: Any = field(default=None, kw_only=True)
    position: int = field(default=0, kw_only=True)
    end: int = field(default=0, kw_only=True)  # the position of the last statement within


@dataclass(eq=False)
class Let(Statement):
    """`target = op(*args)`; `info` holds what the program knows beforehand (an axis, the shape of an index)."""

    target: Value
    op: str
    args: list[Value]
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Write(Statement):
    """`array[index] = value`, or with `+=` or `-=` for `aug`; `pattern` is the index with its values left open.

    With APPEND for a pattern it is `array.append(value)`, of a list. `source` is what the user wrote to the right of
    an operator like `*=`.
    """

    array: Value
    pattern: tuple[Any, ...]
    index: list[Value]
    value: Value
    aug: str = ""
    source: Value | None = None


@dataclass(eq=False)
class Phi:
    """The value `target` is the one of `inputs` that belongs to the path taken."""

    target: Value
    inputs: list[Value]


@dataclass(eq=False)
class If(Statement):
    """Two blocks, one of which runs."""

    test: Value
    then: Block
    orelse: Block
    phis: list[Phi] = field(default_factory=list)


@dataclass(eq=False)
class For(Statement):
    """`for index in range(start, stop, step)`; `heads` are phis at the start of every iteration, `exits` after."""

    index: Value
    start: Value
    stop: Value
    step: Value
    body: Block
    heads: list[Phi] = field(default_factory=list)
    exits: list[Phi] = field(default_factory=list)
    breaks: bool = False
    trips: Value | None = None  # how often the body ran


@dataclass(eq=False)
class While(Statement):
    """`while test`; the statements that compute the test stand in `head`."""

    head: Block
    test: Value
    body: Block
    heads: list[Phi] = field(default_factory=list)
    exits: list[Phi] = field(default_factory=list)
    breaks: bool = False
    trips: Value | None = None


@dataclass(eq=False)
class Break(Statement):
    """Leave the innermost loop; always the last statement of its block."""


@dataclass(eq=False)
class Raise(Statement):
    """An exception, as the user wrote it."""

    text: str = ""


@dataclass(eq=False)
class Block:
    """Statements that run one after the other; `loop` is the innermost loop around them, `owner` the statement."""

    parent: Block | None = None
    owner: Any = None
    loop: Any = None
    statements: list[Any] = field(default_factory=list)

    def ancestors(self) -> Iterator[Block]:
        """Yield this block and all around it."""
        block: Block | None = self
        while block is not None:
            yield block
            block = block.parent

    def loops(self) -> list[Any]:
        """Return the loops around it, innermost first."""
        return [b.owner for b in self.ancestors() if isinstance(b.owner, (For, While))]


def inner(statement: Any) -> list[Block]:
    """Return the blocks within a statement."""
    if isinstance(statement, If):
        return [statement.then, statement.orelse]
    if isinstance(statement, For):
        return [statement.body]
    if isinstance(statement, While):
        return [statement.head, statement.body]
    return []


def phis_of(statement: Any) -> list[Phi]:
    """Return the phis that belong to a statement."""
    if isinstance(statement, If):
        return statement.phis
    if isinstance(statement, (For, While)):
        return statement.heads + statement.exits
    return []


def walk(block: Block) -> Iterator[Any]:
    """Yield all statements of a block and of the blocks within, in program order."""
    for statement in block.statements:
        yield statement
        for part in inner(statement):
            yield from walk(part)


def uses(statement: Any) -> list[Value]:
    """Return the values that a statement itself reads."""
    if isinstance(statement, Let):
        return statement.args
    if isinstance(statement, Write):
        return [statement.array, *statement.index, statement.value]
    if isinstance(statement, (If, While)):
        return [statement.test]
    if isinstance(statement, For):
        return [statement.start, statement.stop, statement.step]
    return []


@dataclass(eq=False)
class Program:
    """A function, read: its arguments, its statements, what it returns."""

    name: str
    parameters: list[Any]  # a Value, a tuple of these, or None, for each argument
    names: list[str]
    body: Block
    result: Any
    environment: dict[str, Any]  # objects that the generated program needs by name, and where from
    keys: list[str] = field(default_factory=list)  # what else decides the content: sources of user functions
