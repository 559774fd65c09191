"""What is wrong with an answer, found by comparing what it gives with what is right.

An answer was tried on several cases. [`Evidence`][derivable.exercises.diagnosis.Evidence] holds, for each, the arguments,
the right value and the given one. A *diagnoser* looks for one kind of mistake in all cases at once (a sign, a factor, an
index, a shape ...) and returns a [`Finding`][derivable.exercises.diagnosis.Finding], or None where it is not that.
[`diagnose`][derivable.exercises.diagnosis.diagnose] asks them in turn, from the particular to the general. None of them
knows an exercise: a good answer to a mistake that nobody foresaw is what they are for.
"""

from __future__ import annotations

import itertools
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

__all__ = ["DIAGNOSERS", "Evidence", "Finding", "describe", "diagnose"]

Case = tuple[Any, ...]


@dataclass(frozen=True)
class Finding:
    """What is wrong with an answer.

    Attributes:
        name: the kind of mistake, in one or two words.
        message: a sentence or two to the person who gave it.
    """

    name: str
    message: str


@dataclass(frozen=True, eq=False)
class Evidence:
    """What an answer gives beside what is right, on every case tried.

    Attributes:
        right: the right value of each case, as an array.
        given: the answer's value of each case, as an array.
        names: the names of the arguments; none for an exercise that asks for a value.
        cases: the arguments of each case.
        reference: the right function, to try it on other arguments; None for a value.
        answer: the function that was handed in; None for a value.
        terms: parts that add up to the right value, by what to call them: functions of the arguments.
        factors: parts whose product is the right value, likewise.
        rtol: how far a value may be off, relative to the right one.
        atol: how far it may be off in any case.
    """

    right: list[np.ndarray]
    given: list[np.ndarray]
    names: tuple[str, ...] = ()
    cases: list[Case] = field(default_factory=list)
    reference: Callable[..., Any] | None = None
    answer: Callable[..., Any] | None = None
    terms: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    factors: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    rtol: float = 1e-9
    atol: float = 1e-12

    def close(self, given: Any, right: Any) -> bool:
        """Whether two values agree, in shape and in every number."""
        given, right = np.asarray(given), np.asarray(right)
        if given.shape != right.shape or given.dtype.kind not in "biufc":
            return False
        if given.dtype == bool or right.dtype == bool:
            return given.dtype == right.dtype and bool(np.array_equal(given, right))
        return bool(np.allclose(given, right, rtol=self.rtol, atol=self.atol, equal_nan=True))

    @property
    def agreement(self) -> list[bool]:
        """Whether the answer is right, case by case."""
        return [self.close(g, r) for g, r in zip(self.given, self.right, strict=True)]

    def given_is(self, change: Callable[[np.ndarray], Any]) -> bool:
        """Whether the given values are the right ones after `change`, in every case; not if that changes nothing."""
        with _quiet():
            changed = [_attempt(change, r) for r in self.right]
        if any(c is None for c in changed):
            return False
        if all(self.close(c, r) for c, r in zip(changed, self.right, strict=True)):
            return False
        return all(self.close(g, c) for g, c in zip(self.given, changed, strict=True))

    def given_follows(self, change: Callable[[Case], Case | None]) -> bool:
        """Whether the given values are right for other arguments, in every case; not if the change changes no value."""
        if self.reference is None or not self.cases:
            return False
        values = []
        for case in self.cases:
            other = _attempt(change, _copy(case))
            value = None if other is None else _call(self.reference, other)
            if value is None:
                return False
            values.append(value)
        if all(self.close(v, r) for v, r in zip(values, self.right, strict=True)):
            return False
        return all(self.close(g, v) for g, v in zip(self.given, values, strict=True))

    @property
    def single(self) -> bool:
        """Whether there is one value only, so that chance could explain much."""
        return len(self.right) == 1 and self.right[0].size <= 1


class _quiet(warnings.catch_warnings):
    """Neither NumPy's nor Python's warnings: the numbers are looked at themselves."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        self._errors = np.errstate(all="ignore")
        self._errors.__enter__()
        return entered

    def __exit__(self, *error: Any) -> None:
        self._errors.__exit__(*error)
        super().__exit__(*error)


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the value, or None where there is none."""
    try:
        return function(*arguments)
    except Exception:  # a change may not make sense for these arguments: then it is not that
        return None


def _copy(case: Case) -> Case:
    return tuple(a.copy() if isinstance(a, np.ndarray) else a for a in case)


def _call(function: Callable[..., Any], case: Case) -> np.ndarray | None:
    with _quiet():
        value = _attempt(function, *_copy(case))
    if value is None:
        return None
    array = _attempt(np.asarray, value)
    return None if array is None or array.dtype.kind not in "biufc" else array


def describe(value: Any, digits: int = 6) -> str:
    """Return a value as a short text."""
    if callable(value):
        return getattr(value, "__name__", "a function")
    if isinstance(value, (bool, np.bool_, str)):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        return repr(value)[:60]
    if array.size > 12:
        return f"an array of shape {array.shape}"
    if array.ndim == 0:
        return str(array) if array.dtype.kind in "bc" else f"{float(array):.{digits}g}"
    return " ".join(np.array2string(array, precision=4, separator=", ").split())


def _case(names: tuple[str, ...], case: Case) -> str:
    return ", ".join(f"{name} = {describe(value)}" for name, value in zip(names, case, strict=True))


