"""Everything that is to be measured on a GPU, in nine minutes and not more.

    python benchmarks/gpu.py [--quick] [--repeats 3] [--device auto] [--only ROW ...] [--here]

Rows are made from the cheapest to the dearest. Each has a process of its own, since an error of
CUDA leaves its process without a GPU: a row that fails, dies or takes too long is lost alone. What
a row finds is checked on a sample against float64 and written at once, to
benchmarks/results/cuda-<row>.json: when the time is over, or the machine is taken away, what is
done stays. Beside each time stands its floor (see `timing.py`), and the share of the time that the
floor accounts for. `--here` measures in this process and without a limit; it shows the whole of an
error.

Rows: `first-two`, `selection` and `imagenet` are neighbour searches at sizes of the paper;
`selection-halves` is the second one by products of TF32 halves; `growth` is a search at several
sizes, from which the time of others is estimated; `igpt-s-<dtype>` is extraction against
transformers' own class; `effect-<dtype>` is what a lower precision changes in the results;
`section-two` is section 2 of the authors' readme as a whole. `imagenet-halves` is measured only
where `--only` names it: where `selection-halves` was faster than `selection`, ask for it.

The environment that `make bench-gpu` installs is not needed. `python3 benchmarks/gpu.py` runs from
the repository's folder with numpy, scipy, pandas, numba, torch, safetensors, Pillow, tqdm, psutil,
PyYAML and google-crc32c alone. The rows `effect-<dtype>` need joblib and dadapy, too; the rows
`igpt-s-<dtype>` transformers. A row whose package is missing is lost alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bench_extract
from bench_neighbors import MAXK, Task, matrix_product, normal
from timing import Floor, add_device, arguments, compare, machine_facts, peak_rates, save, wait

from georep_utils import clouds
from georep_utils.data.samples import Dataset
from georep_utils.geometry import neighbors_gpu
from georep_utils.geometry.neighbors import Neighbors, largest_range, nearest_neighbors
from georep_utils.models import imagegpt

NO_GPU = (
    "error: these sizes need a CUDA GPU, and the device is {}; run it where PyTorch sees one, or "
    "see that it runs with --quick --device cpu"
)
LIMIT_SECONDS = 540
PATIENCE = 3  # a row is stopped after so many times the seconds that it should need
GRACE_SECONDS = 5  # for a killed process to leave the GPU
SAMPLE = 16  # points that are computed again in float64
CHUNK = 1 << 16  # points on the device at one time, in float64
CHEAP = 100_000  # points whose search may be made once more, to warm up

# The first two neighbours, which is all that TwoNN needs; the paper's selection of ImageNet; and
# all of ImageNet.
FIRST_TWO = Task(20_000, 768, maxk=2, range_max=2)
SELECTION = Task(90_000, 512, MAXK, 1024)
IMAGENET = Task(1_281_167, 512, MAXK, 1024)
GROWTH = tuple(
    Task(n, d, MAXK, 1024) for n, d in ((10_000, 128), (20_000, 512), (40_000, 256), (80_000, 512))
)
QUICK = Task(1_500, 32, MAXK, 256)
QUICK_GROWTH = tuple(Task(n, d, MAXK, 256) for n, d in ((600, 32), (1_200, 64), (1_500, 32)))

# How far representations may be from those of float64, relative to their norms. Lower precisions
# keep 8 and 11 bits, and lose some of them on the way through two dozen blocks.
TOLERANCE = {"float32": 1e-4, "tf32": 2e-2, "bfloat16": 1e-1}


@dataclass(frozen=True)
class Row:
    """Something to be measured.

    Attributes
    ----------
    name : str
        What `--only` and the file call it.
    seconds : float
        About how many it needs, start of a process included.
    measure : callable
        Returns rows of results.
    on_request : bool
        Whether it is measured only where `--only` names it.
    """

    name: str
    seconds: float
    measure: Callable[[], list[dict]]
    on_request: bool = False


# ------------------------------------------------------------------------------------------ checks


def check_neighbors(X: np.ndarray, found: Neighbors, device: torch.device) -> int:
    """Compare some rows of a table with what float64 gives; return how many rows.

    Raises
    ------
    RuntimeError
        If a neighbour, a distance or a ratio differs; or the mean radii are not those of the
        distances.
    """
    rows = np.random.default_rng(1).choice(len(X), min(SAMPLE, len(X)), replace=False)
    maxk = found.distances.shape[1] - 1
    ranks = 2 ** np.arange(found.rank_distances.shape[1])
    for row, squares in zip(rows, _squares_from(X, rows, device), strict=True):
        squares[row] = -1  # a point is its own first neighbour, also among copies
        order = np.argsort(squares, kind="stable")
        if not np.array_equal(order[: maxk + 1], found.indices[row]):
            raise RuntimeError(f"point {row} has other neighbours in float64: the search is wrong")
        reached = np.sqrt(np.maximum(squares[order], 0))
        at_ranks = reached[ranks]
        # Copies of a point are at distance 0, and have ratios of inf and nan.
        with np.errstate(divide="ignore", invalid="ignore"):
            mus = at_ranks[1:] / at_ranks[:-1]
        exact = {"distances": reached[: maxk + 1], "rank_distances": at_ranks, "mus": mus}
        for name, values in exact.items():
            given = getattr(found, name)[row]
            if not np.allclose(values, given, rtol=1e-6, atol=0, equal_nan=True):
                raise RuntimeError(f"point {row} has other {name} in float64: the search is wrong")
    means = found.rank_distances.mean(axis=0, dtype=np.float64)
    if not np.allclose(found.radii, np.stack([means[:-1], means[1:]], axis=1), rtol=1e-9):
        raise RuntimeError("the mean radii are others in float64: the search is wrong")
    return len(rows)


def _squares_from(X: np.ndarray, rows: np.ndarray, device: torch.device) -> np.ndarray:
    """Squared distances (rows, N) of some points to all, by differences in float64."""
    own = torch.from_numpy(np.array(X[rows])).to(device).double()
    squares = np.empty((len(rows), len(X)))
    # All points go to the device once, which is most of the work.
    for start in range(0, len(X), CHUNK):
        part = torch.from_numpy(np.array(X[start : start + CHUNK])).to(device).double()
        for number, x in enumerate(own):
            near = (part - x).square().sum(1)
            squares[number, start : start + CHUNK] = near.cpu().numpy()
    return squares


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


# ----------------------------------------------------------------------------------- what is timed


@contextlib.contextmanager
def products_by(way: str) -> Iterator[None]:
    """Inside, a search on a GPU makes its products in that way: "float32" or "halves"."""
    usual = neighbors_gpu.GPU_PRODUCT
    neighbors_gpu.GPU_PRODUCT = way
    try:
        yield
    finally:
        neighbors_gpu.GPU_PRODUCT = usual


def search(
    task: Task,
    device: torch.device,
    repeats: int,
    product: str = "float32",
    what: str = "neighbours",
) -> list[dict]:
    """The row of a neighbour search against the matrix product alone."""
    X = normal(task.n, task.d)
    last = {}

    def ours() -> None:
        last["found"] = task.search(X, device)()

    alone = partial(matrix_product, X, device)
    facts = asdict(task) | {"device": str(device), "product": product}
    floor = task.floor(device, product)
    with products_by(product):
        warm_up(task, X, device)
        row = compare(what, "matrix product alone", ours, alone, repeats, floor, **facts)
    return [row | {"checked_rows": check_neighbors(X, last["found"], device)}]


def warm_up(task: Task, X: np.ndarray, device: torch.device) -> None:
    """Make the search and the product once: of all points, or of a tenth where they are many.

    A GPU chooses the kernels of a product by its sizes, so that a few points warm others.
    """
    few = X if len(X) <= CHEAP else X[: len(X) // 10]
    task.search(few, device)()
    matrix_product(few, device)


def growth(tasks: Iterable[Task], device: torch.device, repeats: int) -> list[dict]:
    """Rows of a search at several sizes."""
    rows = []
    for task in tasks:
        rows += search(task, device, repeats, what="growth")
    return rows


def extraction(
    comparison: bench_extract.Comparison, device: torch.device, dtype: str, repeats: int
) -> list[dict]:
    """Rows of extraction against transformers' own class, one for each size of its batches."""
    model = bench_extract.our_model(comparison.shape, device, dtype)
    tokens = comparison.shape.random_tokens(2)
    worst = check_extraction(model, tokens)
    rows = bench_extract.against_transformers(comparison, device, (dtype,), repeats)
    return [row | {"error": worst} for row in rows]


