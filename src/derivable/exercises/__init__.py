"""Exercises that check themselves: `check` tries an answer and says what is wrong with it.

The exercises stand on the book's pages, one for each chapter. This subpackage imports the others and is imported by none:
`derivable.exercises` is loaded when it is first used.
"""

from derivable.exercises.checking import (
    Hint,
    Progress,
    Question,
    Result,
    check,
    hint,
    keep_progress,
    progress,
    question,
)

__all__ = ["Hint", "Progress", "Question", "Result", "check", "hint", "keep_progress", "progress", "question"]
