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
#   georep:
#     after: [05_overlaps]
# ---

# %% [markdown]
# ({{run}}-explore)=
# # Explore layers, scales and neighbours
#
# In this chapter:
#
# - the profile of the dimension can be turned through all scales at which it was read, with the
#   layer that each of them singles out, and with the controls of the run;

# %% [markdown] tags=["not-brought"]
# - a sample can be picked, and its nearest neighbours followed from layer to layer.

# %% tags=["parameters"]
run = "igpt-mini"  # | Name of the run.
dataset = "fashion-mnist-14"  # | Name of the data set; only to show neighbours.
split = "test"  # one of train, valid, test | Which part of the data set.
n_per_class = 500  # at least 0 | Samples of each class: the first ones. 0 takes all.
dataset_options = {}  # | Options of the data set, such as the path of its file.
data_dir = "data"  # | Folder of downloads, below the repository.
prominence = 0.05  # between 0 and 1 | IDs that differ by less, relatively, are equal.
n_queries = 20  # at least 1 | Samples whose neighbours are shown.
n_near = 8  # at least 1 | Neighbours of each of them.

# %%
from functools import partial

import numpy as np
import pandas as pd
from myst_nb import glue

from georep_utils import clouds, explorers, figures, io
from georep_utils.data import datasets, previews, samples
from georep_utils.geometry import profiles, resampling, scaling
from georep_utils.geometry.scale_rules import select_scale
from georep_utils.geometry.semantic_layer import semantic_layer
from georep_utils.paper import advice, scores

# %% tags=["hide-input"]
figures.use_style()
paths = io.RunPaths(run)
run_clouds = clouds.of_run(paths)
trained = run_clouds["trained"]
n_blocks = trained.n_blocks
n = trained.n_samples
made_from = f"{run}: {trained.model}, {trained.dataset}, N = {n:,}; measured here"

# %% [markdown]
# ## Every scale at once
#
# A profile of the intrinsic dimension (ID) is read at one scale, which
# {ref}`{{run}}-intrinsic-dimension` chose by a rule. What would the other scales have said? The
# curves of that chapter hold an ID for each layer at each scale, by TwoNN {cite}`facco2017` on
# decimated data and by Gride {cite}`denti2022` on all. Nothing has to be measured again.

# %%
curves = io.read_table(paths.results / "id_scaling.csv")
own = scores.read_profile(paths)
rule = own.ids.rule.iloc[0]
chosen = select_scale(curves, rule)
start = (chosen.method, chosen.scale)

# %% [markdown]
# A curve comes with the spread over its subsets, or with the error of its likelihood. The spread of
# a few subsets can be small by chance, and the likelihood takes ratios of neighbouring points for
# independent, though they share distances. So no error here is taken to be less than that of one
# independent ratio a point, $d / \sqrt{n}$. The run's own profile, at the scale of its rule, has
# better errors and keeps them.

# %%
n_ratios = curves.n_points * curves.repetitions
curves["id_err"] = np.maximum(curves.id_err, curves.id / np.sqrt(n_ratios))

# %%
by_rule = io.read_table(paths.results / "id_profile.csv")
by_rule = by_rule[by_rule.rule == rule].assign(method=chosen.method, scale=chosen.scale)
other = (curves.method != chosen.method) | (curves.scale != chosen.scale)
curves = pd.concat([curves[other], by_rule], ignore_index=True)

# %% [markdown]
# ### Which layer would each scale have singled out?
#
# The rule that looks for a minimum or a plateau after the peak reads each of these profiles in
# turn. The errors of different layers count as independent here, though layers share their samples,
# which makes the steps between layers look less certain than they are. The run's own profile is
# read with what its layers share.

# %% tags=["hide-input"]
found = {at: None for at in curves.groupby(["method", "scale"]).groups}
lowest = dict.fromkeys(found)
errors_of = dict.fromkeys(found, "of each layer")

# %% tags=["only-enough_layers"]
for at, table in curves.groupby(["method", "scale"]):
    found[at] = semantic_layer(table, prominence, n_blocks=n_blocks)

# %% tags=["only-enough_layers", "only-joint_errors"]
joint = {"covariance": resampling.jackknife(own.replicates)[1]}
joint["groups"] = resampling.N_GROUPS
found[start] = semantic_layer(by_rule, prominence, n_blocks=n_blocks, **joint)
errors_of[start] = "balanced halves, joint"

