"""Samples arrive in the authors' order, with the right labels, and what is wrong is named first."""

import gzip
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from georep_utils import io
from georep_utils.data import datasets
from georep_utils.data.images import Rows, to_pixels
from georep_utils.io import UserError

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


def write(folder, content, name="proteins.fa"):
    (folder / name).write_text(content)
    return folder / name


@pytest.fixture
def files_read(monkeypatch, tmp_path):
    """The files that a notebook would be said to have read."""
    record = tmp_path / "record"
    record.touch()
    monkeypatch.setenv("GEOREP_RECORD", str(record))
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    return lambda: set(io.recorded(record)[0])


# ---------------------------------------------------------------------------------- OpenAI's arrays


@pytest.fixture
def openai(tmp_path):
    """Arrays as OpenAI publishes them: int64 tokens, one-hot labels, ten classes at random."""
    rng = np.random.default_rng(0)
    (tmp_path / "datasets").mkdir()
    tokens = rng.integers(0, 512, (200, 1024))
    labels = rng.integers(0, 10, 200)
    np.save(tmp_path / "datasets/imagenet_trX.npy", tokens)
    np.save(tmp_path / "datasets/imagenet_trY.npy", np.eye(10, dtype=np.float32)[labels])
    return tmp_path, tokens, labels


def load_imagenet(data_dir, **options):
    return datasets.load("imagenet32", **{"split": "train", "data_dir": data_dir} | options)


def test_the_first_n_images_of_each_class_come_class_by_class(openai):
    data_dir, tokens, labels = openai
    dataset = load_imagenet(data_dir, n_per_class=3, classes=[7, 2, 4])
    expected = np.concatenate([np.flatnonzero(labels == c)[:3] for c in (7, 2, 4)])
    assert dataset.ids.tolist() == expected.tolist()
    assert dataset.labels.tolist() == [7, 7, 7, 2, 2, 2, 4, 4, 4]
    assert dataset.inputs.shape == (9, 1024)
    np.testing.assert_array_equal(dataset.inputs[:], tokens[expected])
    np.testing.assert_array_equal(dataset.inputs[2:5], tokens[expected[2:5]])
    np.testing.assert_array_equal(dataset.take([8, 0]).inputs[:], tokens[expected[[8, 0]]])


def test_rows_stay_on_disk_until_they_are_asked_for(openai):
    data_dir, tokens, _ = openai
    dataset = load_imagenet(data_dir, classes="all")
    assert isinstance(dataset.inputs, Rows) and len(dataset) == 200
    assert len(pickle.dumps(dataset)) < tokens.nbytes / 50
    assert not isinstance(dataset.inputs[:2], np.memmap)


def test_the_papers_classes_are_the_default(openai):
    data_dir, tokens, _ = openai
    listed = (io.REPOSITORY / "book/reference/imagenet_300_classes.txt").read_text().split()
    labels = np.resize([int(name) for name in listed[:200]], 200)
    labels[7] = next(number for number in range(1000) if str(number) not in listed)
    np.save(data_dir / "datasets/imagenet_trY.npy", labels)
    with pytest.raises(UserError, match=f"class {listed[7]} has no sample"):
        load_imagenet(data_dir)
    three = [int(name) for name in listed[:3]]
    assert load_imagenet(data_dir, classes=three).labels.tolist() == three


def test_label_numbers_serve_as_well_as_one_hot_labels(openai):
    data_dir, _, labels = openai
    one_hot = load_imagenet(data_dir, classes="all")
    np.save(data_dir / "datasets/imagenet_trY.npy", labels)
    assert load_imagenet(data_dir, classes="all").labels.tolist() == one_hot.labels.tolist()


