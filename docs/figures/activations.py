"""The figures of the chapter on activation functions."""

import numpy as np
from figures.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, RED, TEAL, figure, new

import derivable as dv

STYLE = {
    "softsign": (BLUE, "-"),
    "tanh": (ORANGE, "-"),
    "sigmoid": (GREEN, "-"),
    "relu": (RED, "-"),
    "leaky_relu": (INK, ":"),
    "softplus": (PURPLE, "--"),
    "silu": (TEAL, "-."),
    "gelu": (MUTED, "--"),
}
BOUNDED, GATES = ("softsign", "tanh", "sigmoid"), ("relu", "leaky_relu", "softplus", "silu", "gelu")


def _draw(ax, names, x, which):
    for name in names:
        colour, line = STYLE[name]
        ax.plot(x, dv.ACTIVATIONS[name][which](x), color=colour, linestyle=line, label=name.replace("_", " "))
    ax.legend()


def functions() -> str:
    x = np.linspace(-5, 5, 501)
    fig, (above, below) = new(height=5.4, rows=2)
    _draw(above, BOUNDED, x, 0)
    _draw(below, GATES, np.linspace(-4, 3, 501), 0)
    above.set_xlabel("x")
    below.set_xlabel("x")
    silu, gelu = dv.silu(x).min(), dv.gelu(x).min()
    return figure(
        fig,
        label="activation-shapes",
        caption=(
            "Three functions are bounded; softsign comes to its limits most slowly. Five are not; silu and gelu dip "
            f"below zero, to {silu:.3f} and {gelu:.3f}, before they follow the line."
        ),
        alt=(
            "Above: softsign, tanh and sigmoid, three rising S-shaped curves. Softsign and tanh go from minus one to "
            f"one, sigmoid from zero to one; at x = 5 tanh is at {dv.tanh(5.0):.4f} and softsign only at "
            f"{dv.softsign(5.0):.3f}. Below: relu, leaky relu, softplus, silu and gelu, which are near zero on the "
            "left and near the line y = x on the right."
        ),
    )


def derivatives() -> str:
    x = np.linspace(-4, 4, 801)
    fig, (above, below) = new(height=5.4, rows=2)
    _draw(above, BOUNDED, x, 1)
    inner = np.linspace(-1, 1, 401)
    below.plot(inner, dv.dsoftsign(inner), color=BLUE, label="softsign'")
    below.plot(inner, dv.dtanh(inner), color=ORANGE, label="tanh'")
    left = inner[inner < 0.45]
    below.plot(left, 1 / (1 - left) ** 2, color=RED, linestyle=":", label="$1/(1 - x)^2$, wrong for $x > 0$")
    below.set_ylim(0, 2.5)
    below.legend()
    above.set_xlabel("x")
    below.set_xlabel("x")
    return figure(
        fig,
        label="softsign-kink",
        caption=(
            "The derivative of softsign is continuous and has a corner at 0, where its slope jumps from 2 to $-2$ "
            "[@softsign-second]. The wrong formula agrees on the left and leaves for its pole on the right."
        ),
        alt=(
            "Above: the derivatives of softsign, tanh and sigmoid between -4 and 4. Softsign's has a sharp peak of "
            "height one at zero, tanh's a round one of the same height, sigmoid's a round one of height a quarter. "
            "Below: the middle enlarged, with the formula one over one minus x squared: equal to softsign's "
            "derivative for negative x, and rising steeply away from it for positive x."
        ),
    )


def saturation() -> str:
    x = np.linspace(0, 20, 801)
    fig, ax = new()
    for name in BOUNDED:
        ax.semilogy(x, dv.ACTIVATIONS[name][1](x), color=STYLE[name][0], label=f"{name}'")
    ax.axhline(0.01, color=MUTED, linewidth=0.8)
    at = np.arccosh(10)
    ax.plot([9, at], [dv.dsoftsign(9.0), dv.dtanh(at)], "o", color=INK)
    ax.set_xlabel("x")
    ax.set_ylim(1e-10, 2)
    ax.legend()
    return figure(
        fig,
        label="softsign-tail",
        caption=(
            f"The derivative falls to 0.01 at $x = 9$ for softsign and at $x = {at:.2f}$ for tanh. On this scale an "
            "exponential is a straight line and softsign is not: its tail is a power."
        ),
        alt=(
            "The derivatives of softsign, tanh and sigmoid for x from 0 to 20, on a logarithmic scale. Those of tanh "
            "and sigmoid soon are straight falling lines, tanh's twice as steep. Softsign's flattens, and still is "
            f"{dv.dsoftsign(20.0):.4f} at x = 20. Two dots mark where the level 0.01 is crossed: at {at:.2f} by "
            "tanh, at 9 by softsign."
        ),
    )


def chain() -> str:
    names, layers = ("softsign", "tanh", "sigmoid", "relu"), 20
    fig, ax = new()
    ends = {}
    for name in names:
        f, df = dv.ACTIVATIONS[name]
        x, slope = 2.0, [1.0]
        for _ in range(layers):
            slope.append(slope[-1] * df(x))
            x = f(x)
        ends[name] = slope[-1]
        ax.semilogy(range(layers + 1), slope, "o-", color=STYLE[name][0], label=name)
    ax.set_xlabel("layers")
    ax.set_ylabel("$dx_n/dx_0$")
    ax.legend()
    return figure(
        fig,
        label="vanishing-gradient",
        caption=(
            "The derivative of a chain of up to 20 layers, from $x_0 = 2$ with $w = 1$, $b = 0$. Sigmoids leave "
            f"{ends['sigmoid']:.1e} of it; softsign leaves {ends['softsign']:.1e}, tanh {ends['tanh']:.1e}, relu all."
        ),
        alt=(
            "Four curves over the number of layers, from 0 to 20, on a logarithmic scale. Sigmoid's is a straight "
            f"line down to {ends['sigmoid']:.1e}. Those of softsign and tanh fall at first and then flatten, to "
            f"{ends['softsign']:.1e} and {ends['tanh']:.1e}. Relu's stays at one."
        ),
    )
