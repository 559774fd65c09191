"""The exercises of the chapter on generalization."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from derivable.exercises.exercise import Exercise, Function, Mistake, Witness, array_of, refuse

__all__ = ["EXERCISES"]


def _walk(n: int) -> float:
    return sum(math.comb(n, k) * abs(n - 2 * k) for k in range(n + 1)) / (2**n * n)


def _slopes(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.diff(y, prepend=0.0) / np.diff(z, prepend=z[0] - 1)


def _memorize(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.diff(_slopes(z, y), prepend=0.0)


def _points(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n = int(rng.integers(3, 7))
    return np.cumsum(rng.uniform(0.2, 2, size=n)), rng.normal(size=n)


def _unshattered(answer: Any) -> None:
    x = array_of(answer, "Your answer", (3, 2))
    for i in range(3):
        for j in range(i):
            if np.allclose(x[i], x[j]):
                raise refuse("equal", f"Points {j} and {i} are the same: take three different ones.")
    area = abs(np.linalg.det(np.column_stack([x, np.ones(3)])))
    if area > 1e-9 * max(1.0, np.abs(x).max() ** 2):
        raise refuse(
            "shattered",
            f"These three points form a triangle (twice its area is {area:.4g}): every vector of signs on them is possible. When can no line "
            "cut one of three points off from the two others?",
        )


EXERCISES: tuple[Exercise, ...] = (
    Function(
        id="generalization.1",
        title="How wrong are random labels?",
        level="warm-up",
        asks="a function of (p, K), or a formula: the expected part of wrong labels, if a part p of them is redrawn, uniformly from K classes.",
        hints=("A redrawn label may be the right one.", "It is wrong with probability (K − 1)/K."),
        variables=("p", "K"),
        right=lambda p, K: p * (1 - 1 / K),
        cases=((1.0, 10), (0.5, 2), (0.0, 5), (0.3, 1)),
        random=lambda rng: (float(rng.uniform(0, 1)), int(rng.integers(2, 20))),
        mistakes=(
            Mistake(
                "luck",
                lambda p, K: p,
                "A redrawn label is right with probability 1/K: not all that were redrawn are wrong.",
            ),
            Mistake("other part", lambda p, K: p / K, "This is the part that was redrawn and is right all the same."),
            Mistake("other part", lambda p, K: 1 - p * (1 - 1 / K), "This is the part of right labels."),
        ),
    ),
    Function(
        id="generalization.2",
        title="The patterns of intervals",
        level="core",
        asks="a function of n, or a formula: the number of patterns that intervals (1 inside, −1 outside) have on n different points of a line.",
        hints=(
            "A pattern is a block of neighbouring ones. How many blocks are there? And which pattern is no block?",
            "A block is given by its first and its last point: n(n + 1)/2 of them. An interval may also miss all points.",
        ),
        variables=("n",),
        right=lambda n: n * (n + 1) / 2 + 1,
        cases=((1,), (2,), (3,), (4,), (10,)),
        random=lambda rng: (int(rng.integers(2, 60)),),
        terms={"n(n + 1)/2": lambda n: n * (n + 1) / 2, "1": lambda n: 1.0},
        mistakes=(
            Mistake(
                "empty", lambda n: n * (n + 1) / 2, "One pattern is missing: an interval may hold none of the points."
            ),
            Mistake(
                "one point",
                lambda n: n * (n - 1) / 2 + 1,
                "This counts pairs of different points. A block may begin and end at the same point.",
            ),
            Mistake(
                "everything",
                lambda n: 2.0**n,
                "That is the number of all patterns. From n = 3 on some are no block: (1, −1, 1).",
            ),
            Mistake(
                "thresholds", lambda n: n + 1, "This is the number for thresholds, with one end. An interval has two."
            ),
        ),
    ),
    Function(
        id="generalization.3",
        title="The complexity of two functions",
        level="core",
        asks="a function of n: the empirical Rademacher complexity, on n points, of the class of the two constant functions 1 and −1.",
        hints=(
            "The larger of s and −s is |s|. So it is the mean of |σ₁ + … + σₙ|/n.",
            "k of the signs are −1 with probability C(n, k)/2ⁿ, and then the sum is n − 2k.",
        ),
        variables=("n",),
        right=_walk,
        cases=((1,), (2,), (3,), (4,), (9,)),
        random=lambda rng: (int(rng.integers(2, 40)),),
        formulas=False,
        mistakes=(
            Mistake(
                "Jensen",
                lambda n: 1 / math.sqrt(n),
                "This is the root of the mean square: an upper bound, by Jensen's inequality. The mean of the absolute value is smaller.",
            ),
            Mistake(
                "limit",
                lambda n: math.sqrt(2 / (math.pi * n)),
                "This is what it tends to for large n. Asked is the exact number.",
            ),
            Mistake(
                "massart",
                lambda n: math.sqrt(2 * math.log(2) / n),
                "This is the bound of Massart's lemma for m = 2. Asked is the exact number.",
            ),
            Mistake(
                "zero",
                lambda n: 0.0,
                "This is the complexity of one function alone: the class has two, and the supremum takes the better one.",
            ),
            Mistake("n", lambda n: n * _walk(n), "This is the mean of |σ₁ + … + σₙ|: divide by n."),
        ),
    ),
    Function(
        id="generalization.4",
        title="Write the construction",
        level="core",
        asks="a function of (z, y), z increasing: the weights w of Σ wⱼ max(z − bⱼ, 0) through the points, with b₁ = z₁ − 1 and bⱼ = zⱼ₋₁ for j ≥ 2.",
        hints=(
            "The network is a broken line. What is its slope between zⱼ₋₁ and zⱼ? And before z₁, behind b₁?",
            "At a kink the slope changes by wⱼ. So w is the difference of neighbouring slopes.",
        ),
        variables=("z", "y"),
        right=_memorize,
        cases=(
            (np.array([0.0, 1.0, 2.0]), np.array([1.0, -1.0, 4.0])),
            (np.array([1.0, 3.0]), np.array([2.0, 2.0])),
            (np.array([-1.0, 0.0, 4.0, 5.0]), np.array([0.0, 1.0, 0.0, 1.0])),
        ),
        random=_points,
        formulas=False,
        mistakes=(
            Mistake(
                "slopes",
                _slopes,
                "These are the slopes of the broken line. A weight is what a kink adds to the slope: take differences.",
            ),
            Mistake(
                "first",
                lambda z, y: np.diff(np.append(0.0, np.diff(y) / np.diff(z)), prepend=0.0),
                "The first weight is missing: between b₁ and z₁ the line climbs from 0 to y₁.",
            ),
            Mistake(
                "gaps",
                lambda z, y: np.diff(np.diff(y, prepend=0.0), prepend=0.0),
                "These are differences of the values. Slopes are divided by the gaps of z.",
            ),
        ),
    ),
    Function(
        id="generalization.5",
        title="One equation, many unknowns",
        level="core",
        asks="a function of (x, y, w0), or of these names as a formula: where gradient descent on (⟨x, w⟩ − y)² ends, from w0.",
        hints=(
            "Every gradient is a multiple of x. So the end is w0 + c x with some number c.",
            "⟨x, w0 + c x⟩ = y gives c.",
        ),
        variables=("x", "y", "w0"),
        right=lambda x, y, w0: w0 + x * (y - x @ w0) / (x @ x),
        cases=(
            (np.array([1.0, 2.0]), 5.0, np.zeros(2)),
            (np.array([1.0, 2.0]), 5.0, np.array([1.0, 2.0])),
            (np.array([3.0, 4.0]), 1.0, np.array([4.0, -3.0])),
        ),
        random=lambda rng: (rng.normal(size=3), float(rng.normal()), rng.normal(size=3)),
        formulas=False,
        terms={
            "w0": lambda x, y, w0: w0,
            "x y/‖x‖²": lambda x, y, w0: x * y / (x @ x),
            "−x⟨x, w0⟩/‖x‖²": lambda x, y, w0: -x * (x @ w0) / (x @ x),
        },
        mistakes=(
            Mistake(
                "start",
                lambda x, y, w0: x * y / (x @ x),
                "This is the shortest solution, reached from w0 = 0. From elsewhere what is orthogonal to x stays as it was.",
            ),
            Mistake(
                "norm",
                lambda x, y, w0: w0 + x * (y - x @ w0) / np.linalg.norm(x),
                "The denominator is ⟨x, x⟩, the square of the norm: check that ⟨x, w⟩ = y.",
            ),
        ),
    ),
    Witness(
        id="generalization.6",
        title="Three points that are not shattered",
        level="core",
        asks="an array of three different points of the plane (3 rows of 2 numbers) that the affine classifiers do not shatter.",
        hints=(
            "The VC dimension is 3: *some* three points are shattered. Which are not?",
            "An affine classifier cannot say 1, −1, 1 along a line.",
        ),
        test=_unshattered,
        says="for the one in the middle cannot be cut off. VC dimension 3 means that some three points are shattered, not all",
    ),
    Function(
        id="generalization.7",
        title="Which ridge is it, to stop early?",
        level="hard",
        asks="a function of (sigma, eta, t), with 0 < η σ² < 1, or a formula: the λ for which the ridge shrinks the component with singular value σ as "
        "t steps of gradient descent from 0 do.",
        hints=(
            "After t steps the component is (1 − qᵗ)⟨u, y⟩/σ with q = 1 − ησ². With the ridge it is σ⟨u, y⟩/(σ² + λ).",
            "1 − qᵗ = σ²/(σ² + λ). Solve for λ.",
        ),
        variables=("sigma", "eta", "t"),
        right=lambda sigma, eta, t: sigma**2 * (1 - eta * sigma**2) ** t / (1 - (1 - eta * sigma**2) ** t),
        cases=((1.0, 0.5, 1), (1.0, 0.5, 10), (0.1, 0.5, 3)),
        random=lambda rng: (float(rng.uniform(0.1, 1)), float(rng.uniform(0.1, 0.9)), int(rng.integers(1, 20))),
        factors={
            "σ²": lambda sigma, eta, t: sigma**2,
            "qᵗ": lambda sigma, eta, t: (1 - eta * sigma**2) ** t,
            "1/(1 − qᵗ)": lambda sigma, eta, t: 1 / (1 - (1 - eta * sigma**2) ** t),
        },
        mistakes=(
            Mistake(
                "approximation",
                lambda sigma, eta, t: 1 / (eta * t),
                "A good rule for small ησ²t, and what textbooks say. But it is not exact, and it hides that λ depends on σ: no single ridge does "
                "what stopping does.",
            ),
            Mistake(
                "turned over",
                lambda sigma, eta, t: sigma**2 * (1 - (1 - eta * sigma**2) ** t) / (1 - eta * sigma**2) ** t,
                "The fraction is turned over: after many steps nothing is shrunk, so λ must tend to 0.",
            ),
            Mistake(
                "other part",
                lambda sigma, eta, t: sigma**2 / (1 - (1 - eta * sigma**2) ** t),
                "This is σ² + λ. Subtract σ².",
            ),
        ),
    ),
    Function(
        id="generalization.8",
        title="As quiet as a small model",
        level="hard",
        asks="a function of (n, N0) with 1 ≤ N0 ≤ n − 2, or a formula: the N > n with the same noise term as N0 features.",
        hints=(
            "Set the two cases of the theorem equal, without τ².",
            "N₀/(n − N₀ − 1) = n/(N − n − 1). Solve for N. (It need not be a whole number.)",
        ),
        variables=("n", "N0"),
        right=lambda n, N0: n + 1 + n * (n - N0 - 1) / N0,
        cases=((10, 5), (10, 8), (10, 1), (300, 150)),
        random=lambda rng: (lambda n: (n, int(rng.integers(1, n - 1))))(int(rng.integers(5, 200))),
        terms={
            "n + 1": lambda n, N0: n + 1.0,
            "n(n − N₀ − 1)/N₀": lambda n, N0: n * (n - N0 - 1) / N0,
        },
        mistakes=(
            Mistake(
                "mirror",
                lambda n, N0: 2 * n - N0,
                "The curve is not symmetric about n: on the right it falls more slowly.",
            ),
            Mistake(
                "off by one",
                lambda n, N0: n * n / N0,
                "Nearly: this leaves out the −1 in both denominators.",
            ),
        ),
    ),
)
