"""Which algorithm computes a layer, and on how many threads.

The layers and their derivatives call the three functions `run_...` with arrays in normal form (see
[`direct`][derivable.convolution.direct]). The algorithms:

- `direct`: the definition, row by row; any dtype, and no preparation, so it is best for small work;
- `bands`: few channels, a tile of output rows in registers ([`bands`][derivable.convolution.bands]);
- `sliding`: some channels, a matrix product that reads shifted rows ([`sliding`][derivable.convolution.sliding]);
- `implicit`: many channels, a matrix product ([`implicit`][derivable.convolution.implicit]);
- `winograd`: 3 x 3 kernels with stride 1 or 2, fewer multiplications ([`winograd`][derivable.convolution.winograd]).

`costs` estimates the time of each from the shapes, and `choose` takes the least. A further algorithm is added here: its
name to `METHODS`, its cost to `costs`, its call to `run_convolution`.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from derivable.convolution import bands, columns, direct, implicit, sliding, winograd
from derivable.convolution.normal import check_channels, finite
from derivable.convolution.sizes import geometry, normal_sizes
from derivable.jit import parallel_for, threads_for
from derivable.simd import LINES, PLANES, ROWS, VECTOR_BYTES, empty_lines
from derivable.validation import check_choice, check_count

__all__ = [
    "METHODS",
    "MethodChoice",
    "choose",
    "conv_method",
    "costs",
    "run_convolution",
    "run_input_gradient",
    "run_kernel_gradient",
]

METHODS = ("auto", "direct", "bands", "sliding", "implicit", "winograd")
# Under so many multiplications a walk through the whole result is as fast as the ways that go by planes or rows.
ONE_WALK = 1 << 20
PACE = 1e10  # multiplications by the definition in a second, about
# Under so many multiplications the definition is done before the others are prepared.
SMALL_WORK = 1 << 15

# From so many numbers on, turning a kernel round takes long beside the convolution.
TURNED = 1 << 17

Triple = tuple[int, ...]


def costs(
    x_shape: Triple, w_shape: Triple, out: Triple, stride: Triple, dilation: Triple, groups: int, dtype: Any
) -> dict[str, float]:
    """Estimate the time of each algorithm on one core, in steps: one step is one vector multiply-add.

    The constants are measured, and rounded. What matters is where the lines cross.

    Args:
        x_shape: shape of the input in normal form.
        w_shape: shape of the kernel in normal form.
        out: sizes of the output.
        stride: three ints.
        dilation: three ints.
        groups: the number of groups.
        dtype: the arrays' dtype; anything but float32 and float64 can only be computed by `direct`.

    Returns:
        Steps by algorithm.
    """
    batch, (out_channels, channels), taps = x_shape[0], w_shape[:2], math.prod(w_shape[2:])
    lanes = VECTOR_BYTES // dtype.itemsize
    positions = math.prod(out)
    # A row of outputs takes whole vectors; the definition needs several steps for one, as it loads and stores sums.
    rows = batch * out[0] * out[1] * -(-out[2] // lanes)
    work = rows * out_channels * channels * taps
    result = {"direct": (8.0 if stride[2] == 1 else 8.0 + lanes) * work}
    if dtype.char in "fd":
        share = LINES if stride[1] == dilation[1] == 1 and w_shape[3] >= LINES - 1 and out[1] > 1 else 1
        tiles = rows * out_channels * channels * w_shape[2] / share
        lines = batch * groups * channels * w_shape[2] * out[0] * out[1] * stride[1] * min(stride[2], w_shape[4])
        copied = lines * out[2] / lanes * (2 if stride[2] <= 2 else 2 * lanes)
        result["bands"] = (1.2 if share > 1 else 2.2) * work + 45 * tiles + 40 * lines + copied + 20000
        # The matrix product: whole panels of out channels; each vector of patches is packed once.
        panels = groups * -(-(out_channels // groups) // ROWS)
        vectors = batch * -(-positions // lanes)
        pack = 12.0 if stride[2] <= 2 else 4.0 * lanes
        if w_shape[2:] != (1, 1, 1) and out[2] < lanes:
            pack *= lanes / out[2]
        multiply = vectors * panels * ROWS * (channels * taps * 1.1 + 25)
        if w_shape[2:] == stride == (1, 1, 1):  # the image is one long row
            pack, multiply = 9.0, vectors * panels * ROWS * (channels * 1.08 + 12)
        plan = sliding.layout(channels, out_channels // groups, w_shape[2:], out, stride, dilation, dtype.itemsize, 1)
        slices = batch * out[0] * out[1] * (-(-out[2] // lanes) if not plan[1] else plan[3] / lanes)
        rows_read = batch * groups * channels * w_shape[2] * out[0] * -(-out[1] // plan[0])
        copies = w_shape[4] if plan[1] == 2 else min(stride[2], w_shape[4])
        rows_read *= ((plan[0] - 1) * stride[1] + (w_shape[3] - 1) * dilation[1] + 1) * copies
        result["sliding"] = slices * panels * ROWS * (channels * taps * 1.08 + 12) + rows_read * (
            30 + 5 * out[2] / lanes
        )
        result["sliding"] += 2 * math.prod(w_shape) + 30000
        # Few positions do not pay for packing the kernel, which is then read as it lies.
        kernel_cost = 1.5 if implicit.is_few(vectors, taps, panels * ROWS * channels * taps) else 2.0
        result["implicit"] = multiply + pack * vectors * channels * taps * groups
        result["implicit"] += kernel_cost * math.prod(w_shape) + 30000
        if filterable(w_shape, stride, dilation):
            result["winograd"] = min(tile_costs(x_shape, w_shape, out, stride, groups, dtype.itemsize).values())
    return result


def columns_cost(g_shape: Triple, w_shape: Triple, groups: int, dtype: Any) -> float:
    """Estimate the time of `columns`, which computes gradients in the input only, in the steps of `costs`."""
    batch, out_channels, depth, height, width = g_shape
    _, channels, kernel_depth, high, wide = w_shape
    lanes, rows = VECTOR_BYTES // dtype.itemsize, high * channels * wide
    planes, per_group = batch * depth, out_channels // groups
    vectors = planes * -(-height * width // lanes)
    multiply = kernel_depth * groups * vectors * -(-rows // ROWS) * ROWS * (per_group * 0.9 + 10)
    add = kernel_depth * groups * planes * height * rows * (10 + 4 * -(-width // lanes))
    return multiply + kernel_depth * 5 * vectors * out_channels + add + 20000


def filterable(w_shape: Triple, stride: Triple, dilation: Triple) -> bool:
    """Return whether minimal filtering can compute the layer: 3 x 3 taps, next to each other, with stride 1 or 2."""
    return w_shape[3:] == (3, 3) and tuple(stride[1:]) in ((1, 1), (2, 2)) and tuple(dilation[1:]) == (1, 1)


def tile_costs(
    x_shape: Triple, w_shape: Triple, out: Triple, stride: Triple, groups: int, size: int
) -> dict[int, float]:
    """Estimate the time of minimal filtering with each kind of tiles, in the steps of `costs`.

    The transforms of inputs and outputs go by lines, and wait for memory: what a number costs grows with its `size` in
    bytes. The constants are fitted to some 120 layers.
    """
    result, lanes = {}, VECTOR_BYTES // size
    out_channels, channels = w_shape[0], w_shape[1] * w_shape[2]
    panels = groups * -(-(out_channels // groups) // ROWS)
    images = x_shape[0] * out[0]
    for kind in (winograd.STRIDED,) if stride[1] == 2 else winograd.POINTS:
        n, _, _, m = winograd.SIZES[kind]
        high, wide = -(-out[1] // m), -(-out[2] // m)
        tiles = images * high * wide
        vectors = -(-tiles // lanes)
        sums, of_taps = panels * ROWS * vectors, 0.8
        if winograd.few_tiles(tiles, out_channels // groups, n * n * channels * size, lanes):
            # The out channels fill the vectors, and the tiles the rows.
            sums, of_taps = groups * -(-(out_channels // groups) // lanes) * -(-tiles // ROWS) * ROWS, 0.65
        multiply = 1.2 * n * n * channels * sums
        inputs = channels * groups * (57 * images * high * n * -(-wide // lanes) + 0.4 * size * n * n * tiles)
        rows = images * high * m * -(-wide * m // lanes)
        outputs = out_channels * (43 * rows + 0.014 * size * n * n * vectors * lanes)
        kernel = (of_taps * n * n + 0.14 * 9 * ROWS) * size * panels * channels
        result[kind] = multiply + inputs + outputs + kernel + 100000
    return result


def spreadable(w_shape: Triple, stride: Triple, before: Triple, dilation: Triple) -> bool:
    """Return whether minimal filtering computes a gradient in the input with stride 2.

    Its tiles begin where the padding in front is odd, as with padding 1.
    """
    return (
        w_shape[3:] == (3, 3)
        and tuple(stride) == (1, 2, 2)
        and tuple(dilation[1:]) == (1, 1)
        and before[1] % 2 == before[2] % 2 == 1
    )


def spread_pays(g_shape: Triple, w_shape: Triple, groups: int, dtype: Any) -> bool:
    """Return whether it is worth its transforms, as was measured on some 20 layers, and not modelled."""
    positions = g_shape[0] * math.prod(g_shape[2:])
    return dtype.char in "fd" and w_shape[1] >= 48 and w_shape[0] // groups >= 32 and positions >= 36


@functools.lru_cache(4096)
def tile_size(x_shape: Triple, w_shape: Triple, out: Triple, groups: int, dtype: Any) -> int:
    """Return the m of the cheaper tiles for a layer with stride 1."""
    estimates = tile_costs(x_shape, w_shape, out, (1, 1, 1), groups, dtype.itemsize)
    return min(estimates, key=estimates.__getitem__)


class MethodChoice(NamedTuple):
    """Which algorithm computes a layer, and why."""

    method: str
    estimates: dict[str, float]


def conv_method(
    x_shape: Triple,
    weight_shape: Triple,
    stride: int | Triple = 1,
    padding: Any = 0,
    dilation: int | Triple = 1,
    groups: int = 1,
    dtype: Any = np.float64,
) -> MethodChoice:
    """Tell which algorithm `conv1d`, `conv2d` or `conv3d` would take for finite numbers, and the estimates behind it.

    The layer takes the least estimate, but where there is so little work that preparing anything would take longer, it
    takes the definition, or `bands` for an image beyond which the kernel reaches. A layer with padding whose weight is
    not finite is computed by the definition, too.

    Args:
        x_shape: shape of the input, (batch, channels, *sizes).
        weight_shape: shape of the kernels, (out channels, channels / groups, *sizes).
        stride: as in the layer.
        padding: as in the layer.
        dilation: as in the layer.
        groups: as in the layer.
        dtype: the dtype that the layer computes in.

    Returns:
        (method, estimates): the word for `method=`, and for each algorithm that can compute the layer its estimated
        time on one core, in steps of one vector multiply-add.

    Raises:
        ValueError: if shapes do not fit each other or an argument is out of range.

    Examples:
        ```python
        import derivable as dv

        choice = dv.conv_method((1, 64, 56, 56), (64, 64, 3, 3), padding=1, dtype="float32")
        print(choice.method, sorted(choice.estimates))
        #> winograd ['bands', 'direct', 'implicit', 'sliding', 'winograd']
        print(dv.conv_method((1, 1, 8, 8), (1, 1, 3, 3)).method)
        #> direct
        ```
    """
    dimensions = len(weight_shape) - 2
    if dimensions not in (1, 2, 3) or len(x_shape) != len(weight_shape):
        raise ValueError(f"x_shape and weight_shape must both have 3, 4 or 5 sizes, got {x_shape} and {weight_shape}")
    x_shape, weight_shape = (tuple(check_count(n, "each size") for n in shape) for shape in (x_shape, weight_shape))
    groups = check_channels(x_shape[1], weight_shape, groups)
    place = geometry(x_shape[2:], weight_shape[2:], stride, padding, dilation)
    sizes = [(*shape[:2], *normal_sizes(shape[2:])) for shape in (x_shape, weight_shape)]
    arguments = (*sizes, place.out, place.stride, place.dilation, groups, np.dtype(dtype))
    return MethodChoice(choose(*arguments), costs(*arguments))


@functools.lru_cache(4096)
def choose(
    x_shape: Triple, w_shape: Triple, out: Triple, stride: Triple, dilation: Triple, groups: int, dtype: Any
) -> str:
    """Return the algorithm with the least cost."""
    if dtype.char not in "fd":
        return "direct"
    if math.prod(out) * x_shape[0] * math.prod(w_shape) < SMALL_WORK:
        # The definition goes along short rows, and slowly, where the kernel reaches beyond the image.
        spans = ((o - 1) * s + (k - 1) * d for o, s, k, d in zip(out, stride, w_shape[2:], dilation, strict=True))
        wide = any(span >= n for span, n in zip(spans, x_shape[2:], strict=True))
        return "bands" if wide and out[1] > 1 else "direct"
    estimates = costs(x_shape, w_shape, out, stride, dilation, groups, dtype)
    return min(estimates, key=estimates.__getitem__)


@functools.lru_cache(4096)
def choose_transposed(
    g_shape: Triple, w_shape: Triple, sizes: Triple, stride: Triple, dilation: Triple, groups: int, dtype: Any,
    spread: bool = False,
) -> str:  # fmt: skip
    """Return the algorithm for a gradient in the input, whose sizes are given, or a transposed convolution.

    `spread` says whether `bands` can shuffle it in registers.
    """
    out_channels, channels = w_shape[:2]
    work = math.prod(g_shape) * (math.prod(w_shape) // out_channels)
    if work < SMALL_WORK or dtype.char not in "fd":
        return "direct"
    if stride == (1, 1, 1):
        turned_shape = (channels * groups, out_channels // groups, *w_shape[2:])
        estimates = costs(g_shape, turned_shape, sizes, stride, dilation, groups, dtype)
        if math.prod(w_shape[2:]) > 1:
            estimates["implicit"] *= 1.15  # it reads the kernel backwards
        if channels < ROWS:
            estimates["columns"] = columns_cost(g_shape, w_shape, groups, dtype)
        return min(estimates, key=estimates.__getitem__)
    # The definition jumps from output to output, so it is worth much to sort them by their remainders.
    if out_channels // groups >= ROWS and (channels < ROWS or (channels <= 64 and math.prod(w_shape[2:]) > 1)):
        return "columns"
    if channels * math.prod(stride) <= ROWS and not spread:
        return "sliding"
    return "bands" if min(out_channels // groups, channels) < ROWS else "implicit"


@functools.lru_cache(4096)
def choose_kernel_gradient(
    g_shape: Triple, w_shape: Triple, stride: Triple, dilation: Triple, groups: int, dtype: Any
) -> str:
    """Return the algorithm for a gradient in the kernel, whose shape is given."""
    channels, per_group = w_shape[1], w_shape[0] // groups
    if dtype.char not in "fd" or math.prod(g_shape) * math.prod(w_shape[1:]) < SMALL_WORK:
        return "direct"
    if per_group < ROWS:
        return "bands" if channels < ROWS else "implicit"
    if channels < ROWS:
        # The sums under 3 x 3 taps stay in registers, for several out channels where there are enough of them.
        return "bands" if w_shape[3:] == (3, 3) and PLANES > 1 else "sliding"
    # One line of tiles must fit the memory that is allowed.
    products, _, _, side = winograd.SIZES_BACK[4 if stride[1] == 1 else winograd.STRIDED]
    line = products**2 * -(-g_shape[4] // side) * max(channels, per_group) * dtype.itemsize
    # With stride 2 the transforms take what the products save, unless there are many channels.
    filtered = filterable(w_shape, stride, dilation) and (stride[1] == 1 or min(channels, per_group) >= 96)
    return "winograd" if filtered and line <= winograd.MOST_BYTES else "implicit"


def without_winograd(*arguments: Any) -> str:
    """Return the algorithm with the least cost but for `winograd`: for numbers that are not all finite."""
    estimates = costs(*arguments)
    estimates.pop("winograd")
    return min(estimates, key=estimates.__getitem__)


def padded(x_sizes: Triple, w_sizes: Triple, out: Triple, stride: Triple, before: Triple, dilation: Triple) -> bool:
    """Return whether any output has taps outside the input."""
    return any(
        b > 0 or (o - 1) * s - b + (k - 1) * d >= n
        for n, k, o, s, b, d in zip(x_sizes, w_sizes, out, stride, before, dilation, strict=True)
    )


def check_method(
    method: str, dtype: Any, usable: bool, w_shape: Triple = (), stride: Triple = (), dilation: Triple = ()
) -> None:
    """Raise ValueError if the algorithm asked for is unknown or cannot compute this layer."""
    check_choice(method, "method", METHODS)
    if method in ("auto", "direct"):
        return
    if method == "winograd" and not filterable(w_shape, stride, dilation):
        raise ValueError(
            f"method 'winograd' computes 3 x 3 kernels with stride 1 or 2, rows and columns alike, and dilation 1, got "
            f"kernel sizes {w_shape[2:]}, stride {tuple(stride)}, dilation {tuple(dilation)}: use 'implicit'"
        )
    if dtype.char not in "fd":
        raise ValueError(f"method {method!r} computes float32 and float64, got {dtype}: use 'direct'")
    if not usable:
        raise ValueError(
            f"method {method!r} multiplies the zeros of the padding and needs a finite weight: use 'direct'"
        )


def run_convolution(
    x: Any, w: Any, bias: Any, out: Triple, stride: Triple, before: Triple, dilation: Triple, groups: int,
    method: str = "auto",
) -> Any:  # fmt: skip
    """Return the convolution of normal forms, by the method asked for or chosen."""
    chosen = method
    if method == "auto":
        chosen = choose(x.shape, w.shape, out, stride, dilation, groups, x.dtype)
    result = np.empty((x.shape[0], w.shape[0], *out), dtype=x.dtype)
    late = False
    if chosen == "winograd":
        check_method(chosen, x.dtype, True, w.shape, stride, dilation)
        m = tile_size(x.shape, w.shape, out, groups, x.dtype) if stride[2] == 1 else 2
        if winograd.convolution_winograd(x, w, bias, result, before, dilation, stride, groups, m):
            return result
        chosen = method = without_winograd(x.shape, w.shape, out, stride, dilation, groups, x.dtype)
        if not finite(w):
            chosen = method = "direct"
    elif chosen != "direct" or method != "auto":
        zeros = padded(x.shape[2:], w.shape[2:], out, stride, before, dilation)
        if method != "auto":
            check_method(method, x.dtype, not zeros or finite(w), w.shape, stride, dilation)
        elif zeros:
            late = w.size > result.size
            chosen = chosen if late or finite(w) else "direct"
    if chosen == "implicit":
        implicit.convolution_implicit(x, w, result, stride, before, dilation, groups, bias)
    elif chosen == "sliding":
        sliding.convolution_sliding(x, w, bias, result, stride, before, dilation, groups)
    elif chosen == "bands":
        bands.convolution_bands(x, w, bias, result, stride, before, dilation, groups)
    # Whatever meets a number of the kernel that is not finite is not finite, also a zero of the padding. So where the
    # result has fewer numbers than the kernel, it is enough to look at them.
    if chosen != "direct" and (not late or finite(result) or finite(w)):
        return result
    planes = x.shape[0] * w.shape[0] * out[0]
    work = planes * out[1] * out[2] * (w.size // w.shape[0])
    arguments = (x, w, bias, result, stride, before, dilation, groups)
    if work < ONE_WALK:
        direct.convolution_part(0, planes, *arguments)
        return result
    threads = threads_for(work / PACE)
    way = direct.plane_at_once(x.shape[2:], w.shape[2:], out, stride, before, dilation)
    if way == 1 or (way == 2 and np.isfinite(w).all()):
        parallel_for(direct.planes_part, planes, *arguments, threads=threads)
    else:
        parallel_for(direct.rows_part, planes * out[1], *arguments, threads=threads)
    return result


def run_input_gradient(
    g: Any, w: Any, bias: Any, sizes: Triple, stride: Triple, before: Triple, dilation: Triple, groups: int,
    method: str = "auto",
) -> Any:  # fmt: skip
    """Return the transposed map: the derivative in x, or a transposed convolution."""
    channels = w.shape[1] * groups
    turned_shape = (channels, w.shape[0] // groups, *w.shape[2:])
    chosen, late, spread = method, False, spreadable(w.shape, stride, before, dilation)
    if method == "auto":
        planes = bands.is_spread(w.shape, stride, before, dilation)
        chosen = choose_transposed(g.shape, w.shape, sizes, stride, dilation, groups, g.dtype, planes)
        if stride == (1, 1, 1) and chosen == "sliding" and channels >= ROWS and w.size >= TURNED:
            chosen = "implicit"  # which packs the turned kernel without writing it down first
        if spread and spread_pays(g.shape, w.shape, groups, g.dtype):
            chosen = "winograd"
        late = chosen == "implicit" and w.size > g.shape[0] * channels * math.prod(sizes)
        if chosen not in ("direct", "winograd", "columns") and not late and not finite(w):
            chosen = "direct"
    elif method != "columns":
        check_method(method, g.dtype, method in ("direct", "winograd") or finite(w), w.shape, stride, dilation)
    if chosen == "winograd":
        if tuple(stride) != (1, 1, 1) and not spread:
            raise ValueError(
                "method 'winograd' computes gradients in the input with stride 1, or with stride 2 of rows and columns "
                f"and odd padding in front, got stride {tuple(stride)}, padding {tuple(before)}: use 'implicit'"
            )
        result = np.empty((g.shape[0], channels, *sizes), dtype=g.dtype)
        m = 2 if spread else tile_size(g.shape, turned_shape, sizes, groups, g.dtype)
        if winograd.input_gradient_winograd(g, w, bias, result, before, dilation, stride, groups, m):
            return result
        if spread:
            chosen = "implicit"
        else:
            chosen = without_winograd(g.shape, turned_shape, sizes, stride, dilation, groups, g.dtype)
        if not finite(w):
            chosen = "direct"
    if chosen == "columns":
        result = np.empty((g.shape[0], channels, *sizes), dtype=g.dtype)
        return columns.input_gradient_columns(g, w, bias, result, stride, before, dilation, groups)
    if chosen == "implicit":
        result = np.empty((g.shape[0], channels, *sizes), dtype=g.dtype)
        implicit.input_gradient_implicit(g, w, result, stride, before, dilation, groups, bias)
        if not late or finite(result) or finite(w):
            return result
        chosen = "direct"
    if chosen == "sliding" and stride != (1, 1, 1):
        result = np.empty((g.shape[0], channels, *sizes), dtype=g.dtype)
        late = result.size < g.size  # as above: whatever meets a number that is not finite is not finite
        if late or finite(g):
            sliding.input_gradient_sliding(g, w, bias, result, stride, before, dilation, groups)
            if not late or finite(result) or finite(g):
                return result
        chosen = "bands"  # here each class of inputs has its own taps, and none is filled up with zeros
    if chosen == "bands" and stride != (1, 1, 1):
        result = np.empty((g.shape[0], channels, *sizes), dtype=g.dtype)
        return bands.input_gradient_bands(g, w, bias, result, stride, before, dilation, groups)
    if stride == (1, 1, 1):
        turned = direct.transposed_kernel(w, groups)
        back = tuple((k - 1) * d - b for k, d, b in zip(w.shape[2:], dilation, before, strict=True))
        return run_convolution(g, turned, bias, sizes, stride, back, dilation, groups, chosen)
    result = np.empty((g.shape[0], channels, *sizes), dtype=g.dtype)
    arguments = (g, w, bias, result, stride, before, dilation, groups)
    planes = g.shape[0] * channels * sizes[0]
    threads = threads_for(g.size * (w.size // w.shape[0]) / PACE)
    parallel_for(direct.input_gradient_part, planes, *arguments, threads=threads)
    return result


def run_kernel_gradient(
    g: Any, x: Any, kernel_sizes: Triple, stride: Triple, before: Triple, dilation: Triple, groups: int,
    method: str = "auto",
) -> Any:  # fmt: skip
    """Return the derivative in the kernel."""
    channels = x.shape[1] // groups
    shape = (g.shape[1], channels, *kernel_sizes)
    if method != "auto":
        check_method(method, x.dtype, True, shape, stride, dilation)
    else:
        method = choose_kernel_gradient(g.shape, shape, stride, dilation, groups, x.dtype)
    streams = method == "winograd" and math.prod(shape) * x.itemsize >= winograd.STREAM_BYTES
    result = empty_lines(shape, x.dtype) if streams else np.empty(shape, x.dtype)
    work = g.size * (result.size // result.shape[0])
    if method == "winograd":
        if winograd.kernel_gradient_winograd(g, x, result, before, dilation, stride, groups):
            return result
        method = "implicit"
    if method == "sliding":
        if sliding.kernel_gradient_sliding(g, x, result, stride, before, dilation, groups):
            return result
        method = "direct"
    if method == "bands":
        if bands.kernel_gradient_bands(g, x, result, stride, before, dilation, groups):
            return result
        method = "direct"
    if method == "implicit":
        return implicit.kernel_gradient_implicit(g, x, result, stride, before, dilation, groups)
    arguments = (g, x, result, stride, before, dilation, groups)
    planes = result.shape[0] * channels * kernel_sizes[0]
    parallel_for(direct.kernel_gradient_part, planes, *arguments, threads=threads_for(work / PACE))
    return result
