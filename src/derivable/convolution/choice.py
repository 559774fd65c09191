"""Which algorithm computes a layer, and on how many threads.

The layers and their derivatives call the three functions `run_...` with arrays in normal form (see
[`direct`][derivable.convolution.direct]). A further algorithm is added here: its name to `METHODS`, its conditions to
`choose`, its call to `run_convolution`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.convolution import bands, direct, implicit
from derivable.jit import parallel_for
from derivable.validation import check_choice

__all__ = ["METHODS", "choose", "run_convolution", "run_input_gradient", "run_kernel_gradient"]

METHODS = ("auto", "direct", "bands", "implicit")
# Under so many multiplications (some 100 microseconds) waking a thread costs more than it brings.
PARALLEL_WORK = 1 << 20

Triple = tuple[int, ...]


def choose(method: str) -> str:
    """Return the algorithm for a layer: the one that was asked for, else `direct`."""
    check_choice(method, "method", METHODS)
    return "direct"


def run_convolution(
    x: Any, w: Any, bias: Any, out: Triple, stride: Triple, before: Triple, dilation: Triple, groups: int,
    method: str = "auto",
) -> Any:  # fmt: skip
    """Return the convolution of normal forms, by the method asked for or chosen."""
    if method == "bands":
        result = np.empty((x.shape[0], w.shape[0], *out), dtype=x.dtype)
        return bands.convolution_bands(x, w, bias, result, stride, before, dilation, groups)
    if method == "implicit":
        result = np.empty((x.shape[0], w.shape[0], *out), dtype=x.dtype)
        return implicit.convolution_implicit(x, w, result, stride, before, dilation, groups, bias)
    planes = x.shape[0] * w.shape[0] * out[0]
    work = planes * out[1] * out[2] * (w.size // w.shape[0])
    result = np.empty((x.shape[0], w.shape[0], *out), dtype=x.dtype)
    arguments = (x, w, bias, result, stride, before, dilation, groups)
    way = direct.plane_at_once(x.shape[2:], w.shape[2:], out, stride, before, dilation)
    if way == 1 or (way == 2 and np.isfinite(w).all()):
        part, count = direct.planes_part, planes
    else:
        part, count = direct.rows_part, planes * out[1]
    if work < PARALLEL_WORK:
        part(0, count, *arguments)
    else:
        parallel_for(part, count, *arguments)
    return result


def run_input_gradient(
    g: Any, w: Any, bias: Any, sizes: Triple, stride: Triple, before: Triple, dilation: Triple, groups: int,
    method: str = "auto",
) -> Any:  # fmt: skip
    """Return the transposed map: the derivative in x, or a transposed convolution."""
    if stride == (1, 1, 1):
        turned = direct.transposed_kernel(w, groups)
        back = tuple((k - 1) * d - b for k, d, b in zip(w.shape[2:], dilation, before, strict=True))
        return run_convolution(g, turned, bias, sizes, stride, back, dilation, groups, method)
    if method != "auto":
        choose(method)
    channels = w.shape[1] * groups
    result = np.empty((g.shape[0], channels, *sizes), dtype=g.dtype)
    arguments = (g, w, bias, result, stride, before, dilation, groups)
    planes = g.shape[0] * channels * sizes[0]
    if g.size * (w.size // w.shape[0]) < PARALLEL_WORK:
        direct.input_gradient_part(0, planes, *arguments)
    else:
        parallel_for(direct.input_gradient_part, planes, *arguments)
    return result


def run_kernel_gradient(
    g: Any, x: Any, kernel_sizes: Triple, stride: Triple, before: Triple, dilation: Triple, groups: int,
    method: str = "auto",
) -> Any:  # fmt: skip
    """Return the derivative in the kernel."""
    if method != "auto":
        choose(method)
    channels = x.shape[1] // groups
    result = np.empty((g.shape[1], channels, *kernel_sizes), dtype=x.dtype)
    arguments = (g, x, result, stride, before, dilation, groups)
    work = g.size * (result.size // result.shape[0])
    planes = result.shape[0] * channels * kernel_sizes[0]
    if work < PARALLEL_WORK:
        direct.kernel_gradient_part(0, planes, *arguments)
    else:
        parallel_for(direct.kernel_gradient_part, planes, *arguments)
    return result
