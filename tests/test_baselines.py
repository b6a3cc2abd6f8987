"""The input as points: what each array knows of a sample, what it does not, and its labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_builders import TEXTS, build
from PIL import Image
from test_extraction import texts

from georep_utils import clouds
from georep_utils.data import baselines
from georep_utils.data.samples import Dataset
from georep_utils.geometry import overlap
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import UserError
from georep_utils.models import load

RNG = np.random.default_rng(0)
GREY = np.array([0.0, 85.0, 170.0, 255.0])
COLOURS = RNG.uniform(-1, 1, (6, 3))


def tokens(n=40, palette=GREY, **columns):
    inputs = np.random.default_rng(1).integers(0, len(palette), (n, 16))
    return Dataset("some images", "tokens", inputs, palette=palette, **columns)


def made(dataset, source=None):
    return {part.name: part.make() for part in baselines.of(dataset, source)}


# ------------------------------------------------------------------------------------------ images


def test_pixels_are_the_colours_of_the_tokens_and_a_histogram_counts_them():
    data = tokens()
    found = made(data)
    assert list(found) == ["pixels", "histogram"]
    assert np.array_equal(found["pixels"], GREY[data.inputs])
    assert found["histogram"][3, 2] == np.mean(data.inputs[3] == 2)
    assert {array.dtype for array in found.values()} == {np.dtype("float32")}


def test_coloured_pixels_have_three_numbers_each():
    data = tokens(palette=COLOURS)
    found = made(data)["pixels"]
    assert found.shape == (40, 48)
    assert np.allclose(found[5, 6:9], 127.5 * (COLOURS[data.inputs[5, 2]] + 1), atol=0.5)


def test_a_histogram_does_not_know_where_a_pixel_stands_and_pixels_do():
    data = tokens()
    moved = replace(data, inputs=data.inputs[:, RNG.permutation(16)])
    before, after = made(data), made(moved)
    assert np.array_equal(before["histogram"], after["histogram"])
    assert not np.array_equal(before["pixels"], after["pixels"])


def test_tokens_without_a_palette_have_a_histogram_only():
    found = made(tokens(palette=GREY).__class__("x", "tokens", tokens().inputs))
    assert list(found) == ["histogram"] and found["histogram"].shape == (40, 4)


def test_files_of_images_are_reduced_and_counted_in_eight_levels_a_channel(tmp_path):
    paths = []
    for i, colour in enumerate([(255, 0, 0), (0, 100, 31)]):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.new("RGB", (80, 50), colour).save(paths[-1])
    found = made(Dataset("files", "image", paths))
    assert found["pixels"].shape == (2, 3 * 32 * 32)
    assert np.array_equal(found["pixels"][0, :3], [255, 0, 0])
    assert found["histogram"].shape == (2, 24) and np.all(found["histogram"].sum(1) == 3)
    # Red of 255 in the last of the first eight; green of 100 in level 3, blue of 31 in level 0.
    assert np.flatnonzero(found["histogram"][0]).tolist() == [7, 8, 16]
    assert np.flatnonzero(found["histogram"][1]).tolist() == [0, 11, 16]


# -------------------------------------------------------------------------------------------- text


def test_words_know_no_order_and_no_case():
    found = baselines.words(["a slow film", "Film slow a", "its viewers", "a film"])
    assert np.allclose(found[0], found[1], atol=1e-6)
    assert not np.allclose(found[0], found[3], atol=1e-2)
    assert found[0] @ found[2] == pytest.approx(0)


def test_many_words_are_reduced_to_few_directions_the_same_every_time():
    letters = np.random.default_rng(2)
    many = [" ".join(f"w{i}" for i in letters.integers(0, 2000, 12)) for _ in range(700)]
    found = baselines.words(many)
    assert found.shape == (700, baselines.MOST_DIRECTIONS)
    assert np.array_equal(found, baselines.words(many))
    few = baselines.words(many[:50])
    assert few.shape[0] == 50 and few.shape[1] < 50


def test_texts_without_a_word_and_copies_can_be_searched():
    blank = ["", " ", "..", "..", "  "] + ["the same text"] * 30 + ["another one", "??"]
    found = baselines.words(blank)
    assert np.isfinite(found).all() and not found[0].any() and found[2].any()
    table = nearest_neighbors(found, maxk=5, range_max=2)
    assert np.all(table.distances[5:35, 1:] == 0)
    assert baselines.words(["", " "]).shape == (2, 1)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return load.source(str(build("bert", tmp_path_factory.mktemp("bert"))), device="cpu")


def test_the_embedding_is_the_mean_of_the_tokens_own_vectors(bert):
    model = bert.load()
    found = made(Dataset("some texts", "text", TEXTS), bert)
    assert list(found) == ["words", "embedding"]
    table = model.net.get_input_embeddings().weight
    for text, mean in zip(TEXTS, found["embedding"], strict=True):
        numbers = model.reader(text, add_special_tokens=False)["input_ids"]
        assert len(numbers) == len(text.split())
        with torch.inference_mode():
            assert np.allclose(mean, table[numbers].mean(0), atol=1e-6)


def test_the_embedding_does_not_know_the_order_of_words_and_a_layer_does(bert):
    texts = ["a film that moves slowly", "slowly moves that film a"]
    one, other = baselines.mean_embedding(bert.load(), texts)
    assert np.allclose(one, other, atol=1e-6)
    first_layer = bert.load().forward(texts)[1].numpy()
    assert not np.allclose(*first_layer, atol=1e-3)


def test_the_embedding_depends_on_the_weights(bert):
    recipes = [baselines.of(texts(), s)[1].recipe for s in (bert, bert.untrained(1))]
    assert recipes[0] != recipes[1]
    assert (
        baselines.of(texts(), bert)[0].recipe == baselines.of(texts(), bert.untrained(1))[0].recipe
    )


# ----------------------------------------------------------------------------------------- protein


def test_residues_and_dipeptides_of_a_known_sequence():
    shares = baselines.residues(["AACXa", "WWWW"])
    assert shares[0, [0, 1, 20]].tolist() == pytest.approx([3 / 5, 1 / 5, 1 / 5])
    assert shares[1, 18] == 1 and np.allclose(shares.sum(1), 1)
    pairs = baselines.dipeptides(["AACXA", "CA", "G"])
    assert pairs.shape == (3, 400)
    # AA, AC, CX, XA: two of four are pairs of amino acids.
    assert np.flatnonzero(pairs[0]).tolist() == [0, 1] and pairs[0, 0] == pytest.approx(1 / 4)
    assert pairs[1, 20] == 1 and not pairs[2].any()


def test_dipeptides_know_of_order_what_residues_do_not():
    sequences = ["ACDEFGHIKL", "LKIHGFEDCA"]
    assert np.array_equal(*baselines.residues(sequences))
    assert not np.array_equal(*baselines.dipeptides(sequences))


# --------------------------------------------------------------------------------- the cloud of it


def test_the_input_is_a_cloud_whose_layers_have_names_and_labels(root):
    data = tokens(labels=np.arange(40) % 4)
    cloud = clouds.represent_input(data, baselines.of(data))
    assert cloud.layer_names == ("pixels", "histogram") and cloud.layers == (0, 1)
    for layer, array in enumerate(made(data).values()):
        assert np.array_equal(cloud[layer], array)
    assert cloud.side("labels").tolist() == data.labels.tolist()
    found = clouds.find_neighbors(cloud, 5, 8, "cpu", progress=False)
    assert found.neighbors(1).indices.shape == (40, 6)


def test_the_input_is_found_again_by_samples_palette_and_code(root, monkeypatch):
    data = tokens()
    cloud = clouds.represent_input(data, baselines.of(data))
    with monkeypatch.context() as patch:
        patch.setattr(baselines, "token_pixels", lambda data: pytest.fail("made again"))
        assert clouds.represent_input(data, baselines.of(data)) == cloud
    brighter = replace(data, palette=GREY / 2)
    fewer = data.take(np.arange(39))
    others = [clouds.represent_input(other, baselines.of(other)) for other in (brighter, fewer)]
    with monkeypatch.context() as patch:
        patch.setattr(baselines, "code_digest", lambda *names: "other code")
        others.append(clouds.represent_input(data, baselines.of(data)))
    assert len({cloud.folder, *(other.folder for other in others)}) == 4


def test_an_array_that_has_not_a_row_a_sample_is_refused(root):
    data = tokens()
    wrong = baselines.Baseline("mine", lambda: np.zeros((39, 2)), {})
    with pytest.raises(UserError, match=r"mine has shape \(39, 2\); expected a row for each of 40"):
        clouds.represent_input(data, [wrong])
    with pytest.raises(UserError, match="no baseline of some images"):
        clouds.represent_input(data, [])
    assert not list((root / "data/clouds").glob("[!.]*"))


def test_labels_that_depend_on_the_input_are_found_and_shuffled_ones_overlap_at_chance():
    labels = np.repeat(np.arange(4), 100)
    inputs = np.random.default_rng(3).integers(0, 2, (400, 16)) * 2 + 0
    inputs[:, :8] = labels[:, None]
    for array in made(Dataset("x", "tokens", inputs, labels, palette=GREY)).values():
        table = nearest_neighbors(array, maxk=10, range_max=2)
        assert overlap.label_overlap(table, labels, 10) > 0.5
        shuffled = np.random.default_rng(4).permutation(labels)
        chance = overlap.label_overlap(table, shuffled, 10)
        assert chance == pytest.approx(99 / 399, abs=0.05)
