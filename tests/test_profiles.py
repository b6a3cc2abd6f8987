"""Measurements layer by layer: what is measured, what is left out, and what the controls do."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from georep_utils.geometry import profiles, resampling, synthetic
from georep_utils.geometry.neighbors import largest_range, nearest_neighbors
from georep_utils.geometry.overlap import knn_accuracy
from georep_utils.geometry.scale_rules import select_scale, with_dispersion
from georep_utils.geometry.scaling import gride_scaling, twonn_scaling
from georep_utils.io import UserError

N = 600
TWONN = {"decimations": (1, 2, 4), "n_repetitions": 4, "fraction": 0.98, "seed": 0}


@dataclass
class Arrays:
    """Layers in memory, as the functions want them."""

    points: dict[int, np.ndarray]
    n_blocks: int = 1

    @property
    def layers(self):
        return tuple(self.points)

    def __getitem__(self, layer):
        return self.points[layer]

    def neighbors(self, layer):
        X = self.points[layer]
        return nearest_neighbors(X, maxk=10, range_max=largest_range(len(X), at_most=256))


@pytest.fixture(scope="module")
def two_spheres():
    return Arrays({0: synthetic.sphere(N, 3, seed=1), 1: synthetic.sphere(N, 6, seed=2)})


@pytest.fixture(scope="module")
def curves(two_spheres):
    return profiles.measure(two_spheres, [0, 1], **TWONN)


# ------------------------------------------------------------------------------ dimension by layer


def test_a_layer_where_most_points_are_copies_is_left_out_by_name(two_spheres):
    few = np.repeat(synthetic.sphere(N // 3, 3), 3, axis=0)
    screened = profiles.screen(Arrays({0: few} | {1: two_spheres[1]}))
    assert screened.layers == [1]
    assert screened.remarks == [f"layer 0 has {N // 3} different points of {N}: left out"]


def test_a_layer_where_less_than_half_are_copies_stays_and_is_remarked_on(two_spheres):
    some = two_spheres[0].copy()
    some[: N // 4] = some[N // 4 : N // 2]
    screened = profiles.screen(Arrays({3: some}))
    assert screened.layers == [3]
    assert len(screened.remarks) == 1
    assert "layer 3" in screened.remarks[0]


def test_layers_of_copies_alone_are_refused():
    with pytest.raises(UserError, match="most points of every layer are copies"):
        profiles.screen(Arrays({0: np.ones((N, 4), np.float32)}))


def test_too_few_points_for_the_decimation_are_refused_and_the_layer_is_named(two_spheres):
    with pytest.raises(UserError, match="layer 0"):
        profiles.screen(two_spheres, decimation=N // 10)


def test_a_layer_has_the_curves_that_its_points_alone_would_have(two_spheres, curves):
    near = two_spheres.neighbors(1)
    twonn = twonn_scaling(two_spheres[1], neighbors=near, **TWONN).assign(layer=1)
    gride = with_dispersion(gride_scaling(near), near).assign(layer=1)
    mine = curves[curves.layer == 1]
    for name, alone in {"twonn": twonn, "gride": gride}.items():
        found = mine[mine.method == name].reset_index(drop=True)
        assert_frame_equal(found[alone.columns], alone, check_dtype=False)


def test_without_copies_there_are_the_curves_of_the_different_points(two_spheres):
    X = two_spheres[0]
    cloud = Arrays({0: np.concatenate([X, X[:100]])})
    with_copies = profiles.measure(cloud, [0], **TWONN)
    without = profiles.measure(cloud, [0], without_copies=True, **TWONN)
    of_the_originals = profiles.measure(two_spheres, [0], **TWONN)
    at_scale_one = with_copies[with_copies.scale == 1]
    assert (at_scale_one.n_excluded == 200).all()
    assert (without.n_excluded == 0).all()
    assert_frame_equal(without, of_the_originals)


def test_rules_that_the_curves_do_not_support_are_left_out_with_the_reason(curves):
    selections, left_out = profiles.select_by_every_rule(curves, "paper_text")
    assert set(selections) == {"paper_text", "gride_small_k", "auto"}
    assert list(left_out) == ["igpt_release"]
    assert "32" in left_out["igpt_release"]


def test_another_fraction_leaves_the_released_rule_out_unless_it_is_asked_for(two_spheres):
    options = TWONN | {"decimations": (4, 16), "fraction": 0.9}
    curves = profiles.measure(two_spheres, [0, 1], **options)
    at_sixteen = (curves.method == "twonn") & (curves.scale == 16)
    # 600 points are too few for a decimation by 32; for the rule the number is what counts.
    wide = curves.assign(scale=curves.scale.mask(at_sixteen, 32.0))
    assert "igpt_release" in profiles.select_by_every_rule(wide, "paper_text")[1]
    assert "igpt_release" in profiles.select_by_every_rule(wide.assign(fraction=0.98))[0]
    with pytest.raises(UserError, match="igpt_release"):
        profiles.select_by_every_rule(wide, "igpt_release")
    with pytest.raises(UserError, match="unknown scale rule"):
        profiles.select_by_every_rule(wide, "best")


def test_points_that_are_nearly_copies_are_left_out_where_that_is_asked_for(two_spheres):
    X = two_spheres[1]
    cloud = Arrays({0: np.concatenate([X, X[:100] + np.float32(1e-5)])})
    points = profiles.points_of(cloud, 0, without_near=0.1)
    assert np.array_equal(points.samples, np.arange(N))
    assert len(points.neighbors.indices) == N
    whole = profiles.points_of(cloud, 0)
    assert len(whole.X) == N + 100 and np.array_equal(whole.samples, np.arange(N + 100))
    kept = profiles.measure(cloud, [0], without_near=0.1, **TWONN)
    assert_frame_equal(kept, profiles.measure(Arrays({0: X}), [0], **TWONN))


# ------------------------------------------------------------------------------------ joint errors


@pytest.mark.parametrize("rule", ["paper_text", "gride_small_k", "auto"])
def test_halves_of_the_samples_are_about_the_value_that_the_rule_read(two_spheres, curves, rule):
    selection = select_scale(curves, rule)
    found = profiles.replicates(two_spheres, selection, **TWONN)
    assert found.values.shape == (19, 2, 2) and not found.refused
    assert np.allclose(found.values.mean(axis=(0, 1)), selection.profile.id)
    error = resampling.jackknife(found.values)[0]
    likelihood = profiles.likelihood_errors(selection, curves)
    assert np.all(error > 0.3 * likelihood) and np.all(error < 4 * likelihood) or rule == "auto"


def test_a_step_between_two_nearly_equal_layers_is_surer_than_each(two_spheres):
    X = two_spheres[0]
    nearly = X + np.float32(0.002) * np.random.default_rng(5).standard_normal(X.shape)
    cloud = Arrays({0: X, 1: nearly.astype(np.float32)})
    selection = select_scale(profiles.measure(cloud, [0, 1], **TWONN), "paper_text")
    _, covariance = resampling.jackknife(profiles.replicates(cloud, selection, **TWONN).values)
    step = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert step < 0.2 * (covariance[0, 0] + covariance[1, 1])


def test_too_few_points_for_halves_are_named_and_there_are_no_values(two_spheres):
    few = Arrays({7: two_spheres[0][:120]})
    selection = select_scale(profiles.measure(few, [7], **TWONN), "paper_text")
    found = profiles.replicates(few, selection, **TWONN)
    assert found.values is None
    assert "layer 7" in found.refused and "at least 20" in found.refused


def test_the_textbook_error_counts_all_ratios_as_independent(curves):
    selection = select_scale(curves, "paper_text")
    expected = selection.profile.id / np.sqrt(N)
    assert np.allclose(profiles.likelihood_errors(selection, curves), expected)
    gride = select_scale(curves, "gride_small_k")
    assert np.array_equal(profiles.likelihood_errors(gride, curves), gride.profile.id_err)


# ---------------------------------------------------------------------------------------- controls


@pytest.mark.parametrize("rule", ["paper_text", "gride_small_k"])
def test_a_layer_read_as_a_control_has_the_value_of_the_profile(two_spheres, curves, rule):
    selection = select_scale(curves, rule)
    profile = selection.profile.set_index("layer")
    options = TWONN | {"decimations": (4,)}
    # The subsets of a decimation depend on those before it, so TwoNN is alike within its error.
    for layer in (0, 1):
        reading = profiles.read_at_scale(two_spheres[layer], selection, **options)
        error = np.hypot(reading.id_err, profile.id_err[layer])
        tolerance = 4 * error if rule == "paper_text" else 1e-6
        assert reading.id == pytest.approx(profile.id[layer], abs=tolerance)


def test_a_gaussian_control_of_gaussian_points_reads_as_they_do(curves):
    X = synthetic.gaussian(N, 5, seed=3)
    selection = select_scale(curves, "gride_small_k")
    itself = profiles.read_at_scale(X, selection)
    control = profiles.controls(Arrays({0: X}), [0], selection).loc[0]
    error = np.hypot(itself.id_err, control["id_err", "Gaussian, same covariance"])
    assert abs(control["id", "Gaussian, same covariance"] - itself.id) < 4 * error


def test_controls_lose_what_makes_a_curved_surface_two_dimensional(curves):
    roll = synthetic.swiss_roll(N, 2, ambient=10)
    selection = select_scale(curves, "gride_small_k")
    control = profiles.controls(Arrays({0: roll}), [0], selection)["id"].loc[0]
    surface = profiles.read_at_scale(roll, selection).id
    assert surface == pytest.approx(2, abs=0.2)
    # The roll lies in three of the ten coordinates. A Gaussian fills these; shuffling fills more.
    assert 2.5 < control["Gaussian, same covariance"] < 3.2
    assert control["shuffled features"] > control["Gaussian, same covariance"]


def test_controls_keep_what_they_are_said_to_keep():
    X = synthetic.swiss_roll(N, 2, ambient=4)
    made = profiles.shuffled_and_gaussian(X, seed=1)
    shuffled = made["shuffled features"]
    assert np.array_equal(np.sort(shuffled, axis=0), np.sort(X, axis=0))
    wide = profiles.shuffled_and_gaussian(np.tile(X, (50, 1)))["Gaussian, same covariance"]
    covariance = np.cov(X.T)
    assert np.allclose(np.cov(wide.T), covariance, atol=0.03 * np.abs(covariance).max())


def test_another_network_is_read_as_a_control_of_the_same_points_would_be(two_spheres, curves):
    selection = select_scale(curves, "paper_text")
    table = profiles.read_layers(two_spheres, [0, 1], selection, **TWONN)
    alone = profiles.read_at_scale(two_spheres[1], selection, **TWONN)
    assert table.layer.tolist() == [0, 1]
    assert table.id[1] == alone.id and table.id_err[1] == alone.id_err
    made = profiles.controls(two_spheres, [1], selection)
    by_name = profiles.as_readings(made)
    assert by_name["shuffled features"].id.tolist() == [made["id", "shuffled features"][1]]


def test_several_networks_make_a_band_and_one_has_its_error():
    one = pd.DataFrame({"layer": [0, 1], "id": [4.0, 6.0], "id_err": [0.5, 0.1]})
    alone = profiles.band({"untrained": one})
    assert alone.low.tolist() == [3.5, 5.9] and alone.high.tolist() == [4.5, 6.1]
    both = profiles.band({"untrained": one, "untrained-1": one.assign(id=[5.0, 5.0])})
    assert both.id.tolist() == [4.5, 5.5]
    assert both.low.tolist() == [4.0, 5.0] and both.high.tolist() == [5.0, 6.0]


def test_a_control_without_a_readable_layer_is_a_remark_and_no_error():
    copies = Arrays({0: np.ones((N, 4), np.float32)})
    screened = profiles.screen(copies, none_is_refused=False)
    assert screened.layers == [] and "left out" in screened.remarks[0]


def test_sizes_follow_the_units_and_the_dimension_does_not(two_spheres):
    larger = Arrays({0: 3 * two_spheres[0]})
    before = profiles.sizes(two_spheres, [0])
    after = profiles.sizes(larger, [0])
    assert np.allclose(after, 3 * before, rtol=1e-5)
    ids = [profiles.measure(cloud, [0], **TWONN).id for cloud in (two_spheres, larger)]
    assert np.allclose(ids[0], ids[1], rtol=1e-4)


def test_the_norm_is_measured_from_the_centre_of_the_cloud(two_spheres):
    moved = Arrays({0: two_spheres[0] + np.float32(5)})
    assert profiles.sizes(moved, [0]).norm[0] == pytest.approx(1, abs=0.02)


# ------------------------------------------------------------------------------- layers and labels


@pytest.fixture(scope="module")
def two_classes():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    apart = rng.standard_normal((200, 5)) + 20 * labels[:, None]
    mixed = rng.standard_normal((200, 5))
    return Arrays({0: mixed.astype(np.float32), 4: apart.astype(np.float32)}, n_blocks=4), labels


def test_a_probe_separates_what_a_plane_separates_and_else_guesses(two_classes):
    cloud, labels = two_classes
    assert profiles.linear_probe(cloud[4], labels) == 1
    assert profiles.linear_probe(cloud[0], labels) == pytest.approx(0.5, abs=0.15)


def test_a_probe_takes_names_as_labels(two_classes):
    cloud, labels = two_classes
    assert profiles.linear_probe(cloud[4], np.array(["sandal", "coat"])[labels]) == 1


def test_a_class_that_is_too_small_for_five_folds_has_no_probe(two_classes):
    cloud, labels = two_classes
    rare = labels.copy()
    rare[:4] = 2
    assert np.isnan(profiles.linear_probe(cloud[4], rare))


def test_layers_are_compared_row_by_row_and_no_choice_has_no_row(two_classes):
    cloud, labels = two_classes
    choices = {"chosen by ID": None, "first": 0, "last": 4}
    table = profiles.layer_choice(cloud, labels, choices)
    assert table.index.tolist() == ["first", "last"]
    assert table.layer.tolist() == [0, 4]
    assert table.depth.tolist() == [0.0, 1.0]
    assert table.loc["last", "1-NN accuracy"] == 1
    assert table.loc["first", "1-NN accuracy"] == knn_accuracy(cloud.neighbors(0), labels)
    assert table.loc["last", "linear probe"] == 1
