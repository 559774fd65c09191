"""Measure derivatives on a suite of programs: against the function itself, JAX's jit, torch and autograd, interleaved.

`python tests/benchmarks/autodiff.py [--peers]` prints for each program the time of the function, of value and gradient,
their ratio, the seconds that compiling took, and with `--peers` the times of the peers in the same run.
"""

from __future__ import annotations

import argparse
import math
import time

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


def suite():
    """Return (name, function, arguments) of each program."""
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

    L = np.tril(0.1 * r.standard_normal((60, 60))) + 2 * np.eye(60)
    return [
        ("scalar formula", formula, (0.7, 1.3)),
        ("Rosenbrock, n = 2", rosenbrock, (r.standard_normal(2),)),
        ("Rosenbrock, n = 1000", rosenbrock, (r.standard_normal(1000),)),
        ("logistic regression 1000 x 50, loops", logistic_loops, (0.1 * r.standard_normal(50), X, y)),
        ("logistic regression 1000 x 50, arrays", logistic_arrays, (0.1 * r.standard_normal(50), X, y)),
        ("MLP 32 x 8-16-4", mlp, layers(8, 16, 4)),
        ("MLP 32 x 32-64-10", mlp, layers(32, 64, 10)),
        ("MLP 32 x 128-256-10", mlp, layers(128, 256, 10)),
        ("RNN, 20 units, 50 steps", rnn, (0.2 * r.standard_normal((20, 20)), r.standard_normal(20), r.standard_normal(50))),
        ("matrix factorisation 60 x 40, rank 5", factorisation, (r.standard_normal((60, 5)), r.standard_normal((5, 40)), r.standard_normal((60, 40)))),
        ("potential of 50 bodies", bodies, (r.standard_normal((50, 3)),)),
        ("logistic map, 1000 steps", logistic_map, (3.2,)),
        ("triangular solve, n = 60", triangular, (r.standard_normal(60), L)),
        ("softmax cross-entropy 200 x 20, 10 classes", cross_entropy, (0.1 * r.standard_normal((20, 10)), X[:200, :20].copy(), r.integers(0, 10, 200))),
    ]  # fmt: skip


def peers(name):
    """Return what computes value and gradient of a program in JAX, jitted; None where it has no good form there."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def ros(x):
        return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    def log(w, X, y):
        return jnp.mean(jnp.log(1.0 + jnp.exp(-y * (X @ w))))

    def net(parameters, X, Y):
        (W1, b1), (W2, b2) = parameters
        return jnp.mean((jnp.tanh(X @ W1 + b1) @ W2 + b2 - Y) ** 2)

    def recurrent(W, U, x):
        h, _ = jax.lax.scan(lambda h, xt: (jnp.tanh(W @ h + U * xt), None), jnp.zeros(W.shape[0]), x)
        return jnp.sum(h * h)

    def factor(U, V, A):
        return jnp.sum((A - U @ V) ** 2)

    def potential(x):
        d = jnp.sum((x[:, None] - x[None]) ** 2, -1) + 0.01
        return -jnp.sum(jnp.tril(1.0 / jnp.sqrt(d), -1))

    def chaos(r):
        return jax.lax.fori_loop(0, 1000, lambda _, x: r * x * (1.0 - x), 0.3)

    def solve(b, L):
        x = jax.scipy.linalg.solve_triangular(L, b, lower=True)
        return jnp.sum(x * x)

    def entropy(W, X, labels):
        Z = X @ W
        return jnp.mean(jax.nn.logsumexp(Z, axis=1) - Z[jnp.arange(Z.shape[0]), labels])

    def scalar(x, y):
        return jnp.sin(x * y) * jnp.exp(-x) + jnp.log(1.0 + y * y) / (1.0 + x * x)

    forms = {
        "scalar": scalar, "Rosenbrock": ros, "logistic regression": log, "MLP": net, "RNN": recurrent, "matrix": factor,
        "potential": potential, "logistic map": chaos, "triangular": solve, "softmax": entropy,
    }  # fmt: skip
    form = next((f for key, f in forms.items() if name.startswith(key)), None)
    return None if form is None else jax.jit(jax.value_and_grad(form))


def once(call, number):
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def main():
    """Print the suite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true", help="measure JAX too")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rosenbrock(np.ones(2))
    dv.grad(njit(lambda x: x * x))(1.0)  # Numba's own start-up
    heads = f"{'program':44}{'f us':>10}{'grad us':>10}{'ratio':>7}{'compile s':>11}{'f compile':>11}"
    print(heads + (f"{'JAX us':>10}{'JAX/ours':>10}" if options.peers else ""))
    for name, f, args in suite():
        start = time.perf_counter()
        f(*args)
        own = time.perf_counter() - start
        both = dv.value_and_grad(f)
        start = time.perf_counter()
        both(*args)
        compiled = time.perf_counter() - start
        calls = [lambda f=f, args=args: f(*args), lambda both=both, args=args: both(*args)]
        if options.peers:
            import jax

            other, moved = peers(name), jax.tree.map(jax.numpy.asarray, args)
            value, gradient = other(*moved)
            mine = both(*args)
            assert np.allclose(value, mine[0], rtol=1e-9), name
            flat = zip(jax.tree.leaves(gradient), jax.tree.leaves(mine[1]), strict=True)
            assert all(np.allclose(a, b, rtol=1e-8, atol=1e-12) for a, b in flat), name
            calls.append(lambda other=other, moved=moved: jax.block_until_ready(other(*moved)))
        best = [math.inf] * len(calls)
        numbers = [max(1, int(2e-3 / max(once(c, 3), 1e-7))) for c in calls]
        for _ in range(options.rounds):
            for k, c in enumerate(calls):
                best[k] = min(best[k], once(c, numbers[k]))
        line = f"{name:44}{best[0] * 1e6:10.2f}{best[1] * 1e6:10.2f}{best[1] / best[0]:7.2f}{compiled:11.2f}{own:11.2f}"
        if options.peers:
            line += f"{best[2] * 1e6:10.2f}{best[2] / best[1]:10.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
