"""Runs are data: what a run file may say, which stages run again, what a failure leaves behind.

A small repository of its own stands in a temporary folder: the package, tiny notebooks, run files.
"""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import kill_at_random
import nbformat
import psutil
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from notebook_runner import EngineWithoutKernel

from georep_utils import __main__ as commands
from georep_utils import clouds, cost, cost_table, io
from georep_utils.data import datasets, needs
from georep_utils.io import RunPaths
from georep_utils.models import load
from georep_utils.workflow import engine, inventory, pages, runs, stages

ENGINE = engine.Engine
REPOSITORY = Path(__file__).resolve().parent.parent

FIRST = """# %% [markdown]
# ({{run}}-count)=
# # Count for {{run}}

# %% tags=["parameters"]
run = "tiny"  # | Name of the run.
size = 3  # at least 0 | How far to count.
rate = 0.5
words = "plain"  # one of plain, fancy | The style.
steps = [1]  # between 1 and 9 | Some steps.
source = ""  # | A file with a first number.

# %%
from georep_utils import io

with open("log.txt", "a") as log:
    log.write("count ")
first = 0
if source:
    io.note_read(source)
    first = int(open(source).read())
io.note_facts(long=size > 5)
path = io.RunPaths(run).work / "numbers.json"
io.write_json(path, [first + i for i in range(size)])
io.note_written(path)
print(f"counted {size}")

# %% tags=["only-long"]
print("a long count")
fails_if_short = [0][5 - size]

# %% [markdown] tags=["not-long"]
# A short count.
"""

SECOND = """# %% [markdown]
# ({{run}}-sum)=
# # Add up

# %% tags=["parameters"]
run = "tiny"
times = 1
fail = False

# %%
import pandas as pd

from georep_utils import io

with open("log.txt", "a") as log:
    log.write("sum ")
if fail:
    raise ValueError("told to fail")
paths = io.RunPaths(run)
io.note_read(paths.work / "numbers.json")
total = times * sum(io.read_json(paths.work / "numbers.json"))
io.write_table(paths.results / "total.csv", pd.DataFrame({"total": [total]}))
print(f"total {total}")
"""

TOC = {
    "format": "jb-book",
    "root": "book/index",
    "parts": [
        {
            "caption": "Tiny",
            "numbered": 2,
            "chapters": [{"file": "book/runs/tiny/01_count"}, {"file": "book/runs/tiny/02_sum"}],
        },
        {"caption": "Your turn", "chapters": [{"file": "book/runs/training/00_shown"}]},
    ],
}
# Commands import these when they need them. Here they are imported before a test gives the package
# another repository, so that none of them keeps its address.
IMPORTED = (clouds, cost, cost_table, datasets, needs, load)

RUN = {"title": "A tiny run", "notebooks": ["01_count", "02_sum"], "count": {"size": 4}}
CONFIG = "title: Tiny\nonly_build_toc_files: true\nexecute:\n  execute_notebooks: 'off'\n"


def build_repository(root: Path) -> None:
    for folder in ("notebooks/runs", "book"):
        (root / folder).mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "georep_utils", root / "georep_utils", ignore=ignored)
    (root / "notebooks/01_count.py").write_text(FIRST)
    (root / "notebooks/02_sum.py").write_text(SECOND)
    shown = "# %% [markdown]\n# # Only shown\n\n# %%\nprint(1 / 0)\n"
    (root / "notebooks/00_shown.py").write_text(shown)
    (root / "notebooks/runs/tiny.yml").write_text(yaml.safe_dump(RUN))
    (root / "_toc.yml").write_text(yaml.safe_dump(TOC))
    (root / "_config.yml").write_text(CONFIG)
    shutil.copyfile(REPOSITORY / "CITATION.cff", root / "CITATION.cff")
    shutil.copytree(REPOSITORY / "book/reference", root / "book/reference")
    (root / "book/index.md").write_text("# A tiny book\n\nSee {ref}`the sum <tiny-sum>`.\n")


class House:
    def __init__(self, root: Path, patch: pytest.MonkeyPatch):
        self.root = root
        build_repository(root)
        for module in (io, runs, stages, pages, commands):
            patch.setattr(module, "REPOSITORY", root)
        patch.delenv("GEOREP_ROOT", raising=False)

    def command(self, *arguments: str) -> int:
        return commands.main(list(arguments))

    def executed(self) -> list[str]:
        """The stages whose code ran since this was last asked."""
        log = self.root / "log.txt"
        words = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return words

    def page(self, notebook: str, run: str = "tiny"):
        return nbformat.read(self.root / f"book/runs/{run}/{notebook}.ipynb", 4)

    def total(self, run: str = "tiny") -> int:
        text = (self.root / f"book/results/{run}/total.csv").read_text()
        return int(text.split()[1])

    def write_run(self, name: str, **content) -> None:
        (self.root / f"notebooks/runs/{name}.yml").write_text(yaml.safe_dump(RUN | content))


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "Engine", EngineWithoutKernel)
        yield House(tmp_path_factory.mktemp("house") / "root", patch)


