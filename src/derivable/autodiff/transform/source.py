"""Find the source of a function, and what its free names stand for."""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import inspect
import secrets
import textwrap
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from derivable.autodiff.kinds import DerivativeError

__all__ = ["MISSING", "Source", "fingerprint", "python_function", "source_of"]

MISSING = object()
FUTURE = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)


@dataclass(eq=False)
class Source:
    """The source of a function: its syntax tree, its lines, and its names."""

    name: str
    node: ast.FunctionDef
    lines: list[str]
    file: str
    first: int
    lookup: Callable[[str], Any]
    defaults: dict[str, Any]


def python_function(function: Any) -> Any:
    """Return the Python function behind an `@njit` function, or the function itself."""
    return getattr(function, "py_func", function)


def source_of(function: Any) -> Source:
    """Return the source of a function.

    Raises:
        DerivativeError: if it has none that can be read.
    """
    python = python_function(function)
    name = getattr(python, "__name__", repr(python))
    if inspect.ismethod(python) or inspect.ismethoddescriptor(python):
        raise DerivativeError(
            f"{name} is a method of an object, which cannot be differentiated; make it a function of the numbers and "
            "arrays that it needs"
        )
    if not inspect.isfunction(python):
        raise DerivativeError(
            f"{name} is not written in Python ({type(python).__name__}), so it has no source to differentiate; call it "
            "in an @njit function, and give that a derivative with custom_derivative"
        )
    try:
        # Not the lines of a function that it wraps: hence a function of the same code that wraps none.
        bare = types.FunctionType(python.__code__, python.__globals__, closure=python.__closure__)
        lines, first = inspect.getsourcelines(bare)
        text = textwrap.dedent("".join(lines))
        try:
            node = _find(python, name, text)
        except DerivativeError:
            if python.__code__.co_filename != "<string>":
                raise
            # From Python 3.13 on the text after `python -c` has this name, and so has what `exec` runs.
            raise OSError("what exec runs has none") from None
    except (OSError, TypeError) as error:
        raise DerivativeError(
            f"the source of {name} is not available ({error}), so it cannot be differentiated; define it in a file "
            "or a notebook cell, or give it a derivative with custom_derivative"
        ) from None

    def lookup(free: str) -> Any:
        if free in python.__code__.co_freevars:
            try:
                return (python.__closure__ or ())[python.__code__.co_freevars.index(free)].cell_contents
            except ValueError:
                return MISSING
        if free in python.__globals__:
            return python.__globals__[free]
        return getattr(builtins, free, MISSING)

    parameters = inspect.signature(python, follow_wrapped=False).parameters.values()
    for parameter in parameters:
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise DerivativeError(
                f"{name} takes {parameter}; only plain parameters can be differentiated: name them one by one"
            )
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return Source(name, node, text.splitlines(), python.__code__.co_filename, first, lookup, defaults)


PROCESS = secrets.token_hex(8)  # tells apart the objects of two processes that have the same address


def fingerprint(function: Any, within: tuple[Any, ...] = ()) -> str:
    """Return a text that is the same only for functions that compute the same: source, constants, and callees.

    Compiled code is stored by such a text. All but constants, modules and functions counts as new in each process.
    """
    maker = getattr(function, "maker", None)
    if maker is not None:  # a derivative
        return f"{maker.verb} {maker.argnums} {maker.single} {fingerprint(maker.function, within)}"
    python = python_function(function)
    if not inspect.isfunction(python):
        return f"{PROCESS} {id(function)}"
    if python in within or (python.__module__ or "").partition(".")[0] in ("derivable", "numba", "numpy"):
        return f"{python.__module__}.{python.__qualname__}"
    code = python.__code__
    free = dict(zip(code.co_freevars, python.__closure__ or (), strict=True))
    # The module too: what Numba stores of a caller looks for the callee's module when it is loaded.
    parts = [str(python.__module__), code.co_code.hex(), repr(code.co_names), repr(python.__defaults__)]
    stack = [code]
    while stack:
        inner = stack.pop()
        parts += [inner.co_code.hex(), repr([c for c in inner.co_consts if not inspect.iscode(c)])]
        stack += [c for c in inner.co_consts if inspect.iscode(c)]
        for n in (*inner.co_names, *inner.co_freevars):
            try:
                value = free[n].cell_contents if n in free else python.__globals__.get(n, MISSING)
            except ValueError:  # not yet assigned
                value = MISSING
            parts.append(f"{n}={_fingerprint_of_value(value, (*within, python))}")
    return "\n".join(parts)