def _example(evidence: Evidence, index: int) -> str:
    """Return one case in words: its arguments, what was given, what is right."""
    given, right = describe(evidence.given[index]), describe(evidence.right[index])
    if not evidence.names:
        return ""
    if given == right:  # they differ in digits that a short text does not show
        given, right = describe(evidence.given[index], 15), describe(evidence.right[index], 15)
    return f" At {_case(evidence.names, evidence.cases[index])} yours is {given}; right is {right}."


def _every(evidence: Evidence) -> str:
    return ", in every case tried" if len(evidence.right) > 1 else ""


# ------------------------------------------------------------------------------------- words for numbers

_SPECIAL = {
    "π": math.pi, "√2": math.sqrt(2), "√π": math.sqrt(math.pi), "√(2π)": math.sqrt(2 * math.pi), "e": math.e,
    "ln 2": math.log(2), "ln 10": math.log(10), "180/π": 180 / math.pi, "2π": 2 * math.pi, "π²": math.pi**2,
}  # fmt: skip


def _named(number: float, single: bool = False) -> str | None:
    """Return a number as people would write it, if it is one that they would; None otherwise."""
    if not math.isfinite(number) or number == 0:
        return None
    if number < 0:
        positive = _named(-number, single)
        return None if positive is None else f"−{positive}"
    fraction = Fraction(number).limit_denominator(4 if single else 12)
    if max(fraction.numerator, fraction.denominator) <= (4 if single else 120) and math.isclose(
        fraction, number, rel_tol=1e-7
    ):
        return str(fraction)
    for name, value in _SPECIAL.items():
        for times in (1, 2, Fraction(1, 2)) if not single else (1,):
            if math.isclose(number, value * times, rel_tol=1e-7):
                return name if times == 1 else f"{times}·{name}"
            if math.isclose(number, times / value, rel_tol=1e-7):
                return f"{times}/({name})" if times != 1 else f"1/({name})"
    return None


def _ratios(evidence: Evidence) -> list[float] | None:
    """Return c of each case with given = c · right; None where a case is not of that kind. NaN where both are zero."""
    found = []
    for g, r in zip(evidence.given, evidence.right, strict=True):
        if g.shape != r.shape or g.dtype == bool or r.dtype == bool or np.iscomplexobj(g) or np.iscomplexobj(r):
            return None
        g, r = g.astype(float), r.astype(float)
        if not (np.all(np.isfinite(g)) and np.all(np.isfinite(r))):
            return None
        size = float(np.sum(r * r))
        if size == 0:
            if evidence.close(g, r):
                found.append(math.nan)
                continue
            return None
        # One entry that is large decides: sums of squares would lose the digits of the others.
        top = np.unravel_index(np.argmax(np.abs(r)), r.shape)
        c = float(g[top] / r[top])
        if c == 0 or not evidence.close(g, c * r):
            return None
        found.append(c)
    return found if any(not math.isnan(c) for c in found) else None


def _constant(values: list[float]) -> float | None:
    """Return the number that all values are, or None."""
    kept = [v for v in values if not math.isnan(v)]
    if kept and all(math.isclose(v, kept[0], rel_tol=1e-7, abs_tol=1e-12) for v in kept):
        return kept[0]
    return None


# ------------------------------------------------------------------------------------ words for cases


def _features(names: tuple[str, ...], case: Case) -> dict[str, float]:
    """Return the numbers of a case that a factor could be: numbers given, lengths of arrays."""
    found: dict[str, float] = {}
    for name, value in zip(names, case, strict=True):
        if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
            found[name] = float(value)
        elif isinstance(value, np.ndarray) and value.ndim == 1:
            found[f"len({name})"] = float(value.size)
            with _quiet():
                found[f"‖{name}‖"] = float(np.linalg.norm(value)) if value.dtype.kind in "iuf" else math.nan
        elif isinstance(value, np.ndarray) and value.ndim > 1:
            found |= {f"{name}.shape[{axis}]": float(length) for axis, length in enumerate(value.shape)}
    return found


def _predicates(names: tuple[str, ...], case: Case) -> Iterator[tuple[str, bool]]:
    """Yield statements about a case, with whether they are true of it. The same ones for cases of the same kind."""
    numbers = {}
    for name, value in zip(names, case, strict=True):
        if isinstance(value, (bool, str)) or callable(value):
            if isinstance(value, str):
                yield f"{name} is not {value!r}", False
            continue
        if isinstance(value, np.ndarray):
            real = value.dtype.kind in "iuf"
            yield f"{name} has a negative entry", real and bool(np.any(value < 0))
            yield f"{name} has an entry 0", bool(np.any(value == 0))
            yield f"{name} has one entry", value.size == 1
            yield f"the length of {name} is even", value.ndim > 0 and len(value) % 2 == 0
            yield f"{name} is not square", value.ndim == 2 and value.shape[0] != value.shape[1]
            symmetric = value.ndim == 2 and value.shape[0] == value.shape[1] and np.allclose(value, value.T)
            yield f"{name} is symmetric", bool(symmetric)
            yield f"{name} is of type float32", value.dtype == np.float32
        elif isinstance(value, (int, float, np.integer, np.floating)):
            number = float(value)
            numbers[name] = number
            yield f"{name} = 0", number == 0
            yield f"{name} < 0", number < 0
            yield f"{name} > 0", number > 0
            yield f"{name} = 1", number == 1
            yield f"|{name}| > 1", abs(number) > 1
            yield f"|{name}| ≥ 1", abs(number) >= 1
            yield f"{name} > 1", number > 1
            if isinstance(value, (int, np.integer)):
                yield f"{name} is odd", number % 2 == 1
                yield f"{name} is even", number % 2 == 0
            yield f"{name} is no whole number", number % 1 != 0
            yield f"{name} is 2 or more", number >= 2
            yield f"|{name}| is large", abs(number) >= 30
    for (a, x), (b, y) in itertools.combinations(numbers.items(), 2):
        yield f"{a} = {b}", x == y
        yield f"{a} > {b}", x > y
        yield f"{a} < {b}", x < y
        if x == round(x) and y == round(y):
            yield f"{a} is not divisible by {b}", y != 0 and x % y != 0
        yield f"{a}·{b} > 1", x * y > 1


