"""A run file for a model and a table that have never met: both are looked at, and the rest follows.

What a run file says can nearly all be read off the model's configuration and the columns of the
table. The model says what it reads: texts, proteins or images. A column that holds such things is
the input. A column whose values repeat is the label. The number of samples and the sizes of the
classes bound the neighbours that can be asked for. What is chosen is written down with its reason,
so that it can be changed.

What can't work is refused in one line before a file is written: a model that reads images and a
table without images, labels that are all different, too few samples, a sample that is too long.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from georep_utils.data import datasets, download
from georep_utils.data.fasta import RESIDUES
from georep_utils.data.files import existing
from georep_utils.data.samples import Dataset
from georep_utils.data.tables import read_cells, table_format
from georep_utils.io import REPOSITORY, UserError
from georep_utils.models import hub_files, load, look

LOOKED_AT = 200  # cells of a column that tell what it holds
MAX_SAMPLES = 10_000  # of a first run, so that it ends while one waits
LEAST_SAMPLES = 100
SHORTEST_PROTEIN = 10  # residues, on average; shorter words of capitals are codes
LONGEST_PROTEIN = 1022  # residues that ESM-2 was trained on
LINE_WIDTH = 96
LABEL_NAMES = ("label", "class", "category", "target", "y", "superfamily")
FASTA_ENDINGS = (".fa", ".fasta", ".faa")
WHAT = {"text": "texts", "protein": "protein sequences", "image": "paths of images"}


@dataclass(frozen=True)
class Wanted:
    """What the command line says.

    `input_column` and `label_column` are "" where they are to be found.
    """

    name: str
    model: str
    table: str
    input_column: str = ""
    label_column: str = ""
    data_dir: str = "data"


@dataclass(frozen=True)
class Source:
    """A data set as a run file names it, and a sentence that says why."""

    dataset: str
    options: dict
    reason: str


def run_file(wanted: Wanted) -> str:
    """The text of a run file for a model and a table.

    Raises
    ------
    UserError
        For a model or a table that is not there, and for what can't work together.
    """
    path = existing(wanted.table, REPOSITORY / wanted.data_dir / "datasets")
    seen = _look_at_model(wanted)
    kind = seen.kind
    source = _source_of(path, kind, wanted)
    if kind == "text" and source.options.get("kind") == "protein":
        kind = "protein"
    data = datasets.load(source.dataset, data_dir=wanted.data_dir, **source.options)
    data, per_class = _bounded(data)
    model_options = _model_options(wanted, seen, kind)
    _check_samples(wanted, model_options, data)
    return _written(wanted, seen, source, model_options, data, per_class)


# --------------------------------------------------------------------------------------- the model


def _look_at_model(wanted: Wanted) -> look.Look:
    folder = hub_files.find_folder(wanted.model, wanted.data_dir)
    if folder is None:
        folder = download.hub_config(wanted.model)
    return look.look(folder, load.without_place(wanted.model))


def _model_options(wanted: Wanted, seen: look.Look, kind: str) -> dict:
    options = {"title": load.without_place(wanted.model)}
    if kind != seen.kind:
        # A BERT of proteins has the configuration of any BERT.
        options["kind"] = kind
    return options


def _check_samples(wanted: Wanted, model_options: dict, data: Dataset) -> None:
    """Refuse samples that the model can't read, where its tokenizer is here already."""
    if hub_files.find_folder(wanted.model, wanted.data_dir) is None:
        return
    look.check(load.source(wanted.model, data_dir=wanted.data_dir, **model_options), data)


# --------------------------------------------------------------------------------------- the table


def _source_of(path: Path, kind: str, wanted: Wanted) -> Source:
    """How the data in a folder, a FASTA file, a table or a text file are read for a model."""
    named = _named(path, wanted)
    if path.is_dir():
        _require(kind == "image", wanted, kind, f"{wanted.table} is a folder of images")
        return Source("hf-image", {"path": named}, "The folders are the classes.")
    if path.name.removesuffix(".gz").endswith(FASTA_ENDINGS):
        _require(kind == "protein", wanted, kind, f"{wanted.table} holds proteins")
        options = {"path": named, "max_length": LONGEST_PROTEIN, "too_long": "truncate"}
        return Source("fasta", options, f"Sequences are cut after {LONGEST_PROTEIN} residues.")
    if table_format(path) is None:
        _require(kind == "text", wanted, kind, f"{wanted.table} is plain text, one a line")
        return Source("text", {"path": named}, "One text a line, without labels.")
    return _table_source(path, named, kind, wanted)


