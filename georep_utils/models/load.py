"""One way to load every model: ImageGPT from OpenAI's checkpoints, our own or the hub, and any Hugging Face transformer.

A model has `.name`, `.kind` (what it reads: tokens, protein, text or image), `.n_blocks`, `.layers` (numbers, as in the
paper), `.layer_names`, `.device`, and the methods `.forward(inputs)` (one pooled (batch, width) float32 tensor a layer),
`.lengths(inputs)` (tokens a sample) and `.check(dataset)` (UserError before the device is touched).
"""

from __future__ import annotations

import contextlib
import inspect
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.numpy import load_file

from georep_utils.models import hub_files as hf_files, huggingface as hf_models, imagegpt as igpt, tf_checkpoint as checkpoints
from georep_utils.io import REPOSITORY, UserError
from georep_utils.precision import find_device, matmul_precision

SIZES = {  # blocks, width, heads of OpenAI's models
    "s": (24, 512, 8),
    "m": (36, 1024, 8),
    "l": (48, 1536, 16),
}


def load(
    name_or_path: str, checkpoint=None, device="auto", dtype="float32", site="ln_1", pool="mean",
    random_init_seed=None, data_dir="data", **options,
) -> IGPTModel | hf_models.HFModel:  # fmt: skip
    """A model in eval mode on `device`, and the places to listen in it.

    name_or_path: "igpt" with `checkpoint`, a TensorFlow prefix or a .safetensors file under OpenAI's names (every size
    is read from it), below the repository or `data_dir`; "igpt" without one is OpenAI's untrained network of option
    `size` ("s", "m" or "l") and `causal`; else a Hugging Face name or folder, taken from `data_dir`/hub where that
    holds it. An ImageGPT of the hub becomes the same module as OpenAI's.
    dtype: "float32", "tf32" or "bfloat16". site: "ln_1" (the paper's), "input", "attn" or "mlp". pool: "mean" or "last"
    over the sequence. random_init_seed: the untrained network of the same sizes. options: see `hf_models.load`.
    Raises UserError for what can't be loaded or does not fit.
    """
    fetched = REPOSITORY / data_dir / "hub" / name_or_path
    source = str(fetched) if (fetched / "config.json").is_file() and not Path(name_or_path).is_dir() else name_or_path
    if name_or_path == "igpt" or is_imagegpt(source):
        device = find_device(device, dtype)
        for value, allowed, what in ((dtype, ("float32", "tf32", "bfloat16"), "dtype"), (pool, ("mean", "last"), "pool"),
                                     (site, hf_models.SITES, "site")):  # fmt: skip
            if value not in allowed:
                raise UserError(f"{what} is {value!r}; expected one of {', '.join(allowed)}")
        if odd := set(options) - {"size", "causal", "local_files_only"}:
            raise UserError(f"an ImageGPT has no option {min(odd)!r}; it has size and causal: correct model_options")
        net = load_igpt(source, checkpoint and find_checkpoint(checkpoint, data_dir), random_init_seed, **options)
        title = str(checkpoint or name_or_path) + ("" if random_init_seed is None else " (untrained)")
        net = net.to(device, torch.bfloat16 if dtype == "bfloat16" else torch.float32).requires_grad_(False)
        return IGPTModel(title, net, site, pool, device, dtype)
    if checkpoint is not None:
        raise UserError(
            f"checkpoint is {checkpoint!r}, but {name_or_path} is a Hugging Face model; leave it out, or set model to igpt"
        )
    known = set(inspect.signature(hf_models.load).parameters)
    if odd := set(options) - known:
        raise UserError(
            f"model {name_or_path} has no option {min(odd)!r}; correct model_options: {', '.join(sorted(known))}"
        )
    model = hf_models.load(source, device=device, dtype=dtype, site=site, pool=pool,
                           random_init_seed=random_init_seed, **options)  # fmt: skip
    title = str(name_or_path) + ("" if random_init_seed is None else " (untrained)")
    return replace(model, name=title)


