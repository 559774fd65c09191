"""Convolution by its definition, ordered for the machine: long rows, several taps at once, no copies of the input.

Every function here works on the *normal form* of a layer, to which 1-D, 2-D and 3-D layers are brought by unit axes:

- input `x` (batch, channels, D, H, W), kernel `w` (out channels, channels / groups, KD, KH, KW), output and
  its gradient `g` (batch, out channels, OD, OH, OW), all C-contiguous and of one dtype;
- `stride`, `before`, `dilation`: a tuple of three ints. `before` is the padding in front; the padding
  behind follows from the shape of the output. It may be negative (a crop).

Output index o and kernel index k meet input index i = o * stride - before + k * dilation. Where i falls outside the
input the term does not exist: it is left out, not multiplied by zero, so that an infinity in the kernel meets no zero.

Two ways to compute the same sums:

- *rows*: one output row at a time, the inner loop along it; any stride, and the best way for long rows;
- *planes*: with stride 1 a whole output plane is one long row, if it is laid out with the pitch of the (padded)
  input plane; the columns too many are dropped. Short rows would leave no work for vector instructions.

Both take up to four taps of the kernel at once, so that an output number is loaded and stored once for four
products. Multiplications and additions may be fused (`contract`: one rounding instead of two). Only the dot
products of the kernel's gradient may be summed in another order (`reassoc`), for without that they cannot use vectors.
Neither flag touches NaN or infinity.

The functions ending in `_part` handle a range of the work, for [`parallel_for`][derivable.jit.parallel_for]: each
output number is computed by one piece, in an order that does not depend on how the work is cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derivable.jit import kernel

__all__ = [
    "convolution",
    "convolution_part",
    "input_gradient",
    "input_gradient_part",
    "kernel_gradient",
    "kernel_gradient_part",
    "plane_at_once",
    "planes_part",
    "rows_part",
    "transposed_kernel",
]

FUSED = {"contract"}
SUMMED = {"contract", "reassoc"}
LONG_ROW = 128  # from this width on a single row keeps the vector units busy
LARGEST_PLANE = 1 << 14  # numbers in a plane that is still handled at once: more would not stay in the cache


@kernel
def at(i: Any) -> Any:
    """Return an index as unsigned: Numba then leaves out its test for negative indices, which blocks vectors."""
    return np.uintp(i)


@kernel
def first_inside(offset: Any, stride: Any) -> Any:
    """Return the least o >= 0 with o * stride + offset >= 0."""
    return 0 if offset >= 0 else (-offset + stride - 1) // stride


@kernel
def end_inside(offset: Any, stride: Any, size: Any, limit: Any) -> Any:
    """Return the least o >= 0 with o * stride + offset >= size, at most `limit`."""
    return 0 if offset >= size else min(limit, (size - 1 - offset) // stride + 1)


# ------------------------------------------------------------------------- sums of shifted rows, in flat arrays


@kernel(fastmath=FUSED)
def add_one(out, o, m, x, i, w):  # type: ignore[no-untyped-def]
    """Add w * x[i + t] to out[o + t] for t in range(m)."""
    for t in range(m):
        out[at(o + t)] += w * x[at(i + t)]


@kernel(fastmath=FUSED)
def add_two(out, o, m, x, i0, i1, w0, w1):  # type: ignore[no-untyped-def]
    """Add w0 * x[i0 + t] + w1 * x[i1 + t] to out[o + t] for t in range(m)."""
    for t in range(m):
        out[at(o + t)] += w0 * x[at(i0 + t)] + w1 * x[at(i1 + t)]


@kernel(fastmath=FUSED)
def add_four(out, o, m, x, i0, i1, i2, i3, w0, w1, w2, w3):  # type: ignore[no-untyped-def]
    """Add the same sum of four shifted rows."""
    for t in range(m):
        out[at(o + t)] += w0 * x[at(i0 + t)] + w1 * x[at(i1 + t)] + w2 * x[at(i2 + t)] + w3 * x[at(i3 + t)]


@kernel(fastmath=FUSED)
def add_taps(out, o, m, x, i, n, w, k, taps, stride, before, dilation):  # type: ignore[no-untyped-def]
    """Add to out[o + t] the sum over q of w[k + q] * x[i + t * stride - before + q * dilation], for t in range(m).

    Of x, the numbers i .. i + n - 1 are one row; terms outside it do not exist.
    """
    q = 0
    while q < taps:
        shift = q * dilation - before
        count = 4 if taps - q >= 4 else 2
        if stride == 1 and taps - q >= 2:
            # `count` taps together reach the outputs from `start` (set by the first) to `stop` (by the last).
            start, stop = first_inside(shift, 1), end_inside(shift + (count - 1) * dilation, 1, n, m)
            if start < stop:
                for p in range(count):  # the few outputs at the ends which only some of these taps reach
                    s = shift + p * dilation
                    for t in range(first_inside(s, 1), min(start, end_inside(s, 1, n, m))):
                        out[o + t] += w[k + q + p] * x[i + t + s]
                    for t in range(max(stop, first_inside(s, 1)), end_inside(s, 1, n, m)):
                        out[o + t] += w[k + q + p] * x[i + t + s]
                i0 = i + start + shift
                i1 = i0 + dilation
                if count == 4:
                    i2, i3 = i1 + dilation, i1 + 2 * dilation
                    w0, w1, w2, w3 = w[k + q], w[k + q + 1], w[k + q + 2], w[k + q + 3]
                    add_four(out, o + start, stop - start, x, i0, i1, i2, i3, w0, w1, w2, w3)
                else:
                    add_two(out, o + start, stop - start, x, i0, i1, w[k + q], w[k + q + 1])
                q += count
                continue
        start, stop = first_inside(shift, stride), end_inside(shift, stride, n, m)
        if stride == 1:
            add_one(out, o + start, stop - start, x, i + start + shift, w[k + q])
        else:
            factor = w[k + q]
            for t in range(start, stop):
                out[at(o + t)] += factor * x[at(i + shift + t * stride)]
        q += 1


# ------------------------------------------------------------------------------------------------- forward


@kernel
def rows_part(start, stop, x, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the output rows start..stop, counted over (batch, out channel, OD, OH), one by one."""
    _, in_channels, depth, height, width = x.shape
    out_channels, channels, kd, kh, kw = w.shape
    _, _, out_depth, out_height, out_width = out.shape
    flat_x, flat_w, flat_out = x.reshape(-1), w.reshape(-1), out.reshape(-1)
    for item in range(start, stop):
        rest, oh = divmod(item, out_height)
        rest, od = divmod(rest, out_depth)
        n, o = divmod(rest, out_channels)
        for t in range(out_width):
            flat_out[at(item * out_width + t)] = bias[o]
        first = o // (out_channels // groups) * channels
        for c in range(channels):
            for a in range(kd):
                i = od * stride[0] - before[0] + a * dilation[0]
                if i < 0 or i >= depth:
                    continue
                for b in range(kh):
                    j = oh * stride[1] - before[1] + b * dilation[1]
                    if j < 0 or j >= height:
                        continue
                    add_taps(
                        flat_out, item * out_width, out_width,
                        flat_x, (((n * in_channels + first + c) * depth + i) * height + j) * width, width,
                        flat_w, (((o * channels + c) * kd + a) * kh + b) * kw, kw,
                        stride[2], before[2], dilation[2],
                    )  # fmt: skip


