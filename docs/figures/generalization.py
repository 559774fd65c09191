"""The figures and the table of the chapter on generalization.

What takes more than seconds comes from docs/data/generalization.json, which docs/data/generalization.py recomputes.
"""

import json
from pathlib import Path

import numpy as np
from figures.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, RED, TEAL, figure, new

import derivable as dv

DATA = Path(__file__).resolve().parents[1] / "data" / "generalization.json"


def seeds():
    return json.loads(DATA.read_text(encoding="utf-8"))["seeds"]


def collect(part, name, key):
    return [row[part][name][key] for row in seeds()]


def last(name, key="test"):
    return [curve[-1] for curve in collect("networks", name, key)]


def broken_line() -> str:
    """Draw two memorizing networks through the same values on a line."""
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(12, 2)), rng.integers(0, 10, 12).astype(float)
    fig, ax = new(height=3.2)
    swings = []
    for position, colour, text in (
        (0.0, BLUE, r"kinks at the points, $\theta = 0$"),
        (0.5, ORANGE, r"kinks halfway, $\theta = \frac{1}{2}$"),
    ):
        net = dv.memorize(X, y, position=position, draws=30)
        z = X @ net.direction
        grid = np.linspace(z.min() - 0.05, z.max() + 0.05, 2000)
        values = net(grid[:, None] * net.direction)  # points on the line itself
        swings.append(np.abs(values).max())
        ax.plot(grid, values, color=colour, linewidth=1.3, label=text)
    ax.plot(z, y, "o", color=INK, label="wanted values")
    ax.set_xlabel(r"projection $z = \langle a, x\rangle$")
    ax.set_ylabel("$f$")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return figure(
        fig,
        label="figure-broken-line",
        caption=(
            r"Twelve points of the plane, projected on one line, and two networks of $2 \cdot 12 + 2$ weights through the "
            r"same random values. With the kinks at the points the network joins them by straight lines. With the kinks "
            rf"halfway each overshoot has to be taken back behind the next kink: it swings up to {swings[1]:.0f}."
        ),
        alt=(
            "Twelve points along a line with heights between 0 and 9. One broken line joins them directly. The other "
            "passes through the same points but swings widely between them."
        ),
    )


def randomization() -> str:
    """Draw how training accuracy grows, and what is left on test images, by the part of corrupted labels."""
    fig, (top, below) = new(height=5.6, rows=2)
    kinds = (
        ("labels 0", "true labels", BLUE),
        ("labels 0.5", "half corrupted", GREEN),
        ("labels 1", "random labels", RED),
        ("random pixels", "random pixels", PURPLE),
        ("noise", "noise images", TEAL),
    )
    median = {}
    for name, text, colour in kinds:
        curves = collect("networks", name, "train")
        longest = max(map(len, curves))
        padded = np.array([c + [1.0] * (longest - len(c)) for c in curves])
        epochs = np.arange(1, longest + 1)
        top.fill_between(epochs, padded.min(axis=0), padded.max(axis=0), color=colour, alpha=0.2, linewidth=0)
        top.plot(epochs, padded.mean(axis=0), color=colour, label=text, linewidth=1.4)
        median[name] = int(np.median(collect("networks", name, "epochs_to_fit")))
    top.set_xscale("log")
    top.set_xlabel("epoch")
    top.set_ylabel("training accuracy")
    top.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3)
    fractions = (0, 0.25, 0.5, 0.75, 1)
    end = np.array([last(f"labels {p:g}") for p in fractions])
    best = np.array([[max(c) for c in collect("networks", f"labels {p:g}", "test")] for p in fractions])
    for values, colour, text in ((best, ORANGE, "best along the way"), (end, BLUE, "when all labels are fitted")):
        below.fill_between(fractions, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.2, linewidth=0)
        below.plot(fractions, values.mean(axis=1), "o-", color=colour, label=text)
    below.axhline(0.1, color=MUTED, linestyle=":", linewidth=1)
    below.set_xlabel("part of the labels replaced by random ones")
    below.set_ylabel("test accuracy")
    below.set_ylim(0, 1.02)
    below.legend(loc="lower left", bbox_to_anchor=(0.02, 0.05))
    return figure(
        fig,
        label="figure-randomization",
        caption=(
            r"Ten seeds each: mean, and the range from lowest to highest. *Above:* the same network with the same settings "
            rf"fits everything. True labels take {median['labels 0']} epochs (median), noise in place of images "
            rf"{median['noise']}, random labels {median['labels 1']}. (Random pixels: true labels, but the pixels of each image in "
            r"an order of its own. Noise images: random numbers in place of the pixels.) *Below:* the more labels are random, the less is left "
            rf"on new images: from {end[0].mean():.3f} down to chance (dotted). Stopped at its best, the network does far better "
            rf"with half of the labels corrupted: {best[2].mean():.2f} instead of {end[2].mean():.2f}."
        ),
        alt=(
            "Two plots. In the upper one five curves of training accuracy all reach 1: for true labels within "
            f"{median['labels 0']} epochs, for noise within {median['noise']}, for half and for wholly random labels within "
            f"some {median['labels 1']}. In the lower one the test accuracy falls with the part of random labels from 0.98 to "
            "0.1; a second curve, the best along the way, falls later."
        ),
    )


