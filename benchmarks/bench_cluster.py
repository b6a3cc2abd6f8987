"""Time two workers against one. Every figure is a ratio of two things timed in turn in one run.

    python benchmarks/bench_cluster.py [--quick] [--repeats 5]

Writes benchmarks/results/cluster-cpu.json. Both clusters stand ready, single-threaded workers with models loaded; a run
is `cluster.map` over the tasks of notebooks 02 and 03.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from dask.distributed import LocalCluster

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from bench_neighbors import compare, machine_facts, normal

from georep_utils import clouds as extract, parallel as cluster
from georep_utils.data import datasets
from georep_utils.geometry import neighbors
from georep_utils.models import load as models
from georep_utils.io import REPOSITORY, write_json


def find(path: str, rows: tuple[int, int]) -> None:
    neighbors.nearest_neighbors(np.load(path, mmap_mode="r"), 50, 1024, "cpu", rows=slice(*rows))


def read(load_model, load_data, target: str, numbers) -> None:
    extract.work(cluster.once(load_model), cluster.once(load_data), target, numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    n, n_per_class = (3000, 10) if options.quick else (20000, 100)
    facts = machine_facts(torch.device("cpu"))
    start = functools.partial(LocalCluster, threads_per_worker=1, memory_limit=None, dashboard_address="127.0.0.1:0")
    with tempfile.TemporaryDirectory(dir=REPOSITORY) as folder, start(n_workers=1) as one, start(n_workers=2) as two:
        np.save(f"{folder}/X.npy", normal(n, 512))
        blocks = [(i, min(i + n // 16, n)) for i in range(0, n, n // 16)]
        load_model = functools.partial(models.load, "igpt", "assets/igpt-mini/trained.safetensors", "cpu")
        load_data = functools.partial(datasets.load, "fashion-mnist-14", "test", n_per_class)
        model, data = load_model(), load_data()

        def search(scheduler):
            cluster.map(functools.partial(find, f"{folder}/X.npy"), blocks, scheduler, shared=folder)

        def represent(scheduler):
            todo = extract.prepare(model, data, f"{folder}/r")
            work = functools.partial(read, load_model, load_data, f"{folder}/r")
            cluster.map(work, np.array_split(todo, 12), scheduler, shared=folder)
            extract.finish(model, data, f"{folder}/r")

        rows = []
        for what, call, size in (("neighbours", search, n), ("extraction", represent, len(data))):
            case = {
                "what": "scale-out",
                "task": what,
                "n": size,
                "tasks": {"neighbours": len(blocks), "extraction": 12}[what],
            }
            for place in (one, two, two):  # load models, compile
                call(place.scheduler_address)
            rows.append(compare(against="one single-threaded worker", ours=lambda c=call: c(two.scheduler_address),
                                theirs=lambda c=call: c(one.scheduler_address), repeats=options.repeats, **case))  # fmt: skip
    path = options.out / f"cluster-cpu{'-quick' if options.quick else ''}.json"
    write_json(path, facts | {"rows": rows})
    print(path)


if __name__ == "__main__":
    main()
