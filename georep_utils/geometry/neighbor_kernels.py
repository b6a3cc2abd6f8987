"""The inner loops of the neighbour search on CPU, compiled by numba.

`neighbors.py` walks through the distance matrix tile by tile: some rows (the points that are
searched for) against a few thousand columns (all points, in random order). Two kernels do the rest.

`filter_columns` is called once for each tile. It keeps, for each row, the columns whose
approximate squared distance is below a limit, and lowers the limit as more columns have been seen.
What it keeps are the *candidates*: a few more than the ranks that are wanted.

`settle` is called once a row has seen every column. The approximations come from float32 and may be
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

from typing import NamedTuple

import numba
import numpy as np

# Columns between two checks of whether a row is full. Long enough for a tight inner loop, short
# enough that what has to be kept free (one segment) is little beside the candidates.
SEGMENT = 512

# Bins of the counting sort: with a few thousand candidates, a handful of values in each.
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
        `rounding_error(d)`.
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

    values, columns, bins: for `_sort`. squares, points: candidates as they are measured.
    """

    values: np.ndarray
    columns: np.ndarray
    bins: np.ndarray
    squares: np.ndarray
    points: np.ndarray


def rounding_error(d: int) -> float:
    """Return c such that a float32 approximation of |x - y|^2 is wrong by at most c (|x| + |y|)^2.

    Let u = 2^-24 be the rounding error of float32. A product of d terms, summed in any order, is
    wrong by at most 1.02 d u |x| |y| as long as d < 300,000 (Higham, *Accuracy and Stability of
    Numerical Algorithms*, section 3.1). The distance holds it twice, and 2 |x| |y| is at most half
    of (|x| + |y|)^2: hence 0.51 d. Rounding the points, the norm and the sum adds less than 8 u.
    """
    return 2.0**-24 * (0.51 * d + 8)


def rounding_error_of_halves(d: int) -> float:
    """The same for a product that is made in TF32 from numbers cut in two (`tf32_halves`).

    A number is h + l + r, where h has its first 11 bits, l the next 11, and |r| <= 2^-20 |x|. What
    is computed is h.h' + (h.l' + l.h'). It lacks l.l', r.y and (h + l).r', each at most
    2^-20 |x| |y|: together 48 u |x| |y|, of which the distance holds twice and (|x| + |y|)^2 at
    least four times as much, hence 24 u.

    Products of numbers of 11 bits are exact in float32. Their sum is not, and tensor cores cut off
    where float32 rounds, aligning several terms to the largest: count 2 u for each of the d terms
    of h.h', twice as much as in `rounding_error`, hence 1.04 d. The 2 d terms in brackets are 2^-10
    times as large and summed by themselves: below 0.01 d. The points are rounded when they are
    scaled, and so is the norm; and a norm and three products are added up: 16 u.
    """
    return 2.0**-24 * (1.05 * d + 24 + 16)


def margin(c, norm, square):
    """Return how far from the k-th smallest approximation any point that may hold rank k can lie.

    A point at distance r has |y| <= |x| + r, so its error is at most c (2 |x| + r)^2, which is at
    most c (8 |x|^2 + 2 r^2). The k-th true squared distance is then within e of the k-th
    approximation, where e solves e = c (8 |x|^2 + 2 (square + e)); and the approximation of a point
    that holds rank k is within e of the truth. The margin is the sum of both, 2 e.

    Parameters
    ----------
    c : float
        `rounding_error(d)`.
    norm : float or torch.Tensor
        |x|^2, of the point centred and scaled.
    square : float or torch.Tensor
        The k-th smallest approximate squared distance from it.
    """
    return 2 * c * (8 * norm + 2 * abs(square)) / (1 - 2 * c) + TINY


# The search by torch calls `margin` with tensors; the kernels call it compiled, with numbers.
_margin = numba.njit(nogil=True, cache=True)(margin)


@numba.njit(nogil=True, cache=True)
def _workspace(capacity):
    return _Workspace(
        np.empty(capacity, np.float32),
        np.empty(capacity, np.int32),
        np.empty(BINS, np.int64),
        np.empty(capacity, np.float64),
        np.empty(capacity, np.int32),
    )


@numba.njit(nogil=True, cache=True)
def _insertion_sort(values, labels, count, by_label):
    """Sort the first `count` values with their labels; `by_label` orders equal values by label."""
    for i in range(1, count):
        value = values[i]
        label = labels[i]
        j = i
        while j > 0 and (
            values[j - 1] > value or (by_label and values[j - 1] == value and labels[j - 1] > label)
        ):
            values[j] = values[j - 1]
            labels[j] = labels[j - 1]
            j -= 1
        values[j] = value
        labels[j] = label


@numba.njit(nogil=True, cache=True)
def _sort(values, columns, count, workspace):
    """Sort the first `count` values with their columns, in time almost proportional to `count`.

    A counting sort on evenly spaced bins brings every value to within its bin; insertion sort, fast
    on what is nearly sorted, does the rest.
    """
    bins = workspace.bins
    low = values[0]
    high = values[0]
    for i in range(1, count):
        low = min(low, values[i])
        high = max(high, values[i])
    # One bin is kept for the offset below, and one so that `high` itself does not fall outside.
    bins_per_unit = (len(bins) - 2) / (high - low) if high > low else 0.0

    # How many values each bin has, counted one place further on, so that after the running sum
    # bins[b] is where the values of bin b begin.
    bins[:] = 0
    for i in range(count):
        workspace.values[i] = values[i]
        workspace.columns[i] = columns[i]
        bins[int((values[i] - low) * bins_per_unit) + 1] += 1
    for b in range(1, len(bins)):
        bins[b] += bins[b - 1]

    for i in range(count):
        b = int((workspace.values[i] - low) * bins_per_unit)
        values[bins[b]] = workspace.values[i]
        columns[bins[b]] = workspace.columns[i]
        bins[b] += 1
    _insertion_sort(values, columns, count, False)


