"""Softmax cross-entropy against SciPy, and its derivative p - y against differences and the other mode."""

import numpy as np
import pytest
from numba import njit
from scipy.special import log_softmax
from scipy.special import softmax as softmax_of_scipy

import derivable as dv

RNG = np.random.default_rng(0)
SCORES, LABELS = 3 * RNG.normal(size=(7, 4)), RNG.integers(0, 4, 7)


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_the_loss_is_scipys(shift):
    scores = SCORES + shift
    expected = -np.mean(log_softmax(scores, axis=1)[np.arange(7), LABELS])
    assert dv.softmax_cross_entropy(scores, LABELS) == pytest.approx(expected, rel=1e-11)
    np.testing.assert_allclose(dv.softmax(scores), softmax_of_scipy(scores, axis=1), rtol=1e-11)
    single = scores.astype(np.float32)
    assert dv.softmax(single).dtype == np.float32
    exact = -np.mean(log_softmax(single.astype(np.float64), axis=1)[np.arange(7), LABELS])
    assert dv.softmax_cross_entropy(single, LABELS) == pytest.approx(exact, rel=1e-6)


def test_scores_may_be_whole_numbers():
    whole = np.array([[0, 1, 3], [2, 2, 0]])
    np.testing.assert_allclose(dv.softmax(whole), softmax_of_scipy(whole, axis=1), rtol=1e-12)


def test_the_gradient_is_p_minus_y():
    gradient = dv.grad(dv.softmax_cross_entropy)
    expected = (softmax_of_scipy(SCORES, axis=1) - np.eye(4)[LABELS]) / 7
    np.testing.assert_allclose(gradient(SCORES, LABELS), expected, atol=1e-15)
    numerical = dv.numerical_gradient(lambda z: dv.softmax_cross_entropy(z, LABELS), SCORES)
    np.testing.assert_allclose(expected, numerical, atol=1e-9)
    direction = RNG.normal(size=SCORES.shape)
    value, slope = dv.jvp(dv.softmax_cross_entropy, (SCORES, LABELS), (direction, None))
    assert value == dv.softmax_cross_entropy(SCORES, LABELS)
    assert slope == pytest.approx(np.sum(expected * direction), rel=1e-12)


@pytest.mark.parametrize(
    ("scores", "labels", "error", "message"),
    [
        (SCORES, LABELS[1:], ValueError, "labels must be as many as the rows of scores, 7, got 6"),
        (SCORES, np.full(7, 4), ValueError, "labels must be from 0 to .* 3, got 4 to 4"),
        (SCORES, np.full(7, -1), ValueError, "labels must be from 0 to .* 3, got -1 to -1"),
        (SCORES, LABELS / 1.0, TypeError, "labels must be numeric .*integer.*, got dtype float64"),
        (SCORES, np.eye(4)[LABELS].astype(int), ValueError, "labels must have 1 dimension"),
        (SCORES[0], LABELS[:1], ValueError, "scores must have 2 dimension"),
        (SCORES[:0], LABELS[:0], ValueError, "scores must not be empty"),
        (SCORES * 1j, LABELS, TypeError, "scores must be numeric"),
    ],
)
def test_what_is_refused(scores, labels, error, message):
    with pytest.raises(error, match=message):
        dv.softmax_cross_entropy(scores, labels)
    if scores is not SCORES:
        with pytest.raises(error, match=message):
            dv.softmax(scores)


def test_lists_and_compiled_code():
    assert dv.softmax_cross_entropy(SCORES.tolist(), LABELS.tolist()) == dv.softmax_cross_entropy(SCORES, LABELS)

    @njit
    def both(scores, labels):
        return dv.softmax(scores)[0, labels[0]], dv.softmax_cross_entropy(scores, labels)

    assert both(SCORES, LABELS) == (
        dv.softmax(SCORES)[0, LABELS[0]],
        dv.softmax_cross_entropy(SCORES, LABELS),
    )

    @njit
    def loss(scores, labels):
        return dv.softmax_cross_entropy(scores, labels)

    with pytest.raises(ValueError, match="labels must be from 0 to"):
        loss(SCORES, np.arange(7))
    with pytest.raises(ValueError, match=r"at least one row|must not be empty"):
        loss(SCORES[:0], LABELS[:0])

    @njit
    def first(scores):
        return dv.softmax(scores)[0, 0]

    numerical = dv.numerical_gradient(first, SCORES)
    np.testing.assert_allclose(dv.grad(first)(SCORES), numerical, atol=1e-9)
