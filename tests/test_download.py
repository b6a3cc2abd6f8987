"""The files of others have the names and places that they should, and a hub model comes whole."""

import hashlib
import io
import json
import zipfile

import huggingface_hub
import numpy as np
import pytest
from loopback import serve_hub, serve_tree

from georep_utils.data import download
from georep_utils.data.archives import unpack
from georep_utils.data.connection import Limits
from georep_utils.data.download import hub_model
from georep_utils.data.transfer import fetch
from georep_utils.io import UserError

BYTES = np.random.default_rng(0).bytes(100_000)
QUICK = {"limits": Limits(backoff=0.01), "progress": False}
ARTICLE = "/v2/articles/23137958/versions/1"


@pytest.fixture(autouse=True)
def hub_can_be_asked(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "served").mkdir(parents=True)
    return tmp_path / "served"


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


# ------------------------------------------------------------------------------ OpenAI and figshare


def test_openai_checkpoints_have_an_index_and_their_number_of_shards():
    small = download.openai_checkpoint("s")
    large = download.openai_checkpoint("l", 131000, bert=True, base="http://h/")
    assert len(small) == 33 and len(large) == 65
    prefix = f"{download.OPENAI}/checkpoints/igpt-s/1000000/model.ckpt-1000000"
    assert small[0].url == f"{prefix}.index"
    prefix = "http://h/checkpoints/igpt-l-bert/131000/model.ckpt-131000"
    assert large[64].url == f"{prefix}.data-00063-of-00064"
    assert large[64].path == large[64].url[len("http://h/") :]
    assert [file.path for file in download.openai_dataset("cifar10", "test")] == [
        "datasets/cifar10_teX.npy",
        "datasets/cifar10_teY.npy",
    ]
    assert download.openai_clusters()[0].path == "color-clusters/kmeans_centers.npy"


@pytest.mark.parametrize(
    "ask, exists",
    [
        (lambda: download.openai_checkpoint("xl"), "s, m, l"),
        (lambda: download.openai_checkpoint("s", 5), "131000, 262000, 524000, 1000000"),
        (lambda: download.openai_dataset("mnist", "train"), "imagenet, cifar10"),
        (lambda: download.openai_dataset("cifar10", "trX"), "train, valid, test"),
    ],
)
def test_what_does_not_exist_is_answered_with_what_does(ask, exists):
    with pytest.raises(UserError, match=exists):
        ask()


