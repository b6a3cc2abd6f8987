"""Files appear whole, names stay where they belong, and what was read is known by its content."""

import hashlib
import json
import multiprocessing
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from georep_utils import io
from georep_utils.io import UserError

# ------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["igpt-mini", "a", "a.b", "x_1", "igpt-mini--last", "0"])
def test_a_plain_name_is_a_folder(name):
    assert io.safe_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "a/b", "/a", "-x", "a b", "a\n", None, 3, "a\0"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(name):
    with pytest.raises(UserError, match="can't be a folder's name"):
        io.safe_name(name)
    with pytest.raises(UserError):
        io.RunPaths(name)


# ------------------------------------------------------------------------------------- whole files


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "deep/file.txt"
    with pytest.raises(ZeroDivisionError):
        with io.atomic(path) as temporary:
            temporary.write_text("half")
            assert not path.exists()
            raise ZeroDivisionError
    assert list(path.parent.iterdir()) == []
    with io.atomic(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b""])
def test_what_is_no_json_is_the_default(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    assert io.read_json(tmp_path / "x.json", {}) == {}
    assert io.read_json(tmp_path / "absent.json") is None


@pytest.mark.parametrize("content", ["[]", "5", '"x"', "null", "{", ""])
def test_what_holds_no_json_object_is_an_empty_one(tmp_path, content):
    path = tmp_path / "a.json"
    assert io.read_object(path) == {}
    path.write_text(content)
    assert io.read_object(path) == {}
    path.write_text('{"a": 1}')
    assert io.read_object(path) == {"a": 1}


@pytest.mark.parametrize("memory", ["[]", '{"%s": 5}'])
def test_a_damaged_memory_of_digests_is_made_anew(tmp_path, monkeypatch, memory):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    monkeypatch.setattr(io, "LARGE", 1)
    file = tmp_path / "large.bin"
    file.write_bytes(b"abc")
    kept = tmp_path / "data/.digests.json"
    kept.parent.mkdir()
    kept.write_text(memory.replace("%s", str(file.resolve())))
    assert io.file_digest(file) == hashlib.sha256(b"abc").hexdigest()


def test_a_table_keeps_six_digits(tmp_path):
    frame = pd.DataFrame({"layer": [0, 1], "id": [1 / 3, 12345.678]})
    io.write_table(tmp_path / "x.csv", frame)
    again = io.read_table(tmp_path / "x.csv")
    np.testing.assert_allclose(again["id"], frame["id"], rtol=1e-5)
    with pytest.raises(UserError, match="is missing; expected a table"):
        io.read_table(tmp_path / "absent.csv")


# ----------------------------------------------------------------------------------------- digests


def test_a_digest_of_code_is_that_of_what_it_computes(tmp_path, monkeypatch):
    monkeypatch.setattr(io, "REPOSITORY", tmp_path)
    module = tmp_path / "pack/some.py"
    module.parent.mkdir()

    def digest(text, name="pack.some"):
        module.write_text(text)
        return io.code_digest(name)

    plain = digest("def f(x):\n    return x + 1\n")
    assert (
        digest('"""Doc."""\n\n\ndef f(x):\n    "More."\n    # why\n    return (x + 1)\n') == plain
    )
    assert digest("def f(x):\n    return x + 2\n") != plain
    function = digest("def f(x):\n    return x + 1\n\n\ny = 1\n", "pack.some:f")
    assert digest("y = 2\n\n\ndef f(x):\n    return x + 1\n", "pack.some:f") == function


def test_the_digest_of_a_large_file_is_remembered_by_size_and_time(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    monkeypatch.setattr(io, "LARGE", 4)
    path = tmp_path / "large.bin"
    path.write_bytes(b"12345678")
    first = io.file_digest(path)
    calls = []
    real = io._sha256
    monkeypatch.setattr(io, "_sha256", lambda path: calls.append(path) or real(path))
    assert io.file_digest(path) == first and calls == []
    path.write_bytes(b"87654321")
    os.utime(path, ns=(1, 1))
    assert io.file_digest(path) != first and calls == [path]


# ------------------------------------------------------------------------------- what was read


def test_a_notebook_notes_what_it_read_but_not_what_it_wrote_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    record = tmp_path / "record.jsonl"
    record.write_text(io.facts_line({"labels": True, "tokens": True}))
    monkeypatch.setenv(io.RECORD, str(record))
    (tmp_path / "input.csv").write_text("a\n1\n")
    io.read_table(tmp_path / "input.csv")
    io.write_table(tmp_path / "own.csv", pd.DataFrame({"a": [1]}))
    io.read_table(tmp_path / "own.csv")
    io.note_facts(labels=False)
    read, written, facts = io.recorded(record)
    assert (read, written) == (["input.csv"], ["own.csv"])
    assert facts == {"labels": False, "tokens": True}
    assert all(json.loads(line) for line in record.read_text().splitlines())


def test_the_state_of_files_folders_and_patterns_changes_with_their_content(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    folder = tmp_path / "tables/one"
    folder.mkdir(parents=True)
    file = folder / "x.csv"
    file.write_text("1")
    pattern = "tables/*/x.csv"
    before = [io.state("tables/one/x.csv"), io.state("tables/one"), io.state(pattern)]
    file.write_text("22")
    after = [io.state("tables/one/x.csv"), io.state("tables/one"), io.state(pattern)]
    assert all(one != other for one, other in zip(before, after, strict=True))
    (tmp_path / "tables/two").mkdir()
    (tmp_path / "tables/two/x.csv").write_text("3")
    assert io.state(pattern) != after[2] and io.state("tables/one") == after[1]
    assert io.find(tmp_path / "tables", "*/x.csv") == [file, tmp_path / "tables/two/x.csv"]
    assert io.state("tables/absent") is None


# ------------------------------------------------------------------------------------------- locks


def _hold(path, entered, leave):
    with io.lock(path, "holding it"):
        entered.set()
        leave.wait(20)


def test_a_lock_dies_with_its_holder(tmp_path, capfd):
    context = multiprocessing.get_context("fork")
    entered = context.Event()
    leave = context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "lock", entered, leave))
    process.start()
    assert entered.wait(20)
    process.kill()
    process.join()
    with io.lock(tmp_path / "lock", "here"):
        assert "waiting" not in capfd.readouterr().err, "a lock dies with its holder"


# ------------------------------------------------------------------------------------------ images


def test_16_bit_grey_levels_are_scaled_and_not_clipped(tmp_path):
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    shown = np.asarray(io.open_image(tmp_path / "deep.png"))
    assert shown.shape == (16, 16, 3)
    np.testing.assert_array_equal(shown[..., 0].ravel(), np.arange(256))


def test_transparency_is_put_on_white_and_plain_modes_stay(tmp_path):
    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0, 0] = [10, 20, 30, 255]
    Image.fromarray(clear, "RGBA").save(tmp_path / "clear.png")
    shown = np.asarray(io.open_image(tmp_path / "clear.png"))
    assert shown[0, 0].tolist() == [10, 20, 30] and shown[1, 1].tolist() == [255, 255, 255]
    grey = np.arange(4, dtype=np.uint8).reshape(2, 2)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(np.asarray(io.open_image(tmp_path / "grey.png"))[..., 1], grey)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "x.png").write_text("no image")
    for path in (tmp_path / "x.png", tmp_path / "absent.png", tmp_path):
        with pytest.raises(UserError, match="can't be read as an image"):
            io.open_image(path)
