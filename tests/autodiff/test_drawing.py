"""Tests of the graph: its tables, its drawing, its text alternative."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from scipy.special import expit

import derivable as dv


def source_problem(w1, w2):
    return np.cos(w1) * np.cos(w2) + expit(w2), np.log(w1 + w2) + w1**2 * w2


source_problem.__name__ = "f"


@pytest.fixture
def graph():
    return dv.trace(source_problem, 1.0, 2.0)


def columns(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


class TestTable:
    def test_jacobian(self, graph):
        expected = [[0.350175488374015, -0.386301911030375], [13 / 3, 4 / 3]]
        np.testing.assert_allclose(graph.jacobian, expected, rtol=1e-14)

    def test_values(self, graph):
        rows = columns(graph.table(digits=14))
        assert rows[0] == ["line", "value"]
        assert rows[1] == ["---", "---"]
        assert ["v5 = v3 + v4", "0.65595198261173"] in rows
        assert ["v10 = v7 + v9", "3.0986122886681"] in rows

    def test_forward(self, graph):
        rows = columns(graph.table("forward", digits=15))
        assert rows[0] == ["line", "value", "partial derivatives", "tangent by w1", "tangent by w2"]
        by_line = {row[0]: row for row in rows}
        assert by_line["w1"][2:] == ["", "1", "0"]
        assert [float(t) for t in by_line["v5 = v3 + v4"][3:]] == pytest.approx([0.350175488374015, -0.386301911030375])
        assert by_line["v8 = w1^2"][2] == "by w1: 2·w1 = 2"
        assert by_line["v7 = log(v6)"][2].startswith("by v6: 1 / v6 = 0.3333")
        assert by_line["v5 = v3 + v4"][2] == "by v3: 1; by v4: 1"
        assert all(len(row) == 5 for row in rows)

    @pytest.mark.parametrize(
        ("output", "expected"), [(0, [0.350175488374015, -0.386301911030375]), (1, [13 / 3, 4 / 3])]
    )
    def test_reverse(self, graph, output, expected):
        rows = {row[0]: row for row in columns(graph.table("reverse", output, digits=15))}
        assert [float(rows[name][1]) for name in ("w1", "w2")] == pytest.approx(expected)
        received = {"w1": 0.0, "w2": 0.0}  # what is sent to a line adds up to its adjoint
        for row in rows.values():
            for name, number in re.findall(r"to (\w+): .*? = (\S+?)(?:;|$)", row[2]):
                received[name] = received.get(name, 0.0) + float(number)
        for name, total in received.items():
            line = next(row for key, row in rows.items() if key.split(" = ")[0] == name)
            assert total == pytest.approx(float(line[1]))
        assert ("v5 = v3 + v4" in rows) == (output == 0)

    def test_constants_and_powers(self):
        table = dv.trace(lambda x: 3 * x**-2.5 - x**3, 2.0).table("forward", digits=4)
        assert "v1 = x^(-2.5)" in table
        assert "by x: (-2.5)·x^(-3.5) = -0.221" in table
        assert "by x: 3·x^2 = 12" in table
        assert "v2 = 3 · v1" in table

    def test_errors(self, graph):
        with pytest.raises(ValueError, match="mode must be one of"):
            graph.table("backward")
        with pytest.raises(ValueError, match="less than the number of results, 2, got 2"):
            graph.table("reverse", 2)
        with pytest.raises(TypeError, match="result 1 of f does not depend"):
            dv.trace(lambda x: (x, 2.0), 1.0)
        with pytest.raises(TypeError, match="the result of f does not depend"):
            dv.trace(lambda x: 2.0, 1.0)
        with pytest.raises(TypeError, match="x must be numeric"):
            dv.trace(lambda x: x, "1")


class TestDrawing:
    def parse(self, svg):
        root = ET.fromstring(svg)
        texts = [(t.text, t.get("class")) for t in root.iter("{http://www.w3.org/2000/svg}text")]
        return root, texts

    def test_values_flow_forwards(self, graph):
        root, texts = self.parse(graph.svg())
        assert root.get("role") == "img"
        forward = [t for t, kind in texts if kind == "dv-forward"]
        assert len(forward) == 17  # 15 edges between lines and 2 to the results
        assert {"0.656", "3.099", "-0.4161", "0.8808"} <= set(forward)
        assert not [t for t, kind in texts if kind == "dv-backward"]

    def test_adjoints_flow_backwards(self, graph):
        _, texts = self.parse(graph.svg(0))
        backward = [t for t, kind in texts if kind == "dv-backward"]
        assert sorted(backward) == sorted(
            ["1", "1", "1", "-0.4161", "0.5403", "0.3502", "-0.4913", "0.105", "0.3502", "-0.3863"]
        )
        assert not any("log" in t for t, _ in texts)  # f1 does not depend on it

    def test_text_alternative(self, graph):
        words = self.parse(graph.svg(1))[0].get("aria-label")
        assert "v7 = log(v6), 1.099" in words
        assert "Backwards from f2" in words
        assert "w1 has adjoint 4.333" in words

    def test_names_are_escaped(self):
        graph = dv.trace(lambda x: x + 1, 1.0)
        graph.output_names[0] = "<script>&"
        self.parse(graph.svg())
        assert "<script>" not in graph.svg()

    def test_nothing_overlaps(self):
        """Boxes in a row keep their distance, and every box lies inside the drawing."""
        graph = dv.trace(lambda x: np.sum(np.tanh(x @ x) * x[0]) / (1 + np.exp(-x[1])) + x[2], np.array([0.3, -1.0, 2]))
        root, _ = self.parse(graph.svg())
        width, height = map(float, root.get("viewBox").split()[2:])
        boxes = [
            tuple(float(r.get(k)) for k in ("x", "y", "width", "height"))
            for r in root.iter("{http://www.w3.org/2000/svg}rect")
        ]
        assert len(boxes) == len(graph.tape.nodes) + 1
        for i, (x, y, w, h) in enumerate(boxes):
            assert x >= 0
            assert y >= 0
            assert x + w <= width
            assert y + h <= height
            for x2, y2, w2, _ in boxes[i + 1 :]:
                assert y != y2 or x + w < x2 or x2 + w2 < x

    def test_arrays_become_one_variable_for_each_element(self):
        graph = dv.trace(lambda x: np.sum(x**2), np.array([1, 2, 3]))
        assert [v.name for v in graph.inputs] == ["x[0]", "x[1]", "x[2]"]
        np.testing.assert_array_equal(graph.jacobian, [[2, 4, 6]])

    def test_repr(self, graph):
        assert repr(graph) == "Graph(w1, w2 -> f1, f2, 10 operations)"
        assert graph._repr_svg_() == graph.svg()

    def test_one_box_only(self):
        self.parse(dv.trace(lambda x: x, 1.0).svg())

    def test_too_large(self):
        with pytest.raises(ValueError, match="at most 200"):
            dv.trace(lambda x: np.sum(x), np.ones(201)).svg()