def double_descent() -> str:
    """Draw test error and norm over the number of random features."""
    names = list(seeds()[0]["double descent"])
    counts = sorted({int(name.partition(",")[0]) for name in names})
    fig, (top, below) = new(height=5.2, rows=2, sharex=True)
    lowest = {}
    for ridge, colour, text in ((0, BLUE, "smallest norm"), (0.1, ORANGE, r"ridge $\lambda = 0.1$")):
        for ax, key in ((top, "test"), (below, "norm")):
            values = np.array([collect("double descent", f"{c}, ridge {ridge:g}", key) for c in counts])
            values = 1 - values if key == "test" else values
            ax.fill_between(counts, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.2, linewidth=0)
            ax.plot(counts, np.median(values, axis=1), "o-", color=colour, label=text, markersize=3)
            lowest[ridge, key] = np.median(values, axis=1)
    for ax in (top, below):
        ax.axvline(300, color=RED, linestyle=":", linewidth=1.2)
    top.set_xscale("log")
    top.set_ylabel("test error")
    top.set_ylim(0, 0.85)
    top.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    below.set_yscale("log")
    below.set_ylabel("norm of the solution")
    below.set_xlabel("number of random features $N$")
    peak, first = lowest[0, "test"].max(), lowest[0, "test"][: counts.index(200)].min()
    return figure(
        fig,
        label="figure-double-descent",
        caption=(
            rf"Random ReLU features on 300 images; ten seeds, median and range. The test error falls to {first:.2f}, climbs to "
            rf"{peak:.2f} just above as many features as points (dotted), and falls again to "
            rf"{lowest[0, 'test'][-1]:.3f}. The norm tells the same story. A small ridge removes the peak."
        ),
        alt=(
            f"The test error over the number of features: down to {first:.2f} near 120 features, a sharp peak of {peak:.2f} at "
            f"310, then down to {lowest[0, 'test'][-1]:.3f} at 3000. With a ridge it falls all the way. Below, the norm has its "
            "peak at the same place."
        ),
    )


def tables() -> str:
    """Return the results over ten seeds as two tables, in HTML: networks, and linear fits with and without a kernel."""

    def spread(values, digits=3):
        values = np.array(values, float)
        return f"{values.mean():.{digits}f}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{values.std(ddof=1):.{digits}f}"

    def network(text, name):
        epochs = collect("networks", name, "epochs_to_fit")
        assert min(last(name, "train")) == 1
        return text, spread(last(name)), f"{min(epochs)}–{max(epochs)}"

    def linear(text, name):
        train, test, norm = (collect("interpolations", name, key) for key in ("train", "test", "norm"))
        shown = "" if "linear" in name else f"{np.mean(norm):.1f}"
        return text, "1" if min(train) == 1 else f"{np.mean(train):.3f}", spread(test), shown

    networks = [
        network("true labels", "labels 0"),
        network("true, decay 0.1", "true, decay 0.1"),
        network("true, decay 1", "true, decay 1"),
        network("true, shifts", "true, shifts"),
        network("random labels", "labels 1"),
        network("random, decay 0.1", "random, decay 0.1"),
        network("random, shifts", "random, shifts"),
        network("random, width 1024", "random, width 1024"),
    ]
    fits = [linear("true, σ = 1", "true, sigma 1")]
    fits += [linear(f"true, λ = {ridge}", f"true, ridge {ridge}") for ridge in ("0.001", "0.1", "1")]
    fits += [linear(f"true, σ = {sigma}", f"true, sigma {sigma}") for sigma in ("0.5", "2")]
    fits += [linear("random, σ = 1", "random, sigma 1")]
    fits += [linear(f"random, λ = {ridge}", f"random, ridge {ridge}") for ridge in ("0.1", "1")]
    fits += [linear("true, no kernel", "true, linear"), linear("random, no kernel", "random, linear")]
    return html_table("table-networks", ("network", "test", "epochs"), networks) + html_table(
        "table-least-squares", ("least squares", "training", "test", "norm"), fits
    )


def html_table(label, head, rows):
    head = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div id="{label}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
