"""How Derivable calls Numba: the one place that decides error model, caching and parallelism.

Three decisions hold for every kernel of the package:

- `error_model="numpy"`: a division by zero gives an infinity or a NaN, as in NumPy, and never an exception
  from the middle of a loop;
- `cache=True`: the machine code of a kernel is stored on disk, so that only the first process compiles it;
- `nogil=True`: a running kernel lets other Python threads run. That is also how the package computes in
  parallel: [`parallel_for`][derivable.jit.parallel_for] hands pieces of the work to a pool of Python threads.
  Numba's own parallel layers end the process when two threads enter them at once (workqueue), or hang or end
  a child after `fork` (OpenMP); threads that run serial kernels do neither, and start in tens of microseconds.
"""

from __future__ import annotations

import functools
import inspect
import os
import statistics
import sys
import threading
import time
import types
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.extending import intrinsic

from derivable.validation import as_array, check_number

__all__ = [
    "cache_folder",
    "elementwise",
    "forget_working_space",
    "get_num_threads",
    "kernel",
    "parallel_for",
    "set_num_threads",
    "threads_for",
    "ufunc",
    "working_space",
]

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}


def kernel(function: Function | None = None, **options: Any) -> Any:
    """Compile a function the way the whole package does: NumPy's error model, cached, without the GIL.

    Use it as `@kernel`, or as `@kernel(inline="always")` to add options of `numba.njit`. Compilation is lazy:
    a kernel costs nothing until its first call. Under `NUMBA_DISABLE_JIT=1` the function stays plain Python.

    Args:
        function: the function to compile.
        **options: further options of `numba.njit`; `cache=False` for a function whose source is not a file.

    Returns:
        The compiled function, or a decorator where only options were given.
    """
    if function is None:
        return lambda f: kernel(f, **options)
    return _cached(numba.njit, function, {**_OPTIONS, "cache": True, **options})


def ufunc(function: Function) -> Any:
    """Compile a function of numbers to a NumPy ufunc, which Numba fuses with the array operations around it.

    Args:
        function: the function of numbers, in a file.

    Returns:
        The ufunc; its machine code is stored like that of a `kernel`.
    """
    return _cached(numba.vectorize, function, {"cache": True})


