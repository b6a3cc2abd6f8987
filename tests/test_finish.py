"""What figures, tables and pages gain when the book is built."""

import nbformat
import pytest

from georep_utils import figures
from georep_utils.workflow import finish

PAGE = """<html><head><title>T</title></head><body><article><h1>Measure</h1>
<p>In this chapter:</p><ul><li>a <b>dimension</b> is measured;</li><li>more</li></ul>
<img alt="a line" src="../_images/{stem}.svg" /><table><tr><td>1</td></tr></table>
</article></body></html>"""


def executed(folder, **kept):
    """A page with one figure, which kept what is given by type."""
    output = nbformat.v4.new_output("display_data", {finish.WIDE: "<svg>wide</svg>", **kept})
    cell = nbformat.v4.new_code_cell("figures.draw()", outputs=[output])
    cell.metadata["mystnb"] = {"figure": {"name": "tiny-fig-line", "caption": "A line."}}
    page = folder / "04_measure.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), page)
    return page


def test_the_types_are_those_of_the_figures():
    assert (finish.PHONE, finish.DATA) == (figures.PHONE, figures.DATA)


def test_a_figure_says_how_to_make_it_and_offers_its_data(tmp_path):
    page = executed(tmp_path, **{finish.PHONE: "<svg>slim</svg>", finish.DATA: "x,y\n1,2\n"})
    narrow = finish.prepare(page, "tiny")
    assert list(narrow.values()) == ["<svg>slim</svg>"]
    cell = nbformat.read(page, 4).cells[0]
    assert list(cell.outputs[0].data) == [finish.WIDE]
    first, line = cell.metadata["mystnb"]["figure"]["caption"].split("\n\n")
    assert first == "A line."
    assert "{download}`tiny-fig-line.csv <_drawn/tiny-fig-line.csv>`" in line
    assert line.endswith("`python -m georep_utils run tiny --only 04`")
    assert (tmp_path / "_drawn/tiny-fig-line.csv").read_text() == "x,y\n1,2\n"


def test_a_figure_drawn_from_pictures_offers_itself(tmp_path):
    page = executed(tmp_path, **{finish.PHONE: "<svg>slim</svg>"})
    finish.prepare(page, "tiny")
    assert (tmp_path / "_drawn/tiny-fig-line.svg").read_text() == "<svg>wide</svg>"


def built(folder, stem):
    (folder / "_images").mkdir()
    page = folder / "page.html"
    page.write_text(PAGE.format(stem=stem))
    return page


def test_a_page_chooses_between_two_pictures_by_its_width(tmp_path):
    page = built(tmp_path, "abc")
    finish.finish(tmp_path, {"abc": "<svg>slim</svg>"})
    assert 'srcset="../_images/abc-narrow.svg"><img alt="a line"' in page.read_text()
    assert (tmp_path / "_images/abc-narrow.svg").read_text() == "<svg>slim</svg>"


def test_a_picture_for_phones_without_a_wide_one_is_an_error(tmp_path):
    built(tmp_path, "abc")
    with pytest.raises(RuntimeError, match="have no wide picture"):
        finish.finish(tmp_path, {"other": "<svg/>"})


def test_a_page_has_a_description_and_its_tables_a_box(tmp_path):
    page = built(tmp_path, "abc")
    finish.finish(tmp_path, {})
    text = page.read_text()
    assert '<meta name="description" content="In this chapter: a dimension is measured">' in text
    assert 'tabindex="0" role="region" aria-label="Table 1"><table>' in text
