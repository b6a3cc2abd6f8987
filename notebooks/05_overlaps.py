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
#     after: [04_intrinsic_dimension]
# ---

# %% [markdown]
# ({{run}}-overlaps)=
# # Compare neighbourhoods
#
# In this chapter:
#
# - the overlap of two layers is computed by hand in one line, and then with DADApy;
# - consecutive layers are compared by the neighbours they share: Fig. 2 of the paper;

# %% [markdown] tags=["only-labels"]
# - every layer is compared with the labels: Fig. 4. So are the controls of the run, as far as there
#   are any: the input itself, and networks of random weights;
# - the layer that the ID profile singles out, without labels, is scored against other choices that
#   need no labels either, and against what the input has already;
# - the ID and the overlap with labels are held against each other over the layers.

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
from georep_utils.geometry import overlap, overlap_errors, profiles, resampling
from georep_utils.paper import advice, scores

# %% [markdown]
# All that this chapter needs are the neighbours, found in the chapter on distances: for each layer
# a table with a row a sample, the nearest neighbour first after the sample itself.

# %%
figures.use_style()
paths = io.RunPaths(run)
run_clouds = clouds.of_run(paths)
trained = run_clouds["trained"]
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
# Averaged over the samples, as a share of $k$, this is the {term}`neighbourhood overlap`
# {cite}`doimo2020`,
#
# $$
# \chi^{l,m}_k = \frac{1}{N} \sum_{i} \frac{1}{k} \sum_{j} A^{l}_{ij} A^{m}_{ij} ,
# $$ ({{run}}-eq-overlap)
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
# network: the first layer, where neighbours have similar tokens on average, and the final norm,
# where they are samples for which the network predicts similar things.

# %%
last = max(layer for layer in layers if layer <= n_blocks)
ends = {"first": near[layers[0]], "final norm": near[last]}
to_the_ends = [
    (a, k, overlap.data_overlap(near[a], end, k), name)
    for k in data_k
    for a in layers
    for name, end in ends.items()
]

# %%
between = pd.DataFrame(
    following + to_the_ends, columns=["layer", "k", "overlap", "with"]
)
between["depth"] = between.layer / n_blocks

# %% [markdown]
# ### How certain is an overlap?
#
# With other samples it would have come out differently. How differently can be read off the samples
# that we have: they are dealt into 20 groups, the groups are divided into two halves in 19 balanced
# ways, and the overlap is computed again within each half {cite}`shao1989`. Two halves share no
# sample, so their difference shows what chance does. The same groups serve every layer, which
# matters: layers share their samples, so that the difference between two layers is more certain
# than either of them.

# %%
groups = overlap_errors.deal(n, trained.side("labels"))
again = partial(resampling.data_overlap_replicates, groups=groups)


# %%
def pairs_with(name):
    """The two tables of neighbours behind each overlap with the next layer, or an end."""
    if name == "next":
        return [(near[a], near[b]) for a, b in pairwise(layers)]
    return [(near[a], ends[name]) for a in layers]


# %%
attempts = {
    (name, k): overlap_errors.attempt_over_layers(
        pairs_with(name), lambda p, k=k: again(*p, k=k)
    )
    for name in ("next", *ends)
    for k in data_k
}
between = overlap_errors.add_errors(between, n, attempts, by=["with", "k"])
joint = {curve: attempt.halves for curve, attempt in attempts.items()}

# %% [markdown]
# About half of a point's neighbours lie in its half, so that this works only where about $3k + 20$
# neighbours of each point are stored. For larger $k$ there is a plainer estimate instead: a mean of
# $N$ *independent* shares of mean $p$ has an error of $\sqrt{p(1-p)/N}$ at most. Neighbours share
# neighbours, so they are not quite independent, and it is no strict bound. Which is which, and why:

# %%
wrapped = {
    "selector": "td:last-child",
    "props": "white-space: normal; min-width: 14rem",
}
kinds = overlap_errors.kinds(between, attempts, by=["with", "k"])
kinds.style.set_table_styles([wrapped])

# %% mystnb={"figure": {"name": "{{run}}-fig-data-overlap", "caption": "The paper's Fig. 2, for this run. Left: the overlap of each layer with the next. Right: of each layer with the first layer and with the final norm. Where the left curve is low, the network is rearranging neighbourhoods. Bands are one standard error: joint where the table above says so, else the bound for independent samples."}, "image": {"alt": "Neighbourhood overlap of consecutive layers, and with the first and last layer, against relative depth"}}
figures.data_overlap(between, data_k, run, note=made_from)

