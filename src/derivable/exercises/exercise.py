"""What an exercise is: a question, what to hand in, how an answer is judged, and hints.

Three kinds: [`Value`][derivable.exercises.exercise.Value] asks for a number or an array,
[`Function`][derivable.exercises.exercise.Function] for a function or a formula, and
[`Witness`][derivable.exercises.exercise.Witness] for something with a property, such as a counterexample. Each judges an
answer: `judge` returns None if it is right and otherwise a [`Finding`][derivable.exercises.diagnosis.Finding].
"""

from __future__ import annotations

import inspect
import itertools
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derivable.exercises.diagnosis import Case, Evidence, Finding, _case, _copy, _quiet, describe, diagnose
from derivable.exercises.formulas import FormulaError, formula

__all__ = ["Exercise", "Function", "Mistake", "Refused", "Value", "Witness", "array_of", "call", "number_of", "refuse"]

LEVELS = ("warm-up", "core", "hard")


class Refused(Exception):
    """Ends the judging of an answer with a finding."""

    def __init__(self, finding: Finding, cause: BaseException | None = None) -> None:
        super().__init__(finding.message)
        self.finding, self.cause = finding, cause


def refuse(name: str, message: str) -> Refused:
    """Return the exception that says what is wrong with an answer; raise it.

    Args:
        name: the kind of mistake.
        message: a sentence to the person who gave the answer.

    Returns:
        The exception.
    """
    return Refused(Finding(name, message))


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that is easily arrived at, and what to say to it.

    Attributes:
        name: the kind of mistake.
        answer: the wrong value, or the wrong function with the exercise's arguments.
        says: a sentence to the person who gave it.
    """

    name: str
    answer: Any
    says: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Exercise:
    """What all exercises have.

    Attributes:
        id: the chapter and a number, such as "convergence.3".
        title: a few words.
        level: "warm-up", "core" or "hard".
        asks: what to hand in, as a phrase that goes on from "Hand in".
        hints: one after another, each says more.
    """

    id: str
    title: str
    level: str
    asks: str
    hints: tuple[str, ...]

    @property
    def chapter(self) -> str:
        """The chapter's name."""
        return self.id.partition(".")[0]

    @property
    def tried(self) -> str:
        """What a right answer was tried on, in words."""
        return ""

    def judge(self, answer: Any) -> Finding | None:
        """Return None for a right answer, and what is wrong with any other.

        Raises:
            Refused: the same, from within.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, eq=False)
class Value(Exercise):
    """An exercise that asks for a number or an array.

    Attributes:
        right: the right value, or a function without arguments that computes it.
        mistakes: wrong values with what to say to them.
        rtol: how far the answer may be off, relative to the right value.
        atol: how far it may be off in any case.
    """

    right: Any
    mistakes: tuple[Mistake, ...] = ()
    rtol: float = 1e-6
    atol: float = 1e-12

    def judge(self, answer: Any) -> Finding | None:
        """Compare the answer with the right value."""
        right = np.asarray(self.right() if callable(self.right) else self.right)
        if callable(answer):
            what = "a number" if right.ndim == 0 else f"an array of shape {right.shape}"
            return Finding(
                "kind", f"Asked is {what}; you gave {_named_function(answer)}. Call it and hand in its value."
            )
        if isinstance(answer, str):
            read = _formula(answer, (), several=right.ndim == 1)
            with _quiet():
                answer = read()
        given = _array(answer, "Your answer")
        _check_kind(given, right, "")
        evidence = Evidence([right], [given], rtol=self.rtol, atol=self.atol)
        if evidence.close(given, right):
            return None
        for mistake in self.mistakes:
            if evidence.close(given, np.asarray(mistake.answer)):
                return Finding(mistake.name, mistake.says)
        return diagnose(evidence)


@dataclass(frozen=True, kw_only=True, eq=False)
class Function(Exercise):
    """An exercise that asks for a function.

    Attributes:
        variables: the names of its arguments, in their order.
        right: the right function.
        cases: argument tuples on which every answer is tried.
        random: makes one more argument tuple from a random generator.
        count: how many of these are tried.
        formulas: whether a formula in the variables may be handed in as text.
        terms: parts that add up to the right value, by what to call them.
        factors: parts whose product is the right value.
        mistakes: wrong functions with what to say to them.
        keeps_type: whether a float32 argument must give a float32 value.
        rtol: how far a value may be off, relative to the right one.
        atol: how far it may be off in any case.
    """

    variables: tuple[str, ...]
    right: Callable[..., Any]
    cases: tuple[Case, ...]
    random: Callable[[np.random.Generator], Case] | None = None
    count: int = 16
    formulas: bool = True
    terms: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    factors: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()
    keeps_type: bool = False
    rtol: float = 1e-9
    atol: float = 1e-12

    @property
    def tried(self) -> str:
        """How many cases an answer is tried on."""
        drawn = f" and {self.count} random" if self.random else ""
        return f"on {len(self.cases)} fixed{drawn} cases"

    def all_cases(self) -> list[Case]:
        """Return the fixed cases and the random ones. They are the same each time."""
        rng = np.random.default_rng(zlib.crc32(self.id.encode()))
        drawn = [self.random(rng) for _ in range(self.count)] if self.random else []
        return [*self.cases, *drawn]

    def judge(self, answer: Any) -> Finding | None:
        """Call the answer on every case and compare."""
        signature = f"({', '.join(self.variables)})"
        if isinstance(answer, str):
            if not self.formulas:
                return Finding("kind", f"Asked is a Python function of {signature}, not a formula as text.")
            answer = _formula(answer, self.variables)
        if not callable(answer):
            how = "the function itself, not its value" + (", or a formula as text" if self.formulas else "")
            return Finding("kind", f"Asked is a function of {signature}; you gave {_what(answer)}. Hand in {how}.")
        _check_signature(answer, self.variables)
        cases = self.all_cases()
        right, given = [], []
        for case in cases:
            with _quiet():
                r = np.asarray(self.right(*_copy(case)))
            handed = _copy(case)
            value = call(answer, *handed, names=self.variables)
            where = f" at {_case(self.variables, case)}"
            g = _array(value, f"The value{where}")
            _check_kind(g, r, where)
            _check_untouched(self.variables, case, handed)
            right.append(r)
            given.append(g.copy())
        evidence = Evidence(
            right, given, self.variables, cases, self.right, answer, self.terms, self.factors, self.rtol, self.atol
        )
        if all(evidence.agreement):
            return self._type(evidence)
        for mistake in self.mistakes:
            if _gives(evidence, mistake.answer):
                return Finding(mistake.name, mistake.says)
        return diagnose(evidence)

    def _type(self, evidence: Evidence) -> Finding | None:
        if not self.keeps_type:
            return None
        for case, g, r in zip(evidence.cases, evidence.given, evidence.right, strict=True):
            if g.dtype != r.dtype:
                return Finding(
                    "dtype",
                    f"The numbers are right, their type is not: at {_case(self.variables, case)} yours is {g.dtype}; "
                    f"asked is {r.dtype}, as the input is.",
                )
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Witness(Exercise):
    """An exercise that asks for something with a property: a counterexample, a choice of numbers.

    Attributes:
        test: looks at an answer; raises what [`refuse`][derivable.exercises.exercise.refuse] returns if it is wrong.
        says: what a right answer shows, to be said with it.
    """

    test: Callable[[Any], None]
    says: str = ""

    @property
    def tried(self) -> str:
        """What a right answer shows."""
        return self.says

    def judge(self, answer: Any) -> Finding | None:
        """Look for the property."""
        with _quiet():
            self.test(answer)
        return None


# ------------------------------------------------------------------------------- looking at an answer


def _formula(text: str, variables: tuple[str, ...], several: bool = False) -> Callable[..., Any]:
    try:
        return formula(text, variables, several=several)
    except FormulaError as error:
        raise refuse("formula", str(error)[0].upper() + str(error)[1:]) from None


def _named_function(value: Any) -> str:
    return f"the function {getattr(value, '__name__', type(value).__name__)}"


def _what(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, (int, float, complex, np.number)):
        return f"the number {describe(value)}"
    return f"a {type(value).__name__}"


def _array(value: Any, subject: str) -> np.ndarray:
    """Return an answer's value as an array of numbers, or refuse it."""
    if value is None:
        raise refuse("none", f"{subject} is None: is a `return` missing?")
    if callable(value):
        raise refuse("kind", f"{subject} is {_named_function(value)}, not a number: call it.")
    if isinstance(value, (str, dict, set)) or inspect.isgenerator(value):
        raise refuse("kind", f"{subject} is a {type(value).__name__}, not a number or an array.")
    try:
        array = np.asarray(value)
    except ValueError:
        raise refuse("shape", f"{subject} is no array: its rows have different lengths.") from None
    if array.dtype.kind not in "biufc":
        raise refuse("kind", f"{subject} holds {array.dtype} entries, not numbers.")
    return array


