"""Errors of overlaps: joint where neighbours suffice, a bound where they do not, never mixed up."""

import numpy as np
import pandas as pd
import pytest

from georep_utils.geometry import overlap, overlap_errors, resampling
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import UserError


def table(seed=0, n=600, width=4, maxk=50):
    points = np.random.default_rng(seed).standard_normal((n, width))
    return nearest_neighbors(points, maxk=maxk, range_max=2)


def relatives(n=600):
    rng = np.random.default_rng(5)
    superfamily = np.repeat(np.arange(6), n // 6)
    family = np.arange(n) // 5
    points = rng.standard_normal((n, 4)) + 2 * rng.standard_normal((6, 4))[superfamily]
    points += 0.5 * rng.standard_normal((n // 5, 4))[family]
    return nearest_neighbors(points, maxk=60, range_max=2), superfamily, family


def test_samples_are_dealt_with_regard_to_classes_where_that_can_be():
    labels = np.arange(600) % 3
    assert np.array_equal(overlap_errors.deal(600, labels), resampling.groups(600, labels))
    alone = np.where(np.arange(600) == 7, 99, labels)
    assert np.bincount(overlap_errors.deal(600, alone)).tolist() == [30] * 20
    assert overlap_errors.deal(30, None) is None


def test_all_layers_have_joint_errors_or_none_has():
    labels = np.arange(600) % 3
    dealt = overlap_errors.deal(600, labels)

    def again(neighbors):
        return resampling.label_overlap_replicates(neighbors, labels, dealt, 10)

    enough = overlap_errors.attempt_over_layers([table(0), table(1)], again).halves
    assert enough.shape == (19, 2, 2)
    assert np.array_equal(enough[..., 1], again(table(1)))
    fewer = [table(0), table(1, maxk=12)]
    assert overlap_errors.attempt_over_layers(fewer, again).halves is None
    assert overlap_errors.attempt_over_layers([], again).halves is None


def test_why_there_are_no_joint_errors_is_kept_and_shown():
    labels = np.arange(600) % 3
    tables = [table(0), table(1, maxk=12)]

    def attempt(groups, k):
        return overlap_errors.attempt_over_layers(
            tables, lambda one: resampling.label_overlap_replicates(one, labels, groups, k)
        )

    joint = attempt(overlap_errors.deal(600, labels), 1)
    assert joint.halves.shape == (19, 2, 2) and joint.why == ""
    few_stored = attempt(overlap_errors.deal(600, labels), 10)
    assert few_stored.halves is None
    assert "layer 2 of the curve" in few_stored.why and "maxk of 50" in few_stored.why
    few_samples = attempt(overlap_errors.deal(30, None), 10)
    assert "not dealt into groups: 40 or more" in few_samples.why
    curves = pd.DataFrame({"k": [1, 1, 10, 10, 30], "overlap": 0.2})
    attempts = {(1,): joint, (10,): few_stored}
    curves = overlap_errors.add_errors(curves, 600, attempts, by=["k"])
    kinds = overlap_errors.kinds(curves, attempts, by=["k"])
    assert kinds.errors.tolist() == ["joint", "bound", "bound"]
    assert kinds.why.tolist() == ["", few_stored.why, overlap_errors.NOT_ASKED]


@pytest.mark.parametrize("by", [["k"], ["network", "k"]])
def test_joint_errors_go_to_their_own_curve_and_the_bound_to_the_others(by):
    rows = [(name, k, layer, 0.2) for name in "ab" for k in (10, 30) for layer in (0, 1)]
    curves = pd.DataFrame(rows, columns=["network", "k", "layer", "overlap"])
    if by == ["k"]:
        curves = curves[curves.network == "a"]
    halves = np.zeros((19, 2, 2))
    halves[:, 0, 1] = 0.02
    key = (10,) if by == ["k"] else ("a", 10)
    found = overlap_errors.add_errors(curves, 400, {key: halves, (*key[:-1], 30): None}, by)
    own = (found.network == "a") & (found.k == 10)
    assert found[own].error.tolist() == pytest.approx([0, 0.01]) and found[own].joint.all()
    assert np.allclose(found[~own].error, 0.02) and not found[~own].joint.any()


@pytest.mark.parametrize("exclude", ["before", "after"])
def test_halves_of_a_remote_homology_scatter_about_that_of_all_samples(exclude):
    neighbors, superfamily, family = relatives()
    dealt = overlap_errors.deal(600, superfamily)
    found = overlap_errors.remote_homology_replicates(
        neighbors, superfamily, family, dealt, 5, exclude
    )
    # In a half the k nearest reach twice as far: ten neighbours of all samples come close to it.
    whole = overlap.remote_homology(neighbors, superfamily, family, 10, exclude)
    error, _ = resampling.jackknife(found)
    assert found.mean() == pytest.approx(whole, abs=4 * error)
    assert 0.003 < error < 0.03


def test_without_relatives_a_remote_homology_is_the_label_overlap_in_each_half():
    neighbors, superfamily, _ = relatives()
    dealt = overlap_errors.deal(600, superfamily)
    expected = resampling.label_overlap_replicates(neighbors, superfamily, dealt, 5)
    for exclude in ("before", "after"):
        found = overlap_errors.remote_homology_replicates(
            neighbors, superfamily, np.arange(600), dealt, 5, exclude
        )
        assert np.allclose(found, expected)


def test_a_point_among_relatives_only_is_refused():
    neighbors, superfamily, _ = relatives()
    dealt = overlap_errors.deal(600, superfamily)
    with pytest.raises(UserError, match="stored neighbours outside its family, 5 are needed"):
        overlap_errors.remote_homology_replicates(neighbors, superfamily, np.zeros(600), dealt, 5)


def test_the_error_of_an_overlap_is_the_largest_that_fractions_can_have():
    """It is reached by fractions of 0 and 1 only, and no other fractions vary more."""
    rng = np.random.default_rng(0)
    extreme = (rng.random(2000) < 0.3).astype(float)
    bound = overlap_errors.overlap_error(extreme.mean(), 2000)
    assert extreme.std() / 2000**0.5 == pytest.approx(bound)
    milder = rng.choice([0.0, 0.2, 0.5, 1.0], 2000)
    assert milder.std() / 2000**0.5 < overlap_errors.overlap_error(milder.mean(), 2000)
