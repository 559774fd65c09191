"""The figure that moves of the chapter on networks."""

from functools import lru_cache

import numpy as np
from figures.drawing import BLUE, INK, MUTED, ORANGE, new
from figures.moving import Control, Moving

import derivable as dv

FUNCTIONS = {"ReLU": (dv.relu, dv.drelu), "tanh": (dv.tanh, dv.dtanh), "softsign": (dv.softsign, dv.dsoftsign)}
SCALES = [0.25, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0]
WIDTH, LAYERS, ROWS = 100, 30, 40


@lru_cache
def sizes(name: str, scale: float):
    """Send random rows forwards through random layers and a random gradient back; return their sizes at each layer.

    The weights have `scale` times He's standard deviation. A size is the root of the mean square.
    """
    g, dg = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    weights = [scale * np.sqrt(2 / WIDTH) * rng.normal(size=(WIDTH, WIDTH)) for _ in range(LAYERS)]
    h, back = rng.normal(size=(ROWS, WIDTH)), rng.normal(size=(ROWS, WIDTH))
    signals, slopes = [h], []
    for W in weights:
        z = signals[-1] @ W
        slopes.append(dg(z))
        signals.append(g(z))
    gradients = [back]
    for W, slope in zip(reversed(weights), reversed(slopes), strict=True):
        gradients.append((gradients[-1] * slope) @ W.T)
    return tuple([float(np.sqrt(np.mean(a**2))) for a in arrays] for arrays in (signals, gradients[::-1]))


def depth() -> str:
    """Move the size of the weights, and the activation; see a signal and a gradient live or die on their way."""
    fig, ax = new(height=3.2)
    ax.set_yscale("log")
    ax.set_xlim(0, LAYERS)
    ax.set_ylim(1e-10, 1e10)
    ax.axhline(1, color=MUTED, linestyle="--", linewidth=1)
    ax.plot([], [], color=BLUE, label="the signal, forwards")
    ax.plot([], [], color=ORANGE, label="the gradient, backwards")
    ax.set_xlabel("layer")
    ax.set_ylabel("root mean square")
    ax.legend(loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1.0))
    moving = Moving(
        fig,
        [
            Control("name", "activation", list(FUNCTIONS), 0, choice=True),
            Control("scale", "weights, in units of He's", SCALES, SCALES.index(0.7), "{:g}".format),
        ],
    )
    forwards, backwards = moving.line(ax, BLUE), moving.line(ax, ORANGE)
    ends = moving.dots(ax, INK, 5)
    layers = np.arange(LAYERS + 1)
    for at in moving.positions():
        signals, gradients = (np.maximum(s, 1e-30) for s in sizes(at.name, at.scale))
        moving.put(forwards, layers, signals)
        moving.put(backwards, layers, gradients)
        moving.put(ends, [LAYERS, 0], [signals[-1], gradients[0]])
        moving.say("signal", f"signal after {LAYERS} layers", f"{signals[-1]:.2g}")
        moving.say("gradient", "gradient that reaches the first", f"{gradients[0]:.2g}")
    signals, gradients = sizes("ReLU", 0.7)
    return moving.html(
        label="moving-depth",
        caption=(
            rf"Rows of random numbers through {LAYERS} random layers of width {WIDTH}, and a random gradient back. With ReLU and weights of "
            r"He's size both keep theirs. A factor of $a$ in the weights (and so of $a^2$ in their variance) becomes $a^{30}$ at the end. With tanh and softsign a signal "
            r"that is too large saturates instead, and the gradient pays for it or explodes."
        ),
        alt=(
            "Two curves on a logarithmic scale over the layers, for ReLU and weights of 0.7 times He's size. The signal falls from "
            f"about 1 to {signals[-1]:.1g} after {LAYERS} layers, and the gradient on its way back to {gradients[0]:.1g}."
        ),
    )
