"""An ImageGPT gives the numbers that TensorFlow gave, whichever way its weights came; what does not fit is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling

from georep_utils.models import imagegpt as igpt, load as models
from georep_utils.models.tf_checkpoint import read_tf_checkpoint
from georep_utils.data.datasets import Dataset
from georep_utils.io import UserError

DATA = Path(__file__).parent / "data"
PREFIX = {kind: DATA / f"igpt_{kind}_4shards/model.ckpt-1000000" for kind in ("ar", "bert")}
ON_CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def expected():
    return {kind: dict(np.load(prefix.with_name("expected.npz"))) for kind, prefix in PREFIX.items()}


def from_tensorflow(kind="ar", **options):
    return models.load("igpt", checkpoint=str(PREFIX[kind]), **ON_CPU | options)


def arrays_of(kind="ar"):
    return read_tf_checkpoint(PREFIX[kind], lambda name: name.startswith("model/"))


def tokens_of(inputs, name="some"):
    return Dataset(name, "tokens", np.asarray(inputs))


def as_hugging_face(arrays):
    """transformers' own class with the weights of `arrays`, copied here and not by the code under test."""
    n_blocks = len({name.split("/")[1] for name in arrays if name.startswith("model/h")})
    n_heads, _, width = arrays["model/h0/attn/q_proj"].shape
    n_vocab, n_positions = len(arrays["model/wte"]), len(arrays["model/wpe"])
    config = ImageGPTConfig(
        vocab_size=n_vocab + 1, n_positions=n_positions, n_embd=width, n_layer=n_blocks, n_head=n_heads
    )
    net = ImageGPTForCausalImageModeling(config).eval()
    weights = {"transformer.wte.weight": np.concatenate([arrays["model/wte"], arrays["model/sos"].reshape(1, -1)])}
    weights |= {"transformer.wpe.weight": arrays["model/wpe"], "transformer.ln_f.weight": arrays["model/ln_f/g"]}
    weights["lm_head.weight"] = arrays["model/wtet"]
    for i in range(n_blocks):
        at = {name.removeprefix(f"model/h{i}/"): value for name, value in arrays.items()
              if name.startswith(f"model/h{i}/")}  # fmt: skip
        qkv = [at[f"attn/{letter}_proj"].transpose(2, 0, 1).reshape(width, width) for letter in "qkv"]
        block = {"attn.c_attn": np.concatenate(qkv, axis=1), "attn.c_proj": at["attn/c_proj"].reshape(width, width),
                 "mlp.c_fc": at["mlp/c_fc/w"], "mlp.c_proj": at["mlp/c_proj/w"], "ln_1": at["ln_1/g"],
                 "ln_2": at["ln_2/g"]}  # fmt: skip
        weights |= {f"transformer.h.{i}.{name}.weight": value for name, value in block.items()}
    own = net.state_dict()
    for name, value in own.items():
        if name in weights:
            assert value.shape == weights[name].shape, name
            own[name] = torch.from_numpy(np.ascontiguousarray(weights.pop(name)))
        elif value.dtype == torch.float32:
            own[name] = torch.zeros_like(value)
    assert not weights
    net.load_state_dict(own)
    return net


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "imagegpt"
    as_hugging_face(arrays_of()).save_pretrained(folder)
    return folder


# ---------------------------------------------------------------------- the same numbers as TensorFlow


@pytest.mark.parametrize("kind", PREFIX)
def test_activations_and_logits_are_those_of_tensorflow(kind, expected):
    truth, model = expected[kind], from_tensorflow(kind)
    pooled = model.forward(truth["tokens"])
    assert model.n_blocks == truth["activations"].shape[1] - 1 and model.net.causal == (kind == "ar")
    assert np.abs(np.stack([x.numpy() for x in pooled[:-1]], 1) - truth["activations"]).max() < 1e-5
    with torch.inference_mode():
        logits = model.net(model.place(truth["tokens"][:2])).numpy()
    assert np.abs(logits - truth["logits"]).max() < 1e-4
    assert np.abs(pooled[-1][:2].numpy() - truth["logits"].mean(1)).max() < 1e-4


