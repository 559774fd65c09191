"""Measure derivatives on a suite of programs: against the function itself, JAX's jit, torch and autograd, interleaved.

`python -m tests.benchmarks autodiff` prints for each program the time of the function, of value and gradient, their
ratio, and how many times as long the peers take for value and gradient in the same run. `--compile` measures in fresh
processes, with empty caches, how long the first call takes, and how long it takes in the process after that. `--json FILE`
adds what was measured to a file; `docs/data/autodiff.json` is the one that the page on performance is made from.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from itertools import repeat
from pathlib import Path

import numpy as np
from numba import njit

import derivable as dv


@njit
def formula(x, y):
    return math.sin(x * y) * math.exp(-x) + math.log(1.0 + y * y) / (1.0 + x * x)


@njit
def rosenbrock(x):
    s = 0.0
    for i in range(x.shape[0] - 1):
        s += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return s


@njit
def logistic_loops(w, X, y):
    s = 0.0
    for i in range(X.shape[0]):
        t = 0.0
        for j in range(X.shape[1]):
            t += X[i, j] * w[j]
        s += math.log(1.0 + math.exp(-y[i] * t))
    return s / X.shape[0]


@njit
def logistic_arrays(w, X, y):
    return np.mean(np.log(1.0 + np.exp(-y * (X @ w))))


@njit
def mlp(parameters, X, Y):
    (W1, b1), (W2, b2) = parameters
    H = dv.tanh(X @ W1 + b1)
    return np.mean((H @ W2 + b2 - Y) ** 2)


@njit
def rnn(W, U, x):
    n = W.shape[0]
    h = np.zeros(n)
    for t in range(x.shape[0]):
        h = np.tanh(W @ h + U * x[t])
    return np.sum(h * h)


@njit
def factorisation(U, V, A):
    s = 0.0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            t = A[i, j]
            for k in range(U.shape[1]):
                t -= U[i, k] * V[k, j]
            s += t * t
    return s


@njit
def bodies(x):
    n = x.shape[0]
    s = 0.0
    for i in range(n):
        for j in range(i):
            d = 0.01
            for k in range(3):
                d += (x[i, k] - x[j, k]) ** 2
            s -= 1.0 / math.sqrt(d)
    return s


@njit
def logistic_map(r):
    x = 0.3
    for _ in range(1000):
        x = r * x * (1.0 - x)
    return x


@njit
def triangular(b, L):
    n = b.shape[0]
    x = np.zeros(n)
    for i in range(n):
        t = b[i]
        for j in range(i):
            t -= L[i, j] * x[j]
        x[i] = t / L[i, i]
    return np.sum(x * x)


@njit
def cross_entropy(W, X, labels):
    s = 0.0
    Z = X @ W
    for i in range(X.shape[0]):
        m = Z[i, 0]
        for k in range(1, Z.shape[1]):
            m = max(m, Z[i, k])
        t = 0.0
        for k in range(Z.shape[1]):
            t += math.exp(Z[i, k] - m)
        s += math.log(t) + m - Z[i, labels[i]]
    return s / X.shape[0]


@njit
def network(parameters, images, labels):
    (w1, b1), (w2, b2) = parameters
    h = dv.max_pool2d(dv.relu(dv.conv2d(images, w1, b1, padding="same")), 2)
    scores = h.reshape(h.shape[0], h.shape[1] * h.shape[2] * h.shape[3]) @ w2 + b2
    total = 0.0
    for i in range(scores.shape[0]):
        row = scores[i] - np.max(scores[i])
        total += np.log(np.sum(np.exp(row))) - row[labels[i]]
    return total / scores.shape[0]


def suite():
    """Return (name, number of parameters, function, arguments) of each program."""
    r = np.random.default_rng(0)
    X, y = r.standard_normal((1000, 50)), np.sign(r.standard_normal(1000))

    def layers(n, h, m):
        return (
            (
                (0.1 * r.standard_normal((n, h)), np.zeros(h)),
                (0.1 * r.standard_normal((h, m)), np.zeros(m)),
            ),
            r.standard_normal((32, n)),
            r.standard_normal((32, m)),
        )

    def few_rows(n):
        return (r.standard_normal(n) / n**0.5, r.standard_normal((20, n)), np.sign(r.standard_normal(20)))

    L = np.tril(0.1 * r.standard_normal((60, 60))) + 2 * np.eye(60)
    filters = ((0.3 * r.standard_normal((8, 1, 3, 3)), np.zeros(8)), (0.1 * r.standard_normal((128, 10)), np.zeros(10)))
    return [
        ("scalar formula", formula, (0.7, 1.3)),
        ("Rosenbrock, n = 2", rosenbrock, (r.standard_normal(2),)),
        ("Rosenbrock, n = 10", rosenbrock, (r.standard_normal(10),)),
        ("Rosenbrock, n = 100", rosenbrock, (r.standard_normal(100),)),
        ("Rosenbrock, n = 1000", rosenbrock, (r.standard_normal(1000),)),
        ("Rosenbrock, n = 100,000", rosenbrock, (r.standard_normal(100_000),)),
        ("logistic regression, 1000 x 50, as loops", logistic_loops, (0.1 * r.standard_normal(50), X, y)),
        ("logistic regression, 1000 x 50", logistic_arrays, (0.1 * r.standard_normal(50), X, y)),
        ("logistic regression, 20 x 10", logistic_arrays, few_rows(10)),
        ("logistic regression, 20 x 100", logistic_arrays, few_rows(100)),
        ("logistic regression, 20 x 1000", logistic_arrays, few_rows(1000)),
        ("logistic regression, 20 x 100,000", logistic_arrays, few_rows(100_000)),
        ("MLP 8-16-4, 32 rows", mlp, layers(8, 16, 4)),
        ("MLP 32-64-10, 32 rows", mlp, layers(32, 64, 10)),
        ("MLP 128-256-10, 32 rows", mlp, layers(128, 256, 10)),
        ("recurrent network, 20 units, 50 steps", rnn, (0.2 * r.standard_normal((20, 20)), r.standard_normal(20), r.standard_normal(50))),
        ("convolutional network, 8 filters, 32 images 8 x 8", network, (filters, r.standard_normal((32, 1, 8, 8)), r.integers(0, 10, 32))),
        ("matrix factorisation 60 x 40, rank 5", factorisation, (r.standard_normal((60, 5)), r.standard_normal((5, 40)), r.standard_normal((60, 40)))),
        ("potential of 50 bodies", bodies, (r.standard_normal((50, 3)),)),
        ("logistic map, 1000 steps", logistic_map, (3.57,)),  # at 3.2 the derivative underflows, which takes long
        ("triangular solve, n = 60", triangular, (r.standard_normal(60), L)),
        ("softmax cross-entropy 200 x 20, 10 classes", cross_entropy, (0.1 * r.standard_normal((20, 10)), X[:200, :20].copy(), r.integers(0, 10, 200))),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- peers


def forms(xp, scan, steps, solve, logsumexp, convolve, tanh):
    """Return the suite for a library of arrays, in its own idiom: whole arrays where it has no fast loops."""

    def scalar(x, y):
        return xp.sin(x * y) * xp.exp(-x) + xp.log(1.0 + y * y) / (1.0 + x * x)

    def rosenbrock(x):
        return xp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    def logistic(w, X, y):
        return xp.mean(xp.log(1.0 + xp.exp(-y * (X @ w))))

    def mlp(parameters, X, Y):
        (W1, b1), (W2, b2) = parameters
        return xp.mean((tanh(X @ W1 + b1) @ W2 + b2 - Y) ** 2)

    def recurrent(W, U, x):
        h = scan(lambda h, xt: tanh(W @ h + U * xt), 0.0 * U, x)
        return xp.sum(h * h)

    def factorisation(U, V, A):
        return xp.sum((A - U @ V) ** 2)

    def potential(x):
        d = xp.sum((x[:, None] - x[None]) ** 2, -1) + 0.01
        return -xp.sum(xp.tril(1.0 / xp.sqrt(d), -1))

    def chaos(r):
        return steps(lambda x: r * x * (1.0 - x), 0.3)

    def triangular(b, L):
        x = solve(L, b)
        return xp.sum(x * x)

    def entropy(scores, labels):
        return xp.mean(logsumexp(scores) - scores[xp.arange(scores.shape[0]), labels])

    def convolutional(parameters, images, labels):
        (w1, b1), (w2, b2) = parameters
        h = convolve(images, w1, b1)
        return entropy(h.reshape((h.shape[0], -1)) @ w2 + b2, labels)

    found = {
        "scalar": scalar, "Rosenbrock": rosenbrock, "logistic regression": logistic, "MLP": mlp, "recurrent": recurrent,
        "matrix": factorisation, "potential": potential, "logistic map": chaos, "triangular": triangular,
        "softmax": lambda W, X, labels: entropy(X @ W, labels),
    }  # fmt: skip
    return found | ({"convolutional": convolutional} if convolve else {})


def form_of(found, name):
    return next((f for key, f in found.items() if name.startswith(key)), None)


def jax_peer():
    """Return what turns a program into one call of JAX: value and gradient, jitted."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def convolve(x, w, b):
        h = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
        h = jax.nn.relu(h + b[:, None, None])
        return jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    found = forms(
        jnp,
        lambda step, h, x: jax.lax.scan(lambda h, xt: (step(h, xt), None), h, x)[0],
        lambda step, x: jax.lax.fori_loop(0, 1000, lambda _, x: step(x), x),
        lambda L, b: jax.scipy.linalg.solve_triangular(L, b, lower=True),
        lambda z: jax.nn.logsumexp(z, axis=1),
        convolve,
        jnp.tanh,
    )

    def prepare(name, arguments):
        f = jax.jit(jax.value_and_grad(form_of(found, name)))
        moved = jax.tree.map(jnp.asarray, arguments)
        return (lambda: jax.block_until_ready(f(*moved))), lambda out: jax.tree.map(np.asarray, out)

    return prepare, jax.__version__


