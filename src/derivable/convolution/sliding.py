"""Convolution as a matrix product that reads the image where it lies: for few channels, where packing does not pay.

[`implicit`][derivable.convolution.implicit] packs each block of patches, which many out channels then share. With few
out channels, or few channels and therefore short sums, the packing takes longer than the products. But
the patches are already there: the numbers under tap (a, b) at the positions of one output row are a piece of one
input row, shifted. So here a band of the padded input is copied once to a buffer that stays in the cache, and the
micro-kernel gets a table that tells for each term k = (channel, tap) of the sum by how much the row is shifted. With a
stride s the copy sorts each row by the remainder of the column modulo s, so that such pieces remain pieces.

With stride 1 the rows of the band are a single long row, if the few columns in between, which mix the end of a
row with the beginning of the next, are computed and thrown away. For narrow images this fills the vectors. Or, where
these would be too many, there is a band for each column of the kernel that has the columns of the output and no others.

The band and one packed kernel are all the memory this needs. The functions work on the normal form of a layer, see
`implicit`. Padding is multiplied like any number, so where there is padding the kernel must be finite.
"""

from __future__ import annotations

import math

import numpy as np

from derivable.convolution.bands import copy_band, interleave, tap_classes
from derivable.convolution.implicit import SECONDS_TO_MOVE, at, pack_across
from derivable.jit import kernel, parallel_for, threads_for
from derivable.simd import ROWS, VECTOR_BYTES, VECTORS, lanes, multiply_places, multiply_shifted, seconds_of, turn

__all__ = ["convolution_sliding", "input_gradient_sliding", "kernel_gradient_sliding"]

BAND_BYTES = 1 << 18  # of the padded input, all channels of a group together


