"""Every public name has its place in the reference, once."""

import re
from collections import Counter
from pathlib import Path

import derivable

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"


def entries():
    return [
        name
        for page in sorted(REFERENCE.glob("*.md"))
        for name in re.findall(r"^::: derivable\.(\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def test_every_public_name_is_in_the_reference():
    missing = sorted(set(derivable.__all__) - set(entries()))
    assert not missing, f"add `::: derivable.NAME` to a page in docs/reference/ for: {', '.join(missing)}"


def test_the_reference_names_only_what_is_public_and_each_once():
    strangers = sorted(set(entries()) - set(derivable.__all__))
    assert not strangers, f"in the reference, but not in derivable.__all__: {strangers}"
    assert [name for name, count in Counter(entries()).items() if count > 1] == []
