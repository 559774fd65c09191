"""The exercises of the chapter on gradient descent as a proximal step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from derivable.exercises.exercise import Exercise, Function, Mistake, Witness, array_of, refuse

__all__ = ["EXERCISES"]


def _steps_needed(eta: float, L: float, eps: float) -> int:
    q = abs(1 - eta * L)
    return 1 if q == 0 else math.ceil(math.log(eps) / math.log(q) - 1e-9)


def _positive(rng: np.random.Generator, n: int) -> np.ndarray:
    R = rng.normal(size=(n, n))
    return R @ R.T + 0.1 * np.eye(n)


def _random_valley(rng: np.random.Generator) -> tuple[float, float, float]:
    L = float(rng.uniform(0.5, 4))
    return float(rng.uniform(0.02, 1.9)) / L, L, float(10 ** rng.uniform(-8, -0.5))


def _sign_step_goes_up(answer: Any) -> None:
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise refuse("kind", "Hand in a pair (A, w): a 2 × 2 matrix and a point of 2 numbers.")
    A, w = array_of(answer[0], "The matrix A", (2, 2)), array_of(answer[1], "The point w", (2,))
    if not np.allclose(A, A.T):
        raise refuse("symmetry", "The matrix A is not symmetric: then A w is not the gradient of ½⟨w, A w⟩.")
    if np.linalg.eigvalsh(A)[0] < 0:
        raise refuse("convexity", f"f is not convex: A has the eigenvalue {np.linalg.eigvalsh(A)[0]:.4g}, below 0.")
    g = A @ w
    if np.linalg.norm(g) < 1:
        raise refuse(
            "small", f"The gradient's norm is {np.linalg.norm(g):.4g}; it must be at least 1, or the claim is cheap."
        )
    new = w - 0.1 * np.sign(g)
    before, after = w @ A @ w / 2, new @ A @ new / 2
    if after <= before:
        same = np.isclose(after, before, rtol=1e-4)
        moves = f"leaves f at about {before:.4g}" if same else f"lowers f, from {before:.4g} to {after:.4g}"
        raise refuse(
            "falls",
            f"The sign step {moves}. The step falls by 0.1‖g‖₁ and rises by ½⟨d, A d⟩: make the "
            "second large along the direction d of the step, where the gradient is not.",
        )


def _box_step(w: np.ndarray, g: np.ndarray, lam: float, lo: float, hi: float) -> np.ndarray:
    return np.clip(w - g / lam, lo, hi)


def _backtrack(f: Any, g: Any, w: np.ndarray, eta: float) -> float:
    slope = g(w)
    while f(w - eta * slope) > f(w) - eta / 2 * (slope @ slope):
        eta /= 2
    return eta


def _search(stop: Callable[[float, float, float, np.ndarray], bool]) -> Callable[..., float]:
    def search(f: Any, g: Any, w: np.ndarray, eta: float) -> float:
        slope = g(w)
        for _ in range(60):
            if stop(f(w - eta * slope), f(w), eta, slope):
                break
            eta /= 2
        return eta

    return search


def _bowl(*curvatures: float) -> tuple[Any, Any]:
    a = np.array(curvatures)

    def bowl(w: np.ndarray) -> float:
        return float(w @ (a * w)) / 2

    def gradient(w: np.ndarray) -> np.ndarray:
        return a * w

    return bowl, gradient


def _quartic(w: np.ndarray) -> float:
    return float(np.sum(w**4))


def _quartic_gradient(w: np.ndarray) -> np.ndarray:
    return 4 * w**3


def _search_case(rng: np.random.Generator) -> tuple[Any, ...]:
    a = 10 ** rng.uniform(-1, 1.5, size=2)
    return (*_bowl(*a), rng.normal(size=2) + 0.1, float(rng.choice([0.3, 1.0, 3.0])))


def _spread(mu: float, L: float) -> float:
    return (L + mu) / (L - mu)


EXERCISES: tuple[Exercise, ...] = (
    Function(
        id="descent.1",
        title="A proximal step with weight decay",
        level="warm-up",
        asks="a function of (w, g, lam, c), or a formula: the minimiser u.",
        hints=(
            "The function is strictly convex. Set its gradient in u to zero.",
            "g + c u + λ (u − w) = 0. Collect the terms with u.",
        ),
        variables=("w", "g", "lam", "c"),
        right=lambda w, g, lam, c: (lam * w - g) / (lam + c),
        cases=(
            (np.array([1.0, 2.0]), np.array([3.0, -1.0]), 4.0, 0.0),
            (np.array([1.0, 2.0]), np.array([3.0, -1.0]), 4.0, 1.0),
            (np.array([0.0, -1.0, 5.0]), np.array([1.0, 1.0, 1.0]), 0.5, 2.0),
        ),
        random=lambda rng: (rng.normal(size=3), rng.normal(size=3), *map(float, rng.uniform(0.2, 4, size=2))),
        terms={
            "λw/(λ + c)": lambda w, g, lam, c: lam * w / (lam + c),
            "−g/(λ + c)": lambda w, g, lam, c: -g / (lam + c),
        },
        mistakes=(
            Mistake(
                "ignored",
                lambda w, g, lam, c: w - g / lam,
                "This is the step without weight decay. The term ½c‖u‖² adds c u to the gradient.",
            ),
            Mistake(
                "place",
                lambda w, g, lam, c: w - (g + c * w) / lam,
                "This takes the decay's gradient at the old point w. In the minimisation it stands at u.",
            ),
            Mistake(
                "factor",
                lambda w, g, lam, c: (lam * w - g) / (lam + 2 * c),
                "The gradient of ½c‖u‖² is c u: the ½ takes the 2 away.",
            ),
        ),
    ),
    Function(
        id="descent.2",
        title="How many steps?",
        level="warm-up",
        asks="a function of (eta, L, eps), or a formula: the smallest number t ≥ 1 of steps with |w after t steps| ≤ eps |w₁|.",
        hints=(
            "After t steps w has been multiplied by (1 − ηL)ᵗ. Only the size of the factor counts.",
            "t ≥ ln ε / ln |1 − ηL|: both logarithms are negative. Take the next whole number up.",
        ),
        variables=("eta", "L", "eps"),
        right=_steps_needed,
        cases=((0.5, 1.0, 0.1), (0.5, 1.0, 0.25), (1.9, 1.0, 0.01), (0.1, 2.0, 1e-6), (0.01, 1.0, 0.5)),
        random=_random_valley,
        mistakes=(
            Mistake(
                "rounded",
                lambda eta, L, eps: np.log(eps) / np.log(abs(1 - eta * L)),
                "The right quotient. But a number of steps is whole: take the next whole number up.",
            ),
            Mistake(
                "rounded",
                lambda eta, L, eps: np.floor(np.log(eps) / np.log(abs(1 - eta * L)) + 1e-9),
                "After so many steps |w| is still above ε|w₁| in most cases: round up, not down.",
            ),
            Mistake(
                "sign",
                lambda eta, L, eps: np.ceil(np.log(eps) / np.log(1 - eta * L) - 1e-9),
                "Right for ηL < 1. Beyond it the factor 1 − ηL is negative and w jumps from side to side: its size counts.",
            ),
            Mistake(
                "square",
                lambda eta, L, eps: np.ceil(np.log(eps) / np.log(abs(1 - eta * L)) / 2 - 1e-9),
                "This is for f(w) ≤ ε f(w₁), where the factor is squared. Asked is the distance.",
            ),
        ),
    ),
    Function(
        id="descent.3",
        title="The exact line search",
        level="core",
        asks="a function of (A, g): the η ≥ 0 that makes f(w − ηg) smallest, for f(w) = ½⟨w, Aw⟩ − ⟨b, w⟩ with gradient g at w.",
        hints=(
            "Along the line f is a parabola in η. Expand f(w − ηg).",
            "f(w − ηg) = f(w) − η⟨g, g⟩ + ½η²⟨g, Ag⟩.",
        ),
        variables=("A", "g"),
        right=lambda A, g: (g @ g) / (g @ A @ g),
        cases=(
            (np.diag([1.0, 10.0]), np.array([1.0, 0.0])),
            (np.diag([1.0, 10.0]), np.array([1.0, 1.0])),
            (np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, -2.0])),
        ),
        random=lambda rng: (_positive(rng, 3), rng.normal(size=3)),
        formulas=False,
        mistakes=(
            Mistake(
                "reciprocal",
                lambda A, g: (g @ A @ g) / (g @ g),
                "This is the curvature of f along g. The best step is its reciprocal.",
            ),
            Mistake(
                "largest",
                lambda A, g: 1 / np.linalg.eigvalsh(A)[-1],
                "This is 1/L, safe in every direction. Along this g the curvature is ⟨g, Ag⟩/⟨g, g⟩, and the step may be longer.",
            ),
            Mistake(
                "norm",
                lambda A, g: np.sqrt(g @ g) / (g @ A @ g),
                "The slope along −g is −⟨g, g⟩, the square of the norm.",
            ),
        ),
    ),
    Function(
        id="descent.4",
        title="No bound on the bending",
        level="core",
        asks="a function of eta, or a formula: the largest R such that gradient descent on w⁴ converges to 0 from every |w₁| < R.",
        hints=(
            "A step multiplies w by 1 − 4ηw². For which w is that between −1 and 1?",
            "|1 − 4ηw²| < 1 means 0 < 4ηw² < 2. And once |w| falls, the factor stays good.",
        ),
        variables=("eta",),
        right=lambda eta: 1 / np.sqrt(2 * eta),
        cases=((0.1,), (0.5,), (2.0,)),
        random=lambda rng: (float(10 ** rng.uniform(-3, 1)),),
        mistakes=(
            Mistake(
                "half",
                lambda eta: 1 / np.sqrt(4 * eta),
                "Up to there the factor 1 − 4ηw² is positive. It may be negative, too, as long as it is above −1.",
            ),
            Mistake(
                "power",
                lambda eta: 1 / (2 * eta),
                "This is a bound for w². Take the root.",
            ),
            Mistake(
                "second derivative",
                lambda eta: 1 / np.sqrt(6 * eta),
                "This is where η = 2/f''(w), with f'' = 12w². On w⁴ the factor of a step is 1 − ηf'(w)/w, not 1 − ηf''(w).",
            ),
        ),
    ),
    Witness(
        id="descent.5",
        title="A sign step that goes up",
        level="core",
        asks="a pair (A, w): a symmetric positive semidefinite 2 × 2 matrix and a point where ‖Aw‖ ≥ 1, such that "
        "w − 0.1 sign(Aw) has a larger ½⟨w, Aw⟩ than w.",
        hints=(
            "The sign step moves both coordinates equally far, however small one entry of the gradient is.",
            "Take A = diag(1, 1000) and put w nearly, but not quite, on the first axis.",
        ),
        test=_sign_step_goes_up,
        says="for f is convex, its gradient is large, and the step goes up",
    ),
    Function(
        id="descent.6",
        title="A step that stays in a box",
        level="core",
        asks="a function of (w, g, lam, lo, hi), or a formula: the minimiser of the model plus the proximity term over lo ≤ uᵢ ≤ hi.",
        hints=(
            "The sum to be minimised splits into one problem for each coordinate.",
            "In one coordinate it is a parabola with its lowest point at wᵢ − gᵢ/λ. Where is it lowest on an interval?",
        ),
        variables=("w", "g", "lam", "lo", "hi"),
        right=_box_step,
        cases=(
            (np.array([0.5, 0.5]), np.array([1.0, -4.0]), 4.0, 0.0, 1.0),
            (np.array([0.0, 1.0, 0.2]), np.array([3.0, -1.0, 0.1]), 2.0, 0.0, 1.0),
        ),
        random=lambda rng: (
            rng.normal(size=4),
            3 * rng.normal(size=4),
            float(rng.uniform(0.5, 4)),
            -float(rng.uniform(0.2, 1)),
            float(rng.uniform(0.2, 1.5)),
        ),
        mistakes=(
            Mistake(
                "ignored",
                lambda w, g, lam, lo, hi: w - g / lam,
                "This is the step without the box: some of its coordinates lie outside.",
            ),
            Mistake(
                "order",
                lambda w, g, lam, lo, hi: np.clip(w, lo, hi) - g / lam,
                "First the step, then the box: here the step may leave the box again.",
            ),
            Mistake(
                "one side",
                lambda w, g, lam, lo, hi: np.maximum(w - g / lam, lo),
                "This keeps u above the lower end of the box only. It has an upper one, too.",
            ),
            Mistake(
                "one side",
                lambda w, g, lam, lo, hi: np.minimum(w - g / lam, hi),
                "This keeps u below the upper end of the box only. It has a lower one, too.",
            ),
            Mistake(
                "factor",
                lambda w, g, lam, lo, hi: np.clip(w - lam * g, lo, hi),
                "λ is the weight of the proximity term: the step is g/λ, not λg.",
            ),
        ),
    ),
    Function(
        id="descent.7",
        title="Fix the bug: backtracking",
        level="core",
        asks="the repaired function of (f, gradient, w, eta): it returns the first of eta, eta/2, eta/4, … that gives the decrease "
        "which the chapter promises at 1/L.",
        hints=(
            "Which decrease does the theorem on sufficient decrease promise for η = 1/L? Write it with η in place of 1/L.",
            "η(1 − ηL/2)‖g‖² at L = 1/η is ½η‖g‖². Compare the program, letter by letter.",
        ),
        variables=("f", "gradient", "w", "eta"),
        right=_backtrack,
        cases=(
            # No case reaches the promise exactly: there rounding decides, and ‖g‖² written in another way is as right.
            (*_bowl(1.0, 1.0), np.array([1.0, 0.0]), 0.75),
            (*_bowl(3.0, 3.0), np.array([1.0, 0.5]), 1.0),
            (*_bowl(10.0, 1.0), np.array([0.1, 3.0]), 8.0),
            (_quartic, _quartic_gradient, np.array([3.0, 0.1]), 1.0),
        ),
        random=_search_case,
        formulas=False,
        mistakes=(
            Mistake(
                "norm",
                _search(lambda new, old, eta, g: new <= old - eta / 2 * np.sqrt(g @ g)),
                "This is the function of the page: the promise holds the square of the gradient's norm, not the norm.",
            ),
            Mistake(
                "factor",
                _search(lambda new, old, eta, g: new <= old - eta * (g @ g)),
                "A factor ½ is missing. A convex f lies above its tangent: it never falls by the full η‖g‖², and the loop goes on and on.",
            ),
            Mistake(
                "weak",
                _search(lambda new, old, eta, g: new <= old),
                "This asks only that f does not rise. The promise is a decrease of ½η‖g‖².",
            ),
        ),
    ),
    Function(
        id="descent.8",
        title="A gradient with an error",
        level="hard",
        asks="a function of (G, delta, L), or a formula: by how much f falls at least. (A negative value means that it may rise.)",
        hints=(
            "Put the step −g/L into the descent lemma. Write g = ∇f(w) + e with ‖e‖ ≤ δ.",
            "−⟨∇f, g⟩/L + ‖g‖²/(2L): complete the square. It is (‖g − ∇f‖² − ‖∇f‖²)/(2L).",
        ),
        variables=("G", "delta", "L"),
        right=lambda G, delta, L: (G**2 - delta**2) / (2 * L),
        cases=((1.0, 0.0, 1.0), (2.0, 1.0, 4.0), (1.0, 3.0, 2.0), (1.5, 0.5, 1.0)),
        random=lambda rng: tuple(map(float, rng.uniform(0.2, 4, size=3))),
        terms={
            "G²/(2L)": lambda G, delta, L: G**2 / (2 * L),
            "−δ²/(2L)": lambda G, delta, L: -(delta**2) / (2 * L),
        },
        mistakes=(
            Mistake(
                "triangle",
                lambda G, delta, L: (G - delta) ** 2 / (2 * L),
                "This would be the promise if g were the true gradient, of the length G − δ. It even grows with δ once δ > G. "
                "Put g = ∇f + e into the descent lemma and complete the square.",
            ),
            Mistake(
                "weak",
                lambda G, delta, L: (G**2 - 2 * G * delta - delta**2) / (2 * L),
                "True, but not the best: the terms in ⟨∇f, e⟩ cancel exactly. Do not bound them one by one.",
            ),
        ),
    ),
    Function(
        id="descent.9",
        title="Two steps, two sizes",
        level="hard",
        asks="a function of (mu, L), or a formula: the smallest factor that two steps η₁, η₂ can guarantee for ‖w − w*‖.",
        hints=(
            "Along an eigenvector with eigenvalue a the two steps multiply by p(a) = (1 − η₁a)(1 − η₂a): a parabola with p(0) = 1. Make the "
            "largest |p| on [μ, L] small.",
            "Best is the parabola that has the value c at μ and L and −c in the middle. Move [μ, L] to [−1, 1]: there it is a multiple of "
            "2s² − 1, and a = 0 lies at s = −(L + μ)/(L − μ).",
        ),
        variables=("mu", "L"),
        right=lambda mu, L: 1 / (2 * _spread(mu, L) ** 2 - 1),
        cases=((1.0, 10.0), (1.0, 2.0), (0.5, 50.0)),
        random=lambda rng: (float(rng.uniform(0.1, 1)), float(rng.uniform(1.5, 30))),
        mistakes=(
            Mistake(
                "equal steps",
                lambda mu, L: 1 / _spread(mu, L) ** 2,
                "This is the best for two equal steps, 2/(μ + L) each. A short and a long one do better together.",
            ),
            Mistake(
                "one step",
                lambda mu, L: 1 / _spread(mu, L),
                "This is the best factor of one step. After two steps one can do better than its square.",
            ),
            Mistake(
                "momentum",
                lambda mu, L: ((np.sqrt(L) - np.sqrt(mu)) / (np.sqrt(L) + np.sqrt(mu))) ** 2,
                "This is the factor that momentum reaches in the long run. Asked is the best that these two steps can do.",
            ),
        ),
    ),
)
