"""Samples arrive in the authors' order, with the right labels, and what is wrong is named before any work."""

import gzip
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from georep_utils.data import datasets, fasta as proteins
from georep_utils.data.datasets import Dataset
from georep_utils.io import UserError
from georep_utils.data.images import Rows, quantize, read_labels, to_pixels

SCOPE = """>d1dlwa_ a.1.1.1 (A:) Protozoan/bacterial hemoglobin {Ciliate [TaxId: 5885]}
slfeqlggqa
avqavtaqf
>d2gkma_ a.1.1.1 (A:) automated matches
gllsrlrk
>d1s69a_ a.1.1.2 (A:) Myoglobin
mvlsegew
>d1phna_ a.1.2.1 (A:) Phycocyanin
mktpitea
>d1aaaa_ b.66.1.1 (A:) Propeller
acdefghxx
"""


def line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------ OpenAI's arrays


@pytest.fixture
def openai(tmp_path):
    """Arrays as OpenAI publishes them: int64 tokens, one-hot labels, ten classes in random order."""
    rng = np.random.default_rng(0)
    (tmp_path / "datasets").mkdir()
    tokens, labels = rng.integers(0, 512, (200, 1024)), rng.integers(0, 10, 200)
    np.save(tmp_path / "datasets/imagenet_trX.npy", tokens)
    np.save(tmp_path / "datasets/imagenet_trY.npy", np.eye(10, dtype=np.float32)[labels])
    return tmp_path, tokens, labels


def test_the_first_n_images_of_each_class_come_class_by_class(openai):
    data_dir, tokens, labels = openai
    dataset = datasets.load("imagenet32", "train", n_per_class=3, data_dir=data_dir, classes=[7, 2, 4])
    expected = np.concatenate([np.flatnonzero(labels == c)[:3] for c in (7, 2, 4)])
    assert dataset.ids.tolist() == expected.tolist()
    assert dataset.labels.tolist() == [7, 7, 7, 2, 2, 2, 4, 4, 4]
    assert dataset.inputs.shape == (9, 1024)
    np.testing.assert_array_equal(dataset.inputs[:], tokens[expected])
    np.testing.assert_array_equal(dataset.inputs[2:5], tokens[expected[2:5]])
    np.testing.assert_array_equal(dataset.take([8, 0]).inputs[:], tokens[expected[[8, 0]]])


def test_rows_stay_on_disk_until_they_are_asked_for(openai):
    data_dir, tokens, _ = openai
    dataset = datasets.load("imagenet32", "train", data_dir=data_dir, classes="all")
    assert isinstance(dataset.inputs, Rows) and len(dataset) == 200
    assert len(pickle.dumps(dataset)) < tokens.nbytes / 50
    assert not isinstance(dataset.inputs[:2], np.memmap)


def test_label_numbers_serve_as_well_as_one_hot_labels(openai):
    data_dir, _, labels = openai
    one_hot = datasets.load("imagenet32", "train", data_dir=data_dir, classes="all")
    np.save(data_dir / "datasets/imagenet_trY.npy", labels)
    assert (
        datasets.load("imagenet32", "train", data_dir=data_dir, classes="all").labels.tolist()
        == one_hot.labels.tolist()
    )


