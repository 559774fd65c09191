"""The layers of a network: each a map with parameters, described by a few numbers.

A layer knows three things: the shape of what it returns, given the shape of what it gets (one point's, without the
batch); the shapes of its parameters; and the line of program that computes it. A `Network` puts the lines together.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from derivable.activations import ACTIVATIONS
from derivable.convolution.sizes import output_size
from derivable.validation import check_choice, check_count

__all__ = ["LAYERS", "Activation", "Conv", "Dense", "Flatten", "Layer", "Pool"]

Shape = tuple[int, ...]
INITIALISATIONS = ("he", "glorot")


class Layer:
    """What all layers have in common: by default no parameters."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape; ValueError if there is none."""
        raise NotImplementedError

    def parameter_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        """Return the shapes of the weight and the bias, or nothing."""
        return ()

    def expression(self, shape: Shape, weight: str, bias: str) -> str:
        """Return the program text of the output, in terms of `h`, the input, and the names of the parameters."""
        raise NotImplementedError


class Weighted(Layer):
    """A layer with a weight and a bias, which are drawn and set to zero at the beginning."""

    init: str

    def fans(self, shape: Shape) -> tuple[int, int]:
        """Return how many numbers one output is made of, and how many outputs one number goes into."""
        raise NotImplementedError

    def draw(self, shape: Shape, rng: np.random.Generator, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        """Draw the weight from a normal distribution of He's or Glorot's variance."""
        weight, bias = self.parameter_shapes(shape)
        inputs, outputs = self.fans(shape)
        variance = 2 / inputs if self.init == "he" else 2 / (inputs + outputs)
        return (rng.normal(size=weight) * np.sqrt(variance)).astype(dtype), np.zeros(bias, dtype)


@dataclass(frozen=True)
class Dense(Weighted):
    r"""A dense layer: $h \mapsto hW + b$, every output made of every input.

    Attributes:
        units: the number of outputs.
        init: "he" (weights of variance 2 / inputs, right before a ReLU) or "glorot" (2 / (inputs + outputs)).

    Examples:
        ```python
        import derivable as dv

        print(dv.Dense(10).output_shape((512,)))
        #> (10,)
        ```
    """

    units: int
    init: str = "he"

    def __post_init__(self) -> None:
        check_count(self.units, "units")
        check_choice(self.init, "init", INITIALISATIONS)

    def output_shape(self, shape: Shape) -> Shape:
        """Return (units,)."""
        if len(shape) != 1:
            raise ValueError(f"needs a vector, got the shape {shape}: put Flatten() in front of it")
        return (self.units,)

    def parameter_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        """Return (inputs, units) and (units,)."""
        return (shape[0], self.units), (self.units,)

    def fans(self, shape: Shape) -> tuple[int, int]:
        """Return the numbers of inputs and of units."""
        return shape[0], self.units

    def expression(self, shape: Shape, weight: str, bias: str) -> str:
        """Return a matrix product and a sum."""
        return f"h @ {weight} + {bias}"


@dataclass(frozen=True)
class Conv(Weighted):
    """A convolutional layer, of as many dimensions as the input has behind its channels.

    Attributes:
        channels: the number of output channels.
        size: the kernel's size along each axis.
        stride: the step from one output to the next.
        padding: the zeros on both sides of each axis.
        init: "he" or "glorot", as for [`Dense`][derivable.Dense].

    Examples:
        ```python
        import derivable as dv

        print(dv.Conv(16, 3, padding=1).output_shape((1, 8, 8)))
        #> (16, 8, 8)
        ```
    """

    channels: int
    size: int
    stride: int = 1
    padding: int = 0
    init: str = "he"

    def __post_init__(self) -> None:
        for name in ("channels", "size", "stride"):
            check_count(getattr(self, name), name)
        check_count(self.padding, "padding", least=0)
        check_choice(self.init, "init", INITIALISATIONS)

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, *sizes)."""
        image_axes(shape)
        if min(shape[1:]) + 2 * self.padding < self.size:
            raise ValueError(f"has kernels of size {self.size}, which do not fit the padded input of shape {shape}")
        return (self.channels, *along_axes(shape, self.size, self.stride, self.padding))

    def parameter_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        """Return (channels, input channels, *kernel sizes) and (channels,)."""
        return (self.channels, shape[0], *(self.size,) * (len(shape) - 1)), (self.channels,)

    def fans(self, shape: Shape) -> tuple[int, int]:
        """Return the size of a patch, and how many products one number enters."""
        taps = self.size ** (len(shape) - 1)
        return shape[0] * taps, self.channels * taps

    def expression(self, shape: Shape, weight: str, bias: str) -> str:
        """Return a call of conv1d, conv2d or conv3d."""
        options = f", stride={self.stride}" if self.stride != 1 else ""
        options += f", padding={self.padding}" if self.padding else ""
        return f"conv{len(shape) - 1}d(h, {weight}, {bias}{options})"


@dataclass(frozen=True)
class Pool(Layer):
    """Pooling: the largest number, or the mean, of each window of each channel.

    Attributes:
        size: the window's size along each axis, and the step from one window to the next.
        kind: "max" or "mean".

    Examples:
        ```python
        import derivable as dv

        print(dv.Pool(2).output_shape((32, 8, 8)))
        #> (32, 4, 4)
        ```
    """

    size: int = 2
    kind: str = "max"

    def __post_init__(self) -> None:
        check_count(self.size, "size")
        check_choice(self.kind, "kind", ("max", "mean"))

    def output_shape(self, shape: Shape) -> Shape:
        """Return (channels, *sizes)."""
        image_axes(shape)
        if min(shape[1:]) < self.size:
            raise ValueError(f"has windows of size {self.size}, which do not fit the input of shape {shape}")
        return (shape[0], *along_axes(shape, self.size, self.size, 0))

    def expression(self, shape: Shape, weight: str, bias: str) -> str:
        """Return a call of a pooling function."""
        word = "max" if self.kind == "max" else "avg"
        return f"{word}_pool{len(shape) - 1}d(h, {self.size})"


@dataclass(frozen=True)
class Flatten(Layer):
    """All numbers of a point in one row.

    Examples:
        ```python
        import derivable as dv

        print(dv.Flatten().output_shape((32, 4, 4)))
        #> (512,)
        ```
    """

    def output_shape(self, shape: Shape) -> Shape:
        """Return the number of numbers."""
        return (prod(shape),)

    def expression(self, shape: Shape, weight: str, bias: str) -> str:
        """Return a call of reshape."""
        return f"h.reshape(h.shape[0], {prod(shape)})"


@dataclass(frozen=True)
class Activation(Layer):
    """An activation function, applied to each number.

    Attributes:
        name: the name of one of `dv.ACTIVATIONS`.

    Examples:
        ```python
        import derivable as dv

        print(dv.Activation("relu").output_shape((16, 8, 8)), sorted(dv.ACTIVATIONS)[:3])
        #> (16, 8, 8) ['gelu', 'gelu_tanh', 'leaky_relu']
        ```
    """

    name: str

    def __post_init__(self) -> None:
        check_choice(self.name, "name", tuple(ACTIVATIONS))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape itself."""
        return shape

    def expression(self, shape: Shape, weight: str, bias: str) -> str:
        """Return a call of the function."""
        return f"{self.name}(h)"


LAYERS = {layer.__name__: layer for layer in (Activation, Conv, Dense, Flatten, Pool)}


def image_axes(shape: Shape) -> None:
    """Raise ValueError unless there are one to three axes behind the channels."""
    if not 2 <= len(shape) <= 4:
        raise ValueError(f"needs channels and one to three axes, got the shape {shape}")


def along_axes(shape: Shape, size: int, stride: int, padding: int) -> Shape:
    """Return how many windows there are along each axis behind the channels."""
    return tuple(int(output_size(n, size, stride, padding)) for n in shape[1:])  # type: ignore[arg-type]