# %% [markdown]
# In the left panel of {numref}`{{run}}-fig-data-overlap`, look for the layers where the overlap
# dips. The paper finds it low while the ID rises, and high after the peak. In the right panel,
# look for where a layer becomes more like the end than like the beginning. The last point of the
# left panel, where there are logits, compares the final norm with the output.

# %% [markdown] tags=["only-labels"]
# ## Do neighbours mean the same?
#
# Put the ground truth in the place of the second layer of {eq}`{{run}}-eq-overlap`. The overlap
# becomes the share of neighbours that carry the sample's own label, the {term}`label overlap`
# $\chi^{l,gt}_k$. No classifier is trained: if the
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
# find. {term}`Remote homology <remote homology>` asks for the others, so members of a sample's own
# family must not count. The paper's wording leaves open how they are left out. With
# `exclude_family` set to `before`, they are removed first, and the $k$ nearest of all others are
# looked at. With `after`, the $k$ nearest are taken as they are, and family members among them earn
# nothing. `before` is the default here, and this run uses *{glue:text}`exclude-family`*.

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

# %% [markdown] tags=["only-labels"]
# ### What the controls reach
#
# Neighbours may share a label because their inputs are alike, not because the network has learned
# anything. Two controls tell.

# %% [markdown] tags=["only-labels", "only-untrained"]
# What networks with **random weights** reach is due to the data and the architecture. Each of them
# is one draw of the weights; where there are several, their range is drawn as a band.

# %% tags=["only-labels", "only-untrained"]
for number, cloud in enumerate(clouds.untrained_of(run_clouds)):
    name = clouds.untrained_name(number)
    for layer in cloud.layers:
        found = cloud.neighbors(layer)
        rows += [(name, layer, k, share(found, k=k)) for k in every_k]

# %% [markdown] tags=["only-labels", "only-input"]
# What the **input itself** reaches is due to the data alone. A layer that stays below it has lost
# something on the way, whatever it has gained elsewhere.

# %% tags=["only-labels", "only-input"]
given = run_clouds["input"]
given_near = {name: given.neighbors(i) for i, name in enumerate(given.layer_names)}
baselines = pd.DataFrame(
    [(name, k, share(t, k=k)) for name, t in given_near.items() for k in every_k],
    columns=["baseline", "k", "overlap"],
)

# %% [markdown] tags=["only-labels"]
# The errors are made as before, in the same groups for all networks and for the input.

# %% tags=["only-labels", "not-families"]
again = partial(resampling.label_overlap_replicates, labels=labels, groups=groups)

# %% tags=["only-labels", "only-families"]
again = partial(
    overlap_errors.remote_homology_replicates,
    superfamilies=labels,
    families=trained.side("families"),
    groups=groups,
    exclude=exclude_family,
)

# %% tags=["only-labels"]
attempts = {
    ("trained", k): overlap_errors.attempt_over_layers(
        near.values(), partial(again, k=k)
    )
    for k in label_k
}

# %% tags=["only-labels", "only-untrained"]
for number, cloud in enumerate(clouds.untrained_of(run_clouds)):
    tables = [cloud.neighbors(layer) for layer in cloud.layers]
    found = overlap_errors.attempt_over_layers(tables, partial(again, k=label_k[0]))
    attempts[clouds.untrained_name(number), label_k[0]] = found

# %% tags=["only-labels"]
by_label = pd.DataFrame(rows, columns=["network", "layer", "k", "overlap"])
by_label["depth"] = by_label.layer / n_blocks
by_label = overlap_errors.add_errors(by_label, n, attempts, by=["network", "k"])
joint_labels = {curve: attempt.halves for curve, attempt in attempts.items()}

# %% tags=["hide-input", "only-labels"]
asked = by_label[by_label.k.isin(label_k)]
kinds = overlap_errors.kinds(asked, attempts, by=["network", "k"])
kinds.style.set_table_styles([wrapped])

