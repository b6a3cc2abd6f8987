"""One resampling for every layer, estimator and overlap: errors, and covariances between layers.

An estimate from N samples would have come out differently with other samples. How differently is
read off the samples themselves: they are dealt into 20 disjoint groups, and everything is computed
again in halves of ten groups each. The same groups serve every layer, network and statistic, so
the replicates of two layers can be subtracted, and the error of a difference is much smaller than
the errors of both: the layers share their samples.

Why halves, and not the usual jackknife that leaves one group out? For statistics of nearest
neighbours neither of its forms has the right size (`benchmarks/error_bars.py` compares them with
the spread over independent samples). When the neighbours stay fixed and a group's points are left
out of the mean, points count as independent although they share neighbours: the error is a sixth
too small for TwoNN, a quarter to a third for label overlaps. When the neighbours are found anew
without the group, the error of TwoNN is two thirds too large: a distance ratio depends on three
points, and leaving one group out counts the joint effect of three points three times (Efron and
Stein 1981). Two halves share no sample, so their difference has the right variance whatever the
statistic. This is the delete-d jackknife with half of the groups deleted (Shao and Wu 1989).

The halves are balanced (McCarthy 1969): with 20 groups there are 19 divisions into ten and ten,
the rows of a Hadamard matrix, and any two groups lie together in 9 and apart in 10 of them. For a
plain mean the result is then exactly the variance of the group means over 20, with 19 degrees of
freedom.

One thing is assumed: the variance falls as one over the number of samples, so that N samples have
half the variance of N / 2. A half has twice the scale of the whole (N/n doubles); the error is
that of the estimate as long as its relative error changes little over one octave.

References: Efron and Stein (1981), The jackknife estimate of variance, Annals of Statistics 9;
McCarthy (1969), Pseudo-replication: half samples, Review of the ISI 37; Shao and Wu (1989), A
general theory for jackknife variance estimation, Annals of Statistics 17.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from georep_utils.geometry.half_kernels import count_shared, first_inside
from georep_utils.geometry.neighbors import Neighbors, nearest_neighbors
from georep_utils.io import UserError
from georep_utils.measurements import kept

N_GROUPS = 20
# One more than a prime that leaves 3 when divided by 4: what Paley's construction (1933) serves.
GROUP_NUMBERS = (4, 8, 12, 20, 24, 32, 44, 48)
MIN_HALF = 20  # points of a half, at least: with fewer an ID has an error above a fifth
# Share of points, beside one, that may lack neighbours in a half and are then left out of it.
MAX_SHORT = 0.001
ROUNDING = 1e-8  # of a covariance, relative to its largest entry
GRIDE_RANGE = (0.001, 1000.0)  # dimensions that are searched, as DADApy does
SEARCHED = 24  # neighbours of a decimated subset: a half lacks two of them once in 600,000 points


@dataclass(frozen=True)
class Half:
    """One half of the samples and their nearest neighbours within it.

    rows: (m,) sample numbers; columns: (m, k) where their neighbours stand among those of all
    samples, `all_indices` and `all_distances` (N, stored).
    """

    rows: np.ndarray
    columns: np.ndarray
    all_indices: np.ndarray
    all_distances: np.ndarray

    @cached_property
    def indices(self) -> np.ndarray:
        """Sample numbers (m, k) of the neighbours, nearest first."""
        return self.all_indices[self.rows[:, None], self.columns]

    @cached_property
    def distances(self) -> np.ndarray:
        """Their distances (m, k)."""
        return self.all_distances[self.rows[:, None], self.columns]


def groups(
    n: int, labels: np.ndarray | None = None, n_groups: int = N_GROUPS, seed: int = 0
) -> np.ndarray:
    """Deal n samples into disjoint groups of equal size, every class spread as evenly as it can be.

    Parameters
    ----------
    n : int
        Number of samples.
    labels : (n,) array, optional
        Classes. Every group then holds each class in the same share, up to one sample.
    n_groups : int
        4, 8, 12, 20, 24, 32, 44 or 48: the numbers for which balanced halves are built here.
    seed : int
        Which samples meet in a group.

    Returns
    -------
    (n,) int array
        The group of each sample, 0 to n_groups - 1.

    Raises
    ------
    UserError
        Another number of groups, too few samples, labels of another length, all different, or with
        a class of one sample.
    """
    _check_groups(n, n_groups)
    order = np.random.default_rng(seed).permutation(n)
    if labels is not None:
        codes = _class_codes(labels, n)
        order = order[np.argsort(codes[order], kind="stable")]
    result = np.empty(n, dtype=np.int64)
    result[order] = np.arange(n) % n_groups
    return result


def groups_of_points(
    n: int, labels: np.ndarray | None = None, n_groups: int = N_GROUPS, seed: int = 0
) -> np.ndarray:
    """Groups for a statistic that needs no labels, balanced over the classes where they allow it.

    Labels that are all different, or have a class of one sample, can't be balanced; points are then
    dealt without them. With labels that can, these are the groups of `groups`.
    """
    if labels is not None:
        counts = np.unique(labels, return_counts=True)[1]
        if len(counts) == n or counts.min() < 2:
            labels = None
    return groups(n, labels, n_groups, seed)


def half_samples(n_groups: int = N_GROUPS) -> np.ndarray:
    """Balanced divisions of the groups into two halves, by Paley's construction of a Hadamard
    matrix.

    Returns
    -------
    (n_groups - 1, n_groups) bool array
        True for the groups of the first half; the others make the second.
    """
    prime = n_groups - 1
    squares = {i * i % prime for i in range(1, prime)}
    shifts = (np.arange(prime)[:, None] - np.arange(prime)) % prime
    core = np.isin(shifts, list(squares))
    return np.column_stack([core, np.ones(prime, dtype=bool)])


def jackknife(replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors and covariance of statistics that were computed again in balanced halves of
    the samples.

    Parameters
    ----------
    replicates : (n_groups - 1, 2) or (n_groups - 1, 2, L) array
        The L statistics (of layers, say) in both halves of each division.

    Returns
    -------
    error : (L,) array
        Standard errors, with n_groups - 1 degrees of freedom. A number for replicates of one
        statistic.
    covariance : (L, L) array
        Covariance between the statistics; the variance of a sum `w @ values` is `w @ covariance @
        w`.
    """
    replicates = np.asarray(replicates, dtype=float)
    if (
        replicates.ndim not in (2, 3)
        or replicates.shape[1] != 2
        or len(replicates) + 1 not in GROUP_NUMBERS
    ):
        raise UserError(
            f"replicates of shape {replicates.shape}: expected (divisions, 2, statistics) from "
            "half_samples; stack them so"
        )
    halves = (replicates[:, 0] - replicates[:, 1]) / 2
    if halves.ndim == 1:
        variance = np.mean(halves**2)
        return np.sqrt(variance), variance
    covariance = halves.T @ halves / len(halves)
    return np.sqrt(np.diag(covariance)), covariance


