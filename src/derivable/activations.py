"""Activation functions and their derivatives: one definition of each, for numbers, arrays and compiled code.

Every function stands once, as the formula for one number; [`elementwise`][derivable.jit.elementwise] makes
the public function of it. The formulas are the ones that the chapter on activations derives: each keeps its
relative accuracy however large |x| is, and never meets inf - inf, 0 * inf or an overflow on the way.

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

# The largest finite number, for which a/(1 + a) is 1; and a power of two near its square root, with its
# inverse.
_largest = polynomial((1.7976931348623157e308,), (3.4028234663852886e38,))
_huge = polynomial((2.0**500,), (2.0**60,))
_tiny = polynomial((2.0**-500,), (2.0**-60,))


@elementwise
def softsign(x: Any) -> Any:
    """Return x / (1 + |x|), odd, with values in (-1, 1).

    Within 2 units in the last place in float64.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.softsign(1.5))
        #> 0.6
        print(dv.softsign(np.array([-1.0, 0.0, 1.0])))
        #> [-0.5  0.   0.5]
        ```

    References:
        Elliott, A better activation function for artificial neural networks (1993);
        Turian, Bergstra & Bengio, Quadratic features and deep architectures for chunking (2009);
        Glorot & Bengio (2010), who study where it saturates.
    """
    a = abs(x)
    a = _largest(x) if a > _largest(x) else a
    return copysign(a / (like(x, 1.0) + a), x)


@elementwise
def dsoftsign(x: Any) -> Any:
    """Return the derivative of softsign, 1 / (1 + |x|)^2.

    Within 2 units in the last place in float64.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.dsoftsign(1.5))
        #> 0.16
        print(dv.dsoftsign(np.array([-1.0, 0.0, 1.0])))
        #> [0.25 1.   0.25]
        ```
    """
    one = like(x, 1.0)
    a = abs(x)
    a = _largest(x) if a > _largest(x) else a
    # (1 + a)^2 may overflow while its inverse is still a (subnormal) number: take out a power of two.
    factor = _tiny(x) if a > _huge(x) else one
    b, unit = a * factor, factor
    d = unit + b
    rest = (unit - (d - (d - unit))) + (b - (d - unit))  # what rounding took from 1 + a
    return one / fma(d, d, (d + d) * rest) * factor * factor


# ----------------------------------------------------------------------------------- tanh and sigmoid

_in_double = polynomial((1.0,), (0.0,))
_tanh_far = polynomial((22.0,), (10.0,))  # tanh of it rounds to 1


@elementwise
def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent, odd, with values in [-1, 1].

    Within 2 units in the last place in float64.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.tanh(1.5))
        #> 0.9051482536448664
        print(dv.tanh(np.array([-1.0, 0.0, 1.0])))
        #> [-0.76159416  0.          0.76159416]
        ```

    References:
        LeCun, Bottou, Orr & Müller, Efficient BackProp (1998), section 4.4: why an odd sigmoid.
    """
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
    """Return the derivative of tanh, 1 - tanh(x)^2 = 1 / cosh(x)^2.

    It is computed as 4 z / (1 + z)^2 with z = e^(-2|x|), since 1 - tanh(x)^2 loses all digits where tanh(x)
    is near 1.

    Within 2 units in the last place in float64.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.dtanh(1.5))
        #> 0.18070663892364852
        print(dv.dtanh(np.array([-1.0, 0.0, 1.0])))
        #> [0.41997434 1.         0.41997434]
        ```
    """
    a = abs(x)
    a = like(x, 0.5) * far(x) if a > like(x, 0.5) * far(x) else a
    m, m_low, t = decay_parts(a + a)
    return scale(like(x, 4.0) * _bell(m, m_low, t), t)


@inlined
def _bell(m: Any, m_low: Any, t: Any) -> Any:
    """Return m / (1 + z)^2 for z = (m + m_low) 2^n <= 1."""
    d, d_low = _one_plus(m, m_low, t)
    if _in_double(m) > 0.0:
        return divide(m, m_low, d * d, fma(d, d, -d * d) + (d + d) * d_low)
    return m / fma(d, d, (d + d) * (scale(m, t) - (d - like(m, 1.0))))


@inlined
def _one_plus(m: Any, m_low: Any, t: Any) -> Any:
    """Return 1 + z, z = (m + m_low) 2^n <= 1, as a sum of a number and a far smaller one."""
    z = scale(m, t)
    d = like(m, 1.0) + z
    return d, (z - (d - like(m, 1.0))) + scale(m_low, t)


