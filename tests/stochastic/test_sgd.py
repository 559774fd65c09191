"""The loop against its definition in plain NumPy; orders, averages, records, stops, errors."""

import subprocess
import sys
import threading
import warnings
from fractions import Fraction

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

import derivable as dv

squared, logistic, hinge = dv.losses.squared, dv.losses.logistic, dv.losses.hinge


@njit
def pull(w, c):
    return w - c


@njit
def term(w, c):
    return (w - c) ** 2 / 2


ROWS = (np.array([2.0, -1.0]),)


def table(n=60, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, X @ rng.normal(size=d) + 0.5 * rng.normal(size=n)


def by_definition(X, y, w, step, steps, *, batch=1, order="shuffle", seed=0, weights=None, decay=0.0, clip=np.inf):
    """SGD on the squared loss, spelled out."""
    n = len(y)
    per_epoch = -(-n // batch)
    points = [w]
    for t in range(steps):
        epoch, k = divmod(t, per_epoch)
        rows = dv.sample_order(n, order, seed=seed, epoch=epoch)[k * batch : (k + 1) * batch]
        share = np.ones(rows.size) if weights is None else np.asarray(weights)[rows]
        g = ((X[rows] @ w - y[rows]) * share) @ X[rows] / rows.size
        g = g * min(1, clip / max(np.linalg.norm(g), 1e-300))
        w = w - (step(t + 1) if callable(step) else step) * (g + decay * w)
        points.append(w)
    return np.array(points)


# ------------------------------------------------------------------------------------- against the definition


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 60),
    order=st.sampled_from(["shuffle", "replacement", "cyclic", "shuffle_once"]),
    seed=st.integers(0, 2**64 - 1),
    decay=st.sampled_from([0.0, 0.3]),
    clip=st.sampled_from([None, 0.5]),
    weighted=st.booleans(),
)
def test_points_are_those_of_the_definition(batch, order, seed, decay, clip, weighted):
    X, y = table()
    weights = np.linspace(0, 2, 60) if weighted else None
    run = dv.sgd(
        squared.gradient, np.ones(4), (X, y), step=0.05, steps=150, batch=batch, order=order, seed=seed,
        weights=weights, weight_decay=decay, clip=clip, keep="all", average=0.5,
    )  # fmt: skip
    points = by_definition(
        X, y, np.ones(4), 0.05, 150, batch=batch, order=order, seed=seed, weights=weights, decay=decay,
        clip=np.inf if clip is None else clip,
    )  # fmt: skip
    np.testing.assert_allclose(run.iterates, points, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run.average, points[75:150].mean(axis=0), rtol=1e-9, atol=1e-12)


def test_batches_and_rows_give_the_same_points():
    X, y = table(61)
    options = {"step": 0.05, "epochs": 4, "batch": 8, "value": squared.value}
    rows = dv.sgd(squared.gradient, np.zeros(4), (X, y), **options)
    whole = dv.sgd(
        squared.batch_gradient, np.zeros(4), (X, y), **{**options, "value": squared.batch_value}, batched=True
    )
    np.testing.assert_allclose(rows.iterates, whole.iterates, rtol=1e-12)
    np.testing.assert_allclose(rows.values, whole.values, rtol=1e-12)
    assert rows.steps == 4 * 8  # the last batch of an epoch has five rows
    assert dv.sgd(squared.gradient, np.zeros(4), (X, y), **options, drop_last=True).steps == 4 * 7


@pytest.mark.parametrize("loss", [squared, logistic, hinge], ids=lambda loss: loss.name)
@pytest.mark.parametrize("intercept", [0, 1])
def test_shortcut_for_linear_models_is_the_general_way(loss, intercept):
    X, y = table()
    y = y if loss is squared else np.where(y > 0, 1.0, -1.0)
    start = np.full(4 + intercept, 0.1)
    options = {"step": dv.schedules.inverse_sqrt(0.1, 0.1), "epochs": 5, "weight_decay": np.arange(4.0 + intercept) / 9}
    fast = dv.sgd(loss.gradient, start, (X, y), **options)
    slow = dv.sgd(dv.in_place(loss.gradient.into), start, (X, y), **options)
    np.testing.assert_allclose(fast.iterates, slow.iterates, rtol=1e-12, atol=1e-14)
    # evaluated more often, kept more often, or in stretches of another length: the same points to the bit
    often = dv.sgd(loss.gradient, start, (X, y), **options, evaluate=7, keep=13, callback=lambda p: None)
    np.testing.assert_array_equal(fast.last, often.last)


@pytest.mark.parametrize("loss", [squared, logistic, hinge], ids=lambda loss: loss.name)
def test_gradients_of_the_losses(loss):
    rng = np.random.default_rng(3)
    X, y, w = rng.normal(size=(6, 3)), np.array([1.0, -1, 1, -1, 1, -1]), rng.normal(size=4)
    for i in range(6):
        numerical = dv.numerical_gradient(lambda v, i=i: loss.value(v, X[i], y[i]), w)
        np.testing.assert_allclose(loss.gradient(w, X[i], y[i]), numerical, atol=1e-7)
    np.testing.assert_allclose(loss.batch_value(w, X, y), np.mean([loss.value(w, X[i], y[i]) for i in range(6)]))
    mean = np.mean([loss.gradient(w, X[i], y[i]) for i in range(6)], axis=0)
    np.testing.assert_allclose(loss.batch_gradient(w, X, y), mean, rtol=1e-12)