@pytest.fixture
def with_kernel(monkeypatch):
    """Notebooks are executed as they are outside of the tests."""
    monkeypatch.setattr(engine, "Engine", ENGINE)


@pytest.fixture(scope="module")
def lived_in(house):
    """The repository after one run of `tiny`."""
    assert house.command("run", "tiny") == 0
    assert house.executed() == ["count", "sum"]
    return house


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "tinny"], "did you mean tiny?"),
        (["run", "nowhere/absent.yml"], "no run named nowhere/absent.yml"),
        (["run", "tiny", "-p", "mean.size=3"], "no section mean"),
        (["run", "tiny", "-p", "count.sise=3"], "did you mean size?"),
        (["run", "tiny", "-p", "tims=3"], "did you mean times?"),
        (["run", "tiny", "-p", "count.size=many"], "expected int, like 3"),
        (["run", "tiny", "-p", "count.size=2.5"], "expected int, like 3"),
        (["run", "tiny", "-p", "count.size=true"], "expected int, like 3"),
        (["run", "tiny", "-p", "sum.fail=1"], "expected bool"),
        (["run", "tiny", "-p", "count.words=5"], "expected str"),
        (["run", "tiny", "--from", "09"], "no notebook 09"),
        (["run", "tiny", "--only", "09"], "no notebook 09"),
        (["run", "tiny", "-p", "count.words=bold"], "expected one of plain, fancy"),
        (["run", "tiny", "-p", "count.size=-1"], "expected at least 0"),
        (["run", "tiny", "-p", "count.steps=[2, 10]"], "expected at most 9"),
        (["run", "tiny", "--as", "../up"], "can't be a folder's name"),
        (["run", "tiny", "--as", "x", "-p", "tims=3"], "did you mean times?"),
        (["clean", "tinny"], "did you mean tiny?"),
        (["cost", "tinny"], "did you mean tiny?"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_before_anything_runs(
    house, capfd, arguments, expected
):
    house.executed()
    assert house.command(*arguments) == 2
    error = capfd.readouterr().err
    assert expected in error
    assert error.startswith("error: ") and error.count("\n") == 1
    assert house.executed() == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("- 1\n- 2\n", "holds no sections"),
        ("count: {size: 3\n", "is not YAML"),
        ("notebooks: [01_count]\ncuont: {size: 3}\n", "unknown section cuont"),
        ("notebooks: [01_count]\ncount: [size, 3]\n", "expected lines of NAME: VALUE"),
        ("notebooks: [01_count, 05_absent]\n", "there is no notebooks/05_absent.py"),
        ("notebooks: [01_count]\nshared: {times: 3}\n", "no notebook has a parameter times"),
        ("notebooks: 5\n", "notebooks is 5"),
        ("notebooks: [01_count, 01_count]\n", "expected a list of different names"),
        ("notebooks: [../01_count]\n", "can't be a folder's name"),
        ("count: {size: 3}\ncount: {size: 4}\n", "'count' stands twice"),
        ("count: {size: 3, size: 4}\n", "'size' stands twice"),
        (
            "a: &a [x, x, x, x]\n"
            + "".join(
                f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}]\n"
                for old, new in zip("abcdefghijkl", "bcdefghijklm", strict=True)
            ),
            "too many values",
        ),
        ("count: &c {size: *c}\n", "too many values"),
        ("[" * 10_000, "is not YAML"),
    ],
)
def test_a_run_file_that_cannot_be_used_says_why(house, tmp_path, capfd, content, expected):
    path = tmp_path / "mine.yml"
    path.write_text(content)
    assert house.command("run", str(path)) == 2
    error = capfd.readouterr().err
    assert expected in error and error.count("\n") == 1
    assert house.executed() == []


@pytest.mark.parametrize(
    "name", ["..", ".", "", "/tmp/elsewhere", "a/b", "../up", ".hidden", 7, None]
)
@pytest.mark.parametrize("command", ["run", "clean"])
def test_a_run_file_cannot_name_another_folder(house, tmp_path, capfd, command, name):
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump(RUN | {"name": name}))
    kept = house.root / "data/kept.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    assert house.command(command, str(path)) == 2
    assert "can't be a folder's name" in capfd.readouterr().err
    assert kept.read_text() == "mine" and house.executed() == []


