"""One run's scores: what each advice keeps, what the input has already, and ID against overlap.

`advice` knows the statistics; here the tables of a run are brought into its form. What one run
can't give is no error of the page: where the ID is highest in the last layer there is no layer
behind the peak to choose, and a cloud of three layers has no correlation over its layers. `attempt`
says why in one line, and the page goes on without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from georep_utils import io
from georep_utils.geometry.resampling import difference, from_rows
from georep_utils.geometry.semantic_layer import SemanticLayer
from georep_utils.io import RunPaths, UserError
from georep_utils.paper.advice import (
    RANDOM,
    Curve,
    Relation,
    candidates,
    curve_with_errors,
    relation,
)

CLEAR = 2.0  # standard errors from which a difference counts: 6 % of differences of noise do, too
SCORES = ("accuracy", "probe")


@dataclass(frozen=True)
class Profile:
    """What the chapter on the intrinsic dimension wrote down.

    ids: DataFrame with layer, depth, id, id_err, of the rule that the run uses, layers up to the
    final norm; found: the layer that the rule took; replicates: (19, 2, L) of the IDs of
    `replicate_layers`, or None.
    """

    ids: pd.DataFrame
    found: SemanticLayer
    replicates: np.ndarray | None
    replicate_layers: tuple[int, ...]


def read_profile(paths: RunPaths) -> Profile:
    """The profile of a run and the layer chosen on it, from `id_profile.csv`, `provenance.json` and
    `id_replicates.csv` where there is one.

    Raises
    ------
    UserError
        If the chapter has not run.
    """
    io.note_read(paths.results / "provenance.json")
    made = io.read_json(paths.results / "provenance.json")
    if not made:
        raise UserError(f"run {paths.run} has no provenance.json; run 04_intrinsic_dimension first")
    table = io.read_table(paths.results / "id_profile.csv")
    ids = table[(table.rule == made["scale_rule"]) & (table.layer <= made["n_blocks"])]
    found = SemanticLayer(
        layer=made.get("semantic_layer"),
        kind=made.get("semantic_kind") or "none",
        peak_layer=made.get("semantic_peak"),
        low=None,  # the set and its certainty stay in the chapter: no score asks for them
        high=None,
        prominence=np.nan,
        p_value=np.nan,
        visible=np.nan,
        version=made.get("semantic_version", "unknown"),
    )
    replicates, layers = None, ()
    if io.find(paths.results, "id_replicates.csv"):
        rows = io.read_table(paths.results / "id_replicates.csv")
        rows = rows[rows.quantity == "intrinsic_dimension"]
        if len(rows):
            layers, replicates = from_rows(rows)
    return Profile(ids.reset_index(drop=True), found, replicates, tuple(map(int, layers)))


def attempt(function: Callable, *arguments) -> tuple[object | None, str]:
    """What a function returns and "", or None and why it has nothing to return."""
    try:
        return function(*arguments), ""
    except UserError as error:
        return None, str(error)


def curve_of(table: pd.DataFrame, replicates: np.ndarray | None) -> Curve:
    """Label overlaps of one network at one k as a `Curve`.

    Parameters
    ----------
    table : DataFrame
        Columns layer, overlap and error, a row a layer.
    replicates : (19, 2, L) array or None
        Of the same layers. Without, the layers' errors count as independent.
    """
    columns = (table[name].to_numpy() for name in ("layer", "overlap", "error"))
    return curve_with_errors(*columns, replicates)


# ------------------------------------------------------------------------------------- scoreboard


def add_accuracies(
    board: pd.DataFrame,
    profile: Profile,
    n_blocks: int,
    one_nn: pd.Series,
    probes: pd.Series,
) -> pd.DataFrame:
    """The scoreboard with what two classifiers make of each choice.

    Parameters
    ----------
    board : DataFrame
        As `advice.scoreboard`.
    profile, n_blocks
        As for `advice.candidates`.
    one_nn : Series
        Accuracy of the nearest neighbour's label, layer -> share, of all layers.
    probes : Series
        Accuracy of a linear classifier, layer -> share, of some layers: NaN for the others.

    Returns
    -------
    DataFrame
        With columns kind ("layer", "random"), accuracy, probe, and accuracy_share, probe_share: of
        the highest in `one_nn` and in `probes`. A random layer has the mean over the layers behind
        the peak; a probe of it where all of them have one.
    """
    board = board.assign(kind=np.where(board.choice == RANDOM, "random", "layer"))
    behind = candidates(profile.ids, n_blocks, profile.found)
    for name, values in zip(SCORES, (one_nn, probes), strict=True):
        board[name] = board.layer.map(values)
        drawn = values.reindex(behind)
        of_random = drawn.mean() if drawn.notna().all() else np.nan
        board.loc[board.kind == "random", name] = of_random
        board[f"{name}_share"] = board[name] / values.max()
    return board


def add_rows(
    board: pd.DataFrame, others: Sequence[Mapping], best: float, best_scores: Mapping[str, float]
) -> pd.DataFrame:
    """The scoreboard with rows that are no layers of the network.

    Parameters
    ----------
    others
        A mapping each: choice, kind, overlap and, where known, accuracy and probe.
    best, best_scores
        The highest overlap over the layers, and the highest of each of the two accuracies.
    """
    rows = pd.DataFrame(others)
    rows["share"] = rows.overlap / best
    for name in SCORES:
        if name not in rows:
            rows[name] = np.nan
        rows[f"{name}_share"] = rows[name] / best_scores[name]
    return pd.concat([board, rows], ignore_index=True)


# ------------------------------------------------------------------------ the network and its input


@dataclass(frozen=True)
class Contest:
    """The best layer against the best of the input.

    layer, overlap: of the best layer; baseline, given: name and overlap of the best baseline;
    difference, error: layer less input; verdict: "yes" where the layer is above by more than two
    errors, "no" where it is below by as much, else "undecided".
    """

    layer: int
    overlap: float
    baseline: str
    given: float
    difference: float
    error: float
    verdict: str


def against_input(
    layers: pd.DataFrame,
    given: pd.DataFrame,
    layer_replicates: np.ndarray | None = None,
    given_replicates: np.ndarray | None = None,
) -> Contest:
    """Whether a network's best layer has more label overlap than the best of its input.

    Parameters
    ----------
    layers : DataFrame
        Columns layer, overlap, error: the network's, at one k.
    given : DataFrame
        Columns baseline, overlap, error: the input's, at the same k.
    layer_replicates, given_replicates
        (19, 2, rows) of both, for the error of the difference between two measurements of the
        same samples. Without, errors of both are added in quadrature.

    Notes
    -----
    The best of many layers is a little too good by chance, which favours the network.
    """
    i = int(layers.overlap.argmax())
    j = int(given.overlap.argmax())
    layer, baseline = layers.iloc[i], given.iloc[j]
    if layer_replicates is not None and given_replicates is not None:
        away, error = difference(
            layer.overlap, baseline.overlap, layer_replicates[..., i], given_replicates[..., j]
        )
    else:
        away = layer.overlap - baseline.overlap
        error = np.hypot(layer.error, baseline.error)
    verdict = "undecided"
    if abs(away) > CLEAR * error:
        verdict = "yes" if away > 0 else "no"
    return Contest(
        layer=int(layer.layer),
        overlap=float(layer.overlap),
        baseline=str(baseline.baseline),
        given=float(baseline.overlap),
        difference=float(away),
        error=float(error),
        verdict=verdict,
    )


# --------------------------------------------------------------------------------- ID and overlap


def joined(profile: Profile, overlaps: pd.DataFrame) -> pd.DataFrame:
    """IDs and label overlaps of the layers that have both: layer, depth, id, id_err, overlap,
    error.
    """
    both = profile.ids[["layer", "depth", "id", "id_err"]]
    both = both.merge(overlaps[["layer", "overlap", "error"]], on="layer").sort_values("layer")
    return both.dropna(subset=["id", "overlap"])  # a layer of mostly equal points has no ID


def related(
    profile: Profile,
    overlaps: pd.DataFrame,
    overlap_layers: Sequence[int] = (),
    overlap_replicates: np.ndarray | None = None,
) -> Relation:
    """Rank correlation of ID and label overlap over the layers, with both intervals of
    `advice.relation`.

    Parameters
    ----------
    overlaps : DataFrame
        Columns layer, overlap, error.
    overlap_layers, overlap_replicates
        Layers of the last axis of the replicates, (19, 2, L). Where these or the profile's are not
        known for a layer, the interval over samples is NaN.
    """
    both = joined(profile, overlaps)
    ids, values = both.id.to_numpy(), both.overlap.to_numpy()
    known = set(profile.replicate_layers) & set(map(int, overlap_layers))
    if overlap_replicates is None or profile.replicates is None or not known >= set(both.layer):
        return relation(ids, values)
    of_ids = [profile.replicate_layers.index(layer) for layer in both.layer]
    of_overlaps = [list(overlap_layers).index(layer) for layer in both.layer]
    return relation(
        ids, values, profile.replicates[..., of_ids], overlap_replicates[..., of_overlaps]
    )
