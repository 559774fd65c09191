"""Random formulas of functions with edges, at their edges: each derivative is right, or it is NaN.

What is right is found by differences of the same formula with 300 digits and exponents without bounds: the slopes to
the left and to the right, or infinity where they grow without bound. Left out are points where a number of the formula
is off before any derivative is taken: it underflows to 0, or its digits cancel. No derivative can notice that.
"""

import linecache
import math
import random

import mpmath
import numpy as np
import pytest

import derivable as dv

POINTS = (0.0, 1.0, -1.0, 2.0, 800.0, -800.0, 1.5e154, -1.5e154)  # the square of the last overflows, 1 / x does not
DIGITS = 300


class Unclear(Exception):
    """Nothing can be said about this point."""


def exponential(a):
    """Return e to the a; 0 below 10 to the -4000, and nothing above 10 to the 4000."""
    if a > 10_000:
        raise Unclear
    return mpmath.exp(a) if a > -10_000 else mpmath.mpf(0)


UNARY = {
    "np.sqrt({0})": mpmath.sqrt,
    "np.log({0})": mpmath.log,
    "np.log1p({0})": lambda a: mpmath.log(1 + a),
    "np.log2({0})": lambda a: mpmath.log(a) / mpmath.log(2),
    "np.exp({0})": exponential,
    "np.exp(-{0})": lambda a: exponential(-a),
    "np.expm1({0})": lambda a: exponential(a) - 1,
    "np.cbrt({0})": lambda a: mpmath.sign(a) * abs(a) ** (mpmath.mpf(1) / 3),
    "np.arctan({0})": mpmath.atan,
    "np.tanh({0})": lambda a: 1 - 2 / (1 + exponential(2 * a)) if a < 5_000 else mpmath.mpf(1),
    "np.arcsinh({0})": mpmath.asinh,
    "np.arccosh({0})": mpmath.acosh,
    "np.arcsin({0})": mpmath.asin,
    "({0}) ** 2": lambda a: a**2,
    "({0}) ** 0.5": mpmath.sqrt,
    "({0}) ** 1.5": lambda a: a ** mpmath.mpf(1.5),
    "({0}) ** -0.5": lambda a: 1 / mpmath.sqrt(a),
    "(1.0 / ({0}))": lambda a: 1 / a,
    "np.where({0} < 1.0, {0}, np.sqrt({0}))": lambda a: a if a < 1 else mpmath.sqrt(a),
    "np.where({0} < 0.5, 1.0, 1.0 / ({0}))": lambda a: 1 if a < 0.5 else 1 / a,
    "np.where({0} < 0.5, np.exp({0}), np.exp(-{0}))": lambda a: exponential(a if a < 0.5 else -a),
    "max({0}, 0.0)": lambda a: max(a, mpmath.mpf(0)),
    "min({0}, 3.0)": lambda a: min(a, mpmath.mpf(3)),
    "dv.relu({0})": lambda a: max(a, mpmath.mpf(0)),
}
BINARY = {
    "({0} + {1})": lambda a, b: a + b,
    "({0} - 2.0 * {1})": lambda a, b: a - 2 * b,
    "({0} * {1})": lambda a, b: a * b,
    "({0} / {1})": lambda a, b: a / b,
    "np.hypot({0}, {1})": lambda a, b: mpmath.sqrt(a * a + b * b),
    "np.arctan2({0}, {1})": mpmath.atan2,
    "max({0}, {1})": max,
    "np.logaddexp({0}, {1})": lambda a, b: max(a, b) + mpmath.log(1 + exponential(-abs(a - b))),
}


def formula(r, depth):
    """Return the text of a random formula of x, and its evaluation by mpmath."""
    if depth == 0:
        if r.random() < 0.7:
            return "x", lambda x, note: x
        number = r.choice((0.5, 1.0, 2.0, 3.0))
        return str(number), lambda x, note: mpmath.mpf(number)
    if r.random() < 0.6:
        form = r.choice(list(UNARY))
        text, inner = formula(r, depth - 1)
        return form.format(text), lambda x, note: note(form, UNARY[form], inner(x, note))
    form = r.choice(list(BINARY))
    (first, one), (second, two) = formula(r, depth - 1), formula(r, r.randrange(depth))
    return form.format(first, second), lambda x, note: note(form, BINARY[form], one(x, note), two(x, note))


def exact(form, function, *args):
    """Evaluate one operation, of real numbers only."""
    try:
        value = function(*args)
    except (ZeroDivisionError, ValueError, OverflowError, mpmath.libmp.NoConvergence):
        raise Unclear from None
    if isinstance(value, mpmath.mpc) or not mpmath.isfinite(value):
        raise Unclear
    return mpmath.mpf(value)


def slopes(evaluate, x):
    """Return the slope to the left and to the right; None where the formula has no values or no limit."""
    found = []
    for side in (-1, 1):
        try:
            values = []
            for power in (60, 80):
                h = side * mpmath.mpf(10) ** -power * max(1, abs(mpmath.mpf(x)))
                value = [evaluate(mpmath.mpf(x) + k * h, exact) for k in (1, 2)]
                values.append((value[1] - value[0]) / h)
            a, b = values
            if abs(a - b) <= 1e-9 * abs(b) or abs(b) < 1e-40:
                found.append(b)
            elif abs(b) > 100 * abs(a) and abs(b) > 1e5:
                found.append(mpmath.sign(b) * mpmath.inf)
            else:
                found.append(None)
        except Unclear:
            found.append(None)
    return found


