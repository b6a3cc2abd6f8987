"""The numbers that the paper's authors published.

There are two sources, and every row says which of them it is from.

*Released by the authors*: archives of intermediate statistics of Valeriani et al. (2023). For each
ImageGPT they hold the ratios of the first two neighbour distances at every layer, the neighbours
of every image at a few layers, and the classes of the images; for each ESM-2, the finished curves.
From the former, two functions here recompute the published curves as the authors' plotting script
does: `id_from_mus` and `label_overlap_from_table`.

*Read off the authors' figures*: positions of 301 points in the released figures, calibrated by the
ticks of their axes, with the error of reading. They are this project's readings and not the
authors' numbers; they serve where no archive is at hand.

Curves are rows of `COLUMNS`, here and in `comparison`. Layers have their true number: 0 to L-1 are
block inputs after the first norm, L is the final norm, L+1 the logits.

References
----------
Valeriani, Doimo, Cuturello, Laio, Ansuini, Cazzaniga, "The geometry of hidden representations of
large transformer models", NeurIPS 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from georep_utils import io
from georep_utils.io import UserError

READINGS = io.REPOSITORY / "book/reference/published_curves.csv"
COLUMNS = ["model", "quantity", "layer", "n_blocks", "k", "value", "error", "source"]
RELEASED = "released by the authors"
READ = "read off the authors' figures"

N_BLOCKS = {
    "igpt-small": 24,
    "igpt-medium": 36,
    "igpt-large": 48,
    "esm2-35M": 12,
    "esm2-650M": 33,
    "esm2-3B": 36,
}
FAMILIES = {"igpt": "image", "esm2": "protein"}  # what a model reads, by how its name begins
TABLE_EVERY = {"igpt-small": 6, "igpt-medium": 6, "igpt-large": 8}  # layers with neighbours
OVERLAP_FILES = {"esm2-35M": "35M", "esm2-650M": "650M", "esm2-3B": "3BM"}  # as they are spelt
RELEASED_K = 10  # neighbours of the label overlap in the authors' figure


@dataclass(frozen=True)
class ImageStatistics:
    """What the authors released of the ImageGPTs.

    Attributes
    ----------
    mus : dict
        Of each model: ratios r_2 / r_1 on 1/32 of the data, (layers, 4 repetitions, points).
    tables : dict
        Of each model: {layer: neighbours (points, columns), the point itself first}.
    labels : ndarray, (points,)
        Class of each image.
    """

    mus: dict[str, np.ndarray]
    tables: dict[str, dict[int, np.ndarray]]
    labels: np.ndarray


# -------------------------------------------------------------------------------- from statistics


def id_from_mus(mus: np.ndarray, fraction: float = 0.98) -> tuple[np.ndarray, np.ndarray]:
    """TwoNN dimensions from ratios of the first two neighbour distances.

    A point's ratio follows F(mu) = 1 - mu^(-d), so that -log(1 - F) against log(mu) is a line
    through the origin with slope d. F is the rank over the number of points. The highest ratios
    are left out: they come from points with a far second neighbour, where the density is not
    constant.

    Parameters
    ----------
    mus : ndarray, (layers, repetitions, points)
        Ratios r_2 / r_1, all at least 1.
    fraction : float
        Share of the lowest ratios in the fit, between 0 and 1; the authors' choice is 0.98.

    Returns
    -------
    dimensions, errors : ndarray, (layers,)
        Mean over the repetitions, and their population deviation over the root of their number, as
        in the authors' plotting script.

    Raises
    ------
    UserError
        If the array has another shape, too few points, or values that are no ratios.

    References
    ----------
    Facco, d'Errico, Rodriguez, Laio, "Estimating the intrinsic dimension of datasets by a minimal
    neighborhood information", Scientific Reports 7, 2017.
    """
    mus = np.asarray(mus, dtype=np.float64)
    n_kept = int(mus.shape[-1] * fraction) if mus.ndim == 3 else 0
    # `all` is False for NaN too, which no comparison with 1 lets pass
    if not (0 < fraction < 1 and n_kept >= 2 and (mus >= 1).all()):
        raise UserError(
            f"ratios {mus.shape}, fraction {fraction}: expected (layers, repetitions, points), "
            "all >= 1, and a fraction between 0 and 1; fetch the archive again"
        )
    n_repetitions, n_points = mus.shape[1:]
    log_mu = np.sort(np.log(mus), axis=-1)[..., :n_kept]
    rank = np.arange(1, n_kept + 1)
    log_survival = -np.log(1 - rank / n_points)
    slopes = (log_mu @ log_survival) / (log_mu**2).sum(axis=-1)
    return slopes.mean(axis=-1), slopes.std(axis=-1) / np.sqrt(n_repetitions)


def label_overlap_from_table(indices: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Mean share of the k nearest neighbours that carry a point's label, every class alike.

    Parameters
    ----------
    indices : ndarray, (points, more than k)
        Neighbours of each point, the point itself first.
    labels : ndarray, (points,)
    k : int
        Number of neighbours.

    Raises
    ------
    UserError
        If the table has too few columns, or holds what is none of the points.
    """
    indices, labels = np.asarray(indices), np.asarray(labels)
    if indices.ndim != 2 or len(indices) != len(labels) or not 0 < k < indices.shape[1]:
        raise UserError(
            f"table {indices.shape}, {len(labels)} labels, k = {k}: expected a row a label and "
            "more than k columns; lower k or fetch the archive again"
        )
    if indices.min() < 0 or indices.max() >= len(labels):
        raise UserError(
            f"a neighbour is none of the {len(labels)} points: expected their indices; "
            "fetch the archive again"
        )
    others = indices[:, 1 : k + 1]
    shared = (labels[others] == labels[:, None]).mean(axis=1)
    of_classes = pd.Series(shared).groupby(labels).mean()
    return float(of_classes.mean())


