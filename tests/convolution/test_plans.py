"""Layers of plain arrays, whose checks are done once for each shape: the same results and the same errors."""

import itertools

import numpy as np
import pytest

import derivable as dv
from derivable.convolution import plans

RNG = np.random.default_rng(0)
LAYERS = [
    # x, weight, arguments: of the definition, of bands with and without padding, and of more work
    ((1, 1, 7), (1, 1, 3), {}),
    ((2, 3, 5, 5), (4, 3, 3, 3), {"padding": 1}),
    ((3, 5, 5), (4, 3, 3, 3), {"padding": "same"}),
    ((1, 1, 28, 28), (6, 1, 5, 5), {"padding": 2}),
    ((2, 2, 28, 28), (6, 1, 5, 5), {"groups": 2}),
    ((1, 2, 40, 40), (3, 2, 4, 4), {"padding": 3, "dilation": 2}),
    ((1, 2, 40, 40), (3, 2, 4, 4), {"padding": 3, "stride": 2}),
    ((1, 1, 4, 30, 30), (2, 1, 2, 3, 3), {"padding": 1}),
    ((1, 8, 30, 30), (16, 8, 3, 3), {"padding": 1}),
    ((1, 4, 300), (4, 1, 3), {"groups": 4, "padding": 1}),
]


def conv(x):
    """Return the layer for such an input."""
    return {3: dv.conv1d, 4: dv.conv2d, 5: dv.conv3d}[x]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize(("x_shape", "w_shape", "arguments"), LAYERS)
def test_plain_arrays_give_what_others_give(x_shape, w_shape, arguments, dtype):
    x, w, bias = (RNG.standard_normal(s).astype(dtype) for s in (x_shape, w_shape, w_shape[:1]))
    layer = conv(len(w_shape))
    tolerance = {"rtol": 0, "atol": 200 * np.finfo(dtype).eps}
    # Lists of ints are no keys of a plan, reversed arrays no plain arrays.
    other = {k: v if isinstance(v, str) or k == "groups" else [v] * (len(w_shape) - 2) for k, v in arguments.items()}
    turned = x[..., ::-1].copy()[..., ::-1]
    for b in (None, bias):
        got = layer(x, w, b, **arguments)
        assert got.dtype == dtype
        for want in (
            layer(turned, w, b, **arguments),
            layer(x, w, b, **other),
            layer(x, w, b, method="direct", **arguments),
        ):
            assert want.shape == got.shape
            np.testing.assert_allclose(got, want, **tolerance)
        np.testing.assert_array_equal(layer(x, w, b, **arguments), got)  # the second call finds the plan
    g = RNG.standard_normal(got.shape).astype(dtype)
    turned_g = g[..., ::-1].copy()[..., ::-1]
    for f, a, shape in ((dv.conv_input_gradient, w, x_shape), (dv.conv_kernel_gradient, x, w_shape)):
        got = f(g, a, shape, **arguments)
        assert got.shape == shape
        assert got.dtype == dtype
        for want in (f(turned_g, a, shape, **arguments), f(g, a, list(shape), **arguments), f(g, a, shape, **other)):
            np.testing.assert_allclose(got, want, rtol=0, atol=5000 * np.finfo(dtype).eps)


def test_the_bias_that_is_not_given_stays_zero():
    x, w = RNG.standard_normal((1, 1, 9, 9)), RNG.standard_normal((2, 1, 3, 3))
    first = dv.conv2d(x, w, padding=1)
    first += 7  # the result is the caller's
    second = dv.conv2d(x, w, padding=1)
    np.testing.assert_allclose(second, first - 7, atol=1e-12)
    for plan in (
        plans.layer_plan(2, x.shape, w.shape, 1, 1, 1, 1, x.dtype),
        plans.input_gradient_plan(x.shape, w.shape, 1, 1, 1, 1, x.dtype),
    ):
        assert plan is not None
        assert not plan.zeros.any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("size", [6, 28])
def test_an_infinite_weight_meets_no_padding(value, size):
    x, w, g = np.ones((1, 1, size, size)), np.ones((2, 1, 3, 3)), np.ones((1, 2, size, size))
    w[1, 0, 0, 0] = value
    out = dv.conv2d(x, w, padding=1)
    assert np.isfinite(out[:, 0]).all()
    assert np.isfinite(out[0, 1, 0]).all()  # the tap lies above the image
    assert np.isfinite(out[0, 1, :, 0]).all()
    assert not np.isfinite(out[0, 1, 1:, 1:]).any()
    assert np.isfinite(dv.convolve(x[0, 0], w[0, 0], "same")).all()
    same = dv.convolve(x[0, 0], w[1, 0], "same")
    assert np.isfinite(same[-1]).all()
    assert not np.isfinite(same[:-1, :-1]).any()
    back = dv.conv_input_gradient(g, w, x.shape, padding=1)
    assert np.isfinite(back[0, 0, -1]).all()
    assert not np.isfinite(back[0, 0, :-1, :-1]).any()
    g[0, 1, 0, 0] = value
    taps = dv.conv_kernel_gradient(g, x, w.shape, padding=1)
    assert np.isfinite(taps[0]).all()
    # That output meets no number of the image under the taps above and left of it.
    assert np.isfinite(taps[1, 0, 0]).all()
    assert np.isfinite(taps[1, 0, :, 0]).all()
    assert not np.isfinite(taps[1, 0, 1:, 1:]).any()


