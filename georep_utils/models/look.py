"""What can be said of a model of the hub before its weights are read.

A model's small files say almost everything that can go wrong with it: what it reads, how many
blocks it has, how long a sample may be, and whether there is a tokenizer at all. So they are looked
at first, in the chapter that brings the model, and not after hours of computing. The network is
built without memory for its weights (PyTorch's device "meta"), so that a model of any size is
looked at in a second.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from georep_utils.io import UserError, open_image
from georep_utils.models import hub_files, huggingface
from georep_utils.models.hooks import find_blocks
from georep_utils.models.load import WHERE, ModelSource


@dataclass(frozen=True)
class Look:
    """What a model is.

    Attributes
    ----------
    kind
        What it reads: "text", "protein" or "image".
    model_type
        What its configuration calls it.
    n_blocks, width
        Number of transformer blocks, and of features in the state that passes between them.
    max_tokens
        The most tokens of a sample, or None where positions are not learned.
    """

    kind: str
    model_type: str
    n_blocks: int
    width: int
    max_tokens: int | None


def look(place: str | Path, name: str, kind: str | None = None) -> Look:
    """Look at the configuration of a model.

    Parameters
    ----------
    place
        A folder with its config.json at least.
    name
        What errors call it.
    kind
        What it reads, if its configuration does not tell.

    Raises
    ------
    UserError
        For a configuration that can't be read, and a network that is no plain transformer.
    """
    config = hub_files.read_config(place)
    hub_files.config_file(Path(place))
    if config.get("model_type") == "imagegpt":
        raise UserError(
            f"{name} is an ImageGPT, which reads colour tokens; start from a copy of "
            "notebooks/runs/igpt-small.yml"
        )
    net = _without_weights(place, name)
    found = huggingface.kind_of(net, name, kind)
    blocks = net.get_submodule(find_blocks(net, name))
    return Look(
        kind=found,
        model_type=net.config.model_type,
        n_blocks=len(blocks),
        width=int(getattr(net.config, "hidden_size", 0) or 0),
        max_tokens=None if found == "image" else huggingface.position_limit(net),
    )


def _without_weights(place: str | Path, name: str) -> torch.nn.Module:
    with torch.device("meta"):
        net, _ = hub_files.load_network(place, name, random_init_seed=0)
    return net


def reader_of(source: ModelSource) -> huggingface.HFModel:
    """A model that can do everything but compute: `encode`, `lengths` and `check` of its samples.

    Raises
    ------
    UserError
        If its tokenizer or image processor is missing, or does not fit.
    """
    place = source.folder() or source.name_or_path
    options = huggingface.Options(**dict(source.options))
    where = {name: getattr(options, name) for name in WHERE}
    net = _without_weights(place, source.name)
    kind = huggingface.kind_of(net, source.name, options.kind)
    reader = _reader(place, source.name, kind, where)
    limit = huggingface.position_limit(net) if options.max_length is None else options.max_length
    return huggingface.HFModel(
        name=source.name,
        kind=kind,
        net=net,
        reader=reader,
        hook_points=(),
        site=source.site,
        pool=source.pool,
        special_tokens=options.special_tokens,
        skip_first=options.skip_first,
        image_size=options.image_size,
        n_special=0,
        max_tokens=None if kind == "image" else limit,
        device=torch.device("cpu"),
        dtype=source.dtype,
    )


def _reader(place: str | Path, name: str, kind: str, where: dict):
    try:
        reader = hub_files.load_reader(place, name, kind, **where)
    except UserError as error:
        raise _missing_reader(name, kind, str(error)) from None
    # Where there is no file, transformers makes some tokenizers that know no word.
    if kind != "image" and len(reader) <= len(reader.all_special_tokens):
        raise _missing_reader(name, kind, "it would know no word")
    return reader


def _missing_reader(name: str, kind: str, why: str) -> UserError:
    what = "image processor (preprocessor_config.json)"
    if kind != "image":
        what = "tokenizer (tokenizer.json, or its vocabulary and tokenizer_config.json)"
    return UserError(
        f"{name} has no {what} that can be read; expected one beside config.json: fetch the model "
        f"again, or put it there ({why})"
    )


def check(source: ModelSource, dataset) -> None:
    """Make sure that a model can read all samples, without loading its weights.

    An ImageGPT of the hub reads numbers, and has nothing to look at.

    Raises
    ------
    UserError
        For a model and data of different kinds, a tokenizer or image processor that is missing, the
        first sample that is too long or has a residue that the model does not know, and the first
        image that can't be read.
    """
    if hub_files.read_config(source.folder() or "").get("model_type") == "imagegpt":
        return
    model = reader_of(source)
    model.check(dataset)
    if model.kind == "image":
        # Every one is decoded: a file that was cut short has a sound beginning.
        with ThreadPoolExecutor(4) as pool:
            for _ in pool.map(_decode, dataset.inputs):
                pass


def _decode(path: str | Path) -> None:
    open_image(path).load()
