"""The figure that moves of the chapter on convolution."""

from functools import lru_cache

import numpy as np
from figures.drawing import BLUE, GRID, INK, MUTED, ORANGE, new
from figures.moving import Control, Moving
from matplotlib.patches import Rectangle

import derivable as dv

# A picture of 7 x 7 numbers with an edge and a corner in it, and a kernel that answers to falling brightness.
PICTURE = np.array(
    [
        [0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1, 1],
        [0, 0, 2, 2, 2, 1, 1],
        [0, 2, 2, 3, 2, 2, 0],
        [0, 2, 2, 2, 2, 2, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    dtype=float,
)
KERNEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=float)


@lru_cache
def output(stride: int, padding: int, dilation: int) -> np.ndarray:
    """Return what the convolution gives."""
    return dv.conv2d(PICTURE[None, None], KERNEL[None, None], stride=stride, padding=padding, dilation=dilation)[0, 0]


def _boxes(rows, columns, side: float = 1.0):
    """Return the corners of squares around cells, nan between them, as x and y (rows count downwards)."""
    x, y = [], []
    for i, j in zip(rows, columns, strict=True):
        h = side / 2
        x += [j - h, j + h, j + h, j - h, np.nan]
        y += [i - h, i - h, i + h, i + h, np.nan]
    return x, y


def walk() -> str:
    """Move the kernel over the picture; choose stride, padding and dilation."""
    fig, (left, right) = new(width=5.2, height=3.0, columns=2, width_ratios=[11, 9])
    for ax, least, most, name in ((left, -2.6, 8.6, "the picture, with its border"), (right, -1, 8.6, "the output")):
        ax.set_xlim(least, most)
        ax.set_ylim(8.6, -2.6 if ax is left else -1)
        ax.set_aspect("equal")
        ax.axis("off")
        ax.set_title(name)
    for i in range(7):
        for j in range(7):
            left.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="none", edgecolor=GRID))
            left.text(j, i, f"{PICTURE[i, j]:g}", ha="center", va="center", color=INK, fontsize=9)
    last = 80
    moving = Moving(
        fig,
        [
            Control("stride", "stride", [1, 2, 3], 0),
            Control("padding", "padding", [0, 1, 2], 1),
            Control("dilation", "dilation", [1, 2], 0),
            Control("place", "output number", list(range(last + 1)), 24, lambda place: str(place + 1)),
        ],
    )
    border = moving.line(left, MUTED, 0.8, "2 2")
    seen = moving.area(left, BLUE, 0.16, edge=1.6)
    grid = moving.area(right, GRID, 0.0, edge=0.8)
    now = moving.area(right, ORANGE, 0.3, edge=1.6)
    numbers = {(i, j): moving.text(right, INK, 8.5, j, i) for i in range(9) for j in range(9)}
    for at in moving.positions():
        found = output(at.stride, at.padding, at.dilation)
        rows, columns = found.shape
        moving.limit("place", found.size - 1)
        i, j = divmod(min(at.place, found.size - 1), columns)
        a, b = (np.indices((3, 3)) * at.dilation).reshape(2, -1)
        a, b = a + i * at.stride - at.padding, b + j * at.stride - at.padding
        e = 0.5 + at.padding
        moving.put(border, [-e, 6 + e, 6 + e, -e, -e], [-e, -e, 6 + e, 6 + e, -e])
        moving.put(seen, *_boxes(a, b))
        cells = np.indices(found.shape).reshape(2, -1)
        moving.put(grid, *_boxes(*cells))
        moving.put(now, *_boxes([i], [j]))
        for (p, q), text in numbers.items():
            moving.put(text, f"{found[p, q]:g}" if p < rows and q < columns else "")
        inside = (a >= 0) & (a < 7) & (b >= 0) & (b < 7)
        values = np.where(inside, PICTURE[np.clip(a, 0, 6), np.clip(b, 0, 6)], 0.0)
        terms = [f"{k:+g}·{v:g}" for k, v in zip(KERNEL.ravel(), values, strict=True) if k]
        moving.say("sum", "the sum", " ".join(terms).lstrip("+") + f" = {found[i, j]:g}")
        moving.say("size", "output", f"{rows} × {columns}")
    return moving.html(
        label="moving-convolution",
        caption=(
            r"A $3 \times 3$ kernel with the columns $(1, 2, 1)$, $0$ and $(-1, -2, -1)$ on a picture of $7 \times 7$ numbers. "
            r"Step through the output, row by row and counted from 1: the blue squares are multiplied with the kernel and added up (the sum leaves out the "
            r"column of zeros); outside the picture stand zeros. Stride makes the squares leap, padding gives them a border to step on, dilation spreads them."
        ),
        alt=(
            "A grid of seven by seven numbers with nine marked squares, and the grid of outputs with the number that they give. "
            f"Without stride and dilation and with padding 1 the output has {output(1, 1, 1).shape[0]} by "
            f"{output(1, 1, 1).shape[1]} numbers; with stride 2 it has {output(2, 1, 1).shape[0]} by {output(2, 1, 1).shape[1]}."
        ),
    )
