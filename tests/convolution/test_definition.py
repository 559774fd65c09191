"""The plain definition against NumPy, and the fast versions against the definition."""

import numpy as np
import pytest

import derivable as dv
from derivable.convolution import definition


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("m", [1, 2, 3, 4, 7])
def test_one_dimension_is_numpys(n, m):
    rng = np.random.default_rng(0)
    x, h = rng.integers(-9, 9, n) + 1j * rng.integers(-9, 9, n), rng.integers(-9, 9, m) * (1 + 2j)
    assert np.array_equal(definition.convolution(x, h), np.convolve(x, h))
    assert np.array_equal(definition.correlation(x, h), np.correlate(x, h, "full"))
    assert np.array_equal(dv.convolve(x, h), definition.convolution(x, h))
    assert np.array_equal(dv.correlate(x, h), definition.correlation(x, h))


def test_correlation_is_convolution_with_the_flip():
    rng = np.random.default_rng(1)
    x, h = rng.integers(-5, 5, (3, 4, 2)), rng.integers(-5, 5, (2, 3, 2))
    assert np.array_equal(definition.correlation(x, h), definition.convolution(x, definition.flip(h)))
    assert np.array_equal(definition.flip(h), h[::-1, ::-1, ::-1])


@pytest.mark.parametrize("m", range(1, 8))
def test_same_begins_at_the_centre(m):
    x, h = np.arange(1, 6), np.arange(1, m + 1)
    start = definition.centre(m)
    assert np.array_equal(dv.convolve(x, h, "same"), definition.convolution(x, h)[start : start + 5])


@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (2, 1, 3, 1, 2)])
def test_more_than_three_dimensions(shape):
    rng = np.random.default_rng(2)
    x, h = rng.integers(-5, 5, shape), rng.integers(-5, 5, shape[::-1])
    assert np.array_equal(dv.convolve(x, h), definition.convolution(x, h))
    assert np.array_equal(dv.correlate(x, h), definition.correlation(x, h))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_layers_are_their_definition(dimensions, groups):
    rng = np.random.default_rng(dimensions)
    sizes, kernel = (6, 5, 4)[:dimensions], (3, 2, 2)[:dimensions]
    x, y = rng.normal(size=(2, 4, *sizes)), rng.normal(size=(2, 2, *sizes))
    w, b = rng.normal(size=(2, 4 // groups, *kernel)), rng.normal(size=4)
    options = {
        "stride": (2, 1, 2)[:dimensions],
        "padding": ((1, 2), (0, 1), (2, 0))[:dimensions],
        "dilation": (1, 2, 1)[:dimensions],
    }
    expected = definition.layer(x, w, b[:2], groups=groups, **options)
    np.testing.assert_allclose(
        getattr(dv, f"conv{dimensions}d")(x, w, b[:2], groups=groups, **options), expected, rtol=1e-12
    )
    extra = (1, 0, 1)[:dimensions]
    expected = definition.transposed_layer(y, w, b, groups=groups, output_padding=extra, **options)
    actual = getattr(dv, f"conv_transpose{dimensions}d")(y, w, b, groups=groups, output_padding=extra, **options)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("width", [5, 40, 200])
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 7, 8])
def test_rows_and_planes_agree_with_the_definition(width, taps):
    # Both ways of the direct algorithm, all remainders of four taps, kernels wider than the row.
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(1, 1, 6, width)), rng.normal(size=(1, 1, 3, taps))
    options = {"stride": (1, 1), "padding": ((1, 1), (taps, taps - 1)), "dilation": (1, 1)}
    np.testing.assert_allclose(dv.conv2d(x, w, **options), definition.layer(x, w, **options), rtol=1e-12, atol=1e-13)
