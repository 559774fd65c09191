"""Automatic differentiation: derivatives of programs, and of Numba code inside Numba code.

`numerical`, `dual`, `tape` and `drawing` are written to be read beside the chapter; `verbs` holds what differentiates
compiled functions.
"""

from derivable.autodiff.drawing import Graph, trace
from derivable.autodiff.dual import Dual
from derivable.autodiff.kinds import DerivativeError
from derivable.autodiff.numerical import (
    GradientCheck,
    check_gradient,
    complex_step,
    numerical_gradient,
    numerical_jacobian,
)
from derivable.autodiff.tape import Node, Tape
from derivable.autodiff.verbs import (
    check_rule,
    custom_derivative,
    grad,
    grad_into,
    hessian,
    hvp,
    jacobian,
    jvp,
    stop_gradient,
    value_and_grad,
    vjp,
)

__all__ = [
    "DerivativeError",
    "Dual",
    "GradientCheck",
    "Graph",
    "Node",
    "Tape",
    "check_gradient",
    "check_rule",
    "complex_step",
    "custom_derivative",
    "grad",
    "grad_into",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "numerical_gradient",
    "numerical_jacobian",
    "stop_gradient",
    "trace",
    "value_and_grad",
    "vjp",
]
