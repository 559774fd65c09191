r"""The Markdown extension of the book: results, proofs, references, citations, bibliography and formulas.

It is an ordinary extension of Python-Markdown and needs no plugin of a site generator: what it has to know of
other pages it reads from their text. List it in mkdocs.yml as `derivable_book.extension`.

What a page can say:

    /// theorem | A title with $x$        or definition, lemma, proposition, corollary; numbered by itself
        label: its-anchor

    Text.
    ///

    /// proof                             or: /// proof | of [@its-anchor]
    Text.
    ///

    [@its-anchor]  [@its-anchor, part 2]  [@bibliography-key]  [@key, Section 3; @other]
    $x$ in a line, and $$ on lines of their own around a display; a plain dollar is \$

An unknown label, a formula that cannot be read, or a block that is not understood ends the build.
"""

from __future__ import annotations

import html
import re
import sys
import xml.etree.ElementTree as etree
from pathlib import Path
from typing import Any

from markdown import Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.postprocessors import Postprocessor
from markdown.preprocessors import Preprocessor
from pymdownx.blocks import BlocksExtension

from derivable_book import citations, font, glossary, math, pages, results
from derivable_book.pages import BookError


class Book:
    """What one conversion knows of the book, and what it has met so far."""

    def __init__(self, docs_dir: Path) -> None:
        self.docs_dir = docs_dir
        self.results = {result.label: result for result in results.scan(docs_dir)}
        self.entries = citations.bibliography(docs_dir)
        clash = sorted(set(self.results) & set(self.entries))
        if clash:
            raise BookError(f"bibliography.yml: {clash[0]!r} is also the label of a result")
        self.reset()

    def reset(self) -> None:
        """Forget the page."""
        self.page: pages.Page | None = None
        self.rendered: list[str] = []
        self.cited: set[str] = set()

    @property
    def where(self) -> str:
        """The page, for an error."""
        return self.page.path if self.page else "a docstring or a caption"


class _Identify(Preprocessor):
    """Finds out which page is being converted, before anything changes its text."""

    def __init__(self, md: Markdown, book: Book) -> None:
        super().__init__(md)
        self.book = book

    def run(self, lines: list[str]) -> list[str]:
        self.book.page = pages.page_of("\n".join(lines), self.book.docs_dir)
        return lines


class _References(InlineProcessor):
    """Turns `[@label]` into a link to a result, and `[@key]` into one to the bibliography."""

    def __init__(self, md: Markdown, book: Book) -> None:
        super().__init__(citations.REFERENCE.pattern, md)
        self.book = book

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[etree.Element, int, int]:
        group = etree.Element("span", {"class": "references"})
        last = None
        for key, place in citations.items(m.group(1), self.book.where):
            if last is not None:
                last.tail = "; "
            last = self._link(key, place)
            group.append(last)
        return group, m.start(0), m.end(0)

    def _target(self, result: results.Result) -> str:
        here = self.book.page is not None and self.book.page.path == result.page
        return f"#{result.label}" if here else result.link

    def _link(self, key: str, place: str) -> etree.Element:
        book = self.book
        if key in book.results:
            result = book.results[key]
            link = etree.Element("a", {"class": "result-reference", "href": self._target(result)})
            if result.title and "$" not in result.title:
                link.set("title", result.title)
            link.text = result.name.replace(" ", "\u00a0") + (f", {place}" if place else "")
            return link
        if key in book.entries:
            entry = book.entries[key]
            link = etree.Element("a", {"class": "citation", "href": entry.link, "title": entry.title})
            link.text = f"{entry.short_authors} ({entry.year}{', ' + place if place else ''})"
            if book.page and key not in book.cited:
                book.cited.add(key)
                link.set("id", f"cite-{key}")
            return link
        where = citations.places(key, book.docs_dir) or book.where
        raise BookError(f"{where}: [@{key}] is neither the label of a result nor a key of bibliography.yml")