def test_the_loss_is_in_nats_a_token(expected):
    """The mean over tokens of minus the log-probability that TensorFlow's logits give to the token at their place."""
    truth = expected["ar"]
    target = torch.from_numpy(truth["tokens"]).long()
    theirs = F.cross_entropy(torch.from_numpy(truth["logits"]).flatten(0, 1), target[:2].flatten()).item()
    assert from_tensorflow().loss(truth["tokens"][:2]) == pytest.approx(theirs, abs=1e-5)
    assert from_tensorflow().loss(truth["tokens"]) == pytest.approx(float(truth["gen_loss"]), abs=1e-5)


# ---------------------------------------------------------------------- the same numbers as transformers


def test_activations_are_those_of_transformers(expected):
    """transformers' module must be given what OpenAI's feeds itself: the start token, then all pixels but the last."""
    tokens = torch.from_numpy(expected["ar"]["tokens"]).long()
    theirs, net = [], as_hugging_face(arrays_of())
    places = [*(block.ln_1 for block in net.transformer.h), net.transformer.ln_f]
    for place in places:
        place.register_forward_hook(lambda module, args, out: theirs.append(out.mean(1)))
    start = torch.full_like(tokens[:, :1], net.config.vocab_size - 1)
    with torch.inference_mode():
        logits = net(torch.cat([start, tokens[:, :-1]], 1)).logits
    ours = from_tensorflow().forward(expected["ar"]["tokens"])
    assert len(theirs) == len(ours) - 1
    assert max((a - b).abs().max().item() for a, b in zip([*theirs, logits.mean(1)], ours, strict=True)) < 1e-5


def test_a_hub_folder_gives_the_same_model_as_the_checkpoint(hub_folder, expected):
    tokens = expected["ar"]["tokens"]
    ours, theirs = from_tensorflow().forward(tokens), models.load(str(hub_folder), **ON_CPU).forward(tokens)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_fetched_hub_model_is_found_by_its_name(hub_folder, tmp_path, expected):
    shutil.copytree(hub_folder, tmp_path / "hub/openai/imagegpt-small")
    model = models.load("openai/imagegpt-small", data_dir=str(tmp_path), **ON_CPU)
    assert model.name == "openai/imagegpt-small" and model.n_blocks == 3
    assert model.loss(expected["ar"]["tokens"]) == pytest.approx(float(expected["ar"]["gen_loss"]), abs=1e-5)


def test_biases_lost_weights_and_other_variants_are_refused(hub_folder, tmp_path):
    net = as_hugging_face(arrays_of())
    with torch.no_grad():
        net.transformer.h[1].mlp.c_fc.bias[3] = 0.1
    net.save_pretrained(tmp_path / "biased")
    with pytest.raises(UserError, match="has biases"):
        models.load(str(tmp_path / "biased"), **ON_CPU)
    state = as_hugging_face(arrays_of()).state_dict()
    del state["transformer.h.0.ln_1.weight"]
    shutil.copytree(hub_folder, tmp_path / "lost")
    save_file(
        {name: value.numpy() for name, value in state.items()}, tmp_path / "lost/model.safetensors", {"format": "pt"}
    )
    with pytest.raises(UserError, match="no weights for transformer.h.0.ln_1.weight"):
        models.load(str(tmp_path / "lost"), **ON_CPU)
    shutil.copytree(hub_folder, tmp_path / "variant")
    config = json.loads((tmp_path / "variant/config.json").read_text())
    (tmp_path / "variant/config.json").write_text(json.dumps(config | {"activation_function": "gelu"}))
    with pytest.raises(UserError, match="changes ImageGPT's activation"):
        models.load(str(tmp_path / "variant"), **ON_CPU)


# ---------------------------------------------------------------------- ways in and out


