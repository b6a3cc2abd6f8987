"""Clouds of points: the representations of some samples in one model, found again by their recipe.

A cloud is a folder below `data/clouds/`:

    recipe.json     everything that the arrays depend on
    cloud.json      what the arrays are: layers, number of samples, model, data set
    layer_LL.npy    (N, width) float32, one file a layer
    labels.npy, families.npy, ids.npy    row for row, where the data have them
    neighbors-kK-rR-DIGEST/    neighbours and distance ratios of every layer

The recipe names bytes, not places: digests of the model's files and of the samples, the hook point,
the pooling, the precision, the seed, the versions of the libraries, and a digest of the code that
computes. Eight letters of its own digest end the folder's name. So the same question finds the same
folder, whoever asks: another chapter, another run, a variant of a run. Another recipe is another
folder beside it, and nothing is overwritten. A folder takes its name when it is whole; while it
grows it is locked, and a second process waits for it.

A cloud can also be brought from elsewhere (`bring`): arrays of another tool, read in place. And the
samples themselves are a cloud (`represent_input`), whose layers are plain arrays of the input, so
that whatever is measured of a network can be measured of its input, too.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from georep_utils import extraction, io, parallel
from georep_utils.geometry import neighbors as search
from georep_utils.geometry.neighbors import Neighbors
from georep_utils.io import RunPaths, UserError

SEARCH_CODE = (
    "georep_utils.geometry.neighbors",
    "georep_utils.geometry.neighbors_cpu",
    "georep_utils.geometry.neighbors_gpu",
    "georep_utils.geometry.neighbor_points",
    "georep_utils.geometry.neighbor_kernels",
    "georep_utils.precision",
)
EXTRACTION_CODE = ("georep_utils.extraction:forward", "georep_utils.extraction:_ArrayRows")
DESCRIBED = {"layers", "layer_names", "n_blocks", "n_samples", "model", "dataset", "seconds"}
DAMAGED = "run the notebook that made it again (02): it will be made anew"


@dataclass(frozen=True)
class Cloud:
    """The arrays of one recipe. `cloud[layer]` is that layer, (N, width) float32.

    Attributes
    ----------
    folder
        Where it lies.
    layers, layer_names
        Numbers as in the paper: 0..L-1 for the inputs of the L blocks, L for the final norm, L+1
        for the logits where there are any; and the hook point of each.
    n_blocks, n_samples
        L and N.
    model, dataset
        Their names, for captions.
    seconds
        Spent on the arrays, added up over the processes that shared the work.
    kept
        (maxk, range_max) of the neighbours that the run uses which opened this cloud, or None.
    """

    folder: Path
    layers: tuple[int, ...]
    layer_names: tuple[str, ...]
    n_blocks: int
    n_samples: int
    model: str
    dataset: str
    seconds: float
    brought: dict | None = None
    kept: tuple[int, int] | None = None

    def __getitem__(self, layer: int) -> np.ndarray:
        if layer not in self.layers:
            held = ", ".join(map(str, self.layers))
            raise UserError(f"layer {layer} is not in {self.folder}; it holds {held}")
        if self.brought:
            read = _READERS[self.brought["format"]]
            name = self.brought["arrays"][self.layers.index(layer)]
            return np.asarray(read(Path(self.brought["path"]), name), dtype=np.float32)
        return np.load(extraction.layer_file(self.folder, layer), mmap_mode="r")

    def __len__(self) -> int:
        return len(self.layers)

    def side(self, name: str) -> np.ndarray | None:
        """`labels`, `families` or `ids` (N,), or None where the samples have none."""
        path = self.folder / f"{name}.npy"
        return np.load(path, allow_pickle=False) if path.exists() else None

    def neighbors(self, layer: int, maxk: int = 0, range_max: int = 0) -> Neighbors:
        """The stored neighbours of one layer.

        Parameters
        ----------
        maxk, range_max
            Neighbours a point, and the largest rank of the distance ratios; 0 for those that the
            run keeps.

        Raises
        ------
        UserError
            If so many were never searched.
        """
        if not maxk:
            if self.kept is None:
                raise UserError(f"no neighbours of {self.folder.name} yet; run 03_distances first")
            maxk, range_max = self.kept
        wide_enough = _searches(self, maxk, range_max)
        if not wide_enough:
            raise UserError(
                f"{self.folder.name} has no search of {maxk} neighbours and ratios to rank "
                f"{range_max}; run 03_distances first"
            )
        io.note_read(wide_enough[0])
        return search.load(wide_enough[0], f"layer_{layer:02d}").first(maxk, range_max)


def open_cloud(folder: str | Path) -> Cloud:
    """The finished cloud in `folder`.

    Raises
    ------
    UserError
        If there is none, or a file of it is missing or cut short.
    """
    folder = Path(folder)
    about = io.read_object(folder / "cloud.json")
    if not about:
        raise UserError(f"{folder} holds no finished cloud; {DAMAGED}")
    fault = _damage(folder, about)
    if fault:
        raise UserError(f"{folder} is damaged: {fault}; {DAMAGED}")
    io.note_read(folder)
    return Cloud(
        folder=folder,
        layers=tuple(about["layers"]),
        layer_names=tuple(about["layer_names"]),
        n_blocks=about["n_blocks"],
        n_samples=about["n_samples"],
        model=about["model"],
        dataset=about["dataset"],
        seconds=about["seconds"],
        brought=about.get("brought"),
    )


def _damage(folder: Path, about: dict) -> str:
    """What is wrong with a cloud, by its description, headers and sizes; "" where nothing is."""
    lacking = DESCRIBED - about.keys()
    if lacking:
        return f"cloud.json lacks {min(lacking)}"
    if about.get("brought"):
        return ""
    for layer in about["layers"]:
        file = extraction.layer_file(folder, layer)
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            return f"{file.name}: {error}"
        if array.ndim != 2 or len(array) != about["n_samples"]:
            return f"{file.name} has shape {array.shape}, expected {about['n_samples']} rows"
    return ""


# ------------------------------------------------------------------------------------ find or make


def recipe_of(source, dataset, layers: Sequence[int] | None = None) -> dict:
    """Everything that the arrays of a cloud depend on.

    Parameters
    ----------
    source : a `ModelSource`; its `recipe()` says what the model depends on.
    dataset : a `Dataset`; its `digest()` stands for samples, labels and their order.
    layers : layer numbers; None for all.
    """
    return {
        "model": source.recipe(),
        "data": _data_recipe(dataset),
        "layers": None if layers is None else list(layers),
        "code": io.code_digest(*EXTRACTION_CODE),
    }


def _data_recipe(dataset) -> dict:
    return {"name": dataset.name, "n_samples": len(dataset), "digest": dataset.digest()}


def represent(
    source,
    dataset,
    load_data: Callable | None = None,
    *,
    layers: Sequence[int] | None = None,
    batch_size: int | None = None,
    batch_tokens: int | None = None,
    scheduler: str = "",
    resources: dict[str, float] | None = None,
    samples_per_task: int = 5000,
    progress: bool = True,
) -> Cloud:
    """The cloud of some samples in a model: found where its recipe was met before, made else.

    Parameters
    ----------
    source, dataset, layers : as in `recipe_of`.
    load_data : gives the data set again on a worker; needed where there is a scheduler.
    batch_size, batch_tokens : as in `extraction.prepare`.
    scheduler, resources : where the work is done, as in `parallel.map`.
    samples_per_task : about so many samples are one task of a scheduler, in whole batches.

    Raises
    ------
    UserError
        As `extraction.prepare`, `extraction.forward` and `parallel.map`.
    """
    recipe = recipe_of(source, dataset, layers)
    folder = folder_of(recipe)
    if is_whole(folder, recipe):
        return open_cloud(folder)
    with lock(folder, "making"):
        if not is_whole(folder, recipe):
            model = source.load()
            todo = extraction.prepare(
                model, dataset, folder, layers, batch_size, batch_tokens, recipe
            )
            if scheduler:
                job = partial(_work_on_worker, source, load_data, folder)
                parts = np.array_split(todo, -(-len(dataset) // samples_per_task))
                tasks = [part for part in parts if len(part)]
                shared = folder.parent
                parallel.map(job, tasks, scheduler, resources, progress="tasks", shared=shared)
            else:
                extraction.work(model, dataset, folder, todo, progress)
            extraction.finish(model, dataset, folder)
            promote(folder, recipe)
    return open_cloud(folder)


def _work_on_worker(source, load_data, folder: Path, numbers: np.ndarray) -> None:
    model = parallel.once(source.load)
    extraction.work(model, parallel.once(load_data), folder, numbers)


def represent_input(dataset, baselines: Sequence) -> Cloud:
    """The samples themselves as a cloud: found where its recipe was met before, made else.

    Parameters
    ----------
    dataset : a `Dataset`.
    baselines
        What each layer is, in order: objects with a name, a recipe (what the array depends on
        beside the samples) and a function `make` that gives it, (N, width) float32.

    Raises
    ------
    UserError
        For no baseline, and for an array that has not a row a sample.
    """
    if not baselines:
        raise UserError(f"no baseline of {dataset.name}; expected one array of its samples or more")
    recipe = {
        "input": [{"name": part.name} | part.recipe for part in baselines],
        "data": _data_recipe(dataset),
    }
    folder = _folder_of(recipe, f"{dataset.name}-{len(dataset)}-input")
    if not is_whole(folder, recipe):
        with lock(folder, "making"):
            if not is_whole(folder, recipe):
                _write_input(folder, dataset, baselines)
                promote(folder, recipe)
    return open_cloud(folder)


def _write_input(folder: Path, dataset, baselines: Sequence) -> None:
    """Write the arrays of `baselines` and a description where the cloud in `folder` grows."""
    growing = extraction.partial_of(folder)
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(parents=True)
    began = time.perf_counter()
    for layer, part in enumerate(baselines):
        array = np.asarray(part.make(), np.float32)
        if array.ndim != 2 or len(array) != len(dataset):
            raise UserError(
                f"baseline {part.name} has shape {array.shape}; expected a row for each of "
                f"{len(dataset)} samples"
            )
        np.save(extraction.layer_file(growing, layer), array)
    for side in extraction.SIDES:
        values = getattr(dataset, side)
        if values is not None:
            np.save(growing / f"{side}.npy", np.asarray(values), allow_pickle=False)
    about = {
        "layers": list(range(len(baselines))),
        "layer_names": [part.name for part in baselines],
        "n_blocks": max(1, len(baselines) - 1),
        "n_samples": len(dataset),
        "model": "the input itself",
        "dataset": dataset.name,
        "seconds": time.perf_counter() - began,
    }
    io.write_json(growing / "cloud.json", about)


def extract(
    model, dataset, folder: str | Path, progress: bool = True, recipe: dict | None = None, **options
) -> Cloud:
    """Put the representations of some samples into a folder of your choice.

    `options` are `layers`, `batch_size` and `batch_tokens` of `extraction.prepare`. What lay in the
    folder is replaced once the new arrays are whole.
    """
    folder = Path(folder)
    todo = extraction.prepare(model, dataset, folder, recipe=recipe, **options)
    extraction.work(model, dataset, folder, todo, progress)
    extraction.finish(model, dataset, folder)
    promote(folder, recipe or {})
    return open_cloud(folder)


def _readable(recipe: dict) -> str:
    """The part of a folder's name that a person reads."""
    model = recipe["model"]
    name = str(model["model"]).removesuffix(" (untrained)").removesuffix(".safetensors")
    words = [re.sub(r"^(.*/)?(assets|checkpoints|hub)/", "", name)]
    words += [recipe["data"]["name"], recipe["data"]["n_samples"]]
    words += [model["place"], model["pooling"]]
    if model["precision"] != "float32":
        words.append(model["precision"])
    if model["random_init_seed"] is not None:
        words.append(f"untrained{model['random_init_seed']}")
    return "-".join(map(str, words))


