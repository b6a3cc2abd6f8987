"""Places to listen in a transformer, found by what happens in it when a trial input passes through."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from georep_utils.io import UserError

SITES = ("ln_1", "input", "attn", "mlp")
ELSEWHERE = "name it in the run file (blocks, norm, final_norm: dotted names as in the model's printout)"


def image_size(config) -> tuple[int, int]:
    size = getattr(config, "image_size", 224)
    return (size, size) if isinstance(size, int) else tuple(size)


def first_tensor(values) -> Tensor | None:
    values = values if isinstance(values, (tuple, list)) else [values]
    return next((value for value in values if isinstance(value, Tensor)), None)


def is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def is_attention(module: nn.Module) -> bool:
    return re.search("atten|attn", type(module).__name__.lower()) is not None


@torch.inference_mode()
def trace(net: nn.Module, name, blocks: str) -> list[tuple[str, str, nn.Module, Tensor | None]]:
    """What a trial input passes through, in order: (event "in" or "out", module name, module, its tensor if block or norm)."""
    events: list = []

    def note(event, path, module, values):
        kept = is_norm(module) or path.rpartition(".")[0] == blocks
        events.append((event, path, module, first_tensor(values) if kept else None))

    if net.main_input_name == "pixel_values":
        shape = 1, getattr(net.config, "num_channels", 3), *image_size(net.config)
        pixels = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        batch = {"pixel_values": pixels.to(next(net.parameters()).dtype)}
    else:
        batch = {"input_ids": torch.arange(4, 9)[None], "attention_mask": torch.ones(1, 5, dtype=torch.long)}
    places = [(path, side, partial(note, side, path)) for path, _ in net.named_modules() for side in ("in", "out")]
    try:
        with listening(net, places):
            net(**batch)
    except Exception as error:  # noqa: BLE001
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise UserError(f"{name} does not run on a trial input ({reason}); expected one kind of input") from None
    return events


@contextlib.contextmanager
def listening(net: nn.Module, places):
    """Call `heard(module, values)` with what goes "in" or comes "out", for every (module name, side, heard) in `places`."""
    modules, handles = dict(net.named_modules()), []
    for path, side, heard in places:
        if side == "in":
            hook = partial(lambda heard, m, args, kwargs: heard(m, [*args, *kwargs.values()]), heard)
            handles.append(modules[path].register_forward_pre_hook(hook, with_kwargs=True))
        else:
            hook = partial(lambda heard, m, args, out: heard(m, out), heard)
            handles.append(modules[path].register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def find_blocks(net: nn.Module, name, blocks: str | None) -> str:
    """The dotted name of the list of transformer blocks: modules of one class that hold attention, innermost lists only."""
    lists = {path: module for path, module in net.named_modules() if isinstance(module, nn.ModuleList) and len(module)}
    if blocks is None:
        found = [path for path, entries in lists.items() if len({type(entry) for entry in entries}) == 1
                 and all(any(map(is_attention, entry.modules())) for entry in entries)]  # fmt: skip
        found = [path for path in found if not any(other.startswith(f"{path}.") for other in found)]
        if len(found) != 1:
            lists = f"several lists ({', '.join(found[:4])})" if found else "no list"
            raise UserError(f"{name} has {lists} of transformer blocks; expected one: {ELSEWHERE}")
        return found[0]
    if blocks not in lists:
        raise UserError(f"{name} has no list of blocks {blocks!r}; its lists are {', '.join([*lists][:8]) or 'none'}")
    return blocks


def find_taps(net: nn.Module, name, blocks: str, site: str, norm=None, final_norm=None) -> tuple[tuple[Tap, ...], int]:
    """Where to listen for layers 0..L, and the number of tokens of the trial run."""
    modules = dict(net.named_modules())
    events, taps = trace(net, name, blocks), []
    for layer in range(len(modules[blocks])):
        bounds = [i for i, event in enumerate(events) if event[1] == f"{blocks}.{layer}"]
        if len(bounds) != 2:
            raise UserError(f"{name} runs {blocks}.{layer} {len(bounds) // 2} times a pass; expected once: {ELSEWHERE}")
        taps.append(block_tap(events[bounds[0] : bounds[1] + 1], name, site, norm))
    _, last, _, state = events[bounds[1]]
    if state is None or state.ndim != 3 or len(state) != 1:
        shape = None if state is None else tuple(state.shape)
        raise UserError(f"{name} passes {shape} from block to block; expected a tensor (1, tokens, width)")
    after = [path for event, path, module, x in events[bounds[1] :]
             if event == "out" and is_norm(module) and x.numel() == state.numel()]  # fmt: skip
    if final_norm is not None and final_norm not in [path for _, path, _, _ in events]:
        raise UserError(f"{name} has no module {final_norm!r} in use; {ELSEWHERE}")
    return (*taps, Tap(final_norm or (after[0] if after else last), "out")), state.shape[1]


def block_tap(events: list, name, site: str, norm: str | None) -> Tap:
    """Where to listen in one block, from what happened in it."""
    _, block, _, start = events[0]
    if site in ("input", "mlp"):
        return Tap(block, "in" if site == "input" else "out")
    if site == "ln_1" and norm is not None:
        if f"{block}.{norm}" not in [path for _, path, _, _ in events]:
            raise UserError(f"{name} has no module {block}.{norm} in use; {ELSEWHERE}")
        return Tap(f"{block}.{norm}", "out")
    if site == "ln_1":
        leaves = [(path, m) for event, path, m, _ in events if event == "in" and not list(m.children())]
        path, module = next((path, m) for path, m in leaves if is_norm(m) or list(m.parameters()))
        return Tap(path, "out") if is_norm(module) else Tap(block, "in")

    def elsewhere(x):
        return x.numel() == start.numel() and not torch.equal(x.view_as(start), start)

    attended = False
    for event, path, module, x in events:
        if attended and event == "in" and is_norm(module) and elsewhere(x):
            return Tap(path, "in")
        attended = attended or (event == "out" and is_attention(module))
    raise UserError(f"{name}: {block} has no norm between attention and MLP for site attn; use ln_1, input or mlp")


@dataclass(frozen=True)
class Tap:
    """A place to listen: what goes "in" to a module, or comes "out" of it."""

    module: str
    side: str