# %% tags=["only-labels", "only-input"]
joint_given = {
    (k,): overlap_errors.attempt_over_layers(
        given_near.values(), partial(again, k=k)
    ).halves
    for k in label_k
}
baselines = overlap_errors.add_errors(baselines, n, joint_given, by=["k"])
one_nn = {name: overlap.knn_accuracy(t, labels) for name, t in given_near.items()}
baselines["accuracy"] = baselines.baseline.map(one_nn)

# %% tags=["only-labels", "only-input"]
baselines[baselines.k.isin(label_k)].drop(columns="joint").round(3)

# %% [markdown] tags=["only-labels", "only-input"]
# `accuracy` is that of the nearest neighbour's label, leaving one sample out at a time.

# %% tags=["only-labels", "not-input"]
baselines = None

# %% [markdown] tags=["only-labels"]
# The previous chapter chose a layer from the ID profile, or found that the profile has none to
# choose. It wrote its profile and its choice down:

# %% tags=["only-labels"]
profile = scores.read_profile(paths)
chosen = profile.found.layer
io.note_facts(singled_out=chosen is not None)
print(f"layer: {chosen}; kind: {profile.found.kind}")

# %% tags=["only-labels"] mystnb={"figure": {"name": "{{run}}-fig-label-overlap", "caption": "The paper's Fig. 4, for this run. Share of neighbours with the sample's own label against relative depth. Left: the trained network; where they were measured, networks of random weights (grey; a band spans the lowest to the highest of several) and the input itself (dotted lines, at no depth); a dashed line marks the layer that the ID profile singled out, if there is one. Right: the trained network for other numbers of neighbours. Bands around single curves are one standard error."}, "image": {"alt": "Label overlap against relative depth, for several numbers of neighbours"}}
figures.label_overlap(
    by_label, n_blocks, label_k, robustness_k, chosen, made_from, run, baselines
)

# %% [markdown] tags=["only-labels"]
# Three things are worth a look in {numref}`{{run}}-fig-label-overlap`: how far the network rises
# above its controls, if it does; whether the highest value lies inside the network or at its end;
# and whether the curves for other $k$ have their highest value at the same depth. To put the last
# into numbers, here is the correlation over the layers up to the final norm of each curve of the
# right panel with the one for the first $k$ of the left panel.

# %% tags=["only-labels"]
of_trained = by_label[by_label.network == "trained"]
by_k = of_trained.pivot(index="layer", columns="k", values="overlap").loc[:n_blocks]
alike = by_k.corr()[label_k[0]]
alike.to_frame(f"correlation with k = {label_k[0]}").T.round(3)

# %% [markdown] tags=["only-labels"]
# ## The advice and its rivals
#
# The paper's practical claim is that the layer of the first ID minimum (or plateau) after the peak
# is close to the layer where labels are best respected. It needs no labels. But neither do the
# middle of the network, two thirds of it, its last layer, the layer of least ID, or any layer after
# the peak, drawn at random. A rule is worth its trouble if it does better than these.
#
# The highest overlap is partly luck, for neighbouring layers are nearly equal. So there is a
# {term}`best set`: the layers that can't be told from the best one. A layer leaves the set when
# another one beats it by more than chance explains. How much that is takes all comparisons
# together, so that the truly best layer stays in the set with a probability of 95 %
# {cite}`hsu1984`.

# %% tags=["only-labels"]
curve_table = of_trained[(of_trained.k == label_k[0]) & (of_trained.layer <= n_blocks)]
replicates = joint_labels["trained", label_k[0]]
if replicates is not None:
    replicates = replicates[..., : len(curve_table)]
curve = scores.curve_of(curve_table, replicates)

# %% tags=["only-labels"]
board, why_not = scores.attempt(
    advice.scoreboard, profile.ids, n_blocks, profile.found, curve
)
io.note_facts(scored=board is not None)

# %% [markdown] tags=["only-labels", "not-scored"]
# This run can't be scored:

# %% tags=["only-labels", "not-scored"]
print(why_not)

# %% [markdown] tags=["only-scored"]
# Label overlap is one measure of three. The second is the accuracy of the nearest neighbour's
# label. The third is a linear classifier in five-fold cross-validation, on at most `probe_samples`
# samples: it may use directions that distances hardly notice, so that it can rank layers
# differently. It is trained for the layers in question and for the best one by labels. Where a
# class has less than five samples there is none.

