"""Measure convolution against torch, SciPy and JAX: forward and both gradients, as ratios, interleaved.

`python tests/benchmarks/convolution.py` prints, for each shape and direction, our rate, its share of the bare
micro-kernel's peak, and the time of the best peer over ours (more than 1: ours is faster); then the geometric
mean and the worst case by dtype. Contenders take turns, the least time of each counts, and all run on the same number
of threads. `--cpu` counts processor time instead of wall time, which on a busy machine is the fairer clock for one
thread.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from typing import NamedTuple


class Layer(NamedTuple):
    """One shape: NCHW input, OIHW kernel, or any number of axes."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: int = 1
    padding: int = 0
    groups: int = 1


LAYERS = [
    Layer("VGG conv1.1", (1, 3, 224, 224), (64, 3, 3, 3), 1, 1),
    Layer("VGG conv1.2", (1, 64, 224, 224), (64, 64, 3, 3), 1, 1),
    Layer("VGG conv2.2", (1, 128, 112, 112), (128, 128, 3, 3), 1, 1),
    Layer("VGG conv3.2", (1, 256, 56, 56), (256, 256, 3, 3), 1, 1),
    Layer("VGG conv4.2", (1, 512, 28, 28), (512, 512, 3, 3), 1, 1),
    Layer("VGG conv5.2", (1, 512, 14, 14), (512, 512, 3, 3), 1, 1),
    Layer("ResNet stem", (1, 3, 224, 224), (64, 3, 7, 7), 2, 3),
    Layer("ResNet 3x3 64", (1, 64, 56, 56), (64, 64, 3, 3), 1, 1),
    Layer("ResNet 3x3 128", (1, 128, 28, 28), (128, 128, 3, 3), 1, 1),
    Layer("ResNet 3x3 256", (1, 256, 14, 14), (256, 256, 3, 3), 1, 1),
    Layer("ResNet 3x3 512", (1, 512, 7, 7), (512, 512, 3, 3), 1, 1),
    Layer("ResNet 3x3 64, batch 8", (8, 64, 56, 56), (64, 64, 3, 3), 1, 1),
    Layer("ResNet 3x3 stride 2", (1, 128, 56, 56), (128, 128, 3, 3), 2, 1),
    Layer("ResNet 1x1 64 to 256", (1, 64, 56, 56), (256, 64, 1, 1)),
    Layer("ResNet 1x1 256 to 64", (1, 256, 56, 56), (64, 256, 1, 1)),
    Layer("ResNet 1x1 stride 2", (1, 256, 56, 56), (512, 256, 1, 1), 2),
    Layer("MobileNet depthwise 32", (1, 32, 112, 112), (32, 1, 3, 3), 1, 1, 32),
    Layer("MobileNet depthwise stride 2", (1, 64, 112, 112), (64, 1, 3, 3), 2, 1, 64),
    Layer("MobileNet depthwise 128", (1, 128, 56, 56), (128, 1, 3, 3), 1, 1, 128),
    Layer("MobileNet depthwise 512", (1, 512, 14, 14), (512, 1, 3, 3), 1, 1, 512),
    Layer("MobileNet 1x1 512", (1, 512, 14, 14), (512, 512, 1, 1)),
    Layer("LeNet conv1", (1, 1, 28, 28), (6, 1, 5, 5), 1, 2),
    Layer("LeNet conv2, batch 32", (32, 6, 14, 14), (16, 6, 5, 5)),
    Layer("grouped 3x3", (1, 128, 28, 28), (128, 32, 3, 3), 1, 1, 4),
    Layer("video 3x3x3", (1, 3, 16, 56, 56), (32, 3, 3, 3, 3), 1, 1),
    Layer("video 3x3x3 32", (1, 32, 8, 28, 28), (64, 32, 3, 3, 3), 1, 1),
    Layer("audio layer", (1, 1, 65536), (16, 1, 16), 4),
    Layer("audio layer 64", (1, 64, 4096), (64, 64, 9), 1, 4),
]
# One channel, stride 1, valid: (sizes of the signal, sizes of the kernel).
SIGNALS = [
    ((28, 28), (5, 5)),
    ((128, 128), (3, 3)),
    ((512, 512), (3, 3)),
    ((512, 512), (15, 15)),
    ((512, 512), (31, 31)),
    ((2048, 2048), (3, 3)),
    ((2048, 2048), (65, 65)),
    ((16384,), (16,)),
    ((65536,), (64,)),
    ((262144,), (1024,)),
    ((1048576,), (4096,)),
    ((64, 64, 64), (5, 5, 5)),
]


