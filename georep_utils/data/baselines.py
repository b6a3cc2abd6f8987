"""What can be read off the input itself: the points that a network starts from.

A layer groups samples by class, a nearest neighbour has the right label, an intrinsic dimension
rises: none of this means much as long as the input, which no network has touched, may do the same.
So each run has a few plain arrays of its samples, made without any network, that are measured in
the same way as the layers:

* images: `pixels`, the image as the network sees it, one number a pixel and channel; `histogram`,
  how often each colour occurs, whatever the place;
* text: `words`, how often each word occurs, rare words weighted up (tf-idf), reduced to the 300
  directions that vary most; `embedding`, the mean of the network's own input vectors of the tokens,
  which is the first thing that any layer knows;
* protein: `residues`, the shares of the 20 amino acids; `dipeptides`, the shares of their 400
  ordered pairs of neighbours in the sequence.

Histogram, words, embedding and residues know nothing of order. What a network that averages over
its sequence knows at its first layer is of that kind; pixels and dipeptides know more.

References: Spärck Jones (1972), Journal of Documentation 28 (tf-idf); Deerwester et al. (1990),
Journal of the American Society for Information Science 41 (its reduction by singular values).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import numpy as np

from georep_utils.data.images import palette_levels, row_blocks, square_image
from georep_utils.data.samples import Dataset
from georep_utils.io import code_digest

CODE = ("georep_utils.data.baselines", "georep_utils.data.images", "georep_utils.io:open_image")
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
MOST_DIRECTIONS = 300  # of the words: the dimensions that latent semantic analysis usually keeps
SIDE = 32  # pixels of an image file's side: more would weigh more than the layers of most networks
LEVELS = 8  # bins of each colour channel
AT_ONCE = 512  # samples whose tokens or pictures are in memory together
# A word, or a run of signs: then every text that is not blank has something to count.
WORD = r"\w+|[^\w\s]+"


@dataclass(frozen=True)
class Baseline:
    """One array that needs no network.

    name: what it is called; make: computes it, (N, width) float32; recipe: what it depends on
    beside the samples, for JSON.
    """

    name: str
    make: Callable[[], np.ndarray]
    recipe: dict


def of(dataset: Dataset, source=None) -> list[Baseline]:
    """The baselines of some samples, by their kind. Nothing is computed yet.

    Parameters
    ----------
    dataset : Dataset
        Tokens without a palette have no pixels, only a histogram.
    source : optional
        A model of texts (`models.load.ModelSource`), for the mean of its input vectors.
    """
    recipe = {"code": code_digest(*CODE)}
    if dataset.kind == "tokens":
        found = [Baseline("histogram", partial(token_histogram, dataset), recipe)]
        if dataset.palette is not None:
            levels = {"palette": palette_levels(dataset.palette).tolist()}
            pixels = Baseline("pixels", partial(token_pixels, dataset), recipe | levels)
            found = [pixels, *found]
        return found
    if dataset.kind == "image":
        return [
            Baseline("pixels", partial(file_pixels, dataset), recipe),
            Baseline("histogram", partial(file_histogram, dataset), recipe),
        ]
    if dataset.kind == "protein":
        return [
            Baseline("residues", partial(residues, dataset.inputs), recipe),
            Baseline("dipeptides", partial(dipeptides, dataset.inputs), recipe),
        ]
    sklearn = {"scikit-learn": version("scikit-learn")}
    found = [Baseline("words", partial(words, dataset.inputs), recipe | sklearn)]
    if source is not None:
        make = partial(_mean_embedding_of, source, dataset.inputs)
        found.append(Baseline("embedding", make, recipe | {"model": source.recipe()}))
    return found


# ------------------------------------------------------------------------------------------ images


def token_pixels(dataset: Dataset) -> np.ndarray:
    """Colours of the palette in the place of tokens: (N, T) grey levels, or (N, 3 T)."""
    levels = palette_levels(dataset.palette).astype(np.float32)
    channels = levels[0].size
    pixels = np.empty((len(dataset), channels * dataset.inputs.shape[1]), np.float32)
    for start, tokens in row_blocks(dataset.inputs):
        colours = levels[np.asarray(tokens, np.int64)]
        pixels[start : start + len(tokens)] = colours.reshape(len(tokens), -1)
    return pixels


def token_histogram(dataset: Dataset) -> np.ndarray:
    """Share of each token in each sample, (N, K) for a palette of K colours."""
    n_colours = 0 if dataset.palette is None else len(dataset.palette)
    for _, tokens in row_blocks(dataset.inputs):
        n_colours = max(n_colours, int(tokens.max()) + 1)
    shares = np.empty((len(dataset), n_colours), np.float32)
    for start, tokens in row_blocks(dataset.inputs):
        shares[start : start + len(tokens)] = _shares(np.asarray(tokens, np.int64), n_colours)
    return shares


def _shares(numbers: np.ndarray, n: int) -> np.ndarray:
    """How often each of 0..n-1 stands in each row of `numbers`, as a share of the row."""
    rows = np.arange(len(numbers))[:, None]
    counts = np.bincount((rows * n + numbers).ravel(), minlength=len(numbers) * n)
    return counts.reshape(len(numbers), n) / numbers.shape[1]


def file_pixels(dataset: Dataset) -> np.ndarray:
    """The central squares of image files, reduced to 32 x 32 in red, green and blue: (N, 3072)."""
    pixels = np.empty((len(dataset), 3 * SIDE**2), np.float32)
    for row, path in enumerate(dataset.inputs):
        pixels[row] = square_image(path, SIDE).ravel()
    return pixels


def file_histogram(dataset: Dataset) -> np.ndarray:
    """Shares of 8 levels of red, of green and of blue in the same squares: (N, 24)."""
    shares = np.empty((len(dataset), 3 * LEVELS), np.float32)
    for row, path in enumerate(dataset.inputs):
        levels = square_image(path, SIDE).reshape(-1, 3).astype(np.int64) * LEVELS // 256
        shares[row] = _shares(levels.T, LEVELS).ravel()
    return shares


# -------------------------------------------------------------------------------------------- text


def words(texts: list[str], seed: int = 0) -> np.ndarray:
    """Frequencies of words, rare words weighted up, in the directions that vary most.

    Parameters
    ----------
    texts
        N texts. Upper and lower case are one.
    seed
        Of the randomised singular value decomposition.

    Returns
    -------
    (N, D) float32, of D <= 300. A blank text is a row of zeros.
    """
    # Imported where it is used: it takes a second, and most of this module does without.
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not any(text.strip() for text in texts):
        return np.zeros((len(texts), 1), np.float32)
    frequencies = TfidfVectorizer(token_pattern=WORD, dtype=np.float32).fit_transform(texts)
    if frequencies.shape[1] <= MOST_DIRECTIONS:
        return frequencies.toarray()
    directions = min(MOST_DIRECTIONS, len(texts) - 1)
    return TruncatedSVD(directions, random_state=seed).fit_transform(frequencies)


def _mean_embedding_of(source, texts: list[str]) -> np.ndarray:
    return mean_embedding(source.load(), texts)


def mean_embedding(model, texts: list[str]) -> np.ndarray:
    """Mean over its tokens of a text's input vectors, (N, width) float32.

    These are the rows of the network's embedding table: no positions are added, and nothing has
    passed through a block. Special tokens count as they do in the layers.

    Parameters
    ----------
    model
        A Hugging Face model of texts (`models.huggingface.HFModel`).
    """
    table = model.net.get_input_embeddings().weight.detach().float().cpu().numpy()
    means = np.zeros((len(texts), table.shape[1]), np.float32)
    for start in range(0, len(texts), AT_ONCE):
        numbers, counted = model.encode(texts[start : start + AT_ONCE])
        for row, (tokens, counts) in enumerate(zip(numbers, counted, strict=True), start):
            own = np.asarray(tokens)[np.asarray(counts, bool)]
            if len(own):
                means[row] = table[own].mean(axis=0)
    return means


# ----------------------------------------------------------------------------------------- protein


def _residue_numbers(sequence: str) -> np.ndarray:
    """0..19 for the amino acids, 20 for everything else."""
    letters = np.frombuffer(sequence.upper().encode("ascii", "replace"), np.uint8)
    numbers = np.full(256, len(AMINO_ACIDS))
    numbers[np.frombuffer(AMINO_ACIDS.encode(), np.uint8)] = np.arange(len(AMINO_ACIDS))
    return numbers[letters]


def residues(sequences: list[str]) -> np.ndarray:
    """Shares of the 20 amino acids, in the order of their letters, and of all else: (N, 21)."""
    n = len(AMINO_ACIDS) + 1
    shares = np.zeros((len(sequences), n), np.float32)
    for row, sequence in enumerate(sequences):
        numbers = _residue_numbers(sequence)
        shares[row] = np.bincount(numbers, minlength=n) / max(1, len(numbers))
    return shares


def dipeptides(sequences: list[str]) -> np.ndarray:
    """Shares of the 400 ordered pairs of amino acids that follow each other: (N, 400).

    Pair AC stands in column 1, CA in column 20. Pairs with another letter are counted in the whole
    and have no column; a sequence of one residue is a row of zeros.
    """
    n = len(AMINO_ACIDS)
    shares = np.zeros((len(sequences), n * n), np.float32)
    for row, sequence in enumerate(sequences):
        numbers = _residue_numbers(sequence)
        known = (numbers[:-1] < n) & (numbers[1:] < n)
        pairs = (numbers[:-1] * n + numbers[1:])[known]
        shares[row] = np.bincount(pairs, minlength=n * n) / max(1, len(numbers) - 1)
    return shares
