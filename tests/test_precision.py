"""Matrix products: the same numbers as PyTorch's, with gradients where they are asked for."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from georep_utils import precision
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.precision import Linear, linear, matmul_precision, speed_up, threads_of_one_core


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(7, 48), (2, 9, 48), (1, 1, 48)])
def test_products_are_those_of_float64_to_float32(shape, bias):
    torch.manual_seed(0)
    x = torch.randn(shape)
    weight = torch.randn(31, 48)
    added = torch.randn(31) if bias else None
    exact = F.linear(x.double(), weight.double())
    if added is not None:
        exact += added.double()
    # The same numbers in another order in memory.
    strided = x.transpose(0, -2).contiguous().transpose(0, -2)
    # Each of 48 products of normal numbers may be off by half a unit in the last place, 2^-24.
    tolerance = 48 * 2**-24 * 48**0.5
    with torch.inference_mode():
        for given in (x, strided):
            assert (linear(given, weight, added) - exact).abs().max() < tolerance


@pytest.mark.parametrize("vendor", ["GenuineIntel", "AuthenticAMD"])
def test_either_library_gives_the_same_product_to_float32(vendor, monkeypatch):
    monkeypatch.setattr(precision, "_vendor", lambda: f"vendor_id : {vendor}")
    precision.onednn_serves.cache_clear()
    torch.manual_seed(0)
    x = torch.randn(9, 48)
    weight = torch.randn(31, 48)
    with torch.inference_mode():
        found = linear(x, weight)
    precision.onednn_serves.cache_clear()
    exact = x.double() @ weight.double().T
    assert (found - exact).norm() < 1e-6 * exact.norm()


def test_a_gradient_passes_as_it_does_in_pytorch():
    torch.manual_seed(0)
    ours = Linear(8, 5)
    theirs = nn.Linear(8, 5)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 8)
    for layer in (ours, theirs):
        layer(x).square().sum().backward()
    assert torch.equal(ours.weight.grad, theirs.weight.grad)


def test_plain_linear_layers_alone_are_changed_and_keep_their_results():
    class Other(nn.Linear):
        pass

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), Other(6, 3)).eval()
    x = torch.randn(5, 6)
    with torch.inference_mode():
        before = net(x)
        after = speed_up(net)(x)
    assert [type(module) for module in net] == [Linear, nn.ReLU, Other]
    torch.testing.assert_close(before, after, rtol=1e-6, atol=1e-6)


def test_each_thread_has_one_core_and_the_others_come_back():
    before = torch.get_num_threads()
    with threads_of_one_core(2) as pool:
        assert list(pool.map(lambda _: torch.get_num_threads(), range(2))) == [1, 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "device, dtype, has, lines",
    [
        ("cpu", "bfloat16", False, 1),
        ("cpu", "bfloat16", True, 0),
        ("cpu", "float32", False, 0),
        ("cuda", "bfloat16", False, 1),
        ("cuda", "tf32", False, 1),
        ("cuda", "bfloat16", True, 0),
        ("cuda", "float32", False, 0),
    ],
)
def test_a_slow_precision_is_said_in_one_line(device, dtype, has, lines, monkeypatch, caplog):
    monkeypatch.setattr(precision, "has_bfloat16", lambda: has)
    capability = (9, 0) if has else (7, 5)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    precision.say_if_slow(torch.device(device), dtype)
    assert len(caplog.messages) == lines
    for said in caplog.messages:
        assert "emulates" in said and "set dtype to float32" in said and "\n" not in said


def test_whether_a_cpu_has_bfloat16_is_known():
    assert precision.has_bfloat16() in (True, False)


def precisions() -> list[str]:
    """Of float32 products: on a CPU, on a GPU, and in convolutions on a GPU."""
    return [
        torch.backends.mkldnn.matmul.fp32_precision,
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,
    ]


def test_precision_is_set_for_a_while_and_put_back_even_after_an_error():
    before = precisions()
    with matmul_precision("float32", torch.device("cpu")):
        assert precisions() == ["ieee", *before[1:]]
    with matmul_precision("tf32", torch.device("cuda")):
        assert precisions() == [before[0], "tf32", "tf32"]
        with matmul_precision("float32", torch.device("cuda:1")):
            assert precisions() == [before[0], "ieee", "ieee"]
        assert precisions() == [before[0], "tf32", "tf32"]
    with pytest.raises(KeyError), matmul_precision("tf32", torch.device("cuda")):
        raise KeyError
    assert precisions() == before
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_setting_for_half_precision_does_not_reach_the_neighbours():
    X = torch.randn(400, 64, generator=torch.Generator().manual_seed(0)).numpy() + 100
    expected = nearest_neighbors(X, 20, 64, "cpu")
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        found = nearest_neighbors(X, 20, 64, "cpu")
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
    assert (found.indices == expected.indices).all()
    assert (found.mus == expected.mus).all()
