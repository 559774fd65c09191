"""Hand rows of the data to the user's component gradient: views without a copy, calls without bookkeeping.

A component gradient takes the parameters, one row (or one batch of rows) of each data array, and possibly more
arguments. The loop holds the whole arrays and a number that says which row is next. `call_row` and `call_block` make
the views and the call in one go: written out as `function(w, X[i], y[i])`, each view would count references to the
array it belongs to, which takes longer than a step of a small model.

The file has four parts: parameters as one vector, the data, the calls, compiling the user's function.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.errors import NumbaError
from numba.extending import intrinsic, is_jitted, overload
from numba.np.arrayobj import load_item, make_array, populate_array

from derivable.descent.functions import InPlace, Prepared, describe, find_nan
from derivable.validation import as_array, check_finite

__all__ = [
    "Component",
    "Parameters",
    "call_block",
    "call_row",
    "collect",
    "gather",
    "prefetch",
    "prepare_component",
    "prepare_data",
    "refuse_nan",
]


# ------------------------------------------------------------------------------- parameters as one vector


class Parameters:
    """The start of a run as one flat vector, and the same memory as the user's function sees it.

    The user's function takes a number, an array of any shape, or a tuple of arrays (tuples may hold tuples). All
    of them are views into `flat`: an update is one loop over one vector, whatever it is made of.

    Attributes:
        flat: the vector; changed in place by a run.
        w: what the user's function takes: an array of shape (1,) for a number, an array, or a tuple of arrays.
        kind: "number", "array" or "tuple".
    """

    def __init__(self, w0: Any):
        self.kind = "tuple" if isinstance(w0, tuple) else "array"
        leaves = list(_leaves(w0, "w0"))
        if not leaves:
            raise ValueError("w0 must hold at least one array, got an empty tuple")
        dtype = np.result_type(*(a.dtype if a.dtype.kind == "f" else np.float64 for a in leaves)).newbyteorder("=")
        if self.kind == "array" and leaves[0].ndim == 0:
            self.kind = "number"
        self._tree = _shapes(w0, self.kind == "number")
        self.flat = np.concatenate([a.reshape(-1).astype(dtype) for a in leaves])
        self.w = self.view(self.flat)

    def view(self, flat: np.ndarray) -> Any:
        """Return views into a vector, of the shapes of the parameters."""
        return _build(self._tree, flat, [0])

    def public(self, flat: np.ndarray) -> Any:
        """Return a vector as the user gave the start: a number, an array, or a tuple of arrays."""
        return flat[0] if self.kind == "number" else self.view(flat)

    def many(self, rows: np.ndarray) -> Any:
        """Return an array of vectors, one in each row, as arrays whose first axis counts them."""
        if self.kind == "number":
            return rows[:, 0]
        return _build_rows(self._tree, rows, [0])

    def vector(self, value: Any, name: str) -> np.ndarray:
        """Return something of the shapes of the parameters as one float64 vector."""
        given = [as_array(a, name, kinds="iuf") for a in _flatten(value)]
        wanted = list(_flatten(self._tree, leaf=_is_shape))
        if [a.shape for a in given] != wanted and not (self.kind == "number" and given[0].shape == ()):
            raise ValueError(f"{name} must have the shape of w0, got {[a.shape for a in given]}, not {wanted}")
        return np.concatenate([a.reshape(-1).astype(np.float64) for a in given])


def _leaves(w0: Any, name: str) -> Any:
    if isinstance(w0, tuple):
        for k, part in enumerate(w0):
            yield from _leaves(part, f"{name}[{k}]")
        return
    array = as_array(w0, name, kinds="iuf")
    if "[" in name and array.ndim == 0:
        raise ValueError(f"{name} must be an array, got a number: give an array of one element")
    check_finite(array, name)
    yield array


class _Shape(tuple):
    """The shape of an array, told apart from a tuple of arrays."""


def _is_shape(node: Any) -> bool:
    return isinstance(node, _Shape)


def _shapes(node: Any, number: bool) -> Any:
    if isinstance(node, tuple):
        return tuple(_shapes(part, False) for part in node)
    return _Shape((1,) if number else np.shape(node))


def _flatten(node: Any, leaf: Callable[[Any], bool] = lambda node: not isinstance(node, tuple)) -> Any:
    if leaf(node):
        yield tuple(node) if _is_shape(node) else node
    else:
        for part in node:
            yield from _flatten(part, leaf)


def _build(tree: Any, flat: np.ndarray, at: list[int]) -> Any:
    if not _is_shape(tree):
        return tuple(_build(part, flat, at) for part in tree)
    start = at[0]
    at[0] += int(np.prod(tree))
    return flat[start : at[0]].reshape(tuple(tree))


def _build_rows(tree: Any, rows: np.ndarray, at: list[int]) -> Any:
    if not _is_shape(tree):
        return tuple(_build_rows(part, rows, at) for part in tree)
    start = at[0]
    at[0] += int(np.prod(tree))
    return rows[:, start : at[0]].reshape(len(rows), *tree)


# ----------------------------------------------------------------------------------------------- the data


def refuse_nan(data: tuple[np.ndarray, ...], name: str = "data") -> None:
    """Raise ValueError if one of the arrays holds a NaN, and say where."""
    for k, array in enumerate(data):
        if problem := find_nan(array, f"{name}[{k}]"):
            raise ValueError(f"{problem}; pass allow_nan=True if the gradient knows what to do with it")


def prepare_data(data: Any, name: str = "data") -> tuple[np.ndarray, ...]:
    """Check a tuple of arrays with equally many rows; make them contiguous, so that each row is a plain view."""
    if isinstance(data, np.ndarray):
        raise TypeError(f"{name} must be a tuple of arrays, got one array: write {name}=(X,) for a single array")
    if not isinstance(data, tuple):
        raise TypeError(f"{name} must be a tuple of arrays, got {type(data).__name__}")
    if not data:
        raise ValueError(f"{name} must hold at least one array")
    ready = []
    for k, item in enumerate(data):
        array = as_array(item, f"{name}[{k}]", kinds="biufc")
        if array.ndim == 0:
            raise ValueError(f"{name}[{k}] must have a first axis of rows, got a number: pass constants in args")
        if len(array) != len(np.asarray(data[0])):
            raise ValueError(
                f"{name}[{k}] must have as many rows as {name}[0], {len(np.asarray(data[0]))}, got {len(array)}"
            )
        ready.append(np.require(array, array.dtype.newbyteorder("="), ["C", "A"]))
    return tuple(ready)


def gather(data: Any, order: Any, start: int, stop: int, buffers: Any) -> None:
    """Copy the rows order[start:stop] of each array into the first rows of its buffer. The plain version."""
    for x, b in zip(data, buffers, strict=True):
        b[: stop - start] = x[order[start:stop]]


@overload(gather)
def _gather(data, order, start, stop, buffers):  # type: ignore[no-untyped-def]
    if len(data) == 0:
        return lambda data, order, start, stop, buffers: None
    if data[0].ndim == 1:

        def numbers(data, order, start, stop, buffers):  # type: ignore[no-untyped-def]
            x, b = data[0], buffers[0]
            for k in range(start, stop):
                b[k - start] = x[order[k]]
            gather(data[1:], order, start, stop, buffers[1:])

        return numbers

    def rows(data, order, start, stop, buffers):  # type: ignore[no-untyped-def]
        x, b = data[0], buffers[0]
        x2, b2 = x.reshape(x.shape[0], x.size // x.shape[0]), b.reshape(b.shape[0], b.size // b.shape[0])
        for k in range(start, stop):
            i = order[k]
            for j in range(x2.shape[1]):
                b2[k - start, j] = x2[i, j]
        gather(data[1:], order, start, stop, buffers[1:])

    return rows


# ----------------------------------------------------------------------------------------------- the calls


def _view(context: Any, builder: Any, array_type: Any, value: Any, first: Any, count: Any) -> tuple[Any, Any]:
    """Build, at compile time, the row `first` of an array, or a block of `count` rows: its type and its value."""
    source = make_array(array_type)(context, builder, value)
    shape = cgutils.unpack_tuple(builder, source.shape)
    strides = cgutils.unpack_tuple(builder, source.strides)
    pointer = cgutils.pointer_add(builder, source.data, builder.mul(first, strides[0]))
    if count is None and array_type.ndim == 1:
        return array_type.dtype, load_item(context, builder, array_type, pointer)
    view_type = types.Array(array_type.dtype, array_type.ndim - (count is None), "C")
    view = make_array(view_type)(context, builder)
    shape, strides = (shape[1:], strides[1:]) if count is None else ([count, *shape[1:]], strides)
    populate_array(view, pointer, shape, strides, source.itemsize, None)
    return view_type, view._getvalue()


def _build_call(context: Any, builder: Any, signature: Any, values: Any, count: Any) -> Any:
    function, w_type, data_type, args_type, out_type = (signature.args[k] for k in (0, 1, 2, -2, -1))
    target = function.signature
    have, parts = [w_type], [values[1]]
    if isinstance(w_type, types.Array) and not isinstance(target.args[0], (types.Array, types.BaseTuple)):
        have, parts = [w_type.dtype], [builder.load(make_array(w_type)(context, builder, values[1]).data)]
    for k, array_type in enumerate(data_type):
        item = _view(context, builder, array_type, builder.extract_value(values[2], k), values[3], count)
        have.append(item[0])
        parts.append(item[1])
    for k, arg_type in enumerate(args_type):
        have.append(arg_type)
        parts.append(builder.extract_value(values[-2], k))
    if len(target.args) == len(have) + 1:  # it writes in place
        have.append(out_type)
        parts.append(values[-1])
    parts = [context.cast(builder, p, h, t) for p, h, t in zip(parts, have, target.args, strict=True)]
    address = cgutils.create_struct_proxy(function)(context, builder, value=values[0]).jit_addr
    convention = context.call_conv
    kind = convention.get_function_type(target.return_type, target.args).as_pointer()
    status, result = convention.call_function(
        builder, builder.bitcast(address, kind), target.return_type, target.args, parts
    )
    with cgutils.if_unlikely(builder, status.is_error):
        convention.return_status_propagate(builder, status)
    return result


@intrinsic
def _call_row(typingctx, function, w, data, i, args, out):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return _build_call(context, builder, signature, values, None)

    return function.signature.return_type(function, w, data, types.int64, args, out), codegen


@intrinsic
def _call_block(typingctx, function, w, data, start, count, args, out):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return _build_call(context, builder, signature, values, values[4])

    return function.signature.return_type(function, w, data, types.int64, types.int64, args, out), codegen


def _call_row_plain(function, w, data, i, args, out):  # type: ignore[no-untyped-def]
    return function(w, *(x[i] for x in data), *args)


def _call_block_plain(function, w, data, start, count, args, out):  # type: ignore[no-untyped-def]
    return function(w, *(x[start : start + count] for x in data), *args)


# Call a prepared function inside a kernel on row `i`, or on the rows start..start+count, of each array in `data`:
# `function(w, *rows, *args)`, with `out` as its last argument if it writes in place, with w[0] for w if it is one of a
# number. An exception that the function raises leaves the kernel as usual.
call_row: Any = _call_row_plain if numba.config.DISABLE_JIT else _call_row
call_block: Any = _call_block_plain if numba.config.DISABLE_JIT else _call_block


@intrinsic
def _prefetch(typingctx, data, i):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        from llvmlite import ir

        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for k, array_type in enumerate(signature.args[0]):
            source = make_array(array_type)(context, builder, builder.extract_value(values[0], k))
            stride = cgutils.unpack_tuple(builder, source.strides)[0]
            address = cgutils.pointer_add(builder, source.data, builder.mul(values[1], stride))
            line = ir.Constant(stride.type, 64)
            lines = builder.udiv(builder.add(stride, ir.Constant(stride.type, 63)), line)
            with cgutils.for_range(builder, lines) as loop:
                at = cgutils.pointer_add(builder, address, builder.mul(loop.index, line))
                builder.call(fetch, [builder.bitcast(at, byte), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(data, types.int64), codegen


def _prefetch_plain(data, i):  # type: ignore[no-untyped-def]
    pass


# Ask the processor to bring row `i` of each array into its cache, while the rows before it are worked on.
prefetch: Any = _prefetch_plain if numba.config.DISABLE_JIT else _prefetch


def collect(v: Any, w: Any, flat: Any, at: int) -> int:
    """Copy a returned gradient into the vector `flat` from `at` on; return where it ends, -1 if shapes disagree.

    Copied, as it may be a view into `w`, which the step is about to change. This is the plain version; compiled, one
    of those below takes its place, by what the user's function returns.
    """
    if v is None:
        return flat.size
    if isinstance(v, tuple):
        for part, own in zip(v, w, strict=True):
            at = collect(part, own, flat, at)
            if at < 0:
                return -1
        return at
    if v.shape != w.shape:
        return -1
    flat[at : at + v.size] = v.reshape(-1)
    return at + v.size


@overload(collect)
def _collect(v, w, flat, at):  # type: ignore[no-untyped-def]
    if isinstance(v, types.NoneType):  # it wrote in place
        return lambda v, w, flat, at: flat.size
    if isinstance(v, types.BaseTuple):
        if len(v) == 0:
            return lambda v, w, flat, at: at

        def parts(v, w, flat, at):  # type: ignore[no-untyped-def]
            at = collect(v[0], w[0], flat, at)
            if at < 0:
                return -1
            return collect(v[1:], w[1:], flat, at)

        return parts
    if isinstance(v, types.Array) and v.ndim == 1:

        def vector(v, w, flat, at):  # type: ignore[no-untyped-def]
            if v.size != w.size:
                return -1
            for i in range(v.size):
                flat[at + i] = v[i]
            return at + v.size

        return vector
    if isinstance(v, types.Array):

        def array(v, w, flat, at):  # type: ignore[no-untyped-def]
            if v.shape != w.shape:
                return -1
            source = np.ascontiguousarray(v).reshape(-1)
            for i in range(source.size):
                flat[at + i] = source[i]
            return at + source.size

        return array

    def number(v, w, flat, at):  # type: ignore[no-untyped-def]
        flat[at] = v
        return at + 1

    return number


# --------------------------------------------------------------------------- compile the user's function


@dataclass(frozen=True)
class Component(Prepared):
    """A prepared function of parameters and rows. `call(w, rows)` calls it from Python."""

    call: Callable[[Any, tuple[Any, ...]], Any]  # type: ignore[assignment]


def prepare_component(
    function: Any,
    name: str,
    parameters: Parameters,
    data: tuple[np.ndarray, ...],
    args: tuple[Any, ...],
    *,
    batched: bool,
    returns: str,
) -> Component:
    """Compile the user's function for the parameters, one row or a batch of each data array, and `args`.

    Args:
        function: an `@njit` function; for a gradient also an object with an in-place form `into`.
        name: the argument's name, for messages.
        parameters: the start.
        data: the arrays whose rows it takes.
        args: what it takes after the rows.
        batched: whether it takes batches.
        returns: "gradient" or "value".

    Returns:
        The compiled function. Its `call` takes parameters, a tuple of rows or batches, and returns a flat vector (a
        gradient) or a number.

    Raises:
        TypeError: if it is not compiled, takes other arguments, cannot be compiled for these types, or returns
            something else.
    """
    scalar = parameters.kind == "number"
    w = parameters.w
    into = getattr(function, "into", None) if returns == "gradient" and not scalar else None
    if parameters.kind == "tuple" and not isinstance(function, InPlace):
        into = None  # dv.grad writes in place for a single array only
    target = into if into is not None else function

    def call(v: Any, items: tuple[Any, ...]) -> Any:
        with np.errstate(all="ignore"):
            if into is not None:
                flat = np.full(parameters.flat.size, np.nan, parameters.flat.dtype)
                target(v, *items, *args, parameters.view(flat))
                return flat
            result = target(v[0] if scalar else v, *items, *args)
        if returns == "value":
            return float(result)
        return np.concatenate([np.asarray(a).reshape(-1) for a in _flatten(result)])

    if numba.config.DISABLE_JIT:
        return _prepare_plain(target, name, parameters, data, args, into is not None, batched, returns, call)
    if not is_jitted(target):
        if hasattr(function, "into") and scalar:
            raise TypeError(f"{name} writes into an array, but w0 is a number: give w0 as an array of one element")
        if hasattr(target, name):  # a Loss, which holds both
            raise TypeError(f"{name} must be a function, got {target!r}: give its attribute {name}")
        kind = "a plain Python function" if inspect.isroutine(target) else f"{type(target).__name__}"
        got = f"{kind} {getattr(target, '__name__', '')}".strip()
        raise TypeError(
            f"{name} must be compiled, got {got}: put @numba.njit above it"
            " (or set NUMBA_DISABLE_JIT=1 before Python starts, to run everything slowly in plain Python)"
        )
    point = numba.typeof(w[0] if scalar else w)
    wanted = [point]
    labels = ["w"]
    for k, x in enumerate(data):
        item = numba.typeof(x)
        whole = types.Array(item.dtype, x.ndim, "C")
        wanted.append(whole if batched else types.Array(item.dtype, x.ndim - 1, "C") if x.ndim > 1 else item.dtype)
        labels.append(f"{'a batch' if batched else 'a row'} of data[{k}]")
    for k, value in enumerate(args):
        try:
            wanted.append(numba.typeof(value))
        except (ValueError, NumbaError):
            raise TypeError(f"args[{k}] must be something Numba knows, got {type(value).__name__}") from None
        labels.append(f"args[{k}]")
    if into is not None:
        wanted.append(point)
        labels.append("out")
    _check_arity(target, name, len(data), len(args), into is not None, batched)
    signature = _compile(target, name, tuple(wanted), labels, batched)
    result = signature.return_type
    if returns == "value":
        if not isinstance(result, (types.Integer, types.Float, types.Boolean)):
            raise TypeError(f"{name} must return a real number, got {describe(result)}")
    elif into is None:
        _check_gradient(result, numba.typeof(parameters.flat.dtype.type(0)) if scalar else point, name)
    return Component(target, types.FunctionType(signature), parameters.flat.dtype, call)


def _prepare_plain(
    target: Any,
    name: str,
    parameters: Parameters,
    data: tuple[np.ndarray, ...],
    args: tuple[Any, ...],
    into: bool,
    batched: bool,
    returns: str,
    call: Callable[..., Any],
) -> Component:
    """The same without a compiler: a plain function of the parameters and the rows."""
    scalar = parameters.kind == "number"
    if not callable(target):
        attribute = f": give its attribute {name}" if hasattr(target, name) else ""  # a Loss holds both
        raise TypeError(f"{name} must be a function, got {target!r}{attribute}")
    _check_arity(target, name, len(data), len(args), into, batched)

    def plain(v: Any, *items: Any) -> Any:
        if into:
            flat = np.full(parameters.flat.size, np.nan, parameters.flat.dtype)
            target(v, *items, parameters.view(flat))
            return parameters.view(flat)
        result = target(v[0] if scalar else v, *items)
        if returns == "value":
            return float(result)
        _check_parts(result, parameters.w, name)
        if isinstance(result, tuple):
            return result
        return np.asarray(result).reshape(1) if scalar else np.asarray(result)

    return Component(plain, None, parameters.flat.dtype, call)


def _check_parts(result: Any, w: Any, name: str) -> None:
    """Raise TypeError unless a gradient is a tuple where the parameters are one."""
    if isinstance(w, tuple):
        if not isinstance(result, tuple) or len(result) != len(w):
            raise TypeError(f"{name} must return a tuple of {len(w)} arrays, like w, got {type(result).__name__}")
        for part, own in zip(result, w, strict=True):
            _check_parts(part, own, name)
    elif isinstance(result, tuple):
        raise TypeError(f"{name} must return an array or a number, like w, got a tuple")


def _check_arity(target: Any, name: str, rows: int, extra: int, into: bool, batched: bool) -> None:
    what = "batch" if batched else "row"
    shape = f"{name}(w, {what} of each of {rows} data array(s), {extra} of args{', out' if into else ''})"
    try:
        signature = inspect.signature(getattr(target, "py_func", target))
    except (AttributeError, TypeError, ValueError):
        return
    try:
        signature.bind(*range(1 + rows + extra + into))
    except TypeError:
        raise TypeError(f"{name} is called as {shape}, but it is {target.__name__}{signature}") from None


def _compile(target: Any, name: str, wanted: tuple[Any, ...], labels: list[str], batched: bool) -> Any:
    """Compile for exactly these types, or find among fixed signatures one that takes them."""
    kinds = ", ".join(f"{n}: {describe(t)}" for n, t in zip(labels, wanted, strict=True))
    if wanted not in target.overloads and not getattr(target, "_can_compile", True):
        for signature in target.nopython_signatures:
            if len(signature.args) == len(wanted) and all(
                (target.typingctx.can_convert(a, b) or 0) <= 3 and target.typingctx.can_convert(a, b) is not None
                for a, b in zip(wanted, signature.args, strict=True)
            ):
                return signature
        offered = "; ".join(str(s) for s in target.nopython_signatures)
        raise TypeError(f"{name} was compiled with fixed signatures ({offered}) and none takes {kinds}")
    try:
        target.compile(wanted)
    except (NumbaError, TypeError) as error:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # Numba colours its reports for a terminal
        lines = [line.strip() for line in plain.splitlines() if line.strip()]
        noise = ("Failed in", "During: ", "There are ", "- Of which", "Overload ", "No match", "* (", "raised from")
        hint = "With batched=True it gets batches, not rows." if batched else "If it takes batches, give batched=True."
        cause = next((line for line in lines if not line.startswith(noise)), "nothing")
        raise TypeError(
            f"Numba cannot compile {name} {getattr(target, '__name__', '')!r} for {kinds}. It says: {cause[:300]}. "
            f"{hint} Call it on its own to see the whole report."
        ) from None
    return target.overloads[wanted].signature


def _check_gradient(result: Any, point: Any, name: str) -> None:
    """Raise TypeError unless a function that returns `result` can be the gradient at `point`."""
    if isinstance(point, types.BaseTuple):
        fits = isinstance(result, types.BaseTuple) and len(result) == len(point)
        if fits:
            for a, b in zip(result, point, strict=True):
                _check_gradient(a, b, name)
            return
        wanted = f"a tuple of {len(point)} arrays, like w"
    elif isinstance(point, types.Array):
        if isinstance(result, types.Array) and result.ndim == point.ndim and isinstance(result.dtype, types.Number):
            return
        wanted = "an array of real numbers with the shape of w"
    else:
        if isinstance(result, (types.Integer, types.Float, types.Boolean)):
            return
        wanted = "a number, as w0 is one"
    hint = ""
    if isinstance(result, types.NoneType):
        hint = "; if it writes into its last argument, pass dv.in_place(gradient)"
    raise TypeError(f"{name} must return {wanted}, got {describe(result)}{hint}")
