"""Programs that once had a wrong derivative, or none, found by readers who tried to break the package."""

import functools
import importlib
import linecache
import math
import re

import numba
import numpy as np
import pytest
from numba import njit

import derivable as dv
from autodiff import running as plain

X = np.array([0.3, 0.8, 1.2, 0.5, 0.7])


@njit
def running(x):
    y = x * 1.0
    for i in range(1, len(y)):
        y[i] += y[i - 1] * y[i]
    return y.sum()


@njit
def slice_then_write(x):
    a = x[1:3]
    b = a * 1.0
    b[0] += a[1] * b[0]
    b[1] *= b[0]
    return np.sum(b)


@njit
def scale(y, v):
    y[0] = v * v
    y[1:] *= v


@njit
def view_handed_down(x):
    y = x.copy()
    scale(y[2:], y[0])
    return np.sum(y * y)


@njit
def grown_in_a_loop(x):
    y = x
    s = 0.0
    for i in range(3):
        y = y * 2.0 + i
        s += y[i]
    return s


@njit
def index_after_the_loop(x):
    v = 0.0
    for i in range(3):
        v = x[i] * i
    return v * i


@njit
def whole_row_in_place(x):
    z = np.zeros_like(x)
    z += x
    z *= z[0]
    z[0] += z[1] * x[2]
    return np.sum(z * z)


