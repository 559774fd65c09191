"""The figures of the chapter on gradient descent as a proximal step."""

import numpy as np
from figures.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, RED, figure, new
from numba import njit

import derivable as dv


def model_and_step() -> str:
    """Draw a function, its linear model at a point, and the model with two proximity terms."""

    def f(u):
        return dv.softplus(2 * u) - 0.9 * u + 0.15 * u**2

    def slope(u):
        return 2 * dv.sigmoid(2 * u) - 0.9 + 0.3 * u

    w = 2.2
    u = np.linspace(-2.2, 3.4, 400)
    line = f(w) + slope(w) * (u - w)
    fig, ax = new(height=3.4)
    ax.plot(u, f(u), color=INK, label="$f$")
    ax.plot(u, line, color=MUTED, linestyle="--", label="linear model at $w$")
    ends = []
    for lam, colour in ((0.6, BLUE), (2.0, ORANGE)):
        step = dv.proximal_step(slope(w), w, lam)
        ends.append(step)
        ax.plot(u, line + lam / 2 * (u - w) ** 2, color=colour, label=rf"model + proximity, $\lambda = {lam:g}$")
        low = f(w) + slope(w) * (step - w) + lam / 2 * (step - w) ** 2
        ax.plot([step, step], [low, f(step)], color=colour, linewidth=0.9, linestyle=":")
        ax.plot(step, low, "o", color=colour)
        ax.plot(step, f(step), "o", color=colour, markerfacecolor="none")
    ax.plot(w, f(w), "o", color=INK)
    ax.annotate("$w$", (w, f(w)), textcoords="offset points", xytext=(7, -9))
    ax.set_ylim(-1.2, 5.2)
    ax.set_xlabel("$u$")
    ax.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.22))
    return figure(
        fig,
        label="figure-model-and-step",
        caption=(
            r"The linear model alone has no minimum. With the proximity term it has one: the filled "
            r"points, at "
            r"$w - f'(w)/\lambda$. A larger $\lambda$ trusts the model less and steps less far. The open "
            r"points show "
            r"where the two steps land on $f$; with $\lambda = 0.6$, at $u = " + f"{ends[0]:.2f}" + r"$, "
            r"the step "
            r"passes the minimum of $f$."
        ),
        alt=(
            "A convex curve f with its tangent at w = 2.2, and two parabolas that touch the curve there, "
            "one for lambda "
            f"0.6, one for lambda 2. Their lowest points are at {ends[0]:.2f} and {ends[1]:.2f}: the larger "
            "lambda gives "
            f"the shorter step."
        ),
    )


@njit
def _curved_slope(w):
    return 2 * dv.sigmoid(w) - 1  # of f(w) = 2 log(1 + exp(w)) - w, with L = 1/2


def decrease() -> str:
    """Draw the change of f by one step over the step size, for a quadratic and a function that bends less."""
    scale = np.linspace(0.01, 2.5, 120)
    L, w = 0.5, 3.0
    parabola = dv.problems.quadratic([[L]])

    def soft(u):
        return 2 * dv.softplus(u) - u

    tight, other = [], []
    for s in scale:
        end = dv.proximal_step(L * w, w, L / s)
        tight.append((L / 2 * end**2 - L / 2 * w**2) / (L * w) ** 2)
        slope = 2 * dv.sigmoid(w) - 1
        end = dv.proximal_step(slope, w, L / s)
        other.append((soft(end) - soft(w)) / slope**2)
    bound = -scale / L * (1 - scale / 2)
    assert np.allclose(bound, tight)
    assert parabola.L == L
    fig, ax = new()
    ax.axhline(0, color=MUTED, linewidth=0.8)
    ax.plot(scale, bound, color=BLUE, label="the bound; attained by the quadratic")
    ax.plot(scale, other, color=ORANGE, label=r"$2\ln(1 + e^w) - w$, from $w = 3$")
    ax.axvline(1, color=MUTED, linestyle=":", linewidth=1)
    ax.axvline(2, color=RED, linestyle=":", linewidth=1.2)
    ax.set_xlabel(r"step size $\eta$, in units of $1/L$")
    ax.set_ylabel(r"$(f(w^+) - f(w))\,/\,\|\nabla f(w)\|^2$")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=1)
    return figure(
        fig,
        label="figure-decrease",
        caption=(
            r"The change of $f$ by one step, per squared gradient. The bound of [@sufficient-decrease] is "
            r"lowest at "
            r"$1/L$ and reaches zero at $2/L$ (dotted, red). The quadratic with second derivative $L$ "
            r"lies on the bound; "
            r"a function that bends less elsewhere lies below it and would allow longer steps."
        ),
        alt=(
            "A parabola in the step size: minus one at 1/L, zero at 2/L and positive beyond. A second "
            "curve, for a function "
            "that is less bent, lies below it everywhere."
        ),
    )


