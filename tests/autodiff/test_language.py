"""The chapter's tables of what is read and what is refused say what happens."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import derivable as dv
from derivable.autodiff.kinds import DerivativeError

FILE = Path(__file__).parents[2] / "docs" / "figures" / "language.py"
SPEC = importlib.util.spec_from_file_location("language_of_the_chapter", FILE)
language = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = language  # where Python looks for the source of its functions
SPEC.loader.exec_module(language)


@pytest.mark.parametrize("program", language.READ, ids=lambda f: f.__name__)
def test_programs_that_are_read(program):
    kind = language.kind(program)
    x = np.array([0.7, 1.3, 0.4]) if kind.ndim else 0.8
    gradient = dv.grad(program).maker.function_for((kind,), plain=True)
    np.testing.assert_allclose(gradient(x), dv.numerical_gradient(program, x), rtol=1e-7)


@pytest.mark.parametrize("program", language.REFUSED, ids=lambda f: f.__name__)
def test_programs_that_are_refused(program):
    with pytest.raises(DerivativeError, match=program.__name__) as error:
        dv.grad(program).maker.program((language.kind(program),))
    last = str(error.value).splitlines()[-1]
    assert ";" in last or "use" in last, "a refusal names the remedy"
    assert language.refusal(program) == str(error.value)


def test_the_list_of_functions_is_that_of_the_rules():
    text = language.functions()
    for word in ("math", "np", "np.linalg", "dv"):
        assert f"<code>{word}</code>" in text
    assert all(word in text for word in ("logaddexp", "cholesky", "conv2d", "argsort", "astype"))
