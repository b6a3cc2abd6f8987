"""Hook points are found by structure, or named; a network that is no stack of blocks is refused."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import transformers as tr
from model_builders import SIZES, build
from torch import nn

from georep_utils.io import UserError
from georep_utils.models import load as models
from georep_utils.models.hooks import (
    HookPoint,
    KeptHooks,
    attached,
    find_blocks,
    find_hook_points,
    first_tensor,
)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return build("gpt2", tmp_path_factory.mktemp("gpt2"))


def test_hook_points_can_be_named_and_a_wrong_name_is_an_error(gpt2):
    named = models.load(gpt2, blocks="h", norm="ln_2", final_norm="ln_f")
    names = ["h.0.ln_2 (out)", "h.1.ln_2 (out)", "h.2.ln_2 (out)", "ln_f (out)"]
    assert named.layer_names == names
    for options in ({"blocks": "layers"}, {"norm": "ln_9"}, {"final_norm": "norm"}):
        with pytest.raises(UserError, match="has no"):
            models.load(gpt2, **options)


def test_a_norm_of_one_pooled_token_is_no_final_norm():
    """CLIP normalises its class token alone, behind the last block."""
    config = tr.CLIPVisionConfig(image_size=32, patch_size=8, **SIZES)
    net = tr.CLIPVisionModel(config).eval()
    blocks = find_blocks(net, "CLIP")
    points, n_tokens = find_hook_points(net, "CLIP", blocks, "ln_1")
    assert n_tokens == 17
    first_norms = [HookPoint(f"{blocks}.{layer}.layer_norm1", "out") for layer in range(3)]
    assert list(points) == [*first_norms, HookPoint(f"{blocks}.2", "out")]


SWIN = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 2],
    "window_size": 2,
}


@pytest.mark.parametrize(
    "config, message",
    [
        (
            tr.AlbertConfig(vocab_size=60, embedding_size=16, **SIZES),
            "3 times a pass; expected once",
        ),
        (tr.SwinConfig(**SWIN), "several lists"),
        (
            tr.MambaConfig(vocab_size=60, hidden_size=32, num_hidden_layers=3),
            "no list of transformer blocks",
        ),
        (
            tr.XLNetConfig(vocab_size=60, d_model=32, n_layer=3, n_head=2, d_inner=64),
            "expected a tensor .1, tokens, width",
        ),
    ],
)
def test_networks_that_are_no_plain_stack_of_blocks_are_refused(config, message, tmp_path):
    config.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=message):
        models.load(tmp_path, random_init_seed=0)


def test_what_passes_a_hook_point_is_seen_and_not_changed():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    x = torch.rand(5, 2)
    expected = net(x)
    seen = {}
    points = [HookPoint("0", "in"), HookPoint("0", "out"), HookPoint("1", "in")]
    hooks = [
        (point, lambda values, point=point: seen.setdefault(point, values)) for point in points
    ]
    with attached(net, hooks):
        assert torch.equal(net(x), expected)
    assert torch.equal(seen[points[0]][0], x)
    assert torch.equal(seen[points[1]], seen[points[2]][0])


def test_hooks_are_removed_even_when_the_network_fails():
    net = nn.Sequential(nn.Linear(2, 3))
    calls = []
    with pytest.raises(RuntimeError):
        with attached(net, [(HookPoint("0", "in"), calls.append)]):
            net(torch.rand(5, 7))
    net(torch.rand(5, 2))
    assert len(calls) == 1


def test_each_thread_hears_its_own_call_alone():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    hooks = KeptHooks(net, [HookPoint("0", "in"), HookPoint("1", "out")])
    both_inside = threading.Barrier(2)

    def wait(*_) -> None:
        both_inside.wait(10)

    net[0].register_forward_hook(wait)

    def read(value):
        heard = []
        with hooks.heard_by(lambda number, values: heard.append((number, first_tensor(values)))):
            result = net(torch.full((1, 2), value))
        return heard, result

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(read, [1.0, 2.0]))
    for value, (heard, result) in zip([1.0, 2.0], found, strict=True):
        assert [number for number, _ in heard] == [0, 1]
        assert torch.equal(heard[0][1], torch.full((1, 2), value))
        assert torch.equal(heard[1][1], result)


def test_kept_hooks_hear_nothing_outside_a_call_even_after_an_error():
    net = nn.Sequential(nn.Linear(2, 3))
    hooks = KeptHooks(net, [HookPoint("0", "out")])
    heard = []
    with pytest.raises(RuntimeError):
        with hooks.heard_by(lambda *passed: heard.append(passed)):
            net(torch.rand(5, 7))
    net(torch.rand(5, 2))
    assert heard == []


class SelfAttention(nn.Module):
    pass


def test_only_the_innermost_list_of_blocks_counts():
    net = nn.Module()
    net.stages = nn.ModuleList([nn.Module(), nn.Module()])
    for stage in net.stages:
        stage.blocks = nn.ModuleList([SelfAttention(), SelfAttention()])
    with pytest.raises(UserError, match=r"several lists \(stages.0.blocks, stages.1.blocks\)"):
        find_blocks(net, "some network")
    assert find_blocks(net, "some network", "stages.0.blocks") == "stages.0.blocks"
    del net.stages[1]
    assert find_blocks(net, "some network") == "stages.0.blocks"
