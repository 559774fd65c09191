"""The figures of the chapter on convolution. Every number in them is computed by the package."""

from __future__ import annotations

import base64
import html
import io
from functools import cache
from typing import Any

import numpy as np
from figures.drawing import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PURPLE, RED, TEAL, figure, new
from matplotlib.patches import Circle, Rectangle
from PIL import Image
from sklearn.datasets import load_sample_images

import derivable as dv
from derivable_book.extension import inline

# ------------------------------------------------------------------------------------------------ step by step

_STEPPER = """
.stepper{text-align:center}
.stepper>input{position:absolute;opacity:0;width:1px;height:1px}
.stepper>label{display:inline-block;min-width:2.3em;padding:.3em 0;margin:0 .1em .5em;border:1px solid var(--fig-muted);
border-radius:3px;font-family:var(--md-text-font-family,sans-serif);font-size:.8em;cursor:pointer;color:var(--fig-ink)}
.stepper>input:checked+label{background:var(--fig-blue);border-color:var(--fig-blue);color:var(--fig-paper)}
.stepper>input:focus-visible+label{outline:2px solid var(--fig-orange);outline-offset:2px}
.md-typeset .drawing .stepper>svg{display:none}
@media print{.stepper>label{display:none}}
"""


def _cell(column: float, row: float, text: str, colour: str, filled: bool = False) -> str:
    fill = f"var({colour})" if filled else "none"
    ink = "var(--fig-paper)" if filled else f"var({colour})"
    x, y = 4 + 40 * column, row
    return (
        f'<rect x="{x}" y="{y}" width="38" height="30" rx="3" fill="{fill}" stroke="var({colour})"/>'
        f'<text x="{x + 19}" y="{y + 20.5}" fill="{ink}">{text}</text>'
    )


def stepping() -> str:
    """Draw the full convolution of 1 .. 5 with 1, 2, 3, one output at a time."""
    x, h = np.array([1, 2, 3, 4, 5]), np.array([1, 2, 3])
    y = dv.convolve(x, h)
    label, m = "convolution-steps", len(h)
    head, frames, rules = [], [], []
    for i, value in enumerate(y):
        taps = [k for k in range(m) if 0 <= i - k < len(x)]
        assert sum(h[k] * x[i - k] for k in taps) == value
        sum_text = " + ".join(f"{h[k]}·{x[i - k]}" for k in reversed(taps))
        parts = []
        for j in range(-(m - 1), len(x) + m - 1):  # the input and the zeros around it
            inside = 0 <= j < len(x)
            read = 0 <= i - j < m
            colour = "--fig-blue" if inside else "--fig-grid"
            parts.append(_cell(j + m - 1, 4, str(x[j]) if inside else "", colour, inside and read))
        for k in range(m):  # the kernel, flipped: tap k stands over the input i - k
            parts.append(_cell(i - k + m - 1, 46, str(h[k]), "--fig-orange", k in taps))
        for p, done in enumerate(y):
            shown = str(done) if p <= i else ""
            colour = "--fig-green" if p <= i else "--fig-grid"
            parts.append(_cell(p + m - 1, 122, shown, colour, p == i))
        parts.append(f'<text x="182" y="104" fill="var(--fig-ink)">y[{i}] = {sum_text} = {value}</text>')
        alt = f"Output {i}: the flipped kernel over the input gives {sum_text} = {value}."
        frames.append(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 364 158" role="img" aria-label="{alt}" '
            f'font-size="16" font-family="var(--md-code-font-family, monospace)" text-anchor="middle">'
            f"{''.join(parts)}</svg>"
        )
        name = f"{label}-{i}"
        head.append(
            f'<input type="radio" name="{label}" id="{name}"{" checked" if i == 2 else ""}>'
            f'<label for="{name}" title="output {i}">{i}</label>'
        )
        rules.append(
            f".md-typeset .drawing .stepper>input:nth-of-type({i + 1}):checked~svg:nth-of-type({i + 1})"
            "{display:block}"
        )
    caption = inline(
        "Convolution, step by step: choose an output by its number, or with the arrow keys. The kernel $1, 2, 3$ "
        "(orange) is laid over the input $1, \\dots, 5$ (blue) in reverse, because $h[k]$ meets $x[i-k]$. It moves "
        "one place for each output (green). At both ends a part of it meets nothing."
    )
    style = (_STEPPER + "\n".join(rules)).strip().replace("\n", "")
    return (
        f'<figure id="{label}" class="drawing" style="--fig-width: 4.2in"><style>{style}</style>'
        f'<div class="stepper" role="radiogroup" aria-label="Outputs of the convolution">'
        f"{''.join(head)}{''.join(frames)}</div><figcaption>{caption}</figcaption></figure>"
    )


