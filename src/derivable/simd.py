"""The micro-kernel: a small matrix product that stays in the registers, under convolution and matrix products.

A core multiplies and adds far faster than it can load and store. So the fastest matrix product holds a *tile* of the
result in registers, and for each step of the sum loads one row of `b` (a few vectors) and a few single numbers of
`a`, each of which meets all of that row:

    for k in range(depth):
        for i in range(ROWS):                     # a single number of a, copied into every lane
            for v in range(vectors):              # a vector of b
                tile[i, v] += a[k, i] * b[k, v]   # one instruction

With R rows and V vectors that is R * V multiply-adds for R + V loads. The tile must fit the registers: 8 x 3 sums, 3
vectors of `b` and one number of `a` fill 28 of the 32 registers of AVX-512 and NEON; 4 x 3 + 3 + 1 fill all 16 of
AVX2 and SSE.

LLVM does not find this form by itself, so the tile is written here as LLVM's own vector instructions, in an
`@intrinsic`. Its plain twin, `multiply_tile_plain`, says the same in loops; it computes the same up to
rounding (a processor with a fused multiply-add rounds once where a plain loop may round twice), and it stands in under
`NUMBA_DISABLE_JIT=1`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from derivable.jit import get_num_threads, kernel, parallel_for

__all__ = [
    "BESIDE",
    "LINES",
    "PLANES",
    "ROWS",
    "VECTORS",
    "VECTOR_BYTES",
    "across",
    "aligned",
    "along",
    "ask",
    "ask_to_write",
    "clear",
    "correlate_square",
    "correlate_tile",
    "empty_lines",
    "finish_streams",
    "lanes",
    "move",
    "move_every_other",
    "move_some",
    "move_some_of_every_other",
    "multiply_beside",
    "multiply_entries",
    "multiply_places",
    "multiply_rows",
    "multiply_shifted",
    "multiply_tile",
    "multiply_tile_plain",
    "peak",
    "sandwich",
    "sandwich_joined",
    "sandwich_rows",
    "sandwich_turned",
    "spread_square",
    "stream",
    "sum_sizes",
    "sum_taps",
    "turn",
]


def registers() -> tuple[int, int]:
    """Return the width of this processor's vector registers in bytes, and their number.

    Numba's own settings (`NUMBA_CPU_NAME`, `NUMBA_CPU_FEATURES`) come first: code must fit the processor that Numba
    compiles for. Numba's cache on disk keeps one entry for each processor, so a stored kernel
    never meets another width.

    Returns:
        (bytes, count): (64, 32) with AVX-512, (32, 16) with AVX2, (16, 32) on 64-bit ARM, else (16, 16).
    """
    if numba.config.CPU_NAME or numba.config.CPU_FEATURES is not None:
        words = (numba.config.CPU_FEATURES or "").split(",")
        features = {word[1:]: word.startswith("+") for word in words if word}
    else:
        features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512vl"):
        return 64, 32
    if features.get("avx2") and features.get("fma"):
        return 32, 16
    if llvmlite.binding.get_process_triple().startswith(("aarch64", "arm64")):
        return 16, 32
    return 16, 16


VECTOR_BYTES, REGISTERS = registers()
ROWS = 8 if REGISTERS == 32 else 4  # rows of a tile
VECTORS = 3  # vectors in a row of a tile, at most
STEPS_AHEAD_OF_A, STEPS_AHEAD_OF_B = 16, 8  # from the numbers of a panel that are used to those that are asked for
LINES = 4  # output rows that share each line of the input in a correlation of one plane
# The same where the 9 taps of a square stay in registers, too, by the stride; and vectors in such a row, at most.
SQUARE_LINES = {1: 4 if REGISTERS == 32 else 2, 2: 2}
SQUARE_VECTORS = 4 if REGISTERS == 32 else 2
BESIDE = 2 if REGISTERS == 32 else 3  # vectors in a row of a tile of `multiply_beside`, at most
PLANES = 2 if REGISTERS == 32 else 1  # whose sums under 9 taps are held in registers together


def lanes_plain(array: Any) -> int:
    """Return how many numbers of this array's dtype fit one vector."""
    return int(VECTOR_BYTES // array.itemsize)


@intrinsic
def lanes_constant(typing, array):  # type: ignore[no-untyped-def]
    """Return the same as a constant of the compiled code, which a loop over vectors needs to be fast."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_constant(types.intp, VECTOR_BYTES // (signature.args[0].dtype.bitwidth // 8))

    return types.intp(array), emit


lanes = lanes_plain if numba.config.DISABLE_JIT else lanes_constant


def empty_lines(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an empty array that begins with a line of the cache, of 64 bytes."""
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    buffer = np.empty(count + 64 // dtype.itemsize, dtype)
    start = -buffer.ctypes.data % 64 // dtype.itemsize
    return buffer[start : start + count].reshape(shape)


@kernel
def aligned(count, like):  # type: ignore[no-untyped-def]
    """Return an empty vector of the dtype of the array `like` that begins where a vector register's load is cheapest.

    A load that crosses from one line of the cache to the next counts as two. With registers as wide as a line every
    load does, unless the memory begins with a line: the tile then takes a tenth longer.
    """
    size = like.itemsize
    buffer = np.empty(count + 64 // size, like.dtype)
    start = -buffer.ctypes.data % 64 // size
    return buffer[start : start + count]


# ------------------------------------------------------------------------------------------ the plain twins


@kernel
def multiply_tile_plain(depth, vectors, a, ia, b, ib, c, ic, pitch, rows, columns, add, z, iz, z_step):  # type: ignore[no-untyped-def]
    """Multiply two packed panels into one tile of `c`: the same as `multiply_tile`, as loops."""
    width = vectors * lanes(b)
    for i in range(rows):
        for j in range(columns):
            total = c.dtype.type(0)
            for k in range(depth):
                total += a[ia + k * ROWS + i] * b[ib + k * width + j]
            c[ic + i * pitch + j] = c[ic + i * pitch + j] + total if add else total


@kernel
def multiply_entries_plain(  # type: ignore[no-untyped-def]
    entries, panels, depth, vectors, a, ia, a_panel, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch, add
):
    """Multiply packed panels for several entries: the same as `multiply_entries`, as loops."""
    width = vectors * lanes(b)
    for e in range(entries):
        for q in range(panels):
            multiply_tile_plain(
                depth, vectors, a, ia + q * a_panel + e * a_entry, b, ib + e * b_entry,
                c, ic + q * c_panel + e * c_entry, pitch, ROWS, width, add, b, 0, 0,
            )  # fmt: skip


@kernel
def multiply_beside_plain(  # type: ignore[no-untyped-def]
    entries, panels, depth, vectors, a, ia, a_line, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch, add,
    z, iz, places, z_step,
):  # fmt: skip
    """Multiply panels side by side for several entries: the same as `multiply_beside`, as loops."""
    width = vectors * lanes(b)
    for e in range(entries):
        for q in range(panels):
            multiply_rows_plain(
                depth, 1, vectors, a, ia + q * ROWS + e * a_entry, 1, a_line, 0, b, ib + e * b_entry, width,
                c, ic + q * c_panel + e * c_entry, pitch, ROWS, width, add,
            )  # fmt: skip


@kernel
def multiply_rows_plain(  # type: ignore[no-untyped-def]
    lines, length, vectors, a, ia, a_pitch, a_line, a_step, b, ib, b_line, c, ic, pitch, rows, columns, add
):
    """Multiply rows as they lie in `a` with a packed panel: the same as `multiply_rows`, as loops."""
    width = vectors * lanes(b)
    for i in range(rows):
        for j in range(columns):
            total = c.dtype.type(0)
            for y in range(lines):
                for t in range(length):
                    row = a[ia + i * a_pitch + y * a_line + t * a_step]
                    total += row * b[ib + y * b_line + t * width + j]
            c[ic + i * pitch + j] = c[ic + i * pitch + j] + total if add else total


@kernel
def multiply_shifted_plain(depth, vectors, a, ia, b, ib, shifts, c, ic, pitch, rows, columns, add):  # type: ignore[no-untyped-def]
    """Multiply a packed panel with rows as they lie in `b`: the same as `multiply_shifted`, as loops."""
    for i in range(rows):
        for j in range(columns):
            total = c.dtype.type(0)
            for k in range(depth):
                total += a[ia + k * ROWS + i] * b[ib + shifts[k] + j]
            c[ic + i * pitch + j] = c[ic + i * pitch + j] + total if add else total


@kernel
def multiply_places_plain(  # type: ignore[no-untyped-def]
    lines, length, vectors, a, ia, places, ip, a_line, b, ib, b_line, c, ic, pitch, rows, columns, add
):
    """Multiply rows at given places with a packed panel: the same as `multiply_places`, as loops."""
    width = vectors * lanes(b)
    for i in range(rows):
        for j in range(columns):
            total = c.dtype.type(0)
            for y in range(lines):
                for t in range(length):
                    row = a[ia + places[ip + i] + y * a_line + t]
                    total += row * b[ib + y * b_line + t * width + j]
            c[ic + i * pitch + j] = c[ic + i * pitch + j] + total if add else total


@kernel
def correlate_tile_plain(  # type: ignore[no-untyped-def]
    lines, vectors, kh, kw, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add
):
    """Correlate one plane, a tile of its output: the same as `correlate_tile`, as loops."""
    for i in range(rows):
        for j in range(columns):
            total = out.dtype.type(first)
            for a in range(kh):
                for b in range(kw):
                    total += w[iw + a * kw + b] * x[ix + (i + a) * pitch + shifts[b] + j]
            place = io + i * out_pitch + j
            out[place] = out[place] + total if add else total


@kernel
def correlate_square_plain(step, vectors, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add):  # type: ignore[no-untyped-def]
    """Correlate one plane with 3 x 3 taps, row by row: the same as `correlate_square`."""
    for i in range(rows):
        source, target = ix + i * step * pitch, io + i * out_pitch
        correlate_tile_plain(1, vectors, 3, 3, x, source, pitch, shifts, w, iw, first, out, target, 0, 1, columns, add)


@kernel
def spread_square_plain(g, ig, pitch, w, iw, first, out, io, out_pitch, rows, columns, add):  # type: ignore[no-untyped-def]
    """Apply 3 x 3 taps with stride 2 backwards, in one plane: the same as `spread_square`, as loops."""
    for i in range(rows):
        for j in range(columns):
            total = out.dtype.type(first)
            for a in range(3):
                for b in range(3):
                    if (i + 1 - a) % 2 == (j + 1 - b) % 2 == 0:
                        total += w[iw + a * 3 + b] * g[ig + (i + 1 - a) // 2 * pitch + (j + 1 - b) // 2]
            place = io + i * out_pitch + j
            out[place] = out[place] + total if add else total


@kernel
def sum_taps_plain(  # type: ignore[no-untyped-def]
    square, planes, lines, length, g, ig, g_line, g_plane, x, ix, x_line, shifts, first, out, io, out_plane
):
    """Correlate lines of `g` with lines of `x`: the same as `sum_taps`, as loops."""
    for p in range(planes):
        for k in range(9 if square else 8):
            for y in range(lines):
                for t in range(length):
                    product = g[ig + p * g_plane + y * g_line + t] * x[ix + y * x_line + shifts[first + k] + t]
                    out[io + p * out_plane + k * lanes(g) + t % lanes(g)] += product


@kernel
def sum_sizes_plain(count, x, i, out):  # type: ignore[no-untyped-def]
    """Sum absolute values and find the largest: the same as `sum_sizes`, as a loop."""
    for t in range(4 * count * lanes(x)):
        size, lane = abs(x[i + t]), t % lanes(x)
        out[lane] += size
        out[lanes(x) + lane] = max(out[lanes(x) + lane], size)


@kernel
def turn_plain(target, i, offsets, j, source, k, pitch):  # type: ignore[no-untyped-def]
    """Turn a block of ROWS x ROWS numbers round: the same as `turn`, as loops."""
    for t in range(ROWS):
        for r in range(ROWS):
            target[i + offsets[j + t] + r] = source[k + r * pitch + t]


@kernel
def clear_plain(target, i):  # type: ignore[no-untyped-def]
    """Store one vector of zeros: the same as `clear`, as a loop."""
    for t in range(lanes(target)):
        target[i + t] = 0


@kernel
def move_plain(target, i, source, j):  # type: ignore[no-untyped-def]
    """Copy one vector: the same as `move`, as a loop."""
    for t in range(lanes(target)):
        target[i + t] = source[j + t]


@kernel
def finish_streams_plain():  # type: ignore[no-untyped-def]
    """Do nothing: plain code does not stream."""


@kernel
def move_every_other_plain(target, i, source, j):  # type: ignore[no-untyped-def]
    """Copy every other number into one vector: the same as `move_every_other`, as a loop."""
    for t in range(lanes(target)):
        target[i + t] = source[j + 2 * t]


@kernel
def move_some_plain(target, i, source, j, begin, end):  # type: ignore[no-untyped-def]
    """Copy a part of one vector, with zeros around it: the same as `move_some`, as a loop."""
    for t in range(lanes(target)):
        target[i + t] = source[j + t] if begin <= t < end else 0


@kernel
def move_some_of_every_other_plain(target, i, source, j, begin, end):  # type: ignore[no-untyped-def]
    """Do the same with every other number: the same as `move_some_of_every_other`, as a loop."""
    for t in range(lanes(target)):
        target[i + t] = source[j + 2 * t] if begin <= t < end else 0


# ------------------------------------------------------------------------------------ in LLVM's own vectors


class Emitter:
    """Writes vector instructions for one dtype into a function that Numba is compiling."""

    def __init__(self, context: Any, builder: Any, dtype: types.Type) -> None:
        self.context, self.builder = context, builder
        element = context.get_value_type(dtype)
        self.bytes = dtype.bitwidth // 8
        self.element = element
        self.set_lanes(VECTOR_BYTES // self.bytes)

    def set_lanes(self, lanes: int) -> None:
        """Set how many numbers a vector has: as many as fit a register, unless a block has fewer."""
        self.lanes = lanes
        self.vector = ir.VectorType(self.element, lanes)
        self.name = f"v{lanes}f{8 * self.bytes}"
        self.zero = ir.Constant(self.vector, [0.0] * lanes)

    def data(self, kind: types.Type, array: Any, start: Any) -> Any:
        """Return the address of array[start]."""
        return self.builder.gep(self.context.make_array(kind)(self.context, self.builder, array).data, [start])

    def index(self, number: int) -> Any:
        """Return a constant index."""
        return ir.Constant(ir.IntType(64), number)

    def at(self, address: Any, *offsets: Any) -> Any:
        """Return the address that many elements further on."""
        for offset in offsets:
            address = self.builder.gep(address, [self.index(offset) if isinstance(offset, int) else offset])
        return address

    def hidden(self, address: Any) -> Any:
        """Return the same address, but LLVM does not see where it comes from.

        It would give each place that a loop reads or writes a pointer of its own that moves on step by step. For ROWS
        rows, and as many again where it does two steps at once, or for the 36 entries of a tile there are not enough
        registers. So it adds the places' distances to this address.
        """
        kind = ir.FunctionType(address.type, [address.type])
        return self.builder.asm(kind, "", "=r,0", [address], False)

    def load(self, address: Any) -> Any:
        """Load one vector; only the alignment of an element is promised."""
        vector = self.builder.load(self.builder.bitcast(address, self.vector.as_pointer()))
        vector.align = self.bytes
        return vector

    def store(self, vector: Any, address: Any) -> None:
        """Store one vector."""
        self.builder.store(vector, self.builder.bitcast(address, vector.type.as_pointer())).align = self.bytes

    def fetch(self, address: Any, write: bool, near: bool = True) -> None:
        """Ask for the line of memory at this address, which may lie beyond the end of an array.

        It comes to the nearest cache, or to the second one if not `near`.
        """
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        self.builder.call(function, [self.builder.bitcast(address, byte), word(int(write)), word(2 + near), word(1)])

    def fetch_tile(self, c: Any, pitch: Any, rows: int, vectors: int) -> None:
        """Ask for the lines that the sums go to, so that they are there when the sums are done."""
        for i in range(rows):
            row = self.at(c, self.builder.mul(pitch, self.index(i)))
            for place in self.lines(vectors):
                self.fetch(self.at(row, place), write=True)

    def lines(self, vectors: int) -> range:
        """Return where the lines of memory begin among the numbers of some vectors."""
        return range(0, vectors * self.lanes, 64 // self.bytes)

    def spread(self, number: Any) -> Any:
        """Return a vector with one number in every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None))

    def copies(self, address: Any) -> Any:
        """Load one number into every lane."""
        return self.spread(self.builder.load(address))

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        """Return x * y + z. `fmuladd` lets the processor fuse it; `fma` would call a slow library where it cannot."""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fmuladd.{self.name}")
        return self.builder.call(function, [x, y, z])

    def sum_of(self, coefficients: Any, vectors: list[Any]) -> Any:
        """Return the sum of vectors with constant factors; those of 0 take no instruction, those of 1 one."""
        builder, total = self.builder, None
        if not np.any(coefficients):
            return self.zero
        # Factors of 1 first, so that the sum begins without a multiplication where it can.
        for f, v in sorted(zip(coefficients, vectors, strict=True), key=lambda pair: pair[0] != 1):
            if f == 0:
                continue
            if total is None:
                total = v if f == 1 else builder.fmul(v, self.constant(f))
            elif f in (1, -1):
                total = builder.fadd(total, v) if f == 1 else builder.fsub(total, v)
            else:
                total = self.multiply_add(v, self.constant(f), total)
        return total

    def constant(self, number: float) -> Any:
        """Return a vector with a constant in every lane."""
        return ir.Constant(self.vector, [float(number)] * self.lanes)

    def combine(self, matrix: Any, vectors: list[Any]) -> list[Any]:
        """Return the vectors matrix @ vectors, for a constant small matrix.

        Two columns that differ in the signs of every other entry only, which belong to the points p and -p, need one
        sum and one difference. Two such rows are the sum and the difference of their halves.
        """
        builder = self.builder
        if columns := opposite(matrix.T):
            rest = [j for j in range(matrix.shape[1]) if not any(j in pair for pair in columns)]
            plus = [builder.fadd(vectors[j], vectors[k]) for j, k in columns]
            minus = [builder.fsub(vectors[j], vectors[k]) for j, k in columns]
            order, result = [*rest, *(j for j, _ in columns)], []
            for i, row in enumerate(matrix):
                result.append(self.sum_of(row[order], [*(vectors[j] for j in rest), *(minus if i % 2 else plus)]))
            return result
        result = [None] * len(matrix)
        for i, k in opposite(matrix):
            row = matrix[i]
            factor = row[1::2][np.flatnonzero(row[1::2])[-1]]
            even, odd = self.sum_of(row[::2], vectors[::2]), self.sum_of(row[1::2] / factor, vectors[1::2])
            result[i] = self.multiply_add(odd, self.constant(factor), even)
            result[k] = self.multiply_add(odd, self.constant(-factor), even)
        return [self.sum_of(matrix[i], vectors) if row is None else row for i, row in enumerate(result)]

    def columns(self, place: Any, n: int, row_pitch: Any, pitch: Any) -> list[list[Any]]:
        """Load n columns of n vectors: entry (p, q) stands at place + p * row_pitch + q * pitch."""
        tops = [self.at(place, self.builder.mul(pitch, self.index(q))) for q in range(n)]
        return [[self.load(self.at(top, self.builder.mul(row_pitch, self.index(p)))) for p in range(n)] for top in tops]

    def sandwiched(self, matrix: Any, columns: list[list[Any]]) -> Iterator[list[Any]]:
        """Give the rows of matrix @ D @ matrix.T, one after another, for D given by its columns of vectors."""
        half = [self.combine(matrix, column) for column in columns]  # matrix @ D, column by column
        for p in range(len(matrix)):
            yield self.combine(matrix, [column[p] for column in half])

    def turned(self, rows: list[Any]) -> list[Any]:
        """Return the columns of a square block that is given by its rows, a power of two of them.

        If the vectors are longer than that, they hold several blocks side by side, and so does the result.
        """
        size, lanes = len(rows), rows[0].type.count
        # Interleave row r with row r + size / 2, as often as it takes: each round moves one more bit of the index.
        low, high = (
            ir.Constant(
                ir.VectorType(ir.IntType(32), lanes),
                [t // size * size + t % size // 2 + lanes * (t % 2) + half for t in range(lanes)],
            )
            for half in (0, size // 2)
        )
        for _ in range(size.bit_length() - 1):
            halves = list(zip(rows[: size // 2], rows[size // 2 :], strict=True))
            rows = [self.builder.shuffle_vector(a, b, choice) for a, b in halves for choice in (low, high)]
        return rows

    def beside(self, rows: list[Any]) -> list[Any]:
        """Return as many rows as one has numbers: row r, row r + that many and so on side by side in one vector."""
        while len(rows) > self.lanes:
            half, count = len(rows) // 2, rows[0].type.count
            both = ir.Constant(ir.VectorType(ir.IntType(32), 2 * count), list(range(2 * count)))
            pairs = zip(rows[:half], rows[half:], strict=True)
            rows = [self.builder.shuffle_vector(low, high, both) for low, high in pairs]
        return rows

    def piece(self, vector: Any, start: int, count: int) -> Any:
        """Return `count` lanes of a vector as a shorter one."""
        places = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(start, start + count)))
        return self.builder.shuffle_vector(vector, vector, places)

    def mask(self, count: Any) -> Any:
        """Return which lanes are less than `count`."""
        builder, i32 = self.builder, ir.IntType(32)
        # Half as wide as an index, for which the count must not be far outside.
        for beyond, bound in ((">", self.index(self.lanes)), ("<", self.index(0))):
            count = builder.select(builder.icmp_signed(beyond, count, bound), bound, count)
        undefined = ir.Constant(ir.VectorType(i32, self.lanes), ir.Undefined)
        counts = builder.insert_element(undefined, builder.trunc(count, i32), ir.Constant(i32, 0))
        counts = builder.shuffle_vector(counts, undefined, ir.Constant(ir.VectorType(i32, self.lanes), None))
        numbers = ir.Constant(ir.VectorType(i32, self.lanes), list(range(self.lanes)))
        return builder.icmp_signed("<", numbers, counts)

    def masked(self, what: str, mask: Any, address: Any, vector: Any) -> Any:
        """Load or store (`what`) the lanes in `mask`; a load takes the other lanes from `vector`."""
        pointer = self.builder.bitcast(address, self.vector.as_pointer())
        i32, align = ir.IntType(32), ir.Constant(ir.IntType(32), self.bytes)
        if what == "load":
            kind = ir.FunctionType(self.vector, [pointer.type, i32, mask.type, self.vector])
            function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.masked.load.{self.name}.p0")
            return self.builder.call(function, [pointer, align, mask, vector])
        kind = ir.FunctionType(ir.VoidType(), [self.vector, pointer.type, i32, mask.type])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.masked.store.{self.name}.p0")
        return self.builder.call(function, [vector, pointer, align, mask])

    def write_tile(self, sums: list[list[Any]], c: Any, pitch: Any, rows: Any, columns: Any, add: Any) -> None:
        """Write the sums to `c`, or add them: the rows and columns of a partial tile that exist, and no others."""
        builder, vectors = self.builder, len(sums[0])
        whole = builder.icmp_signed("==", columns, self.index(vectors * self.lanes))
        # Only the last vector of a tile can be partial.
        mask = self.mask(builder.sub(columns, self.index((vectors - 1) * self.lanes)))
        with builder.if_else(whole) as (if_whole, if_partial):
            for branch, lanes in ((if_whole, None), (if_partial, mask)):
                with branch, builder.if_else(add) as (if_add, if_write):
                    with if_add:
                        self.write_rows(sums, c, pitch, rows, lanes, add=True)
                    with if_write:
                        self.write_rows(sums, c, pitch, rows, lanes, add=False)

    def write_rows(self, sums: list[list[Any]], c: Any, pitch: Any, rows: Any, mask: Any, add: bool) -> None:
        """Write or add each row that exists (all if `rows` is None), its last vector under `mask` if there is one."""
        builder = self.builder
        for i, row in enumerate(sums):
            exists = builder.icmp_signed("<", self.index(i), self.index(len(sums)) if rows is None else rows)
            with builder.if_then(exists, likely=True):
                base = self.at(c, builder.mul(pitch, self.index(i)))
                for v, place in enumerate(row):
                    address, value = self.at(base, v * self.lanes), builder.load(place)
                    if mask is not None and v == len(row) - 1:
                        if add:
                            value = builder.fadd(self.masked("load", mask, address, self.zero), value)
                        self.masked("store", mask, address, value)
                    else:
                        self.store(builder.fadd(self.load(address), value) if add else value, address)


TILE_ARGUMENTS = {
    "packed": "depth a ia b ib c ic pitch rows columns add z iz z_step",
    "rows": "lines length a ia a_pitch a_line a_step b ib b_line c ic pitch rows columns add",
    "places": "lines length a ia places ip a_line b ib b_line c ic pitch rows columns add",
    "shifted": "depth a ia b ib shifts c ic pitch rows columns add",
}


def tile_product(kind: str, vectors: int) -> Any:
    """Return the intrinsic for tiles of `vectors` vectors.

    Args:
        kind: where the numbers of `a` and `b` stand: "packed" both in panels; "rows" those of `a` as they lie in
            rows of one distance; "places" those of `a` in rows whose places a table tells; "shifted" those of `b` in
            rows whose places a table tells.
        vectors: vectors in a row of the tile.

    Returns:
        The intrinsic, whose arguments are those of `TILE_ARGUMENTS`.
    """
    names = TILE_ARGUMENTS[kind].split()

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = dict(zip(names, signature.args, strict=True))
        value = dict(zip(names, args, strict=True))
        llvm = Emitter(context, builder, kinds["c"].dtype)
        a = llvm.data(kinds["a"], value["a"], value["ia"])
        b = llvm.data(kinds["b"], value["b"], value["ib"])
        c = llvm.data(kinds["c"], value["c"], value["ic"])
        # Variables on the stack, which LLVM turns into registers.
        sums = [[cgutils.alloca_once_value(builder, llvm.zero) for _ in range(vectors)] for _ in range(ROWS)]
        llvm.fetch_tile(c, value["pitch"], ROWS, vectors)

        def step(a_row: Any, b_row: Any) -> None:
            # What the panels hold a few steps further on. It lies in the second cache, and would come too late.
            if kind in ("packed", "shifted"):
                llvm.fetch(llvm.at(a_row, STEPS_AHEAD_OF_A * ROWS), write=False)
            if kind != "shifted":
                for place in llvm.lines(vectors):
                    llvm.fetch(llvm.at(b_row, STEPS_AHEAD_OF_B * vectors * llvm.lanes + place), write=False)
            vector = [llvm.load(llvm.at(b_row, v * llvm.lanes)) for v in range(vectors)]
            for i, row in enumerate(sums):
                number = llvm.copies(llvm.at(a_row, places[i]))
                for v in range(vectors):
                    builder.store(llvm.multiply_add(number, vector[v], builder.load(row[v])), row[v])

        width = llvm.index(vectors * llvm.lanes)
        places: list[Any] = list(range(ROWS))
        if kind in ("rows", "places"):
            if kind == "rows":
                # A row that does not exist reads the last one that does.
                last = builder.sub(value["rows"], llvm.index(1))
                beyond = [builder.icmp_signed("<", last, llvm.index(i)) for i in range(ROWS)]
                numbers = [builder.select(beyond[i], last, llvm.index(i)) for i in range(ROWS)]
                places = [builder.mul(value["a_pitch"], number) for number in numbers]
                a_step = value["a_step"]
            else:
                table = llvm.data(kinds["places"], value["places"], value["ip"])
                places = [builder.load(llvm.at(table, i)) for i in range(ROWS)]
                a_step = llvm.index(1)
            with cgutils.for_range(builder, value["lines"]) as line:
                a_line = llvm.at(a, builder.mul(line.index, value["a_line"]))
                b_line = llvm.at(b, builder.mul(line.index, value["b_line"]))
                with cgutils.for_range(builder, value["length"]) as place:
                    a_row = llvm.at(a_line, builder.mul(place.index, a_step))
                    if ROWS * vectors + ROWS + vectors <= REGISTERS:  # else LLVM loads more numbers than there is room
                        a_row = llvm.hidden(a_row)
                    if kind == "rows":  # of the next rows, one in each step
                        row = builder.add(builder.and_(place.index, llvm.index(ROWS - 1)), llvm.index(ROWS))
                        llvm.fetch(llvm.at(a_row, builder.mul(row, value["a_pitch"])), write=False, near=False)
                    step(a_row, llvm.at(b_line, builder.mul(place.index, width)))
        else:
            if kind == "shifted":
                table = llvm.data(kinds["shifts"], value["shifts"], llvm.index(0))
            if kind == "packed":
                z = llvm.data(kinds["z"], value["z"], value["iz"])
            with cgutils.for_range(builder, value["depth"]) as place:
                a_row = llvm.at(a, builder.mul(place.index, llvm.index(ROWS)))
                if kind == "shifted":
                    step(a_row, llvm.at(b, builder.load(llvm.at(table, place.index))))
                else:
                    step(a_row, llvm.at(b, builder.mul(place.index, width)))
                    llvm.fetch(llvm.at(z, builder.mul(place.index, value["z_step"])), write=False, near=False)
        llvm.write_tile(sums, c, value["pitch"], value["rows"], value["columns"], value["add"])
        return context.get_dummy_value()

    def product(typing, *arguments):  # type: ignore[no-untyped-def]
        kinds = dict(zip(names, arguments, strict=True))
        check(kinds["a"], kinds["b"], kinds["c"])
        arrays = ("a", "b", "c", "places", "shifts", "z")
        given = [kinds[n] if n in arrays else types.boolean if n == "add" else types.intp for n in names]
        return types.void(*given), emit

    # Numba reads the arguments' names from the function.
    scope = {"product": product}
    exec(f"def named(typing, {', '.join(names)}): return product(typing, {', '.join(names)})", scope)
    return intrinsic(scope["named"])


def entries_product(vectors: int, together: int, beside: bool = False) -> Any:
    """Return the intrinsic for the tiles of several entries and panels, `together` panels at a time.

    If `beside`, the panels of `a` lie side by side, in lines of `a_line` numbers, and memory that is needed afterwards
    is asked for; else a step's line of a panel has ROWS numbers, and the next entry of `b` is asked for.
    """
    names = [
        "entries", "first", "panels", "depth", "a", "ia", "a_panel", "a_entry", "b", "ib", "b_entry",
        "c", "ic", "c_panel", "c_entry", "pitch", "add",
    ]  # fmt: skip
    if beside:
        names += ["a_line", "z", "iz", "places", "z_step"]

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = dict(zip(names, args, strict=True))
        kinds = dict(zip(names, signature.args, strict=True))
        llvm = Emitter(context, builder, kinds["c"].dtype)
        a, b, c = (llvm.data(kinds[name], value[name], value["i" + name]) for name in ("a", "b", "c"))
        sums = [[cgutils.alloca_once(builder, llvm.vector) for _ in range(vectors)] for _ in range(ROWS * together)]
        width = vectors * llvm.lanes
        a_line = value["a_line"] if beside else llvm.index(ROWS)
        panels = builder.sub(value["panels"], value["first"])
        with (
            cgutils.for_range(builder, value["entries"]) as entry,
            cgutils.for_range(builder, builder.sdiv(panels, llvm.index(together))) as some,
        ):
            q = builder.add(value["first"], builder.mul(some.index, llvm.index(together)))

            def place(name: str, start: Any, q: Any = q, entry: Any = entry) -> Any:
                shift = builder.mul(q, value[name + "_panel"])
                return llvm.at(start, shift, builder.mul(entry.index, value[name + "_entry"]))

            a_tile, c_tile = place("a", a), place("c", c)
            b_tile = llvm.at(b, builder.mul(entry.index, value["b_entry"]))
            rows = [
                builder.add(builder.mul(value["a_panel"], llvm.index(p)), llvm.index(i))
                for p in range(together)
                for i in range(ROWS)
            ]
            tiles = [llvm.at(c_tile, builder.mul(value["c_panel"], llvm.index(p))) for p in range(together)]
            for tile in tiles:
                llvm.fetch_tile(tile, value["pitch"], ROWS, vectors)
            for row in sums:
                for variable in row:
                    builder.store(llvm.zero, variable)
            if beside:
                number = builder.add(builder.mul(entry.index, value["panels"]), q)
                start = builder.load(llvm.at(llvm.data(kinds["places"], value["places"], number)))
                asked, asked_step = llvm.data(kinds["z"], value["z"], builder.add(value["iz"], start)), value["z_step"]
            else:
                # Panel q asks for line q of the next entry's row, or for a line a little further on if it has none.
                asked = llvm.at(b_tile, builder.add(value["b_entry"], builder.mul(q, llvm.index(llvm.lanes))))
                asked_step = llvm.index(width)
            with cgutils.for_range(builder, value["depth"]) as step:
                a_row = llvm.at(a_tile, builder.mul(step.index, a_line))
                b_row = llvm.at(b_tile, builder.mul(step.index, llvm.index(width)))
                for p in range(together):
                    ahead = builder.mul(a_line, llvm.index(STEPS_AHEAD_OF_A))
                    llvm.fetch(llvm.at(a_row, ahead, rows[p * ROWS]), write=False)
                for line in llvm.lines(vectors):
                    llvm.fetch(llvm.at(b_row, STEPS_AHEAD_OF_B * width + line), write=False)
                llvm.fetch(llvm.at(asked, builder.mul(step.index, asked_step)), write=False, near=False)
                vector = [llvm.load(llvm.at(b_row, v * llvm.lanes)) for v in range(vectors)]
                for i, row in enumerate(sums):
                    number = llvm.copies(llvm.at(a_row, rows[i]))
                    for v in range(vectors):
                        builder.store(llvm.multiply_add(number, vector[v], builder.load(row[v])), row[v])
            for p, tile in enumerate(tiles):
                of_panel = sums[p * ROWS : (p + 1) * ROWS]
                with builder.if_else(value["add"]) as (if_add, if_write):
                    for branch, add in ((if_add, True), (if_write, False)):
                        with branch:
                            llvm.write_rows(of_panel, tile, value["pitch"], None, None, add)
        return context.get_dummy_value()

    n = types.intp
    if beside:

        @intrinsic
        def multiply_beside(  # type: ignore[no-untyped-def]
            typing, entries, first, panels, depth, a, ia, a_panel, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry,
            pitch, add, a_line, z, iz, places, z_step,
        ):  # fmt: skip
            check(a, b, c, z)
            given = (n, n, n, n, a, n, n, n, b, n, n, c, n, n, n, n, types.boolean, n, z, n, places, n)
            return types.void(*given), emit

        return multiply_beside

    @intrinsic
    def multiply(  # type: ignore[no-untyped-def]
        typing, entries, first, panels, depth, a, ia, a_panel, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch,
        add,
    ):  # fmt: skip
        check(a, b, c)
        return types.void(n, n, n, n, a, n, n, n, b, n, n, c, n, n, n, n, types.boolean), emit

    return multiply


def plane_tile(lines: int, vectors: int) -> Any:
    """Return the intrinsic for `lines` output rows by `vectors` vectors of a correlation in one plane."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = dict(zip(names, args, strict=True))
        kinds = dict(zip(names, signature.args, strict=True))
        llvm = Emitter(context, builder, kinds["out"].dtype)
        x = llvm.data(kinds["x"], value["x"], value["ix"])
        w = llvm.data(kinds["w"], value["w"], value["iw"])
        out = llvm.data(kinds["out"], value["out"], value["io"])
        shifts = llvm.data(kinds["shifts"], value["shifts"], llvm.index(0))
        first = llvm.spread(value["first"])
        sums = [[cgutils.alloca_once_value(builder, first) for _ in range(vectors)] for _ in range(lines)]
        llvm.fetch_tile(out, value["out_pitch"], lines, vectors)

        def meet(line: Any, rows: range) -> None:
            """Let one line of x meet the output rows it belongs to; row i takes it with the kernel's line - i."""
            x_line = llvm.at(x, builder.mul(line, value["pitch"]))
            with cgutils.for_range(builder, value["kw"]) as tap:
                place = llvm.at(x_line, builder.load(llvm.at(shifts, tap.index)))
                vector = [llvm.load(llvm.at(place, v * llvm.lanes)) for v in range(vectors)]
                for i in rows:
                    w_line = builder.mul(builder.sub(line, llvm.index(i)), value["kw"])
                    number = llvm.copies(llvm.at(w, w_line, tap.index))
                    for v in range(vectors):
                        builder.store(llvm.multiply_add(number, vector[v], builder.load(sums[i][v])), sums[i][v])

        # The first lines belong to the first rows only, the last ones to the last rows.
        for line in range(lines - 1):
            meet(llvm.index(line), range(line + 1))
        with cgutils.for_range(builder, builder.sub(value["kh"], llvm.index(lines - 1))) as middle:
            meet(builder.add(middle.index, llvm.index(lines - 1)), range(lines))
        for line in range(lines - 1):
            meet(builder.add(value["kh"], llvm.index(line)), range(line + 1, lines))
        llvm.write_tile(sums, out, value["out_pitch"], value["rows"], value["columns"], value["add"])
        return context.get_dummy_value()

    names = [
        "kh",
        "kw",
        "x",
        "ix",
        "pitch",
        "shifts",
        "w",
        "iw",
        "first",
        "out",
        "io",
        "out_pitch",
        "rows",
        "columns",
        "add",
    ]

    @intrinsic
    def correlate(  # type: ignore[no-untyped-def]
        typing, kh, kw, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add
    ):
        check(x, w, out)
        n = types.intp
        return types.void(n, n, x, n, n, shifts, w, n, out.dtype, out, n, n, n, n, types.boolean), emit

    return correlate


def square_tile(step: int, vectors: int) -> Any:
    """Return the intrinsic for a strip of `vectors` vectors of a correlation of one plane with 3 x 3 taps.

    It goes down the strip by a few output rows at a time, which share the lines of x. The row step is 1 or 2.
    """
    lines = SQUARE_LINES[step]

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = dict(zip(names, args, strict=True))
        kinds = dict(zip(names, signature.args, strict=True))
        llvm = Emitter(context, builder, kinds["out"].dtype)
        x = llvm.data(kinds["x"], value["x"], value["ix"])
        w = llvm.data(kinds["w"], value["w"], value["iw"])
        out = llvm.data(kinds["out"], value["out"], value["io"])
        shifts = llvm.data(kinds["shifts"], value["shifts"], llvm.index(0))
        taps = [[llvm.copies(llvm.at(w, 3 * a + b)) for b in range(3)] for a in range(3)]
        places = [builder.load(llvm.at(shifts, b)) for b in range(3)]
        first = llvm.spread(value["first"])
        sums = [[cgutils.alloca_once(builder, llvm.vector) for _ in range(vectors)] for _ in range(lines)]
        tiles = builder.sdiv(builder.add(value["rows"], llvm.index(lines - 1)), llvm.index(lines))
        with cgutils.for_range(builder, tiles) as tile:
            row = builder.mul(tile.index, llvm.index(lines))
            top = llvm.hidden(llvm.at(x, builder.mul(builder.mul(row, llvm.index(step)), value["pitch"])))
            target = llvm.hidden(llvm.at(out, builder.mul(row, value["out_pitch"])))
            totals = [[first] * vectors for _ in range(lines)]
            for line in range((lines - 1) * step + 3):
                here = llvm.at(top, builder.mul(value["pitch"], llvm.index(line)))
                for b in range(3):
                    place = llvm.at(here, places[b])
                    for v in range(vectors):
                        vector = llvm.load(llvm.at(place, v * llvm.lanes))
                        for i in range(lines):
                            if 0 <= line - i * step < 3:
                                totals[i][v] = llvm.multiply_add(taps[line - i * step][b], vector, totals[i][v])
            for places_of_row, row_of_totals in zip(sums, totals, strict=True):
                for place, total in zip(places_of_row, row_of_totals, strict=True):
                    builder.store(total, place)
            rest = builder.sub(value["rows"], row)
            llvm.write_tile(sums, target, value["out_pitch"], rest, value["columns"], value["add"])
        return context.get_dummy_value()

    names = ["x", "ix", "pitch", "shifts", "w", "iw", "first", "out", "io", "out_pitch", "rows", "columns", "add"]

    @intrinsic
    def correlate(  # type: ignore[no-untyped-def]
        typing, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add
    ):
        check(x, w, out)
        n = types.intp
        return types.void(x, n, n, shifts, w, n, out.dtype, out, n, n, n, n, types.boolean), emit

    return correlate


@intrinsic
def square_spread(typing, g, ig, pitch, w, iw, first, out, io, out_pitch, rows, columns, add):  # type: ignore[no-untyped-def]
    """Apply 3 x 3 taps with stride 2 backwards: a pair of rows at a time, interleaved in registers."""
    check(g, w, out)
    names = ["g", "ig", "pitch", "w", "iw", "first", "out", "io", "out_pitch", "rows", "columns", "add"]

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = dict(zip(names, args, strict=True))
        kinds = dict(zip(names, signature.args, strict=True))
        llvm = Emitter(context, builder, kinds["out"].dtype)
        g = llvm.data(kinds["g"], value["g"], value["ig"])
        w = llvm.data(kinds["w"], value["w"], value["iw"])
        out = llvm.data(kinds["out"], value["out"], value["io"])
        taps = [llvm.copies(llvm.at(w, k)) for k in range(9)]
        first = llvm.spread(value["first"])
        # The taps that meet (row, column) of g and its neighbours, for even and odd rows and columns of the result.
        meets = [
            [
                [
                    (taps[3 * a + b], (s + 1 - a) // 2, (e + 1 - b) // 2)
                    for a in range(1 - s, 3, 2)
                    for b in range(1 - e, 3, 2)
                ]
                for e in range(2)
            ]
            for s in range(2)
        ]
        joined = [
            ir.Constant(
                ir.VectorType(ir.IntType(32), llvm.lanes),
                [(start + t) // 2 + (start + t) % 2 * llvm.lanes for t in range(llvm.lanes)],
            )
            for start in (0, llvm.lanes)
        ]
        sums = [[cgutils.alloca_once(builder, llvm.vector) for _ in range(2)] for _ in range(2)]

        def meet(place: Any) -> None:
            """Compute two rows of two vectors from the numbers of g at a place."""
            below = llvm.at(place, value["pitch"])
            vectors = [[llvm.load(llvm.at(line, shift)) for shift in range(2)] for line in (place, below)]
            for s in range(2):
                halves = []
                for e in range(2):
                    total = first
                    for tap, down, right in meets[s][e]:
                        total = llvm.multiply_add(tap, vectors[down][right], total)
                    halves.append(total)
                for v in range(2):
                    builder.store(builder.shuffle_vector(*halves, joined[v]), sums[s][v])

        pairs = builder.sdiv(builder.add(value["rows"], llvm.index(1)), llvm.index(2))
        step = llvm.index(2 * llvm.lanes)
        whole = builder.sdiv(value["columns"], step)
        done = builder.mul(whole, step)
        rest = builder.sub(value["columns"], done)
        with cgutils.for_range(builder, pairs) as pair:
            row = builder.mul(pair.index, llvm.index(2))
            left = builder.sub(value["rows"], row)
            line = llvm.at(g, builder.mul(pair.index, value["pitch"]))
            target = llvm.at(out, builder.mul(row, value["out_pitch"]))
            with cgutils.for_range(builder, whole) as block:
                meet(llvm.at(line, builder.mul(block.index, llvm.index(llvm.lanes))))
                here = llvm.at(target, builder.mul(block.index, step))
                with builder.if_else(value["add"]) as (if_add, if_write):
                    with if_add:
                        llvm.write_rows(sums, here, value["out_pitch"], left, None, add=True)
                    with if_write:
                        llvm.write_rows(sums, here, value["out_pitch"], left, None, add=False)
            with builder.if_then(builder.icmp_signed("<", llvm.index(0), rest)):
                meet(llvm.at(line, builder.mul(whole, llvm.index(llvm.lanes))))
                here = llvm.at(target, done)
                with builder.if_else(builder.icmp_signed("<", llvm.index(llvm.lanes), rest)) as (if_two, if_one):
                    with if_two:
                        llvm.write_tile(sums, here, value["out_pitch"], left, rest, value["add"])
                    with if_one:
                        one = [row[:1] for row in sums]
                        llvm.write_tile(one, here, value["out_pitch"], left, rest, value["add"])
        return context.get_dummy_value()

    n = types.intp
    return types.void(g, n, n, w, n, out.dtype, out, n, n, n, n, types.boolean), emit


def tap_sums(rows: int, columns: int, planes: int) -> Any:
    """Return the intrinsic that correlates lines of `g` with lines of `x` under a block of rows x columns taps.

    It does so for some planes of `g` at once, which share the loads of `x`.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = dict(zip(names, args, strict=True))
        kinds = dict(zip(names, signature.args, strict=True))
        llvm = Emitter(context, builder, kinds["g"].dtype)
        g = llvm.data(kinds["g"], value["g"], value["ig"])
        x = llvm.data(kinds["x"], value["x"], value["ix"])
        out = llvm.data(kinds["out"], value["out"], value["io"])
        shifts = llvm.data(kinds["shifts"], value["shifts"], value["first"])
        number = rows * columns
        targets = [
            [llvm.at(out, builder.mul(value["out_plane"], llvm.index(p)), k * llvm.lanes) for k in range(number)]
            for p in range(planes)
        ]
        sums = [[cgutils.alloca_once_value(builder, llvm.load(target)) for target in row] for row in targets]
        shifts_of_planes = [builder.mul(value["g_plane"], llvm.index(p)) for p in range(planes)]
        places = [builder.load(llvm.at(shifts, k)) for k in range(number)]

        def meet(numbers: list[Any], place: Any) -> None:
            for k in range(number):
                vector = llvm.load(llvm.at(place, places[k]))
                for p in range(planes):
                    builder.store(llvm.multiply_add(numbers[p], vector, builder.load(sums[p][k])), sums[p][k])

        whole = builder.sdiv(value["length"], llvm.index(llvm.lanes))
        done = builder.mul(whole, llvm.index(llvm.lanes))
        rest = builder.sub(value["length"], done)
        mask = llvm.mask(rest)
        with cgutils.for_range(builder, value["lines"]) as line:
            g_line = llvm.at(g, builder.mul(line.index, value["g_line"]))
            x_line = llvm.at(x, builder.mul(line.index, value["x_line"]))
            with cgutils.for_range(builder, whole) as step:
                shift = builder.mul(step.index, llvm.index(llvm.lanes))
                here = [llvm.at(g_line, plane, shift) for plane in shifts_of_planes]
                meet([llvm.load(place) for place in here], llvm.hidden(llvm.at(x_line, shift)))
            with builder.if_then(builder.icmp_signed("<", llvm.index(0), rest)):
                here = [llvm.at(g_line, plane, done) for plane in shifts_of_planes]
                meet(
                    [llvm.masked("load", mask, place, llvm.zero) for place in here], llvm.hidden(llvm.at(x_line, done))
                )
        for row, row_of_targets in zip(sums, targets, strict=True):
            for place, target in zip(row, row_of_targets, strict=True):
                llvm.store(builder.load(place), target)
        return context.get_dummy_value()

    names = [
        "lines",
        "length",
        "g",
        "ig",
        "g_line",
        "g_plane",
        "x",
        "ix",
        "x_line",
        "shifts",
        "first",
        "out",
        "io",
        "out_plane",
    ]

    @intrinsic
    def sum_up(typing, lines, length, g, ig, g_line, g_plane, x, ix, x_line, shifts, first, out, io, out_plane):  # type: ignore[no-untyped-def]
        check(g, x, out)
        n = types.intp
        return types.void(n, n, g, n, n, n, x, n, n, shifts, n, out, n, n), emit

    return sum_up


def check(*arrays: Any) -> None:
    """Refuse, while compiling, what the vector instructions are not written for."""
    for array in arrays:
        if not (isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"):
            raise numba.TypingError(f"a flat contiguous array is needed, got {array}")
        if array.dtype not in (types.float32, types.float64) or array.dtype != arrays[0].dtype:
            raise numba.TypingError(f"arrays of one dtype, float32 or float64, are needed, got {arrays}")


def vector_copy(step: int) -> Any:
    """Return the intrinsic that copies one vector of every `step`-th number (1 or 2)."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[0].dtype)
        target = llvm.data(signature.args[0], args[0], args[1])
        source = llvm.data(signature.args[2], args[2], args[3])
        if step == 1:
            llvm.store(llvm.load(source), target)
        else:
            # The second vector begins one early, so that the last number read is the last one needed.
            low, high = llvm.load(source), llvm.load(llvm.at(source, llvm.lanes - 1))
            half = llvm.lanes // 2
            places = [2 * t for t in range(half)] + [llvm.lanes + 2 * t + 1 for t in range(half)]
            choice = ir.Constant(ir.VectorType(ir.IntType(32), llvm.lanes), places)
            llvm.store(builder.shuffle_vector(low, high, choice), target)
        return context.get_dummy_value()

    @intrinsic
    def copy(typing, target, i, source, j):  # type: ignore[no-untyped-def]
        check(target, source)
        return types.void(target, types.intp, source, types.intp), emit

    return copy


def partial_copy(step: int) -> Any:
    """Return the intrinsic that copies a part of a vector of every `step`-th number (1 or 2), with zeros around it."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[0].dtype)
        target = llvm.data(signature.args[0], args[0], args[1])
        source = llvm.data(signature.args[2], args[2], args[3])
        begin, end = (builder.mul(bound, llvm.index(step)) for bound in args[4:])
        vectors = []
        for v in range(step):
            shift = llvm.index(v * llvm.lanes)
            # Between the last number and the place after it there may be nothing to read.
            last = builder.sub(end, llvm.index(step - 1))
            inside = builder.and_(
                llvm.mask(builder.sub(last, shift)), builder.not_(llvm.mask(builder.sub(begin, shift)))
            )
            vectors.append(llvm.masked("load", inside, llvm.at(source, shift), llvm.zero))
        if step == 2:
            places = ir.Constant(ir.VectorType(ir.IntType(32), llvm.lanes), list(range(0, 2 * llvm.lanes, 2)))
            vectors = [builder.shuffle_vector(*vectors, places)]
        llvm.store(vectors[0], target)
        return context.get_dummy_value()

    @intrinsic
    def copy(typing, target, i, source, j, begin, end):  # type: ignore[no-untyped-def]
        check(target, source)
        return types.void(target, types.intp, source, types.intp, types.intp, types.intp), emit

    return copy


@intrinsic
def vector_stream(typing, target, i, source, j):  # type: ignore[no-untyped-def]
    """Copy one vector past the caches: lines that are written as a whole need not be read before."""
    check(target, source)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[0].dtype)
        there = llvm.data(signature.args[0], args[0], args[1])
        vector = llvm.load(llvm.data(signature.args[2], args[2], args[3]))
        store = builder.store(vector, builder.bitcast(there, vector.type.as_pointer()))
        store.align = VECTOR_BYTES
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp), emit


@intrinsic
def stream_fence(typing):  # type: ignore[no-untyped-def]
    """Wait until what was streamed can be seen by all threads."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def size_sums(typing, count, x, i, out):  # type: ignore[no-untyped-def]
    """Sum absolute values and find the largest, with four sums in each lane, which need not wait for each other."""
    check(x, out)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[1].dtype)
        x, out = llvm.data(signature.args[1], args[1], args[2]), llvm.data(signature.args[3], args[3], llvm.index(0))
        kind = ir.FunctionType(llvm.vector, [llvm.vector])
        absolute = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fabs.{llvm.name}")
        sums, largest = ([cgutils.alloca_once_value(builder, llvm.zero) for _ in range(4)] for _ in range(2))

        def greater(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        with cgutils.for_range(builder, args[0]) as block:
            here = llvm.at(x, builder.mul(block.index, llvm.index(4 * llvm.lanes)))
            for v in range(4):
                size = builder.call(absolute, [llvm.load(llvm.at(here, v * llvm.lanes))])
                builder.store(builder.fadd(builder.load(sums[v]), size), sums[v])
                builder.store(greater(size, builder.load(largest[v])), largest[v])
        total, most = llvm.load(out), llvm.load(llvm.at(out, llvm.lanes))
        for v in range(4):
            total, most = builder.fadd(total, builder.load(sums[v])), greater(builder.load(largest[v]), most)
        llvm.store(total, out)
        llvm.store(most, llvm.at(out, llvm.lanes))
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, x, n, out), emit


@intrinsic
def turn_block(typing, target, i, offsets, j, source, k, pitch):  # type: ignore[no-untyped-def]
    """Turn a block of ROWS x ROWS numbers round."""
    check(target, source)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[0].dtype)
        llvm.set_lanes(ROWS)
        out = llvm.data(signature.args[0], args[0], args[1])
        places = llvm.data(signature.args[2], args[2], args[3])
        first = llvm.data(signature.args[4], args[4], args[5])
        rows = [llvm.load(llvm.at(first, builder.mul(args[6], llvm.index(r)))) for r in range(ROWS)]
        for t, row in enumerate(llvm.turned(rows)):
            llvm.store(row, llvm.at(out, builder.load(llvm.at(places, t))))
        return context.get_dummy_value()

    n = types.intp
    return types.void(target, n, offsets, n, source, n, n), emit


def line_fetch(write: bool) -> Any:
    """Return the intrinsic that asks for the line of memory that holds one number, to read or to write it.

    The processor fetches it while it goes on. A store waits for its line, too, unless it writes the whole line at once
    in a way of its own; and far fewer lines can be waited for than asked for.
    """

    @intrinsic
    def fetch(typing, source, i):  # type: ignore[no-untyped-def]
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            llvm = Emitter(context, builder, signature.args[0].dtype)
            llvm.fetch(llvm.data(signature.args[0], args[0], args[1]), write)
            return context.get_dummy_value()

        return types.void(source, types.intp), emit

    return fetch


def ask_plain(source: Any, i: int) -> None:
    """Do nothing."""


@intrinsic
def clear_vector(typing, target, i):  # type: ignore[no-untyped-def]
    """Store one vector of zeros."""
    check(target)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[0].dtype)
        llvm.store(llvm.zero, llvm.data(signature.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(target, types.intp), emit


def opposite(matrix: Any) -> list[tuple[int, int]]:
    """Return pairs of rows that differ in the signs of every other entry, and in nothing else; no row is in two."""
    signs = (-1.0) ** np.arange(matrix.shape[1])
    pairs: list[tuple[int, int]] = []
    used: set[int] = set()
    for i, row in enumerate(matrix):
        for k in range(i + 1, len(matrix)):
            if not used & {i, k} and (matrix[k] == signs * row).all() and row[1::2].any():
                pairs.append((i, k))
                used |= {i, k}
    return pairs


def sandwich(matrix: Any, rows: bool = False) -> Any:
    """Return a function that computes matrix @ D @ matrix.T for many small square arrays D at once, one in each lane.

    `compute(count, source, i, row_pitch, pitch, target, j, target_pitch)` handles `count` vectors: entry (p, q) of all
    D stands at source[i + p * row_pitch + q * pitch:], entry (p, q) of all results comes to
    target[j + (p * m + q) * target_pitch:], for a matrix of m rows and n columns.

    Args:
        matrix: constant small matrix.
        rows: whether a vector has ROWS numbers, as in a packed panel, instead of as many as fit a register.

    Returns:
        The function, for compiled code.
    """
    matrix = np.asarray(matrix, np.float64)
    m, n = matrix.shape
    if numba.config.DISABLE_JIT:

        def plain(count, source, i, row_pitch, pitch, target, j, target_pitch):  # type: ignore[no-untyped-def]
            for t in range(count * (ROWS if rows else lanes(source))):
                lines = [source[i + t + p * row_pitch :][: (n - 1) * pitch + 1 : pitch] for p in range(n)]
                block = np.array(lines)
                product = matrix.astype(source.dtype) @ block @ matrix.T.astype(source.dtype)
                target[j + t : j + t + (m * m - 1) * target_pitch + 1 : target_pitch] = product.reshape(-1)

        return plain

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[1].dtype)
        if rows:
            llvm.set_lanes(ROWS)
        count, row_pitch, pitch, target_pitch = args[0], args[3], args[4], args[7]
        source = llvm.data(signature.args[1], args[1], args[2])
        target = llvm.data(signature.args[5], args[5], args[6])

        with cgutils.for_range(builder, count) as block:
            shift = builder.mul(block.index, llvm.index(llvm.lanes))
            here, there = llvm.hidden(llvm.at(source, shift)), llvm.hidden(llvm.at(target, shift))
            for p, row in enumerate(llvm.sandwiched(matrix, llvm.columns(here, n, row_pitch, pitch))):
                for q, vector in enumerate(row):
                    llvm.store(vector, llvm.at(there, builder.mul(target_pitch, llvm.index(p * m + q))))
        return context.get_dummy_value()

    @intrinsic
    def compute(typing, count, source, i, row_pitch, pitch, target, j, target_pitch):  # type: ignore[no-untyped-def]
        check(source, target)
        k = types.intp
        return types.void(k, source, k, k, k, target, k, k), emit

    return compute


def sandwich_rows(matrix: Any, backwards: bool = False, whole: bool = False) -> Any:
    """Return a function that computes matrix @ D @ matrix.T for small square arrays D that lie in rows of memory.

    `compute(count, panels, source, i, row_pitch, step, target, j, pitch, panel, line)` handles count * panels times
    `size` arrays, where `size` is ROWS, or as many numbers as fit a register if `whole`. For k < count, q < panels,
    r < size, with b = i + k * step + (q * size + r) * row_pitch, entry number t of D stands at source[b + t], or at
    source[b - t] if `backwards`, and entry number t of the result comes to target[j + q * panel + t * pitch + k * line
    + r]. So they are turned round on the way, in registers.

    Args:
        matrix: constant small matrix.
        backwards: whether the entries of D are read backwards.
        whole: see above.

    Returns:
        The function, for compiled code.
    """
    matrix = np.asarray(matrix, np.float64)
    m, n = matrix.shape
    if numba.config.DISABLE_JIT:

        def plain(count, panels, source, i, row_pitch, step, target, j, pitch, panel, line):  # type: ignore[no-untyped-def]
            entries = np.arange(n * n).reshape(n, n) * (-1 if backwards else 1)
            factor, size = matrix.astype(source.dtype), lanes(source) if whole else ROWS
            for k in range(count):
                for r in range(panels * size):
                    product = factor @ source[i + k * step + r * row_pitch + entries] @ factor.T
                    place = j + r // size * panel + k * line + r % size
                    target[place : place + (m * m - 1) * pitch + 1 : pitch] = product.reshape(-1)

        return plain

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[2].dtype)
        size = llvm.lanes if whole else ROWS
        # Rows are turned round in square blocks, of the largest power of two that fits both the rows and an array.
        length = 1 << (min(size, n * n).bit_length() - 1)
        count, panels, row_pitch, step, pitch, panel, line = (args[k] for k in (0, 1, 4, 5, 8, 9, 10))
        source = llvm.data(signature.args[2], args[2], args[3])
        target = llvm.data(signature.args[6], args[6], args[7])
        turned = n * n // length * length
        with cgutils.for_range(builder, count) as block, cgutils.for_range(builder, panels) as some:
            shift = builder.mul(builder.mul(some.index, llvm.index(size)), row_pitch)
            here = llvm.hidden(llvm.at(source, builder.mul(block.index, step), shift))
            there = llvm.hidden(llvm.at(target, builder.mul(block.index, line), builder.mul(some.index, panel)))
            if backwards:
                here = llvm.at(here, 1 - n * n)
            places = [llvm.at(here, builder.mul(row_pitch, llvm.index(r))) for r in range(size)]
            if backwards:
                for place in places:
                    llvm.fetch(llvm.at(place, builder.mul(step, llvm.index(2))), write=False)
            entries = []
            for t in range(0, turned, length):
                llvm.set_lanes(length)
                entries += llvm.turned(llvm.beside([llvm.load(llvm.at(place, t)) for place in places]))
            llvm.set_lanes(size)
            for t in range(turned, n * n):
                vector = ir.Constant(llvm.vector, ir.Undefined)
                for r, place in enumerate(places):
                    number = builder.load(llvm.at(place, t))
                    vector = builder.insert_element(vector, number, ir.Constant(ir.IntType(32), r))
                entries.append(vector)
            if backwards:
                entries.reverse()
            for p, row in enumerate(llvm.sandwiched(matrix, [entries[q::n] for q in range(n)])):
                for q, vector in enumerate(row):
                    llvm.store(vector, llvm.at(there, builder.mul(pitch, llvm.index(p * m + q))))
        return context.get_dummy_value()

    @intrinsic
    def compute(typing, count, panels, source, i, row_pitch, step, target, j, pitch, panel, line):  # type: ignore[no-untyped-def]
        check(source, target)
        k = types.intp
        return types.void(k, k, source, k, k, k, target, k, k, k, k), emit

    return compute


def sandwich_joined(matrix: Any) -> Any:
    """Return a function like that of `sandwich`, which joins the results of neighbours into rows.

    `compute(count, source, i, row_pitch, pitch, first, target, j, target_pitch, total)` takes its arrays as `sandwich`
    does; entry (p, q) of the result in lane t of all vectors, plus `first`, comes to target[j + p * target_pitch + t *
    m + q]. Lane t % lanes of `total`, one vector, grows by 0 times the sum of the result and `first`: it becomes NaN
    where one of them is not finite (or their sum is not).

    Args:
        matrix: constant small matrix of m rows, a power of two.

    Returns:
        The function, for compiled code.
    """
    matrix = np.asarray(matrix, np.float64)
    m, n = matrix.shape
    if numba.config.DISABLE_JIT:

        def plain(count, source, i, row_pitch, pitch, first, target, j, target_pitch, total):  # type: ignore[no-untyped-def]
            for t in range(count * lanes(source)):
                lines = [source[i + t + p * row_pitch :][: (n - 1) * pitch + 1 : pitch] for p in range(n)]
                factor = matrix.astype(source.dtype)
                product = factor @ np.array(lines) @ factor.T + first
                for p in range(m):
                    target[j + p * target_pitch + t * m :][:m] = product[p]
                total[t % lanes(source)] += 0 * product.sum()

        return plain

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[1].dtype)
        source = llvm.data(signature.args[1], args[1], args[2])
        target = llvm.data(signature.args[6], args[6], args[7])
        total = llvm.data(signature.args[9], args[9], llvm.index(0))
        first = llvm.spread(args[5])
        low, high = (
            ir.Constant(
                ir.VectorType(ir.IntType(32), llvm.lanes),
                [llvm.lanes // 2 * half + t // 2 + llvm.lanes * (t % 2) for t in range(llvm.lanes)],
            )
            for half in (0, 1)
        )

        def join(vectors: list[Any]) -> list[Any]:
            """Return the vectors' numbers in turns: the first of each, the second of each ..."""
            if len(vectors) == 1:
                return vectors
            even, odd = join(vectors[::2]), join(vectors[1::2])
            return [builder.shuffle_vector(a, b, half) for a, b in zip(even, odd, strict=True) for half in (low, high)]

        with cgutils.for_range(builder, args[0]) as block:
            here = llvm.hidden(llvm.at(source, builder.mul(block.index, llvm.index(llvm.lanes))))
            there = llvm.hidden(llvm.at(target, builder.mul(block.index, llvm.index(llvm.lanes * m))))
            size = first
            for p, row in enumerate(llvm.sandwiched(matrix, llvm.columns(here, n, args[3], args[4]))):
                for vector in row:
                    size = builder.fadd(size, vector)
                line = llvm.at(there, builder.mul(args[8], llvm.index(p)))
                for k, vector in enumerate(join(row)):
                    llvm.store(builder.fadd(vector, first), llvm.at(line, k * llvm.lanes))
            llvm.store(llvm.multiply_add(size, llvm.zero, llvm.load(total)), total)
        return context.get_dummy_value()

    @intrinsic
    def compute(typing, count, source, i, row_pitch, pitch, first, target, j, target_pitch, total):  # type: ignore[no-untyped-def]
        check(source, target, total)
        k = types.intp
        return types.void(k, source, k, k, k, source.dtype, target, k, k, total), emit

    return compute


def sandwich_turned(matrix: Any) -> Any:
    """Return a function like that of `sandwich`, which writes the result of each lane into a row of its own.

    `compute(count, source, i, row_pitch, pitch, target, j, step, add, total)` takes its arrays as `sandwich` does;
    entry number e of the result in lane t of all vectors comes to target[j + t * step + e], or is added to it if `add`.
    Lane t % lanes of `total`, one vector, grows by 0 times the result: it becomes NaN where an entry is not finite (or
    their sum is not).

    Args:
        matrix: constant small matrix.

    Returns:
        The function, for compiled code.
    """
    matrix = np.asarray(matrix, np.float64)
    m, n = matrix.shape
    if numba.config.DISABLE_JIT:

        def plain(count, source, i, row_pitch, pitch, target, j, step, add, total):  # type: ignore[no-untyped-def]
            factor = matrix.astype(source.dtype)
            for t in range(count * lanes(source)):
                lines = [source[i + t + p * row_pitch :][: (n - 1) * pitch + 1 : pitch] for p in range(n)]
                product = (factor @ np.array(lines) @ factor.T).reshape(-1)
                place = j + t * step
                target[place : place + m * m] = target[place : place + m * m] + product if add else product
                total[t % lanes(source)] += 0 * product.sum()

        return plain

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[1].dtype)
        source = llvm.data(signature.args[1], args[1], args[2])
        target = llvm.data(signature.args[5], args[5], args[6])
        total = llvm.data(signature.args[9], args[9], llvm.index(0))
        size = min(llvm.lanes, 8)  # of the blocks that are turned round
        with cgutils.for_range(builder, args[0]) as block:
            first = builder.mul(block.index, llvm.index(llvm.lanes))
            here = llvm.hidden(llvm.at(source, first))
            columns = llvm.columns(here, n, args[3], args[4])
            result = [vector for row in llvm.sandwiched(matrix, columns) for vector in row]
            sizes = llvm.zero
            for vector in result:
                sizes = builder.fadd(sizes, vector)
            llvm.store(llvm.multiply_add(sizes, llvm.zero, llvm.load(total)), total)
            rows = [llvm.at(target, builder.mul(builder.add(first, llvm.index(t)), args[7])) for t in range(llvm.lanes)]
            whole = m * m // size * size

            def pieces() -> Iterator[tuple[Any, Any]]:
                """Turn them round; give pieces of the rows, and their addresses."""
                for e in range(0, whole, size):
                    for t, vector in enumerate(llvm.turned(result[e : e + size])):
                        for lane in range(0, llvm.lanes, size):
                            yield llvm.piece(vector, lane, size), llvm.at(rows[lane + t], e)
                for e in range(whole, m * m):
                    for t, row in enumerate(rows):
                        yield llvm.piece(result[e], t, 1), llvm.at(row, e)

            # Each branch does it for itself: so many pieces would not stay in registers until it is known which.
            with builder.if_else(args[8]) as (if_add, if_write):
                with if_add:
                    for vector, address in pieces():
                        old = builder.load(builder.bitcast(address, vector.type.as_pointer()))
                        old.align = llvm.bytes
                        llvm.store(builder.fadd(old, vector), address)
                with if_write:
                    for vector, address in pieces():
                        llvm.store(vector, address)
        return context.get_dummy_value()

    @intrinsic
    def compute(typing, count, source, i, row_pitch, pitch, target, j, step, add, total):  # type: ignore[no-untyped-def]
        check(source, target, total)
        k = types.intp
        return types.void(k, source, k, k, k, target, k, k, types.boolean, total), emit

    return compute


def along(matrix: Any, step: int) -> Any:
    """Return a function that multiplies a small matrix with pieces of a row that overlap, one piece in each lane.

    `compute(count, source, i, target, j, pitch)` handles `count` vectors: target[j + q * pitch + t] becomes the sum
    over k of matrix[q, k] * source[i + step * t + k]. It may read as far as one vector beyond the last piece's first
    `step` numbers. The matrix has `step + 1` or `step + 2` columns, and step is a power of two.
    """
    matrix = np.asarray(matrix, np.float64)
    n = matrix.shape[1]
    if numba.config.DISABLE_JIT:

        def plain(count, source, i, target, j, pitch):  # type: ignore[no-untyped-def]
            length = count * lanes(source)
            pieces = np.array([source[i + k :][: step * (length - 1) + 1 : step] for k in range(n)])
            for q, row in enumerate(matrix.astype(source.dtype) @ pieces):
                target[j + q * pitch : j + q * pitch + length] = row

        return plain

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[1].dtype)
        source = llvm.data(signature.args[1], args[1], args[2])
        target = llvm.data(signature.args[3], args[3], args[4])
        lanes, number = llvm.lanes, ir.IntType(32)

        def choose(low: Any, high: Any, places: list[int]) -> Any:
            return builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(number, lanes), places))

        def sort(vectors: list[Any]) -> list[Any]:
            """Return the numbers of several vectors by their remainders modulo the number of vectors."""
            if len(vectors) == 1:
                return vectors
            pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
            even, odd = (sort([choose(a, b, list(range(r, 2 * lanes, 2))) for a, b in pairs]) for r in (0, 1))
            return [vector for pair in zip(even, odd, strict=True) for vector in pair]

        with cgutils.for_range(builder, args[0]) as block:
            here = llvm.hidden(llvm.at(source, builder.mul(block.index, llvm.index(step * lanes))))
            there = llvm.hidden(llvm.at(target, builder.mul(block.index, llvm.index(lanes))))
            pieces = sort([llvm.load(llvm.at(here, k * lanes)) for k in range(step)])
            # The last numbers of a piece are the first of the next one.
            beyond = llvm.load(llvm.at(here, step * lanes))
            pieces += [choose(pieces[k], beyond, [*range(1, lanes), lanes + k]) for k in range(n - step)]
            for q, vector in enumerate(llvm.combine(matrix, pieces)):
                llvm.store(vector, llvm.at(there, builder.mul(args[5], llvm.index(q))))
        return context.get_dummy_value()

    @intrinsic
    def compute(typing, count, source, i, target, j, pitch):  # type: ignore[no-untyped-def]
        check(source, target)
        k = types.intp
        return types.void(k, source, k, target, k, k), emit

    return compute


def across(matrix: Any, columns: int | None = None) -> Any:
    """Return a function that computes matrix @ D for many small arrays D at once, one in each lane.

    `compute(count, source, i, pitch, target, j, target_pitch)` handles `count` vectors: entry (p, q) of all D stands at
    source[i + (p * n + q) * pitch:], entry (p, q) of all results comes to target[j + (p * n + q) * target_pitch:].

    Args:
        matrix: constant small matrix.
        columns: n, the columns of each D; as many as the matrix has by default.

    Returns:
        The function, for compiled code.
    """
    matrix = np.asarray(matrix, np.float64)
    m, rows = matrix.shape
    n = rows if columns is None else columns
    if numba.config.DISABLE_JIT:

        def plain(count, source, i, pitch, target, j, target_pitch):  # type: ignore[no-untyped-def]
            for t in range(count * lanes(source)):
                block = source[i + t :][: (rows * n - 1) * pitch + 1 : pitch].reshape(rows, n)
                product = matrix.astype(source.dtype) @ block
                target[j + t : j + t + (m * n - 1) * target_pitch + 1 : target_pitch] = product.reshape(-1)

        return plain

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = Emitter(context, builder, signature.args[1].dtype)
        source = llvm.data(signature.args[1], args[1], args[2])
        target = llvm.data(signature.args[4], args[4], args[5])
        with cgutils.for_range(builder, args[0]) as block:
            shift = builder.mul(block.index, llvm.index(llvm.lanes))
            here, there = llvm.hidden(llvm.at(source, shift)), llvm.hidden(llvm.at(target, shift))
            for q in range(n):
                places = [llvm.at(here, builder.mul(args[3], llvm.index(p * n + q))) for p in range(rows)]
                for p, vector in enumerate(llvm.combine(matrix, [llvm.load(place) for place in places])):
                    llvm.store(vector, llvm.at(there, builder.mul(args[6], llvm.index(p * n + q))))
        return context.get_dummy_value()

    @intrinsic
    def compute(typing, count, source, i, pitch, target, j, target_pitch):  # type: ignore[no-untyped-def]
        check(source, target)
        k = types.intp
        return types.void(k, source, k, k, target, k, k), emit

    return compute


entries_1, entries_2, entries_3 = (entries_product(vectors, 1) for vectors in (1, 2, 3))
pairs_1 = entries_product(1, 2)
beside_1, beside_2, beside_3 = (entries_product(vectors, 1, beside=True) for vectors in (1, 2, 3))
packed_1, packed_2, packed_3 = (tile_product("packed", vectors) for vectors in (1, 2, 3))
rows_1, rows_2, rows_3 = (tile_product("rows", vectors) for vectors in (1, 2, 3))
places_1, places_2, places_3 = (tile_product("places", vectors) for vectors in (1, 2, 3))
shifted_1, shifted_2, shifted_3 = (tile_product("shifted", vectors) for vectors in (1, 2, 3))
line_1, line_2, line_4 = (plane_tile(1, vectors) for vectors in (1, 2, 4))
lines_1, lines_2, lines_4 = (plane_tile(LINES, vectors) for vectors in (1, 2, 4))
square_1, square_2, square_4 = (square_tile(1, vectors) for vectors in (1, 2, 4))
skipping_1, skipping_2, skipping_4 = (square_tile(2, vectors) for vectors in (1, 2, 4))
square_sums, row_sums, square_sums_of_planes = tap_sums(3, 3, 1), tap_sums(1, 8, 1), tap_sums(3, 3, PLANES)


# ------------------------------------------------------------------------------------- what other files call


@kernel
def multiply_tile(depth, vectors, a, ia, b, ib, c, ic, pitch, rows, columns, add, z, iz, z_step):  # type: ignore[no-untyped-def]
    """Multiply two packed panels into one tile of `c`.

    With width = vectors * lanes: c[ic + i * pitch + j] becomes (or grows by, if `add`) the sum over k < depth of
    a[ia + k * ROWS + i] * b[ib + k * width + j], for i < rows and j < columns. A partial tile is computed whole,
    from panels filled up with zeros, and only what exists of it is written.

    Args:
        depth: number of terms in each sum.
        vectors: vectors in a row of the tile, 1 to VECTORS.
        a: flat array with the panel of ROWS numbers for each k.
        ia: where that panel starts.
        b: flat array with the panel of `width` numbers for each k.
        ib: where that panel starts.
        c: flat array with the result.
        ic: where the tile starts.
        pitch: distance of two rows of the tile.
        rows: rows that exist, 1 to ROWS.
        columns: columns that exist; more than (vectors - 1) * lanes, at most width.
        add: whether to add to what is there.
        z: flat array that will be read later.
        iz: for each k, the line of z[iz + k * z_step] is asked for, so that it comes from memory meanwhile; such a
            place may lie beyond the end.
        z_step: see there.
    """
    if vectors == 3:
        packed_3(depth, a, ia, b, ib, c, ic, pitch, rows, columns, add, z, iz, z_step)
    elif vectors == 2:
        packed_2(depth, a, ia, b, ib, c, ic, pitch, rows, columns, add, z, iz, z_step)
    else:
        packed_1(depth, a, ia, b, ib, c, ic, pitch, rows, columns, add, z, iz, z_step)


@kernel
def multiply_entries(  # type: ignore[no-untyped-def]
    entries, panels, depth, vectors, a, ia, a_panel, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch, add
):
    """Multiply several packed panels of `a` with one of `b`, for each of several entries, into tiles of `c`.

    The same as calls of `multiply_tile` with the panels at ia + q * a_panel + e * a_entry and ib + e * b_entry and the
    tile at ic + q * c_panel + e * c_entry, for q < panels and e < entries, with whole tiles; meanwhile the next entry's
    row is asked for. One call costs as much as some twenty steps of a sum, and short sums are what this is for. A tile
    of one vector has only ROWS sums, fewer than the processor can work on at a time: two of these are computed
    together.
    """
    if vectors == 3:
        entries_3(
            entries, 0, panels, depth, a, ia, a_panel, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch, add
        )
    elif vectors == 2:
        entries_2(
            entries, 0, panels, depth, a, ia, a_panel, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch, add
        )
    else:
        even = panels // 2 * 2
        pairs_1(entries, 0, even, depth, a, ia, a_panel, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch, add)
        if even < panels:
            entries_1(
                entries, even, panels, depth, a, ia, a_panel, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch,
                add,
            )  # fmt: skip


@kernel
def multiply_beside(  # type: ignore[no-untyped-def]
    entries, panels, depth, vectors, a, ia, a_line, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch, add,
    z, iz, places, z_step,
):  # fmt: skip
    """Do the same as `multiply_entries` where the panels of `a` lie side by side, in lines of `a_line` numbers.

    Number i of panel q meets step k at a[ia + e * a_entry + k * a_line + q * ROWS + i]. While the tile of entry e and
    panel q is computed, z[iz + places[e * panels + q] + k * z_step] is asked for at step k, whether that exists or not.
    Whole panels are read: where `a_line` is no multiple of ROWS, the last one reads a few numbers of the next line.
    """
    if vectors == 3:
        beside_3(
            entries, 0, panels, depth, a, ia, ROWS, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch, add,
            a_line, z, iz, places, z_step,
        )  # fmt: skip
    elif vectors == 2:
        beside_2(
            entries, 0, panels, depth, a, ia, ROWS, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch, add,
            a_line, z, iz, places, z_step,
        )  # fmt: skip
    else:
        beside_1(
            entries, 0, panels, depth, a, ia, ROWS, a_entry, b, ib, b_entry, c, ic, c_panel, c_entry, pitch, add,
            a_line, z, iz, places, z_step,
        )  # fmt: skip


@kernel
def multiply_rows(  # type: ignore[no-untyped-def]
    lines, length, vectors, a, ia, a_pitch, a_line, a_step, b, ib, b_line, c, ic, pitch, rows, columns, add
):
    """Multiply rows as they lie in `a` with a packed panel of `b` into one tile of `c`.

    Like `multiply_tile`, but the sum runs over the places t < length of lines y < lines, and `a` is not packed: its
    row i has a[ia + i * a_pitch + y * a_line + t * a_step] where `b` has the vectors at ib + y * b_line + t * width.
    """
    if vectors == 3:
        rows_3(lines, length, a, ia, a_pitch, a_line, a_step, b, ib, b_line, c, ic, pitch, rows, columns, add)
    elif vectors == 2:
        rows_2(lines, length, a, ia, a_pitch, a_line, a_step, b, ib, b_line, c, ic, pitch, rows, columns, add)
    else:
        rows_1(lines, length, a, ia, a_pitch, a_line, a_step, b, ib, b_line, c, ic, pitch, rows, columns, add)


@kernel
def multiply_shifted(depth, vectors, a, ia, b, ib, shifts, c, ic, pitch, rows, columns, add):  # type: ignore[no-untyped-def]
    """Multiply a packed panel of `a` with rows as they lie in `b` into one tile of `c`.

    Like `multiply_tile`, but where `a` has the numbers for k the row of `b` is b[ib + shifts[k] + j]. Whole vectors are
    read.
    """
    if vectors == 3:
        shifted_3(depth, a, ia, b, ib, shifts, c, ic, pitch, rows, columns, add)
    elif vectors == 2:
        shifted_2(depth, a, ia, b, ib, shifts, c, ic, pitch, rows, columns, add)
    else:
        shifted_1(depth, a, ia, b, ib, shifts, c, ic, pitch, rows, columns, add)


@kernel
def multiply_places(  # type: ignore[no-untyped-def]
    lines, length, vectors, a, ia, places, ip, a_line, b, ib, b_line, c, ic, pitch, rows, columns, add
):
    """Multiply rows that stand at places[ip], places[ip + 1] ... in `a` with a packed panel of `b` into a tile of `c`.

    Like `multiply_rows` with a_step = 1, but row i has a[ia + places[ip + i] + y * a_line + t], for i < ROWS.
    """
    if vectors == 3:
        places_3(lines, length, a, ia, places, ip, a_line, b, ib, b_line, c, ic, pitch, rows, columns, add)
    elif vectors == 2:
        places_2(lines, length, a, ia, places, ip, a_line, b, ib, b_line, c, ic, pitch, rows, columns, add)
    else:
        places_1(lines, length, a, ia, places, ip, a_line, b, ib, b_line, c, ic, pitch, rows, columns, add)


@kernel
def correlate_tile(  # type: ignore[no-untyped-def]
    lines, vectors, kh, kw, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add
):
    """Correlate one plane, a tile of its output.

    out[io + i * out_pitch + j] becomes (or grows by) `first` plus the sum over a < kh and b < kw of
    w[iw + a * kw + b] * x[ix + (i + a) * pitch + shifts[b] + j], for i < rows and j < columns. Each vector of x is
    loaded once for all rows of the tile. The whole tile must be readable in x, also where fewer rows and columns exist.

    Args:
        lines: rows of a whole tile: LINES, which needs kh >= LINES - 1, or 1.
        vectors: vectors in a row of the tile: 1, 2 or 4.
        kh: rows of the kernel.
        kw: columns of the kernel.
        x: flat array with the plane.
        ix: where the number stands that meets the first tap at the first output.
        pitch: distance of two lines of x.
        shifts: for each column of the kernel, how far it lies from the first one in x.
        w: flat array with the kernel.
        iw: where it starts.
        first: what the sums start from.
        out: flat array with the result.
        io: where the tile starts.
        out_pitch: distance of two rows of the tile.
        rows: rows that exist, 1 to lines.
        columns: columns that exist; more than (vectors - 1) * lanes.
        add: whether to add to what is there.
    """
    if lines == 1:
        if vectors == 4:
            line_4(kh, kw, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)
        elif vectors == 2:
            line_2(kh, kw, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)
        else:
            line_1(kh, kw, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)
    elif vectors == 4:
        lines_4(kh, kw, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)
    elif vectors == 2:
        lines_2(kh, kw, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)
    else:
        lines_1(kh, kw, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)


@kernel
def correlate_square(step, vectors, x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add):  # type: ignore[no-untyped-def]
    """Correlate one plane with 3 x 3 taps, a strip of its output: the taps stay in registers, row after row.

    out[io + i * out_pitch + j] becomes (or grows by) `first` plus the sum over a < 3 and b < 3 of
    w[iw + a * 3 + b] * x[ix + (i * step + a) * pitch + shifts[b] + j], for i < rows and j < columns. Whole vectors must
    be readable in x, and whole tiles: up to LINES lines more than needed.

    The arguments are those of `correlate_tile`, but that `rows` may be any number, that
    at most `vectors * lanes` columns exist, and that `step`, the distance of the rows in x, is 1 or 2.
    """
    if step == 1:
        if vectors == 4:
            square_4(x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)
        elif vectors == 2:
            square_2(x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)
        else:
            square_1(x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)
    elif vectors == 4:
        skipping_4(x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)
    elif vectors == 2:
        skipping_2(x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)
    else:
        skipping_1(x, ix, pitch, shifts, w, iw, first, out, io, out_pitch, rows, columns, add)


@kernel
def spread_square(g, ig, pitch, w, iw, first, out, io, out_pitch, rows, columns, add):  # type: ignore[no-untyped-def]
    """Apply the transpose of a correlation of one plane with 3 x 3 taps and stride 2.

    out[io + i * out_pitch + j] becomes (or grows by) `first` plus the sum of
    w[iw + a * 3 + b] * g[ig + (i + 1 - a) / 2 * pitch + (j + 1 - b) / 2] over those a < 3 and b < 3 for which both are
    whole numbers, for i < rows and j < columns. So even rows meet the tap in the middle, and odd ones the two others.
    A vector of g beyond the last column, and a line beyond the last row, must be readable.

    Args:
        g: flat array with the plane.
        ig: where its first number stands.
        pitch: distance of two lines of g.
        w: flat array with the kernel.
        iw: where it starts.
        first: what the sums start from.
        out: flat array with the result.
        io: where the result starts.
        out_pitch: distance of two rows of the result.
        rows: how many rows.
        columns: how many columns.
        add: whether to add to what is there.
    """
    square_spread(g, ig, pitch, w, iw, first, out, io, out_pitch, rows, columns, add)


@kernel
def sum_taps(  # type: ignore[no-untyped-def]
    square, planes, lines, length, g, ig, g_line, g_plane, x, ix, x_line, shifts, first, out, io, out_plane
):
    """Correlate lines of some planes of `g` with lines of `x` under a few taps, whose sums are held in registers.

    For the taps k of a block, 9 if `square` and else 8, and each plane p, lane t % lanes of the vector
    out[io + p * out_plane + k * lanes:] grows by the sum over lines y and places t < length of
    g[ig + p * g_plane + y * g_line + t] * x[ix + y * x_line + shifts[first + k] + t]. The caller adds the lanes up.
    Whole vectors of x are read, also at the end of a line. `planes` is 1 or, for a square, PLANES.
    """
    if planes == PLANES and PLANES > 1:
        square_sums_of_planes(
            lines, length, g, ig, g_line, g_plane, x, ix, x_line, shifts, first, out, io, out_plane
        )  # fmt: skip
    elif square:
        square_sums(lines, length, g, ig, g_line, g_plane, x, ix, x_line, shifts, first, out, io, out_plane)
    else:
        row_sums(lines, length, g, ig, g_line, g_plane, x, ix, x_line, shifts, first, out, io, out_plane)


if numba.config.DISABLE_JIT:
    sum_taps, multiply_shifted, multiply_places = sum_taps_plain, multiply_shifted_plain, multiply_places_plain
    multiply_tile, multiply_rows = multiply_tile_plain, multiply_rows_plain
    multiply_entries, multiply_beside = multiply_entries_plain, multiply_beside_plain
    correlate_tile, correlate_square = correlate_tile_plain, correlate_square_plain
    spread_square = spread_square_plain
    move_some, move_some_of_every_other = move_some_plain, move_some_of_every_other_plain
    stream, finish_streams = move_plain, finish_streams_plain
    clear, move, move_every_other, turn = clear_plain, move_plain, move_every_other_plain, turn_plain
    sum_sizes = sum_sizes_plain
    ask = ask_to_write = ask_plain
else:
    ask = line_fetch(write=False)  # ask(source, i): bring source[i] into the cache, also where i is beyond the end
    ask_to_write = line_fetch(write=True)  # the same, for a line that will be written
    turn = turn_block  # target[i + offsets[j + t] + r] = source[k + r * pitch + t] for t, r < ROWS
    # sum_sizes(count, x, i, out): of 4 * count vectors at x[i:], add the absolute values to the vector out[0:], and put
    # the largest ones into the vector after it, each lane by itself; a NaN comes to the sums and not to the largest
    sum_sizes = size_sums
    clear = clear_vector  # clear(target, i): zeros in target[i:], one vector of them
    move = vector_copy(1)  # move(target, i, source, j): copy one vector from source[j:] to target[i:]
    stream = vector_stream  # the same, past the caches; target[i] must begin with a vector's own place in memory
    finish_streams = stream_fence  # after the last one, before another thread reads what was streamed
    move_every_other = vector_copy(2)  # the same with source[j::2]; reads up to source[j + 2 * lanes - 2]
    # move_some(target, i, source, j, begin, end): copy the numbers begin <= t < end of a vector, and write zeros for
    # the others, whose places are not read
    move_some = partial_copy(1)
    move_some_of_every_other = partial_copy(2)


# --------------------------------------------------------------------------------------------------- the peak


@kernel
def repeat_tile(start, stop, times, depth, a, b, c):  # type: ignore[no-untyped-def]
    """Compute the same tile again and again, from panels that stay in the nearest cache."""
    width = VECTORS * lanes(b)
    for item in range(start, stop):
        for _ in range(times):
            multiply_tile(depth, VECTORS, a, 0, b, 0, c, item * ROWS * width, width, ROWS, width, True, b, 0, 0)


def seconds_of(multiplications: float, itemsize: int) -> float:
    """Estimate how long the micro-kernel takes for so many multiplications on one processor with vectors."""
    return multiplications * itemsize / 1.5e11


def peak(dtype: Any = np.float32, *, threads: int | None = None, repeats: int = 20) -> float:
    """Measure the micro-kernel alone: the most that any product built on it can reach on this machine, now.

    Args:
        dtype: float32 or float64.
        threads: how many threads; all that the package may use by default.
        repeats: number of measurements, of which the fastest counts.

    Returns:
        Floating point operations in a second (a multiply-add counts as two), of all threads together.
    """
    threads = get_num_threads() if threads is None else threads
    depth, tiles = 128, 2000
    width = VECTORS * VECTOR_BYTES // np.dtype(dtype).itemsize
    a, b = np.ones(depth * ROWS, dtype), np.ones(depth * width, dtype)
    c = np.empty(threads * ROWS * width, dtype)
    repeat_tile(0, 1, 1, depth, a, b, c)
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        parallel_for(repeat_tile, threads, tiles, depth, a, b, c)
        best = min(best, time.perf_counter() - start)
    return 2.0 * threads * tiles * depth * ROWS * width / best
