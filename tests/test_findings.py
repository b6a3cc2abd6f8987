"""The paper's statements as tests that can fail."""

import numpy as np
import pandas as pd
import pytest
from made_up_curves import HUNCHBACK, LABELS, LAYERS, N_BLOCKS, curve, network

from georep_utils.paper import findings
from georep_utils.paper.findings import STATEMENTS
from georep_utils.paper.published import published_curves


def checkpoints(untrained, trained):
    """Profiles of one network before and after training."""
    rows = [
        pd.DataFrame({"checkpoint": name, "depth": LAYERS / N_BLOCKS, "id": ids})
        for name, ids in [("untrained", untrained), ("trained", trained)]
    ]
    return pd.concat(rows)


def failing(holds):
    return {text for text, value in holds.items() if value is False}


def test_a_network_as_the_paper_describes_them_fulfils_every_statement():
    flat = np.full(len(LAYERS), 9.0)
    found = findings.claims(network(), checkpoints(flat, HUNCHBACK))
    assert found and all(value is True for value in found.values())


def test_a_network_that_training_left_as_varied_as_it_was_fails_the_statement_on_training():
    found = findings.claims(network(), checkpoints(HUNCHBACK, HUNCHBACK))
    assert failing(found) == {STATEMENTS["training"]}


@pytest.mark.parametrize(
    "changed, broken",
    [
        ({"ids": 8 + 0 * HUNCHBACK}, ["peak", "after"]),
        ({"ids": np.interp(LAYERS, [0, 5, 20], [10, 25, 5])}, ["after"]),
        ({"labels": LABELS[::-1].cumsum() / 10}, ["inside", "near", "keeps"]),
        ({"labels": np.interp(LAYERS, [0, 17, 20], [0.1, 0.6, 0.2])}, ["near", "keeps"]),
        (
            {"following": 1 - np.interp(LAYERS, [0, 8, 17, 20], [0.4, 0.95, 0.95, 0.3])},
            ["settles", "collapses"],
        ),
    ],
)
def test_a_network_unlike_the_papers_fails_the_statement_it_breaks(changed, broken):
    found = findings.claims(network(**changed))
    assert failing(found) == {STATEMENTS[key] for key in broken}


def test_every_layer_of_a_flat_top_is_a_best_one_and_no_other():
    values = [0.1, 0.5, 0.79, 0.8, 0.81, 0.8, 0.6]
    labels = curve(values, "label_overlap", 10, error=0.01)
    assert findings.best_layers(labels).tolist() == [2, 3, 4, 5]
    assert findings.best_layers(labels.assign(error=np.nan)).tolist() == [4]


def test_what_was_not_measured_is_neither_true_nor_false():
    found = findings.claims(curve(HUNCHBACK))
    measured = {STATEMENTS[key] for key in ("peak", "after")}
    assert {text for text, value in found.items() if value is not None} == measured
    only_labels = findings.claims(curve(LABELS, "label_overlap", 10))
    assert only_labels[STATEMENTS["inside"]] is True


@pytest.mark.parametrize("name", ["igpt-medium", "igpt-large", "esm2-650M", "esm2-3B"])
def test_the_published_models_have_the_published_hunchback(name):
    readings = published_curves()
    found = findings.claims(readings[readings.model == name])
    assert found[STATEMENTS["peak"]] is True and found[STATEMENTS["after"]] is True


def test_the_advice_names_the_minimum_and_what_its_labels_are_worth():
    advised = findings.advice(network()).iloc[0]
    assert advised.feature == "minimum" and advised.peak == 5 and advised.chosen == 10
    assert advised.depth == 0.5 and advised.low <= 10 <= advised.high
    assert advised.best_low == advised.best_high == 10
    assert advised.share_kept == 1 and advised.off_by == 0 and advised.best_in_range


def test_a_profile_that_singles_out_no_layer_has_its_row_in_the_advice():
    advised = findings.advice(network(ids=8 + 0 * HUNCHBACK)).iloc[0]
    assert advised.feature == "none" and pd.isna(advised.chosen) and pd.isna(advised.share_kept)
    assert advised.best_low == 10


def test_a_rule_that_reads_twice_the_dimension_has_the_same_shape_at_twice_the_height():
    profile = pd.DataFrame(
        {"run": "net", "layer": LAYERS, "depth": LAYERS / N_BLOCKS, "plateau": False, "scale": 4.0}
    )
    rules = [profile.assign(rule="paper_text", id=HUNCHBACK)]
    rules.append(profile.assign(rule="auto", id=2 * HUNCHBACK, scale=1.0))
    found = findings.rule_agreement(pd.concat(rules))
    assert found.loc[("net", "auto"), "correlation"] == pytest.approx(1)
    assert found.loc[("net", "auto"), "height"] == pytest.approx(2)
    assert found.loc[("net", "auto"), "layer of the peak"] == 5
    assert findings.rule_agreement(pd.DataFrame()).empty
