"""The published numbers beside those of this book's runs.

Each run leaves tables below `book/results/<run>/`. `tables` puts one kind of table of all runs
together; `curves` brings them to the form of the published curves, rows of `published.COLUMNS`.

`compare` sets number against number. Two numbers are about the same thing when model, quantity,
layer and k are equal: a run counts for a model of the paper when it has its name. They agree when
they differ by no more than the published error and a few of our standard errors together.

`verdicts` counts a model's numbers. Some of many fall outside by chance, so that a model is
reproduced when a stated share of them agrees. Wide errors make everything agree: where the
tolerance is large against the height of the curve, the verdict is "too uncertain to tell".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from georep_utils import io
from georep_utils.geometry import resampling
from georep_utils.paper.published import COLUMNS

KEYS = ["model", "quantity", "layer", "k"]
QUANTITIES = {"next": "consecutive_overlap", "labels": "label_overlap"}
REPLICATES = ["id_replicates.csv", "overlap_replicates.csv"]
RULE_COLUMNS = ["N/n", "correlation", "height", "highest ID at layer"]
OUTCOMES = ["agrees", "differs", "not run here"]


def tables(name: str, folder: str | Path | None = None) -> pd.DataFrame:
    """One table of every run that left it.

    Parameters
    ----------
    name : str
        File name, such as "id_profile.csv".
    folder : path, optional
        Folder of the runs' folders; book/results by default. Those without a provenance.json are
        unfinished, and left out.

    Returns
    -------
    DataFrame
        The rows, with columns run, n_blocks, n_samples and scale_rule; without runs, no rows.
    """
    folder = io.root() / "book/results" if folder is None else Path(folder)
    parts = []
    for path in io.find(folder, f"*/{name}"):
        provenance = path.with_name("provenance.json")
        made = io.read_json(provenance)
        if made:
            io.note_read(provenance)
            about = {key: made[key] for key in ("n_blocks", "n_samples", "scale_rule")}
            parts.append(io.read_table(path).assign(run=path.parent.name, **about))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def measured_runs(rules: Mapping[str, str], folder: str | Path | None = None) -> pd.DataFrame:
    """The runs with an ID profile, in the order of their names.

    Returns
    -------
    DataFrame
        Index run; N (samples), blocks, and rule: the scale rule by which `curves` reads the run.
    """
    profiles = tables("id_profile.csv", folder)
    if profiles.empty:
        return pd.DataFrame(columns=["N", "blocks", "rule"]).rename_axis("run")
    runs = profiles.drop_duplicates("run")
    runs = runs.assign(N=runs.n_samples, blocks=runs.n_blocks, rule=_rule_of(runs, rules))
    return runs.set_index("run")[["N", "blocks", "rule"]]


def _rule_of(profiles: pd.DataFrame, rules: Mapping[str, str]) -> pd.Series:
    """The scale rule by which each row's run is read."""
    return profiles.run.map(rules).fillna(profiles.scale_rule)


def curves(rules: Mapping[str, str], folder: str | Path | None = None) -> pd.DataFrame:
    """The curves of every run, in the form of the published ones.

    Parameters
    ----------
    rules : mapping
        {run: scale rule}; a run that is not named is read by its own rule.
    folder : path, optional
        As for `tables`.

    Returns
    -------
    DataFrame
        Rows of `COLUMNS`: intrinsic_dimension, label_overlap, consecutive_overlap. An overlap
        whose table has no error gets sqrt(p (1 - p) / N), which is its largest: each of N points
        contributes a number between 0 and 1 of mean p.
    """
    parts = [
        _dimension_curves(tables("id_profile.csv", folder), rules),
        _overlap_curves(tables("overlaps.csv", folder)),
    ]
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    whole = pd.concat(parts, ignore_index=True)
    return whole.rename(columns={"run": "model"})[COLUMNS]


def _dimension_curves(profiles: pd.DataFrame, rules: Mapping[str, str]) -> pd.DataFrame:
    if profiles.empty:
        return profiles
    kept = profiles[profiles.rule == _rule_of(profiles, rules)]
    return kept.assign(
        quantity="intrinsic_dimension",
        k=np.nan,
        value=kept.id,
        error=kept.id_err,
        source=kept.rule,
    )


def _overlap_curves(overlaps: pd.DataFrame) -> pd.DataFrame:
    if overlaps.empty:
        return overlaps
    kept = overlaps[(overlaps.network == "trained") & overlaps.other.isin(QUANTITIES)]
    error = np.sqrt(kept.overlap * (1 - kept.overlap) / kept.n_samples)
    if "error" in kept:
        error = kept.error.fillna(error)
    return kept.assign(
        quantity=kept.other.map(QUANTITIES), value=kept.overlap, error=error, source="overlap"
    )


def replicates(
    run: str, folder: str | Path | None = None
) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]:
    """What each curve of a run would have been in the halves of its samples.

    Parameters
    ----------
    run : str
        Name of the run.
    folder : path, optional
        As for `tables`.

    Returns
    -------
    dict
        {(quantity, k): (layers (L,), replicates (divisions, 2, L))}, for `resampling.jackknife`;
        k is 0 for intrinsic dimensions. Layers that have no value in some half are left out;
        without tables there is nothing.
    """
    folder = io.root() / "book/results" if folder is None else Path(folder)
    result = {}
    for name in REPLICATES:
        for path in io.find(folder, f"{run}/{name}"):
            table = io.read_table(path)
            k = table.k if "k" in table else pd.Series(np.nan, table.index)
            for (quantity, number), rows in table.groupby([table.quantity, k.fillna(0)]):
                incomplete = rows.layer[rows.value.isna()].unique()
                complete = rows[~rows.layer.isin(incomplete)]
                if len(complete):
                    result[quantity, int(number)] = resampling.from_rows(complete)
    return result


