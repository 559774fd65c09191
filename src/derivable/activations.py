"""Activation functions and their derivatives: one definition of each, for numbers, arrays and compiled code.

Every function stands once, as the formula for one number; [`elementwise`][derivable.jit.elementwise] makes the
public function of it. The formulas are the ones that the chapter on activations derives: each keeps its relative
accuracy however large |x| is, and never meets inf - inf, 0 * inf or an overflow on the way.

Three conventions:

- a NaN gives a NaN, also in `relu`;
- where a function has a kink, at 0, its derivative there is that of the left side: `drelu(0)` is 0 and
  `dleaky_relu(0)` is `slope`. The chapter on automatic differentiation uses the same;
- an infinity gives the limit.
"""

from __future__ import annotations

from typing import Any

from derivable.elementary import (
    copysign,
    decay_parts,
    divide,
    exp_parts,
    expm1_parts,
    far,
    fma,
    gaussian_parts,
    inlined,
    like,
    log1p_unit,
    magic,
    normal_far,
    normal_tail_ratio,
    polynomial,
    power_of_two,
    scale,
)
from derivable.jit import elementwise

__all__ = [
    "ACTIVATIONS",
    "dgelu",
    "dgelu_tanh",
    "dleaky_relu",
    "drelu",
    "dsigmoid",
    "dsilu",
    "dsoftplus",
    "dsoftsign",
    "dtanh",
    "gelu",
    "gelu_tanh",
    "leaky_relu",
    "relu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
]

# ------------------------------------------------------------------------------------------- softsign

# The largest finite number, for which a/(1 + a) is 1; and a power of two near its square root, with its inverse.
_largest = polynomial((1.7976931348623157e308,), (3.4028234663852886e38,))
_huge = polynomial((2.0**500,), (2.0**60,))
_tiny = polynomial((2.0**-500,), (2.0**-60,))


@elementwise
def softsign(x: Any) -> Any:
    """Return x / (1 + |x|)."""
    a = abs(x)
    a = _largest(x) if a > _largest(x) else a
    return copysign(a / (like(x, 1.0) + a), x)


@elementwise
def dsoftsign(x: Any) -> Any:
    """Return the derivative of softsign, 1 / (1 + |x|)^2."""
    one = like(x, 1.0)
    a = abs(x)
    # (1 + a)^2 may overflow while its inverse is still a (subnormal) number: take out a power of two.
    factor = _tiny(x) if a > _huge(x) else one
    b, unit = a * factor, factor
    d = unit + b
    rest = (unit - (d - (d - unit))) + (b - (d - unit))  # what rounding took from 1 + a
    d, rest = (d, rest) if a <= _largest(x) else (a, like(x, 0.0))
    return one / fma(d, d, (d + d) * rest) * factor * factor


# ----------------------------------------------------------------------------------- tanh and sigmoid

_in_double = polynomial((1.0,), (0.0,))
_tanh_far = polynomial((22.0,), (10.0,))  # tanh of it rounds to 1


@elementwise
def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    a = abs(x)
    a = _tanh_far(x) if a > _tanh_far(x) else a
    r, tail, t = expm1_parts(a + a)
    power = power_of_two(t)
    e = fma(tail, power, fma(r, power, power - like(x, 1.0)))  # e^(2a) - 1
    d = e + like(x, 2.0)
    if _in_double(x) > 0.0:  # known when compiling; in float32 the quotient alone is within 2.5 ulp
        return copysign(divide(e, like(x, 0.0), d, e - (d - like(x, 2.0))), x)
    return copysign(e / d, x)


@elementwise
def dtanh(x: Any) -> Any:
    """Return the derivative of tanh, 1 - tanh(x)^2 = 1 / cosh(x)^2."""
    a = abs(x)
    a = like(x, 0.5) * far(x) if a > like(x, 0.5) * far(x) else a
    m, m_low, t = decay_parts(a + a)
    d, d_low = _one_plus(m, m_low, t)
    quotient = divide(m, m_low, d * d, fma(d, d, -d * d) + (d + d) * d_low)
    return scale(like(x, 4.0) * quotient, t)


@inlined
def _one_plus(m: Any, m_low: Any, t: Any) -> Any:
    """Return 1 + z, z = (m + m_low) 2^n <= 1, as a sum of a number and a far smaller one."""
    z = scale(m, t)
    d = like(m, 1.0) + z
    return d, (z - (d - like(m, 1.0))) + scale(m_low, t)


