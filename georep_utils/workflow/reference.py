"""The reference of parameters and options, written from what notebooks and code declare.

Three lists are made when the book is built, so that none of them can fall behind:

- the parameters of every chapter, from the cell tagged `parameters`, with what changing one of them
  computes again;
- the options of models, from the dataclasses `Options` of the two model families;
- the options of data sets, from the keyword arguments of the loaders.

The code is read and not imported: the book must not wait for PyTorch. What an option means is said
in the docstring of its class or function, in the form of numpydoc; an option without a meaning
stops the build.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path

from georep_utils.io import REPOSITORY, UserError
from georep_utils.workflow.runs import (
    Parameter,
    declared_parameters,
    notebook_file,
    read_notebook,
)

TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "list": "list",
    "dict": "mapping",
    "NoneType": "anything",
    "Path": "path",
}

# ----------------------------------------------------------------------- what a change runs again

CLOUD = "cloud"
SEARCH = "search"
CHAPTER = "chapter"
SPEED = "nothing new"
NEVER = "–"
EFFECTS = {
    CLOUD: "representations are read again, under another recipe, and all that follows from them",
    SEARCH: "neighbours are searched for again, and all that follows from them",
    CHAPTER: "the chapter and those that read its tables; no representation, no search",
    SPEED: "the chapter is executed, finds its arrays, and shows the same numbers",
}
TRAINING = "00_train_mini_igpt"  # is shown, and not run with the book
READS_A_MODEL = ("02_extract", "06_training_dynamics", "11_listening_places")
READS_A_MODEL += ("18_language_controls",)
CHANGES_A_CLOUD = frozenset(
    """model checkpoint checkpoints model_options dataset split n_per_class n_samples
    dataset_options site sites pool pools dtype control_seed control_seeds
    untrained_control""".split()
)
CHANGES_A_SEARCH = frozenset(["maxk", "range_max"])
CHANGES_NO_NUMBER = frozenset(
    """data_dir device batch_size batch_tokens scheduler resources samples_per_task
    rows_per_task offline hub_endpoint openai_url figshare_url figshare_api data_source work_dir
    n_threads""".split()
)

# -------------------------------------------------------------------------------------- their units

UNITS = {
    "N/n": "decimations decimation",
    "points": "n n_points n_embedded local_points rows_per_task largest_n",
    "samples": "n_per_class n_samples n_queries batch_size samples_per_task probe_samples "
    "rank_samples",
    "tokens": "batch_tokens",
    "neighbours": "k n_near data_k label_k robustness_k maxk",
    "rank": "range_max",
    "dimensions": "ball_dimensions embedded_dimension noisy_dimension gaussian_dimensions",
    "features": "ambient d_model",
    "layers": "some_layers",
    "blocks": "n_blocks",
    "networks": "control_seeds",
    "images": "n_completions",
    "subsets": "n_repetitions",
    "orders": "n_permutations",
    "profiles": "draws",
    "groups": "length_bins",
    "heads": "n_heads",
    "levels": "n_colours",
    "steps": "steps warmup_steps save_every",
    "threads": "n_threads",
    "standard errors": "errors",
    "as the points": "noise ambient_noise",
    "share": "fraction drop_near prominence prominences tolerance aim alpha error share_to_agree "
    "max_tolerance decay_from",
    "no unit": "learning_rate weight_decay",
    "seed": "seed seeds control_seed palette_seed",
}
PARAMETER_HEAD = ("parameter", "type, default", "unit, allowed", "meaning", "runs again")
UNIT_OF = {name: unit for unit, names in UNITS.items() for name in names.split()}


def effect(notebook: str, name: str) -> str:
    """What is computed again when a parameter of a notebook changes: a key of `EFFECTS`.

    The notebook of the training is executed by hand alone: `NEVER`.
    """
    if notebook == TRAINING:
        return NEVER
    if name in CHANGES_NO_NUMBER:
        return SPEED
    if notebook in READS_A_MODEL and name in CHANGES_A_CLOUD:
        return CLOUD
    if name in CHANGES_A_SEARCH:
        return SEARCH
    return CHAPTER


def unit(parameter: Parameter) -> str:
    """The unit of a number or of the numbers in a list; "" for anything else."""
    return UNIT_OF.get(parameter.name, "") if _is_numeric(parameter.default) else ""


def _is_numeric(value) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_numeric, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# ------------------------------------------------------------------------------------- parameters


def parameter_reference() -> str:
    """A section a notebook, in the order of the chapters, and a table of its parameters, as MyST.

    The training of the bundled model, which no run executes, comes last.
    """
    parts = []
    files = sorted((REPOSITORY / "notebooks").glob("[0-9]*.py"))
    for file in sorted(files, key=lambda file: file.stem == TRAINING):
        declared = declared_parameters(file.stem)
        rows = [
            _row(file.stem, parameter) for parameter in declared.values() if parameter.name != "run"
        ]
        if rows:
            section = file.stem.partition("_")[2]
            parts += [f"### `{section}`", "", f"{_title(file.stem)} (`notebooks/{file.name}`).", ""]
            parts.append(_table(PARAMETER_HEAD, rows))
    return "\n".join(parts)


def effects_reference() -> str:
    """What the words in the last column say of a change, as a MyST definition list."""
    return "\n\n".join(f"*{word}*\n: {meaning}." for word, meaning in EFFECTS.items())


def brought_example() -> str:
    """What the chapter on arrays of another tool says before it reads them: what to save and how.

    The chapter is executed by runs that bring arrays, and this book's own runs bring none.
    """
    prose = "\n\n".join(
        cell.source for cell in read_notebook("02_bring").cells if cell.cell_type == "markdown"
    )
    first, last = "## What to save", "The first command makes the chapters"
    if first not in prose or last not in prose:
        raise UserError(f"02_bring has no passage from {first!r} to {last!r}; expected both words")
    return prose[prose.index(first) : prose.index(last)].strip()


def _title(notebook: str) -> str:
    """The title of a chapter."""
    for line in notebook_file(notebook).read_text(encoding="utf-8").splitlines():
        if line.startswith("# # "):
            return line.removeprefix("# # ")
    return notebook


def _row(notebook: str, parameter: Parameter) -> tuple[str, ...]:
    kind = TYPES[type(parameter.default).__name__]
    default = in_yaml(parameter.default)
    allowed = [unit(parameter)]
    if parameter.choices:
        allowed.append(f"one of {', '.join(f'`{choice}`' for choice in parameter.choices)}")
    elif parameter.least is not None and parameter.most is not None:
        allowed.append(f"{parameter.least:g} to {parameter.most:g}")
    elif parameter.least is not None:
        allowed.append(f"{parameter.least:g} or more")
    bounds = ", ".join(filter(None, allowed)) or "–"
    meaning = parameter.meaning or "–"
    again = effect(notebook, parameter.name)
    return f"`{parameter.name}`", f"{kind}, `{default}`", bounds, meaning, again


def in_yaml(value) -> str:
    """A value as it may stand in a run file, on one line that can't end a code span."""
    return json.dumps(value, ensure_ascii=False).replace("`", "'")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A list table, whose cells wrap where the page is narrow."""
    widths = {5: "18 20 16 34 12", 3: "22 22 56"}[len(head)]
    lines = ["```{list-table}", ":header-rows: 1", f":widths: {widths}", ""]
    for cells in (head, *rows):
        first, *others = cells
        lines.append(f"* - {first}")
        lines += [f"  - {cell}" for cell in others]
    return "\n".join([*lines, "```", ""])


# ----------------------------------------------------------------------------------------- options


@dataclass(frozen=True)
class Option:
    """A key of `model_options` or `dataset_options`, as the code declares it."""

    name: str
    kind: str
    default: str
    meaning: str

    def row(self) -> tuple[str, ...]:
        """The option as cells of a table."""
        return f"`{self.name}`", f"{self.kind}, {self.default}", self.meaning


MODEL_FILES = {
    "any model of the Hugging Face hub": "georep_utils/models/huggingface.py",
    "ImageGPT (`model: igpt`, and the ImageGPTs of the hub)": "georep_utils/models/imagegpt.py",
}
LOAD = "georep_utils/models/load.py"
DATASETS = "georep_utils/data/datasets.py"
OF_EVERY_DATASET = ("classes", "n_samples")


def options_of_every_model() -> list[Option]:
    """Keys of `model_options` that any model takes beside those of its family."""
    tree = _tree(LOAD)
    function = _function(tree, "load")
    said = _meanings(function)
    seed = [_option(argument, default, said) for argument, default in _arguments(function)]
    fields = _fields(_class(tree, "ModelSource"))
    names = ast.literal_eval(_assigned(tree, "SAID"))
    texts = {
        "title": "What tables and captions call the model.",
        "weights_note": 'What they say of its weights, such as "4-bit weights dequantised".',
    }
    titled = [
        Option(field.target.id, _kind(field.annotation), _default(field.value), texts[name])
        for name in names
        for field in fields
        if field.target.id == name
    ]
    return [option for option in seed if option.name == "random_init_seed"] + titled


def options_of_models() -> dict[str, list[Option]]:
    """Family of models -> the fields of its `Options`."""
    found = {}
    for family, file in MODEL_FILES.items():
        options = _class(_tree(file), "Options")
        said = _meanings(options)
        found[family] = [
            _option(ast.arg(field.target.id, field.annotation), field.value, said)
            for field in _fields(options)
        ]
    return found


def options_of_datasets() -> dict[str, list[Option]]:
    """Name of a data set -> the keyword arguments of its loader; "" -> those of all."""
    tree = _tree(DATASETS)
    loaders = _assigned(tree, "LOADERS")
    found = {"": _loader_options(_function(tree, "load"), OF_EVERY_DATASET)}
    for key, function in zip(loaders.keys, loaders.values, strict=True):
        found[key.value] = _loader_options(_function(tree, function.id))
    return found


def datasets_in_words() -> dict[str, str]:
    """Name of a data set -> the first sentence of its loader's docstring."""
    tree = _tree(DATASETS)
    loaders = _assigned(tree, "LOADERS")
    pairs = zip(loaders.keys, loaders.values, strict=True)
    found = {key.value: ast.get_docstring(_function(tree, name.id)) for key, name in pairs}
    return {name: text.partition("\n")[0] for name, text in found.items()}