def _where(evidence: Evidence, wrong: list[bool]) -> str | None:
    """Return where exactly an answer is wrong, in words; None if no statement known here says it."""
    if all(wrong) or not any(wrong) or len(wrong) < 3:
        return None
    truths = [dict(_predicates(evidence.names, case)) for case in evidence.cases]
    if not truths:
        return None
    common = [text for text in truths[0] if all(text in t for t in truths)]
    for rank in range(4):
        texts = [text for text in common if _rank(text) == rank]
        for text in texts:
            if all(t[text] == w for t, w in zip(truths, wrong, strict=True)):
                return f"where {text}"
        for text in texts:
            if all(t[text] != w for t, w in zip(truths, wrong, strict=True)):
                return f"except where {text}"
    return None


def _rank(text: str) -> int:
    """Return how far a statement stands behind others that are as true: a 0 is the likely cause, a parity an unlikely one."""
    if text.endswith(" = 0"):
        return 0
    if "·" in text:
        return 3
    return 2 if text.endswith(("is odd", "is even", "is no whole number")) else 1


# ---------------------------------------------------------------------------------------- diagnosers


def shape(evidence: Evidence) -> Finding | None:
    """The numbers stand in another arrangement, or there are too many or too few of them."""
    index = next(
        (i for i, (g, r) in enumerate(zip(evidence.given, evidence.right, strict=True)) if g.shape != r.shape), -1
    )
    if index < 0:
        return None
    g, r = evidence.given[index], evidence.right[index]
    where = f" (at {_case(evidence.names, evidence.cases[index])})" if evidence.names else ""
    shapes = f"shape {g.shape}{where}; asked is {r.shape if r.ndim else 'one number'}"
    if g.ndim > 1 and g.T.shape == r.shape:
        if evidence.close(g.T, r):
            return Finding("transposed", f"The numbers are right, but transposed: your answer has {shapes}.")
        return Finding("transposed", f"Your answer has the transposed shape: {shapes}.")
    if g.size == r.size and g.size > 0 and evidence.close(g.reshape(r.shape), r):
        return Finding("shape", f"The numbers are right, their arrangement is not: your answer has {shapes}.")
    if r.ndim == 0:
        for name, reduce in (("sum", np.sum), ("mean", np.mean), ("maximum", np.max)):
            if all(evidence.close(_attempt(reduce, a), b) for a, b in zip(evidence.given, evidence.right, strict=True)):
                return Finding("not reduced", f"You gave the parts; asked is their {name}, one number.")
        return Finding("shape", f"Asked is one number; your answer is an array of shape {g.shape}{where}.")
    if g.ndim == 0:
        parts: list[tuple[str, Callable[[np.ndarray], Any]]] = [("sum", np.sum), ("mean", np.mean)]
        parts += [(f"entry with index {i} alone", operator.itemgetter(i)) for i in range(r.size if r.ndim == 1 else 0)]
        parts.append(("maximum", np.max))  # last: it is also an entry
        for name, part in parts:
            if all(evidence.close(a, _attempt(part, b)) for a, b in zip(evidence.given, evidence.right, strict=True)):
                return Finding(
                    "reduced", f"You gave the {name}; asked are the numbers themselves, an array of shape {r.shape}."
                )
        return Finding("shape", f"Your answer is one number{where}; asked is an array of shape {r.shape}.")
    if g.ndim == r.ndim:
        off = [a - b for a, b in zip(g.shape, r.shape, strict=True)]
        if all(abs(d) <= 1 for d in off):
            axis = next(a for a, d in enumerate(off) if d)
            many = "one entry too many" if off[axis] > 0 else "one entry too few"
            place = _missing_end(evidence, g, r) if g.ndim == 1 else ""
            return Finding("off by one", f"Your answer has {many} along axis {axis}{place}: {shapes}.")
        window = _window(evidence, g, r)
        if window:
            return Finding("shape", f"{window}: your answer has {shapes}.")
    return Finding("shape", f"Your answer has {shapes}.")


def _missing_end(evidence: Evidence, g: np.ndarray, r: np.ndarray) -> str:
    for longer, shorter, verb in ((g, r, "leave out"), (r, g, "add")):
        if longer.size == shorter.size + 1:
            if evidence.close(longer[:-1], shorter):
                return f" ({verb} the last)"
            if evidence.close(longer[1:], shorter):
                return f" ({verb} the first)"
    return ""


