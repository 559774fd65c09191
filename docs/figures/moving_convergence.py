"""The figure that moves of the chapter on rates of convergence."""

from functools import lru_cache

import numpy as np
from figures.convergence import _kinked
from figures.drawing import BLUE, INK, MUTED, ORANGE, new
from figures.moving import Control, Moving
from matplotlib.ticker import NullFormatter

import derivable as dv

SCALES = [0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 10.0, 20.0]


@lru_cache
def gap(scale: float, T: int) -> float:
    """Return how far the average of T points is above the minimum, with `scale` times the theorem's step."""
    p = _kinked(10, 2)
    run = dv.subgradient_method(p.gradient, p.w0, scale * p.B / (p.rho * np.sqrt(T)), T, p.args, keep="last")
    return float(p.value(run.average, *p.args) - p.f_star)


def bound(scale: float, T: int) -> float:
    """Return the bound of the theorem for that step."""
    p = _kinked(10, 2)
    return dv.rate_bound("subgradient", B=p.B, rho=p.rho, T=T, step=scale * p.B / (p.rho * np.sqrt(T)))


def steps() -> str:
    """Move the number of steps and their size; see the gap of the average beside the bound."""
    fig, ax = new(height=3.4)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(0.04, 25)
    ax.set_ylim(2e-4, 60)
    ax.plot([], [], color=INK, label="the bound")
    ax.plot([], [], "o-", color=BLUE, markersize=4, linewidth=1, label="the run's gap")
    ax.axvline(1, color=MUTED, linestyle=":", linewidth=1)
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(r"step size, in units of $B/(\rho\sqrt{T})$")
    ax.set_ylabel(r"$f(\bar w) - f^\star$")
    ax.legend(loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1.0))
    moving = Moving(
        fig,
        [
            Control("T", "steps $T$", [4, 16, 64, 256, 1024, 4096], 2),
            Control("scale", r"$\eta$, in units of $B/(\rho\sqrt T)$", SCALES, 8, "{:g}".format),
        ],
    )
    above, below = moving.line(ax, INK), moving.line(ax, BLUE, 1)
    runs = moving.dots(ax, BLUE, 4)
    pair, ours, promised = moving.line(ax, ORANGE, 1, "2 2"), moving.dots(ax, ORANGE, 7), moving.dots(ax, INK, 6)
    for at in moving.positions():
        bounds, gaps = [bound(s, at.T) for s in SCALES], [gap(s, at.T) for s in SCALES]
        assert all(g <= b for g, b in zip(gaps, bounds, strict=True))
        b, g = bound(at.scale, at.T), gap(at.scale, at.T)
        moving.put(above, SCALES, bounds)
        moving.put(below, SCALES, gaps)
        moving.put(runs, SCALES, gaps)
        moving.put(pair, [at.scale, at.scale], [g, b])
        moving.put(ours, [at.scale], [g])
        moving.put(promised, [at.scale], [b])
        moving.say("gap", r"$f(\bar w) - f^\star$", f"{g:.4f}")
        moving.say("bound", "at most", f"{b:.4f}")
        moving.say("best", r"with the theorem's step, at most $B\rho/\sqrt T$", f"{bound(1.0, at.T):.4f}")
    return moving.html(
        label="moving-steps",
        caption=(
            r"The average of $T$ points of the subgradient method on a maximum of 10 affine functions in the plane. The bound "
            r"$\frac{B^2}{2\eta T} + \frac{\eta\rho^2}{2}$ is lowest at the theorem's step (dotted). Move $T$ from 4 to 4096: both "
            r"curves sink, the bound by 2 for every factor of 4. Too small a step costs in the first term, too large a one in the second."
        ),
        alt=(
            "Against the step size on logarithmic axes, the bound is a valley with its lowest point at the theorem's step. The gap of "
            "the run lies below the bound at every step size, and is also large at both ends. With more steps both sink."
        ),
    )
