"""Convolutional layers: PyTorch's arguments and layouts, on NumPy arrays, from Python and inside `@njit`.

A layer correlates: it does not flip the kernel. `x` is (batch, channels, *sizes) or, for one example, (channels,
*sizes); `weight` is (out channels, channels / groups, *kernel sizes), and for a transposed convolution
(channels, out channels / groups, *kernel sizes).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.convolution.bands import bands_at_once
from derivable.convolution.choice import METHODS, run_convolution, run_input_gradient
from derivable.convolution.direct import convolution_part
from derivable.convolution.normal import (
    check_bias,
    check_channels,
    check_weight,
    common_dtype,
    normal,
    normal_kernel,
    spatial_array,
    to_contiguous,
)
from derivable.convolution.plans import LayerPlan, are_plain, layer_plan
from derivable.convolution.sizes import (
    MODES,
    PADDING_MODES,
    Pairs,
    Sizes,
    extend,
    geometry,
    transposed_geometry,
)
from derivable.validation import check_choice

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs | str = 0,
    dilation: int | Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    method: str = "auto",
) -> Any:
    """Correlate a signal of several channels with kernels, as a layer of a network does.

    Args:
        x: input (batch, channels, length) or (channels, length).
        weight: kernels (out channels, channels / groups, kernel length).
        bias: one number per out channel, or None.
        stride: the step from one output to the next.
        padding: see [`conv2d`][derivable.convolution.layers.conv2d].
        dilation: the distance between neighbouring taps of the kernel.
        groups: into how many groups the channels are cut.
        padding_mode: what stands in the padding: "zeros", "reflect", "replicate" or "circular".
        method: "auto", "direct", "bands", "sliding", "implicit" or "winograd": which algorithm; by default the one that
            a cost model picks.

    Returns:
        Output (batch, out channels, output length), without the batch where `x` has none.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x = np.array([[0.0, 1.0, 4.0, 9.0, 16.0]])
        print(dv.conv1d(x, np.array([[[-1.0, 1.0]]])))
        #> [[1. 3. 5. 7.]]
        ```
    """
    return layer(1, x, weight, bias, stride, padding, dilation, groups, padding_mode, method)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs | str = 0,
    dilation: int | Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    method: str = "auto",
) -> Any:
    """Correlate an image of several channels with kernels, as a layer of a network does.

    out[n, o, i, j] is bias[o] plus the sum over c, a, b of
    weight[o, c, a, b] * x[n, c, i * stride - before + a * dilation, j * stride - before + b * dilation].

    *Padding.* An int pads every side, two ints (height, width) both sides of an axis, two pairs ((top, bottom), (left,
    right)) each side by itself. The word "valid" means 0. With "same" there are ceil(n / stride) outputs along an axis
    of n inputs: the least padding that gives them is divided in two halves, and an odd rest goes behind
    (TensorFlow's rule and ONNX's SAME_UPPER; PyTorch's where the stride is 1, the only one it allows). With
    "same_lower" the odd rest goes in front. PyTorch's networks mostly write padding=k // 2 instead: that gives as many
    outputs for an odd kernel, but pads both sides alike, so that with a stride the outputs may stand elsewhere.

    *Zeros* in the padding are not multiplied: the sum has no terms there, and an infinite weight makes no NaN. The
    other modes continue the input for any padding, however wide; PyTorch's limits do not apply.

    *dtypes.* float32, float64, complex64 and complex128 are computed as they are; mixed arrays in the dtype
    that NumPy gives them; integers in float64. Complex weights are not conjugated. Empty arrays are refused.

    Inside `@njit` the words and `padding_mode` must be literals.

    *Derivatives.* [`grad`][derivable.grad] and the other verbs differentiate functions that call this layer, with
    respect to `x`, `weight` and `bias`, of first and higher order; their programs call `conv_input_gradient`,
    `conv_kernel_gradient` and `conv_bias_gradient`. The other arguments carry no derivative. Complex arrays are not
    differentiated.

    Args:
        x: input (batch, channels, height, width) or (channels, height, width).
        weight: kernels (out channels, channels / groups, kernel height, kernel width).
        bias: one number per out channel, or None.
        stride: the step from one output to the next, an int or one per axis.
        padding: an int, one int or one pair (before, after) per axis, or "valid", "same", "same_lower".
        dilation: the distance between neighbouring taps of the kernel, an int or one per axis.
        groups: into how many groups the channels are cut; with as many as channels the layer is depthwise.
        padding_mode: what stands in the padding: "zeros", "reflect", "replicate" or "circular".
        method: "auto", "direct", "bands", "sliding", "implicit" or "winograd": which algorithm; by default the one that
            a cost model picks.

    Returns:
        Output (batch, out channels, *output sizes), without the batch where `x` has none.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        image = np.zeros((1, 1, 4, 5))
        image[..., 2:] = 1.0
        edge = np.array([[[[-1.0, 1.0]]]])
        print(dv.conv2d(image, edge, padding="same")[0, 0])
        #> [[ 0.  1.  0.  0. -1.]
        #>  [ 0.  1.  0.  0. -1.]
        #>  [ 0.  1.  0.  0. -1.]
        #>  [ 0.  1.  0.  0. -1.]]
        print(dv.conv2d(image, edge, stride=2, padding=((0, 0), (1, 0))).shape)
        #> (1, 1, 2, 3)
        ```

    References:
        Dumoulin and Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285.
    """
    return layer(2, x, weight, bias, stride, padding, dilation, groups, padding_mode, method)


def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs | str = 0,
    dilation: int | Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    method: str = "auto",
) -> Any:
    """Correlate a volume or a video of several channels with kernels, over time as over space.

    Args:
        x: input (batch, channels, depth, height, width) or (channels, depth, height, width).
        weight: kernels (out channels, channels / groups, kernel depth, kernel height, kernel width).
        bias: one number per out channel, or None.
        stride: the step from one output to the next, an int or one per axis.
        padding: see [`conv2d`][derivable.convolution.layers.conv2d].
        dilation: the distance between neighbouring taps of the kernel, an int or one per axis.
        groups: into how many groups the channels are cut.
        padding_mode: what stands in the padding: "zeros", "reflect", "replicate" or "circular".
        method: "auto", "direct", "bands", "sliding", "implicit" or "winograd": which algorithm; by default the one that
            a cost model picks.

    Returns:
        Output (batch, out channels, *output sizes), without the batch where `x` has none.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        video = np.zeros((1, 3, 8, 16, 16))  # 8 frames of 3 colours
        kernels = np.zeros((16, 3, 3, 5, 5))
        bias = np.zeros(16)
        print(dv.conv3d(video, kernels, bias).shape, kernels.size + bias.size)
        #> (1, 16, 6, 12, 12) 3616
        ```
    """
    return layer(3, x, weight, bias, stride, padding, dilation, groups, padding_mode, method)


def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs = 0,
    output_padding: int | Sizes = 0,
    groups: int = 1,
    dilation: int | Sizes = 1,
    method: str = "auto",
) -> Any:
    """Apply the transposed map of `conv1d`: spread each input over the outputs by the kernel.

    Args:
        x: input (batch, channels, length) or (channels, length).
        weight: kernels (channels, out channels / groups, kernel length).
        bias: one number per out channel, or None.
        stride: the step between the places to which neighbouring inputs are spread.
        padding: how much of the output is cut off, as `conv1d` would have padded it.
        output_padding: how much is added to the output's size at the end.
        groups: into how many groups the channels are cut.
        dilation: the distance between neighbouring taps of the kernel.
        method: "auto", "direct", "bands", "sliding", "implicit" or "winograd": which algorithm; by default the one that
            a cost model picks.

    Returns:
        Output (batch, out channels, output length), without the batch where `x` has none.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.conv_transpose1d(np.array([[1.0, 10.0, 100.0]]), np.array([[[1.0, 2.0, 3.0]]]), stride=2))
        #> [[  1.   2.  13.  20. 130. 200. 300.]]
        ```
    """
    return transposed_layer(1, x, weight, bias, stride, padding, output_padding, groups, dilation, method)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs = 0,
    output_padding: int | Sizes = 0,
    groups: int = 1,
    dilation: int | Sizes = 1,
    method: str = "auto",
) -> Any:
    """Apply the transposed map of `conv2d`: spread each input over the outputs by the kernel.

    If C is the matrix of `conv2d` with the same `weight`, `stride`, `padding`, `dilation` and `groups`, this is the
    product with the transpose of C. It is not the inverse. With a stride s, inputs of s sizes give `conv2d` outputs
    of one size; `output_padding` says which of them the transposed map returns to.

    Args:
        x: input (batch, channels, height, width) or (channels, height, width).
        weight: kernels (channels, out channels / groups, kernel height, kernel width).
        bias: one number per out channel, or None.
        stride: the step between the places to which neighbouring inputs are spread, an int or one per axis.
        padding: how much of the output is cut off: an int, one int or one pair (before, after) per axis.
        output_padding: how much is added to the output's size at the end, less than stride or dilation.
        groups: into how many groups the channels are cut.
        dilation: the distance between neighbouring taps of the kernel, an int or one per axis.
        method: "auto", "direct", "bands", "sliding", "implicit" or "winograd": which algorithm; by default the one that
            a cost model picks.

    Returns:
        Output (batch, out channels, *output sizes), without the batch where `x` has none.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        rng = np.random.default_rng(0)
        w = rng.normal(size=(4, 2, 3, 3))
        x, y = rng.normal(size=(1, 2, 9, 9)), rng.normal(size=(1, 4, 4, 4))
        forward = np.sum(dv.conv2d(x, w, stride=2) * y)
        back = np.sum(x * dv.conv_transpose2d(y, w, stride=2))
        assert np.isclose(forward, back)
        ```
    """
    return transposed_layer(2, x, weight, bias, stride, padding, output_padding, groups, dilation, method)


def conv_transpose3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sizes = 1,
    padding: int | Sizes | Pairs = 0,
    output_padding: int | Sizes = 0,
    groups: int = 1,
    dilation: int | Sizes = 1,
    method: str = "auto",
) -> Any:
    """Apply the transposed map of `conv3d`: spread each input over the outputs by the kernel.

    Args:
        x: input (batch, channels, depth, height, width) or (channels, depth, height, width).
        weight: kernels (channels, out channels / groups, kernel depth, kernel height, kernel width).
        bias: one number per out channel, or None.
        stride: the step between the places to which neighbouring inputs are spread, an int or one per axis.
        padding: how much of the output is cut off: an int, one int or one pair (before, after) per axis.
        output_padding: how much is added to the output's size at the end, less than stride or dilation.
        groups: into how many groups the channels are cut.
        dilation: the distance between neighbouring taps of the kernel, an int or one per axis.
        method: "auto", "direct", "bands", "sliding", "implicit" or "winograd": which algorithm; by default the one that
            a cost model picks.

    Returns:
        Output (batch, out channels, *output sizes), without the batch where `x` has none.

    Raises:
        TypeError: if an array is not numeric or an int is none.
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        x, w = np.ones((1, 1, 2, 2, 2)), np.ones((1, 1, 2, 2, 2))
        print(dv.conv_transpose3d(x, w, stride=2).shape)
        #> (1, 1, 4, 4, 4)
        ```
    """
    return transposed_layer(3, x, weight, bias, stride, padding, output_padding, groups, dilation, method)


def layer(
    dimensions: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any,
    padding_mode: Any, method: Any,
) -> Any:  # fmt: skip
    """Check the arguments of a convolution of 1 to 3 dimensions and compute it."""
    if (
        type(stride) is type(dilation) is type(groups) is int
        and type(padding) in (int, str)
        and type(padding_mode) is type(method) is str
        and padding_mode == "zeros"
        and method == "auto"
        and are_plain(x, weight)
        and (bias is None or (are_plain(x, bias) and bias.shape == weight.shape[:1]))
    ):
        plan = layer_plan(dimensions, x.shape, weight.shape, stride, padding, dilation, groups, x.dtype)
        if plan is not None:
            return plain_layer(x, weight, plan.zeros if bias is None else bias, groups, plan)
    x = spatial_array(x, "x", dimensions)
    weight = check_weight(weight, dimensions, "out channels, channels / groups")
    batched = x.ndim == dimensions + 2
    groups = check_channels(x.shape[-dimensions - 1], weight.shape, groups)
    if method not in METHODS:
        check_choice(method, "method", METHODS)
    stride, before, after, dilation, out = geometry(x.shape[-dimensions:], weight.shape[2:], stride, padding, dilation)
    if bias is None:
        dtype = common_dtype(x, weight)
        bias = np.zeros(weight.shape[0], dtype)
    else:
        bias = check_bias(bias, weight.shape[0])
        dtype = common_dtype(x, weight, bias)
        bias = to_contiguous(bias, dtype)
    x, weight = normal(x, dimensions, dtype), normal_kernel(weight, dtype)
    if padding_mode != "zeros":
        check_choice(padding_mode, "padding_mode", PADDING_MODES)
        check_extension(x.shape[2:], before, after, padding_mode)
        x = extend(x, before, after, MODES[padding_mode])
        before = (0, 0, 0)
    result = run_convolution(x, weight, bias, out, stride, before, dilation, groups, method)
    shape = (*result.shape[:2], *out[3 - dimensions :])
    return result.reshape(shape if batched else shape[1:])


def plain_layer(x: Any, weight: Any, bias: Any, groups: int, plan: LayerPlan) -> Any:
    """Compute a convolution of arrays in which there is nothing to check; a small one as directly as it can be."""
    (x_shape, w_shape, out_shape, place, shape), method, meets_padding, _ = plan
    x, weight = x.reshape(x_shape), weight.reshape(w_shape)
    stride, before, _, dilation, out = place
    if method == "direct":
        result = np.empty(out_shape, x.dtype)
        convolution_part(
            0, out_shape[0] * out_shape[1] * out_shape[2], x, weight, bias, result, stride, before, dilation, groups
        )
        return result.reshape(shape)
    if method == "bands":
        result = np.empty(out_shape, x.dtype)
        if bands_at_once(meets_padding, x, weight, bias, result, stride, before, dilation, groups):
            return result.reshape(shape)
    return run_convolution(x, weight, bias, out, stride, before, dilation, groups).reshape(shape)


def check_extension(sizes: Sizes, before: Sizes, after: Sizes, padding_mode: str) -> None:
    """Raise ValueError where an axis of one number is to be reflected at its border's centre."""
    if padding_mode == "reflect":
        for size, p, q in zip(sizes, before, after, strict=True):
            if size == 1 and (p or q):
                raise ValueError("padding_mode 'reflect' needs at least 2 numbers along a padded axis, x has 1")


