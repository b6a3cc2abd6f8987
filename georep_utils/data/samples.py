"""A data set: samples and what is known about them, row for row; and how samples are chosen.

Everything that a chapter needs of its data is in one `Dataset`: the inputs that a network reads,
and, as far as they are known, the class of each (`labels`), a finer group inside the class
(`families`, for remote homology) and a name (`ids`). `Dataset.take` keeps them aligned.

Samples are chosen as the paper chooses them: the *first* so many of each class, class by class
(`first_per_class`). Nothing is drawn at random, so a selection is the same for everybody.

What is measured depends on the samples and on nothing else of their file. `Dataset.digest` is the
identity of the samples: equal for equal samples, whatever file, number format or machine they come
from, and another as soon as one token, letter or label differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from georep_utils.data.files import existing, read_text
from georep_utils.data.images import Rows, row_blocks
from georep_utils.io import UserError, file_digest

KINDS = ("tokens", "protein", "text", "image")
COLUMNS = ("labels", "families", "ids")


@dataclass(frozen=True)
class Dataset:
    """Samples and what is known about them, row for row.

    Attributes
    ----------
    name
        What a reader is told.
    kind
        What the inputs are: "tokens", "protein", "text" or "image".
    inputs
        Tokens (N, T) as an array or as `Rows` on disk; or a list of N sequences of residues, of
        texts, or of paths of image files.
    labels
        Class numbers (N,), or None.
    label_names
        Names of the classes that the numbers count, or None.
    families
        Numbers of finer groups than the classes (N,), or None.
    ids
        Names or numbers of the samples (N,); 0..N-1 where none are given.
    palette
        Grey levels (K,) or colours (K, 3) to draw tokens with (`images.to_pixels`), or None.
    """

    name: str
    kind: str
    inputs: np.ndarray | Rows | list
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] | None = None
    families: np.ndarray | None = None
    ids: np.ndarray | None = None
    palette: np.ndarray | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise UserError(
                f"data set {self.name} is of kind {self.kind!r}; expected one of {', '.join(KINDS)}"
            )
        if len(self) == 0:
            raise UserError(f"data set {self.name} holds no sample; check its file and the filters")
        if self.ids is None:
            object.__setattr__(self, "ids", np.arange(len(self)))
        for column, values in self._columns().items():
            if len(values) != len(self):
                raise UserError(
                    f"data set {self.name} has {len(self)} samples but {len(values)} {column}; "
                    "give one each"
                )
        if self.labels is not None and self.label_names is not None:
            highest = self.labels.max()
            if highest >= len(self.label_names):
                raise UserError(
                    f"data set {self.name} has label {highest} but {len(self.label_names)} "
                    "label names; name every class"
                )

    def __len__(self) -> int:
        return len(self.inputs)

    def _columns(self) -> dict[str, np.ndarray]:
        columns = {name: getattr(self, name) for name in COLUMNS}
        return {name: values for name, values in columns.items() if values is not None}

    def take(self, indices) -> Dataset:
        """The samples at `indices` (numbers, or a mask), in that order."""
        chosen = np.arange(len(self))[np.asarray(indices)]
        if isinstance(self.inputs, Rows):
            inputs = Rows(self.inputs.path, self.inputs.index[chosen])
        elif isinstance(self.inputs, list):
            inputs = [self.inputs[i] for i in chosen]
        else:
            inputs = self.inputs[chosen]
        columns = {name: values[chosen] for name, values in self._columns().items()}
        return replace(self, inputs=inputs, **columns)

    def facts(self) -> dict[str, bool]:
        """What applies to these samples: chapters leave out the parts that do not.

        Returns
        -------
        `tokens`, `protein` and `text` say what the inputs are; `images` that they can be drawn
        (files of images, or tokens with a palette); `labels`, `families` and `palette` that they
        are known.
        """
        tokens = self.kind == "tokens"
        palette = self.palette is not None
        return {
            "tokens": tokens,
            "images": self.kind == "image" or (tokens and palette),
            "protein": self.kind == "protein",
            "text": self.kind == "text",
            "labels": self.labels is not None,
            "families": self.families is not None,
            "palette": palette,
        }

    def digest(self) -> str:
        """The identity of the samples: sha256, in hexadecimal, of all that measurements depend on.

        That is the kind, the inputs (image files by their bytes), labels, names of labels,
        families and ids. How they are stored does not matter: tokens count as 64-bit integers,
        and rows on disk are read block by block.

        Raises
        ------
        UserError
            If an image file can't be read.
        """
        total = hashlib.sha256()
        _hash_names(total, "kind", [self.kind])
        if self.kind == "tokens":
            _hash_numbers(total, "inputs", self.inputs)
        elif self.kind == "image":
            _hash_names(total, "inputs", map(_image_digest, self.inputs))
        else:
            _hash_names(total, "inputs", self.inputs)
        for column in ("labels", "label_names", "families", "ids"):
            values = getattr(self, column)
            if values is None:
                _hash_names(total, f"no {column}", [])
            elif isinstance(values, np.ndarray) and values.dtype.kind in "bui":
                _hash_numbers(total, column, values)
            else:
                _hash_names(total, column, values)
        return total.hexdigest()


def _hash_numbers(total, title: str, numbers: np.ndarray | Rows) -> None:
    """Add whole numbers to a hash, with their shape, as little-endian 64-bit integers."""
    total.update(f"{title} {list(map(int, numbers.shape))}\n".encode())
    for _, block in row_blocks(numbers):
        total.update(np.ascontiguousarray(block, "<i8"))


def _hash_names(total, title: str, names: Iterable) -> None:
    """Add text to a hash, one JSON string a line: no two lists of texts give the same bytes."""
    total.update(f"{title}\n".encode())
    for name in names:
        total.update(json.dumps(str(name)).encode() + b"\n")


def _image_digest(path: str | Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise UserError(
            f"image {path} can't be read ({error.strerror}); restore the file"
        ) from None


# --------------------------------------------------------------------------------- choosing samples


def first_per_class(
    labels: np.ndarray, classes: Iterable[int], n_per_class: int | None = None
) -> np.ndarray:
    """Indices of the first samples of each class, class by class: the order of the authors' code.

    Parameters
    ----------
    labels
        Class numbers, (N,).
    classes
        The classes to take, in this order.
    n_per_class
        How many of each at most; None takes all.

    Returns
    -------
    Indices into `labels`, (M,).

    Raises
    ------
    UserError
        If a class has no sample.
    """
    # A stable sort keeps the samples of a class in the order of the file.
    order = np.argsort(labels, kind="stable")
    sorted_labels = labels[order]
    chosen = []
    for number in classes:
        start = np.searchsorted(sorted_labels, number, "left")
        end = np.searchsorted(sorted_labels, number, "right")
        if start == end:
            raise UserError(
                f"class {number} has no sample here; choose classes that the data set holds"
            )
        if n_per_class is not None:
            end = min(end, start + n_per_class)
        chosen.append(order[start:end])
    return np.concatenate(chosen)


def spread(labels: np.ndarray | None, n_samples: int, n: int) -> np.ndarray:
    """Indices of at most `n_samples` of n samples: the first ones, as many of each class.

    Parameters
    ----------
    labels
        Class numbers, (n,); None where there are none, and then the first samples are taken.
    n_samples
        How many at most. Where it is below the number of classes, one of each of the first classes.
    n
        Number of samples.
    """
    if labels is None or n_samples >= n:
        return np.arange(min(n_samples, n))
    present = np.unique(labels)
    chosen = first_per_class(labels, present, max(1, n_samples // len(present)))
    return chosen[:n_samples]


def class_list(classes, cast=str) -> list | None:
    """Which classes are meant.

    Parameters
    ----------
    classes
        A list, a file with one class a line, or None or "all" for every class.
    cast
        `str` for names, `int` for numbers.

    Returns
    -------
    The classes in their order, or None for every class.

    Raises
    ------
    UserError
        If they are empty, not of that kind, or name one twice.
    """
    if classes is None or (isinstance(classes, str) and classes == "all"):
        return None
    if isinstance(classes, (str, Path)):
        classes = read_text(existing(classes)).split()
    try:
        chosen = [cast(item) for item in classes]
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"classes hold something unexpected ({error}); "
            "expected a list, or a file with one a line"
        ) from None
    if not chosen or len(set(chosen)) < len(chosen):
        raise UserError("classes are empty or name one class twice; name each class once")
    return chosen


def number_names(names: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Names as numbers (N,), and the sorted distinct names that the numbers count."""
    distinct = sorted(set(names))
    numbers = {name: number for number, name in enumerate(distinct)}
    return np.array([numbers[name] for name in names], dtype=np.int64), tuple(distinct)


def is_count(value) -> bool:
    """Whether `value` is a whole number of at least 1."""
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return is_whole and value >= 1
