"""The map of the book: which chapter needs which."""

import html

import matplotlib.patches as patches
import numpy as np
from figures.drawing import BLUE, INK, MUTED, PAPER, figure, new

from derivable_book import finding, pages


def chapters() -> str:
    """Draw the chapters in their order, with an arc from each one to those whose results it refers to."""
    book = [page for page in pages.pages() if page.chapter]
    height = {page.path: len(book) - k for k, page in enumerate(book)}
    needs = finding.needs()
    fig, ax = new(height=0.42 * len(book) + 0.4)
    ax.axis("off")
    ax.set_xlim(-4.6, 4.6)
    ax.set_ylim(0.4, len(book) + 0.6)
    for (here, there), count in sorted(needs.items()):
        # A reference ahead is a promise, drawn on the left; what a chapter needs lies behind it, on the right.
        back = height[there] > height[here]
        side = 1 if back else -1
        top, bottom = max(height[here], height[there]), min(height[here], height[there])
        reach = 2.0 * ((top - bottom) / (len(book) - 1)) ** 0.75
        t = np.linspace(0, np.pi, 40)
        ax.plot(
            side * (2.55 + reach * np.sin(t)),
            (top + bottom) / 2 + (top - bottom) / 2 * np.cos(t),
            color=BLUE if back else MUTED,
            linewidth=0.6 + 0.35 * min(count, 8),
            linestyle="-" if back else ":",
            alpha=0.8,
        )
    for page in book:
        y = height[page.path]
        box = patches.FancyBboxPatch(
            (-2.5, y - 0.3), 5.0, 0.6, boxstyle="round,pad=0.02", facecolor=PAPER, edgecolor=INK
        )
        ax.add_patch(box)
        ax.text(0, y, f"{page.chapter}. {page.title}", ha="center", va="center", color=INK, fontsize=9)
    title = {page.path: page.title for page in book}
    told = "; ".join(
        f"{page.title} refers back to {' and '.join(title[there] for there in behind)}"
        for page in book
        if (behind := [t for (h, t) in sorted(needs) if h == page.path and height[t] > height[h]])
    )
    return figure(
        fig,
        label="map-of-the-book",
        caption=(
            "The chapters in their order. An arc on the right joins a chapter to an earlier one to which it refers, the thicker the "
            "more often; a dotted arc on the left is a reference ahead."
        ),
        alt=f"A column of chapters joined by arcs. {told}.",
    )


def list_of_needs() -> str:
    """Say the same as a list with links: each chapter, and the earlier ones to which it refers."""
    here = next(page for page in pages.pages() if page.path == "results.md")
    book = [page for page in pages.pages() if page.chapter]
    order = {page.path: page.chapter for page in book}
    needs = finding.needs()
    rows = []
    for page in book:
        behind = [other for other in book if (page.path, other.path) in needs and order[other.path] < page.chapter]
        links = [f'<a href="{pages.url("/" + p.path, here)}">{html.escape(p.title)}</a>' for p in (page, *behind)]
        rows.append(f"<li>{links[0]}: {', '.join(links[1:]) if behind else 'no earlier chapter'}</li>")
    return f"<p>Each chapter, and the earlier ones to which it refers:</p><ul>{''.join(rows)}</ul>"
