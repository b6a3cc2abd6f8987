"""The scale at which an intrinsic dimension is read, the same for all layers of a model.

An estimated dimension is a curve over the scale N/n. Where the curve is flat the number means
something by itself; elsewhere it is "the dimension at scale s". The authors' exact rule is not
public, so their two statements are rules here (`paper_text`, `igpt_release`), DADApy's advice for
curves without a plateau is a third (`gride_small_k`), and the paper's Appendix B a fourth:

    `auto`: the common scale where the dimension depends least on the scale.

`auto` certifies a layer's number when two tests agree that it is the dimension to within a tenth:

*Scale.* Whatever disturbs an estimate changes with the distance r to the neighbours: a boundary at
least in proportion to r, curvature and uneven density as r^2, noise the other way round. From
scale s to 4 s distances grow by the factor 4^(1/ID). A disturbance of relative size b at s
therefore changes the curve by at least b (4^(1/ID) - 1) over two octaves. Read backwards, the
range of the curve over two octaves to either side, with its standard error, divided by 4^(1/ID) -
1, bounds the disturbance. The bound must be below a twentieth, half of what is promised: two
disturbances of opposite sign can hide half of each other. Both sides are asked for, since noise
and curvature can cancel at one scale but not at five. And distances must at least double from one
end of the window to the other, 16^(1/ID) >= 2: over less than that any curve can be flat by
accident. So nothing above dimension 4 is ever certified.

*Law.* Points in d dimensions with constant density have (r_k / r_2k)^d distributed as Beta(k, k).
A mixture of two dimensions, or a density that changes within a neighbourhood, makes the ratios
differ more than that: their dispersion, the variance of the ratios after they are turned into
normal scores, exceeds one. It may by a twentieth, about twice its chance error among 5,000 points.

Both constants of size were set on families of clouds (`benchmarks/scale_families.py`, design) that
share none with those on which the certificates were then counted (validation).

Where it is blind: both tests average over the points, so a part of another dimension that is
smaller than a fifth can pass; so does structure that is smaller than the distance to the nearest
neighbour at every scale tested, such as two folds that look like one layer. It says no far more
often than needed, and always above dimension 4. A missing certificate says that the number depends
on the scale, or cannot be checked, not that it is wrong.

References: Valeriani et al. (2023), Appendix B; Denti et al. (2022), The generalized ratios
intrinsic dimension estimator, Scientific Reports 12.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from georep_utils.geometry.neighbors import Neighbors
from georep_utils.io import UserError

MAX_BIAS = 0.05  # half of the tenth that a certificate promises
MAX_DISPERSION = 1.05
OCTAVES = 2  # to either side of the scale
MIN_GROWTH = 2  # of the distances, over all these octaves
MAX_SCALE = 64  # larger neighbourhoods are a percent of 5,000 points and more: not local


@dataclass(frozen=True)
class Rule:
    """Method and scales whose estimates are averaged; least number of repetitions; fraction of the
    ratios, if fixed.
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


@dataclass(frozen=True)
class Selection:
    """One scale for all layers of a model, and what was read there.

    rule, method, scale (N/n); certified: share of the layers with a certificate (auto only, else
    NaN); profile: rows layer, id, id_err (statistical), id_sys (|slope| ID / ln 2: what the
    dependence on scale leaves open), scale, certified; diagnostics: of auto, rows layer, scale,
    id, change, bias, dispersion, refused ("", "scale" or "law").
    """

    rule: str
    method: str
    scale: float
    certified: float
    profile: pd.DataFrame
    diagnostics: pd.DataFrame


def select_scale(curves: pd.DataFrame, rule: str = "paper_text") -> Selection:
    """Read one dimension a layer at one scale, the same for all layers; the rule says which.

    Parameters
    ----------
    curves : DataFrame
        Rows of `twonn_scaling` and `gride_scaling` of every layer, with a column layer; for auto
        the Gride rows have a column dispersion (`with_dispersion`).
    rule : str
        paper_text, igpt_release, gride_small_k or auto.

    Raises
    ------
    UserError
        An unknown rule, or scales, repetitions, fraction or dispersions that the curves lack,
        naming the layer.
    """
    if rule == "auto":
        diagnostics = certificates(curves)
        scale = float(diagnostics.groupby("scale")["bias"].median().idxmin())
        profile = _read(curves, Rule("gride", (scale,)), rule)
        here = diagnostics[diagnostics["scale"] == scale].set_index("layer")
        profile["certified"] = profile["layer"].map(here["refused"] == "")
        return Selection(
            rule, "gride", scale, float(profile["certified"].mean()), profile, diagnostics
        )
    if rule not in RULES:
        raise UserError(
            f"unknown scale rule {rule!r}: expected auto, {', '.join(RULES)}; choose one of them"
        )
    profile = _read(curves, RULES[rule], rule).assign(certified=False)
    scale = float(profile["scale"].iloc[0])
    return Selection(rule, RULES[rule].method, scale, np.nan, profile, pd.DataFrame())


def available(curves: pd.DataFrame) -> dict[str, str]:
    """For each rule "" where these curves have what it reads, else what is missing: to leave it
    out by name.
    """
    result = {}
    for rule in (*RULES, "auto"):
        try:
            select_scale(curves, rule)
            result[rule] = ""
        except UserError as error:
            result[rule] = str(error)
    return result


