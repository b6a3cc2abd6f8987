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
# ({{run}}-bring)=
# # Bring representations from elsewhere
#
# In this chapter:
#
# - a worked example: ten lines of plain transformers save the arrays of a language model;
# - a run file says where they are, and one command makes all figures from them;
# - the arrays are checked, so that nothing later fails for a reason that could be seen now;
# - we look at how many points, layers and classes there are.

# %% tags=["parameters"]
run = "brought"  # | Name of the run.
path = ""  # | A folder of .npy files, an .npz, a .safetensors or a zarr group.
labels = ""  # | Classes: a .npy file, or a text file with one a line. Empty for none.
families = ""  # | Finer groups within the classes, likewise. Empty for none.
arrays = []  # | Names of the arrays, first layer first. Empty for all, by name.
n_blocks = 0  # at least 0 | Blocks of the network. 0 for one less than arrays.
name = ""  # | What figures call the model. Empty for the name of the file.

# %%
import numpy as np
import pandas as pd
from myst_nb import glue

from georep_utils import clouds, io

# %% [markdown]
# ## What to save
#
# Everything after this chapter needs one array a layer, of shape $(N, d_l)$: row $i$ of each is
# sample $i$, and its columns are the features of that layer. Layers may differ in width. How a
# sample became one row is up to you, and so is the program that made it.
#
# ## A worked example
#
# The paper takes the mean over the sequence at the output of each block's first norm
# {cite}`valeriani2023`. In PyTorch, a hook on that norm is called with its output, whatever the
# model is. Here are `folder`, a model of the Llama family (its name on the hub, or a folder),
# `texts`, and `labels`, one class for each text. After the imports, ten lines save the arrays and
# one more the classes. They need nothing of this book:
#
# ```python
# import numpy as np
# import torch
# from transformers import AutoModel, AutoTokenizer
#
# torch.set_grad_enabled(False)
# tokenizer = AutoTokenizer.from_pretrained(folder)
# net = AutoModel.from_pretrained(folder).eval()
# places = [block.input_layernorm for block in net.layers] + [net.norm]
# saved = {f"layer_{layer}": [] for layer in range(len(places))}
# for rows, place in zip(saved.values(), places):
#     place.register_forward_hook(lambda m, i, out, rows=rows: rows.append(out[0].mean(0)))
# for text in texts:
#     net(**tokenizer(text, return_tensors="pt"))
# np.savez("activations.npz", **{name: torch.stack(x) for name, x in saved.items()})
#
# np.save("labels.npy", labels)
# ```
#
# The names of blocks and norms differ between families: `print(net)` shows them. In GPT-2 they are
# `net.h`, `ln_1` and `net.ln_f`; in ESM-2 `net.encoder.layer`, `attention.LayerNorm` and
# `net.encoder.emb_layer_norm_after`. The last place, the final norm, makes $L + 1$ arrays for $L$
# blocks, so that relative depth comes out right by itself.
#
# Three things go wrong easily:
#
# - *Padding.* Sequences of different lengths in one batch are padded, and a mean over padding mixes
#   something into every point that is no part of the sample. One text at a time, as above, has no
#   padding. In batches, multiply by the attention mask before the sum, and divide by its sum.
# - *Order.* A program that shuffles its samples, or drops the last batch, gives rows that no longer
#   belong to the labels. Nothing in the arrays would show it, except that no label is where it
#   should be.
# - *Precision.* Save in float32, or in half precision if that is what the model computed. With half
#   precision many points become exact copies of others where they are close together, and nearest
#   distances, which the dimension is read from, carry the rounding.
#
# The run file names both files, relative to the repository or by their whole path. Copy
# `notebooks/runs/brought.yml` to a name of your own, which becomes the name of the run, and fill
# in:
#
# ```yaml
# title: "A Llama on my texts"
# notebooks: [02_bring, 03_distances, 04_intrinsic_dimension, 05_overlaps]
# bring:
#   path: activations.npz
#   labels: labels.npy
#   name: my Llama
# ```
#
# ```
# python -m georep_utils run my-llama
# python -m georep_utils book
# ```
#
# The first command makes the chapters of the run, and the second puts them into the book:
#
# | chapter | what it shows of the arrays |
# |---|---|
# | this one | widths, norms and classes |
# | {ref}`distances <{{run}}-distances>` | neighbours, distances and norms of every layer |
# | {ref}`intrinsic dimension <{{run}}-intrinsic-dimension>` | ID by scale; the profile |
# | {ref}`overlaps <{{run}}-overlaps>` | layers and labels compared; the choice |
#
# Any two runs of the same samples can then be compared by the notebook `12_compare`: a brought
# network with another one, or with the same network with random weights. Bring each as a run of its
# own, and name both in a copy of `notebooks/runs/compare-igpt-mini.yml`.
#
# ## Bring them
#
# `bring` reads every array once and checks that all have the same number of rows, that they hold
# finite numbers of a known type, and that there are as many labels as rows. The arrays stay where
# they are; nothing is copied. Their checksums become the recipe of the cloud, so that another file
# under the same name is another cloud.

