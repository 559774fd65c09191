"""Kinds: what the transformation knows of a value before Numba does.

A kind is a number's or an array's sort of element and number of dimensions: `Kind("f8", 2)` is a matrix of float64,
`Kind("i")` an integer. A tuple of values has a tuple of kinds. One derivative program is generated for each
combination of kinds of the arguments; sizes and memory layouts are left to Numba.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types

__all__ = [
    "DerivativeError",
    "Kind",
    "is_float",
    "join",
    "kind_of_type",
    "kind_of_value",
    "type_of_kind",
    "with_article",
]

ORDER = ("s", "b", "i", "f4", "f8")


class DerivativeError(TypeError):
    """What was asked cannot be differentiated; the message says where, and what to do instead."""


@dataclass(frozen=True)
class Kind:
    """The sort of elements and the number of dimensions (0: a scalar).

    The sorts are `b` bool, `i` integer, `f4`, `f8` floats, and `s` a string, which can only be compared.

    A list that values are put onto and taken from has `stack`, the number of dimensions of its entries.
    """

    dtype: str
    ndim: int = 0
    stack: int | None = None

    def __str__(self) -> str:
        word = {"s": "str", "b": "bool", "i": "int", "f4": "float32", "f8": "float64"}[self.dtype]
        if self.stack is not None:
            return f"list of {word} numbers" if self.stack == 0 else f"list of {self.stack}-dimensional {word} arrays"
        return f"{self.ndim}-dimensional {word} array" if self.ndim else word

    @property
    def a(self) -> str:
        """Return it with its article: a float64, an int."""
        return with_article(str(self))


def with_article(word: str) -> str:
    """Put "a" or "an" before a word."""
    return f"{'an' if word[0] in 'aeio' else 'a'} {word}"


NO_DIMENSIONS = "an array of no dimensions, as np.array(3.0) is; pass the number in it"
NONE = None  # the kind of None


def is_float(kind: Any) -> bool:
    """Tell whether a value of this kind can carry a derivative."""
    if isinstance(kind, tuple):
        return all(is_float(k) for k in kind)
    return isinstance(kind, Kind) and kind.dtype in ("f4", "f8")


def join(first: Kind, second: Kind) -> Kind:
    """Return the kind of a variable that holds now one, now the other."""
    if first.ndim != second.ndim or first.stack != second.stack:
        raise DerivativeError(f"it is {first.a} on one path and {second.a} on another")
    return Kind(max(first.dtype, second.dtype, key=ORDER.index), first.ndim, first.stack)


def _dtype(dtype: Any, what: str) -> str:
    dtype = np.dtype(dtype)
    if dtype == np.bool_:
        return "b"
    if dtype.kind in "iu":
        return "i"
    if dtype == np.float32:
        return "f4"
    if dtype == np.float64:
        return "f8"
    raise DerivativeError(
        f"{what} has dtype {dtype}; use float64 or float32 (or an integer that is not differentiated)"
    )


def kind_of_value(value: Any, what: str) -> Any:
    """Return the kind of an argument."""
    if value is None:
        return NONE
    if isinstance(value, tuple):
        return tuple(kind_of_value(v, f"{what}[{i}]") for i, v in enumerate(value))
    if isinstance(value, np.ma.MaskedArray):
        raise DerivativeError(f"{what} is a masked array; fill it first, with .filled(...)")
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            raise DerivativeError(f"{what} is {NO_DIMENSIONS}, as {what.split()[-1]}.item()")
        return Kind(_dtype(value.dtype, what), value.ndim)
    if isinstance(value, (bool, np.bool_)):
        return Kind("b")
    if isinstance(value, (int, np.integer)):
        return Kind("i")
    if isinstance(value, str):
        return Kind("s")
    if isinstance(value, np.float32):
        return Kind("f4")
    if isinstance(value, float):
        return Kind("f8")
    raise DerivativeError(
        f"{what} is {with_article(type(value).__name__)}; allowed are floats, NumPy arrays, and tuples of these"
        + ("; use an array or a tuple instead of a list" if isinstance(value, list) else "")
    )


def kind_of_type(type_: Any, what: str) -> Any:
    """Return the kind of an argument of this Numba type."""
    if isinstance(type_, types.Omitted):
        return kind_of_value(type_.value, what)
    type_ = types.unliteral(type_)
    if isinstance(type_, types.NoneType):
        return NONE
    if isinstance(type_, types.BaseTuple):
        return tuple(kind_of_type(t, f"{what}[{i}]") for i, t in enumerate(type_))
    if isinstance(type_, types.Array):
        if type_.ndim == 0:
            raise DerivativeError(f"{what} is {NO_DIMENSIONS}, as {what.split()[-1]}.item()")
        return Kind(_dtype(str(type_.dtype), what), type_.ndim)
    if isinstance(type_, types.Boolean):
        return Kind("b")
    if isinstance(type_, types.Integer):
        return Kind("i")
    if type_ == types.unicode_type:
        return Kind("s")
    if type_ == types.float32:
        return Kind("f4")
    if type_ == types.float64:
        return Kind("f8")
    if isinstance(type_, (types.List, types.ListType)):
        raise DerivativeError(f"{what} is a list; allowed are floats, NumPy arrays, and tuples of these")
    if isinstance(type_, types.FunctionType):
        raise DerivativeError(
            f"{what} is a first-class function, of which only the machine code is known; pass the @njit function itself"
        )
    raise DerivativeError(f"{what} is of type {type_}; allowed are floats, NumPy arrays, and tuples of these")


def digest(*parts: Any) -> str:
    """Return a short name for this content."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def type_of_kind(kind: Any) -> Any:
    """Return a Numba type of this kind; of arrays the one with any memory layout."""
    if isinstance(kind, tuple):
        return types.Tuple([type_of_kind(k) for k in kind])
    scalar = {"b": types.boolean, "i": types.int64, "f4": types.float32, "f8": types.float64, "s": types.unicode_type}
    if kind is None:
        return types.none
    return types.Array(scalar[kind.dtype], kind.ndim, "A") if kind.ndim else scalar[kind.dtype]
