"""Do the ratios of neighbour distances follow the law that TwoNN supposes?

TwoNN reads a dimension d from mu = r_2 / r_1, the distances of a point to its two nearest
neighbours. Where the points are spread evenly over d dimensions, mu follows a Pareto law, P(mu >
m) = m^-d. A point that has a near-copy in the sample does not: its r_1 is far too small and its mu
far too large. Few such points lift no warning but move the fit, for the largest ratios have the
longest lever; that is why the fit leaves out a share of them, and why its result should not hang
on that share.

Two looks at it: whether the ratios follow the law (`pareto_test`), and whether the dimension
depends on the share of ratios that is kept (`id_by_fraction`). The copies themselves are found in
`duplicates.py`.

References: Facco et al. (2017), Estimating the intrinsic dimension of datasets by a minimal
neighborhood information, Scientific Reports 7; Lilliefors (1969), On the Kolmogorov-Smirnov test
for the exponential distribution, JASA 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from georep_utils.geometry.resampling import twonn_fit
from georep_utils.io import UserError

FRACTIONS = (0.8, 0.9, 0.98)
# fractions that differ by a fifth: five times what independent ratios of 2,000 points do
DISAGREEMENT = 0.2
FEWEST = 20  # usable ratios, as many as any estimate of a dimension needs here
REFERENCE_DRAWS = 500  # samples of the law behind a p value: known to 0.01 at 0.05


@dataclass(frozen=True)
class ParetoTest:
    """Whether ratios follow the Pareto law of one dimension.

    distance: largest gap between the observed and the fitted distribution; p_value: how often
    samples of the law, fitted in the same way, have such a gap; id: the maximum-likelihood
    dimension.
    """

    distance: float
    p_value: float
    id: float


def pareto_test(mus: np.ndarray, seed: int = 0) -> ParetoTest:
    """Test r_2 / r_1 against the Pareto law with the dimension that fits best.

    Neighbouring points share neighbours, so their ratios are not quite independent and true
    samples of the law give p below 0.05 a little more often than in one of twenty. With many
    points any real cloud fails; read `distance` too.

    Parameters
    ----------
    mus : (n,) array
        Ratios; infinite ones, from exact copies, are left out.

    Returns
    -------
    ParetoTest

    Raises
    ------
    UserError
        Fewer than 20 usable ratios, or all of them 1.
    """
    logs = _log_ratios(mus)
    distance = float(_gap(logs[None])[0])
    # the gap times the root of n no longer depends on n
    reference = _reference(min(len(logs), 5000))
    scaled = distance * np.sqrt(len(logs) / min(len(logs), 5000))
    p_value = (1 + np.count_nonzero(reference >= scaled)) / (1 + REFERENCE_DRAWS)
    return ParetoTest(distance, p_value, float(1 / logs.mean()))


def pareto_curve(mus: np.ndarray) -> pd.DataFrame:
    """What a figure of the law draws: log_mu, and minus_log_survival observed and fitted by one
    dimension (a line).
    """
    logs = np.sort(_log_ratios(mus))
    observed = -np.log1p(-(np.arange(1, len(logs) + 1) - 0.5) / len(logs))
    columns = {"log_mu": logs, "minus_log_survival": observed, "fitted": logs / logs.mean()}
    return pd.DataFrame(columns)


def id_by_fraction(distances: np.ndarray, fractions: tuple[float, ...] = FRACTIONS) -> pd.DataFrame:
    """TwoNN at several shares of the lowest ratios: rows fraction, id, and whether they disagree
    by a fifth.

    Parameters
    ----------
    distances : (n, 2) array
        r_1 and r_2 of each point.

    Returns
    -------
    DataFrame
        Columns fraction, id, disagree (the same in every row: the largest ID is a fifth above the
        smallest).
    """
    ids = [twonn_fit(distances, fraction) for fraction in fractions]
    disagree = max(ids) > (1 + DISAGREEMENT) * min(ids)
    return pd.DataFrame({"fraction": fractions, "id": ids, "disagree": disagree})


def _log_ratios(mus: np.ndarray) -> np.ndarray:
    mus = np.asarray(mus, dtype=float)
    usable = mus[np.isfinite(mus) & (mus >= 1)]
    if len(usable) < FEWEST:
        raise UserError(
            f"{len(usable)} of {len(mus)} ratios are usable: expected {FEWEST} or more; take "
            "more points"
        )
    if usable.max() == 1:
        raise UserError(
            f"all {len(usable)} usable ratios r_2 / r_1 are 1: expected distances that differ; "
            "take points that are not on a grid"
        )
    return np.log(usable)


def _gap(logs: np.ndarray) -> np.ndarray:
    """Kolmogorov's distance of each row of logs (m, n) from the exponential law of its own mean."""
    n = logs.shape[1]
    fitted = -np.expm1(-np.sort(logs, axis=1) / logs.mean(axis=1, keepdims=True))
    steps = np.arange(n + 1) / n
    return np.maximum(steps[1:] - fitted, fitted - steps[:-1]).max(axis=1)


@lru_cache(maxsize=8)
def _reference(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([_gap(rng.exponential(size=(1, n)))[0] for _ in range(REFERENCE_DRAWS)])
