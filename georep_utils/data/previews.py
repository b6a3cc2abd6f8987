"""Samples as a reader can look at them: pictures of images, one line of a text or a sequence.

A chapter shows samples in several places: the data themselves, a query and its nearest neighbours.
Both functions take rows of a data set in any shape and return pictures or lines in that shape, so
that a table of neighbours becomes a table of what they are.
"""

from __future__ import annotations

import numpy as np

from georep_utils.data.images import square_image, to_pixels
from georep_utils.data.samples import Dataset

PICTURE_PX = 64  # side of the preview of an image file
LINE_WIDTH = 70  # letters


def pictures(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Some samples as pictures.

    Parameters
    ----------
    dataset
        Tokens with a palette, or image files.
    rows
        Numbers of samples, of any shape (...).

    Returns
    -------
    8-bit grey levels (..., n, n) or colours (..., n, n, 3). An image file is reduced to its central
    square of 64 pixels.

    Raises
    ------
    UserError
        If an image file can't be read.
    """
    rows = np.asarray(rows)
    if dataset.kind == "tokens":
        return to_pixels(dataset.inputs[rows], dataset.palette)
    drawn = np.stack([square_image(dataset.inputs[row], PICTURE_PX) for row in rows.flat])
    return drawn.reshape(*rows.shape, *drawn.shape[1:])


def lines(
    dataset: Dataset, rows: np.ndarray, width: int = LINE_WIDTH, with_class: bool = True
) -> np.ndarray:
    """Some samples as lines of text, with the class of each where it is known.

    Parameters
    ----------
    dataset
        Texts or protein sequences.
    rows
        Numbers of samples, of any shape (...).
    width
        Letters of a line; what is longer ends in three dots.
    with_class
        Whether the class stands before the line, in brackets.

    Returns
    -------
    Texts (...), as Python strings in an array of objects.
    """
    rows = np.asarray(rows)
    written = np.empty(rows.shape, dtype=object)
    for place, row in np.ndenumerate(rows):
        written[place] = _line(dataset, int(row), width, with_class)
    return written


def _line(dataset: Dataset, row: int, width: int, with_class: bool) -> str:
    line = " ".join(str(dataset.inputs[row]).split())
    if len(line) > width:
        line = f"{line[:width]}..."
    if dataset.labels is None or not with_class:
        return line
    return f"[{class_names(dataset)[dataset.labels[row]]}] {line}"


def class_names(dataset: Dataset) -> list[str]:
    """The name of each class, or its number where classes have no names."""
    if dataset.label_names is not None:
        return [str(name) for name in dataset.label_names]
    return [str(number) for number in range(int(dataset.labels.max()) + 1)]
