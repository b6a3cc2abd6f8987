"""ID profiles whose features are known: what a rule for the choice of a layer is held against.

Each function takes the relative depths of a network's layers, 0 for the first and 1 for the last,
and returns an intrinsic dimension for each. `WITHOUT` are profiles that have nothing to find after
their first peak: level, with a broad top, going one way only, or falling evenly. `WITH` are
profiles that rise to a peak at a fifth of the depth and then have a minimum half way, or a plateau
over the second half. A rule should find layers in the latter and none in the former, whatever noise
is added to them.
"""

from __future__ import annotations

from functools import partial

import numpy as np

TOP = 20.0  # ID of every peak
PEAK = 0.2  # relative depth of the first peak


def flat(depth: np.ndarray) -> np.ndarray:
    """The same ID at every depth."""
    return np.full_like(depth, TOP / 2)


def hump(depth: np.ndarray, power: int) -> np.ndarray:
    """One top in the middle; the higher the power, the broader it is."""
    return TOP - TOP / 2 * np.abs(2 * depth - 1) ** power


def rising(depth: np.ndarray) -> np.ndarray:
    """An approach from below."""
    return 5 + 15 * (1 - np.exp(-4 * depth))


def falling(depth: np.ndarray) -> np.ndarray:
    """An approach from above, which levels off."""
    return TOP - 15 * (1 - np.exp(-4 * depth))


def linear(depth: np.ndarray, fall: float = 0.28) -> np.ndarray:
    """An even fall by that share of the first ID."""
    return TOP * (1 - fall * depth)


def peak_then_linear(depth: np.ndarray, fall: float) -> np.ndarray:
    """A peak, then an even fall by that share: no layer after it stands out from its neighbours."""
    return _after_a_rise(depth, TOP * (1 - fall * (depth - PEAK) / (1 - PEAK)))


def minimum(depth: np.ndarray, share: float) -> np.ndarray:
    """A peak, then a minimum half way, lower than the peak by that share."""
    return _after_a_rise(depth, TOP * (1 - share * np.exp(-(((depth - 0.5) / 0.13) ** 2))))


def plateau(depth: np.ndarray) -> np.ndarray:
    """A peak, then half of its ID from the middle to the end."""
    fall = TOP - TOP / 2 * (depth - PEAK) / (0.5 - PEAK)
    return _after_a_rise(depth, np.where(depth < 0.5, fall, TOP / 2))


def _after_a_rise(depth: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.where(depth < PEAK, TOP / 2 + TOP / 2 * depth / PEAK, after)


WITHOUT = {
    "flat": flat,
    "broad top": partial(hump, power=4),
    "parabola": partial(hump, power=2),
    "rising": rising,
    "falling": falling,
    "linear": linear,
    "rise, then linear fall of 28 %": partial(peak_then_linear, fall=0.28),
    "rise, then linear fall of 12 %": partial(peak_then_linear, fall=0.12),
}
WITH = {
    "minimum of 10 %": partial(minimum, share=0.1),
    "minimum of 20 %": partial(minimum, share=0.2),
    "minimum of 40 %": partial(minimum, share=0.4),
    "plateau": plateau,
}
