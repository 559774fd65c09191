"""The exercises of the chapter on stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from derivable.exercises.exercise import Exercise, Function, Mistake, Value, Witness, array_of, refuse

__all__ = ["EXERCISES"]


def _epoch(divide: str = "rows", drop: bool = False) -> Callable[..., np.ndarray]:
    def epoch(w: np.ndarray, X: np.ndarray, y: np.ndarray, eta: float, b: int) -> np.ndarray:
        w = w.copy()
        for start in range(0, len(y), b):
            rows, targets = X[start : start + b], y[start : start + b]
            if drop and len(targets) < b:
                break
            total = rows.T @ (rows @ w - targets)
            w = w - eta * total / {"rows": len(targets), "b": b, "one": 1, "n": len(y)}[divide]
        return w

    return epoch


def _momentum_variance(eta: float, a: float, beta: float, sigma: float) -> float:
    return eta * sigma**2 * (1 + beta) / (a * (1 - beta) * (2 * (1 + beta) - eta * a))


def _cyclic_limit(c: np.ndarray, eta: float) -> float:
    r = 1 - eta
    weights = eta * r ** np.arange(len(c))[::-1]
    return float(weights @ c / (1 - r ** len(c)))


def _drifting_workers(answer: Any) -> None:
    v = array_of(answer, "Your answer", (4,))
    a1, c1, a2, c2 = v
    if min(a1, a2) <= 0 or max(a1, a2) >= 10:
        raise refuse(
            "curvature",
            f"The curvatures must lie between 0 and 10, so that steps of 0.1 converge. Yours are a₁ = {a1:.4g} and a₂ = {a2:.4g}: "
            "the order is a₁, c₁, a₂, c₂.",
        )
    h = 1 - (1 - 0.1 * np.array([a1, a2])) ** 100
    local = float(h @ [c1, c2] / h.sum())
    best = float((a1 * c1 + a2 * c2) / (a1 + a2))
    if abs(local - best) > 1:
        return
    if np.isclose(c1, c2):
        raise refuse(
            "same minimum", "Both workers have the same minimiser: then they agree, however long they work alone."
        )
    if np.isclose(a1, a2):
        raise refuse(
            "same curvature",
            "With equal curvatures the mean of the workers' minimisers is the minimiser of the sum. Make them differ.",
        )
    raise refuse(
        "close",
        f"Local SGD ends at {local:.4g}, the minimiser of the sum is {best:.4g}: only {abs(local - best):.3g} apart; asked is more than 1.",
    )


EXERCISES: tuple[Exercise, ...] = (
    Value(
        id="stochastic.1",
        title="The noise of three rows",
        level="warm-up",
        asks="a number: the noise σ²(w) of the rows 0, 1 and 5 with the losses ½(w − c)², at any w.",
        hints=(
            "The sampled gradient is w − cᵢ. What is its mean, and how far is each draw from it?",
            "The deviations are those of the rows from their mean, 2. Average their squares.",
        ),
        right=14 / 3,
        mistakes=(
            Mistake(
                "off by one",
                7.0,
                "This divides by n − 1, as one does to estimate a variance. Here the three draws are all there are: divide by n.",
            ),
            Mistake("sum", 14.0, "This is the sum of the squares. The noise is their mean."),
            Mistake("root", float(np.sqrt(14 / 3)), "This is the standard deviation; the noise is its square."),
            Mistake(
                "mean square",
                26 / 3,
                "This is the mean square of the sampled gradient at w = 0. Subtract the square of its mean.",
            ),
        ),
    ),
    Function(
        id="stochastic.2",
        title="The best step on average",
        level="warm-up",
        asks="a function of (G, sigma, L), with G = ‖∇f(w)‖, or a formula: the η that makes the bound on the expected decrease best.",
        hints=(
            "As a function of η the right side of the theorem is a parabola.",
            "Its derivative −G² + ηL G² + ηLσ² is 0 at the best η.",
        ),
        variables=("G", "sigma", "L"),
        right=lambda G, sigma, L: G**2 / (L * (G**2 + sigma**2)),
        cases=((1.5, 0.0, 1.0), (0.5, 1.5, 1.0), (2.0, 1.0, 4.0)),
        random=lambda rng: tuple(map(float, rng.uniform(0.2, 3, size=3))),
        factors={
            "G²": lambda G, sigma, L: G**2,
            "1/L": lambda G, sigma, L: 1 / L,
            "1/(G² + σ²)": lambda G, sigma, L: 1 / (G**2 + sigma**2),
        },
        mistakes=(
            Mistake(
                "limit",
                lambda G, sigma, L: 2 * G**2 / (L * (G**2 + sigma**2)),
                "This is where the promise ends: there the expected decrease is 0 again. The best step is halfway.",
            ),
            Mistake("ignored", lambda G, sigma, L: 1 / L, "This is the best step without noise."),
            Mistake(
                "squares",
                lambda G, sigma, L: G / (L * (G + sigma)),
                "Squares are missing: the theorem holds G² and σ².",
            ),
        ),
    ),
    Function(
        id="stochastic.3",
        title="How many different rows?",
        level="core",
        asks="a function of (n, b), or a formula: the mean number of different rows among b independent draws from n.",
        hints=(
            "The mean of a sum is the sum of the means. Count row by row: is it among the draws?",
            "A row is missed by all b draws with probability (1 − 1/n)^b.",
        ),
        variables=("n", "b"),
        right=lambda n, b: n * (1 - (1 - 1 / n) ** b),
        cases=((1, 1), (2, 2), (10, 1), (10, 10), (100, 37)),
        random=lambda rng: (int(rng.integers(2, 60)), int(rng.integers(1, 80))),
        terms={"n": lambda n, b: float(n), "−n(1 − 1/n)^b": lambda n, b: -n * (1 - 1 / n) ** b},
        mistakes=(
            Mistake(
                "other part",
                lambda n, b: n * (1 - 1 / n) ** b,
                "This is the mean number of rows that are missed. Asked are those that are seen.",
            ),
            Mistake(
                "repeats",
                lambda n, b: min(n, b),
                "This would be without repetitions. Independent draws take some rows twice.",
            ),
            Mistake(
                "probability",
                lambda n, b: 1 - (1 - 1 / n) ** b,
                "This is the probability that one given row is seen. There are n of them.",
            ),
            Mistake(
                "limit",
                lambda n, b: n * (1 - np.exp(-b / n)),
                "Close, for large n: (1 − 1/n)^b is only about e^(−b/n).",
            ),
        ),
    ),
    Function(
        id="stochastic.4",
        title="Fix the bug: the last batch",
        level="core",
        asks="the repaired function of (w, X, y, eta, b): w after one epoch of mini-batch steps, in order, on ½(⟨x, w⟩ − y)².",
        hints=(
            "Try it with 4 rows and b = 4, then with 4 rows and b = 3. How long is the step with the last row?",
            "A step is with the mean over the batch: divide by the number of rows that are in it.",
        ),
        variables=("w", "X", "y", "eta", "b"),
        right=_epoch(),
        cases=(
            (np.zeros(1), np.array([[1.0], [1.0], [1.0], [1.0]]), np.array([1.0, 2.0, 3.0, 4.0]), 0.5, 2),
            (np.zeros(1), np.array([[1.0], [1.0], [1.0], [1.0]]), np.array([1.0, 2.0, 3.0, 4.0]), 0.5, 3),
            (np.array([1.0, -1.0]), np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), np.array([1.0, 0.0, 2.0]), 0.1, 5),
        ),
        random=lambda rng: (
            rng.normal(size=2),
            rng.normal(size=(7, 2)),
            rng.normal(size=7),
            float(rng.uniform(0.05, 0.3)),
            int(rng.integers(1, 9)),
        ),
        formulas=False,
        mistakes=(
            Mistake(
                "last batch",
                _epoch("b"),
                "This is the function of the page: the last batch may have fewer than b rows, and dividing by b makes its step too short.",
            ),
            Mistake(
                "dropped",
                _epoch(drop=True),
                "The last rows are left out. That is a choice (`drop_last`), but then they are never seen in this order.",
            ),
            Mistake(
                "sum", _epoch("one"), "This steps with the sum over a batch: with b rows the step is b times too long."
            ),
            Mistake(
                "mean",
                _epoch("n"),
                "This divides by n. A step is with the mean over the batch, not with its part of the whole mean.",
            ),
        ),
    ),
    Function(
        id="stochastic.5",
        title="A fixed order, with many rows",
        level="core",
        asks="a function of (c, eta), 0 < eta < 1: the limit of w at the ends of epochs, with rows c[0], c[1], … in this order and the losses ½(w − c)².",
        hints=(
            "A step is w ← (1 − η)w + ηc. Write down w after one epoch.",
            "w ← rⁿ w + η Σ r^(n−1−i) c[i] with r = 1 − η. At the limit both sides have the same w.",
        ),
        variables=("c", "eta"),
        right=_cyclic_limit,
        cases=(
            (np.array([2.0, -1.0]), 0.1),
            (np.array([-1.0, 2.0]), 0.1),
            (np.array([3.0]), 0.5),
            (np.array([0.0, 1.0, 5.0]), 0.3),
        ),
        random=lambda rng: (rng.normal(size=int(rng.integers(2, 6))), float(rng.uniform(0.05, 0.9))),
        formulas=False,
        mistakes=(
            Mistake(
                "order",
                lambda c, eta: _cyclic_limit(c[::-1], eta),
                "The weights are the wrong way round: the row that comes last has the most to say.",
            ),
            Mistake(
                "mean",
                lambda c, eta: float(np.mean(c)),
                "This is the minimiser. In a fixed order the limit is off it, to the side of the last rows.",
            ),
            Mistake(
                "one epoch",
                lambda c, eta: float(eta * (1 - eta) ** np.arange(len(c))[::-1] @ c),
                "This is w after one epoch from 0. In the limit, w = rⁿ w + this: divide by 1 − rⁿ.",
            ),
            Mistake(
                "exponent",
                lambda c, eta: _cyclic_limit(c, eta) * (1 - eta),
                "This is 1 − η times the right one. No step follows the last row of an epoch: its weight has no factor 1 − η.",
            ),
        ),
    ),
    Function(
        id="stochastic.6",
        title="Choose rows by the size of their gradients",
        level="hard",
        asks="a function of G, the array whose rows are the n gradients: the smallest possible mean of ‖g_i/(n p_i)‖² over all "
        "probabilities p.",
        hints=(
            "Row i is drawn with probability pᵢ, so the mean is Σ ‖gᵢ‖²/(n² pᵢ). Minimise it under Σ pᵢ = 1.",
            "By Cauchy–Schwarz (Σ ‖gᵢ‖)² ≤ Σ ‖gᵢ‖²/pᵢ · Σ pᵢ. When is it an equality?",
        ),
        variables=("G",),
        right=lambda G: float(np.mean(np.linalg.norm(G, axis=1)) ** 2),
        cases=((np.array([[3.0, 4.0], [0.0, 1.0]]),), (np.array([[1.0], [-1.0], [4.0]]),), (np.eye(3),)),
        random=lambda rng: (rng.normal(size=(int(rng.integers(2, 6)), 3)),),
        formulas=False,
        mistakes=(
            Mistake(
                "uniform",
                lambda G: float(np.mean(np.sum(G**2, axis=1))),
                "This is the mean for equal probabilities. Rows with long gradients should be drawn more often.",
            ),
            Mistake(
                "mean",
                lambda G: float(np.sum(np.mean(G, axis=0) ** 2)),
                "This is ‖∇f‖²: no choice of probabilities gets as low, unless all gradients point the same way.",
            ),
            Mistake(
                "n",
                lambda G: float(np.sum(np.linalg.norm(G, axis=1)) ** 2),
                "The best probabilities are right. The estimate is gᵢ/(n pᵢ): n² is missing below.",
            ),
        ),
    ),
    Function(
        id="stochastic.7",
        title="The noise ball with momentum",
        level="hard",
        asks="a function of (eta, a, beta, sigma), or a formula: the stationary variance of w in one dimension, with m ← βm + g, w ← w − ηm and "
        "g = a w + noise of variance σ².",
        hints=(
            "Write the step with two old points: w₊ = (1 + β − ηa)w − βw₋ − ηξ. In the stationary law w₊, w and w₋ have the same variance V.",
            "Let C be the covariance of two neighbours. Multiply the step by w, and square it: two linear equations for V and C.",
            "C(1 + β) = (1 + β − ηa)V, and V = (1 + β − ηa)²V + β²V − 2β(1 + β − ηa)C + η²σ².",
        ),
        variables=("eta", "a", "beta", "sigma"),
        right=_momentum_variance,
        cases=((0.1, 1.0, 0.0, 1.5), (0.1, 1.0, 0.9, 1.5), (0.3, 2.0, 0.5, 1.0)),
        random=lambda rng: (
            float(rng.uniform(0.05, 0.8)),
            float(rng.uniform(0.5, 2)),
            float(rng.uniform(0.1, 0.95)),
            float(rng.uniform(0.5, 2)),
        ),
        factors={
            "ησ²/a": lambda eta, a, beta, sigma: eta * sigma**2 / a,
            "1 + β": lambda eta, a, beta, sigma: 1 + beta,
            "1/(1 − β)": lambda eta, a, beta, sigma: 1 / (1 - beta),
            "1/(2(1 + β) − ηa)": lambda eta, a, beta, sigma: 1 / (2 * (1 + beta) - eta * a),
        },
        mistakes=(
            Mistake(
                "no momentum",
                lambda eta, a, beta, sigma: eta * sigma**2 / (a * (2 - eta * a)),
                "This is the noise ball without momentum, β = 0.",
            ),
            Mistake(
                "longer step",
                lambda eta, a, beta, sigma: eta * sigma**2 / (a * (2 * (1 - beta) - eta * a)),
                "This puts the longer step η/(1 − β) into the formula without momentum. For small η that is nearly right; but momentum also "
                "averages the noise.",
            ),
            Mistake(
                "small step",
                lambda eta, a, beta, sigma: eta * sigma**2 / (2 * a * (1 - beta)),
                "This is right in the limit of small η. Asked is the variance at any η: solve the two equations without leaving out terms.",
            ),
        ),
    ),
    Witness(
        id="stochastic.8",
        title="Two workers who drift apart",
        level="core",
        asks="four numbers (a₁, c₁, a₂, c₂) with 0 < a < 10: local SGD on ½a₁(w − c₁)² and ½a₂(w − c₂)², with 100 steps of size 0.1 between averages, ends "
        "more than 1 away from the minimiser of the sum.",
        hints=(
            "After 100 steps each worker is practically at its own minimiser, if 0.1·a is not tiny. Where is their mean? And where is the minimiser of the sum?",
            "(c₁ + c₂)/2 against (a₁c₁ + a₂c₂)/(a₁ + a₂): make the curvatures very different.",
        ),
        test=_drifting_workers,
        says="for the steep worker should count more, and does not",
    ),
)
