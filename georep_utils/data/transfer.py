"""Named files from a server: whole and verified, or not at all.

`fetch` brings files to their places. A file NAME that is on its way is NAME.part. When the
connection breaks, or the program, the next attempt asks for the bytes that lack (a *range*). That
is only right if the server still has the same version of the file. NAME.part.version says which
one the bytes are from; the server is told (`If-Range`), and, because some servers ignore that, its
answer is compared as well. Bytes of two versions never end up in one file.

A file takes its name when size and checksums are right, and NAME.sha256 keeps its checksum, by
which a later change shows. Nothing is fetched again that is there and whole.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pooch
import requests
from tqdm import tqdm

from georep_utils.data.connection import (
    DEFAULT_LIMITS,
    Answer,
    Client,
    Limits,
    brief,
    redact,
)
from georep_utils.io import UserError, atomic, read_json, write_json


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch.

    Attributes
    ----------
    name
        What a message calls it.
    url
        Where it is.
    path
        Where it goes below the data folder.
    size, sha256, md5
        Its bytes and checksums; None where nobody published them.
    """

    name: str
    url: str
    path: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def has_checksum(self) -> bool:
        return bool(self.sha256 or self.md5)


@dataclass(frozen=True)
class Version:
    """Which version of a file an answer is about, as far as the server says so."""

    etag: str = ""
    modified: str = ""

    @classmethod
    def of(cls, answer: Answer) -> Version:
        return cls(answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", ""))

    @property
    def validator(self) -> str:
        """What `If-Range` may say: a weak tag ("W/...") does not promise equal bytes."""
        is_strong = self.etag and not self.etag.startswith("W/")
        return self.etag if is_strong else self.modified

    def continues(self, held: Version) -> bool:
        """Whether an answer of this version goes on with bytes of the version `held`."""
        # An answer to If-Range may leave out the date where it has a tag.
        same_date = self.modified == held.modified or (held.etag and not self.modified)
        return bool(self.etag == held.etag and same_date)


def fetch(
    files: Iterable[RemoteFile],
    data_dir: str | Path,
    offline: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    progress: bool = True,
) -> list[Path]:
    """Bring every file to its place below `data_dir`.

    Parameters
    ----------
    files
        The files.
    data_dir
        The folder that they go to.
    offline
        Fetch nothing, and say what is missing.
    limits
        How patient to be.
    progress
        Whether to draw a bar.

    Returns
    -------
    Where each file is.

    Raises
    ------
    UserError
        For files that are missing or altered when `offline`; for too little disk space, before
        anything is fetched; for a file that can't be had or does not come as expected.
    """
    places = [(file, inside(Path(data_dir), file.path)) for file in files]
    with Client(limits) as client:
        wanted = []
        faults = []
        for file, target in tqdm(places, "checking", disable=not progress, leave=False):
            expected, fault = _examine(None if offline else client, file, target)
            if fault:
                wanted.append((expected, target))
                faults.append(f"{target} {fault} (from {redact(file.url)})")
        if offline and faults:
            raise UserError(
                f"offline, and files are needed: {'; '.join(faults)}. Put them there, or go online"
            )
        _fetch_all(client, wanted, Path(data_dir), progress)
    return [target for _, target in places]


def _fetch_all(
    client: Client, wanted: list[tuple[RemoteFile, Path]], data_dir: Path, progress: bool
) -> None:
    # All files at once: the last of sixty-five must not be the first to find the disk full.
    total = sum(file.size or 0 for file, _ in wanted)
    parts = [_beside(target, ".part") for _, target in wanted]
    held = sum(part.stat().st_size for part in parts if part.is_file())
    need_space(data_dir, total - held)
    quiet = not (progress and wanted)
    with tqdm(total=total, initial=held, unit="B", unit_scale=True, disable=quiet) as bar:
        for file, target in wanted:
            bar.set_description(file.name)
            _Download(client, file, target, bar).run()


def _examine(
    client: Client | None, file: RemoteFile, target: Path
) -> tuple[RemoteFile, str | None]:
    """What to expect of a file, and what is wrong with the one at `target` (None where nothing is).

    Without a client, no server is asked.
    """
    note = _beside(target, ".sha256")
    recorded = note.read_text().split() if note.is_file() else []
    # What came last time, where nobody published a checksum.
    known = replace(file, sha256=file.sha256 or next(iter(recorded), None))
    fault = mismatch(known, target)
    if client and file.size is None and (fault or not known.has_checksum):
        file = replace(file, size=_remote_size(client, file))
        fault = fault or mismatch(file, target)
    if fault is None and not recorded:
        _record(target, target)
    return file, fault


def _remote_size(client: Client, file: RemoteFile) -> int | None:
    """The length that the server states, asked for with the first byte: some refuse HEAD."""

    def ask() -> requests.structures.CaseInsensitiveDict:
        with client.get(file.url, {"Range": "bytes=0-0"}) as answer:
            return answer.headers

    headers = client.patiently(ask, f"{file.name} from {redact(file.url)}")
    in_range = headers.get("Content-Range", "").rpartition("/")[2]
    stated = in_range or headers.get("Content-Length", "")
    if re.fullmatch(r"[0-9]+", stated):
        return int(stated)
    if not file.has_checksum:
        raise UserError(
            f"{redact(file.url)} states no length, and no checksum is known to verify it by: "
            "fetch it by hand"
        )
    return None


class _Download:
    """One file on its way: its bytes are in NAME.part, their version in NAME.part.version."""

    def __init__(self, client: Client, file: RemoteFile, target: Path, bar: tqdm):
        self.client = client
        self.file = file
        self.target = target
        self.bar = bar
        self.part = _beside(target, ".part")
        self.version_file = _beside(target, ".part.version")
        self.title = f"{file.name} from {redact(file.url)}"

    def run(self) -> None:
        try:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            with open(self.part, "ab") as self.stream:
                self._run_alone()
        except OSError as error:
            raise UserError(
                f"{self.target} can't be written ({brief(error)}); make room there, or see to its "
                "permissions, and run again"
            ) from None

    def _run_alone(self) -> None:
        if not self._lock():
            raise UserError(
                f"{self.part} is being fetched by another process: wait for it, then run again"
            )
        # Twice: a part of an earlier run may have been at fault, and not what the server has now.
        for _ in range(2):
            self.client.patiently(self._receive, self.title, progress=self._held)
            self.stream.flush()
            fault = mismatch(self.file, self.part)
            if fault is None:
                self._finish()
                return
            self._discard()
        self.part.unlink()
        self.version_file.unlink(missing_ok=True)
        raise UserError(f"{self.title} {fault}, twice: nothing was kept; ask the file's owner")

    def _lock(self) -> bool:
        """Whether the part is ours alone, and not one that another process has just renamed."""
        try:
            fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(self.stream.fileno()), os.stat(self.part))
        except (BlockingIOError, FileNotFoundError):
            return False

    def _finish(self) -> None:
        # The name promises that the file is whole, also after the power failed a moment later.
        os.fsync(self.stream.fileno())
        _record(self.part, self.target)
        self.part.replace(self.target)
        self.version_file.unlink(missing_ok=True)

    def _held(self) -> int:
        return self.stream.tell()

    def _discard(self) -> None:
        self.bar.update(-self._held())
        self.stream.truncate(0)
        self.stream.seek(0)  # truncating does not move the position, by which `_held` counts

    def _receive(self) -> None:
        """Get the bytes that lack; `requests.RequestException` where the server fails."""
        held_version = self._held_version()
        if not self._may_continue(held_version):
            self._discard()
        # A program that was killed after the last byte: only the check is still to be done.
        if self._held() == self.file.size:
            return
        if self._held() and self._continue(held_version):
            return
        self._discard()
        with self.client.get(self.file.url) as answer:
            self._start(answer)

    def _held_version(self) -> Version:
        record = read_json(self.version_file)
        if not isinstance(record, dict):
            return Version()
        return Version(str(record.get("etag", "")), str(record.get("modified", "")))

    def _may_continue(self, version: Version) -> bool:
        """Bytes of unknown origin are of use only where a checksum will judge the whole."""
        too_long = self.file.size is not None and self._held() > self.file.size
        return not too_long and bool(version.validator or self.file.has_checksum)

    def _continue(self, version: Version) -> bool:
        """Append the bytes that lack. False where the server has none that go on with ours."""
        start = self._held()
        headers = {"Range": f"bytes={start}-"}
        if version.validator:
            headers["If-Range"] = version.validator
        with self.client.get(self.file.url, headers) as answer:
            if answer.status == 200:  # it ignores ranges, or has another version: here is all of it
                self._discard()
                self._start(answer)
                return True
            content_range = answer.headers.get("Content-Range", "")
            goes_on = content_range.startswith(f"bytes {start}-")
            same = not version.validator or Version.of(answer).continues(version)
            if answer.status != 206 or not goes_on or not same:
                return False
            self._save(answer)
            return True

    def _start(self, answer: Answer) -> None:
        if answer.status != 200:
            raise requests.HTTPError(f"status {answer.status} to a request for the whole file")
        version = Version.of(answer)
        # Before the first byte: a part without its version could not be continued.
        write_json(self.version_file, {"etag": version.etag, "modified": version.modified})
        self._save(answer)

    def _save(self, answer: Answer) -> None:
        """Append the body. It stops soon after the end of a file whose size is known."""
        limit = self.client.limits.max_bytes if self.file.size is None else self.file.size
        for chunk in answer.chunks():
            self.bar.update(self.stream.write(chunk))
            if self._held() > limit:
                break
        if self.file.size is None and self._held() > limit:
            raise UserError(
                f"{self.title} goes on after {limit} bytes and states no length: give up"
            )


