"""A derivative as an object: an `@njit` function whose program is written for each combination of kinds of arguments.

`grad(f)` and its relatives are Numba dispatchers. Called from Python they cost what any compiled function costs; within
`@njit` they are called like any other. What differs is compilation: the first call with new kinds of arguments writes
the program of the derivative, and Numba compiles that.
"""

from __future__ import annotations

import ast
import functools
import inspect
import types as python_types
from typing import Any

import numba
import numpy as np
from numba.core import sigutils
from numba.core.registry import CPUDispatcher

from derivable.autodiff.kinds import DerivativeError, Kind, is_float, kind_of_type, kind_of_value, with_article
from derivable.autodiff.transform import emit
from derivable.autodiff.transform.forward import Forward
from derivable.autodiff.transform.light import AXES, accumulated
from derivable.autodiff.transform.plain import as_compiled
from derivable.autodiff.transform.program import Value
from derivable.autodiff.transform.read import Reader, Static, leaves, read
from derivable.autodiff.transform.reverse import Reverse
from derivable.autodiff.transform.source import Source, python_function, source_of
from derivable.autodiff.transform.tidy import ascend, comments, distinct, polish, tidy

__all__ = ["Derivative", "PlainDerivative", "derivative"]


def _tuple(binding: Any, expression: Any) -> Any:
    """Build the expression of a nested tuple of values."""
    if isinstance(binding, tuple):
        return ast.Tuple([_tuple(b, expression) for b in binding], ast.Load())
    return expression(binding)


def _unpack(text: str, binding: Any, names: dict[Value, str]) -> list[Any]:
    """Return statements that take a tuple argument apart."""
    nodes: list[Any] = []
    if isinstance(binding, tuple):
        for k, part in enumerate(binding):
            if not isinstance(part, (Value, tuple)):
                continue
            target = names[part.web()] if isinstance(part, Value) else f"{text}_{k}"
            nodes.append(emit.assign(target, emit.template(f"x[{k}]", {"x": emit.name(text)})))
            nodes += _unpack(target, part, names)
    return nodes


def places(argnums: tuple[int, ...], names: list[str], function: str) -> tuple[int, ...]:
    """Return the places of arguments, of which negative ones count from the end."""
    for k in argnums:
        if not -len(names) <= k < len(names):
            raise ValueError(f"argnum is {k}, but {function} has {len(names)} argument(s), counted from 0")
    return tuple(k % len(names) for k in argnums)


