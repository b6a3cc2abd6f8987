"""Files that are written whole or not at all, what they hold, and who read them.

Everything here serves three promises:

*Nothing finished is lost.* A file grows under a temporary name and takes its own name when it is
complete (`atomic`). Two processes that want to make the same thing take turns (`lock`).

*Nothing goes stale unnoticed.* While a notebook runs, whatever it reads and writes is noted in the
file that the environment variable GEOREP_RECORD names (`note_read`, `note_written`). A page is up
to date as long as everything that it read still has the content that it had (`state`).

*A name never leads elsewhere.* Names from run files become folders only through `safe_name`.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
RECORD = "GEOREP_RECORD"
RUN = "GEOREP_RUN"
LARGE = 256 * 2**20  # bytes from which a file's digest is remembered instead of computed again


class UserError(ValueError):
    """Input that can't be used: one line on what was wrong, what was expected, what to do."""


class MissingFile(UserError):
    """A file that has to be fetched or put in place first."""


def root() -> Path:
    """The folder that holds `data/` and `book/results/`: GEOREP_ROOT, or the repository."""
    return Path(os.environ.get("GEOREP_ROOT") or REPOSITORY)


def clouds_folder() -> Path:
    """The folder of all clouds."""
    return root() / "data/clouds"


def measurements_folder() -> Path:
    """The folder of what runs have measured, with a folder for each of them (`measurements.py`)."""
    return root() / "data/measurements"


def safe_name(name: object, what: str = "name") -> str:
    """Return `name` if it can be one file or folder below another.

    Raises
    ------
    UserError
        If it could lead elsewhere: separators, a leading dot, nothing at all.
    """
    if isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name):
        return name
    raise UserError(
        f"{what} {name!r} can't be a folder's name; expected letters, digits, '_', '-' and '.', "
        "beginning with a letter or digit; choose another"
    )


@dataclass(frozen=True)
class RunPaths:
    """The folders of one run. Arrays are not among them: they belong to clouds."""

    run: str

    def __post_init__(self):
        safe_name(self.run, "run")

    @property
    def work(self) -> Path:
        """What the program keeps for itself: manifests, kept results, failed notebooks."""
        return root() / "data/runs" / self.run

    @property
    def clouds(self) -> Path:
        """The names of this run's clouds."""
        return self.work / "clouds.json"

    @property
    def neighbors(self) -> Path:
        """How many neighbours and ratios this run keeps."""
        return self.work / "neighbors.json"

    @property
    def results(self) -> Path:
        """Small tables, committed for the runs that the book shows without running them."""
        return root() / "book/results" / self.run

    @property
    def pages(self) -> Path:
        """Executed notebooks as the book shows them."""
        return root() / "book/runs" / self.run


# ----------------------------------------------------------------------------- writing and reading


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name if the block ends well."""
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


def write_json(path: str | Path, value) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, default=str) + "\n")


def read_json(path: str | Path, default=None):
    """The JSON value in `path`, or `default` where there is no such file or no JSON in it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return default


def read_object(path: str | Path) -> dict:
    """The JSON object in `path`; {} where there is no such file, or anything else in it."""
    value = read_json(path)
    return value if isinstance(value, dict) else {}


