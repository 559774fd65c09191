"""The Markdown of the book: results, proofs, references, citations, formulas, and every mistake in them."""

import re
import xml.etree.ElementTree as etree

import pytest
from markdown import Markdown

from derivable_book import pages
from derivable_book.extension import inline
from derivable_book.pages import BookError
from derivable_book.results import scan

FIRST = r"""# First chapter

What a [*reader*](second.md) finds in [@later] and [@author2020].

/// definition | Softsign
    label: softsign

The function $g(x) = x/(1+\lvert x\rvert)$.
///

/// lemma
    label: small

It is odd.
///

/// proof
By [@softsign; @small, part 2] and [@author2020, Section 3]:

$$
g(-x) = -g(x)
$$
///

```
/// theorem | In code
    label: not-a-result

$not math$ and [@not-a-reference] and $5
///
```
"""

SECOND = """---
title: Another title
---
# Second chapter

/// theorem | A step of size $\\eta$
    label: later

Text.
///

/// proof | of [@later]
Short.
///

/// corollary
    label: last

See `[@nothing]` and [@small].
///
"""

ENTRIES = """
author2020:
  authors: [Ann Author, Bert de Writer]
  year: 2020
  title: On steps
  where: Journal of Steps 1
  url: https://example.org/steps
many2019:
  authors: [One Two, Three Four, Five Six]
  year: 2019
  title: Why
  where: Somewhere
many2019b:
  authors: [One Two, Seven, Eight]
  year: 2019
  title: Zebras?
  where: Elsewhere.
"""


@pytest.fixture
def book(tmp_path):
    """A small book; its function converts a page of it, after writing it anew where a text is given."""
    docs = tmp_path / "docs"
    (docs / "chapters").mkdir(parents=True)
    (tmp_path / "mkdocs.yml").write_text(
        "nav:\n  - index.md\n  - Chapters:\n      - chapters/index.md\n      - chapters/first.md\n"
        "      - Named: chapters/second.md\n  - bibliography.md\n"
        "theme:\n  icon: !!python/name:material.extensions.emoji.twemoji\n",
        encoding="utf-8",
    )
    for path, text in {
        "index.md": "# Home\n\nSee [@later].\n",
        "chapters/index.md": "# Chapters\n",
        "chapters/first.md": FIRST,
        "chapters/second.md": SECOND,
        "bibliography.md": "# Bibliography\n\n/// bibliography\n///\n",
        "bibliography.yml": ENTRIES,
    }.items():
        (docs / path).write_text(text, encoding="utf-8")

    def convert(path, text=None):
        if text is not None:
            (docs / path).write_text(text, encoding="utf-8")
        source = re.sub(r"\A---\n.*?\n---\n", "", (docs / path).read_text(encoding="utf-8"), flags=re.DOTALL)
        options = {"derivable_book.extension": {"docs_dir": str(docs)}}
        extensions = ["pymdownx.superfences", "tables", "toc", "md_in_html", "derivable_book.extension"]
        return Markdown(extensions=extensions, extension_configs=options).convert(source)

    convert.docs = docs
    return convert


def text_of(html):
    return "".join(etree.fromstring(f"<div>{html.replace('&nbsp;', ' ')}</div>").itertext())


# ------------------------------------------------------------------------------------------------- numbering


def test_results_are_numbered_by_chapter_in_the_order_of_the_navigation(book):
    found = [(r.name, r.label, r.title, r.page, r.line) for r in scan(book.docs)]
    assert found == [
        ("Definition 1.1", "softsign", "Softsign", "chapters/first.md", 5),
        ("Lemma 1.2", "small", "", "chapters/first.md", 11),
        ("Theorem 2.1", "later", r"A step of size $\eta$", "chapters/second.md", 6),
        ("Corollary 2.2", "last", "", "chapters/second.md", 16),
    ]


