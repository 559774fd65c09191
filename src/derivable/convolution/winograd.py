"""Winograd's minimal filtering for 3 x 3 kernels: fewer multiplications, paid with additions.

The output is cut into tiles of m x m numbers; each reads n x n numbers of a channel, n = m + 2, so neighbouring tiles'
inputs overlap. With three small constant matrices (see the chapter on convolution) the tile is

    A' [ sum over the channels of (G w G') * (B' d B) ] A        (* number by number, ' transposed)

so that n * n multiplications do what takes 9 * m * m by the definition: 16 for 36 with m = 2, and 36 for 144 with
m = 4. The sum over the channels, for each of the n * n entries, is a matrix product with the tiles side by side. It
goes through the micro-kernel.

The work is done block by block of tiles:

1. for each channel, the tiles' inputs, with the padding written out, are transformed into `v`, at most MOST_BYTES
   large and NEAR_BYTES where that is enough, in the order that the micro-kernel reads;
2. for a few panels of out channels, the kernel is transformed into `u`, multiplied with `v` entry by entry, and the
   products transformed back and written. `u` is read once for each panel of tiles: beside a small input it stays in
   the core's own cache, beside a large one it comes from further away, line after line. It is never kept.

The gradient in the input with stride 2 goes the same way, with tiles of 4 x 4 inputs out of 3 x 3 numbers of the
gradient: 25 multiplications instead of 36.

These are all the buffers there are. A kernel with depth, (KD, 3, 3), is read as KD times as many channels.

*Accuracy.* The sums are rounded at the size of the transformed numbers, which exceed the outputs: see `ERROR`. *NaN
and infinity* would spread over a tile. So every output is checked, and if one is not finite the
caller is told to compute the layer by another algorithm.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np

from derivable.convolution.implicit import at
from derivable.jit import kernel, parallel_for, threads_for
from derivable.simd import (
    ROWS,
    VECTOR_BYTES,
    VECTORS,
    across,
    aligned,
    along,
    ask,
    ask_to_write,
    clear,
    lanes,
    multiply_tile,
    sandwich,
    seconds_of,
    turn,
)

__all__ = [
    "ERROR",
    "A",
    "B",
    "G",
    "convolution_winograd",
    "filtering",
    "input_gradient_winograd",
    "kernel_gradient_winograd",
]

MOST_BYTES = 1 << 23  # the transformed input of one block, at most
NEAR_BYTES = 1 << 21  # the same, as long as the blocks are not too small: it then stays in the core's own cache
LEAST_PANELS = 4  # of tiles in a block, each of which transforms the kernel anew
LEAST_TILES = 96  # of the gradient in the kernel in a block, each of which adds to the whole gradient
U_BYTES = 1 << 22  # the transformed kernel of a few panels of out channels, at most, but two panels in any case
SAVES = 3  # how many times as fast as the micro-kernel would compute the same without this algorithm, about
TILES_TURNED = 14  # of a line, whose numbers are turned round together for the gradient in the kernel
CHANNELS_AHEAD_OF_U = 4  # channels between the one whose transformed kernel is written and the one asked for
CHANNELS_AHEAD_OF_W = 8  # channels between the one whose kernel is read backwards and the one asked for

# The error of an output is at most ERROR[kind] * (channels + 20) * eps * max|x| * max|w|, whatever the numbers. The
# factor is the square of the largest row sum of |A| |G| |B|: how far the sums in between can exceed the outputs.
ERROR: dict[int, float] = {}


def filtering(m: int, points: tuple[Any, ...], taps: int = 3) -> tuple[list[list[Fraction]], ...]:
    """Return the matrices of minimal filtering for m outputs, from n - 1 points and infinity, n = m + taps - 1.

    With `*` number by number, A @ ((G @ taps) * (B @ inputs)) is the correlation of n inputs with the taps.

    Args:
        m: how many outputs.
        points: n - 1 different numbers.
        taps: how many taps.

    Returns:
        A (m, n), G (n, taps), B (n, n), in fractions.
    """
    n = m + taps - 1
    a = [[Fraction(p) ** i for p in points] + [Fraction(int(i == m - 1))] for i in range(m)]
    g = []
    for p in points:
        scale = math.prod(Fraction(p - q) for q in points if q != p)
        g.append([Fraction(p) ** k / scale for k in range(taps)])
    g.append([Fraction(int(k == taps - 1)) for k in range(taps)])
    b = []
    for skipped in (*points, None):
        # The coefficients of the polynomial that vanishes at all other points.
        row = [Fraction(1)]
        for q in points:
            if q != skipped:
                row = [-q * low + high for low, high in zip([*row, 0], [0, *row], strict=True)]
        b.append([*row, *[Fraction(0)] * (n - len(row))])
    # Signs may move between the rows of G and B.
    for i, row in enumerate(g):
        if i < n - 1 and next(value for value in row if value) < 0:
            g[i], b[i] = [-value for value in row], [-value for value in b[i]]
    return a, g, b


SPREAD = 3  # the kind of tiles for the gradient in the input with stride 2; else the kind is m
# For m = 4 the usual points are 0, 1, -1, 2, -2. These make a third of the error, at the same cost: see the chapter.
POINTS = {2: (0, 1, -1), 4: (0, Fraction(5, 8), Fraction(-5, 8), Fraction(3, 2), Fraction(-3, 2))}
A, G, B = {}, {}, {}
for outputs, chosen_points in POINTS.items():
    exact = filtering(outputs, chosen_points)
    A[outputs], G[outputs], B[outputs] = (np.array([[float(v) for v in row] for row in part]) for part in exact)

# For the gradient in the kernel the roles change: 3 outputs, and the 4 x 4 numbers of `g` in a tile are the taps.
A_BACK, G_BACK, B_BACK = (np.array([[float(v) for v in r] for r in part]) for part in filtering(3, POINTS[4], taps=4))

# The gradient in the input with stride 2: every other input meets the first and the last tap, F(2, 2), the rest the one
# in the middle, which takes two products for two inputs. So 5 products make 4 inputs' gradients out of 3 numbers.
EVEN_A, EVEN_G, EVEN_B = (np.array([[float(v) for v in r] for r in part]) for part in filtering(2, (0, 1), taps=2))
A[SPREAD], G[SPREAD], B[SPREAD] = np.zeros((4, 5)), np.zeros((5, 3)), np.vstack([EVEN_B, np.eye(3)[:2]])
A[SPREAD][1::2, :3], A[SPREAD][::2, 3:] = EVEN_A, np.eye(2)
G[SPREAD][:3, ::2], G[SPREAD][3:, 1] = EVEN_G, 1
for kind in A:
    sizes = np.abs(G[kind]).sum(axis=1) * np.abs(B[kind]).sum(axis=1)
    ERROR[kind] = float((np.abs(A[kind]) @ sizes).max() ** 2)
# Of each kind of tile: products, inputs, inputs to the next tile and outputs, along an axis.
SIZES = {kind: (*B[kind].shape, 2 if kind == SPREAD else kind, len(A[kind])) for kind in A}

gradient_x, gradient_w = sandwich(B_BACK), sandwich(A_BACK)
gradient_g = sandwich(G_BACK, rows=True)
along_2, along_4, along_spread = (along(B[kind], SIZES[kind][2]) for kind in (2, 4, SPREAD))
across_2, across_4, across_spread = (across(B[kind], SIZES[kind][0]) for kind in (2, 4, SPREAD))
kernel_2, kernel_4, kernel_spread = (sandwich(G[kind], rows=True) for kind in (2, 4, SPREAD))
output_2, output_4, output_spread = (sandwich(A[kind]) for kind in (2, 4, SPREAD))


def convolution_winograd(x, w, bias, out, before, dilation, stride, groups, m=4):  # type: ignore[no-untyped-def]
    """Compute a layer's convolution plus `bias` into `out`; return False if something is not finite."""
    inner = w.shape[1]
    steps = (w[0].size, w[0, 0].size, 9, 1)
    return multiply_tiles(x, w, inner, steps, bias, out, before, dilation[0], stride[0], groups, m)


