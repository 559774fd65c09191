"""The figures of the chapter on stochastic gradient descent."""

import numpy as np
from figures.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, RED, figure, new
from numba import njit

import derivable as dv

ROWS = (np.array([2.0, -1.0]),)
pull = njit(lambda w, c: w - c)
term = njit(lambda w, c: (w - c) ** 2 / 2)


def two_draws() -> str:
    """Draw the loss after each of the two draws, and on average, against the step size."""
    sizes = np.linspace(0.005, 0.62, 60)
    looks = [dv.expected_step(pull, term, 0.0, ROWS, eta, total=True) for eta in sizes]
    after = np.array([look.after for look in looks])
    mean = np.array([look.expected for look in looks])
    fig, ax = new(height=3.2)
    ax.axhline(2.5, color=MUTED, linestyle="--", linewidth=1)
    ax.annotate("$F(0)$", (0.6, 2.5), textcoords="offset points", xytext=(0, 4), color=MUTED, ha="center")
    ax.plot(sizes, after[:, 0], color=BLUE, label="$A_1$ drawn")
    ax.plot(sizes, after[:, 1], color=RED, label="$A_2$ drawn")
    ax.plot(sizes, mean, color=INK, label="mean")
    best = looks[0].best
    ax.plot(best, 2.475, "o", color=INK)
    for x in (looks[0].limit, 0.5):
        ax.plot(x, 2.5, "o", color=INK, markerfacecolor="none")
    ax.set_xlabel(r"step size $\eta$")
    ax.set_ylabel("$F(w^{+})$")
    ax.legend(loc="upper left")
    return figure(
        fig,
        label="figure-two-draws",
        caption=(
            r"The loss after one step from $w = 0$. Drawing $A_2$ raises it whatever the step; drawing $A_1$ lowers it up to "
            r"$\eta = \frac12$. The mean is below $F(0)$ up to $\eta = \frac15$ only, and smallest at "
            rf"$\eta = {best:.1f}$: 2.475."
        ),
        alt=(
            "Three parabolas through the point F = 2.5 at step size 0. The one for the draw A2 only rises. The one for A1 "
            f"falls and is back at 2.5 at step size 0.5. Their mean falls slightly to 2.475 at {best:.1f} and is back at 2.5 at 0.2."
        ),
    )


def orders() -> str:
    """Draw the last iterates of three runs that differ in the order of the rows."""
    fig, axes = new(height=4.6, rows=3, sharex=True, sharey=True)
    spread = {}
    for ax, order, colour, name in zip(
        axes,
        ("replacement", "shuffle", "cyclic"),
        (RED, BLUE, GREEN),
        ("independent draws", "shuffled", "fixed order, $A_1$ first"),
        strict=True,
    ):
        run = dv.sgd(pull, 0.5, ROWS, step=0.1, epochs=20_000, order=order, keep="all", evaluate=40_000)
        points = run.iterates[-121:]
        spread[order] = (run.iterates[1000::2].var(), run.iterates[1000:].var())
        t = np.arange(points.size)
        ax.plot(t, points, color=colour, linewidth=0.9)
        ax.plot(t[::2], points[::2], "o", color=colour, markersize=3)
        ax.axhline(0.5, color=MUTED, linestyle="--", linewidth=1)
        ax.set_title(name, loc="left")
        ax.set_ylabel("$w_t$")
    axes[-1].set_xlabel("step (points: ends of epochs)")
    return figure(
        fig,
        label="figure-orders",
        caption=(
            r"Sixty epochs of the two-row problem at $\eta = 0.1$, long after the start. Shuffled, the ends of epochs lie close to the "
            r"minimiser $\frac12$ and the middles do not. In a fixed order the ends do not move at all, and are wrong: "
            rf"{(1 - 0.2) / 1.9:.3f}."
        ),
        alt=(
            "Three plots of iterates. Independent draws wander widely around one half, with variance "
            f"{spread['replacement'][1]:.3f}. Shuffled, the ends of epochs stay within a few hundredths of one half while the "
            "middles jump up and down. In fixed order the iterates repeat a zigzag whose ends lie at 0.421."
        ),
    )


