"""What the authors released, read as their plotting script reads it, and our readings of their figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from georep_utils.io import REPOSITORY, UserError

READINGS = REPOSITORY / "book/reference/published_curves.csv"
N_BLOCKS = {"igpt-small": 24, "igpt-medium": 36, "igpt-large": 48, "esm2-35M": 12, "esm2-650M": 33, "esm2-3B": 36}
IMAGE_MODELS = {"igpt-small": 6, "igpt-medium": 6, "igpt-large": 8}  # with a neighbour table every so many layers
PROTEIN_MODELS = {"esm2-35M": "35M", "esm2-650M": "650M", "esm2-3B": "3BM"}  # as spelt in the overlap files
COLUMNS = ["model", "quantity", "layer", "n_blocks", "k", "value", "error", "source"]


@dataclass(frozen=True)
class ImageStatistics:
    """Of each ImageGPT: ratios `mus` (L+2, 4, n) = r_2/r_1 of decimated data, neighbour `tables` by layer (N, columns,
    the point itself first); and the class `labels` (N,) of the images."""

    mus: dict[str, np.ndarray]
    tables: dict[str, dict[int, np.ndarray]]
    labels: np.ndarray


def load_image_statistics(folder: str | Path) -> ImageStatistics:
    """The authors' unpacked image archive. Raises UserError for a file that is missing or not as described."""
    mus, tables = {}, {}
    labels = _load(folder, "imagenet_train_labels.npy", "iu", (None,))
    for m, step in IMAGE_MODELS.items():
        mus[m] = _load(folder, f"imagenet_train_mus_{m[5:]}_dec32_cpt1000_rep4.npy", "f", (N_BLOCKS[m] + 2, 4, None), 1)
        tables[m] = {
            i: _load(folder, f"imagenet_train_nb_index_{m[5:]}_layer{i}_k10_cpt1000.npy", "iu", (len(labels), None))
            for i in range(0, N_BLOCKS[m] + 1, step)
        }
    return ImageStatistics(mus, tables, labels)


def load_protein_statistics(folder: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The authors' unpacked protein archive: for each ESM-2 (ID, superfamily overlap), each of shape (L+1,)."""
    return {
        m: tuple(_load(folder, n, "f", (N_BLOCKS[m] + 1,)) for n in (f"id-{m}.npy", f"no-gt-esm2-{spelt}.npy"))
        for m, spelt in PROTEIN_MODELS.items()
    }


def id_from_mus(mus: np.ndarray, fraction: float = 0.98) -> tuple[np.ndarray, np.ndarray]:
    """TwoNN estimates (L,) and their standard errors (L,) from ratios r_2/r_1 `mus` (L, repetitions, n).

    Per repetition, the slope through the origin of -log(1 - i/n) against the i-th smallest log(mu), over the lowest
    `fraction` of them; then mean and population deviation over sqrt(repetitions) (Facco et al. 2017; the fit of the
    authors' plotting script). Raises UserError for another shape, too few points or no fraction in (0, 1).
    """
    mus = np.asarray(mus, dtype=np.float64)
    n_kept = int(mus.shape[-1] * fraction) if mus.ndim == 3 else 0
    if not (0 < fraction < 1 and n_kept >= 2 and (mus >= 1).all()):
        raise UserError(f"ratios {mus.shape}, fraction {fraction}: expected (L, repetitions, n), all >= 1; fetch again")
    x = np.sort(np.log(mus), axis=-1)[..., :n_kept]
    y = -np.log(1 - np.arange(1, n_kept + 1) / mus.shape[-1])
    slopes = (x @ y) / (x**2).sum(-1)
    return slopes.mean(-1), slopes.std(-1) / np.sqrt(mus.shape[1])


def label_overlap_from_table(indices: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Mean fraction of the k nearest neighbours that carry a point's own label, every class counting the same.

    `indices` (N, >= k+1) holds each point itself first, `labels` (N,). Raises UserError for anything else.
    """
    indices, labels = np.asarray(indices), np.asarray(labels)
    if indices.ndim != 2 or len(indices) != len(labels) or not 0 < k < indices.shape[1]:
        raise UserError(f"table {indices.shape}, {len(labels)} labels, k = {k}: expected (N, > k), N; lower k")
    if indices.min() < 0 or indices.max() >= len(labels):
        raise UserError(f"a neighbour is none of the {len(labels)} points: expected their indices; fetch it again")
    shared = (labels[indices[:, 1 : k + 1]] == labels[:, None]).mean(1)
    return float(pd.Series(shared).groupby(labels).mean().mean())


def published_readings(path: str | Path = READINGS) -> pd.DataFrame:
    """This project's readings off the authors' released figures, with their reading error: not the authors' numbers."""
    if not Path(path).is_file():
        raise UserError(f"{path} is missing: expected our readings; restore it from the repository")
    readings = pd.read_csv(path).rename(columns={"reading_error": "error"})
    return readings.assign(source="read off the authors' figures")[COLUMNS]


def profiles(folder: str | Path | None = None) -> pd.DataFrame:
    """The published curves, one row a model, quantity ("intrinsic_dimension" or "label_overlap") and layer.

    Columns model, quantity, layer, n_blocks, k, value, error, source. An archive below `folder` serves for its models;
    models without one are read off the figures, and `source` says which. Raises UserError for a part of an archive.
    """
    rows, files = [], [] if folder is None else [path.name for path in Path(folder).rglob("*.npy")]
    if any(name.startswith("imagenet_train_") for name in files):
        images = load_image_statistics(folder)
        for m, mus in images.mus.items():
            rows += [(m, "intrinsic_dimension", i, None, *pair) for i, pair in enumerate(zip(*id_from_mus(mus)))]
            for i, table in images.tables[m].items():
                k = min(10, table.shape[1] - 1)
                rows.append((m, "label_overlap", i, k, label_overlap_from_table(table, images.labels, k), None))
    if any(name.startswith(("id-esm2-", "no-gt-esm2-")) for name in files):
        for m, (ids, overlaps) in load_protein_statistics(folder).items():
            rows += [(m, "intrinsic_dimension", i, None, value, None) for i, value in enumerate(ids)]
            rows += [(m, "label_overlap", i, 10, value, None) for i, value in enumerate(overlaps)]
    readings = published_readings()
    if not rows:
        return readings
    released = pd.DataFrame(rows, columns=["model", "quantity", "layer", "k", "value", "error"])
    released = released.astype({"k": float, "value": float, "error": float})
    released = released.assign(n_blocks=released.model.map(N_BLOCKS), source="released by the authors")[COLUMNS]
    return pd.concat([released, readings[~readings.model.isin(released.model)]], ignore_index=True)


def _load(folder: str | Path, name: str, kinds: str, shape: tuple[int | None, ...], least: float = 0) -> np.ndarray:
    found = [p for p in Path(folder).rglob(name) if "__MACOSX" not in p.parts]
    if len(found) != 1:
        raise UserError(f"{name} is {'there twice' if found else 'missing'} below {folder}: unpack the archive there")
    try:
        array = np.load(found[0], allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{name} is no readable array ({error}): expected the authors' file; fetch it again") from error
    as_described = len(shape) == array.ndim and all(s in (None, t) for s, t in zip(shape, array.shape))
    if not as_described or array.dtype.kind not in kinds or not ((array >= least) & (array < np.inf)).all():
        raise UserError(f"{name} has {array.dtype}{array.shape}: expected {shape}, finite, >= {least}; fetch it again")
    return array
