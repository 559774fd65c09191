"""The activations against mpmath, in every way of calling them, at every special value."""

from __future__ import annotations

import inspect
import itertools
import os
import subprocess
import sys
from pathlib import Path

import mpmath as mp
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import coefficients
import derivable as dv
from derivable import elementary
from derivable.activations import ACTIVATIONS

PAIRS = list(ACTIVATIONS.values())
FUNCTIONS = [function for pair in PAIRS for function in pair]
NAMES = [function.__name__ for function in FUNCTIONS]
every_function = pytest.mark.parametrize("function", FUNCTIONS, ids=NAMES)
every_type = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])

CUBIC = mp.mpf("0.044715")


def logistic(x):
    return 1 / (1 + mp.exp(-x))


def gate_argument(x):
    return mp.sqrt(8 / mp.pi) * (x + CUBIC * x**3)


def gate_slope(x):
    return mp.sqrt(8 / mp.pi) * (1 + 3 * CUBIC * x**2)


def normal(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2 if abs(x) < 1000 else mp.mpf(x > 0)


# The definitions, at 60 digits.
TRUE = {
    "softsign": lambda x: x / (1 + abs(x)),
    "dsoftsign": lambda x: 1 / (1 + abs(x)) ** 2,
    "tanh": mp.tanh,
    "dtanh": lambda x: mp.sech(x) ** 2,
    "sigmoid": logistic,
    "dsigmoid": lambda x: logistic(x) * logistic(-x),
    "relu": lambda x: max(x, mp.mpf(0)),
    "drelu": lambda x: mp.mpf(x > 0),
    "leaky_relu": lambda x: x if x > 0 else mp.mpf(0.01) * x,
    "dleaky_relu": lambda x: mp.mpf(1) if x > 0 else mp.mpf(0.01),
    "softplus": lambda x: max(x, mp.mpf(0)) + mp.log1p(mp.exp(-abs(x))),
    "dsoftplus": logistic,
    "silu": lambda x: x * logistic(x),
    "dsilu": lambda x: logistic(x) * (1 + x * logistic(-x)),
    "gelu": lambda x: x * normal(x),
    "dgelu": lambda x: normal(x) + x * mp.npdf(x),
    "gelu_tanh": lambda x: x * logistic(gate_argument(x)),
    "dgelu_tanh": lambda x: logistic(gate_argument(x)) * (1 + x * gate_slope(x) * logistic(-gate_argument(x))),
}
assert set(TRUE) == set(NAMES)

# Largest error in units in the last place, for float64 and float32.
ULPS = dict.fromkeys(NAMES, (2.0, 2.5)) | {
    "gelu": (4.0, 4.0),
    "dsilu": (2.0, 2.0),
    "dgelu": (5.0, 5.0),
    "dgelu_tanh": (4.0, 4.0),
}
# These derivatives are 0 at one negative x. Within 1/2 of it their error is at most so many eps.
ZEROS = {
    "dsilu": (-1.2784645427610738, 0.5),
    "dgelu": (-0.7517915247, 0.75),
    "dgelu_tanh": (-0.7524613938, 0.5),
}


def ulp(value, dtype):
    """Return the distance of neighbouring numbers at |value|, of a float64 array or number."""
    size = np.maximum(np.abs(value), np.finfo(dtype).smallest_normal)
    return np.ldexp(np.float64(np.finfo(dtype).eps), np.frexp(size)[1] - 1)


def allowed(name, dtype, x, true):
    """Return the largest error that is allowed at x, by ULPS and ZEROS."""
    bound = ULPS[name][dtype is np.float32] * ulp(true, dtype)
    if name in ZEROS:
        zero, eps = ZEROS[name]
        near = np.abs(x - zero) < 0.5
        bound = np.where(near, eps * np.finfo(dtype).eps, bound)
    return bound


def inputs(dtype, count):
    """Return numbers of every size at which something happens, of both signs."""
    rng = np.random.default_rng(2)
    far = 900 if dtype is np.float64 else 130
    smallest = -323 if dtype is np.float64 else -45
    largest = 308 if dtype is np.float64 else 38
    parts = [
        rng.normal(size=count) * 2,
        rng.uniform(-far, far, count),
        rng.uniform(-45, 45, count),
        rng.choice([-1, 1], count) * 10.0 ** rng.uniform(smallest, largest, count),
        np.linspace(-3, 3, count),
        np.arange(-130.0, 130.0) * np.log(2) / 2,  # where the exponent of e^x changes
    ]
    return np.concatenate(parts).astype(dtype)


# ------------------------------------------------------------------------------------------- accuracy


@every_type
@every_function
def test_is_the_definition_to_the_stated_accuracy(function, dtype):
    x = inputs(dtype, 250)
    with mp.workdps(60):
        exact = [TRUE[function.__name__](mp.mpf(float(v))) for v in x]
        error = np.array([float(abs(mp.mpf(float(g)) - e)) for g, e in zip(function(x), exact, strict=True)])
    true = np.array([float(e) for e in exact])
    worst = np.argmax(error / allowed(function.__name__, dtype, x, true))
    bound = np.broadcast_to(allowed(function.__name__, dtype, x, true), x.shape)
    assert error[worst] <= bound[worst], (x[worst], function(x)[worst], true[worst])


@numba.njit(error_model="numpy")
def largest_excess(got, true, bound):
    """Return the largest |got - true| / bound and where it is; a NaN must meet a NaN."""
    largest, at = 0.0, 0
    for i in range(got.size):
        error = abs(np.float64(got[i]) - true[i])
        if got[i] == true[i] or (np.isnan(got[i]) and np.isnan(true[i])):
            error = 0.0
        excess = error / bound[i]
        if not excess <= largest:
            largest, at = excess, i
            if np.isnan(excess):
                return np.inf, i
    return largest, at


@numba.njit(error_model="numpy")
def fill_bound(true, ulps, bound):
    """Write `ulps` times the distance of neighbouring float32 numbers at each of `true`."""
    for i in range(true.size):
        exponent = max((np.float64(abs(true[i])).view(np.int64) >> 52) - 1023, -126) - 23
        bound[i] = ulps * np.int64((exponent + 1023) << 52).view(np.float64)


def check_every_float32(function, patterns):
    x = patterns.view(np.float32)
    wide = np.empty(x.shape)
    wide[...] = np.where(np.isnan(x), np.float32(np.nan), x)  # no signalling NaN into the conversion
    true = function(wide)
    bound = np.empty(x.shape)
    name = function.__name__
    fill_bound(true, ULPS[name][1], bound)
    if name in ZEROS:
        zero, eps = ZEROS[name]
        bound[np.abs(wide - zero) < 0.5] = eps * np.finfo(np.float32).eps
    excess, at = largest_excess(function(x), true, bound)
    assert excess <= 1, (x[at], function(x)[at], true[at], excess * ULPS[name][1])
    return excess * ULPS[name][1], float(x[at])


@every_function
def test_float32_agrees_with_float64(function):
    """A sample of the next test: every 4999th float32."""
    check_every_float32(function, np.arange(0, 2**32, 4999, dtype=np.uint32))


@pytest.mark.exhaustive
@every_function
def test_every_float32_agrees_with_float64(function):
    """All 2^32 inputs; `pytest -m exhaustive tests/test_activations.py -s` prints the largest errors."""
    largest = (0.0, 0.0)
    for start in range(0, 2**32, 2**22):
        largest = max(largest, check_every_float32(function, np.arange(start, start + 2**22, dtype=np.uint32)))
    print(f"{function.__name__}: {largest[0]:.2f} ulp at {largest[1]!r}")


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("EXPM1", [elementary.expm1_tail]),
        ("LOG1P", [elementary.log1p_tail]),
        ("NORMAL", [elementary.normal_numerator, elementary.normal_rest, elementary.normal_slope]),
    ],
)
@pytest.mark.parametrize("single", [False, True], ids=["float64", "float32"])
def test_the_coefficients_can_be_made_anew(name, tables, single):
    p, q, error = coefficients.table(name, single)
    stored = [inspect.getclosurevars(t if inspect.isfunction(t) else t._defn).nonlocals for t in tables]
    stored = [list(variables["single" if single else "double"]) for variables in stored]
    made = [p] if len(q) == 1 else [p, q[:-1], q[-1:]]
    assert made == stored
    assert error < 2.0 ** (-26.5 if single else -59)


