"""Exact nearest neighbours and distance ratios of one representation, in blocks, on CPU or GPU.

A block's squared distances come from one float32 matrix product of the centred points. Their error is bounded, so the
points that may hold a wanted rank are known; only those are measured again, by direct difference in float64.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import psutil
import torch

from georep_utils.geometry.neighbor_kernels import SEGMENT, error, filter_columns, margin, settle
from georep_utils.io import UserError, atomic
from georep_utils.precision import linear, matmul_precision, threads_of_one_core

CHUNK = {"cpu": 1 << 18, "cuda": 1 << 26}  # numbers converted at once
TILE = 4096  # columns of one matrix product on CPU
PAD = 14  # candidates measured beyond the last kept one on GPU


@dataclass(frozen=True)
class Neighbors:
    """The `maxk` nearest neighbours of n points, and distance ratios at ranks 1, 2, 4, .., `range_max`.

    distances: (n, maxk + 1) float32, ascending, the point itself first. indices: (n, maxk + 1) int32.
    mus: (n, log2(range_max)) float32, r_2k / r_k for k = 1, 2, 4, .. (inf where only r_k is 0, nan where both are).
    radii: (log2(range_max), 2) float64, mean over the points of r_k and of r_2k.
    rank_distances: (n, log2(range_max) + 1) float32, r_k at ranks 1, 2, 4, .., range_max.
    """

    distances: np.ndarray
    indices: np.ndarray
    mus: np.ndarray
    radii: np.ndarray
    rank_distances: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.distances)


def nearest_neighbors(
    X: np.ndarray,
    maxk: int = 50,
    range_max: int = 1024,
    device: str = "auto",
    block: int | None = None,
    rows: slice = slice(None),
) -> Neighbors:
    """Exact Euclidean neighbours of the points `X[rows]` among all points of `X`.

    X: (N, d), read as float32; a memory-mapped array stays on disk. `maxk` neighbours are kept; ratios go up to rank
    `range_max`, a power of two. `block`: rows of distances held at once (None: chosen from memory). Equal distances are
    ordered by index. Results depend neither on `block` nor on `rows` nor on the number of threads.
    Raises UserError for an array that is not (N >= 3, d) and finite, for ranks not below N, for a device that is
    absent, and for a block that does not fit.
    """
    place = _device(device)
    _check(X, maxk, range_max, block)
    selected = range(*rows.indices(len(X)))
    if selected.step != 1 or not len(selected):
        raise UserError(f"rows={rows} selects no run of consecutive points of {len(X)}; give a slice such as 0:1000")
    search = _search_cpu if place.type == "cpu" else _search_torch
    ranks = [1 << i for i in range(range_max.bit_length())]
    with matmul_precision("float32", place):  # the error bound is float32's
        squares, indices, at_ranks = search(X, selected, maxk, ranks, block, place)
    kept = [k - 1 for k in ranks if k <= maxk]
    at_ranks[:, : len(kept)] = squares[:, kept]
    own = np.arange(selected.start, selected.stop, dtype=np.int32)[:, None]
    distances = np.concatenate([np.zeros_like(squares[:, :1]), np.sqrt(squares)], axis=1).astype(np.float32)
    radii = np.sqrt(at_ranks)
    with np.errstate(divide="ignore", invalid="ignore"):
        mus = (radii[:, 1:] / radii[:, :-1]).astype(np.float32)
    return _assemble(distances, np.concatenate([own, indices], axis=1), mus, radii.astype(np.float32))


def concatenate(parts: Sequence[Neighbors]) -> Neighbors:
    """The parts computed for consecutive `rows` as one, bit-identical to a single call."""
    names = ("distances", "indices", "mus", "rank_distances")
    return _assemble(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def save(neighbors: Neighbors, folder: str | Path, name: str) -> None:
    """Write `folder/name.<field>.npy` for every field, each whole or not at all."""
    for field in fields(neighbors):
        with atomic(Path(folder) / f"{name}.{field.name}.npy") as temporary, open(temporary, "wb") as stream:
            np.save(stream, getattr(neighbors, field.name))


def load(folder: str | Path, name: str) -> Neighbors:
    """What `save` wrote, memory-mapped. Raises UserError naming a missing file."""
    paths = [Path(folder) / f"{name}.{field.name}.npy" for field in fields(Neighbors)]
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path} is missing; expected the neighbours of {name}: run the distances stage first")
    return Neighbors(*(np.load(path, mmap_mode="r") for path in paths))


def _assemble(distances, indices, mus, rank_distances) -> Neighbors:
    means = rank_distances.astype(np.float64).mean(axis=0)
    return Neighbors(distances, indices, mus, np.stack([means[:-1], means[1:]], axis=1), rank_distances)


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name, _, number = str(device).partition(":")
    if name not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise UserError(f"device={device!r} is unknown; expected auto, cpu, cuda or cuda:N; use auto")
    if name == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device={device!r} but {torch.cuda.device_count()} CUDA devices are visible; use 'cpu' or 'auto'"
        )
    return torch.device(device)


def _check(X, maxk: int, range_max: int, block: int | None) -> None:
    if getattr(X, "ndim", None) != 2 or len(X) < 3 or X.shape[1] < 1 or X.dtype.kind not in "fiu":
        raise UserError(f"points of shape {getattr(X, 'shape', type(X).__name__)}; expected numbers (N >= 3, d >= 1)")
    if not 1 <= maxk < len(X):
        raise UserError(f"maxk={maxk} neighbours of {len(X)} points; expected 1 to {len(X) - 1}; lower maxk")
    if range_max < 2 or range_max & (range_max - 1) or range_max >= len(X):
        top = 1 << (len(X) - 1).bit_length() - 1
        raise UserError(f"range_max={range_max} for {len(X)} points; expected a power of two from 2 to {top}; lower it")
    if block is not None and block < 1:
        raise UserError(f"block={block} rows; expected at least 1, or None to choose from memory")


def _fits(needed: int, available: int, block: int) -> None:
    if needed > available:
        needed, available = needed / 2**30, available / 2**30
        raise UserError(f"block={block} rows need {needed:.1f} GiB and {available:.1f} are free; lower block")


def _prepare(X, device: torch.device, order: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The points as given; centred, scaled by a power of two and in `order`; the squared norms of these."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        raw = torch.as_tensor(X).to(device=device, dtype=torch.float32).contiguous()
    step = max(1, CHUNK[device.type] // raw.shape[1])
    chunks = [slice(start, start + step) for start in range(0, len(raw), step)]
    mean = sum(raw[chunk].sum(0, dtype=torch.float64) for chunk in chunks) / len(raw)
    if not bool(torch.isfinite(mean).all()):
        good = torch.cat([torch.isfinite(raw[chunk]).all(1) for chunk in chunks])
        row = int(good.int().argmin())
        raise UserError(f"row {row} holds NaN or infinity; expected finite numbers; leave it out or see what made it")
    edges = [edge for chunk in chunks for edge in raw[chunk].aminmax(dim=0)]
    largest = float((torch.stack(edges) - mean).abs().max())
    scale = 2.0 ** -math.frexp(largest)[1] if largest else 1.0
    points = torch.empty_like(raw)
    for chunk in chunks:
        points[chunk] = (raw[order[chunk]].double() - mean) * scale
    return raw, points, torch.cat([points[chunk].double().square().sum(1) for chunk in chunks])


def _search_cpu(X, selected: range, maxk: int, ranks: list[int], block: int | None, device: torch.device):
    """As `_search_torch`, by single-threaded matrix products in as many threads as torch would use."""
    N, n, block = len(X), len(selected), block or 512
    need = max(maxk, *ranks) + 32
    room = 2 * int(need + 5 * need**0.5 + 10) + 2 * SEGMENT
    threads = min(torch.get_num_threads(), -(-n // block))
    _fits(4 * X.size + threads * min(block, n) * (8 * room + 4 * TILE), psutil.virtual_memory().available, block)
    order = np.random.default_rng(0).permutation(N)
    raw, points, norms = (part.numpy() for part in _prepare(X, device, torch.from_numpy(order)))
    tiles = torch.from_numpy(points)
    inverse, single = np.argsort(order), norms.astype(np.float32)
    wanted = np.array([maxk] + [k for k in ranks if k > maxk])
    squares, indices, at_ranks = np.empty((n, maxk)), np.empty((n, maxk), np.int32), np.empty((n, len(ranks)))

    def work(start: int) -> None:
        here = slice(start, min(start + block, n))
        own = np.arange(selected[here][0], selected[here][-1] + 1)
        at, rows = inverse[own], len(own)
        mine = torch.from_numpy(points[at])
        values, places = np.empty((rows, room), np.float32), np.empty((rows, room), np.int32)
        counts, limits = np.zeros(rows, np.int64), np.full(rows, np.inf, np.float32)
        for first in range(0, N, TILE):
            with torch.inference_mode():
                product = linear(mine, tiles[first : first + TILE]).numpy()
            mask = (at >= first) & (at < first + TILE)
            product[mask, at[mask] - first] = -np.inf
            filter_columns(product, single, first, N, need, values, places, counts, limits)
        found = squares[here], indices[here], at_ranks[here]
        settle(raw, own, order, norms[at], error(X.shape[1]), values, places, counts, limits, wanted, *found)

    with threads_of_one_core(threads) as pool:
        list(pool.map(work, range(0, n, block)))
    return squares, indices, at_ranks


def _direct(raw: torch.Tensor, rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Squared distances (n, m) float64 from points `rows` (n,) to points `others` (n, m), by difference."""
    step, x = max(1, (1 << 25) // (raw.shape[1] * others.shape[1])), raw[rows, None].double()
    chunks = [slice(i, i + step) for i in range(0, len(rows), step)]
    return torch.cat([torch.linalg.vector_norm(raw[others[c]] - x[c], dim=-1) for c in chunks]).square_()


def _search_torch(X, selected: range, maxk: int, ranks: list[int], block: int | None, device: torch.device):
    """Squared distances (n, maxk), indices (n, maxk) int32, and squares at ranks 1, 2, 4, .. (n, ranks), float64."""
    N, c, n = len(X), error(X.shape[1]), len(selected)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    block = min(block or max(1, min(8192, (free - 8 * X.size) // (32 * N))), n)
    _fits(8 * X.size + 16 * block * N, free, block)
    raw, points, norms = _prepare(X, device, torch.arange(N, device=device))
    m = min(N - 1, max(maxk, *ranks) * 33 // 32 + PAD)
    wide = [(k, 0, m) for k in [maxk] + [k for k in ranks if k > maxk]]
    narrow = [(k, max(0, k - k // 32 - 5) if k > maxk else 0, min(m, k + k // 32 + PAD)) for k, _, _ in wide]
    squares = torch.empty(n, maxk, dtype=torch.float64, device=device)
    indices = torch.empty(n, maxk, dtype=torch.int64, device=device)
    at_ranks = torch.empty(n, len(ranks), dtype=torch.float64, device=device)
    for start in range(0, n, block):
        own = torch.arange(selected[start], selected[min(start + block, n) - 1] + 1, device=device)
        approximate = torch.addmm(norms.float(), points[own], points.T, alpha=-2).scatter_(1, own[:, None], torch.inf)
        a, j = approximate.topk(m, largest=False)
        left, a = torch.arange(len(own), device=device), a.double() + norms[own, None]
        for spans in (narrow, wide):
            sure = torch.ones(len(left), dtype=torch.bool, device=device)
            for k, low, high in spans if len(left) else ():
                at = a[left, k - 1]
                gap = margin.py_func(c, norms[own[left]], at)
                if low:
                    sure &= a[left, low - 1] < at - gap
                if high < N - 1:
                    sure &= a[left, min(high, m - 1)] > at + gap
                near = j[left, low:high].sort(dim=1).values
                exact, by = _direct(raw, own[left], near).sort(dim=1, stable=True)
                if k == maxk:
                    squares[start + left], indices[start + left] = exact[:, :k], near.gather(1, by)[:, :k]
                else:
                    at_ranks[start + left, k.bit_length() - 1] = exact[:, k - 1 - low]
            left = left[~sure]
        for part in left.split(max(1, (1 << 25) // N)) if len(left) else ():
            exact = _direct(raw, own[part], torch.arange(N, device=device).expand(len(part), N))
            exact, by = exact.scatter_(1, own[part, None], torch.inf).sort(dim=1, stable=True)
            squares[start + part], indices[start + part] = exact[:, :maxk], by[:, :maxk]
            at_ranks[start + part] = exact[:, [k - 1 for k in ranks]]
    return squares.cpu().numpy(), indices.int().cpu().numpy(), at_ranks.cpu().numpy()
