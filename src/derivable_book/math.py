"""Formulas: LaTeX between dollars becomes MathML when the site is built; no script runs in the browser."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as etree
from functools import lru_cache
from typing import Any

from markdown import Markdown
from markdown.blockprocessors import BlockProcessor
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString
from math_core import LatexError, LatexToMathML

from derivable_book.pages import BookError

MACROS = {
    "colon": r"\mathpunct{:}",
    "argmin": r"\operatorname*{arg\,min}",
    "argmax": r"\operatorname*{arg\,max}",
}

# The same rule as pandoc's: no space inside the dollars, no digit after the closing one.
INLINE = r"(?<![\\$])\$(?![\s$])((?:\\.|[^\\$\x02\x03])+?)(?<!\s)\$(?![\d$])"
_DISPLAY = re.compile(r"\A[ ]{0,3}\$\$(.+?)\$\$[ ]*\Z", re.DOTALL)
_converter = LatexToMathML(macros=MACROS, fancy_error=False, allow_unreliable_rendering=True)


def check(latex: str) -> str:
    """Prepare a formula for the converter, which would print what it does not know as text.

    Args:
        latex: the formula.

    Returns:
        The formula without `[4pt]` after a line end; rows have their own distance here.
    """
    return re.sub(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm)\s*\]", r"\\\\", latex)


@lru_cache(maxsize=4096)
def mathml(latex: str, display: bool = False) -> str:
    """Convert a formula.

    Args:
        latex: LaTeX as in math mode.
        display: whether the formula stands on lines of its own.

    Returns:
        A `<math>` element as text.

    Raises:
        ValueError: the formula cannot be read.
    """
    try:
        text = _converter.convert_with_local_state(check(latex), displaystyle=display)
    except LatexError as error:
        raise ValueError(str(error)) from error
    # The names of HTML's characters are not XML.
    text = re.sub(r"&(?!(?:lt|gt|amp|quot);)[A-Za-z]+;", lambda m: html.unescape(m.group()), text)
    return text.replace("\ufe00", "")  # a wish for another drawing of the letter before it, which the font has not


def element(latex: str, display: bool, where: str) -> etree.Element:
    """Convert a formula to an element, in a box of its own where it is displayed.

    Args:
        latex: LaTeX as in math mode.
        display: whether the formula stands on lines of its own.
        where: the page, for the error.

    Returns:
        The element.

    Raises:
        BookError: the formula cannot be read.
    """
    try:
        math = etree.fromstring(mathml(latex.strip(), display))
    except (ValueError, etree.ParseError) as error:
        raise BookError(f"{where}: cannot read the formula {latex.strip()!r}: {error}") from error
    for over in math.iter("mover"):
        if len(over) == 2 and over[1].text == "\u0332":  # \overline: browsers put a stretched bar beside its place
            over.tag, over.attrib = "mrow", {"class": "overline"}
            over.remove(over[1])
    for part in math.iter():
        part.text = AtomicString(part.text) if part.text else None  # nothing in a formula is Markdown
    if display:
        box = etree.Element("div", {"class": "math-display", "data-search-exclude": ""})
        box.append(math)
        return box
    box = etree.Element("span", {"class": "math-inline"})
    box.extend(_parts(math))
    return box


_RELATIONS = set("=<>≤≥≠≈∼≡∝∈∉⊂⊆→↦⟶⟹⟸⟺⇒⇔≔≪≫⪯⪰,;") | {":=", "::="}
_SUMS = set("+−±∓")
_SHORT = 22  # characters; what is no longer stays on one line


def _parts(math: etree.Element) -> list[etree.Element]:
    """Cut a long formula where TeX would break a line: after a relation, then after a sum, outside brackets.

    Browsers never break MathML, so that a phone would push a long formula out of its page.
    """
    whole = plain(math)
    if len(whole) <= _SHORT:
        return [math]
    pieces = _cut([list(math)], _RELATIONS)
    pieces = _cut(pieces, _SUMS)
    if len(pieces) == 1:
        return [math]
    parts = []
    for piece in pieces:
        part = etree.Element("span", {"class": "math-part"})
        inner = etree.SubElement(part, "math", dict(math.attrib))
        inner.extend(piece)
        parts.append(part)
    return parts


def _cut(pieces: list[list[etree.Element]], signs: set[str]) -> list[list[etree.Element]]:
    out = []
    for piece in pieces:
        if sum(len(plain(child)) for child in piece) <= _SHORT:
            out.append(piece)
            continue
        depth, start = 0, 0
        for i, child in enumerate(piece):
            depth += _opens(child)
            if depth == 0 and child.tag == "mo" and child.text in signs and 0 < i < len(piece) - 1 and i > start:
                child.set("form", "infix")  # at the end of a formula it would lose its distances
                out.append(piece[start : i + 1])
                start = i + 1
        out.append(piece[start:])
    return out


def _opens(child: etree.Element) -> int:
    """Return 1 for an opening bracket, -1 for a closing one (also with an index or a power), else 0."""
    base = child[0] if child.tag in ("msup", "msub", "msubsup") else child
    if base.tag != "mo":
        return 0
    if base.text in set("([{⟨⌊⌈") or base.get("form") == "prefix":
        return 1
    if base.text in set(")]}⟩⌋⌉") or base.get("form") == "postfix":
        return -1
    return 0


class _Separate(Preprocessor):
    """Puts a blank line before and after `$$` on lines of their own, so that a paragraph may touch them."""

    def run(self, lines: list[str]) -> list[str]:
        out: list[str] = []
        inside = False
        for line in lines:
            text = line.strip()
            opens = not inside and text.startswith("$$")
            closes = (inside or (opens and len(text) > 4)) and text.endswith("$$")
            if opens:
                out.append("")
            out.append(line)
            inside = (inside or opens) and not closes
            if closes:
                out.append("")
        return out


class _Display(BlockProcessor):
    """Takes a block between `$$`."""

    def __init__(self, md: Markdown, book: Any) -> None:
        super().__init__(md.parser)
        self.book = book

    def test(self, parent: etree.Element, block: str) -> bool:
        return bool(_DISPLAY.match(block))

    def run(self, parent: etree.Element, blocks: list[str]) -> None:
        match = _DISPLAY.match(blocks.pop(0))
        assert match
        parent.append(element(match.group(1), True, self.book.where))


class _Inline(InlineProcessor):
    """Takes a formula between single dollars."""

    def __init__(self, md: Markdown, book: Any) -> None:
        super().__init__(INLINE, md)
        self.book = book

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[etree.Element, int, int]:
        return element(m.group(1), False, self.book.where), m.start(0), m.end(0)


class _Dollar(InlineProcessor):
    """Takes a dollar that is one, written with a backslash, and marks it as meant."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[etree.Element, int, int]:
        dollar = etree.Element("span", {"class": "dollar"})
        dollar.text = AtomicString("$")
        return dollar, m.start(0), m.end(0)


