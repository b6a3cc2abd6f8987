"""The inner loops of the neighbour search on CPU, compiled by numba.

`neighbors_cpu.py` walks through the distance matrix tile by tile: some rows (the points that are
searched for) against some columns (all points, in random order). Three kernels do the rest.

`filter_columns` keeps, for each row, those columns of a tile whose approximate squared distance is
below the row's limit: they are the row's *candidates*. `filter_rows` does the same for the points
that are the tile's columns. `lower_limits` throws away what has turned out not to be near enough,
so that in the end there are a few more candidates than the ranks that are wanted.

`settle` is called once rows have met every column. The approximations come from float32 and may be
wrong, but by no more than a known amount (`rounding_error`, `margin`). So for a wanted rank k it is
known which candidates may hold it: those whose approximation lies close enough to the k-th. These,
and no others, are measured again, by differences of coordinates in float64. Where the bound cannot
rule out that a point outside the candidates was needed, all N points are measured instead. Either
way the result is exact, and the float32 product has only saved time.

Two kinds of numbers must not be confused. Approximate squared distances are of the points *centred
and scaled by a power of two*, where float32 loses least. Exact ones are of the points *as given*.
Centring and scaling change no distance's place in the order.

The loops are written out where numpy has a function or a slice would do: compiling those takes
half as long again, in every new clone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

# Bins that candidates are sorted into: of a few thousand, a handful in each.
BINS = 1024

# The bound of `rounding_error` is relative, and so does not cover products that underflow.
# Coordinates are scaled to at most 1: what underflow can lose then stays below this.
TINY = 1e-30


# Named tuples, which compiled code can take as arguments. Numba's cache on disk refers to the
# classes by name: after renaming one, remove the files *.nbi and *.nbc in __pycache__.


class Block(NamedTuple):
    """The rows that are searched for at one time, and the points they are measured against.

    Attributes
    ----------
    points : (N, d) float32
        All points, as given.
    order : (N,) int64
        The number of the point that stands in each column.
    own : (rows,) int64
        The numbers of the rows' own points.
    norms : (rows,) float64
        The squared norms of these, centred and scaled.
    error : float
        Of `rounding_error`.
    """

    points: np.ndarray
    order: np.ndarray
    own: np.ndarray
    norms: np.ndarray
    error: float


class Candidates(NamedTuple):
    """The columns that may hold a wanted rank, for each row of a block.

    Attributes
    ----------
    values : (rows, capacity) float32
        |y|^2 - 2 x.y: the squared distance without |x|^2, which is the same for all columns.
    columns : (rows, capacity) int32
        Which columns they are.
    counts : (rows,) int64
        How many there are in each row.
    limits : (rows,) float32
        Every column seen so far whose value is below its row's limit is among the candidates.
    """

    values: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    limits: np.ndarray


class Found(NamedTuple):
    """What a search finds for n points.

    Attributes
    ----------
    squares : (n, maxk) float64
        Exact squared distances to the nearest neighbours, ascending.
    indices : (n, maxk) integers
        Which points these are.
    far_squares : (n, ranks) float64
        Exact squared distances at some ranks beyond maxk.
    """

    squares: np.ndarray
    indices: np.ndarray
    far_squares: np.ndarray


class _Workspace(NamedTuple):
    """Arrays that are allocated once and used again for each row.

    Attributes
    ----------
    values, columns : (capacity,)
        For `_into_bins`.
    ends : (BINS,) int64
        Where the candidates of each bin end.
    squares, points : (capacity,)
        Candidates as they are measured.
    x : (d,) float64
        The row's own point.
    """

    values: np.ndarray
    columns: np.ndarray
    ends: np.ndarray
    squares: np.ndarray
    points: np.ndarray
    x: np.ndarray


class _Bins(NamedTuple):
    """Evenly spaced bins: a value is in bin int((value - low) * per_unit), all in float64."""

    low: float
    per_unit: float


def rounding_error(d: int, n_parts: int = 1) -> float:
    """Return c such that a float32 approximation of |x - y|^2 is wrong by at most c (|x| + |y|)^2.

    Let u = 2^-24 be the rounding error of float32. A sum of n products, added in any order, is
    wrong by at most 1.02 n u |x| |y| as long as n < 300,000 (Higham, *Accuracy and Stability of
    Numerical Algorithms*, section 3.1). Where d features are multiplied in parts of n, and the sums
    of the parts are added up one by one, no term takes part in more than n + n_parts additions. The
    distance holds the product twice, and 2 |x| |y| is at most half of (|x| + |y|)^2: hence 0.51 n.
    What the parts are added to may be as large as (|x| + |y|)^2: hence n_parts. Rounding the
    points, the norm and the sum adds less than 8 u.

    Parameters
    ----------
    d : int
        Features.
    n_parts : int
        Parts in which they are multiplied, of equal sizes. Parts make the bound lower, so that
        fewer points have to be measured.
    """
    return 2.0**-24 * (0.51 * math.ceil(d / n_parts) + n_parts + 8)


def rounding_error_of_halves(d: int, n_parts: int = 1) -> float:
    """The same for a product that is made in TF32 from numbers cut in two (`tf32_halves`).

    A number is h + l + r, where h has its first 11 bits, l the next 11, and |r| <= 2^-20 |x|. What
    is computed is h.h' + (h.l' + l.h'). It lacks l.l', r.y and (h + l).r', each at most
    2^-20 |x| |y|: together 48 u |x| |y|, of which the distance holds twice and (|x| + |y|)^2 at
    least four times as much, hence 24 u.

    Products of numbers of 11 bits are exact in float32. Their sum is not. A tensor core adds four
    of them or more to what it has: it aligns all to the largest, cuts off what lies below the 24th
    bit, and cuts the sum again. That is what Fasi, Higham, Mikaitis and Pranesh (PeerJ Computer
    Science 7, e330, 2021) found by experiment; later ones keep a bit or two more. A cut loses at
    most 2 u. So count 2 u for each of the n terms of a part of h.h' and for each four of them,
    2.5 times as much as in `rounding_error`, hence 1.3 n, and 2 u for each part that is added. The
    2 d terms in brackets are 2^-10 times as large and summed by themselves: below 0.01 d. The
    points are rounded when they are scaled, and so is the norm; and a norm and three products are
    added up: 16 u.
    """
    return 2.0**-24 * (1.3 * math.ceil(d / n_parts) + 0.01 * d + 2 * n_parts + 24 + 16)


def margin(c, norm, square):
    """Return how far from the k-th smallest approximation any point that may hold rank k can lie.

    A point at distance r has |y| <= |x| + r, so its error is at most c (2 |x| + r)^2, which is at
    most c (8 |x|^2 + 2 r^2). The k-th true squared distance is then within e of the k-th
    approximation, where e solves e = c (8 |x|^2 + 2 (square + e)); and the approximation of a point
    that holds rank k is within e of the truth. The margin is the sum of both, 2 e.

    Parameters
    ----------
    c : float
        Of `rounding_error`.
    norm : float or torch.Tensor
        |x|^2, of the point centred and scaled.
    square : float or torch.Tensor
        The k-th smallest approximate squared distance from it.
    """
    return 2 * c * (8 * norm + 2 * abs(square)) / (1 - 2 * c) + TINY


# The search by torch calls `margin` with tensors; the kernels call it compiled, with numbers.
_margin = numba.njit(nogil=True, cache=True)(margin)


@numba.njit(nogil=True, cache=True)
def _workspace(capacity, d):
    return _Workspace(
        np.empty(capacity, np.float32),
        np.empty(capacity, np.int32),
        np.empty(BINS, np.int64),
        np.empty(capacity, np.float64),
        np.empty(capacity, np.int32),
        np.empty(d, np.float64),
    )


@numba.njit(nogil=True, cache=True)
def _insertion_sort(values, labels, low, high, by_label):
    """Sort places low to high - 1, labels with values; `by_label` orders equal values by label."""
    for i in range(low + 1, high):
        value = values[i]
        label = labels[i]
        j = i
        while j > low and (
            values[j - 1] > value or (by_label and values[j - 1] == value and labels[j - 1] > label)
        ):
            values[j] = values[j - 1]
            labels[j] = labels[j - 1]
            j -= 1
        values[j] = value
        labels[j] = label


@numba.njit(nogil=True, cache=True)
def _into_bins(values, columns, count, workspace):
    """Bring the first `count` values, with their columns, into the order of evenly spaced bins.

    This is half of a sort, in time proportional to `count`: a value is greater than all those of
    earlier bins, and within a bin there is no order. `_smallest` sorts the one bin it asks for.
    """
    lowest = values[0]
    highest = values[0]
    for i in range(1, count):
        lowest = min(lowest, values[i])
        highest = max(highest, values[i])
    low = np.float64(lowest)
    high = np.float64(highest)
    ends = workspace.ends
    # One bin is left for the offset below.
    bins = _Bins(low, (len(ends) - 2) / (high - low) if high > low else 0.0)

    # How many values each bin has, counted one place further on, so that after the running sum
    # ends[b] is where the values of bin b begin; and once they stand there, where they end.
    ends[:] = 0
    for i in range(count):
        workspace.values[i] = values[i]
        workspace.columns[i] = columns[i]
        ends[_bin(bins, values[i]) + 1] += 1
    for b in range(1, len(ends)):
        ends[b] += ends[b - 1]
    for i in range(count):
        b = _bin(bins, workspace.values[i])
        values[ends[b]] = workspace.values[i]
        columns[ends[b]] = workspace.columns[i]
        ends[b] += 1
    return bins


@numba.njit(nogil=True, cache=True)
def _bin(bins, value):
    return int((np.float64(value) - bins.low) * bins.per_unit)


@numba.njit(nogil=True, cache=True)
def _smallest(values, columns, k, ends):
    """Return the k-th smallest of values in bins, which then stands in its place k - 1."""
    b = 0
    while ends[b] < k:
        b += 1
    _insertion_sort(values, columns, ends[b - 1] if b > 0 else 0, ends[b], False)
    return values[k - 1]


@numba.njit(nogil=True, cache=True)
def _positions(flags, groups, not_empty, positions):
    """Write the places where a flag is 1 into `positions`; return how many there are.

    Nearly all flags are 0, so eight are looked at together first. What is written may not count: a
    branch instead would often be predicted wrongly, which costs more than the write.

    Parameters
    ----------
    flags : (8 n,) uint8
    groups : (n,) uint64
        The same bytes, eight together.
    not_empty, positions : (n + 1,) and (8 n + 1,) int64
        Overwritten.
    """
    n_groups = 0
    for group in range(len(groups)):
        not_empty[n_groups] = 8 * group
        n_groups += groups[group] != 0
    count = 0
    for i in range(n_groups):
        for place in range(not_empty[i], not_empty[i] + 8):
            positions[count] = place
            count += flags[place]
    return count


@numba.njit(nogil=True, cache=True)
def _flags(n):
    """Return the arrays of `_positions` for n flags, and n values beside them."""
    n_groups = (n + 7) // 8
    flags = np.zeros(8 * n_groups, np.uint8)
    groups = flags.view(np.uint64)
    not_empty = np.empty(n_groups + 1, np.int64)
    positions = np.empty(8 * n_groups + 1, np.int64)
    return flags, groups, not_empty, positions, np.empty(n, np.float32)


@numba.njit(nogil=True, cache=True)
def filter_columns(products, norms, first, candidates):
    """Add the columns of one tile that are below their row's limit to the candidates.

    Parameters
    ----------
    products : (rows, columns) float32
        Inner products of the block's points with those of the tile; -inf where a point meets
        itself, which makes its value +inf, below no limit.
    norms : (columns,) float32
        Squared norms of the tile's columns.
    first : int
        The column at which the tile begins.
    candidates : Candidates
        Extended in place. It must have room for all columns of the tile: see `lower_limits`.
    """
    n = products.shape[1]
    flags, groups, not_empty, positions, tile_values = _flags(n)
    for row in range(len(products)):
        limit = candidates.limits[row]
        for j in range(n):
            value = norms[j] - np.float32(2) * products[row, j]
            tile_values[j] = value
            flags[j] = value < limit
        n_below = _positions(flags, groups, not_empty, positions)

        values = candidates.values[row]
        columns = candidates.columns[row]
        count = candidates.counts[row]
        for i in range(n_below):
            j = positions[i]
            values[count + i] = tile_values[j]
            columns[count + i] = first + j
        candidates.counts[row] = count + n_below


@numba.njit(nogil=True, cache=True)
def filter_rows(products, norms, first, candidates):
    """The same with rows and columns exchanged: `candidates` belong to the tile's columns.

    What transposing the tile and `filter_columns` would do, without the work of transposing.

    Parameters
    ----------
    products : (rows, columns) float32
        As in `filter_columns`.
    norms : (rows,) float32
        Squared norms of the tile's rows.
    first : int
        Where the tile's rows begin among all columns.
    candidates : Candidates
        Of the tile's columns. Extended in place.
    """
    n = products.shape[1]
    flags, groups, not_empty, positions, tile_values = _flags(n)
    limits = candidates.limits
    counts = candidates.counts
    for row in range(len(products)):
        norm = norms[row]
        for j in range(n):
            value = norm - np.float32(2) * products[row, j]
            tile_values[j] = value
            flags[j] = value < limits[j]
        n_below = _positions(flags, groups, not_empty, positions)
        for i in range(n_below):
            j = positions[i]
            candidates.values[j, counts[j]] = tile_values[j]
            candidates.columns[j, counts[j]] = first + row
            counts[j] += 1


@numba.njit(nogil=True, cache=True)
def lower_limits(candidates, target, room, everywhere):
    """Throw candidates away that are not near enough, and lower the limits of their rows.

    Parameters
    ----------
    candidates : Candidates
        Changed in place.
    target : int
        How many of each row are to be left.
    room : int
        Places that must be free afterwards: the columns of the next tile.
    everywhere : bool
        Whether to do it in all rows, or in those alone which lack room.
    """
    workspace = _workspace(candidates.values.shape[1], 0)
    most = candidates.values.shape[1] - room
    for row in range(len(candidates.counts)):
        count = candidates.counts[row]
        if count > (target if everywhere else most):
            values = candidates.values[row]
            columns = candidates.columns[row]
            _into_bins(values, columns, count, workspace)
            candidates.limits[row] = _smallest(values, columns, target, workspace.ends)
            candidates.counts[row] = target


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _square(x, y):
    """Return |x - y|^2, x in float64 and y in float32.

    Leave to reorder the sum is what allows it to run in vector registers. The order is fixed when
    the kernel is compiled, so equal pairs of points always have equal bits. NaN and infinity keep
    their meaning, which full fastmath would take away.
    """
    total = 0.0
    for t in range(len(x)):
        difference = x[t] - np.float64(y[t])
        total += difference * difference
    return total


@numba.njit(nogil=True, cache=True)
def _measure(block, candidates, row, bins, smallest, largest, workspace):
    """Measure the candidates of a row whose values are from `smallest` to `largest`.

    Their exact squared distances and points come into the first places of the workspace. Returns
    how many candidates have a smaller value, and how many were measured.
    """
    values = candidates.values[row]
    columns = candidates.columns[row]
    ends = workspace.ends
    first = max(0, _bin(bins, smallest))
    last = min(len(ends) - 1, _bin(bins, largest))
    before = ends[first - 1] if first > 0 else 0
    n_measured = 0
    for i in range(before, ends[last]):
        if values[i] < smallest:
            before += 1
        elif values[i] <= largest:
            point = block.order[columns[i]]
            workspace.points[n_measured] = point
            workspace.squares[n_measured] = _square(workspace.x, block.points[point])
            n_measured += 1
    return before, n_measured


@numba.njit(nogil=True, cache=True)
def _settle_by_candidates(block, row, candidates, far_ranks, found, workspace):
    """Find the neighbours of one row among its candidates; return whether they are certain."""
    values = candidates.values[row]
    columns = candidates.columns[row]
    count = candidates.counts[row]
    limit = candidates.limits[row]
    norm = block.norms[row]
    maxk = found.squares.shape[1]
    largest = far_ranks[-1] if len(far_ranks) else maxk
    if count < largest:
        return False
    bins = _into_bins(values, columns, count, workspace)
    for t in range(len(workspace.x)):
        workspace.x[t] = block.points[block.own[row], t]

    # The nearest maxk need every candidate from the first on: their order counts, too.
    value = _smallest(values, columns, maxk, workspace.ends)
    gap = _margin(block.error, norm, value + norm)
    if not value + gap < limit:
        # A column that was thrown away may be one of them.
        return False
    _, n_measured = _measure(block, candidates, row, bins, bins.low, value + gap, workspace)
    _insertion_sort(workspace.squares, workspace.points, 0, n_measured, True)
    for i in range(maxk):
        found.squares[row, i] = workspace.squares[i]
        found.indices[row, i] = workspace.points[i]

    # A rank further out needs its distance alone. All candidates before those that are measured
    # are nearer for certain, so the one at rank k is the (k - before)-th of these.
    for i in range(len(far_ranks)):
        k = far_ranks[i]
        value = _smallest(values, columns, k, workspace.ends)
        gap = _margin(block.error, norm, value + norm)
        if not value + gap < limit:
            return False
        before, n_measured = _measure(
            block, candidates, row, bins, value - gap, value + gap, workspace
        )
        _insertion_sort(workspace.squares, workspace.points, 0, n_measured, False)
        found.far_squares[row, i] = workspace.squares[k - 1 - before]
    return True


@numba.njit(nogil=True, cache=True)
def _settle_by_all_points(block, row, far_ranks, found):
    """Find the neighbours of one row by measuring all points: the last resort, always exact."""
    n_points = len(block.points)
    x = block.points[block.own[row]].astype(np.float64)
    squares = np.empty(n_points)
    for j in range(n_points):
        squares[j] = _square(x, block.points[j])
    # A point is no neighbour of its own, even where copies of it are at distance 0.
    squares[block.own[row]] = np.inf
    # Mergesort is stable: equal distances stay in the order of their indices.
    nearest = np.argsort(squares, kind="mergesort")
    for k in range(found.squares.shape[1]):
        found.squares[row, k] = squares[nearest[k]]
        found.indices[row, k] = nearest[k]
    for i in range(len(far_ranks)):
        found.far_squares[row, i] = squares[nearest[far_ranks[i] - 1]]


@numba.njit(nogil=True, cache=True)
def settle(block, candidates, far_ranks, found):
    """Turn the candidates of a block into exact neighbours.

    Parameters
    ----------
    block : Block
        The rows, and the points as given.
    candidates : Candidates
        What `filter_columns` left after the last tile; sorted in place.
    far_ranks : (ranks,) int64
        Ranks beyond maxk, ascending, of which the squared distance is wanted.
    found : Found
        Filled in place; its first array is maxk wide.
    """
    workspace = _workspace(candidates.values.shape[1], block.points.shape[1])
    for row in range(len(block.own)):
        if not _settle_by_candidates(block, row, candidates, far_ranks, found, workspace):
            _settle_by_all_points(block, row, far_ranks, found)
