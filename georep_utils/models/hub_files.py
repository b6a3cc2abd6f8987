"""What transformers reads from a folder or the hub: a network, its tokenizer or image processor. No remote code is run."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from torch import nn

from georep_utils.io import UserError


@contextlib.contextmanager
def quiet():
    """Keep transformers' notices (unused pooler weights, missing torchvision) out of the notebooks."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def explain(name, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(
        f"{name} can't be loaded as a Hugging Face transformer ({type(error).__name__}: {reason}); expected a hub name, or a "
        "folder with config.json, weights and tokenizer: correct the name, or download it first when offline"
    )


def load_network(name, source: dict, dtype: str, seed: int | None) -> tuple[nn.Module, list[str]]:
    """The network in eval mode on the CPU, and the names of weights that its files don't hold."""
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    kind = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    try:
        with quiet():
            config = AutoConfig.from_pretrained(name, **source)
            encoding = config.is_encoder_decoder and type(config) in AutoModelForTextEncoding._model_mapping
            auto = AutoModelForTextEncoding if encoding else AutoModel
            missing = []
            if seed is None:
                net, info = auto.from_pretrained(
                    name, dtype=kind, weights_only=True, output_loading_info=True, **source
                )
                missing = sorted(info["missing_keys"])
            else:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed)
                    net = auto.from_config(config, dtype=kind)
    except Exception as error:  # noqa: BLE001
        raise explain(name, error) from None
    net = net.get_encoder() if config.is_encoder_decoder and not encoding else net
    net.config.use_cache = False
    return net.eval().requires_grad_(False), missing


def load_reader(name, source: dict, kind: str):
    """The tokenizer, or the image processor, that belongs to the model."""
    from transformers import AutoImageProcessor, AutoTokenizer

    try:
        with quiet():
            if kind == "image":
                return AutoImageProcessor.from_pretrained(name, backend="pil", **source)
            return AutoTokenizer.from_pretrained(name, **source)
    except Exception as error:  # noqa: BLE001
        raise explain(name, error) from None


def open_image(path: Path):
    """An image file in RGB."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} can't be read as an image ({error}); remove or replace it") from None
