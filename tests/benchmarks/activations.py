"""Measure the activations against NumPy and SciPy on 65,536 numbers, as ratios, interleaved.

`python tests/benchmarks/activations.py` prints a line for each function: the time of the peer over ours, by the
minimum and by the median of the repetitions. More than 1 means that ours is faster. Peer and function take turns,
so that both meet the same disturbances.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import scipy.special

import derivable as dv

SIZE = 65_536


def peers(dtype):
    """Return for each function the formula that one would write with NumPy and SciPy, in the same dtype."""
    one, half, slope, c = (dtype(v) for v in (1, 0.5, 0.01, np.sqrt(2 / np.pi)))
    density = dtype(1 / np.sqrt(2 * np.pi))
    logistic = scipy.special.expit

    def dsilu(x):
        s = logistic(x)
        return s * (one + x * (one - s))

    def dgelu_tanh(x):
        t = np.tanh(c * (x + dtype(0.044715) * x * x * x))
        return half * (one + t) + half * x * (one - t * t) * c * (one + dtype(3 * 0.044715) * x * x)

    return {
        "softsign": ("x / (1 + np.abs(x))", lambda x: x / (one + np.abs(x))),
        "dsoftsign": ("1 / (1 + np.abs(x))**2", lambda x: one / (one + np.abs(x)) ** 2),
        "tanh": ("np.tanh", np.tanh),
        "dtanh": ("1 - np.tanh(x)**2", lambda x: one - np.tanh(x) ** 2),
        "sigmoid": ("expit", logistic),
        "dsigmoid": ("expit(x) * expit(-x)", lambda x: logistic(x) * logistic(-x)),
        "relu": ("np.maximum", lambda x: np.maximum(x, dtype(0))),
        "drelu": ("(x > 0).astype", lambda x: (x > 0).astype(dtype)),
        "leaky_relu": ("np.where", lambda x: np.where(x > 0, x, slope * x)),
        "dleaky_relu": ("np.where", lambda x: np.where(x > 0, one, slope)),
        "softplus": ("np.logaddexp(0, x)", lambda x: np.logaddexp(dtype(0), x)),
        "dsoftplus": ("expit", logistic),
        "silu": ("x * expit(x)", lambda x: x * logistic(x)),
        "dsilu": ("by expit", dsilu),
        "gelu": ("x * ndtr(x)", lambda x: x * scipy.special.ndtr(x)),
        "dgelu": ("by ndtr and np.exp", lambda x: scipy.special.ndtr(x) + x * density * np.exp(-half * x * x)),
        "gelu_tanh": (
            "by np.tanh",
            lambda x: half * x * (one + np.tanh(c * (x + dtype(0.044715) * x * x * x))),
        ),
        "dgelu_tanh": ("by np.tanh", dgelu_tanh),
    }


def measure(ours, peer, x, repeats):
    """Return the times of both, in nanoseconds an element, as two lists."""
    ours(x), peer(x)
    times = ([], [])
    for _ in range(repeats):
        for function, found in ((ours, times[0]), (peer, times[1])):
            start = time.perf_counter()
            for _ in range(4):
                function(x)
            found.append((time.perf_counter() - start) / 4 / x.size * 1e9)
    return times


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=100)
    repeats = parser.parse_args().repeats
    print(f"{SIZE} numbers, one thread; ratio = time of the peer / ours, by minimum (median)")
    print(f"{'function':12} {'peer':24} {'dtype':8} {'ours ns':>8} {'ratio':>6} {'(median)':>9}")
    for dtype in (np.float64, np.float32):
        x = (np.random.default_rng(0).normal(size=SIZE) * 3).astype(dtype)
        for name, (formula, peer) in peers(dtype).items():
            ours, theirs = measure(getattr(dv, name), peer, x, repeats)
            print(
                f"{name:12} {formula:24} {dtype.__name__:8} {min(ours):8.3f} {min(theirs) / min(ours):6.2f} "
                f"({np.median(theirs) / np.median(ours):.2f})"
            )


if __name__ == "__main__":
    main()
