"""The adjoint identity and the matrix identity, over all combinations of the options."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import derivable as dv

MODES = ("zeros", "reflect", "replicate", "circular")
COMBINATIONS = list(itertools.product((1, 2, 3), (0, 1, 2, "same", "same_lower"), (1, 2), (1, 2), MODES))


def inner(a, b):
    return np.sum(a * np.conj(b))


def problem(rng, dimensions, groups, dtype):
    sizes, kernel = (7, 6, 5)[:dimensions], (3, 2, 2)[:dimensions]
    x, w = rng.normal(size=(2, 2 * groups, *sizes)), rng.normal(size=(3 * groups, 2, *kernel))
    if dtype is complex:
        return x + 1j * rng.normal(size=x.shape), w + 1j * rng.normal(size=w.shape)
    return x, w


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("dtype", [float, complex])
def test_adjoint_identities_of_layers(dimensions, dtype):
    rng = np.random.default_rng(dimensions)
    conv = getattr(dv, f"conv{dimensions}d")
    for stride, padding, dilation, groups, mode in COMBINATIONS:
        x, w = problem(rng, dimensions, groups, dtype)
        options = (stride, padding, dilation, groups, mode)
        y = conv(x, w, None, *options)
        g = rng.normal(size=y.shape) * (1 if dtype is float else 1 - 2j)
        expected = inner(y, g)
        assert np.isclose(inner(x, dv.conv_input_gradient(g, w, x.shape, *options)), expected), options
        assert np.isclose(inner(w, dv.conv_kernel_gradient(g, x, w.shape, *options)), expected), options
        bias = rng.normal(size=w.shape[0])
        with_bias = inner(conv(x, w, bias, *options) - y, g)
        assert np.isclose(inner(bias, dv.conv_bias_gradient(g)), with_bias), options


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_adjoint_identities_of_transposed_layers(dimensions):
    rng = np.random.default_rng(dimensions)
    conv = getattr(dv, f"conv_transpose{dimensions}d")
    for stride, padding, dilation, groups in itertools.product((1, 2, 3), (0, 1), (1, 2), (1, 2)):
        for extra in range(max(stride, dilation)):
            x, w = problem(rng, dimensions, groups, complex)
            x = rng.normal(size=(2, w.shape[0], *x.shape[2:])) + 1j * rng.normal(size=(2, w.shape[0], *x.shape[2:]))
            options = (stride, padding, extra, groups, dilation)
            y = conv(x, w, None, *options)
            g = rng.normal(size=y.shape) + 1j * rng.normal(size=y.shape)
            expected = inner(y, g)
            assert np.isclose(inner(x, dv.conv_transpose_input_gradient(g, w, x.shape, *options)), expected)
            assert np.isclose(inner(w, dv.conv_transpose_kernel_gradient(g, x, w.shape, *options)), expected)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_transposed_layer_is_the_adjoint_of_the_layer(dimensions):
    rng = np.random.default_rng(0)
    conv, back = getattr(dv, f"conv{dimensions}d"), getattr(dv, f"conv_transpose{dimensions}d")
    for stride, padding, dilation, groups in itertools.product((1, 2, 3), (0, 1, 2), (1, 2), (1, 2)):
        x, w = problem(rng, dimensions, groups, float)
        y = conv(x, w, None, stride, padding, dilation, groups)
        g = rng.normal(size=y.shape)
        extra = tuple(
            (n + 2 * padding - dilation * (k - 1) - 1) % stride for n, k in zip(x.shape[2:], w.shape[2:], strict=True)
        )
        z = back(g, w, None, stride, padding, extra, groups, dilation)
        assert z.shape == x.shape
        assert np.isclose(inner(y, g), inner(x, z))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("sparse", [False, True])
def test_matrix_identity_of_layers(dimensions, sparse):
    rng = np.random.default_rng(1)
    conv = getattr(dv, f"conv{dimensions}d")
    cases = COMBINATIONS if dimensions < 3 else COMBINATIONS[::7]
    for stride, padding, dilation, groups, mode in cases:
        x, w = problem(rng, dimensions, groups, float)
        options = (stride, padding, dilation, groups, mode)
        A = dv.conv_matrix(w, x.shape[1:], *options, sparse=sparse)
        np.testing.assert_allclose(
            A @ x[0].ravel(), conv(x[0], w, None, *options).ravel(), rtol=1e-11, atol=1e-12, err_msg=str(options)
        )


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_matrix_identity_of_transposed_layers(dimensions):
    rng = np.random.default_rng(2)
    conv = getattr(dv, f"conv_transpose{dimensions}d")
    for stride, padding, dilation, groups in itertools.product((1, 2), (0, 1), (1, 2), (1, 2)):
        x, w = problem(rng, dimensions, groups, float)
        x = rng.normal(size=(w.shape[0], *x.shape[2:]))
        extra = max(stride, dilation) - 1
        A = dv.conv_matrix(w, x.shape, stride, padding, dilation, groups, transposed=True, output_padding=extra)
        y = conv(x, w, None, stride, padding, extra, groups, dilation)
        np.testing.assert_allclose(A @ x.ravel(), y.ravel(), rtol=1e-11, atol=1e-12)
        if extra == 0:
            B = dv.conv_matrix(w, y.shape, stride, padding, dilation, groups)
            assert np.array_equal(A, B.T)


@given(
    n=st.integers(1, 8), m=st.integers(1, 8), mode=st.sampled_from(["full", "same", "valid"]), seed=st.integers(0, 9)
)
@settings(max_examples=60, deadline=None)
def test_toeplitz_is_convolve(n, m, mode, seed):
    rng = np.random.default_rng(seed)
    x, h = rng.integers(-9, 9, n), rng.integers(-9, 9, m)
    assert np.array_equal(dv.toeplitz(h, n, mode) @ x, dv.convolve(x, h, mode))


@given(n=st.integers(1, 8), m=st.integers(1, 12), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_circulant_is_periodic_convolution(n, m, seed):
    rng = np.random.default_rng(seed)
    x, h = rng.integers(-9, 9, n), rng.integers(-9, 9, m)
    start = (m - 1) // 2
    rolled = np.roll(dv.convolve(x, h, "same", "wrap"), start)
    assert np.array_equal(dv.circulant(h, n) @ x, rolled)


def test_doubly_block_circulant():
    rng = np.random.default_rng(3)
    w = rng.normal(size=(3, 3))
    A = dv.conv_matrix(w, (4, 5), padding="same", padding_mode="circular")
    shift = np.kron(dv.circulant([0, 1], 4), np.eye(5)), np.kron(np.eye(4), dv.circulant([0, 1], 5))
    for S in shift:
        np.testing.assert_allclose(A @ S, S @ A, atol=1e-14)


@pytest.mark.parametrize("name", ["max", "avg"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_pooling_gradients(name, dimensions):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 3, *(7, 6, 5)[:dimensions]))
    direction = rng.normal(size=x.shape)
    for size, stride, padding in itertools.product((1, 2, 3), (None, 1, 2), (0, 1)):
        if padding > size // 2:
            continue
        pool = getattr(dv, f"{name}_pool{dimensions}d")
        y = pool(x, size, stride, padding)
        g = rng.normal(size=y.shape)
        step = 1e-6
        slope = np.sum(
            g * (pool(x + step * direction, size, stride, padding) - pool(x - step * direction, size, stride, padding))
        ) / (2 * step)
        given = x if name == "max" else x.shape
        gradient = getattr(dv, f"{name}_pool{dimensions}d_gradient")(g, given, size, stride, padding)
        assert np.isclose(np.sum(gradient * direction), slope, rtol=1e-6, atol=1e-7)
