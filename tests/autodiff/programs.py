"""Random programs, and their derivative by another road: dual numbers run through the same source.

The generator asks a `random.Random` for each decision. Handed one by hypothesis (`sources()`), what it writes can be
shrunk to a short program that still fails; handed a seeded one, it writes the same program each time:
`python tests/autodiff/programs.py 2000` checks so many, compiled; see tests/README.md.
"""

from __future__ import annotations

import hashlib
import linecache
import math
import random
import sys
import types
from collections import Counter

import numpy as np

try:
    from autodiff import running
except ImportError:  # run as a command from this folder
    import running


def of_number(name, x):
    """Apply a function of `math` to a number or to a dual number."""
    return getattr(x, name)() if isinstance(x, Dual) else getattr(math, name)(x)


class Dual:
    """A number and its derivative in one direction, both of which may be dual again; independent of the package."""

    overflowed = False  # whether any number since this was last reset was not finite

    def __init__(self, value, dot=0.0):
        self.value, self.dot = value, dot
        if not isinstance(value, Dual) and not (math.isfinite(value) and (dot.__class__ is Dual or math.isfinite(dot))):
            Dual.overflowed = True

    @staticmethod
    def of(x):
        return x if isinstance(x, Dual) else Dual(float(x))

    @property
    def real(self):
        return self.value.real

    def __add__(self, o):
        if isinstance(o, np.ndarray):
            return NotImplemented
        o = Dual.of(o)
        return Dual(self.value + o.value, self.dot + o.dot)

    __radd__ = __add__

    def __neg__(self):
        return Dual(-self.value, -self.dot)

    def __sub__(self, o):
        if isinstance(o, np.ndarray):
            return NotImplemented
        return self + (-Dual.of(o))

    def __rsub__(self, o):
        return Dual.of(o) + (-self)

    def __mul__(self, o):
        if isinstance(o, np.ndarray):
            return NotImplemented
        o = Dual.of(o)
        return Dual(self.value * o.value, self.dot * o.value + self.value * o.dot)

    __rmul__ = __mul__

    def __truediv__(self, o):
        if isinstance(o, np.ndarray):
            return NotImplemented
        o = Dual.of(o)
        return Dual(self.value / o.value, (self.dot * o.value - self.value * o.dot) / (o.value * o.value))

    def __rtruediv__(self, o):
        return Dual.of(o) / self

    def __pow__(self, n):
        if n == 0:
            return Dual(1.0)
        return Dual(self.value**n, n * self.value ** (n - 1) * self.dot)

    def __abs__(self):
        return self if self.real > 0 else -self if self.real < 0 else Dual(0.0)

    def __lt__(self, o):
        return self.real < Dual.of(o).real

    def __gt__(self, o):
        return self.real > Dual.of(o).real

    def sin(self):
        return Dual(of_number("sin", self.value), of_number("cos", self.value) * self.dot)

    def cos(self):
        return Dual(of_number("cos", self.value), -of_number("sin", self.value) * self.dot)

    def tanh(self):
        t = of_number("tanh", self.value)
        return Dual(t, (1 - t * t) * self.dot)

    def exp(self):
        e = of_number("exp", self.value)
        return Dual(e, e * self.dot)

    def sqrt(self):
        r = of_number("sqrt", self.value)
        return Dual(r, self.dot / (2 * r))


def _pick(which):
    def pick(*args):
        best = args[0]
        for a in args[1:]:
            x, y = Dual.of(best), Dual.of(a)
            if x.real == y.real:
                best = 0.5 * (x + y)  # of dual numbers of dual numbers all parts
            elif (y.real > x.real) == (which == "max"):
                best = a
        return best

    return pick


class DualMath:
    """`math`, for dual numbers too."""

    def __getattr__(self, name):
        return lambda x: of_number(name, x)


def _elementwise(name):
    return staticmethod(np.frompyfunc(lambda x: getattr(Dual.of(x), name)(), 1, 1))


