"""How alike two clouds of the same samples are: three measures, each of which sees something else.

Two networks have no coordinates in common, and often not even a width. What they share is the
samples: row i of one cloud and row i of the other are the same input. A comparison can therefore
only be about relations between samples.

* *Neighbourhood overlap* (Doimo et al. 2020) asks whether the same samples are near each other. It
  sees ranks alone, and only the nearest ones. `overlap_map` computes it for all pairs of layers. By
  chance it is k / (N - 1); `permutation_null` says how far chance strays from that, by computing it
  again after the rows of one cloud have been dealt anew.
* *Information imbalance* (Glielmo et al. 2022) has a direction: take each sample's nearest
  neighbour in A, and ask for its rank in B. Where that is low, distances in A predict distances in
  B, and the converse need not hold. A projection is the plain example: all coordinates predict
  those that were kept, but those that were kept do not predict the rest.
* *Linear CKA* (Kornblith et al. 2019) compares all pairs of samples, near and far, by their inner
  products. Directions of large variance dominate it: it does not change when a cloud is rotated or
  enlarged, but it does when one axis is stretched. It is the measure that most comparisons of
  networks use, which is why it stands beside the other two here.

Linear CKA of two clouds that have nothing to do with each other is not zero either. Its mean over
all orders of the rows has a closed form, `cka_chance`, which grows with the widths and falls with
the number of samples.

References
----------
Doimo, Glielmo, Ansuini, Laio, "Hierarchical nucleation in deep neural networks", NeurIPS 2020.
Glielmo, Zeni, Cheng, Csányi, Laio, "Ranking the information content of distance measures", PNAS
Nexus 1, 2022. Kornblith, Norouzi, Lee, Hinton, "Similarity of neural network representations
revisited", ICML 2019.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from georep_utils.geometry.neighbors import Neighbors
from georep_utils.io import UserError

BLOCK = 2**22  # comparisons of two neighbours at one time: 4 MiB of truth values


# ------------------------------------------------------------------------------------------ overlap


def overlap_map(a: Sequence[Neighbors], b: Sequence[Neighbors], k: int) -> np.ndarray:
    """Neighbourhood overlap of every layer of one cloud with every layer of another.

    Parameters
    ----------
    a, b : sequences of Neighbors
        The layers of the two clouds, all of the same N samples in the same order.
    k : int
        Nearest neighbours that are compared, from 1 to what all of them store.

    Returns
    -------
    (len(a), len(b)) array
        chi_k^{l,m}, between 0 and 1; k / (N - 1) by chance.

    Raises
    ------
    UserError
        The numbers of samples differ, or k is more than is stored.
    """
    first = [_nearest(layer, k) for layer in a]
    second = [_nearest(layer, k) for layer in b]
    _check_lengths([*first, *second])
    return np.array([[_shared(x, y) for y in second] for x in first])


def permutation_null(
    a: Sequence[Neighbors],
    b: Sequence[Neighbors],
    k: int,
    n_permutations: int = 20,
    seed: int = 0,
) -> np.ndarray:
    """The overlap map again, after the samples of the second cloud were dealt anew.

    Within each cloud nothing changes: its neighbourhoods keep their form, with samples that many
    others have as a neighbour and samples that none has. Only which row of one belongs to which row
    of the other is lost. What overlap is left is chance.

    Parameters
    ----------
    a, b, k : as in `overlap_map`.
    n_permutations : int
        How many times; all layers are permuted alike, so that the largest overlap of each map can
        be compared with the largest one that was measured.
    seed : int
        Of the permutations.

    Returns
    -------
    (n_permutations, len(a), len(b)) array
    """
    first = [_nearest(layer, k) for layer in a]
    second = [_nearest(layer, k) for layer in b]
    _check_lengths([*first, *second])
    rng = np.random.default_rng(seed)
    maps = []
    for _ in range(n_permutations):
        order = rng.permutation(len(first[0]))
        dealt = [_permuted(table, order) for table in second]
        maps.append([[_shared(x, y) for y in dealt] for x in first])
    return np.reshape(maps, (n_permutations, len(first), len(second)))


def _nearest(neighbors: Neighbors, k: int) -> np.ndarray:
    """The k nearest neighbours (N, k), without the sample itself."""
    stored = neighbors.indices.shape[1] - 1
    if not 1 <= k <= stored:
        raise UserError(
            f"k = {k}, but {stored} neighbours are stored: expected 1 to {stored}; lower k or "
            "search for more"
        )
    return neighbors.indices[:, 1 : k + 1]


def _check_lengths(tables: Sequence[np.ndarray]) -> None:
    lengths = sorted({len(table) for table in tables})
    if len(lengths) > 1:
        raise UserError(
            f"layers of {lengths[0]} and of {lengths[-1]} samples: expected the same samples in "
            "one order; take clouds of one data set"
        )


def _shared(x: np.ndarray, y: np.ndarray) -> float:
    """The mean share of neighbours that stand in both tables (N, k)."""
    n, k = x.shape
    rows = max(1, BLOCK // k**2)  # a whole table would need N k^2 truth values at one time
    common = 0
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        common += np.count_nonzero(x[part, :, None] == y[part, None, :])
    return common / (n * k)


def _permuted(table: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The neighbours of a cloud whose rows were put in another order: row i is what order[i] was.

    The entries are row numbers too, so they are renamed by the inverse permutation.
    """
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[table[order]]


