"""The exercises of the chapter on activation functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.activations import softsign
from derivable.exercises.exercise import Exercise, Function, Mistake, Value, Witness, array_of, refuse

__all__ = ["EXERCISES"]


def _log_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def _chain_slope(x: float, w: float, n: int) -> float:
    c = sum(w**-k for k in range(n))
    return w**-n / (w**-n + c * abs(x)) ** 2


def _chain_slope_with(c: Any) -> Any:
    return lambda x, w, n: w**-n / (w**-n + c(w, n) * abs(x)) ** 2


def _skewed_sample(answer: Any) -> None:
    x = array_of(answer, "The sample", (None,))
    if not 2 <= x.size <= 1000:
        raise refuse("size", f"The sample must have between 2 and 1000 numbers; yours has {x.size}.")
    if abs(x.mean()) > 1e-9 * max(1.0, np.abs(x).max()):
        raise refuse("mean", f"The mean of your sample must be 0; it is {x.mean():.6g}.")
    mean = float(np.mean(softsign(x)))
    if mean > 0.05:
        return
    if np.allclose(np.sort(x), -np.sort(x)[::-1]):
        raise refuse(
            "symmetric",
            "Your sample is symmetric about 0: then the values of an odd function cancel, and their mean is 0. "
            "Let few numbers on one side balance many on the other.",
        )
    if mean < -0.05:
        raise refuse("sign", f"The mean of softsign is {mean:.4f}: below 0. Turn your sample round.")
    raise refuse(
        "small", f"The mean of softsign is only {mean:.4f}; it must exceed 0.05. Make the sample more lopsided."
    )


EXERCISES: tuple[Exercise, ...] = (
    Function(
        id="activations.1",
        title="The arctangent as an activation",
        level="warm-up",
        asks="a function of x, or a formula: the derivative.",
        hints=(
            "The derivative of arctan t is 1/(1 + t²). Here t is a function of x.",
            "Chain rule: (2/π) · 1/(1 + (πx/2)²) · (derivative of πx/2).",
        ),
        variables=("x",),
        right=lambda x: 1 / (1 + (np.pi * x / 2) ** 2),
        cases=((0.0,), (1.0,), (-2.0,), (0.3,)),
        random=lambda rng: (float(rng.normal(scale=2)),),
        mistakes=(
            Mistake(
                "inner",
                lambda x: 1 / (1 + x**2),
                "The inner derivative is there, but what is squared is the argument of arctan, πx/2, not x.",
            ),
            Mistake(
                "chain rule",
                lambda x: 2 / np.pi / (1 + (np.pi * x / 2) ** 2),
                "The chain rule is missing: multiply by the derivative of πx/2, which is π/2.",
            ),
        ),
    ),
    Function(
        id="activations.2",
        title="Softplus, backwards",
        level="core",
        asks="a function of y > 0, or a formula: the x with softplus(x) = y, also for y = 800 and y = 1e-12.",
        hints=(
            "Solve y = ln(1 + eˣ) for x first. Then look at the result for large y and for small y.",
            "x = ln(eʸ − 1) overflows. Take eʸ out of the logarithm: what is left is 1 − e⁻ʸ, and NumPy has expm1.",
        ),
        variables=("y",),
        right=lambda y: y + np.log(-np.expm1(-y)),
        cases=((1.0,), (0.5,), (float(np.log(2)),), (40.0,), (800.0,), (1e-12,)),
        random=lambda rng: (float(10 ** rng.uniform(-7, 2)),),
        terms={"y": lambda y: y, "ln(1 − e⁻ʸ)": lambda y: np.log(-np.expm1(-y))},
        mistakes=(
            Mistake(
                "overflow",
                lambda y: np.log(np.exp(y) - 1),
                "As algebra this is right. As a program it fails at both ends: eʸ overflows for y = 800, and for y = 1e-12 the "
                "subtraction eʸ − 1 loses the digits.",
            ),
            Mistake("sign", lambda y: np.logaddexp(0, y), "This is softplus itself: the 1 changes its sign."),
            Mistake(
                "sign",
                lambda y: np.log(np.exp(y) + 1),
                "This is softplus itself, and it overflows: the 1 changes its sign.",
            ),
            Mistake(
                "cancellation",
                lambda y: y + np.log(1 - np.exp(-y)),
                "Right for large y. For small y, 1 − e⁻ʸ loses its digits: write −expm1(−y).",
            ),
        ),
    ),
    Function(
        id="activations.3",
        title="Where the sigmoid goes flat",
        level="core",
        asks="a function of eps (0 < eps ≤ 1/4), or a formula: the x ≥ 0 where the sigmoid's derivative is eps.",
        hints=(
            "Write the sigmoid's derivative with a hyperbolic cosine, as the chapter does for tanh.",
            "σ'(x) = z/(1 + z)² with z = e⁻ˣ. Divide above and below by z: the denominator is (2 cosh(x/2))².",
        ),
        variables=("eps",),
        right=lambda eps: 2 * np.arccosh(1 / (2 * np.sqrt(eps))),
        cases=((0.25,), (0.1,), (0.01,), (1e-4,)),
        random=lambda rng: (float(0.25 * 10 ** rng.uniform(-6, 0)),),
        rtol=1e-7,
        atol=1e-7,
        mistakes=(
            Mistake(
                "tanh",
                lambda eps: np.arccosh(1 / np.sqrt(eps)),
                "This is the level of tanh. The largest derivative of the sigmoid is 1/4, so at eps = 1/4 x must be 0.",
            ),
            Mistake(
                "argument",
                lambda eps: np.arccosh(1 / (2 * np.sqrt(eps))),
                "This is x/2: σ'(x) = 1/(2 cosh(x/2))², so the arccosh gives half of x.",
            ),
        ),
    ),
    Function(
        id="activations.4",
        title="Fix the bug: the logarithm of the sigmoid",
        level="core",
        asks="a function of an array x (float32 or float64): ln σ(x), finite for every finite x, of the type of x.",
        hints=(
            "ln σ(x) is minus a softplus. At which argument?",
            "−softplus(−x) = −max(−x, 0) − ln(1 + e^(−|x|)). And −max(−x, 0) is min(x, 0).",
        ),
        variables=("x",),
        right=_log_sigmoid,
        cases=(
            (np.array([0.0, 1.0, -1.0]),),
            (np.array([-800.0, 800.0, -40.0, 40.0]),),
            (np.array([-2.0, 0.5], dtype=np.float32),),
        ),
        random=lambda rng: (rng.normal(scale=10, size=3),),
        formulas=True,
        keeps_type=True,
        rtol=1e-6,
        atol=1e-300,
        mistakes=(
            Mistake(
                "overflow",
                lambda x: np.log(1 / (1 + np.exp(-x))),
                "This is the function of the page: at x = −800 it takes the logarithm of 0, and at 40 the 1 swallows e⁻ˣ.",
            ),
            Mistake(
                "overflow",
                lambda x: -np.log1p(np.exp(-x)),
                "Right for x ≥ 0. For x = −800, e⁻ˣ overflows: use e^(−|x|), and put back what that takes away.",
            ),
            Mistake(
                "sign",
                lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
                "This is softplus(x) = −ln σ(−x): both signs, in front and inside, are the other way round.",
            ),
            Mistake(
                "sign",
                lambda x: np.maximum(x, 0) - np.log1p(np.exp(-np.abs(x))),
                "A logarithm of a number below 1 is negative. For large x, ln σ(x) tends to 0: min, not max.",
            ),
        ),
    ),
    Witness(
        id="activations.5",
        title="Odd, and yet not of mean zero",
        level="core",
        asks="an array of 2 to 1000 numbers with mean 0 on which softsign has a mean of more than 0.05.",
        hints=(
            "The claim holds for a sample that is symmetric about 0. Where does its proof use that?",
            "Softsign shrinks large numbers most. So balance one large negative number by several small positive ones.",
        ),
        test=_skewed_sample,
        says="for the mean of the sample is 0 and that of its values is not",
    ),
    Function(
        id="activations.6",
        title="The chain of softsigns, with a weight",
        level="hard",
        asks="a function of (x, w, n): the slope of n softsigns behind one another, each applied to w times the last value.",
        hints=(
            "Follow 1/|x| instead of x: what does one layer do to it?",
            "With u = 1/|x|, a layer gives u/w + 1. After n layers: u/wⁿ + c with c = 1 + 1/w + … + 1/wⁿ⁻¹.",
            "So x_n = x/(w⁻ⁿ + c|x|). Its derivative is w⁻ⁿ/(w⁻ⁿ + c|x|)². For w = 1 the sum c is n: do not divide by 1 − 1/w there.",
        ),
        variables=("x", "w", "n"),
        right=_chain_slope,
        cases=((0.0, 1.0, 3), (2.0, 1.0, 20), (-0.5, 1.0, 1), (1.0, 2.0, 1), (1.0, 2.0, 5), (-3.0, 0.5, 4)),
        random=lambda rng: (float(rng.normal()), float(rng.uniform(0.4, 2.5)), int(rng.integers(1, 12))),
        formulas=False,
        rtol=1e-8,
        mistakes=(
            Mistake(
                "weight",
                lambda x, w, n: 1 / (1 + n * abs(x)) ** 2,
                "This is the chapter's chain, with w = 1. Each layer also multiplies by w, before softsign.",
            ),
            Mistake(
                "sum",
                _chain_slope_with(lambda w, n: n),
                "Each layer adds 1 to 1/|x|, but later layers divide that by w: the sum is n for w = 1 only.",
            ),
            Mistake(
                "power",
                _chain_slope_with(lambda w, n: sum(w**k for k in range(n))),
                "The sum runs over powers of 1/w, not of w: 1/|x| is divided by w in each layer.",
            ),
            Mistake(
                "off by one",
                _chain_slope_with(lambda w, n: sum(w**-k for k in range(1, n + 1))),
                "The sum starts at w⁰: the last layer adds its 1 after the division by w.",
            ),
            Mistake(
                "off by one",
                _chain_slope_with(lambda w, n: sum(w**-k for k in range(n + 1))),
                "The sum has one term too many: n layers give 1 + 1/w + … + 1/wⁿ⁻¹.",
            ),
            Mistake(
                "factor",
                lambda x, w, n: 1 / (w**-n + sum(w**-k for k in range(n)) * abs(x)) ** 2,
                "The numerator is missing: at x = 0 the slope is that of n multiplications by w, which is wⁿ.",
            ),
        ),
    ),
    Function(
        id="activations.7",
        title="A gain for leaky relu",
        level="core",
        asks="a function of alpha, or a formula: the gain c > 0 that keeps the mean square, E[leaky(cX)²] = 1.",
        hints=(
            "A normal X is positive half of the time, and leaky relu of cX is then cX. What is it in the other half?",
            "E[leaky(cX)²] = c² (½ E X² + ½ α² E X²), as each half of the normal distribution has half of the square.",
        ),
        variables=("alpha",),
        right=lambda alpha: np.sqrt(2 / (1 + alpha**2)),
        cases=((0.0,), (1.0,), (0.01,), (0.5,)),
        random=lambda rng: (float(rng.uniform(0, 1)),),
        mistakes=(
            Mistake(
                "ignored", lambda alpha: np.sqrt(2.0), "This is relu's gain. The negative half counts too, with α²."
            ),
            Mistake(
                "power",
                lambda alpha: np.sqrt(2 / (1 + alpha)),
                "The slope α stands under a square: the negative half has α², not α, of the mean square.",
            ),
            Mistake(
                "reciprocal",
                lambda alpha: np.sqrt((1 + alpha**2) / 2),
                "This is what leaky relu does to the root of the mean square. The gain has to undo it.",
            ),
        ),
    ),
    Value(
        id="activations.8",
        title="The bottom of silu",
        level="hard",
        asks="a number, to ten digits: the x at which silu is smallest.",
        hints=(
            "Where silu' = σ(x)(1 + x(1 − σ(x))) is 0, the bracket is 0. Write 1 − σ(x) as σ(−x).",
            "1 + x σ(−x) = 0 means 1 + eˣ = −x. With t = −x − 1 that is t eᵗ = 1/e. Solve it by bisection or Newton's method.",
        ),
        right=-1.2784645427610738,
        rtol=5e-10,
        mistakes=(
            Mistake("value", -0.2784645427610738, "This is how low silu gets. Asked is where: the x."),
            Mistake("sign", 0.2784645427610738, "This is t = −x − 1, the solution of t eᵗ = 1/e. Go back to x."),
            Mistake("other function", -0.7517915246935645, "This is where gelu is smallest. Asked is silu."),
        ),
    ),
)
