"""Write the reverse pass: the program forwards, recording what is needed, and then its statements backwards.

Each variable `x` that matters has a cotangent `x_bar`. What a backward statement needs of the forward pass is, in this
order of preference: still in its variable; computed again from what is at hand, where that is cheap; or recorded on
the way, in a local variable outside of loops and on a tape within. Old values of overwritten elements are recorded
where a later backward statement reads the array.

A cotangent may have a guard: a condition without which it is zero because nothing used the value, as behind `np.where`.
Where it is multiplied by a partial derivative, that is picked by the guard, for 0 * inf would be NaN.

The pass is written several times: the first times are rehearsals that find out what is needed.
"""

from __future__ import annotations

import ast
from typing import Any

from derivable.autodiff.kinds import DerivativeError, Kind, is_float
from derivable.autodiff.rules.array import REFUSE, Spread
from derivable.autodiff.rules.table import ELEMENTWISE, SELECTORS
from derivable.autodiff.transform.activity import Analysis, dependent, is_view, regular, same_shape, shape_of
from derivable.autodiff.transform.emit import (
    Comment,
    Names,
    Primal,
    assign,
    augment,
    borrowed,
    element_node,
    index_node,
    letters,
    literal,
    name,
    negative,
    number_of,
    passed_on,
    primal_node,
    product,
    template,
)
from derivable.autodiff.transform.guards import Guard, condition, negation, written
from derivable.autodiff.transform.light import (
    AXES,
    in_a_row,
    is_heavy,
    is_quotient_in_a_row,
    row,
    shaped,
    single,
    wide_guard,
)
from derivable.autodiff.transform.program import (
    APPEND,
    Block,
    Break,
    For,
    If,
    Let,
    Phi,
    Program,
    Raise,
    Value,
    While,
    Write,
    place,
    uses,
)
from derivable.autodiff.transform.read import leaves

__all__ = ["Reverse"]

CHEAP = {"+", "-", "*", "neg", "pos", "<", "<=", ">", ">=", "==", "!=", "and", "or", "not", "copy", "shape", "getitem"}
CHEAP |= {"abs", "maximum", "minimum", "float", "square", "stop", "//", "%", "const", "global", "&", "|", "^"}


def nonzero(node: Any) -> bool:
    """Tell whether an expression is a number other than zero: a constant, or a constant over a size."""
    if isinstance(node, ast.Call) and len(node.args) == 1:  # np.float32(...)
        node = node.args[0]
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Attribute):
        node = node.left
    return bool(number_of(node))


def is_square(s: Let) -> bool:
    """Tell whether a product is one value times itself; of float32 arrays a number would make float64."""
    return s.op == "*" and s.args[0] is s.args[1] and not (s.target.kind.ndim and s.target.kind.dtype == "f4")


class Slot:
    """A place in the program for a statement that may turn out to be needed: setting a cotangent to zero."""

    def __init__(self, block: Block, shape: Value | None) -> None:
        self.block, self.shape = block, shape
        self.nodes: list[Any] = []


