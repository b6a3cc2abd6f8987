"""Every sample is read once, interrupted work goes on, and memory does not grow with the data."""

import re
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from georep_utils import clouds, extraction
from georep_utils.data.samples import Dataset
from georep_utils.io import REPOSITORY, UserError
from georep_utils.models import imagegpt

WIDTH = 5


class Toy:
    """A model of texts with three layers. It remembers the batches that it saw."""

    name = "toy"
    kind = "text"
    n_blocks = 1
    layers = [0, 1, 2]
    layer_names = ["h0", "ln_f", "logits"]
    device = torch.device("cpu")
    dtype = "float32"
    site = "ln_1"
    pool = "mean"

    def __init__(self, fails_at=None, memory=10**9):
        self.seen, self.fails_at, self.memory = [], fails_at, memory

    def check(self, dataset):
        pass

    def lengths(self, inputs):
        return np.array([len(text) for text in inputs])

    def forward(self, inputs):
        if len(inputs) * max(map(len, inputs)) > self.memory:
            raise torch.OutOfMemoryError("too many at once")
        if len(self.seen) == self.fails_at:
            raise ConnectionError("the power went")
        self.seen.append(list(inputs))
        sums = torch.tensor(
            [[sum(map(ord, text)) + i for i in range(WIDTH)] for text in inputs],
            dtype=torch.float32,
        )
        return [torch.sin(sums), torch.cos(sums[:, :3]), sums]


def texts(n=60, seed=0, **options):
    letters = np.random.default_rng(seed)
    lengths = letters.integers(1, 30, n)
    inputs = ["".join(map(chr, letters.integers(97, 123, length))) for length in lengths]
    return Dataset("some texts", "text", inputs, np.arange(n) % 4, **options)


def small_igpt(seed=0, dtype="float32", n_blocks=2, width=16):
    net = imagegpt.initialise(imagegpt.ImageGPT(n_blocks, width, 2, 8, 16), seed).eval()
    net = net.to(getattr(torch, dtype)).requires_grad_(False)
    return imagegpt.ImageGPTModel("small", net, "ln_1", "mean", torch.device("cpu"), dtype)


def small_images(n=40):
    tokens = np.random.default_rng(0).integers(0, 8, (n, 16)).astype(np.uint8)
    return Dataset("some", "tokens", tokens, np.arange(n) % 3)


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("layer_*.npy")}


def quickly(model, dataset, folder, **options):
    return clouds.extract(
        model, dataset, folder, **{"batch_tokens": 64, "progress": False} | options
    )


# ---------------------------------------------------------------------- batches


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=80), st.integers(1, 200))
def test_batches_hold_each_sample_once_within_the_budget(lengths, budget):
    lengths = np.array(lengths)
    found = extraction.batches(lengths, budget)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(lengths)))
    assert all(len(rows) == 1 or len(rows) * lengths[rows].max() <= budget for rows in found)


def test_like_lengths_share_a_batch_and_equal_ones_keep_their_order():
    lengths = np.random.default_rng(0).integers(1, 200, 500)
    found = extraction.batches(lengths, 1000)
    assert sum(len(rows) * lengths[rows].max() for rows in found) < 1.05 * lengths.sum()
    assert [rows.tolist() for rows in extraction.batches(np.full(5, 10), 20)] == [
        [0, 1],
        [2, 3],
        [4],
    ]


# ---------------------------------------------------------------------- what is written


def test_arrays_are_those_of_one_sample_at_a_time(tmp_path):
    tokens = np.random.default_rng(0).integers(0, 8, (23, 16)).astype(np.uint8)
    model, data = small_igpt(), Dataset("some", "tokens", tokens, np.arange(23) % 3)
    found = quickly(model, data, tmp_path / "out", batch_tokens=80)
    for layer in model.layers:
        single = np.concatenate(
            [model.forward(tokens[i : i + 1])[layer].numpy() for i in range(23)]
        )
        assert found[layer].shape == single.shape and found[layer].dtype == np.float32
        assert np.abs(found[layer] - single).max() < 1e-6
    assert found.layer_names == ("h0.ln_1", "h1.ln_1", "ln_f", "logits") and found.n_blocks == 2


def test_rows_stay_with_their_labels_whatever_the_order_of_the_batches(tmp_path):
    data, model = (
        texts(families=np.arange(60) % 7, ids=np.array([f"t{i}" for i in range(60)])),
        Toy(),
    )
    found = quickly(model, data, tmp_path / "out")
    longest_first = [len(batch[0]) for batch in model.seen[1:]]
    assert len(longest_first) > 5 and longest_first == sorted(longest_first, reverse=True)
    for layer, array in enumerate(Toy().forward(data.inputs)):
        assert np.array_equal(found[layer], array.numpy())
    assert np.array_equal(found.side("labels"), data.labels) and np.array_equal(
        found.side("families"), data.families
    )
    assert found.side("ids").tolist() == data.ids.tolist()
    assert {p.name for p in tmp_path.iterdir()} == {"out"}


