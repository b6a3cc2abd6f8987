"""Every family of transformer is read at the right places, and padding changes nothing."""

import json

import numpy as np
import pytest
import torch
import transformers as tr
from model_builders import PROTEINS, TEXTS, build
from PIL import Image
from safetensors.torch import load_file, save_file

from georep_utils import clouds
from georep_utils.data.samples import Dataset
from georep_utils.io import UserError
from georep_utils.models import load as models
from georep_utils.models.huggingface import HFModel, pool_state


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    made = {}

    def get(family):
        if family not in made:
            made[family] = build(family, tmp_path_factory.mktemp(family))
        return made[family]

    return get


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(3):
        pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def load(saved):
    made = {}

    def get(family, **options):
        key = family, *options.items()
        if key not in made:
            made[key] = models.load(saved(family), **options)
        return made[key]

    return get


def samples(family, pictures):
    if family == "vit":
        return pictures
    return PROTEINS if family.startswith("esm") else TEXTS


# --------------------------------------------------------------------------------------- the layers


@pytest.mark.parametrize("family", ["esm2", "esm1b", "gpt2", "llama", "bert", "t5", "vit"])
def test_a_padded_batch_gives_what_single_samples_give(family, load, pictures):
    inputs = samples(family, pictures)
    for options in ({}, {"pool": "last", "site": "mlp"}):
        model = load(family, **options)
        together = model.forward(inputs)
        alone = [model.forward([sample]) for sample in inputs]
        for layer, x in enumerate(together):
            assert x.dtype == torch.float32
            assert x.shape == (len(inputs), 32)
            one_by_one = torch.cat([one[layer] for one in alone])
            torch.testing.assert_close(x, one_by_one, atol=1e-5, rtol=1e-5)


# The first norm of each block and the final norm, as read in the model's own code; none: BERT's
# norms come after attention.
NORMS = {
    "esm2": ("encoder.layer", "attention.LayerNorm", "encoder.emb_layer_norm_after"),
    "gpt2": ("h", "ln_1", "ln_f"),
    "llama": ("layers", "input_layernorm", "norm"),
    "t5": ("encoder.block", "layer.0.layer_norm", "encoder.final_layer_norm"),
    "vit": ("layers", "layernorm_before", "layernorm"),
    "bert": ("encoder.layer", None, None),
}


@pytest.mark.parametrize("family", NORMS)
def test_every_layer_is_the_first_norm_of_transformers_own_hidden_states(family, load, pictures):
    model = load(family)
    sample = samples(family, pictures)[2:3]
    batch, weights = model.pixels(sample) if family == "vit" else model.tokens(sample)
    with torch.inference_mode():
        out = model.net(**batch, output_hidden_states=True)

    def pooled(state):
        return (state * weights[..., None]).sum(1)

    modules = dict(model.net.named_modules())
    blocks, norm, final = NORMS[family]
    found = model.forward(sample)
    assert model.n_blocks == 3
    assert model.layers == [0, 1, 2, 3]
    assert len(found) == 4
    for layer in range(3):
        state = out.hidden_states[layer]
        if norm:
            state = modules[f"{blocks}.{layer}.{norm}"](state)
        torch.testing.assert_close(found[layer], pooled(state), atol=1e-5, rtol=1e-5)
    assert model.hook_points[3].module == (final or "encoder.layer.2")
    torch.testing.assert_close(found[3], pooled(out.last_hidden_state), atol=1e-5, rtol=1e-5)
    inputs, outputs = (load(family, site=site).forward(sample) for site in ("input", "mlp"))
    for layer in range(3):
        torch.testing.assert_close(inputs[layer], pooled(out.hidden_states[layer]))
    for layer in range(2):
        torch.testing.assert_close(outputs[layer], inputs[layer + 1])


def test_after_attention_is_the_block_input_plus_what_attention_adds(load):
    model = load("gpt2", site="attn")
    added = []
    handle = model.net.h[1].attn.register_forward_hook(lambda m, args, out: added.append(out[0]))
    found = model.forward(TEXTS[:1])[1]
    handle.remove()
    before = load("gpt2", site="input").forward(TEXTS[:1])[1]
    torch.testing.assert_close(found, before + added[0].mean(1), atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="no norm between attention and MLP"):
        load("neox", site="attn")


def test_esm2_of_the_depth_of_35M_gives_thirteen_layers(tmp_path):
    sizes = {"num_hidden_layers": 12, "num_attention_heads": 20, "hidden_size": 40}
    folder = build("esm2", tmp_path, **sizes)
    model = models.load(folder, random_init_seed=1)
    found = model.forward(PROTEINS)
    assert model.n_blocks == 12
    assert [x.shape for x in found] == [(4, 40)] * 13
    again = models.load(folder, random_init_seed=1).forward(PROTEINS)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    trained = models.load(folder).forward(PROTEINS)
    assert not torch.allclose(trained[12], found[12], atol=1e-2)