def _window(evidence: Evidence, g: np.ndarray, r: np.ndarray) -> str | None:
    for outer, inner, text in (
        (g, r, "Your answer holds the right numbers with a rim around them that must go"),
        (r, g, "Your answer holds only a part of the numbers asked"),
    ):
        if inner.size and all(a >= b for a, b in zip(outer.shape, inner.shape, strict=True)):
            spans = [range(a - b + 1) for a, b in zip(outer.shape, inner.shape, strict=True)]
            for start in itertools.islice(itertools.product(*spans), 200):
                cut = tuple(slice(s, s + n) for s, n in zip(start, inner.shape, strict=True))
                if evidence.close(outer[cut], inner):
                    return text
    return None


def not_finite(evidence: Evidence) -> Finding | None:
    """NaN or infinity where a number is asked."""
    bad = []
    for g, r in zip(evidence.given, evidence.right, strict=True):
        if g.shape != r.shape or g.dtype.kind not in "fc":
            bad.append(False)
            continue
        bad.append(bool(np.any(~np.isfinite(g) & np.isfinite(r))))
    if not any(bad):
        return None
    index = bad.index(True)
    g = evidence.given[index]
    kind = "NaN" if np.any(np.isnan(g)) else "infinite"
    if g.ndim:
        position = tuple(int(i) for i in np.argwhere(~np.isfinite(g))[0])
        kind += f" at index {position[0] if len(position) == 1 else position}"
    agreement = evidence.agreement
    others = [a for a, b in zip(agreement, bad, strict=True) if not b]
    where = _where(evidence, bad) or (f"at {_case(evidence.names, evidence.cases[index])}" if evidence.names else "")
    reason = (
        "0/0, ∞/∞, ∞ − ∞, or a logarithm or root of a negative number"
        if kind[0] == "N"
        else "an overflow or a division by 0"
    )
    tail = " The other cases are right." if others and all(others) else ""
    return Finding("not finite", f"Your answer is {kind}{' ' if where else ''}{where}: {reason}?{tail}")


def negated(evidence: Evidence) -> Finding | None:
    """Yes for no."""
    if all(
        g.dtype == bool == r.dtype for g, r in zip(evidence.given, evidence.right, strict=True)
    ) and evidence.given_is(np.logical_not):
        return Finding("negated", "Your answer is the opposite: True where False is right.")
    return None


def sign(evidence: Evidence) -> Finding | None:
    """The sign, everywhere or in some cases."""
    ratios = _ratios(evidence)
    if ratios is None or any(not math.isclose(abs(c), 1, rel_tol=1e-7) for c in ratios if not math.isnan(c)):
        return None
    wrong = [c < 0 for c in ratios]  # NaN is not
    if not any(wrong):
        return None
    if all(w or math.isnan(c) for w, c in zip(wrong, ratios, strict=True)):
        return Finding("sign", f"The sign is wrong: your answer is −1 times the right one{_every(evidence)}.")
    if evidence.given_is(np.abs):
        return Finding("sign", "Your answer is the absolute value of the right one: a sign got lost.")
    where = _where(evidence, wrong) or "in some cases"
    return Finding("sign", f"The sign is wrong {where}." + _example(evidence, wrong.index(True)))


def factor(evidence: Evidence) -> Finding | None:
    """A constant factor."""
    ratios = _ratios(evidence)
    c = None if ratios is None else _constant(ratios)
    if c is None or math.isclose(c, 1, rel_tol=1e-6) or not 1e-6 < abs(c) < 1e6:
        return None  # nearly 1 is a matter of digits; and what is next to nothing is rounding, not a factor
    name, inverse = _named(c, evidence.single), _named(1 / c, evidence.single)
    if name is None and (evidence.single or abs(c - 1) < 1e-3):
        return None
    if name is None:
        return Finding("factor", f"Your answer is {c:.6g} times the right one{_every(evidence)}: a factor is wrong.")
    if abs(c) < 1 and inverse:
        return Finding(
            "factor", f"Your answer is {name} of the right one{_every(evidence)}: a factor {inverse} is missing."
        )
    return Finding(
        "factor", f"Your answer is {name} times the right one{_every(evidence)}: a factor {inverse or name} is missing."
    )


def argument_factor(evidence: Evidence) -> Finding | None:
    """A factor that is a power of an argument, or a quotient such as n/(n - 1)."""
    ratios = _ratios(evidence)
    if ratios is None or not evidence.cases:
        return None
    rows = [_features(evidence.names, case) for case in evidence.cases]
    kept = [i for i, c in enumerate(ratios) if not math.isnan(c)]
    for name in rows[0]:
        values = [rows[i].get(name, math.nan) for i in kept]
        if not all(v > 0 for v in values) or len({round(v, 9) for v in values}) < 2:
            continue
        for power in (1, -1, 2, -2, 0.5, -0.5, 3, -3):
            c = _constant([ratios[i] / v**power for i, v in zip(kept, values, strict=True)])
            text = None if c is None else _named(c)
            if text is not None:
                return Finding("factor", _power_message(name, power, text))
        for change, text in (
            (lambda v: v / (v - 1), "{0}/({0} − 1)"),
            (lambda v: (v - 1) / v, "({0} − 1)/{0}"),
            (lambda v: v / (v + 1), "{0}/({0} + 1)"),
            (lambda v: (v + 1) / v, "({0} + 1)/{0}"),
        ):
            if all(v > 1 for v in values):
                c = _constant([ratios[i] / change(v) for i, v in zip(kept, values, strict=True)])
                if c is not None and math.isclose(c, 1, rel_tol=1e-7):
                    return Finding(
                        "off by one",
                        f"Your answer is {text.format(name)} times the right one: {name}, or one more or less?",
                    )
    return None


