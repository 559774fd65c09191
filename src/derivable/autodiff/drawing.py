"""The graph of a computation: its steps as a table, and as a drawing with the values on the edges."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np

from derivable.autodiff.overloading import PARTIALS
from derivable.autodiff.tape import Node, Tape
from derivable.validation import check_choice, check_count

__all__ = ["Graph", "trace"]

INFIX = {"add": "+", "subtract": "-", "multiply": "·", "divide": "/", "power": "^"}
WORDS = {"expit": "sigmoid", "absolute": "abs"}


def trace(f: Callable[..., Any], *args: Any) -> Graph:
    """Run a function once and return the graph of its computation, which draws itself.

    Args:
        f: a function of numbers and arrays, written with operators and NumPy's functions.
        *args: where to run it; an array becomes one variable for each element.

    Returns:
        The graph: `.table()` prints its steps, `.svg()` draws it (a notebook does so by itself).

    Raises:
        TypeError: if an argument is not numeric, or `f` returns something that does not depend on its
            arguments.

    Examples:
        ```python
        import derivable as dv
        import numpy as np

        graph = dv.trace(lambda x, y: np.sin(x) * y, 0.0, 3.0)
        print(graph.table("reverse"))
        #> | line | adjoint | sends back |
        #> |---|---|---|
        #> | v2 = v1 · y | 1 | to v1: 1 · 3 = 3; to y: 1 · 0 = 0 |
        #> | v1 = sin(x) | 3 | to x: 3 · 1 = 3 |
        #> | y | 0 |  |
        #> | x | 3 |  |
        ```
    """
    tape = Tape()
    variables = [tape.variable(_number(a, name), name) for a, name in zip(args, _names(f, args), strict=True)]
    inputs = [node for v in variables for node in (v.flat if isinstance(v, np.ndarray) else [v])]
    out = f(*variables)
    name = getattr(f, "__name__", "f").replace("<lambda>", "f")
    several = isinstance(out, (tuple, list, np.ndarray))
    outputs = list(np.asarray(out, dtype=object).flat) if several else [out]
    for i, node in enumerate(outputs):
        if not tape.holds(node):
            which = f"result {i} of f" if several else "the result of f"
            raise TypeError(f"{which} does not depend on its arguments: it is {node!r}")
    return Graph(tape, inputs, outputs, [f"{name}{i + 1}" for i in range(len(outputs))] if several else [name])


class Graph:
    """Hold the graph of a computation: variables, elementary operations, results.

    Attributes:
        tape: the lines in the order in which they were computed.
        inputs: the variables.
        outputs: the results, lines of the tape.
        output_names: their names in tables and drawings.
    """

    def __init__(self, tape: Tape, inputs: list[Node], outputs: list[Node], output_names: list[str]) -> None:
        self.tape, self.inputs, self.outputs, self.output_names = tape, inputs, outputs, output_names

    @property
    def jacobian(self) -> np.ndarray:
        """The derivative of each result by each variable, by one backward pass for each result."""
        return np.array([self.tape.gradient(output, tuple(self.inputs)) for output in self.outputs], dtype=float)

    def table(self, mode: str = "values", output: int = 0, digits: int = 6) -> str:
        """Return the steps as a Markdown table.

        Args:
            mode: "values" (each line and its value), "forward" (also each line's partial derivatives, and its
                tangents: its derivative by each variable, computed downwards) or "reverse" (from the last
                    line to
                the first, each line's adjoint: the derivative of the result by it, and what it sends back).
            output: which result to differentiate in mode "reverse".
            digits: how many significant digits to print.

        Returns:
            The table.
        """
        check_choice(mode, "mode", ("values", "forward", "reverse"))
        if mode == "reverse":
            header, rows = ["line", "adjoint", "sends back"], self._reverse_rows(self._output(output), digits)
        else:
            header = ["line", "value"]
            rows = [[_equation(node), _text(node.value, digits)] for node in self.tape.nodes]
            if mode == "forward":
                header += ["partial derivatives", *(f"tangent by {v.name}" for v in self.inputs)]
                tangents = [self.tape.tangents({v.index: 1.0}) for v in self.inputs]
                for node, row in zip(self.tape.nodes, rows, strict=True):
                    row += [
                        "; ".join(_partial_texts(node, digits)),
                        *(_text(t[node.index], digits) for t in tangents),
                    ]
        lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
        return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])

    def _reverse_rows(self, output: Node, digits: int) -> list[list[str]]:
        adjoints, rows = self.tape.adjoints(output), []
        for node in reversed(self.tape.nodes[: output.index + 1]):
            if node.index != output.index and not self._reaches(output)[node.index]:
                continue
            adjoint = _text(adjoints[node.index], digits)
            sent = [
                f"to {self.tape.nodes[parent].name}: {_factor(adjoint)} · {_factor(_text(slope, digits))} = "
                f"{_text(adjoints[node.index] * slope, digits)}"
                for parent, slope in node.partials
            ]
            rows.append([_equation(node), adjoint, "; ".join(sent)])
        return rows

    def _output(self, output: int) -> Node:
        check_count(output, "output", least=0)
        if output >= len(self.outputs):
            raise ValueError(f"output must be less than the number of results, {len(self.outputs)}, got {output}")
        return self.outputs[output]

    def _reaches(self, output: Node) -> list[bool]:
        """Say of each line whether `output` depends on it."""
        reaches = [False] * len(self.tape.nodes)
        reaches[output.index] = True
        for node in reversed(self.tape.nodes):
            for parent, _ in node.partials:
                reaches[parent] |= reaches[node.index]
        return reaches

    def describe(self, output: int | None = None, digits: int = 4) -> str:
        """Return the drawing in words."""
        parts = [f"{_equation(n)}{' is' if not n.operation else ','} {_text(n.value, digits)}" for n in self.tape.nodes]
        text = f"Computation graph of {', '.join(self.output_names)}. Forwards: {'; '.join(parts)}."
        if output is None and len(self.outputs) == 1:
            output = 0
        if output is not None:
            rows = self._reverse_rows(self._output(output), digits)
            back = [f"{row[0].split(' = ')[0]} has adjoint {row[1]}" for row in rows]
            text += f" Backwards from {self.output_names[output]}: {'; '.join(back)}."
        return text

    def svg(self, output: int | None = None, digits: int = 4) -> str:
        """Draw the graph, inputs above and results below.

        An edge carries the value that flows down it and, where a result is chosen, what flows back up it: the
        adjoint of its lower end times the partial derivative. What arrives at a node from below adds up to
        the node's adjoint. The colours are the CSS variables `--dv-forward`, `--dv-backward`, `--dv-ground`
        and `currentColor`; the drawing in words is its text alternative.

        Args:
            output: the result whose adjoints to show, with the part of the graph on which it depends. By
                default the only one; where there are several, the whole graph without adjoints.
            digits: how many significant digits to print.

        Returns:
            An SVG element.

        Raises:
            ValueError: if the graph has more than 200 lines.
        """
        if len(self.tape.nodes) > 200:
            raise ValueError(f"a drawing of {len(self.tape.nodes)} lines cannot be read (at most 200); print table()")
        if output is None and len(self.outputs) == 1:
            output = 0
        chosen = None if output is None else self._output(output)
        return _draw(self, chosen, self.describe(output, digits), digits)

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        names = ", ".join(v.name for v in self.inputs)
        return f"Graph({names} -> {', '.join(self.output_names)}, {self.tape.steps} operations)"


# ------------------------------------------------------------------------------------------------------- text


def _number(value: Any, name: str) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in "iufcO":
        raise TypeError(f"{name} must be numeric, got {type(value).__name__}")
    return array.astype(np.float64) if array.dtype.kind in "iu" and array.ndim else value


def _names(f: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [plain[i] if i < len(plain) else f"x{i + 1}" for i in range(len(args))]


def _text(value: Any, digits: int) -> str:
    text = f"{value:.{digits}g}" if not hasattr(value, "level") else repr(value)
    return "0" if text == "-0" else text


def _factor(text: str) -> str:
    return f"({text})" if text.startswith("-") else text


def _operand(x: Any) -> str:
    return x.name if isinstance(x, Node) else _factor(_text(x, 6))


def _expression(node: Node) -> str:
    operands = [_operand(x) for x in node.inputs]
    if node.operation in INFIX:
        symbol = INFIX[node.operation]
        return (symbol if symbol == "^" else f" {symbol} ").join(operands)
    if node.operation == "negative":
        return f"-{operands[0]}"
    return f"{WORDS.get(node.operation, node.operation)}({', '.join(operands)})"


def _equation(node: Node) -> str:
    return f"{node.name} = {_expression(node)}" if node.operation else node.name


def _partial_texts(node: Node, digits: int) -> list[str]:
    """Write out the partial derivatives of a line, in letters and in numbers."""
    names = dict(zip(("x", "y"), map(_operand, node.inputs), strict=False)) | {"out": node.name}
    texts, partials = [], iter(node.partials)
    for i, x in enumerate(node.inputs):
        if isinstance(x, Node) and x.tape is node.tape:
            letters = re.sub(r"\b(x|y|out)\b", lambda m: names[m[1]], PARTIALS[node.operation][i])
            letters = letters.replace(" ** ", "^").replace(" * ", "·")
            if node.operation == "power" and not isinstance(node.inputs[1], Node):
                exponent = node.inputs[1] - 1
                letters = f"{names['y']}·{names['x']}" + (f"^{_operand(exponent)}" if exponent != 1 else "")
            number = _text(next(partials)[1], digits)
            plain = re.fullmatch(r"-?[\d.]+", letters)
            texts.append(f"by {x.name}: {number if plain else f'{letters} = {number}'}")
    return texts


# ---------------------------------------------------------------------------------------------------- drawing

CHARACTER, BOX, GAP_X, GAP_Y, MARGIN = 7.8, 30, 26, 78, 12
STYLE = (
    ".dv-graph{font:13px ui-monospace,Menlo,Consolas,monospace;"
    "--f:var(--dv-forward,var(--fig-green,#1f7a35));--b:var(--dv-backward,var(--fig-orange,#b83a06))}"
    "[data-md-color-scheme=slate] .dv-graph,[data-jp-theme-light=false] .dv-graph,"
    "[data-theme=dark] .dv-graph"
    "{--f:var(--dv-forward,var(--fig-green,#69db7c));--b:var(--dv-backward,var(--fig-orange,#ff922b))}"
    ".dv-graph text{fill:currentColor;stroke:var(--dv-ground,var(--md-default-bg-color,Canvas));"
    "stroke-width:4px;paint-order:stroke;stroke-linejoin:round}"
    ".dv-graph rect{fill:none;stroke:currentColor;stroke-width:1.2}"
    ".dv-graph path{fill:none;stroke:currentColor;stroke-opacity:.55}"
    ".dv-graph .dv-arrow{fill:currentColor;fill-opacity:.55;stroke:none}"
    ".dv-graph .dv-forward{fill:var(--f)}"
    ".dv-graph .dv-backward{fill:var(--b)}"
)


def _draw(graph: Graph, chosen: Node | None, words: str, digits: int) -> str:
    kept = graph._reaches(chosen) if chosen is not None else [True] * len(graph.tape.nodes)
    nodes = [node for node in graph.tape.nodes if kept[node.index]]
    place = {node.index: v for v, node in enumerate(nodes)}
    adjoints = graph.tape.adjoints(chosen) if chosen is not None else []
    results = [(o, n) for o, n in zip(graph.outputs, graph.output_names, strict=True) if chosen in (None, o)]

    # Vertices: the lines, then the results. Edges: from, to, value down, value back up (or nothing).
    labels = [_equation(node) for node in nodes] + [name for _, name in results]
    edges: list[tuple[int, int, str, str]] = []
    for node in nodes:
        for parent, slope in node.partials:
            up = _text(adjoints[node.index] * slope, digits) if adjoints else ""
            edges.append((place[parent], place[node.index], _text(graph.tape.nodes[parent].value, digits), up))
    for k, (out, _) in enumerate(results):
        edges.append((place[out.index], len(nodes) + k, _text(out.value, digits), "1" if adjoints else ""))

    # A box is as wide as its text, and as the values at its ports side by side.
    widths, rooms = {}, {}
    for v, label in enumerate(labels):
        here = [[e[2] for e in edges if e[0] == v], [e[3] for e in edges if e[1] == v]]
        room = [CHARACTER * max(map(len, side), default=0) + 16 for side in here]
        ports = [(len(side) - 1) * max(room_, 36) + 16 for side, room_ in zip(here, room, strict=True)]
        widths[v] = max(len(label) * CHARACTER + 16, 60, *ports)
        rooms[v] = room
    totals = {v: _text(adjoints[node.index], digits) for v, node in enumerate(nodes) if adjoints and not node.operation}
    spans = {v: w + (2 * CHARACTER * len(totals[v]) if v in totals else 0) for v, w in widths.items()}
    for v in range(len(labels)):  # the values at the ports stand to their right and need room there
        spans[v] = max(
            spans[v], widths[v] + 2 * CHARACTER * max([len(e[3]) for e in edges if e[1] == v], default=0) - 60
        )

    rows, routes = _layers(len(labels), [(a, b) for a, b, _, _ in edges], range(len(nodes), len(labels)))
    x = _columns(rows, routes, spans)
    y = {v: MARGIN + i * (BOX + GAP_Y) for i, row in enumerate(rows) for v in row}
    left = min(x[v] - spans.get(v, 0) / 2 for v in x) - MARGIN
    width = max(x[v] + max(spans.get(v, 0) / 2, 30) for v in x) + MARGIN - left
    height = len(rows) * (BOX + GAP_Y) - GAP_Y + 2 * MARGIN
    x = {v: place_ - left for v, place_ in x.items()}

    # Where each edge leaves (end 0) and enters (end 1) a box: side by side, in the order of its other ends.
    where: tuple[dict[int, float], dict[int, float]] = ({}, {})
    for end in (0, 1):
        for v in range(len(labels)):
            mine = [e for e, edge in enumerate(edges) if edge[end] == v]
            mine.sort(key=lambda e: x[routes[e][1 if end == 0 else -2]])
            for k, e in enumerate(mine):
                where[end][e] = x[v] + (k - (len(mine) - 1) / 2) * max(rooms[v][end], 36)
    lines, texts = [], []
    for e, (a, b, down, up) in enumerate(edges):
        start, stop = (where[0][e], y[a] + BOX), (where[1][e], y[b] - 5)
        points = [start, *((x[v], y[v] + BOX / 2) for v in routes[e][1:-1]), stop]
        curve = f"M{start[0]:.1f} {start[1]:.1f}"
        for (x0, y0), (x1, y1) in pairwise(points):
            middle = (y0 + y1) / 2
            curve += f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
        tip = f"M{stop[0] - 4:.1f} {stop[1] - 2:.1f}l4 7 4 -7z"
        lines.append(f'<path d="{curve}"/><path class="dv-arrow" d="{tip}"/>')
        texts.append(f'<text x="{start[0] + 4:.1f}" y="{start[1] + 17:.1f}" class="dv-forward">{down}</text>')
        if up:
            texts.append(f'<text x="{stop[0] + 5:.1f}" y="{stop[1] - 7:.1f}" class="dv-backward">{up}</text>')
    for v, label in enumerate(labels):
        corner, rounding = x[v] - widths[v] / 2, 15 if v < len(nodes) and nodes[v].operation else 2
        texts.append(
            f'<rect x="{corner:.1f}" y="{y[v]}" width="{widths[v]:.1f}" height="{BOX}" rx="{rounding}"/>'
            f'<text x="{x[v]:.1f}" y="{y[v] + 20}" text-anchor="middle">{escape(label)}</text>'
        )
        if v in totals:
            texts.append(
                f'<text x="{corner + widths[v] + 5:.1f}" y="{y[v] + 20}" class="dv-backward">{totals[v]}</text>'
            )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" class="dv-graph" role="img" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" style="max-width:100%;height:auto" '
        f'aria-label="{escape(words, quote=True)}">'
        f"<style>{STYLE}</style>{''.join(lines)}{''.join(texts)}</svg>"
    )


def _layers(count: int, edges: list[tuple[int, int]], last: range) -> tuple[list[list[int]], list[list[int]]]:
    """Put each vertex below all that it depends on, and order each row so that few edges cross.

    An edge that skips rows gets a vertex of its own in each, numbered from `count` on. Returns the rows and,
    for each edge, the vertices along it.
    """
    depth = [0] * count
    for a, b in edges:  # edges come in the order of computation
        depth[b] = max(depth[b], depth[a] + 1)
    for a, _ in edges:  # variables stand just above their first use
        if not any(v == a for _, v in edges):
            depth[a] = min(depth[w] for u, w in edges if u == a) - 1
    bottom = max(depth)
    for v in last:
        depth[v] = bottom
    rows: list[list[int]] = [[] for _ in range(bottom + 1)]
    for v in range(count):
        rows[depth[v]].append(v)
    routes, fresh = [], count
    for a, b in edges:
        between = list(range(fresh, fresh + depth[b] - depth[a] - 1))
        for k, v in enumerate(between):
            rows[depth[a] + 1 + k].append(v)
        fresh += len(between)
        routes.append([a, *between, b])
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for route in routes:
        for a, b in pairwise(route):
            below.setdefault(a, []).append(b)
            above.setdefault(b, []).append(a)
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(12):  # the barycentre heuristic: each vertex to the mean place of its neighbours
        down = sweep % 2 == 0
        for i in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            place = {v: k for k, v in enumerate(rows[i - 1 if down else i + 1])}
            near = above if down else below
            mean = {
                v: float(np.mean([place[u] for u in near[v] if u in place])) if near.get(v) else k
                for k, v in enumerate(rows[i])
            }
            rows[i].sort(key=lambda v: mean[v])
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best, routes


def _crossings(rows: list[list[int]], below: dict[int, list[int]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        place = {v: k for k, v in enumerate(lower)}
        ends = [place[w] for v in upper for w in sorted(below.get(v, []), key=lambda w: place.get(w, 0))]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def _columns(rows: list[list[int]], routes: list[list[int]], widths: dict[int, float]) -> dict[int, float]:
    """Choose each vertex's horizontal place: near the mean of its neighbours, without overlap."""
    near: dict[int, list[int]] = {}
    for route in routes:
        for a, b in pairwise(route):
            near.setdefault(a, []).append(b)
            near.setdefault(b, []).append(a)

    def distance(u: int, v: int) -> float:
        return (widths.get(u, 24.0) + widths.get(v, 24.0)) / 2 + GAP_X

    x: dict[int, float] = {}
    for row in rows:
        place = 0.0
        for k, v in enumerate(row):
            place += distance(row[k - 1], v) if k else 0.0
            x[v] = place
        middle = (x[row[0]] + x[row[-1]]) / 2
        for v in row:
            x[v] -= middle
    for _ in range(30):
        for row in rows:
            wish = [float(np.mean([x[u] for u in near[v]])) if v in near else x[v] for v in row]
            right, left = list(wish), list(wish)
            for k in range(1, len(row)):
                right[k] = max(right[k], right[k - 1] + distance(row[k - 1], row[k]))
            for k in range(len(row) - 2, -1, -1):
                left[k] = min(left[k], left[k + 1] - distance(row[k], row[k + 1]))
            for k, v in enumerate(row):
                x[v] = (right[k] + left[k]) / 2
    return x