class Maker:
    """Writes the programs of one derivative: which function, which verb, which arguments."""

    def __init__(self, function: Any, verb: str, argnums: tuple[int, ...], single: bool) -> None:
        self.function, self.verb, self.argnums, self.single = function, verb, argnums, single
        self.source = source_of(function)
        self.names = [a.arg for a in self.source.node.args.args]
        self.programs: dict[Any, tuple[str, list[str], Any]] = {}
        self.last: Any = None
        self.argnums = places(argnums, self.names, self.source.name)
        if len(set(self.argnums)) < len(self.argnums):
            raise ValueError(f"argnum names an argument twice: {argnums}")

    @property
    def title(self) -> str:
        name = self.source.name if self.source.name.isidentifier() else "function"
        return f"{self.verb}_{name}"

    def extra(self) -> list[str]:
        """Return the parameters that the derivative has beyond those of the function."""
        base = [self.names[k] for k in self.argnums]
        if self.verb == "jvp":
            return [self.fresh(f"{n}_dot") for n in base]
        if self.verb == "vjp":
            return [self.fresh("result_bar")]
        if self.verb == "grad_into":
            return [self.fresh("out")] if self.single else [self.fresh(f"out_{n}") for n in base]
        return []

    def fresh(self, wish: str) -> str:
        while wish in self.names:
            wish += "_"
        return wish

    def kinds(self, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
        """Check the kinds of the arguments and return those of the function."""
        own = kinds[: len(self.names)]
        for k in self.argnums:
            if not is_float(own[k]):
                what = own[k].a if isinstance(own[k], Kind) else "not all float" if own[k] else "None"
                remedy = "pass a float, as in 3.0" if own[k] == Kind("i") else "pass float64 or float32"
                raise DerivativeError(
                    f"{self.verb} of {self.source.name} with respect to {self.names[k]}: it is {what}, "
                    f"which has no derivative; {remedy}"
                )
        return tuple(own)

    def check(self, kinds: tuple[Any, ...]) -> None:
        """Check the kinds of directions, cotangents and buffers against what they belong to."""
        own, more = kinds[: len(self.names)], kinds[len(self.names) :]
        wanted = [own[k] for k in self.argnums]
        word = {"jvp": "a tangent", "grad_into": "a buffer"}.get(self.verb, "")
        if self.verb == "vjp":
            wanted, word = [_kinds_of(self.result(own))], "the cotangent"
        for n, has, should in zip(self.extra(), more, wanted, strict=True) if word and more else []:
            for a, b in _pairs(has, should):
                if a is None or (a.ndim if isinstance(a, Kind) else -1) != (b.ndim if isinstance(b, Kind) else -2):
                    pair = with_article(_words(has)), with_article(_words(should))
                    raise DerivativeError(f"{word} of {self.source.name}, {n}, is {pair[0]} for {pair[1]}")
                if self.verb == "grad_into" and not is_float(a):
                    raise DerivativeError(f"the buffer {n} is {with_article(_words(a))}; use one of float64 or float32")

    def result(self, kinds: tuple[Any, ...]) -> Any:
        """Return what the function returns, for these kinds of arguments."""
        return read(self.function, kinds).result

    def program(self, kinds: tuple[Any, ...]) -> tuple[str, list[str], Any]:
        """Return the source of the derivative for these kinds, its parameters, and the objects it needs."""
        own = self.kinds(kinds)
        self.last = own
        if own not in self.programs:
            self.programs[own] = self.write(own)
        return self.programs[own]

    def write(self, kinds: tuple[Any, ...]) -> tuple[str, list[str], Any]:
        if self.verb.startswith("jacobian"):
            return self.write_jacobian(kinds, self.result(kinds))
        program = read(self.function, kinds)
        wrt_bindings = [program.parameters[k] for k in self.argnums]
        wrt = [v for b in wrt_bindings for v in leaves(b)]
        results = leaves(program.result)
        extra = self.extra()
        parameters = [*self.names, *extra]

        def unpacked(names: dict[Value, str]) -> list[Any]:
            return [node for n, b in zip(self.names, program.parameters, strict=True) for node in _unpack(n, b, names)]

        scalar = isinstance(program.result, Value) and not program.result.kind.ndim
        if self.verb not in ("jvp", "vjp") and not scalar:
            what = "a tuple" if isinstance(program.result, tuple) else program.result.kind.a
            raise DerivativeError(
                f"{self.verb} of {self.source.name}: it returns {what}, not a number; use jacobian, vjp or jvp"
            )
        for v in results:
            if not is_float(v.kind) and v.const is None and self.verb != "jvp":
                raise DerivativeError(
                    f"{self.verb} of {self.source.name}: it returns {v.kind.a}, which has no derivative"
                )
        if self.verb == "jvp":
            forward = Forward(program, wrt, set(extra))
            start = [node for n, b in zip(extra, wrt_bindings, strict=True) for node in self.take(n, b, forward)]
            start += forward.still({v.web() for v in wrt})
            checks = [
                _same_shape(forward.dots[v.web()], forward.names.webs[v.web()], f"the tangent of {v.name}", str(v.name))
                for v in wrt
                if v.kind.ndim
            ]
            body = [*unpacked(forward.names.webs), *start, *checks, *forward.write_program()]

            def tangent(v: Value) -> Any:
                dot = forward.dot(v)
                if dot is not None:
                    return dot
                value = forward.read(v)
                if v.kind.ndim:
                    return emit.template(
                        "np.zeros_like(x)" if v.kind.dtype[0] == "f" else "np.zeros(x.shape)", {"x": value}
                    )
                return ast.Constant(0.0)

            values = _tuple(program.result, forward.read)
            last = ast.Return(ast.Tuple([values, _tuple(program.result, tangent)], ast.Load()))
        else:
            reverse = Reverse(program, wrt, set(extra))
            head = unpacked(reverse.names.webs)
            outputs: dict[Value, str] = {}
            if self.verb == "grad_into":
                for text, b in zip(extra, wrt_bindings, strict=True):
                    if not isinstance(b, Value) or not b.kind.ndim:
                        raise DerivativeError(
                            f"grad_into of {self.source.name}: only the gradient of an array can be written "
                            "into a buffer; use grad"
                        )
                    outputs[b] = text
                    x = reverse.names.webs[b.web()]
                    head.append(_same_shape(text, x, f"the buffer {text}", str(b.name)))
            if self.verb == "vjp":
                seeds = self.seeds(emit.name(extra[0]), program.result)
            else:
                seeds = [(program.result, ast.Constant(1.0))]
            forward_part, backward, gradients = reverse.write_program(seeds, outputs)
            if self.verb == "vjp":
                ends = [(ast.unparse(node), v, reverse.primal.read(v)) for v, node in seeds if v.kind.ndim]
                forward_part += [_same_shape(t, ast.unparse(n), "the cotangent", "the result") for t, _, n in ends]

            def result(v: Value) -> Any:
                node = reverse.primal.read(v)
                if not reverse.is_restored(v):
                    return node
                kept = reverse.names.new(f"{v.name or 'value'}_end")
                forward_part.append(emit.assign(kept, emit.template("x.copy()", {"x": node})))
                return emit.name(kept)

            value = [] if self.verb in ("grad", "grad_into") else [_tuple(program.result, result)]
            if value and isinstance(program.result, Value) and not isinstance(value[0], ast.Name):
                keep = reverse.names.new("value")
                forward_part.append(emit.assign(keep, value[0]))
                value = [emit.name(keep)]
            if self.verb == "grad_into":
                for v, text in outputs.items():
                    node = gradients[v]
                    if v.web() not in reverse.outputs:
                        colons = ", ".join(":" * 1 for _ in range(v.kind.ndim))
                        target = emit.template(f"x[{colons}]", {"x": emit.name(text)})
                        backward.append(emit.assign(ast.Subscript(target.value, target.slice, ast.Store()), node))
                last = ast.Return(None)
            else:
                expressions = [_tuple(b, lambda v: self.cast(gradients[v], v)) for b in wrt_bindings]
                whole = expressions[0] if self.single else ast.Tuple(expressions, ast.Load())
                last = ast.Return(ast.Tuple([value[0], whole], ast.Load()) if value else whole)
        if self.verb == "jvp":
            body = comments(emit.clean([*body, last], set()))
        else:
            body = self.join(
                reverse, head, forward_part, backward, last, set(extra) if self.verb == "grad_into" else set()
            )
        analysis = forward.analysis if self.verb == "jvp" else reverse.analysis
        bars = forward.dots if self.verb == "jvp" else reverse.bar_names
        names = forward.names.webs if self.verb == "jvp" else reverse.names.webs
        light = {
            t
            for texts in (names, bars)
            for web, t in texts.items()
            if (kind := analysis.kinds.get(web)) and kind.ndim >= AXES and is_float(kind)
        }
        body = accumulated(body, light)
        if any(kind.ndim for kind in analysis.kinds.values()):
            distinct(body, {*parameters, *program.environment})
        keys = list(program.keys)
        spelled = ", ".join(f"{n}: {_words(k)}" for n, k in zip(self.names, kinds, strict=True))
        note = f"The {self.verb} of {self.source.name}({spelled}), written by Derivable."
        text, objects = emit.module_text(self.title, parameters, body, program.environment, note)
        return text, keys, objects

    def write_jacobian(self, kinds: tuple[Any, ...], result: Any) -> tuple[str, list[str], Any]:
        """Write the loop that asks for one column, or one row, at a time."""
        k = self.argnums[0]
        x, z = kinds[k], getattr(result, "kind", None)
        if not self.single or not isinstance(x, Kind) or not isinstance(z, Kind):
            raise DerivativeError(
                f"jacobian of {self.source.name} takes one argument that is a number or an array, and one such "
                "result; use jvp or vjp"
            )
        mode = self.verb.partition("_")[2]
        if not mode:
            mode = "forward" if not x.ndim else "reverse" if not z.ndim else ""
        text = jacobian_text(self.title, self.names, self.names[k], x, z, mode)
        objects: dict[str, Any] = {}
        keys = []
        for word, verb in (("pushforward", "jvp"), ("pullback", "vjp")):
            if f" {word}(" in text:
                objects[word] = derivative(self.function, verb, k)
                keys.append(objects[word].maker.program(kinds)[0])
        if " plain(" in text:
            objects["plain"] = self.function
        return text, keys, objects

    def join(
        self, reverse: Reverse, head: list[Any], forward: list[Any], backward: list[Any], last: Any, out: set[str]
    ) -> list[Any]:
        """Put the two sweeps together, without what neither the result nor the other sweep needs."""
        backward = emit.clean([*backward, last], set(out), [*head, *forward])
        again = {v.text for v in reverse.needed if reverse.plans.get(v) in ("recompute", "tape", "carry")}
        results = {n.id for n in ast.walk(last) if isinstance(n, ast.Name)}
        wanted = ({n.id for s in backward for n in ast.walk(s) if isinstance(n, ast.Name)} - again) | results
        forward = emit.clean([*head, *forward], set(wanted))
        arrays = {
            text for web, text in reverse.names.webs.items() if reverse.analysis.kinds.get(web, Kind("i", 1)).ndim
        }
        arrays |= {text for web, text in reverse.bar_names.items() if reverse.analysis.kinds[web].ndim}
        arrays |= {v.text for v in reverse.needed if v.kind.ndim}
        kinds = reverse.analysis.kinds
        rows = {text for web, text in reverse.bar_names.items() if kinds[web].ndim == 1}
        rows |= {text for web, text in reverse.names.webs.items() if web in kinds and kinds[web].ndim == 1}
        forward = tidy(forward, wanted, arrays)
        backward = ascend(tidy(backward, set(), arrays, rows), arrays)
        forward, backward = polish(forward, arrays), polish(backward, arrays)
        return comments([*forward, *([emit.Comment("backwards")] if forward else []), *backward])

    def take(self, text: str, binding: Any, forward: Forward) -> list[Any]:
        """Take the tangents of an argument apart."""
        if isinstance(binding, Value):
            dot = forward.dots[binding.web()]
            return [emit.assign(dot, emit.name(text))]
        nodes: list[Any] = []
        for k, part in enumerate(binding):
            inner = f"{text}_{k}"
            nodes.append(emit.assign(inner, emit.template(f"x[{k}]", {"x": emit.name(text)})))
            nodes += (
                self.take(inner, part, forward)
                if not isinstance(part, Value) or forward.dots[part.web()] != inner
                else []
            )
        return nodes

    def seeds(self, node: Any, binding: Any) -> list[tuple[Value, Any]]:
        if isinstance(binding, tuple):
            return [s for k, b in enumerate(binding) for s in self.seeds(emit.template(f"x[{k}]", {"x": node}), b)]
        return [(binding, node)]

    def cast(self, node: Any, v: Value) -> Any:
        """Give a gradient the precision of its argument."""
        if v.kind.dtype != "f4" or (isinstance(node, ast.Call) and "zeros_like" in ast.dump(node.func)):
            return node
        return emit.template("x.astype(np.float32)" if v.kind.ndim else "np.float32(x)", {"x": node})

    def function_for(self, kinds: tuple[Any, ...], plain: bool) -> Any:
        self.check(kinds)
        text, keys, objects = self.program(kinds)
        function = emit.load(self.title, text, objects, keys, plain)
        return as_compiled(function) if plain else function

    def checked(self, kinds: tuple[Any, ...], inner: Any) -> Any:
        """Return the function with a check of its arguments before, for calls from Python: buffers share no memory."""
        names = [*self.names, *self.extra()]
        own = [pair for n, k in zip(self.names, kinds, strict=False) for pair in _arrays(n, k)]
        lines = []
        for position, out in enumerate(self.extra()):
            for text in [*own, *self.extra()[:position]]:
                message = f"the buffer {out} shares memory with {text}; give it memory of its own"
                lines += [f"    if overlap({out}, {text}):", f"        raise ValueError({message!r})"]
        title = f"{self.title}_checked"
        head = '"""A gradient into a buffer, with a check."""\n\n'
        head += "from derivable.autodiff.rules.kernels import overlap\n\n\n"
        body = "\n".join([f"def {title}({', '.join(names)}):", *lines, f"    return inner({', '.join(names)})", ""])
        return emit.load(title, head + body, {"inner": inner}, [self.programs[self.last][0]], False)

    def as_source(self, kinds: tuple[Any, ...]) -> Source:
        """Return the program as the source of a function that another one calls."""
        text, _, objects = self.program(kinds)
        function = emit.load(self.title, text, objects, [], True)
        return source_of(function)

    def guess(self) -> tuple[Any, ...]:
        """Guess the kinds of the arguments from how the function uses them, to show a program before any call."""
        ndims: dict[str, int] = {}
        for node in ast.walk(self.source.node):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                size = len(node.slice.elts) if isinstance(node.slice, ast.Tuple) else 1
                ndims[node.value.id] = max(size, ndims.get(node.value.id, 0))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                ndims.setdefault(node.value.id, 1)
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "len"
                and isinstance(node.args[0], ast.Name)
            ):
                ndims.setdefault(node.args[0].id, 1)
        kinds = []
        for n in self.names:
            default = self.source.defaults.get(n)
            kinds.append(
                kind_of_value(default, n) if isinstance(default, (int, float)) else Kind("f8", ndims.get(n, 0))
            )
        return tuple(kinds)

    def show(self) -> str:
        if self.last is None:
            try:
                return self.program(self.guess())[0]
            except (DerivativeError, ValueError, TypeError):
                raise DerivativeError(
                    f"the program of {self.title} depends on the kinds of its arguments: call it once, then "
                    "ask for its source"
                ) from None
        return self.programs[self.last][0]