def test_the_authors_archives_are_found_at_figshare_and_verified_by_its_checksum(tree, data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data/id-esm2-3B.npy", BYTES)
    (tree / "files").mkdir()
    for number in ("40694132", "7"):
        (tree / "files" / number).write_bytes(buffer.getvalue())
    pages = {}
    with serve_tree(tree, pages=pages) as server:
        listed = {
            "name": "data_transf_repr_protein.zip",
            "download_url": f"{server.url}/files/7",
            "size": len(buffer.getvalue()),
            "computed_md5": hashlib.md5(buffer.getvalue()).hexdigest(),
        }
        pages[ARTICLE] = {"files": [listed]}
        files = download.released_images(server.url) + download.released_proteins(server.url)
        paths = fetch(files, data, **QUICK)
        pages[ARTICLE] = {"files": [{**listed, "computed_md5": "0" * 32}]}
        with pytest.raises(UserError, match="md5"):
            fetch(download.released_proteins(server.url), data / "other", **QUICK)
        pages.clear()
        with pytest.raises(UserError, match="gives no list"):
            download.released_proteins(server.url)
    assert [path.name for path in paths] == [
        "data_transf_repr_image.zip",
        "data_transf_repr_protein.zip",
    ]
    offline = download.released_proteins(offline=True)
    assert fetch(offline, data, offline=True, **QUICK) == paths[1:]
    unpacked = unpack(paths[1], data / "released/protein")
    assert (unpacked / "data/id-esm2-3B.npy").read_bytes() == BYTES


@pytest.mark.parametrize(
    "page",
    [
        [],
        {},
        {"files": 5},
        {"files": [{}]},
        {"files": [{"name": "x", "download_url": "x", "size": "x", "computed_md5": "x"}]},
        {"files": [[]]},
        {"files": ["x" * 2**21]},
    ],
)
def test_a_list_of_files_that_is_none_is_one_clear_line(tree, page):
    with serve_tree(tree, pages={ARTICLE: page}) as server:
        with pytest.raises(UserError, match="gives no list of files") as error:
            download.released_proteins(server.url)
    assert "\n" not in str(error.value)


# --------------------------------------------------------------------------------------- hub models


TEXT = ("config.json", "vocab.txt", "tokenizer.model")


def hub_folder(folder, *names, content=""):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        is_json = name.endswith("json")
        filled = json.dumps({"of": name}).encode() if is_json else (name + content).encode() * 999
        (folder / name).write_bytes(filled)
    return folder


def names_in(folder):
    return {path.name for path in folder.glob("[!.]*")}


def test_a_hub_model_comes_with_safetensors_and_nothing_superfluous(tmp_path, data):
    superfluous = (
        "pytorch_model.bin",
        "flax_model.msgpack",
        "tf_model.h5",
        "modeling.py",
        "onnx/model.safetensors",
    )
    folder = hub_folder(tmp_path / "m", *TEXT, "model.safetensors", *superfluous)
    with serve_hub({"some/model": folder}) as server:
        came = hub_model("some/model", data, endpoint=server.url)
        assert names_in(came) == {*TEXT, "model.safetensors"}
        weights = (folder / "model.safetensors").read_bytes()
        assert (came / "model.safetensors").read_bytes() == weights
        asked = len(server.log)
        assert hub_model("some/model", data, endpoint=server.url) == came
        assert len(server.log) == asked
    assert hub_model("some/model", data, offline=True) == came
    (came / "model.safetensors").unlink()
    with pytest.raises(UserError, match="offline, and hub model 'some/model' is not whole"):
        hub_model("some/model", data, offline=True)


def test_a_hub_model_without_safetensors_comes_with_its_pytorch_weights(tmp_path, data):
    names = {*TEXT, "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"}
    folder = hub_folder(tmp_path / "m", *names, "training_args.bin")
    with serve_hub({"model": folder}) as server:
        assert names_in(hub_model("model", data, endpoint=server.url)) == names


@pytest.mark.parametrize(
    "names, weights",
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["model-00001-of-00002.safetensors", "pytorch_model.bin"], []),
        (["model.safetensors", "model-00001-of-00002.safetensors"], ["model.safetensors"]),
        (["pytorch_model.bin", "x.pkl", "model.pt", "code.py"], ["pytorch_model.bin"]),
        (["model.ckpt", "code.py", "run.sh"], []),
    ],
)
def test_pickles_come_only_where_there_are_no_safetensors_and_programs_never(names, weights):
    needed = download.needed_files([*names, "config.json", ".hidden.json", "a/config.json"])
    assert needed == ([*weights, "config.json"] if weights else [])
    assert download.needed_files(names) == []


def test_a_dropped_hub_connection_is_resumed(tmp_path, data):
    folder = hub_folder(tmp_path / "m", "config.json", "model.safetensors")
    with serve_hub({"some/model": folder}, fault="drop", times=1) as server:
        came = hub_model("some/model", data, endpoint=server.url)
    weights = (folder / "model.safetensors").read_bytes()
    assert (came / "model.safetensors").read_bytes() == weights


def test_wrong_bytes_from_the_hub_are_noticed_and_removed(tmp_path, data):
    folder = hub_folder(tmp_path / "m", "config.json", "model.safetensors")
    with serve_hub({"some/model": folder}, fault="wrong") as server:
        expected = "model.safetensors of hub model 'some/model' has sha256"
        with pytest.raises(UserError, match=expected):
            hub_model("some/model", data, endpoint=server.url)
        assert not (data / "hub/some/model/model.safetensors").exists()


