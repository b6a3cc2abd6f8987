"""What transformers reads from a folder or from the Hugging Face hub.

A model of the hub is a folder of files: `config.json` with its kind and sizes, the weights, and
what turns an input into numbers (a tokenizer, or the settings of an image processor). Here they are
found, and read by transformers.

Such a folder may come from a stranger, and two kinds of file in it can hold code. Python files that
the configuration points at are never run (`trust_remote_code=False`), and neither are attention
kernels that it would fetch from the hub. Weights in a .bin file are a pickle, which can do anything
when it is opened: they are read by PyTorch's restricted reader, which knows tensors and nothing
else (`weights_only=True`), and not at all where there are safetensors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from georep_utils.io import REPOSITORY, UserError, read_json

# Names that transformers looks for, in this order. An index lists the files with the weights.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# How the files of tokenizers and image processors end, and such files that decide nothing.
INPUT_SUFFIXES = (".json", ".txt", ".model", ".spm", ".vocab", ".bpe", ".codes", ".tiktoken")
WITHOUT_INFLUENCE = ("generation_config.json", "chat_template.json", "README.txt", "LICENSE.txt")


# -------------------------------------------------------------------------------- finding the files


def find_folder(name: str, data_dir: str | Path, revision: str | None = None) -> Path | None:
    """The folder of a model on this machine.

    Parameters
    ----------
    name
        A folder, or the name of a model of the hub.
    data_dir
        The model may have been fetched to `hub/name` below this folder, which is taken from the
        repository if it is relative.
    revision
        A branch, a tag or a commit; None for the main branch.

    Returns
    -------
    The folder `name`, else the one below `data_dir`, else the one in the hub's cache if it holds
    configuration and weights, else None.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    # 01_download puts a revision other than "main" into a folder of its own.
    at_revision = name if revision in (None, "main") else f"{name}@{revision.replace('/', '--')}"
    fetched = REPOSITORY / data_dir / "hub" / at_revision
    if (fetched / "config.json").is_file():
        return fetched
    return _cached_folder(name, revision)