# ---------------------------------------------------------------------------------------------------- matrices


def _draw_matrix(ax: Any, matrix: Any, *, numbers: bool, blocks: tuple[int, int] | None = None) -> None:
    rows, columns = matrix.shape
    colours = [MUTED, BLUE, ORANGE, GREEN, RED, PURPLE, TEAL]
    for i, j in zip(*np.nonzero(matrix), strict=True):
        value = int(matrix[i, j])
        ax.add_patch(Rectangle((j, i), 1, 1, color=colours[value % 7], alpha=0.75 if not numbers else 0.25, lw=0))
        if numbers:
            ax.text(j + 0.5, i + 0.54, str(value), ha="center", va="center", fontsize=9)
    ax.add_patch(Rectangle((0, 0), columns, rows, fill=False, edgecolor=INK, lw=0.8))
    if blocks:
        for i in range(blocks[0], rows, blocks[0]):
            ax.plot([0, columns], [i, i], color=MUTED, lw=0.5)
        for j in range(blocks[1], columns, blocks[1]):
            ax.plot([j, j], [0, rows], color=MUTED, lw=0.5)
    ax.set_xlim(-0.3, columns + 0.3)
    ax.set_ylim(rows + 0.3, -0.3)
    ax.set_aspect("equal")
    ax.axis("off")


def matrices() -> str:
    """Draw a Toeplitz, a circulant and a doubly block Toeplitz matrix."""
    fig, axes = new(width=5.2, height=4.9, rows=2, columns=2, height_ratios=[1, 1.35])
    _draw_matrix(axes[0, 0], dv.toeplitz([1, 2, 3], 5), numbers=True)
    axes[0, 0].set_title("full: Toeplitz")
    _draw_matrix(axes[0, 1], dv.circulant([1, 2, 3], 5), numbers=True)
    axes[0, 1].set_title("cyclic: circulant")
    kernel = np.arange(1, 7).reshape(2, 3)
    image = dv.conv_matrix(kernel[::-1, ::-1], (4, 5), padding=(1, 2))
    _draw_matrix(axes[1, 0], image, numbers=False, blocks=(7, 5))
    axes[1, 0].set_title("image: doubly block Toeplitz")
    stride = dv.conv_matrix([3, 2, 1], 11, stride=2)
    _draw_matrix(axes[1, 1], stride, numbers=True)
    axes[1, 1].set_title("stride 2")
    return figure(
        fig,
        label="convolution-matrices",
        caption=(
            "Four matrices of convolutions. With the kernel $1, 2, 3$: constant along diagonals; folded round in the "
            "circulant one; with a stride, every row moves two places. For an image of $4 \\times 5$ and a kernel of "
            "$2 \\times 3$ (a colour for each tap) the same pattern appears twice: among the blocks and inside each."
        ),
        alt=(
            "A 7 by 5 matrix with three constant diagonals; a 5 by 5 matrix in which the diagonals wrap around; a "
            f"{image.shape[0]} by {image.shape[1]} matrix of 5 by 4 blocks with two diagonals of blocks, "
            "each with three diagonals; and "
            f"a {stride.shape[0]} by 11 matrix whose rows of three numbers move two places to the right each time."
        ),
    )


