"""The derivatives of functions that call layers and pooling: both modes, second order, against torch."""

import math

import numpy as np
import pytest
from autodiff import running
from convolution import configurations as cases
from numba import njit

import derivable as dv

TOLERANCE = {"rtol": 1e-10, "atol": 1e-12}


def layer_program(case):
    """Return a function of input, kernels, bias and weights of the outputs: a sum over a curved function of a layer."""
    stride, padding, dilation, groups = case["stride"], case["padding"], case["dilation"], case["groups"]
    mode, extra = case["padding_mode"], case["output_padding"]
    layer = getattr(dv, f"conv{'_transpose' if case['transposed'] else ''}{case['dimensions']}d")
    if case["transposed"]:

        def f(x, w, b, c):
            return np.sum(c * np.tanh(layer(x, w, b, stride, padding, extra, groups, dilation=dilation)))

    else:

        def f(x, w, b, c):
            z = layer(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=mode)
            return np.sum(c * np.tanh(z))

    return f


def random_layers(seed):
    for k in range(10):
        rng = np.random.default_rng((seed, k))
        case = cases.layer_case(rng) | {"dtype": np.float64, "bias": bool(k % 3)}
        yield rng, case


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(8))
def test_layers_against_torch(seed):
    """Ten random layers: dimensions, sizes, stride, padding of every kind, dilation, groups, memory layout."""
    torch = pytest.importorskip("torch", reason="the oracle for layers is torch")
    for rng, case in random_layers(seed):
        x, w, b = cases.layer_arrays(rng, case)
        tx, tw = cases.tensor(x), cases.tensor(w)
        tb = cases.tensor(np.zeros(case["out_channels"]) if b is None else b)
        z = cases.torch_layer(case, tx, tw, tb)
        c = rng.normal(size=z.shape)
        value = (torch.from_numpy(c) * torch.tanh(z)).sum()
        moving = (tx, tw) if b is None else (tx, tw, tb)
        directions = [rng.normal(size=t.shape) for t in moving]
        gradient = torch.autograd.grad(value, moving, create_graph=True)
        slope = sum((torch.from_numpy(v) * g).sum() for v, g in zip(directions, gradient, strict=True))
        product = torch.autograd.grad(slope, moving)

        f, argnums, arguments = layer_program(case), tuple(range(len(moving))), (x, w, b, c)
        message = str(case)
        got_value, got_gradient = running.value_and_grad(f, argnums, arguments)
        np.testing.assert_allclose(got_value, value.item(), **TOLERANCE)
        for got, expected in zip(got_gradient, gradient, strict=True):
            np.testing.assert_allclose(got, expected.detach().numpy(), err_msg=message, **TOLERANCE)
        _, tangent = running.jvp(f, argnums, arguments, directions)
        np.testing.assert_allclose(tangent, slope.item(), err_msg=message, **TOLERANCE)
        for second in (running.hvp, running.grad_grad):
            for got, expected in zip(second(f, argnums, arguments, tuple(directions)), product, strict=True):
                np.testing.assert_allclose(got, expected.numpy(), err_msg=message, **TOLERANCE)