def write_table(path: str | Path, frame, index: bool = False) -> None:
    """Write a DataFrame as csv with six significant digits, atomically, and note it."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=index, float_format="%.6g")
    note_written(path)


def write_figure(path: str | Path, figure) -> None:
    """Write a matplotlib Figure in the format that the file's name ends with, atomically, and note
    it. The same figure has the same bytes.
    """
    path = Path(path)
    with atomic(path) as temporary:
        kind = path.suffix.removeprefix(".")
        figure.savefig(temporary, format=kind, bbox_inches="tight", metadata={"Date": None})
    note_written(path)


def read_table(path: str | Path, **options):
    """A csv table as a DataFrame, noted as read; `options` are those of `pandas.read_csv`."""
    import pandas as pd

    if not Path(path).is_file():
        raise UserError(f"{path} is missing; expected a table of results; run its notebook first")
    note_read(path)
    return pd.read_csv(path, **options)


def open_image(path: str | Path):
    """An image file as an 8-bit RGB picture.

    Transparent pixels are put on white, and 16-bit grey levels are divided by 257: Pillow's own
    conversion would clip them, so that nearly every picture came out white.

    Raises
    ------
    UserError
        If the file is missing or is no image.
    """
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I") or image.mode == "F":
                levels = np.asarray(image, dtype=np.float64)
                deep = image.mode.startswith("I;16") or levels.max(initial=0) > 255
                image = Image.fromarray(np.rint(levels / (257 if deep else 1)).astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path} can't be read as an image ({error}); remove or replace it"
        ) from None


# ----------------------------------------------------------------------------------------- digests


def digest(*values) -> str:
    """sha256, in hexadecimal, of JSON-able values in order."""
    total = hashlib.sha256()
    for value in values:
        total.update(json.dumps(value, sort_keys=True, default=str).encode())
    return total.hexdigest()


def file_digest(path: str | Path) -> str:
    """sha256 of a file's bytes, which is noted as read.

    The digest of a file above 256 MB is remembered with its size and time of change, because a
    checkpoint of 15 GB takes longer to read than everything else that `run` looks at.

    Raises
    ------
    MissingFile
        If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"{path} is missing; put it there, or run 01_download again")
    note_read(path)
    return _digest(path)


def _digest(path: Path) -> str:
    about = path.stat()
    if about.st_size < LARGE:
        return _sha256(path)
    memory = root() / "data/.digests.json"
    entry = read_object(memory).get(str(path.resolve()))
    entry = entry if isinstance(entry, dict) else {}
    if [entry.get("size"), entry.get("time")] == [about.st_size, about.st_mtime_ns]:
        return entry["sha256"]
    entry = {"size": about.st_size, "time": about.st_mtime_ns, "sha256": _sha256(path)}
    write_json(memory, read_object(memory) | {str(path.resolve()): entry})
    return entry["sha256"]


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_digest(*names: str) -> str:
    """sha256 of what some code computes: its syntax, without comments, docstrings and layout.

    Parameters
    ----------
    names
        Modules of this package ("georep_utils.geometry.neighbors"), or functions in them
        ("georep_utils.extraction:pool").
    """
    trees = []
    for name in sorted(names):
        module, _, function = name.partition(":")
        file = REPOSITORY / f"{module.replace('.', '/')}.py"
        trees.append([name, _syntax(file, file.stat().st_mtime_ns, function)])
    return digest(trees)


@lru_cache(maxsize=256)
def _syntax(file: Path, changed: int, function: str) -> str:
    """The syntax of a file, or of one function in it; `changed` is the time of its last change."""
    tree = _tree(file, changed)
    if function:
        tree = next(node for node in tree.body if getattr(node, "name", None) == function)
    return ast.dump(tree)


@lru_cache(maxsize=256)
def _tree(file: Path, changed: int) -> ast.Module:
    """The syntax tree of a file without docstrings, parsed once; `changed` is the time of its last
    change.
    """
    return _without_docstrings(ast.parse(file.read_text(encoding="utf-8")))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@lru_cache(maxsize=256)
def _imports(file: Path, changed: int) -> tuple[Path, ...]:
    """Files of this package that a file imports; `changed` is the time of its last change."""
    return _imported_files(_tree(file, changed))


@lru_cache(maxsize=64)
def _imports_of_source(source: str, repository: Path) -> tuple[Path, ...]:
    """Files below `repository` that a source imports."""
    return _imported_files(ast.parse(source))


def _imported_files(tree: ast.Module) -> tuple[Path, ...]:
    """Files of this package that are imported, wherever the import stands."""
    files = []
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [node.module, *inner]
        for module in modules:
            if module.partition(".")[0] == "georep_utils":
                files.append(REPOSITORY / f"{module.replace('.', '/')}.py")
    return tuple(file for file in files if file.is_file())


