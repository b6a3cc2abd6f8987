"""Small models of the true classes with random weights, in folders as the hub would serve them."""

import numpy as np
import torch
import transformers as tr
from tokenizers import Tokenizer, models, pre_tokenizers, processors

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
ESM_TOKENS = [
    *["<cls>", "<pad>", "<eos>", "<unk>"],
    *"LAGVSERTIDPKQNFYMHWCXBUZO.-",
    *["<null_1>", "<mask>"],
]
WORDS = [
    *["<pad>", "<s>", "</s>", "<unk>"],
    *"a film that moves slowly but never bores its patient viewers".split(),
]
PROTEINS = ["MKTAYIAKQR", "GG", "LAGVSERTIDPKQNFYMHWCX", "MSTNPKPQRKTKRNTNRRPQ"]
TEXTS = [
    "a film that moves",
    "slowly",
    "a film that never bores its patient viewers but moves slowly",
    "its viewers",
]


def randomised(net):
    """Random norms and biases too, so that no two places of the network look alike."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return net


def word_tokenizer(folder, special):
    """A tokenizer of `WORDS`; `special` frames each text in <s> and </s>."""
    numbers = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "<unk>", "eos_token": "</s>"}
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
        names["pad_token"] = "<pad>"
    tr.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


def build(family, folder, **options):
    """A network of `family` with what reads its inputs, saved in `folder`, which is returned.

    `options` change the configuration of an ESM.
    """
    if family.startswith("esm"):
        net = esm(family, folder, **options)
    elif family == "vit":
        tr.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
        net = tr.ViTModel(tr.ViTConfig(image_size=32, patch_size=8, **SIZES))
    else:
        word_tokenizer(folder, special=family in ("bert", "t5"))
        net = LANGUAGE_MODELS[family](len(WORDS))
    randomised(net).save_pretrained(folder)
    return folder


def esm(family, folder, **options):
    """ESM-2, or ESM-1b with learned positions, and its tokenizer."""
    (folder / "vocab.txt").write_text("\n".join(ESM_TOKENS))
    tr.EsmTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    own = {
        "esm2": {"position_embedding_type": "rotary"},
        "esm1b": {"emb_layer_norm_before": True},
    }
    return tr.EsmModel(
        tr.EsmConfig(
            vocab_size=33,
            pad_token_id=1,
            mask_token_id=32,
            token_dropout=True,
            max_position_embeddings=66,
            **SIZES | own[family] | options,
        )
    )


FRAME = {"bos_token_id": 1, "eos_token_id": 2}
LANGUAGE_MODELS = {
    "gpt2": lambda n_words: tr.GPT2LMHeadModel(
        tr.GPT2Config(vocab_size=n_words, n_embd=32, n_layer=3, n_head=2, n_positions=40, **FRAME)
    ),
    "llama": lambda n_words: tr.LlamaModel(
        tr.LlamaConfig(vocab_size=n_words, num_key_value_heads=1, **SIZES | FRAME)
    ),
    "bert": lambda n_words: tr.BertModel(tr.BertConfig(vocab_size=n_words, **SIZES)),
    "t5": lambda n_words: tr.T5Model(
        tr.T5Config(vocab_size=n_words, d_model=32, d_kv=16, num_layers=3, num_heads=2, d_ff=64)
    ),
    "neox": lambda n_words: tr.GPTNeoXModel(tr.GPTNeoXConfig(vocab_size=n_words, **SIZES)),
}


def imagegpt_of_transformers(arrays):
    """transformers' own ImageGPT with the weights of OpenAI's variables `arrays`.

    They are copied here and not by the code under test.
    """
    n_blocks = len({name.split("/")[1] for name in arrays if name.startswith("model/h")})
    n_heads, _, width = arrays["model/h0/attn/q_proj"].shape
    config = tr.ImageGPTConfig(
        vocab_size=len(arrays["model/wte"]) + 1,
        n_positions=len(arrays["model/wpe"]),
        n_embd=width,
        n_layer=n_blocks,
        n_head=n_heads,
    )
    start = arrays["model/sos"].reshape(1, -1)
    weights = {
        "transformer.wte.weight": np.concatenate([arrays["model/wte"], start]),
        "transformer.wpe.weight": arrays["model/wpe"],
        "transformer.ln_f.weight": arrays["model/ln_f/g"],
        "lm_head.weight": arrays["model/wtet"],
    }
    for layer in range(n_blocks):
        for name, value in _block_of_transformers(arrays, layer, width).items():
            weights[f"transformer.h.{layer}.{name}.weight"] = value
    net = tr.ImageGPTForCausalImageModeling(config).eval()
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


def _block_of_transformers(arrays, layer, width):
    prefix = f"model/h{layer}/"
    ours = {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
    qkv = [ours[f"attn/{letter}_proj"].transpose(2, 0, 1).reshape(width, width) for letter in "qkv"]
    return {
        "attn.c_attn": np.concatenate(qkv, axis=1),
        "attn.c_proj": ours["attn/c_proj"].reshape(width, width),
        "mlp.c_fc": ours["mlp/c_fc/w"],
        "mlp.c_proj": ours["mlp/c_proj/w"],
        "ln_1": ours["ln_1/g"],
        "ln_2": ours["ln_2/g"],
    }
