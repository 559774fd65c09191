r"""Softmax cross-entropy, the loss of a classifier, and its derivative $p - y$.

For scores $z$ of one point, softmax gives the probabilities $p_k = e^{z_k} / \sum_j e^{z_j}$, and the loss of the label
$c$ is $-\log p_c$. Its derivative by $z_k$ is $p_k - [k = c]$ (the chapter proves it). `derivable.grad` could work that
out from the source, and would keep what the exponentials need; the short rule below takes its place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload

from derivable.autodiff import custom_derivative
from derivable.jit import kernel
from derivable.validation import as_array

__all__ = ["softmax", "softmax_cross_entropy"]


@kernel
def probabilities(scores: np.ndarray) -> np.ndarray:
    """Compute `softmax`."""
    out = np.empty_like(np.arctan(scores))  # of a float type for whole numbers, too, and of the same for floats
    for i in range(scores.shape[0]):
        highest = np.max(scores[i])
        total = 0.0
        for k in range(scores.shape[1]):
            out[i, k] = np.exp(scores[i, k] - highest)
            total += out[i, k]
        for k in range(scores.shape[1]):
            out[i, k] /= total
    return out


def softmax(scores: Any) -> np.ndarray:
    r"""Return the probabilities $p_k = e^{z_k} / \sum_j e^{z_j}$ of each row of scores.

    The largest score of a row is subtracted before, which changes nothing but avoids an overflow.

    Args:
        scores: one row for each point, one column for each class.

    Returns:
        An array of the same shape, whose rows add up to 1: float64, or float32 for such scores.

    Raises:
        TypeError: if the scores are not real numbers.
        ValueError: if they are no matrix, or an empty one.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.softmax(np.log(np.array([[1.0, 2.0, 5.0]]))))
        #> [[0.125 0.25  0.625]]
        ```
    """
    return probabilities(check_scores(scores))


@kernel
def pullback(g: float, z: float, scores: np.ndarray, labels: np.ndarray) -> Any:
    """Return g (p - y) / n, and no cotangent for the labels."""
    n = scores.shape[0]
    out = probabilities(scores)
    for i in range(n):
        out[i, labels[i]] -= 1
    return out * out.dtype.type(g / n), None


@kernel
def pushforward(dscores: np.ndarray, dlabels: Any, z: float, scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the sum of (p - y) / n times the tangent of the scores."""
    return np.sum(pullback(1.0, z, scores, labels)[0] * dscores)


@kernel
def mean_cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Compute `softmax_cross_entropy`."""
    n, classes = scores.shape
    if n == 0 or classes == 0:
        raise ValueError("scores must have at least one row and one column")
    if labels.size != n:
        raise ValueError("labels must be as many as the rows of scores")
    total = 0.0
    for i in range(n):
        if labels[i] < 0 or labels[i] >= classes:
            raise ValueError("labels must be from 0 to the number of columns of scores less 1")
        highest = np.max(scores[i])
        mass = 0.0
        for k in range(classes):
            mass += np.exp(np.float64(scores[i, k]) - highest)
        total += np.log(mass) + highest - scores[i, labels[i]]
    return total / n


def softmax_cross_entropy(scores: Any, labels: Any) -> float:
    r"""Return the mean of $-\log p_c$ over the points, with $p$ the softmax of a point's scores and $c$ its label.

    Inside `@njit` and from Python; [`grad`][derivable.grad] takes its derivative to be $(p - y)/n$, with 1 at the label
    in $y$ and 0 elsewhere.

    Args:
        scores: (points, classes).
        labels: (points,), ints from 0 to the number of classes less 1.

    Returns:
        The mean loss.

    Raises:
        TypeError: if the scores are not real numbers, or the labels no ints.
        ValueError: if the scores are no matrix, there are not as many labels as points, or one is no class.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        scores, labels = np.zeros((2, 4)), np.array([0, 3])
        print(dv.softmax_cross_entropy(scores, labels), np.log(4))
        #> 1.3862943611198906 1.3862943611198906
        print(dv.grad(dv.softmax_cross_entropy)(scores, labels))
        #> [[-0.375  0.125  0.125  0.125]
        #>  [ 0.125  0.125  0.125 -0.375]]
        ```
    """
    scores, labels = check_scores(scores), as_array(labels, "labels", kinds="iu", ndim=1)
    n, classes = scores.shape
    if labels.size != n:
        raise ValueError(f"labels must be as many as the rows of scores, {n}, got {labels.size}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels must be from 0 to the number of columns of scores less 1, {classes - 1}, "
            f"got {labels.min()} to {labels.max()}"
        )
    return float(mean_cross_entropy(scores, labels))


def check_scores(scores: Any) -> np.ndarray:
    """Return the scores as a matrix of real numbers, or say what is wrong with them."""
    return as_array(scores, "scores", kinds="biuf", ndim=2)


@overload(softmax)
def _(scores):  # type: ignore[no-untyped-def]
    return lambda scores: probabilities(scores)


@overload(softmax_cross_entropy)
def _(scores, labels):  # type: ignore[no-untyped-def]
    return lambda scores, labels: mean_cross_entropy(scores, labels)


# Their arguments are checked from Python; derivatives read the kernels in their place.
softmax._derivable_kernel = probabilities  # type: ignore[attr-defined]
softmax_cross_entropy._derivable_kernel = mean_cross_entropy  # type: ignore[attr-defined]
custom_derivative(mean_cross_entropy, pullback=pullback, pushforward=pushforward)
