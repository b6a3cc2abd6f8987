"""Batches in, one (N, width) float32 array a layer out, on disk as it goes. Knows no model family."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from georep_utils.io import UserError, atomic, digest, read_json, write_json
from georep_utils.precision import threads_of_one_core

BATCH_TOKENS = {"cpu": 2**11, "cuda": 2**18}


@dataclass(frozen=True)
class Representations:
    """The arrays of one extraction. `representations[l]` is layer l, (N, width) float32, memory-mapped.
    seconds: spent on them, summed over the processes that shared the work."""

    folder: Path
    layers: tuple[int, ...]
    layer_names: tuple[str, ...]
    n_blocks: int
    n_samples: int
    model: str
    dataset: str
    seconds: float

    def __getitem__(self, layer: int) -> np.ndarray:
        if layer not in self.layers:
            raise UserError(f"layer {layer} is not in {self.folder}; it holds {', '.join(map(str, self.layers))}")
        return np.load(layer_file(self.folder, layer), mmap_mode="r")

    def __len__(self) -> int:
        return len(self.layers)

    def side(self, name: str) -> np.ndarray | None:
        """`labels`, `families` or `ids` of the samples, row for row, or None where the data set has none."""
        path = self.folder / f"{name}.npy"
        return np.load(path, allow_pickle=False) if path.exists() else None


def layer_file(folder: str | Path, layer: int) -> Path:
    return Path(folder) / f"layer_{layer:02d}.npy"


def load(folder: str | Path) -> Representations:
    """What `extract` left in `folder`. Raises UserError where no extraction was finished there."""
    info = read_json(Path(folder) / "representations.json")
    if info is None:
        raise UserError(f"{folder} holds no finished extraction; run the extract stage of this run first")
    return Representations(Path(folder), tuple(info["layers"]), tuple(info["layer_names"]),
                           **{key: info[key] for key in ("n_blocks", "n_samples", "model", "dataset", "seconds")})  # fmt: skip


def batches(lengths: np.ndarray, batch_tokens: int, batch_size: int | None = None) -> list[np.ndarray]:
    """Rows of each batch, samples of like length together: at most `batch_tokens` tokens after padding and `batch_size`
    samples, at least one sample."""
    order = np.argsort(lengths, kind="stable")[::-1] if np.ptp(lengths) else np.arange(len(lengths))
    found, start = [], 0
    while start < len(order):
        count = min(max(1, batch_tokens // int(lengths[order[start]])), batch_size or len(order))
        found.append(order[start : start + count])
        start += count
    return found


def extract(model, dataset, out_dir: str | Path, layers: Sequence[int] | None = None, batch_size: int | None = None,
            batch_tokens: int | None = None, progress: bool = True) -> Representations:  # fmt: skip
    """Write layer_LL.npy, (N, width) float32, for each of `layers` (None: all), and the labels beside them.

    batch_size: most samples in a batch; None: as many as their tokens allow. batch_tokens: most tokens in a batch, padding
    included; None: 2^11 on a CPU, 2^18 on a GPU, or whatever `batch_size` samples have. Halved when memory runs out.
    Memory holds the model, a batch a thread and one more, whatever N. Interrupted work goes on at the batch where it
    stopped, unless the model, the data or an option changed. For several processes, call the three steps yourself.
    Raises UserError for data that don't suit the model, layers it has not, and a disk too small, before any work.
    """
    work(model, dataset, out_dir, prepare(model, dataset, out_dir, layers, batch_size, batch_tokens), progress)
    return finish(model, dataset, out_dir)


def prepare(model, dataset, out_dir: str | Path, layers: Sequence[int] | None = None, batch_size: int | None = None,
            batch_tokens: int | None = None) -> np.ndarray:  # fmt: skip
    """Check as `extract` does, lay out its files and its batches, and return the numbers of the batches still to do."""
    for name, value in {"batch_size": batch_size, "batch_tokens": batch_tokens}.items():
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; expected at least 1, or None to choose")
    model.check(dataset)
    layers = list(model.layers if layers is None else layers)
    if unknown := set(layers) - set(model.layers):
        raise UserError(f"layers {sorted(unknown)} don't exist; {model.name} has layers 0..{model.layers[-1]}")
    lengths = model.lengths(dataset.inputs)
    batch_tokens = batch_tokens or (batch_size * int(lengths.max()) if batch_size else BATCH_TOKENS[model.device.type])
    shortest = int(np.argmin(lengths))
    trial = [pooled.cpu().numpy() for pooled in model.forward(dataset.take([shortest]).inputs)]
    task = {"model": model.name, "site": getattr(model, "site", ""), "pool": model.pool, "dtype": model.dtype,
            "data": digest(dataset.name, [str(i) for i in dataset.ids], lengths.tolist()), "layers": layers,
            "batch": [batch_size, batch_tokens], "trial": digest([f"{x:.2e}" for pooled in trial for x in pooled[0]])}  # fmt: skip
    partial = partial_of(out_dir)
    if read_json(partial / "task.json") != task:
        shutil.rmtree(partial, ignore_errors=True)
        make_files(partial, layers, [trial[model.layers.index(layer)].shape[1] for layer in layers], len(dataset))
        todo = batches(lengths, batch_tokens, batch_size)
        np.save(partial / "order.npy", np.concatenate(todo))
        np.save(partial / "sizes.npy", [len(rows) for rows in todo])
        np.save(partial / "seconds.npy", np.zeros(len(todo)))
        write_json(partial / "task.json", task)
    return np.flatnonzero(np.load(partial / "seconds.npy") == 0)


def work(model, dataset, out_dir: str | Path, numbers: Sequence[int], progress: bool = False) -> None:
    """Do the batches `numbers` of what `prepare` laid out. Processes that see the folder may each do some, in any order:
    a batch has its own rows of the files, and the same bits whoever does it with the same device and software."""
    partial = partial_of(out_dir)
    layers = read_json(partial / "task.json")["layers"]
    rows = np.split(np.load(partial / "order.npy"), np.cumsum(np.load(partial / "sizes.npy"))[:-1])
    paths = [*(layer_file(partial, layer) for layer in layers), partial / "seconds.npy"]
    *offsets, first = [np.load(path, mmap_mode="r").offset for path in paths]
    undone = np.load(partial / "seconds.npy") == 0
    waiting, left, pieces, began = deque(), deque(i for i in numbers if undone[i]), 1, time.perf_counter()
    with contextlib.ExitStack() as stack:
        *streams, clock = [stack.enter_context(open(path, "r+b", buffering=0)) for path in paths]
        pool, workers = side_by_side(model)
        pool = stack.enter_context(pool)
        done, total = len(rows) - len(left), sum(map(len, rows))
        bar = stack.enter_context(
            tqdm(total=total, initial=total - sum(len(rows[i]) for i in left) if done else 0, unit="sample",
                 disable=not progress, mininterval=1))  # fmt: skip
        while left or waiting:
            if left:
                waiting.append((left[0], pool.submit(forward, model, dataset, rows[left[0]], pieces)))
                left.popleft()
            while len(waiting) > (workers if left else 0):
                number, result = waiting.popleft()
                pooled, fitted = result.result()
                pieces = max(pieces, fitted)
                write_rows(streams, offsets, rows[number], [pooled[model.layers.index(layer)] for layer in layers])
                now = time.perf_counter()
                clock.seek(first + 8 * int(number))
                clock.write(np.float64(max(now - began, 1e-9)).tobytes())
                began = now
                bar.update(len(rows[number]))


def partial_of(out_dir: str | Path) -> Path:
    """Where an extraction grows until it is whole."""
    return Path(out_dir).with_name(f".{Path(out_dir).name}.partial")


def side_by_side(model):
    """A pool that computes batches ahead, and how many at once. On a CPU a model that says it may be called from several
    threads gets a batch a thread: faster than several threads a batch, and the same bits whatever their number."""
    if model.device.type == "cpu" and getattr(model, "reentrant", False):
        return threads_of_one_core(torch.get_num_threads()), torch.get_num_threads()
    return ThreadPoolExecutor(1), 1


def forward(model, dataset, rows: np.ndarray, pieces: int) -> tuple[list[np.ndarray], int]:
    """Pooled arrays of the samples `rows`, computed in so many pieces, or in twice as many where the device runs out of
    memory; and the number of pieces that fitted."""
    while True:
        try:
            parts = [[pooled.cpu().numpy() for pooled in model.forward(dataset.take(part).inputs)]
                     for part in np.array_split(rows, min(pieces, len(rows)))]  # fmt: skip
            return [np.concatenate(layer) for layer in zip(*parts, strict=True)], pieces
        except torch.OutOfMemoryError:
            if pieces >= len(rows):
                raise UserError(
                    f"sample {dataset.ids[rows[0]]} alone does not fit into the memory of {model.device}; "
                    "use a shorter one, a smaller model, dtype bfloat16 or another device"
                ) from None
        torch.cuda.empty_cache()
        pieces *= 2


def make_files(folder: Path, layers: Sequence[int], widths: Sequence[int], n: int) -> None:
    """Empty arrays of their final size. Raises UserError where the disk has no room for them."""
    folder.mkdir(parents=True)
    needed, free = 4 * n * sum(widths), shutil.disk_usage(folder).free
    if needed > 0.98 * free:
        shutil.rmtree(folder)
        raise UserError(
            f"representations of {n} samples need {needed / 1e9:.1f} GB, but {folder.parent} has {free / 1e9:.1f} GB "
            "free; free some space, take fewer layers or samples, or put data/ on another disk"
        )
    for layer, width in zip(layers, widths, strict=True):
        np.lib.format.open_memmap(layer_file(folder, layer), mode="w+", dtype=np.float32, shape=(n, width))


def write_rows(streams, offsets, rows: np.ndarray, pooled: Sequence[np.ndarray]) -> None:
    """Put the rows of a batch into their files: one write a run of consecutive rows."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    runs = list(zip([0, *breaks], [*breaks, len(rows)]))
    for stream, offset, block in zip(streams, offsets, pooled, strict=True):
        for start, stop in runs:
            stream.seek(offset + int(rows[start]) * block.shape[1] * 4)
            stream.write(np.ascontiguousarray(block[start:stop], dtype=np.float32).tobytes())


def finish(model, dataset, out_dir: str | Path) -> Representations:
    """Put what was extracted in the place of what was there before. UserError where batches are missing."""
    out_dir, partial = Path(out_dir), partial_of(out_dir)
    seconds, layers = np.load(partial / "seconds.npy"), read_json(partial / "task.json")["layers"]
    if missing := int((seconds == 0).sum()):
        raise UserError(f"{missing} of {len(seconds)} batches of {out_dir} are not done; extract again to do them")
    for name in ("labels", "families", "ids"):
        if (value := getattr(dataset, name)) is not None:
            with atomic(partial / f"{name}.npy") as path, open(path, "wb") as stream:
                np.save(stream, np.asarray(value), allow_pickle=False)
    write_json(partial / "representations.json", {
        "layers": layers, "layer_names": [model.layer_names[model.layers.index(layer)] for layer in layers],
        "n_blocks": model.n_blocks, "n_samples": len(dataset), "model": model.name, "dataset": dataset.name,
        "seconds": seconds.sum()})  # fmt: skip
    for name in ("order.npy", "sizes.npy", "seconds.npy", "task.json"):
        (partial / name).unlink()
    shutil.rmtree(out_dir, ignore_errors=True)
    partial.rename(out_dir)
    return load(out_dir)