def _check_kind(given: np.ndarray, right: np.ndarray, where: str) -> None:
    if given.dtype.kind == "c" and right.dtype.kind != "c":
        raise refuse(
            "complex", f"Your answer is complex{where}; asked is a real number. Take the real part, if the rest is 0."
        )
    if (given.dtype == bool) != (right.dtype == bool):
        wanted = "True or False" if right.dtype == bool else "a number"
        raise refuse("kind", f"Your answer is {describe(given)}{where}; asked is {wanted}.")


def _check_signature(answer: Callable[..., Any], variables: tuple[str, ...]) -> None:
    """Refuse a function that cannot take the arguments, or names them in another order."""
    try:
        signature = inspect.signature(getattr(answer, "py_func", answer))
    except (TypeError, ValueError):
        return  # a function written in C may not say
    wanted = ", ".join(variables)
    try:
        signature.bind(*variables)
    except TypeError:
        taken = ", ".join(signature.parameters)
        raise refuse("arguments", f"Your function takes ({taken}); it is called with ({wanted}).") from None
    names = tuple(signature.parameters)[: len(variables)]
    # Two that change places are enough: the third may only be spelled otherwise.
    crossed = any(
        names[i] == variables[j] and names[j] == variables[i] and i != j
        for i, j in itertools.combinations(range(len(names)), 2)
    )
    if crossed or (names != variables and set(names) == set(variables)):
        raise refuse(
            "exchanged", f"Your function takes ({', '.join(names)}), in this order; it is called with ({wanted})."
        )


