"""The figure that moves of the chapter on stochastic gradient descent."""

from functools import lru_cache

import numpy as np
from figures.drawing import BLUE, MUTED, ORANGE, new
from figures.moving import Control, Moving
from figures.stochastic import ROWS, pull

import derivable as dv

SIZES = [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 2 / 3, 0.8, 1.0, 1.2]  # beyond, the iterates leave the axes
ORDERS = {"independent draws": "replacement", "a new order each epoch": "shuffle"}
COUNT = 200_000


@lru_cache
def points(order: str, eta: float) -> np.ndarray:
    """Return many iterates of SGD on the two terms, after it has come to rest; at the ends of epochs if shuffled."""
    keep = "all" if order == "replacement" else "epochs"
    count = COUNT if order == "replacement" else 2 * COUNT
    run = dv.sgd(pull, 0.5, ROWS, step=eta, steps=count + 2000, order=order, keep=keep, evaluate=count, seed=1)
    return run.iterates[-COUNT:]


def variance(order: str, eta: float) -> float:
    """Return the variance that the chapter derives."""
    n = {"n": 2} if order == "shuffle" else {}
    found = dv.noise_ball(eta, 1.0, 2.25, order=order, **n)
    return float(np.ravel(found)[-1] if np.ndim(found) else found)


def cloud() -> str:
    """Move the step size and the order of the rows; see the cloud in which the iterates come to rest."""
    fig, (above, below) = new(height=4.2, rows=2, height_ratios=[1, 1.1])
    above.set_xlim(0, 120)
    above.set_ylim(-1.9, 2.9)
    above.set_ylabel("$w_t$")
    above.axhline(0.5, color=MUTED, linestyle="--", linewidth=1)
    below.set_xlim(-1.9, 2.9)
    below.set_ylim(0, 1)
    below.set_yticks([])
    below.axvline(0.5, color=MUTED, linestyle="--", linewidth=1)
    below.set_xlabel("$w$, and how often the iterates are there (each to its own height)")
    moving = Moving(
        fig,
        [
            Control("order", "rows", list(ORDERS), 0, choice=True),
            Control("eta", r"step size $\eta$", SIZES, 2, "{:.3g}".format),
        ],
    )
    walk = moving.line(above, BLUE, 0.9)
    hills, spread = moving.area(below, BLUE, 0.55), moving.line(below, ORANGE, 2.4)
    edges = np.linspace(-1.9, 2.9, 97)
    for at in moving.positions():
        order = ORDERS[at.order]
        found = points(order, at.eta)
        assert edges[0] < found.min()
        assert found.max() < edges[-1]
        ball = variance(order, at.eta)
        counts = np.histogram(found, edges)[0] / COUNT
        heights = 0.92 * counts / counts.max()
        moving.put(walk, np.arange(120), found[:120])
        x, y = np.repeat(edges, 2), np.concatenate([[0], np.repeat(heights, 2), [0]])
        moving.put(hills, x, y)
        moving.put(spread, [0.5 - ball**0.5, 0.5 + ball**0.5], [0.96, 0.96])
        moving.say("seen", f"variance of {COUNT:,} iterates", f"{((found - 0.5) ** 2).mean():.4g}")
        moving.say("ball", "derived", f"{ball:.4g}")
    return moving.html(
        label="moving-cloud",
        caption=(
            r"SGD on the two-row problem, long after the start: 120 iterates, and below them how often each place is visited. The "
            r"orange bar reaches one derived standard deviation to each side of $w^\star = \frac12$. With independent draws the variance "
            r"is $\frac94\,\eta/(2-\eta)$; at $\eta = \frac12$ their cloud is flat, at $\frac23$ it is Cantor's set. In a new order each epoch, "
            r"seen at the ends of epochs, the variance falls like $\eta^3$ for small steps; beyond $\eta = 1$ it is the larger one."
        ),
        alt=(
            "A jagged run of iterates around one half with step size 0.1, and below it their histogram, a hill of standard deviation "
            f"{variance('replacement', 0.1) ** 0.5:.2f}. Larger steps make the hill wider; at 0.5 it is flat from minus 1 to 2."
        ),
    )
