"""The whole book as one PDF: all pages on one page of html, which Chromium prints.

No LaTeX is needed, and figures stay vector graphics. The html is made by Jupyter Book's
`singlehtml` from the same sources as the pages.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

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
        whole = build / "next/output/_build/singlehtml/book/index.html"
        target = build / "book.pdf"
        _print(browser, whole, target)
        shutil.rmtree(build / "next")
    return target


def _print(browser: str, page: Path, target: Path) -> None:
    with io.atomic(target) as temporary, tempfile.TemporaryDirectory() as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}"]
        command += [f"--print-to-pdf={temporary}", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
        if done.returncode or not temporary.is_file():
            last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise RuntimeError(f"{Path(browser).name} printed no PDF; it said: {last}")
