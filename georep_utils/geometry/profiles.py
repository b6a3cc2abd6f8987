"""Curves, profiles and controls: the measurements of one cloud of points, done for every layer.

A network gives one cloud of points a layer, in one order of the samples. What can be said of a
single cloud is in `scaling.py` (dimension against scale), `scale_rules.py` (at which scale to read
it) and `overlap.py` (who is near whom). This module does it layer by layer:

1. `screen` says which layers have a dimension to estimate, and what is odd about the others;
2. `measure` returns the curves of these layers, by TwoNN and by Gride, as one table;
3. `select_by_every_rule` reads them under each scale rule that they allow;
4. `replicates` reads every layer again in the same halves of the samples, which gives errors and
   the covariance between layers;
5. `controls` reads clouds that share something with a layer, but not its geometry, at the same
   scale, and `read_layers` other networks and the input: a profile is worth what it shows beyond
   them;
6. `sizes` has two quantities that a dimension should not depend on, to be held against it;
7. `layer_choice` compares a few layers by what labels say of them.

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

from georep_utils.geometry import resampling
from georep_utils.geometry.duplicates import (
    MIN_DIFFERENT,
    drop_duplicates,
    n_different,
    near_duplicates,
)
from georep_utils.geometry.neighbors import Neighbors, largest_range, nearest_neighbors
from georep_utils.geometry.overlap import knn_accuracy
from georep_utils.geometry.scale_rules import (
    RULES,
    Selection,
    available,
    select_scale,
    with_dispersion,
)
from georep_utils.geometry.scaling import (
    check_representation,
    gride_scaling,
    twonn_scaling,
)
from georep_utils.geometry.synthetic import gaussian, shuffle_columns
from georep_utils.io import UserError
from georep_utils.measurements import kept

# The linear probe's cross-validation. A class needs a sample in each fold.
FOLDS = 5
PROBE_ITERATIONS = 100

# Near-copies are near by the distance to this neighbour.
NEAR_RANK = 10

# Options of `measure` that `resampling.twonn_replicates` has, too.
TWONN_OF_HALVES = ("n_repetitions", "fraction", "seed", "device", "algorithm")


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


def screen(cloud: Layers, decimation: int = 1, none_is_refused: bool = True) -> Screened:
    """Find the layers whose dimension can be estimated.

    A layer where most points are copies of others is left out: there is no dimension to estimate.

    Parameters
    ----------
    cloud : Layers
    decimation : int
        The largest by which points will be left out.
    none_is_refused : bool
        A network without such a layer is an error. For a control it is a remark.

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
    if not kept and none_is_refused:
        raise UserError(
            "most points of every layer are copies of others; expected different points; check "
            "the model, its inputs, and where it is read"
        )
    return Screened(kept, remarks)


@dataclass(frozen=True)
class Points:
    """The points of a layer that take part, (n, width), their neighbours, and their sample numbers.

    Their neighbours are among themselves: where points were left out they were searched anew.
    """

    X: np.ndarray
    neighbors: Neighbors
    samples: np.ndarray


def points_of(
    cloud: Layers,
    layer: int,
    without_copies: bool = False,
    without_near: float = 0.0,
    device: str = "auto",
) -> Points:
    """The points of a layer, without copies where that is asked for.

    Parameters
    ----------
    cloud : Layers
    layer : int
    without_copies : bool
        Keep one of each set of identical points.
    without_near : float
        Also keep one of each group of points that are nearer to each other than this share of the
        distance to their tenth neighbour (`near_duplicates`); 0 keeps them.
    device : str
        Where neighbours are searched for.
    """
    X = np.asarray(cloud[layer])
    near = cloud.neighbors(layer)
    samples = np.arange(len(X))
    if without_copies:
        samples = drop_duplicates(X)[2]
    if without_near:
        rank = min(NEAR_RANK, near.indices.shape[1] - 1)
        samples = np.intersect1d(samples, near_duplicates(near, rank, without_near).kept)
    if len(samples) == len(X):
        return Points(X, near, samples)
    if len(samples) < MIN_DIFFERENT * len(X):
        raise UserError(
            f"layer {layer}: {len(samples)} of {len(X)} points are left without copies: expected "
            "half of them; lower the share that counts as near"
        )
    ranks = largest_range(len(samples), at_most=2 ** near.mus.shape[1])
    stored = min(near.indices.shape[1] - 1, len(samples) - 1)
    found = nearest_neighbors(X[samples], maxk=stored, range_max=ranks, device=device)
    return Points(X[samples], found, samples)


