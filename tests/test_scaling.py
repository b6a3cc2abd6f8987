"""Dimension against scale: known manifolds, agreement with DADApy, duplicates, what is refused."""

import numpy as np
import pandas as pd
import pytest
from dadapy.data import Data
from measured_curves import at, curves_of

from georep_utils.geometry import synthetic
from georep_utils.geometry.duplicates import drop_duplicates, n_different
from georep_utils.geometry.neighbors import Neighbors, nearest_neighbors
from georep_utils.geometry.scaling import (
    check_representation,
    gride_scaling,
    twonn_scaling,
)
from georep_utils.io import UserError


@pytest.mark.parametrize(
    ("make", "d"),
    [
        (synthetic.hypercube, 2),
        (synthetic.hypercube, 4),
        (synthetic.sphere, 5),
        (synthetic.torus, 3),
    ],
)
def test_cubes_spheres_and_tori_have_their_dimension(make, d):
    table = curves_of(make(2000, d, seed=1), decimations=(1, 2))
    for method in ("twonn", "gride"):
        for scale in (1, 2):
            assert at(table, scale, method)["id"] == pytest.approx(d, rel=0.08)


def test_the_dimension_does_not_depend_on_the_ambient_space_or_the_units():
    X = synthetic.sphere(1500, 4)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((200, 5)))[0].T
    enlarged = 1e3 * X @ rotation.astype(np.float32)
    here = twonn_scaling(X, decimations=(1,))["id"][0]
    there = twonn_scaling(enlarged, decimations=(1,))["id"][0]
    assert here == pytest.approx(there, rel=1e-3)


def test_twonn_equals_dadapy_on_every_disjoint_subset():
    X = synthetic.sphere(600, 5)
    seed = 3
    table = twonn_scaling(X, decimations=(1, 4), seed=seed)
    rng = np.random.default_rng(seed)
    rng.permutation(600)
    subsets = np.split(rng.permutation(600), 4)
    assert sorted(np.concatenate(subsets)) == list(range(600))
    direct = []
    for rows in (np.arange(600), *(np.sort(subset) for subset in subsets)):
        found = nearest_neighbors(X[rows], maxk=2, range_max=2)
        data = Data(distances=(found.distances, found.indices))
        direct.append(data.compute_id_2NN(mu_fraction=0.98)[0])
    assert at(table, 1)["id"] == pytest.approx(direct[0], rel=1e-10)
    assert at(table, 4)["id"] == pytest.approx(np.mean(direct[1:]), rel=1e-10)
    assert at(table, 4)["id_err"] == pytest.approx(np.std(direct[1:], ddof=1) / 2, rel=1e-10)
    from_coordinates = Data(coordinates=X.astype(np.float64)).compute_id_2NN(mu_fraction=0.98)[0]
    assert at(table, 1)["id"] == pytest.approx(from_coordinates, rel=1e-5)


def test_gride_equals_dadapy_with_its_fisher_error():
    found = nearest_neighbors(synthetic.hyperball(600, 5), maxk=128, range_max=128)
    data = Data(distances=(found.distances, found.indices), maxk=128)
    ids, errors, radii = data.return_id_scaling_gride(range_max=128)
    ranks = 2 ** np.arange(8)
    r = found.distances.astype(np.float64)
    mus = r[:, ranks[1:]] / r[:, ranks[:-1]]
    from_same_ratios = gride_scaling(Neighbors(found.distances, found.indices, mus, found.radii))
    np.testing.assert_allclose(from_same_ratios["id"], ids, rtol=1e-10)
    np.testing.assert_allclose(from_same_ratios["id_err"], errors, rtol=1e-10)
    np.testing.assert_allclose(from_same_ratios["radius"], radii, rtol=1e-6)
    table = gride_scaling(found)
    np.testing.assert_allclose(table["id"], ids, rtol=1e-5)
    assert table["scale"].tolist() == table["k"].tolist() == [1, 2, 4, 8, 16, 32, 64]


def test_twonn_and_gride_agree_at_scale_one():
    X = synthetic.sphere(3000, 3)
    table = curves_of(X, decimations=(1,), algorithm="ml", fraction=1.0)
    twonn = at(table, 1)
    gride = at(table, 1, "gride")
    assert twonn["id"] == pytest.approx(gride["id"], rel=0.02)
    assert twonn["radius"] == pytest.approx(gride["radius"], rel=1e-5)


