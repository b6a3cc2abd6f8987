"""Time extraction against transformers' ImageGPTModel.

    python benchmarks/bench_extract.py [--quick] [--repeats 5] [--device auto]

The other side is the class as transformers ships it (eager attention, all hidden states kept), with
its states averaged over the sequence, in batches of several sizes. Ours is `clouds.extract`, files
included. Beside the comparison stand

* the arithmetic at the peak rate, which is measured in turn with it;
* what a lower precision changes in the results, layer by layer of the bundled model;
* the peak memory of an extraction.

Writes benchmarks/results/extract-<device>.json. Every ratio is of two things that were timed in
turn in one run: see `timing.py`.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from timing import (
    Floor,
    add_device,
    arguments,
    compare,
    high_water,
    in_fresh_process,
    machine_facts,
    save,
    wait,
)

from georep_utils import clouds
from georep_utils.data import datasets
from georep_utils.data.samples import Dataset
from georep_utils.geometry import overlap
from georep_utils.geometry.neighbors import Neighbors, nearest_neighbors
from georep_utils.models import imagegpt
from georep_utils.models import load as models
from georep_utils.precision import find_device

BUNDLED = "assets/igpt-mini/trained.safetensors"
OTHERS = "transformers' ImageGPTModel, eager"
K = 10  # neighbours of which overlaps are made


@dataclass(frozen=True)
class Shape:
    """The sizes of an ImageGPT, and what the results call it."""

    name: str
    n_blocks: int
    width: int
    n_heads: int
    n_vocab: int
    n_positions: int

    def operations(self) -> float:
        """Multiplications and additions of one image.

        Of a block: 24 width^2 a token for its matrices (4 of the attention, 8 of the MLP, two
        operations a number), and the causal half of the products of the attention. Of the logits:
        one matrix.
        """
        block = 24 * self.width**2 + 2 * self.n_positions * self.width
        logits = 2 * self.width * self.n_vocab
        return float((self.n_blocks * block + logits) * self.n_positions)

    def random_tokens(self, n: int, dtype=np.int64) -> np.ndarray:
        """Tokens of n images (n, n_positions), always the same."""
        rng = np.random.default_rng(0)
        return rng.integers(0, self.n_vocab, (n, self.n_positions), dtype=dtype)


@dataclass(frozen=True)
class Comparison:
    """A shape, so many images, and batches of transformers' model."""

    shape: Shape
    n: int
    batch_sizes: tuple[int, ...]


QUICK = Shape("4 blocks of width 64, 196 tokens", 4, 64, 4, 16, 196)
SMALL = Shape("24 blocks of width 64, 196 tokens", 24, 64, 2, 16, 196)
IGPT_S = Shape("iGPT-S, 1024 tokens", 24, 512, 8, 512, 1024)


# ------------------------------------------------------------------------------------ the two sides


def our_model(shape: Shape, device: torch.device, dtype: str) -> imagegpt.ImageGPTModel:
    """A randomly initialised model of the given shape, as `models.load` would make it."""
    net = imagegpt.ImageGPT(
        shape.n_blocks, shape.width, shape.n_heads, shape.n_vocab, shape.n_positions
    )
    net = imagegpt.initialise(net, 0).eval()
    torch_dtype = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    net = net.to(device, torch_dtype).requires_grad_(False)
    return imagegpt.ImageGPTModel("benchmark", net, "ln_1", "mean", device, dtype)


def extract_all(model: imagegpt.ImageGPTModel, data: Dataset) -> None:
    """All of extraction, files included."""
    with tempfile.TemporaryDirectory() as folder:
        clouds.extract(model, data, Path(folder) / "r", progress=False)
    wait(model.device)


def transformers_model(shape: Shape, device: torch.device) -> Callable:
    """A function that averages the hidden states of transformers' model of that shape.

    It takes tokens (n, n_positions) and the size of a batch.
    """
    from transformers import ImageGPTConfig, ImageGPTModel

    config = ImageGPTConfig(
        vocab_size=shape.n_vocab + 1,  # theirs counts the start token
        n_positions=shape.n_positions,
        n_embd=shape.width,
        n_layer=shape.n_blocks,
        n_head=shape.n_heads,
        attn_implementation="eager",
        use_cache=False,
    )
    net = ImageGPTModel(config).eval().to(device)

    @torch.inference_mode()
    def forward(tokens: np.ndarray, batch_size: int) -> list[list[torch.Tensor]]:
        pooled = []
        for start in range(0, len(tokens), batch_size):
            batch = tokens[start : start + batch_size].astype(np.int64)
            states = net(torch.from_numpy(batch).to(device), output_hidden_states=True)
            pooled.append([state.mean(1) for state in states.hidden_states])
        wait(device)
        return pooled

    return forward


def against_transformers(
    comparison: Comparison, device: torch.device, dtypes: Sequence[str], repeats: int
) -> list[dict]:
    """Rows for each precision of ours, and each size of a batch of theirs."""
    shape = comparison.shape
    tokens = shape.random_tokens(comparison.n)
    data = Dataset("random", "tokens", tokens)
    other = transformers_model(shape, device)
    rows = []
    for dtype in dtypes:
        floor = Floor(comparison.n * shape.operations(), device, dtype)
        model = our_model(shape, device, dtype)
        ours = functools.partial(extract_all, model, data)
        for batch_size in comparison.batch_sizes:
            theirs = functools.partial(other, tokens, batch_size)
            other(tokens[:batch_size], batch_size)
            ours()
            facts = {
                "shape": shape.name,
                "n": comparison.n,
                "batch": batch_size,
                "dtype": dtype,
            }
            rows.append(compare("extraction", OTHERS, ours, theirs, repeats, floor, **facts))
    return rows