def checked_covariance(covariance: np.ndarray, n: int) -> np.ndarray:
    """A covariance between n layers as an array of floats, if it can be one.

    Raises
    ------
    UserError
        Another shape, entries that are missing or infinite, or variances below zero of some sum of
        layers.
    """
    covariance = np.asarray(covariance, dtype=float)
    if covariance.shape != (n, n):
        raise UserError(
            f"the covariance has shape {covariance.shape} for {n} layers: expected a row and a "
            "column for each of them; give that of the same layers"
        )
    bad = ~np.isfinite(covariance)
    if bad.any():
        raise UserError(
            f"entries of the covariance are missing or infinite ({bad.sum()} of {bad.size}): "
            "expected finite numbers; leave out the layers that have no replicates"
        )
    size = np.abs(covariance).max(initial=0)
    if not np.allclose(covariance, covariance.T, rtol=0, atol=ROUNDING * size):
        raise UserError(
            "the covariance is not symmetric: expected the same entry for layers i, j and j, i; "
            "take the one that jackknife returns"
        )
    if n and np.linalg.eigvalsh(covariance)[0] < -ROUNDING * n * size:
        raise UserError(
            "the covariance gives some sum of layers a variance below zero: expected none; take "
            "the one that jackknife returns"
        )
    return covariance