def _check_untouched(names: tuple[str, ...], before: Case, after: Case) -> None:
    for name, a, b in zip(names, before, after, strict=True):
        if isinstance(a, np.ndarray) and not np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
            raise refuse("in place", f"Your function changes its argument {name}: work on a copy, {name}.copy().")


def _gives(evidence: Evidence, wrong: Callable[..., Any]) -> bool:
    """Whether an answer gives, on every case, what a known wrong function gives."""
    for case, given in zip(evidence.cases, evidence.given, strict=True):
        with _quiet():
            try:
                value = np.asarray(wrong(*_copy(case)))
            except Exception:  # a wrong function may fail where the answer did not: then it is another one
                return False
        if not evidence.close(given, value):
            return False
    return True


def call(answer: Callable[..., Any], *arguments: Any, names: tuple[str, ...] = ()) -> Any:
    """Call a function that was handed in; refuse it if it raises.

    Args:
        answer: the function.
        arguments: what to call it with.
        names: what to call these arguments in the message.

    Returns:
        Its value.

    Raises:
        Refused: with the exception that the function raised as `cause`.
    """
    shown = _copy(arguments)
    try:
        with _quiet():
            return answer(*arguments)
    except Exception as error:  # whatever it is, it is the answer's
        where = f" at {_case(names, shown)}" if names else f" for {', '.join(describe(a) for a in shown)}"
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        text = max(lines[:2], key=len)[:160] if lines else ""
        said = f"Your function raises {type(error).__name__}{where}: {text}".rstrip(": ")
        if hasattr(answer, "py_func") and any(callable(a) for a in arguments):
            said += ". A compiled function cannot take any Python function: hand in the plain one (.py_func)."
        finding = Finding("error", said)
        raise Refused(finding, error) from error


def array_of(value: Any, subject: str, shape: tuple[int | None, ...] | None = None) -> np.ndarray:
    """Return a part of an answer as a finite float64 array of a given shape; refuse it if it is none.

    Args:
        value: the part.
        subject: what to call it.
        shape: the lengths it must have; None in it stands for any length.

    Returns:
        The array.
    """
    if isinstance(value, str):
        raise refuse("kind", f"{subject} must be numbers, not text.")
    array = _array(value, subject)
    if array.dtype.kind not in "iuf":
        raise refuse("kind", f"{subject} must hold real numbers; it holds {array.dtype}.")
    if shape is not None and (
        array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True))
    ):
        lengths = ", ".join("any" if n is None else str(n) for n in shape)
        special: dict[tuple[int | None, ...], str] = {(): "a number", (None,): "a row of numbers"}
        wanted = special.get(shape, f"({lengths}{',' * (len(shape) == 1)})")
        yours = f"has the shape {array.shape}" if array.ndim else "is one number"
        raise refuse("shape", f"{subject} {yours}; asked is {wanted}.")
    if not np.all(np.isfinite(array)):
        raise refuse("not finite", f"{subject} holds a NaN or an infinity.")
    return array.astype(np.float64)


def number_of(value: Any, subject: str) -> float:
    """Return a part of an answer as a finite float; refuse it if it is none.

    Args:
        value: the part; a formula without variables is allowed.
        subject: what to call it.

    Returns:
        The number.
    """
    if isinstance(value, str):
        value = _formula(value, ())()
    return float(array_of(value, subject, ()))
