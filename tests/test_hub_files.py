"""Files of a stranger's model are found, and nothing in them is run."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from model_builders import TEXTS, build, imagegpt_of_transformers
from transformers import PreTrainedModel

from georep_utils.io import UserError
from georep_utils.models import hub_files, imagegpt
from georep_utils.models.load import load


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return build("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.fixture
def folder(gpt2, tmp_path):
    """A copy of a model that a test may change."""
    return Path(shutil.copytree(gpt2, tmp_path / "model"))


def change_json(file, **changes):
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | changes))


def names(files):
    return [file.name for file in files]


# ------------------------------------------------------------------------------- strangers' folders


class Touch:
    """A pickle that makes a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def put_code(folder, marker):
    """A Python file that all of a model's Auto classes point at."""
    (folder / "code.py").write_text(
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
        "class Config: pass\nclass Net: pass\nclass Tokenizer: pass\n"
    )
    classes = {"AutoConfig": "code.Config", "AutoModel": "code.Net"}
    change_json(folder / "config.json", auto_map=classes)
    tokenizer = {"AutoTokenizer": ["code.Tokenizer", "code.Tokenizer"]}
    change_json(folder / "tokenizer_config.json", auto_map=tokenizer)


@pytest.mark.parametrize("seed", [None, 0])
def test_code_in_a_folder_is_not_run_where_transformers_knows_the_model(folder, tmp_path, seed):
    expected = load(folder, random_init_seed=seed).forward(TEXTS)
    marker = tmp_path / "was run"
    put_code(folder, marker)
    found = load(folder, random_init_seed=seed).forward(TEXTS)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not marker.exists()


@pytest.mark.parametrize("seed", [None, 0])
def test_a_model_that_exists_only_as_code_is_refused(folder, tmp_path, seed):
    marker = tmp_path / "was run"
    put_code(folder, marker)
    change_json(folder / "config.json", model_type="of_its_own")
    with pytest.raises(UserError, match="can't be loaded"):
        load(folder, random_init_seed=seed)
    assert not marker.exists()


@pytest.mark.parametrize("seed", [None, 0])
def test_an_attention_kernel_of_the_hub_is_refused(folder, seed):
    change_json(folder / "config.json", attn_implementation="some-owner/some-kernel")
    with pytest.raises(UserError, match="asks for the code some-owner/some-kernel"):
        load(folder, random_init_seed=seed)


def as_pickle(folder, marker):
    """The folder's weights replaced by a pickle that is more than weights."""
    (folder / "model.safetensors").unlink()
    with open(folder / "pytorch_model.bin", "wb") as stream:
        pickle.dump({"wte.weight": Touch(marker)}, stream, protocol=2)


