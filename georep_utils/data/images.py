"""Images as a network sees them: colour tokens from a palette, in rows that stay on disk.

ImageGPT does not read pixels. Each pixel of a small image is replaced by the number of the nearest
colour in a palette of 512 (or, for the bundled images, of 16 grey levels), and the image becomes a
sequence of these numbers, its *tokens*, row by row. `quantize` makes tokens from pixels, and
`to_pixels` makes pixels from tokens for drawing.

OpenAI's ImageNet in this form takes 11 GB, of which a run reads a few per cent. `Rows` names
chosen rows of such a file, and reads them when they are asked for: it can be sent to another
process or kept in a data set at no cost. Checks go over a file in blocks of a few megabytes
(`row_blocks`), so that memory does not grow with the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from georep_utils.data.files import open_npy
from georep_utils.io import UserError, note_read, open_image

BLOCK_BYTES = 2**23
LARGEST_CLASS = (
    2**31
)  # a class number beyond it is garbage, and might not survive the cast to int64


# -------------------------------------------------------------------------------- pixels and tokens


def square_image(path: str | Path, n_px: int) -> np.ndarray:
    """The central square of an image file, reduced by averaging (Pillow's box filter).

    Returns
    -------
    8-bit RGB values, (n_px, n_px, 3).

    Raises
    ------
    UserError
        If the file is no image.
    """
    note_read(path)
    fitted = ImageOps.fit(open_image(path), (n_px, n_px), Image.Resampling.BOX)
    return np.asarray(fitted)


def quantize(pixels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The number of the palette entry that is nearest to every pixel.

    Parameters
    ----------
    pixels
        Grey levels (...) in 0..255, or 8-bit colours (..., 3).
    palette
        Grey levels (K,) in 0..255, or colours (K, 3) in [-1, 1]. Coloured pixels are scaled to
        [-1, 1] first, as OpenAI does.

    Returns
    -------
    Tokens (...), uint16; the lowest number where two entries are equally near.
    """
    if palette.ndim == 1:
        return _quantize_grey(pixels, palette)
    # A colour as one integer, 0xRRGGBB: images hold few distinct colours; each is looked up once.
    codes = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    distinct, where = np.unique(codes, return_inverse=True)
    nearest = np.empty(len(distinct), np.uint16)
    step = 8192  # bounds the table of squared distances to 8192 x K
    for start in range(0, len(distinct), step):
        block = distinct[start : start + step]
        channels = np.stack([block >> 16, block >> 8 & 255, block & 255], axis=1)
        colors = channels / 127.5 - 1
        squared = ((colors[:, None] - palette) ** 2).sum(-1)
        nearest[start : start + step] = squared.argmin(1)
    return nearest[where].reshape(codes.shape)


def _quantize_grey(pixels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    levels, where = np.unique(pixels, return_inverse=True)
    distances = np.abs(levels[:, None] - palette.astype(np.float64))
    nearest = distances.argmin(1).astype(np.uint16)
    return nearest[where].reshape(pixels.shape)


def to_pixels(tokens: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Tokens as 8-bit images.

    Parameters
    ----------
    tokens
        Palette numbers, (..., n * n).
    palette
        Grey levels (K,) in 0..255, or colours (K, 3) in [-1, 1].

    Returns
    -------
    Grey images (..., n, n), or colour images (..., n, n, 3).
    """
    # Only square images are tokenised, so that their length says their shape.
    side = math.isqrt(tokens.shape[-1])
    levels = palette_levels(palette)
    shape = (*tokens.shape[:-1], side, side, *palette.shape[1:])
    return levels[np.asarray(tokens, np.int64)].reshape(shape)


def palette_levels(palette: np.ndarray) -> np.ndarray:
    """A palette as 8-bit levels: grey (K,), or red, green and blue (K, 3)."""
    levels = palette if palette.ndim == 1 else 127.5 * (palette + 1)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def read_palette(path: str | Path) -> np.ndarray:
    """OpenAI's `kmeans_centers.npy`: colours (K, 3) in [-1, 1].

    Raises
    ------
    UserError
        If the file holds anything else.
    """
    note_read(path)
    palette = np.asarray(open_rows(path, (2,)), np.float64)
    in_range = np.all(np.abs(palette) <= 1.01)  # OpenAI's centres overshoot 1 by rounding
    if palette.shape[1] != 3 or not in_range:
        raise UserError(
            f"{path} is no palette; expected colours (K, 3) in [-1, 1], "
            f"found shape {palette.shape}: download it again"
        )
    return palette


# ----------------------------------------------------------------------------- rows of large arrays


@dataclass(frozen=True)
class Rows:
    """Chosen rows of an array in a .npy file.

    Rows are read when they are asked for (`rows[2:5]`), and the file is not kept open: mapped
    pages would count as memory of this process.

    Attributes
    ----------
    path
        The .npy file, of one or two dimensions.
    index
        Numbers of the chosen rows, (N,).
    """

    path: Path
    index: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.index), *self._open().shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self._open().dtype

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which) -> np.ndarray:
        return np.array(self._open()[self.index[which]])

    def _open(self) -> np.ndarray:
        return open_rows(self.path, (1, 2))


def open_rows(path: str | Path, dimensions: tuple[int, ...]) -> np.ndarray:
    """The numbers in a .npy file, memory-mapped.

    Raises
    ------
    UserError
        If it holds anything else than numbers in one of the numbers of `dimensions`.
    """
    array = open_npy(Path(path))
    if array.dtype.kind not in "buif" or not array.size or array.ndim not in dimensions:
        expected = " or ".join(map(str, dimensions))
        raise UserError(
            f"{path} holds {array.dtype} of shape {array.shape}; "
            f"expected numbers in {expected} dimensions: download it again"
        )
    return array


def row_blocks(rows: np.ndarray | Rows) -> Iterator[tuple[int, np.ndarray]]:
    """Go over rows in blocks of about `BLOCK_BYTES`: the number of the first row, and the block."""
    row_bytes = math.prod(rows.shape[1:]) * rows.dtype.itemsize
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step]


def read_labels(path: str | Path) -> np.ndarray:
    """Class numbers (N,) from one-hot rows (N, C) or from numbers (N,).

    Raises
    ------
    UserError
        If a row is neither; it names the first.
    """
    note_read(path)
    n_rows = len(open_rows(path, (1, 2)))
    rows = Rows(Path(path), np.arange(n_rows))
    labels = np.empty(n_rows, np.int64)
    for start, block in row_blocks(rows):
        if block.ndim == 1:
            expected = "a class number"
            valid = _are_class_numbers(block)
        else:
            expected = "one-hot, a single 1 among zeros"
            valid = _are_one_hot(block)
        if not valid.all():
            wrong = start + valid.argmin()
            raise UserError(f"row {wrong} of {path} is not {expected}; download it again")
        labels[start : start + len(block)] = block if block.ndim == 1 else block.argmax(1)
    return labels


def _are_class_numbers(block: np.ndarray) -> np.ndarray:
    in_range = (block >= 0) & (block < LARGEST_CLASS)  # False for NaN
    return in_range & (np.where(in_range, block, 0) % 1 == 0)


def _are_one_hot(block: np.ndarray) -> np.ndarray:
    # Not by the sum alone, which is 1 as well for a row of ten tenths.
    ones = block == 1
    return (ones | (block == 0)).all(1) & (ones.sum(1) == 1)


def check_tokens(tokens: np.ndarray | Rows, width: int, n_vocab: int, path: str | Path) -> None:
    """Make sure that tokens (N, width) are whole numbers in 0..n_vocab-1.

    Parameters
    ----------
    tokens
        The tokens, which are read block by block.
    width
        Tokens in a row.
    n_vocab
        Entries of the palette.
    path
        The file that the message names.

    Raises
    ------
    UserError
        If they are not.
    """
    if len(tokens.shape) != 2 or tokens.shape[1] != width or tokens.dtype.kind not in "ui":
        raise UserError(
            f"{path} holds {tokens.dtype} of shape {tokens.shape}; "
            f"expected whole numbers of shape (N, {width}): check the file, and n_px"
        )
    for _, block in row_blocks(tokens):
        low = block.min()
        high = block.max()
        if low < 0 or high >= n_vocab:
            raise UserError(
                f"{path} holds tokens {low}..{high}; expected 0..{n_vocab - 1}: "
                "check the vocabulary"
            )
