"""Hook points: the places in a transformer at which its hidden state is read.

A hook point is a module and a side of it: what goes "in", or what comes "out". PyTorch calls a
function of ours whenever a tensor passes there (a forward hook), so that any network can be read
without changing it.

Libraries name their modules as they like, so hook points are found by structure. A transformer is
a list of blocks of one class, each of which holds attention (`find_blocks`). A small trial input is
sent through the network, and what passes where is recorded in order (`_trial_run`). From that
record follows, for each block (`find_hook_points`):

- "ln_1": the output of the first normalisation, if nothing with weights comes before it. This is
  where the paper reads. A block that normalises only after its attention, as in BERT, is read at
  its input instead, which is the output of the last normalisation of the block before.
- "input": what goes into the block.
- "attn": the residual stream after attention was added. This is what goes into the first
  normalisation after attention whose input is no longer the block's own.
- "mlp": what comes out of the block.

The last hook point is the final normalisation after all blocks, or the output of the last block if
nothing normalises it. Names can be given wherever this goes wrong.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from georep_utils.io import UserError

SITES = ("ln_1", "input", "attn", "mlp")
NAME_IT = (
    "name it in the run file (blocks, norm, final_norm: dotted names as in the model's printout)"
)


@dataclass(frozen=True)
class HookPoint:
    """What goes "in" to a module, or comes "out" of it. `module` is its dotted name."""

    module: str
    side: str

    def __str__(self) -> str:
        return f"{self.module} ({self.side})"


# -------------------------------------------------------------------------------- reading a network


@contextlib.contextmanager
def attached(
    net: nn.Module, hooks: Iterable[tuple[HookPoint, Callable[[object], None]]]
) -> Iterator[None]:
    """Inside, whatever passes a hook point of `net` is given to the function beside it.

    That is a list of all arguments where a module is entered, and its result as it is where it is
    left (see `first_tensor`).
    """
    modules = dict(net.named_modules())
    handles = [_attach(modules[point.module], point.side, receive) for point, receive in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attach(module: nn.Module, side: str, receive: Callable[[object], None]):
    # A hook that returns something replaces what passes. These return nothing.
    def on_entering(_module, args, kwargs):
        receive([*args, *kwargs.values()])

    def on_leaving(_module, _args, output):
        receive(output)

    if side == "in":
        return module.register_forward_pre_hook(on_entering, with_kwargs=True)
    return module.register_forward_hook(on_leaving)


class KeptHooks:
    """Hooks that stay on a network, and tell several threads apart that call it at once.

    A network has one set of hooks, whoever calls it. But a call runs in one thread from its
    beginning to its end, so that the thread tells the call: each hears only what it passes itself.

    Parameters
    ----------
    net
        A network.
    points
        Hook points of it. Of two at one place, both are heard.
    """

    def __init__(self, net: nn.Module, points: Iterable[HookPoint]):
        self._call = threading.local()
        modules = dict(net.named_modules())
        for number, point in enumerate(points):
            _attach(modules[point.module], point.side, partial(self._pass_on, number))

    def _pass_on(self, number: int, values: object) -> None:
        receive = getattr(self._call, "receive", None)
        if receive is not None:
            receive(number, values)

    @contextlib.contextmanager
    def heard_by(self, receive: Callable[[int, object], None]) -> Iterator[None]:
        """Inside, `receive` gets the number of each hook point that this thread passes, and what
        passes there (see `attached`)."""
        self._call.receive = receive
        try:
            yield
        finally:
            self._call.receive = None


def first_tensor(values) -> Tensor | None:
    """The first tensor of what passed a hook point: blocks may return tuples."""
    if not isinstance(values, (tuple, list)):
        values = [values]
    return next((value for value in values if isinstance(value, Tensor)), None)


# ----------------------------------------------------------------------------------- finding blocks


def is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def is_attention(module: nn.Module) -> bool:
    return re.search("atten|attn", type(module).__name__.lower()) is not None


def find_blocks(net: nn.Module, name: str, blocks: str | None = None) -> str:
    """The dotted name of the list of transformer blocks.

    Parameters
    ----------
    net
        A transformer.
    name
        What errors call it.
    blocks
        The dotted name, where it is known: then it is only checked.

    Raises
    ------
    UserError
        If there is no such list, or more than one.
    """
    lists = {}
    for path, module in net.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) > 0:
            lists[path] = module
    if blocks is not None:
        if blocks not in lists:
            known = ", ".join([*lists][:8]) or "none"
            raise UserError(
                f"{name} has no list of blocks {blocks!r}; its lists are {known}: name one of them"
            )
        return blocks
    found = [path for path, entries in lists.items() if _are_blocks(entries)]
    # A list of stages, each with a list of blocks inside, is not the list of blocks.
    innermost = [path for path in found if not any(other.startswith(f"{path}.") for other in found)]
    if len(innermost) != 1:
        listed = f"several lists ({', '.join(innermost[:4])})" if innermost else "no list"
        raise UserError(f"{name} has {listed} of transformer blocks; expected one: {NAME_IT}")
    return innermost[0]


def _are_blocks(entries: nn.ModuleList) -> bool:
    """Whether all entries are of one class and hold attention."""
    classes = {type(entry) for entry in entries}
    return len(classes) == 1 and all(
        any(is_attention(module) for module in entry.modules()) for entry in entries
    )


# ------------------------------------------------------------------------------------ the trial run


@dataclass(frozen=True)
class Event:
    """A module of the trial run that was entered or left, and the tensor that passed.

    The tensor is kept for blocks and normalisations only, and None for all others.
    """

    side: str
    path: str
    module: nn.Module
    state: Tensor | None


@torch.inference_mode()
def _trial_run(net: nn.Module, name: str, blocks: str) -> list[Event]:
    """Everything that a trial input passes, in order."""
    events: list[Event] = []

    def recorder(point: HookPoint, module: nn.Module):
        kept = is_norm(module) or point.module.rpartition(".")[0] == blocks

        def record(values) -> None:
            state = first_tensor(values) if kept else None
            events.append(Event(point.side, point.module, module, state))

        return record

    hooks = []
    for path, module in net.named_modules():
        for side in ("in", "out"):
            point = HookPoint(path, side)
            hooks.append((point, recorder(point, module)))
    try:
        with attached(net, hooks):
            net(**_trial_input(net))
    except Exception as error:  # whatever a stranger's network raises
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{name} does not run on a trial input ({type(error).__name__}: {reason}); expected a "
            "model with one kind of input; choose another"
        ) from None
    return events


def _trial_input(net: nn.Module) -> dict[str, Tensor]:
    """One image of noise, or a text of five tokens."""
    if net.main_input_name == "pixel_values":
        # Noise, because equal patches would make places look alike that are not.
        shape = (1, getattr(net.config, "num_channels", 3), *image_size(net.config))
        pixels = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        return {"pixel_values": pixels.to(next(net.parameters()).dtype)}
    # The first few tokens of a vocabulary are often special, such as padding.
    tokens = torch.arange(4, 9)[None]
    return {"input_ids": tokens, "attention_mask": torch.ones(1, 5, dtype=torch.long)}


def image_size(config) -> tuple[int, int]:
    """Height and width of the images that a configuration is for, in pixels."""
    size = getattr(config, "image_size", 224)
    return (size, size) if isinstance(size, int) else tuple(size)


# ------------------------------------------------------------------------------ finding hook points


def find_hook_points(
    net: nn.Module,
    name: str,
    blocks: str,
    site: str,
    norm: str | None = None,
    final_norm: str | None = None,
) -> tuple[tuple[HookPoint, ...], int]:
    """Hook points of layers 0..L.

    Parameters
    ----------
    net
        A transformer on the CPU.
    name
        What errors call it.
    blocks
        Dotted name of the list of its L blocks.
    site
        Where to read a block: one of `SITES`.
    norm
        For site "ln_1", the dotted name inside a block of the module to read; None to find it.
    final_norm
        Dotted name of the module to read as layer L; None to find it.

    Returns
    -------
    The L + 1 hook points, and the number of tokens in the trial run.

    Raises
    ------
    UserError
        If the network does not run, is no plain stack of blocks, or has no such place.
    """
    n_blocks = len(net.get_submodule(blocks))
    events = _trial_run(net, name, blocks)
    points = []
    for layer in range(n_blocks):
        path = f"{blocks}.{layer}"
        bounds = [i for i, event in enumerate(events) if event.path == path]
        if len(bounds) != 2:
            raise UserError(
                f"{name} runs {path} {len(bounds) // 2} times a pass; expected once: {NAME_IT}"
            )
        entered, left = bounds
        points.append(_block_hook_point(events[entered : left + 1], name, site, norm))
    # The last block has been left at `left`.
    state = events[left].state
    if state is None or state.ndim != 3 or len(state) != 1:
        shape = None if state is None else tuple(state.shape)
        raise UserError(
            f"{name} passes {shape} from block to block; expected a tensor (1, tokens, width): "
            "choose another model"
        )
    points.append(_final_hook_point(events, left, name, final_norm))
    return tuple(points), state.shape[1]


def _final_hook_point(
    events: list[Event], left: int, name: str, final_norm: str | None
) -> HookPoint:
    """The first normalisation of all tokens after the last block, or that block's output."""
    last = events[left]
    if final_norm is not None:
        _require_used(events, name, final_norm)
        return HookPoint(final_norm, "out")
    for event in events[left:]:
        # A pooler may normalise one token only: that is no final norm of the sequence.
        if event.side == "out" and is_norm(event.module) and _same_size(event.state, last.state):
            return HookPoint(event.path, "out")
    return HookPoint(last.path, "out")


