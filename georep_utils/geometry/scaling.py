"""Intrinsic dimension against scale through DADApy: what can be estimated, TwoNN on decimated data, Gride on all of it.

The scale axis is N/n. TwoNN at decimation s sees the first and second neighbour among N/s points, about ranks s and 2s
among all N; Gride with ranks (k, 2k) of all points is therefore put at scale k. At scale 1 both use the same distances.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from georep_utils.geometry.neighbors import Neighbors, nearest_neighbors
from georep_utils.io import UserError

COLUMNS = ["method", "scale", "n_points", "k", "id", "id_err", "radius", "repetitions", "fraction", "n_excluded"]
MIN_POINTS = 20  # with fewer distance ratios the standard error is above a fifth of the estimate


def check_representation(X: np.ndarray, layer: int | str | None = None, decimation: int = 1) -> list[str]:
    """Refuse an (N, width) representation without a dimension, naming the layer; list what the estimates survive.

    UserError: not a matrix, too few points for the decimation, NaN or infinity, all points identical.
    The list tells of constant columns and of duplicate rows.
    """
    where = "the representation" if layer is None else f"layer {layer}"
    if np.ndim(X) != 2:
        raise UserError(f"{where} has shape {np.shape(X)}: expected (points, width); pool it over the sequence first")
    n, width = X.shape
    if (left := n // decimation) < MIN_POINTS:
        raise UserError(
            f"{where} has {n} points: decimation by {decimation} leaves {left}, at least {MIN_POINTS} are needed; "
            "take more points or a smaller scale"
        )
    finite = np.isfinite(X).all(axis=1)
    if not finite.all():
        raise UserError(
            f"{where} has NaN or infinity in {n - finite.sum()} of {n} points (first: {np.argmin(finite)}): "
            "expected finite numbers; extract it again in float32"
        )
    constant = int((np.ptp(X, axis=0) == 0).sum())
    if constant == width:
        raise UserError(
            f"{where} has all {n} points identical: expected different ones; check the model and its inputs"
        )
    repeated = n - len(_unique_rows(X))
    return [f"{where}: {constant} of {width} columns are constant"] * bool(constant) + [
        f"{where}: {repeated} of {n} points repeat an earlier one"
    ] * bool(repeated)


def _unique_rows(X: np.ndarray) -> np.ndarray:
    first: dict[bytes, int] = {}
    for i, row in enumerate(X):
        first.setdefault(hashlib.blake2b((row + 0.0).tobytes(), digest_size=16).digest(), i)
    return np.fromiter(first.values(), dtype=np.int64)


def n_different(X: np.ndarray) -> int:
    """Number of different rows of X (N, width). A layer where most points are copies of others has no dimension: such is
    the first one of a causal model that is read at its last place, where every sample with the same token is one point."""
    return len(_unique_rows(X))


def drop_duplicates(
    X: np.ndarray, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """First occurrences of the rows of X (N, width), their labels (N,), and the kept row numbers, in the old order."""
    kept = _unique_rows(X)
    return X[kept], None if labels is None else np.asarray(labels)[kept], kept


def _usable(ratios: np.ndarray) -> np.ndarray:
    usable = np.isfinite(ratios) & (ratios >= 1)
    if usable.sum() < MIN_POINTS:
        raise UserError(
            f"only {usable.sum()} of {len(ratios)} points have a positive distance to their neighbours, "
            f"{MIN_POINTS} are needed; drop duplicate points, or take more points"
        )
    return usable


def _twonn(distances: np.ndarray, fraction: float, algorithm: str) -> tuple[float, float, int]:
    from dadapy.id_estimation import IdEstimation

    with np.errstate(divide="ignore", invalid="ignore"):
        usable = _usable(distances[:, 2] / distances[:, 1])
    kept = distances[usable, :3]
    estimate = IdEstimation(distances=(kept, np.zeros(kept.shape, dtype=int)), maxk=2, n_jobs=1)
    value, _, radius = estimate.compute_id_2NN(algorithm=algorithm, mu_fraction=fraction)
    return float(value), float(radius), int((~usable).sum())


def twonn_scaling(
    X: np.ndarray,
    decimations: tuple[int, ...] = (1, 2, 4, 8, 16, 32),
    n_repetitions: int = 4,
    fraction: float = 0.98,
    algorithm: str = "base",
    seed: int = 0,
    device: str = "auto",
    neighbors: Neighbors | None = None,
) -> pd.DataFrame:
    """TwoNN (Facco et al. 2017) on all points and on disjoint random subsets, a row a decimation.

    X: (N, width). Decimation s splits a permutation into subsets of N // s and searches neighbours anew in each of the
    first min(n_repetitions, s): decimating a truncated neighbour table would bias the estimate. id and radius (mean of
    r_1 and r_2) are means over the subsets, id_err the standard error, for one subset the likelihood's, id / sqrt(n).
    fraction: share of the lowest ratios in the fit; 0.98 is the authors' released choice (DADApy's own is 0.9).
    algorithm: "base" (linear fit through the origin) or "ml". neighbors: a search of all of X, reused for s = 1.
    n_excluded: points without a finite ratio, duplicates mostly. UserError: as check_representation.
    """
    rows, rng = [], np.random.default_rng(seed)
    check_representation(X, decimation=max(decimations))
    for s in decimations:
        n, repetitions, order = len(X) // s, min(n_repetitions, s), rng.permutation(len(X))
        estimates = []
        for j in range(repetitions):
            part = X if s == 1 else X[np.sort(order[j * n : (j + 1) * n])]
            table = neighbors if s == 1 and neighbors else nearest_neighbors(part, maxk=2, range_max=2, device=device)
            estimates.append(_twonn(table.distances, fraction, algorithm))
        ids, radii, excluded = np.array(estimates).T
        error = ids.std(ddof=1) / repetitions**0.5 if repetitions > 1 else ids[0] / n**0.5
        rows.append(
            ("twonn", float(s), n, 1, ids.mean(), error, radii.mean(), repetitions, fraction, int(excluded.sum()))
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def gride_scaling(neighbors: Neighbors, d_max: float = 1000.0) -> pd.DataFrame:
    """Gride (Denti et al. 2022) at ranks (k, 2k), k = 1, 2, 4, ..: maximum likelihood with Fisher errors, a row a rank.

    neighbors.mus: (N, ranks) of r_2k / r_k. d_max: largest dimension that is searched (DADApy's default).
    Columns as twonn_scaling; radius is the mean of r_k and r_2k. UserError: too few points with a finite ratio.
    """
    from dadapy.id_estimation import IdEstimation

    estimate, rows, n = IdEstimation(n_jobs=1), [], len(neighbors.mus)
    for i, radii in enumerate(neighbors.radii):
        ratios, k = neighbors.mus[:, i].astype(np.float64), 2**i
        usable = _usable(ratios)
        value, error = estimate._compute_id_gride_single_scale(0.001, d_max, ratios[usable], k, 2 * k, 1e-7)
        rows.append(("gride", float(k), n, k, value, error, radii.mean(), 1, np.nan, int((~usable).sum())))
    return pd.DataFrame(rows, columns=COLUMNS)