# ---------------------------------------------------------------------------------------- archives


def load_image_statistics(folder: str | Path) -> ImageStatistics:
    """The authors' unpacked archive on images.

    Raises
    ------
    UserError
        For a file that is missing, or is not as described.
    """
    labels = _load(folder, "imagenet_train_labels.npy", "iu", (None,))
    mus = {}
    tables = {}
    for model, every in TABLE_EVERY.items():
        size = model.removeprefix("igpt-")
        n_blocks = N_BLOCKS[model]
        name = f"imagenet_train_mus_{size}_dec32_cpt1000_rep4.npy"
        mus[model] = _load(folder, name, "f", (n_blocks + 2, 4, None), least=1)
        tables[model] = {}
        for layer in range(0, n_blocks + 1, every):
            name = f"imagenet_train_nb_index_{size}_layer{layer}_k10_cpt1000.npy"
            tables[model][layer] = _load(folder, name, "iu", (len(labels), None))
    return ImageStatistics(mus, tables, labels)


def load_protein_statistics(folder: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The authors' unpacked archive on proteins: dimension and overlap (layers,) of each ESM-2.

    Raises
    ------
    UserError
        For a file that is missing, or is not as described.
    """
    curves = {}
    for model, spelt in OVERLAP_FILES.items():
        shape = (N_BLOCKS[model] + 1,)
        dimensions = _load(folder, f"id-{model}.npy", "f", shape)
        overlaps = _load(folder, f"no-gt-esm2-{spelt}.npy", "f", shape)
        curves[model] = (dimensions, overlaps)
    return curves


def _load(
    folder: str | Path, name: str, kinds: str, shape: tuple[int | None, ...], least: float = 0
) -> np.ndarray:
    """An array below `folder` that has one of the `kinds` of numbers, a shape, and no small value.

    None in `shape` stands for any length. Archives packed on a Mac hold a second file of each
    name, which is no array.
    """
    found = [path for path in Path(folder).rglob(name) if "__MACOSX" not in path.parts]
    if not found:
        raise UserError(f"{name} is missing below {folder}: unpack the authors' archive there")
    if len(found) > 1:
        raise UserError(f"{name} is {len(found)} times below {folder}: expected one; remove others")
    io.note_read(found[0])
    try:
        array = np.load(found[0], allow_pickle=False)  # an archive from elsewhere may hold code
    except (ValueError, EOFError, OSError) as error:
        raise UserError(
            f"{name} is no readable array ({error}): expected the authors' file; fetch it again"
        ) from error
    fits = array.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    finite = array.dtype.kind in kinds and ((array >= least) & (array < np.inf)).all()
    if not (fits and finite):
        raise UserError(
            f"{name} has {array.dtype}{array.shape}: expected {shape}, finite, >= {least}; "
            "fetch it again"
        )
    return array


# ------------------------------------------------------------------------------------------ curves


def published_readings(path: str | Path = READINGS) -> pd.DataFrame:
    """This project's readings off the authors' figures, rows of `COLUMNS`; error: of reading.

    Raises
    ------
    UserError
        If the file is missing.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} is missing: expected our readings; restore it from the repository")
    readings = io.read_table(path).rename(columns={"reading_error": "error"})
    return readings.assign(source=READ)[COLUMNS]


def published_curves(folder: str | Path | None = None) -> pd.DataFrame:
    """Every published curve: a row a model, quantity and layer.

    Parameters
    ----------
    folder : path, optional
        Where the authors' archives are unpacked. Models without one are read off the figures.

    Returns
    -------
    DataFrame
        Rows of `COLUMNS`; quantity is "intrinsic_dimension" or "label_overlap".

    Raises
    ------
    UserError
        If a part of an archive is missing or not as described.
    """
    names = []
    if folder is not None:
        names = [path.name for path in io.find(folder, "**/*.npy")]
    rows = []
    if any(name.startswith("imagenet_train_") for name in names):
        rows += _image_rows(load_image_statistics(folder))
    if any(name.startswith(("id-esm2-", "no-gt-esm2-")) for name in names):
        rows += _protein_rows(load_protein_statistics(folder))
    readings = published_readings()
    if not rows:
        return readings
    released = pd.DataFrame(rows, columns=["model", "quantity", "layer", "k", "value", "error"])
    released = released.astype({"k": float, "value": float, "error": float})
    released = released.assign(n_blocks=released.model.map(N_BLOCKS), source=RELEASED)
    others = readings[~readings.model.isin(released.model)]
    return pd.concat([released[COLUMNS], others], ignore_index=True)


def _image_rows(images: ImageStatistics) -> list[tuple]:
    rows = []
    for model, mus in images.mus.items():
        dimensions, errors = id_from_mus(mus)
        for layer, dimension in enumerate(dimensions):
            rows.append((model, "intrinsic_dimension", layer, None, dimension, errors[layer]))
        for layer, table in images.tables[model].items():
            k = min(RELEASED_K, table.shape[1] - 1)
            value = label_overlap_from_table(table, images.labels, k)
            rows.append((model, "label_overlap", layer, k, value, None))
    return rows


def _protein_rows(proteins: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[tuple]:
    rows = []
    for model, (dimensions, overlaps) in proteins.items():
        for layer, value in enumerate(dimensions):
            rows.append((model, "intrinsic_dimension", layer, None, value, None))
        for layer, value in enumerate(overlaps):
            rows.append((model, "label_overlap", layer, RELEASED_K, value, None))
    return rows
