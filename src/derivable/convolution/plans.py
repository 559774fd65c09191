"""What a layer needs besides its numbers, checked and decided once for each shape.

A small layer takes a few microseconds, and so do its checks: of the shapes, the strides, the padding, the algorithm.
Nothing of that depends on the numbers. So for plain arrays and plain arguments it is done once and kept.

An argument is plain if it is an int or a word. Such keys are told apart by their values, but 1 and True are equal, and
True must be refused: whoever asks for a plan has looked at the types.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from derivable.convolution.choice import choose, choose_kernel_gradient, choose_transposed, padded
from derivable.convolution.normal import FLOATING, check_channels
from derivable.convolution.sizes import Geometry, Sizes, geometry, normal_sizes
from derivable.jit import LEAST_SECONDS
from derivable.simd import seconds_of

__all__ = ["GradientPlan", "LayerPlan", "are_plain", "input_gradient_plan", "kernel_gradient_plan", "layer_plan"]


def are_plain(first: Any, second: Any) -> bool:
    """Return whether these are NumPy arrays of one floating dtype, contiguous, aligned and writeable."""
    return (
        type(first) is type(second) is np.ndarray
        and first.dtype == second.dtype
        and first.dtype in FLOATING
        and first.flags.carray
        and second.flags.carray
    )


class LayerShapes(NamedTuple):
    """The normal form of a layer's shapes."""

    x_shape: Sizes
    w_shape: Sizes
    out_shape: Sizes
    place: Geometry
    given_shape: Sizes  # of the output, as the caller gives or gets it


@functools.lru_cache(4096)
def layer_shapes(
    dimensions: int, x_shape: Sizes, w_shape: Sizes, stride: int, padding: int | str, dilation: int, groups: int
) -> LayerShapes | None:
    """Return the normal form of a layer's shapes, or None where something is wrong: let the checks say what."""
    if dimensions not in (1, 2, 3):
        return None
    try:
        if len(x_shape) not in (dimensions + 1, dimensions + 2) or len(w_shape) != dimensions + 2:
            return None
        if 0 in x_shape or 0 in w_shape:
            return None
        check_channels(x_shape[-dimensions - 1], w_shape, groups)
        place = geometry(x_shape[-dimensions:], w_shape[2:], stride, padding, dilation)
    except (TypeError, ValueError):
        return None
    batch = x_shape[: -dimensions - 1]
    return LayerShapes(
        (*(batch or (1,)), x_shape[-dimensions - 1], *normal_sizes(x_shape[-dimensions:])),
        (*w_shape[:2], *normal_sizes(w_shape[2:])),
        (*(batch or (1,)), w_shape[0], *place.out),
        place,
        (*batch, w_shape[0], *place.out[3 - dimensions :]),
    )


def is_small(multiplications: int, dtype: Any) -> bool:
    """Return whether so much work is never shared among threads."""
    return seconds_of(multiplications, dtype.itemsize) < LEAST_SECONDS


class LayerPlan(NamedTuple):
    """How a layer is computed."""

    shapes: LayerShapes
    method: str  # "" where there is so much work that it may be shared among threads, or another algorithm
    meets_padding: bool
    zeros: Any  # where there is no bias


@functools.lru_cache(4096)
def layer_plan(
    dimensions: int, x_shape: Sizes, w_shape: Sizes, stride: int, padding: int | str, dilation: int, groups: int,
    dtype: Any,
) -> LayerPlan | None:  # fmt: skip
    """Return how a layer of such arrays is computed, or None where something is wrong."""
    shapes = layer_shapes(dimensions, x_shape, w_shape, stride, padding, dilation, groups)
    if shapes is None:
        return None
    place = shapes.place
    method = choose(shapes.x_shape, shapes.w_shape, place.out, place.stride, place.dilation, groups, dtype)
    work = math.prod(shapes.out_shape) * math.prod(w_shape[1:])
    if method not in ("direct", "bands") or not is_small(work, dtype):
        method = ""
    outside = padded(shapes.x_shape[2:], shapes.w_shape[2:], place.out, place.stride, place.before, place.dilation)
    return LayerPlan(shapes, method, outside, np.zeros(w_shape[0], dtype))


class GradientPlan(NamedTuple):
    """How a gradient of a layer is computed."""

    shapes: LayerShapes
    method: str  # as in `LayerPlan`
    back: Sizes  # the padding in front, where a gradient in the input is a convolution
    zeros: Any  # what that convolution has as its bias


@functools.lru_cache(4096)
def input_gradient_plan(
    x_shape: Sizes, w_shape: Sizes, stride: int, padding: int | str, dilation: int, groups: int, dtype: Any
) -> GradientPlan | None:
    """Return how a gradient in the input is computed, or None where something is wrong."""
    shapes = layer_shapes(len(w_shape) - 2, x_shape, w_shape, stride, padding, dilation, groups)
    if shapes is None:
        return None
    place, method, back = shapes.place, "", (0, 0, 0)
    if place.stride == (1, 1, 1) and is_small(math.prod(shapes.out_shape) * math.prod(w_shape[1:]), dtype):
        arguments = (shapes.out_shape, shapes.w_shape, shapes.x_shape[2:], place.stride, place.dilation, groups, dtype)
        method = "bands" if choose_transposed(*arguments) == "bands" else ""
        sizes = zip(shapes.w_shape[2:], place.dilation, place.before, strict=True)
        back = tuple((k - 1) * d - b for k, d, b in sizes)  # type: ignore[assignment]
    return GradientPlan(shapes, method, back, np.zeros(shapes.x_shape[1], dtype))


@functools.lru_cache(4096)
def kernel_gradient_plan(
    x_shape: Sizes, w_shape: Sizes, stride: int, padding: int | str, dilation: int, groups: int, dtype: Any
) -> GradientPlan | None:
    """Return how a gradient in the kernel is computed, or None where something is wrong."""
    shapes = layer_shapes(len(w_shape) - 2, x_shape, w_shape, stride, padding, dilation, groups)
    if shapes is None:
        return None
    place = shapes.place
    method = choose_kernel_gradient(shapes.out_shape, shapes.w_shape, place.stride, place.dilation, groups, dtype)
    if method != "bands" or not is_small(math.prod(shapes.out_shape) * math.prod(w_shape[1:]), dtype):
        method = ""
    return GradientPlan(shapes, method, (0, 0, 0), None)
