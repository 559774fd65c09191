"""Recompute `generalization.json`: the chapter's experiments over ten seeds.

Run it from the project's folder; it takes some minutes:

    python docs/data/generalization.py --jobs 2

One job is one seed: it splits the digits anew, corrupts, trains and measures. The jobs go through joblib, so that a
cluster takes them as they are: `--dask ADDRESS` sends them to the scheduler of a running Dask cluster.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import derivable as dv

FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
FEATURES = (10, 20, 50, 100, 150, 200, 250, 280, 300, 310, 330, 400, 600, 1000, 2000, 3000)
RIDGES = (0.0, 1e-3, 0.1, 1.0)
SIGMAS = (0.5, 1.0, 2.0)


def split(seed: int) -> Any:
    """Return training and test points and labels: 1347 and 450 of scikit-learn's digits, scaled to [0, 1]."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, test_size=450, stratify=y, random_state=seed)


def shifts(X: Any) -> Any:
    """Return the images and their shifts by one pixel to the four sides, zeros moving in."""
    images = np.pad(X.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    corners = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    return np.concatenate([images[:, i : i + 8, j : j + 8].reshape(-1, 64) for i, j in corners])


def accuracy(function: Any, X: Any, labels: Any) -> float:
    """Return the part of the points whose label has the highest score."""
    return round(float(np.mean(function(X).argmax(axis=1) == labels)), 5)


def history(fit: dv.LabelFit) -> dict[str, Any]:
    """Return what is kept of a network's training."""
    return {
        "epochs_to_fit": fit.epochs_to_fit,
        "train": [round(float(a), 5) for a in fit.train_accuracy],
        "test": [round(float(a), 5) for a in fit.test_accuracy] if fit.test_accuracy is not None else None,
    }


def networks(seed: int) -> dict[str, Any]:
    """Train the network on true, partly corrupted and random labels, and on inputs that are noise."""
    X, X_test, y, y_test = split(seed)
    rng = np.random.default_rng(seed)
    test = (X_test, y_test)
    found: dict[str, Any] = {
        f"labels {fraction:g}": history(dv.fit_random_labels(X, y, fraction, test=test, seed=seed))
        for fraction in FRACTIONS
    }
    mixed = rng.permuted(X, axis=1)
    noise = rng.normal(X.mean(), X.std(), size=X.shape)
    found["random pixels"] = history(dv.fit_random_labels(mixed, y, 0.0, test=test, seed=seed))
    found["noise"] = history(dv.fit_random_labels(noise, y, 0.0, test=test, seed=seed))
    for decay in (0.1, 1.0):
        fit = dv.fit_random_labels(X, y, 0.0, test=test, weight_decay=decay, seed=seed)
        found[f"true, decay {decay:g}"] = history(fit)
    found["random, decay 0.1"] = history(dv.fit_random_labels(X, y, 1.0, test=test, weight_decay=0.1, seed=seed))
    labels = dv.corrupt_labels(y, 1.0, seed=seed)
    for name, given in (("true", y), ("random", labels)):
        fit = dv.fit_random_labels(shifts(X), np.tile(given, 5), 0.0, test=test, seed=seed)
        found[f"{name}, shifts"] = history(fit)
    wide = dv.fit_random_labels(X, y, 1.0, hidden=(1024,), test=test, seed=seed)
    found["random, width 1024"] = history(wide)
    return found


def interpolations(seed: int) -> dict[str, Any]:
    """Fit kernels and lines, with and without a ridge, to true and to random labels."""
    X, X_test, y, y_test = split(seed)
    random = dv.corrupt_labels(y, 1.0, seed=seed)
    found: dict[str, Any] = {}

    def note(name: str, fit: dv.LinearFit, X: Any, X_test: Any, labels: Any) -> None:
        found[name] = {
            "train": accuracy(fit, X, labels), "test": accuracy(fit, X_test, y_test), "norm": round(fit.norm, 4),
        }  # fmt: skip

    for kind, labels in (("true", y), ("random", random)):
        targets = np.eye(10)[labels]
        for sigma in SIGMAS:
            fit = dv.min_norm_solution(X, targets, kernel=dv.GaussianKernel(sigma))
            note(f"{kind}, sigma {sigma:g}", fit, X, X_test, labels)
        for ridge in RIDGES:
            fit = dv.min_norm_solution(X, targets, kernel=dv.GaussianKernel(1.0), ridge=ridge)
            note(f"{kind}, ridge {ridge:g}", fit, X, X_test, labels)
        with_ones = [np.column_stack([Z, np.ones(len(Z))]) for Z in (X, X_test)]
        note(f"{kind}, linear", dv.min_norm_solution(with_ones[0], targets), *with_ones, labels)
    return found


def double_descent(seed: int) -> dict[str, Any]:
    """Fit random features, few to many, to 300 points."""
    X, X_test, y, y_test = split(seed)
    few, labels = X[:300], y[:300]
    found = {}
    for features in FEATURES:
        for ridge in (0.0, 0.1):
            fit = dv.random_feature_regression(few, np.eye(10)[labels], features, seed=seed, ridge=ridge)
            found[f"{features}, ridge {ridge:g}"] = {
                "train": accuracy(fit, few, labels),
                "test": accuracy(fit, X_test, y_test),
                "error": round(float(np.mean((fit(X_test) - np.eye(10)[y_test]) ** 2)), 6),
                "norm": round(fit.norm, 4),
            }
    return found


def memorization(seed: int) -> dict[str, Any]:
    """Let a network of 2n + d weights take random labels on all 1797 points."""
    X, y = load_digits(return_X_y=True)
    fit = dv.memorize(X / 16, dv.corrupt_labels(y, 1.0, seed=seed), seed)
    return {
        "gap": fit.gap, "condition": fit.condition, "residual": fit.residual,
        "largest weight": float(np.abs(fit.weights).max()),
    }  # fmt: skip


def experiment(seed: int) -> dict[str, Any]:
    """Return all results of one seed."""
    return {
        "seed": seed,
        "networks": networks(seed),
        "interpolations": interpolations(seed),
        "double descent": double_descent(seed),
        "memorization": memorization(seed),
    }


def main() -> None:
    """Run all seeds and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--dask", help="the address of a Dask scheduler; by default the jobs run here")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    chosen = parser.parse_args()
    backend: Any = contextlib.nullcontext()
    if chosen.dask:
        from distributed import Client

        Client(chosen.dask)
        backend = joblib.parallel_config(backend="dask")
    with backend:
        rows = joblib.Parallel(n_jobs=chosen.jobs, verbose=10)(
            joblib.delayed(experiment)(seed) for seed in range(chosen.seeds)
        )
    lines = ",\n".join(json.dumps(row) for row in rows)
    chosen.out.write_text(f'{{"command": "python docs/data/generalization.py", "seeds": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