def folder_of(recipe: dict) -> Path:
    """Where the cloud of a recipe lies, or will lie, that `recipe_of` gave."""
    return _folder_of(recipe, _readable(recipe))


def _folder_of(recipe: dict, readable: str) -> Path:
    short = re.sub(r"[^\w.]+", "-", readable).strip("-.")[-80:].lstrip("-._")
    return io.clouds_folder() / io.safe_name(f"{short}-{io.digest(recipe)[:8]}")


def lock(folder: Path, doing: str) -> contextlib.AbstractContextManager:
    """Keep other processes from making the cloud in `folder`; they wait, and say for whom."""
    return io.lock(folder.with_name(f".{folder.name}.lock"), f"{doing} {folder.name}")


def is_whole(folder: Path, recipe: dict) -> bool:
    """Whether the cloud of this recipe lies in `folder`, undamaged."""
    if io.read_json(folder / "recipe.json") != recipe:
        return False
    about = io.read_object(folder / "cloud.json")
    return bool(about) and not _damage(folder, about)


def promote(folder: Path, recipe: dict) -> None:
    """Give a finished cloud its name.

    A damaged cloud of that name is set aside first. Whenever this is interrupted, the arrays are
    whole under one of the two names, and the next attempt ends it.
    """
    growing = extraction.partial_of(folder)
    io.write_json(growing / "recipe.json", recipe)
    aside = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    growing.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)
    extraction.forget_progress(folder)


