"""Random configurations of layers, pooling and signals, each checked against torch or SciPy.

`python tests/convolution/long_run.py` runs as many as asked for; the normal suite runs a few hundred.
"""

from __future__ import annotations

import numpy as np

import derivable as dv

FLOATS = (np.float32, np.float64, np.complex64, np.complex128)
LAYOUTS = ("C", "F", "reversed", "sliced", "broadcast", "read-only")
NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def laid_out(array, layout):
    """Return an array of the same shape (and values, but for "broadcast") in another memory layout."""
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "reversed":
        turn = (slice(None, None, -1),) * array.ndim
        return np.ascontiguousarray(array[turn])[turn]
    if layout == "sliced":
        wide = np.zeros(tuple(2 * n for n in array.shape), array.dtype)
        view = wide[(slice(None, None, 2),) * array.ndim]
        view[...] = array
        return view
    if layout == "broadcast":
        return np.broadcast_to(array[:1], array.shape)
    array = np.ascontiguousarray(array)
    if layout == "read-only":
        array.flags.writeable = False
    return array


def numbers(rng, shape, dtype):
    value = rng.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        value = value + 1j * rng.normal(size=shape)
    return value.astype(dtype)


def close(actual, expected, dtype, what):
    expected = np.asarray(expected)
    assert actual.dtype == expected.dtype, f"{what}: dtype {actual.dtype}, expected {expected.dtype}"
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    single = np.dtype(dtype) in (np.float32, np.complex64)
    scale = 1 + np.abs(expected).max()
    error = np.abs(actual - expected).max() / scale
    assert error < (3e-5 if single else 1e-11), f"{what}: error {error}"


def choose(rng, values):
    return values[int(rng.integers(len(values)))]


def some_ints(rng, low, high, dimensions):
    """Return an int or one per axis, and the tuple it stands for."""
    if rng.integers(2):
        value = int(rng.integers(low, high + 1))
        return value, (value,) * dimensions
    value = tuple(int(v) for v in rng.integers(low, high + 1, dimensions))
    return value, value


def layer_case(rng):
    """Return the arguments of a layer, plain or transposed, and the facts an oracle needs."""
    while True:
        dimensions = int(rng.integers(1, 4))
        limit = (24, 11, 6)[dimensions - 1]
        sizes = tuple(int(v) for v in rng.integers(1, limit + 1, dimensions))
        kernel = tuple(int(v) for v in rng.integers(1, (7, 5, 3)[dimensions - 1] + 1, dimensions))
        stride, strides = some_ints(rng, 1, 3, dimensions)
        dilation, dilations = some_ints(rng, 1, 3 if dimensions < 3 else 2, dimensions)
        transposed = bool(rng.integers(3) == 0)
        kind = choose(rng, ("int", "ints", "pairs", "same", "same_lower", "valid"))
        mode = "zeros" if transposed else choose(rng, tuple(NUMPY_MODES))
        extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
        if kind in ("same", "same_lower") and not transposed:
            padding, pairs = kind, []
            for n, e, s in zip(sizes, extents, strides, strict=True):
                total = max((int(np.ceil(n / s)) - 1) * s + e - n, 0)
                halves = (total // 2, (total + 1) // 2)
                pairs.append(halves if kind == "same" else halves[::-1])
        elif kind == "pairs":
            padding = tuple((int(a), int(b)) for a, b in rng.integers(0, 4, (dimensions, 2)))
            pairs = list(padding)
        elif kind == "valid":
            padding, pairs = "valid", [(0, 0)] * dimensions
        else:
            padding, values = some_ints(rng, 0, 3, dimensions)
            pairs = [(p, p) for p in values]
        groups = int(choose(rng, (1, 1, 2, 3)))
        per_group_in, per_group_out = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        extra = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(strides, dilations, strict=True))
        if transposed:
            out = [
                (n - 1) * s - sum(p) + e + o
                for n, s, p, e, o in zip(sizes, strides, pairs, extents, extra, strict=True)
            ]
        else:
            out = [n + sum(p) - e + 1 for n, p, e in zip(sizes, pairs, extents, strict=True)]
        if min(out) < 1:
            continue
        if mode == "reflect" and any(n == 1 and sum(p) for n, p in zip(sizes, pairs, strict=True)):
            continue
        return {
            "dimensions": dimensions,
            "sizes": sizes,
            "kernel": kernel,
            "stride": stride,
            "strides": strides,
            "dilation": dilation,
            "dilations": dilations,
            "padding": padding,
            "pairs": pairs,
            "padding_mode": mode,
            "groups": groups,
            "channels": per_group_in * groups,
            "out_channels": per_group_out * groups,
            "transposed": transposed,
            "output_padding": extra,
            "batch": int(rng.integers(1, 4)),
            "batched": bool(rng.integers(4)),
            "bias": bool(rng.integers(2)),
            "dtype": choose(rng, FLOATS),
            "layouts": tuple(choose(rng, LAYOUTS) for _ in range(3)),
        }


