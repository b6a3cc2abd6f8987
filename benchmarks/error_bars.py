"""Compare error bars with the spread they stand for: the same estimate from independent samples.

    python benchmarks/error_bars.py [--quick] [--out FOLDER] [--layers FOLDER]

Clouds of known law are drawn again 60 times. Writes clouds.csv, a row for each of them, each
statistic (the ID, the label overlap, the overlap of two layers) and each form of its error: the
spread of the estimate over the samples, and the ratio to it of the error (root mean square over
the samples). The forms are

- halves: from balanced halves of the samples (`resampling`), which the book uses;
- groups, fixed neighbours: a jackknife that leaves out the terms of one group of points, but keeps
  these points as neighbours of the others;
- groups, neighbours anew: a jackknife that leaves these points out altogether;
- textbook: the error that the statistic would have if its terms were independent.

With --layers (a folder of layer_NN.npy and labels.npy) the layers of a run are cut into disjoint
samples and treated in the same way: layers.csv.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from timing import table_arguments, write_unless_quick

from georep_utils.geometry import resampling
from georep_utils.geometry.neighbors import Neighbors, nearest_neighbors

K = 10
SIZE = 1000
LAYER_SIZE = 500
STORED = 50
SHARE = 0.98
DRAWS = 60
QUICK_DRAWS = 3
DIMENSIONS = (2, 5, 10, 30)
MIXED = 8  # dimension of the clouds of classes
CLASSES = {  # number of classes, distance between their centres
    "10 classes": (10, 1.0),
    "10 classes apart": (10, 2.2),
    "100 classes": (100, 1.0),
}
LAYERS = range(0, 24, 2)
FORMS = ("groups, fixed neighbours", "groups, neighbours anew", "textbook", "halves")


@dataclass(frozen=True)
class Sample:
    """A cloud, its classes, and a second view of the same points."""

    points: np.ndarray
    labels: np.ndarray
    other: np.ndarray


@dataclass(frozen=True)
class Searched:
    """A sample with its groups and the neighbours of both views."""

    sample: Sample
    groups: np.ndarray
    table: Neighbors
    other: Neighbors


# ------------------------------------------------------------------------------------------ samples


def draw(kind: str, seed: int) -> Sample:
    """A fresh sample of one of the known clouds."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(5)  # what makes the distribution, the same for every sample
    if kind in CLASSES:
        n_classes, distance = CLASSES[kind]
        labels = np.repeat(np.arange(n_classes), SIZE // n_classes)
        centres = distance * fixed.standard_normal((n_classes, MIXED))
        points = centres[labels] + rng.standard_normal((SIZE, MIXED))
    else:
        points = rng.standard_normal((SIZE, int(kind.removeprefix("gaussian "))))
        labels = (points[:, 0] > 0).astype(int)
    view = np.tanh(points @ fixed.standard_normal((points.shape[1], 12)) / 2)
    return Sample(points, labels, view)


def layer_samples(folder: Path, layer: int) -> list[Sample]:
    """Disjoint samples of one layer, with the next layer as the second view."""
    points = np.load(folder / f"layer_{layer:02d}.npy")
    following = np.load(folder / f"layer_{layer + 1:02d}.npy")
    labels = np.load(folder / "labels.npy")
    order = np.random.default_rng(layer).permutation(len(points))
    parts = np.array_split(order, len(points) // LAYER_SIZE)
    return [Sample(points[rows], labels[rows], following[rows]) for rows in parts]


# ------------------------------------------------------------------------------------------- errors


def estimates(sample: Sample, seed: int) -> pd.DataFrame:
    """Each statistic, with its error in every form: rows statistic, form, value, error."""
    searched = Searched(
        sample,
        resampling.groups(len(sample.points), sample.labels, seed=seed),
        nearest_neighbors(sample.points, STORED, 2, "cpu"),
        nearest_neighbors(sample.other, STORED, 2, "cpu"),
    )
    rows = []
    for statistic, measured in {
        "ID (TwoNN)": _dimension,
        "label overlap": _label_overlap,
        "overlap of layers": _layer_overlap,
    }.items():
        value, errors = measured(searched)
        rows += [(statistic, form, value, errors[form]) for form in FORMS if form in errors]
    return pd.DataFrame(rows, columns=["statistic", "form", "value", "error"])


def _dimension(searched: Searched) -> tuple[float, dict[str, float]]:
    points = searched.sample.points
    value, halves = resampling.twonn_replicates(points, searched.groups, 1, 1, device="cpu")
    errors = _leaving_out(searched, lambda half: resampling.twonn_fit(half.distances[:, :2], SHARE))
    errors["halves"] = _error(halves)
    errors["textbook"] = resampling.likelihood_error(value, len(points))
    return value, errors


def _label_overlap(searched: Searched) -> tuple[float, dict[str, float]]:
    labels = searched.sample.labels
    near = searched.table.indices[:, 1 : K + 1]
    value = np.mean(labels[near] == labels[:, None])
    errors = _leaving_out(
        searched, lambda half: np.mean(labels[half.indices] == labels[half.rows, None])
    )
    halves = resampling.label_overlap_replicates(searched.table, labels, searched.groups, K)
    errors["halves"] = _error(halves)
    errors["textbook"] = _binomial(value, len(labels))
    return value, errors


def _layer_overlap(searched: Searched) -> tuple[float, dict[str, float]]:
    near = searched.table.indices[:, 1 : K + 1]
    other = searched.other.indices[:, 1 : K + 1]
    common = (near[:, :, None] == other[:, None]).any(axis=2)
    value = common.mean()
    kept = [common[searched.groups != g].mean() for g in range(resampling.N_GROUPS)]
    halves = resampling.data_overlap_replicates(searched.table, searched.other, searched.groups, K)
    errors = {
        "groups, fixed neighbours": _leave_one_out(kept),
        "halves": _error(halves),
        "textbook": _binomial(value, len(common)),
    }
    return value, errors


def _leaving_out(searched: Searched, statistic: Callable) -> dict[str, float]:
    """The two forms of a jackknife that leaves out one group."""
    fixed = []
    anew = []
    indices = searched.table.indices[:, 1:]
    distances = searched.table.distances[:, 1:]
    for g in range(resampling.N_GROUPS):
        rows = np.flatnonzero(searched.groups != g)
        nearest = np.tile(np.arange(K), (len(rows), 1))
        fixed.append(statistic(resampling.Half(rows, nearest, indices, distances)))
        # The neighbours that are left come first, nearest first.
        left = np.argsort(searched.groups[indices[rows]] == g, axis=1, kind="stable")[:, :K]
        anew.append(statistic(resampling.Half(rows, left, indices, distances)))
    return {
        "groups, fixed neighbours": _leave_one_out(fixed),
        "groups, neighbours anew": _leave_one_out(anew),
    }


def _leave_one_out(values: list[float]) -> float:
    return float(np.sqrt((len(values) - 1) * np.var(values)))


def _error(replicates: np.ndarray) -> float:
    return float(resampling.jackknife(replicates)[0])


def _binomial(share: float, n: int) -> float:
    return float(np.sqrt(share * (1 - share) / n))


# ------------------------------------------------------------------------------------------- tables


def compare(name: str, samples: list[Sample]) -> pd.DataFrame:
    """True spread over the samples, and each form's root mean square error over it."""
    found = pd.concat([estimates(sample, seed) for seed, sample in enumerate(samples)])
    found["square"] = found["error"] ** 2
    table = found.groupby(["statistic", "form"], sort=False).agg(
        value=("value", "mean"),
        spread=("value", "std"),
        mean_square=("square", "mean"),
        samples=("value", "size"),
    )
    table["ratio"] = np.sqrt(table.pop("mean_square")) / table["spread"]
    return table.reset_index().assign(cloud=name)


def main() -> None:
    parser = table_arguments(__doc__, "error_bars")
    parser.add_argument("--layers", type=Path, help="a folder with layer_NN.npy and labels.npy")
    options = parser.parse_args()
    draws = QUICK_DRAWS if options.quick else DRAWS
    kinds = [f"gaussian {dimension}" for dimension in DIMENSIONS] + list(CLASSES)
    known = [compare(kind, [draw(kind, seed) for seed in range(draws)]) for kind in kinds]
    _report(options, "clouds", known)
    if options.layers:
        layers = [compare(f"layer {i}", layer_samples(options.layers, i)) for i in LAYERS]
        _report(options, "layers", layers)


def _report(options, name: str, tables: list[pd.DataFrame]) -> None:
    table = pd.concat(tables)
    ratios = table.groupby(["statistic", "form"])["ratio"].describe()
    print(ratios[["min", "50%", "max"]].round(2))
    write_unless_quick(options, name, table)


if __name__ == "__main__":
    main()