def test_a_page_without_results_still_counts_as_a_chapter(book):
    book("chapters/first.md", "# Empty\n")
    (book.docs / "index.md").write_text("# Home\n")
    (book.docs / "chapters/second.md").write_text(SECOND.replace("[@small]", "nothing"))
    assert [r.number for r in scan(book.docs)] == ["2.1", "2.2"]


def test_what_is_rendered_is_what_is_scanned(book):
    html = book("chapters/first.md") + book("chapters/second.md")
    rendered = re.findall(r'<div class="result (\w+)" id="([^"]+)">', html)
    assert rendered == [(r.kind, r.label) for r in scan(book.docs)]
    titles = re.findall(r'<span class="result-kind">([^<]+)</span>', html)
    assert titles == [r.name for r in scan(book.docs)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/// lemma\nNo label.\n///\n", r"chapters/first.md:3: a lemma needs the line"),
        ("/// lemma\n    label: Not A Slug\n\nText.\n///\n", r"chapters/first.md:3: .*'Not A Slug'"),
        (
            "/// lemma\n    label: later\n\nText.\n///\n",
            r"second.md:6: the label 'later' is taken by .*first.md:3",
        ),
        ("/// lemma\n    label: author2020\n\nText.\n///\n", r"'author2020' is also the label of a result"),
        (
            "/// lemma\n    label: a\n    colour: red\n\nText.\n///\n",
            r"1 results and proofs in the text, but 0",
        ),
        (
            "> /// lemma\n>     label: a\n>\n> Text.\n> ///\n",
            r"the lemma 'a' is not where the book's numbering looks",
        ),
        ("/// lemma\n    label: a\n\n/// proof\n\nNever closed.\n", r"."),
        ("/// remark\n\nNo such kind.\n///\n", r"first.md: a block `///` that was not understood"),
        (
            "/// theorm | A typo\n    label: a\n\nText.\n///\n",
            r"first.md: a block `///` that was not understood",
        ),
        ("See [@unknown-label].\n", r"chapters/first.md:3: \[@unknown-label\] is neither"),
        ("See [@Later].\n", r"chapters/first.md(:3)?: cannot read the reference"),
        ("See [@later, ].\n", r"cannot read the reference|Theorem"),
        ("A formula $\\nosuchcommand{x}$.\n", r"first.md: cannot read the formula .*nosuchcommand"),
        ("$$\n\\frac{1}{\n$$\n", r"first.md: cannot read the formula"),
        ("Half a formula $x + 1.\n", r"first.md: a formula that was not understood"),
        ("$$\nx\n\ny\n$$\n", r"first.md: a formula that was not understood"),
    ],
)
def test_a_mistake_ends_the_build_and_is_named(book, text, message):
    if message == ".":  # an unclosed block closes at the end of the page: nothing is lost, nothing is wrong
        assert "Never closed" in book("chapters/first.md", "# Title\n\n" + text)
        return
    with pytest.raises(BookError, match=message):
        book("chapters/first.md", "# Title\n\n" + text)


def test_a_result_outside_the_chapters_has_no_number(book):
    with pytest.raises(BookError, match=r"index.md:1: a lemma outside docs/chapters"):
        book("index.md", "/// lemma\n    label: a\n\nText.\n///\n")


def test_errors_are_of_the_kind_that_mkdocs_reports_without_a_traceback():
    from mkdocs.exceptions import BuildError

    assert issubclass(BookError, BuildError)


# ------------------------------------------------------------------------------------- results and references


def test_a_result_has_its_label_as_anchor_and_a_permalink(book):
    html = book("chapters/second.md")
    assert '<div class="result theorem" id="later">' in html
    assert '<a class="headerlink" href="#later" title="Permanent link">' in html
    assert "<math><mi>η</mi></math>" in html.split("</p>")[0] + html.split("</p>")[1]


def test_a_proof_opens_with_the_word_and_ends_with_one_mark(book):
    first = book("chapters/first.md")
    assert '<span class="proof-title">Proof.</span> By' in first
    assert first.count('class="qed"') == 1
    assert first.index('class="qed"') > first.index("math-display")
    second = book("chapters/second.md")
    assert "Short.<span" in second
    assert 'Proof of <span class="references"><a class="result-reference" href="#later">Theorem' in second