def _block_hook_point(events: list[Event], name: str, site: str, norm: str | None) -> HookPoint:
    """The hook point in one block, from what passed between entering and leaving it."""
    block = events[0].path
    if site == "input":
        return HookPoint(block, "in")
    if site == "mlp":
        return HookPoint(block, "out")
    if site == "attn":
        return _after_attention(events, name)
    if norm is not None:
        _require_used(events, name, f"{block}.{norm}")
        return HookPoint(f"{block}.{norm}", "out")
    return _first_norm(events)


def _first_norm(events: list[Event]) -> HookPoint:
    """The output of a normalisation that comes first in the block, else the block's input."""
    for event in events:
        is_leaf = next(event.module.children(), None) is None
        if event.side == "in" and is_leaf:
            if is_norm(event.module):
                return HookPoint(event.path, "out")
            # Something else with weights came first. Dropout and the like have none.
            if next(event.module.parameters(), None) is not None:
                break
    return HookPoint(events[0].path, "in")


def _after_attention(events: list[Event], name: str) -> HookPoint:
    """The input of the first normalisation after attention that reads the residual stream.

    A normalisation may also stand inside attention, or beside it and read the block's own input, as
    in GPT-NeoX, where attention and MLP are parallel and nothing is read between them.
    """
    start = events[0].state
    attended = False
    for event in events:
        if attended and event.side == "in" and is_norm(event.module):
            state = event.state
            if _same_size(state, start) and not torch.equal(state.view_as(start), start):
                return HookPoint(event.path, "in")
        if event.side == "out" and is_attention(event.module):
            attended = True
    raise UserError(
        f"{name}: {events[0].path} has no norm between attention and MLP for site attn; use ln_1, "
        "input or mlp"
    )


def _same_size(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether both hold as many numbers, in whatever shape: some modules flatten the batch."""
    return a is not None and b is not None and a.numel() == b.numel()


def _require_used(events: list[Event], name: str, path: str) -> None:
    if path not in {event.path for event in events}:
        raise UserError(f"{name} has no module {path!r} in use; {NAME_IT}")
