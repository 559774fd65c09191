"""The harness itself: what it refuses, what it compares, where it says that an error stands."""

import inspect
import re
import sys
from pathlib import Path

import pytest

from derivable_book import snippets
from derivable_book.snippets import Document, SnippetError, audit, check, compare, read_blocks, write

HERE = Path(__file__).parent
SECTIONS = {
    part.partition("\n")[0]: part.partition("\n")[2]
    for part in re.split(r"(?m)^=== ", (HERE / "poisoned.md").read_text())[1:]
}


def page(tmp_path, text, name="page.md"):
    path = tmp_path / name
    path.write_text(text)
    return Document(path, name, text)


@pytest.mark.parametrize("spelling", SECTIONS)
def test_poisoned_page_section_turns_the_harness_red(tmp_path, spelling):
    with pytest.raises(SnippetError) as caught:
        check(page(tmp_path, SECTIONS[spelling]))
    assert caught.value.kind == ("ValueError" if spelling == "raises" else "spelling")


def test_poisoned_page_as_a_whole_is_refused():
    path = HERE / "poisoned.md"
    with pytest.raises(SnippetError) as caught:
        audit(Document(path, "poisoned.md", path.read_text()))
    assert caught.value.kind == "spelling"


def test_other_languages_and_figures_are_not_counted(tmp_path):
    text = '```bash\nmake\n```\n\n```python exec="true" html="true" session="x"\n1/0\n```\n\n```python\nx = 1\n```\n'
    assert [b.source for b in audit(page(tmp_path, text))] == ["x = 1\n"]


def test_blocks_run_in_order_in_one_namespace(tmp_path):
    check(page(tmp_path, "```python\nx = 1\n```\ntext\n```python\nx += 1\nassert x == 2\n```\n"))


def test_pages_do_not_share_a_namespace(tmp_path):
    check(page(tmp_path, "```python\nleak = 1\n```\n", "a.md"))
    with pytest.raises(SnippetError, match=r"b\.md:2: NameError"):
        check(page(tmp_path, "```python\nleak\n```\n", "b.md"))


@pytest.mark.parametrize(
    ("text", "where", "kind"),
    [
        ("# T\n\n```python\nx = 1\nassert x == 2, 'no'\n```\n", "page.md:5", "assertion"),
        ("# T\n\n```python\nx = 1\n\n1 / 0\n```\n", "page.md:6", "ZeroDivisionError"),
        ("# T\n\n```python\nx = (1,\n  2\ny = 3\n```\n", "page.md:4", "SyntaxError"),
        ("```python\ndef f():\n    raise KeyError(1)\n```\n\n```python\nf()\n```\n", "page.md:3", "KeyError"),
        ("# T\n\n```python\nprint(1)\n#> 2\n```\n", "page.md:4", "output"),
        ("# T\n\n```python\nprint(1)\n```\n", "page.md:4", "output"),
        ("# T\n\n```python\nx = 1\n#> 2\n```\n", "page.md:4", "output"),
        ("# T\n\n```python\nprint(1)\n#> 1\n#> 2\n```\n", "page.md:4", "output"),
        ("```python\nimport warnings\nwarnings.warn('old')\n```\n", "page.md:3", "UserWarning"),
    ],
)
def test_errors_name_page_and_line(tmp_path, text, where, kind):
    with pytest.raises(SnippetError) as caught:
        check(page(tmp_path, text))
    assert caught.value.kind == kind
    assert caught.value.where == where


def test_an_output_inside_a_statement_is_refused(tmp_path):
    with pytest.raises(SnippetError, match="below the statement"):
        check(page(tmp_path, "```python\nfor i in range(2):\n    print(i)\n    #> 0\n```\n"))


def test_an_output_that_a_formatter_turned_into_a_comment_is_refused(tmp_path):
    with pytest.raises(SnippetError, match="formatter"):
        check(page(tmp_path, "```python\nx = 1\n# > 0\n```\n"))


def test_outputs_of_several_statements(tmp_path):
    check(
        page(
            tmp_path,
            "```python\nprint(1)\n#> 1\nfor i in range(2):\n    print(i)\n#> 0\n#> 1\nprint()\n#>\n```\n",
        )
    )


