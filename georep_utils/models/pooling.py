"""From the states of a sequence to one vector, in float32 whatever the network computes in.

A sum over a thousand tokens needs float32: in bfloat16, which keeps 8 bits, it stops growing long
before its end. But a float32 copy of a whole state in bfloat16 would be twice as large as the state
itself, and on a CPU, where it leaves the cache, writing it takes longer than adding it up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from georep_utils.precision import precision_of_call

# Tokens of each sample that are in float32 at one time. Of a long sample on a CPU, these fit into
# the cache of a core for all usual widths; with fewer, the calls cost more than the sums. The
# number is fixed because bits depend on where sums are cut.
SLICE_TOKENS = 128


def weighted_sum(state: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of a state over each sample's tokens.

    Parameters
    ----------
    state : (batch, T, width)
    weights : (batch, T) float32

    Returns
    -------
    (batch, width) float32. Of a state in another type, no more than `SLICE_TOKENS` tokens of each
    sample are copied into float32 at one time.
    """
    # As products of matrices, because `state * weights` would be as large as the state. These are
    # made in float32 also where the network's are made in TF32.
    with precision_of_call("float32", state.device):
        if state.dtype == torch.float32:
            return torch.bmm(weights[:, None], state)[:, 0]
        total = weights.new_zeros(len(state), 1, state.shape[-1])
        for start in range(0, state.shape[1], SLICE_TOKENS):
            tokens = slice(start, start + SLICE_TOKENS)
            total.baddbmm_(weights[:, None, tokens], state[:, tokens].float())
        return total[:, 0]


def mean(state: Tensor) -> Tensor:
    """Means (batch, width) of a state (batch, T, width) over its tokens: see `weighted_sum`."""
    shape = state.shape[:2]
    weights = torch.full(shape, 1 / shape[1], device=state.device)
    return weighted_sum(state, weights)


def chosen_token(state: Tensor, weights: Tensor) -> Tensor:
    """The one token of each sample whose weight is not 0: (batch, width) float32."""
    samples = torch.arange(len(state), device=state.device)
    return state[samples, weights.argmax(1)].float()
