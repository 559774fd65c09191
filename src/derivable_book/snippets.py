"""Run and check every Python block of the book: pages, README and docstrings.

mktestdocs finds the blocks and hands each one to an executor. Alone it has three gaps, and this module closes
them. It silently skips a fence whose info string is anything but `python`: [`audit`][derivable_book.snippets.audit]
parses the text a second time, with markdown-it, and refuses every other spelling. It does not know where in the
file a block stands: [`Session`][derivable_book.snippets.Session] compiles each block under the name and the lines
of its page, so that errors, tracebacks and `inspect.getsource` point there. And it ignores what a block prints:
here the output stands in the block, behind `#>`, and is compared.

Marks that a block may carry:

- `#> text` below a statement: what that statement prints, line by line. A line that ends in `[rtol 1e-3]` or
  `[atol 1e-12]` is compared number by number with that tolerance.
- `# checks: label, label` on the first line: the numbered results that this block checks.
- `# raises: ValueError: part of the message` on the first line: the block must end with that error.
- `# needs: torch, jax` on the first line: modules that the package does not need. Where one is missing the block is
  left out, and listed in `Session.left_out`; nothing below it may lean on it.

Run `python -m derivable_book.snippets` to check everything, `--write` to rewrite the printed outputs.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.util
import io
import json
import linecache
import re
import sys
import textwrap
import traceback
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import mktestdocs
from markdown_it import MarkdownIt

__all__ = ["Block", "Document", "Session", "SnippetError", "audit", "check", "documents", "read_blocks", "write"]

PYTHON_WORDS = {"python", "py", "python3", "py3", "pycon", "pyi", "ipython", "ipython3", "pytb"}
OUTPUT = re.compile(r"#> ?(.*)")
TOLERANCE = re.compile(r"^(.*?)\s*\[(rtol|atol) ([0-9.eE+-]+)\]$")
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|\bnan\b|[-+]?\binf\b")


class SnippetError(AssertionError):
    """A block that is spelled wrong, raises, or prints something else than its page says.

    Attributes:
        where: `page:line`.
        kind: "spelling", "assertion", "output", "raises" or the name of the exception that escaped.
    """

    def __init__(self, where: str, kind: str, message: str) -> None:
        super().__init__(f"{where}: {message}")
        self.where, self.kind = where, kind


@dataclass(frozen=True)
class Block:
    """A Python block that runs: its source, without indentation, and where it stands."""

    source: str
    line: int
    """The line of the file on which the source begins, counted from 1."""
    indent: int = 0

    @property
    def needs(self) -> list[str]:
        """The modules that the block says it needs."""
        return [w.strip() for w in (self.mark("needs") or "").split(",") if w.strip()]

    @property
    def missing(self) -> list[str]:
        """Those of them that are not installed."""
        return [w for w in self.needs if importlib.util.find_spec(w) is None]

    def mark(self, name: str) -> str | None:
        """Return what follows `# name:` on the first line, or None."""
        found = re.match(rf"# {name}: *(.*)", self.source)
        return found.group(1).strip() if found else None

    @property
    def checks(self) -> list[str]:
        """The labels of the results that the block checks."""
        return [label.strip() for label in (self.mark("checks") or "").split(",") if label.strip()]


@dataclass(frozen=True)
class Document:
    """A text with blocks: a whole page, or one docstring of a module."""

    path: Path
    name: str
    text: str
    line: int = 1
    """The line of the file on which the text begins."""

    def __str__(self) -> str:
        return self.name


# ------------------------------------------------------------------------------------------ finding


def documents(root: Path, *, pages: bool = True, docstrings: bool = True) -> list[Document]:
    """Return every document of the project below `root`: pages, README and the docstrings that hold a fence."""
    found = []
    if pages:
        for path in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
            if path.exists():
                found.append(Document(path, path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")))
    if docstrings:
        for path in sorted((root / "src" / "derivable").rglob("*.py")):
            found += _docstrings(path, path.relative_to(root).as_posix())
    return found


def _docstrings(path: Path, name: str) -> Iterator[Document]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    owners: list[tuple[ast.AST, str]] = [(tree, name)]
    while owners:
        owner, title = owners.pop(0)
        for child in ast.iter_child_nodes(owner):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                owners.append((child, f"{title}::{child.name}"))
            elif isinstance(child, (ast.If, ast.Try, ast.With)):
                owners.append((child, title))
            elif isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                text = child.value.value
                if isinstance(text, str) and ("```" in text or "~~~" in text):
                    segment = path.read_text(encoding="utf-8").splitlines()[child.lineno - 1 : child.end_lineno]
                    # Only a docstring written without escapes has the lines that the reader sees.
                    raw = "\n".join(segment)
                    body = raw[raw.index('"""') + 3 : raw.rindex('"""')]
                    yield Document(path, title, body, child.lineno)


def read_blocks(document: Document) -> list[Block]:
    """Return the blocks of a document that must run, by an independent CommonMark parser; raise on bad spelling.

    Raises:
        SnippetError: of kind "spelling", for a Python fence that mktestdocs would skip or misread.
    """
    text = document.text
    offset, indent = document.line, 0
    if document.line > 1 or document.path.suffix != ".md":
        first, _, rest = text.partition("\n")
        margin = [len(line) - len(line.lstrip()) for line in rest.splitlines() if line.strip()]
        indent = min(margin, default=0)
        text = first.strip() + "\n" + textwrap.dedent(rest)
        # Google-style sections indent their content by four more: a fence there belongs to the section.
        text = re.sub(r"(?m)^(Examples?:)\n((?:    .*\n|\n)+)", lambda m: m[1] + "\n" + textwrap.dedent(m[2]), text)
    blocks = []
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "code_block" and "```" in token.content:
            raise SnippetError(_where(document, offset, token.map), "spelling", "a fence inside an indented block")
        if token.type != "fence" or token.map is None:
            continue
        where = _where(document, offset, token.map)
        info = token.info
        if "```" in token.content:
            raise SnippetError(where, "spelling", "a fence inside a fence turns text into code for mktestdocs")
        word = re.split(r"[\s{,:]", info.strip().lstrip("{.").strip(), maxsplit=1)[0].lower()
        opening = text.splitlines()[token.map[0]]
        if not word:
            raise SnippetError(where, "spelling", "a fence without a language: write `text` if it is no code")
        if word not in PYTHON_WORDS:
            continue
        if re.match(r'```python exec="true" html="true" session="[\w-]+"$', opening):
            continue  # a figure: the strict build runs it
        if opening != "```python":
            raise SnippetError(
                where, "spelling", f"this fence would not run: write exactly ```python at the margin, got {opening!r}"
            )
        if token.level:
            raise SnippetError(where, "spelling", "this fence would not run: it stands inside a list or a quotation")
        first_line = offset + token.map[0] + 1
        lines = document.path.read_text(encoding="utf-8").splitlines()
        written = lines[first_line - 1] if first_line <= len(lines) else ""
        if document.path.suffix == ".py" and token.content.strip():
            indent = len(written) - len(written.lstrip())
        blocks.append(Block(token.content, first_line, indent))
    return blocks


def _where(document: Document, offset: int, span: list[int] | None) -> str:
    return f"{document.name.partition('::')[0]}:{offset + (span[0] if span else 0)}"


def audit(document: Document) -> list[Block]:
    """Return the blocks of a document, after making sure that mktestdocs finds the same ones.

    Raises:
        SnippetError: of kind "spelling", if a block would be skipped, or if the two parsers disagree.
    """
    ours = read_blocks(document)
    theirs = mktestdocs.__main__.grab_code_blocks(document.text, lang="python")
    for block, source in zip(ours, theirs, strict=False):
        if _normal(block.source) != _normal(source):
            raise SnippetError(
                f"{document.name}:{block.line}",
                "spelling",
                "mktestdocs reads another block here: look for a stray fence",
            )
    if len(ours) != len(theirs):
        raise SnippetError(
            document.name, "spelling", f"{len(ours)} Python blocks stand in the text, mktestdocs runs {len(theirs)}"
        )
    return ours


def _normal(source: str) -> str:
    return textwrap.dedent(source).strip("\n")


# ------------------------------------------------------------------------------------------ running


@dataclass
class Printed:
    """What one top-level statement printed, and what its block says that it prints."""

    line: int  # within the block, from 1: the statement's last line
    wanted: list[str]
    got: list[str]
    wanted_lines: list[int]


@dataclass
class Session:
    """The state in which the blocks of one document run, one after another, in one namespace.

    Attributes:
        document: what is being run.
        printed: for each block that was run, what its statements printed.
        failures: the blocks that failed, where the session went on.
        left_out: the blocks for which a module is missing, and which.
    """

    document: Document
    printed: list[tuple[Block, list[Printed]]] = field(default_factory=list)
    failures: list[tuple[Block, SnippetError]] = field(default_factory=list)
    left_out: list[tuple[Block, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.blocks = audit(self.document)
        self.position = 0
        name = "page_" + re.sub(r"\W", "_", self.document.name)
        self.module = types.ModuleType(name)
        # The file, with everything that is not code blanked out, is what inspect and tracebacks read.
        # A docstring gets a name of its own, or it would hide the source of its module.
        self.filename = str(self.document.path)
        if self.document.path.suffix != ".md":
            self.filename += "::" + self.document.name.partition("::")[2]
        self.lines = [""] * max((b.line + b.source.count("\n") for b in self.blocks), default=0)
        for block in self.blocks:
            source = block.source.splitlines()
            self.lines[block.line - 1 : block.line - 1 + len(source)] = source

    def execute(self, source: str) -> None:
        """Run the next block: the executor that is registered with mktestdocs."""
        block = self.blocks[self.position]
        self.position += 1
        self.run(block)

    def run(self, block: Block) -> None:
        """Run one block and compare what it prints.

        Raises:
            SnippetError: naming page and line, if it raises, prints something else, or should raise and does not.
        """
        if block.missing:
            self.left_out.append((block, block.missing))
            return
        name = self.document.name.partition("::")[0]
        wanted_error = block.mark("raises")
        printed: list[Printed] = []
        self.printed.append((block, printed))
        try:
            statements = _statements(block)
        except SyntaxError as error:
            line = block.line + (error.lineno or 1) - 1
            raise SnippetError(f"{name}:{line}", "SyntaxError", f"SyntaxError: {error.msg}") from error
        for statement, last, wanted, wanted_lines in statements:
            ast.increment_lineno(statement, block.line - 1)
            code = compile(ast.Module([statement], []), self.filename, "exec")
            stream = io.StringIO()
            try:
                with self._environment(), contextlib.redirect_stdout(stream):
                    exec(code, self.module.__dict__)
            except Exception as error:
                kind, line = type(error).__name__, self._line(error, block)
                if wanted_error is not None and statement is statements[-1][0]:
                    title, _, part = wanted_error.partition(":")
                    if any(c.__name__ == title.strip() for c in type(error).__mro__) and part.strip() in str(error):
                        return
                    message = f"the block should raise {wanted_error}; it raised {kind}: {error}"
                    raise SnippetError(f"{name}:{line}", "raises", message) from error
                kind = "assertion" if isinstance(error, AssertionError) else kind
                text = f"{type(error).__name__}: {error}\n    {self._source(line)}"
                raise SnippetError(f"{name}:{line}", kind, text) from error
            printed.append(Printed(last, wanted, stream.getvalue().splitlines(), wanted_lines))
        if wanted_error is not None:
            raise SnippetError(f"{name}:{block.line}", "raises", f"the block should raise {wanted_error}, and does not")
        for item in printed:
            problem = compare(item.wanted, item.got)
            if problem:
                line = block.line + item.line - 1
                raise SnippetError(f"{name}:{line}", "output", f"the printed output differs\n{problem}")

    def finish(self) -> None:
        """Make sure that every block was run.

        Raises:
            SnippetError: if mktestdocs ran another number of blocks than stand in the text.
        """
        if self.position != len(self.blocks):
            raise SnippetError(self.document.name, "spelling", f"{self.position} of {len(self.blocks)} blocks were run")

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        """Make the block's module and source known to pickle, inspect and traceback while it runs."""
        name = self.module.__name__
        lines = [line + "\n" for line in self.lines]
        sys.modules[name] = self.module
        # No modification time: linecache then never looks at the file itself.
        linecache.cache[self.filename] = (sum(map(len, lines)), None, lines, self.filename)
        try:
            yield
        finally:
            sys.modules.pop(name, None)

    def _line(self, error: BaseException, block: Block) -> int:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == self.filename]
        return next((f.lineno for f in reversed(frames) if f.lineno), block.line)

    def _source(self, line: int) -> str:
        return self.lines[line - 1].strip() if line <= len(self.lines) else ""


