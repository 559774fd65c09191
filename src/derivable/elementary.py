"""The elementary functions under the activations, so written that the compiler turns them into vector code.

The exponential in NumPy's or C's library is a call, and a loop that calls does not vectorise. What stands
here is straight-line code of multiplications, additions and choices (no branches, no tables in memory), which
LLVM inlines into any loop and widens to the vectors of the machine. Every function takes float32 or float64
and stays in it.

The idea of each approximation:

- exp: write x = n ln 2 + r with an integer n and |r| <= (ln 2)/2. Then e^x = 2^n e^r; e^r is a polynomial,
  and 2^n is made by putting n into the exponent bits. Where e^x is a factor of a result that may be
  subnormal, the factor 2^n is applied last (`scale`), so that only one rounding happens there.
- log(1 + z) for 0 <= z <= 1: with s = z/(2 + z) it is log((1 + s)/(1 - s)) = 2 s + s R(s^2), s <= 1/3.
- the tail of the normal distribution: Phi(-a) = e^(-a^2/2) M(a), where M falls slowly from 1/2 like
  1/(a sqrt(2 pi)); M is a quotient of two polynomials with positive coefficients, so nothing cancels.

The coefficients are minimax: `tests/coefficients.py` makes them by the Remez exchange, and a test
compares. How they were found and how exact the functions are is told in the chapter on activations, "How
fast".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from derivable.jit import kernel

__all__ = [
    "exp_parts",
    "expm1_parts",
    "fma",
    "gaussian_parts",
    "like",
    "log1p_unit",
    "normal_tail_ratio",
    "scale",
]

# Left to itself LLVM calls a function that it finds too long, and a loop that calls does not become vector
# code.
inlined = functools.partial(kernel, forceinline=True)

# ------------------------------------------------------------------------------------------ operations
#
# Each is one instruction in compiled code. Its plain twin serves NUMBA_DISABLE_JIT=1 and gives the same bits.


def _fma(a: Any, b: Any, c: Any) -> Any:
    """Return a b + c with one rounding."""
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    if isinstance(a, np.float32):  # exact in float64 but for the sum, which is made odd where it is inexact
        return _round_odd(float(a) * float(b), float(c))
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if not exact:
        return a * b + c  # for the sign of zero
    try:
        return np.float64(exact)
    except OverflowError:
        return np.float64(math.inf if exact > 0 else -math.inf)


def _round_odd(product: float, c: float) -> np.float32:
    """Return product + c rounded once to float32, from float64 numbers."""
    total = product + c
    part = total - product
    rest = (product - (total - part)) + (c - part)
    if rest and math.isfinite(total) and int(np.float64(total).view(np.int64)) % 2 == 0:
        total = math.nextafter(total, math.copysign(math.inf, rest))
    return np.float32(total)


@intrinsic
def _fma_compiled(typing_context, a, b, c):  # type: ignore[no-untyped-def]
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.fma(*arguments)

    return (a(a, a, a), emit) if a == b == c and isinstance(a, numba.types.Float) else None


def _copysign(size: Any, sign: Any) -> Any:
    """Return |size| with the sign of `sign`."""
    return np.copysign(size, sign)


@intrinsic
def _copysign_compiled(typing_context, size, sign):  # type: ignore[no-untyped-def]
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        kind = arguments[0].type
        function = builder.module.declare_intrinsic("llvm.copysign", [kind], ir.FunctionType(kind, [kind, kind]))
        return builder.call(function, arguments)

    return (size(size, sign), emit) if size == sign and isinstance(size, numba.types.Float) else None


def _like(x: Any, value: Any) -> Any:
    """Return `value` in the type of `x`."""
    return np.float32(value) if isinstance(x, np.float32) else np.float64(value)


@intrinsic
def _like_compiled(typing_context, x, value):  # type: ignore[no-untyped-def]
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return context.cast(builder, arguments[1], signature.args[1], signature.args[0])

    return x(x, value), emit


def _power_of_two(t: Any) -> Any:
    """Return 2^n for t = magic(t) + n, with n an exponent of a normal number."""
    return _like(t, math.ldexp(1.0, int(t - magic(t)))) if t == t else t


@intrinsic
def _power_of_two_compiled(typing_context, t):  # type: ignore[no-untyped-def]
    # The last bits of t are shifted up to where the exponent stands. A NaN gives some number.
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        width, mantissa = (32, 23) if signature.return_type == numba.types.float32 else (64, 52)
        integer = ir.IntType(width)
        bits = builder.shl(builder.bitcast(arguments[0], integer), ir.Constant(integer, mantissa))
        return builder.bitcast(bits, arguments[0].type)

    return t(t), emit


if numba.config.DISABLE_JIT:
    fma, copysign, like, power_of_two = _fma, _copysign, _like, _power_of_two
else:
    fma, copysign = _fma_compiled, _copysign_compiled
    like, power_of_two = _like_compiled, _power_of_two_compiled


def polynomial(double: tuple[float, ...], single: tuple[float, ...]) -> Callable[[Any], Any]:
    """Return a function of x that evaluates a polynomial, in and with the table of x's type.

    It goes by Estrin's scheme: c0 + c1 x + c2 x^2 + c3 x^3 = (c0 + c1 x) + (c2 + c3 x) x^2, and so on. A step
    needs only the results of half as many steps as in Horner's rule, so there are fewer roundings and less
    waiting. Only the constant term is added last, as in Horner's rule: for small x all other roundings then
    count little. A polynomial of degree 0 is a constant that depends on the type.

    Args:
        double: the coefficients for float64, lowest power first.
        single: the coefficients for float32.

    Returns:
        The function, for use in kernels.
    """

    def evaluate(terms: list[Any], x: Any, multiply_add: Callable[..., Any], multiply: Callable[..., Any]) -> Any:
        if len(terms) <= 6:  # Horner's rule saves the powers, and is short enough
            value = terms[-1]
            for term in terms[-2::-1]:
                value = multiply_add(value, x, term)
            return value
        first, *terms = terms
        power = x
        while len(terms) > 1:
            pairs = [multiply_add(high, power, low) for low, high in zip(terms[::2], terms[1::2], strict=False)]
            terms = pairs + terms[2 * len(pairs) :]
            power = multiply(power, power) if len(terms) > 1 else power
        return multiply_add(terms[0], x, first) if terms else first

    def plain(x: Any) -> Any:
        table = single if isinstance(x, np.float32) else double
        return evaluate([_like(x, c) for c in table], _like(x, x), _fma, lambda a, b: a * b)

    @intrinsic
    def compiled(typing_context, x):  # type: ignore[no-untyped-def]
        table = single if x == numba.types.float32 else double

        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            terms = [ir.Constant(arguments[0].type, c) for c in table]
            return evaluate(terms, arguments[0], builder.fma, builder.fmul)

        return x(x), emit

    return plain if numba.config.DISABLE_JIT else compiled


@inlined
def divide(above: Any, above_low: Any, below: Any, below_low: Any) -> Any:
    """Return (above + above_low) / (below + below_low), almost correctly rounded; the low parts are tiny.

    A quotient q leaves the remainder above - q below, which fma finds exactly; the low parts belong to it.
    """
    inverse = like(below, 1.0) / below
    q = above * inverse
    return fma((fma(-q, below, above) + above_low) - q * below_low, inverse, q)


# ---------------------------------------------------------------------------------------- exponential

# 1.5 * 2^52 + 1023: a number of that size has no bits after the point, so adding it rounds to an integer n,
# and its last bits hold n + 1023, the exponent bits of 2^n. (In float32 1.5 * 2^23 + 127.)
magic = polynomial((6755399441056767.0,), (12583039.0,))
log2_e = polynomial((1.4426950408889634,), (1.4426950216293335,))
# ln 2 in two parts; the first has so few bits that n times it is exact.
ln2_high = polynomial((0.6931471805598903,), (0.693145751953125,))
ln2_low = polynomial((5.497923018708371e-14,), (1.428606765330187e-06,))
# Beyond this size e^-x times |x| is 0 in the type; more would overflow the exponent of `scale`.
far = polynomial((760.0,), (112.0,))

# q in e^r - 1 = r + r^2 q(r) for |r| <= (ln 2)/2; relative error 2^-61.7 and 2^-32.0
expm1_tail = polynomial(
    (
        0.5,
        0.16666666666666677,
        0.04166666666666651,
        0.008333333333321693,
        0.0013888888888961813,
        0.00019841269885958598,
        2.4801587173482655e-05,
        2.7557244381877996e-06,
        2.7557401909678674e-07,
        2.5108976306892854e-08,
        2.087554254543443e-09,
    ),
    (
        0.5,
        0.1666666567325592,
        0.041666362434625626,
        0.008333389647305012,
        0.0013940617209300399,
        0.00019845830684062093,
    ),
)


@inlined
def expm1_parts(x: Any) -> Any:
    """Return (r, tail, t) with e^x = (1 + r + tail) 2^n, t = magic + n, |r| < 0.35, |tail| < 0.08."""
    t = fma(x, log2_e(x), magic(x))
    n = t - magic(x)
    r = fma(-n, ln2_high(x), x)
    r_low = -n * ln2_low(x)
    rounded = r + r_low
    return r, fma(rounded * rounded, expm1_tail(rounded), r_low), t


@inlined
def exp_parts(x: Any, low: Any) -> Any:
    """Return (m, m_low, t) with e^(x + low) = (m + m_low) 2^n, t = magic + n, 0.7 < m < 1.42; |low| < 1e-5.

    m_low is what rounding took from m. Where a caller has no use for it, the compiler leaves it out.
    """
    one = like(x, 1.0)
    r, tail, t = expm1_parts(x)
    p = r + tail
    m = one + p
    return m, fma(m, low, (p - (m - one)) + (tail - (p - r))), t


@inlined
def scale(m: Any, t: Any) -> Any:
    """Return m 2^n for t = magic + n; in two steps, since 2^n may be no normal number."""
    n = t - magic(t)
    half = fma(n, like(n, 0.5), magic(n))
    return m * power_of_two(half) * power_of_two((n - (half - magic(n))) + magic(n))


@inlined
def decay_parts(a: Any) -> Any:
    """Return (m, m_low, t) with e^-a = (m + m_low) 2^n, t = magic + n, for 0 <= a <= far."""
    return exp_parts(-a, like(a, 0.0))


# ------------------------------------------------------------------------------------------- logarithm

# q in log((1 + s)/(1 - s)) = 2 s + s z q(z), z = s^2 <= 1/9; relative error 2^-64.6 and 2^-33.1
log1p_tail = polynomial(
    (
        0.6666666666666667,
        0.3999999999999406,
        0.28571428572496843,
        0.22222222126460706,
        0.18181823160270827,
        0.15384453067207313,
        0.1333678652473389,
        0.11716160616012618,
        0.10971151622517625,
        0.06999629001350549,
        0.1645880645649721,
    ),
    (
        0.6666667461395264,
        0.39998888969421387,
        0.2861659526824951,
        0.21430741250514984,
        0.24289566278457642,
    ),
)


@inlined
def log1p_unit(z: Any, z_low: Any, more: Any) -> Any:
    """Return log(1 + z + z_low) + more for 0 <= z <= 1, a far smaller z_low, and more >= 0.

    With s = z/(2 + z) and h = z^2/2 the identity 2 s = z - s z = z - h + s h moves the rounding errors of s
    into small terms: log(1 + z) = z - (h - s (h + s^2 q(s^2))). z_low enters times 1/(1 + z), for which 1 - 3
    s/2 is good enough.
    """
    s = z / (z + like(z, 2.0))
    w = s * s
    h = like(z, 0.5) * z * z
    small = fma(-s, fma(w, log1p_tail(w), h), h) - z_low * fma(like(z, -1.5), s, like(z, 1.0))
    return z + (more - small)


# ------------------------------------------------------------------------------- normal distribution

# M(a) = p(a) / (slope a p(a) + rest(a)). Written so, the rounding errors of p nearly cancel where a is large.
# M(a) = Phi(-a) e^(a^2/2) for 0 <= a <= 40 (15 in float32); relative error 2^-59.8 and 2^-27.2
normal_numerator = polynomial(
    (
        0.5,
        0.8286144046056986,
        0.6806861947322906,
        0.3581767555741993,
        0.1324543936706458,
        0.03580674023982708,
        0.00715675633344098,
        0.001045635803138542,
        0.00010729037598341123,
        7.031198796728837e-06,
        2.2627303110258518e-07,
    ),
    (
        0.5,
        0.43928229808807373,
        0.18396814167499542,
        0.04088074713945389,
        0.00415316317230463,
    ),
)
normal_rest = polynomial(
    (
        1.0,
        1.2017992326990188,
        0.7432411470688942,
        0.2987805299531569,
        0.08468852899362567,
        0.017407118481597594,
        0.002585771344409756,
        0.0002678027167460688,
        1.7624601900229174e-05,
        5.67182374671255e-07,
        3.0916723896412224e-17,
    ),
    (
        1.0,
        0.42314890027046204,
        0.10443886369466782,
        0.01027123536914587,
        7.2151665335695725e-06,
    ),
)
normal_slope = polynomial((2.506628274630488,), (2.506601333618164,))  # about sqrt(2 pi)
# Beyond this size e^(-a^2/2) is 0 in the type.
normal_far = polynomial((40.0,), (15.0,))


@inlined
def normal_tail_ratio(a: Any) -> Any:
    """Return the numerator and the denominator of Phi(-a) e^(a^2/2), for 0 <= a <= normal_far."""
    numerator = normal_numerator(a)
    return numerator, fma(normal_slope(a) * a, numerator, normal_rest(a))


@inlined
def gaussian_parts(a: Any) -> Any:
    """Return (m, m_low, t) with e^(-a^2/2) = (m + m_low) 2^n, t = magic + n, for |a| <= normal_far.

    The rounding error of a^2 would be multiplied by the size of the exponent; fma finds it exactly.
    """
    square = a * a
    low = fma(a, a, -square)
    return exp_parts(like(a, -0.5) * square, like(a, -0.5) * low)
