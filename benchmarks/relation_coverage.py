"""Count how often the interval of a correlation over layers holds the truth.

    python benchmarks/relation_coverage.py [--quick] [--out FOLDER]

`advice.relation` gives the rank correlation of two curves over the layers of a network, with a 95 %
interval. Curves over layers are smooth, and two smooth curves that have nothing to do with each
other are alike, or opposed, much more often than two columns of independent numbers. So pairs of
independent curves are drawn, as rough as white noise or as smooth as a single hump, and it is
counted how often the interval holds zero.

Writes relation_coverage.csv, a row for each kind of curve and number of layers: `covered`, the
share of pairs whose interval holds zero; `testable`, the share that has an interval other than -1
to 1; `covered_if_testable`, the first among the second (missing below 50 such pairs); `effective`,
the median number of independent layers that a pair is found to be worth, and `truly_effective`,
what the scatter of the correlations says it is. `power` is the share of intervals that leave out
zero where the second curve is the first one, turned over, plus an independent one of half its size.
Takes two minutes on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from timing import table_arguments, write_unless_quick

from georep_utils.paper.advice import relation

LAYERS = (7, 9, 13, 25, 31, 49)  # of the networks in this book, and of the overlaps published
DRAWS = 1000
QUICK_DRAWS = 20
FEWEST = 50  # testable pairs behind a share
JITTER = 1e-6  # keeps the covariance of a very smooth curve positive
NOISE = 0.02  # of a hump, relative to its height
OTHER = 0.5  # size of the independent part of a related curve


def smooth(n: int, draws: int, rng: np.random.Generator, length: float) -> np.ndarray:
    """Gaussian curves, correlated over `length` layers and differentiable: (draws, n)."""
    layer = np.arange(n)
    covariance = np.exp(-((layer[:, None] - layer) ** 2) / (2 * length**2))
    return rng.standard_normal((draws, n)) @ np.linalg.cholesky(covariance + JITTER * np.eye(n)).T


def rough(n: int, draws: int, rng: np.random.Generator, length: float) -> np.ndarray:
    """Gaussian curves with errors that follow each other, correlated over `length` layers."""
    layer = np.arange(n)
    covariance = np.exp(-np.abs(layer[:, None] - layer) / length)
    return rng.standard_normal((draws, n)) @ np.linalg.cholesky(covariance).T


def white(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Independent numbers."""
    return rng.standard_normal((draws, n))


def walk(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Random walks, which forget nothing."""
    return np.cumsum(rng.standard_normal((draws, n)), axis=1)


def hump(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """A single hump or dip of any place and width, with a little noise."""
    depth = np.linspace(0, 1, n)
    centre = rng.uniform(0.1, 0.9, (draws, 1))
    width = rng.uniform(0.1, 0.4, (draws, 1))
    sign = rng.choice([-1, 1], (draws, 1))
    shape = sign * np.exp(-(((depth - centre) / width) ** 2) / 2)
    return shape + NOISE * rng.standard_normal((draws, n))


def tilted_hump(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """A hump or dip on a slope."""
    return hump(n, draws, rng) + rng.uniform(-1, 1, (draws, 1)) * np.linspace(0, 1, n)


CURVES: dict[str, Callable] = {"white noise": white}
CURVES |= {f"rough, {length} layers": partial(rough, length=length) for length in (1, 2, 4)}
CURVES |= {f"smooth, {length} layers": partial(smooth, length=length) for length in (1, 2, 3, 4)}
CURVES |= {"random walk": walk, "hump": hump, "hump on a slope": tilted_hump}


def measure(curves: str, layers: int, draws: int, seed: int = 0) -> dict:
    """Draw pairs of one kind of curve: a row of the table."""
    rng = np.random.default_rng([seed, layers])
    first = CURVES[curves](layers, draws, rng)
    second = CURVES[curves](layers, draws, rng)
    found = [relation(a, b) for a, b in zip(first, second, strict=True)]
    held = np.array([one.low <= 0 <= one.high for one in found])
    testable = np.array([one.testable for one in found])
    of_tested = held[testable].mean() if testable.sum() >= FEWEST else np.nan
    related = -_standardised(first) + OTHER * _standardised(second)
    seen = [relation(a, b) for a, b in zip(first, related, strict=True)]
    return {
        "curves": curves,
        "layers": layers,
        "draws": draws,
        "covered": held.mean(),
        "testable": testable.mean(),
        "covered_if_testable": of_tested,
        "effective": np.median([one.n_effective for one in found]),
        "truly_effective": 1 + 1 / np.mean([one.rho**2 for one in found]),
        "power": np.mean([one.high < 0 or one.low > 0 for one in seen]),
    }


def _standardised(curves: np.ndarray) -> np.ndarray:
    centred = curves - curves.mean(axis=1, keepdims=True)
    return centred / centred.std(axis=1, keepdims=True)


def main() -> None:
    options = table_arguments(__doc__, "relation_coverage").parse_args()
    draws = QUICK_DRAWS if options.quick else DRAWS
    table = pd.DataFrame([measure(curves, n, draws) for curves in CURVES for n in LAYERS])
    print(f"{len(table)} cells: zero is held by at least {table['covered'].min():.3f} of the pairs")
    write_unless_quick(options, "relation_coverage", table)


if __name__ == "__main__":
    main()
