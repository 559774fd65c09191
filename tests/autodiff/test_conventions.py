"""The table of conventions in the chapter: what the package, JAX and PyTorch answer at kinks and edges.

If a new version of a peer answers otherwise, the table and its versions must be brought up to date.
"""

from pathlib import Path

import numpy as np
import pytest

import derivable as dv
from autodiff import running

NAN, INF = float("nan"), float("inf")

# at: (the function, where, what JAX answers, what PyTorch answers)
TABLE = {
    "abs at 0": (lambda np, x: np.abs(x), (0.0,), (1.0,), (0.0,)),
    "maximum at a tie": (lambda np, x, y: np.maximum(x, y), (1.0, 1.0), (0.5, 0.5), (0.5, 0.5)),
    "clip at its lower border": (lambda np, x: np.clip(x, 0, 1), (0.0,), (0.5,), (1.0,)),
    "clip at its upper border": (lambda np, x: np.clip(x, 0, 1), (1.0,), (0.5,), (1.0,)),
    "sqrt at 0": (lambda np, x: np.sqrt(x), (0.0,), (INF,), (INF,)),
    "arctan2 at the origin": (lambda np, x, y: np.arctan2(x, y), (0.0, 0.0), (NAN, NAN), (0.0, 0.0)),
    "x to the y at (0, 0)": (lambda np, x, y: x**y, (0.0, 0.0), (NAN, 0.0), (0.0, 0.0)),
    "x to the 0 at 0": (lambda np, x: x**0.0, (0.0,), (NAN,), (0.0,)),
    "where and sqrt at 0": (lambda np, x: np.where(x < 1, x, np.sqrt(x)), (0.0,), (NAN,), (NAN,)),
    "a root times itself at 0": (lambda np, x: np.sqrt(x) * np.sqrt(x), (0.0,), (NAN,), (NAN,)),
    "log1p of exp at 800": (lambda np, x: np.log1p(np.exp(x)), (800.0,), (NAN,), (NAN,)),
}
ARRAYS = {
    "max of an array with ties": (lambda np, x: np.max(x), (1.0, 1.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.5, 0.0)),
    "norm at 0": (lambda np, x: np.linalg.norm(x), (0.0, 0.0), (NAN, NAN), (0.0, 0.0)),
}


@pytest.mark.peer
@pytest.mark.parametrize("name", [*TABLE, *ARRAYS])
def test_jax(name):
    jax = pytest.importorskip("jax", reason="the table states what JAX answers")
    jax.config.update("jax_enable_x64", True)
    f, at, expected, _ = {**TABLE, **ARRAYS}[name]
    if name in ARRAYS:
        found = jax.grad(lambda x: f(jax.numpy, x))(jax.numpy.array(at))
    else:
        found = jax.grad(lambda *x: f(jax.numpy, *x), argnums=tuple(range(len(at))))(*at)
    np.testing.assert_array_equal(np.array(found), expected)


@pytest.mark.peer
@pytest.mark.parametrize("name", [*TABLE, *ARRAYS])
def test_torch(name):
    torch = pytest.importorskip("torch", reason="the table states what PyTorch answers")
    f, at, _, expected = {**TABLE, **ARRAYS}[name]
    names = {"clip": torch.clamp, "arctan2": torch.atan2}
    space = type("Torch", (), {"__getattr__": lambda self, n: names.get(n) or getattr(torch, n)})()
    x = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in ([list(at)] if name in ARRAYS else at)]
    found = torch.autograd.grad(f(space, *x), x)
    np.testing.assert_array_equal(np.array([g.numpy() for g in found]).reshape(-1), expected)


