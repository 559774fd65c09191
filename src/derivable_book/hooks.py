"""What mkdocs calls while it builds the site; mkdocs.yml names this file under `hooks`.

The theme leaves two things to mend for those who listen to a page: its search box and some of its lists of pages
have no name. And its search index would hold the package's whole source.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

_LIST = re.compile(
    r'(<nav class="md-nav" data-md-level="\d+") aria-labelledby="(__nav_\w+)_label"'
    r'([^>]*>\s*<label class="md-nav__title" for="\2">)(.*?)</label>',
    re.DOTALL,
)
_SEARCH = 'data-md-component="search" role="dialog"'


def on_post_page(output: str, **rest: Any) -> str:
    """Name what the theme leaves nameless.

    Args:
        output: the page's HTML.
        **rest: what else mkdocs passes.

    Returns:
        The HTML with names.
    """

    def named(match: re.Match[str]) -> str:
        title = html.unescape(re.sub(r"<[^>]*>", "", match.group(4))).strip()
        return f'{match.group(1)} aria-label="{html.escape(title)}"{match.group(3)}{match.group(4)}</label>'

    return _LIST.sub(named, output.replace(_SEARCH, f'{_SEARCH} aria-label="Search"'))


def on_post_build(config: Any, **rest: Any) -> None:
    """Leave the listings of the reference out of the search index, which every visit fetches.

    Args:
        config: mkdocs's settings.
        **rest: what else mkdocs passes.
    """
    path = Path(config["site_dir"]) / "search" / "search_index.json"
    if path.exists():
        path.write_text(json.dumps(lighter(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")


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
