"""Rules of the functions of whole arrays.

A rule says, for given kinds, how the function is called and how its derivative is: `reverse` holds the cotangent of
each argument, in terms of the cotangent `g` of the output, the arguments `x`, `y`, `w` (or `x0, x1, ...`) and the
output `z`; `forward` holds the tangent in terms of `dx`, `dy`, `dw`, and may be left out where the function is linear:
then the tangent is the function itself, of the tangents. A cotangent marked by `Spread` may be smaller than the
argument and counts for each element.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derivable.autodiff.kinds import Kind
from derivable.autodiff.rules.table import NAMES

__all__ = ["CUSTOM", "FUNCTIONS", "METHODS", "Forms", "Refused", "Spread"]


class Refused(Exception):
    """This call of the function has no rule."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


class Spread(str):
    """A cotangent that counts for each element of the argument (by broadcasting)."""


@dataclass
class Forms:
    """How a call and its derivatives are written.

    Attributes:
        kind: of the result.
        primal: the call.
        reverse: the cotangent of each argument; None: there is none; REFUSE: it is not known.
        forward: the tangent; None: the function is linear.
        terms: instead of `forward`, the tangent as a sum: for each argument the term that its own tangent gives.
        view: whether the result may share memory with the first argument.
        mirror: whether the same call on the cotangent of the first argument is the view for the cotangent.
        used: the condition on the elements of the argument that have a share at all.
        joint: one expression for all cotangents at once, a tuple.
        objects: what the expressions need by name.
    """

    kind: Any
    primal: str
    reverse: list[str | None] = field(default_factory=list)
    forward: str | None = None
    view: bool = False
    mirror: bool = False
    used: str | None = None
    joint: str | None = None
    objects: dict[str, Any] = field(default_factory=dict)
    terms: list[str | None] = field(default_factory=list)


REFUSE = "not known"
FUNCTIONS: dict[Any, ArrayRule] = {}
METHODS: dict[str, ArrayRule] = {}
CUSTOM: dict[Any, Any] = {}


class ArrayRule:
    """A rule, and how the arguments of a call are taken."""

    def __init__(self, name: str, signature: str, make: Callable[..., Forms]) -> None:
        self.name, self.make = name, make
        values, _, static = signature.partition("|")
        scope: dict[str, Any] = {}
        text = ", ".join(p for p in (values.strip(), static.strip()) if p)
        exec(f"def f({text}): pass", scope)
        self.signature = inspect.signature(scope["f"])
        self.values = [v.split("=")[0].strip() for v in values.split(",")]

    def read(self, reader: Any, args: list[Any], named: dict[str, Any]) -> tuple[list[Any], dict[str, Any], Any]:
        if self.name == "reshape" and len(args) > 2:
            args = [args[0], tuple(args[1:])]  # x.reshape(2, 3)
        try:
            bound = self.signature.bind(*args, **named)
        except TypeError as error:
            raise Refused(f"np.{self.name}: {error}", "use only the arguments that Numba supports") from None
        bound.apply_defaults()
        values: list[Any] = []
        info: dict[str, Any] = {}
        for name, binding in bound.arguments.items():
            if binding is None and name in self.values:
                continue  # left out
            if name not in self.values:
                info[name] = _known(binding, self.name, name)
            elif isinstance(binding, tuple):
                if name == self.values[-1] and name in ("shape", "arrays"):
                    info["count"] = len(binding)
                    values += [reader.as_value(b, reader.node) for b in binding]
                else:
                    raise Refused(f"np.{self.name} of a tuple", "make it an array first")
            else:
                values.append(reader.as_value(binding, reader.node))
                if name in ("shape", "arrays"):
                    info["count"] = 1
        return values, {}, self.make(*[v.kind for v in values], **{k: v for k, v in info.items() if k != "count"})


def _known(binding: Any, function: str, name: str) -> Any:
    if isinstance(binding, tuple):
        return tuple(_known(part, function, name) for part in binding)
    if binding is None or isinstance(binding, (str, int, float)):
        return binding
    if hasattr(binding, "const"):
        if binding.const is None:
            raise Refused(f"the argument {name} of np.{function} is not a constant", "write the number")
        return binding.const
    return binding.value


