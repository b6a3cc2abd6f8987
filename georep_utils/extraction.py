"""Batches in, one (N, width) float32 array a layer out, on disk as it goes.

A sample passes through the network once. What a hook point gives is pooled over the sequence inside
the model, so that memory holds the model, the batches that are being computed, and nothing that
grows with the number of samples.

The work is done in three steps, so that several processes can share it:

1. `prepare` checks model and data, lays out empty arrays of their final size, and decides which
   samples form a batch;
2. `work` does some of the batches, in any order: each has its own rows of the arrays;
3. `finish` adds labels and a description, once every batch is done.

All of it happens in a folder beside the final one. When the work is interrupted, the next `prepare`
finds the folder and returns the batches that are still to do. This module knows no model family.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import zipfile
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from georep_utils.io import UserError, digest, read_json, write_json
from georep_utils.precision import matmul_precision, threads_of_one_core

# Most tokens of a batch on a GPU.
BATCH_TOKENS = {"cuda": 2**18}

# On a CPU, where each core has a batch of its own: numbers of one hidden state. The widest array of
# a transformer has four times as many, 4 MiB, about what a core's own cache holds. With texts of
# one length, a model of width 576 is fastest at 512 tokens a batch; half as many take 3 % longer, a
# quarter 18 %, twice as many 13 %, four times as many 16 %. A vision transformer of width 384 stays
# within 5 % from 4 images of 65 tokens to 32. So a calibration at run time would win nothing.
CPU_STATE = 2**18
CPU_TOKENS = (2**8, 2**11)  # and the fewest and the most tokens, whatever the width
SIDES = ("labels", "families", "ids")

# Notes on the state of the work. Their names begin with a dot: they are no part of the result.
TASK = ".task.json"
ORDER = ".order.npy"
SIZES = ".sizes.npy"
SECONDS = ".seconds.npy"
TRIAL = ".trial.npz"

# How far the vectors of one sample may lie from those that the work began with, relative to their
# length, so that it goes on. It is what benchmarks/gpu.py allows a device to be off by, and in
# float32 ten times as much, for networks that are deeper than those measured there. Networks with
# other weights are further apart: checkpoints of assets/igpt-mini by 0.4 or more in some layer.
TRIAL_TOLERANCE = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 1e-1}


def layer_file(folder: str | Path, layer: int) -> Path:
    """The file of one layer's array."""
    return Path(folder) / f"layer_{layer:02d}.npy"


def partial_of(folder: str | Path) -> Path:
    """Where the arrays of `folder` grow until they are whole."""
    return Path(folder).with_name(f".{Path(folder).name}.partial")


