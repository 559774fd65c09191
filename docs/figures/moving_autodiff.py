"""The figure that moves of the chapter on automatic differentiation."""

import numpy as np
from figures.autodiff import source_problem
from figures.drawing import BLUE, GRID, INK, MUTED, ORANGE, new
from figures.moving import Control, Moving

import derivable as dv
from derivable.autodiff.drawing import _equation

MODES = {
    "forward, tangents by w1": ("forward", 0),
    "forward, tangents by w2": ("forward", 1),
    "reverse, adjoints of f1": ("reverse", 0),
    "reverse, adjoints of f2": ("reverse", 1),
}


def plan(mode: str, which: int):
    """Return the graph, the order in which lines are visited, and each line's derivative."""
    graph = dv.trace(source_problem, 1.0, 2.0)
    nodes = graph.tape.nodes
    if mode == "forward":
        return graph, [n.index for n in nodes], graph.tape.tangents({graph.inputs[which].index: 1.0})
    out = graph.outputs[which]
    adjoints = graph.tape.adjoints(out)
    reached = {out.index}
    for node in reversed(nodes):
        if node.index in reached:
            reached |= {parent for parent, _ in node.partials}
    return graph, [n.index for n in reversed(nodes) if n.index in reached], adjoints


def rule(graph, mode: str, index: int, derivative) -> str:
    """Say how the line that has just been visited got its derivative."""
    nodes = graph.tape.nodes
    if mode == "forward":
        node = nodes[index]
        if not node.partials:
            return f"{derivative[index]:.4g}, chosen" if node in graph.inputs else "0"
        terms = [f"{_factor(slope)} · {_factor(derivative[parent])}" for parent, slope in node.partials]
    else:
        terms = [
            f"{_factor(derivative[n.index])} · {_factor(slope)}"
            for n in nodes
            for parent, slope in n.partials
            if parent == index and derivative[n.index]
        ]
        if not terms:
            return "1, chosen"
    return " + ".join(terms) + f" = {derivative[index]:.4g}"


def _factor(x: float) -> str:
    return f"({x:.4g})" if x < 0 else f"{x:.4g}"


def step() -> str:
    """Step forward or backward through the tape of the chapter's problem."""
    graph, _, _ = plan("forward", 0)
    nodes = graph.tape.nodes
    height = {n.index: len(nodes) - k for k, n in enumerate(nodes)}
    fig, ax = new(height=0.3 * len(nodes) + 0.7)
    ax.set_xlim(0, 10)
    ax.set_ylim(0.3, len(nodes) + 1.6)
    ax.axis("off")
    for x, words in ((2.0, "line"), (5.7, "value"), (8.4, "derivative")):
        ax.text(x, len(nodes) + 1.1, words, ha="center", va="center", color=MUTED)
    names = {graph.outputs[k].index: f"   (f{k + 1})" for k in range(2)}
    for n in nodes:
        ax.text(0.4, height[n.index], _equation(n) + names.get(n.index, ""), va="center", color=INK)
        ax.plot([0.2, 9.8], [height[n.index] - 0.5] * 2, color=GRID, linewidth=0.6)
    most = len(nodes)
    moving = Moving(
        fig,
        [
            Control("mode", "mode", list(MODES), 0, choice=True),
            Control("step", "lines visited", list(range(most + 1)), most),
        ],
    )
    now, from_ = moving.area(ax, ORANGE, 0.25), moving.area(ax, BLUE, 0.18)
    values = {n.index: moving.text(ax, INK, 10, 5.7, height[n.index]) for n in nodes}
    derivatives = {n.index: moving.text(ax, INK, 10, 8.4, height[n.index]) for n in nodes}
    for at in moving.positions():
        mode, which = MODES[at.mode]
        graph, order, derivative = plan(mode, which)
        moving.limit("step", len(order))
        visited = order[: at.step]
        last = visited[-1] if visited else None
        for n in nodes:
            shown = mode == "reverse" or n.index in visited  # backwards starts when all values are known
            moving.put(values[n.index], f"{n.value:.6g}" if shown else "")
            moving.put(derivatives[n.index], f"{derivative[n.index]:.6g}" if n.index in visited else "")
        if mode == "forward":
            others = [parent for parent, _ in nodes[last].partials] if last is not None else []
        else:
            others = [n.index for n in nodes if last in [p for p, _ in n.partials] and n.index in visited]
        moving.put(now, *_rows([height[last]] if last is not None else []))
        moving.put(from_, *_rows(sorted({height[i] for i in others})))
        moving.say(
            "rule", "this line's derivative", rule(graph, mode, last, derivative) if last is not None else "none yet"
        )
        ends = graph.outputs if mode == "forward" else graph.inputs
        text = ", ".join(f"{derivative[end.index]:.6g}" for end in ends)
        moving.say("result", "a column or a row of $J$", text if at.step >= len(order) else "not yet")
    jacobian = graph.jacobian
    return moving.html(
        label="moving-tape",
        caption=(
            r"The tape of $f_1$ and $f_2$ at $(1, 2)$. Choose a mode and step. Forward, each line has its value and its tangent at once, "
            r"from the lines above it (blue): one run gives a column of $J$. Reverse, the values are there already, and each line "
            r"collects its adjoint from the lines below that use it: one run gives a row."
        ),
        alt=(
            "A table of the lines of a computation with their values and tangents by w1, all visited. The tangents of the two results "
            f"are {jacobian[0, 0]:.6g} and {jacobian[1, 0]:.6g}, the first column of the Jacobian."
        ),
    )


def _rows(heights):
    """Return the corners of bars behind lines of the table."""
    x, y = [], []
    for h in heights:
        x += [0.2, 9.8, 9.8, 0.2, np.nan]
        y += [h - 0.46, h - 0.46, h + 0.46, h + 0.46, np.nan]
    return x, y
