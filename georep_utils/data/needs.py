"""What a run needs from elsewhere, named before anything is fetched.

The files of a run come from four places:

- *bundled*: they lie in the repository, which records their sizes and checksums (`verify_bundled`);
- *published*: OpenAI's checkpoints, tokens and palette, and the archives of the paper's authors,
  each at an address that is known by name (`needed_files`);
- *the Hugging Face hub*: a model there is a folder, of which the hub says what it holds
  (`download.hub_model`);
- *yours*: data without an address that a program may rely on. The run file says what they are and
  what their file is called (`own_files`).

Nothing here opens a connection, except that the authors' article lists its own files. So the same
functions tell a user beforehand what a run will download.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from georep_utils.data import download
from georep_utils.data.files import existing
from georep_utils.data.transfer import RemoteFile
from georep_utils.io import REPOSITORY, UserError, file_digest, note_read, read_object

# Data sets that OpenAI tokenised, and what its files call them.
OPENAI_DATASETS = {"imagenet32": "imagenet", "cifar10-32": "cifar10"}
# Data sets whose tokens are colours of OpenAI's palette.
OPENAI_COLOURS = (*OPENAI_DATASETS, "image-folder")
OPENAI_CHECKPOINT = re.compile(r"checkpoints/igpt-(?P<size>\w+?)(?P<bert>-bert)?/(?P<step>\d+)/")
COLUMNS = ["file", "bytes", "state"]


def needed_files(
    model: str = "igpt",
    checkpoint: str = "",
    checkpoints: Mapping[str, str | None] | None = None,
    dataset: str = "",
    split: str = "test",
    released: bool = False,
    openai_url: str = download.OPENAI,
    figshare_url: str = download.FIGSHARE,
    figshare_api: str = download.FIGSHARE_API,
    offline: bool = False,
) -> list[RemoteFile]:
    """The published files that a run needs, whether or not they are here already.

    Parameters
    ----------
    model
        "igpt", or a model of the hub, whose files are not among these.
    checkpoint, checkpoints
        Names of checkpoints. One that is called as OpenAI calls its own is one of them; others are
        files of yours, or bundled.
    dataset, split
        A data set by name, and which part of it.
    released
        Whether the archives of statistics that the authors released are wanted.
    openai_url, figshare_url, figshare_api
        Where they are fetched from: the addresses of their owners, or of a mirror.
    offline
        Do not ask figshare for the list of files; name the one archive that is known.

    Returns
    -------
    The files, each once.

    Raises
    ------
    UserError
        For a size, a step or a split that OpenAI has not, and where figshare gives no list.
    """
    files = []
    if model == "igpt":
        for name in [checkpoint, *(checkpoints or {}).values()]:
            files += _openai_checkpoint(name or "", openai_url)
    if dataset in OPENAI_DATASETS:
        files += download.openai_dataset(OPENAI_DATASETS[dataset], split, openai_url)
    if dataset in OPENAI_COLOURS:
        files += download.openai_clusters(openai_url)
    if released:
        files += download.released_images(figshare_url)
        files += download.released_proteins(figshare_api, offline)
    return list(dict.fromkeys(files))


def _openai_checkpoint(name: str, openai_url: str) -> list[RemoteFile]:
    parts = OPENAI_CHECKPOINT.match(name)
    if parts is None:
        return []
    is_bert = parts["bert"] is not None
    return download.openai_checkpoint(parts["size"], int(parts["step"]), is_bert, openai_url)


def verify_bundled(manifest: str | Path) -> pd.DataFrame:
    """Compare the files that the repository carries with the checksums that it records.

    Parameters
    ----------
    manifest
        A JSON file {path: {"sha256": ..., "size": ...}} below the repository; "" for none.

    Returns
    -------
    A row a file: file, bytes, state.

    Raises
    ------
    UserError
        For a manifest that can't be read, and the first file that is missing or altered.
    """
    rows = []
    for name, recorded in _manifest(manifest).items():
        path = REPOSITORY / name
        if not path.is_file() or file_digest(path) != recorded["sha256"]:
            raise UserError(
                f"bundled file {name} is missing or altered; expected the one in the repository: "
                f"git checkout -- {name}"
            )
        rows.append((name, recorded["size"], "bundled, verified"))
    return pd.DataFrame(rows, columns=COLUMNS)


def _manifest(path: str | Path) -> dict[str, dict]:
    if not path:
        return {}
    note_read(REPOSITORY / path)
    recorded = read_object(REPOSITORY / path)
    entries = recorded.values()
    known = [isinstance(entry, dict) and {"sha256", "size"} <= entry.keys() for entry in entries]
    if not recorded or not all(known):
        raise UserError(
            f"{path} is missing or no JSON object of files; expected the sizes and checksums of "
            f"bundled files: git checkout -- {path}"
        )
    return recorded


def own_files(dataset_options: Mapping, data_dir: str | Path, source: str = "") -> pd.DataFrame:
    """Find the file or folder that only its user can put in place.

    Parameters
    ----------
    dataset_options
        Options of the data set; their `path`, if they have one, names the file.
    data_dir
        Where data lie, below the repository.
    source
        What to say of a file that is missing: what it is, and who has it.

    Returns
    -------
    A row for the file: file, bytes, state. None for a folder, for a file that the repository
    carries, and where no path is named.

    Raises
    ------
    UserError
        If it is missing.
    """
    if "path" not in dataset_options:
        return pd.DataFrame(columns=COLUMNS)
    try:
        path = existing(dataset_options["path"], REPOSITORY / data_dir / "datasets")
    except UserError as error:
        advice = f". It is {source}" if source else ""
        raise type(error)(f"{error}{advice}") from None
    if path.is_dir() or path.is_relative_to(REPOSITORY / "assets"):
        return pd.DataFrame(columns=COLUMNS)
    row = (str(dataset_options["path"]), path.stat().st_size, "yours, found")
    return pd.DataFrame([row], columns=COLUMNS)


def fetched_files(paths: Iterable[Path], data_dir: str | Path) -> pd.DataFrame:
    """List files that were fetched, by their names below `data_dir`.

    Their folders are noted as read, by the names and sizes of what they hold: when one of the files
    vanishes, the page that lists it is out of date.

    Returns
    -------
    A row a file: file, bytes, state.
    """
    rows = []
    for path in paths:
        note_read(path.parent)
        rows.append((_name_below(path, data_dir), path.stat().st_size, "fetched, verified"))
    return pd.DataFrame(rows, columns=COLUMNS)


def _name_below(path: Path, data_dir: str | Path) -> str:
    """`path` below `data_dir`, or its last two parts: no page names folders of this machine."""
    if path.is_relative_to(REPOSITORY / data_dir):
        return str(path.relative_to(REPOSITORY / data_dir))
    return str(Path(*path.parts[-2:]))
