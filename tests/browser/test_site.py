"""The built site as files: links and anchors, nothing from another host, a search index without LaTeX."""

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from derivable_book.pages import navigation
from derivable_book.results import scan

DOCS = Path(__file__).resolve().parents[2] / "docs"
HOST = "https://host.invalid/derivable/"


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.anchors, self.links, self.loads, self.footer = set(), [], [], {}

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.update(filter(None, (attrs.get("id"), attrs.get("name"))))
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
            for way in ("next", "prev"):
                if f"md-footer__link--{way}" in (attrs.get("class") or ""):
                    self.footer[way] = attrs["href"]
        for key in ("src", "srcset", "data", "poster"):
            if attrs.get(key):
                self.loads.append(attrs[key])
        if tag == "link" and attrs.get("href") and attrs.get("rel") != "canonical":
            self.loads.append(attrs["href"])


@pytest.fixture(scope="module")
def read(site):
    """What each HTML file of the site holds, by its path."""
    found = {}
    for path in site.rglob("*.html"):
        reader = _Reader()
        reader.feed(path.read_text(encoding="utf-8"))
        found[path.relative_to(site).as_posix()] = reader
    return found


def file_of(url):
    path = unquote(urlsplit(url).path).removeprefix(urlsplit(HOST).path)
    return path + "index.html" if not path or path.endswith("/") else path


def test_every_page_of_the_navigation_is_built(read):
    for page in navigation(DOCS):
        assert file_of(HOST + re.sub(r"(index)?\.md$", "", page).rstrip("/") + "/").lstrip("/") in read, page


def test_internal_links_and_anchors_resolve(read, site):
    broken = []
    for path, reader in read.items():
        if path == "404.html":  # its links start at the root of the host, wherever the lost reader stands
            continue
        base = HOST + path.removesuffix("index.html")
        for link in reader.links:
            target = urljoin(base, link)
            if not target.startswith(HOST):
                if not urlsplit(target).scheme.startswith(("http", "mailto")):
                    broken.append(f"{path}: {link}")
                continue
            file, anchor = file_of(target), unquote(urlsplit(target).fragment)
            if not (site / file).is_file():
                broken.append(f"{path}: {link}: no such page")
            elif anchor and file in read and anchor not in read[file].anchors and anchor != "__comments":
                broken.append(f"{path}: {link}: no such anchor")
    assert not broken, "\n".join(broken)


def test_next_and_previous_follow_the_navigation(read):
    order = ["index.html" if p == "index.md" else re.sub(r"(/index)?\.md$", "/index.html", p) for p in navigation(DOCS)]
    for before, after in itertools.pairwise(order):
        assert file_of(urljoin(HOST + before, read[before].footer["next"])) == after
        assert file_of(urljoin(HOST + after, read[after].footer["prev"])) == before


def test_every_result_is_an_anchor_of_its_page(read):
    for result in scan(DOCS):
        page = re.sub(r"(index)?\.md$", "", result.page) + "/index.html"
        assert result.label in read[page].anchors, result


def test_nothing_is_loaded_from_another_host(read, site):
    foreign = [
        f"{path}: {load}" for path, reader in read.items() for load in reader.loads if re.match(r"(https?:)?//", load)
    ]
    for sheet in site.rglob("*.css"):
        foreign += re.findall(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//[^)\"']+", sheet.read_text(encoding="utf-8"))
    assert not foreign


def test_the_search_index_holds_no_latex(site):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert len(index["docs"]) >= len(navigation(DOCS))
    for entry in index["docs"]:
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", entry["title"] + " " + entry["text"], flags=re.DOTALL)
        found = re.search(r".{0,40}(?:\\[A-Za-z]{2,}|\\[()\[\]]|\$|\[@|///|\b_\{|\^\{).{0,40}", text)
        assert not found, f"{entry['location']}: {found.group()}"


def test_scripts_and_sources_of_figures_stay_out_of_the_site(site):
    assert not list(site.rglob("*.py"))
    assert not list(site.rglob("*.yml"))
    assert not [path for path in site.rglob("*") if "mathjax" in path.name.lower() or "katex" in path.name.lower()]


def test_the_font_of_the_formulas_is_small_and_free_to_ship(site):
    from fontTools.ttLib import TTFont

    path = site / "assets" / "fonts" / "derivable-math.woff2"
    assert path.stat().st_size < 300_000
    with TTFont(path) as font:
        assert "MATH" in font
        assert "Open Font License" in font["name"].getDebugName(13)
        assert font["name"].getDebugName(1) == "Derivable Math"
        present = set(font.getBestCmap())
    used = set()
    for page in site.rglob("*.html"):
        for math in re.findall(r"<math.*?</math>", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            used |= set(re.sub(r"<[^>]*>|&\w+;", "", math))
    missing = {c for c in used if ord(c) not in present and not c.isspace() and ord(c) not in (0x2061, 0x200B)}
    assert not missing, f"add them to the ranges in font.py: {sorted(map(hex, map(ord, missing)))}"
