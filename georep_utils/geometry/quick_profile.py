"""Dimension and label overlap of every layer at one fixed scale: enough to compare many clouds.

The full treatment of a cloud asks at which scale a dimension may be read, and sets controls beside
it. Where a dozen clouds of one model stand side by side, checkpoints of its training or places
inside its blocks, that is not the question: it is how the profiles differ. Here each is read in the
same way, by TwoNN on points decimated by one factor, and by the overlap of neighbours with labels.

A layer in which most points are copies of others has no dimension, and its nearest neighbours are
chosen among ties. This is how the first layer of a causal model looks at its last place, which has
seen a single token by then. Such a layer is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from georep_utils.geometry.duplicates import MIN_DIFFERENT, n_different
from georep_utils.geometry.neighbors import Neighbors
from georep_utils.geometry.overlap import label_overlap
from georep_utils.geometry.overlap_errors import Joint, attempt_over_layers
from georep_utils.geometry.resampling import twonn_replicates
from georep_utils.geometry.scaling import twonn_scaling


def quick_profile(
    layers: Mapping[int, np.ndarray],
    neighbors: Mapping[int, Neighbors],
    labels: np.ndarray | None,
    decimation: int = 4,
    label_k: int = 10,
    seed: int = 0,
    device: str = "auto",
) -> pd.DataFrame:
    """Estimate the dimension and the label overlap of some layers.

    Parameters
    ----------
    layers
        The points of each layer by its number, (N, width).
    neighbors
        Neighbours of each layer, at least `label_k` a point.
    labels
        Class of each point, (N,); None where classes are not known.
    decimation
        TwoNN is computed on disjoint random subsets of N // decimation points.
    label_k
        Number of neighbours of the label overlap.
    seed
        Of the random subsets.
    device
        Where neighbours within the subsets are searched for, as in `nearest_neighbors`.

    Returns
    -------
    DataFrame
        A row a layer: layer, id, id_err (standard error), label_overlap. All three measures are NaN
        for a layer that is left out, and the overlap where there are no labels.

    Raises
    ------
    UserError
        As `twonn_scaling` and `label_overlap`: too few points, or too few neighbours.

    References
    ----------
    Facco et al., Scientific Reports 7, 12140 (2017), for TwoNN; Doimo et al., NeurIPS 2020, for the
    label overlap.
    """
    rows = []
    for layer, points in layers.items():
        measured = {"id": np.nan, "id_err": np.nan, "label_overlap": np.nan}
        # More than half, not half: where each point has a single copy, no point has a positive
        # distance to its nearest neighbour.
        if n_different(points) > MIN_DIFFERENT * len(points):
            estimate = twonn_scaling(points, (decimation,), seed=seed, device=device).iloc[0]
            measured["id"] = estimate.id
            measured["id_err"] = estimate.id_err
            if labels is not None:
                measured["label_overlap"] = label_overlap(neighbors[layer], labels, label_k)
        rows.append({"layer": layer} | measured)
    return pd.DataFrame(rows, columns=["layer", "id", "id_err", "label_overlap"])


def dimension_replicates(
    layers: Iterable[np.ndarray],
    groups: np.ndarray | None,
    decimation: int = 4,
    seed: int = 0,
    device: str = "auto",
) -> Joint:
    """The dimensions of `quick_profile` again in halves of the samples, for their joint errors.

    Parameters
    ----------
    layers
        The points of each layer, (N, width).
    groups
        Of the samples, as `overlap_errors.deal` returns.
    decimation, seed, device
        As in `quick_profile`.

    Returns
    -------
    Joint
        Replicates (n_groups - 1, 2, L), or why there are none.
    """

    def halves_of(points: np.ndarray) -> np.ndarray:
        return twonn_replicates(points, groups, decimation, seed=seed, device=device)[1]

    return attempt_over_layers(layers, halves_of)
