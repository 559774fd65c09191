"""Bad input: each message names the argument and says what is allowed."""

import numpy as np
import pytest

import derivable as dv

X, W = np.ones((2, 4, 6, 6)), np.ones((6, 2, 3, 3))

LAYERS = [
    (ValueError, "x must not be empty", {"x": np.ones((2, 4, 0, 6))}),
    (ValueError, "x must not be empty", {"x": np.ones((0, 4, 6, 6))}),
    (ValueError, "weight must not be empty", {"weight": np.ones((6, 2, 0, 3))}),
    (ValueError, "groups must be at least 1", {"groups": 0}),
    (ValueError, "groups must divide", {"groups": 4}),
    (TypeError, "groups must be an int", {"groups": 2.0}),
    (TypeError, "groups must be an int", {"groups": True}),
    (ValueError, "weight.shape\\[1\\] \\* groups = 2 channels, got 4", {"groups": 1}),
    (ValueError, "weight must fit into the padded input", {"weight": np.ones((6, 2, 3, 7))}),
    (ValueError, "weight must fit into the padded input", {"dilation": 3}),
    (ValueError, "padding must be at least 0", {"padding": -1}),
    (ValueError, "padding must be at least 0", {"padding": (1, -1)}),
    (ValueError, "padding must be at least 0", {"padding": ((1, 0), (0, -1))}),
    (ValueError, "padding must be one of 'valid', 'same'", {"padding": "full"}),
    (ValueError, "padding must be an int", {"padding": (1, 2, 3)}),
    (ValueError, "padding must be an int", {"padding": (1, (2, 3))}),
    (ValueError, "padding must be \\(before, after\\)", {"padding": ((1, 2, 3), (1, 2, 3))}),
    (TypeError, "padding must be an int", {"padding": 1.5}),
    (TypeError, "padding must be an int", {"padding": None}),
    (ValueError, "stride must be at least 1", {"stride": 0}),
    (ValueError, "stride must be at least 1", {"stride": (1, 0)}),
    (ValueError, "stride must be an int or have one int", {"stride": (1, 1, 1)}),
    (TypeError, "stride must be an int", {"stride": True}),
    (TypeError, "stride must be an int", {"stride": "2"}),
    (TypeError, "stride must be an int", {"stride": 1.0}),
    (ValueError, "dilation must be at least 1", {"dilation": 0}),
    (ValueError, "x must have shape", {"x": np.ones((6, 6))}),
    (ValueError, "x must have shape", {"x": np.ones((1, 1, 1, 6, 6))}),
    (ValueError, "weight must have shape", {"weight": np.ones((2, 3, 3))}),
    (ValueError, "bias must have shape \\(6,\\)", {"bias": np.ones(5)}),
    (ValueError, "bias must have shape \\(6,\\)", {"bias": 1.0}),
    (TypeError, "bias must be numeric", {"bias": ["a"] * 6}),
    (TypeError, "x must be numeric", {"x": X.astype(object)}),
    (TypeError, "x must be numeric", {"x": X.astype(str)}),
    (TypeError, "x must be numeric", {"x": X.astype(bool)}),
    (TypeError, "x must be of single or double precision", {"x": X.astype(np.float16)}),
    (TypeError, "weight must be numeric", {"weight": W.astype("datetime64[s]")}),
    (ValueError, "rows of equal length", {"x": [[1.0], [1.0, 2.0]]}),
    (ValueError, "padding_mode must be one of 'zeros'", {"padding_mode": "reflection"}),
    (ValueError, "method must be one of 'auto'", {"method": "fast"}),
    (ValueError, "needs at least 2 numbers", {"x": np.ones((1, 4, 6, 1)), "padding": 2, "padding_mode": "reflect"}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "change"), LAYERS)
def test_layers(error, message, change):
    arguments = {"x": X, "weight": W, "groups": 2, **change}
    with pytest.raises(error, match=message):
        dv.conv2d(**arguments)
    # The same again: no earlier good call may have filled a cache in which 1, True and 1.0 are one key.
    dv.conv2d(X, W, groups=2)
    with pytest.raises(error, match=message):
        dv.conv2d(**arguments)


