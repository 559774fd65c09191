r"""Figures that a reader can move: each position is computed by the package while the site is built.

A matplotlib figure is the ground that stays. On it lie marks that move; below it stand controls and numbers:

    fig, ax = new()
    moving = Moving(fig, [Control("step", r"step size $\eta$", [0.1, 0.2, 0.3], start=1)])
    dot = moving.dots(ax, ORANGE)
    for at in moving.positions():                       # every combination of the controls
        x = 1 - at.step
        moving.put(dot, [x], [x**2])
        moving.say("value", "$f(w)$", f"{x**2:.2f}")
    return moving.html(label="moving-step", caption="...", alt="...")

The page then holds every position as strokes and digits, and a script that only swaps them
(docs/assets/javascripts/moving.js): there is no mathematics in JavaScript. Without the script, and in print, the
figure shows its first position.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from figures.drawing import _PROPERTIES, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Control", "Mark", "Moving"]


@dataclass(frozen=True)
class Control:
    """Something that the reader moves.

    Attributes:
        name: how a position names its value.
        label: what the reader is told that it is, as Markdown.
        values: the positions, in order.
        start: the index of the position that is shown first.
        text: what a value is called, for the reader and for a screen reader.
        choice: whether the values are alternatives (a list to choose from) and not a range (a slider).
    """

    name: str
    label: str
    values: Sequence[Any]
    start: int = 0
    text: Callable[[Any], str] = str
    choice: bool = False


@dataclass(frozen=True)
class Mark:
    """What `Moving` gives out for a part of the drawing that moves."""

    part: int
    axes: Axes
    draw: Callable[..., dict[str, str]]


class Moving:
    """A figure with controls.

    Args:
        fig: the ground, already drawn; it is laid out now and must not change any more.
        controls: what the reader can move; the last one is the innermost of `positions`.
    """

    def __init__(self, fig: Figure, controls: Sequence[Control]) -> None:
        fig.canvas.draw()
        fig.set_layout_engine("none")  # the layout stays as it was just computed
        self.fig, self.controls = fig, list(controls)
        self.counts = [len(control.values) for control in controls]
        self._elements: list[str] = []  # SVG of the marks, with {part} for what the first position puts in
        self._clips: dict[Axes, int] = {}
        self._frames: list[dict[tuple[int, str], str]] = []
        self._numbers: dict[str, tuple[int, str]] = {}
        self._parts = 0
        self._inputs = [self._new_part() for _ in controls]

    # ------------------------------------------------------------------------------------------ marks

    def line(self, axes: Axes, colour: str, width: float = 1.7, dashes: str = "", closed: bool = False) -> Mark:
        """Add a line through points."""

        def draw(x: Any, y: Any) -> dict[str, str]:
            return {"d": _path(self._points(axes, x, y)) + ("z" if closed and len(x) else "")}

        style = f'fill="none" stroke-width="{width:g}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
        return self._path_mark(axes, draw, f'{style} stroke="{_variable(colour)}"')

    def parabola(self, axes: Axes, colour: str, width: float = 1.7, dashes: str = "") -> Mark:
        """Add a parabola between two points; `put` takes its ends and the meeting point of their tangents."""

        def draw(x: Any, y: Any) -> dict[str, str]:
            points = self._points(axes, x, y)
            return {"d": "M{}Q{} {}".format(*(f"{a:g} {b:g}" for a, b in points))}

        style = f'fill="none" stroke-width="{width:g}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
        return self._path_mark(axes, draw, f'{style} stroke="{_variable(colour)}"')

    def dots(self, axes: Axes, colour: str, size: float = 5.0) -> Mark:
        """Add dots, `size` points wide."""

        def draw(x: Any, y: Any) -> dict[str, str]:
            return {"d": "".join(f"M{a:g} {b:g}h0" for a, b in self._points(axes, x, y))}

        style = f'fill="none" stroke-width="{size:g}" stroke-linecap="round" stroke="{_variable(colour)}"'
        return self._path_mark(axes, draw, style)

    def area(self, axes: Axes, colour: str, opacity: float = 0.25, edge: float = 0.0) -> Mark:
        """Add a filled polygon, with an edge of that width; `put` takes its corners, and nan between polygons."""

        def draw(x: Any, y: Any) -> dict[str, str]:
            return {"d": _path(self._points(axes, x, y), close=True)}

        ink = _variable(colour)
        stroke = f'stroke="{ink}" stroke-width="{edge:g}"' if edge else 'stroke="none"'
        return self._path_mark(axes, draw, f'fill="{ink}" fill-opacity="{opacity:g}" {stroke}')

    def text(self, axes: Axes, colour: str, size: float = 10.0, x: Any = None, y: Any = None) -> Mark:
        """Add a text; `put` takes its middle and its words, or the words alone where it has a fixed place."""
        part = self._new_part()
        fixed = ""
        if x is not None:
            ((a, b),) = self._points(axes, [x], [y])
            fixed = f'x="{a:g}" y="{b:g}"'

        def draw(*given: Any) -> dict[str, str]:
            if x is not None:
                return {"text": given[0]}
            ((a, b),) = self._points(axes, [given[0]], [given[1]])
            return {"x": f"{a:g}", "y": f"{b:g}", "text": given[2]}

        self._elements.append(
            f'<text data-part="{part}" {fixed} fill="{_variable(colour)}" font-size="{size:g}" text-anchor="middle" '
            f'dominant-baseline="central"{{{part}}}</text>'
        )
        return Mark(part, axes, draw)

    def _path_mark(self, axes: Axes, draw: Callable[..., dict[str, str]], style: str) -> Mark:
        part = self._new_part()
        clip = self._clips.setdefault(axes, len(self._clips))
        self._elements.append(f'<path data-part="{part}" clip-path="url(#LABEL--clip{clip})" {style}{{{part}}}</path>')
        return Mark(part, axes, draw)

    def _new_part(self) -> int:
        self._parts += 1
        return self._parts - 1

    # -------------------------------------------------------------------------------------- positions

    def positions(self) -> Iterator[SimpleNamespace]:
        """Give each combination of the controls' values, the last control fastest."""
        for values in itertools.product(*(control.values for control in self.controls)):
            self._frames.append({})
            for control, part, value in zip(self.controls, self._inputs, values, strict=True):
                if not control.choice:
                    self._set(part, "text", control.text(value))
            yield SimpleNamespace(**{c.name: v for c, v in zip(self.controls, values, strict=True)})

    def put(self, mark: Mark, *data: Any) -> None:
        """Say where a mark lies in the present position."""
        for name, value in mark.draw(*data).items():
            self._set(mark.part, name, value)

    def say(self, name: str, label: str, value: str) -> None:
        """Say a number in the present position.

        Args:
            name: what tests call it.
            label: what the reader is told that it is, as Markdown.
            value: the number as it is shown.
        """
        if name not in self._numbers:
            self._numbers[name] = (self._new_part(), label)
        self._set(self._numbers[name][0], "text", value)

    def limit(self, name: str, last: int) -> None:
        """Let a control go only to an index in the present position of the other ones."""
        index = [control.name for control in self.controls].index(name)
        self._set(self._inputs[index], "max", str(last))

    def _set(self, part: int, name: str, value: str) -> None:
        self._frames[-1][part, name] = value

    def _points(self, axes: Axes, x: Any, y: Any) -> np.ndarray:
        """Turn data into points of the SVG, to a tenth of a point."""
        data = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
        shown = axes.transData.transform(data) * 72 / self.fig.dpi
        shown[:, 1] = self.fig.get_figheight() * 72 - shown[:, 1]
        return np.clip(np.round(shown, 1), -2000, 2000)

    # ------------------------------------------------------------------------------------------- html

    def html(self, *, label: str, caption: str, alt: str) -> str:
        """Return the figure for the page.

        Args:
            label: the anchor, unique in the book.
            caption: Markdown that says what there is to find.
            alt: the finding in words, for those who do not see the figure.

        Returns:
            A `<figure>` with picture, controls, numbers and data.
        """
        from derivable_book.extension import inline

        shape, keys = tuple(self.counts), list(self._frames[0])
        if len(self._frames) != np.prod(shape):
            raise ValueError(f"figure {label!r} has {len(self._frames)} positions of {np.prod(shape)}")
        odd = next((i for i, frame in enumerate(self._frames) if set(frame) != set(keys)), None)
        if odd is not None:
            raise ValueError(f"figure {label!r}: position {odd} sets other parts than the first one")
        start = tuple(control.start for control in self.controls)
        first = self._frames[int(np.ravel_multi_index(start, shape))]
        slots = [_slot(part, name, [frame[part, name] for frame in self._frames], shape) for part, name in keys]

        clips = "".join(
            f'<clipPath id="{label}--clip{number}"><path d="{_path(self._corners(axes))}z"/></clipPath>'
            for axes, number in self._clips.items()
        )
        marks = "".join(self._element(element, first) for element in self._elements).replace("LABEL", label)
        svg = picture(self.fig, label, alt).removesuffix("</svg>\n").removesuffix("</svg>")
        controls = "".join(
            self._control(label, control, part, inline(control.label), first)
            for control, part in zip(self.controls, self._inputs, strict=True)
        )
        numbers = "".join(
            f'<div><dt>{inline(what)}</dt><dd data-part="{part}" data-number="{name}">'
            f"{html.escape(first[part, 'text'])}</dd></div>"
            for name, (part, what) in self._numbers.items()
        )
        data = json.dumps({"counts": self.counts, "slots": slots}, separators=(",", ":"), ensure_ascii=False)
        return (
            f'<figure id="{label}" class="drawing moving" style="--fig-width: {self.fig.get_figwidth():g}in">'
            f'{svg}<defs>{clips}</defs><g class="moving-marks">{marks}</g></svg>'
            f'<div class="moving-controls" role="group" aria-label="Move the figure" hidden>{controls}</div>'
            f'<dl class="moving-numbers" aria-live="polite">{numbers}</dl>'
            # The theme would run a script again, whatever its type, when the page is reached by a click.
            f'<template data-search-exclude="">{html.escape(data, quote=False)}</template>'
            f"<figcaption>{inline(caption)}</figcaption></figure>"
        )

    def _corners(self, axes: Axes) -> np.ndarray:
        box = axes.get_window_extent().get_points() * 72 / self.fig.dpi
        (left, bottom), (right, top) = np.round(box, 1) + np.array([[-1, -1], [1, 1]])  # half a stroke more
        height = self.fig.get_figheight() * 72
        return np.array(
            [[left, height - bottom], [left, height - top], [right, height - top], [right, height - bottom]]
        )

    @staticmethod
    def _element(element: str, first: dict[tuple[int, str], str]) -> str:
        """Fill in what the first position says of a mark."""

        def fill(match: re.Match[str]) -> str:
            part = int(match.group(1))
            mine = {name: value for (p, name), value in first.items() if p == part}
            text = html.escape(mine.pop("text", ""))
            return "".join(f' {name}="{html.escape(value)}"' for name, value in mine.items()) + f">{text}"

        return re.sub(r"\{(\d+)\}", fill, element)

    @staticmethod
    def _control(label: str, control: Control, part: int, words: str, first: dict[tuple[int, str], str]) -> str:
        name, last = f"{label}--{control.name}", first.get((part, "max"), str(len(control.values) - 1))
        if control.choice:
            options = "".join(
                f'<option value="{i}"{" selected" if i == control.start else ""}>{html.escape(control.text(v))}</option>'
                for i, v in enumerate(control.values)
            )
            field = f'<select id="{name}" data-control="{control.name}" autocomplete="off">{options}</select>'
            return f'<div><label for="{name}">{words}</label>{field}</div>'
        now = html.escape(first[part, "text"])
        return (
            f'<div><label for="{name}">{words}</label>'
            f'<input type="range" id="{name}" data-control="{control.name}" data-part="{part}" min="0" max="{last}" '
            f'step="1" value="{control.start}" aria-valuetext="{now}" autocomplete="off">'
            f'<span class="moving-value" aria-hidden="true">{now}</span></div>'
        )


def _path(points: np.ndarray, close: bool = False) -> str:
    """Join points with lines, leaving a gap at nan."""
    text, begin = [], True
    for a, b in points:
        if a != a or b != b:
            if close and not begin:
                text.append("z")
            begin = True
            continue
        text.append(f"{'M' if begin else 'L'}{a:g} {b:g}")
        begin = False
    return "".join(text) + ("z" if close and not begin else "")


def _slot(part: int, name: str, values: list[str], shape: tuple[int, ...]) -> dict[str, Any]:
    """Store what a part goes through: each text once, and only over the controls that change it."""
    texts = list(dict.fromkeys(values))
    number = {text: i for i, text in enumerate(texts)}
    at = np.array([number[value] for value in values]).reshape(shape)
    by = []
    for axis in range(len(shape)):
        if (at != at.take([0], axis)).any():
            by.append(axis)
    at = at[tuple(slice(None) if axis in by else 0 for axis in range(len(shape)))]
    return {"part": part, "set": name, "by": by, "values": texts, "at": at.ravel().tolist()}


def _variable(colour: str) -> str:
    return f"var({_PROPERTIES[colour]})"
