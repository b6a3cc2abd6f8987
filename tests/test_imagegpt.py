"""An ImageGPT gives the numbers that TensorFlow gave, whichever way its weights came."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from model_builders import imagegpt_of_transformers
from safetensors.numpy import save_file

from georep_utils.data.samples import Dataset
from georep_utils.io import UserError
from georep_utils.models import imagegpt
from georep_utils.models.load import load
from georep_utils.models.tf_checkpoint import read_tf_checkpoint

DATA = Path(__file__).parent / "data"
PREFIX = {kind: DATA / f"igpt_{kind}_4shards/model.ckpt-1000000" for kind in ("ar", "bert")}


@pytest.fixture(scope="module")
def expected():
    """What TensorFlow computed from the same checkpoints."""
    found = {}
    for kind, prefix in PREFIX.items():
        with np.load(prefix.with_name("expected.npz")) as file:
            found[kind] = dict(file)
    return found


@pytest.fixture(scope="module")
def tokens(expected):
    return expected["ar"]["tokens"]


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "imagegpt"
    imagegpt_of_transformers(arrays_of()).save_pretrained(folder)
    return folder


def from_tensorflow(kind="ar", **options):
    return load("igpt", checkpoint=str(PREFIX[kind]), device="cpu", **options)


def arrays_of(kind="ar"):
    return read_tf_checkpoint(PREFIX[kind], lambda name: name.startswith("model/"))


def tokens_of(inputs, name="some"):
    return Dataset(name, "tokens", np.asarray(inputs))


def largest_difference(ours, theirs):
    differences = [(a - b).abs().max().item() for a, b in zip(ours, theirs, strict=True)]
    return max(differences)


# ------------------------------------------------------------------- the same numbers as TensorFlow


@pytest.mark.parametrize("kind", PREFIX)
def test_activations_and_logits_are_those_of_tensorflow(kind, expected):
    truth = expected[kind]
    model = from_tensorflow(kind)
    pooled = model.forward(truth["tokens"])
    assert model.n_blocks == truth["activations"].shape[1] - 1
    assert model.net.causal == (kind == "ar")
    activations = np.stack([x.numpy() for x in pooled[:-1]], 1)
    assert np.abs(activations - truth["activations"]).max() < 1e-5
    with torch.inference_mode():
        logits = model.net(model.place(truth["tokens"][:2])).numpy()
    assert np.abs(logits - truth["logits"]).max() < 1e-4
    assert np.abs(pooled[-1][:2].numpy() - truth["logits"].mean(1)).max() < 1e-4


def test_the_loss_is_in_nats_a_token(expected):
    """It is the mean of -log p of the token at each place, by TensorFlow's logits there."""
    truth = expected["ar"]
    logits = torch.from_numpy(truth["logits"]).flatten(0, 1)
    target = torch.from_numpy(truth["tokens"]).long()[:2].flatten()
    theirs = F.cross_entropy(logits, target).item()
    model = from_tensorflow()
    assert model.loss(truth["tokens"][:2]) == pytest.approx(theirs, abs=1e-5)
    assert model.loss(truth["tokens"]) == pytest.approx(float(truth["gen_loss"]), abs=1e-5)


# ----------------------------------------------------------------- the same numbers as transformers


def test_activations_are_those_of_transformers(tokens):
    """transformers must be given what OpenAI's code feeds itself: start token, all but the last."""
    net = imagegpt_of_transformers(arrays_of())
    theirs = []
    for module in [*(block.ln_1 for block in net.transformer.h), net.transformer.ln_f]:
        module.register_forward_hook(lambda module, args, out: theirs.append(out.mean(1)))
    numbers = torch.from_numpy(tokens).long()
    start = torch.full_like(numbers[:, :1], net.config.vocab_size - 1)
    with torch.inference_mode():
        logits = net(torch.cat([start, numbers[:, :-1]], 1)).logits
    ours = from_tensorflow().forward(tokens)
    assert len(theirs) == len(ours) - 1
    assert largest_difference([*theirs, logits.mean(1)], ours) < 1e-5


