"""Gradient descent as a proximal step, and what builds on it: loops, trajectories, rates and problems."""

from derivable.descent import problems, proximal
from derivable.descent.accelerated import momentum, nesterov
from derivable.descent.functions import in_place
from derivable.descent.loops import gradient_descent
from derivable.descent.rates import Regret, rate_bound, regret
from derivable.descent.searches import steepest_descent
from derivable.descent.steps import proximal_step, trust_region_step
from derivable.descent.subgradients import subgradient_method
from derivable.descent.trajectory import DivergenceWarning, Progress, Trajectory

__all__ = [
    "DivergenceWarning",
    "Progress",
    "Regret",
    "Trajectory",
    "gradient_descent",
    "in_place",
    "momentum",
    "nesterov",
    "problems",
    "proximal",
    "proximal_step",
    "rate_bound",
    "regret",
    "steepest_descent",
    "subgradient_method",
    "trust_region_step",
]