def _power_message(name: str, power: float, constant: str) -> str:
    written = {1: "{}", 2: "{}²", 3: "{}³", 0.5: "√{}"}[abs(power)].format(name)
    product = written if constant == "1" else f"{constant}·{written}"
    if power > 0:
        return f"Your answer is {product} times the right one: divide by {written}{'' if constant == '1' else ', and mind the constant'}."
    quotient = f"{constant}/{written}"
    return f"Your answer is {quotient} times the right one: a factor {written} is missing{'' if constant == '1' else ', and mind the constant'}."


def _columns(evidence: Evidence, parts: Mapping[str, Callable[..., Any]]) -> np.ndarray | None:
    """Return the values of each part at all entries of all cases, one column for each."""
    if len(parts) < 2 or any(g.shape != r.shape for g, r in zip(evidence.given, evidence.right, strict=True)):
        return None
    columns = []
    for part in parts.values():
        column = []
        for case, right in zip(evidence.cases, evidence.right, strict=True):
            value = _call(part, case)
            if value is None:
                return None
            column.append(np.broadcast_to(value, right.shape).ravel())
        columns.append(np.concatenate(column).astype(float))
    return np.stack(columns, axis=1)


def _all_given(evidence: Evidence) -> np.ndarray:
    return np.concatenate([g.ravel() for g in evidence.given]).astype(float)


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def terms(evidence: Evidence) -> Finding | None:
    """A term of a sum is missing, or its sign or its factor is wrong."""
    matrix = _columns(evidence, evidence.terms)
    fit = None if matrix is None else _fit(matrix, _all_given(evidence))
    if fit is None:
        return None
    said = []
    for name, c in zip(evidence.terms, fit, strict=True):
        number = _named(float(c))
        if math.isclose(c, 1, abs_tol=1e-6):
            continue
        if abs(c) < 1e-6:
            said.append(f"the term {name} is missing")
        elif math.isclose(c, -1, rel_tol=1e-6):
            said.append(f"the sign of the term {name} is wrong")
        elif number is None:
            return None
        else:
            said.append(f"the term {name} stands there {number} times")
    if not said:
        return None
    return Finding("terms", _sentence(said) + (" The rest is right." if len(said) < len(fit) else ""))


