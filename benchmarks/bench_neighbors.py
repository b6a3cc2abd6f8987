"""Time the neighbour search against what others do. Every figure is a ratio of two things timed in turn in one run.

    python benchmarks/bench_neighbors.py [--quick] [--repeats 5] [--device auto] [--only CASE ...]

Writes benchmarks/results/neighbors-<device>.json. FAISS is timed where `faiss` can be imported. Rows for a GPU are
measured where there is one and absent otherwise.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import write_json
from georep_utils.precision import linear

PACKAGES = ("numpy", "torch", "numba", "scikit-learn", "dadapy", "faiss-cpu")


def normal(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)


def scikit_learn_way(X: np.ndarray, maxk: int, range_max: int):
    """Chunked distances, partition to `range_max`, sort what is kept: neighbours and ratios."""
    from sklearn.metrics import pairwise_distances_chunked

    def reduce(chunk, start):
        near = np.argpartition(chunk, range_max, axis=1)[:, : range_max + 1]
        distances = np.take_along_axis(chunk, near, axis=1)
        order = np.argsort(distances, axis=1)
        distances, near = np.take_along_axis(distances, order, axis=1), np.take_along_axis(near, order, axis=1)
        ranks = 1 << np.arange(range_max.bit_length())
        mus = distances[:, ranks[1:]] / distances[:, ranks[:-1]]
        return distances[:, : maxk + 1].copy(), near[:, : maxk + 1].copy(), mus

    parts = list(pairwise_distances_chunked(X, reduce_func=reduce, n_jobs=1, working_memory=1024))
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def dadapy_way(X: np.ndarray, maxk: int, range_max: int):
    from dadapy import Data

    data = Data(X, verbose=False)
    data.compute_distances(maxk=max(maxk, range_max))
    return data.distances


def faiss_way(X: np.ndarray, maxk: int, range_max: int):
    import faiss

    index = faiss.IndexFlatL2(X.shape[1])
    index.add(X)
    return index.search(X, max(maxk, range_max) + 1)


@torch.inference_mode()
def matrix_product(X: np.ndarray, device: torch.device) -> None:
    """The floor: all inner products, in blocks, nothing kept; by the fastest product that PyTorch has on the device."""
    points = torch.from_numpy(X).to(device)
    tile = 4096 if device.type == "cpu" else len(X)
    for rows in points.split(1024):
        for columns in points.split(tile):
            linear(rows, columns)
    _wait(device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(call: Callable) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@torch.inference_mode()
def peaks(device: torch.device, dtype: torch.dtype = torch.float32, repeats: int = 10) -> dict:
    """What the device reaches here and now: operations a second of a large matrix product, bytes a second of a large copy
    (read and written). Medians, after a warm-up."""
    n, size = (4096, 2**28) if device.type == "cpu" else (8192, 2**32)
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    product, copy = ([_seconds(lambda c=call: (c(), _wait(device))) for _ in range(repeats + 2)][2:]
                     for call in (lambda: linear(a, b), lambda: target.copy_(source)))  # fmt: skip
    return {
        "operations_per_second": 2 * n**3 / statistics.median(product),
        "bytes_per_second": 2 * size / statistics.median(copy),
    }


def search_floor(n: int, d: int, kept: int, peak: dict) -> dict:
    """The least a search could take: its products at the peak rate, or the points read and the results written at the peak
    bandwidth, whichever is more; and which."""
    work = {
        "arithmetic": 2 * n**2 * d / peak["operations_per_second"],
        "memory": 4 * n * (d + 2 * kept) / peak["bytes_per_second"],
    }
    limit = max(work, key=work.get)
    return {"floor_seconds": work[limit], "floor": limit}


def compare(what: str, against: str, ours: Callable, theirs: Callable, repeats: int, **facts) -> dict:
    """Time ours and theirs in turn; medians, and the median of the ratios of neighbours in time (above 1: ours faster)."""
    ours_s, theirs_s = [], []
    for _ in range(repeats):
        ours_s.append(_seconds(ours))
        theirs_s.append(_seconds(theirs))
    ratios = [b / a for a, b in zip(ours_s, theirs_s, strict=True)]
    row = facts | {
        "what": what,
        "against": against,
        "repeats": repeats,
        "ours_seconds": statistics.median(ours_s),
        "theirs_seconds": statistics.median(theirs_s),
        "theirs_over_ours": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
    }
    print(
        f"{what} {facts}: {row['ours_seconds']:.3f} s; {against} {row['theirs_seconds']:.3f} s; "
        f"ratio {row['theirs_over_ours']:.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
        flush=True,
    )
    return row


def high_water() -> float:
    """MiB that this process had resident at most. Linux's own figure: getrusage counts what the parent held, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def peak_memory(n: int, d: int, range_max: int) -> dict:
    """What the search adds to a fresh process that already holds X, beside the size of X."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]; import bench_neighbors as b;"
        f"b.nearest_neighbors(b.normal(2 * {range_max}, {d}), 50, {range_max}, 'cpu'); X = b.normal({n}, {d});"
        "before = b.high_water();"
        f"b.nearest_neighbors(X, 50, {range_max}, 'cpu');"
        "print(before, b.high_water())"
    )
    command = [sys.executable, "-c", code, str(REPOSITORY), str(Path(__file__).parent)]
    before, after = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    row = {"what": "peak memory", "n": n, "d": d, "points_MiB": n * d * 4 / 2**20, "added_MiB": after - before}
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, for continuous integration")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", nargs="*", default=["others", "growth", "memory", "gpu"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    device = torch.device(
        "cuda"
        if options.device == "auto" and torch.cuda.is_available()
        else "cpu"
        if options.device == "auto"
        else options.device
    )
    n, d, range_max, repeats = (
        (2000, 64, 256, options.repeats) if options.quick else (20000, 512, 1024, options.repeats)
    )
    load = os.getloadavg()[0]  # of the last minute, before anything ran here
    X, rows, cpu = normal(n, d), [], torch.device("cpu")
    rates = {device: peaks(device) for device in {cpu, device}}
    nearest_neighbors(X[: 2 * range_max], 50, range_max, "cpu")

    def search(points, maxk=50, top=range_max, where="cpu"):
        return lambda: nearest_neighbors(points, maxk, top, where)

    if "others" in options.only:
        others = {
            "scikit-learn chunked distances with partition": scikit_learn_way,
            "DADApy compute_distances": dadapy_way,
        }
        if importlib.util.find_spec("faiss"):
            others["FAISS flat"] = faiss_way
        floor = search_floor(n, d, 50, rates[cpu])
        for name, way in others.items():
            facts = {"n": n, "d": d, "maxk": 50, "range_max": range_max} | floor
            way(X[: 2 * range_max], 50, range_max)
            rows.append(compare("neighbours", name, search(X), lambda w=way: w(X, 50, range_max), repeats, **facts))
        for maxk, top in ((50, range_max), (2, 2)):
            facts = {"n": n, "d": d, "maxk": maxk, "range_max": top} | floor
            product = lambda: matrix_product(X, cpu)
            rows.append(compare("neighbours", "matrix product alone", search(X, maxk, top), product, repeats, **facts))
    if "growth" in options.only:
        sizes = [(n // 4, d), (n // 2, d), (n, d), (n // 2, d // 4), (n // 2, 4 * d)]
        for size in sizes if options.quick else [*sizes, (2 * n, d)]:
            Y = normal(*size)
            facts = {"n": size[0], "d": size[1], "maxk": 50, "range_max": range_max}
            facts |= search_floor(*size, 50, rates[cpu])
            product = lambda Y=Y: matrix_product(Y, cpu)
            rows.append(compare("growth", "matrix product alone", search(Y), product, repeats, **facts))
    if "memory" in options.only:
        rows += [peak_memory(size, d, range_max) for size in (n // 2, n, 2 * n)]
    if "gpu" in options.only and device.type == "cuda":
        cases = [(20_000, 768, 2, 2, repeats), (90_000, 512, 50, 1024, repeats), (1_281_167, 512, 50, 1024, 1)]
        for size, width, maxk, top, times in cases[: 1 if options.quick else None]:
            Y, name = normal(size, width), str(device)
            facts = {"n": size, "d": width, "maxk": maxk, "range_max": top, "device": name}
            facts |= search_floor(size, width, maxk, rates[device])
            search(Y[:5000], maxk, top, name)()
            product = lambda Y=Y: matrix_product(Y, device)
            product()
            rows.append(
                compare("neighbours", "matrix product alone", search(Y, maxk, top, name), product, times, **facts)
            )
            if size == 90_000:
                slow = lambda Y=Y: scikit_learn_way(Y, 50, 1024)
                way = "scikit-learn chunked distances with partition, this host's cores"
                rows.append(compare("neighbours", way, search(Y, maxk, top, name), slow, 1, **facts))
    name = f"neighbors-{device.type}{'-quick' if options.quick else ''}.json"
    facts = {"peaks": {str(place): rate for place, rate in rates.items()}, "rows": rows}
    write_json(options.out / name, machine_facts(device, load) | facts)
    print(options.out / name)


def machine_facts(device: torch.device, load: float | None = None) -> dict:
    """Processor, versions and date that a result belongs to; load: of the minute before anything ran."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    machine = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "load": os.getloadavg()[0] if load is None else load,
    }
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return {"machine": machine, "versions": versions, "python": platform.python_version(), "date": date}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
