"""The layers, their derivatives and pooling inside `@njit`: the same names and arguments, compiled into the caller.

Each function here is an overload of a public one. While Numba compiles the caller it looks at the *types* of
the arguments (is `stride` an int or a tuple? has `x` a batch?) and returns the few lines for them; checks of values are
made when the compiled code runs, with shorter messages than from Python. Convolutions are computed by the engines that
the layers use from Python, which `calls` reaches by address; what else stands here is serial.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import types
from numba.core.errors import NumbaTypeError, NumbaValueError
from numba.extending import overload
from numba.np.numpy_support import as_dtype, from_dtype

from derivable.convolution import derivatives, layers, pooling
from derivable.convolution.calls import CONVOLUTION, INPUT_GRADIENT, KERNEL_GRADIENT, call_engine
from derivable.convolution.choice import METHODS
from derivable.convolution.sizes import MODES, PADDING_MODES, PADDING_WORDS, extend, extend_transposed
from derivable.jit import kernel

__all__: list[str] = []

# mypy sees no types in the closures below: they are programs for Numba.
# mypy: disable-error-code="no-untyped-def, attr-defined, no-redef, misc, arg-type, index"


# --------------------------------------------------------------------------- pieces, chosen by the arguments' types


def value_of(argument: Any) -> Any:
    """Return the Python value of an argument that Numba knows at compile time, or the type itself."""
    if isinstance(argument, types.Omitted):
        return argument.value
    if isinstance(argument, types.Literal):
        return argument.literal_value
    return argument


def is_none(argument: Any) -> bool:
    """Return whether the argument is None."""
    return value_of(argument) is None or isinstance(argument, types.NoneType)


def word(argument: Any, name: str, choices: tuple[str, ...]) -> str:
    """Return a string argument, which must be known at compile time."""
    value = value_of(argument)
    if not isinstance(value, str):
        raise NumbaTypeError(f"{name} must be a literal string inside @njit, got {argument}")
    if value not in choices:
        raise NumbaValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def common_type(*arrays: Any) -> Any:
    """Return NumPy's common dtype of the arrays, float64 for integers."""
    for array in arrays:
        if not isinstance(array, types.Array) or not isinstance(array.dtype, types.Number):
            raise NumbaTypeError(f"x, weight, bias and gradients must be numeric arrays inside @njit, got {array}")
    dtype = np.result_type(*[as_dtype(a.dtype) for a in arrays])
    return dtype if dtype.kind in "fc" else np.dtype(np.float64)


def caster(array: Any, dtype: Any) -> Callable[..., Any]:
    """Return a function that makes an array contiguous and of the dtype."""
    if from_dtype(dtype) == array.dtype:

        @kernel
        def cast(a):
            return np.ascontiguousarray(a)
    else:

        @kernel
        def cast(a):
            return np.ascontiguousarray(a.astype(dtype))

    return cast


@kernel
def normal_1_single(a):
    return a.reshape(1, a.shape[0], 1, 1, a.shape[1])


@kernel
def normal_1(a):
    return a.reshape(a.shape[0], a.shape[1], 1, 1, a.shape[2])


@kernel
def normal_2_single(a):
    return a.reshape(1, a.shape[0], 1, a.shape[1], a.shape[2])


@kernel
def normal_2(a):
    return a.reshape(a.shape[0], a.shape[1], 1, a.shape[2], a.shape[3])


@kernel
def normal_3_single(a):
    return a.reshape(1, a.shape[0], a.shape[1], a.shape[2], a.shape[3])


@kernel
def normal_3(a):
    return a.reshape(a.shape[0], a.shape[1], a.shape[2], a.shape[3], a.shape[4])


@kernel
def back_1_single(a):
    return a.reshape(a.shape[1], a.shape[4])


@kernel
def back_1(a):
    return a.reshape(a.shape[0], a.shape[1], a.shape[4])


@kernel
def back_2_single(a):
    return a.reshape(a.shape[1], a.shape[3], a.shape[4])


@kernel
def back_2(a):
    return a.reshape(a.shape[0], a.shape[1], a.shape[3], a.shape[4])


@kernel
def back_3_single(a):
    return a.reshape(a.shape[1], a.shape[2], a.shape[3], a.shape[4])


@kernel
def back_3(a):
    return a


@kernel
def shape_1_single(s):
    return (1, s[0], 1, 1, s[1])


@kernel
def shape_1(s):
    return (s[0], s[1], 1, 1, s[2])


@kernel
def shape_2_single(s):
    return (1, s[0], 1, s[1], s[2])


@kernel
def shape_2(s):
    return (s[0], s[1], 1, s[2], s[3])


@kernel
def shape_3_single(s):
    return (1, s[0], s[1], s[2], s[3])


