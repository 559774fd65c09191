"""Hand the user's compiled function to the package's compiled loops.

A loop of the package takes the user's gradient as a *first-class function*: an address together with a fixed
signature. The loop is then compiled once for each signature and stored on disk, whichever gradient is run,
and a step costs one indirect call. (Handed over as a plain Numba dispatcher, the gradient would be part of
the loop's own type: every process would compile the loop anew.)

The file has three parts: mark a gradient as in-place, compile the user's function for the types at hand with
clear errors, start a kernel with such functions among its arguments.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.errors import NumbaError
from numba.extending import intrinsic, is_jitted
from numba.np.arrayobj import make_array

__all__ = [
    "InPlace",
    "Prepared",
    "borrow",
    "describe",
    "in_place",
    "invoke",
    "invoke_proximal",
    "launch",
    "prepare",
    "prepare_args",
    "prepare_proximal",
    "without_owner",
]


# ------------------------------------------------------------------------------------ in-place gradients


class InPlace:
    """A gradient that writes its result into its last argument; made by [`in_place`][derivable.in_place].

    The descent loops ask one question of a gradient: does it have an attribute `into`, a function
    `into(w, *args, out)` that fills `out`? `dv.grad(f)` answers yes in the same way.
    """

    def __init__(self, into: Callable[..., Any]):
        self.into = into
        self.__name__ = getattr(into, "__name__", "gradient")

    def __call__(self, w: Any, *args: Any) -> Any:
        """Return the gradient in a new array."""
        w = np.ascontiguousarray(w, dtype=None if np.asarray(w).dtype.kind == "f" else np.float64)
        out = np.empty_like(w)
        self.into(w, *args, out)
        return out

    def __repr__(self) -> str:
        return f"in_place({self.__name__})"


def in_place(gradient: Callable[..., Any]) -> InPlace:
    """Mark a compiled gradient that writes into its last argument instead of returning an array.

    Such a gradient needs no memory of its own, so that a step of a descent loop makes no allocation.

    Args:
        gradient: an `@njit` function `gradient(w, *args, out)` that fills `out`, a C-contiguous array of the
            shape and dtype of `w`.

    Returns:
        An object that every descent loop takes as its gradient. Called as `gradient(w, *args)` it returns
        the gradient in a new array.

    Raises:
        TypeError: if `gradient` is not a function.

    Examples:
        ```python
        import derivable as dv
        import numpy as np
        from numba import njit

        @dv.in_place
        @njit
        def bowl(w, curvature, out):
            for i in range(w.size):
                out[i] = curvature[i] * w[i]

        run = dv.gradient_descent(bowl, np.ones(2), 0.5, 3, args=(np.array([1.0, 2.0]),))
        print(run.last)
        #> [0.125 0.   ]
        ```
    """
    if isinstance(gradient, InPlace):
        return gradient
    if not callable(gradient):
        raise TypeError(f"gradient must be a function gradient(w, *args, out), got {type(gradient).__name__}")
    return InPlace(gradient)


# ------------------------------------------------------------------------------- compile the user's function


@dataclass(frozen=True)
class Prepared:
    """The user's function, compiled for the types it will be called with."""

    function: Callable[..., Any]  # the dispatcher, or a plain Python function where the JIT is disabled
    type: Any  # Numba's FunctionType; None where the JIT is disabled
    dtype: np.dtype[Any]  # of what it returns or writes
    call: Callable[[Any], Any]  # w -> the result as an array (or number), from Python
    name: str = "gradient"  # of the public argument, for messages


def prepare_args(args: Any) -> tuple[Any, ...]:
    """Check the tuple of data that a run passes to the user's functions; make strided views contiguous."""
    if not isinstance(args, tuple):
        raise TypeError(
            f"args must be a tuple of what the gradient takes after w, got {type(args).__name__}; "
            "write args=(X,) for a single array"
        )
    ready = []
    for i, value in enumerate(args):
        if isinstance(value, (list, set)):
            raise TypeError(f"args[{i}] must be an array or a number, got a {type(value).__name__}: use np.array")
        if is_jitted(value):
            raise TypeError(f"args[{i}] is a compiled function: args hold data; call functions by name inside gradient")
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biufc" or value.dtype.itemsize > 16 or value.dtype == np.float16:
                raise TypeError(f"args[{i}] must be a numeric array that Numba knows, got dtype {value.dtype}")
            if not value.dtype.isnative:
                value = value.astype(value.dtype.newbyteorder("="))
            if not (value.flags.c_contiguous or value.flags.f_contiguous) or not value.flags.aligned:
                value = np.ascontiguousarray(value)  # compiled once for all strides, and faster at every step
        ready.append(value)
    return tuple(ready)