# %% tags=["only-enough_layers"]
answers = pd.DataFrame(list(found.values()))
answers.index = [f"{method}, N/n = {scale:g}" for method, scale in found]
shown = ["kind", "layer", "low", "high", "peak_layer"]
numbers = dict.fromkeys(shown[1:], "Int64")
answers[shown].astype(numbers).astype(object).fillna("–")

# %% [markdown] tags=["only-enough_layers"]
# A layer is singled out in {glue:text}`n-singled` of {glue:text}`n-read` profiles. Where none is,
# the view marks a *candidate*, the layer of least ID after the peak, with a hollow mark. It is what
# a reader's eye would take; nothing says that it is more than noise, or that the profile rises
# again behind it.

# %% tags=["hide-input", "only-enough_layers"]
glue("n-singled", int(answers.layer.notna().sum()), display=False)
glue("n-read", len(answers), display=False)
for at, table in curves.groupby(["method", "scale"]):
    advised = advice.choices(table, n_blocks, found[at])
    lowest[at] = advised["least ID after the peak"]

# %% [markdown]
# ### What the controls say there
#
# The controls of the run were read at the scale of its rule.

# %%
controls = io.read_table(paths.results / "id_controls.csv")
controls = explorers.named_controls(controls, trained.layers)
controls = controls.assign(method=chosen.method, scale=chosen.scale)


# %% [markdown]
# An untrained network and the input have neighbours of their own, which were stored with them.
# Gride needs no more than these, at any scale.


# %%
def gride_of(cloud):
    """Gride at every scale, for all layers that have a dimension."""
    layers = profiles.screen(cloud, none_is_refused=False).layers
    read = [scaling.gride_scaling(cloud.neighbors(d)).assign(layer=d) for d in layers]
    return pd.concat(read)


others = []

# %% tags=["only-untrained"]
others.append(gride_of(run_clouds["untrained"]).assign(control="untrained"))

# %% tags=["only-input_read"]
given = run_clouds["input"]
names = dict(zip(given.layers, given.layer_names, strict=True))
table = gride_of(given)
others.append(table.assign(control=table.layer.map(names)))

# %%
for table in others:
    named = explorers.controls_by_scale(table, trained.layers)
    controls = pd.concat([controls, named], ignore_index=True)
# Where the run's rule reads Gride at such a scale, its own reading counts.
controls = controls.drop_duplicates(["control", "method", "scale", "layer"])

# %% [markdown]
# ### Turn it
#
# Move the slider to change the scale, and follow a control by its switch. A control that was not
# read at a scale is not drawn there. Numbers appear under the pointer, and with the arrow keys on
# the drawing.

# %% tags=["hide-input"]
about = {
    at: {"singled": found[at], "lowest": lowest[at], "errors": errors_of[at]}
    for at in found
}
scales = explorers.scale_view(curves, about, controls, n_blocks, start, made_from)
explorers.Explorer("layers", "ID profile at every scale", scales)

# %% [markdown]
# On paper, {numref}`{{run}}-fig-profiles-at-scales` shows some of these profiles. Look at whether
# the curves keep their shape while their height changes, and at which scale they lose it.

# %% mystnb={"figure": {"name": "{{run}}-fig-profiles-at-scales", "caption": "Intrinsic dimension against relative depth at some of the scales. Bands are one standard error. A star marks the layer that a profile singles out; without a star there is none."}, "image": {"alt": "Two panels of ID profiles against relative depth, a curve a scale"}}
some = curves[curves.scale.isin([1, 4, 16, 64])]
stars = {at: getattr(answer, "layer", None) for at, answer in found.items()}
figures.profiles_at_scales(some, stars, n_blocks, note=made_from)

# %% [markdown] tags=["not-brought"]
# ## Who is near, layer by layer
#
# {ref}`{{run}}-distances` found the neighbours of every sample in every layer. Here are a few
# samples, with the {glue:text}`n-near` nearest of each.

# %% tags=["not-brought"]
n_first = n_per_class or None
data = datasets.load(dataset, split, n_first, data_dir, **dataset_options)
labels = trained.side("labels")
queries = samples.spread(labels, n_queries, n)

# %% tags=["not-brought"]
near = [trained.neighbors(layer).indices[queries] for layer in trained.layers]
near = np.stack(near, axis=1)[:, :, : n_near + 1]
near.shape  # queries, layers, the query itself and its neighbours

