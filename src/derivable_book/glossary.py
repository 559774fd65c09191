"""The words of the trade: a list with explanations, and a link from the first use in each chapter."""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from markdown import Markdown
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString
from pymdownx.blocks.block import Block

from derivable_book import pages
from derivable_book.pages import BookError

PAGE = "notation.md"
_SKIP = {
    "a",
    "code",
    "pre",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "table",
    "abbr",
    "svg",
    "math",
    "figure",
    "script",
    "style",
}


@dataclass(frozen=True)
class Term:
    """A word of the trade.

    Attributes:
        word: as the list has it.
        forms: the word and its further forms.
        says: what it means.
        only: the chapters that use it in this sense; all of them if empty.
    """

    word: str
    forms: tuple[str, ...]
    says: str
    only: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """Its anchor on the page of the list."""
        return "term-" + re.sub(r"[^a-z]+", "-", self.word.lower())


def terms(docs_dir: Path = pages.DOCS) -> list[Term]:
    """Read docs/glossary.yml.

    Args:
        docs_dir: the folder of pages.

    Returns:
        The terms, by the alphabet.

    Raises:
        BookError: an entry that lacks its explanation.
    """
    path = Path(docs_dir) / "glossary.yml"
    if not path.exists():
        return []
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, time: int) -> list[Term]:
    found = []
    for word, entry in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).items():
        if not isinstance(entry, dict) or not entry.get("says") or set(entry) - {"says", "also", "only"}:
            raise BookError(f"glossary.yml: {word} needs `says`, and may have `also` and `only`")
        found.append(Term(word, (word, *entry.get("also", [])), entry["says"], tuple(entry.get("only", []))))
    return sorted(found, key=lambda term: term.word.lower())


class GlossaryBlock(Block):
    """Renders `/// glossary`: the whole list."""

    NAME = "glossary"

    def on_create(self, parent: etree.Element) -> etree.Element:
        """Make the list."""
        listed = etree.SubElement(parent, "dl", {"class": "glossary"})
        for term in terms(self.config["book"].docs_dir):
            etree.SubElement(listed, "dt", {"id": term.anchor}).text = term.word
            etree.SubElement(listed, "dd").text = term.says
        return listed


class Linker(Treeprocessor):
    """Makes a link of the first use of each term in a chapter."""

    def __init__(self, md: Markdown, book: Any) -> None:
        super().__init__(md)
        self.book = book

    def run(self, root: etree.Element) -> None:
        """Walk through the page."""
        page = self.book.page
        if page is None or not page.chapter:
            return
        here = Path(page.path).stem
        wanted = [term for term in terms(self.book.docs_dir) if not term.only or here in term.only]
        left = {form.lower(): term for term in wanted for form in term.forms}
        if left:
            self._walk(root, left)

    def _walk(self, element: etree.Element, left: dict[str, Term]) -> None:
        if element.tag in _SKIP or "result-title" in (element.get("class") or ""):
            return
        prose = element.tag in ("p", "li", "dd", "em", "strong", "span")
        if prose:
            self._text(element, left)
        for child in list(element):
            self._walk(child, left)
            if prose:
                self._tail(element, child, left)

    def _text(self, element: etree.Element, left: dict[str, Term]) -> None:
        made = self._first(element.text, left)
        if made:
            element.text, link = made
            element.insert(0, link)
            self._tail(element, link, left)

    def _tail(self, parent: etree.Element, child: etree.Element, left: dict[str, Term]) -> None:
        made = self._first(child.tail, left)
        if made:
            child.tail, link = made
            parent.insert(list(parent).index(child) + 1, link)
            self._tail(parent, link, left)

    def _first(self, text: str | None, left: dict[str, Term]) -> tuple[str, etree.Element] | None:
        """Split a text at the first term in it, and take all forms of this term off the list."""
        if not text or not left or isinstance(text, AtomicString):
            return None
        forms = "|".join(re.escape(form).replace(r"\ ", r"\s+") for form in sorted(left, key=len, reverse=True))
        match = re.search(rf"(?<![\w-])(?:{forms})(?![\w-])", text, re.IGNORECASE)
        if not match:
            return None
        term = left[re.sub(r"\s+", " ", match.group().lower())]
        for form in term.forms:
            left.pop(form.lower())
        link = etree.Element("a", {"class": "term", "href": f"/{PAGE}#{term.anchor}", "title": term.says})
        link.text = AtomicString(match.group())
        link.tail = text[match.end() :]
        return text[: match.start()], link
