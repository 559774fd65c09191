"""Wrong answers that people give, beside those that an exercise itself declares, with what must be said to each.

For each exercise: the answer, the kind of mistake that must be found, and a part of the message.
"""

import math

import numpy as np

import derivable as dv
from derivable.exercises.checking import EXERCISES


def nesterov(gradient, w1, L, T):
    return EXERCISES["convergence.8"].right(gradient, w1, L, T)


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def one_hot(z, k):
    return (np.arange(len(z)) == k) * 1.0


def richardson(f, x, h):
    return EXERCISES["autodiff.5"].right(f, x, h)


def cyclic(x, h, n):
    return np.fft.irfft(np.fft.rfft(x, n) * np.fft.rfft(h, n), n)


def epoch(w, X, y, eta, b, divisor):
    for start in range(0, len(y), b):
        rows, targets = X[start : start + b], y[start : start + b]
        w = w - eta * rows.T @ (rows @ w - targets) / divisor(len(targets))
    return w


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
        ("clip(w - g / lam, lo, 1)", "ignored", "depend on hi"),
        ("clip((w - g) / lam, lo, hi)", "entries", "yours is"),
        ("maximum(w - g / lam, lo)", "one side", "upper one"),
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
        ("G * (G - delta) / (2 * L)", "special case", "only where delta = 0"),
        ("(G**2 - delta**2) / L", "factor", "2 times"),
        ("(G**2 - delta**2) / 2", "factor", "L times"),
    ],
    "descent.9": [
        ("((L - mu) / (L + mu))**2", "equal steps", "two equal steps"),
        ("2 * ((L + mu) / (L - mu))**2 - 1", "reciprocal", "turn the fraction over"),
        ("1 / (2 * ((L + mu) / (L - mu))**2 + 1)", "value", "differs"),
    ],
    "convergence.1": [
        ("(B * rho / eps)**2", "rounded", "whole"),
        ("ceil(B * rho / eps)", "square", "four times"),
        ("ceil((B * rho / eps)**2 - 1e-9) - 1", "off by one", "too small by 1"),
        ("ceil((rho / eps)**2 - 1e-9)", "ignored|special case", "B"),
    ],
    "convergence.2": [
        (lambda w1, V, eta, s: np.sum((w1 - s) ** 2) / (2 * eta) + eta / 2 * np.sum(V**2), "inequality", "slack"),
        (
            lambda w1, V, eta, s: (
                (np.sum((w1 - s) ** 2) + np.sum((w1 - eta * V.sum(0) - s) ** 2)) / (2 * eta) + eta / 2 * np.sum(V**2)
            ),
            "terms",
            "sign of the term −‖w_{T+1} − w*‖²/(2η)",
        ),
        (
            lambda w1, V, eta, s: (
                (np.sum((w1 - s) ** 2) - np.sum((w1 - eta * V.sum(0) - s) ** 2)) / (2 * eta) + eta * np.sum(V**2)
            ),
            "terms",
            "the term (η/2) Σ‖vₜ‖² stands there 2 times",
        ),
        (lambda w1, V, eta, s: (w1 - s) @ V.T, "points|not reduced|shape", ""),
    ],
    "convergence.3": [
        (lambda w, v, s: (w - s) @ v / (v @ v), "half", "closest"),
        (lambda w, v, s: 2 * (s - w) @ v / (v @ v), "sign", "sign"),
        (lambda w, v, s: (v @ v) / (2 * (w - s) @ v), "reciprocal", "turn the fraction over"),
        (lambda w, v, s: 2 * (w - s) @ v / np.sqrt(v @ v), "norm", "square of the norm"),
    ],
    "convergence.4": [
        (lambda t: 1 / t, "arrives", "After 1 steps"),
        (lambda t: 0.01 / t, "slow", "faster than 1/t"),
        (lambda t: 1e-5, "slow", "arrives later"),
        (lambda t: -0.1 / t**2, "sign", "positive"),
        (lambda t: 0.1 if t % 2 else 0.01, "grows", "must not grow"),
        (lambda t: 0.499 if t == 1 else 1e-3 * t**-1.2, "arrives|arrives later", ""),
        ("1/t", "kind", "function of t"),
    ],
    "convergence.5": [
        (lambda w, t: np.sign(w) * np.maximum(np.abs(w) - t, 0), "entry by entry", "each entry"),
        (lambda w, t: w - t * w / np.linalg.norm(w), "not finite", "NaN at index 0"),
        (lambda w, t: w / (1 + t), "squared", "square"),
        (lambda w, t: w * max(0.0, 1 + t / max(np.linalg.norm(w), 1e-300)), "argument|special case|entries", ""),
    ],
    "convergence.6": [
        ("3/4 * eta + 1 / sqrt(8)", "angle", "theorem's step only"),
        ("eta / 2 + 1 / (4 * eta)", "average", "average of two points"),
        ("eta + 1 / (4 * eta)", "terms", "stands there 2 times"),
        ("eta - 1 / (8 * eta)", "terms", "sign of the term 1/(8η)"),
    ],
    "convergence.7": [
        ("1 - sqrt(eta * a)", "root", "double root itself"),
        ("(1 + sqrt(eta * a))**2", "other end", "other solution"),
        ("(1 - eta * a)**2", "no root", "4β"),
        ("1 - (1 - sqrt(eta * a))**2", "complement", "1 minus"),
    ],
    "convergence.8": [
        (lambda gradient, w1, L, T: nesterov(gradient, w1, L, T - 1), "off by one", "T − 1"),
        (lambda gradient, w1, L, T: nesterov(gradient, w1, 1 / L, T), "argument|value|entries|special case", ""),
        (lambda gradient, w1, L: w1, "arguments", "takes"),
    ],
    "autodiff.1": [
        ([7.389056098930650 + 0.5, 7.389056098930650 - 0.25], "chain rule", "factor y"),
        ([7.389056098930650 - 0.25, 2 * 7.389056098930650 + 0.5], "reversed", "reverse order"),
        ([15.278112197861, -7.1390560989], "border|entries|sign", ""),
        (15.278112197861, "shape|reduced", "shape"),
        ([15.28, 7.14], "precision", "2 places"),
    ],
    "autodiff.2": [
        (lambda a, b, c, d: np.array([a / c, (a * d - b * c) / c**2]), "sign", "wrong sign"),
        (lambda a, b, c, d: a / c, "reduced", "index 0 alone"),
        (lambda a, b, c, d: np.array([(b * c - a * d) / c**2, a / c]), "reversed", "reverse order"),
        (lambda a, b, c, d: np.array([a / c, b / c]), "ignored", "does not depend on d"),
    ],
    "autodiff.3": [
        (lambda A, X, Y_bar: X @ Y_bar.T, "transposed", "transposed"),
        (lambda A, X, Y_bar: A.T @ Y_bar, "other argument", "adjoint of X"),
        (lambda A, X, Y_bar: Y_bar @ X, "error", "ValueError"),
        (lambda A, X, Y_bar: -Y_bar @ X.T, "sign", "sign"),
    ],
    "autodiff.4": [
        (lambda z, k: one_hot(z, k) - softmax(z), "sign", "sign is wrong"),
        (lambda z, k: softmax(z), "terms", "the term −1 at place k is missing"),
        (lambda z, k: np.exp(z) / np.exp(z).sum() - one_hot(z, k), "overflow", "largest z"),
        (lambda z, k: softmax(z) - one_hot(z, k - 1 if k else len(z) - 1), "off by one|special case|entries", ""),
        (lambda z, k: softmax(z)[k] - 1, "shape|reduced", "one number"),
    ],
    "autodiff.5": [
        (lambda f, x, h: (f(x + h) - f(x - h)) / (2 * h), "order", "C_h alone"),
        (lambda f, x, h: (f(x + h) - f(x)) / h, "precision|special case|value", ""),
        (lambda f, x, h: richardson(f, x, h / 2), "argument", "h/2 in place of h"),
        (lambda f, x, h: -richardson(f, x, h), "sign", "sign"),
    ],
    "autodiff.6": [
        (([8.0, 3.0], [1.0, 1.0]), "right", "not fooled"),
        (([8.0, 4.0], [1.0, 1.0]), "slope", "slope 1"),
        (([8.0, 4.0], [0.0, 0.0]), "zero", "must not be 0"),
        ([8.0, 4.0], "shape", "is one number; asked is (2,)"),
        (([8.05, 3.0], [0.0, 1.0]), "right", "or nearly"),
    ],
    "autodiff.7": [
        ("x / (5 * x**4 + p)", "sign", "x must fall"),
        ("-x / (5 * x**4)", "ignored", "second is missing"),
        ("-(5 * x**4 + p) / x", "reciprocal", "turn the fraction over"),
        ("-1 / (5 * x**4 + p)", "factor", "factor x"),
    ],
    "autodiff.8": [
        (lambda s, l: next(r for r in range(10**6) if math.comb(s + r, s) > l), "strict", "at least l"),
        (lambda s, l: l - 1, "ignored", "does not depend on s"),
        (lambda s, l: 1 + next(r for r in range(10**6) if math.comb(s + r, s) >= l), "off by one", "too large by 1"),
        ("l", "kind", "not a formula"),
    ],
    "autodiff.9": [
        (lambda x, n: 0.5 / math.sqrt(x), "limit", "n = 0"),
        (lambda x, n: EXERCISES["autodiff.9"].right(x, n + 1), "off by one", "n + 1"),
        (lambda x, n: 2 * EXERCISES["autodiff.9"].right(x, n), "factor", "2 times"),
    ],
    "convolution.1": [
        ([-1, -1, -2, 4], "flip", "correlation"),
        ([1, 2], "mode", "`valid`"),
        ([4, -2, -1, -1], "reversed|sign|order|value|entries", ""),
        ([-4, 2, 1, 1], "reversed", "reverse order"),
        ([1, 3, 6, 4], "value|entries|border", ""),
    ],
    "convolution.2": [
        (lambda K, s, k: 1 + k * (K - 1), "stride", "stride 1"),
        (lambda K, s, k: 1 + (K - 1) * (s**k - 1) / (s - 1), "error", "ZeroDivisionError"),
        (lambda K, s, k: 1 + (K - 1) * sum(s**i for i in range(k + 1)), "off by one", "k + 1"),
        (lambda K, s, k: (K - 1) * sum(s**i for i in range(k)), "off by one", "too small by 1"),
    ],
    "convolution.3": [
        (lambda x, h: np.convolve(x, h, "valid"), "flip", "flips the kernel"),
        (lambda x, h: np.correlate(x, h, "valid")[:-1], "off by one", "add the last"),
        (lambda x, h: np.correlate(x, h, "valid")[::-1], "reversed", "reverse order"),
        (lambda x, h: np.correlate(x, h, "full"), "mode", "beyond x"),
    ],
    "convolution.4": [
        (lambda x, h: cyclic(x, h, len(x)), "cyclic", "zeros first"),
        (lambda x, h: cyclic(x, h, len(x) + len(h)), "too long", "n + m − 1"),
        (lambda x, h: np.correlate(x, h, "full"), "argument", "h reversed"),
        (lambda x, h: np.convolve(x, h).astype(complex), "complex", "real"),
    ],
    "convolution.5": [
        (lambda h, y, s, n: EXERCISES["convolution.5"].right(h[::-1], y, s, n), "flip", "wrong way round"),
        (lambda h, y, s, n: np.convolve(y, h), "special case|shape|off by one", ""),
        (lambda h, y, s, n: EXERCISES["convolution.5"].right(h, y[::-1], s, n), "argument|special case", "reversed"),
    ],
    "convolution.6": [
        ([1.0, 3.0, 1.0], "invertible", "can be undone"),
        ([1.0, 0.0, 1.0], "positive", "above 0"),
        ([1.0, 1.0], "shape", "(3,)"),
    ],
    "convolution.7": [
        (([0.0, 0, 1, 0, 0], [1.0, 2, 3]), "commutes", "border"),
        (([1.0, 0, 1, 0, 0], [1.0, 2, 3]), "border", "begin and end"),
        (([0.0, 0, 0, 0, 0], [1.0, 2, 3]), "commutes", "x is 0"),
        (([0.0, 0, 0, 1, 0], [1.0, 2, 0]), "commutes", "h[2], the tap"),
        (([[0.0, 0, 0, 1, 0]], [1.0, 2, 3]), "shape", "a row of numbers"),
        (([0.0, 1, 0], [1.0, 2, 3]), "size", "5 to 50"),
    ],
    "convolution.8": [
        (lambda k, n, s: k % (n // s), "not folded", "fold"),
        (lambda k, n, s: k, "ignored", "n'/2"),
        (lambda k, n, s: k // s, "divided", "wraps round"),
        (lambda k, n, s: k - n // s, "value|special case|terms|shift", ""),
        (lambda k, n, s: max(k % (n // s), n // s - k % (n // s)), "special case|value", "right is"),
    ],
    "stochastic.1": [
        (7.0, "off by one", "n − 1"),
        (14.0, "sum", "mean"),
        (2.16024689946929, "root", "square"),
        (4.667, "precision", "3 places"),
        (-14 / 3, "sign", "sign"),
    ],
    "stochastic.2": [
        ("2 * G**2 / (L * (G**2 + sigma**2))", "limit", "halfway"),
        ("G**2 / (G**2 + sigma**2)", "factor", "the factor 1/L is missing"),
        ("L * G**2 / (G**2 + sigma**2)", "factor", "you divide by 1/L"),
        ("1 / L", "ignored", "without noise"),
        ("G**2 / (L * sigma**2)", "not finite", "where sigma = 0"),
        ("G²/(L*(G²+σ²))", "formula", "x**2, not x²"),
    ],
    "stochastic.3": [
        ("n * (1 - 1/n)**b", "other part", "missed"),
        ("n * (1 - (1 - 1/n)**n)", "special case|ignored", ""),
        ("minimum(n, b)", "repeats", "twice"),
        ("1 - (1 - 1/n)**b", "probability", "n of them"),
        ("n + n * (1 - 1/n)**b", "terms", "sign of the term −n(1 − 1/n)^b"),
    ],
    "stochastic.4": [
        (lambda w, X, y, eta, b: epoch(w, X, y, eta, b, lambda m: b), "last batch", "fewer than b"),
        (lambda w, X, y, eta, b: epoch(w, X, y, -eta, b, lambda m: m), "argument", "−eta"),
        (lambda w, X, y, eta, b: epoch(w, X, y, 2 * eta, b, lambda m: m), "argument", "2·eta"),
        (lambda w, X, y, eta, b: epoch(w, X, y, eta, b, lambda m: 1), "sum", "too long"),
        (
            lambda w, X, y, eta, b: epoch(w, X, y, eta, b, lambda m: m if m == b else m + 1),
            "special case|entries",
            "right",
        ),
    ],
    "stochastic.5": [
        (lambda c, eta: EXERCISES["stochastic.5"].right(c[::-1], eta), "order", "last has the most to say"),
        (lambda c, eta: c.mean(), "mean", "minimiser"),
        (lambda c, eta: -EXERCISES["stochastic.5"].right(c, eta), "sign", "sign"),
        (lambda c, eta: EXERCISES["stochastic.5"].right(c, 1 - eta), "argument", "1 − eta"),
        (lambda c, eta: np.full(1, EXERCISES["stochastic.5"].right(c, eta)), "shape", "asked is one number"),
    ],
    "stochastic.6": [
        (lambda G: np.mean(np.sum(G**2, axis=1)), "uniform", "equal probabilities"),
        (lambda G: np.mean(np.linalg.norm(G, axis=1)), "power", "square is missing"),
        (lambda G: np.mean(np.linalg.norm(G, axis=0)) ** 2, "argument", "G transposed"),
        (lambda G: np.linalg.norm(G, axis=1), "shape|not reduced", ""),
    ],
    "stochastic.7": [
        ("eta * sigma**2 / (a * (2 - eta * a))", "no momentum", "β = 0"),
        ("eta * sigma**2 / (a * (1 - beta) * (2 * (1 + beta) - eta * a))", "factor", "the factor 1 + β is missing"),
        (
            "eta * sigma**2 * (1 + beta) * (1 - beta) / (a * (2 * (1 + beta) - eta * a))",
            "factor",
            "you divide by 1/(1 − β)",
        ),
        (
            "eta * sigma * (1 + beta) / (a * (1 - beta) * (2 * (1 + beta) - eta * a))",
            "factor",
            "a factor sigma is missing",
        ),
        ("eta * sigma**2 * (1 + beta) / (a * (1 - beta) * (2 * (1 + beta) - eta))", "special case", "only where a = 1"),
    ],
    "stochastic.8": [
        ([1, 0, 1, 10], "same curvature", "Make them differ"),
        ([1, 5, 9, 5], "same minimum", "they agree"),
        ([1, 0, 9, 1], "close", "more than 1"),
        ([0, 0, 9, 1], "curvature", "between 0 and 10"),
        ([1, 9, 0, 10], "curvature", "the order is a₁, c₁, a₂, c₂"),
        ([1, 0, 9], "shape", "(4,)"),
    ],
    "generalization.1": [
        ("p", "luck", "1/K"),
        ("p / K", "other part", "right all the same"),
        ("1 - p * (1 - 1/K)", "other part", "right labels"),
        ("p * (1 + 1/K)", "argument|special case|value", ""),
    ],
    "generalization.2": [
        ("n * (n + 1) / 2", "empty", "none of the points"),
        ("n * (n - 1) / 2 + 1", "one point", "same point"),
        ("(n + 1) * (n + 2) / 2 + 1", "off by one", "n + 1"),
        ("n * (n + 1) + 1", "terms", "stands there 2 times"),
        ("n + 1", "thresholds", "two"),
    ],
    "generalization.3": [
        (lambda n: n**-0.5, "Jensen", "upper bound"),
        (lambda n: np.sqrt(2 / (np.pi * n)), "limit", "exact"),
        (lambda n: n * EXERCISES["generalization.3"].right(n), "n", "divide by n"),
        (lambda n: EXERCISES["generalization.3"].right(n + 1), "off by one", "n + 1"),
    ],
    "generalization.4": [
        (lambda z, y: np.append(y[0], np.diff(y) / np.diff(z)), "slopes", "take differences"),
        (lambda z, y: EXERCISES["generalization.4"].right(z, y)[1:], "off by one", "add the first"),
        (lambda z, y: -EXERCISES["generalization.4"].right(z, y), "sign", "sign"),
        (lambda z, y: EXERCISES["generalization.4"].right(z, y)[::-1], "reversed", "reverse"),
    ],
    "generalization.5": [
        (lambda x, y, w0: x * y / (x @ x), "start", "shortest"),
        (lambda x, y, w0: w0 - x * (y - x @ w0) / (x @ x), "terms", "sign of the term"),
        (lambda x, y, w0: w0 + x * (y - x @ w0) / np.sqrt(x @ x), "norm", "square of the norm"),
        (lambda x, y, w0: w0 + x * y / (x @ x), "terms", "−x⟨x, w0⟩/‖x‖² is missing"),
    ],
    "generalization.6": [
        ([[0, 0], [1, 0], [0, 1]], "shattered", "triangle"),
        ([[0, 0], [1, 1], [1, 1]], "equal", "three different"),
        ([[0, 0], [1, 1]], "shape", "(3, 2)"),
    ],
    "generalization.7": [
        ("1 / (eta * t)", "approximation", "depends on σ"),
        ("sigma**2 / (1 - (1 - eta * sigma**2)**t)", "other part", "Subtract"),
        ("(1 - eta * sigma**2)**t / (1 - (1 - eta * sigma**2)**t)", "factor", "the factor σ² is missing"),
        (
            "sigma * (1 - eta * sigma**2)**t / (1 - (1 - eta * sigma**2)**t)",
            "factor",
            "σ² stands there to the power 1/2",
        ),
    ],
    "generalization.8": [
        ("2 * n - N0", "mirror", "not symmetric"),
        ("n - 1 + n * (n - N0 - 1) / N0", "shift", "too small by 2"),
        ("n * (n - N0 - 1) / N0", "terms", "the term n + 1 is missing"),
        ("n + n * (n - N0 - 1) / N0", "off by one", "too small by 1"),
    ],
    "networks.1": [
        (
            lambda n, c, m, k, K: EXERCISES["networks.1"].right(n, c, m, k, K) - m - K,
            "terms",
            "their biases) is missing",
        ),
        (lambda n, c, m, k, K: EXERCISES["networks.1"].right(n, c, m, k - 1, K), "off by one", "k − 1"),
        (lambda n, c, m, k, K: m * c * k * k + m + m * (n // 2) ** 2 * K + K, "padding", "smaller"),
        ("m*c*k**2 + m + m*((n - k + 1)/2)**2*K + K", "rounded", "round down"),
        ("m*c*k**2 + m*c + m*((n - k + 1)//2)**2*K + K", "special case", "|c| > 1"),
    ],
    "networks.2": [
        ("sqrt(2 / (n + m))", "deviation", "a²/3"),
        ("sqrt((n + m) / 6)", "reciprocal", "turn the fraction over"),
        ("6 / (n + m)", "root", "Take the root"),
        ("sqrt(6 / n)", "ignored", "does not depend on m"),
        ("2 * sqrt(3) / (n + m)", "value", "differs"),
    ],
    "networks.3": [
        ("2 / n", "ignored", "for relu"),
        ("1 / (n * (1 + alpha**2))", "factor", "1/2 of the right one"),
        ("2 / (1 + alpha**2)", "factor", ""),
        ("sqrt(2 / (n * (1 + alpha**2)))", "deviation", "variance"),
    ],
    "networks.4": [
        (lambda h, y_bar: np.repeat(y_bar, 2), "both", "no influence"),
        (lambda h, y_bar: np.column_stack([0 * y_bar, y_bar]).ravel(), "order", "another order"),
        (lambda h, y_bar: EXERCISES["networks.4"].right(-h, y_bar), "place", "the smaller"),
        (lambda h, y_bar: y_bar, "shape", "shape (2,)"),
        (lambda h, y_bar: -EXERCISES["networks.4"].right(h, y_bar), "sign", "sign"),
    ],
    "networks.5": [
        (([-1.0, 1.0], [1.0, 1.0]), "permutation", "exchanged"),
        (([2.0, -2.0], [1.0, 1.0]), "other function", "does not compute |x|"),
        (([1.0, 1.0], [1.0, 1.0]), "other function", "x = "),
        ([1.0], "kind", "pair"),
        (np.array([[2.0, -2.0], [1.0, 1.0]]), "other function", "x = -3"),
    ],
    "networks.6": [
        (lambda z, v: softmax(z) * v, "terms", "the term −p⟨p, v⟩ is missing"),
        (lambda z, v: softmax(z) * v + softmax(z) * (softmax(z) @ v), "terms", "the sign of the term −p⟨p, v⟩"),
        (lambda z, v: softmax(z) * (1 - softmax(z)) * v, "sigmoid", "diagonal"),
        (lambda z, v: np.diag(softmax(z)) - np.outer(softmax(z), softmax(z)), "shape", "(2, 2)"),
    ],
    "networks.7": [
        ("0", "zero", "entropy"),
        ("-(1 - eps + eps / K) * log(1 - eps + eps / K)", "terms", "of the other classes is missing"),
        ("(1 - eps + eps / K) * log(1 - eps + eps / K) + (K - 1) * eps / K * log(eps / K)", "sign", "sign"),
        ("-(1 - eps) * log(1 - eps) - eps * log(eps / K)", "share", "what is spread"),
    ],
}