def test_chosen_layers_alone_are_written(tmp_path):
    found = quickly(Toy(), texts(), tmp_path / "out", layers=[2, 0])
    assert files(tmp_path / "out").keys() == {
        "layer_00.npy",
        "layer_02.npy",
    } and found.layer_names == ("logits", "h0")
    assert found[2].shape == (60, WIDTH)
    with pytest.raises(UserError, match="layer 1 is not in .*; it holds 2, 0"):
        found[1]


def test_a_new_extraction_replaces_the_old(tmp_path):
    quickly(Toy(), texts(60), tmp_path / "out")
    found = quickly(Toy(), texts(20, seed=1), tmp_path / "out", layers=[1])
    assert found.n_samples == 20 and files(tmp_path / "out").keys() == {"layer_01.npy"}
    assert np.array_equal(clouds.open_cloud(tmp_path / "out")[1], found[1])


# ---------------------------------------------------------------------- interruption


def test_interrupted_work_goes_on_at_the_batch_where_it_stopped(tmp_path):
    whole = Toy()
    quickly(whole, texts(), tmp_path / "whole")
    n_batches = len(whole.seen) - 1
    stopped = Toy(fails_at=5)
    with pytest.raises(ConnectionError):
        quickly(stopped, texts(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="holds no finished cloud"):
        clouds.open_cloud(tmp_path / "out")
    resumed = Toy()
    quickly(resumed, texts(), tmp_path / "out")
    assert resumed.seen[1:] == whole.seen[5:] and len(resumed.seen) - 1 == n_batches - 4
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_batch_size_counts_samples_and_changes_nothing_else(tmp_path):
    model = Toy()
    by_size = clouds.extract(model, texts(), tmp_path / "size", batch_size=7, progress=False)
    assert [len(batch) for batch in model.seen[1:]] == 8 * [7] + [4]
    by_tokens = quickly(Toy(), texts(), tmp_path / "tokens")
    assert all(np.array_equal(by_size[layer], by_tokens[layer]) for layer in range(3))
    model = Toy()
    quickly(model, texts(), tmp_path / "both", batch_size=3)
    assert max(len(batch) for batch in model.seen) == 3
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) <= 64 for batch in model.seen)
    with pytest.raises(UserError, match="batch_size is 0; expected at least 1"):
        quickly(Toy(), texts(), tmp_path / "none", batch_size=0)


@pytest.mark.parametrize("change", ["data", "weights", "pool", "layers"])
def test_a_changed_task_starts_again(tmp_path, change):
    with pytest.raises(ConnectionError):
        quickly(Toy(fails_at=5), texts(), tmp_path / "out")
    model, data, options = Toy(), texts(), {}
    if change == "data":
        data = replace(data, ids=np.arange(100, 160))
    elif change == "weights":
        model.forward = lambda inputs: [2 * x for x in Toy.forward(model, inputs)]
    elif change == "pool":
        model.pool = "last"
    else:
        options = {"layers": [0, 1]}
    found = quickly(model, data, tmp_path / "out", **options)
    assert sorted(chain(*model.seen[1:])) == sorted(data.inputs)
    again = Toy() if change != "weights" else model
    assert np.array_equal(found[0], again.forward(data.inputs)[0].numpy())


def test_interrupted_work_keeps_its_batches_when_other_sizes_are_asked_for(tmp_path):
    whole = Toy()
    quickly(whole, texts(), tmp_path / "whole")
    with pytest.raises(ConnectionError):
        quickly(Toy(fails_at=5), texts(), tmp_path / "out")
    resumed = Toy()
    quickly(resumed, texts(), tmp_path / "out", batch_tokens=128)
    assert resumed.seen[1:] == whole.seen[5:]
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def begin(model, data, folder, **options):
    """Do the first two batches, as an interrupted extraction leaves them; how many there are."""
    todo = extraction.prepare(model, data, folder, **options)
    extraction.work(model, data, folder, todo[:2])
    return len(todo)


def left_to_do(model, data, folder, **options):
    return len(extraction.prepare(model, data, folder, **options))


def same_up_to_rounding(a, b):
    equal = [torch.equal(x, y) for x, y in zip(a, b, strict=True)]
    near = [(x - y).norm() < 0.03 * y.norm() for x, y in zip(a, b, strict=True)]
    return all(near) and not all(equal)


def plain_states(model, tokens):
    """The states of the network itself, as a GPU gives them, in place of the folded ones."""
    return ((site, state, None) for site, _, state in model.net.states(tokens))