TRANSPOSED = [
    (ValueError, "output_padding must be less than stride or dilation", {"output_padding": 1}),
    (ValueError, "output_padding must be less than stride or dilation", {"output_padding": 2, "stride": 2}),
    (ValueError, "output_padding must be less than stride or dilation", {"output_padding": (0, 2), "dilation": 2}),
    (ValueError, "output_padding must be at least 0", {"output_padding": -1}),
    (ValueError, "padding must leave an output", {"padding": 4}),  # pytorch/pytorch#127734: an empty array there
    (ValueError, "padding must be at least 0", {"padding": -1}),
    (ValueError, "padding must be 'valid', ints or pairs", {"padding": "same"}),
    (ValueError, "weight.shape\\[0\\] = 5 channels, got 4", {"weight": np.ones((5, 2, 3, 3)), "groups": 1}),
    (ValueError, "groups must divide weight.shape\\[0\\]", {"groups": 3}),
    (ValueError, "groups must be at least 1", {"groups": 0}),  # pytorch/pytorch#91549: a crash there
    (ValueError, "bias must have shape \\(4,\\)", {"bias": np.ones(2)}),
    (ValueError, "x must not be empty", {"x": np.ones((1, 4, 0, 0))}),
    (ValueError, "stride must be at least 1", {"stride": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "change"), TRANSPOSED)
def test_transposed_layers(error, message, change):
    arguments = {"x": np.ones((1, 4, 3, 3)), "weight": np.ones((4, 2, 3, 3)), "groups": 2, **change}
    with pytest.raises(error, match=message):
        dv.conv_transpose2d(**arguments)


def test_derivatives():
    g = np.ones((2, 6, 4, 4))
    with pytest.raises(ValueError, match="gradient must have the output's shape \\(2, 6, 4, 4\\), got"):
        dv.conv_input_gradient(g[..., :3], W, X.shape, groups=2)
    with pytest.raises(ValueError, match="gradient must have the output's shape"):
        dv.conv_kernel_gradient(g[:1], X, W.shape, groups=2)
    with pytest.raises(ValueError, match="input_shape must be a shape of 3 or 4 ints"):
        dv.conv_input_gradient(g, W, (6, 6), groups=2)
    with pytest.raises(ValueError, match="kernel_shape must be"):
        dv.conv_kernel_gradient(g, X, (3, 3), groups=2)
    with pytest.raises(ValueError, match="weight must have 3, 4 or 5 axes"):
        dv.conv_input_gradient(g, np.ones((3, 3)), X.shape)
    with pytest.raises(ValueError, match="gradient must have shape"):
        dv.conv_bias_gradient(np.ones(3))
    with pytest.raises(ValueError, match="gradient must have the output's shape"):
        dv.conv_transpose_input_gradient(g, np.ones((6, 2, 3, 3)), (2, 6, 4, 4))
    with pytest.raises(ValueError, match="gradient must have the output's shape"):
        dv.max_pool2d_gradient(g, X, 2)
    with pytest.raises(ValueError, match="input_shape must be"):
        dv.avg_pool2d_gradient(g, (8, 8), 2)


POOLS = [
    (ValueError, "kernel_size must fit into the padded x", dv.max_pool2d, (X, 7)),
    # pytorch/pytorch#114216 and #134948: -inf there; #36977: NaN.
    (ValueError, "kernel_size must fit into the padded x", dv.max_pool2d, (np.ones((1, 1, 1, 9)), 3, 6, 1, 2, True)),
    (ValueError, "padding must be at most half", dv.max_pool2d, (X, 2, 2, 2)),
    (ValueError, "padding must be at most half", dv.avg_pool2d, (X, 3, 1, 2)),
    (ValueError, "kernel_size must be at least 1", dv.max_pool2d, (X, 0)),
    (ValueError, "stride must be at least 1", dv.avg_pool2d, (X, 2, 0)),
    (TypeError, "x must be numeric", dv.max_pool2d, (X + 1j, 2)),
    (TypeError, "ceil_mode must be True or False", dv.max_pool2d, (X, 2, 2, 0, 1, "yes")),
    (ValueError, "divisor_override must be None or an int other than 0", dv.avg_pool2d, (X, 2, 2, 0, False, True, 0)),
    (ValueError, "x must not be empty", dv.avg_pool2d, (X[:0], 2)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "function", "arguments"), POOLS)
def test_pooling(error, message, function, arguments):
    with pytest.raises(error, match=message):
        function(*arguments)


SIGNALS = [
    (ValueError, "x must not be empty", ([], [1])),
    (ValueError, "h must not be empty", ([1], [])),
    (ValueError, "h must have as many dimensions as x", ([1], [[1]])),
    (ValueError, "h must have as many dimensions as x, at least 1", (1, 2)),
    (ValueError, "mode must be one of 'full', 'same', 'valid'", ([1], [1], "center")),
    (ValueError, "boundary must be one of 'fill', 'wrap', 'symm'", ([1], [1], "full", "reflect")),
    (ValueError, "method must be one of 'auto', 'direct', 'fft'", ([1], [1], "full", "fill", 0, "slow")),
    (ValueError, "'valid' needs x to be at least as long", (np.ones((2, 5)), np.ones((3, 4)), "valid")),
    (ValueError, "needs floating arrays", ([1], [1], "full", "fill", 0, "fft")),
    (TypeError, "fillvalue must be a number", ([1], [1], "full", "fill", "0")),
    (TypeError, "x must be numeric", (["a"], [1])),
    (TypeError, "h must be numeric", ([1], [None])),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "arguments"), SIGNALS)
