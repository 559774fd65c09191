"""What was measured on convolution, from docs/data/convolution*.json: figures of the chapter, tables of the page."""

from __future__ import annotations

import html
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

from figures.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, RED, TEAL, figure, new

DATA = Path(__file__).parents[1] / "data"
# The stored runs: the one that figures and tables are made from, the same on two threads, and two on other processors.
MAIN, TWO_THREADS = "convolution", "convolution-2-threads"
ZEN_4, XEON = "convolution-zen4", "convolution-xeon"
STEPS = {
    "plain loop": "seven nested loops",
    "long rows": "long rows",
    "packed blocks": "tile, packed",
    "register tile": "tile, shifted rows",
    "F(2,3)": "F(2, 3)",
    "F(4,3)": "F(4, 3)",
}

# What holds a shape back that takes longer than 1 / 0.9 of the best peer's time, and what was tried.
NOTES: dict[str, str] = {
    "depthwise stride 2, input gradient": (
        "Each input number meets 1 to 4 taps: there is less to compute than to move. Tried: the definition, jumping from "
        "output to output; the four classes of inputs apart, in bands, then shuffled (twice as fast); all classes as out "
        "channels of one convolution, then shuffled (a little faster again); all classes in registers, shuffled there (six times "
        "as fast on the EPYC, and not yet in the run on the Xeon)."
    ),
    "depthwise": (
        "Nine products for each number that is read and written: the time goes into copying rows with their padding, into "
        "tiles that do not fill the vectors and, on two threads, into handing the work over. Tried: long rows; a tile of output rows "
        "over a copied band; the band copied plane by plane with the borders worked out once; the taps in registers, and masks at "
        "the borders (a quarter to a half less time; not yet in the run on the Xeon); more and smaller pieces for two threads (no gain)."
    ),
    "1x1": (
        "A plain matrix product, in which the micro-kernel alone reaches its peak; what is lost lies around it: each call "
        "packs the kernel and the numbers of the patches anew, and both come from beyond the core's own cache. Tried: packed "
        "blocks, the tiles of positions in the outer loop; the panels of out channels outside, and blocks that begin with a line "
        "of the cache (a tenth faster); asking memory for the rows to come while the tiles are multiplied (2 to 5 per cent); "
        "unpacked rows (no faster, once the tables of a call are kept); each row packed for all tiles of a block at once, which "
        "is measured here (an eighth to a third less time for large images); the lines of the result and the panels' next numbers "
        "asked for in time (5 to 15 per cent, measured here); the numbers of x read where they lie, unpacked (a tenth slower in "
        "float64, the same in float32); the next block asked for, a line in each step of the products (no gain). For the gradient in the kernel: row by row of the "
        "image; all rows joined to one (a tenth faster); and, with a stride, the numbers that are met copied side by side first "
        "(a quarter faster in float64); blocks of half as many positions (5 per cent slower). On two threads the packing of the kernel is one "
        "more place where they meet."
    ),
    "stem, input": (
        "Three channels with stride 2 against 64. Tried: packed blocks for each class of inputs (3 times slower); all classes as "
        "out channels of one convolution; a tile of output rows for each class; one product for all channels and taps, added "
        "where they belong (half the time of the others, measured here)."
    ),
    "stride 2": (
        "With stride 2 minimal filtering takes 25 products for 36, where with stride 1 it takes 36 for 144, and its transforms move as much. Tried: "
        "packed blocks; rows sorted by their remainder and read where they lie (the same time); a tile of output rows (four times slower); minimal "
        "filtering with 2 x 2 outputs (an eighth less time, measured here); with 4 x 4 outputs (slower); fewer panels of the transformed kernel at a time, so "
        "that they stay near (5 per cent, measured here); smaller blocks of tiles, for which the kernel is transformed more often (a tenth slower)."
    ),
    "LeNet conv1": (
        "Some microseconds of work: half of a call is Python's, before and after. Tried: the definition, a tile of output rows "
        "(measured here), shifted rows; the test for infinite weights compiled; the checks done once for each shape, which saved "
        "half of the call."
    ),
    "LeNet conv2": (
        "Images of 14 x 14 with 10 outputs in a row fill 10 of 16 lanes. Tried: packed patches (2 times slower), a tile "
        "of output rows (3 times slower), shifted rows with all rows joined to one, and the same in a band for each column of the "
        "kernel, without the columns in between (a fifth less time, measured here). On two threads handing over takes a third of it."
    ),
    "VGG conv1.1": (
        "Three channels against 64: the sums are short, and most of the time goes into writing or reading the larger array. "
        "Tried: a tile of output rows, packed patches, shifted rows, minimal filtering; for the gradient in the input one product "
        "for all channels and taps, added where they belong, which took half the time and is measured here."
    ),
    "grouped": (
        "32 channels in each group are too few to pay well for transforms. Tried: packed blocks, shifted rows, minimal "
        "filtering; the last two take about the same time. On two threads: phases cut one by one (slower than one thread), and "
        "each thread with groups of its own (a fifth to a half less time, measured here)."
    ),
    "audio layer, input": (
        "One channel with stride 4. Tried: packed blocks; classes of inputs in bands, all classes as one convolution (2 to 5 times "
        "faster); one product for all taps, added where they belong (half the time of that, measured here)."
    ),
    "audio layer": (
        "A matrix product near the peak that the peer reaches, too. Tried: packed blocks, shifted rows, bands."
    ),
    "3x3 512": (
        "2.4 million weights meet 49 positions, which are one vector of tiles in float32 and two in float64. To read the weights once takes 0.4 and 0.7 ms, and "
        "that adds to the time of the products: the first cache waits for a dozen lines at a time, which are not enough for memory so far away. In the gradient in the "
        "input the weights lie in short pieces. Tried: packed blocks; the definition on weights read as they lie; minimal filtering with tiles of 4 x 4, and of "
        "2 x 2 with all transformed weights of a panel at once; the same in blocks of channels, turned round in registers (a third less time); "
        "four, eight and sixteen panels at a time, so that longer pieces are read in order (no gain); the transformed weights channel by channel (slower); out channels "
        "side by side in vectors, with tiles as rows, and the next block's weights asked for in the products (a sixth less time, since the runs on the older processors); "
        "for the gradient in the kernel, lines written past the caches (a third less time after other work, since those runs)."
    ),
    "3x3 256": (
        "Only 196 positions share the transform of each kernel. Tried: packed blocks; tiles of 2 x 2 and of 4 x 4; the sum cut into blocks of channels, and "
        "the taps turned round in registers (a quarter less time, measured here)."
    ),
    "signal": (
        "The FFT's own speed decides. Tried: a tile of output rows; a library's transforms of blocks; one transform where the "
        "blocks together would take more steps; transforms of many columns at once (2 to 4 times faster, measured here)."
    ),
}
NOTES["VGG conv5.2"] = NOTES["3x3 256"]


