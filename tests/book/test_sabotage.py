"""A check that cannot fail is a defect: break what a result rests on, and its snippet must turn red.

Each stored edit is applied to a copy of the package and of the page, in a fresh process with fresh caches, since
a compiled kernel ignores what is patched around it. (An edit of the page leaves the package as it is, with what Numba
has stored of it.) The snippet that checks the result must then fail by its assertion or by its output, not by a
NameError or a SyntaxError.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from book.claims import ROOT, checking_blocks, sabotages


def cases():
    """Return one sabotage for each claim, and the further ones marked: `pytest -m exhaustive` runs them."""
    seen = set()
    for sabotage in sabotages():
        marks = [pytest.mark.exhaustive] if sabotage.claim in seen else []
        seen.add(sabotage.claim)
        yield pytest.param(sabotage, id=str(sabotage), marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize("sabotage", list(cases()))
def test_sabotage_turns_the_snippet_red(sabotage, tmp_path):
    page = checking_blocks()[sabotage.claim][0][0]
    of_page = sabotage.file.startswith("docs/")
    if not of_page:
        shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.nb?"))
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path / sabotage.file
    text = target.read_text(encoding="utf-8")
    target.write_text(text.replace(sabotage.old, sabotage.new), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str((ROOT if of_page else tmp_path) / "src")}
    if not of_page:
        environment |= {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "DERIVABLE_CACHE_DIR": str(tmp_path / "cache")}
    name = page.path.relative_to(ROOT).as_posix()
    run = subprocess.run(
        [sys.executable, "-m", "derivable_book.snippets", "--root", ".", "--claim", sabotage.claim, name],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    report = json.loads(run.stdout.splitlines()[-1])
    assert report, f"the snippet of {sabotage.claim} still passes with {sabotage.new!r} for {sabotage.old!r}"
    for failure in report:
        assert failure["kind"] in ("assertion", "output"), failure