def test_logistic_loss_far_out_neither_overflows_nor_vanishes():
    x = np.array([1.0])
    assert logistic.value(np.array([-800.0]), x, 1.0) == 800.0
    assert logistic.gradient(np.array([-800.0]), x, 1.0)[0] == -1.0
    assert 0 <= logistic.value(np.array([800.0]), x, 1.0) < 1e-300


# --------------------------------------------------------------------------------------- shapes of parameters


@njit
def network(w, x, y):
    (W, b), v = w
    return (np.sum(v * np.tanh(W @ x + b)) - y) ** 2


def test_nested_tuple_of_arrays():
    X, y = table()
    rng = np.random.default_rng(0)
    start = ((rng.normal(size=(3, 4)), rng.normal(size=3)), rng.normal(size=3))
    gradient = dv.grad(network)
    run = dv.sgd(gradient, start, (X, y), step=0.01, epochs=2, value=network, keep="all", average="all")
    (W, b), v = start
    for epoch in range(2):
        for i in dv.sample_order(60, epoch=epoch):
            (dW, db), dv_ = gradient(((W, b), v), X[i], y[i])
            W, b, v = W - 0.01 * dW, b - 0.01 * db, v - 0.01 * dv_
    (W2, b2), v2 = run.last
    for ours, theirs in ((W2, W), (b2, b), (v2, v)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    assert run.iterates[0][0].shape == (121, 3, 4)
    assert run.average[1].shape == (3,)
    assert run.values[-1] < run.values[0]
    assert start[1] is not run.last[1]


@njit
def matrix_pull(W, X, Y):
    return X.T @ (X @ W - Y) / X.shape[0]


def test_matrix_and_float32():
    X, _ = table()
    Y = X @ np.arange(8.0).reshape(4, 2)
    run = dv.sgd(matrix_pull, np.zeros((4, 2)), (X, Y), step=0.3, epochs=200, batch=20, batched=True)
    np.testing.assert_allclose(run.last, np.arange(8.0).reshape(4, 2), rtol=1e-8, atol=1e-8)
    assert run.iterates.shape == (201, 4, 2)

    X32, y32 = (a.astype(np.float32) for a in table())
    run = dv.sgd(squared.gradient, np.zeros(4, np.float32), (X32, y32), step=0.05, epochs=3)
    assert run.last.dtype == np.float32
    double = dv.sgd(squared.gradient, np.zeros(4), table(), step=0.05, epochs=3)
    np.testing.assert_allclose(run.last, double.last, rtol=1e-4)


def test_any_layout_of_data_gives_the_same_points():
    X, y = table()
    expected = dv.sgd(squared.gradient, np.zeros(4), (X, y), step=0.05, epochs=2).last
    frozen = X.copy()
    frozen.flags.writeable = False
    for data in (
        (np.asfortranarray(X), y),
        (X[::-1][::-1], y),
        (np.repeat(X, 2, axis=0)[::2], y),
        (X.astype(">f8"), y),
    ):
        np.testing.assert_array_equal(dv.sgd(squared.gradient, np.zeros(4), data, step=0.05, epochs=2).last, expected)
    np.testing.assert_array_equal(
        dv.sgd(squared.gradient, np.zeros(4), (frozen, y), step=0.05, epochs=2).last, expected
    )


# ---------------------------------------------------------------------------------------- orders and schedules


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 300), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 10**9))
def test_orders(n, seed, epoch):
    shuffled = dv.sample_order(n, seed=seed, epoch=epoch)
    np.testing.assert_array_equal(np.sort(shuffled), np.arange(n))
    drawn = dv.sample_order(n, "replacement", seed=seed, epoch=epoch)
    assert drawn.size == n
    assert drawn.min() >= 0
    assert drawn.max() < n
    once = dv.sample_order(n, "shuffle_once", seed=seed, epoch=epoch)
    np.testing.assert_array_equal(once, dv.sample_order(n, seed=seed))
    np.testing.assert_array_equal(dv.sample_order(n, "cyclic", seed=seed, epoch=epoch), np.arange(n))


def test_orders_are_fair_and_stay_as_they_are():
    n, epochs = 7, 14_000
    places = np.zeros((n, n))
    drawn = np.zeros(n)
    for e in range(epochs):
        places[np.arange(n), dv.sample_order(n, epoch=e)] += 1
        drawn += np.bincount(dv.sample_order(n, "replacement", epoch=e), minlength=n)
    # chi-squared: 36 degrees of freedom below 75, 6 below 25, each exceeded once in ten thousand seeds or so
    assert np.sum((places - epochs / n) ** 2) / (epochs / n) < 75
    assert np.sum((drawn - epochs) ** 2) / epochs < 25
    # Recorded: a change of these numbers changes every run that anybody has kept.
    assert dv.sample_order(6, seed=1).tolist() == [1, 0, 3, 4, 5, 2]
    assert dv.sample_order(6, "replacement", seed=1).tolist() == [0, 1, 4, 3, 2, 2]


