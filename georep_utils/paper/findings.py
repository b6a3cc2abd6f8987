"""The paper's findings as statements about curves, each of which can turn out true or false.

`questions.md` tells what the paper finds. Here each sentence of it is a function of one model's
curves that returns a verdict:

- **yes**: the number lies where the paper says, and so does its whole 95 % interval;
- **no**: the whole interval lies elsewhere;
- **partly**: the interval reaches both sides, or half of the statement holds;
- **not testable**: the curve was not measured, the statement is about another kind of network, or
  the errors are too large to see what it is about. This is no support.

Every verdict has the number that it was made from, its interval, and what would overturn it. The
thresholds stand below, each with its reason; none is fitted to a model. Where the paper's words
leave a range ("several times"), the threshold is the lowest that they can bear, so that a "no"
does not hang on a strict reading.

A model is counted once: runs that share their weights are not independent, and for each statement
`tally` counts the one with the most samples of those that could test it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from georep_utils.geometry.semantic_layer import (
    MIN_LAYERS,
    SemanticLayer,
    layer_scatter,
    semantic_layer,
)
from georep_utils.io import UserError
from georep_utils.paper.advice import Curve, best_set

YES = "yes"
NO = "no"
PARTLY = "partly"
NOT_TESTABLE = "not testable"
VERDICTS = (YES, NO, PARTLY, NOT_TESTABLE)
FAMILIES = ("image", "protein", "text")

FIRST_THIRD = 1 / 3  # the paper: the peak lies in the first third of the layers
SEVERAL = 2.0  # "several times" the initial value: the lowest meaning of the word
NEAR = 1.25  # "near" the initial value: within a quarter of it, where the peak is at least twice it
LOW = 0.5  # a low plateau has at most half of the peak's ID; the paper's have a fifth to a half
# A long one covers a fifth of the layers, the shortest that `semantic_layer` accepts as a plateau.
LONG = 0.2
LEVEL = 1.25  # layers belong to the low stretch up to a quarter above the minimum, as NEAR
EARLY_DEPTH = 0.4  # the paper compares the first 40 % of the layers with what follows ...
LATE_DEPTH = 0.9  # ... up to the last tenth, where images collapse
# The paper's figures for consecutive layers in the expansion.
EARLY_OVERLAP = {"image": 0.7, "protein": 0.5, "text": 0.5}
ABOUT = 0.15  # "about half": closer to a half than to a fifth or four fifths
SETTLED = 0.9  # the paper: above 0.9 afterwards
# Fewer again: by a third of the tenth that consecutive layers do not share where they are settled.
COLLAPSE = 0.03
NEAR_DEPTH = 0.1  # a layer is close to another within a tenth of the depth, two to five layers
# "The middle of the network": the paper's best layers for images lie at 0.4 to 0.5.
MIDDLE = (0.3, 0.7)
FLAT = 0.5  # an untrained profile is flat when it varies at most half as much as the trained one
EARLY_PROGRESS = 0.25  # "early in training": the first quarter
FORMED = 0.5  # a peak has formed when half of its final height is there
# The second rises in the paper's figures are 10 to 30 %: errors that hide a tenth prove nothing.
VISIBLE = 0.1
# Where more than half of the layers may be the best by labels, a layer drawn at random is more
# likely than not among them: to be among them proves nothing.
UNDECIDED = 0.5
DRAWS = 1000  # redrawn profiles behind the interval of a range
# What errors of neighbouring layers may have in common where nothing is known of them: from nothing
# to what they have in the runs of this book (chapter 09 lists it).
CORRELATIONS = (0.0, 0.5, 0.9)


@dataclass(frozen=True)
class Verdict:
    """What one model says about one statement.

    finding: key in `STATEMENTS`; number with its 95 % interval low to high (NaN where there is
    none); what_would_overturn: the reading that would change the verdict.
    """

    finding: str
    verdict: str
    number: float
    low: float
    high: float
    what_would_overturn: str


@dataclass(frozen=True)
class Profile:
    """IDs of the layers 0 to n_blocks, their covariance, and what `semantic_layer` found.

    alike: of curves without errors of their own, what it found for each correlation that the errors
    of neighbouring layers may have (`CORRELATIONS`).
    """

    layers: np.ndarray
    ids: np.ndarray
    covariance: np.ndarray
    groups: int | None
    n_blocks: int
    found: SemanticLayer
    alike: Mapping[float, SemanticLayer]

    @property
    def curve(self) -> Curve:
        return Curve(self.layers, self.ids, self.covariance, self.groups)


STATEMENTS = {
    "1.1": "the ID peaks in the first third of the layers",
    "1.2": "the peak is several times the initial value",
    "1.3": "towards the output the ID comes back near its initial value",
    "1.4": "proteins: the peak is followed by a long low plateau",
    "1.5": "generative image models: a second, shallower peak follows the minimum",
    "2.1": "consecutive layers share about half of their neighbours in the first 40 % (images: "
    "70 %)",
    "2.2": "they share nine tenths or more afterwards",
    "2.3": "images: they share fewer again in the last tenth",
    "2.4": "they share more afterwards than before",
    "3.1": "labels are best respected at the minimum, or plateau, after the peak",
    "3.2": "images: labels are best respected in the middle of the network",
    "4.1": "the untrained profile is flat",
    "4.2": "the first peak forms early in training",
}
FINDINGS = {
    "1": "the ID rises, falls and, in generative image models, rises again",
    "2": "neighbourhoods are rearranged in the expansion and keep still afterwards",
    "3": "meaning is clearest at the minimum",
    "4": "training makes the shape of the profile",
}


YES_WHEN = {
    "1.1": "all layers that may be the highest lie at a depth of a third or less, and the first "
    "layer is none of them",
    "1.2": f"highest ID over the first layer's: {SEVERAL:g} or more",
    "1.3": f"last layer's ID over the first one's: {1 / NEAR:g} to {NEAR:g}",
    "1.4": f"lowest ID after the peak over the peak's: at most {LOW:g}, with at least {LONG:.0%} "
    f"of the layers in one stretch up to {LEVEL:g} times as high",
    "1.5": "a significant minimum, then a top that is shown to be lower than the first and higher "
    f"than the last layer; not testable where differences of {VISIBLE:.0%} cannot be seen",
    "2.1": f"mean over depths below {EARLY_DEPTH:g}: {EARLY_OVERLAP['text']:g} (images: "
    f"{EARLY_OVERLAP['image']:g}), give or take {ABOUT:g}",
    "2.2": f"mean over depths {EARLY_DEPTH:g} to {LATE_DEPTH:g}: {SETTLED:g} or more",
    "2.3": f"mean over depths from {LATE_DEPTH:g} on, less that before: -{COLLAPSE:g} or less",
    "2.4": f"mean over depths {EARLY_DEPTH:g} to {LATE_DEPTH:g}, less that before: above 0",
    "3.1": "the layer that the ID singles out is one that cannot be told from the best by labels, "
    f"and its whole confidence set lies within {NEAR_DEPTH:g} of the depth of one; partly where "
    "some of it does; not testable where "
    f"differences of {VISIBLE:.0%} cannot be seen, or where more than {UNDECIDED:.0%} of the "
    "layers cannot be told from the best",
    "3.2": "all layers that cannot be told from the best by labels lie at depths from "
    f"{MIDDLE[0]:g} to {MIDDLE[1]:g}",
    "4.1": f"range over mean, untrained over trained: at most {FLAT:g}",
    "4.2": f"rise to the peak in the first {EARLY_PROGRESS:.0%} of training over the final one: "
    f"{FORMED:g} or more",
}


def thresholds() -> pd.DataFrame:
    """What makes each statement a yes: rows finding, statement, "yes when"."""
    rows = [(key, STATEMENTS[key], YES_WHEN[key]) for key in STATEMENTS]
    return pd.DataFrame(rows, columns=["finding", "statement", "yes when"])


def judge(
    model: pd.DataFrame,
    family: str,
    k: int = 10,
    covariances: Mapping[str, np.ndarray] | None = None,
    groups: int | None = None,
    untrained: pd.DataFrame | None = None,
    dynamics: pd.DataFrame | None = None,
    generative: bool = True,
) -> list[Verdict]:
    """A verdict for each statement, in the order of `STATEMENTS`.

    Parameters
    ----------
    model : DataFrame
        Curves of one model: rows quantity ("intrinsic_dimension", "label_overlap",
        "consecutive_overlap"), layer, n_blocks, k, value, error. IDs without errors, and readings
        off a figure, are judged by their scatter between layers.
    family : str
        "image", "protein" or "text": what the model reads.
    k : int
        Neighbours of the overlaps.
    covariances : mapping, optional
        For a quantity, its covariance between the rows of `model` in layer order, logits included
        (`resampling.jackknife`).
    groups : int, optional
        Number of groups behind the covariances.
    untrained : DataFrame, optional
        Columns layer, id, id_err of the untrained network; with several of them, a column control
        that tells them apart.
    dynamics : DataFrame, optional
        Columns progress (share of the training steps, 1 at the end), layer, id, id_err.
    generative : bool
        Whether the model was trained to continue its input. Some statements are about generative
        image models only.

    Returns
    -------
    list of Verdict

    Raises
    ------
    UserError
        A family that is unknown, or curves of several models.
    """
    if family not in FAMILIES:
        raise UserError(f"family {family!r}: expected one of {', '.join(FAMILIES)}")
    if model["n_blocks"].nunique() != 1:
        raise UserError(
            "the curves have several numbers of blocks: expected those of one model; select it "
            "first"
        )
    covariances = covariances or {}
    profile = profile_of(model, covariances.get("intrinsic_dimension"), groups)
    labels = curve_of(model, "label_overlap", k, covariances.get("label_overlap"), groups)
    consecutive = curve_of(
        model, "consecutive_overlap", k, covariances.get("consecutive_overlap"), groups
    )
    n_blocks = int(model["n_blocks"].iloc[0])
    kind = "generative image" if family == "image" and generative else family
    return [
        *_about_the_profile(profile, kind),
        *_about_neighbourhoods(consecutive, n_blocks, family, kind),
        *_about_labels(profile, labels, n_blocks, kind),
        _untrained_is_flat(profile, untrained),
        _peak_forms_early(dynamics, n_blocks),
    ]


def table(verdicts: Mapping[str, list[Verdict]]) -> pd.DataFrame:
    """Rows model, finding, statement, verdict, number, low, high, what_would_overturn, of every
    model's verdicts.
    """
    rows = [
        {"model": model} | vars(one) for model, of_model in verdicts.items() for one in of_model
    ]
    result = pd.DataFrame(rows)
    result.insert(2, "statement", result["finding"].map(STATEMENTS))
    return result


def together(verdicts: list[Verdict]) -> dict[str, str]:
    """A verdict for each of the four findings from those of its statements.

    yes: the first, which is the finding itself, and all others that could be tested hold. partly:
    some do, or none is shown to fail. no: some fail, and none holds wholly. not testable: none
    could be tested.
    """
    result = {}
    for finding in FINDINGS:
        parts = [one.verdict for one in verdicts if one.finding.startswith(finding)]
        tested = [verdict for verdict in parts if verdict != NOT_TESTABLE]
        if not tested:
            result[finding] = NOT_TESTABLE
        elif parts[0] == YES and all(verdict == YES for verdict in tested):
            result[finding] = YES
        else:
            result[finding] = PARTLY if YES in tested or NO not in tested else NO
    return result


def tally(rows: pd.DataFrame, by: str = "finding") -> pd.DataFrame:
    """How many models say yes, no, partly, not testable; no set of weights counts twice.

    Parameters
    ----------
    rows : DataFrame
        Columns model, weights (their identity, the same for runs that read the same network),
        n_samples, verdict and `by`.

    Returns
    -------
    DataFrame
        A row for each value of `by`, a column for each verdict, in the order of `VERDICTS`.
    """
    missing = {"model", "weights", "n_samples", "verdict", by} - set(rows.columns)
    if missing:
        raise UserError(
            f"the verdicts have no column {', '.join(sorted(missing))}: needed to count no model "
            "twice; add it"
        )
    # The published curves of a model have no sample number of their own: they give way to a run of
    # the same weights. What a run could not test is said by another run of these weights.
    order = rows.assign(tested=rows["verdict"] != NOT_TESTABLE)
    order = order.sort_values(["tested", "n_samples"], ascending=False, kind="stable")
    kept = order.drop_duplicates(["weights", by])
    return pd.crosstab(kept[by], kept["verdict"]).reindex(columns=VERDICTS, fill_value=0)


def profile_of(model: pd.DataFrame, covariance=None, groups: int | None = None) -> Profile | None:
    """The ID profile of one model without its logits; None with fewer layers than a peak and what
    follows it need. Arguments as for `judge`.
    """
    rows = model[model["quantity"] == "intrinsic_dimension"].sort_values("layer")
    n_blocks = int(model["n_blocks"].iloc[0])
    # A layer of mostly equal points has no ID; the logits are no layer of the paper's profiles.
    kept = (rows["value"].notna() & (rows["layer"] <= n_blocks)).to_numpy()
    if kept.sum() < MIN_LAYERS:
        return None
    frame = rows[kept].rename(columns={"value": "id", "error": "id_err"})
    ids = frame["id"].to_numpy(dtype=float)
    alike: Mapping[float, SemanticLayer] = {}
    if covariance is not None:
        covariance = np.asarray(covariance)[np.ix_(kept, kept)]
        found = semantic_layer(frame, covariance=covariance, groups=groups)
    else:
        # A reading error, or none at all, says nothing about the sampling error; the scatter
        # between layers does.
        read_off = "source" in frame and frame["source"].astype(str).str.contains("read off")
        scatter = bool(np.any(read_off) or frame["id_err"].isna().any())
        errors = frame["id_err"].fillna(0).to_numpy(dtype=float)
        if not scatter:
            found = semantic_layer(frame, groups=groups)
        else:
            alike = _found_if_alike(frame)
            found = _whatever_they_share(alike)
            errors = np.maximum(errors, layer_scatter(ids) * ids)
        covariance = np.diag(errors**2)
    return Profile(frame["layer"].to_numpy(), ids, covariance, groups, n_blocks, found, alike)


def _found_if_alike(profile: pd.DataFrame) -> dict[float, SemanticLayer]:
    """What `semantic_layer` finds on a profile without errors of its own, for each correlation that
    the errors of neighbouring layers may have (`CORRELATIONS`).
    """
    return {rho: semantic_layer(profile, scatter=True, correlation=rho) for rho in CORRELATIONS}


def _whatever_they_share(alike: Mapping[float, SemanticLayer]) -> SemanticLayer:
    """What is found whatever the errors of neighbouring layers have in common.

    The layer is the one for independent errors. Where some correlation leaves none, that is the
    answer: the scatter between layers can't tell one correlation from another.
    """
    found = list(alike.values())
    return next((one for one in found if one.layer is None), found[0])


def curve_of(
    model: pd.DataFrame, quantity: str, k: int, covariance=None, groups: int | None = None
) -> Curve | None:
    """An overlap of one model without its logits; None where it, or its errors, are missing.
    Arguments as for `judge`.
    """
    n_blocks = int(model["n_blocks"].iloc[0])
    rows = model[(model["quantity"] == quantity) & (model["k"] == k)].sort_values("layer")
    inside = (rows["layer"] <= n_blocks).to_numpy()
    errors = rows["error"].to_numpy(dtype=float)
    if inside.sum() < 2 or (covariance is None and not (errors > 0).all()):
        return None
    covariance = np.diag(errors**2) if covariance is None else np.asarray(covariance)
    kept = rows[inside]
    values = kept["value"].to_numpy(dtype=float)
    return Curve(kept["layer"].to_numpy(), values, covariance[np.ix_(inside, inside)], groups)


def _about_the_profile(profile: Profile | None, kind: str) -> list[Verdict]:
    if profile is None:
        needed = f"an ID profile of {MIN_LAYERS} layers or more"
        return [_untested(key, needed) for key in ("1.1", "1.2", "1.3", "1.4", "1.5")]
    plateau = _untested("1.4", "a protein model")
    if kind == "protein":
        plateau = _long_low_plateau(profile)
    second = _untested("1.5", "a generative image model")
    if kind == "generative image":
        second = _second_peak(profile)
    return [_early_peak(profile), _several_times(profile), _comes_back(profile), plateau, second]


def _early_peak(profile: Profile) -> Verdict:
    best = best_set(profile.curve)
    number = float(profile.layers[np.argmax(profile.ids)] / profile.n_blocks)
    low, high = best.min() / profile.n_blocks, best.max() / profile.n_blocks
    overturn = "a highest ID at a depth on the other side of a third"
    if best.max() == profile.layers[0]:
        return Verdict(
            "1.1", NO, number, low, high, "a rise from the first layer: it has the highest ID now"
        )
    verdict = _inside(low, high, 0, FIRST_THIRD)
    if verdict == YES and best.min() == profile.layers[0]:
        verdict = PARTLY  # the peak may be the first layer, and then nothing rises
        overturn = "a highest ID that is shown to lie behind the first layer"
    return Verdict("1.1", verdict, number, low, high, overturn)


def _several_times(profile: Profile) -> Verdict:
    peak = int(np.argmax(profile.ids))
    ratio = _ratio(profile, peak, 0)
    verdict = _inside(*ratio[1:], SEVERAL, np.inf)
    return Verdict(
        "1.2",
        verdict,
        *ratio,
        f"a highest ID on the other side of {SEVERAL:g} times the first layer's",
    )


def _comes_back(profile: Profile) -> Verdict:
    ratio = _ratio(profile, len(profile.ids) - 1, 0)
    verdict = _inside(*ratio[1:], 1 / NEAR, NEAR)
    overturn = (
        f"a last layer on the other side of {1 / NEAR:g} to {NEAR:g} times the first one's ID"
    )
    return Verdict("1.3", verdict, *ratio, overturn)


def _long_low_plateau(profile: Profile) -> Verdict:
    """How low the profile is after its peak, if it stays there for long."""
    peak = int(np.argmax(profile.ids))
    if peak == len(profile.ids) - 1:
        return Verdict("1.4", NO, 0.0, 0.0, 0.0, "layers behind the peak: it is the last one now")
    bottom = peak + 1 + int(np.argmin(profile.ids[peak + 1 :]))
    depth = _ratio(profile, bottom, peak)
    long_enough = _low_stretch(profile.ids, peak, bottom) >= LONG
    verdict = _inside(*depth[1:], 0, LOW) if long_enough else NO
    overturn = (
        f"a stretch on the other side of {LONG:.0%} of the layers, or of {LOW:g} of the peak's ID"
    )
    return Verdict("1.4", verdict, *depth, overturn)


def _low_stretch(ids: np.ndarray, peak: int, bottom: int) -> float:
    """Share of the layers in the stretch around the lowest one that is about as low."""
    ceiling = LEVEL * ids[bottom]
    first = bottom
    while first > peak + 1 and ids[first - 1] <= ceiling:
        first -= 1
    last = bottom
    while last + 1 < len(ids) and ids[last + 1] <= ceiling:
        last += 1
    return (last - first + 1) / len(ids)


def _second_peak(profile: Profile) -> Verdict:
    found = profile.found
    if found.kind != "minimum":
        if found.visible > VISIBLE:
            return _untested("1.5", _smaller_errors(found))
        return Verdict(
            "1.5", NO, np.nan, np.nan, np.nan, "a minimum after the peak that is followed by a rise"
        )
    bottom = int(np.flatnonzero(profile.layers == found.layer)[0])
    second = bottom + int(np.argmax(profile.ids[bottom:]))
    rise = _ratio(profile, second, bottom)
    # Both tops are the highest of many layers and partly so by chance. Sets of layers that may be
    # the highest allow for that, as intervals of single layers do not.
    shallower = best_set(profile.curve).max() < found.layer
    # A rise to the very end is no peak: the last layer must be shown to lie below the second top.
    falls = profile.layers[-1] not in best_set(_part(profile.curve, bottom))
    verdict = YES if shallower and falls else PARTLY
    overturn = "no rise behind the minimum, no fall behind that, or a second top above the first"
    return Verdict("1.5", verdict, *rise, overturn)


def _part(curve: Curve, first: int) -> Curve:
    """A curve from its position `first` on."""
    covariance = curve.covariance[first:, first:]
    return Curve(curve.layers[first:], curve.values[first:], covariance, curve.groups)


def _about_neighbourhoods(
    curve: Curve | None, n_blocks: int, family: str, kind: str
) -> list[Verdict]:
    if curve is None or np.any(np.diff(curve.layers) != 1):
        needed = "overlaps of all consecutive layers"
        return [_untested(key, needed) for key in ("2.1", "2.2", "2.3", "2.4")]
    depth = curve.layers / n_blocks
    early = _mean(curve, depth < EARLY_DEPTH)
    lower = EARLY_OVERLAP[family] - ABOUT
    upper = EARLY_OVERLAP[family] + ABOUT
    in_expansion = Verdict(
        "2.1",
        _inside(*early[1:], lower, upper),
        *early,
        f"a mean on the other side of {lower:.2f} to {upper:.2f}",
    )
    settled = (depth >= EARLY_DEPTH) & (depth < LATE_DEPTH)
    later = _mean(curve, settled)
    afterwards = Verdict(
        "2.2", _inside(*later[1:], SETTLED, 1), *later, f"a mean on the other side of {SETTLED:g}"
    )
    collapse = _untested("2.3", "a generative image model")
    if kind == "generative image":
        collapse = _fewer_again(curve, (depth >= LATE_DEPTH) & (depth < 1), settled)
    gain = _contrast(curve, settled, depth < EARLY_DEPTH)
    more = Verdict("2.4", _inside(*gain[1:], 0, 1), *gain, "a difference on the other side of 0")
    return [in_expansion, afterwards, collapse, more]


def _fewer_again(curve: Curve, last: np.ndarray, settled: np.ndarray) -> Verdict:
    if not last.any():
        return _untested("2.3", "a layer in the last tenth, which takes ten blocks")
    fall = _contrast(curve, last, settled)
    verdict = _inside(*fall[1:], -1, -COLLAPSE)
    return Verdict("2.3", verdict, *fall, f"a difference on the other side of -{COLLAPSE:g}")


def _about_labels(
    profile: Profile | None, labels: Curve | None, n_blocks: int, kind: str
) -> list[Verdict]:
    if labels is None:
        return [_untested(key, "label overlaps with their errors") for key in ("3.1", "3.2")]
    best = best_set(labels)
    middle = _untested("3.2", "a generative image model")
    if kind == "generative image":
        low, high = best.min() / n_blocks, best.max() / n_blocks
        number = float(labels.layers[np.argmax(labels.values)] / n_blocks)
        overturn = f"a best set on the other side of depth {MIDDLE[0]:g} to {MIDDLE[1]:g}"
        middle = Verdict("3.2", _inside(low, high, *MIDDLE), number, low, high, overturn)
    return [_best_at_the_minimum(profile, labels, best, n_blocks), middle]


def _best_at_the_minimum(
    profile: Profile | None, labels: Curve, best: np.ndarray, n_blocks: int
) -> Verdict:
    """Distance of the layer that the ID singles out from the best ones, and that of its confidence
    set.
    """
    if profile is None:
        return _untested("3.1", f"an ID profile of {MIN_LAYERS} layers or more")
    found = profile.found
    if found.layer is None:
        if found.visible > VISIBLE:
            return _untested("3.1", _smaller_errors(found))
        return Verdict(
            "3.1", NO, np.nan, np.nan, np.nan, "a minimum or plateau after the peak: there is none"
        )
    hit = float(np.isin(labels.layers, best).mean())
    if hit > UNDECIDED:
        needed = f"labels that leave out half of the layers as the best ({1 - hit:.0%} left out)"
        return _untested("3.1", needed)
    reach = [
        np.abs(best - labels.nearest(layer)).min() / n_blocks
        for layer in (found.layer, found.low, found.high)
    ]
    number, low, high = reach[0], min(reach), max(reach)
    overturn = f"a distance from the best set on the other side of {NEAR_DEPTH:g} of the depth"
    if number == 0 and high <= NEAR_DEPTH:
        verdict = YES
    else:
        verdict = PARTLY if low <= NEAR_DEPTH else NO
    return Verdict("3.1", verdict, float(number), float(low), float(high), overturn)


def _untrained_is_flat(profile: Profile | None, untrained: pd.DataFrame | None) -> Verdict:
    """Range of the untrained profile over that of the trained one; over all untrained networks,
    where there are several.
    """
    if profile is None or untrained is None or untrained.empty:
        return _untested("4.1", "the profile of the untrained network")
    kept = untrained[(untrained["layer"] <= profile.n_blocks) & untrained["id"].notna()]
    if "control" not in kept:
        kept = kept.assign(control="untrained")
    rng = np.random.default_rng(0)
    trained = _varied(profile.ids, profile.covariance, rng)
    ratios = []
    for _, network in kept.groupby("control"):
        errors = network["id_err"].fillna(0).to_numpy(dtype=float)
        ratios.append(_varied(network["id"].to_numpy(), np.diag(errors**2), rng) / trained)
    number = float(np.mean([of_network[0] for of_network in ratios]))
    # Which untrained network was drawn is chance as well: the draws of all of them are one pool.
    pool = np.concatenate([of_network[1:] for of_network in ratios])
    low, high = np.quantile(pool, [0.025, 0.975])
    overturn = f"a range on the other side of {FLAT:g} of the trained one"
    # Of a flat profile the draws lie on both sides of zero.
    verdict = _inside(low, high, -np.inf, FLAT)
    return Verdict("4.1", verdict, number, float(low), float(high), overturn)


def _peak_forms_early(dynamics: pd.DataFrame | None, n_blocks: int) -> Verdict:
    if dynamics is None or dynamics.empty:
        return _untested("4.2", "profiles of checkpoints")
    inside = dynamics[(dynamics["layer"] <= n_blocks) & dynamics["id"].notna()]
    progress = inside["progress"]
    early = progress[(progress > 0) & (progress <= EARLY_PROGRESS)]
    if early.empty or progress.max() < 1:
        return _untested(
            "4.2",
            f"a checkpoint in the first {EARLY_PROGRESS:.0%} of the training and the last one",
        )
    then, error_then = _rise(inside[progress == early.max()].sort_values("layer"))
    final = inside[progress == 1].sort_values("layer")
    now, error_now = _rise(final)
    rises = _stands_out(final)
    if rises is None:
        return _untested(
            "4.2", "errors above zero of the IDs of the last checkpoint, two layers or more"
        )
    if not rises:
        missing = "a peak in the trained network: it has none"
        return Verdict("4.2", NO, np.nan, np.nan, np.nan, missing)
    number = then / now
    width = 1.96 * float(np.hypot(error_then, number * error_now)) / now
    low, high = number - width, number + width
    overturn = f"a rise to the peak on the other side of {FORMED:g} of the final one"
    return Verdict("4.2", _inside(low, high, FORMED, np.inf), number, low, high, overturn)


def _smaller_errors(found: SemanticLayer) -> str:
    return f"errors that show differences of {VISIBLE:.0%} (these show {found.visible:.0%})"


def _untested(finding: str, needed: str) -> Verdict:
    return Verdict(finding, NOT_TESTABLE, np.nan, np.nan, np.nan, f"needs {needed}")


def _inside(low: float, high: float, lower: float, upper: float) -> str:
    """Whether an interval lies in a range (yes), beside it (no), or across one of its ends
    (partly).
    """
    if low >= lower and high <= upper:
        return YES
    return NO if high < lower or low > upper else PARTLY


def _ratio(profile: Profile, above: int, below: int) -> tuple[float, float, float]:
    """ID of one layer over that of another with its 95 % interval, on the logarithm's scale."""
    a, b = profile.ids[above], profile.ids[below]
    c = profile.covariance
    variance = c[above, above] / a**2 + c[below, below] / b**2 - 2 * c[above, below] / (a * b)
    width = _quantile(profile.groups) * np.sqrt(max(variance, 0))
    return float(a / b), float(a / b * np.exp(-width)), float(a / b * np.exp(width))