def transposed_layer(
    dimensions: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: Any,
    dilation: Any, method: Any,
) -> Any:  # fmt: skip
    """Check the arguments of a transposed convolution of 1 to 3 dimensions and compute it."""
    x = spatial_array(x, "x", dimensions)
    weight = check_weight(weight, dimensions, "channels, out channels / groups")
    batched = x.ndim == dimensions + 2
    groups = check_channels(x.shape[-dimensions - 1], weight.shape, groups, transposed=True)
    if method not in METHODS:
        check_choice(method, "method", METHODS)
    stride, before, _, dilation, out = transposed_geometry(
        x.shape[-dimensions:], weight.shape[2:], stride, padding, dilation, output_padding
    )
    channels = weight.shape[1] * groups
    if bias is None:
        dtype = common_dtype(x, weight)
        bias = np.zeros(channels, dtype)
    else:
        bias = check_bias(bias, channels)
        dtype = common_dtype(x, weight, bias)
        bias = to_contiguous(bias, dtype)
    x, weight = normal(x, dimensions, dtype), normal_kernel(weight, dtype)
    result = run_input_gradient(x, weight, bias, out, stride, before, dilation, groups, method)
    shape = (*result.shape[:2], *out[3 - dimensions :])
    return result.reshape(shape if batched else shape[1:])
