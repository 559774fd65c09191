"""Formulas as text: what they mean, and that nothing but a formula is read."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivable.exercises.formulas import FormulaError, formula


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("2 * x + 1", lambda x: 2 * x + 1),
        ("-x**2", lambda x: -(x**2)),
        ("sqrt(x) / pi", lambda x: math.sqrt(x) / math.pi),
        ("np.log(x) + np.pi + math.exp(1)", lambda x: math.log(x) + math.pi + math.e),
        ("maximum(x, 1) if x > 0.5 else 0", lambda x: max(x, 1) if x > 0.5 else 0),
        ("where(x >= 1, x, 3)", lambda x: x if x >= 1 else 3),
        ("x % 2 + x // 2", lambda x: x % 2 + x // 2),
        ("1 / 3", lambda x: 1 / 3),
        ("acosh(1 + x) + atan(x)", lambda x: math.acosh(1 + x) + math.atan(x)),
    ],
)
def test_formulas_mean_what_python_means(text, right):
    function = formula(text, ("x",))
    for x in (0.25, 1.0, 2.5):
        assert function(x) == pytest.approx(right(x), rel=1e-15)


def test_greek_letters_and_words_are_the_same():
    for text in ("η * λ + ε", "eta * lam + eps", "eta * λ + epsilon", "eta * lambda_ + eps"):
        assert formula(text, ("eta", "lam", "eps"))(2.0, 3.0, 0.5) == 6.5
    assert formula("π")() == math.pi


def test_signs_as_the_book_prints_them_are_read():
    assert formula("−x · 2 × x − 1", ("x",))(3.0) == -19.0


def test_a_row_of_formulas_is_read_where_one_is_asked():
    for text in ("[1, sqrt(4) * x]", "(1, 2 * x)", "1, x + x"):
        assert formula(text, ("x",), several=True)(3.0) == [1.0, 6.0]
        with pytest.raises(FormulaError, match="only arithmetic"):
            formula(text, ("x",))
    with pytest.raises(FormulaError, match="only arithmetic"):
        formula("[1, [2]]", several=True)


def test_arrays_go_through():
    x = np.array([1.0, 4.0], dtype=np.float32)
    assert np.array_equal(formula("sqrt(x) + x", ("x",))(x), [2.0, 6.0])


def test_a_large_power_is_a_float_and_quick():
    with np.errstate(over="ignore"):
        assert formula("9**9**9")() == np.inf


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x^2", "**"),
        ("2x", "2 * x, not 2x"),
        ("(x + 1)(x - 1)", "product needs its sign"),
        ("2(x + 1)", "product needs its sign"),
        ("x(x + 1)", "product needs its sign"),
        ("sqrt(x", "closing"),
        ("x +", "cannot be read"),
        ("", "empty"),
        ("  ", "empty"),
        ("f(x) = x", "right side"),
        ("y = x", "right side"),
        ("dy/dx = x", "right side"),
        ("-1,27", "decimal point, not a comma: '-1.27'"),
        ("lambda * x", "lam"),
        ("sqr(x)", "did you mean sqrt"),
        ("z", "The variable is x"),
        ("πx", "π * x"),
        ("xe", "x * e"),
        ("x.real", "only arithmetic"),
        ("x[0]", "only arithmetic"),
        ("True", "not True"),
        ("1j", "not 1j"),
        ("'a'", "not 'a'"),
        ("x and x", "only arithmetic"),
        ("x & x", "BitAnd"),
        ("~x", "only arithmetic"),
        ("1 < x < 2", "only arithmetic"),
        ("[x for x in x]", "only arithmetic"),
        ("(lambda: 1)()", "lam"),
        ("sqrt(x, out=x)", "no keywords"),
        ("__import__('os')", "not known"),
        ("np.load('x')", "not known"),
        ("x.__class__", "only arithmetic"),
        ("open('x')", "not known"),
        ("exec", "not known"),
        ("x" * 2000, "longer"),
        ("(" * 900 + "x", "brackets|cannot"),
        ("x\x00", "cannot"),
    ],
)
def test_what_is_no_formula_is_refused(text, part):
    with pytest.raises(FormulaError, match=part.replace("*", r"\*").replace("(", r"\(")):
        formula(text, ("x",))


@given(st.text(alphabet="x1.+-*/()^ ,sqrtexpη[]'_=:<>", max_size=30))
def test_any_text_is_a_formula_or_a_formula_error(text):
    try:
        function = formula(text, ("x",))
    except FormulaError:
        return
    assert callable(function)
