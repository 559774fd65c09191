"""What the reader calls: `check`, `hint`, `question`, `progress`, `keep_progress`."""

from __future__ import annotations

import difflib
import html
import json
import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from derivable.exercises import (
    activations,
    autodiff,
    convergence,
    convolution,
    descent,
    generalization,
    networks,
    stochastic,
)
from derivable.exercises.exercise import Exercise, Refused
from derivable.validation import check_count

__all__ = [
    "EXERCISES",
    "Hint",
    "Progress",
    "Question",
    "Result",
    "check",
    "hint",
    "keep_progress",
    "progress",
    "question",
]

CHAPTERS = (activations, descent, convergence, autodiff, convolution, stochastic, networks, generalization)
EXERCISES: dict[str, Exercise] = {exercise.id: exercise for chapter in CHAPTERS for exercise in chapter.EXERCISES}
"""Every exercise by its id, in the order of the book."""

WIDTH = 100


@dataclass
class _Record:
    """What happened to one exercise in this session."""

    attempts: int = 0
    solved: bool = False
    hints: int = 0


_RECORDS: dict[str, _Record] = {}
_FILE: list[Path] = []


def _wrap(text: str, indent: str = "  ") -> str:
    lines = [
        textwrap.fill(line, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
        for line in text.splitlines()
    ]
    return "\n".join(lines)


def _find(id: str) -> Exercise:
    if not isinstance(id, str):
        raise TypeError(f"id must be a text such as 'convergence.3', got {type(id).__name__} {id!r}")
    name = id.strip().lower()
    if name in EXERCISES:
        return EXERCISES[name]
    chapters = sorted({e.chapter for e in EXERCISES.values()})
    chapter, _, _ = name.partition(".")
    if chapter in chapters:
        known = [e for e in EXERCISES if e.startswith(chapter + ".")]
        raise ValueError(f"id must be that of an exercise, got {id!r}; this chapter has {known[0]} to {known[-1]}")
    close = difflib.get_close_matches(chapter, chapters, n=1, cutoff=0.6)
    if close:
        meant = name.replace(chapter, close[0], 1)
        meant = meant if meant in EXERCISES else f"{close[0]}.1"
        raise ValueError(f"id must be that of an exercise, got {id!r}; did you mean {meant!r}?")
    raise ValueError(f"id must be CHAPTER.NUMBER with one of the chapters {', '.join(chapters)}, got {id!r}")


# -------------------------------------------------------------------------------------------- results


@dataclass(frozen=True)
class Result:
    """Whether an answer is right, and what is wrong with it if it is not. It is true if the answer is right.

    Attributes:
        id: the exercise.
        correct: whether the answer is right.
        finding: the kind of mistake, in one or two words; empty for a right answer.
        message: what to say to it.
        error: the exception that the answer raised, if it did: `raise result.error` shows where.
    """

    id: str
    correct: bool
    finding: str
    message: str
    error: BaseException | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.correct

    def __repr__(self) -> str:
        if self.correct:
            return f"{self.id}: right{', ' + self.message if self.message else ''}."
        return f"{self.id}: not yet.\n{_wrap(self.message)}"

    def _repr_html_(self) -> str:
        colour, word = ("#2f6f3e", "right") if self.correct else ("#a9500c", "not yet")
        tail = f", {html.escape(self.message)}." if self.correct and self.message else "."
        body = (
            "" if self.correct else f"<p style='margin:.3em 0 0;white-space:pre-wrap'>{html.escape(self.message)}</p>"
        )
        return (
            f"<div role='status' style='border-left:4px solid {colour};padding:.2em .8em'>"
            f"<strong>{html.escape(self.id)}: {word}</strong>{tail}{body}</div>"
        )


@dataclass(frozen=True)
class Hint:
    """A hint.

    Attributes:
        id: the exercise.
        number: which hint, from 1.
        of: how many there are.
        text: what it says.
    """

    id: str
    number: int
    of: int
    text: str

    def __repr__(self) -> str:
        more = "" if self.number < self.of else "\n  (The last one. The solution is on the exercise's page.)"
        return f"{self.id}, hint {self.number} of {self.of}:\n{_wrap(self.text)}{more}"

    def _repr_html_(self) -> str:
        return (
            f"<p><strong>{html.escape(self.id)}, hint {self.number} of {self.of}.</strong> {html.escape(self.text)}</p>"
        )


@dataclass(frozen=True)
class Question:
    """What an exercise asks.

    Attributes:
        id: the exercise.
        title: a few words.
        level: "warm-up", "core" or "hard".
        asks: what to hand in.
    """

    id: str
    title: str
    level: str
    asks: str

    def __repr__(self) -> str:
        return f"{self.id} ({self.level}): {self.title}\n{_wrap('Hand in ' + self.asks)}"

    def _repr_html_(self) -> str:
        head = f"<strong>{html.escape(self.id)}</strong> ({self.level}): {html.escape(self.title)}"
        return f"<p>{head}<br>Hand in {html.escape(self.asks)}</p>"


@dataclass(frozen=True)
class Progress:
    """How far this session has come.

    Attributes:
        rows: for each exercise its id, title, number of attempts, hints seen, and whether it is solved.
        detailed: whether to show each exercise, and not each chapter.
    """

    rows: tuple[tuple[str, str, int, int, bool], ...]
    detailed: bool = False

    @property
    def solved(self) -> tuple[str, ...]:
        """The exercises that are solved."""
        return tuple(row[0] for row in self.rows if row[4])

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.rows)

    def _lines(self) -> list[tuple[str, str, str]]:
        if self.detailed:
            return [
                (id, title, "solved" if solved else f"{attempts} tried" if attempts else "")
                for id, title, attempts, _, solved in self.rows
            ]
        found = []
        for chapter in dict.fromkeys(row[0].partition(".")[0] for row in self.rows):
            rows = [row for row in self.rows if row[0].partition(".")[0] == chapter]
            bar = "".join("■" if row[4] else "▪" if row[2] else "·" for row in rows)
            found.append((chapter, bar, f"{sum(row[4] for row in rows)} of {len(rows)}"))
        return found

    def __repr__(self) -> str:
        lines = self._lines()
        widths = [max(len(line[i]) for line in lines) for i in range(2)]
        text = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in lines]
        return "\n".join([*text, f"{len(self.solved)} of {self.total} solved"])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(a)}</th><td style='text-align:left'>{html.escape(b)}</td>"
            f"<td>{html.escape(c)}</td></tr>"
            for a, b, c in self._lines()
        )
        return f"<table><caption>{len(self.solved)} of {self.total} solved</caption>{cells}</table>"


