"""Curves, profiles and controls: the measurements of one cloud of points, done for every layer.

A network gives one cloud of points a layer, in one order of the samples. What can be said of a
single cloud is in `scaling.py` (dimension against scale), `scale_rules.py` (at which scale to read
it) and `overlap.py` (who is near whom). This module does it layer by layer:

1. `screen` says which layers have a dimension to estimate, and what is odd about the others;
2. `measure` returns the curves of these layers, by TwoNN and by Gride, as one table;
3. `select_by_every_rule` reads them under each scale rule that they allow;
4. `controls` reads clouds that share something with a layer, but not its geometry, at the same
   scale: a profile is worth what it shows beyond them;
5. `sizes` has two quantities that a dimension should not depend on, to be held against it;
6. `layer_choice` compares a few layers by what labels say of them.

Layers are given as a mapping of arrays, such as a `Cloud` of `clouds.py`. A function here needs of
it no more than `Layers` names, so any object with these attributes serves.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from tqdm import tqdm

from georep_utils.geometry.neighbors import Neighbors, largest_range, nearest_neighbors
from georep_utils.geometry.overlap import knn_accuracy
from georep_utils.geometry.scale_rules import RULES, Selection, select_scale
from georep_utils.geometry.scaling import (
    MIN_DIFFERENT,
    check_representation,
    drop_duplicates,
    gride_scaling,
    n_different,
    twonn_scaling,
)
from georep_utils.geometry.synthetic import gaussian, shuffle_columns
from georep_utils.io import UserError

# The linear probe's cross-validation. A class needs a sample in each fold.
FOLDS = 5
PROBE_ITERATIONS = 100


class Layers(Protocol):
    """What the functions of this module need of a cloud.

    Attributes
    ----------
    layers
        Their numbers, in order.
    n_blocks
        The number of the layer that has depth 1.
    """

    layers: Sequence[int]
    n_blocks: int

    def __getitem__(self, layer: int) -> np.ndarray:
        """The points of a layer, (N, width)."""

    def neighbors(self, layer: int) -> Neighbors:
        """Their neighbours."""


# ------------------------------------------------------------------------------ dimension by layer


@dataclass(frozen=True)
class Screened:
    """Layers that have a dimension to estimate, and remarks on all, one line each."""

    layers: list[int]
    remarks: list[str]


def screen(cloud: Layers, decimation: int = 1) -> Screened:
    """Find the layers whose dimension can be estimated.

    A layer where most points are copies of others is left out: there is no dimension to estimate.

    Parameters
    ----------
    cloud : Layers
    decimation : int
        The largest by which points will be left out.

    Raises
    ------
    UserError
        As `check_representation`, naming the layer; or no layer is left.
    """
    kept = []
    remarks = []
    for layer in cloud.layers:
        X = np.asarray(cloud[layer])
        different = n_different(X)
        if different < MIN_DIFFERENT * len(X):
            remarks.append(f"layer {layer} has {different} different points of {len(X)}: left out")
        else:
            remarks += check_representation(X, layer, decimation)
            kept.append(layer)
    if not kept:
        raise UserError(
            "most points of every layer are copies of others; expected different points; check "
            "the model, its inputs, and where it is read"
        )
    return Screened(kept, remarks)


def measure(
    cloud: Layers,
    layers: Sequence[int],
    without_copies: bool = False,
    device: str = "auto",
    **twonn,
) -> pd.DataFrame:
    """Measure dimension against scale in several layers, by both estimators.

    Parameters
    ----------
    cloud : Layers
    layers : sequence of int
        Which of them, as `screen` found them.
    without_copies : bool
        Keep one of each set of identical points, and search the neighbours of the rest anew. Else
        points without a distance ratio are left out of the fits and counted.
    device : str
        Where neighbours are searched for.
    twonn
        Options of `twonn_scaling`: decimations, n_repetitions, fraction, algorithm, seed.

    Returns
    -------
    DataFrame
        Rows of `twonn_scaling` and `gride_scaling`, with a column layer.
    """
    curves = []
    for layer in tqdm(layers, desc="dimension of layers", mininterval=1):
        X = np.asarray(cloud[layer])
        near = cloud.neighbors(layer)
        if without_copies:
            X, near = _without_copies(X, near, device)
        for curve in (
            twonn_scaling(X, device=device, neighbors=near, **twonn),
            gride_scaling(near),
        ):
            curves.append(curve.assign(layer=layer))
    return pd.concat(curves, ignore_index=True)


def _without_copies(X: np.ndarray, near: Neighbors, device: str) -> tuple[np.ndarray, Neighbors]:
    """The different points of X, and their neighbours to the ranks that `near` has."""
    different = drop_duplicates(X)[0]
    if len(different) == len(X):
        return X, near
    ranks = largest_range(len(different), at_most=2 ** near.mus.shape[1])
    return different, nearest_neighbors(different, maxk=2, range_max=ranks, device=device)


def select_by_every_rule(
    curves: pd.DataFrame, **options
) -> tuple[dict[str, Selection], dict[str, str]]:
    """Read the curves under every scale rule.

    Parameters
    ----------
    curves : DataFrame
        As `measure` returns them.
    options
        Thresholds of `select_scale`, the same for all rules.

    Returns
    -------
    selections : dict
        By rule; `auto`, the last, is always there.
    left_out : dict
        Of rules that read what the curves lack: why.
    """
    selections = {}
    left_out = {}
    for rule in RULES:
        try:
            selections[rule] = select_scale(curves, rule, **options)
        except UserError as error:
            left_out[rule] = str(error)
    selections["auto"] = select_scale(curves, "auto", **options)
    return selections, left_out


# ---------------------------------------------------------------------------------------- controls


@dataclass(frozen=True)
class Reading:
    """An estimated dimension and its standard error."""

    id: float
    id_err: float


def read_at_scale(X: np.ndarray, selection: Selection, device: str = "auto", **twonn) -> Reading:
    """Read the dimension of any cloud with the method and at the scale of a selection.

    Between two ranks of Gride it is interpolated along the logarithm of the scale. For a rule that
    averages two ranks this gives their mean, since its scale lies halfway between them.

    Parameters
    ----------
    X : (N, width) array
        As many points as the layers that the selection is from: N is part of the scale.
    selection : Selection
        What `select_scale` chose.
    device, twonn
        As in `measure`; the scale is the selection's, whatever the decimations.
    """
    if selection.method == "twonn":
        options = twonn | {"decimations": (round(selection.scale),)}
        row = twonn_scaling(X, device=device, **options).iloc[0]
        return Reading(float(row["id"]), float(row["id_err"]))
    # The rank at the scale or just above it is k; its ratio needs the distance at rank 2 k.
    k = 2 ** math.ceil(math.log2(selection.scale))
    curve = gride_scaling(nearest_neighbors(X, maxk=2, range_max=2 * k, device=device))
    at = np.log(selection.scale)
    return Reading(
        float(np.interp(at, np.log(curve["scale"]), curve["id"])),
        float(np.interp(at, np.log(curve["scale"]), curve["id_err"])),
    )


def shuffled_and_gaussian(X: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Two clouds that share something with X, but not its geometry, by the names of the figures.

    Shuffled features keep the distribution of each coordinate and destroy all relations between
    them. A Gaussian cloud of the same covariance keeps the linear relations alone.
    """
    return {
        "shuffled features": shuffle_columns(X, seed),
        "Gaussian, same covariance": gaussian(len(X), np.cov(X.T), seed),
    }


