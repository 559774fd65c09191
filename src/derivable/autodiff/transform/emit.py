"""Write programs: expressions from templates, statements back from three-address form, dead code away, files."""

from __future__ import annotations

import ast
import copy
import importlib.abc
import importlib.util
import math
import os
import sys
import tempfile
from functools import cache
from typing import Any

from derivable.autodiff.kinds import digest
from derivable.autodiff.rules import kernels
from derivable.autodiff.rules.activations import ACTIVATION_NAMES
from derivable.autodiff.rules.table import ELEMENTWISE, OPERATORS
from derivable.autodiff.transform.activity import Analysis
from derivable.autodiff.transform.light import lighten
from derivable.autodiff.transform.program import APPEND, Break, For, If, Let, Raise, Value, While, Write, inner, uses
from derivable.autodiff.transform.read import leaves
from derivable.jit import cache_folder, kernel

__all__ = ["Comment", "Names", "Primal", "clean", "index_node", "literal", "load", "name", "template"]

SCALAR = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "abs": "fabs"}


# ------------------------------------------------------------------------------------------------ expressions


def name(text: str) -> Any:
    """Return the expression that reads a variable."""
    return ast.Name(text, ast.Load())


@cache
def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def literal(number: Any, as_float: bool = False) -> Any:
    """Return the expression of a number."""
    if as_float and not isinstance(number, bool):
        number = float(number)
    if isinstance(number, float) and not math.isfinite(number):
        inf = _parsed("np.nan" if math.isnan(number) else "np.inf")
        return ast.UnaryOp(ast.USub(), inf) if number < 0 else inf
    if isinstance(number, (int, float)) and not isinstance(number, bool) and (number < 0):
        return ast.UnaryOp(ast.USub(), ast.Constant(-number))
    return ast.Constant(number)


class _Fill(ast.NodeTransformer):
    def __init__(self, given: dict[str, Any], arrays: bool) -> None:
        self.given, self.arrays = given, arrays

    def visit_Name(self, node: ast.Name) -> Any:
        what = self.given.get(node.id)
        return node if what is None else what() if callable(what) else what

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        return ast.Attribute(self.visit(node.value), node.attr, node.ctx)

    def visit_Call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Name) and node.func.id == "pick" and not self.arrays:
            test, yes, no = (self.visit(a) for a in node.args)
            return ast.IfExp(test, yes, no)
        if isinstance(node.func, ast.Name) and node.func.id in ELEMENTWISE and not hasattr(kernels, node.func.id):
            word = node.func.id
            function = f"np.{word}" if self.arrays or word in ("sign",) else f"math.{SCALAR.get(word, word)}"
            return ast.Call(_parsed(function), [self.visit(a) for a in node.args], [])
        return ast.Call(self.visit(node.func), [self.visit(a) for a in node.args],
                        [ast.keyword(k.arg, self.visit(k.value)) for k in node.keywords])  # fmt: skip

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        return fold(ast.BinOp(self.visit(node.left), node.op, self.visit(node.right)))

    def visit_Compare(self, node: ast.Compare) -> Any:
        left, right = self.visit(node.left), self.visit(node.comparators[0])
        a, b = number_of(left), number_of(right)
        if a is not None and b is not None and isinstance(node.ops[0], ast.Eq):
            return ast.Constant(1 if a == b else 0)
        return ast.Compare(left, node.ops, [right])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        x = self.visit(node.operand)
        if isinstance(node.op, ast.Not) and self.arrays:
            return ast.Call(_parsed("np.logical_not"), [x], [])
        a = number_of(x)
        return literal(-a) if isinstance(node.op, ast.USub) and a is not None else ast.UnaryOp(node.op, x)


