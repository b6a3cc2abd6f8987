"""A data set keeps its columns aligned, says what applies to it, and has an identity."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from georep_utils.data.images import Rows
from georep_utils.data.samples import Dataset, class_list, first_per_class, is_count, number_names
from georep_utils.io import UserError


def texts(**columns):
    return Dataset("x", "text", list("abcd"), **columns)


def test_a_data_set_keeps_its_columns_aligned():
    dataset = texts(
        labels=np.array([1, 0, 1, 0]),
        label_names=("no", "yes"),
        families=np.arange(4),
        ids=np.array(list("ABCD")),
    )
    part = dataset.take(np.array([False, True, False, True]))
    assert part.inputs == ["b", "d"]
    assert part.ids.tolist() == ["B", "D"] and part.families.tolist() == [1, 3]
    for labels, names in ((np.arange(3), None), (np.array([0, 1, 2, 0]), ("no", "yes"))):
        with pytest.raises(UserError, match="label"):
            texts(labels=labels, label_names=names)
    with pytest.raises(UserError, match="of kind 'audio'"):
        Dataset("x", "audio", list("abcd"))
    with pytest.raises(UserError, match="holds no sample"):
        Dataset("x", "text", [])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 5))
def test_the_first_of_each_class_come_in_the_order_of_the_file(labels, n_per_class):
    labels = np.array(labels)
    classes = np.unique(labels)[::-1]
    expected = np.concatenate([np.flatnonzero(labels == c)[:n_per_class] for c in classes])
    chosen = first_per_class(labels, classes, n_per_class)
    assert chosen.tolist() == expected.tolist()
    with pytest.raises(UserError, match="class 5 has no sample"):
        first_per_class(labels, [*classes, 5])


def test_classes_are_a_list_or_a_file(tmp_path):
    (tmp_path / "classes.txt").write_text("3\n1\n")
    assert class_list(tmp_path / "classes.txt", int) == class_list(["3", 1], int) == [3, 1]
    assert class_list(None) is None and class_list("all") is None
    for wrong in ([], [1, 1], ["x"], 5, [None], [1e400], tmp_path, "no/such/file"):
        with pytest.raises(UserError):
            class_list(wrong, int)


def test_names_are_numbered_in_sorted_order():
    numbers, names = number_names(["b", "a", "b", "ä", "a\0"])
    assert names == ("a", "a\0", "b", "ä") and numbers.tolist() == [2, 0, 2, 3, 1]


def test_a_count_is_a_whole_number_above_zero():
    assert is_count(1) and is_count(np.int64(7))
    assert not any(map(is_count, (0, -1, True, 1.0, "1", None)))


# -------------------------------------------------------------------------------------------- facts


def test_facts_say_what_applies():
    tokens = Dataset("x", "tokens", np.zeros((2, 4), int))
    drawn = dataclasses.replace(tokens, palette=np.arange(3))
    names = {"tokens", "images", "protein", "text", "labels", "families", "palette"}

    def facts(dataset):
        assert set(dataset.facts()) == names
        return {name for name, value in dataset.facts().items() if value}

    assert facts(tokens) == {"tokens"}
    assert facts(drawn) == {"tokens", "images", "palette"}
    assert facts(Dataset("x", "image", ["a.png"])) == {"images"}
    assert facts(texts(labels=np.arange(4))) == {"text", "labels"}
    protein = Dataset("x", "protein", ["MKV"], families=np.array([0]))
    assert facts(protein) == {"protein", "families"}


# ------------------------------------------------------------------------------------------- digest


def token_set(**changes):
    given = {
        "name": "x",
        "kind": "tokens",
        "inputs": np.arange(24).reshape(6, 4),
        "labels": np.arange(6) // 2,
        "label_names": ("a", "b", "c"),
        "families": np.arange(6),
        "ids": np.arange(6) * 7,
    }
    return Dataset(**given | changes)


def test_equal_samples_have_one_digest_however_they_are_stored(tmp_path, monkeypatch):
    expected = token_set().digest()
    assert len(expected) == 64 and int(expected, 16)
    tokens = np.arange(24).reshape(6, 4)
    for dtype in (np.uint8, np.uint16, ">i4", np.uint64):
        assert token_set(inputs=tokens.astype(dtype)).digest() == expected
    assert token_set(inputs=np.asfortranarray(tokens)).digest() == expected
    np.save(tmp_path / "x.npy", np.repeat(tokens.astype(np.uint16), 2, axis=0))
    rows = Rows(tmp_path / "x.npy", np.arange(0, 12, 2))
    assert token_set(inputs=rows).digest() == expected
    monkeypatch.setattr("georep_utils.data.images.BLOCK_BYTES", 20)
    assert token_set(inputs=rows).digest() == expected
    assert token_set(labels=(np.arange(6) // 2).astype(np.int8)).digest() == expected
    assert token_set(name="other", palette=np.arange(3)).digest() == expected


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": np.arange(24).reshape(6, 4) + np.eye(6, 4, dtype=int)},
        {"inputs": np.arange(24).reshape(6, 4)[:, ::-1]},
        {"inputs": np.arange(30).reshape(6, 5)},
        {"labels": np.array([0, 0, 1, 1, 2, 1])},
        {"labels": None},
        {"label_names": ("a", "b", "d")},
        {"label_names": ("a", "b", "c", "d")},
        {"label_names": None},
        {"families": None},
        {"families": np.arange(6)[::-1]},
        {"ids": np.arange(6)},
        {"ids": (np.arange(6) * 7).astype(str)},
    ],
)
def test_one_difference_makes_another_digest(change):
    assert token_set(**change).digest() != token_set().digest()


@given(st.lists(st.text(), min_size=1, max_size=4), st.lists(st.text(), min_size=1, max_size=4))
def test_lists_of_texts_have_one_digest_only_if_they_are_equal(first, second):
    digests = [Dataset("x", "text", list(texts)).digest() for texts in (first, second)]
    assert (digests[0] == digests[1]) == (first == second)


def test_kinds_differ_and_the_order_counts():
    assert Dataset("x", "text", ["MKV"]).digest() != Dataset("x", "protein", ["MKV"]).digest()
    ids = np.array(["a", "b"])
    dataset = Dataset("x", "text", ["one", "two"], ids=ids)
    assert dataset.take([1, 0]).digest() != dataset.digest()
    assert dataset.take([1, 0]).take([1, 0]).digest() == dataset.digest()
    assert len(Dataset("x", "text", ["half a pair: \ud800"]).digest()) == 64


def test_image_files_count_by_their_bytes(tmp_path):
    def digest(name):
        return Dataset("x", "image", [tmp_path / name], ids=np.array(["0"])).digest()

    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "c.png")
    assert digest("a.png") == digest("b.png") != digest("c.png")
    with pytest.raises(UserError, match="d.png is missing"):
        digest("d.png")
