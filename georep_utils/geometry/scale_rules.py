"""The scale at which intrinsic dimensions are read from their curves.

`scaling.py` measures curves of dimension against scale. A profile over the layers needs one number
for each layer, read at one scale for all of them. Which scale the paper used is not public to the
last detail, so there are four rules with names:

* ``paper_text``: TwoNN on a quarter of the points, as the paper's text says;
* ``igpt_release``: TwoNN on 1/32 of the points, four repetitions, as the authors' code does;
* ``gride_small_k``: the mean of Gride with neighbours 2-4 and 4-8, as DADApy advises for curves
  without a plateau;
* ``auto``: a search for a plateau, this project's own.

**The plateau test.** Around every scale s, log ID is fitted against log2 s within a window, by a
straight line (its *slope*) and by a parabola (its *bend*). A boundary changes log ID by a multiple
of the neighbour distance r, curvature and varying density by a multiple of r^2, and r grows as
s^(1 / ID). So the slope tells how far the ID is from its limit, at most. A layer has a plateau at a
scale if four tests pass there:

1. *slope*: |slope| ID / ln 2 is small. This is the relative bias that a boundary would cause.
2. *bend*: bend ID^2 / (2 ln^2 2) is small. Noise raises the ID and dies out as r^-2; curvature
   raises it and grows as r^2. Where the two balance, the slope is zero and the ID is still too
   high, by an amount that the bend tells.
3. *control*: 1 - ID / D is small, where D is the dimension of the full-rank Gaussian cloud, of as
   many points, that shows this ID. A Gaussian has no lower dimension and no plateau, but its curve
   drifts slowly. Where such a cloud is underestimated, a flat curve proves nothing.
4. *spread*: the range over the window is small against the mean. For low ID any slope is a small
   bias; this catches what the first test lets pass there.

Layers then vote: the scale with most plateaus wins, among equals the one of least median bias.
Where no scale has enough votes, there is no plateau, and ``auto`` reads the mean over scales 2 and
4. Whatever the rule, `Selection` says whether the layers have a plateau at the scale nearest to it.
`benchmarks/validate_plateau.py` counts how often the tests err, over hundreds of clouds of known
dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from georep_utils.geometry.neighbors import largest_range, nearest_neighbors
from georep_utils.geometry.scaling import gride_scaling
from georep_utils.io import UserError


class Rule(NamedTuple):
    """What a rule reads: the mean over `scales` of a method's curve.

    repetitions, fraction: what the curve must have been measured with (None: any fraction).
    """

    method: str
    scales: tuple[float, ...]
    repetitions: int = 1
    fraction: float | None = None


RULES = {
    "paper_text": Rule("twonn", (4.0,)),
    "igpt_release": Rule("twonn", (32.0,), repetitions=4, fraction=0.98),
    "gride_small_k": Rule("gride", (2.0, 4.0)),
}

# Dimensions of the Gaussian controls: half octaves from 1 to 1024, rounded. Between two of them the
# logarithm of the dimension is interpolated.
GRID = np.unique(np.rint(2 ** (np.arange(21) / 2)).astype(int))


@dataclass(frozen=True)
class Selection:
    """One scale for all layers of a model, and what was read there.

    Attributes
    ----------
    rule : str
        The rule's name.
    method : str
        "twonn" or "gride".
    scale : float
        N / n; the geometric mean where a rule averages several.
    plateau : bool
        Whether enough layers have a plateau there.
    profile : DataFrame
        A row for each layer: layer, id, id_err (statistical), id_sys (systematic: half the range of
        the ID over half, same and double the scale; NaN where only one of these is known), scale,
        plateau.
    diagnostics : DataFrame
        A row for each layer and scale of the tested curve: layer, scale, id, slope, slope_err,
        bias, bend_bias, control_bias, spread, failed (the first test that failed: slope, bend,
        control, spread; "" for a plateau), plateau.
    reason : str
        One line for a reader.
    """

    rule: str
    method: str
    scale: float
    plateau: bool
    profile: pd.DataFrame
    diagnostics: pd.DataFrame
    reason: str


def select_scale(
    curves: pd.DataFrame,
    rule: str = "auto",
    method: str | None = None,
    window: int = 5,
    max_bias: float = 0.08,
    max_control_bias: float = 0.05,
    max_spread: float = 0.15,
    max_bend_bias: float = 0.08,
    error_floor: float = 0.005,
    vote: float = 0.5,
    device: str = "auto",
) -> Selection:
    """Read one dimension for each layer, at one scale for all layers; the rule says which.

    Parameters
    ----------
    curves : DataFrame
        Rows of `twonn_scaling` and `gride_scaling` of all layers, with a column `layer` (without
        one: of a single layer, 0).
    rule : {"auto", "paper_text", "igpt_release", "gride_small_k"}
        See the module's documentation.
    method : {"gride", "twonn"}, optional
        The curve that is tested for plateaus. None: Gride where there is one, else TwoNN.
    window : int
        Scales in a window. Five settle the slope to 0.3 % an octave at N = 5,000.
    max_bias, max_bend_bias : float
        Limits of the first two tests. 0.08 leaves 0.02 of a tenth for chance; of 0.08, 0.1, .. it
        is the largest that vouched for no value off by a tenth.
    max_control_bias : float
        Limit of the third test. Cubes and balls are off by twice as much as a Gaussian; hence half
        of a tenth.
    max_spread : float
        Limit of the fourth test.
    error_floor : float
        Relative error that is added to each point of a curve. The statistical errors at large ranks
        are tiny, and would decide the fits alone.
    vote : float
        Share of the layers that must have a plateau.
    device : str
        Where neighbours of the Gaussian controls are searched for, as in `nearest_neighbors`.

    Returns
    -------
    Selection

    Raises
    ------
    UserError
        The rule is unknown; the curves are empty, double or incomplete; or the scales, repetitions
        or fraction that the rule reads were not measured. The message names the layer.
    """
    _check_rule(rule)
    curves = _checked(curves)
    tested = _tested_curves(curves, method, window)
    limits = _Limits(max_bias, max_bend_bias, max_control_bias, max_spread)
    gaussians = _gaussian_dimensions(tested.n_points, tested.ids, device)
    diagnostics = _diagnose(tested, gaussians, window, error_floor, limits)

    votes = _count_votes(diagnostics)
    reading = _voted(votes, tested.method, vote) if rule == "auto" else RULES[rule]
    profile = _read(curves, rule, reading)
    scale = float(profile["scale"].iloc[0])
    profile["plateau"] = _plateaus_nearest(scale, votes, diagnostics, profile["layer"])

    share = float(profile["plateau"].mean())
    reason = (
        f"{rule}: {reading.method} at N/n = {scale:.3g}; "
        f"{share:.0%} of {len(profile)} layers have a plateau there"
    )
    return Selection(rule, reading.method, scale, share >= vote, profile, diagnostics, reason)


# ---- Checking the curves ----


@dataclass(frozen=True)
class _TestedCurves:
    """The curves that are tested for plateaus, on the scales that all layers have.

    ids, errors: a row for each layer, a column for each scale. n_points: N, of the whole cloud.
    """

    method: str
    ids: pd.DataFrame
    errors: pd.DataFrame
    n_points: int


def _check_rule(rule: str) -> None:
    if rule != "auto" and rule not in RULES:
        raise UserError(f"unknown scale rule {rule!r}: expected auto, {', '.join(RULES)}")


def _checked(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the curves with a column `layer`; refuse none at all, and two for one layer."""
    if curves.empty:
        raise UserError("the curves have no rows: expected those of twonn_scaling or gride_scaling")
    if "layer" not in curves:
        curves = curves.assign(layer=0)
    twice = curves.duplicated(["layer", "method", "scale"])
    if twice.any():
        row = curves[twice].iloc[0]
        raise UserError(
            f"{row['method']} at N/n = {row['scale']:g} stands twice for layer {row['layer']}: "
            "give each scaling table its layer, in a column `layer`, before they are put together"
        )
    return curves