# %%
cloud = clouds.bring(
    path,
    labels=labels or None,
    families=families or None,
    arrays=arrays or None,
    n_blocks=n_blocks or None,
    name=name or None,
)

# %% [markdown]
# The run uses this cloud under the name `trained`, as all chapters call the network that they look
# at. Its controls are not here: a network of random weights, and the input itself. You can save the
# same arrays of both and bring each as a run of its own. It is worth it: whether a layer does more
# than the input did can't be seen otherwise.

# %%
paths = io.RunPaths(run)
clouds.assign(paths, trained=cloud)
known = {side: cloud.side(side) is not None for side in ("labels", "families")}
io.note_facts(brought=True, **known)
io.note_facts(untrained=False, several_untrained=False, input=False)

# %% tags=["hide-input"]
glue("n-points", cloud.n_samples, display=False)
glue("n-layers", len(cloud), display=False)
glue("n-blocks", cloud.n_blocks, display=False)

# %% [markdown]
# The cloud has {glue:text}`n-points:,` points in each of {glue:text}`n-layers` layers. They are
# numbered in the order of their names, where numbers in names count as numbers: `layer_2` comes
# before `layer_10`. The relative depth of a layer is its number over {glue:text}`n-blocks`, which
# is the number of blocks that the run file states, or else one less than there are arrays. Make
# sure that the order below is the order of the network.

# %%
rows = []
for layer, array_name in zip(cloud.layers, cloud.layer_names, strict=True):
    X = cloud[layer]
    depth = layer / cloud.n_blocks
    rows.append((array_name, depth, X.shape[1], np.linalg.norm(X, axis=1).mean()))
pd.DataFrame(rows, columns=["array", "depth", "width", "mean norm"]).round(3)

# %% tags=["only-labels", "hide-input"]
n_classes = len(np.unique(cloud.side("labels")))
if n_classes in (1, cloud.n_samples):
    raise io.UserError(
        f"{labels} holds {n_classes} classes for {cloud.n_samples} rows; expected two or "
        "more classes with several rows each: group them, or leave bring.labels empty"
    )

# %% [markdown] tags=["only-labels"]
# ## Classes
#
# The overlap of neighbours with labels is averaged so that each class counts the same. A class of
# few samples can't have many neighbours of its own: with $k$ neighbours, a class of fewer than
# $k + 1$ samples never reaches an overlap of 1.

# %% tags=["only-labels"]
counts = pd.Series(cloud.side("labels")).value_counts()
counts.describe()[["count", "min", "50%", "max"]].to_frame("samples of a class").T

# %% tags=["only-labels", "hide-input"]
glue("n-classes", len(counts), display=False)
glue("smallest", int(counts.min()), display=False)

# %% [markdown] tags=["only-families"]
# Families are known as well. Where the overlap with labels is computed, neighbours of a sample's
# own family are left out, so that only more distant relatives count.

# %% [markdown]
# ## What we saw
#
# - {glue:text}`n-points:,` points in {glue:text}`n-layers` layers were brought, and passed the
#   checks: equal numbers of rows, finite numbers.
# - The arrays are read in place. If they change, this chapter and all that follow run again; if
#   they vanish, the program says so.

# %% [markdown] tags=["only-labels"]
# - There are {glue:text}`n-classes` classes, the smallest of {glue:text}`smallest:,` samples. That
#   rows and labels belong together, no program can check: it is yours to make sure of.
