"""Samples as pictures and lines, in the shape of the rows that are asked for."""

import numpy as np
import pytest
from PIL import Image

from georep_utils.data import previews
from georep_utils.data.samples import Dataset

ROWS = np.array([[2, 0, 1], [1, 1, 2]])


def test_tokens_become_pictures_in_the_shape_of_the_rows():
    tokens = np.arange(12).reshape(3, 4) % 3
    data = Dataset("d", "tokens", tokens, palette=np.array([0, 100, 255]))
    drawn = previews.pictures(data, ROWS)
    assert drawn.shape == (2, 3, 2, 2) and drawn.dtype == np.uint8
    assert drawn[0, 1].tolist() == [[0, 100], [255, 0]]


def test_colours_of_the_palette_are_drawn_in_colour():
    palette = np.array([[-1.0, -1, -1], [1, 0, -1]])
    data = Dataset("d", "tokens", np.array([[0, 1, 1, 0]] * 3), palette=palette)
    drawn = previews.pictures(data, ROWS)
    assert drawn.shape == (2, 3, 2, 2, 3)
    assert drawn[0, 0, 0].tolist() == [[0, 0, 0], [255, 128, 0]]


def test_image_files_become_squares_of_one_size(tmp_path):
    files = []
    for i, size in enumerate([(80, 40), (30, 90), (64, 64)]):
        Image.new("RGB", size, (10 * i, 0, 0)).save(tmp_path / f"{i}.png")
        files.append(tmp_path / f"{i}.png")
    drawn = previews.pictures(Dataset("d", "image", files), ROWS)
    assert drawn.shape == (2, 3, 64, 64, 3)
    assert drawn[:, :, 5, 5, 0].tolist() == (10 * ROWS).tolist()


def test_a_long_text_is_cut_and_line_ends_become_spaces():
    data = Dataset("d", "text", ["one\ntwo  three", "x" * 500, "y z"])
    lines = previews.lines(data, ROWS)
    assert lines.shape == ROWS.shape
    assert lines[0, 1] == "one two three"
    assert lines[0, 2].startswith("xxx") and len(lines[0, 2]) < 100


def test_a_line_names_the_class_where_it_is_known():
    labels = np.array([1, 0, 1])
    named = Dataset("d", "protein", ["GG", "AC", "WW"], labels, ("good", "bad"))
    assert previews.lines(named, [0, 1]).tolist() == ["[bad] GG", "[good] AC"]
    numbered = Dataset("d", "protein", ["GG", "AC", "WW"], labels)
    assert previews.lines(numbered, [0, 1]).tolist() == ["[1] GG", "[0] AC"]


@pytest.mark.parametrize("names, expected", [(("a", "b"), ["a", "b"]), (None, ["0", "1"])])
def test_a_class_without_a_name_has_its_number(names, expected):
    data = Dataset("d", "text", ["x", "y"], np.array([0, 1]), names)
    assert previews.class_names(data) == expected