def test_bfloat16_changes_little_and_is_returned_in_float32(load):
    exact, rough = (
        load("esm2", dtype=dtype).forward(PROTEINS)[3] for dtype in ("float32", "bfloat16")
    )
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).norm() / exact.norm() < 0.03


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llama", "bert", "vit"])
def test_threads_change_no_bit(family, dtype, load, pictures, tmp_path):
    """A batch a thread: which thread computes a batch, and how many there are, does not matter."""
    model = load(family, dtype=dtype)
    assert model.reentrant
    inputs = [samples(family, pictures)[i % 3] for i in range(40)]
    kind = "image" if family == "vit" else "text"
    data = Dataset("some", kind, inputs)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        folder = tmp_path / str(threads)
        found.append(clouds.extract(model, data, folder, batch_size=2, progress=False))
    torch.set_num_threads(before)
    for cloud in found[1:]:
        assert all(np.array_equal(cloud[layer], found[0][layer]) for layer in model.layers)
    # And what it gives is what one call at a time gives.
    alone = model.forward(inputs[:3])
    for layer in model.layers:
        near = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 0.1, "atol": 0.1}
        np.testing.assert_allclose(found[0][layer][:3], alone[layer], **near)


# ------------------------------------------------------------------------------------------ pooling


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_sums_in_float32_whatever_the_network_computes_in(dtype):
    torch.manual_seed(0)
    state = (100 + torch.randn(3, 700, 8)).to(dtype)
    weights = torch.zeros(3, 700)
    for row, n in enumerate((700, 333, 1)):
        weights[row, :n] = 1 / n
    exact = (state.double() * weights[..., None]).sum(1)
    for given in (state, state.flatten(0, 1)):
        pooled = pool_state(given, weights)
        assert pooled.dtype == torch.float32
        assert (pooled - exact).abs().max() < 1e-3 * 2**-8 * 100


def largest_allocation(call) -> int:
    """Bytes of the largest tensor that a call makes."""
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    return max(event.cpu_memory_usage for event in profile.events())


@pytest.mark.parametrize("pool", ["mean", "last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_makes_no_copy_of_a_state(dtype, pool):
    state = torch.randn(2, 4096, 64).to(dtype)
    weights = torch.zeros(2, 4096)
    if pool == "mean":
        weights[:] = 1 / 4096
    else:
        weights[:, -1] = 1
    assert largest_allocation(lambda: pool_state(state, weights, pool)) < state.nbytes / 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_token_is_read_as_it_is(dtype):
    state = torch.randn(3, 50, 8).to(dtype)
    weights = torch.zeros(3, 50)
    places = [49, 3, 0]
    weights[range(3), places] = 1
    for given in (state, state.flatten(0, 1)):
        assert torch.equal(pool_state(given, weights, "last"), state[range(3), places].float())
    # What pads the other places does not matter.
    state[0, :49] = torch.nan
    assert pool_state(state, weights, "cls").isfinite().all()


def test_the_mean_is_over_residues_and_special_tokens_join_only_on_request(load):
    residues, everything = (load("esm2", special_tokens=flag) for flag in (False, True))
    batch, weights = residues.tokens(["MKV"])
    assert batch["input_ids"].shape == (1, 5)
    np.testing.assert_allclose(weights, [[0, 1 / 3, 1 / 3, 1 / 3, 0]])
    np.testing.assert_allclose(everything.tokens(["MKV"])[1], np.full((1, 5), 0.2))
    assert residues.lengths(PROTEINS).tolist() == [len(sequence) + 2 for sequence in PROTEINS]


def test_the_first_tokens_can_be_left_out_of_the_mean(load):
    text = "a film that moves"
    assert np.flatnonzero(load("bert").tokens([text])[1][0]).tolist() == [1, 2, 3, 4]
    assert np.flatnonzero(load("bert", skip_first=1).tokens([text])[1][0]).tolist() == [2, 3, 4]
    with_special = load("bert", skip_first=2, special_tokens=True).tokens([text])[1][0]
    assert np.flatnonzero(with_special).tolist() == [0, 3, 4, 5]
    np.testing.assert_allclose(with_special.sum(), 1)
    left_out = Dataset("some", "text", ["slowly"])
    with pytest.raises(UserError, match="sample 0 has no token to average over"):
        load("gpt2", skip_first=1).check(left_out)


def test_the_class_token_is_the_special_one_in_front(load, pictures):
    weights = load("bert", pool="cls").tokens(TEXTS)[1]
    np.testing.assert_allclose(weights[:, 0], 1)
    np.testing.assert_allclose(weights.sum(1), 1)
    weights = load("vit", pool="cls").pixels(pictures)[1]
    np.testing.assert_allclose(weights[0], [1] + [0] * 16)
    with pytest.raises(UserError, match="puts no class token before sample 0"):
        load("gpt2", pool="cls").check(Dataset("some", "text", TEXTS))


def test_the_class_token_is_what_transformers_gives(load, pictures):
    model = load("vit", pool="cls")
    with torch.inference_mode():
        pixels = model.pixels(pictures)[0]
        ours = model.forward(pictures)[-1]
        theirs = model.net(**pixels).last_hidden_state[:, 0]
    torch.testing.assert_close(ours, theirs)


def test_images_are_read_at_the_size_that_is_asked_for(tmp_path, pictures):
    config = tr.Dinov2Config(
        image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    tr.Dinov2Model(config).save_pretrained(tmp_path)
    tr.BitImageProcessorPil(size={"shortest_edge": 48}, crop_size=32).save_pretrained(tmp_path)
    small, large = (models.load(str(tmp_path), image_size=size) for size in (None, 64))
    assert small.pixels(pictures)[0]["pixel_values"].shape == (3, 3, 32, 32)
    batch, weights = large.pixels(pictures)
    assert batch["pixel_values"].shape == (3, 3, 64, 64) and weights.shape == (3, 65)
    assert large.forward(pictures)[0].shape == (3, 32)


def test_options_of_images_and_texts_are_not_mixed_up(saved):
    with pytest.raises(UserError, match="reads images of its own size only"):
        models.load(saved("vit"), image_size=64)
    with pytest.raises(UserError, match="skip_first is 1, but .* reads images"):
        models.load(saved("vit"), skip_first=1)


def test_image_patches_are_averaged_without_the_class_token(load, pictures):
    batch, weights = load("vit").pixels(pictures)
    assert batch["pixel_values"].shape == (3, 3, 32, 32)
    assert weights.shape == (3, 17)
    np.testing.assert_allclose(weights[0], [0] + [1 / 16] * 16)


def test_protein_language_models_of_bert_type_read_spaced_residues(load):
    model = load("bert", kind="protein")
    texts = []

    def reader(batch, **options):
        texts.extend(batch)
        return model.reader(batch, **options)

    HFModel(**vars(model) | {"reader": reader}).encode(["MKUV"])
    assert texts == ["M K X V"]


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "options, message",
    [
        ({"site": "ln_2"}, "site is 'ln_2'; expected one of ln_1"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"pool": "max"}, "pool is 'max'"),
        ({"kind": "image"}, "does not fit kind 'image'"),
        ({"dtype": "tf32", "device": "cpu"}, "needs a CUDA GPU"),
    ],
)
def test_a_wrong_option_is_named_at_once(options, message, saved):
    with pytest.raises(UserError, match=message):
        models.load(saved("gpt2"), **options)


def test_what_is_no_transformer_is_refused_in_one_line(tmp_path, saved):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gradient_boosting"}))
    resnet = tr.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])
    tr.ResNetModel(resnet).save_pretrained(tmp_path / "resnet")
    tr.AutoConfig.from_pretrained(saved("gpt2")).save_pretrained(tmp_path / "without-weights")
    folders = [tmp_path, *(tmp_path / name for name in ("resnet", "without-weights", "absent"))]
    for name in (*folders, "no/such-model"):
        with pytest.raises(UserError) as caught:
            models.load(name, local_files_only=True)
        assert "\n" not in str(caught.value)
        assert "expected" in str(caught.value)