@elementwise
def sigmoid(x: Any) -> Any:
    """Return the logistic function 1 / (1 + e^-x), with values in [0, 1].

    Within 2 units in the last place in float64.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.sigmoid(1.5))
        #> 0.8175744761936437
        print(dv.sigmoid(np.array([-1.0, 0.0, 1.0])))
        #> [0.26894142 0.5        0.73105858]
        ```
    """
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
    """Return the derivative of the logistic function, sigmoid(x) sigmoid(-x).

    Within 2 units in the last place in float64.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.dsigmoid(1.5))
        #> 0.14914645207033286
        print(dv.dsigmoid(np.array([-1.0, 0.0, 1.0])))
        #> [0.19661193 0.25       0.19661193]
        ```
    """
    a = abs(x)
    a = far(x) if a > far(x) else a
    m, m_low, t = decay_parts(a)
    return scale(_bell(m, m_low, t), t)


# ----------------------------------------------------------------------------------- the piecewise linear


@elementwise
def relu(x: Any) -> Any:
    """Return x where x > 0, else 0.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.relu(1.5))
        #> 1.5
        print(dv.relu(np.array([-1.0, 0.0, 1.0])))
        #> [0. 0. 1.]
        ```

    References:
        Nair & Hinton, Rectified linear units improve restricted Boltzmann machines (2010).
    """
    return like(x, 0.0) if x <= 0.0 else x


@elementwise
def drelu(x: Any) -> Any:
    """Return the derivative of relu: 1 for x > 0, 0 for x <= 0.

    relu has no derivative at 0; the value 0 there is a convention, and one of its subgradients.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.drelu(1.5))
        #> 1.0
        print(dv.drelu(np.array([-1.0, 0.0, 1.0])))
        #> [0. 0. 1.]
        ```
    """
    step = like(x, 1.0) if x > 0.0 else like(x, 0.0)
    return step if x == x else x


@elementwise
def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """Return x where x > 0, else slope * x.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).
        slope: what x is multiplied by on the left, a finite number.

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text); if slope is no real number.
        ValueError: if slope is not finite.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.leaky_relu(1.5))
        #> 1.5
        print(dv.leaky_relu(np.array([-1.0, 0.0, 1.0])))
        #> [-0.01  0.    1.  ]
        ```

    References:
        Maas, Hannun & Ng, Rectifier nonlinearities improve neural network acoustic models (2013).
    """
    left = like(x, slope)
    # With slope 0 it is relu: 0 * -inf would be a NaN.
    return x if x > 0.0 else like(x, 0.0) if left == 0.0 and x <= 0.0 else left * x


@elementwise
def dleaky_relu(x: Any, slope: float = 0.01) -> Any:
    """Return the derivative of leaky_relu: 1 for x > 0, slope for x <= 0.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).
        slope: the derivative on the left, a finite number.

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text); if slope is no real number.
        ValueError: if slope is not finite.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.dleaky_relu(1.5))
        #> 1.0
        print(dv.dleaky_relu(np.array([-1.0, 0.0, 1.0])))
        #> [0.01 0.01 1.  ]
        ```
    """
    step = like(x, 1.0) if x > 0.0 else like(x, slope)
    return step if x == x else x


# ------------------------------------------------------------------------------------- the smooth relus


@elementwise
def softplus(x: Any) -> Any:
    """Return log(1 + e^x), a smooth relu, positive everywhere.

    Within 2 units in the last place in float64.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.softplus(1.5))
        #> 1.7014132779827524
        print(dv.softplus(np.array([-1.0, 0.0, 1.0])))
        #> [0.31326169 0.69314718 1.31326169]
        ```

    References:
        Dugas, Bengio, Bélisle, Nadeau & Garcia, Incorporating second-order functional knowledge (2000).
    """
    a = abs(x)
    a = far(x) if a > far(x) else a
    m, m_low, t = decay_parts(a)
    return log1p_unit(scale(m, t), scale(m_low, t), like(x, 0.0) if x <= 0.0 else x)