def test_the_name_of_a_run_is_no_parameter(house, capfd):
    for section in ("", "count."):
        assert house.command("run", "tiny", "-p", f"{section}run=other") == 2
        assert "can't be set" in capfd.readouterr().err
    assert house.executed() == []


RUN_FILE = yaml.safe_dump(RUN)
PIECES = """a: |- |[|]|{|}|&a |*a |!!python/name:os|:|  |? |<<: |1|'|"|%|---""".split("|")


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from([*PIECES, "|", "\n"]), max_size=40).map("".join)
    | st.builds(
        lambda at, cut, inserted: RUN_FILE[:at] + inserted + RUN_FILE[at + cut :],
        st.integers(0, len(RUN_FILE)),
        st.integers(0, 20),
        st.text(max_size=20),
    )
)
def test_any_text_is_one_line_or_plain_yaml(text):
    try:
        value = runs.load_yaml(text, "mine.yml")
    except io.UserError as error:
        assert "\n" not in str(error) and "mine.yml" in str(error)
    else:
        json.dumps(value, default=str)


@pytest.mark.parametrize(
    "name", ["data/runs/tiny/run.json", "data/runs/tiny/overrides.json", "_build/built.json"]
)
@pytest.mark.parametrize("content", ["[]", '{"path": 5}', "{"])
def test_a_damaged_note_of_the_program_is_no_traceback(house, name, content, capfd):
    path = house.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text() if path.is_file() else None
    path.write_text(content)
    try:
        assert house.command("list") == 0
        assert "Traceback" not in capfd.readouterr().err
    finally:
        path.unlink()
        if before is not None:
            path.write_text(before)


def test_a_run_file_of_another_encoding_or_of_any_size_is_refused(house, tmp_path, capfd):
    path = tmp_path / "mine.yml"
    path.write_bytes("title: Größe\n".encode("utf-16"))
    assert house.command("run", str(path)) == 2
    assert "is not UTF-8" in capfd.readouterr().err
    path.write_bytes(b"# " + b"x" * (2 << 20))
    assert house.command("run", str(path)) == 2
    assert "is larger than" in capfd.readouterr().err
    path.unlink()
    path.mkdir()
    assert house.command("run", str(path)) == 2


def test_a_whole_number_may_stand_for_a_real_one_and_null_for_a_number(house):
    run = runs.read_run("tiny")
    given = runs.parameters_of(run, {"count.rate": 2, "count.size": None})
    assert given["01_count"]["rate"] == 2
    assert given["01_count"]["size"] is None


def test_an_empty_section_means_the_defaults(house):
    run = runs.read_run("tiny") | {"count": None, "shared": None}
    given = runs.parameters_of(run, {"count.size": 7})
    assert given["01_count"] == {"run": "tiny", "size": 7}
    assert runs.parameters_of(run)["01_count"] == {"run": "tiny"}
    assert runs.all_parameters(run)["02_sum"] == {"run": "tiny", "times": 1, "fail": False}


@pytest.mark.parametrize(
    "words",
    [["run", "tiny", "-p", "size"], ["run", "tiny", "-p", "size=[1"], ["frobnicate"], []],
)
def test_a_command_line_that_cannot_be_read_exits_with_2(house, words, capfd):
    with pytest.raises(SystemExit) as stopped:
        house.command(*words)
    assert stopped.value.code == 2
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (OSError(errno.ENOSPC, "", "a.npy"), 1, "failed: No space left on device (a.npy)"),
        (OSError(errno.EROFS, "", "a.npy"), 1, "failed: Read-only file system (a.npy)"),
        (PermissionError(errno.EACCES, "", "a.npy"), 1, "failed: Permission denied (a.npy)"),
        (OSError(errno.EMFILE, ""), 1, "failed: Too many open files"),
        (OSError("5 requested and\n3 written"), 1, "failed: 5 requested and 3 written"),
        (OSError(), 1, "failed: OSError"),
        (MemoryError(), 1, "failed: out of memory; take fewer samples or close other programs"),
        (RuntimeError("a cell"), 1, "failed: a cell"),
        (KeyboardInterrupt(), 130, "stopped; what was finished is kept, and the next run goes on"),
    ],
)
def test_whatever_the_machine_lacks_is_one_line(monkeypatch, capfd, error, status, expected):
    def fail(given):
        raise error

    monkeypatch.setitem(commands.COMMANDS, "list", fail)
    assert commands.main(["list"]) == status
    told = capfd.readouterr().err
    assert told.startswith(expected) and told.count("\n") == 1