@elementwise
def sigmoid(x: Any) -> Any:
    """Return the logistic function 1 / (1 + e^-x)."""
    return _logistic(x)


@inlined
def _logistic(x: Any) -> Any:
    """Return 1 / (1 + z) for x >= 0 and z / (1 + z) for x < 0, z = e^-|x|."""
    a = abs(x)
    a = far(x) if a > far(x) else a
    m, m_low, t = decay_parts(a)
    d, d_low = _one_plus(m, m_low, t)
    above, above_low, t = (like(x, 1.0), like(x, 0.0), magic(x)) if x >= 0.0 else (m, m_low, t)
    return scale(divide(above, above_low, d, d_low), t)


@elementwise
def dsigmoid(x: Any) -> Any:
    """Return the derivative of the logistic function, sigmoid(x) sigmoid(-x)."""
    a = abs(x)
    a = far(x) if a > far(x) else a
    m, m_low, t = decay_parts(a)
    d, d_low = _one_plus(m, m_low, t)
    return scale(divide(m, m_low, d * d, fma(d, d, -d * d) + (d + d) * d_low), t)


# ----------------------------------------------------------------------------------- the piecewise linear


@elementwise
def relu(x: Any) -> Any:
    """Return x where x > 0, else 0."""
    return like(x, 0.0) if x <= 0.0 else x


@elementwise
def drelu(x: Any) -> Any:
    """Return the derivative of relu: 1 for x > 0, 0 for x <= 0."""
    step = like(x, 1.0) if x > 0.0 else like(x, 0.0)
    return step if x == x else x


@elementwise
def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """Return x where x > 0, else slope * x."""
    return x if x > 0.0 else like(x, slope) * x


@elementwise
def dleaky_relu(x: Any, slope: float = 0.01) -> Any:
    """Return the derivative of leaky_relu: 1 for x > 0, slope for x <= 0."""
    step = like(x, 1.0) if x > 0.0 else like(x, slope)
    return step if x == x else x


# ------------------------------------------------------------------------------------- the smooth relus


@elementwise
def softplus(x: Any) -> Any:
    """Return log(1 + e^x)."""
    a = abs(x)
    a = far(x) if a > far(x) else a
    m, m_low, t = decay_parts(a)
    return log1p_unit(scale(m, t), scale(m_low, t), like(x, 0.0) if x <= 0.0 else x)


@elementwise
def dsoftplus(x: Any) -> Any:
    """Return the derivative of softplus, the logistic function."""
    return _logistic(x)


@elementwise
def silu(x: Any) -> Any:
    """Return x sigmoid(x)."""
    a = abs(x)
    a = far(x) if a > far(x) else a
    return _gate(x, a, *decay_parts(a))


@inlined
def _gate(x: Any, a: Any, m: Any, m_low: Any, t: Any) -> Any:
    """Return x sigmoid(v) for an odd v(x), from the clipped a = |x| and (m + m_low) 2^n = z = e^-|v|.

    For x >= 0 it is x / (1 + z), for x < 0 it is x z / (1 + z).
    """
    d, d_low = _one_plus(m, m_low, t)
    factor, factor_low, t = (like(x, 1.0), like(x, 0.0), magic(x)) if x >= 0.0 else (m, m_low, t)
    above = a * factor
    value = scale(divide(above, fma(a, factor, -above) + a * factor_low, d, d_low), t)
    return x if x > a else copysign(value, x)


@elementwise
def dsilu(x: Any) -> Any:
    """Return the derivative of silu, sigmoid(x) (1 + x sigmoid(-x))."""
    a = abs(x)
    a = far(x) if a > far(x) else a
    return _gate_slope(x, a, *decay_parts(a))


@inlined
def _gate_slope(x: Any, product: Any, m: Any, m_low: Any, t: Any) -> Any:
    """Return the derivative of x sigmoid(v) for an odd v(x), from product = |x v'(x)| and z as in `_gate`.

    For x >= 0 it is (1 + z + product z) / (1 + z)^2, for x < 0 it is z (1 + z - product) / (1 + z)^2.
    """
    d, d_low = _one_plus(m, m_low, t)
    below, below_low = d * d, fma(d, d, -d * d) + (d + d) * d_low
    term, term_low = (product * scale(m, t), product * scale(m_low, t)) if x >= 0.0 else (-product, like(x, 0.0))
    bracket = d + term
    part = bracket - d
    bracket_low = ((d - (bracket - part)) + (term - part)) + (d_low + term_low)
    factor, factor_low, t = (like(x, 1.0), like(x, 0.0), magic(x)) if x >= 0.0 else (m, m_low, t)
    above = factor * bracket
    above_low = fma(factor, bracket, -above) + (factor * bracket_low + factor_low * bracket)
    return scale(divide(above, above_low, below, below_low), t)


