"""Why does it generalize? Networks that memorize, solutions of least norm, and fits to random labels."""

from derivable.generalization.expressivity import MemorizingNetwork, memorize, rademacher_complexity
from derivable.generalization.interpolation import (
    GaussianKernel,
    LinearFit,
    RandomFeatures,
    gradient_descent_limit,
    margins,
    min_norm_solution,
    random_feature_regression,
)
from derivable.generalization.randomization import LabelFit, corrupt_labels, fit_random_labels

__all__ = [
    "GaussianKernel",
    "LabelFit",
    "LinearFit",
    "MemorizingNetwork",
    "RandomFeatures",
    "corrupt_labels",
    "fit_random_labels",
    "gradient_descent_limit",
    "margins",
    "memorize",
    "min_norm_solution",
    "rademacher_complexity",
    "random_feature_regression",
]
