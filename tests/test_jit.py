"""How the package compiles and runs in parallel: caches, threads, fork, joblib, read-only installs."""

import ast
import ctypes
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import derivable as dv
from derivable import jit

ROOT = Path(__file__).parents[1]
COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
fresh_process = pytest.mark.skipif(not COMPILED, reason="about compiled kernels in fresh processes")


def run(script, *, folder, source=ROOT / "src", **options):
    """Run a script in a fresh process, with caches of its own; return what it printed."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(source),
        "NUMBA_CACHE_DIR": str(folder / "numba"),
        "DERIVABLE_CACHE_DIR": str(folder / "derivable"),
        "NUMBA_NUM_THREADS": "2",
        **options.pop("environment", {}),
    }
    environment = {k: v for k, v in environment.items() if v is not None}
    path = folder / "script.py"
    path.write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)], env=environment, capture_output=True, text=True, timeout=300,
        check=False, **options,
    )  # fmt: skip
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# ------------------------------------------------------------------------------------------- import

IMPORT = """
    import sys
    from numba.core import event
    with event.install_recorder("numba:compile") as compiled:
        import derivable
    heavy = ["scipy.signal", "scipy.optimize", "sklearn", "matplotlib", "torch", "jax", "derivable_book"]
    heavy += ["derivable.exercises"]
    print([name for name in heavy if name in sys.modules], len(compiled.buffer))
"""


@fresh_process
def test_import_is_light_and_compiles_nothing(tmp_path):
    assert run(IMPORT, folder=tmp_path) == "[] 0\n"


USE = """
    from numba.core import event
    import numpy as np
    import derivable as dv
    import numba

    @numba.njit
    def gradient(w):
        return 2.0 * w

    @numba.njit
    def loss(w):
        return np.sum(np.sin(w) * w)

    @numba.njit
    def field(w):
        v = np.empty_like(w)
        for i in range(w.size):
            v[i] = w[i] * w[w.size - 1 - i]
        return v

    x = np.linspace(-3.0, 3.0, 7)
    with event.install_recorder("numba:compile") as compiled:
{calls}
    names = {{e.data["dispatcher"].py_func.__module__ + "." + e.data["dispatcher"].py_func.__qualname__
             for _, e in compiled.buffer}}
    print(sorted(n for n in names if n.startswith("derivable")))
