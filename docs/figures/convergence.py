"""The figures of the chapter on rates of convergence."""

import numpy as np
from figures.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, figure, new
from matplotlib.ticker import NullFormatter

import derivable as dv


def _kinked(pieces, dimensions):
    """Return the maximum of some affine functions."""
    rng = np.random.default_rng(0)
    slopes = rng.normal(size=(pieces, dimensions))
    return dv.problems.max_affine(slopes - slopes.mean(axis=0), rng.normal(size=pieces))


def attained() -> str:
    """Draw the gap of the average against T, for the worst function and for an ordinary one, and the bound."""
    sizes = 2 ** np.arange(2, 11)
    ordinary = _kinked(50, 10)
    worst, usual = [], []
    for T in sizes:
        p = dv.problems.worst_subgradient(int(T))
        run = dv.subgradient_method(p.gradient, p.w0, 1 / np.sqrt(T), int(T), p.args)
        worst.append(p.value(run.average, *p.args) - p.f_star)
        step = ordinary.B / (ordinary.rho * np.sqrt(T))
        run = dv.subgradient_method(ordinary.gradient, ordinary.w0, step, int(T), ordinary.args)
        gap = ordinary.value(run.average, *ordinary.args) - ordinary.f_star
        usual.append(gap / (ordinary.B * ordinary.rho))
    bound = 1 / np.sqrt(sizes)
    assert np.allclose(worst, bound)
    fig, ax = new()
    ax.loglog(sizes, bound, color=INK, label=r"the bound, $1/\sqrt{T}$")
    ax.loglog(sizes, worst, "o", color=ORANGE, label="the worst function")
    ax.loglog(sizes, usual, "o-", color=BLUE, linewidth=1, label="a maximum of 50 affine functions")
    ticks = [0.5, 0.2, 0.1, 0.05, 0.02]  # the powers of ten alone would be one label
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("$T$")
    ax.set_ylabel(r"$(f(\bar w) - f^\star)\,/\,B\rho$")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure(
        fig,
        label="figure-attained",
        caption=(
            r"The gap of the average after $T$ steps of the theorem's size, in units of $B\rho$, for $T = 4, 8, \dots, 1024$. "
            r"The function of [@worst-function] lies on the bound for every $T$. An ordinary function lies below it "
            rf"(at $T = 1024$ by a factor of {bound[-1] / usual[-1]:.1f}), with about the same slope."
        ),
        alt=(
            "A log-log plot: the bound falls as a straight line of slope minus one half, the points of the worst function lie "
            "exactly on it for T from 4 to 1024, and the curve of an ordinary function runs below."
        ),
    )