def number_of(node: Any) -> Any:
    """Return the number that an expression is, or None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner_ = number_of(node.operand)
        return None if inner_ is None else -inner_
    return None


def fold(node: ast.BinOp) -> Any:
    """Simplify an operation with numbers: 1 * x, x ** 1, 2 - 1."""
    a, b = number_of(node.left), number_of(node.right)
    op = node.op
    if a is not None and b is not None and not isinstance(op, ast.Div):
        try:
            value = {ast.Add: a.__add__, ast.Sub: a.__sub__, ast.Mult: a.__mul__, ast.Pow: a.__pow__}[type(op)](b)
            if value is NotImplemented:
                value = eval(
                    compile(
                        ast.fix_missing_locations(ast.Expression(ast.BinOp(literal(a), op, literal(b)))), "", "eval"
                    )
                )
            if not isinstance(value, complex) and not isinstance(value, type(NotImplemented)):
                return literal(value)
        except (KeyError, ArithmeticError, ValueError):
            pass
    if isinstance(op, ast.Mult):
        if a == 1:
            return node.right
        if b == 1:
            return node.left
        if a == -1:
            return negative(node.right)
        if b == -1:
            return negative(node.left)
    if isinstance(op, ast.Pow) and b == 1:
        return node.left
    if isinstance(op, (ast.Add, ast.Sub)) and b == 0:
        return node.left
    return node


def negative(node: Any) -> Any:
    """Return the expression of the negative."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return node.operand
    return ast.UnaryOp(ast.USub(), node)


def product(g: Any, p: Any) -> Any:
    """Return the expression of a product, simplified."""
    if isinstance(p, ast.UnaryOp) and isinstance(p.op, ast.USub):
        return negative(product(g, p.operand))
    if isinstance(p, ast.BinOp) and isinstance(p.op, ast.Div) and number_of(p.left) == 1:
        return ast.BinOp(g, ast.Div(), p.right)
    return fold(ast.BinOp(g, ast.Mult(), p))


def template(text: str, given: dict[str, Any], arrays: bool = False) -> Any:
    """Return the expression that a template stands for, its letters replaced by the given expressions."""
    return _Fill(given, arrays).visit(copy.deepcopy(_parsed(text)))  # visiting changes the tree


def index_node(pattern: tuple[Any, ...], values: list[Any]) -> Any:
    """Return the expression of an index."""
    rest = iter(values)
    parts: list[Any] = []
    for tag, *which in pattern:
        if tag == "s":
            lo, hi, step = (next(rest) if given else None for given in which)
            parts.append(ast.Slice(lo, hi, step))
        elif tag == "n":
            parts.append(ast.Constant(None))
        elif tag == "e":
            parts.append(ast.Constant(...))
        else:
            parts.append(next(rest))
    return parts[0] if len(parts) == 1 else ast.Tuple(parts, ast.Load())


def element_node(array: Any, pattern: tuple[Any, ...], values: list[Any]) -> Any:
    """Return the expression of an element, a row or a slice."""
    if pattern == (("e",),):
        return array  # Numba cannot read x[...] of a vector
    return ast.Subscript(array, index_node(pattern, values), ast.Load())


def passed_on(node: Any) -> Any:
    """Return what a sum over broadcast axes hands on as it is where there is nothing to sum."""
    same = ("unbroadcast", "unbroadcast_1", "unbroadcast_2")
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in same:
        node = node.args[0]
    return node


def borrowed(node: Any) -> bool:
    """Tell whether an expression is the memory of a variable: its name, or a view of it."""
    node = passed_on(node)
    while isinstance(node, (ast.Subscript, ast.Attribute)) or (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("reshape", "ascontiguousarray", "ravel", "transpose", "diag")
    ):
        if isinstance(node, ast.Call):
            function: Any = node.func
            node = function.value if function.attr in ("reshape", "ravel") else node.args[0]
        else:
            node = node.value
    return isinstance(node, ast.Name)


LETTERS = ("x", "y", "w", "v", "u")