# ---------------------------------------------------------------------------------- a run's clouds


def assign(paths: RunPaths, **clouds: Cloud) -> None:
    """Write down which clouds a run uses, by name.

    The names are `trained`; `untrained_name(0)`, `untrained_name(1)`, .. for the same network with
    random weights; and `input` for the samples themselves.
    """
    io.write_json(paths.clouds, {name: cloud.folder.name for name, cloud in clouds.items()})
    io.note_written(paths.clouds)


def untrained_name(number: int) -> str:
    """The name of the untrained network of a run's first, second, .. seed."""
    return "untrained" if number == 0 else f"untrained-{number}"


def untrained_of(run_clouds: dict[str, Cloud]) -> list[Cloud]:
    """The untrained networks among the clouds of a run, in the order of their seeds."""
    names = takewhile(run_clouds.__contains__, map(untrained_name, count()))
    return [run_clouds[name] for name in names]


def keep_neighbors(paths: RunPaths, maxk: int, range_max: int) -> None:
    """Write down how many neighbours and which distance ratios a run uses."""
    io.write_json(paths.neighbors, {"maxk": maxk, "range_max": range_max})
    io.note_written(paths.neighbors)


def of_run(paths: RunPaths) -> dict[str, Cloud]:
    """The clouds of a run by name.

    Raises
    ------
    UserError
        If none were made yet, or one is damaged.
    """
    names = io.read_object(paths.clouds)
    if not names:
        raise UserError(f"run {paths.run} has no representations yet; run 02_extract first")
    io.note_read(paths.clouds)
    stored = io.read_object(paths.neighbors)
    kept = None
    if {"maxk", "range_max"} <= stored.keys():
        io.note_read(paths.neighbors)
        kept = (stored["maxk"], stored["range_max"])
    found = {}
    for name, folder in names.items():
        cloud = open_cloud(io.clouds_folder() / io.safe_name(folder, "cloud"))
        found[name] = replace(cloud, kept=kept)
    return found


