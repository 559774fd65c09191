"""A snippet with what it needs from above is a script of its own, and prints what the page says."""

import os
import subprocess
import sys

import pytest

from derivable_book import notebooks, pages, standalone
from derivable_book.snippets import OUTPUT, Block, Document, compare, read_blocks


def blocks_of(path):
    return read_blocks(Document(pages.DOCS / path, path, (pages.DOCS / path).read_text(encoding="utf-8")))


def page(*sources):
    return [Block(source, 1) for source in sources]


CHAPTERS = [chapter.path for chapter in notebooks.chapters()]


@pytest.mark.parametrize("path", CHAPTERS)
def test_no_script_reads_a_name_that_it_lacks(path):
    blocks = blocks_of(path)
    alone = 0
    for number, block in enumerate(blocks):
        script = standalone.script(blocks, number)
        assert standalone.unbound(script) == set(), f"{path}: snippet {number}"
        alone += bool(standalone.unbound(block.source))
        assert script.endswith(block.source)
    assert alone > len(blocks) / 2  # most would not run as they stand


def test_what_is_kept():
    blocks = page(
        "import numpy as np\nimport os\n",
        "a = np.zeros(3)\nb = np.ones(3)\nprint(a)\n#> [0. 0. 0.]\n",
        "a[0] = 1\nb[0] = 2\nassert a.sum() == 1\n",
        "print(a)\n",
    )
    assert standalone.needs(blocks)[3] == [(0, 1, 1), (1, 1, 1), (2, 1, 1)]
    assert standalone.script(blocks, 3) == "import numpy as np\na = np.zeros(3)\na[0] = 1\nprint(a)\n"


@pytest.mark.parametrize(
    ("above", "kept"),
    [
        ("x = 1\nx = 2\n", [(0, 2, 2)]),  # the last binding only
        ("x = 1\nx += 1\n", [(0, 1, 2)]),
        ("def x():\n    return y\n\ny = 3\nz = 4\n", [(0, 1, 2), (0, 4, 4)]),  # what a function reads later
        ("def x(y):\n    return y\n\ny = 3\n", [(0, 1, 2)]),  # a parameter is no name of the page
        ("x = []\ny = 1\nx.append(y)\nprint(x)\n", [(0, 1, 3)]),
        ("import random\nr = random.Random(0)\na = r.random()\nx = r.random()\n", [(0, 1, 4)]),  # the same numbers
        ("x = [y for y in range(3)]\ny = 1\n", [(0, 1, 1)]),
        ("for x in range(3):\n    pass\n", [(0, 1, 2)]),
        ("with open('f') as x:\n    pass\nx2 = 1\n", [(0, 1, 2)]),
    ],
)
def test_what_one_name_needs(above, kept):
    assert standalone.needs(page(above, "print(x)\n"))[1] == kept


def test_what_is_there_to_fail_is_left_out():
    blocks = page("x = []\n", "# raises: AttributeError\nx.append(1)\nx.missing()\n", "print(x)\n")
    assert standalone.needs(blocks)[2] == [(0, 1, 1), (1, 2, 2)]


def test_a_missing_name_is_found():
    assert standalone.unbound("import os\nprint(os, missing)\n") == {"missing"}
    assert standalone.unbound("f = lambda a: a + b\n") == {"b"}


def run(path, number, folder):
    blocks = blocks_of(path)
    file = folder / "script.py"
    file.write_text(standalone.script(blocks, number), encoding="utf-8")
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), PYTHONIOENCODING="utf-8")
    done = subprocess.run([sys.executable, str(file)], capture_output=True, encoding="utf-8", env=environment)
    block = blocks[number]
    error = block.mark("raises")
    assert (error.partition(":")[0] in done.stderr) if error else done.returncode == 0, done.stderr
    if error is None:
        wanted = [m.group(1) for line in block.source.split("\n") if (m := OUTPUT.match(line))]
        got = done.stdout.splitlines()
        assert compare(wanted, got[len(got) - len(wanted) :]) is None  # behind what a loop from above may print


@pytest.mark.slow
@pytest.mark.parametrize(("path", "label"), [("chapters/descent.md", "sufficient-decrease")])
def test_a_script_prints_what_the_page_says(path, label, tmp_path):
    run(path, next(i for i, block in enumerate(blocks_of(path)) if label in block.checks), tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("path", "number"), [(path, i) for path in CHAPTERS for i, b in enumerate(blocks_of(path)) if not b.missing]
)
def test_every_script_prints_what_the_page_says(path, number, tmp_path):
    run(path, number, tmp_path)
