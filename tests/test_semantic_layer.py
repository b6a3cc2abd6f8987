"""The layer that a profile singles out: found where there is one, seldom where there is none."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from georep_utils.geometry.semantic_layer import VERSION, layer_scatter, semantic_layer
from georep_utils.io import UserError

N = 25


def profile(ids, error=0.015):
    ids = np.asarray(ids, dtype=float)
    return pd.DataFrame({"layer": np.arange(len(ids)), "id": ids, "id_err": error * ids})


def with_minimum(share=0.3, n=N):
    depth = np.linspace(0, 1, n)
    after = 20 * (1 - share * np.exp(-(((depth - 0.5) / 0.13) ** 2)))
    return np.where(depth < 0.2, 10 + 50 * depth, after)


def with_plateau(n=N):
    depth = np.linspace(0, 1, n)
    after = np.where(depth < 0.5, 20 - 10 * (depth - 0.2) / 0.3, 10.0)
    return np.where(depth < 0.2, 10 + 50 * depth, after)


def test_a_minimum_after_the_peak_is_found_with_its_confidence_set():
    found = semantic_layer(profile(with_minimum()))
    assert (found.kind, found.layer, found.peak_layer) == ("minimum", 12, 5)
    assert found.low <= 12 <= found.high
    assert found.prominence == pytest.approx(0.3, abs=0.02)
    assert found.p_value < 0.01
    assert found.version == VERSION


def test_a_plateau_is_found_once_the_errors_show_that_it_is_level():
    sure = semantic_layer(profile(with_plateau(), error=0.005))
    assert sure.kind == "plateau"
    assert 12 <= sure.low <= sure.layer <= sure.high == 24
    unsure = semantic_layer(profile(with_plateau(), error=0.03))
    assert unsure.kind == "none"
    assert unsure.peak_layer is not None


@pytest.mark.parametrize("fall", [0.12, 0.28, 0.5])
def test_a_linear_fall_is_no_plateau_however_small_the_errors(fall):
    depth = np.linspace(0, 1, 49)
    ids = np.where(depth < 0.2, 10 + 50 * depth, 20 * (1 - fall * (depth - 0.2) / 0.8))
    assert semantic_layer(profile(ids, error=0.001)).kind == "none"


@pytest.mark.parametrize("n", [25, 37])
@pytest.mark.parametrize("error", [0.015, 0.06])
def test_noise_around_a_flat_profile_is_seldom_a_feature(n, error):
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(60):
        drawn = profile(10 * (1 + error * rng.standard_normal(n))).assign(id_err=10 * error)
        found += semantic_layer(drawn).kind != "none"
    assert found <= 3


def test_shared_noise_is_no_obstacle_when_its_covariance_is_known():
    ids = with_minimum(0.1)
    errors = 0.06 * ids
    shared = 0.99 * np.outer(errors, errors) + np.diag(0.01 * errors**2)
    assert semantic_layer(profile(ids, error=0.06)).kind == "none"
    assert semantic_layer(profile(ids), covariance=shared).kind == "minimum"


def test_few_groups_make_the_rule_more_careful():
    ids = with_minimum(0.1)
    covariance = np.diag((0.018 * ids) ** 2)
    many = semantic_layer(profile(ids), covariance=covariance)
    few = semantic_layer(profile(ids), covariance=covariance, groups=8)
    assert many.p_value < few.p_value


def test_logits_are_left_out():
    ids = np.append(with_minimum(), 1.0)
    assert semantic_layer(profile(ids), n_blocks=N - 1) == semantic_layer(profile(ids[:-1]))


def test_a_curve_without_errors_is_judged_by_its_own_scatter():
    rng = np.random.default_rng(1)
    ids = with_minimum(0.4, 49) * np.exp(0.02 * rng.standard_normal(49))
    assert layer_scatter(ids) == pytest.approx(0.02, rel=0.4)
    found = semantic_layer(profile(ids)[["layer", "id"]], scatter=True)
    assert found.kind == "minimum"
    assert abs(found.layer - 24) <= 3


def test_a_profile_that_cannot_be_judged_is_refused():
    good = profile(with_minimum())
    with pytest.raises(UserError, match="4 layers.*need 5"):
        semantic_layer(good.head(4))
    with pytest.raises(UserError, match=r"layers \[3\].*zero or missing"):
        semantic_layer(good.assign(id_err=good["id_err"].where(good["layer"] != 3, 0)))
    with pytest.raises(UserError, match="zero or missing"):
        semantic_layer(good.assign(id_err=np.nan))
    with pytest.raises(UserError, match="no column id_err"):
        semantic_layer(good[["layer", "id"]])
    with pytest.raises(UserError, match=r"layers \[0\].*positive"):
        semantic_layer(good.assign(id=good["id"].where(good["layer"] > 0)))
    with pytest.raises(UserError, match="covariance has shape"):
        semantic_layer(good, covariance=np.eye(3))
    with pytest.raises(UserError, match="ascending"):
        semantic_layer(good[::-1])


@pytest.mark.parametrize(
    "setting",
    [
        {"groups": 1},
        {"groups": np.nan},
        {"alpha": 0},
        {"alpha": 1.5},
        {"prominence": np.nan},
        {"plateau_share": 2},
        {"correlation": 1},
        {"correlation": -0.1},
    ],
)
def test_a_setting_outside_its_range_is_named(setting):
    (name,) = setting
    with pytest.raises(UserError, match=f"{name} = .*: expected"):
        semantic_layer(profile(with_minimum()), **setting)


def test_numbers_that_are_none_are_named():
    good = profile(with_minimum())
    with pytest.raises(UserError, match=r"layers \[3\] have no positive, finite ID"):
        semantic_layer(good.assign(id=good["id"].where(good["layer"] != 3, np.inf)))
    with pytest.raises(UserError, match="no positive, finite ID"):
        semantic_layer(good.assign(id="many"))
    with pytest.raises(UserError, match="zero or missing, or infinite"):
        semantic_layer(good.assign(id_err=np.inf))
    with pytest.raises(UserError, match="do not scatter.*give errors"):
        semantic_layer(profile(np.full(9, 5.0))[["layer", "id"]], scatter=True)
    with pytest.raises(UserError, match="scatter of 2 IDs"):
        layer_scatter(np.array([1.0, 2.0]))


def test_a_matrix_that_is_no_covariance_is_refused():
    good = profile(with_minimum())
    missing, lopsided, impossible = (np.diag(good["id_err"] ** 2) for _ in range(3))
    missing[0, 1] = np.nan
    lopsided[0, 1] = 0.5
    impossible[0, 1] = impossible[1, 0] = 10
    with pytest.raises(UserError, match="1 of 625"):
        semantic_layer(good, covariance=missing)
    with pytest.raises(UserError, match="not symmetric"):
        semantic_layer(good, covariance=lopsided)
    with pytest.raises(UserError, match="variance below zero"):
        semantic_layer(good, covariance=impossible)
    with pytest.raises(UserError, match="both a covariance and a correlation"):
        semantic_layer(good, covariance=np.diag(good["id_err"] ** 2), correlation=0.5)


def test_layers_that_differ_without_any_error_are_told_apart():
    """Errors that all layers share leave their differences exactly known."""
    ids = with_minimum()
    found = semantic_layer(profile(ids), covariance=np.full((N, N), 0.01))
    assert (found.kind, found.layer) == ("minimum", 12)
    assert semantic_layer(profile(np.full(N, 5.0)), covariance=np.full((N, N), 0.01)).p_value == 1


def alike(n, correlation, rng):
    """Errors of size one; those of neighbouring layers correlate."""
    errors = rng.standard_normal(n)
    for i in range(1, n):
        errors[i] = correlation * errors[i - 1] + np.sqrt(1 - correlation**2) * errors[i]
    return errors


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_scatter_gives_the_error_if_the_correlation_is_right(correlation):
    rng = np.random.default_rng(4)
    drawn = [
        layer_scatter(10 * np.exp(0.02 * alike(49, correlation, rng)), correlation)
        for _ in range(200)
    ]
    assert np.mean(drawn) == pytest.approx(0.02, rel=0.07)


def test_errors_that_neighbours_share_leave_less_to_be_seen_if_the_rule_is_told():
    rng = np.random.default_rng(5)
    drawn = [profile(10 * (1 + 0.06 * alike(N, 0.9, rng)))[["layer", "id"]] for _ in range(20)]
    told = [semantic_layer(one, scatter=True, correlation=0.9) for one in drawn]
    not_told = [semantic_layer(one, scatter=True) for one in drawn]
    assert sum(one.kind != "none" for one in told) <= stats.binom.ppf(0.99, 20, 0.05)
    for careful, sure in zip(told, not_told, strict=True):
        assert careful.visible > 1.5 * sure.visible
        assert careful.p_value >= sure.p_value


def test_known_errors_can_be_correlated_too():
    ids = with_minimum(0.1)
    errors = 0.04 * ids
    apart = np.abs(np.subtract.outer(np.arange(N), np.arange(N)))
    matrix = 0.8**apart * np.outer(errors, errors)
    table = profile(ids, error=0.04)
    assert semantic_layer(table, correlation=0.8) == semantic_layer(table, covariance=matrix)
