"""Where a run's files live, how a file is written whole or not at all, and what a finished stage leaves behind."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


class UserError(ValueError):
    """Input that can't be used. The message is one line: what was wrong, what was expected, what to do."""


def safe_name(name: object, what: str = "name") -> str:
    """`name`, where it can be one file or folder below another; UserError where it could lead elsewhere."""
    if isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name):
        return name
    raise UserError(f"{what} {name!r} can't be a folder's name; expected letters, digits, '_', '-', '.', no leading dot")


@contextlib.contextmanager
def atomic(path: str | Path):
    """Yield a temporary name beside `path`; it becomes `path` when the block ends well and is removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


@dataclass(frozen=True)
class RunPaths:
    """The folders of one run: large arrays below `data/runs/`, small tables and pages below `book/`, all of them below the
    repository, or below the folder that the environment variable GEOREP_ROOT names."""

    run: str
    root: Path = field(default_factory=lambda: Path(os.environ.get("GEOREP_ROOT") or REPOSITORY))

    def __post_init__(self):
        safe_name(self.run, "run")

    @property
    def representations(self) -> Path:
        return self.root / "data/runs" / self.run / "representations"

    @property
    def neighbors(self) -> Path:
        return self.root / "data/runs" / self.run / "neighbors"

    @property
    def manifests(self) -> Path:
        return self.root / "data/runs" / self.run / "manifests"

    @property
    def results(self) -> Path:
        return self.root / "book/results" / self.run

    @property
    def pages(self) -> Path:
        return self.root / "book/runs" / self.run


def digest(*parts) -> str:
    """sha256 of files (given as paths: their bytes) and of any other JSON-able values, in order."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            with open(part, "rb") as stream:
                total.update(
                    hashlib.file_digest(stream, "sha256").digest()
                    if hasattr(hashlib, "file_digest")
                    else hashlib.sha256(stream.read()).digest()
                )
        else:
            total.update(json.dumps(part, sort_keys=True, default=str).encode())
    return total.hexdigest()


def write_json(path: str | Path, value) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, default=str) + "\n")


def read_json(path: str | Path, default=None):
    """The JSON value in `path`, or `default` where the file is absent or was not written whole."""
    try:
        return json.loads(Path(path).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return default
