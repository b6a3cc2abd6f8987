"""Every model is loaded in one way, and its recipe says what its representations depend on."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from model_builders import PROTEINS, build, imagegpt_of_transformers
from safetensors.numpy import load_file, save_file
from tf_checkpoint_writer import write_tf_checkpoint

from georep_utils.io import REPOSITORY, UserError
from georep_utils.models import imagegpt
from georep_utils.models.load import load, revisions, source, source_of_checkpoint, split_revision

DATA = Path(__file__).parent / "data"
OPENAI = str(DATA / "igpt_ar_4shards/model.ckpt-1000000")
ARRAYS = imagegpt.to_arrays(imagegpt.initialise(imagegpt.ImageGPT(2, 8, 2, 5, 4), 0))


@pytest.fixture(scope="module")
def esm(tmp_path_factory):
    return build("esm2", tmp_path_factory.mktemp("esm2"))


@pytest.fixture
def folder(esm, tmp_path):
    """A copy of a Hugging Face model that a test may change."""
    return Path(shutil.copytree(esm, tmp_path / "model"))


@pytest.fixture
def checkpoint(tmp_path):
    """A TensorFlow checkpoint of two shards, with an optimiser's state in a third."""
    slots = {"model/wte/Adam": 0 * ARRAYS["model/wte"]}
    shards = {name: i % 2 for i, name in enumerate(ARRAYS)} | dict.fromkeys(slots, 2)
    write_tf_checkpoint(tmp_path / "model.ckpt-7", ARRAYS | slots, 3, shards)
    return tmp_path / "model.ckpt-7"


def flip_bit(file, at=-1):
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)


# --------------------------------------------------------------------------------- where models lie


def test_a_checkpoint_is_looked_for_below_data_dir(tmp_path):
    shutil.copytree(Path(OPENAI).parent, tmp_path / "checkpoints/mine")
    name = "checkpoints/mine/model.ckpt-1000000"
    model = load("igpt", checkpoint=name, data_dir=str(tmp_path), device="cpu")
    assert model.name == name
    assert model.n_blocks == 3


def test_a_fetched_model_is_found_by_its_name_and_keeps_it(esm, tmp_path):
    shutil.copytree(esm, tmp_path / "hub/some/model")
    model = load("some/model", data_dir=tmp_path)
    assert model.name == "some/model"
    assert load("some/model", data_dir=tmp_path, random_init_seed=0).name != "some/model"


def test_models_of_both_families_offer_the_same(esm):
    for model in (load("igpt", OPENAI), load(esm)):
        assert model.layers == list(range(len(model.layer_names)))
        for name in ("name", "kind", "n_blocks", "device", "dtype", "site", "pool", "reentrant"):
            assert hasattr(model, name)


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "options, complaint",
    [
        (
            {"checkpoint": "checkpoints/none/model.ckpt-7"},
            "is missing: expected .*model.ckpt-7.index",
        ),
        ({"checkpoint": "checkpoints/none.safetensors"}, "is missing: expected .*none.safetensors"),
        ({"checkpoint": None}, "has no checkpoint"),
        (
            {"checkpoint": None, "size": "xl", "random_init_seed": 0},
            "expected a checkpoint, or a size of s, m, l",
        ),
        ({"site": "ln_2"}, "site is 'ln_2'; expected one of ln_1, input, attn, mlp"),
        ({"pool": "max"}, "pool is 'max'"),
        ({"dtype": "float64"}, "dtype is 'float64'"),
        ({"device": "gpu"}, "device is 'gpu'"),
        ({"blocks": "h"}, "no option 'blocks'"),
        ({"size": "s"}, "leave both out"),
    ],
)
def test_options_that_do_not_fit_are_named(options, complaint):
    with pytest.raises(UserError, match=complaint) as refusal:
        load("igpt", **{"checkpoint": OPENAI, "device": "cpu"} | options)
    assert "\n" not in str(refusal.value)


def test_options_that_a_hub_model_has_not_are_named(tmp_path):
    with pytest.raises(UserError, match="leave it out, or set model to igpt"):
        load("gpt2", checkpoint="some.safetensors")
    with pytest.raises(UserError, match="leave it out, or set model to igpt"):
        load("openai/imagegpt-small", checkpoint="some.safetensors")
    with pytest.raises(UserError, match="no option 'size'"):
        load(str(tmp_path), size="s")


