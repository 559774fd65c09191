"""Stochastic gradient descent on several machines, by Dask: synchronous, and local with averaging.

The mean over a batch is a sum over its parts. So each worker adds up the gradients of those rows of the batch that it
holds, the sums are added, and one step is taken: the run is the one-machine run, up to rounding, on any number of
workers. Scheduling, moving data and repeating what a lost worker had done is Dask's work, not ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from derivable.descent.functions import launch, prepare_args
from derivable.stochastic.components import Parameters, prepare_component, prepare_data, refuse_nan
from derivable.stochastic.loops import StochasticTrajectory, mean_value, sample, sgd
from derivable.stochastic.orders import Order, sample_order
from derivable.stochastic.schedules import CONSTANT, as_schedule, write_sizes
from derivable.stochastic.updates import Adam, RMSProp, make_memory, make_rule, update
from derivable.validation import as_array, check_count, check_number, check_positive

__all__ = ["distributed_sgd", "local_sgd"]


def distributed_sgd(
    client: Any,
    gradient: Callable[..., Any],
    w0: Any,
    data: Any,
    *,
    step: Any,
    epochs: int,
    args: tuple[Any, ...] = (),
    batch: int,
    batched: bool = False,
    order: Order = "shuffle",
    seed: int = 0,
    shards: int | None = None,
    momentum: float = 0.0,
    nesterov: bool = False,
    rule: Adam | RMSProp | None = None,
    weight_decay: float = 0.0,
    clip: float | None = None,
    value: Callable[..., Any] | None = None,
) -> StochasticTrajectory:
    r"""Run [`sgd`][derivable.sgd] with the data spread over the workers of a Dask cluster.

    Each step sends the point to the workers and brings one sum of gradients back from each shard. The rows of each
    batch are those of `sgd` with the same seed, and the sums are added in the order of the shards, whichever worker
    made them: the points are those of `sgd` up to rounding. If a worker dies, Dask makes its shards anew elsewhere and
    repeats what is missing; the run is the same.

    Args:
        client: a `dask.distributed.Client`.
        gradient: as for `sgd`. It is sent to the workers, which compile it.
        w0: as for `sgd`.
        data: a tuple of arrays, cut into `shards` pieces; or a list with one element for each shard: a tuple of
            arrays, or a function without arguments that loads one, which is then called on the worker.
        step: as for `sgd`.
        epochs: as for `sgd`.
        args: as for `sgd`.
        batch: the rows of a step, over all workers together.
        batched: as for `sgd`.
        order: as for `sgd`; the order is one over all shards together.
        seed: as for `sgd`.
        shards: into how many pieces to cut `data`; as many as there are workers by default.
        momentum: as for `sgd`.
        nesterov: as for `sgd`.
        rule: as for `sgd`.
        weight_decay: as for `sgd`, a number.
        clip: as for `sgd`.
        value: as for `sgd`; evaluated at the ends of the epochs.

    Returns:
        The run, with the points at the ends of the epochs.

    Raises:
        ImportError: if Dask is not installed: `pip install derivable[distributed]`.
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range, or a point stops being finite.

    References:
        J. Chen, X. Pan, R. Monga, S. Bengio and R. Jozefowicz, *Revisiting distributed synchronous SGD*, arXiv
        1604.00981. M. Rocklin, *Dask: parallel computation with blocked algorithms and task scheduling*, SciPy 2015.
    """
    pieces, counts = _spread(client, data, shards)
    client.gather([client.submit(_check, gradient, w0, p) for p in pieces])
    n, ends = sum(counts), np.cumsum(counts)
    batch, epochs = check_count(batch, "batch"), check_count(epochs, "epochs")
    if batch > n:
        raise ValueError(f"batch must be at most the number of rows, {n}, got {batch}")
    args = prepare_args(args)
    per_epoch = -(-n // batch)
    schedule = as_schedule(step, epochs * per_epoch)
    parameters = Parameters(w0)
    u = parameters.flat
    settings = make_rule(rule, momentum, nesterov, clip)
    shrink = check_number(weight_decay, "weight_decay")
    if shrink < 0:
        raise ValueError(f"weight_decay must be at least 0, got {weight_decay}")
    decay = np.full(u.size if shrink > 0 else 0, shrink)
    memory = make_memory(settings, decay, u.size, u.dtype)
    points, norms, values = [u.copy()], [], []

    def evaluate() -> None:
        if value is not None:
            point = parameters.public(u.copy())
            tasks = [client.submit(_sum_of_values, value, point, p, args, batched, batch, pure=False) for p in pieces]
            values.append(sum(client.gather(tasks)) / n)

    evaluate()
    for epoch in range(epochs):
        rows = sample_order(n, order, seed=seed, epoch=epoch)
        for k in range(per_epoch):
            drawn = rows[k * batch : (k + 1) * batch]
            shard = np.searchsorted(ends, drawn, side="right")
            point = parameters.public(u.copy())
            tasks = []
            for s in np.unique(shard):
                own = drawn[shard == s] - (ends[s] - counts[s])
                tasks.append(
                    client.submit(_sum_of_gradients, gradient, point, pieces[s], own, args, batched, pure=False)
                )
            h = np.sum(client.gather(tasks), axis=0) / drawn.size
            if k == 0:
                norms.append(float(np.linalg.norm(h)))
            t = epoch * per_epoch + k + 1
            update(u, h.astype(u.dtype), schedule(t), t, settings, *memory)
        if not np.isfinite(u).all():
            raise ValueError(f"the run diverged in epoch {epoch + 1}: a smaller step is needed, or standardised data")
        points.append(u.copy())
        evaluate()
    norms.append(np.nan)
    return _finish(parameters, points, norms, values, per_epoch, schedule)


def local_sgd(
    client: Any,
    gradient: Callable[..., Any],
    w0: Any,
    data: Any,
    *,
    step: float,
    rounds: int,
    local_steps: int,
    args: tuple[Any, ...] = (),
    batch: int = 1,
    batched: bool = False,
    order: Order = "shuffle",
    seed: int = 0,
    shards: int | None = None,
) -> StochasticTrajectory:
    r"""Let each worker run SGD on its own shard for a while, then average the points; repeat.

    It communicates once in `local_steps` steps in place of at each, but it is another method: with shards that differ,
    the points of the workers drift towards their own minimisers between two averages.

    Args:
        client: a `dask.distributed.Client`.
        gradient: as for [`sgd`][derivable.sgd].
        w0: as for `sgd`.
        data: as for [`distributed_sgd`][derivable.distributed_sgd].
        step: the step size.
        rounds: how many times to average.
        local_steps: the steps on each shard between two averages.
        args: as for `sgd`.
        batch: the rows of a step on one shard.
        batched: as for `sgd`.
        order: as for `sgd`.
        seed: as for `sgd`.
        shards: as for `distributed_sgd`.

    Returns:
        The run, with the averaged points after each round; its `steps` are `rounds * local_steps`. The gradient norms
        are not measured.

    References:
        S. U. Stich, *Local SGD converges fast and communicates little*, ICLR 2019.
    """
    pieces, counts = _spread(client, data, shards)
    rounds, local_steps = check_count(rounds, "rounds"), check_count(local_steps, "local_steps")
    parameters = Parameters(w0)
    schedule = as_schedule(check_positive(step, "step"), rounds * local_steps)
    share = np.array(counts) / sum(counts)
    points = [parameters.flat.copy()]
    for r in range(rounds):
        point = parameters.public(parameters.flat.copy())
        options = {"step": step, "steps": local_steps, "batch": batch, "batched": batched, "order": order, "args": args}
        tasks = [
            client.submit(_run_locally, gradient, point, p, {**options, "seed": seed + r * len(pieces) + s}, pure=False)
            for s, p in enumerate(pieces)
        ]
        parameters.flat[:] = np.tensordot(share, np.array(client.gather(tasks)), axes=1)
        points.append(parameters.flat.copy())
    return _finish(parameters, points, [np.nan] * len(points), [], local_steps, schedule)


def _spread(client: Any, data: Any, shards: int | None) -> tuple[list[Any], list[int]]:
    """Put the shards on the cluster, as results of tasks: a lost one can be made again. Return them and their sizes."""
    try:
        from distributed import Client
    except ImportError:
        raise ImportError("distributed SGD needs Dask: pip install 'derivable[distributed]'") from None
    if not isinstance(client, Client):
        raise TypeError(f"client must be a dask.distributed.Client, got {type(client).__name__}")
    if isinstance(data, tuple):
        data = prepare_data(data)
        workers = len(client.scheduler_info()["workers"])
        count = check_count(shards, "shards") if shards is not None else max(workers, 1)
        cuts = np.linspace(0, len(data[0]), min(count, len(data[0])) + 1).astype(int)
        data = [tuple(x[a:b] for x in data) for a, b in itertools.pairwise(cuts)]
    elif not isinstance(data, Sequence) or isinstance(data, str) or not data:
        raise TypeError(f"data must be a tuple of arrays or a list of shards, got {type(data).__name__}")
    pieces = [client.submit(_load, shard, pure=False) for shard in data]
    return pieces, client.gather([client.submit(_rows, p) for p in pieces])


# ----------------------------------------------------------------------------------- what the workers compute


def _load(shard: Any) -> tuple[np.ndarray, ...]:
    arrays = prepare_data(shard() if callable(shard) else shard, "a shard")
    refuse_nan(arrays, "a shard")
    return arrays


def _check(gradient: Any, w0: Any, shard: tuple[np.ndarray, ...]) -> None:
    if check := getattr(gradient, "check", None):
        parameters = Parameters(w0)
        check(shard, w0 if parameters.kind == "number" else parameters.w, "a shard")


def _rows(shard: tuple[np.ndarray, ...]) -> int:
    return len(shard[0])


def _sum_of_gradients(
    gradient: Any, w: Any, shard: tuple[np.ndarray, ...], rows: np.ndarray, args: Any, batched: bool
) -> np.ndarray:
    parameters = Parameters(w)
    size, dtype = parameters.flat.size, parameters.flat.dtype
    slope = prepare_component(gradient, "gradient", parameters, shard, args, batched=batched, returns="gradient")
    h = np.full(size, np.nan, dtype)
    rest = (
        parameters.w,
        parameters.view(h),
        shard,
        None if batched else np.empty(0),
        tuple(np.empty((rows.size, *x.shape[1:]), x.dtype) for x in shard) if batched else None,
        args,
        h,
        np.zeros(0 if batched else size),
        rows.astype(np.uint32),
        False,
        0,
        rows.size,
    )
    if not launch(sample, slope, *rest)(slope.function, *rest):
        raise ValueError("gradient must return an array of the shape of w")
    return h.astype(np.float64) * rows.size


def _sum_of_values(value: Any, w: Any, shard: tuple[np.ndarray, ...], args: Any, batched: bool, batch: int) -> float:
    parameters = Parameters(w)
    loss = prepare_component(value, "value", parameters, shard, args, batched=batched, returns="value")
    rest = (
        parameters.w,
        parameters.w,
        shard,
        None if batched else np.empty(0),
        () if batched else None,
        args,
        min(batch, len(shard[0])),
    )
    return float(launch(mean_value, loss, *rest)(loss.function, *rest)) * len(shard[0])


def _run_locally(gradient: Any, w: Any, shard: tuple[np.ndarray, ...], options: dict[str, Any]) -> np.ndarray:
    return Parameters(sgd(gradient, w, shard, keep="last", **options).last).flat


def _finish(
    parameters: Parameters, points: list[Any], norms: list[float], values: list[float], period: int, schedule: Any
) -> StochasticTrajectory:
    kept = np.arange(len(points)) * period + 1
    steps = int(kept[-1]) - 1
    best = points[int(np.argmin(values))] if values else None
    sizes: Any = schedule.a
    if schedule.kind != CONSTANT or schedule.warmup:
        sizes = np.empty(steps)
        write_sizes(*schedule.numbers, sizes)
    return StochasticTrajectory(
        iterates=parameters.many(as_array(points, "points")),
        kept=kept,
        last=parameters.public(points[-1]),
        average=None,
        steps=steps,
        step_sizes=sizes,
        gradient_norms=np.array(norms),
        values=np.array(values) if values else None,
        best=None if best is None else parameters.public(best),
        reason="steps",
        evaluated=kept,
        held_out_values=None,
        epochs=steps / period,
    )