def _tested_curves(curves: pd.DataFrame, method: str | None, window: int) -> _TestedCurves:
    if method is None:
        method = "gride" if (curves["method"] == "gride").any() else "twonn"
    rows = curves[curves["method"] == method]
    # A scale that some layer lacks cannot be the scale of all.
    ids = rows.pivot(index="layer", columns="scale", values="id").dropna(axis=1)
    errors = rows.pivot(index="layer", columns="scale", values="id_err").dropna(axis=1)
    missing = sorted(set(curves["layer"]) - set(ids.index))
    if missing:
        raise UserError(
            f"layers {missing} have no {method} rows, others have: "
            "compute the same curves for every layer"
        )
    if len(ids.columns) < window:
        raise UserError(
            f"{len(ids.columns)} scales of {method} are common to all layers, "
            f"{window} are needed to see a plateau"
        )
    # TwoNN's rows have the n of their subsets, Gride's the N of the cloud.
    decimation = rows["scale"] if method == "twonn" else 1
    n_points = round((rows["n_points"] * decimation).max())
    return _TestedCurves(method, ids, errors, n_points)


# ---- The Gaussian control ----


@lru_cache(maxsize=256)
def gaussian_reference(
    n: int, dimension: int, device: str = "auto", seed: int = 0, queries: int = 5_000
) -> pd.DataFrame:
    """Return the Gride curve of n points of a full-rank Gaussian.

    The result is kept for the next call: copy it before changing it.

    Parameters
    ----------
    n, dimension : int
        Of the cloud.
    device : str
        As in `nearest_neighbors`.
    seed : int
        Of the cloud, together with its dimension.
    queries : int
        Points, at most, whose ratios are used. Their neighbours are those among all n, so that this
        changes the curve by its statistical error alone, which 5,000 points keep below 2 %.

    Returns
    -------
    DataFrame
        As of `gride_scaling`.
    """
    rng = np.random.default_rng([seed, dimension])
    points = rng.standard_normal((n, dimension)).astype(np.float32)
    rows = slice(0, min(n, queries))
    table = nearest_neighbors(points, maxk=2, range_max=largest_range(n), device=device, rows=rows)
    return gride_scaling(table)


