"""The advice against its rivals: best sets, exact p values, and the relation of ID and overlap."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from georep_utils.geometry import resampling
from georep_utils.geometry.semantic_layer import semantic_layer
from georep_utils.io import UserError
from georep_utils.paper import advice

N_BLOCKS = 24
LAYERS = np.arange(N_BLOCKS + 1)


def profile():
    depth = LAYERS / N_BLOCKS
    after = 20 * (1 - 0.4 * np.exp(-(((depth - 0.5) / 0.13) ** 2)))
    ids = np.where(depth < 0.2, 10 + 50 * depth, after)
    return pd.DataFrame({"layer": LAYERS, "id": ids, "id_err": 0.01 * ids})


def curve(best, error=0.01):
    values = 0.8 * np.exp(-(((LAYERS - best) / 6) ** 2))
    return advice.Curve(LAYERS, values, np.diag(np.full(len(LAYERS), error**2)))


def test_the_best_set_holds_what_cannot_be_told_from_the_best():
    sure = advice.best_set(curve(12, 0.001))
    unsure = advice.best_set(curve(12, 0.05))
    assert list(sure) == [12]
    assert set(sure) < set(unsure)
    assert 24 not in unsure


def test_shared_errors_make_the_best_set_smaller():
    alone = curve(12, 0.05)
    shared = advice.Curve(LAYERS, alone.values, 0.99 * 0.05**2 + 0.01 * alone.covariance)
    assert len(advice.best_set(shared)) < len(advice.best_set(alone))


def test_the_best_set_holds_the_true_best_layer_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = np.array([0.5, 0.52, 0.52, 0.51, 0.4])
    covariance = 0.02**2 * np.eye(5)
    drawn = truth + 0.02 * rng.standard_normal((200, 5))
    kept = [
        1 in advice.best_set(advice.Curve(np.arange(5), values, covariance)) for values in drawn
    ]
    assert np.mean(kept) >= 0.93


def test_a_flat_top_is_reported_as_a_range():
    assert advice.top_range(np.arange(5), [1.0, 4.9, 5.0, 4.95, 2.0], [0.1] * 5) == (1, 3)


def test_a_sharp_top_is_a_single_place():
    assert advice.top_range([0.0, 0.5, 1.0], [1.0, 5.0, 1.0], [0.1] * 3) == (0.5, 0.5)


def test_two_equal_peaks_bound_the_range_whatever_lies_between():
    assert advice.top_range(range(5), [1, 5, 1, 5, 1], [0.1] * 5) == (1, 3)


def test_a_layer_that_was_left_out_is_no_candidate_for_the_top():
    error = [np.nan, 0.1, 0.1]
    assert advice.top_range([0, 1, 2], [np.nan, 5.0, 4.99], error) == (1, 2)
    assert advice.top_range([0, 1, 2], [np.nan, 5.0, np.nan], error) == (1, 1)


def test_overlaps_that_can_not_err_have_a_top_all_the_same():
    assert advice.top_range([0, 1, 2], [0.5, 1.0, 1.0], [0.0] * 3) == (1, 2)


def test_a_top_without_errors_is_refused():
    with pytest.raises(UserError, match="zero or missing"):
        advice.top_range([0, 1, 2], [1, 5, 4.9], [0.1, np.nan, 0.1])


def test_layers_that_go_up_and_down_together_have_a_narrower_top():
    """A step of 1 between two layers, each with an error of 1: of all samples together, or not."""
    rng = np.random.default_rng(1)
    together = rng.standard_normal((19, 2, 1)) * 2**0.5
    alone = 0.1 * rng.standard_normal((19, 2, 4))
    values = [1.0, 5.0, 6.0, 3.0]
    halves = values + together + alone
    errors = resampling.jackknife(halves)[0]
    np.testing.assert_allclose(errors, 1, rtol=0.35)
    assert advice.top_range(range(4), values, errors) == (1, 2)
    assert advice.top_range(range(4), values, errors, halves) == (2, 2)
    without_first = [np.nan, *values[1:]]
    assert advice.top_range(range(4), without_first, errors, halves) == (2, 2)


def test_the_scoreboard_tells_a_right_choice_from_a_wrong_one():
    ids = profile()
    found = semantic_layer(ids)
    good = advice.scoreboard(ids, N_BLOCKS, found, curve(12)).set_index("choice")
    bad = advice.scoreboard(ids, N_BLOCKS, found, curve(24)).set_index("choice")
    assert good.loc[advice.RULE, ["share", "in_best_set", "distance"]].tolist() == pytest.approx(
        [1, 1, 0]
    )
    assert bad.loc[advice.RULE, "in_best_set"] == 0
    assert bad.loc["last layer", "share"] == 1
    assert (
        good.loc["last layer", "share"]
        < good.loc[advice.RANDOM, "share"]
        < good.loc[advice.RULE, "share"]
    )


def test_a_rule_that_finds_nothing_chooses_nothing():
    flat = pd.DataFrame({"layer": LAYERS, "id": 10.0 + 0.01 * (LAYERS < 3), "id_err": 0.1})
    board = advice.scoreboard(flat, N_BLOCKS, semantic_layer(flat), curve(12)).set_index("choice")
    assert np.isnan(board.loc[advice.RULE, "layer"])
    assert board.loc["middle", "layer"] == 12


def test_the_permutation_p_is_exact():
    rivals = [np.array([0.0, 0.1, 0.2, 0.3])] * 2
    assert advice.permutation_p([0.0, 0.0], rivals) == pytest.approx(1 / 16)
    assert advice.permutation_p([0.0, 0.1], rivals) == pytest.approx(3 / 16)
    assert advice.permutation_p([0.3, 0.3], rivals) == pytest.approx(1)
    with pytest.raises(UserError, match="expected one for each"):
        advice.permutation_p([], [])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1])
def test_distances_that_are_none_are_named(bad):
    with pytest.raises(UserError, match="1 distances .* missing, infinite or below zero"):
        advice.permutation_p([bad], [np.array([0.0, 0.1])])
    with pytest.raises(UserError, match="1 distances .* missing, infinite or below zero"):
        advice.permutation_p([0.1], [np.array([0.0, bad])])


def test_a_model_without_layers_to_draw_from_is_named():
    with pytest.raises(UserError, match="model 2 has no layer"):
        advice.permutation_p([0.0, 0.0], [np.array([0.1]), np.array([])])


def test_scores_that_are_no_pairs_are_named():
    with pytest.raises(UserError, match="1 of 2 pairs"):
        advice.paired_p([1, np.nan], [0, 0])
    with pytest.raises(UserError, match="1 of 2 pairs"):
        advice.paired_p([np.inf, 1], [np.inf, 0])
    with pytest.raises(UserError, match="a pair of numbers for each model"):
        advice.paired_p([1, 2, 3], [0, 0])
    with pytest.raises(UserError, match="0 models"):
        advice.paired_p([], [])
    assert advice.paired_p([1, 1], [1, 1]) == 1  # ties: any sign gives the same


def test_paired_scores_need_several_models_to_prove_anything():
    assert advice.paired_p([1, 1, 1], [0, 0, 0]) == pytest.approx(0.25)
    assert advice.paired_p(np.ones(8), np.zeros(8)) == pytest.approx(2 / 256)
    assert advice.paired_p([1, -1], [0, 0]) == 1


def test_the_relation_of_smooth_curves_is_less_certain_than_that_of_independent_layers():
    rng = np.random.default_rng(1)
    independent = rng.standard_normal(40)
    follows = advice.relation(independent, -independent + 0.3 * rng.standard_normal(40))
    smooth = np.sin(np.linspace(0, 3, 40))
    slow = advice.relation(smooth, -smooth + 0.01 * rng.standard_normal(40))
    assert follows.high < -0.5
    assert follows.n_effective > 20
    assert slow.rho < -0.9
    assert slow.n_effective < 8
    assert slow.high - slow.low > follows.high - follows.low


def test_replicates_give_an_interval_over_samples():
    rng = np.random.default_rng(2)
    ids = np.linspace(10, 5, 12)
    overlaps = np.linspace(0.2, 0.8, 12)
    id_replicates = ids + 0.2 * rng.standard_normal((19, 2, 12))
    overlap_replicates = overlaps + 0.02 * rng.standard_normal((19, 2, 12))
    found = advice.relation(ids, overlaps, id_replicates, overlap_replicates)
    assert found.rho == pytest.approx(-1)
    assert found.sample_high < -0.9
    with pytest.raises(UserError, match="expected 5 or more"):
        advice.relation(ids[:4], overlaps[:4])
    with pytest.raises(UserError, match="for 12 layers: expected"):
        advice.relation(ids, overlaps, id_replicates[..., :9], overlap_replicates[..., :9])
    constant = advice.relation(ids, overlaps, np.ones((19, 2, 12)), overlap_replicates)
    assert np.isnan(constant.sample_low)


def test_curves_that_are_worth_too_few_layers_are_not_testable():
    rise = np.linspace(0, 1, 13)
    found = advice.relation(rise, rise**2)
    assert found.rho == pytest.approx(1)
    assert not found.testable
    assert (found.low, found.high) == (-1, 1)
    rng = np.random.default_rng(3)
    assert advice.relation(*rng.standard_normal((2, 13))).testable


def test_a_curve_that_cannot_be_ranked_is_named():
    good = np.arange(9.0) % 4
    with pytest.raises(UserError, match="IDs are 2 in every layer"):
        advice.relation(np.full(9, 2.0), good)
    with pytest.raises(UserError, match="overlaps are 0.5 in every layer"):
        advice.relation(good, np.full(9, 0.5))
    for bad in (np.nan, np.inf):
        with pytest.raises(UserError, match="1 of 9 overlaps are missing or infinite"):
            advice.relation(good, np.where(np.arange(9) == 4, bad, good))
    with pytest.raises(UserError, match="expected 5 or more of the same layers"):
        advice.relation([], [])


def test_overlaps_without_errors_are_refused():
    with pytest.raises(UserError, match="zero or missing"):
        advice.best_set(curve(12, 0.0))


def test_a_curve_that_has_no_best_layer_is_named():
    good = curve(12)
    holes = np.where(LAYERS == 3, np.nan, good.values)
    n = len(LAYERS)
    unknown = good.covariance.copy()
    unknown[0, 1] = np.nan
    for bad, named in [
        ({"values": holes}, r"layers \[3\] have no finite value"),
        ({"values": good.values[:-1]}, "expected one for each"),
        ({"covariance": np.eye(3)}, "covariance has shape"),
        ({"covariance": unknown}, "missing or infinite"),
        ({"groups": 1}, "groups = 1: expected two or more"),
    ]:
        with pytest.raises(UserError, match=named):
            advice.best_set(replace(good, **bad))
    with pytest.raises(UserError, match="alpha = 2"):
        advice.best_set(good, alpha=2)
    tied = replace(good, values=np.full(n, 0.5))
    assert np.array_equal(advice.best_set(tied), LAYERS)


def boards():
    """Two models with a good choice, one where the ID chooses nothing."""
    ids = profile()
    found = semantic_layer(ids)
    nothing = pd.DataFrame({"layer": LAYERS, "id": 10.0 + 0.01 * (LAYERS < 3), "id_err": 0.1})
    cases = {
        "first": (ids, N_BLOCKS, found, curve(12)),
        "second": (ids, N_BLOCKS, found, curve(13)),
        "silent": (nothing, N_BLOCKS, semantic_layer(nothing), curve(12)),
    }
    made = {name: advice.scoreboard(*case) for name, case in cases.items()}
    return made, {name: advice.distances(*case) for name, case in cases.items()}


def test_a_model_for_which_nothing_is_chosen_is_counted():
    over = advice.over_models(*boards())
    assert over.loc[advice.RULE, ["models", "chooses"]].tolist() == [3, 2]
    assert over.loc["middle", "chooses"] == 3
    # whoever is left without a layer does worse than those who have one
    assert over.loc[advice.RULE, "mean_share_or_random"] < over.loc[advice.RULE, "mean_share"]
    assert over.loc[advice.RULE, "p"] < 0.05 < over.loc["last layer", "p"]
    assert np.isnan(over.loc[advice.RANDOM, "p"])


def test_pairs_are_made_where_both_take_a_layer():
    paired = advice.paired(boards()[0])
    assert paired.loc["middle", "models"] == 2
    assert paired.loc["last layer", "lowest"] > 0
    assert paired.loc["last layer", "p"] == 0.5  # of two models no more can be shown


def test_without_models_the_tables_are_empty():
    assert advice.over_models({}, {}).empty
    assert advice.paired({}).empty


def test_an_id_that_is_highest_at_the_end_leaves_no_layer_behind_the_peak():
    rising = pd.DataFrame({"layer": LAYERS, "id": 5.0 + LAYERS, "id_err": 0.05})
    case = (rising, N_BLOCKS, semantic_layer(rising), curve(12))
    board = advice.scoreboard(*case).set_index("choice")
    assert board.loc[[advice.RANDOM, "least ID after the peak"], "share"].isna().all()
    over = advice.over_models({"a": board.reset_index()}, {"a": advice.distances(*case)})
    assert over.loc["middle", "chooses"] == 1 and np.isnan(over.loc["middle", "p"])
