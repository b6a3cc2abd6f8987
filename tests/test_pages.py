"""What the book's prose takes from the runs when it is built."""

import ast
import itertools
import re
import shutil

import jupytext
import nbformat
import pytest
import yaml
from jinja2 import Template

from georep_utils import io
from georep_utils.io import REPOSITORY, UserError
from georep_utils.workflow import launch, pages, pdf

FIGURE = """<!-- figure: tiny/seen.svg
:name: fig-seen
:alt: a line

What was seen.
-->
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Staged prose, and the results of a run."""
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    monkeypatch.setattr(pages, "REPOSITORY", tmp_path)
    results = io.root() / "book/results/tiny"
    results.mkdir(parents=True)
    (results / "total.csv").write_text('name,"a|b"\n"*x* <b> $y$ {{z}}",1\n')
    (results / "seen.svg").write_text("<svg/>")
    (tmp_path / "staged/book").mkdir(parents=True)
    return tmp_path


def completed(place, text):
    path = place / "staged/book/index.md"
    path.write_text(text)
    pages._complete(path, place / "staged", {})
    return path.read_text()


def test_a_table_of_a_run_takes_the_place_of_its_comment(place):
    text = completed(place, f"Before.\n\n<!-- table: tiny/total.csv -->\n\nThen.\n\n{FIGURE}")
    head, rule, row = [line for line in text.splitlines() if line.startswith("|")]
    assert head == r"| name | a\|b |" and rule == "| --- | --- |"
    assert row == r"| \*x\* \<b\> \$y\$ \{\{z\}\} | 1 |"
    assert text.startswith("Before.\n\n|") and "Then." in text


def test_a_figure_of_a_run_is_copied_and_keeps_its_options(place):
    text = completed(place, FIGURE)
    assert "```{figure} _results/tiny/seen.svg\n:name: fig-seen\n:alt: a line\n\nWhat" in text
    assert (place / "staged/book/_results/tiny/seen.svg").read_text() == "<svg/>"


def test_what_no_run_has_left_is_named_with_the_run_that_makes_it(place):
    text = completed(place, FIGURE.replace("tiny/", "paper/"))
    assert "a figure that the run paper makes: `python -m georep_utils run paper`" in text
    assert "<!--" not in text and "fig-seen" not in text


def test_prose_cannot_show_what_is_no_result(place):
    with pytest.raises(UserError, match="no file of a run's results"):
        completed(place, "<!-- table: ../secrets.csv -->\n")


def test_an_empty_table_is_refused(place):
    (place / "book/results/tiny/total.csv").write_text("")
    with pytest.raises(UserError, match="is empty"):
        completed(place, "<!-- table: tiny/total.csv -->\n")


def test_the_address_of_the_repository_stands_in_one_place(place):
    (place / "CITATION.cff").write_text("repository-code: https://example.org/mine\n")
    assert completed(place, "git clone {{repository}} here\n") == (
        "git clone https://example.org/mine here\n"
    )


def test_the_readme_names_the_same_address_and_findings():
    about = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert f"git clone {about['repository-code']} " in readme
    from georep_utils.paper.findings import FINDINGS

    for key, text in FINDINGS.items():
        assert f"{key}. {text}" in readme


CONFIG = {"html": {"home_page_in_navbar": True}, "sphinx": {"config": {"numfig": True}}}


def test_an_address_on_github_gives_every_button_and_any_other_none():
    assert pages.with_repository(CONFIG, "https://example.org/georep") == CONFIG
    found = pages.with_repository(CONFIG, "https://github.com/someone/georep")
    options = found["sphinx"]["config"]["html_theme_options"]
    assert options["repository_url"] == "https://github.com/someone/georep"
    assert options["use_issues_button"] and options["use_edit_page_button"]
    assert {"binderhub_url", "colab_url"} < set(options["launch_buttons"])
    assert found["sphinx"]["config"]["numfig"] is True
    assert "html_theme_options" not in CONFIG["sphinx"]["config"]


def test_the_button_for_an_edit_leads_to_the_script_of_a_chapter():
    found = pages.with_repository(CONFIG, "https://github.com/someone/georep")
    template = found["sphinx"]["config"]["html_context"]["edit_page_url_template"]

    def edited(pagename, suffix):
        return Template(template).render(pagename=pagename, file_name=f"{pagename}{suffix}")

    main = "https://github.com/someone/georep/edit/main"
    assert edited("book/runs/igpt-mini/04_x", ".ipynb") == f"{main}/notebooks/04_x.py"
    assert edited("book/rerun", ".md") == f"{main}/book/rerun.md"


def test_chapters_have_the_numbers_of_their_notebooks():
    toc = yaml.safe_load((REPOSITORY / "_toc.yml").read_text(encoding="utf-8"))
    numbered = [part for part in toc["parts"] if part.get("numbered")]
    files = [chapter["file"] for part in numbered for chapter in part["chapters"]]
    numbers = [int(file.rpartition("/")[2].partition("_")[0]) for file in files]
    assert numbers[:11] == list(range(1, 12))
    assert numbers == sorted(numbers)


