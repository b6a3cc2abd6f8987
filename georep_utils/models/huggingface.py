"""Any Hugging Face transformer, and the places in it where the paper listens: found by structure, or named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from georep_utils.models.hub_files import load_network, load_reader, open_image, quiet
from georep_utils.io import UserError
from georep_utils.precision import find_device, matmul_precision, speed_up
from georep_utils.models.hooks import SITES, Tap, find_blocks, find_taps, first_tensor, image_size, listening

SPACED_RARE = str.maketrans({letter: "X" for letter in "UZOB.-"})


def load(
    name_or_path: str, device="auto", dtype="float32", site="ln_1", pool="mean", blocks=None, norm=None, final_norm=None,
    special_tokens=False, max_length=None, kind=None, random_init_seed=None, revision=None, local_files_only=False,
) -> HFModel:  # fmt: skip
    """A Hugging Face transformer in eval mode, ready to give one pooled vector a sample and layer.

    Layers 0..L-1 are read in the L blocks at `site`: "ln_1" (the paper's: output of the first normalisation, or the
    block's input where it has none before its attention, as in BERT), "input" (the block's input), "attn" (the residual
    stream after attention), "mlp" (the block's output). Layer L is the final norm, or the last block's output where
    nothing normalises it. Encoder-decoder models are read in their encoder.
    blocks, final_norm: dotted names; norm: dotted name inside a block. None: found by a trial run on the CPU.
    pool: "mean" or "last" over a sample's own tokens; special tokens count only with `special_tokens`.
    max_length: the most tokens a sample may have; None: the size of a learned position table, or no limit.
    kind: "text", "protein" or "image"; None: protein for ESM, image for pixel models, else text. Protein models other
    than ESM get their residues spaced and rare letters as X.
    random_init_seed: random weights of the true configuration instead of the trained ones.
    UserError for what can't be loaded, has no transformer blocks, or does not fit the options. No remote code is run."""
    for value, allowed, what in ((dtype, ("float32", "tf32", "bfloat16"), "dtype"), (site, SITES, "site"),
                                 (pool, ("mean", "last"), "pool"), (kind, (None, "text", "protein", "image"), "kind")):  # fmt: skip
        if value not in allowed:
            raise UserError(f"{what} is {value!r}; expected one of {', '.join(map(str, allowed))}")
    device = find_device(device, dtype)
    source = {"revision": revision, "local_files_only": local_files_only, "trust_remote_code": False}
    net, missing = load_network(name_or_path, source, dtype, random_init_seed)
    config, main_input = net.config, net.main_input_name
    if main_input not in ("input_ids", "pixel_values"):
        raise UserError(f"{name_or_path} takes {main_input}; expected a model of texts, proteins or images")
    kind = kind or ("image" if main_input == "pixel_values" else "protein" if config.model_type == "esm" else "text")
    if (kind == "image") != (main_input == "pixel_values"):
        raise UserError(f"{name_or_path} takes {main_input}, which does not fit kind {kind!r}; leave kind out")
    blocks = find_blocks(net, name_or_path, blocks)
    taps, n_tokens = find_taps(net, name_or_path, blocks, site, norm, final_norm)
    read = (f"{blocks}.", *(f"{tap.module}." for tap in taps))
    if lost := [key for key in missing if key.startswith(read) or "embed" in key]:
        raise UserError(f"{name_or_path} has no weights for {lost[0]}; expected all of them, or set random_init_seed")
    prefix = n_tokens - n_patches(config, image_size(config)) if kind == "image" else 0
    if prefix < 0:
        raise UserError(f"{name_or_path} reads {n_tokens} tokens of {n_tokens - prefix} patches; expected all of them")
    reader = load_reader(name_or_path, source, kind)
    if kind != "image" and len(reader) > (size := net.get_input_embeddings().num_embeddings):
        raise UserError(
            f"{name_or_path} has {len(reader)} tokens in the tokenizer but {size} in the model; use its own"
        )
    limit = max_length if max_length is not None else position_limit(net)
    net = speed_up(net.to(device))
    return HFModel(str(name_or_path), kind, net, reader, taps, pool, special_tokens, prefix, limit, device, dtype)


def n_patches(config, size: tuple[int, int]) -> int:
    """Patches of an image of `size` pixels."""
    patch = getattr(config, "patch_size", None)
    if patch is None:
        raise UserError(f"{config.model_type} has no patch_size; expected a vision transformer over a grid of patches")
    height, width = (patch, patch) if isinstance(patch, int) else patch
    return (size[0] // height) * (size[1] // width)


def position_limit(net: nn.Module) -> int | None:
    """The most tokens a learned position table holds; None where positions are rotary or relative."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Embedding) and re.search(r"(position_embeddings|embed_positions|wpe)$", name):
            return net.config.max_position_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None


@dataclass(frozen=True)
class HFModel:
    """A transformer and its L + 1 places to listen. `forward` keeps one pooled vector a sample and layer, nothing more."""

    name: str
    kind: str
    net: nn.Module
    reader: object
    taps: tuple[Tap, ...]
    pool: str
    special_tokens: bool
    prefix: int
    limit: int | None
    device: torch.device
    dtype: str

    @property
    def n_blocks(self) -> int:
        return len(self.taps) - 1

    @property
    def layers(self) -> list[int]:
        return list(range(len(self.taps)))

    @property
    def layer_names(self) -> list[str]:
        return [f"{tap.module} ({tap.side})" for tap in self.taps]

    def forward(self, inputs) -> list[Tensor]:
        """One pooled (batch, width) float32 tensor a layer, on the device, for texts, sequences or image files."""
        batch, weights = self.pixels(inputs) if self.kind == "image" else self.tokens(inputs)
        pooled: list = [None] * len(self.taps)

        def keep(layer, module, values):
            x = first_tensor(values).float().reshape(*weights.shape, -1)
            pooled[layer] = (x * weights[..., None]).sum(1)

        places = [(tap.module, tap.side, partial(keep, layer)) for layer, tap in enumerate(self.taps)]
        with torch.inference_mode(), matmul_precision(self.dtype, self.device), listening(self.net, places):
            self.net(**batch)
        return pooled

    def encode(self, inputs: Iterable[str]) -> tuple[list[list[int]], list[np.ndarray]]:
        """Token numbers of each sample, and which of them count in the mean."""
        texts = list(inputs)
        if self.kind == "protein" and self.net.config.model_type != "esm":
            texts = [" ".join(sequence.translate(SPACED_RARE)) for sequence in texts]
        with quiet():
            out = self.reader(texts, return_special_tokens_mask=True, return_attention_mask=False)
        counted = [np.array(mask) == 0 for mask in out["special_tokens_mask"]]
        return out["input_ids"], [np.ones_like(c) for c in counted] if self.special_tokens else counted

    def tokens(self, inputs) -> tuple[dict[str, Tensor], Tensor]:
        """Right-padded token numbers with their attention mask, and pooling weights (batch, T)."""
        ids, counted = self.encode(inputs)
        pad = self.reader.pad_token_id if self.reader.pad_token_id is not None else self.reader.eos_token_id or 0
        shape = len(ids), max(map(len, ids))
        padded, mask, weights = np.full(shape, pad), np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        for row, (numbers, counts) in enumerate(zip(ids, counted)):
            padded[row, : len(numbers)], mask[row, : len(numbers)] = numbers, 1
            chosen = np.flatnonzero(counts)
            weights[row, chosen[-1:] if self.pool == "last" else chosen] = 1 if self.pool == "last" else 1 / len(chosen)
        batch = {"input_ids": padded, "attention_mask": mask}
        return {key: self.place(value) for key, value in batch.items()}, self.place(weights)

    def pixels(self, inputs) -> tuple[dict[str, Tensor], Tensor]:
        """Preprocessed images, and pooling weights (batch, tokens) that leave out the special tokens in front."""
        images = [open_image(path) for path in inputs]
        pixels = self.reader(images=images, return_tensors="pt")["pixel_values"]
        length = self.prefix + n_patches(self.net.config, pixels.shape[-2:])
        chosen = np.arange(0 if self.special_tokens else self.prefix, length)
        weights = np.zeros((len(images), length), np.float32)
        weights[:, chosen[-1:] if self.pool == "last" else chosen] = 1 if self.pool == "last" else 1 / len(chosen)
        return {"pixel_values": self.place(pixels).to(next(self.net.parameters()).dtype)}, self.place(weights)

    def place(self, array) -> Tensor:
        return torch.as_tensor(array).to(self.device, non_blocking=True)

    def lengths(self, inputs) -> np.ndarray:
        """Tokens of each sample (N,), special tokens included. For images one number, of a first sample."""
        if self.kind == "image":
            return np.full(len(inputs), self.pixels(inputs[:1])[1].shape[1])
        return np.array([len(ids) for ids in self.encode(inputs)[0]])

    def check(self, dataset) -> None:
        """UserError where the data set does not suit the model: another kind, a sample too long, without tokens or unreadable."""
        if dataset.kind != self.kind:
            raise UserError(f"{self.name} reads {self.kind}, but {dataset.name} holds {dataset.kind}; choose another")
        if self.kind == "image":
            for path in dataset.inputs:
                if not Path(path).is_file():
                    raise UserError(f"image {path} is missing; restore it or correct the folder")
            self.lengths(dataset.inputs)
            return
        for start in range(0, len(dataset), 1024):
            ids, counted = self.encode(dataset.inputs[start : start + 1024])
            for name, numbers, counts in zip(dataset.ids[start:], ids, counted):
                if self.limit is not None and len(numbers) > self.limit:
                    raise UserError(f"sample {name} has {len(numbers)} tokens, above the limit of {self.limit}; "
                                    "shorten or drop it (proteins: max_length and too_long of the data set)")  # fmt: skip
                if not counts.any():
                    raise UserError(f"sample {name} has no token to average over; remove it")
                if self.kind == "protein" and self.reader.unk_token_id in numbers:
                    raise UserError(f"sample {name} has a residue that {self.name} does not know; remove or replace it")
