"""An archive unpacks whole and inside its folder, or leaves nothing."""

import os
import stat
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from georep_utils.data.archives import unpack
from georep_utils.io import UserError

BYTES = np.random.default_rng(0).bytes(100_000)


def zipped(path, members: dict[str, bytes], mode: int = 0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return path


def test_an_archive_unpacks_once_and_an_altered_target_is_named(tmp_path):
    path = zipped(tmp_path / "a.zip", {"data/x.npy": BYTES, "data/deep/y.txt": b"y"})
    target = unpack(path, tmp_path / "out/here")
    assert (target / "data/x.npy").read_bytes() == BYTES
    assert (target / "data/deep/y.txt").read_bytes() == b"y"
    before = os.stat(target / "data/x.npy").st_ino
    assert unpack(path, target) == target
    assert os.stat(target / "data/x.npy").st_ino == before
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
    assert [found.name for found in tmp_path.rglob("*")] == ["a.zip"]


def test_an_archive_beyond_the_size_limit_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"x": BYTES})
    with pytest.raises(UserError, match="limit"):
        unpack(path, tmp_path / "here", max_bytes=1000)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"no zip",
        lambda whole: whole[:5000] + b"????" + whole[5004:],
    ],
)
def test_a_broken_archive_leaves_no_target(tmp_path, spoil):
    path = zipped(tmp_path / "a.zip", {"x": BYTES})
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match="fetch it again"):
        unpack(path, tmp_path / "here")
    assert [found.name for found in tmp_path.iterdir()] == ["a.zip"]


def test_a_folder_or_nothing_in_place_of_an_archive_is_named(tmp_path):
    (tmp_path / "folder.zip").mkdir()
    for name in ("folder.zip", "absent.zip"):
        with pytest.raises(UserError, match="no whole zip archive"):
            unpack(tmp_path / name, tmp_path / "here")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 400),
)
def test_whatever_is_damaged_the_archive_unpacks_or_one_line_says_why(
    tmp_path_factory, changes, lost
):
    folder = tmp_path_factory.mktemp("zip")
    path = zipped(folder / "a.zip", {"x/y.txt": b"some text" * 9, "z": BYTES[:99]})
    content = bytearray(path.read_bytes())
    for place, byte in changes:
        content[place % len(content)] = byte
    path.write_bytes(content[: len(content) - lost % 50])
    try:
        unpack(path, folder / "out/here")
    except UserError as error:
        assert "\n" not in str(error) and not (folder / "out/here").exists()
    assert {found.name for found in folder.iterdir()} <= {"a.zip", "out"}