# %% tags=["only-scored"]
body = [layer for layer in layers if layer <= n_blocks]
one_nn = pd.Series({layer: overlap.knn_accuracy(near[layer], labels) for layer in body})
best_layer = int(curve.layers[curve.values.argmax()])
asked = sorted({best_layer, *board.layer.dropna().astype(int)} & set(body))
probe = partial(profiles.linear_probe, labels=labels, samples=probe_samples, seed=seed)
probes = pd.Series({layer: probe(np.asarray(trained[layer])) for layer in asked})

# %% tags=["only-scored"]
board = scores.add_accuracies(board, profile, n_blocks, one_nn, probes)
highest = {"accuracy": one_nn.max(), "probe": probes.max()}

# %% [markdown] tags=["only-scored", "only-input"]
# The input is scored, too, although it is no layer that a rule could choose:

# %% tags=["only-scored", "only-input"]
in_question = baselines[baselines.k == label_k[0]]
others = [
    {"choice": f"input: {row.baseline}", "kind": "input", "overlap": row.overlap}
    | {"accuracy": row.accuracy, "probe": probe(np.asarray(given[i]))}
    for i, row in enumerate(in_question.itertuples())
]
board = scores.add_rows(board, others, curve.values.max(), highest)

# %% [markdown] tags=["only-scored", "only-untrained"]
# And so is the best layer of all untrained networks:

# %% tags=["only-scored", "only-untrained"]
flat = by_label[(by_label.network != "trained") & (by_label.k == label_k[0])]
top = flat.loc[flat[flat.layer <= n_blocks].overlap.idxmax()]
cloud = run_clouds[top.network]
others = [
    {"choice": "untrained, best layer", "kind": "untrained", "overlap": top.overlap}
    | {"accuracy": overlap.knn_accuracy(cloud.neighbors(int(top.layer)), labels)}
    | {"probe": probe(np.asarray(cloud[int(top.layer)]))}
]
board = scores.add_rows(board, others, curve.values.max(), highest)

# %% tags=["only-scored"]
best_set = advice.best_set(curve)
shown = ["layer", "overlap", "share", "accuracy_share", "probe_share", "in_best_set"]
board.set_index("choice")[shown].round(3)

# %% [markdown] tags=["only-scored"]
# `share` is the share of the highest label overlap over the layers, and `accuracy_share` that of
# the highest accuracy of the nearest neighbour's label. `probe_share` is a share of the highest
# accuracy of the linear classifier among the few layers that it was trained for; another layer may
# be better. `in_best_set` is 1 inside and 0 outside; for the random layer it is the
# probability of drawing one inside, and the other numbers are means. Rows of the input and of the
# untrained network are no layers to choose, and can have shares above 1. A row without numbers is
# a rule that chose nothing.

# %% tags=["only-scored"] mystnb={"figure": {"name": "{{run}}-fig-scoreboard", "caption": "What each choice of a layer keeps of the best: of the label overlap, of the accuracy of the nearest neighbour's label, and of that of a linear classifier, among the layers it was trained for. All but the last rows are ways to choose a layer without labels. Grey rows below the line are no choices: what the input and untrained networks reach. A filled circle is a layer in the best set."}, "image": {"alt": "Dots for each way to choose a layer: shares of the best label overlap and of two accuracies"}}
figures.scoreboard(board, label_k[0], made_from)

# %% [markdown] tags=["only-scored"]
# In {numref}`{{run}}-fig-scoreboard`, compare the first row, if the ID chose a layer, with those of
# the other choices: a rule that is no better than the middle of the network, or a layer drawn
# blindly, was not worth measuring an ID for. One run can't settle that, because each rule has one
# try in it: the report counts over runs.

# %% [markdown] tags=["only-labels"]
# ## ID against overlap
#
# The advice supposes that where the ID is low (after its peak) labels are respected. Does a low ID
# go with a high overlap at all? Over the layers, we correlate the ranks of the two. Both curves are
# smooth, so thirty layers are far from thirty observations. The interval therefore uses the number
# of independent pairs that layers so alike are worth {cite}`bartlett1935`.

# %% tags=["only-labels"]
relation, why_not = scores.attempt(
    scores.related, profile, curve_table, curve.layers.tolist(), replicates
)
io.note_facts(related=relation is not None)

# %% [markdown] tags=["only-labels", "not-related"]
# There is no such number for this run:

# %% tags=["only-labels", "not-related"]
print(why_not)