PROGRAM = """
import numpy as np, derivable as dv
dv.set_num_threads({threads})
rng = np.random.default_rng(0)
X = rng.normal(size=(500, 20))
y = np.where(rng.normal(size=500) > 0, 1.0, -1.0)
run = dv.sgd(dv.losses.logistic.gradient, np.zeros(21), (X, y), step=0.1, epochs=20, seed=9)
print(run.last.tobytes().hex())
"""


@pytest.mark.slow
def test_same_seed_same_points_in_new_processes_and_threads():
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM.format(threads=threads)], capture_output=True, text=True, check=True
        ).stdout
        for threads in (1, 4)
    }
    assert len(outputs) == 1
    here = {}

    def work(k):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(500, 20))
        y = np.where(rng.normal(size=500) > 0, 1.0, -1.0)
        run = dv.sgd(logistic.gradient, np.zeros(21), (X, y), step=0.1, epochs=20, seed=9)
        here[k] = run.last.tobytes().hex()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(here) == 4
    assert set(here.values()) == {outputs.pop().strip()}


def test_global_generator_is_neither_read_nor_moved():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = dv.sgd(pull, 0.0, ROWS, step=0.1, epochs=50).last
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert dv.sgd(pull, 0.0, ROWS, step=0.1, epochs=50).last == first
    assert dv.sgd(pull, 0.0, ROWS, step=0.1, epochs=50, seed=1).last != first


@pytest.mark.parametrize(
    "step",
    [
        dv.schedules.constant(0.3),
        dv.schedules.inverse(0.3, 0.1),
        dv.schedules.inverse(0.3, 0.1, 0.75),
        dv.schedules.inverse_sqrt(0.3),
        dv.schedules.cosine(0.3, 50, warmup=10),
        dv.schedules.step_decay(0.3, 7, 0.5),
        dv.schedules.constant(0.3).with_warmup(5),
        lambda t: 0.3 / t,
        np.linspace(0.3, 0.01, 50),
        0.3,
    ],
)
def test_schedules(step):
    run = dv.sgd(pull, 5.0, ROWS, step=step, steps=50, keep="all")
    size = step if callable(step) else (lambda t: step[t - 1]) if np.ndim(step) else (lambda t: step)
    w, points = 5.0, [5.0]
    for t in range(1, 51):
        c = ROWS[0][dv.sample_order(2, epoch=(t - 1) // 2)[(t - 1) % 2]]
        w -= size(t) * (w - c)
        points.append(w)
    np.testing.assert_allclose(run.iterates, points, rtol=1e-12)
    np.testing.assert_allclose(np.broadcast_to(run.step_sizes, 50), [size(t) for t in range(1, 51)], rtol=1e-14)


def test_cosine_stays_at_its_floor():
    schedule = dv.schedules.cosine(0.5, 10, 0.01)  # elsewhere it has risen again, restarted or divided by 0
    assert schedule(1) == 0.5
    np.testing.assert_allclose([schedule(t) for t in (11, 12, 20, 21, 10**15)], 0.01, rtol=1e-14)
    assert np.all(np.diff([schedule(t) for t in range(1, 12)]) < 0)


# ----------------------------------------------------------------------------------------- records and stops


def test_records():
    X, y = table()
    run = dv.sgd(squared.gradient, np.zeros(4), (X, y), step=0.02, steps=150, value=squared.value)
    assert run.evaluated.tolist() == run.kept.tolist() == [1, 61, 121, 151]
    for point, value in zip(run.iterates, run.values, strict=True):
        np.testing.assert_allclose(value, np.mean((X @ point - y) ** 2) / 2, rtol=1e-12)
    first = dv.sample_order(60)[0]
    np.testing.assert_allclose(run.gradient_norms[0], np.linalg.norm(y[first] * X[first]), rtol=1e-12)
    np.testing.assert_array_equal(run.best, run.iterates[np.argmin(run.values)])
    assert run.average is None
    assert run.held_out_values is None
    assert run.epochs == 2.5
    assert dv.sgd(squared.gradient, np.zeros(4), (X, y), step=0.02, steps=150, keep="last").kept.tolist() == [151]
    assert dv.sgd(pull, 0.0, ROWS, step=0.1, steps=7, keep=3, evaluate=2).kept.tolist() == [1, 4, 7, 8]
    assert dv.sgd(pull, 0.0, ROWS, step=0.1, steps=7, keep=3, evaluate=2).evaluated.tolist() == [1, 3, 5, 7, 8]


def test_early_stop_on_held_out_rows():
    X, y = table(30, 25)
    Xh, yh = table(200, 25, seed=1)
    options = {"value": squared.value, "held_out": (Xh, yh), "step": 0.01, "epochs": 2000}
    run = dv.sgd(squared.gradient, np.zeros(25), (X, y), patience=15, **options)
    assert run.reason == "early"
    assert run.epochs < 2000
    lowest = int(np.argmin(run.held_out_values))
    assert len(run.held_out_values) - 1 - lowest == 15
    np.testing.assert_allclose(np.mean((Xh @ run.best - yh) ** 2) / 2, run.held_out_values[lowest], rtol=1e-12)
    assert run.values[-1] < run.values[lowest]  # the training loss went on falling


def test_min_delta_counts_from_the_last_real_fall():
    # A value that creeps down by less than min_delta each time does fall in the end; measured from the lowest so far
    # it never would.
    run = dv.sgd(
        pull, 5.0, (np.zeros(1),), step=1e-3, epochs=4000, order="cyclic", value=term, patience=50, min_delta=0.1
    )
    assert run.steps > 300
    assert run.reason == "early"


def test_callback_stops_and_progress_shows(capsys):
    seen = []

    def callback(progress):
        seen.append((progress.t, progress.w, progress.value))
        return progress.t >= 6

    run = dv.sgd(pull, 0.0, ROWS, step=0.1, epochs=50, value=term, callback=callback, progress=True)
    assert run.reason == "callback"
    assert [t for t, _, _ in seen] == [2, 4, 6]
    assert run.steps == 6
    assert seen[-1][1] == run.last
    assert seen[-1][2] == run.values[-1]
    assert "6/100 steps" in capsys.readouterr().err


@pytest.mark.parametrize("raised", [KeyboardInterrupt, KeyError])
def test_what_ends_a_run_from_outside_keeps_it(raised):
    def callback(progress):
        if progress.t >= 4:
            raise raised("mine")

    options = {"step": 0.1, "value": term, "average": "all"}
    with pytest.raises(raised, match="mine") as caught:
        dv.sgd(pull, 0.0, ROWS, epochs=50, callback=callback, **options)
    run, whole = caught.value.trajectory, dv.sgd(pull, 0.0, ROWS, epochs=2, **options)
    assert (run.steps, run.reason, run.average) == (4, "interrupted", whole.average)
    np.testing.assert_array_equal(run.iterates, whole.iterates)
    np.testing.assert_array_equal(run.values, whole.values)
    assert "after 4 steps; the run so far is error.trajectory" in caught.value.__notes__[0]


# ------------------------------------------------------- faults that users of other libraries met


def test_rows_of_weight_zero_do_not_count_whatever_they_hold():
    # Elsewhere such rows still moved the model, or were shuffled apart from their weights.
    X, y = table()
    weights = np.ones(60)
    weights[::2] = 0.0
    wild, odd = X.copy(), y.copy()
    wild[::2], odd[::2] = 1e6, -1e6
    options = {"step": 0.05, "epochs": 2, "weights": weights, "keep": "all"}
    run = dv.sgd(squared.gradient, np.ones(4), (X, y), **options)
    np.testing.assert_array_equal(dv.sgd(squared.gradient, np.ones(4), (wild, odd), **options).iterates, run.iterates)
    assert np.abs(np.diff(run.iterates, axis=0)).sum(axis=1).astype(bool).sum() == 60  # of 120 steps


@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"rule": dv.RMSProp(0.0, 1e-300)}], ids=repr
)
def test_first_step_takes_the_whole_gradient_with_its_decay(options):
    # Elsewhere a momentum that starts from 0 shortened it, and weight decay was lost without momentum.
    X, y = table()
    start = np.ones(4)
    run = dv.sgd(squared.gradient, start, (X, y), step=0.05, steps=1, order="cyclic", weight_decay=0.3, **options)
    g = (X[0] @ start - y[0]) * X[0] + 0.3 * start
    g = np.sign(g) if "rule" in options else g * (1.9 if "nesterov" in options else 1.0)
    np.testing.assert_allclose(run.last, start - 0.05 * g, rtol=1e-12)