def model_option_reference() -> str:
    """Tables of the keys of `model_options`, as MyST."""
    head = ("option", "type, default", "meaning")
    parts = [
        "### Every model",
        "",
        _table(head, [option.row() for option in options_of_every_model()]),
    ]
    for family, options in options_of_models().items():
        title = family[0].upper() + family[1:]
        parts += [f"### {title}", "", _table(head, [option.row() for option in options])]
    return "\n".join(parts)


def dataset_option_reference() -> str:
    """Tables of the keys of `dataset_options`, a data set a section, as MyST."""
    head = ("option", "type, default", "meaning")
    words = datasets_in_words()
    parts = []
    for name, options in options_of_datasets().items():
        title = f"`{name}`" if name else "Every data set"
        parts += [f"### {title}", "", words.get(name, ""), ""]
        parts.append(_table(head, [option.row() for option in options]))
    return "\n".join(parts)


# ------------------------------------------------------------------------------------ reading code


def _tree(file: str) -> ast.Module:
    return ast.parse(Path(REPOSITORY / file).read_text(encoding="utf-8"))


def _class(tree: ast.Module, name: str) -> ast.ClassDef:
    return next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    return next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)


def _assigned(tree: ast.Module, name: str) -> ast.expr:
    """The value that a module assigns to a name."""
    assignments = [node for node in tree.body if isinstance(node, ast.Assign)]
    return next(node.value for node in assignments if node.targets[0].id == name)


