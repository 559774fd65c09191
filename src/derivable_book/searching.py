"""The site's search: an index without listings, and a mend for the theme's engine.

The engine, lunr, keeps the words of the site in a minimal automaton. While it builds it, it merges nodes of the same
name, and a name is the plain row of the node's edges, each a letter and the number of a node: `a` to node 1 with `1`
to node 25 and `a` to node 11 with `2` to node 5 are both called `a1125`. Words with digits make such pairs. Two nodes
that differ are then one, the automaton accepts words that are not in the index, and a search that meets one fails: of
this book, a search for `n` found nothing. The mend ends each edge with a mark, so that no two nodes share a name.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_NAMES = """
lunr.TokenSet.prototype.toString = function () {
  if (!this._str) {
    const edges = Object.keys(this.edges).sort().map((label) => `${label}${this.edges[label].id};`)
    this._str = `${this.final ? 1 : 0}${edges.join("")}`
  }
  return this._str
}
"""


def mend(site: Path) -> None:
    """Mend the search of a built site. A site without search stays as it is.

    Args:
        site: the folder of the site.

    Raises:
        RuntimeError: if the theme's worker is not where it was, or no longer shows its engine.
    """
    path = site / "search" / "search_index.json"
    if not path.exists():
        return
    path.write_text(json.dumps(lighter(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    folder = site / "assets" / "javascripts" / "workers"
    for worker in folder.glob("search.*.js"):
        text = worker.read_text(encoding="utf-8")
        if "self.lunr=" in text:
            worker.write_text(text + _NAMES, encoding="utf-8")
            return
    raise RuntimeError(f"no file search.*.js in {folder} shows the theme's search engine as self.lunr")


def lighter(index: dict[str, Any]) -> dict[str, Any]:
    """Drop listings from the entries of the reference; names and what is said of them stay.

    Args:
        index: the search index.

    Returns:
        The same index, shorter.
    """
    for entry in index["docs"]:
        if entry["location"].startswith("reference/"):
            entry["text"] = re.sub(r"<pre\b.*?</pre>", "", entry["text"], flags=re.DOTALL)
    return index
