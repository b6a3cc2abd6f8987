"""What a neighbour search is asked, and the points made ready for it, on a CPU or a GPU."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch

from georep_utils.geometry.neighbor_kernels import rounding_error, rounding_error_of_halves
from georep_utils.io import UserError

# Numbers converted to float64 at one time while points are centred. On a CPU the float64 copy
# should stay in the cache (2 MiB); a GPU wants large operations.
CHUNK = {"cpu": 1 << 18, "cuda": 1 << 26}


@dataclass(frozen=True)
class Query:
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


def check_memory(needed: int, available: int, block: int) -> None:
    """UserError where a block of rows needs more bytes than there are."""
    if needed > available:
        needed_gib = needed / 2**30
        available_gib = available / 2**30
        advice = "lower block"
        if block == 1:
            advice = "free some memory, use another device, or take fewer points"
        raise UserError(
            f"block={block} rows need {needed_gib:.1f} GiB and {available_gib:.1f} are free; "
            f"{advice}"
        )


@dataclass(frozen=True)
class Points:
    """The points in the two forms that a search needs.

    raw: (N, d) float32, as given. scaled: (N, d) float32, centred, scaled by a power of two, and in
    the order of the columns. norms: (N,) float64, squared norms of `scaled`. parts: the features
    that are multiplied together, before the sums are added up. halves: `scaled` cut in two, each
    half (N, d), where products are made of halves.
    """

    raw: torch.Tensor
    scaled: torch.Tensor
    norms: torch.Tensor
    parts: list[slice]
    halves: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def error(self) -> float:
        """How wrong approximate squared distances can be: see `rounding_error`."""
        bound = rounding_error if self.halves is None else rounding_error_of_halves
        return bound(self.raw.shape[1], len(self.parts))


def prepare(
    X: np.ndarray, device: torch.device, order: torch.Tensor, features_at_once: int
) -> Points:
    """Return the points on the device, their features in parts of about `features_at_once`.

    order: (N,) the number of the point of each column.
    """
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
    return Points(raw, scaled, norms, _parts(raw.shape[1], features_at_once))


def _parts(d: int, about: int) -> list[slice]:
    """Return d features in parts of equal sizes; the last may be smaller."""
    size = math.ceil(d / max(1, d // about))
    return [slice(start, min(start + size, d)) for start in range(0, d, size)]


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
