# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# ({{run}}-intrinsic-dimension)=
# # Measure the intrinsic dimension
#
# In this chapter:
#
# - the dimension of one layer's cloud of points is estimated from distance ratios, first by hand
#   and then with DADApy;
# - every layer is measured at many scales, and four written rules choose the scale to read;
# - the profile over depth is drawn beside its controls: Fig. 1 of the paper;
# - one layer is singled out by its profile, without labels;
# - we ask whether the dimension merely follows distances and norms, as has been argued.

# %% tags=["parameters"]
run = "igpt-mini"  # | Name of the run.
scale_rule = "paper_text"  # one of paper_text, igpt_release, gride_small_k, auto | Picks the scale.
decimations = [1, 2, 4, 8, 16, 32]  # at least 1 | TwoNN keeps one point in so many.
n_repetitions = 4  # at least 1 | Disjoint subsets that are averaged at a decimation.
fraction = 0.98  # between 0.01 and 1 | Share of the lowest ratios that TwoNN fits.
fit = "base"  # one of base, ml | TwoNN by a line, or by maximum likelihood.
drop_duplicates = False  # | Keep one of each set of identical points.
seed = 0  # at least 0 | Of the random subsets and of the controls.
device = "auto"  # | Where neighbours are searched for: auto, cpu, cuda, cuda:1.
max_slope_bias = 0.08  # between 0 and 1 | Bias that a plateau's slope may allow.
max_bend_bias = 0.08  # between 0 and 1 | Bias that a plateau's bend may allow.
max_control_bias = 0.05  # between 0 and 1 | Bias of a Gaussian that shows this ID.
prominence = 0.05  # between 0 and 1 | IDs that differ by less, relatively, are equal.

# %%
import numpy as np
import pandas as pd
from dadapy import Data
from myst_nb import glue
from scipy.optimize import brentq

from georep_utils import clouds, figures, io
from georep_utils.geometry import profiles, scaling, synthetic
from georep_utils.geometry.neighbors import nearest_neighbors
from georep_utils.geometry.scale_rules import select_scale
from georep_utils.geometry.semantic_layer import semantic_layer
from georep_utils.precision import machine

# %% [markdown]
# The representations and their neighbours are there already; this chapter only reads them. A
# decimation that would leave too few points for an estimate is left out.

