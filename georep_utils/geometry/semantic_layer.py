"""The layer that an ID profile singles out, without labels: the paper's advice as a rule."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class SemanticLayer:
    """Layer of the first minimum or plateau of an ID profile after its first peak (None for kind "none").

    prominence: how far it lies below its surroundings, in units of the peak's ID; low, high: the layers around it that
    the profile can't tell from it, widened to the central nine tenths of the layers found in redrawn profiles; support:
    the share of redrawn profiles with such a feature; kind: "minimum", "plateau" or "none".
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
    """The paper's advice without labels: the first minimum, or plateau, of the ID profile after its first peak.

    profile: rows in layer order with columns layer, id and, where known, id_err (`Selection.profile`). Two IDs differ when
    they do by more than `prominence` of the larger (a twentieth: what two octaves of scale change where there is a
    plateau) and by more than `errors` standard errors. The peak stands out on both sides. The minimum is followed by such
    a rise. A plateau is a run of at least plateau_share of the layers (three or more), below the peak, without a
    difference inside. For the uncertainty the profile is drawn again `draws` times, each ID moved by its error.
    """
    layers, ids = profile["layer"].tolist(), profile["id"].to_numpy(dtype=float)
    sigma = profile["id_err"].to_numpy(dtype=float) if "id_err" in profile else np.zeros(len(ids))
    found = _first_feature(layers, ids.tolist(), sigma.tolist(), prominence, errors, plateau_share)
    if not draws or not sigma.any():
        return replace(found, support=float(found.layer is not None))
    moved = ids + sigma * np.random.default_rng(seed).standard_normal((draws, len(ids)))
    again = [_first_feature(layers, row.tolist(), sigma.tolist(), prominence, errors, plateau_share) for row in moved]
    chosen = [one.layer for one in again if one.layer is not None]
    if found.layer is None:
        return replace(found, support=len(chosen) / draws)
    low, high = np.quantile(chosen or [found.layer], [0.05, 0.95], method="nearest")
    return replace(found, low=min(found.low, int(low)), high=max(found.high, int(high)), support=len(chosen) / draws)


def _first_feature(layers, ids, sigma, prominence, errors, plateau_share) -> SemanticLayer:
    n, low, top, peak, bottom, rise = len(ids), 0, None, None, None, None

    def above(i, j):
        return ids[i] - ids[j] > max(prominence * ids[i], errors * float(np.hypot(sigma[i], sigma[j])))

    def level(i, j):
        run = range(i, j)
        return j <= n and not above(max(run, key=ids.__getitem__), min(run, key=ids.__getitem__))

    for i in range(n):
        if top is None:
            low = min(low, i, key=ids.__getitem__)
            top = i if above(i, low) else None
        elif peak is None:
            top = max(top, i, key=ids.__getitem__)
            peak, bottom = (top, i) if above(top, i) else (None, None)
        elif above(i, bottom):
            rise = i
            break
        else:
            bottom = min(bottom, i, key=ids.__getitem__)
    if peak is None:
        return SemanticLayer(None, None, 0.0, None, None, "none")
    length = max(3, int(np.ceil(plateau_share * n)))
    for start in range(peak + 1, n if rise is None else bottom - length + 1):
        stop = start + length
        if above(peak, start) and level(start, stop):
            while level(start, stop + 1):
                stop += 1
            drop = 1 - float(np.mean(ids[start:stop])) / ids[peak]
            return SemanticLayer(
                layers[(start + stop - 1) // 2], layers[peak], drop, layers[start], layers[stop - 1], "plateau"
            )
    if rise is None:
        return SemanticLayer(None, layers[peak], 0.0, None, None, "none")
    first = next((i for i in range(bottom, peak, -1) if above(i - 1, bottom)), peak + 1)
    last = next(i for i in range(bottom, n) if above(i + 1, bottom))
    drop = (min(ids[peak], max(ids[bottom:])) - ids[bottom]) / ids[peak]
    return SemanticLayer(layers[bottom], layers[peak], drop, layers[first], layers[last], "minimum")
