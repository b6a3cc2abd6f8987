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
#     after: [02_extract, 02_bring]
# ---

# %% [markdown]
# ({{run}}-distances)=
# # Find the neighbours
#
# In this chapter:
#
# - the nearest neighbours of every point are found at every layer, exactly, and checked by brute
#   force for one point;
# - the ratios of distances that the estimators need are kept, and not the matrix of distances;
# - distances and norms are followed through the layers, to be held beside the dimension later.

# %% [markdown] tags=["not-brought"]
# We also look at which samples are near each other, early and late in the network.

# %% tags=["parameters"]
run = "igpt-mini"  # | Name of the run.
dataset = "fashion-mnist-14"  # | Name of the data set; only to show neighbours.
split = "test"  # one of train, valid, test | Which part of the data set.
n_per_class = 500  # at least 0 | Samples of each class: the first ones. 0 takes all.
dataset_options = {}  # | Options of the data set, such as the path of its file.
data_dir = "data"  # | Folder of downloads, below the repository.
maxk = 50  # at least 1 | Neighbours that are kept of each point.
range_max = 1024  # at least 2 | Largest rank of the distance ratios, a power of two.
device = "auto"  # | Where neighbours are searched for: auto, cpu, cuda, cuda:1.
scheduler = ""  # | Here; local; or the address or the file of a Dask scheduler.
resources = {}  # | What a task takes of its worker, such as {"GPU": 1}.
rows_per_task = 100000  # at least 1 | Points of a layer that are one task.

# %%
import numpy as np
import pandas as pd
from myst_nb import glue

from georep_utils import clouds, figures, io
from georep_utils.data import datasets, previews
from georep_utils.geometry.neighbors import largest_range

# %% [markdown]
# The {term}`clouds <cloud>` of the run are there already: that of its network, `trained`, and, as
# far as the run has them, its controls: the same network with random weights, and the input itself.
# All of them are searched; the pages below look at the trained network.

# %%
figures.use_style()
paths = io.RunPaths(run)
run_clouds = clouds.of_run(paths)
n = run_clouds["trained"].n_samples

# %% tags=["hide-input"]
if maxk >= n:
    raise io.UserError(
        f"maxk is {maxk} but there are {n} samples; expected fewer neighbours than "
        "samples: lower maxk or take more"
    )

# %% [markdown]
# ## Exact neighbours
#
# For point $i$ let $r_{i,k}$ be the Euclidean distance to its $k$-th nearest neighbour in the same
# layer. Everything that this book measures comes from two things. Overlaps need to know *who* the
# first $k$ neighbours are. The intrinsic dimension needs to know how fast distances grow from one
# neighbour to a later one, which the ratios
#
# $$ \mu_{i,k} = r_{i,2k} \,/\, r_{i,k}, \qquad k = 1, 2, 4, \dots $$ ({{run}}-eq-ratios)
#
# say. In $d$ dimensions a ball of twice the volume is only $2^{1/d}$ times as wide: the larger $d$,
# the closer the ratios are to 1. A ratio has no unit. If all points move apart by the same factor,
# it does not change.
#
# `find_neighbors` compares all pairs of points, a block of rows at a time. A matrix product finds
# the candidates, and the distances that are kept are computed again by direct difference in double
# precision. This matters for points that nearly coincide: in a matrix product two large numbers
# cancel, and what is left of their difference is rounding. There is no approximate index, because
# an error in *who* is near would be an error in every overlap.

# %%
largest = largest_range(n, range_max)
search = {
    "scheduler": scheduler,
    "resources": resources,
    "rows_per_task": rows_per_task,
}
for name, cloud in run_clouds.items():
    found = clouds.find_neighbors(cloud, maxk, largest, device, **search)
    run_clouds[name] = found
clouds.keep_neighbors(paths, maxk, largest)

# %% tags=["hide-input"]
trained = run_clouds["trained"]
glue("n", n, display=False)
glue("maxk", maxk, display=False)
glue("n-ratios", largest.bit_length() - 1, display=False)
glue("n-layers", len(trained), display=False)
glue("seconds", clouds.search_seconds(trained) / len(trained), display=False)

