"""Time extraction against transformers' ImageGPTModel. Every figure is a ratio of two things timed in turn in one run.

    python benchmarks/bench_extract.py [--quick] [--repeats 5] [--device auto]

Writes benchmarks/results/extract-<device>.json. The other side is the class as transformers ships it (eager attention,
all hidden states kept), with its states averaged over the sequence, in batches of several sizes; ours is
`extract.extract`, files included. Beside it: the arithmetic at the peak rate measured in the same run, what a lower
precision changes in the results, peak memory and, on a GPU, all of the authors' section 2.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from bench_neighbors import compare, machine_facts, peaks

from georep_utils import clouds as extract
from georep_utils.data import datasets
from georep_utils.geometry import overlap, scale_rules as dimension
from georep_utils.models import imagegpt as igpt, load as models
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import write_json


def ours(n_blocks: int, width: int, heads: int, n_vocab: int, positions: int, device: torch.device, dtype="float32"):
    """A randomly initialised model of the given shape, as `models.load` would make it."""
    net = igpt.initialise(igpt.ImageGPT(n_blocks, width, heads, n_vocab, positions), 0).eval()
    net = net.to(device, torch.bfloat16 if dtype == "bfloat16" else torch.float32).requires_grad_(False)
    return models.IGPTModel("benchmark", net, "ln_1", "mean", device, dtype)


def eager(n_blocks: int, width: int, heads: int, n_vocab: int, positions: int, device: torch.device):
    """transformers' ImageGPTModel of that shape, and a function that averages its hidden states."""
    from transformers import ImageGPTConfig, ImageGPTModel

    config = ImageGPTConfig(vocab_size=n_vocab + 1, n_positions=positions, n_embd=width, n_layer=n_blocks, n_head=heads,
                            attn_implementation="eager", use_cache=False)  # fmt: skip
    net = ImageGPTModel(config).eval().to(device)

    @torch.inference_mode()
    def forward(tokens):
        tokens = torch.from_numpy(tokens.astype(np.int64)).to(device)
        return [state.mean(1) for state in net(tokens, output_hidden_states=True).hidden_states]

    return forward


def in_passing(model, data) -> None:
    """All of extraction, files included."""
    with tempfile.TemporaryDirectory() as folder:
        extract.extract(model, data, Path(folder) / "r", progress=False)


def synchronised(call, device: torch.device):
    def timed():
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return timed


def flops(n_blocks: int, width: int, positions: int, n_vocab: int) -> float:
    """Multiplications and additions of one image: matrices, and the causal half of the attention."""
    per_token = n_blocks * (24 * width**2 + 2 * positions * width) + 2 * width * n_vocab
    return float(per_token * positions)


def floor(shape: tuple, images: int, peak: dict) -> dict:
    """The least a pass could take: its arithmetic at the peak rate."""
    n_blocks, width, _, n_vocab, positions = shape
    return {"floor_seconds": images * flops(n_blocks, width, positions, n_vocab) / peak["operations_per_second"],
            "floor": "arithmetic"}  # fmt: skip


def effect_of_dtype(dtype: str, device: torch.device, n_per_class: int) -> list[dict]:
    """What a lower precision changes, layer by layer of the bundled model: ID (TwoNN, N/4), label overlap and, between the
    two precisions, data overlap (k = 10), and the largest change of a value over the layer's deviation."""
    data = datasets.load("fashion-mnist-14", "test", n_per_class)
    arrays, found = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("float32", dtype):
            model = models.load("igpt", "assets/igpt-mini/trained.safetensors", str(device), kind)
            made = extract.extract(model, data, Path(folder) / kind, progress=False)
            arrays[kind] = [np.array(made[layer]) for layer in made.layers]
            found[kind] = [nearest_neighbors(X, 10, 16, str(device)) for X in arrays[kind]]
    rows = []
    for layer, (X, Y, near, other) in enumerate(zip(*arrays.values(), *found.values(), strict=True)):
        ids = [dimension.twonn_scaling(Z, (4,), device=str(device)).id[0] for Z in (X, Y)]
        shared = [overlap.label_overlap(z, data.labels, 10) for z in (near, other)]
        rows.append({
            "what": "effect of dtype", "dtype": dtype, "device": device.type, "n": len(data), "layer": layer,
            "depth": layer / model.n_blocks, "id_float32": ids[0], "id": ids[1], "label_overlap_float32": shared[0],
            "label_overlap": shared[1], "same_neighbours": overlap.data_overlap(near, other, 10),
            "largest_change": float(np.abs(X - Y).max() / X.std())})  # fmt: skip
    worst = max(abs(row["id"] / row["id_float32"] - 1) for row in rows)
    print(f"{dtype} on {device}: ID changes by at most {worst:.2%}", flush=True)
    return rows


