"""Matrix products in float32 on a CPU, with all that its vectors can do, and threads that share its cores.

PyTorch's own `linear` goes to MKL, which keeps to half the width of the vectors (AVX2) on processors that are not Intel's.
oneDNN, which PyTorch brings too, asks the processor what it has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias, for x (..., k), weight (n, k) and bias (n,): by oneDNN where that serves (float32 on a CPU,
    no gradient), else as `torch.nn.functional.linear`. Both sum in float32, in an order of their own."""
    here = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    if here and not torch.is_grad_enabled():
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """`torch.nn.Linear` by way of `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def speed_up(net: nn.Module) -> nn.Module:
    """Let every plain `torch.nn.Linear` in `net` compute as `Linear` does."""
    for module in net.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear
    return net


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Matrix products of float32 are made of float32 inside, not of TF32 or bfloat16, whatever PyTorch was told before."""
    places = torch.backends.mkldnn.matmul, torch.backends.cuda.matmul
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"
    try:
        yield
    finally:
        for place, precision in zip(places, before):
            place.fp32_precision = precision


@contextlib.contextmanager
def threads_of_one_core(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of so many threads, in each of which PyTorch uses one core; its number of threads is put back at the end."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)
