"""Several places of one network, for which it reads the samples once.

Each place where a network is listened to, and each way to pool, is a cloud of its own
(`georep_utils.clouds`). Their arrays come from one and the same forward pass, which is nearly all
of their cost. So where several of them are missing, they are made together: the arrays of all
places grow in one folder, as those of one model with many layers, and are then shared out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from georep_utils import clouds, extraction, io
from georep_utils.clouds import Cloud


def represent_places(sources: Sequence, dataset, progress: bool = True) -> list[Cloud]:
    """The clouds of some samples at several places: found where they were made before, else made.

    Parameters
    ----------
    sources
        `ModelSource`s of one network that differ in site and pool only.
    dataset
        As in `clouds.recipe_of`.
    progress
        Whether to show a bar.

    Returns
    -------
    A cloud for each source, in their order. Its arrays are those of `clouds.represent`, bit by bit.

    Raises
    ------
    UserError
        As `clouds.represent`.
    """
    recipes = [clouds.recipe_of(source, dataset) for source in sources]
    folders = [clouds.folder_of(recipe) for recipe in recipes]
    if sources[0].in_one_pass and len(_missing(folders, recipes)) > 1:
        _make(sources, dataset, folders, recipes, progress)
    return [clouds.represent(source, dataset, progress=progress) for source in sources]


def _missing(folders: list[Path], recipes: list[dict]) -> list[int]:
    return [
        number
        for number, (folder, recipe) in enumerate(zip(folders, recipes, strict=True))
        if not clouds.is_whole(folder, recipe)
    ]


def _make(sources, dataset, folders: list[Path], recipes: list[dict], progress: bool) -> None:
    """Make the clouds that are missing together."""
    together = io.clouds_folder() / f"together-{io.digest(recipes)[:8]}"
    with contextlib.ExitStack() as stack:
        # Always in the same order: two processes can't wait for each other.
        for folder in sorted(set(folders)):
            stack.enter_context(clouds.lock(folder, "making"))
        if not _missing(folders, recipes):
            return
        first = sources[0].load()
        model = _Together([first.at(source.site, source.pool) for source in sources])
        todo = extraction.prepare(model, dataset, together, recipe={"places": recipes})
        extraction.work(model, dataset, together, todo, progress)
        about = extraction.finish(model, dataset, together)
        for number in _missing(folders, recipes):
            _share_out(together, about, model, number, folders[number])
            clouds.promote(folders[number], recipes[number])
        # Last: until here, an interrupted attempt would be ended without reading a sample.
        shutil.rmtree(extraction.partial_of(together))


def _share_out(together: Path, about: dict, model: _Together, number: int, folder: Path) -> None:
    """Put what belongs to one place where its cloud grows."""
    source, growing = extraction.partial_of(together), extraction.partial_of(folder)
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(parents=True)
    own = model.models[number]
    start = sum(len(other.layers) for other in model.models[:number])
    for layer in own.layers:
        # A second name of the same file, which takes no room.
        os.link(extraction.layer_file(source, start + layer), extraction.layer_file(growing, layer))
    for side in extraction.SIDES:
        if (source / f"{side}.npy").exists():
            shutil.copyfile(source / f"{side}.npy", growing / f"{side}.npy")
    mine = {"layers": own.layers, "layer_names": own.layer_names}
    mine["seconds"] = about["seconds"] / len(model.models)
    io.write_json(growing / "cloud.json", about | mine)


class _Together:
    """Models that share one network, as one model that has the layers of all of them in a row."""

    def __init__(self, models: Sequence):
        self.models = list(models)
        first = self.models[0]
        self.name = first.name
        self.kind = first.kind
        self.device = first.device
        self.dtype = first.dtype
        self.reentrant = first.reentrant
        self.n_blocks = first.n_blocks
        self.check = first.check
        self.lengths = first.lengths
        self.pool = ", ".join(f"{model.site} {model.pool}" for model in self.models)
        self.layer_names = [name for model in self.models for name in model.layer_names]
        self.layers = list(range(len(self.layer_names)))

    def forward(self, inputs) -> list:
        """Pooled representations of a batch: those of the first model, then of the second, .."""
        found = self.models[0].forward_places(self.models, inputs)
        return [pooled for place in found for pooled in place]
