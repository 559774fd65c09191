"""What mkdocs calls while it builds the site; mkdocs.yml names this file under `hooks`.

- Chapters get their notebook, a link to it, and on each snippet a note of what it needs from those above.
- One page holds the whole book, to be printed.
- The theme leaves its search box and some of its lists of pages without a name, would put the package's whole source
  into the search index, and builds it with an engine that confuses some words: all three are mended.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from derivable_book import finding, notebooks, pages, printed, searching, standalone
from derivable_book.pages import BookError
from derivable_book.snippets import Document, read_blocks

_LIST = re.compile(
    r'(<nav class="md-nav" data-md-level="\d+") aria-labelledby="(__nav_\w+)_label"'
    r'([^>]*>\s*<label class="md-nav__title" for="\2">)(.*?)</label>',
    re.DOTALL,
)
_NAME = re.compile(r'<h([2-4]) id="derivable\.(\w+)" class="doc doc-heading">.*?</h\1>', re.DOTALL)
_SEARCH = 'data-md-component="search" role="dialog"'
_SNIPPET = re.compile(r'<div class="language-python highlight">(.*?)</div>', re.DOTALL)
_contents: dict[str, str] = {}


def on_page_content(content: str, page: Any, config: Any, **rest: Any) -> str:
    """Mark the snippets of a chapter and link its notebook.

    Args:
        content: the page's HTML, without the theme.
        page: mkdocs's page.
        config: mkdocs's settings.
        **rest: what else mkdocs passes.

    Returns:
        The HTML to show.
    """
    path = page.file.src_uri
    if path.startswith(pages.CHAPTERS):
        content = mark_snippets(content, Path(config["docs_dir"]) / path, path)
        name = Path(path).stem
        take = (
            f'<p class="take"><a href="../{name}.ipynb" download>This chapter as a notebook</a> '
            '<a href="../../print/">The whole book on one page</a></p>'
        )
        content = content.replace("</h1>", f"</h1>\n{take}", 1)
    elif path.startswith("reference/"):
        content = link_results(content, path, Path(config["docs_dir"]))
    _contents[path] = content
    return content


def link_results(content: str, path: str, docs_dir: Path) -> str:
    """Say under each name of the reference with which results of the book it goes.

    Args:
        content: the page's HTML.
        path: the page.
        docs_dir: the folder of pages.

    Returns:
        The HTML.
    """
    here = next((page for page in pages.pages(docs_dir) if page.path == path), None)
    found = finding.results_of(docs_dir)
    return _NAME.sub(lambda m: m.group() + finding.in_the_book(found.get(m.group(2), []), here, docs_dir), content)


def mark_snippets(content: str, source: Path, name: str) -> str:
    """Write on each snippet its number and what it needs from those above, for the button that copies it with that.

    Args:
        content: the page's HTML.
        source: the page's file.
        name: the page, for the error.

    Returns:
        The HTML.

    Raises:
        BookError: if the HTML does not hold the page's blocks.
    """
    blocks = read_blocks(Document(source, name, source.read_text(encoding="utf-8")))
    wanted = standalone.needs(blocks)
    found = 0

    def mark(match: re.Match[str]) -> str:
        nonlocal found
        text = html.unescape(re.sub(r"<[^>]*>", "", match.group(1)))
        if found >= len(blocks) or text.strip() != blocks[found].source.strip():
            raise BookError(f"{name}: snippet {found} of the page's HTML is not the one of its text: {text[:80]!r}")
        marks = f'data-snippet="{found}" data-needs="{standalone.encode(wanted[found])}"'
        found += 1
        return f'<div class="language-python highlight" {marks}>{match.group(1)}</div>'

    content = _SNIPPET.sub(mark, content)
    if found != len(blocks):
        raise BookError(f"{name}: {len(blocks)} snippets in the text, {found} in the page's HTML")
    return content


def on_env(env: Any, config: Any, files: Any, **rest: Any) -> Any:
    """Fill the page that holds the whole book; all others have their content by now.

    Args:
        env: the templates.
        config: mkdocs's settings.
        files: mkdocs's files.
        **rest: what else mkdocs passes.

    Returns:
        The templates, unchanged.
    """
    file = files.get_file_from_path(printed.PAGE)
    if file is not None and file.page is not None:
        book = pages.pages(Path(config["docs_dir"]))
        chosen = {page.path: _contents[page.path] for page in book if printed.belongs(page)}
        file.page.content += printed.join(chosen, {page.path for page in book})
    return env


def on_post_page(output: str, **rest: Any) -> str:
    """Name what the theme leaves nameless.

    Args:
        output: the page's HTML.
        **rest: what else mkdocs passes.

    Returns:
        The HTML with names.
    """

    def named(match: re.Match[str]) -> str:
        title = html.unescape(re.sub(r"<[^>]*>", "", match.group(4))).strip()
        return f'{match.group(1)} aria-label="{html.escape(title)}"{match.group(3)}{match.group(4)}</label>'

    return _LIST.sub(named, output.replace(_SEARCH, f'{_SEARCH} aria-label="Search"'))


def on_post_template(output_content: str, template_name: str, **rest: Any) -> str:
    """Name what the theme leaves nameless on the page for a wrong address.

    Args:
        output_content: what the template gave.
        template_name: its name.
        **rest: what else mkdocs passes.

    Returns:
        The HTML with names; any other template's output as it is.
    """
    return on_post_page(output_content) if template_name == "404.html" else output_content


def on_post_build(config: Any, **rest: Any) -> None:
    """Write the notebooks, and mend the search, whose index every visit fetches.

    Args:
        config: mkdocs's settings.
        **rest: what else mkdocs passes.
    """
    notebooks.write(Path(config["site_dir"]), Path(config["docs_dir"]))
    searching.mend(Path(config["site_dir"]))