# Inlined: as a call, it kept the compiler from improving the loop around it, at a cost of 3 %.
@numba.njit(nogil=True, cache=True, inline="always")
def _is_checkpoint(seen):
    """Tell whether `seen` columns are 2, 8, 32, 128, 512, 2048, ..: odd powers of two.

    Lowering the limit costs a sort, and pays only when there is much to throw away: a factor of
    four between two sorts is enough. The mask has a bit at every odd power of two.
    """
    is_power_of_two = seen & (seen - 1) == 0
    return is_power_of_two and seen & 0xAAAAAAAAAAAA != 0


@numba.njit(nogil=True, cache=True)
def filter_columns(products, norms, first, n_columns, need, candidates):
    """Add the columns of one tile that are below their row's limit to the candidates.

    Columns come in random order. Of those seen so far, the fraction seen / N, about need * seen / N
    will therefore be among the `need` nearest of all, with the spread of a Poisson count. The limit
    is lowered to leave that many, five standard deviations and ten more. Should a limit prove too
    low all the same, `settle` notices and measures everything, so luck decides on time alone.

    Parameters
    ----------
    products : (rows, columns) float32
        Inner products of the block's points with those of the tile; -inf where a point meets
        itself, which makes its value +inf, below no limit.
    norms : (N,) float32
        Squared norms of all columns.
    first : int
        The column at which the tile begins.
    n_columns : int
        N, the number of columns of all tiles.
    need : int
        How many of the nearest columns must be left at the end.
    candidates : Candidates
        Extended in place.
    """
    workspace = _workspace(candidates.values.shape[1])
    for row in range(len(products)):
        values = candidates.values[row]
        columns = candidates.columns[row]
        count = candidates.counts[row]
        limit = candidates.limits[row]
        for start in range(0, products.shape[1], SEGMENT):
            for j in range(start, min(start + SEGMENT, products.shape[1])):
                value = norms[first + j] - np.float32(2) * products[row, j]
                # Written always and counted only if below the limit: a branch here would often be
                # predicted wrongly, which costs more than the write.
                values[count] = value
                columns[count] = first + j
                count += value < limit
            seen = first + start + SEGMENT
            if _is_checkpoint(seen) or count + SEGMENT > len(values):
                expected = need * (seen / n_columns)
                target = int(expected + 5 * np.sqrt(expected) + 10)
                if target < count:
                    _sort(values, columns, count, workspace)
                    count = target
                    limit = values[target - 1]
        candidates.counts[row] = count
        candidates.limits[row] = limit


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _square(x, y):
    """Return |x - y|^2 in float64.

    Leave to reorder the sum is what allows it to run in vector registers. The order is fixed when
    the kernel is compiled, so equal pairs of points always have equal bits. NaN and infinity keep
    their meaning, which full fastmath would take away.
    """
    total = 0.0
    for t in range(len(x)):
        difference = np.float64(x[t]) - np.float64(y[t])
        total += difference * difference
    return total


@numba.njit(nogil=True, cache=True)
def _window(values, count, k, gap):
    """Return (low, high): the sorted values from low to high - 1 are within `gap` of the k-th."""
    low = k - 1
    while low > 0 and values[low - 1] >= values[k - 1] - gap:
        low -= 1
    high = k
    while high < count and values[high] <= values[k - 1] + gap:
        high += 1
    return low, high


@numba.njit(nogil=True, cache=True)
def _measure(block, row, columns, low, high, workspace):
    """Measure candidates low to high - 1 of a row, into the first places of the workspace."""
    x = block.points[block.own[row]]
    for i in range(low, high):
        point = block.order[columns[i]]
        workspace.points[i - low] = point
        workspace.squares[i - low] = _square(x, block.points[point])


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
    _sort(values, columns, count, workspace)

    # The nearest maxk need every candidate from the first on: their order counts, too.
    gap = _margin(block.error, norm, values[maxk - 1] + norm)
    if not values[maxk - 1] + gap < limit:
        # A column that was thrown away may be one of them.
        return False
    _, high = _window(values, count, maxk, gap)
    _measure(block, row, columns, 0, high, workspace)
    _insertion_sort(workspace.squares, workspace.points, high, True)
    for i in range(maxk):
        found.squares[row, i] = workspace.squares[i]
        found.indices[row, i] = workspace.points[i]

    # A rank further out needs its distance alone. All candidates before `low` are nearer for
    # certain, so the one at rank k is the (k - low)-th of the window.
    for i in range(len(far_ranks)):
        k = far_ranks[i]
        gap = _margin(block.error, norm, values[k - 1] + norm)
        if not values[k - 1] + gap < limit:
            return False
        low, high = _window(values, count, k, gap)
        _measure(block, row, columns, low, high, workspace)
        _insertion_sort(workspace.squares, workspace.points, high - low, False)
        found.far_squares[row, i] = workspace.squares[k - 1 - low]
    return True


@numba.njit(nogil=True, cache=True)
def _settle_by_all_points(block, row, far_ranks, found):
    """Find the neighbours of one row by measuring all points: the last resort, always exact."""
    n_points = len(block.points)
    x = block.points[block.own[row]]
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
    workspace = _workspace(candidates.values.shape[1])
    for row in range(len(block.own)):
        if not _settle_by_candidates(block, row, candidates, far_ranks, found, workspace):
            _settle_by_all_points(block, row, far_ranks, found)
