"""The chapter of benchmarks shows what was measured on a GPU, whichever of its files there are."""

import json
import shutil

import pytest
from notebook_runner import execute

from georep_utils.io import REPOSITORY

NOT_YET = "not measured yet"
MACHINE = {"processor": "a CPU", "cores": 16, "threads": 16, "gpu": "a GPU", "load": 0.1}
TIMED = {
    "against": "another way",
    "repeats": 3,
    "ours_seconds": 0.25,
    "theirs_seconds": 0.5,
    "theirs_over_ours": 2.0,
    "ratio_range": [1.9, 2.1],
    "floor_seconds": 0.1,
    "floor": "arithmetic",
}
SEARCH = TIMED | {"what": "neighbours", "d": 512, "range_max": 1024, "product": "float32"}
EXTRACTION = TIMED | {"what": "extraction", "shape": "iGPT-S", "n": 512, "batch": 64}
EFFECT = {
    "what": "effect of dtype",
    "n": 5000,
    "depth": 0.5,
    "layer": 12,
    "id": 7.1,
    "id_float32": 7.0,
    "label_overlap": 0.6,
    "label_overlap_float32": 0.61,
    "same_neighbours": 0.99,
}
# The rows of each file, and what the chapter says is measured where it has that file alone.
FILES = {
    "first-two": (
        SEARCH | {"n": 20_000, "d": 768, "range_max": 2},
        "neighbours, N = 20,000, d = 768, first two",
    ),
    "selection": (SEARCH | {"n": 90_000}, "neighbours, N = 90,000, d = 512"),
    "selection-halves": (
        SEARCH | {"n": 90_000, "product": "halves"},
        "the same by products of TF32 halves",
    ),
    "imagenet": (SEARCH | {"n": 1_281_167}, "neighbours, N = 1,281,167, d = 512"),
    "igpt-s-float32": (
        EXTRACTION | {"dtype": "float32"},
        "extraction, iGPT-S shape, float32",
    ),
    "igpt-s-bfloat16": (
        EXTRACTION | {"dtype": "bfloat16"},
        "extraction, iGPT-S shape, bfloat16",
    ),
    "effect-tf32": (EFFECT | {"dtype": "tf32"}, "effect of TF32 on ID and overlap"),
    "effect-bfloat16": (EFFECT | {"dtype": "bfloat16"}, "effect of bfloat16 on ID and overlap"),
    "section-two": (
        {"what": "section 2 of the authors' readme", "n": 90_000, "ours_seconds": 100.0},
        "90,000 images and their neighbours",
    ),
}


@pytest.fixture
def read_chapter(tmp_path, monkeypatch):
    """Execute the chapter with the committed results of CPUs, and with some files of GPUs."""
    results = tmp_path / "results"
    results.mkdir()
    for file in (REPOSITORY / "benchmarks/results").glob("*-cpu.json"):
        shutil.copy(file, results)

    def read(**files):
        for name, (row, gpu) in files.items():
            result = {"machine": MACHINE | {"gpu": gpu}, "date": "2030-01-01", "rows": [row]}
            path = results / f"cuda-{name.replace('_', '-')}.json"
            path.write_text(json.dumps(result))
        record = tmp_path / "record.jsonl"
        return execute("paper", ["10"], record, monkeypatch, benchmarks__results=str(results))

    return read


def test_without_a_gpu_nothing_is_measured_yet(read_chapter):
    scope = read_chapter()
    assert set(scope["on_gpu"]) == {"on a GPU"}
    assert set(scope["on_gpu"]["on a GPU"]) == {NOT_YET}


@pytest.mark.parametrize("name", FILES)
def test_each_file_counts_for_what_it_measured_and_for_nothing_else(name, read_chapter):
    row, label = FILES[name]
    scope = read_chapter(**{name: (row, "a GPU")})
    said = dict(zip(scope["wanted"], scope["on_gpu"]["a GPU"], strict=True))
    assert [made for made, words in said.items() if words != NOT_YET] == [label]
    assert "a GPU" in scope["machines"].index


def test_what_a_script_for_any_device_measured_on_a_gpu_counts_for_it(read_chapter, tmp_path):
    row, label = FILES["igpt-s-float32"]
    result = {"machine": MACHINE, "date": "2030-01-01", "rows": [row]}
    (tmp_path / "results/extract-cuda.json").write_text(json.dumps(result))
    scope = read_chapter()
    said = dict(zip(scope["wanted"], scope["on_gpu"]["a GPU"], strict=True))
    assert [made for made, words in said.items() if words != NOT_YET] == [label]


def test_two_gpus_stand_beside_each_other_and_quick_runs_nowhere(read_chapter):
    first = SEARCH | {"n": 90_000}
    scope = read_chapter(
        selection=(first, "one GPU"),
        first_two=(FILES["first-two"][0], "another GPU"),
        imagenet_quick=(FILES["imagenet"][0], "a third GPU"),
    )
    assert set(scope["on_gpu"]) == {"one GPU", "another GPU"}
    assert scope["on_gpu"]["one GPU"].count(NOT_YET) == len(FILES) - 1
    assert scope["made"].count(True) == 2
