"""The pages of the book: their order in the navigation, their text, and their text without code."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

try:  # mkdocs ends a build with the message alone, without a traceback, for its own kind of error
    from mkdocs.exceptions import BuildError as _Base
except ImportError:  # pragma: no cover - the book can be read without mkdocs
    _Base = Exception  # type: ignore[misc,assignment]

DOCS = Path(__file__).resolve().parents[2] / "docs"
CHAPTERS = "chapters/"

_FENCE = re.compile(r"^[ \t>]*(`{3,}|~{3,})([^`\n]*)$")
_HIDDEN = re.compile(r"<!--.*?-->|(?<!`)(`+)(?!`)(?:.+?)(?<!`)\1(?!`)", re.DOTALL)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n.*?\n(?:---|\.\.\.)[ \t]*\n", re.DOTALL)


class BookError(_Base):
    """A mistake in a page. It ends the build, strict or not, and its message says where the mistake is."""


@dataclass(frozen=True)
class Page:
    """A page of the book.

    Attributes:
        path: the path below docs/, with forward slashes.
        text: the Markdown as it stands in the file.
        chapter: the number of the chapter, or 0 for a page that is none.
    """

    path: str
    text: str
    chapter: int

    @property
    def prose(self) -> str:
        """The text with its code and comments blanked out, line for line and character for character."""
        return blank_code(self.text)

    @property
    def title(self) -> str:
        """The first heading of the page."""
        found = re.search(r"^# +(.+?)(?: +\{.*\})?$", self.prose, re.MULTILINE)
        return found.group(1).strip() if found else self.path


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml and passes over the tags that only mkdocs understands."""


_Loader.add_multi_constructor("", lambda loader, suffix, node: None)


def configuration(docs_dir: Path = DOCS) -> dict[str, Any]:
    """Return the contents of mkdocs.yml, which stands beside the folder of pages.

    Args:
        docs_dir: the folder of pages.

    Returns:
        The settings; values with a tag of mkdocs's own are None.
    """
    path = Path(docs_dir).parent / "mkdocs.yml"
    stat = path.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _read(path: Path, time: int, size: int) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader) or {}


def navigation(docs_dir: Path = DOCS) -> list[str]:
    """Return the paths of the pages in the order of the navigation.

    Args:
        docs_dir: the folder of pages.

    Returns:
        Paths below `docs_dir`.
    """

    def walk(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry] if entry.endswith(".md") else []
        if isinstance(entry, dict):
            return [path for value in entry.values() for path in walk(value)]
        return [path for item in entry or [] for path in walk(item)]

    return walk(configuration(docs_dir).get("nav", []))


_cache: dict[str, tuple[Any, list[Page]]] = {}


def pages(docs_dir: Path = DOCS) -> list[Page]:
    """Read the pages in the order of the navigation. Chapters are numbered from 1 in that order.

    Args:
        docs_dir: the folder of pages.

    Returns:
        One `Page` for each page of the navigation that exists.
    """
    docs_dir = Path(docs_dir)
    files = [docs_dir.parent / "mkdocs.yml"]
    order = navigation(docs_dir)
    files += [docs_dir / path for path in order]
    stamps = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.exists()]
    cached = _cache.get(str(docs_dir))
    if cached and cached[0] == stamps:
        return cached[1]
    found, chapter = [], 0
    for path in order:
        is_chapter = path.startswith(CHAPTERS) and not path.endswith("index.md")
        chapter += is_chapter
        if (docs_dir / path).exists():
            text = (docs_dir / path).read_text(encoding="utf-8")
            found.append(Page(path, text, chapter if is_chapter else 0))
    _cache[str(docs_dir)] = (stamps, found)
    return found


def page_of(text: str, docs_dir: Path = DOCS) -> Page | None:
    """Find the page that a text is the Markdown of: whoever renders a page need not tell us which one it is.

    Args:
        text: the Markdown, with or without its front matter.
        docs_dir: the folder of pages.

    Returns:
        The page, or None where the text is no page (a docstring, a caption).
    """
    wanted = text.strip()
    for page in pages(docs_dir):
        source = page.text.replace("\r\n", "\n").lstrip("\ufeff")
        if wanted in (source.strip(), _FRONT_MATTER.sub("", source).strip()):
            return page
    return None


def blank_code(text: str) -> str:
    """Replace fenced code, code spans and comments by blanks, so that every other character keeps its place.

    Args:
        text: Markdown.

    Returns:
        Text of the same length and the same lines.
    """
    lines, fence = [], ""
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if fence:
            closes = match and match.group(1).startswith(fence) and not match.group(2).strip()
            fence = "" if closes else fence
            lines.append(" " * len(line))
        elif match:
            fence = match.group(1)
            lines.append(" " * len(line))
        else:
            lines.append(line)
    return _HIDDEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), "\n".join(lines))


def line_of(text: str, position: int) -> int:
    """Return the number of the line, from 1, that holds a position in a text."""
    return text.count("\n", 0, position) + 1


def url(target: str, page: Page | None, docs_dir: Path = DOCS) -> str:
    """Return a link between two pages as the built site needs it.

    Args:
        target: a page below docs/ with a slash in front and perhaps an anchor: "/chapters/descent.md#step".
        page: the page that holds the link; None leaves the target as it is.
        docs_dir: the folder of pages.

    Returns:
        The relative URL.
    """
    if page is None:
        return target
    path, mark, anchor = target.lstrip("/").partition("#")
    if path == page.path:
        return mark + anchor or "#"
    directories = configuration(docs_dir).get("use_directory_urls", True)

    def built(source: str) -> str:
        name = source.removesuffix(".md")
        if not directories:
            return name + ".html"
        return name.removesuffix("index").rstrip("/") + "/"

    here = built(page.path)
    folder = here if directories else posixpath.dirname(here)
    relative = posixpath.relpath("/" + built(path).lstrip("/"), posixpath.join("/", folder))
    return relative + ("/" if directories else "") + mark + anchor