# -------------------------------------------------------------------------- two clouds to compare


def chosen(run: str, name: str) -> Cloud:
    """One cloud of a run by its name there, or, without a run, by the name of its folder.

    Parameters
    ----------
    run : name of a run or of a variant; "" for any cloud that lies in the folder of clouds.
    name : "trained", "untrained", ..; or, without a run, what `list` shows.

    Raises
    ------
    UserError
        If the run was never run, or has no such cloud.
    """
    if not run:
        return open_cloud(io.clouds_folder() / io.safe_name(name, "cloud"))
    paths = RunPaths(run)
    if not io.read_object(paths.clouds):
        raise UserError(
            f"run {run} has no clouds to compare; make them first: python -m georep_utils run {run}"
        )
    of = of_run(paths)
    if name not in of:
        raise UserError(f"run {run} has no cloud {name!r}; it has {', '.join(of)}")
    return of[name]


def same_samples(a: Cloud, b: Cloud) -> str:
    """By what two clouds are known to hold the same samples in the same order.

    The digest of the data settles it where both have one and they agree. Two networks may read one
    sample in two forms, as 14 x 14 tokens and as an image file: then the names of the samples (of
    numbered files, the numbers) and their classes have to agree. Arrays that were brought have no
    names, only classes.

    Returns
    -------
    "digest of the data", "names and classes", "classes" or "number"

    Raises
    ------
    UserError
        If they are other samples.
    """
    if a.n_samples != b.n_samples:
        raise UserError(f"{_other_samples(a, b)}: {a.n_samples} and {b.n_samples} of them")
    digests = [_data_digest(cloud) for cloud in (a, b)]
    if None not in digests and digests[0] == digests[1]:
        return "digest of the data"
    ids = [None if cloud.brought else cloud.side("ids") for cloud in (a, b)]
    labels = [cloud.side("labels") for cloud in (a, b)]
    both_named = all(values is not None for values in ids)
    both_labelled = all(values is not None for values in labels)
    if both_named and not np.array_equal(*map(_names, ids)):
        raise UserError(f"{_other_samples(a, b)}: their names differ")
    if both_labelled and not _same_classes(*labels):
        raise UserError(f"{_other_samples(a, b)}: their classes differ")
    if both_named and both_labelled:
        return "names and classes"
    if both_named:
        # Without classes the names are all there is, and plain numbers would fit any data.
        raise UserError(f"{_other_samples(a, b)}: the digests of their data differ")
    return "classes" if both_labelled else "number"