def check_group_count(groups: int | None) -> None:
    """UserError unless `groups` is None or a number of groups that an error can be read from."""
    if groups is not None and not (np.isfinite(groups) and groups >= 2):
        raise UserError(
            f"groups = {groups}: expected two or more, since errors are read from how groups "
            "differ; give the number that was used, or None where errors are known"
        )


def difference(
    a: np.ndarray, b: np.ndarray, a_replicates: np.ndarray, b_replicates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """a - b and its standard error, for two layers or two networks that read the same samples in
    the same groups.

    Parameters
    ----------
    a, b : numbers or (L,) arrays
        The estimates from all samples.
    a_replicates, b_replicates : (n_groups - 1, 2) or (n_groups - 1, 2, L) arrays
        The same in the halves, as for `jackknife`.
    """
    error, _ = jackknife(np.asarray(a_replicates) - np.asarray(b_replicates))
    return np.subtract(a, b), error


def halves(neighbors: Neighbors, groups: np.ndarray, k: int) -> Iterator[tuple[Half, Half]]:
    """Both halves of each division with their k nearest neighbours, taken from a search among all
    samples.

    The first k stored neighbours of a point that lie in its half are its k nearest there, as long
    as there are k. The rare point with fewer is left out of that half; a table with many such
    points is refused.

    Parameters
    ----------
    neighbors : Neighbors
        Of all samples, with about 3 k + 20 neighbours stored.
    groups : (n,) int array
        As `groups` returns.
    k : int
        Neighbours wanted in the half.

    Raises
    ------
    UserError
        Groups of another length or number, k below 1, or too few stored neighbours.
    """
    if k < 1:
        raise UserError(f"k = {k} neighbours: expected 1 or more; choose another k")
    indices = np.asarray(neighbors.indices)[:, 1:]
    distances = np.asarray(neighbors.distances)[:, 1:]
    _check_length(groups, len(indices))
    n_groups = _n_groups(groups)
    for first in half_samples(n_groups):
        yield tuple(_half(side[groups], indices, distances, k) for side in (first, ~first))


def _check_length(groups: np.ndarray | None, n: int) -> None:
    if groups is None:
        raise UserError(
            f"these {n} samples are not dealt into groups: {2 * MIN_HALF} or more are needed for "
            "errors from halves; take more samples"
        )
    if np.shape(groups) != (n,):
        raise UserError(
            f"{len(groups)} groups for {n} points: expected one for each point, in the same order; "
            "deal these points"
        )


def _n_groups(groups: np.ndarray) -> int:
    """How many groups the samples were dealt into; of a part of them the last may be empty."""
    groups = np.asarray(groups)
    known = np.issubdtype(groups.dtype, np.integer) and len(np.unique(groups)) > 1
    if not known or groups.min() < 0 or groups.max() >= GROUP_NUMBERS[-1]:
        raise UserError(
            f"the groups of the samples are not numbers of two or more groups from 0 to "
            f"{GROUP_NUMBERS[-1] - 1}: expected what resampling.groups returns; deal them again"
        )
    return next(n for n in GROUP_NUMBERS if n > groups.max())


def replicates(
    neighbors: Neighbors, groups: np.ndarray, k: int, statistic: Callable[[Half], float]
) -> np.ndarray:
    """A statistic of k nearest neighbours in both halves of each division: (n_groups - 1, 2)."""
    return np.array([[statistic(half) for half in pair] for pair in halves(neighbors, groups, k)])


@kept
def label_overlap_replicates(
    neighbors: Neighbors, labels: np.ndarray, groups: np.ndarray, k: int, weighted: bool = True
) -> np.ndarray:
    """Label overlap in both halves of each division, (n_groups - 1, 2). weighted: every class
    counts the same.
    """
    codes = _compared_codes(labels, len(neighbors.indices), groups)

    def overlap(half: Half) -> float:
        hits = (codes[half.indices] == codes[half.rows, None]).mean(axis=1)
        if not weighted:
            return hits.mean()
        count = np.bincount(codes[half.rows])
        present = count > 0
        return (np.bincount(codes[half.rows], hits)[present] / count[present]).mean()

    return replicates(neighbors, groups, k, overlap)


@kept
def data_overlap_replicates(a: Neighbors, b: Neighbors, groups: np.ndarray, k: int) -> np.ndarray:
    """Overlap of the neighbourhoods of two layers in both halves of each division, (n_groups - 1,
    2).
    """
    if len(a.indices) != len(b.indices):
        raise UserError(
            f"overlap of {len(a.indices)} with {len(b.indices)} points: both need the same "
            "points in one order"
        )
    both = zip(halves(a, groups, k), halves(b, groups, k), strict=True)
    return np.array(
        [[_shared(x, y) for x, y in zip(pair_a, pair_b, strict=True)] for pair_a, pair_b in both]
    )


@kept
def twonn_replicates(
    X: np.ndarray,
    groups: np.ndarray,
    decimation: int = 4,
    n_repetitions: int = 4,
    fraction: float = 0.98,
    seed: int = 0,
    device: str = "auto",
    algorithm: str = "base",
) -> tuple[float, np.ndarray]:
    """TwoNN on decimated data, and again in the halves of each subset.

    A subset is searched once; its halves take their neighbours from that search. Layers that are
    to be compared need the same seed, so that they are read on the same subsets.

    Parameters
    ----------
    X : (N, width) array
        One layer.
    groups : (N,) int array
        As `groups` returns.
    decimation, n_repetitions, fraction, seed
        N // decimation points in each of min(n_repetitions, decimation) disjoint subsets; share of
        the lowest ratios in the fit.
    algorithm : {"base", "ml"}
        The line through the origin, or maximum likelihood, which uses all ratios.

    Returns
    -------
    estimate : float
        Mean over the subsets.
    replicates : (n_groups - 1, 2) array
        The same in the halves, at twice the scale and shifted to have the estimate as their mean.

    Raises
    ------
    UserError
        Fewer than 20 points in a half of a subset.
    """
    size = len(X) // decimation
    if size // 2 < MIN_HALF:
        raise UserError(
            f"decimation by {decimation} leaves {size // 2} of {len(X)} points in a half: at "
            f"least {MIN_HALF} are needed; "
            "take more points or a smaller decimation"
        )
    # A line through all ratios would have a point at infinity; DADApy takes the likelihood, too.
    by_likelihood = algorithm == "ml" or fraction == 1
    fit = twonn_likelihood if by_likelihood else partial(twonn_fit, fraction=fraction)
    order = np.random.default_rng(seed).permutation(len(X))
    estimates = []
    parts = []
    for j in range(min(n_repetitions, decimation)):
        rows = np.sort(order[j * size : (j + 1) * size])
        table = nearest_neighbors(X[rows], maxk=min(SEARCHED, size - 1), range_max=2, device=device)
        estimates.append(fit(table.distances[:, 1:3]))
        parts.append(replicates(table, groups[rows], 2, lambda half: fit(half.distances)))
    estimate = float(np.mean(estimates))
    together = np.mean(parts, axis=0)
    return estimate, together * estimate / together.mean()


def twonn_fit(distances: np.ndarray, fraction: float = 0.98) -> float:
    """TwoNN's fit through the origin (Facco et al. 2017) to the ratios r_2 / r_1 of `distances`
    (n, 2).

    Points with a copy (r_1 = 0) are left out.
    """
    kept = distances[distances[:, 0] > 0].astype(float)
    log_ratios = np.sort(np.log(kept[:, 1] / kept[:, 0]))
    n_fitted = int(len(log_ratios) * fraction)
    x = log_ratios[:n_fitted]
    y = -np.log1p(-np.arange(1, n_fitted + 1) / len(log_ratios))
    return float(x @ y / (x @ x))


def twonn_likelihood(distances: np.ndarray) -> float:
    """TwoNN by maximum likelihood from `distances` (n, 2): (n - 1) over the sum of log r_2 / r_1.

    Points with a copy (r_1 = 0) are left out.
    """
    kept = distances[distances[:, 0] > 0].astype(float)
    return float((len(kept) - 1) / np.log(kept[:, 1] / kept[:, 0]).sum())


@kept
def gride_replicates(
    neighbors: Neighbors, groups: np.ndarray, ranks: Sequence[int] = (2, 4)
) -> tuple[float, np.ndarray]:
    """Gride, averaged over some ranks, and again in the halves of the samples.

    Parameters
    ----------
    neighbors : Neighbors
        Of one layer, with about 6 k + 20 neighbours stored and ratios up to rank 2 k, for the
        largest rank k.
    groups : (N,) int array
        As `groups` returns.
    ranks : sequence of int
        Powers of two. Rank k reads the ratio of the distances to the neighbours 2 k and k.

    Returns
    -------
    estimate : float
        Mean over the ranks, from all points.
    replicates : (n_groups - 1, 2) array
        The same in the halves, at twice the scale and shifted to have the estimate as their mean.

    Raises
    ------
    UserError
        As `halves`, for too few stored neighbours.
    """
    columns = [int(np.log2(k)) for k in ranks]
    whole = [
        gride_fit(neighbors.mus[:, column], k) for column, k in zip(columns, ranks, strict=True)
    ]
    estimate = float(np.mean(whole))

    def reading(half: Half) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = [half.distances[:, 2 * k - 1] / half.distances[:, k - 1] for k in ranks]
        return float(np.mean([gride_fit(mus, k) for mus, k in zip(ratios, ranks, strict=True)]))

    parts = replicates(neighbors, groups, 2 * max(ranks), reading)
    return estimate, parts * estimate / parts.mean()


def gride_fit(mus: np.ndarray, k: int) -> float:
    """Gride's dimension of maximum likelihood (Denti et al. 2022) from ratios r_2k / r_k (n,).

    As DADApy does it: n - 1 in place of n, and without ratios so large that they can only come from
    near-copies. Points without a finite ratio are left out.

    Raises
    ------
    UserError
        k below 1, fewer than two usable ratios, or ratios that are all 1 or nearly so.
    """
    if k < 1:
        raise UserError(f"k = {k}: expected a rank of 1 or more; choose another k")
    all_mus = np.asarray(mus, dtype=float)
    mus = all_mus[np.isfinite(all_mus) & (all_mus >= 1)]
    if len(mus) < 2:
        raise UserError(
            f"{len(mus)} of {all_mus.size} ratios r_2k / r_k are finite and not below 1: expected "
            "two or more; remove exact copies, or take more points"
        )
    median, high = np.quantile(mus, [0.5, 0.95])
    # Where all ratios are the same, there is no spread that could mark one as too large.
    mus = mus[mus <= median + 20 * (high - median)]
    logs = np.log(mus)

    def score(dimension: float) -> float:
        inner = np.maximum(-np.expm1(-dimension * logs), 2e-7)  # a tie would divide by zero
        return (len(logs) - 1) / dimension + np.sum(((k - 1) / inner - (2 * k - 1)) * logs)

    low, high = GRIDE_RANGE
    if not score(low) > 0 > score(high):
        raise UserError(
            f"no dimension from {low:g} to {high:g} fits these {len(mus)} ratios r_2k / r_k: "
            "expected distances that differ; remove points at equal distances of all others"
        )
    return float(brentq(score, low, high, xtol=1e-6))


def to_rows(replicates: np.ndarray, layers: Sequence[int], **facts) -> pd.DataFrame:
    """Replicates as a table that can be written to a file.

    Parameters
    ----------
    replicates : (n_groups - 1, 2, L) array
        As for `jackknife`.
    layers : sequence of L int
        The layers that the statistics are of.
    facts
        Columns with one value, such as quantity="intrinsic_dimension".

    Returns
    -------
    DataFrame
        Rows layer, division, half, value, and the facts.
    """
    replicates = np.asarray(replicates, dtype=float)
    if replicates.ndim != 3 or replicates.shape[1:] != (2, len(layers)):
        raise UserError(
            f"replicates of shape {replicates.shape} for {len(layers)} layers: expected "
            f"(divisions, 2, {len(layers)}); stack the layers last"
        )
    places = [range(len(replicates)), range(2), layers]
    index = pd.MultiIndex.from_product(places, names=["division", "half", "layer"])
    table = index.to_frame(index=False).assign(value=replicates.ravel(), **facts)
    table = table.sort_values(["layer", "division", "half"], ignore_index=True)
    return table[["layer", "division", "half", "value", *facts]]


def from_rows(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Layers and replicates from the rows of one statistic, as `to_rows` made them.

    Returns
    -------
    layers : (L,) int array
    replicates : (n_groups - 1, 2, L) array

    Raises
    ------
    UserError
        Two values of one layer in one half (several statistics), or none.
    """
    keys = ["division", "half", "layer"]
    if table.duplicated(keys).any():
        raise UserError(
            "the replicates hold several values of one layer in one half: expected one statistic; "
            "select its quantity and k first"
        )
    wide = table.pivot(index=["division", "half"], columns="layer", values="value")
    if wide.isna().any(axis=None) or len(wide) % 2 or wide.empty:
        raise UserError(
            "the replicates lack values of some layer in some half: expected both halves of every "
            "division; write the table again"
        )
    values = wide.sort_index().to_numpy().reshape(len(wide) // 2, 2, -1)
    return wide.columns.to_numpy(dtype=int), values


def likelihood_error(ids: np.ndarray, n_ratios: int) -> np.ndarray:
    """The textbook error id / sqrt(n) of TwoNN: right for n independent ratios, about a fifth too
    small for neighbours.
    """
    return np.asarray(ids) / np.sqrt(n_ratios)


def _check_groups(n: int, n_groups: int) -> None:
    if n_groups not in GROUP_NUMBERS:
        known = ", ".join(map(str, GROUP_NUMBERS))
        raise UserError(
            f"{n_groups} groups: balanced halves are known for {known}; choose one of these"
        )
    if n < n_groups:
        raise UserError(
            f"{n} samples for {n_groups} groups: expected at least one for each; take more "
            "samples or fewer groups"
        )
    if n < 2 * MIN_HALF:
        raise UserError(
            f"{n} samples leave halves of {n // 2}: at least {MIN_HALF} are needed; take more "
            "samples"
        )


def _class_codes(labels: np.ndarray, n: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise UserError(
            f"labels of shape {labels.shape} for {n} samples: expected one for each, in the same "
            "order"
        )
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) == n:
        raise UserError(
            f"all {n} labels are different: an overlap with labels needs classes of two or more; "
            "group them"
        )
    alone = names[counts < 2]
    if len(alone):
        raise UserError(
            f"{len(alone)} classes have one sample and lie in one group only (first: "
            f"{alone[0]!r}): expected two or more "
            "samples a class; leave these out"
        )
    return codes.reshape(-1)


def _compared_codes(labels: np.ndarray, n: int, groups: np.ndarray) -> np.ndarray:
    """Classes that neighbours can be compared by: two or more, one for each sample, and each of
    them in two groups or more, so that no half holds the whole of it in every division.
    """
    labels = np.asarray(labels)
    missing = pd.isna(labels)
    if missing.any():
        raise UserError(
            f"{missing.sum()} of {n} labels are missing: expected a class for each sample; leave "
            "these samples out"
        )
    codes = _class_codes(labels, n)
    if codes.max() == 0:
        raise UserError(
            f"all {n} labels are {labels[0]!r}: an overlap with labels needs two classes or more; "
            "take samples of other classes"
        )
    _check_length(groups, n)
    _n_groups(groups)
    pairs = np.unique(np.column_stack([codes, groups]), axis=0)
    together = np.bincount(pairs[:, 0]) < 2
    if together.any():
        name = labels[np.argmax(codes == np.argmax(together))]
        raise UserError(
            f"{together.sum()} classes lie in one group only (first: {name!r}): expected two "
            "groups or more; deal the samples with these labels"
        )
    return codes


def _half(inside: np.ndarray, indices: np.ndarray, distances: np.ndarray, k: int) -> Half:
    """The half of the points that are `inside` (N,)."""
    rows = np.flatnonzero(inside)
    columns, found = first_inside(rows, indices, inside, k)
    enough = found == k
    if np.sum(~enough) > 1 + MAX_SHORT * len(rows):
        raise UserError(
            f"{np.mean(~enough):.1%} of the points have fewer than {k} of their "
            f"{indices.shape[1]} stored neighbours in "
            f"their half: search again with maxk of {3 * k + 20}, or lower k"
        )
    return Half(rows[enough], columns[enough], indices, distances)


def _shared(a: Half, b: Half) -> float:
    _, in_a, in_b = np.intersect1d(a.rows, b.rows, assume_unique=True, return_indices=True)
    return count_shared(a.indices[in_a], b.indices[in_b]) / a.indices[in_a].size