def define(name: str, signature: str, *functions: Any, method: str | None = None) -> Callable[..., Any]:
    """Register the rule of these functions, and of a method."""

    def decorator(make: Callable[..., Forms]) -> Callable[..., Forms]:
        entry = ArrayRule(name, signature, make)
        for function in functions:
            FUNCTIONS[function] = entry
        if method:
            METHODS[method] = entry
        return make

    return decorator


def _float(kind: Kind) -> str:
    return kind.dtype if kind.dtype[0] == "f" else "f8"


def _both(x: Kind, y: Kind) -> str:
    return "f4" if x.dtype == y.dtype == "f4" else "f8"


def _axis(axis: Any, ndim: int, function: str) -> int | None:
    if axis is None:
        return None
    if not isinstance(axis, int) or not -ndim <= axis < ndim:
        raise Refused(f"np.{function} along axis {axis!r} of {ndim}", "give one axis, a constant")
    return axis % ndim


def _expanded(name: str, axis: int | None, ndim: int) -> str:
    """Write an array that lost an axis so that it broadcasts against one that has it."""
    if axis is None or ndim == 1:
        return name
    return f"{name}[{', '.join('None' if k == axis else ':' for k in range(ndim))}]"


def _need(x: Kind, ndim: int, function: str) -> None:
    if x.ndim != ndim:
        raise Refused(f"np.{function} of {x.a}", f"it is supported for arrays of {ndim} dimension(s)")


# ------------------------------------------------------------------------------------------------- reductions


@define("sum", "x | axis=None", np.sum, method="sum")
def _sum(x: Kind, axis: Any) -> Forms:
    axis = _axis(axis, x.ndim, "sum")
    dtype = x.dtype if x.dtype != "b" else "i"
    if axis is None or x.ndim == 1:
        return Forms(Kind(dtype), "np.sum(x)", [Spread("g")])
    return Forms(Kind(dtype, x.ndim - 1), f"np.sum(x, axis={axis})", [Spread(_expanded("g", axis, x.ndim))])


@define("mean", "x | axis=None", np.mean, method="mean")
def _mean(x: Kind, axis: Any) -> Forms:
    axis = _axis(axis, x.ndim, "mean")
    if axis is None or x.ndim == 1:
        return Forms(Kind(_float(x)), "np.mean(x)", [Spread("g / x.size")])
    back = Spread(f"{_expanded('g', axis, x.ndim)} / x.shape[{axis}]")
    primal = f"np.sum(x, axis={axis}) / x.shape[{axis}]"  # Numba's np.mean takes no axis
    return Forms(Kind(_float(x), x.ndim - 1), primal, [back], primal.replace("x,", "dx,"))


@define("prod", "x", np.prod, method="prod")
def _prod(x: Kind) -> Forms:
    return Forms(Kind(x.dtype), "np.prod(x)", ["prod_reverse(g, x)"], "np.sum(prod_reverse(1.0, x) * dx)")


def _spread_along(x: Kind, axis: int) -> tuple[str, str, str]:
    """Write the differences from the mean along an axis, the variance, and the variance's tangent by its argument."""

    def mean(text: str) -> str:
        return f"np.sum({text}, axis={axis}) / x.shape[{axis}]"

    name = "x"
    difference = f"(x - {_expanded(f'({mean(name)})', axis, x.ndim)})"
    return difference, mean(f"{difference} ** 2"), f"2.0 * {mean(f'{difference} * dx')}"


@define("var", "x | axis=None", np.var, method="var")
def _var(x: Kind, axis: Any) -> Forms:
    axis = _axis(axis, x.ndim, "var")
    if axis is not None and x.ndim > 1:
        difference, variance, tangent = _spread_along(x, axis)
        back = f"(2.0 / x.shape[{axis}]) * {difference} * {_expanded('g', axis, x.ndim)}"
        return Forms(Kind(_float(x), x.ndim - 1), variance, [back], tangent)
    partial = "(2.0 / x.size) * (x - np.mean(x))"
    return Forms(Kind(_float(x)), "np.var(x)", [f"g * {partial}"], f"np.sum({partial} * dx)")


