"""The gradient in an input of few channels: one product for all taps at once, then each tap is added in its place.

The micro-kernel computes ROWS sums at a time. The other algorithms give it the channels of the result for its rows, so
with three channels, as the first layer of a network has, five rows of eight compute nothing. Here its rows are the
channels *and* the taps: for every position of the gradient `g`, the product with the kernel gives what this position
adds to each number that it touched. These products, the columns of the matrix that is never built as a whole, are then
added where they belong, row by row. Nothing is multiplied by a zero of the padding, so numbers that are not finite go
where the definition puts them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.convolution.bands import interleave
from derivable.convolution.implicit import DEPTH, at, pack_straight
from derivable.jit import kernel, parallel_for, threads_for
from derivable.simd import ROWS, VECTOR_BYTES, VECTORS, aligned, lanes, multiply_tile, seconds_of

__all__ = ["input_gradient_columns"]

COLUMN_BYTES = 1 << 17  # of the products that wait to be added
FAR_BYTES = 1 << 22  # of a gradient that does not stay near, and whose next numbers are worth asking for


def input_gradient_columns(g, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the transposed map of a layer's convolution, applied to `g`, plus `bias`, into `out`."""
    out_channels, channels, depth, high, wide = w.shape
    per_group, size = out_channels // groups, high * channels * wide
    panels = -(-size // ROWS)
    # The kernel: for each group and tap in depth, panels of ROWS rows (tap in height, channel, tap in width).
    rows = np.zeros((groups, depth, panels * ROWS, per_group), w.dtype)
    sorted_w = w.reshape(groups, per_group, channels, depth, high, wide).transpose(0, 3, 4, 2, 5, 1)
    rows[:, :, :size] = sorted_w.reshape(groups, depth, size, per_group)
    packed = np.ascontiguousarray(rows.reshape(groups, depth, panels, ROWS, per_group).swapaxes(3, 4)).reshape(-1)
    positions = max(1, COLUMN_BYTES // (panels * ROWS * w.itemsize))
    tile = VECTORS * VECTOR_BYTES // w.itemsize
    if g.shape[4] > positions:
        block = (1, max(1, positions // tile) * tile)
    else:
        block = (max(1, min(g.shape[3], positions // g.shape[4])), g.shape[4])
    threads = threads_for(seconds_of(g.size * w[0].size, g.itemsize))
    planes = out.shape[0] * groups * out.shape[2]
    bands = min(out.shape[3], -(-threads // planes))
    band = -(-out.shape[3] // bands)
    count = planes * -(-out.shape[3] // band)
    shapes = (g.shape, w.shape, out.shape)
    args: tuple[Any, ...] = (g.reshape(-1), packed, bias, out.reshape(-1), shapes, stride, before, dilation, groups)
    parallel_for(columns_part, count, *args, (band, *block), threads=threads)
    return out


@kernel
def pack_positions(g, place, plane, depth, count, panel, pitch):  # type: ignore[no-untyped-def]
    """Pack `count` positions that lie side by side, tile by tile: row r is g[place + r * plane:]."""
    vector = lanes(g)
    width = VECTORS * vector
    tiles = count // width
    pack_straight(g, place, plane, depth, tiles, panel, pitch)
    rest = count - tiles * width
    if rest > 0:
        wide = (rest + vector - 1) // vector * vector
        for r in range(depth):
            source, target = place + r * plane + tiles * width, tiles * pitch + r * wide
            for t in range(rest):
                panel[at(target + t)] = g[at(source + t)]
            for t in range(rest, wide):
                panel[at(target + t)] = 0


@kernel
def add_rows(out, i, pitch, values, k, distance, rows, count):  # type: ignore[no-untyped-def]
    """Add values[k + r * distance + t] to out[i + r * pitch + t], for r < rows and t < count."""
    for _ in range(rows):
        for t in range(count):
            out[at(i + t)] += values[at(k + t)]
        i += pitch
        k += distance


@kernel
def columns_part(start, stop, g, packed, bias, out, shapes, stride, before, dilation, groups, plan):  # type: ignore[no-untyped-def]
    """Compute the bands start..stop of the input's gradient, counted over (batch, group, D, band of rows)."""
    (_, out_channels, g_depth, g_height, g_width), (_, channels, kd, kh, kw), (_, _, depth, height, width) = shapes
    band, lines, columns = plan
    per_group = out_channels // groups
    vector = lanes(g)
    tile = VECTORS * vector
    panels = (kh * channels * kw + ROWS - 1) // ROWS
    step = stride[2]
    # Columns of the output are kept sorted by their remainder modulo the stride while they are summed.
    line = (width + step - 1) // step
    pitch = min(DEPTH, per_group) * tile + vector
    tiles = (lines * columns + tile - 1) // tile
    patches = aligned(tiles * pitch, g)
    room = tiles * tile
    products = aligned(panels * ROWS * room, g)
    sums = np.empty(channels * band * step * line if step > 1 else 0, g.dtype)
    # Under tap b of a row, position o meets column (o + shift) * step + phase; it exists for o below the third number.
    taps = np.empty((kw, 3), np.int64)
    for b in range(kw):
        shift, phase = divmod(b * dilation[2] - before[2], step)
        taps[b, 0], taps[b, 1], taps[b, 2] = shift, phase, (width - phase + step - 1) // step - shift
    bands = (height + band - 1) // band
    plane = g_depth * g_height * g_width
    far = g.size * g.itemsize > FAR_BYTES
    for item in range(start, stop):
        rest, number = divmod(item, bands)
        rest, d = divmod(rest, depth)
        n, group = divmod(rest, groups)
        h0, h1 = number * band, min(height, (number + 1) * band)
        base = (n * groups + group) * channels  # of the planes of the output
        if step > 1:
            sums[:] = 0
        else:
            for c in range(channels):
                first = ((base + c) * depth + d) * height
                for t in range((first + h0) * width, (first + h1) * width):
                    out[at(t)] = bias[group * channels + c]
        # The lines of g that reach this band.
        reach = h0 + before[1] - (kh - 1) * dilation[1]
        r0 = max(0, (reach + stride[1] - 1) // stride[1])
        r1 = min(g_height, (h1 - 1 + before[1]) // stride[1] + 1)
        for a in range(kd):
            od, rest = divmod(d + before[0] - a * dilation[0], stride[0])
            if rest != 0 or od < 0 or od >= g_depth:
                continue
            # Blocks begin at multiples of `lines`, whatever the band: so the order of each sum is always the same.
            for r in range(r0 // lines * lines, r1, lines):
                ra, rb = max(r, r0), min(r + lines, r1)
                for o in range(0, g_width, columns):
                    across = min(columns, g_width - o)
                    count = (rb - ra) * across
                    place = (n * out_channels + group * per_group) * plane + (od * g_height + ra) * g_width + o
                    for k in range(0, per_group, DEPTH):
                        deep = min(DEPTH, per_group - k)
                        pack_positions(g, place + k * plane, plane, deep, count, patches, pitch)
                        for q in range(panels):
                            source = (((group * kd + a) * panels + q) * per_group + k) * ROWS
                            for p in range(0, count, tile):
                                here = min(tile, count - p)
                                # Each product asks for one of the columns of lines of g that come next.
                                following = place + k * plane + count + (q * count + p) // VECTORS
                                multiply_tile(
                                    deep, (here + vector - 1) // vector, packed, source,
                                    patches, p // tile * pitch, products, q * ROWS * room + p, room, ROWS, here, k > 0,
                                    g, following, plane if far and q < VECTORS else 0,
                                )  # fmt: skip
                    for i in range(kh):
                        # Line r meets row r * stride + down; these lines meet rows of the band.
                        down = i * dilation[1] - before[1]
                        ya = max(ra, (h0 - down + stride[1] - 1) // stride[1])
                        yb = min(rb, (h1 - 1 - down) // stride[1] + 1)
                        h = ya * stride[1] + down
                        for c in range(channels):
                            source = (i * channels + c) * kw * room + (ya - ra) * across
                            target = (((base + c) * depth + d) * height + h) * width + o
                            if step > 1:
                                target = (c * band + h - h0) * step * line + o
                            for b in range(kw):
                                first, last = max(0, -taps[b, 0] - o), min(across, taps[b, 2] - o)
                                here, there = source + b * room + first, target + taps[b, 0] + first
                                if step > 1:
                                    add_rows(
                                        sums, there + taps[b, 1] * line, stride[1] * step * line,
                                        products, here, across, yb - ya, last - first,
                                    )  # fmt: skip
                                else:
                                    add_rows(
                                        out, there, stride[1] * width, products, here, across, yb - ya, last - first
                                    )
        if step > 1:
            for c in range(channels):
                for h in range(h0, h1):
                    target = (((base + c) * depth + d) * height + h) * width
                    source = (c * band + h - h0) * step * line
                    interleave(out, target, width, sums, source, line, bias[group * channels + c], step)
