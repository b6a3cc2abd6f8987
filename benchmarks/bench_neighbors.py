"""Time the neighbour search against what others do.

    python benchmarks/bench_neighbors.py [--quick] [--repeats 5] [--only CASE ...]

Three cases, which `--only` names:

* `others`: scikit-learn's chunked distances with a partition, which is what the authors' code does;
  DADApy; FAISS's flat index, where `faiss` can be imported; and a bare matrix product, on which all
  of them are built;
* `growth`: the search against the matrix product alone, at several numbers of points and features;
* `memory`: what the search adds to a process that holds the points.

A GPU has a script of its own, `gpu.py`. This one writes benchmarks/results/neighbors-cpu.json.
Every figure is a ratio of two things that were timed in turn in one run: see `timing.py`.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from timing import (
    Floor,
    arguments,
    compare,
    high_water,
    in_fresh_process,
    machine_facts,
    save,
    wait,
)

from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.precision import linear

CASES = ("others", "growth", "memory")
CPU = torch.device("cpu")
MAXK = 50


@dataclass(frozen=True)
class Task:
    """A search: n points of d features, neighbours to keep, largest rank of the ratios."""

    n: int
    d: int
    maxk: int
    range_max: int

    def floor(self, device: torch.device = CPU, product: str = "float32") -> Floor:
        """What a search of these sizes has to do: its products, the points and the results.

        Parameters
        ----------
        device
            Where it is made. On a CPU a product serves both of its points, on a GPU one.
        product
            How a GPU makes products: "float32", or "halves", of which it takes three in TF32.
        """
        multiplied = self.n**2 * self.d
        n_bytes = 4 * self.n * (self.d + 2 * self.maxk)
        if device.type == "cpu":
            return Floor(multiplied, device, "float32", n_bytes)
        if product == "halves":
            return Floor(3 * 2 * multiplied, device, "tf32", n_bytes)
        return Floor(2 * multiplied, device, "float32", n_bytes)

    def search(self, X: np.ndarray, device: torch.device = CPU) -> Callable:
        """Our search of the points X (n, d), to be called."""
        return functools.partial(nearest_neighbors, X, self.maxk, self.range_max, str(device))


def normal(n: int, d: int) -> np.ndarray:
    """Standard normal points (n, d) float32, always the same."""
    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)


# --------------------------------------------------------------------------------------- other ways


def scikit_learn_way(X: np.ndarray, maxk: int, range_max: int) -> list[np.ndarray]:
    """Chunked distances, partition to `range_max`, sort what is kept: neighbours and ratios."""
    from sklearn.metrics import pairwise_distances_chunked

    ranks = 1 << np.arange(range_max.bit_length())

    def reduce(chunk, start):
        near = np.argpartition(chunk, range_max, axis=1)[:, : range_max + 1]
        distances = np.take_along_axis(chunk, near, axis=1)
        order = np.argsort(distances, axis=1)
        distances = np.take_along_axis(distances, order, axis=1)
        near = np.take_along_axis(near, order, axis=1)
        mus = distances[:, ranks[1:]] / distances[:, ranks[:-1]]
        # Copies, since a view would keep all of its chunk in memory.
        return distances[:, : maxk + 1].copy(), near[:, : maxk + 1].copy(), mus

    parts = pairwise_distances_chunked(X, reduce_func=reduce, n_jobs=1, working_memory=1024)
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def dadapy_way(X: np.ndarray, maxk: int, range_max: int) -> np.ndarray:
    """DADApy's distances to as many neighbours as the ratios need."""
    from dadapy import Data

    data = Data(X, verbose=False)
    data.compute_distances(maxk=max(maxk, range_max))
    return data.distances


def faiss_way(X: np.ndarray, maxk: int, range_max: int) -> tuple[np.ndarray, np.ndarray]:
    """FAISS's exact index, asked for as many neighbours as the ratios need."""
    import faiss

    index = faiss.IndexFlatL2(X.shape[1])
    index.add(X)
    return index.search(X, max(maxk, range_max) + 1)


