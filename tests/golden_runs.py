"""The chapters on 120 images of the bundled model, and what they must give.

`measure` runs the code cells of the notebooks and collects, a notebook, the tables that it wrote,
the numbers that it put into sentences, and the lines that it printed. `tests/data/golden` holds
what came out when the notebooks were known to be right. After a change that is meant to change a
result, write it again, and look at the difference before it is committed:

    python tests/golden_runs.py
"""

import contextlib
import io as text_io
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from notebook_runner import execute  # noqa: E402 (the path is set first when this is a program)

from georep_utils import clouds, io  # noqa: E402
from georep_utils.data import datasets  # noqa: E402

KEPT = REPOSITORY / "tests/data/golden"
CHECKPOINTS = {
    "untrained": "assets/igpt-mini/untrained.safetensors",
    "trained": "assets/igpt-mini/trained.safetensors",
}
SMALL = {
    "n_per_class": 12,
    "extract.control_seeds": 1,
    "extract.n_completions": 1,
    "distances.range_max": 16,
    "overlaps.data_k": [5, 10],
    "overlaps.label_k": [5],
    "overlaps.robustness_k": [1, 30],
    "training_dynamics.n_per_class": 12,
    "training_dynamics.range_max": 4,
    "training_dynamics.checkpoints": CHECKPOINTS,
    "training_dynamics.other_trainings": [],
    "listening_places.n_per_class": 12,
    "listening_places.range_max": 4,
    "listening_places.sites": ["ln_1", "mlp"],
}
IMAGES = ("01", "02", "03", "04", "05", "06", "11")
PROTEINS = ("before", "after")
# Its chapter on the dimension is not executed: the profile is made up, too.
RUN_OF_PROTEINS = """title: Proteins of three superfamilies
notebooks: [04_intrinsic_dimension, 05_overlaps]
overlaps: {data_k: [3], label_k: [3], robustness_k: [1, 3]}
"""
# The halves of the samples behind the errors: a hundred kilobytes, and the errors are kept.
NOT_KEPT = ("overlap_replicates.csv", "provenance.json")
# Of the machine, the clock, or the code: nothing that a chapter finds out.
NOT_COMPARED = {"speed", "seconds", "folder", "machine"}


def collect(root: Path, run: str, notebook: str, execute_it) -> dict:
    """What one notebook leaves: {"tables": .., "glued": .., "printed": ..}."""
    results = root / "book/results" / run
    before = {path.name: path.stat().st_mtime_ns for path in results.glob("*.csv")}
    glued = {}

    def glue(name, value, display=True):
        glued[name] = value

    printed = text_io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("GEOREP_ROOT", str(root))
        patch.setattr("myst_nb.glue", glue)
        execute_it(notebook, patch)
    tables = {}
    for path in sorted(results.glob("*.csv")):
        if path.name not in NOT_KEPT and before.get(path.name) != path.stat().st_mtime_ns:
            tables[path.name] = path.read_text(encoding="utf-8")
    compared = {name: plain(value) for name, value in glued.items() if name not in NOT_COMPARED}
    return {"tables": tables, "glued": compared, "printed": printed.getvalue().splitlines()}


def plain(value):
    """A glued value as JSON can hold it."""
    return value.item() if isinstance(value, np.generic) else value


def measure_images(root: Path, notebooks=IMAGES):
    """Each notebook of igpt-mini on 120 images, one after the other: number, what it leaves."""
    record = root / "record.jsonl"

    def run(notebook, patch):
        execute("igpt-mini", [notebook], record, patch, **SMALL)

    for notebook in notebooks:
        yield notebook, collect(root, "igpt-mini", notebook, run)


def measure_proteins(root: Path, exclude: str) -> dict:
    """The chapter on overlaps for proteins, with their own family left out before or after."""
    name = f"proteins-{exclude}"
    paths = bring_proteins(root, name)
    record = root / f"{name}.jsonl"

    def run(notebook, patch):
        record.write_text(io.facts_line({"labels": True, "families": True, "protein": True}))
        execute(name, [notebook], record, patch, overlaps__exclude_family=exclude)

    found = collect(root, name, "05", run)
    assert "overlaps.csv" in found["tables"], paths.results
    return found


def bring_proteins(root: Path, run: str) -> io.RunPaths:
    """A run of 60 proteins whose five layers are made up: families are nearer than superfamilies.

    The profile of the dimension, which the chapter reads, is made up too.
    """
    rng = np.random.default_rng(5)
    superfamily = np.repeat([0, 1, 2], 20)
    family = np.arange(60) // 4
    centres = rng.normal(size=(3, 6))[superfamily] + 0.9 * rng.normal(size=(15, 6))[family]
    lines = []
    for row in range(60):
        lines.append(f">d{row:06d}_ a.1.{superfamily[row] + 1}.{family[row] % 5 + 1} (A:) protein")
        lines.append("".join(rng.choice(list("acdefghiklmnpqrstvwy"), 12)))
    file = root / "proteins.fa"
    file.write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOREP_ROOT", str(root))
        data = datasets.load("fasta", path=str(file))
        noisy = [centres + spread * rng.normal(size=(60, 6)) for spread in (3, 1.5, 0.7, 1, 2)]
        layers = [
            SimpleNamespace(name=f"layer {i}", recipe={"i": i}, make=lambda points=points: points)
            for i, points in enumerate(noisy)
        ]
        cloud = clouds.represent_input(data, layers)
        paths = io.RunPaths(run)
        paths.work.mkdir(parents=True, exist_ok=True)
        (paths.work / "run.yml").write_text(RUN_OF_PROTEINS)
        clouds.assign(paths, trained=clouds.find_neighbors(cloud, 30, 2, "cpu"))
        clouds.keep_neighbors(paths, 30, 2)
        rows = {"rule": "paper_text", "layer": range(5), "id": [5.0, 6, 4, 5, 6], "id_err": 0.2}
        rows |= {"id_sys": 0.3, "depth": np.arange(5) / 4}
        io.write_table(paths.results / "id_profile.csv", pd.DataFrame(rows))
        made = {"scale_rule": "paper_text", "n_blocks": 4, "semantic_layer": 2}
        made |= {"semantic_kind": "minimum", "semantic_peak": 1}
        io.write_json(paths.results / "provenance.json", made)
    return paths


def keep(case: str, found: dict) -> None:
    """Write what a notebook left below `tests/data/golden`."""
    folder = KEPT / case
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, text in found["tables"].items():
        (folder / name).write_text(text, encoding="utf-8")
    said = {"glued": found["glued"], "printed": found["printed"]}
    text = json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / "said.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for case, found in measure_images(Path(folder)):
            keep(case, found)
            print(f"wrote {KEPT / case}", file=sys.stderr, flush=True)
        for exclude in PROTEINS:
            keep(f"proteins-{exclude}", measure_proteins(Path(folder), exclude))


if __name__ == "__main__":
    main()
