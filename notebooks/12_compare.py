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
#     reads: [02_bring, 02_extract, 03_distances, 04_intrinsic_dimension]
# ---

# %% [markdown]
# ({{run}}-compare)=
# # Compare two networks, layer by layer
#
# In this chapter:
#
# - two clouds of the same samples are compared: two networks, two checkpoints, two places in one
#   network, or a trained network with an untrained one;
# - every layer of one is held against every layer of the other, by the neighbours they share, and
#   the result against what chance gives;
# - two other measures stand beside it, each computed by hand once: information imbalance, which has
#   a direction, and linear CKA, which most comparisons of networks use;
# - for each layer of one network, we ask where the other is most like it.

# %% tags=["parameters"]
run = "compare-igpt-mini"  # | Name of the run.
first = "igpt-mini"  # | A run or a variant. Empty: first_cloud is a cloud's folder.
first_cloud = "trained"  # | Which of its clouds: trained, untrained, input ..
second = "igpt-mini"  # | The run to compare it with; it may be the same one.
second_cloud = "untrained"  # | Which of that run's clouds.
k = 10  # at least 1 | Neighbours that are compared.
n_permutations = 20  # at least 1 | Orders of the samples that chance is read from.
some_layers = 12  # at least 2 | Layers of each, for imbalance, CKA and permutations.
rank_samples = 1500  # at least 10 | Samples of the information imbalance.
decimation = 4  # at least 1 | TwoNN's, where there is no table: one point in so many.
seed = 0  # at least 0 | Of permutations and of the choice of samples.
device = "auto"  # | auto, cpu, cuda, or one GPU of several such as cuda:1.

# %%
import numpy as np
import pandas as pd
from myst_nb import glue

from georep_utils import clouds, figures, io
from georep_utils.geometry import similarity
from georep_utils.geometry.quick_profile import quick_profile
from georep_utils.paper import pairs

# %% [markdown]
# ## The same samples
#
# Two networks have no coordinates in common, and often not even a width. What they share are the
# samples: row $i$ of one cloud and row $i$ of the other are the same input. Every measure in this
# chapter rests on that, and none of them would notice if it were not so: they would find two
# networks that have nothing to do with each other. So it is checked first.

# %%
figures.use_style()
paths = io.RunPaths(run)
a = clouds.chosen(first, first_cloud)
b = clouds.chosen(second, second_cloud)
known_by = clouds.same_samples(a, b)
n = a.n_samples
print(f"{n} samples, known to be the same by: {known_by}")

# %% tags=["hide-input"]
clouds.check_compared(a, b, k)
same_run = first == second and bool(first)
name_a = first_cloud if same_run else f"{first} {first_cloud}".strip()
name_b = second_cloud if same_run else f"{second} {second_cloud}".strip()
note = (
    f"{name_a}: {a.model}; {name_b}: {b.model}; {a.dataset}, N = {n:,}; measured here"
)

# %% [markdown]
# The two, side by side. They may have another number of layers, and other widths: nothing below
# needs them to be equal.

# %%
about = {
    name: (cloud.model, len(cloud), cloud.n_blocks, cloud[cloud.layers[0]].shape[1])
    for name, cloud in {name_a: a, name_b: b}.items()
}
columns = ["model", "layers", "blocks", "width of the first layer"]
pd.DataFrame.from_dict(about, "index", columns=columns)

# %% [markdown]
# ## Who is near whom in both?
#
# The paper compares layers of one network by the neighbours that they share {cite}`doimo2020`.
# Nothing in that measure asks for one network: $\chi^{l,m}_k$ can be computed for layer $l$ of one
# and layer $m$ of another. It sees only which samples are nearest, so that neither rotations nor
# units nor widths matter. The neighbours are taken from the cloud, or searched for now where they
# were not needed before.

# %%
a = clouds.find_neighbors(a, k, 2, device)
b = clouds.find_neighbors(b, k, 2, device)
near_a = [a.neighbors(layer) for layer in a.layers]
near_b = [b.neighbors(layer) for layer in b.layers]

# %% [markdown]
# By hand for one pair, the middle layer of each: of every sample's neighbours here, the share that
# is also among its neighbours there, and the mean of that.