@pytest.mark.parametrize(
    "name, options, complaint",
    [
        ("igpt", {"pool": "max"}, "pool is 'max'; expected one of mean, last"),
        ("some/model", {"site": "ln_2"}, "site is 'ln_2'"),
        ("some/model", {"dtype": "float16"}, "dtype is 'float16'"),
        ("some/model", {"special_token": True}, "no option 'special_token'"),
        (
            "some/model",
            {"special_tokens": "yes"},
            "special_tokens is 'yes'; expected true or false",
        ),
        ("some/model", {"skip_first": -1}, "skip_first is -1; expected a whole number of tokens"),
        ("some/model", {"image_size": 0}, "image_size is 0; expected a whole number of pixels"),
        ("some/model", {"title": 3}, "title is 3; expected text"),
        ("igpt", {"pool": "cls", "checkpoint": "x"}, "x has no class token"),
        ("some/model", {"max_length": "long"}, "max_length is 'long'"),
        ("some/model", {"max_length": 0}, "max_length is 0"),
        ("some/model", {"kind": "music"}, "kind is 'music'; expected one of text, protein, image"),
        ("some/model", {"blocks": 3}, "blocks is 3"),
        ("some/model", {"checkpoint": "x.safetensors"}, "leave it out, or set model to igpt"),
        ("igpt", {"size": "s"}, "has no checkpoint, size 's' and seed None"),
        ("igpt", {"size": "s", "causal": 1, "random_init_seed": 0}, "causal is 1"),
        ("openai/imagegpt-small", {"blocks": "h"}, "no option 'blocks'"),
        (
            "some/model",
            {"random_init_seed": "zero"},
            "random_init_seed is 'zero'; expected a whole",
        ),
        ("some/model", {"random_init_seed": 1.5}, "random_init_seed is 1.5"),
        ("some/model", {"random_init_seed": True}, "random_init_seed is True"),
        ("some/model", {"random_init_seed": -1}, "random_init_seed is -1"),
    ],
)
def test_a_source_refuses_wrong_values_before_any_file_is_there(name, options, complaint):
    with pytest.raises(UserError, match=complaint) as refusal:
        source(name, **options)
    assert "\n" not in str(refusal.value)


# -------------------------------------------------------------------------------------- the sources


def test_a_title_and_a_note_on_the_weights_are_shown_and_change_no_file(esm):
    plain = source(esm)
    titled = source(esm, title="ESM", weights_note="4-bit weights dequantised")
    assert plain.name == Path(esm).name and "/" not in plain.name
    assert titled.name == "ESM (4-bit weights dequantised)"
    # Random weights have nothing to do with those that the note is about.
    assert titled.untrained(0).name == "ESM (untrained)"
    changed = {key for key, value in titled.recipe().items() if value != plain.recipe()[key]}
    assert changed == {"model"}


def test_a_checkpoint_may_be_a_file_a_revision_or_a_folder(tmp_path):
    assert split_revision("a/b@step1000") == ("a/b", "step1000")
    assert split_revision("a/b") == ("a/b", None)
    folder = tmp_path / "model@home"
    folder.mkdir()
    assert split_revision(str(folder)) == (str(folder), None)
    found = source_of_checkpoint("a/b", "a/b@step1", data_dir="somewhere")
    assert (found.name_or_path, dict(found.options)) == ("a/b", {"revision": "step1"})
    assert source_of_checkpoint("igpt", "x@y.safetensors").checkpoint == "x@y.safetensors"
    steps = {"none": "untrained", "one": "a/b@step1", "last": "a/b", "again": "a/b@step1"}
    assert revisions("a/b", "main", steps) == [("a/b", "main"), ("a/b", "step1")]


def test_a_source_travels_and_loads_the_same_model(esm):
    given = source(esm, site="mlp", device="cpu", special_tokens=True)
    found = pickle.loads(pickle.dumps(given))
    assert found == given
    ours = found.load().forward(PROTEINS)
    theirs = load(esm, site="mlp", device="cpu", special_tokens=True).forward(PROTEINS)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_an_untrained_source_is_the_same_network_with_random_weights(esm):
    trained = source(esm, site="mlp")
    untrained = trained.untrained(np.int64(3))
    json.dumps(untrained.recipe())
    assert untrained == source(esm, site="mlp", random_init_seed=3)
    assert untrained.name == untrained.load().name == f"{trained.name} (untrained)"
    with pytest.raises(UserError, match="random_init_seed is 'x'"):
        trained.untrained("x")


def test_loading_notes_the_files_that_were_read(esm, checkpoint, tmp_path, monkeypatch):
    record = tmp_path / "record"
    monkeypatch.setenv("GEOREP_RECORD", str(record))
    load("igpt", checkpoint)
    load(esm)
    noted = [Path(json.loads(line)["read"]).name for line in record.read_text().splitlines()]
    shards = [f"model.ckpt-7.data-0000{i}-of-00003" for i in range(2)]
    assert noted[:3] == ["model.ckpt-7.index", *shards]
    assert {"config.json", "model.safetensors", "vocab.txt"} <= set(noted[3:])


