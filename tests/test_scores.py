"""One run's scores: rivals of the advice, the input against the network, ID against overlap."""

import numpy as np
import pandas as pd
import pytest

from georep_utils import io
from georep_utils.geometry import resampling
from georep_utils.geometry.semantic_layer import SemanticLayer
from georep_utils.io import RunPaths, UserError
from georep_utils.paper import advice, scores

LAYERS = np.arange(13)
IDS = 10 + 4 * np.sin(np.pi * LAYERS / 8)
OVERLAPS = 0.7 - 0.02 * np.abs(LAYERS - 9)
NOTHING = SemanticLayer(None, "none", None, None, None, 0.0, 1.0, 0.05)
FOUND = SemanticLayer(9, "minimum", 4, 8, 10, 0.3, 0.01, 0.05)


def profile(replicates=None, layers=LAYERS, found=FOUND):
    ids = pd.DataFrame({"layer": LAYERS, "depth": LAYERS / 12, "id": IDS, "id_err": 0.1})
    known = () if replicates is None else tuple(layers)
    return scores.Profile(ids, found, replicates, known)


def overlaps(values=OVERLAPS, error=0.005):
    return pd.DataFrame({"layer": LAYERS, "overlap": values, "error": error})


def halves(values, size, seed):
    noise = np.random.default_rng(seed).standard_normal((19, 1, len(values)))
    return values + size * np.concatenate([noise, -noise], axis=1)


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    return RunPaths("mine")


def write(paths, replicates=True, **provenance):
    ids = profile().ids
    beyond = pd.DataFrame({"layer": [13], "depth": [13 / 12], "id": [50.0], "id_err": [1.0]})
    rules = [ids.assign(rule="auto", id=1.0), ids.assign(rule="mine"), beyond.assign(rule="mine")]
    io.write_table(paths.results / "id_profile.csv", pd.concat(rules))
    made = {"scale_rule": "mine", "n_blocks": 12} | provenance
    io.write_json(paths.results / "provenance.json", made)
    if replicates:
        of_ids = halves([*IDS, 50.0], 0.1, 0)
        rows = resampling.to_rows(of_ids, range(14), quantity="intrinsic_dimension", k="")
        io.write_table(paths.results / "id_replicates.csv", rows)


def test_the_profile_of_the_run_s_own_rule_is_read_without_the_logits(paths):
    write(paths, semantic_layer=9, semantic_kind="minimum", semantic_peak=4)
    found = scores.read_profile(paths)
    assert np.allclose(found.ids.id, IDS, rtol=1e-5)
    assert (found.found.layer, found.found.kind, found.found.peak_layer) == (9, "minimum", 4)
    assert found.replicates.shape == (19, 2, 14) and found.replicate_layers == tuple(range(14))


def test_a_profile_without_replicates_or_layer_is_read_all_the_same(paths):
    write(paths, replicates=False, semantic_layer=None, semantic_kind=None)
    found = scores.read_profile(paths)
    assert found.replicates is None and found.found.layer is None and found.found.kind == "none"


def test_a_chapter_that_did_not_run_is_named(paths):
    with pytest.raises(UserError, match="run mine has no provenance.json; run 04"):
        scores.read_profile(paths)


def test_what_cannot_be_scored_says_why():
    sure = scores.curve_of(overlaps(error=0.0), None)
    board, why = scores.attempt(advice.scoreboard, profile().ids, 12, FOUND, sure)
    assert board is None and "errors that are zero or missing" in why
    curve = scores.curve_of(overlaps(), None)
    board, why = scores.attempt(advice.scoreboard, profile().ids, 12, FOUND, curve)
    assert len(board) == 8 and why == ""


def test_joint_errors_make_a_curve_whose_layers_are_known_together():
    again = halves(OVERLAPS, 0.01, 1)
    joint = scores.curve_of(overlaps(), again)
    assert joint.groups == 20
    assert np.allclose(joint.covariance, resampling.jackknife(again)[1])
    alone = scores.curve_of(overlaps(), None)
    assert alone.groups is None and np.allclose(alone.covariance, np.eye(13) * 0.005**2)


def scored():
    board = advice.scoreboard(profile().ids, 12, FOUND, scores.curve_of(overlaps(), None))
    one_nn = pd.Series(OVERLAPS + 0.1, index=LAYERS)
    probes = pd.Series({6: 0.9, 8: 0.8, 9: 0.6, 12: 0.5})
    return scores.add_accuracies(board, profile(), 12, one_nn, probes).set_index("choice")


def test_each_choice_keeps_a_share_of_both_accuracies():
    board = scored()
    assert board.loc[advice.RULE, "accuracy_share"] == pytest.approx(1)
    assert board.loc[advice.RULE, "probe_share"] == pytest.approx(0.6 / 0.9)
    assert board.loc["middle", "accuracy"] == pytest.approx(0.7 - 0.06 + 0.1)
    assert np.isnan(board.loc["peak of the ID", "probe"]), "it was not trained there"