@pytest.mark.parametrize("function", [dv.convolve, dv.correlate])
def test_signals(function, error, message, arguments):
    with pytest.raises(error, match=message):
        function(*arguments)


def test_matrices():
    with pytest.raises(ValueError, match="h must have 1 dimension"):
        dv.toeplitz(np.ones((2, 2)), 3)
    with pytest.raises(ValueError, match="n must be at least 1"):
        dv.circulant([1], 0)
    with pytest.raises(ValueError, match="mode must be one of"):
        dv.toeplitz([1], 2, "wrap")
    with pytest.raises(ValueError, match="kernel must have as many axes as input_shape"):
        dv.conv_matrix(np.ones((1, 1, 3, 3)), (5, 5))
    with pytest.raises(ValueError, match="weight must fit"):
        dv.conv_matrix(np.ones(4), 3)
    with pytest.raises(ValueError, match="output_padding must be 0"):
        dv.conv_matrix(np.ones(2), 3, output_padding=1)
    with pytest.raises(ValueError, match="padding_mode must be 'zeros'"):
        dv.conv_matrix(np.ones(2), 3, padding_mode="circular", transposed=True)


def test_output_size():
    assert dv.output_size(10, 3) == 8
    with pytest.raises(ValueError, match="input_size must be at least 1"):
        dv.output_size(0, 3)
    with pytest.raises(ValueError, match="output_padding must be 0 unless"):
        dv.output_size(5, 3, output_padding=1)
    with pytest.raises(TypeError, match="stride must be an int"):
        dv.output_size(5, 3, stride=1.0)


def test_dtypes_of_layers_follow_numpy():
    f32 = X.astype(np.float32)
    assert dv.conv2d(f32, W.astype(np.float32), groups=2).dtype == np.float32
    assert dv.conv2d(f32, W, groups=2).dtype == np.float64
    assert dv.conv2d(X.astype(int), W.astype(np.int8), groups=2).dtype == np.float64
    complex_bias = dv.conv2d(X, W, np.full(6, 2j), groups=2)
    np.testing.assert_array_equal(complex_bias, np.full((2, 6, 4, 4), 18 + 2j))
    assert dv.max_pool2d(X.astype(np.int16), 2).dtype == np.int16
    assert dv.avg_pool2d(X.astype(np.int16), 2).dtype == np.float64


def test_padding_goes_to_the_right_axis_and_side():
    # pytorch/pytorch#37844 (axes exchanged), #24504 (one side), #104860 (no batch), #134840 (more than once round).
    x = np.arange(6.0).reshape(1, 2, 3)
    identity = np.ones((1, 1, 1, 1))
    for mode, name in (("circular", "wrap"), ("reflect", "reflect"), ("replicate", "edge"), ("zeros", "constant")):
        for pairs in (((0, 0), (1, 0)), ((2, 0), (0, 1)), ((7, 9), (11, 8))):
            expected = np.pad(x[0], pairs, mode=name)
            assert np.array_equal(dv.conv2d(x, identity, padding=pairs, padding_mode=mode)[0], expected)


def test_dilated_transposed_convolution():
    # pytorch/pytorch#1565
    y = dv.conv_transpose1d(np.ones((1, 1, 6)), np.ones((1, 1, 3)), stride=2, padding=1, output_padding=1, dilation=2)
    assert y.ravel().tolist() == [0, 2, 0, 3, 0, 3, 0, 3, 0, 3, 0, 2, 0, 1]


def test_nan_in_pooling():
    # pytorch/pytorch#7645, #40131
    x = np.array([[[1.0, np.nan, 2.0, 3.0, -np.inf, -np.inf]]])
    np.testing.assert_array_equal(dv.max_pool1d(x, 2), [[[np.nan, 3, -np.inf]]])
    gradient = dv.max_pool1d_gradient(np.ones((1, 1, 3)), x, 2)
    assert gradient.tolist() == [[[0, 1, 0, 1, 1, 0]]]
    # The rest of a window that only partly fits does not count in its mean.
    assert dv.avg_pool1d(np.arange(5.0)[None], 2, 2, 0, True).tolist() == [[0.5, 2.5, 4.0]]
