"""Run files: what each notebook of a run is given, checked against what the notebook declares.

A run is a YAML file: a title, a list of notebooks, parameters that several of them share, and a
section for each notebook's own. A notebook declares its parameters in the cell tagged `parameters`,
one a line:

    pool = "mean"  # one of mean, last | How a sample's tokens become one point.

The default tells the type. What stands before the bar is a constraint (`one of ..`, `at least X`,
`between X and Y`), and what follows is said to readers. All of it is checked when a run file is
read, before any kernel starts.

Three kinds of run files are found by name: those in `notebooks/runs/`, those elsewhere that were
run once by their path, and variants: a run with some parameters changed, beside the run itself.
"""

from __future__ import annotations

import ast
import copy
import difflib
import io as text_io
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jupytext
import yaml

from georep_utils import io
from georep_utils.io import REPOSITORY, RunPaths, UserError, safe_name

PIPELINE = [
    "01_download",
    "02_extract",
    "03_distances",
    "04_intrinsic_dimension",
    "05_overlaps",
]
MAX_FILE = 2**20  # bytes of a run file; a longer one is something else
MAX_NODES = 20_000  # values in a run file with its aliases written out


def notebook_file(notebook: str) -> Path:
    """The source of a notebook."""
    return REPOSITORY / "notebooks" / f"{notebook}.py"


# -------------------------------------------------------------------------------- finding run files


def run_files() -> dict[str, Path]:
    """Every run file by the name of its run: of the repository, of elsewhere, and of variants."""
    found = repository_run_files()
    for folder in sorted((io.root() / "data/runs").glob("*")):
        registered = io.read_object(folder / "run.json").get("path")
        if isinstance(registered, str) and Path(registered).is_file():
            found.setdefault(folder.name, Path(registered))
        elif (folder / "run.yml").is_file():
            found.setdefault(folder.name, folder / "run.yml")
    return found


def repository_run_files() -> dict[str, Path]:
    """The run files of the repository by the names of their runs."""
    return {path.stem: path for path in sorted((REPOSITORY / "notebooks/runs").glob("*.yml"))}


def new_file(name: str) -> Path:
    """Where a run file goes that is written for its user: among the others of the repository.

    Where results are kept elsewhere (GEOREP_ROOT), it is kept with them.
    """
    if io.root() == REPOSITORY:
        return REPOSITORY / "notebooks/runs" / f"{name}.yml"
    return RunPaths(name).work / "run.yml"


def register(run: Mapping) -> None:
    """Let a run file that lies elsewhere be found by the name of its run.

    Raises
    ------
    UserError
        If another run file has that name.
    """
    known = run_files().get(run["name"])
    if known is None:
        io.write_json(RunPaths(run["name"]).work / "run.json", {"path": str(run["file"])})
    elif known.resolve() != Path(run["file"]):
        raise UserError(
            f"{run['file']} is called {run['name']}, as is {known}; give one another name"
        )


def variant_of(run: Mapping, variant: str, overrides: Mapping) -> dict:
    """Write the run file of a variant of `run`, with parameters changed, and read it.

    The variant has a name, tables and pages of its own: igpt-mini as "last" is igpt-mini--last.
    """
    name = f"{run['name']}--{safe_name(variant, 'variant')}"
    parameters_of(run, overrides)
    content = {key: copy.deepcopy(value) for key, value in run.items() if key != "file"}
    content["name"] = name
    content["title"] = f"{run['title']}: {variant}"
    for key, value in overrides.items():
        section, _, parameter = key.rpartition(".")
        content.setdefault(section or "shared", {})
        content[section or "shared"] = (content[section or "shared"] or {}) | {parameter: value}
    file = RunPaths(name).work / "run.yml"
    with io.atomic(file) as temporary:
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")
    return read_run(file)


# -------------------------------------------------------------------------------- reading run files


