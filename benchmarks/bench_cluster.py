"""Time two workers against one.

    python benchmarks/bench_cluster.py [--quick] [--repeats 5]

Two Dask clusters of single-threaded workers stand ready on this machine, one with a single worker
and one with two. Each is given the tasks of notebooks 02 and 03, by `parallel.map`: batches of an
extraction, and blocks of rows of a neighbour search. Models are loaded and kernels compiled before
anything is timed.

Writes benchmarks/results/cluster-cpu.json. Every figure is a ratio of two things that were timed in
turn in one run: see `timing.py`.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from dask.distributed import LocalCluster

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_neighbors import normal
from timing import arguments, compare, machine_facts, save

from georep_utils import extraction, parallel
from georep_utils.data import datasets
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import REPOSITORY
from georep_utils.models import load as models

MODEL = "assets/igpt-mini/trained.safetensors"
DATASET = "fashion-mnist-14"
SEARCH_TASKS = 16
EXTRACTION_TASKS = 12


@dataclass(frozen=True)
class Work:
    """Something to be shared: its name, its samples and tasks, and what does it on a scheduler."""

    name: str
    n_samples: int
    n_tasks: int
    run: Callable[[str], None]


# ------------------------------------------------------------------------------------------- search


def search_work(folder: Path, n: int) -> Work:
    """The neighbours of n random points, which lie in a file."""
    path = folder / "X.npy"
    np.save(path, normal(n, 512))
    rows_per_task = n // SEARCH_TASKS
    blocks = [slice(i, min(i + rows_per_task, n)) for i in range(0, n, rows_per_task)]

    def run(scheduler: str) -> None:
        parallel.map(functools.partial(find, path), blocks, scheduler, shared=folder)

    return Work("neighbours", n, len(blocks), run)


def find(path: Path, rows: slice) -> None:
    """One task of the search."""
    nearest_neighbors(np.load(path, mmap_mode="r"), 50, 1024, "cpu", rows=rows)


# --------------------------------------------------------------------------------------- extraction


def extraction_work(folder: Path, n_per_class: int) -> Work:
    """The representations of test images in the bundled model."""
    load_model = functools.partial(models.load, "igpt", MODEL, "cpu")
    load_data = functools.partial(datasets.load, DATASET, "test", n_per_class)
    model = load_model()
    data = load_data()

    def run(scheduler: str) -> None:
        # A new folder each time, since finished work would be found and not done again.
        target = Path(tempfile.mkdtemp(dir=folder)) / "cloud"
        todo = extraction.prepare(model, data, target)
        work = functools.partial(represent, load_model, load_data, target)
        tasks = np.array_split(todo, EXTRACTION_TASKS)
        parallel.map(work, tasks, scheduler, shared=folder)
        extraction.finish(model, data, target)

    return Work("extraction", len(data), EXTRACTION_TASKS, run)


def represent(load_model: Callable, load_data: Callable, target: Path, numbers: np.ndarray) -> None:
    """One task of the extraction: some batches, by a model that the worker loads once."""
    model = parallel.once(load_model)
    data = parallel.once(load_data)
    extraction.work(model, data, target, numbers)


# ------------------------------------------------------------------------------------------ compare


def workers(number: int) -> LocalCluster:
    """A cluster of so many single-threaded workers, reached from this machine only."""
    return LocalCluster(
        n_workers=number,
        threads_per_worker=1,
        memory_limit=None,
        dashboard_address="127.0.0.1:0",
    )


def two_against_one(work: Work, one: LocalCluster, two: LocalCluster, repeats: int) -> dict:
    """A row of results."""
    # Workers load their model and compile here. Twice for two: with one run, all tasks that need
    # the model may have gone to one of them.
    for cluster in (one, two, two):
        work.run(cluster.scheduler_address)
    return compare(
        "scale-out",
        "one single-threaded worker",
        ours=functools.partial(work.run, two.scheduler_address),
        theirs=functools.partial(work.run, one.scheduler_address),
        repeats=repeats,
        task=work.name,
        n=work.n_samples,
        tasks=work.n_tasks,
    )


def main() -> None:
    options = arguments(__doc__).parse_args()
    facts = machine_facts(torch.device("cpu"))
    # Beside the clouds: the system's folder for temporary files may be in memory.
    with tempfile.TemporaryDirectory(dir=REPOSITORY) as name, workers(1) as one, workers(2) as two:
        folder = Path(name)
        works = [
            search_work(folder, n=3000 if options.quick else 20_000),
            extraction_work(folder, n_per_class=10 if options.quick else 100),
        ]
        rows = [two_against_one(work, one, two, options.repeats) for work in works]
    save(options, "cluster-cpu", facts | {"rows": rows})


if __name__ == "__main__":
    main()