def with_dispersion(gride: pd.DataFrame, neighbors: Neighbors) -> pd.DataFrame:
    """One layer's Gride curve with a column dispersion: the variance of its ratios' normal scores,
    1 under the law.

    Parameters
    ----------
    gride : DataFrame
        Of `gride_scaling(neighbors)`.
    neighbors : Neighbors
        The search behind it.
    """
    dispersions = []
    for i, (k, dimension) in enumerate(zip(gride["k"], gride["id"], strict=True)):
        ratios = np.asarray(neighbors.mus[:, i], dtype=float)
        ratios = ratios[np.isfinite(ratios) & (ratios > 1)]
        shares = stats.beta.cdf(ratios**-dimension, k, k)
        # a ratio beyond six deviations counts as that
        scores = stats.norm.ppf(np.clip(shares, 1e-9, 1 - 1e-9))
        dispersions.append(scores.var())
    return gride.assign(dispersion=dispersions)


def certificates(curves: pd.DataFrame) -> pd.DataFrame:
    """The two tests of every layer at every scale that has two octaves to either side.

    Returns
    -------
    DataFrame
        Rows layer, scale, id, change (range over the window and its error, over the ID), bias (the
        bound), dispersion, refused.
    """
    gride = curves[curves["method"] == "gride"]
    if gride.empty or "dispersion" not in gride or gride["dispersion"].isna().any():
        raise UserError(
            "auto reads Gride curves with their dispersion: take "
            "with_dispersion(gride_scaling(...), ...)"
        )
    rows = []
    for layer, curve in gride.groupby("layer", sort=False):
        curve = curve.sort_values("scale")
        rows += [(layer, *row) for row in _tested(curve)]
    if not rows:
        raise UserError(
            f"a curve needs {2 * OCTAVES + 1} scales that double: search with a larger range_max"
        )
    columns = ["layer", "scale", "id", "change", "bias", "dispersion", "refused"]
    return pd.DataFrame(rows, columns=columns)


def _tested(curve: pd.DataFrame) -> list[tuple]:
    ids = curve["id"].to_numpy()
    errors = curve["id_err"].to_numpy()
    scales = curve["scale"].to_numpy()
    dispersions = curve["dispersion"].to_numpy()
    rows = []
    for i in range(OCTAVES, len(ids) - OCTAVES):
        if scales[i] > MAX_SCALE:
            break
        window = slice(i - OCTAVES, i + OCTAVES + 1)
        ends = [ids[window].argmax(), ids[window].argmin()]
        # or a lucky curve in high dimension would look flat
        error = np.hypot(*errors[window][ends])
        change = (np.ptp(ids[window]) + error) / ids[i]
        bias = change / (2 ** (OCTAVES / ids[i]) - 1)
        growth = 2 ** (2 * OCTAVES / ids[i])
        refused = "scale" if bias > MAX_BIAS or growth < MIN_GROWTH else ""
        if not refused and dispersions[i] > MAX_DISPERSION:
            refused = "law"
        rows.append((scales[i], ids[i], change, bias, dispersions[i], refused))
    return rows


def _read(curves: pd.DataFrame, rule: Rule, name: str) -> pd.DataFrame:
    rows = []
    scale = float(np.prod(rule.scales) ** (1 / len(rule.scales)))
    for layer, curve in curves[curves["method"] == rule.method].groupby("layer", sort=False):
        fits = curve["repetitions"] >= rule.repetitions
        if rule.fraction is not None:
            fits &= curve["fraction"] == rule.fraction
        known = curve[fits].set_index("scale")
        if not set(rule.scales) <= set(known.index):
            raise UserError(
                f"layer {layer}: rule {name} reads {_wanted(rule)}; compute these, from more "
                "points if they are too few"
            )
        wanted = known.loc[list(rule.scales)]
        value = wanted["id"].mean()
        error = np.sqrt((wanted["id_err"] ** 2).sum()) / len(wanted)
        rows.append((layer, value, error, _systematic(curve, rule.scales, value), scale))
    if not rows:
        raise UserError(f"rule {name} reads {rule.method} curves and there are none: compute them")
    return pd.DataFrame(rows, columns=["layer", "id", "id_err", "id_sys", "scale"])


def _wanted(rule: Rule) -> str:
    """What a rule reads, for messages."""
    scales = " and ".join(f"{scale:g}" for scale in rule.scales)
    text = f"{rule.method} at N/n = {scales}"
    if rule.repetitions > 1:
        text += f" from {rule.repetitions} repetitions"
    if rule.fraction is not None:
        text += f" with fraction {rule.fraction:g}"
    return text


def _systematic(curve: pd.DataFrame, scales: tuple[float, ...], value: float) -> float:
    """|slope| ID / ln 2 times the ID, with the slope of log ID over the octaves around the scales;
    NaN with one scale.
    """
    near = curve[(curve["scale"] >= min(scales) / 2) & (curve["scale"] <= max(scales) * 2)]
    if len(near) < 2:
        return np.nan
    slope = np.polyfit(np.log2(near["scale"]), np.log(near["id"]), 1)[0]
    return float(abs(slope) * value / np.log(2) * value)
