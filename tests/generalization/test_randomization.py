"""The network of the randomization test against its definition, finite differences and torch; the experiment."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import derivable as dv
from derivable.generalization import product, randomization
from derivable.simd import VECTOR_BYTES, VECTORS


def plain_scores(fit, X):
    """The network as NumPy would write it."""
    h, at = (X - fit.center) / fit.scale, 0
    for layer, W in enumerate(fit.weights):
        bias = fit.parameters[at + W.size : at + W.size + W.shape[1]]
        at += W.size + W.shape[1]
        h = h @ W + bias
        h = np.maximum(h, 0) if layer < len(fit.weights) - 1 else h
    return h


def plain_loss(w, sizes, X, labels):
    """The mean loss in double precision."""
    h, at = X.astype(np.float64), 0
    for layer, (a, b) in enumerate(pairwise(sizes)):
        h = h @ w[at : at + a * b].reshape(a, b) + w[at + a * b : at + a * b + b]
        h = np.maximum(h, 0) if layer < len(sizes) - 2 else h
        at += a * b + b
    h = h - h.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(h).sum(axis=1)) - h[np.arange(len(h)), labels])


class TestProduct:
    @given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 70), st.booleans(), st.booleans())
    @settings(max_examples=60)
    def test_is_numpys(self, rows, depth, columns, turn_a, turn_b):
        rng = np.random.default_rng(rows)
        A = rng.normal(size=(rows, depth)).astype(np.float32)
        B = rng.normal(size=(depth, columns)).astype(np.float32)
        a = np.append(np.float32([7.0]), (A.T if turn_a else A).ravel())
        b = np.append(np.float32([7.0, 7.0]), (B.T if turn_b else B).ravel())
        panel = np.empty(product.panel_size(depth), np.float32)
        for multiply in (product.multiply, product.multiply_plain):
            c = np.full(rows * columns + 2, 9.0, np.float32)
            multiply(
                rows, depth, columns, a, 1, *((1, rows) if turn_a else (depth, 1)),
                b, 2, *((1, depth) if turn_b else (columns, 1)), c, 1, panel,
            )  # fmt: skip
            np.testing.assert_allclose(c[1:-1].reshape(rows, columns), A @ B, rtol=0, atol=2e-6 * depth)
            assert c[0] == c[-1] == 9  # nothing is written beside the product

    def test_a_panel_holds_the_widest_tile(self):
        assert product.panel_size(3) == 3 * VECTORS * VECTOR_BYTES // 4


class TestGradient:
    @pytest.mark.parametrize("hidden", [(), (5,), (6, 4)])
    @pytest.mark.parametrize("points", [1, 7])
    def test_is_the_gradient_of_the_loss(self, hidden, points):
        rng = np.random.default_rng(0)
        sizes = np.array([3, *hidden, 4])
        w = randomization.initial_parameters(sizes, rng)
        w += rng.normal(size=w.size).astype(np.float32) * np.float32(0.1)
        X = rng.normal(size=(points, 3)).astype(np.float32)
        labels = rng.integers(0, 4, points)
        work = randomization.make_workspace(sizes, points, points)
        loss = randomization.loss_and_gradient(
            w, sizes, X.ravel(), labels, points, work.units, work.deltas, work.panel, work.gradient
        )
        assert loss == pytest.approx(plain_loss(w, sizes, X, labels), rel=1e-5)

        def f(v):
            return plain_loss(v, sizes, X, labels)

        expected = dv.numerical_gradient(f, w.astype(np.float64), "central")
        np.testing.assert_allclose(work.gradient, expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.peer
    def test_training_takes_the_steps_of_torch(self):
        torch = pytest.importorskip("torch", reason="torch is not installed")
        rng = np.random.default_rng(0)
        sizes = np.array([6, 16, 3])
        w = randomization.initial_parameters(sizes, rng)
        X, labels = rng.normal(size=(32, 6)).astype(np.float32), rng.integers(0, 3, 32)
        model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
        with torch.no_grad():
            at = 0
            for layer in (model[0], model[2]):
                a, b = layer.in_features, layer.out_features
                layer.weight.copy_(torch.from_numpy(w[at : at + a * b].reshape(a, b).T.copy()))
                layer.bias.copy_(torch.from_numpy(w[at + a * b : at + a * b + b].copy()))
                at += a * b + b
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
        work = randomization.make_workspace(sizes, 32, 8)
        for number in range(5):
            order = rng.permutation(32)
            ours = randomization.epoch(w, sizes, X, labels, order, 8, 0.01, 0.1, 4 * number, work)
            losses = []
            for rows in order.reshape(4, 8):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(
                    model(torch.from_numpy(X[rows])), torch.from_numpy(labels[rows])
                )
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
            assert ours == pytest.approx(np.mean(losses), rel=1e-5)


def blobs(n=120, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return rng.normal(size=(n, 8)) + 2 * np.eye(classes, 8)[y], y


class TestExperiment:
    def test_random_labels_of_the_digits_are_fitted_by_training(self):
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        fit = dv.fit_random_labels(X[:600], y[:600], 1.0, test=(X[600:], y[600:]), hidden=(256,), seed=0)
        assert fit.corrupted > 500
        assert fit.train_accuracy[-1] == 1
        assert fit.test_accuracy[-1] < 0.25
        assert np.array_equal(fit(X[:600]).argmax(axis=1), fit.labels)

    def test_the_result_is_what_it_says(self):
        X, y = blobs()
        new, truth = blobs(seed=1)
        seen = []
        fit = dv.fit_random_labels(
            X, y, 0.3, test=(new, truth), hidden=(32, 16), epochs=12, seed=2, until_fitted=False,
            callback=lambda *args: seen.append(args),
        )  # fmt: skip
        assert fit.sizes == (8, 32, 16, 3)
        assert fit.parameters.dtype == np.float32
        assert fit.parameters.size == 8 * 32 + 32 + 32 * 16 + 16 + 16 * 3 + 3
        assert fit.corrupted == np.sum(fit.labels != y) > 0
        np.testing.assert_array_equal(fit.labels, dv.corrupt_labels(y, 0.3, seed=2))
        assert len(fit.losses) == len(fit.train_accuracy) == len(fit.test_accuracy) == 12
        assert [s[0] for s in seen] == list(range(1, 13))
        assert [s[2] for s in seen] == list(fit.train_accuracy)
        np.testing.assert_allclose(fit(X), plain_scores(fit, X), rtol=1e-4, atol=1e-4)
        assert fit.train_accuracy[-1] == np.mean(fit(X).argmax(axis=1) == fit.labels)
        assert fit.test_accuracy[-1] == np.mean(fit(new).argmax(axis=1) == truth)

    def test_the_seed_decides(self):
        X, y = blobs()
        a, b, c = (dv.fit_random_labels(X, y, hidden=(16,), epochs=3, seed=s) for s in (5, 5, 6))
        np.testing.assert_array_equal(a.parameters, b.parameters)
        assert not np.array_equal(a.parameters, c.parameters)

    def test_a_callback_stops_the_run(self):
        X, y = blobs()
        fit = dv.fit_random_labels(X, y, hidden=(16,), callback=lambda number, *_: number == 4)
        assert len(fit.losses) == 4

    def test_units_and_offsets_of_the_inputs_do_not_matter(self):
        X, y = blobs()
        a = dv.fit_random_labels(X, y, 0.0, hidden=(16,), epochs=3, until_fitted=False)
        b = dv.fit_random_labels(1024 * X + 4096, y, 0.0, hidden=(16,), epochs=3, until_fitted=False)
        np.testing.assert_allclose(a.losses, b.losses, rtol=1e-4)
        for factor in (2.0**-700, 2.0**700):  # their squares are no numbers of double precision
            c = dv.fit_random_labels(factor * X, y, 0.0, hidden=(16,), epochs=3, until_fitted=False)
            np.testing.assert_allclose(a.losses, c.losses, rtol=1e-4)

    def test_a_linear_classifier_and_a_last_batch_of_one(self):
        X, y = blobs(65)
        fit = dv.fit_random_labels(X, y, 0.0, hidden=(), epochs=40, step=0.05, until_fitted=False)
        assert fit.train_accuracy[-1] > 0.8

    def test_weight_decay_shrinks(self):
        X, y = blobs()
        norms = [
            np.linalg.norm(
                dv.fit_random_labels(X, y, hidden=(16,), epochs=60, until_fitted=False, weight_decay=decay).parameters
            )
            for decay in (0.0, 10.0)
        ]
        assert norms[1] < norms[0] / 2

    def test_results_can_be_pickled(self):
        X, y = blobs()
        fit = dv.fit_random_labels(X, y, hidden=(8,), epochs=1)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(fit))(X), fit(X))

    @pytest.mark.parametrize(
        ("more", "error", "message"),
        [
            ({"fraction": 1.5}, ValueError, "fraction must be from 0 to 1"),
            ({"test": [1, 2]}, TypeError, r"test must be a tuple \(X_test, y_test\), got list"),
            ({"test": (np.ones((2, 3)), [0, 1])}, ValueError, r"test\[0\] must have 8 columns"),
            ({"test": (np.ones((2, 8)), [0])}, ValueError, r"test\[1\] must have one entry for each of the 2"),
            (
                {"test": (np.full((2, 8), 1e300), [0, 1])},
                ValueError,
                r"test\[0\] holds points too far from",
            ),
            ({"hidden": (0,)}, ValueError, "each size in hidden must be at least 1"),
            ({"hidden": 16}, TypeError, r"hidden must be a sequence of sizes, got the int 16: write hidden=\(16,\)"),
            ({"epochs": 0}, ValueError, "epochs must be at least 1"),
            ({"batch": 0}, ValueError, "batch must be at least 1"),
            ({"step": 0.0}, ValueError, "step must be greater than 0"),
            ({"weight_decay": -1.0}, ValueError, "weight_decay must be at least 0"),
            ({"seed": -1}, ValueError, "seed must be at least 0"),
            ({"callback": 3}, TypeError, "callback must be a function"),
            ({"step": 1e30}, ValueError, "the training diverged in epoch"),
        ],
    )
    def test_bad_input_is_named(self, more, error, message):
        X, y = blobs()
        with pytest.raises(error, match=message):
            dv.fit_random_labels(X, y, **{"hidden": (16,), "epochs": 3, **more})

    def test_bad_data_are_named(self):
        X, y = blobs()
        spoiled = X.copy()
        spoiled[3, 4] = np.nan
        with pytest.raises(ValueError, match=r"X must be finite, got nan at index \(3, 4\)"):
            dv.fit_random_labels(spoiled, y)
        with pytest.raises(ValueError, match="y must have one entry for each of the 120 points"):
            dv.fit_random_labels(X, y[:5])
        with pytest.raises(TypeError, match="y must be numeric"):
            dv.fit_random_labels(X, y.astype(float))
        fit = dv.fit_random_labels(X, y, hidden=(8,), epochs=1)
        with pytest.raises(ValueError, match="X must have 8 columns, got 2"):
            fit(np.ones((3, 2)))
        with pytest.raises(ValueError, match="X holds points too far from the training points"):
            fit(np.full((1, 8), 1e300))
        with pytest.raises(ValueError, match="X is too large: its mean overflows"):
            dv.fit_random_labels(np.full((120, 8), 1e308), y)


class TestCorruption:
    def test_the_parts(self):
        y = np.random.default_rng(0).integers(0, 10, 20_000)
        np.testing.assert_array_equal(dv.corrupt_labels(y, 0.0), y)
        for fraction in (0.3, 1.0):
            new = dv.corrupt_labels(y, fraction, seed=1)
            assert abs(np.mean(new != y) - 0.9 * fraction) < 0.02
            assert new.min() >= 0
            assert new.max() <= 9
        # The labels were drawn from default_rng(0): seed 0 must not draw them again.
        assert abs(np.corrcoef(dv.corrupt_labels(y, 1.0), y)[0, 1]) < 0.03
        np.testing.assert_allclose(np.bincount(dv.corrupt_labels(y, 1.0)) / len(y), 0.1, atol=0.01)

    def test_more_classes_than_were_seen(self):
        assert set(dv.corrupt_labels(np.zeros(200, int), 1.0, classes=3)) == {0, 1, 2}

    @pytest.mark.parametrize(
        ("y", "fraction", "classes", "message"),
        [
            ([0, 1], -0.1, None, "fraction must be from 0 to 1"),
            ([0, -1], 0.5, None, "y must be class numbers from 0, got -1"),
            ([0, 5], 0.5, 3, "y must be class numbers from 0 to 2, got 5"),
            (np.array([2**63 + 1], np.uint64), 0.5, None, "y must be class numbers from 0, got 9223372036854775809"),
        ],
    )
    def test_refuses(self, y, fraction, classes, message):
        with pytest.raises(ValueError, match=message):
            dv.corrupt_labels(y, fraction, classes=classes)
