"""Checks of an ID profile: a ceiling, a second estimator, and whether the ratios follow the law.

A profile is one number a layer, read by one estimator at one scale. Three questions about it can be
answered from the same clouds:

*How high can a reading get?* N points in many dimensions are far apart. Decimated, they are further
apart, and an estimate comes out too low. `ceiling` reads Gaussian clouds of known dimension and of
the same N by the same rule. Where their readings hardly grow any more, the rule can't tell one
dimension from another.

*What does an estimator say that chooses its own scale?* ABIDE (Di Noia et al. 2024) looks around
each point as far as the density can be taken as constant, and tests its result: `abide`.

*Do the ratios of distances follow the law that they are fitted to?* `ratio_checks` asks this of
every layer. Near-duplicates are the usual reason if they do not: their ratios are far too large,
and the dimension then depends on the share of ratios that is fitted, and grows when points are left
out at random, which separates the pairs.

References: Di Noia, Macocco, Glielmo, Laio, Mira (2024), Beyond the noise: intrinsic dimension
estimation with optimal neighbourhood identification, arXiv:2405.15132; Facco et al. (2017),
Scientific Reports 7; Lilliefors (1969), JASA 64.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from georep_utils.geometry.duplicates import drop_duplicates, near_duplicates
from georep_utils.geometry.neighbors import Neighbors
from georep_utils.geometry.profiles import NEAR_RANK, Layers, read_at_scale
from georep_utils.geometry.ratio_law import ParetoTest, id_by_fraction, pareto_test
from georep_utils.geometry.scale_rules import Selection
from georep_utils.geometry.synthetic import gaussian
from georep_utils.io import UserError
from georep_utils.measurements import kept

DIMENSIONS = (2, 4, 8, 16, 32, 64, 128)
ABIDE_POINTS = 1500  # half a second a layer; its time grows faster than their number
ABIDE_NEIGHBORS = 500  # it chooses far fewer
ABIDE_ROUNDS = 5  # the change from the fourth to the fifth is below a hundredth
LEAST_RISE = 0.1  # clouds without copies fall with decimation; a tenth is far from that
RISE_ERRORS = 3  # an error over four repetitions is itself uncertain, and there are many layers
NEAR_SHARE = 0.1  # of the distance to the tenth neighbour


def ceiling(
    n: int,
    selection: Selection,
    dimensions: Sequence[int] = DIMENSIONS,
    seed: int = 0,
    **options,
) -> pd.DataFrame:
    """Read Gaussian clouds of known dimension by the method and at the scale of a selection.

    Parameters
    ----------
    n : int
        Number of points, that of the layers.
    selection, options
        As in `profiles.read_at_scale`.
    dimensions : sequence of int
        True dimensions, ascending.

    Returns
    -------
    DataFrame
        Rows dimension, id, id_err.
    """
    rows = []
    for dimension in tqdm(dimensions, desc="ceiling", mininterval=1):
        X = gaussian(n, dimension, seed)
        reading = read_at_scale(X, selection, seed=seed, **options)
        rows.append((dimension, reading.id, reading.id_err))
    return pd.DataFrame(rows, columns=["dimension", "id", "id_err"])


def abide(
    cloud: Layers, layers: Sequence[int], at_most: int = ABIDE_POINTS, seed: int = 0
) -> pd.DataFrame:
    """DADApy's ABIDE on a random part of the samples, the same part for every layer.

    Parameters
    ----------
    cloud : Layers
    layers : sequence of int
    at_most : int
        Number of points. Exact copies among them are left out.
    seed : int
        Of their choice, and of DADApy's test, which compares with random counts.

    Returns
    -------
    DataFrame
        Rows layer, id, id_err (of the likelihood), neighbors (the mean number that it uses), p (of
        the hypothesis that the counts of neighbours are those of this dimension; below 0.05 the
        estimate does not describe the points).
    """
    rows = []
    for layer in tqdm(layers, desc="ABIDE", mininterval=1):
        X = np.asarray(cloud[layer], dtype=float)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(X))[:at_most])
        rows.append((layer, *_abide(drop_duplicates(X[chosen])[0], seed)))
    return pd.DataFrame(rows, columns=["layer", "id", "id_err", "neighbors", "p"])


@kept
def _abide(X: np.ndarray, seed: int) -> tuple[float, float, float, float]:
    # Imported here: it takes a second.
    from dadapy import Data
    from dadapy._utils import id_estimation

    before = id_estimation.rng
    id_estimation.rng = np.random.default_rng(seed)  # DADApy's own is another in every process
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints every round
            data = Data(X, maxk=min(ABIDE_NEIGHBORS, len(X) - 1), n_jobs=1)
            ids, errors, neighbors, p_values = data.return_ids_kstar_binomial(n_iter=ABIDE_ROUNDS)
    finally:
        id_estimation.rng = before
    return float(ids[-1]), float(errors[-1]), float(np.mean(neighbors[-1])), float(p_values[-1])


# ------------------------------------------------------------------------------------------ ratios


def ratio_checks(cloud: Layers, layers: Sequence[int], curves: pd.DataFrame) -> pd.DataFrame:
    """Whether the ratios r_2 / r_1 of each layer, of all points, are what TwoNN supposes.

    Parameters
    ----------
    cloud : Layers
    layers : sequence of int
    curves : DataFrame
        As `profiles.measure` returns them; for what decimation does.

    Returns
    -------
    DataFrame
        Index layer. 0.8, 0.9 and 0.98: TwoNN at these shares of the lowest ratios; apart: the
        highest of these is more than a fifth above the lowest; rises: as `rises_with_decimation`;
        gap and p: of `pareto_test`; short: share of points with r_1 below half its median; near:
        points that `near_duplicates` would remove; by_chance: pairs that evenly spread points of
        this dimension have, roughly.
    """
    rises = rises_with_decimation(curves)
    rows = {}
    for layer in tqdm(layers, desc="ratios", mininterval=1):
        rows[layer] = _ratios_of(cloud.neighbors(layer)) | {"rises": bool(rises.get(layer, False))}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="layer")


def _ratios_of(near: Neighbors) -> dict:
    distances = np.asarray(near.distances[:, 1:3])
    by_fraction = id_by_fraction(distances)
    try:
        law = pareto_test(near.mus[:, 0])
    except UserError:  # a layer of mostly equal points has no law; its row says so by empty places
        law = ParetoTest(np.nan, np.nan, np.nan)
    r1 = distances[:, 0]
    rank = min(NEAR_RANK, near.indices.shape[1] - 1)
    found = near_duplicates(near, rank, NEAR_SHARE)
    # From neighbours that copies do not reach: within r_k / 2^(1/d) there are half as many.
    wider = near.distances[:, rank] / near.distances[:, rank // 2]
    dimension = np.log(rank / (rank // 2)) / np.median(np.log(wider))
    return dict(zip(by_fraction["fraction"], by_fraction["id"], strict=True)) | {
        "apart": bool(by_fraction["disagree"].any()),
        "gap": law.distance,
        "p": law.p_value,
        "short": float(np.mean(r1 < np.median(r1) / 2)),
        "near": len(found.removed),
        "by_chance": len(r1) * min(1, rank * NEAR_SHARE**dimension),
    }


def rises_with_decimation(curves: pd.DataFrame) -> pd.Series:
    """In which layers TwoNN rises when three of four points are left out.

    Copies lower TwoNN, and fewer of them meet in a part of the points. A rise is one of a tenth or
    more that is also above three of its standard errors. Where decimation by 4 was not computed,
    the largest below it counts.

    Parameters
    ----------
    curves : DataFrame
        Rows of `twonn_scaling` with a column layer.

    Returns
    -------
    Series
        Index layer, bool; False where there is only one scale.
    """
    near = curves[(curves["method"] == "twonn") & (curves["scale"] <= 4)]
    result = {}
    for layer, curve in near.sort_values("scale").groupby("layer"):
        first, last = curve.iloc[0], curve.iloc[-1]
        rise = last["id"] - first["id"]
        error = np.hypot(first["id_err"], last["id_err"])
        result[layer] = bool(rise > max(RISE_ERRORS * error, LEAST_RISE * first["id"]))
    return pd.Series(result, dtype=bool)
