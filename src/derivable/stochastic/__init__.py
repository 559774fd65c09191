"""Stochastic gradient descent: the compiled loop, orders of visit, schedules, updates, and the noise they leave."""

from derivable.stochastic import losses, schedules
from derivable.stochastic.distributed import distributed_sgd, local_sgd
from derivable.stochastic.loops import StochasticTrajectory, sgd
from derivable.stochastic.noise import ExpectedStep, expected_step, noise_ball
from derivable.stochastic.orders import sample_order
from derivable.stochastic.updates import Adam, RMSProp

__all__ = [
    "Adam",
    "ExpectedStep",
    "RMSProp",
    "StochasticTrajectory",
    "distributed_sgd",
    "expected_step",
    "local_sgd",
    "losses",
    "noise_ball",
    "sample_order",
    "schedules",
    "sgd",
]