def torch_layer(case, x, weight, bias):
    """Return the layer of a case, computed by torch from tensors; padding per side is done by hand."""
    import torch
    import torch.nn.functional as F

    dimensions, groups = case["dimensions"], case["groups"]
    batch = x if case["batched"] else x[None]
    if case["transposed"]:
        function = getattr(F, f"conv_transpose{dimensions}d")
        # Without padding, then cut by hand: torch has no padding per side here. `output_padding` adds zeros
        # behind, which only the bias fills.
        full = function(batch, weight, None, case["strides"], 0, 0, groups, case["dilations"])
        for axis, ((before, after), extra) in enumerate(zip(case["pairs"], case["output_padding"], strict=True)):
            size = full.shape[2 + axis]
            widened = F.pad(full.movedim(2 + axis, -1), (0, extra)).movedim(-1, 2 + axis)
            full = widened.narrow(2 + axis, before, size + extra - before - after)
        result = full + bias.reshape(1, -1, *(1,) * dimensions)
    else:
        wide = batch
        for axis, (n, (before, after)) in enumerate(zip(case["sizes"], case["pairs"], strict=True)):
            if case["padding_mode"] == "zeros":
                wide = F.pad(wide.movedim(2 + axis, -1), (before, after)).movedim(-1, 2 + axis)
            else:
                index = np.pad(np.arange(n), (before, after), mode=NUMPY_MODES[case["padding_mode"]])
                wide = wide.index_select(2 + axis, torch.from_numpy(index))
        function = getattr(F, f"conv{dimensions}d")
        result = function(wide, weight, bias, case["strides"], 0, case["dilations"], groups)
    return result if case["batched"] else result[0]


