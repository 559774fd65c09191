"""Measure an epoch of SGD against scikit-learn, and a mini-batch step against torch.

`python tests/benchmarks/stochastic.py` prints the peers' time over ours; more than 1 means that ours is faster. All take
turns in one process, on one thread, in processor time; compilation and Numba's start-up come before. The coefficients
of both are compared: the updates are the same. `--big` adds a million rows of 100 features (0.8 GB).
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from sklearn.linear_model import SGDClassifier

import derivable as dv


def take_turns(runs, repeats):
    """Return the least processor time of each run."""
    for run in runs:
        run()  # compile
    times = [[] for _ in runs]
    for _ in range(repeats):
        for run, seen in zip(runs, times, strict=True):
            start = time.thread_time()
            run()
            seen.append(time.thread_time() - start)
    return [min(seen) for seen in times]


def made_up(n, d):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    y = np.where(rng.uniform(size=n) < 1 / (1 + np.exp(-X @ rng.normal(size=d) / np.sqrt(d) * 2)), 1.0, -1.0)
    return X, y


def epoch(n, d, repeats, loss="log_loss", epochs=1):
    X, y = made_up(n, d)
    ours = {"log_loss": dv.losses.logistic, "hinge": dv.losses.hinge}[loss]
    for order in ("cyclic", "shuffle"):
        model = SGDClassifier(
            loss=loss,
            penalty=None,
            learning_rate="constant",
            eta0=0.01,
            max_iter=epochs,
            tol=None,
            shuffle=order == "shuffle",
        )
        results = {}

        def peer(model=model, results=results):
            results["peer"] = model.fit(X, y)

        def mine(order=order, results=results):
            results["mine"] = dv.sgd(ours.gradient, np.zeros(d + 1), (X, y), step=0.01, epochs=epochs, order=order)

        theirs, own = take_turns([peer, mine], repeats)
        w, v = results["mine"].last, np.append(results["peer"].coef_, results["peer"].intercept_)
        accuracy = [np.mean(np.sign(X @ u[:-1] + u[-1]) == y) for u in (w, v)]
        same = f"coefficients differ by {np.abs(w - v).max():.0e}" if order == "cyclic" else "each its own shuffle"
        print(
            f"{epochs} epoch(s) of {n} x {d}, {loss}, {order}: {own:.4f} s, {own / n / epochs * 1e9:.0f} ns a row; "
            f"scikit-learn {theirs / own:.2f} times; accuracy {accuracy[0]:.4f} and {accuracy[1]:.4f}, {same}"
        )


def batches(n=32_000, d=50, b=32, repeats=5):
    try:
        import torch
    except ImportError:
        print("mini-batch: torch is not installed")
        return
    torch.set_num_threads(1)
    X, y = made_up(n, d)
    tx, ty = torch.tensor(X), torch.tensor(y)
    few = 300  # steps of torch
    results = {}

    def eager():
        w = torch.zeros(d, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.05)
        for k in range(few):
            rows = slice(k * b, (k + 1) * b)
            optimizer.zero_grad()
            torch.nn.functional.softplus(-ty[rows] * (tx[rows] @ w)).mean().backward()
            optimizer.step()
        results["eager"] = w.detach().numpy()

    def mine(order="cyclic", steps=few):
        results[order] = dv.sgd(
            dv.losses.logistic.batch_gradient,
            np.zeros(d),
            (X, y),
            step=0.05,
            steps=steps,
            batch=b,
            batched=True,
            order=order,
        ).last

    theirs, own = take_turns([eager, mine], repeats)
    many = 20_000
    own = [t / many for t in take_turns([lambda: mine("cyclic", many), lambda: mine("shuffle", many)], repeats)]
    mine()
    apart = np.abs(results["eager"] - results["cyclic"]).max()
    print(
        f"a step with a batch of {b} x {d}: {own[0] * 1e6:.2f} us in order, {own[1] * 1e6:.2f} us shuffled; torch eager "
        f"{theirs / few / own[0]:.0f} and {theirs / few / own[1]:.0f} times; points differ by {apart:.0e} after {few} steps"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--big", action="store_true", help="a million rows of 100 features")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    epoch(200_000, 50, options.repeats)
    epoch(200_000, 50, options.repeats, "hinge")
    epoch(1_000, 50, options.repeats, epochs=100)
    batches()
    if options.big:
        epoch(1_000_000, 100, 3)
