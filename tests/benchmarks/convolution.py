"""Measure convolution against torch, SciPy and JAX: forward and both gradients, as ratios, interleaved.

`python tests/benchmarks/convolution.py` prints, for each shape and direction, our rate, its share of the bare
micro-kernel's peak, and the time of the best peer over ours (more than 1: ours is faster); then the geometric
mean and the worst case by dtype. Contenders take turns, the least time of each counts, and all run on the same number
of threads. `--cpu` counts processor time instead of wall time, which on a busy machine is the fairer clock for one
thread.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
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


def timed(call, clock):
    """Return how long a call takes."""
    start = clock()
    call()
    return clock() - start


def measure(contenders, clock, repeats, least=0.02, slow=20):
    """Return the least time of each contender; they take turns. One that is hopelessly slow is measured three times."""
    best, rounds = {}, {}
    for name, call in list(contenders.items()):
        try:
            call()
        except RuntimeError as error:  # torch in float64 makes the whole matrix of patches, which may not fit
            print(f"    {name} fails: {str(error).strip().splitlines()[0][:150]}")
            del contenders[name]
            continue
        # Three times, so that no contender seems hopeless for one interruption.
        best[name] = min(timed(call, clock) for _ in range(3))
        rounds[name] = max(1, int(least / max(best[name], 1e-7)))
    for _ in range(repeats):
        for name, call in contenders.items():
            if best[name] > slow * best["derivable"]:
                continue
            start = clock()
            for _ in range(rounds[name]):
                call()
            best[name] = min(best[name], (clock() - start) / rounds[name])
    return best


def extra_memory(contenders):
    """Return how many bytes the process grows by during one call of each, its result included; Linux only.

    The high-water mark of the process is set back before each call, and free memory is given back, so that its
    use counts.
    """
    if sys.platform != "linux":
        return {}
    libc = ctypes.CDLL(None)

    def status(name):
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

    from derivable import jit

    result = {}
    for name, call in contenders.items():
        jit.forget_working_space()
        gc.collect()
        libc.malloc_trim(0)
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        except OSError:
            return {}
        before = status("VmRSS")
        kept = call()
        result[name] = max(0, status("VmHWM") - before)
        del kept
    return result


def naive_loop():
    """Return the definition of a layer as one compiled loop over seven indices, without any care for the machine."""
    from derivable.jit import kernel

    @kernel(cache=False)
    def convolve(x, w, out, padding):
        for n in range(out.shape[0]):
            for o in range(out.shape[1]):
                for i in range(out.shape[2]):
                    for j in range(out.shape[3]):
                        total = out.dtype.type(0)
                        for c in range(w.shape[1]):
                            for a in range(w.shape[2]):
                                for b in range(w.shape[3]):
                                    h, v = i + a - padding, j + b - padding
                                    if 0 <= h < x.shape[2] and 0 <= v < x.shape[3]:
                                        total += w[o, c, a, b] * x[n, c, h, v]
                        out[n, o, i, j] = total

    return convolve


def measure_steps(clock, repeats):
    """Measure how far each idea of the chapter goes on one layer, the machine's limits, and where the FFT crosses."""
    import numpy as np

    import derivable as dv
    from derivable import simd
    from derivable.convolution import choice, winograd
    from derivable.convolution.fourier import fourier_convolve
    from derivable.convolution.signals import direct_convolve

    one, where, result = (1, 1, 1), ((1, 1, 1), (0, 1, 1), (1, 1, 1), 1), {}
    naive = naive_loop()
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        x = rng.standard_normal((1, 64, 1, 56, 56)).astype(dtype)
        w = rng.standard_normal((64, 64, 1, 3, 3)).astype(dtype)
        out, zero = np.empty_like(x), np.zeros(64, dtype)
        flat = np.empty((1, 64, 56, 56), dtype)

        def run(method, values=(x, w, zero)):
            return choice.run_convolution(*values, (1, 56, 56), *where, method)

        contenders = {
            "plain loop": lambda x=x, w=w, flat=flat: naive(x[:, :, 0], w[:, :, 0], flat, 1),
            "long rows": lambda run=run: run("direct"),
            "register tile": lambda run=run: run("sliding"),
            "packed blocks": lambda run=run: run("implicit"),
        }
        for m in (2, 4):
            values = (x, w, zero, out, (0, 1, 1), one, one, 1, m)
            contenders[f"F({m},3)"] = lambda values=values: winograd.convolution_winograd(*values)
        contenders["derivable"] = contenders["F(4,3)"]
        best = measure(contenders, clock, repeats, slow=1e9)
        operations = 2.0 * out.size * w[0].size
        peak = simd.peak(dtype, threads=1)
        rates = {name: operations / seconds for name, seconds in best.items() if name != "derivable"}
        result[dtype] = {
            "peak": peak,
            "rates": rates,
            "operations": operations,
            "bytes": x.nbytes + w.nbytes + out.nbytes,
        }
    # Bandwidth: read and write arrays far larger than the caches.
    a, b = np.ones(1 << 25), np.empty(1 << 25)
    result["bandwidth"] = 2 * a.nbytes / measure({"derivable": lambda: np.copyto(b, a)}, clock, repeats)["derivable"]
    crossing = []
    image = rng.standard_normal((512, 512)).astype(np.float32)
    for k in (3, 5, 7, 9, 11, 15, 19, 23, 27, 31, 41, 51):
        h = rng.standard_normal((k, k)).astype(np.float32)
        start, size = (k - 1, k - 1), (513 - k, 513 - k)
        contenders = {
            "derivable": lambda h=h, a=start, n=size: direct_convolve(image, h, a, n),
            "fft": lambda h=h, a=start, n=size: fourier_convolve(image, h, a, n),
        }
        best = measure(contenders, clock, repeats, slow=1e9)
        crossing.append({"k": k, "direct": best["derivable"], "fft": best["fft"]})
    result["crossing"] = crossing
    result["small call"] = measure_small(clock, repeats, dv, np)
    return result


