"""The loss of an image model and its completions: right, and not computed twice."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from georep_utils.data.samples import Dataset
from georep_utils.models import imagegpt, likelihood

N_VOCAB = 8
LOADED = []


@dataclass(frozen=True)
class Source:
    """A small network with random weights, as a `ModelSource` would load it."""

    seed: int = 0

    def load(self):
        LOADED.append(self.seed)
        net = imagegpt.ImageGPT(2, 16, 2, N_VOCAB, 16, causal=True)
        imagegpt.initialise(net, self.seed)
        net.eval().requires_grad_(False)
        cpu = torch.device("cpu")
        return imagegpt.ImageGPTModel("tiny", net, "ln_1", "mean", cpu, "float32")


@pytest.fixture
def data():
    tokens = np.random.default_rng(0).integers(0, N_VOCAB, (20, 16))
    return Dataset("d", "tokens", tokens.astype(np.uint8))


def batches(n=20):
    return np.array_split(np.arange(n), 4)


def test_an_untrained_network_guesses_evenly(data, tmp_path):
    loss = likelihood.held_out_loss(Source(), data, batches(), tmp_path)
    assert loss == pytest.approx(np.log(N_VOCAB), abs=0.05)


def test_the_loss_is_the_mean_over_batches_of_what_the_model_says(data, tmp_path):
    model = Source().load()
    expected = np.mean([model.loss(data.inputs[rows]) for rows in batches()])
    assert likelihood.held_out_loss(Source(), data, batches(), tmp_path) == expected


def test_what_was_asked_before_is_answered_without_the_model(data, tmp_path):
    first = likelihood.held_out_loss(Source(11), data, batches(), tmp_path)
    drawn = likelihood.completions(Source(11), data, np.arange(3), tmp_path)
    LOADED.clear()
    # Another source of the same folder would be a mistake of the caller; it shows what is read.
    assert likelihood.held_out_loss(Source(12), data, batches(), tmp_path) == first
    again = likelihood.completions(Source(12), data, np.arange(3), tmp_path)
    assert np.array_equal(drawn, again)
    assert LOADED == []


def test_other_rows_are_another_question(data, tmp_path):
    one = likelihood.held_out_loss(Source(), data, batches(), tmp_path)
    other = likelihood.held_out_loss(Source(), data, batches(8), tmp_path)
    assert one != other
    assert one == likelihood.held_out_loss(Source(), data, batches(), tmp_path)


def test_a_damaged_memory_is_made_again(data, tmp_path):
    first = likelihood.held_out_loss(Source(), data, batches(), tmp_path)
    (kept,) = tmp_path.glob(".loss-*.npy")
    kept.write_bytes(b"\x93NUMPY")
    assert likelihood.held_out_loss(Source(), data, batches(), tmp_path) == first


def test_what_is_kept_does_not_change_the_state_of_the_folder(data, tmp_path):
    likelihood.held_out_loss(Source(), data, batches(), tmp_path)
    assert [path.name[0] for path in tmp_path.iterdir()] == ["."]


def test_a_completion_keeps_the_first_half_and_draws_the_second(data, tmp_path):
    drawn = likelihood.completions(Source(), data, np.arange(6), tmp_path)
    assert np.array_equal(drawn[:, :8], data.inputs[:6, :8])
    assert drawn.min() >= 0 and drawn.max() < N_VOCAB


def test_a_completion_does_not_look_at_the_half_that_it_replaces(data):
    model = Source().load()
    other = data.inputs[:6].copy()
    other[:, 8:] = 0
    drawn = likelihood.complete(model, data.inputs[:6], seed=4)
    assert np.array_equal(drawn, likelihood.complete(model, other, seed=4))
    assert not np.array_equal(drawn, likelihood.complete(model, other, seed=5))
