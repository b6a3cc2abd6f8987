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
# - the dimension of each layer's cloud of points is estimated from distance ratios, at many scales;
# - the scale at which it is read is chosen, by rules that are written down, and the rules are compared;
# - the profile over depth is drawn beside its controls: Fig. 1 of the paper.

# %% tags=["parameters"]
run = "igpt-mini"
scale_rule = "paper_text"
decimations = [1, 2, 4, 8, 16, 32]
n_repetitions = 4
fraction = 0.98
fit = "base"
drop_duplicates = False
seed = 0
device = "auto"
max_slope_bias = 0.08
max_bend_bias = 0.08
max_control_bias = 0.05
prominence = 0.05

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from tqdm import tqdm

from georep_utils import clouds as extract, figures
from georep_utils.geometry import neighbors, scale_rules as dimension, scaling, synthetic as manifolds
from georep_utils.io import RunPaths, UserError, write_json
from georep_utils.workflow.stages import provenance

figures.use_style()
paths = RunPaths(run)
representations = extract.load(paths.representations)
n, n_blocks = representations.n_samples, representations.n_blocks
decimations = [s for s in decimations if n // s >= scaling.MIN_POINTS]
made_from = f"{run}: {representations.model}, {representations.dataset}, N = {n:,}; measured here"

# %% [markdown]
# ## Two estimators, one idea
#
# Around a point, a uniform cloud of dimension $d$ fills volumes that grow as $r^d$. The ratio $\mu_i = r_{i,2}/r_{i,1}$ of
# the first two neighbour distances then follows a Pareto law, $P(\mu) = d\, \mu^{-d-1}$, whatever the density, as long as it
# is constant over two neighbours. **TwoNN** {cite}`facco2017` fits $d$ as the slope of $-\log(1 - F(\mu))$ against
# $\log \mu$. **Gride** {cite}`denti2022` does the same by maximum likelihood with neighbours $k$ and $2k$.
#
# Both are DADApy's {cite}`glielmo2022`. What "dimension" means depends on the scale: TwoNN looks further away when
# points are left out (decimation: $N/n$ grows), Gride when $k$ does. We measure a whole curve for every layer.
#
# A point with an exact copy has $r_{i,1} = 0$ and no ratio: it is left out of the fit and counted. `drop_duplicates` keeps one of
# each instead, and finds the neighbours of the rest anew. `fit` is `base`, the authors' line through the origin, or `ml`.
#
# A layer where more than half of the points are copies of others is left out, and named: there is no dimension to estimate.


# %%
def worth_measuring(folder):
    """Layers in `folder` whose points differ, each checked before anything is estimated."""
    kept = []
    for layer in extract.load(folder).layers:
        X = np.asarray(extract.load(folder)[layer])
        if (different := dimension.n_different(X)) < n / 2:
            print(f"layer {layer} has {different} different points of {n}: left out")
            continue
        for warning in dimension.check_representation(X, layer, max(decimations)):
            print(warning)
        kept.append(layer)
    if not kept:
        raise UserError(
            f"in {folder} most points of every layer are copies of others; check the model, its inputs and where it is read"
        )
    return kept


# %%
def measure(folder, found):
    """Curves of ID against scale, of both estimators, for every layer in `folder`."""
    curves = []
    for layer in tqdm(worth_measuring(folder), desc=folder.name, mininterval=1):
        X = np.asarray(extract.load(folder)[layer])
        near = neighbors.load(found, f"layer_{layer:02d}")
        if drop_duplicates and len(Y := dimension.drop_duplicates(X)[0]) < len(X):
            ranks = min(2 ** near.mus.shape[1], 2 ** ((len(Y) - 1).bit_length() - 1))
            X, near = Y, neighbors.nearest_neighbors(Y, 2, ranks, device)
        twonn = dimension.twonn_scaling(
            X,
            tuple(decimations),
            n_repetitions,
            fraction,
            fit,
            seed,
            device,
            near,
        )
        curves.append(
            pd.concat([twonn, dimension.gride_scaling(near)]).assign(layer=layer)
        )
    return pd.concat(curves, ignore_index=True)


# %%
curves = measure(paths.representations, paths.neighbors)
curves.groupby("method").head(3).round(3)

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-scaling", "caption": "Estimated dimension against scale, a curve a layer, dark for early layers and bright for late ones. Left: TwoNN on decimated data, with the standard error over repetitions. Right: Gride on all data, with Fisher errors. A horizontal stretch is a scale at which the dimension is well defined."}, "image": {"alt": "Two panels of curves, intrinsic dimension against scale, coloured by depth"}}
fig = figures.id_scaling(
    curves, n_blocks, {"twonn": "TwoNN, decimated", "gride": "Gride"}
)
figures.note(fig, made_from)
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-map", "caption": "The same Gride curves as a map: layers from left to right, scales from bottom to top."}, "image": {"alt": "Heat map of intrinsic dimension over layer and scale"}}
table = curves[curves.method == "gride"].pivot(
    index="layer", columns="scale", values="id"
)
fig = figures.id_map(table, "Gride")
figures.note(fig, made_from)
plt.show()

# %% [markdown]
# ## Choosing the scale
#
# Appendix B of the paper reads TwoNN where the curve depends least on scale, and its text names a decimation by 4; the
# released figures use a decimation by 32. The exact rule is not public, so we keep four, by name:
#
# - `paper_text`: TwoNN at $N/4$, as the text says;
# - `igpt_release`: TwoNN at $N/32$, four repetitions, lowest 98 % of the ratios, as the released code does;
# - `gride_small_k`: the mean of Gride at neighbours 2-4 and 4-8;
# - `auto`: **ours**. A plateau is looked for in every layer's curve: a small weighted slope in a sliding window, judged against
#   a Gaussian cloud of the same $N$ that shows the same ID. Layers then vote for one scale. It says when there is none.

# %%
rules = {}
for rule, needs in {
    "paper_text": 4,
    "igpt_release": 32,
    "gride_small_k": 1,
    "auto": 1,
}.items():
    if needs > 1 and needs not in decimations:
        print(
            f"{rule} is left out: it needs a decimation by {needs}, and {n:,} samples are too few for it or it is not asked for"
        )
        continue
    options = {
        "max_bias": max_slope_bias,
        "max_bend_bias": max_bend_bias,
        "max_control_bias": max_control_bias,
        "device": device,
    }
    rules[rule] = dimension.select_scale(curves, rule, **options)
    print(rules[rule].reason)
if scale_rule not in rules:
    raise UserError(
        f"scale_rule is {scale_rule}, which these samples don't support; choose one of {', '.join(rules)} or take more samples"
    )
chosen = rules[scale_rule]

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-rules", "caption": "The ID profile under the four rules. The height depends on the rule; compare the shapes."}, "image": {"alt": "Four ID profiles against relative depth, one a rule"}}
fig, axis = figures.panels()
for (rule, selection), shade in zip(
    rules.items(), ["#00798c", "#d1495b", "#edae49", "#33333b"]
):
    label = f"{rule}  ({selection.method}, N/n = {selection.scale:.3g}{'' if selection.plateau else ', no plateau'})"
    p = selection.profile
    figures.profile(
        axis,
        p.layer / n_blocks,
        p.id,
        p.id_err,
        name=rule,
        label=label,
        color=shade,
        linestyle="--" if rule == "auto" else "-",
    )
axis.set_ylabel("intrinsic dimension")
figures.depth_axis(axis)
axis.legend(fontsize=8.5)
figures.note(fig, made_from)
plt.show()

# %% [markdown]
# Why `auto` says what it says: at every layer and scale the curve must pass four tests. The *slope* must be small against what a
# boundary or curvature would cause; the place must not be the bottom of a *bend*, where noise and curvature balance; a Gaussian
# cloud that shows the same ID must not be far above it in dimension (*control*); and the window must not *spread*. The slope, as
# the share by which the ID may still be off, is drawn; a plateau needs less than `max_slope_bias`.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-plateau", "caption": "How far the ID may be from its limit, by the slope of the curve there: layers from left to right, scales from bottom to top."}, "image": {"alt": "Heat map over layer and scale of the bias that the slope allows"}}
diagnostics = rules["auto"].diagnostics
table = diagnostics.pivot(index="layer", columns="scale", values="bias")
fig = figures.id_map(table, rules["auto"].method, "bias that the slope allows")
figures.note(fig, made_from)
plt.show()

# %% tags=["hide-input"]
failed = diagnostics.failed.value_counts()
text = ", ".join(f"{name} in {count}" for name, count in failed.items() if name)
Markdown(
    f"Of {len(diagnostics)} places {failed.get('', 0)} pass. The first test that fails: {text or 'none'}. The smallest bias that a "
    f"slope allows is {diagnostics.bias.min():.0%}."
)

# %% tags=["hide-input"]
errors = pd.DataFrame(
    {
        rule: {
            "mean ID": s.profile.id.mean(),
            "statistical error, mean": s.profile.id_err.mean(),
            "systematic error, mean": s.profile.id_sys.mean(),
            "layers with a plateau": s.profile.plateau.mean(),
        }
        for rule, s in rules.items()
    }
).T
errors.round(2)

# %% [markdown]
# The systematic error is half the range of the ID over half, the same and double the scale. Where it exceeds the statistical one,
# more samples will not settle the value: the scale must be said with it.

# %% [markdown]
# ## The profile, with its controls
#
# Three clouds that share something with the representations, but not what training put there:
#
# - the **untrained network** on the same samples;
# - **shuffled features**: every coordinate of a layer is permuted over the samples on its own, which keeps each coordinate's
#   distribution and destroys their relations;
# - a **Gaussian cloud** with the layer's covariance, which keeps the linear relations alone.


# %%
def read(X):
    """ID of a control cloud at the scale of the chosen rule."""
    if chosen.method == "twonn":
        return dimension.twonn_scaling(
            X, (int(chosen.scale),), n_repetitions, fraction, fit, seed, device
        ).id.iloc[0]
    curve = dimension.gride_scaling(
        neighbors.nearest_neighbors(X, 2, 2 ** int(np.log2(4 * chosen.scale)), device)
    )
    return np.interp(np.log(chosen.scale), np.log(curve.scale), curve.id)


measured = list(curves.layer.unique())
controls = pd.DataFrame(index=pd.Index(measured, name="layer"), dtype=float)
for layer in measured[:: max(1, n_blocks // 12)]:
    X = np.asarray(representations[layer])
    controls.loc[layer, "shuffled features"] = read(manifolds.shuffle_columns(X, seed))
    controls.loc[layer, "Gaussian, same covariance"] = read(
        manifolds.gaussian(n, np.cov(X.T), seed)
    )

# %%
untrained = paths.representations.with_name("representations-untrained")
if untrained.exists():
    control_curves = measure(
        untrained, paths.neighbors.with_name("neighbors-untrained")
    )
    controls["untrained network"] = (
        dimension.select_scale(control_curves, scale_rule, device=device)
        .profile.set_index("layer")
        .id
    )

# %% [markdown]
# The paper's advice is to look for the first minimum after the peak: it marks the layer whose neighbourhoods carry the
# most meaning, and it is found without labels. `semantic_layer` does that, and says "none" where a profile has no such
# feature that its errors can support.

# %%
semantic = dimension.semantic_layer(chosen.profile, prominence)
semantic

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-profile", "caption": "The paper's Fig. 1, for this run. Left: intrinsic dimension against relative depth, with one standard error, trained and untrained; the dashed line is the layer that the profile singles out, if any. Right: beside shuffled features and Gaussian clouds, on a logarithmic axis. Where there is a dotted end, it is the output: logits."}, "image": {"alt": "Intrinsic dimension against relative depth for the trained network and its controls"}}
p = chosen.profile
fig, axes = figures.panels(2, width=9, height=3.9)
for axis, names in zip(axes, [["untrained network"], list(controls)]):
    figures.profile(
        axis, p.layer / n_blocks, p.id, p.id_err, name=run, label=f"{run}, trained"
    )
    for name, style in {
        "untrained network": "--",
        "shuffled features": ":",
        "Gaussian, same covariance": "-.",
    }.items():
        if name in names and name in controls:
            kept = controls[name].dropna()
            figures.profile(
                axis,
                kept.index / n_blocks,
                kept,
                name=name,
                color=figures.CONTROL,
                linestyle=style,
                marker="",
            )
    figures.depth_axis(axis, "relative depth")
    axis.legend(fontsize=8.5)
if semantic.layer is not None:
    figures.mark(axes[0], semantic.layer / n_blocks, f"{semantic.kind} after the peak")
axes[0].set(ylabel="intrinsic dimension", ylim=(0, 1.35 * p.id.max()), title="training")
axes[1].set(yscale="log", title="all controls (logarithmic)")
figures.note(
    fig, f"{made_from}; rule {scale_rule}: {chosen.method}, N/n = {chosen.scale:.3g}"
)
plt.show()

# %% [markdown]
# ## Does it merely follow distances and norms?
#
# It has been argued {cite}`critique2026` that estimated dimensions follow the distances between neighbours and the norms of
# the points. Multiplying a layer by a number changes neither ratio nor estimate, so size as such can't enter. But how a cloud
# is stretched decides all three, and so they may move together. Here they are side by side, for a reader to judge.


# %%
def sizes(folder, found):
    """Mean distance to the first neighbour, and mean norm of the centred points, of every layer in `folder`."""
    rows = {}
    for layer in extract.load(folder).layers:
        X = np.asarray(extract.load(folder)[layer])
        near = neighbors.load(found, f"layer_{layer:02d}")
        rows[layer] = near.radii[0, 0], np.linalg.norm(X - X.mean(0), axis=1).mean()
    return pd.DataFrame(rows, index=["first distance", "norm"]).T


size = {"trained": sizes(paths.representations, paths.neighbors)}
ids = {"trained": p.set_index("layer").id}
if untrained.exists():
    size["untrained"] = sizes(
        untrained, paths.neighbors.with_name("neighbors-untrained")
    )
    ids["untrained"] = controls["untrained network"]

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-sizes", "caption": "Intrinsic dimension, mean distance to the first neighbour, and mean norm of the centred points, against relative depth."}, "image": {"alt": "Three panels against relative depth: intrinsic dimension, first distance, norm, each for the trained and the untrained network"}}
fig, axes = figures.panels(3, width=10.5, height=3.2)
for who, table in size.items():
    style = (
        {} if who == "trained" else {"color": figures.CONTROL, "linestyle": "--"}
    ) | {"marker": "", "label": who}
    figures.profile(axes[0], ids[who].index / n_blocks, ids[who], name=run, **style)
    for axis, column in zip(axes[1:], table):
        figures.profile(axis, table.index / n_blocks, table[column], name=run, **style)
for axis, label in zip(
    axes,
    ["intrinsic dimension", "distance to the first neighbour", "norm, centred"],
):
    axis.set_ylabel(label)
    figures.depth_axis(axis, "relative depth")
    axis.set_ylim(0, None)
axes[0].legend(fontsize=8.5)
figures.note(fig, made_from)
plt.show()

# %% [markdown]
# Two smooth curves over a few dozen layers are easily alike, so rank correlations are taken twice: over the layers, and over
# the steps from each layer to the next.

# %% tags=["hide-input"]
beside = size["trained"].join(controls, how="left")
together = pd.DataFrame(index=beside.columns, columns=["layers", "steps"], dtype=float)
for name, other in beside.items():
    pair = np.log(pd.DataFrame({"id": ids["trained"], "other": other}).dropna())
    for column, values in {"layers": pair, "steps": pair.diff().dropna()}.items():
        together.loc[name, column] = values.corr("spearman").iloc[0, 1]
together.rename_axis("rank correlation of the ID with").round(2)

# %% [markdown]
# ## Does the number of samples matter?
#
# More points means nearer neighbours, hence a smaller scale at the same decimation. Fewer points is a harder test of the
# profile's shape than of its height.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-samples", "caption": "TwoNN on random subsets of the samples: the dependence of the profile on N."}, "image": {"alt": "ID profiles for several numbers of samples"}}
fig = figures.id_by_samples(curves, n_blocks)
figures.note(fig, f"{made_from}; TwoNN, no further decimation")
plt.show()

# %% tags=["hide-input"]
paths.results.mkdir(parents=True, exist_ok=True)
curves.to_csv(paths.results / "id_scaling.csv", index=False, float_format="%.6g")
profiles = pd.concat(
    [
        s.profile.assign(rule=rule, depth=lambda p: p.layer / n_blocks)
        for rule, s in rules.items()
    ]
)
profiles.to_csv(paths.results / "id_profile.csv", index=False, float_format="%.6g")
write_json(
    paths.results / "provenance.json",
    {
        "model": representations.model,
        "dataset": representations.dataset,
        "n_samples": n,
        "n_blocks": n_blocks,
        "scale_rule": scale_rule,
        "scale": chosen.scale,
        "plateau": bool(rules["auto"].plateau),
        "semantic_layer": semantic.layer,
        "semantic_kind": semantic.kind,
        "machine": provenance(),
    },
)

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
peak, body = p.loc[p.id.idxmax()], p[p.layer <= n_blocks]
found = (
    f"The profile has a {semantic.kind} after its peak at layer {semantic.layer} (depth {semantic.layer / n_blocks:.2f}; layers "
    f"{semantic.low} to {semantic.high} can't be told from it; {semantic.support:.0%} of profiles redrawn within their errors have such a layer)."
    if semantic.layer is not None
    else "The profile has no minimum or plateau after a peak that its errors support, so no layer is singled out "
    f"({semantic.support:.0%} of profiles redrawn within their errors have one)."
)
flat = controls.get("untrained network")
trained_only = (
    ""
    if flat is None
    else f"- Untrained, the same network's profile lies between {flat.min():.1f} and {flat.max():.1f}.\n"
)
shapes = [
    np.corrcoef(p.id, s.profile.id)[0, 1]
    for rule, s in rules.items()
    if rule != scale_rule
]
alike = (
    "nearly the same"
    if min(shapes) > 0.9
    else "much alike"
    if min(shapes) > 0.7
    else "not the same"
)
moves = together.loc[["first distance", "norm"]].abs().max()
likeness = (
    "they move together, and this run can't tell one from the other by the shape alone: that part of the criticism stands"
    if moves.steps > 0.7
    else "over the layers they are alike, step by step much less: a common trend, not one quantity"
    if moves.layers > 0.7
    else "neither curve is the other's"
)
gauss = (controls["Gaussian, same covariance"] / ids["trained"]).dropna()
follows = together.steps["Gaussian, same covariance"]
shape = (
    "so that the rise and fall is largely in the covariance already, and neighbours add how far the points fall short of filling it"
    if follows > 0.7
    else "so that its rise and fall is not that of the covariance alone"
)
heights = pd.DataFrame(
    {rule: s.profile.set_index("layer").id for rule, s in rules.items()}
)
heights = heights.max(axis=1) / heights.min(axis=1)
Markdown(f"""
- Read by `{scale_rule}`, the ID goes from {p.id.iloc[0]:.1f} at layer {p.layer.iloc[0]} to {peak.id:.1f} at layer {int(peak.layer)} (depth {peak.layer / n_blocks:.2f}), and is {body.id.iloc[-1]:.1f} at the final norm.
- {found}
{trained_only}- The {len(shapes)} other rules give profiles that correlate with this one at {min(shapes):.2f} or more; a plateau in scale was {"found" if rules["auto"].plateau else "not found"} by `auto`: {rules["auto"].reason.removeprefix("auto: ")}.

Of the criticism that the ID follows distances and norms, in this run:

- The ID's rank correlation with the distance to the first neighbour is {together.layers["first distance"]:.2f} over the layers and {together.steps["first distance"]:.2f} over the steps between them; with the norm {together.layers["norm"]:.2f} and {together.steps["norm"]:.2f}: {likeness}.
- What survives: size alone can't make a profile, since estimates are made of ratios. A Gaussian cloud with a layer's covariance, hence its mean squared norm, is read as {gauss.min():.1f} to {gauss.max():.1f} times as high. It goes with the layer at {together.layers["Gaussian, same covariance"]:.2f} over the layers and {follows:.2f} over the steps, {shape}.
- The shape of the profile is {alike} under every rule (correlations of {min(shapes):.2f} or more).
- What does not survive is *the* dimension of a layer: the rules differ by a factor of up to {heights.max():.1f} in the same layer, so that a value means nothing without its scale. {{ref}}`paper-controls` shows both sides on clouds of known dimension.
""")