def _cached_folder(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
        config_file(folder)
        weight_files(folder)
    except (LocalEntryNotFoundError, HFValidationError, UserError):
        return None
    return folder


def read_config(folder: str | Path) -> dict:
    """What `config.json` of a folder says; nothing where there is none, or where it is damaged."""
    config = read_json(Path(folder) / "config.json", {})
    return config if isinstance(config, dict) else {}


def config_file(folder: Path) -> Path:
    """The configuration in a model's folder. Raises UserError where there is none."""
    path = folder / "config.json"
    if path.is_file():
        return path
    raise UserError(
        f"{folder} holds no config.json; expected the folder of a Hugging Face model: correct the "
        "name, or fetch the model again"
    )


def weight_files(folder: Path) -> list[Path]:
    """The files from which transformers takes the weights of the model in a folder.

    Raises
    ------
    UserError
        If there are none, or not all of them.
    """
    explicit = read_config(folder).get("transformers_weights")
    for name in (explicit,) if isinstance(explicit, str) else WEIGHTS:
        path = folder / name
        if not path.is_file():
            continue
        files = [path]
        if name.endswith(".index.json"):
            files += _listed_files(path)
        for file in files:
            if not file.is_file():
                raise UserError(
                    f"{folder} lacks {file.name}; expected all files that {name} lists: fetch the "
                    "model again"
                )
        return files
    raise UserError(
        f"{folder} holds no weights; expected model.safetensors or pytorch_model.bin: fetch the "
        "model again, or set random_init_seed"
    )


def _listed_files(index: Path) -> list[Path]:
    """The files that an index of weights lists."""
    listed = read_json(index, {})
    places = listed.get("weight_map") if isinstance(listed, dict) else None
    if not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
        raise UserError(f"{index} is no list of weights; expected a weight_map: fetch it again")
    return [index.parent / name for name in sorted(set(places.values()))]


def input_files(folder: Path) -> list[Path]:
    """The files that may decide how an input becomes numbers: of a tokenizer or an image processor.

    Tokenizers have files of many names, so every text file is taken that is not known to be
    something else: one too many costs a needless computation, one too few a wrong result.
    """
    found = []
    for path in sorted(folder.iterdir()):
        name = path.name
        something_else = (
            name == "config.json" or name in WITHOUT_INFLUENCE or name.endswith(".index.json")
        )
        hidden = name.startswith(".")
        if path.suffix in INPUT_SUFFIXES and path.is_file() and not hidden and not something_else:
            found.append(path)
    return found


# -------------------------------------------------------------------------------- reading the files


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep notices of transformers (such as unused pooler weights) out of the notebooks."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars_enabled = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars_enabled:
            logging.enable_progress_bar()


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Quiet inside, and whatever transformers raises becomes one line of a UserError."""
    try:
        with quiet():
            yield
    except Exception as error:  # transformers lets errors of several libraries through
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{name} can't be loaded as a Hugging Face transformer ({type(error).__name__}: "
            f"{reason}); expected a hub name, or a folder with config.json, weights and tokenizer: "
            "correct the name, or download it first when offline"
        ) from None


def load_network(
    place: str | Path,
    name: str,
    dtype: str = "float32",
    random_init_seed: int | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> tuple[nn.Module, list[str]]:
    """The network of a model, in eval mode on the CPU. Of two stacks, the encoder.

    Parameters
    ----------
    place
        The model's folder, or its name on the hub.
    name
        What errors call it.
    dtype
        "bfloat16"; else the weights are float32.
    random_init_seed
        Random weights of the same sizes: only the configuration is read then.
    revision, local_files_only
        For a name: which revision, and whether only the hub's cache is looked at.

    Returns
    -------
    The network, and the names of weights that its files don't hold.

    Raises
    ------
    UserError
        If it can't be loaded.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    where = _where(revision, local_files_only)
    torch_dtype = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    missing: list[str] = []
    with explained(name):
        config = AutoConfig.from_pretrained(place, **where)
        _refuse_hub_kernels(config)
        # Classes for text encoding leave out the decoder, whose weights would be read for nothing.
        encoder_only = (
            config.is_encoder_decoder and type(config) in AutoModelForTextEncoding._model_mapping
        )
        auto_class = AutoModelForTextEncoding if encoder_only else AutoModel
        if random_init_seed is None:
            net, info = auto_class.from_pretrained(
                place, dtype=torch_dtype, weights_only=True, output_loading_info=True, **where
            )
            missing = sorted(info["missing_keys"])
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(random_init_seed)
                net = auto_class.from_config(config, dtype=torch_dtype, trust_remote_code=False)
    if config.is_encoder_decoder and not encoder_only:
        net = net.get_encoder()
    # Keys and values of past tokens serve generation, of which there is none here.
    net.config.use_cache = False
    return net.eval().requires_grad_(False), missing


def _refuse_hub_kernels(config) -> None:
    """A configuration may name an attention kernel "owner/name", which is code from the hub."""
    attention = str(config._attn_implementation)
    if "/" in attention:
        raise ValueError(f"its config.json asks for the code {attention}, which is not run here")


def load_reader(
    place: str | Path,
    name: str,
    kind: str,
    revision: str | None = None,
    local_files_only: bool = False,
):
    """The image processor of a model of kind "image", and the tokenizer of any other.

    Raises
    ------
    UserError
        If it can't be loaded.
    """
    from transformers import AutoImageProcessor, AutoTokenizer

    where = _where(revision, local_files_only)
    with explained(name):
        if kind == "image":
            # The processor on Pillow is the one that exists without torchvision.
            return AutoImageProcessor.from_pretrained(place, backend="pil", **where)
        return AutoTokenizer.from_pretrained(place, **where)


def load_imagegpt(
    place: str | Path, name: str, local_files_only: bool = False
) -> tuple[nn.Module, list[str]]:
    """transformers' own ImageGPT with its output layer, and the names of weights that are lacking.

    Raises
    ------
    UserError
        If it can't be loaded.
    """
    from transformers import ImageGPTForCausalImageModeling

    with explained(name):
        net, info = ImageGPTForCausalImageModeling.from_pretrained(
            place,
            dtype=torch.float32,
            weights_only=True,
            output_loading_info=True,
            **_where(None, local_files_only),
        )
    # Buffers, such as the causal mask, are made anew and may be missing.
    parameters = dict(net.named_parameters())
    return net, sorted(key for key in info["missing_keys"] if key in parameters)


def _where(revision: str | None, local_files_only: bool) -> dict:
    """How transformers is told where to look. It never runs code that it finds there."""
    return {
        "revision": revision,
        "local_files_only": local_files_only,
        "trust_remote_code": False,
    }
