"""The whole book on one page: the chapters and what belongs to them, with links that stay on the page."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Mapping, Set

from derivable_book import pages

PAGE = "print.md"
_BACK = ("notation.md", "bibliography.md")

_HEADING = re.compile(r"<(/?)h([1-5])\b")
_LABEL = re.compile(r'(?<![\w-])(id|for|aria-labelledby|aria-describedby|name)="([^"]+)"')
_LINK = re.compile(r'(?<![\w:-])(xlink:href|href|src)="([^"]*)"')
_INNER = re.compile(r"url\(#([^)]+)\)")
_BLOCK = re.compile(r"<pre\b(?![^>]* id=)")


def belongs(page: pages.Page) -> bool:
    """Say whether a page is part of the book that is printed.

    Args:
        page: the page.

    Returns:
        True for the chapters, the notation and the bibliography.
    """
    return bool(page.chapter) or page.path in _BACK


def join(contents: Mapping[str, str], known: Set[str]) -> str:
    """Put pages behind one another.

    Args:
        contents: the HTML of the pages to print, by their paths, in order.
        known: the paths of all pages of the site.

    Returns:
        HTML in which no anchor stands twice, headings are one level lower, and a link to a printed page stays here.
    """
    return "\n".join(
        f'<section class="printed" id="{_name(path)}">{_moved(text, path, contents, known)}</section>'
        for path, text in contents.items()
    )


def _name(path: str) -> str:
    return path.removesuffix(".md").replace("/", "-")


def _moved(text: str, path: str, contents: Mapping[str, str], known: Set[str]) -> str:
    here = path.removesuffix(".md").removesuffix("index").rstrip("/") + "/"
    addresses = {page.removesuffix(".md").removesuffix("index").rstrip("/") + "/": page for page in known}

    def link(match: re.Match[str]) -> str:
        attribute, target = match.groups()
        if not target or re.match(r"[a-z]+:", target):
            return match.group()
        place, mark, anchor = target.partition("#")
        if not place:
            return f'{attribute}="#{_name(path)}--{anchor}"' if anchor else match.group()
        there = posixpath.normpath(posixpath.join("/", here, place)).lstrip("/")
        page = addresses.get(there + "/" if there else "/")
        if page is not None and page in contents:
            return f'{attribute}="#{_name(page)}{"--" + anchor if anchor else ""}"'
        ending = "/" if place.endswith("/") and there else ""
        return f'{attribute}="../{there}{ending}{mark}{anchor}"'

    text = re.sub(r'<p class="take">.*?</p>', "", text, flags=re.DOTALL)
    text = re.sub(r"<template\b.*?</template>", "", text, flags=re.DOTALL)  # figures stand still here
    text = re.sub(r'<div class="moving-controls".*?</div></div>', "", text, flags=re.DOTALL)
    text = re.sub(r' class="drawing moving"', ' class="drawing"', text)
    text = re.sub(r' data-(?:snippet|needs|part|control)="[^"]*"', "", text)
    # The theme names a block of code after the nearest anchor: without one of its own, blocks would share a name.
    number = itertools.count(1)
    text = _BLOCK.sub(lambda m: f'{m.group()} id="code-{next(number)}"', text)
    text = _LABEL.sub(lambda m: f'{m.group(1)}="{_names(m.group(2), path)}"', text)
    text = _INNER.sub(lambda m: f"url(#{_name(path)}--{m.group(1)})", text)
    text = _LINK.sub(link, text)
    return _HEADING.sub(lambda m: f"<{m.group(1)}h{int(m.group(2)) + 1}", text)


def _names(labels: str, path: str) -> str:
    return " ".join(f"{_name(path)}--{label}" for label in labels.split())