"""


@fresh_process
@pytest.mark.slow
def test_the_second_process_compiles_none_of_the_packages_kernels(tmp_path):
    calls = [
        "for name in ('softsign', 'tanh', 'sigmoid', 'relu', 'leaky_relu', 'softplus', 'silu', 'gelu'):",
        "    for f in (getattr(dv, name), getattr(dv, 'd' + name)):",
        "        f(x), f(x.astype(np.float32)), f(0.5), f(np.ones(2**21))",
        "dv.gradient_descent(gradient, x, 0.1, 10)",
        "dv.grad(loss)(x), dv.gradient_descent(dv.grad(loss), x, 0.01, 10)",
        "dv.jacobian(field, mode='forward')(x), dv.jacobian(field, mode='reverse')(x)",
    ]
    script = USE.format(calls=textwrap.indent("\n".join(calls), " " * 8))
    first, second = run(script, folder=tmp_path), run(script, folder=tmp_path)
    assert first != "[]\n"  # the recorder sees compilations, so an empty list means something
    assert second == "[]\n"


# -------------------------------------------------------------------------------------- kernel, cache


def test_kernel_divides_as_numpy_does():
    quotient = jit.kernel(lambda a, b: a / b, cache=False)
    assert quotient(1.0, 0.0) == np.inf if COMPILED else True


def test_kernel_without_a_writable_cache_warns_and_still_works(monkeypatch, tmp_path):
    if not COMPILED:
        pytest.skip("nothing is cached")
    import numba

    real = numba.njit

    def njit(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'f': no locator available for file 'f.py'")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR"):
        f = jit.kernel(lambda x: x + 1)
    assert f(1) == 2


def test_kernel_passes_other_errors_on(monkeypatch):
    import numba

    def njit(**options):
        raise RuntimeError("another reason")

    monkeypatch.setattr(numba, "njit", njit)
    with pytest.raises(RuntimeError, match="another reason"):
        jit.kernel(lambda x: x)


def test_cache_folder_is_the_one_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("DERIVABLE_CACHE_DIR", str(tmp_path / "a" / "b"))
    assert jit.cache_folder() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_cache_folder_that_cannot_be_made_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DERIVABLE_CACHE_DIR", str(tmp_path / "file" / "b"))
    with pytest.raises(OSError, match="file"):
        jit.cache_folder()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="about XDG folders")
def test_cache_folder_falls_back_where_home_is_read_only(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("DERIVABLE_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    folder = jit.cache_folder()
    assert folder.parent == tmp_path
    assert os.access(folder, os.W_OK)


# ------------------------------------------------------------------------------------------- threads


@jit.kernel
def squares(start, stop, x, y):
    for i in range(start, stop):
        y[i] = x[i] * x[i]


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    before = dv.get_num_threads()
    dv.set_num_threads(request.param)
    yield request.param
    dv.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("pieces", [None, 1, 3, 50])
def test_parallel_for_covers_every_index_once(threads, count, pieces):
    x, y = np.arange(count, dtype=float), np.full(count, -1.0)
    jit.parallel_for(squares, count, x, y, pieces=pieces)
    np.testing.assert_array_equal(y, x * x)


def test_parallel_for_runs_each_piece_once(threads):
    seen = []
    jit.parallel_for(lambda a, b: seen.extend(range(a, b)), 101, pieces=17)
    assert sorted(seen) == list(range(101))


def test_parallel_for_passes_errors_on_and_stays_usable(threads):
    def body(start, stop):
        if start == 0:
            raise KeyError("from a piece")

    for _ in range(3):
        with pytest.raises(KeyError, match="from a piece"):
            jit.parallel_for(body, 100, pieces=10)
    test_parallel_for_runs_each_piece_once(threads)


def test_parallel_for_may_be_nested(threads):
    total = np.zeros(64, dtype=int)

    def inner(start, stop, row):
        for i in range(start, stop):
            total[8 * row + i] += 1

    def outer(start, stop):
        for row in range(start, stop):
            jit.parallel_for(inner, 8, row)

    jit.parallel_for(outer, 8)
    np.testing.assert_array_equal(total, 1)


def test_threads_are_taken_for_long_work_only(monkeypatch):
    monkeypatch.setattr(jit, "_threads", 4)
    monkeypatch.setattr(jit, "_handover", 1e-4)
    assert [jit.threads_for(t) for t in (0, 1e-6, 2.9e-4, 3.1e-4, 1)] == [1, 1, 1, 4, 4]
    assert [jit.threads_for(t, 2) for t in (3.1e-4, 5.9e-4, 6.1e-4)] == [1, 1, 4]
    monkeypatch.setattr(jit, "_handover", 0.0)  # however fast: not for what takes no time
    assert [jit.threads_for(t) for t in (1e-6, 1e-4)] == [1, 4]
    monkeypatch.setattr(jit, "_threads", 1)
    assert jit.threads_for(1) == 1


def test_the_handover_is_measured_once_and_never_within_a_piece(monkeypatch):
    monkeypatch.setattr(jit, "_threads", 2)
    monkeypatch.setattr(jit, "_handover", None)
    inside = []
    jit.parallel_for(lambda start, stop: inside.append(jit.threads_for(1)), 2)  # it would wait for itself
    assert inside == [1, 1]
    assert jit._handover is None
    assert jit.threads_for(1e9) == 2
    measured = jit._handover
    assert 0 < measured < 1e9
    assert jit.threads_for(1e9) == 2
    assert jit._handover is measured


def test_a_helper_that_comes_too_late_is_not_waited_for(monkeypatch):
    """The only other thread of the pool is busy with something else meanwhile."""
    monkeypatch.setattr(jit, "_threads", 2)
    jit._retire_pool()
    go_on, done = threading.Event(), []
    busy = jit._get_pool().submit(go_on.wait, 60)
    jit.parallel_for(lambda a, b: done.extend(range(a, b)), 8)
    assert done == list(range(8))
    assert not busy.done()
    go_on.set()
    assert busy.result()
    jit._retire_pool()


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_a_helper_at_work_is_waited_for(monkeypatch, seconds):
    """Shorter and longer than the caller's patience."""
    monkeypatch.setattr(jit, "_threads", 2)
    begun, done = threading.Event(), []

    def body(start, stop):
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(60)
        else:
            begun.set()
            time.sleep(seconds)
        done.append(start)

    for _ in range(5):
        begun.clear()
        done.clear()
        jit.parallel_for(body, 2)
        assert sorted(done) == [0, 1]


def test_the_error_of_a_helper_arrives(monkeypatch):
    monkeypatch.setattr(jit, "_threads", 2)
    begun = threading.Event()

    def body(start, stop):
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(60)
        else:
            begun.set()
            raise KeyError("from the helper")

    with pytest.raises(KeyError, match="from the helper"):
        jit.parallel_for(body, 2)