def jacobian_text(title: str, names: list[str], x: str, kind: Kind, result: Kind, mode: str) -> str:
    """Return the source of a Jacobian: of a number or an array by a number or an array."""
    arguments = ", ".join(names)
    shape = "value.shape + x.shape" if result.ndim and kind.ndim else "x.shape" if kind.ndim else "value.shape"
    size = "value.size" if result.ndim else "1"
    column = "column.reshape(column.size)" if result.ndim else "column"
    place = "rows[:, j]" if result.ndim else "rows[0, j]"
    shape = shape.replace("x.", f"{x}.")
    dtype = "np.float32" if kind.dtype == result.dtype == "f4" else "np.float64"
    real = "np.float32" if kind.dtype == "f4" else "np.float64"
    if not kind.ndim and mode == "forward":
        body = [f"return pushforward({arguments}, {'np.float32(1.0)' if kind.dtype == 'f4' else '1.0'})[1]"]
    elif not result.ndim and mode == "reverse":
        body = [f"return pullback({arguments}, 1.0)[1]"]
    else:
        n = f"{x}.size" if kind.ndim else "1"
        forward = [
            f"direction = np.zeros({x}.shape, {real})",
            f"entries = direction.reshape({n})",
            f"for j in range({n}):",
            "    entries[j] = 1.0",
            f"    _, column = pushforward({arguments}, direction)",
            f"    {place} = {'np.ascontiguousarray(column).reshape(column.size)' if result.ndim else 'column'}",
            "    entries[j] = 0.0",
        ]
        row = f"np.ascontiguousarray(row).reshape({n})" if kind.ndim else "row"
        backward = [
            "direction = np.zeros(value.shape)",
            "entries = direction.reshape(value.size)",
            "for j in range(value.size):",
            "    entries[j] = 1.0",
            f"    _, row = pullback({arguments}, direction)",
            f"    rows[j{', :' if kind.ndim else ', 0'}] = {row}",
            "    entries[j] = 0.0",
        ]
        assert column
        first = (
            f"value, _ = pushforward({arguments}, np.zeros({x}.shape, {real}))"
            if kind.ndim and mode != "reverse"
            else None
        )
        if first is None:
            first = "value = plain(" + arguments + ")"
        body = [first, f"out = np.empty({shape}, {dtype})", f"rows = out.reshape(({size}, {n}))"]
        if mode == "forward":
            body += forward
        elif mode == "reverse":
            body += backward
        else:
            body += [f"if value.size < {n}:", *("    " + b for b in backward), "else:", *("    " + b for b in forward)]
        body.append("return out")
    lines = "\n".join("    " + b for b in body)
    note = f"The {title.replace('_', ' of ', 1)}, written by Derivable."
    return f'"""{note}"""\n\nimport numpy as np\n\n\ndef {title}({arguments}):\n{lines}\n'


