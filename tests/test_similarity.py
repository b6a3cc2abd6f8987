"""What the three measures of likeness see, and what they must not see."""

import numpy as np
import pytest

from georep_utils.geometry import overlap, similarity
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import UserError

N = 300


def points(width=6, seed=0, n=N):
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def near(X, k=10):
    return nearest_neighbors(X, maxk=k, range_max=2, device="cpu")


def rotation(width, seed=1):
    matrix = np.random.default_rng(seed).standard_normal((width, width))
    return np.linalg.qr(matrix)[0]


# ------------------------------------------------------------------------------------------ overlap


def test_a_cloud_overlaps_fully_with_itself_and_each_pair_as_dadapy_counts():
    layers = [near(points()), near(points() ** 3), near(points(seed=5))]
    found = similarity.overlap_map(layers, layers, 10)
    assert np.array_equal(np.diag(found), np.ones(3))
    expected = [[overlap.data_overlap(a, b, 10) for b in layers] for a in layers]
    assert np.allclose(found, expected)
    assert found[0, 1] > 0.3 > found[0, 2]


def test_large_tables_are_compared_in_blocks(monkeypatch):
    layers = [near(points()), near(points() ** 3)]
    whole = similarity.overlap_map(layers, layers, 10)
    monkeypatch.setattr(similarity, "BLOCK", 700)
    assert np.array_equal(similarity.overlap_map(layers, layers, 10), whole)


def test_permuted_rows_overlap_at_chance_even_where_the_clouds_are_equal():
    a = near(points())
    null = similarity.permutation_null([a], [a], 10, n_permutations=200)
    assert null.shape == (200, 1, 1)
    error = null.std() / np.sqrt(200)
    assert abs(null.mean() - 10 / (N - 1)) < 4 * error
    assert null.max() < 0.1 and null.std() > 0


def test_a_permutation_renames_neighbours_as_the_search_would():
    X = points()
    order = np.random.default_rng(3).permutation(N)
    renamed = similarity._permuted(near(X).indices[:, 1:], order)
    assert np.array_equal(renamed, near(X[order]).indices[:, 1:])


def test_all_layers_are_permuted_alike_and_a_seed_repeats_it():
    a = near(points())
    null = similarity.permutation_null([a], [a, a], 10, 5, seed=2)
    assert np.array_equal(null[..., 0], null[..., 1])
    assert np.array_equal(null, similarity.permutation_null([a], [a, a], 10, 5, seed=2))
    assert not np.array_equal(null, similarity.permutation_null([a], [a, a], 10, 5, seed=3))


def test_other_samples_and_too_many_neighbours_are_refused():
    with pytest.raises(UserError, match="200 and of 300 samples"):
        similarity.overlap_map([near(points())], [near(points(n=200))], 10)
    with pytest.raises(UserError, match="10 neighbours are stored"):
        similarity.overlap_map([near(points())], [near(points())], 11)
    with pytest.raises(UserError, match="200 and of 300 samples"):
        similarity.linear_cka(points(), points(n=200))


# ---------------------------------------------------------------------------- information imbalance


def test_a_projection_is_predicted_by_the_whole_but_does_not_predict_it():
    X = points(width=8)
    onto_two, back = similarity.information_imbalance(X, X[:, :2])
    assert onto_two < 0.75 * back


def test_equal_clouds_predict_each_other_and_unrelated_ones_do_not():
    X = points()
    assert similarity.information_imbalance(X, 3 * X @ rotation(6)) == pytest.approx((2 / N, 2 / N))
    for delta in similarity.information_imbalance(X, points(seed=9)):
        assert abs(delta - 1) < 0.12


def test_maps_of_imbalance_hold_the_numbers_of_dadapy():
    a = [points(), points(width=3, seed=4)]
    b = [points()[:, :2], points() ** 3, points(seed=7)]
    forward, backward = similarity.imbalance_maps(a, b)
    assert forward.shape == backward.shape == (2, 3)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            expected = similarity.information_imbalance(x, y)
            assert (forward[i, j], backward[i, j]) == pytest.approx(expected, abs=1e-3)


# ---------------------------------------------------------------------------------------------- CKA


def test_cka_is_the_cosine_between_the_matrices_of_inner_products():
    x = points()
    y = points(width=9, seed=2) + x[:, :1]
    centre = np.eye(N) - 1 / N
    K = centre @ x @ x.T @ centre
    L = centre @ y @ y.T @ centre
    cosine = np.sum(K * L) / np.sqrt(np.sum(K**2) * np.sum(L**2))
    assert similarity.linear_cka(x, y) == pytest.approx(cosine, rel=1e-4)


def test_cka_sees_no_rotation_no_shift_and_no_scale_but_a_stretched_axis():
    x = points()
    moved = 5 * x @ rotation(6) + 100
    assert similarity.linear_cka(x, moved) == pytest.approx(1, abs=1e-6)
    stretched = x * [20, 1, 1, 1, 1, 1]
    assert similarity.linear_cka(x, stretched) < 0.6


def test_cka_of_independent_clouds_is_what_chance_gives():
    found = [similarity.linear_cka(points(seed=i), points(9, seed=100 + i)) for i in range(40)]
    x, y = points(), points(9, seed=100)
    chance = similarity.cka_chance(x, y)
    # For isotropic clouds chance is about the root of the product of the widths, over N.
    assert chance == pytest.approx(np.sqrt(6 * 9) / N, rel=0.1)
    assert np.mean(found) == pytest.approx(chance, rel=0.15)


def test_chance_is_the_mean_over_all_orders_of_the_rows():
    from itertools import permutations

    x, y = points(2, n=5), points(3, seed=8, n=5)
    over_all = [similarity.linear_cka(x, y[list(order)]) for order in permutations(range(5))]
    assert similarity.cka_chance(x, y) == pytest.approx(np.mean(over_all))


def test_more_features_than_samples_change_nothing():
    wide = points(width=2 * N)
    expected = similarity.linear_cka(wide, points())
    assert similarity.linear_cka(wide @ rotation(2 * N), points()) == pytest.approx(expected)


def test_a_map_of_cka_holds_the_number_and_the_chance_level_of_each_pair():
    a = [points(), points(3, seed=1)]
    b = [points() ** 3, points(9, seed=2), points(2, seed=3)]
    measured, chance = similarity.cka_map(a, b)
    assert np.allclose(measured, [[similarity.linear_cka(x, y) for y in b] for x in a])
    assert np.allclose(chance, [[similarity.cka_chance(x, y) for y in b] for x in a])


def test_a_layer_of_one_point_is_refused():
    with pytest.raises(UserError, match="one point"):
        similarity.linear_cka(points(), np.ones((N, 3)))


def test_layers_are_spread_from_the_first_to_the_last():
    assert similarity.spread(range(26), 12)[0] == 0 and similarity.spread(range(26), 12)[-1] == 25
    assert len(set(similarity.spread(range(26), 12))) == 12
    assert similarity.spread([3, 4], 12) == [3, 4]