def _fit(matrix: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Return the coefficients with matrix @ coefficients = target, if there are such and no others."""
    kept = np.all(np.isfinite(matrix), axis=1) & np.isfinite(target)  # a logarithm of 0 says nothing
    matrix, target = matrix[kept], target[kept]
    if len(target) <= matrix.shape[1] + 1:
        return None
    scale = np.linalg.norm(matrix, axis=0)
    if np.any(scale == 0):
        return None
    coefficients, _, rank, _ = np.linalg.lstsq(matrix / scale, target, rcond=1e-9)
    if rank < matrix.shape[1]:
        return None
    residual = np.abs(matrix / scale @ coefficients - target).max()
    if residual > 1e-8 * max(np.abs(target).max(), 1e-300):
        return None
    return coefficients / scale


def factors(evidence: Evidence) -> Finding | None:
    """A factor of a product is missing, inverted, or to the wrong power."""
    columns = _columns(evidence, evidence.factors)
    if columns is None:
        return None
    with _quiet():
        logs, target = np.log(np.abs(columns)), np.log(np.abs(_all_given(evidence)))
    fit = _fit(np.column_stack([logs, np.ones(len(logs))]), target)
    if fit is None:
        return None
    said = []
    for name, power in zip(evidence.factors, fit[:-1], strict=True):
        number = _named(float(power))
        if math.isclose(power, 1, abs_tol=1e-6):
            continue
        if abs(power) < 1e-6:
            said.append(f"the factor {name} is missing")
        elif math.isclose(power, -1, abs_tol=1e-6):
            said.append(f"you divide by {name} where it is a factor")
        elif number is None:
            return None
        else:
            said.append(f"the factor {name} stands there to the power {number}")
    constant = _named(math.exp(fit[-1]))
    if not said or constant is None:
        return None
    rest = "" if constant == "1" else f" Besides, a constant {constant} stands in front."
    return Finding("factor", _sentence(said) + rest)


def other_function(evidence: Evidence) -> Finding | None:
    """The right value was put through one function too many."""
    changes: tuple[tuple[str, str, Callable[[np.ndarray], Any]], ...] = (
        ("reciprocal", "Your answer is 1 over the right one: turn the fraction over.", lambda r: 1 / r),
        (
            "reciprocal",
            "Your answer is −1 over the right one: turn the fraction over, and mind the sign.",
            lambda r: -1 / r,
        ),
        ("power", "Your answer is the square of the right one: a root is missing, or a square too many.", np.square),
        ("power", "Your answer is the square root of the right one: a square is missing, or a root too many.", np.sqrt),
        ("complement", "Your answer is 1 minus the right one: the other part of the whole.", lambda r: 1 - r),
        ("logarithm", "Your answer is the logarithm of the right one.", np.log),
        ("logarithm", "Your answer is the exponential of the right one: a logarithm is missing.", np.exp),
        ("rounded", "Your answer is the right one rounded down: look for `//` or `int`.", np.floor),
        ("rounded", "Your answer is the right one rounded to a whole number.", np.round),
        ("rounded", "Your answer is the right one rounded up.", np.ceil),
        ("conjugate", "Your answer is the complex conjugate of the right one: the sign in the exponent of e.", np.conj),
        ("real part", "Your answer is the real part of the right one.", np.real),
    )
    for name, message, change in changes:
        if evidence.given_is(change):
            return Finding(name, message)
    return None


def constant_shift(evidence: Evidence) -> Finding | None:
    """A constant, or an argument, was added."""
    shifts = []
    for g, r in zip(evidence.given, evidence.right, strict=True):
        if g.shape != r.shape or g.dtype.kind not in "iuf" or r.dtype.kind not in "iuf" or not g.size:
            return None
        difference = g.astype(float) - r.astype(float)
        if not np.all(np.isfinite(difference)):
            return None
        d = float(difference.ravel()[0])
        if not np.allclose(difference, d, rtol=1e-7, atol=max(evidence.atol, 1e-10 * float(np.abs(r).max()))):
            return None
        shifts.append(d)
    whole = all(r.dtype.kind in "iu" or np.all(r == np.round(r)) for r in evidence.right)
    c = _constant(shifts)
    if c is not None and c != 0 and (whole or not evidence.single):
        way, size = ("large", c) if c > 0 else ("small", -c)
        name = _named(size) or f"{size:.6g}"
        kind = "off by one" if math.isclose(size, 1, rel_tol=1e-7) else "shift"
        return Finding(kind, f"Your answer is too {way} by {name}{_every(evidence)}.")
    for name in _features(evidence.names, evidence.cases[0]) if evidence.cases else ():
        values = [_features(evidence.names, case).get(name, math.nan) for case in evidence.cases]
        if len({round(v, 9) for v in values}) < 2 or not all(map(math.isfinite, values)):
            continue
        ratio = _constant(
            [d / v if v else (math.nan if abs(d) < 1e-12 else math.inf) for d, v in zip(shifts, values, strict=True)]
        )
        text = None if ratio is None or not math.isfinite(ratio) or ratio == 0 else _named(abs(ratio))
        if text is not None and ratio is not None:
            way = "too large" if ratio > 0 else "too small"
            return Finding(
                "terms", f"Your answer is {way} by {name if text == '1' else f'{text}·{name}'}, in every case tried."
            )
    return None


def arrangement(evidence: Evidence) -> Finding | None:
    """The right numbers in another order."""
    if all(r.size < 2 for r in evidence.right) or any(
        g.shape != r.shape for g, r in zip(evidence.given, evidence.right, strict=True)
    ):
        return None
    if evidence.given_is(lambda r: r.T):
        return Finding("transposed", "Your answer is the transposed of the right one: rows and columns are exchanged.")
    dimensions = max(r.ndim for r in evidence.right)
    axes = ["" if dimensions == 1 else f" along axis {axis}" for axis in range(dimensions)]
    for axis, text in enumerate(axes):
        if evidence.given_is(partial(np.flip, axis=axis)):
            return Finding("reversed", f"Your answer is the right one in reverse order{text}.")
        for shift in (1, -1):
            if evidence.given_is(partial(np.roll, shift=shift, axis=axis)):
                way = "later" if shift > 0 else "earlier"
                return Finding(
                    "off by one", f"Each number stands one place {way} than it should{text}, around the end."
                )
            if all(_shifted(evidence, g, r, axis, shift) for g, r in zip(evidence.given, evidence.right, strict=True)):
                way = "later" if shift > 0 else "earlier"
                return Finding("off by one", f"Each number stands one place {way} than it should{text}.")
    if dimensions > 1 and evidence.given_is(np.flip):
        return Finding("reversed", "Your answer is the right one in reverse order along all axes.")
    if all(
        evidence.close(np.sort(g, axis=None), np.sort(r, axis=None))
        for g, r in zip(evidence.given, evidence.right, strict=True)
    ):
        return Finding("order", "The numbers are right, but they stand in another order.")
    return None


def _shifted(evidence: Evidence, g: np.ndarray, r: np.ndarray, axis: int, shift: int) -> bool:
    if r.ndim <= axis or r.shape[axis] < 3:
        return False
    a, b = np.moveaxis(g, axis, 0), np.moveaxis(r, axis, 0)
    return evidence.close(a[1:], b[:-1]) if shift > 0 else evidence.close(a[:-1], b[1:])


def other_arguments(evidence: Evidence) -> Finding | None:
    """The answer is right for other arguments: one index more, two exchanged, a sign."""
    if not evidence.cases:
        return None
    names, first = evidence.names, evidence.cases[0]

    def at(k: int, change: Callable[[Any], Any]) -> Callable[[Case], Case | None]:
        return lambda case: (*case[:k], change(case[k]), *case[k + 1 :])

    kinds = [_kind(value) for value in first]
    for k, name in enumerate(names):
        if kinds[k] == "int":
            for step, text in ((1, f"{name} + 1"), (-1, f"{name} − 1")):
                if evidence.given_follows(at(k, partial(operator.add, step))):
                    return Finding("off by one", f"Your answer for {name} is the right one for {text}: off by one.")
    for k, name in enumerate(names):
        if kinds[k] in ("int", "float"):
            trials: list[tuple[str, Callable[[Any], Any]]] = [
                (f"−{name}", lambda v: -v), (f"2·{name}", lambda v: 2 * v), (f"1/{name}", lambda v: 1 / v),
                (f"√{name}", math.sqrt), (f"|{name}|", abs), (f"1 − {name}", lambda v: 1 - v),
            ]  # fmt: skip
            if kinds[k] == "int":
                trials.append((f"{name}/2", lambda v: v // 2 if v % 2 == 0 else None))
            else:  # the square of a count could keep the right function busy for ever
                trials += [(f"{name}/2", lambda v: v / 2), (f"{name}²", lambda v: v * v)]
        elif kinds[k] == "array":
            trials = [
                (f"−{name}", np.negative), (f"{name} transposed", lambda v: v.T if v.ndim > 1 else None),
                (f"{name} reversed", lambda v: v[::-1].copy()), (f"{name} flipped along all axes", lambda v: np.flip(v).copy()),
                (f"|{name}|", np.abs),
            ]  # fmt: skip
        else:
            continue
        for text, change in trials:
            if evidence.given_follows(at(k, change)):
                return Finding("argument", f"Your answer is the right one for {text} in place of {name}.")
    for i, j in itertools.combinations(range(len(names)), 2):
        if kinds[i] == kinds[j] and kinds[i] != "other":

            def swap(case: Case, i: int = i, j: int = j) -> Case:
                values = list(case)
                values[i], values[j] = values[j], values[i]
                return tuple(values)

            if evidence.given_follows(swap):
                return Finding("exchanged", f"Your answer is the right one with {names[i]} and {names[j]} exchanged.")
    return None


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "array"
    if isinstance(value, (bool, np.bool_)):
        return "other"
    if isinstance(value, (int, np.integer)):
        return "int"
    return "float" if isinstance(value, (float, np.floating)) else "other"


def independent(evidence: Evidence) -> Finding | None:
    """The answer does not look at one of its arguments."""
    if evidence.answer is None or evidence.reference is None or len(evidence.cases) < 2:
        return None
    count = len(evidence.cases)
    # Every case is a starting point: an answer that is cut to a box, say, does not move in the middle of a wall.
    pairs = [(i, (i + step) % count) for step in range(1, min(count, 4)) for i in range(count)]
    for k, name in enumerate(evidence.names):
        right_moves = False
        for i, j in pairs:
            a, b = evidence.cases[i], evidence.cases[j]
            if _kind(a[k]) not in ("int", "float") or a[k] == b[k]:
                continue
            mixed = (*a[:k], b[k], *a[k + 1 :])
            right = _call(evidence.reference, mixed)
            if right is None:
                continue
            given = _call(evidence.answer, mixed)
            if given is None or not evidence.close(given, evidence.given[i]):
                break
            right_moves |= not evidence.close(right, evidence.right[i])
        else:
            if right_moves:
                return Finding("ignored", f"Your answer does not depend on {name}; the right one does.")
    return None


def whole_numbers(evidence: Evidence) -> Finding | None:
    """An array of integers, which cuts off what is written into it."""
    cut = False
    for g, r in zip(evidence.given, evidence.right, strict=True):
        if g.shape != r.shape or not g.ndim or r.dtype.kind != "f":
            return None
        if evidence.close(g, r):
            continue
        if g.dtype.kind not in "iu" or np.all(r == np.round(r)):
            return None
        cut = True
    if not cut:
        return None
    return Finding(
        "whole numbers",
        "Your answer holds whole numbers only; the right one has fractions. An array of integers, such as "
        "np.zeros(n, dtype=int), cuts off what is written into it.",
    )


def entries(evidence: Evidence) -> Finding | None:
    """Some entries of an array are right: which are not?"""
    masks = []
    for g, r in zip(evidence.given, evidence.right, strict=True):
        if g.shape != r.shape or g.dtype.kind not in "iufcb":
            return None
        with _quiet():
            masks.append(~np.isclose(g, r, rtol=evidence.rtol, atol=evidence.atol, equal_nan=True))
    bad = [m for m in masks if m.any()]
    if not bad or all(m.all() for m in bad) or any(m.size == 1 for m in bad):
        return None
    index = next(i for i, m in enumerate(masks) if m.any())
    m, g, r = masks[index], evidence.given[index], evidence.right[index]
    place = tuple(int(i) for i in np.argwhere(m)[0])
    at = place[0] if len(place) == 1 else place
    case, example = "", ""
    if evidence.names:  # where a value is asked, the right one stays a secret
        case = f" at {_case(evidence.names, evidence.cases[index])}"
        example = f" Entry {at}{case}: yours is {describe(g[place])}; right is {describe(r[place])}."
    if all(np.allclose(g[m], -r[m]) for g, r, m in zip(evidence.given, evidence.right, masks, strict=True)):
        return Finding(
            "sign", f"The sign of some entries is wrong, first at index {at}; the others are right." + example
        )
    if all(m.ndim == 1 and m[1:].sum() == 0 for m in bad):
        return Finding("border", "Only the first entry is wrong." + example)
    if all(m.ndim == 1 and m[:-1].sum() == 0 for m in bad):
        return Finding("border", "Only the last entry is wrong." + example)
    inside = [m[tuple(slice(1, -1) for _ in m.shape)] for m in bad]
    if all(m.size and not m.any() for m in inside):
        return Finding("border", "Only entries at the border are wrong; those inside are right." + example)
    if all(m.ndim == 2 and not m[np.eye(*m.shape) == 0].any() for m in bad):
        return Finding("diagonal", "Only the diagonal is wrong." + example)
    if all(m.ndim == 2 and m.shape[0] == m.shape[1] and not np.diag(m).any() for m in bad):
        return Finding("diagonal", "Only the diagonal is right." + example)
    for k, name in enumerate(evidence.names):
        values = [case[k] for case in evidence.cases]
        if not all(
            isinstance(v, np.ndarray) and v.shape == m.shape and v.dtype.kind in "iuf"
            for v, m in zip(values, masks, strict=True)
        ):
            continue
        for text, test in (
            ("negative", lambda v: v < 0), ("positive", lambda v: v > 0), ("0", lambda v: v == 0),
            ("not 0", lambda v: v != 0), ("larger than 1 in absolute value", lambda v: np.abs(v) > 1),
        ):  # fmt: skip
            if all(np.array_equal(test(v), m) for v, m in zip(values, masks, strict=True)):
                return Finding(
                    "special case", f"The entries are wrong where {name} is {text}, and right elsewhere." + example
                )
    share = f"{int(m.sum())} of {m.size} entries are wrong{case}."
    return Finding(
        "entries", share + (example.replace(case, "") if example else f" The first of them has the index {at}.")
    )


def precision(evidence: Evidence) -> Finding | None:
    """Nearly right: rounded, or computed with too few digits or steps."""
    worst = 0.0
    for g, r in zip(evidence.given, evidence.right, strict=True):
        if g.shape != r.shape or g.dtype.kind not in "iufc" or r.dtype.kind not in "iufc":
            return None
        scale = float(np.abs(r).max()) if r.size else 0.0
        if scale == 0:
            if not evidence.close(g, r):
                return None
            continue
        with _quiet():
            worst = max(worst, float(np.abs(g - r).max()) / scale)
    if not 0 < worst < 2e-3:
        return None
    digits = max(int(-math.log10(worst)), 1)
    if any(g.dtype in (np.float32, np.complex64) for g in evidence.given) and worst < 1e-5:
        return Finding(
            "precision",
            "Your answer was computed in single precision: it is right to about 7 digits only. Use float64.",
        )
    for places in range(1, 12):
        if evidence.given_is(partial(np.round, decimals=places)):
            return Finding(
                "precision", f"Your answer is rounded to {places} places: give all digits, or the expression."
            )
    return Finding(
        "precision",
        f"Your answer is right to about {digits} digits. A rounded constant, a difference quotient, too few steps?",
    )


def special_case(evidence: Evidence) -> Finding | None:
    """Right in some cases: in which?"""
    agreement = evidence.agreement
    if all(agreement) or not any(agreement):
        return None
    wrong = [not a for a in agreement]
    first = wrong.index(True)
    where = _where(evidence, wrong)
    if where is None:
        text = f"is right in {sum(agreement)} of {len(agreement)} cases."
    elif where.startswith("except"):
        text = f"is right only {where.removeprefix('except ')}."
    else:
        text = f"is wrong {where}, and right elsewhere."
    return Finding("special case", f"Your answer {text}" + _there(evidence, wrong) + _example(evidence, first))


def _there(evidence: Evidence, wrong: list[bool]) -> str:
    """Return what one could say of the wrong cases alone."""
    if sum(wrong) < 3:
        return ""

    def pick(values: list[Any]) -> list[Any]:
        return [v for v, w in zip(values, wrong, strict=True) if w]

    part = replace(evidence, right=pick(evidence.right), given=pick(evidence.given), cases=pick(evidence.cases))
    for diagnoser in (sign, factor, fixed, argument_factor, constant_shift, other_arguments, other_function):
        finding = diagnoser(part)
        if finding is not None:
            return (
                " Where it is wrong: "
                + finding.message[0].lower()
                + finding.message[1:].replace(", in every case tried", "")
            )
    return ""


def fixed(evidence: Evidence) -> Finding | None:
    """The answer is the same whatever the arguments are."""
    if len(evidence.given) < 3 or any(g.shape != evidence.given[0].shape for g in evidence.given):
        return None
    if all(evidence.close(g, evidence.given[0]) for g in evidence.given) and not all(
        evidence.close(r, evidence.right[0]) if r.shape == evidence.right[0].shape else False for r in evidence.right
    ):
        return Finding(
            "constant",
            f"Your answer is {describe(evidence.given[0])} in every case; it should depend on its arguments.",
        )
    return None


DIAGNOSERS: tuple[Callable[[Evidence], Finding | None], ...] = (
    shape,
    not_finite,
    negated,
    sign,
    factor,
    fixed,
    terms,
    factors,
    other_function,
    argument_factor,
    constant_shift,
    arrangement,
    other_arguments,
    independent,
    whole_numbers,
    precision,
    entries,
    special_case,
)
"""In the order in which they are asked. The general ones, which nearly always have something to say, come last."""


def diagnose(evidence: Evidence) -> Finding:
    """Return what is wrong with an answer that is wrong.

    Args:
        evidence: what it gave, and what is right.

    Returns:
        The first diagnoser's finding; a plain comparison where none of them knows the mistake.

    Examples:
        ```python
        import numpy as np
        from derivable.exercises.diagnosis import Evidence, diagnose

        right = [np.array([[1.0, 2.0], [3.0, 4.0]])]
        print(diagnose(Evidence(right, [right[0].T])).message)
        #> Your answer is the transposed of the right one: rows and columns are exchanged.
        ```
    """
    with _quiet():
        for diagnoser in DIAGNOSERS:
            finding = diagnoser(evidence)
            if finding is not None:
                return finding
    wrong = [i for i, a in enumerate(evidence.agreement) if not a]
    index = wrong[0] if wrong else 0
    if not evidence.names:
        return Finding("value", "That is not it.")
    return Finding("value", "Your answer differs." + _example(evidence, index))