# ------------------------------------------------------------------------------------- special values


LIMITS = {  # at -inf, -0.0, 0.0, inf
    "softsign": (-1.0, -0.0, 0.0, 1.0),
    "dsoftsign": (0.0, 1.0, 1.0, 0.0),
    "tanh": (-1.0, -0.0, 0.0, 1.0),
    "dtanh": (0.0, 1.0, 1.0, 0.0),
    "sigmoid": (0.0, 0.5, 0.5, 1.0),
    "dsigmoid": (0.0, 0.25, 0.25, 0.0),
    "relu": (0.0, 0.0, 0.0, np.inf),
    "drelu": (0.0, 0.0, 0.0, 1.0),
    "leaky_relu": (-np.inf, -0.0, 0.0, np.inf),
    "dleaky_relu": (0.01, 0.01, 0.01, 1.0),
    "softplus": (0.0, np.log(2), np.log(2), np.inf),
    "dsoftplus": (0.0, 0.5, 0.5, 1.0),
    "silu": (-0.0, -0.0, 0.0, np.inf),
    "dsilu": (-0.0, 0.5, 0.5, 1.0),
    "gelu": (-0.0, -0.0, 0.0, np.inf),
    "dgelu": (-0.0, 0.5, 0.5, 1.0),
    "gelu_tanh": (-0.0, -0.0, 0.0, np.inf),
    "dgelu_tanh": (-0.0, 0.5, 0.5, 1.0),
}