@pytest.mark.parametrize(
    "f",
    [running, slice_then_write, view_handed_down, grown_in_a_loop, index_after_the_loop, whole_row_in_place],
    ids=lambda f: f.__name__,
)
def test_both_modes_agree_with_differences(f):
    expected = dv.numerical_gradient(f, X)
    np.testing.assert_allclose(dv.grad(f)(X), expected, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(dv.jacobian(f, mode="forward")(X), expected, rtol=1e-7, atol=1e-8)


def test_jvp_leaves_the_direction_as_it_is():
    direction = np.ones(5)
    dv.jvp(running, (X,), (direction,))
    assert np.array_equal(direction, np.ones(5))


def test_a_string_that_differs_on_two_paths_is_refused():
    @njit
    def f(x, n):
        if n > 2:  # noqa: SIM108
            mode = "square"
        else:
            mode = "cube"
        return x * x if mode == "square" else x * x * x

    with pytest.raises(dv.DerivativeError, match="'square' and 'cube' on different paths"):
        dv.grad(f)(2.0, 1)


BESIDE = {  # in place, with the same memory on both sides: Numba then reads what it has just written
    "y[1:] += y[:-1]": "y[1:] += y[:-1].copy()",
    "y[1:] *= y[:-1]": "y[1:] *= 1.0 * y[:-1]",
    "y += y[::-1]": "y += y[::-1].copy()",
    "y -= y[:1]": "y -= y[:1].copy()",
    "z -= z.T": "z -= z.T.copy()",
    "z += z[0]": "z += z[0].copy()",
    "z[:, 0] -= z[1, :]": "z[:, 0] -= z[1, :].copy()",
}
IN_STEP = ("y += y", "y[:] *= y", "y[1:3] -= y[1:3]", "z[0] += z[1]", "z[:, 0] -= z[:, 1]", "y[k] += y[k][::-1]")


def written(text):
    """Return a function that runs a line on y, a vector of 4 numbers, and z, a matrix."""
    lines = [
        "def f(x):",
        "    k = np.array([0, -1, 1, 0])",
        "    y = x * x",
        "    z = np.sin(y).reshape(2, 2)",
        *(f"    {line}" for line in text.split("; ")),
        "    return np.sum(y**3 * x) + np.sum(z**2) * x[0]",
    ]
    name = f"<written {text}>"
    linecache.cache[name] = (0, None, [line + "\n" for line in lines], name)
    scope = {"np": np}
    exec(compile("\n".join(lines), name, "exec"), scope)
    return scope["f"]


@pytest.mark.parametrize("line", BESIDE)
def test_overlapping_slices_in_place_are_refused(line):
    with pytest.raises(dv.DerivativeError, match=rf"{re.escape(line)}\nthe two slices may overlap.*\.copy\(\)"):
        plain.value_and_grad(written(line), (0,), (X[:4],))
    in_every_mode(written(BESIDE[line]))


@pytest.mark.parametrize("line", IN_STEP)
def test_the_same_part_on_both_sides_is_read(line):
    in_every_mode(written(line))


@pytest.mark.parametrize(
    "line",
    [
        "y[1:] = y[:-1]",
        "y[:] = y[::-1]",
        "v = y[::-1]; y[:] = v; y *= v.copy()",
        "y[:] = y",
        "y[k] = y[::-1]",
        "z[:] = z.T",
        "z[:] = z[1]",
        "z[0], z[1] = z[1], z[0]",
        "w = z[0]; w[1:] = z[1, :1]; w[:1] = z[0, 1:]",
        "for i in range(2): z[i] = z[1 - i * i]",
        "for i in range(3): y[1:] = y[:-1]; y[0] = y[-1] * x[i]",
    ],
)
def test_what_is_written_may_be_a_part_of_the_same_memory(line):
    """The cotangent was first handed on and then cleared, and with it what had been handed on to the same places."""
    in_every_mode(written(line))


@pytest.mark.parametrize(
    "line",
    ["y[k] = x**3", "y[k] = x[0] * x[1]", "y[k] += x", "y[k] *= x[::-1]", "y[k] = y[k[::-1]]", "z[k % 2] = z[k // 2]"],
)
def test_an_index_that_repeats_itself_writes_only_once(line):
    """The last value stays, and those before have no influence; each was given the cotangent."""
    in_every_mode(written(line))


def in_every_mode(f):
    x = np.array([0.3, 0.8, 1.2, 0.5])
    d = np.array([1.0, -0.5, 0.3, 0.8])
    value, (slope,) = plain.value_and_grad(f, (0,), (x,))
    assert value == f(x)
    np.testing.assert_allclose(slope, dv.numerical_gradient(f, x), rtol=1e-7, atol=1e-9)
    assert np.isclose(plain.jvp(f, (0,), (x,), (d,))[1], slope @ d)
    second = dv.numerical_gradient(lambda t: plain.value_and_grad(f, (0,), (x + t * d,))[1][0] @ d, 0.0)
    assert np.isclose(plain.hvp(f, (0,), (x,), (d,))[0] @ d, second, rtol=1e-6)


def test_compiled_code_writes_into_the_same_memory_too():
    @njit
    def f(x):
        y = x * x
        k = np.array([0, -1, 1, 0])
        y[k] = x**3
        y[1:] = y[:-1]
        return np.sum(y**2 * x)

    np.testing.assert_allclose(dv.grad(f)(X[:4]), dv.numerical_gradient(f, X[:4]), rtol=1e-7)


def test_a_jacobian_may_leave_out_defaults():
    @njit
    def f(x, p=3, q=2.0):
        return x**p * q

    assert np.isclose(dv.jacobian(f)(1.3), 6 * 1.3**2)
    assert np.isclose(dv.jacobian(f)(1.3, q=4.0), 12 * 1.3**2)


@njit
def squares(x):
    y = np.empty_like(x)
    for i in range(len(x)):
        y[i] = x[i] ** 2
    return y


@njit
def sum_of_squares(x):
    s = 0.0
    for v in x:
        s += v * v
    return s


def test_directions_cotangents_and_buffers_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="the tangent of x must have the shape of x"):
        dv.jvp(squares, (X,), (np.ones(3),))
    with pytest.raises(ValueError, match="the tangent of x must have the shape of x"):
        dv.hvp(sum_of_squares, (X,), (np.ones(3),))
    with pytest.raises(ValueError, match="the cotangent must have the shape of the result"):
        dv.vjp(squares, (X,), np.ones(2))
    with pytest.raises(ValueError, match="the buffer out must have the shape of x"):
        dv.grad_into(sum_of_squares)(X, np.empty(3))