def test_what_is_made_from_code_takes_the_place_of_its_comment(place):
    text = completed(place, "<!-- made: effects -->\n")
    assert "*cloud*\n: representations are read again" in text
    with pytest.raises(UserError, match="nothing is made under the name efects"):
        completed(place, "<!-- made: efects -->\n")


def test_references_to_figures_of_runs_that_were_not_executed_become_text(place):
    runs = place / "notebooks/runs"
    runs.mkdir(parents=True)
    staged = place / "staged/book/index.md"
    staged.write_text("{numref}`fig-seen`, {ref}`it <fig-seen>` and {numref}`fig-lost`\n")
    (place / "book").mkdir(exist_ok=True)
    (place / "book/index.md").write_text(FIGURE)
    pages._loosen_references(place / "staged")
    assert staged.read_text() == "*fig-seen*, it and {numref}`fig-lost`\n"


def test_a_launched_page_has_one_cell_in_front_that_brings_its_repository():
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    for _ in range(2):
        page = launch.launchable(page, "igpt-mini", "https://github.com/someone/georep")
    assert [cell.source for cell in page.cells][1:] == ["1 + 1"]
    first = page.cells[0].source
    assert "!git clone --quiet --branch launch https://github.com/someone/georep georep" in first
    compile("\n".join(line.replace("!", "pass  # ") for line in first.splitlines()), "cell", "exec")


def test_the_book_is_there_at_every_step_of_another_build(place, monkeypatch):
    """Even where a build was killed when it had put its pages in place and not yet said so."""
    numbers = itertools.count(1)

    def write_pages(source, build, builder="html"):
        output = build / "next/output/_build/html"
        output.mkdir(parents=True)
        (output / "index.html").write_text(f"build {next(numbers)}")

    monkeypatch.setattr(pages, "table_of_contents", dict)
    monkeypatch.setattr(pages, "stage", lambda toc, source, made: source.mkdir(parents=True) or {})
    monkeypatch.setattr(pages, "run_jupyter_book", write_pages)
    monkeypatch.setattr(pages, "finish", lambda built, narrow: None)
    html = pages.build_html()
    (place / "_build/built.json").unlink()
    (place / "_build/.html-999999").symlink_to("html-of-a-build-that-was-killed")
    remove = shutil.rmtree

    def watched(path, **options):
        remove(path, **options)
        assert (html / "index.html").is_file(), f"no book after {path} was removed"

    monkeypatch.setattr(shutil, "rmtree", watched)
    assert (pages.build_html() / "index.html").read_text() == "build 2"
    left = [path.name for path in (place / "_build").glob("*html-*")]
    assert len(left) == 1 and html.resolve().name == left[0]


def formats_of_tables(notebook):
    """The calls of a notebook that say how the cells of a styled table are written."""
    cells = jupytext.read(notebook).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Attribute)]
    return [
        call
        for call in named
        if call.func.attr == "format" and not isinstance(call.func.value, ast.Constant)
    ]


@pytest.mark.parametrize(
    "notebook", sorted((REPOSITORY / "notebooks").glob("[0-9]*.py")), ids=lambda path: path.stem
)
def test_words_in_a_styled_table_are_text_and_no_html(notebook):
    """One format for all cells is for numbers; a table with words has to be escaped."""
    for call in formats_of_tables(notebook):
        for_numbers = call.args and isinstance(call.args[0], ast.Constant)
        escapes = [word.value.value for word in call.keywords if word.arg == "escape"]
        assert for_numbers or escapes == ["html"], ast.unparse(call)


@pytest.mark.parametrize(
    "notebook", sorted((REPOSITORY / "notebooks").glob("[0-9]*.py")), ids=lambda path: path.stem
)
def test_no_line_of_prose_begins_a_cell(notebook):
    """A line of a paragraph that begins with a percent sign would cut the sentence in two."""
    lines = notebook.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"#\s+%(?!%)", line)] == []


@pytest.mark.parametrize(
    "notebook", sorted((REPOSITORY / "notebooks").glob("[0-9]*.py")), ids=lambda path: path.stem
)
def test_a_number_of_the_prose_has_a_name_of_its_own(notebook):
    """Of two values with one name, the second would stand in both sentences."""
    code = [c.source for c in jupytext.read(notebook).cells if c.cell_type == "code"]
    nodes = list(ast.walk(ast.parse("\n".join(code))))
    given = [(n.targets[0], n.value) for n in nodes if isinstance(n, ast.Assign)]
    given += [(n.target, n.value) for n in nodes if isinstance(n, ast.AugAssign)]
    glued = [value for target, value in given if getattr(target, "id", "") == "numbers"]
    names = [key.value for value in glued for key in getattr(value, "keys", [])]
    assert len(names) == len(set(names))


def test_a_page_to_print_whose_pictures_are_elsewhere_is_refused(tmp_path):
    """They were once, and the PDF had neither figures nor style."""
    page = tmp_path / "whole.html"
    page.write_text('<img src="_images/a%20b.svg"><script src="_static/x.js?digest=1"></script>')
    for name in ("_images/a b.svg", "_static/x.js"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pdf._require_files_of(page)
    (tmp_path / "_static/x.js").unlink()
    with pytest.raises(RuntimeError, match="asks for _static/x.js"):
        pdf._require_files_of(page)
