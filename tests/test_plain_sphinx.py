"""The book without Jupyter Book's own command: plain Sphinx, and one page that is printed.

Both need the pages of `make book`; the second needs Chromium, too.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from georep_utils import __main__ as commands
from georep_utils.io import REPOSITORY
from georep_utils.workflow import pages

pytestmark = pytest.mark.book
HTML = REPOSITORY / "_build/html"


def html_pages(folder):
    return {str(path.relative_to(folder)) for path in folder.glob("book/**/*.html")}


def test_plain_sphinx_builds_the_same_pages_from_the_exported_configuration(tmp_path):
    assert (HTML / "index.html").is_file(), "there is no built book; run make book first"
    source = tmp_path / "source"
    made = {"cost-table": pages.markdown_table(commands._cost_rows())}
    pages.stage(pages.table_of_contents(), source, made)
    program = str(Path(sys.executable).with_name("jupyter-book"))
    subprocess.run([program, "config", "sphinx", str(source)], check=True, cwd=tmp_path)
    assert (source / "conf.py").is_file()
    plain = tmp_path / "plain"
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, str(source), str(plain)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert html_pages(plain) == html_pages(HTML)


def test_the_whole_book_is_printed_as_one_pdf(capsys):
    assert commands.main(["book", "--pdf"]) == 0
    assert "wrote _build/book.pdf" in capsys.readouterr().out
    content = (REPOSITORY / "_build/book.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) > 20
