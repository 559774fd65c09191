"""The bibliography: its entries, how they are cited, and the list with links back to every citing page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pymdownx.blocks.block import Block

from derivable_book import pages
from derivable_book.pages import BookError

REFERENCE = re.compile(r"(?<!\\)\[(@[^\[\]\n]+(?:\n[^\[\]\n]+)*)\](?!\()")
_ITEM = re.compile(r"@([a-z0-9][a-z0-9-]*)(?:,\s*(.+))?", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """An entry of docs/bibliography.yml.

    Attributes:
        key: its name in citations, and its anchor.
        authors: full names, in order.
        year: the year of publication; a letter follows where authors and year alone would be ambiguous.
        title: the title.
        where: journal, conference, publisher or archive.
        url: a stable address, or "".
    """

    key: str
    authors: tuple[str, ...]
    year: str
    title: str
    where: str
    url: str

    @property
    def short_authors(self) -> str:
        """The family names as a citation gives them."""
        names = [_family(author) for author in self.authors]
        if len(names) > 2:
            return f"{names[0]} et al."
        return " and ".join(names)

    @property
    def link(self) -> str:
        """Where it stands in the book."""
        return f"/bibliography.md#{self.key}"


def _family(author: str) -> str:
    if "," in author:
        return author.split(",")[0].strip()
    words = author.split()
    first = next((i for i, word in enumerate(words[:-1]) if word[0].islower()), len(words) - 1)
    return " ".join(words[first:])


def bibliography(docs_dir: Path = pages.DOCS) -> dict[str, Entry]:
    """Read docs/bibliography.yml.

    Args:
        docs_dir: the folder of pages.

    Returns:
        The entries by key, sorted as the list shows them: by first author, year and title.

    Raises:
        BookError: an entry that lacks a part or has one of the wrong kind.
    """
    path = Path(docs_dir) / "bibliography.yml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    keys = re.findall(r"^([^\s#][^:\n]*):", text, re.MULTILINE)
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise BookError(f"bibliography.yml: more than one entry for {', '.join(twice)}")  # YAML would keep the last
    raw = yaml.safe_load(text)
    entries = []
    for key, value in (raw or {}).items():
        where = f"bibliography.yml: {key}"
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", str(key)):
            raise BookError(f"{where}: a key has small letters, digits and hyphens only")
        missing = {"authors", "year", "title", "where"} - set(value or {})
        unknown = set(value or {}) - {"authors", "year", "title", "where", "url"}
        if missing or unknown:
            raise BookError(f"{where}: missing {sorted(missing)}, unknown {sorted(unknown)}")
        if not isinstance(value["authors"], list) or not value["authors"]:
            raise BookError(f"{where}: authors is a list of names")
        entries.append(
            Entry(
                str(key),
                tuple(str(author) for author in value["authors"]),
                str(value["year"]),
                str(value["title"]).strip(),
                str(value["where"]).strip(),
                str(value.get("url") or ""),
            )
        )
    entries.sort(key=lambda entry: (_family(entry.authors[0]).lower(), entry.year, entry.title))
    twins: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        twins.setdefault((entry.short_authors, entry.year), []).append(entry)
    lettered = {
        entry.key: Entry(**{**vars(entry), "year": entry.year + "abcdefghijklm"[i]})
        for same in twins.values()
        if len(same) > 1
        for i, entry in enumerate(same)
    }
    return {entry.key: lettered.get(entry.key, entry) for entry in entries}


def items(reference: str, where: str) -> list[tuple[str, str]]:
    """Split what stands between the brackets of `[@one; @two, Section 3]`.

    Args:
        reference: the text between the brackets.
        where: the page, for the error.

    Returns:
        Pairs of a key and a place in it, which may be empty.
    """
    found = []
    for part in reference.split(";"):
        match = _ITEM.fullmatch(part.strip())
        if not match:
            raise BookError(f"{where}: cannot read the reference [{reference}]; write [@label] or [@key, Section 2]")
        found.append((match.group(1), " ".join((match.group(2) or "").split())))
    return found


def citing_pages(docs_dir: Path = pages.DOCS) -> dict[str, list[pages.Page]]:
    """Find which pages refer to which key, from their text.

    Args:
        docs_dir: the folder of pages.

    Returns:
        For every key or label that is referred to, the pages in the order of the book.
    """
    found: dict[str, list[pages.Page]] = {}
    for page, key, _ in _references(docs_dir):
        if page not in found.setdefault(key, []):
            found[key].append(page)
    return found


def _references(docs_dir: Path) -> Iterator[tuple[pages.Page, str, int]]:
    for page in pages.pages(docs_dir):
        prose = page.prose
        for match in REFERENCE.finditer(prose):
            line = pages.line_of(prose, match.start())
            for key, _ in items(match.group(1), f"{page.path}:{line}"):
                yield page, key, line


def places(key: str, docs_dir: Path = pages.DOCS) -> str:
    """Say where a key is used, for an error: "chapters/descent.md:12"."""
    found = [f"{page.path}:{line}" for page, used, line in _references(docs_dir) if used == key]
    return ", ".join(found)


class BibliographyBlock(Block):
    """Renders `/// bibliography`: the whole list."""

    NAME = "bibliography"

    def on_create(self, parent: etree.Element) -> etree.Element:
        """Make the list."""
        book: Any = self.config["book"]
        cited = citing_pages(book.docs_dir)
        target = etree.SubElement(parent, "ul", {"class": "bibliography"})
        for entry in book.entries.values():
            item = etree.SubElement(target, "li", {"id": entry.key})
            text = etree.SubElement(item, "p")
            authors = " and ".join(entry.authors) if len(entry.authors) < 3 else ", ".join(entry.authors)
            text.text = f"{authors} ({entry.year}). "
            title = etree.SubElement(text, "a" if entry.url else "span", {"class": "bibliography-title"})
            if entry.url:
                title.set("href", entry.url)
            title.text = entry.title
            title.tail = ". " if not entry.title.endswith((".", "?", "!")) else " "
            place = etree.SubElement(text, "em")
            place.text = entry.where
            place.tail = ". " if not entry.where.endswith(".") else " "
            if entry.key in cited:
                back = etree.SubElement(text, "span", {"class": "cited-in"})
                back.text = "Cited in "
                for i, page in enumerate(cited[entry.key]):
                    link = etree.SubElement(back, "a", {"href": f"/{page.path}#cite-{entry.key}"})
                    link.text = page.title
                    link.tail = ", " if i + 1 < len(cited[entry.key]) else "."
        return target