@pytest.mark.parametrize(
    ("wanted", "got", "agree"),
    [
        ("0.125", "0.125", True),
        ("0.125", "0.126", False),
        ("0.125  [rtol 1e-2]", "0.126", True),
        ("0.125  [rtol 1e-3]", "0.126", False),
        ("a 1e-16  [atol 1e-12]", "a 3.3e-14", True),
        ("a 1e-16  [atol 1e-12]", "b 3.3e-14", False),
        ("a 1e-16  [atol 1e-12]", "a 3.3e-11", False),
        ("[1. 2.]  [rtol 1e-9]", "[1. 2. 3.]", False),
        ("nan  [rtol 1e-9]", "nan", True),
        ("1.0  [rtol 1e-9]", "nan", False),
        ("inf  [rtol 1e-9]", "-inf", False),
        ("inf  [rtol 1e-9]", "1.0", False),
    ],
)
def test_compare(wanted, got, agree):
    assert (compare([wanted], [got]) is None) == agree


def test_a_block_that_must_raise(tmp_path):
    check(page(tmp_path, "```python\n# raises: ValueError: could not\nfloat('x')\n```\n"))
    for mark in ("TypeError: could not", "ValueError: another message"):
        with pytest.raises(SnippetError, match="should raise"):
            check(page(tmp_path, f"```python\n# raises: {mark}\nfloat('x')\n```\n"))
    with pytest.raises(SnippetError, match="does not"):
        check(page(tmp_path, "```python\n# raises: ValueError\nfloat('1')\n```\n"))


def test_functions_of_a_block_have_a_source_and_a_module(tmp_path):
    text = "# T\n\n```python\nimport inspect\ndef f(x):\n    return x\nassert 'return x' in inspect.getsource(f)\n```\n"
    session = check(page(tmp_path, text))
    assert inspect.getsource(session.module.f) == "def f(x):\n    return x\n"
    assert session.module.__name__ not in sys.modules


def test_write_replaces_outputs_and_keeps_tolerances(tmp_path):
    text = (
        "# T\n\n```python\nx = 2\nprint(x)\nfor i in range(2):\n    print(i)\n#> 7\nprint(1 / 3)\n"
        "#> 0.3333  [rtol 1e-3]\nprint(2 / 3)\n#> 0.5  [rtol 1e-3]\n```\nend\n"
    )
    document = page(tmp_path, text)
    assert write(document) == 3
    new = document.path.read_text()
    assert new == (
        "# T\n\n```python\nx = 2\nprint(x)\n#> 2\nfor i in range(2):\n    print(i)\n#> 0\n#> 1\nprint(1 / 3)\n"
        "#> 0.3333  [rtol 1e-3]\nprint(2 / 3)\n#> 0.6666666666666666  [rtol 1e-3]\n```\nend\n"
    )
    check(Document(document.path, "page.md", new))


MODULE = '''"""Module."""


def double(x):
    """Double a number.

    Args:
        x: the number.

    Examples:
        Twice two:

        ```python
        y = 2 * 2
        print(y)
        #> 4
        ```
    """
    return 2 * x
'''


def test_docstrings_are_found_and_located(tmp_path):
    folder = tmp_path / "src" / "derivable"
    folder.mkdir(parents=True)
    (folder / "m.py").write_text(MODULE)
    (document,) = snippets.documents(tmp_path)
    (block,) = read_blocks(document)
    assert document.name == "src/derivable/m.py::double"
    assert MODULE.splitlines()[block.line - 1].strip() == "y = 2 * 2"
    check(document)
    (folder / "m.py").write_text(MODULE.replace("#> 4", "#> 5"))
    (document,) = snippets.documents(tmp_path)
    with pytest.raises(SnippetError, match=r"m\.py:15: the printed output differs"):
        check(document)
    assert write(document) == 1
    assert (folder / "m.py").read_text() == MODULE
    (folder / "m.py").write_text(MODULE.replace("```python", "```python title='x'"))
    (document,) = snippets.documents(tmp_path)
    with pytest.raises(SnippetError, match="would not run"):
        check(document)


def test_a_block_that_needs_a_missing_module_is_left_out_and_listed(tmp_path):
    text = "```python\n# needs: no_such_module, json\n1 / 0\n#> 1\n```\n\n```python\nx = 1\n```\n"
    session = check(page(tmp_path, text))
    assert [(b.line, missing) for b, missing in session.left_out] == [(2, ["no_such_module"])]
    assert write(page(tmp_path, text)) == 0


def test_a_block_that_needs_a_module_that_is_there_runs(tmp_path):
    with pytest.raises(SnippetError, match="ZeroDivisionError"):
        check(page(tmp_path, "```python\n# needs: json\n1 / 0\n```\n"))
