"""Runs are data: what a run file may say, which stages run again, what a failure leaves behind.

A small house of its own (the rooms of the pipeline, three tiny notebooks, a few run files) stands in a temporary folder.
"""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ("__init__", "__main__", "paths", "pages", "pipeline", "runs")

FIRST = """# %% [markdown]
# ({{run}}-count)=
# # Count for {{run}}

# %% tags=["parameters"]
run = "tiny"
size = 3
rate = 0.5
words = "plain"

# %%
from pathlib import Path
with open("log.txt", "a") as log:
    log.write("count ")
Path(f"{run}-numbers.txt").write_text(" ".join(str(i) for i in range(size)))
print(f"counted {size}")
"""

SECOND = """# %% [markdown]
# ({{run}}-sum)=
# # Add up

# %% tags=["parameters"]
run = "tiny"
times = 1
fail = False

# %%
with open("log.txt", "a") as log:
    log.write("sum ")
if fail:
    raise ValueError("told to fail")
total = times * sum(int(word) for word in open(f"{run}-numbers.txt").read().split())
print(f"total {total}")
"""

TOC = {
    "format": "jb-book",
    "root": "book/index",
    "parts": [
        {"caption": "Tiny", "chapters": [{"file": "book/runs/tiny/01_count"}, {"file": "book/runs/tiny/02_sum"}]},
        {"caption": "Your turn", "chapters": [{"file": "book/runs/training/00_shown"}]},
    ],
}
RUN = {"title": "A tiny run", "notebooks": ["01_count", "02_sum"], "count": {"size": 4}}


def build_house(root: Path):
    """The rooms of the pipeline copied into `root` with notebooks and runs; its package, imported under another name."""
    for folder in ("georep_utils", "notebooks/runs", "book"):
        (root / folder).mkdir(parents=True)
    for room in ROOMS:
        shutil.copy(REPOSITORY / "georep_utils" / f"{room}.py", root / "georep_utils")
    (root / "notebooks/01_count.py").write_text(FIRST)
    (root / "notebooks/02_sum.py").write_text(SECOND)
    (root / "notebooks/00_shown.py").write_text("# %% [markdown]\n# # Only shown\n\n# %%\nprint(1 / 0)\n")
    (root / "notebooks/runs/tiny.yml").write_text(yaml.safe_dump(RUN))
    (root / "_toc.yml").write_text(yaml.safe_dump(TOC))
    (root / "_config.yml").write_text("title: Tiny\nonly_build_toc_files: true\nexecute:\n  execute_notebooks: 'off'\n")
    (root / "book/index.md").write_text("# A tiny book\n\nSee {ref}`tiny-sum`.\n")
    name = f"house_{abs(hash(root))}"
    spec = importlib.util.spec_from_file_location(
        name, root / "georep_utils/__init__.py", submodule_search_locations=[str(root / "georep_utils")]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"{name}.pipeline"), importlib.import_module(f"{name}.__main__")


class House:
    def __init__(self, root: Path):
        self.root = root
        self.pipeline, self.main = build_house(root)

    def command(self, *arguments: str) -> int:
        return self.main.main(list(arguments))

    def executed(self) -> list[str]:
        """The stages whose code ran since this was last asked."""
        log = self.root / "log.txt"
        words = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return words

    def page(self, notebook: str, run: str = "tiny"):
        return nbformat.read(self.root / f"book/runs/{run}/{notebook}.ipynb", 4)

    def write_run(self, name: str, **content) -> None:
        (self.root / f"notebooks/runs/{name}.yml").write_text(yaml.safe_dump(RUN | content))


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return House(tmp_path_factory.mktemp("house") / "root")


@pytest.fixture(scope="module")
def lived_in(house):
    """The house after one run of `tiny`."""
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
        (["clean", "tinny"], "did you mean tiny?"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_before_anything_runs(house, capfd, arguments, expected):
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
    ],
)
def test_a_run_file_that_cannot_be_used_says_why(house, tmp_path, capfd, content, expected):
    path = tmp_path / "mine.yml"
    path.write_text(content)
    assert house.command("run", str(path)) == 2
    error = capfd.readouterr().err
    assert expected in error and error.count("\n") == 1
    assert house.executed() == []


@pytest.mark.parametrize("name", ["..", ".", "", "/tmp/elsewhere", "a/b", "../up", ".hidden", 7, None])
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


def test_a_whole_number_may_stand_for_a_real_one_and_null_for_a_number(house):
    run = house.pipeline.read_run("tiny")
    given = house.pipeline.parameters_of(run, {"count.rate": 2, "count.size": None})
    assert given["01_count"]["rate"] == 2
    assert given["01_count"]["size"] is None


def test_an_empty_section_means_the_defaults(house):
    run = house.pipeline.read_run("tiny") | {"count": None, "shared": None}
    assert house.pipeline.parameters_of(run, {"count.size": 7})["01_count"] == {"run": "tiny", "size": 7}
    assert house.pipeline.parameters_of(run)["01_count"] == {"run": "tiny"}


@pytest.mark.parametrize("words", [["run", "tiny", "-p", "size"], ["run", "tiny", "-p", "size=[1"], ["frobnicate"], []])
def test_a_command_line_that_cannot_be_read_exits_with_2(house, words, capfd):
    with pytest.raises(SystemExit) as stopped:
        house.command(*words)
    assert stopped.value.code == 2
    assert "Traceback" not in capfd.readouterr().err


