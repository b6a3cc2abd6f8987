"""Files arrive whole and verified, or not at all, whatever the server does."""

import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import zipfile
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
from loopback import serve_hub, serve_tree

from georep_utils.data import download
from georep_utils.data.download import RemoteFile, fetch, hub_model, unpack
from georep_utils.io import UserError


@pytest.fixture(autouse=True)
def hub_can_be_asked(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


BYTES = np.random.default_rng(0).bytes(500_000)
SHA = hashlib.sha256(BYTES).hexdigest()
QUICK = {"backoff": 0.01, "progress": False}


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "served/a").mkdir(parents=True)
    (tmp_path / "served/a/x.npy").write_bytes(BYTES)
    return tmp_path / "served"


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def remote(server, **known) -> RemoteFile:
    return RemoteFile("x.npy", f"{server.url}/a/x.npy", "a/x.npy", **known)


def left_behind(data) -> set[str]:
    return {p.name for p in data.rglob("*") if p.is_file()}


@pytest.mark.parametrize("known", [{}, {"size": len(BYTES)}, {"sha256": SHA}, {"md5": hashlib.md5(BYTES).hexdigest()}])
def test_a_file_arrives_whole_and_is_not_fetched_again(tree, data, known):
    with serve_tree(tree) as server:
        assert fetch([remote(server, **known)], data, **QUICK) == [data / "a/x.npy"]
        requests_made = len(server.log)
        fetch([remote(server, **known)], data, **QUICK)
        assert len(server.log) == requests_made
    assert (data / "a/x.npy").read_bytes() == BYTES
    assert (data / "a/x.npy.sha256").read_text() == f"{SHA}  x.npy\n"
    assert left_behind(data) == {"x.npy", "x.npy.sha256"}


def test_a_dropped_connection_is_resumed_where_it_broke(tree, data):
    with serve_tree(tree, fault="drop", times=2) as server:
        fetch([remote(server)], data, **QUICK)
        sent = server.sent("/a/x.npy")
    assert (data / "a/x.npy").read_bytes() == BYTES
    assert len(sent) == 3 and sent[0][0] == "" and sent[1][0] > "bytes=1" and sent[2][0] > sent[1][0]
    assert sum(n for _, n in sent) < 1.4 * len(BYTES)


def test_a_server_without_ranges_is_read_from_the_start_again(tree, data):
    with serve_tree(tree, fault="drop", times=2, ranges=False) as server:
        fetch([remote(server)], data, **QUICK)
        assert [n for _, n in server.sent("/a/x.npy")] == [250_000, 250_000, 500_000]
    assert (data / "a/x.npy").read_bytes() == BYTES


def test_an_interrupted_run_is_continued_by_the_next(tree, data):
    with serve_tree(tree, fault="drop", times=1) as server:
        with pytest.raises(UserError, match="check the network"):
            fetch([remote(server)], data, attempts=1, **QUICK)
        part = (data / "a/x.npy.part").stat().st_size
        assert 0 < part <= 250_000 and not (data / "a/x.npy").exists()
        fetch([remote(server)], data, attempts=1, **QUICK)
        assert server.sent("/a/x.npy")[-1] == (f"bytes={part}-", len(BYTES) - part)
    assert (data / "a/x.npy").read_bytes() == BYTES
    assert left_behind(data) == {"x.npy", "x.npy.sha256"}


def test_a_part_of_another_version_is_not_continued(tree, data):
    with serve_tree(tree, fault="drop", times=1) as server:
        with pytest.raises(UserError):
            fetch([remote(server)], data, attempts=1, **QUICK)
        (tree / "a/x.npy").write_bytes(BYTES[::-1])
        fetch([remote(server)], data, **QUICK)
    assert (data / "a/x.npy").read_bytes() == BYTES[::-1]


