"""Compiled code reaches the engines by address: their numbers and exceptions arrive, and stored code finds them."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit, prange

import derivable as dv
from derivable.convolution import calls

RNG = np.random.default_rng(0)
DEFINITIONS = {"f": 0, "d": 1}


@njit
def three(x, w, b, g, stride):
    """A layer and its two gradients."""
    return (
        dv.conv2d(x, w, b, stride, 1),
        dv.conv_input_gradient(g, w, x.shape, stride, 1),
        dv.conv_kernel_gradient(g, x, w.shape, stride, 1),
    )


def problem(dtype, batch, channels, size, stride):
    def draw(*shape):
        values = RNG.normal(size=shape)
        return (values + 1j * RNG.normal(size=shape) if np.dtype(dtype).kind == "c" else values).astype(dtype)

    x, w, b = draw(batch, channels, size, size), draw(12, channels, 3, 3), draw(12)
    return x, w, b, draw(*dv.conv2d(x, w, b, stride, 1).shape), stride


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_the_numbers_are_those_of_the_functions_called_from_python(dtype):
    """Small work by the definition, once through Python and once from the table; larger work by the fast engines."""
    sizes = [(1, 2, 5, 1), (1, 2, 6, 2)]
    if np.dtype(dtype).kind == "f":
        sizes.append((3, 16, 20, 1))
    for batch, channels, size, stride in sizes:
        arguments = problem(dtype, batch, channels, size, stride)
        x, w, b, g, _ = arguments
        expected = (
            dv.conv2d(x, w, b, stride, 1),
            dv.conv_input_gradient(g, w, x.shape, stride, 1),
            dv.conv_kernel_gradient(g, x, w.shape, stride, 1),
        )
        once, again = three(*arguments), three(*arguments)
        assert all(np.array_equal(p, q) for p, q in zip(once, again, strict=True))  # the first call is no other
        large = x.size * w[0].size >= calls.SMALL_WORK
        for got, wanted in zip(again, expected, strict=True):
            assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
            # Large work goes to the very same engine; the definition may add up in another order.
            tolerance = 0 if large else 10 * np.finfo(dtype).eps
            np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max())
    if dtype in (np.float32, np.float64):
        entry = DEFINITIONS[np.dtype(dtype).char]
        assert all(calls.definitions[2 * operation + entry] for operation in range(3))


def test_results_are_arrays_of_their_own_and_views_are_read_as_they_are():
    x, w, b, g, stride = problem(np.float64, 2, 4, 9, 1)
    wide = np.zeros((2, 4, 9, 18))
    wide[..., ::2] = x
    kept = wide.copy()
    for got, wanted in zip(
        three(wide[..., ::2], np.asfortranarray(w), b, g, stride), three(x, w, b, g, stride), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)
        assert not any(np.shares_memory(got, other) for other in (wide, w, b, g))
    assert np.array_equal(wide, kept)


def test_an_exception_behind_the_address_arrives(monkeypatch):
    arguments = problem(np.float64, 3, 16, 20, 1)
    three(*arguments)
    for error in (KeyboardInterrupt, MemoryError, ZeroDivisionError):

        def fail(*_, error=error):
            raise error("stop here")

        monkeypatch.setattr(calls, "compute", fail)
        with pytest.raises(error, match="stop here"):
            three(*arguments)
    monkeypatch.undo()
    assert np.isfinite(three(*arguments)[0]).all()


@njit(parallel=True)
def many(images, w):
    out = np.empty((images.shape[0], w.shape[0], 20, 20))
    for i in prange(images.shape[0]):
        out[i] = dv.conv2d(images[i], w, padding=1)
    return out


def test_from_several_threads_of_a_parallel_loop():
    x, w, *_ = problem(np.float64, 8, 16, 20, 1)
    np.testing.assert_allclose(many(x, w), dv.conv2d(x, w, padding=1), rtol=1e-10, atol=1e-12)


PROGRAM = """
import sys
import numpy as np
from numba import njit
import derivable as dv

@njit(cache=True)
def f(x, w):
    return dv.conv2d(x, w, padding=1)

x, w = np.arange(1200.0).reshape(1, 3, 20, 20), np.arange(216.0).reshape(8, 3, 3, 3)
assert np.array_equal(f(x, w), dv.conv2d(x, w, padding=1))
f(x[:, :, :3, :3], w)
assert np.array_equal(f(x[:, :, :3, :3], w), dv.conv2d(x[:, :, :3, :3], w, padding=1))
print(*f.stats.cache_hits.values())
"""


@pytest.mark.slow
def test_a_stored_function_finds_the_addresses_of_its_process(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    hits = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))},
            capture_output=True,
            text=True,
            check=True,
        )
        hits.append(run.stdout.split())
    assert hits == [[], ["1", "1"]]  # the second layout of x is one more signature