@pytest.mark.parametrize("text", ["Short. ∎", "First.\n\nSecond $x$. ∎", "∎"])
def test_a_proof_that_brings_its_own_mark_has_one_too(book, text):
    html = book("index.md", f"/// proof\n{text}\n///\n")
    assert html.count("∎") == 1
    assert '<span class="qed"' in html


def test_references_on_a_page_and_across_pages(book):
    assert 'href="/chapters/second.md#later"' not in book("chapters/first.md")
    html = book("chapters/first.md")
    assert '<a class="result-reference" href="../second/#later">Theorem\N{NO-BREAK SPACE}2.1</a>' in html
    assert 'href="#softsign" title="Softsign">Definition\N{NO-BREAK SPACE}1.1</a>; <a' in html
    assert "Lemma\N{NO-BREAK SPACE}1.2, part 2</a>" in html
    assert 'href="chapters/second/#later"' in book("index.md")


def test_citations_name_authors_and_year_and_link_to_the_entry(book):
    html = book("chapters/first.md")
    assert html.count("Author and de Writer (2020") == 2
    assert "Author and de Writer (2020, Section 3)</a>" in html
    assert html.count('id="cite-author2020"') == 1
    assert 'href="../../bibliography/#author2020"' in html
    html = book("index.md", "[@many2019; @many2019b]\n")
    assert text_of(html) == "Two et al. (2019a); Two et al. (2019b)"


def test_code_is_left_alone(book):
    html = book("chapters/first.md")
    assert "$not math$ and [@not-a-reference] and $5" in html
    assert "[@nothing]" in book("chapters/second.md")


def test_the_bibliography_links_back_to_every_page_that_cites(book):
    html = book("bibliography.md")
    assert '<li id="author2020">' in html
    assert (
        'Cited in <a href="chapters/first/#cite-author2020">First chapter</a>.'.replace("chapters/", "../chapters/")
        in html
    )
    assert '<a class="bibliography-title" href="https://example.org/steps">On steps</a>. <em>' in html
    assert html.count("Cited in") == 1
    assert re.findall(r'<li id="(\w+)">', html) == ["author2020", "many2019", "many2019b"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("key: {authors: [A], year: 1, title: T}", "missing \\['where'\\]"),
        ("key: {authors: [A], year: 1, title: T, where: W, uri: U}", "unknown \\['uri'\\]"),
        ("key: {authors: A, year: 1, title: T, where: W}", "authors is a list"),
        ("Key: {authors: [A], year: 1, title: T, where: W}", "small letters"),
    ],
)
def test_a_bad_entry_is_named(book, entry, message):
    (book.docs / "bibliography.yml").write_text(entry)
    with pytest.raises(BookError, match=f"bibliography.yml: [Kk]ey: .*{message}"):
        book("bibliography.md")


def test_two_entries_under_one_key_are_refused(book):
    entry = "key: {authors: [A], year: 1, title: T, where: W}\n"
    (book.docs / "bibliography.yml").write_text(entry + "other: " + entry.removeprefix("key: ") + entry)
    with pytest.raises(BookError, match=r"bibliography.yml: more than one entry for key"):
        book("bibliography.md")


def test_the_page_is_recognised_without_being_told(book):
    text = (book.docs / "chapters/second.md").read_text()
    assert pages.page_of(text, book.docs).path == "chapters/second.md"
    assert pages.page_of(text.split("---\n", 2)[2], book.docs).path == "chapters/second.md"
    assert pages.page_of("Something else.", book.docs) is None


