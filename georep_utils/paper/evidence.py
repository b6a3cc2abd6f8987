"""What is known of each network, brought to one form and judged once.

The paper's findings are tested on two kinds of evidence: curves that the authors published, and the
tables of this book's runs. `of_paper` and `of_runs` read both into `Evidence`; what follows no
longer asks where it came from.

A run brings more than its curves: replicates, from which errors and covariances between layers
follow, profiles of untrained networks, and checkpoints. Tables that an earlier version left lack
some of this. Such a run is not judged on less than the others; `of_runs` names it and says what to
do.

Runs that read the same weights are one network. `once` keeps the one with the most samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from georep_utils import io
from georep_utils.geometry.resampling import jackknife
from georep_utils.io import UserError
from georep_utils.paper import advice, comparison, findings
from georep_utils.paper.published import FAMILIES

PAPER = "the paper"
BOOK = "this book"
IDS = "intrinsic_dimension"
NEEDED = {"family", "generative", "weights"}  # of provenance.json
VERDICT_STYLES = {  # of cells in a table; readable on light and on dark pages
    "yes": "background-color: #cfe8cf; color: #123a16",
    "partly": "background-color: #fbeebb; color: #4a3a00",
    "no": "background-color: #f5cfca; color: #5c130c",
    "not testable": "background-color: #e6e6e6; color: #444444",
}
VERDICTS = [
    "model",
    "by",
    "finding",
    "statement",
    "verdict",
    "number",
    "low",
    "high",
    "what_would_overturn",
    "weights",
    "n_samples",
]


@dataclass(frozen=True)
class Evidence:
    """What was measured of one network.

    Attributes
    ----------
    model : str
        Its name: that of the run, or of the paper's model.
    by : str
        `PAPER` or `BOOK`.
    family : str
        "image", "protein" or "text".
    generative : bool
        Whether it was trained to continue its input.
    weights : str
        Identity of the weights: the same for runs that read the same network.
    n_samples : float
        NaN for published curves.
    curves : DataFrame
        Rows of `published.COLUMNS`.
    replicates : mapping
        {(quantity, k): (divisions, 2, L)} for the rows of `curves` in layer order; k is 0 for IDs.
    untrained : DataFrame or None
        Columns control, layer, id, id_err.
    dynamics : DataFrame or None
        Columns progress, layer, id, id_err.
    """

    model: str
    by: str
    family: str
    generative: bool
    weights: str
    n_samples: float
    curves: pd.DataFrame
    replicates: Mapping[tuple[str, int], np.ndarray]
    untrained: pd.DataFrame | None = None
    dynamics: pd.DataFrame | None = None

    @property
    def n_blocks(self) -> int:
        return int(self.curves["n_blocks"].iloc[0])

    @property
    def groups(self) -> int | None:
        """Number of groups behind the replicates."""
        for of_curve in self.replicates.values():
            return len(of_curve) + 1
        return None

    def covariance(self, quantity: str, k: int = 0) -> np.ndarray | None:
        """Covariance between the layers of a curve; None for curves without replicates."""
        of_curve = self.replicates.get((quantity, k))
        return None if of_curve is None else jackknife(of_curve)[1]

    def profile(self) -> findings.Profile | None:
        return findings.profile_of(self.curves, self.covariance(IDS), self.groups)

    def labels(self, k: int) -> advice.Curve | None:
        covariance = self.covariance("label_overlap", k)
        return findings.curve_of(self.curves, "label_overlap", k, covariance, self.groups)


# ----------------------------------------------------------------------------------------- reading


def of_paper(curves: pd.DataFrame, weights: Mapping[str, str] | None = None) -> list[Evidence]:
    """The published curves, a network each.

    Parameters
    ----------
    curves : DataFrame
        Rows of `published.COLUMNS`.
    weights : mapping, optional
        Identity of a model's weights, where a run of this book has read them.
    """
    weights = weights or {}
    result = []
    for model, rows in curves.groupby("model", sort=False):
        family = next(family for start, family in FAMILIES.items() if model.startswith(start))
        identity = weights.get(model, f"as published: {model}")
        result.append(Evidence(model, PAPER, family, family == "image", identity, np.nan, rows, {}))
    return result


def of_runs(
    rules: Mapping[str, str] | None = None, folder: str | Path | None = None
) -> tuple[list[Evidence], dict[str, str]]:
    """The runs of this book, and why some of them can't be judged.

    Parameters
    ----------
    rules, folder
        As for `comparison.curves`.

    Returns
    -------
    evidence : list of Evidence
        In the order of the runs' names.
    left_out : dict
        {run: what it lacks and what to do}.
    """
    rules = rules or {}
    curves = comparison.curves(rules, folder)
    controls = comparison.tables("id_controls.csv", folder)
    dynamics = comparison.tables("training_dynamics.csv", folder)
    base = io.root() / "book/results" if folder is None else Path(folder)
    evidence = []
    left_out = {}
    for run, rows in curves.groupby("model", sort=False):
        about = io.read_object(base / run / "provenance.json")
        try:
            replicates = comparison.replicates(run, folder)
            _check(run, about, replicates)
        except UserError as error:
            left_out[run] = str(error)
            continue
        if rules.get(run, about["scale_rule"]) != about["scale_rule"]:
            # The replicates belong to the run's own rule; another has its own errors only.
            replicates = {key: value for key, value in replicates.items() if key[0] != IDS}
        rows, replicates = _aligned(rows, replicates)
        evidence.append(
            Evidence(
                model=run,
                by=BOOK,
                family=about["family"],
                generative=bool(about["generative"]),
                weights=about["weights"],
                n_samples=about["n_samples"],
                curves=rows,
                replicates=replicates,
                untrained=_untrained(controls, run),
                dynamics=with_progress(_of_run(dynamics, run)),
            )
        )
    return evidence, left_out


def _check(run: str, about: Mapping, replicates: Mapping) -> None:
    """UserError for what a run's tables lack."""
    again = f"run it again (python -m georep_utils run {run})"
    if not NEEDED <= set(about):
        raise UserError(f"made by an earlier version: {again}")
    if (IDS, 0) not in replicates:
        raise UserError(f"left no replicates of its IDs, which errors are read from: {again}")
    if about["family"] not in findings.FAMILIES:
        known = ", ".join(findings.FAMILIES)
        raise UserError(f"its family is {about['family']!r}: the statements are about {known}")


