"""The layer that an ID profile singles out, without labels: the paper's advice as a rule with a
known error rate.

The advice is to take the first minimum, or the plateau, that follows the first peak of the
intrinsic dimension (ID). Every profile drawn from a finite sample has peaks and minima, so the
question is which of them are more than noise.

All statements that the rule makes are about *contrasts*, sums of IDs with weights that add up to
zero:

- differences between the means of two windows of one, three or five layers, one before the other.
  A peak followed by a minimum is a chain of four windows, A before B before C before D, with B
  above A, B above C and D above C;
- the change along a run of layers (its fitted slope times its length) and its sag (its fitted
  curvature between the ends and the middle). A plateau is a run for which both are *shown* to be
  small: their confidence intervals lie within the prominence. It must also be shown to fall at
  most half as fast as the way down from the peak, or every slow linear fall would hold a plateau.

One critical value serves all contrasts, as in Tukey's studentised range: the largest standardised
contrast of pure noise exceeds it in a share `alpha` of draws. The draws have the covariance of the
IDs between the layers, which matters because the layers share their samples. Whatever the true
profile is, all statements then hold together with probability 1 - alpha. If the truth only rises,
only falls, or rises once and falls once, no chain of the four windows can be true, so a minimum is
reported in at most a share alpha of such profiles; the same holds for a plateau of a profile that
is linear or bends downwards after its peak.

References: Tukey (1953), The problem of multiple comparisons; Hsu (1984), Constrained simultaneous
confidence intervals for multiple comparisons with the best, Annals of Statistics 12; Schuirmann
(1987), tests of equivalence by two one-sided tests; Valeriani et al. (2023), The geometry of
hidden representations of large transformer models.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import stats

from georep_utils.geometry.resampling import check_group_count, checked_covariance
from georep_utils.io import UserError

VERSION = "semantic_layer 2.1"
MIN_LAYERS = 5  # a rise, a fall and a rise need four layers; one more leaves something to compare
WINDOW_LENGTHS = (1, 3, 5)  # odd, so that a window has a layer in its middle
LAYERS_PER_WINDOW = (
    8  # a window holds at most an eighth of the profile, or it would average over the features
)
MIN_RUN = 4  # layers of the shortest plateau: slope and curvature leave one degree of freedom
STEEPNESS = 0.5  # a plateau changes at most this much as fast as the way down to it
NO_ERROR = 1e-6  # of the largest error: contrasts that are surer than this count as exactly known
DRAWS = 2000  # noise profiles behind the critical value: its level is known to 0.005


@dataclass(frozen=True)
class SemanticLayer:
    """Layer of the first minimum or plateau of an ID profile after its first peak.

    Attributes
    ----------
    layer : int or None
        The layer of least ID in the minimum, or the middle of the plateau. None for kind "none".
    kind : str
        "minimum", "plateau" or "none".
    peak_layer : int or None
        The layer of the first peak; None where no peak stands out from the noise.
    low, high : int or None
        Confidence set of layers, ends included. For a minimum: with probability 1 - alpha it lies
        there. For a plateau: the run that is shown to be level.
    prominence : float
        How far the layer's ID lies below the lower of its two surrounding tops (minimum) or below
        the peak (plateau), in units of the peak's ID.
    p_value : float
        Smallest level at which the rule would still report a feature: bounds the probability of so
        clear a feature in a profile that has none.
    visible : float
        Smallest relative difference between two layers that these errors would show (median over
        the pairs of the longest windows). Where it is large, kind "none" says that the profile is
        too uncertain, not that it is flat.
    version : str
        Version of the rule, to be printed with every result.
    """

    layer: int | None
    kind: str
    peak_layer: int | None
    low: int | None
    high: int | None
    prominence: float
    p_value: float
    visible: float
    version: str = VERSION


@dataclass(frozen=True)
class _Contrasts:
    """Weights (rows) over n layers: windows, runs, and everything that is compared.

    window_first, window_last: (W,) ends of the windows; window_means: (W, n) weights; earlier,
    later: (P,) numbers of the disjoint windows of each pair; run_first, run_last: (R,); weights:
    (P + 2 R, n) pairs, changes, sags.
    """

    window_first: np.ndarray
    window_last: np.ndarray
    window_means: np.ndarray
    earlier: np.ndarray
    later: np.ndarray
    run_first: np.ndarray
    run_last: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class _Scores:
    """Standardised statements about a profile; the rule accepts those above its critical value.

    fall: (W,) window lies below an earlier peak; rise: (W,) window lies above an earlier minimum
    after a peak; run: (R,) run is a plateau after a peak; peak_of: (W, W) window (row) is a peak
    before the lower window (column); falls: (W, W) window (row) lies above the later window
    (column), negative for below.
    """

    fall: np.ndarray
    rise: np.ndarray
    run: np.ndarray
    peak_of: np.ndarray
    falls: np.ndarray


def semantic_layer(
    profile: pd.DataFrame,
    prominence: float = 0.05,
    alpha: float = 0.05,
    plateau_share: float = 0.2,
    n_blocks: int | None = None,
    covariance: np.ndarray | None = None,
    groups: int | None = None,
    scatter: bool = False,
    correlation: float = 0.0,
) -> SemanticLayer:
    """Find the first minimum, or plateau, of an ID profile after its first peak, with at most
    `alpha` false findings.

    Parameters
    ----------
    profile : DataFrame
        Columns layer, id and (unless `scatter` or `covariance`) id_err, the standard error of each
        ID. One row a layer.
    prominence : float
        Smallest relative difference between two IDs that counts, and largest relative change along
        a plateau. A twentieth is what two octaves of scale change an ID where its curve is flat.
    alpha : float
        Probability of a finding in a profile without a feature.
    plateau_share : float
        Shortest plateau as a share of the layers (never below four layers).
    n_blocks : int, optional
        Number of blocks of the network. Layers above it (the logits) are left out.
    covariance : (L, L) array, optional
        Covariance of the IDs between the rows of `profile`, as `resampling.jackknife` returns.
        Without it the errors of different layers count as independent, which makes steps between
        layers less certain than they are.
    groups : int, optional
        Number of groups behind `covariance` or id_err; the statements are then made with Student's
        distribution.
    scatter : bool
        Estimate one relative error from the scatter between neighbouring layers (`layer_scatter`),
        for curves that come without errors of their own. id_err, where there is one, is then a
        lower limit.
    correlation : float
        Correlation of the errors of neighbouring layers, 0 to below 1; those of layers j apart
        correlate at its j-th power. It can't be read off one profile. With `scatter` it enlarges
        the error, because errors that neighbours share hardly show in the scatter.

    Returns
    -------
    SemanticLayer

    Raises
    ------
    UserError
        Fewer than five layers, IDs that are not positive, errors that are missing or zero, a
        covariance that can be none, or a setting outside its range.
    """
    _check_settings(prominence, alpha, plateau_share, correlation)
    check_group_count(groups)
    kept = _without_logits(profile, n_blocks)
    layers = kept["layer"].to_numpy()
    ids = _checked_ids(kept)
    if covariance is None:
        covariance = _from_errors(_errors(kept, ids, scatter, correlation), correlation)
    else:
        covariance = _given_covariance(kept, profile, covariance, correlation)
    contrasts = _contrasts(len(ids), plateau_share)
    scale = _bend_scale(correlation) if scatter else None
    errors, noise = _noise(covariance.tobytes(), len(ids), plateau_share, scale)
    scores = _scores(ids, contrasts, errors, prominence)
    critical = _student(float(np.quantile(noise, 1 - alpha)), groups)
    best = max(scores.rise.max(), scores.run.max(initial=0))
    as_extreme = np.count_nonzero(noise >= _gaussian(best, groups))
    p_value = (1 + as_extreme) / (1 + DRAWS)
    certainty = p_value, _visible(ids, contrasts, errors, critical)
    return _located(layers, ids, contrasts, scores, critical, certainty)


def layer_scatter(ids: np.ndarray, correlation: float = 0.0) -> float:
    """Relative error of each ID of a profile, from how much it departs from the line between its
    two neighbours.

    The second difference of the logarithm has the variance of six independent errors. The median
    of its absolute value ignores the few layers where the profile itself bends; elsewhere a bend
    makes the result larger, never smaller. Errors that neighbouring layers share do the opposite:
    if they correlate at rho, the second difference has the variance of 6 - 8 rho + 2 rho^2 errors
    only. With rho = .9 that is .42, so that a result for rho = 0 is a quarter of the error.

    Parameters
    ----------
    ids : (L,) array
        IDs in layer order, five or more.
    correlation : float
        rho, as for `semantic_layer`.

    Returns
    -------
    float

    Raises
    ------
    UserError
        Fewer than five IDs, or one that is not positive.
    """
    ids = np.asarray(ids, dtype=float)
    if len(ids) < MIN_LAYERS or not (np.isfinite(ids) & (ids > 0)).all():
        raise UserError(
            f"the scatter of {len(ids)} IDs: expected {MIN_LAYERS} or more, all of them positive; "
            "leave out layers without an ID"
        )
    return _typical(np.diff(np.log(ids), n=2)) / _bend_scale(correlation)


def _typical(values: np.ndarray) -> np.ndarray:
    """Standard deviation of Gaussian values (along the first axis) about zero, from the median of
    their sizes.
    """
    return np.median(np.abs(values), axis=0) / stats.norm.ppf(0.75)


def _bend_scale(correlation: float) -> float:
    """Standard deviation of a second difference of errors of size one that correlate so."""
    return float(np.sqrt(6 - 8 * correlation + 2 * correlation**2))


def _check_settings(
    prominence: float, alpha: float, plateau_share: float, correlation: float
) -> None:
    settings = {
        "prominence": (prominence, 0 <= prominence < 1, "from 0 to below 1"),
        "alpha": (alpha, 0 < alpha < 1, "between 0 and 1"),
        "plateau_share": (plateau_share, 0 < plateau_share <= 1, "above 0, at most 1"),
        "correlation": (correlation, 0 <= correlation < 1, "from 0 to below 1"),
    }
    for name, (value, fits, expected) in settings.items():
        if not fits:
            raise UserError(f"{name} = {value}: expected a number {expected}; choose another one")


def _without_logits(profile: pd.DataFrame, n_blocks: int | None) -> pd.DataFrame:
    missing = {"layer", "id"} - set(profile.columns)
    if missing:
        raise UserError(
            f"the profile has no column {', '.join(sorted(missing))}: expected layer and id; add "
            "them"
        )
    kept = profile if n_blocks is None else profile[profile["layer"] <= n_blocks]
    if len(kept) < MIN_LAYERS:
        raise UserError(
            f"the profile has {len(kept)} layers: a peak and what follows it need {MIN_LAYERS}; "
            "read the ID at more layers"
        )
    if not np.all(np.diff(kept["layer"]) > 0):
        raise UserError(
            "the profile's layers are not in ascending order: expected one row a layer; sort them"
        )
    return kept


def _checked_ids(profile: pd.DataFrame) -> np.ndarray:
    ids = pd.to_numeric(profile["id"], errors="coerce").to_numpy(dtype=float)
    bad = ~(np.isfinite(ids) & (ids > 0))
    if bad.any():
        where = profile["layer"].to_numpy()[bad].tolist()
        raise UserError(
            f"layers {where} have no positive, finite ID: expected one for each layer; leave them "
            "out"
        )
    return ids


def _given_covariance(kept, profile, covariance, correlation: float) -> np.ndarray:
    """The covariance that the caller gave, of the layers that are kept."""
    if correlation:
        raise UserError(
            f"both a covariance and a correlation of {correlation:g} between layers: expected one "
            "of them; leave out the correlation, which the covariance holds already"
        )
    covariance = np.asarray(covariance, dtype=float)
    if covariance.shape == (len(profile), len(profile)):
        _check_errors(profile, np.sqrt(np.maximum(np.diag(covariance), 0)))
    covariance = checked_covariance(covariance, len(profile))
    rows = np.flatnonzero(profile["layer"].isin(kept["layer"]))
    return covariance[np.ix_(rows, rows)]


def _errors(kept, ids, scatter: bool, correlation: float) -> np.ndarray:
    """Standard errors of the IDs from their column, or from the scatter between layers."""
    if scatter:
        given = kept["id_err"].fillna(0) if "id_err" in kept else pd.Series(0.0, index=kept.index)
        relative = layer_scatter(ids, correlation)
        errors = np.maximum(relative * ids, given.to_numpy(dtype=float))
        if not (errors > 0).all():
            raise UserError(
                "the IDs do not scatter between neighbouring layers: without a scatter there is "
                "no error to be read from it; give errors in a column id_err"
            )
    elif "id_err" in kept:
        errors = pd.to_numeric(kept["id_err"], errors="coerce").to_numpy(dtype=float)
    else:
        raise UserError(
            "the profile has no column id_err: give errors, or a covariance, or take "
            "scatter=True to estimate the errors from the profile itself"
        )
    _check_errors(kept, errors)
    return errors


def _check_errors(profile, errors: np.ndarray) -> None:
    bad = ~(np.isfinite(errors) & (errors > 0))
    if bad.any():
        where = profile["layer"].to_numpy()[bad].tolist()
        raise UserError(
            f"layers {where} have an error that is zero or missing, or infinite: a layer cannot be "
            "told from noise without one; estimate it by resampling, or take scatter=True"
        )


def _from_errors(errors: np.ndarray, correlation: float) -> np.ndarray:
    """Covariance of errors that correlate the less, the more layers lie between them."""
    layer = np.arange(len(errors))
    apart = np.abs(layer[:, None] - layer)
    return correlation**apart * np.outer(errors, errors)


@lru_cache(maxsize=32)
def _contrasts(n: int, plateau_share: float) -> _Contrasts:
    lengths = [
        length for length in WINDOW_LENGTHS if length == 1 or length <= n / LAYERS_PER_WINDOW
    ]
    ends = [(first, first + length - 1) for length in lengths for first in range(n - length + 1)]
    window_first, window_last = np.array(ends).T
    window_means = np.array([_mean_weights(n, first, last) for first, last in ends])
    earlier, later = np.nonzero(window_last[:, None] < window_first[None, :])
    shortest = max(MIN_RUN, int(np.ceil(plateau_share * n)))
    runs = [(first, last) for first in range(n) for last in range(first + shortest - 1, n)]
    changes = [_polynomial_weights(n, first, last, degree=1) for first, last in runs]
    sags = [_polynomial_weights(n, first, last, degree=2) for first, last in runs]
    run_first, run_last = np.array(runs).reshape(-1, 2).T
    pairs = window_means[later] - window_means[earlier]
    weights = np.concatenate([pairs, np.reshape(changes, (-1, n)), np.reshape(sags, (-1, n))])
    return _Contrasts(
        window_first, window_last, window_means, earlier, later, run_first, run_last, weights
    )


def _mean_weights(n: int, first: int, last: int) -> np.ndarray:
    weights = np.zeros(n)
    weights[first : last + 1] = 1 / (last - first + 1)
    return weights


def _polynomial_weights(n: int, first: int, last: int, degree: int) -> np.ndarray:
    """Weights of the change along a run (degree 1) or of its sag (degree 2), by least squares."""
    length = last - first + 1
    x = (
        np.arange(length) - (length - 1) / 2
    ) / length  # -1/2 to 1/2: the slope is the change over the whole length
    basis = x if degree == 1 else x**2 - np.mean(x**2)
    size = 1.0 if degree == 1 else 0.25  # x^2 between the middle and the ends
    weights = np.zeros(n)
    weights[first : last + 1] = size * basis / (basis @ basis)
    return weights


@lru_cache(maxsize=64)
def _noise(
    covariance: bytes, n: int, plateau_share: float, bend_scale: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors of the contrasts, and the largest standardised contrast of each of `DRAWS`
    profiles of noise.

    bend_scale: where the error was estimated from second differences, what they have for errors of
    size one; None where the error is known.
    """
    matrix = np.frombuffer(covariance).reshape(n, n)
    weights = _contrasts(n, plateau_share).weights
    values, vectors = np.linalg.eigh(matrix)
    root = vectors * np.sqrt(
        np.maximum(values, 0)
    )  # a jackknife covariance may have fewer groups than layers
    variances = np.einsum("ci,ij,cj->c", weights, matrix, weights, optimize=True)
    # Two layers that are the same have a difference without an error.
    errors = np.sqrt(np.maximum(variances, NO_ERROR**2 * np.diag(matrix).max()))
    standardised = (weights @ root / errors[:, None]).astype(np.float32)
    normal = np.random.default_rng(0).standard_normal((n, DRAWS)).astype(np.float32)
    parts = np.array_split(normal, 8, axis=1)  # the whole product would take a hundred megabytes
    maxima = np.concatenate([np.abs(standardised @ part).max(axis=0) for part in parts])
    # the error is estimated from the same profile, so the noise is divided by its own estimate as
    # well
    if bend_scale is not None:
        relative = root @ normal / np.sqrt(np.diag(matrix))[:, None]
        maxima = maxima * bend_scale / _typical(np.diff(relative, n=2, axis=0))
    return errors, maxima


