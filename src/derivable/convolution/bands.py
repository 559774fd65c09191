"""Convolution of few channels, plane by plane: a band of image rows in the cache, a tile of output rows in registers.

With one channel there is no matrix product to speak of: every number of the input meets one small kernel. What
costs then is loading. So a tile of LINES output rows, a few vectors wide, is held in registers, and each vector of the
input is loaded once for all rows of the tile that it belongs to.

Before that, the band of input rows that some output rows need is copied to a buffer that stays in the cache, with its
padding written out. With a stride s the copy sorts each row by the remainder of the column modulo s, so that the
outputs' inputs are neighbours again. The buffer is all the memory this needs.

The functions work on the normal form of a layer, as in [`implicit`][derivable.convolution.implicit]. Padding is
multiplied like any number here, so where there is padding the kernel must be finite.
"""

from __future__ import annotations

import numpy as np

from derivable.convolution.implicit import at
from derivable.jit import kernel, parallel_for
from derivable.simd import LINES, clear, correlate_tile, lanes, move, move_every_other

ROWS_OF_BAND = 32  # output rows in a band
COLUMNS_OF_BAND = 4096  # output columns in a band
LARGE = 1 << 18  # multiplications from which on more threads pay


def convolution_bands(x, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute a layer's convolution, plus `bias`, into `out`."""
    batch, _, depth, height, breadth = out.shape
    bands = -(-height // ROWS_OF_BAND)
    stretches = -(-breadth // COLUMNS_OF_BAND)
    shapes = (x.shape, w.shape, out.shape)
    args = (x.reshape(-1), w.reshape(-1), bias, out.reshape(-1), shapes, stride, before, dilation, groups)
    count = batch * groups * depth * bands * stretches
    if out.size * w[0].size < LARGE:
        bands_part(0, count, *args)
    else:
        parallel_for(bands_part, count, *args)
    return out


@kernel
def copy_line(target, i, length, x, row, breadth, column, step):  # type: ignore[no-untyped-def]
    """Write target[i + t] = x[row + column + t * step] for t < length, zero where the column is outside the row.

    It may spoil up to a vector behind.
    """
    vector = lanes(target)
    begin = 0 if column >= 0 else min(length, (-column + step - 1) // step)
    end = begin if column >= breadth else max(begin, min(length, (breadth - 1 - column) // step + 1))
    t = 0
    while t < begin:
        clear(target, i + t)
        t += vector
    t, source = begin, row + column
    if step == 1:
        while t < end and source + t + vector <= x.size:
            move(target, i + t, x, source + t)
            t += vector
    elif step == 2:
        while t < end and source + 2 * (t + vector) - 1 <= x.size:
            move_every_other(target, i + t, x, source + 2 * t)
            t += vector
    while t < end:
        target[at(i + t)] = x[at(source + t * step)]
        t += 1
    t = end
    while t < length:
        clear(target, i + t)
        t += vector


@kernel
def bands_part(start, stop, x, w, bias, out, shapes, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the bands start..stop, counted over (batch, group, OD, band of rows, stretch of columns)."""
    x_shape, w_shape, out_shape = shapes
    _, in_channels, depth, height, breadth = x_shape
    out_channels, channels, kd, kh, kw = w_shape
    _, _, out_depth, out_height, out_width = out_shape
    per_group = out_channels // groups
    bands = (out_height + ROWS_OF_BAND - 1) // ROWS_OF_BAND
    stretches = (out_width + COLUMNS_OF_BAND - 1) // COLUMNS_OF_BAND
    vector = lanes(x)
    # The buffer: for each input row, for each remainder of the column modulo the stride, a line.
    step = stride[2]
    columns_of_band, rows_of_band = min(out_width, COLUMNS_OF_BAND), min(out_height, ROWS_OF_BAND)
    line = (columns_of_band + (kw - 1) * dilation[2] // step + vector) // vector * vector + vector
    pitch = step * line
    shifts = np.empty(kw, np.int64)
    for b in range(kw):
        shifts[b] = b * dilation[2] % step * line + b * dilation[2] // step
    lines = LINES if stride[1] == 1 and dilation[1] == 1 and kh >= LINES - 1 and out_height > 1 else 1
    input_rows = (rows_of_band - 1) * stride[1] + (kh - 1) * dilation[1] + 1
    band = np.zeros((input_rows + LINES) * pitch + 4 * vector, x.dtype)
    for item in range(start, stop):
        rest, stretch = divmod(item, stretches)
        rest, number = divmod(rest, bands)
        rest, od = divmod(rest, out_depth)
        n, group = divmod(rest, groups)
        h0, h1 = number * ROWS_OF_BAND, min(out_height, (number + 1) * ROWS_OF_BAND)
        w0, w1 = stretch * COLUMNS_OF_BAND, min(out_width, (stretch + 1) * COLUMNS_OF_BAND)
        used = w1 - w0 + (kw - 1) * dilation[2] // step
        written = False
        for c in range(channels):
            for a in range(kd):
                d = od * stride[0] - before[0] + a * dilation[0]
                if d < 0 or d >= depth:
                    continue
                plane = ((n * in_channels + group * channels + c) * depth + d) * height
                for r in range((h1 - h0 - 1) * stride[1] + (kh - 1) * dilation[1] + 1):
                    h = h0 * stride[1] - before[1] + r
                    for s in range(min(step, (kw - 1) * dilation[2] + 1)):
                        column = w0 * step - before[2] + s if 0 <= h < height else breadth
                        copy_line(band, r * pitch + s * line, used, x, (plane + h) * breadth, breadth, column, step)
                for o in range(group * per_group, (group + 1) * per_group):
                    tap = ((o * channels + c) * kd + a) * kh * kw
                    first = x.dtype.type(0) if written else bias[o]
                    for h in range(h0, h1, lines):
                        target = (((n * out_channels + o) * out_depth + od) * out_height + h) * out_width
                        t = w0
                        while t < w1:
                            vectors = 4 if w1 - t > 3 * vector else 2 if w1 - t > vector else 1
                            columns = min(w1 - t, vectors * vector)
                            correlate_tile(
                                lines, vectors, kh, kw,
                                band, (h - h0) * stride[1] * pitch + t - w0, dilation[1] * pitch,
                                shifts, w, tap, first, out, target + t, out_width, min(lines, h1 - h), columns, written,
                            )  # fmt: skip
                            t += columns
                written = True
        if not written:
            for o in range(group * per_group, (group + 1) * per_group):
                for h in range(h0, h1):
                    target = (((n * out_channels + o) * out_depth + od) * out_height + h) * out_width
                    for t in range(w0, w1):
                        out[target + t] = bias[o]