def find_checkpoint(checkpoint: str, data_dir: str) -> str:
    """Where the file, or the TensorFlow checkpoint of this prefix, lies: below the repository, else below `data_dir`."""
    ending = "" if str(checkpoint).endswith(".safetensors") else ".index"
    places = [REPOSITORY / checkpoint, REPOSITORY / data_dir / checkpoint]
    for place in places:
        if place.with_name(place.name + ending).is_file():
            return str(place)
    where = " or ".join(f"{place}{ending}" for place in dict.fromkeys(places))
    raise UserError(f"checkpoint {checkpoint} is missing: expected {where}; run 01_download, or correct the run file")


def is_imagegpt(name_or_path: str) -> bool:
    """Whether a hub name or a local folder holds an ImageGPT."""
    config = Path(name_or_path) / "config.json"
    if config.is_file():
        return json.loads(config.read_text()).get("model_type") == "imagegpt"
    return str(name_or_path).startswith("openai/imagegpt-")


def load_igpt(name, checkpoint, seed, size=None, causal=True, local_files_only=False) -> igpt.ImageGPT:
    """The module alone, on the CPU in float32; `checkpoint` is a prefix or file that exists, or None."""
    if name != "igpt":
        net = igpt.from_arrays(hub_arrays(name, local_files_only))
    elif checkpoint is None:
        if size not in SIZES or seed is None:
            raise UserError(
                f"model igpt has no checkpoint, size {size!r} and seed {seed!r}; expected a checkpoint, or a "
                f"size of {', '.join(SIZES)} with random_init_seed for the untrained network"
            )
        n_blocks, d_model, n_heads = SIZES[size]
        net = igpt.ImageGPT(n_blocks, d_model, n_heads, 512, 1024, causal)
    elif str(checkpoint).endswith(".safetensors"):
        try:
            net = igpt.from_arrays(load_file(checkpoint))
        except SafetensorError as error:
            raise UserError(f"checkpoint {checkpoint} is damaged ({error}); restore the file") from None
    else:
        net = igpt.from_arrays(
            checkpoints.read_tf_checkpoint(checkpoint, lambda name: name.startswith("model/") and "Adam" not in name)
        )
    return (net if seed is None else igpt.initialise(net, seed)).eval()