def torch_peer():
    """Return what turns a program into one call of torch: value and gradient, eager."""
    import torch
    import torch.nn.functional as F

    def loop(step, h, x):
        for k in range(x.shape[0]):
            h = step(h, x[k])
        return h

    def steps(step, x):
        for _ in range(1000):
            x = step(x)
        return x

    found = forms(
        torch,
        loop,
        steps,
        lambda L, b: torch.linalg.solve_triangular(L, b[:, None], upper=False)[:, 0],
        lambda z: torch.logsumexp(z, dim=1),
        lambda x, w, b: F.max_pool2d(torch.relu(F.conv2d(x, w, b, padding="same")), 2),
        torch.tanh,
    )

    def tensors(tree):
        if isinstance(tree, tuple):
            return tuple(map(tensors, tree))
        return torch.as_tensor(tree, dtype=torch.float64 if isinstance(tree, float) else None)

    def prepare(name, arguments):
        f = form_of(found, name)
        moved = tensors(arguments)
        leaves = flat(moved[0])
        for leaf in leaves:
            leaf.requires_grad_()

        def call():
            value = f(*moved)
            return value, torch.autograd.grad(value, leaves)

        return call, lambda out: (out[0].item(), [g.numpy() for g in out[1]])

    return prepare, torch.__version__