def _student(critical: float, groups: int | None) -> float:
    """Critical value with the same tail when the errors come from `groups` groups."""
    return critical if groups is None else float(stats.t.isf(stats.norm.sf(critical), groups - 1))


def _gaussian(score: float, groups: int | None) -> float:
    return score if groups is None else float(stats.norm.isf(stats.t.sf(score, groups - 1)))


def _scores(
    ids: np.ndarray, contrasts: _Contrasts, errors: np.ndarray, prominence: float
) -> _Scores:
    """A chain of statements is as sure as its weakest one, and a layer is scored by the best chain
    that ends there.
    """
    n_pairs = len(contrasts.earlier)
    means = contrasts.window_means @ ids
    size = (len(means), len(means))
    rises = np.zeros(
        size
    )  # [earlier, later], 0 where windows meet or differ by less than the prominence
    step = contrasts.weights[:n_pairs] @ ids
    larger = np.maximum(means[contrasts.earlier], means[contrasts.later])
    counted = np.where(np.abs(step) > prominence * larger, step / errors[:n_pairs], 0.0)
    rises[contrasts.earlier, contrasts.later] = counted
    up = rises.max(axis=0)  # the window stands above an earlier one
    peak_of = np.minimum(up[:, None], -rises)
    fall = peak_of.max(axis=0)
    rise = np.minimum(fall[:, None], rises).max(axis=0)
    run = _run_scores(ids, contrasts, errors, prominence, peak_of)
    return _Scores(fall, rise, run, peak_of, -rises)