def layout(channels, per_group, kernel_shape, out_shape, stride, dilation, itemsize, threads):  # type: ignore[no-untyped-def]
    """Return (rows of a band, how rows are joined, line, pitch) of the buffer.

    Rows are joined not at all (0), with the columns in between (1), or without them (2), for each column of the kernel
    apart. A line holds the columns of one remainder; the pitch is the distance of two input rows.
    """
    kd, kh, kw = kernel_shape
    lane = VECTOR_BYTES // itemsize
    used = out_shape[2] + (kw - 1) * dilation[2] // stride[2]
    reach = (kh - 1) * dilation[1] + 1
    joined, planes = 0, channels * kd
    line = -(-(used + lane) // lane) * lane
    if stride[1] == stride[2] == 1:
        whole = -(-out_shape[2] // lane)
        alone, between, apart = (
            -(-n // lane) for n in (whole * lane * out_shape[1], used * out_shape[1], math.prod(out_shape[1:]))
        )
        if between < alone:
            joined, line = 1, used
        saved = (min(alone, between) - apart) * -(-per_group // ROWS) * ROWS * planes * kh * kw
        if saved > planes * (kw - 1) * (out_shape[1] + reach - 1) * (6 + 2 * whole):
            joined, line, planes = 2, out_shape[2], planes * kw
    pitch = line * stride[2]
    rows = (BAND_BYTES // (planes * pitch * itemsize) - reach) // stride[1] + 1
    # So many bands that each thread has some.
    rows = min(rows, -(-out_shape[1] // threads))
    rows = max(1, min(out_shape[1], rows))
    bands = -(-out_shape[1] // rows)
    return -(-out_shape[1] // bands), joined, line, pitch


def convolution_sliding(x, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute a layer's convolution, plus `bias`, into `out`."""
    out_channels, channels = w.shape[:2]
    per_group = out_channels // groups
    threads = threads_for(seconds_of(out.size * w[0].size, x.itemsize))
    few = -(-threads // (x.shape[0] * groups * out.shape[2]))
    plan = layout(channels, per_group, w.shape[2:], out.shape[2:], stride, dilation, x.itemsize, few)
    panels = -(-per_group // ROWS)
    depth = w[0].size
    packed = np.empty(groups * panels * (depth + 1) * ROWS, x.dtype)
    offsets = np.arange(0, max(depth, ROWS) * ROWS, ROWS)
    pack_panels(w.reshape(-1), bias, packed, offsets, groups, per_group, depth)
    count = x.shape[0] * groups * out.shape[2] * -(-out.shape[3] // plan[0])
    # Where there are fewer bands than threads, as for one signal, each thread has some out channels of a band, which it
    # fills for itself.
    cuts = 1 if count >= threads else min(panels, -(-threads // count))
    args = (
        x.reshape(-1),
        packed,
        out.reshape(-1),
        (x.shape, w.shape, out.shape),
        stride,
        before,
        dilation,
        groups,
        plan,
        cuts,
    )
    parallel_for(sliding_part, count * cuts, *args, threads=threads)
    return out


@kernel
def pack_panels(w, bias, packed, offsets, groups, per_group, depth):  # type: ignore[no-untyped-def]
    """Pack the kernel in panels of ROWS out channels, [group][panel][k][row]; the last k of each is the bias."""
    panels = (per_group + ROWS - 1) // ROWS
    for group in range(groups):
        for q in range(panels):
            rows = min(ROWS, per_group - q * ROWS)
            o = group * per_group + q * ROWS
            place = (group * panels + q) * (depth + 1) * ROWS
            k = 0
            if rows == ROWS:
                while k + ROWS <= depth:
                    turn(packed, place, offsets, k, w, o * depth + k, depth)
                    k += ROWS
            while k < depth:
                for row in range(ROWS):
                    packed[at(place + k * ROWS + row)] = w[at((o + row) * depth + k)] if row < rows else 0
                k += 1
            for row in range(ROWS):
                packed[at(place + depth * ROWS + row)] = bias[o + row] if row < rows else 0


@kernel
def term_shifts(shifts, channels, kd, kh, kw, input_rows, joined, line, pitch, dilation, step):  # type: ignore[no-untyped-def]
    """Write for each (channel, tap) where its numbers begin in the buffer of the band."""
    k = 0
    for plane in range(channels * kd):
        for a in range(kh):
            for b in range(kw):
                if joined == 2:
                    shifts[k] = ((plane * kw + b) * input_rows + a * dilation[1]) * pitch
                else:
                    column = b * dilation[2]
                    row = plane * input_rows + a * dilation[1]
                    shifts[k] = row * pitch + column % step * line + column // step
                k += 1


@kernel
def fill_band(  # type: ignore[no-untyped-def]
    band, x, n, first_channel, channels, x_shape, kernel_shape, od, h0, rows, out_width, stride, before, dilation,
    joined, line, pitch, input_rows,
):  # fmt: skip
    """Copy what `rows` output rows from h0 on read: for each channel and depth of the kernel some rows of a plane."""
    _, in_channels, depth, height, breadth = x_shape
    kd, kh, kw = kernel_shape
    step = stride[2]
    used = out_width + (kw - 1) * dilation[2] // step
    phases = min(step, (kw - 1) * dilation[2] + 1)
    needed = (rows - 1) * stride[1] + (kh - 1) * dilation[1] + 1
    for c in range(channels):
        for a in range(kd):
            d = od * stride[0] - before[0] + a * dilation[0]
            inside = height if 0 <= d < depth else 0  # a plane outside has no rows
            plane = ((n * in_channels + first_channel + c) * depth + d) * height
            if joined == 2:
                for b in range(kw):
                    copy_band(
                        band, ((c * kd + a) * kw + b) * input_rows * pitch, pitch, line, needed, out_width, x, plane,
                        h0 * stride[1] - before[1], inside, breadth, b * dilation[2] - before[2], 1, 1,
                    )  # fmt: skip
                continue
            copy_band(
                band, (c * kd + a) * input_rows * pitch, pitch, line, needed, used, x, plane,
                h0 * stride[1] - before[1], inside, breadth, -before[2], step, phases,
            )  # fmt: skip


@kernel
def sliding_part(start, stop, x, packed, out, shapes, stride, before, dilation, groups, plan, cuts):  # type: ignore[no-untyped-def]
    """Compute the pieces start..stop, counted over (batch, group, OD, band of rows, cut of the panels)."""
    x_shape, w_shape, out_shape = shapes
    _, out_channels, out_depth, out_height, out_width = out_shape
    _, channels, kd, kh, kw = w_shape
    rows_of_band, joined, line, pitch = plan
    per_group = out_channels // groups
    panels = (per_group + ROWS - 1) // ROWS
    bands = (out_height + rows_of_band - 1) // rows_of_band
    positions = out_depth * out_height * out_width
    vector = lanes(x)
    width = VECTORS * vector
    terms = channels * kd * kh * kw
    input_rows = (rows_of_band - 1) * stride[1] + (kh - 1) * dilation[1] + 1
    size = channels * kd * (kw if joined == 2 else 1) * input_rows * pitch + 2 * width
    long = rows_of_band * pitch  # the longest row of positions, and behind the band as many ones for the bias
    band = np.zeros(size + long + width, x.dtype)
    band[size:] = 1
    shifts = np.empty(terms + 1, np.int64)
    term_shifts(shifts, channels, kd, kh, kw, input_rows, joined, line, pitch, dilation, stride[2])
    tile = np.empty(ROWS * width, x.dtype)
    for item in range(start, stop):
        rest, part = divmod(item, cuts)
        rest, number = divmod(rest, bands)
        rest, od = divmod(rest, out_depth)
        n, group = divmod(rest, groups)
        h0 = number * rows_of_band
        rows = min(rows_of_band, out_height - h0)
        fill_band(
            band, x, n, group * channels, channels, x_shape, (kd, kh, kw), od, h0, rows, out_width, stride, before,
            dilation, joined, line, pitch, input_rows,
        )  # fmt: skip
        channel = n * out_channels + group * per_group
        for y in range(1 if joined else rows):
            length = (rows - 1) * pitch + out_width if joined else out_width  # whole rows if they are apart
            # One panel's rows are written from end to end: all panels' tiles in turn would be hard on the cache.
            for q in range(panels * part // cuts, panels * (part + 1) // cuts):
                real = min(ROWS, per_group - q * ROWS)
                a = (group * panels + q) * (terms + 1) * ROWS
                target = (channel + q * ROWS) * positions + (od * out_height + h0) * out_width
                t, count = 0, 0
                while t + count < length:
                    t += count
                    # Four vectors are two and two: one alone would take as many numbers of the kernel as three.
                    vectors = min(VECTORS, (length - t + vector - 1) // vector)
                    if 3 * vector < length - t <= 4 * vector:
                        vectors = 2
                    count = min(vectors * vector, length - t)
                    source = y * stride[1] * pitch + t
                    shifts[terms] = size - source
                    if joined != 1:
                        multiply_shifted(
                            terms + 1, vectors, packed, a, band, source, shifts,
                            out, target + y * out_width + t, positions, real, count, False,
                        )  # fmt: skip
                        continue
                    multiply_shifted(
                        terms + 1,
                        vectors,
                        packed,
                        a,
                        band,
                        source,
                        shifts,
                        tile,
                        0,
                        width,
                        ROWS,
                        vectors * vector,
                        False,
                    )
                    h, begin = divmod(t, pitch)
                    done = 0
                    while done < count:
                        # Of the row from `begin` on the columns under out_width are outputs.
                        end = min(pitch, begin + count - done)
                        for row in range(real):
                            place = target + row * positions + h * out_width
                            here = row * width + done - begin
                            for j in range(begin, min(end, out_width)):
                                out[at(place + j)] = tile[at(here + j)]
                        done += end - begin
                        begin = 0
                        h += 1


# ------------------------------------------------------------------------------ gradient with respect to the input


def input_gradient_sliding(g, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the transposed map of a layer's convolution, applied to `g`, plus `bias`, into `out`.

    The input indices fall into classes by their remainder modulo the stride; each class is a convolution of `g` with
    some taps (see `tap_classes`). Here every class is an out channel of one convolution with stride 1. The results are
    then shuffled into the output; they need as much memory again.
    """
    axes = [tap_classes(k, s, b, d) for k, s, b, d in zip(w.shape[2:], stride, before, dilation, strict=True)]
    least = [min((o for _, offsets in axis for o in offsets), default=0) for axis in axes]
    most = [max((o for _, offsets in axis for o in offsets), default=0) for axis in axes]
    per_group, channels = w.shape[0] // groups, w.shape[1]
    sizes = [high - low + 1 for low, high in zip(least, most, strict=True)]
    wide = np.zeros((groups, channels, *stride, per_group, *sizes), w.dtype)
    turned = w.reshape(groups, per_group, *w.shape[1:]).swapaxes(1, 2)
    for r0, (taps0, offsets0) in enumerate(axes[0]):
        for r1, (taps1, offsets1) in enumerate(axes[1]):
            for r2, (taps2, offsets2) in enumerate(axes[2]):
                for a, i in zip(taps0, offsets0, strict=True):
                    for b, j in zip(taps1, offsets1, strict=True):
                        for e, k in zip(taps2, offsets2, strict=True):
                            place = (i - least[0], j - least[1], k - least[2])
                            wide[:, :, r0, r1, r2, :, *place] = turned[..., a, b, e]
    classes = math.prod(stride)
    shape = [-(-n // s) for n, s in zip(out.shape[2:], stride, strict=True)]
    result = np.empty((out.shape[0], out.shape[1] * classes, *shape), out.dtype)
    kernels = wide.reshape(-1, per_group, *sizes)
    one = (1, 1, 1)
    convolution_sliding(g, kernels, np.repeat(bias, classes), result, one, tuple(-n for n in least), one, groups)
    planes = out.shape[0] * out.shape[1]
    args = (result.reshape(-1), out.reshape(-1), tuple(shape), out.shape[2:], tuple(stride))
    parallel_for(join_classes, planes, *args, threads=threads_for(SECONDS_TO_MOVE * out.size))
    return out


@kernel
def join_classes(start, stop, values, out, shape, sizes, stride):  # type: ignore[no-untyped-def]
    """Shuffle the classes of the planes start..stop, counted over (batch, channel), into the output."""
    zero = out.dtype.type(0)
    plane = shape[0] * shape[1] * shape[2]
    for item in range(start, stop):
        for i in range(sizes[0]):
            q0, r0 = divmod(i, stride[0])
            for j in range(sizes[1]):
                q1, r1 = divmod(j, stride[1])
                number = ((item * stride[0] + r0) * stride[1] + r1) * stride[2]
                source = ((number * shape[0] + q0) * shape[1] + q1) * shape[2]
                target = ((item * sizes[0] + i) * sizes[1] + j) * sizes[2]
                interleave(out, target, sizes[2], values, source, plane, zero, stride[2])


# ----------------------------------------------------------------------------- gradient with respect to the kernel


def kernel_gradient_sliding(g, x, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the derivative of sum(g * convolution(x, w)) with respect to `w` into `out`; False if not finite.

    The micro-kernel's rows are (channel, tap), shifted pieces of the band; `g` is packed with the out channels side by
    side. The zeros of the padding meet numbers of `g`: where one of these is not finite, neither is the result, and the
    caller must take another algorithm.
    """
    per_group, channels = out.shape[0] // groups, out.shape[1]
    vector = VECTOR_BYTES // x.itemsize
    threads = threads_for(seconds_of(g.size * out[0].size, x.itemsize))
    blocks = -(-per_group // (VECTORS * vector))
    width = -(-per_group // (blocks * vector)) * vector
    rows = layout(channels, 0, out.shape[2:], (1, g.shape[3], LONGEST), stride, dilation, x.itemsize, 1)[0]
    used = min(g.shape[4], LONGEST) + (out.shape[4] - 1) * dilation[2] // stride[2]
    line = -(-(used + vector) // vector) * vector
    rows = max(1, min(rows, PANEL_NUMBERS // (min(g.shape[4], LONGEST) * width)))
    plan = (blocks, width, rows, line, line * stride[2])
    count = groups * blocks
    args = (
        g.reshape(-1),
        x.reshape(-1),
        out.reshape(-1),
        (g.shape, x.shape, out.shape),
        stride,
        before,
        dilation,
        groups,
    )
    parallel_for(kernel_gradient_part, count, *args, plan, pieces=count, threads=threads)
    return bool(np.isfinite(out).all())


LONGEST = 512  # columns of g in one piece
PANEL_NUMBERS = 1 << 14  # numbers of g in one packed panel


@kernel
def kernel_gradient_part(start, stop, g, x, out, shapes, stride, before, dilation, groups, plan):  # type: ignore[no-untyped-def]
    """Compute the gradient for the pieces start..stop, counted over (group, block of out channels)."""
    (batch, out_channels, out_depth, out_height, out_width), x_shape, (_, channels, kd, kh, kw) = shapes
    blocks, wide, rows_of_band, line, pitch = plan
    per_group = out_channels // groups
    positions = out_depth * out_height * out_width
    vector = lanes(x)
    terms = channels * kd * kh * kw
    padded_terms = (terms + ROWS - 1) // ROWS * ROWS
    input_rows = (rows_of_band - 1) * stride[1] + (kh - 1) * dilation[1] + 1
    band = np.zeros(channels * kd * input_rows * pitch + 4 * vector, x.dtype)
    places = np.zeros(padded_terms, np.int64)
    term_shifts(places, channels, kd, kh, kw, input_rows, 0, line, pitch, dilation, stride[2])
    length = min(out_width, LONGEST)
    panel = np.empty(rows_of_band * length * wide, x.dtype)
    offsets = np.empty(ROWS, np.int64)
    sums = np.empty(padded_terms * wide, x.dtype)
    for item in range(start, stop):
        group, block = divmod(item, blocks)
        o = block * wide
        columns = min(wide, per_group - o)
        vectors = (columns + vector - 1) // vector
        width = vectors * vector
        sums[:] = 0
        for n in range(batch):
            channel = n * out_channels + group * per_group + o
            for od in range(out_depth):
                for h0 in range(0, out_height, rows_of_band):
                    rows = min(rows_of_band, out_height - h0)
                    for w0 in range(0, out_width, length):
                        here = min(length, out_width - w0)
                        for y in range(rows):
                            place = channel * positions + (od * out_height + h0 + y) * out_width + w0
                            pack_across(panel, y * here * width, g, place, positions, here, columns, width, offsets)
                        fill_band(
                            band, x, n, group * channels, channels, x_shape, (kd, kh, kw), od, h0, rows, here, stride,
                            (before[0], before[1], before[2] - w0 * stride[2]), dilation, 0, line, pitch, input_rows,
                        )  # fmt: skip
                        for k in range(0, terms, ROWS):
                            multiply_places(
                                rows, here, vectors, band, 0, places, k, stride[1] * pitch, panel, 0, here * width,
                                sums, k * width, width, ROWS, width, True,
                            )  # fmt: skip
        for j in range(columns):
            for k in range(terms):
                out[at((group * per_group + o + j) * terms + k)] = sums[at(k * width + j)]