def autograd_peer():
    """Return what turns a program into one call of autograd: value and gradient."""
    from importlib.metadata import version

    import autograd
    import autograd.numpy as anp
    from autograd.scipy.linalg import solve_triangular
    from autograd.scipy.special import logsumexp

    def loop(step, h, x):
        for k in range(x.shape[0]):
            h = step(h, x[k])
        return h

    def steps(step, x):
        for _ in range(1000):
            x = step(x)
        return x

    found = forms(
        anp, loop, steps, lambda L, b: solve_triangular(L, b, lower=True), lambda z: logsumexp(z, 1), None, anp.tanh
    )

    def prepare(name, arguments):
        form = form_of(found, name)
        if form is None:
            return None, None
        f = autograd.value_and_grad(form)
        return (lambda: f(*arguments)), lambda out: out

    return prepare, version("autograd")


PEERS = {"JAX": jax_peer, "torch": torch_peer, "autograd": autograd_peer}


# ------------------------------------------------------------------------------------------------------ measuring


def flat(tree):
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in flat(part)]
    return [tree]


def once(call, number, arguments=()):
    start = time.perf_counter()
    for _ in repeat(None, number):
        call(*arguments)
    return (time.perf_counter() - start) / number


def measure(calls, rounds, seconds=3e-4):
    """Return the least time of each call; they take turns, so that all meet the same disturbances."""
    numbers = [max(1, int(seconds / max(once(c, 1, a), 1e-7))) for c, a in calls]
    best = [math.inf] * len(calls)
    for _ in range(rounds):
        for k, (c, a) in enumerate(calls):
            best[k] = min(best[k], once(c, numbers[k], a))
    return best


