"""A matrix product inside compiled loops, on one thread: the package's micro-kernel over a whole matrix.

Products in a training step are small. A library that hands each of them to several threads spends more on waiting than
on computing as soon as another process wants a core, and repeats of one experiment would share the cores
badly. Here a product stays on the thread that calls it, so that whole experiments can run side by side.
"""

from __future__ import annotations

from derivable.jit import kernel
from derivable.simd import ROWS, VECTOR_BYTES, VECTORS, lanes, multiply_rows

__all__ = ["multiply", "multiply_plain", "panel_size"]


@kernel
def multiply_plain(  # type: ignore[no-untyped-def]
    rows, depth, columns, a, ia, a_row, a_step, b, ib, b_row, b_step, c, ic, panel
):
    """Multiply two matrices by the definition: the same as `multiply`, without `panel`."""
    for i in range(rows):
        for j in range(columns):
            total = c.dtype.type(0)
            for k in range(depth):
                total += a[ia + i * a_row + k * a_step] * b[ib + k * b_row + j * b_step]
            c[ic + i * columns + j] = total


@kernel
def multiply(  # type: ignore[no-untyped-def]
    rows, depth, columns, a, ia, a_row, a_step, b, ib, b_row, b_step, c, ic, panel
):
    """Write the product of two matrices that lie in flat arrays, with any strides, so that a transpose costs nothing.

    c[ic + i * columns + j] becomes the sum over k < depth of
    a[ia + i * a_row + k * a_step] * b[ib + k * b_row + j * b_step].

    Args:
        rows: of a and of the product.
        depth: columns of a, rows of b.
        columns: of b and of the product.
        a: flat array with the first matrix.
        ia: where it starts.
        a_row: distance of two of its rows.
        a_step: distance of two neighbours in a row.
        b: flat array with the second matrix.
        ib: where it starts.
        b_row: distance of two of its rows.
        b_step: distance of two neighbours in a row.
        c: flat array for the product.
        ic: where it starts.
        panel: flat array to work in, of at least `panel_size(depth)` numbers.
    """
    lane = lanes(c)
    for j in range(0, columns, VECTORS * lane):
        width = min(columns - j, VECTORS * lane)
        vectors = (width + lane - 1) // lane
        whole = vectors * lane
        for k in range(depth):  # a panel of b, its rows one after another, filled up with zeros to whole vectors
            source = ib + k * b_row + j * b_step
            for t in range(width):
                panel[k * whole + t] = b[source + t * b_step]
            for t in range(width, whole):
                panel[k * whole + t] = 0
        for i in range(0, rows, ROWS):
            multiply_rows(
                1, depth, vectors, a, ia + i * a_row, a_row, 0, a_step, panel, 0, 0, c, ic + i * columns + j,
                columns, min(ROWS, rows - i), width, False,
            )  # fmt: skip


def panel_size(depth: int) -> int:
    """Return how many numbers `multiply` needs for its work, for float32 and larger types."""
    return depth * VECTORS * (VECTOR_BYTES // 4)