# --------------------------------------------------------------------------------------- pages


def test_a_run_leaves_pages_with_its_labels_and_one_cell_of_the_values_used(lived_in):
    page = lived_in.page("01_count")
    assert page.cells[0].source.startswith("(tiny-count)=")
    assert not any("{{" in cell.source for cell in page.cells)
    kinds = {"parameters", "injected-parameters"}
    tagged = [cell for cell in page.cells if kinds & set(cell.metadata.get("tags", []))]
    assert [cell.source.splitlines() for cell in tagged] == [
        [
            "run = 'tiny'  # Name of the run.",
            "size = 4  # How far to count.",
            "rate = 0.5",
            "words = 'plain'  # The style.",
            "steps = [1]  # Some steps.",
            "source = ''  # A file with a first number.",
        ]
    ]
    assert "papermill" not in json.dumps(page)
    assert page.cells[2].outputs[0].text == "counted 4\n"


def test_what_does_not_apply_is_neither_executed_nor_shown(with_kernel, lived_in):
    sources = [cell.source for cell in lived_in.page("01_count").cells]
    assert sources[-1] == "A short count." and len(sources) == 4
    assert lived_in.command("run", "tiny", "--only", "01", "-p", "count.size=6") == 0
    cells = lived_in.page("01_count").cells
    assert cells[-1].outputs[0].text == "a long count\n"
    assert "A short count." not in [cell.source for cell in cells]
    assert lived_in.command("run", "tiny") == 0
    lived_in.executed()


def test_a_kernel_says_nothing_that_is_not_the_notebooks(with_kernel, lived_in, capfd):
    assert lived_in.command("run", "tiny", "--only", "02", "--from", "02") == 0
    lived_in.executed()
    # On a busy machine, the kernel of an earlier test may end now, and say so.
    told = capfd.readouterr().err.splitlines()
    assert [line for line in told if "Parent appears to have exited" not in line] == []


def test_the_book_can_follow_a_run_in_one_command(lived_in, monkeypatch):
    built = []
    monkeypatch.setattr(commands, "build_book", lambda: built.append(lived_in.total()))
    assert lived_in.command("run", "tiny", "--book") == 0
    assert built == [lived_in.total()]
    assert lived_in.command("run", "tiny", "-p", "count.size=-1", "--book") == 2
    assert len(built) == 1, "nothing is built from a run that failed"


# ------------------------------------------------------------------------------ what runs again


def test_only_the_stages_that_a_change_touches_run_again(lived_in, capfd):
    house = lived_in
    assert house.command("run", "tiny") == 0
    assert "nothing had changed" in capfd.readouterr().out
    assert house.executed() == []
    assert house.command("run", "tiny", "-p", "sum.times=2") == 0
    assert house.executed() == ["sum"]
    assert house.page("02_sum").cells[-1].outputs[0].text == "total 12\n" and house.total() == 12
    assert house.command("run", "tiny", "-p", "sum.times=2", "-p", "count.size=3") == 0
    assert house.executed() == ["count", "sum"]
    assert house.total() == 6


def test_going_back_to_earlier_parameters_executes_nothing_and_puts_the_results_back(lived_in):
    house = lived_in
    assert house.command("run", "tiny") == 0
    house.executed()
    before = (house.root / "book/runs/tiny/02_sum.ipynb").read_bytes()
    assert house.command("run", "tiny", "-p", "count.size=2") == 0
    assert house.executed() == ["count", "sum"] and house.total() == 1
    assert house.command("run", "tiny") == 0
    assert house.executed() == [] and house.total() == 6
    assert (house.root / "book/runs/tiny/02_sum.ipynb").read_bytes() == before


def test_a_stage_that_reads_nothing_new_is_spared_when_an_earlier_one_runs_again(lived_in):
    house = lived_in
    assert house.command("run", "tiny") == 0
    house.executed()
    assert house.command("run", "tiny", "-p", "count.rate=0.25") == 0
    assert house.executed() == ["count"], "the sum reads the same numbers"


def test_a_changed_input_is_noticed_and_a_lost_table_is_put_back(lived_in, tmp_path):
    house = lived_in
    source = tmp_path / "first.txt"
    source.write_text("10")
    arguments = ["run", "tiny", "-p", f"count.source={source}"]
    assert house.command(*arguments) == 0
    assert house.executed() == ["count", "sum"] and house.total() == 46
    source.write_text("20")
    assert house.command(*arguments) == 0
    assert house.executed() == ["count", "sum"] and house.total() == 86
    source.write_text("10")
    (house.root / "book/results/tiny/total.csv").unlink()
    assert house.command(*arguments) == 0
    assert house.executed() == [] and house.total() == 46


