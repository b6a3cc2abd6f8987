"""The whole book as one PDF: all pages on one page of html, which Chromium prints.

No LaTeX is needed, and figures stay vector graphics. The html is made by Jupyter Book's
`singlehtml` from the same sources as the pages.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from georep_utils import io
from georep_utils.io import REPOSITORY, UserError
from georep_utils.workflow import pages

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-pdf-header-footer",
    # The clock of the page runs ahead until nothing is left to do: mathematics is set by then.
    "--virtual-time-budget=120000",
]
# What a page loads from beside itself: no address, and without a digest behind it.
LOADED = re.compile(r'(?:src|href)="(_(?:static|images)/[^"?#]+)')
LONGEST = 900  # seconds that the browser may take


def build_pdf(made: Mapping[str, str] | None = None) -> Path:
    """Print the book; the file.

    Parameters
    ----------
    made
        As for `pages.build_html`.

    Raises
    ------
    UserError
        Without a browser that prints.
    RuntimeError
        For any warning of the build, and where the browser makes no file.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise UserError(
            f"no browser that prints: looked for {', '.join(BROWSERS)}; install one (Debian: "
            "apt-get install chromium)"
        )
    build = REPOSITORY / "_build"
    with io.lock(build / ".lock", "building the book"):
        source = build / "next" / "source"
        shutil.rmtree(build / "next", ignore_errors=True)
        pages.stage(pages.table_of_contents(), source, made or {})
        pages.run_jupyter_book(source, build, "singlehtml")
        made_there = build / "next/output/_build/singlehtml"
        # Sphinx writes its links as if the page stood beside _static and _images.
        whole = (made_there / "book/index.html").rename(made_there / "whole.html")
        _require_files_of(whole)
        target = build / "book.pdf"
        _print(browser, whole, target)
        shutil.rmtree(build / "next")
    return target


def _require_files_of(page: Path) -> None:
    """RuntimeError if pictures, styles or scripts that a page loads are not where it looks."""
    loaded = LOADED.findall(page.read_text(encoding="utf-8"))
    missing = [link for link in loaded if not (page.parent / unquote(link)).is_file()]
    if missing:
        raise RuntimeError(f"the page to print asks for {missing[0]}, which is not there")


def _print(browser: str, page: Path, target: Path) -> None:
    with io.atomic(target) as temporary, tempfile.TemporaryDirectory() as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}"]
        command += [f"--print-to-pdf={temporary}", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
        if done.returncode or not temporary.is_file():
            last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise RuntimeError(f"{Path(browser).name} printed no PDF; it said: {last}")