def test_working_space_is_lent_again_and_never_twice_at_once():
    jit._spaces.free.clear()
    with jit.working_space(1000, np.dtype(np.float32)) as a, jit.working_space(10, np.dtype(np.float64)) as b:
        assert (a.shape, a.dtype, b.shape, b.dtype) == ((1000,), np.float32, (10,), np.float64)
        assert a.ctypes.data % 64 == b.ctypes.data % 64 == 0
        assert not np.shares_memory(a, b)
        places = a.ctypes.data, b.ctypes.data
    with jit.working_space(9, np.dtype(np.float64)) as b, jit.working_space(20, np.dtype(np.float64)) as a:
        assert (a.ctypes.data, b.ctypes.data) == places, "the smallest that fits"
    with pytest.raises(KeyError), jit.working_space(1000, np.dtype(np.float32)):
        raise KeyError
    assert len(jit._spaces.free) == 1, "after an interrupt a helper may still write there"


def test_working_space_may_be_asked_for_between_any_two_steps():
    """As a signal's handler does that computes, too."""
    for lines in range(1, 40):
        jit._spaces.free.clear()
        with (
            jit.working_space(10, np.dtype(np.uint8)),
            jit.working_space(20, np.dtype(np.uint8)),
            jit.working_space(30, np.dtype(np.uint8)),
        ):
            pass
        left = lines

        def trace(frame, event, _):
            nonlocal left
            if frame.f_code is not jit.working_space.__enter__.__code__:
                return None
            left -= event == "line"
            if left == 0:
                sys.settrace(None)
                with jit.working_space(15, np.dtype(np.uint8)):
                    return None
            return trace

        sys.settrace(trace)
        try:
            with jit.working_space(15, np.dtype(np.uint8)) as a, jit.working_space(15, np.dtype(np.uint8)) as b:
                sys.settrace(None)
                assert not np.shares_memory(a, b)
                assert len(a) == len(b) == 15
                places = [space.ctypes.data for space in (*jit._spaces.free, a, b)]
                assert len(set(places)) == len(places)
        finally:
            sys.settrace(None)


def test_working_space_is_each_threads_own_and_bounded():
    jit._spaces.free.clear()
    with jit.working_space(100, np.dtype(np.float64)):
        pass
    seen = []
    thread = threading.Thread(target=lambda: seen.append(list(jit._spaces.free)))
    thread.start()
    thread.join()
    assert seen == [[]]
    half = jit.KEPT_BYTES // 2
    with (
        jit.working_space(half + 1, np.dtype(np.uint8)),
        jit.working_space(half + 2, np.dtype(np.uint8)),
        jit.working_space(half + 3, np.dtype(np.uint8)),
    ):
        pass
    assert sum(map(len, jit._spaces.free)) <= jit.KEPT_BYTES
    kept = list(map(len, jit._spaces.free))
    with jit.working_space(jit.KEPT_BYTES + 1, np.dtype(np.uint8)):
        pass
    assert list(map(len, jit._spaces.free)) == kept
    jit.forget_working_space()
    assert jit._spaces.free == []


def test_one_thread_calls_the_body_once(threads):
    calls = []
    jit.parallel_for(lambda a, b: calls.append((a, b)), 100, pieces=10, threads=1)
    assert calls == [(0, 100)]


def test_many_python_threads_at_once(threads):
    x = np.arange(5000.0)
    outputs = [np.zeros_like(x) for _ in range(8)]

    def use(y):
        for _ in range(50):
            jit.parallel_for(squares, len(x), x, y)

    workers = [threading.Thread(target=use, args=(y,)) for y in outputs]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for y in outputs:
        np.testing.assert_array_equal(y, x * x)


def test_the_thread_count_may_change_while_others_compute():
    before = dv.get_num_threads()
    x, y = np.arange(5000.0), np.zeros(5000)
    stop = threading.Event()

    def change():
        while not stop.is_set():
            for n in (1, 2, 3):
                dv.set_num_threads(n)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(300):
            y[:] = 0
            jit.parallel_for(squares, len(x), x, y)
            np.testing.assert_array_equal(y, x * x)
    finally:
        stop.set()
        changer.join()
        dv.set_num_threads(before)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_set_num_threads_refuses(value, error):
    with pytest.raises(error, match="threads must be"):
        dv.set_num_threads(value)


# ---------------------------------------------------------------------------- processes and installs

PARALLEL = """
    import numpy as np
    import derivable as dv
    x = np.linspace(-3, 3, 2**21)
    expected = x / (1 + np.abs(x))
    assert dv.get_num_threads() == 2
    def use(_=None):
        np.testing.assert_allclose(dv.softsign(x), expected, rtol=1e-15)
        return True
"""


@fresh_process
@pytest.mark.slow
def test_two_python_threads_in_a_fresh_process(tmp_path):
    script = """
    import threading
    workers = [threading.Thread(target=lambda: [use() for _ in range(20)]) for _ in range(2)]
    [w.start() for w in workers]
    [w.join() for w in workers]
    print("done")
    """
    assert run(PARALLEL + script, folder=tmp_path) == "done\n"