def input_gradient_winograd(g, w, bias, out, before, dilation, stride, groups, m=4):  # type: ignore[no-untyped-def]
    """Compute the transposed map, applied to `g`, plus `bias`, into `out`; return False if something is not finite.

    The stride is 1, with tiles of m x m outputs, or (1, 2, 2) with odd padding in front of rows and columns.
    """
    inner = w.shape[0] // groups
    steps = (w[0, 0].size, w[0].size, -9, -1)
    back = tuple((k - 1) * d - b for k, d, b in zip(w.shape[2:], dilation, before, strict=True))
    kind = SPREAD if stride[2] == 2 else m
    if kind == SPREAD:
        # Input 4 t of a row meets the middle tap and number 2 t + (before - 1) / 2 of g: there a tile begins.
        back = (back[0], -(before[1] // 2), -(before[2] // 2))
    return multiply_tiles(g, w, inner, steps, bias, out, back, dilation[0], 1, groups, kind)


def multiply_tiles(x, w, inner, steps, bias, out, before, dilation, stride, groups, kind):  # type: ignore[no-untyped-def]
    """Run the two phases block by block.

    `inner` is the number of channels a group reads. `steps` are the steps in `w` to the next out channel, channel,
    depth and tap; where the last two are negative the kernel is read backwards.
    """
    n, _, _, m = SIZES[kind]
    depth = w.shape[2]
    channels, per_group = inner * depth, out.shape[1] // groups
    lane = VECTOR_BYTES // x.itemsize
    width = VECTORS * lane
    high, wide = -(-out.shape[3] // m), -(-out.shape[4] // m)
    tiles = out.shape[0] * out.shape[2] * high * wide
    panels_of_tiles = -(-tiles // width)
    size = -(-tiles // lane) * lane * n * n * channels * x.itemsize
    small_blocks = min(panels_of_tiles // LEAST_PANELS, round(size / NEAR_BYTES))
    blocks = max(1, small_blocks, min(panels_of_tiles, -(-size // MOST_BYTES)))
    per_block = -(-panels_of_tiles // blocks) * width
    numbers = min(per_block, -(-tiles // lane) * lane) * channels + -(-per_block // width) * lane
    v = aligned(n * n * numbers, x)
    panels = -(-per_group // ROWS)
    threads = threads_for(seconds_of(out.size * channels * 9, x.itemsize) / SAVES, 2)
    # Where the transformed input stays near, it may pass by more often, and the transformed kernel stays near, too.
    near = v.nbytes <= NEAR_BYTES * 5 // 4
    some = max(2, (NEAR_BYTES // 2 if near else U_BYTES) // (n * n * channels * ROWS * x.itemsize))
    together = 4 if near else 8
    chunks = min(panels, max(-(-panels // some), threads if threads > 1 else 1))
    fine = np.ones(chunks, np.bool_)
    flat_x, flat_w, flat_out = x.reshape(-1), w.reshape(-1), out.reshape(-1)
    shapes = (x.shape, out.shape)
    first_tap = 0 if steps[3] > 0 else w[0, 0].size - 1
    for group in range(groups):
        for t0 in range(0, tiles, per_block):
            t1 = min(tiles, t0 + per_block)
            plan = (kind, SIZES[kind], high, wide, t0, t1, together)
            run = (flat_x, v, shapes, group * inner, inner, depth, before, dilation, stride, plan)
            start_of_w = group * per_group * steps[0] if steps[3] > 0 else group * inner * steps[1] + first_tap
            back = (flat_w, start_of_w, steps, v, bias, flat_out, shapes, group, groups, channels, depth, chunks, plan)
            parallel_for(input_part, channels, *run, threads=threads)
            parallel_for(output_part, chunks, *back, fine, pieces=chunks, threads=threads)
            if not fine.all():
                return False
    return True


@kernel
def copy_piece(piece, size, x, row, breadth, first, count):  # type: ignore[no-untyped-def]
    """Write piece[t] = x[row + first + t] for t < count, where that is inside the row, and zeros up to `size`."""
    for t in range(size):
        piece[at(t)] = 0
    for t in range(max(0, -first), min(count, breadth - first)):
        piece[at(t)] = x[at(row + first + t)]


@kernel
def ask_for_entries(v, i, pitch, entries, count):  # type: ignore[no-untyped-def]
    """Ask for the lines of v[i + entry * pitch + t] for t < count, which will be written."""
    for entry in range(entries):
        for t in range(0, count, lanes(v)):
            ask_to_write(v, i + entry * pitch + t)


@kernel
def input_part(  # type: ignore[no-untyped-def]
    start, stop, x, v, shapes, first_channel, channels, kernel_depth, before, dilation, stride, plan
):
    """Transform the inputs of the tiles t0..t1, for the channels start..stop (times the kernel's depth).

    Each row of a tile is multiplied with B first, `along` the rows of the image; the rest is done when the n rows of
    all tiles of a panel stand one above the other.
    """
    (_, in_channels, depth, height, breadth), (_, _, out_depth, _, _) = shapes
    kind, (n, reach, step, _), high, wide, t0, t1, _ = plan
    lane = lanes(x)
    width = VECTORS * lane
    total = channels * kernel_depth
    pitch = width + lane
    half = aligned(reach * n * pitch, x)
    half[:] = 0
    piece = np.empty(step * width + lane, x.dtype)
    for k in range(start, stop):
        c, a = divmod(k, kernel_depth)
        for p in range(t0, t1, width):
            count = min(width, t1 - p)
            vectors = (count + lane - 1) // lane
            place = (p - t0) // width * n * n * (total * width + lane) + k * vectors * lane
            pitch_of_v = total * vectors * lane + lane
            ask_for_entries(v, place, pitch_of_v, n * n, vectors * lane)
            done = 0
            g, column = divmod(p, wide)
            while done < count:
                # These tiles stand side by side in the image.
                length = min(wide - column, count - done)
                image, row = divmod(g, high)
                q, d = divmod(image, out_depth)
                d = d * stride - before[0] + a * dilation
                base = ((q * in_channels + first_channel + c) * depth + d) * height
                first = column * step - before[2]
                some = (length + lane - 1) // lane
                size = some * step * lane + lane  # what is read
                needed = step * (length - 1) + reach
                for i in range(reach):
                    h = row * step - before[1] + i
                    target = i * n * pitch + done
                    if not (0 <= h < height and 0 <= d < depth):
                        for j in range(n):
                            for t in range(0, length, lane):
                                clear(half, target + j * pitch + t)
                        continue
                    source = (base + h) * breadth
                    for t in range(0, step * length, lane):  # the next channel's
                        ask(x, source + depth * height * breadth + first + t)
                    if first >= 0 and first + needed <= breadth and source + first + size <= x.size:
                        transform_along(kind, some, x, source + first, half, target, pitch)
                    else:
                        copy_piece(piece, size, x, source, breadth, first, needed)
                        transform_along(kind, some, piece, 0, half, target, pitch)
                done += length
                column = 0
                g += 1
            if kind == 4:
                across_4(vectors, half, 0, pitch, v, place, pitch_of_v)
            elif kind == 2:
                across_2(vectors, half, 0, pitch, v, place, pitch_of_v)
            else:
                across_spread(vectors, half, 0, pitch, v, place, pitch_of_v)


@kernel
def transform_along(kind, count, x, i, half, j, pitch):  # type: ignore[no-untyped-def]
    """Multiply pieces of a row with B, for tiles of this kind."""
    if kind == 4:
        along_4(count, x, i, half, j, pitch)
    elif kind == 2:
        along_2(count, x, i, half, j, pitch)
    else:
        along_spread(count, x, i, half, j, pitch)


@kernel
def transform_kernel(w, start, rows, steps, channels, depth, kind, n, u, i, pitch, taps, offsets):  # type: ignore[no-untyped-def]
    """Transform one panel of the kernel: u[i + entry * pitch + k * ROWS + row], for k < channels.

    `taps` is working space for the taps of ROWS channels; `offsets` says where in it each of them goes.
    """
    row_step, channel_step, depth_step, tap_step = steps
    for k0 in range(0, channels, ROWS):
        count = min(ROWS, channels - k0)
        whole = rows == ROWS and count == ROWS
        if whole and tap_step > 0:
            # The taps of ROWS channels lie in one row.
            for t in range(0, 9 * ROWS, ROWS):
                for row in range(ROWS):  # of the channels after these
                    ask(w, start + (k0 + ROWS) * 9 + t + row * row_step)
                turn(taps, 0, offsets, t, w, start + k0 * 9 + t, row_step)
        for k in range(k0, k0 + count):
            c, a = divmod(k, depth)
            here, there = start + c * channel_step + a * depth_step, (k - k0) * 9 * ROWS
            first = 0
            if whole and tap_step > 0:
                first = 9
            elif rows == ROWS and tap_step < 0:
                # Each channel's taps lie far from the last one's: ask for those to come.
                c, a = divmod(k + CHANNELS_AHEAD_OF_W, depth)
                ahead = start + c * channel_step + a * depth_step - 8
                for row in range(ROWS):
                    ask(w, ahead + row * row_step)
                # The last 8 of the 9 taps, backwards.
                for t in range(0, 8, ROWS):
                    turn(taps, there, offsets, 9 * ROWS + t, w, here - 8 + t, row_step)
                for row in range(rows):
                    taps[at(there + row)] = w[at(here + row * row_step)]
                first = 9
            for tap in range(first, 9):
                for row in range(rows):
                    taps[at(there + tap * ROWS + row)] = w[at(here + row * row_step + tap * tap_step)]
            ask_for_entries(u, i + (k + CHANNELS_AHEAD_OF_U) * ROWS, pitch, n * n, ROWS)
            if kind == 4:
                kernel_4(1, taps, there, 3 * ROWS, ROWS, u, i + k * ROWS, pitch)
            elif kind == 2:
                kernel_2(1, taps, there, 3 * ROWS, ROWS, u, i + k * ROWS, pitch)
            else:
                kernel_spread(1, taps, there, 3 * ROWS, ROWS, u, i + k * ROWS, pitch)


@kernel(fastmath={"contract"})
def add_zero_times(total, values, i, count):  # type: ignore[no-untyped-def]
    """Add 0 * values to the totals: they become NaN where a value is not finite."""
    for t in range(count):
        total[at(t)] += 0 * values[at(i + t)]


@kernel
def join_row(out, o, count, values, i, pitch, first, m):  # type: ignore[no-untyped-def]
    """Write out[o + m * t + j] = first + values[i + j * pitch + t], as long as m * t + j < count."""
    whole = count // m
    if m == 4:
        for t in range(whole):
            out[at(o + 4 * t)] = first + values[at(i + t)]
            out[at(o + 4 * t + 1)] = first + values[at(i + pitch + t)]
            out[at(o + 4 * t + 2)] = first + values[at(i + 2 * pitch + t)]
            out[at(o + 4 * t + 3)] = first + values[at(i + 3 * pitch + t)]
    else:
        for t in range(whole):
            out[at(o + 2 * t)] = first + values[at(i + t)]
            out[at(o + 2 * t + 1)] = first + values[at(i + pitch + t)]
    for j in range(count - whole * m):
        out[at(o + whole * m + j)] = first + values[at(i + j * pitch + whole)]


@kernel
def output_part(  # type: ignore[no-untyped-def]
    start, stop, w, start_of_w, steps, v, bias, out, shapes, group, groups, channels, depth, chunks, plan, fine
):
    """Multiply and transform back the chunks start..stop of the panels of out channels, for the tiles t0..t1."""
    (_, out_channels, out_depth, out_height, out_width) = shapes[1]
    kind, (n, _, _, m), high, wide, t0, t1, together = plan
    per_group = out_channels // groups
    panels = (per_group + ROWS - 1) // ROWS
    lane = lanes(v)
    width = VECTORS * lane
    most = (panels + chunks - 1) // chunks
    # One vector more than needed between entries: at distances of 4096 bytes they would drive each other out.
    pitch_of_u = channels * ROWS + lane
    size_of_panel = n * n * pitch_of_u
    u = np.empty(most * size_of_panel, v.dtype)
    taps = np.zeros(9 * ROWS * ROWS, v.dtype)
    offsets = np.empty(9 * ROWS + 8, np.int64)
    for t in range(9 * ROWS):
        offsets[t] = t * ROWS
    for t in range(8):
        offsets[9 * ROWS + t] = (8 - t) * ROWS
    products = aligned(together * n * n * ROWS * width, v)
    products[:] = 0
    values = aligned(m * m * width, v)
    values[:] = 0
    total = np.zeros(width, v.dtype)
    for chunk in range(start, stop):
        first, last = panels * chunk // chunks, panels * (chunk + 1) // chunks
        for q in range(first, last):
            rows = min(ROWS, per_group - q * ROWS)
            place = start_of_w + q * ROWS * steps[0]
            transform_kernel(
                w, place, rows, steps, channels, depth, kind, n, u, (q - first) * size_of_panel, pitch_of_u,
                taps, offsets,
            )  # fmt: skip
        for p in range(t0, t1, width):
            count = min(width, t1 - p)
            vectors = (count + lane - 1) // lane
            here = vectors * lane
            pitch = channels * here + lane
            place = (p - t0) // width * n * n * (channels * width + lane)
            for q0 in range(first, last, together):
                q1 = min(last, q0 + together)
                for entry in range(n * n):
                    for q in range(q0, q1):
                        # The first few ask for the numbers of the next entry, an equal part each.
                        part, step = (q - q0, lane) if q - q0 < vectors else (0, 0)
                        multiply_tile(
                            channels, vectors, u, (q - first) * size_of_panel + entry * pitch_of_u,
                            v, place + entry * pitch,
                            products, ((q - q0) * n * n + entry) * ROWS * width, width, ROWS, here, False,
                            v, place + (entry + 1) * pitch + part * channels * lane, step,
                        )  # fmt: skip
                for q in range(q0, q1):
                    for row in range(min(ROWS, per_group - q * ROWS)):
                        o = group * per_group + q * ROWS + row
                        source = ((q - q0) * n * n * ROWS + row) * width
                        if kind == 4:
                            output_4(vectors, products, source, n * ROWS * width, ROWS * width, values, 0, width)
                        elif kind == 2:
                            output_2(vectors, products, source, n * ROWS * width, ROWS * width, values, 0, width)
                        else:
                            output_spread(vectors, products, source, n * ROWS * width, ROWS * width, values, 0, width)
                        for i in range(m * m):
                            add_zero_times(total, values, i * width, count)
                        done = 0
                        g, column = divmod(p, wide)
                        while done < count:
                            length = min(wide - column, count - done)
                            image, tile_row = divmod(g, high)
                            b, d = divmod(image, out_depth)
                            base = ((b * out_channels + o) * out_depth + d) * out_height
                            for i in range(min(m, out_height - tile_row * m)):
                                target = (base + tile_row * m + i) * out_width + column * m
                                columns = min(length * m, out_width - column * m)
                                for t in range(0, columns, lane):  # the next channel's
                                    ask_to_write(out, target + out_depth * out_height * out_width + t)
                                join_row(out, target, columns, values, i * m * width + done, width, bias[o], m)
                            done += length
                            column = 0
                            g += 1
        for t in range(width):
            if total[t] != 0:
                fine[chunk] = False


# ----------------------------------------------------------------------------- gradient with respect to the kernel


def kernel_gradient_winograd(g, x, out, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the derivative of sum(g * convolution(x, w)) with respect to `w`, 3 x 3 with stride 1, into `out`.

    Each tile of 4 x 4 numbers of `g` meets 6 x 6 numbers of `x`, and gives 3 x 3 sums: minimal filtering with the tile
    of `g` as the taps, 36 multiplications instead of 144. The sum now runs over the tiles, so here the channels
    lie side by side, which they do after the rows of a tile have been turned round. False if something is not finite.
    """
    _, _, depth, height, width = g.shape
    lane = VECTOR_BYTES // x.itemsize
    per_group, channels = out.shape[0] // groups, out.shape[1]
    high, wide = -(-height // 4), -(-width // 4)
    lines = g.shape[0] * depth * high
    room = -(-channels // lane) * lane, -(-per_group // ROWS) * ROWS
    size = 36 * wide * max(room) * x.itemsize
    per_block = max(1, min(lines, MOST_BYTES // size, max(NEAR_BYTES // size, -(-LEAST_TILES // wide))))
    per_block = -(-lines // -(-lines // per_block))
    tiles = per_block * wide
    panels = -(-channels // (VECTORS * lane)), room[1] // ROWS
    v = aligned(36 * (tiles * room[0] + panels[0] * lane), x)
    u = np.empty(36 * (tiles * room[1] + panels[1] * lane), x.dtype)
    threads = threads_for(seconds_of(g.size * out[0].size, x.itemsize) / SAVES, 2)
    args = (g.reshape(-1), x.reshape(-1), u, v, (g.shape, x.shape, out.shape))
    fine = np.ones(panels[0], np.bool_)
    for group, a, first in itertools.product(range(groups), range(out.shape[2]), range(0, lines, per_block)):
        count = min(per_block, lines - first)
        place = (before[0] - a * dilation[0], before[1], before[2])
        run = (*args, place, groups, room, (high, wide), group, first, count * wide)
        back = (u, v, out.reshape(-1), out.shape, group, groups, a, room, count * wide, first > 0)
        parallel_for(turn_part, count, *run, threads=threads)
        parallel_for(sum_part, panels[0], *back, fine, pieces=panels[0], threads=threads)
        if not fine.all():
            return False
    return True


@kernel
def turn_line(target, i, room, count, x, place, pitch, channels, offsets, ahead):  # type: ignore[no-untyped-def]
    """Write target[i + t * room + c] = x[place + c * pitch + t] for t < count and c < channels.

    Meanwhile it asks for what stands `ahead` numbers further on in x.
    """
    whole_c, whole_t = channels // ROWS * ROWS, count // ROWS * ROWS
    for c in range(0, whole_c, ROWS):
        for t in range(0, whole_t, ROWS):
            for r in range(c, c + ROWS):
                ask(x, place + r * pitch + t + ahead)
            turn(target, i + t * room + c, offsets, 0, x, place + c * pitch + t, pitch)
    for c in range(channels):
        for t in range(whole_t if c < whole_c else 0, count):
            target[at(i + t * room + c)] = x[at(place + c * pitch + t)]


@kernel
def write_zeros(target, i, count):  # type: ignore[no-untyped-def]
    """Write zeros to target[i + t] for t < count."""
    for t in range(count):
        target[at(i + t)] = 0


@kernel
def turn_lines(  # type: ignore[no-untyped-def]
    target, room, rows, columns, x, base, first_row, first_column, height, width, pitch, channels, offsets, ahead
):
    """Turn rows x columns numbers of each channel round: target[(i * columns + t) * room + c].

    They are those from (first_row, first_column) on of the planes of x whose first one begins at `base`; what is
    outside a plane becomes zero.
    """
    left, right = min(columns, max(0, -first_column)), max(0, min(columns, width - first_column))
    for i in range(rows):
        h, line = first_row + i, i * columns * room
        if 0 <= h < height and left < right:
            write_zeros(target, line, left * room)
            write_zeros(target, line + right * room, (columns - right) * room)
            turn_line(
                target, line + left * room, room, right - left, x, base + h * width + first_column + left, pitch,
                channels, offsets, ahead,
            )  # fmt: skip
        else:
            write_zeros(target, line, columns * room)


@kernel
def turn_part(start, stop, g, x, u, v, shapes, before, groups, room, size, group, first, tiles):  # type: ignore[no-untyped-def]
    """Turn round and transform the numbers of the lines of tiles first + start .. first + stop.

    It goes by panels of channels and a few tiles, whose numbers stay near.
    """
    (_, out_channels, out_depth, out_height, out_width), (_, in_channels, depth, height, width), w_shape = shapes
    high, wide = size
    per_group, channels = out_channels // groups, w_shape[1]
    lane = lanes(x)
    panel = VECTORS * lane
    some = min(wide, TILES_TURNED)
    # Numbers that Numba does not know beforehand: it would compile each function anew for the numbers it knows.
    side_of_x, side_of_g, few = w_shape[3] + 3, w_shape[3] + 1, min(ROWS, room[1])
    of_x, of_g = aligned(6 * (4 * some + 2) * panel, x), aligned(4 * 4 * some * ROWS, x)
    of_x[:] = 0
    of_g[:] = 0
    offsets_x, offsets_g = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    for t in range(ROWS):
        offsets_x[t], offsets_g[t] = t * panel, t * ROWS
    plane_of_x, plane_of_g = depth * height * width, out_depth * out_height * out_width
    for line in range(start, stop):
        image, row = divmod(first + line, high)
        n, d = divmod(image, out_depth)
        for c in range(0, room[0], panel):
            here = min(panel, room[0] - c)
            real = min(here, channels - c)
            base = (n * in_channels + group * channels + c) * plane_of_x + (d - before[0]) * height * width
            rows_of_x = height if 0 <= d - before[0] < depth else 0
            pitch = tiles * here + lane
            for t0 in range(0, wide, some):
                t1 = min(wide, t0 + some)
                columns = 4 * (t1 - t0) + 2
                turn_lines(
                    of_x, panel, side_of_x, columns, x, base, row * 4 - before[1], t0 * 4 - before[2], rows_of_x, width,
                    plane_of_x, real, offsets_x, 4 * some,
                )  # fmt: skip
                for t in range(t0, t1):
                    place = 36 * (tiles * c + c // panel * lane) + (line * wide + t) * here
                    ask_for_entries(v, place + here, pitch, side_of_x * side_of_x, here)  # the next tile's
                    source = 4 * (t - t0) * panel
                    gradient_x(here // lane, of_x, source, columns * panel, panel, v, place, pitch)
        pitch = tiles * ROWS + lane
        for o in range(0, room[1], ROWS):
            real = min(ROWS, per_group - o)
            base = (n * out_channels + group * per_group + o) * plane_of_g + d * out_height * out_width
            for t0 in range(0, wide, some):
                t1 = min(wide, t0 + some)
                columns = 4 * (t1 - t0)
                turn_lines(
                    of_g, few, side_of_g, columns, g, base, row * 4, t0 * 4, out_height, out_width, plane_of_g, real,
                    offsets_g, 4 * some,
                )  # fmt: skip
                for t in range(t0, t1):
                    place = 36 * (tiles * o + o // ROWS * lane) + (line * wide + t) * ROWS
                    ask_for_entries(u, place + few, pitch, side_of_x * side_of_x, few)
                    gradient_g(1, of_g, 4 * (t - t0) * ROWS, columns * ROWS, ROWS, u, place, pitch)


@kernel
def sum_part(start, stop, u, v, out, w_shape, group, groups, a, room, tiles, add, fine):  # type: ignore[no-untyped-def]
    """Add up over the tiles and transform back, for the panels start..stop of channels."""
    per_group, channels = w_shape[0] // groups, w_shape[1]
    lane = lanes(v)
    panel = VECTORS * lane
    products, values, flat = aligned(36 * ROWS * panel, v), aligned(9 * panel, v), aligned(9 * panel, v)
    taps = w_shape[3] * w_shape[4]
    total, offsets = np.zeros(panel, v.dtype), np.empty(ROWS, np.int64)
    for t in range(ROWS):
        offsets[t] = 9 * t
    for item in range(start, stop):
        c = item * panel
        here, real = min(panel, room[0] - c), min(panel, channels - c)
        whole = real // ROWS * ROWS
        place = 36 * (tiles * c + item * lane)
        for o in range(0, per_group, ROWS):
            panel_of_u = 36 * (tiles * o + o // ROWS * lane)
            for entry in range(36):
                multiply_tile(
                    tiles, here // lane, u, panel_of_u + entry * (tiles * ROWS + lane),
                    v, place + entry * (tiles * here + lane),
                    products, entry * ROWS * panel, panel, ROWS, here, False,
                    u, panel_of_u + 36 * (tiles * ROWS + lane) + entry * (tiles * ROWS + lane), ROWS,
                )  # fmt: skip
            rows = min(ROWS, per_group - o)
            for row in range(rows):
                gradient_w(here // lane, products, row * panel, 6 * ROWS * panel, ROWS * panel, values, 0, panel)
                for tap in range(9):
                    add_zero_times(total, values, tap * panel, real)
                target = (((group * per_group + o + row) * channels + c) * w_shape[2] + a) * 9
                # The 9 taps of a channel side by side: 8 of them, or twice 4, by turning blocks round.
                for t in range(0, whole, ROWS):
                    for tap in range(0, 8, ROWS):
                        turn(flat, 9 * t + tap, offsets, 0, values, tap * panel + t, panel)
                    for k in range(t, t + ROWS):
                        flat[at(9 * k + 8)] = values[at(8 * panel + k)]
                for t in range(whole, real):
                    for tap in range(9):
                        flat[at(9 * t + tap)] = values[at(tap * panel + t)]
                # Without depth all channels' taps are one piece.
                pieces, length = (1, 9 * real) if w_shape[2] == 1 else (real, taps)
                following = target + (9 * w_shape[2] * channels if row + 1 < rows else 0)
                for t in range(0, length, lane):  # the next row's
                    ask_to_write(out, following + t)
                for t in range(pieces):
                    write_numbers(out, target + 9 * w_shape[2] * t, flat, 9 * t, length, add)
        for t in range(panel):
            if total[t] != 0:
                fine[item] = False


@kernel
def write_numbers(out, o, values, i, count, add):  # type: ignore[no-untyped-def]
    """Write values[i + t] to out[o + t] for t < count, or add them."""
    if add:
        for t in range(count):
            out[at(o + t)] += values[at(i + t)]
    else:
        for t in range(count):
            out[at(o + t)] = values[at(i + t)]
