"""Each finding can come out either way; no model counts twice."""

import numpy as np
import pandas as pd
import pytest

from georep_utils.io import UserError
from georep_utils.paper import findings

N = 36
LAYERS = np.arange(N + 1)
DEPTH = LAYERS / N


def rows(quantity, values, error, k=np.nan):
    values = np.asarray(values, dtype=float)
    columns = {
        "quantity": quantity,
        "layer": np.arange(len(values)),
        "n_blocks": N,
        "k": k,
        "value": values,
    }
    return pd.DataFrame(columns).assign(
        error=error * values if quantity == "intrinsic_dimension" else error
    )


def curve(points):
    return np.interp(DEPTH, *zip(*points, strict=True))


# What the paper says of images, and of proteins; what it says of neither.
IMAGE_ID = curve([(0, 8), (0.2, 24), (0.4, 16), (0.65, 20), (0.95, 12), (1, 8)])
PROTEIN_ID = curve([(0, 10), (0.2, 25), (0.4, 5), (0.85, 5), (1, 10)])
LATE_ID = curve([(0, 5), (0.7, 8), (1, 7.5)])
IMAGE_LABELS = curve([(0, 0.1), (0.4, 0.8), (1, 0.1)])
LATE_LABELS = curve([(0, 0.1), (0.9, 0.8), (1, 0.79)])
IMAGE_NEXT = curve([(0, 0.6), (0.39, 0.8), (0.4, 0.93), (0.88, 0.93), (1, 0.6)])[:-1]
STILL_NEXT = np.full(N, 0.97)
FALLING_NEXT = curve([(0, 0.99), (0.39, 0.99), (0.4, 0.95), (1, 0.95)])[:-1]


def model(ids, labels, following, error=0.01):
    parts = [
        rows("intrinsic_dimension", ids, error),
        rows("label_overlap", labels, 0.003, 10),
        rows("consecutive_overlap", following, 0.003, 10),
    ]
    return pd.concat(parts, ignore_index=True)


def untrained(height):
    return pd.DataFrame(
        {"layer": LAYERS, "id": 10 + height * np.sin(np.pi * DEPTH), "id_err": 0.05}
    )


def dynamics(early):
    """Profiles whose first peak has the share `early` of its final height after an eighth of "
    "the training."""
    parts = [
        pd.DataFrame(
            {"progress": progress, "layer": LAYERS, "id": 8 + share * (IMAGE_ID - 8), "id_err": 0.1}
        )
        for progress, share in ((0.0, 0.0), (0.125, early), (1.0, 1.0))
    ]
    return pd.concat(parts, ignore_index=True)


def verdicts(found):
    return {one.finding: one.verdict for one in found}


def test_a_model_of_the_paper_agrees_with_everything():
    found = findings.judge(
        model(IMAGE_ID, IMAGE_LABELS, IMAGE_NEXT),
        "image",
        untrained=untrained(0.5),
        dynamics=dynamics(0.9),
    )
    said = verdicts(found)
    assert list(said) == list(findings.STATEMENTS)
    assert said.pop("1.4") == "not testable"
    assert set(said.values()) == {"yes"}
    assert set(findings.together(found).values()) == {"yes"}


def test_a_model_unlike_the_paper_disagrees_with_everything():
    found = findings.judge(
        model(LATE_ID, LATE_LABELS, FALLING_NEXT),
        "image",
        untrained=untrained(6),
        dynamics=dynamics(0.1),
    )
    said = verdicts(found)
    assert said.pop("1.4") == "not testable"
    assert said.pop("2.2") == "yes"  # it keeps still throughout
    assert set(said.values()) == {"no"}
    assert findings.together(found) == {"1": "no", "2": "partly", "3": "no", "4": "no"}


def test_proteins_have_a_long_low_plateau_or_not():
    labels = curve([(0, 0.1), (0.4, 0.8), (0.85, 0.8), (1, 0.3)])
    said = verdicts(findings.judge(model(PROTEIN_ID, labels, STILL_NEXT, 0.004), "protein"))
    assert said["1.4"] == said["3.1"] == "yes"
    assert said["1.5"] == said["2.3"] == said["3.2"] == "not testable"
    assert verdicts(findings.judge(model(LATE_ID, labels, STILL_NEXT), "protein"))["1.4"] == "no"
    high = np.maximum(PROTEIN_ID, 18)
    assert verdicts(findings.judge(model(high, labels, STILL_NEXT), "protein"))["1.4"] == "no"