def test_states_that_are_computed_in_another_way_continue_the_work(tmp_path, monkeypatch):
    """As on another device, where the last bits of a number are others."""
    # A seed with which some number lies so near to a half that its third digit changes.
    model = small_igpt(1, n_blocks=4, width=256)
    data = small_images()
    n_batches = begin(model, data, tmp_path / "out", batch_tokens=80)
    done = files(extraction.partial_of(tmp_path / "out"))
    folded = model.forward(data.inputs[:1])
    monkeypatch.setattr(imagegpt.ImageGPTModel, "_states", plain_states)
    assert same_up_to_rounding(model.forward(data.inputs[:1]), folded)
    assert left_to_do(model, data, tmp_path / "out") == n_batches - 2
    assert files(extraction.partial_of(tmp_path / "out")) == done
    assert len(quickly(model, data, tmp_path / "out")) == len(model.layers)
    assert not list((tmp_path / "out").glob(".*"))


def test_work_in_bfloat16_goes_on_where_it_is_rounded_in_other_places(tmp_path):
    rounded = small_igpt(dtype="bfloat16")
    data = small_images()
    n_batches = begin(rounded, data, tmp_path / "out", batch_tokens=80)
    # The same weights, with states in float32 between them.
    net = small_igpt(dtype="bfloat16").net.float()
    other = replace(rounded, net=net)
    assert same_up_to_rounding(other.forward(data.inputs), rounded.forward(data.inputs))
    assert left_to_do(other, data, tmp_path / "out") == n_batches - 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_network_with_other_weights_starts_anew(tmp_path, dtype):
    data = small_images()
    n_batches = begin(small_igpt(0, dtype), data, tmp_path / "out", batch_tokens=80)
    assert left_to_do(small_igpt(1, dtype), data, tmp_path / "out", batch_tokens=80) == n_batches


def test_a_network_that_differs_in_its_last_layer_alone_starts_anew(tmp_path):
    data = small_images()
    n_batches = begin(small_igpt(), data, tmp_path / "out", batch_tokens=80)
    other = small_igpt()
    with torch.no_grad():
        other.net.wtet.weight.mul_(1.01)
    assert left_to_do(other, data, tmp_path / "out", batch_tokens=80) == n_batches


@pytest.mark.parametrize("content", [None, b"", b"PK damaged"])
def test_work_whose_trial_is_missing_or_damaged_starts_anew(tmp_path, content):
    data = small_images()
    n_batches = begin(small_igpt(), data, tmp_path / "out", batch_tokens=80)
    trial = extraction.partial_of(tmp_path / "out") / extraction.TRIAL
    trial.unlink()
    if content is not None:
        trial.write_bytes(content)
    assert left_to_do(small_igpt(), data, tmp_path / "out", batch_tokens=80) == n_batches


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_number_of_threads_changes_no_bit(tmp_path, dtype):
    net = imagegpt.initialise(imagegpt.ImageGPT(3, 64, 4, 64, 200), 0).eval()
    net = net.to(getattr(torch, dtype)).requires_grad_(False)
    model = imagegpt.ImageGPTModel("some", net, "ln_1", "mean", torch.device("cpu"), dtype)
    tokens = np.random.default_rng(0).integers(0, 64, (20, 200)).astype(np.uint8)
    data = Dataset("some", "tokens", tokens)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        folder = tmp_path / str(threads)
        quickly(model, data, folder, batch_tokens=600)
        found.append(files(folder))
    torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


# ---------------------------------------------------------------------- limits of the machine


def test_a_batch_that_does_not_fit_is_divided_and_the_next_ones_too(tmp_path):
    quickly(Toy(), texts(), tmp_path / "roomy", batch_tokens=200)
    narrow = Toy(memory=60)
    calls = []
    narrow.forward = lambda inputs: calls.append(len(inputs)) or Toy.forward(narrow, inputs)
    found = quickly(narrow, texts(), tmp_path / "narrow", batch_tokens=200)
    assert files(tmp_path / "narrow") == files(tmp_path / "roomy")
    assert max(len(batch) * len(batch[0]) for batch in narrow.seen) <= 60
    assert set(chain(*narrow.seen)) == set(texts().inputs) and found.n_samples == 60
    n_pieces = [len(batch) for batch in extraction.batches(Toy().lengths(texts().inputs), 200)]
    assert len(calls) < 4 * len(n_pieces) + 8


def test_one_sample_that_does_not_fit_is_named(tmp_path):
    data = Dataset("some", "text", ["ab", "a" * 40, "abc"], ids=np.array(["x", "long", "y"]))
    with pytest.raises(UserError, match="sample long alone does not fit into the memory of cpu"):
        quickly(Toy(memory=20), data, tmp_path / "out")


