"""The script that fuzzes every reader: its examples are right, and what is wrong is one line."""

import contextlib
import sys
from types import SimpleNamespace

import fuzz_readers
import pytest

from georep_utils.data import needs
from georep_utils.io import UserError
from georep_utils.models import tf_checkpoint


@pytest.fixture
def reader_of(tmp_path, monkeypatch):
    """Gives a reader by its name, without the fuzzer, which the book does not require."""
    watched = SimpleNamespace(instrument_imports=lambda include: contextlib.nullcontext())
    monkeypatch.setitem(sys.modules, "atheris", watched)
    # What the script puts in place of its own is put back.
    monkeypatch.setattr(tf_checkpoint, "_masked", tf_checkpoint._masked)
    monkeypatch.setattr(needs, "REPOSITORY", needs.REPOSITORY)
    return lambda name: fuzz_readers.reader_of(name, tmp_path)


@pytest.mark.parametrize("name", fuzz_readers.READERS)
def test_the_files_to_start_from_are_read_and_their_halves_are_refused(reader_of, name):
    read = reader_of(name)
    for example in fuzz_readers.examples(name):
        if name == "manifest":  # it names a file that is not there
            with pytest.raises(UserError, match="missing or altered"):
                read(example)
        else:
            read(example)
        with contextlib.suppress(UserError):
            read(example[: len(example) // 2])


def test_checksums_can_be_left_out_so_that_what_lies_behind_them_is_reached(reader_of):
    read = reader_of("checkpoint")
    right = fuzz_readers.examples("checkpoint")[0]
    changed = right[:-8] + b"\0\1\2\3\4\5\6\7"
    with pytest.raises(UserError, match="checksum"):
        read(changed)
    read(b"\xff" + changed[1:])


def test_a_row_of_the_table_takes_the_place_of_an_earlier_one(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_readers, "REPOSITORY", tmp_path)
    for reader, executions in [("yaml", 1), ("npy", 2), ("yaml", 3)]:
        fuzz_readers.keep({"reader": reader, "executions": executions})
    table = (tmp_path / fuzz_readers.RESULT).read_text()
    assert table == "reader,executions\nnpy,2\nyaml,3\n"
