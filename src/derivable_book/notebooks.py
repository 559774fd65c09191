"""Every chapter as a notebook: the same text, the same code, and the outputs that the page prints.

The outputs are the page's `#>` lines. The tests run every block of every page and compare what it prints with these
lines, so a notebook needs not be run to have true outputs; `python -m derivable_book.notebooks` runs them
nevertheless, each in a fresh kernel, and compares again.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import nbformat

from derivable_book import citations, math, pages, results
from derivable_book.pages import BookError, Page
from derivable_book.snippets import OUTPUT, TOLERANCE, Block, Document, compare, read_blocks

_FENCE = re.compile(r"^(`{3,})(.*?)\n(.*?)^\1[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s]+)(?=\))")
_HEADER = re.compile(
    r"^/{3,}[ \t]*(\w+)[ \t]*(?:\|[ \t]*(.*?))?[ \t]*\n(?:[ ]{4}label:[ \t]*(\S+)[ \t]*\n)?", re.MULTILINE
)
_FOLDED = re.compile(r'^( *)\?{3} \w+ "(.*?)"\n((?:\1 {4}.*(?:\n|\Z))+)', re.MULTILINE)
_FIGURE = re.compile(r'python exec="true"')


def notebook(page: Page, docs_dir: Path = pages.DOCS) -> Any:
    """Make the notebook of a page.

    Args:
        page: the page.
        docs_dir: the folder of pages.

    Returns:
        An nbformat notebook. The same page always gives the same notebook.
    """
    site = str(pages.configuration(docs_dir).get("site_url", ""))
    address = site + page.path.removesuffix(".md") + "/"
    known = {result.label: result for result in results.scan(docs_dir)}
    entries = citations.bibliography(docs_dir)
    text = _FRONT_MATTER.sub("", page.text.replace("\r\n", "\n"))
    cells, position = [], 0

    def say(markdown: str) -> None:
        words = _prose(markdown, page, site, known, entries)
        if words.strip():
            cells.append(nbformat.v4.new_markdown_cell(words.strip()))

    pending = ""
    for fence in _FENCE.finditer(text):
        pending += text[position : fence.start()]
        position = fence.end()
        if fence.group(2).strip() == "python":
            say(pending)
            pending = ""
            cells.append(_code(Block(fence.group(3), 0)))
        elif _FIGURE.match(fence.group(2)):
            pending += f"*(Here the page has [a figure or a table]({address}).)*\n"
        else:
            pending += fence.group()
    say(pending + text[position:])
    cells.insert(
        1,
        nbformat.v4.new_markdown_cell(
            f"*This notebook was made from [{address}]({address}). It runs where* `derivable` *and the libraries of "
            'its snippets are installed:* `pip install "derivable[docs]"`.'
        ),
    )
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    book = nbformat.v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
    )
    nbformat.validate(book)
    return book


def _code(block: Block) -> Any:
    """Make a cell of a block, its printed output below it."""
    lines, printed = [], []
    for line in block.source.rstrip("\n").split("\n"):
        output = OUTPUT.match(line)
        if output:
            printed.append(_bare(output.group(1)))
        else:
            lines.append(line)
    outputs = []
    if printed:
        outputs.append(nbformat.v4.new_output("stream", name="stdout", text="".join(f"{p}\n" for p in printed)))
    cell = nbformat.v4.new_code_cell(_guarded("\n".join(lines).rstrip(), block), outputs=outputs)
    error = block.mark("raises")
    if error:
        kind, _, words = error.partition(":")
        cell["outputs"].append(
            nbformat.v4.new_output("error", ename=kind.strip(), evalue=words.strip(), traceback=[error])
        )
        cell["metadata"]["tags"] = ["raises-exception"]
    return cell


def _guarded(source: str, block: Block) -> str:
    """Let a cell that needs a library beyond the package's own say so where it is missing, and not fail.

    Its lines move to the right, so it must hold no string of several lines; and a library is named without dots.
    """
    if not block.needs:
        return source
    if re.search(r"\"{3}|'{3}", source) or any("." in name for name in block.needs):
        raise BookError(f"a block that needs {', '.join(block.needs)}: no string of several lines, no name with a dot")
    first, _, rest = source.partition("\n")
    missing = " or ".join(f'find_spec("{name}") is None' for name in block.needs)
    return (
        f"{first}\nfrom importlib.util import find_spec\n\nif {missing}:\n    print({_left_out(block)!r})\nelse:\n"
        f"{textwrap.indent(rest, '    ')}"
    )


def _left_out(block: Block) -> str:
    return f"left out: needs {' and '.join(block.needs)}"


def _bare(line: str) -> str:
    tolerance = TOLERANCE.match(line)
    return (tolerance.group(1) if tolerance else line).rstrip()


def _prose(
    text: str, page: Page, site: str, known: dict[str, results.Result], entries: dict[str, citations.Entry]
) -> str:
    """Turn the book's Markdown into that of a notebook."""

    def reference(match: re.Match[str]) -> str:
        parts = []
        for key, place in citations.items(match.group(1), page.path):
            behind = f", {place}" if place else ""
            if key in known:
                result = known[key]
                here = f"#{key}" if result.page == page.path else f"{site}{result.page.removesuffix('.md')}/#{key}"
                parts.append(f"[{result.name}{behind}]({here})")
            else:
                entry = entries[key]
                parts.append(f"[{entry.short_authors} ({entry.year}{behind})]({site}bibliography/#{key})")
        return "; ".join(parts)

    def header(match: re.Match[str]) -> str:
        kind, title, label = match.groups()
        if kind == "proof":
            return f"*Proof{' ' + title if title else ''}.*\n"
        result = known.get(label or "")
        if result is None:
            return ""
        return f'<a id="{label}"></a>\n**{result.name}{": " + title if title else ""}**\n'

    def link(match: re.Match[str]) -> str:
        path, mark, anchor = match.group(1).partition("#")
        parts: list[str] = []
        for part in [*page.path.split("/")[:-1], *path.split("/")]:
            if part == "..":
                parts.pop()
            else:
                parts.append(part)
        target = "/".join(parts)
        if target.endswith(".md"):
            target = target.removesuffix(".md").removesuffix("index").rstrip("/") + "/"
        return site + target.lstrip("/") + mark + anchor

    prose = pages.blank_code(text)
    for pattern, change in ((_HEADER, header), (citations.REFERENCE, reference), (_LINK, link)):
        text, prose = _replace(text, prose, pattern, change)
    text = re.sub(r"^/{3,}[ \t]*$\n?", "", text, flags=re.MULTILINE)
    text = _FOLDED.sub(_folded, text)
    for name, meaning in math.MACROS.items():
        if name != "colon":  # the others are no commands of MathJax
            text = re.sub(rf"\\{name}(?![A-Za-z])", lambda _, m=meaning: m, text)  # type: ignore[misc]
    return text


