"""The table to read beside the page and the one of the transformation say the same where both have a function."""

import numpy as np
import pytest

from derivable.autodiff.overloading import PARTIALS
from derivable.autodiff.rules.table import ELEMENTWISE

SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "remainder": "%"}
SYMBOLS |= {"absolute": "abs", "negative": "neg", "positive": "pos"}
SHARED = [n for n in PARTIALS if SYMBOLS.get(n, n) in ELEMENTWISE and hasattr(np, n)]


def test_most_functions_stand_in_both_tables():
    assert len(SHARED) >= 30


@pytest.mark.parametrize("name", SHARED)
def test_both_tables_agree(name):
    # Within the domain of each function, away from kinks; arccosh and hypot want numbers above 1.
    x, y = (1.7, 2.3) if name in ("arccosh", "hypot", "remainder") else (0.37, 0.81)
    function = getattr(np, name)
    ours, theirs = PARTIALS[name], ELEMENTWISE[SYMBOLS.get(name, name)].partials
    out = function(x, y) if len(ours) == 2 else function(x)
    names = {**vars(np), "x": x, "y": y, "z": out, "out": out, "ln2": np.log(2), "ln10": np.log(10)}
    for a, b in zip(ours, theirs, strict=True):
        assert eval(a, names) == pytest.approx(eval(b or "0.0", names), rel=1e-13)  # None: zero everywhere
