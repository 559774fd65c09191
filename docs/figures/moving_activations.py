"""The figure that moves of the chapter on activation functions."""

import numpy as np
from figures.drawing import BLUE, INK, MUTED, ORANGE, RED, new
from figures.moving import Control, Moving

import derivable as dv

FUNCTIONS = {
    "softsign": (dv.softsign, dv.dsoftsign),
    "tanh": (dv.tanh, dv.dtanh),
    "sigmoid": (dv.sigmoid, dv.dsigmoid),
    "ReLU": (dv.relu, dv.drelu),
    "softplus": (dv.softplus, dv.dsoftplus),
    "SiLU": (dv.silu, dv.dsilu),
    "GELU": (dv.gelu, dv.dgelu),
}


def tangent() -> str:
    """Move along an activation function; see its value, its slope, and between which numbers both stay."""
    fig, (above, below) = new(height=4.4, rows=2, sharex=True)
    x = np.linspace(-6, 6, 121)
    above.set_ylim(-1.6, 3.2)
    below.set_ylim(-0.25, 1.25)
    above.set_xlim(-6, 6)
    above.set_ylabel("$g(x)$")
    below.set_ylabel("$g'(x)$")
    below.set_xlabel("$x$")
    above.plot([], [], color=BLUE, label="the function")
    above.plot([], [], color=ORANGE, label="its tangent, its derivative")
    above.plot([], [], color=MUTED, linestyle="--", label="least and greatest on $[-6, 6]$")
    above.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.48, 1.0), columnspacing=1, handlelength=1.5)
    moving = Moving(
        fig,
        [
            Control("name", "$g$", list(FUNCTIONS), 0, choice=True),
            Control("x", "$x$", [float(v) for v in np.linspace(-6, 6, 49)], 36, "{:g}".format),
        ],
    )
    curve, line, dot = moving.line(above, BLUE), moving.line(above, ORANGE, 1.2), moving.dots(above, INK, 6)
    bounds = moving.line(above, MUTED, 0.9, "4 3")
    slopes, here, limits = moving.line(below, ORANGE), moving.dots(below, INK, 6), moving.line(below, MUTED, 0.9, "4 3")
    stem = moving.line(below, RED, 1, "1.5 2.5")
    for at in moving.positions():
        g, dg = FUNCTIONS[at.name]
        value, slope = float(g(at.x)), float(dg(at.x))
        y, dy = g(x), dg(x)
        moving.put(curve, x, y)
        moving.put(line, [at.x - 1.5, at.x + 1.5], [value - 1.5 * slope, value + 1.5 * slope])
        moving.put(dot, [at.x], [value])
        moving.put(bounds, [-6, 6, np.nan, -6, 6], [y.min()] * 3 + [y.max()] * 2)
        moving.put(slopes, x, dy)
        moving.put(here, [at.x], [slope])
        moving.put(limits, [-6, 6, np.nan, -6, 6], [dy.min()] * 3 + [dy.max()] * 2)
        moving.put(stem, [at.x, at.x], [0, slope])
        moving.say("value", "$g(x)$", f"{value:.4f}")
        moving.say("slope", "$g'(x)$", f"{slope:.4f}")
        moving.say("ten", "after ten layers: at most $|g'(x)|^{10}$", f"{abs(slope) ** 10:.1e}")
    return moving.html(
        label="moving-tangent",
        caption=(
            "Choose a function and move $x$. The slope at $x$ is what a gradient is multiplied by on its way back through one unit; "
            "the last number is what ten such units leave of it. Softsign's slope falls like $1/x^2$, that of tanh and of the sigmoid "
            "exponentially, and the sigmoid's is never above $\\frac14$."
        ),
        alt=(
            f"Softsign with its tangent at x = 3, and below it the derivative. At 3 the function is {dv.softsign(3.0):g} and its "
            f"slope {dv.dsoftsign(3.0):g}; it is greatest, 1, at zero."
        ),
    )