def _gaussian_dimensions(n: int, ids: pd.DataFrame, device: str) -> pd.DataFrame:
    """Return the dimension of the n-point Gaussian that shows each ID (layer x scale).

    NaN where even the largest control shows less.
    """
    log_scales = np.log2(ids.columns.to_numpy(dtype=float))
    # A Gaussian of dimension D shows an ID below D. The controls begin just below the least ID and
    # end where they show more than the largest, at every scale.
    start = max(0, np.searchsorted(GRID, 0.9 * ids.min().min()) - 1)
    dimensions = []
    shown = []
    for dimension in GRID[start:]:
        curve = gaussian_reference(n, int(dimension), device)
        dimensions.append(dimension)
        shown.append(np.interp(log_scales, np.log2(curve["scale"]), np.log(curve["id"])))
        if (shown[-1] >= np.log(ids.max())).all():
            break

    result = ids.copy()
    table = np.array(shown)
    for i, scale in enumerate(ids.columns):
        # np.interp asks for ascending values, which sampling noise may break by a hair.
        ascending = np.maximum.accumulate(table[:, i])
        log_dimension = np.interp(np.log(ids[scale]), ascending, np.log(dimensions), right=np.nan)
        result[scale] = np.exp(log_dimension)
    return result


# ---- The four tests of a layer's curve ----


@dataclass(frozen=True)
class _Limits:
    """The largest values that pass the four tests."""

    bias: float
    bend_bias: float
    control_bias: float
    spread: float


@dataclass(frozen=True)
class _Place:
    """A layer's curve at one scale: what the tests look at, and how they end."""

    layer: object
    scale: float
    id: float
    slope: float
    slope_err: float
    bias: float
    bend_bias: float
    control_bias: float
    spread: float
    failed: str
    plateau: bool


def _diagnose(
    tested: _TestedCurves,
    gaussians: pd.DataFrame,
    window: int,
    error_floor: float,
    limits: _Limits,
) -> pd.DataFrame:
    """Return the outcome of the four tests, a row for each layer and scale."""
    scales = tested.ids.columns
    log_scales = np.log2(scales.to_numpy(dtype=float))
    places = []
    for layer in tested.ids.index:
        ids = tested.ids.loc[layer].to_numpy()
        log_ids = np.log(ids)
        relative_errors = tested.errors.loc[layer].to_numpy() / ids
        weights = 1 / np.hypot(relative_errors, error_floor)
        for i, scale in enumerate(scales):
            part = _window_at(i, len(ids), window)
            slope, slope_err, bend = _fit(log_scales[part], log_ids[part], weights[part])
            measured = {
                "bias": abs(slope) * ids[i] / np.log(2),
                "bend_bias": bend * ids[i] ** 2 / (2 * np.log(2) ** 2),
                "control_bias": 1 - ids[i] / gaussians.loc[layer, scale],
                "spread": np.ptp(ids[part]) / ids[part].mean(),
            }
            failed = _first_failed(measured, limits)
            place = _Place(
                layer=layer,
                scale=scale,
                id=ids[i],
                slope=slope,
                slope_err=slope_err,
                **measured,
                failed=failed,
                plateau=failed == "",
            )
            places.append(place)
    return pd.DataFrame(places)


