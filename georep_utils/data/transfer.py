"""Moving files: named ones from a server, whole and verified or not at all, and an archive's members into a folder."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pooch
import requests
from tqdm import tqdm

from georep_utils.io import UserError, atomic


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch to `data_dir / path`; `size` (bytes) and checksums are None where nobody published them."""

    name: str
    url: str
    path: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


def fetch(
    files: Iterable[RemoteFile],
    data_dir: str | Path,
    offline: bool = False,
    attempts: int = 5,
    backoff: float = 1.0,
    progress: bool = True,
) -> list[Path]:
    """Bring every file to `data_dir` and return their paths; what is already there and whole is not fetched again.

    A file grows as NAME.part, is resumed after an interruption, and takes its name when size and checksum are right.
    The sha256 of what came stays in NAME.sha256 and shows a later change. `attempts` counts failures in a row,
    `backoff` (seconds) doubles between them. Raises UserError for files missing or altered when `offline`, for too
    little disk space (before any is fetched), and for a file that can't be had or does not come as expected.
    """
    places, wanted, faults = [(file, _place(Path(data_dir), file.path)) for file in files], [], []
    with requests.Session() as session:
        for file, target in tqdm(places, "checking", disable=not progress, leave=False):
            recorded = _beside(target, ".sha256").read_text().split() if _beside(target, ".sha256").exists() else []
            known = replace(file, sha256=file.sha256 or next(iter(recorded), None))
            fault = mismatch(known, target)
            if not offline and known.size is None and (fault or not (known.sha256 or known.md5)):
                known = replace(known, size=_patiently(lambda f=file: _size(session, f), file, attempts, backoff))
                fault = fault or mismatch(known, target)
            if fault:
                wanted.append((replace(file, size=known.size), target))
                faults.append(f"{target} {fault} (from {file.url})")
            elif not recorded:
                _record(target, target)
        if offline and faults:
            raise UserError(f"offline, and files are needed: {'; '.join(faults)}. Put them there, or go online")
        parts = [_beside(target, ".part") for _, target in wanted]
        total, held = sum(file.size or 0 for file, _ in wanted), sum(p.stat().st_size for p in parts if p.exists())
        need_space(data_dir, total - held)
        with tqdm(total=total, initial=held, unit="B", unit_scale=True, disable=not (progress and wanted)) as bar:
            for file, target in wanted:
                bar.set_description(file.name)
                _download(session, file, target, attempts, backoff, bar)
    return [target for _, target in places]


def _download(session, file: RemoteFile, target: Path, attempts: int, backoff: float, bar: tqdm) -> None:
    part, tag = _beside(target, ".part"), _beside(target, ".part.tag")
    part.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "ab") as stream:

        def restart() -> None:
            bar.update(-stream.tell())
            stream.truncate(0)
            stream.seek(0)

        def receive() -> None:
            held = tag.read_text() if tag.exists() else ""
            if stream.tell() > (file.size or 0) > 0 or not (held or file.sha256 or file.md5):
                restart()
            if (done := stream.tell()) == file.size:
                return
            headers = {"Range": f"bytes={done}-"} | ({"If-Range": held} if held else {}) if done else {}
            with _open(session, file, headers) as response:
                resumed = response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
                if done and not resumed:
                    restart()
                if response.status_code != 200 and not resumed:
                    raise requests.HTTPError(f"no bytes from {done} on")
                strong = response.headers.get("ETag", "W/")
                tag.write_text(response.headers.get("Last-Modified", "") if strong.startswith("W/") else strong)
                for chunk in response.iter_content(1 << 16):
                    bar.update(stream.write(chunk))
                    if stream.tell() > (file.size or stream.tell()):
                        return

        if not _locked(stream, part):
            raise UserError(f"{part} is being fetched by another process: wait for it, then run again")
        for _ in range(2):
            _patiently(receive, file, attempts, backoff, stream.tell)
            stream.flush()
            if not (fault := mismatch(file, part)):
                os.fsync(stream.fileno())
                _record(part, target)
                part.replace(target)
                return tag.unlink(missing_ok=True)
            restart()
    part.unlink()
    raise UserError(f"{file.name} from {file.url} {fault}, twice: nothing was kept; ask the file's owner")


def _locked(stream, path: Path) -> bool:
    """Is `stream` ours alone, and still the file of that name (not one that another process has just renamed)?"""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False


def _size(session: requests.Session, file: RemoteFile) -> int | None:
    with _open(session, file, {"Range": "bytes=0-0"}) as response:  # some hosts answer GET where they refuse HEAD
        headers = response.headers
    stated = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    if not stated.isdigit() and not (file.sha256 or file.md5):
        raise UserError(f"{file.url} states no length, and no checksum is known to verify it by: fetch it by hand")
    return int(stated) if stated.isdigit() else None