@pytest.mark.parametrize("eps", [1e-8, 1.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_first_step_of_adam(eps, scale):
    # eta g / (|g| + eps): both means corrected, eps outside the root and not corrected. Elsewhere eps counted as 31.6
    # eps at the first step, or stood under the root.
    X, y = table()
    rule = dv.Adam(eps=eps)
    run = dv.sgd(squared.gradient, np.zeros(4), (X, scale * y), step=0.01, steps=1, rule=rule, order="cyclic")
    g = -scale * y[0] * X[0]
    np.testing.assert_allclose(run.last, -0.01 * g / (np.abs(g) + eps), rtol=1e-10)


def test_clipping_leaves_a_zero_gradient_and_reports_an_infinite_one():
    # Elsewhere 0/0 made the first NaN, and an infinite norm turned the gradient silently into 0.
    X, _ = table()
    options = {"step": 0.1, "epochs": 1, "clip": 1.0}
    np.testing.assert_array_equal(dv.sgd(squared.gradient, np.zeros(4), (X, np.zeros(60)), **options).last, 0.0)
    with pytest.raises(ValueError, match="gradient at w0 must be finite"):
        dv.sgd(squared.gradient, np.ones(4), (1e200 * X, np.ones(60)), **options)


def test_decay_beyond_its_limit_is_reported():
    # step * decay > 2 turns the weights round and lengthens them; elsewhere they were silently set to 0.
    X, y = table()
    with pytest.warns(dv.DivergenceWarning, match="too large"):
        dv.sgd(squared.gradient, np.ones(4), (X, y), step=0.1, epochs=1, weight_decay=30.0)


def test_schedules_begin_with_their_first_size_and_change_on_time():
    # Elsewhere the first step had ten times, or 0 times, the size asked for.
    decay = dv.schedules.step_decay(0.5, 3, 0.1)
    np.testing.assert_allclose([decay(t) for t in range(1, 8)], [0.5] * 3 + [0.05] * 3 + [0.005], rtol=1e-14)
    warm = dv.schedules.constant(0.5).with_warmup(4)
    np.testing.assert_allclose([warm(t) for t in range(1, 7)], [0.125, 0.25, 0.375, 0.5, 0.5, 0.5], rtol=1e-14)
    cosine = dv.schedules.cosine(1.0, 10**9)  # computed by recursion elsewhere: wrong after a billion steps
    np.testing.assert_allclose([cosine(1), cosine(5 * 10**8 + 1)], [1.0, 0.5], rtol=1e-9)


def test_average_in_single_precision_does_not_drift():
    X, y = (np.zeros_like(a, np.float32) for a in table())
    start = np.full(4, 1 / 3, np.float32)
    run = dv.sgd(squared.gradient, start, (X, y), step=0.1, epochs=2000, average="all", keep="last")
    np.testing.assert_array_equal(run.average, start)  # a float32 sum of 120,000 terms is off by 1e-3


def test_callback_gets_points_of_its_own():
    # Elsewhere each call got the array that the next step overwrites: a list of them held the last point many times.
    seen = []
    run = dv.sgd(
        squared.gradient, np.ones(4), table(), step=0.05, epochs=3, callback=lambda p: seen.append(p.w), evaluate=20
    )
    assert len(seen) >= 3
    assert len({w.tobytes() for w in seen}) == len(seen)
    np.testing.assert_array_equal(seen[-1], run.last)


def test_held_out_rows_are_never_trained_on():
    X, y = table()
    options = {"value": squared.value, "step": 0.05, "epochs": 3}
    alone = dv.sgd(squared.gradient, np.ones(4), (X, y), **options)
    measured = dv.sgd(squared.gradient, np.ones(4), (X, y), held_out=(1e3 * X[:7], y[:7]), **options)
    np.testing.assert_array_equal(measured.iterates, alone.iterates)
    np.testing.assert_array_equal(measured.values, alone.values)  # the mean over the 60 rows, not over 67


# --------------------------------------------------------------------------------------------- going wrong


def unscaled():
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    return X, np.where(y == 1, 1.0, -1.0)


@pytest.mark.parametrize("measured", [True, False])
def test_unscaled_data_is_reported_with_the_remedy(measured):
    value = logistic.value if measured else None
    with pytest.warns(dv.DivergenceWarning, match=r"2/L <= .*standardise them"):
        dv.sgd(
            squared.gradient if not measured else logistic.gradient, np.zeros(31), unscaled(), step=0.01,
            epochs=3, value=value,
        )  # fmt: skip


def test_overflow_ends_at_a_finite_point():
    X, y = table()
    with pytest.warns(dv.DivergenceWarning, match=r"sgd diverged: after \d+ of 6000 steps .*less than 2/L"):
        run = dv.sgd(squared.gradient, np.zeros(4), (X, y), step=5.0, epochs=100)
    assert run.reason == "diverged"
    assert np.isfinite(run.last).all()
    assert np.isfinite(run.gradient_norms).all()


def test_good_runs_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in (1e-3, 0.1):  # from the minimiser itself, where noise can only raise the value
            dv.sgd(pull, 0.5, ROWS, step=step, steps=101, value=term)
        X, y = table()
        dv.sgd(squared.gradient, np.linalg.lstsq(X, y)[0], (X, y), step=0.01, epochs=20, value=squared.value)


@njit
def overwrites(w, c):
    w[0] = 3.0
    return w - c


@njit
def wrong_shape(w, c):
    return np.ones(3)


BAD = [
    ({"step": 0.0}, "step must be greater than 0"),
    ({"step": -0.1}, "step must be greater than 0"),
    ({"step": np.nan}, "step must be finite"),
    ({"step": [0.1, 0.0], "epochs": 1}, "step must be greater than 0, got 0.0 for step 2"),
    ({"step": [0.1, 0.1, 0.1], "epochs": 1}, "one for each of the 2 steps"),
    ({"step": dv.schedules.cosine(0.1, 5), "epochs": 5}, "give cosine a floor"),
    ({"batch": 0}, "batch must be at least 1"),
    ({"batch": 3}, "batch must be at most the number of rows, 2, got 3"),
    ({"epochs": 0}, "epochs must be at least 1"),
    ({"epochs": None}, "give either epochs or steps, got neither"),
    ({"steps": 5}, "give either epochs or steps, got both"),
    ({"epochs": None, "steps": 0}, "steps must be at least 1"),
    ({"order": "random"}, "order must be one of"),
    ({"seed": -1}, "seed must be at least 0"),
    ({"seed": 2**64}, "seed must be less than"),
    ({"weights": [0.0, 0.0]}, "weights must not be 0 for all rows"),
    ({"weights": [1.0, -1.0]}, "weights must be at least 0"),
    ({"weights": [1.0]}, "weights must have one entry for each of the 2 rows"),
    ({"weights": [1.0, np.nan]}, "weights must be finite"),
    ({"momentum": 1.0}, "momentum must be at least 0 and less than 1"),
    ({"nesterov": True}, "nesterov needs momentum"),
    ({"momentum": 0.5, "rule": dv.Adam()}, "momentum must be 0 with Adam"),
    ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
    ({"weight_decay": np.ones(3)}, "weight_decay must have the shape of w0"),
    ({"clip": 0.0}, "clip must be greater than 0"),
    ({"average": 1.5}, "average must be None, 'all' or a fraction"),
    ({"patience": 3}, "patience needs value"),
    ({"held_out": ROWS}, "held_out needs value"),
    ({"epochs": 2**70}, "epochs must make at most"),
    ({"value": term, "held_out": ROWS * 2}, "held_out must hold as many arrays as data, 1, got 2"),
    ({"value": term, "held_out": (np.ones(2, complex),)}, r"held_out\[0\] has rows of complex128"),
    ({"value": term, "held_out": (np.ones((2, 2)),)}, "held_out must be arrays of the shapes"),
    ({"value": term, "patience": 0}, "patience must be at least 1"),
    ({"keep": "none"}, "keep must be one of"),
    ({"evaluate": 0}, "evaluate must be at least 1"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_hyperparameters_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        dv.sgd(pull, 0.0, ROWS, **{"step": 0.1, "epochs": 2, **options})


@pytest.mark.parametrize(
    ("rule", "got"),
    [(dv.Adam, r"the class Adam: call it, Adam\(\)"), ("adam", "str"), (dv.schedules.constant(1.0), "Schedule")],
)
def test_a_rule_is_made_not_named(rule, got):
    with pytest.raises(TypeError, match=f"rule must be None, an Adam or an RMSProp, got {got}"):
        dv.sgd(pull, 0.0, ROWS, step=0.1, epochs=1, rule=rule)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((np.array([1.0, np.nan]),), ValueError, r"data\[0\] must not hold NaN, got 1 of them, the first at index 1"),
        (np.ones(2), TypeError, r"data must be a tuple of arrays, got one array"),
        ((), ValueError, "data must hold at least one array"),
        ((np.ones(2), np.ones(3)), ValueError, r"data\[1\] must have as many rows as data\[0\], 2, got 3"),
        ((np.ones(0),), ValueError, r"data\[0\] must not be empty"),
        ((np.ones(2), 1.0), ValueError, "pass constants in args"),
        ((np.ones(2), np.ones(2)), TypeError, "gradient is called as"),
        ((np.array(["a", "b"]),), TypeError, r"data\[0\] must be numeric"),
    ],
)
def test_bad_data_are_named(data, error, message):
    with pytest.raises(error, match=message):
        dv.sgd(pull, 0.0, data, step=0.1, epochs=1)


@pytest.mark.parametrize(
    ("gradient", "w0", "error", "message"),
    [
        pytest.param(
            lambda w, c: w - c,
            0.0,
            TypeError,
            "gradient must be compiled",
            marks=pytest.mark.skipif(numba.config.DISABLE_JIT, reason="without the JIT nothing is compiled"),
        ),
        (squared, 0.0, TypeError, "give its attribute gradient"),
        (overwrites, np.zeros(1), ValueError, "must not modify w"),
        (wrong_shape, np.zeros(1), ValueError, "gradient must return an array of the shape of w"),
        (pull, np.array([np.inf]), ValueError, "w0 must be finite"),
        (pull, (), ValueError, "w0 must hold at least one array"),
        (pull, (1.0,), ValueError, "give an array of one element"),
        (pull, (np.ones(1),), TypeError, "Numba cannot compile gradient|gradient must return a tuple"),
    ],
)
def test_bad_gradients_and_starts_are_named(gradient, w0, error, message):
    with pytest.raises(error, match=message):
        dv.sgd(gradient, w0, ROWS, step=0.1, epochs=1)


@pytest.mark.parametrize("place", ["row", "label"])
def test_nan_in_a_linear_model_is_found(place):
    X, y = table()
    (X if place == "row" else y)[7] = np.nan
    for options in ({"epochs": 2}, {"steps": 3}, {"epochs": 2, "batch": 5}):
        with pytest.raises(ValueError, match=rf"data\[{place == 'label':d}\] must not hold NaN"):
            dv.sgd(squared.gradient, np.zeros(4), (X, y), step=0.1, **options)


def test_wrong_labels_are_refused():
    X, y = table()
    ones_and_zeros, signs = (y > 0).astype(float), np.sign(y)
    with pytest.raises(ValueError, match=r"data\[1\] must hold the labels \+1 and -1"):
        dv.sgd(logistic.gradient, np.zeros(4), (X, ones_and_zeros), step=0.1, epochs=1)
    with pytest.raises(ValueError, match=r"data\[1\] must hold the labels \+1 and -1"):
        dv.expected_step(logistic.gradient, logistic.value, np.zeros(4), (X, ones_and_zeros), 0.1)
    options = {"value": logistic.value, "held_out": (X, ones_and_zeros), "step": 0.1, "epochs": 1}
    with pytest.raises(ValueError, match=r"held_out\[1\] must hold the labels \+1 and -1"):
        dv.sgd(logistic.gradient, np.zeros(4), (X, signs), **options)
    signs[7] = np.nan  # a missing label is not called a wrong one
    with pytest.raises(ValueError, match=r"data\[1\] must not hold NaN"):
        dv.sgd(logistic.gradient, np.zeros(4), (X, signs), step=0.1, epochs=1)


@pytest.mark.parametrize("w0", [np.zeros(3), np.zeros(6), np.zeros((4, 1)), (np.zeros(4),), 0.0], ids=repr)
def test_losses_refuse_a_point_that_does_not_fit_the_rows(w0):
    # Read as given, a point that is too short would make the loss read and write beyond its end.
    X, y = table()
    for call in (
        lambda: dv.sgd(squared.gradient, w0, (X, y), step=0.1, epochs=1),
        lambda: dv.sgd(squared.batch_gradient, w0, (X, y), step=0.1, epochs=1, batch=4, batched=True),
        lambda: dv.expected_step(squared.gradient, squared.value, w0, (X, y), 0.1),
    ):
        with pytest.raises(ValueError, match="w0 must be an array of 4 numbers, one for each column"):
            call()


@pytest.mark.parametrize("loss", [squared, logistic, hinge], ids=lambda loss: loss.name)
@pytest.mark.parametrize("size", [2, 5])
def test_losses_refuse_it_when_called_directly(loss, size):
    x = np.ones(3)
    for call in (
        lambda: loss.value(np.zeros(size), x, 1.0),
        lambda: loss.gradient(np.zeros(size), x, 1.0),
        lambda: loss.batch_value(np.zeros(size), x[None], np.ones(1)),
        lambda: loss.batch_gradient(np.zeros(size), x[None], np.ones(1)),
    ):
        with pytest.raises(ValueError, match="w must have as many entries as a row"):
            call()


@pytest.mark.parametrize("loss", [logistic, hinge], ids=lambda loss: loss.name)
def test_unsigned_labels_do_not_wrap_around(loss):
    w, x = np.array([0.1, 0.2, 0.3]), np.array([1.0, -1.0, 2.0])
    np.testing.assert_array_equal(loss.gradient(w, x, np.uint8(1)), loss.gradient(w, x, 1.0))
    assert loss.value(w, x, np.uint8(1)) == loss.value(w, x, 1.0)


def test_held_out_rows_are_converted_where_nothing_is_lost():
    X, y = np.arange(8.0).reshape(4, 2) / 8, np.arange(4.0)
    options = {"value": squared.value, "step": 0.1, "epochs": 2}
    run = dv.sgd(squared.gradient, np.zeros(2), (X, y), held_out=(X.astype(np.float32), [0, 1, 2, 3]), **options)
    np.testing.assert_array_equal(run.held_out_values, run.values)


def test_weight_decay_in_single_precision_keeps_its_size():
    # 1 - step * decay rounds to 1 - 1.19e-7 in float32; the difference of the two adds up. torch has this fault.
    start = np.linspace(1.0, 2.0, 4001, dtype=np.float32)
    none = np.zeros((1, 4001), np.float32)
    shrink = dv.in_place(njit(no_pull))
    options = {"step": 1e-3, "steps": 20, "weight_decay": 9e-5, "rule": dv.Adam(decoupled=True)}
    run = dv.sgd(shrink, start, (none,), **options)
    lost = np.mean((start.astype(float) - run.last) / start)
    np.testing.assert_allclose(lost, 20 * 9e-8, rtol=0.1)


def test_eps_must_not_vanish_in_single_precision():
    for rule in (dv.Adam(eps=1e-60), dv.RMSProp(eps=1e-60)):
        with pytest.raises(ValueError, match="eps must be greater than 0 in float32, got 1e-60"):
            dv.sgd(pull, np.zeros(2, np.float32), (np.ones(3, np.float32),), step=0.1, epochs=1, rule=rule)


def no_pull(w, x, out):
    out[:] = 0


def test_flags_are_true_or_false():
    with pytest.raises(TypeError, match="decoupled must be True or False, got 'no'"):
        dv.Adam(decoupled="no")
    with pytest.raises(TypeError, match="centered must be True or False, got 1"):
        dv.RMSProp(centered=1)
    with pytest.raises(TypeError, match="allow_nan must be True or False"):
        dv.sgd(pull, 0.0, ROWS, step=0.1, epochs=1, allow_nan="no")
    with pytest.raises(ValueError, match=r"epoch must be less than 2\*\*63"):
        dv.sample_order(3, epoch=2**63)


# -------------------------------------------------------------------------------------------------- noise


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1.9))
def test_noise_ball_solves_its_equation(seed, share):
    rng = np.random.default_rng(seed)
    R, G = rng.normal(size=(2, 3, 3))
    A, C = R @ R.T + 0.1 * np.eye(3), G @ G.T
    eta = share / np.linalg.eigvalsh(A)[-1]
    S = dv.noise_ball(eta, A, C, batch=4)
    step = np.eye(3) - eta * A
    np.testing.assert_allclose(step @ S @ step + eta**2 * C / 4, S, rtol=1e-8, atol=1e-9 * np.abs(S).max())
    lyapunov = dv.noise_ball(eta / 1e6, A, C) / (eta / 1e6)
    np.testing.assert_allclose(A @ lyapunov + lyapunov @ A, C, rtol=1e-3, atol=1e-3 * np.abs(C).max())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.floats(0.05, 1.5))