# ----------------------------------------------------------------------------------------------- verbs


def check(id: str, answer: Any) -> Result:
    """Try an answer to an exercise, and say what is wrong with it if it is not right.

    Args:
        id: the exercise: its chapter and number, such as "convergence.3".
        answer: a number or an array (or its text, such as `"[1, sqrt(2)]"`); a function; or a formula as text, such as
            `"2 * L / (mu + L)"`, where the exercise asks for one. A function is called on fixed and on random
            arguments, the same ones each time.

    Returns:
        The [`Result`][derivable.exercises.Result]: it is true or false, and prints what there is to say.

    Raises:
        ValueError: if there is no such exercise. (An answer never raises; what it raises is part of the result.)

    Examples:
        ```python
        import derivable as dv

        print(dv.exercises.check("activations.1", "1 / (1 + x**2)"))
        #> activations.1: not yet.
        #>   The inner derivative is there, but what is squared is the argument of arctan, πx/2, not x.
        print(bool(dv.exercises.check("activations.1", "1 / (1 + (pi * x / 2)**2)")))
        #> True
        ```
    """
    exercise = _find(id)
    error = None
    try:
        finding = exercise.judge(answer)
    except Refused as refused:
        finding, error = refused.finding, refused.cause
    record = _RECORDS.setdefault(exercise.id, _Record())
    record.attempts += 1
    record.solved |= finding is None
    _write()
    if finding is None:
        return Result(exercise.id, True, "", exercise.tried)
    message = finding.message
    if finding.name == "value":  # nothing better was found to say
        message += f' For a hint: dv.exercises.hint("{exercise.id}").'
    return Result(exercise.id, False, finding.name, message, error)


