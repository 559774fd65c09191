"""Spoil a copy of each page in the four ways a page can go stale: each must turn the test of the pages red."""

import itertools
import os
import re
import shutil
import subprocess
import sys

import pytest

from book.claims import ROOT, pages
from derivable_book.snippets import audit


def always_run(page):
    """Return the blocks that run whatever is installed."""
    return [b for b in audit(page) if not b.mark("needs")]


def change_a_digit(lines, page):
    """Change the first digit of the page's first output."""
    for number, line in enumerate(lines):
        if line.startswith("#>") and re.search(r"[1-8]", line):
            lines[number] = re.sub(r"[1-8]", lambda m: str(int(m[0]) + 1), line, count=1)
            return lines
    return None


def change_a_character(lines, page):
    """Change one character in the page's middle block."""
    blocks = always_run(page)
    number = blocks[len(blocks) // 2].line - 1
    while not lines[number].strip() or lines[number].startswith("#"):
        number += 1
    lines[number] = lines[number][:1].replace(lines[number][:1], "?") + lines[number][1:]
    return lines


def add_a_titled_fence(lines, page):
    """Add a fence that mktestdocs would skip."""
    return [*lines, "", '```python title="example.py"', "x = 1", "```"]


def fail_at_the_end(lines, page):
    """Add a last block that fails: the page itself must have run to its end before it."""
    return [*lines, "", "```python", "assert False", "```"]


SPOILERS = (change_a_digit, change_a_character, add_a_titled_fence, fail_at_the_end)
WITH_BLOCKS = [p for p in pages() if audit(p)]
# A page of exercises runs in half a second; a process for each would take ten times as long.
QUICK = [p for p in WITH_BLOCKS if p.name.startswith("docs/exercises/")]
GROUPS = [QUICK, *([p] for p in WITH_BLOCKS if p not in QUICK)]
# One harness runs all pages: that it gets to the end is shown on those that are soon there.
LONG = [p for p in WITH_BLOCKS if p.name.startswith("docs/chapters/") and not p.name.endswith("/descent.md")]


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: str(group[0]) if len(group) == 1 else "exercises")
def test_each_spoiled_copy_is_red(group, tmp_path):
    shutil.copytree(ROOT / "docs" / "figures", tmp_path / "docs" / "figures")
    (tmp_path / "README.md").write_text("# Copy\n")
    expected = set()
    for page, spoil in itertools.product(group, SPOILERS):
        lines = None if spoil is fail_at_the_end and page in LONG else spoil(page.text.splitlines(), page)
        if lines is None:  # a page that prints nothing has no digit to change
            continue
        name = f"{page.path.stem}_{spoil.__name__}.md"
        (tmp_path / "docs" / name).write_text("\n".join(lines) + "\n")
        expected.add(f"test_page[docs/{name}]")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "test_page",
         str(ROOT / "tests" / "book" / "test_pages.py")],
        cwd=ROOT, env={**os.environ, "DERIVABLE_BOOK_ROOT": str(tmp_path)},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    failed = set(re.findall(r"^FAILED \S*::(test_page\[[^\]]+\])", run.stdout, flags=re.M))
    assert run.returncode == 1, run.stdout[-3000:] + run.stderr[-1000:]
    assert failed == expected, run.stdout[-3000:]
    ends = re.findall(r"AssertionError: *\nE +assert False\n", run.stdout)
    assert len(ends) == len([page for page in group if page not in LONG]), "a copy fails before its end"


def test_some_page_has_a_digit_to_change():
    assert any(change_a_digit(p.text.splitlines(), p) for p in WITH_BLOCKS)
