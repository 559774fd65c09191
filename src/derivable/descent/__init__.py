"""Gradient descent as a proximal step, and what builds on it: loops, trajectories and problems."""

from derivable.descent import problems
from derivable.descent.functions import in_place
from derivable.descent.loops import gradient_descent
from derivable.descent.steps import proximal_step, trust_region_step
from derivable.descent.trajectory import DivergenceWarning, Progress, Trajectory

__all__ = [
    "DivergenceWarning",
    "Progress",
    "Trajectory",
    "gradient_descent",
    "in_place",
    "problems",
    "proximal_step",
    "trust_region_step",
]