@define("std", "x | axis=None", np.std, method="std")
def _std(x: Kind, axis: Any) -> Forms:
    axis = _axis(axis, x.ndim, "std")
    if axis is not None and x.ndim > 1:
        difference, variance, tangent = _spread_along(x, axis)
        each = "(g / (z + (z == 0)) + 0 * z)"
        back = f"{difference} * {_expanded(each, axis, x.ndim)} / x.shape[{axis}]"
        return Forms(
            Kind(_float(x), x.ndim - 1), f"np.sqrt({variance})", [back], f"0.5 * {tangent} / (z + (z == 0)) + 0 * z"
        )
    partial = "(1.0 / (x.size * (z + (z == 0)))) * (x - np.mean(x))"
    return Forms(Kind(_float(x)), "np.std(x)", [f"(g + 0 * z) * {partial}"], f"np.sum({partial} * dx) + 0 * z")


def _extreme(name: str) -> Callable[[Kind], Forms]:
    def make(x: Kind) -> Forms:
        share = "pick(x == z, g / np.sum(x == z), pick(z == z, 0.0, z))"  # NaN where the result is, as the tangent
        tangent = "np.sum(pick(x == z, dx, 0.0)) / np.sum(x == z)"
        return Forms(Kind(x.dtype), f"np.{name}(x)", [share], tangent, used="x == z")

    return make


define("max", "x", np.max, np.amax, method="max")(_extreme("max"))
define("min", "x", np.min, np.amin, method="min")(_extreme("min"))


@define("norm", "x", np.linalg.norm)
def _norm(x: Kind) -> Forms:
    partial = "x / (z + (z == 0))"
    return Forms(
        Kind(_float(x)), "np.linalg.norm(x)", [f"(g + 0 * z) * ({partial})"], f"np.sum({partial} * dx) + 0 * z"
    )


@define("trace", "x", np.trace)
def _trace(x: Kind) -> Forms:
    _need(x, 2, "trace")
    return Forms(Kind(x.dtype), "np.trace(x)", ["g * np.eye(x.shape[0], x.shape[1])"])


def _triangle(name: str) -> Callable[[Kind, int], Forms]:
    def make(x: Kind, k: int) -> Forms:
        _need(x, 2, name)
        tail = f", {k}" if k else ""
        return Forms(Kind(x.dtype, 2), f"np.{name}(x{tail})", [f"np.{name}(g{tail})"])

    return make


define("tril", "x | k=0", np.tril)(_triangle("tril"))
define("triu", "x | k=0", np.triu)(_triangle("triu"))


def _discrete(
    name: str, kind: Callable[[Kind], Kind], *functions: Any, method: str | None = None, extra: str = ""
) -> None:
    def make(x: Kind) -> Forms:
        return Forms(kind(x), f"np.{name}(x{extra})", [None], "zero")

    define(name, "x", *functions, method=method)(make)


_discrete("argmax", lambda x: Kind("i"), np.argmax, method="argmax")
_discrete("argmin", lambda x: Kind("i"), np.argmin, method="argmin")
_discrete("any", lambda x: Kind("b"), np.any, method="any")
_discrete("all", lambda x: Kind("b"), np.all, method="all")
_discrete("count_nonzero", lambda x: Kind("i"), np.count_nonzero)


@define("argsort", "x | kind=None", np.argsort, method="argsort")
def _argsort(x: Kind, kind: Any) -> Forms:
    return Forms(Kind("i", x.ndim), "np.argsort(x, kind='mergesort')", [None], "zero")  # as sort: ties by position


