"""Published curves and runs are judged alike, each set of weights once; what lacks is named."""

import json

import numpy as np
import pandas as pd
import pytest
from made_up_curves import HUNCHBACK, LABELS, LAYERS, N_BLOCKS, make_older, write_run

from georep_utils.paper import advice, evidence, findings
from georep_utils.paper.published import published_curves

LATE = np.interp(LAYERS, [0, 14, 20], [5, 8, 7.5])
LATE_LABELS = np.interp(LAYERS, [0, 19, 20], [0.1, 0.6, 0.5])


@pytest.fixture
def runs(tmp_path):
    """A network as the paper describes it, one unlike it, and the former on more samples."""
    write_run(tmp_path, "alike", weights="same")
    write_run(tmp_path, "more", n_samples=5000, weights="same")
    write_run(tmp_path, "unlike", LATE, labels=LATE_LABELS)
    return tmp_path


def judged(folder):
    known, left_out = evidence.of_runs({}, folder)
    verdicts, not_judged = evidence.judge(known)
    return known, verdicts, left_out | not_judged


def test_a_run_brings_all_that_the_statements_are_about(runs):
    known, verdicts, left_out = judged(runs)
    assert not left_out
    one = known[0]
    assert (one.model, one.by, one.groups, one.n_blocks) == ("alike", "this book", 20, N_BLOCKS)
    assert set(one.untrained.control) == {"untrained", "untrained-1"}
    assert sorted(one.dynamics.progress.unique()) == [0, 0.125, 1]
    said = verdicts[verdicts.model == "alike"].set_index("finding").verdict
    assert list(said.index) == list(findings.STATEMENTS)
    assert said["1.5"] == said["3.1"] == said["4.1"] == said["4.2"] == "yes"
    assert said["1.4"] == "not testable"


def test_a_network_unlike_the_paper_is_said_to_be(runs):
    _, verdicts, _ = judged(runs)
    together = evidence.together(verdicts)
    said = together[together.model == "unlike"].set_index("finding").verdict
    assert said["1"] == said["3"] == "no"


def test_the_table_of_words_has_each_finding_above_its_statements(runs):
    _, verdicts, _ = judged(runs)
    table = evidence.words(pd.concat([evidence.together(verdicts), verdicts]))
    assert len(table) == len(findings.FINDINGS) + len(findings.STATEMENTS)
    assert table.index[0].startswith("1. ") and table.index[1].startswith("1.1 ")
    assert list(table.columns) == [("this book", run) for run in ("alike", "more", "unlike")]
    assert table.isin(findings.VERDICTS).all(axis=None)


def test_no_weights_count_twice(runs):
    known, verdicts, _ = judged(runs)
    assert [one.model for one in evidence.once(known)] == ["more", "unlike"]
    counted = findings.tally(evidence.together(verdicts))
    assert (counted.sum(axis=1) == 2).all()


def test_published_curves_give_way_to_a_run_of_the_same_weights(tmp_path):
    write_run(tmp_path, "igpt-small")
    known, _ = evidence.of_runs({}, tmp_path)
    both = evidence.of_paper(published_curves(), {"igpt-small": known[0].weights}) + known
    kept = [(one.by, one.model) for one in evidence.once(both)]
    assert ("this book", "igpt-small") in kept and ("the paper", "igpt-small") not in kept
    assert len(kept) == 6


def test_the_published_curves_are_judged_by_their_scatter():
    verdicts, left_out = evidence.judge(evidence.of_paper(published_curves()))
    assert not left_out and verdicts.model.nunique() == 6
    said = verdicts.pivot(index="finding", columns="model", values="verdict")
    assert set(said.loc["4.1"]) == {"not testable"}  # nothing about training is published
    assert said.loc["1.5", "igpt-small"] == "not testable"  # its scatter hides a tenth
    # Its minimum would be noise if errors of neighbouring layers were alike.
    assert said.loc["1.5", "igpt-large"] == said.loc["3.1", "igpt-large"] == "not testable"
    assert said.loc["1.4", "esm2-3B"] == said.loc["3.1", "esm2-3B"] == "yes"


def test_the_tables_of_an_earlier_version_are_named_and_not_judged(runs):
    make_older(runs, "more")
    known, verdicts, left_out = judged(runs)
    assert [one.model for one in known] == ["alike", "unlike"]
    assert left_out == {
        "more": "made by an earlier version: run it again (python -m georep_utils run more)"
    }
    assert "more" not in set(verdicts.model)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "id_replicates.csv").unlink(), "left no replicates of its IDs"),
        (lambda folder: set_fact(folder, family="sound"), "its family is 'sound'"),
        (lambda folder: repeat_rows(folder / "id_replicates.csv"), "several values of one layer"),
        (lambda folder: freeze(folder / "id_replicates.csv"), "error that is zero or missing"),
    ],
)
def test_a_run_that_cannot_be_judged_says_why_and_stops_no_other(runs, spoil, reason):
    spoil(runs / "more")
    known, verdicts, left_out = judged(runs)
    assert set(left_out) == {"more"} and reason in left_out["more"]
    assert set(verdicts.model) == {"alike", "unlike"}
    evidence.scoreboards(known)
    evidence.found_layers(known)


