"""The figures that move of the front page and of the chapter on gradient descent as a proximal step."""

import warnings

import numpy as np
from figures.drawing import BLUE, GREEN, INK, MUTED, ORANGE, RED, new
from figures.moving import Control, Moving

import derivable as dv

L = 1.3  # of the function below: the second derivative of softplus(2u) is at most 1, that of 0.15 u^2 is 0.3


def function(u):
    """Return the function of the figure."""
    return dv.softplus(2 * u) - 0.9 * u + 0.15 * u**2


def slope(u):
    """Return its derivative."""
    return 2 * dv.sigmoid(2 * u) - 0.9 + 0.3 * u


def proximal() -> str:
    """Move lambda and the start; see where the proximal step lands, and what the theorem promised."""
    u = np.linspace(-3, 3.6, 200)
    fig, ax = new(height=3.5)
    ax.plot(u, function(u), color=INK, label="$f$")
    ax.plot([], [], color=MUTED, linestyle="--", label="linear model at $w$")
    ax.plot([], [], color=BLUE, label="model + proximity")
    ax.set_xlim(-3, 3.6)
    ax.set_ylim(-2.2, 5.4)
    ax.set_xlabel("$u$")
    ax.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1.0))
    moving = Moving(
        fig,
        [
            Control(
                "start", "start $w$", [-2.5, -2.0, -1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0], 8, "{:g}".format
            ),
            Control(
                "trust",
                r"price $\lambda$",
                [0.4, 0.5, 0.65, 0.8, 1.0, 1.3, 1.6, 2.0, 2.6, 4.0, 6.5, 10.0],
                7,
                "{:g}".format,
            ),
        ],
    )
    line = moving.line(ax, MUTED, dashes="5 4")
    model = moving.parabola(ax, BLUE)
    drop = moving.line(ax, BLUE, width=1, dashes="1.5 2.5")
    low, landed, start = moving.dots(ax, BLUE), moving.dots(ax, ORANGE, 6), moving.dots(ax, INK)
    ends = np.array([-3, 3.6])
    for at in moving.positions():
        w, lam = at.start, at.trust
        g, here = slope(w), function(w)
        end = dv.proximal_step(g, w, lam)
        there = function(end)

        def tangent(v, w=w, g=g, here=here):
            return here + g * (v - w)

        def bent(v, w=w, lam=lam, tangent=tangent):
            return tangent(v) + lam / 2 * (v - w) ** 2

        reach = np.sqrt(2 * 9 / lam)  # the parabola is drawn 9 high on both sides of its lowest point
        moving.put(line, ends, tangent(ends))
        left, right = end - reach, end + reach
        middle = bent(left) + (lam * (left - end)) * reach  # where the tangents of both ends meet
        moving.put(model, [left, end, right], [bent(left), middle, bent(right)])
        moving.put(drop, [end, end], [bent(end), there])
        moving.put(low, [end], [bent(end)])
        moving.put(landed, [end], [there])
        moving.put(start, [w], [here])
        eta = 1 / lam
        bound = -eta * (1 - eta * L / 2) * g**2
        moving.say("eta", r"step size $\eta = 1/\lambda$", f"{eta:.3f}")
        moving.say("end", "$w^{+}$", f"{end:.3f}")
        moving.say("change", "$f(w^{+}) - f(w)$", f"{there - here:.4f}")
        moving.say("bound", "promised: at most", f"{bound:.4f}")
    return moving.html(
        label="moving-proximal",
        caption=(
            r"The function is $f(u) = \ln(1 + e^{2u}) - 0.9\,u + 0.15\,u^2$. Move $\lambda$: the bowl around $w$ narrows or widens, and its lowest point (blue) is the next point; the orange "
            r"dot is where $f$ is then. With $\lambda \ge L = 1.3$ the bowl lies above $f$ and each step goes down at least as far "
            r"as [@sufficient-decrease] promises. Below $L/2 = 0.65$ the promise is none: its bound is positive."
        ),
        alt=(
            "A convex curve f, its tangent at the start w = 2, and the parabola of the tangent plus the proximity term with "
            f"lambda = 2. The lowest point of the parabola is at {dv.proximal_step(slope(2.0), 2.0, 2.0):.2f}, and f is lower "
            "there than at w. A smaller lambda makes the parabola wider and the step longer."
        ),
    )


MU, STEEP, STEPS = 1.0, 8.0, 20
STARTS = [(-2.6, 0.9), (-2.6, 0.3), (-1.5, -0.9), (0.0, 0.9), (2.6, 0.0)]


def run_on_front(scale: float, start: tuple[float, float]):
    """Run gradient descent on the quadratic of the front page, with a step of `scale` over L."""
    p = dv.problems.quadratic(np.diag([MU, STEEP]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dv.DivergenceWarning)  # the figure goes beyond 2/L on purpose
        return dv.gradient_descent(p.gradient, start, scale / p.L, STEPS, p.args, value=p.value)


def front() -> str:
    """Move the step size and the start of gradient descent in a valley."""
    x, y = np.meshgrid(np.linspace(-3, 3, 200), np.linspace(-1.5, 1.5, 140))
    fig, ax = new(height=2.9)
    ax.contour(
        x, y, (MU * x**2 + STEEP * y**2) / 2, levels=[0.1, 0.5, 1.2, 2.2, 3.6, 5.4, 8], colors=MUTED, linewidths=0.6
    )
    ax.plot(0, 0, "+", color=GREEN, markersize=9)
    ax.set_xlim(-3, 3)
    ax.set_ylim(-1.5, 1.5)
    ax.grid(False)
    ax.set_xlabel("$w_1$")
    ax.set_ylabel("$w_2$")
    scales = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.78, 1.9, 2.0, 2.05]
    moving = Moving(
        fig,
        [
            Control("start", "start", STARTS, 0, lambda at: f"({at[0]:g}, {at[1]:g})"),
            Control("step", r"step size $\eta$", scales, 9, lambda scale: f"{scale:g}/L"),
        ],
    )
    path, points, end = moving.line(ax, BLUE, 1.1), moving.dots(ax, BLUE, 4), moving.dots(ax, RED, 6)
    for at in moving.positions():
        run = run_on_front(at.step, at.start)
        moving.put(path, *run.iterates.T)
        moving.put(points, *run.iterates.T)
        moving.put(end, *run.iterates[-1:].T)
        # On a quadratic each step multiplies the part of w along an eigenvector by 1 - eta times the eigenvalue.
        factor = max(abs(1 - at.step * MU / STEEP), abs(1 - at.step))
        moving.say("value", f"$f$ after {STEPS} steps", f"{run.values[-1]:.2e}")
        moving.say("bound", "at most", f"{factor ** (2 * STEPS) * run.values[0]:.2e}")
    return moving.html(
        label="moving-front",
        caption=(
            rf"{STEPS} steps of gradient descent on $\frac12(w_1^2 + 8 w_2^2)$. Move the step size: small steps creep, steps of more "
            r"than $1/L$ leap across the valley and are faster for a while, and beyond $2/L$ they leave it. The bound beside the "
            r"value is $c^{40} f(w_1)$ with $c = \max(|1 - \eta\mu|, |1 - \eta L|)$, $L = 8$ and $\mu = 1$: each step multiplies the "
            r"part of $w$ along an axis by $1 - \eta$ times that axis's curvature."
        ),
        alt=(
            "Elliptic level lines of a valley and the path of gradient descent with step size 1/L. It drops to the valley's "
            f"floor in one step and then creeps along it; after {STEPS} steps f is {run_on_front(1.0, STARTS[0]).values[-1]:.2g}."
        ),
    )
