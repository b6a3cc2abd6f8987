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
# ({{run}}-overlaps)=
# # Compare neighbourhoods
#
# In this chapter:
#
# - The overlap of two layers is computed by hand in one line, and then with DADApy.
# - Consecutive layers are compared by the neighbours they share: Fig. 2 of the paper.

# %% [markdown] tags=["only-labels"]
# - Every layer is compared with the labels, the trained network's and, where there is one, the
#   untrained one's: Fig. 4.
# - The layer that the ID profile singled out, without labels, is held against the best one.

# %% tags=["parameters"]
run = "igpt-mini"  # | Name of the run.
data_k = [10, 30]  # at least 1 | Neighbours that are compared between layers.
label_k = [10, 30]  # at least 1 | Neighbours whose labels are counted.
robustness_k = [1, 3, 10, 30, 50]  # at least 1 | Neighbours for the curves of many k.
exclude_family = "before"  # one of before, after | When a protein's family is left out.
probe_samples = 5000  # at least 10 | Samples that the linear classifier sees.
seed = 0  # at least 0 | Of the choice of these samples.

# %%
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
from dadapy.metric_comparisons import MetricComparisons
from myst_nb import glue

from georep_utils import clouds, figures, io
from georep_utils.geometry import overlap, profiles

# %% [markdown]
# All that this chapter needs are the neighbours, found in the chapter on distances: for each layer
# a table with a row a sample, the nearest neighbour first after the sample itself.

# %%
figures.use_style()
paths = io.RunPaths(run)
trained = clouds.of_run(paths)["trained"]
layers = trained.layers
n_blocks = trained.n_blocks
near = {layer: trained.neighbors(layer) for layer in layers}

# %% tags=["hide-input"]
n = trained.n_samples
made_from = f"{run}: {trained.model}, {trained.dataset}, N = {n:,}; measured here"
stored = near[layers[0]].indices.shape[1] - 1
largest_k = max(data_k + label_k + robustness_k)
if largest_k > stored:
    raise io.UserError(
        f"k goes up to {largest_k}, but {stored} neighbours are stored; lower the k of section "
        "overlaps, or raise distances.maxk"
    )
if len(layers) < 2:
    raise io.UserError(
        "overlaps compare layers, and there is only one; bring two or more"
    )

# %% [markdown]
# ## Who is still near?
#
# A layer can turn, stretch and bend the cloud of points. What matters for most uses of a
# representation is whether the samples that were near each other stay so. Take the $k$ nearest
# neighbours of a sample at one layer, and again at another, and count how many are in both lists.
# Averaged over the samples, as a share of $k$, this is the neighbourhood overlap
# {cite}`doimo2020`,
#
# $$ \chi^{l,m}_k = \frac{1}{N} \sum_{i} \frac{1}{k} \sum_{j} A^{l}_{ij} A^{m}_{ij} , $$
#
# where $A^{l}_{ij}$ is 1 if $j$ is among the $k$ nearest neighbours of $i$ at layer $l$, and 0
# otherwise. Only ranks enter: layers of different width, scale or units can be compared.
#
# Here are the neighbours of the first two samples, at the first layer and at the second:

# %%
k = data_k[0]
here = near[layers[0]].indices[:, 1 : k + 1]
there = near[layers[1]].indices[:, 1 : k + 1]
np.vstack([here[:2], there[:2]])

# %% [markdown]
# The overlap is one line: of each sample's neighbours here, the share that is also there, and the
# mean of that.

# %%
by_hand = np.mean([np.isin(a, b).mean() for a, b in zip(here, there, strict=True)])
by_hand

# %% [markdown]
# DADApy {cite}`glielmo2022` takes the two tables and must find the same:

# %%
first = near[layers[0]]
comparison = MetricComparisons(distances=(first.distances, first.indices), maxk=k)
dadapys = comparison.return_data_overlap(dist_indices=near[layers[1]].indices, k=k)
assert np.isclose(by_hand, dadapys)
dadapys