@define("arange", "x, y=None, w=None", np.arange)
def _arange(x: Kind, *more: Kind) -> Forms:
    names = ["x", "y", "w"][: 1 + len(more)]
    kinds = [x, *more]
    sort = "f8" if any(k.dtype[0] == "f" for k in kinds) else "i"
    return Forms(Kind(sort, 1), f"np.arange({', '.join(names)})", [REFUSE] * len(names))


@define("linspace", "x, y, w", np.linspace)
def _linspace(x: Kind, y: Kind, w: Kind) -> Forms:
    return Forms(Kind("f8", 1), "np.linspace(x, y, w)", [REFUSE, REFUSE, None])


@define("eye", "x, y=None", np.eye, np.identity)
def _eye(x: Kind, *more: Kind) -> Forms:
    return Forms(Kind("f8", 2), "np.eye(x, y)" if more else "np.eye(x)", [None] * (1 + len(more)))


# --------------------------------------------------------------------------------------------------- products


@define("matmul", "x, y", np.matmul, np.dot)
def _matmul(x: Kind, y: Kind) -> Forms:
    if not x.ndim or not y.ndim or x.ndim > 2 or y.ndim > 2:
        raise Refused(f"a product of {x.a} and {y.a}", "use * for numbers, and arrays of one or two dimensions")
    dtype = _both(x, y)
    g = "g.astype(np.float32)" if dtype == "f4" and x.ndim + y.ndim > 2 else "g"
    outer = "outer" if x.dtype == y.dtype else "np.outer"
    reverse: dict[tuple[int, int], list[str | None]] = {
        (2, 2): [f"{g} @ y.T", f"x.T @ {g}"],
        (2, 1): [f"{outer}({g}, y)", f"x.T @ {g}"],
        (1, 2): [f"y @ {g}", f"{outer}(x, {g})"],
        (1, 1): ["g * y", "g * x"],
    }
    return Forms(Kind(dtype, x.ndim + y.ndim - 2), "x @ y", reverse[x.ndim, y.ndim], "dx @ y + x @ dy")


METHODS["dot"] = FUNCTIONS[np.dot]


@define("outer", "x, y", np.outer)
def _outer(x: Kind, y: Kind) -> Forms:
    _need(x, 1, "outer")
    _need(y, 1, "outer")
    g = "g.astype(np.float32)" if _both(x, y) == "f4" else "g"
    return Forms(Kind(_both(x, y), 2), "np.outer(x, y)", [f"{g} @ y", f"x @ {g}"], "np.outer(dx, y) + np.outer(x, dy)")


# ------------------------------------------------------------------------------------------------- rearranging


@define("transpose", "x | axes=None", np.transpose, method="transpose")
def _transpose(x: Kind, axes: Any) -> Forms:
    if axes is not None:
        if not isinstance(axes, tuple) or sorted(axes) != list(range(x.ndim)):
            raise Refused(f"np.transpose of {x.a} with the axes {axes!r}", "give each axis once, in a tuple")
        if axes == tuple(reversed(range(x.ndim))):
            return _transpose(x, None)
        back = tuple(sorted(range(x.ndim), key=axes.__getitem__))
        call = f"np.transpose(%s, {axes})"
        return Forms(
            Kind(x.dtype, x.ndim), call % "x", [f"np.transpose(g, {back})"], call % "dx", view=True, mirror=True
        )
    return Forms(Kind(x.dtype, x.ndim), "x.T", ["g.T"], view=True, mirror=True)


@define("reshape", "x, shape", np.reshape, method="reshape")
def _reshape(x: Kind, *shape: Kind) -> Forms:
    names = [f"x{k + 1}" for k in range(len(shape))]
    target = f"({', '.join(names)}{',' if len(names) == 1 else ''})"
    back = "np.ascontiguousarray(g).reshape(x.shape)"
    tangent = f"np.ascontiguousarray(dx).reshape({target})"
    return Forms(
        Kind(x.dtype, len(shape)), f"x.reshape({target})", [back] + [None] * len(shape), tangent, view=True, mirror=True
    )