def test_an_uncertain_profile_is_not_evidence_against_a_minimum():
    said = verdicts(findings.judge(model(IMAGE_ID, IMAGE_LABELS, IMAGE_NEXT, error=0.15), "image"))
    assert said["1.5"] == said["3.1"] == "not testable"


def test_an_interval_across_the_threshold_is_partly():
    doubled = curve([(0, 10), (0.2, 20.2), (0.4, 12), (1, 12)])
    one = {
        v.finding: v
        for v in findings.judge(model(doubled, IMAGE_LABELS, IMAGE_NEXT, 0.02), "image")
    }["1.2"]
    assert one.verdict == "partly"
    assert one.low < findings.SEVERAL < one.high
    assert "highest ID" in one.what_would_overturn


def test_what_was_not_measured_is_not_testable():
    only_ids = rows("intrinsic_dimension", IMAGE_ID, 0.01)
    said = verdicts(findings.judge(only_ids, "image"))
    assert {said[key] for key in ("2.1", "2.2", "2.3", "3.1", "3.2", "4.1", "4.2")} == {
        "not testable"
    }
    strided = only_ids.iloc[:0]
    with pytest.raises(UserError, match="several numbers of blocks"):
        findings.judge(strided, "image")
    every_other = model(IMAGE_ID, IMAGE_LABELS, IMAGE_NEXT)
    every_other = every_other[
        (every_other["quantity"] != "consecutive_overlap") | (every_other["layer"] % 2 == 0)
    ]
    assert verdicts(findings.judge(every_other, "image"))["2.1"] == "not testable"
    with pytest.raises(UserError, match="family 'sound'"):
        findings.judge(only_ids, "sound")


def test_curves_read_off_a_figure_are_judged_by_their_scatter():
    rng = np.random.default_rng(0)
    rough = rows("intrinsic_dimension", IMAGE_ID * np.exp(0.03 * rng.standard_normal(N + 1)), 0.001)
    believed = {v.finding: v for v in findings.judge(rough, "image")}["1.2"]
    scattered = {v.finding: v for v in findings.judge(rough.assign(source="read off"), "image")}[
        "1.2"
    ]
    assert scattered.high - scattered.low > 5 * (believed.high - believed.low)


def test_no_set_of_weights_counts_twice():
    said = pd.DataFrame(
        {
            "model": ["published", "small run", "large run", "other"],
            "weights": ["a", "a", "a", "b"],
            "n_samples": [np.nan, 500, 5000, 100],
            "finding": "1.1",
            "verdict": ["yes", "yes", "no", "yes"],
        }
    )
    counted = findings.tally(said)
    assert counted.loc["1.1"].to_dict() == {"yes": 1, "no": 1, "partly": 0, "not testable": 0}
    with pytest.raises(UserError, match="weights"):
        findings.tally(said.drop(columns="weights"))


def test_what_the_largest_run_could_not_test_is_said_by_another_of_its_weights():
    small = {"model": "small", "weights": "w", "n_samples": 500, "verdict": "no"}
    large = {"model": "large", "weights": "w", "n_samples": 900, "verdict": "not testable"}
    counted = findings.tally(pd.DataFrame([small, large]).assign(finding="4"))
    assert counted.loc["4"].to_dict() == {"yes": 0, "no": 1, "partly": 0, "not testable": 0}


def test_published_curves_give_way_to_a_run_of_the_same_name_and_weights():
    paper = {"model": "igpt-small", "weights": "w", "n_samples": np.nan, "verdict": "yes"}
    run = paper | {"n_samples": 9000, "verdict": "no"}
    counted = findings.tally(pd.DataFrame([paper, run]).assign(finding="1"))
    assert counted.loc["1"].to_dict() == {"yes": 0, "no": 1, "partly": 0, "not testable": 0}


def test_the_table_has_a_row_a_statement():
    found = findings.judge(rows("intrinsic_dimension", IMAGE_ID, 0.01), "image")
    made = findings.table({"a": found, "b": found})
    assert len(made) == 2 * len(findings.STATEMENTS)
    assert made["statement"].notna().all()