def _named(path: Path, wanted: Wanted) -> str:
    """A path as the run file says it: below the data sets or the repository if it is there."""
    for root in (REPOSITORY / wanted.data_dir / "datasets", REPOSITORY):
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return str(path.resolve())


def _require(fits: bool, wanted: Wanted, kind: str, found: str) -> None:
    if not fits:
        raise UserError(
            f"{load.without_place(wanted.model)} reads {WHAT[kind]}, but {found}; name data that "
            "it reads, or another model"
        )


def _table_source(path: Path, named: str, kind: str, wanted: Wanted) -> Source:
    cells = read_cells(path)
    if len(cells) < LEAST_SAMPLES:
        raise UserError(
            f"{wanted.table} has {len(cells)} rows; expected {LEAST_SAMPLES} or more for a "
            "dimension to be measured"
        )
    for column in (wanted.input_column, wanted.label_column):
        if column and column not in cells.columns:
            known = ", ".join(cells.columns)
            raise UserError(f"{wanted.table} has no column {column!r}; its columns are {known}")
    holds = {name: _kind_of_column(cells[name], path.parent) for name in cells.columns}
    column = wanted.input_column or _input_column(cells, holds, kind)
    # A model of texts may be one of proteins whose configuration does not say so.
    if kind == "text" and holds.get(column) == "protein":
        kind = "protein"
    if holds.get(column) != kind:
        listed = ", ".join(f"{name} ({what or 'neither'})" for name, what in holds.items())
        _require(False, wanted, kind, f"no such column is in {wanted.table}: {listed}")
    label = wanted.label_column or _label_column(cells.drop(columns=column))
    if label:
        _check_label(cells, label, wanted)
    options = {"path": named, "input_column": column, "kind": kind}
    reason = f"Column {column!r} holds {WHAT[kind]}; no column holds classes."
    if label:
        options["label_column"] = label
        n_classes = cells[label].nunique()
        reason = f"Column {column!r} holds {WHAT[kind]}, {label!r} {n_classes} classes."
    longest = cells[column].str.len().max()
    if kind == "protein" and longest > LONGEST_PROTEIN:
        options |= {"max_length": LONGEST_PROTEIN, "too_long": "truncate"}
        reason += f" Sequences are cut after {LONGEST_PROTEIN} residues; the longest has {longest}."
    return Source("table", options, reason)


def _kind_of_column(cells: pd.Series, folder: Path) -> str:
    """What the first cells of a column hold: text, protein, image, or "" for none of them."""
    some = [cell for cell in cells.head(LOOKED_AT) if cell.strip()]
    if not some:
        return ""
    if all(Path(cell).suffix.lower() in datasets.IMAGE_SUFFIXES for cell in some):
        return "image"
    letters = all(set(cell.strip().upper()) <= RESIDUES for cell in some)
    if letters and np.mean([len(cell) for cell in some]) >= SHORTEST_PROTEIN:
        return "protein"
    words = np.mean([len(cell.split()) for cell in some])
    return "text" if words >= 2 else ""


def _input_column(cells: pd.DataFrame, holds: dict[str, str], kind: str) -> str:
    """The column with the longest cells of this kind; of sequences where there are no texts."""
    for asked in (kind, "protein") if kind == "text" else (kind,):
        found = [name for name, what in holds.items() if what == asked]
        if found:
            return max(found, key=lambda name: cells[name].str.len().mean())
    return ""


def _label_column(cells: pd.DataFrame) -> str:
    """The column that looks most like classes, "" where none does.

    Its values repeat: there are two at least, and five samples of each on average. Usual names go
    first, then fewer classes.
    """
    n_classes = {name: cells[name].nunique() for name in cells.columns}
    fit = [name for name, n in n_classes.items() if 2 <= n <= len(cells) / 5]
    fit = [name for name in fit if cells[name].str.strip().ne("").all()]
    if not fit:
        return ""
    return min(fit, key=lambda name: (name.lower() not in LABEL_NAMES, n_classes[name]))


