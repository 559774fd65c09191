"""Every exercise: its place on a page, its solution, its typical wrong answers, its parts."""

import re
from pathlib import Path

import numpy as np
import pytest

from derivable.exercises import checking
from derivable.exercises.checking import CHAPTERS, EXERCISES
from derivable.exercises.diagnosis import _copy
from derivable.exercises.exercise import LEVELS, Function, Refused, Value, Witness
from derivable_book.snippets import Document, audit
from exercises.wrong_answers import WRONG

DOCS = Path(__file__).parents[2] / "docs"
FUNCTIONS = [e for e in EXERCISES.values() if isinstance(e, Function)]
MISTAKEN = [(e, m) for e in EXERCISES.values() if not isinstance(e, Witness) for m in e.mistakes]
GIVEN = [(id, *entry) for id, entries in WRONG.items() for entry in entries]


@pytest.fixture(autouse=True)
def fresh_records(monkeypatch):
    monkeypatch.setattr(checking, "_RECORDS", {})


def verdict(exercise, answer):
    try:
        return exercise.judge(answer)
    except Refused as refused:
        return refused.finding


def page(chapter):
    return (DOCS / "exercises" / f"{chapter}.md").read_text(encoding="utf-8")


def section(id):
    """The part of a page that belongs to an exercise."""
    chapter, _, number = id.partition(".")
    parts = re.split(r"(?m)^## ", page(chapter))
    found = [part for part in parts if part.partition("\n")[0].endswith(f"{{#{chapter}-{number}}}")]
    assert len(found) == 1, f"one section with the anchor {{#{chapter}-{number}}} on the page of {chapter}"
    return found[0]


def test_every_chapter_has_six_exercises_or_more_numbered_in_order():
    for module in CHAPTERS:
        chapter = module.__name__.rpartition(".")[2]
        assert [e.id for e in module.EXERCISES] == [f"{chapter}.{i}" for i in range(1, len(module.EXERCISES) + 1)]
        assert len(module.EXERCISES) >= 6
        levels = [e.level for e in module.EXERCISES]
        assert set(levels) == set(LEVELS)
        assert levels[0] == "warm-up"
    assert sum(len(module.EXERCISES) for module in CHAPTERS) == len(EXERCISES)
    chapters = {path.stem for path in (DOCS / "chapters").glob("*.md")}
    assert chapters == {module.__name__.rpartition(".")[2] for module in CHAPTERS}


@pytest.mark.parametrize("id", EXERCISES)
def test_an_exercise_stands_on_its_page_with_a_solution_that_is_right(id, tmp_path):
    text = section(id)
    assert text.startswith(f"{id.partition('.')[2]}. {EXERCISES[id].title} ")
    assert text.count(f'print(exercises.ask("{id}"))') == 1
    question, mark, solution = text.partition("\n/// details | Solution\n    type: success\n")
    assert mark, "a folded solution"
    assert "check(" not in question
    (tmp_path / "page.md").write_text(solution, encoding="utf-8")
    blocks = [b.source for b in audit(Document(tmp_path / "page.md", "page.md", solution))]
    assert blocks, "a block of Python in the solution"
    assert re.search(rf'print\(check\("{re.escape(id)}", .*\)\)\n#> {re.escape(id)}: right[.,]', blocks[-1]), id


@pytest.mark.parametrize("id", EXERCISES)
def test_an_exercise_has_hints_that_get_longer_or_at_least_two(id):
    exercise = EXERCISES[id]
    assert 2 <= len(exercise.hints) <= 4
    for text in (*exercise.hints, exercise.asks, exercise.title):
        assert "$" not in text
        assert "\\" not in text
        assert text == text.strip()
    assert exercise.asks.endswith(".") or exercise.asks.endswith(")")
    assert all(hint[-1] in ".?!)" for hint in exercise.hints)


@pytest.mark.parametrize("exercise", FUNCTIONS, ids=lambda e: e.id)
def test_the_right_function_is_right_and_its_parts_make_it_up(exercise):
    assert verdict(exercise, exercise.right) is None
    for case in exercise.all_cases():
        with np.errstate(all="ignore"):
            right = np.asarray(exercise.right(*_copy(case)))
        if right.dtype.kind in "fc":
            assert np.all(np.isfinite(right)), case
        if exercise.terms:
            total = sum(part(*_copy(case)) for part in exercise.terms.values())
            np.testing.assert_allclose(total, right, rtol=1e-9, atol=1e-12)
        if exercise.factors:
            product = np.prod([part(*_copy(case)) for part in exercise.factors.values()], axis=0)
            np.testing.assert_allclose(product, right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("exercise", [e for e in EXERCISES.values() if isinstance(e, Value)], ids=lambda e: e.id)
def test_the_right_value_is_right(exercise):
    assert verdict(exercise, exercise.right() if callable(exercise.right) else exercise.right) is None


@pytest.mark.parametrize(
    ("exercise", "mistake"), MISTAKEN, ids=[f"{e.id}-{m.name}-{i}" for i, (e, m) in enumerate(MISTAKEN)]
)
def test_a_declared_mistake_is_recognised(exercise, mistake):
    finding = verdict(exercise, mistake.answer)
    assert finding is not None, "a wrong answer passes"
    assert (finding.name, finding.message) == (mistake.name, mistake.says)


@pytest.mark.parametrize(("id", "answer", "name", "part"), GIVEN, ids=[f"{g[0]}-{i}" for i, g in enumerate(GIVEN)])
def test_a_wrong_answer_is_refused_with_a_fitting_word(id, answer, name, part):
    result = checking.check(id, answer)
    assert not result
    assert re.fullmatch(name, result.finding), result
    assert part.lower() in result.message.lower(), result


def test_every_exercise_is_tried_with_two_wrong_answers_or_more():
    assert set(WRONG) == set(EXERCISES)
    for id, entries in WRONG.items():
        assert len({(name, part) for _, name, part in entries}) >= 2, id


NONSENSE = (
    None,
    "2x",
    "",
    [],
    {},
    float("nan"),
    lambda: 0,
    "lambda x: x",
    np.array(["a"]),
    (1, 2, 3),
    {1},
    b"x",
    object(),
)


@pytest.mark.parametrize("id", EXERCISES)
def test_nonsense_is_refused_and_never_raises(id):
    for nonsense in NONSENSE:
        result = checking.check(id, nonsense)
        assert not result, nonsense
        assert result.message
        assert result.finding
        assert repr(result).startswith(f"{id}: not yet.")