class DualNumPy:
    """What of NumPy the programs use, for arrays of dual numbers."""

    sin, tanh, exp, sqrt = map(_elementwise, ("sin", "tanh", "exp", "sqrt"))
    cumsum = staticmethod(np.cumsum)
    sum = staticmethod(np.sum)

    @staticmethod
    def zeros(shape):
        return np.array([Dual(0.0) for _ in range(np.prod(shape))], dtype=object).reshape(shape)

    @staticmethod
    def zeros_like(a):
        return DualNumPy.zeros(len(a))

    @staticmethod
    def empty(n):
        return DualNumPy.zeros(n)

    outer, where, prod, mean = map(staticmethod, (np.outer, np.where, np.prod, np.mean))
    maximum = staticmethod(np.frompyfunc(lambda a, b: _pick("max")(a, b), 2, 1))

    @staticmethod
    def max(a):
        values = [Dual.of(v) for v in a.flat]
        largest = max(v.real for v in values)
        ties = [v for v in values if v.real == largest]
        return sum(ties[1:], ties[0]) / len(ties) if len(ties) > 1 else ties[0]

    concatenate, stack = staticmethod(np.concatenate), staticmethod(np.stack)

    @staticmethod
    def sort(a):
        return np.array(sorted(a, key=lambda v: Dual.of(v).real), dtype=object)

    @staticmethod
    def array(values):
        if all(isinstance(v, int) for v in values):
            return np.array(values)
        return np.array([Dual.of(v) for v in values], dtype=object)


MOVES = (("1:", ":-1"), (":", "::-1"), ("1:3", "2:"), ("::2", "1:3"), (":2", "2:"))  # of four elements, to and from