class _Atomic(Treeprocessor):
    """Keeps punctuation on the line of the formula that it belongs to."""

    def run(self, root: etree.Element) -> None:
        for parent in list(root.iter()):
            for i, child in enumerate(list(parent)):
                if child.get("class") != "math-inline":
                    continue
                after = re.match(r"-\w+|[^\s\w]+|[a-z]{1,3}\b", child.tail or "")
                if after:
                    last = child[-1] if child[-1].tag == "math" else child[-1][-1]
                    last.tail = after.group()
                    child.tail = (child.tail or "")[after.end() :]
                before_owner = list(parent)[i - 1] if i else parent
                text = (before_owner.tail if i else before_owner.text) or ""
                before = re.search(r"(?<=\s)[(\[“‘\"]+\Z|\A[(\[“‘\"]+\Z", text)
                if before:
                    (child if child[0].tag == "math" else child[0]).text = before.group()
                    text = text[: before.start()]
                    if i:
                        before_owner.tail = text
                    else:
                        before_owner.text = text


_RAISED = str.maketrans("0123456789+-−=()nit", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱᵗ")
_LOWERED = str.maketrans("0123456789+-−=()aeijkmnptx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑᵢⱼₖₘₙₚₜₓ")


def plain(math: etree.Element) -> str:
    """Write a formula as a line of text, for the table of contents, which takes nothing else.

    Args:
        math: MathML.

    Returns:
        Text: indices and powers raised and lowered where Unicode has the letters.
    """
    parts = [plain(child) for child in math]
    name = math.tag
    if name in ("msup", "msub"):
        table, sign = (_RAISED, "^") if name == "msup" else (_LOWERED, "_")
        moved = parts[1].translate(table)
        if parts[1] in "′″‴∗⋆⊤":
            return "".join(parts)
        return parts[0] + (moved if not set(moved) & set(parts[1]) else sign + parts[1])
    if name == "mfrac":
        return f"{parts[0]}/{parts[1]}"
    if name == "msqrt":
        return "√" + "".join(parts)
    if name == "mo" and math.text in ("=", "<", ">", "≤", "≥", "→", "∈"):
        return f" {math.text} "
    return (math.text or "").strip("\u2061 ") + "".join(parts)


class _Headings(Treeprocessor):
    """Gives headings with formulas the words that the table of contents shows."""

    def run(self, root: etree.Element) -> None:
        for heading in root.iter():
            if heading.tag in ("h2", "h3", "h4") and heading.find(".//math") is not None:
                heading.attrib.setdefault("data-toc-label", " ".join(self._words(heading).split()))

    def _words(self, part: etree.Element) -> str:
        if part.tag == "math":
            return plain(part)
        return (part.text or "") + "".join(self._words(child) + (child.tail or "") for child in part)


def register(md: Markdown, book: Any) -> None:
    """Add formulas to a Markdown converter."""
    md.preprocessors.register(_Separate(md), "book-math-lines", 24)
    md.parser.blockprocessors.register(_Display(md, book), "book-math-display", 79.9)
    md.inlinePatterns.register(_Dollar(r"\\\$", md), "book-dollar", 189.95)
    md.inlinePatterns.register(_Inline(md, book), "book-math-inline", 189.9)
    md.treeprocessors.register(_Atomic(md), "book-math-punctuation", 12)
    md.treeprocessors.register(_Headings(md), "book-math-headings", 11)