def _of_run(table: pd.DataFrame, run: str) -> pd.DataFrame:
    return table if table.empty else table[table["run"] == run]


def _untrained(controls: pd.DataFrame, run: str) -> pd.DataFrame | None:
    rows = _of_run(controls, run)
    if rows.empty:
        return None
    return rows[rows["control"].astype(str).str.startswith("untrained")]


def _aligned(
    curves: pd.DataFrame, replicates: Mapping[tuple[str, int], tuple[np.ndarray, np.ndarray]]
) -> tuple[pd.DataFrame, dict[tuple[str, int], np.ndarray]]:
    """Rows and replicates of the same layers: a curve without replicates at some layer (the logits,
    say) loses that layer.
    """
    curves = curves.sort_values("layer")
    k = curves["k"].fillna(0)
    parts = []
    aligned = {}
    for (quantity, number), rows in curves.groupby([curves["quantity"], k], sort=False):
        if (quantity, number) in replicates:
            layers, values = replicates[quantity, number]
            rows = rows[rows["layer"].isin(layers)]
            aligned[quantity, int(number)] = values[..., np.isin(layers, rows["layer"])]
        parts.append(rows)
    return pd.concat(parts, ignore_index=True), aligned


def with_progress(dynamics: pd.DataFrame) -> pd.DataFrame | None:
    """Checkpoints with the share of the training behind them; None where their names don't tell.

    A name tells by being "untrained", a fraction such as 1/4, or a number of steps where the last
    one's is a number too. The last checkpoint is the end of the training.
    """
    if dynamics.empty:
        return None
    if "progress" in dynamics:
        return dynamics
    names = dynamics["checkpoint"].astype(str)
    last = names.iloc[-1]
    progress = {name: _progress(name, last) for name in names.unique()}
    if None in progress.values():
        return None
    return dynamics.assign(progress=names.map(progress).astype(float))


def _progress(name: str, last: str) -> float | None:
    if name == last:
        return 1.0
    if name == "untrained":
        return 0.0
    try:
        value = Fraction(name)
        if "/" in name:
            return float(value)
        return float(value / Fraction(last))
    except (ValueError, ZeroDivisionError):
        return None


