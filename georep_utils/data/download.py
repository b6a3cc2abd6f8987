"""Where the files of OpenAI, the authors and the Hugging Face hub are, and how a hub model comes.

Nothing is fetched while a model or a data set is loaded: the first chapter of a run asks for the
files here, and `transfer.fetch` brings them. Each function returns `RemoteFile`s with the paths
below the data folder that the rest of the project expects.

A hub model comes through `huggingface_hub` (`hub_model`), which has resume and a cache of its own.
What is added here is a choice of files and a check of them: weights as safetensors, which can't
hold code, and PyTorch's pickles only where a model has nothing else; configuration and tokenizer;
never a program. Whole means that every file has the size, and large ones the sha256, that the hub
lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import huggingface_hub
import requests
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from georep_utils.data.connection import DEFAULT_LIMITS, Client, Limits, brief, check_url, redact
from georep_utils.data.transfer import RemoteFile, mismatch, need_space
from georep_utils.io import UserError, read_json, write_json

OPENAI = "https://openaipublic.blob.core.windows.net/image-gpt"
FIGSHARE = "https://ndownloader.figshare.com"
FIGSHARE_API = "https://api.figshare.com"
SHARDS = {"s": 32, "m": 32, "l": 64}  # data files of a checkpoint, by the size of ImageGPT
STEPS = (131000, 262000, 524000, 1000000)
SPLITS = {"tr": "tr", "va": "va", "te": "te", "train": "tr", "valid": "va", "test": "te"}
LISTING_BYTES = 2**20  # the most that figshare's list of a few files may take

HUB = "https://huggingface.co"
HUB_RECORD = ".fetched.json"
SAFETENSORS = r"model(?:-\d+-of-(\d+))?\.safetensors"
PICKLES = r"pytorch_model(?:-\d+-of-(\d+))?\.bin"
SETTINGS = r"\w[\w.-]*\.(json|txt|model)"  # configuration, tokenizer, index of the weights


# -------------------------------------------------------------------------------------- named files


def openai_checkpoint(
    size: str, step: int = 1000000, bert: bool = False, base: str = OPENAI
) -> list[RemoteFile]:
    """The index and the data shards of an ImageGPT.

    The checkpoint's prefix below the data folder is the first path without ".index".

    Parameters
    ----------
    size
        "s", "m" or "l".
    step
        One of `STEPS` of its training.
    bert
        Whether it is the variant with full attention.
    base
        Another server with the same files.

    Raises
    ------
    UserError
        For a size or step that does not exist.
    """
    n_shards = SHARDS[_one_of(SHARDS, size, "ImageGPT size")]
    _one_of(STEPS, step, "checkpoint step")
    model = f"igpt-{size}-bert" if bert else f"igpt-{size}"
    prefix = f"checkpoints/{model}/{step}/model.ckpt-{step}"
    shards = [f"{prefix}.data-{i:05d}-of-{n_shards:05d}" for i in range(n_shards)]
    return _from_openai(base, f"{prefix}.index", *shards)


def openai_clusters(base: str = OPENAI) -> list[RemoteFile]:
    """The 512 colours (512, 3) in [-1, 1] that OpenAI's tokens stand for."""
    return _from_openai(base, "color-clusters/kmeans_centers.npy")


def openai_dataset(name: str, split: str, base: str = OPENAI) -> list[RemoteFile]:
    """Tokens X (N, 1024) and one-hot labels Y of OpenAI's images.

    Parameters
    ----------
    name
        "imagenet" or "cifar10".
    split
        "train", "valid" or "test".
    base
        Another server with the same files.

    Raises
    ------
    UserError
        For a name or split that does not exist.
    """
    _one_of(("imagenet", "cifar10"), name, "data set of OpenAI")
    _one_of(SPLITS, split, "split")
    stem = f"datasets/{name}_{SPLITS[split]}"
    return _from_openai(base, f"{stem}X.npy", f"{stem}Y.npy")


def _from_openai(base: str, *paths: str) -> list[RemoteFile]:
    return [
        RemoteFile(PurePosixPath(path).name, f"{base.rstrip('/')}/{path}", path) for path in paths
    ]


def _one_of(allowed: Iterable, value, what: str):
    if value not in list(allowed):
        choices = ", ".join(map(str, allowed))
        raise UserError(f"there is no {what} {value!r}: choose one of {choices}")
    return value


def released_images(base: str = FIGSHARE) -> list[RemoteFile]:
    """The authors' archive of ImageGPT statistics: distance ratios, neighbour tables, labels."""
    name = "data_transf_repr_image.zip"
    return [RemoteFile(name, f"{base.rstrip('/')}/files/40694132", f"released/{name}")]


