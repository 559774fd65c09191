"""Synchronous SGD on two processes is the one-machine run; also when one of them is killed midway."""

import contextlib
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import derivable as dv

distributed = pytest.importorskip("distributed", reason="needs the extra derivable[distributed]")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Dask warns of ports, sizes and killed workers

N, D = 600, 5


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    return X, X @ rng.normal(size=D) + 0.1 * rng.normal(size=N)


@contextlib.contextmanager
def _environment(path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        yield


@pytest.fixture(scope="module")
def client():
    source = str(Path(dv.__file__).parents[1])
    with (
        _environment(source + os.pathsep + os.environ.get("PYTHONPATH", "")),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def one_machine(data, **options):
    return dv.sgd(dv.losses.squared.gradient, np.zeros(D), data, step=0.05, epochs=3, batch=60, **options)


def test_run_equals_the_one_machine_run_and_survives_a_killed_worker(client, data):
    squared = dv.losses.squared
    alone = one_machine(data, momentum=0.5, value=squared.value)
    options = {"step": 0.05, "epochs": 3, "batch": 60, "momentum": 0.5}
    run = dv.distributed_sgd(client, squared.gradient, np.zeros(D), data, value=squared.value, **options)
    np.testing.assert_allclose(run.iterates, alone.iterates, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(run.values, alone.values, rtol=1e-13)
    np.testing.assert_array_equal(run.kept, alone.kept)

    batched = dv.distributed_sgd(client, squared.batch_gradient, np.zeros(D), data, batched=True, shards=3, **options)
    np.testing.assert_allclose(batched.last, alone.last, rtol=1e-13, atol=1e-14)

    falling = {**options, "step": dv.schedules.inverse(0.05, 0.1)}
    sizes = dv.distributed_sgd(client, squared.gradient, np.zeros(D), data, **falling).step_sizes
    np.testing.assert_array_equal(sizes, dv.sgd(squared.gradient, np.zeros(D), data, **falling).step_sizes)

    # Kill the process of one worker while the steps go on.
    pids = list(client.run(os.getpid).values())
    killed = threading.Timer(0.2, os.kill, (pids[0], 9))
    killed.start()
    long = {**options, "epochs": 10}
    survived = dv.distributed_sgd(client, squared.gradient, np.zeros(D), data, **long)
    killed.join()
    expected = dv.sgd(squared.gradient, np.zeros(D), data, **long)
    np.testing.assert_allclose(survived.iterates, expected.iterates, rtol=1e-13, atol=1e-14)
    deadline = time.monotonic() + 30
    while pids[0] in client.run(os.getpid).values() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert pids[0] not in client.run(os.getpid).values()


def test_local_sgd_on_one_shard_is_sgd(client, data):
    gradient = dv.losses.squared.gradient
    run = dv.local_sgd(client, gradient, np.zeros(D), data, step=0.05, rounds=1, local_steps=100, shards=1, seed=3)
    alone = dv.sgd(gradient, np.zeros(D), data, step=0.05, steps=100, seed=3)
    np.testing.assert_allclose(run.last, alone.last, rtol=1e-13)

    # Two shards with minimisers 0 and 1.5 of their own and curvatures 1 and 4: after many local steps the mean of the
    # two, synchronously that of all rows, (1 * 0 + 4 * 1.5) / 5.
    ones = np.ones((2, 1))
    lots = [(ones, np.zeros(2)), (2 * ones, np.full(2, 3.0))]
    far = dv.local_sgd(client, gradient, np.zeros(1), lots, step=0.1, rounds=1, local_steps=1000)
    together = dv.distributed_sgd(client, gradient, np.zeros(1), lots, step=0.3, epochs=20, batch=4)
    np.testing.assert_allclose([far.last[0], together.last[0]], [0.75, 1.2], rtol=1e-9)


def test_points_and_labels_that_do_not_fit_are_named(client, data):
    X, y = data
    options = {"step": 0.1, "epochs": 1, "batch": 60}
    with pytest.raises(ValueError, match="w0 must be an array of 5 numbers"):
        dv.distributed_sgd(client, dv.losses.squared.gradient, np.zeros(3), data, **options)
    with pytest.raises(ValueError, match=r"a shard\[1\] must hold the labels"):
        dv.distributed_sgd(client, dv.losses.logistic.gradient, np.zeros(5), (X, (y > 0).astype(float)), **options)
    with pytest.raises(TypeError, match="weight_decay must be a real number"):
        dv.distributed_sgd(client, dv.losses.squared.gradient, np.zeros(5), data, weight_decay=np.ones(5), **options)