def rule_agreement(profiles: pd.DataFrame, reference: str = "paper_text") -> pd.DataFrame:
    """How the profile of each run changes with the scale rule.

    Parameters
    ----------
    profiles : DataFrame
        Rows of every run's id_profile.csv, from `tables`.
    reference : str
        The rule that the others are compared with.

    Returns
    -------
    DataFrame
        Index run and rule; N/n, correlation (over layers 0 to L, with the reference), height (mean
        over the reference's mean) and layer of the highest ID.
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
                ids[rule].corr(base),
                ids[rule].mean() / base.mean(),
                ids[rule].idxmax(),
            ]
    index = pd.MultiIndex.from_tuples(rows, names=["run", "rule"])
    return pd.DataFrame(list(rows.values()), index=index, columns=RULE_COLUMNS)


def compare(published: pd.DataFrame, ours: pd.DataFrame, errors: float = 3.0) -> pd.DataFrame:
    """Each published number beside ours of the same model, quantity, layer and k.

    Parameters
    ----------
    published, ours : DataFrame
        Rows of `COLUMNS`.
    errors : float
        How many of our standard errors a number may be off. Three, because two estimates of equal
        error differ by more than three of it in one case of thirty by chance alone.

    Returns
    -------
    DataFrame
        The published rows with ours, ours_error, difference, tolerance (the published error plus
        `errors` of ours) and verdict: "agrees", "differs" or "not run here".
    """
    measured = ours[[*KEYS, "value", "error"]]
    measured = measured.rename(columns={"value": "ours", "error": "ours_error"})
    # A dimension has no k. NaN equals nothing in a join, so 0 stands for it here.
    joined = published.assign(k=published.k.fillna(0)).merge(
        measured.assign(k=measured.k.astype(float).fillna(0)),
        how="left",
        on=KEYS,
        validate="one_to_one",
    )
    joined["difference"] = joined.ours - joined.value
    joined["tolerance"] = joined.error.fillna(0) + errors * joined.ours_error.fillna(0)
    within = joined.difference.abs() <= joined.tolerance
    outcome = np.where(within, "agrees", "differs")
    joined["verdict"] = np.where(joined.ours.isna(), "not run here", outcome)
    return joined.assign(k=joined.k.replace(0, np.nan))


def agreement(compared: pd.DataFrame) -> pd.DataFrame:
    """How many numbers of each model and quantity agree, differ, or were not run.

    Parameters
    ----------
    compared : DataFrame
        Rows of `compare`.
    """
    by = ["model", "quantity"]
    counts = compared.groupby(by, sort=False).verdict.value_counts().unstack(fill_value=0)
    counts = counts.reindex(columns=OUTCOMES, fill_value=0).rename_axis(columns=None)
    distance = compared.difference.abs()
    counts["largest difference"] = distance.groupby([compared[name] for name in by]).max()
    return counts


def verdicts(
    compared: pd.DataFrame, share: float = 0.9, max_tolerance: float = 0.1
) -> pd.DataFrame:
    """What was reproduced of each model.

    Parameters
    ----------
    compared : DataFrame
        Rows of `compare`.
    share : float
        Of a model's numbers that were run, this share must agree.
    max_tolerance : float
        With a median tolerance above this share of the curve's height, numbers prove nothing.

    Returns
    -------
    DataFrame
        Index model; numbers, agrees, differs, not run here, tolerance (median, over the height of
        the curve) and verdict: "reproduced", "reproduced as far as it ran", "not reproduced", "too
        uncertain to tell" or "not run here".
    """
    models = pd.Index(compared.model.unique(), name="model")
    counts = pd.crosstab(compared.model, compared.verdict)
    counts = counts.reindex(index=models, columns=OUTCOMES, fill_value=0).rename_axis(columns=None)
    n_run = counts.agrees + counts.differs
    heights = compared.groupby(["model", "quantity"]).value.transform("max")
    ran = compared[compared.verdict != "not run here"]
    relative = ran.tolerance / heights.loc[ran.index]
    tolerance = relative.groupby(ran.model).median().reindex(models)
    outcome = [
        _verdict(run, numbers, agrees, wide, share)
        for run, numbers, agrees, wide in zip(
            n_run,
            n_run + counts["not run here"],
            counts.agrees,
            tolerance > max_tolerance,
            strict=True,
        )
    ]
    counts.insert(0, "numbers", n_run + counts["not run here"])
    return counts.assign(tolerance=tolerance, verdict=outcome)


def _verdict(n_run: int, n_numbers: int, n_agree: int, uncertain: bool, share: float) -> str:
    if n_run == 0:
        return "not run here"
    if uncertain:
        return "too uncertain to tell"
    if n_agree < share * n_run:
        return "not reproduced"
    return "reproduced" if n_run == n_numbers else "reproduced as far as it ran"