class Generator:
    """Writes one random program `f(x, y, a)` of two numbers and an array of four."""

    def __init__(self, r, arrays=True):
        self.r = r
        self.arrays_on = arrays
        self.lines = []
        self.scalars = ["x", "y"]
        self.arrays = ["a"]
        self.owned = []
        self.ints = []
        self.count = 0
        self.budget = self.r.randint(6, 22)
        self.loops = 0
        self.helpers = []

    def fresh(self, letter):
        self.count += 1
        return f"{letter}{self.count}"

    def index(self):
        return f"{self.r.choice(self.ints)} % 4" if self.ints and self.r.random() < 0.7 else str(self.r.randint(0, 3))

    def atom(self):
        u = self.r.random()
        if u < 0.62:
            return self.r.choice(self.scalars)
        if u < 0.8:
            return f"{self.r.choice(self.arrays)}[{self.index()}]"
        if u < 0.85 and self.ints:
            return f"0.1 * {self.r.choice(self.ints)}"
        return repr(round(self.r.uniform(-1.5, 1.5), 2))

    def expression(self, depth=2):
        if depth == 0 or self.r.random() < 0.15:
            return self.atom()
        e = lambda: self.expression(depth - 1)  # noqa: E731
        forms = [
            lambda: f"({e()} + {e()})",
            lambda: f"({e()} - {e()})",
            lambda: f"0.5 * {e()} * math.sin({e()})",
            lambda: f"math.tanh({e()})",
            lambda: f"math.cos({e()}) * {self.atom()}",
            lambda: f"{self.atom()} / (1.0 + ({e()}) ** 2)",
            lambda: f"math.sqrt(1.0 + ({e()}) ** 2)",
            lambda: f"math.exp(-abs({e()}))",
            lambda: f"max({e()}, {e()})",
            lambda: f"min({e()}, {self.atom()})",
            lambda: f"-({e()})",
            lambda: f"(0.3 * {e()}) ** 3",
            lambda: f"({e()} if {self.condition()} else {e()})",
            lambda: f"math.tanh({self.atom()} * {self.atom()})",
        ]
        if self.arrays_on:
            forms.append(lambda: f"0.2 * np.sum({self.array()})")
            forms.append(lambda: f"0.1 * (({self.array()}) @ {self.r.choice(self.arrays)})")
        if self.helpers:
            forms.append(lambda: f"{self.r.choice(self.helpers)}({self.atom()}, {self.atom()})")
        return self.r.choice(forms)()

    def array(self):
        a, b = self.r.choice(self.arrays), self.r.choice(self.arrays)
        return self.r.choice([a, f"{a} * {b}", f"np.tanh({a})", f"0.5 * {a} + {b}", f"np.sin({a}) * {self.r.choice(self.scalars)}",
                              f"{a}[::-1] - {b}", f"np.cumsum(0.5 * {a})"])  # fmt: skip

    def condition(self):
        c = f"{self.atom()} {self.r.choice('<>')} {self.atom()}"
        if self.r.random() < 0.2:
            c += f" {self.r.choice(['and', 'or'])} {self.atom()} < {self.atom()}"
        return c

    def emit(self, depth, text):
        self.lines.append("    " * depth + text)

    def scoped(self, write):
        """Write a block whose new names do not outlive it."""
        kept = len(self.scalars), len(self.arrays), len(self.owned), len(self.ints)
        write()
        self.scalars, self.arrays = self.scalars[: kept[0]], self.arrays[: kept[1]]
        self.owned, self.ints = self.owned[: kept[2]], self.ints[: kept[3]]

    def block(self, depth, jumps=()):
        for _ in range(self.r.randint(1, 4)):
            self.statement(depth)
        if jumps and self.r.random() < 0.3:
            self.emit(depth, f"if {self.condition()}:")
            if self.r.random() < 0.5:
                self.emit(depth + 1, f"{self.r.choice(self.scalars)} = {self.expression(1)}")
            self.emit(depth + 1, self.r.choice(jumps) if self.r.random() < 0.8 else f"return {self.expression(1)}")
            for _ in range(self.r.randint(1, 2)):
                self.statement(depth)

    def statement(self, depth):
        self.budget -= 1
        u = self.r.random()
        if self.budget <= 0 or depth > 3:
            u *= 0.5
        if u < 0.18:
            name = self.fresh("t")
            self.emit(depth, f"{name} = {self.expression()}")
            self.scalars.append(name)
        elif u < 0.32:
            name = self.r.choice(self.scalars)
            self.emit(depth, f"{name} {self.r.choice(['=', '=', '+=', '-=', '*='])} {self.expression()}")
        elif u < 0.36:
            p, q = self.r.choice(self.scalars), self.r.choice(self.scalars)
            if p != q:
                self.emit(depth, f"{p}, {q} = {q}, 0.5 * {p} - {self.atom()}")
            else:
                self.emit(depth, f"{p} = math.sin({p})")
        elif u < 0.46 and self.owned:
            name = self.r.choice(self.owned)
            how = self.r.random()
            if how < 0.4:  # the two parts may overlap
                to, source = self.r.choice(MOVES)
                self.emit(depth, f"{name}[{to}] = {self.r.choice([name, self.r.choice(self.arrays)])}[{source}]")
            else:
                part = self.index() if how < 0.85 else self.r.choice(["1:3", "::2", "2:", "::-1", ":"])
                self.emit(depth, f"{name}[{part}] {self.r.choice(['=', '+=', '-=', '*='])} {self.expression(1)}")
        elif u < 0.5:
            name = self.fresh("b")
            make = self.r.choice(["np.zeros(4)", "a.copy()", self.array() if self.arrays_on else "a.copy()"])
            if make in self.arrays:
                make += ".copy()"
            self.emit(depth, f"{name} = {make}")
            self.arrays.append(name)
            self.owned.append(name)
        elif u < 0.62:
            self.emit(depth, f"if {self.condition()}:")
            self.scoped(lambda: self.block(depth + 1))
            if self.r.random() < 0.6:
                self.emit(depth, "else:")
                self.scoped(lambda: self.block(depth + 1))
        elif u < 0.8 and self.loops < 3:
            self.loops += 1
            i = self.fresh("i")
            bounds = self.r.choice(
                ["3", "4", "1, 4", "3, -1, -1", "0, 6, 2", "4", f"{self.ints[-1]}" if self.ints else "2"]
            )
            how = self.r.random()
            if how < 0.7:
                self.emit(depth, f"for {i} in range({bounds}):")
                extra = []
            elif how < 0.85:
                extra = [self.fresh("v")]
                self.emit(depth, f"for {i}, {extra[0]} in enumerate({self.r.choice(self.arrays)}):")
            else:
                extra = [self.fresh("v"), self.fresh("v")]
                self.emit(
                    depth, f"for {i}, ({extra[0]}, {extra[1]}) in enumerate(zip(a, {self.r.choice(self.arrays)})):"
                )

            def inside():
                self.ints.append(i)
                self.scalars.extend(extra)
                self.block(depth + 1, ("break", "continue"))

            self.scoped(inside)
            self.loops -= 1
        elif u < 0.9 and self.loops < 3:
            self.loops += 1
            n = self.fresh("n")
            self.emit(depth, f"{n} = 0")
            self.emit(depth, f"while {n} < {self.r.randint(2, 4)} and {self.atom()} < 3.0:")
            self.emit(depth + 1, f"{n} += 1")

            def inside_while():
                self.ints.append(n)
                self.block(depth + 1, ("break", "continue"))

            self.scoped(inside_while)
            self.loops -= 1
        else:
            self.emit(depth, f"if {self.condition()}:")
            self.emit(depth + 1, f"return {self.expression(1)}")

    def source(self):
        if self.r.random() < 0.3:
            self.helpers = ["helper"]
            text = ["def helper(u, v):", "    w = u", "    if u > v:", "        return math.sin(w) * v",
                    "    for j in range(2):", "        w = 0.5 * w + v", "    return w", ""]  # fmt: skip
        else:
            text = []
        self.emit(0, "def f(x, y, a):")
        while self.budget > 0:
            self.block(1)
        self.emit(
            1,
            f"return {self.expression()} + "
            + " + ".join(f"0.1 * {s}" for s in self.scalars[-3:])
            + f" + {self.arrays[-1]}[1]",
        )
        return "\n".join(text + self.lines) + "\n"


