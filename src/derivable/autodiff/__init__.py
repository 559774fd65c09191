"""Automatic differentiation: derivatives of programs.

`numerical`, `dual`, `tape` and `drawing` are written to be read beside the chapter.
"""

from derivable.autodiff.drawing import Graph, trace
from derivable.autodiff.dual import Dual
from derivable.autodiff.numerical import (
    GradientCheck,
    check_gradient,
    complex_step,
    numerical_gradient,
    numerical_jacobian,
)
from derivable.autodiff.tape import Node, Tape

__all__ = [
    "Dual",
    "GradientCheck",
    "Graph",
    "Node",
    "Tape",
    "check_gradient",
    "complex_step",
    "numerical_gradient",
    "numerical_jacobian",
    "trace",
]