# ---------------------------------------------------------------------------- information imbalance


def information_imbalance(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Information imbalance between two representations, in both directions.

    Delta(A -> B) is 2 / N times the mean rank, in B, of each sample's nearest neighbour in A. It is
    near 0 where distances in A predict those in B (at least 2 / N), and 1 where they say nothing.

    Parameters
    ----------
    a, b : (N, width) arrays
        The same samples in the same order. The ranks of all pairs are computed: N should be at most
        a few thousand.

    Returns
    -------
    (float, float)
        Delta(A -> B) and Delta(B -> A).

    Raises
    ------
    UserError
        The numbers of samples differ.

    References
    ----------
    Glielmo, Zeni, Cheng, Csányi, Laio (2022). Computed by DADApy's `return_information_imbalace`.
    """
    # Imported here: it takes a second, which those who import this module need not wait.
    from dadapy.metric_comparisons import MetricComparisons

    _check_lengths([a, b])
    n = len(a)
    comparison = MetricComparisons(np.asarray(a, dtype=float), maxk=n - 1, n_jobs=1)
    with warnings.catch_warnings():
        # DADApy says that one subset holds all samples, which is what is wanted.
        warnings.filterwarnings("ignore", message="Subset size greater")
        forward, backward = comparison.return_information_imbalace(
            np.asarray(b, dtype=float), subset_size=n
        )
    return float(forward[0]), float(backward[0])


def imbalance_maps(
    a: Sequence[np.ndarray], b: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Information imbalance of all pairs of layers, in both directions.

    The same numbers as `information_imbalance`, with the ranks of each layer computed once instead
    of once a pair.

    Parameters
    ----------
    a, b : sequences of (N, width) arrays
        N should be at most a few thousand: a layer has N^2 ranks.

    Returns
    -------
    forward, backward : (len(a), len(b)) arrays
        Delta(a_l -> b_m) and Delta(b_m -> a_l).
    """
    _check_lengths([*a, *b])
    first = [_ranks(points) for points in a]
    second = [_ranks(points) for points in b]
    forward = [[_imbalance(x, y) for y in second] for x in first]
    backward = [[_imbalance(y, x) for y in second] for x in first]
    return np.array(forward), np.array(backward)


def _ranks(points: np.ndarray) -> np.ndarray:
    """The rank of each sample among the neighbours of each other one, (N, N); its own is 0."""
    points = np.asarray(points, dtype=np.float64)
    points = points - points.mean(axis=0)  # small numbers, so that less is lost in the differences
    norms = np.einsum("ij,ij->i", points, points)
    squares = norms[:, None] + norms - 2 * points @ points.T
    np.fill_diagonal(squares, -np.inf)
    order = np.argsort(squares, axis=1, kind="stable")
    ranks = np.empty(order.shape, dtype=np.int32)
    np.put_along_axis(ranks, order, np.arange(len(points), dtype=np.int32)[None, :], axis=1)
    return ranks


def _imbalance(x: np.ndarray, y: np.ndarray) -> float:
    """2 / N times the mean rank by `y` of the nearest neighbours by `x`."""
    n = len(x)
    nearest = np.argmax(x == 1, axis=1)
    return float(2 / n * y[np.arange(n), nearest].mean())


# ---------------------------------------------------------------------------------------------- CKA


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centred kernel alignment of two representations.

    |Y'X|^2 / (|X'X| |Y'Y|) with Frobenius norms and centred features: the cosine of the angle
    between the two matrices of inner products, of which none needs to be computed.

    Parameters
    ----------
    x, y : (N, width) arrays
        The same samples in the same order; the widths may differ.

    Returns
    -------
    float
        Between 0 and 1. It does not change when a representation is rotated, shifted or enlarged.

    Raises
    ------
    UserError
        The numbers of samples differ, or all samples are one point.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton (2019), equation 4.
    """
    _check_lengths([x, y])
    x = _centred(x)
    y = _centred(y)
    return _norm(y.T @ x) ** 2 / (_own_norm(x) * _own_norm(y))


def cka_chance(x: np.ndarray, y: np.ndarray) -> float:
    """The mean of `linear_cka` over all orders of the rows of `y`: what chance gives.

    A permutation leaves the denominator alone. The mean of a centred matrix of inner products over
    all orders of the samples is its trace over N - 1 times the centring matrix, so that the mean of
    the numerator is the product of the traces over N - 1.
    """
    _check_lengths([x, y])
    x = _centred(x)
    y = _centred(y)
    traces = np.sum(x**2) * np.sum(y**2)
    return float(traces / ((len(x) - 1) * _own_norm(x) * _own_norm(y)))


def cka_map(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Linear CKA of all pairs of layers, and what chance gives for each: two (len(a), len(b))
    arrays."""
    _check_lengths([*a, *b])
    norms_a = np.array([_own_norm(_centred(x)) for x in a])
    norms_b = np.array([_own_norm(_centred(y)) for y in b])
    traces_a = np.array([np.sum(_centred(x) ** 2) for x in a])
    traces_b = np.array([np.sum(_centred(y) ** 2) for y in b])
    shared = np.empty((len(a), len(b)))
    for row, x in enumerate(map(_centred, a)):
        # One layer of each cloud is held in float64 at a time, not all of them.
        shared[row] = [_norm(_centred(y).T @ x) ** 2 for y in b]
    norms = np.outer(norms_a, norms_b)
    return shared / norms, np.outer(traces_a, traces_b) / ((len(a[0]) - 1) * norms)


def _centred(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    return points - points.mean(axis=0)


def _norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix))


def _own_norm(points: np.ndarray) -> float:
    """|X'X| of centred points, by the smaller of the two products."""
    small = points.T if points.shape[1] <= len(points) else points
    norm = _norm(small @ small.T)
    if norm == 0:
        raise UserError(
            "a layer has all samples at one point: expected points that differ; leave it out"
        )
    return norm


# -------------------------------------------------------------------------------------- some layers


def spread(layers: Sequence[int], at_most: int) -> list[int]:
    """At most so many layers, spread evenly from the first to the last."""
    if len(layers) <= at_most:
        return list(layers)
    places = np.linspace(0, len(layers) - 1, at_most).round().astype(int)
    return [layers[place] for place in places]