def hint(id: str, number: int | None = None) -> Hint:
    """Give the next hint to an exercise.

    Args:
        id: the exercise, such as "convergence.3".
        number: which one, from 1; by default the one after the last that was seen, and the last one again after that.

    Returns:
        The hint.

    Examples:
        ```python
        import derivable as dv

        print(dv.exercises.hint("activations.2", 1))
        #> activations.2, hint 1 of 2:
        #>   Solve y = ln(1 + eˣ) for x first. Then look at the result for large y and for small y.
        ```
    """
    exercise = _find(id)
    record = _RECORDS.setdefault(exercise.id, _Record())
    count = len(exercise.hints)
    if number is None:
        number = min(record.hints + 1, count)
    elif check_count(number, "number") > count:
        raise ValueError(f"number must be at most {count}, the number of hints of {exercise.id}, got {number}")
    record.hints = max(record.hints, number)
    _write()
    return Hint(exercise.id, number, count, exercise.hints[number - 1])


def question(id: str) -> Question:
    """Say what an exercise asks to hand in. The question itself, with its formulas, is on the exercise's page.

    Args:
        id: the exercise, such as "convergence.3".

    Returns:
        The question.

    Examples:
        ```python
        import derivable as dv

        print(dv.exercises.question("activations.1"))
        #> activations.1 (warm-up): The arctangent as an activation
        #>   Hand in a function of x, or a formula: the derivative.
        ```
    """
    exercise = _find(id)
    return Question(exercise.id, exercise.title, exercise.level, exercise.asks)


def progress(chapter: str | None = None) -> Progress:
    """Say how many exercises were solved in this session.

    Args:
        chapter: a chapter's name, to see each of its exercises; by default each chapter is one line. There ■ is an exercise that is
            solved, ▪ one that was tried.

    Returns:
        The [`Progress`][derivable.exercises.Progress].

    Examples:
        ```python
        import derivable as dv

        print(dv.exercises.progress().total >= 42)
        #> True
        ```
    """
    chapters = list(dict.fromkeys(e.chapter for e in EXERCISES.values()))
    if chapter is not None and chapter not in chapters:
        close = difflib.get_close_matches(str(chapter), chapters, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"chapter must be one of {', '.join(chapters)}, got {chapter!r}{meant}")
    rows = []
    for exercise in EXERCISES.values():
        if chapter in (None, exercise.chapter):
            record = _RECORDS.get(exercise.id, _Record())
            rows.append((exercise.id, exercise.title, record.attempts, record.hints, record.solved))
    return Progress(tuple(rows), chapter is not None)


def keep_progress(path: str | os.PathLike[str] | None) -> Progress:
    """Keep the progress in a file, from one session to the next.

    What the file says already counts from now on in this session too. Each `check` and `hint` writes the file.

    Args:
        path: a file, made if there is none; JSON. None stops keeping.

    Returns:
        The progress so far.

    Raises:
        ValueError: if there is a file that this function has not written.

    Examples:
        ```python
        import tempfile
        from pathlib import Path
        import derivable as dv

        with tempfile.TemporaryDirectory() as folder:
            dv.exercises.keep_progress(Path(folder) / "exercises.json")
            dv.exercises.check("activations.1", 3.0)
            print((Path(folder) / "exercises.json").exists())
            dv.exercises.keep_progress(None)
        #> True
        ```
    """
    if path is None:
        _FILE.clear()
        return progress()
    file = Path(path)
    if file.exists():
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            rows = {id: _Record(int(r["attempts"]), bool(r["solved"]), int(r["hints"])) for id, r in stored.items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(f"path must name a new file or one written by keep_progress, got {str(file)!r}") from None
        for id, row in rows.items():
            if id in EXERCISES:
                record = _RECORDS.setdefault(id, _Record())
                record.attempts = max(record.attempts, row.attempts)
                record.solved |= row.solved
                record.hints = max(record.hints, row.hints)
    _FILE[:] = [file]
    _write()
    return progress()


def _write() -> None:
    if _FILE:
        records = {id: vars(record) for id, record in sorted(_RECORDS.items())}
        _FILE[0].write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