def test_repetitions_are_capped_by_the_number_of_disjoint_subsets_and_seeded():
    X = synthetic.hypercube(640, 2)
    table = twonn_scaling(X, decimations=(1, 2, 8, 32), seed=5)
    assert table["repetitions"].tolist() == [1, 2, 4, 4]
    assert table["n_points"].tolist() == [640, 320, 80, 20]
    assert (table["id_err"] > 0).all()
    assert table["radius"].is_monotonic_increasing
    again = twonn_scaling(X, decimations=(1, 2, 8, 32), seed=5)
    pd.testing.assert_frame_equal(table, again)


def test_both_methods_have_the_same_columns_in_the_same_order():
    X = synthetic.hypercube(100, 2)
    twonn = twonn_scaling(X, decimations=(1,))
    gride = gride_scaling(nearest_neighbors(X, maxk=2, range_max=4))
    first = ["method", "scale", "n_points", "k", "id", "id_err"]
    rest = ["radius", "repetitions", "fraction", "n_excluded"]
    assert twonn.columns.tolist() == gride.columns.tolist() == first + rest


def test_decimating_a_truncated_neighbor_table_would_bias_the_estimate_upwards():
    X = synthetic.sphere(6000, 6, seed=2)
    found = nearest_neighbors(X, maxk=50, range_max=2)
    stored = Data(distances=(found.distances, found.indices), maxk=50)
    with pytest.warns(UserWarning, match="Decimation from a sparse distance matrix"):
        truncated = stored.compute_id_2NN(mu_fraction=0.98, data_fraction=1 / 32, n_iter=20)[0]
    ours = at(twonn_scaling(X, decimations=(32,), n_repetitions=20), 32)["id"]
    assert truncated > 1.03 * ours


def test_duplicates_are_dropped_with_their_labels_or_counted_never_hidden():
    X = np.repeat(synthetic.hypercube(300, 3), [2] * 50 + [1] * 250, axis=0)
    labels = np.arange(350)
    kept, kept_labels, rows = drop_duplicates(X, labels)
    assert len(kept) == n_different(X) == 300
    assert (X[rows] == kept).all()
    assert (labels[rows] == kept_labels).all()
    assert (np.diff(rows) > 0).all()
    assert kept_labels[:3].tolist() == [0, 2, 4]
    assert drop_duplicates(X)[1] is None
    twonn = twonn_scaling(X, decimations=(1,))
    assert twonn["n_excluded"][0] == 100
    assert np.isfinite(twonn["id"][0])
    gride = gride_scaling(nearest_neighbors(X, maxk=2, range_max=64))
    assert gride["n_excluded"].tolist() == [100, 0, 0, 0, 0, 0]
    assert np.isfinite(gride["id"]).all()
    warnings = check_representation(X, layer=2)
    assert any("50 of 350 points repeat" in line for line in warnings)


def test_zeros_of_either_sign_are_the_same_number():
    assert n_different(np.zeros((0, 3))) == 0
    assert n_different(np.array([[1, 2], [1, 2]])) == 1
    assert n_different(np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 2.0]])) == 2


def test_too_few_different_points_are_refused_by_both_methods():
    X = np.repeat(synthetic.hypercube(15, 4), 7, axis=0)
    with pytest.raises(UserError, match="only 0 of 105 points have a positive distance"):
        twonn_scaling(X, decimations=(1,))
    with pytest.raises(UserError, match="only 0 of 105 points have a positive distance"):
        gride_scaling(nearest_neighbors(X, maxk=2, range_max=2))


def test_bad_representations_are_named_with_their_layer():
    good = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)
    holes = good.copy()
    holes[7, 2] = np.nan
    level = good.copy()
    level[:, 1] = 3
    cases = {
        "layer 3 has NaN or infinity in 1 of 100 points .first: 7.": (holes, 1),
        "layer 3 has all 100 points identical": (np.ones((100, 4)), 1),
        "layer 3 has 100 points: decimation by 32 leaves 3": (good, 32),
        "layer 3 has shape .100,.: expected .points, width.": (good[:, 0], 1),
    }
    for message, (X, decimation) in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            check_representation(X, layer=3, decimation=decimation)
        assert "\n" not in str(caught.value)
    assert check_representation(good, layer=3) == []
    assert check_representation(level, layer=3) == ["layer 3: 1 of 4 columns are constant"]
