"""Derivable: an executable textbook of the foundations of deep learning, and the package it runs on.

Import it as `import derivable as dv`. Every public name stands here; the modules hold them by chapter.
"""

from derivable.autodiff import (
    Dual,
    GradientCheck,
    Graph,
    Node,
    Tape,
    check_gradient,
    complex_step,
    numerical_gradient,
    numerical_jacobian,
    trace,
)
from derivable.descent import (
    DivergenceWarning,
    Progress,
    Trajectory,
    gradient_descent,
    in_place,
    problems,
    proximal_step,
    trust_region_step,
)
from derivable.jit import get_num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = [
    "DivergenceWarning",
    "Dual",
    "GradientCheck",
    "Graph",
    "Node",
    "Progress",
    "Tape",
    "Trajectory",
    "check_gradient",
    "complex_step",
    "get_num_threads",
    "gradient_descent",
    "in_place",
    "numerical_gradient",
    "numerical_jacobian",
    "problems",
    "proximal_step",
    "set_num_threads",
    "trace",
    "trust_region_step",
]
