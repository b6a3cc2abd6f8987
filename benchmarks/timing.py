"""What the benchmarks share: how a comparison is made, what the machine can do, and what it is.

A time says more about a machine and about what else runs on it than about a program. So two things
are always timed in turn, within one process, and what is reported is their ratio: `compare` takes
the median over the repetitions, each the ratio of two runs that were neighbours in time.

Beside the ratio stands a *floor*, the least that any method with the same operations could take.
It comes from two rates: the operations a second of a large matrix product, and the bytes a second
of a large copy. A machine that others use, too, changes its speed within minutes. So these rates
(`peak_rates`) are measured once for each repetition, in turn with the two things that are timed.

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
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

# A script that is run by its path finds the files of its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from georep_utils.io import REPOSITORY, UserError, write_json, write_table
from georep_utils.precision import find_device, linear, matmul_precision

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("numpy", "torch", "numba", "scikit-learn", "dadapy", "faiss-cpu")
# One product is short enough that something else on the machine may fall into it.
PRODUCTS = 5


# ------------------------------------------------------------------------------------ command lines


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser of the options that all scripts have which compare times."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--repeats", type=_at_least_one, default=5)
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


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a device; the parser refuses one that is not there."""
    parser.add_argument("--device", type=_device, default="auto")


def _device(name: str) -> torch.device:
    try:
        return find_device(name)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 1")
    return int(text)


# ------------------------------------------------------------------------------------------- floors


@dataclass(frozen=True)
class Rates:
    """What a device reaches at one moment.

    operations_per_second: multiplications and additions of a large matrix product, in some
    precision. bytes_per_second: of a large copy, read and written.
    """

    operations_per_second: float
    bytes_per_second: float


@dataclass(frozen=True)
class Floor:
    """What any method with the same operations has to do at least, and where.

    Attributes
    ----------
    operations : float
        Multiplications and additions.
    device : torch.device
        What makes them.
    dtype : str
        Their precision: "float32", "tf32" or "bfloat16".
    n_bytes : float
        Read and written; 0 where only the arithmetic is counted.
    """

    operations: float
    device: torch.device
    dtype: str = "float32"
    n_bytes: float = 0.0

    def facts(self, measured: Sequence[Rates]) -> dict:
        """The least seconds at the median of the rates, what sets them, and the rates."""
        operations = [rates.operations_per_second for rates in measured]
        copied = [rates.bytes_per_second for rates in measured]
        operations_per_second = statistics.median(operations)
        bytes_per_second = statistics.median(copied)
        seconds = {
            "arithmetic": self.operations / operations_per_second,
            "memory": self.n_bytes / bytes_per_second,
        }
        limit = max(seconds, key=seconds.get)
        return {
            "floor_seconds": seconds[limit],
            "floor": limit,
            "operations_per_second": operations_per_second,
            "operations_per_second_range": [min(operations), max(operations)],
            "bytes_per_second": bytes_per_second,
        }


@torch.inference_mode()
def peak_rates(device: torch.device, dtype: str = "float32") -> Rates:
    """What the device reaches here and now, in "float32", "tf32" or "bfloat16"."""
    # Large enough that the time of starting does not matter, and that no cache holds the copy.
    if device.type == "cpu":
        width = 2048
        n_bytes = 2**28
    else:
        width = 8192
        n_bytes = 2**30
    torch_dtype = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    a = torch.randn(width, width, device=device).to(torch_dtype)
    b = torch.randn(width, width, device=device).to(torch_dtype)
    source = torch.ones(n_bytes // 4, device=device)
    target = torch.empty_like(source)
    # TF32 exists on NVIDIA GPUs only. Elsewhere its rate is that of float32.
    precision = dtype if device.type == "cuda" else "float32"
    with matmul_precision(precision, device):
        product = _median_seconds(lambda: linear(a, b), device)
    copy = _median_seconds(lambda: target.copy_(source), device)
    return Rates(2 * width**3 / product, 2 * n_bytes / copy)


def _median_seconds(call: Callable, device: torch.device) -> float:
    def call_and_wait():
        call()
        wait(device)

    call_and_wait()  # a warm-up
    return statistics.median(seconds_of(call_and_wait) for _ in range(PRODUCTS))


# ------------------------------------------------------------------------------------------- timing


def compare(
    what: str,
    against: str,
    ours: Callable,
    theirs: Callable,
    repeats: int,
    floor: Floor | None = None,
    **facts,
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
    floor : Floor, optional
        The least of ours. Its rates are measured in turn with the two.
    **facts
        What else the row says: sizes, precision.

    Returns
    -------
    dict
        The facts; medians of both times, in seconds; median and range of the ratios theirs / ours,
        which are above 1 where ours is faster; and what `Floor.facts` says.
    """
    ours_seconds = []
    theirs_seconds = []
    rates = []
    for _ in range(repeats):
        ours_seconds.append(seconds_of(ours))
        theirs_seconds.append(seconds_of(theirs))
        if floor is not None:
            rates.append(peak_rates(floor.device, floor.dtype))
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
    if floor is not None:
        row |= floor.facts(rates)
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
