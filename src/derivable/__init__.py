"""Derivable: an executable textbook of the foundations of deep learning, and the package it runs on.

Import it as `import derivable as dv`. Every public name stands here; the modules hold them by chapter.
"""

from derivable.activations import (
    ACTIVATIONS,
    dgelu,
    dgelu_tanh,
    dleaky_relu,
    drelu,
    dsigmoid,
    dsilu,
    dsoftplus,
    dsoftsign,
    dtanh,
    gelu,
    gelu_tanh,
    leaky_relu,
    relu,
    sigmoid,
    silu,
    softplus,
    softsign,
    tanh,
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
    "ACTIVATIONS",
    "DivergenceWarning",
    "Progress",
    "Trajectory",
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
    "get_num_threads",
    "gradient_descent",
    "in_place",
    "leaky_relu",
    "problems",
    "proximal_step",
    "relu",
    "set_num_threads",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
    "trust_region_step",
]
