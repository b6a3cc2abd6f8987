"""The chapter that compares two clouds: what it measures, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from notebook_runner import execute

from georep_utils import clouds, io
from georep_utils.io import RunPaths, UserError
from georep_utils.paper import pairs

N = 240
LABELS = np.repeat(["cat", "dog", "owl"], N // 3)


def layers(seed=0, n=N, turned=False):
    """Six layers, each a step away from the last."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, 5))
    found = {}
    for layer in range(6):
        points = points + 0.5 * rng.standard_normal((n, 5))
        # A rotation and a factor change no neighbourhood and no linear CKA.
        turn = np.linalg.qr(np.random.default_rng(9).standard_normal((5, 5)))[0] * 3
        found[f"layer_{layer}"] = (points @ turn if turned else points).astype(np.float32)
    return found


def put(root, run, arrays, labels=LABELS):
    """A run whose trained cloud holds these arrays."""
    np.savez(root / f"{run}.npz", **arrays)
    (root / f"{run}.txt").write_text("\n".join(labels[: len(arrays["layer_0"])]))
    cloud = clouds.bring(root / f"{run}.npz", labels=root / f"{run}.txt", name=run)
    clouds.assign(RunPaths(run), trained=cloud)
    return cloud


def compare(root, monkeypatch, second="two", **given):
    names = {"compare__first": "one", "compare__second": second, "compare__second_cloud": "trained"}
    record = root / "record.jsonl"
    record.unlink(missing_ok=True)
    execute("compare-igpt-mini", ["12"], record, monkeypatch, **names | given)
    folder = RunPaths("compare-igpt-mini").results
    tables = [pd.read_csv(folder / f"{name}.csv") for name in ("overlap_map", "comparison")]
    return *tables, io.recorded(record)


def test_a_rotated_copy_is_most_alike_at_its_own_layers(root, monkeypatch):
    put(root, "one", layers())
    put(root, "two", layers(turned=True))
    overlaps, comparison, (read, _, facts) = compare(root, monkeypatch)
    table = overlaps.pivot(index="first_layer", columns="second_layer", values="overlap")
    assert table.shape == (6, 6) and np.allclose(np.diag(table), 1)
    assert table.idxmax(axis=1).tolist() == list(range(6))
    same = comparison[comparison.first_layer == comparison.second_layer]
    assert np.allclose(same.cka, 1) and np.allclose(same.forward, 2 / N)
    assert comparison.overlap_chance.mean() == pytest.approx(10 / (N - 1), rel=0.1)
    # What the page depends on: both runs' clouds.
    assert {f"data/runs/{run}/clouds.json" for run in ("one", "two")} <= set(read)
    assert not facts["tabled"]


def test_networks_that_have_nothing_in_common_overlap_at_chance(root, monkeypatch):
    put(root, "one", layers())
    put(root, "two", layers(seed=7))
    overlaps, comparison, _ = compare(root, monkeypatch, compare__some_layers=3)
    assert overlaps.overlap.mean() == pytest.approx(10 / (N - 1), rel=0.25)
    assert comparison.cka.mean() == pytest.approx(comparison.cka_chance.mean(), rel=0.5)
    assert len(comparison) == 9


def test_two_clouds_of_other_samples_are_refused_in_one_line(root, monkeypatch):
    put(root, "one", layers())
    put(root, "fewer", layers(n=180))
    put(root, "mixed", layers(turned=True), labels=np.roll(LABELS, 7))
    put(root, "named", layers(turned=True), labels=np.char.upper(LABELS))
    with pytest.raises(UserError, match="do not hold the same samples.*240 and 180 of them") as e:
        compare(root, monkeypatch, second="fewer")
    assert "\n" not in str(e.value)
    with pytest.raises(UserError, match="their classes differ"):
        compare(root, monkeypatch, second="mixed")
    compare(root, monkeypatch, second="named")  # the same classes by other names
    with pytest.raises(UserError, match="are one cloud"):
        compare(root, monkeypatch, second="one")


