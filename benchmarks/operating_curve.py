"""Count how often `semantic_layer` finds a layer where there is one, and where there is none.

    python benchmarks/operating_curve.py [--quick] [--out FOLDER]

Writes operating_curve.csv, a row for each profile, number of layers, noise and kind of error: the
share of draws in which a minimum or a plateau was found and, where the profile has one, how often
the confidence set held it. Profiles without a feature may be found in at most a twentieth of the
draws. Writes published_choices.csv: what the rule finds on the published profiles under several
values of the prominence. Takes about a minute and a half on one core.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

# The path to the package is set above, so these come late.
from georep_utils.geometry.resampling import half_samples, jackknife  # noqa: E402  (see above)
from georep_utils.geometry.semantic_layer import semantic_layer  # noqa: E402  (see above)

LAYERS = (25, 37, 49)
NOISES = (0.005, 0.015, 0.03, 0.06)
PROMINENCES = (0.02, 0.03, 0.05, 0.08, 0.1, 0.15)
GROUPS = 20
READINGS = REPOSITORY / "book/reference/published_curves.csv"


@dataclass(frozen=True)
class Case:
    """One cell of the table: a profile, how many layers it has, its relative noise, and where the
    errors come from.
    """

    profile: str
    layers: int
    noise: float
    errors: str
    draws: int


def flat(depth):
    return np.full_like(depth, 10.0)


def broad_top(depth):
    return 20 - 10 * np.abs(2 * depth - 1) ** 4


def parabola(depth):
    return 20 - 10 * (2 * depth - 1) ** 2


def rising(depth):
    return 5 + 15 * (1 - np.exp(-4 * depth))


def falling(depth):
    return 20 - 15 * (1 - np.exp(-4 * depth))


def linear(depth):
    return 20 * (1 - 0.28 * depth)


def rise_then_linear(depth, fall=0.28):
    """A peak at a fifth of the depth; every layer after it is lower than the one before."""
    after = 20 * (1 - fall * (depth - 0.2) / 0.8)
    return np.where(depth < 0.2, 10 + 50 * depth, after)


def minimum(depth, share):
    """A peak at a fifth of the depth and a minimum half way, lower by `share`."""
    after = 20 * (1 - share * np.exp(-(((depth - 0.5) / 0.13) ** 2)))
    return np.where(depth < 0.2, 10 + 50 * depth, after)


def plateau(depth):
    """A peak at a fifth of the depth, then half of its ID from the middle to the end."""
    after = np.where(depth < 0.5, 20 - 10 * (depth - 0.2) / 0.3, 10.0)
    return np.where(depth < 0.2, 10 + 50 * depth, after)


WITHOUT = {
    "flat": flat,
    "broad top": broad_top,
    "parabola": parabola,
    "rising": rising,
    "falling": falling,
    "linear": linear,
    "rise, then linear fall of 28 %": rise_then_linear,
    "rise, then linear fall of 12 %": partial(rise_then_linear, fall=0.12),
}
WITH = {
    "minimum of 10 %": partial(minimum, share=0.1),
    "minimum of 20 %": partial(minimum, share=0.2),
    "minimum of 40 %": partial(minimum, share=0.4),
    "plateau": plateau,
}
HARDEST = ("flat", "broad top", "rise, then linear fall of 12 %", "minimum of 20 %")


def cases(draws: int) -> list[Case]:
    """Known errors everywhere; errors from the scatter and from a jackknife, which take longer,
    where they matter most.
    """
    known = [
        Case(profile, n, noise, "known", draws)
        for profile in (*WITHOUT, *WITH)
        for n in LAYERS
        for noise in NOISES
    ]
    fewer = max(2, draws // 4)
    scatter = [Case(profile, n, 0.03, "scatter", fewer) for profile in HARDEST for n in LAYERS[:2]]
    resampled = [Case(profile, 25, 0.03, "jackknife", fewer) for profile in HARDEST]
    return known + scatter + resampled


def measure(case: Case) -> dict:
    """Draw profiles, and count what the rule finds."""
    rng = np.random.default_rng(case.layers)
    truth = (WITHOUT | WITH)[case.profile](np.linspace(0, 1, case.layers))
    found = [_find(case, truth, rng) for _ in range(case.draws)]
    kinds = [one.kind for one in found]
    result = vars(case) | {
        "has_feature": case.profile in WITH,
        "minimum": kinds.count("minimum") / case.draws,
        "plateau": kinds.count("plateau") / case.draws,
    }
    if "minimum" in case.profile:
        lowest = int(np.argmin(np.where(np.arange(case.layers) < 0.2 * case.layers, np.inf, truth)))
        minima = [one for one in found if one.kind == "minimum"]
        result["covered"] = (
            np.mean([one.low <= lowest <= one.high for one in minima]) if minima else np.nan
        )
        result["offset"] = (
            np.median([abs(one.layer - lowest) for one in minima]) if minima else np.nan
        )
    return result


def _find(case: Case, truth: np.ndarray, rng: np.random.Generator):
    layers = np.arange(case.layers)
    if case.errors == "jackknife":
        # Neighbouring layers share nine tenths of their noise, as layers that are read on the same
        # samples do.
        correlation = 0.9 ** np.abs(layers[:, None] - layers)
        root = np.linalg.cholesky(correlation) * np.sqrt(GROUPS) * case.noise
        by_group = truth * (1 + rng.standard_normal((GROUPS, case.layers)) @ root.T)
        replicates = [
            (by_group[half].mean(axis=0), by_group[~half].mean(axis=0))
            for half in half_samples(GROUPS)
        ]
        profile = pd.DataFrame({"layer": layers, "id": by_group.mean(axis=0)})
        return semantic_layer(profile, covariance=jackknife(np.array(replicates))[1], groups=GROUPS)
    ids = truth * (1 + case.noise * rng.standard_normal(case.layers))
    profile = pd.DataFrame({"layer": layers, "id": ids})
    if case.errors == "scatter":
        return semantic_layer(profile, scatter=True)
    return semantic_layer(profile.assign(id_err=case.noise * truth))


def published_choices() -> pd.DataFrame:
    """The rule on the published profiles, with errors from their own scatter."""
    readings = pd.read_csv(READINGS)
    readings = readings[readings["quantity"] == "intrinsic_dimension"].rename(
        columns={"value": "id"}
    )
    rows = []
    for model, curve in readings.groupby("model", sort=False):
        n_blocks = int(curve["n_blocks"].iloc[0])
        for prominence in PROMINENCES:
            found = semantic_layer(
                curve[["layer", "id"]], prominence, n_blocks=n_blocks, scatter=True
            )
            asked = {"model": model, "n_blocks": n_blocks, "asked_prominence": prominence}
            rows.append(asked | vars(found))
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few draws, to see that it runs; nothing is written"
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "book/results/operating_curve")
    options = parser.parse_args()
    table = pd.DataFrame([measure(case) for case in cases(4 if options.quick else 150)])
    choices = published_choices()
    false = (table["minimum"] + table["plateau"])[~table["has_feature"]]
    print(f"{len(false)} cells without a feature: found in at most {false.max():.3f} of the draws")
    if not options.quick:
        options.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(options.out / "operating_curve.csv", index=False, float_format="%.4g")
        choices.to_csv(options.out / "published_choices.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
