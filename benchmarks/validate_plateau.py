"""Try the plateau rule on clouds that set none of its thresholds, and count how often it is wrong.

    python benchmarks/validate_plateau.py [--quick]

The thresholds of `georep_utils.geometry.scale_rules` were chosen by looking at some clouds; how
often they err can only be seen on others. Here are 480: six manifolds of known dimension, from 2 to
20, without noise and with three strengths of it, from two seeds each.

Writes book/results/plateau/clouds.csv: for each cloud its kind, true dimension, noise and seed,
whether `auto` sees a plateau and at which scale, and what every scale rule reads.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from georep_utils import parallel
from georep_utils.geometry import synthetic
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.geometry.scale_rules import RULES, select_scale
from georep_utils.geometry.scaling import gride_scaling, twonn_scaling
from georep_utils.io import REPOSITORY, write_table

KINDS = {
    "ball": synthetic.hyperball,
    "cube": synthetic.hypercube,
    "sphere": synthetic.sphere,
    "torus": synthetic.torus,
    "swiss roll": synthetic.swiss_roll,
    "curved": synthetic.curved,
}
DIMENSIONS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20)
NOISES = (0.0, 0.003, 0.01, 0.02)
SEEDS = (31, 32)
N_POINTS = 5000
SIZE = {"swiss roll": 10}  # the others have a size of about 1
TOLERANCE = 0.1  # relative error of a dimension from which it counts as wrong
QUICK_STEP = 40  # a quick run takes one cloud of so many


@dataclass(frozen=True)
class Case:
    """A cloud. Noise is the deviation of each coordinate over the size of the cloud."""

    cloud: str
    dimension: int
    noise: float
    seed: int

    def points(self) -> np.ndarray:
        """The points (N_POINTS, ambient)."""
        make = KINDS[self.cloud]
        # Room for every kind: `curved` needs twice as many coordinates as dimensions.
        ambient = max(20, 2 * self.dimension + 10)
        noise = self.noise * SIZE.get(self.cloud, 1)
        seed = 1000 * self.seed + self.dimension
        return make(N_POINTS, self.dimension, ambient, noise, seed=seed)


def read(case: Case) -> dict:
    """One cloud under every rule: a row of the table."""
    X = case.points()
    twonn = twonn_scaling(X, (4, 32))
    gride = gride_scaling(nearest_neighbors(X, 2, 1024))
    curves = pd.concat([twonn, gride])
    row = asdict(case) | {"n": N_POINTS}
    auto = select_scale(curves, "auto")
    row["plateau"] = auto.plateau
    row["scale"] = auto.scale
    row["auto"] = auto.profile["id"].iloc[0]
    for rule in RULES:
        row[rule] = select_scale(curves, rule).profile["id"].iloc[0]
    return row


def read_all(cases: list[Case]) -> pd.DataFrame:
    """A row for each case, in their order."""
    # Mixed, so that every worker meets clouds of all kinds and none ends long after the others.
    order = np.random.default_rng(0).permutation(len(cases))
    mixed = [cases[i] for i in order]
    rows = parallel.map(read, mixed, "local", progress="clouds")
    return pd.DataFrame([rows[i] for i in np.argsort(order)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few clouds, to see that it runs; writes nothing"
    )
    options = parser.parse_args()
    cases = [Case(*values) for values in itertools.product(KINDS, DIMENSIONS, NOISES, SEEDS)]
    if options.quick:
        cases = cases[::QUICK_STEP]
    table = read_all(cases)
    wrong = (table["auto"] / table["dimension"] - 1).abs() > TOLERANCE
    n_plateaus = table["plateau"].sum()
    n_wrong = (wrong & table["plateau"]).sum()
    print(f"{len(table)} clouds, {n_plateaus} with a plateau, {n_wrong} of these off by a tenth")
    if not options.quick:
        write_table(REPOSITORY / "book/results/plateau/clouds.csv", table)


if __name__ == "__main__":
    main()
