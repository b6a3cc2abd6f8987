"""Time extraction against transformers' ImageGPTModel. Every figure is a ratio of two things timed in turn in one run.

    python benchmarks/bench_extract.py [--quick] [--repeats 5] [--device auto]

Writes benchmarks/results/extract-<device>.json. The other side is the class as transformers ships it (eager attention, all
hidden states kept), with its states averaged over the sequence. On a GPU, bfloat16 is also set against the matrix rate that
the card reaches in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from bench_neighbors import compare, machine_facts

from georep_utils import igpt, models
from georep_utils.paths import write_json


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


def matrix_rate(device: torch.device, dtype: torch.dtype, n: int = 8192) -> float:
    """Operations a second of a large matrix product, the median of ten."""
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(12):
        torch.cuda.synchronize()
        start = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / statistics.median(seconds[2:])


def peak_rss(n: int) -> float:
    """MiB at most resident in a process that extracts n images with the small model."""
    code = (
        "import resource, sys, tempfile; sys.path[:0] = sys.argv[1:3]; import bench_extract as b, torch, numpy as np;"
        "from georep_utils import datasets, extract;"
        "m = b.ours(24, 64, 2, 16, 196, torch.device('cpu'));"
        f"d = datasets.Dataset('random', 'tokens', np.random.default_rng(0).integers(0, 16, ({n}, 196), dtype=np.uint8));"
        "extract.extract(m, d, tempfile.mkdtemp() + '/r', progress=False);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
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
    shapes = {"24 blocks of width 64, 196 tokens": (24, 64, 4, 16, 196), "iGPT-S, 1024 tokens": (24, 512, 8, 512, 1024)}
    if options.quick:
        shapes = {"4 blocks of width 64, 196 tokens": (4, 64, 4, 16, 196)}
    facts, rows = machine_facts(device), []
    for name, shape in shapes.items():
        batch = (32 if shape[4] < 1000 else 2) if device.type == "cpu" else 64
        tokens = np.random.default_rng(0).integers(0, shape[3], (batch, shape[4]))
        model, other = ours(*shape, device), eager(*shape, device)
        mine, theirs = (
            synchronised(lambda m=model, t=tokens: m.forward(t), device),
            synchronised(lambda o=other, t=tokens: o(t), device),
        )
        mine(), theirs()
        case = {"shape": name, "images": batch, "dtype": "float32"}
        row = compare("extraction", "transformers' ImageGPTModel, eager", mine, theirs, options.repeats, **case)
        row["images_per_second"] = batch / row["ours_seconds"]
        row["operations_per_second"] = flops(shape[0], shape[1], shape[4], shape[3]) * row["images_per_second"]
        rows.append(row)
        if device.type == "cuda":
            fast = ours(*shape, device, "bfloat16")
            quick = synchronised(lambda m=fast, t=tokens: m.forward(t), device)
            quick()
            row = compare("extraction", "transformers' ImageGPTModel, eager", quick, theirs, options.repeats,
                          **case | {"dtype": "bfloat16"})  # fmt: skip
            row["images_per_second"] = batch / row["ours_seconds"]
            row["operations_per_second"] = flops(shape[0], shape[1], shape[4], shape[3]) * row["images_per_second"]
            row["share_of_matrix_rate"] = row["operations_per_second"] / matrix_rate(device, torch.bfloat16)
            rows.append(row)
    for n in (200, 400) if options.quick else (1000, 5000):
        rows.append({"what": "peak memory of extraction", "n": n, "resident_MiB": peak_rss(n)})
        print(rows[-1])
    path = options.out / f"extract-{device.type}{'-quick' if options.quick else ''}.json"
    write_json(path, facts | {"rows": rows})
    print(path)


if __name__ == "__main__":
    main()