def check_compared(a: Cloud, b: Cloud, k: int) -> None:
    """UserError unless two clouds are two, with more samples than the k neighbours to compare."""
    if k >= a.n_samples:
        raise UserError(
            f"compare.k is {k}, but there are {a.n_samples} samples; expected fewer neighbours "
            "than samples: lower k"
        )
    if a.folder == b.folder:
        raise UserError(
            f"first and second are one cloud, {a.folder.name}; expected two: change "
            "compare.second or compare.second_cloud"
        )


def _names(ids: np.ndarray) -> np.ndarray:
    """What samples are called; of numbered files, such as 0-coat/00019.png, their numbers."""
    stems = [Path(str(name)).stem for name in ids]
    if all(stem.isdecimal() for stem in stems):
        return np.array([int(stem) for stem in stems])
    return ids


def _other_samples(a: Cloud, b: Cloud) -> str:
    return (
        f"{a.folder.name} and {b.folder.name} do not hold the same samples in the same order, "
        "which a comparison needs; choose two clouds of one data set"
    )


def _data_digest(cloud: Cloud) -> str | None:
    recipe = io.read_object(cloud.folder / "recipe.json")
    return recipe.get("data", {}).get("digest")


def _same_classes(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays divide the samples alike, whatever the classes are called."""
    pairs = len({*zip(a.tolist(), b.tolist(), strict=True)})
    return pairs == len(np.unique(a)) == len(np.unique(b))


# -------------------------------------------------------------------------------------- neighbours


def _searches(cloud: Cloud, maxk: int, range_max: int) -> list[Path]:
    """The searches of this cloud that are wide enough, made by the present code."""
    ending = io.code_digest(*SEARCH_CODE)[:8]
    found = []
    for folder in sorted(cloud.folder.glob(f"neighbors-k*-r*-{ending}")):
        stored = re.fullmatch(r"neighbors-k(\d+)-r(\d+)-\w+", folder.name)
        if stored and int(stored[1]) >= maxk and int(stored[2]) >= range_max:
            found.append(folder)
    return found


def _whole_search(cloud: Cloud, maxk: int, range_max: int) -> Path | None:
    """A search as in `_searches` of which no file is missing or cut short."""
    for folder in _searches(cloud, maxk, range_max):
        if _search_is_whole(cloud, folder):
            return folder
        shutil.rmtree(folder)
    return None


def _search_is_whole(cloud: Cloud, folder: Path) -> bool:
    try:
        for layer in cloud.layers:
            if len(search.load(folder, f"layer_{layer:02d}")) != cloud.n_samples:
                return False
    except (UserError, OSError, ValueError, EOFError):
        return False
    return True


def find_neighbors(
    cloud: Cloud,
    maxk: int = 50,
    range_max: int = 1024,
    device: str = "auto",
    *,
    scheduler: str = "",
    resources: dict[str, float] | None = None,
    rows_per_task: int = 100_000,
    progress: bool = True,
) -> Cloud:
    """Search the neighbours of every layer, unless they are stored, and return the cloud with them.

    Parameters
    ----------
    maxk, range_max, device : as in `nearest_neighbors`.
    scheduler, resources : where the work is done, as in `parallel.map`.
    rows_per_task : rows of a layer that are one task. On a CPU a layer that is a single one takes
        half of the products: see `neighbors_cpu`.

    Raises
    ------
    UserError
        As `nearest_neighbors`, naming the layer.
    """
    if _whole_search(cloud, maxk, range_max) is None:
        ending = io.code_digest(*SEARCH_CODE)[:8]
        folder = cloud.folder / f"neighbors-k{maxk}-r{range_max}-{ending}"
        purpose = f"searching neighbours in {cloud.folder.name}"
        with io.lock(cloud.folder / f".{folder.name}.lock", purpose):
            if _whole_search(cloud, maxk, range_max) is None:
                job = _Search(cloud, folder, maxk, range_max, device)
                job.run(rows_per_task, scheduler, resources, progress)
    return replace(cloud, kept=(maxk, range_max))


def _advice_on(error: Exception) -> str | None:
    """What to do about a device that failed during a search; None for any other error."""
    reason = extraction.first_line(error)
    if extraction.has_lost_device(error):
        return (
            f"the device stopped working ({reason}); what is done is kept: run again when it is "
            "back, or on another one"
        )
    if extraction.is_out_of_memory(error):
        return (
            f"the device has no memory left ({reason}); what is done is kept: end what else uses "
            "it and run again, or set device to cpu"
        )
    return None


@dataclass(frozen=True)
class _Search:
    """The neighbours of all layers of a cloud, found row block by row block."""

    cloud: Cloud
    folder: Path
    maxk: int
    range_max: int
    device: str

    @property
    def growing(self) -> Path:
        return extraction.partial_of(self.folder)

    def run(self, rows_per_task: int, scheduler: str, resources, progress: bool) -> None:
        """Search what is missing, join the parts of each layer, and give the folder its name."""
        starts = range(0, self.cloud.n_samples, rows_per_task)
        tasks = []
        for layer in self.cloud.layers:
            if self._load(f"layer_{layer:02d}") is None:
                tasks += [(layer, start, start + rows_per_task) for start in starts]
        began = time.perf_counter()
        parallel.map(
            self.do,
            tasks,
            scheduler,
            resources,
            progress=self.cloud.folder.name if progress else "",
            shared=self.growing if scheduler else None,
        )
        for layer in dict.fromkeys(layer for layer, _, _ in tasks):
            self._join(layer, starts, rows_per_task)
        seconds = time.perf_counter() - began
        io.write_json(self.growing / "search.json", {"seconds": seconds, "layers": len(tasks)})
        shutil.rmtree(self.folder, ignore_errors=True)
        self.growing.rename(self.folder)

    def do(self, task: tuple[int, int, int]) -> None:
        """Search a block of rows of one layer, unless an interrupted run left it."""
        layer, start, stop = task
        name = self._part(layer, start, stop)
        if self._load(name) is not None:
            return
        rows = slice(start, min(stop, self.cloud.n_samples))
        points = self.cloud[layer]
        try:
            found = search.nearest_neighbors(
                points, self.maxk, self.range_max, self.device, rows=rows
            )
        except UserError as error:
            raise UserError(f"layer {layer} of {self.cloud.folder.name}: {error}") from None
        except (RuntimeError, MemoryError) as error:
            advice = _advice_on(error)
            if advice is None:
                raise
            raise UserError(f"layer {layer} of {self.cloud.folder.name}: {advice}") from None
        search.save(found, self.growing, name)

    def _part(self, layer: int, start: int, stop: int) -> str:
        return f".layer_{layer:02d}.{start}-{stop}"

    def _load(self, name: str) -> Neighbors | None:
        with contextlib.suppress(UserError, OSError, ValueError, EOFError):
            return search.load(self.growing, name)
        return None

    def _join(self, layer: int, starts: range, rows_per_task: int) -> None:
        names = [self._part(layer, start, start + rows_per_task) for start in starts]
        parts = [search.load(self.growing, name) for name in names]
        search.save(search.concatenate(parts), self.growing, f"layer_{layer:02d}")
        for name in names:
            for path in self.growing.glob(f"{name}.*.npy"):
                path.unlink()


def search_seconds(cloud: Cloud) -> float:
    """What the search of the neighbours in use took, in seconds."""
    folder = _searches(cloud, *cloud.kept)[0]
    return io.read_object(folder / "search.json").get("seconds", 0.0)


# ---------------------------------------------------------------------------------- brought clouds


def bring(
    path: str | Path,
    labels: str | Path | None = None,
    families: str | Path | None = None,
    arrays: Sequence[str] | None = None,
    n_blocks: int | None = None,
    name: str | None = None,
) -> Cloud:
    """A cloud of arrays that another tool made. They stay where they are.

    Parameters
    ----------
    path
        A folder of `.npy` files, an `.npz`, a `.safetensors` file, or a zarr group, with one array
        (N, width) of float32, float16 or bfloat16 a layer, rows in the same order.
    labels, families
        A `.npy` file (N,), or a text file with one a line.
    arrays
        Names of the arrays, from the first layer to the last; None for all, by name, with numbers
        in names counted as numbers.
    n_blocks
        The number of blocks, by which depth is counted; None for one less than there are arrays,
        so that the last array has depth 1.
    name
        What captions call the model; None for the name of the file.

    Raises
    ------
    UserError
        For a file that is missing or unreadable, arrays of unequal N, another type, NaN or
        infinity, and labels of another number. It names the array.
    """
    if not path:
        raise UserError(
            "no arrays are named; expected a folder of .npy files, an .npz, a .safetensors or a "
            "zarr group: set bring.path in the run file"
        )
    path = _existing(path)
    kind = _format_of(path)
    names = list(arrays) if arrays else _array_names(path, kind)
    if not names:
        raise UserError(f"{path} holds no array; expected one a layer, (N, width)")
    n = _check_brought(path, kind, names)
    sides = {"labels": _side(labels, "labels", n), "families": _side(families, "families", n)}
    recipe = {
        "brought": {"format": kind, "arrays": names, "files": _file_digests(path)},
        "sides": {side: _side_digest(values) for side, values in sides.items()},
        "n_blocks": n_blocks,
    }
    title = name or path.stem
    folder = _folder_of(recipe, f"{title}-brought-{n}")
    blocks = len(names) - 1 if n_blocks is None else n_blocks
    about = {
        "layers": list(range(len(names))),
        "layer_names": names,
        "n_blocks": max(1, blocks),
        "n_samples": n,
        "model": title,
        "dataset": "brought",
        "seconds": 0.0,
        "brought": {"path": str(path), "format": kind, "arrays": names},
    }
    if not is_whole(folder, recipe) or io.read_json(folder / "cloud.json") != about:
        with lock(folder, "bringing"):
            growing = extraction.partial_of(folder)
            shutil.rmtree(growing, ignore_errors=True)
            growing.mkdir(parents=True)
            for side, values in (sides | {"ids": np.arange(n)}).items():
                if values is not None:
                    np.save(growing / f"{side}.npy", values)
            io.write_json(growing / "cloud.json", about)
            promote(folder, recipe)
    return open_cloud(folder)


def _existing(path: str | Path) -> Path:
    """`path` below the repository, unless it is absolute. UserError where nothing lies there."""
    found = io.REPOSITORY / Path(path).expanduser()
    if not found.exists():
        raise UserError(f"{found} is missing; put it there, or correct the path")
    return found


def _format_of(path: Path) -> str:
    if path.is_dir():
        is_zarr = any((path / name).exists() for name in ("zarr.json", ".zgroup"))
        return "zarr" if is_zarr else "folder"
    if path.suffix in (".npz", ".safetensors"):
        return path.suffix[1:]
    raise UserError(
        f"{path} is no folder of .npy files, .npz, .safetensors or zarr group; save one array a "
        "layer in one of these forms"
    )


def _array_names(path: Path, kind: str) -> list[str]:
    """The names of all arrays, layer2 before layer10."""
    try:
        return sorted(_NAMES[kind](path), key=_natural)
    except UserError:
        raise
    except Exception as error:  # each format has errors of its own library
        raise UserError(
            f"{path} can't be read ({type(error).__name__}: {error}); expected a file that was "
            "written whole"
        ) from None


def _natural(name: str) -> list:
    """A key that sorts layer_2 before layer_10."""
    return [(part.isdigit(), int(part) if part.isdigit() else part) for part in _pieces(name)]


def _pieces(name: str) -> list[str]:
    return re.findall(r"\d+|\D+", name)


def _npy_names(path: Path) -> list[str]:
    return [file.stem for file in path.glob("*.npy")]


def _read_npy(path: Path, name: str):
    return np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def _npz_names(path: Path) -> list[str]:
    with np.load(path, allow_pickle=False) as file:
        return list(file.files)


def _read_npz(path: Path, name: str):
    with np.load(path, allow_pickle=False) as file:
        return file[name]


def _safetensors_names(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return list(file.keys())


def _read_safetensors(path: Path, name: str):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        array = file.get_tensor(name)
    # numpy has no bfloat16; float32 holds every bfloat16 number exactly.
    return (array.float() if array.dtype == torch.bfloat16 else array).numpy()


def _zarr_group(path: Path):
    try:
        import zarr
    except ImportError:
        raise UserError(f"{path} is a zarr group; install zarr, or save it as .npz") from None
    return zarr.open_group(path, mode="r")


def _zarr_names(path: Path) -> list[str]:
    return list(_zarr_group(path).array_keys())


def _read_zarr(path: Path, name: str):
    return np.asarray(_zarr_group(path)[name])


_NAMES = {
    "folder": _npy_names,
    "npz": _npz_names,
    "safetensors": _safetensors_names,
    "zarr": _zarr_names,
}
_READERS = {
    "folder": _read_npy,
    "npz": _read_npz,
    "safetensors": _read_safetensors,
    "zarr": _read_zarr,
}


def _check_brought(path: Path, kind: str, names: list[str]) -> int:
    """The number of points that all arrays share; UserError for arrays that can't be a cloud."""
    n = None
    for name in names:
        try:
            array = _READERS[kind](path, name)
        except UserError:
            raise
        except Exception as error:  # each format has errors of its own library
            raise UserError(
                f"array {name} of {path} can't be read ({type(error).__name__}: {error}); expected "
                "the name of an array that was written whole"
            ) from None
        if np.ndim(array) != 2 or array.dtype not in (np.float16, np.float32):
            raise UserError(
                f"array {name} of {path} has type {array.dtype} and shape {np.shape(array)}; "
                "expected float32 (or half precision) of shape (N, width): convert it with "
                ".astype('float32')"
            )
        n = len(array) if n is None else n
        if len(array) != n:
            raise UserError(
                f"array {name} of {path} has {len(array)} rows, but {names[0]} has {n}; expected "
                "the same samples in every layer"
            )
        finite = np.isfinite(array).all(axis=1)
        if not finite.all():
            raise UserError(
                f"array {name} of {path} has NaN or infinity in {n - finite.sum()} of {n} rows "
                f"(first: {int(finite.argmin())}); expected finite numbers"
            )
    return n


def _side(path: str | Path | None, what: str, n: int) -> np.ndarray | None:
    """Labels or families (n,) as numbers, from a .npy file or from lines of text."""
    if not path:
        return None
    path = _existing(path)
    io.note_read(path)
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            values = np.array(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} can't be read as {what} ({error}); save it as .npy") from None
    if values.shape != (n,):
        raise UserError(
            f"{path} holds {what} of shape {values.shape}; expected one for each of {n}"
        )
    is_text = values.dtype.kind == "U"
    lacking = np.flatnonzero(np.char.strip(values) == "" if is_text else pd.isna(values))
    if len(lacking):
        raise UserError(
            f"{path} has no {what} for {len(lacking)} of {n} samples (first: row {lacking[0]}); "
            "expected one for each: fill it in, or leave the sample out of every array"
        )
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def _side_digest(values: np.ndarray | None) -> str | None:
    return None if values is None else io.digest(values.tolist())


def _file_digests(path: Path) -> dict[str, str]:
    if path.is_file():
        return {path.name: io.file_digest(path)}
    files = [file for file in io.find(path, "**/*") if file.is_file()]
    return {str(file.relative_to(path)): io.file_digest(file) for file in files}


# ----------------------------------------------------------------------------- what a cloud is from


def identity(cloud: Cloud) -> dict[str, str]:
    """Digests of the weights and of the inputs that a cloud was made from.

    Runs with the same weights have the same first digest, however they read the network. Arrays
    that were brought stand for both.
    """
    recipe = io.read_object(cloud.folder / "recipe.json")
    if "brought" in recipe:
        files = io.digest(sorted(recipe["brought"]["files"].values()))
        return {"weights": files, "inputs": files}
    model = recipe["model"]
    weights = io.digest(sorted(model["files"].values()), model["random_init_seed"])
    return {"weights": weights, "inputs": recipe["data"]["digest"]}


def family(facts: dict[str, bool]) -> dict[str, str | bool]:
    """What kind of data a run is about, by its facts, and whether its model generates images.

    Of arrays that were brought nothing is known: their family is "unknown".
    """
    known = {
        "protein": facts.get("protein", False),
        "text": facts.get("text", False),
        "image": facts.get("images", False) or facts.get("tokens", False),
    }
    found = next((name for name, holds in known.items() if holds), "unknown")
    generative = facts.get("tokens", False) and facts.get("causal", False)
    return {"family": found, "generative": bool(found == "image" and generative)}