def test_a_run_that_was_not_run_is_named_with_the_command(root, monkeypatch):
    put(root, "one", layers())
    with pytest.raises(UserError, match="python -m georep_utils run nobody"):
        compare(root, monkeypatch, second="nobody")
    with pytest.raises(UserError, match="no cloud 'untrained'; it has trained"):
        compare(root, monkeypatch, second="one", compare__second_cloud="untrained")
    with pytest.raises(UserError, match="expected fewer neighbours"):
        put(root, "two", layers(turned=True))
        compare(root, monkeypatch, compare__k=N)


def test_a_cloud_is_also_found_by_its_folder(root):
    cloud = put(root, "one", layers())
    assert clouds.chosen("", cloud.folder.name).folder == cloud.folder
    with pytest.raises(UserError, match="can't be a folder's name"):
        clouds.chosen("", "../elsewhere")


def made(folder, digest, ids, labels):
    """A finished cloud as extraction leaves it, without arrays."""
    folder.mkdir(parents=True)
    about = {"layers": [], "layer_names": [], "n_blocks": 1, "n_samples": len(ids)}
    about |= {"model": "m", "dataset": "d", "seconds": 0.0}
    io.write_json(folder / "cloud.json", about)
    io.write_json(folder / "recipe.json", {"data": {"digest": digest}})
    np.save(folder / "ids.npy", np.array(ids))
    if labels is not None:
        np.save(folder / "labels.npy", np.array(labels))
    return clouds.open_cloud(folder)


def test_one_image_in_two_forms_is_the_same_sample(tmp_path):
    tokens = made(tmp_path / "a", "x", [3, 5, 8, 9], [0, 0, 1, 1])
    files = made(tmp_path / "b", "y", [3, 5, 8, 9], [4, 4, 2, 2])
    again = made(tmp_path / "c", "x", [3, 5, 8, 9], [0, 0, 1, 1])
    assert clouds.same_samples(tokens, again) == "digest of the data"
    assert clouds.same_samples(tokens, files) == "names and classes"
    paths = ["b/00003.png", "b/00005.png", "a/00008.png", "a/00009.png"]
    numbered = made(tmp_path / "g", "y", paths, [1, 1, 0, 0])
    assert clouds.same_samples(tokens, numbered) == "names and classes"
    other = made(tmp_path / "h", "y", [*paths[:3], "a/00010.png"], [1, 1, 0, 0])
    with pytest.raises(UserError, match="their names differ"):
        clouds.same_samples(tokens, other)
    with pytest.raises(UserError, match="their names differ"):
        clouds.same_samples(tokens, made(tmp_path / "d", "y", [3, 5, 8, 10], [0, 0, 1, 1]))
    with pytest.raises(UserError, match="their classes differ"):
        clouds.same_samples(tokens, made(tmp_path / "e", "y", [3, 5, 8, 9], [0, 1, 1, 1]))
    with pytest.raises(UserError, match="the digests of their data differ"):
        clouds.same_samples(tokens, made(tmp_path / "f", "y", [3, 5, 8, 9], None))


def test_profiles_share_an_axis_only_where_one_rule_read_both(root):
    folder = RunPaths("one").results
    rows = [(0, 5.0, 0.1, "auto"), (0, 6.0, 0.1, "paper_text")]
    assert pairs.tabled("one", "trained") is None and pairs.tabled("", "trained") is None
    io.write_json(folder / "provenance.json", {"scale_rule": "auto"})
    assert pairs.tabled("one", "trained") is None
    table = pd.DataFrame(rows, columns=["layer", "id", "id_err", "rule"])
    io.write_table(folder / "id_profile.csv", table)
    rule, trained = pairs.tabled("one", "trained")
    assert rule == "auto" and trained.id.tolist() == [5.0]
    controls = pd.DataFrame({"control": "untrained", "layer": [0], "id": 9.0, "id_err": 0.2})
    io.write_table(folder / "id_controls.csv", controls)
    untrained = pairs.tabled("one", "untrained")
    assert untrained[1].id.tolist() == [9.0] and pairs.tabled("one", "untrained-1") is None
    assert pairs.common((rule, trained), untrained) == "auto"
    assert pairs.common((rule, trained), ("paper_text", trained)) is None
    assert pairs.common((rule, trained), None) is None