def clock_of(cpu: bool):
    """Return the clock: processor time of all threads, or wall time."""
    return time.process_time if cpu else time.perf_counter


def measure(contenders, clock, repeats, least=0.02):
    """Return the least time of each contender; they take turns. One that is hopelessly slow is measured once."""
    best, rounds = {}, {}
    for name, call in list(contenders.items()):
        try:
            call()
        except RuntimeError as error:  # torch in float64 makes the whole matrix of patches, which may not fit
            print(f"    {name} fails: {str(error).strip().splitlines()[0][:150]}")
            del contenders[name]
            continue
        start = clock()
        call()
        best[name] = clock() - start
        rounds[name] = max(1, int(least / max(best[name], 1e-7)))
    for _ in range(repeats):
        for name, call in contenders.items():
            if best[name] > 20 * best["derivable"]:
                continue
            start = clock()
            for _ in range(rounds[name]):
                call()
            best[name] = min(best[name], (clock() - start) / rounds[name])
    return best


def layer_contenders(layer, dtype, threads):
    """Return for forward, input gradient and kernel gradient the contenders, and the number of operations."""
    import jax
    import numpy as np
    import torch

    import derivable as dv
    from derivable.convolution.choice import run_input_gradient, run_kernel_gradient

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(layer.x).astype(dtype), rng.standard_normal(layer.w).astype(dtype)
    n = x.ndim - 2
    convolve = (dv.conv1d, dv.conv2d, dv.conv3d)[n - 1]
    options = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    out = convolve(x, w, **options)
    g = rng.standard_normal(out.shape).astype(dtype)
    tx, tw, tg = map(torch.from_numpy, (x, w, g))
    torch_convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[n - 1]
    np.testing.assert_allclose(out, torch_convolve(tx, tw, **options).numpy(), rtol=1e-3, atol=1e-2)

    def torch_back(mask):
        one = [1] * n
        return torch.ops.aten.convolution_backward(
            tg, tx, tw, None, [layer.stride] * n, [layer.padding] * n, one, False, [0] * n, layer.groups, mask
        )

    def jax_forward(a, b):
        pairs = [(layer.padding, layer.padding)] * n
        return jax.lax.conv_general_dilated(a, b, (layer.stride,) * n, pairs, feature_group_count=layer.groups)

    jx, jw, jg = map(jax.numpy.asarray, (x, w, g))
    forward = jax.jit(jax_forward)
    back_x = jax.jit(lambda b, c: jax.linear_transpose(lambda a: jax_forward(a, b), jx)(c)[0])
    back_w = jax.jit(lambda a, c: jax.linear_transpose(lambda b: jax_forward(a, b), jw)(c)[0])
    # The normal form that the derivatives work on.
    one = (1,) * (3 - n)
    nx, nw, ng = (a.reshape(*a.shape[:2], *one, *a.shape[2:]) for a in (x, w, g))
    where = (one + (layer.stride,) * n, (0,) * (3 - n) + (layer.padding,) * n, (1, 1, 1), layer.groups)
    zero = np.zeros(x.shape[1], dtype)
    return {
        "forward": {
            "derivable": lambda: convolve(x, w, **options),
            "torch": lambda: torch_convolve(tx, tw, **options),
            "jax": lambda: forward(jx, jw).block_until_ready(),
        },
        "input gradient": {
            "derivable": lambda: run_input_gradient(ng, nw, zero, nx.shape[2:], *where),
            "torch": lambda: torch_back([True, False, False]),
            "jax": lambda: back_x(jw, jg).block_until_ready(),
        },
        "kernel gradient": {
            "derivable": lambda: run_kernel_gradient(ng, nx, nw.shape[2:], *where),
            "torch": lambda: torch_back([False, True, False]),
            "jax": lambda: back_w(jx, jg).block_until_ready(),
        },
    }, 2.0 * out.size * w[0].size


