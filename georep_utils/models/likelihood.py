"""What an autoregressive image model expects: its loss on images, and how it completes them.

An autoregressive ImageGPT gives, at each place of a sequence, a probability to every colour of the
palette, from the pixels before that place alone. Two questions follow. How surprised is it by
images that it never saw? That is the loss: the mean of -log p over all pixels, in nats a token;
guessing evenly among K colours costs log K. And what would it draw? Pixel by pixel, a colour is
drawn from these probabilities and put into the sequence before the next one is asked for.

Both cost passes through the network, so both are remembered in a folder that the caller names: the
folder of the cloud of this model and these samples, whose recipe holds all that the answers depend
on but the rows that are asked about and the code. These two are part of the name of what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from georep_utils import parallel
from georep_utils.io import atomic, code_digest, digest

CODE = ("georep_utils.models.imagegpt", "georep_utils.models.likelihood")


def held_out_loss(source, dataset, batches: Sequence[np.ndarray], folder: str | Path) -> float:
    """The loss of a model on some samples.

    Parameters
    ----------
    source
        Says how the model is loaded: `source.load()`. It is loaded only if need be.
    dataset
        Tokens.
    batches
        Numbers of samples, one array a batch.
    folder
        Where the result is kept: a folder of this model and these samples, such as their cloud's.

    Returns
    -------
    The mean over the batches, in nats a token.
    """

    def measure() -> np.ndarray:
        model = parallel.once(source.load)
        return np.mean([model.loss(dataset.inputs[rows]) for rows in batches])

    asked = [np.asarray(rows).tolist() for rows in batches]
    return float(_remembered(folder, "loss", asked, measure))


def completions(source, dataset, rows: np.ndarray, folder: str | Path, seed: int = 0) -> np.ndarray:
    """Some images, the second half of each replaced by what the model draws after the first.

    Parameters
    ----------
    source, dataset, folder
        As in `held_out_loss`.
    rows
        Numbers of samples, (n,).
    seed
        Of the draws.

    Returns
    -------
    Tokens (n, T).
    """

    def draw() -> np.ndarray:
        return complete(parallel.once(source.load), dataset.inputs[rows], seed)

    return _remembered(folder, "completions", [np.asarray(rows).tolist(), seed], draw)


@torch.inference_mode()
def complete(model, tokens: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw the second half of each image (n, T) from the model's probabilities, given the first."""
    pixels = torch.as_tensor(np.asarray(tokens, np.int64))
    generator = torch.Generator().manual_seed(seed)
    for place in range(pixels.shape[1] // 2, pixels.shape[1]):
        # The logits at a place depend on the pixels before it: the one that stands there now, the
        # true pixel, has no influence on the draw.
        logits = model.net(pixels[:, : place + 1].to(model.device))[:, place]
        probabilities = logits.float().cpu().softmax(-1)
        pixels[:, place] = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
    return pixels.numpy()


def _remembered(
    folder: str | Path, name: str, asked: list, compute: Callable[[], np.ndarray]
) -> np.ndarray:
    """`compute()`, or what it gave when the same was asked of the same code in this folder."""
    # A leading dot: a page that reads the cloud does not depend on what is kept beside it.
    file = Path(folder) / f".{name}-{digest(asked, code_digest(*CODE))[:12]}.npy"
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        value = np.asarray(compute())
    with atomic(file) as temporary, open(temporary, "wb") as stream:
        np.save(stream, value)
    return value
