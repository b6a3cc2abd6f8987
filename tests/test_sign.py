"""The sign of the correlation of dimension and meaning: cases, and tests that can fail."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from notebook_runner import execute
from scipy import stats

from georep_utils import clouds, io
from georep_utils.io import RunPaths
from georep_utils.paper import published, sign

LAYERS = np.arange(13)


def some_cases(shares, values, **columns):
    table = pd.DataFrame({"share": shares, "rho": values, "weights": np.arange(len(shares))})
    return table.assign(dataset="d", **columns)


# ------------------------------------------------------------------------------------------- cases


def test_a_case_scores_the_peak_the_minimum_after_it_and_the_middle():
    ids = pd.Series(5 + 4 * np.sin(np.pi * LAYERS / 8), LAYERS)  # peak at 4, least at 12
    falling = sign.case(ids, -ids + 20, 12)
    assert falling["rho"] == pytest.approx(-1, abs=0.01)
    assert (falling["low"], falling["high"]) == (-1, 1)  # half a wave proves nothing
    assert falling["minimum"] == 1 > falling["middle"] > falling["peak"]
    rising = sign.case(ids, ids, 12)
    assert rising["rho"] == pytest.approx(1, abs=0.01) and rising["peak"] == 1
    assert rising["peak_over_minimum"] > 0 > falling["peak_over_minimum"]


def test_logits_take_no_part_and_too_few_layers_are_no_case():
    ids = pd.Series(np.arange(14.0), range(14))
    overlaps = ids.copy()
    overlaps[13] = -100  # the logits
    assert sign.case(ids, overlaps, 12)["rho"] == pytest.approx(1)
    assert sign.case(ids, overlaps[:4], 12) is None


def test_the_published_curves_have_the_signs_that_raised_the_question():
    cases = sign.published_cases(published.published_curves(), {"igpt": "i", "esm2": "p"})
    rho = cases.set_index("model").rho.round(2)
    assert rho[["esm2-35M", "esm2-650M", "esm2-3B"]].tolist() == [-0.86, -0.93, -0.86]
    assert rho[["igpt-small", "igpt-medium", "igpt-large"]].tolist() == [0.6, 0.61, 0.5]
    assert cases.share.isna().all()


def put_run(name, weights="w", n=1000, baselines=True, label_set=None, **facts):
    """Tables of a run whose overlap falls where its dimension rises."""
    folder = RunPaths(name).results
    made = {"n_blocks": 12, "n_samples": n, "scale_rule": "auto", "dataset": "d"}
    made |= {"weights": weights, "model": name} | facts
    io.write_json(folder / "provenance.json", made)
    ids = 5 + np.sin(LAYERS)
    profile = pd.DataFrame({"layer": LAYERS, "id": ids, "id_err": 0.1, "rule": "auto"})
    io.write_table(folder / "id_profile.csv", profile)
    overlaps = pd.DataFrame({"layer": LAYERS, "overlap": 0.8 - ids / 20, "k": 10})
    overlaps = overlaps.assign(quantity="label_overlap", other="labels", network="trained")
    io.write_table(folder / "overlaps.csv", overlaps)
    if baselines:
        table = {"baseline": ["pixels", "histogram", "chance"], "k": 10, "overlap": [0.3, 0.2, 0.9]}
        io.write_table(folder / "overlap_baselines.csv", pd.DataFrame(table))
    if label_set:
        trained = overlaps[["layer", "k", "overlap"]].assign(cloud="trained", layer_name="")
        inputs = trained[:1].assign(cloud="input", layer_name="pixels", overlap=0.45)
        both = pd.concat([trained.assign(overlap=1 - trained.overlap), inputs])
        both = both.assign(label_set=label_set, n_classes=2, chance=0.4)
        io.write_table(folder / "label_sets.csv", both)


def test_runs_become_cases_with_the_share_of_their_own_input(root):
    put_run("one", label_set="coarse")
    put_run("bare", baselines=False)
    cases = sign.measured_cases(10).set_index(["model", "label_set"])
    own = cases.loc[("one", sign.OWN)]
    assert own.rho == pytest.approx(-1) and own.input == "pixels"
    assert own.share == pytest.approx(0.3 / own.best_overlap)  # chance is no input
    other = cases.loc[("one", "coarse")]
    assert other.rho == pytest.approx(1) and other.share == pytest.approx(0.45 / other.best_overlap)
    expected = (0.45 - 0.4) / (other.best_overlap - 0.4)
    assert other.share_above_chance == pytest.approx(expected)
    assert np.isnan(cases.loc[("bare", sign.OWN)].share)


def test_replicates_give_an_interval_over_samples(root):
    put_run("one")
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([range(19), range(2), LAYERS])
    table = index.to_frame(index=False, name=["division", "half", "layer"])
    for name, quantity, centre in (
        ("id", "intrinsic_dimension", 5 + np.sin(LAYERS)),
        ("overlap", "label_overlap", 0.8 - np.sin(LAYERS) / 20),
    ):
        noise = 0.1 * centre.std() * rng.standard_normal(len(table))
        values = np.tile(centre, 38) + noise
        kept = table.assign(quantity=quantity, k=10, value=values)
        io.write_table(RunPaths("one").results / f"{name}_replicates.csv", kept)
    found = sign.measured_cases(10).iloc[0]
    assert -1 <= found.sample_low < found.sample_high < 0


def test_runs_of_the_same_weights_and_data_count_once_and_stay_together(root):
    put_run("small", n=500, label_set="coarse")
    put_run("large", n=5000)
    put_run("other", weights="v")
    cases = sign.once(sign.measured_cases(10))
    assert sorted(cases.model) == ["other", "small", "small"]
    put_run("small", n=500)
    (RunPaths("small").results / "label_sets.csv").unlink()
    assert sorted(sign.once(sign.measured_cases(10)).model) == ["large", "other"]


def counted(*names):
    cases = sign.once(sign.measured_cases(10))
    return sorted(set(cases.model) & set(names))


def test_one_network_on_two_folders_of_images_is_two_cases(root):
    put_run("clips", dataset="hf-image", inputs="aa")
    put_run("clothes", dataset="hf-image", inputs="bb")
    put_run("again", dataset="hf-image", inputs="bb", n=500)
    assert counted("clips", "clothes", "again") == ["clips", "clothes"]
    # A variant reads the run's own samples, if fewer of them.
    put_run("clips--few", dataset="hf-image", inputs="cc", n=100)
    assert counted("clips", "clips--few") == ["clips"]


def test_a_run_without_a_digest_is_the_network_of_its_name(root):
    put_run("new", weights="digest", model="net.safetensors", n=10)
    put_run("old", weights=None, model="net.safetensors", n=5)
    assert counted("new", "old") == ["new"]
    put_run("older", weights=None, model="another")
    assert counted("new", "older") == ["new", "older"]


# -------------------------------------------------------------------------------------------- tests


def test_the_p_value_counts_all_orders():
    shares, values = [0.1, 0.4, 0.5, 0.8, 0.9], [-0.8, -0.9, 0.1, 0.7, 0.3]
    found = sign.permutation_test(some_cases(shares, values))
    rho = stats.spearmanr(shares, values).statistic
    orders = [stats.spearmanr(shares, order).statistic for order in permutations(values)]
    assert found.statistic == pytest.approx(rho) and found.exact and found.n == 5
    assert found.p == pytest.approx(np.mean(np.array(orders) >= rho - 1e-9))


def test_a_rise_supports_a_fall_contradicts_and_neither_is_undecided():
    rising = np.linspace(0, 1, 7)
    assert sign.permutation_test(some_cases(rising, rising**2)).verdict == "supported"
    assert sign.permutation_test(some_cases(rising, -rising)).verdict == "contradicted"
    mixed = sign.permutation_test(some_cases(rising, [0, 1, 0.1, 0.9, 0.2, 0.8, 0.3]))
    assert mixed.verdict == "undecided"


def test_few_cases_can_not_decide_and_cases_without_a_share_take_no_part():
    three = some_cases([0.1, 0.5, 0.9], [-1, 0, 1])
    assert sign.permutation_test(three).verdict == "too few cases"
    unknown = some_cases([np.nan] * 4, [0, 1, 2, 3])
    assert sign.permutation_test(pd.concat([three, unknown])).n == 3
    assert sign.permutation_test(unknown).verdict == "too few cases"


def test_within_strata_differences_between_them_do_not_count():
    shares = [0.1, 0.2, 0.3, 0.7, 0.8, 0.9]
    # Between the two networks the relation rises; within each it falls.
    cases = some_cases(shares, [-0.7, -0.8, -0.9, 0.9, 0.8, 0.7], net=list("aaabbb"))
    assert sign.permutation_test(cases).statistic > 0
    inside = sign.permutation_test(cases, within=["net"])
    assert inside.statistic == pytest.approx(-1) and inside.p_below == pytest.approx(1 / 36)
    assert inside.verdict == "contradicted"


def test_many_cases_are_tested_on_drawn_orders():
    rng = np.random.default_rng(1)
    values = rng.standard_normal(12)
    found = sign.permutation_test(some_cases(values, values + 0.2 * rng.standard_normal(12)))
    assert not found.exact and 0 < found.p < 0.01
    noise = [
        sign.permutation_test(some_cases(*rng.standard_normal((2, 6)))).p <= 0.05
        for _ in range(200)
    ]
    assert np.mean(noise) < 0.1  # keeps its level


# -------------------------------------------------------------------------------------- the chapter


def cloud(root, name, arrays, labels):
    np.savez(root / f"{name}.npz", **arrays)
    np.save(root / f"{name}.npy", labels)
    return clouds.bring(root / f"{name}.npz", labels=root / f"{name}.npy", name=name)


def test_the_chapter_asks_other_labels_wherever_clouds_are_here(root, monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 40)
    signal = np.eye(4)[labels]
    arrays = {f"l{i:02d}": rng.standard_normal((160, 4)) + i / 3 * signal for i in LAYERS}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    trained = cloud(root, "net", arrays, labels)
    inputs = cloud(root, "raw", {"pixels": arrays["l04"]}, labels)
    clouds.assign(RunPaths("net"), trained=trained, input=inputs)
    put_run("net", baselines=False)
    pd.DataFrame({"label": labels, "coarse": labels // 2}).to_csv(root / "sets.csv", index=False)
    given = {"meaning__label_files": {"net": str(root / "sets.csv")}}
    scope = execute("meaning", ["13"], root / "record.jsonl", monkeypatch, **given)
    table = pd.read_csv(RunPaths("net").results / "label_sets.csv")
    assert set(table.label_set) == {sign.OWN, "coarse"}
    assert set(table.cloud) == {"trained", "input"}
    cases = pd.read_csv(RunPaths("meaning").results / "meaning.csv")
    own = cases[cases.source == "this book"]
    assert len(own) == 2 and own.share.between(0.2, 1).all() and own.n_classes.tolist() == [4, 2]
    tests = pd.read_csv(RunPaths("meaning").results / "meaning_tests.csv")
    assert len(tests) == 5 and set(tests.verdict) == {"too few cases"}
    assert scope["run"] == "meaning"


def test_the_chapter_stands_on_the_published_curves_alone(root, monkeypatch):
    execute("meaning", ["13"], root / "record.jsonl", monkeypatch)
    cases = pd.read_csv(RunPaths("meaning").results / "meaning.csv")
    assert len(cases) == 6 and cases.share.isna().all()