def test_a_part_of_unknown_origin_is_continued_only_under_a_checksum(tree, data):
    for known, first in (({}, ""), ({"sha256": SHA, "size": len(BYTES)}, "bytes=1000-")):
        (data / "a").mkdir(parents=True, exist_ok=True)
        (data / "a/x.npy").unlink(missing_ok=True)
        (data / "a/x.npy.part").write_bytes(BYTES[:1000])
        with serve_tree(tree) as server:
            fetch([remote(server, **known)], data, **QUICK)
            assert server.sent("/a/x.npy")[0][0] == first
        assert (data / "a/x.npy").read_bytes() == BYTES


def test_a_part_that_is_too_long_starts_again(tree, data):
    (data / "a").mkdir(parents=True)
    (data / "a/x.npy.part").write_bytes(BYTES + b"more")
    with serve_tree(tree) as server:
        fetch([remote(server, sha256=SHA)], data, **QUICK)
    assert (data / "a/x.npy").read_bytes() == BYTES


def test_wrong_bytes_are_fetched_twice_and_never_take_the_name(tree, data):
    with serve_tree(tree, fault="wrong") as server:
        with pytest.raises(UserError, match="sha256 .* expected.* twice"):
            fetch([remote(server, sha256=SHA)], data, **QUICK)
        assert len(server.sent("/a/x.npy")) == 2
    assert not (data / "a/x.npy").exists() and not (data / "a/x.npy.part").exists()


def test_wrong_bytes_once_are_put_right(tree, data):
    with serve_tree(tree, fault="wrong", times=1) as server:
        fetch([remote(server, sha256=SHA)], data, **QUICK)
    assert (data / "a/x.npy").read_bytes() == BYTES


def test_a_short_file_never_takes_the_name(tree, data):
    with serve_tree(tree, fault="short") as server, pytest.raises(UserError, match="250000 bytes where 500000"):
        fetch([remote(server, size=len(BYTES))], data, **QUICK)
    assert not (data / "a/x.npy").exists()


@pytest.mark.parametrize(
    "fault, says", [("missing", "status 404"), ("html", "text/html"), ("unknown", "states no length")]
)
def test_what_is_not_the_file_is_refused_at_once(tree, data, fault, says):
    with serve_tree(tree, fault=fault) as server:
        with pytest.raises(UserError, match=says):
            fetch([remote(server)], data, **QUICK)
        assert len(server.log) == 1
    assert not left_behind(data)


def test_a_busy_server_is_asked_again_and_given_up_after_so_many_attempts(tree, data):
    with serve_tree(tree, fault="busy", times=2) as server:
        fetch([remote(server, size=len(BYTES))], data, **QUICK)
    assert (data / "a/x.npy").read_bytes() == BYTES
    with serve_tree(tree, fault="busy") as server:
        with pytest.raises(UserError, match="status 503"):
            fetch([remote(server)], data / "b", attempts=3, **QUICK)
        assert len(server.log) == 3


def test_no_server_is_one_clear_line(data):
    with pytest.raises(UserError, match="check the network") as error:
        fetch([RemoteFile("x", "http://127.0.0.1:9/x", "x", 3)], data, attempts=2, **QUICK)
    assert "\n" not in str(error.value)


def test_a_later_change_is_noticed_and_mended(tree, data):
    with serve_tree(tree) as server:
        file = remote(server)
        fetch([file], data, **QUICK)
        (data / "a/x.npy").write_bytes(b"?" + BYTES[1:])
        with pytest.raises(UserError, match="x.npy has sha256"):
            fetch([file], data, offline=True, **QUICK)
        fetch([file], data, **QUICK)
    assert (data / "a/x.npy").read_bytes() == BYTES


def test_offline_names_each_missing_file_its_address_and_place(tree, data):
    files = [RemoteFile(n, f"http://nowhere.example/{n}", f"a/{n}") for n in ("x.npy", "y.npy", "z.npy")]
    (data / "a").mkdir(parents=True)
    (data / "a/y.npy").write_bytes(b"by hand")
    with pytest.raises(UserError) as error:
        fetch(files, data, offline=True, **QUICK)
    said = str(error.value)
    assert all(w in said for f in (files[0], files[2]) for w in (f.url, str(data / f.path))) and "y.npy" not in said
    assert fetch(files[1:2], data, offline=True, **QUICK) == [data / "a/y.npy"]