def imported_modules(source: str) -> list[str]:
    """Modules of this package that `source` imports, directly or through others."""
    waiting = [*_imports_of_source(source, REPOSITORY)]
    found = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imports(file, file.stat().st_mtime_ns)
    names = [file.relative_to(REPOSITORY).with_suffix("") for file in found]
    return sorted(".".join(name.parts) for name in names)


# --------------------------------------------------------------------------- what a notebook reads


def running() -> str | None:
    """Name of the run whose notebook is being executed by this process; None outside of runs."""
    return os.environ.get(RUN)


def note_read(path: str | Path) -> None:
    """Note that the running notebook read a file, or a folder of arrays."""
    _note({"read": _short(path)})


def note_written(path: str | Path) -> None:
    """Note that the running notebook wrote a file."""
    _note({"written": _short(path)})


def note_facts(**facts: bool) -> None:
    """Note what is true of the data or the model of this run (`labels=True`).

    Cells tagged `only-labels` are left out of a chapter where that is not so.
    """
    _note({"facts": {name: bool(value) for name, value in facts.items()}})


def facts() -> dict[str, bool]:
    """The facts that this notebook and earlier ones of its run have noted; none outside a run."""
    record = os.environ.get(RECORD)
    return recorded(record)[2] if record else {}


def facts_line(facts: dict[str, bool]) -> str:
    """The first line of a notebook's notes: facts that earlier notebooks of the run found."""
    return json.dumps({"facts": dict(facts)}) + "\n"


def _note(entry: dict) -> None:
    record = os.environ.get(RECORD)
    if record:
        with open(record, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")


def recorded(record: str | Path) -> tuple[list[str], list[str], dict[str, bool]]:
    """What was read, what was written and which facts hold, from the file of a notebook's notes.

    What a notebook wrote before it read it is not an input.
    """
    read: dict[str, None] = {}
    written: dict[str, None] = {}
    facts: dict[str, bool] = {}
    for line in Path(record).read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        facts |= entry.get("facts", {})
        if "written" in entry:
            written[entry["written"]] = None
        elif "read" in entry and entry["read"] not in written:
            read[entry["read"]] = None
    return list(read), list(written), facts


def _short(path: str | Path) -> str:
    """`path` below the root or the repository where it lies there, so that both may move."""
    path = Path(path).absolute()
    for base in (root(), REPOSITORY):
        if path.is_relative_to(base):
            return str(path.relative_to(base))
    return str(path)


def find(folder: str | Path, pattern: str) -> list[Path]:
    """The files below `folder` that match `pattern`, sorted; a new one is noticed later."""
    note_read(Path(folder) / pattern)
    return sorted(Path(folder).glob(pattern))


def found(short: str) -> Path:
    """The path that `_short` shortened."""
    below_root = root() / short
    return below_root if below_root.exists() else REPOSITORY / short


def state(short: str) -> str | None:
    """The content of a noted path: a file's digest; a folder's names and sizes; None if absent.

    A pattern stands for the names and contents of all files that match it.
    """
    if "*" in short:
        base, _, pattern = short.partition("*")
        folder = found(base.rpartition("/")[0])
        pattern = f"{base.rpartition('/')[2]}*{pattern}"
        files = sorted(path for path in folder.glob(pattern) if path.is_file())
        return digest([[str(path.relative_to(folder)), _digest(path)] for path in files])
    path = found(short)
    if path.is_file():
        return _digest(path)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        return digest([[p.name, p.stat().st_size] for p in files])
    return None


# ------------------------------------------------------------------------------------------- locks


@contextlib.contextmanager
def lock(path: str | Path, purpose: str) -> Iterator[None]:
    """Hold the lock file `path`; a second process waits and says for whom.

    The operating system releases the lock when its holder ends, however that happens.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.2)  # the holder may not have written its name yet
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            print(f"waiting for {holder}", file=sys.stderr, flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        stream.truncate(0)
        stream.write(f"process {os.getpid()}, which is {purpose}")
        stream.flush()
        yield
