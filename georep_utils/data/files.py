"""Files that a user brings: where they are looked for, and how a damaged one is refused.

A data file may come from anywhere, so nothing about it is taken for granted. Every function here
either returns what the file holds or raises a `UserError` of one line that names the file: an
archive that was cut short, a header that promises more numbers than there are, a folder where a
file should be. Nothing is ever unpickled, because a pickle can run code.

Each file that is read is noted (`io.note_read`), so that a page made from it is made again when
the file changes.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from georep_utils.io import REPOSITORY, MissingFile, UserError, note_read

GZIP_MAGIC = b"\x1f\x8b"
MAX_UNPACKED = 2**33  # bytes that the arrays of one .npz may take in memory


def existing(path: str | Path, *roots: Path) -> Path:
    """Find a file or folder below the repository, or else below one of `roots`.

    Parameters
    ----------
    path
        A relative path, or an absolute one, which is taken as it is.
    roots
        Further folders to look in, in this order.

    Returns
    -------
    The first place that exists.

    Raises
    ------
    MissingFile
        If there is no such place; it names every place that was looked at.
    UserError
        If `path` is no name of a file.
    """
    if not isinstance(path, (str, Path)) or "\0" in str(path):
        raise UserError(f"path is {path!r}; expected the name of a file or folder; correct it")
    places = [root / Path(path).expanduser() for root in (REPOSITORY, *roots)]
    distinct = list(dict.fromkeys(places))
    for place in distinct:
        if _exists(place):
            return place
    listed = " or ".join(map(str, distinct))
    raise MissingFile(f"{path} is missing; put it at {listed}, or correct the path")


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:  # a name that is too long, a folder that may not be searched
        return False


def one_line(error: BaseException) -> str:
    """The kind of an error and its text, shortened to one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]


def read_bytes(path: Path) -> bytes:
    """The content of a plain or gzip file, told apart by its first bytes.

    Raises
    ------
    UserError
        If it can't be read or unpacked.
    """
    note_read(path)
    try:
        with open_unpacked(path) as stream:
            return stream.read()
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise UserError(
            f"{path} can't be read ({one_line(error)}); expected a plain or gzip file that is whole"
        ) from None


def read_text(path: Path, newline: str | None = None) -> str:
    """The text of a plain or gzip file in UTF-8, with or without a byte order mark.

    Parameters
    ----------
    path
        The file.
    newline
        As in `open`: None turns every kind of line end into "\\n", "" keeps them as they are.

    Raises
    ------
    UserError
        If it can't be read, unpacked or decoded.
    """
    note_read(path)
    try:
        with open_unpacked(path) as stream:
            return io.TextIOWrapper(stream, encoding="utf-8-sig", newline=newline).read()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, MemoryError) as error:
        raise UserError(
            f"{path} can't be read as text ({one_line(error)}); "
            "expected a plain or gzip text file in UTF-8: correct or replace it"
        ) from None


def open_unpacked(path: Path) -> BinaryIO:
    """Open a file for reading bytes, unpacked where it is a gzip file."""
    with open(path, "rb") as stream:
        packed = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return gzip.open(path, "rb") if packed else open(path, "rb")


def open_npy(path: Path) -> np.ndarray:
    """The array in a .npy file, memory-mapped: nothing but its header is read.

    Raises
    ------
    UserError
        If the file is no array of plain numbers or text that is whole.
    """
    try:
        return np.lib.format.open_memmap(str(path), mode="r")
    except Exception as error:  # a damaged header is parsed as Python and fails in any way it likes
        raise UserError(
            f"{path} can't be read as an array ({one_line(error)}); download it again"
        ) from None


def read_npz(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The named arrays of a .npz archive, in memory.

    Raises
    ------
    UserError
        If the archive is damaged, lacks one of them, holds pickled objects, or would take more
        than `MAX_UNPACKED` bytes.
    """
    note_read(path)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise ValueError(f"it would unpack to {unpacked} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (
        Exception
    ) as error:  # zipfile, zlib and numpy's header parser each have errors of their own
        raise UserError(
            f"{path} can't be read as a .npz archive ({one_line(error)}); restore the file"
        ) from None