def batches(
    lengths: np.ndarray, batch_tokens: int, batch_size: int | None = None
) -> list[np.ndarray]:
    """Divide samples into batches of like length.

    Parameters
    ----------
    lengths : (N,) tokens of each sample.
    batch_tokens : most tokens of a batch, padding included.
    batch_size : most samples of a batch; None for as many as their tokens allow.

    Returns
    -------
    Row numbers of each batch, the longest samples first; equal lengths keep their order. A batch
    has at least one sample, however long it is.
    """
    order = np.arange(len(lengths))
    if np.ptp(lengths):
        order = np.argsort(lengths, kind="stable")[::-1]
    found = []
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        count = max(1, batch_tokens // longest)
        count = min(count, batch_size or len(order))
        found.append(order[start : start + count])
        start += count
    return found


def usual_batch_tokens(device: torch.device, width: int) -> int:
    """Most tokens of a batch where nobody says it, for a network of that width."""
    if device.type != "cpu":
        return BATCH_TOKENS[device.type]
    fewest, most = CPU_TOKENS
    return min(max(CPU_STATE // width, fewest), most)


# ----------------------------------------------------------------------------------------- prepare


def prepare(
    model,
    dataset,
    folder: str | Path,
    layers: Sequence[int] | None = None,
    batch_size: int | None = None,
    batch_tokens: int | None = None,
    recipe: dict | None = None,
) -> np.ndarray:
    """Check everything, lay out the arrays, and return the numbers of the batches still to do.

    Parameters
    ----------
    model : what `georep_utils.models.load.load` returns.
    dataset : a `Dataset` of the kind that the model reads.
    folder : where the arrays will lie; they grow beside it.
    layers : layer numbers; None for all.
    batch_size, batch_tokens
        Most samples and most tokens of a batch. None and None choose for the device: 2^18 tokens
        on a GPU, 2^18 over the network's width (but 2^8 to 2^11) on a CPU. Interrupted work keeps
        the batches that it began with.
    recipe : what the arrays depend on; work on another recipe is not continued.

    Interrupted work of the same recipe goes on, on whatever device, unless the model gives other
    vectors for one sample than it did at the beginning (see `TRIAL_TOLERANCE`).

    Raises
    ------
    UserError
        For data that don't suit the model, layers that it has not, a batch that can't hold a
        sample, and a disk without room, before any work.
    """
    for name, value in {"batch_size": batch_size, "batch_tokens": batch_tokens}.items():
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; expected at least 1, or None to choose")
    model.check(dataset)
    layers = list(model.layers if layers is None else layers)
    unknown = sorted(set(layers) - set(model.layers))
    if unknown:
        raise UserError(
            f"layers {unknown} don't exist; {model.name} has layers 0..{model.layers[-1]}"
        )
    lengths = model.lengths(dataset.inputs)
    _require_room_for_one(dataset, lengths, batch_tokens)
    trial = _trial(model, dataset, int(np.argmin(lengths)))
    task = {
        "recipe": digest(recipe),
        "model": [model.name, getattr(model, "site", ""), model.pool, model.dtype],
        "data": dataset.digest(),
        "layers": layers,
    }
    partial = partial_of(folder)
    begun = read_json(partial / TASK) == task
    if not begun or not _is_same_trial(partial, trial, TRIAL_TOLERANCE[model.dtype]):
        if batch_tokens is None and batch_size is not None:
            batch_tokens = batch_size * int(lengths.max())
        batch_tokens = batch_tokens or usual_batch_tokens(model.device, trial[0].shape[1])
        widths = [trial[model.layers.index(layer)].shape[1] for layer in layers]
        shutil.rmtree(partial, ignore_errors=True)
        _make_files(partial, layers, widths, len(dataset))
        _write_plan(partial, batches(lengths, batch_tokens, batch_size))
        np.savez(partial / TRIAL, *trial)
        # Last: what has a task is whole.
        write_json(partial / TASK, task)
    return np.flatnonzero(np.load(partial / SECONDS) == 0)


def _require_room_for_one(dataset, lengths: np.ndarray, batch_tokens: int | None) -> None:
    """UserError where a budget that somebody gave can't hold the longest sample."""
    longest = int(np.argmax(lengths))
    if batch_tokens is not None and lengths[longest] > batch_tokens:
        raise UserError(
            f"batch_tokens is {batch_tokens}, but sample {dataset.ids[longest]} has "
            f"{lengths[longest]} tokens; expected room for one: give at least so many, or none to "
            "choose"
        )


def _trial(model, dataset, row: int) -> list[np.ndarray]:
    """Pooled arrays (1, width) of one sample: they tell the widths, and one model from another."""
    return forward(model, dataset, np.array([row]), pieces=1)[0]


def _is_same_trial(partial: Path, trial: list[np.ndarray], tolerance: float) -> bool:
    """Whether the work in `partial` began with these vectors, up to rounding in every layer.

    Bits are not compared: another device adds up in another order.
    """
    try:
        with np.load(partial / TRIAL) as stored:
            before = list(stored.values())
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):  # none, or a damaged one
        return False
    if [vector.shape for vector in before] != [vector.shape for vector in trial]:
        return False
    for old, new in zip(before, trial, strict=True):
        if not np.linalg.norm(new - old) <= tolerance * np.linalg.norm(old):
            return False
    return True


def _make_files(folder: Path, layers: Sequence[int], widths: Sequence[int], n: int) -> None:
    """Empty arrays of their final size. Raises UserError where the disk has no room for them."""
    folder.mkdir(parents=True)
    needed = 4 * n * sum(widths)
    free = shutil.disk_usage(folder).free
    if needed > 0.98 * free:
        shutil.rmtree(folder)
        raise UserError(
            f"representations of {n} samples need {needed / 1e9:.1f} GB, but {folder.parent} has "
            f"{free / 1e9:.1f} GB free; free some space, take fewer layers or samples, or put "
            "data/ on another disk"
        )
    for layer, width in zip(layers, widths, strict=True):
        file = layer_file(folder, layer)
        np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(n, width))


def _write_plan(partial: Path, planned: list[np.ndarray]) -> None:
    """Write which rows each batch has, and that it took no time yet."""
    np.save(partial / ORDER, np.concatenate(planned))
    np.save(partial / SIZES, [len(rows) for rows in planned])
    np.save(partial / SECONDS, np.zeros(len(planned)))


def _read_plan(partial: Path) -> list[np.ndarray]:
    ends = np.cumsum(np.load(partial / SIZES))[:-1]
    return np.split(np.load(partial / ORDER), ends)


# -------------------------------------------------------------------------------------------- work


def work(
    model, dataset, folder: str | Path, numbers: Sequence[int], progress: bool = False
) -> None:
    """Do the batches `numbers` of what `prepare` laid out.

    Processes that see the folder may each do some, in any order: a batch has its own rows of the
    files, and gets the same bits whoever does it with the same kind of device and software.
    """
    partial = partial_of(folder)
    layers = read_json(partial / TASK)["layers"]
    rows_of = _read_plan(partial)
    done = np.load(partial / SECONDS) > 0
    todo = deque(int(number) for number in numbers if not done[number])
    columns = [model.layers.index(layer) for layer in layers]
    with contextlib.ExitStack() as stack:
        paths = [layer_file(partial, layer) for layer in layers]
        arrays = [stack.enter_context(_ArrayRows(path)) for path in paths]
        clock = stack.enter_context(_ArrayRows(partial / SECONDS))
        pool, workers = side_by_side(model)
        pool = stack.enter_context(pool)
        bar = stack.enter_context(_progress_bar(rows_of, todo, progress))
        # Set once for all threads, which share it.
        stack.enter_context(matmul_precision(model.dtype, model.device))
        waiting: deque = deque()
        pieces = 1
        began = time.perf_counter()
        while todo or waiting:
            if todo:
                number = todo.popleft()
                result = pool.submit(forward, model, dataset, rows_of[number], pieces)
                waiting.append((number, result))
            # One batch more than there are workers waits, so that no worker ever does.
            while len(waiting) > (workers if todo else 0):
                number, result = waiting.popleft()
                pooled, fitted = result.result()
                pieces = max(pieces, fitted)
                for array, column in zip(arrays, columns, strict=True):
                    array.write(rows_of[number], pooled[column])
                now = time.perf_counter()
                # The time is written last: a batch that has one is whole.
                clock.write_number(number, max(now - began, 1e-9))
                began = now
                bar.update(len(rows_of[number]))


def _progress_bar(rows_of: list[np.ndarray], todo: Sequence[int], progress: bool) -> tqdm:
    total = sum(len(rows) for rows in rows_of)
    left = sum(len(rows_of[number]) for number in todo)
    return tqdm(
        total=total, initial=total - left, unit="sample", disable=not progress, mininterval=1
    )


def side_by_side(model) -> tuple[ThreadPoolExecutor, int]:
    """A pool that computes batches ahead, and how many at once.

    On a CPU, a model that may be called from several threads gets a batch a thread: that is faster
    than several threads a batch, and gives the same bits whatever their number.
    """
    if model.device.type == "cpu" and getattr(model, "reentrant", False):
        threads = torch.get_num_threads()
        return threads_of_one_core(threads), threads
    return ThreadPoolExecutor(1), 1


def forward(model, dataset, rows: np.ndarray, pieces: int) -> tuple[list[np.ndarray], int]:
    """Pooled arrays (len(rows), width) a layer, and the number of pieces that fitted.

    The batch is computed in `pieces` parts, or in twice as many whenever the device runs out of
    memory.

    Raises
    ------
    UserError
        If one sample alone does not fit, or the device is no longer there.
    """
    while True:
        try:
            parts = []
            for part in np.array_split(rows, min(pieces, len(rows))):
                pooled = model.forward(dataset.take(part).inputs)
                parts.append([array.cpu().numpy() for array in pooled])
            return [np.concatenate(layer) for layer in zip(*parts, strict=True)], pieces
        except (RuntimeError, MemoryError) as error:
            if has_lost_device(error):
                raise UserError(
                    f"{model.device} stopped working ({first_line(error)}); the batches that are "
                    "done are kept: run again when it is back, or on another device"
                ) from None
            if not is_out_of_memory(error):
                raise
            if pieces >= len(rows):
                raise UserError(
                    f"sample {dataset.ids[rows[0]]} alone does not fit into the memory of "
                    f"{model.device}; use a shorter one, a smaller model, dtype bfloat16 or "
                    "another device"
                ) from None
        torch.cuda.empty_cache()
        pieces *= 2


# What CUDA and its libraries say in a plain RuntimeError when a device has failed.
LOST_DEVICE = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "device-side assert")

