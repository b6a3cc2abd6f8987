"""Any transformer of the Hugging Face hub, read where the paper reads its models.

A model is a network, the reader that turns samples into its input (a tokenizer or an image
processor), and L + 1 hook points: one in each of its L blocks, and one behind them (`hooks`).

    batch, weights = tokens of the samples, and how much each token counts
    x_l            = state of the network at hook point l, (batch, T, width)
    forward        = sum over t of weights[:, t] x_l[:, t], for each l

With weights of 1/n on the n tokens of a sample this is the mean over its sequence, as in the paper;
with a single 1 it is one token: the last one (pool "last"), or the class token in front of a
sample (pool "cls"; BERT and vision transformers have one). Padding never counts, and special tokens
(class, start, end, registers) count in a mean only on request. Encoder-decoder models are read in
their encoder.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from georep_utils.io import UserError, open_image
from georep_utils.models import hub_files, pooling
from georep_utils.models.hooks import (
    HookPoint,
    KeptHooks,
    find_blocks,
    find_hook_points,
    first_tensor,
    image_size,
)
from georep_utils.precision import precision_of_call, speed_up

KINDS = ("text", "protein", "image")

# Protein models of BERT's type read residues as words, and know only the 20 usual ones and X.
RARE_AS_X = str.maketrans({letter: "X" for letter in "UZOB.-"})


@dataclass(frozen=True)
class Options:
    """What a run file may say of a Hugging Face model under `model_options`.

    blocks : str, default None
        Dotted name of the list of blocks, such as "transformer.h"; None to find it.
    norm : str, default None
        Dotted name, inside a block, of the module to read for site "ln_1"; None to find it.
    final_norm : str, default None
        Dotted name of the module to read behind the blocks; None to find it.
    special_tokens : bool, default false
        Whether special tokens count in the mean, and may be the last one.
    skip_first : int, default 0
        How many tokens at the start of a text or a sequence the mean leaves out, beside the special
        ones: in deep layers the first token of a causal model can be a hundred times as long as any
        other.
    image_size : int, default None
        Pixels on a side of the square to which images are reduced; None for what the model's image
        processor says. For models that stretch their table of positions, such as DINOv2.
    max_length : int, default None
        The most tokens that a sample may have; None for the size of a learned position table, or
        no limit.
    kind : str, default None
        "text", "protein" or "image"; None for protein if it is an ESM, image if it takes pixels,
        else text. Protein models other than ESM get their residues spaced and rare letters as X.
    revision : str, default None
        The revision of a model of the hub.
    local_files_only : bool, default false
        Never ask the hub.
    """

    blocks: str | None = None
    norm: str | None = None
    final_norm: str | None = None
    special_tokens: bool = False
    skip_first: int = 0
    image_size: int | None = None
    max_length: int | None = None
    kind: str | None = None
    revision: str | None = None
    local_files_only: bool = False

    def __post_init__(self):
        for name in ("blocks", "norm", "final_norm", "revision"):
            value = getattr(self, name)
            self._require(value is None or isinstance(value, str), name, "a name")
        for name in ("special_tokens", "local_files_only"):
            self._require(isinstance(getattr(self, name), bool), name, "true or false")
        length = self.max_length
        is_length = length is None or _is_number_from(1, length)
        self._require(is_length, "max_length", "a whole number of tokens")
        self._require(_is_number_from(0, self.skip_first), "skip_first", "a whole number of tokens")
        is_size = self.image_size is None or _is_number_from(1, self.image_size)
        self._require(is_size, "image_size", "a whole number of pixels")
        self._require(self.kind in (None, *KINDS), "kind", f"one of {', '.join(KINDS)}")

    def _require(self, condition: bool, name: str, expected: str) -> None:
        if not condition:
            raise UserError(
                f"{name} is {getattr(self, name)!r}; expected {expected}, or nothing: correct "
                "model_options"
            )


def _is_number_from(least: int, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def files(place: str | Path, untrained: bool = False) -> list[Path]:
    """The files that decide the representations of the model in the folder `place`.

    They are its configuration, what reads its inputs and, unless it is untrained, its weights.

    Raises
    ------
    UserError
        If the configuration or a part of the weights is missing.
    """
    folder = Path(place)
    weights = [] if untrained else hub_files.weight_files(folder)
    return [hub_files.config_file(folder), *hub_files.input_files(folder), *weights]


def load(
    place: str | Path,
    name: str,
    device: torch.device,
    dtype: str,
    site: str,
    pool: str,
    random_init_seed: int | None,
    options: Options,
) -> HFModel:
    """A Hugging Face model ready to be read: see `georep_utils.models.load.load`, which calls this.

    Parameters
    ----------
    place
        The model's folder, or its name on the hub.
    name
        What errors and tables call it.
    random_init_seed
        Random weights of the true configuration instead of the trained ones.

    Raises
    ------
    UserError
        For what can't be loaded, has no transformer blocks, lacks weights that are read, or does
        not fit the options.
    """
    where = {"revision": options.revision, "local_files_only": options.local_files_only}
    net, missing = hub_files.load_network(place, name, dtype, random_init_seed, **where)
    kind = kind_of(net, name, options.kind)
    # The trial run below is made on the CPU and in PyTorch's own modules: what it finds should not
    # depend on the device.
    blocks = find_blocks(net, name, options.blocks)
    points, n_tokens = find_hook_points(net, name, blocks, site, options.norm, options.final_norm)
    _require_weights(net, name, missing, blocks, points)
    # What the trial image became beyond its patches is special. A tokenizer tells by itself.
    n_special = _special_patches(net.config, name, n_tokens) if kind == "image" else 0
    if kind == "image":
        _require_image_options(net, name, pool, options, n_special)
    reader = hub_files.load_reader(place, name, kind, **where)
    if kind != "image":
        _require_same_vocabulary(net, reader, name)
    # Beyond its table of positions a network fails, and would do so in the middle of the work.
    max_tokens = position_limit(net) if options.max_length is None else options.max_length
    net = speed_up(net.to(device))
    return HFModel(
        name=name,
        kind=kind,
        net=net,
        reader=reader,
        hook_points=points,
        site=site,
        pool=pool,
        special_tokens=options.special_tokens,
        skip_first=options.skip_first,
        image_size=options.image_size,
        n_special=n_special,
        max_tokens=max_tokens,
        device=device,
        dtype=dtype,
    )


def kind_of(net: nn.Module, name: str, kind: str | None) -> str:
    """The kind of data that the network reads: `kind`, if its input allows that."""
    takes = net.main_input_name
    if takes not in ("input_ids", "pixel_values"):
        raise UserError(
            f"{name} takes {takes}; expected a model of texts, proteins or images: choose another"
        )
    if kind is None:
        if takes == "pixel_values":
            return "image"
        return "protein" if net.config.model_type == "esm" else "text"
    if (kind == "image") != (takes == "pixel_values"):
        raise UserError(f"{name} takes {takes}, which does not fit kind {kind!r}; leave kind out")
    return kind


def _require_weights(
    net: nn.Module, name: str, missing: list[str], blocks: str, points: Iterable[HookPoint]
) -> None:
    """UserError where weights are missing that the representations depend on.

    transformers fills in random ones. That does not matter for a pooler or a head, which stand
    behind the last hook point.
    """
    embeddings = [path for path, module in net.named_modules() if isinstance(module, nn.Embedding)]
    read_modules = [blocks, *embeddings, *(point.module for point in points)]
    read = tuple(f"{path}." for path in read_modules)
    for key in missing:
        # The embedding of an image is a convolution, known by its name only.
        if key.startswith(read) or "embed" in key:
            raise UserError(
                f"{name} has no weights for {key}; expected all of them: fetch it again, or set "
                "random_init_seed"
            )


def _require_same_vocabulary(net: nn.Module, tokenizer, name: str) -> None:
    # An embedding may be larger, because it is often padded to a round number, but not smaller.
    size = net.get_input_embeddings().num_embeddings
    if len(tokenizer) > size:
        raise UserError(
            f"{name} has {len(tokenizer)} tokens in the tokenizer but {size} in the model; use its "
            "own tokenizer"
        )


def _special_patches(config, name: str, n_tokens: int) -> int:
    """How many special tokens stand in front of the patches of an image (class, registers)."""
    patches = n_patches(config, image_size(config))
    if n_tokens < patches:
        raise UserError(
            f"{name} reads {n_tokens} tokens of {patches} patches; expected all of them: choose "
            "another model"
        )
    return n_tokens - patches


def _require_image_options(
    net: nn.Module, name: str, pool: str, options: Options, n_special: int
) -> None:
    """UserError for a pooling or a size that is not there for images, or not for these."""
    if pool == "cls" and n_special == 0:
        raise UserError(
            f"{name} has no class token before the patches of an image; expected pool mean or last"
        )
    if options.skip_first:
        raise UserError(
            f"skip_first is {options.skip_first}, but {name} reads images; it is for texts and "
            "proteins, leave it out"
        )
    # Models that take this argument stretch their positions on request only, and fail without it.
    fixed = "interpolate_pos_encoding" in inspect.signature(net.forward).parameters
    if options.image_size is not None and fixed:
        raise UserError(
            f"{name} reads images of its own size only, but image_size is {options.image_size}; "
            "leave it out"
        )


def processor_size(reader, n_px: int | None) -> dict:
    """How an image processor is told to make images of `n_px` pixels on a side."""
    if n_px is None:
        return {}
    square = {"height": n_px, "width": n_px}
    if getattr(reader, "do_center_crop", False):
        return {"size": {"shortest_edge": n_px}, "crop_size": square}
    return {"size": square}


def n_patches(config, size: tuple[int, int]) -> int:
    """Number of patches of an image of `size` (height, width) pixels."""
    patch = getattr(config, "patch_size", None)
    if patch is None:
        raise UserError(
            f"{config.model_type} has no patch_size; expected a vision transformer over a grid of "
            "patches: choose another model"
        )
    height, width = (patch, patch) if isinstance(patch, int) else patch
    return (size[0] // height) * (size[1] // width)


def pool_state(state: Tensor, weights: Tensor, pool: str = "mean") -> Tensor:
    """What becomes of a state at one hook point: (batch, width) float32.

    Parameters
    ----------
    state
        (batch, T, width); some networks pass (batch x tokens, width) through their normalisations.
    weights
        (batch, T) float32. For a pool other than "mean", those of a sample are a single 1.
    """
    state = state.reshape(*weights.shape, -1)
    if pool == "mean":
        return pooling.weighted_sum(state, weights)
    return pooling.chosen_token(state, weights)


def position_limit(net: nn.Module) -> int | None:
    """The most tokens that a learned position table holds; None if positions are not learned."""
    for path, module in net.named_modules():
        is_table = re.search(r"(position_embeddings|embed_positions|wpe)$", path)
        if is_table and isinstance(module, nn.Embedding):
            # Tables with a row for padding begin to count behind it.
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return net.config.max_position_embeddings - first
    return None


@dataclass(frozen=True)
class HFModel:
    """A transformer and its L + 1 layers, one hook point each.

    `reader` is the tokenizer or image processor, `n_special` the number of special tokens in front
    of an image's patches, `max_tokens` the most that a sample may have. `reentrant` says that
    several threads may call `forward` at once. `hooks` are on the network, at `hook_points`.
    """

    name: str
    kind: str
    net: nn.Module
    reader: object
    hook_points: tuple[HookPoint, ...]
    site: str
    pool: str
    special_tokens: bool
    skip_first: int
    image_size: int | None
    n_special: int
    max_tokens: int | None
    device: torch.device
    dtype: str
    reentrant: bool = True
    hooks: KeptHooks | None = None

    def __post_init__(self):
        # Attached once, here, because threads share a model. A copy of it shares its hooks.
        if self.hooks is None:
            object.__setattr__(self, "hooks", KeptHooks(self.net, self.hook_points))

    @property
    def n_blocks(self) -> int:
        return len(self.hook_points) - 1

    @property
    def layers(self) -> list[int]:
        return list(range(len(self.hook_points)))

    @property
    def layer_names(self) -> list[str]:
        return [str(point) for point in self.hook_points]

    def forward(self, inputs) -> list[Tensor]:
        """Pooled representations of a batch.

        Parameters
        ----------
        inputs
            Texts, protein sequences or paths of images.

        Returns
        -------
        One (batch, width) float32 tensor a layer, on the device.
        """
        batch, weights = self.pixels(inputs) if self.kind == "image" else self.tokens(inputs)
        pooled: list = [None] * len(self.hook_points)

        # A state is pooled as it passes, so that memory never holds those of all layers.
        def keep(layer: int, values) -> None:
            pooled[layer] = pool_state(first_tensor(values), weights, self.pool)

        with (
            torch.inference_mode(),
            precision_of_call(self.dtype, self.device),
            self.hooks.heard_by(keep),
        ):
            self.net(**batch)
        return pooled

    def encode(self, inputs: Iterable[str]) -> tuple[list[list[int]], list[np.ndarray]]:
        """Token numbers of each sample, and for each token whether it counts."""
        texts = list(inputs)
        if self.kind == "protein" and self.net.config.model_type != "esm":
            texts = [" ".join(sequence.translate(RARE_AS_X)) for sequence in texts]
        with hub_files.quiet():
            encoded = self.reader(
                texts, return_special_tokens_mask=True, return_attention_mask=False
            )
        counts = []
        for special in encoded["special_tokens_mask"]:
            counts.append(self._counted(np.array(special, dtype=bool)))
        return encoded["input_ids"], counts

    def _counted(self, special: np.ndarray) -> np.ndarray:
        """Whether each token of a sample counts (T,), by whether it is a special one (T,)."""
        if self.pool == "cls":
            # Only a special token in front is a class token. Without one, nothing counts.
            in_front = np.arange(len(special)) == 0
            return special & in_front
        own_so_far = np.cumsum(~special)
        behind = own_so_far > self.skip_first
        if self.special_tokens:
            return special | behind
        return ~special & behind

    def tokens(self, inputs) -> tuple[dict[str, Tensor], Tensor]:
        """The network's input for texts or sequences, and pooling weights (batch, T).

        Samples are padded on the right to the longest, with an attention mask.
        """
        ids, counts = self.encode(inputs)
        shape = (len(ids), max(len(numbers) for numbers in ids))
        # On the right, where padding can't move the positions of a sample's own tokens.
        padded = np.full(shape, self._padding())
        mask = np.zeros(shape, np.int64)
        weights = np.zeros(shape, np.float32)
        for row, (numbers, counted) in enumerate(zip(ids, counts, strict=True)):
            padded[row, : len(numbers)] = numbers
            mask[row, : len(numbers)] = 1
            self._put_weights(weights[row], np.flatnonzero(counted))
        batch = {"input_ids": self.place(padded), "attention_mask": self.place(mask)}
        return batch, self.place(weights)

    def _padding(self) -> int:
        """A token to pad with. Models without one are masked there all the same."""
        if self.reader.pad_token_id is not None:
            return self.reader.pad_token_id
        return self.reader.eos_token_id or 0

    def _put_weights(self, weights: np.ndarray, counted: np.ndarray) -> None:
        """Set `weights` (..., T) of the positions `counted`, so that their sum pools them."""
        if self.pool == "last":
            weights[..., counted[-1:]] = 1
        else:
            weights[..., counted] = 1 / len(counted)

    def pixels(self, inputs) -> tuple[dict[str, Tensor], Tensor]:
        """The network's input for images, and pooling weights (batch, T)."""
        images = [open_image(path) for path in inputs]
        size = processor_size(self.reader, self.image_size)
        pixels = self.reader(images=images, return_tensors="pt", **size)["pixel_values"]
        n_tokens = self.n_special + n_patches(self.net.config, pixels.shape[-2:])
        counted = np.arange(0 if self.special_tokens else self.n_special, n_tokens)
        if self.pool == "cls":
            counted = np.array([0])
        weights = np.zeros((len(images), n_tokens), np.float32)
        self._put_weights(weights, counted)
        dtype = next(self.net.parameters()).dtype
        return {"pixel_values": self.place(pixels).to(dtype)}, self.place(weights)

    def place(self, array) -> Tensor:
        """An array on the device, copied while the device computes where it can."""
        return torch.as_tensor(array).to(self.device, non_blocking=True)

    def lengths(self, inputs) -> np.ndarray:
        """Number of tokens of each sample (N,), special tokens included.

        All images are resized to one size, so the first one tells for all.
        """
        if self.kind == "image":
            _, weights = self.pixels(inputs[:1])
            return np.full(len(inputs), weights.shape[1])
        ids, _ = self.encode(inputs)
        return np.array([len(numbers) for numbers in ids])

    def check(self, dataset) -> None:
        """Raise UserError where the data set does not suit the model.

        That is where it is of another kind, where a sample is too long, has nothing to average or
        a residue that the model does not know, and where an image is missing.
        """
        if dataset.kind != self.kind:
            raise UserError(
                f"{self.name} reads {self.kind}, but {dataset.name} holds {dataset.kind}; choose "
                "another"
            )
        if self.kind == "image":
            for path in dataset.inputs:
                if not Path(path).is_file():
                    raise UserError(f"image {path} is missing; restore it or correct the folder")
            self.lengths(dataset.inputs)
            return
        # In parts, because the tokens of a large data set take more memory than its texts.
        for start in range(0, len(dataset), 1024):
            part = slice(start, start + 1024)
            ids, counts = self.encode(dataset.inputs[part])
            for sample, numbers, counted in zip(dataset.ids[part], ids, counts, strict=True):
                self._check_sample(sample, numbers, counted)

    def _check_sample(self, sample, numbers: list[int], counted: np.ndarray) -> None:
        """UserError where the tokens of one sample can't be read or averaged."""
        if self.max_tokens is not None and len(numbers) > self.max_tokens:
            raise UserError(
                f"sample {sample} has {len(numbers)} tokens, above the limit of "
                f"{self.max_tokens}; shorten or drop it (proteins: max_length and too_long of the "
                "data set)"
            )
        if not counted.any() and self.pool == "cls":
            raise UserError(
                f"{self.name} puts no class token before sample {sample}; expected pool mean or "
                "last"
            )
        if not counted.any():
            raise UserError(f"sample {sample} has no token to average over; remove it")
        if self.kind == "protein" and self.reader.unk_token_id in numbers:
            raise UserError(
                f"sample {sample} has a residue that {self.name} does not know; remove or replace "
                "it"
            )
