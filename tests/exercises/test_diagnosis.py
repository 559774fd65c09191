"""The diagnosers: each finds its own mistake in any right function, and none speaks of an answer that is right."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from derivable.exercises.diagnosis import DIAGNOSERS, Evidence, describe, diagnose

few = settings(max_examples=30)
NUMBER = st.floats(0.3, 9.0)


def evidence(right, wrong, cases, names="abc", **more):
    """What one function gives beside another, on the cases."""
    names = tuple(names)[: len(cases[0])]
    with np.errstate(all="ignore"):
        values = [np.asarray(right(*c)) for c in cases], [np.asarray(wrong(*c)) for c in cases]
    return Evidence(*values, names, list(cases), right, wrong, **more)


def found(right, wrong, cases, names="abc", **more):
    return diagnose(evidence(right, wrong, cases, names, **more))


def smooth(k):
    """A function of two numbers without symmetries, one for each k."""
    return lambda a, b: np.exp(-0.1 * k * a) + 0.7 * a * b + np.sin(1 + k * b)


# Fixed numbers that satisfy no small relation, so that no two mistakes look the same.
PAIRS = [(0.73, 1.91), (1.37, 0.59), (2.11, 3.23), (0.31, 2.77), (3.83, 1.13), (1.71, 4.19)]
WHOLE = [(1, 5), (2, 7), (3, 4), (6, 9), (4, 11)]
ROWS = [(np.array([1.0, -2.0, 4.0, 0.5, 7.0]),), (np.array([0.3, 1.7, -5.0, 2.0]),), (np.array([3.0, 8.0, -1.0]),)]


@few
@given(st.integers(1, 9), st.sampled_from([2, 3, 0.5, 0.25, 1 / 3, -2, np.pi, 1 / np.sqrt(2)]))
def test_a_constant_factor_is_found(k, c):
    right = smooth(k)
    finding = found(right, lambda a, b: c * right(a, b), PAIRS)
    assert finding.name == "factor"
    assert "times the right one" in finding.message or "of the right one" in finding.message


@few
@given(st.integers(1, 9))
def test_a_sign_is_found(k):
    right = smooth(k)
    assert found(right, lambda a, b: -right(a, b), PAIRS).name == "sign"


def test_a_sign_that_is_wrong_in_some_cases_is_located():
    finding = found(lambda a: a**3, lambda a: abs(a) ** 3, [(x,) for x in (-3.0, -1.5, 0.0, 0.7, 2.0)])
    assert finding.name == "sign"
    finding = found(lambda a: abs(a) ** 3, lambda a: a**3, [(x,) for x in (-3.0, -1.5, 0.5, 0.7, 2.0)])
    assert (finding.name, "where a < 0" in finding.message) == ("sign", True)


@few
@given(st.integers(1, 9), st.sampled_from([1, -1, 2, -2, 0.5, -0.5]), st.sampled_from("ab"))
def test_a_factor_that_is_a_power_of_an_argument_is_found(k, power, name):
    right = smooth(k)
    finding = found(right, lambda a, b: right(a, b) * (a if name == "a" else b) ** power, PAIRS)
    assert finding.name == "factor"
    assert name in finding.message.replace("a factor", "").replace("answer", "").split("the right one")[0] or power < 0


def test_n_for_n_minus_one_is_found():
    def variance(x):
        return np.var(x, ddof=1)

    finding = found(variance, np.var, [(row,) for (row,) in ROWS], "x")
    assert finding.name == "off by one"
    assert "(len(x) − 1)/len(x)" in finding.message


@few
@given(st.integers(1, 9), st.floats(0.1, 5))
def test_an_added_constant_is_found(k, c):
    right = smooth(k)
    assert found(right, lambda a, b: right(a, b) + c, PAIRS).name in ("shift", "off by one")


@few
@given(st.integers(1, 9), st.sampled_from("ab"), st.sampled_from([1, -1, 0.5]))
def test_a_missing_argument_is_found(k, name, c):
    right = smooth(k)
    finding = found(right, lambda a, b: right(a, b) + c * (a if name == "a" else b), PAIRS)
    assert finding.name == "terms"
    assert name in finding.message.removeprefix("Your answer is")


@few
@given(st.integers(1, 9), st.sampled_from([1, -1]), st.sampled_from([0, 1]))
def test_an_index_that_is_off_by_one_is_found(k, step, place):
    right = smooth(k)

    def wrong(a, b):
        return right(a + step, b) if place == 0 else right(a, b + step)

    finding = found(right, wrong, WHOLE)
    assert finding.name == "off by one"
    assert ("a" if place == 0 else "b") in finding.message


@few
@given(st.integers(1, 9))
def test_exchanged_arguments_are_found(k):
    right = smooth(k)
    assert found(right, lambda a, b: right(b, a), PAIRS).name == "exchanged"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda a: -a, "−a"), (lambda a: 2 * a, "2·a"), (lambda a: a / 2, "a/2"), (lambda a: 1 / a, "1/a"),
        (lambda a: a * a, "a²"), (np.sqrt, "√a"), (lambda a: 1 - a, "1 − a"),
    ],
)  # fmt: skip
def test_a_changed_argument_is_found(change, text):
    right = smooth(3)
    finding = found(right, lambda a, b: right(change(a), b), PAIRS)
    assert finding.name == "argument"
    assert f"{text} in place of a" in finding.message


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda r: 1 / r, "reciprocal"), (np.square, "power"), (np.sqrt, "power"), (lambda r: 1 - r, "complement"),
        (np.floor, "rounded"), (np.ceil, "rounded"), (np.log, "logarithm"), (np.exp, "logarithm"),
    ],
)  # fmt: skip
def test_one_function_too_many_is_found(change, name):
    right = smooth(2)
    assert found(right, lambda a, b: change(right(a, b)), PAIRS).name == name


@few
@given(
    st.lists(st.sampled_from([0, 1, -1, 2, 0.5]), min_size=3, max_size=3).filter(lambda c: len(set(c)) > 1),
)
def test_the_coefficients_of_terms_are_found(c):
    parts = {"one": lambda a, b: a * a, "two": lambda a, b: -3 * np.sin(b), "three": lambda a, b: np.exp(a - b)}

    def total(factors):
        return lambda a, b: sum(f * part(a, b) for f, part in zip(factors, parts.values(), strict=True))

    assume(c != [1, 1, 1])
    finding = found(total([1, 1, 1]), total(c), PAIRS, terms=parts)
    assert finding.name == "terms"
    for factor, name in zip(c, parts, strict=True):
        assert (f"term {name} " in finding.message) == (factor != 1)


@few
@given(st.lists(st.sampled_from([0, 1, -1, 2, 0.5]), min_size=2, max_size=2).filter(lambda p: p != [1, 1]))
def test_the_powers_of_factors_are_found(powers):
    parts = {"one": lambda a, b: 1 + a * a, "two": lambda a, b: np.exp(b - 2) + 1}

    def product(powers):
        return lambda a, b: np.prod([part(a, b) ** p for p, part in zip(powers, parts.values(), strict=True)])

    assume(powers not in ([-1, -1], [2, 2], [0.5, 0.5], [0, 0]))  # the whole to a power, or a constant
    finding = found(product([1, 1]), product(powers), PAIRS, factors=parts)
    assert finding.name == "factor"
    for power, name in zip(powers, parts, strict=True):
        assert (f"{name} " in finding.message or f"by {name}" in finding.message) == (power != 1)


@pytest.mark.parametrize(
    ("wrong", "name", "part"),
    [
        (lambda x: 2 * np.cumsum(x)[::-1] / 2, "reversed", "reverse order"),
        (lambda x: np.roll(np.cumsum(x), 1), "off by one", "later"),
        (lambda x: np.append(0.0, np.cumsum(x)[:-1]), "off by one", "later"),
        (lambda x: np.append(np.cumsum(x)[1:], 9.0), "off by one", "earlier"),
        (lambda x: np.cumsum(x)[:-1], "off by one", "add the last"),
        (lambda x: np.append(0.0, np.cumsum(x)), "off by one", "leave out the first"),
        (lambda x: np.sort(np.cumsum(x)), "order", "another order"),
        (lambda x: np.cumsum(x)[:, None], "shape", "arrangement"),
        (lambda x: np.cumsum(x).sum(), "reduced", "sum"),
        (lambda x: np.where(np.arange(len(x)) == 0, 99.0, np.cumsum(x)), "border", "first"),
        (lambda x: np.where(np.arange(len(x)) == len(x) - 1, 99.0, np.cumsum(x)), "border", "last"),
        (lambda x: np.where(x < 0, 77.0, np.cumsum(x)), "special case", "where x is negative"),
        (lambda x: np.cumsum(x) * np.where(np.arange(len(x)) == 1, np.nan, 1), "not finite", "NaN at index 1"),
        (lambda x: np.cumsum(x, dtype=np.float32) * np.float32(1.1) / np.float32(1.1), "precision", "single"),
        (lambda x: np.cumsum(x) * (1 + 1e-5), "factor|precision", ""),
        (lambda x: np.cumsum(x) * (1 + 5e-8), "precision", "about 7 digits"),
        (lambda x: np.cumsum(x) * 1e-20, "value|entries", ""),
        (lambda x: np.cumsum(x).astype(int), "whole numbers|rounded", "whole numbers|rounded"),
        (lambda x: (np.cumsum(x) + 0.3).astype(int), "whole numbers", "dtype=int"),
        (lambda x: np.cumsum(x)[1], "reduced", "index 1 alone"),
    ],
)
def test_mistakes_in_rows_are_found(wrong, name, part):
    import re

    finding = found(np.cumsum, wrong, ROWS, "x")
    assert re.fullmatch(name, finding.name), finding
    assert any(text in finding.message for text in part.split("|"))


MATRICES = [(np.arange(6.0).reshape(2, 3) ** 2 + 1,), (np.array([[1.0, 5.0], [2.0, 7.0], [0.0, 4.0]]),)]


@pytest.mark.parametrize(
    ("right", "wrong", "name"),
    [
        (lambda m: m @ m.T + np.tri(len(m)), lambda m: (m @ m.T + np.tri(len(m))).T, "transposed"),
        (lambda m: m, lambda m: m.T, "transposed"),
        (lambda m: m, lambda m: m[:, ::-1], "reversed"),
        (lambda m: m, lambda m: m[::-1, ::-1], "reversed"),
        (lambda m: m, lambda m: np.roll(m, 1, axis=1), "off by one"),
        (lambda m: m.sum(), lambda m: m.sum(axis=0), "not reduced"),
        (lambda m: m @ m.T, lambda m: m @ m.T + np.eye(len(m)), "diagonal"),
        (lambda m: m[:1, :1], lambda m: m[:2, :2], "off by one"),
        (lambda m: np.pad(m, 1)[1:-1, 1:-1], lambda m: np.pad(m, 1), "shape"),
    ],
)
def test_mistakes_in_matrices_are_found(right, wrong, name):
    assert found(right, wrong, MATRICES, "m").name == name


def test_an_argument_that_is_not_looked_at_is_named():
    right = smooth(4)
    finding = found(right, lambda a, b: a**3 + 2, PAIRS)
    assert finding.name == "ignored"
    assert "depend on b" in finding.message


def test_an_argument_that_is_looked_at_in_some_cases_only_is_not_said_to_be_ignored():
    right = smooth(4)
    finding = found(right, lambda a, b: a + 3 * b if a == PAIRS[-1][0] else a**3 + 2, PAIRS)
    assert finding.name != "ignored", finding


def test_the_same_answer_everywhere_is_found():
    assert found(smooth(4), lambda a, b: 0.5, PAIRS).name == "constant"


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        (lambda a: a * a if a >= 0 else a, "where a < 0"),
        (lambda a: 1.0 if a == 1 else a + 3, "right only where a = 1"),
        (lambda a: a * a if abs(a) <= 1 else 40 + a, "where |a| > 1"),
        (lambda a: a * a if a >= 0 else 2 * a * a, "Where it is wrong: your answer is 2 times"),
    ],
)
def test_where_an_answer_is_right_is_said(wrong, part):
    cases = [(x,) for x in (-3.0, -1.5, -0.5, 0.25, 1.0, 1.75, 2.5)]
    finding = found(lambda a: a * a, wrong, cases)
    assert finding.name == "special case"
    assert part in finding.message


def test_true_for_false_is_found():
    cases = [(x,) for x in (-1.0, 0.5, 2.0)]
    assert found(lambda a: a > 0, lambda a: a <= 0, cases).name == "negated"


@pytest.mark.parametrize(
    ("right", "given_", "name"),
    [
        (0.25, -0.25, "sign"), (0.25, 0.5, "factor"), (0.3, 1 / 0.3, "reciprocal"), (0.3, 0.7, "complement"),
        (7, 8, "off by one"), (2 / 3, 0.667, "precision"), (2 / 3, 0.6666, "precision"), (1.7, 5.13, "value"),
        (1.7, np.nan, "not finite"), (0.7, [0.7], "shape"), ([1.0, 2.0, 4.0], [2.0, 1.0, 4.0], "order"),
        (1 + 2j, 1 - 2j, "conjugate"), ([1.5, 2.5, 4.5], [1.5, -2.5, 4.5], "sign"),
        ([1.5, 2.5, 4.5, 7.5], [1.5, 3.5, 9.5, 7.5], "entries"), ([1.5, 2.5, 4.5], [1.5, 2.5, 9.0], "border"),
    ],
)  # fmt: skip
def test_single_values(right, given_, name):
    finding = diagnose(Evidence([np.asarray(right)], [np.asarray(given_)], rtol=1e-6))
    assert finding.name == name
    assert "everywhere" not in finding.message, "there is one place only"
    for number in np.ravel(right):
        if number != 1:
            assert str(number) not in finding.message, "the right value stays a secret"


@few
@given(st.integers(1, 9), st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=5))
def test_no_diagnoser_speaks_of_a_right_answer(k, cases):
    right = smooth(k)
    seen = evidence(
        right,
        right,
        cases,
        terms={"x": lambda a, b: right(a, b) - a, "y": lambda a, b: a},
        factors={"x": lambda a, b: right(a, b) / a, "y": lambda a, b: a},
    )
    assert all(seen.agreement)
    assert [d.__name__ for d in DIAGNOSERS if d(seen) is not None] == []


@few
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=4), st.integers(0, 3))
def test_whatever_is_given_there_is_something_to_say(values, dimensions):
    right = np.arange(1.0, 1 + 2**dimensions).reshape((2,) * dimensions)
    finding = diagnose(Evidence([right], [np.array(values)]))
    assert finding.name
    assert finding.message[-1] in ".?"


def test_values_are_described_in_few_words():
    assert describe(np.arange(3)) == "[0, 1, 2]"
    assert describe(np.zeros((4, 5))) == "an array of shape (4, 5)"
    assert describe(0.1 + 0.2) == "0.3"
    assert describe(True) == "True"
    assert describe(np.int64(3)) == "3"
    assert describe(describe) == "describe"
