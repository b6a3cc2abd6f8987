"""Run files: what each notebook of a run is given, checked against what the notebook declares."""

from __future__ import annotations

import ast
import copy
import difflib
from collections.abc import Mapping
from pathlib import Path

import jupytext
import yaml

from georep_utils.io import REPOSITORY, UserError, safe_name

PIPELINE = ["01_download", "02_extract", "03_distances", "04_intrinsic_dimension", "05_overlaps"]


def notebook_file(notebook: str) -> Path:
    return REPOSITORY / "notebooks" / f"{notebook}.py"


def run_files() -> dict[str, Path]:
    """Every run file by the name of its run."""
    return {path.stem: path for path in sorted((REPOSITORY / "notebooks/runs").glob("*.yml"))}


def declared_parameters(notebook: str) -> dict:
    """Names and default values in the cell tagged `parameters` of a notebook."""
    cells = jupytext.read(notebook_file(notebook)).cells
    source = next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(source).body}


def fits(value, default) -> bool:
    """Whether `value` may stand where the notebook has `default`: same type, a whole number for a real one, anything for None."""
    if default is None or value is None:
        return default is None or value is None and isinstance(default, str) is False
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def read_run(run: str | Path) -> dict:
    """A run file (a name, or a path to a .yml) as {name, title, notebooks, shared, one section a notebook}."""
    path = Path(run) if str(run).endswith((".yml", ".yaml")) else run_files().get(str(run))
    if path is None or not path.is_file():
        close = difflib.get_close_matches(str(run), run_files(), 1)
        hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(run_files())}"
        raise UserError(f"no run named {run}: expected notebooks/runs/{run}.yml{hint}")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML ({' '.join(str(error).split())}); correct it") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is empty or holds no sections; start from a copy of notebooks/runs/igpt-mini.yml")
    content = {"name": path.stem, "title": path.stem, "notebooks": PIPELINE, "shared": {}} | content
    safe_name(content["name"], f"{path}: name")
    return content


def parameters_of(run: Mapping, overrides: Mapping | None = None) -> dict[str, dict]:
    """What each notebook of the run is given. UserError for a section, a parameter or a type that no notebook declares."""
    run = copy.deepcopy(dict(run))
    sections = {notebook.partition("_")[2]: notebook for notebook in run["notebooks"]}
    for section in ("shared", *sections):
        run[section] = run.get(section) or {}
        if not isinstance(run[section], dict):
            raise UserError(f"run {run['name']}: section {section} is {run[section]!r}; expected lines of NAME: VALUE")
    for key, value in (overrides or {}).items():
        section, _, name = key.rpartition(".")
        if section not in ("", "shared", *sections):
            raise UserError(
                f"parameter {key}: run {run['name']} has no section {section}; it has shared, {', '.join(sections)}"
            )
        run[section or "shared"][name] = value
    if unknown := set(run) - {"name", "title", "notebooks", "shared", *sections}:
        raise UserError(f"run {run['name']}: unknown section {min(unknown)}; expected shared, {', '.join(sections)}")
    missing = [notebook for notebook in run["notebooks"] if not notebook_file(notebook).is_file()]
    if missing:
        raise UserError(f"run {run['name']}: there is no notebooks/{missing[0]}.py; correct the list of notebooks")
    declared = {notebook: declared_parameters(notebook) for notebook in run["notebooks"]}
    given = {}
    for section, notebook in sections.items():
        known = declared[notebook]
        own = {name: value for name, value in run["shared"].items() if name in known} | run[section]
        for name, value in own.items():
            where = f"run {run['name']}: {section}.{name}"
            if name == "run":
                raise UserError(f"{where} can't be set: a run has the name of its file; copy the file to make another")
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                raise UserError(
                    f"{where} is not a parameter; {f'did you mean {close[0]}?' if close else 'it has ' + ', '.join(known)}"
                )
            if not fits(value, known[name]):
                raise UserError(f"{where} is {value!r}; expected {type(known[name]).__name__}, like {known[name]!r}")
        given[notebook] = ({"run": run["name"]} if "run" in known else {}) | own
    for name in run["shared"]:
        if not any(name in known for known in declared.values()):
            close = difflib.get_close_matches(name, sorted(set().union(*declared.values())), 1)
            raise UserError(
                f"run {run['name']}: no notebook has a parameter {name}{f'; did you mean {close[0]}?' if close else '; remove it'}"
            )
    return given