HERE = {  # the row of the chapter's table: (the function, where, what the package answers)
    r"$\lvert x\rvert$ at 0": (lambda x: abs(x), (0.0,), (0.0,)),
    "relu at 0": (lambda x: dv.relu(x), (0.0,), (0.0,)),
    r"$\max(x, y)$ at $x = y$": (lambda x, y: max(x, y), (1.0, 1.0), (0.5, 0.5)),
    "maximum of an array with ties": (lambda x: np.max(x), (np.array([1.0, 3.0, 3.0]),), ([0.0, 0.5, 0.5],)),
    "clip to $[0, 1]$ at 0 or 1": (
        lambda x, y: np.clip(x, 0.0, 1.0) + np.clip(y, 0.0, 1.0),
        (0.0, 1.0),
        (1.0, 1.0),
    ),
    r"$\sqrt x$ at 0": (lambda x: np.sqrt(x), (0.0,), (INF,)),
    r"$\lVert x\rVert$ at 0": (lambda x: np.linalg.norm(x), (np.zeros(2),), ([0.0, 0.0],)),
    "$x^y$ at $(0, 0)$ by $x$": (lambda x, y: x**y, (0.0, 0.0), (0.0, 0.0)),
    "$x^0$ at $x = 0$": (lambda x: x**0, (0.0,), (0.0,)),
    "arctan2 at the origin": (lambda x, y: np.arctan2(x, y), (0.0, 0.0), (NAN, NAN)),
    r"$x$ if $x < 1$ else $\sqrt x$, by `where`, at 0": (lambda x: np.where(x < 1, x, np.sqrt(x)), (0.0,), (1.0,)),
    r"$\sqrt x \cdot \sqrt x$ at 0": (lambda x: np.sqrt(x) * np.sqrt(x), (0.0,), (NAN,)),
    "$\\ln(1 + e^x)$ as written, at 800": (lambda x: np.log(1 + np.exp(x)), (800.0,), (NAN,)),
}
WORDS = {"0": 0.0, "1": 1.0, "½": 0.5, "(½, ½)": 0.5, "equal": 0.5, "NaN": NAN, r"$\infty$": INF}
BESIDES = {  # the conventions that only the table of the rules names (src/derivable/autodiff/rules/table.py)
    "sign at 0": (lambda x: np.sign(x), (0.0,), (0.0,)),
    "floor at 1": (lambda x: np.floor(x), (1.0,), (0.0,)),
    "minimum at a tie": (lambda x, y: np.minimum(x, y), (1.0, 1.0), (0.5, 0.5)),
    "clip at its border, by the border": (lambda x, y: np.clip(x, y, 2.0), (1.0, 1.0), (1.0, 0.0)),
    "minimum of an array with ties": (lambda x: np.min(x), (np.array([1.0, 1.0, 3.0]),), ([0.5, 0.5, 0.0],)),
    "a sort with ties": (lambda x: np.sort(x)[0], (np.array([1.0, 1.0]),), ([1.0, 0.0],)),
    "log at 0": (lambda x: np.log(x), (0.0,), (INF,)),
    "the power 0.5 at 0": (lambda x: x**0.5, (0.0,), (INF,)),
    "0 to the y at y = 2": (lambda x, y: x**y, (0.0, 2.0), (0.0, 0.0)),
    "hypot at the origin": (lambda x, y: np.hypot(x, y), (0.0, 0.0), (0.0, 0.0)),
    "std of equal numbers": (lambda x: np.std(x), (np.ones(3),), ([0.0, 0.0, 0.0],)),
}


@pytest.mark.parametrize("name", [*HERE, *BESIDES])
def test_here_in_both_modes(name):
    f, at, expected = {**HERE, **BESIDES}[name]
    argnums = tuple(range(len(at)))
    with np.errstate(all="ignore"):
        _, found = running.value_and_grad(f, argnums, at)
        for gradient, e in zip(found, expected, strict=True):
            np.testing.assert_array_equal(gradient, e)
        for k, e in enumerate(expected):
            for j in np.ndindex(np.shape(at[k])):
                tangents = [np.zeros_like(a) if np.ndim(a) else 0.0 for a in at]
                if j:
                    tangents[k][j] = 1.0
                else:
                    tangents[k] = 1.0
                _, tangent = running.jvp(f, argnums, at, tuple(tangents))
                np.testing.assert_array_equal(tangent, np.asarray(e)[j])


def test_the_table_of_the_chapter_says_what_the_package_answers():
    text = (Path(__file__).parents[2] / "docs" / "chapters" / "autodiff.md").read_text(encoding="utf-8")
    table = text.split("| at | derivative | here |")[1].split("\n\n")[0].splitlines()[2:]
    rows = {cells[1].strip(): cells[3].strip() for cells in (line.split("|") for line in table)}
    assert rows.keys() == HERE.keys()
    for name, cell in rows.items():
        _, _, expected = HERE[name]
        assert np.array_equal(np.max(np.asarray(expected[0])), WORDS[cell], equal_nan=True), name
