"""What is to be measured on a GPU runs on a CPU, in small; a row that fails costs itself alone."""

import importlib
import json
import sys
import time

import numpy as np
import pytest
import torch

from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import REPOSITORY

CPU = torch.device("cpu")
PEAK = {"operations_per_second": 1e11, "bytes_per_second": 1e10}


@pytest.fixture
def gpu(monkeypatch):
    """The script, as a module; what the machine reaches at best is made up."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    script = importlib.import_module("gpu")
    monkeypatch.setattr(script, "peaks", lambda *_: PEAK)
    return script


def test_without_a_gpu_one_line_says_so(gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for given in ([], ["--device", "cuda"], ["--quick", "--device", "cuda"]):
        monkeypatch.setattr(sys, "argv", ["gpu.py", *given])
        with pytest.raises(SystemExit) as stopped:
            gpu.main()
        said = str(stopped.value)
        assert said.startswith("error: PyTorch sees no CUDA GPU") and "\n" not in said
    assert not capsys.readouterr().out


@pytest.mark.parametrize("row", ["selection-halves", "igpt-s-float32", "section-two"])
def test_a_row_is_written_with_its_machine(row, gpu, monkeypatch, tmp_path, capsys):
    arguments = ["--quick", "--device", "cpu", "--repeats", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments, "--only", row])
    gpu.main()
    (file,) = tmp_path.iterdir()
    assert file.name == f"cpu-{row}-quick.json"
    result = json.loads(file.read_text())
    assert result["machine"]["cores"] >= 1 and len(result["rows"]) == 1
    if row != "section-two":
        assert "share reached" in capsys.readouterr().out


def test_a_wrong_neighbour_or_distance_is_found(gpu):
    X = np.random.default_rng(0).standard_normal((60, 5), dtype=np.float32)
    found = nearest_neighbors(X, 5, 16, "cpu")
    assert gpu.check_neighbors(X, found, CPU) == gpu.SAMPLE
    for table in (found.indices, found.distances):
        before = table.copy()
        table[:, 2:4] = before[:, 3:1:-1]
        with pytest.raises(RuntimeError, match="in float64: the search is wrong"):
            gpu.check_neighbors(X, found, CPU)
        table[:] = before


def test_wrong_representations_are_found(gpu, monkeypatch):
    model = gpu.bench_extract.our_model(gpu.bench_extract.QUICK, CPU, "float32")
    tokens = gpu.bench_extract.QUICK.random_tokens(2)
    assert gpu.check_extraction(model, tokens) < 1e-5
    forward = type(model).forward
    monkeypatch.setattr(
        type(model), "forward", lambda *given: [1.01 * layer for layer in forward(*given)]
    )
    with pytest.raises(RuntimeError, match="from those in float64"):
        gpu.check_extraction(model, tokens)


def test_what_fails_or_needs_too_long_costs_itself_alone(gpu, capsys):
    def fail():
        raise torch.AcceleratorError("CUDA error: device lost\nmore")

    rows = [
        gpu.Row("lost", 1, fail),
        gpu.Row("long", gpu.LIMIT_SECONDS + 1, fail),
        gpu.Row("good", 1, lambda: [{"what": "something"}]),
    ]
    written = {}
    assert gpu.measure(iter(rows), time.monotonic(), written.__setitem__) == 2
    assert written == {"good": [{"what": "something"}]}
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "lost: failed (CUDA error: device lost)" and "left out" in said[1]
