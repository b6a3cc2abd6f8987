"""Executed notebooks as pages of the book, and the strict build of its html. No science here."""

from __future__ import annotations

import ast
import json
import pprint
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import jupytext
import nbformat
import yaml

from georep_utils.io import REPOSITORY, atomic, digest, read_json, write_json

WIDTH = 88
SHOWN = "book/runs/training/"
BUILT_WITH = ["jupyter-book", "sphinx", "myst-nb", "sphinx-book-theme", "pydata-sphinx-theme", "sphinxcontrib-bibtex"]


def assignment(name: str, value: str) -> str:
    """`name = value`, on several lines where one is too long for the page."""
    line = f"{name} = {value}"
    return (
        line
        if len(line) <= WIDTH
        else f"{name} = {pprint.pformat(ast.literal_eval(value), width=WIDTH - 8, sort_dicts=False)}"
    )


def as_page(notebook, run: str):
    """A notebook as a page of the book: one parameters cell with the values used, labels named after the run."""
    values = [cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    notebook.cells = [cell for cell in notebook.cells if cell not in values]
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []) and values:
            used = {node.targets[0].id: ast.unparse(node.value) for node in ast.parse(values[0].source).body}
            declared = {node.targets[0].id: ast.unparse(node.value) for node in ast.parse(cell.source).body}
            cell.source = "\n".join(assignment(name, used.get(name, value)) for name, value in declared.items())
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("{{run}}", run)
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "mystnb" in cell.metadata:
            cell.metadata["mystnb"] = json.loads(json.dumps(cell.metadata["mystnb"]).replace("{{run}}", run))
    notebook.metadata.pop("papermill", None)
    return notebook


def show(entry: str) -> None:
    """Write the page of a notebook that is shown but not run for the book, such as book/runs/training/00_train_mini_igpt."""
    folder, name = (REPOSITORY / entry).parent, Path(entry).name
    with atomic(folder / f"{name}.ipynb") as temporary:
        notebook = jupytext.read(REPOSITORY / "notebooks" / f"{name}.py")
        notebook.metadata.setdefault("language_info", {"name": "python"})
        for number, cell in enumerate(notebook.cells):
            cell["id"] = f"cell-{number}"
        nbformat.write(as_page(notebook, folder.name), temporary)


def book_key(toc: Mapping) -> str:
    """What the html depends on: the table of contents, the configuration, all sources and executed pages, the builders."""
    files = [REPOSITORY / "_config.yml"]
    for folder, pattern in (("book", "*"), ("notebooks", "*.*"), ("georep_utils", "*.py")):
        files += sorted(path for path in (REPOSITORY / folder).rglob(pattern) if path.is_file())
    named = [
        part for path in files if "__pycache__" not in path.parts for part in (str(path.relative_to(REPOSITORY)), path)
    ]
    return digest(toc, {name: version(name) for name in BUILT_WITH}, *named)


def build_html(toc: Mapping) -> Path:
    """Build the html strictly, unless the last good build had the same inputs; the folder it is in.

    The html of an earlier good build stays until a new one is whole. RuntimeError for any warning or error.
    """
    build = REPOSITORY / "_build"
    html, built, following = build / "html", build / "built.json", build / "next"
    entries = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    key = book_key(toc)
    if read_json(built, {}).get("key") == key and all((html / f"{entry}.html").is_file() for entry in entries):
        print("the book is up to date", flush=True)
        return html
    shutil.rmtree(following, ignore_errors=True)
    following.mkdir(parents=True)
    (following / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(REPOSITORY), "--toc", str(following / "_toc.yml"),
               "--path-output", str(following), "--all", "-n", "-W", "--keep-going"]  # fmt: skip
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          cwd=REPOSITORY, check=False)  # fmt: skip
    (build / "build.log").write_text(done.stdout)
    wrong = [line for line in done.stdout.splitlines() if "WARNING" in line or "ERROR" in line]
    if done.returncode or wrong:
        print("\n".join(wrong or done.stdout.splitlines()[-15:]), file=sys.stderr)
        raise RuntimeError(
            f"the book was not built: {len(wrong)} warnings or errors; all output is in _build/build.log"
        )
    built.unlink(missing_ok=True)
    shutil.rmtree(html, ignore_errors=True)
    (following / "_build/html").replace(html)
    shutil.rmtree(following)
    write_json(built, {"key": key})
    return html
