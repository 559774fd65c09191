"""A network: layers put together to one function of parameters and data, as a program that can be read.

The program is an ordinary function under `@njit`, written to a file of the cache folder: `derivable.grad` reads it like
any other, Numba stores what it compiles of it, and a traceback shows its lines.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from derivable.autodiff.transform.emit import load
from derivable.convolution.rules import version
from derivable.networks.layers import LAYERS, Layer, Weighted
from derivable.validation import as_array, check_count

__all__ = ["Network", "TrainedNetwork", "load_network"]

Parameters = tuple[tuple[np.ndarray, np.ndarray], ...]

HEAD = '''"""A network, written by Derivable; a point has the shape {shape}."""

from derivable import {names}
from derivable.jit import kernel


@kernel
def network(parameters, X):
    {unpack} = parameters
    h = X
{body}
    return h


def loss(parameters, X, y):
    return softmax_cross_entropy(network(parameters, X), y)
'''


class Network:
    """Layers one after another, as one compiled function of parameters and data.

    The shapes are worked out when the network is made: layers that do not fit each other are refused then.

    Attributes:
        layers: the layers.
        input_shape: the shape of one point.
        shapes: the shape of one point behind each layer.
        function: the network as an `@njit` function `(parameters, X)`, which returns the outputs. `X` has the batch as
            its first axis; `parameters` is a tuple with a pair (weight, bias) for each layer that has such.
        loss: the mean softmax cross-entropy as an `@njit` function `(parameters, X, labels)`; `dv.grad` of it is what
            training needs.
        source: the program of both, as text.

    Args:
        layers: the layers, in order.
        input_shape: the shape of one point: (numbers,) or (channels, *sizes).

    Raises:
        TypeError: if something is not a layer.
        ValueError: if a layer cannot take what the one before it returns.

    Examples:
        ```python
        import derivable as dv

        network = dv.Network(
            [dv.Conv(4, 3), dv.Activation("relu"), dv.Pool(2), dv.Flatten(), dv.Dense(10)], (1, 8, 8)
        )
        print(network.shapes, network.size)
        #> ((4, 6, 6), (4, 6, 6), (4, 3, 3), (36,), (10,)) 410
        ```
    """

    def __init__(self, layers: Sequence[Layer], input_shape: Sequence[int]):
        if not isinstance(input_shape, (tuple, list)):
            raise TypeError(f"input_shape must be a tuple, the shape of one point, got {type(input_shape).__name__}")
        self.input_shape = tuple(check_count(n, "each size in input_shape") for n in input_shape)
        if not self.input_shape:
            raise ValueError("input_shape must have at least one size, got ()")
        if isinstance(layers, (Layer, str)) or not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a sequence of layers, such as [dv.Dense(10)], got {layers!r}")
        self.layers = tuple(layers)
        if not any(isinstance(layer, Weighted) for layer in self.layers):
            raise ValueError(f"layers must hold at least one Dense or Conv, got {list(self.layers)}")
        shape, shapes, lines, pairs = self.input_shape, [], [], 0
        for number, layer in enumerate(self.layers, 1):
            if not isinstance(layer, Layer):
                hint = f": write {layer.__name__}(...)" if isinstance(layer, type) and issubclass(layer, Layer) else ""
                raise TypeError(f"layers must hold layers such as dv.Dense(10), got {layer!r} as layer {number}{hint}")
            try:
                after = layer.output_shape(shape)
            except ValueError as error:
                raise ValueError(f"layer {number}, {layer!r}, {error}") from None
            lines.append(f"    h = {layer.expression(shape, f'w{pairs}', f'b{pairs}')}  # {after}")
            pairs += isinstance(layer, Weighted)
            shapes.append(after)
            shape = after
        self.shapes = tuple(shapes)
        unpack = "".join(f"(w{k}, b{k}), " for k in range(pairs)).rstrip(" " if pairs == 1 else ", ")
        called = {line.split("= ", 1)[1].split("(")[0] for line in lines}
        names = ", ".join(sorted({n for n in called if n.isidentifier()} | {"softmax_cross_entropy"}))
        self.source = HEAD.format(shape=self.input_shape, names=names, unpack=unpack, body="\n".join(lines))
        self.loss: Callable[..., Any] = load("loss", self.source, {}, [version()], plain=False)
        self.function: Callable[..., Any] = getattr(self.loss, "py_func", self.loss).__globals__["network"]

    @property
    def parameter_shapes(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """The shapes of weight and bias, for each layer that has such."""
        before = (self.input_shape, *self.shapes)
        every = (layer.parameter_shapes(shape) for layer, shape in zip(self.layers, before, strict=False))
        return tuple(pair for pair in every if pair)

    @property
    def size(self) -> int:
        """How many numbers the parameters are."""
        return sum(int(np.prod(shape)) for pair in self.parameter_shapes for shape in pair)

    def initial(self, seed: int = 0, dtype: Any = np.float32) -> Parameters:
        """Draw parameters: weights by each layer's `init`, biases zero.

        Args:
            seed: of the draw.
            dtype: float32 or float64.

        Returns:
            A tuple with a pair (weight, bias) for each layer that has such.
        """
        try:
            known = np.dtype(dtype) in (np.dtype(np.float32), np.dtype(np.float64))
        except TypeError:  # NumPy's message does not name the argument
            known = False
        if not known:
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
        rng = np.random.default_rng(check_count(seed, "seed", least=0))
        before = (self.input_shape, *self.shapes)
        return tuple(
            layer.draw(shape, rng, dtype)
            for layer, shape in zip(self.layers, before, strict=False)
            if isinstance(layer, Weighted)
        )

    def check_parameters(self, parameters: Any, name: str = "parameters") -> Parameters:
        """Return parameters of one dtype, contiguous; an error where their shapes are not those of the network."""
        if not isinstance(parameters, (tuple, list)) or not all(isinstance(p, (tuple, list)) for p in parameters):
            raise TypeError(f"{name} must be a tuple of pairs (weight, bias), got {type(parameters).__name__}")
        pairs = tuple(tuple(as_array(a, name, kinds="f") for a in pair) for pair in parameters)
        shapes = tuple(tuple(a.shape for a in pair) for pair in pairs)
        if shapes != self.parameter_shapes:
            raise ValueError(f"{name} must have the shapes {self.parameter_shapes}, got {shapes}")
        dtype = np.result_type(*(a.dtype for pair in pairs for a in pair))
        return tuple((np.ascontiguousarray(w, dtype), np.ascontiguousarray(b, dtype)) for w, b in pairs)

    def check_points(self, X: Any, dtype: Any, name: str = "X") -> np.ndarray:
        """Return points as a contiguous array of the dtype; an error where they are not of the input's shape."""
        points = as_array(X, name, kinds="biuf")
        if points.shape[1:] != self.input_shape:
            raise ValueError(
                f"{name} must have the shape (points, {', '.join(map(str, self.input_shape))}), got {points.shape}"
            )
        return np.ascontiguousarray(points, dtype)

    def __call__(self, parameters: Any, X: Any, batch: int = 256) -> np.ndarray:
        """Return the outputs for the points `X`, computed `batch` of them at a time."""
        parameters = self.check_parameters(parameters)
        points = self.check_points(X, parameters[0][0].dtype)
        batch = check_count(batch, "batch")
        parts = [self.function(parameters, points[i : i + batch]) for i in range(0, len(points), batch)]
        return np.concatenate(parts)

    def __reduce__(self) -> Any:
        """Travel to another process as layers: the program is written again there."""
        return Network, (self.layers, self.input_shape)

    def __repr__(self) -> str:
        return f"Network({list(self.layers)}, {self.input_shape})"


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network with its parameters; call it on points.

    Attributes:
        network: the network.
        parameters: its parameters.
        run: how [`train`][derivable.train] got there; None for a network that was loaded.
    """

    network: Network
    parameters: Parameters
    run: Any = None

    def __call__(self, X: Any) -> np.ndarray:
        """Return the outputs for points: one row each, one column for each class."""
        return self.network(self.parameters, X)

    def accuracy(self, X: Any, y: Any) -> float:
        """Return which part of the points gets its largest score at the right label."""
        labels = as_array(y, "y", kinds="iu", ndim=1)
        scores = self(X)
        if labels.size != len(scores):
            raise ValueError(f"y must have one label for each of the {len(scores)} points, got {labels.size}")
        return float(np.mean(scores.argmax(axis=1) == labels))

    def save(self, path: str | Path) -> None:
        """Write layers and parameters to one file in NumPy's `.npz` format, to be read by `load_network`.

        The file appears whole or not at all. It holds numbers and a line of JSON, nothing that could run.

        Args:
            path: where to.
        """
        path = Path(path)
        layers = [{"layer": type(layer).__name__, **asdict(layer)} for layer in self.network.layers]  # type: ignore[call-overload]
        about = {"format": FORMAT, "input_shape": self.network.input_shape, "layers": layers}
        arrays = {f"{kind}{k}": a for k, pair in enumerate(self.parameters) for kind, a in zip("wb", pair, strict=True)}
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def __repr__(self) -> str:
        return f"TrainedNetwork({self.network}, {self.network.size} parameters)"


FORMAT = "derivable network 1"


def load_network(path: str | Path) -> TrainedNetwork:
    """Read a network that [`save`][derivable.TrainedNetwork] wrote.

    Args:
        path: the file.

    Returns:
        The network with its parameters.

    Raises:
        ValueError: if the file is no such network, or its parameters do not fit its layers.

    Examples:
        ```python
        import derivable as dv
        import numpy as np
        import tempfile

        network = dv.Network([dv.Dense(3)], (2,))
        model = dv.TrainedNetwork(network, network.initial(seed=1))
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model.npz")
            again = dv.load_network(f"{folder}/model.npz")
        assert np.array_equal(model(np.eye(2)), again(np.eye(2)))
        ```
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']!r}")
            layers = []
            for entry in about["layers"]:
                layers.append(LAYERS[entry.pop("layer")](**entry))
            network = Network(layers, tuple(about["input_shape"]))
            pairs = tuple((file[f"w{k}"], file[f"b{k}"]) for k in range(len(network.parameter_shapes)))
            return TrainedNetwork(network, network.check_parameters(pairs))
    except (AttributeError, EOFError, IndexError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} must be a file that TrainedNetwork.save wrote ({FORMAT}), but: {error}") from error