def test_a_budget_that_cannot_hold_one_sample_is_refused_before_any_work(tmp_path):
    data = Dataset("some", "text", ["ab", "a" * 40, "abc"], ids=np.array(["x", "long", "y"]))
    model = Toy()
    with pytest.raises(UserError, match="batch_tokens is 39, but sample long has 40 tokens"):
        quickly(model, data, tmp_path / "out", batch_tokens=39)
    assert not model.seen and not list(tmp_path.iterdir())
    assert len(quickly(model, data, tmp_path / "out", batch_tokens=40)) == 3


LOST = [
    torch.AcceleratorError("CUDA error: device lost\nCUDA kernel errors .."),
    RuntimeError("CUDA error: device lost\nCUDA kernel errors .."),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(..)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    RuntimeError("CUDA driver said: device-side assert triggered"),
]


@pytest.mark.parametrize("error", LOST)
def test_work_goes_on_where_a_device_disappeared(tmp_path, error):
    whole = Toy()
    quickly(whole, texts(), tmp_path / "whole")
    lost = Toy(fails_at=5)

    def forward(inputs):
        try:
            return Toy.forward(lost, inputs)
        except ConnectionError:
            raise error from None

    lost.forward = forward
    reason = re.escape(str(error).partition("\n")[0])
    with pytest.raises(UserError, match=f"cpu stopped working .{reason}.; .*kept"):
        quickly(lost, texts(), tmp_path / "out")
    resumed = Toy()
    quickly(resumed, texts(), tmp_path / "out")
    assert resumed.seen[1:] == whole.seen[5:]
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize("error", [torch.AcceleratorError, RuntimeError])
def test_a_device_that_only_lacks_memory_has_not_stopped(tmp_path, error):
    """Libraries of CUDA have words of their own for it."""
    narrow = Toy()

    def forward(inputs):
        if len(inputs) > 1:
            raise error("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(..)`")
        return Toy.forward(narrow, inputs)

    narrow.forward = forward
    assert quickly(narrow, texts(), tmp_path / "out").n_samples == 60


def test_an_error_of_a_program_is_not_taken_for_a_lost_device(tmp_path):
    model = Toy()
    model.forward = lambda inputs: torch.zeros(2, 3) @ torch.zeros(2, 3)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        quickly(model, texts(), tmp_path / "out")


@pytest.mark.parametrize(
    "device, width, expected",
    [("cpu", 64, 2048), ("cpu", 576, 455), ("cpu", 4096, 256), ("cuda", 576, 2**18)],
)
def test_the_usual_batch_fits_the_cache_of_a_core(device, width, expected):
    assert extraction.usual_batch_tokens(torch.device(device), width) == expected


def test_a_disk_that_is_too_small_is_noticed_before_any_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    needed = 4 * 60 * (WIDTH + 3 + WIDTH)
    model = Toy()
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda folder: usage(0, 0, needed - 1))
    with pytest.raises(UserError, match="representations of 60 samples need .* free some space"):
        quickly(model, texts(), tmp_path / "out")
    assert len(model.seen) == 1 and not list(tmp_path.iterdir())
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda folder: usage(0, 0, 2 * needed))
    assert len(quickly(model, texts(), tmp_path / "out")) == 3


def test_layers_that_a_model_has_not_and_unsuitable_data_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"layers \[3, 9\] don't exist; toy has layers 0..2"):
        quickly(Toy(), texts(), tmp_path / "out", layers=[1, 9, 3])
    with pytest.raises(UserError, match="holds text"):
        quickly(small_igpt(), texts(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


PEAK = """
import re, sys
from pathlib import Path
import numpy as np, torch
from georep_utils import clouds
from georep_utils.models import imagegpt
from georep_utils.data.samples import Dataset
from georep_utils.data.images import Rows
n, folder = int(sys.argv[1]), Path(sys.argv[2])
np.save(folder / "x.npy", np.zeros((n, 2), np.int16))
net = imagegpt.initialise(imagegpt.ImageGPT(1, 64, 1, 5000, 2), 0).eval()
model = imagegpt.ImageGPTModel("many colours", net, "ln_1", "mean", torch.device("cpu"), "float32")
data = Dataset("many", "tokens", Rows(folder / "x.npy", np.arange(n)))
clouds.extract(model, data, folder / "out", batch_tokens=256, progress=False)
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    """5,000 samples leave 100 MB of arrays, 1,000 leave 20; both take the same memory at most."""
    peaks = {}
    for n in (1000, 5000):
        (tmp_path / str(n)).mkdir()
        command = [sys.executable, "-c", PEAK, str(n), str(tmp_path / str(n))]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)
        peaks[n] = float(done.stdout)
        written = sum(
            path.stat().st_size for path in (tmp_path / str(n) / "out").glob("layer_*.npy")
        )
        assert written > n * 5000 * 4
    assert peaks[5000] < peaks[1000] + 25, peaks