def _run_scores(ids, contrasts: _Contrasts, errors, prominence: float, peak_of) -> np.ndarray:
    n_pairs, n_runs = len(contrasts.earlier), len(contrasts.run_first)
    changes = np.abs(contrasts.weights[n_pairs : n_pairs + n_runs] @ ids)
    sags = np.abs(contrasts.weights[n_pairs + n_runs :] @ ids)
    change_errors = errors[n_pairs : n_pairs + n_runs]
    sag_errors = errors[n_pairs + n_runs :]
    lengths = contrasts.run_last - contrasts.run_first + 1
    total = np.concatenate([[0], np.cumsum(ids)])
    allowed = prominence * (total[contrasts.run_last + 1] - total[contrasts.run_first]) / lengths
    level = np.minimum((allowed - changes) / change_errors, (allowed - sags) / sag_errors)
    pair_errors = np.full(peak_of.shape, np.inf)
    pair_errors[contrasts.earlier, contrasts.later] = errors[:n_pairs]
    means = contrasts.window_means @ ids
    middle = (contrasts.window_first + contrasts.window_last) / 2
    result = np.zeros(n_runs)
    for r in np.flatnonzero(level > 0):
        inside = contrasts.window_first >= contrasts.run_first[r]
        inside &= contrasts.window_last <= contrasts.run_last[r]
        lows = np.flatnonzero(inside)
        peaks = np.flatnonzero(contrasts.window_last < contrasts.run_first[r])
        if not len(lows) or not len(peaks):
            continue
        below = peak_of[np.ix_(peaks, lows)]
        highest, lowest = np.unravel_index(below.argmax(), below.shape)
        peak, low = peaks[highest], lows[lowest]
        if peak_of[peak, low] <= 0:
            continue
        # Both rates are a layer: the way down from the peak, with its error, against the change
        # within the run.
        share = STEEPNESS / (middle[low] - middle[peak])
        margin = share * (means[peak] - means[low]) - changes[r] / lengths[r]
        slower = margin / (share * pair_errors[peak, low] + change_errors[r] / lengths[r])
        result[r] = min(peak_of[peak, low], level[r], slower)
    return result


