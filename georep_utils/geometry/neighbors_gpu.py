"""The neighbour search on a GPU: what `neighbors_cpu.py` does, as torch operations on blocks.

It runs on a CPU as well, which is how the tests hold it against the kernels, bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import psutil
import torch

from georep_utils.geometry.neighbor_kernels import Found, margin
from georep_utils.geometry.neighbor_points import Points, Query, check_memory, prepare
from georep_utils.io import UserError
from georep_utils.precision import matmul_precision

# Candidates measured around a rank k. The error bound decides whether they were enough, so
# these numbers set the speed alone: k / 32 and a few on either side are nearly always enough.
PAD_BEFORE = 5
PAD_AFTER = 14

# Rows at one time, where memory would allow more; and bytes of working memory for each
# entry of a block of distances: the product, and what topk and sort need beside it.
TORCH_BLOCK = 8192
BYTES_PER_ENTRY = 16

# How products are made, "float32" or "halves" (see `tf32_halves`). The result is the same,
# so the faster one should stand here; which one that is has not been measured yet.
GPU_PRODUCT = "float32"

# Features that are multiplied together: see `neighbors_cpu`. Each part reads and writes the block
# of distances once more, which a GPU would notice with small ones.
FEATURES = 512

# Numbers gathered at one time for exact distances (256 MiB in float64).
GATHER = 1 << 25


@dataclass(frozen=True)
class _Window:
    """Candidates low to high - 1, in the order of their approximations: measured to find `rank`."""

    rank: int
    low: int
    high: int

    @property
    def span(self) -> tuple[int, int]:
        return self.low, self.high


@dataclass(frozen=True)
class _Plan:
    """What is measured in one attempt: a window for the neighbours and one for each rank beyond."""

    neighbours: _Window
    far: list[_Window]


@dataclass(frozen=True)
class _TorchBlock:
    """Rows `start` to start + len(own) of a search, with their candidates.

    own: (rows,) the numbers of their points. squares: (rows, m) float64, the m smallest approximate
    squared distances, ascending. columns: (rows, m) the points they belong to.
    """

    start: int
    own: torch.Tensor
    squares: torch.Tensor
    columns: torch.Tensor


def search(query: Query, device: torch.device) -> Found:
    """Find the exact neighbours that `query` asks for.

    Where the CPU takes each row's window as wide as the error bound asks, here all rows of a block
    have windows of one width, and the bound tells which rows were served. The others try again with
    all candidates, and at last with all points.
    """
    n_points = len(query.points)
    n = len(query.rows)
    block = _torch_block(query, device)
    # Points keep their order: topk needs no random one.
    cloud = prepare(query.points, device, torch.arange(n_points, device=device), FEATURES)
    if GPU_PRODUCT == "halves":
        cloud = replace(cloud, halves=tf32_halves(cloud.scaled))
    n_candidates = min(n_points - 1, query.largest_rank * 33 // 32 + PAD_AFTER)
    found = Found(
        squares=torch.empty(n, query.maxk, dtype=torch.float64, device=device),
        indices=torch.empty(n, query.maxk, dtype=torch.int64, device=device),
        far_squares=torch.empty(n, len(query.far_ranks), dtype=torch.float64, device=device),
    )
    start = 0
    while start < n:
        if _serve(cloud, query, slice(start, start + block), n_candidates, found):
            start += block
        elif block > 1:
            # Somebody else took what was free before. What has been found stays.
            torch.cuda.empty_cache()
            block //= 2
        else:
            raise UserError(
                f"the distances of one point to {n_points} others do not fit into what is free on "
                f"{device}; free some of its memory, or use another device"
            )
    return Found(
        squares=found.squares.cpu().numpy(),
        indices=found.indices.int().cpu().numpy(),
        far_squares=found.far_squares.cpu().numpy(),
    )


def _serve(cloud: Points, query: Query, block: slice, n_candidates: int, found: Found) -> bool:
    """Search for a block of the rows; return False where there was no memory for it."""
    rows = query.rows[block]
    own = torch.arange(rows.start, rows.stop, device=cloud.raw.device)
    try:
        candidates = _closest(cloud, block.start, own, n_candidates)
        unsettled = torch.arange(len(own), device=own.device)
        for plan in _plans(query, n_candidates):
            unsettled = _settle_by_candidates(cloud, candidates, unsettled, plan, found)
        _settle_by_all_points(cloud, candidates, unsettled, query.far_ranks, found)
    except torch.OutOfMemoryError:
        return False
    return True


def _free_bytes(device: torch.device) -> int:
    """Return how much memory there is for new arrays."""
    if device.type != "cuda":
        return psutil.virtual_memory().available
    free, _ = torch.cuda.mem_get_info(device)
    # PyTorch keeps what arrays have left, and gives it to new ones.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _torch_block(query: Query, device: torch.device) -> int:
    """Return how many rows to search for at one time; refuse a block that does not fit."""
    n_points = len(query.points)
    free = _free_bytes(device)
    # The points in float32, twice, and perhaps their halves.
    points = (16 if GPU_PRODUCT == "halves" else 8) * query.points.size
    # Unasked, no more than half of what is left.
    fitting = (free - points) // (2 * BYTES_PER_ENTRY * n_points)
    chosen = query.block or max(1, min(TORCH_BLOCK, fitting))
    block = min(chosen, len(query.rows))
    check_memory(points + BYTES_PER_ENTRY * block * n_points, free, block)
    return block


def _plans(query: Query, n_candidates: int) -> tuple[_Plan, _Plan]:
    """Return two attempts: first a little on either side of each rank, then all candidates."""

    def narrow(rank: int, low: int) -> _Window:
        return _Window(rank, low, min(n_candidates, rank + rank // 32 + PAD_AFTER))

    def wide(rank: int) -> _Window:
        return _Window(rank, 0, n_candidates)

    far_ranks = query.far_ranks.tolist()
    first = _Plan(
        narrow(query.maxk, low=0),
        [narrow(k, low=max(0, k - k // 32 - PAD_BEFORE)) for k in far_ranks],
    )
    second = _Plan(wide(query.maxk), [wide(k) for k in far_ranks])
    return first, second


def _closest(cloud: Points, start: int, own: torch.Tensor, m: int) -> _TorchBlock:
    """Return the m points with the smallest approximate distances from each point of `own`."""
    partial_squares = _partial_squares(cloud, own)
    partial_squares.scatter_(1, own[:, None], torch.inf)
    values, columns = partial_squares.topk(m, largest=False)
    return _TorchBlock(start, own, values.double() + cloud.norms[own, None], columns)


def _partial_squares(cloud: Points, own: torch.Tensor) -> torch.Tensor:
    """Return |y|^2 - 2 x.y (rows, N) of the points `own` and all points.

    |x|^2 is the same along a row, and is added to what is kept.
    """
    squares = cloud.norms.float().repeat(len(own), 1)
    if cloud.halves is None:
        return _less_products(squares, cloud.scaled, own, cloud.parts)
    high, low = cloud.halves
    # The halves have no more bits than TF32 keeps. So this setting takes no digit from them.
    device = cloud.raw.device
    with matmul_precision("tf32" if device.type == "cuda" else "float32", device):
        # The small products first, so that they don't add to the rounding of the large one.
        squares.addmm_(high[own], low.T, alpha=-2)
        squares.addmm_(low[own], high.T, alpha=-2)
        return _less_products(squares, high, own, cloud.parts)


def _less_products(
    squares: torch.Tensor, points: torch.Tensor, own: torch.Tensor, parts: list[slice]
) -> torch.Tensor:
    """Subtract twice the inner products of the points `own` with all, part by part, in place."""
    rows = points[own]
    for part in parts:
        squares.addmm_(rows[:, part], points[:, part].T, alpha=-2)
    return squares


def tf32_halves(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first 11 bits of float32 numbers, and the next 11, as float32 numbers.

    Both are numbers of TF32, which tensor cores multiply several times as fast as float32. Their
    sum is `x` to 2^-20. Bits are cut off, not rounded.
    """
    high = _first_bits(x)
    return high, _first_bits(x - high)


