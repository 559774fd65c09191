# ruff: noqa: D403, D415, SIM201, B905 (the docstrings are entries of a table, and the programs what a user may write)
"""The language that `dv.grad` reads: small programs, each differentiated by a test (tests/autodiff/test_language.py)."""

import html
import inspect
import math
import textwrap

import numpy as np

from derivable.autodiff.kinds import DerivativeError, Kind
from derivable.autodiff.rules.array import FUNCTIONS, METHODS
from derivable.autodiff.rules.table import NAMES
from derivable.autodiff.verbs import grad

FACTOR = 3.0


def helper(x):
    return x * x


def scaled(x, factor=2.0):
    return factor * x


def unpacking(x):
    """assignment, tuple unpacking, `+=` and its kin"""
    u, (v, w) = x, (2.0 * x, 3.0)
    u += v * w
    return u


def branches(x):
    """`if`, `elif`, `else`; `and`, `or`, `not`; chains of comparisons"""
    if 0.0 < x < 0.5 and not x == 0.2:
        y = x
    elif x > 9.0 or x < -9.0:
        y = 1.0
    else:
        y = x * x
    return y


def conditional(x):
    """conditional expressions"""
    return x * x if x > 0.0 else -x


def counting(x):
    """`for` over `range`, with any step"""
    y = 1.0
    for i in range(6, 0, -2):
        y *= x + i
    return y


def elements(a):
    """`for` over an array, `enumerate`, `zip`"""
    y = 0.0
    for v in a:
        y += v * v
    for i, v in enumerate(a):
        y += i * v
    for u, v in zip(a, a[::-1]):
        y += u * v
    return y


def nested(a):
    """nested loops, whose bounds may change"""
    y = 0.0
    for i in range(a.shape[0]):
        for j in range(i):
            y += a[i] * a[j]
    return y


def whiles(x):
    """`while`, `break`, `continue`"""
    y, n = x, 0
    while y < 50.0:
        n += 1
        if n == 2:
            continue
        y *= 1.0 + x
        if n > 4:
            break
    return y


def early(x):
    """early `return`"""
    for i in range(5):
        if i * x > 2.0:
            return i * x * x
    return x


def calls(x):
    """calls of other functions, with defaults and keywords"""
    return helper(scaled(x)) + scaled(x, factor=4.0)


def constants(x):
    """global names and names of enclosing functions, as constants"""
    return FACTOR * x * math.pi


def reading(a):
    """elements, slices, rows, `a[:, None]`, views"""
    b = a[1:] * a[:-1]
    return b[0] + np.sum(a[:, None] * a[None, :]) + a[-1]


def writing(a):
    """writes into elements and slices of arrays made in the function"""
    b = np.zeros(a.shape[0])
    b[0] = a[0] * a[1]
    b[1:] = a[1:] ** 2
    for i in range(1, 3):
        b[i] += b[i - 1] * a[i]
    b[:-1] = b[1:]
    return np.sum(b * b)


def making(a):
    """`zeros`, `ones`, `empty`, `full` and `..._like`, `np.array([...])` of numbers"""
    b = np.full(3, 2.0) + np.ones_like(a)
    c = np.array([a[0], 1.0, a[1] * a[2]])
    return np.sum(a * b * c)


def picking(a):
    """arrays of indices and masks"""
    order = np.argsort(a)
    b = a[order]
    return np.sum(b[b > 0.5] ** 2) + b[0]


def reducing(a):
    """reductions along an axis: `sum`, `mean`, `var`, `std`"""
    b = a[:, None] * a[None, :] ** 2
    c = np.mean(b, axis=0) * np.std(b, axis=1)
    return np.sum(c) + np.sum(b.var(axis=1))


def shaping(a):
    """`reshape`, `transpose`, `swapaxes`, `broadcast_to`, `repeat`, `diag`"""
    b = np.broadcast_to(a, (2, 3)) * np.repeat(a, 2).reshape(2, 3)
    c = np.swapaxes(b, 0, 1) @ b @ np.diag(a)
    return np.sum(c) + np.sum(np.diag(b) ** 2)


def masking(a):
    """single elements of what a mask picks"""
    return a[a > 0.5][1] ** 2 * a[a < 0.5][0]


def stacking(x):
    """lists that values are put onto by `append` and taken from by `pop`"""
    values = []
    for i in range(4):
        values.append(x * i)
    y = 1.0
    for _ in range(4):
        y = y * x + values.pop()
    return y


def raising(x):
    """`raise`, where it is not reached"""
    if x < 0.0:
        raise ValueError("negative")
    return math.sqrt(x)


def nothing(x):
    """`pass`, docstrings and comments"""
    pass  # nothing
    return x