def test_directions_cotangents_and_buffers_of_another_kind_are_refused():
    with pytest.raises(dv.DerivativeError, match="a float64 for a 1-dimensional float64 array"):
        dv.vjp(squares, (X,), 1.0)
    with pytest.raises(dv.DerivativeError, match="a float64 for a 1-dimensional float64 array"):
        dv.jvp(squares, (X,), (1.0,))
    with pytest.raises(dv.DerivativeError, match="use one of float64 or float32"):
        dv.grad_into(sum_of_squares)(X, np.empty(5, dtype=np.int64))


def test_arange_and_reshape_as_they_are_usually_written():
    @njit
    def f(x):
        table = x.reshape(5, 1) * x.reshape(1, 5)
        return np.sum(table[0] * np.arange(5)) + np.sum(x * np.arange(1.0, 6.0))

    np.testing.assert_allclose(dv.grad(f)(X), dv.numerical_gradient(f, X), rtol=1e-7)


def test_third_derivative():
    assert np.isclose(dv.grad(dv.grad(dv.grad(njit(lambda x: x**4))))(2.0), 48.0)


def test_a_result_that_changes_in_place_is_returned_as_it_was():
    """The backward pass brings back earlier contents: the value of a vjp was once what the array began with."""

    def f(x):
        w = np.zeros(3)
        for _ in range(4):
            w -= 0.3 * np.sin(w * x[:3] - x[2:])
        return w

    value, (pulled,) = plain.vjp(f, (0,), (X,), np.ones(3))
    np.testing.assert_array_equal(value, f(X))
    np.testing.assert_allclose(pulled, np.ones(3) @ dv.numerical_jacobian(f, X), rtol=1e-7)


@njit
def cubes(x):
    s = 0.0
    for v in x:
        s += v * v * v
    return s


def test_a_buffer_that_shares_memory_with_an_argument_is_refused():
    into, z = dv.grad_into(cubes), np.arange(6.0)
    for x, out in ((z, z), (z[:4], z[2:]), (z[::2], z[4::-2]), (z[1:5], z[3:0:-1].base[:4])):
        with pytest.raises(ValueError, match="the buffer out shares memory with x"):
            into(x, out)
    assert np.array_equal(z, np.arange(6.0))
    into(z[::2], z[1::2])  # interleaved, and no element in common
    assert np.array_equal(z, [0.0, 0.0, 2.0, 12.0, 4.0, 48.0])


def test_a_gradient_into_a_buffer_within_a_function_that_is_differentiated():
    @njit
    def f(x):
        g = np.empty_like(x)
        dv.grad_into(cubes)(x, g)
        return np.sum(g * x)

    @njit
    def same_memory(x):
        y = x.copy()
        dv.grad_into(cubes)(y, y)
        return np.sum(y)

    @njit
    def other_kind(x):
        g = np.empty((2, 2))
        dv.grad_into(cubes)(x, g)
        return np.sum(g)

    @njit
    def other_shape(x):
        g = np.empty(3)
        dv.grad_into(cubes)(x, g)
        return np.sum(g)

    np.testing.assert_allclose(dv.grad(f)(X), 9 * X**2)
    with pytest.raises(dv.DerivativeError, match=r"same_memory, line(.|\n)*the buffer out may share memory with x"):
        dv.grad(same_memory)(X)
    with pytest.raises(dv.DerivativeError, match="2-dimensional float64 array for a 1-dimensional"):
        dv.grad(other_kind)(X)
    with pytest.raises(ValueError, match="the buffer out must have the shape of x"):
        dv.grad(other_shape)(X)


def test_directions_within_a_function_that_is_differentiated():
    @njit
    def f(x):
        return dv.hvp(cubes, (x,), (np.ones(x.shape[0]),))[1]

    np.testing.assert_allclose(dv.grad(f)(X), [0.0, 6.0, 0.0, 0.0, 0.0])


