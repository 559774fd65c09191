"""The exercises of the chapter on rates of convergence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from derivable.exercises.exercise import Exercise, Function, Mistake, Witness, call, number_of, refuse

__all__ = ["EXERCISES"]


def _budget(B: float, rho: float, eps: float) -> int:
    return math.ceil((B * rho / eps) ** 2 * (1 - 1e-12))


def _regret_parts() -> dict[str, Callable[..., float]]:
    def end(w1: np.ndarray, V: np.ndarray, eta: float, w_star: np.ndarray) -> np.ndarray:
        return w1 - eta * V.sum(axis=0) - w_star

    return {
        "‖w₁ − w*‖²/(2η)": lambda w1, V, eta, w_star: np.sum((w1 - w_star) ** 2) / (2 * eta),
        "(η/2) Σ‖vₜ‖²": lambda w1, V, eta, w_star: eta / 2 * np.sum(V**2),
        "−‖w_{T+1} − w*‖²/(2η)": lambda w1, V, eta, w_star: -np.sum(end(w1, V, eta, w_star) ** 2) / (2 * eta),
    }


def _regret(w1: np.ndarray, V: np.ndarray, eta: float, w_star: np.ndarray) -> float:
    return float(sum(part(w1, V, eta, w_star) for part in _regret_parts().values()))


def _stuck_schedule(answer: Any) -> None:
    if not callable(answer):
        raise refuse("kind", "Hand in the schedule as a function of t = 1, 2, …")
    w, total, before, octaves = 1.0, 0.0, math.inf, [0.0]
    for t in range(1, 4097):
        eta = number_of(call(answer, t, names=("t",)), f"The step at t = {t}")
        if eta < 0 or (eta == 0 and before > 1e-290):  # a geometric schedule underflows in the end
            raise refuse("sign", f"Steps are positive; yours is {eta:.4g} at t = {t}.")
        if eta > before * (1 + 1e-12):
            raise refuse("grows", f"The steps must not grow; yours goes from {before:.4g} to {eta:.4g} at t = {t}.")
        before = eta
        total += eta
        w -= eta * np.sign(w)
        octaves[-1] += eta
        if w < 0.5:
            raise refuse(
                "arrives",
                f"After {t} steps w is {w:.6g}: the steps add up to {total:.4g}. To stay above 1/2, their sum must stay below 1/2, for ever.",
            )
        if t & (t - 1) == 0:
            octaves.append(0.0)
    # How much the steps between t and 2t add: if it shrinks by a factor each time, what is still to come is a geometric series.
    older, newer = octaves[-3], octaves[-2]
    if newer > 0.92 * older:
        raise refuse(
            "slow",
            f"The steps from 1025 to 2048 add up to {older:.3g}, those from 2049 to 4096 to {newer:.3g}. If that goes on, so does the sum, and "
            "the point arrives later. Let the steps fall clearly faster than 1/t.",
        )
    if newer > 0 and w - newer * newer / (older - newer) < 0.5:
        raise refuse(
            "arrives later",
            f"At t = 4096 the point is at {w:.4g}, and what the steps still add takes it below 1/2. Take smaller ones.",
        )


def _group(w: np.ndarray, t: float) -> np.ndarray:
    norm = float(np.linalg.norm(w))
    return w * max(0.0, 1 - t / norm) if norm > 0 else w * 0.0


def _last_gap(eta: float) -> float:
    return eta + 1 / (8 * eta)


def _nesterov(
    coefficient: Callable[[float, float], float] = lambda s, after: (s - 1) / after,
    at_y: bool = True,
    give_y: bool = False,
    square: int = 4,
) -> Callable[..., np.ndarray]:
    def run(gradient: Any, w1: np.ndarray, L: float, T: int) -> np.ndarray:
        w, y, s = w1.copy(), w1.copy(), 1.0
        for _ in range(T):
            new = y - gradient(y if at_y else w) / L
            after = (1 + math.sqrt(1 + square * s * s)) / 2
            y = new + coefficient(s, after) * (new - w)
            w, s = new, after
        return y if give_y else w

    return run


def _pull(*curvatures: float) -> Callable[[np.ndarray], np.ndarray]:
    a = np.array(curvatures)

    def gradient(w: np.ndarray) -> np.ndarray:
        return a * w + np.sin(w) / 10

    return gradient


EXERCISES: tuple[Exercise, ...] = (
    Function(
        id="convergence.1",
        title="How long must it run?",
        level="warm-up",
        asks="a function of (B, rho, eps), or a formula: the smallest number T of points for which the theorem promises a gap of at most eps.",
        hints=(
            "The theorem promises Bρ/√T. When is that at most ε?",
            "T ≥ (Bρ/ε)², and T is a whole number: round up.",
        ),
        variables=("B", "rho", "eps"),
        right=_budget,
        cases=((1.0, 1.0, 0.1), (3.0, 2.0, 0.6), (1.0, 1.0, 0.3), (2.0, 0.5, 0.07)),
        random=lambda rng: (float(rng.uniform(0.5, 4)), float(rng.uniform(0.5, 4)), float(rng.uniform(0.02, 0.3))),
        mistakes=(
            Mistake(
                "rounded",
                lambda B, rho, eps: (B * rho / eps) ** 2,
                "The right square. But a number of points is whole: take the next whole number up.",
            ),
            Mistake(
                "square",
                lambda B, rho, eps: np.ceil(B * rho / eps - 1e-12),
                "The gap falls like 1/√T: for half the gap one needs four times as many points. Square it.",
            ),
            Mistake(
                "rounded",
                lambda B, rho, eps: np.floor((B * rho / eps) ** 2 + 1e-9),
                "With so few points the promise is still above ε in most cases: round up, not down.",
            ),
            Mistake(
                "strongly convex",
                lambda B, rho, eps: np.ceil(B * B * rho / (2 * eps)),
                "This is the count for smooth functions, where the gap falls like 1/T. With kinks it is Bρ/√T.",
            ),
        ),
    ),
    Function(
        id="convergence.2",
        title="The regret without a run",
        level="core",
        asks="a function of (w1, V, eta, w_star), with v₁, …, v_T in the rows of V: the sum of ⟨w_t − w*, v_t⟩, without a loop.",
        hints=(
            "Which of the four quantities in the regret identity need the points between w₁ and w_{T+1}?",
            "Only the left side does. And w_{T+1} = w₁ − η(v₁ + … + v_T).",
        ),
        variables=("w1", "V", "eta", "w_star"),
        right=_regret,
        cases=(
            (np.zeros(2), np.array([[1.0, 0.0], [0.0, 2.0]]), 0.5, np.array([1.0, -1.0])),
            (np.array([1.0]), np.array([[1.0]]), 1.0, np.array([0.0])),
        ),
        random=lambda rng: (
            rng.normal(size=3),
            rng.normal(size=(5, 3)),
            float(rng.uniform(0.1, 2)),
            rng.normal(size=3),
        ),
        formulas=False,
        terms=_regret_parts(),
        mistakes=(
            Mistake(
                "inequality",
                lambda w1, V, eta, w_star: np.sum((w1 - w_star) ** 2) / (2 * eta) + eta / 2 * np.sum(V**2),
                "This is the bound of the textbooks. The identity says by how much it is too large: subtract the slack, from w_{T+1}.",
            ),
            Mistake(
                "points",
                lambda w1, V, eta, w_star: np.sum((w1 - w_star) * V),
                "This takes all inner products at w₁. The points move: w_{t+1} = w_t − ηv_t.",
            ),
            Mistake(
                "off by one",
                lambda w1, V, eta, w_star: np.sum((w1 - eta * np.cumsum(V, axis=0) - w_star) * V),
                "This takes v_t at w_{t+1}: each point is one step too late.",
            ),
        ),
    ),
    Function(
        id="convergence.3",
        title="When does the distance fall?",
        level="core",
        asks="a function of (w, v, w_star), or a formula: the η above which the step w − ηv no longer comes closer to w*.",
        hints=(
            "Expand the square ‖w − ηv − w*‖².",
            "‖w − w*‖² − 2η⟨w − w*, v⟩ + η²‖v‖²: for which η is it equal to the first term?",
        ),
        variables=("w", "v", "w_star"),
        right=lambda w, v, w_star: 2 * ((w - w_star) @ v) / (v @ v),
        cases=(
            (np.array([1.0, 0.0]), np.array([1.0, 2.0]), np.array([0.0, 0.0])),
            (np.array([2.0, 1.0]), np.array([0.5, 0.5]), np.array([1.0, -1.0])),
        ),
        random=lambda rng: (rng.normal(size=3) + 2, rng.uniform(0.1, 1, size=3), rng.normal(size=3) / 2),
        formulas=False,
        mistakes=(
            Mistake(
                "half",
                lambda w, v, w_star: ((w - w_star) @ v) / (v @ v),
                "This is the η that comes closest to w*. Between it and twice as much the step still comes closer than w was.",
            ),
            Mistake(
                "norm",
                lambda w, v, w_star: 2 * ((w - w_star) @ v) / np.linalg.norm(v),
                "The denominator is ⟨v, v⟩, the square of the norm.",
            ),
            Mistake(
                "start",
                lambda w, v, w_star: 2 * (w @ v) / (v @ v),
                "This is for w* = 0. In general the vector from w* to w counts.",
            ),
        ),
    ),
    Witness(
        id="convergence.4",
        title="Steps that tend to zero, too fast",
        level="core",
        asks="a function of t: a schedule of positive steps ηₜ that do not grow and tend to 0, with which the subgradient method on |w| from w₁ = 1 "
        "stays above 1/2 for ever.",
        hints=(
            "Each step moves w by exactly ηₜ, as the slope of |w| is 1. How far can it come?",
            "A sum of infinitely many positive numbers may stay below 1/2: try powers of 1/2.",
        ),
        test=_stuck_schedule,
        says="for the steps tend to 0 and the method does not arrive",
    ),
    Function(
        id="convergence.5",
        title="The proximal map of a length",
        level="core",
        asks="a function of (w, t): the u that minimises t‖u‖ + ½‖u − w‖², with the Euclidean norm, for t > 0.",
        hints=(
            "For a given length r = ‖u‖, which u is closest to w? Then only r is left.",
            "u points along w: minimise t r + ½(r − ‖w‖)² over r ≥ 0. Do not divide by 0 at w = 0.",
        ),
        variables=("w", "t"),
        right=_group,
        cases=(
            (np.array([3.0, 4.0]), 1.0),
            (np.array([3.0, 4.0]), 5.0),
            (np.array([0.3, -0.4]), 2.0),
            (np.zeros(2), 1.0),
        ),
        random=lambda rng: (rng.normal(size=3), float(rng.uniform(0.1, 2))),
        formulas=False,
        mistakes=(
            Mistake(
                "entry by entry",
                lambda w, t: np.sign(w) * np.maximum(np.abs(w) - t, 0),
                "This is the map of t‖u‖₁: it shrinks each entry. The Euclidean norm shrinks the vector as a whole, and keeps its direction.",
            ),
            Mistake(
                "sign",
                lambda w, t: w * (1 - t / np.linalg.norm(w)) if np.any(w) else w * 0.0,
                "Right for ‖w‖ ≥ t. For a shorter w this turns the vector round: the best length is then 0.",
            ),
            Mistake(
                "squared",
                lambda w, t: w / (1 + t),
                "This is the map of (t/2)‖u‖², the square. The length itself has slope t everywhere but at 0.",
            ),
        ),
    ),
    Function(
        id="convergence.6",
        title="The worst last point of one step",
        level="hard",
        asks="a function of eta ≥ 1/4, or a formula: the largest gap f(w₂) − f* of the functions in the proposition, over all angles of a and b.",
        hints=(
            "With x = ⟨a, b⟩: f(w₂) = −ηx, as long as the third term is smaller, and f* = −√((1 + x)/2).",
            "Maximise −ηx + √((1 + x)/2) over x. The derivative is zero where √((1 + x)/2) = 1/(4η).",
        ),
        variables=("eta",),
        right=_last_gap,
        cases=((1 / math.sqrt(2),), (1 / math.sqrt(8),), (0.5,), (0.25,)),
        random=lambda rng: (float(rng.uniform(0.25, 1.5)),),
        terms={"η": lambda eta: eta, "1/(8η)": lambda eta: 1 / (8 * eta)},
        mistakes=(
            Mistake(
                "angle",
                lambda eta: 0.75 * eta + 1 / math.sqrt(8),
                "This takes ⟨a, b⟩ = −3/4 for every η. That angle is the worst one for the theorem's step only.",
            ),
            Mistake(
                "average",
                lambda eta: 1 / (4 * eta) + eta / 2,
                "This is the theorem's bound for the average of two points, B²/(2ηT) + ηρ²/2. Asked is the last point.",
            ),
        ),
    ),
    Function(
        id="convergence.7",
        title="Critical damping",
        level="core",
        asks="a function of (eta, a) with 0 < ηa < 1, or a formula: the smallest β ≥ 0 for which the heavy ball on ½aw² has no two different real roots.",
        hints=(
            "A step is w_{t+1} = (1 + β − ηa)w_t − βw_{t−1}. Write down the quadratic equation of its roots.",
            "r² − (1 + β − ηa)r + β = 0. The roots coincide where (1 + β − ηa)² = 4β.",
        ),
        variables=("eta", "a"),
        right=lambda eta, a: (1 - np.sqrt(eta * a)) ** 2,
        cases=((1.0, 0.25), (0.5, 0.5), (0.01, 4.0)),
        random=lambda rng: (float(rng.uniform(0.05, 0.9)), float(rng.uniform(0.1, 1.0))),
        mistakes=(
            Mistake(
                "root",
                lambda eta, a: 1 - np.sqrt(eta * a),
                "This is the double root itself, the factor by which the error falls in a step. β is its square.",
            ),
            Mistake(
                "other end",
                lambda eta, a: (1 + np.sqrt(eta * a)) ** 2,
                "The other solution of (1 + β − ηa)² = 4β. Between the two the roots are complex; asked is where that begins.",
            ),
            Mistake(
                "no root",
                lambda eta, a: (1 - eta * a) ** 2,
                "Without momentum the factor is 1 − ηa. Here the equation is (1 + β − ηa)² = 4β: take the root first.",
            ),
        ),
    ),
    Function(
        id="convergence.8",
        title="Fix the bug: Nesterov's method",
        level="hard",
        asks="the repaired function of (gradient, w1, L, T): it returns w after T steps.",
        hints=(
            "Compare the program with the two lines of the method on the page of the chapter. There are two errors.",
            "Where is the gradient taken? And how large is the factor of (w_{t+1} − w_t) in the first step, with s₁ = 1?",
        ),
        variables=("gradient", "w1", "L", "T"),
        right=_nesterov(),
        cases=(
            (_pull(1.0, 0.1), np.array([1.0, -2.0]), 1.1, 1),
            (_pull(1.0, 0.1), np.array([1.0, -2.0]), 1.1, 2),
            (_pull(1.0, 0.01), np.array([3.0, 2.0]), 1.1, 20),
        ),
        random=lambda rng: (
            _pull(*rng.uniform(0.05, 1, size=3)),
            rng.normal(size=3),
            1.2,
            int(rng.integers(3, 15)),
        ),
        formulas=False,
        mistakes=(
            Mistake(
                "both",
                _nesterov(lambda s, after: s / after, at_y=False),
                "This is the program of the page.",
            ),
            Mistake(
                "place",
                _nesterov(at_y=False),
                "The factor is right now. The gradient is still taken at w_t; the method looks ahead and takes it at y_t.",
            ),
            Mistake(
                "factor",
                _nesterov(lambda s, after: s / after),
                "The gradient is taken at the right place now. The factor of (w_{t+1} − w_t) is (s_t − 1)/s_{t+1}: the first step has none.",
            ),
            Mistake("other point", _nesterov(give_y=True), "The method is right now; return w_{T+1}, not y_{T+1}."),
        ),
    ),
)