# What is said where memory lacks and PyTorch has no type of its own for it: on a CPU, and where a
# library of CUDA asks for memory itself.
NO_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device had no room."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(words in str(error) for words in NO_MEMORY)


def has_lost_device(error: Exception) -> bool:
    """Whether a device stopped working, and does not only lack room."""
    if is_out_of_memory(error):
        return False
    known = isinstance(error, torch.AcceleratorError)
    return known or any(words in str(error) for words in LOST_DEVICE)


def first_line(error: Exception) -> str:
    """What an error says. Those of PyTorch go on with advice to whoever programs CUDA."""
    return str(error).partition("\n")[0]


class _ArrayRows:
    """Rows of a .npy file that are written in place, without mapping the file into memory."""

    def __init__(self, path: Path):
        array = np.load(path, mmap_mode="r")
        self.path = path
        self.offset = array.offset
        self.row_bytes = array[:1].nbytes

    def __enter__(self) -> _ArrayRows:
        self.stream = open(self.path, "r+b", buffering=0)
        return self

    def __exit__(self, *_) -> None:
        self.stream.close()

    def write(self, rows: np.ndarray, block: np.ndarray) -> None:
        """Put `block` into `rows`: one write for each run of consecutive rows."""
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        starts = [0, *breaks]
        stops = [*breaks, len(rows)]
        for start, stop in zip(starts, stops, strict=True):
            self.stream.seek(self.offset + int(rows[start]) * self.row_bytes)
            part = np.ascontiguousarray(block[start:stop], dtype=np.float32)
            self._write_all(part.tobytes())

    def write_number(self, row: int, value: float) -> None:
        """Put one float64 into its row."""
        self.stream.seek(self.offset + row * self.row_bytes)
        self._write_all(np.float64(value).tobytes())

    def _write_all(self, content: bytes) -> None:
        # On a disk that is nearly full a write may take a part and say so; only the next one fails.
        left = memoryview(content)
        while left:
            left = left[self.stream.write(left) :]


