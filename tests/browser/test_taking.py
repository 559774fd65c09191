"""What a reader takes along: notebooks, scripts, and the whole book on one page."""

import re

import nbformat
import pytest

from browser.conftest import LOOKS
from derivable_book import notebooks, pages, printed, standalone
from derivable_book.results import scan
from derivable_book.snippets import Document, read_blocks

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_snippet_is_copied_with_what_it_needs(visit, address, width, scheme):
    path = pages.DOCS / "chapters/descent.md"
    blocks = read_blocks(Document(path, path.name, path.read_text(encoding="utf-8")))
    tab = visit(width, scheme)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address.rsplit("/", 2)[0])
    tab.open("chapters/descent/")
    buttons = tab.page.locator("button.book-script")
    buttons.first.wait_for(state="attached")
    assert buttons.count() == sum(bool(parts) for parts in standalone.needs(blocks))
    for number in (1, 4, len(blocks) - 1):
        snippet = tab.page.locator(f"[data-snippet='{number}']")
        snippet.scroll_into_view_if_needed()
        snippet.hover()
        button = snippet.locator("button.book-script")
        assert button.get_attribute("aria-label") == "Copy with what it needs from above"
        button.focus()
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_function(
            "number => document.querySelector(`[data-snippet='${number}'] .book-script`).title === 'Copied'", arg=number
        )
        copied = tab.page.evaluate("navigator.clipboard.readText()")
        assert copied.strip() == standalone.script(blocks, number).strip()
    assert not tab.trouble


@pytest.mark.parametrize("look", range(len(LOOKS)), ids=[f"{width}-{scheme}" for width, scheme in LOOKS])
def test_each_chapter_is_downloaded_as_a_notebook(visit, look, tmp_path):
    tab = visit(*LOOKS[look])
    for page in notebooks.chapters()[look :: len(LOOKS)]:
        tab.open(page.path.removesuffix(".md") + "/")
        with tab.page.expect_download() as waiting:
            tab.page.get_by_role("link", name="This chapter as a notebook").click()
        file = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(file)
        assert file.name == page.path.split("/")[-1].replace(".md", ".ipynb")
        assert nbformat.read(file, as_version=4) == notebooks.notebook(page)
    assert not tab.trouble


def test_the_whole_book_stands_on_one_page(visit, site):
    text = (site / "print" / "index.html").read_text(encoding="utf-8")
    anchors = re.findall(r'(?<![\w-])id="([^"]+)"', text)
    assert len(anchors) == len(set(anchors))
    chosen = [page for page in pages.pages() if printed.belongs(page)]
    assert len(chosen) >= 9
    for page in chosen:
        assert f'<section class="printed" id="{printed._name(page.path)}">' in text
    for result in scan():
        assert f'id="{printed._name(result.page)}--{result.label}"' in text
    article = text[text.index("<article") : text.index("</article>")]
    for link in re.findall(r'(?<![\w-])href="#([^"]+)"', article):
        assert link in anchors, link
    assert not re.findall(r'href="[^"#]*chapters/[^"]*"', article)  # no way out into the pages that stand here


def test_the_whole_book_can_be_printed(visit, site):
    tab = visit()
    tab.open("print/")
    tab.page.emulate_media(media="print")
    sheet = tab.page.pdf(format="A4")
    assert sheet.startswith(b"%PDF")
    assert 100 < len(re.findall(rb"/Type\s*/Page\b", sheet)) < 600
    assert not tab.page.locator(".moving-controls, .md-header, .take").locator("visible=true").count()
    assert not tab.trouble