def otherwise(x):
    """`else` after a loop"""
    for _ in range(3):
        x = x * 2.0
    else:
        x = x + 1.0
    return x


def within(x):
    """functions within a function"""

    def square(t):
        return t * t + x

    double = lambda t: 2.0 * t  # noqa: E731
    return square(double(x))


def filled(a):
    """`np.array` of numbers and of a comprehension"""
    b = np.array([a[i] * i for i in range(len(a))])
    return np.sum(b * np.array([a[0], 1.0, a[0] * a[1]]))


def exchanged(a):
    """two arrays that change places"""
    old, new = a.copy(), np.zeros_like(a)
    for _ in range(3):
        for i in range(1, len(a)):
            new[i] = old[i] * old[i - 1]
        old, new = new, old
    return np.sum(old)


READ = [unpacking, branches, conditional, counting, elements, nested, whiles, early, calls, constants, reading, writing,
        making, picking, reducing, shaping,
        masking, stacking, raising, nothing, otherwise, within, filled, exchanged]  # fmt: skip


def attempt(x):
    """`try`"""
    try:
        return 1.0 / x
    except ZeroDivisionError:
        return 0.0


def table(x):
    """dictionaries"""
    d = {"a": x}
    return d["a"]


def lists(x):
    """lists"""
    values = [x, 2.0 * x]
    return values[0] * values[1]


def appended(x):
    """lists whose entries are read by an index"""
    values = []
    for i in range(3):
        values.append(i * x)
    return values[1] * values[-1]


def recursion(x):
    """functions that call themselves"""
    return x if x < 1.0 else recursion(x - 1.0) * x


def argument(a):
    """writes into an argument"""
    a[0] = 1.0
    return np.sum(a)


def two_names(a):
    """writes into memory that has two names, one of them a slice taken before"""
    b = a.copy()
    c = b[::2].ravel()
    b[0] = a[1]
    return np.sum(c) + np.sum(b)


def carried(a):
    """writes into an array that a loop hands on by two names"""
    b, c = a.copy(), a.copy()
    for _ in range(3):
        b[0] *= a[1]
        c = np.sin(c)
        b = c
    return np.sum(c)


def listed(a):
    """writes into an array that is on a list"""
    values = []
    b = a.copy()
    values.append(b)
    b[0] = a[1]
    return np.sum(values.pop())


def beside(a):
    """`+=`, `*=` and the like where both sides are parts of one array"""
    b = a.copy()
    b[1:] += b[:-1]
    return np.sum(b)


def unknown(a):
    """functions without a rule"""
    return np.sum(np.convolve(a, a))


def method(x):
    """methods of numbers"""
    return x.conjugate()


def printing(x):
    """`print`"""
    print(x)
    return x


REFUSED = [attempt, table, lists, appended, recursion, argument, two_names, carried, listed, beside, unknown,
           method, printing]  # fmt: skip


def kind(f):
    """Return the kind of a program's argument: `a` is an array, `x` a number."""
    return Kind("f8", 1 if next(iter(inspect.signature(f).parameters)) == "a" else 0)


def code(f) -> str:
    """Return the body of a program."""
    lines = [line.split("  # noqa")[0] for line in inspect.getsource(f).splitlines()[2:]]
    return textwrap.dedent("\n".join(lines)).strip()


def refusal(f) -> str:
    """Return the message with which a program is refused."""
    try:
        grad(f).maker.program((kind(f),))
    except DerivativeError as error:
        return str(error)
    return ""


def _rows(rows) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        '<div class="md-typeset__scrollwrap"><div class="md-typeset__table"><table><tbody>'
        f"{body}</tbody></table></div></div>"
    )


def _words(f) -> str:
    from derivable_book.extension import inline

    return inline(f.__doc__)


def read() -> str:
    """Print what is read."""
    return _rows([_words(f), f"<pre><code>{html.escape(code(f))}</code></pre>"] for f in READ)


def refused() -> str:
    """Print what is refused, and the advice."""
    return _rows([_words(f), html.escape(refusal(f).splitlines()[-1])] for f in REFUSED)


def functions() -> str:
    """List the functions that have a rule."""

    def spelled(objects, module, name):
        found = {f.__name__ for f in objects if getattr(module, getattr(f, "__name__", ""), None) is f}
        return f"<p><code>{name}</code>: {', '.join(sorted(found))}.</p>" if found else ""

    known = [*NAMES, *FUNCTIONS]
    import derivable as dv

    methods = f"<p>Methods of arrays: {', '.join(sorted(METHODS))}.</p>"
    modules = ((math, "math"), (np, "np"), (np.linalg, "np.linalg"), (dv, "dv"))
    return "".join(spelled(known, module, name) for module, name in modules) + methods