def once(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Of each set of weights the evidence with the most samples; published curves give way to a
    run.
    """
    best: dict[str, Evidence] = {}
    for one in evidence:
        known = best.get(one.weights)
        if known is None or np.nan_to_num(one.n_samples) > np.nan_to_num(known.n_samples):
            best[one.weights] = one
    return [one for one in evidence if best[one.weights] is one]


# ----------------------------------------------------------------------------------------- judging


def judge(evidence: Sequence[Evidence], k: int = 10) -> tuple[pd.DataFrame, dict[str, str]]:
    """The verdict of every network on every statement.

    Returns
    -------
    verdicts : DataFrame
        Columns `VERDICTS`; n_samples is missing for published curves.
    left_out : dict
        {model: why its curves can't be judged}.
    """
    parts = [pd.DataFrame(columns=VERDICTS)]
    left_out = {}
    for one in evidence:
        try:
            verdicts = _judge(one, k)
        except UserError as error:
            left_out[one.model] = str(error)
            continue
        parts.append(findings.table({one.model: verdicts}).assign(**_facts(one))[VERDICTS])
    kept = [part for part in parts if len(part)] or parts
    return pd.concat(kept, ignore_index=True), left_out


def _judge(one: Evidence, k: int) -> list[findings.Verdict]:
    numbers = {IDS: 0, "label_overlap": k, "consecutive_overlap": k}
    covariances = {quantity: one.covariance(quantity, at) for quantity, at in numbers.items()}
    return findings.judge(
        one.curves,
        one.family,
        k,
        {quantity: matrix for quantity, matrix in covariances.items() if matrix is not None},
        one.groups,
        one.untrained,
        one.dynamics,
        one.generative,
    )


def _facts(one: Evidence) -> dict[str, object]:
    return {"by": one.by, "weights": one.weights, "n_samples": one.n_samples}


def together(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The verdict of every network on each of the four findings.

    Parameters
    ----------
    verdicts : DataFrame
        Of `judge`.

    Returns
    -------
    DataFrame
        Columns model, by, finding ("1" to "4"), verdict, weights, n_samples.
    """
    rows = []
    for (by, model), part in verdicts.groupby(["by", "model"], sort=False):
        fields = ["finding", "verdict", "number", "low", "high", "what_would_overturn"]
        statements = [findings.Verdict(*row) for row in part[fields].itertuples(index=False)]
        about = {
            "model": model,
            "by": by,
            "weights": part["weights"].iloc[0],
            "n_samples": part["n_samples"].iloc[0],
        }
        for finding, verdict in findings.together(statements).items():
            rows.append(about | {"finding": finding, "verdict": verdict})
    columns = ["model", "by", "finding", "verdict", "weights", "n_samples"]
    return pd.DataFrame(rows, columns=columns)


def words(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The verdict table: a row for each finding and, where they are among the rows, below it each
    of its statements; a column for each network.

    Parameters
    ----------
    verdicts : DataFrame
        Of `judge`, of `together`, or of both, one below the other.

    Returns
    -------
    DataFrame
        Index finding ("1. ..." or "1.1 ..."); columns (by, model); words.
    """
    names = {key: f"{key}. {text}" for key, text in findings.FINDINGS.items()}
    names |= {key: f"{key} {text}" for key, text in findings.STATEMENTS.items()}
    order = [names[key] for key in sorted(set(verdicts["finding"]))]
    networks = list(dict.fromkeys(zip(verdicts["by"], verdicts["model"], strict=True)))
    table = verdicts.assign(finding=verdicts["finding"].map(names)).pivot(
        index="finding", columns=["by", "model"], values="verdict"
    )
    columns = pd.MultiIndex.from_tuples(networks, names=["by", "model"]) if networks else []
    return table.reindex(index=order, columns=columns)


def verdict_table(table: pd.DataFrame) -> pd.io.formats.style.Styler:
    """A table of verdicts in their colours: a row a finding, in bold, or a statement of one.

    Parameters
    ----------
    table : DataFrame
        Words that are keys of `VERDICT_STYLES`; index: names such as "1. a finding" and
        "1.1 a statement".
    """
    weights = {True: "font-weight: bold", False: "font-weight: normal"}
    wrapped = "white-space: normal; min-width: 13rem; text-align: left"
    shown = table.style.map(VERDICT_STYLES.__getitem__)
    shown = shown.map_index(lambda name: weights[name.partition(" ")[0].endswith(".")])
    shown = shown.format_index(escape="html", axis=1)
    return shown.set_table_styles([{"selector": "tbody th", "props": wrapped}])


def first_page(findings_table: pd.DataFrame) -> pd.DataFrame:
    """The table of the book's first page: the paper's own curves counted, then every run.

    Parameters
    ----------
    findings_table : DataFrame
        Of `together`.

    Returns
    -------
    DataFrame
        Columns finding, "the paper's own curves" (such as "2 yes, 4 partly"), and one for each run.
        A run that reads the weights of an earlier one says so in its column's name.
    """
    theirs = findings_table[findings_table["by"] == PAPER]
    ours = findings_table[findings_table["by"] == BOOK]
    counted = theirs.groupby("finding")["verdict"].agg(_in_words)
    result = pd.DataFrame({"the paper's own curves": counted.reindex(list(findings.FINDINGS))})
    seen: dict[str, str] = {}
    for model, rows in ours.groupby("model", sort=False):
        weights = rows["weights"].iloc[0]
        same = f" (same weights as {seen[weights]})" if weights in seen else ""
        seen.setdefault(weights, model)
        result[f"{model}{same}"] = rows.set_index("finding")["verdict"]
    labels = [f"{key}. {text}" for key, text in findings.FINDINGS.items()]
    result.insert(0, "finding", labels)
    return result.reset_index(drop=True)


def _in_words(verdicts: pd.Series) -> str:
    counts = verdicts.value_counts()
    return ", ".join(f"{counts[word]} {word}" for word in findings.VERDICTS if word in counts)


# ------------------------------------------------------------------------------------------ advice


def found_layers(evidence: Sequence[Evidence]) -> pd.DataFrame:
    """What `semantic_layer` finds on each profile, with the version of the rule.

    Returns
    -------
    DataFrame
        Columns by, model, kind, peak_layer, layer, depth, low, high, p_value, visible, version. A
        network without a profile of enough layers has no row.
    """
    rows = []
    for one in evidence:
        profile = _attempt(one.profile)
        if profile is not None:
            found = profile.found
            depth = np.nan if found.layer is None else found.layer / one.n_blocks
            rows.append({"by": one.by, "model": one.model} | vars(found) | {"depth": depth})
    columns = ["by", "model", "kind", "peak_layer", "layer", "depth", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "p_value", "visible", "version"])


def scoreboards(
    evidence: Sequence[Evidence], k: int = 10
) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]]:
    """Every advice on every network that has labels (`advice.scoreboard`).

    Parameters
    ----------
    evidence : list of Evidence
        No two of one name.

    Returns
    -------
    boards, rivals : dict
        {model: scoreboard} and {model: `advice.distances`}, for `advice.over_models`.
    """
    boards = {}
    rivals = {}
    for one in evidence:
        profile = _attempt(one.profile)
        labels = one.labels(k)
        if profile is None or labels is None:
            continue
        ids = pd.DataFrame({"layer": profile.layers, "id": profile.ids})
        case = (ids, one.n_blocks, profile.found, labels)
        board = _attempt(advice.scoreboard, *case)
        if board is not None:
            boards[one.model] = board
            rivals[one.model] = advice.distances(*case)
    return boards, rivals


def relations(evidence: Sequence[Evidence], k: int = 10) -> pd.DataFrame:
    """Rank correlation of ID and label overlap over the layers of every network.

    Returns
    -------
    DataFrame
        Columns by, model and the fields of `advice.Relation`. A network with a curve that is the
        same in every layer has no row.
    """
    rows = []
    for one in evidence:
        ids = _values(one, IDS, 0)
        overlaps = _values(one, "label_overlap", k)
        layers = ids.index.intersection(overlaps.index)
        if len(layers) < advice.MIN_LAYERS:
            continue
        replicates = [
            _replicates_at(one, quantity, number, layers)
            for quantity, number in ((IDS, 0), ("label_overlap", k))
        ]
        curves = ids[layers].to_numpy(), overlaps[layers].to_numpy()
        relation = _attempt(advice.relation, *curves, *replicates)
        if relation is not None:
            rows.append({"by": one.by, "model": one.model} | vars(relation))
    columns = ["by", "model", "rho", "low", "high", "n_layers", "n_effective"]
    return pd.DataFrame(rows, columns=[*columns, "sample_low", "sample_high"])


def _rows(one: Evidence, quantity: str, k: int) -> pd.DataFrame:
    of_curve = (one.curves["quantity"] == quantity) & (one.curves["k"].fillna(0) == k)
    return one.curves[of_curve].sort_values("layer")


def _values(one: Evidence, quantity: str, k: int) -> pd.Series:
    rows = _rows(one, quantity, k)
    inside = rows[(rows["layer"] <= one.n_blocks) & rows["value"].notna()]
    return inside.set_index("layer")["value"]


def _replicates_at(one: Evidence, quantity: str, k: int, layers: pd.Index) -> np.ndarray | None:
    values = one.replicates.get((quantity, k))
    if values is None:
        return None
    return values[..., _rows(one, quantity, k)["layer"].isin(layers).to_numpy()]


def _attempt(function, *arguments):
    """The result, or None where the curves can't carry it: `judge` says why."""
    try:
        return function(*arguments)
    except UserError:
        return None


def untrained_bands(evidence: Sequence[Evidence]) -> pd.DataFrame:
    """Where the profiles of the untrained networks lie, with their errors.

    Returns
    -------
    DataFrame
        Columns model, layer, depth, low, high, networks.
    """
    parts = []
    for one in evidence:
        if one.untrained is None or one.untrained.empty:
            continue
        error = one.untrained["id_err"].fillna(0)
        ends = one.untrained.assign(
            low=one.untrained["id"] - error, high=one.untrained["id"] + error
        )
        band = ends.groupby("layer").agg(
            low=("low", "min"), high=("high", "max"), networks=("control", "nunique")
        )
        band = band.reset_index()
        parts.append(band.assign(model=one.model, depth=band["layer"] / one.n_blocks))
    columns = ["model", "layer", "depth", "low", "high", "networks"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)