def _cached(compiler: Callable[..., Any], function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Compile with these options, and without the cache where Numba finds no folder that it may write to."""
    try:
        return compiler(**options)(function)
    except RuntimeError as error:  # an install and a home that are both read-only
        if "cannot cache function" not in str(error):
            raise
        warnings.warn(
            "Derivable found no folder in which Numba may store compiled kernels, so each process compiles them "
            "anew. Set NUMBA_CACHE_DIR to a folder that can be written.",
            RuntimeWarning,
            stacklevel=3,
        )
        return compiler(**{**options, "cache": False})(function)


# ------------------------------------------------------------------------------- element-wise functions

PARALLEL_SIZE = 1 << 18  # elements; below, one thread is done before the others have begun


def elementwise(function: Function) -> Function:
    """Make a public element-wise function from its definition on one number.

    The definition takes a float32 or float64 `x`, then possibly a parameter that is a real number with a default,
    and returns a number of the type of `x`. The result of the decorator is the public function:

    - called from Python it takes numbers, NumPy scalars and arrays of any shape and layout; a result has
      the type of the input (float32 stays float32), integers count as float64, everything else is refused;
    - called in a compiled function it takes numbers and arrays, and is inlined there;
    - its attribute `scalar` is the compiled definition;
    - an argument whose class has a method `__elementwise__(function, *parameters)` decides for itself: so a
      number that carries a derivative along can apply its own rule, and so can each element of an array of these.

    Args:
        function: the definition, at module level. It is compiled on its first use.

    Returns:
        The public function, with the docstring and the signature of the definition.
    """
    name = function.__name__
    scalar = kernel(function, forceinline=True)
    loop = kernel(_loop_of(function, scalar))
    names = list(inspect.signature(function).parameters)[1:]
    defaults = tuple(p.default for p in list(inspect.signature(function).parameters.values())[1:])

    def apply(x: Any, parameters: tuple[float, ...]) -> Any:
        if isinstance(x, (float, np.float32)):  # np.float64 is a float
            value = scalar(np.float32(x), *parameters) if isinstance(x, np.float32) else scalar(x, *parameters)
            return type(x)(value) if type(x) in (np.float32, np.float64) else value
        if type(x) is int:
            return scalar(check_number(x, "x"), *parameters)
        custom = getattr(type(x), "__elementwise__", None)
        if custom is not None:
            return custom(x, public, *parameters)
        if (
            isinstance(x, np.ndarray)
            and x.dtype.kind == "O"
            and any(hasattr(type(v), "__elementwise__") for v in x.flat)
        ):
            return np.frompyfunc(lambda v: public(v, *parameters), 1, 1)(x)
        array = as_array(x, "x", kinds="iuf", empty=True)
        dtype = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize == 4 else np.float64
        if array.dtype == dtype and array.flags.carray:
            out = np.empty(array.shape, dtype)
            source, target = array.reshape(-1), out.reshape(-1)
        else:  # a copy that lies in memory as the input does, computed in place
            out = array.astype(dtype, order="K", subok=False)
            source = target = out.ravel(order="K")
        if source.size < PARALLEL_SIZE:
            loop(0, source.size, source, target, *parameters)
        else:
            parallel_for(loop, source.size, source, target, *parameters)
        return out if out.ndim or isinstance(x, np.ndarray) else out[()]

    if numba.config.DISABLE_JIT:
        compiled_apply = apply

        def apply(x: Any, parameters: tuple[float, ...]) -> Any:
            with np.errstate(all="ignore"):  # as compiled code does
                return compiled_apply(np.float64(x) if type(x) is float else x, parameters)

    if not names:

        @functools.wraps(function)
        def public(x: Any) -> Any:
            return scalar(x) if type(x) is float and not numba.config.DISABLE_JIT else apply(x, ())

    else:

        @functools.wraps(function)
        def public(x: Any, *given: Any, **named: Any) -> Any:
            values = dict(zip(names, given, strict=False))
            if len(given) > len(names) or not named.keys() <= set(names) - values.keys():
                raise TypeError(
                    f"{name}() takes x and {', '.join(names)}, once each, got {1 + len(given)} by position"
                    + (f" and {', '.join(named)} by name" if named else "")
                )
            values |= named
            return apply(
                x,
                tuple(check_number(values[n], n) if n in values else d for n, d in zip(names, defaults, strict=True)),
            )

    public.scalar = scalar  # type: ignore[attr-defined]
    _overload_elementwise(public, scalar, loop, names, defaults)
    return public  # type: ignore[return-value]


def _loop_of(function: Callable[..., Any], scalar: Callable[..., Any]) -> Callable[..., Any]:
    """Return the loop over an array for one definition, as if it stood in the file of the definition.

    Numba stores compiled code by the file, name and line of a function, and looks at its closure, which
    a compiled function changes in every process. So the loop finds `scalar` among its globals, and bears the
    definition's file and line: it is stored once, and compiled anew when that file changes.
    """
    parameters = list(inspect.signature(function).parameters)[1:]

    def plain(start, stop, x, out):  # type: ignore[no-untyped-def]
        x, out = x[start:stop], out[start:stop]  # an index from 0 on needs no test of its sign
        for i in range(x.size):
            out[i] = scalar_of_x(x[i])  # type: ignore[name-defined]  # noqa: F821

    def with_parameter(start, stop, x, out, parameter):  # type: ignore[no-untyped-def]
        x, out = x[start:stop], out[start:stop]
        for i in range(x.size):
            out[i] = scalar_of_x(x[i], parameter)  # type: ignore[name-defined]  # noqa: F821

    if len(parameters) > 1:
        raise TypeError(f"{function.__name__} has {len(parameters)} parameters besides x; at most 1 is allowed")
    template = with_parameter if parameters else plain
    loop_name = f"{function.__name__}_loop"
    code = template.__code__.replace(
        co_filename=function.__code__.co_filename,
        co_firstlineno=function.__code__.co_firstlineno,
        co_name=loop_name,
        co_qualname=loop_name,
    )
    loop = types.FunctionType(code, {"scalar_of_x": scalar, "range": range}, loop_name)
    loop.__module__ = function.__module__
    return loop


def _overload_elementwise(
    public: Callable[..., Any],
    scalar: Callable[..., Any],
    loop: Callable[..., Any],
    names: list[str],
    defaults: tuple[float, ...],
) -> None:
    """Teach Numba to call an element-wise function in compiled code, on numbers and on arrays."""
    from numba.core import types as nb

    def choose(x: Any) -> Any:
        inner = x.dtype if isinstance(x, nb.Array) else x
        if not (inner in (nb.float32, nb.float64) or isinstance(inner, nb.Integer)):
            raise numba.TypingError(
                f"{public.__name__}: x must be a float32, float64 or integer number or array, got {x}"
            )
        if not isinstance(x, nb.Array):
            return "number" if inner in (nb.float32, nb.float64) else "integer"
        return "contiguous" if inner in (nb.float32, nb.float64) and x.layout == "C" else "array"

    # One compiled form for each kind of argument; `p` holds the parameter, or nothing.
    def convert(x: Any) -> Any:
        return np.float32 if getattr(x, "dtype", x) == nb.float32 else np.float64

    if not names:

        @numba.extending.overload(public, jit_options={**_OPTIONS, "forceinline": True})
        def typed(x):  # type: ignore[no-untyped-def]
            kind, dtype = choose(x), convert(x)

            def contiguous(x):  # type: ignore[no-untyped-def]
                out = np.empty(x.shape, dtype)
                loop(0, x.size, x.reshape(x.size), out.reshape(x.size))
                return out

            def array(x):  # type: ignore[no-untyped-def]
                out = np.empty(x.shape, dtype)
                out[...] = x
                flat = out.reshape(x.size)
                loop(0, x.size, flat, flat)
                return out

            return {
                "number": lambda x: scalar(x),
                "integer": lambda x: scalar(np.float64(x)),
                "contiguous": contiguous,
                "array": array,
            }[kind]

    else:
        (default,) = defaults

        def renamed(f: Any) -> Any:  # callers may give the parameter by its name
            variables = f.__code__.co_varnames
            f.__code__ = f.__code__.replace(co_varnames=tuple(names[0] if v == "parameter" else v for v in variables))
            return f

        @numba.extending.overload(public, jit_options={**_OPTIONS, "forceinline": True}, strict=False)
        @renamed
        def typed(x, parameter=default):  # type: ignore[no-untyped-def]
            kind, dtype = choose(x), convert(x)

            def contiguous(x, parameter=default):  # type: ignore[no-untyped-def]
                out = np.empty(x.shape, dtype)
                loop(0, x.size, x.reshape(x.size), out.reshape(x.size), np.float64(parameter))
                return out

            def array(x, parameter=default):  # type: ignore[no-untyped-def]
                out = np.empty(x.shape, dtype)
                out[...] = x
                flat = out.reshape(x.size)
                loop(0, x.size, flat, flat, np.float64(parameter))
                return out

            forms = {
                "number": lambda x, parameter=default: scalar(x, np.float64(parameter)),
                "integer": lambda x, parameter=default: scalar(np.float64(x), np.float64(parameter)),
                "contiguous": contiguous,
                "array": array,
            }
            return renamed(forms[kind])


def cache_folder() -> Path:
    """Return the folder for generated programs, made if it does not exist yet.

    It is `$DERIVABLE_CACHE_DIR` where that is set, else the user's cache folder for `derivable`. Where that
    cannot be written either, it is a folder of this user's in the system's temporary folder. Deleting it is safe.

    Returns:
        The folder.
    """
    chosen = os.environ.get("DERIVABLE_CACHE_DIR")
    if chosen:
        folder = Path(chosen)
    elif sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA", Path.home())) / "derivable" / "cache"
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches" / "derivable"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "derivable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        if chosen:
            raise
    import getpass
    import tempfile

    folder = Path(tempfile.gettempdir()) / f"derivable-{getpass.getuser()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


# --------------------------------------------------------------------------------------------- threads

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_threads: int | None = None
_inside = threading.local()
_handover: float | None = None  # seconds
WORTH = 3  # with two threads, a sixth less time at least
LEAST_SECONDS = 2e-5  # of work that may be worth a second thread on any machine


def get_num_threads() -> int:
    """Return how many threads a large computation may use.

    Unless [`set_num_threads`][derivable.jit.set_num_threads] was called, it is what Numba takes for itself:
    `$NUMBA_NUM_THREADS` where set (joblib sets it in its workers), else the number of processors of this process.

    Returns:
        The number of threads, at least 1.

    Examples:
        ```python
        import derivable as dv

        assert dv.get_num_threads() >= 1
        ```
    """
    return numba.config.NUMBA_NUM_THREADS if _threads is None else _threads


def set_num_threads(threads: int) -> None:
    """Set how many threads a large computation may use, in this process.

    Results do not depend on it: every piece of work writes to its own part of the output.

    Args:
        threads: the number of threads, at least 1; 1 switches parallelism off.

    Raises:
        TypeError: if `threads` is not an int.
        ValueError: if `threads` is less than 1.

    Examples:
        ```python
        import derivable as dv

        before = dv.get_num_threads()
        dv.set_num_threads(1)
        assert dv.get_num_threads() == 1
        dv.set_num_threads(before)
        ```
    """
    global _threads
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(f"threads must be an int, got {type(threads).__name__}")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    with _lock:
        _threads = threads
    _retire_pool()


def threads_for(seconds: float, handovers: int = 1) -> int:
    """Return how many threads are worth their while for work that takes one thread about so long.

    Work is handed to other threads only where it takes `WORTH` times as long as to hand it over and to hear that it is
    done. This is measured, once in a process, for it differs from machine to machine: it took some 90 microseconds on
    the virtual one where this was written.

    Args:
        seconds: an estimate; twice too much or too little does no harm.
        handovers: how often the threads meet meanwhile.

    Returns:
        1 or `get_num_threads()`.
    """
    global _handover
    threads = get_num_threads()
    if threads == 1 or seconds < LEAST_SECONDS or getattr(_inside, "piece", False):
        return 1
    if _handover is None:
        measured = []
        try:
            for _ in range(9):
                began = time.perf_counter()
                _get_pool().submit(int).result()
                measured.append(time.perf_counter() - began)
        except RuntimeError:
            return 1  # as in `parallel_for`
        _handover = statistics.median(measured)
    return threads if seconds >= WORTH * handovers * _handover else 1


def parallel_for(
    body: Callable[..., Any], count: int, *args: Any, pieces: int | None = None, threads: int | None = None
) -> None:
    """Run `body(start, stop, *args)` over the pieces of `range(count)`, in parallel.

    The calling thread works too. Called from within a piece, it runs serially, so that nesting cannot
    deadlock. Safe to call from several Python threads at once, and in a child after `fork`.

    Args:
        body: a kernel that handles the indices `start <= i < stop`. Pieces must write to disjoint places.
        count: the number of indices.
        *args: passed on to `body`.
        pieces: into how many pieces to cut; as many as there are threads by default. More pieces than threads
            balance uneven work.
        threads: how many threads, `get_num_threads()` by default; with one, `body` is called once.
    """
    threads = min(get_num_threads() if threads is None else threads, count)
    if threads <= 1 or getattr(_inside, "piece", False):
        body(0, count, *args)
        return
    pieces = min(count, max(threads, pieces or threads))
    todo = deque((count * i // pieces, count * (i + 1) // pieces) for i in range(pieces))
    marks = np.zeros(threads - 1, np.uint8)  # of each helper: WAITING, WORKING, DONE
    errors: list[BaseException] = []

    def work() -> None:
        before, _inside.piece = getattr(_inside, "piece", False), True
        try:
            while todo:
                try:
                    start, stop = todo.popleft()
                except IndexError:  # another thread took the last piece
                    break
                body(start, stop, *args)
        finally:
            _inside.piece = before

    def help_out(k: int) -> None:
        marks[k] = WORKING  # before it takes a piece: so the caller knows for whom to wait
        try:
            work()
        except BaseException as error:
            errors.append(error)
            todo.clear()
        finally:
            marks[k] = DONE

    helpers: list[Future[None]] = []
    try:
        try:
            for k in range(threads - 1):
                helpers.append(_get_pool().submit(help_out, k))
        except RuntimeError:
            pass  # the pool was retired meanwhile, or the interpreter is shutting down: fewer helpers, same result
        work()
    finally:
        todo.clear()  # after an error nobody begins another piece
        for k, helper in enumerate(helpers):
            if marks[k] == WAITING:
                helper.cancel()  # it comes too late; if it has just begun, it finds nothing to do
            elif marks[k] == WORKING and (numba.config.DISABLE_JIT or not wait_for_mark(marks, k, DONE, PATIENCE)):
                helper.exception()  # which sleeps until then
    if errors:
        raise errors[0]


WAITING, WORKING, DONE = range(3)
# Looks at a helper's mark before the caller goes to sleep, some 50 microseconds: to be woken takes as long again.
PATIENCE = 100_000


@intrinsic
def load_mark(typing, marks, k):  # type: ignore[no-untyped-def]
    """Load marks[k] from memory, which another thread may have changed: the compiler must not remember it."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load_atomic(builder.gep(data, [args[1]]), "acquire", 1)

    return numba.types.uint8(marks, k), emit


@kernel
def wait_for_mark(marks, k, mark, patience):  # type: ignore[no-untyped-def]
    """Look at marks[k] until it is `mark`, at most so many times; return whether it is."""
    while patience > 0:
        if load_mark(marks, k) == mark:
            return True
        patience -= 1
    return False


# ----------------------------------------------------------------------------------------- working space

KEPT_BYTES = 5 << 22  # of working space, at most, that each thread keeps for its next call


class _Spaces(threading.local):
    def __init__(self) -> None:
        self.free: list[Any] = []
        self.made = 0


_spaces = _Spaces()


class working_space:
    """Lend an empty vector for the time of a `with` block; it begins where a line of the cache does.

    A thread keeps what it gave back, up to `KEPT_BYTES`, and lends it again: each thread that computes does, those of
    the pool, too. Memory that is asked of the system anew comes page by page at its first touch, for which a layer can
    take twice its time.

    The vector is the value of the `with` statement, and must not be used after the block.

    Args:
        count: how many numbers.
        dtype: their dtype.
    """

    __slots__ = ("bytes", "dtype", "space")

    def __init__(self, count: int, dtype: np.dtype[Any]) -> None:
        self.bytes, self.dtype = count * dtype.itemsize, dtype

    def __enter__(self) -> Any:
        free, i, space = _spaces.free, 0, None
        while space is None and i < len(free):  # the smallest first
            # Taken before it is looked at: a signal's handler that computes, too, may come between any two steps.
            space = free.pop(i)
            if len(space) < self.bytes:
                free.insert(i, space)
                i, space = i + 1, None
        if space is None:
            # Not all at the same place of a page: they would drive each other out of the nearest cache.
            _spaces.made += 1
            buffer = np.empty(self.bytes + 4096, np.uint8)
            start = (_spaces.made * 27 * 64 - buffer.ctypes.data) % 4096
            space = buffer[start : start + self.bytes]
        self.space = space
        return space[: self.bytes].view(self.dtype)

    def __exit__(self, kind: Any, *error: object) -> None:
        free = _spaces.free
        # After an interrupt a helper may still write to it.
        if len(self.space) <= KEPT_BYTES and kind is None:
            free.append(self.space)
            free.sort(key=len)
        while sum(map(len, free)) > KEPT_BYTES:
            del free[0]


def forget_working_space() -> None:
    """Give the working space that this thread and the pool's threads keep back to the system."""
    _spaces.free.clear()
    _retire_pool()


def _get_pool() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, get_num_threads() - 1), thread_name_prefix="derivable")
        return _pool


def _retire_pool() -> None:
    """Let the pool finish and forget it; the next parallel call starts another."""
    global _pool
    with _lock:
        pool, _pool = _pool, None
    if pool is not None:
        pool.shutdown(wait=True)


def _forget_pool() -> None:
    """In a child after a fork: its parent's threads are not there, whatever they held."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    # A child has none of its parent's threads. Without them at the moment of the fork there is nothing to
    # inherit half-done, and Python (3.12 on) does not warn of a fork in a process with threads. Where another thread
    # makes a pool between that and the fork, the child forgets it, and a lock that was held.
    os.register_at_fork(before=_retire_pool, after_in_child=_forget_pool)
