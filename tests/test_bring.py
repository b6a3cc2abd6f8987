"""The chapter on brought arrays: its worked example does what it says."""

import re

import jupytext
import numpy as np
import pytest
import torch
import yaml
from model_builders import TEXTS, build
from notebook_runner import execute

from georep_utils import clouds, io
from georep_utils.io import REPOSITORY, RunPaths, UserError
from georep_utils.models import load
from georep_utils.workflow import runs

CHAPTER = REPOSITORY / "notebooks/02_bring.py"
MANY = [" ".join(TEXTS[i % 4].split()[: 1 + i % 5] + TEXTS[2].split()[i % 7 :]) for i in range(24)]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(language):
    """The blocks of code of one language that the chapter shows."""
    prose = "\n".join(cell.source for cell in jupytext.read(CHAPTER).cells)
    return re.findall(rf"```{language}\n(.*?)```", prose, re.S)


def saved_as_shown(root):
    """Run the very lines of the chapter on a small random model; its folder."""
    (example,) = blocks("python")
    imports, lines, classes = example.strip().split("\n\n")
    assert len(lines.splitlines()) == 10 and classes.startswith("np.save")
    assert "georep_utils" not in example and "import" in imports
    (root / "net").mkdir()
    folder = build("llama", root / "net")
    scope = {"folder": str(folder), "texts": MANY, "labels": np.arange(24) % 3}
    with torch.enable_grad():  # what the example switches off is switched on again
        exec(compile(example, "the example", "exec"), scope)
    return folder


def bring(root, monkeypatch, **given):
    names = {
        "bring__path": str(root / "activations.npz"),
        "bring__labels": str(root / "labels.npy"),
    }
    names |= {"distances__maxk": 10, "overlaps__data_k": [5], "overlaps__label_k": [5]}
    execute("brought", ["02"], root / "record.jsonl", monkeypatch, **names | given)
    return clouds.of_run(RunPaths("brought"))["trained"]


def test_the_ten_lines_of_the_example_save_what_this_book_extracts(root, monkeypatch):
    folder = saved_as_shown(root)
    cloud = bring(root, monkeypatch)
    assert (len(cloud), cloud.n_samples, cloud.n_blocks) == (4, 24, 3)
    assert np.array_equal(cloud.side("labels"), np.arange(24) % 3)
    model = load.load(str(folder), device="cpu")
    ours = [model.forward([text]) for text in MANY]
    for layer in cloud.layers:
        expected = np.concatenate([np.asarray(of_text[layer]) for of_text in ours])
        assert np.abs(cloud[layer] - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_run_file_of_the_example_is_one(root):
    (text,) = blocks("yaml")
    (root / "my-llama.yml").write_text(text)
    given = runs.parameters_of(runs.read_run(root / "my-llama.yml"))
    assert list(given)[0] == "02_bring" and given["02_bring"]["path"] == "activations.npz"
    assert set(yaml.safe_load(text)["bring"]) <= set(runs.declared_parameters("02_bring"))


@pytest.mark.parametrize("labels", [np.zeros(24, int), np.arange(24)])
def test_one_class_and_labels_that_all_differ_are_refused(root, monkeypatch, labels):
    np.savez(root / "activations.npz", a=np.eye(24, 5, dtype=np.float32))
    np.save(root / "labels.npy", labels)
    with pytest.raises(UserError, match="expected two or more classes"):
        bring(root, monkeypatch)


def test_without_a_path_the_run_says_what_to_set(root, monkeypatch):
    with pytest.raises(UserError, match="set bring.path in the run file"):
        bring(root, monkeypatch, bring__path="")
    assert not io.read_json(RunPaths("brought").clouds)


@pytest.mark.parametrize(
    ("labels", "lacking"),
    [
        (np.where(np.arange(24) == 5, np.nan, np.arange(24) % 3), "1 of 24 samples.*row 5"),
        ("a\nb\n\n" * 8, "8 of 24 samples.*row 2"),
    ],
)
def test_missing_labels_are_named_and_no_class(root, labels, lacking):
    np.save(root / "layer.npy", np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32))
    file = root / "classes.txt"
    if isinstance(labels, str):
        file.write_text(labels)
    else:
        file = root / "elsewhere" / "classes.npy"
        file.parent.mkdir()
        np.save(file, labels)
    (root / "arrays").mkdir()
    (root / "layer.npy").rename(root / "arrays/layer.npy")
    with pytest.raises(UserError, match=f"has no labels for {lacking}"):
        clouds.bring(root / "arrays", labels=file)


def test_an_array_that_is_added_to_a_folder_is_noticed(root, monkeypatch):
    (root / "arrays").mkdir()
    layer = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    np.save(root / "arrays/layer_0.npy", layer)
    monkeypatch.setenv(io.RECORD, str(root / "record.jsonl"))
    first = clouds.bring(root / "arrays")
    noted = {short: io.state(short) for short in io.recorded(root / "record.jsonl")[0]}
    np.save(root / "arrays/layer_1.npy", layer + 1)
    assert [short for short, before in noted.items() if io.state(short) != before]
    assert len(clouds.bring(root / "arrays")) == len(first) + 1