def released_proteins(
    api: str = FIGSHARE_API, offline: bool = False, limits: Limits = DEFAULT_LIMITS
) -> list[RemoteFile]:
    """The files of the authors' protein article, as figshare lists them.

    Parameters
    ----------
    api
        Another server with the same list.
    offline
        Ask nobody, and return its one archive by name.
    limits
        How patient to be.

    Raises
    ------
    UserError
        If there is no list.
    """
    url = f"{api.rstrip('/')}/v2/articles/23137958/versions/1"
    name = "data_transf_repr_protein.zip"
    if offline:
        return [RemoteFile(name, url, f"released/{name}")]
    try:
        with Client(limits) as client:
            listed = json.loads(_read_listing(client, url))["files"]
        return [_from_figshare(file) for file in listed]
    except UserError as error:
        reason = str(error)
    except (requests.RequestException, ValueError, LookupError, TypeError, RecursionError) as error:
        reason = brief(error)
    raise UserError(
        f"{redact(url)} gives no list of files ({reason}): try later, or put released/{name} there"
    )


def _read_listing(client: Client, url: str) -> bytes:
    with client.get(url) as answer:
        content = b""
        for chunk in answer.chunks():
            content += chunk
            if len(content) > LISTING_BYTES:
                raise ValueError(f"more than {LISTING_BYTES} bytes")
        return content


def _from_figshare(file: dict) -> RemoteFile:
    name = str(file["name"])
    url = str(file["download_url"])
    return RemoteFile(
        name, url, f"released/{name}", size=int(file["size"]), md5=str(file["computed_md5"])
    )


# --------------------------------------------------------------------------------------- hub models


@dataclass(frozen=True)
class _Listing:
    """What the hub says of a model: its commit, and the files of it that transformers needs."""

    commit: str
    files: tuple[RemoteFile, ...]


def hub_model(
    name: str,
    data_dir: str | Path = "data",
    offline: bool = False,
    endpoint: str | None = None,
    revision: str = "main",
) -> Path:
    """The folder of a Hugging Face model, fetched if need be.

    Parameters
    ----------
    name
        A name of the hub ("facebook/esm2_t12_35M_UR50D"), or a folder, which is returned as it is.
    data_dir
        The folder of downloads. The model goes to hub/NAME below it; another revision than "main"
        to hub/NAME@REVISION, so that several can be compared.
    offline
        Fetch nothing. A folder filled by hand and the hub's own cache serve too.
    endpoint
        Another server that speaks as the hub does.
    revision
        A branch, tag or commit.

    Returns
    -------
    The folder, with configuration, tokenizer and weights.

    Raises
    ------
    UserError
        For a name or revision that the hub does not have, a model without weights, too little
        disk space, altered bytes, and offline for what is missing.
    """
    local = Path(name).expanduser()
    if local.is_dir():
        return local
    folder = hub_folder(name, data_dir, revision)
    if _is_whole(folder, revision):
        return folder
    if offline:
        return _offline_model(name, folder, endpoint, revision)
    check_url(endpoint or HUB)
    listing = _list_model(name, endpoint, revision)
    need_space(data_dir, sum(file.size or 0 for file in listing.files))
    record = {
        "revision": revision,
        "commit": listing.commit,
        "sizes": {file.name: file.size for file in listing.files},
    }
    # A record that does not say "whole" marks a folder that an interruption left behind.
    write_json(folder / HUB_RECORD, record)
    _download_model(name, endpoint, listing, folder)
    _verify_model(name, listing, folder)
    write_json(folder / HUB_RECORD, record | {"whole": True})
    return folder


def hub_config(name: str, endpoint: str | None = None) -> Path:
    """A folder with the configuration of a hub model, which is all that is fetched of it.

    Raises
    ------
    UserError
        For a name that the hub does not have, and a hub that can't be reached.
    """
    hub_folder(name)  # which checks the name
    commit = _list_model(name, endpoint, "main").commit  # which says at once what is wrong
    try:
        file = huggingface_hub.hf_hub_download(
            name, "config.json", revision=commit, endpoint=endpoint
        )
    except Exception as error:  # as in `_list_model`
        raise _explain(name, "main", error) from None
    return Path(file).parent


def hub_folder(name: str, data_dir: str | Path = "data", revision: str = "main") -> Path:
    """Where a revision of a hub model goes below the data folder.

    Raises
    ------
    UserError
        For what can't be the name of a model, or of a revision.
    """
    if not re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", name):
        raise UserError(
            f"{name!r} is neither a folder that exists nor a hub name like "
            "'facebook/esm2_t12_35M_UR50D'; correct it"
        )
    is_text = isinstance(revision, str)
    if not is_text or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", revision):
        raise UserError(f"revision {revision!r} is none; expected a branch, a tag or a commit")
    folder = Path(data_dir) / "hub" / name
    if revision == "main":
        return folder
    return folder.with_name(f"{folder.name}@{revision.replace('/', '--')}")