def hub_arrays(name: str, local_files_only: bool) -> dict[str, np.ndarray]:
    """Hugging Face's ImageGPT weights under OpenAI's names: the start token is the last row of the input embedding, and
    the projections have biases that must be zero. UserError for variants that OpenAI's module does not compute."""
    from transformers import ImageGPTForCausalImageModeling

    try:
        with hf_files.quiet():
            net, info = ImageGPTForCausalImageModeling.from_pretrained(
                name,
                dtype=torch.float32,
                weights_only=True,
                local_files_only=local_files_only,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:  # noqa: BLE001
        raise hf_files.explain(name, error) from None
    weights = {key.removeprefix("transformer."): value.detach().numpy() for key, value in net.state_dict().items()}
    d_model, n_heads, config = net.config.n_embd, net.config.n_head, net.config
    if lost := sorted(info["missing_keys"] & dict(net.named_parameters()).keys()):
        raise UserError(f"{name} has no weights for {lost[0]}; expected all of them: fetch it again")
    if (config.activation_function, config.scale_attn_weights, config.scale_attn_by_inverse_layer_idx,
            config.layer_norm_epsilon) != ("quick_gelu", True, False, igpt.NORM_EPS):  # fmt: skip
        raise UserError(
            f"{name} changes ImageGPT's activation, attention scale or norm; expected openai/imagegpt-small, -medium or -large"
        )
    if any(value.any() for key, value in weights.items() if key.endswith(".bias") and value.dtype == np.float32):
        raise UserError(
            f"{name} has biases, which OpenAI's ImageGPT has not; expected openai/imagegpt-small, -medium or -large"
        )
    arrays = {"model/wte": weights["wte.weight"][:-1], "model/sos": weights["wte.weight"][-1],
              "model/wpe": weights["wpe.weight"], "model/wtet": weights["lm_head.weight"],
              "model/ln_f/g": weights["ln_f.weight"]}  # fmt: skip
    for layer in range(net.config.n_layer):
        ours, theirs = f"model/h{layer}", f"h.{layer}"
        projections = np.split(weights[f"{theirs}.attn.c_attn.weight"], 3, axis=1)
        for letter, matrix in zip("qkv", projections, strict=True):
            arrays[f"{ours}/attn/{letter}_proj"] = matrix.T.reshape(n_heads, -1, d_model)
        arrays[f"{ours}/attn/c_proj"] = weights[f"{theirs}.attn.c_proj.weight"].reshape(n_heads, -1, d_model)
        for part in ("mlp/c_fc", "mlp/c_proj"):
            arrays[f"{ours}/{part}/w"] = weights[f"{theirs}.{part.replace('/', '.')}.weight"]
        for part in ("ln_1", "ln_2"):
            arrays[f"{ours}/{part}/g"] = weights[f"{theirs}.{part}.weight"]
    return arrays


@dataclass(frozen=True)
class IGPTModel:
    """An ImageGPT with L + 2 places to listen: its L blocks, the final norm and the logits."""

    name: str
    net: igpt.ImageGPT
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
        return [f"h{layer}.{self.site}" for layer in range(self.n_blocks)] + ["ln_f", "logits"]

    def place(self, tokens) -> torch.Tensor:
        """Tokens (batch, T) on the device, copied while the device computes where it can."""
        tokens = torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int32))
        return (tokens.pin_memory() if self.device.type == "cuda" else tokens).to(self.device, non_blocking=True)

    @torch.inference_mode()
    def forward(self, inputs) -> list[torch.Tensor]:
        """One pooled (batch, width) float32 tensor a layer, on the device, for tokens (batch, T)."""
        pooled, gpu = [], self.device.type == "cuda"
        with matmul_precision(self.dtype, self.device) if gpu else contextlib.nullcontext():
            for site, _, state in self.net.states(self.place(inputs)):
                if site in (self.site, "ln_f", "logits"):
                    pooled.append(state.mean(1, dtype=torch.float32) if self.pool == "mean" else state[:, -1].float())
        return pooled

    @torch.inference_mode()
    def loss(self, inputs) -> float:
        """Mean negative log-likelihood of the tokens (batch, T), in nats a token, each given those before it."""
        tokens = self.place(inputs)
        return F.cross_entropy(self.net(tokens).float().flatten(0, 1), tokens.long().flatten()).item()

    def lengths(self, inputs) -> np.ndarray:
        """Tokens of each sample (N,)."""
        return np.full(len(inputs), inputs.shape[1])

    def check(self, dataset) -> None:
        """UserError where the data set has other tokens, more places or more colours than the model."""
        if dataset.kind != "tokens":
            raise UserError(
                f"{self.name} reads colour tokens, but data set {dataset.name} holds {dataset.kind}; choose an image data set in tokens"
            )
        if dataset.inputs.shape[1] > self.net.n_positions:
            raise UserError(
                f"data set {dataset.name} has {dataset.inputs.shape[1]} tokens an image, but {self.name} has "
                f"{self.net.n_positions} positions; choose images of the model's size"
            )
        for start in range(0, len(dataset), 8192):
            block = dataset.inputs[start : start + 8192]
            if block.min() < 0 or block.max() >= self.net.n_vocab:
                raise UserError(
                    f"data set {dataset.name} has tokens {block.min()}..{block.max()}, but {self.name} knows "
                    f"0..{self.net.n_vocab - 1}; use the palette that the model was trained with"
                )
