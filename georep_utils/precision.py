"""Matrix products in float32 on a CPU, with all that its vectors can do, and threads that share its cores.

PyTorch's own `linear` goes to MKL, which keeps to half the width of the vectors (AVX2) on processors that are not Intel's.
oneDNN, which PyTorch brings too, asks the processor what it has. The operator is the one that torch.compile puts in place of
`linear`; it has no public name of its own, but torch is pinned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from georep_utils.io import UserError


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


def find_device(device: str, dtype: str) -> torch.device:
    """`device` as a torch device; "auto" takes the GPU where there is one."""
    try:
        found = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    except RuntimeError:
        raise UserError(f"device is {device!r}; expected auto, cpu, cuda or cuda:0, cuda:1, ...") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device is {device!r} but PyTorch sees no CUDA GPU; set device to auto or cpu")
    if dtype == "tf32" and found.type != "cuda":
        raise UserError(f"dtype tf32 needs a CUDA GPU, but the device is {found}; use float32 or bfloat16")
    return found


@contextlib.contextmanager
def matmul_precision(dtype: str, device: torch.device) -> Iterator[None]:
    """On `device`, products of float32 are made of TF32 inside for "tf32", and of float32 else, whatever PyTorch was told
    before. The setting belongs to the process: one thread at a time."""
    gpu = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    places = gpu if device.type == "cuda" else (torch.backends.mkldnn.matmul,)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32" if dtype == "tf32" else "ieee"
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