# %% [markdown]
# From here on `overlap.data_overlap` makes this call, after checks of its input. The overlap is 1
# for equal neighbourhoods. Two layers that had nothing to do with each other would still share
# $k/(N-1)$ of their neighbours by chance, which is {glue:text}`chance:.4f` for these
# {glue:text}`n-samples:,` samples and $k$ = {glue:text}`data-k`.
#
# ## Layer after layer
#
# The paper's Fig. 2 follows the overlap of each layer with the next. Where it is high, a block
# leaves neighbourhoods as they are; where it is low, the block rearranges them. We take several
# $k$, because a result that held for one number of neighbours only would be worth little.

# %%
every_k = sorted({*data_k, *robustness_k})
following = [
    (a, k, overlap.data_overlap(near[a], near[b], k), "next")
    for k in every_k
    for a, b in pairwise(layers)
]

# %% [markdown]
# Small steps can add up to a long way. So each layer is also compared with both ends of the
# network: the first layer, where neighbours are similar inputs, and the final norm, where they
# are samples for which the network predicts similar things.

# %%
last = max(layer for layer in layers if layer <= n_blocks)
ends = {"first": near[layers[0]], "final norm": near[last]}
to_the_ends = [
    (a, k, overlap.data_overlap(near[a], end, k), name)
    for k in data_k
    for a in layers
    for name, end in ends.items()
]

# %% [markdown]
# Each overlap is a mean over $N$ samples of a share between 0 and 1. A share with the mean $p$
# varies by $\sqrt{p(1-p)}$ at most, which gives an upper limit of the standard error, drawn as a
# band.

# %%
between = pd.DataFrame(
    following + to_the_ends, columns=["layer", "k", "overlap", "with"]
)
between["depth"] = between.layer / n_blocks
between["error"] = np.sqrt(between.overlap * (1 - between.overlap) / n)

# %% mystnb={"figure": {"name": "{{run}}-fig-data-overlap", "caption": "The paper's Fig. 2, for this run. Left: the overlap of each layer with the next. Right: of each layer with the first layer and with the final norm. Where the left curve is low, the network is rearranging neighbourhoods. Bands are an upper limit of the standard error."}, "image": {"alt": "Neighbourhood overlap of consecutive layers, and with the first and last layer, against relative depth"}}
figures.data_overlap(between, data_k, run, note=made_from)

# %% [markdown]
# In the left panel of {numref}`{{run}}-fig-data-overlap`, look for the layers where the overlap
# dips. The paper finds it low while the ID rises, and high after the peak. In the right panel,
# look for where a layer becomes more like the end than like the beginning. The last point of the
# left panel, where there are logits, compares the final norm with the output.

# %% [markdown] tags=["only-labels"]
# ## Do neighbours mean the same?
#
# Put the ground truth in the place of the second layer. The overlap becomes the share of
# neighbours that carry the sample's own label, $\chi^{l,gt}_k$. No classifier is trained: if the
# share is high, samples of one class lie together by themselves. By hand it is a comparison of
# labels:

# %% tags=["only-labels"]
labels = trained.side("labels")
by_hand = np.mean(labels[here] == labels[:, None])
dadapys = overlap.label_overlap(first, labels, k, weighted=False)
assert np.isclose(by_hand, dadapys)
by_hand

# %% [markdown] tags=["only-labels"]
# `label_overlap` counts with DADApy's `return_label_overlap`. By default it gives every class the
# same weight, however many samples it has (`weighted`), so that a large class can't make up for
# small ones. For classes of equal size this changes nothing. Labels that were dealt at random
# would agree in {glue:text}`label-chance:.3f` of all cases. What is counted in every layer below
# is called `share`.


# %% tags=["only-labels", "not-families"]
share = partial(overlap.label_overlap, labels=labels)

# %% [markdown] tags=["only-labels", "only-families"]
# For proteins a neighbour with the same label is not always an achievement. The labels are
# superfamilies: proteins of one origin, whose sequences may have nothing visible in common. Within
# a superfamily there are *families* of close relatives, which any comparison of sequences would
# find. **Remote homology** asks for the others, so members of a sample's own family must not count.
# The paper's wording leaves open how they are left out. With `exclude_family` set to `before`,
# they are removed first, and the $k$ nearest of all others are looked at. With `after`, the $k$
# nearest are taken as they are, and family members among them earn nothing. `before` is the
# default here, and this run uses *{glue:text}`exclude-family`*.

# %% tags=["only-labels", "only-families"]
share = partial(
    overlap.remote_homology,
    superfamilies=labels,
    families=trained.side("families"),
    exclude=exclude_family,
)

