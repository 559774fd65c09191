"""The derivatives of layers and pooling, entered into the rules of `derivable.autodiff`.

With these, `grad`, `jvp` and the other verbs differentiate functions that call a layer. A layer C(w) x + b is linear in
the input, in the kernel and in the bias, so that its tangent is a sum of layers, one for each argument that moves; its
cotangents are those of `derivatives`. Those functions are bilinear too. Their rules are made of the same functions
again, so that derivatives of any order stay within this family:

| function of a, b | cotangent of a, for g | cotangent of b, for g |
|---|---|---|
| layer: C(b) a | input gradient (g, b) | kernel gradient (g, a) |
| input gradient: C(b)^T a | layer (g, b) | kernel gradient (a, g) |
| kernel gradient of x = b | layer (b, g) | input gradient (a, g) |

A maximum pooling is linear where the largest number of each window stays the largest. The first of equal ones
counts, in all modes.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from derivable.autodiff.kinds import Kind, digest
from derivable.autodiff.rules.array import FUNCTIONS, ArrayRule, Forms, Refused
from derivable.convolution import derivatives, layers, pooling

__all__: list[str] = []

LAYER = "stride=1, padding=0, dilation=1, groups=1, padding_mode='zeros'"
TRANSPOSED = "stride=1, padding=0, output_padding=0, groups=1, dilation=1"
MAXIMUM = "kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False"
MEAN = "kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None"


@functools.cache
def version() -> str:
    """Return a digest of this folder: generated programs that call it are compiled anew when it changes."""
    return digest(*(f.read_bytes() for f in sorted(Path(__file__).parent.glob("*.py"))))


class Call:
    """The arguments of a call, as texts: arrays x0, x1, ..., and the options, which carry no derivative."""

    def __init__(self, arrays: list[Kind | None], options: dict[str, str], shape: str) -> None:
        self.arrays, self.options, self.shape = arrays, options, shape

    def write(self, function: str, *arrays: str) -> str:
        """Return the text of a call with the options that the function takes; `method` is the layers' alone."""
        chosen = [f"{n}={t}" for n, t in self.options.items() if n != "method" or function == self.function]
        return f"{function}({', '.join([*arrays, *chosen])})"

    function = ""


class ConvolutionRule(ArrayRule):
    """The rule of one function: arrays first, perhaps a shape, then options (constants, or ints of the program)."""

    def __init__(self, function: Any, arrays: str, options: str, make: Any) -> None:
        super().__init__(function.__name__, f"{arrays} | {options}", make)
        self.function = function

    def read(self, reader: Any, args: list[Any], named: dict[str, Any]) -> tuple[list[Any], dict[str, Any], Any]:
        try:
            bound = self.signature.bind(*args, **named)
        except TypeError as error:
            raise Refused(f"{self.name}: {error}", "give it the arguments of its signature") from None
        bound.apply_defaults()
        values: list[Any] = []
        arrays: list[Kind | None] = []

        def text(binding: Any, name: str) -> str:
            """Write an option; a number that is not known while reading becomes an argument."""
            if isinstance(binding, tuple):
                return f"({' '.join(text(part, name) + ',' for part in binding)})"
            if not hasattr(binding, "kind"):
                known = getattr(binding, "value", binding)
                if known is not None and not isinstance(known, (bool, int, str)):
                    raise Refused(f"{self.name}: {name} is {known!r}", "use ints, words, or tuples of ints")
                return repr(known)
            if binding.kind.ndim or binding.kind.dtype not in "bi":
                raise Refused(f"{self.name}: {name} is {binding.kind.a}", "use an int, or a tuple of ints")
            if binding.const is not None:
                return repr(binding.const)
            values.append(binding)
            return f"x{len(values) - 1}"

        options: dict[str, str] = {}
        shape = ""
        for name, binding in bound.arguments.items():
            if name in self.values and not name.endswith("_shape"):
                if binding is None or (hasattr(binding, "value") and binding.value is None):
                    arrays.append(None)
                    continue
                values.append(reader.as_value(binding, reader.node))
                if not values[-1].kind.ndim:
                    raise Refused(f"{self.name}: {name} is {values[-1].kind.a}", "it must be an array")
                arrays.append(values[-1].kind)
            elif name in self.values:
                shape = text(binding, name)
            else:
                written = text(binding, name)
                if written != repr(self.signature.parameters[name].default):
                    options[name] = written
        call = Call(arrays, options, shape)
        call.function = self.name
        forms = self.make(call)
        forms.reverse += [None] * (len(values) - len(forms.reverse))
        if forms.terms:
            forms.terms += [None] * (len(values) - len(forms.terms))
        self.import_names(reader, forms)
        return values, {}, forms

    def import_names(self, reader: Any, forms: Forms) -> None:
        """Let the generated program import the functions that its texts call."""
        written = " ".join(filter(None, [forms.primal, forms.forward, *forms.reverse, *forms.terms]))
        for function in RULES:
            if f"{function.__name__}(" in written:
                reader.imported(function.__name__, ("import", function.__module__, function.__name__))
        if version() not in reader.keys:
            reader.keys.append(version())


