"""ImageGPT, whole: the network, its weights from four places, and the model that is read.

An image is a row of colour tokens, and the network is a stack of pre-norm transformer blocks over
them, as in GPT-2:

    x = embed(tokens)
    for each block:  x = x + attention(ln_1(x));  x = x + mlp(ln_2(x))
    logits = ln_f(x) @ wtet

It differs from GPT-2 in four places. The normalisation neither centres nor shifts (RMSNorm). The
activation is x * sigmoid(1.702 x). The output embedding `wtet` is not tied to the input embedding
`wte`. And in autoregressive models a learned start token stands in front of the image, while
OpenAI's `bert` variants see all of the image at once.

Weights come from OpenAI's TensorFlow checkpoints, from .safetensors files with OpenAI's names, or
from the ImageGPT of the Hugging Face hub; or they are drawn at random as OpenAI's code draws them.
Whichever it is, they pass through one dictionary of arrays under OpenAI's names (`from_arrays`), so
that the numbers of one network do not depend on where it came from.

The paper reads each block at the output of its first normalisation, averaged over the sequence
(`ImageGPTModel`).

References
----------
M. Chen et al., Generative Pretraining from Pixels, ICML 2020, and the code beside it (image-gpt).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from georep_utils.io import UserError
from georep_utils.models import hub_files, pooling, tf_checkpoint
from georep_utils.precision import Linear, linear, precision_of_call

# Blocks, width and heads of OpenAI's models; each has 512 colours and 32 x 32 positions.
SIZES = {
    "s": (24, 512, 8),
    "m": (36, 1024, 8),
    "l": (48, 1536, 16),
}
N_COLOURS = 512
N_POSITIONS = 1024

NORM_EPS = 1e-5
QUICK_GELU = 1.702


# -------------------------------------------------------------------------------------- the network


class Attention(nn.Module):
    """Multi-head attention: softmax(q k^T / sqrt(width of a head)) v, for each head."""

    def __init__(self, d_model: int, n_heads: int, causal: bool):
        super().__init__()
        self.n_heads = n_heads
        self.causal = causal
        self.q = Linear(d_model, d_model, bias=False)
        self.k = Linear(d_model, d_model, bias=False)
        self.v = Linear(d_model, d_model, bias=False)
        self.out = Linear(d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q = self.split(self.q(x))
        k = self.split(self.k(x))
        v = self.split(self.v(x))
        heads = self.attend(q, k, v)
        # (batch, heads, T, width of a head) -> (batch, T, d_model)
        return self.out(heads.transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> Tensor:
        """(batch, T, d_model) to (batch, heads, T, width of a head)."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The attention of all heads. Its T x T matrix is never written to memory."""
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)