class WideGenerator(Generator):
    """Writes programs that also bind arrays anew, hold matrices, and call functions of arrays, which may write."""

    FUNCTIONS = (
        "def mixed(b, u):", "    c = b.copy()", "    for j in range(3):", "        c[j + 1] = math.tanh(c[j] * u) + 0.5 * c[j + 1]",
        "        if c[j] > 0.5:", "            continue", "        c[j] -= u", "    return c, c[0] * u", "",
        "def push(b, u):", "    for j in range(4):", "        if b[j] > 0.0:", "            b[j] *= 0.5 * u", "        else:",
        "            b[j] += u", "", "def rolled(m, b):", "    h = b", "    for j in range(2):", "        h = np.tanh(m[j] * h + b)",
        "    return h", "",
    )  # fmt: skip

    def __init__(self, r, arrays=True):
        super().__init__(r, arrays)
        self.matrices = []

    def scoped(self, write):
        kept = len(self.matrices)
        super().scoped(write)
        self.matrices = self.matrices[:kept]

    def expression(self, depth=2):
        if depth and self.r.random() < 0.2:
            forms = [
                lambda: f"0.2 * np.max({self.array()})",
                lambda: f"np.mean({self.array()})",
                lambda: f"np.sum({(c := self.r.choice(self.arrays))}[{c} > {self.atom()}])",
                lambda: f"({self.atom()} if {self.atom()} < {self.atom()} < {self.atom()} else {self.atom()})",
                lambda: f"0.1 * np.prod({self.array()})",
            ]
            if self.matrices:
                forms += [
                    lambda: f"0.1 * np.sum({self.matrix()})",
                    lambda: f"{self.r.choice(self.matrices)}[{self.index()}, {self.index()}]",
                    lambda: f"0.1 * np.max({self.r.choice(self.matrices)})",
                ]
            return self.r.choice(forms)()
        return super().expression(depth)

    def array(self):
        if self.r.random() < 0.5:
            return super().array()
        a, b = self.r.choice(self.arrays), self.r.choice(self.arrays)
        e = lambda: self.expression(1)  # noqa: E731
        forms = [
            lambda: f"np.where({a} > {b}, {a}, 0.5 * {b})",
            lambda: f"np.maximum({a}, {b})",
            lambda: f"np.concatenate(({a}[2:], {b}[:2]))",
            lambda: f"np.array([{e()}, {e()}, {e()}, {e()}])",
            lambda: f"{a} * {self.r.choice(self.scalars)} - {b}[::-1]",
            lambda: f"{a}[np.array([{self.r.randint(0, 3)}, 2, 2, {self.r.randint(0, 3)}])]",
            lambda: f"np.sort({a} * {b})",
            lambda: f"({a} * 1.0 if {self.condition()} else {b} - 0.5 * {a})",
            lambda: f"np.where(({a} > 0.0) & ({b} < 1.0), {a} * {b}, 0.1)",
        ]
        if self.matrices:
            m = self.r.choice(self.matrices)
            forms += [
                lambda: f"0.3 * ({m} @ {a})",
                lambda: f"0.3 * ({a} @ {m})",
                lambda: f"0.3 * ({m}.T @ {a})",
                lambda: f"{m}[{self.index()}] + {a}",
                lambda: f"{m}[:, {self.index()}] * {a}",
                lambda: f"np.sum({m}, axis={self.r.randint(0, 1)})",
                lambda: f"{m}.reshape(16)[{self.r.randint(0, 12)}:][:4] * 0.5",
                lambda: f"rolled({m}, {a})",
            ]
        return self.r.choice(forms)()

    def matrix(self):
        a, b = self.r.choice(self.arrays), self.r.choice(self.arrays)
        forms = [f"np.outer({a}, {b})"]
        if self.matrices:
            m, o = self.r.choice(self.matrices), self.r.choice(self.matrices)
            forms += [
                f"{m} * {o}",
                f"np.tanh({m})",
                f"0.5 * ({m}.T + {o})",
                f"0.2 * ({m} @ {o})",
                f"{m} + {a}",
                f"{m} * {self.r.choice(self.scalars)}",
            ]
        return self.r.choice(forms)

    def new_array(self):
        """Return an expression of an array that nothing else holds."""
        text = self.array()
        return text + ".copy()" if text in self.arrays else text

    def statement(self, depth):
        if self.r.random() < 0.55:
            return super().statement(depth)
        self.budget -= 1
        change = self.r.choice(["=", "+=", "-=", "*="])
        forms = [self.call, self.pair]
        if depth < 4 and self.loops < 3 and self.budget > 0:
            forms.append(lambda: self.forever(depth))
        if self.owned:
            forms.append(lambda: self.through_a_view(depth))
            name = self.r.choice(self.owned)
            forms += 3 * [lambda: f"{name} = {self.new_array()}"]
            forms += [
                lambda: f"{name} {self.r.choice(['+=', '-='])} {self.new_array()}",
                lambda: f"{name} *= {self.expression(1)}",
                lambda: f"push({name}, {self.expression(1)})",
            ]
        if self.matrices:
            m, a, i, j = self.r.choice(self.matrices), self.r.choice(self.arrays), self.index(), self.index()
            forms += [
                lambda: f"{m} = {self.matrix()}",
                lambda: f"{m}[{i}, {j}] {change} {self.expression(1)}",
                lambda: f"{m}[{i}] {change} {a}",
                lambda: f"{m}[:, {j}] {change} {a}",
                lambda: f"{m}[{i}, 1:] = {a}[:-1]",
                lambda: f"{m}[1:, :-1] = {m}[:-1, 1:]",
                lambda: f"{m} {self.r.choice(['*=', '+='])} {self.expression(1)}",
            ]
        if len(self.matrices) < 2:
            forms += 2 * [self.new_matrix]
        if self.loops < 3 and self.budget > 0 and depth < 4:
            forms.append(lambda: self.rows(depth))
        text = self.r.choice(forms)()
        if text:
            self.emit(depth, text)
        return None

    def call(self):
        b, t = self.fresh("b"), self.fresh("t")
        text = f"{b}, {t} = mixed({self.r.choice(self.arrays)}, {self.expression(1)})"
        self.arrays.append(b)
        self.owned.append(b)
        self.scalars.append(t)
        return text

    def pair(self):
        t, b, p = self.fresh("t"), self.fresh("b"), self.fresh("p")
        text = f"{p} = ({self.expression(1)}, {self.new_array()}); {t}, {b} = {p}"
        self.scalars.append(t)
        self.arrays.append(b)
        return text

    def through_a_view(self, depth):
        view, owner = self.fresh("w"), self.r.choice(self.owned)
        self.emit(depth, f"{view} = {owner}[{self.r.choice(['1:', ':2', '::2'])}]")
        for _ in range(self.r.randint(1, 2)):
            change = self.r.choice(["=", "+=", "*="])
            self.emit(depth, f"{view}[{self.r.randint(0, 1)}] {change} {self.expression(1)}")
        if self.r.random() < 0.5:
            self.emit(depth, f"{self.r.choice(self.scalars)} += np.sum({view})")

    def forever(self, depth):
        """Write a loop that only a break ends."""
        self.loops += 1
        n = self.fresh("n")
        self.emit(depth, f"{n} = 0")
        self.emit(depth, "while True:")

        def inside():
            self.emit(depth + 1, f"if {n} >= {self.r.randint(1, 3)}:")
            self.emit(depth + 2, "break")
            self.emit(depth + 1, f"{n} += 1")
            self.ints.append(n)
            self.block(depth + 1, ("break", "continue"))

        self.scoped(inside)
        self.loops -= 1

    def new_matrix(self):
        name = self.fresh("m")
        text = f"{name} = {self.r.choice(['np.zeros((4, 4))', self.matrix(), self.matrix()])}"
        self.matrices.append(name)
        return text

    def rows(self, depth):
        """Write a loop over the numbers of an array, or over the rows of a matrix."""
        self.loops += 1
        of_matrix = self.matrices and self.r.random() < 0.5
        name = self.fresh("r" if of_matrix else "v")
        self.emit(depth, f"for {name} in {self.r.choice(self.matrices if of_matrix else self.arrays)}:")

        def inside():
            (self.arrays if of_matrix else self.scalars).append(name)
            self.block(depth + 1, ("break", "continue"))

        self.scoped(inside)
        self.loops -= 1

    def source(self):
        return "\n".join(self.FUNCTIONS) + super().source()