def test_a_pickle_that_is_more_than_weights_is_refused_unopened(folder, tmp_path):
    marker = tmp_path / "was run"
    as_pickle(folder, marker)
    with pytest.raises(UserError, match="can't be loaded"):
        load(folder)
    torch.save({"wte.weight": Touch(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="can't be loaded"):
        load(folder)
    assert not marker.exists()


@pytest.fixture
def hub_imagegpt(tmp_path):
    net = imagegpt.initialise(imagegpt.ImageGPT(1, 8, 2, 5, 4), 0)
    imagegpt_of_transformers(imagegpt.to_arrays(net)).save_pretrained(tmp_path / "imagegpt")
    return tmp_path / "imagegpt"


def test_the_same_holds_for_an_imagegpt(hub_imagegpt, tmp_path):
    marker = tmp_path / "was run"
    put_code(hub_imagegpt, marker)
    assert load(hub_imagegpt).n_blocks == 1
    as_pickle(hub_imagegpt, marker)
    with pytest.raises(UserError, match="can't be loaded"):
        load(hub_imagegpt)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.bin", "weights.safetensors"])
def test_a_pickle_is_no_checkpoint_of_an_imagegpt(tmp_path, name):
    marker = tmp_path / "was run"
    torch.save({"wte": Touch(marker)}, tmp_path / name)
    with pytest.raises(UserError):
        load("igpt", checkpoint=str(tmp_path / name))
    assert not marker.exists()


def test_transformers_is_told_to_read_weights_only(gpt2, hub_imagegpt, monkeypatch):
    """The pinned version does so whatever it is told; another might not."""
    told = []
    true_method = PreTrainedModel.from_pretrained.__func__

    def spy(cls, *args, **options):
        told.append((options["weights_only"], options.get("trust_remote_code", False)))
        return true_method(cls, *args, **options)

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", classmethod(spy))
    load(gpt2)
    load(hub_imagegpt)
    assert told == [(True, False), (True, False)]


def test_weights_in_a_true_pickle_are_read(folder):
    expected = load(folder).forward(TEXTS)
    weights = load(folder).net.state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    found = load(folder).forward(TEXTS)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_safetensors_are_preferred_and_a_pickle_beside_them_is_not_opened(folder):
    expected = load(folder).forward(TEXTS)
    (folder / "pytorch_model.bin").write_bytes(b"anything at all")
    found = load(folder).forward(TEXTS)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


# -------------------------------------------------------------------------------------- which files


def test_weights_are_one_file_or_an_index_and_its_shards(tmp_path):
    def put(name, content="x"):
        (tmp_path / name).write_text(content)

    def found():
        return names(hub_files.weight_files(tmp_path))

    put("pytorch_model-00001-of-00001.bin")
    places = {"a": "pytorch_model-00001-of-00001.bin"}
    put("pytorch_model.bin.index.json", json.dumps({"weight_map": places}))
    assert found() == ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"]
    put("pytorch_model.bin")
    assert found() == ["pytorch_model.bin"]
    put("first.safetensors")
    put("second.safetensors")
    places = {"a": "first.safetensors", "b": "second.safetensors", "c": "first.safetensors"}
    put("model.safetensors.index.json", json.dumps({"weight_map": places}))
    shards = ["first.safetensors", "second.safetensors"]
    assert found() == ["model.safetensors.index.json", *shards]
    put("model.safetensors")
    assert found() == ["model.safetensors"]
    put("config.json", json.dumps({"transformers_weights": "second.safetensors"}))
    assert found() == ["second.safetensors"]


def test_the_shards_that_are_found_are_those_that_are_loaded(folder):
    expected = load(folder).forward(TEXTS)
    net = load(folder).net
    (folder / "model.safetensors").unlink()
    net.save_pretrained(folder, max_shard_size="20KB")
    files = hub_files.weight_files(folder)
    assert len(files) > 2
    found = load(folder).forward(TEXTS)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    files[-1].unlink()
    with pytest.raises(UserError, match=f"lacks {files[-1].name}"):
        load(folder)


def test_missing_weights_and_damaged_lists_are_named(tmp_path):
    with pytest.raises(UserError, match="holds no weights"):
        hub_files.weight_files(tmp_path)
    for content in ("", "[]", "{}", '{"weight_map": {"a": 5}}', '{"weight_map": ["a"]}'):
        (tmp_path / "model.safetensors.index.json").write_text(content)
        with pytest.raises(UserError, match="is no list of weights"):
            hub_files.weight_files(tmp_path)


def test_what_reads_inputs_is_told_from_everything_else(tmp_path):
    readers = ["merges.txt", "preprocessor_config.json", "spiece.model", "tokenizer.json"]
    others = ["config.json", "generation_config.json", "model.safetensors.index.json", "README.md"]
    for name in (*readers, *others, ".fetched.json", "code.py", "model.safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "folder.json").mkdir()
    assert names(hub_files.input_files(tmp_path)) == readers


# ------------------------------------------------------------------------------------- which folder


def put_into_cache(cache, gpt2, monkeypatch):
    """A model in the hub's own cache, as huggingface_hub lays it out."""
    model = cache / "models--some--model"
    (model / "refs").mkdir(parents=True)
    (model / "refs/main").write_text("c0ffee")
    snapshot = Path(shutil.copytree(gpt2, model / "snapshots/c0ffee"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return snapshot


def test_a_model_is_a_folder_or_fetched_or_in_the_hubs_cache(gpt2, tmp_path, monkeypatch):
    cached = put_into_cache(tmp_path / "cache", gpt2, monkeypatch)
    data_dir = tmp_path / "data"
    assert hub_files.find_folder("some/model", data_dir) == cached
    assert hub_files.find_folder("some/model", data_dir, revision="other") is None
    assert hub_files.find_folder("some/other", data_dir) is None
    assert hub_files.find_folder("no name at all", data_dir) is None
    fetched = Path(shutil.copytree(gpt2, data_dir / "hub/some/model"))
    assert hub_files.find_folder("some/model", data_dir) == fetched
    assert hub_files.find_folder(str(gpt2), data_dir) == gpt2
    monkeypatch.setenv("HOME", str(gpt2.parent))
    assert hub_files.find_folder(f"~/{gpt2.name}", data_dir) == gpt2


def test_a_cached_model_without_all_its_weights_is_not_taken(gpt2, tmp_path, monkeypatch):
    cached = put_into_cache(tmp_path / "cache", gpt2, monkeypatch)
    (cached / "model.safetensors").unlink()
    assert hub_files.find_folder("some/model", tmp_path) is None