CLOSE_LABELS = curve([(0, 0.1), (0.46, 0.8), (1, 0.1)])
BROAD_LABELS = curve([(0, 0.1), (0.6, 0.8), (0.8, 0.8), (1, 0.1)])
UNDECIDED = {
    "1.1": {"ids": curve([(0, 8), (0.31, 24), (0.36, 24), (0.5, 16), (1, 8)]), "error": 0.02},
    "1.2": {"ids": curve([(0, 10), (0.2, 20), (0.4, 12), (1, 10)])},
    "1.3": {"ids": curve([(0, 10), (0.2, 25), (1, 12.5)])},
    "1.5": {"ids": curve([(0, 8), (0.2, 24), (0.4, 10), (1, 18)])},
    "2.1": {"following": np.full(N, 0.85)},
    "2.2": {"following": np.full(N, 0.9)},
    "2.3": {"following": curve([(0, 0.93), (0.89, 0.93), (0.9, 0.9), (1, 0.9)])[:-1]},
    "2.4": {"following": np.full(N, 0.9)},
    "3.1": {"labels": CLOSE_LABELS},
    "3.2": {"labels": BROAD_LABELS},
}


@pytest.mark.parametrize("finding", UNDECIDED)
def test_every_statement_can_be_left_undecided(finding):
    curves = {"ids": IMAGE_ID, "labels": IMAGE_LABELS, "following": IMAGE_NEXT}
    undecided = findings.judge(model(**(curves | UNDECIDED[finding])), "image")
    assert verdicts(undecided)[finding] == "partly"


def test_a_plateau_half_as_high_as_the_peak_is_undecided():
    half = np.maximum(PROTEIN_ID, 12.5)
    found = findings.judge(model(half, IMAGE_LABELS, STILL_NEXT), "protein")
    assert verdicts(found)["1.4"] == "partly"


def test_training_can_be_left_undecided():
    trained = np.ptp(IMAGE_ID) / IMAGE_ID.mean()
    half = 10 * trained / 2
    flat = pd.DataFrame({"layer": LAYERS, "id": 10 + half * (DEPTH - 0.5), "id_err": 0.1})
    only_ids = rows("intrinsic_dimension", IMAGE_ID, 0.01)
    found = findings.judge(only_ids, "image", untrained=flat, dynamics=dynamics(0.5))
    assert verdicts(found)["4.1"] == verdicts(found)["4.2"] == "partly"
    assert verdicts(found)["1.1"] == "yes"


def test_the_interval_of_a_range_holds_the_range_itself():
    found = findings.judge(
        rows("intrinsic_dimension", IMAGE_ID, 0.01), "image", untrained=untrained(0.0)
    )
    one = {v.finding: v for v in found}["4.1"]
    assert one.low <= one.number <= one.high
    assert one.verdict == "yes", "nothing is flatter"


def test_statements_that_are_all_undecided_are_no_evidence_against_a_finding():
    parts = [("3.1", "partly"), ("3.2", "not testable"), ("4.1", "partly"), ("4.2", "no")]
    given = [findings.Verdict(key, word, 0.5, 0.4, 0.6, "") for key, word in parts]
    assert findings.together(given) == {
        "1": "not testable",
        "2": "not testable",
        "3": "partly",
        "4": "no",
    }


def test_a_layer_is_published_only_if_no_correlation_of_errors_takes_it_away():
    """A slow wave of a few percent may be a feature, or an error that neighbours share."""
    wave = curve([(0, 10), (0.2, 20), (1, 16)]) * (1 + 0.05 * np.sin(6 * np.pi * DEPTH))
    noise = 1 + 0.012 * np.random.default_rng(0).standard_normal(N + 1)
    slow = rows("intrinsic_dimension", wave * noise, 0.001).assign(source="read off")
    found = findings.profile_of(slow).alike
    assert found[0.0].layer is not None and found[0.9].layer is None
    assert findings.profile_of(slow).found.layer is None
    little = 1 + (noise - 1) / 3
    sure = rows("intrinsic_dimension", IMAGE_ID * little, 0.001).assign(source="read off")
    assert findings.profile_of(sure).found.layer is not None