@elementwise
def dsoftplus(x: Any) -> Any:
    """Return the derivative of softplus, which is the logistic function.

    Within 2 units in the last place in float64.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.dsoftplus(1.5))
        #> 0.8175744761936437
        print(dv.dsoftplus(np.array([-1.0, 0.0, 1.0])))
        #> [0.26894142 0.5        0.73105858]
        ```
    """
    return _logistic(x)


@elementwise
def silu(x: Any) -> Any:
    """Return x sigmoid(x), also called swish.

    Within 2 units in the last place in float64.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.silu(1.5))
        #> 1.2263617142904655
        print(dv.silu(np.array([-1.0, 0.0, 1.0])))
        #> [-0.26894142  0.          0.73105858]
        ```

    References:
        Elfwing, Uchibe & Doya, Sigmoid-weighted linear units (2018); Hendrycks & Gimpel (2016).
    """
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
    """Return the derivative of silu, sigmoid(x) (1 + x sigmoid(-x)).

    Within 2 units in the last place; within 1/2 of its zero, 0.75 of the machine epsilon.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.dsilu(1.5))
        #> 1.041294154299143
        print(dv.dsilu(np.array([-1.0, 0.0, 1.0])))
        #> [0.07232949 0.5        0.92767051]
        ```
    """
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
    """Return x Phi(x), with Phi the distribution function of the standard normal distribution.

    Phi(x) = (1 + erf(x / sqrt 2)) / 2. The cheaper formula with tanh is `gelu_tanh`.

    Within 4 units in the last place in float64.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.gelu(1.5))
        #> 1.399789198096713
        print(dv.gelu(np.array([-1.0, 0.0, 1.0])))
        #> [-0.15865525  0.          0.84134475]
        ```

    References:
        Hendrycks & Gimpel, Gaussian error linear units (2016).
    """
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


# 1 / sqrt(2 pi), in two parts.
_density = polynomial((0.3989422804014327,), (0.3989422917366028,))
_density_low = polynomial((-2.49232720227773e-17,), (-1.1335170135851058e-08,))


@elementwise
def dgelu(x: Any) -> Any:
    """Return the derivative of gelu, Phi(x) + x phi(x), with phi the standard normal density.

    Within 5 units in the last place; within 1/2 of its zero, 0.75 of the machine epsilon.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.dgelu(1.5))
        #> 1.1274691922299795
        print(dv.dgelu(np.array([-1.0, 0.0, 1.0])))
        #> [-0.08331547  0.5         1.08331547]
        ```
    """
    a = abs(x)
    a = normal_far(x) if a > normal_far(x) else a
    m, m_low, t = gaussian_parts(a)
    numerator, denominator = normal_tail_ratio(a)
    # At -a it is 2^n m (numerator - b denominator) / denominator with b = a / sqrt(2 pi).
    b = _density(a) * a
    b_low = fma(_density(a), a, -b) + _density_low(a) * a
    difference = fma(-b, denominator, numerator)
    above = m * difference
    above_low = fma(m, difference, -above) + (m_low * difference - m * (b_low * denominator))
    left = scale(divide(above, above_low, denominator, like(x, 0.0)), t)
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
    """Return 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the approximation of gelu by tanh.

    It differs from `gelu` by at most 4.8e-4. It is a function of its own, computed as exactly as the others.

    Within 2 units in the last place in float64.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.gelu_tanh(1.5))
        #> 1.3995715769802328
        print(dv.gelu_tanh(np.array([-1.0, 0.0, 1.0])))
        #> [-0.15880801  0.          0.84119199]
        ```

    References:
        Hendrycks & Gimpel, Gaussian error linear units (2016), section 2.
    """
    a = abs(x)
    a = _gelu_tanh_far(x) if a > _gelu_tanh_far(x) else a
    return _gate(x, a, *_gelu_tanh_parts(a))


@elementwise
def dgelu_tanh(x: Any) -> Any:
    """Return the derivative of gelu_tanh.

    Within 4 units in the last place; within 1/2 of its zero, 0.75 of the machine epsilon.

    Args:
        x: a number or an array of any shape and layout: float32, float64, or integer (taken as float64).

    Returns:
        A number or an array of the shape of x, float32 for float32, else float64.

    Raises:
        TypeError: if x is of another type (bool, float16, complex, text).

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        print(dv.dgelu_tanh(1.5))
        #> 1.127710793151433
        print(dv.dgelu_tanh(np.array([-1.0, 0.0, 1.0])))
        #> [-0.08296408  0.5         1.08296408]
        ```
    """
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