# %% tags=["only-related", "hide-input"]
io.note_facts(resampled=bool(np.isfinite(relation.sample_low)))
numbers = {
    "rho": relation.rho,
    "rho-low": relation.low,
    "rho-high": relation.high,
    "rho-layers": relation.n_layers,
    "rho-effective": relation.n_effective,
    "rho-needed": advice.MIN_EFFECTIVE,
    "sample-low": relation.sample_low,
    "sample-high": relation.sample_high,
}
for name, value in numbers.items():
    glue(name, float(value), display=False)

# %% tags=["only-related"] mystnb={"figure": {"name": "{{run}}-fig-id-against-overlap", "caption": "Label overlap against the intrinsic dimension, a point a layer up to the final norm, joined in their order; dark at the input, bright at the output. Bars are one standard error. If a low ID meant a high overlap, the points would fall from the upper left to the lower right."}, "image": {"alt": "Scatter of label overlap against intrinsic dimension, coloured by relative depth"}}
figures.id_against_overlap(scores.joined(profile, curve_table), label_k[0], made_from)

# %% [markdown] tags=["only-related"]
# Over {glue:text}`rho-layers:.0f` layers the rank correlation is {glue:text}`rho:.2f`. As these
# are worth about {glue:text}`rho-effective:.1f` independent ones, its 95 % interval for networks
# with curves as smooth as these is {glue:text}`rho-low:.2f` to {glue:text}`rho-high:.2f`. Where
# layers are worth fewer than {glue:text}`rho-needed:.1f` independent ones, the interval is all of
# -1 to 1, because curves that have nothing to do with each other are then alike too often for
# anything to be tested ({ref}`the chapter on controls <paper-controls>` counts this).
# {numref}`{{run}}-fig-id-against-overlap` shows whether one number does the two curves justice: a
# loop means that the same ID goes with different overlaps early and late.

# %% [markdown] tags=["only-related", "only-resampled"]
# For this very network, the 95 % interval over samples is {glue:text}`sample-low:.2f` to
# {glue:text}`sample-high:.2f`: that is how far other samples would move the correlation.

# %% [markdown]
# The tables are kept for the chapters that compare runs.

# %%
columns = ["layer", "depth", "k", "overlap", "error", "joint"]
columns += ["quantity", "network", "other"]
table = between.rename(columns={"with": "other"})
table = table.assign(quantity="data_overlap", network="trained")
tables = [table[columns]]
kept = {("consecutive_overlap", k): (joint["next", k], layers[:-1]) for k in data_k}

# %% tags=["only-labels"]
table = by_label.assign(quantity="label_overlap", other="labels")
tables.append(table[columns])
for k in label_k:
    kept["label_overlap", k] = (joint_labels["trained", k], layers)

# %% tags=["hide-input"]
# Tables of an earlier execution would belong to other numbers.
for name in ("scoreboard", "overlap_baselines", "overlap_replicates"):
    (paths.results / f"{name}.csv").unlink(missing_ok=True)

# %% tags=["only-scored"]
io.write_table(paths.results / "scoreboard.csv", board)

# %% tags=["only-labels", "only-input"]
io.write_table(paths.results / "overlap_baselines.csv", baselines)

# %%
io.write_table(paths.results / "overlaps.csv", pd.concat(tables, ignore_index=True))
replicates_table = [
    resampling.to_rows(found, of_layers, quantity=quantity, k=k)
    for (quantity, k), (found, of_layers) in kept.items()
    if found is not None
]
io.note_facts(joint=bool(replicates_table))

# %% tags=["only-joint"]
table = pd.concat(replicates_table, ignore_index=True)
io.write_table(paths.results / "overlap_replicates.csv", table)

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
of_layer = curve_table.set_index("layer").overlap
numbers = {
    "label-chance": float(np.mean((sizes - 1) / (n - 1))),
    "label-k": label_k[0],
    "first": float(of_layer.iloc[0]),
    "best": float(of_layer.max()),
    "best-layer": int(of_layer.idxmax()),
    "best-depth": float(of_layer.idxmax() / n_blocks),
    "last": float(of_layer.iloc[-1]),
    "shape": float(alike.min()),
}
for name, value in numbers.items():
    glue(name, value, display=False)

# %% tags=["hide-input", "only-labels", "only-untrained"]
flat = by_label[(by_label.network != "trained") & (by_label.k == label_k[0])]
tops = flat[flat.layer <= n_blocks].groupby("network").overlap.max()
glue("untrained-best", float(tops.max()), display=False)
glue("n-untrained", len(tops), display=False)