def test_the_identity_of_samples_is_that_of_what_is_chosen(openai):
    data_dir, tokens, labels = openai
    digest = load_imagenet(data_dir, classes=[7, 2]).digest()
    assert load_imagenet(data_dir, classes=[2, 7]).digest() != digest
    tokens[np.flatnonzero(labels == 4)] = 0
    np.save(data_dir / "datasets/imagenet_trX.npy", tokens.astype(np.uint16))
    assert load_imagenet(data_dir, classes=[7, 2]).digest() == digest
    tokens[np.flatnonzero(labels == 7)[-1], -1] ^= 1
    np.save(data_dir / "datasets/imagenet_trX.npy", tokens)
    assert load_imagenet(data_dir, classes=[7, 2]).digest() != digest


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda x, y: (x[:, :100], y),
            r"int64 of shape \(200, 100\); expected whole numbers of shape \(N, 1024\)",
        ),
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
        load_imagenet(data_dir, classes="all")
    line(caught)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"split": "valid"}, "imagenet_vaX.npy is missing; put it at"),
        ({"classes": [3, 99]}, "class 99 has no sample"),
        ({"classes": [3, 3]}, "name one class twice"),
        ({"classes": ["cat"]}, "something unexpected"),
        (
            {"split": "training"},
            "split 'training' is not known; expected one of train, valid, test",
        ),
        ({"split": ["train"]}, "is not known"),
        ({"n_per_class": 0}, "n_per_class is 0"),
        ({"n_samples": "5"}, "n_samples is '5'"),
        ({"n_px": "32"}, "n_px is '32'"),
        ({"colour": 1}, "no option 'colour'; expected one of n_px, n_vocab"),
        ({"request": 1}, "no option 'request'; expected one of n_px, n_vocab"),
    ],
)
def test_absent_files_classes_and_splits_are_named(openai, options, message):
    with pytest.raises(UserError, match=message) as caught:
        load_imagenet(openai[0], **options)
    line(caught)


# ----------------------------------------------------------------------------------- bundled images


def test_bundled_images_come_class_by_class_with_their_palette(tmp_path):
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 16, (300, 196), dtype=np.uint8)
    names = np.array([f"class {i}" for i in range(10)])
    stored = {
        "tokens": tokens,
        "labels": rng.integers(0, 10, 300).astype(np.uint8),
        "palette": np.arange(16, dtype=np.float32) * 17,
        "label_names": names,
    }
    path = tmp_path / "bundled.npz"
    np.savez(path, **stored)
    dataset = datasets.load("fashion-mnist-14", n_per_class=4, path=path)
    assert dataset.labels.tolist() == sorted(list(range(10)) * 4)
    assert dataset.label_names == tuple(names)
    np.testing.assert_array_equal(dataset.inputs, tokens[dataset.ids])
    assert to_pixels(dataset.inputs, dataset.palette).shape == (40, 14, 14)
    for change, message in (
        ({"tokens": tokens + 1}, "tokens 1..16"),
        ({"tokens": tokens[:5]}, "5 samples but 300 labels"),
        ({"labels": np.array(5)}, "labels are no such list"),
        ({"palette": names}, "palette are no such list"),
    ):
        np.savez(path, **stored | change)
        with pytest.raises(UserError, match=message):
            datasets.load("fashion-mnist-14", path=path)
    whole = path.read_bytes()
    renamed = whole.replace(b"label_names", b"label_nomes")
    for wrong in (whole[:900], b"no archive", b"", renamed):
        path.write_bytes(wrong)
        with pytest.raises(UserError, match="can't be read"):
            datasets.load("fashion-mnist-14", path=path)
    with pytest.raises(UserError, match="bundles the test images only"):
        datasets.load("fashion-mnist-14", "train", path=path)


def test_the_bundled_images_are_the_ones_that_every_number_was_made_with():
    dataset = datasets.load("fashion-mnist-14", "test", 500)
    assert len(dataset) == 5000 and dataset.inputs.shape == (5000, 196)
    assert dataset.label_names[:2] == ("T-shirt", "trouser")
    expected = "dec8725b2f18d3bec1b0410af956b0890cf4bbb2080f676f0f332467e2b6806a"
    assert dataset.digest() == expected


# -------------------------------------------------------------------------------------- image files


