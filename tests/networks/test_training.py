"""Training: what train composes, its arguments, seeds, files; sweeps in threads, processes and on a Dask cluster."""

import importlib.util
import json
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest

import derivable as dv

DATA = Path(__file__).resolve().parents[2] / "docs" / "data" / "networks.py"


def script():
    spec = importlib.util.spec_from_file_location("sweep", DATA)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SWEEP = script()
IMAGES, _, DIGITS, _ = SWEEP.split()
X, Y = IMAGES[:400], DIGITS[:400]
X_TEST, Y_TEST = IMAGES[400:800], DIGITS[400:800]


@pytest.fixture(scope="module")
def network():
    """The chapter's network, so that it is compiled once for all that is tested here."""
    return SWEEP.network()


def train(network, seed=0, **options):
    return dv.train(network, X, Y, **{"epochs": 2, "step": 1e-2, "seed": seed} | options)


def flat(model):
    return np.concatenate([a.ravel() for pair in model.parameters for a in pair])


def test_train_is_sgd_of_the_gradient(network):
    model = train(network, epochs=6)
    run = dv.sgd(
        dv.grad(network.loss),
        network.initial(0),
        (X.astype(np.float32), Y),
        step=dv.schedules.cosine(1e-2, 6 * 13),
        epochs=6,
        batch=32,
        batched=True,
        rule=dv.Adam(),
        keep="last",
    )
    assert all(
        np.array_equal(a, b) for p, q in zip(model.parameters, run.last, strict=True) for a, b in zip(p, q, strict=True)
    )
    assert flat(model).dtype == np.float32
    assert model.accuracy(X, Y) > 0.97
    assert model.accuracy(X_TEST, Y_TEST) > 0.9
    assert model(X_TEST).shape == (400, 10)
    assert model.run.steps == 6 * 13


def test_the_seed_decides_everything(network):
    first, again, other = train(network), train(network), train(network, 1)
    assert np.array_equal(flat(first), flat(again))
    assert not np.array_equal(flat(first), flat(other))
    given = train(network, 1, parameters=network.initial(0))
    assert not np.array_equal(flat(given), flat(first))  # the same start, another order


def test_held_out_data_callback_and_early_stop(network):
    seen = []
    model = train(
        network, epochs=30, step=0.05, schedule="constant", held_out=(X_TEST, Y_TEST), patience=2, callback=seen.append
    )
    run = model.run
    assert run.reason == "early"
    assert run.steps < 30 * 13
    assert len(seen) == len(run.values) - 2  # neither at the start nor at the stop
    best = run.held_out_values.min()
    loss = dv.softmax_cross_entropy(model(X_TEST).astype(np.float64), Y_TEST)
    assert loss == pytest.approx(best, rel=1e-4)  # the parameters are the best that were seen
    assert loss < dv.softmax_cross_entropy(network(run.last, X_TEST).astype(np.float64), Y_TEST)


def test_shifted_images():
    images = np.arange(24.0).reshape(2, 1, 3, 4)
    nine = dv.shift_images(images)
    assert nine.shape == (18, 1, 3, 4)
    assert np.array_equal(nine[:2], images)
    wide = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    every = [wide[:, :, i : i + 3, j : j + 4] for i in range(3) for j in range(3)]
    assert sorted(a.tobytes() for a in np.split(nine, 9)) == sorted(np.ascontiguousarray(a).tobytes() for a in every)
    assert np.array_equal(dv.shift_images(images, 0), images)
    assert not dv.shift_images(images, 5)[2:].any()


def test_training_on_shifted_images_is_training_on_them_all(network):
    few = {"epochs": 1, "parameters": network.initial(4)}
    one = dv.train(network, X[:40], Y[:40], shifts=1, **few)
    two = dv.train(network, dv.shift_images(X[:40]), np.tile(Y[:40], 9), **few)
    assert np.array_equal(flat(one), flat(two))


