"""Layers, derivatives and pooling inside njit agree with their calls from Python."""

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

import derivable as dv
from derivable import jit

RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=(2, 4, 9, 8)), RNG.normal(size=(6, 2, 3, 2)), RNG.normal(size=6)


def same(actual, expected):
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-5 if actual.dtype == np.float32 else 1e-12, atol=1e-6)


@njit
def layer(x, w, b, stride, groups):
    return dv.conv2d(x, w, b, stride, padding=((1, 0), (0, 2)), groups=groups)


def test_layer_with_variables():
    same(layer(X, W, B, 2, 2), dv.conv2d(X, W, B, 2, ((1, 0), (0, 2)), groups=2))
    for stride, groups, message in ((0, 2, "stride"), (1, 0, "groups"), (1, 1, "channels")):
        with pytest.raises(ValueError, match=message):
            layer(X, W, B, stride, groups)
    with pytest.raises(ValueError, match="bias"):
        layer(X, W, B[:5], 1, 2)
    with pytest.raises(ValueError, match="fit"):
        layer(X[:, :, :1], W, B, 1, 2)


@njit
def circular(x, w):
    return dv.conv2d(x, w, padding="same", groups=2, padding_mode="circular")


@njit
def strided(x, w):
    return dv.conv1d(x, w, stride=2, padding="same_lower")


@njit
def video(x, w):
    return dv.conv3d(x, w, padding=(1, 0, 1))


def test_words_layouts_and_no_batch():
    same(circular(X, W), dv.conv2d(X, W, padding="same", groups=2, padding_mode="circular"))
    x, w = X[0, 0].astype(np.float32), W[:, :1, :, 0].astype(np.float32)
    x, w = x[None, 0, ::-1], np.asfortranarray(w)
    same(strided(x, w), dv.conv1d(x, w, stride=2, padding="same_lower"))
    x, w = X[:, None, :3], RNG.normal(size=(2, 1, 2, 2, 2))
    same(video(x, w), dv.conv3d(x, w, padding=(1, 0, 1)))


@njit
def gradients(g, x, w):
    return (
        dv.conv_input_gradient(g, w, x.shape, stride=2, padding=1, groups=2),
        dv.conv_kernel_gradient(g, x, w.shape, stride=2, padding=1, groups=2),
        dv.conv_bias_gradient(g),
    )


def test_derivatives():
    g = RNG.normal(size=dv.conv2d(X, W, stride=2, padding=1, groups=2).shape)
    a, b, c = gradients(g, X, W)
    same(a, dv.conv_input_gradient(g, W, X.shape, 2, 1, groups=2))
    same(b, dv.conv_kernel_gradient(g, X, W.shape, 2, 1, groups=2))
    same(c, dv.conv_bias_gradient(g))


@njit
def transposed(y, w, g):
    out = dv.conv_transpose2d(y, w, stride=2, padding=1, output_padding=1, groups=2)
    return (
        out,
        dv.conv_transpose_input_gradient(g, w, y.shape, 2, 1, 1, 2),
        dv.conv_transpose_kernel_gradient(g, y, w.shape, 2, 1, 1, 2),
    )


def test_transposed():
    y = RNG.normal(size=(2, 6, 4, 3))
    expected = dv.conv_transpose2d(y, W, stride=2, padding=1, output_padding=1, groups=2)
    g = RNG.normal(size=expected.shape)
    a, b, c = transposed(y, W, g)
    same(a, expected)
    same(b, dv.conv_transpose_input_gradient(g, W, y.shape, 2, 1, 1, 2))
    same(c, dv.conv_transpose_kernel_gradient(g, y, W.shape, 2, 1, 1, 2))


@njit
def pools(x, g):
    a, b = dv.max_pool2d(x, 2), dv.avg_pool2d(x, (3, 2), stride=2, padding=1, count_include_pad=False)
    return a, b, dv.max_pool2d_gradient(g, x, 2), dv.avg_pool2d_gradient(g, x.shape, 2)


def test_pooling():
    g = RNG.normal(size=(2, 4, 4, 4))
    a, b, c, d = pools(X, g)
    same(a, dv.max_pool2d(X, 2))
    same(b, dv.avg_pool2d(X, (3, 2), 2, 1, count_include_pad=False))
    same(c, dv.max_pool2d_gradient(g, X, 2))
    same(d, dv.avg_pool2d_gradient(g, X.shape, 2))


def test_errors_of_types():
    @njit
    def wrong(x, w):
        return dv.conv2d(x, w, padding="full")

    with pytest.raises(TypingError, match="padding must be one of"):
        wrong(X, W)

    @njit
    def ints(x, w):
        return dv.conv2d(x, w, stride=1.5)

    with pytest.raises(TypingError, match="stride must be an int"):
        ints(X, W)


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(jit, "_handover", 0.0)  # so that all of these are computed by as many threads as are allowed
    x, w = RNG.normal(size=(2, 16, 40, 40)), RNG.normal(size=(16, 16, 3, 3))
    large = RNG.normal(size=(1, 1, 700, 700))
    before, results = dv.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            dv.set_num_threads(threads)
            y = dv.conv2d(x, w, stride=2, padding=1)
            results.append(
                (
                    dv.conv2d(x, w, padding=1),
                    y,
                    dv.conv_input_gradient(y, w, x.shape, 2, 1),
                    dv.conv_kernel_gradient(y, x, w.shape, 2, 1),
                    dv.conv2d(large, w[:1, :1], padding=1),
                )
            )
    finally:
        dv.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
