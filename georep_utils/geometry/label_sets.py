"""Other labels of the same samples: how much a label overlap says depends on what is asked.

One cloud has one profile of dimensions, but any number of label overlaps: classes can be merged, or
divided, or be about something else. `overlaps` computes the curve of each set of labels from the
neighbours that are there already. Sets come from a file (`read`) or from merging classes
(`merged`).

A file is a csv or npz with a column for each set of labels, one value for each sample. Nothing in
a column of labels shows whether it is in the right order. Therefore one of its columns has to
divide the samples exactly as their known classes do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from georep_utils.geometry.neighbors import Neighbors
from georep_utils.geometry.overlap import label_overlap
from georep_utils.io import UserError, file_digest

COLUMNS = ["label_set", "n_classes", "layer", "k", "overlap", "chance"]


def merged(
    labels: np.ndarray, groups: Mapping[str, Sequence[Sequence[int]]]
) -> dict[str, np.ndarray]:
    """Sets of labels in which classes are put together.

    Parameters
    ----------
    labels : (N,) array
        Classes as whole numbers.
    groups : mapping
        Name of a set to its groups, each a list of classes; every class stands in one of them.

    Raises
    ------
    UserError
        A class that stands in no group, or in two.
    """
    present = np.unique(labels).tolist()
    found = {}
    for name, parts in groups.items():
        listed = [member for part in parts for member in part]
        if len(set(listed)) < len(listed) or not set(present) <= set(listed):
            raise UserError(
                f"label set {name} groups classes {sorted(listed)}, but the samples have "
                f"{present}: expected each of them once; correct the groups"
            )
        group_of = {member: number for number, part in enumerate(parts) for member in part}
        found[name] = np.array([group_of[label] for label in labels.tolist()])
    return found


def read(path: str | Path, ids: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Sets of labels of some samples from a csv (also compressed) or npz, a column a set.

    Parameters
    ----------
    path : the file.
    ids : (N,) array
        Names of the samples. Where they are row numbers of the file, those rows are taken; else the
        file has one row a sample in the same order.
    labels : (N,) array
        The known classes: the column that divides the samples as they do proves the order.

    Returns
    -------
    dict
        {name: (N,) labels} of the other columns that have from 2 to N - 1 classes.

    Raises
    ------
    UserError
        The file is missing, has another number of rows, or no column agrees with the classes.
    """
    file_digest(path)  # says that a file is missing, and notes that it was read
    if Path(path).suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
    else:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        columns = {name: table[name].to_numpy() for name in table}
    ordered = {name: _of_samples(values, ids, path) for name, values in columns.items()}
    codes = {name: np.unique(values, return_inverse=True)[1] for name, values in ordered.items()}
    known = [name for name, values in codes.items() if _divide_alike(values, labels)]
    if not known:
        raise UserError(
            f"no column of {path} ({', '.join(codes)}) divides the {len(labels)} samples as their "
            "classes do: expected one that does, which proves the order; add it"
        )
    others = {name: values for name, values in codes.items() if name not in known}
    return {name: x for name, x in others.items() if 1 <= x.max() < len(x) - 1}


def _of_samples(values: np.ndarray, ids: np.ndarray, path: str | Path) -> np.ndarray:
    are_rows = ids.dtype.kind in "iu" and ids.min() >= 0 and ids.max() < len(values)
    if are_rows:
        return values[ids]
    if len(values) != len(ids):
        raise UserError(
            f"{path} has {len(values)} rows for {len(ids)} samples: expected one for each, in the "
            "same order"
        )
    return values


def _divide_alike(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = len({*zip(a.tolist(), b.tolist(), strict=True)})
    return pairs == len(np.unique(a)) == len(np.unique(b))


def overlaps(
    neighbors: Mapping[int, Neighbors], label_sets: Mapping[str, np.ndarray], k: int
) -> pd.DataFrame:
    """The label overlap of every layer for every set of labels.

    Parameters
    ----------
    neighbors : mapping
        Of each layer.
    label_sets : mapping
        Name of a set to the labels (N,).
    k : int
        Neighbours whose labels are counted.

    Returns
    -------
    DataFrame
        Columns label_set, n_classes, layer, k, overlap (every class counts the same) and chance:
        what labels dealt at random would give.
    """
    rows = []
    for name, labels in label_sets.items():
        sizes = np.unique(labels, return_counts=True)[1]
        chance = float(np.mean((sizes - 1) / (len(labels) - 1)))
        for layer, near in neighbors.items():
            value = label_overlap(near, labels, k)
            rows.append((name, len(sizes), layer, k, value, chance))
    return pd.DataFrame(rows, columns=COLUMNS)