def test_labels_are_read_in_blocks_and_a_late_fault_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("georep_utils.tokens.BLOCK_BYTES", 400)
    labels = np.random.default_rng(1).integers(0, 10, 57)
    one_hot = np.eye(10)[labels]
    np.save(tmp_path / "y.npy", one_hot)
    assert read_labels(tmp_path / "y.npy").tolist() == labels.tolist()
    for wrong in (2 * one_hot[0], np.zeros(10), np.eye(10)[0] + np.eye(10)[1], np.full(10, 0.1)):
        one_hot[51] = wrong
        np.save(tmp_path / "y.npy", one_hot)
        with pytest.raises(UserError, match="row 51 .* is not one-hot"):
            read_labels(tmp_path / "y.npy")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, y: (x[:, :100], y), r"int64 of shape \(200, 100\); expected whole numbers of shape \(N, 1024\)"),
        (lambda x, y: (x + 400, y), "tokens 400..911; expected 0..511"),
        (lambda x, y: (x - 1, y), "tokens -1..510"),
        (lambda x, y: (x / 512, y), "float64 of shape .* expected whole numbers"),
        (lambda x, y: (x, y[:50]), "200 rows and imagenet_trY.npy 50"),
        (lambda x, y: (x, y[:, :, None]), "expected numbers in 1 or 2 dimensions"),
        (lambda x, y: (x, y.argmax(1) - 1), "is not a class number"),
        (lambda x, y: (x, y.astype(object)), "can't be read as an array"),
    ],
)
def test_arrays_that_are_not_what_they_should_be_are_named(openai, change, message):
    data_dir, tokens, labels = openai
    x, y = change(tokens, np.eye(10)[labels])
    np.save(data_dir / "datasets/imagenet_trX.npy", x)
    np.save(data_dir / "datasets/imagenet_trY.npy", y, allow_pickle=True)
    with pytest.raises(UserError, match=message) as caught:
        datasets.load("imagenet32", "train", data_dir=data_dir, classes="all")
    line(caught)