# %% tags=["hide-input", "not-brought"]
if near.shape[2] < n_near + 1:
    raise io.UserError(
        f"n_near is {n_near}, and {near.shape[2] - 1} neighbours are stored; expected at most "
        "that many: lower n_near, or raise distances.maxk"
    )
glue("n-near", n_near, display=False)
shown_by = {}
if labels is not None:
    shown_by = {"labels": labels, "names": previews.class_names(data)}
if data.facts()["images"]:
    shown_by["pictures"] = partial(previews.pictures, data)
else:
    shown_by["lines"] = partial(previews.lines, data, width=160, with_class=False)
ends = [0, n_blocks // 2, n_blocks]
at_ends = [trained.layers.index(layer) for layer in ends]

# %% [markdown] tags=["only-labels", "not-brought"]
# Pick a sample, and move through the layers. A neighbour with the label of the query has a solid
# frame, any other a dotted one; the curve below counts those with the label, layer by layer.
# Nothing told the network what a label is. Watch where the neighbours stop looking alike, and where
# they begin to be of one kind.

# %% [markdown] tags=["not-labels", "not-brought"]
# Pick a sample, and move through the layers. Watch where its neighbours stop looking alike.

# %% tags=["hide-input", "not-brought"]
neighbours = explorers.neighbour_view(
    near, trained.layers, n_blocks, note=made_from, **shown_by
)
explorers.Explorer("neighbours", "Nearest neighbours, layer by layer", neighbours)

# %% [markdown] tags=["only-images"]
# On paper, {numref}`{{run}}-fig-neighbours-framed` shows two of the samples at three layers.

# %% tags=["only-images"]
two = near[:: max(1, len(near) // 2)][:2][:, at_ends]
alike = None if labels is None else labels[two[:, :, 1:]] == labels[two[:, :, :1]]

# %% tags=["only-images"] mystnb={"figure": {"name": "{{run}}-fig-neighbours-framed", "caption": "Two samples and their nearest neighbours at the first layer, in the middle of the network and at the final norm. Where labels are known, a solid frame has the label of the query, a dotted one has not."}, "image": {"alt": "Rows of images: a query and its nearest neighbours in frames, for three layers"}}
figures.neighbours_framed(previews.pictures(data, two), alike, ends, note=made_from)

# %% tags=["not-images", "not-brought"]
some = near[:: max(1, len(near) // 4)][:4]
columns = {
    f"nearest at layer {d}": previews.lines(data, some[:, i, 1])
    for d, i in zip(ends, at_ends, strict=True)
}
pd.DataFrame({"sample": previews.lines(data, some[:, 0, 0])} | columns)

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
layers = curves[curves.layer <= n_blocks]
heights = layers.groupby(["method", "scale"]).id.max()
glue("n-curves", len(found), display=False)
glue("lowest-top", float(heights.min()), display=False)
glue("highest-top", float(heights.max()), display=False)
tops = layers.loc[layers.groupby(["method", "scale"]).id.idxmax()]
glue("first-top", int(tops.layer.min()), display=False)
glue("last-top", int(tops.layer.max()), display=False)

# %% [markdown]
# - **Scale.** Over {glue:text}`n-curves` profiles the highest ID of a profile goes from
#   {glue:text}`lowest-top:.1f` to {glue:text}`highest-top:.1f`, and it lies between the layers
#   {glue:text}`first-top` and {glue:text}`last-top`. The further apart these layers are, the more
#   the place of the peak hangs on the scale, and not only its height.

# %% tags=["hide-input", "only-labels", "not-brought"]
same = labels[near[:, :, 1:]] == labels[near[:, :, :1]]
share = pd.Series(same.mean(axis=(0, 2)), trained.layers).loc[:n_blocks]
glue("n-queries", len(queries), display=False)
glue("share-first", float(share.iloc[0]), display=False)
glue("share-best", float(share.max()), display=False)
glue("layer-best", int(share.idxmax()), display=False)

# %% [markdown] tags=["only-labels", "not-brought"]
# - **Neighbours.** Of the neighbours of these {glue:text}`n-queries` samples,
#   {glue:text}`share-first:.0%` have the sample's label at layer 0, and
#   {glue:text}`share-best:.0%` at layer {glue:text}`layer-best`, the most. So few samples
#   illustrate what {ref}`{{run}}-overlaps` measures on all; they are no measurement of it.