# ------------------------------------------------------------------------------------------ finish


def finish(model, dataset, folder: str | Path) -> dict:
    """Add labels and a description to the arrays, which are then whole; return the description.

    Doing it again, after an interruption, gives the same.

    Raises
    ------
    UserError
        If batches are missing.
    """
    partial = partial_of(folder)
    layers = read_json(partial / TASK)["layers"]
    seconds = np.load(partial / SECONDS)
    missing = int((seconds == 0).sum())
    if missing:
        raise UserError(
            f"{missing} of {len(seconds)} batches of {folder} are not done; extract again to do "
            "them"
        )
    for side in SIDES:
        values = getattr(dataset, side)
        if values is not None:
            np.save(partial / f"{side}.npy", np.asarray(values), allow_pickle=False)
    columns = [model.layers.index(layer) for layer in layers]
    about = {
        "layers": layers,
        "layer_names": [model.layer_names[column] for column in columns],
        "n_blocks": model.n_blocks,
        "n_samples": len(dataset),
        "model": model.name,
        "dataset": dataset.name,
        "seconds": float(seconds.sum()),
    }
    write_json(partial / "cloud.json", about)
    return about


def forget_progress(folder: str | Path) -> None:
    """Remove the notes on the state of the work from a finished folder."""
    for name in (TASK, ORDER, SIZES, SECONDS, TRIAL):
        (Path(folder) / name).unlink(missing_ok=True)
