"""The exercises of the chapter on automatic differentiation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from derivable.exercises.exercise import Exercise, Function, Mistake, Value, Witness, array_of, refuse

__all__ = ["EXERCISES"]

E2 = math.e**2


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


def _one_hot(z: np.ndarray, k: int) -> np.ndarray:
    return (np.arange(z.size) == k).astype(float)


def _central(f: Callable[[float], float], x: float, h: float) -> float:
    return (f(x + h) - f(x - h)) / (2 * h)


def _fooled_test(answer: Any) -> None:
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise refuse("kind", "Hand in a pair (g, d) of two arrays of 2 numbers.")
    g, d = array_of(answer[0], "The gradient g", (2,)), array_of(answer[1], "The direction d", (2,))
    right = np.array([8.0, 3.0])  # of w1² + 3 w1 w2 at (1, 2)
    error = right - g
    if np.linalg.norm(error) < 0.1 * (1 - 1e-9):  # 8.1 − 8 is a little less than 0.1, and 3.1 − 3 a little more
        raise refuse(
            "right", "Your g is the gradient, or nearly: then the test is not fooled, it is right. Take a wrong one."
        )
    if np.linalg.norm(d) < 1e-3:
        raise refuse("zero", "The direction d must not be 0: nothing would move.")
    if abs(error @ d) > 1e-8 * np.linalg.norm(error) * np.linalg.norm(d):
        raise refuse(
            "slope",
            f"The remainder has the slope 1, as ⟨∇f − g, d⟩ = {error @ d:.4g} is not 0: the test finds this mistake. "
            "Choose d so that it cannot see the error.",
        )


def _repeats(s: int, l: int) -> int:
    if s < 1:  # what is wrong with an answer is also sought at arguments that no case has
        raise ValueError("s must be at least 1")
    r = 0
    while math.comb(s + r, s) < l:
        r += 1
    return r


def _heron(x: float, n: int) -> float:
    y, dy = 1.0, 0.0
    for _ in range(n):
        y, dy = (y + x / y) / 2, (dy + 1 / y - x * dy / y**2) / 2
    return dy


def _heron_updated(x: float, n: int) -> float:
    y, dy = 1.0, 0.0
    for _ in range(n):
        y = (y + x / y) / 2
        dy = (dy + 1 / y - x * dy / y**2) / 2
    return dy


def _heron_partial(x: float, n: int) -> float:
    y, dy = 1.0, 0.0
    for _ in range(n):
        y, dy = (y + x / y) / 2, (dy + 1 / y) / 2
    return dy


EXERCISES: tuple[Exercise, ...] = (
    Value(
        id="autodiff.1",
        title="A gradient by hand",
        level="warm-up",
        asks="an array of two numbers: the derivatives by x and by y, in this order.",
        hints=(
            "Lines: v₁ = x y, v₂ = exp v₁, v₃ = x/y, f = v₂ + v₃. Go through them backwards.",
            "x and y each get two shares: from v₁, with the adjoint exp(xy), and from v₃.",
        ),
        right=np.array([2 * E2 + 0.5, E2 - 0.25]),
        mistakes=(
            Mistake(
                "chain rule",
                np.array([E2 + 0.5, E2 - 0.25]),
                "The share of v₁ = x y to x has the factor y: exp(xy) by x is y exp(xy).",
            ),
            Mistake(
                "sign", np.array([2 * E2 + 0.5, E2 + 0.25]), "The derivative of x/y by y is −x/y²: a sign is wrong."
            ),
            Mistake(
                "missing share",
                np.array([2 * E2, E2]),
                "Both x and y are used twice. The share from x/y is missing: add it up.",
            ),
            Mistake(
                "missing share",
                np.array([0.5, -0.25]),
                "Both x and y are used twice. The share from exp(xy) is missing.",
            ),
        ),
    ),
    Function(
        id="autodiff.2",
        title="Dual numbers: a quotient",
        level="core",
        asks="a function of (a, b, c, d): an array with the two parts of (a + bε)/(c + dε), for c ≠ 0.",
        hints=(
            "Multiply above and below by c − dε.",
            "(c + dε)(c − dε) = c², as ε² = 0. Then multiply out the numerator.",
        ),
        variables=("a", "b", "c", "d"),
        right=lambda a, b, c, d: np.array([a / c, (b * c - a * d) / c**2]),
        cases=((1.0, 0.0, 2.0, 1.0), (3.0, 1.0, 1.0, 0.0), (1.0, 1.0, -2.0, 3.0)),
        random=lambda rng: tuple(map(float, rng.uniform(0.3, 3, size=4) * rng.choice([-1, 1], size=4))),
        formulas=False,
        mistakes=(
            Mistake(
                "part by part",
                lambda a, b, c, d: np.array([a / c, b / d if d else np.inf]),
                "The ε-part is no quotient of ε-parts: it is the derivative of a quotient.",
            ),
            Mistake(
                "sign",
                lambda a, b, c, d: np.array([a / c, (a * d - b * c) / c**2]),
                "The ε-part has the wrong sign: (bc − ad)/c².",
            ),
            Mistake(
                "sign",
                lambda a, b, c, d: np.array([a / c, (b * c + a * d) / c**2]),
                "The second term has the wrong sign: as c grows, the quotient falls.",
            ),
            Mistake(
                "square",
                lambda a, b, c, d: np.array([a / c, (b * c - a * d) / c]),
                "The numerator is right. The denominator is c², as (c + dε)(c − dε) = c².",
            ),
        ),
    ),
    Function(
        id="autodiff.3",
        title="The adjoint of a matrix product",
        level="core",
        asks="a function of (A, X, Y_bar): the adjoint of A in Y = A X, when Y has the adjoint Y_bar.",
        hints=(
            "The adjoint has the shape of A. Which product of Y_bar and X or Xᵀ has this shape?",
            "⟨Ȳ, Ȧ X⟩ = ⟨Ȳ Xᵀ, Ȧ⟩, where ⟨U, V⟩ is the sum of all products of entries.",
        ),
        variables=("A", "X", "Y_bar"),
        right=lambda A, X, Y_bar: Y_bar @ X.T,
        cases=(
            (
                np.array([[1.0, 2.0], [3.0, 4.0]]),
                np.array([[0.0, 1.0], [2.0, -1.0]]),
                np.array([[1.0, 0.5], [3.0, 2.0]]),
            ),
            (np.ones((2, 3)), np.arange(6.0).reshape(3, 2), np.array([[1.0, 2.0], [3.0, 5.0]])),
        ),
        random=lambda rng: (rng.normal(size=(2, 3)), rng.normal(size=(3, 4)), rng.normal(size=(2, 4))),
        formulas=False,
        mistakes=(
            Mistake(
                "other argument",
                lambda A, X, Y_bar: A.T @ Y_bar,
                "This is the adjoint of X. That of A has the shape of A.",
            ),
            Mistake(
                "entry by entry",
                lambda A, X, Y_bar: Y_bar * A if Y_bar.shape == A.shape else A,
                "The product is one of matrices: an entry of A acts on a whole row of Y.",
            ),
        ),
    ),
    Function(
        id="autodiff.4",
        title="Softmax and logarithm, in one",
        level="core",
        asks="a function of (z, k): the gradient in z of −ln(exp(z_k) / Σ exp(z_j)), an array like z. It must be finite for z = (800, 0).",
        hints=(
            "Write the loss as ln Σ exp(z_j) − z_k and differentiate both terms.",
            "The first gives the softmax of z, the second −1 at place k. For large z subtract the largest z before taking exp.",
        ),
        variables=("z", "k"),
        right=lambda z, k: _softmax(z) - _one_hot(z, k),
        cases=(
            (np.array([0.0, 0.0]), 0),
            (np.array([1.0, 2.0, 3.0]), 2),
            (np.array([800.0, 0.0]), 1),
            (np.array([-800.0, -801.0, 3.0]), 0),
        ),
        random=lambda rng: (rng.normal(size=4), int(rng.integers(0, 4))),
        formulas=False,
        terms={"softmax(z)": lambda z, k: _softmax(z), "−1 at place k": lambda z, k: -_one_hot(z, k)},
        mistakes=(
            Mistake(
                "overflow",
                lambda z, k: np.exp(z) / np.exp(z).sum() - _one_hot(z, k),
                "As algebra this is right. For z = 800, exp overflows, and ∞/∞ is NaN: subtract the largest z first.",
            ),
            Mistake(
                "one entry",
                lambda z, k: (_softmax(z) - 1) * _one_hot(z, k),
                "This is the derivative by z_k alone. The other z_j stand in the sum, too.",
            ),
        ),
    ),
    Function(
        id="autodiff.5",
        title="A better difference",
        level="core",
        asks="a function of (f, x, h): the combination of the central differences C_h and C_2h in which the h²-terms cancel.",
        hints=(
            "C_h = f' + c h² + O(h⁴). What is C_2h?",
            "C_2h = f' + 4c h² + O(h⁴). Find a and b with a + b = 1 and a + 4b = 0.",
        ),
        variables=("f", "x", "h"),
        right=lambda f, x, h: (4 * _central(f, x, h) - _central(f, x, 2 * h)) / 3,
        cases=((np.sin, 0.5, 0.1), (np.exp, 1.0, 0.2), (np.tanh, -0.3, 0.05)),
        random=lambda rng: (
            (np.sin, np.exp, np.arctan)[int(rng.integers(3))],
            float(rng.normal()),
            float(rng.uniform(0.05, 0.4)),
        ),
        formulas=False,
        rtol=1e-10,
        mistakes=(
            Mistake(
                "order",
                _central,
                "This is C_h alone, with an error like h². Combine it with C_2h.",
            ),
            Mistake(
                "weights",
                lambda f, x, h: 2 * _central(f, x, h) - _central(f, x, 2 * h),
                "These weights cancel a term in h. The first error of a central difference is in h²: with 2h it is four times as large.",
            ),
            Mistake(
                "exchanged",
                lambda f, x, h: (4 * _central(f, x, 2 * h) - _central(f, x, h)) / 3,
                "The weights are at the wrong differences: that with h is the better one and gets the 4.",
            ),
            Mistake(
                "weights",
                lambda f, x, h: (4 * _central(f, x, h) + _central(f, x, 2 * h)) / 5,
                "The weights add up to 1, but the h²-terms do not cancel: one weight must be negative.",
            ),
            Mistake(
                "divisor",
                lambda f, x, h: (4 * _central(f, x, h) - 2 * _central(f, x, 2 * h)) / 3,
                "C_2h is (f(x + 2h) − f(x − 2h))/(4h): the two points are 4h apart, not 2h.",
            ),
        ),
    ),
    Witness(
        id="autodiff.6",
        title="A wrong gradient that passes",
        level="core",
        asks="a pair (g, d): a g that is off by at least 0.1 from the gradient of w₁² + 3w₁w₂ at (1, 2), and a direction d ≠ 0 in which the Taylor "
        "remainder still falls like h².",
        hints=(
            "Compute the gradient. The theorem says when the remainder has a term in h.",
            "The test in direction d sees ⟨∇f − g, d⟩ only. Choose an error, and a d at a right angle to it.",
        ),
        test=_fooled_test,
        says="for the error is at a right angle to the direction. A random direction would have found it",
    ),
    Function(
        id="autodiff.7",
        title="Through an equation",
        level="core",
        asks="a function of (x, p), or a formula: dx/dp, where x is the solution of x⁵ + p x = 1, given for you.",
        hints=(
            "x is a function of p. Differentiate both sides of the equation by p.",
            "5x⁴ ẋ + x + p ẋ = 0. Solve for ẋ.",
        ),
        variables=("x", "p"),
        right=lambda x, p: -x / (5 * x**4 + p),
        cases=((1.0, 0.0), (0.5, 1.9375), (0.8, 0.8404)),
        random=lambda rng: (lambda x: (x, (1 - x**5) / x))(float(rng.uniform(0.2, 0.99))),
        mistakes=(
            Mistake(
                "sign",
                lambda x, p: x / (5 * x**4 + p),
                "The sign is wrong: as p grows, x must fall to keep the sum at 1.",
            ),
            Mistake(
                "ignored",
                lambda x, p: -x / (5 * x**4),
                "The term p x has two shares: x from p, and p ẋ from x. The second is missing.",
            ),
            Mistake(
                "other derivative",
                lambda x, p: 1 / (5 * x**4 + p),
                "This is the derivative by the right side of the equation, the 1. By p there is a factor −x.",
            ),
        ),
    ),
    Function(
        id="autodiff.8",
        title="Room for three states",
        level="core",
        asks="a function of (s, l): the smallest r such that a chain of l steps can be reversed with s snapshots and no step computed more than r times.",
        hints=(
            "The theorem gives the longest chain for s and r. Try r = 0, 1, 2, … (`math.comb`).",
            "The smallest r with C(s + r, s) ≥ l. A chain of one step needs no repetition: r = 0.",
        ),
        variables=("s", "l"),
        right=_repeats,
        cases=((3, 10), (3, 11), (1, 5), (5, 3003), (2, 1), (1, 1)),
        random=lambda rng: (int(rng.integers(1, 8)), int(rng.integers(1, 2000))),
        formulas=False,
        mistakes=(
            Mistake(
                "strict",
                lambda s, l: next(r for r in range(10**6) if math.comb(s + r, s) > l),
                "A chain of exactly C(s + r, s) steps can be reversed with r: at least l, not more than l.",
            ),
            Mistake(
                "division",
                lambda s, l: -(-l // s) - 1,
                "This would be one snapshot every so many steps. Nested schedules use the places again once they are free.",
            ),
        ),
    ),
    Function(
        id="autodiff.9",
        title="The derivative of the program, not of the limit",
        level="hard",
        asks="a function of (x, n): the derivative by x of the number that Heron's program returns after n rounds, from y = 1.",
        hints=(
            "Carry the tangent of y along: y = 1 does not depend on x, so ẏ = 0 at the start.",
            "A round y ← (y + x/y)/2 has ẏ ← (ẏ + 1/y − x ẏ/y²)/2. On the right stands the old y, twice.",
        ),
        variables=("x", "n"),
        right=_heron,
        cases=((2.0, 0), (2.0, 1), (2.0, 2), (9.0, 3), (0.25, 6)),
        random=lambda rng: (float(rng.uniform(0.3, 12)), int(rng.integers(1, 7))),
        formulas=False,
        mistakes=(
            Mistake(
                "limit",
                lambda x, n: 1 / (2 * math.sqrt(x)),
                "This is the derivative of √x, to which the program tends. Asked is the derivative of what it returns after n rounds; for n = 0 "
                "that is 0.",
            ),
            Mistake(
                "order",
                _heron_updated,
                "The tangent's line uses the new y. It needs the y from before the round: compute both at once, or the tangent first.",
            ),
            Mistake(
                "missing share",
                _heron_partial,
                "x enters a round twice: by itself, and through y in the denominator. The share −x ẏ/y² is missing.",
            ),
        ),
    ),
)