def measure_small(clock, repeats, dv, np):
    """Measure a call on a 28 x 28 image with a 5 x 5 kernel, from Python and inside a compiled loop."""
    import numba

    x, h = np.ones((28, 28), np.float32), np.ones((5, 5), np.float32)
    x4, h4 = x[None, None], h[None, None]

    @numba.njit
    def many(x, h, count):
        total = x.dtype.type(0)
        for _ in range(count):
            total += dv.conv2d(x, h)[0, 0, 0, 0]
        return total

    contenders = {
        "derivable": lambda: dv.convolve(x, h, "valid"),
        "conv2d": lambda: dv.conv2d(x4, h4),
        "inside njit": lambda: many(x4, h4, 1000),
    }
    best = measure(contenders, clock, repeats, slow=1e9)
    best["inside njit"] /= 1000
    best["convolve"] = best.pop("derivable")
    return best


def layer_contenders(layer, dtype, threads):
    """Return for forward, input gradient and kernel gradient the contenders, and the number of operations."""
    import jax
    import numpy as np
    import torch

    import derivable as dv

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
    return {
        "forward": {
            "derivable": lambda: convolve(x, w, **options),
            "torch": lambda: torch_convolve(tx, tw, **options),
            "jax": lambda: forward(jx, jw).block_until_ready(),
        },
        "input gradient": {
            "derivable": lambda: dv.conv_input_gradient(g, w, x.shape, **options),
            "torch": lambda: torch_back([True, False, False]),
            "jax": lambda: back_x(jw, jg).block_until_ready(),
        },
        "kernel gradient": {
            "derivable": lambda: dv.conv_kernel_gradient(g, x, w.shape, **options),
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


def processor_name():
    """Return the processor's name as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def rounded(value):
    """Return numbers to four digits, all others as they are."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


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
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    versions = {module.__name__: module.__version__ for module in (np, scipy, torch, jax)}
    machine = {
        "processor": processor_name(), "name of the processor in LLVM": simd.llvmlite.binding.get_host_cpu_name(),
        "vector bytes": simd.VECTOR_BYTES, "threads": arguments.threads,
        "clock": "processor time" if arguments.cpu else "wall time", "python": platform.python_version(),
        "numba": simd.numba.__version__, **versions,
    }  # fmt: skip
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
                memory = extra_memory(contenders)
                ours = best.pop("derivable")
                peer = min(best, key=best.get)
                row = {
                    "shape": name, "direction": direction, "dtype": dtype, "seconds": ours, "peers": best,
                    "best peer": peer, "ratio": best[peer] / ours, "rate": operations / ours,
                    "share of peak": operations / ours / peak, "memory": memory,
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
            result = {"machine": machine, "load": [load, os.getloadavg()], "rows": [rounded(row) for row in rows]}
            if not arguments.only:
                result["steps"] = rounded(measure_steps(clock, arguments.repeats))
            json.dump(result, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
