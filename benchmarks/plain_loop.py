"""Real models against the loop that one writes first, and what bfloat16 changes in one of them.

    python benchmarks/plain_loop.py [--text FOLDER] [--images FOLDER --pictures FOLDER]
                                    [--only CASE ...] [--repeats 5]

The folders are those of a text model and of a vision transformer of the Hugging Face hub, and one
of .png files below it. The plain loop takes batches of 32 in the order of the data, asks
transformers for all hidden states, and averages them; PyTorch chooses its threads. Ours is
`clouds.extract`, files included. Both are compared first: their blocks' inputs must agree.

Cases: `time`, of 600 glosses and of 1,000 images: benchmarks/results/plain-loop-cpu.json. Where
the processor multiplies bfloat16 itself, ours is timed in it, too; the plain loop is always in
float32, as one writes it first;
`bfloat16`, the text model on 1,000 glosses of ten classes in float32 and in bfloat16:
book/results/bfloat16/text.csv.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_extract import changes, extract_all
from PIL import Image
from timing import Floor, arguments, compare, machine_facts, save, write_unless_quick

from georep_utils.data import datasets
from georep_utils.data.samples import Dataset
from georep_utils.io import REPOSITORY
from georep_utils.models import load as models
from georep_utils.precision import has_bfloat16

CASES = ("time", "bfloat16")
CPU = torch.device("cpu")
BATCH = 32
N_PIXELS = 112
PLAIN = "transformers, plain loop"
GLOSSES = "assets/wordnet/glosses.csv.gz"


def glosses(n_per_class: int) -> Dataset:
    """Definitions of nouns with their classes, in an order without any."""
    data = datasets.load(
        "table", "test", n_per_class, path=GLOSSES, input_column="text", label_column="label"
    )
    return data.take(np.random.default_rng(0).permutation(len(data)))


def pictures(folder: str, n: int) -> Dataset:
    """So many .png files below a folder, in an order without any."""
    files = sorted(str(path) for path in Path(folder).rglob("*.png"))
    picked = np.random.default_rng(0).permutation(len(files))[:n]
    return Dataset("pictures", "image", [files[i] for i in picked])


def text_loop(place: str, texts: list[str]) -> Callable[[], list[torch.Tensor]]:
    """The plain loop over texts."""
    from transformers import AutoModel, AutoTokenizer

    net = AutoModel.from_pretrained(place, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(place)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.padding_side = "right"

    def prepare(batch: list[str]) -> tuple[dict, torch.Tensor]:
        inputs = tokenizer(batch, padding=True, return_tensors="pt")
        return dict(inputs), inputs["attention_mask"].float()

    return partial(loop, net, prepare, texts)


def image_loop(place: str, paths: list[str]) -> Callable[[], list[torch.Tensor]]:
    """The plain loop over images; the class token does not count."""
    from transformers import AutoImageProcessor, AutoModel

    net = AutoModel.from_pretrained(place, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(place)
    size = {"size": {"height": N_PIXELS, "width": N_PIXELS}, "do_center_crop": False}
    n_patches = (N_PIXELS // net.config.patch_size) ** 2

    def prepare(batch: list[str]) -> tuple[dict, torch.Tensor]:
        images = [Image.open(path).convert("RGB") for path in batch]
        inputs = processor(images=images, return_tensors="pt", **size)
        counted = torch.ones(len(batch), 1 + n_patches)
        counted[:, 0] = 0
        return dict(inputs), counted

    return partial(loop, net, prepare, paths)


@torch.inference_mode()
def loop(net: nn.Module, prepare: Callable, inputs: list[str]) -> list[torch.Tensor]:
    """Averages (N, width) of each hidden state, over the tokens that count."""
    parts = []
    for start in range(0, len(inputs), BATCH):
        batch, counted = prepare(inputs[start : start + BATCH])
        states = net(**batch, output_hidden_states=True).hidden_states
        total = counted.sum(1, keepdim=True)
        parts.append([(x * counted[..., None]).sum(1) / total for x in states])
    return [torch.cat(layer) for layer in zip(*parts, strict=True)]


def check_same(model, data: Dataset, theirs: Callable[[], list[torch.Tensor]]) -> float:
    """Largest relative distance of our blocks' inputs from the hidden states of the plain loop.

    Raises
    ------
    RuntimeError
        If they are not the same to float32.
    """
    ours = model.forward(data.inputs)
    pairs = list(zip(ours, theirs(), strict=True))[:-1]  # transformers normalises the last one
    worst = max(float((a - b).norm() / b.norm()) for a, b in pairs)
    if worst > 1e-5:
        raise RuntimeError(f"hidden states are {worst:.1e} from those of transformers")
    return worst


def linear_weights(net: nn.Module) -> int:
    """How many numbers the matrices of the linear layers hold."""
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    return sum(layer.weight.numel() for layer in layers)


def timed(
    name: str, place: str, data: Dataset, make_loop: Callable, repeats: int, dtypes: Sequence[str]
) -> list[dict]:
    """Rows of an extraction against the plain loop, one for each precision of ours."""
    options = {"image_size": N_PIXELS} if data.kind == "image" else {}
    special = {"special_tokens": True} if data.kind == "text" else {}
    at_input = models.load(place, device="cpu", site="input", **options, **special)
    few = data.take(np.arange(8))
    error = check_same(at_input, few, make_loop(place, few.inputs))
    theirs = make_loop(place, data.inputs)
    in_each = {dtype: models.load(place, device="cpu", dtype=dtype, **options) for dtype in dtypes}
    any_of_them = next(iter(in_each.values()))
    n_tokens = int(np.sum(any_of_them.lengths(data.inputs)))
    operations = 2.0 * linear_weights(any_of_them.net) * n_tokens
    facts = {
        "shape": name,
        "n": len(data),
        "unit": "images" if data.kind == "image" else "texts",
        "batch": BATCH,
        "tokens": n_tokens,
        "error_float32": error,
    }
    rows = []
    for dtype, model in in_each.items():
        extract_all(model, few)
        ours = partial(extract_all, model, data)
        floor = Floor(operations, CPU, dtype)
        of_dtype = facts | {"dtype": dtype}
        rows.append(compare("extraction", PLAIN, ours, theirs, repeats, floor, **of_dtype))
    return rows


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--text", help="folder of a text model")
    parser.add_argument("--images", help="folder of a vision transformer")
    parser.add_argument("--pictures", help="folder with .png files below it")
    parser.add_argument("--only", nargs="+", default=CASES, choices=CASES, metavar="CASE")
    options = parser.parse_args()
    facts = machine_facts(CPU)
    if "time" in options.only:
        dtypes = ("float32", "bfloat16") if has_bfloat16() else ("float32",)
        rows = []
        if options.text:
            data = glosses(60)
            data = data.take(np.arange(40 if options.quick else len(data)))
            rows += timed("SmolLM2-135M", options.text, data, text_loop, options.repeats, dtypes)
        if options.images:
            data = pictures(options.pictures, 40 if options.quick else 1000)
            name = "DINOv2-S, 112 px"
            rows += timed(name, options.images, data, image_loop, options.repeats, dtypes)
        save(options, "plain-loop-cpu", facts | {"rows": rows})
    if "bfloat16" in options.only and options.text:
        data = glosses(10 if options.quick else 100)
        table = pd.DataFrame(changes(models.source(options.text, device="cpu"), data, "bfloat16"))
        options.out = REPOSITORY / "book/results/bfloat16"
        write_unless_quick(options, "text", table)


if __name__ == "__main__":
    main()