# %% [markdown] tags=["only-labels"]
# Every layer of the trained network, for every $k$ that is asked for:

# %% tags=["only-labels"]
every_k = sorted({*label_k, *robustness_k})
rows = [
    ("trained", layer, k, share(near[layer], k=k)) for layer in layers for k in every_k
]

# %% [markdown] tags=["only-labels", "only-untrained"]
# Neighbours may share a label because their inputs are alike, not because the network has learned
# anything. The network with random weights is the control for that: what it reaches is due to the
# data and the architecture.

# %% tags=["only-labels", "only-untrained"]
untrained = clouds.of_run(paths)["untrained"]
for layer in untrained.layers:
    found = untrained.neighbors(layer)
    rows += [("untrained", layer, k, share(found, k=k)) for k in every_k]

# %% tags=["only-labels"]
by_label = pd.DataFrame(rows, columns=["network", "layer", "k", "overlap"])
by_label["depth"] = by_label.layer / n_blocks
by_label["error"] = np.sqrt(by_label.overlap * (1 - by_label.overlap) / n)

# %% [markdown] tags=["only-labels"]
# The previous chapter chose a layer from the ID profile, or found that the profile has none to
# choose. It wrote its choice down:

# %% tags=["only-labels"]
io.note_read(paths.results / "provenance.json")
provenance = io.read_json(paths.results / "provenance.json", {})
chosen = provenance.get("semantic_layer")
io.note_facts(singled_out=chosen is not None)
print(f"layer: {chosen}; kind: {provenance.get('semantic_kind')}")

# %% tags=["only-labels"] mystnb={"figure": {"name": "{{run}}-fig-label-overlap", "caption": "The paper's Fig. 4, for this run. Share of neighbours with the sample's own label against relative depth. Left: the trained network and, where it was measured, the untrained one; a dashed line marks the layer that the ID profile singled out, if there is one. Right: other numbers of neighbours should change the height, not the shape. Bands are about one standard error."}, "image": {"alt": "Label overlap against relative depth, for several numbers of neighbours"}}
figures.label_overlap(
    by_label, n_blocks, label_k, robustness_k, chosen, note=made_from, run=run
)

# %% [markdown] tags=["only-labels"]
# Two things are worth a look in {numref}`{{run}}-fig-label-overlap`: whether the highest value
# lies inside the network or at its end, and whether the curves for other $k$ have their highest
# value at the same depth. To put the second into numbers, here is the correlation over layers of
# each curve of the right panel with the one for the first $k$.

# %% tags=["only-labels"]
of_trained = by_label[by_label.network == "trained"]
by_k = of_trained.pivot(index="layer", columns="k", values="overlap")
by_k.corr()[label_k[0]].round(3)

# %% [markdown] tags=["only-labels"]
# ## Was the layer well chosen?
#
# The paper's practical claim is that the layer of the first ID minimum (or plateau) after the peak
# is close to the layer where labels are best respected. So that the claim can fail, the layer that
# was chosen without labels is held against three others: the best one by labels, which nobody
# knows in advance; the middle of the network, which costs no thought; and the final norm, which
# most people would take.

# %% tags=["only-labels"]
curve = by_k.loc[:last, label_k[0]]
choices = {
    "chosen by ID": chosen,
    "best by labels": int(curve.idxmax()),
    "middle": n_blocks // 2,
    "final norm": last,
}

# %% [markdown] tags=["only-labels"]
# Label overlap is one measure of three. The second is the accuracy of a nearest-neighbour
# classifier, leaving one sample out at a time. The third is a linear classifier in five-fold
# cross-validation, on at most `probe_samples` samples: it may use directions that distances
# hardly notice, so that it can rank layers differently. Where a class has less than five samples
# there is none.

# %% tags=["only-labels"]
known = {name: layer for name, layer in choices.items() if layer in near}
check = profiles.layer_choice(trained, labels, known, probe_samples, seed)
check.insert(2, f"label overlap, k = {label_k[0]}", check.layer.map(curve))
check.round(3)

# %% [markdown] tags=["only-labels", "only-singled_out"]
# Read the row "chosen by ID" against the others. The claim is borne out as far as that row is close
# to "best by labels" *and* above "middle" and "final norm": a choice that is no better than the
# middle of the network was not worth measuring an ID for.

