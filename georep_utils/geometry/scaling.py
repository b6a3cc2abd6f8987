"""Intrinsic dimension against scale: TwoNN on decimated points, Gride on all of them.

Both estimators rest on one observation. Where the density is constant over the first few
neighbours, the number of points within a distance r grows as r^d, and so the ratio of two neighbour
distances, mu = r_2k / r_k, has a known distribution in which d is the only unknown. No density has
to be estimated, and no distance beyond the neighbours matters.

* **TwoNN** uses the first two neighbours (k = 1): -log(1 - F(mu)) = d log(mu), a straight line
  through the origin whose slope is d. It looks further away when points are left out, which makes
  neighbours more distant (*decimation*).
* **Gride** uses neighbours k and 2k of all points, by maximum likelihood. It looks further away
  when k grows.

A network's representation is no clean manifold: at small distances there is noise, at large ones
curvature. The estimate depends on how far one looks. So this module returns curves, not numbers;
`scale_rules.py` chooses where to read them. The scale axis of both is N / n. TwoNN on n = N / s
points sees the first and the second neighbour among these, which are about the neighbours s and 2s
among all N. Gride with neighbours k and 2k is therefore put at scale k; at scale 1 both use the
same distances.

The estimators are DADApy's. What is here is what surrounds them: disjoint random subsets with a
standard error over them, the same columns for both, and checks of what cannot have a dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from georep_utils.geometry.duplicates import n_different
from georep_utils.geometry.neighbors import Neighbors, nearest_neighbors
from georep_utils.io import UserError
from georep_utils.measurements import kept

# The relative standard error of d from n ratios is 1 / sqrt(n). With fewer than these it is above a
# fifth of the estimate.
MIN_POINTS = 20

# Gride's likelihood is maximised over dimensions from here up to `d_max`, to a precision of
# GRIDE_PRECISION: DADApy's own choices.
GRIDE_LEAST = 0.001
GRIDE_PRECISION = 1e-7


@dataclass(frozen=True)
class _Row:
    """A row of the tables that `twonn_scaling` and `gride_scaling` return."""

    method: str
    scale: float
    n_points: int
    k: int
    id: float
    id_err: float
    radius: float
    repetitions: int
    fraction: float
    n_excluded: int


@kept
def twonn_scaling(
    X: np.ndarray,
    decimations: Sequence[int] = (1, 2, 4, 8, 16, 32),
    n_repetitions: int = 4,
    fraction: float = 0.98,
    algorithm: str = "base",
    seed: int = 0,
    device: str = "auto",
    neighbors: Neighbors | None = None,
) -> pd.DataFrame:
    """Estimate the dimension with TwoNN, on all points and on disjoint random subsets of them.

    The neighbours within each subset are searched for anew. Decimating a stored table of neighbours
    instead would keep only points of which two neighbours happen to be in it, and bias the estimate
    upwards by some 4 %.

    Parameters
    ----------
    X : (N, width) array
        The points.
    decimations : sequence of int
        Each s splits a random permutation of the points into subsets of N // s.
    n_repetitions : int
        Subsets that are used of each decimation, if it has as many.
    fraction : float
        Share of the lowest ratios that is fitted. The largest are the likeliest to come from where
        the density is not constant. 0.98 is the authors' released choice; DADApy's own is 0.9.
    algorithm : {"base", "ml"}
        A linear fit through the origin, or maximum likelihood.
    seed : int
        Of the random permutations.
    device : str
        Where neighbours are searched for, as in `nearest_neighbors`.
    neighbors : Neighbors, optional
        A search of all of X, used for decimation 1.

    Returns
    -------
    DataFrame
        A row for each decimation: method, scale (N / n), n_points (of a subset), k (1), id,
        id_err, radius (mean of r_1 and r_2), repetitions, fraction, n_excluded (points without a
        finite ratio, duplicates mostly). id and radius are means over the subsets, id_err is the
        standard error of this mean; for one subset it is the likelihood's, id / sqrt(n).

    Raises
    ------
    UserError
        As `check_representation`; or too few points have a finite ratio.

    References
    ----------
    Facco, d'Errico, Rodriguez, Laio, "Estimating the intrinsic dimension of datasets by a minimal
    neighborhood information", Scientific Reports 7, 12140 (2017).
    """
    check_representation(X, decimation=max(decimations))
    rng = np.random.default_rng(seed)
    rows = []
    for s in decimations:
        n = len(X) // s
        order = rng.permutation(len(X))
        estimates = []
        for j in range(min(n_repetitions, s)):
            if s == 1 and neighbors is not None:
                table = neighbors
            else:
                # In the order of X, in which a memory-mapped array is read fastest.
                subset = X if s == 1 else X[np.sort(order[j * n : (j + 1) * n])]
                table = nearest_neighbors(subset, maxk=2, range_max=2, device=device)
            estimates.append(_twonn(table.distances, fraction, algorithm))
        rows.append(_mean_of_subsets(estimates, s, n, fraction))
    return pd.DataFrame(rows)


@kept
def gride_scaling(neighbors: Neighbors, d_max: float = 1000.0) -> pd.DataFrame:
    """Estimate the dimension with Gride, from neighbours k and 2k of all points, k = 1, 2, 4, ..

    Parameters
    ----------
    neighbors : Neighbors
        Its `mus` are the ratios r_2k / r_k.
    d_max : float
        Largest dimension that is searched (DADApy's default).

    Returns
    -------
    DataFrame
        A row for each k, with the columns of `twonn_scaling`: scale is k, id_err is the error from
        the Fisher information, radius the mean of r_k and r_2k, fraction NaN.

    Raises
    ------
    UserError
        Too few points have a finite ratio.

    References
    ----------
    Denti, Doimo, Laio, Mira, "The generalized ratios intrinsic dimension estimator", Scientific
    Reports 12, 20005 (2022).
    """
    # Imported here, as in `_twonn`: it takes a second, which the rest of the module need not wait.
    from dadapy.id_estimation import IdEstimation

    estimation = IdEstimation(n_jobs=1)
    n = len(neighbors.mus)
    rows = []
    for i, radii in enumerate(neighbors.radii):
        k = 2**i
        ratios = neighbors.mus[:, i].astype(np.float64)
        usable = _usable(ratios)
        # DADApy's public function computes distances itself; this is its step from ratios to d.
        value, error = estimation._compute_id_gride_single_scale(
            GRIDE_LEAST, d_max, ratios[usable], k, 2 * k, GRIDE_PRECISION
        )
        row = _Row(
            method="gride",
            scale=float(k),
            n_points=n,
            k=k,
            id=value,
            id_err=error,
            radius=radii.mean(),
            repetitions=1,
            fraction=np.nan,
            n_excluded=int((~usable).sum()),
        )
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Estimate:
    """TwoNN on one set of points."""

    id: float
    radius: float
    n_excluded: int


def _twonn(distances: np.ndarray, fraction: float, algorithm: str) -> _Estimate:
    """Return DADApy's estimate from distances (n, 3 or more), the points themselves first."""
    from dadapy.id_estimation import IdEstimation

    with np.errstate(divide="ignore", invalid="ignore"):
        usable = _usable(distances[:, 2] / distances[:, 1])
    kept = distances[usable, :3]
    # DADApy asks for the neighbours' indices, too, and does not look at them here.
    indices = np.zeros(kept.shape, dtype=int)
    estimation = IdEstimation(distances=(kept, indices), maxk=2, n_jobs=1)
    value, _, radius = estimation.compute_id_2NN(algorithm=algorithm, mu_fraction=fraction)
    return _Estimate(float(value), float(radius), int((~usable).sum()))


def _usable(ratios: np.ndarray) -> np.ndarray:
    """Return which ratios are finite; a point with an exact copy has r_1 = 0, and none."""
    usable = np.isfinite(ratios) & (ratios >= 1)
    if usable.sum() < MIN_POINTS:
        raise UserError(
            f"only {usable.sum()} of {len(ratios)} points have a positive distance to their "
            f"neighbours, {MIN_POINTS} are needed; drop duplicate points, or take more points"
        )
    return usable


def _mean_of_subsets(
    estimates: list[_Estimate], decimation: int, n_points: int, fraction: float
) -> _Row:
    ids = np.array([estimate.id for estimate in estimates])
    if len(ids) > 1:
        error = ids.std(ddof=1) / len(ids) ** 0.5
    else:
        # One subset has no spread to look at. This is the standard error of maximum likelihood.
        error = ids[0] / n_points**0.5
    return _Row(
        method="twonn",
        scale=float(decimation),
        n_points=n_points,
        k=1,
        id=ids.mean(),
        id_err=error,
        radius=np.array([estimate.radius for estimate in estimates]).mean(),
        repetitions=len(ids),
        fraction=fraction,
        n_excluded=sum(estimate.n_excluded for estimate in estimates),
    )


def check_representation(
    X: np.ndarray, layer: int | str | None = None, decimation: int = 1
) -> list[str]:
    """Refuse a representation that has no dimension, and list what the estimates survive.

    Parameters
    ----------
    X : (N, width) array
        The points.
    layer : int or str, optional
        Named in messages.
    decimation : int
        The largest that is meant to be used.

    Returns
    -------
    list of str
        Warnings: constant columns, and rows that repeat an earlier one.

    Raises
    ------
    UserError
        X is no matrix, holds NaN or infinity, has too few points for the decimation, or all of its
        points are identical.
    """
    where = "the representation" if layer is None else f"layer {layer}"
    _check_shape(X, where, decimation)
    n, width = X.shape
    finite = np.isfinite(X).all(axis=1)
    if not finite.all():
        raise UserError(
            f"{where} has NaN or infinity in {n - finite.sum()} of {n} points "
            f"(first: {np.argmin(finite)}): expected finite numbers; extract it again in float32"
        )
    constant = int((np.ptp(X, axis=0) == 0).sum())
    if constant == width:
        raise UserError(
            f"{where} has all {n} points identical: expected different ones; "
            "check the model and its inputs"
        )
    warnings = []
    if constant:
        warnings.append(f"{where}: {constant} of {width} columns are constant")
    repeated = n - n_different(X)
    if repeated:
        warnings.append(f"{where}: {repeated} of {n} points repeat an earlier one")
    return warnings


def _check_shape(X: np.ndarray, where: str, decimation: int) -> None:
    if np.ndim(X) != 2:
        raise UserError(
            f"{where} has shape {np.shape(X)}: expected (points, width); "
            "pool it over the sequence first"
        )
    left = len(X) // decimation
    if left < MIN_POINTS:
        raise UserError(
            f"{where} has {len(X)} points: decimation by {decimation} leaves {left}, at least "
            f"{MIN_POINTS} are needed; take more points or a smaller scale"
        )
