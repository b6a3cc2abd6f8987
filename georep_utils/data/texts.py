"""Texts without their meaning: controls for what a language model makes of texts.

A representation of a text may follow from what it says, or only from which words it has, or from
how many. Two rewritings tell these apart. Words that are *shuffled* within each text keep its words
and its length, and lose their order. *Random* words, drawn from all texts together, keep the length
and the frequencies of words, and lose everything that belongs to one text.

Words are what white space parts. Draws depend on the seed and on all texts of the file, not on how
many of them are read afterwards, so that a text is rewritten in the same way in every chapter.
"""

from __future__ import annotations

import numpy as np

from georep_utils.io import UserError

WAYS = ("as written", "shuffled", "random")


def rewritten(texts: list[str], words: str = "as written", seed: int = 0) -> list[str]:
    """Texts with their words as they are, shuffled within each text, or drawn at random.

    Parameters
    ----------
    texts
        N texts.
    words
        One of `WAYS`. Texts that are shuffled or random have single spaces between their words.
    seed
        Of the draws.

    Returns
    -------
    N texts, each with as many words as before.

    Raises
    ------
    UserError
        For another way, and a seed that is none.
    """
    if words not in WAYS:
        raise UserError(f"words is {words!r}; expected one of {', '.join(WAYS)}")
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise UserError(f"words_seed is {seed!r}; expected a whole number from 0 on")
    if words == "as written":
        return texts
    rng = np.random.default_rng(seed)
    split = [text.split() for text in texts]
    if words == "shuffled":
        return [" ".join(rng.permutation(np.array(own, dtype=object))) for own in split]
    corpus = np.array([word for own in split for word in own], dtype=object)
    return [" ".join(rng.choice(corpus, len(own))) for own in split]