@pytest.mark.parametrize(
    ("target", "source", "directories", "expected"),
    [
        ("/chapters/second.md#a", "chapters/first.md", True, "../second/#a"),
        ("/chapters/second.md", "index.md", True, "chapters/second/"),
        ("/index.md", "chapters/first.md", True, "../../"),
        ("/index.md", "bibliography.md", True, "../"),
        ("/bibliography.md#k", "chapters/index.md", True, "../bibliography/#k"),
        ("/chapters/first.md#a", "chapters/first.md", True, "#a"),
        ("/chapters/second.md#a", "chapters/first.md", False, "second.html#a"),
        ("/bibliography.md", "index.md", False, "bibliography.html"),
    ],
)
def test_links_between_pages(book, target, source, directories, expected):
    with (book.docs.parent / "mkdocs.yml").open("a") as file:
        file.write(f"use_directory_urls: {str(directories).lower()}\n")
    assert pages.url(target, pages.Page(source, "", 0), book.docs) == expected


# -------------------------------------------------------------------------------------------------- formulas


def test_a_display_may_touch_its_paragraph(book):
    html = book("index.md", "Before\n$$\nx^2\n$$\nafter, and\n$$ y $$\n")
    assert html.count('<math display="block">') == 2
    assert "<p>after, and</p>" in html


def test_formulas_in_headings_tables_and_lists(book):
    html = book(
        "index.md",
        "# Of $x^2$\n\n## With $w_{t}$\n\n| $a$ |\n|---|\n| $b_1$ |\n\n- $c$\n\n    $$\n    d\n    $$\n",
    )
    assert html.count("<math") == 6
    assert 'id="with-wt"' in html


def test_headings_are_spelled_out_for_the_table_of_contents(book):
    (book.docs / "index.md").write_text("# T\n\n## Is $g'(x) \\le x^{2} / w_{t+1}$, $\\sqrt{T}$ or $x^{ab}$?\n")
    options = {"derivable_book.extension": {"docs_dir": str(book.docs)}}
    md = Markdown(extensions=["toc", "derivable_book.extension"], extension_configs=options)
    md.convert((book.docs / "index.md").read_text())
    assert md.toc_tokens[0]["children"][0]["name"] == "Is g′(x) ≤ x²/wₜ₊₁, √T or x^ab?"


def test_less_than_in_a_formula_is_not_html(book):
    html = book("index.md", "If $a<b$ and $b<p>q$, then $x & y$ is odd.\n".replace(" & y", ""))
    assert html.count("<math>") == 3
    assert "<mo>&lt;</mo><mi>b</mi>" in html


def test_markdown_inside_a_formula_is_not_markdown(book):
    html = book("index.md", r"$a_{i} * b_{j} * c$ and $\mathbb{E}[x](y)$ and $w^*$ *or* $v^*$" + "\n")
    assert html.count("<em>") == 1
    assert html.count("<math>") == 4


def test_a_dollar_can_be_written(book):
    assert text_of(book("index.md", "It costs \\$5 or \\$6.\n")) == "It costs $5 or $6."


def test_punctuation_stays_with_its_formula(book):
    html = book("index.md", "For ($x$), the $n$th $y$-axis and $z$.\n")
    boxes = re.findall(r'<span class="math-inline">(.*?)</span>', html)
    assert [re.sub(r"<math>.*</math>", "M", box) for box in boxes] == ["(M),", "Mth", "M-axis", "M."]


def test_a_long_formula_in_a_line_may_break_where_tex_breaks_it(book):
    long = r"$\lVert w_{t+1} - w^*\rVert \le \lVert w_t\rVert = (a + b + c + d + e + f + g + i + j + k) + h$"
    html = book("index.md", f"So ({long}), and $x = y$.\n")
    parts = re.findall(r'<span class="math-part">(.*?)</span>', html)
    said = ["".join(etree.fromstring(f"<p>{part}</p>").itertext()) for part in parts]
    assert said == ["(‖wt+1−w∗‖≤", "‖wt‖=", "(a+b+c+d+e+f+g+i+j+k)+", "h),"]
    assert parts[0].count('form="infix"') == 1
    assert html.count("<math>") == 5