ARGUMENTS = (0.7, -0.4, np.array([0.3, -0.8, 1.1, 0.5]))


def sources(generator=Generator):
    """Return the hypothesis strategy of programs."""
    from hypothesis import strategies as st

    return st.randoms(use_true_random=False).map(lambda r: generator(r).source())


def seeded(seed, generator=Generator):
    """Return the program of a seed."""
    return generator(random.Random(seed)).source()


def namespace(source, math_, numpy_, wrap=lambda f: f):
    """Run the source in a module of its own and return its `f`."""
    key = hashlib.sha256(source.encode()).hexdigest()[:16]
    file = f"<program {key} {id(math_)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = types.ModuleType(f"program_{key}")
    module.__dict__.update(math=math_, np=numpy_, max=max, min=min)
    if math_ is not math:
        module.__dict__.update(max=_pick("max"), min=_pick("min"))
    exec(compile(source, file, "exec"), module.__dict__)
    for name, value in list(module.__dict__.items()):
        if isinstance(value, types.FunctionType) and name != "f" and value.__code__.co_filename == file:
            module.__dict__[name] = wrap(value)
    return module.__dict__["f"]


DIRECTION = (0.3, -1.2, np.array([0.7, 0.1, -0.4, 1.3]))


def oracle(source):
    """Return the value, the six partial derivatives, and their derivatives along DIRECTION; None on overflow.

    Each number is dual along DIRECTION, and these are the parts of numbers that are dual along a unit vector.
    """
    f = namespace(source, DualMath(), DualNumPy)
    flat, along = [np.hstack(values) for values in (ARGUMENTS, DIRECTION)]
    rows, Dual.overflowed = [], False
    for k in range(6):
        duals = [Dual(Dual(v, d), Dual(float(j == k))) for j, (v, d) in enumerate(zip(flat, along, strict=True))]
        try:
            result = Dual.of(f(duals[0], duals[1], np.array(duals[2:], dtype=object)))
        except (OverflowError, ValueError, ZeroDivisionError):
            return None
        moved = Dual.of(result.dot)
        rows.append((Dual.of(result.value).real, moved.value, moved.dot))
    values, partials, products = np.array(rows, dtype=float).T
    if not np.all(np.isfinite(products)) or max(np.max(np.abs(partials)), np.max(np.abs(products))) > 1e8:
        return None
    return values[0], partials, products


