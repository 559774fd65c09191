"""Exercises in the browser: hints and solutions open at a click, and show what the package says."""

import pytest

from browser.conftest import LOOKS
from derivable.exercises.checking import EXERCISES

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("chapter", sorted({e.chapter for e in EXERCISES.values()}))
def test_every_exercise_opens_by_a_click(visit, chapter):
    exercises = [e for e in EXERCISES.values() if e.chapter == chapter]
    for width, scheme in LOOKS:
        tab = visit(width, scheme)
        tab.open(f"exercises/{chapter}/")
        words = tab.page.locator("article").inner_text()
        folded = tab.page.locator("article details")
        assert folded.count() == len(exercises) + sum(len(e.hints) for e in exercises)
        assert not tab.page.locator("article details[open]").count()
        for index in range(folded.count()):
            folded.nth(index).locator("summary").first.click()
        assert tab.page.locator("article details[open]").count() == folded.count()
        opened = tab.page.locator("article").inner_text()
        for exercise in exercises:
            right = f"{exercise.id}: right"
            assert right not in words
            assert right in opened, f"the solution of {exercise.id} does not show its check"
        assert not tab.trouble
        tab.close()
