"""Write the forward mode: behind each statement of the function, the same statement for its tangent.

Each variable `x` that matters has a tangent `x_dot`: how fast it changes as the arguments move along the
given direction.
"""

from __future__ import annotations

import ast
from typing import Any

from derivable.autodiff.kinds import DerivativeError, Kind
from derivable.autodiff.rules.array import REFUSE
from derivable.autodiff.rules.table import ELEMENTWISE, SELECTORS
from derivable.autodiff.transform.activity import Analysis, dependent, is_view, regular
from derivable.autodiff.transform.emit import (
    Names,
    Primal,
    assign,
    borrowed,
    index_node,
    letters,
    literal,
    name,
    negative,
    number_of,
    primal_node,
    product,
    template,
)
from derivable.autodiff.transform.guards import Guard, condition, written
from derivable.autodiff.transform.light import AXES, in_a_row, is_heavy, row, shaped, wide_guard
from derivable.autodiff.transform.program import (
    APPEND,
    Block,
    Break,
    For,
    If,
    Let,
    Program,
    Raise,
    Value,
    While,
    Write,
    place,
)
from derivable.autodiff.transform.read import leaves

__all__ = ["Forward"]


class Forward:
    """The program and its tangent, for a direction in the arguments of interest."""

    def __init__(self, program: Program, wrt: list[Value], taken: set[str]) -> None:
        self.program = program
        self.analysis = Analysis(program, wrt, forward=True)
        for p in program.parameters:
            for v in leaves(p):
                if isinstance(v, Value):
                    self.analysis.members.setdefault(v.web(), [v])
                    self.analysis.kinds.setdefault(v.web(), v.kind)
        self.names = Names(self.analysis, taken)
        self.active = self.analysis.active
        self.dots = {
            web: self.names.new(f"{text}_dot")
            for web, text in self.names.webs.items()
            if web in self.active or web in {v.web() for v in wrt}
        }
        # Everything that a tangent may read keeps a variable of its own.
        keep = {
            a
            for s in self.analysis.statements
            if isinstance(s, (Let, Write))
            for a in ([*s.args, s.target] if isinstance(s, Let) else s.index)
        }
        self.keep = {v for v in keep if self.reads_it(v)}
        self.primal = Primal(self.analysis, self.names, self.keep)
        self.guards: dict[Value, Guard] = {}  # conditions without which a tangent is zero, for nothing moves

    def reads_it(self, value: Value) -> bool:
        for s in self.analysis.statements:
            if isinstance(s, Let) and s.target.web() in self.active and (value in s.args or value is s.target):
                return True
            if isinstance(s, Write) and s.array.web() in self.active and (value in s.index or value is s.value):
                return True
        return False

    def read(self, value: Value) -> Any:
        return literal(value.const) if value.const is not None else name(self.names.webs[value.web()])

    def dot(self, value: Value) -> Any:
        """Return the expression of a tangent, or None where it is zero."""
        return name(self.dots[value.web()]) if value.const is None and value.web() in self.active else None

    def still(self, moving: set[Value]) -> list[Any]:
        """Return zero tangents for the arguments whose variable, or memory, comes to hold something that moves."""
        nodes = []
        for v in [v for p in self.program.parameters for v in leaves(p) if isinstance(v, Value)]:
            if v.web() in self.active and v.web() not in moving:
                like = template("np.zeros_like(x)", {"x": name(self.names.webs[v.web()])})
                nodes.append(assign(self.dots[v.web()], like if v.kind.ndim else ast.Constant(0.0)))
        return nodes

    def write_program(self) -> list[Any]:
        """Return the statements of the function and its tangent."""
        self.block(self.program.body)
        self.primal.flush()
        return self.primal.out

    def block(self, block: Block) -> None:
        p = self.primal
        for s in block.statements:
            if isinstance(s, Let):
                if s.target.web() in self.active:
                    p.flush()
                    saved = self.tangent(s)
                    text = self.dots[s.target.web()]
                    if self.after(s):
                        # The tangent reads the output, and perhaps an argument that the output overwrites.
                        if any(a.web() is s.target.web() for a in s.args):
                            temporary = self.names.new("t")
                            p.comment(s.line)
                            p.out.append(assign(temporary, primal_node(s, [p.read(a) for a in s.args], True)))
                            saved = self.tangent(s, output=name(temporary))
                            p.out.append(assign(text, saved))
                            p.out.append(assign(self.names.webs[s.target.web()], name(temporary)))
                            continue
                        p.let(s)
                        p.out.append(assign(text, saved))
                    elif s.op == "const" and len(self.analysis.members[s.target.web()]) == 1:
                        p.let(s)
                    elif s.op in ("alloc", "alloc_like", "const", "global", "newlist") or not any(
                        d is not None for d in map(self.dot, s.args)
                    ):
                        p.let(s)
                        p.out.append(assign(text, saved))
                    else:
                        p.comment(s.line)
                        p.out.append(assign(text, saved))  # first, while the variables still hold the arguments
                        p.let(s)
                else:
                    p.let(s)
            elif isinstance(s, Write):
                nodes = p.write_node(s)
                p.flush(memory=True)
                p.comment(s.line)
                if s.array.web() in self.active:
                    self.write(s)
                p.out += nodes
            elif isinstance(s, If):
                test = p.read(s.test)
                p.flush()
                p.comment(s.line)
                parts = []
                for part in (s.then, s.orelse):
                    outer, p.out, line = p.out, [], p.line
                    self.block(part)
                    p.flush()
                    parts.append(p.out)
                    p.out, p.line = outer, line
                p.out.append(ast.If(test, parts[0] or [ast.Pass()], parts[1]))
                p.line = ""
            elif isinstance(s, (For, While)):
                self.loop(s)
            elif isinstance(s, Break):
                p.flush()
                p.out.append(ast.Break())
            elif isinstance(s, Raise):
                p.flush()
                p.out += ast.parse(s.text).body

    def loop(self, s: Any) -> None:
        p = self.primal
        header: Any = None
        if isinstance(s, For):
            args = [p.read(s.start), p.read(s.stop), p.read(s.step)]
            if number_of(args[2]) == 1:
                args = args[1:2] if number_of(args[0]) == 0 else args[:2]
            header = ast.Call(name("range"), args, [])
        p.flush()
        p.comment(s.line)
        outer, p.out = p.out, []
        test: Any = None
        if isinstance(s, While):
            self.block(s.head)
            test = p.read(s.test)
            p.flush()
            if p.out:
                p.out.append(ast.If(ast.UnaryOp(ast.Not(), test), [ast.Break()], []))
                test = ast.Constant(True)
        self.block(s.body)
        p.flush()
        body, p.out = p.out, outer
        p.line = ""
        if isinstance(s, For):
            p.out.append(
                ast.For(ast.Name(self.names.webs[s.index.web()], ast.Store()), header, body or [ast.Pass()], [])
            )
        else:
            p.out.append(ast.While(test, body or [ast.Pass()], []))

    def write(self, s: Write) -> None:
        if s.pattern == APPEND:
            value = self.dot(s.value)
            if value is None and s.value.kind.ndim:
                value = template("np.zeros_like(x)", {"x": self.read(s.value)})
            given = {"x": self.dot(s.array), "v": value if value is not None else ast.Constant(0.0)}
            self.primal.out.append(ast.Expr(template("x.append(v)", given)))
            return
        target = ast.Subscript(self.dot(s.array), index_node(s.pattern, [self.read(i) for i in s.index]), ast.Store())
        value = self.dot(s.value)
        if s.aug:
            if value is not None:
                op = ast.Add() if s.aug == "+" else ast.Sub()
                if s.pattern == (("e",),):
                    target = ast.Name(self.dots[s.array.web()], ast.Store())  # type: ignore[assignment]
                self.primal.out.append(ast.AugAssign(target, op, value))
        else:
            self.primal.out.append(assign(target, value if value is not None else ast.Constant(0.0)))

    def after(self, s: Let) -> bool:
        """Tell whether a tangent reads the output: its value, or only its shape."""
        if s.op in ELEMENTWISE:
            return bool(s.target.kind.ndim) or any("z" in (q or "") for q in ELEMENTWISE[s.op].partials)
        return s.op == "array"

    def zero(self, s: Let) -> Any:
        """Return a tangent of zeros for the target of a statement."""
        if s.target.kind.stack is not None:
            return ast.List([], ast.Load())
        if not s.target.kind.ndim:
            return ast.Constant(0.0)
        node = template("np.zeros_like(x)", {"x": name(self.names.webs[s.target.web()])})
        if s.target.kind.dtype[0] != "f":
            node = template("np.zeros(x.shape)", {"x": name(self.names.webs[s.target.web()])})
        return node

    def tangent(self, s: Let, output: Any = None) -> Any:
        """Return the expression of a target's tangent: memory of its own, where the target has its own."""
        node = self.tangent_of(s, output)
        if s.target.kind.ndim and not is_view(s.target) and borrowed(node):
            return template("x.copy()", {"x": node})
        return node

    def lasting(self, s: Let) -> bool:
        """Tell whether all values of a statement keep their variables and elements, so that conditions last."""
        values = [*s.args, s.target]
        several = any(len(self.analysis.members[v.web()]) > 1 for v in values if v.const is None)
        return not several and not written(values, self.analysis)

    def guard(self, s: Let, k: int, given: dict[str, Any]) -> Guard | None:
        """Return the condition without which argument k does not move the result."""
        outer = self.guards.get(s.args[k])
        if s.op not in SELECTORS:
            return outer
        own = condition(s, k, given)
        return own if outer is None else outer.combine(own, True)

    def tangent_of(self, s: Let, output: Any) -> Any:
        """Return the expression of a target's tangent, which may be the tangent of an argument or a view of it."""
        op, z = s.op, s.target
        dots = [self.dot(a) if d else None for a, d in zip(s.args, dependent(s), strict=True)]
        if all(d is None for d in dots):
            return self.zero(s)
        values = [self.read(a) for a in s.args]
        if op == "copy" and s.args[0] in self.guards and self.lasting(s):
            self.guards[z] = self.guards[s.args[0]]
        if op in ("copy", "getitem", "pop"):
            return primal_node(s, [dots[0], *values[1:]], False)
        if op in ("alloc", "alloc_like"):
            return primal_node(s, [d if d is not None else v for d, v in zip(dots, values, strict=True)], False)
        output = output or name(self.names.webs[z.web()])
        given = {"z": output, **letters(s, values)}
        if op == "array":
            forms = s.info["forms"]
            self.program.environment.update(forms.objects)
            if REFUSE in forms.reverse:
                raise DerivativeError(
                    f"{place(s, self.program)}\nnp.{s.info['name']} has no derivative with "
                    "respect to its arguments here; compute its entries by a loop"
                )
            if forms.terms:
                moving = [t for t, d in zip(forms.terms, dots, strict=True) if d is not None and t is not None]
                given |= letters(s, [d if d is not None else v for d, v in zip(dots, values, strict=True)], "d")
                return template(" + ".join(moving), given, arrays=True) if moving else self.zero(s)
            full = [
                d
                if d is not None
                else template("np.zeros_like(x)" if a.kind.ndim else "0.0", {"x": v})
                if r is not None or forms.joint
                else v
                for d, a, v, r in zip(dots, s.args, values, forms.reverse or [""] * len(values), strict=True)
            ]
            if forms.forward is None:
                return template(forms.primal, letters(s, full))
            if forms.forward == "missing":
                raise DerivativeError(
                    f"{place(s, self.program)}\n{s.info['name']} has a custom pullback but no "
                    "pushforward, which forward mode needs; give it one"
                )
            if forms.forward == "zero":
                return self.zero(s)
            if forms.forward == "dx @ y + x @ dy":  # leave out the half that is zero
                halves = [h for h, d in zip(("dx @ y", "x @ dy"), dots, strict=True) if d is not None]
                return template(" + ".join(halves), given | letters(s, full, "d"), arrays=True)
            return template(forms.forward, given | letters(s, full, "d"), arrays=True)
        if self.lasting(s):
            guards = [self.guard(s, k, given) for k, d in enumerate(dots) if d is not None]
            joint = guards[0]
            for g in guards[1:]:
                joint = joint.combine(g, False) if joint is not None and g is not None else None
            if joint is not None:
                self.guards[z] = joint
        total = self.total(s, dots, given, self.guards)
        if total is None:
            return self.zero(s)
        if z.kind.ndim >= AXES and is_heavy(total, self.array_names() | {output.id}):
            return self.light_total(s, dots, given, output)
        live = [a for a, d in zip(s.args, dots, strict=True) if d is not None]
        several = len([a for a in s.args if a.kind.ndim]) > 1
        if z.kind.ndim and (not all(a.kind.ndim for a in live) or (several and len(live) < len(s.args))):
            total = ast.BinOp(total, ast.Add(), self.zero(s))  # the tangent may be smaller than the result
        return total

    def total(self, s: Let, dots: list[Any], given: dict[str, Any], guards: dict[Value, Guard]) -> Any:
        """Return the tangent of an elementwise result: a sum over the arguments that move, or None for zero."""
        op, rule, arrays = s.op, ELEMENTWISE[s.op], bool(s.target.kind.ndim)
        if op in SELECTORS:
            zeros = [d if d is not None else ast.Constant(0.0) for d in dots]
            return template(SELECTORS[op].tangent, given | letters(s, zeros, "d"), arrays)
        total: Any = None
        for k, d in enumerate(dots):
            if d is None:
                continue
            partial = template(rule.partials[k] or "0.0", given, arrays)
            if number_of(partial) == 0:
                continue
            term = product(d, partial)
            if op == "/" and k == 1:
                term = negative(template("d / y * z", given | {"d": d}))  # as in reverse mode; it underflows less
            if s.args[k] in guards and number_of(partial) is None:
                term = template("pick(c, t, 0.0)", {"c": guards[s.args[k]].make(), "t": term}, arrays)
            total = term if total is None else ast.BinOp(total, ast.Add(), term)
        if total is None:
            return None
        if rule.edge is not None and not all(regular(op, k, s) for k, d in enumerate(dots) if d is not None):
            total = ast.BinOp(total, ast.Add(), template(rule.edge, given, arrays))
        return total

    def light_total(self, s: Let, dots: list[Any], given: dict[str, Any], output: Any) -> Any:
        """Return the same, computed on the elements in one row; see `light`."""
        shape = ast.Attribute(output, "shape", ast.Load())

        def in_row(k: int, node: Any) -> Any:
            return in_a_row(s.args, k, lambda: node, lambda: shape)

        rows = {"z": row(output), **letters(s, [in_row(k, self.read(a)) for k, a in enumerate(s.args)])}
        guards = {a: wide_guard(self.guards[a], shape) for a in s.args if a in self.guards}
        return shaped(self.total(s, [d and in_row(k, d) for k, d in enumerate(dots)], rows, guards), shape)

    def array_names(self) -> set[str]:
        """Return the names of arrays, of values and of tangents."""
        kinds = self.analysis.kinds
        found = {text for web, text in self.names.webs.items() if web in kinds and kinds[web].ndim}
        return found | {text for web, text in self.dots.items() if kinds[web].ndim}


__all__ += ["Kind"]
