"""A data set: samples and what is known about them, row for row; and how samples are chosen by class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from georep_utils.io import REPOSITORY, UserError
from georep_utils.data.images import Rows


@dataclass(frozen=True)
class Dataset:
    """Samples and what is known about them, row for row. `palette` is for drawing tokens: see `tokens.to_pixels`."""

    name: str
    kind: str
    inputs: np.ndarray | Rows | list
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] | None = None
    families: np.ndarray | None = None
    ids: np.ndarray | None = None
    palette: np.ndarray | None = None

    def __post_init__(self):
        if self.kind not in ("tokens", "protein", "text", "image"):
            raise UserError(f"data set {self.name} is of kind {self.kind!r}; expected tokens, protein, text or image")
        if not len(self.inputs):
            raise UserError(f"data set {self.name} holds no sample; check its file and the filters")
        if self.ids is None:
            object.__setattr__(self, "ids", np.arange(len(self)))
        for key in ("labels", "families", "ids"):
            if (value := getattr(self, key)) is not None and len(value) != len(self):
                raise UserError(f"data set {self.name} has {len(self)} samples but {len(value)} {key}; give one each")
        if self.labels is not None and self.label_names is not None and self.labels.max() >= len(self.label_names):
            raise UserError(
                f"data set {self.name} has label {self.labels.max()} but {len(self.label_names)} label names"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices) -> Dataset:
        """The samples at `indices` (numbers, or a mask), in that order."""
        chosen = np.arange(len(self))[np.asarray(indices)]
        part = {
            key: value[chosen] for key in ("labels", "families", "ids") if (value := getattr(self, key)) is not None
        }
        if isinstance(self.inputs, Rows):
            return replace(self, inputs=Rows(self.inputs.path, self.inputs.index[chosen]), **part)
        listed = isinstance(self.inputs, list)
        return replace(self, inputs=[self.inputs[i] for i in chosen] if listed else self.inputs[chosen], **part)


def first_per_class(labels: np.ndarray, classes, n_per_class: int | None = None) -> np.ndarray:
    """Indices (M,) of the first `n_per_class` (None: all) samples of each class, class by class in the order of `classes`:
    the order of the authors' extraction. UserError where a class has no sample."""
    order = np.argsort(labels, kind="stable")
    chosen = []
    for number in classes:
        start, end = (np.searchsorted(labels, number, side, sorter=order) for side in ("left", "right"))
        if start == end:
            raise UserError(f"class {number} has no sample here; choose classes that the data set holds")
        chosen.append(order[start : end if n_per_class is None else min(end, start + n_per_class)])
    return np.concatenate(chosen)


def existing(path: str | Path, *roots: Path) -> Path:
    """`path` below the repository or the first of `roots` that holds it. UserError names every place looked at."""
    places = list(dict.fromkeys(root / Path(path).expanduser() for root in (REPOSITORY, *roots)))
    if found := [place for place in places if place.exists()]:
        return found[0]
    raise UserError(f"{path} is missing; put it at {' or '.join(map(str, places))}, or correct the path")


def class_list(classes, cast=str) -> list | None:
    """`classes` as a list; None where all are meant."""
    if classes is None or classes == "all":
        return None
    items = existing(classes).read_text().split() if isinstance(classes, (str, Path)) else classes
    try:
        chosen = [cast(item) for item in items]
    except (TypeError, ValueError) as error:
        raise UserError(
            f"classes hold something unexpected ({error}); expected a list, or a file with one a line"
        ) from None
    if not chosen or len(set(chosen)) < len(chosen):
        raise UserError("classes are empty or name one class twice; name each class once")
    return chosen


def number_names(names: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Names as numbers (N,), and the sorted distinct names that they count."""
    distinct, numbers = np.unique(np.array(names, dtype=str), return_inverse=True)
    return numbers.astype(np.int64), tuple(map(str, distinct))
