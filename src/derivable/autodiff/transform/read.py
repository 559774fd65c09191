"""Read a function: from its syntax tree to three-address statements, following the kinds of all values.

Calls of other functions are read in place, with the names of their own. What the language of the transformation does
not contain ends here, with the function, the line, the source text and a remedy.
"""

from __future__ import annotations

import ast
import copy
import math
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from derivable.autodiff.kinds import DerivativeError, Kind, is_float, join
from derivable.autodiff.rules import array as array_rules
from derivable.autodiff.rules.activations import DEFAULTS
from derivable.autodiff.rules.kernels import accumulate, add_outer
from derivable.autodiff.rules.table import ELEMENTWISE, NAMES
from derivable.autodiff.transform.jumps import structure
from derivable.autodiff.transform.program import (
    APPEND,
    Block,
    Break,
    For,
    If,
    Let,
    Line,
    Phi,
    Program,
    Raise,
    Value,
    While,
    Write,
    uses,
    walk,
)
from derivable.autodiff.transform.source import MISSING, Source, python_function, source_of

__all__ = ["Static", "read"]

INT, BOOL, FLOAT = Kind("i"), Kind("b"), Kind("f8")
BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**"}
BINARY |= {ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>"}
COMPARE = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
ALLOCATE = {np.zeros: "zeros", np.ones: "ones", np.empty: "empty", np.full: "full"}
LIKE = {np.zeros_like: "zeros_like", np.ones_like: "ones_like", np.empty_like: "empty_like", np.full_like: "full_like"}


class Inner:
    """A function that is defined within another one."""

    def __init__(self, node: ast.FunctionDef, frame: Frame, reader: Reader) -> None:
        self.node, self.frame = node, frame
        inside = {a.arg for a in node.args.args} | set(assigned(node.body))
        self.__name__ = node.name
        outer = frame.source

        def lookup(name: str) -> Any:
            return outer.lookup(name)

        self.inside = inside
        plain = node.args
        if plain.vararg or plain.kwarg or plain.kwonlyargs or plain.posonlyargs:
            raise reader.refuse(f"{node.name} takes more than plain parameters", "name its parameters one by one")
        if any(isinstance(n, (ast.Nonlocal, ast.Global)) for n in ast.walk(node)):
            raise reader.refuse(f"{node.name} assigns names of the function around it", "return their new values")
        first = len(plain.args) - len(plain.defaults)
        self.given = {a.arg: reader.expression(d) for a, d in zip(plain.args[first:], plain.defaults, strict=True)}
        self.source = Source(node.name, node, outer.lines, outer.file, outer.first, lookup, dict.fromkeys(self.given))


LISTS = "use a tuple, np.array of it, or an array made by np.zeros or np.empty and filled by a loop"


class Static:
    """A thing that is known while reading: a module, a function, a string, None."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Frame:
    """One function being read: its source and what its names are bound to."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.names: dict[str, Any] = {}
        self.result: Any = None

    def once(self, name: str) -> bool:
        """Tell whether the function assigns a name in one place only."""
        stores = [n.id for n in ast.walk(self.source.node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        return stores.count(name) == 1


def leaves(binding: Any) -> list[Any]:
    """Return the values within a (nested tuple) binding."""
    return [leaf for part in binding for leaf in leaves(part)] if isinstance(binding, tuple) else [binding]


class Reader:
    """Reads one function and all that it calls into one program."""

    def __init__(self) -> None:
        self.body = Block()
        self.block = self.body
        self.frames: list[Frame] = []
        self.line = ""
        self.node: Any = None
        self.breaks: list[list[dict[str, Any]]] = []
        self.environment: dict[str, Any] = {}
        self.keys: list[str] = []
        self.memory = 0
        self.comprehensions = 0

    # ------------------------------------------------------------------------------------------------ errors

    def refuse(self, what: str, remedy: str) -> DerivativeError:
        """Return the error for something that is not supported here."""
        return DerivativeError(f"{self.where()}:\n    {self.line}\n{what}; {remedy}")

    def where(self) -> str:
        """Return where the statement stands that is being read."""
        source = self.frames[-1].source
        return f"{source.name}, line {getattr(self.node, 'lineno', 1) + source.first - 1} of {source.file}"

    # ------------------------------------------------------------------------------------------- statements

    def fresh(self, kind: Kind, **fields: Any) -> Value:
        value = Value(kind, block=self.block, **fields)
        if kind.ndim and not value.roots:
            self.memory += 1
            value.roots = frozenset([self.memory])
        return value

    def let(self, op: str, args: list[Value], kind: Kind, /, roots: frozenset[int] = frozenset(), **info: Any) -> Value:
        """Append `target = op(*args)` and return the target."""
        target = self.fresh(kind, roots=roots)
        statement = Let(target, op, args, info, line=self.line, block=self.block)
        target.define = statement
        self.block.statements.append(statement)
        return target

    def constant(self, number: Any) -> Value:
        kind = BOOL if isinstance(number, (bool, np.bool_)) else INT if isinstance(number, (int, np.integer)) else FLOAT
        if isinstance(number, np.float32):
            kind = Kind("f4")
        value = self.let("const", [], kind)
        value.const = number.item() if isinstance(number, np.generic) else number
        return value

    def value(self, node: ast.expr) -> Value:
        """Read an expression that must be one number or one array."""
        return self.as_value(self.expression(node), node)

    def as_value(self, binding: Any, node: Any) -> Value:
        if isinstance(binding, Value):
            return binding
        if isinstance(binding, Static) and isinstance(binding.value, (bool, int, float, np.generic)):
            return self.constant(binding.value)
        what = "a tuple" if isinstance(binding, tuple) else repr(getattr(binding, "value", binding))
        remedy = "use the numbers in it, by a name or as an argument"
        if isinstance(binding, tuple):
            remedy = "unpack it first, or make an array of it with np.array"
        elif what == "None":
            remedy = "give it a value here, or test it alone: if x is None"
        raise self.refuse(f"{ast.unparse(node)!r} is {what} where a number or an array is needed", remedy)

    def statements(self, body: list[Any]) -> None:
        for node in body:
            self.node = node
            before = self.line
            if not getattr(node, "hidden", False):
                self.line = Line(self.text(node))
                self.line.where = self.where()
            method = getattr(self, "read_" + type(node).__name__, None)
            if method is None:
                raise self.refuse(
                    f"{type(node).__name__} statements are not supported",
                    "rewrite it with assignments, if, for and while",
                )
            method(node)
            if isinstance(node, ast.Break):
                self.line = before

    def text(self, node: Any) -> str:
        lines = self.frames[-1].source.lines
        number = getattr(node, "lineno", 0)
        return lines[number - 1].strip() if 0 < number <= len(lines) else ast.unparse(node).split("\n")[0]

    def read_Pass(self, node: ast.Pass) -> None:
        pass

    def read_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.expression(node.value)

    def read_Assert(self, node: ast.Assert) -> None:
        test = ast.UnaryOp(ast.Not(), node.test)
        error = ast.Raise(ast.Call(ast.Name("AssertionError", ast.Load()), [node.msg] if node.msg else [], []))
        self.read_If(ast.fix_missing_locations(ast.copy_location(ast.If(test, [error], []), node)))

    def read_Raise(self, node: ast.Raise) -> None:
        text = ast.unparse(node)
        for name in ast.walk(node):
            if isinstance(name, ast.Name) and not isinstance(self.frames[-1].source.lookup(name.id), type):
                raise self.refuse(
                    "an exception with a computed message is not supported", "raise it with a constant message"
                )
        self.block.statements.append(Raise(text=text, line=self.line, block=self.block))

    def read_Return(self, node: ast.Return) -> None:
        self.frames[-1].result = self.expression(node.value) if node.value else Static(None)

    def read_Break(self, node: ast.Break) -> None:
        self.breaks[-1].append(dict(self.frames[-1].names))
        self.block.statements.append(Break(line=self.line, block=self.block))

    def read_Continue(self, node: ast.Continue) -> None:
        pass  # it is the last statement of its block, and what would follow stands in the other branch

    def read_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.expression(node.value))

    def read_Assign(self, node: ast.Assign) -> None:
        binding = self.exchange(node) or self.expression(node.value)
        for target in node.targets:
            self.assign(target, binding)

    def exchange(self, node: ast.Assign) -> Any:
        """Read `a, b = b, a` of arrays as an exchange of their elements: nobody else may know the two."""
        target, value = node.targets[0], node.value
        if len(node.targets) > 1 or not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple):
            return None
        left, right = ([getattr(n, "id", "") for n in pair.elts] for pair in (target, value))
        names = self.frames[-1].names
        arrays: list[Any] = [names.get(n) for n in right]
        if sorted(left) != sorted(right) or len(set(left)) < 2 or left == right:
            return None
        if not all(isinstance(a, Value) and a.kind.ndim for a in arrays):
            return None
        roots = frozenset().union(*(a.roots for a in arrays if a is not None))
        for frame in self.frames:
            for name, binding in frame.names.items():
                if frame is self.frames[-1] and name in left:
                    continue
                if any(isinstance(v, Value) and v.kind.ndim and v.roots & roots for v in leaves(binding)):
                    raise self.refuse(
                        f"two arrays are exchanged, and {name} is another name for the memory of one of them",
                        f"let it be a copy: .copy() where {name} or the array gets its value",
                    )
        return tuple(self.array_call(array_rules.METHODS["copy"], [a], {}) for a in arrays)

    def assign(self, target: Any, binding: Any, several: bool = False) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            if isinstance(binding, Value) and binding.kind.ndim:
                binding = tuple(self.element(binding, [("i", self.constant(k))]) for k in range(len(target.elts)))
            if not isinstance(binding, tuple) or len(binding) != len(target.elts):
                raise self.refuse(
                    "the two sides of the assignment have different lengths",
                    "unpack exactly as many values as there are",
                )
            # All right-hand sides are read before any name changes.
            held = [self.hold(part) for part in binding]
            for part, value in zip(target.elts, held, strict=True):
                self.assign(part, value, several=True)
        elif isinstance(target, ast.Name):
            self.frames[-1].names[target.id] = self.bind(target.id, binding, several)
        elif isinstance(target, ast.Subscript):
            array = self.value(target.value)
            self.write(array, self.index(target.slice), self.as_value(binding, target), "")
        else:
            raise self.refuse(
                f"assignment to {ast.unparse(target)} is not supported", "assign to a name or to an element of an array"
            )

    def hold(self, binding: Any) -> Any:
        if isinstance(binding, tuple):
            return tuple(self.hold(part) for part in binding)
        if isinstance(binding, Value) and binding.name is not None and not binding.leaf:
            return self.let("copy", [binding], binding.kind, roots=binding.roots)
        return binding

    def bind(self, name: str, binding: Any, several: bool = False) -> Any:
        """Give a value its name; a value that has one already is copied, for one of the two names may change."""
        if isinstance(binding, tuple):
            return tuple(self.bind(f"{name}_{k}", part, several) for k, part in enumerate(binding))
        if not isinstance(binding, Value):
            return binding
        last = self.block.statements[-1] if self.block.statements else None
        fresh = isinstance(last, Let) and last.target is binding and binding.name is None
        fresh = fresh or (several and self.unread(name, binding))
        if binding.leaf and self.block is self.body and len(self.frames) == 1 and self.frames[0].once(name):
            binding.leaf, binding.name = False, name
            return binding
        if not fresh and binding.const is not None:
            binding = self.constant(binding.const)
            fresh = True
        if not fresh:
            binding = self.let("copy", [binding], binding.kind, roots=binding.roots)
        binding.name = name
        return binding

    def unread(self, name: str, value: Value) -> bool:
        """Tell whether nothing that was read since a value was computed used the name that it gets now."""
        statements = self.block.statements
        if value.name is not None or not isinstance(value.define, Let) or value.define not in statements:
            return False
        old = leaves(self.frames[-1].names.get(name))
        since = Block(statements=statements[statements.index(value.define) + 1 :])
        return not any(u is o for s in walk(since) for u in uses(s) for o in old)

    def read_AugAssign(self, node: ast.AugAssign) -> None:
        op = BINARY.get(type(node.op))
        if op is None:
            raise self.refuse("@= is not supported", "write a = a @ b")
        target = node.target
        if isinstance(target, ast.Name):
            old = self.value(ast.copy_location(ast.Name(target.id, ast.Load()), target))
            value = self.value(node.value)
            if old.kind.ndim == 0:
                self.frames[-1].names[target.id] = self.bind(target.id, self.operate(op, [old, value]))
                return
            array, index = old, [("e", None)]
        elif isinstance(target, ast.Subscript):
            array, index = self.value(target.value), self.index(target.slice)
            value = self.value(node.value)
        else:
            raise self.refuse(
                f"{ast.unparse(target)} cannot be changed in place", "assign to a name or to an element of an array"
            )
        if op in "+-":
            self.write(array, index, value, op, value)
        else:
            self.write(array, index, self.operate(op, [self.element(array, index, copy=True), value]), "", value)

    def write(self, array: Value, index: list[Any], value: Value, aug: str, source: Value | None = None) -> None:
        if array.kind.ndim == 0:
            raise self.refuse("a number has no elements to write to", "assign to an element of an array")
        for frame_value in self.arguments:
            if frame_value.roots & array.roots:
                raise self.refuse(
                    f"this writes to {frame_value.name}, an argument of the function that is differentiated",
                    f"begin with {frame_value.name} = {frame_value.name}.copy()",
                )
        if aug and any(tag in "am" for tag, _ in index):
            value = self.operate(aug, [self.element(array, index), value])
            aug = ""
        pattern, values = self.split(index)
        for leaf in [*values, value]:
            leaf.used = leaf.used
        self.block.statements.append(
            Write(array, pattern, values, value, aug, source, line=self.line, block=self.block)
        )

    # ------------------------------------------------------------------------------------------ control flow

    def read_If(self, node: ast.If) -> None:
        test = self.expression(node.test)
        if isinstance(test, Static) or (isinstance(test, Value) and test.const is not None):
            chosen = test.value if isinstance(test, Static) else test.const
            self.statements(node.body if chosen else node.orelse)
            return
        test = self.as_value(test, node.test)
        self.branch(test, lambda: self.statements(node.body), lambda: self.statements(node.orelse))

    def branch(self, test: Value, then: Any, orelse: Any) -> tuple[Any, Any]:
        """Read two branches and join the names they bind; return what the two callables return."""
        if test.kind.ndim:
            raise self.refuse("a branch on an array is not supported", "use np.where, or test one element")
        frame = self.frames[-1]
        statement = If(test, Block(self.block), Block(self.block), line=self.line, block=self.block)
        ends, results, before = [], [], dict(frame.names)
        for part, read in ((statement.then, then), (statement.orelse, orelse)):
            part.owner, part.loop = statement, self.block.loop
            frame.names = dict(before)
            outer, self.block, line = self.block, part, self.line
            results.append(self.own(read()))
            self.block, self.line = outer, line
            ends.append(frame.names)
        self.block.statements.append(statement)
        leaves_block = [bool(p.statements) and self.jumps(p) for p in (statement.then, statement.orelse)]
        if leaves_block[0] or leaves_block[1]:
            frame.names = ends[1] if leaves_block[0] else ends[0]
            if all(leaves_block):
                frame.names = before
        else:
            frame.names = {
                name: self.meet(name, [e.get(name) for e in ends], statement, [statement.then, statement.orelse])
                for name in [*ends[0], *(n for n in ends[1] if n not in ends[0])]
            }
        if results[0] is None:
            return None, None
        return self.meet("", results, statement, [statement.then, statement.orelse]), None

    def own(self, binding: Any) -> Any:
        """Return a value of this block: one that stood before is copied, for what meets here shares a variable."""
        if isinstance(binding, tuple):
            return tuple(self.own(part) for part in binding)
        if isinstance(binding, Value) and (binding.name is not None or binding.block is not self.block):
            return self.let("copy", [binding], binding.kind, roots=binding.roots)
        return binding

    def jumps(self, block: Block) -> bool:
        last = block.statements[-1]
        if isinstance(last, (Break, Raise)):
            return True
        return isinstance(last, If) and all(p.statements and self.jumps(p) for p in (last.then, last.orelse))

    def meet(self, name: str, parts: list[Any], statement: Any, blocks: list[Block | None]) -> Any:
        """Join what a name is bound to on several paths; None stands for unbound."""
        given = [p for p in parts if p is not None]
        if all(p is given[0] for p in given) and len(given) == len(parts):
            return given[0]
        if any(isinstance(p, tuple) for p in given):
            if not all(isinstance(p, tuple) and len(p) == len(given[0]) for p in given):
                raise self.refuse(
                    f"{name or 'the value'} is a tuple on one path only, or of another length", "use two names"
                )
            columns = [[p[k] if p is not None else None for p in parts] for k in range(len(given[0]))]
            return tuple(self.meet(f"{name}_{k}", column, statement, blocks) for k, column in enumerate(columns))
        if any(isinstance(p, Static) for p in given):
            if all(isinstance(p, Static) and p.value is given[0].value for p in given):
                return given[0]
            if all(isinstance(p, Static) for p in given):
                words = " and ".join(dict.fromkeys(repr(p.value) for p in given))
                raise self.refuse(
                    f"{name or 'the value'} is {words} on different paths, but must be known while compiling",
                    "use a number as a flag",
                )
            if len(given) < len(parts):
                return given[0]
            raise self.refuse(
                f"{name or 'the value'} is a number on one path and {given[0]} on another", "use two names"
            )
        try:
            kind = given[0].kind
            for p in given[1:]:
                kind = join(kind, p.kind)
        except DerivativeError as error:
            raise self.refuse(f"{name or 'the value'} has two kinds: {error}", "use two names") from None
        roots = frozenset().union(*(p.roots for p in given))
        target = self.fresh(kind, name=name or None, roots=roots)
        phi = Phi(target, given)
        target.define = phi
        (statement.phis if isinstance(statement, If) else statement.exits).append(phi)
        return target

    def read_While(self, node: ast.While) -> None:
        def head(statement: While) -> None:
            outer, self.block = self.block, statement.head
            statement.test = self.value(node.test)
            self.block = outer

        test = Value(BOOL)
        self.loop(node, lambda: While(Block(), test, Block(), line=self.line, block=self.block), head)

    def loop(self, node: Any, make: Any, begin: Any) -> None:
        """Read a loop, again and again until the kinds of what it carries stay the same."""
        frame = self.frames[-1]
        before = dict(frame.names)
        names = [n for n in assigned([node]) if n in before]
        known: dict[str, Any] = {}
        line = self.line
        for _ in range(8):
            self.line, self.node = line, node
            frame.names = dict(before)
            statement = make()
            parts = [statement.body] + ([statement.head] if isinstance(statement, While) else [])
            for part in parts:
                part.parent, part.owner, part.loop = self.block, statement, statement
            outer, self.block = self.block, statement.body
            heads = {n: self.head(n, known.get(n, before[n]), before[n], statement) for n in names}
            frame.names |= heads
            self.breaks.append([])
            begin(statement)
            self.statements(node.body)
            self.block = outer
            breaks = self.breaks.pop()
            ends = dict(frame.names)
            ended = bool(statement.body.statements) and self.jumps(statement.body)
            changed = False
            for n in names:
                coming = [e[n] for e in breaks] + ([] if ended else [ends[n]])
                new = self.carry(n, heads[n], coming)
                if new is not None:
                    known[n], changed = new, True
            if not changed:
                break
        else:
            raise self.refuse(
                "the kinds of the values this loop carries do not settle", "give each value one kind before the loop"
            )
        self.line = line
        statement.breaks = bool(breaks)
        self.block.statements.append(statement)
        for n in names:
            if not ended:
                self.feed(heads[n], ends[n])
        every = list(dict.fromkeys([*names, *(n for e in [ends, *breaks] for n in e if n not in before)]))
        frame.names = dict(before)
        blocks: list[Block | None] = [None]
        for n in every:
            parts_ = [heads[n]] if n in heads else ([] if ended or n not in ends else [ends[n]])
            parts_ += [e[n] for e in breaks if n in e]
            if parts_:
                frame.names[n] = self.meet_loop(n, parts_, statement, blocks)

    def meet_loop(self, name: str, parts: list[Any], statement: Any, blocks: list[Any]) -> Any:
        if isinstance(parts[0], tuple):
            return tuple(
                self.meet_loop(f"{name}_{k}", [p[k] for p in parts], statement, blocks) for k in range(len(parts[0]))
            )
        if isinstance(parts[0], Static):
            return parts[0]
        return self.meet(name, [*parts, None], statement, blocks)

    def head(self, name: str, like: Any, entry: Any, statement: Any) -> Any:
        if isinstance(entry, tuple):
            return tuple(
                self.head(f"{name}_{k}", a, b, statement) for k, (a, b) in enumerate(zip(like, entry, strict=True))
            )
        if isinstance(entry, Static):
            return entry
        target = self.fresh(like.kind, name=name, roots=like.roots)
        target.define = Phi(target, [entry])
        statement.heads.append(target.define)
        return target

    def carry(self, name: str, head: Any, coming: list[Any]) -> Any:
        """Return what the head should look like where its kind does not hold what comes round; None where it does."""
        if isinstance(head, tuple):
            if not all(isinstance(c, tuple) and len(c) == len(head) for c in coming):
                raise self.refuse(f"{name} is not the same sort of tuple in every iteration", "use two names")
            new = [self.carry(name, h, [c[k] for c in coming]) for k, h in enumerate(head)]
            return (
                tuple(h if n is None else n for h, n in zip(head, new, strict=True))
                if any(n is not None for n in new)
                else None
            )
        if isinstance(head, Static):
            if any(not isinstance(c, Static) or c.value is not head.value for c in coming):
                raise self.refuse(
                    f"{name} is {head.value!r} before the loop and something else within", "use two names"
                )
            return None
        kind, roots = head.kind, head.roots
        for c in coming:
            if not isinstance(c, Value):
                raise self.refuse(f"{name} is a number before the loop and something else within", "use two names")
            try:
                kind, roots = join(kind, c.kind), roots | c.roots
            except DerivativeError as error:
                raise self.refuse(f"{name} changes its kind within the loop: {error}", "use two names") from None
        # Memory that this very iteration allocates gets a new number each time we read the loop: compare by kind only
        # where the head already has more than one source.
        if kind != head.kind:
            return Value(kind, roots=head.roots)
        if roots != head.roots:
            head.roots = roots
        return None

    def feed(self, head: Any, end: Any) -> None:
        if isinstance(head, tuple):
            for h, e in zip(head, end, strict=True):
                self.feed(h, e)
        elif isinstance(head, Value) and end is not head:
            head.define.inputs.append(end)

    def read_For(self, node: ast.For) -> None:
        iterable = self.iterable(node.iter, assigned([node]))
        if iterable[0] == "static":
            if any(isinstance(n, (ast.Break, ast.Continue)) for part in node.body for n in ast.walk(part)):
                raise self.refuse(
                    "break and continue in a loop over a tuple are not supported", "use range and an array"
                )
            for item in iterable[1]:
                self.assign(node.target, item)
                self.statements(node.body)
            return
        start, stop, step, item = iterable[1]

        def begin(statement: For) -> None:
            statement.index.block = statement.body
            binding = item(statement.index)
            if isinstance(binding, Value) and binding is statement.index and isinstance(node.target, ast.Name):
                if node.target.id in assigned(node.body) or escapes(self.frames[-1].source.node, node.target.id):
                    binding = self.let("copy", [binding], INT)
                    binding.name = node.target.id
                else:
                    binding.name = node.target.id
                self.frames[-1].names[node.target.id] = binding
            else:
                self.assign(node.target, binding)

        def make() -> For:
            index = Value(INT, block=None)
            statement = For(index, start, stop, step, Block(), line=self.line, block=self.block)
            index.define = statement
            return statement

        self.loop(node, make, begin)

    def iterable(self, node: ast.expr, changing: Iterable[str] = ()) -> tuple[str, Any]:
        """Return ("range", (start, stop, step, item of an index)) or ("static", items).

        What is looped over is the array that had its name before the loop, also where the name is one of the
        `changing`, which the loop gives to other arrays.
        """
        if isinstance(node, ast.Call):
            function = self.static(node.func)
            if function is range or function is _prange():
                args = [self.value(a) for a in node.args]
                for a in args:
                    if a.kind != INT:
                        raise self.refuse(f"range of {a.kind.a}", "use integers")
                zero, one = self.constant(0), self.constant(1)
                start, stop, step = (zero, args[0], one) if len(args) == 1 else (*args, one)[:3]
                if len(args) == 3 and (step.const is None or step.const == 0):
                    raise self.refuse("the step of a range must be a constant other than 0", "write the number")
                return "range", (start, stop, step, lambda i: i)
            if function is enumerate:
                how, what = self.iterable(node.args[0], changing)
                first = self.value(node.args[1]) if len(node.args) > 1 else self.constant(0)
                if how == "static":
                    return "static", [(self.constant(first.const + k), item) for k, item in enumerate(what)]
                start, stop, step, item = what
                if start.const == 0 and step.const == 1 and first.const == 0:
                    return "range", (start, stop, step, lambda i: (i, item(i)))
                count = self.subtract(stop, start)
                if step.const != 1:
                    raise self.refuse("enumerate of a range with a step is not supported", "count yourself")
                return "range", (
                    self.constant(0), count, self.constant(1),
                    lambda i: (self.operate("+", [i, first]), item(self.operate("+", [i, start]))),
                )  # fmt: skip
            if function is zip:
                parts = [self.iterable(a, changing) for a in node.args]
                if all(how == "static" for how, _ in parts):
                    return "static", list(zip(*(what for _, what in parts), strict=False))
                if any(how == "static" or what[0].const != 0 or what[2].const != 1 for how, what in parts):
                    raise self.refuse("zip of these is not supported", "zip arrays, or loop over an index")
                stop = parts[0][1][1]
                for _, what in parts[1:]:
                    if what[1] is not stop:
                        stop = self.operate("minimum", [stop, what[1]], call="min")
                return "range", (
                    self.constant(0),
                    stop,
                    self.constant(1),
                    lambda i: tuple(what[3](i) for _, what in parts),
                )
            if function is reversed:
                how, what = self.iterable(node.args[0], changing)
                if how == "static":
                    return "static", list(reversed(what))
                start, stop, step, item = what
                if step.const != 1:
                    raise self.refuse("reversed of a range with a step is not supported", "write the range backwards")
                one = self.constant(1)
                return "range", (self.subtract(stop, one), self.subtract(start, one), self.constant(-1), item)
        binding = self.expression(node)
        if isinstance(binding, tuple):
            return "static", list(binding)
        array = self.as_value(binding, node)
        if array.kind.ndim == 0:
            raise self.refuse(
                f"{ast.unparse(node)!r} is a number and cannot be looped over", "loop over range(...) or an array"
            )
        if any(leaf is array for n in changing for leaf in leaves(self.frames[-1].names.get(n))):
            array = self.let("copy", [array], array.kind, roots=array.roots)
        size = self.let("shape", [array], INT, axis=0)
        return "range", (self.constant(0), size, self.constant(1), lambda i: self.element(array, [("i", i)]))

    def count(self, node: ast.Call) -> Value:
        """Read how many numbers a range holds."""
        start, stop, step, _ = self.iterable(node)[1]
        low, high = (start, stop) if step.const > 0 else (stop, start)
        span = self.subtract(high, low)
        size = abs(step.const)
        if size != 1:
            span = self.operate("//", [self.operate("+", [span, self.constant(size - 1)]), self.constant(size)])
        return self.operate("maximum", [self.constant(0), span], call="max")

    def subtract(self, x: Value, y: Value) -> Value:
        if x.const is not None and y.const is not None:
            return self.constant(x.const - y.const)
        return x if y.const == 0 else self.operate("-", [x, y])

    # ------------------------------------------------------------------------------------------ expressions

    def expression(self, node: Any) -> Any:
        method = getattr(self, "read_" + type(node).__name__, None)
        if method is None:
            raise self.refuse(
                f"{ast.unparse(node)!r} ({type(node).__name__}) is not supported",
                "use numbers, arrays and tuples, and loops over them",
            )
        return method(node)

    def read_Constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, (bool, int, float)):
            return self.constant(node.value)
        if isinstance(node.value, complex):
            raise self.refuse(
                "complex numbers are not supported", "write the real and the imaginary part as two values"
            )
        return Static(node.value)

    def read_Name(self, node: ast.Name) -> Any:
        frame = self.frames[-1]
        if node.id in frame.names:
            return frame.names[node.id]
        found = frame.source.lookup(node.id)
        if found is MISSING:
            raise self.refuse(f"the name {node.id!r} is not defined here", "define it before this line on every path")
        return self.outside(found, node.id)

    def outside(self, found: Any, name: str) -> Any:
        """Bind a global or closed-over object; numbers and small arrays are constants."""
        if isinstance(found, (bool, int, float, np.bool_, np.integer, np.floating)):
            return self.constant(found)
        if isinstance(found, tuple):
            return tuple(self.outside(part, name) for part in found)
        if isinstance(found, np.ndarray):
            if found.size > 1000 or found.ndim == 0 or found.dtype.kind not in "bif":
                raise self.refuse(
                    f"{name} is a global or closed-over array of shape {found.shape} and dtype {found.dtype}",
                    "hand it to the function as an argument",
                )
            dtype = (
                "b"
                if found.dtype.kind == "b"
                else "i"
                if found.dtype.kind == "i"
                else "f4"
                if found.dtype.itemsize == 4
                else "f8"
            )
            text = f"np.array({found.tolist()!r}, dtype=np.{found.dtype})"
            text = text.replace("nan", "np.nan").replace("inf", "np.inf")
            safe = self.imported(name, ("text", text))
            value = self.let("global", [], Kind(dtype, found.ndim), text=safe)
            value.define.info["frozen"] = True
            return value
        return Static(found)

    def imported(self, name: str, what: Any) -> str:
        """Make an object known to the generated program, under a name of its own."""
        candidate, k = name, 1
        while candidate in self.environment and self.environment[candidate] != what:
            k += 1
            candidate = f"{name}_{k}"
        self.environment[candidate] = what
        return candidate

    def read_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.decorator_list:
            raise self.refuse("a decorated function within a function is not supported", "define it outside")
        self.frames[-1].names[node.name] = Static(Inner(node, self.frames[-1], self))

    def read_Lambda(self, node: ast.Lambda) -> Any:
        body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node.body)]
        made = ast.FunctionDef("lambda", node.args, body, [], None)
        if hasattr(made, "type_params"):
            made.type_params = []
        return Static(Inner(ast.fix_missing_locations(ast.copy_location(made, node)), self.frames[-1], self))

    def read_Tuple(self, node: ast.Tuple) -> Any:
        return tuple(self.expression(part) for part in node.elts)

    def read_List(self, node: ast.List) -> Any:
        if not node.elts:
            return self.let("newlist", [], Kind("f8", 0, -1))
        raise self.refuse(f"the list {ast.unparse(node)!r} is not supported", LISTS)

    def read_ListComp(self, node: ast.ListComp) -> Any:
        raise self.refuse("comprehensions are not supported", "fill an array by a loop")

    read_GeneratorExp = read_SetComp = read_DictComp = read_ListComp

    def read_UnaryOp(self, node: ast.UnaryOp) -> Any:
        x = self.value(node.operand)
        if x.const is not None:
            number = {
                ast.USub: lambda: -x.const,
                ast.UAdd: lambda: +x.const,
                ast.Not: lambda: not x.const,
                ast.Invert: lambda: ~x.const,
            }
            return self.constant(number[type(node.op)]())
        return self.operate({ast.USub: "neg", ast.UAdd: "pos", ast.Not: "not", ast.Invert: "~"}[type(node.op)], [x])

    def read_BinOp(self, node: ast.BinOp) -> Any:
        x, y = self.expression(node.left), self.expression(node.right)
        if isinstance(x, tuple) and isinstance(y, tuple) and isinstance(node.op, ast.Add):
            return x + y
        x, y = self.as_value(x, node.left), self.as_value(y, node.right)
        if isinstance(node.op, ast.MatMult):
            return self.array_call(array_rules.FUNCTIONS[np.matmul], [x, y], {})
        op = BINARY[type(node.op)]
        if x.const is not None and y.const is not None:
            try:
                return self.constant(eval(f"x {op} y", {"x": x.const, "y": y.const}))
            except (ArithmeticError, TypeError, ValueError):
                pass
        return self.operate(op, [x, y])

    def operate(self, op: str, args: list[Value], call: str | None = None) -> Value:
        """Append an elementwise operation."""
        if op == "pos" and args[0].kind.ndim:  # +x has memory of its own
            return self.array_call(array_rules.METHODS["copy"], args, {})
        rule = ELEMENTWISE[op]
        ndim = max(a.kind.ndim for a in args)
        kinds = [a.kind.dtype for a in args]
        floats = [k for k in kinds if k[0] == "f"]
        if floats and op in ("+", "-", "*", "/", "**", "//", "%"):  # True is 1, and the slope of True * x is no bool
            args = [self.constant(int(a.const)) if isinstance(a.const, bool) else a for a in args]
        if op in ("where", "pick"):
            floats, kinds = [k for k in kinds[1:] if k[0] == "f"], kinds[1:]
        if rule.result == "bool":
            dtype = "b"
        elif rule.result == "int":
            dtype = "i"
        elif floats or rule.result == "float":
            dtype = "f4" if kinds and all(k == "f4" for k in kinds) else "f8"
        else:
            dtype = (
                "b"
                if set(kinds) == {"b"} and op in ("&", "|", "^", "~", "where", "maximum", "minimum", "stop")
                else "i"
            )
        if op == "/" and dtype == "i":
            dtype = "f8"
        if op == "**" and dtype == "i" and args[1].const is not None and args[1].const < 0:
            dtype = "f8"
        if op == "float32":
            dtype = "f4"
        if op == "float":
            dtype = "f8"
        return self.let(op, args, Kind(dtype, ndim), call=call or default_call(op, ndim))

    def read_Compare(self, node: ast.Compare) -> Any:
        left = self.expression(node.left)
        result = None
        for kind, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.expression(right_node)
            left, right = self.string(left, right), self.string(right, left)
            if isinstance(kind, (ast.Is, ast.IsNot)) or isinstance(left, Static) or isinstance(right, Static):
                same = isinstance(left, Static) and isinstance(right, Static) and left.value == right.value
                part: Any = Static(same == isinstance(kind, (ast.Is, ast.Eq)))
                if len(node.ops) > 1:
                    raise self.refuse(
                        "a chain of comparisons with None or a string is not supported", "write them with and"
                    )
                return part
            if type(kind) not in COMPARE:
                raise self.refuse(f"{ast.unparse(node)!r} is not supported", "compare numbers")
            if isinstance(left, tuple) and isinstance(right, tuple) and isinstance(kind, (ast.Eq, ast.NotEq)):
                part = self.same(left, right, node)
                part = self.operate("not", [part]) if isinstance(kind, ast.NotEq) and part.const is None else part
                if part.const is not None:
                    part = self.constant(bool(part.const) == isinstance(kind, ast.Eq))
                result = part if result is None else self.operate("and", [result, part])
                left = right
                continue
            left, right = self.as_value(left, node.left), self.as_value(right, right_node)
            op = COMPARE[type(kind)]
            if left.const is not None and right.const is not None:
                part = self.constant(eval(f"x {op} y", {"x": left.const, "y": right.const}))
            else:
                part = self.operate(op, [left, right])
            result = part if result is None else self.combine(True, result, part)
            left = right
        return result

    def string(self, binding: Any, other: Any) -> Any:
        """Turn a string into a value where it is compared with one that only the run knows."""
        known = isinstance(binding, Static) and isinstance(binding.value, str)
        if not known or not isinstance(other, Value) or other.kind.dtype != "s":
            return binding
        value = self.let("const", [], Kind("s"))
        value.const = binding.value
        return value

    def same(self, left: tuple[Any, ...], right: tuple[Any, ...], node: Any) -> Value:
        """Tell whether two tuples have equal entries."""
        if len(left) != len(right):
            return self.constant(False)
        result = self.constant(True)
        for x, y in zip(left, right, strict=True):
            if isinstance(x, tuple) and isinstance(y, tuple):
                part = self.same(x, y, node)
            else:
                x, y = self.as_value(x, node), self.as_value(y, node)
                known = x.const is not None and y.const is not None
                part = self.constant(x.const == y.const) if known else self.operate("==", [x, y])
            result = self.combine(True, result, part)
        return result

    def read_BoolOp(self, node: ast.BoolOp) -> Any:
        also = isinstance(node.op, ast.And)
        result = self.expression(node.values[0])
        for right in node.values[1:]:
            known = result.value if isinstance(result, Static) else result.const if isinstance(result, Value) else None
            if isinstance(result, Static) or known is not None:
                if bool(known) == also:
                    result = self.expression(right)
                continue
            result = self.as_value(result, node)
            if result.kind.dtype != "b":
                raise self.refuse("and, or between numbers is not supported", "compare them: x != 0")
            if any(isinstance(n, (ast.Subscript, ast.Call)) for n in ast.walk(right)):
                first, rest = result, right
                yes = lambda rest=rest: self.value(rest)  # noqa: E731
                no = lambda: self.constant(not also)  # noqa: E731
                result = self.branch(first, yes if also else no, no if also else yes)[0]
            else:
                result = self.combine(also, result, self.value(right))
        return result

    def combine(self, also: bool, left: Value, right: Value) -> Value:
        """Join two conditions with and, or; one that is known decides, or is left out.

        Were it written down, Python itself would remove what can never run, and names would lack their definition.
        """
        for known, other in ((left, right), (right, left)):
            if known.const is not None:
                return other if bool(known.const) == also else self.constant(not also)
        return self.operate("and" if also else "or", [left, right])

    def read_IfExp(self, node: ast.IfExp) -> Any:
        test = self.expression(node.test)
        if isinstance(test, Static) or test.const is not None:
            return self.expression(
                node.body if (test.value if isinstance(test, Static) else test.const) else node.orelse
            )
        return self.branch(
            self.as_value(test, node.test), lambda: self.expression(node.body), lambda: self.expression(node.orelse)
        )[0]

    def read_Attribute(self, node: ast.Attribute) -> Any:
        base = self.expression(node.value)
        if isinstance(base, Static):
            found = getattr(base.value, node.attr, MISSING)
            if found is MISSING:
                raise self.refuse(f"{ast.unparse(node)!r} does not exist", "check its name")
            return self.outside(found, node.attr)
        if not isinstance(base, Value):
            raise self.refuse(f"{ast.unparse(node)!r} is not supported", "unpack the tuple first")
        if node.attr == "shape":
            return tuple(self.let("shape", [base], INT, axis=k) for k in range(base.kind.ndim))
        if node.attr == "ndim":
            return self.constant(base.kind.ndim)
        if node.attr == "size":
            size = self.let("shape", [base], INT, axis=0)
            for k in range(1, base.kind.ndim):
                size = self.operate("*", [size, self.let("shape", [base], INT, axis=k)])
            return size
        if node.attr == "dtype":
            return Static(("dtype of", base))
        if node.attr == "T":
            return self.array_call(array_rules.METHODS["transpose"], [base], {})
        raise self.refuse(f"the attribute {node.attr!r} is not supported", "use shape, ndim, size, dtype or T")

    # ---------------------------------------------------------------------------------------------- indexing

    def index(self, node: Any) -> list[Any]:
        """Read an index: a list of (tag, values): i integer, s slice, n new axis, e ellipsis, a and m arrays."""
        parts: list[Any] = []
        for part in node.elts if isinstance(node, ast.Tuple) else [node]:
            if isinstance(part, ast.Slice):
                bounds = [None if p is None else self.expression(p) for p in (part.lower, part.upper, part.step)]
                left_out = [b is None or (isinstance(b, Static) and b.value is None) for b in bounds]  # a[:n], n = None
                parts.append(
                    (
                        "s",
                        tuple(None if out else self.as_value(b, part) for b, out in zip(bounds, left_out, strict=True)),
                    )
                )
                continue
            binding = self.expression(part)
            if isinstance(binding, Static) and binding.value is None:
                parts.append(("n", None))
            elif isinstance(binding, Static) and binding.value is Ellipsis:
                parts.append(("e", None))
            elif isinstance(binding, tuple):
                parts += [("i", self.as_value(b, part)) for b in binding]
            else:
                value = self.as_value(binding, part)
                if value.kind.ndim:
                    tag = {"i": "a", "b": "m"}.get(value.kind.dtype)
                    if tag is None:
                        raise self.refuse("an index is an array of floats", "make it integers or booleans")
                    parts.append((tag, value))
                elif value.kind.dtype != "i":
                    raise self.refuse(f"an index is {value.kind.a}", "use an integer")
                else:
                    parts.append(("i", value))
        return parts

    def split(self, index: list[Any]) -> tuple[tuple[Any, ...], list[Value]]:
        pattern, values = [], []
        for tag, what in index:
            if tag == "s":
                pattern.append(("s", *(w is not None for w in what)))
                values += [w for w in what if w is not None]
            else:
                pattern.append((tag,))
                values += [what] if what is not None else []
        return tuple(pattern), values

    def element(self, array: Value, index: list[Any], copy: bool = False) -> Value:
        """Append the reading of an element, a row or a slice."""
        if array.kind.stack is not None:
            raise self.refuse("an entry of a list is read by its index", LISTS)
        if array.kind.ndim == 0:
            raise self.refuse("a number has no elements", "index an array")
        taken = sum(tag in "isam" for tag, _ in index) + sum(what.kind.ndim - 1 for tag, what in index if tag == "m")
        if taken > array.kind.ndim:
            raise self.refuse(f"{taken} indices for an array of {array.kind.ndim} dimension(s)", "use fewer")
        ndim = array.kind.ndim - sum(tag in "ia" for tag, _ in index) + sum(tag == "n" for tag, _ in index)
        ndim -= sum(what.kind.ndim for tag, what in index if tag == "m")
        fancy = [what for tag, what in index if tag in "am"]
        if fancy:
            if (
                len(fancy) > 1
                or len(index) > 1
                or (index[0][0] == "m" and fancy[0].kind.ndim not in (1, array.kind.ndim))
            ):
                raise self.refuse(
                    "this index with arrays is not supported", "use one array as the only index, or a loop"
                )
            ndim += fancy[0].kind.ndim if index[0][0] == "a" else 1
            if index[0][0] == "a" and fancy[0].kind.ndim > 1:
                raise self.refuse(
                    "an index array of more than one dimension is not supported", "index with its ravel()"
                )
        pattern, values = self.split(index)
        roots = frozenset() if fancy or copy or ndim == 0 else array.roots
        return self.let(
            "getitem", [array, *values], Kind(array.kind.dtype, ndim), roots=roots, pattern=pattern, fancy=bool(fancy)
        )

    def read_Subscript(self, node: ast.Subscript) -> Any:
        base = self.expression(node.value)
        if isinstance(base, tuple):
            if isinstance(node.slice, ast.Slice):
                bounds = [
                    None if p is None else self.value(p).const
                    for p in (node.slice.lower, node.slice.upper, node.slice.step)
                ]
                return base[slice(*bounds)]
            k = self.value(node.slice).const
            if not isinstance(k, int):
                raise self.refuse("the index into a tuple must be a constant", "unpack the tuple, or use an array")
            if not -len(base) <= k < len(base):
                raise self.refuse(f"the tuple has {len(base)} entries", "use an index within")
            return base[k]
        return self.element(self.as_value(base, node.value), self.index(node.slice))

    # ------------------------------------------------------------------------------------------------- calls

    def static(self, node: Any) -> Any:
        """Return the object that an expression names, or MISSING where it is none known while reading."""
        if hasattr(node, "static"):
            return node.static
        if isinstance(node, ast.Name) and node.id not in self.frames[-1].names:
            return self.frames[-1].source.lookup(node.id)
        if isinstance(node, ast.Attribute):
            base = self.static(node.value)
            return MISSING if base is MISSING else getattr(base, node.attr, MISSING)
        return MISSING

    def read_Call(self, node: ast.Call) -> Any:
        if any(isinstance(a, ast.Starred) for a in node.args):
            flat: list[Any] = []
            for a in node.args:
                part = self.expression(a.value if isinstance(a, ast.Starred) else a)
                flat += part if isinstance(a, ast.Starred) else [part]
            args = flat
        else:
            args = None
        if any(k.arg is None for k in node.keywords):
            raise self.refuse("** in a call is not supported", "name the arguments")
        if args is None and self.static(node.func) is np.array and node.args:
            if isinstance(node.args[0], (ast.List, ast.Tuple)) and not any(
                isinstance(e, ast.Starred) for e in node.args[0].elts
            ):
                return self.literal_array(node)
            if isinstance(node.args[0], ast.ListComp):
                return self.comprehension(node.args[0], node)
        known = self.static(node.func) if isinstance(node.func, ast.Attribute) else None
        of_global = isinstance(getattr(known, "__self__", None), np.ndarray)  # a method of a global array
        if known is MISSING or of_global:
            base = self.expression(node.func.value)  # type: ignore[attr-defined]
            if isinstance(base, Value):
                return self.method(node, base)
            function = self.expression(node.func)
        else:
            function = self.expression(node.func)
        if not isinstance(function, Static):
            raise self.refuse(f"{ast.unparse(node.func)!r} is no function", "call a function")
        if function.value is len and isinstance(node.args[0], ast.Call) and self.static(node.args[0].func) is range:
            return self.count(node.args[0])
        if args is None:
            args = [self.expression(a) for a in node.args]
        return self.call(function.value, args, {k.arg: self.expression(k.value) for k in node.keywords}, node)  # type: ignore[misc]

    def comprehension(self, node: ast.ListComp, call: ast.Call) -> Any:
        """Read np.array([... for ... in ...]): an array that a loop fills."""
        form = node.generators[0]
        if len(node.generators) > 1 or form.ifs or len(call.args) > 1 or call.keywords:
            raise self.refuse("this comprehension is not supported", "fill an array by a loop")
        how, what = self.iterable(form.iter)
        if how == "static":
            raise self.refuse("a comprehension over a tuple is not supported", "write its entries one by one")
        start, stop, step, _ = what
        if step.const != 1:
            raise self.refuse("a comprehension over a range with a step is not supported", "fill an array by a loop")
        size = self.operate("maximum", [self.subtract(stop, start), self.constant(0)], call="max")
        frame, self.comprehensions = self.frames[-1], self.comprehensions + 1
        marks = {n: f"_{n}_{self.comprehensions}" for n in assigned([form.target])}
        array, place = f"_array_{self.comprehensions}", f"_place_{self.comprehensions}"
        target, element = (_Rename(marks).visit(copy.deepcopy(part)) for part in (form.target, node.elt))
        pair = ast.Tuple([ast.Name(place, ast.Store()), target], ast.Store())
        entry = ast.Subscript(ast.Name(array, ast.Load()), ast.Name(place, ast.Load()), ast.Store())
        body: list[ast.stmt] = [ast.Assign([entry], element)]
        loop = ast.For(pair, ast.Call(ast.Name("enumerate", ast.Load()), [form.iter], []), body, [])
        ast.fix_missing_locations(ast.copy_location(loop, call))
        loop.iter.func.static = enumerate  # type: ignore[attr-defined]
        before, names, place_ = len(self.block.statements), dict(frame.names), self.node
        sort = "f8"
        for _ in range(2):
            del self.block.statements[before:]
            frame.names = dict(names)
            text = {"f8": "np.float64", "f4": "np.float32", "i": "np.int64", "b": "np.bool_"}[sort]
            made = self.let("alloc", [size], Kind(sort, 1), fill="empty", sizes=1, dtype=text, like=False)
            made.name = array
            frame.names[array] = made
            self.read_For(loop)
            written = [s for s in walk(self.block) if isinstance(s, Write) and s.array.roots & made.roots]
            if written[-1].value.kind.ndim:
                raise self.refuse("the entries of the comprehension are arrays", "fill the rows of an array by a loop")
            if written[-1].value.kind.dtype == sort:
                break
            sort = written[-1].value.kind.dtype
        result = frame.names[array]
        frame.names, self.node = names, place_
        return result

    def literal_array(self, node: ast.Call) -> Any:
        """Read np.array of a list or a tuple of numbers, or of lists of numbers."""
        rows = [e.elts if isinstance(e, (ast.List, ast.Tuple)) else None for e in node.args[0].elts]  # type: ignore[attr-defined]
        if not rows:
            raise self.refuse("an empty array has no kind", "use np.empty(0)")
        named = {k.arg: self.expression(k.value) for k in node.keywords if k.arg}
        extra = [self.expression(a) for a in node.args[1:]]
        dtype = extra[0] if extra else named.pop("dtype", None)
        if named or len(extra) > 1:
            raise self.refuse("np.array with these arguments is not supported", "give it the numbers and a dtype")
        shape: tuple[int, ...] = (len(rows),)
        parts = node.args[0].elts  # type: ignore[attr-defined]
        if any(r is not None for r in rows):
            if any(r is None or len(r) != len(rows[0] or []) for r in rows):
                raise self.refuse("the rows of the array have different lengths", "give each row the same length")
            shape = (len(rows), len(rows[0] or []))
            parts = [e for r in rows for e in r or []]
        values = []
        for part in parts:
            value = self.value(part)
            if value.kind.ndim:
                raise self.refuse(f"{ast.unparse(part)!r}, within np.array, is an array", "use np.stack")
            values.append(value)
        sorts = {v.kind.dtype for v in values}
        sort = sorts.pop() if len(sorts) == 1 else "i" if sorts == {"i", "b"} else "f8"
        if dtype is not None:
            sort = self.dtype_of(dtype, node)[0]
        return self.let("array", values, Kind(sort, len(shape)), forms=array_rules.literal(sort, shape), name="array")

    def call(self, function: Any, args: list[Any], named: dict[str, Any], node: Any) -> Any:
        """Read the call of a known function."""
        if isinstance(function, Inner):
            return self.inner(function, args, named)
        function = kernel_of(function)
        special = array_rules.CUSTOM.get(function) if _hashable(function) else None
        if special is not None:
            return self.custom(special, args, named, node)
        if hasattr(function, "_derivable_read"):  # a derivative: read its program in place
            return function._derivable_read(self, args, named)
        if _hashable(function):
            if function in NAMES and not (function in (max, min) and len(args) == 1):
                name = NAMES[function]
                if named:
                    remedy = "write y[:] = and the call" if "out" in named else "use positional arguments"
                    raise self.refuse(f"the keyword {', '.join(named)} is not supported here", remedy)
                values = [self.as_value(a, node) for a in args]
                if name in DEFAULTS and len(values) == 1:
                    values.append(self.constant(DEFAULTS[name]))
                if len(values) != len(ELEMENTWISE[name].partials) and not (
                    name == "bool" or ELEMENTWISE[name].result == "bool"
                ):
                    raise self.refuse(
                        f"{ast.unparse(node)!r} has {len(values)} arguments",
                        f"give it {len(ELEMENTWISE[name].partials)}",
                    )
                if name in ("float", "float32", "int", "bool") and values[0].kind.ndim:
                    raise self.refuse("an array is converted to a number", "use astype for arrays")
                return self.operate(name, values, call=spelling(function, node, max(v.kind.ndim for v in values)))
            if function in (max, min):
                values = [self.as_value(a, node) for a in args]
                if len(values) == 1:
                    raise self.refuse(
                        f"{function.__name__} of one argument is not supported", f"use np.{function.__name__}"
                    )
                result = values[0]
                for v in values[1:]:
                    result = self.operate(
                        "maximum" if function is max else "minimum", [result, v], call=function.__name__
                    )
                return result
            if function is len:
                if isinstance(args[0], tuple):
                    return self.constant(len(args[0]))
                array = self.as_value(args[0], node)
                return self.let("shape", [array], INT, axis=None if array.kind.stack is not None else 0)
            if function is tuple and isinstance(args[0], tuple):
                return args[0]
            if function in ALLOCATE:
                return self.allocate(ALLOCATE[function], args, named, node)
            if function in LIKE:
                return self.allocate_like(LIKE[function], args, named, node)
            if function in array_rules.FUNCTIONS:
                return self.array_call(array_rules.FUNCTIONS[function], args, named)
            if function in (accumulate, add_outer):
                array, *values = (self.as_value(a, node) for a in args)
                value = self.array_call(array_rules.FUNCTIONS[np.outer], values, {}) if len(values) > 1 else values[0]
                self.write(array, [("e", None)], value, "+")
                return Static(None)
            if function in VERBS:
                if args and isinstance(args[0], Static) and isinstance(args[0].value, Inner):
                    raise self.refuse(
                        f"{ast.unparse(node)!r} is the derivative of a function that is defined within this one",
                        "define that function outside, and give it what it needs as arguments",
                    )
                return VERBS[function](self, args, named)
        python = python_function(function)
        if isinstance(python, (type(len), type, np.ufunc)) or (getattr(python, "__module__", "") or "").startswith(
            ("numpy", "math")
        ):
            word = getattr(function, "__name__", str(function))
            remedy = "write it in terms of others, or call it in an @njit function with a custom_derivative"
            if function in (np.ndindex, np.ndenumerate):
                remedy = "loop over range(a.shape[0]), and so on"
            elif getattr(function, "__module__", "") == "builtins":
                if any(getattr(np, word, None) in rules for rules in (NAMES, array_rules.FUNCTIONS)):
                    remedy = f"use np.{word}"
                word = f"Python's {word}"
            raise self.refuse(f"no derivative of {word} is known", remedy)
        return self.inline(function, args, named, node)

    def method(self, node: ast.Call, base: Value) -> Any:
        name = node.func.attr  # type: ignore[attr-defined]
        if base.kind.stack is not None:
            return self.list_method(name, base, node)
        args = [self.expression(a) for a in node.args]
        named = {k.arg: self.expression(k.value) for k in node.keywords if k.arg}
        if base.kind.ndim == 0 and name == "item":
            return base
        if name not in array_rules.METHODS or base.kind.ndim == 0:
            raise self.refuse(
                f"the method {name!r} of {base.kind.a} is not supported", "use a function of NumPy, or a loop"
            )
        # What has no other name, and is not read again, is not a view: it may be changed in place.
        alone = not isinstance(node.func.value, (ast.Name, ast.Attribute, ast.Subscript))  # type: ignore[attr-defined]
        only = name == "reshape" and alone and base.name is None and unread_output(base)
        return self.array_call(array_rules.METHODS[name], [base, *args], named, only)

    def list_method(self, name: str, base: Value, node: ast.Call) -> Any:
        """Read an append to a list or a pop from it: what the programs of gradients do."""
        if name == "append" and len(node.args) == 1:
            value = self.value(node.args[0])
            kind = Kind(value.kind.dtype, 0, value.kind.ndim)
            if base.kind.stack == -1:
                base.kind = kind
            if base.kind != kind:
                raise self.refuse(f"{value.kind.a} is put onto a {base.kind}", "use two lists")
            base.roots |= value.roots
            self.block.statements.append(Write(base, APPEND, [], value, line=self.line, block=self.block))
            return Static(None)
        if name == "pop" and not node.args and base.kind.stack != -1:
            return self.let("pop", [base], Kind(base.kind.dtype, base.kind.stack or 0), roots=base.roots)
        raise self.refuse(f"{ast.unparse(node)!r} is not supported", LISTS)

    def array_call(self, rule: Any, args: list[Any], named: dict[str, Any], only: bool = False) -> Any:
        """Append the call of an array function, by its rule; `only`: the result is the only name of its memory."""
        try:
            values, info, forms = rule.read(self, args, named)
        except array_rules.Refused as error:
            raise self.refuse(str(error), error.remedy) from None
        if isinstance(forms, (Value, tuple)):
            return forms
        if only:
            forms = replace(forms, view=False, mirror=False)
        roots = values[0].roots if forms.view else frozenset()
        return self.let("array", values, forms.kind, roots=roots, forms=forms, name=rule.name, **info)

    def dtype_of(self, binding: Any, node: Any) -> tuple[str, str, Value | None]:
        """Return the sort, the text and the array that a dtype argument stands for."""
        if binding is None:
            return "f8", "np.float64", None
        what = binding.value if isinstance(binding, Static) else None
        if isinstance(what, tuple) and what[0] == "dtype of":
            return what[1].kind.dtype, "", what[1]
        try:
            dtype = np.dtype(what)
        except TypeError:
            raise self.refuse(
                "this dtype is not supported", "use np.float64, np.float32, np.int64, np.bool_ or x.dtype"
            ) from None
        if dtype.kind not in "bif" or dtype.itemsize == 2:
            raise self.refuse(f"the dtype {dtype} is not supported", "use np.float64, np.float32, np.int64 or np.bool_")
        sort = dtype.kind if dtype.kind in "bi" else f"f{dtype.itemsize}"
        return sort, "np.bool_" if dtype.kind == "b" else f"np.{dtype.name}", None

    def allocate(self, name: str, args: list[Any], named: dict[str, Any], node: Any) -> Value:
        args, named = list(args), dict(named)
        shape = args.pop(0) if args else named.pop("shape", None)
        fill = None
        if name == "full":
            fill = self.as_value(args.pop(0) if args else named.pop("fill_value", None), node)
        dtype = args.pop(0) if args else named.pop("dtype", None)
        if args or named:
            raise self.refuse(f"np.{name} with these arguments is not supported", "give it a shape and a dtype")
        sizes = [self.as_value(s, node) for s in (shape if isinstance(shape, tuple) else (shape,))]
        sort, text, like = self.dtype_of(dtype, node)
        if name == "full" and dtype is None:
            sort, text = (
                fill.kind.dtype,  # type: ignore[union-attr]
                {"i": "np.int64", "b": "np.bool_", "f4": "np.float32", "f8": "np.float64"}[fill.kind.dtype],  # type: ignore[union-attr]
            )
        values = sizes + ([fill] if fill else []) + ([like] if like else [])
        return self.let(
            "alloc", values, Kind(sort, len(sizes)), fill=name, sizes=len(sizes), dtype=text, like=like is not None
        )

    def allocate_like(self, name: str, args: list[Any], named: dict[str, Any], node: Any) -> Value:
        x = self.as_value(args[0], node)
        if (len(args) > 1 and name != "full_like") or set(named) - {"dtype"}:
            raise self.refuse(f"np.{name} with these arguments is not supported", "give it the array alone")
        if x.kind.ndim == 0:
            return self.constant(0.0) if name != "ones_like" else self.constant(1.0)
        extra = [self.as_value(args[1], node)] if name == "full_like" else []
        sort, text, like = (x.kind.dtype, "", None) if "dtype" not in named else self.dtype_of(named["dtype"], node)
        if like is not None:
            raise self.refuse("this dtype is not supported here", "use np.zeros(x.shape, y.dtype)")
        return self.let("alloc_like", [x, *extra], Kind(sort, x.kind.ndim), fill=name, dtype=text)

    def inline(self, function: Any, args: list[Any], named: dict[str, Any], node: Any) -> Any:
        """Read a function in place of its call."""
        try:
            source = source_of(function)
        except DerivativeError as error:
            raise self.refuse(str(error), "or do without it") from None
        if any(
            f.source.node is source.node
            or (f.source.file, f.source.first, f.source.name) == (source.file, source.first, source.name)
            for f in self.frames
        ):
            raise self.refuse(f"{source.name} calls itself", "write the recursion as a loop")
        return self.inline_source(source, args, named)

    def inner(self, function: Inner, args: list[Any], named: dict[str, Any]) -> Any:
        """Read the call of a function that is defined within this one: its free names are those of its surroundings."""
        if not any(f is function.frame for f in self.frames):
            raise self.refuse(
                f"{function.node.name} is called outside of the function that defines it", "call it there"
            )
        if any(f.source is function.source for f in self.frames):
            raise self.refuse(f"{function.node.name} calls itself", "write the recursion as a loop")
        around = {n: b for n, b in function.frame.names.items() if n not in function.inside}
        named = {n: b for n, b in function.given.items() if n not in named} | named
        taken = {a.arg for a in function.node.args.args[: len(args)]}
        return self.inline_source(
            function.source, args, {n: b for n, b in named.items() if n not in taken or n not in function.given}, around
        )

    def inline_source(
        self, source: Source, args: list[Any], named: dict[str, Any], around: dict[str, Any] | None = None
    ) -> Any:
        frame = Frame(source)
        frame.names |= around or {}
        names = [a.arg for a in source.node.args.args]
        given = dict(zip(names, args, strict=False))
        unknown = [n for n in named if n not in names or n in given]
        missing = [n for n in names if n not in given and n not in named and n not in source.defaults]
        if len(args) > len(names) or unknown or missing:
            raise self.refuse(f"the call does not fit {source.name}({', '.join(names)})", "give it these arguments")
        given |= named
        changed = assigned(source.node.body)
        line, place = self.line, self.node
        for name in names:
            binding = given[name] if name in given else self.outside(source.defaults[name], name)
            if name in changed and not isinstance(binding, Static):
                binding = self.hold_all(binding)
                for leaf in leaves(binding):
                    leaf.name = leaf.name or name
            frame.names[name] = binding
        breaks, self.breaks = self.breaks, []
        self.frames.append(frame)
        self.statements(structure(source.node.body))
        self.frames.pop()
        self.breaks, self.line, self.node = breaks, line, place
        return Static(None) if frame.result is None else frame.result

    def hold_all(self, binding: Any) -> Any:
        if isinstance(binding, tuple):
            return tuple(self.hold_all(part) for part in binding)
        return self.let("copy", [binding], binding.kind, roots=binding.roots) if isinstance(binding, Value) else binding

    def custom(self, rule: Any, args: list[Any], named: dict[str, Any], node: Any) -> Any:
        if named:
            raise self.refuse(
                "keywords are not supported for a function with a custom derivative", "use positional arguments"
            )
        values = [self.as_value(a, node) for a in args]
        try:
            forms = rule.forms(self, values)
        except array_rules.Refused as error:
            raise self.refuse(str(error), error.remedy) from None
        return self.let("array", values, forms.kind, forms=forms, name=rule.name)

    arguments: list[Value] = []  # noqa: RUF012