def _mean(curve: Curve, chosen: np.ndarray) -> tuple[float, float, float]:
    return _weighted(curve, chosen / chosen.sum())


def _contrast(curve: Curve, chosen: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Mean over some layers less that over others, with its 95 % interval."""
    return _weighted(curve, chosen / chosen.sum() - other / other.sum())


def _weighted(curve: Curve, weights: np.ndarray) -> tuple[float, float, float]:
    number = float(weights @ curve.values)
    width = _quantile(curve.groups) * float(np.sqrt(weights @ curve.covariance @ weights))
    return number, number - width, number + width


def _quantile(groups: int | None) -> float:
    return float(stats.norm.ppf(0.975) if groups is None else stats.t.ppf(0.975, groups - 1))


def _varied(ids: np.ndarray, covariance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Range of the IDs over their mean, first of the profile itself and then of redrawn ones.

    The layers of highest and lowest ID stay those of the profile: choosing them anew in every draw
    would add the noise to the range a second time.
    """
    values, vectors = np.linalg.eigh(covariance)
    noise = rng.standard_normal((DRAWS, len(ids))) @ (vectors * np.sqrt(np.maximum(values, 0))).T
    drawn = np.concatenate([ids[None], ids + noise])
    span = drawn[:, np.argmax(ids)] - drawn[:, np.argmin(ids)]
    return span / drawn.mean(axis=1)


def _rise(profile: pd.DataFrame) -> tuple[float, float]:
    """From the first layer to the highest ID, with its error; a peak at the first layer is no
    rise.
    """
    ids = profile["id"].to_numpy(dtype=float)
    errors = profile["id_err"].fillna(0).to_numpy(dtype=float)
    top = int(np.argmax(ids))
    return float(ids[top] - ids[0]), float(np.hypot(errors[top], errors[0]))


def _stands_out(profile: pd.DataFrame) -> bool | None:
    """Whether the first layer is shown not to have the highest ID; None where errors are zero or
    missing.
    """
    errors = profile["id_err"].to_numpy(dtype=float)
    if len(profile) < 2 or not (errors > 0).all():
        return None
    layers = profile["layer"].to_numpy(dtype=int)
    curve = Curve(layers, profile["id"].to_numpy(dtype=float), np.diag(errors**2))
    return bool(layers[0] not in best_set(curve))
