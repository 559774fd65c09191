"""The rules of the package's activations: their derivatives are functions of the package too."""

from __future__ import annotations

from typing import Any

from derivable import activations
from derivable.autodiff.rules.table import ELEMENTWISE, NAMES, Rule

__all__ = ["ACTIVATION_NAMES", "DEFAULTS"]

_U, _U1 = "(0.7978845608028654 * x * (1 + 0.044715 * x * x))", "(0.7978845608028654 * (1 + 0.134145 * x * x))"
PARTIALS: dict[str, tuple[str | None, ...]] = {
    "softsign": ("dsoftsign(x)",),
    "dsoftsign": ("-2 * sign(x) * z / (1 + abs(x))",),
    "tanh": ("dtanh(x)",),
    "dtanh": ("-2 * tanh(x) * z",),
    "sigmoid": ("dsigmoid(x)",),
    "dsigmoid": ("z * (1 - 2 * sigmoid(x))",),
    "relu": ("drelu(x)",),
    "drelu": (None,),
    "leaky_relu": ("dleaky_relu(x, y)", "(x < 0) * x"),
    "dleaky_relu": (None, "1.0 * (x < 0)"),
    "softplus": ("dsoftplus(x)",),
    "dsoftplus": ("dsigmoid(x)",),
    "silu": ("dsilu(x)",),
    "dsilu": ("dsigmoid(x) * (2 + x * (1 - 2 * sigmoid(x)))",),
    "gelu": ("dgelu(x)",),
    "dgelu": ("0.3989422804014327 * (2 - x * x) * exp(-0.5 * x * x)",),
    "gelu_tanh": ("dgelu_tanh(x)",),
    # With u the argument of tanh and t = tanh(u): t' (u' + x (u'' / 2 - t u' u')).
    "dgelu_tanh": (f"dtanh({_U}) * ({_U1} + x * (0.10703222440890037 * x - tanh({_U}) * {_U1} * {_U1}))",),
}
ACTIVATION_NAMES = set(activations.__all__) & set(PARTIALS)
DEFAULTS: dict[str, Any] = {"activation leaky_relu": 0.01, "activation dleaky_relu": 0.01}

for _name, _partials in PARTIALS.items():
    ELEMENTWISE[f"activation {_name}"] = Rule(f"activation {_name}", _partials)
    NAMES[getattr(activations, _name)] = f"activation {_name}"