# -------------------------------------------------------------------------------------- the recipes


def test_a_recipe_tells_everything_by_name(esm, checkpoint):
    recipe = source("igpt", checkpoint, random_init_seed=2).recipe()
    assert recipe == json.loads(json.dumps(recipe))
    assert recipe["model"] == f"{checkpoint} (untrained)"
    assert recipe["family"] == "imagegpt"
    shards = {f"model.ckpt-7.data-0000{i}-of-00003" for i in range(2)}
    assert recipe["files"].keys() == {"model.ckpt-7.index", *shards}
    assert (recipe["place"], recipe["pooling"], recipe["precision"]) == ("ln_1", "mean", "float32")
    assert recipe["random_init_seed"] == 2
    assert recipe["options"] == {}
    assert recipe["versions"] == {"torch": torch.__version__.split("+")[0]}
    of_hub = source(esm).recipe()
    assert of_hub["family"] == "huggingface"
    assert {"config.json", "model.safetensors", "vocab.txt"} <= of_hub["files"].keys()
    assert of_hub["versions"].keys() == {"torch", "transformers"}
    assert of_hub["code"] != recipe["code"]


def test_a_recipe_of_the_bundled_model_is_one_file():
    recipe = source("igpt", "assets/igpt-mini/trained.safetensors").recipe()
    assert recipe["model"] == "assets/igpt-mini/trained.safetensors"
    assert recipe["files"].keys() == {"trained.safetensors"}


def test_openais_untrained_network_needs_no_file():
    recipe = source("igpt", size="s", random_init_seed=1).recipe()
    assert recipe["files"] == {}
    assert recipe["options"] == {"size": "s", "causal": True}
    assert recipe == source("igpt", size="s", causal=True, random_init_seed=1).recipe()
    assert recipe != source("igpt", size="m", random_init_seed=1).recipe()
    assert recipe != source("igpt", size="s", causal=False, random_init_seed=1).recipe()
    assert recipe != source("igpt", size="s", random_init_seed=2).recipe()


def test_an_imagegpt_of_the_hub_has_a_recipe(tmp_path):
    imagegpt_of_transformers(ARRAYS).save_pretrained(tmp_path)
    recipe = source(tmp_path).recipe()
    assert recipe["family"] == "imagegpt"
    assert recipe["files"].keys() == {"config.json", "model.safetensors"}
    assert recipe["versions"].keys() == {"torch", "transformers"}
    flip_bit(tmp_path / "model.safetensors")
    assert source(tmp_path).recipe() != recipe


def test_no_weights_are_loaded_for_a_recipe(folder, tmp_path):
    (folder / "model.safetensors").write_bytes(b"no weights at all")
    (tmp_path / "igpt.safetensors").write_bytes(b"no weights at all")
    source(folder).recipe()
    source("igpt", tmp_path / "igpt.safetensors").recipe()


def test_a_default_that_is_said_device_and_whereabouts_make_no_difference(esm, tmp_path):
    for i in range(2):
        shutil.copytree(esm, tmp_path / f"{i}/hub/some/model")
    recipe = source("some/model", data_dir=tmp_path / "0").recipe()
    defaults = {
        "device": "cpu",
        "dtype": "float32",
        "site": "ln_1",
        "pool": "mean",
        "random_init_seed": None,
        "blocks": None,
        "special_tokens": False,
        "kind": None,
        "revision": "main",
        "local_files_only": True,
    }
    assert source("some/model", data_dir=tmp_path / "1", **defaults).recipe() == recipe


def test_sources_with_equal_recipes_give_equal_arrays(esm, tmp_path):
    for i in range(2):
        shutil.copytree(esm, tmp_path / f"{i}/hub/some/model")
    one, two = (source("some/model", data_dir=tmp_path / str(i)) for i in range(2))
    assert one.recipe() == two.recipe()
    arrays = [found.load().forward(PROTEINS) for found in (one, two)]
    assert all(torch.equal(a, b) for a, b in zip(*arrays, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {"site": "input"},
        {"pool": "last"},
        {"dtype": "bfloat16"},
        {"random_init_seed": 0},
        {"special_tokens": True},
        {"max_length": 9},
        {"blocks": "encoder.layer"},
        {"norm": "LayerNorm"},
        {"final_norm": "encoder.layer.0"},
        {"kind": "text"},
    ],
)
def test_every_option_that_may_change_the_arrays_changes_the_recipe(options, esm):
    assert source(esm, **options).recipe() != source(esm).recipe()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_a_changed_file_of_a_folder_changes_the_recipe(name, folder):
    before = source(folder).recipe()
    with open(folder / name, "ab") as stream:
        stream.write(b"\n")
    assert source(folder).recipe() != before


