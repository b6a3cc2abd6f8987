"""Executed pages that can be opened by themselves, on Binder or Colab.

`python -m georep_utils.workflow.launch` puts a cell in front of every page below `book/runs`. Where
the page was opened alone, as on Colab, the cell brings the repository; everywhere it makes the
root of the repository the working folder, as `run` does. The branch that the launch buttons open is
made so (.github/workflows/pages.yml).
"""

from __future__ import annotations

import nbformat

from georep_utils import io
from georep_utils.workflow import pages

TAG = "launch"
CELL = """\
# Opened by itself, this page brings its repository, and works in it. Chapters read the arrays of
# those before them: run these first, or once !python -m georep_utils run {run}
import os, sys
from pathlib import Path

def root():
    here = [Path.cwd(), *Path.cwd().parents]
    return next((folder for folder in here if (folder / "georep_utils").is_dir()), None)

if root() is None:
    !git clone --quiet --branch {branch} {address} georep
    !pip install --quiet -r georep/requirements.txt
    os.chdir("georep")
os.chdir(root())
sys.path.insert(0, str(root()))
"""


def launchable(notebook, run: str, address: str):
    """An executed page with the cell in front that makes it work anywhere; once, however often."""
    cells = [cell for cell in notebook.cells if TAG not in cell.metadata.get("tags", [])]
    source = CELL.format(run=run, branch=pages.LAUNCHED, address=address)
    first = nbformat.v4.new_code_cell(source, id=TAG, metadata={"tags": [TAG]})
    notebook.cells = [first, *cells]
    return notebook


def main() -> None:
    """Make every page of the runs launchable, in its place."""
    address = pages.repository()
    for page in sorted((io.root() / "book/runs").glob("*/*.ipynb")):
        notebook = nbformat.read(page, 4)
        nbformat.write(launchable(notebook, page.parent.name, address), page)


if __name__ == "__main__":
    main()