def measure(
    cloud: Layers,
    layers: Sequence[int],
    without_copies: bool = False,
    device: str = "auto",
    without_near: float = 0.0,
    **twonn,
) -> pd.DataFrame:
    """Measure dimension against scale in several layers, by both estimators.

    Parameters
    ----------
    cloud : Layers
    layers : sequence of int
        Which of them, as `screen` found them.
    without_copies, without_near
        As in `points_of`. Else points without a distance ratio are left out of the fits and
        counted.
    device : str
        Where neighbours are searched for.
    twonn
        Options of `twonn_scaling`: decimations, n_repetitions, fraction, algorithm, seed.

    Returns
    -------
    DataFrame
        Rows of `twonn_scaling` and `gride_scaling`, with columns layer and, for Gride, dispersion
        (`with_dispersion`).
    """
    curves = []
    for layer in tqdm(layers, desc="dimension of layers", mininterval=1):
        points = points_of(cloud, layer, without_copies, without_near, device)
        near = points.neighbors
        for curve in (
            twonn_scaling(points.X, device=device, neighbors=near, **twonn),
            with_dispersion(gride_scaling(near), near),
        ):
            curves.append(curve.assign(layer=layer))
    return pd.concat(curves, ignore_index=True)


def select_by_every_rule(
    curves: pd.DataFrame, asked: str | None = None
) -> tuple[dict[str, Selection], dict[str, str]]:
    """Read the curves under every scale rule that they allow.

    Parameters
    ----------
    curves : DataFrame
        As `measure` returns them.
    asked : str, optional
        The rule that the run is read by.

    Returns
    -------
    selections : dict
        By rule.
    left_out : dict
        Of rules that read what the curves lack: why.

    Raises
    ------
    UserError
        The rule that is asked for is unknown or can't be read.
    """
    missing = available(curves)
    if asked is not None and missing.get(asked, "unknown"):
        # It says what is missing.
        select_scale(curves, asked)
    selections = {rule: select_scale(curves, rule) for rule, why in missing.items() if not why}
    return selections, {rule: why for rule, why in missing.items() if why}


# ------------------------------------------------------------------------------------ joint errors


@dataclass(frozen=True)
class Replicates:
    """IDs of all layers, read again in halves of the samples that are the same for every layer.

    Attributes
    ----------
    values
        (divisions, 2, L), as for `resampling.jackknife`; None where they can't be had.
    refused
        Why there are none; "" where there are.
    """

    values: np.ndarray | None
    refused: str = ""


def replicates(
    cloud: Layers,
    selection: Selection,
    labels: np.ndarray | None = None,
    without_copies: bool = False,
    without_near: float = 0.0,
    **options,
) -> Replicates:
    """Read the layers of a selection again in balanced halves of the samples, at its scale.

    Parameters
    ----------
    cloud : Layers
    selection : Selection
        What `select_scale` chose for the layers; its IDs are what the halves are about.
    labels : (N,) array, optional
        Classes, over which the groups of samples are balanced (`resampling.groups_of_points`).
    without_copies, without_near
        As in `measure`.
    options
        Of `twonn_scaling`, as in `measure`; decimations are the selection's.

    Returns
    -------
    Replicates
        Without values, and with the reason, where a half would have too few points.
    """
    device = options.get("device", "auto")
    parts = []
    for row in tqdm(selection.profile.itertuples(), desc="joint errors", mininterval=1):
        points = points_of(cloud, row.layer, without_copies, without_near, device)
        try:
            groups = resampling.groups_of_points(len(cloud[row.layer]), labels)
            estimate, halves = _halves_of(points, selection, groups[points.samples], options)
        except UserError as error:
            return Replicates(None, f"layer {row.layer}: {error}")
        # The curve was read on other random subsets of TwoNN. The halves are about its value.
        parts.append(halves * row.id / estimate)
    return Replicates(np.stack(parts, axis=2))