@torch.inference_mode()
def matrix_product(X: np.ndarray, device: torch.device) -> None:
    """All inner products in blocks, nothing kept, by PyTorch's fastest product on the device."""
    points = torch.from_numpy(X).to(device)
    # On a CPU, blocks of a size that the caches hold; on a GPU, as wide as can be.
    tile = 4096 if device.type == "cpu" else len(X)
    for rows in points.split(1024):
        for columns in points.split(tile):
            linear(rows, columns)
    wait(device)


# -------------------------------------------------------------------------------------------- cases


def against_others(task: Task, repeats: int) -> list[dict]:
    """Rows of the search against other libraries, and against the matrix product."""
    ways = {
        "scikit-learn chunked distances with partition": scikit_learn_way,
        "DADApy compute_distances": dadapy_way,
    }
    if importlib.util.find_spec("faiss"):
        ways["FAISS flat"] = faiss_way
    X = normal(task.n, task.d)
    rows = []
    for name, way in ways.items():
        way(X[: 2 * task.range_max], task.maxk, task.range_max)
        theirs = functools.partial(way, X, task.maxk, task.range_max)
        ours = task.search(X)
        row = compare("neighbours", name, ours, theirs, repeats, task.floor(), **asdict(task))
        rows.append(row)
    # The product also against the least that a search can be asked for: the first two neighbours.
    for asked in (task, Task(task.n, task.d, maxk=2, range_max=2)):
        rows.append(against_product("neighbours", asked, X, repeats))
    return rows


def against_product(what: str, task: Task, X: np.ndarray, repeats: int) -> dict:
    """The row of the search against the matrix product alone."""
    ours = task.search(X)
    product = functools.partial(matrix_product, X, CPU)
    facts = asdict(task)
    return compare(what, "matrix product alone", ours, product, repeats, task.floor(), **facts)


def growth(task: Task, repeats: int, quick: bool) -> list[dict]:
    """Rows of the search at several numbers of points and of features."""
    n = task.n
    d = task.d
    sizes = [(n // 4, d), (n // 2, d), (n, d), (n // 2, d // 4), (n // 2, 4 * d)]
    if not quick:
        sizes.append((2 * n, d))
    rows = []
    for size in sizes:
        sized = Task(*size, task.maxk, task.range_max)
        X = normal(*size)
        rows.append(against_product("growth", sized, X, repeats))
    return rows


def memory(task: Task) -> list[dict]:
    """Rows of what the search adds to the memory of a process, beside the size of the points."""
    rows = []
    for n in (task.n // 2, task.n, 2 * task.n):
        row = {
            "what": "peak memory",
            "n": n,
            "d": task.d,
            "points_MiB": n * task.d * 4 / 2**20,
            "added_MiB": in_fresh_process(added_by_search, n, task.d, task.range_max),
        }
        print(row, flush=True)
        rows.append(row)
    return rows


def added_by_search(n: int, d: int, range_max: int) -> float:
    """MiB that a search adds to this process, which should be a fresh one, holding the points."""
    # A small search first: what is loaded and compiled for any search is not counted.
    nearest_neighbors(normal(2 * range_max, d), MAXK, range_max, "cpu")
    X = normal(n, d)
    before = high_water()
    nearest_neighbors(X, MAXK, range_max, "cpu")
    return high_water() - before


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="+", default=CASES, choices=CASES, metavar="CASE")
    options = parser.parse_args()
    task = Task(2000, 64, MAXK, 256) if options.quick else Task(20_000, 512, MAXK, 1024)
    facts = machine_facts(CPU)
    # The kernels are compiled here, so that no timed search waits for it.
    nearest_neighbors(normal(2 * task.range_max, task.d), task.maxk, task.range_max, "cpu")
    rows = []
    if "others" in options.only:
        rows += against_others(task, options.repeats)
    if "growth" in options.only:
        rows += growth(task, options.repeats, options.quick)
    if "memory" in options.only:
        rows += memory(task)
    save(options, "neighbors-cpu", facts | {"rows": rows})


if __name__ == "__main__":
    main()
