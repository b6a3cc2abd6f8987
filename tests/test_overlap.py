"""Neighbourhood overlap: of representations, with labels, and for remote homology."""

from pathlib import Path

import numpy as np
import pytest

from georep_utils.geometry import overlap
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import UserError


@pytest.fixture(scope="module")
def reference():
    return np.load(Path(__file__).parent / "data/reference_numbers.npz")


@pytest.fixture(scope="module")
def cloud():
    return nearest_neighbors(
        np.random.default_rng(0).standard_normal((2000, 8)), maxk=30, range_max=2
    )


@pytest.fixture(scope="module")
def other_cloud():
    return nearest_neighbors(
        np.random.default_rng(1).standard_normal((2000, 8)), maxk=30, range_max=2
    )


@pytest.mark.parametrize("k", [10, 30])
def test_overlaps_equal_those_of_the_authors_functions(reference, k):
    a = nearest_neighbors(reference["X"], maxk=50, range_max=64)
    b = nearest_neighbors(reference["X2"], maxk=50, range_max=64)
    with_labels = float(reference[f"label_overlap_k{k}"])
    with_b = float(reference[f"data_overlap_k{k}"])
    assert overlap.label_overlap(a, reference["labels"], k) == pytest.approx(with_labels, abs=1e-6)
    assert overlap.data_overlap(a, b, k) == pytest.approx(with_b, abs=1e-6)


def test_a_representation_overlaps_with_itself_and_with_its_rotation(cloud):
    points = np.random.default_rng(0).standard_normal((2000, 8))
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((8, 8)))[0]
    rotated = nearest_neighbors(points @ rotation, maxk=30, range_max=2)
    assert overlap.data_overlap(cloud, cloud, 30) == 1
    assert overlap.data_overlap(cloud, rotated, 30) > 0.9999


@pytest.mark.parametrize("k", [1, 10, 30])
def test_independent_representations_overlap_at_chance(cloud, other_cloud, k):
    chance = k / 1999
    error = (chance / (2000 * k)) ** 0.5
    assert overlap.data_overlap(cloud, other_cloud, k) == pytest.approx(chance, abs=5 * error)


def test_the_overlap_of_two_layers_is_symmetric_and_counts_shared_neighbors(cloud, other_cloud):
    pairs = zip(cloud.indices[:, 1:11], other_cloud.indices[:, 1:11], strict=True)
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in pairs])
    assert overlap.data_overlap(cloud, other_cloud, 10) == pytest.approx(shared, abs=1e-12)
    assert overlap.data_overlap(other_cloud, cloud, 10) == pytest.approx(shared, abs=1e-12)


def test_shuffled_labels_overlap_at_chance(cloud):
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(10), 200))
    assert overlap.label_overlap(cloud, labels, 30) == pytest.approx(199 / 1999, abs=0.006)


def test_separated_classes_overlap_at_one():
    labels = np.repeat(np.arange(5), 100)
    points = np.random.default_rng(4).standard_normal((500, 3)) + 1000 * labels[:, None]
    apart = nearest_neighbors(points, maxk=30, range_max=2)
    assert overlap.label_overlap(apart, labels, 30) == 1
    assert overlap.knn_accuracy(apart, labels, 5) == 1


def test_weighting_lets_a_rare_class_count_as_much_as_a_common_one(cloud):
    labels = np.zeros(2000, dtype=int)
    labels[:100] = 1
    hits = (labels[cloud.indices[:, 1:11]] == labels[:, None]).mean(axis=1)
    by_class = (hits[labels == 0].mean() + hits[labels == 1].mean()) / 2
    assert overlap.label_overlap(cloud, labels, 10) == pytest.approx(by_class, abs=1e-12)
    by_point = overlap.label_overlap(cloud, labels, 10, weighted=False)
    assert by_point == pytest.approx(hits.mean(), abs=1e-12)


def test_labels_may_be_names(cloud):
    codes = np.arange(2000) % 3
    names = np.array(["a.1", "b.2", "c.3"])[codes]
    assert overlap.label_overlap(cloud, names, 10) == overlap.label_overlap(cloud, codes, 10)