@kernel
def shape_3(s):
    return (s[0], s[1], s[2], s[3], s[4])


# By (spatial axes, whether there is a batch).
TO_NORMAL = {
    (1, False): normal_1_single, (1, True): normal_1, (2, False): normal_2_single, (2, True): normal_2,
    (3, False): normal_3_single, (3, True): normal_3,
}  # fmt: skip
FROM_NORMAL = {
    (1, False): back_1_single, (1, True): back_1, (2, False): back_2_single, (2, True): back_2,
    (3, False): back_3_single, (3, True): back_3,
}  # fmt: skip
NORMAL_SHAPE = {
    (1, False): shape_1_single, (1, True): shape_1, (2, False): shape_2_single, (2, True): shape_2,
    (3, False): shape_3_single, (3, True): shape_3,
}  # fmt: skip


def batch_of(ndim: int, dimensions: int, name: str) -> bool:
    """Return whether an array of `ndim` axes has a batch."""
    if ndim not in (dimensions + 1, dimensions + 2):
        raise NumbaTypeError(
            f"{name} must have {dimensions + 1} or {dimensions + 2} axes, (batch, channels, *sizes), got {ndim}"
        )
    return ndim == dimensions + 2


def triple(argument: Any, dimensions: int, name: str, fill: int, least: int) -> Callable[..., Any]:
    """Return a function from an int or a tuple of ints to three checked ints, with `fill` for the missing axes."""
    value = value_of(argument)
    message = f"{name} must be at least {least}"
    if isinstance(value, int) or isinstance(argument, types.Integer):
        if isinstance(value, bool) or isinstance(argument, types.Boolean):
            raise NumbaTypeError(f"{name} must be an int or a tuple of ints, got {argument}")
        front = 3 - dimensions

        @kernel
        def ints(v):
            if v < least:
                raise ValueError(message)
            return (fill if front >= 1 else v, fill if front >= 2 else v, v)

        return ints
    count = len(argument) if isinstance(argument, (types.BaseTuple, tuple)) else -1
    if count != dimensions or not all(isinstance(value_of(t), int) or isinstance(t, types.Integer) for t in argument):
        raise NumbaTypeError(f"{name} must be an int or a tuple of {dimensions} ints inside @njit, got {argument}")
    if dimensions == 1:

        @kernel
        def ints(v):
            if v[0] < least:
                raise ValueError(message)
            return (fill, fill, v[0])
    elif dimensions == 2:

        @kernel
        def ints(v):
            if v[0] < least or v[1] < least:
                raise ValueError(message)
            return (fill, v[0], v[1])
    else:

        @kernel
        def ints(v):
            if v[0] < least or v[1] < least or v[2] < least:
                raise ValueError(message)
            return (v[0], v[1], v[2])

    return ints