def norms() -> str:
    """Draw the norm of the Toeplitz matrix over its size, between its bounds."""
    taps = np.array([1.0, 2.0, 3.0])
    top = abs(np.fft.fft(taps, 4096)).max()
    sizes = np.arange(3, 61)
    full = [np.linalg.norm(dv.toeplitz(taps, int(n)), 2) for n in sizes]
    same = [np.linalg.norm(dv.toeplitz(taps, int(n), "same"), 2) for n in sizes]
    fig, ax = new(height=2.7)
    ax.axhline(top, color=INK, lw=1, ls="--", label="circulant: M = 6")
    ax.plot(sizes, full, color=BLUE, label="full, padded with zeros")
    ax.plot(sizes, same, color=ORANGE, label="same")
    ax.plot(sizes, np.sqrt(1 - 2 / sizes) * top, color=MUTED, lw=1, label="lower bound for full")
    ax.plot([5], [full[2]], "o", color=BLUE)
    ax.annotate(f"{full[2]:.5f}", (5, full[2]), (9, full[2] - 0.55), arrowprops={"arrowstyle": "-", "color": MUTED})
    ax.set_xlabel("size of the input, n")
    ax.set_ylabel("operator norm")
    ax.legend(loc="lower right")
    return figure(
        fig,
        label="toeplitz-norms",
        caption=(
            "A border makes the norm smaller, and matters less and less. The kernel is $1, 2, 3$; the "
            "curves stay between the bounds of "
            "[@toeplitz-norm]."
        ),
        alt=(
            "Norms over the input size from 3 to 60. The circulant one is 6 throughout. The zero-padded "
            f"one rises from {full[0]:.2f} through "
            f"{full[2]:.5f} at size 5 to {full[-1]:.3f}, always between the lower bound and 6; that of same "
            "lies a little lower."
        ),
    )


# ------------------------------------------------------------------------------------------------ equivariance


def border() -> str:
    """Draw by how much a zero-padded network fails to commute with the shift, by place and depth."""
    rng = np.random.default_rng(1)
    n, trials = 48, 40
    x = rng.normal(size=(trials, 1, n))
    moved, still = np.roll(x, 1, axis=-1), x
    fig, ax = new(height=2.8)
    reach = {}
    for depth in range(1, 9):
        channels = still.shape[1]
        w = rng.normal(size=(4, channels, 3)) / np.sqrt(1.5 * channels)
        moved, still = (np.maximum(dv.conv1d(a, w, padding=1), 0) for a in (moved, still))
        gap = np.sqrt(((moved - np.roll(still, 1, axis=-1)) ** 2).mean(axis=(0, 1)))
        size = np.sqrt((still**2).mean())
        reach[depth] = int((gap > 1e-12).sum())
        if depth in (1, 2, 4, 8):
            ax.plot(gap / size, color=[BLUE, ORANGE, GREEN, RED][(1, 2, 4, 8).index(depth)], label=f"{depth}")
    ax.set_xlabel("place")
    ax.set_ylabel("error relative to output")
    ax.set_ylim(0, None)
    ax.legend(title="layers", loc="upper center", ncols=4)
    return figure(
        fig,
        label="border-errors",
        caption=(
            "Where zero-padded layers of three taps fail to commute with a shift by one place: at the "
            "border, and deeper "
            f"inside with each layer. After one layer {reach[1]} of {n} places are wrong, after eight "
            f"{reach[8]}. In the middle the error "
            "is exactly 0. (Random weights, ReLU between the layers, mean over 40 random inputs.)"
        ),
        alt=(
            "Error over the place for 1, 2, 4 and 8 layers. It is large at both ends and zero in the "
            f"middle; the wrong region widens from {reach[1]} "
            f"to {reach[8]} places."
        ),
    )


