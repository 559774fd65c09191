"""Figures: the same text each time, names of their own, the page's colours, words beside the picture."""

import re
import xml.etree.ElementTree as etree
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def drawing(figures):
    from figures import drawing

    return drawing


def draw(drawing, label="a-figure", **words):
    fig, ax = drawing.new()
    x = np.linspace(-1, 1, 20)
    ax.fill_between(x, x**2, color=drawing.BLUE, alpha=0.2)
    ax.plot(x, x**2, color=drawing.ORANGE, label="$x^2$")
    ax.scatter([0], [0], color=drawing.RED)
    ax.legend()
    words = {"caption": "A parabola, $x^2$.", "alt": 'A parabola that is "open" above', **words}
    return drawing.figure(fig, label=label, **words)


def test_a_figure_is_the_same_each_time_and_is_xml(drawing):
    first, second = draw(drawing), draw(drawing)
    assert first == second
    figure = etree.fromstring(first)
    assert figure.get("id") == "a-figure"
    svg = figure[0]
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == 'A parabola that is "open" above'
    assert "width" not in svg.attrib
    assert figure[1].tag == "figcaption"
    assert figure[1].find(".//math") is not None


def test_two_figures_share_no_name_and_every_reference_is_kept(drawing):
    first, second = draw(drawing), draw(drawing, "another")
    names = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, second)]
    assert not names[0] & names[1]
    for text, known in zip((first, second), names, strict=True):
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
        assert used
        assert used <= known


def test_every_colour_is_the_pages(drawing):
    text = draw(drawing)
    assert set(re.findall(r"#[0-9a-f]{6}\b", text)) == set()
    assert {"var(--fig-orange)", "var(--fig-blue)", "var(--fig-ink)"} <= set(re.findall(r"var\([^)]*\)", text))
    assert "<style" not in text
    assert "metadata" not in text


def test_every_colour_is_defined_for_both_themes(drawing):
    docs = Path(__file__).resolve().parents[2] / "docs"
    css = (docs / "assets/stylesheets/extra.css").read_text(encoding="utf-8")
    for name in drawing._PROPERTIES.values():
        source = re.search(rf"{name}: var\((--[\w-]+)\)", css)
        assert source, name
        assert len(re.findall(rf"{source.group(1)}: #", css)) >= 2, name


@pytest.mark.parametrize("words", [{"caption": " "}, {"alt": ""}, {"label": "Not a slug"}])
def test_a_figure_needs_its_words(drawing, words):
    with pytest.raises(ValueError, match=r"figure|label"):
        draw(drawing, **words)