def set_fact(folder, **facts):
    path = folder / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def repeat_rows(path):
    rows = pd.read_csv(path)
    pd.concat([rows, rows]).to_csv(path, index=False)


def freeze(path):
    pd.read_csv(path).assign(value=7.0).to_csv(path, index=False)


def test_replicates_of_one_rule_are_not_taken_for_another(runs):
    known, _ = evidence.of_runs({"alike": "igpt_release"}, runs)
    assert known[0].covariance("intrinsic_dimension") is None
    assert known[0].covariance("label_overlap", 10) is not None
    assert known[0].profile().ids == pytest.approx(HUNCHBACK + 5)


def test_without_untrained_networks_and_checkpoints_nothing_is_said_of_training(runs):
    (runs / "alike/id_controls.csv").unlink()
    (runs / "alike/training_dynamics.csv").unlink()
    _, verdicts, _ = judged(runs)
    said = verdicts[verdicts.model == "alike"].set_index("finding").verdict
    assert said["4.1"] == said["4.2"] == "not testable"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["untrained", "1/8", "trained"], [0, 0.125, 1]),
        (["131", "1000"], [0.131, 1]),
        (["early", "late"], None),
        (["1/0", "1"], None),
    ],
)
def test_a_checkpoint_s_name_may_tell_how_far_the_training_is(names, expected):
    made = evidence.with_progress(pd.DataFrame({"checkpoint": names}))
    assert (made is None) if expected is None else (made.progress.tolist() == expected)


def test_the_first_page_counts_the_paper_s_curves_and_names_every_run(runs):
    known, _ = evidence.of_runs({}, runs)
    verdicts, _ = evidence.judge(evidence.of_paper(published_curves()) + known)
    table = evidence.first_page(evidence.together(verdicts))
    assert list(table.columns) == [
        "finding",
        "the paper's own curves",
        "alike",
        "more (same weights as alike)",
        "unlike",
    ]
    assert len(table) == 4 and table.finding[0].startswith("1. the ID rises")
    for words in table["the paper's own curves"]:
        counts = [int(part.split()[0]) for part in words.split(", ")]
        assert sum(counts) == 6
    assert set(table.unlike) <= set(findings.VERDICTS)


def test_without_runs_the_first_page_has_the_paper_only(tmp_path):
    known, left_out = evidence.of_runs({}, tmp_path)
    assert known == [] and left_out == {}
    verdicts, _ = evidence.judge(evidence.of_paper(published_curves()) + known)
    assert len(evidence.first_page(evidence.together(verdicts)).columns) == 2
    assert evidence.judge([])[0].empty and evidence.untrained_bands([]).empty


def test_every_network_with_labels_has_a_scoreboard(runs):
    known, _ = evidence.of_runs({}, runs)
    boards, rivals = evidence.scoreboards(known)
    assert set(boards) == set(rivals) == {"alike", "more", "unlike"}
    chosen = boards["alike"].set_index("choice").loc[advice.RULE]
    assert chosen.in_best_set == 1 and chosen.share > 0.95
    assert boards["unlike"].set_index("choice").loc[advice.RULE].isna().all()
    found = evidence.found_layers(known).set_index("model")
    assert found.kind["alike"] == "minimum" and found.kind["unlike"] == "none"
    assert found.version.str.startswith("semantic_layer").all()


def test_the_relation_has_an_interval_over_samples_where_there_are_replicates(runs):
    known, _ = evidence.of_runs({}, runs)
    table = evidence.relations(evidence.of_paper(published_curves()) + known).set_index("model")
    assert table.loc["alike", ["sample_low", "sample_high"]].notna().all()
    assert table.loc["esm2-3B", ["sample_low", "sample_high"]].isna().all()
    assert (table.low <= table.rho).all() and (table.rho <= table.high).all()


def test_the_band_of_untrained_networks_holds_all_of_them(runs):
    known, _ = evidence.of_runs({}, runs)
    band = evidence.untrained_bands(known[:1])
    assert (band.low == 8.9).all() and (band.high == 9.6).all() and (band.networks == 2).all()


def test_layers_without_replicates_are_left_out_of_a_curve(runs):
    path = runs / "alike/overlap_replicates.csv"
    rows = pd.read_csv(path)
    rows[rows.layer < N_BLOCKS].to_csv(path, index=False)
    known, _ = evidence.of_runs({}, runs)
    labels = known[0].labels(10)
    assert list(labels.layers) == list(LAYERS[:-1]) and labels.covariance.shape == (20, 20)
    assert labels.values == pytest.approx(LABELS[:-1])


def test_a_table_of_verdicts_is_coloured_and_only_findings_are_bold():
    rows = ["1. a finding", "1.1 a statement"]
    table = pd.DataFrame({"a <model>": ["yes", "not testable"]}, index=rows)
    html = evidence.verdict_table(table).to_html()
    assert "a &lt;model&gt;" in html and evidence.VERDICT_STYLES["yes"].split(";")[0] in html
    assert html.count("font-weight: bold") == 1 and html.count("font-weight: normal") == 1
