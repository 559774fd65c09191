"""Every numbered lemma, theorem, proposition and corollary has a snippet that checks it, and a sabotage."""

from book.claims import ROOT, checking_blocks, results, sabotages


def test_every_result_has_a_checking_snippet_below_it():
    blocks = checking_blocks()
    for result in results():
        page = (ROOT / "docs" / result.page).resolve()
        lines = [line for document, line in blocks.get(result.label, []) if document.path.resolve() == page]
        assert lines, f"{result.page}:{result.line}: no snippet says `# checks: {result.label}`"
        assert max(lines) > result.line, f"{result.page}: the check of {result.label} must stand below it"


def test_every_check_names_a_result():
    labels = {r.label for r in results()}
    for label, places in checking_blocks().items():
        assert label in labels, f"{places[0][0].name}:{places[0][1]}: there is no result {label!r}"


def test_every_result_has_a_sabotage_and_every_sabotage_a_result():
    labels, stored = {r.label for r in results()}, {s.claim for s in sabotages()}
    assert not labels - stored, f"no sabotage for {sorted(labels - stored)}"
    assert not stored - labels, f"a sabotage of no result: {sorted(stored - labels)}"


def test_a_sabotage_edits_the_package_or_a_constant_and_never_an_assertion():
    for s in sabotages():
        text = (ROOT / s.file).read_text(encoding="utf-8")
        assert text.count(s.old) == 1, f"{s.source}: {s.old!r} stands {text.count(s.old)} times in {s.file}"
        assert s.new != s.old
        if s.file.startswith("docs/"):
            start = text.index(s.old)
            first = text.rindex("\n", 0, start) + 1
            edited = text[first : text.index("\n", start + len(s.old) - 1)]
            assert "assert" not in edited, f"{s.source}: {s.claim} edits an assertion"
            assert "#>" not in edited, f"{s.source}: {s.claim} edits an output"
        else:
            assert s.file.startswith("src/derivable/"), f"{s.source}: {s.file} is neither the package nor a page"


def test_the_two_lists_are_shown(capsys):
    """Print the table of results, their checks and their sabotages (`pytest -s`, and in CI's log)."""
    blocks, stored = checking_blocks(), sabotages()
    with capsys.disabled():
        print("\nresult, checking snippet, sabotage")
        for result in results():
            places = ", ".join(f"line {line}" for _, line in blocks.get(result.label, []))
            edits = "; ".join(s.why for s in stored if s.claim == result.label)
            print(f"  {result.page} {result.kind} {result.number} [{result.label}]: {places}: {edits}")
    assert results()
