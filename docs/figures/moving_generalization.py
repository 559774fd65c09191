"""The figure that moves of the chapter on generalization."""

from functools import lru_cache

import numpy as np
from figures.drawing import BLUE, INK, MUTED, ORANGE, RED, new
from figures.moving import Control, Moving

import derivable as dv

POINTS, SEEDS = 12, 40
WIDTHS = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 21, 25, 30, 40, 60, 100, 200, 400]
GRID = np.linspace(-1, 1, 161)


def truth(x):
    """Return the function from which the points are drawn."""
    return np.sin(3.0 * x) / 2


def features(x, width: int, seed: int):
    """Return random waves as features of numbers: cos(a x + b), over the root of half their number."""
    rng = np.random.default_rng([seed, 1])
    a, b = 11 * rng.normal(size=400)[:width], rng.uniform(0, 2 * np.pi, size=400)[:width]
    return np.cos(np.multiply.outer(x, a) + b) * np.sqrt(2 / width)


@lru_cache
def fit(width: int, seed: int = 0):
    """Fit the points of a seed; return them, the fitted curve, its weights' norm, and its mean squared errors."""
    rng = np.random.default_rng([seed, 0])
    x = np.linspace(-1, 1, POINTS)
    y = truth(x) + 0.15 * rng.normal(size=POINTS)
    found = dv.min_norm_solution(features(x, width, seed), y)
    curve = features(GRID, width, seed) @ found.coefficients
    left = features(x, width, seed) @ found.coefficients - y
    return (
        x,
        y,
        curve,
        float(np.linalg.norm(found.coefficients)),
        float(np.mean(left**2)),
        float(np.mean((curve - truth(GRID)) ** 2)),
    )


@lru_cache
def usual(width: int) -> tuple[float, float]:
    """Return the medians, over the seeds, of the errors on the points and off them."""
    errors = np.array([fit(width, seed)[4:] for seed in range(SEEDS)])
    return tuple(np.median(errors, axis=0))


def descent() -> str:
    """Move the number of random features; see its fit, and its error among those of all widths."""
    fig, (above, below) = new(height=4.8, rows=2)
    above.set_xlim(-1, 1)
    above.set_ylim(-1.3, 1.3)
    above.plot(GRID, truth(GRID), color=MUTED, linestyle="--", linewidth=1, label="the truth")
    above.plot([], [], "o", color=INK, markersize=4, label="the points")
    above.plot([], [], color=BLUE, label="the fit")
    above.set_xlabel("$x$")
    above.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1.0))
    medians = np.array([usual(width) for width in WIDTHS])
    below.loglog(WIDTHS, medians[:, 1], "o-", color=RED, markersize=3, linewidth=1.2, label="error off the points")
    trained = medians[:, 0] > 1e-12
    below.loglog(
        np.array(WIDTHS)[trained], medians[trained, 0], "o-", color=BLUE, markersize=3, linewidth=1.2, label="on them"
    )
    below.axvline(POINTS, color=MUTED, linestyle=":", linewidth=1)
    below.set_ylim(2e-3, 2 * medians[:, 1].max())
    below.set_xlabel(f"features (dotted: as many as points, {POINTS})")
    below.set_ylabel("mean squared error")
    below.legend(loc="upper right")
    moving = Moving(
        fig,
        [
            Control("seed", "data", [0, 1, 2], 0, lambda seed: f"draw {seed + 1}"),
            Control("width", "features", WIDTHS, WIDTHS.index(POINTS)),
        ],
    )
    curve, data = moving.line(above, BLUE), moving.dots(above, INK, 5)
    cursor, here = moving.line(below, ORANGE, 1, "2 2"), moving.dots(below, ORANGE, 7)
    for at in moving.positions():
        x, y, shown, norm, on, off = fit(at.width, at.seed)
        moving.put(curve, GRID[::2], np.clip(shown[::2], -9, 9))
        moving.put(data, x, y)
        moving.put(cursor, [at.width] * 2, [1e-6, 1e6])
        moving.put(here, [at.width], [usual(at.width)[1]])
        moving.say("off", "this fit's error off the points", f"{off:.3g}")
        moving.say("on", "on them", f"{on:.3g}" if on > 1e-12 else "0")
        moving.say("norm", "norm of the weights", f"{norm:.3g}")
        moving.say("median", f"median of {SEEDS} draws, off the points", f"{usual(at.width)[1]:.3g}")
    peak = WIDTHS[int(np.argmax(medians[:, 1]))]
    return moving.html(
        label="moving-double-descent",
        caption=(
            rf"Least squares with random waves $\cos(a x + b)$ on {POINTS} noisy points; where several weights fit, the shortest. Move their "
            rf"number: the error first falls, is worst at {peak}, where the fit must pass through every point and has nothing "
            r"to choose, and falls again as more features let it choose a shorter one."
        ),
        alt=(
            "Above, a fitted curve through twelve points; below, the median error off the points against the number of features. It is "
            f"{medians[6, 1]:.2g} at {WIDTHS[6]} features, {medians[:, 1].max():.2g} at {peak}, and {medians[-1, 1]:.2g} at {WIDTHS[-1]}."
        ),
    )