def _visible(ids: np.ndarray, contrasts: _Contrasts, errors: np.ndarray, critical: float) -> float:
    lengths = contrasts.window_last - contrasts.window_first
    longest = lengths == lengths.max()
    counted = longest[contrasts.earlier] & longest[contrasts.later]
    means = contrasts.window_means @ ids
    larger = np.maximum(means[contrasts.earlier], means[contrasts.later])
    return float(np.median((critical * errors[: len(larger)] / larger)[counted]))


def _located(
    layers, ids, contrasts: _Contrasts, scores: _Scores, critical: float, certainty
) -> SemanticLayer:
    """Read layers off the statements that reach the critical value: the first peak, and what
    follows it.
    """
    peak = _first_peak(ids, contrasts, scores, critical)
    if peak is None:
        return SemanticLayer(None, "none", None, None, None, 0.0, *certainty)
    plateau = _longest_run(contrasts, scores, critical)
    minimum = _first_minimum(ids, contrasts, scores, critical)
    if plateau is not None and (minimum is None or plateau[0] <= minimum[1]):
        first, last = plateau
        layer = (first + last) // 2
        kind = "plateau"
        drop = 1 - ids[first : last + 1].mean() / ids[peak]
    elif minimum is not None:
        first, last = minimum
        layer = _lowest(ids, contrasts, first, last)
        kind = "minimum"
        drop = (min(ids[peak], ids[layer:].max()) - ids[layer]) / ids[peak]
    else:
        return SemanticLayer(None, "none", int(layers[peak]), None, None, 0.0, *certainty)
    ends = int(layers[first]), int(layers[last])
    return SemanticLayer(
        int(layers[layer]), kind, int(layers[peak]), *ends, float(drop), *certainty
    )


