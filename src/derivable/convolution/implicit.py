"""Convolution as a matrix product whose second matrix never exists as a whole.

For one image a layer's output is a matrix product: out[o, p] is the sum over k of w[o, k] * patches[k, p]. Here p runs
over the output positions, k = (tap, channel) over the numbers of a patch, and patches[k, p] is the input number under
tap k at position p. The matrix of patches is as many times larger than the input as the kernel has taps ("im2col"), so
only a block of it is ever made, in a buffer that stays in the cache:

1. the kernel is packed once, unless positions are few: panels of ROWS out channels, the order that the micro-kernel
   reads;
2. a block of positions and a stretch of k are packed from the input, row by row of the image; this is where stride,
   dilation and padding are dealt with, so the micro-kernel knows nothing of them;
3. the micro-kernel multiplies all panels of the kernel with the block while it is in the cache.

Each number is packed once and then met by all out channels, which is what pays for the packing. A number of the kernel
is packed once, too, and then met by all positions. Where these are few that does not pay, and the kernel is read as it
lies (`unpacked_part`).

All functions work on the normal form of a layer: `x` (batch, channels, D, H, W), `w` (out channels, channels / groups,
KD, KH, KW), `out` (batch, out channels, OD, OH, OW), C-contiguous and of one dtype, float32 or float64. `taps` is an
array of three ints for each tap of the kernel: output index o meets input index o * stride + tap.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from derivable.jit import kernel, parallel_for, threads_for
from derivable.simd import (
    BESIDE,
    ROWS,
    VECTOR_BYTES,
    VECTORS,
    aligned,
    ask,
    clear,
    lanes,
    move,
    move_every_other,
    multiply_rows,
    multiply_tile,
    seconds_of,
    turn,
)

DEPTH = 256  # terms of the sum in one block: a tile's panel of patches then fits the nearest cache
SMALL = 1 << 16  # numbers under which a kernel is packed by one thread
SUMS = 576  # rows of sums that are kept while the gradient of a kernel is computed
TILES = 8  # tiles of positions in one block, more where the sums are short: all together fit the next cache
FEW = 32  # vectors of positions up to which a kernel is not packed,
FEW_OF_MANY_TAPS = 8  # and where it has more than 25 taps; one of more than 64 is packed always,
FEW_TURNED = 4  # and where it has one tap and is turned round
LONG = 512  # terms of the sum in one block, where the kernel is not packed: long stretches of its rows
AHEAD = 8  # rows between the one that is packed and the one asked for from memory
SECONDS_TO_MOVE = 1e-9  # a number, one by one
KEPT = 1 << 13  # entries up to which a table that follows from the shapes is kept for the next call


def kept(make: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the tables made for the last shapes, but none with more entries than KEPT.

    NumPy needs some 50 microseconds for such a table, a tenth of what a layer of a small network takes. The first
    argument is a tuple whose product says how long the table is. What is kept is made read-only.
    """
    again = functools.lru_cache(64)(make)

    @functools.wraps(make)
    def table(sizes, *rest):  # type: ignore[no-untyped-def]
        return (again if math.prod(sizes) <= KEPT else make)(sizes, *rest)

    return table


def fixed(array):  # type: ignore[no-untyped-def]
    """Make an array read-only, and return it."""
    array.setflags(write=False)
    return array


def convolution_implicit(x, w, out, stride, before, dilation, groups, bias=None):  # type: ignore[no-untyped-def]
    """Compute a layer's convolution into `out`."""
    taps = tap_shifts(w.shape[2:], before, dilation)
    return multiply_patches(x, w, fixed(np.arange(len(taps))), False, out, taps, tuple(stride), groups, bias)


