"""Everything that is to be measured on a GPU, in at most nine minutes.

    python benchmarks/gpu.py [--quick] [--repeats 3] [--device auto] [--only ROW ...]

Rows are made from the cheapest to the dearest. Each is checked on a sample against float64 and
written at once, to benchmarks/results/cuda-<row>.json: when the time is over, or the machine is
taken away, what is done stays. Beside each time stands its floor (see `timing.py`), and the share
of the time that the floor accounts for.

Rows: `first-two`, `selection` and `imagenet` are neighbour searches at sizes of the paper;
`selection-halves` is the second one by products of TF32 halves; `igpt-s-<dtype>` is extraction
against transformers' own class; `effect-<dtype>` is what a lower precision changes in the results;
`section-two` is section 2 of the authors' readme as a whole.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bench_extract
from bench_neighbors import MAXK, Task, matrix_product, normal
from timing import arguments, chosen_device, compare, machine_facts, peaks, save

from georep_utils.geometry import neighbors_gpu
from georep_utils.geometry.neighbors import Neighbors
from georep_utils.io import UserError
from georep_utils.models import imagegpt

NO_GPU = (
    "error: PyTorch sees no CUDA GPU here, and these sizes need one; run it where there is one, or "
    "see that it runs with --quick --device cpu"
)
LIMIT_SECONDS = 540
SAMPLE = 16  # points, or images, that are computed again in float64

# The first two neighbours, which is all that TwoNN needs; the paper's selection of ImageNet; and
# all of ImageNet.
FIRST_TWO = Task(20_000, 768, maxk=2, range_max=2)
SELECTION = Task(90_000, 512, MAXK, 1024)
IMAGENET = Task(1_281_167, 512, MAXK, 1024)
QUICK = Task(1_500, 32, MAXK, 256)

# How far representations may be from those of float64, relative to their norms. Lower precisions
# keep 8 and 11 bits, and lose some of them on the way through two dozen blocks.
TOLERANCE = {"float32": 1e-4, "tf32": 2e-2, "bfloat16": 1e-1}


@dataclass(frozen=True)
class Row:
    """Something to be measured: its name, about how many seconds it needs, and what measures it.

    `measure` returns rows of results.
    """

    name: str
    seconds: float
    measure: Callable[[], list[dict]]


# ------------------------------------------------------------------------------------------ checks


def check_neighbors(X: np.ndarray, found: Neighbors, device: torch.device) -> int:
    """Compare some rows with distances measured in float64; return how many rows.

    Raises
    ------
    RuntimeError
        If a neighbour or a distance differs.
    """
    rows = np.random.default_rng(1).choice(len(X), min(SAMPLE, len(X)), replace=False)
    maxk = found.distances.shape[1] - 1
    for row in rows:
        squares = _squares_from(X, int(row), device)
        squares[row] = -1  # a point is its own first neighbour, also among copies
        order = np.argsort(squares, kind="stable")
        nearest = np.sqrt(np.maximum(squares[order[: maxk + 1]], 0))
        if not np.array_equal(order[: maxk + 1], found.indices[row]):
            raise RuntimeError(f"point {row} has other neighbours in float64: the search is wrong")
        if not np.allclose(nearest, found.distances[row], rtol=1e-6):
            raise RuntimeError(f"point {row} has other distances in float64: the search is wrong")
    return len(rows)


def _squares_from(X: np.ndarray, row: int, device: torch.device) -> np.ndarray:
    """Squared distances (N,) of one point to all, by differences in float64."""
    x = torch.from_numpy(X[row]).to(device).double()
    parts = []
    for start in range(0, len(X), 1 << 16):
        part = torch.from_numpy(X[start : start + (1 << 16)]).to(device)
        parts.append((part.double() - x).square().sum(1).cpu())
    return torch.cat(parts).numpy()


def check_extraction(model: imagegpt.ImageGPTModel, tokens: np.ndarray) -> float:
    """Largest relative distance of a layer's representations from those of float64.

    Raises
    ------
    RuntimeError
        If it is larger than rounding explains.
    """
    found = [layer.cpu().double() for layer in model.forward(tokens)]
    net = imagegpt.from_arrays(imagegpt.to_arrays(model.net)).to(model.device).double()
    exact = []
    with torch.inference_mode():
        for site, _, state in net.states(model.place(tokens)):
            if site in (model.site, "ln_f", "logits"):
                exact.append(state.mean(1).cpu())
    pairs = zip(found, exact, strict=True)
    worst = max(float((a - b).norm() / b.norm()) for a, b in pairs)
    if worst > TOLERANCE[model.dtype]:
        raise RuntimeError(
            f"representations in {model.dtype} are {worst:.1e} from those in float64: expected at "
            f"most {TOLERANCE[model.dtype]:.0e}"
        )
    return worst


# ------------------------------------------------------------------------------------ what is timed


def search(
    task: Task, device: torch.device, peak: dict, repeats: int, product: str = "float32"
) -> list[dict]:
    """The row of a neighbour search against the matrix product alone."""
    X = normal(task.n, task.d)
    usual = neighbors_gpu.GPU_PRODUCT
    neighbors_gpu.GPU_PRODUCT = product
    last = {}

    def ours() -> None:
        last["found"] = task.search(X, device)()

    try:
        task.search(X[: 2 * task.range_max + task.maxk], device)()  # a warm-up
        alone = partial(matrix_product, X, device)
        matrix_product(X[:5000], device)
        facts = task.facts(peak, device) | {"device": str(device), "product": product}
        row = compare("neighbours", "matrix product alone", ours, alone, repeats, **facts)
    finally:
        neighbors_gpu.GPU_PRODUCT = usual
    return [row | {"checked_rows": check_neighbors(X, last["found"], device)}]


def extraction(
    comparison: bench_extract.Comparison,
    device: torch.device,
    dtype: str,
    peak: dict,
    repeats: int,
) -> list[dict]:
    """Rows of extraction against transformers' own class, one for each size of its batches."""
    model = bench_extract.our_model(comparison.shape, device, dtype)
    tokens = comparison.shape.random_tokens(2)
    worst = check_extraction(model, tokens)
    rows = bench_extract.against_transformers(comparison, device, {dtype: peak}, repeats)
    return [row | {"error": worst} for row in rows]