# %% tags=["hide-input", "only-labels", "only-input"]
contest = scores.against_input(
    curve_table,
    baselines[baselines.k == label_k[0]],
    replicates,
    joint_given[label_k[0],],
)
glue("input-name", contest.baseline, display=False)
glue("input-best", contest.given, display=False)
glue("input-accuracy", float(baselines.accuracy.max()), display=False)
glue("input-difference", contest.difference, display=False)
glue("input-error", contest.error, display=False)
glue("input-beaten", contest.verdict, display=False)
accuracies = {
    layer: overlap.knn_accuracy(near[layer], labels) for layer in of_layer.index
}
glue("best-accuracy", float(max(accuracies.values())), display=False)

# %% tags=["hide-input", "only-scored"]
glue("n-best", len(best_set), display=False)
glue("best-from", int(best_set.min()), display=False)
glue("best-to", int(best_set.max()), display=False)
random_row = board[board.kind == "random"].iloc[0]
io.note_facts(behind_peak=bool(np.isfinite(random_row.share)))

# %% tags=["hide-input", "only-scored", "only-behind_peak"]
glue("random-share", float(random_row.share), display=False)
glue("random-hit", float(random_row.in_best_set), display=False)

# %% tags=["hide-input", "only-scored", "only-singled_out"]
chosen_row = board[board.choice == advice.RULE].iloc[0]
glue("chosen-layer", int(chosen), display=False)
glue("chosen-share", float(chosen_row.share), display=False)
glue(
    "chosen-in", {1.0: "inside", 0.0: "outside"}[chosen_row.in_best_set], display=False
)
middle_row = board[board.choice == "middle"].iloc[0]
glue("middle-share", float(middle_row.share), display=False)

# %% [markdown] tags=["only-labels", "only-input"]
# - **The input.** In the best layer a share of {glue:text}`best:.3f` of the {glue:text}`label-k`
#   nearest neighbours has the sample's own label; in the best array of the input itself
#   ({glue:text}`input-name`) it is {glue:text}`input-best:.3f`. Is the network's best layer above
#   the input, by more than two standard errors of the difference? {glue:text}`input-beaten`
#   (difference {glue:text}`input-difference:.3f`, error {glue:text}`input-error:.3f`). The label of
#   the nearest neighbour is right for {glue:text}`best-accuracy:.3f` of the samples in the layer
#   where that is highest, and for {glue:text}`input-accuracy:.3f` in the input.

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
#   {glue:text}`best-depth:.2f`). Of the curves for other numbers of neighbours, the one that agrees
#   least has a correlation of {glue:text}`shape:.3f` with this one.

# %% [markdown] tags=["only-labels", "only-untrained"]
# - **Training.** Untrained networks that were read: {glue:text}`n-untrained`. The best layer of any
#   of them reaches {glue:text}`untrained-best:.2f`, which it owes to the inputs and the
#   architecture, not to training.

# %% [markdown] tags=["only-scored"]
# - **The best set.** Layers that can't be told from the best one, itself included:
#   {glue:text}`n-best`, between layer {glue:text}`best-from` and layer {glue:text}`best-to`.

# %% [markdown] tags=["only-scored", "only-behind_peak"]
# - **Chance.** A layer after the peak, drawn blindly, keeps {glue:text}`random-share:.0%` of the
#   best overlap on average, and lies in the best set with probability {glue:text}`random-hit:.2f`.

# %% [markdown] tags=["only-scored", "only-singled_out"]
# - **The choice.** Layer {glue:text}`chosen-layer`, singled out by the ID alone, lies
#   {glue:text}`chosen-in` the best set and keeps {glue:text}`chosen-share:.0%` of the best overlap;
#   the middle of the network keeps {glue:text}`middle-share:.0%`.

# %% [markdown] tags=["only-labels", "not-singled_out"]
# - **The choice.** The ID profile singled out no layer, so that the paper's advice can't be tested
#   on this run.

# %% [markdown] tags=["only-related"]
# - **ID and overlap.** Over the layers, the rank correlation of the two is {glue:text}`rho:.2f`,
#   with a 95 % interval of {glue:text}`rho-low:.2f` to {glue:text}`rho-high:.2f`.
