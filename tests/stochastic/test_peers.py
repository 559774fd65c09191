"""The same updates as scikit-learn's and torch's, number by number."""

import warnings

import numpy as np
import pytest

import derivable as dv


def order_for_sklearn(n, epochs, seed=0):
    """The rows in the order of each epoch, one epoch after another: scikit-learn then goes through them as they lie."""
    return [dv.sample_order(n, "shuffle", seed=seed, epoch=e) for e in range(epochs)]


@pytest.fixture(scope="module")
def diabetes():
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()


@pytest.fixture(scope="module")
def cancer():
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), np.where(y == 1, 1.0, -1.0)


def by_sklearn(model, X, y, epochs, order):
    """Let scikit-learn take the same rows in the same order, an epoch at a time."""
    for e in range(epochs):
        rows = order[e]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.partial_fit(
                X[rows],
                y[rows],
                **(
                    {"classes": [-1, 1]}
                    if hasattr(model, "predict_proba") or (e == 0 and model.__class__.__name__ == "SGDClassifier")
                    else {}
                ),
            )
    return np.append(model.coef_.ravel(), model.intercept_)


@pytest.mark.parametrize("alpha", [0.0, 0.01])
@pytest.mark.parametrize("schedule", ["constant", "invscaling"])
def test_regressor(diabetes, alpha, schedule):
    from sklearn.linear_model import SGDRegressor

    X, y = diabetes
    n, d = X.shape
    epochs = 5
    model = SGDRegressor(
        alpha=alpha, penalty="l2", learning_rate=schedule, eta0=0.01, power_t=0.25, shuffle=False, max_iter=1, tol=None
    )
    theirs = by_sklearn(model, X, y, epochs, order_for_sklearn(n, epochs))
    step = 0.01 if schedule == "constant" else dv.schedules.inverse(0.01, 1.0, 0.25)
    decay = np.append(np.full(d, alpha), 0.0)  # the intercept is not penalised
    run = dv.sgd(dv.losses.squared.gradient, np.zeros(d + 1), (X, y), step=step, epochs=epochs, weight_decay=decay)
    np.testing.assert_allclose(run.last, theirs, rtol=0, atol=1e-10)
    assert np.abs(run.last).max() > 0.1


@pytest.mark.parametrize("name", ["log_loss", "hinge"])
def test_classifier(cancer, name):
    from sklearn.linear_model import SGDClassifier

    X, y = cancer
    n, d = X.shape
    model = SGDClassifier(
        loss=name, alpha=0.001, learning_rate="constant", eta0=0.05, shuffle=False, max_iter=1, tol=None
    )
    theirs = by_sklearn(model, X, y, 4, order_for_sklearn(n, 4))
    loss = dv.losses.logistic if name == "log_loss" else dv.losses.hinge
    decay = np.append(np.full(d, 0.001), 0.0)
    run = dv.sgd(loss.gradient, np.zeros(d + 1), (X, y), step=0.05, epochs=4, weight_decay=decay)
    np.testing.assert_allclose(run.last, theirs, rtol=0, atol=1e-10)


def test_sample_weights_scale_the_step_as_in_sklearn(diabetes):
    from sklearn.linear_model import SGDRegressor

    X, y = diabetes
    n, d = X.shape
    weights = np.random.default_rng(0).uniform(0, 3, n)
    model = SGDRegressor(penalty=None, learning_rate="constant", eta0=0.01, shuffle=False, max_iter=3, tol=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y, sample_weight=weights)
    run = dv.sgd(
        dv.losses.squared.gradient, np.zeros(d + 1), (X, y), step=0.01, epochs=3, order="cyclic", weights=weights
    )
    np.testing.assert_allclose(run.last, np.append(model.coef_, model.intercept_), rtol=0, atol=1e-10)


# --------------------------------------------------------------------------------------------------- torch

