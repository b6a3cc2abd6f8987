"""Where the files of OpenAI, the authors and the Hugging Face hub lie, and how a hub model is brought here."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import huggingface_hub
import requests

from georep_utils.io import UserError, read_json, write_json
from georep_utils.data.transfer import RemoteFile, brief, fetch, mismatch, need_space, unpack

__all__ = ["RemoteFile", "fetch", "unpack"]  # moved by `transfer`, named here for the notebooks

OPENAI = "https://openaipublic.blob.core.windows.net/image-gpt"
FIGSHARE, FIGSHARE_API = "https://ndownloader.figshare.com", "https://api.figshare.com"
SHARDS, STEPS = {"s": 32, "m": 32, "l": 64}, (131000, 262000, 524000, 1000000)
SPLITS = {"tr": "tr", "va": "va", "te": "te", "train": "tr", "valid": "va", "test": "te"}


def openai_checkpoint(
    size: str, step: int = 1000000, bert: bool = False, base: str = OPENAI, meta: bool = False
) -> list[RemoteFile]:
    """Index and data shards (with `meta` also the graph, which nothing here needs) of ImageGPT "s", "m" or "l".

    The checkpoint's prefix below `data_dir` is the first path without ".index".
    """
    shards = SHARDS[_one_of(SHARDS, size, "ImageGPT size")]
    prefix = f"checkpoints/igpt-{size}{'-bert' * bert}/{_one_of(STEPS, step, 'checkpoint step')}/model.ckpt-{step}"
    endings = ["index", *(f"data-{i:05d}-of-{shards:05d}" for i in range(shards)), *["meta"] * meta]
    return _openai(base, *(f"{prefix}.{ending}" for ending in endings))


def openai_clusters(base: str = OPENAI) -> list[RemoteFile]:
    """The 512 colours (512, 3) in [-1, 1] that OpenAI's tokens stand for."""
    return _openai(base, "color-clusters/kmeans_centers.npy")


def openai_dataset(name: str, split: str, base: str = OPENAI) -> list[RemoteFile]:
    """Tokens X (N, 1024) and one-hot labels Y of "imagenet" or "cifar10", split "train", "valid" or "test"."""
    name, split = _one_of(("imagenet", "cifar10"), name, "data set of OpenAI"), _one_of(SPLITS, split, "split")
    stem = f"datasets/{name}_{SPLITS[split]}"
    return _openai(base, f"{stem}X.npy", f"{stem}Y.npy")


def released_images(base: str = FIGSHARE) -> list[RemoteFile]:
    """The authors' archive of ImageGPT statistics: distance ratios, neighbour tables, labels."""
    name = "data_transf_repr_image.zip"
    return [RemoteFile(name, f"{base.rstrip('/')}/files/40694132", f"released/{name}")]


def released_proteins(api: str = FIGSHARE_API, offline: bool = False) -> list[RemoteFile]:
    """The files of the authors' protein article, as figshare lists them; offline its one archive, by name."""
    url, name = f"{api.rstrip('/')}/v2/articles/23137958/versions/1", "data_transf_repr_protein.zip"
    if offline:
        return [RemoteFile(name, url, f"released/{name}")]
    try:
        listed = requests.get(url, timeout=30).json()["files"]
        return [
            RemoteFile(f["name"], f["download_url"], f"released/{f['name']}", f["size"], None, f["computed_md5"])
            for f in listed
        ]
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{url} gives no list of files ({brief(error)}): try later, or put released/{name} there"
        ) from error


def _one_of(allowed: Iterable, value, what: str):
    if value not in allowed:
        raise UserError(f"there is no {what} {value!r}: choose one of {', '.join(map(str, allowed))}")
    return value


def _openai(base: str, *paths: str) -> list[RemoteFile]:
    return [RemoteFile(PurePosixPath(path).name, f"{base.rstrip('/')}/{path}", path) for path in paths]


def hub_model(
    name: str, data_dir: str | Path = "data", offline: bool = False, endpoint: str | None = None, revision: str = "main"
) -> Path:
    """The folder of a Hugging Face model: `name` itself if it is one, else `data_dir`/hub/`name`, fetched if need be.

    Brings configuration, tokeniser and weights (safetensors where there are any), never code. Offline, a folder filled
    by hand and the hub's own cache serve too. Raises UserError for a name the hub does not have, a model without
    weights, too little disk space, altered bytes, and offline for what is missing.
    """
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    if not re.fullmatch(r"(\w[\w.-]*/)?\w[\w.-]*", name):
        raise UserError(f"{name!r} is neither a folder that exists nor a hub name like 'facebook/esm2_t12_35M_UR50D'")
    folder = Path(data_dir) / "hub" / name
    record = read_json(folder / ".fetched.json", {})
    sizes = record.get("sizes", {}) if record.get("revision") == revision else {}
    whole = all(not mismatch(RemoteFile(n, "", n, s), folder / n) for n, s in sizes.items())
    if record.get("whole") and sizes and whole:
        return folder
    if offline:
        choices = [] if record else [folder]
        with contextlib.suppress(huggingface_hub.errors.LocalEntryNotFoundError):
            cached = huggingface_hub.snapshot_download(
                name, revision=revision, local_files_only=True, allow_patterns="config.json"
            )
            choices.append(Path(cached))
        for choice in choices:
            if _model_files(p.name for p in choice.glob("*")):
                return choice
        source = f"{endpoint or 'https://huggingface.co'}/{name}"
        raise UserError(
            f"offline, and hub model {name!r} is not whole in {folder} nor in the hub's cache: "
            f"put its config.json, tokeniser and weights (from {source}) into {folder}, or go online"
        )
    try:
        info = huggingface_hub.HfApi(endpoint).model_info(name, revision=revision, files_metadata=True, timeout=30)
        siblings = {f.rfilename: f for f in info.siblings or []}
        names = _model_files(siblings)
        record = {"revision": revision, "commit": info.sha, "sizes": {n: siblings[n].size for n in names}}
        if names:
            need_space(data_dir, sum(size or 0 for size in record["sizes"].values()))
            write_json(folder / ".fetched.json", record)
            huggingface_hub.snapshot_download(
                name, revision=info.sha, local_dir=folder, endpoint=endpoint, allow_patterns=names
            )
    except UserError:
        raise
    except Exception as error:  # the hub's client lets errors of several libraries through
        raise UserError(f"hub model {name!r} can't be had ({brief(error)}): check name and network") from error
    if not names:
        raise UserError(f"hub model {name!r} is no transformer (no config.json or no weights whole): choose another")
    for n in names:
        lfs = siblings[n].lfs
        if fault := mismatch(RemoteFile(n, "", n, siblings[n].size, lfs.sha256 if lfs else None), folder / n):
            (folder / n).unlink(missing_ok=True)
            raise UserError(f"{n} of hub model {name!r} {fault}: it was removed; run again")
    write_json(folder / ".fetched.json", {**record, "whole": True})
    return folder


def _model_files(names: Iterable[str]) -> list[str]:
    """Of `names`, what transformers needs: no code, one copy of the weights; none where a part of the model lacks."""
    names = sorted(names)
    for pattern in (r"model(?:-\d+-of-(\d+))?\.safetensors", r"pytorch_model(?:-\d+-of-(\d+))?\.bin"):
        weights = [n for n in names if re.fullmatch(pattern, n)]
        if weights and "config.json" in names:
            n_shards = int(re.fullmatch(pattern, weights[-1])[1] or 1)
            text = [n for n in names if re.fullmatch(r"[^/.][^/]*\.(json|txt|model)", n)]
            return weights + text if len(weights) == n_shards else []
    return []
