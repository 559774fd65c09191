"""Clear errors for bad input, raised by the public functions before any kernel runs.

Every message names the argument, says what was given and what is allowed.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

__all__ = ["as_array", "check_choice", "check_count", "check_finite", "check_number", "check_positive"]


def as_array(value: Any, name: str, *, kinds: str = "iufc", ndim: int | None = None, empty: bool = False) -> Any:
    """Return `value` as a NumPy array, without a copy where it is one.

    Args:
        value: an array or anything that NumPy turns into one.
        name: the argument's name, for the message.
        kinds: the allowed kinds of dtype, by NumPy's letters: b, i, u, f, c.
        ndim: the number of dimensions it must have; any by default.
        empty: whether an array without elements is allowed.

    Returns:
        The array.

    Raises:
        TypeError: if its dtype is not one of `kinds`.
        ValueError: if it is ragged, empty, or of the wrong number of dimensions.
    """
    words = {"b": "bool", "i": "integer", "u": "unsigned integer", "f": "real floating", "c": "complex floating"}
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array without a mask, got a MaskedArray: fill it first, with .filled(...)")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array with rows of equal length: {error}") from None
    if array.dtype.kind not in kinds:
        allowed = ", ".join(words[k] for k in kinds)
        raise TypeError(f"{name} must be numeric ({allowed}), got dtype {array.dtype}")
    if array.dtype == np.float16 or array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        precise = "float32, float64" + (", complex64, complex128" if "c" in kinds else "")
        raise TypeError(f"{name} must be of single or double precision ({precise}), got dtype {array.dtype}")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), got shape {array.shape}")
    if not empty and array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    return array


def check_finite(array: Any, name: str) -> None:
    """Raise ValueError if `array` holds a NaN or an infinity, and say where the first one stands."""
    finite = np.isfinite(array)
    if not np.all(finite):
        index = tuple(int(i) for i in np.argwhere(~finite)[0]) if np.ndim(array) else ()
        where = f" at index {index if len(index) != 1 else index[0]}" if index else ""
        raise ValueError(f"{name} must be finite, got {np.asarray(array)[index]}{where}")


def check_count(value: Any, name: str, *, least: int = 1) -> int:
    """Return `value` as an int of at least `least`; TypeError or ValueError that names the argument otherwise."""
    if type(value) is int and value >= least:  # what follows takes a microsecond, a tenth of a small convolution
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an int, got {type(value).__name__} {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def check_number(value: Any, name: str) -> float:
    """Return `value` as a finite float; TypeError or ValueError that names the argument otherwise."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {type(value).__name__} {value!r}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must fit into a float64, got a number beyond 1.8e308") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value}")
    return number


def check_positive(value: Any, name: str) -> float:
    """Return `value` as a finite float greater than 0; an error that names the argument otherwise."""
    number = check_number(value, name)
    if number <= 0:
        raise ValueError(f"{name} must be greater than 0, got {value}")
    return number


def check_choice(value: Any, name: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`; ValueError that lists them otherwise."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return str(value)