def test_a_hub_folder_gives_the_same_model_as_the_checkpoint(hub_folder, tokens):
    ours = from_tensorflow().forward(tokens)
    theirs = load(str(hub_folder), device="cpu").forward(tokens)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_fetched_hub_model_is_found_by_its_name(hub_folder, tmp_path, expected):
    shutil.copytree(hub_folder, tmp_path / "hub/openai/imagegpt-small")
    model = load("openai/imagegpt-small", data_dir=str(tmp_path), device="cpu")
    truth = expected["ar"]
    assert model.name == "openai/imagegpt-small"
    assert model.n_blocks == 3
    assert model.loss(truth["tokens"]) == pytest.approx(float(truth["gen_loss"]), abs=1e-5)


def test_a_network_with_biases_is_refused(tmp_path):
    net = imagegpt_of_transformers(arrays_of())
    with torch.no_grad():
        net.transformer.h[1].mlp.c_fc.bias[3] = 0.1
    net.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has biases"):
        load(str(tmp_path), device="cpu")


def test_a_hub_folder_that_lost_a_weight_is_refused(hub_folder, tmp_path):
    state = imagegpt_of_transformers(arrays_of()).state_dict()
    del state["transformer.h.0.ln_1.weight"]
    shutil.copytree(hub_folder, tmp_path / "lost")
    safetensors.torch.save_file(state, tmp_path / "lost/model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="no weights for transformer.h.0.ln_1.weight"):
        load(str(tmp_path / "lost"), device="cpu")


@pytest.mark.parametrize(
    "change",
    [
        {"activation_function": "gelu"},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"layer_norm_epsilon": 1e-6},
    ],
)
def test_a_variant_that_computes_something_else_is_refused(change, hub_folder, tmp_path):
    shutil.copytree(hub_folder, tmp_path / "variant")
    file = tmp_path / "variant/config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | change))
    with pytest.raises(UserError, match="changes ImageGPT's activation"):
        load(str(tmp_path / "variant"), device="cpu")


# ---------------------------------------------------------------------------------- ways in and out


@pytest.mark.parametrize("kind", PREFIX)
def test_arrays_survive_the_round_trip(kind, tmp_path, expected):
    arrays = arrays_of(kind)
    back = imagegpt.to_arrays(imagegpt.from_arrays(arrays))
    assert back.keys() == arrays.keys()
    for name, value in arrays.items():
        assert np.allclose(back[name], value, rtol=1e-6, atol=0), name
    save_file(back, tmp_path / "same.safetensors")
    model = load("igpt", checkpoint=str(tmp_path / "same.safetensors"), device="cpu")
    tokens = expected[kind]["tokens"]
    ours = from_tensorflow(kind)
    assert largest_difference(model.forward(tokens), ours.forward(tokens)) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_checkpoint_in_half_precision_is_read_as_its_exact_values(dtype, tmp_path):
    halves = {name: torch.from_numpy(value).to(dtype) for name, value in arrays_of().items()}
    safetensors.torch.save_file(halves, tmp_path / "half.safetensors")
    read = imagegpt.read_arrays(tmp_path / "half.safetensors", "half")
    assert all(np.array_equal(read[name], value.float()) for name, value in halves.items())
    assert load("igpt", str(tmp_path / "half.safetensors"), device="cpu").n_blocks == 3


def test_an_untrained_network_has_the_sizes_of_its_checkpoint(tokens):
    trained = from_tensorflow()
    one, same, other = (from_tensorflow(random_init_seed=seed) for seed in (0, 0, 1))
    assert [w.shape for w in one.net.parameters()] == [w.shape for w in trained.net.parameters()]
    state = one.forward(tokens)[2]
    assert torch.equal(state, same.forward(tokens)[2])
    assert not torch.allclose(state, other.forward(tokens)[2], atol=1e-3)
    assert not torch.allclose(state, trained.forward(tokens)[2], atol=1e-3)
    assert one.name != trained.name
    assert one.loss(tokens) == pytest.approx(np.log(64), abs=0.02)


