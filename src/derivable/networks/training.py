"""Train a network: `derivable.grad` of its loss, handed to `derivable.sgd`. All else here checks and prepares."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.autodiff import grad
from derivable.networks.network import Network, TrainedNetwork
from derivable.stochastic import Adam, RMSProp, schedules, sgd
from derivable.validation import as_array, check_choice, check_count, check_finite, check_positive

__all__ = ["shift_images", "train"]

ADAM = Adam()


def shift_images(X: Any, distance: int = 1) -> np.ndarray:
    """Return images shifted in the eight directions, behind the images themselves.

    What moves out of the image is lost; zeros move in.

    Args:
        X: images (points, channels, height, width).
        distance: by how many pixels.

    Returns:
        Nine times as many images: first those given, then one copy of all for each direction.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        nine = dv.shift_images(np.eye(3).reshape(1, 1, 3, 3))
        print(nine.shape)
        #> (9, 1, 3, 3)
        print(nine[1, 0])
        #> [[1. 0. 0.]
        #>  [0. 1. 0.]
        #>  [0. 0. 0.]]
        ```
    """
    images = as_array(X, "X", kinds="biuf", ndim=4)
    d = check_count(distance, "distance", least=0)
    height, width = images.shape[2:]
    wide = np.pad(images, ((0, 0), (0, 0), (d, d), (d, d)))
    directions = [(0, 0), *((i, j) for i in (-d, 0, d) for j in (-d, 0, d) if i or j)]
    if d == 0:
        return images.copy()
    return np.concatenate([wide[:, :, d - i : d - i + height, d - j : d - j + width] for i, j in directions])


def train(
    network: Network,
    X: Any,
    y: Any,
    *,
    epochs: int,
    step: Any = 1e-3,
    schedule: str = "cosine",
    batch: int = 32,
    rule: Adam | RMSProp | None = ADAM,
    shifts: int = 0,
    parameters: Any = None,
    seed: int = 0,
    held_out: tuple[Any, Any] | None = None,
    evaluate: Any = None,
    **options: Any,
) -> TrainedNetwork:
    r"""Minimise a network's mean softmax cross-entropy by stochastic gradient descent, all steps compiled.

    It is `dv.sgd(dv.grad(network.loss), parameters, (X, y), batched=True, ...)`, with checks before and the result's
    parts behind one name after.

    Args:
        network: the network; its outputs are the scores of the classes.
        X: the points, (points, *network.input_shape).
        y: their labels, ints from 0.
        epochs: how many times to go through the data (the shifted copies included).
        step: the step size $\eta$, or anything that `sgd` takes as `step`.
        schedule: "cosine": $\eta$ falls along half a cosine towards 0, which it would reach with the step after the
            last; "constant". For a number as `step` only.
        batch: the points of a step.
        rule: as in `sgd`; None for the plain step.
        shifts: with $s > 0$, also train on the images shifted by $s$ pixels in the eight directions.
        parameters: the start; `network.initial(seed)` by default. float64 parameters train in float64.
        seed: of the parameters and of the order of the points.
        held_out: `(X_test, y_test)`, on which to measure the loss as well.
        evaluate: when to measure the loss on all data, as in `sgd`; by default at the ends of the epochs if `held_out`,
            `patience`, `callback` or `progress` asks for it, and never otherwise, as it takes a third of the time.
        **options: everything else goes to [`sgd`][derivable.sgd]: `patience`, `callback`, `progress`, `order`,
            `weight_decay`, `momentum`, ...

    Returns:
        The trained network. Its attribute `run` is the [`StochasticTrajectory`][derivable.StochasticTrajectory], of
        which only the last point is kept unless `keep` says otherwise; with `patience` its parameters are
        the best that were seen.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if shapes do not fit, a number is out of range, or a label is no class.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        X = np.random.default_rng(0).normal(size=(200, 2))
        y = (X[:, 0] * X[:, 1] > 0).astype(int)  # two opposite quadrants
        network = dv.Network([dv.Dense(16), dv.Activation("tanh"), dv.Dense(2)], (2,))
        model = dv.train(network, X, y, epochs=60, step=0.03, batch=20)
        print(model.accuracy(X, y) > 0.95)
        #> True
        ```
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a dv.Network, got {type(network).__name__}")
    if len(network.shapes[-1]) != 1:
        raise ValueError(
            f"network must end with scores, one for each class, but its output has the shape {network.shapes[-1]}"
        )
    start = network.initial(seed) if parameters is None else network.check_parameters(parameters)
    data = check_data(network, X, y, start[0][0].dtype, "X", "y")
    if check_count(shifts, "shifts", least=0):
        if len(network.input_shape) != 3:
            raise ValueError(f"shifts must be 0 but for images (channels, height, width), got {network.input_shape}")
        images = shift_images(data[0], shifts)
        data = images, np.tile(data[1], len(images) // len(data[1]))
    if held_out is not None:
        if not isinstance(held_out, tuple) or len(held_out) != 2:
            raise TypeError(f"held_out must be a tuple (X_test, y_test), got {type(held_out).__name__}")
        held_out = check_data(network, *held_out, start[0][0].dtype, "held_out[0]", "held_out[1]")
    batch = min(check_count(batch, "batch"), len(data[0]))
    check_choice(schedule, "schedule", ("cosine", "constant"))
    if np.ndim(step) == 0 and not callable(step) and not isinstance(step, schedules.Schedule):
        step = check_positive(step, "step")
        if schedule == "cosine":
            drop = bool(options.get("drop_last", False))
            per_epoch = len(data[0]) // batch if drop else -(-len(data[0]) // batch)
            step = schedules.cosine(step, check_count(epochs, "epochs") * per_epoch)
    measured = held_out is not None or any(options.get(name) for name in ("patience", "callback", "progress"))
    if measured or evaluate is not None:
        options |= {"value": network.loss, "held_out": held_out, "evaluate": evaluate or "epochs"}
    run = sgd(
        grad(network.loss),
        start,
        data,
        step=step,
        epochs=epochs,
        batch=batch,
        batched=True,
        rule=rule,
        seed=seed,
        **{"keep": "last", **options},
    )
    return TrainedNetwork(network, run.best if options.get("patience") else run.last, run)


def check_data(network: Network, X: Any, y: Any, dtype: Any, X_name: str, y_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return points of the network's input shape and labels of its classes."""
    points = network.check_points(X, dtype, X_name)
    check_finite(points, X_name)
    labels = as_array(y, y_name, kinds="iu", ndim=1)
    classes = network.shapes[-1][0]
    if labels.size != len(points):
        raise ValueError(f"{y_name} must have one label for each of the {len(points)} points, got {labels.size}")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"{y_name} must hold ints from 0 to {classes - 1}, got {labels.min()} to {labels.max()}")
    return points, labels.astype(np.int64)
