"""A small convolutional network, differentiated whole: against torch and JAX, and compiled."""

import numpy as np
import pytest
from numba import njit

import derivable as dv
from autodiff import running

RNG = np.random.default_rng(3)
IMAGES, LABELS = RNG.normal(size=(6, 1, 10, 9)), np.array([0, 2, 1, 1, 0, 2])
PARAMETERS = (
    (0.5 * RNG.normal(size=(4, 1, 3, 3)), 0.1 * RNG.normal(size=4)),
    (0.3 * RNG.normal(size=(6, 2, 3, 2)), 0.1 * RNG.normal(size=6)),
    (0.2 * RNG.normal(size=(24, 3)), 0.1 * RNG.normal(size=3)),
)
DIRECTION = tuple((RNG.normal(size=w.shape), RNG.normal(size=b.shape)) for w, b in PARAMETERS)


def loss(parameters, images, labels):
    """Return the mean cross-entropy of a network: conv, relu, pool, conv, relu, pool, flatten, dense, softmax."""
    (w1, b1), (w2, b2), (w3, b3) = parameters
    h = dv.max_pool2d(dv.relu(dv.conv2d(images, w1, b1, padding="same")), 2)
    h = dv.avg_pool2d(dv.relu(dv.conv2d(h, w2, b2, padding=(1, 0), groups=2)), (2, 1), (2, 2))
    scores = h.reshape(h.shape[0], h.shape[1] * h.shape[2] * h.shape[3]) @ w3 + b3
    total = 0.0
    for i in range(scores.shape[0]):
        row = scores[i] - np.max(scores[i])
        total += np.log(np.sum(np.exp(row))) - row[labels[i]]
    return total / scores.shape[0]


def flat(tree):
    return np.concatenate([np.asarray(leaf).ravel() for pair in tree for leaf in pair])


def torch_network():
    import torch
    import torch.nn.functional as F

    leaves = [torch.from_numpy(a).requires_grad_() for pair in PARAMETERS for a in pair]
    w1, b1, w2, b2, w3, b3 = leaves
    h = F.max_pool2d(torch.relu(F.conv2d(torch.from_numpy(IMAGES), w1, b1, padding="same")), 2)
    h = F.avg_pool2d(torch.relu(F.conv2d(h, w2, b2, padding=(1, 0), groups=2)), (2, 1), (2, 2))
    value = F.cross_entropy(h.flatten(1) @ w3 + b3, torch.from_numpy(LABELS))
    gradient = torch.autograd.grad(value, leaves, create_graph=True)
    directions = [torch.from_numpy(a) for pair in DIRECTION for a in pair]
    slope = sum((g * v).sum() for g, v in zip(gradient, directions, strict=True))
    product = torch.autograd.grad(slope, leaves)
    return value.item(), [np.concatenate([t.detach().numpy().ravel() for t in ts]) for ts in (gradient, product)]


def jax_network():
    import jax
    import jax.numpy as jnp
    from jax import lax

    def pooled(x, start, operation, window, stride):
        return lax.reduce_window(x, start, operation, (1, 1, *window), (1, 1, *stride), "VALID")

    def network(parameters):
        (w1, b1), (w2, b2), (w3, b3) = parameters
        layout = ("NCHW", "OIHW", "NCHW")
        h = lax.conv_general_dilated(IMAGES, w1, (1, 1), "SAME", dimension_numbers=layout) + b1[:, None, None]
        h = pooled(jax.nn.relu(h), -jnp.inf, lax.max, (2, 2), (2, 2))
        h = lax.conv_general_dilated(
            h, w2, (1, 1), ((1, 1), (0, 0)), dimension_numbers=layout, feature_group_count=2
        ) + b2[:, None, None]  # fmt: skip
        h = pooled(jax.nn.relu(h), 0.0, lax.add, (2, 1), (2, 2)) / 2
        scores = jax.nn.log_softmax(h.reshape(len(h), -1) @ w3 + b3)
        return -jnp.mean(scores[jnp.arange(len(LABELS)), LABELS])

    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(network)(PARAMETERS)
        _, product = jax.jvp(jax.grad(network), (PARAMETERS,), (DIRECTION,))
        return float(value), [flat(gradient), flat(product)]


