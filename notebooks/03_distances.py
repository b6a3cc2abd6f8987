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
# ({{run}}-distances)=
# # Find the neighbours
#
# In this chapter:
#
# - the nearest neighbours of every point are found at every layer, exactly;
# - the ratios of distances that the estimators need are kept, up to neighbour 1024, and nothing else;
# - we look at who is whose neighbour, early and late in the network.

# %% tags=["parameters"]
run = "igpt-mini"
dataset = "fashion-mnist-14"
split = "test"
n_per_class = 500
dataset_options = {}
data_dir = "data"
maxk = 50
range_max = 1024
device = "auto"
scheduler = ""
resources = {}
rows_per_task = 50000

# %% tags=["hide-input"]
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

from georep_utils import clouds as extract, figures, parallel as cluster
from georep_utils.data import datasets, images as tokens
from georep_utils.geometry import neighbors
from georep_utils.io import RunPaths, UserError

figures.use_style()
paths = RunPaths(run)
representations = extract.load(paths.representations)
n = representations.n_samples
if maxk >= n:
    raise UserError(
        f"maxk is {maxk} but there are {n} samples; expected fewer neighbours than samples: lower maxk or take more"
    )

# %% [markdown]
# ## Exact neighbours
#
# For point $i$ let $r_{i,k}$ be the Euclidean distance to its $k$-th nearest neighbour. Overlaps need *who* the first
# {math}`k` neighbours are; the intrinsic dimension needs the ratios
#
# $$ \mu_{i,k} = r_{i,2k} \,/\, r_{i,k}, \qquad k = 1, 2, 4, \dots $$
#
# `nearest_neighbors` goes through the points in blocks: a matrix product proposes, and the distances that are kept are
# computed again by direct difference, so that ratios are right even for nearly identical points. No approximate index.

# %%
largest = min(range_max, 2 ** ((n - 1).bit_length() - 1))


def find(task):
    """Neighbours of a run of rows of one layer, left in `target`; the seconds it took."""
    folder, target, layer, start, stop = task
    began = time.perf_counter()
    found = neighbors.nearest_neighbors(
        extract.load(folder)[layer], maxk, largest, device, rows=slice(start, stop)
    )
    neighbors.save(found, target, f".layer_{layer:02d}.{start}")
    return time.perf_counter() - began


# %% [markdown]
# A task is a run of rows of one layer, and needs nothing from any other. They run one after the other here, or side by
# side on a cluster ({ref}`scaling-out`): the parts are the same to the last bit.


# %%
def search(folder, target):
    """Neighbours of every layer in `folder`, saved in `target`; seconds a layer."""
    layers, starts = extract.load(folder).layers, range(0, n, rows_per_task)
    tasks = [
        (folder, target, layer, start, min(start + rows_per_task, n))
        for layer in layers
        for start in starts
    ]
    seconds = cluster.map(
        find,
        tasks,
        scheduler,
        resources,
        progress=target.name,
        shared=target if scheduler else None,
    )
    for layer in layers:
        names = [f".layer_{layer:02d}.{start}" for start in starts]
        whole = neighbors.concatenate([neighbors.load(target, name) for name in names])
        neighbors.save(whole, target, f"layer_{layer:02d}")
        for name in names:
            for path in target.glob(f"{name}.*.npy"):
                path.unlink()
    return np.reshape(seconds, (len(layers), -1)).sum(1)


# %%
seconds = search(paths.representations, paths.neighbors)
control = paths.representations.with_name("representations-untrained")
if control.exists():
    search(control, paths.neighbors.with_name("neighbors-untrained"))
print(f"N = {n:,}: {np.median(seconds):.2f} s a layer")

# %% [markdown]
# ## Who is near
#
# A query, and beside it its five nearest neighbours, at three depths. All distances are between averages of hidden
# states: nothing here was told what the images show.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-neighbours", "caption": "Four queries, each with its five nearest neighbours at the first layer, in the middle of the network and at the final norm."}, "image": {"alt": "Rows of images: a query followed by its nearest neighbours, for three layers"}}
data = datasets.load(dataset, split, n_per_class or None, data_dir, **dataset_options)
depths = [0, representations.n_blocks // 2, representations.n_blocks]
if data.kind == "tokens" and data.palette is not None:
    queries = np.linspace(0, n - 1, 10).astype(int)[[1, 3, 5, 8]]
    near = {
        layer: neighbors.load(paths.neighbors, f"layer_{layer:02d}").indices
        for layer in depths
    }
    picked = np.concatenate(
        [
            near[layer][query, :6]
            for pair in (queries[:2], queries[2:])
            for layer in depths
            for query in pair
        ]
    )
    figures.images(
        tokens.to_pixels(data.inputs[picked], data.palette),
        2 * len(depths),
        titles=2 * ["query", *(f"#{k}" for k in range(1, 6))],
        side=2 * [f"layer {layer}" for layer in depths],
    )
    plt.show()

# %% [markdown]
# ## Distances and norms, layer by layer
#
# Neighbour distances shrink and grow with the size of the points, layer by layer. A ratio of two distances does not
# notice; it is worth keeping the distances in view all the same, since estimated dimensions have been said to follow
# them {cite}`critique2026`.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-distances", "caption": "Mean distance to the first neighbour and mean norm of the centred points, layer by layer."}, "image": {"alt": "Two curves against relative depth: nearest-neighbour distance and norm"}}
rows = []
for layer in representations.layers:
    X = np.asarray(representations[layer])
    found = neighbors.load(paths.neighbors, f"layer_{layer:02d}")
    rows.append(
        (
            layer,
            layer / representations.n_blocks,
            found.radii[0, 0],
            np.linalg.norm(X - X.mean(0), axis=1).mean(),
            int((found.distances[:, 1] == 0).sum()),
        )
    )
distances = pd.DataFrame(
    rows, columns=["layer", "depth", "first_distance", "norm", "duplicates"]
)
fig, axis = figures.panels()
for column, label, shade in [
    ("first_distance", "distance to the first neighbour", "#33658a"),
    ("norm", "norm, centred", "#b5651d"),
]:
    figures.profile(axis, distances.depth, distances[column], name=label, color=shade)
axis.set_yscale("log")
figures.depth_axis(axis)
axis.legend()
figures.note(fig, f"{run}: {representations.model}, N = {n:,}; measured here")
plt.show()

# %%
distances.to_csv(
    paths.results.mkdir(parents=True, exist_ok=True) or paths.results / "distances.csv",
    index=False,
)

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
Markdown(f"""
- {maxk} neighbours and {largest.bit_length() - 1} ratios for each of {n:,} points, exact, in {np.median(seconds):.2f} s a layer.
- Points with an exact copy: {distances.duplicates.max()} at most, in any layer.
- From the layer where it is smallest to the one where it is largest, the distance to the first neighbour grows {distances.first_distance.max() / distances.first_distance.min():.1f} times.
""")