def test_random_weights_are_spread_as_openai_draws_them():
    net = imagegpt.initialise(imagegpt.ImageGPT(2, 64, 4, 128, 128), 0)
    residual = 0.02 / np.sqrt(2 * 2)
    spread = {"wpe": 0.01, "attn/c_proj": residual, "mlp/c_proj/w": residual}
    for name, array in imagegpt.to_arrays(net).items():
        if "ln_" in name:
            assert (array == 1).all()
            continue
        expected = [value for ending, value in spread.items() if name.endswith(ending)] or [0.02]
        # Of the 64 numbers of the start token, the spread is known to about a tenth.
        assert array.std() == pytest.approx(expected[0], rel=0.3 if array.size == 64 else 0.06)


@pytest.mark.parametrize(
    "size, n_blocks, width, n_heads", [("s", 24, 512, 8), ("m", 36, 1024, 8), ("l", 48, 1536, 16)]
)
def test_openais_sizes_are_known_without_a_checkpoint(size, n_blocks, width, n_heads, monkeypatch):
    monkeypatch.setattr(imagegpt, "initialise", lambda net, seed: net)
    options = imagegpt.Options(size=size, causal=False)
    with torch.device("meta"):
        net = imagegpt.load_network(None, "igpt", 0, options)
    assert (net.n_blocks, net.d_model, net.blocks[0].attn.n_heads) == (n_blocks, width, n_heads)
    assert (net.n_vocab, net.n_positions, net.causal) == (512, 1024, False)


def test_loading_draws_no_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    from_tensorflow()
    assert torch.equal(torch.rand(3), expected)


# -------------------------------------------------------------------------------- sites and pooling


def test_sites_are_places_of_one_stream(tokens):
    """A block's output is the next one's input; attention is between; ln_1 is the input's norm."""
    sites = ("input", "ln_1", "attn", "mlp")
    at = {site: from_tensorflow(site=site, pool="last").forward(tokens) for site in sites}
    blocks = from_tensorflow().net.blocks
    for layer in range(2):
        assert torch.equal(at["mlp"][layer], at["input"][layer + 1])
    for layer, block in enumerate(blocks):
        assert torch.allclose(at["ln_1"][layer], block.ln_1(at["input"][layer]), atol=1e-6)
        after = at["attn"][layer] + block.mlp(block.ln_2(at["attn"][layer]))
        assert torch.allclose(at["mlp"][layer], after, atol=1e-5)
    for states in at.values():
        assert torch.equal(states[-1], at["ln_1"][-1])
        assert torch.equal(states[-2], at["ln_1"][-2])
    names = ["h0.mlp", "h1.mlp", "h2.mlp", "ln_f", "logits"]
    model = from_tensorflow(site="mlp")
    assert model.layer_names == names
    # The paper's numbers: blocks from 0, L is the final norm, L + 1 the logits.
    assert model.layers == list(range(model.n_blocks + 2)) == list(range(len(names)))


def test_pooling_is_the_mean_or_the_last_place(tokens):
    model = from_tensorflow()
    means = model.forward(tokens)
    lasts = from_tensorflow(pool="last").forward(tokens)
    read = ("ln_1", "ln_f", "logits")
    with torch.inference_mode():
        states = [x for site, _, x in model.net.states(model.place(tokens)) if site in read]
    for mean, last, state in zip(means, lasts, states, strict=True):
        assert torch.allclose(mean, state.mean(1), atol=1e-6)
        assert torch.allclose(last, state[:, -1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "last"])
@pytest.mark.parametrize("site", ["input", "ln_1", "attn", "mlp"])
@pytest.mark.parametrize("kind", ["ar", "bert"])
def test_what_is_read_on_a_cpu_is_the_network_up_to_rounding(kind, site, pool, expected):
    """Weights are folded for speed; the states that the network itself gives are the reference."""
    model = from_tensorflow(kind, site=site, pool=pool)
    tokens = expected[kind]["tokens"]
    with torch.no_grad():
        # Gains far from 1: one that were left out or applied twice would show.
        for block in model.net.blocks:
            block.ln_1.weight.uniform_(0.2, 3)
            block.ln_2.weight.uniform_(0.2, 3)
        found = model.forward(tokens)
        states = model.net.double().states(model.place(tokens))
        wanted = [x for at, _, x in states if at in (site, "ln_f", "logits")]
    assert len(found) == len(wanted)
    for pooled, state in zip(found, wanted, strict=True):
        exact = state.mean(1) if pool == "mean" else state[:, -1]
        assert (pooled - exact).norm() < 1e-6 * exact.norm()


