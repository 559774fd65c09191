"""Make the coefficients that `derivable/elementary.py` holds: minimax approximations by the Remez exchange.

`python tests/coefficients.py` prints every table with the largest error that it leaves. It needs mpmath only.
The exchange: solve for the coefficients and the levelled error E on n + 2 points, so that the error at the
points is +E, -E, +E, ...; move the points to where the error is largest in between; repeat until the points
stay. By Chebyshev's theorem an error that alternates so often is the smallest possible.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 60


def remez(
    function: Callable,
    weight: Callable,
    start: float,
    stop: float,
    numerator: int,
    denominator: int = 0,
    centre: float = 0.0,
    rounds: int = 25,
) -> tuple[list, list, float]:
    """Return p, q (lowest power first, q[0] = 1) and the largest error of weight * (p/q - function).

    Args:
        function: what to approximate, of an mpmath number.
        weight: what to multiply the error by.
        start: left end of the interval.
        stop: right end of the interval.
        numerator: degree of p.
        denominator: degree of q.
        centre: where half of the first points lie below; the middle of the interval by default.
        rounds: at most so many exchanges.
    """
    count = numerator + denominator + 2
    start, stop = mp.mpf(start), mp.mpf(stop)
    middle = (mp.mpf(centre) - start) / (stop - start) if centre else mp.mpf(1) / 2

    def spread(angle):  # Chebyshev points of [0, 1], moved by the Moebius map that takes 1/2 to the centre
        u = (1 - mp.cos(angle)) / 2
        return start + (stop - start) * u * middle / (1 - middle + u * (2 * middle - 1))

    points = [spread(mp.pi * (k + mp.mpf(1) / 2) / (count - 1)) for k in range(count - 1)]
    grid = [spread(mp.pi * k / (60 * count)) for k in range(60 * count + 1)]
    values = [(function(x), weight(x)) for x in grid]
    error, q = mp.mpf(0), [mp.mpf(1)]
    for turn in range(rounds):  # first interpolate with E = 0: one point less
        for _ in range(12 if denominator and turn else 1):  # E times q is not linear: Newton's method
            rows, right = [], []
            for k, x in enumerate(points):
                f, w, sign = function(x), weight(x), (-1) ** k
                row = [w * x**j for j in range(numerator + 1)]
                row += [-(w * f + sign * error) * x**j for j in range(1, denominator + 1)]
                old = mp.polyval(q[::-1], x)
                rows.append([*row, -sign * old] if turn else row)
                right.append(w * f + sign * error * (1 - old))
            solution = mp.lu_solve(mp.matrix(rows), mp.matrix(right))
            p = [solution[j] for j in range(numerator + 1)]
            q = [mp.mpf(1)] + [solution[numerator + j] for j in range(1, denominator + 1)]
            before, error = error, solution[count - 1] if turn else error
            if abs(error - before) <= mp.mpf(10) ** -6 * abs(error):
                break

        def deviation(x, f, w, p=p, q=q):
            return w * (mp.polyval(p[::-1], x) / mp.polyval(q[::-1], x) - f)

        errors = [deviation(x, f, w) for x, (f, w) in zip(grid, values, strict=True)]
        found: list[tuple] = []  # the largest error of each stretch of one sign
        for x, e in zip(grid, errors, strict=True):
            if found and (e > 0) == (found[-1][1] > 0):
                if abs(e) > abs(found[-1][1]):
                    found[-1] = (x, e)
            else:
                found.append((x, e))
        while len(found) > count:
            found.pop(0 if abs(found[0][1]) < abs(found[-1][1]) else -1)
        largest = max(abs(e) for e in errors)
        if len(found) < count:
            raise ArithmeticError(f"only {len(found)} of {count} alternations: try another centre")
        points = [x for x, _ in found]
        if not turn:
            error = mp.sign(found[0][1]) * mp.fsum(abs(e) for _, e in found) / count
        if turn and largest <= abs(error) * (1 + mp.mpf("0.01")):
            break
    return p, q, float(largest)


def expm1_tail(x):
    """Return q with exp(x) - 1 = x + x^2 q(x), by its series."""
    return mp.nsum(lambda k: x**k / mp.factorial(k + 2), [0, 30]) if abs(x) < 0.5 else (mp.expm1(x) - x) / x**2


def logarithm_tail(z):
    """Return q with log((1 + s)/(1 - s)) = 2 s + s z q(z), z = s^2."""
    return mp.fsum(2 * z**k / (2 * k + 3) for k in range(60))


def normal_ratio(x):
    """Return Phi(-x) exp(x^2/2), with the normal distribution function Phi."""
    return mp.erfc(x / mp.sqrt(2)) * mp.exp(x * x / 2) / 2


HALF = math.log(2) / 2 * 1.0001
TABLES = {
    # name: function, weight (so that the error is relative to the final result), start, stop, degrees for
    # float64 and float32, centre
    "EXPM1": (
        expm1_tail,
        lambda x: abs(x) if abs(x) < 1e-30 else abs(x * x / mp.expm1(x)),
        -HALF,
        HALF,
        (10, 0),
        (5, 0),
        0.0,
    ),
    "LOG1P": (
        logarithm_tail,
        lambda z: z / 2 / mp.fsum(z**k / (2 * k + 1) for k in range(60)),
        0.0,
        1 / 9,
        (10, 0),
        (4, 0),
        0.0,
    ),
    "NORMAL": (normal_ratio, lambda x: 1 / normal_ratio(x), 0.0, 40.0, (10, 11), (4, 5), 2.0),
}


def table(name: str, single: bool) -> tuple[list[float], list[float], float]:
    """Return the rounded coefficients of one table, and the error of the exact ones.

    For a quotient p/q, q one degree higher, the second list holds the rest of the division of q by x p, then
    the slope of q/p at infinity.
    """
    function, weight, start, stop, double_degrees, single_degrees, centre = TABLES[name]
    degrees = single_degrees if single else double_degrees
    if single and name == "NORMAL":
        stop = 15.0
    p, q, error = remez(function, weight, start, stop, *degrees, centre)
    kind = np.float32 if single else np.float64
    if len(q) > 1:  # q(x) = slope x p(x) + rest(x): hand out rest and slope
        slope = q[-1] / p[-1]
        q = [q[0], *(q[j] - slope * p[j - 1] for j in range(1, len(q) - 1)), slope]
    return [float(kind(c)) for c in p], [float(kind(c)) for c in q], error


if __name__ == "__main__":
    import sys

    for name in sys.argv[1:] or TABLES:
        for single in (False, True):
            p, q, error = table(name, single)
            print(f"# {name}, float{32 if single else 64}: largest relative error 2^{math.log2(error):.1f}")
            for label, values in (("p", p), ("rest, slope", q)):
                if len(values) > 1:
                    print(f"{label} = (")
                    for value in values:
                        print(f"    {value!r},")
                    print(")")