# ------------------------------------------------------------------------------------ what is there


def mismatch(file: RemoteFile, path: Path) -> str | None:
    """What is wrong with the file at `path`, by what is known of `file`; None where nothing is."""
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"has {size} bytes where {file.size} are expected"
    for algorithm, expected in (("sha256", file.sha256), ("md5", file.md5)):
        if expected is None:
            continue
        found = pooch.file_hash(str(path), algorithm)
        if found != expected.lower():
            return f"has {algorithm} {found} where {expected} is expected"
    return None


def inside(folder: Path, path: str) -> Path:
    """The place of a relative path below `folder`.

    Raises
    ------
    UserError
        If the path leads elsewhere, or would on another system.
    """
    pieces = path.split("/")
    leaves = path.startswith("/") or ".." in pieces or re.search(r"[\\:\x00]", path)
    if leaves or not PurePosixPath(path).name:
        raise UserError(
            f"the name {path!r} does not stay inside its folder: expected a relative path; "
            "use another source"
        )
    return folder / path


def need_space(folder: str | Path, n_bytes: int) -> None:
    """Make sure that the disk of `folder` has `n_bytes` free.

    Raises
    ------
    UserError
        If it has not.
    """
    folder = Path(folder).absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if n_bytes > free:
        raise UserError(
            f"{folder} needs {n_bytes / 1e9:.2f} GB and has {free / 1e9:.2f}: "
            "make room or choose another"
        )


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def _record(path: Path, target: Path) -> None:
    """Keep the checksum of the file at `path`, which is or will be `target`."""
    with atomic(_beside(target, ".sha256")) as temporary:
        temporary.write_text(f"{pooch.file_hash(str(path))}  {target.name}\n")
