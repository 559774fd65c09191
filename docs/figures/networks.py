"""The figures and the table of the chapter on networks, from docs/data/networks.json and networks.npz.

docs/data/networks.py recomputes both.
"""

import json
from pathlib import Path

import numpy as np
from figures.drawing import BLUE, INK, MUTED, ORANGE, figure, new
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from sklearn.datasets import load_digits

import derivable as dv

DATA = Path(__file__).resolve().parents[1] / "data"


def stored():
    return json.loads((DATA / "networks.json").read_text(encoding="utf-8"))


def table() -> str:
    """Return the accuracies of the stored runs as a table in HTML."""
    runs = stored()
    rows = []
    for name, text in (("seeds", "one split, five starts"), ("splits", "five splits"), ("no shifts", "without shifts")):
        test = 100 * np.array([row["test"] for row in runs[name]])
        rows.append((text, f"{test.mean():.2f} ± {test.std(ddof=1):.2f}", f"{test.min():.2f}", f"{test.max():.2f}"))
    head = "".join(f"<th>{cell}</th>" for cell in ("runs", "test accuracy, %", "least", "largest"))
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    slowest = max(row["seconds"] for name in ("seeds", "splits", "no shifts") for row in runs[name])
    note = f"<p>The slowest of these runs took {slowest:.0f} seconds, on two cores that had other work as well.</p>"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div id="table-digits">{table}</div>{note}'


def beside_torch() -> str:
    """Return the sentences on the stored comparison with torch."""
    found = stored()
    losses, times, clock = found["losses"], found["times"], found["clock"]
    worst = np.max(np.abs(np.array(losses["derivable"]) / losses["torch"] - 1))
    ours, theirs = np.median(times["derivable"]), np.median(times["torch"])
    return (
        f"<p>On the machine of the stored run the largest relative difference over the 20 steps was {worst:.0e}. An epoch of "
        f"the 1347 images in single precision, batch 32, took {ours:.3f} processor seconds here and {theirs:.3f} in torch "
        f"{times['versions']['torch'].partition('+')[0]}, on one thread each, measured in turns; the median of the ratios is "
        f"{times['ratio']:.2f}. On two threads each it took {np.median(clock['derivable']):.3f} and "
        f"{np.median(clock['torch']):.3f} seconds on the clock, a ratio of {clock['ratio']:.2f}. (The layers of so small a "
        "network were no work for two threads on this machine, and the package left the second asleep.) No test asserts a time.</p>"
    )


def pixels(ax, image, colour):
    """Draw an image as squares of one colour, the darker the larger the number: one outline for each of five shades."""
    largest = image.max() or 1.0
    shade = np.ceil(5 * np.maximum(image, 0) / largest).astype(int)
    unit = Outline.unit_rectangle()
    for level in range(1, 6):
        squares = [unit.vertices + place for place in np.argwhere(shade == level)[:, ::-1]]
        if squares:
            outline = Outline(np.concatenate(squares), list(unit.codes) * len(squares))
            ax.add_patch(PathPatch(outline, facecolor=colour, alpha=level / 5, edgecolor="none"))
    height, width = image.shape
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="equal")
    ax.grid(False)
    for side in ax.spines.values():
        side.set(visible=True, color=MUTED)


def feature_maps() -> str:
    """Draw a digit, three of its feature maps and a pooled one; and the same for the digit shifted by two pixels."""
    model = dv.load_network(DATA / "networks.npz")
    (w1, b1), (w2, b2), _ = model.parameters
    digit = load_digits().images[5].reshape(1, 1, 8, 8).astype(np.float32) / 16
    canvas = np.pad(digit, ((0, 0), (0, 0), (5, 5), (5, 5)))
    fig, axes = new(height=2.7, rows=2, columns=5)
    shown = []
    for row, image, word in zip(axes, (canvas, np.roll(canvas, 2, axis=3)), ("image", "shifted by 2"), strict=True):
        first = dv.relu(dv.conv2d(image, w1, b1, padding=1))
        second = dv.relu(dv.conv2d(first, w2, b2, padding=1))
        pooled = dv.max_pool2d(second, 2)
        # The channels whose maps differ most from place to place, away from the border.
        spread = [maps[0, :, 2:-2, 2:-2].std(axis=(1, 2)) for maps in (first, second)]
        if not shown:
            shown = [*np.argsort(spread[0])[-2:], np.argmax(spread[1])]
        pictures = (image[0, 0], first[0, shown[0]], first[0, shown[1]], second[0, shown[2]], pooled[0, shown[2]])
        for ax, picture, colour in zip(row, pictures, (INK, BLUE, BLUE, ORANGE, ORANGE), strict=True):
            pixels(ax, picture, colour)
        row[0].set_ylabel(word)
    for ax, title in zip(axes[0], ("pixels", "layer 1", "layer 1", "layer 2", "pooled"), strict=True):
        ax.set_title(title)
    return figure(
        fig,
        label="figure-feature-maps",
        caption=(
            "A handwritten 5, two maps of the first layer, one of the second, and the same one pooled; below, for the image "
            "shifted by two pixels. Away from the border the maps are the same but shifted: by two pixels, and by one after "
            "pooling. The stronger the colour, the larger the number; 0 has none. (Stored network of the first seed; the maps "
            "with their biases.)"
        ),
        alt=(
            "Two rows of five small pictures. In the upper row a digit 5 and four feature maps that show its edges and "
            "strokes. The lower row shows the same pictures moved to the right."
        ),
    )