def sampling() -> str:
    """Draw the summed response of a strided network while its input moves, with and without a blur."""
    rng = np.random.default_rng(3)
    n, shifts = 64, np.arange(17)
    x = np.zeros((len(shifts), 1, n))
    for row, t in enumerate(shifts):
        x[row, 0, 20 + t : 23 + t] = (1, 2, 1)
    weights = [rng.normal(size=(8, c, 3)) / np.sqrt(1.5 * c) for c in (1, 8, 8)]
    blur = np.repeat(np.array([[[1, 4, 6, 4, 1]]]) / 16, 8, axis=0)

    def response(x: Any, smooth: bool) -> Any:
        for w in weights:
            x = np.maximum(dv.conv1d(x, w, padding=1, padding_mode="circular"), 0)
            x = dv.conv1d(x, blur, padding=2, padding_mode="circular", groups=8) if smooth else x
            x = x[..., ::2]
        return x.mean(axis=(1, 2))

    plain, smooth = (response(x, s) for s in (False, True))
    plain, smooth = plain / plain.mean(), smooth / smooth.mean()
    fig, ax = new(height=2.6)
    ax.plot(shifts, plain, "o-", color=RED, label="stride 2, three times")
    ax.plot(shifts, smooth, "s-", color=GREEN, label="a blur before each stride")
    ax.set_xlabel("shift of the input, places")
    ax.set_ylabel("pooled output / its mean")
    ax.set_ylim(0, None)
    ax.set_xticks(range(0, 17, 2))
    ax.legend(loc="lower right")
    spread = [100 * (v.max() - v.min()) for v in (plain, smooth)]
    return figure(
        fig,
        label="stride-responses",
        caption=(
            "Three layers of stride 2 respect only shifts by 8 places: then, and only then, the pooled "
            "output comes back. In between it "
            f"varies by {spread[0]:.0f} % of its mean. With a blur of five taps before each stride it "
            f"varies by {spread[1]:.0f} %. (Circular "
            "padding, so the border plays no part.)"
        ),
        alt=(
            "The pooled output over shifts from 0 to 16. Without blur it jumps up and down by "
            f"{spread[0]:.0f} per cent and repeats after 8 "
            f"shifts; with blur it stays within {spread[1]:.0f} per cent."
        ),
    )


# -------------------------------------------------------------------------------------------------- arithmetic


def _draw_layer(ax: Any, matrix: Any, real: range, title: str, picked: int) -> None:
    """Draw inputs below, outputs above, and a line for each entry of the matrix."""
    outputs, inputs = matrix.shape
    up = [
        (inputs - 1) / 2 + (o - (outputs - 1) / 2) * (inputs - 1) / max(inputs - 1, outputs - 1) for o in range(outputs)
    ]
    across = [j * 1.0 for j in range(inputs)]
    if outputs > inputs:
        up = [float(o) for o in range(outputs)]
        across = [(outputs - 1) / 2 + 2.0 * (j - (inputs - 1) / 2) for j in range(inputs)]
    used = matrix.any(axis=0)
    for o, j in zip(*np.nonzero(matrix), strict=True):
        special = (o if inputs >= outputs else j) == picked
        ax.plot(
            [across[j], up[o]],
            [0, 1.4],
            color=ORANGE if special else GRID,
            lw=1.8 if special else 1,
            zorder=1 + special,
        )
    for j in range(inputs):
        colour = BLUE if j in real else MUTED
        filled = used[j] and j in real
        ax.add_patch(
            Circle((across[j], 0), 0.24, facecolor=colour if filled else "none", edgecolor=colour, lw=1, zorder=3,
                   ls="-" if j in real else ":")
        )  # fmt: skip
    for o in range(outputs):
        ax.add_patch(Circle((up[o], 1.4), 0.24, color=GREEN, zorder=3))
    width = max(inputs, outputs)
    ax.set_xlim(-1 + min(0, (width - 9) / 2), width + max(0, (9 - width) / 2))
    ax.set_ylim(-0.45, 1.85)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.set_title(title, loc="left")


def arithmetic() -> str:
    """Draw which inputs each output reads with a stride, padding, dilation, and for the transposed layer."""
    taps = np.ones(3)
    fig, axes = new(width=4.4, height=5.6, rows=4)
    cases = [
        (dv.conv_matrix(taps, 8, stride=2), range(8), "stride 2", 1),
        (dv.conv_matrix(taps, 7), range(1, 6), "padding 1 on both sides", 0),
        (dv.conv_matrix(taps, 8, dilation=2), range(8), "dilation 2", 1),
        (dv.conv_matrix(taps, 4, stride=2, transposed=True), range(4), "transposed, stride 2", 1),
    ]
    sizes = []
    for ax, (matrix, real, title, picked) in zip(axes, cases, strict=True):
        sizes.append((len(real), matrix.shape[0]))
        _draw_layer(ax, matrix, real, f"{title}: {len(real)} inputs, {matrix.shape[0]} outputs", picked)
    assert sizes[0][1] == dv.output_size(8, 3, stride=2)
    assert sizes[3][1] == dv.output_size(4, 3, stride=2, transposed=True)
    return figure(
        fig,
        label="convolution-arithmetic",
        caption=(
            "The arithmetic of a kernel of three taps; inputs below, outputs above, a line for each "
            "product. With stride 2 the last input is never "
            "read: the floor of [@output-size]. Zeros in front and behind (dotted) keep the size. With "
            "dilation 2 the kernel "
            "spans five inputs. The transposed layer turns the picture round: each input is spread over "
            "three outputs, and every second output "
            "gets two contributions."
        ),
        alt=(
            "Four diagrams of lines from inputs to outputs. "
            + " ".join(f"{c[2]}: {a} inputs, {b} outputs." for c, (a, b) in zip(cases, sizes, strict=True))
        ),
    )


