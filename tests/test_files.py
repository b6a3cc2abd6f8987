"""A file that is missing or damaged is one line of text, whatever is wrong with it."""

import gzip
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from georep_utils.data.files import existing, open_npy, read_bytes, read_npz, read_text
from georep_utils.io import REPOSITORY, UserError

FUZZ = settings(max_examples=300, deadline=None)
CHANGES = st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3)), max_size=6)


def mutated(content: bytes, changes, kept: float) -> bytes:
    """`content` with pieces replaced, inserted or (by nothing) removed, and cut short."""
    spoilt = bytearray(content)
    for place, piece in changes:
        start = place % (len(spoilt) + 1)
        spoilt[start : start + 1] = piece
    return bytes(spoilt[: int(kept * len(spoilt)) + 1])


def read_or_one_line(read, path):
    try:
        return read(path)
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


# ------------------------------------------------------------------------------------------ finding


def test_a_file_is_found_below_the_repository_or_a_root(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    assert existing("mine.txt", tmp_path / "no", tmp_path) == tmp_path / "mine.txt"
    assert existing("README.md", tmp_path) == REPOSITORY / "README.md"
    assert existing(tmp_path / "mine.txt") == tmp_path / "mine.txt"
    with pytest.raises(UserError, match=f"yours.txt is missing; put it at .* or {tmp_path}/yours"):
        existing("yours.txt", tmp_path)


@pytest.mark.parametrize("path", [5, None, ["x"], "a\0b", "x" * 5000])
def test_a_path_that_is_none_is_one_line(path):
    with pytest.raises(UserError):
        existing(path)


# --------------------------------------------------------------------------------------------- text


def test_text_is_read_plain_or_packed_with_any_line_ends(tmp_path):
    content = "\ufeffeins\r\nzwei\rdréi\n".encode()
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").write_bytes(gzip.compress(content))
    for name in "ab":
        assert read_text(tmp_path / name) == "eins\nzwei\ndréi\n"
        assert read_text(tmp_path / name, newline="") == "eins\r\nzwei\rdréi\n"
        assert read_bytes(tmp_path / name) == content


def test_what_is_no_text_file_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    packed = gzip.compress(b"text" * 1000)
    (tmp_path / "cut.gz").write_bytes(packed[:-9])
    (tmp_path / "damaged.gz").write_bytes(packed[:15] + b"\xff\xff\xff" + packed[18:])
    for name in ("folder", "latin", "cut.gz", "damaged.gz", "absent"):
        with pytest.raises(UserError, match="can't be read as text") as error:
            read_text(tmp_path / name)
        assert "\n" not in str(error.value)


@FUZZ
@given(CHANGES, st.floats(0, 1), st.sampled_from([read_text, read_bytes]))
def test_any_damage_to_a_gzip_file_is_one_line_or_harmless(folder, changes, kept, read):
    path = folder / "x.gz"
    path.write_bytes(mutated(gzip.compress(b"some text\n" * 30, mtime=0), changes, kept))
    read_or_one_line(read, path)


# ------------------------------------------------------------------------------------------- arrays


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npy_with_header(header: str) -> bytes:
    text = header.encode("latin-1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(80)


HEADERS = [
    "{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000000,), }",
    "{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }",
    "{'descr': '<i8', 'fortran_order': False, 'shape': (-1,), }",
    "{'descr': '<i8', 'fortran_order': False, 'shape': ('a',), }",
    "{'descr': '|V2147483648', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<i8', 'fortran_order': False, 'shape': (3L,), }",
    "{'descr': '<i8'",
    "(" * 5000,
    "lambda: 0",
    "'''",
    "\x00",
    "",
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_forged_header_is_one_line(tmp_path, header):
    (tmp_path / "x.npy").write_bytes(npy_with_header(header))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", npy_with_header(header))
    array = read_or_one_line(open_npy, tmp_path / "x.npy")
    assert array is None or array.nbytes <= 100
    arrays = read_or_one_line(lambda path: read_npz(path, ["a"]), tmp_path / "x.npz")
    assert arrays is None or arrays["a"].nbytes <= 100


def test_nothing_is_ever_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "opened"), "w")

    trap = np.array([Trap()], dtype=object)
    np.save(tmp_path / "x.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "x.npz", a=trap)
    with pytest.raises(UserError, match="can't be read as an array"):
        open_npy(tmp_path / "x.npy")
    with pytest.raises(UserError, match="can't be read as a .npz archive"):
        read_npz(tmp_path / "x.npz", ["a"])
    assert not (tmp_path / "opened").exists()


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(10**6))
    monkeypatch.setattr("georep_utils.data.files.MAX_UNPACKED", 10**6)
    with pytest.raises(UserError, match="would unpack to 8000[0-9]* bytes"):
        read_npz(tmp_path / "x.npz", ["a"])


def test_a_folder_or_nothing_in_place_of_an_array_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="can't be read"):
            open_npy(path)
        with pytest.raises(UserError, match="can't be read"):
            read_npz(path, ["a"])


@FUZZ
@given(CHANGES, st.floats(0, 1))
def test_any_damage_to_an_array_is_one_line_or_harmless(folder, changes, kept):
    path = folder / "x.npy"
    path.write_bytes(mutated(npy(np.arange(30).reshape(5, 6)), changes, kept))
    read_or_one_line(open_npy, path)


@FUZZ
@given(st.text("{}()[]',:<i8fO descrshapefortran_order\\\n\t0123456789TrueFalseL", max_size=90))
def test_any_header_is_one_line_or_an_array(folder, header):
    path = folder / "y.npy"
    path.write_bytes(npy_with_header(header))
    read_or_one_line(open_npy, path)


@FUZZ
@given(CHANGES, st.floats(0, 1), st.booleans())
def test_any_damage_to_an_archive_of_arrays_is_one_line_or_harmless(folder, changes, kept, packed):
    buffer = io.BytesIO()
    save = np.savez_compressed if packed else np.savez
    save(buffer, a=np.arange(9), b=np.array(["x", "yz"]))
    path = folder / "x.npz"
    path.write_bytes(mutated(buffer.getvalue(), changes, kept))
    read_or_one_line(lambda path: read_npz(path, ["a", "b"]), path)