def test_a_layer_among_the_best_is_partly_where_its_confidence_set_is_wide():
    deep = curve([(0, 10), (0.2, 20), (0.3, 11), (0.5, 10), (0.7, 11), (1, 15)])
    labels = curve([(0, 0.1), (0.5, 0.8), (1, 0.1)])
    one = {v.finding: v for v in findings.judge(model(deep, labels, IMAGE_NEXT), "text")}["3.1"]
    assert one.number == 0 and one.high > findings.NEAR_DEPTH and one.verdict == "partly"


def test_several_untrained_networks_are_one_piece_of_evidence():
    only_ids = rows("intrinsic_dimension", IMAGE_ID, 0.01)
    networks = [
        untrained(height).assign(control=f"untrained-{i}") for i, height in enumerate((0.5, 9))
    ]
    flat, steep, both = (
        {v.finding: v for v in findings.judge(only_ids, "image", untrained=of)}["4.1"]
        for of in (*networks, pd.concat(networks))
    )
    assert (flat.verdict, steep.verdict, both.verdict) == ("yes", "no", "partly")
    assert both.number == pytest.approx((flat.number + steep.number) / 2, rel=0.01)


def test_a_layer_without_an_id_is_left_out():
    holed = rows("intrinsic_dimension", IMAGE_ID, 0.01)
    holed.loc[5, ["value", "error"]] = np.nan
    covariance = np.diag(holed.error**2)
    found = findings.judge(holed, "image", covariances={"intrinsic_dimension": covariance})
    assert verdicts(found)["1.1"] == "yes"


def test_a_network_of_few_blocks_has_no_last_tenth():
    few = model(IMAGE_ID[:7], IMAGE_LABELS[:7], IMAGE_NEXT[:6]).assign(n_blocks=6)
    assert verdicts(findings.judge(few, "image"))["2.3"] == "not testable"


def test_statements_about_generative_models_are_not_about_others():
    said = verdicts(
        findings.judge(model(IMAGE_ID, IMAGE_LABELS, IMAGE_NEXT), "image", generative=False)
    )
    assert {said[key] for key in ("1.5", "2.3", "3.2")} == {"not testable"}
    assert said["2.1"] == "yes"  # images still share seven tenths


def test_every_statement_says_what_makes_it_a_yes():
    assert list(findings.thresholds()["finding"]) == list(findings.STATEMENTS)
    assert findings.thresholds()["yes when"].str.len().min() > 10


# --------------------------------------------------------------------------------- wrong by chance


def noisy(ids, noise, rng):
    return ids * (1 + noise * rng.standard_normal(len(ids)))


def said_in_draws(finding, ids, draws=60):
    """Verdicts on noisy copies of a profile, the same from a fifth of the training on."""
    rng = np.random.default_rng(8)
    error = 0.015 * ids  # the true one, so that the rule's draws of noise are made once
    said = []
    for _ in range(draws):
        profile = rows("intrinsic_dimension", noisy(ids, 0.015, rng), 0).assign(error=error)
        parts = [
            pd.DataFrame(
                {"progress": at, "layer": LAYERS, "id": noisy(ids, 0.015, rng), "id_err": error}
            )
            for at in (0.2, 1.0)
        ]
        said.append(verdicts(findings.judge(profile, "image", dynamics=pd.concat(parts)))[finding])
    return said


def test_a_level_end_is_seldom_a_second_peak():
    """The highest of many equal layers lies above the last one by chance."""
    level = curve([(0, 10), (0.2, 20), (0.4, 12), (0.6, 17), (1, 17)])
    assert said_in_draws("1.5", level).count("yes") <= 3


def test_a_flat_profile_forms_no_peak_in_training():
    assert said_in_draws("4.2", np.full(N + 1, 10.0)).count("no") >= 57


def test_labels_that_prefer_no_layer_prove_nothing():
    rng = np.random.default_rng(9)
    labels = 0.5 + 0.003 * rng.standard_normal(N + 1)
    found = findings.judge(model(IMAGE_ID, labels, IMAGE_NEXT), "image")
    one = {v.finding: v for v in found}["3.1"]
    assert one.verdict == "not testable"
    assert "leave out half of the layers" in one.what_would_overturn


def test_checkpoints_without_errors_are_not_testable():
    without = dynamics(0.9).assign(id_err=0.0)
    found = findings.judge(model(IMAGE_ID, IMAGE_LABELS, IMAGE_NEXT), "image", dynamics=without)
    assert verdicts(found)["4.2"] == "not testable"
