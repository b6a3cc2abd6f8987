"""Published curves against a run's: number by number, and claim by claim. A curve is rows of `COLUMNS` of one model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from georep_utils.geometry.scale_rules import semantic_layer
from georep_utils.io import REPOSITORY, read_json

RESULTS = REPOSITORY / "book/results"
COLUMNS = ["model", "quantity", "layer", "n_blocks", "k", "value", "error", "source"]
KEYS = ["model", "quantity", "layer", "k"]
OVERLAPS = {"next": "consecutive_overlap", "labels": "label_overlap"}


def tables(name: str, folder: str | Path = RESULTS) -> pd.DataFrame:
    """Rows of `name` of every run below `folder` that left it and a provenance.json, with run, n_blocks, n_samples."""
    found = []
    for path in sorted(Path(folder).glob(f"*/{name}")):
        if made := read_json(path.with_name("provenance.json")):
            known = {key: made[key] for key in ("n_blocks", "n_samples", "scale_rule")}
            found.append(pd.read_csv(path).assign(run=path.parent.name, **known))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def curves(rules: Mapping[str, str], folder: str | Path = RESULTS) -> pd.DataFrame:
    """Every run's curves, columns COLUMNS: quantity intrinsic_dimension (by the scale rule `rules` has for that run, else
    the run's own), label_overlap, consecutive_overlap; error: the estimate's, or at most sqrt(p (1 - p) / N) for overlaps.
    """
    parts, ids, overlaps = [], tables("id_profile.csv", folder), tables("overlaps.csv", folder)
    if len(ids):
        ids = ids[ids.rule == ids.run.map(rules).fillna(ids.scale_rule)]
        parts.append(
            ids.assign(quantity="intrinsic_dimension", k=np.nan, value=ids.id, error=ids.id_err, source=ids.rule)
        )
    if len(overlaps):
        kept = overlaps[(overlaps.network == "trained") & overlaps.other.isin(OVERLAPS)]
        error = np.sqrt(kept.overlap * (1 - kept.overlap) / kept.n_samples)
        parts.append(kept.assign(quantity=kept.other.map(OVERLAPS), value=kept.overlap, error=error, source="overlap"))
    return (
        pd.concat(parts, ignore_index=True).rename(columns={"run": "model"})[COLUMNS]
        if parts
        else pd.DataFrame(columns=COLUMNS)
    )


def compare(published: pd.DataFrame, ours: pd.DataFrame, errors: float = 3.0) -> pd.DataFrame:
    """Each published number beside ours of the same model, quantity, layer and k (both as `COLUMNS`): adds ours,
    ours_error, difference, tolerance and verdict "agrees", "differs" or "not run here".

    tolerance: the published error plus `errors` of our standard errors; 3, because two estimates of equal error differ by
    sqrt(2) of it by chance, so that one pair of equal ones in thirty falls outside.
    """
    ours = ours[[*KEYS, "value", "error"]].rename(columns={"value": "ours", "error": "ours_error"})
    joined = published.assign(k=published.k.fillna(0)).merge(
        ours.assign(k=ours.k.astype(float).fillna(0)), "left", KEYS, validate="one_to_one"
    )
    joined["difference"] = joined.ours - joined.value
    joined["tolerance"] = joined.error.fillna(0) + errors * joined.ours_error.fillna(0)
    agrees = np.where(joined.difference.abs() <= joined.tolerance, "agrees", "differs")
    joined["verdict"] = np.where(joined.ours.isna(), "not run here", agrees)
    return joined.assign(k=joined.k.replace(0, np.nan))


def verdicts(compared: pd.DataFrame, share: float = 0.9, max_tolerance: float = 0.1) -> pd.DataFrame:
    """`compare`'s rows, a row a model: numbers, agrees, differs, not run here, tolerance (median, over the curve's height) and verdict.

    Of the numbers that were run, `share` must agree; with a tolerance above max_tolerance they prove nothing either way.
    """
    table = pd.crosstab(compared.model, compared.verdict).reindex(compared.model.unique())
    table = table.reindex(columns=["agrees", "differs", "not run here"], fill_value=0)
    ran = compared[compared.verdict != "not run here"]
    height = compared.groupby(["model", "quantity"]).value.transform("max").loc[ran.index]
    table["tolerance"] = (ran.tolerance / height).groupby(ran.model).median()
    table.insert(0, "numbers", table.agrees + table.differs + table["not run here"])
    whole = np.where(table["not run here"] > 0, "reproduced as far as it ran", "reproduced")
    told = np.where(table.agrees >= share * (table.agrees + table.differs), whole, "not reproduced")
    told = np.where(table.tolerance > max_tolerance, "too uncertain to tell", told)
    return (
        table.assign(verdict=np.where(table["not run here"] == table.numbers, "not run here", told))
        .rename_axis("model", axis=0)
        .rename_axis(None, axis=1)
    )


def best_layers(labels: pd.DataFrame, errors: float = 2.0) -> np.ndarray:
    """The layer of highest value, and those that can't be told from it: within `errors` of both standard errors.

    labels: rows layer, value, error of one curve, layers 0 to L. A flat top has many best layers, its maximum is chance.
    """
    best, error = labels.loc[labels.value.idxmax()], labels.error.fillna(0)
    level = labels.value >= best.value - errors * np.hypot(error, error[best.name])
    return np.unique([best.layer, *labels.layer[level]]).astype(int)


def claims(
    model: pd.DataFrame, dynamics: pd.DataFrame | None = None, k: int = 10, prominence: float = 0.05, near: float = 0.1
) -> dict:
    """The paper's statements on the curves of one model (rows of `COLUMNS`): {statement: True, False, or None where it was not measured}.

    dynamics: rows checkpoint, depth, id of its checkpoints, untrained first. near: what counts as close, in relative depth.
    """
    n, holds = int(model.n_blocks.iloc[0]), dict.fromkeys(STATEMENTS)
    ids = (
        model[model.quantity == "intrinsic_dimension"]
        .sort_values("layer")
        .rename(columns={"value": "id", "error": "id_err"})
    )
    found = semantic_layer(ids.fillna({"id_err": 0.0}), prominence) if len(ids) else None
    by_label = model[(model.layer <= n) & (model.quantity == "label_overlap")]
    overlaps = by_label.pivot(index="layer", columns="k", values="value")
    following = (
        model[(model.layer < n) & (model.quantity == "consecutive_overlap") & (model.k == k)].set_index("layer").value
    )
    if found:
        holds["peak"] = found.peak_layer is not None and 0 < found.peak_layer < n
        holds["after"] = found.kind != "none"
    if k in overlaps:
        labels = overlaps[k]
        holds["inside"] = bool(labels.max() > max(labels[0], labels[n]) + 1e-9)
        if found and found.layer is not None:
            step = np.diff(labels.index).max() / 2
            off = np.abs(best_layers(by_label[by_label.k == k]) - found.layer).min()
            holds["near"] = bool(off <= max(near * n, step))
            holds["keeps"] = bool(np.interp(found.layer, labels.index, labels) >= (1 - near) * labels.max())
        if overlaps.shape[1] > 1:
            holds["k"] = bool(overlaps.corr()[k].min() >= 1 - near)
    if len(following):
        depth = following.index / n
        settled = following[(depth >= 0.4) & (depth < 0.9)].mean()
        holds["settles"], holds["collapses"] = (
            bool(following[depth < 0.4].mean() < settled),
            bool(following[depth >= 0.9].mean() < settled),
        )
    if dynamics is not None and len(dynamics):
        spread = dynamics[dynamics.depth <= 1].groupby("checkpoint", sort=False).id.agg(lambda v: np.ptp(v) / v.mean())
        holds["training"] = bool(spread.iloc[0] < spread.iloc[-1] / 2)
    return {STATEMENTS[key]: value for key, value in holds.items()}


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
