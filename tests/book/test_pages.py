"""Every Python block of every page, of the README and of every docstring runs, and prints what it says."""

import ast
import os
import sys
from pathlib import Path

import pytest

from derivable_book.snippets import SnippetError, audit, check, documents

# Another root lets a test of this test run it on a spoiled copy.
ROOT = Path(os.environ.get("DERIVABLE_BOOK_ROOT", Path(__file__).parents[2]))
DOCUMENTS = documents(ROOT)
PAGES = [d for d in DOCUMENTS if d.path.suffix == ".md"]
DOCSTRINGS = [d for d in DOCUMENTS if d.path.suffix == ".py"]


@pytest.fixture(autouse=True)
def docs_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_page(page):
    check(page)


@pytest.mark.parametrize("docstring", DOCSTRINGS, ids=str)
def test_docstring(docstring):
    check(docstring)


def test_the_book_was_found():
    names = {d.name for d in PAGES}
    assert "README.md" in names
    assert "docs/index.md" in names
    assert {f"docs/chapters/{p.name}" for p in (ROOT / "docs" / "chapters").glob("*.md")} <= names
    assert not [b for d in PAGES for b in audit(d) if b.mark("needs") and b.checks], "a claim must always be checked"
    assert sum(len(audit(d)) for d in PAGES) >= len(list((ROOT / "docs" / "chapters").glob("*.md")))


def test_snippets_are_short_and_start_with_the_import():
    for page in PAGES:
        if not page.name.startswith("docs/chapters/"):
            continue
        blocks = audit(page)
        assert blocks, f"{page}: a chapter without a snippet"
        lines = blocks[0].source.splitlines()
        assert any(line.strip() == "import derivable as dv" for line in lines), f"{page}: first block"
        for block in blocks:
            length = sum(not line.startswith("#>") for line in block.source.strip().splitlines())
            assert length <= 25, f"{page.name}:{block.line}: {length} lines"


def test_snippets_need_no_peer_library():
    peers = ("torch", "jax", "autograd", "tensorflow")
    for page in PAGES:
        for block in audit(page):
            for peer in peers:
                named = f"import {peer}" in block.source or f"from {peer}" in block.source
                assert not named or block.mark("needs"), f"{page.name}:{block.line} imports {peer}"


def _marked(page):
    try:
        return [block for block in audit(page) if block.mark("needs")]
    except SnippetError:  # test_page says so
        return []


MARKED = [(page, block) for page in PAGES for block in _marked(page)]


@pytest.mark.peer
@pytest.mark.parametrize(("page", "block"), MARKED, ids=[f"{p}:{b.line}" for p, b in MARKED])
def test_a_block_that_needs_a_peer_was_run(page, block):
    """`test_page` runs it where the peer is installed; here it is counted where it is not."""
    if block.missing:
        pytest.skip(f"{', '.join(block.missing)} is not installed: a block of {page} was left out")
    blocks = audit(page)
    position = next(i for i, b in enumerate(blocks) if b.line == block.line)
    leaked = _stored(block.source) - set().union(*[_stored(b.source) for b in blocks[:position] if not b.mark("needs")])
    for later in blocks[position + 1 :]:
        leaked -= _stored(later.source)
        assert not leaked & _loaded(later.source), f"{page.name}:{later.line} leans on a block that may be left out"


def _loaded(source):
    return {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _stored(source):
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {a.asname or a.name.partition(".")[0] for a in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
    return names


def test_the_package_under_test_is_the_one_in_the_tree():
    import derivable

    assert Path(derivable.__file__).is_relative_to(Path(__file__).parents[2]), sys.path
