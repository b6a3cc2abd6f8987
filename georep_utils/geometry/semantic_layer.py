"""The layer that a profile of intrinsic dimensions singles out, without labels.

In the paper's image and protein models the dimension rises to a peak in the first layers, then
falls to a minimum or a plateau, and there neighbourhoods agree best with the labels. Its advice,
for data without labels, is to take the layer of the first minimum after the first peak. This module
turns the advice into a rule that can also say *none*:

1. Two dimensions differ if they do so by more than a share of the larger (`prominence`) **and** by
   more than some of their standard errors (`errors`). Whatever differs less is a wiggle.
2. The **peak** is the first maximum that differs from something before it and from something after.
3. The **minimum** is the lowest layer after the peak before the dimension rises again, by a
   difference.
4. A **plateau** is a run of layers below the peak with no difference within. If there is one before
   the minimum, or no minimum at all, its middle is taken.

How far to trust it: the profile is drawn again many times, each dimension moved by its error, and
the rule is applied to each draw. The share of draws in which it finds a layer is the *support*; the
range of the layers found widens the interval that is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

# Fewer layers than these are no plateau, however short the network.
SHORTEST_PLATEAU = 3


@dataclass(frozen=True)
class SemanticLayer:
    """What a profile singles out.

    Attributes
    ----------
    layer : int or None
        The layer of the first minimum, or the middle of the first plateau, after the first peak.
        None for kind "none".
    peak_layer : int or None
        The layer of that peak.
    prominence : float
        How far the layer lies below its surroundings, in units of the peak's dimension.
    low, high : int or None
        The first and the last of the layers around it that the profile cannot tell from it, widened
        to the central nine tenths of the layers found in redrawn profiles.
    kind : {"minimum", "plateau", "none"}
    support : float
        The share of redrawn profiles in which a layer is found.
    """

    layer: int | None
    peak_layer: int | None
    prominence: float
    low: int | None
    high: int | None
    kind: str
    support: float = 1.0


def semantic_layer(
    profile: pd.DataFrame,
    prominence: float = 0.05,
    errors: float = 2.0,
    plateau_share: float = 0.2,
    draws: int = 200,
    seed: int = 0,
) -> SemanticLayer:
    """Find the first minimum, or plateau, of a profile of dimensions after its first peak.

    Parameters
    ----------
    profile : DataFrame
        Rows in the order of the layers, with columns layer, id and, where known, id_err
        (`Selection.profile`).
    prominence : float
        Share of the larger of two dimensions by which they must differ. A twentieth is what two
        octaves of scale change where there is a plateau.
    errors : float
        Standard errors of a difference by which two dimensions must differ.
    plateau_share : float
        Share of the layers that a plateau has at least; three layers in any case.
    draws : int
        Redrawn profiles.
    seed : int
        Of the draws.

    Returns
    -------
    SemanticLayer

    References
    ----------
    Valeriani, Doimo, Cuturello, Laio, Ansuini, Cazzaniga, "The geometry of hidden representations
    of large transformer models", NeurIPS 2023, arXiv 2302.00294.
    """
    layers = profile["layer"].tolist()
    ids = profile["id"].to_numpy(dtype=float)
    if "id_err" in profile:
        id_errors = profile["id_err"].to_numpy(dtype=float)
    else:
        id_errors = np.zeros(len(ids))

    def find(values: np.ndarray) -> SemanticLayer:
        curve = _Curve(layers, values.tolist(), id_errors.tolist(), prominence, errors)
        return _first_feature(curve, plateau_share)

    found = find(ids)
    if not draws or not id_errors.any():
        return replace(found, support=float(found.layer is not None))
    noise = np.random.default_rng(seed).standard_normal((draws, len(ids)))
    redrawn = [find(moved) for moved in ids + id_errors * noise]
    chosen = [other.layer for other in redrawn if other.layer is not None]
    return _with_uncertainty(found, chosen, draws)


def _with_uncertainty(found: SemanticLayer, chosen: list[int], draws: int) -> SemanticLayer:
    """Return `found` with the support, and the interval, of the layers chosen in the draws."""
    support = len(chosen) / draws
    if found.layer is None:
        return replace(found, support=support)
    low, high = np.quantile(chosen or [found.layer], [0.05, 0.95], method="nearest")
    return replace(
        found,
        low=min(found.low, int(low)),
        high=max(found.high, int(high)),
        support=support,
    )


@dataclass(frozen=True)
class _Curve:
    """A profile, and when two of its values differ. Places i, j count from 0 along the profile."""

    layers: list
    ids: list[float]
    id_errors: list[float]
    prominence: float
    errors: float

    def __len__(self) -> int:
        return len(self.ids)

    def is_above(self, i: int, j: int) -> bool:
        """Tell whether the dimension at i is larger than at j by a difference that counts."""
        noise = float(np.hypot(self.id_errors[i], self.id_errors[j]))
        needed = max(self.prominence * self.ids[i], self.errors * noise)
        return self.ids[i] - self.ids[j] > needed

    def is_level(self, start: int, stop: int) -> bool:
        """Tell whether places start to stop - 1 exist and hold no difference that counts."""
        if stop > len(self):
            return False
        run = range(start, stop)
        return not self.is_above(self.highest(run), self.lowest(run))

    def highest(self, places: Sequence[int]) -> int:
        """Return the place with the largest dimension, the first of equal ones."""
        return max(places, key=self.ids.__getitem__)

    def lowest(self, places: Sequence[int]) -> int:
        """Return the place with the least dimension, the first of equal ones."""
        return min(places, key=self.ids.__getitem__)


def _first_feature(curve: _Curve, plateau_share: float) -> SemanticLayer:
    climbed = _climb(curve)
    if climbed is None:
        return SemanticLayer(None, None, 0.0, None, None, "none")
    descended = _descend(curve, climbed)
    if descended is None:
        return SemanticLayer(None, None, 0.0, None, None, "none")
    peak, foot = descended
    bottom, rises = _bottom(curve, foot)

    length = max(SHORTEST_PLATEAU, int(np.ceil(plateau_share * len(curve))))
    # A plateau counts if it lies before the minimum, or if no minimum follows.
    last_start = bottom - length if rises else len(curve) - 1
    plateau = _plateau(curve, peak, last_start, length)
    if plateau is not None:
        return plateau
    if rises:
        return _minimum(curve, peak, bottom)
    return SemanticLayer(None, curve.layers[peak], 0.0, None, None, "none")


def _climb(curve: _Curve) -> int | None:
    """Return the first place that is above an earlier one."""
    low = 0
    for i in range(len(curve)):
        low = curve.lowest([low, i])
        if curve.is_above(i, low):
            return i
    return None


def _descend(curve: _Curve, start: int) -> tuple[int, int] | None:
    """Return the first peak from `start` on, and the first place after it that it is above."""
    top = start
    for i in range(start + 1, len(curve)):
        top = curve.highest([top, i])
        if curve.is_above(top, i):
            return top, i
    return None


def _bottom(curve: _Curve, start: int) -> tuple[int, bool]:
    """Return the lowest place from `start` to where the curve rises again, and whether it does."""
    bottom = start
    for i in range(start + 1, len(curve)):
        if curve.is_above(i, bottom):
            return bottom, True
        bottom = curve.lowest([bottom, i])
    return bottom, False


def _plateau(curve: _Curve, peak: int, last_start: int, length: int) -> SemanticLayer | None:
    """Return the first run of at least `length` level places that begins below the peak."""
    for start in range(peak + 1, last_start + 1):
        stop = start + length
        if curve.is_above(peak, start) and curve.is_level(start, stop):
            while curve.is_level(start, stop + 1):
                stop += 1
            return SemanticLayer(
                layer=curve.layers[(start + stop - 1) // 2],
                peak_layer=curve.layers[peak],
                prominence=1 - float(np.mean(curve.ids[start:stop])) / curve.ids[peak],
                low=curve.layers[start],
                high=curve.layers[stop - 1],
                kind="plateau",
            )
    return None


def _minimum(curve: _Curve, peak: int, bottom: int) -> SemanticLayer:
    """Return the minimum at `bottom`, with the places on either side that it is not below."""
    first = bottom
    while first > peak + 1 and not curve.is_above(first - 1, bottom):
        first -= 1
    last = bottom
    # The curve rises after the bottom, so this ends before the curve does.
    while not curve.is_above(last + 1, bottom):
        last += 1
    # As a valley: below the peak on one side and below the highest place to come on the other.
    rim = min(curve.ids[peak], max(curve.ids[bottom:]))
    return SemanticLayer(
        layer=curve.layers[bottom],
        peak_layer=curve.layers[peak],
        prominence=(rim - curve.ids[bottom]) / curve.ids[peak],
        low=curve.layers[first],
        high=curve.layers[last],
        kind="minimum",
    )
