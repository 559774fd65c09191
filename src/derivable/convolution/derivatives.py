"""The derivatives of convolutional layers: each is again a convolution.

A layer y = C(w) x + b is linear in x, in w and in b. For a function of y with gradient g in y, the gradients are

- in the bias: the sum of g over everything but its channel;
- in the input: the adjoint of x -> C(w) x applied to g, which is a transposed convolution;
- in the kernel: the adjoint of w -> C(w) x applied to g, which correlates x with g (stride and dilation change places).

The adjoint A* of a linear map A is what satisfies <A u, v> = <u, A* v> for all u and v. For complex arrays <u, v> is
the sum of u * conj(v), so that the kernel or the input is conjugated: the convention of PyTorch, in which a step
against the gradient goes down. (JAX's differs by a conjugate on both sides.)

Forward mode needs nothing new: the derivative of the layer along (dx, dw, db) is C(w) dx + C(dw) x + db.

All take the arguments of the layer and, so that no size is guessed, the shape of what they return. They work from
Python and inside `@njit`. The number of spatial axes is that of the kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.convolution.bands import bands_at_once, kernel_gradient_at_once
from derivable.convolution.choice import run_convolution, run_input_gradient, run_kernel_gradient
from derivable.convolution.direct import transposed_kernel
from derivable.convolution.layers import check_extension
from derivable.convolution.normal import (
    check_channels,
    check_weight,
    common_dtype,
    normal,
    normal_kernel,
    spatial_array,
)
from derivable.convolution.plans import GradientPlan, are_plain, input_gradient_plan, kernel_gradient_plan
from derivable.convolution.sizes import (
    MODES,
    PADDING_MODES,
    Geometry,
    Pairs,
    Sizes,
    extend,
    extend_transposed,
    geometry,
    normal_sizes,
    transposed_geometry,
)
from derivable.validation import as_array, check_choice, check_count

__all__ = [
    "conv_bias_gradient",
    "conv_input_gradient",
    "conv_kernel_gradient",
    "conv_transpose_input_gradient",
    "conv_transpose_kernel_gradient",
]


def conv_input_gradient(
    gradient: Any,
    weight: Any,
    input_shape: Sizes,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs | str = 0,
    dilation: int | Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Any:
    """Return the gradient in the input of `conv1d`, `conv2d` or `conv3d`.

    Args:
        gradient: gradient in the output, of the output's shape.
        weight: the layer's kernels.
        input_shape: the shape of the layer's input.
        stride: as in the layer.
        padding: as in the layer.
        dilation: as in the layer.
        groups: as in the layer.
        padding_mode: as in the layer.

    Returns:
        An array of shape `input_shape`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        w = np.array([[[1.0, 2.0, 3.0]]])
        print(dv.conv_input_gradient(np.ones((1, 1, 3)), w, (1, 1, 5)))
        #> [[[1. 3. 6. 5. 3.]]]
        ```
    """
    if are_words(input_shape, stride, padding, dilation, groups, padding_mode) and are_plain(gradient, weight):
        plan = input_gradient_plan(input_shape, weight.shape, stride, padding, dilation, groups, weight.dtype)
        if plan is not None and gradient.shape == plan.shapes.given_shape and gradient.dtype.kind == "f":
            return plain_input_gradient(gradient, weight, groups, plan).reshape(input_shape)
    dimensions = kernel_dimensions(weight, "weight")
    weight = check_weight(weight, dimensions, "out channels, channels / groups")
    shape = check_shape(input_shape, "input_shape", dimensions)
    groups = check_channels(shape[-dimensions - 1], weight.shape, groups)
    place = geometry(shape[-dimensions:], weight.shape[2:], stride, padding, dilation)
    expected = (*shape[: -dimensions - 1], weight.shape[0], *place.out[3 - dimensions :])
    gradient = check_gradient(gradient, expected)
    dtype = common_dtype(gradient, weight)
    g, w = normal(gradient, dimensions, dtype), normal_kernel(weight, dtype).conj()
    sizes = normal_sizes(shape[-dimensions:])
    bias = np.zeros(weight.shape[1] * groups, dtype)
    check_choice(padding_mode, "padding_mode", PADDING_MODES)
    if padding_mode == "zeros":
        result = run_input_gradient(g, w, bias, sizes, place.stride, place.before, place.dilation, groups)
    else:
        check_extension(sizes, place.before, place.after, padding_mode)
        wide = tuple(n + p + q for n, p, q in zip(sizes, place.before, place.after, strict=True))
        result = run_input_gradient(g, w, bias, wide, place.stride, (0, 0, 0), place.dilation, groups)
        result = extend_transposed(result, sizes, place.before, MODES[padding_mode])
    return result.reshape(shape)


def conv_kernel_gradient(
    gradient: Any,
    x: Any,
    kernel_shape: Sizes,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs | str = 0,
    dilation: int | Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Any:
    """Return the gradient in the kernel of `conv1d`, `conv2d` or `conv3d`.

    Args:
        gradient: gradient in the output, of the output's shape.
        x: the layer's input.
        kernel_shape: the shape of the layer's kernels, (out channels, channels / groups, *kernel sizes).
        stride: as in the layer.
        padding: as in the layer.
        dilation: as in the layer.
        groups: as in the layer.
        padding_mode: as in the layer.

    Returns:
        An array of shape `kernel_shape`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.array([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
        print(dv.conv_kernel_gradient(np.array([[[1.0, 0.0, 10.0]]]), x, (1, 1, 3)))
        #> [[[31. 42. 53.]]]
        ```
    """
    if are_words(kernel_shape, stride, padding, dilation, groups, padding_mode) and are_plain(gradient, x):
        plan = kernel_gradient_plan(x.shape, kernel_shape, stride, padding, dilation, groups, x.dtype)
        if plan is not None and gradient.shape == plan.shapes.given_shape and x.dtype.kind == "f":
            return plain_kernel_gradient(gradient, x, groups, plan).reshape(kernel_shape)
    kernel_sizes, dimensions = check_kernel_shape(kernel_shape)
    x = spatial_array(x, "x", dimensions)
    groups = check_channels(x.shape[-dimensions - 1], kernel_sizes, groups)
    place = geometry(x.shape[-dimensions:], kernel_sizes[2:], stride, padding, dilation)
    expected = (*x.shape[: -dimensions - 1], kernel_sizes[0], *place.out[3 - dimensions :])
    gradient = check_gradient(gradient, expected)
    dtype = common_dtype(gradient, x)
    g, x5 = normal(gradient, dimensions, dtype), normal(x, dimensions, dtype).conj()
    before = place.before
    check_choice(padding_mode, "padding_mode", PADDING_MODES)
    if padding_mode != "zeros":
        check_extension(x5.shape[2:], place.before, place.after, padding_mode)
        x5, before = extend(x5, place.before, place.after, MODES[padding_mode]), (0, 0, 0)
    sizes = normal_sizes(kernel_sizes[2:])
    return run_kernel_gradient(g, x5, sizes, place.stride, before, place.dilation, groups).reshape(kernel_sizes)


def conv_bias_gradient(gradient: Any, dimensions: int | None = None) -> Any:
    """Return the gradient in the bias of a convolution or transposed convolution: the sum over all but the channels.

    Args:
        gradient: gradient in the output, (batch, channels, *sizes), or (channels, *sizes) with `dimensions`.
        dimensions: how many of the last axes are spatial; all but two by default.

    Returns:
        One number per channel.

    Raises:
        TypeError: if the gradient is not numeric.
        ValueError: if it has no axis of channels or is empty.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.conv_bias_gradient(np.ones((8, 3, 5, 5))))
        #> [200. 200. 200.]
        ```
    """
    gradient = as_array(gradient, "gradient")
    dimensions = gradient.ndim - 2 if dimensions is None else check_count(dimensions, "dimensions")
    axis = gradient.ndim - dimensions - 1
    if dimensions < 1 or axis not in (0, 1):
        raise ValueError(
            f"gradient must have shape (batch, channels, *sizes) or, with dimensions given, (channels, *sizes), "
            f"got shape {gradient.shape}"
        )
    gradient = gradient.astype(common_dtype(gradient), copy=False)
    return gradient.sum(axis=tuple(i for i in range(gradient.ndim) if i != axis))


def conv_transpose_input_gradient(
    gradient: Any,
    weight: Any,
    input_shape: Sizes,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs = 0,
    output_padding: int | Sizes = 0,
    groups: int = 1,
    dilation: int | Sizes = 1,
) -> Any:
    """Return the gradient in the input of a transposed convolution, which is a convolution.

    Args:
        gradient: gradient in the output, of the output's shape.
        weight: the layer's kernels, (channels, out channels / groups, *kernel sizes).
        input_shape: the shape of the layer's input.
        stride: as in the layer.
        padding: as in the layer.
        output_padding: as in the layer.
        groups: as in the layer.
        dilation: as in the layer.

    Returns:
        An array of shape `input_shape`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        w = np.array([[[1.0, 2.0, 3.0]]])
        print(dv.conv_transpose_input_gradient(np.ones((1, 1, 7)), w, (1, 1, 3), stride=2))
        #> [[[6. 6. 6.]]]
        ```
    """
    dimensions = kernel_dimensions(weight, "weight")
    weight = check_weight(weight, dimensions, "channels, out channels / groups")
    shape = check_shape(input_shape, "input_shape", dimensions)
    groups = check_channels(shape[-dimensions - 1], weight.shape, groups, transposed=True)
    place = transposed_geometry(shape[-dimensions:], weight.shape[2:], stride, padding, dilation, output_padding)
    gradient = check_gradient(gradient, transposed_output(shape, weight.shape, groups, place, dimensions))
    dtype = common_dtype(gradient, weight)
    g, w = normal(gradient, dimensions, dtype), normal_kernel(weight, dtype).conj()
    bias = np.zeros(weight.shape[0], dtype)
    sizes = normal_sizes(shape[-dimensions:])
    return run_convolution(g, w, bias, sizes, place.stride, place.before, place.dilation, groups).reshape(shape)


def conv_transpose_kernel_gradient(
    gradient: Any,
    x: Any,
    kernel_shape: Sizes,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs = 0,
    output_padding: int | Sizes = 0,
    groups: int = 1,
    dilation: int | Sizes = 1,
) -> Any:
    """Return the gradient in the kernel of a transposed convolution.

    Args:
        gradient: gradient in the output, of the output's shape.
        x: the layer's input.
        kernel_shape: the shape of the layer's kernels, (channels, out channels / groups, *kernel sizes).
        stride: as in the layer.
        padding: as in the layer.
        output_padding: as in the layer.
        groups: as in the layer.
        dilation: as in the layer.

    Returns:
        An array of shape `kernel_shape`.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x, g = np.array([[[1.0, 10.0]]]), np.array([[[1.0, 2.0, 3.0, 4.0]]])
        print(dv.conv_transpose_kernel_gradient(g, x, (1, 1, 2), stride=2))
        #> [[[31. 42.]]]
        ```
    """
    kernel_sizes, dimensions = check_kernel_shape(kernel_shape)
    x = spatial_array(x, "x", dimensions)
    groups = check_channels(x.shape[-dimensions - 1], kernel_sizes, groups, transposed=True)
    place = transposed_geometry(x.shape[-dimensions:], kernel_sizes[2:], stride, padding, dilation, output_padding)
    gradient = check_gradient(gradient, transposed_output(x.shape, kernel_sizes, groups, place, dimensions))
    dtype = common_dtype(gradient, x)
    g, x5 = normal(gradient, dimensions, dtype), normal(x, dimensions, dtype).conj()
    sizes = normal_sizes(kernel_sizes[2:])
    result = run_kernel_gradient(x5, g, sizes, place.stride, place.before, place.dilation, groups)
    return result.reshape(kernel_sizes)


def are_words(shape: Any, stride: Any, padding: Any, dilation: Any, groups: Any, padding_mode: Any) -> bool:
    """Return whether the arguments are plain, as in `plans`, and there is no continuation to undo."""
    return (
        type(stride) is type(dilation) is type(groups) is int
        and type(padding) in (int, str)
        and type(padding_mode) is str
        and padding_mode == "zeros"
        and type(shape) is tuple
        and all(type(n) is int for n in shape)
    )


def plain_input_gradient(gradient: Any, weight: Any, groups: int, plan: GradientPlan) -> Any:
    """Compute a gradient in the input from arrays in which there is nothing to check."""
    (x_shape, w_shape, out_shape, place, _), method, back, zeros = plan
    g, w = gradient.reshape(out_shape), weight.reshape(w_shape)
    if method == "bands":
        result = np.empty(x_shape, g.dtype)
        if bands_at_once(
            True, g, transposed_kernel(w, groups), zeros, result, place.stride, back, place.dilation, groups
        ):
            return result
    return run_input_gradient(g, w, zeros, x_shape[2:], place.stride, place.before, place.dilation, groups)


def plain_kernel_gradient(gradient: Any, x: Any, groups: int, plan: GradientPlan) -> Any:
    """Compute a gradient in the kernel from arrays in which there is nothing to check."""
    (x_shape, w_shape, out_shape, place, _), method, _, _ = plan
    g, x = gradient.reshape(out_shape), x.reshape(x_shape)
    if method == "bands":
        result = np.empty(w_shape, g.dtype)
        if kernel_gradient_at_once(g, x, result, place.stride, place.before, place.dilation, groups):
            return result
    return run_kernel_gradient(g, x, w_shape[2:], place.stride, place.before, place.dilation, groups)


def kernel_dimensions(weight: Any, name: str) -> int:
    """Return the number of spatial axes of a kernel, 1 to 3."""
    ndim = np.ndim(weight)
    if not 3 <= ndim <= 5:
        raise ValueError(f"{name} must have 3, 4 or 5 axes, got shape {np.shape(weight)}")
    return ndim - 2


def check_shape(shape: Any, name: str, dimensions: int) -> Sizes:
    """Return a shape as a tuple of positive ints, with or without a batch."""
    if not hasattr(shape, "__len__") or len(shape) not in (dimensions + 1, dimensions + 2):
        raise ValueError(f"{name} must be a shape of {dimensions + 1} or {dimensions + 2} ints, got {shape!r}")
    return tuple(check_count(n, f"each size in {name}") for n in shape)


def check_kernel_shape(shape: Any) -> tuple[Sizes, int]:
    """Return the kernel's shape and its number of spatial axes."""
    if not hasattr(shape, "__len__") or not 3 <= len(shape) <= 5:
        raise ValueError(
            f"kernel_shape must be (out channels, channels / groups, *kernel sizes), 3 to 5 ints, got {shape!r}"
        )
    return tuple(check_count(n, "each size in kernel_shape") for n in shape), len(shape) - 2


def check_gradient(gradient: Any, expected: Sizes) -> Any:
    """Return the gradient as an array of the output's shape."""
    gradient = as_array(gradient, "gradient")
    if gradient.shape != expected:
        raise ValueError(f"gradient must have the output's shape {expected}, got {gradient.shape}")
    return gradient


def transposed_output(shape: Sizes, kernel_shape: Sizes, groups: int, place: Geometry, dimensions: int) -> Sizes:
    """Return the shape of a transposed convolution's output."""
    return (*shape[: -dimensions - 1], kernel_shape[1] * groups, *place.out[3 - dimensions :])