def _check_label(cells: pd.DataFrame, label: str, wanted: Wanted) -> None:
    n_classes = cells[label].nunique()
    if n_classes == 1:
        raise UserError(
            f"all labels in {label!r} of {wanted.table} are {cells[label].iloc[0]!r}; expected two "
            "classes at least: name another --label"
        )
    if n_classes == len(cells):
        raise UserError(
            f"all {n_classes} labels in {label!r} of {wanted.table} are different; expected "
            "classes of several samples: name another --label"
        )


# ------------------------------------------------------------------------------------ the run file


def _bounded(data: Dataset) -> tuple[Dataset, int]:
    """The samples of a first run, and how many of each class; 0 for all."""
    if len(data) < LEAST_SAMPLES:
        raise UserError(
            f"{data.name} has {len(data)} samples; expected {LEAST_SAMPLES} or more for a "
            "dimension to be measured"
        )
    if len(data) <= MAX_SAMPLES or data.labels is None:
        return data, 0
    per_class = max(2, MAX_SAMPLES // len(np.unique(data.labels)))
    sizes = np.bincount(data.labels)
    chosen = [np.flatnonzero(data.labels == label)[:per_class] for label in range(len(sizes))]
    return data.take(np.concatenate(chosen)), per_class


def _neighbors(n: int, data: Dataset) -> tuple[int, list[int], list[int]]:
    """Neighbours to keep, and those of the overlaps with other layers and with labels.

    Labels are compared on at most as many neighbours as a class of middle size can offer.
    """
    maxk = min(50, n // 4)
    data_k = [k for k in (10, 30) if k <= maxk]
    class_size = n
    if data.labels is not None:
        sizes = np.bincount(data.labels)
        class_size = int(np.median(sizes[sizes > 0]))
    label_k = max(1, min(10, class_size - 1))
    return maxk, data_k, [label_k]


def _written(
    wanted: Wanted,
    seen: look.Look,
    source: Source,
    model_options: dict,
    data: Dataset,
    per_class: int,
) -> str:
    n = len(data)
    maxk, data_k, label_k = _neighbors(n, data)
    robustness_k = [k for k in (1, 3, 10, 30, 50) if k <= maxk]
    count = f"{n:,} samples."
    if data.labels is not None:
        sizes = np.bincount(data.labels)
        sizes = sizes[sizes > 0]
        each = f"{sizes.min():,} to {sizes.max():,}"
        if sizes.min() == sizes.max():
            each = f"{sizes.min():,}"
        count = f"{n:,} samples, {each} of each of {len(sizes)} classes."
    if per_class:
        count += f" There are more: at most {per_class:,} of each class are read; 0 reads all."
    title = f"{model_options['title']} on {Path(wanted.table).name} ({wanted.name})"
    model = {"model": _model_named(wanted), "model_options": model_options, "checkpoint": ""}
    return f"""title: {json.dumps(title, ensure_ascii=False)}
notebooks: [01_download, 02_extract, 03_distances, 04_intrinsic_dimension, 05_overlaps]

# Written by `python -m georep_utils new`, for you to change.
shared:
  # {seen.model_type}, {seen.n_blocks} blocks of width {seen.width}; it reads {WHAT[data.kind]}.
{_lines(model)}
  # {source.reason}
{_lines({"dataset": source.dataset, "dataset_options": source.options})}
  # {count}
{_lines({"n_per_class": per_class})}

# Fewer neighbours than there are samples, and no more for the labels than a class has members.
distances:
{_lines({"maxk": maxk})}

overlaps:
{_lines({"data_k": data_k, "label_k": label_k, "robustness_k": robustness_k})}
"""


def _model_named(wanted: Wanted) -> str:
    """A folder in full, so that it is found from everywhere; a hub name as it is."""
    folder = Path(wanted.model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else wanted.model


def _lines(values: dict) -> str:
    """Values as lines of a section of a run file."""
    lines = []
    for name, value in values.items():
        line = f"  {name}: {_flow(value)}"
        if isinstance(value, dict) and len(line) > LINE_WIDTH:
            lines.append(f"  {name}:")
            lines += [f"    {key}: {_flow(entry)}" for key, entry in value.items()]
        else:
            lines.append(line)
    return "\n".join(lines)


def _flow(value) -> str:
    """A value as YAML on one line."""
    listed = yaml.safe_dump(
        [value], default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6
    )
    return listed.strip().removeprefix("[").removesuffix("]")
