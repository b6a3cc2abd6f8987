"""Try the plateau rule on clouds that set none of its thresholds, and count how often it is wrong.

    python benchmarks/validate_plateau.py [--quick]

Writes book/results/plateau/clouds.csv: for each cloud its kind, true dimension, noise and seed, what every scale rule reads,
whether `auto` sees a plateau, and at which scale.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from georep_utils import parallel as cluster
from georep_utils.geometry import scale_rules as dimension, synthetic as manifolds
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import atomic

KINDS = {"ball": manifolds.hyperball, "cube": manifolds.hypercube, "sphere": manifolds.sphere, "torus": manifolds.torus,
         "swiss roll": manifolds.swiss_roll, "curved": manifolds.curved}  # fmt: skip
DIMENSIONS, NOISES, SEEDS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20), (0.0, 0.003, 0.01, 0.02), (31, 32)
SIZE = {"swiss roll": 10}  # the others have a size of about 1


def read(n: int, case: tuple) -> dict:
    """One cloud under every rule. Noise is the deviation of each coordinate over the size of the cloud."""
    kind, truth, noise, seed = case
    ambient = max(20, 2 * truth + 10)
    X = KINDS[kind](n, truth, ambient, noise * SIZE.get(kind, 1), seed=1000 * seed + truth)
    curves = pd.concat([dimension.twonn_scaling(X, (4, 32)), dimension.gride_scaling(nearest_neighbors(X, 2, 1024))])
    chosen = {rule: dimension.select_scale(curves, rule) for rule in ("auto", *dimension.RULES)}
    facts = dict(zip(("cloud", "dimension", "noise", "seed"), case)) | {"n": n}
    found = {"plateau": chosen["auto"].plateau, "scale": chosen["auto"].scale}
    return facts | found | {rule: selection.profile.id[0] for rule, selection in chosen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few clouds, to see that it runs; nothing is written")
    options = parser.parse_args()
    cases = list(itertools.product(KINDS, DIMENSIONS, NOISES, SEEDS))[:: 40 if options.quick else 1]
    order = np.random.default_rng(0).permutation(len(cases))  # like clouds on different workers
    found = cluster.map(functools.partial(read, 5000), [cases[i] for i in order], "local", progress="clouds")
    table = pd.DataFrame([found[i] for i in np.argsort(order)])
    wrong = (table.auto / table.dimension - 1).abs() > 0.1
    print(
        f"{len(table)} clouds, {table.plateau.sum()} with a plateau, {(wrong & table.plateau).sum()} of these off by a tenth"
    )
    if not options.quick:
        with atomic(REPOSITORY / "book/results/plateau/clouds.csv") as path:
            table.to_csv(path, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