def field() -> str:
    """Draw how strongly an output depends on each input of its receptive field."""
    fig, ax = new(height=2.7)
    widths = []
    for layers, colour in ((4, BLUE), (16, ORANGE), (64, GREEN)):
        size = 2 * layers + 1
        weights = np.zeros((1, 1, size))
        weights[0, 0, layers] = 1
        for _ in range(layers):  # the derivative of the middle output, back through the layers
            weights = dv.conv_input_gradient(weights, np.full((1, 1, 3), 1 / 3), (1, 1, size), padding=1)
        place = np.arange(size) - layers
        weights = weights[0, 0]
        deviation = float(np.sqrt((weights * place**2).sum()))
        widths.append((layers, size, deviation))
        ax.plot(place, weights, color=colour, label=f"{layers} layers: {size} inputs")
        bell = np.exp(-(place**2) / (2 * deviation**2)) / (deviation * np.sqrt(2 * np.pi))
        ax.plot(place, bell, color=INK, lw=0.8, ls=":")
        ax.plot([-layers, layers], [0, 0], "|", color=colour, ms=9)
    ax.set_xlabel("distance of the input from the output, places")
    ax.set_ylabel("weight")
    ax.legend(loc="upper right")
    text = ", ".join(f"{d:.1f} of {s}" for _, s, d in widths)
    return figure(
        fig,
        label="effective-field",
        caption=(
            "An output sees the middle of its field best. Layers of three equal taps; marks on the axis "
            "show the ends of the receptive field, dotted lines "
            f"the bell of the same deviation. The deviation is {text} places: with 16 times as many layers "
            "the field is 16 times as wide, the bell 4 times."
        ),
        alt=f"Three bell-shaped curves for 4, 16 and 64 layers. Their standard deviations against the width of the field: {text} places.",
    )


# ------------------------------------------------------------------------------------------------ photographs


@cache
def _photograph(name: str, width: int) -> Any:
    """Return a photograph of scikit-learn's as grey levels from 0 to 1, made smaller."""
    images = load_sample_images()
    index = next(i for i, path in enumerate(images.filenames) if name in str(path))
    photo = Image.fromarray(images.images[index])
    photo = photo.resize((width, round(width * photo.height / photo.width)), Image.Resampling.LANCZOS)
    return np.asarray(photo, dtype=np.float64) @ np.array([0.299, 0.587, 0.114]) / 255


def _embedded(picture: Any, alt: str, sharp: bool = False) -> str:
    """Return an image as an element that needs no file."""
    values = np.clip(np.round(255 * picture), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    if sharp:
        Image.fromarray(values).save(buffer, "PNG", optimize=True)
    else:
        Image.fromarray(values).save(buffer, "WEBP", quality=60, method=6)
    data = base64.b64encode(buffer.getvalue()).decode()
    kind = "png" if sharp else "webp"
    height, width = values.shape[:2]
    style = "width:100%;height:auto;display:block" + (";image-rendering:pixelated" if sharp else "")
    return (
        f'<img src="data:image/{kind};base64,{data}" alt="{html.escape(alt, quote=True)}" width="{width}" height="{height}" '
        f'style="{style}">'
    )


def _gallery(items: list[tuple[str, str]], *, label: str, caption: str, columns: str) -> str:
    """Return a figure of pictures with a line of text below each."""
    cells = "".join(
        f'<div style="font-size:.85em;text-align:center">{picture}{inline(text)}</div>' for picture, text in items
    )
    return (
        f'<figure id="{label}" class="drawing"><div style="display:grid;gap:.6em;'
        f'grid-template-columns:{columns}">{cells}</div>'
        f"<figcaption>{inline(caption)}</figcaption></figure>"
    )


def _bell(deviation: float) -> Any:
    reach = int(np.ceil(3 * deviation))
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * deviation**2))
    return taps / taps.sum()