def test_shuffled_ball_against_all_permutations(seed, n, eta):
    from itertools import permutations

    rng = np.random.default_rng(seed)
    xi = rng.normal(size=(n, 2))
    xi -= xi.mean(axis=0)
    A = np.diag([0.3, 1.0])
    C = xi.T @ xi / n
    R = np.eye(2) - eta * A
    balls = dv.noise_ball(eta, A, C, order="shuffle", n=n)
    # The covariance after k steps from an epoch that begins with the one at its end.
    for k in range(1, n + 1):
        total = np.zeros((2, 2))
        orders = list(permutations(range(n)))
        for order in orders:
            d = np.zeros(2)
            for i in order[:k]:
                d = R @ d - eta * xi[i]
            total += np.outer(d, d)
        power = np.linalg.matrix_power(R, k)
        np.testing.assert_allclose(
            balls[k - 1], power @ balls[-1] @ power.T + total / len(orders), rtol=1e-7, atol=1e-10
        )


@pytest.mark.parametrize(("eta", "n"), [(1e-7, 2), (1e-6, 20), (0.5, 4), (1.0, 3), (1.99, 6)])
def test_shuffled_ball_in_rational_numbers(eta, n):
    # For small steps the theorem's formula is a difference of nearly equal numbers: it once gave a negative variance.
    step = Fraction(eta)
    r = 1 - step
    sums = [sum((r**j for j in range(k)), Fraction(0)) for k in range(n + 1)]
    squares = [sum((r ** (2 * j) for j in range(k)), Fraction(0)) for k in range(n + 1)]
    v = [step**2 * (q - (s**2 - q) / (n - 1)) for s, q in zip(sums, squares, strict=True)]
    end = v[n] / (1 - r ** (2 * n))
    exact = [float(r ** (2 * k) * end + v[k]) for k in range(1, n + 1)]
    np.testing.assert_allclose(dv.noise_ball(eta, 1.0, 1.0, order="shuffle", n=n), exact, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 5), st.floats(0.01, 1.5), st.lists(st.floats(-3, 3), min_size=2, max_size=6))
