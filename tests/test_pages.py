"""What the book's prose takes from the runs when it is built."""

import pytest
import yaml

from georep_utils import io
from georep_utils.io import REPOSITORY, UserError
from georep_utils.workflow import pages

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