# %% [markdown] tags=["only-labels", "not-singled_out"]
# There is no row "chosen by ID": the profile singled out no layer. The other rows still say what a
# choice could have won here, from the final norm or the middle to the best layer.

# %% [markdown]
# The tables are kept for the chapters that compare runs.

# %%
tables = [between.rename(columns={"with": "other"}).drop(columns="error")]
tables[0] = tables[0].assign(quantity="data_overlap", network="trained")

# %% tags=["only-labels"]
of_labels = by_label.drop(columns="error").assign(
    quantity="label_overlap", other="labels"
)
tables.append(of_labels)
io.write_table(paths.results / "layer_choice.csv", check.round(4), index=True)

# %%
io.write_table(paths.results / "overlaps.csv", pd.concat(tables, ignore_index=True))

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
inside = between[(between["with"] == "next") & (between.k == data_k[0])]
inside = inside[inside.layer < last].set_index("layer").overlap
numbers = {
    "n-samples": n,
    "data-k": data_k[0],
    "chance": data_k[0] / (n - 1),
    "lowest": float(inside.min()),
    "lowest-layer": int(inside.idxmin()),
    "highest": float(inside.max()),
    "highest-layer": int(inside.idxmax()),
    "exclude-family": exclude_family,
}
for name, value in numbers.items():
    glue(name, value, display=False)

# %% tags=["hide-input", "only-labels"]
sizes = np.unique(labels, return_counts=True)[1]
numbers = {
    "label-chance": float(np.mean((sizes - 1) / (n - 1))),
    "label-k": label_k[0],
    "first": float(curve.iloc[0]),
    "best": float(curve.max()),
    "best-layer": int(curve.idxmax()),
    "best-depth": float(curve.idxmax() / n_blocks),
    "last": float(curve.iloc[-1]),
    "shape": float(by_k.corr()[label_k[0]].min()),
}
for name, value in numbers.items():
    glue(name, value, display=False)

# %% tags=["hide-input", "only-labels", "only-untrained"]
flat = by_label[(by_label.network == "untrained") & (by_label.k == label_k[0])]
glue("untrained-best", float(flat[flat.layer <= last].overlap.max()), display=False)

# %% tags=["hide-input", "only-labels", "only-singled_out"]
glue("chosen-layer", int(chosen), display=False)
glue("chosen-away", int(abs(chosen - curve.idxmax())), display=False)
glue("chosen-share", float(curve[chosen] / curve.max()), display=False)

# %% [markdown]
# - **By hand and with DADApy.** An overlap is the mean of a shared fraction of neighbours; one line
#   of numpy and DADApy agree.
# - **Layer after layer.** Up to the final norm, consecutive layers share between
#   {glue:text}`lowest:.2f` (layer {glue:text}`lowest-layer` with the next) and
#   {glue:text}`highest:.2f` (layer {glue:text}`highest-layer`) of their {glue:text}`data-k` nearest
#   neighbours.

# %% [markdown] tags=["only-labels"]
# - **Labels.** Of the {glue:text}`label-k` nearest neighbours, a share of {glue:text}`first:.2f`
#   has the sample's own label at the first layer, and {glue:text}`last:.2f` at the final norm. The
#   highest share is {glue:text}`best:.2f`, at layer {glue:text}`best-layer` (relative depth
#   {glue:text}`best-depth:.2f`). Curves for other numbers of neighbours correlate with this one at
#   {glue:text}`shape:.2f` or more.

# %% [markdown] tags=["only-labels", "only-untrained"]
# - **Training.** The untrained network reaches {glue:text}`untrained-best:.2f` at its best layer,
#   which it owes to the inputs and the architecture, not to training.

# %% [markdown] tags=["only-labels", "only-singled_out"]
# - **The choice.** Layer {glue:text}`chosen-layer`, singled out by the ID alone, is
#   {glue:text}`chosen-away` layers away from the best one by labels, and its label overlap is
#   {glue:text}`chosen-share:.0%` of the best.

# %% [markdown] tags=["only-labels", "not-singled_out"]
# - **The choice.** The ID profile singled out no layer, so that the paper's advice can't be tested
#   on this run.
