"""What the reader calls: results that read well, hints in turn, progress that is kept, errors that help."""

import json
import re
import xml.etree.ElementTree as etree
from pathlib import Path

import numpy as np
import pytest

import derivable as dv
from derivable.exercises import checking
from derivable.exercises.checking import EXERCISES
from derivable.exercises.exercise import Function

SOURCE = Path(dv.__file__).parent


@pytest.fixture(autouse=True)
def fresh_records(monkeypatch):
    monkeypatch.setattr(checking, "_RECORDS", {})
    monkeypatch.setattr(checking, "_FILE", [])


def test_a_right_answer():
    result = dv.exercises.check("descent.4", "1 / sqrt(2 * eta)")
    assert result
    assert repr(result) == "descent.4: right, on 3 fixed and 16 random cases."
    assert result.finding == ""


def test_a_wrong_answer_says_what_is_wrong():
    result = dv.exercises.check("descent.4", "-1 / sqrt(2 * eta)")
    assert not result
    assert repr(result).splitlines()[0] == "descent.4: not yet."
    assert "sign is wrong" in repr(result)
    assert all(len(line) <= 100 for line in repr(result).splitlines())


def test_what_an_answer_raises_is_kept():
    def step(A, g):
        raise KeyError("no\nsuch key")

    result = dv.exercises.check("descent.3", step)
    assert result.finding == "error"
    assert "KeyError" in result.message
    with pytest.raises(KeyError, match="such key"):
        raise result.error


def test_a_function_may_be_compiled():
    from numba import njit

    assert dv.exercises.check("descent.4", njit(lambda eta: (2 * eta) ** -0.5))


@pytest.mark.parametrize("square", [lambda g: g @ g, lambda g: np.linalg.norm(g) ** 2, lambda g: np.sum(g * g)])
@pytest.mark.parametrize("above", [np.greater, np.greater_equal])
def test_rounding_does_not_decide_on_a_line_search(square, above):
    def search(f, gradient, w, eta):
        g = gradient(w)
        while above(f(w - eta * g), f(w) - eta / 2 * square(g)):
            eta /= 2
        return eta

    assert dv.exercises.check("descent.7", search)


def test_a_pair_may_be_the_rows_of_one_array():
    assert dv.exercises.check("networks.5", np.array([[2.0, -2.0], [0.5, 0.5]]))


def test_a_compiled_function_that_cannot_take_functions_is_told_so():
    class Compiled:  # as Numba's functions are, but for the seconds that they take
        def py_func(self, f, gradient, w, eta):
            return eta

        def __call__(self, f, gradient, w, eta):
            raise TypeError("cannot determine Numba type of a function")

    answer = Compiled()
    result = dv.exercises.check("descent.7", answer)
    assert result.finding == "error"
    assert "hand in the plain one" in result.message


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        (lambda A, g: None, "none"),
        (lambda A, g: "x", "kind"),
        (lambda A, g: [1, [2, 3]], "shape"),
        (lambda A, g: print, "kind"),
        (lambda A, g: (g @ g) / (g @ A @ g) + 0j, "complex"),
        (lambda A, g: True, "kind"),
        (lambda A: 1.0, "arguments"),
        (lambda A, g, b: 1.0, "arguments"),
        (lambda g, A: 1.0, "exchanged"),
        (3.0, "kind"),
        (np.eye(2), "kind"),
        (None, "kind"),
    ],
)
def test_answers_of_the_wrong_kind(answer, finding):
    assert dv.exercises.check("descent.3", answer).finding == finding


def test_names_that_changed_places_are_seen_though_another_is_spelled_otherwise():
    result = dv.exercises.check("autodiff.3", lambda X, A, Y: Y @ X.T)
    assert result.finding == "exchanged"
    assert dv.exercises.check("autodiff.3", lambda A, X, Y: Y @ X.T)


def test_an_array_may_be_given_as_text():
    assert dv.exercises.check("autodiff.1", "2 * exp(2) + 1/2, exp(2) − 1/4")
    assert dv.exercises.check("convolution.1", "[1, 1, 2, -4]")
    assert "one number" in dv.exercises.check("convolution.1", "4").message
    assert "infinite" in dv.exercises.check("activations.8", "1/0").message  # and no warning of NumPy's


def test_what_is_off_by_just_as_much_as_asked_is_accepted_on_both_sides_of_rounding():
    for g, d in (([8.1, 3], [0, 1]), ([7.9, 3], [0, 1]), ([8, 3.1], [1, 0]), ([8, 2.9], [1, 0])):
        assert dv.exercises.check("autodiff.6", (g, d)), (g, d)


def test_a_step_that_keeps_the_value_is_not_said_to_lower_it():
    assert "leaves f" in dv.exercises.check("descent.5", (np.diag([20.0, 0.0]), [0.05, 0.0])).message


def test_every_number_that_is_an_argument_takes_more_than_one_value():
    for exercise in EXERCISES.values():
        if isinstance(exercise, Function):
            for name, values in zip(exercise.variables, zip(*exercise.all_cases(), strict=True), strict=True):
                if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
                    assert len(set(values)) > 1, f"{exercise.id} accepts a constant in place of {name}"


def test_an_answer_that_writes_into_its_arguments_is_refused():
    def step(A, g):
        value = (g @ g) / (g @ A @ g)
        g *= 2
        return value

    result = dv.exercises.check("descent.3", step)
    assert result.finding == "in place"
    assert "g.copy()" in result.message


