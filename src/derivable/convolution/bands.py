"""Few channels, plane by plane: a band of image rows in the cache, a tile of output rows in registers.

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

from typing import Any

import numpy as np

from derivable.convolution.implicit import at
from derivable.convolution.normal import finite, vanishes
from derivable.jit import kernel, parallel_for, threads_for
from derivable.simd import (
    LINES,
    PLANES,
    SQUARE_VECTORS,
    aligned,
    clear,
    correlate_square,
    correlate_tile,
    lanes,
    move,
    move_every_other,
    move_some,
    move_some_of_every_other,
    seconds_of,
    spread_square,
    sum_taps,
)

ROWS_OF_BAND = 32  # output rows in a band
COLUMNS_OF_BAND = 4096  # output columns in a band
# Channels and out channels, at most, whose gradients in the kernel are summed up while the bands are there.
INS, OUTS = 8, 12
SECONDS_OF_BYTE = 2e-11  # of the input or output, about


def convolution_bands(x, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute a layer's convolution, plus `bias`, into `out`."""
    batch, _, depth, height, breadth = out.shape
    bands = -(-height // ROWS_OF_BAND)
    stretches = -(-breadth // COLUMNS_OF_BAND)
    shapes = (x.shape, w.shape, out.shape)
    args = (x.reshape(-1), w.reshape(-1), bias, out.reshape(-1), shapes, stride, before, dilation, groups)
    count = batch * groups * depth * bands * stretches
    threads = threads_for(seconds_of(out.size * w[0].size, x.itemsize) + SECONDS_OF_BYTE * (x.nbytes + out.nbytes))
    parallel_for(bands_part, count, *args, threads=threads)
    return out


@kernel
def bands_at_once(padded, x, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute a small layer in the calling thread; return False, and nothing, where `w` is not fit for the padding."""
    taps = w.reshape(-1)
    if padded and not vanishes(taps):
        return False
    shape = out.shape
    count = shape[0] * groups * shape[2] * (-(-shape[3] // ROWS_OF_BAND)) * (-(-shape[4] // COLUMNS_OF_BAND))
    shapes = (x.shape, w.shape, shape)
    bands_part(0, count, x.reshape(-1), taps, bias, out.reshape(-1), shapes, stride, before, dilation, groups)
    return True


@kernel
def copy_band(  # type: ignore[no-untyped-def]
    target, i, pitch, line, rows, length, x, plane, first_row, height, breadth, column, step, phases
):
    """Copy rows of one plane, each sorted by the column's remainder modulo the step, with the padding written out.

    target[i + r * pitch + s * line + t] becomes x[plane, first_row + r, column + s + t * step] for t < length and
    s < phases, zero where that is outside the plane. `plane` counts rows of x. Up to a vector behind a line may
    be spoilt.
    """
    vector = lanes(target)
    top = min(rows, max(0, -first_row))
    bottom = max(top, min(rows, height - first_row))
    for s in range(phases):
        first_column = column + s
        begin, end = max(0, -first_column), max(0, breadth - first_column)
        if step > 1:  # a division takes as long as some rows of a small image
            begin, end = (begin + step - 1) // step, (end + step - 1) // step
        begin = min(length, begin)
        end = max(begin, min(length, end))
        place, source = i + s * line, (plane + first_row) * breadth + first_column
        # The first and the last vector that the plane fills in part only, whose masks are the same in all rows.
        first, last = (begin + vector - 1) // vector * vector, end // vector * vector
        left, right = first - vector, max(first, last)
        # What stands behind a line may be the beginning of the next. So an end comes before what it may spoil.
        for r in range(top):
            clear_line(target, place + r * pitch, length)
        if left > 0 or right + vector < length or step > 2:  # whole vectors of padding
            for r in range(top, bottom):
                clear_line(target, place + r * pitch, length)
        if step == 1:
            if right < length:
                for r in range(top, bottom):
                    move_some(
                        target, place + r * pitch + right, x, source + r * breadth + right, begin - right, end - right
                    )
            for r in range(top, bottom if first < last else top):
                for t in range(first, last, vector):
                    move(target, place + r * pitch + t, x, source + r * breadth + t)
            if 0 <= left < length:
                for r in range(top, bottom):
                    move_some(
                        target, place + r * pitch + left, x, source + r * breadth + left, begin - left, end - left
                    )
        elif step == 2:
            if right < length:
                for r in range(top, bottom):
                    move_some_of_every_other(
                        target,
                        place + r * pitch + right,
                        x,
                        source + r * breadth + 2 * right,
                        begin - right,
                        end - right,
                    )
            for r in range(top, bottom):
                for t in range(first, last, vector):
                    move_every_other(target, place + r * pitch + t, x, source + r * breadth + 2 * t)
            if 0 <= left < length:
                for r in range(top, bottom):
                    move_some_of_every_other(
                        target, place + r * pitch + left, x, source + r * breadth + 2 * left, begin - left, end - left
                    )
        else:
            for r in range(top, bottom):
                for t in range(begin, end):
                    target[at(place + r * pitch + t)] = x[at(source + r * breadth + t * step)]
        for r in range(bottom, rows):
            clear_line(target, place + r * pitch, length)


@kernel
def clear_line(target, i, length):  # type: ignore[no-untyped-def]
    """Write zeros to target[i + t] for t < length, and possibly up to a vector behind."""
    for t in range(0, length, lanes(target)):
        clear(target, i + t)


@kernel
def split(number, by):  # type: ignore[no-untyped-def]
    """Return divmod(number, by) for number >= 0, without a division where there is nothing to divide."""
    if by == 1:
        return number, 0
    return divmod(number, by)


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
    pitch, phases = step * line, min(step, (kw - 1) * dilation[2] + 1)
    shifts = np.empty(kw, np.int64)
    for b in range(kw):
        shifts[b] = b * dilation[2] % step * line + b * dilation[2] // step
    lines = LINES if stride[1] == 1 and dilation[1] == 1 and kh >= LINES - 1 and out_height > 1 else 1
    square = kh == kw == 3 and dilation[1] == 1 and stride[1] <= 2 and out_height > 1
    input_rows = (rows_of_band - 1) * stride[1] + (kh - 1) * dilation[1] + 1
    band = aligned((input_rows + LINES) * pitch + 4 * vector, x)
    band[:] = 0
    for item in range(start, stop):
        rest, stretch = split(item, stretches)
        rest, number = split(rest, bands)
        rest, od = split(rest, out_depth)
        n, group = split(rest, groups)
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
                copy_band(
                    band, 0, pitch, line, (h1 - h0 - 1) * stride[1] + (kh - 1) * dilation[1] + 1, used, x, plane,
                    h0 * stride[1] - before[1], height, breadth, w0 * step - before[2], step, phases,
                )  # fmt: skip
                for o in range(group * per_group, (group + 1) * per_group):
                    tap = ((o * channels + c) * kd + a) * kh * kw
                    first = x.dtype.type(0) if written else bias[o]
                    if square:
                        target = (((n * out_channels + o) * out_depth + od) * out_height + h0) * out_width
                        t = w0
                        while t < w1:
                            vectors = 1 if w1 - t <= vector else 2 if w1 - t <= 3 * vector else SQUARE_VECTORS
                            columns = min(w1 - t, vectors * vector)
                            correlate_square(
                                stride[1], vectors, band, t - w0, pitch, shifts, w, tap, first,
                                out, target + t, out_width, h1 - h0, columns, written,
                            )  # fmt: skip
                            t += columns
                        continue
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


# ------------------------------------------------------------------------------ gradient with respect to the input


def input_gradient_bands(g, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the transposed map of a layer's convolution, applied to `g`, plus `bias`, into `out`.

    As in [`implicit`][derivable.convolution.implicit] the input indices fall into classes by their remainder modulo the
    stride. For each class it is a convolution of `g` with some taps of the kernel. A band of all
    classes is computed in a buffer, and then the classes are shuffled into the output.
    """
    if is_spread(w.shape, stride, before, dilation):
        return input_gradient_spread(g, w, bias, out, stride, before, dilation, groups)
    axes = [tap_classes(k, s, b, d) for k, s, b, d in zip(w.shape[2:], stride, before, dilation, strict=True)]
    # The kernel, sorted: for each class of rows and columns its taps.
    channels = w.shape[1]
    parts: list[Any] = []
    starts: list[int] = []
    for row_taps, _ in axes[1]:
        for column_taps, _ in axes[2]:
            starts.append(sum(part[0, 0, 0].size for part in parts))
            parts.append(w[:, :, :, row_taps][..., column_taps])
    size = w.shape[3] * w.shape[4]
    flat = np.concatenate([part.reshape(*w.shape[:3], -1) for part in parts], axis=3).reshape(-1)
    rows = np.array([(len(t), o[0] if o else 0, o[1] - o[0] if len(o) > 1 else 1) for t, o in axes[1]], np.int64)
    counts = np.array([len(t) for t, _ in axes[2]], np.int64)
    most = max(1, int(counts.max()))
    columns = np.zeros((len(counts), most), np.int64)
    for i, (_, offsets) in enumerate(axes[2]):
        columns[i, : len(offsets)] = offsets
    height = -(-out.shape[3] // stride[1])
    band = max(LINES, min(ROWS_OF_BAND, BAND_NUMBERS // (channels * stride[1] * out.shape[4])))
    bands = -(-height // band)
    shapes = (g.shape, w.shape, out.shape)
    table = (rows, counts, columns, np.array(starts, np.int64))
    args = (g.reshape(-1), flat, size, bias, out.reshape(-1), shapes, stride, before, dilation, groups, table, band)
    count = out.shape[0] * groups * out.shape[2] * bands
    threads = threads_for(seconds_of(g.size * channels * w[0, 0].size, g.itemsize))
    parallel_for(input_gradient_part, count, *args, threads=threads)
    return out


def is_spread(w_shape, stride, before, dilation):  # type: ignore[no-untyped-def]
    """Return whether `input_gradient_spread` computes this gradient."""
    square = w_shape[3:] == (3, 3) and tuple(stride[1:]) == (2, 2) and tuple(dilation[1:]) == (1, 1)
    return square and before[1] % 2 == before[2] % 2 == 1


def input_gradient_spread(g, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the same for 3 x 3 taps with stride 2 and odd padding in front, as with padding 1, which is so frequent.

    Then even rows and columns of the output meet the tap in the middle, and odd ones the two others. All four classes
    are computed and shuffled in registers.
    """
    height = -(-out.shape[3] // 2)
    bands = -(-height // ROWS_OF_BAND)
    shapes = (g.shape, w.shape, out.shape)
    args = (g.reshape(-1), w.reshape(-1), bias, out.reshape(-1), shapes, stride[0], before, dilation[0], groups)
    threads = threads_for(seconds_of(g.size * w[0].size, g.itemsize) + SECONDS_OF_BYTE * (g.nbytes + out.nbytes))
    parallel_for(spread_part, out.shape[0] * groups * out.shape[2] * bands, *args, threads=threads)
    return out


@kernel
def spread_part(start, stop, g, w, bias, out, shapes, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the bands start..stop, counted over (batch, group, D, band of pairs of rows)."""
    (_, out_channels, g_depth, g_height, g_width), (_, channels, kd, _, _), (_, _, depth, height, width) = shapes
    per_group = out_channels // groups
    vector = lanes(g)
    bands = ((height + 1) // 2 + ROWS_OF_BAND - 1) // ROWS_OF_BAND
    long = (width + 1) // 2
    pitch = (long + vector) // vector * vector + vector  # a vector is read beyond the last one
    plane = aligned((min((height + 1) // 2, ROWS_OF_BAND) + 1) * pitch + vector, g)
    plane[:] = 0
    for item in range(start, stop):
        rest, number = split(item, bands)
        rest, i = split(rest, depth)
        n, group = split(rest, groups)
        h0, h1 = 2 * number * ROWS_OF_BAND, min(height, 2 * (number + 1) * ROWS_OF_BAND)
        written = False
        for o in range(group * per_group, (group + 1) * per_group):
            for a in range(kd):
                od, remainder = divmod(i + before[0] - a * dilation, stride)
                if remainder != 0 or od < 0 or od >= g_depth:
                    continue
                base = ((n * out_channels + o) * g_depth + od) * g_height
                copy_band(
                    plane, 0, pitch, 0, (h1 - h0 + 1) // 2 + 1, long + 1, g, base,
                    h0 // 2 + before[1] // 2, g_height, g_width, before[2] // 2, 1, 1,
                )  # fmt: skip
                for c in range(channels):
                    first = g.dtype.type(0) if written else bias[group * channels + c]
                    target = (((n * groups + group) * channels + c) * depth + i) * height + h0
                    spread_square(
                        plane, 0, pitch, w, ((o * channels + c) * kd + a) * 9, first,
                        out, target * width, width, h1 - h0, width, written,
                    )  # fmt: skip
                written = True
        if not written:
            for c in range(channels):
                target = (((n * groups + group) * channels + c) * depth + i) * height + h0
                for t in range(target * width, (target + h1 - h0) * width):
                    out[t] = bias[group * channels + c]


BAND_NUMBERS = 1 << 16  # numbers of the output in one band, all channels of a group together


def tap_classes(taps, stride, before, dilation):  # type: ignore[no-untyped-def]
    """Return for each remainder r of the input index the taps that it meets, and at which q + offset of `g` each."""
    result = []
    for r in range(stride):
        meets = [k for k in reversed(range(taps)) if (r + before - k * dilation) % stride == 0]
        result.append((meets, [(r + before - k * dilation) // stride for k in meets]))
    return result


@kernel
def interleave(out, o, width, values, i, pitch, first, step):  # type: ignore[no-untyped-def]
    """Write out[o + step * t + e] = first + values[i + e * pitch + t], as long as step * t + e < width."""
    whole = 0
    if step == 1:
        for t in range(width):
            out[at(o + t)] = first + values[at(i + t)]
        return
    if step == 2:
        whole = width // 2
        for t in range(whole):
            out[at(o + 2 * t)] = first + values[at(i + t)]
            out[at(o + 2 * t + 1)] = first + values[at(i + pitch + t)]
    for e in range(step):
        for t in range(whole, (width - e + step - 1) // step):
            out[at(o + step * t + e)] = first + values[at(i + e * pitch + t)]


@kernel
def input_gradient_part(  # type: ignore[no-untyped-def]
    start, stop, g, w, size, bias, out, shapes, stride, before, dilation, groups, table, band
):
    """Compute the bands start..stop of the input's gradient, counted over (batch, group, D, band of rows)."""
    rows, counts, columns, starts = table
    (_, out_channels, g_depth, g_height, g_width), (_, channels, kd, _, _), (_, _, depth, height, width) = shapes
    per_group = out_channels // groups
    vector = lanes(g)
    step, row_step = stride[2], stride[1]
    long = (width + step - 1) // step  # columns of a class
    bands = ((height + row_step - 1) // row_step + band - 1) // band
    # The reach of all classes together in g.
    left, right, top, bottom = columns[0, 0], columns[0, 0], rows[0, 1], rows[0, 1]
    for i in range(step):
        for b in range(counts[i]):
            left, right = min(left, columns[i, b]), max(right, columns[i, b])
    for i in range(row_step):
        if rows[i, 0] > 0:
            top, bottom = min(top, rows[i, 1]), max(bottom, rows[i, 1] + (rows[i, 0] - 1) * rows[i, 2])
    pitch = (long + right - left + vector) // vector * vector + vector
    lines_of_g = band + bottom - top
    plane = np.zeros((lines_of_g + LINES) * pitch + 4 * vector, g.dtype)
    room = (long + vector - 1) // vector * vector
    sums = np.empty(channels * row_step * step * (band + LINES) * room, g.dtype)
    for item in range(start, stop):
        rest, number = divmod(item, bands)
        rest, i = divmod(rest, depth)
        n, group = divmod(rest, groups)
        q0 = number * band
        q1 = min((height + row_step - 1) // row_step, q0 + band)
        sums[:] = 0
        for o in range(group * per_group, (group + 1) * per_group):
            for a in range(kd):
                od, rest = divmod(i + before[0] - a * dilation[0], stride[0])
                if rest != 0 or od < 0 or od >= g_depth:
                    continue
                base = ((n * out_channels + o) * g_depth + od) * g_height
                copy_band(
                    plane, 0, pitch, 0, q1 - q0 + bottom - top, long + right - left, g, base,
                    q0 + top, g_height, g_width, left, 1, 1,
                )  # fmt: skip
                for c in range(channels):
                    tap = ((o * channels + c) * kd + a) * size
                    for s in range(row_step):
                        kh, first_row, row_pitch = rows[s, 0], rows[s, 1], rows[s, 2]
                        lines = LINES if row_pitch == 1 and kh >= LINES - 1 and band > 1 else 1
                        for e in range(step):
                            kw = counts[e]
                            if kh == 0 or kw == 0:
                                continue
                            for q in range(q0, q1, lines):
                                target = (((c * row_step + s) * step + e) * (band + LINES) + q - q0) * room
                                t = 0
                                while t < long:
                                    vectors = 4 if long - t > 3 * vector else 2 if long - t > vector else 1
                                    count = min(long - t, vectors * vector)
                                    correlate_tile(
                                        lines, vectors, kh, kw,
                                        plane, (q - q0 + first_row - top) * pitch + t - left, row_pitch * pitch,
                                        columns[e], w, tap + starts[s * step + e], g.dtype.type(0),
                                        sums, target + t, room, min(lines, q1 - q), count, True,
                                    )  # fmt: skip
                                    t += count
        for c in range(channels):
            first = bias[group * channels + c]
            base = ((n * groups * channels + group * channels + c) * depth + i) * height
            for s in range(row_step):
                for q in range(q0, q1):
                    h = q * row_step + s
                    if h >= height:
                        continue
                    source = (((c * row_step + s) * step) * (band + LINES) + q - q0) * room
                    interleave(out, (base + h) * width, width, sums, source, (band + LINES) * room, first, step)


# ----------------------------------------------------------------------------- gradient with respect to the kernel


def kernel_gradient_bands(g, x, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the derivative of sum(g * convolution(x, w)) with respect to `w` into `out`; False if not finite.

    A block of taps is held in registers, each as a vector of partial sums, while g and the band pass by. The zeros of
    the padding meet numbers of `g`: where one of these is not finite, neither is the result, and the caller must take
    another algorithm.
    """
    channels = x.shape[1] // groups
    shapes = (g.shape, x.shape, out.shape)
    args = (g.reshape(-1), x.reshape(-1), out.reshape(-1), shapes, stride, before, dilation, groups)
    threads = threads_for(seconds_of(g.size * out[0].size, x.itemsize) + SECONDS_OF_BYTE * (g.nbytes + x.nbytes))
    count = groups * -(-(out.shape[0] // groups) // OUTS) * -(-channels // channels_together(out.shape))
    parallel_for(kernel_gradient_part, count, *args, threads=threads)
    return finite(out)


@kernel
def kernel_gradient_at_once(g, x, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the same in the calling thread, for a small layer."""
    shapes = (g.shape, x.shape, out.shape)
    flat = out.reshape(-1)
    ins = channels_together(out.shape)
    count = groups * ((out.shape[0] // groups + OUTS - 1) // OUTS) * ((out.shape[1] + ins - 1) // ins)
    kernel_gradient_part(0, count, g.reshape(-1), x.reshape(-1), flat, shapes, stride, before, dilation, groups)
    return vanishes(flat)


@kernel(fastmath={"reassoc"})
def sum_of(values, i, count, total):  # type: ignore[no-untyped-def]
    """Return `total` plus the sum of values[i:i + count], in an order that suits vectors."""
    for t in range(count):
        total += values[at(i + t)]
    return total


@kernel
def channels_together(w_shape):  # type: ignore[no-untyped-def]
    """Return how many channels are summed up together: fewer for a large kernel, whose sums would not stay near."""
    _, channels, _, kh, kw = w_shape
    blocks = ((kh + 2) // 3) * ((kw + 2) // 3) if kh > 1 else (kw + 7) // 8
    return max(1, min(channels, INS // blocks))


@kernel
def kernel_gradient_part(start, stop, g, x, out, shapes, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the gradient for the pieces start..stop, counted over (group, some channels, OUTS out channels)."""
    (batch, out_channels, out_depth, out_height, out_width), x_shape, (_, channels, kd, kh, kw) = shapes
    ins = channels_together(shapes[2])
    longest = COLUMNS_OF_BAND // ins  # all their bands together take as much as one of a single channel
    _, in_channels, depth, height, breadth = x_shape
    per_group = out_channels // groups
    vector = lanes(x)
    step = stride[2]
    columns_of_band, rows_of_band = min(out_width, longest), min(out_height, ROWS_OF_BAND)
    line = (columns_of_band + (kw - 1) * dilation[2] // step + vector) // vector * vector + vector
    pitch, phases = step * line, min(step, (kw - 1) * dilation[2] + 1)
    # The blocks of taps: 3 x 3, or 8 in a row. A tap too many repeats the last one.
    square = kh > 1
    high, wide = (3, 3) if square else (1, 8)
    size = high * wide
    down, across = (kh + high - 1) // high, (kw + wide - 1) // wide
    blocks = down * across
    shifts = np.empty(blocks * size, np.int64)
    for block in range(blocks):
        for k in range(size):
            a = min(kh - 1, block // across * high + k // wide)
            b = min(kw - 1, block % across * wide + k % wide)
            column = b * dilation[2]
            shifts[block * size + k] = a * dilation[1] * pitch + column % step * line + column // step
    places = np.empty(kh * kw, np.int64)  # of each tap's sums, among those of all blocks
    for i in range(kh):
        for j in range(kw):
            block, k = i // high * across + j // wide, i % high * wide + j % wide
            places[i * kw + j] = (block * size + k) * vector
    input_rows = (rows_of_band - 1) * stride[1] + (kh - 1) * dilation[1] + 1
    size_of_band = input_rows * pitch
    band = aligned(ins * size_of_band + 2 * vector, x)
    band[:] = 0
    size_of_sums = kd * blocks * size * vector  # of one out channel and one channel
    sums = np.empty(min(OUTS, per_group) * ins * size_of_sums, x.dtype)
    pieces, pieces_of_channels = (per_group + OUTS - 1) // OUTS, (channels + ins - 1) // ins
    plane_of_g = out_depth * out_height * out_width
    for item in range(start, stop):
        rest, piece = split(item, pieces)
        group, piece_of_channels = split(rest, pieces_of_channels)
        first_row, rows = piece * OUTS, min(OUTS, per_group - piece * OUTS)
        first_channel = piece_of_channels * ins
        count = min(ins, channels - first_channel)
        sums[:] = 0
        for n in range(batch):
            for od in range(out_depth):
                for a in range(kd):
                    d = od * stride[0] - before[0] + a * dilation[0]
                    if d < 0 or d >= depth:
                        continue
                    for h0 in range(0, out_height, ROWS_OF_BAND):
                        h1 = min(out_height, h0 + ROWS_OF_BAND)
                        for w0 in range(0, out_width, longest):
                            w1 = min(out_width, w0 + longest)
                            used = w1 - w0 + (kw - 1) * dilation[2] // step
                            for c in range(count):
                                copy_band(
                                    band, c * size_of_band, pitch, line,
                                    (h1 - h0 - 1) * stride[1] + (kh - 1) * dilation[1] + 1, used, x,
                                    ((n * in_channels + group * channels + first_channel + c) * depth + d) * height,
                                    h0 * stride[1] - before[1], height, breadth, w0 * step - before[2], step, phases,
                                )  # fmt: skip
                            r = 0
                            while r < rows:
                                together = PLANES if square and rows - r >= PLANES else 1
                                o = group * per_group + first_row + r
                                here = (((n * out_channels + o) * out_depth + od) * out_height + h0) * out_width + w0
                                for c in range(count):
                                    for block in range(blocks):
                                        sum_taps(
                                            square, together, h1 - h0, w1 - w0, g, here, out_width, plane_of_g,
                                            band, c * size_of_band, stride[1] * pitch, shifts, block * size,
                                            sums, (r * count + c) * size_of_sums + (a * blocks + block) * size * vector,
                                            count * size_of_sums,
                                        )  # fmt: skip
                                r += together
        for r in range(rows):
            for c in range(count):
                for a in range(kd):
                    target = (((group * per_group + first_row + r) * channels + first_channel + c) * kd + a) * kh * kw
                    first = (r * count + c) * size_of_sums + a * blocks * size * vector
                    for k in range(kh * kw):
                        out[at(target + k)] = sum_of(sums, first + places[at(k)], vector, x.dtype.type(0))