def find_nan(value: Any, name: str) -> str | None:
    """Return a sentence on the first NaN in an array or number of floats, None where there is none."""
    array = np.asarray(value) if isinstance(value, (np.ndarray, float, complex, np.inexact)) else None
    if array is None or array.dtype.kind not in "fc":
        return None
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):  # a NaN would survive the sum: one fast pass, no temporary array
            return None
    nan = np.isnan(array)
    if not nan.any():
        return None
    index = tuple(int(i) for i in np.argwhere(nan)[0])
    where = f" at index {index if len(index) != 1 else index[0]}" if index else ""
    return f"{name} must not hold NaN, got {int(nan.sum())} of them, the first{where}"


def describe(numba_type: Any) -> str:
    """Name a Numba type the way NumPy users do: `float64 array of 2 dimension(s)`."""
    if isinstance(numba_type, types.Array):
        extra = ", read-only" if not numba_type.mutable else ""
        extra += {"C": "", "F": ", column-major", "A": ", strided"}[numba_type.layout]
        return f"{numba_type.dtype} array of {numba_type.ndim} dimension(s){extra}"
    return str(numba_type)


def prepare(function: Any, name: str, w: Any, args: tuple[Any, ...], *, returns: str) -> Prepared:
    """Compile the user's function for `(w, *args)` and check what it returns.

    Args:
        function: an `@njit` function; for a gradient also an object with an in-place form `into`.
        name: the argument's name, for messages: "gradient", "subgradient" or "value".
        w: a point as the loop holds it, a C-contiguous array; of shape `(1,)` and passed as a number where
            `returns` is "number".
        args: what the function takes after `w`.
        returns: "array" (a gradient), "number" (a gradient of a function of one number), or "value", "number
            value" (an objective function of an array, of one number).

    Returns:
        The compiled function.

    Raises:
        TypeError: if it is not compiled, takes other arguments, cannot be compiled for these types, or
            returns something else.
    """
    scalar = returns.startswith("number")
    into = getattr(function, "into", None) if returns == "array" else None
    target = into if into is not None else function
    point = w[0] if scalar else w
    if numba.config.DISABLE_JIT:
        return _prepare_plain(target, name, w, args, into is not None, scalar, returns)
    if not is_jitted(target):
        if hasattr(function, "into") and scalar:
            raise TypeError(f"{name} writes into an array, but w0 is a number: give w0 as an array of one element")
        kind = "a plain Python function" if inspect.isroutine(target) else f"{type(target).__name__}"
        got = f"{kind} {getattr(target, '__name__', '')}".strip()
        raise TypeError(
            f"{name} must be compiled, got {got}: put @numba.njit above it"
            " (or set NUMBA_DISABLE_JIT=1 before Python starts, to run everything slowly in plain Python)"
        )
    given = [point, *args] + ([w] if into is not None else [])
    wanted = tuple(_typeof(value, i) for i, value in enumerate(given))
    _check_arity(target, name, len(args), into is not None)
    signature = _compile(target, name, wanted)
    dtype = np.dtype(w.dtype) if into is not None else _check_result(signature.return_type, name, w, returns)

    def call(v: Any) -> Any:
        if into is not None:
            out = np.full_like(w, np.nan)
            target(v, *args, out)
            return out
        return target(v[0] if scalar else v, *args)

    return Prepared(target, types.FunctionType(signature), dtype, call, name)