@fresh_process
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_after_fork_and_its_parent(tmp_path):
    script = """
    import os
    use()
    child = os.fork()
    use()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    use()
    print("done")
    """
    assert run(PARALLEL + script, folder=tmp_path) == "done\n"


@fresh_process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_other_threads_compute(tmp_path):
    """Another thread may make a pool, or hold a lock, between the last look before a fork and the fork."""
    script = """
    import os, signal, threading, warnings
    from derivable import jit
    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork in a process with threads: that is the point
    use()
    stop = threading.Event()
    def compute():
        while not stop.is_set():
            use()
    threads = [threading.Thread(target=compute) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(20):
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            use()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0, i
    stop.set()
    for thread in threads:
        thread.join()
    print("done")
    """
    assert run(PARALLEL + script, folder=tmp_path) == "done\n"


def test_an_interrupt_while_helpers_work_leaves_no_shared_memory():
    """What a late helper still writes must not be lent again."""
    before = dv.get_num_threads()
    dv.set_num_threads(2)
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def body(start, stop, space):
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(60)
            raise KeyboardInterrupt
        begun.set()
        go_on.wait(60)
        space[:] = 1
        done.set()

    def compute():
        with pytest.MonkeyPatch.context() as patch:
            # A second interrupt comes while the caller waits.
            patch.setattr(jit, "wait_for_mark", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            patch.setattr(jit.numba.config, "DISABLE_JIT", 0)
            with jit.working_space(1000, np.dtype(np.float64)) as space:
                jit.parallel_for(body, 2, space)

    try:
        with pytest.raises(KeyboardInterrupt):
            compute()
        with jit.working_space(1000, np.dtype(np.float64)) as space:
            space[:] = 0
            go_on.set()
            assert done.wait(60)
            assert not space.any()
    finally:
        go_on.set()
        dv.set_num_threads(before)


@fresh_process
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
def test_joblib(tmp_path, backend):
    pytest.importorskip("joblib")
    script = f"""
    import joblib
    def work(i):
        import numpy as np
        import derivable as dv
        x = np.linspace(-3, 3, 2**21) + i
        return np.abs(dv.softsign(x) - x / (1 + np.abs(x))).max() < 1e-15
    if __name__ == "__main__":
        use()
        assert all(joblib.Parallel(n_jobs=2, backend="{backend}")(joblib.delayed(work)(i) for i in range(4)))
        print("done")
    """
    assert run(PARALLEL + script, folder=tmp_path) == "done\n"


def obey_permissions():
    """Drop CAP_DAC_OVERRIDE from what the next program may have (prctl PR_CAPBSET_DROP)."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


@fresh_process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be made read-only this way")
@pytest.mark.parametrize("home", ["writable", "read-only"])
# Another test of the process may have imported JAX, which warns of each fork; the child here only starts a program.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_read_only_install(tmp_path, home):
    shutil.copytree(
        ROOT / "src" / "derivable", tmp_path / "site" / "derivable", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "home").mkdir()
    # The superuser may write anywhere, unless the right to override permissions is given up before the start.
    options = {"preexec_fn": obey_permissions} if sys.platform == "linux" and os.geteuid() == 0 else {}
    closed = [*(tmp_path / "site").rglob("*"), tmp_path / "site"]
    for path in [*closed, tmp_path / "home"] if home == "read-only" else closed:
        path.chmod(0o555 if path.is_dir() else 0o444)
    # Where nothing can be written, the package warns that kernels are compiled anew.
    quiet = "    import warnings\n    warnings.simplefilter('ignore')\n" if home == "read-only" else ""
    script = quiet + PARALLEL
    target = str(tmp_path / "site" / "x")
    script += f"""
    try:
        open({target!r}, "w")
        raise SystemExit("the install can be written")
    except OSError:
        pass
    """
    printed = run(
        script + "\n    use()\n    import derivable.jit\n    print(derivable.jit.cache_folder())\n",
        folder=tmp_path, source=tmp_path / "site", cwd=tmp_path,
        environment={"NUMBA_CACHE_DIR": None, "DERIVABLE_CACHE_DIR": None, "XDG_CACHE_HOME": None,
                     "HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1"},
        **options,
    )  # fmt: skip
    assert (str(tmp_path / "home") in printed) == (home == "writable")
    for path in [tmp_path / "site", tmp_path / "home", *(tmp_path / "site").rglob("*")]:
        path.chmod(0o755)


def test_no_kernel_is_a_generator():
    """Numba does not find a generator's type again when it loads a caller from disk to compile it for other types."""
    for path in sorted((ROOT / "src" / "derivable").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                compiled = any("kernel" in ast.unparse(decorator) for decorator in node.decorator_list)
                inside = [part for part in ast.walk(node) if isinstance(part, ast.Yield | ast.YieldFrom)]
                assert not (compiled and inside), f"{path.name}: {node.name} yields"
