"""Count how often `semantic_layer` finds a layer where there is one, and where there is none.

    python benchmarks/operating_curve.py [--quick] [--out FOLDER]

Profiles of known shape (`known_profiles`) are drawn again and again with noise, and given to the
rule: with their true errors; with none, so that the rule takes them from the profile's own scatter;
and as balanced halves, with noise that neighbouring layers share. Such noise is also drawn where
the rule has nothing but the scatter, and is told the right correlation, or a wrong one.

Writes operating_curve.csv, a row for each profile, number of layers, noise, kind of error, and
correlation of neighbouring errors, the true one and the one that is assumed: the share of draws in
which a minimum or a plateau was found and, for a profile with a minimum, the share of findings
whose confidence set holds it (`covered`) and by how many layers the reported one is off (`offset`,
a median). The rule promises that profiles without a feature are found in at most a twentieth of the
draws, where its errors are right. Takes about four minutes on one core.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from timing import table_arguments, write_unless_quick

from georep_utils.geometry.known_profiles import WITH, WITHOUT
from georep_utils.geometry.resampling import N_GROUPS, half_samples, jackknife
from georep_utils.geometry.semantic_layer import SemanticLayer, semantic_layer

LAYERS = (25, 37, 49)  # of the three ImageGPTs; the ESM-2s lie between 13 and 37
NOISES = (0.005, 0.015, 0.03, 0.06)
DRAWS = 200
FEWER_DRAWS = 50  # where errors have to be estimated for each draw
QUICK_DRAWS = 4
HARDEST = ("flat", "broad top", "rise, then linear fall of 12 %", "minimum of 20 %")
# Layers read the same samples, so most of their noise is shared.
CORRELATION = 0.9
# Correlations of neighbouring errors, true and assumed, where errors are read from the scatter.
RIGHT = ((0.5, 0.5), (0.9, 0.9))
WRONG = ((0.5, 0.0), (0.9, 0.0), (0.0, 0.9))
EARLIEST = 0.2  # depth of the first peak: a minimum is looked for after it


@dataclass(frozen=True)
class Case:
    """One cell of the table.

    profile: its name; layers: how many; noise: relative to the ID; errors: "known", "scatter" or
    "jackknife"; draws: how many; correlation: of the errors of neighbouring layers; assumed: the
    one that the rule is told, where errors are "scatter".
    """

    profile: str
    layers: int
    noise: float
    errors: str
    draws: int
    correlation: float = 0.0
    assumed: float = 0.0


def cases(draws: int, fewer: int) -> list[Case]:
    """Known errors everywhere; estimated ones, which take longer, where they matter most."""
    known = [
        Case(profile, n, noise, "known", draws)
        for profile in (*WITHOUT, *WITH)
        for n in LAYERS
        for noise in NOISES
    ]
    scatter = [Case(profile, n, 0.03, "scatter", fewer) for profile in HARDEST for n in LAYERS[:2]]
    halves = [
        Case(profile, LAYERS[0], 0.03, "jackknife", fewer, CORRELATION) for profile in HARDEST
    ]
    return known + scatter + halves + shared_cases(draws, fewer)


def shared_cases(draws: int, fewer: int) -> list[Case]:
    """Errors that neighbouring layers share, where the rule sees the scatter only."""
    right = [
        Case(profile, LAYERS[0], 0.03, "scatter", draws, *pair)
        for pair in RIGHT
        for profile in HARDEST
    ]
    wrong = [
        Case(profile, LAYERS[0], 0.03, "scatter", fewer, *pair)
        for pair in WRONG
        for profile in HARDEST
    ]
    # Errors above the prominence, over more layers, are the hardest.
    large = [
        Case("flat", LAYERS[1], NOISES[-1], "scatter", fewer, CORRELATION, assumed)
        for assumed in (CORRELATION, 0.0)
    ]
    return right + wrong + large


def measure(case: Case) -> dict:
    """Draw profiles, and count what the rule finds: a row of the table."""
    rng = np.random.default_rng(case.layers)
    depth = np.linspace(0, 1, case.layers)
    truth = (WITHOUT | WITH)[case.profile](depth)
    found = [find(truth, case, rng) for _ in range(case.draws)]
    kinds = [one.kind for one in found]
    row = asdict(case)
    row["has_feature"] = case.profile in WITH
    row["minimum"] = kinds.count("minimum") / case.draws
    row["plateau"] = kinds.count("plateau") / case.draws
    row["covered"] = np.nan
    row["offset"] = np.nan
    minima = [one for one in found if one.kind == "minimum"]
    if minima and "minimum" in case.profile:
        lowest = int(np.argmin(np.where(depth < EARLIEST, np.inf, truth)))
        row["covered"] = np.mean([one.low <= lowest <= one.high for one in minima])
        row["offset"] = np.median([abs(one.layer - lowest) for one in minima])
    return row


def find(truth: np.ndarray, case: Case, rng: np.random.Generator) -> SemanticLayer:
    """What the rule says of one noisy copy of a profile, with errors of the kind of the case."""
    if case.errors == "jackknife":
        return _from_halves(truth, case, rng)
    root = case.noise * _root(len(truth), case.correlation)
    ids = truth * (1 + root @ rng.standard_normal(len(truth)))
    profile = pd.DataFrame({"layer": np.arange(len(truth)), "id": ids})
    if case.errors == "scatter":
        return semantic_layer(profile, scatter=True, correlation=case.assumed)
    return semantic_layer(profile.assign(id_err=case.noise * truth))


def _root(n: int, correlation: float) -> np.ndarray:
    """What makes errors that neighbours share out of independent ones."""
    layers = np.arange(n)
    return np.linalg.cholesky(correlation ** np.abs(layers[:, None] - layers))


def _from_halves(truth: np.ndarray, case: Case, rng: np.random.Generator) -> SemanticLayer:
    """Each group of samples has a profile of its own; halves of the groups give the covariance."""
    layers = np.arange(len(truth))
    # The mean over the groups has the wanted noise if each group has this much more of it.
    root = _root(len(truth), case.correlation) * np.sqrt(N_GROUPS) * case.noise
    by_group = truth * (1 + rng.standard_normal((N_GROUPS, len(truth))) @ root.T)
    replicates = np.array(
        [
            (by_group[half].mean(axis=0), by_group[~half].mean(axis=0))
            for half in half_samples(N_GROUPS)
        ]
    )
    _, covariance = jackknife(replicates)
    profile = pd.DataFrame({"layer": layers, "id": by_group.mean(axis=0)})
    return semantic_layer(profile, covariance=covariance, groups=N_GROUPS)


def main() -> None:
    options = table_arguments(__doc__, "operating_curve").parse_args()
    chosen = cases(QUICK_DRAWS, QUICK_DRAWS) if options.quick else cases(DRAWS, FEWER_DRAWS)
    table = pd.DataFrame([measure(case) for case in chosen])
    right = (table["errors"] != "scatter") | (table["assumed"] == table["correlation"])
    false = (table["minimum"] + table["plateau"])[right & ~table["has_feature"]]
    print(f"{len(false)} cells without a feature: found in at most {false.max():.3f} of the draws")
    write_unless_quick(options, "operating_curve", table)


if __name__ == "__main__":
    main()