@cache
def stored(run: str = MAIN) -> dict[str, Any]:
    """Return a stored run."""
    data: dict[str, Any] = json.loads((DATA / f"{run}.json").read_text(encoding="utf-8"))
    return data


def machine(run: str = MAIN) -> str:
    """Say on which machine, with which versions and under what load a run was made."""
    facts, load = stored(run)["machine"], stored(run)["load"]
    threads = "1 thread on one processor" if facts["threads"] == 1 else f"{facts['threads']} threads"
    versions = ", ".join(f"{name} {facts[name]}" for name in ("python", "numba", "numpy", "scipy", "torch", "jax"))
    return (
        f"<p>{html.escape(facts['processor'])} ({facts['name of the processor in LLVM']}), vectors of "
        f"{facts['vector bytes']} bytes, {threads}, {facts['clock']}, load of the "
        f"machine {load[0][0]:.1f} before and {load[1][0]:.1f} after. {html.escape(versions)}.</p>"
    )


def mean(rows: list[dict[str, Any]]) -> float:
    """Return the geometric mean of the ratios."""
    return math.exp(sum(math.log(row["ratio"]) for row in rows) / len(rows))


@cache
def peak(dtype: str, run: str = MAIN) -> float:
    """Return the fastest that the micro-kernel was measured in the run: other work on the machine only makes it slower."""
    found = [row["rate"] / row["share of peak"] for row in stored(run)["rows"] if row["dtype"] == dtype]
    return float(max([stored(run)["steps"][dtype]["peak"], *found]))


def chosen(dtype: str, direction: str = "", run: str = MAIN) -> list[dict[str, Any]]:
    """Return the rows of one dtype, and of one direction if it is given."""
    return [row for row in stored(run)["rows"] if row["dtype"] == dtype and direction in row["direction"]]


