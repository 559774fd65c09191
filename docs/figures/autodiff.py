"""The figures and tables of the chapter on automatic differentiation."""

import math

import numpy as np
from figures.drawing import BLUE, GREEN, INK, MUTED, ORANGE, figure, new

import derivable as dv
from derivable.autodiff.drawing import Graph
from derivable_book.extension import inline


def source_problem(w1, w2):
    """Return the two functions of the chapter's problem."""
    return np.cos(w1) * np.cos(w2) + dv.sigmoid(w2), np.log(w1 + w2) + w1**2 * w2


source_problem.__name__ = "f"


def _graph() -> Graph:
    return dv.trace(source_problem, 1.0, 2.0)


def _drawing(svg: str, label: str, caption: str, width: float, least: int = 0) -> str:
    """Frame a drawing; on a narrow screen one wider than `least` pixels scrolls instead of shrinking further."""
    if least:
        svg = svg.replace("max-width:100%", f"max-width:100%;min-width:{least}px")
        svg = f'<div style="overflow-x:auto" tabindex="0" role="group" aria-label="the drawing scrolls">{svg}</div>'
    return (
        f'<figure id="{label}" class="drawing" style="--fig-width: {width:g}in">{svg}'
        f"<figcaption>{inline(caption)}</figcaption></figure>"
    )