def controls(
    cloud: Layers, layers: Sequence[int], selection: Selection, seed: int = 0, **options
) -> pd.DataFrame:
    """Read shuffled and Gaussian controls of several layers at the scale of a selection.

    Parameters
    ----------
    cloud : Layers
    layers : sequence of int
        Layers to make controls of.
    selection : Selection
        What `select_scale` chose for the layers themselves.
    seed : int
        Of the controls, and of TwoNN's subsets.
    options
        As in `read_at_scale`.

    Returns
    -------
    DataFrame
        Index layer; columns ("id", control) and ("id_err", control).
    """
    rows = {}
    for layer in tqdm(layers, desc="controls", mininterval=1):
        X = np.asarray(cloud[layer])
        rows[layer] = {}
        for name, points in shuffled_and_gaussian(X, seed).items():
            reading = read_at_scale(points, selection, seed=seed, **options)
            rows[layer]["id", name] = reading.id
            rows[layer]["id_err", name] = reading.id_err
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table.rename_axis(index="layer")


def sizes(cloud: Layers, layers: Sequence[int]) -> pd.DataFrame:
    """Two sizes of the cloud of each layer, in its own units.

    Returns
    -------
    DataFrame
        Index layer; first_distance, the mean distance to the nearest neighbour; norm, the mean
        norm of the points after their mean is subtracted.
    """
    rows = {}
    for layer in layers:
        X = np.asarray(cloud[layer])
        rows[layer] = {
            "first_distance": float(cloud.neighbors(layer).radii[0, 0]),
            "norm": float(np.linalg.norm(X - X.mean(axis=0), axis=1).mean()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="layer")


# ------------------------------------------------------------------------------- layers and labels


def linear_probe(X: np.ndarray, labels: np.ndarray, samples: int = 5000, seed: int = 0) -> float:
    """Accuracy of a linear classifier: logistic regression in five-fold cross-validation.

    Parameters
    ----------
    X : (N, width) array
    labels : (N,) array
    samples : int
        At most so many points are used, chosen at random.
    seed : int
        Of that choice.

    Returns
    -------
    float
        Mean accuracy over the folds; NaN where a class is too small to have a point in each.
    """
    # Imported where it is used: it takes a second, and most of this module does without.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if np.unique(labels, return_counts=True)[1].min() < FOLDS:
        return float("nan")
    rows = np.random.default_rng(seed).permutation(len(X))[:samples]
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=PROBE_ITERATIONS))
    with warnings.catch_warnings():
        # Accuracy settles long before the weights do.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return float(cross_val_score(classifier, X[rows], labels[rows], cv=FOLDS).mean())


def layer_choice(
    cloud: Layers,
    labels: np.ndarray,
    choices: Mapping[str, int | None],
    probe_samples: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare a few layers by how well labels can be read from them.

    Parameters
    ----------
    cloud : Layers
    labels : (N,) array
    choices : mapping
        Name -> layer; None, where a rule chose none, has no row.
    probe_samples, seed
        As in `linear_probe`.

    Returns
    -------
    DataFrame
        Index choice; layer, depth, "1-NN accuracy" (leave one out), "linear probe".
    """
    rows = {}
    for name, layer in choices.items():
        if layer is not None:
            rows[name] = {
                "layer": layer,
                "depth": layer / cloud.n_blocks,
                "1-NN accuracy": knn_accuracy(cloud.neighbors(layer), labels),
                "linear probe": linear_probe(np.asarray(cloud[layer]), labels, probe_samples, seed),
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="choice")
