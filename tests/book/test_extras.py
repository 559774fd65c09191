"""The extras: whoever installs `derivable[docs]` can build the book and run its notebooks."""

import ast
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN = {"derivable", "derivable_book", "figures"}


def brought(lines):
    """Return the names of all distributions that come with these requirements."""
    found, waiting = set(), [(Requirement(line), "") for line in lines]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in requirement.extras or {""}:
            key = (canonicalize_name(requirement.name), wanted)
            if key in found:
                continue
            found.add(key)
            try:
                waiting += [(Requirement(line), wanted) for line in requires(requirement.name) or []]
            except PackageNotFoundError:  # for another platform
                continue
    return {name for name, _ in found}


def imported(folder):
    """Return the modules from elsewhere that the files of a folder import, with one file that does."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module)
            for name in names:
                found[name.partition(".")[0]] = path.name
    return {name: file for name, file in found.items() if name not in OWN | set(sys.stdlib_module_names)}


@pytest.mark.parametrize(
    ("folder", "extras"), [("src/derivable", []), ("src/derivable_book", ["docs"]), ("docs/figures", ["docs"])]
)
def test_what_is_imported_is_brought(folder, extras):
    lines = [*PROJECT["dependencies"], *(line for name in extras for line in PROJECT["optional-dependencies"][name])]
    names, home = brought(lines), packages_distributions()
    optional = {"distributed", "dask"} if folder == "src/derivable" else set()  # the extra `distributed`
    modules = imported(folder)
    assert len(modules) >= 3
    for module, file in modules.items():
        if module not in optional:
            assert {canonicalize_name(name) for name in home[module]} & names, f"{file} imports {module}"
