"""What the benchmarks share: how a comparison is made, what the machine can do, and what it is.

A time says more about a machine and about what else runs on it than about a program. So two things
are always timed in turn, within one process, and what is reported is their ratio: `compare` takes
the median over the repetitions, each the ratio of two runs that were neighbours in time.

Beside the ratio stands a *floor*, the least that any method with the same operations could take.
It comes from two rates that are measured in the same process (`peaks`): the operations a second of
a large matrix product, and the bytes a second of a large copy.

Some scripts measure no time: they count how often a method is right where the answer is known. They
share their options here, too.

This file is no benchmark. The scripts beside it import it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
import torch

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from georep_utils.io import REPOSITORY, write_json, write_table
from georep_utils.precision import linear

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("numpy", "torch", "numba", "scikit-learn", "dadapy", "faiss-cpu")
WARM_UPS = 2


# ------------------------------------------------------------------------------------ command lines


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser of the options that all scripts have which compare times."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser


def save(options: argparse.Namespace, name: str, result: dict) -> None:
    """Write a result where the options say; of a quick run beside the real one."""
    ending = "-quick" if options.quick else ""
    path = options.out / f"{name}{ending}.json"
    write_json(path, result)
    print(path)


def table_arguments(description: str, folder: str) -> argparse.ArgumentParser:
    """A parser of the options of scripts that hold a method against known answers.

    Their tables are part of the book: book/results/`folder`, unless the options say otherwise.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a small part, to see that it runs; writes nothing"
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "book/results" / folder)
    return parser


def write_unless_quick(options: argparse.Namespace, name: str, table: pd.DataFrame) -> None:
    """Write a table where the options say; of a quick run nothing, since it proves nothing."""
    if options.quick:
        return
    path = options.out / f"{name}.csv"
    write_table(path, table)
    print(path)


def chosen_device(name: str) -> torch.device:
    """The device of that name; for "auto" the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


# ------------------------------------------------------------------------------------------- timing


def compare(
    what: str, against: str, ours: Callable, theirs: Callable, repeats: int, **facts
) -> dict:
    """Time two functions in turn, print a line, and return a row of results.

    Parameters
    ----------
    what, against : str
        What is compared, and with whom.
    ours, theirs : callables without arguments
        Both warm already.
    repeats : int
        How often each is timed.
    **facts
        What else the row says: sizes, precision, floor.

    Returns
    -------
    dict
        The facts; medians of both times, in seconds; median and range of the ratios theirs / ours,
        which are above 1 where ours is faster.
    """
    ours_seconds = []
    theirs_seconds = []
    for _ in range(repeats):
        ours_seconds.append(seconds_of(ours))
        theirs_seconds.append(seconds_of(theirs))
    ratios = [b / a for a, b in zip(ours_seconds, theirs_seconds, strict=True)]
    row = facts | {
        "what": what,
        "against": against,
        "repeats": repeats,
        "ours_seconds": statistics.median(ours_seconds),
        "theirs_seconds": statistics.median(theirs_seconds),
        "theirs_over_ours": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
    }
    print(
        f"{what} {facts}: {row['ours_seconds']:.3f} s; {against} {row['theirs_seconds']:.3f} s; "
        f"ratio {row['theirs_over_ours']:.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
        flush=True,
    )
    return row


def seconds_of(call: Callable) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Return when the device has done all that it was asked to: a GPU computes behind the call."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.inference_mode()
def peaks(device: torch.device, dtype: torch.dtype = torch.float32, repeats: int = 10) -> dict:
    """What the device reaches here and now: medians, after a warm-up.

    Returns
    -------
    dict
        operations_per_second of a large matrix product in that type, multiplications and additions
        counted; bytes_per_second of a large copy, read and written.
    """
    # Large enough that the time of starting does not matter, and that no cache holds the copy.
    if device.type == "cpu":
        width = 4096
        n_bytes = 2**28
    else:
        width = 8192
        n_bytes = 2**32
    a = torch.randn(width, width, device=device).to(dtype)
    b = torch.randn(width, width, device=device).to(dtype)
    source = torch.ones(n_bytes // 4, device=device)
    target = torch.empty_like(source)
    product = _median_seconds(lambda: linear(a, b), device, repeats)
    copy = _median_seconds(lambda: target.copy_(source), device, repeats)
    return {
        "operations_per_second": 2 * width**3 / product,
        "bytes_per_second": 2 * n_bytes / copy,
    }


def _median_seconds(call: Callable, device: torch.device, repeats: int) -> float:
    def call_and_wait():
        call()
        wait(device)

    times = [seconds_of(call_and_wait) for _ in range(WARM_UPS + repeats)]
    return statistics.median(times[WARM_UPS:])


# ------------------------------------------------------------------------------------------- memory


def in_fresh_process(function: Callable, *values):
    """The result of `function(*values)`, computed in a process that has done nothing else."""
    # "spawn" starts a new interpreter. A forked one would begin with all of our memory.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *values).result()


def high_water() -> float:
    """Most MiB that this process has had resident, by Linux's own account.

    getrusage is no help: it counts what the parent process held at the fork, too.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM: peak memory is measured on Linux only")


# ------------------------------------------------------------------------------------------ machine


def machine_facts(device: torch.device) -> dict:
    """Processor, versions and date that a result belongs to.

    To be called before anything is timed: the load is that of other programs, in the last minute.
    """
    machine = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "load": os.getloadavg()[0],
    }
    return {
        "machine": machine,
        "versions": {package: _version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    if about.exists():
        for line in about.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor()