@njit
def in_place_again_and_again(x):
    y = x + 0.0
    y += y
    y -= 0.5 * y
    y *= y
    y /= 1 + y
    return np.sum(y * x)


def test_names_stay_distinct_when_numba_fuses_array_operations():
    expected = dv.numerical_gradient(in_place_again_and_again, X)
    np.testing.assert_allclose(dv.grad(in_place_again_and_again)(X), expected, rtol=1e-7)
    _, tangent = dv.jvp(in_place_again_and_again, (X,), (X,))
    assert np.isclose(tangent, expected @ X, rtol=1e-7)


def with_slope(c):
    @njit
    def pullback(g, z, x):
        return (c * g,)

    @njit
    def double(x):
        return 2.0 * x

    return dv.custom_derivative(double, pullback=pullback)


def test_a_derivative_of_ones_own_knows_its_constants():
    for c in (3.0, 4.0):
        double = with_slope(c)
        f = njit(lambda x: double(x) * x)  # noqa: B023
        assert dv.grad(f)(5.0) == 10.0 + 5.0 * c


def test_a_derivative_of_ones_own_counts_where_the_function_itself_is_differentiated():
    assert dv.grad(with_slope(3.0))(5.0) == 3.0
    assert dv.jacobian(with_slope(4.0), mode="reverse")(5.0) == 4.0


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="Numba tells what a function returns that cannot be read")
def test_a_function_that_cannot_be_read_can_be_given_a_derivative():
    @njit
    def by_key(x):
        return {0: x}[0] ** 2

    @njit
    def pullback(g, z, x):
        return (2 * g * x,)

    dv.custom_derivative(by_key, pullback=pullback)
    assert dv.grad(by_key)(3.0) == 6.0
    assert dv.grad(njit(lambda x: by_key(x) + x))(3.0) == 7.0


def decided_by_literals(x, a):
    r = 0.0
    for _ in range(3):
        if x > 10.0 or -1.0 < 0.5:
            r += x * x
        else:
            r += np.sum(np.sin(a) * x)
            if r > 1.0 and a[0] > 0:
                return math.tanh(r * x)
        if x < 0.0 and 2 < 1:
            r += np.sum(np.cos(a)) * x
        if 1 < 2 < x or 3 < 2 < x or not 1:
            r += x if 1 / 2 else a[0]
    return r + (0.0 if x < 9.0 or not False else np.sum(a))


@pytest.mark.parametrize("x", [0.5, 2.5])
def test_what_literals_decide_never_runs_nor_defines(x):
    """Python and Numba drop a branch that never runs, with the names and the lists that only it defines."""
    a = np.array([0.3, 0.4])
    value, (slope, rest) = dv.value_and_grad(numba.njit(decided_by_literals), (0, 1))(x, a)
    assert value == decided_by_literals(x, a)
    assert slope == 6 * x + 3 * (x > 2)
    assert not rest.any()
    assert dv.jvp(decided_by_literals, (x, a), (1.0, np.ones(2)))[1] == slope


def test_two_lambdas_of_one_line_are_told_apart():
    twice, square = (lambda x: x + x), (lambda x: x * x)
    assert plain.value_and_grad(twice, (0,), (3.0,)) == (6.0, (2.0,))
    assert plain.value_and_grad(square, (0,), (3.0,)) == (9.0, (6.0,))


def doubled(f):
    @functools.wraps(f)
    def twice(x):
        return 2.0 * f(x)

    return twice


@doubled
def decorated(x):
    return x * x


def test_a_decorated_function_is_read_as_it_runs():
    assert plain.value_and_grad(decorated, (0,), (3.0,)) == (18.0, (12.0,))


