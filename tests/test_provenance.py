"""What is said of where a run's numbers come from: weights, inputs, and the kind of data."""

from dataclasses import replace
from pathlib import Path

import pytest

from georep_utils import clouds, io

RECIPE = {
    "model": {"files": {"a.safetensors": "1", "config.json": "2"}, "random_init_seed": None},
    "data": {"digest": "samples"},
}
CLOUD = clouds.Cloud(Path(), (0,), ("h0",), 1, 10, "net", "data", 0.0)


@pytest.fixture
def identity(tmp_path):
    def of(recipe):
        io.write_json(tmp_path / "recipe.json", recipe)
        return clouds.identity(replace(CLOUD, folder=tmp_path))

    return of


def test_the_same_weights_have_one_digest_however_they_are_named_and_read(identity):
    plain = identity(RECIPE)
    renamed = {"files": {"b.bin": "2", "z.json": "1"}, "random_init_seed": None, "pooling": "last"}
    assert identity(RECIPE | {"model": renamed})["weights"] == plain["weights"]
    assert plain["inputs"] == "samples"


def test_other_weights_and_random_ones_have_another(identity):
    plain = identity(RECIPE)["weights"]
    other = RECIPE["model"] | {"files": {"a.safetensors": "3", "config.json": "2"}}
    assert identity(RECIPE | {"model": other})["weights"] != plain
    random = RECIPE["model"] | {"random_init_seed": 0}
    assert identity(RECIPE | {"model": random})["weights"] != plain


def test_arrays_that_were_brought_stand_for_weights_and_inputs(identity):
    found = identity({"brought": {"files": {"theirs.npz": "abc"}}})
    assert found["weights"] == found["inputs"]
    assert found != identity({"brought": {"files": {"theirs.npz": "abd"}}})


@pytest.mark.parametrize(
    ("facts", "family", "generative"),
    [
        ({"tokens": True, "images": True, "causal": True}, "image", True),
        ({"tokens": True, "images": True, "causal": False}, "image", False),
        ({"images": True}, "image", False),
        ({"protein": True}, "protein", False),
        ({"text": True}, "text", False),
        ({"brought": True}, "unknown", False),
    ],
)
def test_the_family_is_that_of_the_data_and_only_image_models_generate(facts, family, generative):
    assert clouds.family(facts) == {"family": family, "generative": generative}


def test_facts_are_those_noted_so_far_and_none_outside_a_run(tmp_path, monkeypatch):
    monkeypatch.delenv(io.RECORD, raising=False)
    assert io.facts() == {}
    record = tmp_path / "record"
    record.write_text(io.facts_line({"labels": True}))
    monkeypatch.setenv(io.RECORD, str(record))
    io.note_facts(untrained=True)
    assert io.facts() == {"labels": True, "untrained": True}