OPTIMIZERS = {
    "sgd": ({}, "SGD", {}),
    "decay": ({"weight_decay": 0.1}, "SGD", {"weight_decay": 0.1}),
    "momentum": ({"momentum": 0.9, "weight_decay": 0.1}, "SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    "nesterov": ({"momentum": 0.9, "nesterov": True}, "SGD", {"momentum": 0.9, "nesterov": True}),
    "adam": ({"rule": dv.Adam(), "weight_decay": 0.1}, "Adam", {"weight_decay": 0.1}),
    "adam, other betas": ({"rule": dv.Adam(0.8, 0.95, 1e-3)}, "Adam", {"betas": (0.8, 0.95), "eps": 1e-3}),
    "adamw": ({"rule": dv.Adam(decoupled=True), "weight_decay": 0.1}, "AdamW", {"weight_decay": 0.1}),
    "rmsprop": ({"rule": dv.RMSProp()}, "RMSprop", {}),
    "rmsprop, centred, momentum": (
        {"rule": dv.RMSProp(0.9, centered=True), "momentum": 0.5, "weight_decay": 0.1},
        "RMSprop",
        {"alpha": 0.9, "centered": True, "momentum": 0.5, "weight_decay": 0.1},
    ),
}


@pytest.mark.peer
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_over_100_steps(name, diabetes):
    torch = pytest.importorskip("torch", reason="compares with torch.optim")
    ours, kind, theirs = OPTIMIZERS[name]
    X, y = diabetes
    n, batch, d = 320, 32, X.shape[1]
    X, y = X[:n].copy(), y[:n].copy()
    start = np.random.default_rng(1).normal(size=d)
    run = dv.sgd(
        dv.losses.squared.batch_gradient,
        start,
        (X, y),
        step=0.02,
        steps=100,
        batch=batch,
        batched=True,
        keep="all",
        **ours,
    )
    w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, kind)([w], lr=0.02, **theirs)
    points = [start]
    for t in range(100):
        rows = dv.sample_order(n, epoch=t // 10)[t % 10 * batch : (t % 10 + 1) * batch]
        optimizer.zero_grad()
        loss = ((torch.tensor(X[rows]) @ w - torch.tensor(y[rows])) ** 2).mean() / 2
        loss.backward()
        optimizer.step()
        points.append(w.detach().numpy().copy())
    np.testing.assert_allclose(run.iterates, points, rtol=0, atol=1e-10)
    assert np.abs(run.last - start).max() > 0.1


@pytest.mark.peer
def test_clipping_comes_before_weight_decay(diabetes):
    torch = pytest.importorskip("torch", reason="compares with torch.optim")
    X, y = diabetes
    start = np.full(X.shape[1], 3.0)
    run = dv.sgd(
        dv.losses.squared.batch_gradient,
        start,
        (X, y),
        step=0.02,
        steps=50,
        batch=len(y),
        batched=True,
        order="cyclic",
        clip=0.5,
        weight_decay=0.3,
    )
    w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.02, weight_decay=0.3)
    for _ in range(50):
        optimizer.zero_grad()
        (((torch.tensor(X) @ w - torch.tensor(y)) ** 2).mean() / 2).backward()
        torch.nn.utils.clip_grad_norm_([w], 0.5)
        optimizer.step()
    # torch divides by the norm plus 1e-6, we by the norm
    np.testing.assert_allclose(run.last, w.detach().numpy(), rtol=2e-5)


@pytest.mark.peer
def test_schedules_are_those_of_torch():
    torch = pytest.importorskip("torch", reason="compares with torch.optim.lr_scheduler")
    for ours, make in (
        (dv.schedules.cosine(0.5, 40, 0.01), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40, 0.01)),
        (dv.schedules.step_decay(0.5, 7, 0.3), lambda o: torch.optim.lr_scheduler.StepLR(o, 7, 0.3)),
    ):
        w = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.5)
        schedule = make(optimizer)
        for t in range(1, 41):
            assert abs(ours(t) - optimizer.param_groups[0]["lr"]) < 1e-12
            optimizer.step()
            schedule.step()
