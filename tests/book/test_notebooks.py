"""Notebooks: the code and the outputs of the pages, and nothing of the book's own Markdown.

Every block of every page runs as a test, in order and in one namespace, and what it prints is compared with the page
(test_pages.py). A notebook holds these very blocks and these very outputs, which is what is tested here for all of
them; one is run from top to bottom in a fresh kernel. `python -m derivable_book.notebooks` runs them all.
"""

import ast
import os
import re
import sys
import textwrap

import nbformat
import pytest

from derivable_book import notebooks, pages
from derivable_book.results import scan
from derivable_book.snippets import OUTPUT, Document, read_blocks

CHAPTERS = notebooks.chapters()


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.path)
def test_a_notebook_holds_the_blocks_and_outputs_of_its_page(page):
    book = notebooks.notebook(page)
    nbformat.validate(book)
    path = pages.DOCS / page.path
    blocks = read_blocks(Document(path, page.path, path.read_text(encoding="utf-8")))
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert len(cells) == len(blocks) > 10
    for block, cell in zip(blocks, cells, strict=True):
        lines = block.source.rstrip().split("\n")
        code = "\n".join(line for line in lines if not OUTPUT.match(line)).rstrip()
        if block.needs:
            branch = ast.parse(cell.source).body[-1]
            assert isinstance(branch, ast.If)
            assert ast.unparse(branch.orelse) == ast.unparse(ast.parse(code))
        else:
            assert cell.source == code
        printed = [OUTPUT.match(line).group(1) for line in lines if OUTPUT.match(line)]
        shown = "".join(output.get("text", "") for output in cell.outputs).splitlines()
        assert len(printed) == len(shown)
        assert all(line.startswith(text.rstrip()) for line, text in zip(printed, shown, strict=True))
        assert not re.search(r"\[[ra]tol [^\]]*\]$", "\n".join(shown), re.MULTILINE)
        assert ("raises-exception" in cell.metadata.get("tags", [])) == (block.mark("raises") is not None)


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.path)
def test_the_words_of_a_notebook_are_plain_markdown(page):
    book = notebooks.notebook(page)
    words = "\n\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    prose = pages.blank_code(words)
    for left in (
        r"^/{3}",
        r"\[@",
        r"\]\((?!https?:|#)",
        r"^ {4}label:",
        r"\\arg(min|max)\b",
        r'exec="true"',
        r"^ *\?{3}",
    ):
        assert not re.search(left, prose, re.MULTILINE), left
    assert words.startswith("# ")
    hints = re.findall(r'^ *\?{3} tip "Hint"\n *(\w+ \w+)', page.text, re.MULTILINE)
    for start in hints:
        assert re.search(rf"^ {{4}}<details><summary>Hint</summary>\n\n {{4}}{start}", words, re.MULTILINE), start
    assert words.count("<details>") == words.count("</details>") == page.text.count('??? tip "Hint"')
    for result in scan():
        if result.page == page.path:
            assert f'<a id="{result.label}"></a>\n**{result.name}' in words


def test_what_a_cell_becomes():
    block = """\
        # raises: ValueError: too small
        import derivable as dv
        print(1.0)
        #> 1.0  [rtol 1e-3]
        dv.fail()
        """
    from derivable_book.snippets import Block

    cell = notebooks._code(Block(textwrap.dedent(block), 1))
    assert cell.source == "# raises: ValueError: too small\nimport derivable as dv\nprint(1.0)\ndv.fail()"
    assert cell.outputs[0].text == "1.0\n"
    assert (cell.outputs[1].ename, cell.outputs[1].evalue) == ("ValueError", "too small")


def test_a_cell_says_what_is_missing(capsys):
    from derivable_book.snippets import Block

    for names, left_out in (("json", False), ("json, no_such_module", True)):
        source = f"# needs: {names}\nimport json\n\nif True:\n    print(json.dumps([1]))\n#> [1]\n"
        cell = notebooks._code(Block(source, 1))
        assert cell.outputs[0].text == "[1]\n"
        exec(cell.source, {})
        assert capsys.readouterr().out == ("left out: needs json and no_such_module\n" if left_out else "[1]\n")


@pytest.mark.parametrize("source", ["# needs: json\na = '''\n'''\n", "# needs: os.path\nimport os.path\n"])
def test_a_cell_that_cannot_be_moved_is_refused(source):
    from derivable_book.snippets import Block

    with pytest.raises(pages.BookError, match="no string of several lines"):
        notebooks._code(Block(source, 1))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the kernel's event loop differs there")
def test_a_notebook_runs_from_top_to_bottom_in_a_fresh_kernel(monkeypatch):
    pytest.importorskip("ipykernel", reason="could not import 'ipykernel'")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    assert notebooks.run(next(page for page in CHAPTERS if page.path == "chapters/descent.md")) == []
