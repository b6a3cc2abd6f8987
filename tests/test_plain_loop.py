"""The plain loop that extraction is timed against gives what extraction gives."""

import importlib

import numpy as np
import pytest
from model_builders import TEXTS, build

from georep_utils.data.samples import Dataset
from georep_utils.io import REPOSITORY
from georep_utils.models import load as models


@pytest.fixture
def script(monkeypatch):
    """The script, as a module."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("plain_loop")


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_hidden_states_are_those_of_the_loop_and_others_are_refused(family, script, tmp_path):
    folder = str(build(family, tmp_path))
    model = models.load(folder, site="input", special_tokens=True)
    data = Dataset("some", "text", TEXTS)
    theirs = script.text_loop(folder, TEXTS)
    assert script.check_same(model, data, theirs) < 1e-5
    with pytest.raises(RuntimeError, match="from those of transformers"):
        script.check_same(model, data, lambda: [1.001 * layer for layer in theirs()])


def test_batches_of_the_loop_keep_the_order_of_the_data(script, tmp_path, monkeypatch):
    folder = str(build("llama", tmp_path))
    whole = script.text_loop(folder, TEXTS)()
    monkeypatch.setattr(script, "BATCH", 3)
    for a, b in zip(whole, script.text_loop(folder, TEXTS)(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_row_says_what_was_timed_and_its_floor(script, tmp_path, monkeypatch):
    folder = str(build("llama", tmp_path))
    data = Dataset("some", "text", 3 * TEXTS)
    timing = importlib.import_module("timing")
    rates = {"float32": timing.Rates(1e11, 1e10), "bfloat16": timing.Rates(4e11, 1e10)}
    monkeypatch.setattr(timing, "peak_rates", lambda device, dtype: rates[dtype])
    row, lower = script.timed("small", folder, data, script.text_loop, 1, tuple(rates))
    # A block: queries and output, keys and values of one head for two, three matrices of the MLP.
    n_weights = 3 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 32 * 64)
    n_tokens = int(models.load(folder).lengths(data.inputs).sum())
    assert (row["n"], row["unit"], row["tokens"]) == (12, "texts", n_tokens)
    assert row["floor_seconds"] == pytest.approx(2 * n_weights * n_tokens / 1e11)
    assert (row["dtype"], lower["dtype"]) == ("float32", "bfloat16")
    assert lower["operations_per_second"] == 4e11 and lower["floor"] == "arithmetic"
    assert lower["floor_seconds"] == pytest.approx(row["floor_seconds"] / 4)