@pytest.mark.parametrize("kind", PREFIX)
def test_arrays_survive_the_round_trip(kind, tmp_path, expected):
    arrays = arrays_of(kind)
    back = igpt.to_arrays(igpt.from_arrays(arrays))
    assert back.keys() == arrays.keys()
    for name, value in arrays.items():
        assert np.allclose(back[name], value, rtol=1e-6, atol=0), name
    save_file(back, tmp_path / "same.safetensors")
    model = models.load("igpt", checkpoint=str(tmp_path / "same.safetensors"), **ON_CPU)
    ours, tokens = from_tensorflow(kind), expected[kind]["tokens"]
    assert all((a - b).abs().max() < 1e-6 for a, b in zip(model.forward(tokens), ours.forward(tokens), strict=True))


def test_a_checkpoint_is_looked_for_below_data_dir(tmp_path, expected):
    shutil.copytree(PREFIX["ar"].parent, tmp_path / "checkpoints/mine")
    name = "checkpoints/mine/model.ckpt-1000000"
    model = models.load("igpt", checkpoint=name, data_dir=str(tmp_path), **ON_CPU)
    assert model.name == name and model.n_blocks == 3


def test_an_untrained_network_has_the_sizes_of_its_checkpoint(expected):
    tokens, trained = expected["ar"]["tokens"], from_tensorflow()
    one, same, other = (from_tensorflow(random_init_seed=seed) for seed in (0, 0, 1))
    assert [w.shape for w in one.net.parameters()] == [w.shape for w in trained.net.parameters()]
    assert torch.equal(one.forward(tokens)[2], same.forward(tokens)[2])
    assert not torch.allclose(one.forward(tokens)[2], other.forward(tokens)[2], atol=1e-3)
    assert not torch.allclose(one.forward(tokens)[2], trained.forward(tokens)[2], atol=1e-3)
    assert one.name != trained.name
    assert one.loss(tokens) == pytest.approx(np.log(64), abs=0.02)


@pytest.mark.parametrize("size, n_blocks, width, n_heads", [("s", 24, 512, 8), ("m", 36, 1024, 8), ("l", 48, 1536, 16)])
def test_openais_sizes_are_known_without_a_checkpoint(size, n_blocks, width, n_heads, monkeypatch):
    monkeypatch.setattr(igpt, "initialise", lambda net, seed: net)
    with torch.device("meta"):
        net = models.load_igpt("igpt", None, 0, size=size, causal=False)
    assert (net.n_blocks, net.d_model, net.blocks[0].attn.n_heads) == (n_blocks, width, n_heads)
    assert (net.n_vocab, net.n_positions, net.causal) == (512, 1024, False)


# ---------------------------------------------------------------------- sites and pooling


def test_sites_are_places_of_one_stream(expected):
    """A block's output is the next one's input; attention comes between; ln_1 is the norm of the input."""
    tokens, last = expected["ar"]["tokens"], {"pool": "last"}
    at = {site: from_tensorflow(site=site, **last).forward(tokens) for site in ("input", "ln_1", "attn", "mlp")}
    net = from_tensorflow().net
    for layer in range(2):
        assert torch.equal(at["mlp"][layer], at["input"][layer + 1])
    for layer in range(3):
        assert torch.allclose(at["ln_1"][layer], net.blocks[layer].ln_1(at["input"][layer]), atol=1e-6)
        after = at["attn"][layer] + net.blocks[layer].mlp(net.blocks[layer].ln_2(at["attn"][layer]))
        assert torch.allclose(at["mlp"][layer], after, atol=1e-5)
    assert all(torch.equal(a[-1], at["ln_1"][-1]) and torch.equal(a[-2], at["ln_1"][-2]) for a in at.values())
    assert from_tensorflow(site="mlp").layer_names == ["h0.mlp", "h1.mlp", "h2.mlp", "ln_f", "logits"]


def test_pooling_is_the_mean_or_the_last_place(expected):
    tokens = expected["ar"]["tokens"]
    model = from_tensorflow()
    with torch.inference_mode():
        states = [x for site, _, x in model.net.states(model.place(tokens)) if site in ("ln_1", "ln_f", "logits")]
    for mean, last, state in zip(
        model.forward(tokens), from_tensorflow(pool="last").forward(tokens), states, strict=True
    ):
        assert torch.allclose(mean, state.mean(1), atol=1e-6) and torch.equal(last, state[:, -1])