def _kinds_of(binding: Any) -> Any:
    return tuple(map(_kinds_of, binding)) if isinstance(binding, tuple) else getattr(binding, "kind", None)


def _pairs(has: Any, should: Any) -> list[tuple[Any, Any]]:
    """Pair the leaves of two nested tuples; where one is a tuple of another length, pair the whole."""
    if isinstance(has, tuple) and isinstance(should, tuple) and len(has) == len(should):
        return [pair for a, b in zip(has, should, strict=True) for pair in _pairs(a, b)]
    return [(has, should)]


def _leaves(text: str, value: Any) -> list[tuple[str, Any]]:
    """Return the parts of a (nested tuple) value, and how each is written."""
    if isinstance(value, tuple):
        return [pair for k, part in enumerate(value) for pair in _leaves(f"{text}[{k}]", part)]
    return [(text, value)]


def _arrays(text: str, kind: Any) -> list[str]:
    """Return how the arrays within an argument of this kind are written."""
    return [t for t, k in _leaves(text, kind) if isinstance(k, Kind) and k.ndim]


def _same_shape(given: str, wanted: str, what: str, of: str) -> Any:
    """Return the test that two arrays have the same shape: compiled code does not look where it writes."""
    message = f"{what} must have the shape of {of}"
    return ast.parse(f"if {given}.shape != {wanted}.shape:\n    raise ValueError({message!r})").body[0]