class MLP(nn.Module):
    """Two linear maps around the quick GELU, x * sigmoid(1.702 x)."""

    def __init__(self, d_model: int):
        super().__init__()
        self.up = Linear(d_model, 4 * d_model, bias=False)
        self.down = Linear(4 * d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # x sigmoid(1.702 x) = silu(1.702 x) / 1.702. Both factors are kept in the weights (see
        # `_variables`): `up` gives 1.702 x, and `down` divides. So the activation is one pass over
        # the largest array of the network, and needs no second one where no gradient is wanted.
        return self.down(F.silu(self.up(x), inplace=not torch.is_grad_enabled()))


class Block(nn.Module):
    """x + attention(ln_1(x)), then x + mlp(ln_2(x)): see `ImageGPT.states`."""

    def __init__(self, d_model: int, n_heads: int, causal: bool):
        super().__init__()
        # In this order, on which the random numbers of `initialise` depend.
        self.ln_1 = nn.RMSNorm(d_model, NORM_EPS)
        self.ln_2 = nn.RMSNorm(d_model, NORM_EPS)
        self.attn = Attention(d_model, n_heads, causal)
        self.mlp = MLP(d_model)


def _blank_embedding(n: int, d_model: int) -> nn.Embedding:
    """An embedding of zeros: `initialise` or a checkpoint fills it.

    PyTorch would draw normal numbers. On its meta device (see `from_arrays`) it imports a compiler
    for that, which takes a second in every process that loads a network.
    """
    return nn.Embedding.from_pretrained(torch.zeros(n, d_model), freeze=False)


class ImageGPT(nn.Module):
    """A transformer over images of `n_positions` tokens, each one of `n_vocab` colours.

    `causal=True` is the autoregressive model, with a start token; `causal=False` is OpenAI's `bert`
    variant, which sees the whole image and has none.
    """

    def __init__(
        self,
        n_blocks: int,
        d_model: int,
        n_heads: int,
        n_vocab: int,
        n_positions: int,
        causal: bool = True,
    ):
        super().__init__()
        self.n_blocks = n_blocks
        self.d_model = d_model
        self.n_heads = n_heads
        self.n_vocab = n_vocab
        self.n_positions = n_positions
        self.causal = causal
        # Named as OpenAI names them: embeddings of tokens and positions, start of sequence, and the
        # (transposed) output embedding.
        self.wte = _blank_embedding(n_vocab, d_model)
        self.wpe = _blank_embedding(n_positions, d_model)
        self.sos = nn.Parameter(torch.zeros(d_model)) if causal else None
        self.blocks = nn.ModuleList(Block(d_model, n_heads, causal) for _ in range(n_blocks))
        self.ln_f = nn.RMSNorm(d_model, NORM_EPS)
        self.wtet = Linear(d_model, n_vocab, bias=False)

    def embed(self, tokens: Tensor) -> Tensor:
        """Vectors (batch, T, d_model) of tokens (batch, T)."""
        x = self.wte(tokens)
        if self.causal:
            # The start token takes the first place and every token moves one place to the right,
            # so that place t, which sees what is at places up to t, predicts pixel t from those
            # before it. The last pixel predicts nothing and is left out.
            start = self.sos.expand(len(x), 1, -1)
            x = torch.cat([start, x[:, :-1]], dim=1)
        return x + self.wpe.weight[: tokens.shape[1]]

    def states(self, tokens: Tensor) -> Iterator[tuple[str, int, Tensor]]:
        """Every hook point, from the bottom up, as (site, layer, state (batch, T, width)).

        Sites of block l: "input" before the first norm, "ln_1" after it (the paper's choice),
        "attn" after the attention has been added, "mlp" at the block's output. Then "ln_f" as layer
        L and "logits" as layer L + 1.
        """
        x = self.embed(tokens)
        for layer, block in enumerate(self.blocks):
            yield "input", layer, x
            h = block.ln_1(x)
            yield "ln_1", layer, h
            x = x + block.attn(h)
            yield "attn", layer, x
            x = x + block.mlp(block.ln_2(x))
            yield "mlp", layer, x
        h = self.ln_f(x)
        yield "ln_f", self.n_blocks, h
        yield "logits", self.n_blocks + 1, self.wtet(h)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (batch, T, n_vocab) for tokens (batch, T): at place t, those of token t."""
        last = None
        for _, _, state in self.states(tokens):
            last = state
        return last


@dataclass(frozen=True)
class FoldedBlock:
    """The weights of a block, brought together for reading it (see `folded_states`).

    `gain` is that of ln_1. `qkv` makes queries, keys and values in one product. The gains of the
    norms are part of `qkv` and of `up`.
    """

    gain: Tensor
    qkv: Tensor
    out: Tensor
    up: Tensor
    down: Tensor


def fold(block: Block) -> FoldedBlock:
    """The folded weights of a block. They are copies: later changes of the block don't reach them.

    A norm's gain multiplies the columns of the matrix behind it: W (g * h) = (W * g) h.
    """
    attn = block.attn
    qkv = torch.cat([attn.q.weight, attn.k.weight, attn.v.weight])
    return FoldedBlock(
        gain=block.ln_1.weight,
        qkv=qkv * block.ln_1.weight,
        out=attn.out.weight,
        up=block.mlp.up.weight * block.ln_2.weight,
        down=block.mlp.down.weight,
    )


def folded_states(
    net: ImageGPT, folded: list[FoldedBlock], tokens: Tensor
) -> Iterator[tuple[str, int, Tensor, Tensor | None]]:
    """`ImageGPT.states` with fewer and larger operations, for reading without a gradient.

    On a CPU, where a narrow network spends much of its time between its products.

    Yields
    ------
    (site, layer, state, gain). The state of the network is `gain * state`; no gain is a gain of 1.
    Pooling is linear, so that the gain may be applied to what is pooled.
    """
    x = net.embed(tokens)
    for layer, (block, weights) in enumerate(zip(net.blocks, folded, strict=True)):
        yield "input", layer, x, None
        h = unit(x)
        yield "ln_1", layer, h, weights.gain
        # (batch, T, 3 d_model) -> three of (batch, heads, T, width of a head)
        split = linear(h, weights.qkv).unflatten(-1, (3, net.n_heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)
        heads = block.attn.attend(q, k, v)
        x = x + linear(heads.transpose(1, 2).flatten(2), weights.out)
        yield "attn", layer, x, None
        h = F.silu(linear(unit(x), weights.up), inplace=True)
        x = x + linear(h, weights.down)
        yield "mlp", layer, x, None
    h = net.ln_f(x)
    yield "ln_f", net.n_blocks, h, None
    yield "logits", net.n_blocks + 1, net.wtet(h), None


def unit(x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + eps) along the last axis: an RMSNorm without its gain."""
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    return x * square.div_(x.shape[-1]).add_(NORM_EPS).rsqrt_()


def initialise(net: ImageGPT, seed: int) -> ImageGPT:
    """Give `net` random weights as OpenAI's code draws them, and return it.

    They are normal with deviation 0.02 (positions: 0.01). Projections back into the residual stream
    are smaller by sqrt(2 L), because 2 L of them add up in it. Norms are one.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, weight in net.named_parameters():
        if "ln_" in name:
            nn.init.ones_(weight)
            continue
        deviation = 0.01 if name.startswith("wpe") else 0.02
        if name.endswith(("attn.out.weight", "mlp.down.weight")):
            deviation /= (2 * net.n_blocks) ** 0.5
        # The factors of the activation are part of our weights (see `MLP`), not of OpenAI's.
        if name.endswith("mlp.up.weight"):
            deviation *= QUICK_GELU
        if name.endswith("mlp.down.weight"):
            deviation /= QUICK_GELU
        nn.init.normal_(weight, 0, deviation, generator=generator)
    return net


# ----------------------------------------------------------------------- OpenAI's names, in and out


@dataclass(frozen=True)
class Variable:
    """One of OpenAI's variables, the parameter of ours that holds it, and how the two differ.

    Ours is `factor` times theirs. Theirs is stored, by `layout`,

    - "same": in the same shape;
    - "in_out": as a matrix (in, out), where PyTorch's is (out, in);
    - "heads_in": as (heads, width of a head, width), where ours has one row for each of a head's
      outputs: the projections to q, k and v;
    - "heads_out": in the same shape, where ours has one column for each of a head's outputs: the
      projection out of attention.
    """

    name: str
    weight: Tensor
    layout: str = "same"
    factor: float = 1

    def shape(self, n_heads: int) -> tuple[int, ...]:
        """The shape of OpenAI's array."""
        if self.layout.startswith("heads"):
            width = len(self.weight)
            return (n_heads, width // n_heads, width)
        return tuple(self.weight.T.shape if self.layout == "in_out" else self.weight.shape)

    def from_theirs(self, array: np.ndarray) -> Tensor:
        value = torch.from_numpy(np.array(array, dtype=np.float32))
        if self.layout.startswith("heads"):
            value = value.flatten(0, 1)
        if self.layout in ("heads_out", "in_out"):
            value = value.T
        return value * self.factor

    def to_theirs(self, n_heads: int) -> np.ndarray:
        value = self.weight.detach().float().cpu() / self.factor
        if self.layout in ("heads_out", "in_out"):
            value = value.T
        return value.reshape(self.shape(n_heads)).numpy()


def _variables(net: ImageGPT) -> Iterator[Variable]:
    yield Variable("model/wte", net.wte.weight)
    yield Variable("model/wpe", net.wpe.weight)
    yield Variable("model/wtet", net.wtet.weight)
    yield Variable("model/ln_f/g", net.ln_f.weight)
    if net.causal:
        yield Variable("model/sos", net.sos)
    for layer, block in enumerate(net.blocks):
        name = f"model/h{layer}"
        yield Variable(f"{name}/ln_1/g", block.ln_1.weight)
        yield Variable(f"{name}/ln_2/g", block.ln_2.weight)
        yield Variable(f"{name}/attn/q_proj", block.attn.q.weight, "heads_in")
        yield Variable(f"{name}/attn/k_proj", block.attn.k.weight, "heads_in")
        yield Variable(f"{name}/attn/v_proj", block.attn.v.weight, "heads_in")
        yield Variable(f"{name}/attn/c_proj", block.attn.out.weight, "heads_out")
        yield Variable(f"{name}/mlp/c_fc/w", block.mlp.up.weight, "in_out", QUICK_GELU)
        yield Variable(f"{name}/mlp/c_proj/w", block.mlp.down.weight, "in_out", 1 / QUICK_GELU)


def from_arrays(arrays: Mapping[str, np.ndarray]) -> ImageGPT:
    """Build the network that OpenAI's variables describe.

    Parameters
    ----------
    arrays
        Name -> array. Every size is read from them, and whether the network is autoregressive (then
        there is a start token). An optimiser's variables are ignored.

    Returns
    -------
    The network in eval mode on the CPU, in float32.

    Raises
    ------
    UserError
        For a missing or an extra variable, and for shapes that don't belong together.
    """
    arrays = {name: array for name, array in arrays.items() if is_weight(name)}
    # On PyTorch's meta device a network has shapes and no memory. So nothing is allocated before
    # all shapes are known to be right, and no random numbers are drawn to be overwritten.
    with torch.device("meta"):
        net = _network_for(arrays)
    expected = {variable.name: variable.shape(net.n_heads) for variable in _variables(net)}
    unknown = arrays.keys() - expected.keys()
    if unknown:
        raise UserError(
            f"not an ImageGPT checkpoint: unexpected variable {min(unknown)}; check the prefix"
        )
    for name, shape in expected.items():
        if name not in arrays:
            raise UserError(f"the checkpoint lacks {name}; it is incomplete: fetch it again")
        if arrays[name].shape != shape:
            raise UserError(
                f"{name} has shape {arrays[name].shape}, which does not fit a model of width "
                f"{net.d_model}, {net.n_heads} heads and {net.n_vocab} colours; fetch the "
                "checkpoint again"
            )
    net.to_empty(device="cpu")
    with torch.no_grad():
        for variable in _variables(net):
            variable.weight.copy_(variable.from_theirs(arrays[variable.name]))
    return net.eval()


def _network_for(arrays: Mapping[str, np.ndarray]) -> ImageGPT:
    """A network of the sizes that a few of the variables tell."""
    for name, rank in {"model/wte": 2, "model/wpe": 2, "model/h0/attn/q_proj": 3}.items():
        if name not in arrays or arrays[name].ndim != rank or 0 in arrays[name].shape:
            raise UserError(
                f"not an ImageGPT checkpoint: {name!r} is missing or has a wrong shape; expected "
                "OpenAI's variables model/wte, model/wpe, model/h0/attn/q_proj, ...: check the name"
            )
    n_blocks = len({name.split("/")[1] for name in arrays if name.startswith("model/h")})
    n_vocab, d_model = arrays["model/wte"].shape
    n_heads = len(arrays["model/h0/attn/q_proj"])
    n_positions = len(arrays["model/wpe"])
    if d_model % n_heads:
        raise UserError(
            f"not an ImageGPT checkpoint: {n_heads} heads don't divide a width of {d_model}; fetch "
            "the checkpoint again"
        )
    causal = "model/sos" in arrays
    return ImageGPT(n_blocks, d_model, n_heads, n_vocab, n_positions, causal)


def to_arrays(net: ImageGPT, dtype=np.float32) -> dict[str, np.ndarray]:
    """The inverse of `from_arrays`: OpenAI's names, shapes and layouts."""
    arrays = {}
    for variable in _variables(net):
        theirs = variable.to_theirs(net.n_heads)
        arrays[variable.name] = np.ascontiguousarray(theirs.astype(dtype))
    return arrays


def is_weight(name: str) -> bool:
    """Whether a variable of a checkpoint is a weight, and not a part of the optimiser's state."""
    return name.startswith("model/") and "Adam" not in name


# -------------------------------------------------------------------------- where weights come from


def read_arrays(
    place: str | Path, name: str, local_files_only: bool = False
) -> dict[str, np.ndarray]:
    """OpenAI's variables of an ImageGPT.

    Parameters
    ----------
    place
        A .safetensors file; the prefix of a TensorFlow checkpoint; a folder of the Hugging Face
        hub, or a name on it.
    name
        What errors call it.
    local_files_only
        For a name of the hub, whether only its cache on this machine is looked at.

    Raises
    ------
    UserError
        If it can't be read, or is no ImageGPT of OpenAI's kind.
    """
    if _is_safetensors(place):
        try:
            tensors = safetensors.torch.load_file(place)
        except SafetensorError as error:
            raise UserError(f"checkpoint {place} is damaged ({error}); restore the file") from None
        return {key: tensor.float().numpy() for key, tensor in tensors.items()}
    if _is_tensorflow(place):
        return tf_checkpoint.read_tf_checkpoint(place, is_weight)
    net, missing = hub_files.load_imagegpt(place, name, local_files_only)
    return _arrays_of_hub_network(net, missing, name)


def files(place: str | Path | None, untrained: bool = False) -> list[Path]:
    """The files that decide the weights from `place` (see `read_arrays`); none for None.

    An untrained network takes its sizes from the same files.
    """
    if place is None:
        return []
    if _is_safetensors(place):
        return [Path(place)]
    if _is_tensorflow(place):
        return tf_checkpoint.checkpoint_files(place, is_weight)
    folder = Path(place)
    return [hub_files.config_file(folder), *hub_files.weight_files(folder)]


def _is_safetensors(place: str | Path) -> bool:
    return str(place).endswith(".safetensors")


def _is_tensorflow(place: str | Path) -> bool:
    return Path(f"{place}.index").is_file()


def _arrays_of_hub_network(net: nn.Module, missing: list[str], name: str) -> dict[str, np.ndarray]:
    """OpenAI's variables from the ImageGPT of transformers."""
    config = net.config
    weights = {
        key.removeprefix("transformer."): value.detach().numpy()
        for key, value in net.state_dict().items()
    }
    _require_openais_kind(config, weights, missing, name)
    arrays = {
        # The start token is the last row of the input embedding there.
        "model/wte": weights["wte.weight"][:-1],
        "model/sos": weights["wte.weight"][-1],
        "model/wpe": weights["wpe.weight"],
        "model/wtet": weights["lm_head.weight"],
        "model/ln_f/g": weights["ln_f.weight"],
    }
    by_heads = (config.n_head, -1, config.n_embd)
    for layer in range(config.n_layer):
        ours = f"model/h{layer}"
        theirs = f"h.{layer}"
        # One matrix (in, 3 x out) holds the projections to q, k and v.
        projections = np.split(weights[f"{theirs}.attn.c_attn.weight"], 3, axis=1)
        for letter, matrix in zip("qkv", projections, strict=True):
            arrays[f"{ours}/attn/{letter}_proj"] = matrix.T.reshape(by_heads)
        out = weights[f"{theirs}.attn.c_proj.weight"]
        arrays[f"{ours}/attn/c_proj"] = out.reshape(by_heads)
        arrays[f"{ours}/mlp/c_fc/w"] = weights[f"{theirs}.mlp.c_fc.weight"]
        arrays[f"{ours}/mlp/c_proj/w"] = weights[f"{theirs}.mlp.c_proj.weight"]
        arrays[f"{ours}/ln_1/g"] = weights[f"{theirs}.ln_1.weight"]
        arrays[f"{ours}/ln_2/g"] = weights[f"{theirs}.ln_2.weight"]
    return arrays


def _require_openais_kind(
    config, weights: Mapping[str, np.ndarray], missing: list[str], name: str
) -> None:
    """UserError where the network of transformers computes something that ours does not."""
    if missing:
        raise UserError(
            f"{name} has no weights for {missing[0]}; expected all of them: fetch it again"
        )
    as_openai = {
        "activation_function": "quick_gelu",
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "layer_norm_epsilon": NORM_EPS,
    }
    if any(getattr(config, key) != value for key, value in as_openai.items()):
        raise UserError(
            f"{name} changes ImageGPT's activation, attention scale or norm; expected "
            "openai/imagegpt-small, -medium or -large"
        )
    biases = [
        value
        for key, value in weights.items()
        if key.endswith(".bias") and value.dtype == np.float32  # others are the causal masks
    ]
    if any(bias.any() for bias in biases):
        raise UserError(
            f"{name} has biases, which OpenAI's ImageGPT has not; expected openai/imagegpt-small, "
            "-medium or -large"
        )


# ---------------------------------------------------------------------------------------- the model


@dataclass(frozen=True)
class Options:
    """What a run file may say of an ImageGPT under `model_options`.

    size : str, default None
        Of an untrained network without a checkpoint: OpenAI's "s", "m" or "l". A checkpoint says
        its own.
    causal : bool, default true
        Of an untrained network without a checkpoint: whether a token sees only those before it. A
        checkpoint says so itself.
    local_files_only : bool, default false
        Never ask the hub.
    """

    size: str | None = None
    causal: bool = True
    local_files_only: bool = False

    def __post_init__(self):
        if self.size is not None and self.size not in SIZES:
            raise UserError(
                f"size is {self.size!r}; expected a checkpoint, or a size of {', '.join(SIZES)} "
                "with random_init_seed for the untrained network"
            )
        for name in ("causal", "local_files_only"):
            if not isinstance(getattr(self, name), bool):
                raise UserError(
                    f"{name} is {getattr(self, name)!r}; expected true or false: correct "
                    "model_options"
                )


def load_network(
    place: str | Path | None, name: str, random_init_seed: int | None, options: Options
) -> ImageGPT:
    """The network alone, in eval mode on the CPU, in float32.

    `place` is as in `read_arrays`, or None for OpenAI's network of `options.size`, which has random
    weights. With a seed, any network gets random weights.
    """
    if place is None:
        n_blocks, d_model, n_heads = SIZES[options.size]
        net = ImageGPT(n_blocks, d_model, n_heads, N_COLOURS, N_POSITIONS, options.causal)
    else:
        net = from_arrays(read_arrays(place, name, options.local_files_only))
    if random_init_seed is not None:
        initialise(net, random_init_seed)
    return net.eval()


def load(
    place: str | Path | None,
    name: str,
    device: torch.device,
    dtype: str,
    site: str,
    pool: str,
    random_init_seed: int | None,
    options: Options,
) -> ImageGPTModel:
    """An ImageGPT ready to be read: see `georep_utils.models.load.load`, which calls this.

    Parameters
    ----------
    place
        A checkpoint, a folder or a name on the hub as in `read_arrays`; None for an untrained
        network of `options.size`.
    name
        What errors and tables call it.

    Raises
    ------
    UserError
        For what can't be read.
    """
    net = load_network(place, name, random_init_seed, options)
    torch_dtype = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    net = net.to(device, torch_dtype).requires_grad_(False)
    return ImageGPTModel(name, net, site, pool, device, dtype)


@dataclass(frozen=True)
class ImageGPTModel:
    """An ImageGPT and its L + 2 layers: its L blocks, the final norm and the logits.

    `site` is where a block is read ("ln_1", "input", "attn" or "mlp"), `pool` how the sequence
    becomes one vector ("mean" or "last"). `reentrant` says that several threads may call `forward`
    at once.
    """

    name: str
    net: ImageGPT
    site: str
    pool: str
    device: torch.device
    dtype: str
    kind: str = "tokens"
    reentrant: bool = True

    @property
    def n_blocks(self) -> int:
        return self.net.n_blocks

    @property
    def layers(self) -> list[int]:
        return list(range(self.n_blocks + 2))

    @property
    def layer_names(self) -> list[str]:
        blocks = [f"h{layer}.{self.site}" for layer in range(self.n_blocks)]
        return [*blocks, "ln_f", "logits"]

    def place(self, tokens) -> Tensor:
        """Tokens (batch, T) on the device, copied while the device computes where it can."""
        tokens = torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int32))
        if self.device.type == "cuda":
            tokens = tokens.pin_memory()
        return tokens.to(self.device, non_blocking=True)

    @torch.inference_mode()
    def forward(self, inputs) -> list[Tensor]:
        """Pooled representations of a batch.

        Parameters
        ----------
        inputs
            Tokens (batch, T).

        Returns
        -------
        One (batch, width) float32 tensor a layer, on the device.
        """
        return self.forward_places([self], inputs)[0]

    def at(self, site: str, pool: str) -> ImageGPTModel:
        """The same network read at another place."""
        return replace(self, site=site, pool=pool)

    @torch.inference_mode()
    def forward_places(self, places: Sequence[ImageGPTModel], inputs) -> list[list[Tensor]]:
        """What `forward` of each of some places of this network gives, from one pass."""
        pooled: list[list[Tensor]] = [[] for _ in places]
        with precision_of_call(self.dtype, self.device):
            for site, state, gain in self._states(self.place(inputs)):
                for found, model in zip(pooled, places, strict=True):
                    if site in (model.site, "ln_f", "logits"):
                        vectors = model._pool(state)
                        found.append(vectors if gain is None else vectors * gain)
        return pooled

    def _states(self, tokens: Tensor) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """Site, state and gain (see `folded_states`) of every hook point."""
        if self.device.type == "cpu" and self.dtype == "float32":
            for site, _, state, gain in folded_states(self.net, self._folded, tokens):
                yield site, state, gain
            return
        for site, _, state in self.net.states(tokens):
            yield site, state, None

    @functools.cached_property
    def _folded(self) -> list[FoldedBlock]:
        return [fold(block) for block in self.net.blocks]

    def _pool(self, state: Tensor) -> Tensor:
        # Sums over a thousand tokens need float32, whatever the network computes in. On a CPU,
        # PyTorch copies a state to add it up in another type than its own.
        if self.pool == "mean" and state.device.type == "cpu" and state.dtype == torch.bfloat16:
            return pooling.mean(state)
        if self.pool == "mean":
            return state.mean(1, dtype=torch.float32)
        return state[:, -1].float()

    @torch.inference_mode()
    def loss(self, inputs) -> float:
        """Mean negative log-likelihood of tokens (batch, T), in nats a token.

        Each token is predicted from those before it.
        """
        tokens = self.place(inputs)
        logits = self.net(tokens).float()
        return F.cross_entropy(logits.flatten(0, 1), tokens.long().flatten()).item()

    def lengths(self, inputs) -> np.ndarray:
        """Number of tokens of each sample (N,)."""
        return np.full(len(inputs), inputs.shape[1])

    def check(self, dataset) -> None:
        """Raise UserError where the data set does not suit the model.

        That is where it holds something else than tokens, longer images or more colours.
        """
        if dataset.kind != "tokens":
            raise UserError(
                f"{self.name} reads colour tokens, but data set {dataset.name} holds "
                f"{dataset.kind}; choose an image data set in tokens"
            )
        n_tokens = dataset.inputs.shape[1]
        if n_tokens > self.net.n_positions:
            raise UserError(
                f"data set {dataset.name} has {n_tokens} tokens an image, but {self.name} has "
                f"{self.net.n_positions} positions; choose images of the model's size"
            )
        # In parts, because the inputs of a large data set are mapped from a file.
        for start in range(0, len(dataset), 8192):
            part = dataset.inputs[start : start + 8192]
            lowest = part.min()
            highest = part.max()
            if lowest < 0 or highest >= self.net.n_vocab:
                raise UserError(
                    f"data set {dataset.name} has tokens {lowest}..{highest}, but {self.name} "
                    f"knows 0..{self.net.n_vocab - 1}; use the palette that the model was trained "
                    "with"
                )