def test_an_autoregressive_model_does_not_see_the_future_and_bert_does(expected):
    for kind in PREFIX:
        tokens = expected[kind]["tokens"][:1].copy()
        model = from_tensorflow(kind)
        before = model.net(model.place(tokens))
        tokens[0, 40] = (tokens[0, 40] + 1) % 64
        unchanged = torch.isclose(model.net(model.place(tokens)), before, atol=1e-6).all(-1)[0]
        assert unchanged[:41].all() == (kind == "ar") and not unchanged[41:].any()


def test_bfloat16_stays_near_float32(expected):
    tokens = expected["ar"]["tokens"]
    exact, rounded = from_tensorflow().forward(tokens), from_tensorflow(dtype="bfloat16").forward(tokens)
    for a, b in zip(exact[:-1], rounded[:-1], strict=True):
        assert b.dtype == torch.float32 and 0 < (a - b).norm() / a.norm() < 0.03


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize("dataset, complaint", [
    (tokens_of(np.full((2, 64), 64)), r"has tokens 64..64, but .* knows 0..63"),
    (tokens_of(np.full((2, 64), -1)), r"has tokens -1..-1"),
    (tokens_of(np.zeros((2, 65), int)), r"has 65 tokens an image, but .* has 64 positions"),
    (Dataset("some", "protein", ["MKV"]), r"holds protein; choose an image data set"),
])  # fmt: skip
def test_data_that_do_not_suit_the_model_are_refused(dataset, complaint):
    with pytest.raises(UserError, match=complaint):
        from_tensorflow().check(dataset)


@pytest.mark.parametrize("options, complaint", [
    ({"checkpoint": "checkpoints/none/model.ckpt-7"}, "is missing: expected .*model.ckpt-7.index"),
    ({"checkpoint": "checkpoints/none.safetensors"}, "is missing: expected .*none.safetensors"),
    ({"checkpoint": None}, "has no checkpoint"),
    ({"checkpoint": None, "size": "xl", "random_init_seed": 0}, "expected a checkpoint, or a size of s, m, l"),
    ({"site": "ln_2"}, "site is 'ln_2'; expected one of ln_1, input, attn, mlp"),
    ({"pool": "max"}, "pool is 'max'"),
    ({"dtype": "float64"}, "dtype is 'float64'"),
    ({"device": "gpu"}, "device is 'gpu'"),
    ({"blocks": "h"}, "no option 'blocks'"),
])  # fmt: skip
def test_options_that_do_not_fit_are_named(options, complaint):
    with pytest.raises(UserError, match=complaint) as refusal:
        models.load("igpt", **{"checkpoint": str(PREFIX["ar"])} | ON_CPU | options)
    assert "\n" not in str(refusal.value)


def test_options_that_a_hub_model_has_not_are_named(tmp_path):
    with pytest.raises(UserError, match="leave it out, or set model to igpt"):
        models.load("gpt2", checkpoint="some.safetensors")
    with pytest.raises(UserError, match="no option 'size'"):
        models.load(str(tmp_path), size="s")


def test_a_damaged_safetensors_file_is_named(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not json at all!")
    with pytest.raises(UserError, match="bad.safetensors is damaged"):
        models.load("igpt", checkpoint=str(tmp_path / "bad.safetensors"), **ON_CPU)


@pytest.mark.parametrize("change, complaint", [
    (lambda a: a.pop("model/h1/ln_2/g"), "lacks model/h1/ln_2/g"),
    (lambda a: a.pop("model/wpe"), "not an ImageGPT checkpoint: 'model/wpe'"),
    (lambda a: a.update({"model/extra": np.zeros(3)}), "unexpected variable model/extra"),
    (lambda a: a.update({"model/wtet": np.zeros((63, 32))}), r"model/wtet has shape \(63, 32\)"),
])  # fmt: skip
def test_arrays_that_are_no_imagegpt_are_refused(change, complaint):
    arrays = arrays_of()
    change(arrays)
    with pytest.raises(UserError, match=complaint):
        igpt.from_arrays(arrays)
