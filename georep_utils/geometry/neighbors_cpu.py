"""The neighbour search on a CPU: matrix products tile by tile, and numba kernels for the rest.

The points stand in a random order, as rows and as columns of a matrix of distances. A tile is the
part of it where one block of rows meets some columns. Its inner products are filtered at once,
while a cache still holds them: each row keeps the columns that may be near (`filter_columns`). A
block that has met all columns has its exact neighbours found (`settle`).

Distances are symmetric. Where all points are searched for, the tile of block a and block b is
therefore computed once, and serves the rows of both: those of b are its columns (`filter_rows`).
That halves the products, and asks that all rows keep their candidates at the same time. Where
memory does not allow that, where only some rows are asked for, or where there is little to save,
each block meets all columns by itself.

Tiles are spread over threads, in each of which a product takes one core. In which order a block
meets the columns decides on time alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import psutil
import torch

from georep_utils.geometry.neighbor_kernels import (
    Block,
    Candidates,
    Found,
    filter_columns,
    filter_rows,
    lower_limits,
    settle,
)
from georep_utils.geometry.neighbor_points import Points, Query, check_memory, prepare
from georep_utils.precision import linear, threads_of_one_core

# Rows of a block, and columns that it meets at one time. A tile of 512 x 512 products takes 1 MiB,
# little enough to be in a cache still when the filter reads it.
BLOCK = 512

# How many numbers all points have, at least, where blocks share their tiles. With fewer, half of
# the products is less than what it takes to keep all candidates.
WORTH_SHARING = 1 << 21

# Features that are multiplied together. The sums of several such parts are added up, which has a
# lower bound of its rounding than one long sum: with thousands of features that saves most of what
# would be measured again (4,096 features: three times as fast).
FEATURES = 256

# Nearest columns that the filter keeps beyond the largest rank. The candidates that are measured
# reach a little beyond a rank, and these must not have been thrown away.
SPARE = 32


@dataclass(eq=False)
class _Rows:
    """A block of rows, and how far their search has come.

    columns: (rows,) the columns in which their own points stand. candidates: what the filter has
    left; None before the first tile and after the last. seen: how many columns they have met.
    lock: held while a tile is filtered, since any thread may have one for them.
    """

    columns: np.ndarray
    candidates: Candidates | None = None
    seen: int = 0
    lock: Lock = field(default_factory=Lock)


def search(query: Query, device: torch.device) -> Found:
    """Find the exact neighbours that `query` asks for."""
    n_points = len(query.points)
    n = len(query.rows)
    edge = min(query.block or BLOCK, n)
    need = query.largest_rank + SPARE
    threads = min(torch.get_num_threads(), math.ceil(n / edge))
    # The points once more in float32; in each thread candidates (value and column) and one tile.
    for_a_row = 8 * _capacity(need)
    needed = 4 * query.points.size + threads * edge * (for_a_row + 4 * BLOCK)
    available = psutil.virtual_memory().available
    check_memory(needed, available, edge)

    # In random order, since data often come sorted, and the filter must be able to tell from the
    # columns seen so far how many of the rest are near.
    order = np.random.default_rng(0).permutation(n_points)
    points = prepare(query.points, device, torch.from_numpy(order), FEATURES)
    found = Found(
        squares=np.empty((n, query.maxk)),
        indices=np.empty((n, query.maxk), np.int32),
        far_squares=np.empty((n, len(query.far_ranks))),
    )
    # A block that is asked for limits the memory; unasked, no more than half of it is taken.
    fits = query.block is None and n * for_a_row < available // 2
    both_ways = fits and n == n_points and query.points.size >= WORTH_SHARING
    columns = np.arange(n_points) if both_ways else np.argsort(order)[query.rows]
    blocks = [_Rows(columns[start : start + edge]) for start in range(0, n, edge)]
    norms = points.norms.numpy().astype(np.float32)
    state = _Search(query, points, norms, order, blocks, need, found)
    job = state.meet_later_blocks if both_ways else state.meet_all_columns
    with threads_of_one_core(threads) as pool:
        list(pool.map(job, blocks))
    return found


def _capacity(need: int) -> int:
    """Return how many candidates a row can hold, where the `need` nearest columns are to be left.

    Between two checkpoints the columns that have been met grow fourfold, and so do the candidates.
    And all columns of one tile may be near.
    """
    return 4 * _enough(need / 4) + BLOCK


def _enough(expected: float) -> int:
    """Return how many candidates to leave where `expected` of them will be among the nearest.

    That number has the spread of a Poisson count: five standard deviations more, and ten.
    """
    return int(expected + 5 * expected**0.5 + 10)


def _is_checkpoint(before: int, after: int) -> bool:
    """Tell whether a row that meets columns `before` to `after` comes to 2, 8, 32, 128, 512, ..

    Lowering the limits pays only where there is much to throw away: a factor of four is enough.
    """
    return any(before < 2 << 2 * i <= after for i in range(32))


@dataclass(frozen=True)
class _Search:
    """A search under way.

    norms: (N,) squared norms of the columns, in float32 as the filter takes them. order: (N,) the
    number of the point of each column. blocks: the rows. need: how many of the nearest columns each
    row must keep. found: where results go.

    Columns come in random order. Of those that a row has seen, the fraction seen / N, about
    need * seen / N will therefore be among the `need` nearest of all, and a limit can be set that
    leaves little more than these. Should it prove too low all the same, `settle` notices and
    measures everything, so luck decides on time alone.
    """

    query: Query
    points: Points
    norms: np.ndarray
    order: np.ndarray
    blocks: list[_Rows]
    need: int
    found: Found

    def meet_all_columns(self, rows: _Rows) -> None:
        """Let a block meet all columns, whatever other blocks do."""
        n_columns = len(self.order)
        mine = self.points.scaled[torch.from_numpy(rows.columns)]
        for first in range(0, n_columns, BLOCK):
            met = slice(first, min(first + BLOCK, n_columns))
            products = _products(mine, self.points.scaled[met], self.points.parts)
            # -inf makes the distance of a point from itself +inf: it is no neighbour of its own.
            own = rows.columns - first
            here = (own >= 0) & (own < products.shape[1])
            products[here, own[here]] = -np.inf
            self._filter(rows, filter_columns, products, met)

    def meet_later_blocks(self, rows: _Rows) -> None:
        """Let a block meet itself and all later blocks, and these meet it.

        Blocks are runs of columns here. Once every block has done so, all have met all.
        """
        scaled = self.points.scaled
        mine = _run(rows.columns)
        for other in self.blocks[self.blocks.index(rows) :]:
            met = _run(other.columns)
            products = _products(scaled[mine], scaled[met], self.points.parts)
            if other is rows:
                np.fill_diagonal(products, -np.inf)
            else:
                self._filter(other, filter_rows, products, mine)
            self._filter(rows, filter_columns, products, met)

    def _filter(self, rows: _Rows, kernel: Callable, products: np.ndarray, met: slice) -> None:
        """Add those of the columns `met` that are near to the candidates of `rows`.

        kernel: `filter_columns`, or `filter_rows` where `rows` are the columns of `products`.
        """
        n_columns = len(self.order)
        n_met = met.stop - met.start
        with rows.lock:
            if rows.candidates is None:
                rows.candidates = _no_candidates(len(rows.columns), _capacity(self.need))
            kernel(products, self.norms[met], met.start, rows.candidates)
            seen = rows.seen + n_met
            if seen < n_columns:
                target = _enough(self.need * seen / n_columns)
                everywhere = _is_checkpoint(rows.seen, seen)
                lower_limits(rows.candidates, target, BLOCK, everywhere)
            else:
                self._settle(rows)
                rows.candidates = None
            rows.seen = seen

    def _settle(self, rows: _Rows) -> None:
        """Find the exact neighbours of rows that have met all columns."""
        own = self.order[rows.columns]
        at = own - self.query.rows.start
        exact = Found(
            squares=self.found.squares[at],
            indices=self.found.indices[at],
            far_squares=self.found.far_squares[at],
        )
        norms = self.points.norms.numpy()[rows.columns]
        block = Block(self.points.raw.numpy(), self.order, own, norms, self.points.error)
        settle(block, rows.candidates, self.query.far_ranks, exact)
        for all_rows, these in zip(self.found, exact, strict=True):
            all_rows[at] = these


def _run(columns: np.ndarray) -> slice:
    """Return consecutive columns as a slice, which copies nothing."""
    return slice(int(columns[0]), int(columns[-1]) + 1)


@torch.inference_mode()
def _products(rows: torch.Tensor, columns: torch.Tensor, parts: list[slice]) -> np.ndarray:
    """Return the inner products (rows, columns) float32 of two sets of points, part by part."""
    total = linear(rows[:, parts[0]], columns[:, parts[0]])
    for part in parts[1:]:
        total += linear(rows[:, part], columns[:, part])
    return total.numpy()


def _no_candidates(n: int, capacity: int) -> Candidates:
    return Candidates(
        values=np.empty((n, capacity), np.float32),
        columns=np.empty((n, capacity), np.int32),
        counts=np.zeros(n, np.int64),
        limits=np.full(n, np.inf, np.float32),
    )
