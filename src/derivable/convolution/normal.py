"""Check a layer's arrays and bring them to normal form: five dimensions, contiguous, one dtype.

The dtype follows NumPy: that of all arrays together, integers becoming float64. (PyTorch refuses both mixtures and
integers.) Single precision stays single precision only if every array is in single precision.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from derivable.jit import kernel
from derivable.validation import as_array, check_count

__all__ = [
    "check_bias",
    "check_channels",
    "common_dtype",
    "finite",
    "normal",
    "normal_kernel",
    "spatial_array",
    "to_contiguous",
    "vanishes",
]

FLOATING = {np.dtype(t) for t in (np.float32, np.float64, np.complex64, np.complex128)}
AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}


def common_dtype(*arrays: Any) -> Any:
    """Return the dtype in which arrays are computed together: float32, float64, complex64 or complex128."""
    first = arrays[0].dtype
    if first in FLOATING and all(a.dtype is first for a in arrays):
        return first
    dtype = np.result_type(*arrays)
    return dtype.newbyteorder("=") if dtype.kind in "fc" else np.dtype(np.float64)


def to_contiguous(array: Any, dtype: Any) -> Any:
    """Return the array contiguous, of this dtype and writeable.

    A read-only array has another Numba type than a writeable one: every kernel would be compiled again for it. A
    copy is cheaper.
    """
    array = np.ascontiguousarray(array, dtype=dtype)
    return array if array.flags.writeable else array.copy()


def spatial_array(value: Any, name: str, dimensions: int, *, kinds: str = "iufc") -> Any:
    """Return `value` as an array (batch, channels, *sizes) or (channels, *sizes)."""
    array = as_array(value, name, kinds=kinds)
    if array.ndim != dimensions + 2 and array.ndim != dimensions + 1:
        raise ValueError(
            f"{name} must have shape (batch, channels, {AXES[dimensions]}) or (channels, {AXES[dimensions]}), "
            f"got shape {array.shape}"
        )
    return array


def normal(array: Any, dimensions: int, dtype: Any) -> Any:
    """Return (batch, channels, *sizes) or (channels, *sizes) as (batch, channels, D, H, W)."""
    array = to_contiguous(array, dtype)
    shape = array.shape
    if array.ndim == dimensions + 1:
        shape = (1, *shape)
    if len(shape) == 4:
        shape = (shape[0], shape[1], 1, shape[2], shape[3])
    elif len(shape) == 3:
        shape = (shape[0], shape[1], 1, 1, shape[2])
    return array.reshape(shape)


def normal_kernel(array: Any, dtype: Any) -> Any:
    """Return a kernel (out channels, channels per group, *sizes) as (out channels, channels, KD, KH, KW)."""
    return normal(array, array.ndim - 2, dtype)


def check_weight(value: Any, dimensions: int, what: str) -> Any:
    """Return the kernel as an array of dimensions + 2 axes; `what` names its first two."""
    weight = as_array(value, "weight")
    if weight.ndim != dimensions + 2:
        raise ValueError(
            f"weight must have shape ({what}, {AXES[dimensions]}), {dimensions + 2} axes, got shape {weight.shape}"
        )
    return weight


def check_channels(x_channels: int, weight_shape: tuple[int, ...], groups: Any, *, transposed: bool = False) -> int:
    """Return `groups` if the channels of input and kernel fit it."""
    groups = check_count(groups, "groups")
    if weight_shape[0] % groups:
        raise ValueError(
            f"groups must divide weight.shape[0] = {weight_shape[0]}, the {'in' if transposed else 'out'} channels, "
            f"got {groups}"
        )
    expected = weight_shape[0] if transposed else weight_shape[1] * groups
    if x_channels != expected:
        words = "weight.shape[0]" if transposed else "weight.shape[1] * groups"
        raise ValueError(f"x must have {words} = {expected} channels, got {x_channels}")
    return groups


def check_bias(bias: Any, channels: int) -> Any:
    """Return the bias as an array of one number per out channel."""
    bias = as_array(bias, "bias")
    if bias.shape != (channels,):
        raise ValueError(f"bias must have shape ({channels},), one number per out channel, got shape {bias.shape}")
    return bias


def finite(w: Any) -> bool:
    """Return whether all numbers are finite."""
    if numba.config.DISABLE_JIT:
        return bool(np.isfinite(w).all())
    return bool(vanishes(w.reshape(-1)))


@kernel(fastmath={"reassoc"})
def vanishes(values):  # type: ignore[no-untyped-def]
    """Return whether the sum of 0 * values is 0: it is NaN if one of them is not finite, and it never overflows."""
    total = values.dtype.type(0)
    for i in range(values.size):
        total += 0 * values[i]
    return total == 0