def test_reading_leaves_the_network_as_it_is(tokens):
    model = from_tensorflow()
    before = {name: weight.clone() for name, weight in model.net.named_parameters()}
    model.forward(tokens)
    assert {name for name, _ in model.net.named_parameters()} == before.keys()
    assert all(torch.equal(weight, before[name]) for name, weight in model.net.named_parameters())


def test_an_autoregressive_model_does_not_see_the_future_and_bert_does(expected):
    for kind in PREFIX:
        tokens = expected[kind]["tokens"][:1].copy()
        model = from_tensorflow(kind)
        before = model.net(model.place(tokens))
        tokens[0, 40] = (tokens[0, 40] + 1) % 64
        after = model.net(model.place(tokens))
        unchanged = torch.isclose(after, before, atol=1e-6).all(-1)[0]
        assert unchanged[:41].all() == (kind == "ar")
        assert not unchanged[41:].any()


def test_bfloat16_stays_near_float32(tokens):
    exact = from_tensorflow().forward(tokens)
    rounded = from_tensorflow(dtype="bfloat16").forward(tokens)
    for a, b in zip(exact[:-1], rounded[:-1], strict=True):
        assert b.dtype == torch.float32
        assert 0 < (a - b).norm() / a.norm() < 0.03


def test_a_mean_in_bfloat16_is_summed_in_float32_without_a_copy_of_the_state():
    torch.manual_seed(0)
    state = (100 + torch.randn(2, 4096, 64)).bfloat16()
    model = from_tensorflow(dtype="bfloat16")
    with torch.profiler.profile(profile_memory=True) as profile:
        pooled = model._pool(state)
    assert pooled.dtype == torch.float32
    assert (pooled - state.double().mean(1)).abs().max() < 1e-3
    assert max(event.cpu_memory_usage for event in profile.events()) < state.nbytes / 4


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "dataset, complaint",
    [
        (tokens_of(np.full((2, 64), 64)), r"has tokens 64..64, but .* knows 0..63"),
        (tokens_of(np.full((2, 64), -1)), r"has tokens -1..-1"),
        (tokens_of(np.zeros((2, 65), int)), r"has 65 tokens an image, but .* has 64 positions"),
        (Dataset("some", "protein", ["MKV"]), r"holds protein; choose an image data set"),
    ],
)
def test_data_that_do_not_suit_the_model_are_refused(dataset, complaint):
    with pytest.raises(UserError, match=complaint):
        from_tensorflow().check(dataset)


def test_a_damaged_safetensors_file_is_named(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not json at all!")
    with pytest.raises(UserError, match="bad.safetensors is damaged"):
        load("igpt", checkpoint=str(tmp_path / "bad.safetensors"), device="cpu")


WITHOUT_HEADS = np.zeros((5, 6, 32), np.float32)


@pytest.mark.parametrize(
    "change, complaint",
    [
        (lambda a: a.pop("model/h1/ln_2/g"), "lacks model/h1/ln_2/g"),
        (lambda a: a.pop("model/wpe"), "not an ImageGPT checkpoint: 'model/wpe'"),
        (lambda a: a.update({"model/wpe": np.float32(1)}), "'model/wpe' is missing or has a wrong"),
        (lambda a: a.update({"model/extra": np.zeros(3)}), "unexpected variable model/extra"),
        (
            lambda a: a.update({"model/wtet": np.zeros((63, 32))}),
            r"model/wtet has shape \(63, 32\)",
        ),
        (
            lambda a: a.update({"model/h0/attn/q_proj": WITHOUT_HEADS}),
            "5 heads don't divide a width of 32",
        ),
        (
            lambda a: a.update({"model/h0/attn/k_proj": np.zeros((8, 4, 32))}),
            r"model/h0/attn/k_proj has shape \(8, 4, 32\)",
        ),
        (lambda a: a.update({"model/wte": np.zeros((1, 1 << 24))}), "model/wpe has shape"),
    ],
)
def test_arrays_that_are_no_imagegpt_are_refused_before_memory_is_taken(change, complaint):
    arrays = arrays_of()
    change(arrays)
    with pytest.raises(UserError, match=complaint):
        imagegpt.from_arrays(arrays)