def check(source, compiled=False):
    """Check one program; return "right", "wrong: ...", "refused: ...", "skipped", or "NaN: ...".

    The last is the documented answer where a number on the way, also one that the result does not depend on, is not
    finite: the right number or NaN, never a wrong one.

    Compiled, its value and gradient. As plain Python (quick to make): value and gradient, gradient alone, the tangent
    along a direction, and the tangent of the gradient.
    """
    import numba

    from derivable.autodiff.kinds import DerivativeError
    from derivable.autodiff.verbs import value_and_grad

    truth = oracle(source)
    if truth is None:
        return "skipped"
    value, partials, _ = truth
    overflowed = Dual.overflowed
    try:
        if compiled:
            got = value_and_grad(numba.njit(namespace(source, math, np, numba.njit)), (0, 1, 2))(*ARGUMENTS)
        else:
            got = running.value_and_grad(namespace(source, math, np), (0, 1, 2), ARGUMENTS)
    except DerivativeError as error:
        return f"refused: {error}"
    outcome = judged("value", got[0], value, False, 1e-10, 1e-12) or judged(
        "gradient", np.hstack(got[1]), partials, overflowed
    )
    if outcome or compiled:
        return outcome or "right"
    return check_plain(namespace(source, math, np), *truth, overflowed)


