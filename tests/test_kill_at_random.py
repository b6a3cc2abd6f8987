"""Work that is killed at random moments loses nothing: the short form of `make chaos`.

The campaign must also notice what it is there for, so that it is held against programs that lose
something.
"""

import sys
from collections import Counter
from dataclasses import replace

import kill_at_random
import pytest
from kill_at_random import Counts, Work, campaign, strike


def program(text):
    """A command that runs some Python with the folder as `folder`."""
    head = (
        "import os, subprocess, sys, time; from pathlib import Path; folder = Path(sys.argv[1])\n"
    )
    return lambda folder, number: [sys.executable, "-c", head + text, str(folder)]


def work_of(text, longest=1.0, always=None):
    """A program whose results, and finished files, are what ends in .txt."""

    def texts(folder):
        return sorted(folder.glob("*.txt"))

    return Work("a program", longest, program(text), texts, texts, always)


@pytest.mark.long
def test_downloads_that_are_killed_go_on_and_fetch_nothing_twice(tmp_path):
    with kill_at_random.downloads(1.5, size=2**22) as work:
        counts = campaign(work, 4, tmp_path / "quiet/folder")
    assert counts.kills == 4 and counts.ended >= 1
    assert counts.faults == 0, counts


def test_a_program_that_writes_a_file_again_is_noticed(tmp_path):
    text = "(folder / 'a.txt').write_text('a'); print('written', flush=True); time.sleep(60)"
    work = replace(work_of(text), signs=("written",))
    folder = tmp_path / "folder"
    folder.mkdir()
    counts = Counts("")
    for _ in range(2):
        assert not strike(work, folder, 0, 0.01, counts)
    assert (counts.kills, counts.finished, counts.made_again) == (2, 1, 1)


def test_a_program_that_goes_on_with_half_a_file_is_noticed(tmp_path):
    text = """
path = folder / "a.txt"
if not path.exists():
    with path.open("w", buffering=1) as stream:
        for number in range(20):
            stream.write(f"{number}\\n")
            time.sleep(0.02)
"""
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    work = work_of(text)
    expected = kill_at_random._undisturbed(work, quiet, 0)
    folder = tmp_path / "folder"
    folder.mkdir()
    counts = Counts("")
    while not list(folder.glob("*.txt")):
        strike(work, folder, 0, 0.25, counts)
    assert strike(work, folder, 0, 20, counts)
    assert kill_at_random.digests(work.results(folder), folder) != expected


def test_a_process_that_is_left_is_noticed_and_ended(tmp_path):
    text = """
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
subprocess.Popen(sleep, start_new_session=True)
print("started", flush=True)
time.sleep(60)
"""
    counts = Counts("")
    strike(replace(work_of(text), signs=("started",)), tmp_path, 0, 0.01, counts)
    assert (counts.orphans, counts.faults) == (1, 1)


def test_a_moment_without_the_file_that_must_be_there_is_noticed(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("a page")
    text = "(folder / 'page.html').unlink(); time.sleep(0.3)"
    counts = Counts("")
    assert strike(work_of(text, always=lambda folder: page), tmp_path, 0, 20, counts)
    assert 0 < counts.absent < counts.looks


def test_an_error_is_noticed(tmp_path, capfd):
    counts = Counts("")
    assert strike(work_of("raise SystemExit('no')"), tmp_path, 0, 20, counts)
    assert counts.failed == 1 and capfd.readouterr().err == "no\n\n"


def test_an_unknown_kind_of_work_is_named():
    with pytest.raises(SystemExit, match="there is no work 'x'"), kill_at_random.kind("x"):
        pass


def test_a_kill_can_await_a_line_of_the_output(tmp_path):
    text = "print('one'); time.sleep(0.3); print('two', flush=True); time.sleep(60)"
    work = replace(work_of(text), signs=("two", "never"))
    counts = Counts("")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert not strike(work, folder, 0, 0.01, counts)
    assert kill_at_random.output_of(folder).read_text() == "one\ntwo\n"
    ended = replace(work, command=program("print('one')"))
    assert strike(ended, folder, 0, 20, counts), "a line that never comes is awaited to the end"


def test_a_row_of_the_table_takes_the_place_of_an_earlier_one(tmp_path, monkeypatch):
    monkeypatch.setattr(kill_at_random, "REPOSITORY", tmp_path)
    for work, kills in [("run", 1), ("book", 2), ("run", 3)]:
        kill_at_random.keep(Counts(work, kills, stages=Counter({"02": kills})))
    lines = (tmp_path / kill_at_random.RESULT).read_text().splitlines()
    assert lines[0].startswith("work,kills,ended")
    assert [line[:6] for line in lines[1:]] == ["book,2", "run,3,"]
