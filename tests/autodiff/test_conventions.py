"""The table of conventions in the chapter: what JAX and PyTorch answer at kinks and edges.

If a new version of a peer answers otherwise, the table and its versions must be brought up to date.
"""

import numpy as np
import pytest

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