# %%
here = near_a[len(a) // 2].indices[:, 1 : k + 1]
there = near_b[len(b) // 2].indices[:, 1 : k + 1]
by_hand = np.mean([np.isin(x, y).mean() for x, y in zip(here, there, strict=True)])

# %% [markdown]
# And for all pairs of layers. The pair above must be among them.

# %%
chi = similarity.overlap_map(near_a, near_b, k)
assert np.isclose(chi[len(a) // 2, len(b) // 2], by_hand)
by_hand

# %% mystnb={"figure": {"name": "{{run}}-fig-overlap", "caption": "Neighbourhood overlap of every layer of one cloud (left to right) with every layer of the other (upwards). The dot of a column is the layer of the second cloud that is most like that layer of the first. A bright diagonal means that the two go through the same arrangements in the same order; bright bands across mean that one layer of a network resembles many of the other."}, "image": {"alt": "Map of the neighbourhood overlap between all pairs of layers of two clouds"}}
overlaps = pd.DataFrame(chi, index=a.layers, columns=b.layers)
label = rf"neighbourhood overlap $\chi^{{l,m}}_{{{k}}}$"
figures.layer_maps({"": overlaps}, name_a, name_b, label, (0, None), note=note)

# %% [markdown]
# ### What chance gives
#
# Two networks that had nothing to do with each other would still share $k/(N-1)$ of their
# neighbours on average, here {glue:text}`chance:.4f`. How far could chance stray from that? Deal
# the rows of the second cloud anew: within each cloud everything stays as it is, but a sample of
# one is no longer the same sample in the other. What overlap is left is chance. All layers are
# dealt alike, so that the *highest* overlap on the whole map can be compared with the highest that
# chance brings forth. Only some layers are taken, spread evenly.

# %%
some_a = similarity.spread(a.layers, some_layers)
some_b = similarity.spread(b.layers, some_layers)
null = similarity.permutation_null(
    [a.neighbors(layer) for layer in some_a],
    [b.neighbors(layer) for layer in some_b],
    k,
    n_permutations,
    seed,
)
highest_by_chance = null.max(axis=(1, 2))

# %%
above = overlaps.gt(highest_by_chance.max()).to_numpy().mean()
by_chance = {"mean": null.mean(), "k/(N-1)": k / (n - 1), "highest": null.max()}
pd.Series(by_chance, name="overlap of permuted clouds").to_frame().round(5)

# %% [markdown]
# In {glue:text}`n-permutations` such orders no pair of layers had a higher overlap than
# {glue:text}`null-highest:.4f`; of the pairs that were measured, {glue:text}`above:.0%` lie above
# it. This is a low bar. Networks that read the same inputs have much in common before they have
# learned anything, because inputs that are alike stay alike in nearly any network. An overlap above
# chance says that both keep something of the input; that the two *learned* the same thing needs an
# untrained network as a control.
#
# ## Does one predict the other?
#
# An overlap is the same from both sides. But one representation may hold all that another holds,
# and more. *Information imbalance* {cite}`glielmo2022imbalance` has a direction: take each
# sample's nearest neighbour in $A$ and ask for its rank $r^B$ in $B$,
#
# $$ \Delta(A \to B) = \frac{2}{N} \, \langle r^B \mid r^A = 1 \rangle . $$
#
# It is near 0 where the distances in $A$ predict those in $B$, and 1 where they say nothing. When
# $\Delta(A \to B)$ is low and $\Delta(B \to A)$ is high, $A$ knows more than $B$. Since the ranks
# of all pairs of samples are needed, the samples are a random choice of `rank_samples`.

# %%
chosen = np.random.default_rng(seed).permutation(n)[:rank_samples]
points_a = [a[layer][chosen] for layer in some_a]
points_b = [b[layer][chosen] for layer in some_b]
forward, backward = similarity.imbalance_maps(points_a, points_b)

# %% [markdown]
# DADApy {cite}`glielmo2022` computes it for one pair at a time, here for the last layers of both,
# and must find the same. Where two distances are equal to the last digit their order is not
# defined, which leaves a small tolerance.

# %%
dadapys = similarity.information_imbalance(points_a[-1], points_b[-1])
assert np.allclose(dadapys, (forward[-1, -1], backward[-1, -1]), atol=2e-3)
dadapys

# %% mystnb={"figure": {"name": "{{run}}-fig-imbalance", "caption": "Information imbalance in both directions; dark is where one predicts the other, and dots mark the layer of the second cloud with the lowest value. Compare the two panels at one place: where the left one is darker, the first cloud knows more of the second than the other way round."}, "image": {"alt": "Two maps of the information imbalance between pairs of layers, one for each direction"}}
maps = {
    f"{name_a} to {name_b}": pd.DataFrame(forward, index=some_a, columns=some_b),
    f"{name_b} to {name_a}": pd.DataFrame(backward, index=some_a, columns=some_b),
}
label = r"information imbalance $\Delta$"
figures.layer_maps(maps, name_a, name_b, label, (0, None), "lowest", note)

# %% [markdown]
# ## All pairs of samples, not only near ones
#
# Linear CKA {cite}`kornblith2019` is the cosine of the angle between two matrices of inner
# products, one from each network, after the features were centred. All pairs of samples count, and
# directions of large variance count most: it does not change when a cloud is rotated or enlarged,
# but it does when one axis is stretched. A few features of very large variance, as transformers
# tend to have them, can make two layers look alike by this measure which share few neighbours.
# By hand, for the last layers:

# %%
X = a[some_a[-1]] - a[some_a[-1]].mean(axis=0, dtype=float)
Y = b[some_b[-1]] - b[some_b[-1]].mean(axis=0, dtype=float)
by_hand = np.sum((Y.T @ X) ** 2) / np.sqrt(
    np.sum((X.T @ X) ** 2) * np.sum((Y.T @ Y) ** 2)
)

# %%
whole_a = [a[layer] for layer in some_a]
whole_b = [b[layer] for layer in some_b]
cka, cka_chance = similarity.cka_map(whole_a, whole_b)
assert np.isclose(by_hand, cka[-1, -1])
by_hand

# %% [markdown]
# Unlike a correlation, CKA has no zero at chance: the mean over all orders of the samples has a
# closed form, which grows with the number of features that matter and falls with $N$. Here it lies
# between {glue:text}`cka-chance-low:.4f` and {glue:text}`cka-chance-high:.4f`.

# %% mystnb={"figure": {"name": "{{run}}-fig-cka", "caption": "Linear CKA of pairs of layers; dots mark the layer of the second cloud that is most like that layer of the first. Compare with the overlap: where this map is bright and that one dark, the two agree about the large distances and not about who is nearest."}, "image": {"alt": "Map of linear CKA between pairs of layers of two clouds"}}
alike = pd.DataFrame(cka, index=some_a, columns=some_b)
figures.layer_maps({"": alike}, name_a, name_b, "linear CKA", (0, 1), note=note)

# %% [markdown]
# ## Where is the other most alike?
#
# The dots of the three maps, in relative depth. If two networks do the same things in the same
# order, their curve follows the diagonal. A curve that is flat says that one layer of the second
# network is most like all of these layers of the first. Where the highest value is hardly higher
# than its neighbours, the place of the maximum means little: compare with the map.

# %%
depth_a = np.array(a.layers) / a.n_blocks
depth_b = dict(zip(b.layers, np.array(b.layers) / b.n_blocks, strict=True))
forwards = pd.DataFrame(forward, index=some_a, columns=some_b)
best = {
    "shared neighbours": overlaps.idxmax(axis=1),
    "information imbalance": forwards.idxmin(axis=1),
    "linear CKA": alike.idxmax(axis=1),
}
nearest = pd.concat(
    pd.DataFrame({"measure": name, "layer": at.index, "nearest": at.to_numpy()})
    for name, at in best.items()
)

# %% mystnb={"figure": {"name": "{{run}}-fig-nearest", "caption": "For each layer of the first cloud, the depth at which the second is most like it, by each of the three measures. On the grey line both have the same relative depth. Hollow ends are logits."}, "image": {"alt": "Depth of the most similar layer of the second cloud against depth in the first"}}
nearest["depth"] = nearest.layer / a.n_blocks
nearest["nearest_depth"] = nearest.nearest.map(depth_b)
figures.nearest_layers(nearest, name_a, name_b, note)

# %% [markdown]
# ## Both profiles on one axis
#
# A dimension has a scale. Two profiles may share an axis only if both were read alike: from the
# tables of the two runs where both have one by the same rule, or else anew, both by TwoNN
# {cite}`facco2017` on one point in `decimation`.

# %%
tables = {name_a: pairs.tabled(first, first_cloud)}
tables[name_b] = pairs.tabled(second, second_cloud)
rule = pairs.common(*tables.values())
io.note_facts(tabled=rule is not None)

# %% tags=["only-tabled"]
both = {name: table for name, (_, table) in tables.items()}

# %% tags=["not-tabled"]
both = {}
for name, cloud in {name_a: a, name_b: b}.items():
    layers = {layer: cloud[layer] for layer in cloud.layers}
    both[name] = quick_profile(layers, {}, None, decimation, seed=seed, device=device)

# %% mystnb={"figure": {"name": "{{run}}-fig-profiles", "caption": "Intrinsic dimension of both clouds against relative depth, read by one rule at one scale; bands are one standard error."}, "image": {"alt": "Intrinsic dimension against relative depth for two clouds"}}
blocks = {name_a: a.n_blocks, name_b: b.n_blocks}
profiles = pd.concat(
    table.assign(cloud=name, depth=table.layer / blocks[name])
    for name, table in both.items()
)
read_by = rule or f"TwoNN, N/n = {decimation}"
figures.two_profiles(profiles, f"{note}; {read_by}")

# %% [markdown]
# Networks may have profiles of one shape and share no neighbours, or share most neighbours at
# other heights: how many directions a cloud has and who is near whom in it are two questions.
#
# The tables are kept: the overlap of all pairs of layers, and all three measures of some.

# %%
rows = overlaps.rename_axis("first_layer").stack().rename("overlap")
rows = rows.rename_axis(["first_layer", "second_layer"]).reset_index()
rows = rows.assign(k=k, chance=k / (n - 1), n_samples=n)
io.write_table(paths.results / "overlap_map.csv", rows)

# %%
index = pd.MultiIndex.from_product(
    [some_a, some_b], names=["first_layer", "second_layer"]
)
measures = {
    "overlap": overlaps.loc[some_a, some_b].to_numpy(),
    "overlap_chance": null.mean(axis=0),
    "forward": forward,
    "backward": backward,
    "cka": cka,
    "cka_chance": cka_chance,
}
flat = {name: values.ravel() for name, values in measures.items()}
comparison = pd.DataFrame(flat, index=index).reset_index()
comparison = comparison.assign(first=name_a, second=name_b, n_samples=n)
io.write_table(paths.results / "comparison.csv", comparison)

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
pair = comparison.loc[comparison.overlap.idxmax()]
best_layers = np.unravel_index(np.argmax(chi), chi.shape)
ranks = comparison[["overlap", "cka", "forward"]].corr("spearman")
numbers = {
    "n-samples": n,
    "k": k,
    "chance": k / (n - 1),
    "n-permutations": n_permutations,
    "null-highest": float(null.max()),
    "above": float(above),
    "highest": float(chi.max()),
    "highest-first": int(a.layers[best_layers[0]]),
    "highest-second": int(b.layers[best_layers[1]]),
    "lowest": float(chi.min()),
    "forward": float(np.median(forward)),
    "backward": float(np.median(backward)),
    "cka-low": float(cka.min()),
    "cka-high": float(cka.max()),
    "cka-chance-low": float(cka_chance.min()),
    "cka-chance-high": float(cka_chance.max()),
    "agreement": float(ranks.loc["overlap", "cka"]),
    "known-by": known_by,
}
for name, value in numbers.items():
    glue(name, value, display=False)

# %% [markdown]
# - **Same samples.** Both clouds hold the same {glue:text}`n-samples:,` samples, known by
#   {glue:text}`known-by`.
# - **Neighbours.** The overlap of their {glue:text}`k` nearest neighbours lies between
#   {glue:text}`lowest:.3f` and {glue:text}`highest:.3f`; it is highest between layer
#   {glue:text}`highest-first` of the first cloud and layer {glue:text}`highest-second` of the
#   second. Chance gives {glue:text}`chance:.4f`, and at most {glue:text}`null-highest:.4f` in
#   {glue:text}`n-permutations` orders of the samples.
# - **Direction.** The median information imbalance is {glue:text}`forward:.2f` from the first to
#   the second and {glue:text}`backward:.2f` back. The lower one is the direction in which distances
#   predict better.
# - **CKA.** It lies between {glue:text}`cka-low:.2f` and {glue:text}`cka-high:.2f`. Over the pairs
#   of layers its rank correlation with the overlap is {glue:text}`agreement:.2f`: how far the two
#   measures agree about which layers are alike.
