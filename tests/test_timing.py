"""A floor is taken at rates that are measured in turn with what it belongs to."""

import importlib
import json
import sys
from functools import partial

import pytest
import torch

from georep_utils.io import REPOSITORY

CPU = torch.device("cpu")


@pytest.fixture
def script(monkeypatch):
    """A script of the benchmarks, as a module."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module


def test_rates_are_measured_in_turn_and_the_floor_is_at_their_median(script, monkeypatch):
    timing = script("timing")
    done = []
    speeds = iter([4e9, 1e9, 2e9])

    def measured(device, dtype):
        done.append(dtype)
        return timing.Rates(next(speeds), 1e9)

    monkeypatch.setattr(timing, "peak_rates", measured)
    floor = timing.Floor(8e9, CPU, "bfloat16", n_bytes=1e9)
    ours = partial(done.append, "ours")
    theirs = partial(done.append, "theirs")
    row = timing.compare("a", "b", ours, theirs, 3, floor, n=5)
    assert done == 3 * ["ours", "theirs", "bfloat16"]
    assert (row["floor_seconds"], row["floor"], row["n"]) == (4, "arithmetic", 5)
    assert row["operations_per_second"] == 2e9
    assert row["operations_per_second_range"] == [1e9, 4e9]


def test_bytes_set_the_floor_where_they_take_longer(script):
    timing = script("timing")
    facts = timing.Floor(1e9, CPU, n_bytes=3e9).facts([timing.Rates(1e9, 1e9)])
    assert (facts["floor_seconds"], facts["floor"]) == (3, "memory")


def test_without_a_floor_a_row_has_none(script):
    row = script("timing").compare("a", "b", lambda: None, lambda: None, 2)
    assert "floor" not in row and len(row["ratio_range"]) == 2


@pytest.mark.parametrize("dtype", ["float32", "tf32"])
def test_a_processor_has_rates_and_those_of_tf32_are_of_float32(dtype, script, monkeypatch):
    timing = script("timing")
    monkeypatch.setattr(timing, "PRODUCTS", 1)
    asked = []
    precision = timing.matmul_precision
    monkeypatch.setattr(
        timing, "matmul_precision", lambda *given: asked.append(given) or precision(*given)
    )
    rates = timing.peak_rates(CPU, dtype)
    assert asked == [("float32", CPU)]
    assert rates.operations_per_second > 1e8 and rates.bytes_per_second > 1e7


def test_products_of_halves_are_three_in_tf32(script):
    task = script("bench_neighbors").Task(1000, 64, 50, 256)
    gpu = torch.device("cuda")
    one = task.floor(gpu)
    three = task.floor(gpu, "halves")
    assert (one.dtype, three.dtype) == ("float32", "tf32")
    assert one.operations == 2 * 1000**2 * 64 and three.operations == 3 * one.operations
    # A search on a processor takes each product once for both of its points, and knows no halves.
    assert task.floor(CPU, "halves") == task.floor(CPU)
    assert task.floor(CPU).operations == one.operations / 2


def test_rows_of_growth_have_their_own_rates(script, monkeypatch, tmp_path):
    timing = script("timing")
    bench = script("bench_neighbors")
    monkeypatch.setattr(timing, "peak_rates", lambda *_: timing.Rates(1e12, 1e11))
    arguments = ["--quick", "--repeats", "1", "--only", "growth", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bench_neighbors.py", *arguments])
    bench.main()
    rows = json.loads((tmp_path / "neighbors-cpu-quick.json").read_text())["rows"]
    assert {row["what"] for row in rows} == {"growth"} and len(rows) == 5
    first = rows[0]
    assert first["floor_seconds"] == pytest.approx(first["n"] ** 2 * first["d"] / 1e12)
    assert first["operations_per_second_range"] == [1e12, 1e12]


@pytest.mark.parametrize("name", ["bench_neighbors", "bench_extract", "plain_loop"])
@pytest.mark.parametrize("given", [["--repeats", "0"], ["--repeats", "few"], ["--only"]])
def test_options_are_refused_before_any_work(name, given, script, monkeypatch, capsys):
    module = script(name)
    monkeypatch.setattr(module, "machine_facts", lambda *_: pytest.fail("work has begun"))
    monkeypatch.setattr(sys, "argv", [name, *given])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 2 and "error: " in capsys.readouterr().err.splitlines()[-1]
