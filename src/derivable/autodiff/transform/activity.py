"""What the derivative has to deal with: which values share a variable, which memory may be shared, what is active."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from derivable.autodiff.kinds import DerivativeError, Kind, is_float, join
from derivable.autodiff.rules.table import ELEMENTWISE
from derivable.autodiff.transform.program import (
    APPEND,
    For,
    If,
    Let,
    Phi,
    Program,
    Value,
    While,
    Write,
    inner,
    phis_of,
    place,
    uses,
    walk,
)
from derivable.autodiff.transform.read import leaves

__all__ = ["Analysis", "dependent", "is_view", "regular", "same_shape", "shape_of"]


class Analysis:
    """Everything that is known of a program before its derivative is written.

    Attributes:
        members: for each variable (by the representative of its web), the values it holds, in program order.
        kinds: the kind of each variable.
        varied: the variables that depend on the arguments of interest.
        active: those of them that the result depends on.
        writes: all writes to arrays, in program order.
    """

    def __init__(self, program: Program, wrt: list[Value], forward: bool = False) -> None:
        self.program, self.forward = program, forward
        self.statements = list(walk(program.body))
        self.mark_used()
        self.prune(program.body)
        self.statements = list(walk(program.body))
        self.number()
        self.unite()
        self.find_roots()
        self.check_writes()
        self.find_active(wrt)

    def mark_used(self) -> None:
        """Mark the values that the result or an effect depends on."""
        todo = [leaf for leaf in leaves(self.program.result) if isinstance(leaf, Value)]
        for s in self.statements:
            if not isinstance(s, Let):
                todo += uses(s)
            elif s.op == "pop":  # the list is another one after it
                todo.append(s.target)
        loops = [s for s in self.statements if isinstance(s, (For, While))]
        left = {h.target: e.target for s in loops for h in s.heads for e in s.exits if h.target in e.inputs}
        while todo:
            value = todo.pop()
            if value.used:
                continue
            value.used = True
            if value in left and value.kind.ndim:  # the shape that the loop leaves is that of the first cotangent
                todo.append(left[value])
            if isinstance(value.define, Let):
                todo += value.define.args
            elif isinstance(value.define, Phi):
                todo += value.define.inputs

    def prune(self, block: object) -> None:
        """Remove the statements whose results nobody uses."""
        block.statements = [s for s in block.statements if not isinstance(s, Let) or s.target.used]  # type: ignore[attr-defined]
        for s in block.statements:  # type: ignore[attr-defined]
            for part in inner(s):
                self.prune(part)

    def number(self) -> None:
        """Give every statement and every value its place in program order."""
        count = 0

        def visit(block: object) -> None:
            nonlocal count
            for s in block.statements:  # type: ignore[attr-defined]
                count += 1
                s.position = count
                if isinstance(s, Let):
                    s.target.position = count
                if isinstance(s, (For, While)):
                    for phi in s.heads:
                        phi.target.position = count
                        phi.target.block = s.body
                    if isinstance(s, For):
                        s.index.position = count
                for part in inner(s):
                    visit(part)
                count += 1
                s.end = count
                if not isinstance(s, Let):
                    for phi in s.phis if isinstance(s, If) else getattr(s, "exits", []):
                        phi.target.position = count
                        phi.target.block = s.block

        visit(self.program.body)

    def unite(self) -> None:
        """Let all values that meet in a phi share one variable."""
        values: list[Value] = [v for p in self.program.parameters for v in leaves(p) if isinstance(v, Value)]
        for s in self.statements:
            for phi in phis_of(s):
                phi.inputs = [v for v in phi.inputs if v is not None]
                if phi.target.used:
                    values.append(phi.target)
                    for value in phi.inputs:
                        phi.target.unite(value)
            if isinstance(s, Let):
                values.append(s.target)
            if isinstance(s, For):
                values.append(s.index)
        self.members: dict[Value, list[Value]] = {}
        for value in sorted(values, key=lambda v: v.position):
            self.members.setdefault(value.web(), []).append(value)
        self.kinds: dict[Value, Kind] = {}
        for web, members in self.members.items():
            kind = members[0].kind
            for member in members[1:]:
                kind = join(kind, member.kind)
            self.kinds[web] = kind

    def find_roots(self) -> None:
        """Follow views and copies: which allocations each array may refer to."""
        arrays = [v for members in self.members.values() for v in members if v.kind.ndim]
        for fresh, v in enumerate(arrays, 1):
            v.roots = frozenset() if isinstance(v.define, Phi) or is_view(v) else frozenset([fresh])
        changed = True
        lists = [v for members in self.members.values() for v in members if v.kind.stack is not None]
        for v in lists:
            v.roots = frozenset()
        appends = [s for s in self.statements if isinstance(s, Write) and s.pattern == APPEND]
        while changed:
            changed = False
            for s in appends:  # a list may reach its loop through phis: what one of its names gets, all have
                for v in self.members[s.array.web()]:
                    if not s.value.roots <= v.roots:
                        v.roots, changed = v.roots | s.value.roots, True
            for v in arrays:
                if isinstance(v.define, Phi):
                    roots = frozenset().union(*(i.roots for i in v.define.inputs))
                elif is_view(v):
                    roots = v.define.args[0].roots
                else:
                    continue
                if roots != v.roots:
                    v.roots, changed = roots, True

    def check_writes(self) -> None:
        """Refuse writes whose effect on other names cannot be followed."""
        self.writes = [s for s in self.statements if isinstance(s, Write) and s.pattern != APPEND]
        arguments = {r for p in self.program.parameters for v in leaves(p) if isinstance(v, Value) for r in v.roots}
        for w in self.writes:
            if w.array.roots & arguments:
                raise DerivativeError(
                    f"{place(w, self.program)}\nthis writes to an argument of the function that "
                    "is differentiated; "
                    "begin with a copy of it"
                )
            if w.source is not None and w.source.kind.ndim and w.source.roots & w.array.roots and not in_step(w):
                raise DerivativeError(
                    f"{place(w, self.program)}\nthe two slices may overlap, and then NumPy and Numba give different "
                    "results; copy the right-hand side, as in y[1:] += y[:-1].copy()"
                )
        for s in self.statements:
            if not (isinstance(s, Let) and s.target.kind.ndim and is_view(s.target)):
                continue
            read = self.forward and self.same_in_tangents(s.target)
            if self.mirrored(s.target) or self.shape_only(s.target) or read or self.handed_over(s):
                continue
            last = self.last_use(s)
            for w in self.writes:
                if last is not None and not s.position < w.position < last:
                    continue  # the view is read before the memory changes, and made anew after
                carried = any(self.carried_twice(s, loop) for loop in s.block.loops() if loop in w.block.loops())
                if self.changes(w, s, s.target) or (w.array.roots & s.target.roots and carried):
                    remedy = "use .copy() there, or write through one name"
                    if s.op == "pop":
                        remedy = "use forward mode for the outer derivative: hvp, or jvp of grad"
                    raise DerivativeError(
                        f"{place(w, self.program)}\nthis writes to memory that has two names, "
                        f"since\n    {s.line}\n"
                        f"{remedy}"
                    )
        # What is put onto a list may be read from there, too.
        puts = [s for s in self.statements if isinstance(s, Write) and s.pattern == APPEND and s.value.kind.ndim]
        for s in puts if not self.forward else []:
            for w in self.writes:
                if self.changes(w, s, s.value):
                    raise DerivativeError(
                        f"{place(w, self.program)}\nthis writes to memory that is on a list, since\n    {s.line}\n"
                        "use .copy() where it is put onto the list"
                    )

    def changes(self, w: Write, s: Let | Write, array: Value) -> bool:
        """Tell whether a write may change an array after the statement that gave its memory a second name."""
        origin = self.origin(array)
        born = origin.block.loops() if origin.block else []
        again = any(loop not in born for loop in s.block.loops() if loop in w.block.loops())
        return bool(w.array.roots & array.roots) and (
            w.position > s.position or again or isinstance(origin.define, Phi)
        )

    def carried_twice(self, s: Let, loop: Any) -> bool:
        """Tell whether a loop carries both names of an array, that of a view and another, to its next iteration."""
        webs = {head.target.web() for head in loop.heads if head.target.used}
        if s.target.web() not in webs:
            return False
        values = [v for web, members in self.members.items() if web in webs for v in members]
        return any(v.web() is not s.target.web() and v.roots & s.target.roots for v in values)

    def handed_over(self, s: Let) -> bool:
        """Tell whether the name of an array passes to another for good, as where a function returns what it made.

        Then the memory has one name again: nothing that is known by any other is read or written any more, neither
        further on nor in the next iteration of a loop.
        """
        if s.op != "copy":
            return False
        around, results = s.block.loops(), leaves(self.program.result)
        # The array may be handed on; whether that is for good is asked there.
        heirs = self.reached(s.target.web(), lambda copy: (copy.args[0], copy.target))
        heirs -= self.reached(s.args[0].web(), lambda copy: (copy.target, copy.args[0]))
        for v in (v for members in self.members.values() for v in members):
            base = v
            while is_view(base) and base.web() not in heirs:
                base = base.define.args[0]
            if not v.roots & s.target.roots or base.web() in heirs:
                continue
            carried = isinstance(v.define, Phi) and any(v.define in loop.heads for loop in around)
            here = v.block.loops() if v.block else []
            if carried or v in results or any(loop not in here for loop in around):
                return False
            if any(u.position > s.position for u in self.statements if any(x is v for x in uses(u))):
                return False
        return True

    def reached(self, web: Value, ends: Callable[[Let], tuple[Value, Value]]) -> set[Value]:
        """Return the variables that are reached from one along copies, whose `ends` say which way they are followed."""
        copies = [ends(s) for s in self.statements if isinstance(s, Let) and s.op == "copy"]
        found, size = {web}, 0
        while len(found) > size:
            size = len(found)
            found |= {b.web() for a, b in copies if a.web() in found}
        return found

    def last_use(self, s: Let) -> int | None:
        """Return where a view is last read, if it is made and read in one block only; else None."""
        if len(self.members[s.target.web()]) > 1 or s.target in leaves(self.program.result):
            return None
        users = [u for u in self.statements if any(v is s.target for v in uses(u))]
        for u in users:
            if u.block is not s.block or not isinstance(u, (Let, Write)):
                return None
            if (isinstance(u, Let) and is_view(u.target)) or (isinstance(u, Write) and u.array is s.target):
                return None
        return max((u.position for u in users), default=s.position)

    def shape_only(self, value: Value) -> bool:
        """Tell whether nothing of an array is asked but its shape."""
        users = [s for s in self.statements if any(u is value for u in uses(s))]
        plain = all(isinstance(s, Let) and (s.op in ("alloc_like", "shape")) for s in users)
        return plain and len(self.members[value.web()]) == 1 and value not in leaves(self.program.result)

    def origin(self, value: Value) -> Value:
        """Return the allocation, argument or phi that a view leads back to."""
        while is_view(value):
            value = value.define.args[0]
        return value

    def mirrored(self, value: Value) -> bool:
        """Tell whether the derivative of a view can be the same view of the derivative."""
        while is_view(value):
            if len(self.members[value.web()]) > 1:
                return False
            let = value.define
            if let.op == "pop" or (let.op == "array" and not let.info["forms"].mirror):
                return False
            value = let.args[0]
        return len(self.members[value.web()]) == 1

    def same_in_tangents(self, value: Value) -> bool:
        """Tell whether the tangents of two names share memory where the names do, so that writes reach both."""
        while is_view(value):
            if value.define.op == "array" and not value.define.info["forms"].mirror:
                return False
            value = value.define.args[0]
        return True

    def find_active(self, wrt: list[Value]) -> None:
        """Find what depends on the arguments of interest, and what of that the result depends on."""
        varied = {v.web() for v in wrt}
        useful = {v.web() for v in leaves(self.program.result)}
        memory: set[int] = set()

        def close(grow: object) -> None:
            while grow():  # type: ignore[operator]
                pass

        def step(found: set[Value], forward: bool) -> bool:
            before = len(found), len(memory)

            def holds(v: Value) -> bool:
                return v.web() in found or (bool(v.kind.ndim) and bool(v.roots & memory))

            def add(v: Value) -> None:
                if is_float(self.kinds[v.web()]):
                    found.add(v.web())
                    if v.kind.ndim:
                        memory.update(v.roots)

            for v in [m for members in self.members.values() for m in members if m.kind.ndim]:
                if v.web() in found or v.roots & memory:
                    add(v)
            for s in self.statements if forward else reversed(self.statements):
                if isinstance(s, Let):
                    arguments = [a for a, d in zip(s.args, dependent(s), strict=True) if d and is_float(a.kind)]
                    if forward and any(holds(a) for a in arguments):
                        add(s.target)
                    if not forward and holds(s.target):
                        for a in arguments:
                            add(a)
                elif isinstance(s, Write):
                    if forward and holds(s.value):
                        add(s.array)
                    if not forward and holds(s.array):
                        add(s.value)
            return (len(found), len(memory)) != before

        close(lambda: step(varied, True))
        memory = set()
        close(lambda: step(useful, False))
        self.varied, self.active = varied, varied & useful

    def is_active(self, value: Value) -> bool:
        """Tell whether a value has a derivative that matters."""
        return (value.const is None and value.web() in self.active) or (value.const is not None and False)


def is_view(value: Value) -> bool:
    """Tell whether an array is another name for memory that it did not allocate."""
    let = value.define
    if not isinstance(let, Let) or not value.kind.ndim:
        return False
    if let.op == "getitem":
        return not let.info["fancy"]
    return let.op in ("copy", "pop") or (let.op == "array" and let.info["forms"].view)


def in_step(w: Write) -> bool:
    """Tell whether an operator like `+=` surely reads each element before it changes it, and none after.

    So it is where both sides are the same part of one array, or rows of it, which are the same or apart.
    """
    if any(tag in "am" for tag, *_ in w.pattern):
        return True  # what arrays pick is a copy, to which the operator is applied
    (array, left), (source, right) = path(w.array, (w.pattern, w.index)), path(w.source)
    return left == right and (array is source or (is_whole(array) and is_whole(source)))


def path(value: Value | None, last: Any = None) -> tuple[Any, list[Any]]:
    """Return the array of which a value is a part, and how it is picked; integers count as equal."""
    steps = [last] if last else []
    while value is not None and is_view(value) and value.define.op in ("copy", "getitem"):
        let = value.define
        if let.op == "getitem":
            steps.append((let.info["pattern"], let.args[1:]))
        value = let.args[0]
    picked = []
    for pattern, index in reversed(steps):
        rest, parts = iter(index), []
        for tag, *which in pattern:
            given = [next(rest) for known in which if known]
            if tag == "i":
                next(rest)
            parts.append((tag, *which, *(v if v.const is None else v.const for v in given)))
        while parts and parts[-1] in (("e",), ("s", False, False, False)):
            parts.pop()
        picked += [parts] if parts else []
    return value, picked


def is_whole(value: Value, seen: tuple[Value, ...] = ()) -> bool:
    """Tell whether a value is all of the memory that it lies in, on every path."""
    if isinstance(value.define, Phi):
        return value in seen or all(is_whole(v, (*seen, value)) for v in value.define.inputs)
    if isinstance(value.define, Let) and value.define.op == "copy":
        return is_whole(value.define.args[0], seen)
    return not is_view(value)


def dependent(let: Let) -> list[bool]:
    """Tell, for each argument of a statement, whether the derivative of the target depends on it."""
    if let.op in ELEMENTWISE:
        partials = ELEMENTWISE[let.op].partials
        return [k < len(partials) and partials[k] is not None for k in range(len(let.args))]
    if let.op == "array":
        forms = let.info["forms"]
        if forms.joint:
            return [True] * len(let.args)
        return [r is not None for r in forms.reverse]
    if let.op == "alloc":
        return [k == let.info["sizes"] and let.info["fill"] == "full" for k in range(len(let.args))]
    if let.op == "alloc_like":
        return [k == 1 for k in range(len(let.args))]
    return [k == 0 and let.op in ("copy", "getitem", "pop") for k in range(len(let.args))]


def regular(op: str, k: int, let: Let) -> bool:
    """Tell whether a partial needs no edge, because of what is known of the arguments."""
    if op == "**":  # for exponents of at least 1 the slope does not vanish at infinity
        second = let.args[1].const
        return k == 1 or (second is not None and (second >= 1 or second == 0))
    if op == "/":  # by a number; or of one so small that the quotient is 0 where the denominator overflows
        first, second = (a.const for a in let.args)
        return second is not None or (first is not None and abs(first) < 1e150)
    return False


def same_shape(a: Value, b: Value) -> bool:
    """Tell whether two arrays are known to have the same shape."""
    return shape_of(a) is shape_of(b)


def shape_of(v: Value) -> Value:
    """Return a token: equal tokens mean equal shapes."""
    let = v.define
    if isinstance(let, Let):
        if let.op in ("copy", "alloc_like") or (let.op == "array" and let.info["name"] in ("copy", "astype")):
            return shape_of(let.args[0])
        if let.op in ELEMENTWISE:
            tokens = {shape_of(a) for a in let.args if a.kind.ndim}
            if len(tokens) == 1:
                return tokens.pop()
    return v