@pytest.fixture
def image_folder(tmp_path):
    """Three images of one colour in each of two classes, and the palette that has these colours."""
    palette = np.random.default_rng(0).uniform(-1, 1, (512, 3)).astype(np.float32)
    np.save(tmp_path / "kmeans_centers.npy", palette)
    for name in ("dog", "cat"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(3):
            color = np.rint(127.5 * (palette[100 * i + len(name)] + 1)).astype(np.uint8)
            pixels = np.broadcast_to(color, (50, 40, 3)).copy()
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path


def test_an_image_folder_becomes_tokens_or_files(image_folder):
    options = {"path": image_folder / "images", "n_per_class": 2}
    clusters = image_folder / "kmeans_centers.npy"
    dataset = datasets.load("image-folder", clusters=clusters, **options)
    assert dataset.kind == "tokens" and dataset.inputs.shape == (4, 1024)
    assert dataset.label_names == ("cat", "dog")
    assert dataset.ids.tolist() == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    assert set(dataset.inputs[1]) == {103}
    files = datasets.load("hf-image", classes=["dog", "cat"], **options)
    assert files.kind == "image"
    assert [file.name for file in files.inputs] == ["0.png", "1.png"] * 2
    assert files.label_names == ("dog", "cat") and files.labels.tolist() == [0, 0, 1, 1]


def test_what_is_no_image_folder_is_named(image_folder):
    options = {"path": image_folder / "images", "n_per_class": 2}
    clusters = image_folder / "kmeans_centers.npy"
    (image_folder / "images/cat/0.png").write_text("no image")
    with pytest.raises(UserError, match="0.png can't be read as an image"):
        datasets.load("image-folder", clusters=clusters, **options)
    with pytest.raises(UserError, match="holds no image"):
        datasets.load("hf-image", classes=["cow"], **options)
    with pytest.raises(UserError, match="is a file; expected a folder"):
        datasets.load("hf-image", path=clusters)
    (image_folder / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no image"):
        datasets.load("hf-image", path=image_folder / "empty")
    palette = np.load(clusters)
    np.save(clusters, 255 * palette)
    with pytest.raises(UserError, match="is no palette"):
        datasets.load("image-folder", clusters=clusters, **options)


def test_16_bit_images_keep_their_levels(image_folder):
    palette = np.linspace(-1, 1, 512)[:, None] * np.ones(3)
    np.save(image_folder / "kmeans_centers.npy", palette)
    for name, level in (("dog", 20_000), ("cat", 50_000)):
        for i in range(3):
            pixels = np.full((40, 40), level, np.uint16)
            Image.fromarray(pixels).save(image_folder / "images" / name / f"{i}.png")
    clusters = image_folder / "kmeans_centers.npy"
    dataset = datasets.load("image-folder", path=image_folder / "images", clusters=clusters)
    levels = (palette[dataset.inputs[:, 0], 0] + 1) * 32768
    assert np.abs(levels[:3] - 50_000).max() < 300
    assert np.abs(levels[3:] - 20_000).max() < 300


# ----------------------------------------------------------------------------------------- proteins


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

    def ids(**options):
        return [name[:5] for name in datasets.load("fasta", path=path, **options).ids]

    assert ids(classes=["b"]) == ["d1aaa"]
    assert ids(classes=["a.1.2", "b.66"]) == ["d1phn", "d1aaa"]
    assert ids(exclude="disputed") == ["d1dlw", "d2gkm", "d1s69", "d1phn"]
    assert ids(exclude=["a.1"]) == ["d1aaa"]
    assert ids(min_families=2) == ["d1dlw", "d2gkm", "d1s69"]
    assert ids(min_per_superfamily=2, min_per_family=2) == ["d1dlw", "d2gkm"]
    with pytest.raises(UserError, match="holds no sample"):
        ids(min_families=2, min_per_family=2)


def test_long_sequences_follow_the_stated_rule(tmp_path):
    path = write(tmp_path, ">one\nMKV\n>two\nMKVLA\n")

    def lengths(**options):
        return [len(s) for s in datasets.load("fasta", path=path, **options).inputs]

    assert lengths(max_length=5) == [3, 5]
    assert lengths(max_length=4, too_long="drop") == [3]
    assert lengths(max_length=4, too_long="truncate") == [3, 4]
    for options, message in (
        ({"max_length": 4}, "two has 5 residues, above max_length=4"),
        ({"max_length": 2, "too_long": "drop"}, "holds no sample"),
        ({"max_length": 4, "too_long": "cut"}, "too_long is 'cut'; expected error, drop or trunc"),
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
        (
            ">one a.1.1.1\nMKV\n",
            {"min_families": "2"},
            "minimum of the SCOPe filter is '2'.*for min_families",
        ),
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
    record = (
        "[ID]\n{}\n[PRIMARY]\n{}\n[EVOLUTIONARY]\n0.1\t0.2\n0.3\t0.4\n"
        "[TERTIARY]\n1.0\t2.0\n[MASK]\n++-\n\n"
    )
    content = record.format("1A9U_1_A", "MKVLA") + record.format("d1aaaa_", "GGS")
    path = write(tmp_path, content, "training_30")
    dataset = datasets.load("proteinnet", path=path, n_samples=5)
    assert dataset.inputs == ["MKVLA", "GGS"] and dataset.ids.tolist() == ["1A9U_1_A", "d1aaaa_"]
    assert dataset.labels is None
    assert len(datasets.load("proteinnet", path=path, n_samples=1)) == 1
    with pytest.raises(UserError, match=r"'x' has no \[PRIMARY\]"):
        datasets.load("proteinnet", path=write(tmp_path, "[ID]\nx\n[MASK]\n+\n"))
    with pytest.raises(UserError, match="no ProteinNet record"):
        datasets.load("proteinnet", path=write(tmp_path, SCOPE))


# -------------------------------------------------------------------------------------------- texts


def test_texts_are_the_same_from_every_format(tmp_path):
    rows = [("A slow, fine film", "good"), ("Dull", "bad"), ('He said "no"', "bad")]
    quoted = [[f'"{cell.replace(chr(34), 2 * chr(34))}"' for cell in row] for row in rows]
    formats = {
        "sst.csv": "sentence,label\n" + "".join(",".join(row) + "\n" for row in quoted),
        "sst.tsv": "sentence\tlabel\n" + "".join("\t".join(row) + "\n" for row in rows),
        "sst.jsonl": "".join(json.dumps({"sentence": t, "label": m}) + "\n" for t, m in rows),
    }
    for name, content in formats.items():
        path = write(tmp_path, content, name)
        for loader, column in (("text", "text_column"), ("table", "input_column")):
            options = {"path": path, column: "sentence", "label_column": "label"}
            dataset = datasets.load(loader, **options)
            assert dataset.kind == "text" and dataset.name == loader
            assert dataset.inputs == [text for text, _ in rows]
            assert dataset.label_names == ("bad", "good") and dataset.labels.tolist() == [1, 0, 0]
            options["classes"] = ["good", "bad"]
            assert datasets.load(loader, n_per_class=1, **options).labels.tolist() == [1, 0]
            with pytest.raises(UserError, match="class 'ugly' is not among the labels"):
                datasets.load(loader, **options | {"classes": ["ugly"]})
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
        (
            "a.csv",
            "text,label\nfine,good\nfine,\n",
            {"label_column": "label"},
            "row 2 has no 'label'",
        ),
        ("a.csv", "sentence\nfine\n", {}, "row 1 has no 'text'; its columns are sentence"),
        ("a.jsonl", '{"text": "fine"}\n{"text": \n', {}, "line 2 is no JSON object"),
        ("a.jsonl", '"fine"\n', {}, "line 1 is no JSON object"),
        ("a.csv", "text\n", {}, "holds no sample"),
        ("a.txt", "\n", {}, "holds no sample"),
        ("a.txt", "one\n", {"n_per_class": 5}, "has no labels, but n_per_class is given"),
        ("a.txt", "one\n", {"classes": ["good"]}, "set label_column"),
    ],
)
def test_a_faulty_text_file_is_named_with_its_row(tmp_path, name, content, options, message):
    with pytest.raises(UserError, match=message) as caught:
        datasets.load("text", path=write(tmp_path, content, name), **options)
    line(caught)


# ------------------------------------------------------------------------------------------- tables


def test_proteins_of_a_table_have_families_and_names(tmp_path):
    content = (
        "name\tchain\tgroup\tresidues\n"
        "p1\tH\tV1\tqvqlv\np2\tH\tV2\tEVQLVQQ\np3\tK\tV1\tDIQ\np4\tK\tV3\tEIV\n"
    )
    path = write(tmp_path, content, "germline.tsv")
    options = {
        "path": path,
        "kind": "protein",
        "input_column": "residues",
        "label_column": "chain",
        "family_column": "group",
        "id_column": "name",
    }
    dataset = datasets.load("table", **options)
    assert dataset.kind == "protein" and dataset.inputs == ["QVQLV", "EVQLVQQ", "DIQ", "EIV"]
    assert dataset.label_names == ("H", "K") and dataset.labels.tolist() == [0, 0, 1, 1]
    assert dataset.families.tolist() == [0, 1, 0, 2]
    assert dataset.ids.tolist() == ["p1", "p2", "p3", "p4"]
    cut = datasets.load("table", max_length=4, too_long="truncate", **options)
    assert cut.inputs == ["QVQL", "EVQL", "DIQ", "EIV"]
    short = datasets.load("table", max_length=5, too_long="drop", **options)
    assert short.ids.tolist() == ["p1", "p3", "p4"] and short.families.tolist() == [0, 0, 1]
    for more, message in (
        ({"max_length": 4}, "row 2 has 7 residues, above max_length=4"),
        ({"input_column": "group"}, "row 1 has '1' at residue 2"),
        ({"kind": "text", "max_length": 4}, "max_length is 4, but kind is 'text'"),
        ({"kind": "dna"}, "kind is 'dna'; expected text, protein or image"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            datasets.load("table", **options | more)
        line(caught)


def test_images_of_a_table_are_beside_it(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in ("a", "b", "c"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"pictures/{name}.png")
    lines = [f"pictures/{name}.png,{i % 2}" for i, name in enumerate("abc")]
    path = write(tmp_path, "\n".join(["file,class", *lines]), "list.csv")
    options = {"kind": "image", "input_column": "file", "label_column": "class"}
    dataset = datasets.load("table", path=path, **options)
    assert dataset.kind == "image" and dataset.labels.tolist() == [0, 1, 0]
    assert dataset.inputs == [tmp_path / f"pictures/{name}.png" for name in "abc"]
    (tmp_path / "pictures/b.png").unlink()
    with pytest.raises(UserError, match="row 2 names .*pictures/b.png, which is no file") as caught:
        datasets.load("table", path=path, **options)
    line(caught)


@pytest.mark.parametrize("name, column", [("text", "text_column"), ("table", "input_column")])
@pytest.mark.parametrize(
    "labels, classes, message",
    [
        ("aaa", None, "all labels of a.csv are 'a'; expected at least two classes"),
        ("aab", ["a"], "all labels of a.csv are 'a'; expected at least two classes"),
        ("abc", None, "all 3 labels of a.csv are different"),
        ("a", None, "all labels of a.csv are 'a'"),
    ],
)
def test_labels_that_compare_nothing_are_refused(tmp_path, name, column, labels, classes, message):
    content = "text,label\n" + "".join(f"sample,{label}\n" for label in labels)
    options = {"path": write(tmp_path, content, "a.csv"), column: "text"}
    assert len(datasets.load(name, **options)) == len(labels)
    with pytest.raises(UserError, match=message) as caught:
        datasets.load(name, classes=classes, label_column="label", **options)
    line(caught)


def test_names_stay_names_whatever_they_look_like(tmp_path):
    labels = ["NA", "null", "007", "7", "1e5", "NA"]
    content = "text,label\n" + "".join(f"nan,{label}\n" for label in labels)
    path = write(tmp_path, content, "a.csv")
    dataset = datasets.load("table", path=path, input_column="text", label_column="label")
    assert dataset.inputs == ["nan"] * 6
    assert [dataset.label_names[number] for number in dataset.labels] == labels


# ------------------------------------------------------------------------------------- what is read


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    expected = "'imagenet' is not known; expected one of fashion-mnist-14, imagenet32"
    with pytest.raises(UserError, match=expected):
        datasets.load("imagenet")
    with pytest.raises(UserError, match="is not known"):
        datasets.load(["text"])


@pytest.mark.parametrize("path", [5, None, ["a.csv"], "a\0b"])
def test_a_path_that_is_none_is_refused(path):
    for name in ("fasta", "proteinnet", "text", "hf-image", "fashion-mnist-14"):
        with pytest.raises(UserError, match="path is"):
            datasets.load(name, path=path)


@pytest.mark.parametrize("name", ["fasta", "proteinnet", "text", "table", "fashion-mnist-14"])
def test_a_folder_in_place_of_a_file_is_refused(tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    options = {"input_column": "text"} if name == "table" else {}
    with pytest.raises(UserError, match="folder.csv can't be read") as caught:
        datasets.load(name, path=tmp_path / "folder.csv", **options)
    line(caught)


def test_every_file_that_is_read_is_noted(openai, image_folder, files_read):
    folder = openai[0]
    write(folder, SCOPE)
    write(folder, "text,label\na,1\nb,1\nc,2\n", "a.csv")
    write(folder, "one\n", "plain.txt")
    write(folder, "1\n2\n", "classes.txt")
    load_imagenet(folder, classes=folder / "classes.txt")
    assert files_read() >= {
        "classes.txt",
        "datasets/imagenet_trX.npy",
        "datasets/imagenet_trY.npy",
    }
    datasets.load("fashion-mnist-14", n_samples=1)
    datasets.load("fasta", path=folder / "proteins.fa")
    datasets.load("text", path=folder / "plain.txt")
    datasets.load("table", path=folder / "a.csv", input_column="text")
    clusters = folder / "kmeans_centers.npy"
    datasets.load("image-folder", path=folder / "images", clusters=clusters)
    assert files_read() >= {
        "assets/fashion-mnist-14.npz",
        "proteins.fa",
        "plain.txt",
        "a.csv",
        "kmeans_centers.npy",
        "images",
        "images/cat",
        "images/dog",
    }
    files = datasets.load("hf-image", path=folder / "images")
    files.digest()
    assert "images/cat/2.png" in files_read()