def test_absent_files_classes_and_splits_are_named(openai):
    data_dir = openai[0]
    for options, message in (
        ({"split": "valid"}, "imagenet_vaX.npy is missing; put it at"),
        ({"split": "train", "classes": [3, 99]}, "class 99 has no sample"),
        ({"split": "train", "classes": [3, 3]}, "name one class twice"),
        ({"split": "train", "classes": ["cat"]}, "something unexpected"),
        ({"split": "training"}, "split 'training' is not known; expected one of train, valid, test"),
        ({"split": "train", "n_per_class": 0}, "n_per_class is 0"),
        ({"split": "train", "colour": 1}, "no option 'colour'; expected one of n_px, n_vocab"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            datasets.load("imagenet32", data_dir=data_dir, **options)
        line(caught)


# ------------------------------------------------------------------------------------------------ bundled images


def test_bundled_images_come_class_by_class_with_their_palette(tmp_path):
    rng = np.random.default_rng(0)
    tokens, labels = rng.integers(0, 16, (300, 196), dtype=np.uint8), rng.integers(0, 10, 300).astype(np.uint8)
    names = np.array([f"class {i}" for i in range(10)])
    stored = {"tokens": tokens, "labels": labels, "palette": np.arange(16, dtype=np.float32) * 17, "label_names": names}
    path = tmp_path / "bundled.npz"
    np.savez(path, **stored)
    dataset = datasets.load("fashion-mnist-14", n_per_class=4, path=path)
    assert dataset.labels.tolist() == sorted(list(range(10)) * 4) and dataset.label_names == tuple(names)
    np.testing.assert_array_equal(dataset.inputs, tokens[dataset.ids])
    assert to_pixels(dataset.inputs, dataset.palette).shape == (40, 14, 14)
    for change, message in (
        ({"tokens": tokens + 1}, "tokens 1..16"),
        ({"tokens": tokens[:5]}, "5 samples but 300 labels"),
    ):
        np.savez(path, **stored | change)
        with pytest.raises(UserError, match=message):
            datasets.load("fashion-mnist-14", path=path)
    whole = path.read_bytes()
    for wrong in (whole[:900], b"no archive", b"", whole.replace(b"label_names", b"label_nomes")):
        path.write_bytes(wrong)
        with pytest.raises(UserError, match="can't be read"):
            datasets.load("fashion-mnist-14", path=path)
    with pytest.raises(UserError, match="bundles the test images only"):
        datasets.load("fashion-mnist-14", "train", path=path)


# ------------------------------------------------------------------------------------------------ palettes


@given(arrays(np.uint8, (5, 4, 3)), st.integers(0, 1000))
def test_every_pixel_gets_its_nearest_colour(pixels, seed):
    palette = np.random.default_rng(seed).uniform(-1, 1, (20, 3))
    tokens = quantize(pixels, palette)
    distances = ((pixels[..., None, :] / 127.5 - 1 - palette) ** 2).sum(-1)
    np.testing.assert_array_equal(tokens, distances.argmin(-1))


def test_colours_and_grey_levels_survive_there_and_back():
    rng = np.random.default_rng(0)
    for palette, shape in ((rng.uniform(-1, 1, (512, 3)), (6, 32, 32)), (np.arange(16) * 17.0, (6, 14, 14))):
        tokens = rng.integers(0, len(palette), shape)
        pixels = to_pixels(tokens.reshape(6, -1), palette)
        again = to_pixels(quantize(pixels, palette).reshape(6, -1), palette)
        np.testing.assert_array_equal(again, pixels)


def test_an_image_folder_becomes_tokens_or_files(tmp_path):
    rng = np.random.default_rng(0)
    palette = rng.uniform(-1, 1, (512, 3)).astype(np.float32)
    np.save(tmp_path / "kmeans_centers.npy", palette)
    for name in ("dog", "cat"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(3):
            color = np.rint(127.5 * (palette[100 * i + len(name)] + 1)).astype(np.uint8)
            Image.fromarray(np.broadcast_to(color, (50, 40, 3)).copy()).save(tmp_path / "images" / name / f"{i}.png")
    options = {"path": tmp_path / "images", "n_per_class": 2}
    dataset = datasets.load("image-folder", clusters=tmp_path / "kmeans_centers.npy", **options)
    assert dataset.kind == "tokens" and dataset.inputs.shape == (4, 1024) and dataset.label_names == ("cat", "dog")
    assert dataset.ids.tolist() == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    assert set(dataset.inputs[1]) == {103}
    files = datasets.load("hf-image", classes=["dog", "cat"], **options)
    assert files.kind == "image" and [f.name for f in files.inputs] == ["0.png", "1.png"] * 2
    assert files.label_names == ("dog", "cat") and files.labels.tolist() == [0, 0, 1, 1]
    (tmp_path / "images/cat/0.png").write_text("no image")
    with pytest.raises(UserError, match="0.png can't be read as an image"):
        datasets.load("image-folder", clusters=tmp_path / "kmeans_centers.npy", **options)
    with pytest.raises(UserError, match="holds no image"):
        datasets.load("hf-image", classes=["cow"], **options)
    with pytest.raises(UserError, match="is a file; expected a folder"):
        datasets.load("hf-image", path=tmp_path / "kmeans_centers.npy")
    with pytest.raises(UserError, match="is no palette"):
        np.save(tmp_path / "kmeans_centers.npy", 255 * palette)
        datasets.load("image-folder", clusters=tmp_path / "kmeans_centers.npy", **options)


# ------------------------------------------------------------------------------------------------ proteins


def write(folder, content, name="proteins.fa"):
    (folder / name).write_text(content)
    return folder / name


def test_scope_headers_give_superfamilies_and_families(tmp_path):
    path = write(tmp_path, SCOPE)
    packed = tmp_path / "proteins.fa.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, packed):
        dataset = datasets.load("fasta", path=file)
        assert dataset.inputs[0] == "SLFEQLGGQAAVQAVTAQF" and dataset.ids[0] == "d1dlwa_"
        assert dataset.label_names == ("a.1.1", "a.1.2", "b.66.1")
        assert dataset.labels.tolist() == [0, 0, 0, 1, 2]
        assert dataset.families.tolist() == [0, 0, 1, 2, 3]
    assert datasets.load("fasta", path=path, n_per_class=1).labels.tolist() == [0, 1, 2]


def test_scope_filters_count_after_the_families_that_are_too_small_have_gone(tmp_path):
    path = write(tmp_path, SCOPE)
    ids = lambda **options: [name[:5] for name in datasets.load("fasta", path=path, **options).ids]
    assert ids(classes=["b"]) == ["d1aaa"]
    assert ids(classes=["a.1.2", "b.66"]) == ["d1phn", "d1aaa"]
    assert ids(exclude="disputed") == ["d1dlw", "d2gkm", "d1s69", "d1phn"]
    assert ids(exclude=["a.1"]) == ["d1aaa"]
    assert ids(min_families=2) == ["d1dlw", "d2gkm", "d1s69"]
    assert ids(min_per_superfamily=2, min_per_family=2) == ["d1dlw", "d2gkm"]
    with pytest.raises(UserError, match="holds no sample"):
        ids(min_families=2, min_per_family=2)


def test_the_filter_table_counts_what_each_filter_leaves(tmp_path):
    table = proteins.scope_filter_table(proteins.read_fasta(write(tmp_path, SCOPE)))
    counts = table.set_index(["classes", "disputed_folds", "min_per_superfamily", "min_families"])
    assert counts.loc[("all", "kept", 1, 1), ["sequences", "superfamilies"]].tolist() == [5, 3]
    assert counts.loc[("a-g", "left out", 1, 1), ["sequences", "superfamilies"]].tolist() == [4, 2]
    assert counts.loc[("all", "kept", 2, 2), ["sequences", "superfamilies"]].tolist() == [3, 1]
    assert (table.paper_sequences == 10_256).all() and (table.paper_superfamilies == 288).all()
    assert table.distance.is_monotonic_increasing


def test_long_sequences_follow_the_stated_rule(tmp_path):
    path = write(tmp_path, ">one\nMKV\n>two\nMKVLA\n")
    lengths = lambda **options: [len(s) for s in datasets.load("fasta", path=path, **options).inputs]
    assert lengths(max_length=5) == [3, 5]
    assert lengths(max_length=4, too_long="drop") == [3]
    assert lengths(max_length=4, too_long="truncate") == [3, 4]
    for options, message in (
        ({"max_length": 4}, "two has 5 residues, above max_length=4"),
        ({"max_length": 2, "too_long": "drop"}, "holds no sample"),
        ({"max_length": 4, "too_long": "cut"}, "too_long is 'cut'; expected error, drop or truncate"),
        ({"max_length": "4"}, "max_length is '4'"),
    ):
        with pytest.raises(UserError, match=message):
            lengths(**options)


@pytest.mark.parametrize(
    "content, options, message",
    [
        ("", {}, "is not FASTA"),
        ("MKV\n", {}, "is not FASTA"),
        (">one\n>two\nMKV\n", {}, "one has no residues"),
        (">one\nMKV\nM1V\n", {}, "one has '1' at residue 5"),
        (">one\nMJV\n", {}, "one has 'J' at residue 2"),
        (">one a.1.1.1\nMKV\n>two\nMKV\n", {}, "two has no SCOPe class though others have"),
        (">one\nMKV\n", {"min_families": 2}, "no SCOPe classes to filter by"),
        (">one a.1.1.1\nMKV\n", {"min_families": "2"}, "minimum of the SCOPe filter is '2'"),
        (">one\nMKV\n", {"n_per_class": 2}, "has no labels, but n_per_class is given"),
    ],
)
def test_a_faulty_fasta_file_is_named_with_its_record(tmp_path, content, options, message):
    with pytest.raises(UserError, match=message) as caught:
        datasets.load("fasta", path=write(tmp_path, content), **options)
    line(caught)


def test_a_file_cut_short_or_not_given_is_named(tmp_path):
    packed = tmp_path / "proteins.fa.gz"
    packed.write_bytes(gzip.compress(SCOPE.encode() * 50)[:-20])
    with pytest.raises(UserError, match="can't be read as text"):
        datasets.load("fasta", path=packed)
    with pytest.raises(UserError, match="needs the option 'path'"):
        datasets.load("fasta")


def test_proteinnet_records_give_their_primary_sequence(tmp_path):
    record = "[ID]\n{}\n[PRIMARY]\n{}\n[EVOLUTIONARY]\n0.1\t0.2\n0.3\t0.4\n[TERTIARY]\n1.0\t2.0\n[MASK]\n++-\n\n"
    path = write(tmp_path, record.format("1A9U_1_A", "MKVLA") + record.format("d1aaaa_", "GGS"), "training_30")
    dataset = datasets.load("proteinnet", path=path, n_samples=5)
    assert dataset.inputs == ["MKVLA", "GGS"] and dataset.ids.tolist() == ["1A9U_1_A", "d1aaaa_"]
    assert dataset.labels is None and len(datasets.load("proteinnet", path=path, n_samples=1)) == 1
    with pytest.raises(UserError, match=r"'x' has no \[PRIMARY\]"):
        datasets.load("proteinnet", path=write(tmp_path, "[ID]\nx\n[MASK]\n+\n"))
    with pytest.raises(UserError, match="no ProteinNet record"):
        datasets.load("proteinnet", path=write(tmp_path, SCOPE))


# ------------------------------------------------------------------------------------------------ texts


def test_texts_are_the_same_from_every_format(tmp_path):
    rows = [("A slow, fine film", "good"), ("Dull", "bad"), ('He said "no"', "bad")]
    quoted = [[f'"{t.replace(chr(34), 2 * chr(34))}"' for t in (text, label)] for text, label in rows]
    for name, content in {
        "sst.csv": "sentence,label\n" + "".join(",".join(row) + "\n" for row in quoted),
        "sst.tsv": "sentence\tlabel\n" + "".join("\t".join(row) + "\n" for row in quoted),
        "sst.jsonl": "".join(json.dumps({"sentence": t, "label": label}) + "\n" for t, label in rows),
    }.items():
        options = {"path": write(tmp_path, content, name), "text_column": "sentence", "label_column": "label"}
        dataset = datasets.load("text", **options)
        assert dataset.inputs == [text for text, _ in rows]
        assert dataset.label_names == ("bad", "good") and dataset.labels.tolist() == [1, 0, 0]
        assert datasets.load("text", classes=["good", "bad"], n_per_class=1, **options).labels.tolist() == [1, 0]
        with pytest.raises(UserError, match="class 'ugly' is not among the labels"):
            datasets.load("text", classes=["ugly"], **options)
    plain = write(tmp_path, "One line\n\nAnother line\n", "plain.txt")
    assert datasets.load("text", path=plain).inputs == ["One line", "Another line"]


@pytest.mark.parametrize(
    "name, content, options, message",
    [
        ("a.txt", "one\n", {"label_column": "label"}, "is plain text without labels"),
        (
            "a.csv",
            "text,mood\nfine,good\n",
            {"label_column": "label"},
            "row 1 has no 'label'; its columns are text, mood",
        ),
        ("a.csv", "text,label\nfine,good\nfine,\n", {"label_column": "label"}, "row 2 has no 'label'"),
        ("a.csv", "sentence\nfine\n", {}, "row 1 has no 'text'; its columns are sentence"),
        ("a.jsonl", '{"text": "fine"}\n{"text": \n', {}, "line 2 is no JSON object"),
        ("a.jsonl", '"fine"\n', {}, "line 1 is no JSON object"),
        ("a.csv", "text\n", {}, "holds no sample"),
        ("a.txt", "one\n", {"n_per_class": 5}, "has no labels, but n_per_class is given"),
        ("a.txt", "one\n", {"classes": ["good"]}, "set label_column"),
    ],
)
def test_a_faulty_text_file_is_named_with_its_row(tmp_path, name, content, options, message):
    with pytest.raises(UserError, match=message) as caught:
        datasets.load("text", path=write(tmp_path, content, name), **options)
    line(caught)


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="'imagenet' is not known; expected one of fashion-mnist-14, imagenet32"):
        datasets.load("imagenet")


def test_a_data_set_keeps_its_columns_aligned():
    dataset = Dataset(
        "x", "text", list("abcd"), np.array([1, 0, 1, 0]), ("no", "yes"), np.arange(4), np.array(list("ABCD"))
    )
    part = dataset.take(np.array([False, True, False, True]))
    assert part.inputs == ["b", "d"] and part.ids.tolist() == ["B", "D"] and part.families.tolist() == [1, 3]
    for labels, names in ((np.arange(3), None), (np.array([0, 1, 2, 0]), ("no", "yes"))):
        with pytest.raises(UserError, match="label"):
            Dataset("x", "text", list("abcd"), labels, names)
    with pytest.raises(UserError, match="of kind 'audio'"):
        Dataset("x", "audio", list("abcd"))