def judged(what, got, wanted, overflowed, rtol=1e-8, atol=1e-9):
    """Return what is wrong with an answer, or nothing."""
    right = np.isclose(got, wanted, rtol=rtol, atol=atol)
    if np.all(right):
        return ""
    if overflowed and np.all(right | np.isnan(got)):
        return f"NaN: {what} {got} != {wanted}"
    return f"wrong: {what} {got} != {wanted}"


def check_plain(f, value, partials, products, overflowed):
    """Check the other verbs of a program whose value and gradient are right."""
    from derivable.autodiff.kinds import DerivativeError
    from derivable.autodiff.verbs import grad

    every = (0, 1, 2)
    gradient = np.hstack(running.program(grad(f, every), ARGUMENTS)(*ARGUMENTS))
    v, t = running.jvp(f, every, ARGUMENTS, DIRECTION)
    outcome = (
        judged("gradient alone", gradient, partials, overflowed)
        or judged("value of jvp", v, value, False, 1e-10, 1e-12)
        or judged("jvp", t, partials @ np.hstack(DIRECTION), overflowed, 1e-10, 1e-12)
    )
    if outcome:
        return outcome
    try:
        got = np.hstack(running.hvp(f, every, ARGUMENTS, DIRECTION))
    except DerivativeError as error:
        return f"refused: of second order: {error}"
    return judged("hvp", got, products, overflowed) or "right"


def long_run(number, start, compiled, generator=Generator):
    """Check the programs of so many seeds, print every failure, and return the exit code."""
    counts, refusals = Counter(), Counter()
    for seed in range(start, start + number):
        try:
            outcome = check(seeded(seed, generator), compiled)
        except Exception as error:
            outcome = f"error: {type(error).__name__}: {str(error)[:300]}"
        word = outcome.split(":")[0]
        counts[word] += 1
        if word == "refused":
            refusals[outcome.strip().splitlines()[-1]] += 1
        elif word not in ("right", "skipped"):
            print(seed, outcome.replace("\n", " | ")[:400], flush=True)
        if (seed + 1 - start) % 50 == 0:
            print(seed + 1 - start, dict(counts), flush=True)
    print(dict(counts))
    for message, count in refusals.most_common(12):
        print(f"{count:5} {message}")
    return 1 if counts["wrong"] or counts["error"] else 0


if __name__ == "__main__":
    words, numbers = set(sys.argv[1:]) & {"plain", "wide"}, [int(word) for word in sys.argv[1:] if word.isdigit()]
    number, start = (*numbers, *(2000, 0)[len(numbers) :])
    sys.exit(long_run(number, start, "plain" not in words, WideGenerator if "wide" in words else Generator))
