"""ImageGPT as a PyTorch module that reads like the paper's Section 2: a stack of pre-norm transformer blocks over pixels.

It differs from GPT-2 in four places: the normalisation neither centres nor shifts, the activation is
x * sigmoid(1.702 x), the output embedding is not tied to the input embedding, and a learned start token is
shifted in front of the image (autoregressive models only; the `bert` models see the whole image at once).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from georep_utils.io import UserError
from georep_utils.precision import Linear

NORM_EPS = 1e-5
QUICK_GELU = 1.702


class Attention(nn.Module):
    """Multi-head attention whose N x N matrix is never written to memory."""

    def __init__(self, d_model: int, n_heads: int, causal: bool):
        super().__init__()
        self.n_heads, self.causal = n_heads, causal
        self.q, self.k, self.v, self.out = (Linear(d_model, d_model, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (w(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for w in (self.q, self.k, self.v))
        return self.out(self.attend(q, k, v).transpose(1, 2).flatten(2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(q k^T / sqrt(width of a head)) v, each (batch, heads, T, width of a head)."""
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)


class MLP(nn.Module):
    """Two linear maps around the quick GELU, x sigmoid(1.702 x) = silu(1.702 x) / 1.702. Both factors are kept in the
    weights (`QUICK_GELU` in `_places`), so that the activation is one pass over memory."""

    def __init__(self, d_model: int):
        super().__init__()
        self.up, self.down = Linear(d_model, 4 * d_model, bias=False), Linear(4 * d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.up(x), inplace=not torch.is_grad_enabled()))


class Block(nn.Module):
    """x + attention(ln_1(x)), then x + mlp(ln_2(x))."""

    def __init__(self, d_model: int, n_heads: int, causal: bool):
        super().__init__()
        self.ln_1, self.ln_2 = nn.RMSNorm(d_model, NORM_EPS), nn.RMSNorm(d_model, NORM_EPS)
        self.attn, self.mlp = Attention(d_model, n_heads, causal), MLP(d_model)