def test_a_hub_name_that_is_no_model_is_one_clear_line(tmp_path, data):
    with serve_hub({"some/data": hub_folder(tmp_path / "m", "README.txt")}) as server:
        for name, says in (
            ("no/such", "can't be had"),
            ("some/data", "no transformer"),
            ("./no/folder", "neither a folder"),
        ):
            with pytest.raises(UserError, match=says) as error:
                hub_model(name, data, endpoint=server.url)
            assert "\n" not in str(error.value)


def test_revisions_lie_side_by_side_and_one_that_does_not_exist_is_named(tmp_path, data):
    main = hub_folder(tmp_path / "main", "config.json", "model.safetensors")
    early = hub_folder(tmp_path / "early", "config.json", "model.safetensors", content="early")
    with serve_hub({"some/model": main}, revisions={"some/model": {"step1": early}}) as server:
        asked = {"data_dir": data, "endpoint": server.url}
        came = [hub_model("some/model", **asked, revision=name) for name in ("main", "step1")]
        assert came == [data / "hub/some/model", data / "hub/some/model@step1"]
        for folder, source in zip(came, (main, early), strict=True):
            weights = (source / "model.safetensors").read_bytes()
            assert (folder / "model.safetensors").read_bytes() == weights
        n_requests = len(server.log)
        assert hub_model("some/model", **asked, revision="step1") == came[1]
        assert len(server.log) == n_requests
        with pytest.raises(UserError, match="'some/model' has no revision 'step9'") as error:
            hub_model("some/model", **asked, revision="step9")
    assert "\n" not in str(error.value)
    assert hub_model("some/model", data, offline=True, revision="step1") == came[1]


@pytest.mark.parametrize("revision", ["../main", "", ".git", "a/../b", "/a", "a b", None])
def test_a_revision_that_could_lead_elsewhere_is_refused(data, revision):
    with pytest.raises(UserError, match="revision"):
        hub_model("some/model", data, endpoint="http://127.0.0.1:9", revision=revision)


def test_the_hub_is_spoken_to_over_https_only(data):
    with pytest.raises(UserError, match="http://hub.example is not fetched"):
        hub_model("some/model", data, endpoint="http://me:secret@hub.example")


def test_no_hub_is_one_clear_line_without_secrets(data):
    with pytest.raises(UserError, match="check name and network") as error:
        hub_model("some/model", data, endpoint="http://me:secret@127.0.0.1:9")
    assert "\n" not in str(error.value) and "secret" not in str(error.value)


def test_offline_a_folder_filled_by_hand_serves_and_an_incomplete_one_does_not(data):
    with pytest.raises(UserError, match=r"some/model.*data/hub/some/model.*go online"):
        hub_model("some/model", data, offline=True)
    folder = hub_folder(data / "hub/some/model", "config.json", "model-00001-of-00002.safetensors")
    with pytest.raises(UserError, match="not whole"):
        hub_model("some/model", data, offline=True)
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"w")
    assert hub_model("some/model", data, offline=True) == folder
    assert hub_model(str(folder), "elsewhere") == folder


def test_offline_the_hubs_own_cache_serves(tmp_path, data):
    folder = hub_folder(tmp_path / "m", *TEXT, "model.safetensors")
    with serve_hub({"some/model": folder}) as server:
        cached = huggingface_hub.snapshot_download("some/model", endpoint=server.url)
    assert str(hub_model("some/model", data, offline=True)) == cached


def test_offline_a_missing_model_is_one_clear_line_in_a_fresh_process(tmp_path):
    """`huggingface_hub` imports its submodules when they are asked for."""
    import subprocess
    import sys

    program = (
        "from georep_utils.data.download import hub_model\n"
        "from georep_utils.io import UserError\n"
        "try:\n"
        f"    hub_model('some/model', {str(tmp_path)!r}, offline=True)\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"HF_HOME": str(tmp_path), "PATH": ""},
        cwd=download.__file__.removesuffix("georep_utils/data/download.py"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("offline, and hub model 'some/model' is not whole"), done.stderr