def test_a_file_put_there_by_hand_is_checked_against_the_servers_length(tree, data):
    (data / "a").mkdir(parents=True)
    (data / "a/x.npy").write_bytes(BYTES[:100])
    with serve_tree(tree) as server:
        fetch([remote(server)], data, **QUICK)
    assert (data / "a/x.npy").read_bytes() == BYTES


def test_too_little_disk_is_said_before_anything_is_fetched(tree, data, monkeypatch):
    usage = namedtuple("usage", "total used free")(10, 0, 600_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with serve_tree(tree) as server:
        files = [remote(server), replace(remote(server), path="a/again.npy")]
        with pytest.raises(UserError, match="needs 0.00 GB and has 0.00: make room"):
            fetch(files, data, **QUICK)
        assert server.sent("/a/x.npy") == []
        fetch(files[:1], data, **QUICK)


def test_two_processes_do_not_write_one_part(tree, data):
    (data / "a").mkdir(parents=True)
    with serve_tree(tree) as server, open(data / "a/x.npy.part", "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process"):
            fetch([remote(server)], data, **QUICK)


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "", "a\\x", "C:x"])
def test_a_name_that_leaves_the_folder_is_refused(data, path):
    with pytest.raises(UserError, match="stay inside"):
        fetch([RemoteFile("x", "http://127.0.0.1:9/x", path)], data, **QUICK)


def test_openai_checkpoints_have_an_index_and_their_number_of_shards():
    small, large = (
        download.openai_checkpoint("s"),
        download.openai_checkpoint("l", 131000, bert=True, base="http://h/", meta=True),
    )
    assert len(small) == 33 and len(large) == 66
    assert small[0].url == f"{download.OPENAI}/checkpoints/igpt-s/1000000/model.ckpt-1000000.index"
    assert large[64].url == "http://h/checkpoints/igpt-l-bert/131000/model.ckpt-131000.data-00063-of-00064"
    assert large[64].path == large[64].url[len("http://h/") :]
    assert [f.path for f in download.openai_dataset("cifar10", "test")] == [
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
        }
        listed["computed_md5"] = hashlib.md5(buffer.getvalue()).hexdigest()
        pages["/v2/articles/23137958/versions/1"] = {"files": [listed]}
        files = download.released_images(server.url) + download.released_proteins(server.url)
        paths = fetch(files, data, **QUICK)
        pages["/v2/articles/23137958/versions/1"] = {"files": [{**listed, "computed_md5": "0" * 32}]}
        with pytest.raises(UserError, match="md5"):
            fetch(download.released_proteins(server.url), data / "other", **QUICK)
        pages.clear()
        with pytest.raises(UserError, match="gives no list"):
            download.released_proteins(server.url)
    assert [p.name for p in paths] == ["data_transf_repr_image.zip", "data_transf_repr_protein.zip"]
    assert fetch(download.released_proteins(offline=True), data, offline=True, **QUICK) == paths[1:]
    assert (unpack(paths[1], data / "released/protein") / "data/id-esm2-3B.npy").read_bytes() == BYTES