def test_an_answer_is_tried_on_the_same_cases_each_time():
    first, second = EXERCISES["descent.3"].all_cases(), EXERCISES["descent.3"].all_cases()
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    assert str(EXERCISES["descent.6"].all_cases()[-1]) != str(EXERCISES["descent.6"].all_cases()[-2])


def test_a_function_where_a_value_is_asked():
    assert "Call it" in dv.exercises.check("activations.8", lambda: -1.28).message


@pytest.mark.parametrize(
    ("id", "part"),
    [
        ("descnt.3", "did you mean 'descent.3'"),
        ("descent.99", "descent.1 to descent.9"),
        ("descent", "descent.1 to descent.9"),
        ("xyz.1", "one of the chapters"),
        ("", "one of the chapters"),
    ],
)
def test_an_unknown_exercise_is_an_error_that_names_the_close_ones(id, part):
    for verb in (dv.exercises.check, dv.exercises.hint):
        with pytest.raises(ValueError, match=part):
            verb(id, 1)
    with pytest.raises(ValueError, match=part):
        dv.exercises.question(id)


def test_an_id_that_is_no_text():
    with pytest.raises(TypeError, match="id must be a text"):
        dv.exercises.check(3, 1)


def test_an_id_may_have_capitals_and_blanks():
    assert dv.exercises.question(" Descent.4 ").id == "descent.4"


def test_hints_come_in_turn_and_the_last_one_again():
    hints = EXERCISES["activations.6"].hints
    assert [dv.exercises.hint("activations.6").text for _ in range(4)] == [*hints, hints[-1]]
    assert dv.exercises.hint("activations.6", 1).number == 1
    assert "The last one" in repr(dv.exercises.hint("activations.6"))
    assert "The last one" not in repr(dv.exercises.hint("activations.6", 1))


@pytest.mark.parametrize(("number", "error"), [(0, ValueError), (9, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_hint_that_there_is_not(number, error):
    with pytest.raises(error, match="number must be"):
        dv.exercises.hint("activations.6", number)


def test_progress_counts_and_shows():
    dv.exercises.check("descent.4", "1")
    dv.exercises.check("descent.4", "1 / sqrt(2 * eta)")
    dv.exercises.check("descent.4", "1")  # once solved, it stays solved
    dv.exercises.check("descent.3", "1")
    progress = dv.exercises.progress()
    assert progress.solved == ("descent.4",)
    assert progress.total == len(EXERCISES)
    line = next(line for line in repr(progress).splitlines() if line.startswith("descent"))
    assert "··▪■·" in line
    assert line.endswith("1 of 9")
    assert repr(progress).endswith(f"1 of {len(EXERCISES)} solved")
    rows = {row[0]: row for row in dv.exercises.progress("descent").rows}
    assert rows["descent.4"][2:] == (3, 0, True)
    assert "1 tried" in repr(dv.exercises.progress("descent"))


def test_progress_of_no_chapter():
    with pytest.raises(ValueError, match=r"chapter must be one of .*did you mean 'descent'"):
        dv.exercises.progress("desent")


def test_progress_is_kept_in_a_file(tmp_path, monkeypatch):
    file = tmp_path / "exercises.json"
    dv.exercises.keep_progress(file)
    dv.exercises.check("descent.4", "1 / sqrt(2 * eta)")
    dv.exercises.hint("descent.3")
    assert json.loads(file.read_text())["descent.4"] == {"attempts": 1, "solved": True, "hints": 0}
    monkeypatch.setattr(checking, "_RECORDS", {})
    monkeypatch.setattr(checking, "_FILE", [])
    assert dv.exercises.progress().solved == ()
    for _ in range(2):  # a second time adds nothing
        assert dv.exercises.keep_progress(file).solved == ("descent.4",)
    assert dv.exercises.progress("descent").rows[2][3] == 1
    assert dv.exercises.hint("descent.3").number == 2
    dv.exercises.keep_progress(None)
    before = file.read_text()
    dv.exercises.check("descent.4", 1)
    assert file.read_text() == before


@pytest.mark.parametrize("text", ["hello", "[1]", '{"descent.4": 3}', '{"descent.4": {"attempts": "x"}}'])
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
    file = tmp_path / "notes.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match="path must name"):
        dv.exercises.keep_progress(file)
    dv.exercises.check("descent.4", 1)
    assert file.read_text() == text


def test_notebooks_get_html_that_is_well_formed():
    shown = [
        dv.exercises.check("descent.4", "1 / sqrt(2 * eta)"),
        dv.exercises.check("descent.4", "eta < 3"),
        dv.exercises.hint("descent.4"),
        dv.exercises.question("descent.4"),
        dv.exercises.progress(),
        dv.exercises.progress("descent"),
    ]
    for item in shown:
        text = item._repr_html_()
        assert "".join(etree.fromstring(text.replace("<br>", "<br/>")).itertext()).strip()


def test_nothing_imports_the_exercises():
    """But for the package's own lazy attribute; test_jit.py makes sure that this is lazy."""
    importing = re.compile(r"^\s*(?:import|from) derivable(?:\.exercises| import .*\bexercises\b)", re.MULTILINE)
    found = [path for path in SOURCE.rglob("*.py") if importing.search(path.read_text(encoding="utf-8"))]
    outside = [path for path in found if not path.is_relative_to(SOURCE / "exercises")]
    assert outside == [SOURCE / "__init__.py"]
    assert len(found) > len(outside)


def test_the_package_lists_the_exercises_and_refuses_other_names():
    assert "exercises" in dir(dv)
    with pytest.raises(AttributeError, match="no attribute 'exercise'"):
        _ = dv.exercise