RULES: list[Any] = []


def enter(function: Any, arrays: str, options: str) -> Any:
    """Enter the rule of a function; the decorated function writes its forms from a `Call`."""

    def decorator(make: Any) -> Any:
        FUNCTIONS[function] = ConvolutionRule(function, arrays, options, make)
        RULES.append(function)
        return make

    return decorator


def kind(ndim: int, *kinds: Kind | None) -> Kind:
    """Return the kind of a result: float32 only where all arrays are."""
    return Kind("f4" if all(k is None or k.dtype == "f4" for k in kinds) else "f8", ndim)


def cast(result: Kind) -> str:
    """Write the cotangent of a result in the result's precision."""
    return "g.astype(np.float32)" if result.dtype == "f4" else "g"


def channels(array: str, dimensions: int) -> str:
    """Write an array of one number per channel so that it broadcasts against (batch, channels, *sizes)."""
    return f"np.ascontiguousarray({array}).reshape({array}.shape[0]{', 1' * dimensions})"


def add_layer(dimensions: int, transposed: bool) -> None:
    """Enter conv1d, conv2d, conv3d or their transposed maps."""
    word = "conv_transpose" if transposed else "conv"
    name = f"{word}{dimensions}d"

    @enter(getattr(layers, name), "x, weight, bias=None", f"{TRANSPOSED if transposed else LAYER}, method='auto'")
    def _layer(call: Call) -> Forms:
        x, _, bias = call.arrays
        result = kind(x.ndim, *call.arrays)  # type: ignore[union-attr]
        g = cast(result)
        reverse: list[str | None] = [
            call.write(f"{word}_input_gradient", g, "x1", "x0.shape"),
            call.write(f"{word}_kernel_gradient", g, "x0", "x1.shape"),
        ]
        terms: list[str | None] = [call.write(name, "dx0", "x1"), call.write(name, "x0", "dx1")]
        if bias is None:
            return Forms(result, call.write(name, "x0", "x1"), reverse, terms=terms)
        reverse.append(f"conv_bias_gradient({g}, {dimensions})")
        terms.append(f"np.zeros_like(z) + {channels('dx2', dimensions)}")
        return Forms(result, call.write(name, "x0", "x1", "x2"), reverse, terms=terms)