def _first_bits(x: torch.Tensor) -> torch.Tensor:
    # float32 stores 23 bits of a number behind its leading one, TF32 the first ten of these.
    return (x.view(torch.int32) & -(1 << 13)).view(torch.float32)


def _settle_by_candidates(
    cloud: Points, block: _TorchBlock, unsettled: torch.Tensor, plan: _Plan, found: Found
) -> torch.Tensor:
    """Measure the windows of the rows `unsettled`; return those of which the result is not certain.

    What is written for these is provisional: the next attempt overwrites it.
    """
    if not len(unsettled):
        return unsettled
    at = block.start + unsettled

    window = plan.neighbours
    exact, points = _measure(cloud, block, unsettled, window)
    found.squares[at] = exact[:, : window.rank]
    found.indices[at] = points[:, : window.rank]
    sure = _is_certain(cloud, block, unsettled, window)
    measured = window.span
    for i, window in enumerate(plan.far):
        # Windows that hold all candidates are the same for every rank.
        if window.span != measured:
            exact, _ = _measure(cloud, block, unsettled, window)
            measured = window.span
        found.far_squares[at, i] = exact[:, window.rank - 1 - window.low]
        sure &= _is_certain(cloud, block, unsettled, window)
    return unsettled[~sure]


def _is_certain(
    cloud: Points, block: _TorchBlock, rows: torch.Tensor, window: _Window
) -> torch.Tensor:
    """Tell for each row whether the error bound leaves no point outside the window in question."""
    n_others = len(cloud.raw) - 1
    n_candidates = block.squares.shape[1]
    square = block.squares[rows, window.rank - 1]
    gap = margin(cloud.error, cloud.norms[block.own[rows]], square)
    sure = torch.ones(len(rows), dtype=torch.bool, device=square.device)
    if window.low > 0:
        sure &= block.squares[rows, window.low - 1] < square - gap
    if window.high < n_others:
        # The first candidate outside the window; or, where it holds all of them, the last inside:
        # the points that are no candidates are no nearer than that one.
        outside = min(window.high, n_candidates - 1)
        sure &= block.squares[rows, outside] > square + gap
    return sure


