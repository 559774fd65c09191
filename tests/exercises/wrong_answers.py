"""Wrong answers that people give, beside those that an exercise itself declares, with what must be said to each.

For each exercise: the answer, the kind of mistake that must be found, and a part of the message.
"""

import numpy as np

import derivable as dv

WRONG = {
    "activations.1": [
        ("1 / (1 + x**2)", "inner", "argument of arctan"),
        ("-1 / (1 + (pi*x/2)**2)", "sign", "sign is wrong"),
        ("1 + (pi*x/2)**2", "reciprocal", "turn the fraction over"),
        ("pi / 2 / (1 + (pi*x/2)**2)", "factor", "1/2·π times"),
    ],
    "activations.2": [
        (lambda y: np.log(np.exp(y) - 1), "overflow", "fails at both ends"),
        (lambda y: np.log(np.expm1(y)), "not finite", "overflow"),
        (lambda y: float(dv.softplus(y)), "sign", "softplus itself"),
        ("y - log(-expm1(-y))", "terms", "sign of the term ln(1 − e⁻ʸ)"),
    ],
    "activations.3": [
        ("arccosh(1 / sqrt(eps))", "tanh", "level of tanh"),
        ("arccosh(1 / (2 * sqrt(eps)))", "argument", "half of x"),
        ("1 / sqrt(eps) - 1", "value", "differs"),
        ("-2 * arccosh(1 / (2 * sqrt(eps)))", "sign", "sign"),
    ],
    "activations.4": [
        (lambda x: np.log(1 / (1 + np.exp(-x))), "overflow", "function of the page"),
        (lambda x: dv.softplus(-x), "sign", "sign is wrong"),
        (lambda x: np.log(dv.sigmoid(x)), "overflow", "logarithm of 0"),
        (
            lambda x: np.float64(1) * (np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))).astype(np.float64),
            "dtype",
            "float64",
        ),
        (lambda x: np.array([-float(dv.softplus(-v)) for v in x]), "dtype", "float32"),
    ],
    "activations.5": [
        ([1.0, -1.0], "symmetric", "symmetric about 0"),
        ([1.0, 1.0], "mean", "must be 0"),
        ([-1.0] * 4 + [4.0], "sign", "Turn"),
        ([0.1, 0.1, 0.1, -0.3], "small", "lopsided"),
        ("x", "kind", "not text"),
    ],
    "activations.6": [
        (lambda x, w, n: 1 / (1 + n * abs(x)) ** 2, "weight", "w = 1"),
        (lambda x, w, n: w**-n / (w**-n + abs(x) * (1 - w**-n) / (1 - 1 / w)) ** 2, "error", "ZeroDivisionError"),
        (lambda x, w, n: w**-n / (w**-n + n * abs(x)) ** 2, "sum", "w = 1 only"),
    ],
    "activations.7": [
        ("sqrt(2)", "ignored", "relu's gain"),
        ("2 / (1 + alpha**2)", "power", "root is missing"),
        ("sqrt(1 / (1 + alpha**2))", "factor", "missing"),
    ],
    "activations.8": [
        (-0.2784645427610738, "value", "how low"),
        (-1.27846, "precision", "all digits"),
        (1.2784645427610738, "sign", "sign is wrong"),
    ],
    "descent.1": [
        ("w - g / lam", "ignored", "without weight decay"),
        ("(lam * w + g) / (lam + c)", "terms", "sign of the term"),
        ("(w - g) / (lam + c)", "terms|value|special case", ""),
        (lambda w, g, lam, c: (lam * w - g).sum() / (lam + c), "reduced", "sum"),
    ],
    "descent.2": [
        ("ceil(log(eps) / log(1 - eta * L))", "sign", "side to side"),
        ("ceil(log(eps) / log(abs(1 - eta * L)) - 1e-9) + 1", "off by one", "too large by 1"),
        ("log(eps) / log(abs(1 - eta * L))", "rounded", "whole"),
    ],
    "descent.3": [
        (lambda A, g: (g @ A @ g) / (g @ g), "reciprocal", "curvature"),
        (lambda A, g: 2 * (g @ g) / (g @ A @ g), "factor", "2 times"),
        (lambda A, g: (g @ g) / (g @ A), "shape|reduced|not reduced", ""),
        ("g", "kind", "Python function"),
    ],
    "descent.4": [
        ("1 / sqrt(4 * eta)", "half", "may be negative"),
        ("sqrt(2 * eta)", "reciprocal", "turn the fraction over"),
        ("1 / (2 * eta)", "power", "root"),
        ("-1 / sqrt(2 * eta)", "sign", "sign"),
    ],
    "descent.5": [
        ((np.diag([1.0, 10.0]), [5.0, 1.0]), "falls", "lowers f"),
        ((np.diag([1.0, 1000.0]), [0.0, 1e-4]), "small", "at least 1"),
        (([[1.0, 2.0], [0.0, 1.0]], [1.0, 1.0]), "symmetry", "not symmetric"),
        ((np.diag([1.0, -1.0]), [5.0, 1.0]), "convexity", "eigenvalue"),
        (np.eye(2), "kind|shape", ""),
    ],
    "descent.6": [
        ("w - g / lam", "ignored", "without the box"),
        ("clip(w - lam * g, lo, hi)", "factor", "not λg"),
        ("clip(w + g / lam, lo, hi)", "argument", "−g in place of g"),
        ("clip(w, lo, hi) - g / lam", "order", "First the step"),
    ],
    "descent.7": [
        (lambda f, gradient, w, eta: eta, "value|special case|entries", "right"),
        (lambda f, gradient, w: 1.0, "arguments", "takes"),
        (lambda gradient, f, w, eta: 1.0, "exchanged", "in this order"),
    ],
    "descent.8": [
        ("(G**2 + delta**2) / (2 * L)", "terms", "sign of the term −δ²"),
        ("(G - delta)**2 / (2 * L)", "triangle", "complete the square"),
        ("G**2 / (2 * L)", "terms", "missing"),
        ("(G**2 - delta**2) / L", "factor", "2 times"),
        ("(G**2 - delta**2) / 2", "factor", "L times"),
    ],
    "descent.9": [
        ("((L - mu) / (L + mu))**2", "equal steps", "two equal steps"),
        ("2 * ((L + mu) / (L - mu))**2 - 1", "reciprocal", "turn the fraction over"),
        ("1 / (2 * ((L + mu) / (L - mu))**2 + 1)", "value", "differs"),
    ],
}