def _words(kind: Any) -> str:
    if isinstance(kind, tuple):
        return f"({', '.join(map(_words, kind))})"
    return str(kind)


def stub(maker: Maker) -> Any:
    """Return a Python function with the signature of the derivative; it is never run."""
    python = python_function(maker.function)
    title = f"{maker.verb}({maker.source.name})"
    extra = maker.extra()
    if not extra and hasattr(python, "__code__"):
        made = python_types.FunctionType(
            python.__code__, python.__globals__, title, python.__defaults__, python.__closure__
        )
        made.__doc__ = python.__doc__
        return made
    scope: dict[str, Any] = {}
    exec(f"def stub({', '.join([*maker.names, *extra])}):\n    raise NotImplementedError", scope)
    scope["stub"].__name__ = scope["stub"].__qualname__ = title
    return scope["stub"]


class Derivative(CPUDispatcher):
    """A derivative that can be called from Python and from within `@njit`.

    Attributes:
        source: the generated program, for the kinds of the last new call.
        into: the form that writes into a buffer, for `grad`.
    """

    def __init__(self, maker: Maker) -> None:
        self.maker = maker
        super().__init__(stub(maker), targetoptions={"nopython": True, "error_model": "numpy", "nogil": True})

    @property
    def source(self) -> str:
        """Return the generated program, for the kinds of arguments seen last."""
        return self.maker.show()

    @property
    def into(self) -> Any:
        """Return the same gradient, written into a buffer: `into(*args, out)`."""
        if self.maker.verb != "grad":
            raise AttributeError(f"{self.maker.verb} has no form that writes into a buffer; grad has")
        return derivative(
            self.maker.function, "grad_into", self.maker.argnums[0] if self.maker.single else self.maker.argnums
        )

    def compile(self, sig: Any) -> Any:
        """Compile the program for a signature: write it, and let Numba compile or load it."""
        args, _ = sigutils.normalize_signature(sig)
        args = tuple(args)
        if args in self.overloads:
            return self.overloads[args].entry_point
        names = [*self.maker.names, *self.maker.extra()]
        kinds = tuple(kind_of_type(t, f"the argument {n}") for t, n in zip(args, names, strict=True))
        inner = self.maker.function_for(kinds, plain=False)
        plain_args = tuple(
            numba.typeof(a.value) if isinstance(a, numba.types.Omitted) else numba.types.unliteral(a) for a in args
        )
        if plain_args != args:
            if plain_args not in self.overloads:
                inner.compile(plain_args)
                self.add_overload(inner.overloads[plain_args])
            return self.compile_omitted(args, plain_args, inner)
        inner.compile(args)
        if self.maker.verb == "grad_into":
            # Python calls the checked function; compiled code, where a call costs nanoseconds, the gradient itself.
            checked = self.maker.checked(kinds, inner)
            checked.compile(args)
            self._insert([a._code for a in args], checked.overloads[args].entry_point)
            self.overloads[args] = inner.overloads[args]
            return checked.overloads[args].entry_point
        self.add_overload(inner.overloads[args])
        return self.overloads[args].entry_point

    def compile_omitted(self, args: Any, plain: Any, inner: Any) -> Any:
        """Compile a call that leaves out defaults."""
        parameters, begun = [], False
        names = [*self.maker.names, *self.maker.extra()]
        for n, t in zip(names, args, strict=True):
            omitted = isinstance(t, numba.types.Omitted)
            begun |= omitted
            parameters.append(f"{n}={t.value!r}" if omitted else f"{n}=None" if begun else n)
        title = f"{self.maker.title}_with_defaults"
        body = f"def {title}({', '.join(parameters)}):\n    return inner({', '.join(names)})\n"
        text = f'"""A call that leaves out defaults."""\n\nfrom math import inf, nan\n\n\n{body}'
        program = self.maker.programs[self.maker.last][0]
        outer = emit.load(title, text, {"inner": inner}, [program], False)
        outer.compile(args)
        self.add_overload(outer.overloads[args])
        return self.overloads[args].entry_point

    def _compile_for_args(self, *args: Any, **named: Any) -> Any:
        from numba.core.dispatcher import OmittedArg

        for value, n in zip(args, [*self.maker.names, *self.maker.extra()], strict=False):
            if isinstance(value, OmittedArg):
                continue
            kind_of_value(value, f"the argument {n}")
        return super()._compile_for_args(*args, **named)

    def _reduce_states(self) -> dict[str, Any]:
        return {
            "function": self.maker.function,
            "verb": self.maker.verb,
            "argnums": self.maker.argnums,
            "single": self.maker.single,
        }

    @classmethod
    def _rebuild(cls, function: Any, verb: str, argnums: Any, single: bool) -> Any:
        return derivative(function, verb, argnums[0] if single else argnums)

    def _derivable_read(self, reader: Reader, args: list[Any], named: dict[str, Any]) -> Any:
        return read_in_place(self.maker, reader, args, named)

    def __repr__(self) -> str:
        return f"{self.maker.verb}({self.maker.source.name})"


