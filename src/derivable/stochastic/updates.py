r"""From a sampled gradient to the next point: clipping, weight decay, and plain SGD, momentum, RMSProp or Adam.

The order is fixed, and it is PyTorch's where a training loop calls `clip_grad_norm_` before `optimizer.step`: the
sampled gradient is clipped, then the weight decay is added to it (or applied to the weights themselves, where it is
decoupled), then the rule takes its step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from derivable.descent.loops import norm, sum_of_squares
from derivable.jit import kernel
from derivable.validation import check_number, check_positive

__all__ = ["Adam", "Memory", "RMSProp", "Rule", "make_memory", "make_rule", "update"]

PLAIN, ADAM, RMSPROP = range(3)


@dataclass(frozen=True)
class Adam:
    r"""Adam: divide a running mean of the gradients by the root of a running mean of their squares.

    $$
    \begin{aligned}
    m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad s_t = \beta_2 s_{t-1} + (1 - \beta_2) g_t^2, \\
    w_{t+1} &= w_t - \eta_t \frac{m_t / (1 - \beta_1^t)}{\sqrt{s_t / (1 - \beta_2^t)} + \varepsilon},
    \end{aligned}
    $$

    entry by entry, from $m_0 = s_0 = 0$.

    Attributes:
        beta1: in [0, 1).
        beta2: in [0, 1).
        eps: greater than 0.
        decoupled: how weight decay $\lambda$ enters: False adds $\lambda w_t$ to the gradient, and is then divided with
            it; True multiplies the weights by $1 - \eta_t \lambda$, which is AdamW.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        X, y = np.eye(2), np.array([1.0, 2.0])
        run = dv.sgd(dv.losses.squared.gradient, np.zeros(2), (X, y), step=0.1, epochs=200, rule=dv.Adam())
        print(run.last.round(2))
        #> [1. 2.]
        ```

    References:
        D. P. Kingma and J. Ba, *Adam: a method for stochastic optimization*, ICLR 2015. I. Loshchilov and F. Hutter,
        *Decoupled weight decay regularization*, ICLR 2019.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    decoupled: bool = False

    def __post_init__(self) -> None:
        _check_fraction(self.beta1, "beta1")
        _check_fraction(self.beta2, "beta2")
        check_positive(self.eps, "eps")
        check_flag(self.decoupled, "decoupled")


@dataclass(frozen=True)
class RMSProp:
    r"""RMSProp: divide the gradient by the root of a running mean of its squares, entry by entry.

    $s_t = \alpha s_{t-1} + (1 - \alpha) g_t^2$ from $s_0 = 0$, and the step is along $g_t / (\sqrt{s_t} +
    \varepsilon)$; the `momentum` of the run acts on this quotient.

    Attributes:
        alpha: in [0, 1).
        eps: greater than 0.
        centered: subtract the square of the running mean of the gradients from $s_t$ under the root.

    References:
        T. Tieleman and G. Hinton, *Lecture 6.5: RMSProp*, Coursera, Neural Networks for Machine Learning (2012).
    """

    alpha: float = 0.99
    eps: float = 1e-8
    centered: bool = False

    def __post_init__(self) -> None:
        _check_fraction(self.alpha, "alpha")
        check_positive(self.eps, "eps")
        check_flag(self.centered, "centered")


def check_flag(value: Any, name: str) -> None:
    """Raise TypeError unless `value` is True or False: a string would count as True."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def _check_fraction(value: Any, name: str) -> float:
    number = check_number(value, name)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be at least 0 and less than 1, got {value}")
    return number


class Rule(NamedTuple):
    """All that an update needs to know, as numbers."""

    kind: int
    momentum: float
    nesterov: bool
    beta1: float
    beta2: float
    eps: float
    flag: bool  # decoupled (Adam), centered (RMSProp)
    clip: float  # infinity: never


class Memory(NamedTuple):
    """The arrays of a rule, of no elements where they are not used."""

    decay: np.ndarray  # weight decay; (0,): none; (n,): one for each number
    first: np.ndarray  # momentum's buffer, Adam's m
    second: np.ndarray  # Adam's and RMSProp's running mean of squares
    third: np.ndarray  # centred RMSProp's running mean


def make_rule(rule: Any, momentum: Any, nesterov: Any, clip: Any) -> Rule:
    """Check the hyperparameters of an update and write them down as numbers."""
    momentum = _check_fraction(momentum, "momentum")
    check_flag(nesterov, "nesterov")
    if nesterov and (momentum == 0 or rule is not None):
        raise ValueError("nesterov needs momentum > 0, and no rule of its own")
    largest = np.inf if clip is None else check_positive(clip, "clip")
    if rule is None:
        return Rule(PLAIN, momentum, bool(nesterov), 0.0, 0.0, 0.0, False, largest)
    if isinstance(rule, Adam):
        if momentum:
            raise ValueError("momentum must be 0 with Adam, which has its own: beta1")
        numbers = float(rule.beta1), float(rule.beta2), float(rule.eps), bool(rule.decoupled)
        return Rule(ADAM, 0.0, False, *numbers, largest)
    if isinstance(rule, RMSProp):
        numbers = float(rule.alpha), 0.0, float(rule.eps), bool(rule.centered)
        return Rule(RMSPROP, momentum, False, *numbers, largest)
    got = f"the class {rule.__name__}: call it, {rule.__name__}()" if isinstance(rule, type) else type(rule).__name__
    raise TypeError(f"rule must be None, an Adam or an RMSProp, got {got}")


def make_memory(rule: Rule, decay: np.ndarray, n: int, dtype: Any) -> Memory:
    """Return the zeros from which a rule starts; ValueError if its eps is 0 in the precision of the run."""
    if rule.kind != PLAIN and not np.dtype(dtype).type(rule.eps) > 0:
        raise ValueError(f"eps must be greater than 0 in {np.dtype(dtype)}, got {rule.eps}: 0/0 would follow")
    first = n if rule.momentum > 0 or rule.kind == ADAM else 0
    second = n if rule.kind != PLAIN else 0
    third = n if rule.kind == RMSPROP and rule.flag else 0
    return Memory(decay.astype(dtype), np.zeros(first, dtype), np.zeros(second, dtype), np.zeros(third, dtype))


@kernel
def update(
    u: np.ndarray,
    h: np.ndarray,
    step: float,
    t: int,
    rule: Rule,
    decay: np.ndarray,
    m: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
) -> None:
    """Take step t = 1, 2, ... of size `step` from the point `u` along the sampled gradient `h`, which is used up.

    The last four are the arrays of a `Memory`. They come one by one: taken out of a tuple, each would count a
    reference at every step.
    """
    n = u.size
    size = u.dtype.type(step)  # float32 stays float32
    if rule.clip < np.inf:
        length = norm(h, sum_of_squares(h))
        if length > rule.clip:
            shrink = u.dtype.type(rule.clip / length)
            for i in range(n):
                h[i] *= shrink
    if decay.size > 0:
        decoupled = rule.kind == ADAM and rule.flag
        if decoupled:
            for i in range(n):
                u[i] -= u.dtype.type(step * decay[i]) * u[i]  # in float32, 1 - step * decay would lose digits
        else:
            for i in range(n):
                h[i] += u.dtype.type(decay[i]) * u[i]
    if rule.kind == PLAIN:
        if rule.momentum == 0:
            for i in range(n):
                u[i] -= size * h[i]
            return
        beta = u.dtype.type(rule.momentum)
        if rule.nesterov:
            for i in range(n):
                m[i] = beta * m[i] + h[i]
                u[i] -= size * (h[i] + beta * m[i])
        else:
            for i in range(n):
                m[i] = beta * m[i] + h[i]
                u[i] -= size * m[i]
    elif rule.kind == ADAM:
        b1, b2, eps = u.dtype.type(rule.beta1), u.dtype.type(rule.beta2), u.dtype.type(rule.eps)
        c1, c2 = u.dtype.type(1 - rule.beta1), u.dtype.type(1 - rule.beta2)
        scaled = u.dtype.type(step / (1 - rule.beta1**t))
        root = u.dtype.type(1 / np.sqrt(1 - rule.beta2**t))
        for i in range(n):
            m[i] = b1 * m[i] + c1 * h[i]
            s[i] = b2 * s[i] + c2 * h[i] * h[i]
            u[i] -= scaled * m[i] / (np.sqrt(s[i]) * root + eps)
    else:
        alpha, rest, eps = u.dtype.type(rule.beta1), u.dtype.type(1 - rule.beta1), u.dtype.type(rule.eps)
        beta = u.dtype.type(rule.momentum)
        for i in range(n):
            s[i] = alpha * s[i] + rest * h[i] * h[i]
            square = s[i]
            if a.size > 0:
                a[i] = alpha * a[i] + rest * h[i]
                square = max(square - a[i] * a[i], u.dtype.type(0.0))
            quotient = h[i] / (np.sqrt(square) + eps)
            if m.size > 0:
                m[i] = beta * m[i] + quotient
                quotient = m[i]
            u[i] -= size * quotient
