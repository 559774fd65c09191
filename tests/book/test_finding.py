"""The ways through the book: index of results, map, words. Each is made from the pages, and complete."""

import re

import pytest
from markdown import Markdown

import derivable
from derivable_book import finding, glossary, hooks, pages
from derivable_book.extension import BookExtension
from derivable_book.pages import BookError
from derivable_book.results import scan


def test_every_result_is_in_the_index_with_the_functions_of_its_check():
    text = finding.index()
    rows = dict(re.findall(r'<li><a href="[^"#]*#([a-z0-9-]+)">(.*?)</li>', text, re.DOTALL))
    assert list(rows) == [result.label for result in scan()]
    for result in scan():
        assert rows[result.label].startswith(f"{result.name}</a>")
    assert (
        '<a href="../reference/descent/#derivable.proximal_step"><code>proximal_step</code></a>'
        in rows["proximal-step"]
    )
    assert "result-code" not in rows["smooth"]  # a definition, without a check


def test_the_reference_leads_back_to_the_results():
    there, back = finding.functions(), finding.results_of()
    assert set(finding.documented()) == set(derivable.__all__)
    assert {(label, name) for label, names in there.items() for name in names} == {
        (result.label, name) for name, found in back.items() for result in found
    }
    page = '<h3 id="derivable.proximal_step" class="doc doc-heading">x</h3><p>y</p>'
    linked = hooks.link_results(page, "reference/descent.md", pages.DOCS)
    assert linked.startswith(page.partition("<p>")[0] + '<p class="in-the-book">In the book: <a href="')
    assert 'href="../../chapters/descent/#proximal-step">Theorem\u00a0' in linked
    unknown = '<h3 id="derivable.unknown" class="doc doc-heading">x</h3>'
    assert hooks.link_results(unknown, "reference/descent.md", pages.DOCS) == unknown


def test_the_map_knows_who_refers_to_whom():
    needs = finding.needs()
    assert needs["chapters/convergence.md", "chapters/descent.md"] >= 3
    chapters = {page.path for page in pages.pages() if page.chapter}
    assert all(here != there and {here, there} <= chapters for here, there in needs)


@pytest.fixture(scope="module")
def rendered():
    """The chapters without their figures, as HTML."""
    found = {}
    for page in pages.pages():
        if page.chapter:
            md = Markdown(extensions=["tables", "md_in_html", "attr_list", "pymdownx.superfences", BookExtension()])
            extension = next(e for e in md.registeredExtensions if isinstance(e, BookExtension))
            identify = md.preprocessors["book-page"]
            identify.run = lambda lines, book=extension.book, page=page: setattr(book, "page", page) or lines
            text = re.sub(r"^```python exec.*?^```$", "", page.text, flags=re.DOTALL | re.MULTILINE)
            found[page.path] = md.convert(text)
    return found


def test_the_first_use_of_a_word_leads_to_its_explanation(rendered):
    known = {term.anchor: term for term in glossary.terms()}
    listing = Markdown(extensions=[BookExtension()]).convert("/// glossary\n///\n")
    listed = re.findall(r'<dt id="([^"]+)">', listing)
    assert listed == list(known)
    met = set()
    for path, text in rendered.items():
        links = re.findall(r'<a class="term" href="\.\./\.\./notation/#([^"]+)" title="([^"]+)">([^<]+)</a>', text)
        assert len(links) == text.count('class="term"')
        anchors = [anchor for anchor, _, _ in links]
        assert len(anchors) == len(set(anchors)), f"{path}: a word is linked twice"
        for anchor, title, word in links:
            term = known[anchor]
            assert re.sub(r"\s+", " ", word.lower()) in {form.lower() for form in term.forms}
            assert title == term.says
        met |= set(anchors)
    assert met == set(known), "words that no chapter uses"


def test_words_are_left_alone_where_they_are_code_links_or_titles():
    md = Markdown(extensions=[BookExtension()])
    extension = next(e for e in md.registeredExtensions if isinstance(e, BookExtension))
    page = next(page for page in pages.pages() if page.path == "chapters/descent.md")
    md.preprocessors["book-page"].run = lambda lines: setattr(extension.book, "page", page) or lines
    md.postprocessors.deregister("book-finish")  # it would miss the page's results
    text = md.convert("# Convex\n\n`convex` [convex](https://a.b) nonconvex non-convex *convex* convex\n\n    convex")
    assert text.count("term-convex") == 1
    assert "<em><a" in text


def test_an_entry_without_an_explanation_is_refused(tmp_path):
    (tmp_path / "glossary.yml").write_text("word:\n  also: [words]\n", encoding="utf-8")
    with pytest.raises(BookError, match="word needs `says`"):
        glossary.terms(tmp_path)
    assert glossary.terms(tmp_path / "none") == []
