"""Hold the clouds of the real models against plain transformers and DADApy.

    python benchmarks/check_real_models.py [--out FOLDER] RUN [RUN ...]

For each run that has made its clouds: some samples pass once more through the model as its library
loads it, one at a time and so without padding, with a hook on each module that the cloud's layers
name; the mean over the tokens is taken in numpy. Writes agreement.csv, a row a run:

- difference: largest difference of a stored representation, relative to the largest number in it;
- overlap: largest difference between the book's overlap of two layers and DADApy's;
- id: largest relative difference between the book's TwoNN and DADApy's, on the same points.

The book's own readers of models, samples and neighbours are used for the clouds alone.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from dadapy import Data
from dadapy.metric_comparisons import MetricComparisons
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from georep_utils import clouds, io
from georep_utils.data import datasets
from georep_utils.geometry import duplicates, overlap, scaling
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.models.hub_files import find_folder
from georep_utils.workflow import runs

SAMPLES = 100  # that pass through the model again
POINTS = 1000  # of the overlaps and the dimensions
K = 10


def parameters(run: str) -> dict:
    """What the notebook of the extraction was given."""
    overrides = io.read_json(io.RunPaths(run).work / "overrides.json", {})
    return runs.all_parameters(runs.read_run(run), overrides)["02_extract"]


def one_text(folder: str, given: dict) -> Callable:
    """A function from a text to model inputs, and to which tokens are not special."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    residues = given["model_options"].get("kind") == "protein"

    def prepare(text: str):
        # A model of BERT's type reads a sequence as words of one letter.
        text = " ".join(text) if residues else text
        inputs = tokenizer(text, return_tensors="pt", return_special_tokens_mask=True)
        special = inputs.pop("special_tokens_mask")[0].numpy().astype(bool)
        return inputs, ~special

    return prepare


def one_image(folder: str, given: dict) -> Callable:
    """A function from an image file to model inputs, and to which tokens are patches."""
    processor = AutoImageProcessor.from_pretrained(folder)
    side = given["model_options"]["image_size"]
    size = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}

    def prepare(path: str):
        inputs = processor(Image.open(path).convert("RGB"), return_tensors="pt", **size)
        patches = (side // 14) ** 2
        return inputs, np.r_[False, np.ones(patches, bool)]

    return prepare


def states(model: torch.nn.Module, names: list[str], inputs) -> list[np.ndarray]:
    """What stands at each hook point, "module (in)" or "module (out)", (tokens, width)."""
    seen: dict[str, np.ndarray] = {}

    def keep(name: str, value) -> None:
        tensor = value[0] if isinstance(value, tuple) else value
        seen[name] = tensor[0].double().numpy()

    with ExitStack() as stack:
        for name in names:
            path, which = re.fullmatch(r"(.*) \((in|out)\)", name).groups()
            module = model.get_submodule(path)
            if which == "in":
                handle = module.register_forward_pre_hook(
                    lambda _module, given, name=name: keep(name, given)
                )
            else:
                handle = module.register_forward_hook(
                    lambda _module, _given, result, name=name: keep(name, result)
                )
            stack.callback(handle.remove)
        with torch.no_grad():
            model(**inputs)
    return [seen[name] for name in names]


def largest_difference(cloud: clouds.Cloud, given: dict, inputs: list) -> float:
    """Largest difference of a stored point, relative to the largest number in it."""
    folder = str(find_folder(given["model"], given["data_dir"]))
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    family = one_image if given["dataset"] == "hf-image" else one_text
    prepare = family(folder, given)
    chosen = np.linspace(0, len(inputs) - 1, SAMPLES).astype(int)
    worst = 0.0
    for row in chosen:
        ready, counted = prepare(inputs[row])
        for layer, state in zip(
            cloud.layers, states(model, list(cloud.layer_names), ready), strict=True
        ):
            plain = state[counted].mean(axis=0)
            ours = cloud[layer][row]
            worst = max(worst, np.abs(plain - ours).max() / np.abs(plain).max())
    return float(worst)


def geometry(cloud: clouds.Cloud) -> tuple[float, float]:
    """Largest differences from DADApy, of an overlap (absolute) and of a dimension (relative)."""
    # Copies have no order among each other: of samples that repeat an earlier one none is taken.
    different = duplicates.drop_duplicates(np.asarray(cloud[cloud.layers[0]]))[2]
    rows = np.sort(np.random.default_rng(0).permutation(different)[:POINTS])
    ids = []
    overlaps = []
    before = None
    for layer in cloud.layers:
        X = np.asarray(cloud[layer][rows])
        near = nearest_neighbors(X, maxk=K, range_max=2)
        data = Data(X.astype(np.float64), maxk=K)
        data.compute_distances()
        theirs, _, _ = data.compute_id_2NN(mu_fraction=0.98)
        ours = scaling.twonn_scaling(X, decimations=[1]).id[0]
        ids.append(abs(ours / theirs - 1))
        if before is not None:
            tables = (data.distances, data.dist_indices)
            comparison = MetricComparisons(distances=tables, maxk=K)
            theirs = comparison.return_data_overlap(dist_indices=before.indices, k=K)
            overlaps.append(abs(overlap.data_overlap(near, before, K) - theirs))
        before = near
    return max(overlaps), max(ids)


def samples_of(given: dict) -> list:
    """The samples of a run, as its data set gives them."""
    options = given["dataset_options"]
    data = datasets.load(given["dataset"], given["split"], None, given["data_dir"], **options)
    return list(data.inputs)


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("runs", nargs="+", metavar="RUN")
    command.add_argument("--out", default=str(io.REPOSITORY / "book/results/agreement"))
    given = command.parse_args()
    rows = []
    for run in given.runs:
        about = parameters(run)
        cloud = clouds.of_run(io.RunPaths(run))["trained"]
        difference = largest_difference(cloud, about, samples_of(about))
        of_overlap, of_id = geometry(cloud)
        facts = {"run": run, "samples": SAMPLES, "points": POINTS, "layers": len(cloud)}
        rows.append(facts | {"difference": difference, "overlap": of_overlap, "id": of_id})
        print(rows[-1], flush=True)
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    io.write_table(out / "agreement.csv", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