@pytest.mark.peer
@pytest.mark.parametrize(("peer", "network"), [("torch", torch_network), ("jax", jax_network)], ids=["torch", "JAX"])
def test_a_network_in_all_modes(peer, network):
    pytest.importorskip(peer, reason=f"the oracle is {peer}")
    value, (gradient, product) = network()
    arguments = (PARAMETERS, IMAGES, LABELS)
    got_value, (got,) = running.value_and_grad(loss, (0,), arguments)
    np.testing.assert_allclose(got_value, value, rtol=1e-12)
    np.testing.assert_allclose(flat(got), gradient, rtol=1e-10, atol=1e-13)
    _, slope = running.jvp(loss, (0,), arguments, (DIRECTION,))
    np.testing.assert_allclose(slope, gradient @ flat(DIRECTION), rtol=1e-10)
    np.testing.assert_allclose(
        flat(running.hvp(loss, (0,), arguments, (DIRECTION,))[0]), product, rtol=1e-10, atol=1e-13
    )


def test_a_network_agrees_with_differences():
    _, (gradient,) = running.value_and_grad(loss, (0,), (PARAMETERS, IMAGES, LABELS))
    step = 1e-5

    def moved(t):
        return tuple(
            tuple(a + t * v for a, v in zip(pair, directions, strict=True))
            for pair, directions in zip(PARAMETERS, DIRECTION, strict=True)
        )

    slope = (loss(moved(step), IMAGES, LABELS) - loss(moved(-step), IMAGES, LABELS)) / (2 * step)
    np.testing.assert_allclose(flat(gradient) @ flat(DIRECTION), slope, rtol=1e-8)


@pytest.mark.slow
def test_a_compiled_layer():
    """One layer, whose engines stand behind an address."""

    def f(w, b, x):
        return np.sum(np.tanh(dv.conv1d(x, w, b, stride=2, padding=(1,))))

    w, b, x = PARAMETERS[0][0][:, :, 0], PARAMETERS[0][1], IMAGES[:, :, 0]
    got = dv.grad(njit(f), (0, 1))(w, b, x)
    for a, right in zip(got, running.value_and_grad(f, (0, 1), (w, b, x))[1], strict=True):
        np.testing.assert_allclose(a, right, rtol=1e-12)


@pytest.mark.exhaustive
def test_a_compiled_training_loop():
    """The gradient of the network inside njit, in a loop that trains: as the same loop with plain programs."""
    compiled = njit(loss)

    @njit
    def train(parameters, images, labels, rate, steps):
        losses = np.empty(steps)
        for k in range(steps):
            losses[k], gradient = dv.value_and_grad(compiled)(parameters, images, labels)
            (w1, b1), (w2, b2), (w3, b3) = parameters
            (g1, c1), (g2, c2), (g3, c3) = gradient
            w1, b1, w2 = w1 - rate * g1, b1 - rate * c1, w2 - rate * g2
            b2, w3, b3 = b2 - rate * c2, w3 - rate * g3, b3 - rate * c3
            parameters = ((w1, b1), (w2, b2), (w3, b3))
        return losses

    got = train(PARAMETERS, IMAGES, LABELS, 0.3, 12)
    parameters, expected = PARAMETERS, []
    for _ in range(12):
        value, (gradient,) = running.value_and_grad(loss, (0,), (parameters, IMAGES, LABELS))
        expected.append(value)
        parameters = tuple(
            tuple(a - 0.3 * g for a, g in zip(pair, slopes, strict=True))
            for pair, slopes in zip(parameters, gradient, strict=True)
        )
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert got[-1] < 0.5 * got[0]