def _statements(block: Block) -> list[tuple[ast.stmt, int, list[str], list[int]]]:
    """Return the top-level statements of a block, each with its last line and the outputs written below it."""
    tree = ast.parse(block.source)
    lines = block.source.splitlines()
    inside = {n for s in tree.body for n in range(s.lineno, (s.end_lineno or s.lineno) + 1)}
    result: list[tuple[ast.stmt, int, list[str], list[int]]] = []
    ends = [s.end_lineno or s.lineno for s in tree.body] + [len(lines) + 1]
    for number, line in enumerate(lines, 1):
        if re.match(r"\s*# >", line):
            raise SyntaxError(
                "write an output as `#> text`; a formatter put a blank into this one", ("", number, 0, line)
            )
        if re.match(r"\s+#>", line) or (number in inside and re.match(r"#>", line)):
            raise SyntaxError("write the output below the statement, at the margin", ("", number, 0, line))
        if number not in inside and re.match(r"#>", line) and (not tree.body or number < ends[0]):
            raise SyntaxError("an output before the first statement", ("", number, 0, line))
    for statement, end, following in zip(
        tree.body, ends, [s.lineno for s in tree.body[1:]] + [len(lines) + 1], strict=False
    ):
        numbers = [n for n in range(end + 1, following) if OUTPUT.match(lines[n - 1])]
        wanted = [OUTPUT.match(lines[n - 1]).group(1) for n in numbers]  # type: ignore[union-attr]
        result.append((statement, end, wanted, numbers))
    return result


