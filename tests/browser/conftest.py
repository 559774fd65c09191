"""The site, built once for the whole run and served on this machine, and one Chromium for each worker."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from derivable_book.pages import configuration

ROOT = Path(__file__).resolve().parents[2]
LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]  # desktop and phone
PALETTES = {"light": "default", "dark": "slate"}
PREFIX = "derivable"  # the site lives in a folder of its host, as on GitHub's pages


def build(target):
    """Build the site strictly; show what mkdocs says if it fails."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT / "src"), *sys.path]))
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    return run.returncode, run.stdout + run.stderr


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id):
    """The folder of the built site. Workers of one run share it: the first builds, the others wait.

    $DERIVABLE_SITE names one that is already built, from these very files, in a folder called derivable.
    """
    if os.environ.get("DERIVABLE_SITE"):
        return Path(os.environ["DERIVABLE_SITE"])
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent
    folder, log = base / "site" / PREFIX, base / "site.log"
    try:
        (base / "site").mkdir()
    except FileExistsError:
        for _ in range(6000):
            if log.exists():
                break
            time.sleep(0.1)
    else:
        code, said = build(folder)
        part = log.with_suffix(".part")
        part.write_text(f"{code}\n{said}", encoding="utf-8")
        part.rename(log)
    code, said = log.read_text(encoding="utf-8").split("\n", 1)
    assert code == "0", f"mkdocs build --strict failed:\n{said}"
    return folder


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        """Serve a file; let the sitemap name this server, as `mkdocs serve` does."""
        if not self.path.endswith("/sitemap.xml"):
            return super().do_GET()
        here = f"http://127.0.0.1:{self.server.server_port}/{PREFIX}/"
        text = Path(self.translate_path(self.path)).read_text(encoding="utf-8")
        body = text.replace(configuration()["site_url"], here).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served: http://127.0.0.1:PORT/derivable/."""
    handler = functools.partial(_Quiet, directory=str(site.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{PREFIX}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="could not import 'playwright'")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("needs chromium (in PATH, or named by $CHROMIUM)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe():
    """The script of axe, which knows the rules of accessibility."""
    package = pytest.importorskip("axe_playwright_python", reason="could not import 'axe_playwright_python'")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


class Visit:
    """A tab that refuses every foreign host and remembers what went wrong."""

    def __init__(self, browser, address, width, scheme):
        self.address = address
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        # A limit for what never comes, not for what comes late: one busy core takes half a minute for the whole book.
        self.context.set_default_timeout(120_000)
        self.trouble = []
        self.fetched = []
        self.context.route("**/*", self._route)
        self.page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.trouble.append(f"script error: {error}"))
        self.page.on("response", self._response)

    def _route(self, route):
        if route.request.url.startswith((self.address, "data:", "blob:")):
            route.continue_()
        elif route.request.url.endswith("/favicon.ico"):
            route.fulfill(status=204)
        else:
            self.trouble.append(f"foreign request: {route.request.url}")
            route.abort()

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.trouble.append(f"console {message.type}: {message.text}")

    def _response(self, response):
        if response.url.startswith(self.address):
            self.fetched.append(response.url.removeprefix(self.address).partition("?")[0])
        if response.status >= 400:
            self.trouble.append(f"{response.status}: {response.url}")

    def open(self, path=""):
        self.page.goto(self.address + path)
        self.settle()

    def prefer(self, scheme):
        """Let the reader, with the page open, choose the other colours in the settings of the system."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.wait_for_function(
            "name => document.body.getAttribute('data-md-color-scheme') === name", arg=PALETTES[scheme]
        )

    def settle(self):
        self.page.evaluate("document.fonts.ready.then(() => true)")

    def close(self):
        self.context.close()


@pytest.fixture
def visit(chromium, address):
    """Open tabs: `visit(width, scheme)`."""
    opened = []

    def new(width=1280, scheme="light"):
        opened.append(Visit(chromium, address, width, scheme))
        return opened[-1]

    yield new
    for tab in opened:
        tab.close()
