"""Errors from balanced halves of the samples: exact for means, right for nearest neighbours."""

import numpy as np
import pandas as pd
import pytest

from georep_utils.geometry import resampling
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.geometry.scaling import gride_scaling, twonn_scaling
from georep_utils.io import UserError


@pytest.fixture(scope="module")
def cloud():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 60)
    centres = 1.5 * rng.standard_normal((10, 5))
    return centres[labels] + rng.standard_normal((600, 5)), labels


def test_groups_are_disjoint_equal_and_hold_each_class_evenly():
    labels = np.repeat(["a", "b", "c"], [100, 61, 40])
    dealt = resampling.groups(201, labels)
    assert set(np.bincount(dealt)) <= {10, 11}
    for name in "abc":
        counts = np.bincount(dealt[labels == name], minlength=20)
        assert np.ptp(counts) <= 1
    assert np.array_equal(dealt, resampling.groups(201, labels))
    assert not np.array_equal(dealt, resampling.groups(201, labels, seed=1))


@pytest.mark.parametrize("n_groups", resampling.GROUP_NUMBERS)
def test_half_samples_are_balanced(n_groups):
    signs = np.where(resampling.half_samples(n_groups), 1, -1)
    assert signs.shape == (n_groups - 1, n_groups)
    assert (signs.sum(axis=1) == 0).all()
    assert np.array_equal(signs @ signs.T, n_groups * np.eye(n_groups - 1))


def test_the_error_of_a_mean_is_the_one_of_its_group_means():
    values = np.random.default_rng(1).standard_normal((20, 3)) @ np.array(
        [[1, 0.9, 0], [0, 0.4, 0], [0, 0, 2]]
    )
    halves = [
        (values[half].mean(axis=0), values[~half].mean(axis=0))
        for half in resampling.half_samples()
    ]
    error, covariance = resampling.jackknife(halves)
    assert np.allclose(covariance, np.cov(values.T) / 20)
    assert np.allclose(error, np.sqrt(np.diag(covariance)))


def test_a_difference_of_layers_is_surer_than_each(cloud):
    points, labels = cloud
    dealt = resampling.groups(len(points), labels)
    moved = points + 0.05 * np.random.default_rng(2).standard_normal(points.shape)
    tables = [nearest_neighbors(X, 50, 2, "cpu") for X in (points, moved)]
    a, b = (resampling.label_overlap_replicates(table, labels, dealt, 10) for table in tables)
    value, error = resampling.difference(0.6, 0.59, a, b)
    assert value == pytest.approx(0.01)
    assert error < 0.5 * resampling.jackknife(a)[0]


def test_error_bars_have_the_size_of_the_true_spread():
    values, errors = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(5), 60)
        points = np.random.default_rng(9).standard_normal((5, 4))[labels] + rng.standard_normal(
            (300, 4)
        )
        dealt = resampling.groups(300, labels, seed=seed)
        table = nearest_neighbors(points, 50, 2, "cpu")
        value, halves = resampling.twonn_replicates(points, dealt, 1, 1, device="cpu")
        overlap = np.mean(labels[table.indices[:, 1:11]] == labels[:, None])
        values.append((value, overlap))
        of_overlap = resampling.label_overlap_replicates(table, labels, dealt, 10)
        errors.append((resampling.jackknife(halves)[0], resampling.jackknife(of_overlap)[0]))
    ratio = np.sqrt(np.mean(np.square(errors), axis=0)) / np.std(values, axis=0, ddof=1)
    assert (ratio > 0.7).all() and (ratio < 1.4).all()  # 40 samples know the true spread to a ninth


def test_halves_hold_the_nearest_neighbours_of_their_own_points(cloud):
    points, _ = cloud
    dealt = resampling.groups(len(points))
    table = nearest_neighbors(points, 60, 2, "cpu")
    first, second = next(resampling.halves(table, dealt, 5))
    assert len(first.rows) + len(second.rows) == len(points)
    direct = nearest_neighbors(points[first.rows], 5, 2, "cpu")
    assert np.array_equal(first.rows[direct.indices[:, 1:]], first.indices)


def test_twonn_is_that_of_the_scaling_curve(cloud):
    from georep_utils.geometry.scaling import twonn_scaling

    points, _ = cloud
    value, _ = resampling.twonn_replicates(
        points, resampling.groups(len(points)), 1, 1, device="cpu"
    )
    assert value == pytest.approx(twonn_scaling(points, (1,), device="cpu")["id"][0], rel=1e-3)


def test_equal_layers_overlap_wholly_in_every_half(cloud):
    points, labels = cloud
    dealt = resampling.groups(len(points), labels)
    table = nearest_neighbors(points, 50, 2, "cpu")
    assert (resampling.data_overlap_replicates(table, table, dealt, 10) == 1).all()


def test_what_cannot_be_resampled_is_refused(cloud):
    points, labels = cloud
    with pytest.raises(UserError, match="15 samples for 20 groups"):
        resampling.groups(15)
    with pytest.raises(UserError, match="balanced halves"):
        resampling.groups(100, n_groups=10)
    with pytest.raises(UserError, match="all 100 labels are different"):
        resampling.groups(100, np.arange(100))
    with pytest.raises(UserError, match="one group only"):
        resampling.groups(100, np.r_[np.zeros(99), 1])
    with pytest.raises(UserError, match="one for each"):
        resampling.groups(100, np.zeros(5))
    few = nearest_neighbors(points, 12, 2, "cpu")
    with pytest.raises(UserError, match="search again with maxk of 50"):
        resampling.label_overlap_replicates(few, labels, resampling.groups(600, labels), 10)
    with pytest.raises(UserError, match="smaller decimation"):
        resampling.twonn_replicates(points, resampling.groups(600), decimation=32)
    with pytest.raises(UserError, match="expected .divisions, 2"):
        resampling.jackknife(np.zeros((5, 2)))