def _fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    return [part for part in node.body if isinstance(part, ast.AnnAssign)]


def _arguments(function: ast.FunctionDef) -> list[tuple[ast.arg, ast.expr | None]]:
    """Arguments with their defaults, None where one is required."""
    places = function.args.args
    defaults = function.args.defaults
    with_default = [None] * (len(places) - len(defaults)) + defaults
    keywords = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return [*zip(places, with_default, strict=True), *keywords]


def _loader_options(function: ast.FunctionDef, names: tuple[str, ...] = ()) -> list[Option]:
    """The options of a loader: its keyword-only arguments, or those that are named."""
    said = _meanings(function)
    wanted = names or tuple(argument.arg for argument in function.args.kwonlyargs)
    return [
        _option(argument, default, said)
        for argument, default in _arguments(function)
        if argument.arg in wanted
    ]


def _option(argument: ast.arg, default: ast.expr | None, said: dict[str, str]) -> Option:
    meaning = said.get(argument.arg, "")
    if not meaning:
        raise UserError(
            f"the option {argument.arg} has no meaning; expected a line on it in the docstring of "
            "its function or class: write it there"
        )
    return Option(argument.arg, _kind(argument.annotation), _default(default), meaning)


def _default(value: ast.expr | None) -> str:
    if value is None:
        return "required"
    return f"`{in_yaml(ast.literal_eval(value))}`"


def _kind(annotation: ast.expr | None) -> str:
    """A type in words: "text or list" for str | list[str]."""
    if annotation is None:
        return "anything"
    names = re.sub(r"\[.*?\]", "", ast.unparse(annotation)).split(" | ")
    words = [TYPES[name] for name in names if name != "None"]
    # A path in a run file is text.
    return " or ".join(word for word in words if word != "path") or "path"


def _meanings(node: ast.ClassDef | ast.FunctionDef) -> dict[str, str]:
    """Name -> what the numpydoc of a class or function says of it, on one line."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (ast.get_docstring(node) or "").splitlines():
        head = re.match(r"(\w+(?:, \w+)*)(?: : .*)?$", line)
        if head:
            current = []
            for name in head[1].split(", "):
                found[name] = current
        elif line.startswith("    "):
            current.append(line.strip())
        elif line.strip():
            current = []
    return {name: _for_a_run_file(" ".join(lines)) for name, lines in found.items()}


def _for_a_run_file(text: str) -> str:
    """A meaning with the values of Python as YAML spells them."""
    return re.sub(r"\bNone\b", "`null`", text)
