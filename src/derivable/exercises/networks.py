"""The exercises of the chapter on networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from derivable.exercises.exercise import Exercise, Function, Mistake, Witness, array_of, refuse

__all__ = ["EXERCISES"]


def _count_parts() -> dict[str, Callable[..., float]]:
    return {
        "m c k² (kernels)": lambda n, c, m, k, K: float(m * c * k * k),
        "m (their biases)": lambda n, c, m, k, K: float(m),
        "m ⌊(n − k + 1)/2⌋² K (dense weights)": lambda n, c, m, k, K: float(m * ((n - k + 1) // 2) ** 2 * K),
        "K (their biases)": lambda n, c, m, k, K: float(K),
    }


def _count(n: int, c: int, m: int, k: int, K: int) -> int:
    return m * c * k * k + m + m * ((n - k + 1) // 2) ** 2 * K + K


def _unpool(h: np.ndarray, y_bar: np.ndarray) -> np.ndarray:
    pairs = h.reshape(-1, 2)
    h_bar = np.zeros_like(pairs)
    h_bar[np.arange(len(pairs)), pairs.argmax(axis=1)] = y_bar
    return h_bar.ravel()


def _entropy_parts() -> dict[str, Callable[..., float]]:
    return {
        "of the label": lambda eps, K: -(1 - eps + eps / K) * math.log(1 - eps + eps / K),
        "of the other classes": lambda eps, K: -(K - 1) * eps / K * math.log(eps / K),
    }


def _smoothed(eps: float, K: int) -> float:
    return sum(part(eps, K) for part in _entropy_parts().values())


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


def _curvature(z: np.ndarray, v: np.ndarray) -> np.ndarray:
    p = _softmax(z)
    return p * v - p * (p @ v)


def _same_function(answer: Any) -> None:
    if isinstance(answer, np.ndarray) and answer.ndim == 2:
        answer = list(answer)  # the pair as the rows of one array
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise refuse("kind", "Hand in a pair (u, v): two weights into the hidden units, and two out of them.")
    u, v = array_of(answer[0], "u", (2,)), array_of(answer[1], "v", (2,))
    x = np.array([-3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 2.0])
    value = np.maximum(x[:, None] * u, 0) @ v
    if not np.allclose(value, np.abs(x), rtol=1e-9, atol=1e-12):
        worst = int(np.argmax(np.abs(value - np.abs(x))))
        raise refuse(
            "other function", f"Your network does not compute |x|: at x = {x[worst]:.4g} it gives {value[worst]:.4g}."
        )
    if np.allclose(np.sort(u), [-1, 1]):
        raise refuse(
            "permutation",
            "These are the given weights, or the same with the two units exchanged. Find weights of another size: what does relu do to 2x?",
        )


EXERCISES: tuple[Exercise, ...] = (
    Function(
        id="networks.1",
        title="Count the parameters",
        level="warm-up",
        asks="a function of (n, c, m, k, K): the number of parameters, biases included.",
        hints=(
            "Count layer by layer. Pooling and flattening have none.",
            "The convolution leaves n − k + 1 numbers along each side, the pooling half of that, rounded down. Each of the m maps has so many squared.",
        ),
        variables=("n", "c", "m", "k", "K"),
        right=_count,
        cases=((8, 1, 16, 3, 10), (9, 3, 4, 3, 2), (6, 2, 1, 5, 3)),
        random=lambda rng: (
            int(rng.integers(6, 15)),
            *(int(v) for v in rng.integers(1, 7, size=2)),
            int(rng.integers(1, 5)),
            int(rng.integers(2, 12)),
        ),
        terms=_count_parts(),
        mistakes=(
            Mistake(
                "padding",
                lambda n, c, m, k, K: m * c * k * k + m + m * (n // 2) ** 2 * K + K,
                "Without padding the convolution makes the image smaller: n − k + 1 along each side.",
            ),
            Mistake(
                "channels",
                lambda n, c, m, k, K: m * k * k + m + m * ((n - k + 1) // 2) ** 2 * K + K,
                "Each of the m outputs has a kernel for each of the c input channels.",
            ),
            Mistake(
                "pooling",
                lambda n, c, m, k, K: m * c * k * k + m + m * (n - k + 1) ** 2 * K + K,
                "The pooling is missing: it halves both sides before the dense layer.",
            ),
            Mistake(
                "one side",
                lambda n, c, m, k, K: m * c * k * k + m + m * ((n - k + 1) // 2) * K + K,
                "A map has two sides: square the length of one.",
            ),
            Mistake(
                "one map",
                lambda n, c, m, k, K: m * c * k * k + m + ((n - k + 1) // 2) ** 2 * K + K,
                "The dense layer sees all m maps, not one.",
            ),
            Mistake(
                "rounded",
                lambda n, c, m, k, K: m * c * k * k + m + m * ((n - k + 1) / 2) ** 2 * K + K,
                "Half of an odd side is no whole number. The pooling leaves out the last row and column there: round down.",
            ),
            Mistake(
                "rounded",
                lambda n, c, m, k, K: m * c * k * k + m + m * ((n - k + 2) // 2) ** 2 * K + K,
                "Half of an odd side is rounded down, not up: a window that sticks out is left out.",
            ),
        ),
    ),
    Function(
        id="networks.2",
        title="From a variance to an interval",
        level="core",
        asks="a function of (n, m), or a formula: the a for which uniform weights on [−a, a] have Glorot's variance.",
        hints=(
            "What is the variance of a uniform number on [−a, a]? Integrate x²/(2a).",
            "a²/3 = 2/(n + m).",
        ),
        variables=("n", "m"),
        right=lambda n, m: np.sqrt(6 / (n + m)),
        cases=((1, 2), (100, 10), (64, 10)),
        random=lambda rng: (int(rng.integers(1, 500)), int(rng.integers(1, 500))),
        mistakes=(
            Mistake(
                "deviation",
                lambda n, m: np.sqrt(2 / (n + m)),
                "This is the standard deviation, right for normal numbers. A uniform number on [−a, a] has the variance a²/3.",
            ),
            Mistake(
                "width",
                lambda n, m: np.sqrt(24 / (n + m)),
                "This is the length of the interval, 2a: a²/3 is the same as (2a)²/12.",
            ),
            Mistake("root", lambda n, m: 6 / (n + m), "This is a². Take the root."),
            Mistake(
                "variance",
                lambda n, m: 2 / (n + m),
                "This is the variance itself. Asked is the end a of the interval: which variance have uniform numbers on [−a, a]?",
            ),
        ),
    ),
    Function(
        id="networks.3",
        title="A start for leaky relu",
        level="core",
        asks="a function of (n, alpha), or a formula: the variance of the weights that keeps the mean square behind leaky relus of slope alpha.",
        hints=(
            "Follow the proof for relu. What is the mean square of leaky relu of a number with a symmetric law?",
            "½(1 + α²) of that of the number. So n v ½(1 + α²) must be 1.",
        ),
        variables=("n", "alpha"),
        right=lambda n, alpha: 2 / (n * (1 + alpha**2)),
        cases=((10, 0.0), (10, 1.0), (64, 0.01), (1, 0.5)),
        random=lambda rng: (int(rng.integers(1, 300)), float(rng.uniform(0, 1))),
        factors={
            "1/n": lambda n, alpha: 1 / n,
            "1/(1 + α²)": lambda n, alpha: 1 / (1 + alpha**2),
            "2": lambda n, alpha: 2.0,
        },
        mistakes=(
            Mistake(
                "ignored",
                lambda n, alpha: 2 / n,
                "This is for relu. The negative half now lets through α² of its mean square.",
            ),
            Mistake(
                "linear",
                lambda n, alpha: 2 / (n * (1 + alpha)),
                "The negative half counts with α², as it is a mean *square* that is kept.",
            ),
            Mistake(
                "deviation",
                lambda n, alpha: np.sqrt(2 / (n * (1 + alpha**2))),
                "This is the standard deviation; asked is the variance.",
            ),
        ),
    ),
    Function(
        id="networks.4",
        title="Write the kernel: backwards through a pooling",
        level="core",
        asks="a function of (h, y_bar): the adjoint of h, for the largest of each pair h[0], h[1]; h[2], h[3]; … No two of a pair are equal.",
        hints=(
            "The larger number of a pair is the output; if the smaller one moves a little, nothing happens.",
            "So the whole share of an output goes to the larger number of its pair, and 0 to the other.",
        ),
        variables=("h", "y_bar"),
        right=_unpool,
        cases=(
            (np.array([1.0, 2.0, 5.0, 3.0]), np.array([10.0, 20.0])),
            (np.array([-1.0, -2.0]), np.array([3.0])),
        ),
        random=lambda rng: (rng.normal(size=6), rng.normal(size=3)),
        formulas=False,
        mistakes=(
            Mistake(
                "both",
                lambda h, y_bar: np.repeat(y_bar, 2),
                "Both numbers of a pair get the share here. The smaller one has no influence: it gets 0.",
            ),
            Mistake(
                "mean",
                lambda h, y_bar: np.repeat(y_bar, 2) / 2,
                "This is the backward pass of the mean of each pair, not of the maximum.",
            ),
            Mistake(
                "place",
                lambda h, y_bar: np.column_stack([y_bar, 0 * y_bar]).ravel(),
                "The share goes to the first of each pair here. It belongs to the larger one.",
            ),
            Mistake(
                "place",
                lambda h, y_bar: _unpool(-h, y_bar),
                "The share goes to the smaller number of each pair here. It belongs to the larger one.",
            ),
            Mistake(
                "value",
                lambda h, y_bar: _unpool(h, y_bar) * h,
                "The output is the larger number itself, so the partial derivative is 1: do not multiply by h.",
            ),
        ),
    ),
    Witness(
        id="networks.5",
        title="The same function, other weights",
        level="core",
        asks="a pair (u, v), each of two numbers, such that v₁ relu(u₁x) + v₂ relu(u₂x) = |x| for all x, with other weights than u = (1, −1), v = (1, 1) and "
        "other than these with the units exchanged.",
        hints=(
            "relu(2x) = 2 relu(x). What may one do to uⱼ, if one may change vⱼ too?",
            "Multiply uⱼ by a c > 0 and divide vⱼ by it.",
        ),
        test=_same_function,
        says="for relu lets a positive factor through: the weights are not determined by the function, nor is their size",
    ),
    Function(
        id="networks.6",
        title="The curvature of the cross-entropy",
        level="hard",
        asks="a function of (z, v): the Hessian of −ln p_c in the scores z, times v, without forming a matrix.",
        hints=(
            "The gradient is p − y. Only p depends on z: differentiate it in the direction v.",
            "∂p_k/∂z_j = p_k(1 if k = j else 0) − p_k p_j.",
        ),
        variables=("z", "v"),
        right=_curvature,
        cases=(
            (np.array([0.0, 0.0]), np.array([1.0, 0.0])),
            (np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0, 2.0])),
            (np.array([900.0, 0.0]), np.array([1.0, 5.0])),
        ),
        random=lambda rng: (rng.normal(size=4), rng.normal(size=4)),
        formulas=False,
        terms={
            "p v, entry by entry": lambda z, v: _softmax(z) * v,
            "−p⟨p, v⟩": lambda z, v: -_softmax(z) * (_softmax(z) @ v),
        },
        mistakes=(
            Mistake(
                "sum",
                lambda z, v: _softmax(z) * (v - v.sum()),
                "The second term weighs the entries of v: ⟨p, v⟩, not their plain sum.",
            ),
            Mistake(
                "sigmoid",
                lambda z, v: _softmax(z) * (1 - _softmax(z)) * v,
                "This is the diagonal of the Hessian only. The scores share one denominator, so it has other entries, −p_k p_j.",
            ),
        ),
    ),
    Function(
        id="networks.7",
        title="The loss that is left with soft labels",
        level="hard",
        asks="a function of (eps, K), 0 < eps < 1, or a formula: the smallest value of the cross-entropy with smoothed labels.",
        hints=(
            "The loss is −Σ t_k ln p_k with t the smoothed label. Which p makes it smallest?",
            "p = t: the gradient in the scores is p − t. What is left is −Σ t_k ln t_k, with one t_k = 1 − ε + ε/K and K − 1 of them ε/K.",
        ),
        variables=("eps", "K"),
        right=_smoothed,
        cases=((0.1, 10), (0.5, 2), (0.01, 100)),
        random=lambda rng: (float(rng.uniform(0.01, 0.9)), int(rng.integers(2, 50))),
        terms=_entropy_parts(),
        mistakes=(
            Mistake(
                "zero",
                lambda eps, K: 0.0,
                "With hard labels the loss can come as close to 0 as one likes. Soft labels leave their own entropy.",
            ),
            Mistake(
                "share",
                lambda eps, K: -(1 - eps) * math.log(1 - eps) - eps * math.log(eps / K),
                "The label itself also gets its share of what is spread: it has 1 − ε + ε/K.",
            ),
            Mistake(
                "others",
                lambda eps, K: -(1 - eps) * math.log(1 - eps) - eps * math.log(eps / (K - 1)),
                "This spreads ε over the K − 1 other classes. Here it is spread over all K, the right one included.",
            ),
            Mistake(
                "count",
                lambda eps, K: -(1 - eps + eps / K) * math.log(1 - eps + eps / K) - eps * math.log(eps / K),
                "There are K − 1 other classes, not K: the label's own share of ε is in the first term already.",
            ),
            Mistake(
                "count",
                lambda eps, K: -(1 - eps + eps / K) * math.log(1 - eps + eps / K) - eps / K * math.log(eps / K),
                "There are K − 1 other classes, each with the share ε/K. This counts one of them.",
            ),
            Mistake(
                "hard label",
                lambda eps, K: -math.log(1 - eps + eps / K),
                "This is −ln p_c at p = t, the loss of the hard label. The smoothed loss adds up all classes, each with its t_k.",
            ),
        ),
    ),
)
