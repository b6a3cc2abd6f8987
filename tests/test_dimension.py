"""Intrinsic dimension: known manifolds, agreement with DADApy, the choice of scale, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from georep_utils.geometry import scale_rules as dimension, synthetic as manifolds
from georep_utils.geometry.neighbors import Neighbors, nearest_neighbors
from georep_utils.io import UserError


def curves(X, layer=0, **options):
    neighbors = nearest_neighbors(X, maxk=2, range_max=min(1024, 2 ** int(np.log2(len(X) - 1))))
    both = [dimension.gride_scaling(neighbors), dimension.twonn_scaling(X, neighbors=neighbors, **options)]
    return pd.concat(both, ignore_index=True).assign(layer=layer)


def at(table, scale, method="twonn"):
    return table[(table["method"] == method) & (table["scale"] == scale)].iloc[0]


@pytest.mark.parametrize(
    ("make", "d"),
    [(manifolds.hypercube, 2), (manifolds.hypercube, 4), (manifolds.sphere, 5), (manifolds.torus, 3)],
)
def test_cubes_spheres_and_tori_have_their_dimension(make, d):
    table = curves(make(2000, d, seed=1), decimations=(1, 2))
    for row in (at(table, 1), at(table, 2), at(table, 1, "gride"), at(table, 2, "gride")):
        assert row["id"] == pytest.approx(d, rel=0.08)


def test_the_dimension_does_not_depend_on_the_ambient_space_or_the_units():
    X = manifolds.sphere(1500, 4)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((200, 5)))[0].T
    a, b = (dimension.twonn_scaling(Y, decimations=(1,))["id"][0] for Y in (X, 1e3 * X @ rotation.astype(np.float32)))
    assert a == pytest.approx(b, rel=1e-3)


def test_twonn_equals_dadapy_on_every_disjoint_subset():
    from dadapy.data import Data

    X, seed = manifolds.sphere(600, 5), 3
    table = dimension.twonn_scaling(X, decimations=(1, 4), seed=seed)
    rng = np.random.default_rng(seed)
    rng.permutation(600)
    subsets = np.split(rng.permutation(600), 4)
    assert sorted(np.concatenate(subsets)) == list(range(600))
    direct = []
    for rows in (np.arange(600), *(np.sort(subset) for subset in subsets)):
        found = nearest_neighbors(X[rows], maxk=2, range_max=2)
        direct.append(Data(distances=(found.distances, found.indices)).compute_id_2NN(mu_fraction=0.98)[0])
    assert at(table, 1)["id"] == pytest.approx(direct[0], rel=1e-10)
    assert at(table, 4)["id"] == pytest.approx(np.mean(direct[1:]), rel=1e-10)
    assert at(table, 4)["id_err"] == pytest.approx(np.std(direct[1:], ddof=1) / 2, rel=1e-10)
    from_coordinates = Data(coordinates=X.astype(np.float64)).compute_id_2NN(mu_fraction=0.98)[0]
    assert at(table, 1)["id"] == pytest.approx(from_coordinates, rel=1e-5)


def test_gride_equals_dadapy_with_its_fisher_error():
    from dadapy.data import Data

    neighbors = nearest_neighbors(manifolds.hyperball(600, 5), maxk=128, range_max=128)
    table = dimension.gride_scaling(neighbors)
    data = Data(distances=(neighbors.distances, neighbors.indices), maxk=128)
    ranks = 2 ** np.arange(8)
    r = neighbors.distances.astype(np.float64)
    exact = Neighbors(neighbors.distances, neighbors.indices, r[:, ranks[1:]] / r[:, ranks[:-1]], neighbors.radii)
    ids, errors, radii = data.return_id_scaling_gride(range_max=128)
    precise = dimension.gride_scaling(exact)
    np.testing.assert_allclose(precise["id"], ids, rtol=1e-10)
    np.testing.assert_allclose(precise["id_err"], errors, rtol=1e-10)
    np.testing.assert_allclose(precise["radius"], radii, rtol=1e-6)
    np.testing.assert_allclose(table["id"], ids, rtol=1e-5)
    assert table["scale"].tolist() == table["k"].tolist() == [1, 2, 4, 8, 16, 32, 64]


def test_twonn_and_gride_agree_at_scale_one():
    table = curves(manifolds.sphere(3000, 3), decimations=(1,), algorithm="ml", fraction=1.0)
    assert at(table, 1)["id"] == pytest.approx(at(table, 1, "gride")["id"], rel=0.02)
    assert at(table, 1)["radius"] == pytest.approx(at(table, 1, "gride")["radius"], rel=1e-5)


def test_repetitions_are_capped_by_the_number_of_disjoint_subsets_and_seeded():
    X = manifolds.hypercube(640, 2)
    table = dimension.twonn_scaling(X, decimations=(1, 2, 8, 32), seed=5)
    assert table["repetitions"].tolist() == [1, 2, 4, 4]
    assert table["n_points"].tolist() == [640, 320, 80, 20]
    assert (table["id_err"] > 0).all() and table["radius"].is_monotonic_increasing
    pd.testing.assert_frame_equal(table, dimension.twonn_scaling(X, decimations=(1, 2, 8, 32), seed=5))


def test_decimating_a_truncated_neighbor_table_would_bias_the_estimate_upwards():
    from dadapy.data import Data

    X = manifolds.sphere(6000, 6, seed=2)
    found = nearest_neighbors(X, maxk=50, range_max=2)
    stored = Data(distances=(found.distances, found.indices), maxk=50)
    with pytest.warns(UserWarning, match="Decimation from a sparse distance matrix"):
        truncated = stored.compute_id_2NN(mu_fraction=0.98, data_fraction=1 / 32, n_iter=20)[0]
    ours = at(dimension.twonn_scaling(X, decimations=(32,), n_repetitions=20), 32)["id"]
    assert truncated > 1.03 * ours


def test_duplicates_are_dropped_with_their_labels_or_counted_never_hidden():
    X = np.repeat(manifolds.hypercube(300, 3), [2] * 50 + [1] * 250, axis=0)
    labels = np.arange(350)
    kept, kept_labels, rows = dimension.drop_duplicates(X, labels)
    assert len(kept) == 300 and (X[rows] == kept).all() and (labels[rows] == kept_labels).all()
    assert (np.diff(rows) > 0).all() and kept_labels[:3].tolist() == [0, 2, 4]
    assert dimension.drop_duplicates(X)[1] is None
    table = dimension.twonn_scaling(X, decimations=(1,))
    assert table["n_excluded"][0] == 100 and np.isfinite(table["id"][0])
    gride = dimension.gride_scaling(nearest_neighbors(X, maxk=2, range_max=64))
    assert gride["n_excluded"].tolist() == [100, 0, 0, 0, 0, 0] and np.isfinite(gride["id"]).all()
    assert any("50 of 350 points repeat" in line for line in dimension.check_representation(X, layer=2))


@pytest.fixture(scope="module")
def model_curves():
    """Five layers of a stand-in model: a hunchback of dimensions 2, 4, 5, 3, 4."""
    tables = [curves(manifolds.sphere(1300, d, ambient=12, seed=d + i), layer=i) for i, d in enumerate((2, 4, 5, 3, 4))]
    return pd.concat(tables, ignore_index=True)


def test_the_fixed_rules_read_the_scales_of_the_paper_and_of_its_release(model_curves):
    for rule, method, scales in (
        ("paper_text", "twonn", [4]),
        ("igpt_release", "twonn", [32]),
        ("gride_small_k", "gride", [2, 4]),
    ):
        selection = dimension.select_scale(model_curves, rule)
        rows = model_curves[(model_curves["method"] == method) & model_curves["scale"].isin(scales)]
        assert selection.method == method and selection.scale == pytest.approx(np.exp(np.mean(np.log(scales))))
        np.testing.assert_allclose(selection.profile["id"], rows.groupby("layer")["id"].mean())


def test_the_systematic_error_is_half_the_range_over_half_same_and_double_the_scale(model_curves):
    profile = dimension.select_scale(model_curves, "paper_text").profile
    rows = model_curves[(model_curves["method"] == "twonn") & model_curves["scale"].isin([2, 4, 8])]
    np.testing.assert_allclose(profile["id_sys"], rows.groupby("layer")["id"].agg(np.ptp) / 2)


def test_auto_finds_one_scale_for_all_layers_and_their_dimensions(model_curves):
    selection = dimension.select_scale(model_curves)
    assert selection.plateau and selection.profile["plateau"].sum() >= 4
    assert selection.profile["scale"].nunique() == 1
    np.testing.assert_allclose(selection.profile["id"], [2, 4, 5, 3, 4], rtol=0.1)
    assert len(selection.diagnostics) == 5 * len(model_curves[model_curves["method"] == "gride"]["scale"].unique())


def test_auto_passes_by_the_noise_at_small_scales():
    table = curves(manifolds.sphere(2500, 2, ambient=20, noise=0.005), decimations=(1,))
    assert at(table, 1, "gride")["id"] > 3
    selection = dimension.select_scale(table)
    assert selection.plateau and selection.scale > 4
    assert selection.profile["id"][0] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("d", [50, 200])
def test_a_full_rank_gaussian_has_no_plateau_under_any_rule(d):
    table = curves(manifolds.gaussian(1500, d), n_repetitions=4)
    for rule in ("auto", *dimension.RULES):
        selection = dimension.select_scale(table, rule)
        assert not selection.plateau and not selection.profile["plateau"].any()
        assert "0%" in selection.reason


def profile(ids, err=0.05):
    return pd.DataFrame({"layer": range(len(ids)), "id": ids, "id_err": err})


def test_the_semantic_layer_is_the_first_minimum_after_the_first_peak():
    found = dimension.semantic_layer(profile([8, 12, 20, 25, 18, 12, 9, 11, 15, 10, 6]))
    assert (found.kind, found.peak_layer, found.layer, found.low, found.high) == ("minimum", 3, 6, 6, 6)
    assert found.prominence == pytest.approx((15 - 9) / 25)


def test_the_semantic_layer_of_a_peak_and_a_level_tail_is_a_plateau():
    found = dimension.semantic_layer(profile([5, 9, 15, 20, 14, 8, 6, 6.1, 6, 5.95, 6.05, 6]))
    assert (found.kind, found.peak_layer, found.low, found.high) == ("plateau", 3, 6, 11)
    assert found.low <= found.layer <= found.high and found.prominence == pytest.approx(0.7, abs=0.01)


def test_a_wiggle_within_the_errors_is_no_minimum():
    found = dimension.semantic_layer(profile([8, 14, 20, 16, 15, 15.5, 12, 9, 12, 14], err=0.3))
    assert (found.kind, found.layer) == ("minimum", 7)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(1, 40), st.floats(0, 8)), min_size=1, max_size=25))
def test_any_profile_has_a_semantic_layer_behind_its_peak_or_none(points):
    ids, errors = map(list, zip(*points))
    found = dimension.semantic_layer(profile(ids, errors), draws=20)
    assert 0 <= found.support <= 1 and (found.layer is None) == (found.kind == "none")
    if found.layer is not None:
        assert found.low <= found.layer <= found.high and found.peak_layer < found.layer and found.prominence <= 1


def test_errors_widen_the_range_of_the_semantic_layer_and_lower_its_support():
    ids = [8, 14, 20, 15, 12.1, 12.4, 12, 12.4, 12.1, 15, 17]
    sure, unsure = (dimension.semantic_layer(profile(ids, err)) for err in (0.01, 1.0))
    assert (sure.layer, sure.support) == (6, 1.0) and unsure.layer == 6
    assert unsure.low <= sure.low <= 6 <= sure.high <= unsure.high and unsure.high - unsure.low >= 2
    faint = dimension.semantic_layer(profile([8, 9, 10, 9.2, 9, 9.1, 9.3, 9.45, 9.4], err=0.3))
    assert 0 < faint.support < 1
    assert dimension.semantic_layer(profile([8, 14, 20, 9, 14]).drop(columns="id_err")).support == 1.0
    assert dimension.semantic_layer(profile(ids, 1.0)) == unsure


@pytest.mark.parametrize(
    "ids, peak", [([7, 7.1, 7, 6.95, 7.05, 7], None), ([5, 6, 7, 8, 9, 10], None), ([5, 8, 12, 10, 8, 6], 2)]
)
def test_a_profile_without_such_a_feature_has_no_semantic_layer(ids, peak):
    found = dimension.semantic_layer(profile(ids))
    assert (found.kind, found.layer, found.peak_layer) == ("none", None, peak)


def test_bad_representations_are_named_with_their_layer():
    good = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)
    holes, level = good.copy(), good.copy()
    holes[7, 2], level[:, 1] = np.nan, 3
    cases = {
        "layer 3 has NaN or infinity in 1 of 100 points .first: 7.": (holes, 1),
        "layer 3 has all 100 points identical": (np.ones((100, 4)), 1),
        "layer 3 has 100 points: decimation by 32 leaves 3": (good, 32),
        "layer 3 has shape .100,.: expected .points, width.": (good[:, 0], 1),
    }
    for message, (X, decimation) in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            dimension.check_representation(X, layer=3, decimation=decimation)
        assert "\n" not in str(caught.value)
    assert dimension.check_representation(good, layer=3) == []
    assert dimension.check_representation(level, layer=3) == ["layer 3: 1 of 4 columns are constant"]


def test_a_rule_whose_scale_was_not_measured_is_refused_by_name(model_curves):
    few = model_curves[~((model_curves["scale"] == 32) & (model_curves["layer"] == 2))]
    with pytest.raises(UserError, match="layer 2: rule igpt_release"):
        dimension.select_scale(few, "igpt_release")
    with pytest.raises(UserError, match="unknown scale rule 'best': expected auto, paper_text"):
        dimension.select_scale(model_curves, "best")
    with pytest.raises(UserError, match="layers .2. have no gride rows"):
        dimension.select_scale(model_curves[(model_curves["layer"] != 2) | (model_curves["method"] == "twonn")])
    with pytest.raises(UserError, match="3 scales of gride are common"):
        dimension.select_scale(model_curves[(model_curves["scale"] <= 4) | (model_curves["layer"] != 2)])
    with pytest.raises(UserError, match="gride at N/n = 1 stands twice for layer 0: give each scaling table its layer"):
        dimension.select_scale(model_curves.drop(columns="layer"))
    with pytest.raises(UserError, match="no rows"):
        dimension.select_scale(model_curves[:0])


def test_the_curves_of_one_cloud_need_no_layer(model_curves):
    one = model_curves[model_curves["layer"] == 3]
    named, bare = (dimension.select_scale(table) for table in (one, one.drop(columns="layer")))
    assert bare.profile["layer"].tolist() == [0] and bare.profile["id"][0] == named.profile["id"][0]
    assert (bare.plateau, bare.scale) == (named.plateau, named.scale)


@pytest.mark.parametrize(
    "make", [manifolds.hyperball, manifolds.sphere, manifolds.torus, manifolds.curved, manifolds.swiss_roll]
)
def test_generators_embed_without_changing_distances(make):
    flat, embedded = make(50, 3), make(50, 3, ambient=30)
    assert embedded.shape == (50, 30) and embedded.dtype == np.float32
    gaps = [np.linalg.norm(X[:, None] - X[None], axis=2) for X in (flat, embedded)]
    np.testing.assert_allclose(gaps[0], gaps[1], atol=1e-4 * gaps[0].max())
    with pytest.raises(UserError, match="2 ambient dimensions"):
        make(50, 3, ambient=2)


def test_controls_keep_what_they_should_keep():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 3)) @ rng.standard_normal((3, 6))
    shuffled = manifolds.shuffle_columns(X)
    np.testing.assert_allclose(np.sort(shuffled, axis=0), np.sort(X, axis=0))
    assert abs(np.corrcoef(shuffled.T)[np.triu_indices(6, 1)]).max() < 0.1
    covariance = np.cov(X.T)
    np.testing.assert_allclose(
        np.cov(manifolds.gaussian(100_000, covariance).T), covariance, atol=0.05 * covariance.max()
    )
    with pytest.raises(UserError, match="dimension 2, not 3"):
        manifolds.moebius(10, 3)
