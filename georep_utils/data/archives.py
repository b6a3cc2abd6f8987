"""Unpack a zip archive from a stranger, all of it or nothing.

An archive can name a member `../../.bashrc`, hold a link to follow out of the folder, or unpack a
megabyte to a terabyte. So everything that its directory says is checked before a byte is written;
what is written grows in a hidden folder beside the target, which takes the target's name at the
end.
"""

from __future__ import annotations

import stat
import tempfile
import zipfile
import zlib
from pathlib import Path

from georep_utils.data.files import one_line
from georep_utils.data.transfer import inside, need_space
from georep_utils.io import UserError

ENCRYPTED = 0x1  # bit of a member's flags


def unpack(
    zip_path: str | Path, target: str | Path, max_bytes: float = 20e9, max_ratio: float = 500
) -> Path:
    """Unpack an archive into the folder `target`, which appears when all of it is there.

    A target that already holds every member whole is left as it is.

    Parameters
    ----------
    zip_path
        The archive.
    target
        The folder.
    max_bytes, max_ratio
        The most that it may unpack to: in bytes, and as a multiple of the archive's size.

    Returns
    -------
    The target.

    Raises
    ------
    UserError
        Before anything is written: for a file that is no archive; for encrypted members, links,
        names that leave the folder or clash; for more bytes than allowed or free; and for a
        target that holds something else.
    """
    zip_path = Path(zip_path)
    target = Path(target)
    try:
        with zipfile.ZipFile(zip_path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            places = [inside(target, member.filename) for member in members]
            limit = min(max_bytes, max_ratio * zip_path.stat().st_size)
            _check_members(members, places, zip_path, limit)
            if not target.exists():
                _extract(archive, members, target)
            elif not _holds(members, places):
                raise UserError(
                    f"{target} exists and does not hold what {zip_path.name} does: "
                    "remove it and run again"
                )
    except UserError:
        raise
    except Exception as error:  # a damaged archive fails in zipfile, zlib, struct or a codec
        raise UserError(
            f"{zip_path} is no whole zip archive ({one_line(error)}): fetch it again"
        ) from None
    return target


def _check_members(
    members: list[zipfile.ZipInfo], places: list[Path], zip_path: Path, limit: float
) -> None:
    total = sum(member.file_size for member in members)
    if total > limit:
        raise UserError(
            f"{zip_path} would unpack to {total} bytes, beyond the limit: not the expected archive"
        )
    plain = all(_is_plain(member) for member in members)
    parents = {parent for place in places for parent in place.parents}
    distinct = len(set(places)) == len(places) and not parents & set(places)
    if not plain or not distinct:
        raise UserError(
            f"{zip_path} has links, encryption or clashing names: not the expected archive"
        )


def _is_plain(member: zipfile.ZipInfo) -> bool:
    # The upper half of the attributes is the Unix mode, or 0 where another system made the archive.
    kind = stat.S_IFMT(member.external_attr >> 16)
    return kind in (0, stat.S_IFREG) and not member.flag_bits & ENCRYPTED


def _extract(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], target: Path) -> None:
    need_space(target.parent, sum(member.file_size for member in members))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as staging:
        whole = Path(staging) / "whole"
        archive.extractall(whole, members)
        whole.rename(target)


def _holds(members: list[zipfile.ZipInfo], places: list[Path]) -> bool:
    """Whether every member is at its place with its checksum."""
    pairs = zip(places, members, strict=True)
    return all(place.is_file() and _crc(place) == member.CRC for place, member in pairs)


def _crc(path: Path) -> int:
    total = 0
    with open(path, "rb") as stream:
        while chunk := stream.read(2**20):
            total = zlib.crc32(chunk, total)
    return total