def summary(run: str = MAIN) -> str:
    """Return the table of geometric means, worst cases and shares of the peak."""
    lines = []
    for dtype in ("float32", "float64"):
        for direction in ("forward", "input gradient", "kernel gradient"):
            rows = chosen(dtype, direction, run)
            worst = min(rows, key=lambda row: row["ratio"])
            lines.append(
                f"<tr><td>{dtype}</td><td>{direction}</td><td>{len(rows)}</td><td>{mean(rows):.2f}</td>"
                f"<td>{worst['ratio']:.2f} ({html.escape(worst['shape'])})</td>"
                f"<td>{sum(row['ratio'] < 0.9 for row in rows)}</td></tr>"
            )
        rows = chosen(dtype, run=run)
        lines.append(
            f"<tr><td><strong>{dtype}</strong></td><td><strong>all</strong></td><td>{len(rows)}</td>"
            f"<td><strong>{mean(rows):.2f}</strong></td><td>{min(row['ratio'] for row in rows):.2f}</td>"
            f"<td>{sum(row['ratio'] < 0.9 for row in rows)}</td></tr>"
        )
    head = ("dtype", "direction", "shapes", "geometric mean", "worst", "under 0.9")
    return table(head, lines)


def table(head: tuple[str, ...], lines: list[str]) -> str:
    """Return an HTML table."""
    return f"<table><thead><tr>{''.join(f'<th>{h}</th>' for h in head)}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def shapes(dtype: str) -> str:
    """Return the table of all shapes of one dtype."""
    lines = []
    for row in chosen(dtype):
        memory, peer = row.get("memory") or {}, row["best peer"]

        def megabytes(name: str, memory: dict[str, float] = memory) -> str:
            return f"{memory[name] / 2**20:.1f}" if name in memory else "–"

        lines.append(
            f"<tr><td>{html.escape(row['shape'])}</td><td>{row['direction']}</td><td>{1e6 * row['seconds']:.0f}</td>"
            f"<td>{row['rate'] / peak(dtype):.0%}</td><td>{html.escape(peer)}</td><td>{row['ratio']:.2f}</td>"
            f"<td>{megabytes('derivable')}</td><td>{megabytes(peer)}</td></tr>"
        )
    head = ("shape", "direction", "µs", "of peak", "best peer", "its time / ours", "MB", "peer's MB")
    return f"<details><summary>{dtype}, {len(lines)} rows</summary>{table(head, lines)}</details>"


def shortfalls(run: str = MAIN) -> str:
    """List the shapes under 0.9 with what holds them back."""
    under = [row for row in stored(run)["rows"] if row["ratio"] < 0.9]
    items: dict[str, list[str]] = {}
    for row in under:
        note = next((text for key, text in NOTES.items() if key in f"{row['shape']}, {row['direction']}"), "")
        name = f"{row['shape']}, {row['direction']}, {row['dtype']}: {row['ratio']:.2f}"
        items.setdefault(note or "Not yet looked into.", []).append(name)
    parts = [f"<p>{html.escape('; '.join(names))}.<br>{note}</p>" for note, names in items.items()]
    return "".join(parts) or "<p>None.</p>"


def below_peak(run: str = MAIN, share: float = 0.8) -> str:
    """List the layers with 3 x 3 taps and 64 channels or more that stay below a share of the peak."""
    items: dict[str, list[str]] = {}
    for row in stored(run)["rows"]:
        if row["shape"].startswith(("ResNet 3x3", "VGG")) and row["shape"] != "VGG conv1.1":
            reached = row["rate"] / peak(row["dtype"], run)
            if reached < share:
                note = next((text for key, text in NOTES.items() if key in row["shape"]), "Not yet looked into.")
                items.setdefault(note, []).append(f"{row['shape']}, {row['direction']}, {row['dtype']}: {reached:.1%}")
    parts = [f"<p>{html.escape('; '.join(names))}.<br>{note}</p>" for note, names in items.items()]
    return "".join(parts) or "<p>None.</p>"


def small_call() -> str:
    """Return a sentence on the time of a small call."""
    small = stored()["steps"]["small call"]
    return (
        f"<p>A 28 × 28 image with a 5 × 5 kernel, float32: <code>convolve</code> takes {1e6 * small['convolve']:.1f} µs from "
        f"Python, <code>conv2d</code> {1e6 * small['conv2d']:.1f} µs, and <code>conv2d</code> inside <code>@njit</code> "
        f"{1e6 * small['inside njit']:.1f} µs.</p>"
    )