def section_two(n: int, shape: bench_extract.Shape, device: torch.device, dtype: str) -> list[dict]:
    """The row of an extraction of n random images, then of the neighbours of every layer.

    Its floor is that of both, one after the other.
    """
    data = Dataset("random", "tokens", shape.random_tokens(n, np.int16))
    model = bench_extract.our_model(shape, device, dtype)
    error = check_extraction(model, data.inputs[:2])
    forward = Floor(n * shape.operations(), device, dtype)
    forward_rates = [peak_rates(device, dtype)]
    search_rates = [peak_rates(device)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        cloud = clouds.extract(model, data, Path(folder) / "r", progress=False)
        wait(device)
        extracted = time.perf_counter()
        for layer in cloud.layers:
            found = nearest_neighbors(cloud[layer], MAXK, largest_range(n), str(device))
        end = time.perf_counter()
        checked = check_neighbors(cloud[cloud.layers[-1]], found, device)
        widths = [cloud[layer].shape[1] for layer in cloud.layers]
    forward_rates.append(peak_rates(device, dtype))
    search_rates.append(peak_rates(device))
    of_forward = forward.facts(forward_rates)
    of_searches = floor_of_searches(n, widths, device).facts(search_rates)
    row = {
        "what": "section 2 of the authors' readme",
        "n": n,
        "layers": len(cloud),
        "dtype": dtype,
        "ours_seconds": end - start,
        "extraction_seconds": extracted - start,
        "neighbours_seconds": end - extracted,
        "floor_seconds": of_forward["floor_seconds"] + of_searches["floor_seconds"],
        "floor": " and ".join(sorted({of_forward["floor"], of_searches["floor"]})),
        "extraction_floor": of_forward,
        "neighbours_floor": of_searches,
        "error": error,
        "checked_rows": checked,
    }
    print(row, flush=True)
    return [row]


def floor_of_searches(n: int, widths: Iterable[int], device: torch.device) -> Floor:
    """The floor of a search in each of some layers, as of one piece of work."""
    product = neighbors_gpu.GPU_PRODUCT
    range_max = largest_range(n)
    each = [Task(n, width, MAXK, range_max).floor(device, product) for width in widths]
    operations = sum(floor.operations for floor in each)
    n_bytes = sum(floor.n_bytes for floor in each)
    return Floor(operations, device, each[0].dtype, n_bytes)


def rows_for(device: torch.device, repeats: int, quick: bool) -> list[Row]:
    """What can be measured, from the cheapest to the dearest; nothing is measured here."""
    if quick:
        shape = bench_extract.QUICK
        first_two, selection, sizes = Task(1_500, 32, 2, 2), QUICK, QUICK_GROWTH
        comparison = bench_extract.Comparison(shape, 8, (8,))
        n_per_class, n_images = 10, 200
    else:
        shape = bench_extract.IGPT_S
        first_two, selection, sizes = FIRST_TWO, SELECTION, GROWTH
        comparison = bench_extract.Comparison(shape, 512, (16, 64))
        n_per_class, n_images = 500, 90_000
    rows = [
        Row("first-two", 25, partial(search, first_two, device, repeats)),
        Row("selection", 25, partial(search, selection, device, repeats)),
        Row("selection-halves", 25, partial(search, selection, device, repeats, "halves")),
        Row("growth", 25, partial(growth, sizes, device, repeats)),
    ]
    for dtype in ("tf32", "bfloat16") if device.type == "cuda" else ("bfloat16",):
        effect = partial(bench_extract.effect_of_dtype, dtype, device, n_per_class)
        rows.append(Row(f"effect-{dtype}", 25, effect))
    for dtype in ("float32", "bfloat16"):
        timed = partial(extraction, comparison, device, dtype, repeats)
        rows.append(Row(f"igpt-s-{dtype}", 60, timed))
    if not quick:
        # One of them is dear enough. The other product is measured where it is asked for.
        rows.append(Row("imagenet", 120, partial(search, IMAGENET, device, 1)))
        by_halves = partial(search, IMAGENET, device, 1, "halves")
        rows.append(Row("imagenet-halves", 120, by_halves, on_request=True))
    whole = partial(section_two, n_images, shape, device, "bfloat16")
    rows.append(Row("section-two", 150, whole))
    return rows


def share(row: dict) -> str:
    """The floor of a row in words, and how much of our time it accounts for."""
    reached = row["floor_seconds"] / row["ours_seconds"]
    return f"floor {row['floor_seconds']:.4f} s ({row['floor']}), share reached {reached:.0%}"


# ---------------------------------------------------------------------------------- a row a process


def measure_here(rows: Iterable[Row], write: Callable[[str, list[dict]], None]) -> None:
    """Measure rows in this process, and write each at once."""
    for row in rows:
        results = row.measure()
        write(row.name, results)
        for result in results:
            if "floor_seconds" in result:
                print(f"{row.name}: {share(result)}", flush=True)


def measure_apart(
    rows: Iterable[Row], began: float, command: Callable[[str], list[str]]
) -> list[str]:
    """Measure rows while there is time, each in a process of its own.

    Parameters
    ----------
    began
        When the nine minutes began, by `time.monotonic`.
    command
        Name of a row -> the command that measures it and writes what it finds.

    Returns
    -------
    Names of the rows that are missing.
    """
    missing = []
    for row in rows:
        left = LIMIT_SECONDS - (time.monotonic() - began)
        if row.seconds > left:
            failure = f"left out, it needs some {row.seconds} s and {left:.0f} are left"
        else:
            failure = failure_of(command(row.name), min(left, PATIENCE * row.seconds))
        if failure:
            print(f"{row.name}: {failure}", flush=True)
            missing.append(row.name)
    return missing


def failure_of(command: list[str], seconds: float) -> str | None:
    """Run a command for at most so many seconds; return why it failed, in one line, or None."""
    # A file, not a pipe: a process that can't be killed would keep a pipe open, and us waiting.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        child = subprocess.Popen(command, stderr=said)
        try:
            status = child.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"stopped after {seconds:.0f} s"
        finally:
            _end(child)
        if status == 0:
            return None
        said.seek(0)
        lines = [line.strip() for line in said.read().splitlines() if line.strip()]
    reasons = lines[-1:]
    if status < 0:
        reasons.insert(0, signal.strsignal(-status) or f"signal {-status}")
    return f"failed ({'; '.join(reasons) or f'exit status {status}'})"


def _end(child: subprocess.Popen) -> None:
    """See that a process is gone, also where it was not asked to end: at Ctrl-C, for example."""
    child.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_SECONDS)