def photographs() -> str:
    """Show two photographs, blurred, and their edges."""
    items = []
    for name, words in (("china", "a Chinese temple"), ("flower", "a flower")):
        photo = _photograph(name, 340)
        taps = _bell(3.0)
        blurred = dv.convolve(dv.convolve(photo, taps[:, None], "same", "symm"), taps[None, :], "same", "symm")
        smooth, slope = np.array([1.0, 2.0, 1.0]) / 4, np.array([1.0, 0.0, -1.0]) / 2
        down, right = (
            dv.convolve(photo, kernel, "same", "symm") for kernel in (np.outer(slope, smooth), np.outer(smooth, slope))
        )
        edges = np.hypot(down, right)
        edges = 1 - edges / np.quantile(edges, 0.995)
        items += [
            (_embedded(photo, f"Photograph of {words}"), "photograph"),
            (_embedded(blurred, f"{words}, blurred"), f"blur, {len(taps)} + {len(taps)} taps"),
            (_embedded(edges, f"The edges of {words} as dark lines on white"), "strength of edges"),
        ]
    return _gallery(
        items,
        label="photographs-filtered",
        columns="repeat(3,1fr)",
        caption=(
            "Two photographs through separable kernels. The blur takes a bell down the columns, then along "
            "the rows. The edges are "
            "$\\sqrt{a^2 + b^2}$ of two convolutions, with a slope across and a small blur along ($3 "
            "\\times 3$ taps); dark is strong."
        ),
    )


def _gabor(angle: float, wavelength: float = 6.0, deviation: float = 3.0) -> tuple[Any, Any]:
    """Return the two phases of a wave under a bell; the wave runs in the direction of the angle."""
    reach = int(np.ceil(3 * deviation))
    i, j = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(float)
    along = j * np.cos(angle) + i * np.sin(angle)
    bell = np.exp(-(i**2 + j**2) / (2 * deviation**2))
    even, odd = (bell * f(2 * np.pi * along / wavelength) for f in (np.cos, np.sin))
    even -= bell * even.sum() / bell.sum()  # a constant image gives no answer
    scale = abs(even).sum()
    return even / scale, odd / scale


def orientations() -> str:
    """Show the answers of oriented kernels to a photograph, with the kernels."""
    photo = _photograph("china", 340)
    angles = (("upright stripes", 0), ("falling stripes", 3), ("level stripes", 2), ("rising stripes", 1))
    pairs = [_gabor(quarter * np.pi / 4) for _, quarter in angles]
    weight = np.array([kernel for pair in pairs for kernel in pair])[:, None]
    answers = dv.conv2d(photo[None], weight, padding="same", padding_mode="reflect")
    energy = np.hypot(answers[0::2], answers[1::2])
    energy = 1 - energy / np.quantile(energy, 0.997)
    items = []
    for (words, _), (even, _), answer in zip(angles, pairs, energy, strict=True):
        thumbnail = 0.5 + 0.5 * even / abs(even).max()
        kernel = _embedded(thumbnail, f"Kernel: {words} that fade outwards", sharp=True)
        picture = f'<div style="width:28%;margin:0 auto .3em">{kernel}</div>' + _embedded(
            answer, f"Answer of the kernel for {words}: dark where the temple has lines of this direction"
        )
        items.append((picture, words))
    return _gallery(
        items,
        label="photographs-oriented",
        columns="repeat(auto-fit,minmax(max(7rem,22%),1fr))",
        caption=(
            "One layer, four orientations: waves under a bell ($19 \\times 19$ taps, wavelength 6 pixels) "
            "and their answers to the first photograph, "
            "dark is strong. Each is $\\sqrt{a^2 + b^2}$ of two kernels, a quarter of a wave apart, so that "
            "it does not matter where in the wave a line "
            "falls. Columns answer to the first kernel, eaves and steps to the third."
        ),
    )


# ------------------------------------------------------------------------------------------------------ video


