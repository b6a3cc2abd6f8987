"""The paper's advice against its rivals: which layer to use, and what choosing another one costs.

The advice is to take the layer of the first ID minimum, or the plateau, after the first peak. It
needs no labels, but neither do the middle of the network, two thirds of it, or its last layer. So
each of them is scored alike: which share of the best label overlap does it keep, and does it lie
in the *best set*, the layers that cannot be told from the best one? A layer drawn at random behind
the peak is the rival that knows no more than where the peak is; its score is an expectation.

Best set. The layer of highest overlap is partly chance, for neighbouring layers are nearly equal.
A layer leaves the best set when some other layer beats it by more than noise does: by more than
the 95 % quantile of the largest standardised difference to it, drawn with the joint errors of all
layers (Hsu 1984). The true best layer then lies in the set with probability 95 % at least. Layers
share samples, so a jackknife covariance makes the set smaller and right.

Over models. If the chosen layer were any layer behind the peak, its distance from the best set
would be that of a random one. The distribution of the mean distance over models is computed
exactly, by convolution, so the p value needs no approximation. It counts models as independent,
which sizes of one family, trained on the same data, are not: with six models of two families it is
a lower limit.

Relation over layers. Rank correlation of ID and label overlap. Both are smooth curves, so thirty
layers are far from thirty observations; the interval uses the number of independent pairs with the
same autocorrelations (Bartlett 1935). Two curves that are so smooth that they are worth fewer than
`MIN_EFFECTIVE` independent layers are alike or opposed by chance too often, and the interval is
then all of -1 to 1: not testable. `benchmarks/relation_coverage.py` counts on independent smooth
curves how often the interval holds zero. Where replicates are known, a second interval tells what
other samples would have given for the same network.

References: Hsu (1984), Annals of Statistics 12; Bartlett (1935), Journal of the Royal Statistical
Society 98; Bonett and Wright (2000), Psychometrika 65 (variance of a rank correlation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import stats

from georep_utils.geometry.resampling import check_group_count, checked_covariance, jackknife
from georep_utils.geometry.semantic_layer import SemanticLayer
from georep_utils.io import UserError

RULE = "chosen by the ID"
RANDOM = "random layer after the peak"
OVER_MODELS = [
    "models",
    "chooses",
    "in_best_set",
    "least_share",
    "mean_share",
    "mean_share_or_random",
    "p",
]
PAIRED = ["models", "difference", "lowest", "highest", "p"]
DRAWS = 4000  # noise draws behind a best set: its level is known to 0.004
TINY_VARIANCE = 1e-18  # of a value without any error, in `top_range`
GRID = 1000  # steps of relative depth in the distribution of the mean distance
MOST_PAIRS = 20  # all signs of more differences would take too long
MIN_LAYERS = 5  # with fewer, a rank correlation says nothing
MIN_EFFECTIVE = 5.5  # with fewer the interval leaves out zero too often (relation_coverage.py)


@dataclass(frozen=True)
class Curve:
    """Label overlap, accuracy or dimension of one model at some of its layers.

    layers: (M,); values: (M,); covariance: (M, M) of the values; groups: how many groups it is
    from, if it is a jackknife's.
    """

    layers: np.ndarray
    values: np.ndarray
    covariance: np.ndarray
    groups: int | None = None

    def at(self, layer: float) -> float:
        """Value at a layer, on the line between the two measured ones around it."""
        return float(np.interp(layer, self.layers, self.values))

    def nearest(self, layer: float) -> int:
        """The measured layer that is nearest."""
        return int(self.layers[np.argmin(np.abs(self.layers - layer))])


def curve_with_errors(
    layers: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray,
    replicates: np.ndarray | None = None,
) -> Curve:
    """A curve whose covariance is that of its replicates.

    Parameters
    ----------
    layers, values, errors : (M,) arrays
    replicates : (n_groups - 1, 2, M) array, optional
        As for `resampling.jackknife`. Without, the errors count as independent.
    """
    if replicates is None:
        return Curve(layers, values, np.diag(errors**2))
    return Curve(layers, values, jackknife(replicates)[1], len(replicates) + 1)


@dataclass(frozen=True)
class Relation:
    """Rank correlation of two curves over layers.

    low, high: 95 % interval for curves as smooth as these, -1 to 1 where they are too smooth to
    test; n_effective: how many independent layers they are worth; sample_low, sample_high: 95 %
    interval over samples, for this very network (NaN without replicates).
    """

    rho: float
    low: float
    high: float
    n_layers: int
    n_effective: float
    sample_low: float = np.nan
    sample_high: float = np.nan

    @property
    def testable(self) -> bool:
        """Whether the layers are worth enough independent ones for an interval."""
        return self.n_effective >= MIN_EFFECTIVE


def best_set(curve: Curve, alpha: float = 0.05) -> np.ndarray:
    """Layers that cannot be told from the best one: they hold the true best with probability 1 -
    alpha at least.

    Raises
    ------
    UserError
        Errors that are zero or missing, or no two layers.
    """
    _check(curve, alpha)
    covariance = np.asarray(curve.covariance, dtype=float)
    errors, quantiles = _differences(covariance.tobytes(), len(curve.layers), alpha)
    kept = []
    for i, layer in enumerate(curve.layers):
        others = np.arange(len(curve.layers)) != i
        critical = quantiles[i]
        if curve.groups is not None:
            critical = float(stats.t.isf(stats.norm.sf(critical), curve.groups - 1))
        ahead = ((curve.values - curve.values[i]) / errors[i])[others].max()
        if ahead <= critical:
            kept.append(layer)
    return np.array(kept, dtype=int)


def top_range(
    place: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray,
    replicates: np.ndarray | None = None,
    alpha: float = 0.05,
) -> tuple[float, float]:
    """Where a profile is highest, as far as its errors can tell: the ends of its best set.

    The single highest layer of a flat top is an accident of the sample.

    Parameters
    ----------
    place : (L,) array
        Layer number or depth of each value.
    values, errors : (L,) arrays
        The profile and its standard errors. A layer without a value, NaN, is no candidate.
    replicates : (n_groups - 1, 2, L) array, optional
        The profile in balanced halves of the samples, as for `resampling.jackknife`. Without, the
        errors count as independent. Layers that share their samples are then told apart less
        often than they could be.
    alpha : float
        As for `best_set`.

    Returns
    -------
    The first and the last place. There may be lower values between them.

    Raises
    ------
    UserError
        As `best_set`: values without errors.
    """
    place = np.asarray(place, dtype=float)
    values = np.asarray(values, dtype=float)
    errors = np.asarray(errors, dtype=float)
    measured = np.flatnonzero(np.isfinite(values))
    if len(measured) == 1:
        return float(place[measured[0]]), float(place[measured[0]])
    if replicates is not None:
        replicates = replicates[..., measured]
    curve = curve_with_errors(measured, values[measured], errors[measured], replicates)
    # An overlap of 0 or 1 everywhere has no error at all, and a set of layers needs one.
    covariance = curve.covariance + TINY_VARIANCE * np.eye(len(measured))
    best = best_set(replace(curve, covariance=covariance), alpha)
    return float(place[best].min()), float(place[best].max())


def _check(curve: Curve, alpha: float) -> None:
    if not 0 < alpha < 1:
        raise UserError(f"alpha = {alpha}: expected a number between 0 and 1; choose another one")
    if len(curve.layers) < 2:
        raise UserError(
            f"a best set needs two layers or more, {len(curve.layers)} given: measure more layers"
        )
    if len(curve.values) != len(curve.layers):
        raise UserError(
            f"{len(curve.values)} values for {len(curve.layers)} layers: expected one for each; "
            "give those of the same layers"
        )
    missing = ~np.isfinite(np.asarray(curve.values, dtype=float))
    if missing.any():
        raise UserError(
            f"layers {np.asarray(curve.layers)[missing].tolist()} have no finite value: expected "
            "one for each layer; leave them out"
        )
    check_group_count(curve.groups)
    if np.shape(curve.covariance) != (len(curve.layers), len(curve.layers)):
        checked_covariance(curve.covariance, len(curve.layers))
    variances = np.diag(curve.covariance)
    if not (np.isfinite(variances).all() and (variances > 0).all()):
        raise UserError(
            "the values have errors that are zero or missing: estimate them by resampling"
        )
    checked_covariance(curve.covariance, len(curve.layers))


# A profile's best set is asked for several times, and redrawn profiles share their covariance.
@lru_cache(maxsize=64)
def _differences(covariance: bytes, n: int, alpha: float) -> tuple[np.ndarray, list[float]]:
    """What noise alone does to the differences between the values of `n` layers.

    Returns
    -------
    errors : (n, n)
        The standard error of each difference.
    quantiles : list of n numbers
        For each layer, the 1 - alpha quantile of the largest standardised difference to it.
    """
    matrix = np.frombuffer(covariance).reshape(n, n)
    variances = np.diag(matrix)
    spread = variances[:, None] + variances[None, :] - 2 * matrix
    floor = 1e-12 * variances.max()  # layers with equal neighbours have no difference at all
    errors = np.sqrt(np.maximum(spread, floor))
    # A row a layer: the largest of a few long rows is found faster than that of many short ones.
    noise = np.ascontiguousarray(_noise(matrix).T)
    quantiles = []
    for i in range(n):
        others = np.arange(n) != i
        ahead = (noise[others] - noise[i]) / errors[i, others, None]
        quantiles.append(float(np.quantile(ahead.max(axis=0), 1 - alpha)))
    return errors, quantiles


def _noise(covariance: np.ndarray) -> np.ndarray:
    """Draws of the joint error of all layers, (DRAWS, layers)."""
    values, vectors = np.linalg.eigh(covariance)
    normal = np.random.default_rng(0).standard_normal((DRAWS, len(values)))
    return normal @ (vectors * np.sqrt(np.maximum(values, 0))).T


def choices(profile: pd.DataFrame, n_blocks: int, found: SemanticLayer) -> dict[str, int | None]:
    """The layers that each advice takes; None where it takes none.

    Parameters
    ----------
    profile : DataFrame
        Columns layer and id, layers 0 to n_blocks (the logits are left out).
    n_blocks : int
        Number of blocks of the network.
    found : SemanticLayer
        What `semantic_layer` found on the profile. Where no peak stands out, the layer of highest
        ID is the peak.
    """
    ids = profile[profile["layer"] <= n_blocks].set_index("layer")["id"]
    peak = _peak(ids, found)
    after = ids[ids.index > peak]
    return {
        RULE: found.layer,
        "least ID after the peak": int(after.idxmin()) if len(after) else None,
        "least ID": int(ids.idxmin()),
        "peak of the ID": peak,
        "middle": round(n_blocks / 2),
        "two thirds": round(2 * n_blocks / 3),
        "last layer": int(ids.index[-1]),
    }


def scoreboard(
    profile: pd.DataFrame, n_blocks: int, found: SemanticLayer, curve: Curve
) -> pd.DataFrame:
    """Every advice on one model: rows choice, layer, depth, overlap, share, in_best_set, distance.

    share: of the best overlap. distance: from the best set, in relative depth, of the nearest
    measured layer. The random layer's row holds expectations; its in_best_set is the probability
    to hit the set.
    """
    best = best_set(curve)
    highest = curve.values.max()
    rows = []
    for choice, layer in choices(profile, n_blocks, found).items():
        row = {"choice": choice}
        if layer is not None:
            away = _distances(np.array([layer]), curve, best, n_blocks)[0]
            row["layer"] = layer
            row["depth"] = layer / n_blocks
            row["overlap"] = curve.at(layer)
            row["in_best_set"] = float(away == 0)
            row["distance"] = away
        rows.append(row)
    rows.append(_random_layer(profile, n_blocks, found, curve))
    columns = ["choice", "layer", "depth", "overlap", "share", "in_best_set", "distance"]
    board = pd.DataFrame(rows, columns=columns)
    return board.assign(share=board["overlap"] / highest)


def _random_layer(
    profile: pd.DataFrame, n_blocks: int, found: SemanticLayer, curve: Curve
) -> dict[str, object]:
    """The row of expectations for a layer drawn behind the peak; empty where none lies there."""
    after = candidates(profile, n_blocks, found)
    if not len(after):
        return {"choice": RANDOM}
    away = distances(profile, n_blocks, found, curve)
    return {
        "choice": RANDOM,
        "depth": after.mean() / n_blocks,
        "overlap": np.mean([curve.at(layer) for layer in after]),
        "in_best_set": np.mean(away == 0),
        "distance": away.mean(),
    }


def candidates(profile: pd.DataFrame, n_blocks: int, found: SemanticLayer) -> np.ndarray:
    """The layers behind the peak, which a random choice draws from; none where the ID is highest
    at the end.
    """
    ids = profile[profile["layer"] <= n_blocks].set_index("layer")["id"]
    return ids.index[ids.index > _peak(ids, found)].to_numpy()


def distances(
    profile: pd.DataFrame, n_blocks: int, found: SemanticLayer, curve: Curve
) -> np.ndarray:
    """Distance from the best set, in relative depth, of every layer behind the peak (for
    `permutation_p`).
    """
    return _distances(candidates(profile, n_blocks, found), curve, best_set(curve), n_blocks)


def permutation_p(chosen: list[float], rivals: list[np.ndarray]) -> float:
    """Exact probability that random layers lie as near to the best sets, on average over models,
    as the chosen ones.

    Parameters
    ----------
    chosen : list of M numbers
        Distance of the chosen layer in each model, in relative depth.
    rivals : list of M arrays
        Distances of all layers that a random choice could have taken there.

    Returns
    -------
    float
        P(mean distance of one random layer a model <= that of the chosen ones).

    Raises
    ------
    UserError
        No models, other numbers of them, or distances that are missing, infinite or below zero.
    """
    if not chosen or len(chosen) != len(rivals):
        raise UserError(
            f"{len(chosen)} chosen distances for {len(rivals)} models: expected one for each; "
            "leave out the others"
        )
    for number, away in enumerate(rivals, start=1):
        if not len(away):
            raise UserError(
                f"model {number} has no layer that a random choice could take: expected one or "
                "more; leave the model out"
            )
    every = np.concatenate([np.asarray(chosen, dtype=float), *rivals])
    bad = ~(np.isfinite(every) & (every >= 0))
    if bad.any():
        raise UserError(
            f"{bad.sum()} distances from the best set are missing, infinite or below zero: "
            "expected numbers from 0 on; leave out the models where nothing is chosen"
        )
    total = np.ones(1)
    for away in rivals:
        steps = np.rint(np.asarray(away) * GRID).astype(int)
        total = np.convolve(total, np.bincount(steps) / len(steps))
    observed = sum(int(np.rint(away * GRID)) for away in chosen)
    return float(min(1.0, total[: observed + 1].sum()))


def paired_p(a: np.ndarray, b: np.ndarray) -> float:
    """Exact two-sided sign-flip p value of the mean difference of paired scores, a pair a model.

    Raises
    ------
    UserError
        Scores that do not come in pairs, that are missing or infinite, or none or too many of them.
    """
    a = np.asarray(a, dtype=float)
    b = np.asarray(b, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise UserError(
            f"scores of shapes {a.shape} and {b.shape}: expected a pair of numbers for each model; "
            "leave out models that lack one of them"
        )
    lacking = np.count_nonzero(~(np.isfinite(a) & np.isfinite(b)))
    if lacking:
        raise UserError(
            f"{lacking} of {len(a)} pairs of scores are missing or infinite: expected numbers; "
            "leave out these models"
        )
    difference = a - b
    if not 1 <= len(difference) <= MOST_PAIRS:
        raise UserError(
            f"{len(difference)} models: all signs are tried for 1 to {MOST_PAIRS} of them; choose "
            "as many"
        )
    signs = 1 - 2 * ((np.arange(2 ** len(difference))[:, None] >> np.arange(len(difference))) & 1)
    sums = np.abs(signs @ difference)
    return float(np.mean(sums >= abs(difference.sum()) - 1e-12))


def over_models(
    boards: Mapping[object, pd.DataFrame], rivals: Mapping[object, np.ndarray]
) -> pd.DataFrame:
    """Every advice over several models.

    Parameters
    ----------
    boards : mapping
        The `scoreboard` of each model. Models that share weights must not both be among them.
    rivals : mapping
        `distances` of each model.

    Returns
    -------
    DataFrame
        Index choice; models; chooses (in how many it takes a layer); in_best_set; least_share and
        mean_share (of the best overlap, where it chooses); mean_share_or_random (over all models, a
        random layer behind the peak where it chooses none); p (exact, against random layers, over
        the models where it chooses). Without models, no rows.
    """
    if not boards:
        return pd.DataFrame(columns=OVER_MODELS).rename_axis("choice")
    whole = pd.concat(boards, names=["model"]).reset_index("model").set_index("choice")
    random = whole.loc[[RANDOM]].set_index("model")["share"]
    rows = {}
    for choice, rows_of_choice in whole.groupby(level=0, sort=False):
        rows[choice] = _over_models(rows_of_choice.set_index("model"), random, rivals)
        if choice == RANDOM:
            rows[choice]["p"] = np.nan  # it cannot be told from itself
    return pd.DataFrame.from_dict(rows, "index").rename_axis("choice")


def _over_models(
    rows: pd.DataFrame, random: pd.Series, rivals: Mapping[object, np.ndarray]
) -> dict[str, float]:
    taken = rows.dropna(subset="distance")
    # A model whose ID is highest at the end has no layer behind the peak to draw from.
    tested = [model for model in taken.index if len(rivals[model])]
    p = np.nan
    if tested:
        p = permutation_p(
            taken.loc[tested, "distance"].tolist(), [rivals[model] for model in tested]
        )
    return {
        "models": len(rows),
        "chooses": len(taken),
        "in_best_set": taken["in_best_set"].sum(),
        "least_share": taken["share"].min(),
        "mean_share": taken["share"].mean(),
        "mean_share_or_random": rows["share"].fillna(random).mean(),
        "p": p,
    }


def paired(boards: Mapping[object, pd.DataFrame]) -> pd.DataFrame:
    """Share of the best overlap: the layer chosen by the ID less each rival, a pair a model.

    Returns
    -------
    DataFrame
        Index rival; models (where both take a layer), difference (mean), lowest, highest, p
        (exact, `paired_p`; NaN without models). Without boards, no rows.
    """
    if not boards:
        return pd.DataFrame(columns=PAIRED).rename_axis("rival")
    shares = pd.DataFrame(
        {model: board.set_index("choice")["share"] for model, board in boards.items()}
    )
    rows = {}
    for rival in shares.index.drop(RULE):
        both = shares.loc[[RULE, rival]].dropna(axis=1)
        difference = both.loc[RULE] - both.loc[rival]
        p = np.nan
        if 1 <= len(difference) <= MOST_PAIRS:
            p = paired_p(both.loc[RULE], both.loc[rival])
        rows[rival] = {
            "models": len(difference),
            "difference": difference.mean(),
            "lowest": difference.min(),
            "highest": difference.max(),
            "p": p,
        }
    return pd.DataFrame.from_dict(rows, "index").rename_axis("rival")


def relation(
    ids: np.ndarray,
    overlaps: np.ndarray,
    id_replicates: np.ndarray | None = None,
    overlap_replicates: np.ndarray | None = None,
) -> Relation:
    """Spearman's rank correlation of ID and overlap over the layers of a model, with its interval.

    The 95 % interval holds zero for at least 93 % of independent curves, from white noise to random
    walks and single humps, of 7 to 49 layers (`benchmarks/relation_coverage.py`).

    Parameters
    ----------
    ids, overlaps : (L,) arrays
        Of the same layers, in order.
    id_replicates, overlap_replicates : (divisions, 2, L) arrays, optional
        As for `resampling.jackknife`.

    Raises
    ------
    UserError
        Fewer than five layers, values that are missing or infinite, a curve that is the same in
        every layer, or replicates of other layers.
    """
    ids = np.asarray(ids, dtype=float)
    overlaps = np.asarray(overlaps, dtype=float)
    _check_curves(ids, overlaps)
    n = len(ids)
    rho = _spearman(ids, overlaps)
    n_effective = _effective_size(_centred_ranks(ids), _centred_ranks(overlaps))
    z = np.arctanh(np.clip(rho, -0.999, 0.999))
    result = Relation(rho, -1.0, 1.0, n, n_effective)
    if result.testable:
        width = stats.norm.ppf(0.975) * np.sqrt((1 + rho**2 / 2) / (n_effective - 3))
        low, high = np.tanh([z - width, z + width])
        result = replace(result, low=float(low), high=float(high))
    if id_replicates is None or overlap_replicates is None:
        return result
    sample_low, sample_high = _interval_over_samples(z, id_replicates, overlap_replicates, n)
    return replace(result, sample_low=sample_low, sample_high=sample_high)


def _check_curves(ids: np.ndarray, overlaps: np.ndarray) -> None:
    if ids.ndim != 1 or ids.shape != overlaps.shape or len(ids) < MIN_LAYERS:
        raise UserError(
            f"IDs of shape {ids.shape} and overlaps of shape {overlaps.shape}: expected "
            f"{MIN_LAYERS} or more of the same layers; measure both there"
        )
    for name, values in {"IDs": ids, "overlaps": overlaps}.items():
        bad = ~np.isfinite(values)
        if bad.any():
            raise UserError(
                f"{bad.sum()} of {len(values)} {name} are missing or infinite: expected one for "
                "each layer; leave these layers out of both"
            )
        if np.ptp(values) == 0:
            raise UserError(
                f"the {name} are {values[0]:g} in every layer: a correlation needs values that "
                "differ; look at the curves themselves"
            )


def _interval_over_samples(
    z: float, id_replicates: np.ndarray, overlap_replicates: np.ndarray, n: int
) -> tuple[float, float]:
    shapes = np.shape(id_replicates), np.shape(overlap_replicates)
    if shapes[0] != shapes[1] or shapes[0][1:] != (2, n):
        raise UserError(
            f"replicates of shapes {shapes[0]} and {shapes[1]} for {n} layers: expected "
            f"(divisions, 2, {n}) of both; take those of the same layers"
        )
    pairs = zip(
        np.reshape(id_replicates, (-1, n)), np.reshape(overlap_replicates, (-1, n)), strict=True
    )
    again = np.arctanh(np.clip([_spearman(a, b) for a, b in pairs], -0.999, 0.999))
    error, _ = jackknife(again.reshape(-1, 2))
    width = stats.t.ppf(0.975, len(id_replicates)) * error
    return float(np.tanh(z - width)), float(np.tanh(z + width))


def _peak(ids: pd.Series, found: SemanticLayer) -> int:
    return int(ids.idxmax()) if found.peak_layer is None else found.peak_layer


def _distances(layers: np.ndarray, curve: Curve, best: np.ndarray, n_blocks: int) -> np.ndarray:
    """A layer between two measured ones counts as the nearest of them: finer than that nothing is
    known.
    """
    measured = np.array([curve.nearest(layer) for layer in layers])
    return np.abs(measured[:, None] - best[None, :]).min(axis=1) / n_blocks


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    a, b = _centred_ranks(a), _centred_ranks(b)
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else np.nan


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    ranks = stats.rankdata(values)
    return ranks - ranks.mean()


def _effective_size(a: np.ndarray, b: np.ndarray) -> float:
    """Number of independent pairs that are worth as much as these autocorrelated ones (Bartlett
    1935), of mean zero.
    """
    n = len(a)
    lags = np.arange(1, n // 2)  # longer lags are known from too few pairs
    product = (_autocorrelation(a) * _autocorrelation(b))[lags]
    inflation = 1 + 2 * np.sum((1 - lags / n) * product)
    return float(n / max(inflation, 1.0))


def _autocorrelation(centred: np.ndarray) -> np.ndarray:
    """At lags 0, 1, ..., of values with mean zero."""
    sums = np.correlate(centred, centred, "full")[len(centred) - 1 :]
    return sums / sums[0]
