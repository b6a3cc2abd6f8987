"""The choice of scale: fixed rules, the plateau test, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from measured_curves import at, curves_of

from georep_utils.geometry import synthetic
from georep_utils.geometry.scale_rules import RULES, gaussian_reference, select_scale
from georep_utils.io import UserError


@pytest.fixture(scope="module")
def model_curves():
    """Five layers of a stand-in model: a hunchback of dimensions 2, 4, 5, 3, 4."""
    tables = []
    for layer, d in enumerate((2, 4, 5, 3, 4)):
        X = synthetic.sphere(1300, d, ambient=12, seed=d + layer)
        tables.append(curves_of(X, layer=layer))
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize(
    ("rule", "method", "scales"),
    [
        ("paper_text", "twonn", [4]),
        ("igpt_release", "twonn", [32]),
        ("gride_small_k", "gride", [2, 4]),
    ],
)
def test_the_fixed_rules_read_the_scales_of_the_paper_and_of_its_release(
    model_curves, rule, method, scales
):
    selection = select_scale(model_curves, rule)
    rows = model_curves[(model_curves["method"] == method) & model_curves["scale"].isin(scales)]
    assert selection.method == method
    assert selection.scale == pytest.approx(np.exp(np.mean(np.log(scales))))
    np.testing.assert_allclose(selection.profile["id"], rows.groupby("layer")["id"].mean())


def test_the_systematic_error_is_half_the_range_over_half_same_and_double_the_scale(model_curves):
    profile = select_scale(model_curves, "paper_text").profile
    is_twonn = model_curves["method"] == "twonn"
    rows = model_curves[is_twonn & model_curves["scale"].isin([2, 4, 8])]
    np.testing.assert_allclose(profile["id_sys"], rows.groupby("layer")["id"].agg(np.ptp) / 2)


def test_auto_finds_one_scale_for_all_layers_and_their_dimensions(model_curves):
    selection = select_scale(model_curves)
    assert selection.plateau
    assert selection.profile["plateau"].sum() >= 4
    assert selection.profile["scale"].nunique() == 1
    np.testing.assert_allclose(selection.profile["id"], [2, 4, 5, 3, 4], rtol=0.1)
    scales = model_curves[model_curves["method"] == "gride"]["scale"].unique()
    assert len(selection.diagnostics) == 5 * len(scales)


def test_a_place_is_a_plateau_if_no_test_failed_there(model_curves):
    diagnostics = select_scale(model_curves).diagnostics
    assert (diagnostics["plateau"] == (diagnostics["failed"] == "")).all()
    assert set(diagnostics["failed"]) <= {"", "slope", "bend", "control", "spread"}


def test_auto_passes_by_the_noise_at_small_scales():
    X = synthetic.sphere(2500, 2, ambient=20, noise=0.005)
    table = curves_of(X, decimations=(1,))
    assert at(table, 1, "gride")["id"] > 3
    selection = select_scale(table)
    assert selection.plateau
    assert selection.scale > 4
    assert selection.profile["id"][0] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("d", [50, 200])
def test_a_full_rank_gaussian_has_no_plateau_under_any_rule(d):
    table = curves_of(synthetic.gaussian(1500, d), n_repetitions=4)
    for rule in ("auto", *RULES):
        selection = select_scale(table, rule)
        assert not selection.plateau
        assert not selection.profile["plateau"].any()
        assert "0%" in selection.reason


def test_without_a_plateau_auto_reads_the_mean_of_scales_two_and_four():
    table = curves_of(synthetic.gaussian(1500, 50))
    selection = select_scale(table)
    expected = (at(table, 2, "gride")["id"] + at(table, 4, "gride")["id"]) / 2
    assert selection.profile["id"][0] == pytest.approx(expected, rel=1e-12)


def test_a_gaussian_control_underestimates_its_own_dimension():
    curve = gaussian_reference(1500, 40)
    assert (curve["id"] < 40).all()
    assert curve["id"].is_monotonic_decreasing


def test_a_rule_whose_scale_was_not_measured_is_refused_by_name(model_curves):
    layer = model_curves["layer"]
    scale = model_curves["scale"]
    method = model_curves["method"]
    cases = [
        (
            "layer 2: rule igpt_release",
            model_curves[~((scale == 32) & (layer == 2))],
            "igpt_release",
        ),
        ("unknown scale rule 'best': expected auto, paper_text", model_curves, "best"),
        (
            "layers .2. have no gride rows",
            model_curves[(layer != 2) | (method == "twonn")],
            "auto",
        ),
        ("3 scales of gride are common", model_curves[(scale <= 4) | (layer != 2)], "auto"),
        (
            "gride at N/n = 1 stands twice for layer 0: give each scaling table its layer",
            model_curves.drop(columns="layer"),
            "auto",
        ),
        ("no rows", model_curves[:0], "auto"),
    ]
    for message, curves, rule in cases:
        with pytest.raises(UserError, match=message) as caught:
            select_scale(curves, rule)
        assert "\n" not in str(caught.value)


def test_the_curves_of_one_cloud_need_no_layer(model_curves):
    one = model_curves[model_curves["layer"] == 3]
    named = select_scale(one)
    bare = select_scale(one.drop(columns="layer"))
    assert bare.profile["layer"].tolist() == [0]
    assert bare.profile["id"][0] == named.profile["id"][0]
    assert bare.plateau == named.plateau
    assert bare.scale == named.scale
