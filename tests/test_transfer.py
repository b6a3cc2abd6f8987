"""Files arrive whole and verified, or not at all, whatever the server does."""

import fcntl
import hashlib
import shutil
import time
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
from loopback import Site, serve, serve_tree

from georep_utils.data.connection import Limits
from georep_utils.data.transfer import RemoteFile, fetch
from georep_utils.io import UserError

BYTES = np.random.default_rng(0).bytes(500_000)
SHA = hashlib.sha256(BYTES).hexdigest()
MD5 = hashlib.md5(BYTES).hexdigest()
QUICK = {"limits": Limits(backoff=0.01), "progress": False}
ONCE = {"limits": Limits(backoff=0.01, attempts=1), "progress": False}
WATCHFUL = {"limits": Limits(backoff=0.01, attempts=2, window=0.2), "progress": False}


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
    return {path.name for path in data.rglob("*") if path.is_file()}


@pytest.mark.parametrize("known", [{}, {"size": len(BYTES)}, {"sha256": SHA}, {"md5": MD5}])
def test_a_file_arrives_whole_and_is_not_fetched_again(tree, data, known):
    with serve_tree(tree) as server:
        assert fetch([remote(server, **known)], data, **QUICK) == [data / "a/x.npy"]
        requests_made = len(server.log)
        fetch([remote(server, **known)], data, **QUICK)
        assert len(server.log) == requests_made
    assert (data / "a/x.npy").read_bytes() == BYTES
    assert (data / "a/x.npy.sha256").read_text() == f"{SHA}  x.npy\n"
    assert left_behind(data) == {"x.npy", "x.npy.sha256"}


# ------------------------------------------------------------------------------------------- resume


def test_a_dropped_connection_is_resumed_where_it_broke(tree, data):
    with serve_tree(tree, fault="drop", times=2) as server:
        fetch([remote(server)], data, **QUICK)
        sent = server.sent("/a/x.npy")
    assert (data / "a/x.npy").read_bytes() == BYTES
    assert len(sent) == 3
    assert sent[0][0] == "" and sent[1][0] > "bytes=1" and sent[2][0] > sent[1][0]
    assert sum(n_bytes for _, n_bytes in sent) < 1.4 * len(BYTES)


def test_a_server_without_ranges_is_read_from_the_start_again(tree, data):
    with serve_tree(tree, fault="drop", times=2, ranges=False) as server:
        fetch([remote(server)], data, **QUICK)
        sent = [n_bytes for _, n_bytes in server.sent("/a/x.npy")]
    assert sent == [250_000, 250_000, 500_000]
    assert (data / "a/x.npy").read_bytes() == BYTES


def test_an_interrupted_run_is_continued_by_the_next(tree, data):
    with serve_tree(tree, fault="drop", times=1) as server:
        with pytest.raises(UserError, match="check the network"):
            fetch([remote(server)], data, **ONCE)
        part = (data / "a/x.npy.part").stat().st_size
        assert 0 < part <= 250_000 and not (data / "a/x.npy").exists()
        fetch([remote(server)], data, **ONCE)
        assert server.sent("/a/x.npy")[-1] == (f"bytes={part}-", len(BYTES) - part)
    assert (data / "a/x.npy").read_bytes() == BYTES
    assert left_behind(data) == {"x.npy", "x.npy.sha256"}


def test_a_part_of_another_version_is_not_continued(tree, data):
    with serve_tree(tree, fault="drop", times=1) as server:
        with pytest.raises(UserError):
            fetch([remote(server)], data, **ONCE)
        (tree / "a/x.npy").write_bytes(BYTES[::-1])
        fetch([remote(server)], data, **QUICK)
    assert (data / "a/x.npy").read_bytes() == BYTES[::-1]


@pytest.mark.parametrize("known", [{}, {"size": len(BYTES)}])
def test_two_versions_are_never_spliced_by_a_server_that_ignores_if_range(tree, data, known):
    with serve_tree(tree, fault="drop", times=1, if_range=False) as server:
        with pytest.raises(UserError):
            fetch([remote(server, **known)], data, **ONCE)
        part = (data / "a/x.npy.part").stat().st_size
        (tree / "a/x.npy").write_bytes(BYTES[::-1])
        fetch([remote(server, **known)], data, **QUICK)
        assert [asked for asked, _ in server.sent("/a/x.npy")] == ["", f"bytes={part}-", ""]
    assert (data / "a/x.npy").read_bytes() == BYTES[::-1]