class ImageGPT(nn.Module):
    """An image transformer over `n_positions` colour tokens.

    `causal=True` is the autoregressive model, with a start token; `causal=False` is OpenAI's `bert` variant.
    """

    def __init__(self, n_blocks: int, d_model: int, n_heads: int, n_vocab: int, n_positions: int, causal: bool = True):
        super().__init__()
        self.n_blocks, self.d_model, self.n_heads, self.n_vocab = n_blocks, d_model, n_heads, n_vocab
        self.n_positions, self.causal = n_positions, causal
        self.wte, self.wpe = nn.Embedding(n_vocab, d_model), nn.Embedding(n_positions, d_model)
        self.sos = nn.Parameter(torch.zeros(d_model)) if causal else None
        self.blocks = nn.ModuleList(Block(d_model, n_heads, causal) for _ in range(n_blocks))
        self.ln_f = nn.RMSNorm(d_model, NORM_EPS)
        self.wtet = Linear(d_model, n_vocab, bias=False)

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, T) to vectors (batch, T, d_model). Autoregressive: the start token takes the first place and
        every token moves one place to the right, so that position t sees the pixels before t."""
        x = self.wte(tokens)
        if self.causal:
            x = torch.cat([self.sos.expand(len(x), 1, -1), x[:, :-1]], dim=1)
        return x + self.wpe.weight[: tokens.shape[1]]

    def states(self, tokens: Tensor) -> Iterator[tuple[str, int, Tensor]]:
        """Every place where a representation can be read, as (site, layer, (batch, T, width)), from the bottom up.

        Sites of block l: `input` before the first norm, `ln_1` after it (the paper's choice), `attn` after the
        attention has been added, `mlp` at the block's output. Then `ln_f` at layer L and `logits` at layer L + 1.
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
        """Logits (batch, T, n_vocab): at place t, those of token t."""
        for _, _, state in self.states(tokens):
            pass
        return state


def initialise(net: ImageGPT, seed: int) -> ImageGPT:
    """Random weights as OpenAI's code draws them: normal, deviation 0.02 (positions 0.01), projections back into the
    residual stream smaller by sqrt(2 L), norms at one."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in net.named_parameters():
        if "ln_" in name:
            nn.init.ones_(weight)
            continue
        deviation = 0.01 if name.startswith("wpe") else 0.02
        if name.endswith(("attn.out.weight", "mlp.down.weight")):
            deviation /= (2 * net.n_blocks) ** 0.5
        if name.endswith("mlp.up.weight"):
            deviation *= QUICK_GELU
        if name.endswith("mlp.down.weight"):
            deviation /= QUICK_GELU
        nn.init.normal_(weight, 0, deviation, generator=generator)
    return net


# ---------------------------------------------------------------------- OpenAI's variable names, in and out


def _places(net: ImageGPT) -> Iterator[tuple[str, Tensor, str, float]]:
    """(OpenAI's name, our parameter, layout, our factor): `heads_in` is (heads, width / heads, width) for q, k, v;
    `heads_out` the same shape for the output projection; `in_out` is a matrix stored (in, out)."""
    yield "model/wte", net.wte.weight, "same", 1
    yield "model/wpe", net.wpe.weight, "same", 1
    yield "model/wtet", net.wtet.weight, "same", 1
    yield "model/ln_f/g", net.ln_f.weight, "same", 1
    if net.causal:
        yield "model/sos", net.sos, "same", 1
    for layer, block in enumerate(net.blocks):
        at = f"model/h{layer}"
        yield f"{at}/ln_1/g", block.ln_1.weight, "same", 1
        yield f"{at}/ln_2/g", block.ln_2.weight, "same", 1
        yield f"{at}/attn/q_proj", block.attn.q.weight, "heads_in", 1
        yield f"{at}/attn/k_proj", block.attn.k.weight, "heads_in", 1
        yield f"{at}/attn/v_proj", block.attn.v.weight, "heads_in", 1
        yield f"{at}/attn/c_proj", block.attn.out.weight, "heads_out", 1
        yield f"{at}/mlp/c_fc/w", block.mlp.up.weight, "in_out", QUICK_GELU
        yield f"{at}/mlp/c_proj/w", block.mlp.down.weight, "in_out", 1 / QUICK_GELU


def from_arrays(arrays: Mapping[str, np.ndarray]) -> ImageGPT:
    """Build the model that `arrays` describes: every size, and whether it is autoregressive, is read from them.

    Raises UserError for a missing or extra variable and for shapes that don't belong together. Optimiser slots
    (names outside `model/`, or ending in Adam) are ignored.
    """
    arrays = {name: value for name, value in arrays.items() if name.startswith("model/") and "Adam" not in name}
    n_blocks = len({name.split("/")[1] for name in arrays if name.startswith("model/h")})
    try:
        n_vocab, d_model = arrays["model/wte"].shape
        n_positions, n_heads = len(arrays["model/wpe"]), len(arrays["model/h0/attn/q_proj"])
    except (KeyError, ValueError) as error:
        raise UserError(
            f"not an ImageGPT checkpoint: {error} is missing or has a wrong shape; expected OpenAI's "
            "variables model/wte, model/wpe, model/h0/attn/q_proj, ..."
        ) from None
    net = ImageGPT(n_blocks, d_model, n_heads, n_vocab, n_positions, causal="model/sos" in arrays)
    unknown = arrays.keys() - {name for name, *_ in _places(net)}
    if unknown:
        raise UserError(f"not an ImageGPT checkpoint: unexpected variable {min(unknown)}; check the prefix")
    with torch.no_grad():
        for name, weight, layout, factor in _places(net):
            if name not in arrays:
                raise UserError(f"the checkpoint lacks {name}; it is incomplete: fetch it again")
            value = torch.from_numpy(np.array(arrays[name], dtype=np.float32))
            if layout.startswith("heads"):
                value = value.reshape(-1, value.shape[-1])
            if layout in ("heads_out", "in_out"):
                value = value.T
            if value.shape != weight.shape:
                raise UserError(
                    f"{name} has shape {tuple(arrays[name].shape)}, which does not fit a model of width "
                    f"{d_model}, {n_heads} heads and {n_vocab} colours; fetch the checkpoint again"
                )
            weight.copy_(value * factor)
    return net.eval()


def to_arrays(net: ImageGPT, dtype=np.float32) -> dict[str, np.ndarray]:
    """The inverse of `from_arrays`: OpenAI's names, shapes and layouts."""
    arrays = {}
    for name, weight, layout, factor in _places(net):
        value = weight.detach().float().cpu() / factor
        value = value.T if layout in ("heads_out", "in_out") else value
        if layout.startswith("heads"):
            value = value.reshape(net.n_heads, -1, value.shape[-1])
        arrays[name] = np.ascontiguousarray(value.numpy().astype(dtype))
    return arrays
