"""What the runs of the repository need, side by side: downloads, disk, memory and time.

`cost.report` looks at one run closely: it opens its files and times this machine. A reader who
chooses between runs has neither files nor machine yet. So this table is made from what is known
beforehand:

- `book/reference/runs.csv` states what the owners of models and data say of them: blocks, widths,
  parameters, samples, sizes of files;
- the run files say how many neighbours are kept and how many networks are read;
- `benchmarks/results` holds what `make bench` and `make bench-gpu` measured. Reading grows with
  samples, tokens and parameters; a search with the square of the samples. Both are scaled up from
  there.

The formulas of bytes are those of `cost`. Times of models that were not timed are estimates: they
tell minutes from days, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from georep_utils import io
from georep_utils.cost import (
    array_bytes,
    duration,
    extraction_memory,
    neighbor_bytes,
    search_memory,
)
from georep_utils.io import REPOSITORY

FACTS = REPOSITORY / "book/reference/runs.csv"
RESULTS = REPOSITORY / "benchmarks/results"
# What was timed, as the benchmark names it: parameters and tokens of a sample.
TIMED = {
    "24 blocks of width 64, 196 tokens": (1_197_440, 196),
    "iGPT-S, 1024 tokens": (76_000_000, 1024),
}
DEVICES = {"cpu": "time on 2 cores", "cuda": "time on a GPU"}
# In which files it stands. What was measured on a GPU has a file for each row.
READING = {"cpu": "extract-cpu.json", "cuda": "cuda-igpt-s-*.json"}
SEARCH = {"cpu": "neighbors-cpu.json", "cuda": "cuda-growth.json"}


@dataclass(frozen=True)
class Speed:
    """What a device can do.

    reading: parameters of a model -> parameters times tokens that pass in a second. search: seconds
    for n^2 d, n^2 and n, of n points with d features that are searched for in one task.
    """

    reading: Mapping[int, float]
    search: np.ndarray

    def reading_seconds(self, n: float, tokens: int, parameters: int) -> float:
        """Time to read n samples, at the rate of the timed model that is nearest in size."""
        nearest = min(self.reading, key=lambda size: abs(np.log(size / parameters)))
        return n * tokens * parameters / self.reading[nearest]

    def search_seconds(self, n: float, width: int, rows_per_task: int) -> float:
        """Time to find the neighbours of n points."""
        # A layer of several tasks has each distance computed from both of its ends.
        products = n**2 * width * (1 if n <= rows_per_task else 2)
        return float(np.array([products, n**2, n], dtype=float) @ self.search)


def speed(device: str) -> Speed | None:
    """What was measured on "cpu" or "cuda"; None where it was not, or not all of it."""
    reading = _rates(_rows(READING[device]))
    search = _search_constants(_rows(SEARCH[device]))
    if not reading or search is None:
        return None
    return Speed(reading, search)


def _rows(pattern: str) -> list[dict]:
    """What the files of that name hold, without those of quick runs."""
    rows: list[dict] = []
    for path in io.find(RESULTS, pattern):
        if not path.stem.endswith("-quick"):
            rows += io.read_json(path, {}).get("rows", [])
    return rows


def _rates(rows: list[dict]) -> dict[int, float]:
    """Parameters of a timed model -> parameters times tokens a second, the best over batches."""
    rates: dict[int, float] = {}
    for row in rows:
        if row.get("shape") in TIMED and row.get("dtype") == "float32":
            parameters, tokens = TIMED[row["shape"]]
            rate = row["n"] * tokens * parameters / row["ours_seconds"]
            rates[parameters] = max(rate, rates.get(parameters, 0))
    return rates


def _search_constants(rows: list[dict]) -> np.ndarray | None:
    """The three constants of the chapter on benchmarks, fitted as there."""
    growth = [row for row in rows if row["what"] == "growth"]
    if len(growth) < 3:
        return None
    n = np.array([row["n"] for row in growth], dtype=float)
    d = np.array([row["d"] for row in growth], dtype=float)
    seconds = np.array([row["ours_seconds"] for row in growth])
    terms = np.stack([n**2 * d, n**2, n], axis=1) / seconds[:, None]
    return nnls(terms, np.ones(len(growth)))[0]


# --------------------------------------------------------------------------------------- the table


def table(parameters: Mapping[str, Mapping[str, Mapping]]) -> pd.DataFrame:
    """A row a run, in words for readers.

    Parameters
    ----------
    parameters : run -> all parameters of each of its notebooks; runs without a row in
        `book/reference/runs.csv` are left out.

    Returns
    -------
    run, model and samples, networks read, to download, arrays on disk, memory, and a time for each
    device that was measured.
    """
    facts = pd.read_csv(FACTS, dtype={"data_gb": str}).set_index("run")
    speeds = {device: speed(device) for device in DEVICES}
    speeds = {device: found for device, found in speeds.items() if found is not None}
    rows = [
        _row(run, facts.loc[run], parameters[run], speeds)
        for run in facts.index
        if run in parameters
    ]
    return pd.DataFrame(rows)


def _row(run: str, fact: pd.Series, parameters: Mapping, speeds: Mapping) -> dict:
    reads = readings(fact, parameters)
    widths = [int(fact.width)] * (int(fact.blocks) + 1)
    if fact.outputs:
        widths.append(int(fact.outputs))
    maxk = _value(parameters, "03", "maxk", 50)
    ranks = int(np.log2(_value(parameters, "03", "range_max", 1024)))
    stored = sum(
        array_bytes(n, widths) + neighbor_bytes(n, len(widths), maxk, ranks) for n in reads
    )
    memory = max(extraction_memory(fact.parameters), search_memory(max(reads), max(widths)))
    row = {
        "run": run,
        "model and samples": f"{fact.model}; {fact.samples:,} of {fact['data']}",
        "networks": len(reads),
        "to download": _download(fact, parameters),
        "on disk": _gigabytes(stored),
        "memory": _gigabytes(memory),
    }
    per_task = _value(parameters, "03", "rows_per_task", max(reads))
    for device, measured in speeds.items():
        reading = sum(measured.reading_seconds(n, fact.tokens, fact.parameters) for n in reads)
        # A GPU computes each distance from both of its ends, however many tasks there are.
        at_once = per_task if device == "cpu" else max(reads)
        search = sum(measured.search_seconds(n, width, at_once) for n in reads for width in widths)
        row[DEVICES[device]] = duration(reading + search)
    return row


def readings(fact: pd.Series, parameters: Mapping) -> list[int]:
    """Samples that each network of a run reads: itself, untrained ones, checkpoints, places."""
    reads = [int(fact.samples)]
    if _value(parameters, "02", "untrained_control", False):
        reads += reads * _value(parameters, "02", "control_seeds", 1)
    checkpoint = _value(parameters, "02", "checkpoint", "")
    checkpoints = _value(parameters, "06", "checkpoints", {})
    few = _samples(fact, _value(parameters, "06", "n_per_class", 0))
    # The last step is the network of the run, whose cloud is there if it has the same samples.
    known = [checkpoint] if few == fact.samples else []
    reads += [few for name in checkpoints.values() if name not in known]
    # Places under the first pooling, and the other poolings at the first place. The first of all is
    # the network as other chapters read it, whose cloud is there if it has the same samples.
    places = len(_value(parameters, "11", "sites", [])) + len(_value(parameters, "11", "pools", []))
    samples = _samples(fact, _value(parameters, "11", "n_per_class", 0))
    in_training = checkpoint in checkpoints.values() and samples == few
    there = samples == fact.samples or in_training
    return reads + [samples] * max(0, places - (2 if there else 1))


def _samples(fact: pd.Series, per_class: int) -> int:
    if not per_class:
        return int(fact.samples)
    return int(min(fact.samples, per_class * fact.classes))


def _value(parameters: Mapping, notebook: str, name: str, default):
    for title, values in parameters.items():
        if title.startswith(notebook) and name in values:
            return values[name]
    return default


def _download(fact: pd.Series, parameters: Mapping) -> str:
    """Weights of all checkpoints, and data, as their owners state the sizes."""
    steps = {_value(parameters, "01", "checkpoint", "")}
    steps |= set(_value(parameters, "01", "checkpoints", {}).values())
    n_files = len(steps - {"untrained", None, ""}) or 1
    parts = [fact.weights_gb * n_files]
    if fact.data_gb != "yours":
        parts.append(float(fact.data_gb))
    total = sum(parts)
    said = "nothing" if total == 0 else _gigabytes(total * 1e9)
    return f"{said}; the data are yours to bring" if fact.data_gb == "yours" else said


def _gigabytes(n_bytes: float) -> str:
    gigabytes = n_bytes / 1e9
    if gigabytes < 0.1:
        return f"{gigabytes * 1000:.0f} MB"
    return f"{gigabytes:.1f} GB" if gigabytes < 10 else f"{gigabytes:.0f} GB"