@pytest.mark.parametrize(
    "held, answer, continued",
    [
        ({"ETag": '"1"'}, {"ETag": '"1"'}, True),
        ({"ETag": '"1"'}, {"ETag": '"2"'}, False),
        ({"ETag": '"1"'}, {}, False),
        ({"ETag": '"1"', "Last_Modified": "May"}, {"ETag": '"1"'}, True),
        ({"ETag": '"1"', "Last_Modified": "May"}, {"ETag": '"1"', "Last_Modified": "June"}, False),
        ({"ETag": "", "Last_Modified": "May"}, {"ETag": "", "Last_Modified": "May"}, True),
        ({"ETag": "", "Last_Modified": "May"}, {"ETag": "", "Last_Modified": "June"}, False),
        ({"ETag": "", "Last_Modified": "May"}, {"ETag": ""}, False),
        ({"ETag": "W/1", "Last_Modified": "May"}, {"ETag": "W/1", "Last_Modified": "May"}, True),
        ({"ETag": "W/1"}, {"ETag": "W/1"}, False),
    ],
)
def test_tag_and_date_say_whether_a_part_is_continued(tree, data, held, answer, continued):
    def serve_with(headers, **faults):
        def find(path):
            return tree / path.lstrip("/"), {"ETag": None} | headers

        return serve(Site(find, {}, if_range=False, **faults))

    known = {"size": len(BYTES)}
    with serve_with(held, fault="drop", times=1) as server, pytest.raises(UserError):
        fetch([remote(server, **known)], data, **ONCE)
    part = (data / "a/x.npy.part").stat().st_size
    with serve_with(answer) as server:
        fetch([remote(server, **known)], data, **QUICK)
        assert (server.sent("/a/x.npy")[-1][0] == f"bytes={part}-") == continued
    assert (data / "a/x.npy").read_bytes() == BYTES


def test_a_part_of_unknown_origin_is_continued_only_under_a_checksum(tree, data):
    checksum = {"sha256": SHA, "size": len(BYTES)}
    for known, first in (({}, ""), (checksum, "bytes=1000-")):
        (data / "a").mkdir(parents=True, exist_ok=True)
        (data / "a/x.npy").unlink(missing_ok=True)
        (data / "a/x.npy.part").write_bytes(BYTES[:1000])
        with serve_tree(tree) as server:
            fetch([remote(server, **known)], data, **QUICK)
            assert server.sent("/a/x.npy")[0][0] == first
        assert (data / "a/x.npy").read_bytes() == BYTES


@pytest.mark.parametrize("record", ["", "[]", '"x"', '{"etag": null}', "{", "[" * 100_000])
def test_a_damaged_note_of_the_version_only_costs_the_part(tree, data, record):
    (data / "a").mkdir(parents=True)
    (data / "a/x.npy.part").write_bytes(b"?" * 1000)
    (data / "a/x.npy.part.version").write_text(record)
    with serve_tree(tree) as server:
        fetch([remote(server)], data, **QUICK)
    assert (data / "a/x.npy").read_bytes() == BYTES
    assert left_behind(data) == {"x.npy", "x.npy.sha256"}


def test_a_part_that_is_too_long_starts_again(tree, data):
    (data / "a").mkdir(parents=True)
    (data / "a/x.npy.part").write_bytes(BYTES + b"more")
    with serve_tree(tree) as server:
        fetch([remote(server, sha256=SHA)], data, **QUICK)
    assert (data / "a/x.npy").read_bytes() == BYTES


# ----------------------------------------------------------------------------- what is not the file


def test_wrong_bytes_are_fetched_twice_and_never_take_the_name(tree, data):
    with serve_tree(tree, fault="wrong") as server:
        with pytest.raises(UserError, match="sha256 .* expected.* twice"):
            fetch([remote(server, sha256=SHA)], data, **QUICK)
        assert len(server.sent("/a/x.npy")) == 2
    assert not (data / "a/x.npy").exists() and not (data / "a/x.npy.part").exists()
    assert not left_behind(data)


def test_wrong_bytes_once_are_put_right(tree, data):
    with serve_tree(tree, fault="wrong", times=1) as server:
        fetch([remote(server, sha256=SHA)], data, **QUICK)
    assert (data / "a/x.npy").read_bytes() == BYTES


def test_a_short_file_never_takes_the_name(tree, data):
    with serve_tree(tree, fault="short") as server:
        with pytest.raises(UserError, match="250000 bytes where 500000"):
            fetch([remote(server, size=len(BYTES))], data, **QUICK)
    assert not (data / "a/x.npy").exists()