@kernel
def planes_part(start, stop, x, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the output planes start..stop at once each; stride 1 in the plane, finite kernel where padded."""
    _, _, depth, height, width = x.shape
    out_channels, channels, kd, kh, kw = w.shape
    _, _, out_depth, out_height, out_width = out.shape
    pitch = out_width + (kw - 1) * dilation[2]
    padded_height = out_height + (kh - 1) * dilation[1]
    whole = before[1] == 0 and before[2] == 0 and pitch == width and padded_height == height
    flat_x = x.reshape(-1)
    padded = np.zeros(1 if whole else padded_height * pitch, dtype=x.dtype)
    # The part of the padded plane that the input fills; a negative `before` or a short output crops it.
    top, bottom = max(0, before[1]), min(padded_height, height + before[1])
    left, right = max(0, before[2]), min(pitch, width + before[2])
    total = np.empty(out_height * pitch, dtype=out.dtype)
    m = (out_height - 1) * pitch + out_width
    taps = kh * kw
    shifts = np.empty(taps, dtype=np.int64)
    for b in range(kh):
        for e in range(kw):
            shifts[b * kw + e] = b * dilation[1] * pitch + e * dilation[2]
    for item in range(start, stop):
        rest, od = divmod(item, out_depth)
        n, o = divmod(rest, out_channels)
        total[:] = bias[o]
        first = o // (out_channels // groups) * channels
        for c in range(channels):
            for a in range(kd):
                i = od * stride[0] - before[0] + a * dilation[0]
                if i < 0 or i >= depth:
                    continue
                source, base = padded, 0
                if whole:
                    source, base = flat_x, ((n * x.shape[1] + first + c) * depth + i) * height * width
                else:
                    plane = x[n, first + c, i]
                    for y in range(top, bottom):
                        for t in range(left, right):
                            padded[at(y * pitch + t)] = plane[at(y - before[1]), at(t - before[2])]
                tap = w[o, c, a].reshape(-1)
                q = 0
                while q + 4 <= taps:
                    add_four(
                        total, 0, m, source,
                        base + shifts[q], base + shifts[q + 1], base + shifts[q + 2], base + shifts[q + 3],
                        tap[q], tap[q + 1], tap[q + 2], tap[q + 3],
                    )  # fmt: skip
                    q += 4
                if q + 2 <= taps:
                    add_two(total, 0, m, source, base + shifts[q], base + shifts[q + 1], tap[q], tap[q + 1])
                    q += 2
                if q < taps:
                    add_one(total, 0, m, source, base + shifts[q], tap[q])
        result = out[n, o, od]
        for y in range(out_height):
            for t in range(out_width):
                result[at(y), at(t)] = total[at(y * pitch + t)]


def plane_at_once(x_sizes, kernel_sizes, out_sizes, stride, before, dilation):  # type: ignore[no-untyped-def]
    """Return 0 if rows suit these sizes better, 1 for planes, 2 for planes if the kernel is finite.

    Planes suit short rows, as long as the plane stays in the cache and is not mostly padding.
    """
    pitch = out_sizes[2] + (kernel_sizes[2] - 1) * dilation[2]
    height = out_sizes[1] + (kernel_sizes[1] - 1) * dilation[1]
    if (
        stride[1] != 1
        or stride[2] != 1
        or out_sizes[1] == 1
        or out_sizes[2] >= LONG_ROW
        or pitch >= 2 * out_sizes[2]
        or pitch * height > LARGEST_PLANE
    ):
        return 0
    # In padding, zero times infinity would be NaN where the definition has no term at all.
    padded = before[1] > 0 or before[2] > 0 or height - before[1] > x_sizes[1] or pitch - before[2] > x_sizes[2]
    return 2 if padded else 1


plane_at_once_compiled = kernel(plane_at_once)


@kernel
def convolution_part(start, stop, x, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the output planes start..stop, counted over (batch, out channel, OD), in the better of the two ways."""
    way = plane_at_once_compiled(x.shape[2:], w.shape[2:], out.shape[2:], stride, before, dilation)
    if way == 1 or (way == 2 and np.isfinite(w).all()):
        planes_part(start, stop, x, w, bias, out, stride, before, dilation, groups)
    else:
        height = out.shape[3]
        rows_part(start * height, stop * height, x, w, bias, out, stride, before, dilation, groups)


@kernel
def convolution(x, w, bias, out_shape, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Return the convolution with kernel `w` as a layer computes it (no flip), plus `bias`; serial.

    Args:
        x: input in normal form.
        w: kernel in normal form.
        bias: one number for each out channel.
        out_shape: (OD, OH, OW).
        stride: three ints.
        before: three ints, the padding in front.
        dilation: three ints.
        groups: the number of groups.

    Returns:
        The output in normal form.
    """
    out = np.empty((x.shape[0], w.shape[0], out_shape[0], out_shape[1], out_shape[2]), dtype=x.dtype)
    planes = x.shape[0] * w.shape[0] * out_shape[0]
    convolution_part(0, planes, x, w, bias, out, stride, before, dilation, groups)
    return out


# ------------------------------------------------------------------------------- gradients: the transposed maps


@kernel
def transposed_kernel(w, groups):  # type: ignore[no-untyped-def]
    """Return the kernel with its taps reversed and the roles of its channels exchanged, within each group."""
    out_channels, channels, kd, kh, kw = w.shape
    per_group = out_channels // groups
    result = np.empty((groups * channels, per_group, kd, kh, kw), dtype=w.dtype)
    for o in range(out_channels):
        group, r = divmod(o, per_group)
        for c in range(channels):
            for a in range(kd):
                for b in range(kh):
                    for e in range(kw):
                        result[group * channels + c, r, a, b, e] = w[o, c, kd - 1 - a, kh - 1 - b, kw - 1 - e]
    return result


@kernel
def input_gradient_part(start, stop, g, w, bias, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the planes start..stop of `out`, counted over (batch, in channel, D): the transposed map, row by row.

    Here `w` is the layer's kernel. Input index i takes from each output index o and tap k with
    o * stride - before + k * dilation = i, that is from o = (i + before - k * dilation) / stride where this is whole.
    """
    _, _, depth, height, width = out.shape
    out_channels, channels, kd, kh, kw = w.shape
    _, _, g_depth, g_height, g_width = g.shape
    flat_g, flat_w, flat_out = g.reshape(-1), w.reshape(-1), out.reshape(-1)
    per_group = out_channels // groups
    for item in range(start * height, stop * height):
        rest, j = divmod(item, height)
        rest, i = divmod(rest, depth)
        n, c = divmod(rest, channels * groups)
        group, c_in = divmod(c, channels)
        for t in range(width):
            flat_out[at(item * width + t)] = bias[c]
        for o in range(group * per_group, (group + 1) * per_group):
            for a in range(kd):
                od, rest = divmod(i + before[0] - a * dilation[0], stride[0])
                if rest != 0 or od < 0 or od >= g_depth:
                    continue
                for b in range(kh):
                    oh, rest = divmod(j + before[1] - b * dilation[1], stride[1])
                    if rest != 0 or oh < 0 or oh >= g_height:
                        continue
                    row = (((n * out_channels + o) * g_depth + od) * g_height + oh) * g_width
                    tap = (((o * channels + c_in) * kd + a) * kh + b) * kw
                    for e in range(kw):
                        shift = e * dilation[2] - before[2]
                        factor = flat_w[tap + e]
                        first = first_inside(shift, stride[2])
                        end = end_inside(shift, stride[2], width, g_width)
                        for t in range(first, end):
                            flat_out[at(item * width + shift + t * stride[2])] += factor * flat_g[at(row + t)]


@kernel
def input_gradient(g, w, bias, x_shape, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Return the transposed map of `convolution` in x, applied to `g`, plus `bias`; serial.

    It is the derivative with respect to the input and, as a layer of its own, the transposed convolution.

    Args:
        g: gradient with respect to the output, in normal form.
        w: the kernel of `convolution`, in normal form.
        bias: one number for each in channel (zeros for a derivative).
        x_shape: (D, H, W) of the input.
        stride: three ints.
        before: three ints, the padding in front.
        dilation: three ints.
        groups: the number of groups.

    Returns:
        An array of the input's shape.
    """
    channels = w.shape[1] * groups
    out = np.empty((g.shape[0], channels, x_shape[0], x_shape[1], x_shape[2]), dtype=g.dtype)
    planes = g.shape[0] * channels * x_shape[0]
    if stride[0] == 1 and stride[1] == 1 and stride[2] == 1:
        back = (
            (w.shape[2] - 1) * dilation[0] - before[0],
            (w.shape[3] - 1) * dilation[1] - before[1],
            (w.shape[4] - 1) * dilation[2] - before[2],
        )
        turned = transposed_kernel(w, groups)
        convolution_part(0, planes, g, turned, bias, out, stride, back, dilation, groups)
    else:
        input_gradient_part(0, planes, g, w, bias, out, stride, before, dilation, groups)
    return out


@kernel(fastmath=SUMMED)
def dot(zero, a, i, b, j, step, m):  # type: ignore[no-untyped-def]
    """Return `zero` plus the sum of a[i + t] * b[j + t * step] for t in range(m)."""
    total = zero
    for t in range(m):
        total += a[at(i + t)] * b[at(j + t * step)]
    return total


@kernel(fastmath=FUSED)
def kernel_gradient_part(start, stop, g, x, out, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Compute the kernel planes start..stop of `out`, counted over (out channel, channel within the group, KD)."""
    batch, in_channels, depth, height, width = x.shape
    out_channels, channels, kd, kh, kw = out.shape
    _, _, g_depth, g_height, g_width = g.shape
    flat_g, flat_x = g.reshape(-1), x.reshape(-1)
    zero = out.dtype.type(0)
    for item in range(start, stop):
        rest, a = divmod(item, kd)
        o, c = divmod(rest, channels)
        c_in = o // (out_channels // groups) * channels + c
        result = out[o, c, a]
        result[:] = 0
        for n in range(batch):
            for od in range(g_depth):
                i = od * stride[0] - before[0] + a * dilation[0]
                if i < 0 or i >= depth:
                    continue
                for oh in range(g_height):
                    row = (((n * out_channels + o) * g_depth + od) * g_height + oh) * g_width
                    for b in range(kh):
                        j = oh * stride[1] - before[1] + b * dilation[1]
                        if j < 0 or j >= height:
                            continue
                        x_row = (((n * in_channels + c_in) * depth + i) * height + j) * width
                        for e in range(kw):
                            shift = e * dilation[2] - before[2]
                            first = first_inside(shift, stride[2])
                            m = end_inside(shift, stride[2], width, g_width) - first
                            if m > 0:
                                place = x_row + shift + first * stride[2]
                                result[b, e] += dot(zero, flat_g, row + first, flat_x, place, stride[2], m)


@kernel
def kernel_gradient(g, x, kernel_shape, stride, before, dilation, groups):  # type: ignore[no-untyped-def]
    """Return the derivative of sum(g * convolution(x, w)) with respect to w; serial.

    Args:
        g: gradient with respect to the output, in normal form.
        x: input in normal form.
        kernel_shape: (KD, KH, KW).
        stride: three ints.
        before: three ints, the padding in front.
        dilation: three ints.
        groups: the number of groups.

    Returns:
        An array of the kernel's shape.
    """
    channels = x.shape[1] // groups
    shape = (g.shape[1], channels, kernel_shape[0], kernel_shape[1], kernel_shape[2])
    out = np.empty(shape, dtype=x.dtype)
    kernel_gradient_part(0, g.shape[1] * channels * kernel_shape[0], g, x, out, stride, before, dilation, groups)
    return out
