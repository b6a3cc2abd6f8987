"""The published numbers beside those of this book's runs."""

import numpy as np
import pandas as pd
import pytest
from made_up_curves import (
    HUNCHBACK,
    LABELS,
    LAYERS,
    N_BLOCKS,
    NEXT,
    curve,
    make_older,
    write_run,
)

from georep_utils.paper import comparison
from georep_utils.paper.published import published_curves


def test_every_published_number_has_a_verdict_and_none_is_run_where_nothing_was():
    published = published_curves()
    compared = comparison.compare(published, comparison.curves({}, "nowhere"))
    assert len(compared) == len(published) == 301
    assert set(compared.verdict) == {"not run here"} and compared.ours.isna().all()
    np.testing.assert_array_equal(compared.value, published.value)


def test_a_run_that_equals_the_publication_agrees_and_one_that_is_off_differs():
    published = pd.concat([published_curves(), curve(HUNCHBACK)])
    same = comparison.compare(published, published)
    assert set(same.verdict) == {"agrees"} and (same.difference == 0).all()
    off = comparison.compare(published, published.assign(value=published.value * 1.5 + 1))
    assert set(off.verdict) == {"differs"}


def test_the_tolerance_is_the_reading_error_and_our_error_together():
    published = curve([10.0] * 4, error=0.15)
    ours = curve([10.44, 10.46, 9.56, 9.54], error=0.1)
    compared = comparison.compare(published, ours, errors=3)
    np.testing.assert_allclose(compared.tolerance, 0.45)
    assert compared.verdict.tolist() == ["agrees", "differs", "agrees", "differs"]


def test_a_model_is_reproduced_when_nine_tenths_of_its_numbers_agree():
    names = ["equal", "one off", "shifted", "partly", "noisy", "absent"]
    published = pd.concat([curve(HUNCHBACK, model=name) for name in names])
    ours = published[published.model != "absent"].reset_index(drop=True)
    ours.loc[ours[ours.model == "one off"].index[:2], "value"] += 5
    ours.loc[ours.model == "shifted", "value"] += 5
    ours.loc[ours.model == "noisy", "error"] = 4
    ours = ours[(ours.model != "partly") | (ours.layer < 6)]
    found = comparison.verdicts(comparison.compare(published, ours))
    assert found.verdict.to_dict() == {
        "equal": "reproduced",
        "one off": "reproduced",
        "shifted": "not reproduced",
        "noisy": "too uncertain to tell",
        "partly": "reproduced as far as it ran",
        "absent": "not run here",
    }
    assert (found.numbers == N_BLOCKS + 1).all() and found.agrees["one off"] == N_BLOCKS - 1


def test_the_counts_of_a_model_and_quantity_add_up_to_its_numbers():
    published = pd.concat([curve(HUNCHBACK), curve(LABELS, "label_overlap", 10)])
    ours = curve(HUNCHBACK)
    ours.loc[0, "value"] += 5
    counts = comparison.agreement(comparison.compare(published, ours))
    assert counts.loc[("net", "intrinsic_dimension"), "agrees"] == N_BLOCKS
    assert counts.loc[("net", "intrinsic_dimension"), "largest difference"] == 5
    assert counts.loc[("net", "label_overlap"), "not run here"] == N_BLOCKS + 1
    assert (counts[comparison.OUTCOMES].sum(axis=1) == N_BLOCKS + 1).all()


@pytest.mark.parametrize(
    "other",
    [
        curve([0.2], "label_overlap", 30),
        curve([0.2], "label_overlap", 10, model="other"),
        curve([0.2]),
    ],
)
def test_only_the_same_model_quantity_layer_and_k_are_compared(other):
    published = curve([0.2], "label_overlap", 10)
    assert comparison.compare(published, other).verdict.tolist() == ["not run here"]


def test_a_k_is_the_same_as_a_whole_number_and_as_a_fraction():
    published = curve([0.2], "label_overlap", 10)
    same = curve([0.2], "label_overlap", 10.0)
    assert comparison.compare(published, same).verdict.tolist() == ["agrees"]


def test_curves_of_runs_come_from_their_tables_under_the_rule_that_is_asked_for(tmp_path):
    write_run(tmp_path, "net", HUNCHBACK)
    write_run(tmp_path, "other", HUNCHBACK + 1)
    (tmp_path / "unfinished").mkdir()
    found = comparison.curves({"net": "igpt_release"}, tmp_path)
    found = found.set_index(["model", "quantity"]).sort_index()
    assert set(found.index.get_level_values(0)) == {"net", "other"}
    np.testing.assert_allclose(found.loc[("net", "intrinsic_dimension"), "value"], HUNCHBACK + 5)
    np.testing.assert_allclose(found.loc[("other", "intrinsic_dimension"), "value"], HUNCHBACK + 1)
    labels = found.loc[("net", "label_overlap")]
    np.testing.assert_allclose(labels.value, LABELS)
    np.testing.assert_allclose(labels.error, 0.005)
    np.testing.assert_allclose(found.loc[("net", "consecutive_overlap"), "value"], NEXT)


def test_what_a_run_left_is_noted_as_read(tmp_path, monkeypatch):
    write_run(tmp_path, "net", HUNCHBACK)
    record = tmp_path / "record"
    monkeypatch.setenv("GEOREP_RECORD", str(record))
    comparison.curves({}, tmp_path)
    noted = record.read_text()
    for name in ("id_profile.csv", "overlaps.csv", "provenance.json"):
        assert f"net/{name}" in noted


def test_an_overlap_without_an_error_gets_the_largest_it_can_have(tmp_path):
    write_run(tmp_path, "new", HUNCHBACK)
    write_run(tmp_path, "old", HUNCHBACK)
    make_older(tmp_path, "old")
    found = comparison.curves({}, tmp_path).set_index(["model", "quantity"]).sort_index()
    np.testing.assert_allclose(found.loc[("new", "label_overlap"), "error"], 0.005)
    largest = np.sqrt(LABELS * (1 - LABELS) / 1000)
    np.testing.assert_allclose(found.loc[("old", "label_overlap"), "error"], largest)


def test_replicates_come_with_the_layers_that_have_them_everywhere(tmp_path):
    write_run(tmp_path, "net", HUNCHBACK)
    path = tmp_path / "net/id_replicates.csv"
    rows = pd.read_csv(path)
    rows.loc[rows.layer.eq(3) & rows.division.eq(7) & rows.half.eq(0), "value"] = np.nan
    rows.to_csv(path, index=False)
    found = comparison.replicates("net", tmp_path)
    assert set(found) == {
        ("intrinsic_dimension", 0),
        ("label_overlap", 10),
        ("consecutive_overlap", 10),
    }
    layers, values = found["intrinsic_dimension", 0]
    assert list(layers) == [layer for layer in LAYERS if layer != 3]
    assert values.shape == (19, 2, N_BLOCKS)
    assert comparison.replicates("absent", tmp_path) == {}


def test_a_rule_that_shifts_a_profile_keeps_its_shape(tmp_path):
    write_run(tmp_path, "net", HUNCHBACK)
    found = comparison.rule_agreement(comparison.tables("id_profile.csv", tmp_path))
    other = found.loc[("net", "igpt_release")]
    assert other.correlation == pytest.approx(1)
    assert other.height == pytest.approx(1 + 5 / HUNCHBACK.mean())
    assert other["highest ID at layer"] == HUNCHBACK.argmax()
    assert comparison.rule_agreement(pd.DataFrame()).empty
