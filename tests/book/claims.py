"""What the tests of claims and of sabotage share: the results, the blocks that check them, the stored edits."""

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

from derivable_book.results import scan
from derivable_book.snippets import Document, audit, documents

ROOT = Path(__file__).parents[2]
PROVED = ("lemma", "theorem", "proposition", "corollary")


@dataclass(frozen=True)
class Sabotage:
    """A stored edit of the package or of a stated constant, after which a claim's snippet must fail."""

    claim: str
    file: str
    old: str
    new: str
    why: str
    source: str

    def __str__(self) -> str:
        return f"{self.claim}: {self.why}"


def results():
    """Return the numbered results of the book that need a check, in order."""
    return [r for r in scan(ROOT / "docs") if r.kind in PROVED]


def pages():
    """Return the book's pages as documents."""
    return documents(ROOT, docstrings=False)


@functools.cache
def checking_blocks() -> dict[str, list[tuple[Document, int]]]:
    """Return, for each label named behind `# checks:`, the pages and lines of the blocks that name it."""
    found: dict[str, list[tuple[Document, int]]] = {}
    for page in pages():
        for block in audit(page):
            for label in block.checks:
                found.setdefault(label, []).append((page, block.line))
    return found


def sabotages() -> list[Sabotage]:
    """Return every stored edit."""
    found = []
    for path in sorted((ROOT / "tests" / "sabotage").glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["sabotage"]:
            found.append(Sabotage(**entry, source=path.name))
    return found