def primal_node(let: Let, args: list[Any], as_float: bool) -> Any:
    """Return the right-hand side of a statement, given the expressions of its arguments."""
    op, info = let.op, let.info
    if op == "const":
        return literal(let.target.const, as_float)
    if op == "copy":
        return args[0]
    if op == "newlist":
        return ast.List([], ast.Load())
    if op == "pop":
        return template("x.pop()", {"x": args[0]})
    if op == "stop":
        return args[0]
    if op in OPERATORS:
        return _parsed_operator(op, args)
    if op == "and":
        return ast.BoolOp(ast.And(), args)
    if op == "or":
        return ast.BoolOp(ast.Or(), args)
    if op == "neg":
        return ast.UnaryOp(ast.USub(), args[0])
    if op == "pos":
        return args[0]
    if op == "not":
        return ast.UnaryOp(ast.Not(), args[0])
    if op == "~":
        return ast.UnaryOp(ast.Invert(), args[0])
    if op == "getitem":
        return element_node(args[0], info["pattern"], args[1:])
    if op == "shape" and info["axis"] is None:
        return ast.Call(ast.Name("len", ast.Load()), args, [])
    if op == "shape":
        return ast.Subscript(ast.Attribute(args[0], "shape", ast.Load()), ast.Constant(info["axis"]), ast.Load())
    if op == "alloc":
        n = info["sizes"]
        shape = args[0] if n == 1 else ast.Tuple(args[:n], ast.Load())
        fill = [args[n]] if info["fill"] == "full" else []
        dtype = ast.Attribute(args[-1], "dtype", ast.Load()) if info["like"] else _parsed(info["dtype"])
        return ast.Call(_parsed("np." + info["fill"]), [shape, *fill, dtype], [])
    if op == "alloc_like":
        extra = [_parsed(info["dtype"])] if info["dtype"] else []
        return ast.Call(_parsed("np." + info["fill"]), [*args, *extra], [])
    if op == "global":
        return name(info["text"])
    if op == "clip" and not let.target.kind.ndim:  # Numba clips arrays only
        return template("min(max(x, y), w)", letters(let, args))
    if op == "array":
        return template(info["forms"].primal, letters(let, args))
    return ast.Call(_parsed(info["call"]), args, [])


def _parsed_operator(op: str, args: list[Any]) -> Any:
    node = _parsed(f"a {op} b")
    if isinstance(node, ast.Compare):
        return ast.Compare(args[0], node.ops, [args[1]])
    return ast.BinOp(args[0], node.op, args[1])  # type: ignore[attr-defined]


def letters(let: Let, args: list[Any], prefix: str = "") -> dict[str, Any]:
    """Return what the letters of a template stand for."""
    found = {f"{prefix}x{k}": a for k, a in enumerate(args)}
    found |= {prefix + letter: a for letter, a in zip(LETTERS, args, strict=False)}
    return found


# ------------------------------------------------------------------------------------------------- statements


class Comment(ast.stmt):
    """A comment in the generated program: the user's line that what follows belongs to."""

    _fields = ()

    def __init__(self, text: str) -> None:
        self.text = text


def assign(target: Any, value: Any) -> Any:
    """Return an assignment; the target is a name or an expression."""
    if isinstance(target, str):
        target = ast.Name(target, ast.Store())
    return ast.Assign([target], value)


def augment(target: Any, op: str, value: Any) -> Any:
    """Return `target op= value`, with a sign moved into the operator."""
    if isinstance(target, str):
        target = ast.Name(target, ast.Store())
    if op == "+" and isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
        op, value = "-", value.operand
    return ast.AugAssign(target, ast.Add() if op == "+" else ast.Sub(), value)


RESERVED = {
    "np",
    "math",
    "and",
    "or",
    "not",
    "if",
    "else",
    "for",
    "in",
    "is",
    "None",
    "True",
    "False",
    "range",
    "len",
    "max",
    "min",
    "abs",
    "float",
    "int",
    "bool",
    "pow",
    "lambda",
    "def",
    "return",
    "class",
    "del",
    "pass",
    "out",
}


WORDS = {"+": "total", "-": "difference", "*": "product", "/": "quotient", "**": "power", "matmul": "product"}
WORDS |= dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), "test")