def test_the_key_of_a_stage_follows_its_notebook_its_parameters_and_the_code_it_imports(house):
    key = stages.stage_key
    before = key("01_count", {"size": 3})
    assert key("01_count", {"size": 3}) == before
    assert key("01_count", {}) == before, "a default that is said is the same"
    assert key("01_count", {"size": 4}) != before
    assert key("01_count", {"size": 3, "seed": 1}) != key("01_count", {"size": 3, "seed": 2})
    source = house.root / "notebooks/01_count.py"
    text = source.read_text()
    module = house.root / "georep_utils/helper.py"
    inner = house.root / "georep_utils/data/inner.py"
    try:
        source.write_text(text.replace("# # Count", "# # Recount"))
        assert key("01_count", {"size": 3}) != before, "a word of prose is on the page"
        module.write_text("from georep_utils.data.inner import one\n")
        inner.write_text("one = 1\n")
        source.write_text(text + "\n# %%\nfrom georep_utils import helper\n")
        with_module = key("01_count", {"size": 3})
        assert with_module != before
        inner.write_text("# a comment\none = 1\n")
        assert key("01_count", {"size": 3}) == with_module, "a comment computes nothing"
        inner.write_text("one = 2\n")
        assert key("01_count", {"size": 3}) != with_module
    finally:
        source.write_text(text)
        module.unlink(missing_ok=True)
        inner.unlink(missing_ok=True)
    assert key("01_count", {"size": 3}) == before


def test_a_failed_cell_promotes_nothing_is_named_and_keeps_the_earlier_page(
    with_kernel, lived_in, capfd
):
    house = lived_in
    assert house.command("run", "tiny") == 0
    house.executed()
    before = (house.root / "book/runs/tiny/02_sum.ipynb").read_bytes()
    assert house.command("run", "tiny", "-p", "sum.fail=true") == 1
    error = capfd.readouterr().err.splitlines()[-1]
    kept = "data/runs/tiny/failed/02_sum.ipynb"
    assert error.startswith("failed: 02_sum of run tiny")
    assert "ValueError: told to fail" in error and kept in error
    assert (house.root / kept).is_file()
    assert (house.root / "book/runs/tiny/02_sum.ipynb").read_bytes() == before
    house.executed()
    assert house.command("run", "tiny", "-p", "sum.fail=true") == 1
    assert house.executed() == ["sum"], "a failed stage must run again"
    assert house.command("run", "tiny") == 0
    assert house.executed() == []


