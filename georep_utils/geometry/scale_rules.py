"""The scale at which an intrinsic dimension is read.

The curves come from `scaling.py`, the layer that a profile singles out from `semantic.py`; their names are also here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.io import UserError
from georep_utils.geometry.scaling import check_representation, drop_duplicates, gride_scaling, n_different, twonn_scaling
from georep_utils.geometry.semantic_layer import SemanticLayer, semantic_layer

__all__ = [
    "RULES",
    "Selection",
    "SemanticLayer",
    "check_representation",
    "drop_duplicates",
    "gaussian_reference",
    "gride_scaling",
    "n_different",
    "select_scale",
    "semantic_layer",
    "twonn_scaling",
]

RULES = {  # rule: method, the scales it averages, repetitions, fraction
    "paper_text": ("twonn", (4.0,), 1, None),
    "igpt_release": ("twonn", (32.0,), 4, 0.98),
    "gride_small_k": ("gride", (2.0, 4.0), 1, None),
}
GRID = np.unique(np.rint(2 ** (np.arange(21) / 2)).astype(int))  # dimensions of the Gaussian controls, 1 to 1024


@lru_cache(maxsize=256)
def gaussian_reference(
    n: int, dimension: int, device: str = "auto", seed: int = 0, queries: int = 5_000
) -> pd.DataFrame:
    """Gride curve of n points of a full-rank Gaussian, at the first `queries` of them. Cached: copy it to change it."""
    points = np.random.default_rng([seed, dimension]).standard_normal((n, dimension)).astype(np.float32)
    ranks, rows = 2 ** int(np.log2(min(1024, n - 1))), slice(0, min(n, queries))
    return gride_scaling(nearest_neighbors(points, maxk=2, range_max=ranks, device=device, rows=rows))


def _gaussian_dimensions(n: int, ids: pd.DataFrame, device: str) -> pd.DataFrame:
    """Dimension of the n-point Gaussian that shows each estimate (layer x scale); NaN above the largest control."""
    controls, log_scales = {}, np.log2(ids.columns.to_numpy(dtype=float))
    for dimension in GRID[max(0, np.searchsorted(GRID, 0.9 * ids.min().min()) - 1) :]:
        known = gaussian_reference(n, int(dimension), device)
        controls[dimension] = np.interp(log_scales, np.log2(known["scale"]), np.log(known["id"]))
        if (controls[dimension] >= np.log(ids.max())).all():
            break
    table, result = np.array(list(controls.values())), ids.copy()
    for i, scale in enumerate(ids.columns):
        matched = np.interp(
            np.log(ids[scale]), np.maximum.accumulate(table[:, i]), np.log(list(controls)), right=np.nan
        )
        result[scale] = np.exp(matched)
    return result


@dataclass(frozen=True)
class Selection:
    """One scale for all layers of a model, and what was read there.

    rule, method, scale (N/n); plateau: enough layers have one there; reason: one line for a reader;
    profile: a row a layer: layer, id, id_err (statistical), id_sys (half the range over half, same and double the scale;
    NaN where only one is known), scale, plateau; diagnostics: a row a layer and scale, the numbers behind
    the tests and the first of them that failed (slope, bend, control, spread; "" for a plateau).
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
    """Read one dimension a layer at one scale, the same for all layers; the rule says which scale.

    curves: rows of twonn_scaling and gride_scaling of every layer, with a column `layer` (without one: of one layer, 0).
    Rules: paper_text (TwoNN, 4), igpt_release (TwoNN, 32, 4 repetitions, fraction 0.98), gride_small_k (mean of Gride 2-4
    and 4-8), auto.
    auto is this book's plateau test. At scale s it fits log ID against log2 scale over a window from s / 2 upwards:
    slope and bend (second-order term), weighted by the errors. A plateau at s needs all four:
    - bias = |slope| ID / ln 2 <= max_bias: a boundary changes log ID by a multiple of r, curvature and density by one of
      r^2, and r grows as scale^(1/ID), so the slope tells how far ID is from its limit, at most; 0.08 leaves 0.02 of a
      tenth for chance, and of 0.08, 0.1, .. it is the largest that vouched for no value off by a tenth;
    - bend_bias = bend ID^2 / (2 ln^2 2) <= max_bend_bias: noise dies out as r^-2 while curvature sets in as r^2; where the
      two balance the slope is zero and both lift the ID, by what the bend tells. 0.08 as above;
    - control_bias = 1 - ID / D <= max_control_bias, for the full-rank Gaussian of the same N that shows this ID but has
      dimension D: where a cloud without structure is underestimated, a flat curve proves nothing; cubes and balls are
      off twice as much as it, hence half of a tenth;
    - spread (range over mean in the window) <= max_spread: backstop for low ID, where any slope is a small bias.
    benchmarks/validate_plateau.py counts, over hundreds of clouds that set none of these, how often it is wrong.
    window: 5 scales, two octaves up and a pair to spare, settle the slope to 0.3 % an octave at N = 5,000.
    error_floor: relative model error added to each point, lest the tiny errors at large ranks decide alone.
    Layers vote: the scale with most plateaus wins, then the one of least median bias. Where no scale has a share `vote`,
    plateau is False and auto reads the mean of scales 2 and 4, which is DADApy's advice for curves without a plateau.
    method: curve that is tested (None: Gride where there is one, else TwoNN). Every rule is tested at its nearest scale.
    UserError: unknown rule, or scales, repetitions or fraction that the curves lack, naming the layer.
    """
    if rule != "auto" and rule not in RULES:
        raise UserError(f"unknown scale rule {rule!r}: expected auto, {', '.join(RULES)}")
    if curves.empty:
        raise UserError("the curves have no rows: expected those of twonn_scaling or gride_scaling")
    curves = curves if "layer" in curves else curves.assign(layer=0)
    if (twice := curves.duplicated(["layer", "method", "scale"])).any():
        row = curves[twice].iloc[0]
        raise UserError(
            f"{row['method']} at N/n = {row['scale']:g} stands twice for layer {row['layer']}: give each scaling table its "
            "layer, in a column `layer`, before they are put together"
        )
    basis = method or ("gride" if (curves["method"] == "gride").any() else "twonn")
    tested = curves[curves["method"] == basis]
    ids, errors = (
        tested.pivot(index="layer", columns="scale", values=name).dropna(axis=1) for name in ("id", "id_err")
    )
    if missing := sorted(set(curves["layer"]) - set(ids.index)):
        raise UserError(f"layers {missing} have no {basis} rows, others have: compute the same curves for every layer")
    if len(ids.columns) < window:
        raise UserError(
            f"{len(ids.columns)} scales of {basis} are common to all layers, {window} are needed to see a plateau"
        )
    n = round((tested["n_points"] * (tested["scale"] if basis == "twonn" else 1)).max())
    gaussians, log_scales, rows = _gaussian_dimensions(n, ids, device), np.log2(ids.columns.to_numpy(dtype=float)), []
    for layer in ids.index:
        value, log_id = ids.loc[layer].to_numpy(), np.log(ids.loc[layer].to_numpy())
        weight = 1 / np.hypot(errors.loc[layer].to_numpy() / value, error_floor)
        for i, scale in enumerate(ids.columns):
            low = max(0, min(i - 1, len(value) - window))
            part = slice(low, low + window)
            x = log_scales[part] - log_scales[part].mean()
            line, line_var = np.polyfit(x, log_id[part], 1, w=weight[part], cov="unscaled")
            spread, control = np.ptp(value[part]) / value[part].mean(), 1 - value[i] / gaussians.loc[layer, scale]
            bend = np.polyfit(x, log_id[part], 2, w=weight[part])[0]
            bias, bend_bias = abs(line[0]) * value[i] / np.log(2), bend * value[i] ** 2 / (2 * np.log(2) ** 2)
            tests = {"slope": bias <= max_bias, "bend": bend_bias <= max_bend_bias, "control": control <= max_control_bias,
                     "spread": spread <= max_spread}  # fmt: skip
            failed = next((name for name, passed in tests.items() if not passed), "")
            measured = line[0], line_var[0, 0] ** 0.5, bias, bend_bias, control, spread
            rows.append((layer, scale, value[i], *measured, failed, not failed))
    names = ["layer", "scale", "id", "slope", "slope_err", "bias", "bend_bias", "control_bias", "spread"]
    diagnostics = pd.DataFrame(rows, columns=[*names, "failed", "plateau"])
    votes = diagnostics.groupby("scale").agg(share=("plateau", "mean"), bias=("bias", "median")).reset_index()
    best = votes.sort_values(["share", "bias"], ascending=[False, True]).iloc[0]
    auto = (best["scale"],) if best["share"] >= vote else RULES["gride_small_k"][1]
    used, scales, repetitions, fraction = (basis, auto, 1, None) if rule == "auto" else RULES[rule]
    profile = _read(
        curves[curves["method"] == used], curves["layer"].unique(), rule, used, scales, repetitions, fraction
    )
    nearest = votes["scale"].iloc[np.argmin(abs(np.log(votes["scale"] / profile["scale"][0])))]
    profile["plateau"] = profile["layer"].map(
        diagnostics[diagnostics["scale"] == nearest].set_index("layer")["plateau"]
    )
    share, scale = float(profile["plateau"].mean()), float(profile["scale"][0])
    reason = f"{rule}: {used} at N/n = {scale:.3g}; {share:.0%} of {len(profile)} layers have a plateau there"
    return Selection(rule, used, scale, share >= vote, profile, diagnostics, reason)


def _read(curves, layers, rule, method, scales, repetitions, fraction) -> pd.DataFrame:
    rows, wanted, scale = [], list(scales), float(np.prod(scales) ** (1 / len(scales)))
    for layer in layers:
        curve = curves[curves["layer"] == layer].set_index("scale")
        fits = (curve["repetitions"] >= repetitions) & ((curve["fraction"] == fraction) | (fraction is None))
        if not set(wanted) <= set(curve.index[fits]):
            raise UserError(
                f"layer {layer}: rule {rule} reads {method} at N/n = {wanted} from {repetitions} repetitions"
                f"{f' with fraction {fraction}' if fraction else ''}; compute that, from more points if they are too few"
            )
        shifted = [[s * factor for s in scales] for factor in (0.5, 1, 2)]
        means = [curve["id"].loc[group].mean() for group in shifted if set(group) <= set(curve.index)]
        spread = np.ptp(means) / 2 if len(means) > 1 else np.nan
        error = (curve["id_err"].loc[wanted] ** 2).sum() ** 0.5 / len(wanted)
        rows.append((layer, curve["id"].loc[wanted].mean(), error, spread, scale))
    return pd.DataFrame(rows, columns=["layer", "id", "id_err", "id_sys", "scale"])