def pool_program(case):
    pool = getattr(dv, f"{'max' if case['maximum'] else 'avg'}_pool{case['dimensions']}d")
    size, stride, padding, *rest = case["arguments"]
    if case["maximum"]:
        dilation, ceil = rest

        def f(x, c):
            return np.sum(c * np.tanh(pool(x, size, stride, padding, dilation, ceil_mode=ceil)))

    else:
        (ceil,), (include, divisor) = rest, case["mean"]

        def f(x, c):
            z = pool(x, size, stride, padding, ceil, count_include_pad=include, divisor_override=divisor)
            return np.sum(c * np.tanh(z))

    return f


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(3))
def test_pooling_against_torch(seed):
    torch = pytest.importorskip("torch", reason="the oracle for pooling is torch")
    for k in range(10):
        rng = np.random.default_rng((seed, k))
        case = cases.pool_case(rng)
        if case["dimensions"] == 1 and not case["maximum"]:
            case["mean"] = (case["mean"][0], None)  # torch's has no divisor
        shape = (2, 3, *case["sizes"]) if case["batched"] else (3, *case["sizes"])
        x = cases.laid_out(rng.normal(size=shape), case["layouts"][0])
        tx = cases.tensor(x)
        name = f"{'max' if case['maximum'] else 'avg'}_pool{case['dimensions']}d"
        mean = case["mean"][:1] if case["dimensions"] == 1 else case["mean"]
        z = getattr(torch.nn.functional, name)(tx, *case["arguments"], *mean)
        c, v = rng.normal(size=z.shape), rng.normal(size=shape)
        value = (torch.from_numpy(c) * torch.tanh(z)).sum()
        (gradient,) = torch.autograd.grad(value, tx, create_graph=True)
        slope = (torch.from_numpy(v) * gradient).sum()
        (product,) = torch.autograd.grad(slope, tx)

        f = pool_program(case)
        got_value, (got,) = running.value_and_grad(f, (0,), (x, c))
        np.testing.assert_allclose(got_value, value.item(), **TOLERANCE)
        np.testing.assert_allclose(got, gradient.detach().numpy(), err_msg=str(case), **TOLERANCE)
        np.testing.assert_allclose(running.jvp(f, (0,), (x, c), (v,))[1], slope.item(), **TOLERANCE)
        for second in (running.hvp, running.grad_grad):
            np.testing.assert_allclose(second(f, (0,), (x, c), (v,))[0], product.numpy(), **TOLERANCE)


RNG = np.random.default_rng(5)
X, W, B = RNG.normal(size=(2, 4, 6, 5)), RNG.normal(size=(4, 2, 3, 2)), RNG.normal(size=4)


def small(x, w, b, step):
    z = dv.conv2d(x, w, b, stride=(step, 1), padding="same", groups=2)
    return np.sum(dv.avg_pool2d(dv.max_pool2d(np.sin(z), 2), (1, 2)) ** 2)


def mixed_third(x, w):
    z = dv.conv1d(x, w, padding=1, padding_mode="circular")
    return np.sum(dv.conv_transpose1d(z * z, w, stride=2) ** 2)


def test_gradient_agrees_with_differences():
    arguments = (X, W, B, 2)
    _, gradient = running.value_and_grad(small, (0, 1, 2), arguments)
    for k, got in enumerate(gradient):

        def along(a, k=k):
            return small(*arguments[:k], a, *arguments[k + 1 :])

        np.testing.assert_allclose(got, dv.numerical_gradient(along, arguments[k]), rtol=1e-6, atol=1e-7)


def test_a_third_derivative_agrees_with_differences():
    x, w = RNG.normal(size=(1, 2, 4)), RNG.normal(size=(2, 2, 3))
    dx, dw = RNG.normal(size=x.shape), RNG.normal(size=w.shape)

    def second(t):
        got = running.hvp(mixed_third, (0, 1), (x + t * dx, w + t * dw), (dx, dw))
        return np.sum(got[0] * dx) + np.sum(got[1] * dw)

    from derivable.autodiff.derivative import derivative

    made = derivative(mixed_third, "grad", (0, 1))
    for _ in range(2):
        made = derivative(made, "jvp", (0, 1))
    (_, _), (_, third) = running.program(made, (x, w, dx, dw))(x, w, dx, dw, dx, dw)
    expected = (second(1e-4) - second(-1e-4)) / 2e-4
    np.testing.assert_allclose(np.sum(third[0] * dx) + np.sum(third[1] * dw), expected, rtol=1e-6)


def derivative_of_gradients(g, x, w):
    a = dv.conv_input_gradient(g, w, x.shape, stride=2, padding=1, groups=2)
    b = dv.conv_kernel_gradient(g, x, w.shape, stride=2, padding=1, groups=2)
    return np.sum(a * a * a) + np.sum(b * b) + np.sum(dv.conv_bias_gradient(g) ** 2)