def compare(wanted: list[str], got: list[str]) -> str | None:
    """Return how the printed lines differ from the wanted ones, or None where they agree."""
    got = [line.rstrip() for line in got]
    for index, (w, g) in enumerate(zip(wanted, got, strict=False)):
        if not _line_agrees(w.rstrip(), g):
            return f"    line {index + 1}: the page says  {w}\n    line {index + 1}: it prints      {g}"
    if len(wanted) != len(got):
        return f"    the page says {len(wanted)} line(s), it prints {len(got)}: " + " | ".join(got[:4])
    return None


def _line_agrees(wanted: str, got: str) -> bool:
    tolerance = TOLERANCE.match(wanted)
    if not tolerance:
        return wanted == got
    text, kind, size = tolerance.group(1), tolerance.group(2), float(tolerance.group(3))
    if NUMBER.sub("#", text).split() != NUMBER.sub("#", got).split():
        return False
    for w, g in zip(NUMBER.findall(text), NUMBER.findall(got), strict=True):
        a, b = float(w), float(g)
        if a != a or b != b or abs(a) == float("inf") or abs(b) == float("inf"):
            if not (a == b or (a != a and b != b)):
                return False
        elif abs(a - b) > size * (abs(a) if kind == "rtol" else 1.0):
            return False
    return True