@define("swapaxes", "x | axis1, axis2", np.swapaxes, method="swapaxes")
def _swapaxes(x: Kind, axis1: Any, axis2: Any) -> Forms:
    axes = list(range(x.ndim))
    first, second = (_axis(k, x.ndim, "swapaxes") or 0 for k in (axis1, axis2))
    axes[first], axes[second] = second, first
    return _transpose(x, tuple(axes))  # Numba has no method swapaxes


@define("broadcast_to", "x, shape", np.broadcast_to)
def _broadcast_to(x: Kind, *shape: Kind) -> Forms:
    if len(shape) < x.ndim:
        raise Refused(f"np.broadcast_to of {x.a} to {len(shape)} dimension(s)", "give it a shape of as many, or more")
    target = f"({''.join(f'x{k + 1}, ' for k in range(len(shape)))})"
    back = "unbroadcast(g, x.shape)" if x.ndim else "np.sum(g)"
    return Forms(
        Kind(x.dtype, len(shape)),
        f"np.broadcast_to(x, {target})",
        [back] + [None] * len(shape),
        f"np.broadcast_to(dx, {target}).copy()",
        view=bool(x.ndim),
    )


@define("repeat", "x, repeats", np.repeat, method="repeat")
def _repeat(x: Kind, repeats: Kind) -> Forms:
    if repeats.ndim or repeats.dtype != "i":
        raise Refused("np.repeat with several numbers of repeats", "repeat each element as often, or use a loop")
    back = "np.sum(np.ascontiguousarray(g).reshape((x.size, y)), axis=1).reshape(x.shape)" if x.ndim else "np.sum(g)"
    return Forms(Kind(x.dtype, 1), "np.repeat(x, y)", [back, None], "np.repeat(dx, y)")


@define("diag", "x | k=0", np.diag)
def _diag(x: Kind, k: Any) -> Forms:
    if x.ndim not in (1, 2) or not isinstance(k, int):
        raise Refused(f"np.diag of {x.a} at {k!r}", "it is supported for vectors and matrices and a constant k")
    tail = f", {k}" if k else ""
    back = f"np.diag(g{tail})" if x.ndim == 1 else f"scatter_diagonal(g, {k}, x)"
    return Forms(Kind(x.dtype, 3 - x.ndim), f"np.diag(x{tail})", [back], view=x.ndim == 2)


def _ravel(name: str) -> Callable[[Kind], Forms]:
    def make(x: Kind) -> Forms:
        view = name == "ravel"
        return Forms(Kind(x.dtype, 1), f"x.{name}()", ["np.ascontiguousarray(g).reshape(x.shape)"], view=view)

    return make


define("ravel", "x", np.ravel, method="ravel")(_ravel("ravel"))
define("flatten", "x", method="flatten")(_ravel("flatten"))


@define("copy", "x", np.copy, method="copy")
def _copy(x: Kind) -> Forms:
    return Forms(Kind(x.dtype, x.ndim), "x.copy()", ["g"])


@define("asarray", "x", np.asarray)
def _asarray(x: Kind) -> Forms:
    return Forms(Kind(x.dtype, x.ndim), "np.asarray(x)", ["g"], view=True, mirror=True)


@define("ascontiguousarray", "x", np.ascontiguousarray)
def _ascontiguousarray(x: Kind) -> Forms:
    return Forms(Kind(x.dtype, x.ndim), "np.ascontiguousarray(x)", ["g"], view=True)  # or a copy


@define("astype", "x | dtype", method="astype")
def _astype(x: Kind, dtype: Any) -> Forms:
    if isinstance(dtype, tuple):
        raise Refused("astype with the dtype of another array", "write np.float64 or np.float32")
    kind = np.dtype(dtype)
    if kind.kind == "f" and kind.itemsize in (4, 8):
        return Forms(Kind(f"f{kind.itemsize}", x.ndim), f"x.astype(np.{kind.name})", ["g"])
    if kind.kind in "bi":
        return Forms(
            Kind(kind.kind, x.ndim), f"x.astype(np.{'bool_' if kind.kind == 'b' else kind.name})", [None], "zero"
        )
    raise Refused(f"astype({kind})", "use float64 or float32")


