"""The reproduction report: numbers beside numbers, statements beside curves."""

import json

import numpy as np
import pandas as pd
import pytest

from georep_utils.paper import comparison as report, published as released

N = 20
DEPTH = np.arange(N + 1)
HUNCH = np.interp(DEPTH, [0, 5, 10, 14, 20], [10, 25, 12, 18, 8])
LABELS = np.interp(DEPTH, [0, 10, 20], [0.1, 0.6, 0.2])
NEXT = np.interp(DEPTH, [0, 8, 17, 20], [0.4, 0.95, 0.95, 0.3])


def curve(values, quantity="intrinsic_dimension", k=np.nan, model="net", error=0.1):
    return pd.DataFrame({"model": model, "quantity": quantity, "layer": np.arange(len(values)), "n_blocks": N, "k": k,
                         "value": values, "error": error, "source": "made up"})  # fmt: skip


def whole(ids=HUNCH, labels=LABELS, following=NEXT):
    by_label = [curve(labels / share, "label_overlap", k, error=0.005) for share, k in ((1, 10), (2, 30))]
    return pd.concat([curve(ids), *by_label, curve(following, "consecutive_overlap", 10)])


def write_run(folder, name, ids, n_samples=1000):
    folder = folder / name
    folder.mkdir()
    pd.concat(pd.DataFrame({"layer": DEPTH, "id": ids + shift, "id_err": 0.1, "rule": rule, "depth": DEPTH / N})
              for rule, shift in [("paper_text", 0), ("igpt_release", 5)]).to_csv(folder / "id_profile.csv", index=False)  # fmt: skip
    pd.concat(pd.DataFrame({"layer": DEPTH, "k": 10, "overlap": values, "other": other, "network": network})
              for values, other, network in [(LABELS, "labels", "trained"), (LABELS / 2, "labels", "untrained"),
                                             (NEXT, "next", "trained"), (NEXT, "first", "trained")]
              ).to_csv(folder / "overlaps.csv", index=False)  # fmt: skip
    made = {"n_blocks": N, "n_samples": n_samples, "scale_rule": "paper_text"}
    (folder / "provenance.json").write_text(json.dumps(made))


def test_every_published_number_has_a_verdict_and_none_is_run_where_nothing_was():
    published = released.profiles()
    compared = report.compare(published, report.curves({}, "nowhere"))
    assert len(compared) == len(published) == 301
    assert set(compared.verdict) == {"not run here"} and compared.ours.isna().all()
    np.testing.assert_array_equal(compared.value, published.value)


def test_a_run_that_equals_the_publication_agrees_and_one_that_is_off_differs():
    published = pd.concat([released.profiles(), curve(HUNCH)])
    same = report.compare(published, published)
    assert set(same.verdict) == {"agrees"} and (same.difference == 0).all()
    off = report.compare(published, published.assign(value=published.value * 1.5 + 1))
    assert set(off.verdict) == {"differs"}


def test_the_tolerance_is_the_reading_error_and_our_error_together():
    published, ours = curve([10.0] * 4, error=0.15), curve([10.44, 10.46, 9.56, 9.54], error=0.1)
    compared = report.compare(published, ours, errors=3)
    np.testing.assert_allclose(compared.tolerance, 0.45)
    assert compared.verdict.tolist() == ["agrees", "differs", "agrees", "differs"]


def test_a_model_is_reproduced_when_nine_tenths_of_its_numbers_agree():
    published = pd.concat(
        [curve(HUNCH, model=name) for name in ["equal", "one off", "shifted", "partly", "noisy", "absent"]]
    )
    ours = published[published.model != "absent"].reset_index(drop=True)
    ours.loc[ours[ours.model == "one off"].index[:2], "value"] += 5
    ours.loc[ours.model == "shifted", "value"] += 5
    ours.loc[ours.model == "noisy", "error"] = 4
    ours = ours[(ours.model != "partly") | (ours.layer < 6)]
    found = report.verdicts(report.compare(published, ours))
    assert found.verdict.to_dict() == {
        "equal": "reproduced", "one off": "reproduced", "shifted": "not reproduced", "noisy": "too uncertain to tell",
        "partly": "reproduced as far as it ran", "absent": "not run here"}  # fmt: skip
    assert (found.numbers == N + 1).all() and found.agrees["one off"] == N - 1