def layer_arrays(rng, case):
    """Return the input, the kernels and the bias (or None) of a case."""
    channels, out_channels, groups = case["channels"], case["out_channels"], case["groups"]
    first, second = (channels, out_channels // groups) if case["transposed"] else (out_channels, channels // groups)
    shape = (case["batch"], channels, *case["sizes"]) if case["batched"] else (channels, *case["sizes"])
    x = laid_out(numbers(rng, shape, case["dtype"]), case["layouts"][0])
    w = laid_out(numbers(rng, (first, second, *case["kernel"]), case["dtype"]), case["layouts"][1])
    return x, w, numbers(rng, out_channels, case["dtype"]) if case["bias"] else None


def tensor(array):
    import torch

    return torch.from_numpy(np.array(array, order="C")).requires_grad_()


def check_layer(rng, case):
    """Check forward and all gradients of one layer against torch."""
    import torch

    dimensions, dtype, groups = case["dimensions"], case["dtype"], case["groups"]
    x, w, b = layer_arrays(rng, case)
    tx, tw, tb = tensor(x), tensor(w), tensor(b if case["bias"] else np.zeros(case["out_channels"], dtype))
    expected = torch_layer(case, tx, tw, tb)
    if case["transposed"]:
        arguments = (case["stride"], case["padding"], case["output_padding"], groups, case["dilation"])
        actual = getattr(dv, f"conv_transpose{dimensions}d")(x, w, b, *arguments)
        input_gradient, kernel_gradient = dv.conv_transpose_input_gradient, dv.conv_transpose_kernel_gradient
    else:
        arguments = (case["stride"], case["padding"], case["dilation"], groups, case["padding_mode"])
        actual = getattr(dv, f"conv{dimensions}d")(x, w, b, *arguments)
        input_gradient, kernel_gradient = dv.conv_input_gradient, dv.conv_kernel_gradient
    close(actual, expected.detach().numpy(), dtype, "forward")

    g = laid_out(numbers(rng, actual.shape, dtype), case["layouts"][2])
    expected.backward(torch.from_numpy(np.array(g, order="C")))
    close(input_gradient(g, w, x.shape, *arguments), tx.grad.numpy(), dtype, "gradient in the input")
    close(kernel_gradient(g, x, w.shape, *arguments), tw.grad.numpy(), dtype, "gradient in the kernel")
    close(dv.conv_bias_gradient(g, dimensions), tb.grad.numpy(), dtype, "gradient in the bias")


def pool_case(rng):
    while True:
        dimensions = int(rng.integers(1, 4))
        sizes = tuple(int(v) for v in rng.integers(1, (20, 10, 6)[dimensions - 1] + 1, dimensions))
        size, size_t = some_ints(rng, 1, 4, dimensions)
        stride, stride_t = some_ints(rng, 1, 4, dimensions)
        if rng.integers(3) == 0:
            stride, stride_t = None, size_t
        maximum = bool(rng.integers(2))
        dilation, dilation_t = some_ints(rng, 1, 2, dimensions) if maximum else (1, (1,) * dimensions)
        extents = [d * (k - 1) + 1 for k, d in zip(size_t, dilation_t, strict=True)]
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in size_t)
        if any(n + 2 * p < e for n, p, e in zip(sizes, padding, extents, strict=True)):
            continue
        if dimensions == 3 and not maximum and any(n < k for n, k in zip(sizes, size_t, strict=True)):
            continue  # torch's avg_pool3d has no backward there, whatever the padding
        ceil = bool(rng.integers(2))
        # torch answers -inf or NaN for a window without numbers; we refuse it, which another test checks.
        holds = True
        for n, k, s, p, d in zip(sizes, size_t, stride_t, padding, dilation_t, strict=True):
            room = n + 2 * p - d * (k - 1) - 1
            count = (-(-room // s) if ceil else room // s) + 1
            if ceil and (count - 1) * s >= n + p:
                count -= 1
            holds &= all(any(0 <= o * s - p + a * d < n for a in range(k)) for o in range(count))
        if holds:
            break
    return {
        "dimensions": dimensions,
        "sizes": sizes,
        "maximum": maximum,
        "arguments": (size, stride, padding, dilation, ceil) if maximum else (size, stride, padding, ceil),
        "mean": () if maximum else (bool(rng.integers(2)), choose(rng, (None, 1, 7))),
        "dtype": choose(rng, (np.float32, np.float64)),
        "layouts": tuple(choose(rng, LAYOUTS) for _ in range(2)),
        "batched": bool(rng.integers(4)),
    }


def check_pool(rng, case):
    import torch
    import torch.nn.functional as F

    dimensions, dtype = case["dimensions"], case["dtype"]
    shape = (2, 3, *case["sizes"]) if case["batched"] else (3, *case["sizes"])
    x = laid_out(numbers(rng, shape, dtype), case["layouts"][0])
    tx = torch.from_numpy(np.array(x, order="C")).requires_grad_()
    name = f"{'max' if case['maximum'] else 'avg'}_pool{dimensions}d"
    arguments = case["arguments"] + case["mean"]
    if not case["maximum"] and dimensions == 1:  # torch's has no divisor_override
        arguments = arguments[:-1]
    expected = getattr(F, name)(tx, *[arguments[0], arguments[1]], *arguments[2:])
    actual = getattr(dv, name)(x, *arguments)
    close(actual, expected.detach().numpy(), dtype, name)
    g = laid_out(numbers(rng, actual.shape, dtype), case["layouts"][1])
    expected.backward(torch.from_numpy(np.array(g, order="C")))
    given = x if case["maximum"] else x.shape
    close(getattr(dv, name + "_gradient")(g, given, *arguments), tx.grad.numpy(), dtype, name + " gradient")


INTEGERS = (np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)


def signal_case(rng):
    dimensions = int(choose(rng, (1, 1, 2, 2, 3, 4)))
    limit = (40, 12, 6, 4)[dimensions - 1]
    sizes = tuple(int(v) for v in rng.integers(1, limit + 1, dimensions))
    kernel = tuple(int(v) for v in rng.integers(1, limit + 1, dimensions))
    modes = ["full", "same"]
    if all(n >= m for n, m in zip(sizes, kernel, strict=True)) or all(
        n <= m for n, m in zip(sizes, kernel, strict=True)
    ):
        modes.append("valid")
    dtypes = tuple(choose(rng, FLOATS + INTEGERS) for _ in range(2))
    boundary = choose(rng, ("fill", "fill", "wrap", "symm"))
    return {
        "sizes": sizes,
        "kernel": kernel,
        "mode": choose(rng, tuple(modes)),
        "boundary": boundary,
        "fillvalue": choose(rng, (0, 0, 3)) if boundary == "fill" else 0,
        "method": choose(rng, ("auto", "direct", "fft")),
        "dtypes": dtypes,
        "layouts": tuple(choose(rng, LAYOUTS) for _ in range(2)),
        "correlate": bool(rng.integers(2)),
    }


def check_signal(rng, case):
    """Check one convolution or correlation against scipy.signal.convolve on an input continued by np.pad."""
    from scipy import signal

    arrays = []
    for shape, dtype, layout in zip((case["sizes"], case["kernel"]), case["dtypes"], case["layouts"], strict=True):
        if np.dtype(dtype).kind in "fc":
            array = numbers(rng, shape, dtype)
        else:
            low = 0 if np.dtype(dtype).kind in "bu" else -100
            array = rng.integers(low, 2 if dtype is np.bool_ else 100, shape).astype(dtype)
        arrays.append(laid_out(array, layout))
    x, h = arrays
    whole = x.dtype.kind in "biu" and h.dtype.kind in "biu"
    common = np.dtype(np.int64) if whole else np.result_type(x, h)
    method = "direct" if common.kind == "i" else case["method"]
    function = dv.correlate if case["correlate"] else dv.convolve
    actual = function(x, h, case["mode"], case["boundary"], case["fillvalue"], method)

    kernel = h.astype(common)
    if case["correlate"]:
        kernel = np.conj(kernel[(slice(None, None, -1),) * h.ndim])
    widths = [(m - 1, m - 1) for m in h.shape]
    options = {"constant_values": case["fillvalue"]} if case["boundary"] == "fill" else {}
    if case["mode"] == "valid":  # no boundary: x is never read outside itself
        case = {**case, "boundary": "fill"}
        options = {}
    kind = {"fill": "constant", "wrap": "wrap", "symm": "symmetric"}[case["boundary"]]
    wide = np.pad(x.astype(common), widths, mode=kind, **options)
    full = signal.convolve(wide, kernel, mode="valid", method="direct")
    if case["mode"] == "same":
        part = tuple(slice((m - 1) // 2, (m - 1) // 2 + n) for n, m in zip(x.shape, h.shape, strict=True))
        full = full[part]
    elif case["mode"] == "valid":
        part = tuple(slice(min(n, m) - 1, max(n, m)) for n, m in zip(x.shape, h.shape, strict=True))
        full = full[part]
    if common.kind == "i":
        assert actual.dtype == np.int64
        assert np.array_equal(actual, full), "integers must be exact"
    else:
        close(actual, full, common, "signal")


KINDS = (
    ("layer", layer_case, check_layer, 12),
    ("pool", pool_case, check_pool, 3),
    ("signal", signal_case, check_signal, 5),
)


def run(count, seed, kinds=("layer", "pool", "signal"), report=None):
    """Check `count` random configurations; an AssertionError says which one failed and how to repeat it."""
    table = [k for k in KINDS if k[0] in kinds]
    weights = np.array([k[3] for k in table], float)
    done = dict.fromkeys(kinds, 0)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        name, make, check, _ = table[int(rng.choice(len(table), p=weights / weights.sum()))]
        case = make(rng)
        try:
            check(rng, case)
        except Exception as error:
            raise AssertionError(f"configuration {number} of seed {seed}, {name} {case}: {error}") from error
        done[name] += 1
        if report and (number + 1) % report == 0:
            print(f"{number + 1} agree", flush=True)
    return done