def _film(speed: float, frames: int = 12, height: int = 9, width: int = 64) -> Any:
    """Return a film of an upright bar that moves to the right by `speed` places in each frame."""
    place = np.arange(width)
    middle = width / 2 + speed * (np.arange(frames) - (frames - 1) / 2)
    row = np.exp(-((place[None, :] - middle[:, None]) ** 2) / 2)
    return np.repeat(row[:, None, :], height, axis=1)


def _detector(speed: int, frames: int = 5, reach: int = 10) -> Any:
    """Return a kernel (frames, height, width): an upright line, darker on both sides, that moves."""
    place = np.arange(-reach, reach + 1)
    moved = place[None, :] - speed * (np.arange(frames) - (frames - 1) // 2)[:, None]
    row = (1 - moved**2 / 1.5) * np.exp(-(moved**2) / 3)
    row -= row.mean(axis=1, keepdims=True)
    tall = np.array([1.0, 2.0, 1.0]) / 4
    kernel = row[:, None, :] * tall[None, :, None]
    return kernel / np.sqrt((kernel**2).sum())


def motion() -> str:
    """Draw a moving bar in space and time, a kernel that moves along, and what three kernels answer to each speed."""
    speeds = np.arange(-3, 3.01, 0.5)
    tuned = (-1, 1, 2)
    weight = np.stack([_detector(u) for u in tuned])[:, None]
    films = np.stack([_film(v) for v in speeds])[:, None]
    answers = np.maximum(dv.conv3d(films, weight), 0).max(axis=(2, 3, 4)).T
    answers = answers / answers.max(axis=1, keepdims=True)
    fig, axes = new(width=5.2, height=4.6, rows=2, columns=2, height_ratios=[1, 1.25])
    bar, kernel = _film(1)[:, 4, 20:44], _detector(1)[:, 1, 2:19]
    for ax, picture, title in ((axes[0, 0], bar, "bar, speed 1"), (axes[0, 1], kernel, "kernel for speed 1")):
        for (t, i), value in np.ndenumerate(picture / abs(picture).max()):
            if abs(value) > 0.02:
                ax.add_patch(
                    Rectangle((i, t), 1, 1, color=BLUE if value > 0 else ORANGE, alpha=min(1, abs(value)), lw=0)
                )
        ax.set_xlim(0, picture.shape[1])
        ax.set_ylim(picture.shape[0], 0)
        ax.set_aspect("equal")
        ax.grid(False)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[["top", "right"]].set_visible(True)
        ax.set_title(title)
        ax.set_xlabel("place")
        ax.set_ylabel("time (down)")
    grid = axes[1, 0].get_gridspec()
    for ax in axes[1]:
        ax.remove()
    below = fig.add_subplot(grid[1, :])
    for u, answer, colour, mark in zip(tuned, answers, (ORANGE, BLUE, GREEN), "os^", strict=True):
        below.plot(speeds, answer, mark + "-", color=colour, label=f"kernel for speed {u}".replace("-", "\u2212"))
    below.set_xlabel("speed of the bar, places per frame (negative: to the left)")
    below.set_ylabel("largest answer")
    below.set_ylim(0, 1.35)
    below.legend(loc="upper center", ncols=3, fontsize=8.5, columnspacing=1.0, handlelength=1.4)
    best = [float(speeds[a.argmax()]) for a in answers]
    assert best == list(tuned)
    opposite = answers[1][speeds == -1][0]
    return figure(
        fig,
        label="motion-detectors",
        caption=(
            "In space and time a moving bar is a slanted line, and a kernel with the same slant (blue "
            "positive, orange negative) answers to it most. "
            "Below: the largest output of three kernels of `conv3d` to films of a bar at 13 speeds, each as "
            "a share of its best. Every kernel prefers its own "
            "direction and speed; to a bar of the opposite direction the kernel for speed 1 gives "
            f"{100 * opposite:.0f} % of its best."
        ),
        alt=(
            "Above: a bar that moves to the right drawn over place and time, a slanted line; and a kernel "
            "with the same slant. Below: three curves of "
            f"the answer over the speed of the bar, with their peaks at {', '.join(f'{b:g}' for b in best)} "
            "places per frame."
        ),
    )
