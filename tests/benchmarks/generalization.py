"""Measure an epoch of `fit_random_labels` against torch, and the construction against a triangular solve.

`python tests/benchmarks/generalization.py` prints the peers' time over ours: more than 1 means that ours is faster. All take
turns; the least of several repeats counts; compilation comes before.
"""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
from scipy.linalg import solve_triangular

from derivable.generalization import expressivity, randomization


def least(functions, repeats):
    """Return the least time of each function, all taking turns."""
    best = dict.fromkeys(functions, np.inf)
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def by_torch(sizes, X, labels, order, threads):
    """Return an epoch of the same training in torch; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    layers = []
    for a, b in pairwise(sizes):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, fused=True)
    points, targets = torch.from_numpy(X), torch.from_numpy(labels)

    def run():
        torch.set_num_threads(threads)
        for rows in torch.from_numpy(order).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(points[rows]), targets[rows]).backward()
            optimizer.step()

    return run


def main():
    """Print the ratios."""
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(1347, 64)).astype(np.float32), rng.integers(0, 10, 1347)
    order = rng.permutation(1347)
    for hidden in ((512,), (1024,), (256, 256)):
        sizes = np.array([64, *hidden, 10])
        w = randomization.initial_parameters(sizes, rng)
        work = randomization.make_workspace(sizes, len(X), 64)
        functions = {
            "ours": lambda w=w, sizes=sizes, work=work: randomization.epoch(
                w, sizes, X, labels, order, 64, 3e-3, 0.0, 0, work
            )
        }
        for threads in (1, 2):
            peer = by_torch([int(s) for s in sizes], X, labels, order, threads)
            if peer:
                functions[f"torch, {threads} thread(s)"] = peer
        times = least(functions, 15)
        peers = ", ".join(f"{name} {t / times['ours']:.1f}" for name, t in times.items() if name != "ours")
        print(f"an epoch of 1347 points, {'-'.join(map(str, sizes))}: {1e3 * times['ours']:.1f} ms; {peers}")
    n = 1797
    z, y, out = np.sort(rng.normal(size=n)), rng.normal(size=n), np.empty(n)
    b = np.append(z[0] - 1, z[:-1])
    times = least(
        {
            "ours": lambda: expressivity.solve_slopes(z, b, y, out),
            "forward substitution": lambda: expressivity.solve_forward(z, b, y, out),
            "matrix and solve_triangular": lambda: solve_triangular(np.maximum(z[:, None] - b, 0), y, lower=True),
        },
        10,
    )
    peers = ", ".join(f"{name} {t / times['ours']:.0f}" for name, t in times.items() if name != "ours")
    print(f"the weights for {n} points: {1e6 * times['ours']:.0f} us; {peers}")


if __name__ == "__main__":
    main()