@pytest.mark.parametrize(
    "fault, says",
    [("missing", "status 404"), ("html", "text/html"), ("unknown", "states no length")],
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
    three = {"limits": Limits(backoff=0.01, attempts=3), "progress": False}
    with serve_tree(tree, fault="busy") as server:
        with pytest.raises(UserError, match="status 503"):
            fetch([remote(server)], data / "b", **three)
        assert len(server.log) == 3


def test_no_server_is_one_clear_line(data):
    two = {"limits": Limits(backoff=0.01, attempts=2), "progress": False}
    with pytest.raises(UserError, match="check the network") as error:
        fetch([RemoteFile("x", "http://127.0.0.1:9/x", "x", 3)], data, **two)
    assert "\n" not in str(error.value)


# ----------------------------------------------------------------------------------- it always ends


@pytest.mark.parametrize("fault", ["drip", "slow headers"])
def test_a_file_that_comes_too_slowly_is_given_up(tree, data, fault):
    begun = time.monotonic()
    with serve_tree(tree, fault=fault) as server:
        with pytest.raises(UserError, match="fewer than 205 bytes in 0.2 seconds") as error:
            fetch([remote(server, size=len(BYTES))], data, **WATCHFUL)
        assert server.log
    assert time.monotonic() - begun < 2
    assert "\n" not in str(error.value)


def test_a_file_that_comes_slowly_at_first_is_continued(tree, data):
    with serve_tree(tree, fault="drip", times=1) as server:
        fetch([remote(server, size=len(BYTES))], data, **WATCHFUL)
        second = server.sent("/a/x.npy")[-1]
    assert second[0].startswith("bytes=") and second[1] < len(BYTES)
    assert (data / "a/x.npy").read_bytes() == BYTES


def test_a_body_without_end_stops_after_the_known_size(tree, data):
    begun = time.monotonic()
    with serve_tree(tree, fault="endless") as server:
        with pytest.raises(UserError, match="bytes where 500000 are expected, twice"):
            fetch([remote(server, size=len(BYTES))], data, **QUICK)
    assert time.monotonic() - begun < 2
    assert not left_behind(data)


def test_a_body_without_end_of_unknown_size_is_bounded(tree, data):
    bounded = {"limits": Limits(backoff=0.01, max_bytes=2**20), "progress": False}
    with serve_tree(tree, fault="endless") as server:
        with pytest.raises(UserError, match="goes on after 1048576 bytes and states no length"):
            fetch([remote(server, sha256=SHA)], data, **bounded)
    assert not (data / "a/x.npy").exists()
    assert (data / "a/x.npy.part").stat().st_size <= 2**20 + 2**17


# -------------------------------------------------------------------------------------- on the disk


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
    files = [
        RemoteFile(name, f"https://nowhere.example/{name}", f"a/{name}")
        for name in ("x.npy", "y.npy", "z.npy")
    ]
    (data / "a").mkdir(parents=True)
    (data / "a/y.npy").write_bytes(b"by hand")
    with pytest.raises(UserError) as error:
        fetch(files, data, offline=True, **QUICK)
    said = str(error.value)
    for file in (files[0], files[2]):
        assert file.url in said and str(data / file.path) in said
    assert "y.npy" not in said
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


def test_a_place_that_cannot_be_written_is_one_clear_line(tree, data):
    data.mkdir()
    (data / "a").write_text("a file where a folder should be")
    with serve_tree(tree) as server:
        with pytest.raises(UserError, match="x.npy can't be written") as error:
            fetch([remote(server)], data, **QUICK)
    assert "\n" not in str(error.value)


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


# ---------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "url", ["http://example.com/x", "ftp://example.com/x", "file:///etc/passwd", "x", "https://"]
)
def test_only_https_is_spoken_beyond_this_machine(data, url):
    with pytest.raises(UserError, match="begins with https://"):
        fetch([RemoteFile("x", url, "x", 3)], data, **QUICK)
    assert not list(data.rglob("x"))


@pytest.mark.parametrize("fault", ["", "missing", "busy", "drop", "wrong", "unknown", "drip"])
@pytest.mark.parametrize("offline", [False, True])
def test_passwords_and_tokens_in_an_address_are_never_repeated(tree, data, fault, offline):
    with serve_tree(tree, fault=fault) as server:
        address = server.url.replace("//", "//someone:secret@")
        file = RemoteFile("x.npy", f"{address}/a/x.npy?token=secret&a=b", "a/x.npy")
        errors = []
        for known in ({}, {"size": len(BYTES)}, {"size": 3, "sha256": "0" * 64}):
            try:
                fetch([replace(file, **known)], data, offline=offline, **WATCHFUL)
            except UserError as error:
                errors.append(error)
    assert errors
    for error in errors:
        assert "secret" not in str(error) and "someone" not in str(error)
        assert "127.0.0.1" in str(error)
        assert error.__suppress_context__ or error.__context__ is None
