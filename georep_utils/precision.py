"""Where numbers are computed, and how precisely.

Three precisions are offered for a model's forward pass: float32; TF32, which rounds the factors of
matrix products to 11 bits and exists on NVIDIA GPUs only; and bfloat16, which keeps 8 bits of
everything. Whatever is chosen, means over a sequence and all later distances are made in float32.

On a CPU that is not Intel's, products go through oneDNN. PyTorch's `linear` goes to MKL, which uses
only half the width of the vector units (AVX2) there, while oneDNN, which PyTorch brings too, asks
the processor what it has. On Intel's own processors MKL is a little faster at all sizes, and about
twice as fast at a width of 64. The operator called here is the one that torch.compile puts in place
of `linear`. It has no public name of its own, but the version of torch is pinned.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from georep_utils.io import UserError

log = logging.getLogger(__name__)

DTYPES = ("float32", "tf32", "bfloat16")


@functools.cache
def onednn_serves() -> bool:
    """Whether products on this CPU should go through oneDNN, rather than through MKL."""
    has_mkl_for_it = torch.backends.mkl.is_available() and "GenuineIntel" in _vendor()
    return torch.backends.mkldnn.is_available() and not has_mkl_for_it


def _vendor() -> str:
    """Who made this processor, where the system says it."""
    about = Path("/proc/cpuinfo")
    return about.read_text() if about.is_file() else platform.processor()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias`, by oneDNN where it serves: float32 on a CPU, without a gradient.

    Parameters
    ----------
    x : Tensor, shape (..., k)
    weight : Tensor, shape (n, k)
    bias : Tensor, shape (n,), optional
    """
    single = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    if single and onednn_serves() and not torch.is_grad_enabled():
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


def find_device(device: str = "auto", dtype: str = "float32") -> torch.device:
    """The torch device that `device` names; "auto" is the GPU where there is one.

    Raises
    ------
    UserError
        For a name that is no device, a GPU that is not there, and TF32 without a GPU.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    name, _, number = str(device).partition(":")
    if name not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise UserError(f"device is {device!r}; expected auto, cpu, cuda or cuda:N; use auto")
    if name == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device is {device!r}, but PyTorch sees {torch.cuda.device_count()} CUDA GPUs; "
            "set device to auto or cpu"
        )
    if dtype == "tf32" and name != "cuda":
        raise UserError(
            f"dtype tf32 needs a CUDA GPU, but the device is {device}; use float32 or bfloat16"
        )
    return torch.device(device)


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself. If not, it takes the way over float32."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def has_lower_precision(device: torch.device) -> bool:
    """Whether a GPU has units for TF32 and bfloat16. NVIDIA's Ampere is the first with both."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


def say_if_slow(device: torch.device, dtype: str) -> None:
    """One line to the log where a lower precision makes nothing faster, or even slower."""
    if device.type == "cpu" and dtype == "bfloat16" and not has_bfloat16():
        log.warning(
            "dtype is bfloat16, which this CPU emulates: expect it to take longer than float32; "
            "set dtype to float32, or use a GPU"
        )
    if device.type == "cuda" and dtype != "float32" and not has_lower_precision(device):
        log.warning(
            f"dtype is {dtype}, for which this GPU has no units: it emulates bfloat16, and tf32 is "
            "float32 there; set dtype to float32, or use a later GPU"
        )


@contextlib.contextmanager
def matmul_precision(dtype: str, device: torch.device) -> Iterator[None]:
    """Inside, products of float32 on `device` are made in TF32 for "tf32", and in float32 else.

    This holds whatever PyTorch was told before. The setting belongs to the process, so only one
    thread may use it at a time.
    """
    if device.type == "cuda":
        places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    else:
        places = (torch.backends.mkldnn.matmul,)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32" if dtype == "tf32" else "ieee"
        yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision


def precision_of_call(dtype: str, device: torch.device) -> contextlib.AbstractContextManager:
    """What a forward pass stands in: `matmul_precision` on a GPU.

    On a CPU several threads call a model at once, and the setting belongs to the process. There
    whoever starts the threads sets it.
    """
    if device.type == "cuda":
        return matmul_precision(dtype, device)
    return contextlib.nullcontext()


@contextlib.contextmanager
def threads_of_one_core(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of so many threads, in each of which PyTorch uses one core.

    PyTorch's own number of threads is put back at the end.
    """
    before = torch.get_num_threads()
    one_core = {"initializer": torch.set_num_threads, "initargs": (1,)}
    try:
        with ThreadPoolExecutor(workers, **one_core) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def machine() -> dict:
    """The versions and the hardware that a result was made with."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "gpu": gpu,
    }