# -------------------------------------------------------------------------------------------- main


def read_options() -> tuple[argparse.Namespace, list[Row]]:
    """What the command line says, and the rows that it asks for."""
    parser = arguments(__doc__)
    add_device(parser)
    parser.add_argument("--only", nargs="+", metavar="ROW")
    parser.add_argument("--here", action="store_true", help="no process for each row, no limit")
    # What the machine did before the first row, where this is the process of a later one.
    parser.add_argument("--load", type=float, help=argparse.SUPPRESS)
    parser.set_defaults(repeats=3)
    options = parser.parse_args()
    rows = rows_for(options.device, options.repeats, options.quick)
    names = [row.name for row in rows]
    unknown = [name for name in options.only or () if name not in names]
    if unknown:
        expected = ", ".join(names)
        parser.error(f"argument --only: no row {', '.join(unknown)}; expected some of {expected}")
    if options.only:
        return options, [row for row in rows if row.name in options.only]
    return options, [row for row in rows if not row.on_request]


def command_for(options: argparse.Namespace, load: float, name: str) -> list[str]:
    """The command that measures one row in a process of its own."""
    command = [sys.executable, __file__, "--here", "--only", name, "--load", str(load)]
    command += ["--device", str(options.device), "--repeats", str(options.repeats)]
    command += ["--out", str(options.out)]
    return command + ["--quick"] if options.quick else command


def write(options: argparse.Namespace, facts: dict, name: str, rows: list[dict]) -> None:
    """Write the results of a row with the facts of the machine."""
    save(options, f"{options.device.type}-{name}", facts | {"rows": rows})


def main() -> None:
    began = time.monotonic()
    options, rows = read_options()
    if options.device.type == "cpu" and not options.quick:
        sys.exit(NO_GPU.format(options.device))
    if not options.here:
        command = partial(command_for, options, os.getloadavg()[0])
        missing = measure_apart(rows, began, command)
        if missing:
            names = " ".join(missing)
            sys.exit(f"error: not measured: {names}; name them after --only, to try again")
        return
    facts = machine_facts(options.device)
    if options.load is not None:
        facts["machine"]["load"] = options.load
    try:
        measure_here(rows, partial(write, options, facts))
    except Exception as error:
        # The last line is what the process that waits for this one shows. An error of CUDA ends
        # with lines of advice.
        traceback.print_exc()
        first = str(error).partition("\n")[0]
        sys.exit(f"{type(error).__name__}: {first}")


if __name__ == "__main__":
    main()