def prepare_proximal(proximal: Any, flat: np.ndarray) -> tuple[Prepared | None, tuple[Any, ...]]:
    """Compile a proximal map for vectors like `flat`; (None, ()) for None.

    Raises:
        TypeError: if it is not a `Proximal`, or cannot be compiled.
        ValueError: if it was made for another number of entries.
    """
    if proximal is None:
        return None, ()
    into, args = getattr(proximal, "into", None), getattr(proximal, "args", None)
    if into is None or not isinstance(args, tuple):
        raise TypeError(
            f"proximal must be one of dv.proximal (l1, box, ball, simplex, custom), got {type(proximal).__name__}"
        )
    args = prepare_args(args)
    if not inspect.isroutine(getattr(into, "py_func", into)):
        raise TypeError(f"proximal must hold a function, got {type(into).__name__}")
    if numba.config.DISABLE_JIT:
        compiled = Prepared(into, None, flat.dtype, lambda v: into(v, 1.0, *args))
    else:
        if not is_jitted(into):
            raise TypeError(f"proximal {proximal!r} must be compiled: put @numba.njit above its function")
        wanted = (numba.typeof(flat), types.float64, *(_typeof(value, i + 1) for i, value in enumerate(args)))
        signature = _compile(into, "proximal", wanted)
        if not isinstance(signature.return_type, types.NoneType):
            raise TypeError(
                f"{proximal!r} must overwrite its first argument and return nothing, "
                f"but it returns {describe(signature.return_type)}"
            )
        compiled = Prepared(into, types.FunctionType(signature), flat.dtype, lambda v: into(v, 1.0, *args))
    if hasattr(proximal, "name") and type(proximal).__module__ == "derivable.descent.proximal":
        proximal(flat, 1.0)  # it says so if it was made for another number of entries
    return compiled, args


def _prepare_plain(
    target: Any, name: str, w: Any, args: tuple[Any, ...], into: bool, scalar: bool, returns: str
) -> Prepared:
    """The same without a compiler: a plain function of `(w, *args)` that returns an array, or a value."""
    if not callable(target):
        raise TypeError(f"{name} must be a function, got {type(target).__name__}")
    if returns.endswith("value"):

        def plain(v: Any, *data: Any) -> Any:
            return float(target(v[0] if scalar else v, *data))

    else:

        def plain(v: Any, *data: Any) -> Any:
            if into:
                out = np.full_like(w, np.nan)
                target(v, *data, out)
                return out
            result = np.asarray(target(v[0] if scalar else v, *data))
            result = result.reshape(1) if scalar else result
            if result.dtype.kind not in "biuf":
                raise TypeError(f"{name} must return real numbers, got dtype {result.dtype}")
            return result

    with np.errstate(all="ignore"):
        dtype = np.asarray(plain(w, *args)).dtype
    dtype = dtype if dtype.kind == "f" and not into else np.dtype(w.dtype)
    return Prepared(plain, None, dtype, lambda v: plain(v, *args), name)


def _typeof(value: Any, position: int) -> Any:
    try:
        return numba.typeof(value)
    except (ValueError, NumbaError):
        message = f"args[{position - 1}] must be something Numba knows (an array or a number), got "
        raise TypeError(message + type(value).__name__) from None


def _check_arity(target: Any, name: str, extra: int, into: bool) -> None:
    shape = f"{name}(w, *args{', out' if into else ''})"
    try:
        signature = inspect.signature(target.py_func)
    except (AttributeError, TypeError, ValueError):
        return
    try:
        signature.bind(*range(1 + extra + into))
    except TypeError:
        raise TypeError(
            f"{name} is called as {shape} with {extra} value(s) in args, but it is {target.__name__}{signature}"
        ) from None


def _compile(target: Any, name: str, wanted: tuple[Any, ...]) -> Any:
    """Compile for exactly these types, or find among fixed signatures one that takes them."""
    if wanted not in target.overloads and not getattr(target, "_can_compile", True):
        for signature in target.nopython_signatures:
            if len(signature.args) == len(wanted) and all(
                _converts(target, a, b) for a, b in zip(wanted, signature.args, strict=True)
            ):
                return signature
        offered = "; ".join(str(s) for s in target.nopython_signatures)
        raise TypeError(
            f"{name} was compiled with fixed signatures ({offered}) and none takes "
            f"({', '.join(map(str, wanted))}); leave the signatures out of @njit"
        )
    try:
        target.compile(wanted)
    except (NumbaError, TypeError) as error:
        kinds = ", ".join(f"{n}: {describe(t)}" for n, t in zip(_names(), wanted, strict=False))
        raise TypeError(
            f"Numba cannot compile {name} {target.__name__!r} for {kinds}. It says: {_shorten(error)}. "
            f"Call it on its own to see the whole report."
        ) from None
    return target.overloads[wanted].signature