def hub_folder(folder, *names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(json.dumps({"of": name}).encode() if name.endswith("json") else name.encode() * 999)
    return folder


TEXT = ("config.json", "vocab.txt", "tokenizer.model")


def test_a_hub_model_comes_with_safetensors_and_nothing_superfluous(tmp_path, data):
    superfluous = ("pytorch_model.bin", "flax_model.msgpack", "tf_model.h5", "modeling.py", "onnx/model.safetensors")
    folder = hub_folder(tmp_path / "m", *TEXT, "model.safetensors", *superfluous)
    with serve_hub({"some/model": folder}) as server:
        came = hub_model("some/model", data, endpoint=server.url)
        assert {p.name for p in came.glob("[!.]*")} == {*TEXT, "model.safetensors"}
        assert (came / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
        asked = len(server.log)
        assert hub_model("some/model", data, endpoint=server.url) == came and len(server.log) == asked
    assert hub_model("some/model", data, offline=True) == came
    (came / "model.safetensors").unlink()
    with pytest.raises(UserError, match="offline, and hub model 'some/model' is not whole"):
        hub_model("some/model", data, offline=True)


def test_a_hub_model_without_safetensors_comes_with_its_pytorch_weights(tmp_path, data):
    names = {*TEXT, "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"}
    with serve_hub({"model": hub_folder(tmp_path / "m", *names, "training_args.bin")}) as server:
        assert {p.name for p in hub_model("model", data, endpoint=server.url).glob("[!.]*")} == names


def test_a_dropped_hub_connection_is_resumed(tmp_path, data):
    folder = hub_folder(tmp_path / "m", "config.json", "model.safetensors")
    with serve_hub({"some/model": folder}, fault="drop", times=1) as server:
        came = hub_model("some/model", data, endpoint=server.url)
    assert (came / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_wrong_bytes_from_the_hub_are_noticed_and_removed(tmp_path, data):
    folder = hub_folder(tmp_path / "m", "config.json", "model.safetensors")
    with serve_hub({"some/model": folder}, fault="wrong") as server:
        with pytest.raises(UserError, match="model.safetensors of hub model 'some/model' has sha256"):
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


def test_offline_a_folder_filled_by_hand_serves_and_an_incomplete_one_does_not(tmp_path, data):
    with pytest.raises(UserError, match=r"some/model.*data/hub/some/model.*go online"):
        hub_model("some/model", data, offline=True)
    folder = hub_folder(data / "hub/some/model", "config.json", "model-00001-of-00002.safetensors")
    with pytest.raises(UserError, match="not whole"):
        hub_model("some/model", data, offline=True)
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"w")
    assert hub_model("some/model", data, offline=True) == folder
    assert hub_model(str(folder), "elsewhere") == folder


def zipped(path, members: dict[str, bytes], mode: int = 0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.external_attr, member.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return path


def test_an_archive_unpacks_once_and_an_altered_target_is_named(tmp_path):
    path = zipped(tmp_path / "a.zip", {"data/x.npy": BYTES, "data/deep/y.txt": b"y"})
    target = unpack(path, tmp_path / "out/here")
    assert (target / "data/x.npy").read_bytes() == BYTES and (target / "data/deep/y.txt").read_bytes() == b"y"
    before = os.stat(target / "data/x.npy").st_ino
    assert unpack(path, target) == target and os.stat(target / "data/x.npy").st_ino == before
    (target / "data/x.npy").write_bytes(b"?" + BYTES[1:])
    with pytest.raises(UserError, match="remove it and run again"):
        unpack(path, target)


@pytest.mark.parametrize(
    "members, mode",
    [
        ({"/etc/x": b""}, 0),
        ({"../x": b""}, 0),
        ({"a/../../x": b""}, 0),
        ({"..\\x": b""}, 0),
        ({"link": b"/etc/passwd"}, stat.S_IFLNK | 0o777),
        ({"pipe": b""}, stat.S_IFIFO | 0o777),
        ({"a": b"1", "a/b": b"2"}, 0),
        ({"bomb": bytes(10_000_000)}, 0),
    ],
)
def test_a_hostile_archive_leaves_nothing(tmp_path, members, mode):
    path = zipped(tmp_path / "a.zip", members, mode)
    with pytest.raises(UserError, match="expected"):
        unpack(path, tmp_path / "out/here")
    assert [p.name for p in tmp_path.rglob("*")] == ["a.zip"]


def test_an_archive_beyond_the_size_limit_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"x": BYTES})
    with pytest.raises(UserError, match="limit"):
        unpack(path, tmp_path / "here", max_bytes=1000)


@pytest.mark.parametrize(
    "spoil", [lambda b: b[: len(b) // 2], lambda b: b"no zip", lambda b: b[:5000] + b"????" + b[5004:]]
)
def test_a_broken_archive_leaves_no_target(tmp_path, spoil):
    path = zipped(tmp_path / "a.zip", {"x": BYTES})
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match="fetch it again"):
        unpack(path, tmp_path / "here")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
