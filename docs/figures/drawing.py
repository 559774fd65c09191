"""How the book draws: matplotlib figures, put into the page as SVG that follows its light or dark colours.

A script makes a figure with `new`, draws on it with the colours below, and returns what `figure` gives back:

    fig, ax = new()
    ax.plot(x, y, color=BLUE, label="softsign")
    ax.legend()
    return figure(fig, label="softsign-tail", caption="Softsign saturates slowly: ...", alt="Two curves ...")
"""

from __future__ import annotations

import html
import io
import re
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "COLOURS",
    "GREEN",
    "GRID",
    "INK",
    "MUTED",
    "ORANGE",
    "PAPER",
    "PURPLE",
    "RED",
    "TEAL",
    "figure",
    "new",
    "picture",
]

# Each colour stands for a property that extra.css sets once for the light and once for the dark page. The
# values here never reach a reader: `figure` looks for them, so they are unlike any colour drawn by chance.
INK = "#010203"  # axes and text
MUTED = "#040506"  # what should step back: reference lines, labels of lesser weight
GRID = "#070809"
PAPER = "#0a0b0c"  # the background
BLUE = "#0d0e0f"
ORANGE = "#101112"
GREEN = "#131415"
RED = "#161718"
PURPLE = "#191a1b"
TEAL = "#1c1d1e"
COLOURS = [BLUE, ORANGE, GREEN, RED, PURPLE, TEAL]

_PROPERTIES = {
    INK: "--fig-ink",
    MUTED: "--fig-muted",
    GRID: "--fig-grid",
    PAPER: "--fig-paper",
    BLUE: "--fig-blue",
    ORANGE: "--fig-orange",
    GREEN: "--fig-green",
    RED: "--fig-red",
    PURPLE: "--fig-purple",
    TEAL: "--fig-teal",
}

_STYLE: dict[str, Any] = {
    "svg.fonttype": "path",  # a reader need not have the font; the words are in the alternative text
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "figure.constrained_layout.use": True,
    "axes.unicode_minus": True,
}


matplotlib.rcParams.update(_STYLE)  # for the whole build: matplotlib draws nothing else in it


def new(width: float = 5.2, height: float = 3.1, rows: int = 1, columns: int = 1, **options: Any) -> Any:
    """Start a figure in the book's style.

    The width is chosen so that the text can be read on a page and still on a phone: keep it at 5.2, and put
    plots below each other rather than beside each other where they need room.

    Args:
        width: inches. The page scales the figure to its own width, at most.
        height: inches.
        rows: how many plots below each other.
        columns: how many plots beside each other.
        **options: further options of `matplotlib.pyplot.subplots`.

    Returns:
        The figure and its axes (an array of them where there is more than one), as `subplots` gives them.
    """
    return plt.subplots(rows, columns, figsize=(width, height), **options)


def figure(fig: Figure, *, label: str, caption: str, alt: str) -> str:
    """Turn a finished figure into HTML for the page, and close it.

    Args:
        fig: the figure.
        label: the anchor, unique in the book: small letters, digits and hyphens.
        caption: Markdown that states what the figure shows; formulas in dollars and references work.
        alt: the same finding in words, for those who do not see the figure.

    Returns:
        A `<figure>` with the picture as SVG. The same figure always gives the same text.
    """
    from derivable_book.extension import inline

    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", label):
        raise ValueError(f"label must be small letters, digits and hyphens, got {label!r}")
    if not alt.strip() or not caption.strip():
        raise ValueError(f"figure {label!r} needs a caption and an alternative text")
    return (
        f'<figure id="{label}" class="drawing" style="--fig-width: {fig.get_figwidth():g}in">'
        f"{picture(fig, label, alt)}"
        f"<figcaption>{inline(caption)}</figcaption></figure>"
    )


def picture(fig: Figure, label: str, alt: str) -> str:
    """Turn a finished figure into SVG for the page, and close it.

    Args:
        fig: the figure.
        label: what its names begin with.
        alt: the finding in words.

    Returns:
        The `<svg>` element.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": label}):
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    plt.close(fig)
    return _embed(buffer.getvalue(), label, alt)


def _embed(svg: str, label: str, alt: str) -> str:
    """Make a file of matplotlib's fit for a page: no header, names of its own, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*<style\b.*?</style>", "", svg, flags=re.DOTALL)  # it would style the whole page
    head, body = svg.split(">", 1)
    box = re.search(r'viewBox="([^"]+)"', head)
    assert box
    body = re.sub(r'\bid="([^"]+)"', rf'id="{label}--\1"', body)
    body = re.sub(r'(href="|url\()#', rf"\1#{label}--", body)
    for colour, name in _PROPERTIES.items():
        body = re.sub(colour, f"var({name})", body, flags=re.IGNORECASE)
    body = re.sub(r"\s*\n\s*", "\n", body)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box.group(1)}" '
        f'stroke-linejoin="round" stroke-linecap="butt" role="img" '
        f'aria-label="{html.escape(" ".join(alt.split()), quote=True)}">{body}'
    )
