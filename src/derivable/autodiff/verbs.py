"""The verbs: what to ask of a function's derivative."""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import overload

from derivable.autodiff.derivative import derivative
from derivable.autodiff.kinds import DerivativeError

__all__ = ["grad", "grad_into", "jvp_function", "value_and_grad", "vjp_function"]


def grad(f: Any, argnum: int | tuple[int, ...] = 0) -> Any:
    """Return the gradient of a function, as a compiled function of the same arguments."""
    return derivative(f, "grad", argnum)


def value_and_grad(f: Any, argnum: int | tuple[int, ...] = 0) -> Any:
    """Return the function that gives a function's value and its gradient, in one pass."""
    return derivative(f, "value_and_grad", argnum)


def grad_into(f: Any, argnum: int | tuple[int, ...] = 0) -> Any:
    """Return the gradient in the form that writes into a buffer: `grad_into(f)(*args, out)`."""
    return derivative(f, "grad_into", argnum)


def jvp_function(f: Any, argnum: int | tuple[int, ...] = 0) -> Any:
    """Return the function `(*args, *tangents) -> (value, tangent)`."""
    return derivative(f, "jvp", argnum)


def vjp_function(f: Any, argnum: int | tuple[int, ...] = 0) -> Any:
    """Return the function `(*args, cotangent) -> (value, cotangents of the arguments)`."""
    return derivative(f, "vjp", argnum)


def _within_njit(verb: Any) -> None:
    """Let a verb be called within `@njit`, with a function that is known while compiling."""

    @overload(verb, prefer_literal=True)
    def typed(f: Any, argnum: Any = 0) -> Any:
        made = verb(_dispatcher(f, verb.__name__), _literal(argnum))
        return lambda f, argnum=0: made


def _dispatcher(f: Any, verb: str) -> Any:
    if isinstance(f, types.Dispatcher):
        return f.dispatcher
    if isinstance(f, (types.FunctionType, types.UndefinedFunctionType)):
        raise DerivativeError(f"{verb} of a first-class function, of which only the machine code is known; pass the @njit function itself")
    raise DerivativeError(f"{verb} needs an @njit function, got {f}")


def _literal(argnum: Any) -> Any:
    if isinstance(argnum, types.Omitted):
        return argnum.value
    if isinstance(argnum, types.Literal):
        return argnum.literal_value
    if isinstance(argnum, int):
        return argnum
    if isinstance(argnum, types.BaseTuple) and all(isinstance(t, types.Literal) for t in argnum):
        return tuple(t.literal_value for t in argnum)
    raise DerivativeError("argnum must be a constant within @njit")


for _verb in (grad, value_and_grad, grad_into, jvp_function, vjp_function):
    _within_njit(_verb)