def derivative_of_transposed_gradients(g, x, w):
    a = dv.conv_transpose_input_gradient(g, w, x.shape, 2, 1, groups=2)
    b = dv.conv_transpose_kernel_gradient(g, x, w.shape, 2, 1, groups=2)
    return np.sum(a * a * a) + np.sum(b * b)


@pytest.mark.parametrize("f", [derivative_of_gradients, derivative_of_transposed_gradients], ids=["plain", "transposed"])
def test_derivatives_of_the_gradient_functions(f):
    layer = dv.conv2d if f is derivative_of_gradients else dv.conv_transpose2d
    g = RNG.normal(size=layer(X, W, stride=2, padding=1, groups=2).shape)
    arguments = (g, X, W)
    _, gradient = running.value_and_grad(f, (0, 1, 2), arguments)
    directions = tuple(RNG.normal(size=a.shape) for a in arguments)
    for k, got in enumerate(gradient):

        def along(a, k=k):
            return f(*arguments[:k], a, *arguments[k + 1 :])

        np.testing.assert_allclose(got, dv.numerical_gradient(along, arguments[k]), rtol=1e-5, atol=1e-5)
    slope = running.jvp(f, (0, 1, 2), arguments, directions)[1]
    np.testing.assert_allclose(slope, sum(np.sum(a * v) for a, v in zip(gradient, directions, strict=True)), rtol=1e-12)


def test_only_what_moves_is_computed():
    made = dv.grad(small, 1)
    running.program(made, (X, W, B, 2))
    assert "conv_kernel_gradient" in made.source
    assert "conv_input_gradient" not in made.source
    assert "conv_bias_gradient" not in made.source


def test_single_precision_stays():
    single = [a.astype(np.float32) for a in (X, W, B)]
    value, gradient = running.value_and_grad(small, (0, 1, 2), (*single, 2))
    _, expected = running.value_and_grad(small, (0, 1, 2), (X, W, B, 2))
    assert math.isfinite(value)
    for got, right in zip(gradient, expected, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, right, rtol=1e-3, atol=1e-4)


def refuse(f, *arguments, match):
    with pytest.raises(dv.DerivativeError, match=match):
        running.value_and_grad(f, (0,), arguments)


def test_what_a_layer_cannot_take_is_refused():
    def no_keyword(x, w):
        return np.sum(dv.conv2d(x, w, strides=2))

    def float_stride(x, w):
        return np.sum(dv.conv2d(x, w, stride=2.0))

    def moving_stride(x, w):
        return np.sum(dv.conv2d(x, w, stride=x[0, 0, 0, 0]))

    def a_number(x, w):
        return np.sum(dv.conv2d(x[0, 0, 0, 0], w))

    refuse(no_keyword, X, W, match="conv2d.*strides")
    refuse(float_stride, X, W, match="stride is a float64; use an int")
    refuse(moving_stride, X, W, match="stride is a float64")
    refuse(a_number, X, W, match="must be an array")


# ------------------------------------------------------------------------------------------------- compiled


@njit
def compiled(x, w, b, step):
    z = dv.conv2d(x, w, b, stride=(step, 1), padding="same", groups=2)
    return np.sum(dv.avg_pool2d(dv.max_pool2d(np.sin(z), 2), (1, 2)) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_compiled(dtype):
    """The program run by Numba gives what it gives as plain Python, also within njit and forwards over reverse."""
    arguments = (X.astype(dtype), W.astype(dtype), B.astype(dtype), 2)
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    _, expected = running.value_and_grad(small, (0, 1, 2), (X, W, B, 2))

    @njit
    def user(x, w, b, step):
        return dv.grad(compiled, (0, 1, 2))(x, w, b, step)

    for got, right in zip(user(*arguments), expected, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, right, rtol=rtol, atol=rtol)
    if dtype == np.float64:
        product = dv.hvp(compiled, (X, W, B, 2), (X, None, None, None))
        right = running.hvp(small, (0,), arguments, (X,))
        np.testing.assert_allclose(product, right[0], rtol=1e-10, atol=1e-10)
