"""Tests of the tape, against dual numbers, the complex step, torch and itself nested."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import derivable as dv


def gradient(f):
    def g(x):
        tape = dv.Tape()
        variable = tape.variable(x)
        return tape.gradient(f(variable), variable)

    return g


class TestTape:
    def test_source_problem(self):
        tape = dv.Tape()
        w1, w2 = tape.variable(1.0), tape.variable(2.0)
        f1 = np.cos(w1) * np.cos(w2) + 1 / (1 + np.exp(-w2))
        f2 = np.log(w1 + w2) + w1**2 * w2
        np.testing.assert_allclose([f1.value, f2.value], [0.655951982611730, 3.09861228866811], rtol=1e-14)
        rows = [tape.gradient(f, (w1, w2)) for f in (f1, f2)]
        np.testing.assert_allclose(rows, [[0.350175488374015, -0.386301911030375], [13 / 3, 4 / 3]], rtol=1e-14)

    def test_the_list(self):
        tape = dv.Tape()
        x = tape.variable(3.0, "x")
        y = 2 * x + x * x
        assert y is tape.nodes[-1]
        assert [node.operation for node in tape.nodes] == ["", "multiply", "multiply", "add"]
        assert [node.name for node in tape.nodes] == ["x", "v1", "v2", "v3"]
        assert [node.partials for node in tape.nodes] == [
            (),
            ((0, 2.0),),
            ((0, 3.0), (0, 3.0)),
            ((1, 1.0), (2, 1.0)),
        ]
        assert tape.steps == 3
        assert tape.adjoints(y) == [8.0, 1.0, 1.0, 1.0]
        assert tape.tangents({0: 1.0}) == [1.0, 2.0, 6.0, 8.0]

    @settings(max_examples=40)
    @given(x=hnp.arrays(np.float64, 3, elements=st.floats(-2, 2)))
    def test_arrays(self, x):
        a = np.array([[1.0, -2.0, 0.5], [0.3, 0.7, 2.0]])

        def f(x):
            return np.sum(np.tanh(a @ x) ** 2) * np.exp(-x[0]) + x[1] * x[2]

        np.testing.assert_allclose(gradient(f)(x), dv.complex_step(f, x), rtol=1e-11, atol=1e-12)

    @settings(max_examples=40)
    @given(
        x=hnp.arrays(np.float64, 3, elements=st.floats(-2, 2)),
        v=hnp.arrays(np.float64, 3, elements=st.floats(-2, 2)),
    )
    def test_backwards_is_the_transpose_of_forwards(self, x, v):
        tape = dv.Tape()
        nodes = tape.variable(x)
        out = np.sin(nodes[0] * nodes[1]) / (1 + nodes[2] ** 2)
        forwards = tape.tangents({node.index: d for node, d in zip(nodes, v, strict=True)})[out.index]
        backwards = tape.gradient(out, nodes) @ v
        assert forwards == pytest.approx(backwards, rel=1e-13, abs=1e-13)

    def test_matrices_keep_their_shape(self):
        x = np.arange(6.0).reshape(2, 3)
        found = gradient(lambda x: np.sum((x @ x.T) ** 2))(x)
        np.testing.assert_allclose(found, 4 * (x @ x.T) @ x)

    def test_nested(self):
        f = lambda x: np.sin(x) * np.exp(x)  # noqa: E731
        assert gradient(gradient(f))(0.3) == pytest.approx(2 * np.exp(0.3) * np.cos(0.3), rel=1e-14)
        forward_over_reverse = dv.Dual.jvp(gradient(f), 0.3, 1.0)[1]
        reverse_over_forward = gradient(lambda x: dv.Dual.jvp(f, x, 1.0)[1])(0.3)
        assert forward_over_reverse == pytest.approx(2 * np.exp(0.3) * np.cos(0.3), rel=1e-14)
        assert reverse_over_forward == pytest.approx(2 * np.exp(0.3) * np.cos(0.3), rel=1e-14)

    def test_two_tapes_are_not_confused(self):
        assert gradient(lambda x: x * gradient(lambda y: x + y)(1.0))(1.0) == 1.0

    def test_hessian_times_vector(self):
        def f(x):
            return np.sum(x**3) + x[0] * x[1]

        x, v = np.array([1.0, 2.0]), np.array([0.5, -1.0])
        _, found = dv.Dual.jvp(gradient(f), x, v)
        np.testing.assert_allclose(found, np.array([[6.0, 1.0], [1.0, 12.0]]) @ v)

    def test_what_the_result_does_not_depend_on_sends_nothing(self):
        """An unused line with an infinite partial derivative must not make 0 * inf = NaN."""
        tape = dv.Tape()
        x = tape.variable(0.0)
        with np.errstate(divide="ignore"):
            np.sqrt(x)
        assert tape.gradient(x * 3, x) == 3.0

    def test_ties_are_shared(self):
        np.testing.assert_array_equal(gradient(lambda x: np.maximum(x[0], x[1]))(np.ones(2)), [0.5, 0.5])
        assert gradient(abs)(0.0) == 0.0

    def test_errors(self):
        tape = dv.Tape()
        with pytest.raises(ValueError, match="output must be a node of this tape"):
            tape.gradient(3.0, ())
        with pytest.raises(ValueError, match="output must be a node of this tape"):
            tape.gradient(dv.Tape().variable(1.0), ())
        with pytest.raises(TypeError, match=r"np\.sin, not math\.sin"):
            float(tape.variable(1.0))

    @pytest.mark.peer
    def test_against_torch(self):
        torch = pytest.importorskip("torch", reason="torch is the oracle here")
        x = np.array([0.5, -1.2, 2.0])
        t = torch.tensor(x, requires_grad=True)
        (torch.sum(torch.sin(t) * t / (1 + torch.exp(-t))) * torch.atan2(t[0], t[1]) ** 2).backward()
        found = gradient(lambda x: np.sum(np.sin(x) * x / (1 + np.exp(-x))) * np.arctan2(x[0], x[1]) ** 2)(x)
        np.testing.assert_allclose(found, t.grad.numpy(), rtol=1e-13)