def test_a_second_process_waits_for_the_first(lived_in):
    house = lived_in
    script = "from georep_utils.__main__ import main; main(['run', 'tiny', '--from', '02'])"
    environment = os.environ | {"PYTHONPATH": str(house.root)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=house.root,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert sum("waiting for process" in text and "running tiny" in text for text in told) == 1
    assert house.executed() == ["sum", "sum"]


def test_notebooks_that_need_nothing_of_each_other_run_side_by_side(lived_in):
    house = lived_in
    # Each of the two waits until it has seen the other: one after the other they would not end.
    meeting = """# ---
# jupyter:
#   georep:
#     after: [{needed}]
# ---

# %% tags=["parameters"]
run = "meeting"

# %%
import time
from pathlib import Path

Path("{own}.here").touch()
began = time.time()
while not Path("{other}.here").exists():
    assert time.time() - began < 60
    time.sleep(0.05)
with open("log.txt", "a") as log:
    log.write("met ")
"""
    for own, other in (("03_left", "04_right"), ("04_right", "03_left")):
        text = meeting.format(needed="02_sum", own=own, other=other)
        (house.root / f"notebooks/{own}.py").write_text(text)
    notebooks = ["01_count", "02_sum", "03_left", "04_right"]
    house.write_run("meeting", notebooks=notebooks)
    script = "import sys; from georep_utils.__main__ import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "meeting", "--jobs", "2"],
        cwd=house.root,
        env=os.environ | {"PYTHONPATH": str(house.root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    # The first two need each other, and keep their order.
    assert house.executed() == ["count", "sum", "met", "met"]
    assert f"meeting: {', '.join(notebooks)}" in done.stdout
    (house.root / "notebooks/runs/meeting.yml").unlink()


def test_what_a_notebook_comes_after_is_said_in_its_header(house):
    listed = ["01_count", "02_sum"]
    assert stages.needs("02_sum", listed) == ["01_count"]
    text = (house.root / "notebooks/02_sum.py").read_text()
    header = "# ---\n# jupyter:\n#   georep:\n#     after: []\n# ---\n\n"
    (house.root / "notebooks/02_sum.py").write_text(header + text)
    assert stages.needs("02_sum", listed) == []


@dataclass
class Waiting:
    """A run on its way, as far as the order of several runs is concerned."""

    waiting: list
    reads: dict = field(default_factory=dict)
    known: dict = field(default_factory=dict)

    def __post_init__(self):
        self.given = dict.fromkeys(self.waiting)
        self.reads_of = {notebook: self.reads.get(notebook, []) for notebook in self.waiting}

    def is_ready(self, notebook):
        return not notebook.endswith("needing")

    has_settled = stages._Stages.has_settled

    def begin(self, notebook, pool, running):
        running[notebook] = self


def test_what_reads_other_runs_waits_for_what_it_reads_and_nothing_else_does():
    first = Waiting(["01", "02", "03-needing"])
    second = Waiting(["07", "08"], {"07": ["02", "99"]})
    running = {}
    while stages._begin_one([first, second], None, running):
        pass
    assert [*running] == ["01", "02", "08"] and second.waiting == ["07"]
    first.known["01"] = {}
    assert not stages._begin_one([first, second], None, running)
    first.known["02"] = {}
    assert stages._begin_one([first, second], None, running) and "07" in running


@pytest.mark.parametrize(
    ("jobs", "before", "threads"), [(1, None, None), (2, None, "3"), (8, None, "1"), (2, "5", "5")]
)
def test_notebooks_side_by_side_share_the_cores(monkeypatch, jobs, before, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.delenv(stages.BLAS_THREADS, raising=False)
    if before:
        monkeypatch.setenv(stages.BLAS_THREADS, before)
    with stages._shared_cores(jobs):
        assert os.environ.get(stages.BLAS_THREADS) == threads
    assert os.environ.get(stages.BLAS_THREADS) == before


def test_several_runs_are_one_command_and_a_parameter_is_for_one_of_them(lived_in, capfd):
    assert lived_in.command("run", "tiny") == 0
    capfd.readouterr()
    lived_in.write_run("other", count={"size": 2})
    assert lived_in.command("run", "tiny", "other") == 0
    out = capfd.readouterr().out
    assert "tiny: nothing had changed" in out and "other: 01_count, 02_sum" in out
    assert lived_in.total("other") == 1
    assert lived_in.command("run", "tiny", "other", "-p", "count.size=3") == 2
    assert "are for one run" in capfd.readouterr().err
    lived_in.executed()
    assert lived_in.command("clean", "other") == 0
    (lived_in.root / "notebooks/runs/other.yml").unlink()


def test_a_killed_run_leaves_nothing_half_done(lived_in):
    house = lived_in
    script = "from georep_utils.__main__ import main; main(['run', 'tiny', '--from', '01'])"
    environment = os.environ | {"PYTHONPATH": str(house.root)}
    work = house.root / "data/runs/tiny"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=house.root, env=environment)
    end = time.monotonic() + 60
    while not list(work.glob(".executing-*/source.ipynb")) and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert list(work.glob(".executing-*")), "it was killed while it executed a notebook"
    (work / ".executing-killed").mkdir()
    (work / "kept/01_count/.00000000000000000001").mkdir()
    assert house.command("run", "tiny") == 0
    house.executed()
    assert house.total() == 6
    left = [*work.glob(".executing-*"), *work.glob("kept/*/.[0-9]*")]
    assert left == []
    assert house.command("run", "tiny") == 0
    assert house.executed() == []


CHILD = """# %% tags=["parameters"]
run = "child"  # | Name of the run.

# %%
import subprocess
import sys
import time

subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("started", flush=True)
open("child-started.txt", "w").close()
time.sleep(60)
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_nothing_lives_on_when_a_run_is_killed(lived_in, jobs):
    """Neither the kernel nor what it has started: a worker that imports, in its place a sleep."""
    house = lived_in
    (house.root / "notebooks/05_child.py").write_text(CHILD)
    text = yaml.safe_dump({"title": "A run that starts a child", "notebooks": ["05_child"]})
    (house.root / "notebooks/runs/child.yml").write_text(text)
    sign = house.root / "child-started.txt"
    sign.unlink(missing_ok=True)
    mark = f"child-{jobs}"
    many = 1 if jobs == "2" else stages.MANY  # so that the second kernel is a copy of a server
    program = (
        "import sys; from georep_utils.__main__ import main; "
        "from georep_utils.workflow import stages; "
        f"stages.MANY = {many}; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "run", "child", "--jobs", jobs],
        cwd=house.root,
        env=os.environ | {"PYTHONPATH": str(house.root), kill_at_random.MARK: mark},
        stdout=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not sign.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert len(kill_at_random.alive(mark)) >= 3, "the run, its kernel, the child"
    process.kill()
    process.wait()
    assert kill_at_random.orphans(mark) == 0
    (house.root / "notebooks/runs/child.yml").unlink()


def test_a_process_whose_parent_ended_while_it_started_ends_too():
    program = (
        "import os, time; from georep_utils.workflow import stages; "
        "stages._end_with_parent(os.getppid() + 1); time.sleep(60)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=REPOSITORY, timeout=30, check=False)
    assert done.returncode == 1


def listening(process) -> set[str]:
    """The addresses on which a process and its children wait for callers."""
    found = set()
    with contextlib.suppress(psutil.Error):
        for one in [process, *process.children(recursive=True)]:
            for connection in one.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add(connection.laddr.ip)
    return found


@pytest.mark.long
def test_a_run_waits_for_callers_on_the_loopback_address_only(lived_in):
    """Kernels talk over TCP with the process that runs them, and with nobody else."""
    house = lived_in
    command = [sys.executable, "-m", "georep_utils", "run", "tiny", "--from", "01"]
    environment = os.environ | {"PYTHONPATH": str(house.root)}
    started = subprocess.Popen(command, cwd=house.root, env=environment, stdout=subprocess.DEVNULL)
    process = psutil.Process(started.pid)
    addresses = set()
    while started.poll() is None:
        addresses |= listening(process)
        time.sleep(0.05)
    assert started.returncode == 0 and addresses == {"127.0.0.1"}
    house.executed()


# ----------------------------------------------------------------------- runs of a reader's own


def test_a_variant_has_tables_and_pages_of_its_own(lived_in, capfd):
    house = lived_in
    assert house.command("run", "tiny") == 0
    assert house.command("run", "tiny", "--as", "twice", "-p", "sum.times=2") == 0
    assert house.total() == 6 and house.total("tiny--twice") == 12
    assert house.page("02_sum", "tiny--twice").cells[0].source.startswith("(tiny--twice-sum)=")
    house.executed()
    assert house.command("run", "tiny--twice") == 0
    assert house.executed() == [], "a variant is a run by its name"
    parts = pages.table_of_contents()["parts"]
    assert parts[1]["caption"] == "A tiny run: twice"
    assert house.command("clean", "tiny--twice") == 0
    assert "tiny--twice" not in runs.run_files() and "tiny" in runs.run_files()


def test_a_run_file_from_elsewhere_is_used_listed_and_shown_like_any_other(
    lived_in, tmp_path, capfd
):
    house = lived_in
    elsewhere = tmp_path / "mine.yml"
    elsewhere.write_text(yaml.safe_dump(RUN | {"title": "My own run", "count": {"size": 2}}))
    captions = [part["caption"] for part in pages.table_of_contents()["parts"]]
    assert captions == ["Tiny", "Your turn"], "a run without pages is not in the book"
    assert house.command("run", str(elsewhere), "--only", "01") == 0
    parts = pages.table_of_contents()["parts"]
    assert [part["caption"] for part in parts] == ["Tiny", "My own run", "Your turn"]
    assert parts[1]["chapters"] == [{"file": "book/runs/mine/01_count"}]
    assert house.page("01_count", "mine").cells[0].source.startswith("(mine-count)=")
    assert yaml.safe_load((house.root / "_toc.yml").read_text()) == TOC
    capfd.readouterr()
    assert house.command("list") == 0
    assert "My own run" in capfd.readouterr().out
    other = tmp_path / "deeper/mine.yml"
    other.parent.mkdir()
    other.write_text(elsewhere.read_text())
    assert house.command("run", str(other)) == 2
    assert "give one another name" in capfd.readouterr().err
    assert house.command("clean", "mine") == 0
    assert "mine" not in runs.run_files()


def test_list_and_clean(lived_in, capfd):
    house = lived_in
    house.write_run("other", title="Another run")
    assert house.command("run", "other", "--only", "01") == 0
    assert house.command("list") == 0
    lines = capfd.readouterr().out.splitlines()
    assert any(line.split()[:4] == ["tiny", "2", "of", "2"] for line in lines)
    assert any(line.split()[:4] == ["other", "1", "of", "2"] for line in lines)
    for run in ("tiny", "other"):
        (io.measurements_folder() / run).mkdir(parents=True)
    assert house.command("clean", "other") == 0
    assert [path.name for path in io.measurements_folder().iterdir()] == ["tiny"]
    assert not (house.root / "data/runs/other").exists()
    assert not (house.root / "book/runs/other").exists()
    assert (house.root / "notebooks/runs/other.yml").is_file()
    assert (house.root / "book/runs/tiny/01_count.ipynb").is_file(), "another run's pages must stay"


# ------------------------------------------------------------------------------------- the book


def test_a_page_of_earlier_text_or_code_is_named_and_not_refused(lived_in, capfd):
    house = lived_in
    assert house.command("run", "tiny") == 0
    notebook = house.root / "notebooks/02_sum.py"
    text = notebook.read_text()
    notebook.write_text(text + "\n# %% [markdown]\n# One more word.\n")
    capfd.readouterr()
    assert house.command("list") == 0
    assert f"02_sum is out of date: {stages.OTHER_CODE}" in capfd.readouterr().out
    assert inventory.refuse_stale() == ["02_sum of tiny"]
    notebook.write_text(text)
    assert inventory.refuse_stale() == []


def test_what_is_asked_is_checked_again_when_files_have_come(monkeypatch):
    checked = []
    notebooks = ["01_download", "02_extract", "03_distances"]
    of_run = stages._Stages(
        run={"name": "fetching"},
        paths=RunPaths("fetching"),
        given={name: {} for name in notebooks},
        overrides={},
        notebooks=None,
        start="01",
        before=lambda: checked.append(list(of_run.executed)),
        before_of=dict.fromkeys(notebooks, []),
        reads_of=dict.fromkeys(notebooks, []),
    )
    monkeypatch.setattr(stages, "stage_key", lambda notebook, given: "key")
    for notebook in notebooks:
        of_run.begin(notebook, lambda *task: object(), {})
    assert checked == [[], ["01_download"]]


def test_a_page_of_other_inputs_is_named_by_list_and_refused_by_book(lived_in, capfd):
    house = lived_in
    assert house.command("run", "tiny") == 0
    assert house.command("run", "tiny", "--only", "01", "-p", "count.size=2") == 0
    capfd.readouterr()
    assert house.command("list") == 0
    assert (
        "02_sum is out of date: data/runs/tiny/numbers.json has changed" in capfd.readouterr().out
    )
    assert house.command("book") == 2
    assert "02_sum of run tiny is out of date" in capfd.readouterr().err
    assert house.command("run", "tiny", "--only", "02") == 0
    assert house.command("book") == 2, "01 was made with other parameters than the last command's"
    assert "01_count of run tiny is out of date (other parameters" in capfd.readouterr().err
    assert house.command("run", "tiny") == 0
    assert house.command("list") == 0
    assert "out of date" not in capfd.readouterr().out


def test_a_notebook_that_is_only_shown_becomes_a_page_without_outputs_and_is_not_run(house):
    page = pages._shown_page("book/runs/training/00_shown")
    assert page.cells[0].source == "# Only shown"
    assert page.cells[1].source == "print(1 / 0)" and page.cells[1].outputs == []


@pytest.mark.slow
def test_the_book_is_built_strictly_once_and_survives_a_later_failure(lived_in, capfd):
    house = lived_in
    assert house.command("run", "tiny") == 0
    assert house.command("book") == 0
    index = house.root / "_build/html/book/index.html"
    built = index.stat().st_mtime_ns
    capfd.readouterr()
    assert house.command("book") == 0
    assert "up to date" in capfd.readouterr().out and index.stat().st_mtime_ns == built
    source = house.root / "book/index.md"
    text = source.read_text()
    source.write_text(text + "\nSee {ref}`nowhere`.\n")
    assert house.command("book") == 1
    error = capfd.readouterr().err
    assert "nowhere" in error and "the book was not built" in error
    assert index.stat().st_mtime_ns == built, "the earlier book stays"
    source.write_text(text + "\nMore.\n")
    assert house.command("book") == 0
    assert "More." in index.read_text()
    assert house.command("clean", "tiny") == 0
    assert house.command("book") == 0, "a book without that run"
    assert "See the sum." in " ".join(index.read_text().split())


def test_a_book_whose_prose_is_missing_is_refused_before_it_is_built(house, capfd):
    index = house.root / "book/index.md"
    text = index.read_text()
    index.unlink()
    try:
        assert house.command("book") == 2
        assert "the book names book/index, which is missing" in capfd.readouterr().err
    finally:
        index.write_text(text)
