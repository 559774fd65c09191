r"""The randomization test: replace labels by random ones, train the same network, and watch.

The network is a plain one, dense layers with ReLU between them and softmax cross-entropy at the end, all its
parameters in one vector. An epoch of Adam over mini-batches is one compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from derivable.generalization.interpolation import check_labels
from derivable.generalization.product import multiply, panel_size
from derivable.generalization.streams import stream
from derivable.jit import kernel
from derivable.validation import as_array, check_count, check_finite, check_number, check_positive

__all__ = ["LabelFit", "corrupt_labels", "fit_random_labels"]


class Workspace(NamedTuple):
    """The memory of a training run, made once."""

    units: np.ndarray  # every layer's output, for as many points as are evaluated at once
    deltas: np.ndarray  # the derivative of the loss by each of them
    panel: np.ndarray  # what a matrix product needs
    gradient: np.ndarray  # the shape of the parameters, as the two moments of Adam
    mean: np.ndarray
    square: np.ndarray


def make_workspace(sizes: np.ndarray, points: int, batch: int) -> Workspace:
    """Return the memory for batches of a training run, and for scores of up to `points` points."""
    outputs = int(sizes[1:].sum())
    parameters = int((sizes[:-1] * sizes[1:]).sum()) + outputs
    return Workspace(
        np.empty(points * outputs, np.float32),
        np.empty(min(batch, points) * outputs, np.float32),
        np.empty(panel_size(max(int(sizes.max()), min(batch, points))), np.float32),
        *(np.zeros(parameters, np.float32) for _ in range(3)),
    )


# ------------------------------------------------------------------------------------------------ the network


def initial_parameters(sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw weights of variance 2 / inputs, which keeps the size of ReLU activations from layer to layer."""
    parts = []
    for a, b in pairwise(sizes):
        parts += [rng.normal(size=a * b) * np.sqrt(2 / a), np.zeros(b)]
    return np.concatenate(parts).astype(np.float32)


@kernel
def forward(w: np.ndarray, sizes: np.ndarray, X: np.ndarray, n: int, units: np.ndarray, panel: np.ndarray) -> int:
    """Compute the scores of n points; return where in `units` they start.

    `X` holds the points one after another; `units` receives every layer's output, one layer after another.
    """
    layers = sizes.size - 1
    source, place, at, start = X, 0, 0, 0
    for layer in range(layers):
        a, b = sizes[layer], sizes[layer + 1]
        multiply(n, a, b, source, place, a, 1, w, at, b, 1, units, start, panel)
        at += a * b
        last = layer == layers - 1
        for i in range(n):
            for j in range(b):
                h = units[start + i * b + j] + w[at + j]
                units[start + i * b + j] = h if h > 0 or last else np.float32(0)
        source, place, at, start = units, start, at + b, start + n * b
    return place


@kernel
def softmax_cross_entropy(
    scores: np.ndarray, start: int, n: int, classes: int, labels: np.ndarray, delta: np.ndarray
) -> float:
    """Return the mean of -log softmax(scores)[label]; write its derivative by the scores to `delta`.

    The scores are at `start` in a flat array, and their derivatives come to the same place in `delta`.
    """
    total = 0.0
    for i in range(n):
        row = start + i * classes
        highest = scores[row]
        for j in range(1, classes):
            highest = max(highest, scores[row + j])
        s = np.float32(0)
        for j in range(row, row + classes):
            delta[j] = np.exp(scores[j] - highest)
            s += delta[j]
        total += np.log(s) + highest - scores[row + labels[i]]
        for j in range(row, row + classes):
            delta[j] /= s * np.float32(n)
        delta[row + labels[i]] -= np.float32(1) / np.float32(n)
    return total / n