# ---------------------------------------------------------------------------------- lower precision


@dataclass(frozen=True)
class Measured:
    """What one layer gives: its points (N, width), their neighbours, ID and label overlap."""

    X: np.ndarray
    neighbors: Neighbors
    id: float
    label_overlap: float


def effect_of_dtype(dtype: str, device: torch.device, n_per_class: int) -> list[dict]:
    """Rows of what a lower precision changes, one for each layer of the bundled model.

    The ID is TwoNN's on a quarter of the points. Overlaps are of 10 neighbours; `same_neighbours`
    is the data overlap between the two precisions. `largest_change` is that of any number of the
    representation, over the standard deviation of the layer.
    """
    data = datasets.load("fashion-mnist-14", "test", n_per_class)
    bundled = models.source("igpt", BUNDLED, str(device))
    return changes(bundled, data, dtype)


def changes(source: models.ModelSource, data: Dataset, dtype: str) -> list[dict]:
    """The rows of `effect_of_dtype` for any model and its data."""
    exact = measure_layers(source, data)
    lower = measure_layers(replace(source, dtype=dtype), data)
    n_blocks = len(exact) - (2 if data.kind == "tokens" else 1)  # not the final norm, nor logits
    rows = []
    for layer, (before, after) in enumerate(zip(exact, lower, strict=True)):
        largest = np.abs(before.X - after.X).max()
        row = {
            "what": "effect of dtype",
            "dtype": dtype,
            "device": find_device(source.device).type,
            "n": len(data),
            "layer": layer,
            "depth": layer / n_blocks,
            "id_float32": before.id,
            "id": after.id,
            "label_overlap_float32": before.label_overlap,
            "label_overlap": after.label_overlap,
            "same_neighbours": overlap.data_overlap(before.neighbors, after.neighbors, K),
            "largest_change": float(largest / before.X.std()),
        }
        rows.append(row)
    worst = max(abs(row["id"] / row["id_float32"] - 1) for row in rows)
    print(f"{source.name} in {dtype}: ID changes by at most {worst:.2%}", flush=True)
    return rows


def measure_layers(source: models.ModelSource, data: Dataset) -> list[Measured]:
    """Every layer of a model."""
    # Brings joblib and dadapy, which `gpu.py` does without in all other rows.
    from georep_utils.geometry.scaling import twonn_scaling

    model = source.load()
    device = str(model.device)
    layers = []
    with tempfile.TemporaryDirectory() as folder:
        cloud = clouds.extract(model, data, Path(folder) / "r", progress=False)
        for layer in cloud.layers:
            X = np.array(cloud[layer])
            neighbors = nearest_neighbors(X, K, 16, device)
            curve = twonn_scaling(X, (4,), device=device)
            shared = overlap.label_overlap(neighbors, data.labels, K)
            layers.append(Measured(X, neighbors, curve["id"].iloc[0], shared))
    return layers


# ------------------------------------------------------------------------------------------- memory


def peak_memory(n: int) -> dict:
    """The row of what a process has resident at most that extracts n images and nothing else."""
    resident = in_fresh_process(resident_after_extraction, n)
    row = {"what": "peak memory of extraction", "n": n, "resident_MiB": resident}
    print(row, flush=True)
    return row


def resident_after_extraction(n: int) -> float:
    """Most MiB that this process, which should be a fresh one, has had resident afterwards."""
    model = our_model(SMALL, torch.device("cpu"), "float32")
    data = Dataset("random", "tokens", SMALL.random_tokens(n, np.uint8))
    extract_all(model, data)
    return high_water()


# ---------------------------------------------------------------------------------------------- all


def comparisons(gpu: bool, quick: bool) -> list[Comparison]:
    """What is compared on this device."""
    if quick:
        return [Comparison(QUICK, 32, (8, 32))]
    if gpu:
        return [Comparison(SMALL, 1024, (64, 256)), Comparison(IGPT_S, 512, (16, 64))]
    return [Comparison(SMALL, 256, (8, 32, 64)), Comparison(IGPT_S, 8, (1, 4, 8))]


def main() -> None:
    parser = arguments(__doc__)
    add_device(parser)
    options = parser.parse_args()
    device = options.device
    gpu = device.type == "cuda"
    facts = machine_facts(device)
    dtypes = ("float32", "bfloat16") if gpu else ("float32",)
    rows = []
    for comparison in comparisons(gpu, options.quick):
        rows += against_transformers(comparison, device, dtypes, options.repeats)
    for dtype in ("tf32", "bfloat16") if gpu else ("bfloat16",):
        rows += effect_of_dtype(dtype, device, n_per_class=10 if options.quick else 500)
    for n in (100, 200, 400) if options.quick else (1000, 2500, 5000):
        rows.append(peak_memory(n))
    save(options, f"extract-{device.type}", facts | {"rows": rows})


if __name__ == "__main__":
    main()
