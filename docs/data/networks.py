"""Recompute `networks.json` and `networks.npz`: the chapter's network over seeds and splits, and beside torch.

Run it from the project's folder; it takes some minutes:

    python docs/data/networks.py --jobs 2

One job is one training run. The jobs go through joblib, so that a cluster takes them as they are: `--dask ADDRESS`
sends them to the scheduler of a running Dask cluster. With `--torch`, the comparison with torch is measured anew
too; it needs torch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import derivable as dv

FILE = Path(__file__).with_suffix(".json")
STEP, BATCH, EPOCHS = 3e-3, 32, 4


def split(seed: int = 0) -> Any:
    """Return training and test images and labels: 1347 and 450 of scikit-learn's digits, scaled to [0, 1]."""
    pixels, digits = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 1, 8, 8) / 16
    return train_test_split(images, digits, test_size=450, stratify=digits, random_state=seed)


def network() -> dv.Network:
    """Return the chapter's network."""
    return dv.Network(
        [
            dv.Conv(16, 3, padding=1),
            dv.Activation("relu"),
            dv.Conv(32, 3, padding=1),
            dv.Activation("relu"),
            dv.Pool(2),
            dv.Flatten(),
            dv.Dense(10, init="glorot"),
        ],
        (1, 8, 8),
    )


def trained(seed: int, split_seed: int, epochs: int = EPOCHS, shifts: int = 1) -> dv.TrainedNetwork:
    """Return the network, trained on one split of the data."""
    X, _, y, _ = split(split_seed)
    return dv.train(network(), X, y, epochs=epochs, step=STEP, batch=BATCH, shifts=shifts, seed=seed)


def run(seed: int, split_seed: int, epochs: int = EPOCHS, shifts: int = 1) -> dict[str, Any]:
    """Train once and measure; the time is that of training alone, in a process that has compiled already."""
    X, X_test, y, y_test = split(split_seed)
    dv.train(network(), X[:64], y[:64], epochs=1)  # compile
    began = time.perf_counter()
    model = trained(seed, split_seed, epochs, shifts)
    return {
        "seed": seed,
        "split": split_seed,
        "seconds": round(time.perf_counter() - began, 2),
        "test": round(model.accuracy(X_test, y_test), 5),
        "train": round(model.accuracy(X, y), 5),
    }


def jobs() -> Any:
    """Yield the sweep: five seeds on one split, five splits, five seeds without the shifted images, two short runs."""
    yield from (joblib.delayed(run)(seed, 0) for seed in range(5))
    yield from (joblib.delayed(run)(seed, seed) for seed in range(1, 5))
    yield from (joblib.delayed(run)(seed, 0, 9 * EPOCHS, 0) for seed in range(5))
    yield from (joblib.delayed(run)(seed, 0, 2, 0) for seed in range(2))  # which the tests compute again


def sort(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the results of `jobs` by name."""
    return {
        "seeds": results[:5],
        "splits": [results[0], *results[5:9]],
        "no shifts": results[9:14],
        "short": results[14:],
    }


# -------------------------------------------------------------------------------------------------- torch


def torch_network(parameters: Any) -> Any:
    """Return the same network in torch, with these parameters."""
    import torch

    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(512, 10),
    ).to(torch.from_numpy(parameters[0][0]).dtype)
    with torch.no_grad():
        for layer, (w, b) in zip((layers[0], layers[2], layers[6]), parameters, strict=True):
            layer.weight.copy_(torch.from_numpy(w if w.ndim == 4 else w.T))
            layer.bias.copy_(torch.from_numpy(b))
    return layers


def torch_steps(model: Any, X: Any, y: Any, schedule: Any, first: int, order: Any, batch: int = BATCH) -> Any:
    """Go once through the data with Adam, as a training loop in torch is written; yield after each step."""
    import torch

    optimizer = getattr(model, "optimizer", None) or torch.optim.Adam(model.parameters())
    model.optimizer = optimizer
    for k in range(0, len(y), batch):
        rows = order[k : k + batch]
        for group in optimizer.param_groups:
            group["lr"] = schedule(first + k // batch)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(X[rows]), y[rows]).backward()
        optimizer.step()
        yield


def same_losses(steps: int = 20) -> dict[str, Any]:
    """Return the loss before and after each of the first steps, here and in torch, in double precision.

    The biases do not begin at zero: with them, the black background puts many units at exactly 0, where the derivative
    of ReLU is a choice, and rounding makes it.
    """
    import torch

    X, _, y, _ = split()
    X, y = X[: steps * BATCH], y[: steps * BATCH]
    net, schedule = network(), dv.schedules.cosine(STEP, 100)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    start = tuple((w, 0.1 * rng.normal(size=b.shape)) for w, b in net.initial(0, np.float64))
    ours = dv.train(net, X, y, epochs=1, step=schedule, batch=BATCH, parameters=start, evaluate="all").run.values
    model, points, labels = torch_network(start), torch.from_numpy(X), torch.from_numpy(y)

    def loss() -> float:
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(model(points), labels))

    order = torch.from_numpy(dv.sample_order(len(y), seed=0))
    theirs = [loss(), *(loss() for _ in torch_steps(model, points, labels, schedule, 1, order))]
    return {"derivable": list(map(float, ours)), "torch": theirs}


def times(threads: int = 1, rounds: int = 15) -> dict[str, Any]:
    """Return the seconds of an epoch of the training images, here and in torch, in turns.

    On one thread, processor seconds. On more, the time on the clock, which is worth something only on a machine that
    does nothing else: where another process wants a core, torch's threads wait for each other, and it is 50 times
    slower.
    """
    import torch

    clock = time.process_time if threads == 1 else time.perf_counter
    before = dv.get_num_threads()
    dv.set_num_threads(threads)
    torch.set_num_threads(threads)
    X, _, y, _ = split()
    X = X.astype(np.float32)
    net, schedule = network(), dv.schedules.cosine(STEP, 1000)
    start = net.initial(0)
    model, points, labels = torch_network(start), torch.from_numpy(X), torch.from_numpy(y)
    order = torch.from_numpy(dv.sample_order(len(y), seed=0))
    dv.train(net, X[:64], y[:64], epochs=1)  # compile
    taken: dict[str, list[float]] = {"derivable": [], "torch": []}
    for k in range(rounds + 1):
        began = clock()
        dv.train(net, X, y, epochs=1, batch=BATCH, parameters=start)
        middle = clock()
        for _ in torch_steps(model, points, labels, schedule, 1, order):
            pass
        if k:  # the first round warms both
            taken["derivable"].append(round(middle - began, 4))
            taken["torch"].append(round(clock() - middle, 4))
    dv.set_num_threads(before)
    ratios = [a / b for a, b in zip(taken["torch"], taken["derivable"], strict=True)]
    versions = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    return {**taken, "ratio": round(float(np.median(ratios)), 2), "versions": versions}


def main() -> None:
    """Compute everything and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--dask", help="address of a Dask scheduler")
    parser.add_argument("--torch", action="store_true", help="measure the comparison with torch, too")
    options = parser.parse_args()
    stored = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    if options.torch:
        stored |= {"losses": same_losses(), "times": times(), "clock": times(2)}
    else:
        with contextlib.ExitStack() as stack:
            if options.dask:
                from distributed import Client

                stack.enter_context(Client(options.dask))
                stack.enter_context(joblib.parallel_config(backend="dask"))
            stored |= sort(joblib.Parallel(n_jobs=options.jobs, verbose=10)(jobs()))
        trained(0, 0).save(FILE.with_suffix(".npz"))  # for the figure
    FILE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
