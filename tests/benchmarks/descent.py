"""Measure a step of gradient descent against a loop compiled by hand for one problem, and against JAX's `fori_loop`.

`python tests/benchmarks/descent.py` prints a line for each problem and size: nanoseconds a step of ours, and the peers'
time over ours. More than 1 means that ours is faster. All take turns; compilation and Numba's start-up come before.
Ours runs without a record, as the peers, which just step; "noted" is its time with one (the gradient norms, the
average and a look for divergence at every point) over its time without.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numba import njit

import derivable as dv


def by_hand(into):
    """Compile a loop with nothing in it but the step, for this one gradient."""

    @njit
    def run(w, step, steps, args):
        g = np.empty_like(w)
        for _ in range(steps):
            into(w, *args, g)
            for i in range(w.size):
                w[i] -= step * g[i]
        return w

    return run


def by_jax(gradient):
    """Compile the same with JAX, in double precision; None where JAX is not installed."""
    try:
        import jax
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)

    @jax.jit
    def run(w, step, steps, args):
        return jax.lax.fori_loop(0, steps, lambda _, v: v - step * gradient(jax.numpy, v, *args), w)

    return run


def least_squares(xp, w, X, y):
    return X.T @ (X @ w - y) / len(y)


def logistic(xp, w, X, y, C):
    weights, bias = w[:-1], w[-1]
    z = -C * y / (1 + xp.exp(y * (X @ weights + bias)))
    return xp.concatenate([weights + X.T @ z, z.sum()[None]])


def rosenbrock(xp, w):
    rise = w[1:] - w[:-1] ** 2
    zero = xp.zeros(1)
    return xp.concatenate([-400 * w[:-1] * rise - 2 * (1 - w[:-1]), zero]) + xp.concatenate([zero, 200 * rise])


def cases(sizes):
    rng = np.random.default_rng(0)
    for n in sizes:
        X = rng.normal(size=(4 * n, n))
        y = rng.normal(size=4 * n)
        p = dv.problems.least_squares(X, y)
        yield f"least squares, {4 * n} x {n}", p, 1 / p.L, least_squares
        p = dv.problems.logistic(X, y > 0)
        yield f"logistic, {4 * n} x {n}", p, 1 / p.L, logistic
        yield f"Rosenbrock, n = {n}", dv.problems.rosenbrock(n), 1e-4, rosenbrock


def best(run, repeats, steps):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times) / steps * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 10, 100, 1000])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{'problem':28} {'ours, ns/step':>14} {'noted':>7} {'by hand':>9} {'JAX':>7}")
    for name, p, step, formula in cases(options.sizes):
        work = p.w0.size * (8 * p.w0.size if p.args else 4)
        steps = int(np.clip(1e8 / work, 20, 2_000_000))  # so many that the start of a run does not count
        hand, peer = by_hand(p.gradient.into), by_jax(formula)
        runs = {
            "ours": lambda p=p, step=step, steps=steps: dv.gradient_descent(
                p.gradient, p.w0, step, steps, p.args, keep="last", record=False
            ),
            "noted": lambda p=p, step=step, steps=steps: dv.gradient_descent(
                p.gradient, p.w0, step, steps, p.args, keep="last"
            ),
            "hand": lambda p=p, step=step, steps=steps, hand=hand: hand(p.w0.copy(), step, steps, p.args),
        }
        ends = [runs["ours"]().last, runs["noted"]().last, runs["hand"]()]
        if peer is not None:
            import jax

            data = tuple(jax.numpy.asarray(a) for a in p.args)
            w0 = jax.numpy.asarray(p.w0)
            runs["jax"] = lambda w0=w0, step=step, steps=steps, data=data, peer=peer: peer(
                w0, step, steps, data
            ).block_until_ready()
            ends.append(np.asarray(runs["jax"]()))
        for end in ends[1:]:
            assert np.allclose(end, ends[0], rtol=1e-6, atol=1e-9), f"{name}: the peers compute something else"
        times = dict.fromkeys(runs, np.inf)
        for _ in range(options.repeats):
            for key, run in runs.items():
                times[key] = min(times[key], best(run, 1, steps))
        jax_ratio = f"{times['jax'] / times['ours']:7.2f}" if "jax" in times else "      -"
        noted = times["noted"] / times["ours"]
        print(f"{name:28} {times['ours']:14.0f} {noted:7.2f} {times['hand'] / times['ours']:9.2f} {jax_ratio}")


if __name__ == "__main__":
    main()