def faithful(evaluate, x):
    """Tell whether every number of the formula in double precision is right, infinite or NaN, and no tie."""
    with mpmath.workdps(DIGITS):

        def note(form, function, *pairs):
            doubles, truths = zip(*pairs, strict=True)
            text = form.format(*(f"a[{k}]" for k in range(len(doubles))))
            double = float(eval(text, {"np": np, "dv": dv, "a": [np.float64(d) for d in doubles]}))
            if form.startswith(("max", "min", "dv.relu")):
                border = [*doubles, {"max({0}, 0.0)": 0.0, "min({0}, 3.0)": 3.0, "dv.relu({0})": 0.0}.get(form)]
                if (border[0] == border[1] and border[0] is not None) or math.isnan(sum(doubles)):
                    raise Unclear
            if form.startswith("np.hypot") and doubles == (0.0, 0.0):
                raise Unclear  # a kink
            if form.startswith("np.where") and math.isnan(doubles[0]):
                raise Unclear
            truth = None
            if None not in truths:
                try:
                    truth = exact(form, function, *truths)
                except Unclear:
                    truth = None
            if truth is None:
                if math.isfinite(double):
                    raise Unclear  # a finite number after an infinite one: 1 / inf
                return double, None
            if math.isinf(double) and abs(truth) > 1e300:
                return double, truth
            if truth == 0 or double == 0 or abs(truth) < 1e-300:
                if double != truth:
                    raise Unclear
            elif not abs(double - truth) <= 1e-9 * abs(truth):
                raise Unclear
            return double, truth

        evaluate_pair(evaluate, x, note)


def evaluate_pair(evaluate, x, note):
    def lift(form, function, *args):
        return note(form, function, *(a if isinstance(a, tuple) else (float(a), a) for a in args))

    evaluate((x, mpmath.mpf(x)), lift)


def verdict(got, sides, x, value):
    """Tell whether a derivative agrees with the slopes of the two sides."""
    if math.isnan(got):
        return "nan"
    known = [s for s in sides if s is not None]
    if not known:
        return "skipped"
    if math.isinf(got):
        if len(known) < 2 or math.isinf(value) or abs(x) > 1e100:
            return "skipped"  # the slope of the other side is not known, or the derivative has overflowed on its way
        return "right" if any(abs(s) > 1e300 and (s > 0) == (got > 0) for s in known) else "wrong"
    small = 1e-12 if abs(x) < 1e3 else 1e-165  # digits cancel in 1 - tanh(x) ** 2; at huge x small slopes count
    margin = [1e-6 * abs(s) + small for s in known if mpmath.isfinite(s)]
    finite = [s for s in known if mpmath.isfinite(s)]
    return "right" if any(abs(s - got) <= m for s, m in zip(finite, margin, strict=True)) else "wrong"


def function_of(text):
    source = f"def f(x):\n    return {text}\n"
    file = f"<formula {text}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope = {"np": np, "math": math, "dv": dv}
    exec(compile(source, file, "exec"), scope)
    return scope["f"]


def plain(verb, f, argnum, *args):
    from derivable.autodiff.derivative import derivative
    from derivable.autodiff.kinds import kind_of_value

    maker = derivative(f, verb, argnum).maker
    kinds = tuple(kind_of_value(a, "x") for a in args[:1])
    return maker.function_for(kinds, plain=True)(*args)


def check(seed):
    """Return a list of (outcome, text, x, what was found, what is right) for one formula at all points."""
    r = random.Random(seed)
    text, evaluate = formula(r, r.choice((1, 2, 2, 3, 3, 4)))
    if "x" not in text.replace("exp", "").replace("maximum", "").replace("max", ""):
        return []
    f = function_of(text)
    outcomes = []
    for x in POINTS:
        try:
            with np.errstate(all="ignore"):
                faithful(evaluate, x)
            with mpmath.workdps(DIGITS):
                sides = slopes(evaluate, x)
        except Unclear:
            outcomes.append(("skipped", text, x, None, None))
            continue
        value, tangent = plain("jvp", f, (0,), x, 1.0)
        for got in (plain("grad", f, 0, x), tangent):
            outcomes.append((verdict(got, sides, x, value), text, x, got, [s and float(s) for s in sides]))
    return outcomes


@pytest.mark.parametrize("block", range(20))
def test_right_or_nan(block):
    outcomes = [o for seed in range(10 * block, 10 * block + 10) for o in check(seed)]
    assert not [o for o in outcomes if o[0] == "wrong"]
    assert sum(o[0] == "right" for o in outcomes) >= 10


if __name__ == "__main__":
    import sys
    from collections import Counter

    count = Counter()
    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        for o in check(seed):
            count[o[0]] += 1
            if o[0] == "wrong":
                print(seed, *o)
    print(count)
