"""What is to be measured on a GPU runs on a CPU, in small; a row that fails costs itself alone."""

import importlib
import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import REPOSITORY

CPU = torch.device("cpu")
# What the docstring of the script names, by the names that Python knows, and what these bring.
ENOUGH = (
    "numpy scipy pandas numba torch safetensors PIL tqdm psutil yaml google_crc32c "
    "llvmlite dateutil pytz tzdata six typing_extensions filelock sympy mpmath networkx jinja2 "
    "markupsafe fsspec torchgen functorch"
).split()


@pytest.fixture
def gpu(monkeypatch):
    """The script, as a module; what the machine reaches at best is made up."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    script = importlib.import_module("gpu")
    timing = importlib.import_module("timing")
    for module in (script, timing):
        monkeypatch.setattr(module, "peak_rates", lambda *_: timing.Rates(1e11, 1e10))
    return script


def call(script, monkeypatch, *given):
    """The script with these options."""
    monkeypatch.setattr(sys, "argv", ["gpu.py", *map(str, given)])
    script.main()


# ---- Options ----


def test_without_a_gpu_one_line_says_so(gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for given in ([], ["--device", "cpu"]):
        with pytest.raises(SystemExit) as stopped:
            call(gpu, monkeypatch, *given)
        said = str(stopped.value)
        assert said.startswith("error: these sizes need a CUDA GPU") and "\n" not in said
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--only", "selection", "nosuch"], "no row nosuch; expected some of first-two, selection"),
        (["--only"], "expected at least one argument"),
        (["--device", "foo"], "expected auto, cpu, cuda or cuda:N"),
        (["--device", "cuda"], "PyTorch sees 0 CUDA GPUs"),
        (["--repeats", "0"], "expected a whole number from 1"),
    ],
)
def test_options_are_refused_before_any_work(given, expected, gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for name in ("measure_apart", "measure_here", "machine_facts"):
        monkeypatch.setattr(gpu, name, lambda *_: pytest.fail("work has begun"))
    with pytest.raises(SystemExit) as stopped:
        call(gpu, monkeypatch, "--quick", *given)
    said = capsys.readouterr()
    last = said.err.splitlines()[-1]
    assert stopped.value.code == 2 and not said.out
    assert "error: argument" in last and expected in last


def test_the_dearest_search_is_made_one_way_unless_the_other_is_asked_for(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    measured = []
    monkeypatch.setattr(gpu, "measure_apart", lambda rows, *_: measured.append(rows) or [])
    call(gpu, monkeypatch)
    call(gpu, monkeypatch, "--only", "imagenet-halves")
    usual, asked = ([row.name for row in rows] for rows in measured)
    assert "imagenet" in usual and "imagenet-halves" not in usual and "growth" in usual
    assert asked == ["imagenet-halves"]
    assert sum(row.seconds for row in measured[0]) <= gpu.LIMIT_SECONDS


# ---- Rows ----


@pytest.mark.parametrize(
    "row", ["selection-halves", "growth", "igpt-s-float32", "igpt-s-bfloat16", "section-two"]
)
def test_a_row_is_written_with_its_machine_and_its_share(row, gpu, monkeypatch, tmp_path, capsys):
    options = ["--quick", "--device", "cpu", "--repeats", "1", "--out", tmp_path, "--load", "0.25"]
    call(gpu, monkeypatch, "--here", "--only", row, *options)
    (file,) = tmp_path.iterdir()
    assert file.name == f"cpu-{row}-quick.json"
    result = json.loads(file.read_text())
    assert result["machine"]["cores"] >= 1 and result["machine"]["load"] == 0.25
    assert len(result["rows"]) == (3 if row == "growth" else 1)
    assert all(found["floor_seconds"] > 0 for found in result["rows"])
    assert "share reached" in capsys.readouterr().out


@pytest.mark.long
def test_a_row_has_a_process_of_its_own_that_measures_its_own_rates(gpu, monkeypatch, tmp_path):
    options = ["--quick", "--device", "cpu", "--repeats", "1", "--out", tmp_path]
    call(gpu, monkeypatch, "--only", "first-two", *options)
    (file,) = tmp_path.iterdir()
    (row,) = json.loads(file.read_text())["rows"]
    # Not the made-up rate, which the other process can't know.
    assert file.name == "cpu-first-two-quick.json" and row["operations_per_second"] != 1e11


def test_the_floor_of_section_two_is_that_of_both_parts(gpu):
    shape = gpu.bench_extract.QUICK
    (row,) = gpu.section_two(70, shape, CPU, "bfloat16")
    widths = (shape.n_blocks + 1) * [shape.width] + [shape.n_vocab]
    assert row["layers"] == len(widths) and row["checked_rows"] == gpu.SAMPLE
    assert row["extraction_floor"]["floor_seconds"] == pytest.approx(70 * shape.operations() / 1e11)
    searches = gpu.floor_of_searches(70, widths, CPU)
    assert searches.operations == 70**2 * sum(widths)
    parts = (row["extraction_floor"], row["neighbours_floor"])
    assert row["floor_seconds"] == sum(part["floor_seconds"] for part in parts)
    assert row["ours_seconds"] == pytest.approx(
        row["extraction_seconds"] + row["neighbours_seconds"]
    )


def test_section_two_looks_at_what_it_found(gpu, monkeypatch):
    def others(X, *given):
        found = nearest_neighbors(X, *given)
        return replace(found, mus=found.mus * np.float32(1.01))

    monkeypatch.setattr(gpu, "nearest_neighbors", others)
    with pytest.raises(RuntimeError, match="other mus in float64"):
        gpu.section_two(70, gpu.bench_extract.QUICK, CPU, "bfloat16")


def test_a_search_is_warmed_up_with_all_points_or_a_tenth(gpu, monkeypatch):
    sizes = []
    search = gpu.Task.search

    def noted(task, X, device):
        sizes.append(len(X))
        return search(task, X, device)

    monkeypatch.setattr(gpu.Task, "search", noted)
    task = gpu.Task(600, 8, 10, 16)
    gpu.search(task, CPU, repeats=1)
    monkeypatch.setattr(gpu, "CHEAP", 599)
    gpu.search(task, CPU, repeats=1)
    assert sizes == [600, 600, 60, 600]


# ---- Checks ----


@pytest.mark.parametrize("name", ["indices", "distances", "rank_distances", "mus", "radii"])
def test_whatever_is_wrong_in_a_table_is_found(name, gpu):
    X = np.random.default_rng(0).standard_normal((60, 5), dtype=np.float32)
    found = nearest_neighbors(X, 5, 16, "cpu")
    assert gpu.check_neighbors(X, found, CPU) == gpu.SAMPLE
    table = getattr(found, name)
    swapped = table.copy()
    swapped[:, -2:] = table[:, :-3:-1]
    if name == "radii":
        swapped = 1.001 * table
    with pytest.raises(RuntimeError, match="in float64: the search is wrong"):
        gpu.check_neighbors(X, replace(found, **{name: swapped}), CPU)


def test_copies_of_a_point_are_no_error(gpu):
    X = np.repeat(np.random.default_rng(0).standard_normal((20, 5), dtype=np.float32), 3, axis=0)
    found = nearest_neighbors(X, 5, 16, "cpu")
    assert np.isnan(found.mus).any() and gpu.check_neighbors(X, found, CPU) == gpu.SAMPLE


def test_the_check_reads_each_point_once(gpu, monkeypatch):
    class Counted:
        """Points that note which of them are read."""

        def __init__(self, X):
            self.X = X
            self.read = []

        def __len__(self):
            return len(self.X)

        def __getitem__(self, which):
            if isinstance(which, slice):
                self.read.append(which.start)
            return self.X[which]

    X = np.random.default_rng(0).standard_normal((60, 5), dtype=np.float32)
    counted = Counted(X)
    monkeypatch.setattr(gpu, "CHUNK", 25)
    gpu.check_neighbors(counted, nearest_neighbors(X, 5, 16, "cpu"), CPU)
    assert counted.read == [0, 25, 50]


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


# ---- What fails ----

ENDS = {
    "error": "raise RuntimeError('the device is lost')",
    "signal": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "hang": "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
    "silent": "raise SystemExit(3)",
    "good": "print('fine')",
}


def test_what_fails_in_any_way_or_needs_too_long_costs_itself_alone(gpu, capfd):
    rows = [gpu.Row(name, 1, None) for name in ENDS]
    rows.insert(1, gpu.Row("long", gpu.LIMIT_SECONDS + 1, None))
    began = time.monotonic()
    missing = gpu.measure_apart(rows, began, lambda name: [sys.executable, "-c", ENDS[name]])
    assert missing == ["error", "long", "signal", "hang", "silent"]
    assert time.monotonic() - began < 30
    said = capfd.readouterr().out.splitlines()
    assert said[0] == "error: failed (RuntimeError: the device is lost)"
    assert said[1].startswith("long: left out")
    assert said[2:] == [
        "signal: failed (Segmentation fault)",
        f"hang: stopped after {gpu.PATIENCE} s",
        "silent: failed (exit status 3)",
        "fine",
    ]


def test_no_row_outlives_the_nine_minutes(gpu, capsys):
    began = time.monotonic() - gpu.LIMIT_SECONDS + 1.5
    command = [sys.executable, "-c", ENDS["hang"]]
    assert gpu.measure_apart([gpu.Row("hang", 1, None)], began, lambda _: command) == ["hang"]
    assert time.monotonic() - began < gpu.LIMIT_SECONDS + 5


def test_the_exit_status_is_one_and_names_what_is_missing(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "command_for", lambda *_: [sys.executable, "-c", ENDS["error"]])
    with pytest.raises(SystemExit) as stopped:
        call(gpu, monkeypatch, "--quick", "--device", "cpu", "--only", "growth", "first-two")
    # A text is printed, and the status is 1.
    assert stopped.value.code.startswith("error: not measured: first-two growth;")


def test_of_an_error_of_cuda_its_first_line_is_last(gpu, monkeypatch, capsys):
    def fail(*_):
        raise torch.AcceleratorError("CUDA error: device lost\nCompile with advice")

    monkeypatch.setattr(gpu, "measure_here", fail)
    with pytest.raises(SystemExit) as stopped:
        call(gpu, monkeypatch, "--quick", "--device", "cpu", "--here", "--only", "growth")
    assert stopped.value.code == "AcceleratorError: CUDA error: device lost"
    assert "Traceback" in capsys.readouterr().err


# ---- What it needs ----


@pytest.mark.long
def test_the_packages_that_the_docstring_names_are_enough():
    script = f"""
import sys
from importlib.machinery import PathFinder
own = {ENOUGH!r} + ["georep_utils"]
class Others:
    @staticmethod
    def find_spec(name, path=None, target=None):
        top = name.partition(".")[0]
        spec = PathFinder.find_spec(name, path)
        origin = str(spec.origin) if spec else ""
        if "site-packages" in origin and top not in own and not top.startswith("_"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Others)
sys.path[:0] = ["benchmarks", "."]
import gpu
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