# %% [markdown]
# Of each of {glue:text}`n:,` points the nearest {glue:text}`maxk` neighbours and
# {glue:text}`n-ratios` ratios are kept, in each of {glue:text}`n-layers` layers. The search took
# {glue:text}`seconds:.2f` seconds a layer when it was made. Its cost grows with the square of the
# number of points, and rows can be shared between workers without loss ({ref}`scaling-out`). The
# tables lie in the folder of their cloud; as long as the cloud and the code of the search are what
# they were, they are found again instead of made again.
#
# ### The same for one point, by hand
#
# Brute force in plain numpy: we take a layer in the middle of the network, and the first point that
# has no exact copy there, and compute its distance to every point in double precision.

# %%
layer = trained.layers[len(trained) // 2]
near = trained.neighbors(layer)
i = int((near.distances[:, 1] > 0).argmax())
X = trained[layer]
distance = np.array([np.linalg.norm(x - np.float64(X[i])) for x in X])
r = np.sort(distance)

# %% [markdown]
# `r[0]` is the distance of the point to itself, `r[1]` that to its nearest neighbour. The points of
# the stored table must be those at the smallest distances, in this order:

# %%
assert np.allclose(distance[near.indices[i]], r[: maxk + 1])
pd.DataFrame({"neighbour": near.indices[i], "distance": near.distances[i]}).head(6)

# %% [markdown]
# And the ratios of {eq}`{{run}}-eq-ratios` are those of distances at ranks of which each is twice
# the one before:

# %%
k = 2 ** np.arange(near.mus.shape[1])
assert np.allclose(near.mus[i], r[2 * k] / r[k])
pd.Series(near.mus[i], index=pd.Index(k, name="k")).round(3).to_frame("mu").T

# %% [markdown]
# (A point with an exact copy has $r_1 = 0$, and no ratio at $k = 1$. Such points are counted
# below.) At small $k$ the ratios scatter from point to point, and a dimension can only be read from
# their distribution over all points. At large $k$ they scatter less, but reach further, and what
# looks flat and evenly filled nearby need not do so at a distance. At which $k$ to read the
# dimension is the subject of the next chapter.

# %% [markdown] tags=["only-images"]
# ## Who is near
#
# Four samples, and beside each its five nearest neighbours, at the first layer, in the middle, and
# at the final norm. All distances are between averages of hidden states: nothing here was told what
# an image shows. In {numref}`{{run}}-fig-neighbours`, look at what the neighbours share. Where they
# have the same brightness and little else, the layer knows hardly more than how often each colour
# occurs. Where they have the same outline, it knows where the colours are. Where they are the same
# kind of thing in another shape, the layer has left the pixels behind.

# %% [markdown] tags=["only-text"]
# ## Who is near
#
# A few texts, and the nearest neighbour of each at the first layer, in the middle, and at the final
# norm. All distances are between averages of hidden states: nothing here was told what a text
# means. Look at whether neighbours share words, length, or a subject.

# %% [markdown] tags=["only-protein"]
# ## Who is near
#
# A few sequences, and the nearest neighbour of each at the first layer, in the middle, and at the
# final norm; known classes stand in brackets. Layers near the input can hardly know more than how
# often each amino acid occurs. Look at where the neighbours begin to be of the same class.

# %% tags=["not-brought"]
n_first = n_per_class or None
data = datasets.load(dataset, split, n_first, data_dir, **dataset_options)
depths = [0, trained.n_blocks // 2, trained.n_blocks]

# %% tags=["only-images"]
queries = np.linspace(0, n - 1, 10).astype(int)[[1, 3, 5, 8]]
nearest = [trained.neighbors(layer).indices[queries, :6] for layer in depths]
pictures = previews.pictures(data, np.stack(nearest, axis=1))

# %% tags=["only-images", "hide-input"] mystnb={"figure": {"name": "{{run}}-fig-neighbours", "caption": "Four queries, each with its five nearest neighbours at the first layer, in the middle of the network and at the final norm. The query stands first."}, "image": {"alt": "Rows of images: a query followed by its nearest neighbours, for three layers"}}
note = f"{run}: {trained.model}, {trained.dataset}, N = {n:,}; measured here"
near_pictures = figures.neighbour_pictures(pictures, depths, note)
io.write_figure(paths.results / "neighbours.svg", near_pictures)
io.write_figure(paths.results / "neighbours-narrow.svg", figures.narrow(near_pictures))
near_pictures

# %% tags=["only-text"]
queries = np.linspace(0, n - 1, 6).astype(int)
nearest = {d: trained.neighbors(d).indices[queries, 1] for d in depths}
shown = {f"nearest at layer {d}": previews.lines(data, nearest[d]) for d in depths}
nearest_texts = pd.DataFrame({"text": previews.lines(data, queries)} | shown)
io.write_table(paths.results / "neighbours.csv", nearest_texts)
nearest_texts

# %% tags=["only-protein"]
queries = np.linspace(0, n - 1, 6).astype(int)
nearest = {d: trained.neighbors(d).indices[queries, 1] for d in depths}
shown = {f"nearest at layer {d}": previews.lines(data, nearest[d]) for d in depths}
nearest_sequences = pd.DataFrame({"sequence": previews.lines(data, queries)} | shown)
io.write_table(paths.results / "neighbours.csv", nearest_sequences)
nearest_sequences

# %% [markdown]
# ## Distances and norms, layer by layer
#
# The size of a cloud can change from layer to layer for reasons that have nothing to do with its
# shape: a normalisation, for one, multiplies each layer by weights of its own. Two measures of size
# are kept for later. One is local, the mean distance to the first neighbour; the other is global,
# the mean norm of the points after their common centre is subtracted. If a layer only made
# everything larger, both would grow by the same factor, no ratio would change, and neither would
# the dimension.
#
# They are worth having in view because estimated dimensions have been said to follow distances and
# norms rather than anything about the shape of the cloud {cite}`critique2026`. Whether they do here
# is a question for the next chapter, which puts the curves of {numref}`{{run}}-fig-distances`
# beside that of the dimension. Here the question is whether the two sizes follow each other.

# %%
rows = []
for layer in trained.layers:
    near = trained.neighbors(layer)
    X = np.asarray(trained[layer])
    norm = np.linalg.norm(X - X.mean(0), axis=1).mean()
    copies = int((near.distances[:, 1] == 0).sum())
    rows.append((layer, layer / trained.n_blocks, near.radii[0, 0], norm, copies))

# %% tags=["hide-input"]
columns = ["layer", "depth", "first_distance", "norm", "duplicates"]
distances = pd.DataFrame(rows, columns=columns)
io.write_table(paths.results / "distances.csv", distances)

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-distances", "caption": "Mean distance to the first neighbour and mean norm of the centred points, layer by layer, on a logarithmic scale. Where both change by the same factor, nothing but the size of the cloud need have changed."}, "image": {"alt": "Two curves against relative depth: nearest-neighbour distance and norm"}}
note = f"{run}: {trained.model}, {trained.dataset}, N = {n:,}; measured here"
figures.distances_and_norms(distances, run, note)

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
first = distances.first_distance
glue("spread", float(first.max() / first[first > 0].min()), display=False)
glue("copies", int(distances.duplicates.max()), display=False)
io.note_facts(copies=bool(distances.duplicates.max() > 0))
body = distances[distances.layer <= trained.n_blocks]
together = body.first_distance.corr(body.norm, method="spearman")
glue("together", float(together), display=False)

# %% [markdown]
# - {glue:text}`maxk` neighbours and {glue:text}`n-ratios` ratios of each of {glue:text}`n:,` points
#   are known in every layer, exactly: brute force finds the same for the point that we tried.
# - Ratios are kept instead of the matrix of distances, so that storage grows with the number of
#   points and not with its square.
# - In the layer where it is largest, the mean distance to the first neighbour is
#   {glue:text}`spread:.1f` times that of the layer where it is smallest (layers in which it is zero
#   aside).
# - The two sizes have a rank correlation of {glue:text}`together:.2f` over the layers up to the
#   final norm. At 1 the layers would have the same order by both, though the factors could still
#   differ. Below 1 the orders differ, and then not all that changes can be size.

# %% [markdown] tags=["only-copies"]
# - In the layer with most of them, {glue:text}`copies:,` points have an exact copy
#   ({term}`duplicates`). They have no ratio at $k = 1$, and are left out where one is needed.

# %% [markdown] tags=["not-copies"]
# - No point has an exact copy in any layer, so that every point has a ratio at $k = 1$.