def test_expected_step_of_quadratics(w, eta, centres):
    c = np.array(centres)
    look = dv.expected_step(pull, term, w, (c,), eta)
    f = np.mean((w - c) ** 2) / 2
    slope, noise = w - c.mean(), c.var()
    np.testing.assert_allclose(look.before, f, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(look.noise, noise, rtol=1e-7, atol=1e-12)
    stated = f - eta * slope**2 + eta**2 / 2 * (slope**2 + noise)
    np.testing.assert_allclose(look.expected, stated, rtol=1e-7, atol=1e-10)
    assert look.best >= 0 or np.isnan(look.best)  # also at the minimiser, where rounding might decide
    if slope**2 > 1e-2:
        np.testing.assert_allclose(look.best, slope**2 / (slope**2 + noise), rtol=1e-4)
        np.testing.assert_allclose(look.limit, 2 * look.best)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 1.9), st.booleans())
def test_cyclic_limits(eta, swapped):
    rows = (ROWS[0][::-1],) if swapped else ROWS
    last = dv.sgd(pull, 0.0, rows, step=eta, epochs=3000, order="cyclic", keep="last").last
    expected = ((1 + eta) if swapped else (1 - 2 * eta)) / (2 - eta)
    np.testing.assert_allclose(last, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="five million steps take minutes without the JIT")
