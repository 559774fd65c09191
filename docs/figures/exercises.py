"""What the pages of exercises say from the package itself: what to hand in, and the hints."""

import html
import re

from derivable.exercises.checking import EXERCISES


def _text(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def ask(id: str) -> str:
    exercise = EXERCISES[id]
    level = exercise.level[0].upper() + exercise.level[1:]
    found = [
        f'<p class="exercise-asks"><strong>{level}.</strong> Hand in {_text(exercise.asks)}<br>'
        f'<code>check("{id}", answer)</code></p>'
    ]
    for number, hint in enumerate(exercise.hints, 1):
        found.append(f'<details class="tip"><summary>Hint {number}</summary><p>{_text(hint)}</p></details>')
    return "\n".join(found)
