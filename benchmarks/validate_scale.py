"""Count how often the certificate of the scale rule `auto` is wrong, on clouds that set none of its
thresholds.

    python benchmarks/validate_scale.py [--quick] [--set validation design parts manifolds]
                                        [--jobs 2] [--out FOLDER]

The families of clouds are in `scale_families.py`: those that the thresholds were set on (design),
others that the certificates are counted on (validation), and small parts of another dimension, to
which the certificate is blind (parts). The seed and the first 4,800 clouds were fixed before any
was read. After 2,920 of these, with 153 certificates and none wrong, the number was raised to
6,400, since 299 certificates without an error are the least that show a share of at most 1 %.

Writes clouds.csv, design.csv and parts.csv, a row a cloud: what `auto` reads and at which scale,
which of its two tests refused ("scale", "law" or neither), whether it certifies, and whether that
is wrong: off by more than a tenth. A certificate for a mixture is always wrong, since a mixture has
no one dimension. A cloud takes a quarter of a second on one core. The book's clouds.csv
holds all 6,400; a cloud depends on its number alone.

Last, manifolds.csv: each of scikit-dimension's benchmark manifolds once, with 5,000 points, beside
TwoNN on all of them.
"""

from __future__ import annotations

import multiprocessing
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scale_families import DESIGN, PARTS, VALIDATION, Cloud, every_benchmark_manifold, make
from scipy import stats
from threadpoolctl import threadpool_limits
from timing import table_arguments, write_unless_quick

from georep_utils.geometry.neighbors import Neighbors, largest_range
from georep_utils.geometry.scale_rules import select_scale, with_dispersion
from georep_utils.geometry.scaling import gride_scaling, twonn_scaling

TOLERANCE = 0.1  # relative error from which a certificate is wrong: what the rule promises
SEED = 20261128
# name: families, number of clouds, name of the table
SETS = {
    "validation": (VALIDATION, 6400, "clouds"),
    "design": (DESIGN, 900, "design"),
    "parts": (PARTS, 300, "parts"),
}
MANIFOLDS, MANIFOLD_POINTS = "manifolds", 5000
QUICK = 20  # clouds of each set
ROWS = 500  # of the matrix of distances, at one time


def all_neighbors(points: np.ndarray) -> Neighbors:
    """Distances to neighbours as `nearest_neighbors` finds them, from all distances, sorted.

    For small clouds this takes less time than a search that avoids it. Who the neighbours are is
    not asked by any estimator of dimension, and is not stored.
    """
    points = points.astype(np.float32).astype(float)
    points = points - points.mean(axis=0)
    squares = (points**2).sum(axis=1)
    range_max = largest_range(len(points))
    ranks = 2 ** np.arange(range_max.bit_length())
    distances = np.empty((len(points), len(ranks)))
    for first in range(0, len(points), ROWS):
        rows = slice(first, first + ROWS)
        block = squares[rows, None] + squares - 2 * points[rows] @ points.T
        np.fill_diagonal(block[:, first:], -np.inf)  # the point itself comes first
        block.sort(axis=1)
        distances[rows] = np.sqrt(np.maximum(block[:, ranks], 0))
    mus = distances[:, 1:] / distances[:, :-1]
    means = distances.mean(axis=0)
    return Neighbors(
        distances=np.column_stack([np.zeros(len(points)), distances[:, :2]]),
        indices=np.empty((len(points), 0), dtype=np.int32),
        mus=mus,
        radii=np.column_stack([means[:-1], means[1:]]),
        rank_distances=distances,
    )


def read(cloud: Cloud) -> dict:
    """One cloud under `auto`: a row of the table."""
    near = all_neighbors(cloud.points)
    curve = with_dispersion(gride_scaling(near), near).assign(layer=0)
    chosen = select_scale(curve, "auto")
    value = float(chosen.profile["id"].iloc[0])
    # False for a mixture: its dimension is not a number.
    right = abs(value / cloud.dimension - 1) <= TOLERANCE
    here = chosen.diagnostics[chosen.diagnostics["scale"] == chosen.scale].iloc[0]
    certified = here["refused"] == ""
    return {
        "cloud": cloud.name,
        "points": len(cloud.points),
        "dimension": cloud.dimension,
        "scale": chosen.scale,
        "id": value,
        "bias": here["bias"],
        "dispersion": here["dispersion"],
        "refused": here["refused"],
        "certified": certified,
        "wrong": certified and not right,
    }


def read_number(families: tuple, number: int) -> dict:
    """Cloud of that number, read on one core."""
    with threadpool_limits(1):
        return {"number": number} | read(make(families, SEED, number))


def read_manifold(cloud: Cloud) -> dict:
    """One benchmark manifold, by `auto` and by TwoNN on all points."""
    with threadpool_limits(1):
        plain = twonn_scaling(cloud.points.astype(np.float32), (1,))
        return read(cloud) | {"twonn": float(plain["id"].iloc[0])}


def upper_bound(wrong: int, certified: int, level: float = 0.95) -> float:
    """Clopper and Pearson's one-sided upper bound of the share of wrong ones."""
    sides = stats.binomtest(wrong, certified, alternative="less")
    return float(sides.proportion_ci(level).high)


def summary(name: str, table: pd.DataFrame) -> str:
    """One line about a set of clouds."""
    certified = int(table["certified"].sum())
    wrong = int(table["wrong"].sum())
    line = f"{name}: {len(table)} clouds, {certified} certified, {wrong} of these wrong"
    if certified:
        line += f"; with 95 % confidence at most {upper_bound(wrong, certified):.2%}"
    return line


def main() -> None:
    parser = table_arguments(__doc__, "scale_rules")
    every = [*SETS, MANIFOLDS]
    parser.add_argument("--set", nargs="+", choices=every, default=every)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    # "spawn", since a forked process can hang in the threads of its parent.
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for name in [name for name in options.set if name in SETS]:
            families, count, file = SETS[name]
            numbers = range(QUICK if options.quick else count)
            rows = pool.imap(partial(read_number, families), numbers, chunksize=4)
            table = pd.DataFrame(rows)
            print(summary(name, table), flush=True)
            write_unless_quick(options, file, table)
        if MANIFOLDS in options.set:
            n = 300 if options.quick else MANIFOLD_POINTS
            table = pd.DataFrame(pool.imap(read_manifold, every_benchmark_manifold(n)))
            print(summary(MANIFOLDS, table), flush=True)
            write_unless_quick(options, MANIFOLDS, table)


if __name__ == "__main__":
    main()
