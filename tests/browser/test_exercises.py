"""Exercises in the browser: hints and solutions open at a click, and show what the package says."""

import pytest

from derivable.exercises.checking import EXERCISES

pytestmark = pytest.mark.browser

# A click hits what lies on top in the middle of the summary, which is scrolled to before. The driver's own click does
# the same, but waits for some frames each time: with the hundreds of clicks here that is most of the time.
CLICK = """details => {
  const summary = details.querySelector("summary")
  summary.scrollIntoView({block: "center", behavior: "instant"})
  const box = summary.getBoundingClientRect()
  const hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2)
  if (!hit || !summary.contains(hit)) return `${summary.innerText}: covered by ${hit && hit.outerHTML.slice(0, 80)}`
  hit.click()
  return details.open ? "" : `${summary.innerText}: does not open`
}"""


@pytest.mark.parametrize("chapter", sorted({e.chapter for e in EXERCISES.values()}))
def test_every_exercise_opens_by_a_click(visit, chapter):
    exercises = [e for e in EXERCISES.values() if e.chapter == chapter]
    # Each width and each scheme is loaded once, and everything is opened in all four looks.
    for width, loaded, chosen in ((1280, "light", "dark"), (390, "dark", "light")):
        tab = visit(width, loaded)
        tab.open(f"exercises/{chapter}/")
        folded = tab.page.locator("article details")
        assert folded.count() == len(exercises) + sum(len(e.hints) for e in exercises)
        for scheme in (loaded, chosen):
            if scheme != loaded:
                tab.prefer(scheme)
                folded.evaluate_all("parts => parts.forEach(part => part.open = false)")
            words = tab.page.locator("article").inner_text()
            assert not tab.page.locator("article details[open]").count()
            folded.first.locator("summary").first.click()
            for part in folded.element_handles()[1:]:
                assert not part.evaluate(CLICK)
            assert tab.page.locator("article details[open]").count() == folded.count()
            opened = tab.page.locator("article").inner_text()
            for exercise in exercises:
                right = f"{exercise.id}: right"
                assert right not in words
                assert right in opened, f"the solution of {exercise.id} does not show its check"
        assert not tab.trouble
        tab.close()
