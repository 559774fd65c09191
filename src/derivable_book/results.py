"""Numbered results and their proofs: `/// theorem | Title`, numbered by chapter, with the label as anchor.

The numbers come from the text of the pages alone, in the order of the navigation: the renderer and the tests
read the same ones.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pymdownx.blocks.block import Block, type_string

from derivable_book import pages
from derivable_book.pages import BookError

KINDS = ("definition", "lemma", "theorem", "proposition", "corollary")

_HEADER = re.compile(rf"^(/{{3,}})[ \t]*({'|'.join(KINDS)})[ \t]*(?:\|[ \t]*(.*?))?[ \t]*$", re.MULTILINE)
_LABEL = re.compile(r"^[ ]{4,}label:[ \t]*(.*?)[ \t]*$")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Result:
    """A numbered result.

    Attributes:
        kind: one of `KINDS`.
        label: its name in references, and its anchor.
        number: the chapter's number and its place there, such as "2.1".
        title: what stands after the bar, as Markdown; may be empty.
        page: the path of its page below docs/.
        line: the line of its header, from 1.
    """

    kind: str
    label: str
    number: str
    title: str
    page: str
    line: int

    @property
    def name(self) -> str:
        """What a reference to it says: "Theorem 2.1"."""
        return f"{self.kind.capitalize()} {self.number}"

    @property
    def link(self) -> str:
        """Where it stands: "/chapters/descent.md#proximal-step"."""
        return f"/{self.page}#{self.label}"


def scan(docs_dir: Path | str = pages.DOCS) -> list[Result]:
    """List the numbered results of the book.

    One counter runs through all kinds in a chapter: Definition 2.1 is followed by Theorem 2.2. Who has found
    the one knows where the other is.

    Args:
        docs_dir: the folder of pages, with mkdocs.yml beside it.

    Returns:
        The results in the order of the book.

    Raises:
        BookError: a result without a label, with a bad or a used one, or outside the chapters.
    """
    found: dict[str, Result] = {}
    for page in pages.pages(Path(docs_dir)):
        prose = page.prose
        for count, header in enumerate(_HEADER.finditer(prose), start=1):
            line = pages.line_of(prose, header.start())
            where = f"{page.path}:{line}"
            option = _LABEL.match(prose[header.end() + 1 :].split("\n", 1)[0])
            label = option.group(1) if option else ""
            if not page.chapter:
                raise BookError(f"{where}: a {header.group(2)} outside docs/chapters has no number")
            if not _SLUG.fullmatch(label):
                raise BookError(
                    f"{where}: a {header.group(2)} needs the line `    label: its-name` below its header, "
                    f"of small letters, digits and hyphens, not {label!r}"
                )
            if label in found:
                other = found[label]
                raise BookError(f"{where}: the label {label!r} is taken by {other.page}:{other.line}")
            number = f"{page.chapter}.{count}"
            found[label] = Result(header.group(2), label, number, header.group(3) or "", page.path, line)
    return list(found.values())


class _ResultBlock(Block):
    """Renders one kind of numbered result."""

    ARGUMENT = None
    OPTIONS: ClassVar[dict[str, Any]] = {"label": ("", type_string)}

    def on_create(self, parent: etree.Element) -> etree.Element:
        """Make the box and its title line."""
        label = self.options["label"]
        result = self.config["book"].results.get(label)
        if result is None or result.kind != self.NAME:
            raise BookError(
                f"{self.config['book'].where}: the {self.NAME} {label!r} is not where the book's numbering "
                "looks: unindented, on a page of the navigation, with its label on the next line"
            )
        self.config["book"].rendered.append(label)
        box = etree.SubElement(parent, "div", {"class": f"result {self.NAME}", "id": label})
        title = etree.SubElement(box, "p", {"class": "result-title"})
        kind = etree.SubElement(title, "span", {"class": "result-kind"})
        kind.text = result.name
        kind.tail = " "
        if self.argument:
            name = etree.SubElement(title, "span", {"class": "result-name"})
            name.text = self.argument
            name.tail = " "
        etree.SubElement(title, "a", {"class": "headerlink", "href": f"#{label}", "title": "Permanent link"}).text = "¶"
        return box


class _ProofBlock(Block):
    """Renders a proof, which opens with the word and ends with a mark."""

    NAME = "proof"
    ARGUMENT = None

    def on_create(self, parent: etree.Element) -> etree.Element:
        """Make the box."""
        self.config["book"].rendered.append("proof")
        return etree.SubElement(parent, "div", {"class": "proof"})

    def on_end(self, block: etree.Element) -> None:
        """Put the word into the first paragraph and the mark into the last."""
        if not len(block) or block[0].tag != "p":
            block.insert(0, etree.Element("p"))
        first = block[0]
        word = etree.Element("span", {"class": "proof-title"})
        word.text = f"Proof {self.argument}." if self.argument else "Proof."
        word.tail = " " + (first.text or "")
        first.text = None
        first.insert(0, word)
        if block[-1].tag != "p":
            etree.SubElement(block, "p", {"class": "qed-line"})
        owner = block[-1][-1] if len(block[-1]) else block[-1]
        written = (owner.tail if owner is not block[-1] else owner.text) or ""
        if written.rstrip().endswith("∎"):  # the author's own mark would be a second one
            rest = written.rstrip()[:-1].rstrip()
            owner.tail, owner.text = (rest, owner.text) if owner is not block[-1] else (owner.tail, rest)
        end = etree.SubElement(block[-1], "span", {"class": "qed", "title": "End of the proof"})
        end.text = "∎"


def blocks() -> list[Any]:
    """Return the kinds of block that this module renders."""
    return [
        *(type(kind.capitalize(), (_ResultBlock,), {"NAME": kind}) for kind in KINDS),
        _ProofBlock,
    ]


def expected(page: pages.Page) -> int:
    """Count the results and proofs that a page holds, so that none can be lost in rendering."""
    return len(re.findall(rf"^/{{3,}}[ \t]*(?:{'|'.join(KINDS)}|proof)\b", page.prose, re.MULTILINE))