def describe(value: Value) -> str | None:
    """Return a name for a value that the user gave none, from how it is computed, or None."""
    let = value.define
    if not isinstance(let, Let):
        return None

    def part(v: Value) -> str | None:
        if v.const is not None:
            return str(v.const) if isinstance(v.const, int) and v.const >= 0 else None
        inner_let = v.define
        if v.name is None and isinstance(inner_let, Let) and inner_let.op in "+-" and len(inner_let.args) == 2:
            a, b = map(part, inner_let.args)
            return f"{a}_{'plus' if inner_let.op == '+' else 'minus'}_{b}" if a and b else None
        if v.name is None and isinstance(v.define, For):
            return "i"
        return v.name.strip("_") or "i" if v.name else None

    first = part(let.args[0]) if let.args else None
    if let.op == "getitem" and first:
        index = [part(a) for a in let.args[1:]]
        return "_".join([first, *index]) if all(index) else f"{first}_element"  # type: ignore[list-item]
    if let.op == "shape" and first:
        axis = let.info["axis"]
        return f"{first}_length" if axis is None else f"{first}_shape_{axis}"
    total = part(value) if let.op in ("+", "-") and value.kind.dtype == "i" else None
    if total is not None and total.isidentifier():  # not 1 + i
        return total
    word = let.info.get("name", let.op) if let.op == "array" else let.op
    word = WORDS.get(word, word.removeprefix("activation "))
    if not word.isidentifier() or let.op == "const":
        return None
    if let.op in OPERATORS or word == "product":
        return word
    return f"{word}_{first}" if first else f"{word}_value"


class Names:
    """Gives every variable a name of its own, the user's where possible."""

    def __init__(self, analysis: Analysis, taken: set[str]) -> None:
        self.taken = RESERVED | ACTIVATION_NAMES | set(kernels.__all__) | set(analysis.program.environment) | taken
        self.webs: dict[Value, str] = {}
        for parameter_name in analysis.program.names:
            self.taken.add(parameter_name)
        for p in analysis.program.parameters:
            for v in leaves(p):
                if isinstance(v, Value):
                    self.taken.add(v.name or "")
                    self.webs[v.web()] = v.name or ""
        count = 0
        for web, members in analysis.members.items():
            if web in self.webs:
                continue
            wish = next((m.name for m in members if m.name), None)
            if wish is None and any(isinstance(m.define, For) for m in members):
                wish = "i"
            if wish is None:
                wish = describe(members[0])
            if wish is None:
                count += 1
                wish = f"t{count}"
            self.webs[web] = self.new((wish.strip("_") or "i") if wish.startswith("_") else wish)
        for web, members in analysis.members.items():
            for k, member in enumerate(members):
                member.text = self.webs[web] if len(members) == 1 else self.new(f"{self.webs[web]}_{k}")

    def new(self, wish: str) -> str:
        """Return the name, or the first free one like it."""
        candidate, k = wish, 1
        while candidate in self.taken:
            k += 1
            candidate = f"{wish}_{k}"
        self.taken.add(candidate)
        return candidate


