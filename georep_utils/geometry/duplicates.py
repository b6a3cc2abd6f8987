"""Points that are copies of others, exact or near, and leaving them out.

An exact copy has the distance 0 to its nearest neighbour, and no distance ratio. `drop_duplicates`
keeps the first of each set of equal rows. A near-copy has a nearest neighbour that is much nearer
than the others; `near_duplicates` keeps the first of each group of points that hang together so.
What either does to an estimate of the dimension is looked at in `ratio_law.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from georep_utils.geometry.neighbors import Neighbors
from georep_utils.io import UserError

# With fewer different points than this share, the few that have a distance ratio are no sample of
# the layer. The usual case is the first layer of a causal model that is read at its last token:
# all samples with the same last token are the same point there.
MIN_DIFFERENT = 0.5


@dataclass(frozen=True)
class NearDuplicates:
    """Points that are near-copies of others.

    kept: (m,) numbers of the points that stay, ascending; removed: (n - m,) the others; pairs:
    number of pairs of a point and a nearest neighbour that is much too near.
    """

    kept: np.ndarray
    removed: np.ndarray
    pairs: int


def near_duplicates(
    neighbors: Neighbors, k: int = 10, share: float = 0.1, radius: float | None = None
) -> NearDuplicates:
    """Points whose nearest neighbour lies much nearer than the k-th, one of each pair to be
    removed.

    Parameters
    ----------
    neighbors : Neighbors
        With k neighbours or more.
    k : int
        The rank that says how far neighbours usually are.
    share : float
        A pair is too near when r_1 is below `share` of r_k for the one that is further from its
        k-th. Evenly spread points in d dimensions have that in a share of about k share^d: half of
        the points in one dimension, a tenth in two, a hundred thousandth in six. In low dimensions
        give `radius` instead.
    radius : float, optional
        A pair is too near below this distance, whatever r_k is.

    Returns
    -------
    NearDuplicates
        Of points that hang together by such pairs, the first stays.

    Raises
    ------
    UserError
        Fewer than k stored neighbours, or a share outside 0 to 1.
    """
    if neighbors.indices.shape[1] <= k:
        raise UserError(
            f"k = {k}, but {neighbors.indices.shape[1] - 1} neighbours are stored: search again "
            f"with maxk of {k}"
        )
    if not 0 < share < 1:
        raise UserError(
            f"share {share}: expected a number between 0 and 1, a tenth for example; give radius "
            "for a distance"
        )
    distances = np.asarray(neighbors.distances)
    limit = np.full(len(distances), radius) if radius is not None else share * distances[:, k]
    # Every stored neighbour counts, so that a group of copies is found as a whole.
    close = distances[:, 1:] <= limit[:, None]
    points, columns = np.nonzero(close)
    others = np.asarray(neighbors.indices)[points, columns + 1]
    first = _first_of_group(len(distances), points, others)
    own = np.arange(len(distances))
    return NearDuplicates(own[first == own], own[first != own], int(close[:, 0].sum()))


def n_different(X: np.ndarray) -> int:
    """Return the number of different rows of X (N, width).

    A layer where most points are copies of others has no dimension. Such is the first layer of a
    causal model read at the last place, where samples that end with the same token are one point.
    """
    return len(_first_occurrences(X))


def drop_duplicates(
    X: np.ndarray, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Keep one of each set of equal rows, the first, in the old order.

    Parameters
    ----------
    X : (N, width) array
        The points.
    labels : (N,) array, optional
        Kept with their points.

    Returns
    -------
    points : (n, width) array
        The different rows.
    labels : (n,) array or None
        Theirs.
    rows : (n,) array of int64
        Where they stood in X.
    """
    rows = _first_occurrences(X)
    kept_labels = None if labels is None else np.asarray(labels)[rows]
    return X[rows], kept_labels, rows


def _first_occurrences(X: np.ndarray) -> np.ndarray:
    """Return the numbers of the rows that repeat no earlier one.

    Sums over a row, of its bits times fixed odd numbers, are equal for equal rows. So only rows
    whose sum stands more than once have to be compared, mostly none.
    """
    rows_at_once = max(1, 2**22 // max(1, X.shape[1]))
    starts = range(0, max(1, len(X)), rows_at_once)
    sums = np.concatenate([_sums_of_bits(X[i : i + rows_at_once]) for i in starts])
    _, which, count = np.unique(sums, return_inverse=True, return_counts=True)
    seen: set[bytes] = set()
    repeated = []
    for i in np.flatnonzero(count[which] > 1):
        row = (X[i] + 0.0).tobytes()
        if row in seen:
            repeated.append(i)
        seen.add(row)
    return np.delete(np.arange(len(X)), repeated)


def _sums_of_bits(X: np.ndarray) -> np.ndarray:
    """A sum over the bits of each row (n,), modulo 2^64, which is the same for equal rows."""
    # 0.0 and -0.0 are equal and have different bits; adding 0.0 makes both 0.0.
    values = np.ascontiguousarray(X + 0.0)
    bits = values.view(f"u{values.itemsize}")
    factors = np.random.default_rng(0).integers(2**63, size=X.shape[1], dtype=np.uint64)
    return (bits * (2 * factors + np.uint64(1))).sum(axis=1, dtype=np.uint64)


def _first_of_group(n: int, points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The lowest point number of the group that each point belongs to, where pairs link points."""
    first = np.arange(n)
    while True:
        lowest = first.copy()
        np.minimum.at(lowest, points, first[others])
        np.minimum.at(lowest, others, first[points])
        if np.array_equal(lowest, first):
            return first
        first = lowest