def test_files(network, tmp_path):
    model = dv.TrainedNetwork(network, network.initial(5))
    path = tmp_path / "model.npz"
    model.save(path)
    again = dv.load_network(path)
    assert np.array_equal(flat(model), flat(again))
    assert again.network.layers == network.layers
    assert again.network.source == network.source
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        dv.load_network(tmp_path / "nothing.npz")
    (tmp_path / "text.npz").write_text("no zip file")
    np.savez(tmp_path / "other.npz", weights=np.ones(3))
    np.savez(tmp_path / "objects.npz", about=np.array([{}], dtype=object))
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(tmp_path / "shapes.npz", **arrays | {"w0": arrays["w0"][1:]})
    np.savez(
        tmp_path / "words.npz", **arrays | {"about": np.array(str(arrays["about"]).replace("network 1", "network 2"))}
    )
    np.savez(tmp_path / "layer.npz", **arrays | {"about": np.array(str(arrays["about"]).replace("Pool", "Drop"))})
    for name in ("text", "other", "objects", "shapes", "words", "layer"):
        with pytest.raises(ValueError, match=f"{name}.npz must be a file that TrainedNetwork.save wrote"):
            dv.load_network(tmp_path / f"{name}.npz")


def test_arguments_are_checked(network):
    for options, error, message in (
        ({"X": X[:, 0]}, ValueError, r"X must have the shape \(points, 1, 8, 8\)"),
        ({"y": Y[1:]}, ValueError, "y must have one label for each of the 400 points, got 399"),
        ({"y": Y + 1}, ValueError, "y must hold ints from 0 to 9, got 1 to 10"),
        ({"y": Y / 2}, TypeError, "y must be numeric"),
        ({"X": np.where(X > 0.9, np.nan, X)}, ValueError, "X must be finite"),
        ({"shifts": -1}, ValueError, "shifts must be at least 0"),
        ({"schedule": "linear"}, ValueError, "schedule must be one of 'cosine', 'constant'"),
        ({"step": 0}, ValueError, "step must be greater than 0"),
        ({"held_out": X_TEST}, TypeError, "held_out must be a tuple"),
        ({"parameters": ()}, ValueError, "parameters must have the shapes"),
        ({"network": network.function}, TypeError, "network must be a dv.Network"),
        ({"network": dv.Network([dv.Conv(10, 3)], (1, 8, 8))}, ValueError, "network must end with scores"),
    ):
        with pytest.raises(error, match=message):
            dv.train(**{"network": network, "X": X, "y": Y, "epochs": 1} | options)
    with pytest.raises(ValueError, match="y must have one label"):
        dv.TrainedNetwork(network, network.initial()).accuracy(X, Y[1:])


def test_a_network_travels_as_its_layers(network):
    model = pickle.loads(pickle.dumps(dv.TrainedNetwork(network, network.initial(1))))
    assert np.array_equal(model(X[:3]), network(network.initial(1), X[:3]))


# ------------------------------------------------------------------------------------------- sweeps over seeds


def jobs():
    return [joblib.delayed(SWEEP.run)(seed, 0, 2, 0) for seed in range(2)]


@pytest.fixture(scope="module")
def expected():
    return [call(*args) for call, args, _ in jobs()]


def same(results, expected, tolerance=0.003):  # one image of 450
    for ours, theirs in zip(results, expected, strict=True):
        assert (ours["seed"], ours["split"]) == (theirs["seed"], theirs["split"])
        assert ours["test"] == pytest.approx(theirs["test"], abs=tolerance)


@pytest.mark.slow
def test_a_sweep_in_processes_gives_what_the_loop_gives(expected):
    same(joblib.Parallel(n_jobs=2)(jobs()), expected)


@pytest.mark.slow
def test_a_sweep_on_a_dask_cluster_gives_what_the_loop_gives(dask_in_this_process, expected):
    same(joblib.Parallel(n_jobs=2)(jobs()), expected)


def test_what_the_chapter_says_of_the_stored_runs(expected):
    """The sentences that rest on the stored numbers, and that the script's runs are the stored ones."""
    stored = json.loads(DATA.with_suffix(".json").read_text(encoding="utf-8"))
    same(expected, stored["short"], tolerance=0.03)  # another processor rounds otherwise
    assert {name: len(rows) for name, rows in stored.items() if isinstance(rows, list)} == {
        name: len(rows) for name, rows in SWEEP.sort([None] * len(list(SWEEP.jobs()))).items()
    }
    test = {name: [row["test"] for row in stored[name]] for name in ("seeds", "splits", "no shifts")}
    assert np.mean(test["seeds"]) >= 0.985
    assert np.mean(test["splits"]) >= 0.985
    assert np.mean(test["seeds"]) > np.mean(test["no shifts"])
    assert max(row["seconds"] for row in stored["seeds"]) < 60
    losses = stored["losses"]
    assert len(losses["torch"]) == 21
    np.testing.assert_allclose(losses["derivable"], losses["torch"], rtol=1e-6)
    assert min(stored["times"]["ratio"], stored["clock"]["ratio"]) >= 1  # torch's seconds by ours