@kernel
def same_pair(n, k, s, d, lower):
    """Return the padding before and after one axis for "same" and "same_lower"."""
    total = max(0, ((n + s - 1) // s - 1) * s + d * (k - 1) + 1 - n)
    small = total // 2
    return (total - small, small) if lower else (small, total - small)


def pads(argument: Any, dimensions: int) -> Callable[..., Any]:
    """Return a function from (padding, sizes, kernel sizes, stride, dilation) to paddings before and after."""
    value = value_of(argument)
    if isinstance(value, str):
        kind = word(argument, "padding", PADDING_WORDS)
        lower = kind == "same_lower"
        if kind == "valid":

            @kernel
            def get(padding, n, k, s, d):
                return (0, 0, 0), (0, 0, 0)
        else:

            @kernel
            def get(padding, n, k, s, d):
                a = same_pair(n[0], k[0], s[0], d[0], lower)
                b = same_pair(n[1], k[1], s[1], d[1], lower)
                c = same_pair(n[2], k[2], s[2], d[2], lower)
                return (a[0], b[0], c[0]), (a[1], b[1], c[1])

        return get
    if isinstance(argument, types.BaseTuple) and len(argument) and isinstance(argument[0], types.BaseTuple):
        if len(argument) != dimensions or any(not isinstance(t, types.BaseTuple) or len(t) != 2 for t in argument):
            raise NumbaTypeError(f"padding must be {dimensions} pairs (before, after), got {argument}")
        least = "each padding must be at least 0"
        if dimensions == 1:

            @kernel
            def get(padding, n, k, s, d):
                if min(padding[0]) < 0:
                    raise ValueError(least)
                return (0, 0, padding[0][0]), (0, 0, padding[0][1])
        elif dimensions == 2:

            @kernel
            def get(padding, n, k, s, d):
                if min(padding[0]) < 0 or min(padding[1]) < 0:
                    raise ValueError(least)
                return (0, padding[0][0], padding[1][0]), (0, padding[0][1], padding[1][1])
        else:

            @kernel
            def get(padding, n, k, s, d):
                if min(padding[0]) < 0 or min(padding[1]) < 0 or min(padding[2]) < 0:
                    raise ValueError(least)
                return (
                    (padding[0][0], padding[1][0], padding[2][0]),
                    (padding[0][1], padding[1][1], padding[2][1]),
                )

        return get
    ints = triple(argument, dimensions, "padding", 0, 0)

    @kernel
    def get(padding, n, k, s, d):
        p = ints(padding)
        return p, p

    return get


@kernel
def check_fit(x_channels, w_shape, groups):
    """Raise ValueError where channels and groups do not fit."""
    if groups < 1:
        raise ValueError("groups must be at least 1")
    if w_shape[0] % groups != 0:
        raise ValueError("groups must divide weight.shape[0]")
    if x_channels != w_shape[1] * groups:
        raise ValueError("x must have weight.shape[1] * groups channels")


@kernel
def out_sizes(n, k, s, before, after, d):
    """Return the output's three sizes; ValueError where the kernel does not fit."""
    a = n[0] + before[0] + after[0] - d[0] * (k[0] - 1) - 1
    b = n[1] + before[1] + after[1] - d[1] * (k[1] - 1) - 1
    c = n[2] + before[2] + after[2] - d[2] * (k[2] - 1) - 1
    if a < 0 or b < 0 or c < 0:
        raise ValueError("weight must fit into the padded input")
    return a // s[0] + 1, b // s[1] + 1, c // s[2] + 1


@kernel
def transposed_sizes(n, k, s, before, after, d, extra):
    """Return the three sizes of a transposed convolution's output; ValueError where they are none."""
    for axis in range(3):
        if extra[axis] >= max(s[axis], d[axis]):
            raise ValueError("output_padding must be less than stride or dilation")
    a = (n[0] - 1) * s[0] - before[0] - after[0] + d[0] * (k[0] - 1) + 1 + extra[0]
    b = (n[1] - 1) * s[1] - before[1] - after[1] + d[1] * (k[1] - 1) + 1 + extra[1]
    c = (n[2] - 1) * s[2] - before[2] - after[2] + d[2] * (k[2] - 1) + 1 + extra[2]
    if a < 1 or b < 1 or c < 1:
        raise ValueError("padding must leave an output")
    return a, b, c


@kernel
def check_not_empty(a):
    """Raise ValueError for an array without elements."""
    if a.size == 0:
        raise ValueError("arrays must not be empty")


@kernel
def check_reflect(n, before, after, mode):
    """Raise ValueError where one number is to be reflected at its centre."""
    if mode == 1:
        for axis in range(3):
            if n[axis] == 1 and (before[axis] > 0 or after[axis] > 0):
                raise ValueError("padding_mode 'reflect' needs at least 2 numbers along a padded axis")


@kernel
def wide_sizes(n, before, after):
    """Return the sizes of the continued input."""
    return n[0] + before[0] + after[0], n[1] + before[1] + after[1], n[2] + before[2] + after[2]


@kernel
def same_shape(a, b):
    """Raise ValueError where a gradient has not the output's shape."""
    for axis in range(5):
        if a[axis] != b[axis]:
            raise ValueError("gradient must have the output's shape")


def conjugate(dtype: Any) -> Callable[..., Any]:
    """Return np.conj for complex dtypes, else the identity (which saves a copy)."""
    if dtype.kind == "c":

        @kernel
        def conj(a):
            return np.conj(a)
    else:

        @kernel
        def conj(a):
            return a

    return conj


def bias_maker(bias: Any, dtype: Any) -> Callable[..., Any]:
    """Return a function from (bias, channels) to a contiguous array of that many numbers."""
    if is_none(bias):

        @kernel
        def make(b, channels):
            return np.zeros(channels, dtype)
    else:
        if bias.ndim != 1:
            raise NumbaTypeError(f"bias must be one-dimensional or None, got {bias}")
        cast = caster(bias, dtype)

        @kernel
        def make(b, channels):
            if b.size != channels:
                raise ValueError("bias must have one number per out channel")
            return cast(b)

    return make


# ---------------------------------------------------------------------------------- engines, called by address


@kernel
def convolution(x, w, bias, out_shape, stride, before, dilation, groups):
    """Return the convolution of normal forms, plus `bias`."""
    out = np.empty((x.shape[0], w.shape[0], out_shape[0], out_shape[1], out_shape[2]), x.dtype)
    work, parts = out.size * (w.size // w.shape[0]), out.shape[0] * out.shape[1] * out.shape[2]
    call_engine(CONVOLUTION, x, w, bias, out, stride, before, dilation, groups, work, parts)
    return out


@kernel
def input_gradient(g, w, bias, x_shape, stride, before, dilation, groups):
    """Return the transposed map of `convolution` in x, applied to `g`, plus `bias`."""
    out = np.empty((g.shape[0], w.shape[1] * groups, x_shape[0], x_shape[1], x_shape[2]), g.dtype)
    work, parts = g.size * (w.size // w.shape[0]), out.shape[0] * out.shape[1] * out.shape[2]
    call_engine(INPUT_GRADIENT, g, w, bias, out, stride, before, dilation, groups, work, parts)
    return out


@kernel
def kernel_gradient(g, x, kernel_shape, stride, before, dilation, groups):
    """Return the derivative of sum(g * convolution(x, w)) with respect to w."""
    shape = (g.shape[1], x.shape[1] // groups, kernel_shape[0], kernel_shape[1], kernel_shape[2])
    out = np.empty(shape, x.dtype)
    work, parts = g.size * (out.size // out.shape[0]), out.shape[0] * out.shape[1] * out.shape[2]
    call_engine(KERNEL_GRADIENT, g, x, None, out, stride, before, dilation, groups, work, parts)
    return out


# -------------------------------------------------------------------------------------------------- layers


def add_layer(public: Callable[..., Any], dimensions: int) -> None:
    """Teach Numba conv1d, conv2d or conv3d."""

    @overload(public, prefer_literal=True)
    def conv(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros", method="auto"):
        word(method, "method", METHODS)
        mode = MODES[word(padding_mode, "padding_mode", PADDING_MODES)]
        dtype = common_type(x, weight) if is_none(bias) else common_type(x, weight, bias)
        batched = batch_of(x.ndim, dimensions, "x")
        if weight.ndim != dimensions + 2:
            raise NumbaTypeError(f"weight must have {dimensions + 2} axes, got {weight.ndim}")
        cast_x, cast_w, make_bias = caster(x, dtype), caster(weight, dtype), bias_maker(bias, dtype)
        to_x, to_w, back = (
            TO_NORMAL[dimensions, batched],
            TO_NORMAL[dimensions, True],
            FROM_NORMAL[dimensions, batched],
        )
        get_stride = triple(stride, dimensions, "stride", 1, 1)
        get_dilation = triple(dilation, dimensions, "dilation", 1, 1)
        get_pads = pads(padding, dimensions)

        def compute(
            x,
            weight,
            bias=None,
            stride=1,
            padding=0,
            dilation=1,
            groups=1,
            padding_mode="zeros",
            method="auto",
        ):
            a, w = to_x(cast_x(x)), to_w(cast_w(weight))
            check_not_empty(a)
            check_not_empty(w)
            check_fit(a.shape[1], w.shape, groups)
            s, d = get_stride(stride), get_dilation(dilation)
            before, after = get_pads(padding, a.shape[2:], w.shape[2:], s, d)
            out = out_sizes(a.shape[2:], w.shape[2:], s, before, after, d)
            b = make_bias(bias, w.shape[0])
            if mode != 0:
                check_reflect(a.shape[2:], before, after, mode)
                a = extend(a, before, after, mode)
                before = (0, 0, 0)
            return back(convolution(a, w, b, out, s, before, d, groups))

        return compute


def add_transposed_layer(public: Callable[..., Any], dimensions: int) -> None:
    """Teach Numba conv_transpose1d, conv_transpose2d or conv_transpose3d."""

    @overload(public, prefer_literal=True)
    def conv(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, method="auto"):
        word(method, "method", METHODS)
        dtype = common_type(x, weight) if is_none(bias) else common_type(x, weight, bias)
        batched = batch_of(x.ndim, dimensions, "x")
        if weight.ndim != dimensions + 2:
            raise NumbaTypeError(f"weight must have {dimensions + 2} axes, got {weight.ndim}")
        cast_x, cast_w, make_bias = caster(x, dtype), caster(weight, dtype), bias_maker(bias, dtype)
        to_x, to_w, back = (
            TO_NORMAL[dimensions, batched],
            TO_NORMAL[dimensions, True],
            FROM_NORMAL[dimensions, batched],
        )
        get_stride = triple(stride, dimensions, "stride", 1, 1)
        get_dilation = triple(dilation, dimensions, "dilation", 1, 1)
        get_extra = triple(output_padding, dimensions, "output_padding", 0, 0)
        if isinstance(value_of(padding), str) and value_of(padding) != "valid":
            raise NumbaValueError("padding must be 'valid', ints or pairs for a transposed convolution")
        get_pads = pads(padding, dimensions)

        def compute(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, method="auto"):
            a, w = to_x(cast_x(x)), to_w(cast_w(weight))
            check_not_empty(a)
            check_not_empty(w)
            if groups < 1 or w.shape[0] % groups != 0 or a.shape[1] != w.shape[0]:
                raise ValueError("x must have weight.shape[0] channels, and groups divide them")
            s, d = get_stride(stride), get_dilation(dilation)
            before, after = get_pads(padding, a.shape[2:], w.shape[2:], s, d)
            out = transposed_sizes(a.shape[2:], w.shape[2:], s, before, after, d, get_extra(output_padding))
            b = make_bias(bias, w.shape[1] * groups)
            return back(input_gradient(a, w, b, out, s, before, d, groups))

        return compute


# --------------------------------------------------------------------------------------------- derivatives


@overload(derivatives.conv_input_gradient, prefer_literal=True)
def conv_input_gradient(gradient, weight, input_shape, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
    """Teach Numba the gradient in a layer's input."""
    mode = MODES[word(padding_mode, "padding_mode", PADDING_MODES)]
    dtype, dimensions = common_type(gradient, weight), weight.ndim - 2
    batched = batch_of(len(input_shape), dimensions, "input_shape")
    batch_of(gradient.ndim, dimensions, "gradient")
    cast_g, cast_w, conj = caster(gradient, dtype), caster(weight, dtype), conjugate(dtype)
    to_g, to_w, back = (
        TO_NORMAL[dimensions, batched],
        TO_NORMAL[dimensions, True],
        FROM_NORMAL[dimensions, batched],
    )
    to_shape = NORMAL_SHAPE[dimensions, batched]
    get_stride = triple(stride, dimensions, "stride", 1, 1)
    get_dilation = triple(dilation, dimensions, "dilation", 1, 1)
    get_pads = pads(padding, dimensions)

    def compute(gradient, weight, input_shape, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
        g, w, shape = to_g(cast_g(gradient)), conj(to_w(cast_w(weight))), to_shape(input_shape)
        check_not_empty(g)
        check_not_empty(w)
        check_fit(shape[1], w.shape, groups)
        s, d = get_stride(stride), get_dilation(dilation)
        before, after = get_pads(padding, shape[2:], w.shape[2:], s, d)
        out = out_sizes(shape[2:], w.shape[2:], s, before, after, d)
        same_shape(g.shape, (shape[0], w.shape[0], out[0], out[1], out[2]))
        b = np.zeros(shape[1], dtype)
        if mode == 0:
            return back(input_gradient(g, w, b, shape[2:], s, before, d, groups))
        check_reflect(shape[2:], before, after, mode)
        wide = wide_sizes(shape[2:], before, after)
        result = input_gradient(g, w, b, wide, s, (0, 0, 0), d, groups)
        return back(extend_transposed(result, shape[2:], before, mode))

    return compute


@overload(derivatives.conv_kernel_gradient, prefer_literal=True)
def conv_kernel_gradient(gradient, x, kernel_shape, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
    """Teach Numba the gradient in a layer's kernel."""
    mode = MODES[word(padding_mode, "padding_mode", PADDING_MODES)]
    dtype, dimensions = common_type(gradient, x), len(kernel_shape) - 2
    batched = batch_of(x.ndim, dimensions, "x")
    batch_of(gradient.ndim, dimensions, "gradient")
    cast_g, cast_x, conj = caster(gradient, dtype), caster(x, dtype), conjugate(dtype)
    to_x, back, to_shape = (
        TO_NORMAL[dimensions, batched],
        FROM_NORMAL[dimensions, True],
        NORMAL_SHAPE[dimensions, True],
    )
    get_stride = triple(stride, dimensions, "stride", 1, 1)
    get_dilation = triple(dilation, dimensions, "dilation", 1, 1)
    get_pads = pads(padding, dimensions)

    def compute(gradient, x, kernel_shape, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
        g, a, shape = to_x(cast_g(gradient)), conj(to_x(cast_x(x))), to_shape(kernel_shape)
        check_not_empty(g)
        check_not_empty(a)
        check_fit(a.shape[1], shape, groups)
        s, d = get_stride(stride), get_dilation(dilation)
        before, after = get_pads(padding, a.shape[2:], shape[2:], s, d)
        out = out_sizes(a.shape[2:], shape[2:], s, before, after, d)
        same_shape(g.shape, (a.shape[0], shape[0], out[0], out[1], out[2]))
        if mode != 0:
            check_reflect(a.shape[2:], before, after, mode)
            a = extend(a, before, after, mode)
            before = (0, 0, 0)
        return back(kernel_gradient(g, a, shape[2:], s, before, d, groups))

    return compute


@overload(derivatives.conv_bias_gradient, prefer_literal=True)
def conv_bias_gradient(gradient, dimensions=None):
    """Teach Numba the gradient in a layer's bias."""
    dtype = common_type(gradient)
    count = gradient.ndim - 2 if is_none(dimensions) else value_of(dimensions)
    if not isinstance(count, int) or not 1 <= count <= 3:
        raise NumbaTypeError("dimensions must be a literal 1, 2 or 3 inside @njit")
    cast, to = caster(gradient, dtype), TO_NORMAL[count, batch_of(gradient.ndim, count, "gradient")]

    def compute(gradient, dimensions=None):
        g = to(cast(gradient))
        check_not_empty(g)
        out = np.zeros(g.shape[1], dtype)
        for n in range(g.shape[0]):
            for c in range(g.shape[1]):
                out[c] += g[n, c].sum()
        return out

    return compute


@overload(derivatives.conv_transpose_input_gradient, prefer_literal=True)
def conv_transpose_input_gradient(
    gradient, weight, input_shape, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """Teach Numba the gradient in the input of a transposed layer."""
    dtype, dimensions = common_type(gradient, weight), weight.ndim - 2
    batched = batch_of(len(input_shape), dimensions, "input_shape")
    batch_of(gradient.ndim, dimensions, "gradient")
    cast_g, cast_w, conj = caster(gradient, dtype), caster(weight, dtype), conjugate(dtype)
    to_g, to_w, back = (
        TO_NORMAL[dimensions, batched],
        TO_NORMAL[dimensions, True],
        FROM_NORMAL[dimensions, batched],
    )
    to_shape = NORMAL_SHAPE[dimensions, batched]
    get_stride = triple(stride, dimensions, "stride", 1, 1)
    get_dilation = triple(dilation, dimensions, "dilation", 1, 1)
    get_extra = triple(output_padding, dimensions, "output_padding", 0, 0)
    get_pads = pads(padding, dimensions)

    def compute(gradient, weight, input_shape, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        g, w, shape = to_g(cast_g(gradient)), conj(to_w(cast_w(weight))), to_shape(input_shape)
        check_not_empty(g)
        check_not_empty(w)
        if groups < 1 or w.shape[0] % groups != 0 or shape[1] != w.shape[0]:
            raise ValueError("x must have weight.shape[0] channels, and groups divide them")
        s, d = get_stride(stride), get_dilation(dilation)
        before, after = get_pads(padding, shape[2:], w.shape[2:], s, d)
        out = transposed_sizes(shape[2:], w.shape[2:], s, before, after, d, get_extra(output_padding))
        same_shape(g.shape, (shape[0], w.shape[1] * groups, out[0], out[1], out[2]))
        b = np.zeros(shape[1], dtype)
        return back(convolution(g, w, b, shape[2:], s, before, d, groups))

    return compute


@overload(derivatives.conv_transpose_kernel_gradient, prefer_literal=True)
def conv_transpose_kernel_gradient(
    gradient, x, kernel_shape, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """Teach Numba the gradient in the kernel of a transposed layer."""
    dtype, dimensions = common_type(gradient, x), len(kernel_shape) - 2
    batched = batch_of(x.ndim, dimensions, "x")
    batch_of(gradient.ndim, dimensions, "gradient")
    cast_g, cast_x, conj = caster(gradient, dtype), caster(x, dtype), conjugate(dtype)
    to_x, back, to_shape = (
        TO_NORMAL[dimensions, batched],
        FROM_NORMAL[dimensions, True],
        NORMAL_SHAPE[dimensions, True],
    )
    get_stride = triple(stride, dimensions, "stride", 1, 1)
    get_dilation = triple(dilation, dimensions, "dilation", 1, 1)
    get_extra = triple(output_padding, dimensions, "output_padding", 0, 0)
    get_pads = pads(padding, dimensions)

    def compute(gradient, x, kernel_shape, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        g, a, shape = to_x(cast_g(gradient)), conj(to_x(cast_x(x))), to_shape(kernel_shape)
        check_not_empty(g)
        check_not_empty(a)
        if groups < 1 or shape[0] % groups != 0 or a.shape[1] != shape[0]:
            raise ValueError("x must have kernel_shape[0] channels, and groups divide them")
        s, d = get_stride(stride), get_dilation(dilation)
        before, after = get_pads(padding, a.shape[2:], shape[2:], s, d)
        out = transposed_sizes(a.shape[2:], shape[2:], s, before, after, d, get_extra(output_padding))
        same_shape(g.shape, (a.shape[0], shape[1] * groups, out[0], out[1], out[2]))
        return back(kernel_gradient(a, g, shape[2:], s, before, d, groups))

    return compute


# ------------------------------------------------------------------------------------------------- pooling


@kernel
def pool_size(n, k, s, p, d, ceil_mode):
    """Return how many windows an axis has; ValueError where one would hold no number."""
    extent = d * (k - 1) + 1
    if p > extent // 2:
        raise ValueError("padding must be at most half of what the window spans")
    room = n + 2 * p - extent
    if ceil_mode:
        count = (room + s - 1) // s + 1
        if count > 0 and (count - 1) * s >= n + p:
            count -= 1
    else:
        count = room // s + 1
    good = count >= 1
    for o in range(count):
        some = False
        for a in range(k):
            i = o * s - p + a * d
            some = some or (i >= 0 and i < n)
        good = good and some
    if not good:
        raise ValueError("kernel_size must fit into the padded x")
    return count


@kernel
def pool_sizes(n, k, s, p, d, ceil_mode):
    """Return the number of windows along the three axes."""
    return (
        pool_size(n[0], k[0], s[0], p[0], d[0], ceil_mode),
        pool_size(n[1], k[1], s[1], p[1], d[1], ceil_mode),
        pool_size(n[2], k[2], s[2], p[2], d[2], ceil_mode),
    )


def pool_stride(stride: Any, dimensions: int) -> Callable[..., Any]:
    """Return a function from (stride, kernel size) to three ints: the kernel's size where the stride is None."""
    if is_none(stride):

        @kernel
        def get(stride, k):
            return k
    else:
        ints = triple(stride, dimensions, "stride", 1, 1)

        @kernel
        def get(stride, k):
            return ints(stride)

    return get


def divisor_of(argument: Any) -> Callable[..., Any]:
    """Return a function from divisor_override to an int, 0 for None."""
    if is_none(argument):

        @kernel
        def get(divisor):
            return 0
    else:

        @kernel
        def get(divisor):
            if divisor == 0:
                raise ValueError("divisor_override must be None or an int other than 0")
            return divisor

    return get


def add_pooling(dimensions: int) -> None:
    """Teach Numba the pooling functions of so many dimensions."""
    names = [f"max_pool{dimensions}d", f"max_pool{dimensions}d_gradient", f"avg_pool{dimensions}d"]
    max_public, max_gradient, avg_public = (getattr(pooling, name) for name in names)
    avg_gradient = getattr(pooling, f"avg_pool{dimensions}d_gradient")

    @overload(max_public, prefer_literal=True)
    def max_pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        if not isinstance(x, types.Array) or not isinstance(x.dtype, (types.Float, types.Integer)):
            raise NumbaTypeError(f"x must be a real array, got {x}")
        batched = batch_of(x.ndim, dimensions, "x")
        cast, to, back = (
            caster(x, as_dtype(x.dtype)),
            TO_NORMAL[dimensions, batched],
            FROM_NORMAL[dimensions, batched],
        )
        get_size = triple(kernel_size, dimensions, "kernel_size", 1, 1)
        get_stride = pool_stride(stride, dimensions)
        get_padding = triple(padding, dimensions, "padding", 0, 0)
        get_dilation = triple(dilation, dimensions, "dilation", 1, 1)

        def compute(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
            a = to(cast(x))
            check_not_empty(a)
            k, p, d = get_size(kernel_size), get_padding(padding), get_dilation(dilation)
            s = get_stride(stride, k)
            n = pool_sizes(a.shape[2:], k, s, p, d, ceil_mode)
            out = np.empty((a.shape[0], a.shape[1], n[0], n[1], n[2]), a.dtype)
            pooling.max_pool_part(0, a.shape[0] * a.shape[1], a, out, k, s, p, d)
            return back(out)

        return compute

    @overload(max_gradient, prefer_literal=True)
    def max_pool_gradient(gradient, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        batched, dtype = batch_of(x.ndim, dimensions, "x"), common_type(gradient, x)
        batch_of(gradient.ndim, dimensions, "gradient")
        cast, cast_g = caster(x, dtype), caster(gradient, dtype)
        to, back = TO_NORMAL[dimensions, batched], FROM_NORMAL[dimensions, batched]
        get_size = triple(kernel_size, dimensions, "kernel_size", 1, 1)
        get_stride = pool_stride(stride, dimensions)
        get_padding = triple(padding, dimensions, "padding", 0, 0)
        get_dilation = triple(dilation, dimensions, "dilation", 1, 1)

        def compute(gradient, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
            a, g = to(cast(x)), to(cast_g(gradient))
            check_not_empty(a)
            k, p, d = get_size(kernel_size), get_padding(padding), get_dilation(dilation)
            s = get_stride(stride, k)
            n = pool_sizes(a.shape[2:], k, s, p, d, ceil_mode)
            same_shape(g.shape, (a.shape[0], a.shape[1], n[0], n[1], n[2]))
            out = np.empty(a.shape, dtype)
            pooling.max_pool_gradient_part(0, a.shape[0] * a.shape[1], g, a, out, k, s, p, d)
            return back(out)

        return compute

    @overload(getattr(pooling, f"max_pool{dimensions}d_tangent"), prefer_literal=True)
    def max_pool_tangent(tangent, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        batched, dtype = batch_of(x.ndim, dimensions, "x"), common_type(tangent, x)
        batch_of(tangent.ndim, dimensions, "tangent")
        cast, cast_t = caster(x, dtype), caster(tangent, dtype)
        to, back = TO_NORMAL[dimensions, batched], FROM_NORMAL[dimensions, batched]
        get_size = triple(kernel_size, dimensions, "kernel_size", 1, 1)
        get_stride = pool_stride(stride, dimensions)
        get_padding = triple(padding, dimensions, "padding", 0, 0)
        get_dilation = triple(dilation, dimensions, "dilation", 1, 1)

        def compute(tangent, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
            a, t = to(cast(x)), to(cast_t(tangent))
            check_not_empty(a)
            same_shape(t.shape, a.shape)
            k, p, d = get_size(kernel_size), get_padding(padding), get_dilation(dilation)
            s = get_stride(stride, k)
            n = pool_sizes(a.shape[2:], k, s, p, d, ceil_mode)
            out = np.empty((a.shape[0], a.shape[1], n[0], n[1], n[2]), dtype)
            pooling.max_pool_tangent_part(0, a.shape[0] * a.shape[1], t, a, out, k, s, p, d)
            return back(out)

        return compute

    @overload(avg_public, prefer_literal=True)
    def avg_pool(
        x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        batched, dtype = batch_of(x.ndim, dimensions, "x"), common_type(x)
        cast, to, back = caster(x, dtype), TO_NORMAL[dimensions, batched], FROM_NORMAL[dimensions, batched]
        get_size = triple(kernel_size, dimensions, "kernel_size", 1, 1)
        get_stride = pool_stride(stride, dimensions)
        get_padding = triple(padding, dimensions, "padding", 0, 0)
        get_divisor = divisor_of(divisor_override)

        def compute(
            x,
            kernel_size,
            stride=None,
            padding=0,
            ceil_mode=False,
            count_include_pad=True,
            divisor_override=None,
        ):
            a = to(cast(x))
            check_not_empty(a)
            k, p = get_size(kernel_size), get_padding(padding)
            s = get_stride(stride, k)
            n = pool_sizes(a.shape[2:], k, s, p, (1, 1, 1), ceil_mode)
            out = np.empty((a.shape[0], a.shape[1], n[0], n[1], n[2]), dtype)
            divisor = get_divisor(divisor_override)
            pooling.avg_pool_part(0, a.shape[0] * a.shape[1], a, out, k, s, p, bool(count_include_pad), divisor)
            return back(out)

        return compute

    @overload(avg_gradient, prefer_literal=True)
    def avg_pool_gradient(
        gradient, input_shape, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
        divisor_override=None,
    ):  # fmt: skip
        batched, dtype = batch_of(len(input_shape), dimensions, "input_shape"), common_type(gradient)
        batch_of(gradient.ndim, dimensions, "gradient")
        cast, to, back = (
            caster(gradient, dtype),
            TO_NORMAL[dimensions, batched],
            FROM_NORMAL[dimensions, batched],
        )
        to_shape = NORMAL_SHAPE[dimensions, batched]
        get_size = triple(kernel_size, dimensions, "kernel_size", 1, 1)
        get_stride = pool_stride(stride, dimensions)
        get_padding = triple(padding, dimensions, "padding", 0, 0)
        get_divisor = divisor_of(divisor_override)

        def compute(
            gradient, input_shape, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
            divisor_override=None,
        ):  # fmt: skip
            g, shape = to(cast(gradient)), to_shape(input_shape)
            k, p = get_size(kernel_size), get_padding(padding)
            s = get_stride(stride, k)
            n = pool_sizes(shape[2:], k, s, p, (1, 1, 1), ceil_mode)
            same_shape(g.shape, (shape[0], shape[1], n[0], n[1], n[2]))
            out = np.empty(shape, dtype)
            divisor, include = get_divisor(divisor_override), bool(count_include_pad)
            pooling.avg_pool_gradient_part(0, shape[0] * shape[1], g, out, k, s, p, include, divisor)
            return back(out)

        return compute


for axes in (1, 2, 3):
    add_layer(getattr(layers, f"conv{axes}d"), axes)
    add_transposed_layer(getattr(layers, f"conv_transpose{axes}d"), axes)
    add_pooling(axes)