def _first_peak(ids, contrasts: _Contrasts, scores: _Scores, critical: float) -> int | None:
    fallen = np.flatnonzero(scores.fall >= critical)
    if not len(fallen):
        return None
    first = fallen[np.argmin(contrasts.window_last[fallen])]
    tops = np.flatnonzero(scores.peak_of[:, first] >= critical)
    candidates = np.zeros(len(ids), dtype=bool)
    for top in tops:
        candidates[contrasts.window_first[top] : contrasts.window_last[top] + 1] = True
    return int(np.argmax(np.where(candidates, ids, -np.inf)))


def _rise_end(contrasts: _Contrasts, scores: _Scores, critical: float) -> int:
    """Last layer of the first window that is shown to stand above an earlier minimum."""
    return int(contrasts.window_last[scores.rise >= critical].min())


def _first_minimum(
    ids, contrasts: _Contrasts, scores: _Scores, critical: float
) -> tuple[int, int] | None:
    """Confidence set of the first minimum, as positions.

    A fall that is shown from one window to a later one means that the minimum does not lie before
    the earlier one; a rise that is shown means that it does not lie behind the later one.
    """
    if not (scores.rise >= critical).any():
        return None
    last = _rise_end(contrasts, scores, critical)
    down = (scores.falls >= critical) & (contrasts.window_last[None, :] <= last)
    first = int(contrasts.window_first[down.any(axis=1)].max())
    return first, last