@define("concatenate", "arrays | axis=0", np.concatenate)
def _concatenate(*arrays: Kind, axis: int = 0) -> Forms:
    ndim = arrays[0].ndim
    axis = _axis(axis, ndim, "concatenate") or 0
    names = [f"x{k}" for k in range(len(arrays))]
    reverse: list[str | None] = []
    for k, _name in enumerate(names):
        start = " + ".join(f"{n}.shape[{axis}]" for n in names[:k])
        stop = " + ".join(f"{n}.shape[{axis}]" for n in names[: k + 1])
        reverse.append(f"g[{':, ' * axis}{start} : {stop}]")
    dtype = "f4" if all(a.dtype == "f4" for a in arrays) else "f8" if any(a.dtype[0] == "f" for a in arrays) else "i"
    tail = f", axis={axis}" if axis else ""
    tangents = ", ".join("d" + n for n in names)
    return Forms(
        Kind(dtype, ndim),
        f"np.concatenate(({', '.join(names)},){tail})",
        reverse,
        f"np.concatenate(({tangents},){tail})",
    )


define("hstack", "arrays", np.hstack)(lambda *arrays: _concatenate(*arrays, axis=min(1, arrays[0].ndim - 1)))


@define("stack", "arrays | axis=0", np.stack)
def _stack(*arrays: Kind, axis: int = 0) -> Forms:
    ndim = arrays[0].ndim + 1
    axis = _axis(axis, ndim, "stack") or 0
    names = [f"x{k}" for k in range(len(arrays))]
    tail = f", axis={axis}" if axis else ""
    dtype = "f4" if all(a.dtype == "f4" for a in arrays) else "f8" if any(a.dtype[0] == "f" for a in arrays) else "i"
    tangents = ", ".join("d" + n for n in names)
    return Forms(
        Kind(dtype, ndim),
        f"np.stack(({', '.join(names)},){tail})",
        [f"g[{':, ' * axis}{k}]" for k in range(len(names))],
        f"np.stack(({tangents},){tail})",
    )


def literal(sort: str, shape: tuple[int, ...]) -> Forms:
    """Return the forms of np.array of numbers."""
    places = list(np.ndindex(shape))
    dtype = {"i": "np.int64", "b": "np.bool_", "f4": "np.float32", "f8": "np.float64"}[sort]

    def text(letter: str) -> str:
        names = [f"{letter}{k}" for k in range(len(places))]
        if len(shape) == 2:
            n = shape[1]
            names = [f"[{', '.join(names[k : k + n])}]" for k in range(0, len(names), n)]
        return f"np.array([{', '.join(names)}], {dtype})"

    reverse: list[str | None] = [f"g[{', '.join(map(str, p))}]" if sort[0] == "f" else None for p in places]
    return Forms(Kind(sort, len(shape)), text("x"), reverse, text("dx") if sort[0] == "f" else "zero")


@define("expand_dims", "x | axis", np.expand_dims)
def _expand_dims(x: Kind, axis: Any) -> Forms:
    axis = _axis(axis, x.ndim + 1, "expand_dims") or 0
    index = ", ".join("0" if k == axis else ":" for k in range(x.ndim + 1))
    return Forms(Kind(x.dtype, x.ndim + 1), f"np.expand_dims(x, {axis})", [f"g[{index}]"], view=True)


@define("cumsum", "x", np.cumsum, method="cumsum")
def _cumsum(x: Kind) -> Forms:
    _need(x, 1, "cumsum")
    return Forms(Kind(x.dtype, 1), "np.cumsum(x)", ["np.cumsum(g[::-1])[::-1]"])


@define("cumprod", "x", np.cumprod, method="cumprod")
def _cumprod(x: Kind) -> Forms:
    _need(x, 1, "cumprod")
    return Forms(Kind(x.dtype, 1), "np.cumprod(x)", ["cumprod_reverse(g, x)"], "cumprod_tangent(x, dx)")


