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

The steps are written twice: for CPUs with numba (`neighbors_cpu.py`), and for GPUs with torch
(`neighbors_gpu.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from georep_utils.geometry import neighbors_cpu, neighbors_gpu
from georep_utils.geometry.neighbor_kernels import Found
from georep_utils.geometry.neighbor_points import Query
from georep_utils.io import UserError, atomic
from georep_utils.precision import find_device, matmul_precision


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
    query = Query(X, _selected(rows, len(X)), maxk, ranks[ranks > maxk], block)
    search = neighbors_cpu.search if place.type == "cpu" else neighbors_gpu.search
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