def test_only_the_same_model_quantity_layer_and_k_are_compared():
    published = curve([0.2], "label_overlap", 10)
    for other in [curve([0.2], "label_overlap", 30), curve([0.2], "label_overlap", 10, model="other"), curve([0.2])]:
        assert report.compare(published, other).verdict.tolist() == ["not run here"]
    assert report.compare(published, curve([0.2], "label_overlap", 10.0)).verdict.tolist() == ["agrees"]


def test_curves_of_runs_come_from_their_tables_under_the_rule_that_is_asked_for(tmp_path):
    write_run(tmp_path, "net", HUNCH)
    write_run(tmp_path, "other", HUNCH + 1)
    (tmp_path / "unfinished").mkdir()
    found = report.curves({"net": "igpt_release"}, tmp_path).set_index(["model", "quantity"]).sort_index()
    assert set(found.index.get_level_values(0)) == {"net", "other"}
    np.testing.assert_allclose(found.loc[("net", "intrinsic_dimension"), "value"], HUNCH + 5)
    np.testing.assert_allclose(found.loc[("other", "intrinsic_dimension"), "value"], HUNCH + 1)
    labels = found.loc[("net", "label_overlap")]
    np.testing.assert_allclose(labels.value, LABELS)
    np.testing.assert_allclose(labels.error, np.sqrt(LABELS * (1 - LABELS) / 1000))
    np.testing.assert_allclose(found.loc[("net", "consecutive_overlap"), "value"], NEXT)


def test_a_network_as_the_paper_describes_them_fulfils_every_statement():
    checkpoints = [(name, depth, value) for name, ids in [("untrained", 9 + 0 * HUNCH), ("trained", HUNCH)]
                   for depth, value in zip(DEPTH / N, ids)]  # fmt: skip
    found = report.claims(whole(), pd.DataFrame(checkpoints, columns=["checkpoint", "depth", "id"]))
    assert found and all(value is True for value in found.values())


@pytest.mark.parametrize(
    "changed, failing",
    [
        ({"ids": 8 + 0 * HUNCH}, ["peak", "after"]),
        ({"ids": np.interp(DEPTH, [0, 5, 20], [10, 25, 5])}, ["after"]),
        ({"labels": LABELS[::-1].cumsum() / 10}, ["inside", "near", "keeps"]),
        ({"labels": np.interp(DEPTH, [0, 17, 20], [0.1, 0.6, 0.2])}, ["near", "keeps"]),
        ({"following": 1 - NEXT}, ["settles", "collapses"]),
    ],
)
def test_a_network_unlike_the_papers_fails_the_statement_it_breaks(changed, failing):
    found = report.claims(whole(**changed))
    assert {text for text, value in found.items() if value is False} == {report.STATEMENTS[key] for key in failing}


def test_every_layer_of_a_flat_top_is_a_best_one_and_no_other():
    labels = curve([0.1, 0.5, 0.79, 0.8, 0.81, 0.8, 0.6], "label_overlap", 10, error=0.01)
    assert report.best_layers(labels).tolist() == [2, 3, 4, 5]
    assert report.best_layers(labels.assign(error=np.nan)).tolist() == [4]


def test_what_was_not_measured_is_neither_true_nor_false():
    found = report.claims(curve(HUNCH))
    measured = {report.STATEMENTS[key] for key in ("peak", "after")}
    assert {text for text, value in found.items() if value is not None} == measured
    assert report.claims(curve(LABELS, "label_overlap", 10))[report.STATEMENTS["inside"]] is True


def test_the_published_igpts_have_the_published_hunchback():
    readings = released.profiles()
    for name in ("igpt-medium", "igpt-large", "esm2-650M", "esm2-3B"):
        found = report.claims(readings[readings.model == name])
        assert found[report.STATEMENTS["peak"]] is True and found[report.STATEMENTS["after"]] is True