def _window_at(i: int, n_scales: int, window: int) -> slice:
    """Return the window of scale i: from the scale below it upwards, moved to fit into the curve.

    Upwards, since what the slope is to reveal, a boundary or curvature, grows with the scale.
    """
    low = max(0, min(i - 1, n_scales - window))
    return slice(low, low + window)


def _fit(log_scales, log_ids, weights) -> tuple[float, float, float]:
    """Return slope and its error from a straight line, and the bend from a parabola."""
    # Centred, the first two coefficients of the parabola do not disturb each other.
    x = log_scales - log_scales.mean()
    line, covariance = np.polyfit(x, log_ids, 1, w=weights, cov="unscaled")
    bend, _, _ = np.polyfit(x, log_ids, 2, w=weights)
    return line[0], covariance[0, 0] ** 0.5, bend


def _first_failed(measured: dict[str, float], limits: _Limits) -> str:
    """Return the name of the first test that fails, or "" if all pass."""
    passed = {
        "slope": measured["bias"] <= limits.bias,
        "bend": measured["bend_bias"] <= limits.bend_bias,
        # NaN where no control shows so large an ID: not below any limit.
        "control": measured["control_bias"] <= limits.control_bias,
        "spread": measured["spread"] <= limits.spread,
    }
    for name, passes in passed.items():
        if not passes:
            return name
    return ""


# ---- The vote ----


def _count_votes(diagnostics: pd.DataFrame) -> pd.DataFrame:
    """Return for each scale the share of layers with a plateau there, and their median bias."""
    by_scale = diagnostics.groupby("scale")
    return by_scale.agg(share=("plateau", "mean"), bias=("bias", "median")).reset_index()


def _voted(votes: pd.DataFrame, method: str, vote: float) -> Rule:
    """Return what `auto` reads: the scale with most votes, if these are enough."""
    best = votes.sort_values(["share", "bias"], ascending=[False, True]).iloc[0]
    if best["share"] >= vote:
        return Rule(method, (best["scale"],))
    return Rule(method, RULES["gride_small_k"].scales)


def _plateaus_nearest(
    scale: float, votes: pd.DataFrame, diagnostics: pd.DataFrame, layers: pd.Series
) -> pd.Series:
    """Return for each layer whether it has a plateau at the tested scale nearest to `scale`."""
    octaves_away = abs(np.log(votes["scale"] / scale))
    nearest = votes["scale"].iloc[np.argmin(octaves_away)]
    there = diagnostics[diagnostics["scale"] == nearest].set_index("layer")
    return layers.map(there["plateau"])


# ---- The reading ----


def _read(curves: pd.DataFrame, name: str, rule: Rule) -> pd.DataFrame:
    """Return the dimension of each layer as the rule reads it."""
    curves_of_method = curves[curves["method"] == rule.method]
    rows = []
    for layer in curves["layer"].unique():
        curve = curves_of_method[curves_of_method["layer"] == layer].set_index("scale")
        _check_readable(curve, layer, name, rule)
        read = curve.loc[list(rule.scales)]
        row = {
            "layer": layer,
            "id": read["id"].mean(),
            "id_err": (read["id_err"] ** 2).sum() ** 0.5 / len(read),
            "id_sys": _systematic_error(curve["id"], rule.scales),
            "scale": float(np.prod(rule.scales) ** (1 / len(rule.scales))),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _check_readable(curve: pd.DataFrame, layer, name: str, rule: Rule) -> None:
    fits = curve["repetitions"] >= rule.repetitions
    with_fraction = ""
    if rule.fraction is not None:
        fits &= curve["fraction"] == rule.fraction
        with_fraction = f" with fraction {rule.fraction}"
    if not set(rule.scales) <= set(curve.index[fits]):
        raise UserError(
            f"layer {layer}: rule {name} reads {rule.method} at N/n = {list(rule.scales)} from "
            f"{rule.repetitions} repetitions{with_fraction}; "
            "compute that, from more points if they are too few"
        )


def _systematic_error(ids: pd.Series, scales: tuple[float, ...]) -> float:
    """Return half the range of the reading over half, same and double the scales."""
    readings = []
    for factor in (0.5, 1, 2):
        shifted = [scale * factor for scale in scales]
        if set(shifted) <= set(ids.index):
            readings.append(ids.loc[shifted].mean())
    return np.ptp(readings) / 2 if len(readings) > 1 else np.nan