@njit
def many(f, x, out, count):
    """Call a function of an array from compiled code."""
    total = 0.0
    for _ in range(count):
        total += f(x)
        x[0] += 1e-12
    return total


@njit
def many_gradients(into, x, out, count):
    """Call a gradient, which it writes into a buffer, from compiled code."""
    for _ in range(count):
        into(x, out)
        x[0] += 1e-12
    return out[0]


def speeds(rounds, names, only, save):
    """Measure one row a program: seconds of the function, of value and gradient, and of each peer."""
    peers, versions = {}, {}
    for name in names:
        peers[name], versions[name] = PEERS[name]()
    rows = []
    print(f"{'program':50}{'f us':>10}{'gradient':>10}{'ratio':>7}" + "".join(f"{n:>10}" for n in peers))
    for name, f, args in suite():
        if only not in name:
            continue
        both = dv.value_and_grad(f)
        f(*args)
        value, gradient = both(*args)
        calls, used = [(f, args), (both, args)], []
        for peer, prepare in peers.items():
            call, back = prepare(name, args)
            if call is None:
                continue
            theirs, slope = back(call())
            assert np.allclose(theirs, value, rtol=1e-9), (name, peer)
            pairs = zip(flat(slope), flat(gradient), strict=True)
            assert all(np.allclose(a, b, rtol=1e-7, atol=1e-11) for a, b in pairs), (name, peer)
            calls.append((call, ()))
            used.append(peer)
        own, ours, *others = measure(calls, rounds)
        row = {
            "program": name,
            "parameters": int(sum(np.size(a) for a in flat(args[0]))),
            "function": own,
            "gradient": ours,
        }
        rows.append(row | {"peers": dict(zip(used, others, strict=True))})
        save({"rows": rows, "versions": versions})
        ratios = "".join(f"{row_peer / ours:10.2f}" for row_peer in others)
        print(f"{name:50}{own * 1e6:10.2f}{ours * 1e6:10.2f}{ours / own:7.2f}{ratios}", flush=True)
    inside = []
    for n in (2, 10, 100, 1000) if not only else ():
        x, out = np.linspace(-1, 1, n), np.empty(n)
        into, count = dv.grad_into(rosenbrock), max(1, 100_000 // n)
        many(rosenbrock, x, out, 1), many_gradients(into, x, out, 1)
        own, ours = measure([(many, (rosenbrock, x, out, count)), (many_gradients, (into, x, out, count))], rounds)
        inside.append({"program": f"Rosenbrock, n = {n}", "function": own / count, "gradient": ours / count})
        print(
            f"{f'Rosenbrock, n = {n}, in a compiled loop':50}{own / count * 1e6:10.3f}{ours / count * 1e6:10.3f}{ours / own:7.2f}"
        )
        save({"inside": inside})


def methods(save):
    """Measure the chapter's ways to a gradient on one function."""

    def taped():
        tape = dv.Tape()
        w = tape.variable(x)
        return tape.gradient(np.sum(100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2), w)

    x = np.linspace(-1, 1, 1000)
    both = dv.value_and_grad(rosenbrock)
    calls = [(rosenbrock, (x,)), (both, (x,)), (dv.numerical_gradient, (rosenbrock, x)), (taped, ())]
    for call, arguments in calls:  # compile
        call(*arguments)
    times = [measure([call], 15)[0] for call in calls]
    save({"methods": dict(zip(("function", "gradient", "central", "tape"), times, strict=True))})


# ------------------------------------------------------------------------------------------------- compilation

LEFT_OUT = [
    "n = 2",
    "n = 10",
    "n = 100",
    "n = 100,000",
    "20 x",
    "8-16-4",
    "128-256-10",
]  # other sizes of the same program


def compiled_programs():
    return [
        name
        for name, _, _ in suite()
        if not any(name.endswith(w) or f"{w} " in name or f"{w}," in name for w in LEFT_OUT)
    ]


def first_call(name, what):
    """Print the processor seconds of a first call in this process, and how many functions Numba compiled for it."""
    from numba.core import event

    class Count(event.Listener):
        found = 0

        def on_start(self, _):
            self.found += 1

        def on_end(self, _):
            pass

    _, f, args = next(program for program in suite() if program[0] == name)
    njit(lambda x: x[0] * x.shape[0])(np.ones(2))  # Numba's own start-up, and that of the machinery here
    dv.grad(njit(lambda x: x * x))(1.0)
    count = Count()
    event.register("numba:compile", count)
    call = f if what == "function" else dv.value_and_grad(f)
    wall, processor = time.perf_counter(), time.process_time()
    call(*args)
    print(json.dumps([time.process_time() - processor, time.perf_counter() - wall, count.found]))


def compile_times(rounds, save):
    """Measure one row a program: seconds of the first call of the function, of the gradient, and in the next process."""
    rows = []
    print(f"{'program':50}{'function s':>11}{'gradient s':>11}{'ratio':>7}{'next process s':>15}{'compiled there':>15}")
    for name in compiled_programs():
        own, ours, again, compiled = math.inf, math.inf, math.inf, 0
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                where = {"NUMBA_CACHE_DIR": f"{folder}/numba", "DERIVABLE_CACHE_DIR": f"{folder}/programs"}

                def run(what, name=name, where=where):
                    done = subprocess.run(
                        [sys.executable, __file__, "--first-call", name, what],
                        env={**os.environ, **where}, capture_output=True, text=True, check=True,
                    )  # fmt: skip
                    return json.loads(done.stdout)

                own = min(own, run("function")[0])
                ours = min(ours, run("gradient")[0])
                seconds, _, compiled = run("gradient")
                again = min(again, seconds)
        rows.append({"program": name, "function": own, "gradient": ours, "again": again, "compiled again": compiled})
        print(f"{name:50}{own:11.2f}{ours:11.2f}{ours / own:7.2f}{again:15.2f}{compiled:15}", flush=True)
        save({"compilation": rows})


def machine(threads):
    """Return what the numbers depend on."""
    import numba

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "date": time.strftime("%Y-%m-%d"),
        "versions": {"Python": platform.python_version(), "NumPy": np.__version__, "Numba": numba.__version__},
    }


def main():
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", default="JAX,torch,autograd", help="which peers, with commas; empty for none")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--only", default="", help="only programs whose name contains this")
    parser.add_argument("--compile", action="store_true", help="measure first calls instead, in fresh processes")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for every library")
    parser.add_argument("--json", type=Path, help="add the result to this file")
    parser.add_argument("--first-call", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first_call:
        first_call(*options.first_call)
        return
    if os.environ.get("OMP_NUM_THREADS") != str(options.threads):  # read when the libraries are loaded
        single = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
        words = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        env = os.environ | dict.fromkeys(words, str(options.threads)) | (single if options.threads == 1 else {})
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=env, check=False).returncode)
    found = machine(options.threads)

    def save(part):
        """Add a part of the result to the file."""
        if not options.json:
            return
        before = json.loads(options.json.read_text()) if options.json.exists() else {}
        if "versions" in part:
            found["versions"] |= part.pop("versions")
        key = "compilation machine" if options.compile else "machine"
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(before | {key: found} | part, indent=1) + "\n")

    if options.compile:
        compile_times(min(options.rounds, 3), save)
    else:
        if not options.only:
            methods(save)
        speeds(options.rounds, [p for p in options.peers.split(",") if p], options.only, save)


if __name__ == "__main__":
    main()
