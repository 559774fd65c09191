"""A check that cannot fail is a defect: break what a result rests on, and its snippet must turn red.

Each stored edit is applied to a copy. One of the package is used in a fresh process, since a compiled kernel ignores
what is patched around it. For the same reason the copy takes over only such stored machine code as the edit cannot be
in: that of modules from which no import leads to the edited file. An edit of a page leaves the package as it is: that
snippet runs here, as the pages do in test_pages.py. The snippet that checks the result must then fail by its assertion
or by its output, not by a NameError or a SyntaxError.
"""

import ast
import functools
import shutil
from pathlib import Path

import pytest

from book.claims import ROOT, checking_blocks, sabotages
from book.fresh import failures, failures_in_a_fresh_process
from derivable.jit import cache_folder


def cases():
    """Return one sabotage for each claim, and the further ones marked: `pytest -m exhaustive` runs them."""
    seen = set()
    for sabotage in sabotages():
        marks = [pytest.mark.exhaustive] if sabotage.claim in seen else []
        seen.add(sabotage.claim)
        yield pytest.param(sabotage, id=str(sabotage), marks=marks)


def module_of(path):
    """Return the name under which a file of the package is imported."""
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imports():
    """Return, for each module of the package, the modules that it imports anywhere in its text."""
    found = {module_of(path): path for path in sorted((ROOT / "src" / "derivable").rglob("*.py"))}
    graph = {}
    for module, path in found.items():
        named = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: a relative import"
                named |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        # What `derivable` itself exports, it imports when it is asked for it: its own text leads nowhere.
        graph[module] = (named & found.keys()) - {module, "derivable"} if module != "derivable" else set()
    return graph


def affected(edited, graph):
    """Return the edited module and every module from which imports lead to it."""
    reached, more = {edited}, True
    while more:
        more = {module for module, named in graph.items() if named & reached} - reached
        reached |= more
    return reached


def stale(folder, names, changed):
    """Return the files that the copy of a folder leaves out: stored machine code that the edit may be in."""
    if not folder.endswith("__pycache__"):
        return set()
    package = module_of(Path(folder).parent / "__init__.py")
    kept = {name.partition(".")[0] for name in names} - {module.rpartition(".")[2] for module in changed
                                                         if module.rpartition(".")[0] == package}  # fmt: skip
    if package in changed:
        kept.discard("__init__")
    return {name for name in names if not name.endswith((".nbi", ".nbc")) or name.partition(".")[0] not in kept}


def test_what_an_edit_reaches():
    graph = {"a": set(), "b": {"a"}, "c": {"b"}, "d": set()}
    assert affected("a", graph) == {"a", "b", "c"}
    assert affected("d", graph) == {"d"}
    assert "derivable.stochastic.loops" in affected("derivable.jit", imports())
    assert "derivable.activations" not in affected("derivable.stochastic.loops", imports())
    names = ["jit.f-1.py311.nbi", "jit.f-1.py311.1.nbc", "simd.g-1.py311.nbi", "jit.cpython-311.pyc"]
    folder = str(ROOT / "src" / "derivable" / "__pycache__")
    assert stale(folder, names, {"derivable.jit"}) == {names[0], names[1], names[3]}
    assert stale(folder, names, {"derivable.autodiff.jit"}) == {names[3]}


def copied(sabotage, folder):
    """Copy the package without what the edit reaches; return its folder and that of its generated programs."""
    source, cache = folder / "src", folder / "cache"
    changed = affected(module_of(ROOT / sabotage.file), imports())
    shutil.copytree(ROOT / "src", source, ignore=lambda folder, names: stale(folder, names, changed))
    # Generated programs stay apart too: one that calls the spoiled code must not be stored for the next process.
    # They call modules that state derivatives, and whatever these use.
    if not any(name.startswith("derivable.autodiff") for module in changed for name in {module, *imports()[module]}):
        shutil.copytree(cache_folder(), cache, ignore=shutil.ignore_patterns("*.tmp*"))
    return source, cache


@pytest.mark.slow
@pytest.mark.parametrize("sabotage", list(cases()))
def test_sabotage_turns_the_snippet_red(sabotage, tmp_path, monkeypatch):
    name = checking_blocks()[sabotage.claim][0][0].path.relative_to(ROOT).as_posix()
    of_page = sabotage.file.startswith("docs/")
    if not of_page:
        source, cache = copied(sabotage, tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path / sabotage.file
    text = target.read_text(encoding="utf-8")
    target.write_text(text.replace(sabotage.old, sabotage.new), encoding="utf-8")
    if of_page:
        monkeypatch.syspath_prepend(str(ROOT / "docs"))
        monkeypatch.chdir(tmp_path)
        found = failures(tmp_path, sabotage.claim, name)
    else:
        found = failures_in_a_fresh_process(tmp_path, sabotage.claim, name, source, {"DERIVABLE_CACHE_DIR": str(cache)})
    assert found, f"the snippet of {sabotage.claim} still passes with {sabotage.new!r} for {sabotage.old!r}"
    for kind, message in found:
        assert kind in ("assertion", "output"), message