def _names() -> Any:
    return itertools.chain(["w"], (f"args[{i}]" for i in itertools.count()))


def _converts(target: Any, given: Any, offered: Any) -> bool:
    conversion = target.typingctx.can_convert(given, offered)
    return conversion is not None and conversion <= 3  # exact, promote or safe: what a first-class call allows


def _shorten(error: Exception) -> str:
    """Keep of Numba's report the cause and the place: two lines of some forty."""
    noise = (
        "Failed in",
        "During: ",
        "There are ",
        "- Of which",
        "Overload ",
        "No match",
        "* (",
        "raised from",
    )
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(noise)]
    cause = " ".join(lines[:2]) if lines and lines[0].endswith("signature:") else (lines[0] if lines else "nothing")
    place = next((line.rstrip(":") for line in lines if line.startswith('File "')), "")
    return cause.replace("\x1b[1m", "").replace("\x1b[0m", "")[:300] + (f" ({place})" if place else "")


def _check_result(result: Any, name: str, w: Any, returns: str) -> np.dtype[Any]:
    """Return the dtype of what the function returns, or say what it should return."""
    if returns == "array":
        if isinstance(result, types.Array) and result.ndim == w.ndim:
            dtype = np.dtype(str(result.dtype))
            if dtype.kind in "biuf":
                return dtype if dtype.kind == "f" else np.dtype(np.float64)
        wanted = f"an array of real numbers with the shape of w, {w.shape}"
    else:
        if isinstance(result, (types.Integer, types.Float, types.Boolean)):
            return np.dtype(str(result)) if isinstance(result, types.Float) else np.dtype(np.float64)
        if returns == "number" and isinstance(result, types.Array):
            raise TypeError(f"{name} must return a number, as w0 is a number, got {describe(result)}")
        wanted = "a real number"
    hint = ""
    if isinstance(result, types.NoneType):
        hint = f"; if it writes into its last argument, pass dv.in_place({name})" if name != "value" else ""
    elif isinstance(result, types.BaseTuple):
        hint = "; a function that returns value and gradient together is two arguments here"
    raise TypeError(f"{name} must return {wanted}, got {describe(result)}{hint}")


# ---------------------------------------------------------------------------------------- start a kernel


def launch(kernel: Any, *arguments: Any) -> Callable[..., Any]:
    """Return a kernel's machine code for arguments of these types, some of them prepared functions.

    Numba's own dispatch would see the user's dispatcher and compile the loop for it alone; here the signature
    says that it is a first-class function, and the code is taken from there.

    Args:
        kernel: the compiled loop.
        *arguments: example arguments; a [`Prepared`][derivable.descent.functions.Prepared] stands for a
            function.

    Returns:
        A function to be called with arguments of the same types, in which each prepared function stands as
        its `function`.
    """
    if numba.config.DISABLE_JIT:
        return kernel
    key = (kernel, _kind(arguments))
    found = _entries.get(key)
    if found is None:
        signature = tuple(a.type if isinstance(a, Prepared) else numba.typeof(a) for a in arguments)
        if signature not in kernel.overloads:
            kernel.compile(signature)
        found = _entries[key] = kernel.overloads[signature].entry_point
    return found


# Numba takes a tenth of a millisecond to find the types of a loop's arguments, as long as ten thousand small steps.
_entries: dict[Any, Callable[..., Any]] = {}


def _kind(value: Any) -> Any:
    """Return a key that is equal for values of one Numba type."""
    if isinstance(value, np.ndarray):
        flags = value.flags
        return (
            type(value),
            value.dtype,
            value.ndim,
            flags.c_contiguous,
            flags.f_contiguous,
            flags.writeable,
            flags.aligned,
        )
    if isinstance(value, tuple):
        return type(value), *map(_kind, value)
    if isinstance(value, Prepared):
        return value.type
    if type(value) is int:
        return int, -(2**63) <= value < 2**63
    if value is None or isinstance(value, (float, np.generic, bool)):
        return type(value)
    return numba.typeof(value)