VERBS: dict[Any, Any] = {}  # filled by verbs.py: how a call of a verb within a function is read


class _Rename(ast.NodeTransformer):
    """Gives names other names."""

    def __init__(self, marks: dict[str, str]) -> None:
        self.marks = marks

    def visit_Name(self, node: ast.Name) -> Any:
        return ast.copy_location(ast.Name(self.marks.get(node.id, node.id), node.ctx), node)


def unread_output(value: Value) -> bool:
    """Tell whether a value is the result of an elementwise operation whose derivative does not read the result."""
    let = value.define
    if not isinstance(let, Let) or let.op not in ELEMENTWISE:
        return False
    rule = ELEMENTWISE[let.op]
    return not any(re.search(r"\bz\b", text or "") for text in (*rule.partials, rule.edge))


def escapes(node: Any, name: str) -> bool:
    """Tell whether a name is read outside of all loops that run over it."""
    if isinstance(node, ast.For) and any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node.target)):
        return any(escapes(part, name) for part in (node.iter, *node.orelse))
    if isinstance(node, ast.Name):
        return node.id == name and isinstance(node.ctx, ast.Load)
    return any(escapes(part, name) for part in ast.iter_child_nodes(node))


def assigned(body: list[Any]) -> list[str]:
    """Return the names that these statements assign, in order."""
    names: dict[str, None] = {}

    def visit(node: Any) -> None:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = None
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):  # these have names of their own
            for part in ast.iter_child_nodes(node):
                visit(part)

    for part in body:
        visit(part)
    return list(names)