def test_true_is_no_count_after_one_was():
    """1 and True are equal, and so are keys made of them."""
    x, w = np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3))
    g = dv.conv2d(x, w)
    dv.conv_input_gradient(g, w, (1, 1, 5, 5))
    dv.conv_kernel_gradient(g, x, (1, 1, 3, 3))
    for name in ("stride", "padding", "dilation", "groups"):
        value = name != "padding"
        for f, a in (
            (dv.conv2d, (x, w)),
            (dv.conv_input_gradient, (g, w, x.shape)),
            (dv.conv_kernel_gradient, (g, x, w.shape)),
        ):
            f(*a, **{name: int(value)})
            with pytest.raises(TypeError, match=name):
                f(*a, **{name: value})
    with pytest.raises(TypeError, match="input_shape"):
        dv.conv_input_gradient(g, w, (True, 1, 5, 5))
    with pytest.raises(TypeError, match="kernel_shape"):
        dv.conv_kernel_gradient(g, x, (1, True, 3, 3))


def test_wrong_arguments_are_named_each_time():
    x, w, g = np.ones((1, 2, 5, 5)), np.ones((3, 2, 3, 3)), np.ones((1, 3, 3, 3))
    cases = [
        (dv.conv2d, (x, w[:, :1].copy()), {}, "x must have"),
        (dv.conv2d, (x, w), {"stride": 0}, "stride"),
        (dv.conv2d, (x, w), {"padding": -1}, "padding"),
        (dv.conv2d, (x, w), {"padding": "sme"}, "padding"),
        (dv.conv2d, (x, w), {"groups": 2}, "groups"),
        (dv.conv2d, (x, w), {"dilation": 9}, "fit"),
        (dv.conv2d, (x, w), {"padding_mode": "wrap"}, "padding_mode"),
        (dv.conv2d, (x, w), {"method": "fast"}, "method"),
        (dv.conv2d, (x, w, np.ones(2)), {}, "bias"),
        (dv.conv2d, (x, w[0].copy()), {}, "weight"),
        (dv.conv2d, (x[0, 0].copy(), w), {}, "x must have shape"),
        (dv.conv2d, (x[:, :, :0].copy(), w), {}, "empty"),
        (dv.conv_input_gradient, (g, w, (1, 2, 6, 5)), {}, "gradient must have"),
        (dv.conv_input_gradient, (g, w, (1, 3, 5, 5)), {}, "x must have"),
        (dv.conv_input_gradient, (g, w, (2, 5)), {}, "input_shape"),
        (dv.conv_input_gradient, (g, w[0, 0].copy(), (1, 2, 5, 5)), {}, "weight"),
        (dv.conv_kernel_gradient, (g, x, (3, 2, 3, 4)), {}, "gradient must have"),
        (dv.conv_kernel_gradient, (g, x, (3, 0, 3, 3)), {}, "kernel_shape"),
        (dv.conv_kernel_gradient, (g, x, (3, 2)), {}, "kernel_shape"),
        (dv.conv_kernel_gradient, (np.zeros(3), np.zeros(5), (3,)), {}, "kernel_shape"),
        (dv.conv_kernel_gradient, (np.zeros(3), np.zeros(()), ()), {}, "kernel_shape"),
        (dv.conv_input_gradient, (np.zeros(3), np.zeros(3), (5,)), {}, "weight"),
        (dv.convolve, (np.zeros(5), np.zeros(3)), {"boundary": np.array(["fill", "wrap"])}, "boundary"),
        (dv.convolve, (np.zeros(5), np.zeros(3)), {"method": np.array(["fft", "direct"])}, "method"),
        (dv.convolve, (np.zeros(5), np.zeros(3)), {"mode": np.array(["full", "same"])}, "mode"),
    ]
    for f, a, k, words in itertools.chain(cases, cases):
        with pytest.raises((TypeError, ValueError), match=words):
            f(*a, **k)


def test_plans_of_what_is_wrong_are_none():
    one = np.dtype(np.float32)
    assert plans.layer_plan(2, (1, 1, 5, 5), (1, 1, 3, 3), 1, 0, 1, 1, one) is not None
    assert plans.layer_plan(2, (1, 1, 5, 5), (1, 1, 6, 3), 1, 0, 1, 1, one) is None
    assert plans.layer_plan(2, (1, 1, 5, 5), (1, 2, 3, 3), 1, 0, 1, 1, one) is None
    assert plans.layer_plan(1, (1, 1, 5, 5), (1, 1, 3, 3), 1, 0, 1, 1, one) is None
    assert plans.layer_plan(2, (1, 1, 0, 5), (1, 1, 3, 3), 1, 2, 1, 1, one) is None
    assert plans.input_gradient_plan((1, 1, 5, 5), (1, 1, 3, 3), 0, 0, 1, 1, one) is None
    assert plans.kernel_gradient_plan((1, 1, 5, 5), (1, 1, 3, 3), 1, 0, 1, 2, one) is None


def test_large_layers_are_left_to_the_threads():
    one = np.dtype(np.float32)
    plan = plans.layer_plan(2, (8, 1, 512, 512), (8, 1, 5, 5), 1, 2, 1, 1, one)
    assert plan is not None
    assert plan.method == ""
    plan = plans.layer_plan(2, (1, 1, 28, 28), (6, 1, 5, 5), 1, 2, 1, 1, one)
    assert plan is not None
    assert plan.method == "bands"