class Reverse:
    """The reverse pass of one program."""

    def __init__(self, program: Program, wrt: list[Value], taken: set[str]) -> None:
        self.program, self.wrt = program, wrt
        self.analysis = Analysis(program, wrt)
        for v in wrt:
            if not v.used:
                self.analysis.members.setdefault(v.web(), [v])
                self.analysis.kinds.setdefault(v.web(), v.kind)
        for p in program.parameters:
            for v in leaves(p):
                if isinstance(v, Value):
                    self.analysis.members.setdefault(v.web(), [v])
                    self.analysis.kinds.setdefault(v.web(), v.kind)
        self.names = Names(self.analysis, taken)
        self.active = self.analysis.active
        self.bar_names = {
            web: self.names.new(f"{text}_bar")
            for web, text in self.names.webs.items()
            if web in self.active or web in {v.web() for v in wrt}
        }
        self.needed: dict[Value, None] = {}
        self.touched: set[Value] = set()  # views whose cotangent is used
        self.inplace: set[Value] = set()  # cotangents that are changed in place
        self.contents: set[tuple[frozenset[int], int, tuple[int, ...]]] = set()
        self.olds: dict[Write, Value] = {}
        self.scopes = {web: self.scope(members) for web, members in self.analysis.members.items()}
        self.tape_names: dict[Value, str] = {}
        self.counters: dict[Any, str] = {}
        self.plans: dict[Value, str] = {}
        self.parts: dict[Let, list[str]] = {}
        self.out: list[Any] = []
        self.slots: dict[Value, Slot] = {}  # cotangents that are not set yet
        self.set: set[Value] = set()
        self.numbers: dict[Value, Any] = {}  # cotangents of arrays that are one number
        self.guards: dict[Value, Guard] = {}  # conditions without which a cotangent is zero, for it was not used
        self.changed: set[Value] = set()  # cotangents that were added to or set, in the blocks being written

    # ------------------------------------------------------------------------------------------------ scopes

    def scope(self, members: list[Value]) -> Block:
        """Return the innermost block around everything that refers to a variable."""
        web = members[0].web()
        blocks = [m.block or self.program.body for m in members]
        for m in members:
            if isinstance(m.define, Phi):
                owner = next((s for s in self.analysis.statements if m.define in getattr(s, "heads", [])), None)
                if owner is not None:
                    blocks.append(owner.block)
        for s in self.analysis.statements:
            if any(u.web() is web for u in uses(s)):
                blocks.append(s.block)
        if any(v.web() is web for v in leaves(self.program.result)):
            return self.program.body
        first, *rest = blocks
        common = list(first.ancestors())
        for b in rest:
            others = set(map(id, b.ancestors()))
            common = [c for c in common if id(c) in others]
        return common[0] if common else self.program.body

    # ------------------------------------------------------------------------------------------------- needs

    def need(self, value: Value, position: int | None = None) -> Any:
        """Return the expression, in the backward pass, of a value of the forward pass."""
        if value.const is not None:
            return literal(value.const)
        self.needed[value] = None
        if value.kind.ndim and position is not None:
            self.contents.add((value.roots, position, tuple(id(loop) for loop in self.block.loops())))
        plan = self.plan(value)
        if plan == "recompute":
            for a in value.define.args:
                self.need(a)
        if plan == "carry":
            self.need(self.carried(value)[0])  # type: ignore[index]
        if plan in ("name", "index"):
            return name(self.names.webs[value.web()])
        return name(value.text)

    def plan(self, value: Value) -> str:
        """Decide how the backward pass gets at a value: name, save, index, recompute or tape."""
        if value not in self.plans:
            self.plans[value] = "tape"  # while deciding
            self.plans[value] = self.decide(value)
        return self.plans[value]

    def decide(self, value: Value) -> str:
        if isinstance(value.define, For):
            return "index"
        if value.define in ("trips", "old"):
            return "tape" if value.block.loops() else "name"
        block = value.block or self.program.body
        if not block.loops():
            members = self.analysis.members[value.web()]
            later = any(not isinstance(m.define, Phi) and m.position > value.position for m in members)
            return "save" if later else "name"
        if self.cheap(value) and all(self.at_hand(a) for a in value.define.args):
            return "recompute"
        return "carry" if self.carried(value) else "tape"

    def carried(self, value: Value) -> tuple[Value, Value] | None:
        """Tell whether an iteration hands a value on to the next: what the next found is what this one left.

        Returns:
            The value at the start of an iteration and the value after the loop, or None.
        """
        loop = value.block.owner if value.block else None
        if not isinstance(loop, (For, While)) or value.block is not loop.body or loop.breaks:
            return None
        if not isinstance(value.define, Let):
            return None
        for head in loop.heads:
            for end in loop.exits:
                if head.inputs[1:] == [value] and end.inputs == [head.target] and head.target.used and end.target.used:
                    return head.target, end.target
        return None

    def cheap(self, value: Value) -> bool:
        """Tell whether computing a value again costs less than recording it, and gives the same."""
        let = value.define
        if not isinstance(let, Let):
            return False
        if value.kind.ndim:
            return (is_view(value) and let.op != "pop") or let.op == "global"
        if let.op == "**":
            return let.args[1].const in (2, 3)
        if let.op == "/":
            return let.args[1].const is not None or value.kind.dtype == "i"
        if let.op not in CHEAP or (any(a.kind.ndim for a in let.args) and let.op not in ("getitem", "shape")):
            return False
        if let.op == "getitem":
            block = value.block
            return not any(
                w.array.roots & let.args[0].roots and w.position > let.position and block in w.block.ancestors()
                for w in self.analysis.writes
            )
        return True

    def at_hand(self, value: Value) -> bool:
        if value.const is not None or not (value.block or self.program.body).loops():
            return True
        if isinstance(value.define, For):
            return True
        if value in self.known:
            return True
        return self.cheap(value) and all(self.at_hand(a) for a in value.define.args)

    # -------------------------------------------------------------------------------------------- cotangents

    def is_active(self, value: Value) -> bool:
        return value.const is None and value.web() in self.active

    def bar(self, value: Value) -> Any:
        return name(self.bar_names[value.web()])

    def is_mirror(self, value: Value) -> bool:
        """Tell whether a cotangent is a view of the cotangent of another array."""
        return bool(value.kind.ndim) and is_view(value) and self.analysis.mirrored(value)

    def zeros(self, web: Value, shape: Value | None) -> Any:
        if self.analysis.kinds[web].stack is not None:
            return ast.List([], ast.Load())
        if not self.analysis.kinds[web].ndim:
            return ast.Constant(0.0)
        members = self.analysis.members[web]
        around = {id(b) for b in self.block.ancestors()}
        value = shape or next((m for m in reversed(members) if id(m.block or self.program.body) in around), members[-1])
        let = value.define
        if isinstance(let, Let) and let.op == "alloc" and all(a.const is not None or self.at_hand(a) for a in let.args):
            info = dict(let.info) | {"fill": "zeros"}
            sizes = [self.need(a) for a in let.args[: let.info["sizes"]]]
            extra = [self.need(let.args[-1])] if let.info["like"] else []
            if let.info["dtype"] in ("np.int64", "np.bool_"):
                info["dtype"] = "np.float64"
            return primal_node(Let(value, "alloc", [], info), sizes + extra, False)
        like = self.need(value)
        # Numba compiles np.zeros in two thirds of the time of np.zeros_like.
        return template("np.zeros_like(x)" if value.kind.dtype == "f4" else "np.zeros(x.shape)", {"x": like})

    def materialise(self, web: Value) -> None:
        """Set a cotangent to zero at the place where it becomes known, since it is used within a block."""
        slot = self.slots.pop(web, None)
        if slot is None:
            return
        self.set.add(web)
        outer, self.block = self.block, slot.block  # type: ignore[has-type]
        zeros = self.zeros(web, slot.shape)
        self.block = outer
        if web in self.outputs:
            slot.nodes = [assign(self.whole(web), ast.Constant(0.0))]
        else:
            slot.nodes = [assign(self.bar_names[web], zeros)]

    def whole(self, web: Value) -> Any:
        parts: list[Any] = [ast.Slice()] * self.analysis.kinds[web].ndim
        return ast.Subscript(
            name(self.bar_names[web]), parts[0] if len(parts) == 1 else ast.Tuple(parts, ast.Load()), ast.Store()
        )

    def ready(self, value: Value) -> bool:
        """Tell whether a cotangent may be other than zero here, and see to it that it can be read."""
        web = value.web()
        if self.is_mirror(value):
            self.touched.add(value)
            return True
        if web in self.set:
            return True
        slot = self.slots.get(web)
        if slot is None:
            return False
        between = [b for b in self.block.ancestors() if slot.block in b.ancestors() and b is not slot.block]
        if any(isinstance(b.owner, (For, While)) for b in between):
            self.materialise(web)
            return True
        return False

    def buffer(self, value: Value) -> Any:
        """Return a cotangent array that exists and can be changed in place."""
        self.spoil(value)
        if self.is_mirror(value):
            self.touched.add(value)
            base = value
            while is_view(base):
                base = base.define.args[0]
            self.inplace.add(base.web())
        else:
            self.materialise(value.web())
        self.inplace.add(value.web())
        return self.bar(value)

    def spoil(self, value: Value) -> None:
        """Forget the guard of a cotangent, and of that which it is a view of."""
        while True:
            self.changed.add(value.web())
            self.guards.pop(value.web(), None)
            if not self.is_mirror(value):
                return
            value = value.define.args[0]

    def add(self, value: Value, node: Any, guard: Guard | None = None) -> None:
        """Add to a cotangent; without the guard, what is added is zero."""
        if not self.is_active(value):
            return
        web = value.web()
        array = bool(self.analysis.kinds[web].ndim)
        spread = isinstance(node, tuple)
        expression = node[1] if spread else node
        if self.is_mirror(value):
            self.out.append(augment(self.buffer(value).id, "+", expression))
            return
        self.changed.add(web)
        slot = self.slots.get(web)
        if slot is not None and slot.block is self.block:
            del self.slots[web]
            self.set.add(web)
            if guard is not None:
                self.guards[web] = guard
            if web in self.outputs:
                self.out.append(assign(self.whole(web), expression))
                return
            if array and spread:
                if web not in self.inplace and self.takes_number(value):
                    single = self.analysis.kinds[web].dtype == "f4"
                    number = template("np.float32(g)", {"g": expression}) if single else expression
                    self.numbers[web] = number  # for the whole array
                    self.out.append(assign(self.bar_names[web], number))
                    return
                outer = self.zeros(web, slot.shape)
                self.out.append(assign(self.bar_names[web], outer))
                self.out.append(augment(self.bar_names[web], "+", expression))
                return
            if array and (
                self.aliases(expression, value) or (web in self.inplace and is_quotient_in_a_row(expression))
            ):
                expression = template("x.copy()", {"x": expression})
            if not array and len(self.analysis.members[web]) == 1 and web not in self.inplace and nonzero(expression):
                self.numbers[web] = expression
            self.out.append(assign(self.bar_names[web], expression))
            return
        before = self.guards.pop(web, None)
        if before is not None and guard is not None:
            self.guards[web] = before.combine(guard, False)
        self.materialise(web)
        self.inplace.add(web)
        self.out.append(augment(self.bar_names[web], "+", expression))

    def takes_number(self, value: Value) -> bool:
        """Tell whether a cotangent that is the same number everywhere may stay a number.

        It may where it is only multiplied by arrays of the full shape: then NumPy's broadcasting spreads it.
        """
        let = value.define
        if len(self.analysis.members[value.web()]) > 1 or not isinstance(let, Let) or let.op not in ELEMENTWISE:
            return False
        rule, shape = ELEMENTWISE[let.op], shape_of(value)
        if let.op in SELECTORS:
            return False
        whole = {letter for letter, a in letters(let, let.args).items() if a.kind.ndim and shape_of(a) == shape}
        for partial, a in zip(rule.partials, let.args, strict=False):
            if partial is None or not self.is_active(a):
                continue
            words = {n.id for n in ast.walk(ast.parse(partial)) if isinstance(n, ast.Name)}
            if shape_of(a) != shape or not words & (whole | {"z"}):
                return False
        return True

    def aliases(self, node: Any, value: Value) -> bool:
        """Tell whether the expression is the memory of another array that is changed in place, or that others see."""
        inner = passed_on(node)
        if isinstance(inner, ast.Name) and value.web() not in self.inplace and value not in self.wrt:
            web = next((w for w, text in self.bar_names.items() if text == inner.id), None)
            if web is not None and web not in self.inplace and web not in self.outputs:
                return False
        return borrowed(node)

    def kill(self, web: Value, target: Value) -> None:
        """The variable is overwritten here: before, its cotangent is zero again."""
        earlier = [m for m in self.analysis.members[web] if m.position < target.position or m.block is not target.block]
        if not earlier:
            return
        around = set(map(id, self.block.ancestors()))
        before = [
            m
            for m in self.analysis.members[web]
            if m.position < target.position and id(m.block or self.program.body) in around
        ]
        slot = Slot(self.block, before[-1] if before else None)
        self.out.append(slot)
        self.changed.add(web)
        self.guards.pop(web, None)
        self.set.discard(web)
        self.slots[web] = slot

    # ------------------------------------------------------------------------------------------------ blocks

    def backward(self, block: Block) -> list[Any]:
        """Return the backward statements of a block."""
        outer_out, outer_block, self.out, self.block = self.out, getattr(self, "block", None), [], block
        known = set(self.slots) | self.set
        prelude: list[Any] = []
        self.out.append(prelude)
        for web, scope in self.scopes.items():
            if scope is block and web in self.active and not self.is_mirror(self.analysis.members[web][0]):
                slot = Slot(block, None)
                self.out.append(slot)
                self.slots[web] = slot
        mirrors: list[Any] = []
        self.out.append(mirrors)
        for s in block.statements:  # a view of a cotangent needs that to exist from the start
            if isinstance(s, Let) and s.target in self.touched and self.is_mirror(s.target):
                self.buffer(s.args[0])
        if block is self.program.body:
            self.seed()
        for s in reversed(block.statements):
            mark = len(self.out)
            self.statement(s)
            if len(self.out) > mark and not isinstance(s, (If, For, While)):
                self.out.insert(mark, Comment(s.line))
        for web, slot in list(self.slots.items()):
            if slot.block is block and self.scopes[web] is not block:
                self.materialise(web)
        if block is not self.program.body:
            self.slots = {w: s for w, s in self.slots.items() if w in known}
            self.set &= known
        prelude += self.restore(block)
        out, self.out = self.out, mirrors
        for s in block.statements:
            if isinstance(s, Let) and s.target in self.touched and self.is_mirror(s.target):
                base = s.args[0]
                self.out.append(
                    assign(
                        self.bar_names[s.target.web()],
                        primal_node(s, [self.buffer(base), *(self.need(a) for a in s.args[1:])], False),
                    )
                )
        flat: list[Any] = []
        for node in out:
            if isinstance(node, Slot):
                flat += node.nodes
            elif isinstance(node, list):
                flat += node
            else:
                flat.append(node)
        self.out, self.block = outer_out, outer_block  # type: ignore[assignment]
        return flat

    def restore(self, block: Block) -> list[Any]:
        """Return the statements that bring back the recorded and recomputed values of a block."""
        nodes: list[Any] = []
        values = [v for v in list(self.needed) if (v.block or self.program.body) is block]
        for v in values:
            if self.plan(v) == "tape":
                nodes.append(assign(v.text, self.tape_read(v)))
        for v in sorted(values, key=lambda v: v.position):
            if self.plan(v) == "recompute":
                let = v.define
                if let.op == "getitem":
                    self.contents.add(
                        (let.args[0].roots, let.block.statements[-1].end + 1, tuple(id(b) for b in block.loops()))
                    )
                as_float = self.analysis.kinds[v.web()].dtype[0] == "f"
                nodes.append(assign(v.text, primal_node(let, [self.need(a) for a in let.args], as_float)))
        return nodes

    def statement(self, s: Any) -> None:
        if isinstance(s, Let):
            self.let(s)
        elif isinstance(s, Write):
            self.write(s)
        elif isinstance(s, If):
            self.branch(s)
        elif isinstance(s, (For, While)):
            self.loop(s)

    def within(self, block: Block, guards: dict[Value, Guard]) -> tuple[list[Any], set[Value]]:
        """Write a block, and return with it the cotangents that it changes."""
        outer_guards, outer_changed = self.guards, self.changed
        self.guards, self.changed = dict(guards), set()
        nodes, changed = self.backward(block), self.changed
        self.guards, self.changed = outer_guards, outer_changed | changed
        return nodes, changed

    def branch(self, s: If) -> None:
        # Nothing has used these values yet; of what lives longer than an iteration, a later one may have.
        around = list(map(id, self.block.loops()))
        unset = {web for web, slot in self.slots.items() if list(map(id, slot.block.loops())) == around}
        then, by_then = self.within(s.then, self.guards)
        orelse, by_orelse = self.within(s.orelse, self.guards)
        if then or orelse:
            self.out.append(ast.If(self.need(s.test), then or [ast.Pass()], orelse))
        for web in by_then | by_orelse:
            self.guards.pop(web, None)
            if web in unset and web in self.set and not (web in by_then and web in by_orelse):
                self.guards[web] = self.taken(s, web in by_then)  # the value is used in this branch alone

    def taken(self, s: If, first: bool) -> Guard:
        """Return the condition that the first branch is taken, or that the second is."""
        return Guard(lambda: self.need(s.test) if first else negation(self.need(s.test)), False)

    def loop(self, s: Any) -> None:
        body, changed = self.within(s.body, {})
        for web in changed:
            self.guards.pop(web, None)
        if not body:
            return
        for v in [v for v in self.needed if v.block is s.body and self.plan(v) == "carry"]:
            start, end = self.carried(v)  # type: ignore[misc]
            self.out.append(assign(v.text, self.need(end)))
            body = [*body, assign(v.text, self.need(start))]
        counter = self.counters.get(s)
        if counter is not None:
            body = [*body, augment(counter, "-", ast.Constant(1))]
        if isinstance(s, While):
            header = template("range(n)", {"n": self.need(self.trips(s))})
            target: Any = ast.Name("_", ast.Store())
        else:
            target = ast.Name(self.names.webs[s.index.web()], ast.Store())
            start, step = self.need(s.start), self.need(s.step)
            if s.breaks:
                n = self.need(self.trips(s))
                header = template("range(a + (n - 1) * s, a - s, 0 - s)", {"a": start, "s": step, "n": n})
            elif number_of(step) == 1:
                header = template("range(b - 1, a - 1, -1)", {"a": start, "b": self.need(s.stop)})
            elif number_of(step) == -1:
                header = template("range(b + 1, a + 1)", {"a": start, "b": self.need(s.stop)})
            else:
                given = {"a": start, "b": self.need(s.stop), "s": step}
                header = template("range(a + (len(range(a, b, s)) - 1) * s, a - s, 0 - s)", given)
        self.out.append(Comment(s.line))
        self.out.append(ast.For(target, header, body, []))

    def trips(self, s: Any) -> Value:
        """Return the value that counts the iterations of a loop."""
        if s.trips is None:
            s.trips = Value(Kind("i"), define="trips", block=s.block, position=s.end)
            s.trips.text = self.names.new("trips")
            self.names.webs[s.trips] = s.trips.text
            self.analysis.members[s.trips] = [s.trips]
        return s.trips

    def write(self, s: Write) -> None:
        if s.pattern == APPEND:  # what was put onto the list was taken from it, and its cotangent put onto the list's
            if self.is_active(s.array) and self.ready(s.array) and self.is_active(s.value):
                # Below an entry that was never popped there is none that was: then nothing is left here.
                none = "np.zeros_like(v)" if s.value.kind.ndim else "0.0"
                given = {"x": self.bar(s.array), "v": lambda: self.need(s.value)}
                self.add(s.value, template(f"x.pop() if len(x) > 0 else {none}", given))
            return
        if self.is_active(s.array) and self.ready(s.array):
            bar = self.buffer(s.array)
            index = [self.need(i) for i in s.index]
            element = element_node(bar, s.pattern, index)
            ndim = self.element_ndim(s)
            clear = assign(ast.Subscript(bar, index_node(s.pattern, index), ast.Store()), ast.Constant(0.0))
            if self.is_active(s.value):
                if s.pattern[:1] == (("a",),):  # where the index repeats itself, the last one was written
                    given = {"g": element, "i": index[0], "x": self.need(s.array)}
                    element = template("latest(g, i, x)", given)
                if not s.aug and ndim and s.value.kind.ndim and s.value.roots & s.array.roots:
                    taken = self.names.new("element_bar")  # what is added may go to the places that are cleared
                    copied = element if s.pattern[:1] == (("a",),) else template("g.copy()", {"g": element})
                    self.out += [assign(taken, copied), clear]
                    self.add(s.value, self.unbroadcast(name(taken), ndim, s.value))
                    clear = None
                elif ndim and s.value.kind.ndim:
                    node = self.unbroadcast(template("g.copy()", {"g": element}), ndim, s.value)
                elif ndim:
                    node = template("np.sum(g)", {"g": element})
                else:
                    node = element
                if clear is not None:
                    self.add(s.value, negative(node) if s.aug == "-" else node)
            if not s.aug and clear is not None:
                self.out.append(clear)
        if self.must_restore(s):
            old = self.old(s)
            index = [self.need(i) for i in s.index]
            target = ast.Subscript(self.need(s.array), index_node(s.pattern, index), ast.Store())
            self.out.append(assign(target, self.need(old)))

    def element_ndim(self, s: Write) -> int:
        ndim = s.array.kind.ndim
        for tag, *_ in s.pattern:
            ndim += {"i": -1, "n": 1}.get(tag, 0)
        if any(tag in "am" for tag, *_ in s.pattern):
            fancy = next(i for i, (tag, *_) in zip(s.index, s.pattern, strict=False) if True)
            ndim = ndim - fancy.kind.ndim + 1 if s.pattern[0][0] == "m" else ndim
        return ndim

    def must_restore(self, s: Write) -> bool:
        loops = {id(loop) for loop in s.block.loops()}
        return any(
            roots & s.array.roots and (at < s.position or loops & set(around)) for roots, at, around in self.contents
        )

    def is_restored(self, value: Value) -> bool:
        """Tell whether the backward pass brings back earlier contents of an array's memory."""
        writes = self.analysis.writes if value.kind.ndim else []
        return any(w.array.roots & value.roots and self.must_restore(w) for w in writes)

    def old(self, s: Write) -> Value:
        if s not in self.olds:
            ndim = self.element_ndim(s)
            old = Value(Kind(s.array.kind.dtype, ndim), define="old", block=s.block, position=s.position)
            old.text = self.names.new("old")
            self.names.webs[old] = old.text
            self.analysis.members[old] = [old]
            self.olds[s] = old
        return self.olds[s]

    # -------------------------------------------------------------------------------------------- statements

    def let(self, s: Let) -> None:
        target, web = s.target, s.target.web()
        if target.const is not None and web in self.active:
            if len(self.analysis.members[web]) > 1 and self.ready(target):
                self.kill(web, target)
            return
        if web not in self.active:
            return
        if self.is_mirror(target):
            return  # its cotangent is a view: what was added to it is where it belongs
        if s.op == "pop" and self.is_active(s.args[0]):
            self.materialise(s.args[0].web())
            self.materialise(web)
            self.out.append(ast.Expr(template("x.append(v)", {"x": self.bar(s.args[0]), "v": self.bar(target)})))
            self.changed |= {web, s.args[0].web()}
            if len(self.analysis.members[web]) > 1:
                self.kill(web, target)
            return
        if not self.ready(target):
            return
        g = self.bar(target)
        if isinstance(self.numbers.get(web), ast.Constant):
            g = self.numbers[web]
        own: list[Any] = []
        others: list[tuple[Value, Any, Guard | None]] = []
        if is_float(target.kind):
            for argument, node, guard in self.contributions(s, g):
                if argument.web() is web:
                    own.append(self.widened(node, argument))
                elif self.is_active(argument):
                    others.append((argument, node, guard))
        for argument, node, guard in others:
            self.add(argument, node, guard)
        if len(self.analysis.members[web]) == 1:
            return
        if len(own) == 1 and isinstance(own[0], ast.Name) and own[0].id == self.bar_names[web]:
            return  # x = x + ...: the cotangent stays what it is
        if own:
            total = own[0]
            for node in own[1:]:
                total = ast.BinOp(total, ast.Add(), node)
            self.out.append(assign(self.bar_names[web], total))
            self.changed.add(web)
            self.guards.pop(web, None)
        else:
            self.kill(web, target)

    def widened(self, node: Any, argument: Value) -> Any:
        """Return a cotangent that counts for each element as an array of the argument's shape."""
        if not isinstance(node, tuple):
            return node
        return ast.BinOp(self.zeros(argument.web(), argument), ast.Add(), node[1])

    def contributions(self, s: Let, g: Any) -> list[tuple[Value, Any, Guard | None]]:
        """Return what each argument's cotangent gains from the target's, as (argument, expression, its guard)."""
        op, z = s.op, s.target
        wanted = [d and self.is_active(a) for a, d in zip(s.args, dependent(s), strict=True)]
        if not any(wanted):
            return []
        outer = self.guards.get(z.web())
        if op == "copy":
            return [(s.args[0], g, outer)]
        if op == "stop":
            return []
        if op == "getitem":
            return self.gather(s, g)
        if op in ("alloc", "alloc_like"):
            k = wanted.index(True)
            return [(s.args[k], template("np.sum(g)", {"g": g}), None)]
        given: dict[str, Any] = {"g": g, "z": lambda: self.need(z, s.position)}
        given |= {k: (lambda a=a: self.need(a, s.position)) for k, a in letters(s, s.args).items()}
        found: list[tuple[Value, Any, Guard | None]] = []
        if op == "array":
            forms = s.info["forms"]
            for key, what in forms.objects.items():
                self.program.environment[key] = what
            if forms.joint == "not_known()":
                raise DerivativeError(
                    f"{place(s, self.program)}\n{s.info['name']} has a custom pushforward but no "
                    "pullback, which reverse mode needs; give it one"
                )
            if forms.joint:
                parts = self.parts.setdefault(s, []) or [self.names.new("part") for _ in s.args]
                self.parts[s] = parts
                target = ast.Tuple([ast.Name(p, ast.Store()) for p in parts], ast.Store())
                self.out.append(ast.Assign([target], template(forms.joint, given)))
                return [(a, name(p), None) for a, p, w in zip(s.args, parts, wanted, strict=True) if w]
            for a, text, w in zip(s.args, forms.reverse, wanted, strict=True):
                if not w or text is None:
                    continue
                if text == REFUSE:
                    raise DerivativeError(
                        f"{place(s, self.program)}\nnp.{s.info['name']} has no derivative with "
                        "respect to its arguments here; compute its entries by a loop"
                    )
                node = template(text, given, arrays=True)
                used = outer if isinstance(text, Spread) and outer is not None and not outer.array else None
                if forms.used and not written(s.args, self.analysis):
                    test = Guard(lambda: template(forms.used, given, arrays=True), True)
                    used = test if outer is None else outer.combine(test, True)
                found.append((a, ("spread", node) if isinstance(text, Spread) and a.kind.ndim else node, used))
            return found
        selector = SELECTORS.get(op)
        if is_square(s):
            wanted = [True, False]
        for k, (a, w) in enumerate(zip(s.args, wanted, strict=True)):
            if not w or (node := self.share(s, k, given, outer)) is None:
                continue
            guard = outer
            if selector is not None and not written(s.args, self.analysis):
                own = condition(s, k, given)
                guard = own if outer is None else outer.combine(own, True)
            if z.kind.ndim >= AXES and is_heavy(node, self.array_names()):
                node = self.light_share(s, k, given, outer)
            found.append((a, self.fit(node, a, s), self.narrow(guard, a, s)))
        return found

    def share(self, s: Let, k: int, given: dict[str, Any], guard: Guard | None) -> Any:
        """Return what the cotangent of an elementwise result gives to that of argument k, or None if that is zero."""
        op, z = s.op, s.target
        rule, selector, arrays = ELEMENTWISE[op], SELECTORS.get(op), bool(z.kind.ndim)
        text = "2 * x" if is_square(s) else rule.partials[k] if k < len(rule.partials) else None
        if text is None:
            return None
        if selector is not None:
            node = template(selector.shares[k] or "", given, arrays)
            return single(node) if arrays and z.kind.dtype == "f4" else node
        partial = template(text, given, arrays)
        if number_of(partial) == 0:
            return None
        node = template("g / y * z", given) if op == "/" and k == 1 else product(given["g"], partial)
        node = negative(node) if op == "/" and k == 1 else node
        whole = all(v.kind.dtype[0] in "ib" for v in s.args[1:]) and op == "/"  # a count does not overflow
        if rule.edge is not None and not regular(op, k, s) and not whole:
            node = ast.BinOp(node, ast.Add(), template(rule.edge, given, arrays))
        if guard is not None and number_of(partial) is None:
            node = template("pick(c, g, 0.0)", {"c": guard.make(), "g": node}, arrays)
        return node

    def light_share(self, s: Let, k: int, given: dict[str, Any], guard: Guard | None) -> Any:
        """Return the same, computed on the elements in one row; see `light`."""
        z, g = s.target, given["g"]
        number = z.web() in self.numbers
        shape = self.shape(z) if number else ast.Attribute(g, "shape", ast.Load())
        rows = {"g": g if number else row(g), "z": lambda: row(given["z"]())}
        for letter, position in letters(s, list(range(len(s.args)))).items():
            rows[letter] = lambda p=position, n=letter: in_a_row(s.args, p, given[n], lambda: shape)
        node = self.share(s, k, rows, guard and wide_guard(guard, shape))
        return node if not s.args[k].kind.ndim else shaped(node, shape)

    def array_names(self) -> set[str]:
        """Return the names of arrays, of values and of cotangents."""
        kinds = self.analysis.kinds
        found = {text for web, text in self.names.webs.items() if web in kinds and kinds[web].ndim}
        found |= {text for web, text in self.bar_names.items() if kinds[web].ndim and web not in self.numbers}
        return found | {v.text for v in self.needed if v.kind.ndim}

    def narrow(self, guard: Guard | None, a: Value, s: Let) -> Guard | None:
        """Turn the guard of a result into that of an argument, which may have been broadcast."""
        if guard is None or not guard.array:
            return guard
        if not a.kind.ndim:
            return Guard(lambda: template("np.any(c)", {"c": guard.make()}), False)
        others = [b for b in s.args if b.kind.ndim]
        if len(others) == 1 or all(same_shape(a, b) for b in others):
            return guard
        return Guard(lambda: template("narrow(c, x)", {"c": guard.make(), "x": self.need(a)}), True)

    def fit(self, node: Any, a: Value, s: Let) -> Any:
        """Sum a cotangent over the axes along which the argument was repeated."""
        z = s.target
        if not z.kind.ndim:
            return node
        if not a.kind.ndim:
            return template("np.sum(g)", {"g": node})
        others = [b for b in s.args if b.kind.ndim]
        if len(others) == 1 or all(same_shape(a, b) for b in others):
            return node
        return self.unbroadcast(node, z.kind.ndim, a)

    def unbroadcast(self, node: Any, ndim: int, v: Value) -> Any:
        """Sum a cotangent over the axes along which an array was repeated."""
        case = {(1, 1): "_1", (2, 2): "_2", (2, 1): "_21"}.get((ndim, v.kind.ndim), "")
        return template(f"unbroadcast{case}(g, s)", {"g": node, "s": self.shape(v)})

    def shape(self, v: Value) -> Any:
        """Return the expression of an array's shape, from arrays that need not be recorded where there are such."""
        found = self.extents(v)
        first, _ = found[0]
        if found == [(first, k) for k in range(first.kind.ndim)]:
            return template("x.shape", {"x": self.need(first)})
        return ast.Tuple([template(f"x.shape[{k}]", {"x": self.need(a)}) for a, k in found], ast.Load())

    def extents(self, v: Value) -> list[tuple[Value, int]]:
        """Return, for each axis, an array and the axis of it that is as long."""
        let = v.define
        if isinstance(let, Let) and self.plan(v) == "tape":
            shapes = {shape_of(a) for a in let.args if a.kind.ndim}
            if let.op == "copy" or (let.op in ELEMENTWISE and len(shapes) == 1):
                return self.extents(next(a for a in let.args if a.kind.ndim))
            if let.op == "array" and let.info["name"] == "matmul":
                x, y = (self.extents(a) for a in let.args)
                return x[: len(x) - 1] + y[1:]
            if let.op == "array" and let.info["name"] == "transpose":
                return self.extents(let.args[0])[::-1]
        return [(v, k) for k in range(v.kind.ndim)]

    def gather(self, s: Let, g: Any) -> list[tuple[Value, Any, Guard | None]]:
        """Reverse the reading of an element or a slice: add to the cotangent at the same index."""
        array, index = s.args[0], s.args[1:]
        if s.info["fancy"]:
            text = "scatter(g, i, x)" if s.info["pattern"][0][0] == "a" else "scatter_mask(g, i, x)"
            node = template(text, {"g": g, "i": self.need(index[0], s.position), "x": self.need(array)})
            return [(array, node, None)]
        places = [self.need(i) for i in index]
        if array.web() is s.target.web():  # the part has the name of the whole, and its cotangent that of the whole's
            whole = self.names.new(f"{self.bar_names[array.web()]}_whole")
            self.out.append(assign(whole, template("np.zeros(s)", {"s": self.shape(array)})))
            part = ast.Subscript(name(whole), index_node(s.info["pattern"], places), ast.Store())
            self.out.append(assign(part, g))
            return [(array, name(whole), None)]
        bar = self.buffer(array)
        target = element_node(bar, s.info["pattern"], places)
        target.ctx = ast.Store()
        self.out.append(augment(target, "+", g))
        return []

    # --------------------------------------------------------------------------------------------- the tapes

    def counter(self, loop: Any) -> str:
        if loop not in self.counters:
            self.counters[loop] = self.names.new("k")
        return self.counters[loop]

    def place(self, v: Value) -> Any:
        """Return the expression of the place on its tape where a value is recorded: the loop index, or a counter."""
        around = v.block.loops()
        loop = around[0]
        if len(around) == 1 and isinstance(loop, For) and loop.start.const == 0 and loop.step.const == 1:
            alone = len(self.analysis.members.get(loop.index.web(), [])) == 1
            if alone and self.bound(loop, around) is not None:
                return name(self.names.webs[loop.index.web()])
        return name(self.counter(loop))

    def tape(self, v: Value) -> str:
        if v not in self.tape_names:
            self.tape_names[v] = self.names.new(f"{v.text}_tape")
        return self.tape_names[v]

    def tape_read(self, v: Value) -> Any:
        tape = self.tape(v)
        if v.kind.ndim:
            return template("t.pop()", {"t": name(tape)})
        return template("t[k]", {"t": name(tape), "k": self.place(v)})

    def tape_write(self, v: Value, node: Any) -> Any:
        tape = self.tape(v)
        if v.kind.ndim:
            return ast.Expr(template("t.append(v)", {"t": name(tape), "v": node}))
        return assign(ast.Subscript(name(tape), self.place(v), ast.Store()), node)

    # ---------------------------------------------------------------------------------------- forward sweep

    def forward(self) -> list[Any]:
        """Return the statements of the function itself, with what is recorded on the way."""
        keep = set(self.needed)
        for s in self.analysis.statements:
            if isinstance(s, For):
                keep |= {s.start, s.stop}
        self.primal = Primal(self.analysis, self.names, keep)
        out: list[Any] = []
        self.primal.out = out
        for v in self.needed:
            if v.define == "argument":
                self.record(v)
        self.forward_block(self.program.body)
        self.primal.flush()
        return out

    def record(self, v: Value) -> None:
        """Record a value that has just been computed, if the backward pass needs it to be."""
        if v not in self.needed:
            return
        plan = self.plan(v)
        variable = name(self.names.webs[v.web()])
        if plan == "save":
            self.primal.out.append(assign(v.text, variable))
        elif plan == "tape":
            self.primal.out.append(self.tape_write(v, variable))

    def forward_block(self, block: Block) -> None:
        p = self.primal
        for s in block.statements:
            if isinstance(s, Let):
                p.let(s)
                self.record(s.target)
            elif isinstance(s, Write):
                node = p.write_node(s)
                p.flush(memory=True)
                p.comment(s.line)
                if s in self.olds and self.olds[s] in self.needed:
                    old = self.olds[s]
                    element = element_node(
                        name(self.names.webs[s.array.web()]),
                        s.pattern,
                        [p.read(i) if i.const is not None else name(self.names.webs[i.web()]) for i in s.index],
                    )
                    if old.kind.ndim:
                        element = template("x.copy()", {"x": element})
                    if self.plan(old) == "tape":
                        p.out.append(self.tape_write(old, element))
                    else:
                        p.out.append(assign(old.text, element))
                p.out += node
            elif isinstance(s, If):
                test = p.read(s.test)
                p.flush()
                p.comment(s.line)
                parts = []
                for part in (s.then, s.orelse):
                    outer, p.out = p.out, []
                    line = p.line
                    self.forward_block(part)
                    p.flush()
                    parts.append(p.out)
                    p.out, p.line = outer, line
                if parts[0] or parts[1]:
                    p.out.append(ast.If(test, parts[0] or [ast.Pass()], parts[1]))
                p.line = ""
                for phi in s.phis:
                    self.record(phi.target)
            elif isinstance(s, (For, While)):
                self.forward_loop(s)
            elif isinstance(s, Break):
                p.flush()
                p.out.append(ast.Break())
            elif isinstance(s, Raise):
                p.flush()
                p.out += ast.parse(s.text).body

    def forward_loop(self, s: Any) -> None:
        p = self.primal
        header = None
        if isinstance(s, For):
            args = [p.read(s.start), p.read(s.stop), p.read(s.step)]
            if number_of(args[2]) == 1:
                args = args[1:2] if number_of(args[0]) == 0 else args[:2]
            header = ast.Call(name("range"), args, [])
        p.flush()
        if not s.block.loops():
            self.open_tapes(s)
        if s in self.growing and isinstance(s, For):
            for v in self.growing[s]:
                p.out.append(
                    self.grow(v, template("k + 1 + n", {"k": name(self.counter(s)), "n": self.length(s, forward=True)}))
                )
        counted = s.trips is not None and s.trips in self.needed
        if counted:
            p.out.append(assign(s.trips.text, ast.Constant(0)))
        p.comment(s.line)
        outer, p.out = p.out, []
        if isinstance(s, While):
            self.forward_block(s.head)
            test = p.read(s.test)
            p.flush()
            if p.out:
                p.out.append(ast.If(ast.UnaryOp(ast.Not(), test), [ast.Break()], []))
                test = ast.Constant(True)
        if counted:
            p.out.append(augment(s.trips.text, "+", ast.Constant(1)))
        if s in self.counters:
            p.out.append(augment(self.counters[s], "+", ast.Constant(1)))
            if s in self.growing and isinstance(s, While):
                for v in self.growing[s]:
                    p.out.append(self.grow(v, template("k + 1", {"k": name(self.counters[s])})))
        for phi in s.heads:
            self.record(phi.target)
        p.line = s.line
        self.forward_block(s.body)
        p.flush()
        body, p.out = p.out, outer
        p.line = ""
        if isinstance(s, For):
            p.out.append(
                ast.For(ast.Name(self.names.webs[s.index.web()], ast.Store()), header, body or [ast.Pass()], [])  # type: ignore[arg-type]
            )
        else:
            p.out.append(ast.While(test, body or [ast.Pass()], []))
        if counted:
            self.record(s.trips)
        for phi in s.exits:
            self.record(phi.target)

    def length(self, s: For, forward: bool = False) -> Any:
        """Return the expression of how often a loop runs at most."""

        def read(v: Value) -> Any:
            return literal(v.const) if v.const is not None else name(self.names.webs[v.web()])

        start, stop, step = read(s.start), read(s.stop), s.step.const
        if step == 1:
            if s.start.const == 0:
                if s.stop.const is not None:
                    return literal(max(0, s.stop.const))
                return (
                    stop
                    if isinstance(s.stop.define, Let) and s.stop.define.op == "shape"
                    else template("max(0, n)", {"n": stop})
                )
            return template("max(0, b - a)", {"a": start, "b": stop})
        return template("len(range(a, b, s))", {"a": start, "b": stop, "s": literal(step)})

    def grow(self, v: Value, room: Any) -> Any:
        tape = self.tape(v)
        return assign(tape, template("reserve(t, n)", {"t": name(tape), "n": room}))

    def open_tapes(self, outermost: Any) -> None:
        """Allocate the tapes of a nest of loops, before it: at their full length where that is known."""
        p = self.primal
        for loop, counter in self.counters.items():
            if (loop is outermost) or outermost in loop.block.loops():
                p.out.append(assign(counter, ast.Constant(-1)))
        for v, tape in self.tape_names.items():
            around = v.block.loops()
            if v not in self.needed or around[-1] is not outermost:
                continue
            if v.kind.ndim:
                p.out.append(assign(tape, ast.List([], ast.Load())))
                continue
            size: Any = None
            for loop in reversed(around):
                n = self.bound(loop, around)
                if n is None:
                    size = None
                    break
                size = n if size is None else ast.BinOp(size, ast.Mult(), n)
            if size is None:
                self.growing.setdefault(around[0], []).append(v)
                size = ast.Constant(16)
            dtype = {"i": ", np.int64", "b": ", np.bool_"}.get(v.kind.dtype, "")
            p.out.append(assign(tape, template(f"np.empty(n{dtype})", {"n": size})))

    def bound(self, loop: Any, around: list[Any]) -> Any:
        """Return an expression, valid before a nest of loops, of how often one of them runs at most, or None."""
        if not isinstance(loop, For):
            return None
        outside = all(not isinstance(b.define, Let) or not b.block.loops() for b in (loop.start, loop.stop))
        if outside and all(self.before(b) is not None for b in (loop.start, loop.stop, loop.step)):
            return self.length(loop)
        outer = next((o for o in around if o.body is loop.block), None)
        if outer is None or loop.breaks or loop.step.const != 1:
            return None  # it may run seldom, or not to its end: better let the tape grow
        start, stop = self.before(loop.start), self.before(loop.stop)
        if start is None:  # range(i + 1, n) is no longer than range(n)
            let = loop.start.define
            add = isinstance(let, Let) and let.op == "+" and (let.args[1].const or 0) >= 0
            index = let.args[0] if add and isinstance(let.args[1].const, int) else loop.start
            start = ast.Constant(0) if self.rises(index, around) else None
        if stop is None and self.rises(loop.stop, around) and number_of(start) == 0:  # range(i)
            stop = self.before(loop.stop.define.stop)
        if start is None or stop is None:
            return None
        if number_of(start) == 0:
            shape = isinstance(loop.stop.define, Let) and loop.stop.define.op == "shape"
            return stop if shape else template("max(0, n)", {"n": stop})
        return template("max(0, b - a)", {"a": start, "b": stop})

    def rises(self, v: Value, around: list[Any]) -> bool:
        """Tell whether a value is the index of one of these loops, which counts upwards from 0 or more."""
        loop = v.define
        return (
            isinstance(loop, For)
            and loop in around
            and loop.step.const == 1
            and (loop.start.const is not None and loop.start.const >= 0)
        )

    def before(self, v: Value) -> Any:
        """Return the expression, before a nest of loops, of a bound that is the same throughout, or None."""
        if v.const is not None:
            return literal(v.const)
        if not (v.block or self.program.body).loops():
            return name(self.names.webs[v.web()]) if v.define == "argument" or self.plan_fixed(v) else None
        let = v.define
        if isinstance(let, Let) and let.op == "shape" and not (let.args[0].block or self.program.body).loops():
            array = let.args[0]
            if array.define == "argument" or len(self.analysis.members[array.web()]) == 1:
                return template(f"x.shape[{let.info['axis']}]", {"x": name(self.names.webs[array.web()])})
        if isinstance(let, Let) and let.op in ("+", "-"):
            parts = [self.before(a) for a in let.args]
            if all(p is not None for p in parts):
                return primal_node(let, parts, False)
        return None

    def plan_fixed(self, v: Value) -> bool:
        """Tell whether a variable still holds this value throughout a later nest of loops."""
        return not any(
            not isinstance(m.define, Phi) and m.position > v.position for m in self.analysis.members[v.web()]
        )

    # ------------------------------------------------------------------------------------------ the program

    def seed(self) -> None:
        for leaf, node in self.seeds:
            self.add(leaf, node)

    def write_program(
        self, seeds: list[tuple[Value, Any]], outputs: dict[Value, str]
    ) -> tuple[list[Any], list[Any], dict[Value, Any]]:
        """Write the two sweeps.

        Args:
            seeds: cotangents of the results.
            outputs: for arguments whose cotangent is written into a buffer, the buffer's name.

        Returns:
            The statements of the forward sweep, those of the backward sweep, and for each argument of interest the
            expression of its cotangent.
        """
        self.seeds = seeds
        self.outputs = {v.web() for v in outputs if len(self.analysis.members[v.web()]) == 1 and not self.is_mirror(v)}
        for v, text in outputs.items():
            if v.web() in self.outputs:
                self.bar_names[v.web()] = text
        state: Any = None
        self.known: set[Value] = set()
        while True:
            self.plans.clear()
            self.slots, self.set, self.numbers, self.out = {}, set(), {}, []
            self.guards, self.changed = {}, set()
            self.block = self.program.body
            backward = self.backward(self.program.body)
            now = (len(self.needed), len(self.touched), len(self.inplace), len(self.contents), len(self.olds))
            settled = now == state
            state = now
            self.known = {v for v in self.needed if self.plans.get(v) in ("tape", "carry")}
            if settled:
                break
        self.growing: dict[Any, list[Value]] = {}
        gradients: dict[Value, Any] = {}
        self.block = self.program.body
        for v in self.wrt:
            web = v.web()
            if web in self.set:
                gradients[v] = self.bar(v)
            else:
                if web in self.outputs:
                    backward.append(assign(self.whole(web), ast.Constant(0.0)))
                gradients[v] = (
                    template("np.zeros_like(x)", {"x": name(v.name or "")}) if v.kind.ndim else ast.Constant(0.0)
                )
        forward = self.forward()
        return forward, backward, gradients