class Primal:
    """Writes the statements of the function itself, folding temporaries back into expressions."""

    def __init__(self, analysis: Analysis, names: Names, keep: set[Value]) -> None:
        self.analysis, self.names, self.keep = analysis, names, keep
        self.arrays = {text for web, text in names.webs.items() if web in analysis.kinds and analysis.kinds[web].ndim}
        self.counts: dict[Value, int] = {}
        for s in analysis.statements:
            for v in uses(s):
                self.counts[v] = self.counts.get(v, 0) + 1
        for v in leaves(analysis.program.result):
            self.counts[v] = self.counts.get(v, 0) + 2
        for members in analysis.members.values():
            for m in members:
                if len(members) > 1:
                    self.counts[m] = self.counts.get(m, 0) + 2
        self.pending: dict[Value, tuple[Any, set[str], bool, Any]] = {}
        self.out: list[Any] = []
        self.line = ""

    def read(self, value: Value) -> Any:
        """Return the expression that reads a value, now."""
        if value.const is not None:
            return literal(value.const)
        if value in self.pending:
            return self.pending.pop(value)[0]
        return name(self.names.webs[value.web()])

    def comment(self, line: str) -> None:
        if line and line != self.line:
            self.out.append(Comment(line))
            self.line = line

    def flush(self, written: str | None = None, memory: bool = False) -> None:
        """Assign the pending expressions that would change if they were evaluated later."""
        for value, (node, reads, touches, line) in list(self.pending.items()):
            if (written is None and not memory) or (written in reads) or (memory and touches):
                del self.pending[value]
                self.comment(line)
                self.out.append(assign(self.names.webs[value.web()], node))

    def let(self, s: Let) -> None:
        """Write one statement, or keep its expression for the one that uses it."""
        target = s.target
        if s.op == "const" and len(self.analysis.members[target.web()]) == 1:
            return  # its number stands where it is used
        touches = (
            any(self.pending[a][2] for a in s.args if a in self.pending)
            or s.op in ("getitem", "array")
            or any(a.kind.ndim for a in s.args)
        )
        reads: set[str] = set()
        for a in s.args:
            reads |= self.pending[a][1] if a in self.pending else {self.names.webs[a.web()]}
        args, as_float = [self.read(a) for a in s.args], self.analysis.kinds[target.web()].dtype[0] == "f"
        node = primal_node(s, args, as_float)
        node = lighten(s, node, args, self.arrays, lambda rows: primal_node(s, rows, as_float))
        if s.op == "pop":
            self.flush(memory=True)
        elif target.name is None and self.counts.get(target, 0) == 1 and target not in self.keep:
            self.pending[target] = (node, reads, touches, s.line)
            return
        text = self.names.webs[target.web()]
        self.flush(text)
        self.comment(s.line)
        self.out.append(assign(text, node))

    def write_node(self, s: Write) -> list[Any]:
        array = self.read(s.array)
        if s.pattern == APPEND:
            return [ast.Expr(template("x.append(v)", {"x": array, "v": self.read(s.value)}))]
        index = index_node(s.pattern, [self.read(i) for i in s.index])
        target = ast.Subscript(array, index, ast.Store())
        value = self.read(s.value)
        if s.aug:
            if s.pattern == (("e",),) and isinstance(array, ast.Name):
                return [augment(array.id, s.aug, value)]
            return [ast.AugAssign(target, ast.Add() if s.aug == "+" else ast.Sub(), value)]
        return [assign(target, value)]


# -------------------------------------------------------------------------------------------------- dead code

ALIAS = {"reshape", "ravel", "T", "transpose", "broadcast_to", "expand_dims", "asarray", "ascontiguousarray", "wide"}