def balls() -> str:
    """Draw the three unit balls, the level lines of a linear model, and its lowest point in each ball."""
    g = np.array([0.55, 1.0])
    angle = np.linspace(0, 2 * np.pi, 200)
    shapes = {
        "l2": (np.stack([np.cos(angle), np.sin(angle)]), r"$\ell_2$: the gradient's direction", BLUE),
        "linf": (np.array([[1, -1, -1, 1, 1], [1, 1, -1, -1, 1]]), r"$\ell_\infty$: the signs", ORANGE),
        "l1": (np.array([[1, 0, -1, 0, 1], [0, 1, 0, -1, 0]]), r"$\ell_1$: one coordinate", GREEN),
    }
    fig, ax = new(height=4.0)
    lowest = {}
    for norm, (edge, text, colour) in shapes.items():
        d = dv.trust_region_step(g, np.zeros(2), 1.0, norm=norm)
        lowest[norm] = g @ d
        ax.plot(*edge, color=colour, label=text)
        ax.annotate("", d, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.6})
        level = np.array([-1.9, 1.9])
        ax.plot(level, (lowest[norm] - g[0] * level) / g[1], color=colour, linestyle=":", linewidth=1)
    ax.annotate("", 0.75 * g, (0, 0), arrowprops={"arrowstyle": "-|>", "color": PURPLE, "linewidth": 1.6})
    ax.annotate("$g$", 0.75 * g, textcoords="offset points", xytext=(5, 2), color=PURPLE)
    ax.set_xlim(-1.9, 1.9)
    ax.set_ylim(-1.45, 1.25)
    ax.set_aspect("equal")
    ax.set_xlabel("$d_1$")
    ax.set_ylabel("$d_2$")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=1)
    return figure(
        fig,
        label="figure-balls",
        caption=(
            r"The lowest point of one linear model in three balls of radius 1, for $g = (0.55, 1)$. The "
            r"dotted level line "
            r"through each touches its ball there. The cube lets the model fall by "
            rf"$\lVert g\rVert_1 = {-lowest['linf']:.2f}$, the round ball by $\lVert g\rVert_2 = "
            rf"{-lowest['l2']:.2f}$, the "
            rf"$\ell_1$ ball by $\lVert g\rVert_\infty = {-lowest['l1']:.2f}$."
        ),
        alt=(
            "A circle, a square around it and a diamond inside it, all around the origin, with an arrow "
            "from the origin in "
            "each. In the circle the arrow points against the gradient, in the square to a corner, in the "
            "diamond straight "
            "down along the second coordinate."
        ),
    )


def paths() -> str:
    """Draw the paths of gradient descent with two step sizes and in a diagonal metric, on a quadratic."""
    p = dv.problems.quadratic(np.diag([1.0, 12.0]))
    start = np.array([-2.6, 0.75])
    runs = {
        r"$\eta = 1/L$": (dv.gradient_descent(p.gradient, start, 1 / p.L, 25, p.args), BLUE),
        r"$\eta = 1.9/L$": (dv.gradient_descent(p.gradient, start, 1.9 / p.L, 25, p.args), ORANGE),
        r"metric $\mathrm{diag}(1, 12)$, $\eta = 0.6$": (
            dv.gradient_descent(p.gradient, start, 0.6, 25, p.args, metric=[1.0, 12.0]),
            GREEN,
        ),
    }
    x, y = np.meshgrid(np.linspace(-3, 1, 200), np.linspace(-1, 1, 160))
    fig, ax = new(height=3.0)
    ax.contour(x, y, (x**2 + 12 * y**2) / 2, levels=[0.1, 0.5, 1.2, 2.2, 3.6, 5.4], colors=MUTED, linewidths=0.6)
    for text, (run, colour) in runs.items():
        ax.plot(*run.iterates.T, "o-", color=colour, label=text, markersize=3, linewidth=1.1)
    ax.grid(False)
    ax.set_xlabel("$w_1$")
    ax.set_ylabel("$w_2$")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3)
    left = {text: np.linalg.norm(run.last) for text, (run, _) in runs.items()}
    far = list(left.values())
    return figure(
        fig,
        label="figure-paths",
        caption=(
            r"Twenty-five steps on $\frac12 (w_1^2 + 12 w_2^2)$. The steep direction limits the step, the "
            r"flat one is then "
            rf"slow: with $\eta = 1/L$ the distance {far[0]:.2f} is left. Near $2/L$ the path jumps "
            rf"across the valley "
            rf"and still converges. In the metric of the Hessian it runs straight to the minimum."
        ),
        alt=(
            f"Three paths on elliptic level lines. With step 1/L the path drops into the valley and "
            f"creeps along it, "
            f"ending {far[0]:.2f} from the minimum. With 1.9/L it zigzags across the valley. With the "
            "diagonal metric it "
            f"is a straight line to the minimum."
        ),
    )