def test_a_run_leaves_pages_with_its_labels_and_one_cell_of_the_values_used(lived_in):
    page = lived_in.page("01_count")
    assert page.cells[0].source.startswith("(tiny-count)=")
    assert not any("{{" in cell.source for cell in page.cells)
    tagged = [cell for cell in page.cells if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", []))]
    assert [cell.source.splitlines() for cell in tagged] == [
        ["run = 'tiny'", "size = 4", "rate = 0.5", "words = 'plain'"]
    ]
    assert "papermill" not in json.dumps(page)
    assert page.cells[-1].outputs[0].text == "counted 4\n"


def test_a_kernel_says_nothing_that_is_not_the_notebooks(lived_in, capfd):
    assert lived_in.command("run", "tiny", "--only", "02", "--from", "02") == 0
    lived_in.executed()
    assert capfd.readouterr().err == ""


def test_only_the_stages_that_a_change_touches_run_again(lived_in, capfd):
    house = lived_in
    assert house.command("run", "tiny") == 0
    assert "nothing had changed" in capfd.readouterr().out
    assert house.executed() == []
    assert house.command("run", "tiny", "-p", "sum.times=2") == 0
    assert house.executed() == ["sum"]
    assert house.page("02_sum").cells[-1].outputs[0].text == "total 12\n"
    assert house.command("run", "tiny", "-p", "sum.times=2", "-p", "count.size=3") == 0
    assert house.executed() == ["count", "sum"]
    assert house.command("run", "tiny") == 0
    assert house.executed() == ["count", "sum"]


def test_the_key_of_a_stage_follows_its_notebook_its_rooms_and_the_files_its_parameters_name(house, tmp_path):
    key = house.pipeline.stage_key
    before = key("01_count", {"size": 3}, "")
    assert key("01_count", {"size": 3}, "") == before
    assert key("01_count", {"size": 4}, "") != before
    assert key("01_count", {"size": 3}, "another stage before") != before
    named = tmp_path / "input.txt"
    named.write_text("one")
    first = key("01_count", {"words": str(named)}, "")
    named.write_text("two")
    assert key("01_count", {"words": str(named)}, "") != first
    source = house.root / "notebooks/01_count.py"
    text = source.read_text()
    room = house.root / "georep_utils/helper.py"
    try:
        source.write_text(text + "\n# %%\nfrom georep_utils import helper\n")
        assert key("01_count", {"size": 3}, "") != before
        room.write_text("value = 1\n")
        with_room = key("01_count", {"size": 3}, "")
        room.write_text("value = 2\n")
        assert key("01_count", {"size": 3}, "") != with_room
    finally:
        source.write_text(text)
        room.unlink(missing_ok=True)
    assert key("01_count", {"size": 3}, "") == before


def test_a_failed_cell_promotes_nothing_is_named_and_keeps_the_earlier_page(lived_in, capfd):
    house = lived_in
    assert house.command("run", "tiny") == 0
    before = (house.root / "book/runs/tiny/02_sum.ipynb").read_bytes()
    assert house.command("run", "tiny", "-p", "sum.fail=true") == 1
    error = capfd.readouterr().err.splitlines()[-1]
    kept = "data/runs/tiny/executed/02_sum.failed.ipynb"
    assert error.startswith("failed: 02_sum of run tiny") and "ValueError: told to fail" in error and kept in error
    assert (house.root / kept).is_file()
    assert (house.root / "book/runs/tiny/02_sum.ipynb").read_bytes() == before
    house.executed()
    assert house.command("run", "tiny") == 0
    assert house.executed() == ["sum"], "a failed stage must run again"


def test_a_users_run_file_becomes_a_part_of_the_book(lived_in):
    house = lived_in
    house.write_run("mine", title="My own run", count={"size": 2})
    captions = [part["caption"] for part in house.pipeline.table_of_contents()["parts"]]
    assert captions == ["Tiny", "Your turn"], "a run without pages is not in the book"
    assert house.command("run", "mine", "--only", "01") == 0
    parts = house.pipeline.table_of_contents()["parts"]
    assert [part["caption"] for part in parts] == ["Tiny", "My own run", "Your turn"]
    assert parts[1]["chapters"] == [{"file": "book/runs/mine/01_count"}]
    assert house.page("01_count", "mine").cells[0].source.startswith("(mine-count)=")
    assert yaml.safe_load((house.root / "_toc.yml").read_text()) == TOC


def test_list_and_clean(lived_in, capfd):
    house = lived_in
    house.write_run("other", title="Another run")
    assert house.command("run", "other", "--only", "01") == 0
    assert house.command("list") == 0
    lines = capfd.readouterr().out.splitlines()
    assert any(line.split()[:4] == ["tiny", "2", "of", "2"] and line.endswith("A tiny run") for line in lines)
    assert any(line.split()[:4] == ["other", "1", "of", "2"] for line in lines)
    assert house.command("clean", "other") == 0
    assert not (house.root / "data/runs/other").exists() and not (house.root / "book/runs/other").exists()
    assert (house.root / "notebooks/runs/other.yml").is_file()
    assert (house.root / "book/runs/tiny/01_count.ipynb").is_file(), "another run's pages must stay"


def test_a_notebook_that_is_only_shown_becomes_a_page_without_outputs_and_is_not_run(house):
    sys.modules[house.pipeline.__name__].show("book/runs/training/00_shown")
    page = house.page("00_shown", "training")
    assert page.cells[0].source == "# Only shown"
    assert page.cells[1].source == "print(1 / 0)" and page.cells[1].outputs == []


def test_a_book_with_a_missing_page_is_refused_before_it_is_built(tmp_path, capfd):
    house = House(tmp_path / "root")
    assert house.command("book") == 2
    assert "the book names book/runs/tiny/01_count" in capfd.readouterr().err
    assert not (house.root / "_build").exists()


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
