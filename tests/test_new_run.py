"""A model and a table make a run file, or one line that says why they can't."""

import shutil

import numpy as np
import pytest
from model_builders import WORDS, build
from notebook_runner import execute as execute_notebooks
from PIL import Image

from georep_utils import __main__ as commands
from georep_utils import clouds
from georep_utils.io import REPOSITORY, RunPaths
from georep_utils.workflow import runs


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    families = ("esm2", "gpt2", "bert", "vit")
    return {family: build(family, tmp_path_factory.mktemp(family)) for family in families}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    monkeypatch.chdir(REPOSITORY)
    return tmp_path


def rows(n, label=lambda i: f"class{i % 4}", length=6):
    rng = np.random.default_rng(0)
    for i in range(n):
        words = " ".join(rng.choice(WORDS[4:], length))
        residues = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 20))
        yield words, residues, label(i)


def table(folder, n=240, **options):
    """Texts, proteins, a column of numbers, a code that is no class, and a class."""
    lines = ["year,words,chain,code,label"]
    for i, (words, residues, label) in enumerate(rows(n, **options)):
        lines.append(f"{1900 + i % 9},{words},{residues},x{i},{label}")
    (folder / "mine.csv").write_text("\n".join(lines) + "\n")
    return folder / "mine.csv"


def new(capsys, name, model, file, *more):
    """The exit status of the command, and the last line that it said."""
    status = commands.main(
        ["new", name, "--model", str(model), "--table", str(file), *map(str, more)]
    )
    said = capsys.readouterr()
    return status, (said.err or said.out).strip()


def options_of(name):
    return runs.parameters_of(runs.read_run(name))["02_extract"]


def test_a_model_of_texts_gets_the_column_of_texts_and_the_label(here, saved, capsys):
    status, said = new(capsys, "mine", saved["gpt2"], table(here))
    assert status == 0 and "next: python -m georep_utils run mine" in said
    given = options_of("mine")
    chosen = given["dataset_options"]
    assert (chosen["input_column"], chosen["label_column"]) == ("words", "label")
    assert given["model"] == str(saved["gpt2"]) and given["model_options"]["title"]
    text = (RunPaths("mine").work / "run.yml").read_text()
    assert "3 blocks of width 32" in text and "240 samples, 60 of each of 4" in text


@pytest.mark.parametrize("family, kind", [("esm2", None), ("bert", "protein")])
def test_a_model_of_proteins_gets_the_column_of_sequences(family, kind, here, saved, capsys):
    file = table(here)
    if family == "bert":
        # Without a column of texts, a BERT can only be one of proteins.
        cells = [line.split(",") for line in file.read_text().splitlines()]
        file.write_text("".join(",".join(line[2:]) + "\n" for line in cells))
    status, said = new(capsys, "mine", saved[family], file)
    if family == "bert":
        # This one's tokenizer knows no residues: it is refused by that, and as a protein model.
        assert status == 2 and "does not know" in said
        return
    chosen = options_of("mine")
    assert status == 0
    assert chosen["dataset_options"]["kind"] == "protein"
    assert chosen["dataset_options"]["input_column"] == "chain"
    assert "kind" not in chosen["model_options"]


def test_images_are_taken_from_a_folder_or_from_a_table(here, saved, capsys):
    lines = ["file,animal"]
    for i in range(120):
        picture = here / f"images/{'cat' if i % 2 else 'dog'}/{i}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(picture)
        lines.append(f"{picture.relative_to(here)},{picture.parent.name}")
    (here / "images.csv").write_text("\n".join(lines) + "\n")
    assert new(capsys, "folder", saved["vit"], here / "images")[0] == 0
    assert options_of("folder")["dataset"] == "hf-image"
    assert new(capsys, "listed", saved["vit"], here / "images.csv")[0] == 0
    chosen = options_of("listed")["dataset_options"]
    assert (chosen["kind"], chosen["label_column"]) == ("image", "animal")


def test_neighbours_are_bounded_by_samples_and_class_sizes(here, saved, capsys):
    file = table(here, 120, label=lambda i: f"class{i % 20}")
    assert new(capsys, "mine", saved["gpt2"], file)[0] == 0
    given = runs.parameters_of(runs.read_run("mine"))
    assert given["03_distances"]["maxk"] == 30
    assert given["05_overlaps"]["label_k"] == [5]
    assert max(given["05_overlaps"]["robustness_k"]) <= 30


def test_a_large_table_is_read_in_part(here, saved, capsys, monkeypatch):
    monkeypatch.setattr("georep_utils.new_run.MAX_SAMPLES", 200)
    assert new(capsys, "mine", saved["gpt2"], table(here))[0] == 0
    assert options_of("mine")["n_per_class"] == 50


def test_without_classes_the_run_has_no_labels(here, saved, capsys):
    (here / "plain.txt").write_text("".join(f"{words}\n" for words, *_ in rows(150)))
    assert new(capsys, "mine", saved["gpt2"], here / "plain.txt")[0] == 0
    assert options_of("mine")["dataset"] == "text"


@pytest.mark.parametrize(
    "family, options, more, complaint",
    [
        ("vit", {}, [], "reads paths of images, but no such column is in"),
        ("gpt2", {}, ["--label", "mood"], "has no column 'mood'; its columns are year, words"),
        ("gpt2", {}, ["--label", "code"], "all 240 labels in 'code' .* are different"),
        ("gpt2", {}, ["--input", "chain"], "does not know|unk|reads text"),
        ("gpt2", {"label": lambda i: "one"}, ["--label", "label"], "expected two classes"),
        ("gpt2", {"n": 60}, [], "has 60 rows; expected 100 or more"),
        ("gpt2", {"length": 50}, [], "has 50 tokens, above the limit of 40"),
        ("esm2", {}, ["--input", "words"], "reads protein sequences, but no such column"),
    ],
)
def test_what_can_not_work_is_one_line_and_no_file(
    family, options, more, complaint, here, saved, capsys
):
    import re

    status, said = new(capsys, "mine", saved[family], table(here, **options), *more)
    assert status == 2 and said.startswith("error: ") and "\n" not in said
    assert re.search(complaint, said), said
    assert "mine" not in runs.run_files()


def test_a_name_that_is_taken_a_model_and_a_table_that_are_not_there(here, saved, capsys):
    file = table(here)
    assert "there is a run named igpt-mini" in new(capsys, "igpt-mini", saved["gpt2"], file)[1]
    assert "can't be a folder's name" in new(capsys, "a/b", saved["gpt2"], file)[1]
    assert "gone.csv is missing" in new(capsys, "mine", saved["gpt2"], here / "gone.csv")[1]
    empty = here / "empty"
    empty.mkdir()
    assert "no config.json" in new(capsys, "mine", empty, file)[1]


def test_a_folder_without_tokenizer_is_refused(here, saved, capsys):
    folder = shutil.copytree(saved["gpt2"], here / "model")
    for file in [*folder.glob("token*"), *folder.glob("special*")]:
        file.unlink()
    status, said = new(capsys, "mine", folder, table(here))
    assert status == 2 and "has no tokenizer" in said


def test_the_written_run_goes_through_its_first_chapters(here, saved, capsys, monkeypatch):
    assert new(capsys, "mine", saved["gpt2"], table(here))[0] == 0
    execute_notebooks("mine", ["01", "02", "03"], here / "mine.jsonl", monkeypatch)
    found = clouds.of_run(RunPaths("mine"))["trained"]
    assert found.n_samples == 240 and len(found) == 4
    # Captions name the model, and no folder of this machine.
    assert found.model == saved["gpt2"].name and "/" not in found.model