def clean(body: list[Any], live: set[str], before: list[Any] | None = None) -> list[Any]:
    """Remove what does not contribute to the result: assignments nobody reads, and the loops that leaves empty.

    Args:
        body: the statements.
        live: names that are read elsewhere.
        before: statements that ran before, which may have given several names to the same memory.
    """
    links: dict[str, set[str]] = {}

    def loads(node: Any) -> set[str]:
        return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}

    def base(node: Any) -> str | None:
        while isinstance(node, (ast.Subscript, ast.Attribute)):
            node = node.value
        return node.id if isinstance(node, ast.Name) else None

    def may_alias(value: Any) -> bool:
        if isinstance(value, (ast.Name, ast.Subscript, ast.IfExp)):
            return True
        if isinstance(value, ast.Attribute):
            return value.attr in ALIAS
        if isinstance(value, ast.Call):
            function = value.func
            word = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            return word in ALIAS or word in ("reserve", "pop", "append")
        return isinstance(value, ast.Tuple)

    def link(one: str, others: set[str]) -> None:
        for other in others:
            links.setdefault(one, set()).add(other)
            links.setdefault(other, set()).add(one)

    everything = [n for s in [*(before or []), *body] for n in ast.walk(s)]
    for node in everything:
        if isinstance(node, ast.Assign) and may_alias(node.value):
            for target in node.targets:
                for n in ast.walk(target):
                    if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store):
                        link(n.id, loads(node.value))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            link(base(node.func) or "", loads(node.args[0]))  # what is put on a tape is read from there

    def component(start: str) -> set[str]:
        seen, todo = {start}, [start]
        while todo:
            for other in links.get(todo.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return seen

    components: dict[str, set[str]] = {}
    kept: set[int] = set()

    def is_live(s: Any) -> bool:
        if isinstance(s, (ast.Assign, ast.AugAssign)):
            targets = s.targets if isinstance(s, ast.Assign) else [s.target]
            function = s.value.func if isinstance(s.value, ast.Call) else None
            if isinstance(function, ast.Attribute) and function.attr == "pop" and base(function) in live:
                return True  # what is read from the list later depends on it
            for t in targets:
                if isinstance(t, ast.Name) and isinstance(s, ast.Assign):
                    if t.id in live:
                        return True
                elif isinstance(t, ast.Tuple):
                    if any(isinstance(n, ast.Name) and n.id in live for n in ast.walk(t)):
                        return True
                else:
                    b = base(t) or ""
                    if b not in components:
                        components[b] = component(b)
                    if components[b] & live:
                        return True
            return False
        if isinstance(s, ast.Expr):  # tape.append(x)
            return base(s.value.func) in live  # type: ignore[attr-defined, operator]
        return not isinstance(s, Comment)

    def mark(statements: list[Any]) -> tuple[bool, bool]:
        """Mark live statements; return whether any is live and whether anything new was marked."""
        any_live = new = False
        for s in statements:
            if isinstance(s, (Comment, ast.Pass)):
                continue
            if isinstance(s, (ast.If, ast.For, ast.While)):
                parts = [mark(p) for p in (s.body, s.orelse)]
                alive = any(p[0] for p in parts)
                new |= any(p[1] for p in parts)
                wanted = loads(s.test) if not isinstance(s, ast.For) else loads(s.iter)
            elif isinstance(s, ast.Break):
                continue
            else:
                alive = is_live(s)
                wanted = loads(s)
                if isinstance(s, ast.AugAssign) and isinstance(s.target, ast.Name):
                    wanted = wanted | {s.target.id}
            if alive:
                any_live = True
                if id(s) not in kept:
                    kept.add(id(s))
                    new = True
                if not wanted <= live:
                    live.update(wanted)
                    new = True
        return any_live, new

    def breaks(s: Any) -> bool:
        return isinstance(s, ast.Break) or (isinstance(s, ast.If) and any(map(breaks, s.body + s.orelse)))

    def mark_breaks(statements: list[Any]) -> bool:
        """Where a loop is kept, keep the tests that end it."""
        new = False
        for s in statements:
            if isinstance(s, (ast.For, ast.While)) and id(s) in kept:
                new |= keep_breaks(s.body)
            for part in (getattr(s, "body", []), getattr(s, "orelse", [])):
                new |= mark_breaks(part)
        return new

    def keep_breaks(statements: list[Any]) -> bool:
        new = False
        for s in statements:
            if isinstance(s, ast.Break) and id(s) not in kept:
                kept.add(id(s))
                new = True
            if isinstance(s, ast.If) and breaks(s):
                if id(s) not in kept:
                    kept.add(id(s))
                    new = True
                if not loads(s.test) <= live:
                    live.update(loads(s.test))
                    new = True
                new |= keep_breaks(s.body) | keep_breaks(s.orelse)
        return new

    while mark(body)[1] | mark_breaks(body):
        pass

    def sweep(statements: list[Any]) -> list[Any]:
        done: list[Any] = []
        for s in statements:
            if isinstance(s, Comment):
                if done and isinstance(done[-1], Comment):
                    done.pop()
                done.append(s)
            elif id(s) in kept:
                if isinstance(s, (ast.If, ast.For, ast.While)):
                    s.body = sweep(s.body)
                    s.orelse = sweep(s.orelse)
                    if not s.body and isinstance(s, ast.If) and s.orelse:
                        s.test, s.body, s.orelse = ast.UnaryOp(ast.Not(), s.test), s.orelse, []
                    s.body = s.body or [ast.Pass()]
                done.append(s)
        if done and isinstance(done[-1], Comment):
            done.pop()
        return done

    return sweep(body)


# ----------------------------------------------------------------------------------------------------- files


class _Unparser(ast._Unparser):  # type: ignore[name-defined]
    def visit_Comment(self, node: Comment) -> None:
        self.fill("# " + node.text)


def function_text(title: str, parameters: list[str], body: list[Any]) -> str:
    """Return the source of a function."""
    arguments = ast.arguments([], [ast.arg(p) for p in parameters], None, [], [], None, [])
    node = ast.FunctionDef(title, arguments, body or [ast.Pass()], [])
    node.decorator_list = []
    if sys.version_info >= (3, 12):
        node.type_params = []  # type: ignore[attr-defined, unused-ignore]
    _fix(node)
    text = _Unparser().visit(node)
    return str(text).strip() + "\n"


def _fix(node: Any) -> None:
    for n in ast.walk(node):
        n.lineno = n.col_offset = 1  # type: ignore[attr-defined]


def module_text(
    title: str, parameters: list[str], body: list[Any], environment: dict[str, Any], note: str
) -> tuple[str, dict[str, Any]]:
    """Return the source of a module that holds the function, and the objects to put into it before it is used."""
    text = function_text(title, parameters, body)
    words = {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}
    lines = [f'"""{note}"""', "", "import math", "", "import numpy as np", ""]
    used = sorted(words & set(kernels.__all__))
    if used:
        lines += [f"from derivable.autodiff.rules.kernels import {', '.join(used)}", ""]
    used = sorted((words & ACTIVATION_NAMES) - set(environment))
    if used:
        lines += [f"from derivable.activations import {', '.join(used)}", ""]
    objects = {}
    for key, what in environment.items():
        if key not in words:
            continue
        if isinstance(what, tuple) and what[0] == "text":
            lines += [f"{key} = {what[1]}", ""]
        elif isinstance(what, tuple) and what[0] == "import":
            lines += [f"from {what[1]} import {what[2]}" + (f" as {key}" if key != what[2] else ""), ""]
        else:
            objects[key] = what
    return "\n".join([*lines, "", text]), objects


@cache
def version() -> str:
    """Return a digest of the transformation itself: a program written by another version is another program."""
    from pathlib import Path

    folder = Path(__file__).parent.parent
    files = sorted([*folder.rglob("*.py"), folder.parent / "activations.py", folder.parent / "elementary.py"])
    return digest(*(f.read_bytes() for f in files))


_modules: dict[str, Any] = {}
_PREFIX = "derivable_generated_"


class _Programs(importlib.abc.MetaPathFinder):
    """Finds the module of a program that an earlier process wrote.

    What Numba stores of a function names the modules of the programs that it calls, and looks for them by name when
    it loads the function in another process.
    """

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if not name.startswith(_PREFIX):
            return None
        file = cache_folder() / "autodiff" / f"{name.removeprefix(_PREFIX)}.py"
        return importlib.util.spec_from_file_location(name, file) if file.exists() else None


sys.meta_path.append(_Programs())


def load(title: str, text: str, objects: dict[str, Any], keys: list[str], plain: bool) -> Any:
    """Write a program to its file, import it, and return the function, compiled unless `plain`."""
    key = digest(version(), text, *keys, *(f"{k}:{id(o)}" for k, o in objects.items() if not keys))
    found = _modules.get(f"{key}{plain}")
    if found is not None and all(getattr(found[1], k, None) is o for k, o in objects.items()):
        return found[0]
    folder = cache_folder() / "autodiff"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{title}_{key}.py"
    if not path.exists() or path.read_text() != text:
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(temporary, path)
    module_name = f"{_PREFIX}{title}_{key}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # Numba's cache and pickles find the function by its module
    spec.loader.exec_module(module)
    module.__dict__.update(objects)
    python = module.__dict__[title]
    function = python if plain else kernel(python)
    _modules[f"{key}{plain}"] = (function, module)
    return function


__all__ += ["Break", "For", "If", "Let", "Raise", "While", "Write", "inner"]