@kernel
def loss_and_gradient(
    w: np.ndarray,
    sizes: np.ndarray,
    X: np.ndarray,
    labels: np.ndarray,
    n: int,
    units: np.ndarray,
    deltas: np.ndarray,
    panel: np.ndarray,
    out: np.ndarray,
) -> float:
    """Return the mean loss over n points and write its gradient: reverse mode, written out for this one network.

    `units` and `deltas` hold, for each layer, its output and the derivative of the loss by it (before the ReLU).
    """
    layers = sizes.size - 1
    place = forward(w, sizes, X, n, units, panel)
    loss = softmax_cross_entropy(units, place, n, sizes[layers], labels, deltas)
    at = w.size
    for layer in range(layers - 1, -1, -1):
        a, b = sizes[layer], sizes[layer + 1]
        at -= a * b + b
        out[at + a * b : at + a * b + b] = np.float32(0)
        for i in range(n):  # the bias adds to every point's output
            for j in range(b):
                out[at + a * b + j] += deltas[place + i * b + j]
        if layer == 0:
            multiply(a, n, b, X, 0, 1, a, deltas, place, b, 1, out, at, panel)  # X^T D
            break
        before = place - n * a
        multiply(a, n, b, units, before, 1, a, deltas, place, b, 1, out, at, panel)  # H^T D
        multiply(n, b, a, deltas, place, b, 1, w, at, 1, b, deltas, before, panel)  # D W^T
        for i in range(before, place):
            if units[i] <= 0:  # the ReLU was silent
                deltas[i] = np.float32(0)
        place = before
    return loss


@kernel
def adam(w: np.ndarray, g: np.ndarray, mean: np.ndarray, square: np.ndarray, t: int, step: float, decay: float) -> None:
    """Take step number t of Adam, with the weight decay apart from the gradient (AdamW)."""
    b1, b2, one = np.float32(0.9), np.float32(0.999), np.float32(1)
    size, scale = np.float32(step / (1 - 0.9**t)), np.float32(1 / np.sqrt(1 - 0.999**t))
    keep = np.float32(1 - step * decay)
    for i in range(w.size):
        mean[i] = b1 * mean[i] + (one - b1) * g[i]
        square[i] = b2 * square[i] + (one - b2) * g[i] * g[i]
        w[i] = keep * w[i] - size * mean[i] / (np.sqrt(square[i]) * scale + np.float32(1e-8))


@kernel
def epoch(
    w: np.ndarray,
    sizes: np.ndarray,
    X: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    batch: int,
    step: float,
    decay: float,
    t: int,
    work: Workspace,
) -> float:
    """Go once through the data in the given order, a step of Adam for each batch; return the mean loss."""
    n, total = X.shape[0], 0.0
    d = X.shape[1]
    rows, wanted = np.empty(min(batch, n) * d, X.dtype), np.empty(min(batch, n), labels.dtype)
    for start in range(0, n, batch):
        size = min(batch, n - start)
        for i in range(size):
            wanted[i] = labels[order[start + i]]
            for j in range(d):
                rows[i * d + j] = X[order[start + i], j]
        loss = loss_and_gradient(w, sizes, rows, wanted, size, work.units, work.deltas, work.panel, work.gradient)
        total += size * loss
        t += 1
        adam(w, work.gradient, work.mean, work.square, t, step, decay)
    return total / n


# --------------------------------------------------------------------------------------------- the experiment


@dataclass(frozen=True, eq=False)
class LabelFit:
    """A network trained on given, partly corrupted or random labels, and how it got there; call it on points.

    Attributes:
        labels: the labels it was trained on (n,).
        corrupted: how many of them differ from the given ones.
        sizes: the sizes of the layers, from the input to the output.
        losses: the mean loss during each epoch.
        train_accuracy: after each epoch, the part of the training points whose (corrupted) label it gives.
        test_accuracy: after each epoch, on the test points; None if there were none.
        epochs_to_fit: the first epoch after which all training labels are fitted; None if none was.
        parameters: the weights and biases, in one vector.
        center: what is subtracted from a point before it enters the network.
        scale: by what it is divided then.
    """

    labels: np.ndarray
    corrupted: int
    sizes: tuple[int, ...]
    losses: np.ndarray
    train_accuracy: np.ndarray
    test_accuracy: np.ndarray | None
    epochs_to_fit: int | None
    parameters: np.ndarray
    center: np.ndarray
    scale: float

    def __call__(self, X: Any) -> np.ndarray:
        """Return the scores (points, classes); the largest marks the predicted class."""
        points = as_array(X, "X", kinds="biuf", ndim=2)
        check_finite(points, "X")
        if points.shape[1] != self.sizes[0]:
            raise ValueError(f"X must have {self.sizes[0]} columns, got {points.shape[1]}")
        ready = _normalise(points, self.center, self.scale, "X")
        return _scores(self.parameters, np.array(self.sizes), ready)

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """The weight matrix of each layer (inputs, outputs)."""
        found, at = [], 0
        for a, b in pairwise(self.sizes):
            found.append(self.parameters[at : at + a * b].reshape(a, b))
            at += a * b + b
        return tuple(found)

    def __repr__(self) -> str:
        test = "" if self.test_accuracy is None else f", test accuracy {self.test_accuracy[-1]:.3f}"
        return (
            f"LabelFit({' - '.join(map(str, self.sizes))}, {self.parameters.size} parameters, {self.corrupted} of "
            f"{len(self.labels)} labels changed, {len(self.losses)} epochs, training accuracy "
            f"{self.train_accuracy[-1]:.4f}{test})"
        )


