"""The right places are heard in every family of transformer, and padding changes nothing."""

import json

import numpy as np
import pytest
import torch
import transformers as tr
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from georep_utils.models import huggingface as hf_models
from georep_utils.data.datasets import Dataset
from georep_utils.io import UserError

ESM_TOKENS = [
    "<cls>",
    "<pad>",
    "<eos>",
    "<unk>",
    "L",
    "A",
    "G",
    "V",
    "S",
    "E",
    "R",
    "T",
    "I",
    "D",
    "P",
    "K",
    "Q",
    "N",
    "F",
    "Y",
    "M",
    "H",
    "W",
    "C",
    "X",
    "B",
    "U",
    "Z",
    "O",
    ".",
    "-",
    "<null_1>",
    "<mask>",
]
WORDS = [
    "<pad>",
    "<s>",
    "</s>",
    "<unk>",
    *["a", "film", "that", "moves", "slowly", "but", "never", "bores", "its", "patient", "viewers"],
]
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
PROTEINS = ["MKTAYIAKQR", "GG", "LAGVSERTIDPKQNFYMHWCX", "MSTNPKPQRKTKRNTNRRPQ"]
TEXTS = ["a film that moves", "slowly", "a film that never bores its patient viewers but moves slowly", "its viewers"]


def randomised(net):
    """Random norms and biases too, so that no two places of the network look alike."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return net


def word_tokenizer(folder, special):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    names = {"unk_token": "<unk>", "eos_token": "</s>"} | ({"pad_token": "<pad>"} if special else {})
    tr.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


def build(family, folder, **options):
    """A small network of the true class with random weights, saved as the hub would serve it."""
    if family in ("esm2", "esm1b"):
        (folder / "vocab.txt").write_text("\n".join(ESM_TOKENS))
        tr.EsmTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
        kind = {"esm2": {"position_embedding_type": "rotary"}, "esm1b": {"emb_layer_norm_before": True}}[family]
        config = tr.EsmConfig(
            vocab_size=33,
            pad_token_id=1,
            mask_token_id=32,
            token_dropout=True,
            max_position_embeddings=66,
            **SIZES | kind | options,
        )
        net = tr.EsmModel(config)
    elif family == "vit":
        tr.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
        net = tr.ViTModel(tr.ViTConfig(image_size=32, patch_size=8, **SIZES))
    else:
        word_tokenizer(folder, special=family in ("bert", "t5"))
        n, ids = len(WORDS), {"bos_token_id": 1, "eos_token_id": 2}
        net = {
            "gpt2": lambda: tr.GPT2LMHeadModel(
                tr.GPT2Config(vocab_size=n, n_embd=32, n_layer=3, n_head=2, n_positions=40, **ids)
            ),
            "llama": lambda: tr.LlamaModel(tr.LlamaConfig(vocab_size=n, num_key_value_heads=1, **SIZES | ids)),
            "bert": lambda: tr.BertModel(tr.BertConfig(vocab_size=n, **SIZES)),
            "t5": lambda: tr.T5Model(
                tr.T5Config(vocab_size=n, d_model=32, d_kv=16, num_layers=3, num_heads=2, d_ff=64)
            ),
            "neox": lambda: tr.GPTNeoXModel(tr.GPTNeoXConfig(vocab_size=n, **SIZES)),
        }[family]()
    randomised(net).save_pretrained(folder)
    return folder


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
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


def samples(family, pictures):
    return PROTEINS if family.startswith("esm") else pictures if family == "vit" else TEXTS


@pytest.fixture(scope="module")
def load(saved):
    made = {}

    def get(family, **options):
        key = family, *options.items()
        if key not in made:
            made[key] = hf_models.load(saved(family), **options)
        return made[key]

    return get


FAMILIES = ["esm2", "esm1b", "gpt2", "llama", "bert", "t5", "vit"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_gives_what_single_samples_give(family, load, pictures):
    inputs = samples(family, pictures)
    for options in ({}, {"pool": "last", "site": "mlp"}):
        model = load(family, **options)
        together = model.forward(inputs)
        alone = [model.forward([sample]) for sample in inputs]
        for layer, x in enumerate(together):
            assert x.dtype == torch.float32 and x.shape == (len(inputs), 32)
            torch.testing.assert_close(x, torch.cat([one[layer] for one in alone]), atol=1e-5, rtol=1e-5)


# The first norm of each block and the final norm, as read in the model's own code; none: BERT's norms come after attention.
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
    modules = dict(model.net.named_modules())
    blocks, norm, final = NORMS[family]
    heard = model.forward(sample)
    assert model.n_blocks == 3 and model.layers == [0, 1, 2, 3] and len(heard) == 4
    for layer in range(3):
        state = out.hidden_states[layer]
        state = modules[f"{blocks}.{layer}.{norm}"](state) if norm else state
        torch.testing.assert_close(heard[layer], (state * weights[..., None]).sum(1), atol=1e-5, rtol=1e-5)
    assert model.taps[3].module == (final or "encoder.layer.2")
    torch.testing.assert_close(heard[3], (out.last_hidden_state * weights[..., None]).sum(1), atol=1e-5, rtol=1e-5)
    inputs, outputs = (load(family, site=site).forward(sample) for site in ("input", "mlp"))
    for layer in range(3):
        torch.testing.assert_close(inputs[layer], (out.hidden_states[layer] * weights[..., None]).sum(1))
    for layer in range(2):
        torch.testing.assert_close(outputs[layer], inputs[layer + 1])


def test_after_attention_is_the_block_input_plus_what_attention_adds(load):
    model = load("gpt2", site="attn")
    added = []
    handle = model.net.h[1].attn.register_forward_hook(lambda m, args, out: added.append(out[0]))
    heard = model.forward(TEXTS[:1])[1]
    handle.remove()
    before = load("gpt2", site="input").forward(TEXTS[:1])[1]
    torch.testing.assert_close(heard, before + added[0].mean(1), atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="no norm between attention and MLP"):
        load("neox", site="attn")


def test_the_mean_is_over_residues_and_special_tokens_join_only_on_request(load):
    residues, everything = (load("esm2", special_tokens=flag) for flag in (False, True))
    batch, weights = residues.tokens(["MKV"])
    assert batch["input_ids"].shape == (1, 5)
    np.testing.assert_allclose(weights, [[0, 1 / 3, 1 / 3, 1 / 3, 0]])
    np.testing.assert_allclose(everything.tokens(["MKV"])[1], np.full((1, 5), 0.2))
    assert residues.lengths(PROTEINS).tolist() == [len(sequence) + 2 for sequence in PROTEINS]


def test_image_patches_are_averaged_without_the_class_token(load, pictures):
    batch, weights = load("vit").pixels(pictures)
    assert batch["pixel_values"].shape == (3, 3, 32, 32) and weights.shape == (3, 17)
    np.testing.assert_allclose(weights[0], [0] + [1 / 16] * 16)


def test_protein_language_models_of_bert_type_read_spaced_residues(load):
    model = load("bert", kind="protein")
    texts = []
    reader = lambda batch, **options: texts.extend(batch) or model.reader(batch, **options)
    hf_models.HFModel(**vars(model) | {"reader": reader}).encode(["MKUV"])
    assert texts == ["M K X V"]


def test_esm2_of_the_depth_of_35M_gives_thirteen_layers(tmp_path):
    folder = build("esm2", tmp_path, num_hidden_layers=12, num_attention_heads=20, hidden_size=40)
    model = hf_models.load(folder, random_init_seed=1)
    heard = model.forward(PROTEINS)
    assert model.n_blocks == 12 and [x.shape for x in heard] == [(4, 40)] * 13
    again = hf_models.load(folder, random_init_seed=1).forward(PROTEINS)
    assert all(torch.equal(a, b) for a, b in zip(heard, again))
    trained = hf_models.load(folder).forward(PROTEINS)
    assert not torch.allclose(trained[12], heard[12], atol=1e-2)


def test_bfloat16_changes_little_and_is_returned_in_float32(load):
    exact, rough = (load("esm2", dtype=dtype).forward(PROTEINS)[3] for dtype in ("float32", "bfloat16"))
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).norm() / exact.norm() < 0.03


def test_places_can_be_named_and_a_wrong_name_is_an_error(saved):
    named = hf_models.load(saved("gpt2"), blocks="h", norm="ln_2", final_norm="ln_f")
    assert named.layer_names == ["h.0.ln_2 (out)", "h.1.ln_2 (out)", "h.2.ln_2 (out)", "ln_f (out)"]
    for options in ({"blocks": "layers"}, {"norm": "ln_9"}, {"final_norm": "norm"}):
        with pytest.raises(UserError, match="has no"):
            hf_models.load(saved("gpt2"), **options)


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
        hf_models.load(saved("gpt2"), **options)


def test_what_is_no_transformer_is_refused_in_one_line(tmp_path, saved):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gradient_boosting"}))
    tr.ResNetModel(tr.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])).save_pretrained(
        tmp_path / "resnet"
    )
    tr.AutoConfig.from_pretrained(saved("gpt2")).save_pretrained(tmp_path / "without-weights")
    for name in (tmp_path, tmp_path / "resnet", tmp_path / "without-weights", tmp_path / "absent", "no/such-model"):
        with pytest.raises(UserError) as caught:
            hf_models.load(name, local_files_only=True)
        assert "\n" not in str(caught.value) and "expected" in str(caught.value)


def test_a_checkpoint_that_lacks_blocks_is_refused(tmp_path):
    folder = build("gpt2", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layer": 4}))
    with pytest.raises(UserError, match="has no weights for h.3"):
        hf_models.load(folder)


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


@pytest.mark.parametrize(
    "config, message",
    [
        (tr.AlbertConfig(vocab_size=60, embedding_size=16, **SIZES), "3 times a pass; expected once"),
        (
            tr.SwinConfig(image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 2], window_size=2),
            "several lists",
        ),
        (tr.MambaConfig(vocab_size=60, hidden_size=32, num_hidden_layers=3), "no list of transformer blocks"),
        (
            tr.XLNetConfig(vocab_size=60, d_model=32, n_layer=3, n_head=2, d_inner=64),
            "expected a tensor .1, tokens, width",
        ),
    ],
)
def test_networks_that_are_no_plain_stack_of_blocks_are_refused(config, message, tmp_path):
    config.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=message):
        hf_models.load(tmp_path, random_init_seed=0)