def section_two(n: int, shape: tuple, device: torch.device, dtype: str) -> dict:
    """Extraction of n random images by a model of that shape, then the neighbours of every layer: seconds of each."""
    tokens = np.random.default_rng(0).integers(0, shape[3], (n, shape[4]), dtype=np.int16)
    model = ours(*shape, device, dtype)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        made = extract.extract(model, datasets.Dataset("random", "tokens", tokens), Path(folder) / "r", progress=False)
        half = time.perf_counter()
        for layer in made.layers:
            nearest_neighbors(made[layer], 50, 1024, str(device))
        end = time.perf_counter()
    row = {"what": "section 2 of the authors' readme", "n": n, "layers": len(made), "dtype": dtype,
           "extraction_seconds": half - start, "neighbours_seconds": end - half}  # fmt: skip
    print(row, flush=True)
    return row


def peak_rss(n: int) -> float:
    """MiB at most resident in a process that extracts n images with the small model."""
    code = (
        "import sys, tempfile; sys.path[:0] = sys.argv[1:3]; import bench_extract as b, bench_neighbors, torch, numpy as np;"
        "from georep_utils import datasets, extract;"
        "m = b.ours(24, 64, 2, 16, 196, torch.device('cpu'));"
        f"d = datasets.Dataset('random', 'tokens', np.random.default_rng(0).integers(0, 16, ({n}, 196), dtype=np.uint8));"
        "folder = tempfile.TemporaryDirectory(); extract.extract(m, d, folder.name + '/r', progress=False);"
        "print(bench_neighbors.high_water())"
    )
    here = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(here), str(here.parent)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    auto = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(auto if options.device == "auto" else options.device)
    shapes = {"24 blocks of width 64, 196 tokens": (24, 64, 2, 16, 196), "iGPT-S, 1024 tokens": (24, 512, 8, 512, 1024)}
    gpu = device.type == "cuda"
    sizes = [(1024, (64, 256)), (512, (16, 64))] if gpu else [(256, (8, 32, 64)), (8, (1, 4, 8))]
    if options.quick:
        shapes, sizes = {"4 blocks of width 64, 196 tokens": (4, 64, 4, 16, 196)}, [(32, (8, 32))]
    facts, rows = machine_facts(device), []
    rates = {"float32": peaks(device)} | ({"bfloat16": peaks(device, torch.bfloat16)} if gpu else {})
    for (name, shape), (n, batches) in zip(shapes.items(), sizes, strict=True):
        tokens, other = np.random.default_rng(0).integers(0, shape[3], (n, shape[4])), eager(*shape, device)
        data = datasets.Dataset("random", "tokens", tokens)
        for dtype in rates:
            model = ours(*shape, device, dtype)
            for batch in batches:
                mine = synchronised(lambda m=model, d=data: in_passing(m, d), device)
                theirs = synchronised(
                    lambda o=other, t=tokens, b=batch: [o(t[i : i + b]) for i in range(0, len(t), b)], device
                )
                other(tokens[:batch]), mine()
                case = {"shape": name, "n": n, "batch": batch, "dtype": dtype} | floor(shape, n, rates[dtype])
                rows.append(
                    compare("extraction", "transformers' ImageGPTModel, eager", mine, theirs, options.repeats, **case)
                )
    for dtype in ("tf32", "bfloat16") if gpu else ("bfloat16",):
        rows += effect_of_dtype(dtype, device, 10 if options.quick else 500)
    if gpu and not options.quick:
        rows += [section_two(90_000, shapes["iGPT-S, 1024 tokens"], device, "bfloat16")]
    for n in (200, 400) if options.quick else (1000, 5000):
        rows.append({"what": "peak memory of extraction", "n": n, "resident_MiB": peak_rss(n)})
        print(rows[-1])
    path = options.out / f"extract-{device.type}{'-quick' if options.quick else ''}.json"
    write_json(path, facts | {"peaks": rates, "rows": rows})
    print(path)


if __name__ == "__main__":
    main()