def corrupt_labels(y: Any, fraction: float, *, classes: int | None = None, seed: int = 0) -> np.ndarray:
    """Replace each label, with probability `fraction`, by one drawn uniformly from all classes.

    The new label may be the old one by chance: with ten classes, `fraction=1` leaves a tenth unchanged.

    Args:
        y: labels (n,), ints from 0.
        fraction: the probability, from 0 to 1.
        classes: how many classes there are; by default one more than the largest label.
        seed: of the choice.

    Returns:
        The new labels.

    Raises:
        TypeError: if `y` does not hold ints.
        ValueError: if a label or `fraction` is out of range.

    Examples:
        ```python
        import derivable as dv

        print(dv.corrupt_labels([0, 1, 2, 3, 4, 5, 6, 7], 0.5, seed=1))
        #> [0 1 3 3 5 7 5 7]
        ```
    """
    count = None if classes is None else check_count(classes, "classes")
    given = check_labels(y, "y", np.size(y), count)
    fraction = check_number(fraction, "fraction")
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be from 0 to 1, got {fraction}")
    rng = stream(check_count(seed, "seed", least=0), "labels")
    new = rng.integers(0, count or int(given.max()) + 1, size=given.size)
    return np.where(rng.random(given.size) < fraction, new, given)


def fit_random_labels(
    X: Any,
    y: Any,
    fraction: float = 1.0,
    *,
    test: tuple[Any, Any] | None = None,
    hidden: Sequence[int] = (512,),
    epochs: int = 300,
    step: float = 3e-3,
    batch: int = 64,
    weight_decay: float = 0.0,
    seed: int = 0,
    until_fitted: bool = True,
    callback: Callable[[int, float, float], Any] | None = None,
) -> LabelFit:
    r"""Corrupt a part of the labels, train a ReLU network on them, and record how well it fits.

    The network has dense layers and softmax cross-entropy; it is trained in single precision by Adam on
    mini-batches in random order, with no regularization unless `weight_decay` is given. The points are centred
    by the training points' mean and divided by one number, their root mean square.

    Args:
        X: the points (n, d).
        y: their true labels (n,), ints from 0.
        fraction: the probability with which each label is replaced by a random one: 0 for the true labels, 1
            for random ones.
        test: points and their true labels, `(X_test, y_test)`, on which to measure after each epoch.
        hidden: the sizes of the hidden layers; `()` for a linear classifier.
        epochs: the largest number of passes through the data.
        step: Adam's step size.
        batch: the points of a mini-batch.
        weight_decay: $\lambda$: each step also multiplies the parameters by $1 - \eta\lambda$.
        seed: of labels, start and order together. Runs with equal arguments on one machine are equal.
        until_fitted: whether to stop after the first epoch with all training labels fitted.
        callback: called after each epoch with its number, its mean loss and the training accuracy; the run stops
            if it returns True.

    Returns:
        The trained network and its history.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes disagree, a number is out of range or not finite, or the training diverges.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        X = np.random.default_rng(0).normal(size=(100, 20))
        fit = dv.fit_random_labels(X, np.arange(100) % 4, hidden=(64,), seed=1)
        print(fit.train_accuracy[-1], fit.epochs_to_fit < 100)
        #> 1.0 True
        ```

    References:
        C. Zhang, S. Bengio, M. Hardt, B. Recht and O. Vinyals, *Understanding deep learning requires rethinking
        generalization*, ICLR 2017, section 2. D. P. Kingma and J. Ba, *Adam*, ICLR 2015.
    """
    points = as_array(X, "X", kinds="biuf", ndim=2)
    check_finite(points, "X")
    true = check_labels(y, "y", len(points))
    classes = int(true.max()) + 1
    test_points, test_labels = points[:0], true[:0]
    if test is not None:
        if not isinstance(test, tuple) or len(test) != 2:
            raise TypeError(f"test must be a tuple (X_test, y_test), got {type(test).__name__}")
        test_points = as_array(test[0], "test[0]", kinds="biuf", ndim=2)
        check_finite(test_points, "test[0]")
        if test_points.shape[1] != points.shape[1]:
            raise ValueError(f"test[0] must have {points.shape[1]} columns, as X, got {test_points.shape[1]}")
        test_labels = check_labels(test[1], "test[1]", len(test_points))
        classes = max(classes, int(test_labels.max()) + 1)
    if isinstance(hidden, (int, np.integer)):
        raise TypeError(f"hidden must be a sequence of sizes, got the int {hidden}: write hidden=({hidden},)")
    widths = [check_count(h, "each size in hidden") for h in hidden]
    epochs, batch = check_count(epochs, "epochs"), check_count(batch, "batch")
    step, decay = check_positive(step, "step"), check_number(weight_decay, "weight_decay")
    if not 0 <= decay < 1 / step:
        raise ValueError(f"weight_decay must be at least 0 and less than 1/step = {1 / step:g}, got {decay}")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function, got {type(callback).__name__}")

    labels = corrupt_labels(true, fraction, classes=classes, seed=seed)
    rng = stream(seed, "training")
    sizes = np.array([points.shape[1], *widths, classes])
    with np.errstate(all="ignore"):
        center = points.mean(axis=0, dtype=np.float64)
    if not np.isfinite(center).all():
        raise ValueError("X is too large: its mean overflows; scale it")
    scale = _root_mean_square(points - center) or 1.0
    inside, outside = _normalise(points, center, scale, "X"), _normalise(test_points, center, scale, "test[0]")
    w = initial_parameters(sizes, rng)
    work = make_workspace(sizes, max(len(inside), len(outside)), batch)
    per_epoch = -(-len(inside) // batch)

    losses, trained, tested, fitted = [], [], [], None
    for number in range(1, epochs + 1):
        order = rng.permutation(len(inside))
        taken = (number - 1) * per_epoch
        with np.errstate(all="ignore"):  # without the JIT NumPy would warn of what is checked here
            loss = epoch(w, sizes, inside, labels, order, batch, step, decay, taken, work)
        if not np.isfinite(loss):
            raise ValueError(f"the training diverged in epoch {number}: step {step:g} is too large for this network")
        losses.append(loss)
        trained.append(_accuracy(_scores(w, sizes, inside, work), labels))
        if test is not None:
            tested.append(_accuracy(_scores(w, sizes, outside, work), test_labels))
        if fitted is None and trained[-1] == 1:
            fitted = number
        if callback is not None and callback(number, loss, trained[-1]) is True:
            break
        if fitted is not None and until_fitted:
            break
    return LabelFit(
        labels=labels,
        corrupted=int(np.sum(labels != true)),
        sizes=tuple(int(s) for s in sizes),
        losses=np.array(losses),
        train_accuracy=np.array(trained),
        test_accuracy=np.array(tested) if test is not None else None,
        epochs_to_fit=fitted,
        parameters=w,
        center=center,
        scale=scale,
    )


def _accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(scores.argmax(axis=1) == labels))


def _root_mean_square(array: np.ndarray) -> float:
    """Return the root of the mean of the squares; no square over- or underflows."""
    largest = float(np.abs(array).max())
    return largest * float(np.sqrt(np.mean((array / largest) ** 2))) if largest > 0 else 0.0


def _normalise(points: np.ndarray, center: np.ndarray, scale: float, name: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        ready = np.ascontiguousarray((points - center) / scale, dtype=np.float32)
    if not np.isfinite(ready).all():
        raise ValueError(f"{name} holds points too far from the training points for single precision")
    return ready


def _scores(w: np.ndarray, sizes: np.ndarray, ready: np.ndarray, work: Workspace | None = None) -> np.ndarray:
    """Return the scores of points that are centred and scaled: a view into the workspace."""
    n, classes = len(ready), int(sizes[-1])
    work = work or make_workspace(sizes, n, 1)
    start = forward(w, sizes, ready.reshape(-1), n, work.units, work.panel)
    return work.units[start : start + n * classes].reshape(n, classes)
