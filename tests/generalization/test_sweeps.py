"""Sweeps over seeds and sizes: the same calls in a loop, in threads, in processes and on a Dask cluster."""

import importlib.util
import json
from pathlib import Path

import joblib
import numpy as np
import pytest

import derivable as dv

DOCS = Path(__file__).resolve().parents[2] / "docs"


def jobs():
    """A network, a construction and random features, for two seeds each: plain calls of the package."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
    for seed in range(2):
        yield joblib.delayed(dv.fit_random_labels)(X, y, hidden=(16,), epochs=3, seed=seed)
        yield joblib.delayed(dv.memorize)(X, y, seed)
        yield joblib.delayed(dv.random_feature_regression)(X, y, 80, seed=seed)


def numbers(results):
    return [r.parameters if isinstance(r, dv.LabelFit) else r(np.ones((1, 5))) for r in results]


@pytest.fixture(scope="module")
def expected():
    return numbers(call(*args, **kwargs) for call, args, kwargs in jobs())


def same(results, expected):
    for ours, theirs in zip(numbers(results), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_threads_give_what_the_loop_gives(expected):
    same(joblib.Parallel(n_jobs=2, prefer="threads")(jobs()), expected)


@pytest.mark.slow
def test_processes_give_what_the_loop_gives(expected):
    same(joblib.Parallel(n_jobs=2)(jobs()), expected)


@pytest.mark.slow
def test_a_dask_cluster_gives_what_the_loop_gives(dask_in_this_process, expected):
    same(joblib.Parallel(n_jobs=2)(jobs()), expected)


@pytest.fixture(scope="module")
def stored():
    return json.loads((DOCS / "data" / "generalization.json").read_text(encoding="utf-8"))["seeds"]


def script():
    spec = importlib.util.spec_from_file_location("sweep", DOCS / "data" / "generalization.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_stored_results_are_those_of_the_script(stored):
    """Compute one seed's cheap parts again; what depends on single precision is compared loosely."""
    sweep, row = script(), stored[3]
    assert [r["seed"] for r in stored] == list(range(10))
    again = sweep.interpolations(3)
    assert again.keys() == row["interpolations"].keys()
    for name, values in again.items():
        kept = row["interpolations"][name]
        assert values["train"] == pytest.approx(kept["train"], abs=0.002), name
        assert values["test"] == pytest.approx(kept["test"], abs=0.005), name
        if "linear" not in name:
            assert values["norm"] == pytest.approx(kept["norm"], rel=1e-3), name
    for seed in range(4):
        kept, again = stored[seed]["memorization"], sweep.memorization(seed)
        assert again["gap"] == pytest.approx(kept["gap"], rel=1e-6)
        assert again["condition"] == pytest.approx(kept["condition"], rel=1e-6)
    X, X_test, y, y_test = sweep.split(3)
    for fraction in (0.0, 1.0):
        fit = dv.fit_random_labels(X, y, fraction, test=(X_test, y_test), seed=3)
        kept = row["networks"][f"labels {fraction:g}"]
        assert fit.epochs_to_fit == pytest.approx(kept["epochs_to_fit"], rel=0.4)
        assert fit.test_accuracy[-1] == pytest.approx(kept["test"][-1], abs=0.06)


def test_what_the_chapter_says_of_the_ten_seeds(stored):
    """The sentences of the chapter that rest on the stored numbers."""

    def last(name, key):
        return np.array([row["networks"][name][key][-1] for row in stored])

    def test(name):
        return np.array([row["interpolations"][name]["test"] for row in stored])

    for name in stored[0]["networks"]:
        assert np.all(last(name, "train") == 1), name  # everything is fitted, random labels too
    assert last("labels 0", "test").mean() > 0.97
    assert abs(last("labels 1", "test").mean() - 0.1) < 0.02
    gain = last("true, shifts", "test").mean() - last("labels 0", "test").mean()
    assert 0.003 < gain < 0.01  # "less than one image in a hundred"
    epochs = np.array([[r["networks"][n]["epochs_to_fit"] for r in stored] for n in ("labels 0", "labels 1")])
    assert 8 < epochs[1].mean() / epochs[0].mean() < 20
    assert 140 < np.mean([r["networks"]["random, shifts"]["epochs_to_fit"] for r in stored]) < 165
    wins = np.sign(test("true, sigma 2") - test("true, sigma 0.5"))
    assert (np.sum(wins > 0), np.sum(wins < 0)) == (8, 1)
    assert test("true, ridge 1").mean() <= test("true, ridge 0").mean()  # "over ten splits it gains nothing"
    spread = np.ptp(test("true, ridge 0"))
    ridges = [test(f"true, ridge {r:g}").mean() for r in (0.0, 1e-3, 0.1, 1.0)]
    assert spread > np.ptp(ridges)
    assert max(row["memorization"]["residual"] for row in stored) < 1e-9
    peak = np.median([row["double descent"]["310, ridge 0"]["test"] for row in stored])
    assert peak < 0.6
    assert np.median([row["double descent"]["3000, ridge 0"]["test"] for row in stored]) > 0.95


def test_the_page_finds_its_data_and_figures(figures):
    from figures import generalization

    assert "±" in generalization.tables()
    assert "figure-randomization" in generalization.randomization()