class _Loader(yaml.SafeLoader):
    """YAML without repeated keys, of which the last would win without a word."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if isinstance(name, (str, int, float)) and name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} stands twice", key.start_mark
                )
            if isinstance(name, (str, int, float)):
                seen.add(name)
        return super().construct_mapping(node, deep)


def _n_nodes(node: yaml.Node, counted: dict) -> int:
    """How many values a YAML tree has when its aliases are written out."""
    if id(node) not in counted:
        counted[id(node)] = MAX_NODES  # stands for a tree that contains itself
        inner: list = []
        if isinstance(node, yaml.SequenceNode):
            inner = node.value
        elif isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        counted[id(node)] = 1 + sum(_n_nodes(part, counted) for part in inner)
    return counted[id(node)]


def load_yaml(text: str, where: str):
    """The value of some YAML; UserError, naming `where`, for anything that is not plain YAML."""
    return copy.deepcopy(_load_yaml(text, where))


@lru_cache(maxsize=256)  # a command reads the run files several times
def _load_yaml(text: str, where: str):
    try:
        tree = yaml.compose(text, Loader=_Loader)
        if tree is not None and _n_nodes(tree, {}) >= MAX_NODES:
            raise UserError(f"{where} has too many values; expected a short list of parameters")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"{where} is not YAML ({reason}); correct it") from None


def read_run(run: str | Path) -> dict:
    """A run file, by the name of its run or by its path.

    Returns
    -------
    dict
        file, name, title, notebooks, shared, and a section for each notebook that has one.

    Raises
    ------
    UserError
        If there is none, or it can't be used.
    """
    path = run_files().get(str(run))
    if str(run).endswith((".yml", ".yaml")):
        path = Path(run).expanduser()
    if path is None or not path.is_file():
        raise UserError(_no_such_run(str(run)))
    content = load_yaml(_text_of(path), str(path))
    if not isinstance(content, dict):
        raise UserError(
            f"{path} is empty or holds no sections; start from a copy of "
            "notebooks/runs/igpt-mini.yml"
        )
    default_name = path.parent.name if path.name == "run.yml" else path.stem
    default = {"name": default_name, "title": default_name, "notebooks": PIPELINE, "shared": {}}
    content = default | content
    safe_name(content["name"], f"{path}: name")
    names = content["notebooks"]
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not listed or not names or len(set(names)) < len(names):
        raise UserError(
            f"{path}: notebooks is {names!r}; expected a list of different names, such as "
            f"[{', '.join(PIPELINE[:2])}]"
        )
    for name in names:
        safe_name(name, f"{path}: notebook")
    content["title"] = str(content["title"])
    return content | {"file": path.resolve()}


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE:
            raise UserError(f"{path} is larger than {MAX_FILE} bytes; expected a run file")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8; save it in that encoding") from None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); check its permissions") from None


def _no_such_run(name: str) -> str:
    known = run_files()
    close = difflib.get_close_matches(name, known, 1)
    hint = f"there are {', '.join(known)}"
    if close:
        hint = f"did you mean {close[0]}?"
    return f"no run named {name}: expected notebooks/runs/{name}.yml; {hint}"


# --------------------------------------------------------------------------- declared parameters


@dataclass(frozen=True)
class Parameter:
    """What a notebook declares of one parameter."""

    name: str
    default: object
    meaning: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None

    def fault(self, value) -> str:
        """What is wrong with `value`, as the end of a sentence; "" where nothing is."""
        if not _has_type_of(value, self.default):
            return f"expected {type(self.default).__name__}, like {self.default!r}"
        for item in value if isinstance(value, list) else [value]:
            if self.choices and item is not None and str(item) not in self.choices:
                return f"expected one of {', '.join(self.choices)}"
            if isinstance(item, (int, float)) and not isinstance(item, bool):
                if self.least is not None and not item >= self.least:
                    return f"expected at least {self.least:g}"
                if self.most is not None and not item <= self.most:
                    return f"expected at most {self.most:g}"
        return ""


def _has_type_of(value, default) -> bool:
    """Whether `value` may stand where the notebook has `default`.

    It has the same type; a whole number may stand for a real one, and null for anything but text.
    """
    if default is None:
        return True
    if value is None:
        return not isinstance(default, str)
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def read_notebook(notebook: str):
    """The cells and the header of a notebook, to be looked at and not to be changed."""
    file = notebook_file(notebook)
    state = file.stat()
    return _read_notebook(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)
def _read_notebook(file: Path, *_state: int):
    """As `read_notebook`: read once for each state of the file."""
    return jupytext.read(file)


def parameters_cell(notebook: str) -> str:
    """The source of the cell tagged `parameters`."""
    cells = read_notebook(notebook).cells
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    return tagged[0] if tagged else ""


def declared_parameters(notebook: str) -> dict[str, Parameter]:
    """The parameters that a notebook declares, in their order."""
    return dict(_declared_parameters(notebook, notebook_file(notebook).stat().st_mtime_ns))


@lru_cache(maxsize=256)
def _declared_parameters(notebook: str, changed: int) -> dict[str, Parameter]:
    """As `declared_parameters`; `changed` is the time of the file's last change."""
    source = parameters_cell(notebook)
    comments = {}
    for token in tokenize.generate_tokens(text_io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.removeprefix("#").strip()
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            name = node.targets[0].id
            default = ast.literal_eval(node.value)
            comment = comments.get(node.end_lineno, "")
            found[name] = _parameter(name, default, comment)
    return found


def _parameter(name: str, default, comment: str) -> Parameter:
    constraint, bar, meaning = comment.partition("|")
    if not bar:
        return Parameter(name, default, comment)
    constraint = constraint.strip()
    choices: tuple[str, ...] = ()
    if constraint.startswith("one of "):
        listed = constraint.removeprefix("one of ").split(",")
        choices = tuple(word.strip() for word in listed)
    at_least = re.search(r"(?:at least|between) (-?[\d.]+)", constraint)
    at_most = re.search(r"(?:at most|and) (-?[\d.]+)", constraint)
    return Parameter(
        name,
        default,
        meaning.strip(),
        choices,
        float(at_least[1]) if at_least else None,
        float(at_most[1]) if at_most else None,
    )


# ------------------------------------------------------------------------- what notebooks are given


def parameters_of(run: Mapping, overrides: Mapping | None = None) -> dict[str, dict]:
    """What each notebook of a run is given.

    Parameters
    ----------
    run : what `read_run` returns.
    overrides : {"extract.pool": "last", "n_per_class": 100}; a name without a section is shared.

    Raises
    ------
    UserError
        For a section, a parameter, a type or a value that no notebook declares.
    """
    sections = {notebook.partition("_")[2]: notebook for notebook in run["notebooks"]}
    missing = [notebook for notebook in run["notebooks"] if not notebook_file(notebook).is_file()]
    if missing:
        raise UserError(
            f"run {run['name']}: there is no notebooks/{missing[0]}.py; correct the list of "
            "notebooks"
        )
    values = _sections_with_overrides(run, sections, overrides or {})
    declared = {notebook: declared_parameters(notebook) for notebook in run["notebooks"]}
    _check_shared(run["name"], values["shared"], declared)
    given = {}
    for section, notebook in sections.items():
        known = declared[notebook]
        shared = {name: value for name, value in values["shared"].items() if name in known}
        own = shared | values[section]
        for name, value in own.items():
            _check_parameter(f"run {run['name']}: {section}.{name}", name, value, known)
        named = {"run": run["name"]} if "run" in known else {}
        given[notebook] = named | own
    return given


def all_parameters(run: Mapping, overrides: Mapping | None = None) -> dict[str, dict]:
    """As `parameters_of`, with the defaults of what is not given."""
    given = parameters_of(run, overrides)
    complete = {}
    for notebook, values in given.items():
        declared = declared_parameters(notebook)
        defaults = {name: parameter.default for name, parameter in declared.items()}
        complete[notebook] = defaults | values
    return complete


def _sections_with_overrides(run: Mapping, sections: Mapping, overrides: Mapping) -> dict:
    """The sections of a run file, each a dict, with the overrides put in."""
    unknown = set(run) - {"file", "name", "title", "notebooks", "shared", *sections}
    expected = f"shared, {', '.join(sections)}"
    if unknown:
        raise UserError(
            f"run {run['name']}: unknown section {min(map(str, unknown))}; expected {expected}"
        )
    values = {}
    for section in ("shared", *sections):
        content = copy.deepcopy(run.get(section)) or {}
        if not isinstance(content, dict):
            raise UserError(
                f"run {run['name']}: section {section} is {content!r}; expected lines of "
                "NAME: VALUE"
            )
        values[section] = content
    for key, value in overrides.items():
        section, _, name = key.rpartition(".")
        section = section or "shared"
        if section not in values:
            raise UserError(
                f"parameter {key}: run {run['name']} has no section {section}; it has {expected}"
            )
        values[section][name] = value
    return values


def _check_parameter(where: str, name: str, value, known: Mapping[str, Parameter]) -> None:
    if name == "run":
        raise UserError(
            f"{where} can't be set: a run has the name of its file; copy the file, or make a "
            "variant with --as"
        )
    if name not in known:
        close = difflib.get_close_matches(str(name), known, 1)
        hint = f"it has {', '.join(known)}"
        if close:
            hint = f"did you mean {close[0]}?"
        raise UserError(f"{where} is not a parameter; {hint}")
    fault = known[name].fault(value)
    if fault:
        raise UserError(f"{where} is {value!r}; {fault}")


def _check_shared(run: str, shared: Mapping, declared: Mapping[str, Mapping]) -> None:
    every = sorted(set().union(*declared.values()))
    for name in shared:
        if name not in every:
            close = difflib.get_close_matches(str(name), every, 1)
            hint = f"did you mean {close[0]}?" if close else "remove it"
            raise UserError(f"run {run}: no notebook has a parameter {name}; {hint}")
