"""A network from these pieces: layers, one program, softmax cross-entropy, training, a file."""

from derivable.networks.layers import Activation, Conv, Dense, Flatten, Pool
from derivable.networks.losses import softmax, softmax_cross_entropy
from derivable.networks.network import Network, TrainedNetwork, load_network
from derivable.networks.training import shift_images, train

__all__ = [
    "Activation",
    "Conv",
    "Dense",
    "Flatten",
    "Network",
    "Pool",
    "TrainedNetwork",
    "load_network",
    "shift_images",
    "softmax",
    "softmax_cross_entropy",
    "train",
]
