"""What a run asks for is compared with what its samples can give, before anything is computed."""

import re

import numpy as np
import pytest

from georep_utils import cost
from georep_utils.io import UserError
from georep_utils.workflow import runs


def parameters(run="igpt-mini", **overrides):
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return runs.all_parameters(runs.read_run(run), given)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"n_per_class": 5}, "distances.maxk is 50, but there are 50 samples"),
        ({"overlaps__label_k": [10, 60]}, "overlaps.label_k has 60, but 50 neighbours are kept"),
        ({"distances__range_max": 100}, "range_max of 03 is 100; expected a power of two"),
        ({"n_per_class": 7}, "decimation by 4 leaves 17 of 70 samples, and 20 are needed"),
        (
            {"n_per_class": 1, "distances__maxk": 3, "overlaps__data_k": [4]},
            "overlaps.data_k has 4",
        ),
        (
            {"training_dynamics__decimation": 100},
            "decimation of 06 is 100, which leaves 10 of 1000",
        ),
        ({"listening_places__label_k": 1000}, "label_k of 11 is 1000, but there are 1000 samples"),
        (
            {
                "intrinsic_dimension__fraction": 0.9,
                "intrinsic_dimension__scale_rule": "igpt_release",
            },
            "fraction is 0.9, but scale_rule igpt_release reads TwoNN with 0.98",
        ),
        (
            {
                "intrinsic_dimension__n_repetitions": 2,
                "intrinsic_dimension__scale_rule": "igpt_release",
            },
            "n_repetitions is 2, but scale_rule igpt_release reads 4",
        ),
        (
            {"intrinsic_dimension__decimations": [1, 2]},
            "decimations are [1, 2], but scale_rule paper_text reads 4",
        ),
        ({"extract__model_options": {"sise": "s"}}, "sise"),
        ({"dataset_options": {"pth": "x"}}, "has no option 'pth'"),
        ({"extract__device": "tpu"}, "device is 'tpu'; expected auto, cpu, cuda"),
        ({"extract__dtype": "tf32", "extract__device": "cpu"}, "dtype tf32 needs a CUDA GPU"),
        ({"distances__scheduler": "no/such/file.json"}, "no/such/file.json"),
        ({"listening_places__pools": ["cls"]}, "has no class token"),
        ({"training_dynamics__model_options": {"sise": "s"}}, "sise"),
    ],
)
def test_what_the_samples_cannot_give_is_refused_by_name(overrides, expected):
    with pytest.raises(UserError, match=re.escape(expected)):
        cost.check(parameters(**overrides))


@pytest.mark.parametrize("run", runs.run_files())
def test_the_runs_of_the_repository_pass(run):
    try:
        cost.check(parameters(run))
    except UserError as error:
        needs_others = {"brought": "no arrays are named", "compare": "make them first"}
        assert needs_others[run.partition("-")[0]] in str(error)


def test_texts_of_the_controls_are_more_than_their_neighbours():
    given = {"language_controls__n_samples": 100, "language_controls__label_k": 100}
    with pytest.raises(UserError, match="language_controls.label_k is 100, but 100 texts"):
        cost.check(parameters("smollm2-135m", **given))


def save(folder, **arrays):
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return {"bring__path": str(folder), "distances__maxk": 20}


LAYER = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("arrays", "more", "expected"),
    [
        ({"a": LAYER, "b": LAYER[:50]}, {}, "array b of .* has 50 rows, but a has 60"),
        ({"a": LAYER, "b": LAYER * np.nan}, {}, "array b of .* has NaN or infinity"),
        ({"a": LAYER, "b": LAYER.astype(int)}, {}, "array b of .* has type int64"),
        ({"a": LAYER, "b": LAYER}, {"distances__maxk": 60}, "maxk is 60, but there are 60"),
        ({"a": LAYER}, {"bring__path": "no/such/folder"}, "no/such/folder is missing"),
        ({"a": LAYER}, {"bring__path": ""}, "no arrays are named"),
    ],
)
def test_arrays_that_can_be_no_cloud_are_refused_before_a_kernel(
    arrays, more, expected, tmp_path, monkeypatch
):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path / "root"))
    with pytest.raises(UserError, match=expected):
        cost.check(parameters("brought", **(save(tmp_path / "arrays", **arrays) | more)))


def test_the_cost_of_brought_arrays_and_of_chapters_that_read_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr(cost, "_search_seconds", lambda n, width, maxk, range_max: 100.0)
    few = {f"overlaps__{name}": [10] for name in ("data_k", "label_k", "robustness_k")}
    few["intrinsic_dimension__scale_rule"] = "gride_small_k"
    given = save(tmp_path / "arrays", a=LAYER, b=LAYER, c=LAYER) | few
    told = cost.report(parameters("brought", **given | {"distances__range_max": 16}))
    assert "60, brought" in told and "3 of width 3 to 3, read in place" in told
    assert "about 5 min\n04" in told and cost.UNKNOWN not in told
    assert cost.UNKNOWN not in cost.report(parameters("paper"))


def test_two_clouds_to_compare_must_be_there(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOREP_ROOT", str(tmp_path))
    with pytest.raises(UserError, match="run nosuchrun has no clouds to compare; make them first"):
        cost.check(parameters("compare-igpt-mini", compare__first="nosuchrun"))


def test_samples_that_are_not_here_yet_are_left_to_the_first_chapter(tmp_path):
    cost.check(parameters("igpt-small", data_dir=str(tmp_path)))
    told = cost.report(parameters("igpt-small", data_dir=str(tmp_path)))
    assert "to download    36 files" in told and "samples        not here yet" in told


def test_a_report_says_bytes_and_times_of_every_stage(monkeypatch):
    monkeypatch.setattr(cost, "CALIBRATION_SECONDS", 0.1)
    monkeypatch.setattr(cost, "CALIBRATION_POINTS", 1500)
    few = {f"overlaps__{name}": [10] for name in ("data_k", "label_k", "robustness_k")}
    told = cost.report(parameters(n_per_class=10, distances__maxk=20, **few))
    assert "to download    0 files" in told
    assert "samples        100 of fashion-mnist-14" in told
    # 25 layers of width 64 and 16 logits, 100 samples, float32; one untrained network.
    assert "26 of width 16 to 64, 2 network(s), and 2 array(s) of the input" in told
    assert re.search(r"02 extract     0\.00 GB on disk, .* about \d+ s on cpu", told)
    assert re.search(r"03 neighbours .* about \d+ s", told)
    assert "5 clouds of 1,000 samples" in told and "8 clouds of 1,000 samples" in told


@pytest.mark.parametrize(
    ("control", "seeds", "networks"), [(True, 5, 6), (True, 1, 2), (False, 5, 1)]
)
def test_every_untrained_network_is_counted(monkeypatch, control, seeds, networks):
    monkeypatch.setattr(cost, "_samples_a_second", lambda model, data: 10.0)
    monkeypatch.setattr(cost, "_search_seconds", lambda n, width, maxk, range_max: 1.0)
    few = {f"overlaps__{name}": [10] for name in ("data_k", "label_k", "robustness_k")}
    few |= {"extract__untrained_control": control, "extract__control_seeds": seeds}
    told = cost.report(parameters(n_per_class=10, distances__maxk=20, **few))
    # 100 samples at ten a second; 26 layers of each network and two arrays at a second each.
    assert f"about {cost.duration(10 * networks)} on" in told
    assert f"about {cost.duration(26 * networks + 2)}\n04" in told


def test_an_untrained_network_is_one_at_least():
    with pytest.raises(UserError, match="control_seeds.*at least 1"):
        parameters(extract__control_seeds=0)
