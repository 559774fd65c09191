"""Ways through the book: an index of its results and of the functions that go with them, and a map of the chapters.

Nothing here is kept by hand. Which function goes with a result is read from the snippet that checks it; which chapter
needs which, from the references between them.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from pathlib import Path

from derivable_book import citations, pages, results
from derivable_book.pages import Page
from derivable_book.snippets import Document, read_blocks

_ENTRY = re.compile(r"^::: derivable\.(\w+)$", re.MULTILINE)
_TO = re.compile(r"\]\((\w+\.md)(?:#[^)]*)?\)")
_USE = re.compile(r"\bdv\.(\w+)")


def documented(docs_dir: Path = pages.DOCS) -> dict[str, str]:
    """Find where the reference describes each public name.

    Args:
        docs_dir: the folder of pages.

    Returns:
        For each name its place, such as "/reference/descent.md#derivable.proximal_step".
    """
    return {
        name: f"/{page.path}#derivable.{name}"
        for page in pages.pages(docs_dir)
        if page.path.startswith("reference/")
        for name in _ENTRY.findall(page.text)
    }


def functions(docs_dir: Path = pages.DOCS) -> dict[str, list[str]]:
    """Find the package's names that the snippets use which check a result.

    Args:
        docs_dir: the folder of pages.

    Returns:
        For each label of a result the names, in the order of their use.
    """
    known, found = documented(docs_dir), {result.label: [] for result in results.scan(docs_dir)}  # type: ignore[var-annotated]
    for page in pages.pages(docs_dir):
        if not page.chapter:
            continue
        for block in read_blocks(Document(docs_dir / page.path, page.path, page.text)):
            for label in block.checks:
                names = found.setdefault(label, [])
                names += [n for n in dict.fromkeys(_USE.findall(block.source)) if n in known and n not in names]
    return found


def results_of(docs_dir: Path = pages.DOCS) -> dict[str, list[results.Result]]:
    """Find the results that are checked with a function: `functions`, turned around.

    Args:
        docs_dir: the folder of pages.

    Returns:
        For each public name the results, in the order of the book.
    """
    found: dict[str, list[results.Result]] = {}
    used = functions(docs_dir)
    for result in results.scan(docs_dir):
        for name in used[result.label]:
            found.setdefault(name, []).append(result)
    return found


def needs(docs_dir: Path = pages.DOCS) -> dict[tuple[str, str], int]:
    """Count the references and links from one chapter to another and its results.

    Args:
        docs_dir: the folder of pages.

    Returns:
        For each pair (the chapter that refers, the chapter referred to) how often it does, as paths.
    """
    home = {result.label: result.page for result in results.scan(docs_dir)}
    chapters = {page.path for page in pages.pages(docs_dir) if page.chapter}
    pairs = [(page.path, home[key]) for page, key, _ in citations._references(docs_dir) if key in home]
    for page in pages.pages(docs_dir):
        pairs += [(page.path, pages.CHAPTERS + name) for name in _TO.findall(page.prose)]
    return Counter((here, there) for here, there in pairs if here != there and {here, there} <= chapters)


def _here(path: str, docs_dir: Path) -> Page | None:
    return next((page for page in pages.pages(docs_dir) if page.path == path), None)


def _link(target: str, text: str, here: Page | None, docs_dir: Path) -> str:
    return f'<a href="{html.escape(pages.url(target, here, docs_dir))}">{text}</a>'


def index(path: str = "results.md", docs_dir: Path = pages.DOCS) -> str:
    """Write the list of all results.

    Args:
        path: the page on which the list stands.
        docs_dir: the folder of pages.

    Returns:
        HTML: for each chapter its results, with links to them and to the functions that their checks use.
    """
    from derivable_book.extension import inline

    here, known, used = _here(path, docs_dir), documented(docs_dir), functions(docs_dir)

    def shown(title: str) -> str:
        marked = re.search(r"[$*`\\\[]", title)  # a conversion takes a while, and most titles need none
        return " " + (inline(title, docs_dir) if marked else html.escape(title)) if title else ""

    every, parts = results.scan(docs_dir), []
    for page in pages.pages(docs_dir):
        if not page.chapter:
            continue
        rows = []
        for result in every:
            if result.page != page.path:
                continue
            title = shown(result.title)
            names = ", ".join(_link(known[n], f"<code>{n}</code>", here, docs_dir) for n in used[result.label])
            code = f' <span class="result-code">{names}</span>' if names else ""
            rows.append(f"<li>{_link(result.link, result.name, here, docs_dir)}{title}{code}</li>")
        if rows:
            heading = f"{page.chapter}. {html.escape(page.title)}"
            parts.append(
                f'<h3 id="results-{page.chapter}">{heading}</h3><ul class="results-index">{"".join(rows)}</ul>'
            )
    return "\n".join(parts)


def in_the_book(found: list[results.Result], here: Page | None, docs_dir: Path = pages.DOCS) -> str:
    """Write the line of the reference that leads from a function to the results it goes with.

    Args:
        found: the results, from `results_of`.
        here: the page on which the line stands.
        docs_dir: the folder of pages.

    Returns:
        HTML, or "" where there are none.
    """
    if not found:
        return ""
    links = ", ".join(_link(result.link, result.name.replace(" ", "\u00a0"), here, docs_dir) for result in found[:8])
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return f'<p class="in-the-book">In the book: {links}{more}.</p>'