def rows_for(device: torch.device, repeats: int, quick: bool) -> Iterator[Row]:
    """What is measured, from the cheapest to the dearest; peak rates are measured on the way."""
    peak = peaks(device)
    if quick:
        shape = bench_extract.QUICK
        tasks = {"first-two": Task(1_500, 32, 2, 2), "selection": QUICK}
        comparison = bench_extract.Comparison(shape, 8, (8,))
        n_per_class, n_images = 10, 200
    else:
        shape = bench_extract.IGPT_S
        tasks = {"first-two": FIRST_TWO, "selection": SELECTION}
        comparison = bench_extract.Comparison(shape, 512, (16, 64))
        n_per_class, n_images = 500, 90_000
    for name, task in tasks.items():
        yield Row(name, 20, partial(search, task, device, peak, repeats))
    halves = partial(search, tasks["selection"], device, peak, repeats, "halves")
    yield Row("selection-halves", 20, halves)
    lower = ("tf32", "bfloat16") if device.type == "cuda" else ("bfloat16",)
    for dtype in lower:
        effect = partial(bench_extract.effect_of_dtype, dtype, device, n_per_class)
        yield Row(f"effect-{dtype}", 20, effect)
    rate = {"float32": peak, "bfloat16": peaks(device, torch.bfloat16)}
    for dtype in rate:
        timed = partial(extraction, comparison, device, dtype, rate[dtype], repeats)
        yield Row(f"igpt-s-{dtype}", 60, timed)
    if not quick:
        yield Row("imagenet", 120, partial(search, IMAGENET, device, peak, 1))
    whole = partial(bench_extract.section_two, n_images, shape, device, "bfloat16")
    yield Row("section-two", 150, lambda: [whole()])


def share(row: dict) -> str:
    """The floor of a row in words, and how much of our time it accounts for."""
    reached = row["floor_seconds"] / row["ours_seconds"]
    return f"floor {row['floor_seconds']:.4f} s ({row['floor']}), share reached {reached:.0%}"


def measure(rows: Iterator[Row], began: float, write: Callable[[str, list[dict]], None]) -> int:
    """Measure rows while there is time, and write each at once; return how many were left out.

    Parameters
    ----------
    began
        When the nine minutes began, by `time.monotonic`.
    write
        Called with a row's name and its results.
    """
    left_out = 0
    for row in rows:
        left = LIMIT_SECONDS - (time.monotonic() - began)
        if row.seconds > left:
            print(f"{row.name}: left out, it needs some {row.seconds} s and {left:.0f} are left")
            left_out += 1
            continue
        try:
            results = row.measure()
        except (RuntimeError, UserError) as error:  # one row is lost, and the next is measured
            print(f"{row.name}: failed ({str(error).splitlines()[0]})", flush=True)
            left_out += 1
            continue
        write(row.name, results)
        for result in results:
            if "floor_seconds" in result:
                print(f"{row.name}: {share(result)}", flush=True)
    return left_out


def main() -> None:
    began = time.monotonic()
    parser = arguments(__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", nargs="*", metavar="ROW")
    parser.set_defaults(repeats=3)
    options = parser.parse_args()
    device = chosen_device(options.device)
    has_gpu = device.type == "cuda" and torch.cuda.is_available()
    may_do_without = device.type == "cpu" and options.quick
    if not has_gpu and not may_do_without:
        sys.exit(NO_GPU)
    facts = machine_facts(device)

    def write(name: str, rows: list[dict]) -> None:
        save(options, f"{device.type}-{name}", facts | {"rows": rows})

    rows = rows_for(device, options.repeats, options.quick)
    if options.only:
        rows = (row for row in rows if row.name in options.only)
    if measure(rows, began, write):
        sys.exit("error: not every row was measured; name those that are missing after --only")


if __name__ == "__main__":
    main()