def _lowest(ids, contrasts: _Contrasts, first: int, last: int) -> int:
    """Middle of the lowest of the longest windows that fit: a single layer is lowest by chance
    more easily.
    """
    fits = (contrasts.window_first >= first) & (contrasts.window_last <= last)
    lengths = (contrasts.window_last - contrasts.window_first)[fits]
    longest = np.flatnonzero(fits)[lengths == lengths.max()]
    lowest = longest[np.argmin(contrasts.window_means[longest] @ ids)]
    return int(contrasts.window_first[lowest] + contrasts.window_last[lowest]) // 2


def _longest_run(contrasts: _Contrasts, scores: _Scores, critical: float) -> tuple[int, int] | None:
    """The longest run that is shown to be level, without two windows that are shown to differ."""
    shown = np.flatnonzero(scores.run >= critical)
    apart = np.argwhere(np.abs(scores.falls) >= critical)
    starts = contrasts.window_first[apart[:, 0]]
    ends = contrasts.window_last[apart[:, 1]]
    first, last = contrasts.run_first[shown, None], contrasts.run_last[shown, None]
    shown = shown[~((starts >= first) & (ends <= last)).any(axis=1)]
    if not len(shown):
        return None
    lengths = contrasts.run_last[shown] - contrasts.run_first[shown]
    longest = shown[np.argmax(lengths)]
    return int(contrasts.run_first[longest]), int(contrasts.run_last[longest])