def _is_whole(folder: Path, revision: str) -> bool:
    """Whether all that was fetched of a revision is there, with the sizes that it had."""
    record = read_json(folder / HUB_RECORD, {})
    if not isinstance(record, dict) or not record.get("whole"):
        return False
    if record.get("revision") != revision:
        return False
    sizes = record.get("sizes") or {}
    files = [RemoteFile(name, "", name, size) for name, size in sizes.items()]
    return bool(files) and all(mismatch(file, folder / file.name) is None for file in files)


def _offline_model(name: str, folder: Path, endpoint: str | None, revision: str) -> Path:
    places = []
    # A folder with a record was fetched, and is not whole; one without was filled by hand.
    if not (folder / HUB_RECORD).exists():
        places.append(folder)
    try:
        cached = huggingface_hub.snapshot_download(
            name, revision=revision, local_files_only=True, allow_patterns="config.json"
        )
        places.append(Path(cached))
    except LocalEntryNotFoundError:
        pass
    for place in places:
        if needed_files(file.name for file in place.glob("*")):
            return place
    source = redact(f"{endpoint or HUB}/{name}")
    raise UserError(
        f"offline, and hub model {name!r} is not whole in {folder} nor in the hub's cache: "
        f"put its config.json, tokeniser and weights (from {source}) into {folder}, or go online"
    )


def _list_model(name: str, endpoint: str | None, revision: str) -> _Listing:
    try:
        info = huggingface_hub.HfApi(endpoint).model_info(
            name, revision=revision, files_metadata=True, timeout=30
        )
    except Exception as error:  # the hub's client lets errors of several libraries through
        raise _explain(name, revision, error) from None
    siblings = {file.rfilename: file for file in info.siblings or []}
    names = needed_files(siblings)
    if not names:
        raise UserError(
            f"hub model {name!r} is no transformer (no config.json or no weights whole): "
            "choose another"
        )
    files = []
    for file_name in names:
        lfs = siblings[file_name].lfs  # only large files have a sha256 there
        sha256 = lfs.sha256 if lfs else None
        files.append(RemoteFile(file_name, "", file_name, siblings[file_name].size, sha256))
    return _Listing(info.sha, tuple(files))


def _download_model(name: str, endpoint: str | None, listing: _Listing, folder: Path) -> None:
    try:
        huggingface_hub.snapshot_download(
            name,
            revision=listing.commit,
            local_dir=folder,
            endpoint=endpoint,
            allow_patterns=[file.name for file in listing.files],
        )
    except Exception as error:  # as above
        raise _explain(name, listing.commit, error) from None


def _verify_model(name: str, listing: _Listing, folder: Path) -> None:
    for file in listing.files:
        fault = mismatch(file, folder / file.name)
        if fault:
            (folder / file.name).unlink(missing_ok=True)
            raise UserError(f"{file.name} of hub model {name!r} {fault}: it was removed; run again")


def _explain(name: str, revision: str, error: Exception) -> UserError:
    if isinstance(error, GatedRepoError):
        return UserError(
            f"hub model {name!r} can't be had: it is given only to those who asked for it; "
            "ask on its page, log in (hf auth login) and run again"
        )
    if isinstance(error, RevisionNotFoundError):
        return UserError(
            f"hub model {name!r} has no revision {revision!r}; "
            "expected a branch, a tag or a commit that its page lists"
        )
    if isinstance(error, RepositoryNotFoundError):
        return UserError(
            f"hub model {name!r} can't be had: the hub has none of this name; correct it"
        )
    return UserError(f"hub model {name!r} can't be had ({brief(error)}): check name and network")


def needed_files(names: Iterable[str]) -> list[str]:
    """Of a model's files, those that transformers needs: no program, one copy of the weights.

    Returns
    -------
    Weights, configuration and tokenizer; nothing where there is no configuration or where a part
    of the weights lacks.
    """
    names = sorted(names)
    # Safetensors that are incomplete are an error of the model, and no reason to take pickles.
    weights = _whole_weights(names, SAFETENSORS)
    if weights is None:
        weights = _whole_weights(names, PICKLES)
    if not weights or "config.json" not in names:
        return []
    return weights + [name for name in names if re.fullmatch(SETTINGS, name)]


def _whole_weights(names: list[str], pattern: str) -> list[str] | None:
    """The weights of one format: None where there are none, [] where a part of them lacks."""
    found = {name: re.fullmatch(pattern, name) for name in names}
    parts = {name: match[1] for name, match in found.items() if match}
    if not parts:
        return None
    # "model.safetensors" has no number of parts: it is all of the weights.
    single = [name for name, n_parts in parts.items() if n_parts is None]
    if single:
        return single
    expected = {int(n_parts) for n_parts in parts.values()}
    return list(parts) if expected == {len(parts)} else []
