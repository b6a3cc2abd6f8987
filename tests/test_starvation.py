"""What a machine lacks costs nothing that is finished, and writing goes on when it is there."""

import contextlib
import errno
import json
import os
import resource
import subprocess

import pytest

from georep_utils import io

BIG = ["x" * 200_000]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("this user may not mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@contextlib.contextmanager
def limited(kind, number):
    """A lower limit of this process."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (number, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@contextlib.contextmanager
def not_allowed(folder):
    """A folder in which this process may write nothing, root included."""
    before = os.geteuid()
    folder.chmod(0o555)
    try:
        if before == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(before)
        folder.chmod(0o755)


def read_only(folder):
    return subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def keeps_what_is_finished(folder, value, number, cause) -> None:
    """Writing `value` fails with this error while there is a cause, and leaves the former file."""
    path = folder / "a.json"
    io.write_json(path, [1])
    with cause, pytest.raises(OSError) as failed:
        io.write_json(path, value)
    assert failed.value.errno == number
    assert json.loads(path.read_text()) == [1]
    assert [found.name for found in folder.iterdir()] == ["a.json"], "half a file was left"


def test_a_full_disk(small_disk):
    keeps_what_is_finished(small_disk, BIG, errno.ENOSPC, contextlib.nullcontext())
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    io.write_json(small_disk / "a.json", BIG)
    assert io.read_json(small_disk / "a.json") == BIG


def test_a_read_only_file_system(small_disk):
    path = small_disk / "a.json"
    io.write_json(path, [1])
    read_only(small_disk)
    with pytest.raises(OSError) as failed:
        io.write_json(path, [2])
    assert failed.value.errno == errno.EROFS and io.read_json(path) == [1]
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    io.write_json(path, [2])
    assert io.read_json(path) == [2]


def test_a_file_that_may_not_grow(tmp_path):
    cause = limited(resource.RLIMIT_FSIZE, 4096)
    keeps_what_is_finished(tmp_path, BIG, errno.EFBIG, cause)
    io.write_json(tmp_path / "a.json", BIG)
    assert io.read_json(tmp_path / "a.json") == BIG


def test_too_few_file_handles(tmp_path):
    # The next file would get this number, which is the first that the limit forbids.
    next_number = os.open(os.devnull, os.O_RDONLY)
    os.close(next_number)
    cause = limited(resource.RLIMIT_NOFILE, next_number)
    keeps_what_is_finished(tmp_path, [2], errno.EMFILE, cause)
    io.write_json(tmp_path / "a.json", [2])
    assert io.read_json(tmp_path / "a.json") == [2]


def test_no_permission(tmp_path):
    tmp_path.parent.chmod(0o755)
    keeps_what_is_finished(tmp_path, [2], errno.EACCES, not_allowed(tmp_path))
    io.write_json(tmp_path / "a.json", [2])
    assert io.read_json(tmp_path / "a.json") == [2]