def default_call(op: str, ndim: int) -> str:
    """Return how an operation without a spelling of its own is called."""
    return f"np.{op}" if ndim else op


def spelling(function: Any, node: Any, ndim: int) -> str:
    """Return how the generated program calls a function: as the user did, by module."""
    name = getattr(function, "__name__", "")
    if function is abs:
        return "abs"
    if NAMES[function] == "pick" or NAMES[function].startswith("activation "):
        return str(name)
    if function in (float, int, bool, pow):
        return name
    if getattr(math, name, None) is function:
        return f"math.{name}"
    if isinstance(function, type):
        return f"np.{name}" if name != "bool" else "np.bool_"
    return f"np.{name}"


def _hashable(thing: Any) -> bool:
    try:
        hash(thing)
    except TypeError:
        return False
    return True


def _prange() -> Any:
    import numba

    return numba.prange


def kernel_of(function: Any) -> Any:
    """Return what a program calls in the place of a public function that checks its arguments first."""
    return getattr(function, "_derivable_kernel", function)


ITSELF = "the function itself"  # no name of Python, so no program has it


def read(function: Any, kinds: tuple[Any, ...], own_rule: bool = True) -> Program:
    """Read a function for arguments of these kinds.

    Args:
        function: an `@njit` function or a Python function.
        kinds: the kind of each argument.
        own_rule: whether a function that was given a derivative by `custom_derivative` counts as one operation.

    Returns:
        The program.
    """
    reader = Reader()
    function = kernel_of(function)
    source = source_of(function)
    names = [a.arg for a in source.node.args.args]
    body = source.node.body
    if own_rule and _hashable(function) and function in array_rules.CUSTOM:
        call = ast.Call(ast.Name(ITSELF, ast.Load()), [ast.Name(n, ast.Load()) for n in names], [])
        body = [ast.fix_missing_locations(ast.copy_location(ast.Return(call), body[-1]))]
        within = source.lookup
        source = replace(source, lookup=lambda free: function if free == ITSELF else within(free))
    frame = Frame(source)
    reader.frames.append(frame)
    parameters = []
    reader.arguments = []

    def parameter(name: str, kind: Any) -> Any:
        if isinstance(kind, tuple):
            return tuple(parameter(f"{name}_{k}", part) for k, part in enumerate(kind))
        if kind is None:
            return Static(None)
        value = reader.fresh(kind, name=name, define="argument")
        value.leaf = name not in names
        if kind.ndim:
            reader.arguments.append(value)
        return value

    for name, kind in zip(names, kinds, strict=True):
        binding = parameter(name, kind)
        parameters.append(binding)
        frame.names[name] = binding
    reader.statements(structure(body))
    result = frame.result
    for leaf in leaves(result) if result is not None else [None]:
        if not isinstance(leaf, Value):
            raise DerivativeError(
                f"{source.name} returns {getattr(leaf, 'value', leaf)!r}; let it return a float, an array "
                "or a tuple of these"
            )
    program = Program(source.name, parameters, names, reader.body, result, reader.environment, reader.keys)
    return program


__all__ += ["is_float"]