def last_points() -> str:
    """Draw the value at the points, at their average and at the best, along runs with two schedules."""
    p = _kinked(10, 2)
    T = 1000
    eta = p.B / (p.rho * np.sqrt(T))
    options = {"args": p.args, "value": p.value}
    flat = dv.subgradient_method(p.gradient, p.w0, eta, T, **options)
    first = p.B / (p.rho * np.sqrt(T + 1))
    falling = dv.subgradient_method(p.gradient, p.w0, first, T, schedule="linear", **options)
    t = np.arange(1, T + 1)
    averages = np.cumsum(flat.iterates[:T], axis=0) / t[:, None]
    mean = np.array([p.value(w, *p.args) for w in averages]) - p.f_star
    fig, ax = new(height=3.3)
    ax.semilogy(t, flat.values[:T] - p.f_star, ".", color=MUTED, markersize=1.8, label="constant step: $w_t$")
    ax.semilogy(t, mean, color=BLUE, label="its average so far")
    ax.semilogy(t, np.minimum.accumulate(flat.values[:T]) - p.f_star, color=GREEN, label="its best point so far")
    ax.semilogy(t, falling.values[:T] - p.f_star, ".", color=ORANGE, markersize=1.8, label="linear decay: $w_t$")
    ax.axhline(p.B * p.rho / np.sqrt(T), color=INK, linestyle=":", linewidth=1.2, label="the bound")
    ax.set_xlabel("$t$")
    ax.set_ylabel(r"gap")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    ends = (flat.values[T - 1] - p.f_star, falling.values[T] - p.f_star)
    assert mean[-1] > ends[0] > ends[1]  # the texts below say so
    assert mean[T // 2] > p.B * p.rho / np.sqrt(T) > mean[-1]
    return figure(
        fig,
        label="figure-last-points",
        caption=(
            r"Runs of 1000 steps on a maximum of 10 affine functions in the plane. With the constant step of [@average-rate] the points "
            rf"(grey) keep jumping and end {ends[0]:.3f} above the minimum. Their average ends {mean[-1]:.3f} above it: on this function it "
            rf"is worse than the last point. With a step that decays linearly to zero the last point is {ends[1]:.5f} above the minimum."
        ),
        alt=(
            "Five curves on a logarithmic scale. The points of the constant step fall and then jump up and down in a band. Their average "
            "sinks slowly, lies above the band and passes below the line of the bound in the second half; the best of them lies below "
            "the band. The points of the decaying step jump as well, but sink, and end lowest."
        ),
    )


def zigzag() -> str:
    """Draw the paths of exact line search and of the heavy ball in a narrow valley."""
    p = dv.problems.quadratic(np.diag([1.0, 10.0]))
    start = np.array([10.0, 1.0])
    searched = dv.steepest_descent(p.gradient, start, 14, p.args, value=p.value, search="exact")
    root = (np.sqrt(10) - 1) / (np.sqrt(10) + 1)
    rolled = dv.momentum(p.gradient, start, 4 / (np.sqrt(10) + 1) ** 2, 14, p.args, beta=root**2, value=p.value)
    x, y = np.meshgrid(np.linspace(-1.5, 10.6, 200), np.linspace(-1.8, 1.5, 160))
    fig, ax = new(height=2.7)
    ax.contour(x, y, (x**2 + 10 * y**2) / 2, levels=[0.5, 3, 9, 20, 36, 56], colors=MUTED, linewidths=0.6)
    ax.plot(*searched.iterates.T, "o-", color=BLUE, markersize=3, linewidth=1.1, label="exact line search")
    ax.plot(*rolled.iterates.T, "o-", color=ORANGE, markersize=3, linewidth=1.1, label="heavy ball")
    ax.grid(False)
    ax.set_xlabel("$w_1$")
    ax.set_ylabel("$w_2$")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return figure(
        fig,
        label="figure-zigzag",
        caption=(
            r"Fourteen steps on $\frac12 (w_1^2 + 10 w_2^2)$ from $(10, 1)$, with the entries of $w$ as axes (the second one stretched). "
            r"With exact line search each step is at right angles to "
            rf"the one before, and $f$ falls by the factor {(9 / 11) ** 2:.3f} every time, from 55 to {searched.values[-1]:.2g}. The heavy "
            r"ball of [@heavy-ball] zigzags as well, at first even wider, but it moves on faster along the valley: $f$ falls to "
            rf"{rolled.values[-1]:.5f}."
        ),
        alt=(
            "Two paths on elliptic level lines. The line search zigzags down the valley in ever smaller teeth and is still on its way; "
            "the heavy ball zigzags in fewer and wider teeth and has arrived."
        ),
    )


def acceleration() -> str:
    """Draw the gap against T on the hard quadratic for three methods, and the least that any method can have."""
    steps = np.unique(np.round(np.geomspace(1, 100, 22)).astype(int))
    p = dv.problems.nesterov_quadratic(201)
    options = {"args": p.args, "value": p.value, "keep": "last"}
    plain = dv.gradient_descent(p.gradient, p.w0, 1.0, 100, **options).values[steps] - p.f_star
    fast = dv.nesterov(p.gradient, p.w0, 1.0, 100, **options).values[steps] - p.f_star
    best = [
        dv.nesterov(p.gradient, p.w0, 1.0, int(T), beta="optimized", **options).values[-1] - p.f_star for T in steps
    ]
    floor = [dv.problems.nesterov_quadratic(int(T)).f_star - p.f_star for T in steps]
    assert all(np.all(np.array(gap) >= floor) for gap in (plain, fast, best))
    fig, ax = new()
    for gap, colour, text in (
        (plain, BLUE, "gradient descent"),
        (fast, ORANGE, "Nesterov"),
        (best, GREEN, "optimized"),
    ):
        ax.loglog(steps, gap, "o-", color=colour, markersize=3, label=text)
    ax.loglog(steps, floor, color=PURPLE, linestyle="--", label="no method is below")
    ax.set_xlabel("$T$")
    ax.set_ylabel(r"gap after $T$ steps")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return figure(
        fig,
        label="figure-acceleration",
        caption=(
            r"The quadratic of [@smooth-lower-bound] in 201 dimensions, $L = 1$. The dashed line is the least value with $T$ nonzero "
            rf"coordinates, which no method of the class can get below. After 100 steps Nesterov's method is {plain[-1] / fast[-1]:.1f} "
            rf"times lower than gradient descent, and {fast[-1] / floor[-1]:.1f} times above the dashed line."
        ),
        alt=(
            "A log-log plot of the gap against the number of steps. Gradient descent falls slowest, Nesterov's and the optimized "
            "method bend down more steeply, and a dashed line below all of them marks what no method can reach."
        ),
    )