def ladder() -> str:
    """Return the table of the steps with their rates."""
    steps = stored()["steps"]
    lines, before = [], {}
    for key, name in STEPS.items():
        cells = ""
        for dtype in ("float32", "float64"):
            rate = steps[dtype]["rates"][key]
            gain = f" (× {rate / before[dtype]:.1f})" if dtype in before else ""
            before[dtype] = rate
            cells += f"<td>{rate / 1e9:.1f}{gain}</td><td>{rate / peak(dtype):.0%}</td>"
        lines.append(f"<tr><td>{name}</td>{cells}</tr>")
    head = ("step", "float32, GF/s", "of peak", "float64, GF/s", "of peak")
    return table(head, lines)


def limits() -> str:
    """Return a sentence with the machine's limits and what they mean for the layer."""
    steps = stored()["steps"]
    top, band = peak("float32"), steps["bandwidth"]
    intensity = steps["float32"]["operations"] / steps["float32"]["bytes"]
    return (
        f"<p>The stored run was made on a processor of which one core reaches P = {top / 1e9:.0f}·10<sup>9</sup> operations "
        f"per second in float32 and {peak('float64') / 1e9:.0f}·10<sup>9</sup> in float64, and B = "
        f"{band / 1e9:.0f}·10<sup>9</sup> bytes per second from memory. So the two limits meet at P/B = {top / band:.1f} "
        f"operations per byte. The layer below has {intensity:.0f}.</p>"
    )


def roofline() -> str:
    """Draw the roofline with the steps of one layer."""
    steps = stored()["steps"]["float32"]
    top, band = peak("float32") / 1e9, stored()["steps"]["bandwidth"] / 1e9
    layer = steps["operations"] / steps["bytes"]
    fig, ax = new(height=3.6)
    x = [1 / 8, top / band, 512]
    ax.plot(x, [min(top, band * i) for i in x], color=INK, label="roof: $\\min(P, BI)$")
    for (key, name), colour in zip(STEPS.items(), (RED, ORANGE, PURPLE, TEAL, GREEN, BLUE), strict=True):
        ax.plot([layer], [steps["rates"][key] / 1e9], "o", color=colour, label=name)
    for intensity, name in ((0.25, "add two arrays"), (2.2, "3x3, one channel")):
        ax.axvline(intensity, color=MUTED, lw=0.8, ls=":")
        ax.text(intensity * 1.1, 1.1, name, color=MUTED, rotation=90, va="bottom")
    ax.set(xscale="log", yscale="log", xlabel="operations per byte $I$", ylabel="$10^9$ operations per second")
    ax.set_ylim(1, 1000)
    ax.legend(loc="upper left", fontsize=8)
    plain, best = steps["rates"]["plain loop"] / 1e9, steps["rates"]["F(4,3)"] / 1e9
    return figure(
        fig,
        label="convolution-roofline",
        caption=(
            f"The same layer, 64 channels to 64 on $56 \\times 56$ pixels with a $3 \\times 3$ kernel, float32, one core. "
            f"Memory does not hold it back: its intensity lies far to the right. The plain loop reaches {plain:.1f}, "
            f"$F(4, 3)$ {best:.0f}, above the roof, because the operations are counted as the definition has them."
        ),
        alt=(
            "A log-log plot of the rate against operations per byte. The roof rises and then is flat. Six points above each "
            "other at the layer's intensity, from the plain loop far below the roof to minimal filtering above it."
        ),
    )


def crossing() -> str:
    """Draw the times of the direct way and of the FFT over the kernel's size."""
    points = stored()["steps"]["crossing"]
    k = [p["k"] for p in points]
    first = next(p["k"] for p in points if p["fft"] < p["direct"])
    fig, ax = new()
    ax.plot(k, [1e3 * p["direct"] for p in points], "o-", color=BLUE, label="by the definition, in bands")
    ax.plot(k, [1e3 * p["fft"] for p in points], "s-", color=ORANGE, label="by the FFT")
    ax.set(xlabel="kernel size $k$", ylabel="milliseconds", yscale="log")
    ax.legend()
    return figure(
        fig,
        label="convolution-crossing",
        caption=(
            f"One channel, $512 \\times 512$ pixels, a $k \\times k$ kernel, float32, one core. The FFT's time hardly depends "
            f"on $k$. The definition's grows as $k^2$, and is the shorter one up to $k = {first}$ or a little less."
        ),
        alt="Time over kernel size: the FFT is a flat line, the definition rises and crosses it.",
    )
