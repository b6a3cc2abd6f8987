"""Pixels become the nearest palette entries and back, and rows stay on disk until they are read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from georep_utils.data.images import (
    Rows,
    check_tokens,
    quantize,
    read_labels,
    read_palette,
    row_blocks,
    square_image,
    to_pixels,
)
from georep_utils.io import UserError


@given(arrays(np.uint8, (5, 4, 3)), st.integers(0, 1000))
def test_every_pixel_gets_its_nearest_colour(pixels, seed):
    palette = np.random.default_rng(seed).uniform(-1, 1, (20, 3))
    tokens = quantize(pixels, palette)
    distances = ((pixels[..., None, :] / 127.5 - 1 - palette) ** 2).sum(-1)
    np.testing.assert_array_equal(tokens, distances.argmin(-1))


def test_colours_and_grey_levels_survive_there_and_back():
    rng = np.random.default_rng(0)
    colors = rng.uniform(-1, 1, (512, 3))
    greys = np.arange(16) * 17.0
    for palette, shape in ((colors, (6, 32, 32)), (greys, (6, 14, 14))):
        tokens = rng.integers(0, len(palette), shape)
        pixels = to_pixels(tokens.reshape(6, -1), palette)
        again = to_pixels(quantize(pixels, palette).reshape(6, -1), palette)
        np.testing.assert_array_equal(again, pixels)


def test_an_image_is_cut_to_its_central_square_and_averaged(tmp_path):
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = [[[10, 0, 0], [30, 0, 0], [50, 0, 0], [70, 0, 0]]]
    pixels[:, :2] = 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    small = square_image(tmp_path / "x.png", 2)
    assert small.shape == (2, 2, 3) and small[:, :, 0].tolist() == [[20, 60], [20, 60]]


def test_a_16_bit_image_does_not_saturate(tmp_path):
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    assert np.array_equal(square_image(tmp_path / "deep.png", 16)[..., 0].ravel(), np.arange(256))


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "x.png").write_text("no image")
    with pytest.raises(UserError, match="x.png can't be read as an image"):
        square_image(tmp_path / "x.png", 8)


@pytest.mark.parametrize(
    "palette", [np.zeros((5, 4)), np.full((5, 3), 255.0), np.full((5, 3), np.nan), np.zeros(5)]
)
def test_what_is_no_palette_is_named(tmp_path, palette):
    np.save(tmp_path / "p.npy", palette)
    with pytest.raises(UserError, match="p.npy"):
        read_palette(tmp_path / "p.npy")


def test_rows_are_read_when_they_are_asked_for(tmp_path):
    tokens = np.arange(60).reshape(20, 3)
    np.save(tmp_path / "x.npy", tokens)
    rows = Rows(tmp_path / "x.npy", np.array([7, 2, 19]))
    assert len(rows) == 3 and rows.shape == (3, 3) and rows.dtype == tokens.dtype
    np.testing.assert_array_equal(rows[1:], tokens[[2, 19]])
    assert not isinstance(rows[:2], np.memmap)
    np.save(tmp_path / "x.npy", tokens + 1)
    np.testing.assert_array_equal(rows[0], tokens[7] + 1)


def test_blocks_together_are_the_rows(monkeypatch):
    monkeypatch.setattr("georep_utils.data.images.BLOCK_BYTES", 100)
    rows = np.arange(70).reshape(35, 2)
    blocks = list(row_blocks(rows))
    assert len(blocks) > 3 and [start for start, _ in blocks] == list(range(0, 35, 6))
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), rows)


def test_labels_are_read_in_blocks_and_a_late_fault_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("georep_utils.data.images.BLOCK_BYTES", 400)
    labels = np.random.default_rng(1).integers(0, 10, 57)
    one_hot = np.eye(10)[labels]
    np.save(tmp_path / "y.npy", one_hot)
    assert read_labels(tmp_path / "y.npy").tolist() == labels.tolist()
    wrong_rows = (
        2 * one_hot[0],
        np.zeros(10),
        np.eye(10)[0] + np.eye(10)[1],
        np.full(10, 0.1),
        np.full(10, np.nan),
    )
    for wrong in wrong_rows:
        one_hot[51] = wrong
        np.save(tmp_path / "y.npy", one_hot)
        with pytest.raises(UserError, match="row 51 .* is not one-hot"):
            read_labels(tmp_path / "y.npy")


@pytest.mark.parametrize("wrong", [-1, 0.5, np.nan, np.inf, 1e300])
def test_a_number_that_is_no_class_is_named(tmp_path, wrong):
    np.save(tmp_path / "y.npy", np.array([0, 3, wrong, 1]))
    with pytest.raises(UserError, match="row 2 .* is not a class number"):
        read_labels(tmp_path / "y.npy")


def test_tokens_are_checked_in_every_block(monkeypatch):
    monkeypatch.setattr("georep_utils.data.images.BLOCK_BYTES", 64)
    tokens = np.zeros((20, 4), np.uint8)
    check_tokens(tokens, 4, 16, "x.npy")
    tokens[19, 3] = 16
    with pytest.raises(UserError, match="x.npy holds tokens 0..16; expected 0..15"):
        check_tokens(tokens, 4, 16, "x.npy")
