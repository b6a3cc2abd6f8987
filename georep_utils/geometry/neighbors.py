"""Exact nearest neighbours of a cloud of points, and the ratios of their distances.

Everything that this project measures comes from two things: *who* is near a point (neighbourhood
overlaps) and *how fast* distances grow from one neighbour to a later one (intrinsic dimension).
`nearest_neighbors` finds both in one pass over all pairs of points. It keeps the nearest `maxk`
neighbours, and the distances at ranks 1, 2, 4, .., `range_max`. A cloud of N points thus needs
some N (2 maxk + 2 log2 range_max) numbers, and never N^2.

The search is exact and still about as fast as a matrix product:

1. |x - y|^2 = |x|^2 + |y|^2 - 2 x.y turns all distances into one float32 matrix product. The points
   are centred first, which leaves distances as they are and makes the numbers that cancel small.
2. The error of this product has a known bound. So the candidates, the points that may hold a wanted
   rank, are known as well: they are few.
3. Candidates are measured again, by differences of coordinates in float64. Where the bound cannot
   rule out that a point outside the candidates was needed, all points are measured.
4. Equal distances are ordered by index. There is thus one right answer, and it depends neither on
   blocks nor on threads; several calls for parts of the rows give the bits of one call for all.

The steps are written twice: in numba for CPUs (`neighbor_kernels.py`), and in torch for GPUs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch

from georep_utils.geometry.neighbor_kernels import (
    SEGMENT,
    Block,
    Candidates,
    Found,
    filter_columns,
    margin,
    rounding_error,
    rounding_error_of_halves,
    settle,
)
from georep_utils.io import UserError, atomic
from georep_utils.precision import find_device, linear, matmul_precision, threads_of_one_core

# Numbers converted to float64 at one time while points are centred. On a CPU the float64 copy
# should stay in the cache (2 MiB); a GPU wants large operations.
CHUNK = {"cpu": 1 << 18, "cuda": 1 << 26}

# On CPU: rows searched for at one time, and columns of one matrix product. A tile of 512 x 4096
# products takes 8 MiB, little enough to be in a cache still when the filter reads it.
CPU_BLOCK = 512
TILE = 4096

# On CPU: nearest columns that the filter keeps beyond the largest rank. The candidates that are
# measured reach a little beyond a rank, and these must not have been thrown away.
SPARE = 32

# On GPU: candidates measured around a rank k. The error bound decides whether they were enough, so
# these numbers set the speed alone: k / 32 and a few on either side are nearly always enough.
PAD_BEFORE = 5
PAD_AFTER = 14

# On GPU: rows at one time, where memory would allow more; and bytes of working memory for each
# entry of a block of distances: the product, and what topk and sort need beside it.
TORCH_BLOCK = 8192
BYTES_PER_ENTRY = 16

# On GPU: how products are made, "float32" or "halves" (see `tf32_halves`). The result is the same,
# so the faster one should stand here; which one that is has not been measured yet.
GPU_PRODUCT = "float32"

# On GPU: numbers gathered at one time for exact distances (256 MiB in float64).
GATHER = 1 << 25


@dataclass(frozen=True)
class Neighbors:
    """The nearest neighbours of n points, and distance ratios at growing ranks.

    Attributes
    ----------
    distances : (n, maxk + 1) float32
        To the nearest neighbours, ascending; the point itself first, at distance 0.
    indices : (n, maxk + 1) int32
        Which points they are.
    mus : (n, log2(range_max)) float32
        r_2k / r_k for k = 1, 2, 4, .., range_max / 2, where r_k is the distance to the k-th
        neighbour. inf where only r_k is 0, nan where both are.
    radii : (log2(range_max), 2) float64
        Means of r_k and of r_2k over the points.
    rank_distances : (n, log2(range_max) + 1) float32
        r_k at ranks k = 1, 2, 4, .., range_max.
    """

    distances: np.ndarray
    indices: np.ndarray
    mus: np.ndarray
    radii: np.ndarray
    rank_distances: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.distances)

    def first(self, maxk: int, range_max: int) -> Neighbors:
        """Return the table that a search with these smaller arguments gives, without searching.

        The arrays are views of this table's, so a memory-mapped one stays on disk.

        Parameters
        ----------
        maxk : int
            Neighbours to keep, from 1 to what is stored.
        range_max : int
            Largest rank of the ratios: a power of two, from 2 to what is stored.

        Raises
        ------
        UserError
            More is asked for than is stored, or `range_max` is no power of two.
        """
        stored_maxk = self.distances.shape[1] - 1
        octaves = self.mus.shape[1]
        if not 1 <= maxk <= stored_maxk:
            raise UserError(
                f"maxk={maxk}, but {stored_maxk} neighbours are stored; expected 1 to "
                f"{stored_maxk}; ask for fewer, or search again"
            )
        if not _is_range(range_max) or range_max > 2**octaves:
            raise UserError(
                f"range_max={range_max}, but ratios up to rank {2**octaves} are stored; expected a "
                f"power of two from 2 to {2**octaves}; lower it, or search again"
            )
        octaves = range_max.bit_length() - 1
        ranks = self.rank_distances
        return Neighbors(
            distances=self.distances[:, : maxk + 1],
            indices=self.indices[:, : maxk + 1],
            mus=self.mus[:, :octaves],
            radii=self.radii[:octaves],
            rank_distances=None if ranks is None else ranks[:, : octaves + 1],
        )


def nearest_neighbors(
    X: np.ndarray,
    maxk: int = 50,
    range_max: int = 1024,
    device: str = "auto",
    block: int | None = None,
    rows: slice = slice(None),
) -> Neighbors:
    """Find the exact Euclidean neighbours of the points `X[rows]` among all points of `X`.

    Parameters
    ----------
    X : (N, d) array
        The points, read as float32. A memory-mapped array stays on disk.
    maxk : int
        Neighbours to keep, from 1 to N - 1.
    range_max : int
        Largest rank of the distance ratios: a power of two, from 2 to N - 1.
    device : str
        "auto", "cpu", "cuda" or "cuda:0", "cuda:1", ..
    block : int, optional
        Rows of distances held at one time. None chooses it from the memory.
    rows : slice
        A run of consecutive points; `concatenate` puts the parts together again.

    Returns
    -------
    Neighbors
        Of the selected points. Equal distances are ordered by index; the result depends neither on
        `block` nor on `rows` nor on the number of threads.

    Raises
    ------
    UserError
        The array is not finite or not (N >= 3, d >= 1); a rank is not below N; the device is
        absent; the rows are none, or not consecutive; a block does not fit into memory.
    """
    place = find_device(device)
    _check_points(X)
    _check_ranks(len(X), maxk, range_max)
    if block is not None and block < 1:
        raise UserError(f"block={block} rows; expected at least 1, or None to choose from memory")
    ranks = 2 ** np.arange(range_max.bit_length())
    query = _Query(X, _selected(rows, len(X)), maxk, ranks[ranks > maxk], block)
    search = _search_cpu if place.type == "cpu" else _search_torch
    # The error bound is float32's: a setting for faster, coarser products must not reach it.
    with matmul_precision("float32", place):
        found = search(query, place)
    return _table(found, query.rows, ranks)


def largest_range(n_points: int, at_most: int = 1024) -> int:
    """Return the largest `range_max` for n points: a power of two, below n, at most `at_most`."""
    return 1 << min(at_most, n_points - 1).bit_length() - 1


def concatenate(parts: Sequence[Neighbors]) -> Neighbors:
    """Join the tables of consecutive `rows` into one, bit-identical to that of a single call."""
    return _with_radii(
        distances=np.concatenate([part.distances for part in parts]),
        indices=np.concatenate([part.indices for part in parts]),
        mus=np.concatenate([part.mus for part in parts]),
        rank_distances=np.concatenate([part.rank_distances for part in parts]),
    )


def save(neighbors: Neighbors, folder: str | Path, name: str) -> None:
    """Write `folder/name.<field>.npy` for every field, each whole or not at all."""
    for field in fields(neighbors):
        path = Path(folder) / f"{name}.{field.name}.npy"
        with atomic(path) as temporary, open(temporary, "wb") as stream:
            np.save(stream, getattr(neighbors, field.name))


def load(folder: str | Path, name: str) -> Neighbors:
    """Return what `save` wrote, memory-mapped.

    Raises
    ------
    UserError
        A file is missing; the message names it.
    """
    arrays = {}
    for field in fields(Neighbors):
        path = Path(folder) / f"{name}.{field.name}.npy"
        if not path.is_file():
            raise UserError(
                f"{path} is missing; expected the neighbours of {name}: "
                "run the distances stage first"
            )
        arrays[field.name] = np.load(path, mmap_mode="r")
    return Neighbors(**arrays)


# ---- Checks and results ----


@dataclass(frozen=True)
class _Query:
    """A search whose arguments have been checked.

    points: (N, d). rows: the points that are searched for. maxk: neighbours to keep. far_ranks:
    (ranks,) the ranks beyond maxk, ascending, of which the distance is wanted. block: as given.
    """

    points: np.ndarray
    rows: range
    maxk: int
    far_ranks: np.ndarray
    block: int | None

    @property
    def largest_rank(self) -> int:
        return max([self.maxk, *self.far_ranks.tolist()])


def _check_points(X) -> None:
    is_matrix = getattr(X, "ndim", None) == 2
    if not is_matrix or len(X) < 3 or X.shape[1] < 1 or X.dtype.kind not in "fiu":
        shape = getattr(X, "shape", type(X).__name__)
        raise UserError(f"points of shape {shape}; expected numbers (N >= 3, d >= 1)")


def _check_ranks(n_points: int, maxk: int, range_max: int) -> None:
    if not 1 <= maxk < n_points:
        raise UserError(
            f"maxk={maxk} neighbours of {n_points} points; expected 1 to {n_points - 1}; lower maxk"
        )
    if not _is_range(range_max) or range_max >= n_points:
        top = largest_range(n_points, at_most=n_points)
        raise UserError(
            f"range_max={range_max} for {n_points} points; expected a power of two from 2 to "
            f"{top}; lower it"
        )


def _is_range(range_max: int) -> bool:
    # A power of two has a single bit, and one less has all the bits below it.
    return range_max >= 2 and range_max & (range_max - 1) == 0


def _selected(rows: slice, n_points: int) -> range:
    selected = range(*rows.indices(n_points))
    if selected.step != 1 or not len(selected):
        raise UserError(
            f"rows={rows} selects no run of consecutive points of {n_points}; give a slice such as "
            "0:1000"
        )
    return selected


def _table(found: Found, rows: range, ranks: np.ndarray) -> Neighbors:
    """Return exact squared distances as the table that users see."""
    n, maxk = found.squares.shape
    near_ranks = ranks[ranks <= maxk]
    squares_at_ranks = np.empty((n, len(ranks)))
    squares_at_ranks[:, : len(near_ranks)] = found.squares[:, near_ranks - 1]
    squares_at_ranks[:, len(near_ranks) :] = found.far_squares
    rank_distances = np.sqrt(squares_at_ranks)
    # Copies of a point are at distance 0: ratios of inf and nan tell later where that is so.
    with np.errstate(divide="ignore", invalid="ignore"):
        mus = rank_distances[:, 1:] / rank_distances[:, :-1]

    itself = np.arange(rows.start, rows.stop, dtype=np.int32)[:, None]
    distances = np.concatenate([np.zeros((n, 1)), np.sqrt(found.squares)], axis=1)
    return _with_radii(
        distances=distances.astype(np.float32),
        indices=np.concatenate([itself, found.indices], axis=1),
        mus=mus.astype(np.float32),
        rank_distances=rank_distances.astype(np.float32),
    )


def _with_radii(distances, indices, mus, rank_distances) -> Neighbors:
    # From the rounded distances, which parts of the rows store: so that their concatenation has the
    # same radii, to the last bit.
    means = rank_distances.astype(np.float64).mean(axis=0)
    radii = np.stack([means[:-1], means[1:]], axis=1)
    return Neighbors(distances, indices, mus, radii, rank_distances)


def _check_memory(needed: int, available: int, block: int) -> None:
    if needed > available:
        needed_gib = needed / 2**30
        available_gib = available / 2**30
        raise UserError(
            f"block={block} rows need {needed_gib:.1f} GiB and {available_gib:.1f} are free; "
            "lower block"
        )


# ---- The points, made ready ----


@dataclass(frozen=True)
class _Cloud:
    """The points in the two forms that a search needs.

    raw: (N, d) float32, as given. scaled: (N, d) float32, centred, scaled by a power of two, and in
    the order of the columns. norms: (N,) float64, squared norms of `scaled`. halves: `scaled` cut
    in two, each half (N, d), where products are made of halves.
    """

    raw: torch.Tensor
    scaled: torch.Tensor
    norms: torch.Tensor
    halves: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def error(self) -> float:
        """How wrong approximate squared distances can be: see `rounding_error`."""
        d = self.raw.shape[1]
        return rounding_error(d) if self.halves is None else rounding_error_of_halves(d)


def _prepare(X: np.ndarray, device: torch.device, order: torch.Tensor) -> _Cloud:
    """Return the points on the device; `order` holds the number of the point of each column."""
    with warnings.catch_warnings():
        # A memory-mapped array is read-only. Torch says so, but nothing here writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        raw = torch.as_tensor(X).to(device=device, dtype=torch.float32).contiguous()
    step = max(1, CHUNK[device.type] // raw.shape[1])
    chunks = [slice(start, start + step) for start in range(0, len(raw), step)]

    mean = sum(raw[chunk].sum(0, dtype=torch.float64) for chunk in chunks) / len(raw)
    # One NaN or infinity makes the mean so: a look at d numbers settles the usual case.
    if not bool(torch.isfinite(mean).all()):
        _refuse_not_finite(raw, chunks)
    scale = _scale(raw, mean, chunks)
    scaled = torch.empty_like(raw)
    for chunk in chunks:
        scaled[chunk] = (raw[order[chunk]].double() - mean) * scale
    norms = torch.cat([scaled[chunk].double().square().sum(1) for chunk in chunks])
    return _Cloud(raw, scaled, norms)


def _refuse_not_finite(raw: torch.Tensor, chunks: list[slice]) -> None:
    finite = torch.cat([torch.isfinite(raw[chunk]).all(1) for chunk in chunks])
    row = int(finite.int().argmin())
    raise UserError(
        f"row {row} holds NaN or infinity; expected finite numbers; "
        "leave it out or see what made it"
    )


def _scale(raw: torch.Tensor, mean: torch.Tensor, chunks: list[slice]) -> float:
    """Return the power of two that brings the largest centred coordinate to between 1/2 and 1.

    Squares of tiny or huge numbers would leave float32's range. A power of two changes no digit.
    """
    edges = [edge for chunk in chunks for edge in raw[chunk].aminmax(dim=0)]
    largest = float((torch.stack(edges) - mean).abs().max())
    if largest == 0:
        return 1.0
    _, exponent = math.frexp(largest)
    return 2.0**-exponent


# ---- Search on a CPU ----


def _search_cpu(query: _Query, device: torch.device) -> Found:
    """Find exact neighbours with the numba kernels, a block of rows in each thread.

    Matrix products are single-threaded, in as many threads as torch would use for one: each filters
    its own tile while it is in the cache.
    """
    n_points = len(query.points)
    n = len(query.rows)
    block = query.block or CPU_BLOCK
    need = query.largest_rank + SPARE
    threads = min(torch.get_num_threads(), math.ceil(n / block))
    # The points once more in float32; in each thread candidates (value and column) and one tile.
    in_each_thread = min(block, n) * (8 * _capacity(need) + 4 * TILE)
    needed = 4 * query.points.size + threads * in_each_thread
    _check_memory(needed, psutil.virtual_memory().available, block)

    # Columns in random order: data often come sorted, and the filter must be able to tell from the
    # columns seen so far how many of the rest are near.
    order = np.random.default_rng(0).permutation(n_points)
    cloud = _prepare(query.points, device, torch.from_numpy(order))
    found = Found(
        squares=np.empty((n, query.maxk)),
        indices=np.empty((n, query.maxk), np.int32),
        far_squares=np.empty((n, len(query.far_ranks))),
    )
    work = partial(_search_cpu_block, query, cloud, order, np.argsort(order), need, found)
    parts = [slice(start, min(start + block, n)) for start in range(0, n, block)]
    with threads_of_one_core(threads) as pool:
        list(pool.map(work, parts))
    return found


def _capacity(need: int) -> int:
    """Return how many candidates a row can hold, where the `need` nearest columns are to be left.

    Twice what the filter leaves when it lowers a limit (see `filter_columns`), so that a row is
    seldom full, and what comes in between two checks.
    """
    return 2 * int(need + 5 * need**0.5 + 10) + 2 * SEGMENT


def _search_cpu_block(
    query: _Query,
    cloud: _Cloud,
    order: np.ndarray,
    column_of: np.ndarray,
    need: int,
    found: Found,
    part: slice,
) -> None:
    """Fill the rows `part` of `found`. `column_of`: (N,) the column in which each point stands."""
    own = np.arange(query.rows.start + part.start, query.rows.start + part.stop)
    own_columns = column_of[own]
    candidates = _filter_all_columns(cloud, own_columns, need)
    norms = cloud.norms.numpy()[own_columns]
    error = rounding_error(query.points.shape[1])
    settle(
        Block(cloud.raw.numpy(), order, own, norms, error),
        candidates,
        query.far_ranks,
        Found(found.squares[part], found.indices[part], found.far_squares[part]),
    )


def _filter_all_columns(cloud: _Cloud, own_columns: np.ndarray, need: int) -> Candidates:
    """Return the candidates of the points in `own_columns`, after all columns, tile by tile."""
    n_points = len(cloud.scaled)
    n = len(own_columns)
    capacity = _capacity(need)
    candidates = Candidates(
        values=np.empty((n, capacity), np.float32),
        columns=np.empty((n, capacity), np.int32),
        counts=np.zeros(n, np.int64),
        limits=np.full(n, np.inf, np.float32),
    )
    norms = cloud.norms.numpy().astype(np.float32)
    mine = cloud.scaled[torch.from_numpy(own_columns)]
    for first in range(0, n_points, TILE):
        with torch.inference_mode():
            products = linear(mine, cloud.scaled[first : first + TILE]).numpy()
        # Where a point meets itself, -inf makes its distance +inf: it is no neighbour of its own.
        here = (own_columns >= first) & (own_columns < first + TILE)
        products[here, own_columns[here] - first] = -np.inf
        filter_columns(products, norms, first, n_points, need, candidates)
    return candidates


# ---- Search on a GPU ----


@dataclass(frozen=True)
class _Window:
    """Candidates low to high - 1, in the order of their approximations: measured to find `rank`."""

    rank: int
    low: int
    high: int


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


def _search_torch(query: _Query, device: torch.device) -> Found:
    """Find exact neighbours with torch: the steps of `_search_cpu` as operations on whole blocks.

    Where the CPU takes each row's window as wide as the error bound asks, here all rows of a block
    have windows of one width, and the bound tells which rows were served. The others try again with
    all candidates, and at last with all points.
    """
    n_points = len(query.points)
    n = len(query.rows)
    block = _torch_block(query, device)
    # Points keep their order: topk needs no random one.
    cloud = _prepare(query.points, device, torch.arange(n_points, device=device))
    if GPU_PRODUCT == "halves":
        cloud = replace(cloud, halves=tf32_halves(cloud.scaled))
    n_candidates = min(n_points - 1, query.largest_rank * 33 // 32 + PAD_AFTER)
    plans = _plans(query, n_candidates)
    found = Found(
        squares=torch.empty(n, query.maxk, dtype=torch.float64, device=device),
        indices=torch.empty(n, query.maxk, dtype=torch.int64, device=device),
        far_squares=torch.empty(n, len(query.far_ranks), dtype=torch.float64, device=device),
    )
    for start in range(0, n, block):
        rows = query.rows[start : start + block]
        own = torch.arange(rows.start, rows.stop, device=device)
        candidates = _closest(cloud, start, own, n_candidates)
        unsettled = torch.arange(len(own), device=device)
        for plan in plans:
            unsettled = _settle_by_candidates(cloud, candidates, unsettled, plan, found)
        _settle_by_all_points(cloud, candidates, unsettled, query.far_ranks, found)
    return Found(
        squares=found.squares.cpu().numpy(),
        indices=found.indices.int().cpu().numpy(),
        far_squares=found.far_squares.cpu().numpy(),
    )


def _torch_block(query: _Query, device: torch.device) -> int:
    """Return how many rows to search for at one time; refuse a block that does not fit."""
    n_points = len(query.points)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    else:
        free = psutil.virtual_memory().available
    # The points in float32, twice, and perhaps their halves.
    points = (16 if GPU_PRODUCT == "halves" else 8) * query.points.size
    # Unasked, no more than half of what is left.
    fitting = (free - points) // (2 * BYTES_PER_ENTRY * n_points)
    chosen = query.block or max(1, min(TORCH_BLOCK, fitting))
    block = min(chosen, len(query.rows))
    _check_memory(points + BYTES_PER_ENTRY * block * n_points, free, block)
    return block


def _plans(query: _Query, n_candidates: int) -> tuple[_Plan, _Plan]:
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


def _closest(cloud: _Cloud, start: int, own: torch.Tensor, m: int) -> _TorchBlock:
    """Return the m points with the smallest approximate distances from each point of `own`."""
    partial_squares = _partial_squares(cloud, own)
    partial_squares.scatter_(1, own[:, None], torch.inf)
    values, columns = partial_squares.topk(m, largest=False)
    return _TorchBlock(start, own, values.double() + cloud.norms[own, None], columns)


def _partial_squares(cloud: _Cloud, own: torch.Tensor) -> torch.Tensor:
    """Return |y|^2 - 2 x.y (rows, N) of the points `own` and all points.

    |x|^2 is the same along a row, and is added to what is kept.
    """
    norms = cloud.norms.float()
    if cloud.halves is None:
        return torch.addmm(norms, cloud.scaled[own], cloud.scaled.T, alpha=-2)
    high, low = cloud.halves
    # The halves have no more bits than TF32 keeps. So this setting takes no digit from them.
    device = cloud.raw.device
    with matmul_precision("tf32" if device.type == "cuda" else "float32", device):
        # The small products first, so that they don't add to the rounding of the large one.
        squares = torch.addmm(norms, high[own], low.T, alpha=-2)
        squares.addmm_(low[own], high.T, alpha=-2)
        return squares.addmm_(high[own], high.T, alpha=-2)


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
    cloud: _Cloud, block: _TorchBlock, unsettled: torch.Tensor, plan: _Plan, found: Found
) -> torch.Tensor:
    """Measure the windows of the rows `unsettled`; return those of which the result is not certain.

    What is written for these is provisional: the next attempt overwrites it.
    """
    if not len(unsettled):
        return unsettled
    at = block.start + unsettled

    exact, points = _measure(cloud, block, unsettled, plan.neighbours)
    found.squares[at] = exact[:, : plan.neighbours.rank]
    found.indices[at] = points[:, : plan.neighbours.rank]
    sure = _is_certain(cloud, block, unsettled, plan.neighbours)
    for i, window in enumerate(plan.far):
        exact, _ = _measure(cloud, block, unsettled, window)
        found.far_squares[at, i] = exact[:, window.rank - 1 - window.low]
        sure &= _is_certain(cloud, block, unsettled, window)
    return unsettled[~sure]


def _is_certain(
    cloud: _Cloud, block: _TorchBlock, rows: torch.Tensor, window: _Window
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
    cloud: _Cloud, block: _TorchBlock, rows: torch.Tensor, window: _Window
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return exact squared distances within the window, ascending, and which points they are to."""
    # Sorted by index first: the stable sort then leaves equal distances in the order of the index.
    points = block.columns[rows, window.low : window.high].sort(dim=1).values
    exact, by = _exact_squares(cloud.raw, block.own[rows], points).sort(dim=1, stable=True)
    return exact, points.gather(1, by)


def _settle_by_all_points(
    cloud: _Cloud,
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
    everyone = torch.arange(n_points, device=cloud.raw.device)
    places = torch.as_tensor(far_ranks - 1, device=cloud.raw.device)
    for rows in unsettled.split(max(1, GATHER // n_points)):
        own = block.own[rows]
        squares = _exact_squares(cloud.raw, own, everyone.expand(len(rows), n_points))
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
    # A norm needs no array of squares beside the differences, where a sum of squares would.
    norms = [torch.linalg.vector_norm(raw[others[part]] - x[part], dim=-1) for part in parts]
    return torch.cat(norms).square_()