class _Finish(Postprocessor):
    """Makes the links inside ready-made HTML relative, and lets nothing half-rendered through."""

    def __init__(self, md: Markdown, book: Book) -> None:
        super().__init__(md)
        self.book = book

    def run(self, text: str) -> str:
        book = self.book
        if book.page is None:
            return text
        text = re.sub(
            r'href="(/[^"#]+\.md(?:#[^"]*)?)"',
            lambda m: f'href="{html.escape(pages.url(html.unescape(m.group(1)), book.page, book.docs_dir))}"',
            text,
        )
        if len(book.rendered) != results.expected(book.page):
            raise BookError(
                f"{book.page.path}: {results.expected(book.page)} results and proofs in the text, but "
                f"{len(book.rendered)} rendered: {book.rendered}. Each needs a header and an end `///`"
            )
        bare = _without_code(text)
        for pattern, what in (
            (r"<p>\s*/{3,}.*", "a block `///` that was not understood"),
            (r"\[@[^\]]*\]?.{0,20}", "a reference that was not understood"),
            (r".{0,40}\$.{0,40}", "a formula that was not understood (a plain dollar is written \\$)"),
        ):
            left = re.search(pattern, bare)
            if left:
                raise BookError(f"{book.page.path}: {what}: {html.unescape(left.group())!r}")
        return text


def _without_code(text: str) -> str:
    text = text.replace('<span class="dollar">$</span>', "")
    text = re.sub(r"<(code|pre|script|style|svg|template)\b.*?</\1>", "", text, flags=re.DOTALL)
    return re.sub(r"<[^>]*>", lambda m: m.group() if m.group() == "<p>" else "", text)


class BookExtension(BlocksExtension):
    """Adds the book's syntax to Python-Markdown."""

    def __init__(self, **options: Any) -> None:
        self.config = {
            "docs_dir": [str(pages.DOCS), "the folder of pages; mkdocs.yml stands beside it"],
            "math_font": ["", "where below that folder to put the font of the formulas; empty for no font"],
        }
        super().__init__(**options)

    def extendMarkdown(self, md: Markdown) -> None:
        """Register everything."""
        docs_dir = Path(self.getConfig("docs_dir"))
        if str(docs_dir) not in sys.path:
            sys.path.append(str(docs_dir))  # so that a page's fence can say `from figures import descent`
        if self.getConfig("math_font"):
            font.ensure(docs_dir / self.getConfig("math_font"))
        self.book = Book(docs_dir)
        super().extendMarkdown(md)
        md.registerExtension(self)
        math.register(md, self.book)
        md.preprocessors.register(_Identify(md, self.book), "book-page", 1000)
        md.inlinePatterns.register(_References(md, self.book), "book-references", 175)
        md.treeprocessors.register(glossary.Linker(md, self.book), "book-terms", 15)
        md.postprocessors.register(_Finish(md, self.book), "book-finish", -10)

    def extendMarkdownBlocks(self, md: Markdown, block_mgr: Any) -> None:
        """Register the blocks."""
        for block in (*results.blocks(), citations.BibliographyBlock, glossary.GlossaryBlock):
            block_mgr.register(block, {"book": self.book})

    def reset(self) -> None:
        """Forget the last page."""
        self.book.reset()


def makeExtension(**options: Any) -> BookExtension:
    """Return the extension."""
    return BookExtension(**options)


def inline(text: str, docs_dir: Path = pages.DOCS) -> str:
    """Convert a line of Markdown, for a caption.

    Args:
        text: Markdown with formulas and references.
        docs_dir: the folder of pages.

    Returns:
        HTML without a paragraph around it.
    """
    converted = Markdown(extensions=[BookExtension(docs_dir=str(docs_dir))]).convert(text)
    return re.sub(r"\A<p>(.*)</p>\Z", r"\1", converted, flags=re.DOTALL)
