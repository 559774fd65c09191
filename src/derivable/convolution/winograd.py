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

Where a block of tiles is one panel, as all tiles of a small image are, they would leave lanes empty, and the kernel is
far larger than the image. Then the out channels lie side by side in the vectors, and the tiles are the rows
(`few_part`). `u` has some channels of a few vectors only, whose products are added up; meanwhile the taps that are
transformed next are asked for.

With stride 2 the tiles have 2 x 2 outputs and read 5 x 5 numbers, and those of the gradient in the input 4 x 4 inputs
and 3 x 3 numbers of the gradient: 25 multiplications instead of 36.

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
from derivable.jit import kernel, parallel_for, threads_for, working_space
from derivable.simd import (
    BESIDE,
    ROWS,
    VECTOR_BYTES,
    VECTORS,
    across,
    aligned,
    along,
    ask,
    ask_to_write,
    clear,
    finish_streams,
    lanes,
    multiply_beside,
    multiply_entries,
    sandwich,
    sandwich_joined,
    sandwich_rows,
    sandwich_turned,
    seconds_of,
    stream,
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
TILES_PAY = 5  # a tile's inputs take about so many times as long to transform as an out channel's taps
LEAST_PANELS = 8  # of tiles in a block, each of which transforms the kernel anew
LEAST_TILES = 96  # of the gradient in the kernel in a block, each of which adds to the whole gradient
U_BYTES = 1 << 22  # the transformed kernel of a few panels of out channels, at most, but two panels in any case
NEAR_U_BYTES = 7 << 18  # the same, where that is enough for four panels or more
SAVES = 3  # how many times as fast as the micro-kernel would compute the same without this algorithm, about
TILES_TURNED = 14  # of a line, whose numbers are turned round together for the gradient in the kernel
STREAM_BYTES = 1 << 22  # of a gradient in the kernel from which on it is written past the caches, if it can be
PLANE_BYTES = 1 << 16  # a channel of the input, at most, whose rows are copied with their padding first
CHANNEL_BYTES = 1 << 12  # an entry of the transformed kernel of one vector of out channels, where tiles are few

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


STRIDED, SPREAD = 5, 3  # the kinds of tiles with stride 2, forward and for the gradient in the input; else m
# For m = 4 the usual points are 0, 1, -1, 2, -2. These make a third of the error, at the same cost: see the chapter.
POINTS = {2: (0, 1, -1), 4: (0, Fraction(5, 8), Fraction(-5, 8), Fraction(3, 2), Fraction(-3, 2))}
A, G, B = {}, {}, {}
for outputs, chosen_points in POINTS.items():
    exact = filtering(outputs, chosen_points)
    A[outputs], G[outputs], B[outputs] = (np.array([[float(v) for v in row] for row in part]) for part in exact)

# With stride 2 the inputs with even numbers meet the first and the last tap, F(2, 2), and those with odd numbers the
# one in the middle, which takes two products for two outputs. So 5 products make 2 outputs out of 5 inputs. In the
# gradient in the input they change places: 5 products make 4 inputs' gradients out of 3 numbers.
EVEN_A, EVEN_G, EVEN_B = (np.array([[float(v) for v in r] for r in part]) for part in filtering(2, (0, 1), taps=2))
ONE = np.eye(2)
A[STRIDED], B[STRIDED], G[STRIDED] = np.hstack([EVEN_A, ONE]), np.zeros((5, 5)), np.zeros((5, 3))
B[STRIDED][:3, ::2], B[STRIDED][3:, 1::2] = EVEN_B, ONE
G[STRIDED][:3, ::2], G[STRIDED][3:, 1] = EVEN_G, 1
A[SPREAD], B[SPREAD], G[SPREAD] = np.zeros((4, 5)), np.vstack([EVEN_B, np.eye(3)[:2]]), G[STRIDED]
A[SPREAD][1::2, :3], A[SPREAD][::2, 3:] = EVEN_A, ONE
for kind in A:
    sizes = np.abs(G[kind]).sum(axis=1) * np.abs(B[kind]).sum(axis=1)
    ERROR[kind] = float((np.abs(A[kind]) @ sizes).max() ** 2)
# Of each kind of tile: products, inputs, inputs to the next tile and outputs, along an axis.
SIZES = {kind: (*B[kind].shape, step, len(A[kind])) for kind, step in ((2, 2), (4, 4), (STRIDED, 4), (SPREAD, 2))}

# For the gradient in the kernel the roles change: 3 outputs, and the 4 x 4 numbers of `g` in a tile are the taps. With
# stride 2 they are 2 x 2 numbers, and the matrices those of the forward direction, turned round.
exact = filtering(3, POINTS[4], taps=4)
A_BACK, G_BACK, B_BACK = ({4: np.array([[float(v) for v in r] for r in part])} for part in exact)
A_BACK[STRIDED], G_BACK[STRIDED], B_BACK[STRIDED] = G[STRIDED].T, A[STRIDED].T, B[STRIDED]
# Of each kind: products, numbers of the input, numbers to the next tile, and numbers of `g`, along an axis.
SIZES_BACK = {4: (6, 6, 4, 4), STRIDED: (5, 5, 4, 2)}

x_4, x_strided = (sandwich(B_BACK[kind]) for kind in SIZES_BACK)
g_4, g_strided = (sandwich(G_BACK[kind], rows=True) for kind in SIZES_BACK)
w_4, w_strided = (sandwich_turned(A_BACK[kind]) for kind in SIZES_BACK)
along_2, along_4, along_strided, along_spread = (along(B[kind], SIZES[kind][2]) for kind in SIZES)
across_2, across_4, across_strided, across_spread = (across(B[kind], SIZES[kind][0]) for kind in SIZES)
taps_2, taps_4, taps_strided = (sandwich_rows(G[kind]) for kind in (2, 4, STRIDED))
taps_back_2, taps_back_4, taps_spread = (sandwich_rows(G[kind], backwards=True) for kind in (2, 4, SPREAD))
output_2, output_4, output_strided, output_spread = (sandwich_joined(A[kind]) for kind in SIZES)
# The same for few tiles, where the out channels lie side by side in a vector.
whole_2, whole_4, whole_strided = (sandwich_rows(G[kind], whole=True) for kind in (2, 4, STRIDED))
whole_back_2, whole_back_4, whole_spread = (sandwich_rows(G[k], backwards=True, whole=True) for k in (2, 4, SPREAD))
tile_2, tile_4, tile_strided, tile_spread = (sandwich(A[kind]) for kind in SIZES)


def convolution_winograd(x, w, bias, out, before, dilation, stride, groups, m=4):  # type: ignore[no-untyped-def]
    """Compute a layer's convolution plus `bias` into `out`; return False if something is not finite.

    The stride of rows and columns is 1, with tiles of m x m outputs, or 2.
    """
    inner = w.shape[1]
    steps = (w[0].size, w[0, 0].size, 9, 1)
    kind = STRIDED if stride[2] == 2 else m
    return multiply_tiles(x, w, inner, steps, bias, out, before, dilation[0], stride[0], groups, kind)


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
    vectors, panels = -(-tiles // lane), -(-per_group // ROWS)
    flat_x, flat_w, flat_out = x.reshape(-1), w.reshape(-1), out.reshape(-1)
    shapes = (x.shape, out.shape)
    first_tap = 0 if steps[3] > 0 else w[0, 0].size - 1
    # A block of few tiles meets the transformed kernel once: a small piece of that at a time.
    few = few_tiles(tiles, per_group, n * n * channels * x.itemsize, lane)
    some_channels = min(channels, CHANNEL_BYTES // VECTOR_BYTES)
    # It takes long to read what another processor has just written. So each thread has tiles of its own, which it
    # transforms and multiplies. Where they are few, it does not pay that each thread transforms the whole kernel: then
    # the threads share them, and meet after each phase. The sums of an output are the same however the work is cut.
    many = TILES_PAY * tiles >= per_group
    threads = threads_for(seconds_of(out.size * channels * 9, x.itemsize) / SAVES, 1 if many else 2)
    of_groups, of_tiles = cut(threads, groups, vectors if many else 1)
    parts = of_groups * of_tiles
    fine = np.ones(parts, np.bool_)

    def compute(start, stop):  # type: ignore[no-untyped-def]
        for part in range(start, stop):
            g, t = divmod(part, of_tiles)
            first, last = (min(tiles, vectors * i // of_tiles * lane) for i in (t, t + 1))
            per_block = width if few else tiles_of_block(last - first, n * n * channels * x.itemsize, lane)
            numbers = min(per_block, -(-(last - first) // lane) * lane) * channels + -(-per_block // width) * lane
            # Where the transformed input stays near, it may pass by more often, and the transformed kernel stays near.
            near = n * n * numbers * x.itemsize <= NEAR_BYTES * 5 // 4
            panel = n * n * channels * ROWS * x.itemsize
            some = max(2, (NEAR_BYTES // 2 if near else U_BYTES if 4 * panel > NEAR_U_BYTES else NEAR_U_BYTES) // panel)
            together = 4 if near else 8
            chunks = min(panels, max(-(-panels // some), threads if parts == 1 < threads else 1))
            multiply = (
                (few_chunks, -(-per_group // (BESIDE * lane))) if few else (output_chunks, chunks, chunks, panels)
            )
            # Behind the last entry `few_part` may read a panel of ROWS numbers that has fewer.
            with working_space(n * n * numbers + ROWS, x.dtype) as v:
                for group in range(groups * g // of_groups, groups * (g + 1) // of_groups):
                    start_of_w = group * per_group * steps[0] if steps[3] > 0 else group * inner * steps[1] + first_tap
                    for t0 in range(first, last, per_block):
                        t1 = min(last, t0 + per_block)
                        plan = (kind, SIZES[kind], high, wide, t0, t1, together, some_channels)
                        run = (flat_x, v, shapes, group * inner, inner, depth, before, dilation, stride, plan)
                        place = (flat_w, start_of_w, steps, v, bias, flat_out, shapes, group, groups, channels, depth)
                        parallel_for(input_part, channels, *run, threads=threads)
                        parallel_for(*multiply, *place, plan, fine, part, pieces=4 * threads, threads=threads)
                        if not fine[part]:
                            return

    parallel_for(compute, parts, pieces=parts, threads=threads)
    return bool(fine.all())


def output_chunks(  # type: ignore[no-untyped-def]
    start, stop, chunks, panels, w, start_of_w, steps, v, bias, out, shapes, group, groups, channels, depth, plan, fine,
    part,
):  # fmt: skip
    """Run `output_part` for the chunks start..stop of the panels of out channels, with working space for it."""
    _, (n, _, _, _), _, _, _, _, together, _ = plan
    lane = VECTOR_BYTES // v.itemsize
    of_u, of_products = -(-panels // chunks) * n * n * (channels * ROWS + lane), n * n * ROWS * VECTORS * lane
    with working_space(of_u + together * of_products, v.dtype) as space:
        products, u = space[:-of_u], space[-of_u:]
        output_part(
            start, stop, chunks, w, start_of_w, steps, u, v, products, bias, out, shapes, group, groups, channels,
            depth, plan, fine, part,
        )  # fmt: skip


def few_chunks(  # type: ignore[no-untyped-def]
    start, stop, w, start_of_w, steps, v, bias, out, shapes, group, groups, channels, depth, plan, fine, part
):
    """Run `few_part` with working space for it."""
    _, (n, _, _, m), _, _, t0, t1, _, some_channels = plan
    lane = VECTOR_BYTES // v.itemsize
    line = BESIDE * lane
    of_u, of_products = n * n * (some_channels * line + lane), n * n * -(-(t1 - t0) // ROWS) * ROWS * line
    with working_space(of_u + of_products + (t1 - t0) * m * m * line, v.dtype) as space:
        u, products, values = space[:of_u], space[of_u : of_u + of_products], space[of_u + of_products :]
        few_part(
            start, stop, w, start_of_w, steps, u, v, products, values, bias, out, shapes, group, groups, channels,
            depth, plan, fine, part,
        )  # fmt: skip


def tiles_of_block(tiles, bytes_of_tile, lane):  # type: ignore[no-untyped-def]
    """Return how many tiles a block has, in whole panels; their transformed inputs shall stay near, if it can be."""
    panels = -(-tiles // (VECTORS * lane))
    size = -(-tiles // lane) * lane * bytes_of_tile
    small_blocks = min(panels // LEAST_PANELS, round(size / NEAR_BYTES))
    blocks = max(1, small_blocks, min(panels, -(-size // MOST_BYTES)))
    return -(-panels // blocks) * VECTORS * lane


def few_tiles(tiles, per_group, bytes_of_tile, lane):  # type: ignore[no-untyped-def]
    """Return whether the out channels of a group fill the vectors, rather than the tiles: a block is one panel of them.

    So it is where all tiles fit one panel, or where one panel of so many channels is as much as a block may take.
    """
    return per_group >= 2 * lane and tiles_of_block(tiles, bytes_of_tile, lane) == VECTORS * lane


def cut(threads, groups, count):  # type: ignore[no-untyped-def]
    """Return into how many parts the groups and what else there is are cut: as many as threads, or else one."""
    of_groups = shares(threads, groups)
    of_count = shares(-(-threads // of_groups), count)
    return (of_groups, of_count) if of_groups * of_count >= threads else (1, 1)


def shares(threads, count):  # type: ignore[no-untyped-def]
    """Return among how many threads so many things can be shared about equally."""
    return threads if count % threads == 0 or count >= 4 * threads else math.gcd(threads, count)


@kernel
def copy_piece(piece, size, x, row, breadth, first, count):  # type: ignore[no-untyped-def]
    """Write piece[t] = x[row + first + t] for t < count, where that is inside the row, and zeros up to `size`."""
    for t in range(size):
        piece[at(t)] = 0
    for t in range(max(0, -first), min(count, breadth - first)):
        piece[at(t)] = x[at(row + first + t)]


@kernel
def copy_rows(plane, rows, line, x, i, first_row, height, breadth, left):  # type: ignore[no-untyped-def]
    """Write rows of x[i:], height x breadth numbers, from `first_row` on to `plane`, `left` numbers into its lines.

    A row outside becomes zeros. What stands beside the rows is left as it is.
    """
    first, count = max(0, -left), min(breadth, line - left)
    for r in range(rows):
        target, source = r * line + left, i + (first_row + r) * breadth
        if 0 <= first_row + r < height:
            for t in range(first, count):
                plane[at(target + t)] = x[at(source + t)]
        else:
            for t in range(first, count):
                plane[at(target + t)] = 0


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
    kind, (n, reach, step, _), high, wide, t0, t1, _, _ = plan
    lane = lanes(x)
    width = VECTORS * lane
    total = channels * kernel_depth
    pitch = width + lane
    half = aligned(reach * n * pitch, x)
    half[:] = 0
    # What the block reads of a channel of a small image is copied once, with zeros around it.
    tile_rows = min(high, (t1 - t0 - 1) // wide + 2)
    rows, line = (tile_rows - 1) * step + reach, (wide - 1) * step + reach + step * lane
    copied = ((high - 1) * step + reach) * line <= PLANE_BYTES // x.itemsize
    plane = np.zeros(rows * line + lane if copied else 1, x.dtype)  # whole vectors are read, beyond the last tile too
    piece = np.empty(step * width + lane, x.dtype)
    for k in range(start, stop):
        c, a = divmod(k, kernel_depth)
        held, held_row = -1, 0
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
                if copied and 0 <= d < depth:
                    if held != image:
                        held, held_row = image, row
                        source = base * breadth
                        copy_rows(plane, rows, line, x, source, row * step - before[1], height, breadth, before[2])
                    for i in range(reach):
                        source = ((row - held_row) * step + i) * line + column * step
                        transform_along(kind, some, plane, source, half, i * n * pitch + done, pitch)
                else:
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
            elif kind == STRIDED:
                across_strided(vectors, half, 0, pitch, v, place, pitch_of_v)
            else:
                across_spread(vectors, half, 0, pitch, v, place, pitch_of_v)


@kernel
def transform_along(kind, count, x, i, half, j, pitch):  # type: ignore[no-untyped-def]
    """Multiply pieces of a row with B, for tiles of this kind."""
    if kind == 4:
        along_4(count, x, i, half, j, pitch)
    elif kind == 2:
        along_2(count, x, i, half, j, pitch)
    elif kind == STRIDED:
        along_strided(count, x, i, half, j, pitch)
    else:
        along_spread(count, x, i, half, j, pitch)


@kernel
def transform_taps(  # type: ignore[no-untyped-def]
    kind, backwards, beside, count, panels, w, i, row_step, step, u, j, pitch, panel, line
):
    """Multiply 3 x 3 taps with G from both sides, for tiles of this kind: those of `count` channels, panel by panel.

    A panel has ROWS rows, or a vector of them if `beside`. STRIDED tiles are for kernels that are read forwards, SPREAD
    ones for kernels that are read backwards.
    """
    if kind == STRIDED:
        if beside:
            whole_strided(count, panels, w, i, row_step, step, u, j, pitch, panel, line)
        else:
            taps_strided(count, panels, w, i, row_step, step, u, j, pitch, panel, line)
    elif kind == SPREAD:
        if beside:
            whole_spread(count, panels, w, i, row_step, step, u, j, pitch, panel, line)
        else:
            taps_spread(count, panels, w, i, row_step, step, u, j, pitch, panel, line)
    elif kind == 4 and backwards:
        if beside:
            whole_back_4(count, panels, w, i, row_step, step, u, j, pitch, panel, line)
        else:
            taps_back_4(count, panels, w, i, row_step, step, u, j, pitch, panel, line)
    elif kind == 4:
        if beside:
            whole_4(count, panels, w, i, row_step, step, u, j, pitch, panel, line)
        else:
            taps_4(count, panels, w, i, row_step, step, u, j, pitch, panel, line)
    elif backwards:
        if beside:
            whole_back_2(count, panels, w, i, row_step, step, u, j, pitch, panel, line)
        else:
            taps_back_2(count, panels, w, i, row_step, step, u, j, pitch, panel, line)
    elif beside:
        whole_2(count, panels, w, i, row_step, step, u, j, pitch, panel, line)
    else:
        taps_2(count, panels, w, i, row_step, step, u, j, pitch, panel, line)


@kernel
def transform_kernel(  # type: ignore[no-untyped-def]
    w, start, rows, steps, first, last, depth, kind, size, u, pitch, panel, line, piece
):
    """Transform the kernel's first `rows` rows: u[r // size * panel + entry * pitch + (k - first) * line + r % size].

    Here first <= k < last. `size` is ROWS, and then `line`, too, or else as many numbers as a vector has, and then
    `panel`, too. `piece` is working space for 9 * size zeros, which the taps of the last few rows are written into
    where they do not fill a panel.
    """
    row_step, channel_step, depth_step, tap_step = steps
    backwards, whole = tap_step < 0, rows // size
    beside = panel == size
    lot = (pitch, panel, line)
    if not backwards:  # the taps of a row lie one after another
        for q in range(whole):
            here = start + q * size * row_step + first * 9
            transform_taps(kind, False, beside, last - first, 1, w, here, row_step, 9, u, q * panel, *lot)
    elif depth == 1:  # those of a channel do, and memory is fast where it is read in order
        here = start + first * channel_step
        transform_taps(kind, True, beside, last - first, whole, w, here, row_step, channel_step, u, 0, *lot)
    for k in range(first, last):
        c, a = divmod(k, depth)
        here, there = start + c * channel_step + a * depth_step, (k - first) * line
        if backwards and depth > 1:
            transform_taps(kind, True, beside, 1, whole, w, here, row_step, channel_step, u, there, *lot)
        if whole * size < rows:
            low = 8 if backwards else 0
            for row in range(rows - whole * size):
                for t in range(9):
                    piece[at(9 * row + t)] = w[at(here - low + (whole * size + row) * row_step + t)]
            there += whole * panel
            transform_taps(kind, backwards, beside, 1, 1, piece, low, 9, 0, u, there, *lot)


@kernel
def transform_output(kind, vectors, products, i, row_pitch, pitch, first, values, line, total):  # type: ignore[no-untyped-def]
    """Multiply the products with A from both sides, for tiles of this kind, and join neighbours' rows."""
    if kind == 4:
        output_4(vectors, products, i, row_pitch, pitch, first, values, 0, line, total)
    elif kind == 2:
        output_2(vectors, products, i, row_pitch, pitch, first, values, 0, line, total)
    elif kind == STRIDED:
        output_strided(vectors, products, i, row_pitch, pitch, first, values, 0, line, total)
    else:
        output_spread(vectors, products, i, row_pitch, pitch, first, values, 0, line, total)


@kernel
def output_part(  # type: ignore[no-untyped-def]
    start, stop, chunks, w, start_of_w, steps, u, v, products, bias, out, shapes, group, groups, channels, depth, plan,
    fine, part,
):  # fmt: skip
    """Multiply and transform back the chunks start..stop of the panels of out channels, for the tiles t0..t1.

    `u` and `products` are working space.
    """
    (_, out_channels, out_depth, out_height, out_width) = shapes[1]
    kind, (n, _, _, m), high, wide, t0, t1, together, _ = plan
    per_group = out_channels // groups
    panels = (per_group + ROWS - 1) // ROWS
    lane = lanes(v)
    width = VECTORS * lane
    # One vector more than needed between entries: at distances of 4096 bytes they would drive each other out.
    pitch_of_u = channels * ROWS + lane
    size_of_panel = n * n * pitch_of_u
    piece = np.zeros(9 * ROWS, v.dtype)
    values = aligned(m * m * width, v)
    values[:] = 0
    total = np.zeros(lane, v.dtype)
    for chunk in range(start, stop):
        first, last = panels * chunk // chunks, panels * (chunk + 1) // chunks
        rows = min(last * ROWS, per_group) - first * ROWS
        place = start_of_w + first * ROWS * steps[0]
        transform_kernel(
            w, place, rows, steps, 0, channels, depth, kind, ROWS, u, pitch_of_u, size_of_panel, ROWS, piece
        )
        for p in range(t0, t1, width):
            count = min(width, t1 - p)
            vectors = (count + lane - 1) // lane
            here = vectors * lane
            pitch = channels * here + lane
            place = (p - t0) // width * n * n * (channels * width + lane)
            for q0 in range(first, last, together):
                q1 = min(last, q0 + together)
                multiply_entries(
                    n * n, q1 - q0, channels, vectors, u, (q0 - first) * size_of_panel, size_of_panel, pitch_of_u,
                    v, place, pitch, products, 0, n * n * ROWS * width, ROWS * width, width, False,
                )  # fmt: skip
                for q in range(q0, q1):
                    for row in range(min(ROWS, per_group - q * ROWS)):
                        o = group * per_group + q * ROWS + row
                        source = ((q - q0) * n * n * ROWS + row) * width
                        transform_output(
                            kind, vectors, products, source, n * ROWS * width, ROWS * width, bias[o],
                            values, m * width, total,
                        )  # fmt: skip
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
                                write_numbers(out, target, values, m * (i * width + done), columns, False)
                            done += length
                            column = 0
                            g += 1
    for t in range(lane):
        if total[t] != 0:
            fine[part] = False


@kernel
def ask_places(places, products, backwards, row_step, rows, itemsize):  # type: ignore[no-untyped-def]
    """Write where each of the products of a block begins to ask for the taps of the next block's kernel.

    Forwards one asks for a row, channel by channel; if there are more products than rows, several share a row, and ask
    for different parts of its lines; if there are fewer, some rows are left to the processor's own guess. Backwards
    each asks for a share of the rows' taps, which are one piece of memory in each channel, unless the kernel has depth.
    """
    for j in range(products):
        if backwards:
            places[j] = j * rows * 9 // products
        else:
            row, rest = divmod(j * rows, products)
            places[j] = row * row_step + rest * (64 // itemsize) // products


@kernel
def transform_tile(kind, vectors, products, i, row_pitch, pitch, values, j, target_pitch):  # type: ignore[no-untyped-def]
    """Multiply the products of one tile with A from both sides, for vectors of out channels."""
    if kind == 4:
        tile_4(vectors, products, i, row_pitch, pitch, values, j, target_pitch)
    elif kind == 2:
        tile_2(vectors, products, i, row_pitch, pitch, values, j, target_pitch)
    elif kind == STRIDED:
        tile_strided(vectors, products, i, row_pitch, pitch, values, j, target_pitch)
    else:
        tile_spread(vectors, products, i, row_pitch, pitch, values, j, target_pitch)


@kernel
def few_part(  # type: ignore[no-untyped-def]
    start, stop, w, start_of_w, steps, u, v, products, values, bias, out, shapes, group, groups, channels, depth, plan,
    fine, part,
):  # fmt: skip
    """Do the same as `output_part` for one panel of tiles, for some vectors of out channels at a time.

    The kernel is transformed for `some_channels` at a time, and the products are added up. While they are computed, the
    taps that are transformed next are asked for.
    """
    (_, out_channels, out_depth, out_height, out_width) = shapes[1]
    kind, (n, _, _, m), high, wide, t0, t1, _, some_channels = plan
    per_group = out_channels // groups
    lane = lanes(v)
    count, entries = t1 - t0, n * n
    panels, a_line = (count + ROWS - 1) // ROWS, (count + lane - 1) // lane * lane
    piece = np.zeros(9 * lane, v.dtype)
    asked = np.empty(entries * panels, np.int64)
    # Of each tile: where its outputs begin in a channel, and how many rows and columns of them there are.
    places, high_of, wide_of = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    volume = out_depth * out_height * out_width
    for t in range(count):
        g, column = divmod(t0 + t, wide)
        image, row = divmod(g, high)
        b, d = divmod(image, out_depth)
        places[t] = b * out_channels * volume + (d * out_height + row * m) * out_width + column * m
        high_of[t], wide_of[t] = min(m, out_height - row * m), min(m, out_width - column * m)
    row_step, channel_step, _, tap_step = steps
    backwards = tap_step < 0
    ask_step = 9 if not backwards else channel_step if depth == 1 else 0
    check = v.dtype.type(0)
    for item in range(start, stop):
        first = item * BESIDE * lane
        rows = min(BESIDE * lane, per_group - first)
        vectors = (rows + lane - 1) // lane
        line = vectors * lane
        pitch_of_u = some_channels * line + lane
        place = start_of_w + first * row_step
        ask_places(asked, entries * panels, backwards, row_step, rows, v.itemsize)
        for k0 in range(0, channels, some_channels):
            k1 = min(channels, k0 + some_channels)
            transform_kernel(w, place, rows, steps, k0, k1, depth, kind, lane, u, pitch_of_u, lane, line, piece)
            next_k, next_place = (k1, place) if k1 < channels else (0, place + rows * row_step)
            if backwards:
                next_place += next_k // depth * channel_step - 8
            else:
                next_place += next_k * 9
            multiply_beside(
                entries, panels, k1 - k0, vectors, v, k0 * a_line, a_line, channels * a_line + lane,
                u, 0, pitch_of_u, products, 0, ROWS * line, panels * ROWS * line, line, k0 > 0,
                w, next_place, asked, ask_step,
            )  # fmt: skip
        pitch = panels * ROWS * line
        for t in range(count):
            transform_tile(kind, vectors, products, t * line, n * pitch, pitch, values, t * m * m * line, line)
        for o in range(rows):
            channel = group * per_group + first + o
            for t in range(count):
                target, source = places[t] + channel * volume, t * m * m * line + o
                for i in range(high_of[t]):
                    for j in range(wide_of[t]):
                        value = values[at(source + (i * m + j) * line)]
                        out[at(target + i * out_width + j)] = value + bias[channel]
                        check += value - value
    if check != 0:  # NaN, which infinities also become
        fine[part] = False


# ----------------------------------------------------------------------------- gradient with respect to the kernel


def kernel_gradient_winograd(g, x, out, before, dilation, stride, groups):  # type: ignore[no-untyped-def]
    """Compute the derivative of sum(g * convolution(x, w)) with respect to `w`, 3 x 3, into `out`.

    Each tile of 4 x 4 numbers of `g` meets 6 x 6 numbers of `x`, and gives 3 x 3 sums: minimal filtering with the tile
    of `g` as the taps, 36 multiplications instead of 144. With stride 2, 2 x 2 numbers meet 5 x 5: 25 instead of 36.
    The sum now runs over the tiles, so here the channels lie side by side, which they do after the rows of a tile have
    been turned round. False if something is not finite.
    """
    _, _, depth, height, width = g.shape
    lane = VECTOR_BYTES // x.itemsize
    per_group, channels = out.shape[0] // groups, out.shape[1]
    kind = STRIDED if stride[2] == 2 else 4
    n, _, _, side = SIZES_BACK[kind]
    high, wide, entries = -(-height // side), -(-width // side), n * n
    lines = g.shape[0] * depth * high
    vectors, panels = -(-channels // lane), -(-per_group // ROWS)
    size = entries * wide * max(vectors * lane, panels * ROWS) * x.itemsize
    per_block = max(1, min(lines, MOST_BYTES // size, max(NEAR_BYTES // size, -(-LEAST_TILES // wide))))
    per_block = -(-lines // -(-lines // per_block))
    tiles = per_block * wide
    # As in `multiply_tiles`: each thread has channels of its own, unless there are so few tiles that it pays to share.
    many = tiles >= LEAST_TILES
    threads = threads_for(seconds_of(g.size * out[0].size, x.itemsize) / SAVES, 1 if many else 2)
    of_groups, of_channels = cut(threads, groups, vectors if many else 1)
    parts = of_groups * of_channels
    fine = np.ones(parts, np.bool_)
    flat_g, flat_x, flat_out = g.reshape(-1), x.reshape(-1), out.reshape(-1)
    shapes = (g.shape, x.shape, out.shape)

    # A large result does not stay in the caches. If each of its lines is written as a whole, and once, it need not be
    # read there first.
    whole_lines = (
        out.nbytes >= STREAM_BYTES
        and out.shape[2] == 1
        and per_block == lines
        and channels % lane == 0
        and VECTOR_BYTES == 64
        and out.ctypes.data % 64 == 0
    )

    def compute(start, stop):  # type: ignore[no-untyped-def]
        for part in range(start, stop):
            of_group, i = divmod(part, of_channels)
            c0, c1 = (min(channels, vectors * j // of_channels * lane) for j in (i, i + 1))
            room = -(-(c1 - c0) // lane) * lane, panels * ROWS
            across = -(-room[0] // (VECTORS * lane))
            with (
                working_space(entries * (tiles * room[0] + across * lane), x.dtype) as v,
                working_space(entries * (tiles * room[1] + panels * lane), x.dtype) as u,
            ):
                # Where all of `v` stays near, rows of the gradient are written one after another, as memory likes it.
                by_rows = v.nbytes <= NEAR_BYTES // 2
                streamed = by_rows and whole_lines
                pieces = panels if by_rows else across
                order = range(groups * of_group // of_groups, groups * (of_group + 1) // of_groups)
                for group, a, first in itertools.product(order, range(out.shape[2]), range(0, lines, per_block)):
                    count = min(per_block, lines - first)
                    place = (before[0] - a * dilation[0], before[1], before[2])
                    mine = (groups, group, c0, c1 - c0)
                    run = (
                        shapes,
                        place,
                        stride[0],
                        mine,
                        room,
                        (high, wide),
                        kind,
                        SIZES_BACK[kind],
                        first,
                        count * wide,
                    )
                    back = (
                        flat_out,
                        out.shape,
                        mine,
                        a,
                        room,
                        by_rows,
                        streamed,
                        kind,
                        n,
                        count * wide,
                        first > 0,
                        fine,
                        part,
                    )
                    parallel_for(turn_part, count, flat_g, flat_x, u, v, *run, threads=threads)
                    parallel_for(sum_part, pieces, u, v, *back, pieces=4 * threads, threads=threads)
                    if not fine[part]:
                        return

    parallel_for(compute, parts, pieces=parts, threads=threads)
    return bool(fine.all())


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
def turn_part(  # type: ignore[no-untyped-def]
    start, stop, g, x, u, v, shapes, before, stride, mine, room, size, kind, sizes, first, tiles
):
    """Turn round and transform the numbers of the lines of tiles first + start .. first + stop.

    It goes by panels of channels and a few tiles, whose numbers stay near. `mine` are the number of groups, the group,
    the first channel in it, and how many there are.
    """
    (_, out_channels, out_depth, out_height, out_width), (_, in_channels, depth, height, width), w_shape = shapes
    high, wide = size
    n, reach, step, side = sizes
    entries = n * n
    groups, group, first_channel, channels = mine
    per_group = out_channels // groups
    lane = lanes(x)
    panel = VECTORS * lane
    some = min(wide, TILES_TURNED)
    # A number that Numba does not know beforehand: it would compile each function anew for the numbers it knows.
    few = min(ROWS, room[1])
    of_x, of_g = aligned(reach * (step * some + reach - step) * panel, x), aligned(side * side * some * ROWS, x)
    of_x[:] = 0
    of_g[:] = 0
    offsets_x, offsets_g = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    for t in range(ROWS):
        offsets_x[t], offsets_g[t] = t * panel, t * ROWS
    plane_of_x, plane_of_g = depth * height * width, out_depth * out_height * out_width
    for line in range(start, stop):
        image, row = divmod(first + line, high)
        q, d = divmod(image, out_depth)
        d_of_x = d * stride - before[0]
        for c in range(0, room[0], panel):
            here = min(panel, room[0] - c)
            real = min(here, channels - c)
            base = (q * in_channels + group * w_shape[1] + first_channel + c) * plane_of_x + d_of_x * height * width
            rows_of_x = height if 0 <= d_of_x < depth else 0
            pitch = tiles * here + lane
            for t0 in range(0, wide, some):
                t1 = min(wide, t0 + some)
                columns = step * (t1 - t0 - 1) + reach
                turn_lines(
                    of_x, panel, reach, columns, x, base, row * step - before[1], t0 * step - before[2], rows_of_x,
                    width, plane_of_x, real, offsets_x, step * some,
                )  # fmt: skip
                for t in range(t0, t1):
                    place = entries * (tiles * c + c // panel * lane) + (line * wide + t) * here
                    ask_for_entries(v, place + here, pitch, entries, here)  # the next tile's
                    source = step * (t - t0) * panel
                    if kind == 4:
                        x_4(here // lane, of_x, source, columns * panel, panel, v, place, pitch)
                    else:
                        x_strided(here // lane, of_x, source, columns * panel, panel, v, place, pitch)
        pitch = tiles * ROWS + lane
        for o in range(0, room[1], ROWS):
            real = min(ROWS, per_group - o)
            base = (q * out_channels + group * per_group + o) * plane_of_g + d * out_height * out_width
            for t0 in range(0, wide, some):
                t1 = min(wide, t0 + some)
                columns = side * (t1 - t0)
                turn_lines(
                    of_g, few, side, columns, g, base, row * side, t0 * side, out_height, out_width, plane_of_g, real,
                    offsets_g, side * some,
                )  # fmt: skip
                for t in range(t0, t1):
                    place = entries * (tiles * o + o // ROWS * lane) + (line * wide + t) * ROWS
                    ask_for_entries(u, place + few, pitch, entries, few)
                    source = side * (t - t0) * ROWS
                    if kind == 4:
                        g_4(1, of_g, source, columns * ROWS, ROWS, u, place, pitch)
                    else:
                        g_strided(1, of_g, source, columns * ROWS, ROWS, u, place, pitch)


@kernel
def gradient_taps(kind, count, products, i, row_pitch, pitch, out, o, step, add, total):  # type: ignore[no-untyped-def]
    """Multiply the products with A from both sides, and write or add each channel's 9 taps where they belong."""
    if kind == 4:
        w_4(count, products, i, row_pitch, pitch, out, o, step, add, total)
    else:
        w_strided(count, products, i, row_pitch, pitch, out, o, step, add, total)


@kernel
def sum_part(  # type: ignore[no-untyped-def]
    start, stop, u, v, out, w_shape, mine, a, room, by_rows, streamed, kind, n, tiles, add, fine, part
):
    """Add up over the tiles and transform back, for the panels start..stop of channels, or `by_rows` out channels.

    `mine` is as in `turn_part`. If `streamed`, the rows of `out` are whole lines of memory,
    which are written once: nothing is added, and the kernel has no depth.
    """
    groups, group, first_channel, count = mine
    per_group, channels = w_shape[0] // groups, w_shape[1]
    lane = lanes(v)
    panel = VECTORS * lane
    entries, line = n * n, ROWS * panel
    products, few, row_of_taps = aligned(entries * line, v), aligned(9 * lane, v), aligned(9 * panel, v)
    step = 9 * w_shape[2]
    total = np.zeros(lane, v.dtype)
    inner = (room[0] + panel - 1) // panel if by_rows else room[1] // ROWS
    for item in range(start * inner, stop * inner):
        outside, inside = divmod(item, inner)
        o, c = (outside * ROWS, inside * panel) if by_rows else (inside * ROWS, outside * panel)
        here, real = min(panel, room[0] - c), min(panel, count - c)
        whole = real // lane * lane
        at_u, at_v = entries * (tiles * o + o // ROWS * lane), entries * (tiles * c + c // panel * lane)
        multiply_entries(
            entries, 1, tiles, here // lane, u, at_u, 0, tiles * ROWS + lane, v, at_v, tiles * here + lane,
            products, 0, 0, line, panel, False,
        )  # fmt: skip
        rows = min(ROWS, per_group - o)
        for row in range(rows):
            target = (((group * per_group + o + row) * channels + first_channel + c) * w_shape[2] + a) * 9
            if not by_rows and row + 1 < rows:
                for t in range(0, step * real, lane):  # the next row's
                    ask_to_write(out, target + step * channels + t)
            if streamed:
                gradient_taps(
                    kind, whole // lane, products, row * panel, n * line, line, row_of_taps, 0, 9, False, total
                )
                for t in range(0, 9 * real, lane):
                    stream(out, target + t, row_of_taps, t)
                continue
            gradient_taps(kind, whole // lane, products, row * panel, n * line, line, out, target, step, add, total)
            if whole < real:
                place = row * panel + whole
                gradient_taps(kind, 1, products, place, n * line, line, few, 0, 9, False, total)
                for t in range(real - whole):
                    write_numbers(out, target + step * (whole + t), few, 9 * t, 9, add)
    if streamed:
        finish_streams()
    for t in range(lane):
        if total[t] != 0:
            fine[part] = False


@kernel
def write_numbers(out, o, values, i, count, add):  # type: ignore[no-untyped-def]
    """Write values[i + t] to out[o + t] for t < count, or add them."""
    if add:
        for t in range(count):
            out[at(o + t)] += values[at(i + t)]
    else:
        for t in range(count):
            out[at(o + t)] = values[at(i + t)]