def _families(n=600):
    rng = np.random.default_rng(5)
    superfamily = np.repeat(np.arange(6), n // 6)
    family = np.arange(n) // 10
    points = rng.standard_normal((n, 4)) + 2 * rng.standard_normal((6, 4))[superfamily]
    points += rng.standard_normal((n // 10, 4))[family]
    return nearest_neighbors(points, maxk=40, range_max=2), superfamily, family


@pytest.mark.parametrize("exclude", ["before", "after"])
def test_remote_homology_leaves_out_the_own_family_as_asked(exclude):
    neighbors, superfamily, family = _families()
    expected = []
    for i in range(len(family)):
        others = neighbors.indices[i, 1:]
        if exclude == "before":
            others = others[family[others] != family[i]]
        near = others[:10]
        hits = (superfamily[near] == superfamily[i]) & (family[near] != family[i])
        expected.append(np.mean(hits))
    found = overlap.remote_homology(neighbors, superfamily, family, 10, exclude=exclude)
    assert found == pytest.approx(np.mean(expected), abs=1e-12)
    assert found < overlap.label_overlap(neighbors, superfamily, 10)


def test_remote_homology_without_families_is_the_label_overlap():
    neighbors, superfamily, _ = _families()
    alone = np.arange(600)
    for exclude in ("before", "after"):
        found = overlap.remote_homology(neighbors, superfamily, alone, 10, exclude=exclude)
        assert found == pytest.approx(overlap.label_overlap(neighbors, superfamily, 10), abs=1e-12)


def test_remote_homology_refuses_a_point_that_runs_out_of_strangers():
    neighbors, superfamily, family = _families()
    with pytest.raises(UserError, match=r"of 600 points have fewer than 40 .* maxk of 49"):
        overlap.remote_homology(neighbors, superfamily, family, 40)
    with pytest.raises(UserError, match="'before' or 'after'"):
        overlap.remote_homology(neighbors, superfamily, family, 10, exclude="never")


def test_the_nearest_neighbor_classifier_is_leave_one_out_and_ties_go_to_the_nearest():
    points = np.array([[0.0], [1.0], [2.1], [3.3], [10.0], [11.5]])
    neighbors = nearest_neighbors(points, maxk=3, range_max=2)
    labels = np.array([0, 1, 0, 0, 1, 1])
    assert overlap.knn_accuracy(neighbors, labels, 1) == pytest.approx(3 / 6)
    assert overlap.knn_accuracy(neighbors, labels, 2) == pytest.approx(3 / 6)
    halves = np.array([0, 0, 0, 0, 1, 1])
    assert overlap.knn_accuracy(neighbors, halves, 1) == 1
    assert overlap.knn_accuracy(neighbors, halves, 3) == pytest.approx(4 / 6)


def test_bad_input_is_one_clear_line(cloud, other_cloud):
    labels = np.arange(2000) % 4
    few_points = np.random.default_rng(6).standard_normal((40, 3))
    small = nearest_neighbors(few_points, maxk=39, range_max=2)
    cases = {
        "k = 31, but only 30 neighbours are stored": lambda: overlap.label_overlap(
            cloud, labels, 31
        ),
        "k must be at least 1 and below 2000": lambda: overlap.label_overlap(cloud, labels, 2000),
        "k = 0 neighbours": lambda: overlap.data_overlap(cloud, other_cloud, 0),
        "k must be at least 1 and below 40": lambda: overlap.knn_accuracy(small, labels[:40], 40),
        "labels of shape": lambda: overlap.label_overlap(cloud, labels[:-1], 10),
        "two or more classes": lambda: overlap.label_overlap(cloud, np.ones(2000), 10),
        "families of shape": lambda: overlap.remote_homology(cloud, labels, labels[:5], 10),
        "overlap of 2000 with 40 points": lambda: overlap.data_overlap(cloud, small, 10),
    }
    for message, call in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