def add_gradients(word: str, options: str) -> None:
    """Enter the input and the kernel gradient of plain or transposed layers."""
    to_input, to_kernel = f"{word}_input_gradient", f"{word}_kernel_gradient"

    @enter(getattr(derivatives, to_input), "gradient, weight, input_shape", options)
    def _input(call: Call) -> Forms:
        gradient, weight = call.arrays
        result = kind(call.shape.count(","), gradient, weight)
        g, layer = cast(result), f"{word}{weight.ndim - 2}d"  # type: ignore[union-attr]
        return Forms(
            result,
            call.write(to_input, "x0", "x1", call.shape),
            [call.write(layer, g, "x1"), call.write(to_kernel, "x0", g, "x1.shape")],
            terms=[call.write(to_input, "dx0", "x1", call.shape), call.write(to_input, "x0", "dx1", call.shape)],
        )

    @enter(getattr(derivatives, to_kernel), "gradient, x, kernel_shape", options)
    def _kernel(call: Call) -> Forms:
        ndim = call.shape.count(",")
        result = kind(ndim, *call.arrays)
        g, layer = cast(result), f"{word}{ndim - 2}d"
        return Forms(
            result,
            call.write(to_kernel, "x0", "x1", call.shape),
            [call.write(layer, "x1", g), call.write(to_input, "x0", g, "x1.shape")],
            terms=[call.write(to_kernel, "dx0", "x1", call.shape), call.write(to_kernel, "x0", "dx1", call.shape)],
        )


@enter(derivatives.conv_bias_gradient, "gradient", "dimensions=None")
def _bias(call: Call) -> Forms:
    gradient = call.arrays[0]
    count = call.options.get("dimensions", str(gradient.ndim - 2))  # type: ignore[union-attr]
    if not count.isdigit() or not 1 <= int(count) <= 3:
        raise Refused("conv_bias_gradient: dimensions is not 1, 2 or 3", "write the number")
    spread = f"np.zeros_like(x0) + {channels('g', int(count))}"
    return Forms(kind(1, gradient), call.write("conv_bias_gradient", "x0"), [spread])


def add_pooling(dimensions: int) -> None:
    """Enter the pooling functions of so many dimensions."""
    largest, mean = f"max_pool{dimensions}d", f"avg_pool{dimensions}d"
    back, tangent, spread = f"{largest}_gradient", f"{largest}_tangent", f"{mean}_gradient"

    @enter(getattr(pooling, largest), "x", MAXIMUM)
    def _max(call: Call) -> Forms:
        x = call.arrays[0]
        assert x is not None
        g = cast(x)
        return Forms(
            Kind(x.dtype, x.ndim),
            call.write(largest, "x0"),
            [call.write(back, g, "x0")],
            terms=[call.write(tangent, "dx0", "x0")],
        )

    # In the two functions below x only says where; the derivative with respect to it is zero.
    @enter(getattr(pooling, back), "gradient, x", MAXIMUM)
    def _back(call: Call) -> Forms:
        result = kind(call.arrays[1].ndim, *call.arrays)  # type: ignore[union-attr]
        return Forms(
            result,
            call.write(back, "x0", "x1"),
            [call.write(tangent, cast(result), "x1"), None],
            terms=[call.write(back, "dx0", "x1"), None],
        )

    @enter(getattr(pooling, tangent), "tangent, x", MAXIMUM)
    def _tangent(call: Call) -> Forms:
        result = kind(call.arrays[1].ndim, *call.arrays)  # type: ignore[union-attr]
        return Forms(
            result,
            call.write(tangent, "x0", "x1"),
            [call.write(back, cast(result), "x1"), None],
            terms=[call.write(tangent, "dx0", "x1"), None],
        )

    @enter(getattr(pooling, mean), "x", MEAN)
    def _mean(call: Call) -> Forms:
        x = call.arrays[0]
        result = kind(x.ndim, x)  # type: ignore[union-attr]
        return Forms(result, call.write(mean, "x0"), [call.write(spread, cast(result), "x0.shape")],
                     terms=[call.write(mean, "dx0")])  # fmt: skip

    @enter(getattr(pooling, spread), "gradient, input_shape", MEAN)
    def _spread(call: Call) -> Forms:
        result = kind(call.shape.count(","), call.arrays[0])
        return Forms(result, call.write(spread, "x0", call.shape), [call.write(mean, cast(result))],
                     terms=[call.write(spread, "dx0", call.shape)])  # fmt: skip


for axes in (1, 2, 3):
    add_layer(axes, transposed=False)
    add_layer(axes, transposed=True)
    add_pooling(axes)
add_gradients("conv", LAYER)
add_gradients("conv_transpose", TRANSPOSED)
