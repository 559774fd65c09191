"""Numbers and theorems which the chapter speaks of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import derivable as dv


def test_toeplitz_of_123():
    T = dv.toeplitz([1, 2, 3], 5)
    assert T.shape == (7, 5)
    assert (T @ np.arange(1, 6)).tolist() == [1, 4, 10, 16, 22, 22, 15]
    assert np.linalg.norm(T, 2) == pytest.approx(5.60481, abs=5e-6)


def test_circulant_eigenvalues_are_the_fourier_transform():
    C = dv.circulant([1, 2, 3], 5)
    spectrum = np.fft.fft([1, 2, 3, 0, 0])
    for k in range(5):
        wave = np.exp(2j * np.pi * k * np.arange(5) / 5)
        np.testing.assert_allclose(C @ wave, spectrum[k] * wave, atol=1e-12)
    assert np.linalg.norm(C, 2) == pytest.approx(6)


def test_the_matrices_that_commute_with_the_shift_have_dimension_5():
    S = dv.circulant([0, 1], 5)
    # vec(AS - SA) = (S^T kron I - I kron S) vec(A)
    commutator = np.kron(S.T, np.eye(5)) - np.kron(np.eye(5), S)
    assert 25 - np.linalg.matrix_rank(commutator) == 5
    for k in range(5):
        C = dv.circulant(np.eye(5)[k], 5)
        assert np.array_equal(C @ S, S @ C)


def test_zero_padding_breaks_equivariance_at_the_boundary():
    x, h = np.array([0, 0, 0, 0, 1]), [1, 2, 3]
    assert dv.convolve(np.roll(x, 1), h, "same").tolist() == [2, 3, 0, 0, 0]
    assert np.roll(dv.convolve(x, h, "same"), 1).tolist() == [2, 0, 0, 0, 1]
    assert np.array_equal(dv.convolve(np.roll(x, 1), h, "same", "wrap"), np.roll(dv.convolve(x, h, "same", "wrap"), 1))


@given(shift=st.tuples(st.integers(-5, 5), st.integers(-5, 5)), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_circular_layers_commute_with_shifts(shift, seed):
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(1, 2, 6, 7)), rng.normal(size=(3, 2, 3, 2))

    def layer(v):
        return dv.conv2d(v, w, padding="same", padding_mode="circular")

    np.testing.assert_allclose(
        layer(np.roll(x, shift, (2, 3))), np.roll(layer(x), shift, (2, 3)), rtol=1e-12, atol=1e-12
    )


def test_stride_keeps_equivariance_only_for_its_multiples():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 1, 8)), rng.normal(size=(1, 1, 3))

    def layer(v):
        return dv.conv1d(v, w, stride=2, padding=((1, 1),), padding_mode="circular")

    np.testing.assert_allclose(layer(np.roll(x, 2, 2)), np.roll(layer(x), 1, 2), rtol=1e-12)
    assert not any(np.allclose(layer(np.roll(x, 1, 2)), np.roll(layer(x), k, 2)) for k in range(4))


def test_parameters_of_a_video_layer():
    assert 16 * 3 * 3 * 5 * 5 + 16 == 3616
    assert dv.conv3d(np.zeros((1, 3, 8, 16, 16)), np.zeros((16, 3, 3, 5, 5)), np.zeros(16)).shape == (1, 16, 6, 12, 12)


@given(
    n=st.integers(1, 40), k=st.integers(1, 6), s=st.integers(1, 5), p=st.integers(0, 4), q=st.integers(0, 4),
    d=st.integers(1, 4),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_output_size_counts_the_places_where_the_kernel_fits(n, k, s, p, q, d):
    places = [i for i in range(0, n + p + q, s) if i + d * (k - 1) < n + p + q]
    if not places:
        with pytest.raises(ValueError, match="padded input"):
            dv.output_size(n, k, s, ((p, q),), d)
        return
    size = dv.output_size(n, k, s, ((p, q),), d)
    assert size == len(places)
    if p == q:
        # The transposed size goes back, to the n which leaves no rest.
        rest = (n + 2 * p - d * (k - 1) - 1) % s
        back = (size - 1) * s - 2 * p + d * (k - 1) + 1
        assert back == n - rest
        if rest < max(s, d) and back + rest >= 1:
            assert dv.output_size(size, k, s, p, d, transposed=True, output_padding=rest) == n


@given(n=st.integers(1, 30), k=st.integers(1, 6), s=st.integers(1, 5), d=st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_same_gives_the_ceiling(n, k, s, d):
    assert dv.output_size(n, k, s, "same", d) == dv.output_size(n, k, s, "same_lower", d) == -(-n // s)


def test_same_and_same_lower_differ_where_the_rest_goes():
    x, w = np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.array([[[1.0, 10.0]]])
    assert dv.conv1d(x, w, padding="same").tolist() == [[[21, 32, 43, 4]]]
    assert dv.conv1d(x, w, padding="same_lower").tolist() == [[[10, 21, 32, 43]]]
    # With a stride "same" pads only behind here, padding=1 both sides: other outputs, as many of them.
    x, w = np.arange(6.0).reshape(1, 1, 6), np.array([[[0.0, 1.0, 0.0]]])
    assert dv.conv1d(x, w, stride=2, padding="same").tolist() == [[[1, 3, 5]]]
    assert dv.conv1d(x, w, stride=2, padding=1).tolist() == [[[0, 2, 4]]]
