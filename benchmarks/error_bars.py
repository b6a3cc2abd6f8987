"""Compare error bars with the spread they stand for: the same estimate from independent samples.

    python benchmarks/error_bars.py [--quick] [--out FOLDER] [--layers FOLDER]

Clouds of known dimension are drawn again 60 times; layers of a run (--layers: a folder of
layer_NN.npy and labels.npy) are cut into disjoint samples. Writes error_bars.csv: true spread, and
the ratio to it of each form of error: balanced halves (`resampling`), the jackknife over groups
with fixed neighbours and with neighbours found anew, and the textbook's.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from georep_utils.geometry import resampling
from georep_utils.geometry.neighbors import Neighbors, nearest_neighbors
from georep_utils.io import REPOSITORY

K = 10
SIZE = 1000
STORED = 50
SHARE = 0.98


@dataclass(frozen=True)
class Sample:
    """A cloud, its classes, and a second view of the same points."""

    points: np.ndarray
    labels: np.ndarray
    other: np.ndarray


def draw(kind: str, seed: int) -> Sample:
    """A fresh sample of one of the known clouds."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(5)  # what makes the distribution, the same for every sample
    if kind.startswith("gaussian"):
        points = rng.standard_normal((SIZE, int(kind.split()[1])))
        labels = (points[:, 0] > 0).astype(int)
    else:
        n_classes, distance = {
            "10 classes": (10, 1.0),
            "10 classes apart": (10, 2.2),
            "100 classes": (100, 1.0),
        }[kind]
        labels = np.repeat(np.arange(n_classes), SIZE // n_classes)
        points = distance * fixed.standard_normal((n_classes, 8))[labels] + rng.standard_normal(
            (SIZE, 8)
        )
    view = np.tanh(points @ fixed.standard_normal((points.shape[1], 12)) / 2)
    return Sample(points, labels, view)


def estimates(sample: Sample, seed: int) -> pd.DataFrame:
    """Each statistic, with its error in every form: rows statistic, form, value, error."""
    rows = []
    order = resampling.groups(len(sample.points), sample.labels, seed=seed)
    table = nearest_neighbors(sample.points, STORED, 2, "cpu")
    other = nearest_neighbors(sample.other, STORED, 2, "cpu")
    near = table.indices[:, 1 : K + 1]
    hits = sample.labels[near] == sample.labels[:, None]
    common = (near[:, :, None] == other.indices[:, None, 1 : K + 1]).any(axis=2)

    value, halves = resampling.twonn_replicates(sample.points, order, 1, 1, device="cpu")
    textbook = resampling.likelihood_error(value, len(near))
    forms = _forms(
        table, order, lambda half: resampling.twonn_fit(half.distances[:, :2], SHARE), textbook
    )
    rows += [
        ("ID (TwoNN)", form, value, error)
        for form, error in (forms | {"halves": _error(halves)}).items()
    ]

    halves = resampling.label_overlap_replicates(table, sample.labels, order, K)
    textbook = np.sqrt(hits.mean() * (1 - hits.mean()) / len(hits))
    forms = _forms(
        table,
        order,
        lambda half: np.mean(sample.labels[half.indices] == sample.labels[half.rows, None]),
        textbook,
    )
    rows += [
        ("label overlap", form, hits.mean(), error)
        for form, error in (forms | {"halves": _error(halves)}).items()
    ]

    halves = resampling.data_overlap_replicates(table, other, order, K)
    fixed = _leave_one_out([common[order != g].mean() for g in range(resampling.N_GROUPS)])
    textbook = np.sqrt(common.mean() * (1 - common.mean()) / len(common))
    forms = {"halves": _error(halves), "groups, fixed neighbours": fixed, "textbook": textbook}
    rows += [("overlap of layers", form, common.mean(), error) for form, error in forms.items()]
    return pd.DataFrame(rows, columns=["statistic", "form", "value", "error"])


def _forms(table: Neighbors, order: np.ndarray, statistic, textbook: float) -> dict[str, float]:
    """The two forms of a jackknife that leaves out one group, and the textbook's error."""
    fixed, anew = [], []
    indices, distances = table.indices[:, 1:], table.distances[:, 1:]
    for g in range(resampling.N_GROUPS):
        rows = np.flatnonzero(order != g)
        fixed.append(statistic(resampling.Half(rows, indices[rows, :K], distances[rows, :K])))
        first = np.argsort(order[indices[rows]] == g, axis=1, kind="stable")[:, :K]
        left = (
            np.take_along_axis(indices[rows], first, 1),
            np.take_along_axis(distances[rows], first, 1),
        )
        anew.append(statistic(resampling.Half(rows, *left)))
    return {
        "groups, fixed neighbours": _leave_one_out(fixed),
        "groups, neighbours anew": _leave_one_out(anew),
        "textbook": textbook,
    }


def _leave_one_out(values: list[float]) -> float:
    return float(np.sqrt((len(values) - 1) * np.var(values)))


def _error(replicates: np.ndarray) -> float:
    return float(resampling.jackknife(replicates)[0])


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
    table.insert(0, "cloud", name)
    return table.reset_index()


def layer_samples(folder: Path, layer: int, size: int = 500) -> list[Sample]:
    """Disjoint samples of one layer, with the next layer as the second view."""
    points, following = (np.load(folder / f"layer_{i:02d}.npy") for i in (layer, layer + 1))
    labels = np.load(folder / "labels.npy")
    parts = np.array_split(
        np.random.default_rng(layer).permutation(len(points)), len(points) // size
    )
    return [Sample(points[rows], labels[rows], following[rows]) for rows in parts]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few samples, to see that it runs; nothing is written",
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "book/results/error_bars")
    parser.add_argument("--layers", type=Path, help="a folder with layer_NN.npy and labels.npy")
    options = parser.parse_args()
    kinds = (
        "gaussian 2",
        "gaussian 5",
        "gaussian 10",
        "gaussian 30",
        "10 classes",
        "10 classes apart",
        "100 classes",
    )
    draws = 3 if options.quick else 60
    tables = [compare(kind, [draw(kind, seed) for seed in range(draws)]) for kind in kinds]
    if options.layers:
        tables += [compare(f"layer {i}", layer_samples(options.layers, i)) for i in range(0, 24, 2)]
    table = pd.concat(tables)
    print(table.groupby(["statistic", "form"])["ratio"].describe()[["min", "50%", "max"]].round(2))
    if not options.quick:
        options.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.out / "error_bars.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
