"""When does low dimension mean meaning? The sign of a correlation, and what may decide it.

The paper's advice, to take a layer of low dimension, supposes that labels are best respected where
the intrinsic dimension (ID) is low: a negative correlation of the two over the layers. On some data
it is positive. A *case* is a network, its samples and one set of labels of theirs; for each, this
module puts together the correlation with its interval and the share of the labels that the input
gives without any network:

    share = overlap of the labels with neighbours among the inputs / best overlap of any layer.

The hypothesis is that the correlation grows with the share. It is tested by a rank correlation over
cases, whose distribution under "no relation" is that of all orders of the cases. Where there are
few of them all orders are tried. Cases that share a network and its samples have one ID profile
between them, so they are no independent witnesses: `permutation_test` can permute within such
strata only, and `once` keeps one run for each network and data set.

With few classes a share is high for no good reason, because chance is: `share_above_chance` takes
what chance gives from both overlaps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from georep_utils import io
from georep_utils.io import UserError
from georep_utils.paper import comparison
from georep_utils.paper.advice import relation

OWN = "classes"  # the label set that a run's other chapters use
INPUTS = (  # baselines that are the network's own input, as the runs' tables name them
    *("pixels", "histogram"),
    *("words", "embedding"),
    *("residues", "dipeptides"),
)
CHOICES = {"peak": "highest ID", "minimum": "least ID after it", "middle": "middle layer"}
# Names of data sets that say only how samples were read: two runs may mean different samples.
GENERIC = ("hf-image", "hf-text", "table", "fasta", "brought")
NETWORK = ["weights", "samples"]  # columns that say which cases have one profile between them
COLUMNS = [
    *("model", "source", "dataset", "samples", "label_set", "n_classes", "weights", "n_samples"),
    *("rho", "low", "high", "sample_low", "sample_high", "n_layers", "n_effective"),
    *("input", "input_overlap", "best_overlap", "chance", "share", "share_above_chance"),
    *CHOICES,
    "peak_over_minimum",
]
MOST_ORDERS = 50_000  # up to here all orders are tried: eight cases
DRAWS = 19_999  # orders that are drawn where there are more


@dataclass(frozen=True)
class Outcome:
    """What a test of the hypothesis found.

    statistic: rank correlation over the cases, -1 to 1. p: share of orders with a statistic at
    least as high; p_below: at most as low. n: cases. exact: whether all orders were tried. verdict:
    "supported", "contradicted", "undecided", or "too few cases" where no order of them could have
    reached the level.
    """

    statistic: float
    p: float
    p_below: float
    n: int
    exact: bool
    verdict: str


# ------------------------------------------------------------------------------------------- cases


def case(
    ids: pd.Series,
    overlaps: pd.Series,
    n_blocks: int,
    replicates: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict | None:
    """What one network and one set of labels say.

    Parameters
    ----------
    ids, overlaps : Series
        By layer; layers up to `n_blocks` that both have are compared.
    replicates : two (divisions, 2, L) arrays, optional
        Of ID and overlap on those layers, for the interval over samples.

    Returns
    -------
    dict
        rho to n_effective of `COLUMNS`, best_overlap, and the share of the best overlap that each
        of `CHOICES` keeps; None where fewer than five layers are common.
    """
    ids = ids[ids.index <= n_blocks].dropna()
    overlaps = overlaps[overlaps.index <= n_blocks].dropna()
    common = ids.index.intersection(overlaps.index)
    try:
        found = relation(ids[common].to_numpy(), overlaps[common].to_numpy(), *(replicates or ()))
    except UserError:
        return None
    kept = _kept(ids, overlaps, n_blocks)
    return {
        "rho": found.rho,
        "low": found.low,
        "high": found.high,
        "sample_low": found.sample_low,
        "sample_high": found.sample_high,
        "n_layers": found.n_layers,
        "n_effective": found.n_effective,
        "best_overlap": float(overlaps.max()),
        "peak_over_minimum": kept["peak"] - kept["minimum"],
    } | kept


def _kept(ids: pd.Series, overlaps: pd.Series, n_blocks: int) -> dict[str, float]:
    """Share of the best overlap at each choice, read off the line between measured layers."""
    peak = ids.idxmax()
    after = ids[ids.index > peak]
    layers = {
        "peak": peak,
        "minimum": after.idxmin() if len(after) else np.nan,
        "middle": round(n_blocks / 2),
    }
    at = {name: np.interp(layer, overlaps.index, overlaps) for name, layer in layers.items()}
    return {name: float(value / overlaps.max()) for name, value in at.items()}


def published_cases(curves: pd.DataFrame, datasets: dict[str, str]) -> pd.DataFrame:
    """The published curves as cases; what their inputs give was not published.

    Parameters
    ----------
    curves : DataFrame
        Rows of `published.COLUMNS`.
    datasets : dict
        Name of the samples by how a model's name begins.
    """
    rows = []
    for model, part in curves.groupby("model", sort=False):
        by = {name: x.set_index("layer").value.sort_index() for name, x in part.groupby("quantity")}
        if not {"intrinsic_dimension", "label_overlap"} <= set(by):
            continue
        n_blocks = int(part.n_blocks.iloc[0])
        found = case(by["intrinsic_dimension"], by["label_overlap"], n_blocks)
        if found is not None:
            start = next((name for name in datasets if model.startswith(name)), "")
            about = {"model": model, "source": "published", "weights": model, "label_set": OWN}
            dataset = datasets.get(start, model)
            rows.append(about | {"dataset": dataset, "samples": dataset} | found)
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def measured_cases(k: int, folder: str | Path | None = None) -> pd.DataFrame:
    """The runs of this book as cases: their own classes, and other labels of the same samples.

    Parameters
    ----------
    k : int
        Neighbours of the label overlap.
    folder : path, optional
        Folder of the runs' folders; book/results by default. Tables that an earlier version left
        out may be missing: a run without `overlap_baselines.csv` has no share, and one without
        `label_sets.csv` has no other labels.
    """
    folder = io.root() / "book/results" if folder is None else Path(folder)
    profiles = comparison.tables("id_profile.csv", folder)
    labelled = _label_curves(k, folder)
    if profiles.empty or labelled.empty:
        return pd.DataFrame(columns=COLUMNS)
    profiles = profiles[profiles.rule == profiles.scale_rule]
    inputs = _inputs(k, folder)
    rows = []
    for (run, label_set), part in labelled.groupby(["run", "label_set"], sort=False):
        own = profiles[profiles.run == run]
        if own.empty:
            continue
        ids = own.set_index("layer").id.sort_index()
        overlaps = part.set_index("layer").overlap.sort_index()
        n_blocks = int(own.n_blocks.iloc[0])
        again = _replicates(folder / run, k, ids, overlaps, n_blocks) if label_set == OWN else None
        found = case(ids, overlaps, n_blocks, again)
        if found is not None:
            about = _about(folder / run) | {"label_set": label_set, "source": "this book"}
            about |= {name: part[name].iloc[0] for name in ("n_classes", "chance")}
            rows.append(about | found | _share(inputs, run, label_set, found, about["chance"]))
    return _identified(pd.DataFrame(rows)).reindex(columns=COLUMNS)


def _about(folder: Path) -> dict:
    """The network and the samples of a run, from its provenance."""
    io.note_read(folder / "provenance.json")
    made = io.read_object(folder / "provenance.json")
    return {
        "model": folder.name,
        "dataset": made.get("dataset"),
        "inputs": made.get("inputs"),
        "weights": made.get("weights"),
        "network_name": made.get("model"),
        "n_samples": made.get("n_samples"),
    }


def _identified(cases: pd.DataFrame) -> pd.DataFrame:
    """Cases whose `weights` and `samples` are equal where network and data set are.

    Tables of an earlier version have no digest of the weights: such a run is the network of another
    run of that name, or else its name has to do. A named data set is one, however many of its
    samples were read. Of files of the reader's own only the digest says which they are, and a
    variant of a run reads what the run reads.
    """
    if cases.empty:
        return cases
    digests = cases.dropna(subset="weights").drop_duplicates("network_name")
    by_name = digests.set_index("network_name").weights
    named = cases.network_name.map(by_name).fillna(cases.network_name)
    cases["weights"] = cases.weights.fillna(named)
    base = cases.model.str.partition("--")[0]
    own_inputs = cases.drop_duplicates("model").set_index("model").inputs
    files = base.map(own_inputs).fillna(cases.inputs).fillna(base)
    generic = cases.dataset.isin(GENERIC)
    cases["samples"] = cases.dataset.where(~generic, files)
    cases["dataset"] = cases.dataset.where(~generic, "samples of " + base)
    return cases


def _label_curves(k: int, folder: Path) -> pd.DataFrame:
    """Label overlaps of the trained networks by run, label set and layer."""
    parts = []
    own = comparison.tables("overlaps.csv", folder)
    if len(own) and "quantity" in own:
        own = own[(own.quantity == "label_overlap") & (own.network == "trained") & (own.k == k)]
        parts.append(own.assign(label_set=OWN, n_classes=np.nan, chance=np.nan))
    others = comparison.tables("label_sets.csv", folder)
    if len(others):
        others = others[(others.cloud == "trained") & (others.k == k)]
        repeated = others.label_set.eq(OWN)
        facts = others[repeated].drop_duplicates("run").set_index("run")
        if parts:
            for name in ("n_classes", "chance"):
                parts[0][name] = parts[0].run.map(facts[name])
            repeated &= others.run.isin(parts[0].run)
        parts.append(others[~repeated])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _inputs(k: int, folder: Path) -> pd.DataFrame:
    """What the input gives of each set of labels: columns run, label_set, input, overlap."""
    parts = []
    own = comparison.tables("overlap_baselines.csv", folder)
    if len(own):
        own = own[own.baseline.isin(INPUTS) & (own.k == k)]
        parts.append(own.assign(label_set=OWN, input=own.baseline))
    others = comparison.tables("label_sets.csv", folder)
    if len(others):
        others = others[(others.cloud == "input") & (others.k == k)]
        parts.append(others.assign(input=others.layer_name))
    columns = ["run", "label_set", "input", "overlap"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def _share(inputs: pd.DataFrame, run: str, label_set: str, found: dict, chance: float) -> dict:
    """The best input baseline over the best layer."""
    own = inputs[(inputs.run == run) & (inputs.label_set == label_set)]
    if own.empty:
        return {}
    best = own.loc[own.overlap.idxmax()]
    highest = found["best_overlap"]
    return {
        "input": best.input,
        "input_overlap": best.overlap,
        "share": best.overlap / highest,
        "share_above_chance": (best.overlap - chance) / (highest - chance),
    }


def _replicates(folder: Path, k: int, ids: pd.Series, overlaps: pd.Series, n_blocks: int):
    """Replicates of both curves on their common layers, or None where a run left none."""
    layers = [layer for layer in ids.index.intersection(overlaps.index) if layer <= n_blocks]
    found = []
    for name, quantity in (("id", "intrinsic_dimension"), ("overlap", "label_overlap")):
        files = io.find(folder, f"{name}_replicates.csv*")
        if not files:
            return None
        table = io.read_table(files[0])
        table = table[(table.quantity == quantity) & table.layer.isin(layers)]
        if quantity == "label_overlap":
            table = table[table.k == k]
        wide = table.pivot_table(index=["division", "half"], columns="layer", values="value")
        if list(wide.columns) != layers or wide.isna().any(axis=None):
            return None
        found.append(wide.to_numpy().reshape(-1, 2, len(layers)))
    return tuple(found)


def once(cases: pd.DataFrame) -> pd.DataFrame:
    """One run for each network and data set: the one with most sets of labels, then most samples.

    All its cases are kept together, since they belong to one profile.
    """
    runs = cases.groupby([*NETWORK, "model"], dropna=False, sort=False)
    size = runs.agg(sets=("label_set", "nunique"), n=("n_samples", "max")).reset_index()
    size = size.sort_values(["sets", "n"], ascending=False, kind="stable")
    kept = size.drop_duplicates(NETWORK)[[*NETWORK, "model"]]
    return cases.merge(kept, on=[*NETWORK, "model"])


# -------------------------------------------------------------------------------------------- test


def permutation_test(
    cases: pd.DataFrame,
    of: str = "rho",
    against: str = "share",
    within: list[str] | None = None,
    alpha: float = 0.05,
    seed: int = 0,
) -> Outcome:
    """Rank correlation of two columns over cases, against all orders of the cases.

    Parameters
    ----------
    cases : DataFrame
        Rows without one of the two columns are left out.
    of, against : str
        The columns.
    within : list of str, optional
        Columns that name strata: ranks are taken, and orders tried, within each stratum only.
    alpha : float
        Level of the verdict, one-sided.
    seed : int
        Of the orders that are drawn, where there are too many to try all.
    """
    known = cases.dropna(subset=[of, against])
    if within:
        strata = [part for _, part in known.groupby(within, dropna=False) if len(part) > 1]
    else:
        strata = [known] if len(known) > 1 else []
    n = sum(map(len, strata))
    pairs = [(_ranks(part[against]), _ranks(part[of])) for part in strata]
    scale = np.sqrt(sum(x @ x for x, _ in pairs) * sum(y @ y for _, y in pairs)) if pairs else 0.0
    n_orders = float(np.prod([float(factorial(len(part))) for part in strata])) if strata else 1.0
    if scale == 0 or n_orders * alpha < 1:
        statistic = sum(x @ y for x, y in pairs) / scale if scale else np.nan
        return Outcome(float(statistic), np.nan, np.nan, n, True, "too few cases")
    exact = n_orders <= MOST_ORDERS
    observed = sum(x @ y for x, y in pairs)
    orders = _all_orders(pairs) if exact else _drawn_orders(pairs, seed)
    others = np.fromiter(orders, dtype=float)
    p = float(np.mean(others >= observed - 1e-9))
    p_below = float(np.mean(others <= observed + 1e-9))
    if not exact:  # the observed order is one of them
        p, p_below = ((x * DRAWS + 1) / (DRAWS + 1) for x in (p, p_below))
    verdict = "undecided"
    if p <= alpha:
        verdict = "supported"
    elif p_below <= alpha:
        verdict = "contradicted"
    return Outcome(float(observed / scale), p, p_below, n, exact, verdict)


def _ranks(values: pd.Series) -> np.ndarray:
    ranks = stats.rankdata(values)
    return ranks - ranks.mean()


def _all_orders(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[float]:
    sums = [[x @ np.array(order) for order in permutations(y)] for x, y in pairs]
    return map(sum, product(*sums))


def _drawn_orders(pairs: list[tuple[np.ndarray, np.ndarray]], seed: int) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        yield sum(x @ rng.permutation(y) for x, y in pairs)


def outcomes(tests: dict[str, Outcome]) -> pd.DataFrame:
    """Outcomes as a table, a row a test."""
    rows = {name: vars(outcome) for name, outcome in tests.items()}
    return pd.DataFrame.from_dict(rows, "index").rename_axis("test")