@elementwise
def gelu(x: Any) -> Any:
    """Return x Phi(x), with Phi the normal distribution function."""
    a = abs(x)
    a = normal_far(x) if a > normal_far(x) else a
    m, m_low, t = gaussian_parts(a)
    numerator, denominator = normal_tail_ratio(a)
    product = a * m
    product_low = fma(a, m, -product) + a * m_low
    above = product * numerator
    above_low = fma(product, numerator, -above) + product_low * numerator
    tail = scale(divide(above, above_low, denominator, like(x, 0.0)), t)  # a Phi(-a)
    return copysign(x - tail if x >= 0.0 else tail, x)


_density = polynomial((0.3989422804014327,), (0.3989422804014327,))  # 1/sqrt(2 pi)


@elementwise
def dgelu(x: Any) -> Any:
    """Return the derivative of gelu, Phi(x) + x phi(x)."""
    a = abs(x)
    a = normal_far(x) if a > normal_far(x) else a
    m, m_low, t = gaussian_parts(a)
    numerator, denominator = normal_tail_ratio(a)
    difference = fma(-a, _density(x), numerator / denominator)
    left = scale(fma(m, difference, m_low * difference), t)  # at -a
    return like(x, 1.0) - left if x >= 0.0 else left


# gelu_tanh(x) = x sigmoid(v), v = c x + d x^3, c = sqrt(8/pi), d = 0.044715 c, each in two parts.
_c_high = polynomial((1.5957691216057308,), (1.5957691669464111,))
_c_low = polynomial((-9.96930880911092e-17,), (-4.534068054340423e-08,))
_d_high = polynomial((0.07135481627260025,), (0.07135481387376785,))
_d_low = polynomial((-6.175149918155315e-19,), (2.3988324659995897e-09,))
_gelu_tanh_far = polynomial((22.0,), (11.0,))  # e^-v times x is 0 in the type


@inlined
def _gelu_tanh_parts(a: Any) -> Any:
    """Return (m, m_low, t) with e^-v(a) = (m + m_low) 2^n, t = magic + n, 0 <= a <= _gelu_tanh_far.

    v reaches 750, and its rounding error would be multiplied by that: compute v + low with low its error.
    """
    square = a * a
    square_low = fma(a, a, -square)
    p = _d_high(a) * square
    p_low = fma(_d_high(a), square, -p) + fma(_d_high(a), square_low, _d_low(a) * square)
    w = _c_high(a) + p
    part = w - _c_high(a)
    w_low = (_c_high(a) - (w - part)) + (p - part) + (p_low + _c_low(a))
    v = a * w
    return exp_parts(-v, -fma(a, w, -v) - a * w_low)


@elementwise
def gelu_tanh(x: Any) -> Any:
    """Return 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the approximation of gelu by tanh."""
    a = abs(x)
    a = _gelu_tanh_far(x) if a > _gelu_tanh_far(x) else a
    return _gate(x, a, *_gelu_tanh_parts(a))


@elementwise
def dgelu_tanh(x: Any) -> Any:
    """Return the derivative of gelu_tanh."""
    a = abs(x)
    a = _gelu_tanh_far(x) if a > _gelu_tanh_far(x) else a
    product = a * fma(like(x, 3.0) * _d_high(x), a * a, _c_high(x))
    return _gate_slope(x, product, *_gelu_tanh_parts(a))


ACTIVATIONS = {
    "softsign": (softsign, dsoftsign),
    "tanh": (tanh, dtanh),
    "sigmoid": (sigmoid, dsigmoid),
    "relu": (relu, drelu),
    "leaky_relu": (leaky_relu, dleaky_relu),
    "softplus": (softplus, dsoftplus),
    "silu": (silu, dsilu),
    "gelu": (gelu, dgelu),
    "gelu_tanh": (gelu_tanh, dgelu_tanh),
}
"""Each activation's name with the function and its derivative, both taking the same arguments."""
