"""Other labels of the same samples."""

import numpy as np
import pandas as pd
import pytest

from georep_utils.geometry import label_sets
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import UserError

LABELS = np.repeat([0, 1, 2, 5], 30)
IDS = np.arange(500, 620)[::-1]


def test_merged_classes_make_the_question_easier_and_raise_chance():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [1, 0], [9, 9], [9, 8]])
    points = centres[np.repeat(range(4), 30)] + 0.8 * rng.standard_normal((120, 2))
    near = {0: nearest_neighbors(points.astype(np.float32), maxk=10, range_max=2, device="cpu")}
    sets = {"all": LABELS} | label_sets.merged(LABELS, {"two": [[0, 1], [2, 5]]})
    found = label_sets.overlaps(near, sets, 10).set_index("label_set")
    assert found.n_classes.to_dict() == {"all": 4, "two": 2}
    assert found.overlap["two"] == 1 and found.overlap["all"] < 0.9
    assert found.chance["two"] == pytest.approx(59 / 119)
    assert found.chance["all"] == pytest.approx(29 / 119)


@pytest.mark.parametrize("parts", [[[0, 1], [2]], [[0, 1], [1, 2, 5]]])
def test_every_class_stands_in_one_group(parts):
    with pytest.raises(UserError, match="expected each of them once"):
        label_sets.merged(LABELS, {"bad": parts})


def table(tmp_path, **columns):
    path = tmp_path / "sets.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_columns_are_taken_in_the_order_that_the_classes_prove(tmp_path):
    known = np.char.add("c", LABELS.astype(str))
    coarse = np.where(LABELS < 2, "low", "high")
    path = table(tmp_path, label=known, coarse=coarse, text=np.arange(120), same="x")
    found = label_sets.read(path, IDS, LABELS)
    assert list(found) == ["coarse"]  # one class, or as many as samples, is no set of labels
    assert np.array_equal(found["coarse"], (LABELS < 2).astype(int))


def test_rows_of_a_larger_file_are_found_by_their_numbers(tmp_path):
    ids = np.random.default_rng(0).permutation(200)[:120]
    known = np.full(200, 9)
    fine = np.arange(200) % 3
    known[ids] = LABELS
    path = tmp_path / "sets.npz"
    np.savez(path, label=known, fine=fine)
    assert np.array_equal(label_sets.read(path, ids, LABELS)["fine"], fine[ids])


def test_a_file_that_can_not_be_matched_is_refused(tmp_path):
    with pytest.raises(UserError, match="no column of .* divides the 120 samples"):
        label_sets.read(table(tmp_path, label=np.roll(LABELS, 1)), IDS, LABELS)
    with pytest.raises(UserError, match="100 rows for 120 samples"):
        label_sets.read(table(tmp_path, label=LABELS[:100]), IDS, LABELS)
    with pytest.raises(UserError, match="missing"):
        label_sets.read(tmp_path / "none.csv", IDS, LABELS)
