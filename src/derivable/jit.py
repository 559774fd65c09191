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

import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numba

__all__ = ["cache_folder", "get_num_threads", "kernel", "parallel_for", "set_num_threads"]

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
    chosen = {**_OPTIONS, "cache": True, **options}
    try:
        return numba.njit(**chosen)(function)
    except RuntimeError as error:
        # Numba finds no folder that it may write to: an install and a home that are both read-only.
        if "cannot cache function" not in str(error):
            raise
        warnings.warn(
            "Derivable found no folder in which Numba may store compiled kernels, so each process compiles them "
            "anew. Set NUMBA_CACHE_DIR to a folder that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )
        return numba.njit(**{**chosen, "cache": False})(function)


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


def parallel_for(body: Callable[..., Any], count: int, *args: Any, pieces: int | None = None) -> None:
    """Run `body(start, stop, *args)` over the pieces of `range(count)`, in parallel.

    The calling thread works too. Called from within a piece, it runs serially, so that nesting cannot
    deadlock. Safe to call from several Python threads at once, and in a child after `fork`.

    Args:
        body: a kernel that handles the indices `start <= i < stop`. Pieces must write to disjoint places.
        count: the number of indices.
        *args: passed on to `body`.
        pieces: into how many pieces to cut; as many as there are threads by default. More pieces than threads
            balance uneven work.
    """
    threads = min(get_num_threads(), count)
    if threads <= 1 or getattr(_inside, "piece", False):
        body(0, count, *args)
        return
    pieces = min(count, max(threads, pieces or threads))
    todo = deque((count * i // pieces, count * (i + 1) // pieces) for i in range(pieces))

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

    helpers: list[Future[None]] = []
    try:
        for _ in range(threads - 1):
            helpers.append(_get_pool().submit(work))
    except RuntimeError:
        pass  # the pool was retired meanwhile, or the interpreter is shutting down: fewer helpers, same result
    try:
        work()
    finally:
        todo.clear()  # after an error nobody begins another piece
        errors = [helper.exception() for helper in helpers if not helper.cancel()]
    for error in errors:
        if error is not None:
            raise error


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


if hasattr(os, "register_at_fork"):
    # A child has none of its parent's threads. Without them at the moment of the fork there is nothing to
    # inherit half-done, and Python (3.12 on) does not warn of a fork in a process with threads.
    os.register_at_fork(before=_retire_pool)