def test_every_weight_of_a_checkpoint_counts_and_the_optimisers_do_not(checkpoint, tmp_path):
    before = source("igpt", checkpoint).recipe()
    shards = [Path(f"{checkpoint}.data-0000{i}-of-00003") for i in range(3)]
    flip_bit(shards[2])
    assert source("igpt", checkpoint).recipe() == before
    for shard in shards[:2]:
        flip_bit(shard, at=0)
        assert source("igpt", checkpoint).recipe() != before
        flip_bit(shard, at=0)
    assert source("igpt", checkpoint).recipe() == before
    save_file(ARRAYS, tmp_path / "one.safetensors")
    before = source("igpt", tmp_path / "one.safetensors").recipe()
    changed = load_file(tmp_path / "one.safetensors")
    changed["model/wte"][0, 0] += 1
    save_file(changed, tmp_path / "one.safetensors")
    assert source("igpt", tmp_path / "one.safetensors").recipe() != before


def test_an_untrained_model_of_the_hub_depends_on_its_sizes_and_inputs_alone(folder):
    before = source(folder, random_init_seed=0).recipe()
    (folder / "model.safetensors").unlink()
    assert source(folder, random_init_seed=0).recipe() == before
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    assert source(folder, random_init_seed=0).recipe() != before


@pytest.mark.parametrize("library", ["torch", "transformers"])
def test_another_version_of_a_library_changes_the_recipe(library, esm, monkeypatch):
    before = source(esm).recipe()
    monkeypatch.setattr(
        "georep_utils.models.load.version",
        lambda name: "0.1+cpu" if name == library else before["versions"][name],
    )
    after = source(esm).recipe()
    assert after["versions"] == before["versions"] | {library: after["versions"][library]}
    assert after != before


@pytest.fixture
def changed_code(tmp_path, monkeypatch):
    """A copy of this package's code, of which digests are taken, and a way to change it."""
    copy = tmp_path / "code/georep_utils"
    shutil.copytree(REPOSITORY / "georep_utils", copy, ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr("georep_utils.io.REPOSITORY", copy.parent)

    def append(module, text):
        with open(copy / module, "a", encoding="utf-8") as stream:
            stream.write(text)

    return append


OF_BOTH = ["models/pooling.py", "precision.py"]
OF_IMAGEGPT = ["models/imagegpt.py", "models/tf_checkpoint.py", *OF_BOTH]
OF_HUGGINGFACE = ["models/huggingface.py", "models/hooks.py", "models/hub_files.py", *OF_BOTH]


@pytest.mark.parametrize("module", sorted({*OF_IMAGEGPT, *OF_HUGGINGFACE, "models/load.py"}))
def test_the_code_that_computes_is_part_of_the_recipe(module, esm, checkpoint, changed_code):
    models = {"imagegpt": source("igpt", checkpoint), "huggingface": source(esm)}
    before = {family: model.recipe() for family, model in models.items()}
    changed_code(module, "\n# A comment computes nothing.\n")
    assert {family: model.recipe() for family, model in models.items()} == before
    changed_code(module, "\nanother_statement = 1\n")
    assert (models["imagegpt"].recipe() != before["imagegpt"]) == (module in OF_IMAGEGPT)
    assert (models["huggingface"].recipe() != before["huggingface"]) == (module in OF_HUGGINGFACE)


def test_a_model_that_is_not_on_this_machine_has_no_recipe(folder, tmp_path):
    with pytest.raises(UserError, match="run 01_download"):
        source("some/model", data_dir=tmp_path).recipe()
    with pytest.raises(UserError, match="run 01_download"):
        source("igpt", "checkpoints/none/model.ckpt-7").recipe()
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no weights"):
        source(folder).recipe()
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match="holds no config.json"):
        source(folder, random_init_seed=0).recipe()


def test_a_recipe_is_the_same_in_another_process(esm):
    """Nothing in it depends on the order of a set or on a memory address."""
    program = (
        "import json, sys; from georep_utils.models.load import source;"
        "print(json.dumps(source(sys.argv[1], special_tokens=True, max_length=9).recipe()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(esm)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        check=True,
        text=True,
    )
    here = source(esm, special_tokens=True, max_length=9).recipe()
    assert json.loads(run.stdout) == here