@every_type
@every_function
def test_infinities_and_signed_zeros(function, dtype):
    got = function(np.array([-np.inf, -0.0, 0.0, np.inf], dtype))
    expected = np.array(LIMITS[function.__name__], dtype)
    assert np.array_equal(got, expected)
    assert np.array_equal(np.signbit(got), np.signbit(expected))


@every_type
@every_function
def test_nan_gives_nan(function, dtype):
    assert np.isnan(function(dtype(np.nan)))
    got = function(np.array([1.0, np.nan, -1.0] * 11, dtype))
    assert np.array_equal(np.isnan(got), np.array([False, True, False] * 11))


@every_type
@every_function
def test_subnormal_inputs(function, dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([tiny, -tiny, 7 * tiny, -6 * tiny], dtype)
    slope = {"softsign": 1, "tanh": 1, "relu": 1, "leaky_relu": 1, "silu": 0.5, "gelu": 0.5, "gelu_tanh": 0.5}
    name = function.__name__
    if name in slope:  # f(x) = f'(0) x there
        exact = x.astype(np.longdouble) * slope[name]
        if name == "leaky_relu":
            exact[1::2] *= 0.01
        if name == "relu":
            exact[1::2] = 0
        assert np.all(np.abs(function(x).astype(np.longdouble) - exact) <= tiny)
    else:
        assert np.all(
            np.abs(function(x) - function(np.copysign(dtype(0), x)))[::2] <= (name in ("drelu", "dleaky_relu"))
        )


@every_function
def test_the_largest_numbers(function):
    largest = np.finfo(np.float64).max
    assert np.array_equal(
        np.nan_to_num(function(np.array([-largest, largest])), posinf=largest, neginf=-largest),
        np.nan_to_num(function(np.array([-np.inf, np.inf])), posinf=largest, neginf=-largest) * 1.0
        if function.__name__ != "leaky_relu"
        else np.array([0.01 * -largest, largest]),
    )


def test_far_values_by_name():
    assert dv.sigmoid(-800.0) == 0.0
    assert dv.softplus(800.0) == 800.0
    assert dv.softplus(-745.0) == 5e-324
    assert dv.silu(-750.0) == float(TRUE["silu"](mp.mpf(-750))) != 0.0
    assert dv.dsoftsign(1e160) == float(TRUE["dsoftsign"](mp.mpf(1e160))) != 0.0
    assert dv.dtanh(300.0) == pytest.approx(4 * float(mp.exp(-600)), rel=1e-15)
    assert dv.gelu(-38.0) == pytest.approx(float(TRUE["gelu"](mp.mpf(-38))), rel=1e-15)


def test_the_slope_at_a_kink_is_that_of_the_left_side():
    assert dv.drelu(0.0) == 0.0
    assert dv.dleaky_relu(0.0) == 0.01
    assert dv.dleaky_relu(0.0, slope=0.3) == 0.3


# ----------------------------------------------------------------------------------------- properties

numbers = st.floats(-1e3, 1e3)


@given(numbers)
def test_symmetries(x):
    assert dv.softsign(-x) == -dv.softsign(x)
    assert dv.tanh(-x) == -dv.tanh(x)
    for even in (dv.dsoftsign, dv.dtanh, dv.dsigmoid):
        assert even(-x) == even(x)
    assert dv.sigmoid(-x) + dv.sigmoid(x) == pytest.approx(1, abs=3e-16)
    for odd_part in (dv.relu, dv.softplus, dv.silu, dv.gelu, dv.gelu_tanh):
        if odd_part in (dv.relu, dv.softplus):
            assert odd_part(x) - odd_part(-x) == pytest.approx(x, abs=1e-15, rel=1e-15)
        else:
            assert odd_part(x) + odd_part(-x) == pytest.approx(
                abs(x) * (odd_part(abs(x)) + odd_part(-abs(x))) / max(abs(x), 1e-300), abs=1e-15, rel=1e-12
            )


@given(numbers, numbers)
def test_the_monotone_ones_never_decrease(x, y):
    for function in (dv.softsign, dv.tanh, dv.sigmoid, dv.relu, dv.leaky_relu, dv.softplus):
        low, high = function(min(x, y)), function(max(x, y))
        assert low <= high or low - high <= 4 * np.spacing(abs(low))


@pytest.mark.parametrize("pair", PAIRS, ids=list(ACTIVATIONS))
def test_the_derivative_is_that_of_the_function(pair):
    function, derivative = pair
    x = np.linspace(-6, 6, 240)  # 0 is not among them
    with mp.workdps(40):
        exact = [float(mp.diff(TRUE[function.__name__], mp.mpf(v), h=mp.mpf(10) ** -12)) for v in x]
    assert derivative(x) == pytest.approx(np.array(exact), rel=1e-9, abs=1e-9)


# ---------------------------------------------------------------------------------- ways of calling it


@every_type
@every_function
def test_every_memory_layout_gives_the_same(function, dtype):
    base = np.random.default_rng(0).normal(size=(6, 5, 8)).astype(dtype) * 3
    expected = np.array([function(v) for v in base.ravel()], dtype).reshape(base.shape)
    swapped = base.astype(base.dtype.newbyteorder())
    frozen = base.copy()
    frozen.flags.writeable = False
    unaligned = np.frombuffer(b"x" + base.tobytes(), dtype=np.uint8)[1:].view(dtype).reshape(base.shape)
    cases = [
        (base, expected),
        (np.asfortranarray(base), expected),
        (base.transpose(1, 2, 0), expected.transpose(1, 2, 0)),
        (base[::-1, ::2, ::-3], expected[::-1, ::2, ::-3]),
        (frozen, expected),
        (swapped, expected),
        (unaligned, expected),
        (np.broadcast_to(base[0, 0, 0], (3, 4)), np.broadcast_to(expected[0, 0, 0], (3, 4))),
        (base[:0], expected[:0]),
    ]
    for given_array, wanted in cases:
        before = given_array.copy()
        got = function(given_array)
        assert got.dtype == dtype
        assert got.shape == wanted.shape
        assert np.array_equal(got, wanted)
        assert got.flags.writeable
        assert np.array_equal(given_array, before)


@every_function
def test_types_of_the_result(function):
    assert type(function(0.5)) is float
    assert type(function(2)) is float
    assert type(function(np.float64(0.5))) is np.float64
    assert type(function(np.float32(0.5))) is np.float32
    assert type(function(np.int8(2))) is np.float64
    assert function(np.array(0.5)).shape == ()
    assert function([0.5, 2]).dtype == np.float64
    for integers in (np.int8, np.uint8, np.int32, np.uint64):
        got = function(np.array([0, 1, 100], integers))
        assert got.dtype == np.float64
        assert np.array_equal(got, function(np.array([0.0, 1.0, 100.0])))


@every_function
def test_other_types_are_refused(function):
    wrong = [
        1j,
        np.zeros(2, complex),
        np.float16(1),
        np.zeros(2, np.float16),
        "1",
        None,
        True,
        np.zeros(2, bool),
    ]
    wrong += [np.zeros(2, object), np.zeros(2, "datetime64[s]"), np.longdouble(1), np.zeros(2, np.longdouble)]
    for value in wrong:
        with pytest.raises(TypeError, match="x must be"):
            function(value)
    with pytest.raises(ValueError, match="x must be an array with rows of equal length"):
        function([[1.0], [1.0, 2.0]])


def test_the_slope_is_checked():
    for function in (dv.leaky_relu, dv.dleaky_relu):
        assert function(-2.0, 0.5) == function(-2.0, slope=0.5) == function(np.array([-2.0]), np.float32(0.5))[0]
        with pytest.raises(TypeError, match="slope must be a real number, got str"):
            function(1.0, "steep")
        with pytest.raises(ValueError, match="slope must be finite"):
            function(1.0, slope=np.inf)
        with pytest.raises(TypeError, match="takes x and slope"):
            function(1.0, 0.1, 0.2)
        with pytest.raises(TypeError, match="takes x and slope"):
            function(1.0, angle=0.1)


@every_function
def test_inside_compiled_code(function):
    @numba.njit
    def call(x):
        out = np.empty_like(x)
        for i in range(x.size):
            out[i] = function(x[i])
        return out, function(x)

    grid = np.linspace(-20, 20, 61)
    for x in (grid, grid.astype(np.float32)):
        one_by_one, whole = call(x)
        assert whole.dtype == x.dtype
        assert np.array_equal(one_by_one, whole)
        assert np.array_equal(whole, function(x))


@pytest.mark.parametrize("function", [dv.softsign, dv.leaky_relu])
def test_every_type_inside_compiled_code(function):
    @numba.njit
    def call(x):
        return function(x)

    grid = np.linspace(-20, 20, 60)
    for number in (0.5, np.float32(-0.5), 3):
        assert call(number) == function(number)
    for x in (grid[::-2], grid[::-2].astype(np.float32), np.arange(-3, 4), np.array(0.5), grid[:0]):
        got = call(x)
        assert got.shape == x.shape
        assert got.dtype == function(x).dtype
        assert np.array_equal(got, function(x))
    for x in (np.asfortranarray(grid.reshape(6, 10)), grid.reshape(6, 10)[1::2, ::3]):
        assert np.array_equal(call(x), function(x))
    read_only = grid.copy()
    read_only.flags.writeable = False
    assert np.array_equal(call(read_only), function(grid))
    (narrow,) = (s for s in call.nopython_signatures if s.args == (numba.float32,))
    assert narrow.return_type == numba.float32
    for refused in (1j, np.zeros(2, bool)):
        with pytest.raises(numba.TypingError, match=f"{function.__name__}: x must be a float32, float64 or integer"):
            call(refused)


def test_the_slope_inside_compiled_code():
    @numba.njit
    def call(x):
        return (
            dv.leaky_relu(x, 0.25),
            dv.leaky_relu(x, slope=0.25),
            dv.dleaky_relu(x, slope=0.25),
            dv.leaky_relu(x),
        )

    for x in (-2.0, np.float32(-2), np.array([-2.0, 2.0], np.float32), np.array([-2, 2])):
        a, b, c, d = call(x)
        assert np.array_equal(a, dv.leaky_relu(x, 0.25))
        assert np.array_equal(b, a)
        assert np.array_equal(c, dv.dleaky_relu(x, 0.25))
        assert np.array_equal(d, dv.leaky_relu(x))


@every_function
def test_float32_is_computed_in_float32(function):
    """No conversion to float64 is left in the machine code of a float32 loop: it would halve the speed."""
    compiled = numba.njit(error_model="numpy", forceinline=True)(function.scalar.py_func)
    compiled(np.float32(1))
    (code,) = compiled.inspect_llvm().values()
    bodies = ["define" + part for part in code.split("\ndefine")[1:]]
    bodies = [body for body in bodies if "cpython" not in body.split("\n")[0]]  # the way to Python has only doubles
    assert any("float" in body for body in bodies)
    assert not any("fpext" in body for body in bodies)


def test_a_large_array_gives_the_same_in_parallel():
    x = np.random.default_rng(1).normal(size=(1 << 18) + 7)
    before = dv.get_num_threads()
    try:
        dv.set_num_threads(1)
        serial = dv.gelu(x)
        dv.set_num_threads(2)
        assert np.array_equal(dv.gelu(x), serial)
    finally:
        dv.set_num_threads(before)


def test_a_class_may_decide_for_itself():
    class Constant:
        def __elementwise__(self, function, *parameters):
            return function.__name__, parameters

    assert dv.tanh(Constant()) == ("tanh", ())
    assert dv.leaky_relu(Constant(), slope=0.5) == ("leaky_relu", (0.5,))


@every_function
def test_it_presents_itself_as_its_definition(function):
    assert getattr(dv, function.__name__) is function
    assert function.__module__ == "derivable.activations"
    assert next(iter(inspect.signature(function).parameters)) == "x"
    assert {"Args:", "Returns:", "Raises:", "Examples:"} <= set(function.__doc__.replace("\n", " ").split())


PROGRAM = """
import sys
import numpy as np
import derivable as dv
from derivable.activations import ACTIVATIONS
rng = np.random.default_rng(5)
def bits(y):  # a NaN has any sign
    return np.where(np.isnan(y), y.dtype.type(np.nan), y).tobytes().hex()
for dtype in (np.float64, np.float32):
    x = np.concatenate([rng.normal(size=12) * 3, [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -300.0, 90.0]])
    x = x.astype(dtype)
    for f in (f for pair in ACTIVATIONS.values() for f in pair):
        print(f.__name__, f(x).dtype, bits(f(x)), bits(f(x[::-2])), f(x[0]), f(3), f(0.5))
"""


def run(program, **environment):
    source = str(Path(dv.__file__).parents[1])
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": source, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.slow
def test_without_compilation_the_bits_are_the_same():
    assert run(PROGRAM, NUMBA_DISABLE_JIT="1") == run(PROGRAM)


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path):
    program = """
import numba.core.event as event
compiled = []
class Listener(event.Listener):
    def on_start(self, e):
        compiled.append(e.data["dispatcher"].__name__)
    def on_end(self, e):
        pass
event.register("numba:compile", Listener())
import numpy as np
import derivable as dv
assert not compiled, compiled
for f in (dv.tanh, dv.dgelu, dv.leaky_relu):
    f(0.5), f(np.float32(1)), f(np.zeros(3)), f(np.zeros(3, np.float32)[::2])
print(len(compiled), [d.stats.cache_hits for d in (dv.tanh.scalar,)])
"""
    first, second = (run(program, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert int(first.split()[0]) >= 12
    assert int(second.split()[0]) == 0, second


def test_all_names_are_in_the_table():
    assert sorted(itertools.chain.from_iterable((n, "d" + n) for n in ACTIVATIONS)) == sorted(NAMES)
    for name, (function, derivative) in ACTIVATIONS.items():
        assert (function.__name__, derivative.__name__) == (name, "d" + name)


def test_leaky_relu_of_slope_zero_is_relu_also_at_infinity():
    x = np.array([-np.inf, -1.0, 0.0, 2.0, np.inf, np.nan])
    np.testing.assert_array_equal(dv.leaky_relu(x, 0.0), dv.relu(x))
    np.testing.assert_array_equal(dv.leaky_relu(x.astype(np.float32), 0.0), dv.relu(x.astype(np.float32)))


def test_numbers_beyond_float64_and_masks_are_refused_by_name():
    with pytest.raises(ValueError, match="x must fit into a float64"):
        dv.softsign(10**400)
    with pytest.raises(ValueError, match="slope must fit into a float64"):
        dv.leaky_relu(1.0, 10**400)
    with pytest.raises(TypeError, match="x must be an array without a mask"):
        dv.tanh(np.ma.masked_array([1.0], [True]))
    with pytest.raises(TypeError, match="takes x and slope, once each, got 1 by position and alpha by name"):
        dv.leaky_relu(1.0, alpha=0.1)
