"""What each part of the package may know of the others."""

import ast
from pathlib import Path

import pytest

from georep_utils.io import REPOSITORY
from georep_utils.workflow.runs import read_notebook

PACKAGE = REPOSITORY / "georep_utils"
COMMON = {"io", "measurements", "parallel", "precision"}
MAY_IMPORT = {
    "io": set(),
    "measurements": {"io"},
    "parallel": {"io"},
    "precision": {"io"},
    "figures": set(),
    "explorers": {"io"},
    "extraction": {"io", "precision"},
    "clouds": COMMON | {"extraction", "geometry"},
    "places": COMMON | {"clouds", "extraction"},
    "cost": COMMON | {"data", "models", "geometry", "extraction", "clouds"},
    "cost_table": {"io", "cost"},
    "new_run": {"io", "data", "models"},
    "data": COMMON | {"data"},
    "models": COMMON | {"models"},
    "geometry": COMMON | {"geometry"},
    "paper": {"io", "geometry", "paper"},
    "workflow": {"io", "workflow"},
}


def parts_imported(file: Path) -> set[str]:
    """The parts of the package that a file imports, wherever the import stands."""
    parts = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("georep_utils."):
                parts.add(name.split(".")[1])
    return parts


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if not file.name.startswith("__")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_part_may_know(file):
    assert parts_imported(file) <= MAY_IMPORT[part_of(file)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_file_offers_what_another_defines(file):
    assert "__all__" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("notebook", sorted((REPOSITORY / "notebooks").glob("*.py")))
def test_a_notebook_does_not_know_how_notebooks_are_run(notebook):
    code = ast.parse(notebook.read_text(encoding="utf-8"))
    assert code and "workflow" not in parts_imported(notebook)


@pytest.mark.parametrize("said", ["after", "reads"])
def test_headers_name_notebooks_that_there_are(said):
    known = {file.stem for file in (REPOSITORY / "notebooks").glob("*.py")}
    headers = [read_notebook(name).metadata.get("georep", {}) for name in known]
    named = {name for header in headers for name in header.get(said, [])}
    assert named and named <= known