def signal_contenders(sizes, kernel, dtype):
    """Return the contenders for one channel, and the number of operations of the definition."""
    import numpy as np
    import scipy.signal
    import torch

    import derivable as dv

    rng = np.random.default_rng(0)
    x, h = rng.standard_normal(sizes).astype(dtype), rng.standard_normal(kernel).astype(dtype)
    turned = np.ascontiguousarray(h[(slice(None, None, -1),) * h.ndim])
    tx, th = torch.from_numpy(x[None, None]), torch.from_numpy(turned[None, None])
    torch_convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[x.ndim - 1]
    out = dv.convolve(x, h, "valid")
    np.testing.assert_allclose(out, scipy.signal.fftconvolve(x, h, "valid"), rtol=1e-3, atol=1e-2)
    contenders = {
        "derivable": lambda: dv.convolve(x, h, "valid"),
        "torch": lambda: torch_convolve(tx, th),
        "scipy fft": lambda: scipy.signal.fftconvolve(x, h, "valid"),
        "scipy oaconvolve": lambda: scipy.signal.oaconvolve(x, h, "valid"),
    }
    if x.ndim == 1:
        contenders["numpy direct"] = lambda: np.convolve(x, h, "valid")
    elif out.size * h.size < 1e8:
        contenders["scipy direct"] = lambda: scipy.signal.convolve(x, h, "valid", "direct")
    return {"forward": contenders}, 2.0 * out.size * h.size


def main() -> None:
    """Run the comparison that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--cpu", action="store_true", help="processor time instead of wall time")
    parser.add_argument("--dtype", choices=["float32", "float64"], help="only this one")
    parser.add_argument("--only", default="", help="only shapes whose name contains this")
    parser.add_argument("--json", help="store the results in this file")
    arguments = parser.parse_args()
    if arguments.threads == 1:
        # JAX starts its threads whatever its flags say; on one processor nobody has more than one at a time.
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["JAX_PLATFORMS"], os.environ["JAX_ENABLE_X64"] = "cpu", "1"
    import jax
    import numpy as np
    import scipy
    import torch

    import derivable as dv
    from derivable import simd

    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    dv.set_num_threads(arguments.threads)
    clock = clock_of(arguments.cpu)
    versions = {module.__name__: module.__version__ for module in (np, scipy, torch, jax)}
    machine = {"processor": platform.processor() or platform.machine(), "threads": arguments.threads, **versions}
    print(machine)
    rows = []
    for dtype in [arguments.dtype] if arguments.dtype else ["float32", "float64"]:
        cases = [(layer.name, lambda a=layer, d=dtype: layer_contenders(a, d, arguments.threads)) for layer in LAYERS]
        for sizes, kernel in SIGNALS:
            name = f"signal {'x'.join(map(str, sizes))} kernel {'x'.join(map(str, kernel))}"
            cases.append((name, lambda s=sizes, k=kernel, d=dtype: signal_contenders(s, k, d)))
        for name, make in cases:
            if arguments.only not in name:
                continue
            peak = simd.peak(dtype, threads=arguments.threads, repeats=3)
            directions, operations = make()
            for direction, contenders in directions.items():
                best = measure(contenders, clock, arguments.repeats)
                ours = best.pop("derivable")
                peer = min(best, key=best.get)
                row = {
                    "shape": name, "direction": direction, "dtype": dtype, "seconds": ours, "peers": best,
                    "best peer": peer, "ratio": best[peer] / ours, "rate": operations / ours,
                    "share of peak": operations / ours / peak,
                }  # fmt: skip
                rows.append(row)
                print(
                    f"{dtype} {name:32} {direction:16} {1e6 * ours:10.1f} us {row['rate'] / 1e9:7.1f} GF/s"
                    f" {row['share of peak']:6.0%} of peak; {peer:16} takes {row['ratio']:6.2f} times as long",
                    flush=True,
                )
    for dtype in ("float32", "float64"):
        ratios = [row["ratio"] for row in rows if row["dtype"] == dtype]
        if ratios:
            worst = min((row for row in rows if row["dtype"] == dtype), key=lambda row: row["ratio"])
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            under = sum(ratio < 0.9 for ratio in ratios)
            print(
                f"{dtype}: geometric mean {mean:.2f} over {len(ratios)}, under 0.9: {under}, "
                f"worst {worst['ratio']:.2f} ({worst['shape']}, {worst['direction']})"
            )
    if sys.platform != "win32":
        import resource

        print(f"peak memory of the whole run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