def _open(session: requests.Session, file: RemoteFile, headers: dict) -> requests.Response:
    response = session.get(file.url, stream=True, timeout=30, headers={"Accept-Encoding": "identity", **headers})
    code, kind = response.status_code, response.headers.get("Content-Type", "")
    if code in (408, 429) or code >= 500:
        response.close()
        raise requests.HTTPError(f"status {code}")
    if code != 416 and (code not in (200, 206) or kind.startswith("text/html")):
        response.close()
        raise UserError(f"{file.name} is not at {file.url} (status {code}, {kind or 'no type'}): check the address")
    return response


def _patiently(action: Callable, file: RemoteFile, attempts: int, backoff: float, progress: Callable = lambda: 0):
    """`action()`, again after network faults; a mebibyte more than ever before forgives those so far."""
    failures, best = 0, progress()
    while True:
        try:
            return action()
        except requests.RequestException as error:
            advanced = progress() - best >= 1 << 20
            failures, best = (1 if advanced else failures + 1), (progress() if advanced else best)
            if failures >= attempts or isinstance(error, ValueError):
                raise UserError(
                    f"{file.name} from {file.url}: {brief(error)}; check the network and run again"
                ) from error
            time.sleep(backoff * 2 ** (failures - 1))


def _place(folder: Path, path: str) -> Path:
    if not PurePosixPath(path).name or path.startswith("/") or ".." in path.split("/") or re.search(r"[\\:\x00]", path):
        raise UserError(
            f"the name {path!r} does not stay inside its folder: expected a relative path; use another source"
        )
    return folder / path


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def _record(path: Path, target: Path) -> None:
    with atomic(_beside(target, ".sha256")) as temporary:
        temporary.write_text(f"{pooch.file_hash(str(path))}  {target.name}\n")


def mismatch(file: RemoteFile, path: Path) -> str | None:
    """What is wrong with the file at `path`, measured by what is known of `file`; None where nothing is."""
    if not path.is_file():
        return "is missing"
    if file.size is not None and path.stat().st_size != file.size:
        return f"has {path.stat().st_size} bytes where {file.size} are expected"
    for algorithm, expected in (("sha256", file.sha256), ("md5", file.md5)):
        if expected and (found := pooch.file_hash(str(path), algorithm)) != expected.lower():
            return f"has {algorithm} {found} where {expected} is expected"
    return None


def need_space(folder: str | Path, n_bytes: int) -> None:
    """Raise UserError where the disk of `folder` has less than `n_bytes` free."""
    folder = Path(folder).absolute()
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    if n_bytes > free:
        raise UserError(f"{folder} needs {n_bytes / 1e9:.2f} GB and has {free / 1e9:.2f}: make room or choose another")


def brief(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def unpack(zip_path: str | Path, target: str | Path, max_bytes: float = 20e9, max_ratio: float = 500) -> Path:
    """Unpack an archive into the folder `target`, which appears only when all of it is there.

    A target that already holds every member whole is left as it is. Raises UserError, before anything is written, for
    a file that is no archive, encrypted members, links, names that leave the folder or clash, more than `max_bytes` in
    all or `max_ratio` times the archive's size, and for a target that holds something else.
    """
    zip_path, target = Path(zip_path), Path(target)
    try:
        with zipfile.ZipFile(zip_path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            places = [_place(target, m.filename) for m in members]
            total = sum(m.file_size for m in members)
            if total > min(max_bytes, max_ratio * zip_path.stat().st_size):
                raise UserError(f"{zip_path} would unpack to {total} bytes, beyond the limit: not the expected archive")
            links = any(stat.S_IFMT(m.external_attr >> 16) not in (0, stat.S_IFREG) or m.flag_bits & 1 for m in members)
            parents = {parent for place in places for parent in place.parents}
            if links or len(set(places)) < len(places) or parents & set(places):
                raise UserError(f"{zip_path} has links, encryption or clashing names: not the expected archive")
            if target.exists():
                if all(p.is_file() and _crc(p) == m.CRC for p, m in zip(places, members)):
                    return target
                raise UserError(f"{target} exists and does not hold what {zip_path.name} does: remove it and run again")
            need_space(target.parent, total)
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as staging:
                archive.extractall(Path(staging) / "whole", members)
                (Path(staging) / "whole").rename(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, FileNotFoundError) as error:
        raise UserError(f"{zip_path} is no whole zip archive ({brief(error)}): fetch it again") from error
    return target


def _crc(path: Path) -> int:
    total = 0
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            total = zlib.crc32(chunk, total)
    return total