def without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Emit the same arrays without the count of their references; see `borrow`."""
    if isinstance(kind, types.Array):
        array = make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        for k, part in enumerate(kind):
            own = without_owner(context, builder, part, builder.extract_value(value, k))
            value = builder.insert_value(value, own, k)
    return value


@intrinsic
def _borrow(typingctx, x):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return without_owner(context, builder, signature.args[0], values[0])

    return x(x), codegen


def _borrow_plain(x):  # type: ignore[no-untyped-def]
    return x


# Return the same arrays without their owner, whose references Numba would count at each call with them: an atomic
# addition for each array, which is longer than a step of a small problem. The caller keeps the memory alive.
borrow: Any = _borrow_plain if numba.config.DISABLE_JIT else _borrow


def _keeps_nothing(kind: Any) -> bool:
    """Say whether a value of this type has no room for a reference to an array that outlives the call."""
    if isinstance(kind, types.BaseTuple):
        return all(map(_keeps_nothing, kind))
    return isinstance(kind, (types.Array, types.Number, types.Boolean))


def _call(context, builder, function, value, parts):  # type: ignore[no-untyped-def]
    """Emit the bare call of a first-class function.

    The arrays are lent to it, see `borrow`, unless it gets something in which it could keep one.
    """
    target = function.signature
    if all(map(_keeps_nothing, target.args)):
        parts = [without_owner(context, builder, kind, part) for kind, part in zip(target.args, parts, strict=True)]
    address = cgutils.create_struct_proxy(function)(context, builder, value=value).jit_addr
    convention = context.call_conv
    kind = convention.get_function_type(target.return_type, target.args).as_pointer()
    status, result = convention.call_function(
        builder, builder.bitcast(address, kind), target.return_type, target.args, parts
    )
    with cgutils.if_unlikely(builder, status.is_error):
        convention.return_status_propagate(builder, status)
    return result


@intrinsic
def _invoke(typingctx, function, w, args, out):  # type: ignore[no-untyped-def]
    target = function.signature
    into = len(target.args) == len(args) + 2
    scalar = not isinstance(target.args[0], types.Array)
    given = [w.dtype if scalar else w, *args] + ([out] if into else [])

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        _, w_type, args_type, _ = signature.args
        first = values[1]
        if scalar:
            first = builder.load(context.make_array(w_type)(context, builder, first).data)
        items = [builder.extract_value(values[2], i) for i in range(len(args_type))]
        parts = [
            context.cast(builder, part, have, want)
            for part, have, want in zip([first, *items] + into * [values[3]], given, target.args, strict=True)
        ]
        return _call(context, builder, function, values[0], parts)

    return target.return_type(function, w, args, out), codegen


@intrinsic
def _invoke_proximal(typingctx, function, v, size, args):  # type: ignore[no-untyped-def]
    target = function.signature

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        args_type = signature.args[3]
        items = [builder.extract_value(values[3], i) for i in range(len(args_type))]
        parts = [
            context.cast(builder, part, have, want)
            for part, have, want in zip([values[1], values[2], *items], [v, size, *args], target.args, strict=True)
        ]
        return _call(context, builder, function, values[0], parts)

    return target.return_type(function, v, size, args), codegen


def _invoke_proximal_plain(function, v, size, args):  # type: ignore[no-untyped-def]
    return function(v, size, *args)


def _invoke_plain(function, w, args, out):  # type: ignore[no-untyped-def]
    return function(w, *args)


# Call a prepared function inside a kernel: `function(w, *args)`, or `function(w, *args, out)` if it writes in
# place, or `function(w[0], *args)` if it is one of a number. Written out, `function(*((w,) + args + (out,)))`
# would build a tuple and count a reference to each array in it at every call, which takes longer than a step
# of a small problem; this makes the bare call. An exception that the function raises leaves the kernel as
# usual.
invoke: Any = _invoke_plain if numba.config.DISABLE_JIT else _invoke

# The same for a proximal map: `function(v, size, *args)`.
invoke_proximal: Any = _invoke_proximal_plain if numba.config.DISABLE_JIT else _invoke_proximal
