"""The derivatives of more than 200 functions agree with JAX's: both modes, and of second order.

`python tests/autodiff/test_rules_jax.py` compares all of them compiled; see tests/README.md.
"""

import sys

import numpy as np
import pytest

try:
    from autodiff import functions, running
except ImportError:  # run as a command from this folder
    import functions
    import running

FUNCTIONS = functions.everything()
TOLERANCE = {"rtol": 1e-10, "atol": 1e-12}


def directions(function, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=np.shape(v)) if np.ndim(v) else float(rng.normal()) for v in function.moving)


def expected(function):
    """Return what JAX says: the value, a cotangent, the pulled-back, the pushed-forward and the Hessian product."""
    import jax

    modules = functions.jax_modules()
    del modules["jax"]
    moved = directions(function)
    f = function.make(body=function.counterpart, **modules)

    def of(*moving):
        arguments = list(function.arguments)
        for k, v in zip(function.argnums, moving, strict=True):
            arguments[k] = v
        return f(*arguments)

    with jax.enable_x64(True):
        moving = tuple(jax.numpy.asarray(v) for v in function.moving)
        tangents = tuple(jax.numpy.asarray(v) for v in moved)
        value, tangent = jax.jvp(of, moving, tangents)
        c = np.random.default_rng(1).normal(size=value.shape)

        def pulled(*moving):
            return jax.vjp(of, *moving)[1](jax.numpy.asarray(c, value.dtype))

        gradient, product = jax.jvp(pulled, moving, tangents)
    return moved, np.asarray(value), c, np.asarray(tangent), gradient, product


def compare(function, compiled=False):
    """Compare value, gradient, vjp, jvp and hvp of one function with JAX's; raise AssertionError where they differ."""
    moved, value, c, tangent, gradient, product = expected(function)
    if compiled:
        results = compiled_results(function, moved, c)
    else:
        f, weighted = function.make(), function.make(weighted=True)
        cotangent = c if c.ndim else float(c)
        results = (
            running.vjp(f, function.argnums, function.arguments, cotangent),
            running.jvp(f, function.argnums, function.arguments, moved),
            running.value_and_grad(weighted, function.argnums, (*function.arguments, cotangent)),
            running.hvp(weighted, function.argnums, (*function.arguments, cotangent), moved),
        )
    (value_1, pulled), (value_2, pushed), (total, again), second = results
    for got in (value_1, value_2):
        assert np.shape(got) == value.shape
        np.testing.assert_allclose(got, value, **TOLERANCE)
    np.testing.assert_allclose(total, np.sum(c * value), err_msg="value of value_and_grad", **TOLERANCE)
    np.testing.assert_allclose(pushed, tangent, err_msg="jvp", **TOLERANCE)
    for what, found, right in (("vjp", pulled, gradient), ("grad", again, gradient), ("hvp", second, product)):
        for a, b in zip(found, right, strict=True):
            assert np.shape(a) == np.shape(b)
            np.testing.assert_allclose(a, np.asarray(b), err_msg=what, **TOLERANCE)


def compiled_results(function, moved, c):
    """Return vjp, jvp, value_and_grad and hvp by the compiled programs."""
    from numba import njit

    from derivable.autodiff.derivative import derivative

    f, weighted = function.make(wrap=njit), function.make(weighted=True, wrap=njit)
    cotangent, nums, arguments = c if c.ndim else float(c), function.argnums, function.arguments
    second = derivative(derivative(weighted, "grad", nums), "jvp", nums)
    return (
        derivative(f, "vjp", nums)(*arguments, cotangent),
        derivative(f, "jvp", nums)(*arguments, *moved),
        derivative(weighted, "value_and_grad", nums)(*arguments, cotangent),
        second(*arguments, cotangent, *moved)[1],
    )


@pytest.mark.peer
@pytest.mark.parametrize("start", range(0, len(FUNCTIONS), 20))
def test_functions_as_plain_python(start):
    """Twenty functions a test."""
    pytest.importorskip("jax", reason="the oracle is JAX")
    wrong = []
    for function in FUNCTIONS[start : start + 20]:
        try:
            compare(function)
        except Exception as error:
            wrong.append(f"{function.name}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 9, 3))
def test_every_ninth_function_compiled(start):
    """Its value and gradient: the other verbs are compiled by the command."""
    pytest.importorskip("jax", reason="the oracle is JAX")
    from numba import njit

    from derivable.autodiff.verbs import value_and_grad

    chosen = [f for f in FUNCTIONS[4::9] if "conv" not in f.body and "pool" not in f.body]
    assert len(chosen) >= 35
    for function in chosen[start::9] + chosen[start + 1 :: 9] + chosen[start + 2 :: 9]:
        _, value, c, _, gradient, _ = expected(function)
        made = value_and_grad(function.make(weighted=True, wrap=njit), function.argnums)
        total, found = made(*function.arguments, c if c.ndim else float(c))
        np.testing.assert_allclose(total, np.sum(c * value), err_msg=function.name, **TOLERANCE)
        for a, b in zip(found, gradient, strict=True):
            np.testing.assert_allclose(a, np.asarray(b), err_msg=function.name, **TOLERANCE)


def test_there_are_more_than_two_hundred_different_functions():
    assert len({(f.body, f.counterpart) for f in FUNCTIONS}) == len(FUNCTIONS) >= 200
    assert len({f.name for f in FUNCTIONS}) == len(FUNCTIONS)


if __name__ == "__main__":
    failures = 0
    how = sys.argv[1:] or ["compiled"]
    for number, function in enumerate(FUNCTIONS):
        try:
            compare(function, compiled=how[0] == "compiled")
        except Exception as error:
            failures += 1
            print(f"{function.name}: {type(error).__name__}: {str(error)[:600]}", flush=True)
        if (number + 1) % 50 == 0:
            print(number + 1, "compared", flush=True)
    print(f"{len(FUNCTIONS) - failures} of {len(FUNCTIONS)} functions agree")
    sys.exit(1 if failures else 0)