@define("sort", "x", np.sort)
def _sort(x: Kind) -> Forms:
    _need(x, 1, "sort")
    order = "np.argsort(x, kind='mergesort')"
    return Forms(Kind(x.dtype, 1), "np.sort(x)", [f"scatter(g, {order}, x)"], f"dx[{order}]")


@define("reserve", "x, y")
def _reserve(x: Kind, y: Kind) -> Forms:
    return Forms(Kind(x.dtype, 1), "reserve(x, y)", ["g[: x.shape[0]]", None], "reserve(dx, y)")


# --------------------------------------------------------------------------------------------- linear algebra


@define("solve", "x, y", np.linalg.solve)
def _solve(x: Kind, y: Kind) -> Forms:
    _need(x, 2, "solve")
    back = "np.linalg.solve(x.T, g)"
    left = f"-np.outer({back}, z)" if y.ndim == 1 else f"-({back} @ z.T)"
    return Forms(Kind(_both(x, y), y.ndim), "np.linalg.solve(x, y)", [left, back], "np.linalg.solve(x, dy - dx @ z)")


@define("inv", "x", np.linalg.inv)
def _inv(x: Kind) -> Forms:
    return Forms(Kind(_float(x), 2), "np.linalg.inv(x)", ["-(z.T @ g @ z.T)"], "-(z @ dx @ z)")


@define("det", "x", np.linalg.det)
def _det(x: Kind) -> Forms:
    return Forms(
        Kind(_float(x)), "np.linalg.det(x)", ["(g * z) * np.linalg.inv(x).T"], "z * np.trace(np.linalg.inv(x) @ dx)"
    )


@define("cholesky", "x", np.linalg.cholesky)
def _cholesky(x: Kind) -> Forms:
    return Forms(Kind(_float(x), 2), "np.linalg.cholesky(x)", ["cholesky_reverse(g, z)"], "cholesky_tangent(dx, z)")


def _register_kernels() -> None:
    """Let second derivatives read the kernels that first derivatives call."""
    from derivable.autodiff.rules import kernels

    FUNCTIONS[kernels.reserve] = FUNCTIONS.get(kernels.reserve) or ArrayRule("reserve", "x, y", _reserve)

    def summed(name: str) -> Callable[..., Forms]:
        def make(x: Kind, *shape: Kind) -> Forms:
            target = "".join(f"x{k + 1}, " for k in range(len(shape)))
            call = f"{name}(%s, ({target}))"
            return Forms(Kind(x.dtype, len(shape)), call % "x", [Spread("g"), *[None] * len(shape)], call % "dx")

        return make

    for name in ("unbroadcast", "unbroadcast_1", "unbroadcast_2", "unbroadcast_21"):
        define(name, "x, shape", getattr(kernels, name))(summed(name))

    @define("wide", "x, shape", kernels.wide)
    def _wide(x: Kind, *shape: Kind) -> Forms:
        target = f"({''.join(f'x{k + 1}, ' for k in range(len(shape)))})"
        back = f"unbroadcast(g.reshape({target}), x.shape)"
        return Forms(
            Kind(x.dtype, 1), f"wide(x, {target})", [back, *[None] * len(shape)], f"wide(dx, {target})", view=True
        )

    FUNCTIONS[kernels.outer] = FUNCTIONS[np.outer]

    define("narrow", "x, y", kernels.narrow)(
        lambda x, y: Forms(Kind("b", y.ndim), "narrow(x, y)", [None, None], "zero")
    )
    NAMES[kernels.pick] = "pick"

    @define("scatter", "x, y, w", kernels.scatter)
    def _scatter(x: Kind, y: Kind, w: Kind) -> Forms:
        return Forms(Kind(x.dtype, w.ndim), "scatter(x, y, w)", ["g[y]", None, None], "scatter(dx, y, w)")

    @define("latest", "x, y, w", kernels.latest)
    def _latest(x: Kind, y: Kind, w: Kind) -> Forms:
        return Forms(x, "latest(x, y, w)", ["latest(g, y, w)", None, None], "latest(dx, y, w)")


_register_kernels()
