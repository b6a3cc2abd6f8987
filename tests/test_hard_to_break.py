"""The campaigns against the program reached what they had to, and their chapter says so."""

import pandas as pd
import pytest
from notebook_runner import execute

from georep_utils import io
from georep_utils.io import REPOSITORY

RESULTS = REPOSITORY / "book/results"
FAULTS_OF_KILLS = ["different", "made_again", "absent", "orphans", "failed"]


def table_of(campaign):
    return pd.read_csv(RESULTS / campaign / f"{campaign}.csv")


def test_a_hundred_kills_lost_nothing():
    kills = table_of("chaos")
    assert kills.kills.sum() >= 100 and (kills.ended > 0).all()
    assert kills[FAULTS_OF_KILLS].sum().sum() == 0
    works = set(kills.work)
    assert works >= {"downloads", "book", "run", "run, two at a time", "run, local workers"}
    assert kills.looks.sum() > 0 and kills.finished.sum() > 0, "nobody looked"


def test_every_reader_took_its_share_of_damaged_files():
    fuzzed = table_of("fuzzing").set_index("reader")
    assert fuzzed.executions["checkpoint"] >= 10**6 and fuzzed.executions.min() >= 10**5
    assert set(fuzzed.index) >= {"npy", "npz", "zip", "fasta", "csv", "tsv", "yaml", "manifest"}
    assert fuzzed.uncaught.sum() == 0 and fuzzed.memory_mb.max() <= 2048


def test_most_planted_faults_were_caught_and_the_others_have_a_reason():
    if not (RESULTS / "planted_faults/planted_faults.csv").is_file():
        pytest.skip("the campaign of planted faults has left no table")
    planted = table_of("planted_faults")
    caught = planted.outcome == "caught"
    assert len(planted) >= 60 and caught.mean() >= 55 / 60
    assert planted[~caught].reason.notna().all()


CHAOS = """work,kills,ended,different,finished,made_again,looks,absent,orphans,failed,seconds,stages
book,3,1,0,0,0,100,2,0,0,9,book: 3
run,4,1,0,50,1,0,0,0,0,99,"02: 3, start: 1"
"""
FUZZING = "reader,executions,uncaught,seconds,memory_mb\ncheckpoint,500,1,4,99\nnpy,50,0,0,99\n"
PLANTED = """fault,file,outcome,reason
one,georep_utils/io.py,caught,
two,georep_utils/geometry/scaling.py,survived,<b>nobody</b> can notice it
"""


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """Execute the chapter on made-up tables; its variables, and the numbers of its sentences."""
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))

    def run(**tables):
        for campaign, text in tables.items():
            path = tmp_path / "results" / campaign / f"{campaign}.csv"
            path.parent.mkdir(parents=True)
            path.write_text(text)
        glued = {}
        monkeypatch.setattr(
            "myst_nb.glue", lambda name, value, display: glued.update({name: value})
        )
        record = tmp_path / "record.jsonl"
        given = {"hard_to_break__results": str(tmp_path / "results")}
        scope = execute("paper", ["19"], record, monkeypatch, **given)
        return scope, glued, io.recorded(record)

    return run


def test_the_chapter_counts_every_kind_of_fault(chapter):
    scope, glued, (read, _, facts) = chapter(chaos=CHAOS, fuzzing=FUZZING, planted_faults=PLANTED)
    assert (glued["kills"], glued["lost"], glued["kept"]) == (7, 3, 50)
    assert (glued["executions"], glued["checkpoints"], glued["uncaught"]) == (550, 500, 1)
    assert (glued["planted"], glued["caught"]) == (2, 1) and facts == {"planted": True}
    assert [name for name in read if "*" not in name and name.endswith(".csv")]
    assert scope["survivors"].fault.tolist() == ["two"]
    assert scope["by_place"].to_numpy().tolist() == [[0, 1], [1, 0]]


def test_the_chapter_does_without_planted_faults(chapter):
    _, glued, (read, _, facts) = chapter(chaos=CHAOS, fuzzing=FUZZING)
    assert facts == {"planted": False} and "planted" not in glued
    assert any("planted_faults" in name for name in read), "their table is noticed when it comes"