def _table(text: str) -> str:
    """Turn a Markdown table into HTML."""
    rows = [[inline(cell.strip()) for cell in line.strip().strip("|").split("|")] for line in text.splitlines()]
    head = "".join(f"<th>{cell}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows[2:])
    return (
        f'<div class="md-typeset__scrollwrap"><div class="md-typeset__table"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></div>"
    )


def graph() -> str:
    """Draw both functions with their values."""
    return _drawing(
        _graph().svg(),
        "autodiff-graph",
        "The computation graph of $f_1$ and $f_2$ at $(1, 2)$. Each edge carries the value that flows down it. "
        "Both variables feed both results.",
        5.2,
        least=560,
    )


def backward(output: int) -> str:
    """Draw one function with its adjoints."""
    words = (
        "Backwards through $f_1$. At the tail of an edge stands, in green, the value that it carries down; at its head, in "
        "orange, what its lower end sends up: adjoint times partial derivative. Beside an input stands its adjoint. What "
        "arrives at $w_2$, $-0.4913$ and $0.105$, adds up to "
        "$\\partial f_1/\\partial w_2 = -0.3863$.",
        "Backwards through $f_2$. At $w_1$ arrive $\\frac13$ from the logarithm and $4$ from the square: "
        "$\\partial f_2/\\partial w_1 = \\frac{13}{3}$.",
    )
    return _drawing(
        _graph().svg(output), f"autodiff-backward-{output + 1}", words[output], 4.2, least=440 * (output == 0)
    )


def table(mode: str, output: int = 0) -> str:
    """Print the steps at (1, 2)."""
    return _table(_graph().table(mode, output, digits=4))


def step_errors() -> str:
    """Draw the error of three numerical derivatives of e^x at 1 over the step."""
    h = 10.0 ** np.linspace(-16, -0.5, 311)
    e = math.e
    forward = np.abs((np.exp(1 + h) - e) / h - e) / e
    central = np.abs((np.exp(1 + h) - np.exp(1 - h)) / (2 * h) - e) / e
    complex_ = np.array([abs(dv.complex_step(np.exp, 1.0, float(s)) - e) / e for s in h])
    u = np.finfo(float).eps
    fig, ax = new(height=3.6)
    ax.loglog(h, forward, color=BLUE, lw=0.9, label="forward")
    ax.loglog(h, central, color=ORANGE, lw=0.9, label="central")
    ax.loglog(h, np.maximum(complex_, 1e-17), color=GREEN, label="complex step")
    ax.loglog(h, h / 2 + 2 * u / h, color=MUTED, lw=0.9, ls="--", label="bounds")
    ax.loglog(h, h**2 / 6 + u / h, color=MUTED, lw=0.9, ls="--")
    for best, bound in ((2 * u**0.5, 2 * u**0.5), ((3 * u) ** (1 / 3), 1.5 * (3 * u) ** (2 / 3) / 3)):
        ax.plot(best, bound, "o", color=INK, ms=4)
    ax.set(xlabel="step $h$", ylabel="relative error", ylim=(5e-18, 3))
    ax.legend(loc="lower left", ncols=2, bbox_to_anchor=(0, 0.1))  # above the error of the complex step
    return figure(
        fig,
        label="autodiff-step-errors",
        caption=(
            "The derivative of $e^x$ at 1. From the right the truncation error falls with slope 1 (forward) or 2 "
            "(central), until rounding takes over and grows like $1/h$. The truncation error of the complex step is as "
            "large as the central one, $h^2/6$, so the two curves run together there. The dots are the best steps of "
            "[@best-step]. The complex step has no rounding to fear: at small $h$ it is right to the last bit, "
            "or within one (an error of 0 is drawn at $10^{-17}$)."
        ),
        alt=(
            "Relative error of three numerical derivatives over the step h, both axes logarithmic. Forward differences "
            "reach about 1e-8 near h = 1e-8, central differences about 1e-11 near h = 1e-5; both get worse on either "
            "side. The error of the complex step falls to zero and stays there."
        ),
    )


def _loss(w):
    return np.sum(np.logaddexp(0, w**2 - 1)) + w[0] * w[1]


def _loss_gradient(w):
    g = 2 * w / (1 + np.exp(1 - w**2))
    g[0] += w[1]
    g[1] += w[0]
    return g


def taylor_remainders() -> str:
    """Draw the Taylor remainder of a right and of a wrong gradient."""
    w = np.array([0.4, -1.1, 0.7])
    right = dv.check_gradient(_loss, _loss_gradient, w)
    wrong = dv.check_gradient(_loss, lambda w: _loss_gradient(w) * np.array([1, 1.01, 1]), w, raises=False)
    fig, ax = new(height=3.4)
    for found, colour, name in ((right, BLUE, "right gradient"), (wrong, ORANGE, "one entry wrong by 1 %")):
        for k, row in enumerate(found.remainders):
            ax.loglog(found.steps, np.maximum(row, 1e-17), ".-", color=colour, lw=1, label=name if k == 0 else None)
    ax.set(xlabel="step $h$", ylabel="remainder")
    ax.legend()
    return figure(
        fig,
        label="autodiff-taylor-remainders",
        caption=(
            "The Taylor remainder in three random directions. With the right gradient it falls with slope "
            f"{np.mean(right.slopes):.2f}, until it is all rounding; with one entry wrong by one per cent the slope "
            f"turns to {np.mean(wrong.slopes):.2f}."
        ),
        alt=(
            "Remainders over the step h, both axes logarithmic. Three curves of the right gradient fall two decades "
            "for each decade of h down to 1e-16. Three curves of a wrong gradient bend at h = 1e-2 and then fall only "
            "one decade for each decade."
        ),
    )


def _schedule(length: int, snapshots: int) -> list[tuple[str, int, int]]:
    """Return the moves (advance or reverse, from, to) that reverse a chain with few repeats."""
    moves: list[tuple[str, int, int]] = []

    def repeats(steps: int, s: int) -> int:
        r = 0
        while math.comb(s + r, s) < steps:
            r += 1
        return r

    def reverse(start: int, stop: int, s: int) -> None:
        if stop - start == 1:
            moves.append(("reverse", stop, start))
        elif s == 1:
            for end in range(stop, start, -1):
                if end - 1 > start:
                    moves.append(("advance", start, end - 1))
                moves.append(("reverse", end, end - 1))
        else:
            r = repeats(stop - start, s)
            cut = max(1, stop - start - math.comb(s - 1 + r, s - 1))
            moves.append(("advance", start, start + cut))
            reverse(start + cut, stop, s - 1)
            reverse(start, start + cut, s)

    reverse(0, length, snapshots)
    return moves


def checkpoints() -> str:
    """Draw how ten steps are reversed with three snapshots."""
    length, snapshots = 10, 3
    moves = _schedule(length, snapshots)
    fig, ax = new(height=3.6)
    time, advances, counts = 0, 0, np.zeros(length, dtype=int)
    for kind, a, b in moves:
        cost = abs(b - a)
        ax.plot([time, time + cost], [a, b], color=BLUE if kind == "advance" else ORANGE, lw=1.8)
        time += cost
        if kind == "advance":
            advances += cost
            counts[a:b] += 1
    ax.plot([], [], color=BLUE, label="computed forwards")
    ax.plot([], [], color=ORANGE, label="reversed")
    ax.set(xlabel="steps of work", ylabel="place in the chain")
    ax.legend(loc="upper right")
    return figure(
        fig,
        label="autodiff-checkpoints",
        caption=(
            f"Ten steps reversed with three snapshots: {advances} steps are computed forwards beside the ten that are "
            f"reversed, and no step more than {counts.max()} times. Ten is $\\binom{{5}}{{3}}$, the most that is "
            f"possible ([@binomial-checkpointing])."
        ),
        alt=(
            "A zigzag over the amount of work. Long runs forwards to a snapshot alternate with single steps backwards; "
            "the place in the chain goes from ten down to zero."
        ),
    )
