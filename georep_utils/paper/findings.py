"""The paper's findings as tests on curves.

What the paper concludes is not a number but a shape: a peak, a minimum after it, labels that are
best respected near that minimum. Each statement here is a test that can fail, and the same code is
applied to the published curves and to those of this book. A statement about something that was not
measured is neither true nor false.

`advice` applies what the paper recommends to practitioners: choose a layer by the intrinsic
dimension alone. It says how good the chosen layer is by the labels.

Thresholds are arguments. "Near" is a distance in relative depth and, where label overlaps are
known at a few layers only, at least half the distance between these.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from georep_utils.geometry.semantic_layer import SemanticLayer, semantic_layer

STATEMENTS = {
    "peak": "the ID rises to a peak inside the network",
    "after": "a minimum or plateau follows the peak",
    "inside": "labels are best respected inside the network",
    "near": "the layer chosen by the ID is near a best one by labels",
    "keeps": "the chosen layer keeps nine tenths of the best label overlap",
    "k": "k changes the height of the label overlap, not its shape",
    "settles": "consecutive layers agree less in the first 40 % than in the next 50 %",
    "collapses": "consecutive layers agree less in the last 10 % again",
    "training": "the untrained profile is less than half as varied",
}
ADVICE = {  # columns of `advice` and their types; a missing number is NaN
    "model": str,
    "feature": str,
    "peak": float,
    "chosen": float,
    "low": float,
    "high": float,
    "support": float,
    "depth": float,
    "best_low": float,
    "best_high": float,
    "share_kept": float,
    "off_by": float,
    "best_in_range": object,
}
RULE_COLUMNS = ["N/n", "correlation", "height", "layer of the peak", "layers with a plateau"]


def best_layers(labels: pd.DataFrame, errors: float = 2.0) -> np.ndarray:
    """The layer of highest label overlap, and those that can't be told from it.

    A flat top has many best layers; which of them has the maximum is chance.

    Parameters
    ----------
    labels : DataFrame
        Rows layer, value, error of one curve, layers 0 to L.
    errors : float
        Two values differ when they do by more than this many of both standard errors.
    """
    best = labels.loc[labels.value.idxmax()]
    error = labels.error.fillna(0)
    both = np.hypot(error, error[best.name])
    level = labels.value >= best.value - errors * both
    return np.unique([best.layer, *labels.layer[level]]).astype(int)


def chosen_layer(model: pd.DataFrame, prominence: float = 0.05) -> SemanticLayer | None:
    """What the ID profile of one model singles out; None where there is no profile.

    Parameters
    ----------
    model : DataFrame
        Rows of `published.COLUMNS` of one model.
    """
    ids = model[model.quantity == "intrinsic_dimension"].sort_values("layer")
    if ids.empty:
        return None
    ids = ids.rename(columns={"value": "id", "error": "id_err"})
    return semantic_layer(ids.fillna({"id_err": 0.0}), prominence)


def claims(
    model: pd.DataFrame,
    dynamics: pd.DataFrame | None = None,
    k: int = 10,
    prominence: float = 0.05,
    near: float = 0.1,
) -> dict[str, bool | None]:
    """The paper's statements, tested on the curves of one model.

    Parameters
    ----------
    model : DataFrame
        Rows of `published.COLUMNS` of one model.
    dynamics : DataFrame, optional
        Rows checkpoint, depth, id of its checkpoints, the untrained one first.
    k : int
        Number of neighbours of the overlaps.
    prominence : float
        As for `semantic_layer`.
    near : float
        What counts as close, in relative depth, and as a small loss.

    Returns
    -------
    dict
        {statement: True, False, or None where it was not measured}, in the order of `STATEMENTS`.
    """
    n_blocks = int(model.n_blocks.iloc[0])
    found = chosen_layer(model, prominence)
    holds: dict[str, bool | None] = dict.fromkeys(STATEMENTS)
    if found is not None:
        holds["peak"] = found.peak_layer is not None and 0 < found.peak_layer < n_blocks
        holds["after"] = found.kind != "none"
    holds |= _about_labels(model, n_blocks, found, k, near)
    holds |= _about_consecutive_layers(model, n_blocks, k)
    if dynamics is not None and len(dynamics):
        holds["training"] = _untrained_is_flatter(dynamics)
    return {STATEMENTS[key]: value for key, value in holds.items()}


def _about_labels(
    model: pd.DataFrame, n_blocks: int, found: SemanticLayer | None, k: int, near: float
) -> dict[str, bool]:
    rows = model[(model.layer <= n_blocks) & (model.quantity == "label_overlap")]
    overlaps = rows.pivot(index="layer", columns="k", values="value")
    if k not in overlaps:
        return {}
    labels = overlaps[k]
    ends = max(labels.iloc[0], labels.iloc[-1])
    holds = {"inside": bool(labels.max() > ends + 1e-9)}
    if found is not None and found.layer is not None:
        # Where overlaps are known every few layers, no layer can be nearer than half of that.
        half_step = np.diff(labels.index).max() / 2
        distance = np.abs(best_layers(rows[rows.k == k]) - found.layer).min()
        at_chosen = np.interp(found.layer, labels.index, labels)
        holds["near"] = bool(distance <= max(near * n_blocks, half_step))
        holds["keeps"] = bool(at_chosen >= (1 - near) * labels.max())
    if overlaps.shape[1] > 1:
        holds["k"] = bool(overlaps.corr()[k].min() >= 1 - near)
    return holds


def _about_consecutive_layers(model: pd.DataFrame, n_blocks: int, k: int) -> dict[str, bool]:
    of_k = (model.quantity == "consecutive_overlap") & (model.k == k)
    following = model[of_k & (model.layer < n_blocks)]
    if following.empty:
        return {}
    depth = following.layer / n_blocks
    settled = following.value[(depth >= 0.4) & (depth < 0.9)].mean()
    return {
        "settles": bool(following.value[depth < 0.4].mean() < settled),
        "collapses": bool(following.value[depth >= 0.9].mean() < settled),
    }


def _untrained_is_flatter(dynamics: pd.DataFrame) -> bool:
    layers = dynamics[dynamics.depth <= 1]
    ids = layers.groupby("checkpoint", sort=False).id
    variation = (ids.max() - ids.min()) / ids.mean()
    return bool(variation.iloc[0] < variation.iloc[-1] / 2)


def advice(curves: pd.DataFrame, k: int = 10, prominence: float = 0.05) -> pd.DataFrame:
    """The layer that each ID profile singles out, beside the best ones by labels.

    A profile that singles out nothing has its row too: advice that can't be followed is a result.

    Parameters
    ----------
    curves : DataFrame
        Rows of `published.COLUMNS`, of any number of models.
    k : int
        Number of neighbours of the label overlap.
    prominence : float
        As for `semantic_layer`.

    Returns
    -------
    DataFrame
        A row a model: feature ("minimum", "plateau" or "none"), peak, chosen (layers), low to high
        (layers that the profile can't tell from the chosen one), support (share of redrawn profiles
        with such a feature), depth (relative, of the chosen layer), best_low to best_high (best
        layers by labels), share_kept (label overlap at the chosen layer, over the highest), off_by
        (distance to the nearest best layer, in relative depth) and best_in_range (whether one of
        them lies in low to high).
    """
    rows = [_advice(part, k, prominence) for _, part in curves.groupby("model", sort=False)]
    return pd.DataFrame(rows, columns=list(ADVICE)).astype(ADVICE)


def _advice(model: pd.DataFrame, k: int, prominence: float) -> dict:
    n_blocks = int(model.n_blocks.iloc[0])
    found = chosen_layer(model, prominence)
    row = {"model": model.model.iloc[0], "feature": "not measured"}
    if found is not None:
        row |= {
            "feature": found.kind,
            "peak": found.peak_layer,
            "chosen": found.layer,
            "low": found.low,
            "high": found.high,
            "support": found.support,
        }
        if found.layer is not None:
            row["depth"] = found.layer / n_blocks
    of_k = (model.quantity == "label_overlap") & (model.k == k)
    labels = model[of_k & (model.layer <= n_blocks)]
    if labels.empty:
        return row
    best = best_layers(labels)
    row |= {"best_low": best.min(), "best_high": best.max()}
    if found is not None and found.layer is not None:
        at_chosen = np.interp(found.layer, labels.layer, labels.value)
        row |= {
            "share_kept": at_chosen / labels.value.max(),
            "off_by": np.abs(best - found.layer).min() / n_blocks,
            "best_in_range": bool(np.any((best >= found.low) & (best <= found.high))),
        }
    return row


def rule_agreement(profiles: pd.DataFrame, reference: str = "paper_text") -> pd.DataFrame:
    """How the profile of each run changes with the scale rule.

    Parameters
    ----------
    profiles : DataFrame
        Rows of every run's id_profile.csv (`comparison.tables`).
    reference : str
        The rule that the others are compared with.

    Returns
    -------
    DataFrame
        Index run and rule; N/n, correlation (over layers 0 to L, with the reference), height (mean
        over the reference's mean), layer of the peak, layers with a plateau (share of all).
    """
    if profiles.empty:
        return pd.DataFrame(columns=RULE_COLUMNS)
    rows = {}
    for run, part in profiles.groupby("run"):
        layers = part[part.depth <= 1]
        ids = layers.pivot(index="layer", columns="rule", values="id")
        base = ids.get(reference, pd.Series(np.nan, ids.index))  # few samples lack the rule
        for rule, whole in part.groupby("rule"):
            rows[run, rule] = [
                whole.scale.iloc[0],
                np.corrcoef(ids[rule], base)[0, 1],
                ids[rule].mean() / base.mean(),
                ids[rule].idxmax(),
                whole.plateau.mean(),
            ]
    index = pd.MultiIndex.from_tuples(rows, names=["run", "rule"])
    return pd.DataFrame(list(rows.values()), index=index, columns=RULE_COLUMNS)