def test_replicates_come_back_from_their_table():
    values = np.random.default_rng(0).standard_normal((19, 2, 3))
    table = resampling.to_rows(values, [4, 0, 9], quantity="intrinsic_dimension")
    assert list(table) == ["layer", "division", "half", "value", "quantity"]
    layers, again = resampling.from_rows(table.sample(frac=1, random_state=0))
    assert layers.tolist() == [0, 4, 9]
    assert np.array_equal(again, values[:, :, [1, 0, 2]])
    with pytest.raises(UserError, match="one statistic"):
        resampling.from_rows(pd.concat([table, table]))
    with pytest.raises(UserError, match="both halves"):
        resampling.from_rows(table[1:])
    with pytest.raises(UserError, match="for 2 layers"):
        resampling.to_rows(values, [0, 1])


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_gride_finds_what_dadapy_finds(cloud, k):
    table = nearest_neighbors(cloud[0], 10, 256, "cpu")
    theirs = gride_scaling(table).set_index("k").id[k]
    ours = resampling.gride_fit(table.mus[:, int(np.log2(k))], k)
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize(("fraction", "algorithm"), [(0.9, "base"), (0.98, "ml"), (1, "base")])
def test_twonn_in_halves_is_the_estimator_that_was_asked_for(cloud, fraction, algorithm):
    points, _ = cloud
    dealt = resampling.groups(len(points))
    options = {"n_repetitions": 1, "fraction": fraction, "algorithm": algorithm, "device": "cpu"}
    value, halves = resampling.twonn_replicates(points, dealt, 1, **options)
    theirs = twonn_scaling(points, (1,), **options).id[0]
    assert value == pytest.approx(theirs, rel=1e-4)
    assert halves.mean() == pytest.approx(value)


def test_gride_s_errors_have_the_size_of_the_true_spread():
    values = []
    errors = []
    for seed in range(40):
        points = np.random.default_rng(seed).standard_normal((400, 4))
        table = nearest_neighbors(points, 44, 8, "cpu")
        value, halves = resampling.gride_replicates(table, resampling.groups(400), (2, 4))
        values.append(value)
        errors.append(resampling.jackknife(halves)[0])
    ratio = np.sqrt(np.mean(np.square(errors))) / np.std(values, ddof=1)
    assert 0.7 < ratio < 1.4  # 40 samples know the true spread to a ninth


def test_labels_that_can_not_be_balanced_leave_groups_without_them():
    labels = np.arange(100) % 5
    assert np.array_equal(resampling.groups_of_points(100, labels), resampling.groups(100, labels))
    alone = resampling.groups(100)
    assert np.array_equal(resampling.groups_of_points(100, np.arange(100)), alone)
    assert np.array_equal(resampling.groups_of_points(100, np.r_[np.zeros(99), 1]), alone)


def test_overlaps_that_cannot_be_halved_are_named(cloud):
    points, labels = cloud
    dealt = resampling.groups(600, labels)
    table = nearest_neighbors(points, 50, 2, "cpu")
    missing = np.where(np.arange(600) < 5, np.nan, labels)
    huddled = np.where(dealt == 0, 99, labels)
    for given, groups, k, named in [
        (labels, dealt, 0, "k = 0 neighbours: expected 1 or more"),
        (missing, dealt, 10, "5 of 600 labels are missing"),
        (np.zeros(600), dealt, 10, "needs two classes or more"),
        (np.array([]), dealt, 10, "expected one for each"),
        (huddled, dealt, 10, "1 classes lie in one group only .first: 99"),
        (labels, np.zeros(600, int), 10, "two or more groups"),
        (labels, dealt - 1, 10, "two or more groups"),
        (labels, np.full(600, np.nan), 10, "two or more groups"),
        (labels, np.arange(600), 10, "two or more groups"),
        (labels, dealt[:5], 10, "5 groups for 600 points"),
        (labels, None, 10, "not dealt into groups: 40 or more"),
    ]:
        with pytest.raises(UserError, match=named):
            resampling.label_overlap_replicates(table, given, groups, k)


@pytest.mark.parametrize(
    ("mus", "named"),
    [
        (np.array([]), "0 of 0 ratios"),
        (np.full(50, np.nan), "0 of 50 ratios"),
        (np.full(50, np.inf), "0 of 50 ratios"),
        (np.array([1.5]), "1 of 1 ratios"),
        (np.ones(50), "no dimension from 0.001 to 1000 fits these 50"),
        (1 + 1e-9 * np.arange(1, 51), "no dimension from 0.001 to 1000 fits"),
    ],
)
def test_ratios_that_no_dimension_fits_are_named(mus, named):
    with pytest.raises(UserError, match=named):
        resampling.gride_fit(mus, 2)


def test_a_rank_below_one_is_named_and_some_ties_do_no_harm():
    rng = np.random.default_rng(0)
    mus = 1 + rng.pareto(5, 2000)
    with pytest.raises(UserError, match="k = 0: expected a rank"):
        resampling.gride_fit(mus, 0)
    mus[:20] = 1
    assert resampling.gride_fit(mus, 1) == pytest.approx(5, rel=0.1)
    assert np.isfinite(resampling.gride_fit(np.full(50, 1.5), 1))