def _measure(
    cloud: Points, block: _TorchBlock, rows: torch.Tensor, window: _Window
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return exact squared distances within the window, ascending, and which points they are to."""
    # Sorted by index first: the stable sort then leaves equal distances in the order of the index.
    points = block.columns[rows, window.low : window.high].sort(dim=1).values
    exact, by = _exact_squares(cloud.raw, block.own[rows], points).sort(dim=1, stable=True)
    return exact, points.gather(1, by)


def _settle_by_all_points(
    cloud: Points,
    block: _TorchBlock,
    unsettled: torch.Tensor,
    far_ranks: np.ndarray,
    found: Found,
) -> None:
    """Measure all points from the rows `unsettled`: the last resort, always exact."""
    if not len(unsettled):
        return
    n_points = len(cloud.raw)
    maxk = found.squares.shape[1]
    places = torch.as_tensor(far_ranks - 1, device=cloud.raw.device)
    for rows in unsettled.split(max(1, GATHER // n_points)):
        own = block.own[rows]
        squares = _squares_to_all(cloud.raw, own)
        # A point is no neighbour of its own, even where copies of it are at distance 0.
        squares.scatter_(1, own[:, None], torch.inf)
        exact, points = squares.sort(dim=1, stable=True)
        at = block.start + rows
        found.squares[at] = exact[:, :maxk]
        found.indices[at] = points[:, :maxk]
        found.far_squares[at] = exact[:, places]


def _exact_squares(raw: torch.Tensor, rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return squared distances (n, m) float64 from points `rows` (n,) to points `others` (n, m)."""
    x = raw[rows, None].double()
    # In parts: the differences take d times the memory of the result.
    step = max(1, GATHER // (raw.shape[1] * others.shape[1]))
    parts = [slice(i, i + step) for i in range(0, len(rows), step)]
    return torch.cat([_squares(raw[others[part]], x[part]) for part in parts])


def _squares_to_all(raw: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return squared distances (n, N) float64 from points `rows` (n,) to all points."""
    x = raw[rows, None].double()
    step = max(1, GATHER // (len(rows) * raw.shape[1]))
    return torch.cat([_squares(part, x) for part in raw.split(step)], dim=1)


def _squares(points: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return squared distances in float64, the sums being over the last dimension."""
    # A norm needs no array of squares beside the differences, where a sum of squares would.
    return torch.linalg.vector_norm(points - x, dim=-1).square_()
