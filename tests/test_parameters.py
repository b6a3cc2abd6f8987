"""Every parameter that a chapter declares is read by its code."""

import ast
from functools import cache

import jupytext
import pytest

from georep_utils.io import REPOSITORY
from georep_utils.workflow import runs


@cache
def names_read(notebook: str) -> set[str]:
    """The names that a notebook reads, outside the cell that declares parameters.

    The name of the run is read, too, where labels and captions hold it as {{run}}.
    """
    cells = jupytext.read(runs.notebook_file(notebook)).cells
    found = set()
    if "{{run}}" in runs.notebook_file(notebook).read_text(encoding="utf-8"):
        found.add("run")
    for cell in cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    found.add(node.id)
    return found


@pytest.mark.parametrize(
    "notebook", sorted(path.stem for path in (REPOSITORY / "notebooks").glob("[0-9]*.py"))
)
def test_every_parameter_that_a_chapter_declares_is_read_by_its_code(notebook):
    declared = set(runs.declared_parameters(notebook))
    assert declared - names_read(notebook) == set()