def laws() -> str:
    """Draw histograms of the two stationary laws."""
    fig, axes = new(height=3.9, rows=2, sharex=True)
    for ax, eta, colour, name in (
        (axes[0], 1 / 2, BLUE, r"$\eta = \frac{1}{2}$: uniform"),
        (axes[1], 2 / 3, PURPLE, r"$\eta = \frac{2}{3}$: Cantor"),
    ):
        run = dv.sgd(pull, 0.3, ROWS, step=eta, steps=500_000, order="replacement", keep="all", evaluate=500_000)
        edges = np.linspace(-1, 2, 3**5 + 1)
        counts = np.histogram(run.iterates[100:], edges)[0]
        ax.stairs(counts / counts.sum() * 3**5 / 3, edges, fill=True, color=colour)
        ax.set_title(name, loc="left")
        ax.set_ylabel("density")
    axes[1].set_xlabel("$w$")
    return figure(
        fig,
        label="figure-laws",
        caption=(
            r"Half a million iterates of the same method on the same two rows, in 243 bins. With $\eta = \frac12$ every place between "
            r"$-1$ and 2 is equally likely. With $\eta = \frac23$ the middle third is never visited, nor the middle thirds of what "
            r"is left."
        ),
        alt=(
            "Two histograms on the interval from minus 1 to 2. The first is flat at one third. The second consists of 32 "
            "narrow spikes of about equal height, arranged as a Cantor set, with gaps of all sizes between them."
        ),
    )


def rates() -> str:
    """Draw the mean squared distance along runs with constant and falling steps, and of averages."""
    T, sigma2, far = 20_000, 9 / 4, 25.0
    t = np.arange(1, T + 1)
    fig, ax = new(height=3.4)
    falling = dv.schedules.inverse(2 / 3, decay=1 / 3)
    for eta, colour, name in (
        (lambda t: 0.3, RED, r"$\eta = 0.3$"),
        (lambda t: 0.01, ORANGE, r"$\eta = 0.01$"),
        (falling, BLUE, r"$\eta_t = 2/(t+2)$"),
    ):
        distance, seen = far, []
        for k in range(1, T + 1):
            size = eta(k)
            distance = (1 - size) ** 2 * distance + size**2 * sigma2
            seen.append(distance)
        ax.loglog(t, seen, color=colour, label=name)
    runs = np.array(
        [
            dv.sgd(pull, 5.5, ROWS, step=0.3, steps=T, order="replacement", seed=s, keep="all", evaluate=T).iterates
            for s in range(200)
        ]
    )
    means = np.cumsum(runs[:, :-1], axis=1) / t
    ax.loglog(t, ((means - 0.5) ** 2).mean(axis=0), color=GREEN, label=r"average, $\eta = 0.3$")
    ax.loglog(t, sigma2 / t, color=MUTED, linestyle="--", linewidth=1, label=r"$\sigma^2/t$")
    ax.set_ylim(5e-5, 60)
    ax.set_xlabel("step $t$")
    ax.set_ylabel(r"mean squared distance to $w^\star$")
    ax.legend(loc="lower left")
    return figure(
        fig,
        label="figure-rates",
        caption=(
            r"The mean squared distance in the two-row problem from $w_1 = 5.5$. A constant step falls fast to its floor: the larger the "
            r"step, the sooner and the higher. The falling step and the average of a constant-step run go on like $1/t$; the average "
            r"reaches the dashed line."
        ),
        alt=(
            "A log-log plot. The curve for step 0.3 drops to 0.4 within ten steps and stays. The one for 0.01 drops to 0.011 after "
            "about four hundred steps and stays. The falling step and the average decrease as one over t without end, "
            "the average along the line sigma squared over t."
        ),
    )