def test_a_checkpoint_that_lacks_blocks_is_refused(tmp_path):
    folder = build("gpt2", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layer": 4}))
    with pytest.raises(UserError, match="has no weights for h.3"):
        models.load(folder)


@pytest.mark.parametrize(
    "family, lost",
    [("gpt2", "wpe.weight"), ("gpt2", "ln_f.weight"), ("vit", "patch_embeddings.projection.bias")],
)
def test_a_checkpoint_that_lacks_an_embedding_or_a_norm_is_refused(family, lost, tmp_path):
    folder = build(family, tmp_path)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith(lost))
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=f"has no weights for .*{lost}"):
        models.load(folder)


def test_a_checkpoint_may_lack_what_stands_behind_the_last_hook_point(tmp_path):
    folder = build("bert", tmp_path)
    expected = models.load(folder).forward(TEXTS)
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "pooler" not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    found = models.load(folder).forward(TEXTS)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_samples_that_do_not_suit_the_model_are_found_before_the_run(load, pictures):
    model = load("gpt2")
    model.check(Dataset("texts", "text", TEXTS))
    with pytest.raises(UserError, match="reads text, but x holds protein"):
        model.check(Dataset("x", "protein", PROTEINS))
    with pytest.raises(UserError, match="sample 1 has 41 tokens, above the limit of 40"):
        model.check(Dataset("x", "text", ["a film", "a " * 41]))
    with pytest.raises(UserError, match="sample 0 has no token"):
        model.check(Dataset("x", "text", ["   "]))
    with pytest.raises(UserError, match="does not know"):
        load("esm2").check(Dataset("x", "protein", ["MKJ"]))
    with pytest.raises(UserError, match="above the limit of 64"):
        load("esm1b").check(Dataset("x", "protein", ["M" * 63]))
    load("vit").check(Dataset("x", "image", pictures))
    with pytest.raises(UserError, match="missing"):
        load("vit").check(Dataset("x", "image", [pictures[0].parent / "none.png"]))


def test_a_file_that_is_no_image_is_named(load, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    with pytest.raises(UserError, match="broken.png can't be read as an image"):
        load("vit").forward([tmp_path / "broken.png"])