def test_a_row_distance_is_not_printed(book):
    html = book("index.md", "$$\n\\begin{cases} a \\\\[4pt] b \\end{cases}\n$$\n")
    assert "4pt" not in text_of(html)
    assert "pt" not in text_of(html)


FORMULAS = [
    r"w_{t+1} = \argmin_{w} f(w_t) + \langle w - w_t, \nabla f(w_t)\rangle",
    r"\frac{\lambda}{2}\lVert w - w_t\rVert^2 + \tfrac12 w^\top A w",
    r"\begin{aligned} f(w) &= \lvert w\rvert\\ &\le \dfrac{L}{2}\lVert w-w_t\rVert^2 \end{aligned}",
    r"g'(x) = \begin{cases} \frac{1}{(1+x)^2} & \text{if } x \ge 0,\\ 0 & \text{if } x < 0 \end{cases}",
    r"\begin{pmatrix} a & b \\ c & d \end{pmatrix} \begin{bmatrix} \cdots & \vdots & \ddots \end{bmatrix}",
    r"\underbrace{a_1 + \dots + a_n}_{n \text{ terms}} = \overbrace{b}^{c}",
    r"\prod_{k=1}^{20} \sigma'(z_k) \to 0 \quad (k\to\infty)",
    r"\operatorname{sign}(x), \operatorname*{arg\,max}_{x\in\mathbb{R}^n} \widehat{f}(x)",
    r"\bar{w} + \widetilde{u} + \dot x + \vec v + \overline{ab}",
    r"\left( \frac{1}{1+e^{-x}} \right)^2 \left\lVert \frac{a}{b} \right\rVert",
    r"\Bigl\{ x : f(x) \le 0 \Bigr\} \lfloor x \rfloor \lceil y \rceil",
    r"\lim_{h\to 0}\frac{f(x+h)-f(x)}{h} \quad \max_{i} w_i \quad \limsup_{n} x_n \quad \sup_{x\in X} x",
    r"\int_{-\infty}^{x} \frac{1}{\sqrt{2\pi}} e^{-t^2/2}\,dt = \frac12\Bigl(1+\operatorname{erf}x\Bigr)",
    r"\mathbb{E}\bigl[\lVert w\rVert^2 \bigm| w_t\bigr] \ne \mathcal{O}(n), \mathbf{x}, \boldsymbol{\alpha}",
    r"f\colon \mathbb{R}^n \to \mathbb{R}, w^\star \coloneqq b \iff c \implies d, 1{,}000, A^{\!\top}",
    r"\begin{array}{r|cc} t & 0 & 1 \\ \hline w & 2 & 3 \end{array} \binom{n}{k} \overset{\text{def}}{=}",
]


@pytest.mark.parametrize("latex", FORMULAS)
@pytest.mark.parametrize("display", [False, True])
def test_the_formulas_of_a_book_convert(latex, display):
    from derivable_book.math import element

    box = element(latex, display, "here")
    assert "\\" not in "".join(box.itertext())
    assert box.find(".//merror") is None
    formulas = list(box.iter("math"))
    assert formulas
    assert all((math.get("display") == "block") == display for math in formulas)
    assert all(len(math) for math in formulas)


def test_argmin_has_its_limit_below_in_a_display_and_beside_in_a_line():
    from derivable_book.math import mathml

    assert "<munder>" in mathml(r"\argmin_w f(w)", True)
    assert "<munder>" not in mathml(r"\argmin_w f(w)", False)


def test_a_caption_is_converted_without_a_paragraph(book):
    assert inline("A *line* with $x$, see [@small].", book.docs).startswith("A <em>line</em> with <span")
    assert 'href="/chapters/first.md#small"' in inline("[@small]", book.docs)


def test_links_in_ready_made_html_become_relative(book):
    html = book("chapters/second.md", SECOND + '\n<figure><a href="/chapters/first.md#small">see</a></figure>\n')
    assert '<a href="../first/#small">see</a>' in html