def _folded(match: re.Match[str]) -> str:
    """Fold in HTML what the book folds: a notebook shows Markdown between the tags if blank lines set it off."""
    indent, title, body = match.groups()
    body = textwrap.indent(textwrap.dedent(body).strip("\n"), indent)
    return f"{indent}<details><summary>{title}</summary>\n\n{body}\n\n{indent}</details>\n"


def _replace(text: str, prose: str, pattern: re.Pattern[str], change: Any) -> tuple[str, str]:
    """Change what a pattern finds outside of code, in the text and in its copy without code."""
    parts, copies, position = [], [], 0
    for match in pattern.finditer(prose):
        new = change(match)
        parts += [text[position : match.start()], new]
        copies += [prose[position : match.start()], new]
        position = match.end()
    return "".join([*parts, text[position:]]), "".join([*copies, prose[position:]])


def chapters(docs_dir: Path = pages.DOCS) -> list[Page]:
    """Return the pages that become notebooks: the chapters.

    Args:
        docs_dir: the folder of pages.

    Returns:
        The pages.
    """
    return [page for page in pages.pages(docs_dir) if page.chapter]


def write(site_dir: Path, docs_dir: Path = pages.DOCS) -> list[Path]:
    """Write the notebooks beside the pages of the site.

    Args:
        site_dir: the folder of the built site.
        docs_dir: the folder of pages.

    Returns:
        The files.
    """
    files = []
    for page in chapters(docs_dir):
        path = site_dir / page.path.replace(".md", ".ipynb")
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook(page, docs_dir), path)
        files.append(path)
    return files


def run(page: Page, docs_dir: Path = pages.DOCS) -> list[str]:
    """Run the notebook of a page from top to bottom in a fresh kernel.

    Args:
        page: the page.
        docs_dir: the folder of pages.

    Returns:
        How its outputs differ from the page's; nothing if they agree.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell that raises, unless the page says so.
    """
    from nbclient import NotebookClient

    fresh = notebook(page, docs_dir)
    NotebookClient(fresh, timeout=1200, kernel_name="python3").execute()
    path = docs_dir / page.path
    blocks = read_blocks(Document(path, page.path, path.read_text(encoding="utf-8")))
    code = [cell for cell in fresh.cells if cell.cell_type == "code"]
    wrong = []
    for block, cell in zip(blocks, code, strict=True):
        wanted = [m.group(1) for line in block.source.split("\n") if (m := OUTPUT.match(line))]
        if block.missing:
            wanted = [_left_out(block)]
        text = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")
        problem = compare(wanted, text.splitlines())
        if problem:
            wrong.append(f"{page.path}:{block.line}: {problem}")
        raised = [o.ename for o in cell.outputs if o.output_type == "error"]
        if bool(raised) != (block.mark("raises") is not None):
            wrong.append(f"{page.path}:{block.line}: raised {raised}")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks of the chapters, all by default, and compare their outputs with the pages'."""
    parser = argparse.ArgumentParser(prog="python -m derivable_book.notebooks", description=main.__doc__)
    parser.add_argument("names", nargs="*", help="chapters, such as `descent`")
    chosen = parser.parse_args(arguments).names
    found = {Path(page.path).stem: page for page in chapters()}
    unknown = sorted(set(chosen) - set(found))
    if unknown:
        parser.error(f"no such chapter: {', '.join(unknown)}; there are {', '.join(found)}")
    status = 0
    for name in chosen or found:
        wrong = run(found[name])
        print(f"{name}: {'ok' if not wrong else ''}", *wrong, sep="\n" if wrong else "")
        status |= bool(wrong)
    return status


if __name__ == "__main__":
    sys.exit(main())
