"""The table of what all runs need agrees with the run files, and with a closer look."""

import math

import pandas as pd
import pytest

from georep_utils import __main__ as commands
from georep_utils import cost, cost_table, io
from georep_utils.models import imagegpt
from georep_utils.workflow import runs

FACTS = pd.read_csv(cost_table.FACTS).set_index("run")
TEMPLATES = {"hf-text", "hf-image"}  # runs whose model and data are the reader's


def parameters(run):
    return runs.all_parameters(runs.read_run(run))


def reading_runs():
    files = runs.repository_run_files()
    return {name for name in files if "02_extract" in runs.read_run(name)["notebooks"]}


def test_every_run_of_the_paper_has_a_row_and_every_row_is_a_run():
    # A reader may have put runs of their own beside these, for which there are no facts.
    assert set(FACTS.index) <= reading_runs() - TEMPLATES
    of_paper = {name for name in reading_runs() if name.startswith(("igpt-", "esm2-"))}
    assert of_paper <= set(FACTS.index)


@pytest.mark.parametrize("run", [name for name in FACTS.index if name.startswith("igpt-")])
def test_the_facts_of_an_imagegpt_are_those_of_its_run_file(run):
    fact = FACTS.loc[run]
    shared = runs.read_run(run)["shared"]
    assert fact.samples == min(shared["n_per_class"] * fact.classes, fact.samples)
    assert fact.samples == shared["n_per_class"] * fact.classes
    for size, (n_blocks, width, _) in imagegpt.SIZES.items():
        if f"/igpt-{size}/" in shared["checkpoint"]:
            assert (fact.blocks, fact.width, fact.tokens) == (n_blocks, width, 1024)
            # Twelve times the square of the width a block, and two tables of 512 and 1024 rows.
            expected = 12 * n_blocks * width**2 + 2 * 1024 * width
            assert fact.parameters == pytest.approx(expected, rel=0.03)


def test_the_bundled_run_is_seen_alike_from_far_and_near(monkeypatch):
    monkeypatch.setattr(cost, "CALIBRATION_SECONDS", 0.1)
    monkeypatch.setattr(cost, "CALIBRATION_POINTS", 1500)
    near = cost.report(parameters("igpt-mini-all")).splitlines()
    stored = [float(line.split()[2]) for line in near if line.startswith(("02", "03", "06"))]
    row = cost_table.table({"igpt-mini-all": parameters("igpt-mini-all")}).iloc[0]
    # The closer look counts the arrays of the input, too.
    assert row["on disk"] == "1.3 GB" and math.isclose(sum(stored), 1.3, abs_tol=0.1)
    # The run's own, five untrained ones, and five checkpoints of the training.
    assert row["networks"] == 11 and row["to download"] == "nothing"


def test_more_of_anything_costs_more():
    one = cost_table.table({"igpt-small": parameters("igpt-small")}).iloc[0]
    six = parameters("igpt-small")
    six["02_extract"] = six["02_extract"] | {"untrained_control": False}
    alone = cost_table.table({"igpt-small": six}).iloc[0]
    assert one["networks"] == 6 and alone["networks"] == 1
    assert float(one["on disk"].split()[0]) == pytest.approx(
        6 * float(alone["on disk"].split()[0]), rel=0.1
    )


def test_checkpoints_are_downloaded_and_read_once_each():
    row = cost_table.table({"igpt-large": parameters("igpt-large")}).iloc[0]
    # Four files of 15.5 GB and the images; the last step is the network of the run itself.
    assert row["to download"] == "72 GB" and row["networks"] == 5


def test_each_place_is_read_with_the_first_pooling_and_each_other_pooling_at_the_first_place():
    fact = FACTS.loc["igpt-mini"]
    # Itself, one untrained, five checkpoints, and of four places and two poolings the four cases
    # that the chapter on training has not read.
    assert cost_table.readings(fact, parameters("igpt-mini")) == 2 * [5000] + 9 * [1000]


def test_a_device_that_was_not_measured_has_no_time(monkeypatch, tmp_path):
    monkeypatch.setattr(cost_table, "RESULTS", tmp_path)
    row = cost_table.table({"igpt-mini": parameters("igpt-mini")}).iloc[0]
    assert set(row.index).isdisjoint(cost_table.DEVICES.values())


def test_a_gpu_has_a_time_from_the_files_of_its_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(cost_table, "RESULTS", tmp_path)
    shape = "iGPT-S, 1024 tokens"
    reading = {"shape": shape, "dtype": "float32", "n": 512, "ours_seconds": 4.0}
    slower = reading | {"ours_seconds": 8.0}
    coarser = reading | {"dtype": "bfloat16", "ours_seconds": 1.0}
    io.write_json(tmp_path / "cuda-igpt-s-float32.json", {"rows": [slower, reading]})
    io.write_json(tmp_path / "cuda-igpt-s-bfloat16.json", {"rows": [coarser]})
    assert cost_table.speed("cuda") is None
    sizes = [(10_000, 128), (20_000, 512), (40_000, 256)]
    growth = [
        {"what": "growth", "n": n, "d": d, "ours_seconds": 1e-13 * n**2 * d} for n, d in sizes
    ]
    io.write_json(tmp_path / "cuda-growth.json", {"rows": growth})
    speed = cost_table.speed("cuda")
    assert speed.reading_seconds(512, 1024, 76_000_000) == pytest.approx(4)
    assert speed.search_seconds(90_000, 512, 90_000) == pytest.approx(1e-13 * 90_000**2 * 512)
    row = cost_table.table({"igpt-mini": parameters("igpt-mini")}).iloc[0]
    assert row[cost_table.DEVICES["cuda"]]


def test_a_quick_run_on_a_gpu_is_no_measurement(monkeypatch, tmp_path):
    monkeypatch.setattr(cost_table, "RESULTS", tmp_path)
    made_up = {"shape": "iGPT-S, 1024 tokens", "dtype": "float32", "n": 1, "ours_seconds": 1.0}
    io.write_json(tmp_path / "cuda-igpt-s-float32-quick.json", {"rows": [made_up]})
    assert not cost_table._rows(cost_table.READING["cuda"])


def test_times_grow_as_the_arithmetic_does():
    speed = cost_table.speed("cpu")
    assert speed.reading_seconds(2000, 1024, 76_000_000) == pytest.approx(
        2 * speed.reading_seconds(1000, 1024, 76_000_000)
    )
    once = speed.search_seconds(80_000, 512, rows_per_task=80_000)
    assert once > 3.5 * speed.search_seconds(40_000, 512, rows_per_task=40_000)
    # In parts, all products are computed from both of their ends.
    assert 1.1 * once < speed.search_seconds(80_000, 512, rows_per_task=20_000) < 2 * once


def test_the_command_without_a_run_prints_a_row_for_each(capsys):
    assert commands.main(["cost"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(FACTS) and lines[0].startswith("run  ")
    assert commands.main(["cost", "-p", "n_per_class=3"]) == 2


def test_the_rows_are_kept_until_a_benchmark_a_run_or_the_code_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    made = []
    table = cost_table.table
    monkeypatch.setattr(cost_table, "table", lambda given: made.append(1) or table(given))
    rows = commands._cost_rows()
    assert commands._cost_rows() == rows and len(made) == 1
    (tmp_path / "benchmarks/results").mkdir(parents=True)
    (tmp_path / "benchmarks/results/other.json").write_text("{}")
    assert commands._cost_rows() == rows and len(made) == 2
    monkeypatch.setattr(io, "code_digest", lambda *names: "other code")
    commands._cost_rows()
    assert len(made) == 3