def multiply_patches(x, w, chosen, turned, out, taps, stride, groups, bias=None):  # type: ignore[no-untyped-def]
    """Compute into `out` the product of the chosen taps of the kernel (turned round or not) with the patches of `x`."""
    batch, positions = x.shape[0], out.shape[2] * out.shape[3] * out.shape[4]
    if len(taps) == 1 and stride == (1, 1, 1) and not taps.any() and x.shape[2:] == out.shape[2:]:
        # Every position meets itself: the image is one long row.
        x, shape = x.reshape(*x.shape[:2], 1, 1, -1), (*out.shape[:2], 1, 1, positions)
    else:
        shape = out.shape
    inner, panels = x.shape[1] // groups, -(-(shape[1] // groups) // ROWS)
    lanes_of_x = VECTOR_BYTES // x.itemsize
    width = VECTORS * lanes_of_x
    tiles = -(-positions // width)
    numbers = groups * panels * ROWS * len(taps) * inner
    vectors, count = batch * -(-positions // lanes_of_x), math.prod(w.shape[2:])
    few = len(taps) == count and is_few(vectors, count, numbers, turned)
    threads = threads_for(seconds_of(positions * batch * numbers, x.itemsize))
    # Few positions are cut into smaller blocks, and as a last resort the out channels are shared among threads.
    most = TILES * max(1, min(4, DEPTH // (len(taps) * inner)))
    size = max(1, min(most, tiles, batch * groups * tiles // threads))
    blocks = -(-tiles // size)
    parts = 1 if batch * groups * blocks >= threads else min(panels, threads)
    plan = (blocks, size, parts, panels)
    items = batch * groups * blocks * parts
    if bias is None or not bias.any():
        bias = np.zeros(0, x.dtype)
    flat_x, flat_out, shapes = x.reshape(-1), out.reshape(-1), (x.shape, shape)
    args: tuple[Any, ...]
    if few:
        args = (flat_x, w.reshape(-1), taps, bias, flat_out, shapes, stride, groups, plan, turned)
        part = unpacked_part
    else:
        packed = np.empty(numbers, w.dtype)
        pack = (w.reshape(*w.shape[:2], -1), packed, chosen, turned, groups, panel_offsets((len(taps), inner)))
        if turned and count == 1:
            packs, pieces = pack_turned_part, groups * -(-inner // ROWS)
        else:
            packs, pieces = pack_kernel_part, groups * panels
        parallel_for(packs, pieces, *pack, threads=1 if numbers < SMALL else threads)
        args = (flat_x, packed, taps, bias, flat_out, shapes, stride, groups, plan)
        part = implicit_part
    parallel_for(part, items, *args, pieces=min(items, 4 * threads), threads=threads)
    return out


@kept
def panel_offsets(sizes):  # type: ignore[no-untyped-def]
    """Return where in a panel, whose order is (tap, channel), stands what the kernel holds at (channel, tap)."""
    taps, channels = sizes
    return fixed((np.arange(taps) * channels + np.arange(channels)[:, None]).reshape(-1) * ROWS)


def is_few(vectors, taps, numbers, turned=False):  # type: ignore[no-untyped-def]
    """Return whether so many vectors of positions are too few to pay for packing a kernel of so many numbers."""
    most = FEW if taps <= 25 else FEW_OF_MANY_TAPS
    if turned and taps == 1:  # read as it lies, each number would come from another row
        most = FEW_TURNED
    return numbers >= SMALL and taps <= 64 and vectors <= most


@kernel
def pack_kernel_part(start, stop, w, packed, chosen, turned, groups, offsets):  # type: ignore[no-untyped-def]
    """Pack the panels start..stop of the kernel: [group][panel][tap][channel][row], filled up with zeros.

    `chosen` lists the taps to pack. `turned` exchanges the roles of out channels and channels. `offsets` says where
    in a panel to put what stands at index (channel, tap) of the kernel.
    """
    out_channels, channels, taps = w.shape
    flat = w.reshape(-1)
    size = channels * taps
    # In w, a step to the next row of a panel, to its next channel, and to the next group.
    if turned:
        row_step, channel_step, per_group, inner = taps, size, channels, out_channels // groups
    else:
        row_step, channel_step, per_group, inner = size, taps, out_channels // groups, channels
    group_step = out_channels // groups * size
    panels = (per_group + ROWS - 1) // ROWS
    for item in range(start, stop):
        group, panel = divmod(item, panels)
        rows = min(ROWS, per_group - panel * ROWS)
        base, done = group * group_step + panel * ROWS * row_step, 0
        start_of_panel = item * chosen.shape[0] * inner * ROWS
        for c in range(inner):
            here, k = base + c * channel_step, 0
            if rows == ROWS and row_step == 1:
                for row in range(ROWS):
                    packed[at(start_of_panel + offsets[c] + row)] = flat[at(here + chosen[0] + row)]
                continue
            if rows == ROWS and chosen.shape[0] == taps:
                if turned:
                    # The taps of one channel in each row.
                    while k + ROWS <= taps:
                        turn(packed, start_of_panel, offsets, c * taps + k, flat, here + k, row_step)
                        k += ROWS
                elif c == 0:
                    # All taps of all channels lie in one row.
                    while done + ROWS <= inner * taps:
                        turn(packed, start_of_panel, offsets, done, flat, base + done, row_step)
                        done += ROWS
            while k < chosen.shape[0]:
                if turned or c * taps + k >= done:
                    target = start_of_panel + offsets[c * chosen.shape[0] + k]
                    for row in range(ROWS):
                        packed[target + row] = flat[here + chosen[k] + row * row_step] if row < rows else 0
                k += 1


@kernel
def pack_turned_part(start, stop, w, packed, chosen, turned, groups, offsets):  # type: ignore[no-untyped-def]
    """Do the same for a turned kernel of one tap, a few of its rows at a time.

    A panel's numbers for one channel lie next to each other, and those for the next one a whole row further on. To
    fetch a panel alone would take one line of memory from each row, where the processor does not see what comes.
    """
    out_channels, per_group, _ = w.shape
    flat = w.reshape(-1)
    inner = out_channels // groups
    panels = (per_group + ROWS - 1) // ROWS
    some = (inner + ROWS - 1) // ROWS
    for item in range(start, stop):
        group, c = divmod(item, some)
        first, last = c * ROWS, min(inner, (c + 1) * ROWS)
        for panel in range(panels):
            rows = min(ROWS, per_group - panel * ROWS)
            for c in range(first, last):
                here = (group * inner + c) * per_group + panel * ROWS
                target = ((group * panels + panel) * inner + c) * ROWS
                if rows == ROWS:
                    for row in range(ROWS):
                        packed[at(target + row)] = flat[at(here + row)]
                else:
                    for row in range(ROWS):
                        packed[target + row] = flat[here + row] if row < rows else 0


@kernel(inline="always")
def at(i):  # type: ignore[no-untyped-def]
    """Return an index as unsigned, for which Numba needs no test whether it is negative."""
    return np.uintp(i)


@kernel
def fill_rows(panel, i, width, x, place, plane, count, step, stretches, rows):  # type: ignore[no-untyped-def]
    """Write `count` rows of a panel, row r from x[place + r * plane:]; each is a sequence of stretches.

    It copies whole vectors. What one stretch spoils behind it the next one writes, and so does the next row.
    """
    vector = lanes(panel)
    for r in range(count):
        if stretches == 1:  # a row's pieces lie far apart, each too short for the processor to see what comes
            for t in range(0, rows[at(0)] * step, vector):
                ask(x, place + (r + AHEAD) * plane + rows[at(3)] + t)
        source = place + r * plane
        target = i + r * width
        for s in range(stretches):
            length, begin, end = rows[at(4 * s)], rows[at(4 * s + 1)], rows[at(4 * s + 2)]
            place_of_stretch = source + rows[at(4 * s + 3)]
            t = 0
            while t < begin:
                clear(panel, target + t)
                t += vector
            t = begin
            if step == 1:
                while t < end:
                    move(panel, target + t, x, place_of_stretch + t)
                    t += vector
            else:
                while t < end:
                    move_every_other(panel, target + t, x, place_of_stretch + 2 * t)
                    t += vector
            t = end
            while t < length:
                clear(panel, target + t)
                t += vector
            target += length


@kernel
def fill_rows_exactly(panel, i, width, x, place, plane, count, step, stretches, rows):  # type: ignore[no-untyped-def]
    """Do the same for any step, and read no number of x that is not needed: for the last rows of x."""
    for r in range(count):
        target = i + r * width
        for s in range(stretches):
            length, begin, end = rows[4 * s], rows[4 * s + 1], rows[4 * s + 2]
            source = place + r * plane + rows[4 * s + 3]
            for t in range(length):
                panel[at(target + t)] = x[at(source + t * step)] if begin <= t < end else 0
            target += length


@kernel
def pack_patches(  # type: ignore[no-untyped-def]
    x, first_channel, channels, x_shape, taps, stride, first_k, last_k, position, count, width, out_shape, panel, start,
    rows,
):  # fmt: skip
    """Pack the patches at `count` output positions from `position` on, for k from first_k to last_k.

    panel[start + (k - first_k) * width + t] becomes the input number under tap k at the t-th position, zero where that
    is padding and zero from `count` to `width`. Positions are handled as stretches of one output row each; `rows` is
    working space, for each stretch: length, where its real input begins, ends, and its place in x.
    """
    _, _, depth, height, breadth = x_shape
    _, _, _, out_height, out_width = out_shape
    plane = depth * height * breadth
    tap, c = divmod(first_k, channels)
    k, i, vector = first_k, start, lanes(x)
    while k < last_k:
        # One tap: where the stretches of positions lie in the input, for all channels.
        stretches, done, furthest = 0, 0, 0
        rest, w0 = divmod(position, out_width)
        d0, h0 = divmod(rest, out_height)
        while done < count:
            length = min(out_width - w0, count - done)
            d = d0 * stride[0] + taps[tap, 0]
            h = h0 * stride[1] + taps[tap, 1]
            w = w0 * stride[2] + taps[tap, 2]
            begin, end = 0, 0
            if 0 <= d < depth and 0 <= h < height and w < breadth:
                begin = 0 if w >= 0 else min(length, (-w + stride[2] - 1) // stride[2])
                end = max(begin, min(length, (breadth - 1 - w) // stride[2] + 1))
            place = (d * height + h) * breadth + w
            rows[4 * stretches] = length
            rows[4 * stretches + 1] = begin
            rows[4 * stretches + 2] = end
            rows[4 * stretches + 3] = place
            furthest = max(furthest, place + (end + vector) * stride[2])
            stretches += 1
            done += length
            w0 = 0
            h0 += 1
            if h0 == out_height:
                h0 = 0
                d0 += 1
        rows[4 * stretches - 4] += width - count
        last_c = min(channels, c + last_k - k)
        # The last channels of the last image are copied with care not to read behind the end of x.
        fast = 0
        if stride[2] <= 2:
            fast = min(max(0, (x.size - furthest) // plane + 1 - first_channel - c), last_c - c)
        place = (first_channel + c) * plane
        fill_rows(panel, i, width, x, place, plane, fast, stride[2], stretches, rows)
        i += fast * width
        place += fast * plane
        slow = last_c - c - fast
        fill_rows_exactly(panel, i, width, x, place, plane, slow, stride[2], stretches, rows)
        i += slow * width
        k += last_c - c
        tap += 1
        c = 0


@kernel
def pack_block(  # type: ignore[no-untyped-def]
    x, first_channel, channels, x_shape, taps, stride, k, depth, first, last, out_shape, patches, pitch, skip, rows
):
    """Pack the tiles of a block of positions, each `pitch` after the one before, behind `skip` rows of its own."""
    vector = lanes(x)
    width = VECTORS * vector
    p = first
    itself = taps.shape[0] == 1 and taps[0, 0] == taps[0, 1] == taps[0, 2] == 0  # the tap meets, not a neighbour
    if itself and x_shape[2:] == out_shape[2:] == (1, 1, x_shape[4]) and stride[2] == 1:
        tiles = (last - first) // width
        plane = x_shape[4]
        pack_straight(x, (first_channel + k) * plane + first, plane, depth, tiles, patches, pitch)
        p += tiles * width
    while p < last:
        count = min(width, last - p)
        wide = (count + vector - 1) // vector * vector
        start = (p - first) // width * pitch + skip * wide
        pack_patches(
            x, first_channel, channels, x_shape, taps, stride, k, k + depth, p, count, wide, out_shape, patches, start,
            rows,
        )  # fmt: skip
        p += width


@kernel
def pack_straight(x, place, plane, depth, tiles, panel, pitch):  # type: ignore[no-untyped-def]
    """Pack whole tiles of positions that meet themselves: row r of all tiles together is x[place + r * plane:].

    Row by row, the processor sees what comes. Tile by tile it fetches a few lines of memory from each row, one after
    another, which takes up to a third of such a layer's time.
    """
    vector = lanes(x)
    for r in range(depth):
        source, target = place + r * plane, r * VECTORS * vector
        for _ in range(tiles):
            for t in range(0, VECTORS * vector, vector):
                move(panel, target + t, x, source + t)
            source += VECTORS * vector
            target += pitch


@kernel
def piece(item, plan, groups, width, positions):  # type: ignore[no-untyped-def]
    """Return what belongs to a piece of the output: image, group, first and last position, first and last panel."""
    blocks, size, parts, panels = plan
    rest, part = divmod(item, parts)
    rest, block = divmod(rest, blocks)
    n, group = divmod(rest, groups)
    first, last = block * size * width, min(positions, (block + 1) * size * width)
    return n, group, first, last, panels * part // parts, panels * (part + 1) // parts


@kernel
def start_from(bias, channel, rows, out, target, positions, first, last):  # type: ignore[no-untyped-def]
    """Write the bias of `rows` out channels from `channel` on to the positions first..last of their planes."""
    if bias.size > 0:
        for r in range(rows):
            for p in range(target + r * positions + first, target + r * positions + last):
                out[at(p)] = bias[channel + r]


@kernel
def implicit_part(start, stop, x, packed, taps, bias, out, shapes, stride, groups, plan):  # type: ignore[no-untyped-def]
    """Compute the pieces start..stop of the output: (batch, group, block of positions, part of channels)."""
    _, size, _, panels = plan
    x_shape, out_shape = shapes
    out_channels = out_shape[1]
    per_group, channels = out_channels // groups, x_shape[1] // groups
    positions = out_shape[2] * out_shape[3] * out_shape[4]
    total = taps.shape[0] * channels
    vector = lanes(x)
    width = VECTORS * vector
    deepest = min(DEPTH, total)
    pitch = deepest * width + vector  # of two tiles: what a tile's last row spoils is nobody's
    patches = aligned(size * pitch, x)
    rows = np.empty(4 * width, np.int64)
    for item in range(start, stop):
        n, group, first, last, first_panel, last_panel = piece(item, plan, groups, width, positions)
        first_channel = n * x_shape[1] + group * channels
        for k in range(0, total, DEPTH):
            depth = min(DEPTH, total - k)
            pack_block(
                x, first_channel, channels, x_shape, taps, stride, k, depth, first, last, out_shape, patches, pitch, 0,
                rows,
            )  # fmt: skip
            # A panel of the kernel stays in the nearest cache while the tiles pass by; their rows of the output are
            # then written one after another.
            for q in range(first_panel, last_panel):
                channel = q * ROWS
                real = min(ROWS, per_group - channel)
                target = (n * out_channels + group * per_group + channel) * positions
                if k == 0:
                    start_from(bias, group * per_group + channel, real, out, target, positions, first, last)
                for p in range(first, last, width):
                    count = min(width, last - p)
                    multiply_tile(
                        depth, (count + vector - 1) // vector, packed, ((group * panels + q) * total + k) * ROWS,
                        patches, (p - first) // width * pitch, out, target + p, positions, real, count,
                        k > 0 or bias.size > 0, x, 0, 0,
                    )  # fmt: skip


@kernel
def unpacked_part(start, stop, x, w, taps, bias, out, shapes, stride, groups, plan, turned):  # type: ignore[no-untyped-def]
    """Compute the same pieces with the kernel `w` as it lies, all taps of it: for few positions.

    To pack a kernel takes as long as to multiply it with some vectors of positions. So where there are few, the
    micro-kernel takes the numbers of each out channel from their own row. A block holds all taps of some channels.
    """
    _, size, _, _ = plan
    x_shape, out_shape = shapes
    out_channels = out_shape[1]
    per_group, channels, count_of_taps = out_channels // groups, x_shape[1] // groups, taps.shape[0]
    positions = out_shape[2] * out_shape[3] * out_shape[4]
    # In w, a step to the next out channel, to the next channel, and to the next group.
    if turned:
        row_step, channel_step = count_of_taps, per_group * count_of_taps
        group_step = channels * channel_step
    else:
        row_step, channel_step = channels * count_of_taps, count_of_taps
        group_step = per_group * row_step
    vector = lanes(x)
    width = VECTORS * vector
    together = min(channels, max(1, LONG // count_of_taps))
    pitch = together * count_of_taps * width + vector
    patches = aligned(size * pitch, x)
    rows = np.empty(4 * width, np.int64)
    for item in range(start, stop):
        n, group, first, last, first_panel, last_panel = piece(item, plan, groups, width, positions)
        first_channel = n * x_shape[1] + group * channels
        for c in range(0, channels, together):
            some = min(together, channels - c)
            for tap in range(count_of_taps):
                pack_block(
                    x, first_channel, channels, x_shape, taps, stride, tap * channels + c, some, first, last, out_shape,
                    patches, pitch, tap * some, rows,
                )  # fmt: skip
            for q in range(first_panel, last_panel):
                channel = q * ROWS
                real = min(ROWS, per_group - channel)
                target = (n * out_channels + group * per_group + channel) * positions
                if c == 0:
                    start_from(bias, group * per_group + channel, real, out, target, positions, first, last)
                place = group * group_step + channel * row_step + c * channel_step
                for p in range(first, last, width):
                    count = min(width, last - p)
                    vectors = (count + vector - 1) // vector
                    multiply_rows(
                        count_of_taps, some, vectors, w, place, row_step, 1, channel_step,
                        patches, (p - first) // width * pitch, some * vectors * vector,
                        out, target + p, positions, real, count, c > 0 or bias.size > 0,
                    )  # fmt: skip


# ------------------------------------------------------------------------------ gradient with respect to the input


@kept
def tap_shifts(kernel_shape, before, dilation):  # type: ignore[no-untyped-def]
    """Return the taps of a layer: output index o meets input index o * stride + tap."""
    axes = [k * d - b for k, d, b in zip(map(np.arange, kernel_shape), dilation, before, strict=True)]
    return fixed(grid(axes))


def grid(axes):  # type: ignore[no-untyped-def]
    """Return all triples of an entry of each axis, as rows of ints."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int64)


def input_gradient_implicit(g, w, out, stride, before, dilation, groups, bias=None):  # type: ignore[no-untyped-def]
    """Compute the transposed map of a layer's convolution, applied to `g`, into `out`."""
    unit = (1, 1, 1)
    sizes, planes = out.shape[2:], out.shape[0] * out.shape[1]
    classes = input_classes((*w.shape[2:], *stride), sizes, before, dilation)
    if any(chosen.size == 0 for _, _, chosen, _ in classes):  # no tap reaches these
        out[...] = 0 if bias is None else bias[:, None, None, None]
    for first, part, chosen, taps in classes:
        if chosen.size == 0:
            continue
        target = out if tuple(stride) == unit else np.empty((*out.shape[:2], *part), out.dtype)
        multiply_patches(g, w, chosen, True, target, taps, unit, groups, bias)
        if target is not out:
            args = (out.reshape(-1), target.reshape(-1), sizes, part, tuple(stride), first)
            parallel_for(write_class, planes, *args, threads=threads_for(SECONDS_TO_MOVE * target.size))
    return out


@kept
def input_classes(kernel_and_stride, sizes, before, dilation):  # type: ignore[no-untyped-def]
    """Return the classes of input indices that meet the same taps, one for each remainder modulo the stride.

    Input index i meets output index o under tap k where i = o * stride - before + k * dilation. So the input indices
    fall into classes by their remainder modulo the stride. Each class, i = stride * q + r, meets only
    the taps with (r + before - k * dilation) divisible by the stride, and these at o = q + that quotient: a plain
    convolution with stride 1, of the output's gradient with a part of the kernel.

    Returns:
        For each class (first index, sizes, numbers of its taps in the kernel, their quotients).
    """
    kernel_shape, stride = kernel_and_stride[:3], kernel_and_stride[3:]
    axes = []
    for size, taps, s, b, d in zip(sizes, kernel_shape, stride, before, dilation, strict=True):
        k = np.arange(taps)
        axes.append([(r, -(-(size - r) // s), k[(r + b - k * d) % s == 0], s, b, d) for r in range(min(s, size))])
    classes = []
    for remainders in itertools.product(*axes):
        met = grid([k for _, _, k, _, _, _ in remainders])
        chosen = (met[:, 0] * kernel_shape[1] + met[:, 1]) * kernel_shape[2] + met[:, 2]
        quotients = grid([(r + b - k * d) // s for r, _, k, s, b, d in remainders])
        first, part = tuple(axis[0] for axis in remainders), tuple(axis[1] for axis in remainders)
        classes.append((first, part, fixed(chosen), fixed(quotients)))
    return tuple(classes)


@kernel
def write_class(start, stop, out, target, sizes, part, stride, first):  # type: ignore[no-untyped-def]
    """Write the planes start..stop of `target`, of the sizes `part`, to every stride-th place of those of `out`."""
    _, height, width = sizes
    for plane in range(start, stop):
        for d in range(part[0]):
            for h in range(part[1]):
                source = ((plane * part[0] + d) * part[1] + h) * part[2]
                place = (plane * sizes[0] + first[0] + d * stride[0]) * height + first[1] + h * stride[1]
                place = place * width + first[2]
                for t in range(part[2]):
                    out[at(place + t * stride[2])] = target[at(source + t)]


# ----------------------------------------------------------------------------- gradient with respect to the kernel


def kernel_gradient_implicit(g, x, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the derivative of sum(g * convolution(x, w)) with respect to `w` into `out`.

    It is the matrix product of `g` with the transposed patches: out[o, (c, tap)] is the sum over the positions p of
    g[o, p] * x[c, p * stride + tap]. The sum runs along the rows of the image. The micro-kernel reads x as it
    lies, and only where a tap falls inside: ROWS channels under one tap at a time or, where there are few channels,
    one channel under ROWS neighbouring taps. `g` is packed, block by block, with the out channels side by side.
    """
    out_channels, channels = out.shape[:2]
    per_group = out_channels // groups
    ends = all((o - 1) * s < n for o, s, n in zip(g.shape[2:], stride, x.shape[2:], strict=True))
    if math.prod(out.shape[2:]) == 1 and not any(before) and ends:  # none meets padding, before or behind
        # Every output meets one number of each channel. Those that are met, side by side, are one long row.
        met = tuple(slice(0, (n - 1) * s + 1, s) for n, s in zip(g.shape[2:], stride, strict=True))
        x = np.ascontiguousarray(x[:, :, *met]).reshape(*x.shape[:2], 1, 1, -1)
        g, stride = g.reshape(*g.shape[:2], 1, 1, -1), (1, 1, 1)
    table, places = row_table((channels, *out.shape[2:]), x.shape[2:], before, dilation)
    vector = VECTOR_BYTES // x.itemsize
    threads = threads_for(seconds_of(g.size * out[0].size, x.itemsize))
    # With 32 registers two vectors leave room for all numbers of a step; three that are all there is are better than
    # two and one.
    vectors = -(-per_group // vector)
    blocks = 1 if vectors <= VECTORS else -(-vectors // BESIDE)
    width = -(-per_group // (blocks * vector)) * vector
    chunks = max(-(-len(table) * ROWS // SUMS), -(-threads // (groups * blocks)))
    chunks = min(chunks, len(table))
    items = groups * blocks * chunks
    plan = (blocks, width, chunks)
    args = (
        g.reshape(-1),
        x.reshape(-1),
        table,
        places,
        out.reshape(-1),
        (g.shape, x.shape),
        tuple(stride),
        groups,
        plan,
    )
    parallel_for(kernel_gradient_part, items, *args, pieces=items, threads=threads)
    return out


@kept
def row_table(sizes, x_shape, before, dilation):  # type: ignore[no-untyped-def]
    """Return which numbers of a patch the micro-kernel takes together as its rows, and their places in the kernel.

    Returns:
        (table, places): table[i] is (channel, number of rows, distance of two rows in x, shift in depth, shift in
        height, shift in width of the first row and of the last, index of the first row); places[r] is the index of
        row r in (channel, tap).
    """
    channels, *kernel_shape = sizes
    taps = tap_shifts(tuple(kernel_shape), before, dilation)
    count, breadth = len(taps), kernel_shape[2]
    table: list[Any] = []
    places: list[Any] = []
    if channels >= min(ROWS, breadth):
        for c in range(0, channels, ROWS):
            rows = min(ROWS, channels - c)
            for tap, (d, h, w) in enumerate(taps.tolist()):
                table.append((c, rows, math.prod(x_shape), d, h, w, w, len(places)))
                places.extend((c + r) * count + tap for r in range(rows))
    else:
        for c in range(channels):
            for tap in range(0, count, breadth):
                for k in range(0, breadth, ROWS):
                    rows = min(ROWS, breadth - k)
                    (d, h, first), last = taps[tap + k].tolist(), int(taps[tap + k + rows - 1, 2])
                    table.append((c, rows, dilation[2], d, h, first, last, len(places)))
                    places.extend(c * count + tap + k + r for r in range(rows))
    return fixed(np.array(table, np.int64)), fixed(np.array(places, np.int64))


@kernel(inline="always")
def inside(shift, stride, size, count):  # type: ignore[no-untyped-def]
    """Return first, end: the o < count with 0 <= o * stride + shift < size."""
    first = 0 if shift >= 0 else (-shift + stride - 1) // stride
    end = 0 if shift >= size else min(count, (size - 1 - shift) // stride + 1)
    return first, end


@kernel
def pack_across(panel, i, g, place, pitch, count, columns, width, offsets):  # type: ignore[no-untyped-def]
    """Write panel[i + t * width + j] = g[place + j * pitch + t] for t < count, j < columns, and zeros up to width."""
    for t in range(ROWS):
        offsets[t] = t * width
    whole = columns // ROWS * ROWS
    t = 0
    while t + ROWS <= count:
        for j in range(0, whole, ROWS):
            for r in range(j, j + ROWS):  # what will be packed next
                ask(g, place + r * pitch + t + count)
            turn(panel, i + t * width + j, offsets, 0, g, place + j * pitch + t, pitch)
        t += ROWS
    for j in range(columns):
        for rest in range(t if j < whole else 0, count):
            panel[at(i + rest * width + j)] = g[at(place + j * pitch + rest)]
    for t in range(count):
        for j in range(columns, width):
            panel[at(i + t * width + j)] = 0


@kernel
def kernel_gradient_part(start, stop, g, x, table, places, out, shapes, stride, groups, plan):  # type: ignore[no-untyped-def]
    """Compute the pieces start..stop of the gradient: (group, block of out channels, chunk of the table)."""
    blocks, wide, chunks = plan
    (batch, out_channels, out_depth, out_height, out_width), (_, in_channels, depth, height, breadth) = shapes
    per_group, channels = out_channels // groups, in_channels // groups
    positions = out_depth * out_height * out_width
    vector = lanes(x)
    # One block of g: a few lines of one output plane, or a stretch of a single long line.
    length = min(out_width, DEPTH)
    lines = min(out_height, max(1, DEPTH // length))
    panel = aligned(lines * length * wide, x)
    offsets = np.empty(ROWS, np.int64)
    most = (table.shape[0] + chunks - 1) // chunks * ROWS
    sums = aligned(most * wide, x)
    for item in range(start, stop):
        rest, chunk = divmod(item, chunks)
        group, block = divmod(rest, blocks)
        first, last = table.shape[0] * chunk // chunks, table.shape[0] * (chunk + 1) // chunks
        first_row, last_row = table[first, 7], table[last - 1, 7] + table[last - 1, 1]
        o = block * wide
        columns = min(wide, per_group - o)
        vectors = (columns + vector - 1) // vector
        width = vectors * vector
        sums[:] = 0
        for n in range(batch):
            channel = n * out_channels + group * per_group + o
            for od in range(out_depth):
                for line in range(0, out_height, lines):
                    last_line = min(out_height, line + lines)
                    for w0 in range(0, out_width, length):
                        last_w = min(out_width, w0 + length)
                        here = (last_w - w0) * width  # one line of the block
                        for y in range(line, last_line):
                            place = channel * positions + (od * out_height + y) * out_width + w0
                            pack_across(
                                panel, (y - line) * here, g, place, positions, last_w - w0, columns, width, offsets
                            )
                        for i in range(first, last):
                            d = od * stride[0] + table[i, 3]
                            y0, y1 = inside(table[i, 4], stride[1], height, out_height)
                            y0, y1 = max(y0, line), min(y1, last_line)
                            if d < 0 or d >= depth or y0 >= y1:
                                continue
                            rows, pitch, shift, target = table[i, 1], table[i, 2], table[i, 5], table[i, 7] - first_row
                            plane_of_d = ((n * in_channels + group * channels + table[i, 0]) * depth + d) * height
                            # From t0 to t1 all rows are inside, from s0 to s1 at least one of them.
                            s1 = inside(shift, stride[2], breadth, out_width)[1]
                            s0 = inside(table[i, 6], stride[2], breadth, out_width)[0]
                            t0 = inside(shift, stride[2], breadth, out_width)[0]
                            t1 = inside(table[i, 6], stride[2], breadth, out_width)[1]
                            s0, s1 = max(s0, w0), min(s1, last_w)
                            t0, t1 = max(t0, w0), min(t1, last_w)
                            if t0 < t1:
                                a = (plane_of_d + y0 * stride[1] + table[i, 4]) * breadth + t0 * stride[2] + shift
                                multiply_rows(
                                    y1 - y0, t1 - t0, vectors, x, a, pitch, stride[1] * breadth, stride[2],
                                    panel, (y0 - line) * here + (t0 - w0) * width, here,
                                    sums, target * width, width, rows, width, True,
                                )  # fmt: skip
                            else:
                                t0, t1 = s1, s1
                            if s0 < t0 or t1 < s1:
                                for y in range(y0, y1):
                                    begin = (plane_of_d + y * stride[1] + table[i, 4]) * breadth
                                    corner = (y - line) * here
                                    for t in range(s0, s1):
                                        if t0 <= t < t1:
                                            continue
                                        for r in range(rows):
                                            w = t * stride[2] + shift + r * pitch
                                            if 0 <= w < breadth:
                                                add_multiple(
                                                    sums, (target + r) * width, x[begin + w],
                                                    panel, corner + (t - w0) * width, width,
                                                )  # fmt: skip
        size = places.shape[0]
        for r in range(first_row, last_row, 64):  # a few rows at a time, for the sake of the cache
            for j in range(columns):
                for row in range(r, min(r + 64, last_row)):
                    place = (group * per_group + o + j) * size + places[row]
                    out[at(place)] = sums[at((row - first_row) * width + j)]


@kernel(fastmath={"contract"})
def add_multiple(target, i, factor, source, j, count):  # type: ignore[no-untyped-def]
    """Add factor * source[j + t] to target[i + t] for t < count."""
    for t in range(count):
        target[at(i + t)] += factor * source[at(j + t)]
