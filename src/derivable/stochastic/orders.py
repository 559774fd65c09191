"""In which order a run visits the data: with replacement, shuffled anew each epoch, shuffled once, or as they lie.

The order of an epoch is a function of the seed and the epoch's number, and of nothing else: not of a generator
that other code shares, not of the number of threads, not of NumPy's version. It comes from SplitMix64, a generator
whose state is a counter, so that epoch 7 can be computed without the six before it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from derivable.jit import kernel
from derivable.validation import check_choice, check_count

__all__ = ["ORDERS", "Order", "fill_order", "sample_order"]

Order = Literal["replacement", "shuffle", "shuffle_once", "cyclic"]
ORDERS = ("replacement", "shuffle", "shuffle_once", "cyclic")
REPLACEMENT, SHUFFLE, SHUFFLE_ONCE, CYCLIC = range(4)

MOST_ROWS = 2**32 - 1  # an index is drawn from 32 random bits

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
LOW = np.uint64(0xFFFFFFFF)


@kernel
def mix(z: np.uint64) -> np.uint64:
    """Scramble 64 bits: SplitMix64's output function."""
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))


@kernel
def fill_order(order: np.ndarray, kind: int, seed: np.uint64, epoch: int) -> None:
    """Write the order of one epoch: the index of the row that stands first, second, ..."""
    n = order.size
    if kind == SHUFFLE_ONCE:
        epoch = 0
    if kind != REPLACEMENT:
        for i in range(n):
            order[i] = i
    if kind == CYCLIC:
        return
    state = mix(mix(np.uint64(seed) + GOLDEN) + np.uint64(epoch) * GOLDEN)
    for i in range(n - 1, -1, -1):
        bound = np.uint64(n if kind == REPLACEMENT else i + 1)
        # Lemire's method: the high half of 32 random bits times the bound; a few products are rejected, so that
        # each index has exactly the same probability.
        state += GOLDEN
        product = (mix(state) >> np.uint64(32)) * bound
        if (product & LOW) < bound:
            threshold = (np.uint64(2**32) - bound) % bound
            while (product & LOW) < threshold:
                state += GOLDEN
                product = (mix(state) >> np.uint64(32)) * bound
        j = np.int64(product >> np.uint64(32))
        if kind == REPLACEMENT:
            order[i] = j
        else:  # Fisher and Yates
            other = order[j]
            order[j] = order[i]
            order[i] = other


def sample_order(n: int, order: Order = "shuffle", *, seed: int = 0, epoch: int = 0) -> np.ndarray:
    """Return the order in which [`sgd`][derivable.sgd] visits `n` rows in one epoch.

    Args:
        n: the number of rows.
        order: "shuffle" (a new permutation each epoch), "shuffle_once" (the same permutation in every epoch), "cyclic"
            (0, 1, 2, ...), or "replacement" (`n` independent draws, each row equally likely at each).
        seed: an integer from 0 to 2**64 - 1.
        epoch: the number of the epoch, from 0, less than 2**63.

    Returns:
        The indices, int64 of shape `(n,)`. They depend on the arguments only, today and in every later version.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if one is out of range.

    Examples:
        ```python
        import derivable as dv

        print(dv.sample_order(6, seed=1), dv.sample_order(6, seed=1, epoch=1))
        #> [1 0 3 4 5 2] [3 0 2 1 5 4]
        print(dv.sample_order(6, "replacement", seed=1))
        #> [0 1 4 3 2 2]
        ```

    References:
        G. L. Steele, D. Lea and C. H. Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014
        (SplitMix64). D. Lemire, *Fast random integer generation in an interval*, ACM Transactions on Modeling and
        Computer Simulation 29 (2019).
    """
    n = check_count(n, "n")
    if n > MOST_ROWS:
        raise ValueError(f"n must be at most {MOST_ROWS}, got {n}")
    kind = ORDERS.index(check_choice(order, "order", ORDERS))
    epoch = check_count(epoch, "epoch", least=0)
    if epoch >= 2**63:
        raise ValueError(f"epoch must be less than 2**63, got {epoch}")
    out = np.empty(n, np.int64)
    with np.errstate(over="ignore"):  # 64-bit numbers wrap around; without the JIT NumPy would warn
        fill_order(out, kind, check_seed(seed), epoch)
    return out


def check_seed(seed: int) -> np.uint64:
    """Return the seed as 64 bits, or say what it must be."""
    seed = check_count(seed, "seed", least=0)
    if seed >= 2**64:
        raise ValueError(f"seed must be less than 2**64, got {seed}")
    return np.uint64(seed)
