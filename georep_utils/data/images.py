"""Tokenised images: palettes, label arrays, and rows that stay on disk until they are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from georep_utils.io import UserError

BLOCK_BYTES = 2**23


def quantize(pixels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The nearest palette entry of every pixel, uint16 of shape (...): the lowest number where two are equally near.

    Grey levels (K,) in 0..255 with pixels (...), or colours (K, 3) in [-1, 1] with 8-bit pixels (..., 3), which are
    scaled to [-1, 1] first, as OpenAI does."""
    if palette.ndim == 1:
        values, where = np.unique(pixels, return_inverse=True)
        nearest = np.abs(values[:, None] - palette.astype(np.float64)).argmin(1).astype(np.uint16)
        return nearest[where].reshape(pixels.shape)
    codes = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    values, where = np.unique(codes, return_inverse=True)
    nearest = np.empty(len(values), np.uint16)
    for start in range(0, len(values), 8192):
        part = values[start : start + 8192]
        colors = np.stack([part >> 16, part >> 8 & 255, part & 255], 1) / 127.5 - 1
        nearest[start : start + 8192] = ((colors[:, None] - palette) ** 2).sum(-1).argmin(1)
    return nearest[where].reshape(codes.shape)


def to_pixels(tokens: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Tokens (..., n * n) as 8-bit images: (..., n, n) from grey levels (K,), (..., n, n, 3) from colours in [-1, 1]."""
    side = math.isqrt(tokens.shape[-1])
    levels = np.clip(np.rint(palette if palette.ndim == 1 else 127.5 * (palette + 1)), 0, 255).astype(np.uint8)
    return levels[np.asarray(tokens, np.int64)].reshape(tokens.shape[:-1] + (side, side) + palette.shape[1:])


def read_palette(path: str | Path) -> np.ndarray:
    """OpenAI's `kmeans_centers.npy`: colours (K, 3) in [-1, 1]. UserError for anything else."""
    palette = np.asarray(open_rows(path, (2,)), np.float64)
    if palette.shape[1] != 3 or not np.all(np.abs(palette) <= 1.01):
        raise UserError(f"{path} is no palette; expected colours (K, 3) in [-1, 1], found shape {palette.shape}")
    return palette


def open_rows(path: Path, dimensions: tuple[int, ...]) -> np.ndarray:
    """The numbers in a .npy file, memory-mapped. UserError for anything else than numbers in so many dimensions."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path} can't be read as an array ({error}); download it again") from None
    numbers = isinstance(array, np.ndarray) and array.dtype.kind in "buif" and array.size
    if not numbers or array.ndim not in dimensions:
        expected = " or ".join(map(str, dimensions))
        raise UserError(f"{path} holds {getattr(array, 'shape', 'files')}; expected numbers in {expected} dimensions")
    return array


def read_labels(path: Path) -> np.ndarray:
    """Class numbers (N,) from one-hot rows (N, C) or from numbers (N,), a bounded block at a time."""
    array = open_rows(path, (1, 2))
    labels, step = np.empty(len(array), np.int64), max(1, BLOCK_BYTES // array[:1].nbytes)
    for start in range(0, len(array), step):
        block = np.asarray(open_rows(path, (1, 2))[start : start + step])
        if block.ndim == 1:
            labels[start : start + step], wrong, expected = block, (block < 0) | (block % 1 != 0), "a class number"
        else:
            labels[start : start + step], expected = block.argmax(1), "one-hot, a single 1 among zeros"
            wrong = ((block != 0) & (block != 1)).any(1) | (block.sum(1) != 1)
        if wrong.any():
            raise UserError(f"row {start + wrong.argmax()} of {path} is not {expected}; download it again")
    return labels


def check_tokens(tokens, width: int, n_vocab: int, path: Path) -> None:
    """UserError where tokens (N, T) are not whole numbers in 0..n_vocab-1 or T is not `width`; reads block by block."""
    if len(tokens.shape) != 2 or tokens.shape[1] != width or tokens.dtype.kind not in "ui":
        raise UserError(
            f"{path} holds {tokens.dtype} of shape {tokens.shape}; expected whole numbers of shape (N, {width})"
        )
    step = max(1, BLOCK_BYTES // (width * tokens.dtype.itemsize))
    for start in range(0, tokens.shape[0], step):
        low, high = (block := tokens[start : start + step]).min(), block.max()
        if low < 0 or high >= n_vocab:
            raise UserError(f"{path} holds tokens {low}..{high}; expected 0..{n_vocab - 1}: check the vocabulary")


@dataclass(frozen=True)
class Rows:
    """Chosen rows (N, T) of a .npy file. Only rows that are asked for are read, and the file is not kept open."""

    path: Path
    index: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.index), open_rows(self.path, (2,)).shape[1]

    @property
    def dtype(self) -> np.dtype:
        return open_rows(self.path, (2,)).dtype

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which) -> np.ndarray:
        return np.array(open_rows(self.path, (2,))[self.index[which]])