def check(document: Document) -> Session:
    """Run every block of a document through mktestdocs, in order, and check what each raises and prints.

    Args:
        document: the page or docstring.

    Returns:
        The finished session.

    Raises:
        SnippetError: naming page and line.
    """
    session = Session(document)
    mktestdocs.register_executor("python", session.execute)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Threads that a snippet leaves to finish are not its output.
        warnings.filterwarnings("ignore", category=ResourceWarning)
        mktestdocs.__main__.check_raw_string(document.text, lang="python")
    session.finish()
    return session


def check_claim(document: Document, label: str) -> Session:
    """Run the blocks of a page that check one result, and of the blocks above just the statements that they need.

    Args:
        document: the page.
        label: the result's label.

    Returns:
        The session, with the blocks that failed; it ends at the first.
    """
    from derivable_book.standalone import needs  # which reads blocks as this module finds them

    session = Session(document)
    numbers = [number for number, block in enumerate(session.blocks) if label in block.checks]
    every = needs(session.blocks)
    kept: dict[int, set[int]] = {}
    for above, first, last in (part for number in numbers for part in every[number]):
        kept.setdefault(above, set()).update(range(first, last + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ResourceWarning)
        for number, block in enumerate(session.blocks):
            part = block
            if number not in numbers:
                lines = enumerate(block.source.split("\n"), 1)
                part = replace(block, source="\n".join(t if n in kept.get(number, ()) else "" for n, t in lines))
            try:
                session.run(part)
            except SnippetError as error:
                session.failures.append((block, error))
                if number in numbers:
                    break
    return session


# ------------------------------------------------------------------------------------------ writing


def write(document: Document) -> int:
    """Run a document and rewrite the printed outputs in its file; return how many statements' outputs changed.

    An output with a tolerance that still holds is left as it stands.
    """
    session = Session(document)

    def execute(source: str) -> None:
        block = session.blocks[session.position]
        session.position += 1
        try:
            session.run(block)
        except SnippetError as error:
            if error.kind != "output":
                raise

    mktestdocs.register_executor("python", execute)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ResourceWarning)
        mktestdocs.__main__.check_raw_string(document.text, lang="python")
    lines = document.path.read_text(encoding="utf-8").splitlines()
    changed = 0
    for block, printed in reversed(session.printed):
        for item in reversed(printed):
            if compare(item.wanted, item.got) is None:
                continue
            changed += 1
            new = []
            for index, text in enumerate(item.got):
                old = item.wanted[index] if index < len(item.wanted) else ""
                tolerance = TOLERANCE.match(old)
                suffix = f"  [{tolerance.group(2)} {tolerance.group(3)}]" if tolerance else ""
                new.append(" " * block.indent + f"#> {text.rstrip()}{suffix}".rstrip())
            for number in reversed(item.wanted_lines):
                del lines[block.line - 1 + number - 1]
            lines[block.line - 1 + item.line : block.line - 1 + item.line] = new
    if changed:
        document.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Check (or with `--write` rewrite) the blocks of the files given, of the whole project by default."""
    parser = argparse.ArgumentParser(prog="python -m derivable_book.snippets", description=main.__doc__)
    parser.add_argument("files", nargs="*", help="pages or modules; all by default")
    parser.add_argument("--root", default=".", help="the project's root")
    parser.add_argument("--write", action="store_true", help="rewrite the printed outputs")
    parser.add_argument("--claim", help="report, as JSON, how the block that checks this result fared")
    chosen = parser.parse_args(arguments)
    root = Path(chosen.root).resolve()
    wanted = {Path(f).resolve() for f in chosen.files}
    found = [d for d in documents(root) if not wanted or d.path.resolve() in wanted]
    if wanted - {d.path.resolve() for d in found}:
        parser.error(
            f"no such page or module with blocks: {sorted(map(str, wanted - {d.path.resolve() for d in found}))}"
        )
    sys.path.insert(0, str(root / "docs"))
    status = 0
    for document in found:
        if chosen.claim:
            session = check_claim(document, chosen.claim)
            report = [
                {"kind": error.kind, "where": error.where, "message": str(error)}
                for block, error in session.failures
                if chosen.claim in block.checks
            ]
            print(json.dumps(report))
            continue
        try:
            if chosen.write:
                # A module has several docstrings: lines move, so each is read again from the file.
                changed = sum(write(d) for d in _again(root, document))
                if changed:
                    print(f"{document}: {changed} output(s) rewritten")
            else:
                session = check(document)
                print(f"{document}: ok")
                for block, missing in session.left_out:
                    print(f"{document}:{block.line}: left out, {', '.join(missing)} is not installed")
        except SnippetError as error:
            print(error, file=sys.stderr)
            status = 1
    return status


def _again(root: Path, document: Document) -> list[Document]:
    return [d for d in documents(root) if d.name == document.name]


if __name__ == "__main__":
    # `python -m` runs this file as __main__: errors must be the importable module's class.
    from derivable_book import snippets

    sys.exit(snippets.main())
