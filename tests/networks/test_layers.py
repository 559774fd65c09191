"""Layers: shapes, initialisation, the written program; networks that cannot be are refused by the layer's name."""

import inspect

import numpy as np
import pytest
from scipy.signal import correlate

import derivable as dv

LAYERS = [
    dv.Conv(3, 3, padding=1),
    dv.Activation("tanh"),
    dv.Conv(4, 2, stride=2),
    dv.Pool(2, "mean"),
    dv.Flatten(),
    dv.Dense(5, init="glorot"),
]


@pytest.fixture(scope="module")
def network():
    return dv.Network(LAYERS, (2, 9, 8))


def by_definition(parameters, X):
    """The network of LAYERS in NumPy and SciPy, one point at a time."""
    (w0, b0), (w1, b1), (w2, b2) = parameters
    scores = []
    for x in X:
        wide = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        h = np.tanh(np.array([correlate(wide, w, "valid")[0] + b for w, b in zip(w0, b0, strict=True)]))
        h = np.array([correlate(h, w, "valid")[0, ::2, ::2] + b for w, b in zip(w1, b1, strict=True)])
        scores.append(h.reshape(4, 2, 2, 2, 2).mean(axis=(2, 4)).ravel() @ w2 + b2)
    return np.array(scores)


def test_shapes_and_numbers_are_those_of_the_definition(network):
    assert network.shapes == ((3, 9, 8), (3, 9, 8), (4, 4, 4), (4, 2, 2), (16,), (5,))
    parameters = network.initial(seed=3, dtype=np.float64)
    assert network.parameter_shapes == tuple(tuple(a.shape for a in pair) for pair in parameters)
    assert network.size == sum(a.size for pair in parameters for a in pair)
    rng = np.random.default_rng(0)
    parameters = tuple((w, rng.normal(size=b.shape)) for w, b in parameters)
    X = rng.normal(size=(5, 2, 9, 8))
    expected = by_definition(parameters, X)
    plain = getattr(network.function, "py_func", network.function)
    np.testing.assert_allclose(plain(parameters, X), expected, rtol=1e-12)
    np.testing.assert_allclose(network(parameters, X, batch=2), expected, rtol=1e-12)
    single = tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in parameters)
    assert plain(single, X.astype(np.float32)).dtype == np.float32


def test_networks_of_one_and_three_dimensions_and_of_vectors():
    for shape, wanted in (((2, 10), (4, 4)), ((2, 10, 10, 10), (4, 4, 4, 4))):
        network = dv.Network([dv.Conv(4, 3), dv.Pool(2)], shape)
        assert network.shapes[-1] == wanted
        X = np.random.default_rng(1).normal(size=(3, *shape))
        plain = getattr(network.function, "py_func", network.function)
        assert plain(network.initial(0, np.float64), X).shape == (3, *wanted)
    assert dv.Network([dv.Dense(3), dv.Activation("relu"), dv.Dense(2)], (4,)).size == 3 * 5 + 2 * 4


def test_the_source_is_the_program(network):
    assert "h = conv2d(h, w0, b0, padding=1)  # (3, 9, 8)" in network.source
    assert "h = conv2d(h, w1, b1, stride=2)" in network.source
    assert "h = avg_pool2d(h, 2)" in network.source
    # The program stands in a file, so that whoever wants can read it: dv.grad, Numba's cache, a traceback.
    assert inspect.getsource(getattr(network.function, "py_func", network.function)) in network.source


def test_initial_weights_have_the_variance_they_should():
    network = dv.Network([dv.Conv(64, 3), dv.Flatten(), dv.Dense(100), dv.Dense(300, "glorot")], (16, 10, 10))
    (w0, b0), (w1, _), (w2, _) = network.initial(0, np.float64)
    assert not b0.any()
    for w, variance in ((w0, 2 / (16 * 9)), (w1, 2 / (64 * 64)), (w2, 2 / 400)):
        # The variance of n normal numbers is estimated to within a relative sqrt(2 / n), here four times that.
        assert w.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / w.size))
        assert abs(w.mean()) < 4 * np.sqrt(variance / w.size)
    again = network.initial(0, np.float64)
    assert np.array_equal(w1, again[1][0])
    assert not np.array_equal(w1, network.initial(1, np.float64)[1][0])
    assert network.initial()[0][0].dtype == np.float32


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([dv.Conv(4, 3), dv.Dense(2)], (1, 8, 8), r"layer 2, Dense\(units=2.*got the shape \(4, 6, 6\): put Flatten"),
        ([dv.Flatten(), dv.Conv(4, 3)], (1, 8, 8), r"layer 2, Conv\(.*needs channels"),
        (
            [dv.Conv(4, 5), dv.Conv(4, 5)],
            (1, 8, 8),
            r"layer 2, Conv\(.*do not fit .* shape \(4, 4, 4\)",
        ),
        ([dv.Dense(3), dv.Pool(2)], (4,), r"layer 2, Pool\("),
        ([dv.Conv(2, 3), dv.Pool(7)], (1, 8, 8), r"layer 2, Pool\(size=7.*windows of size 7"),
        ([dv.Flatten()], (4,), "at least one Dense or Conv"),
        ([dv.Dense(3)], (), "input_shape must have"),
    ],
)
def test_layers_that_do_not_fit_are_refused_by_name(layers, shape, message):
    with pytest.raises(ValueError, match=message):
        dv.Network(layers, shape)


def test_arguments_of_layers_are_checked():
    for make, error, message in (
        (lambda: dv.Dense(0), ValueError, "units must be at least 1"),
        (lambda: dv.Dense(2.5), TypeError, "units must be an int"),
        (lambda: dv.Dense(2, "zeros"), ValueError, "init must be one of 'he', 'glorot'"),
        (lambda: dv.Conv(4, 3, padding=-1), ValueError, "padding must be at least 0"),
        (lambda: dv.Pool(2, "sum"), ValueError, "kind must be one of 'max', 'mean'"),
        (lambda: dv.Activation("step"), ValueError, "name must be one of 'softsign'"),
        (lambda: dv.Network([dv.Dense(2), "relu"], (2,)), TypeError, "got 'relu' as layer 2"),
        (lambda: dv.Network([dv.Flatten, dv.Dense(2)], (2,)), TypeError, r"as layer 1: write Flatten\(...\)"),
        (lambda: dv.Network(dv.Dense(2), (2,)), TypeError, r"layers must be a sequence .* got Dense\(units=2"),
        (lambda: dv.Network("relu", (2,)), TypeError, "layers must be a sequence .* got 'relu'"),
        (lambda: dv.Network([dv.Dense(2)], 2), TypeError, "input_shape must be a tuple"),
        (lambda: dv.Network([dv.Dense(2)], (2,)).initial(dtype=int), ValueError, "dtype must be float32 or float64"),
        (lambda: dv.Network([dv.Dense(2)], (2,)).initial(dtype="half a float"), ValueError, "got 'half a float'"),
    ):
        with pytest.raises(error, match=message):
            make()


def test_parameters_and_points_are_checked():
    network = dv.Network([dv.Dense(2)], (3,))
    parameters = network.initial()
    with pytest.raises(ValueError, match=r"parameters must have the shapes \(\(\(3, 2\), \(2,\)\),\), got"):
        network(((np.ones((2, 2)), np.ones(2)),), np.ones((1, 3)))
    with pytest.raises(TypeError, match="tuple of pairs"):
        network(parameters[0], np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"X must have the shape \(points, 3\), got \(1, 4\)"):
        network(parameters, np.ones((1, 4)))