def _halves_of(
    points: Points, selection: Selection, groups: np.ndarray, options: Mapping
) -> tuple[float, np.ndarray]:
    if selection.method == "twonn":
        given = {name: options[name] for name in TWONN_OF_HALVES if name in options}
        return resampling.twonn_replicates(points.X, groups, round(selection.scale), **given)
    rule = RULES.get(selection.rule)
    scales = (selection.scale,) if rule is None else rule.scales
    ranks = [round(scale) for scale in scales]
    near = points.neighbors
    wanted = min(6 * max(ranks) + 20, len(points.X) - 1)
    if near.indices.shape[1] - 1 < wanted:
        device = options.get("device", "auto")
        near = nearest_neighbors(points.X, wanted, 2 * max(ranks), device=device)
    return resampling.gride_replicates(near, groups, ranks)


def likelihood_errors(selection: Selection, curves: pd.DataFrame) -> np.ndarray:
    """Textbook errors of a selection: of the likelihood, as if all ratios were independent.

    For TwoNN id / sqrt(n), with n the points of all subsets; for Gride from the Fisher
    information. Ratios of neighbouring points share distances, so these are too small.

    Returns
    -------
    (L,) array
        In the order of `selection.profile`.
    """
    profile = selection.profile
    if selection.method == "gride":
        return profile["id_err"].to_numpy()
    rows = curves[(curves["method"] == "twonn") & (curves["scale"] == selection.scale)]
    counts = (rows["n_points"] * rows["repetitions"]).set_axis(rows["layer"])
    return resampling.likelihood_error(profile["id"], profile["layer"].map(counts)).to_numpy()


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


def read_layers(
    cloud: Layers, layers: Sequence[int], selection: Selection, **options
) -> pd.DataFrame:
    """Read layers of another network, or of the input, with the method and scale of a selection.

    Parameters
    ----------
    cloud : Layers
        As many samples as the cloud that the selection is from.
    layers : sequence of int
        Which of them, as `screen` found them.
    selection, options
        As in `read_at_scale`.

    Returns
    -------
    DataFrame
        Rows layer, id, id_err.
    """
    rows = []
    for layer in tqdm(layers, desc="layers of a control", mininterval=1):
        reading = read_at_scale(np.asarray(cloud[layer]), selection, **options)
        rows.append((layer, reading.id, reading.id_err))
    return pd.DataFrame(rows, columns=["layer", "id", "id_err"])


def as_readings(made: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The controls of `controls`, each as a table like those of `read_layers`, by name."""
    return {
        name: pd.DataFrame(
            {"layer": made.index, "id": made["id", name], "id_err": made["id_err", name]}
        )
        for name in made["id"]
    }


def band(readings: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The profiles of several untrained networks as one: their mean, lowest and highest.

    Parameters
    ----------
    readings : mapping
        Tables of `read_layers` by name. Of a single one, low and high are a standard error away.

    Returns
    -------
    DataFrame
        Index layer; id (mean over the networks), low, high.
    """
    rows = pd.concat(readings.values())
    if len(readings) == 1:
        rows = rows.set_index("layer")
        ends = {"low": rows.id - rows.id_err, "high": rows.id + rows.id_err}
        return rows[["id"]].assign(**ends)
    by_layer = rows.groupby("layer").id
    return pd.DataFrame({"id": by_layer.mean(), "low": by_layer.min(), "high": by_layer.max()})


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


@kept
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
    from threadpoolctl import threadpool_limits

    if np.unique(labels, return_counts=True)[1].min() < FOLDS:
        return float("nan")
    rows = np.random.default_rng(seed).permutation(len(X))[:samples]
    points = np.asarray(X[rows], dtype=np.float64)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=PROBE_ITERATIONS))
    # The products of one iteration are so small that threads cost ten times what they save.
    with warnings.catch_warnings(), threadpool_limits(1):
        # Accuracy settles long before the weights do.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return float(cross_val_score(classifier, points, labels[rows], cv=FOLDS).mean())


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