def test_a_random_layer_has_the_mean_over_those_behind_the_peak():
    row = scored().loc[advice.RANDOM]
    assert row.kind == "random" and np.isnan(row.probe)
    assert row.accuracy == pytest.approx(np.mean(OVERLAPS[5:] + 0.1))


def test_where_the_id_is_highest_at_the_end_there_is_no_layer_to_draw():
    ids = profile().ids.assign(id=np.arange(1.0, 14.0))
    rising = scores.Profile(ids, NOTHING, None, ())
    board = advice.scoreboard(ids, 12, NOTHING, scores.curve_of(overlaps(), None))
    one_nn = pd.Series(OVERLAPS, index=LAYERS)
    board = scores.add_accuracies(board, rising, 12, one_nn, one_nn).set_index("choice")
    assert board.loc[advice.RANDOM, ["share", "accuracy", "probe"]].isna().all()
    assert board.loc[advice.RULE, ["share", "accuracy", "probe"]].isna().all()


def test_the_input_can_keep_more_than_all():
    board = scored().reset_index()
    best = {"accuracy": 0.8, "probe": 0.9}
    others = [{"choice": "input: pixels", "kind": "input", "overlap": 0.77, "accuracy": 0.4}]
    row = scores.add_rows(board, others, 0.7, best).iloc[-1]
    assert row.share == pytest.approx(1.1) and row.accuracy_share == pytest.approx(0.5)
    assert np.isnan(row.layer) and np.isnan(row.in_best_set) and np.isnan(row.probe_share)


@pytest.mark.parametrize(
    ("given", "verdict"), [(0.74, "no"), (0.60, "yes"), (0.705, "undecided"), (0.695, "undecided")]
)
def test_the_network_beats_its_input_only_by_more_than_two_errors(given, verdict):
    inputs = pd.DataFrame({"baseline": ["histogram", "pixels"], "overlap": [0.3, given]})
    found = scores.against_input(overlaps(), inputs.assign(error=0.005))
    assert found.verdict == verdict and found.baseline == "pixels" and found.layer == 9
    assert found.difference == pytest.approx(0.7 - given)
    assert found.error == pytest.approx(0.005 * 2**0.5)


def test_what_layer_and_input_share_does_not_blur_their_difference():
    """Both went up and down together in the halves: the difference is known far better."""
    shared = halves(np.zeros(1), 0.05, 2)
    inputs = pd.DataFrame({"baseline": ["pixels"], "overlap": [0.72], "error": [0.05]})
    of_layers = OVERLAPS + shared
    of_input = 0.72 + shared + halves(np.zeros(1), 0.002, 3)
    alone = scores.against_input(overlaps(error=0.05), inputs)
    joint = scores.against_input(overlaps(error=0.05), inputs, of_layers, of_input)
    assert alone.verdict == "undecided" and joint.verdict == "no"
    assert joint.error < 0.004


def test_relation_has_an_interval_over_samples_only_where_both_have_replicates():
    of_ids = halves(IDS, 0.05, 4)
    again = halves(OVERLAPS, 0.002, 5)
    both = scores.related(profile(of_ids), overlaps(), LAYERS.tolist(), again)
    assert both.sample_low < both.rho < both.sample_high
    assert both.rho == pytest.approx(scores.related(profile(), overlaps()).rho)
    for partly in (
        scores.related(profile(), overlaps(), LAYERS.tolist(), again),
        scores.related(profile(of_ids), overlaps()),
        scores.related(profile(of_ids), overlaps(), LAYERS[:-1].tolist(), again[..., :-1]),
    ):
        assert np.isnan(partly.sample_low) and np.isfinite(partly.low)


def test_replicates_are_matched_by_layer_and_not_by_place():
    of_ids = halves(IDS, 0.05, 4)
    again = halves(OVERLAPS, 0.002, 5)
    straight = scores.related(profile(of_ids), overlaps(), LAYERS.tolist(), again)
    turned = scores.related(
        profile(of_ids[..., ::-1], LAYERS[::-1].tolist()), overlaps(), LAYERS.tolist(), again
    )
    assert straight.sample_low == pytest.approx(turned.sample_low)


def test_a_layer_without_an_id_is_left_out_of_the_relation():
    short = profile()
    fewer = scores.Profile(short.ids.iloc[1:], FOUND, None, ())
    assert scores.related(fewer, overlaps()).n_layers == 12
    few = scores.Profile(short.ids.iloc[:3], FOUND, None, ())
    with pytest.raises(UserError, match="expected 5 or more"):
        scores.related(few, overlaps())