def _fingerprint_of_value(value: Any, within: tuple[Any, ...]) -> str:
    if value is MISSING or isinstance(value, (bool, int, float, complex, str, bytes, np.generic, type(None))):
        return "" if value is MISSING else repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(_fingerprint_of_value(v, within) for v in value)})"
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype} {value.shape} {value.tobytes().hex()}"
    if inspect.ismodule(value) or inspect.isclass(value) or inspect.isbuiltin(value) or isinstance(value, np.ufunc):
        return f"{getattr(value, '__module__', '')}.{value.__name__}"
    return fingerprint(value, within)


def _find(python: Any, name: str, text: str) -> ast.FunctionDef:
    if name == "<lambda>":
        return _lambda(python, text)
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise DerivativeError(f"the source of {name} cannot be read: {error}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            if not _is_what_runs(node, python.__code__):
                break
            return node
    else:
        raise DerivativeError(f"the source of {name} is not the definition of a function; define it with def")
    raise DerivativeError(
        f"the source of {name} in {python.__code__.co_filename} is not what runs; the file may have changed since it "
        "was loaded: load it again"
    )


def _is_what_runs(node: ast.FunctionDef | ast.Lambda, wanted: Any) -> bool:
    """Tell whether a function's code is what Python makes of this source: files change, and lines hold two lambdas."""
    if any(word.startswith("@py") for word in (*wanted.co_names, *wanted.co_varnames)):
        return True  # pytest has rewritten the function's assertions
    # Within a function that has the names that it takes from around it.
    lines = [ast.parse(f"{free} = None").body[0] for free in wanted.co_freevars]
    if isinstance(node, ast.Lambda):
        lines.append(ast.copy_location(ast.Return(node), node))
    else:
        # Its own name may be one of these, or a global one.
        plain = ast.FunctionDef(**{field: getattr(node, field) for field in node._fields})
        plain.decorator_list, plain.name = [], "derivable_what_runs"
        lines.append(ast.copy_location(plain, node))
    around = ast.parse("def around(): pass")
    around.body[0].body = lines  # type: ignore[attr-defined]
    try:
        code = compile(ast.fix_missing_locations(around), "", "exec", wanted.co_flags & FUTURE, dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    outer = next(c for c in code.co_consts if inspect.iscode(c))
    return any(inspect.iscode(c) and _same_code(c, wanted) for c in outer.co_consts)


def _same_code(a: Any, b: Any) -> bool:
    """Tell whether two pieces of bytecode, or two constants of them, do the same."""
    if inspect.iscode(a) and inspect.iscode(b):
        return a.co_varnames == b.co_varnames and _same_code(_steps(a), _steps(b))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same_code, a, b))
    if isinstance(a, str) and isinstance(b, str):
        return a.split() == b.split()  # a text of several lines was moved to the left with them
    return type(a) is type(b) and bool(a == b)


def _steps(code: Any) -> tuple[Any, ...]:
    """Return what a piece of bytecode does, but for how Python calls methods: that depends on the module's imports."""
    steps = []
    for step in dis.get_instructions(code):
        if step.opname not in ("NOP", "PUSH_NULL", "PRECALL", "EXTENDED_ARG", "CACHE"):
            jump = step.opcode in dis.hasjrel or step.opcode in getattr(dis, "hasjabs", ())
            steps.append((step.opname.replace("METHOD", "ATTR"), None if jump else step.argval))
    return tuple(steps)


def _lambda(python: Any, text: str) -> ast.FunctionDef:
    """Find the lambda with this bytecode in a piece of source that may be cut off on either side."""
    tree = None
    start = text.find("lambda")
    candidates = [text.strip()] + [text[i:] for i in range(start, len(text)) if text.startswith("lambda", i)]
    for piece in candidates:
        for end in range(len(piece), 5, -1):
            try:
                tree = ast.parse(piece[:end])
            except SyntaxError:
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Lambda) and _is_what_runs(node, python.__code__):
                    body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node.body)]
                    made = ast.FunctionDef("function", node.args, body, [], None)
                    if hasattr(made, "type_params"):
                        made.type_params = []
                    return ast.fix_missing_locations(ast.copy_location(made, node))
            break
    raise DerivativeError("the source of a lambda could not be found; define the function with def")