CHANGES = {
    "an operator": ("x * c", "x + c"),
    "a number": ("2.0", "3.0"),
    "a name": ("math.sin", "math.cos"),
    "a line above": ("import math", "import math\n\n"),
    "a function within": ("t - 1.0", "t + 1.0"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_has_changed_since_it_was_loaded_is_refused(change, tmp_path, monkeypatch):
    """Its lines tell of another function than the one that runs."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"loaded_{'_'.join(change.split())}"
    file = tmp_path / f"{name}.py"
    text = (
        "import math\n\n\ndef make(c):\n    def f(x):\n        def g(t):\n            return t - 1.0\n\n"
        "        return math.sin(x * c) + g(x) ** 2.0\n\n    return f\n"
    )
    file.write_text(text)
    f = importlib.import_module(name).make(0.5)
    assert np.isclose(plain.value_and_grad(f, (0,), (3.0,))[1][0], 0.5 * math.cos(1.5) + 4.0)
    file.write_text(text.replace(*CHANGES[change]) + "# of another length\n")
    with pytest.raises(
        dv.DerivativeError, match=f"f in .*{name}.py is not what runs.*load it again|not the definition"
    ):
        dv.grad(importlib.import_module(name).make(0.5))


def test_the_source_may_be_within_others_and_of_any_form():
    c, s = 2.0, np.sin

    def f(x: float, k: int = 3) -> float:
        """Do this and that.

        In lines.
        """
        g = lambda t, m=c: s(t) * m  # noqa: E731
        if x < 0.0:
            raise ValueError("""two
                lines""")
        y = 0.0
        for i in range(k):
            y += g(x) if 0.0 < x < 5.0 and i else np.multiply(x, np.cos(c))
        return y

    value, (slope,) = plain.value_and_grad(f, (0,), (0.7, 3))[:2]
    assert np.isclose(value, f(0.7))
    assert np.isclose(slope, 2 * c * np.cos(0.7) + np.cos(c))

    def tested(x):
        assert x > 0.0, "pytest has changed what runs here"
        return x * x

    assert plain.value_and_grad(tested, (0,), (3.0,)) == (9.0, (6.0,))


def test_none_as_a_bound_of_a_slice_is_left_out():
    def f(x, n=None, mode="sum"):
        return np.sum(x) if mode == "sum" and n is None else np.sum(x[:n] ** 2)

    x = np.array([1.0, 2.0, 3.0])
    for rest, slope in (((), [1, 1, 1]), ((None, "square"), [2, 4, 6]), ((2,), [2, 4, 0])):
        np.testing.assert_array_equal(
            plain.value_and_grad(f, (0,), (x, *rest, *(None, "sum")[len(rest) :]))[1][0], slope
        )
    with pytest.raises(dv.DerivativeError, match=r"'n' is None where a number .* if x is None"):
        plain.value_and_grad(lambda x, n: x * n, (0,), (2.0, None))


def test_the_slope_of_true_times_x_is_a_float():
    slope = plain.value_and_grad(lambda x: True * x - False, (0,), (3.0,))[1][0]
    assert slope == 1.0
    assert not isinstance(slope, bool)


def test_the_largest_of_numbers_with_nan_has_no_slope():
    x = np.array([1.0, np.nan, 3.0])
    assert np.isnan(plain.value_and_grad(lambda x: np.max(x), (0,), (x,))[1][0]).any()
    assert np.isnan(plain.jvp(lambda x: np.max(x), (0,), (x,), (np.ones(3),))[1])


def leaves_with_the_carried(x, t):
    y = 0.0
    for _ in range(2):
        y = math.sin(x)
        x += math.exp(-t)
        if y < -3.0:
            return x
    return y


def breaks_with_the_carried(x, t):
    y, z = 0.0, 0.0
    n = 0
    while n < 3:
        n += 1
        y += math.sin(x) * z
        x += math.exp(-t)
        if y > 9.0:
            z = x
            y += 1.0
        else:
            z = t
    return y


@pytest.mark.parametrize("function", [leaves_with_the_carried, breaks_with_the_carried])
def test_what_a_branch_uses_the_next_iteration_may_use_too(function):
    """The cotangent of a variable that a loop carries is not zero where the branch that uses it is not taken."""
    derivatives = dv.grad(njit(function), (0, 1))(0.7, -0.4)
    h = 1e-6
    for k, (dx, dt) in enumerate([(h, 0.0), (0.0, h)]):
        slope = (function(0.7 + dx, -0.4 + dt) - function(0.7 - dx, -0.4 - dt)) / (2 * h)
        assert derivatives[k] == pytest.approx(slope, rel=1e-7)


def made_and_changed(x, a):
    b = a * 1.0
    for i in range(3):
        if x < 0.0:
            x += 1.0
        else:
            b[i] *= x  # into the array that np.tanh has just made, whose values its derivative needs
            b = np.tanh(b)
    return np.sum(b)


def looped_over_and_bound_anew(x, a):
    b = a * 1.0
    for k, (v, w) in enumerate(zip(b, a, strict=False)):  # over the first b, whatever is called so later
        x -= np.sum(b * v) * w * k
        b = np.sin(b)
    for b in np.outer(b, b):  # noqa: B020
        x += b[0]
        for v in b:
            b = b * v
        x += b[1]
    return x


def changed_copy(b, u):
    c = b.copy()
    for j in range(3):
        c[j + 1] += u * c[j]
    return c


def rolled(b, u):
    h = b
    for _ in range(2):
        h = np.tanh(h * u)
    return h


def changed_by_its_new_owner(x, a):
    b = a * 1.0
    for k in range(3):
        b = changed_copy(b, x)
        b[k] *= x
    b = rolled(b, x)
    b *= x
    return np.sum(b)


def multiplied_whole(x, a):
    b = a * 1.0
    for _ in range(2):
        b *= x  # the cotangent of b, whole: Numba cannot read x[...] of a vector
        m = b * x
        for _ in a:
            b *= np.mean(m)
            x += b[0]
    return np.sum(b) * x


@pytest.mark.parametrize(
    "function", [made_and_changed, looped_over_and_bound_anew, changed_by_its_new_owner, multiplied_whole]
)
def test_arrays_that_change_and_are_bound_anew(function):
    a, h = np.array([0.3, -0.8, 1.1, 0.5]), 1e-6
    value, (by_x, by_a) = dv.value_and_grad(njit(function), (0, 1))(0.9, a)
    assert value == pytest.approx(function(0.9, a), rel=1e-14)
    assert by_x == pytest.approx((function(0.9 + h, a) - function(0.9 - h, a)) / (2 * h), rel=1e-6)
    slopes = [(function(0.9, a + e) - function(0.9, a - e)) / (2 * h) for e in h * np.eye(4)]
    np.testing.assert_allclose(by_a, slopes, rtol=1e-6, atol=1e-9)


def read_by_its_other_name(x, a):
    b, y = a * 1.0, 0.0
    for _ in range(3):
        c = b
        c[0] *= 2.0 * x
        y += b[0]
        b = c
    return y


def read_by_a_view(x, a):
    b = a * 1.0
    for _ in range(3):
        c = changed_copy(b, x)
        d = c[1:]
        b = c
        b[2] += d[1]
    return np.sum(b)


def carried_by_its_other_name(x, a):
    b, c = a * 1.0, a * x
    for k in range(3):
        b[0] += c[k]
        c = b
        c[k] *= x
        b = np.tanh(c)
    return np.sum(b)


@pytest.mark.parametrize("function", [read_by_its_other_name, read_by_a_view, carried_by_its_other_name])
def test_an_array_with_two_names_is_not_written_to(function):
    with pytest.raises(dv.DerivativeError, match=r"memory that has two names.*\n.*\nuse \.copy\(\) there"):
        plain.value_and_grad(function, (0, 1), (0.9, np.array([0.3, -0.8, 1.1, 0.5])))


def test_a_condition_holds_for_no_array_that_is_written_to_after():
    """Behind np.where the tangent is zero where the condition fails, but only until something else is written there."""

    def f(x):
        b = np.where(x > 0.0, x, 0.1)
        b *= np.max(b)
        b[1] = x[0] * x[2]
        return np.sum(b * x)

    x, direction, h = np.array([0.3, -0.8, 1.1]), np.array([0.7, 0.1, -0.4]), 1e-6
    slope = (f(x + h * direction) - f(x - h * direction)) / (2 * h)
    assert plain.jvp(f, (0,), (x,), (direction,))[1] == pytest.approx(slope, rel=1e-8)
    assert direction @ plain.value_and_grad(f, (0,), (x,))[1][0] == pytest.approx(slope, rel=1e-8)


def turned_in_a_loop(x):
    c = x**2
    for _ in range(3):
        c = c[::-1]
    return np.sum(c * x)


def cut_in_a_branch(x):
    c = x * x
    if x[0] < 1:
        c = c[1:]
    return c[0]


def shorter_and_shorter(x):
    s = 0.0
    while len(x) > 0:
        s += x[0] ** 2
        x = x[1:]
    return s


def rows_and_columns(x):
    m = np.outer(x, x)
    for i in range(2):
        m = m[:, ::-1]
        m = m[i:]
    return np.sum(m * x) * x[0]


def exchanged(x):
    c, d = x * x, x * 2.0
    for _ in range(3):
        c, d = d[::-1], c[::-1]
        c = c * x
    return np.sum(c * d)


def put_on_a_list_when_done(x):
    stack = []
    for i in range(3):
        y = x * i
        y[i] += x[0]
        stack.append(y)
    s = 0.0
    for _ in range(3):
        s += np.sum(stack.pop() ** 2)
    return s


def popped_for_nothing(x):
    stack = []
    stack.append(x * 2.0)
    stack.append(x * x)
    stack.pop()
    z = stack.pop()
    return np.sum(z * x)


def written_to_as_asarray(x):
    q = x * 2.0
    v = np.asarray(q)
    v[0] = x[1] * 5.0
    return np.sum(q * q)


def made_contiguous(x):
    q = np.outer(x, x)
    v = np.ascontiguousarray(q.T)
    return np.sum(v * x) * np.asarray(x)[1]


def plus(x):
    q = x * 2.0
    v = +q
    v[0] = x[1] * 5.0
    return np.sum(q * q) + v[0]


def positive(x):
    q = x * 2.0
    v = np.positive(q)
    v[0] = x[1] * 5.0
    return np.sum(q * q) + +v[0]


def left_on_the_list(x):
    stack = []
    stack.append(np.sum(x) * 2.0)
    stack.append(x[0] * 3.0)
    return stack.pop() ** 2


def left_in_a_branch(x):
    stack = []
    for i in range(4):
        stack.append(x * i)
        if x[i] > 1:
            break
    s = 0.0
    if x[0] < 1:
        s = np.sum(stack.pop() ** 2)
    return s


def written_to_by_the_older_name(x):
    c = x * 1.0
    a = x * 1.0
    for _ in range(3):
        c[1] *= x[2]
        a = np.sin(a) * 2.0
        c = a
    return np.sum(a)


def written_to_by_the_newer_name(x):
    a = x * 1.0
    old = x * 1.0
    s = 0.0
    for _ in range(3):
        a[0] *= x[1]
        s += np.sum(old**2)
        a = np.sin(a)
        old = a
    return s


def written_to_as_a_row(x):
    m = np.outer(x, x)
    r = m[0] * 1.0
    for i in range(3):
        r[1] *= x[2]
        m = np.sin(m)
        r = m[i]
    return np.sum(m)


def written_to_backwards(x):
    c = x * 1.0
    a = x * 1.0
    for i in range(3):
        if i > 0:
            c[1] *= x[2]
        a = np.sin(a) * 2.0
        c = a[::-1]
    return np.sum(a)


def written_to_on_a_list(x):
    stack = []
    y = x * 1.0
    stack.append(y)
    y[0] = x[1] ** 2
    z = stack.pop()
    return np.sum(z**2)


def written_to_on_a_list_in_a_loop(x):
    stack = []
    y = x * 1.0
    for i in range(3):
        stack.append(y)
        y[i] += x[0]
    s = 0.0
    for _ in range(3):
        s += np.sum(stack.pop() ** 2)
    return s


def written_to_as_perhaps_contiguous(x):
    q = x * 2.0
    v = np.ascontiguousarray(q)
    v[0] = x[1] * 5.0
    return np.sum(q * q)


RIGHT = [
    turned_in_a_loop,
    cut_in_a_branch,
    shorter_and_shorter,
    rows_and_columns,
    exchanged,
    put_on_a_list_when_done,
    popped_for_nothing,
    written_to_as_asarray,
    made_contiguous,
    plus,
    positive,
    left_on_the_list,
    left_in_a_branch,
]
REFUSED = [
    written_to_by_the_older_name,
    written_to_by_the_newer_name,
    written_to_as_a_row,
    written_to_backwards,
    written_to_on_a_list,
    written_to_on_a_list_in_a_loop,
    written_to_as_perhaps_contiguous,
]


def slope(f, x, direction, h=1e-6):
    return (f(x + h * direction) - f(x - h * direction)) / (2 * h)


@pytest.mark.parametrize("function", RIGHT)
def test_arrays_with_new_names_and_on_lists(function):
    x, direction = np.array([0.3, 0.8, 1.2, 0.5]), np.array([0.3, -1.1, 0.7, 0.9])
    value, (gradient,) = plain.value_and_grad(function, (0,), (x,))
    assert value == pytest.approx(function(x), rel=1e-14)
    np.testing.assert_allclose(gradient, [slope(function, x, e) for e in np.eye(4)], rtol=1e-6, atol=1e-8)
    value, tangent = plain.jvp(function, (0,), (x,), (direction,))
    assert value == pytest.approx(function(x), rel=1e-14)
    assert tangent == pytest.approx(slope(function, x, direction), rel=1e-6)
    product = plain.hvp(function, (0,), (x,), (direction,))[0]
    wanted = slope(lambda x: plain.value_and_grad(function, (0,), (x,))[1][0], x, direction, 1e-5)
    np.testing.assert_allclose(product, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [shorter_and_shorter, exchanged, popped_for_nothing, left_on_the_list])
def test_arrays_with_new_names_and_on_lists_compiled(function):
    x = np.array([0.3, 0.8, 1.2, 0.5])
    value, gradient = dv.value_and_grad(njit(function))(x)
    assert value == pytest.approx(function(x), rel=1e-14)
    np.testing.assert_allclose(gradient, [slope(function, x, e) for e in np.eye(4)], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("function", REFUSED)
def test_writes_to_arrays_with_two_names_are_refused(function):
    with pytest.raises(dv.DerivativeError, match=r"this writes to memory that (has two names|is on a list)"):
        plain.value_and_grad(function, (0,), (np.array([0.3, 0.8, 1.2, 0.5]),))


GLOBAL = np.array([1.0, 2.0])


def test_a_method_of_a_global_array():
    assert plain.value_and_grad(lambda x: x * GLOBAL.sum() + GLOBAL.copy()[1], (0,), (2.0,)) == (8.0, (3.0,))


def test_the_derivative_of_an_inner_function_is_refused():
    def outer(x):
        def inner(y):
            return y * y * x

        return dv.grad(inner)(x)

    with pytest.raises(dv.DerivativeError, match="function that is defined within this one; define that function out"):
        plain.value_and_grad(outer, (0,), (2.0,))


def test_a_lambda_may_have_its_own_derivative():
    cube = njit(lambda x: x**3)

    @njit
    def pullback(g, z, x):
        return (g * 3 * x * x,)

    dv.custom_derivative(cube, pullback=pullback)

    @njit
    def f(x):
        return cube(x) + x

    assert dv.grad(f)(2.0) == 13.0