@pytest.mark.parametrize("eta", [0.05, 0.3, 0.5, 2 / 3, 1.0, 1.5])
def test_simulated_variances(eta):
    options = {"step": eta, "steps": 400_000, "keep": "all", "evaluate": 400_000}
    drawn = dv.sgd(pull, 0.5, ROWS, order="replacement", **options).iterates[1001:]
    np.testing.assert_allclose(drawn.var(), dv.noise_ball(eta, 1.0, 9 / 4), rtol=0.03)
    shuffled = dv.sgd(pull, 0.5, ROWS, **options).iterates[1001:].reshape(-1, 2).var(axis=0)
    np.testing.assert_allclose(shuffled, dv.noise_ball(eta, 1.0, 9 / 4, order="shuffle", n=2), rtol=0.03, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2.0, 1.0, 1.0), "step must be less than 2/L"),
        ((0.1, -1.0, 1.0), "curvature must be greater than 0"),
        ((0.1, np.eye(2), np.eye(3)), "noise must have the shape of curvature"),
        ((0.1, 1.0, -2.25), "noise must be at least 0, got -2.25"),
        ((0.1, np.eye(2), -np.eye(2)), "positive semidefinite, got the eigenvalue -1.0"),
        ((0.1, np.array([[1.0, 2.0], [0.0, 1.0]]), np.eye(2)), "curvature must be a symmetric matrix"),
    ],
)
def test_noise_ball_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        dv.noise_ball(*arguments)