class PlainDerivative:
    """A derivative in plain Python, under NUMBA_DISABLE_JIT=1."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker
        functools.update_wrapper(self, stub(maker))
        self.signature = inspect.signature(stub(maker))

    source = Derivative.source
    into = Derivative.into

    def __call__(self, *args: Any, **named: Any) -> Any:
        bound = self.signature.bind(*args, **named)
        bound.apply_defaults()
        kinds = tuple(kind_of_value(v, f"the argument {n}") for n, v in bound.arguments.items())
        if self.maker.verb == "grad_into":
            buffers = self.maker.extra()
            for k, n in enumerate(buffers):
                others = [pair for m in self.maker.names for pair in _leaves(m, bound.arguments[m])]
                for text, x in [*others, *((m, bound.arguments[m]) for m in buffers[:k])]:
                    if isinstance(x, np.ndarray) and np.shares_memory(x, bound.arguments[n]):
                        raise ValueError(f"the buffer {n} shares memory with {text}; give it memory of its own")
        return self.maker.function_for(kinds, plain=True)(*bound.args)

    _derivable_read = Derivative._derivable_read
    __repr__ = Derivative.__repr__


def read_in_place(maker: Maker, reader: Reader, args: list[Any], named: dict[str, Any]) -> Any:
    """Read the program of a derivative where another function calls it."""
    given = dict(zip([*maker.names, *maker.extra()], args, strict=False)) | named
    for n, default in maker.source.defaults.items():
        if n not in given:
            given[n] = reader.outside(default, n)

    def kind(binding: Any) -> Any:
        if isinstance(binding, tuple):
            return tuple(map(kind, binding))
        return None if isinstance(binding, Static) else binding.kind

    kinds = tuple(kind(given[n]) if n in given else None for n in [*maker.names, *maker.extra()] if n in given)
    names = [n for n in [*maker.names, *maker.extra()] if n in given]
    missing = [n for n in [*maker.names, *maker.extra()] if n not in given]
    if missing or len(args) > len(names):
        raise reader.refuse(f"the call does not fit {maker.title}({', '.join([*maker.names, *maker.extra()])})",
                            "give it these arguments")  # fmt: skip
    try:
        maker.check(kinds)
    except DerivativeError as error:
        raise reader.refuse(str(error), "make the two agree") from None
    if maker.verb == "grad_into":
        for n in maker.extra():
            for m in maker.names:
                parts = [v for v in leaves(given[m]) if isinstance(v, Value) and v.kind.ndim]
                if any(v.roots & given[n].roots for v in parts):
                    raise reader.refuse(f"the buffer {n} may share memory with {m}", "give it memory of its own")
    kinds = kinds[: len(maker.names)]
    return reader.inline_source(
        maker.as_source(kinds),
        args,
        {k: v for k, v in given.items() if k not in dict(zip([*maker.names, *maker.extra()], args, strict=False))},
    )


_made: dict[Any, Any] = {}


def derivative(function: Any, verb: str, argnum: Any) -> Any:
    """Return the derivative of a function, the same object for the same request."""
    single = not isinstance(argnum, tuple)
    argnums = (argnum,) if single else argnum
    if not argnums or any(isinstance(k, bool) or not isinstance(k, (int, np.integer)) for k in argnums):
        raise TypeError(f"argnum must be an int or a tuple of ints, got {argnum!r}")
    argnums = tuple(int(k) for k in argnums)
    key = (id(function), verb, argnums, single)
    found = _made.get(key)
    if found is not None and found.maker.function is function:
        return found
    if not callable(function):
        raise TypeError(f"the function to differentiate must be callable, got {type(function).__name__}")
    if isinstance(function, (Derivative, PlainDerivative)):
        maker: Maker = DerivedMaker(function, verb, argnums, single)
    else:
        maker = Maker(function, verb, argnums, single)
    made = PlainDerivative(maker) if numba.config.DISABLE_JIT else Derivative(maker)
    _made[key] = made
    return made


class DerivedMaker(Maker):
    """Writes derivatives of derivatives: the function's own program depends on the kinds."""

    def __init__(self, function: Any, verb: str, argnums: tuple[int, ...], single: bool) -> None:
        self.inner = function.maker
        names = [*self.inner.names, *self.inner.extra()]
        outer = self

        class _Source:
            name = self.inner.title
            defaults = self.inner.source.defaults if not self.inner.extra() else {}
            node = ast.parse(f"def {self.inner.title}({', '.join(names)}): pass").body[0]

        self.function, self.verb, self.single = function, verb, single
        self.source, self.names = _Source(), names  # type: ignore[assignment]
        self.programs, self.last = {}, None
        self.argnums = places(argnums, names, outer.source.name)

    def written(self, kinds: tuple[Any, ...]) -> Any:
        """Return the program of the derivative, as a Python function."""
        text, _, objects = self.inner.program(kinds)
        return emit.load(self.inner.title, text, objects, [], True)

    def result(self, kinds: tuple[Any, ...]) -> Any:
        return read(self.written(kinds), kinds).result

    def write(self, kinds: tuple[Any, ...]) -> tuple[str, list[str], Any]:
        if self.verb.startswith("jacobian"):
            return self.write_jacobian(kinds, self.result(kinds))
        made = Maker(self.written(kinds), self.verb, self.argnums, self.single)
        made.names = self.names
        return made.write(kinds)

    def guess(self) -> tuple[Any, ...]:
        return self.inner.guess()