# %%
figures.use_style()
paths = io.RunPaths(run)
trained = clouds.of_run(paths)["trained"]
n = trained.n_samples
n_blocks = trained.n_blocks
decimations = [s for s in decimations if n // s >= scaling.MIN_POINTS]
made_from = f"{run}: {trained.model}, {trained.dataset}, N = {n:,}; measured here"

# %% [markdown]
# Two properties of a layer are looked at before anything is estimated. Where more than half of the
# points are exact copies of others there is no dimension to speak of, and the layer is left out by
# name. This happens to the first layer of a text model that is read at its last token, where all
# samples with that token are one and the same point. Two lesser things are listed without further
# consequence: features that are constant, which add nothing to any distance, and points that
# repeat an earlier one, which are left out of the fits.

# %%
screened = profiles.screen(trained, max(decimations, default=1))
measured = screened.layers
for remark in screened.remarks:
    print(remark)

# %% [markdown]
# ## One layer, by hand
#
# We begin with a single layer from the middle of the network. For each of its points the previous
# chapter stored the distances to the nearest neighbours, in ascending order; the point itself
# comes first, at distance zero.

# %%
layer = measured[len(measured) // 2]
near = trained.neighbors(layer)
np.round(near.distances[:3, :6], 3)

# %% [markdown]
# ### A ratio that knows the dimension
#
# Take a point, and let $r_1$ and $r_2$ be the distances to its first and second neighbour. If the
# points around it are spread evenly over a surface of $d$ dimensions, the number of points within
# a distance $r$ grows as $r^d$. In few dimensions the second neighbour is often much further away
# than the first. In many dimensions nearly all of the volume of a ball lies close to its surface,
# and the two are almost equally far. The ratio $\mu = r_2 / r_1$ therefore tells $d$. It follows
# a Pareto law,
#
# $$ F(\mu) = 1 - \mu^{-d} , $$
#
# in which the density of the points does not appear. All that is asked of the density is that it
# be constant as far as the second neighbour. A point with an exact copy has $r_1 = 0$ and no
# ratio, so that it can't take part.


# %%
def ratios(near):
    """r2 / r1 of every point that has no exact copy."""
    r = near.distances[near.distances[:, 1] > 0]
    return r[:, 2] / r[:, 1]


mu = ratios(near)
mu[:6].round(3)

# %% [markdown]
# ### TwoNN: the slope of a line
#
# Take the logarithm of the law, and $d$ becomes the slope of a straight line through the origin,
#
# $$ -\log\,(1 - F(\mu)) = d \, \log \mu . $$
#
# **TwoNN** {cite}`facco2017` fits this line. For $F$ it takes the empirical distribution: sort the
# ratios, and the $i$-th of $N$ has $F = i / N$. The largest ratios are left out, 2 % of them here
# as in the authors' released code. They belong to points whose second neighbour is far away, where
# the density is least likely to be constant, and the very last one would have $F = 1$ and an
# infinite logarithm.


# %%
def twonn(mu, fraction=0.98):
    """The dimension: slope of -log(1 - F) against log(mu), through the origin."""
    kept = int(fraction * len(mu))
    F = np.arange(1, kept + 1) / len(mu)
    x = np.sort(np.log(mu))[:kept]
    y = -np.log(1 - F)
    return (x @ y) / (x @ x)


twonn(mu)

# %% [markdown]
# These few lines are the whole estimator. **DADApy** {cite}`glielmo2022`, the library of the
# paper's authors, must find the same number from the same distances:

# %%
no_copy = near.distances[:, 1] > 0
data = Data(distances=(near.distances[no_copy], near.indices[no_copy]))
dadapy_id, _, _ = data.compute_id_2NN(mu_fraction=0.98)
assert np.isclose(twonn(mu), dadapy_id, rtol=1e-6)
dadapy_id

# %% [markdown]
# {numref}`{{run}}-fig-twonn` draws the fit. Look at how straight the points lie, and at which end
# they leave the line: where they do, the law does not hold, and the slope depends on how many of
# the largest ratios are left out.

# %%
x = np.sort(np.log(mu))[:-1]
y = -np.log(1 - np.arange(1, len(mu)) / len(mu))

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-twonn", "caption": "The fit of TwoNN at one layer: each point is a sample, the line goes through the origin, and crosses are the largest ratios, which the fit leaves out."}, "image": {"alt": "Scatter of minus log of one minus F against log mu, with a straight line through the origin"}}
figures.twonn_fit(x, y, 0.98, twonn(mu), note=made_from)

# %% [markdown]
# ### Decimation: the same line, further away
#
# What "dimension" means depends on how far one looks. Noise fills all directions at small
# distances; a curved surface bends into further directions at large ones. TwoNN looks further away
# when points are left out at random, because the neighbours that remain are more distant. We call
# $N/n$ the *scale*: $n$ of $N$ points are kept. Neighbours must be searched for anew among the
# points that are kept. To look the survivors up in the stored table would favour the points whose
# neighbours happened to survive, and the estimate would come out too high.

# %%
X = np.asarray(trained[layer])
s = decimations[len(decimations) // 2]
part = X[np.random.default_rng(seed).permutation(n)[: n // s]]
decimated = nearest_neighbors(part, maxk=2, range_max=2, device=device)
twonn(ratios(decimated))

# %% [markdown]
# ### Gride: a likelihood for later neighbours
#
# **Gride** {cite}`denti2022` looks further away by other means. It keeps all points and takes the
# neighbours $k$ and $2k$. Their ratio $\mu = r_{2k}/r_k$ has the density
#
# $$ p(\mu \mid d) = \frac{d \, (\mu^d - 1)^{k-1}}{B(k, k) \, \mu^{(2k-1)d + 1}} , $$
#
# which for $k = 1$ is the Pareto law again. The dimension is the one of maximum likelihood. With
# the derivative of the log-likelihood set to zero it solves
#
# $$
# \frac{N - 1}{d}
#   + \sum_i \left( \frac{k - 1}{1 - \mu_i^{-d}} - (2k - 1) \right) \log \mu_i = 0 .
# $$
#
# The likelihood itself has $N$ in the first term. DADApy writes $N - 1$, which takes a small bias
# away, and we follow it. It also ignores ratios so large that they can only come from points that
# are nearly copies; the last two lines below spell out what counts as large.

# %%
k = 4
mu = near.mus[:, 2].astype(float)  # columns are k = 1, 2, 4, ..
mu = mu[np.isfinite(mu)]
median, high = np.quantile(mu, [0.5, 0.95])
mu = mu[mu < median + 20 * (high - median)]


# %%
def score(d):
    """Derivative of the log-likelihood by the dimension d."""
    inner = np.maximum(1 - mu**-d, 2e-7)  # a tie, mu = 1, would divide by zero
    return (len(mu) - 1) / d + np.sum(((k - 1) / inner - (2 * k - 1)) * np.log(mu))


by_hand = brentq(score, 0.01, 1000)
by_hand

# %% [markdown]
# `gride_scaling` hands the stored ratios of all ranks to DADApy. The error is the likelihood's,
# from its curvature at the maximum (the Fisher information). Our root agrees with the row
# $k = 4$.

# %%
gride = scaling.gride_scaling(near).set_index("k")
assert np.isclose(by_hand, gride.id[k], rtol=1e-5)
gride[["id", "id_err", "radius"]].round(3)

# %% [markdown]
# ## Every layer, every scale
#
# Now the same for all layers. `measure` gives a curve of TwoNN over decimations and a curve of
# Gride over $k$ for each of them. Gride at rank $k$ and TwoNN at decimation $s = k$ look about
# equally far, so that both can be drawn over one scale $N/n$; at scale 1 they use the same two
# distances. At each decimation the points are split at random into disjoint subsets, up to
# `n_repetitions` of them, and the error is the standard error of their mean.

# %%
options = {
    "decimations": decimations,
    "n_repetitions": n_repetitions,
    "fraction": fraction,
    "algorithm": fit,
    "seed": seed,
    "device": device,
}
curves = profiles.measure(trained, measured, drop_duplicates, **options)

# %%
columns = ["method", "scale", "n_points", "k", "id", "id_err", "n_excluded"]
curves.loc[curves.layer == layer, columns].set_index("method").round(3)

# %% [markdown]
# In {numref}`{{run}}-fig-scaling`, look for horizontal stretches. Where a curve is flat over
# several octaves, the cloud looks like a surface of one dimension at all of these scales, and the
# number means something without a scale attached to it. Where it falls or rises, it does not.

# %% mystnb={"figure": {"name": "{{run}}-fig-scaling", "caption": "Estimated dimension against scale, a curve a layer, dark for early layers and bright for late ones. Left: TwoNN on decimated data, with the standard error over repetitions. Right: Gride on all data, with Fisher errors. A horizontal stretch is a scale at which the dimension is well defined."}, "image": {"alt": "Two panels of curves, intrinsic dimension against scale, coloured by depth"}}
figures.id_scaling(curves, n_blocks, note=made_from)

# %% [markdown]
# ## Choosing the scale
#
# One number a layer needs one scale, the same for all layers. Appendix B of the paper reads TwoNN
# where the curve depends least on the scale, and its text names a decimation by 4; the released
# figures use a decimation by 32. The exact rule is not public, so we keep four, by name:
#
# - `paper_text`: TwoNN at $N/n = 4$, as the text says;
# - `igpt_release`: TwoNN at $N/n = 32$, four repetitions, lowest 98 % of the ratios, as the
#   released code does;
# - `gride_small_k`: the mean of Gride at neighbours 2-4 and 4-8, DADApy's advice for curves
#   without a plateau;
# - `auto`: **ours**. It tests every layer at every scale for a plateau, and the layers vote for
#   one scale. Where no scale is a plateau of half of them, it says so, and reads what
#   `gride_small_k` reads.
#
# This run's profile is read by *{glue:text}`scale-rule`*.

# %%
thresholds = {
    "max_bias": max_slope_bias,
    "max_bend_bias": max_bend_bias,
    "max_control_bias": max_control_bias,
    "device": device,
}
chosen = select_scale(curves, scale_rule, **thresholds)
chosen.profile.head().round(3)

# %% [markdown]
# The column `id_err` is statistical: it shrinks when there are more samples. `id_sys` is half the
# range of the estimate over half the scale, the scale itself and twice the scale. It does not
# shrink with more samples, because it is about what is measured, not about how well. Where it
# exceeds the statistical error, a value must not be quoted without its scale.
#
# The other rules show how much hangs on the choice:

# %%
selections, left_out = profiles.select_by_every_rule(curves, **thresholds)
for selection in selections.values():
    print(selection.reason)
for rule, reason in left_out.items():
    print(f"{rule} is left out: {reason}")

# %%
profiles_read = [s.profile.assign(rule=rule) for rule, s in selections.items()]
by_rule = pd.concat(profiles_read)
by_rule["depth"] = by_rule.layer / n_blocks
shown = ["id", "id_err", "id_sys", "plateau"]
by_rule.groupby("rule", sort=False)[shown].mean().round(2)

# %% mystnb={"figure": {"name": "{{run}}-fig-rules", "caption": "The ID profile under each of the rules. The height depends on the rule; compare the shapes. Bands are one standard error, and don't contain the choice of the scale."}, "image": {"alt": "ID profiles against relative depth, one a rule"}}
figures.scale_rules(by_rule, note=made_from)

# %% [markdown]
# Two numbers sum {numref}`{{run}}-fig-rules` up. The correlation over layers says how alike the
# shapes are, and the ratio of the highest to the lowest reading of one layer how different the
# heights.

# %%
readings = by_rule.pivot(index="layer", columns="rule", values="id")
shapes = readings.corr()[scale_rule].drop(scale_rule)
heights = readings.max(axis=1) / readings.min(axis=1)
shapes.round(3)

# %% [markdown]
# ### Is there a plateau?
#
# `auto` asks four questions at every layer and scale. Is the *slope* of the curve small against
# what a boundary or a curvature would cause? Is this the bottom of a *bend*, where noise from
# below and curvature from above balance and only look flat? Does a *control*, a full-rank
# Gaussian cloud of the same $N$ that shows the same ID, have a much larger true dimension, so
# that a flat curve would prove nothing? Is the *spread* within the window small? The table counts
# the places that pass, and of the others the first test that they fail.

# %%
diagnostics = selections["auto"].diagnostics
diagnostics.failed.replace("", "none: a plateau").value_counts()

# %% [markdown]
# {numref}`{{run}}-fig-plateau` has the first of the tests. From the slope one can say by how much
# the ID may still be off its limit at small distances. At a plateau this may be
# {glue:text}`max-slope-bias:.0%` at most; the smallest value anywhere on the map is
# {glue:text}`least-bias:.0%`.

# %% mystnb={"figure": {"name": "{{run}}-fig-plateau", "caption": "How far the ID may be from its limit, as the slope of the curve tells: layers from left to right, scales from bottom to top. Places that the slope allows are outlined, and those that pass all four tests have a dot; without an outline there are none."}, "image": {"alt": "Map over layer and scale of the bias that the slope allows"}}
figures.plateau_bias(diagnostics, max_slope_bias, note=made_from)

# %% [markdown]
# ## The profile and its controls
#
# A profile of dimensions looks meaningful by itself. What it is worth shows beside clouds that
# share something with the representations, but not what training put there. Two of them are made
# from a layer's own points:
#
# - **shuffled features**: every coordinate is permuted over the samples on its own. Each
#   coordinate keeps its distribution, and all relations between coordinates are gone;
# - a **Gaussian cloud** with the layer's covariance: it keeps the linear relations alone.
#
# For one layer, at the scale of the chosen rule (its own value may differ a little from that of
# the profile, because TwoNN's random subsets are others):

# %%
covariance = np.cov(X.T)
alternatives = {
    "the layer itself": X,
    "shuffled features": synthetic.shuffle_columns(X, seed),
    "Gaussian, same covariance": synthetic.gaussian(n, covariance, seed),
}

# %%
for name, points in alternatives.items():
    reading = profiles.read_at_scale(points, chosen, **options)
    print(f"{name}: {reading.id:.2f} ± {reading.id_err:.2f}")

# %% [markdown]
# The same for a dozen layers at equal distances, since shapes are what we compare:

# %%
sampled = measured[:: max(1, n_blocks // 12)]
controls = profiles.controls(trained, sampled, chosen, **options)
control_ids = controls["id"].reindex(measured)
control_errors = controls["id_err"].reindex(measured)

# %% [markdown] tags=["only-untrained"]
# The third control is the **untrained network**: the same architecture with random weights, on the
# same samples. It is measured like the trained one, and read by the same rule with the same
# thresholds, at $N/n$ = {glue:text}`untrained-scale:.3g` (the trained one: {glue:text}`scale:.3g`).

# %% tags=["only-untrained"]
untrained = clouds.of_run(paths)["untrained"]
untrained_layers = profiles.screen(untrained, max(decimations)).layers
untrained_curves = profiles.measure(
    untrained, untrained_layers, drop_duplicates, **options
)
untrained_chosen = select_scale(untrained_curves, scale_rule, **thresholds)

# %% tags=["only-untrained"]
untrained_profile = untrained_chosen.profile.set_index("layer")
control_ids["untrained network"] = untrained_profile.id
control_errors["untrained network"] = untrained_profile.id_err

# %% [markdown]
# ## One layer, chosen without labels
#
# The paper's advice is to take the first minimum after the first peak, or the plateau that takes
# its place: there, it finds, neighbourhoods carry the most meaning. As a first attempt we look for
# the places where the profile turns, from rising to falling or back:

# %%
profile = chosen.profile.set_index("layer")
turns = np.flatnonzero(np.diff(np.sign(np.diff(profile.id)))) + 1
profile.iloc[turns][["id", "id_err"]].round(2)

# %% [markdown]
# Compare each step from one turn to the next with the errors beside it. Every curve that is
# measured wiggles, and a rule that took the first wiggle would choose at random. So
# `semantic_layer` lets two IDs differ only if they do by more than `prominence` (a twentieth)
# *and* by more than two standard errors. A peak must stand out on both sides, and a minimum must
# be followed by such a rise. A plateau is a run of layers, a fifth of them or more, without a
# difference inside. At last the profile is drawn two hundred times again, each ID moved at random
# by its error, and the choice is repeated: `support` is the share of these profiles that have
# such a layer at all, and `low` to `high` are the layers that can't be told from the choice.

# %%
semantic = semantic_layer(chosen.profile, prominence)
io.note_facts(singled_out=semantic.layer is not None)
pd.DataFrame([semantic]).round(3)

# %% [markdown]
# In {numref}`{{run}}-fig-profile`, compare the rise and fall of the trained curve with that of
# each control. A feature that a control has too was not made by training, or is contained in what
# the control kept.

# %% mystnb={"figure": {"name": "{{run}}-fig-profile", "caption": "The paper's Fig. 1, for this run. Left: intrinsic dimension against relative depth, with one standard error, for the trained network and, where it was measured, the untrained one; a dashed line marks the layer that the profile singles out, if any. Right: beside shuffled features and Gaussian clouds, on a logarithmic axis. Where there is a dotted end, it is the output: logits."}, "image": {"alt": "Intrinsic dimension against relative depth for the trained network and its controls"}}
figures.profile_with_controls(
    chosen.profile,
    control_ids,
    n_blocks,
    run,
    semantic,
    control_errors,
    note=f"{made_from}; {scale_rule}: {chosen.method}, N/n = {chosen.scale:.3g}",
)

# %% [markdown]
# ## Does it merely follow distances and norms?
#
# It has been argued {cite}`critique2026` that estimated dimensions follow the distances between
# neighbours and the norms of the points. Multiplying all points of a layer by a number changes no
# ratio of distances, and no estimate: size as such can't enter. But how a cloud is stretched
# decides all three, and so they may well move together. Here they are, for every layer.

# %%
sizes = profiles.sizes(trained, measured).join(profile[["id", "id_err"]])
sizes = sizes.assign(network="trained")
sizes.head().round(3)

# %% tags=["only-untrained"]
untrained_sizes = profiles.sizes(untrained, untrained_layers).join(
    untrained_profile[["id", "id_err"]]
)
sizes = pd.concat([sizes, untrained_sizes.assign(network="untrained")])

# %% mystnb={"figure": {"name": "{{run}}-fig-sizes", "caption": "Intrinsic dimension, mean distance to the first neighbour, and mean norm of the centred points, against relative depth, up to the final norm. Logits have other units and are left out. Look for rises and falls that one curve has and another has not."}, "image": {"alt": "Three panels against relative depth: intrinsic dimension, first distance and norm"}}
sizes["depth"] = sizes.index / n_blocks
figures.sizes(sizes, run, note=made_from)

# %% [markdown]
# Two smooth curves over a few dozen layers are easily alike, whatever they measure. So we take the
# rank correlation twice: of the values, and of the steps from one layer to the next, where a
# common trend is gone. All curves are compared at the same {glue:text}`n-compared` layers up to
# the final norm, those of the controls, so that a step is equally long in each of them.

# %%
inside = [layer for layer in sampled if layer <= n_blocks]
beside = sizes[sizes.network == "trained"].loc[inside, ["id", "first_distance", "norm"]]
logs = np.log(beside.join(control_ids).dropna())

# %%
together = pd.DataFrame(
    {
        "values": logs.corr("spearman").id,
        "steps": logs.diff().corr("spearman").id,
    }
).drop("id")
together.rename_axis("rank correlation of the ID with").round(2)

# %% [markdown]
# With so few steps chance is large: between unrelated curves of this length, two standard errors of
# a rank correlation are {glue:text}`chance:.2f` on either side of zero. The numbers are put into
# sentences at the end of the chapter.

# %% [markdown]
# ## Does the number of samples matter?
#
# More points means nearer neighbours, hence a smaller scale at the same decimation. TwoNN on
# random parts of the samples shows what a smaller data set would have given. Expect the height to
# move, and ask of {numref}`{{run}}-fig-samples` whether the shape does.

# %% mystnb={"figure": {"name": "{{run}}-fig-samples", "caption": "TwoNN on random subsets of the samples, without further decimation, with the standard error over subsets: the dependence of the profile on N."}, "image": {"alt": "ID profiles for several numbers of samples"}}
figures.id_by_samples(curves, n_blocks, note=made_from)

# %% [markdown]
# The curves, the profile under every rule, and what was chosen are kept as small tables. The
# chapters that come after read them, and so can you.

# %%
io.write_table(paths.results / "id_scaling.csv", curves)
io.write_table(paths.results / "id_profile.csv", by_rule)

# %% tags=["hide-input"]
provenance = {
    "model": trained.model,
    "dataset": trained.dataset,
    "n_samples": n,
    "n_blocks": n_blocks,
    "scale_rule": scale_rule,
    "scale": chosen.scale,
    "plateau": bool(selections["auto"].plateau),
    "semantic_layer": semantic.layer,
    "semantic_kind": semantic.kind,
    "machine": machine(),
}
io.write_json(paths.results / "provenance.json", provenance)
io.note_written(paths.results / "provenance.json")

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
body = profile[profile.index <= n_blocks].id
gaussian = (control_ids["Gaussian, same covariance"] / profile.id).dropna()
numbers = {
    "scale-rule": scale_rule,
    "scale": float(chosen.scale),
    "max-slope-bias": float(max_slope_bias),
    "least-bias": float(diagnostics.bias.min()),
    "plateau-share": float(selections["auto"].profile.plateau.mean()),
    "example-layer": int(layer),
    "example-high": float(curves[curves.layer == layer].id.max()),
    "example-low": float(curves[curves.layer == layer].id.min()),
    "shape": float(shapes.min()),
    "height": float(heights.max()),
    "first-id": float(body.iloc[0]),
    "first-layer": int(body.index[0]),
    "peak-id": float(body.max()),
    "peak-layer": int(body.idxmax()),
    "peak-depth": float(body.idxmax() / n_blocks),
    "last-id": float(body.iloc[-1]),
    "support": float(semantic.support),
    "n-compared": len(logs),
    "chance": float(2 / np.sqrt(len(logs) - 2)),
    "gaussian-low": float(gaussian.min()),
    "gaussian-high": float(gaussian.max()),
}
for name, row in together.iterrows():
    word = name.replace(",", " ").split()[0]
    numbers[f"values-{word}"] = float(row["values"])
    numbers[f"steps-{word}"] = float(row["steps"])
for name, value in numbers.items():
    glue(name, value, display=False)

# %% tags=["hide-input", "only-untrained"]
glue("untrained-scale", float(untrained_chosen.scale), display=False)
glue("untrained-low", float(untrained_profile.id.min()), display=False)
glue("untrained-high", float(untrained_profile.id.max()), display=False)
glue("trained-low", float(profile.id.min()), display=False)
glue("trained-high", float(profile.id.max()), display=False)

# %% tags=["hide-input", "only-singled_out"]
glue("kind", semantic.kind, display=False)
glue("chosen-layer", int(semantic.layer), display=False)
glue("chosen-depth", float(semantic.layer / n_blocks), display=False)
glue("chosen-from", int(semantic.low), display=False)
glue("chosen-to", int(semantic.high), display=False)

# %% [markdown]
# - **By hand and with DADApy the estimates are equal.** TwoNN is the slope of a line, and Gride the
#   root of one equation. Over all scales and both estimators the ID of layer
#   {glue:text}`example-layer` goes from {glue:text}`example-low:.1f` to
#   {glue:text}`example-high:.1f`: *the* dimension of a layer does not exist, only a dimension at a
#   scale.
# - **The rules.** A plateau in scale was found by `auto` in {glue:text}`plateau-share:.0%` of the
#   layers, of which it wants half. The profiles by the other rules correlate with that of
#   *{glue:text}`scale-rule`* at {glue:text}`shape:.2f` or more. Readings of one layer differ by a
#   factor of up to {glue:text}`height:.2f` between the rules.
# - **The profile.** At $N/n$ = {glue:text}`scale:.3g` the ID is {glue:text}`first-id:.1f` at layer
#   {glue:text}`first-layer`, has its highest value of {glue:text}`peak-id:.1f` at layer
#   {glue:text}`peak-layer` (relative depth {glue:text}`peak-depth:.2f`), and is
#   {glue:text}`last-id:.1f` at the last layer before the output.

# %% [markdown] tags=["only-singled_out"]
# - **The layer.** The profile has a {glue:text}`kind` after its peak at layer
#   {glue:text}`chosen-layer` (relative depth {glue:text}`chosen-depth:.2f`); layers
#   {glue:text}`chosen-from` to {glue:text}`chosen-to` can't be told from it. Of the profiles that
#   were drawn again within their errors, {glue:text}`support:.0%` have such a layer.

# %% [markdown] tags=["not-singled_out"]
# - **The layer.** The profile has no minimum and no plateau after a peak that its errors support,
#   so that no layer is singled out. Of the profiles that were drawn again within their errors,
#   {glue:text}`support:.0%` have such a layer.

# %% [markdown] tags=["only-untrained"]
# - **Training.** The untrained network's profile lies between {glue:text}`untrained-low:.1f` and
#   {glue:text}`untrained-high:.1f`, the trained one's between {glue:text}`trained-low:.1f` and
#   {glue:text}`trained-high:.1f`, logits included.

# %% [markdown]
# Of the criticism that the ID follows distances and norms:
#
# - The ID and the *distance to the first neighbour* have a rank correlation of
#   {glue:text}`values-first_distance:.2f` over the layers and of
#   {glue:text}`steps-first_distance:.2f` over the steps between them.
# - For the *norm* it is {glue:text}`values-norm:.2f` over the layers and
#   {glue:text}`steps-norm:.2f` over the steps.
# - For clouds of *shuffled features* it is {glue:text}`values-shuffled:.2f` over the
#   layers and {glue:text}`steps-shuffled:.2f` over the steps.
# - For *Gaussian clouds* with the layers' covariances it is
#   {glue:text}`values-Gaussian:.2f` over the layers and
#   {glue:text}`steps-Gaussian:.2f` over the steps. These clouds are read as
#   {glue:text}`gaussian-low:.2f` to {glue:text}`gaussian-high:.2f` times as high as the layers.

# %% [markdown] tags=["only-untrained"]
# - For the *untrained network* it is {glue:text}`values-untrained:.2f` over the layers and
#   {glue:text}`steps-untrained:.2f` over the steps.

# %% [markdown]
# Hold each of these numbers against chance ({glue:text}`chance:.2f` for the steps). Where a
# quantity follows the ID over the layers and over the steps, the shape of the profile alone can't
# tell the two apart in this run, and that part of the criticism stands. Where it does so over the
# layers only, the two share a trend. Where the Gaussian clouds follow it, the rise and fall is in
# the covariance already, and what the neighbours add is by how much the points fall short of
# filling it. What the criticism can't take away is that the estimates are made of ratios, which no
# change of units moves. {ref}`paper-controls` shows both sides on clouds of known dimension.
