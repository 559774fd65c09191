"""Random numbers: one seed, and a stream of its own for each purpose."""

from __future__ import annotations

import numpy as np

__all__ = ["stream"]

PURPOSES = ("directions", "signs", "features", "labels", "training")


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator of a purpose.

    `default_rng(seed)` itself is left to the caller. Data drawn from `default_rng(0)` would otherwise meet themselves
    again as the "random" labels or directions of seed 0.
    """
    return np.random.default_rng([seed, 1 + PURPOSES.index(purpose)])
