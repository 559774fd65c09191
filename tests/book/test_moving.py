"""Figures that move: what the page holds is every position, each text once, over the controls that change it."""

import html
import itertools
import json
import re

import numpy as np
import pytest


@pytest.fixture
def moving(figures):
    from figures import moving

    return moving


def build(moving, leave_out=None, stop=None):
    """A point that goes along a parabola, on one of two heights."""
    from figures.drawing import BLUE, new

    fig, ax = new()
    ax.plot([0, 1], [0, 4], color=BLUE)
    controls = [
        moving.Control("height", "height $h$", [0.0, 2.0]),
        moving.Control("x", "place", [0.0, 0.5, 1.0], start=1, text="{:.1f}".format),
    ]
    figure = moving.Moving(fig, controls)
    line, dot = figure.line(ax, BLUE), figure.dots(ax, BLUE)
    wanted = []
    for number, at in enumerate(figure.positions()):
        y = at.height + at.x**2
        figure.put(line, [0, 1, np.nan, 0, 1], [at.height, at.height, np.nan, 0, 0])
        if number != leave_out:
            figure.put(dot, [at.x], [y])
        figure.say("y", "$y$ & more", f"{y:g} <")
        wanted.append(f"{y:g} <")
        if number == stop:
            break
    return figure, wanted


WORDS = {"label": "a-figure", "caption": "A point, $x^2$.", "alt": "A point"}


def read(text):
    data = json.loads(html.unescape(re.search(r"<template[^>]*>(.*?)</template>", text).group(1)))
    return data["counts"], data["slots"]


def test_every_position_can_be_read_back(moving):
    figure, wanted = build(moving)
    frames = [dict(frame) for frame in figure._frames]
    text = figure.html(**WORDS)
    counts, slots = read(text)
    assert counts == [2, 3]
    for at, frame in zip(itertools.product(*map(range, counts)), frames, strict=True):
        found = {}
        for slot in slots:  # as moving.js does it
            index = 0
            for control in slot["by"]:
                index = index * counts[control] + at[control]
            found[slot["part"], slot["set"]] = slot["values"][slot["at"][index]]
        assert found == frame
    number = re.search(r'data-part="(\d+)" data-number="y">([^<]*)<', text)
    assert html.unescape(number.group(2)) == wanted[1]  # the first position is where the controls start
    by = {(slot["part"], slot["set"]): slot["by"] for slot in slots}
    assert by[int(number.group(1)), "text"] == [0, 1]
    assert [0] in by.values()  # the line hangs on the height alone
    assert [1] in by.values()  # and what the second slider says, on itself


def test_marks_lie_where_matplotlib_draws(moving):
    figure, _ = build(moving)
    text = figure.html(**WORDS)
    straight = re.findall(r'd="M ([\d.]+) ([\d.]+)\s*L ([\d.]+) ([\d.]+)\s*" clip-path', text)
    rising = [np.array(ends, dtype=float) for ends in straight if ends[0] != ends[2] and ends[1] != ends[3]]
    (begin,) = [ends[:2] for ends in rising]  # the only slanting line: the one of the ground
    _, slots = read(text)
    strokes = [slot for slot in slots if slot["set"] == "d"]
    first, last = strokes[1]["values"][0], strokes[0]["values"][0]
    dot = np.array(re.match(r"M([\d.]+) ([\d.]+)h0", first).groups(), dtype=float)
    assert np.abs(dot - begin).max() < 0.11  # x = 0, height 0: where the line of the ground begins
    assert last.count("M") == 2  # a gap at nan


@pytest.mark.parametrize(("spoil", "words"), [({"leave_out": 4}, "position 4"), ({"stop": 3}, "4 positions of 6")])
def test_a_figure_with_holes_is_refused(moving, spoil, words):
    figure, _ = build(moving, **spoil)
    with pytest.raises(ValueError, match=words):
        figure.html(**WORDS)


def test_the_controls_have_names_and_say_where_they_are(moving):
    figure, _ = build(moving)
    text = figure.html(**WORDS)
    assert re.search(r'<label for="a-figure--x">place</label><input type="range" id="a-figure--x"', text)
    assert 'aria-valuetext="0.5"' in text
    assert re.search(r'class="moving-controls" role="group" aria-label="[^"]+" hidden', text)
    assert "height <span" in text or "height <math" in text
