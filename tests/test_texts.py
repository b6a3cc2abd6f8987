"""Controls of texts: what is shuffled keeps its words, what is random keeps its length."""

from collections import Counter

import numpy as np
import pytest

from georep_utils.data import datasets
from georep_utils.data.samples import spread
from georep_utils.data.texts import rewritten
from georep_utils.io import UserError

TEXTS = [
    "the cat sat on the mat in the sun",
    "a  dog barks at every car that passes by",
    "one two three four five six seven eight nine",
]


def test_shuffled_words_are_the_same_words_in_another_order():
    shuffled = rewritten(TEXTS, "shuffled", 0)
    assert [Counter(text.split()) for text in shuffled] == [Counter(t.split()) for t in TEXTS]
    assert all(new.split() != old.split() for new, old in zip(shuffled, TEXTS, strict=True))


def test_random_words_keep_the_length_of_each_text_and_the_words_of_all():
    random = rewritten(TEXTS, "random", 0)
    assert [len(text.split()) for text in random] == [9, 9, 9]
    everything = {word for text in TEXTS for word in text.split()}
    assert {word for text in random for word in text.split()} <= everything
    # Words of one text come from several: nothing belongs to a text but its length.
    assert not any(
        set(new.split()) <= set(old.split()) for new, old in zip(random, TEXTS, strict=True)
    )


def test_random_words_are_as_frequent_as_in_the_corpus():
    texts = ["a a a b"] * 2000
    words = Counter(" ".join(rewritten(texts, "random", 1)).split())
    assert abs(words["a"] / 8000 - 0.75) < 0.02


def test_the_seed_decides_and_texts_as_written_stay_as_they_are():
    assert rewritten(TEXTS, "as written", 3) is TEXTS
    for way in ("shuffled", "random"):
        assert rewritten(TEXTS, way, 3) == rewritten(TEXTS, way, 3) != rewritten(TEXTS, way, 4)


@pytest.mark.parametrize(
    "options", [{"words": "reversed"}, {"words_seed": -1}, {"words_seed": 0.5}]
)
def test_another_way_or_seed_is_refused(options, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one two\nthree four\n")
    with pytest.raises(UserError, match=next(iter(options))):
        datasets.load("text", path=path, **options)


def test_words_are_for_texts_alone(tmp_path):
    (tmp_path / "p.csv").write_text("seq\nMKV\nMKL\n")
    with pytest.raises(UserError, match="it is for texts"):
        datasets.load(
            "table", path=tmp_path / "p.csv", input_column="seq", kind="protein", words="shuffled"
        )


@pytest.mark.parametrize("loader, column", [("text", "text_column"), ("table", "input_column")])
def test_a_text_is_rewritten_in_the_same_way_however_many_are_read(loader, column, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "".join(f"{t},{i % 2}\n" for i, t in enumerate(TEXTS * 4)))
    options = {"path": path, column: "text", "label_column": "label", "words": "shuffled"}
    whole = datasets.load(loader, **options)
    part = datasets.load(loader, n_per_class=2, **options)
    assert part.inputs == [whole.inputs[i] for i in (0, 2, 1, 3)]
    assert whole.digest() != datasets.load(loader, **options | {"words": "as written"}).digest()


def test_samples_are_spread_evenly_over_the_classes():
    labels = np.array([2, 0, 0, 1, 2, 0, 1, 2])
    assert spread(labels, 6, 8).tolist() == [1, 2, 3, 6, 0, 4]
    assert spread(labels, 100, 8).tolist() == list(range(8))
    assert spread(None, 3, 8).tolist() == [0, 1, 2]
    assert spread(labels, 2, 8).tolist() == [1, 3]


def test_the_bundled_glosses_have_three_sets_of_labels():
    options = {"path": "assets/wordnet/glosses.csv.gz", "input_column": "text"}
    found = {
        column: datasets.load("table", label_column=column, **options)
        for column in ("coarse", "label", "fine")
    }
    assert [len(data.label_names) for data in found.values()] == [2, 10, 61]
    label = found["label"]
    assert len(label) == 10_000 and set(np.bincount(label.labels)) == {1000}
    assert len(set(label.inputs)) > 9_900
    assert min(map(len, label.inputs)) >= 50 and max(map(len, label.inputs)) <= 140
    # Each fine group lies within one of the ten classes.
    pairs = set(zip(found["fine"].labels, label.labels, strict=True))
    assert len(pairs) == 61
