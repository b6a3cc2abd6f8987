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
# - consecutive layers are compared by the neighbours they share: Fig. 2 of the paper;
# - every layer is compared with the labels: Fig. 4;
# - the layer that the ID profile singled out, without labels, is checked against them.

# %% tags=["parameters"]
run = "igpt-mini"
data_k = [10, 30]
label_k = [10, 30]
robustness_k = [1, 3, 10, 30, 50]
exclude_family = "before"
probe_samples = 5000
seed = 0

# %% tags=["hide-input"]
import warnings
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from georep_utils import clouds as extract, figures
from georep_utils.geometry import neighbors, overlap
from georep_utils.io import RunPaths, UserError, read_json

figures.use_style()
paths = RunPaths(run)
representations = extract.load(paths.representations)
layers, n, n_blocks = (
    representations.layers,
    representations.n_samples,
    representations.n_blocks,
)
labels, families = representations.side("labels"), representations.side("families")
near = {
    layer: neighbors.load(paths.neighbors, f"layer_{layer:02d}") for layer in layers
}
stored = near[layers[0]].indices.shape[1] - 1
if max([*data_k, *label_k, *robustness_k]) > stored:
    raise UserError(
        f"k goes up to {max([*data_k, *label_k, *robustness_k])}, but {stored} neighbours are stored; raise distances.maxk"
    )
made_from = f"{run}: {representations.model}, {representations.dataset}, N = {n:,}; measured here"

# %% [markdown]
# ## Between layers
#
# Let $A^{l}_{ij} = 1$ when $j$ is among the $k$ nearest neighbours of $i$ at layer $l$. The overlap of two layers is the mean
# share of neighbours that they have in common {cite}`doimo2020`,
#
# $$ \chi^{l,m}_k = \frac{1}{N} \sum_{i} \frac{1}{k} \sum_{j} A^{l}_{ij} A^{m}_{ij} . $$
#
# It is 1 for equal neighbourhoods and $k/(N-1)$ for unrelated ones.

# %%
rows = []
for k in sorted({*data_k, *robustness_k}):
    for a, b in pairwise(layers):
        rows.append((a, k, overlap.data_overlap(near[a], near[b], k), "next"))
for k in data_k:
    for a in layers:
        rows.append((a, k, overlap.data_overlap(near[a], near[layers[0]], k), "first"))
        rows.append(
            (a, k, overlap.data_overlap(near[a], near[n_blocks], k), "final norm")
        )
between = pd.DataFrame(rows, columns=["layer", "k", "overlap", "with"])
between["depth"] = between.layer / n_blocks

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-data-overlap", "caption": "The paper's Fig. 2, for this run. Left: the overlap of each layer with the next. Right: of each layer with the first layer and with the final norm. Where the left curve is low, the network is rearranging neighbourhoods."}, "image": {"alt": "Neighbourhood overlap of consecutive layers, and with the first and last layer, against relative depth"}}
fig, axes = figures.panels(2, width=9, sharey=True)
for k, style in zip(data_k, ["-", "--"]):
    for axis, pairs in zip(axes, [["next"], ["first", "final norm"]]):
        for other, shade in zip(pairs, [figures.color(run), "#d1495b"]):
            part = between[(between.k == k) & (between["with"] == other)]
            figures.profile(
                axis,
                part.depth,
                part.overlap,
                name=run,
                label=f"with {other}, k = {k}",
                linestyle=style,
                color=shade,
            )
for axis in axes:
    figures.depth_axis(axis, "relative depth")
    axis.set_ylim(0, 1.02)
    axis.legend(fontsize=8.5)
axes[0].set_ylabel(r"neighbourhood overlap  $\chi^{l,m}_k$")
figures.note(fig, made_from)
plt.show()

# %% [markdown]
# ## With the labels
#
# Replace the second layer by the ground truth, and the overlap becomes the share of neighbours that carry the point's own
# label, $\chi^{l,gt}_k$. For proteins the labels are superfamilies, and neighbours of the same *family* do not count, so
# that only remote relatives do.


# %%
def with_labels(near, k):
    if families is not None:
        return overlap.remote_homology(near, labels, families, k, exclude_family)
    return overlap.label_overlap(near, labels, k)


kinds, control = (
    {"trained": paths.neighbors},
    paths.neighbors.with_name("neighbors-untrained"),
)
if control.exists():
    kinds["untrained"] = control
rows = []
if labels is not None:
    for kind, folder in kinds.items():
        for layer in layers:
            found = (
                near[layer]
                if kind == "trained"
                else neighbors.load(folder, f"layer_{layer:02d}")
            )
            rows += [
                (kind, layer, k, with_labels(found, k))
                for k in sorted({*label_k, *robustness_k})
            ]
by_label = pd.DataFrame(rows, columns=["network", "layer", "k", "overlap"])
by_label["depth"] = by_label.layer / n_blocks

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-label-overlap", "caption": "The paper's Fig. 4, for this run. Share of neighbours with the point's own label against relative depth. Left: trained and untrained network; the dashed line marks the layer that the ID profile singled out, if there is one. Right: other neighbourhood sizes change the height, not the shape."}, "image": {"alt": "Label overlap against relative depth, for several numbers of neighbours, trained and untrained"}}
semantic = (read_json(paths.results / "provenance.json") or {}).get("semantic_layer")
if labels is not None:
    fig, axes = figures.panels(2, width=9, sharey=True)
    for (kind, k), part in by_label[by_label.k.isin(label_k)].groupby(
        ["network", "k"], sort=False
    ):
        figures.profile(
            axes[0],
            part.depth,
            part.overlap,
            name=run,
            label=f"{kind}, k = {k}",
            linestyle="-" if k == label_k[0] else "--",
            color=figures.color(run) if kind == "trained" else figures.CONTROL,
        )
    for k, shade in zip(
        robustness_k, plt.get_cmap("cividis")(np.linspace(0, 0.9, len(robustness_k)))
    ):
        part = by_label[(by_label.network == "trained") & (by_label.k == k)]
        figures.profile(
            axes[1], part.depth, part.overlap, name=f"k = {k}", color=shade, marker=""
        )
    if semantic is not None:
        figures.mark(axes[0], semantic / n_blocks, "from the ID alone")
    for axis in axes:
        figures.depth_axis(axis, "relative depth")
        axis.legend(fontsize=8.5, loc="upper right", ncols=2)
        axis.set_ylim(0, 1.05)
    axes[0].set_ylabel(r"label overlap  $\chi^{l,gt}_k$")
    figures.note(fig, made_from)
    plt.show()

# %% [markdown]
# ## Was the layer well chosen?
#
# The paper's practical claim: the layer of the first ID minimum (or plateau) after the peak is close to the layer where labels are best
# respected. We compare the layer chosen without labels with the best one, the middle and the last, by three measures: label
# overlap, accuracy of the nearest neighbour, and a linear classifier in five-fold cross-validation.


# %%
def probe(layer):
    """Five-fold accuracy of logistic regression on at most `probe_samples` samples."""
    rows = np.random.default_rng(seed).permutation(n)[:probe_samples]
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return cross_val_score(
            classifier, np.asarray(representations[layer])[rows], labels[rows], cv=5
        ).mean()


check = None
if labels is not None:
    trained = (
        by_label[(by_label.network == "trained") & (by_label.k == label_k[0])]
        .set_index("layer")
        .overlap
    )
    inner = trained[trained.index <= n_blocks]
    choices = {
        "chosen by ID": semantic,
        "best by labels": int(inner.idxmax()),
        "middle": n_blocks // 2,
        "final norm": n_blocks,
    }
    check = pd.DataFrame(
        [
            (
                name,
                layer,
                layer / n_blocks,
                trained[layer],
                overlap.knn_accuracy(near[layer], labels),
                probe(layer) if np.bincount(labels).min() >= 5 else np.nan,
            )
            for name, layer in choices.items()
            if layer is not None
        ],
        columns=[
            "choice",
            "layer",
            "depth",
            f"label overlap, k = {label_k[0]}",
            "1-NN accuracy",
            "linear probe",
        ],
    ).set_index("choice")
check if check is None else check.round(3)

# %% tags=["hide-input"]
paths.results.mkdir(parents=True, exist_ok=True)
table = pd.concat(
    [
        between.rename(columns={"with": "other"}).assign(
            quantity="data_overlap", network="trained"
        ),
        by_label.assign(quantity="label_overlap", other="labels"),
    ],
    ignore_index=True,
)
table.to_csv(paths.results / "overlaps.csv", index=False, float_format="%.6g")
if check is not None:
    check.round(4).to_csv(paths.results / "layer_choice.csv")

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
following = between[
    (between["with"] == "next") & (between.k == data_k[0]) & (between.layer < n_blocks)
]
text = (
    f"- Consecutive layers share between {following.overlap.min():.2f} (layer {int(following.loc[following.overlap.idxmin()].layer)}) and "
    f"{following.overlap.max():.2f} (layer {int(following.loc[following.overlap.idxmax()].layer)}) of their {data_k[0]} nearest neighbours.\n"
)
if labels is not None:
    best = int(inner.idxmax())
    text += (
        f"- Label overlap rises from {trained[layers[0]]:.2f} at the first layer to {inner.max():.2f} at layer {best} "
        f"(depth {best / n_blocks:.2f}) and is {trained[n_blocks]:.2f} at the final norm.\n"
    )
    text += (
        "- The ID profile singled out no layer."
        if semantic is None
        else f"- The layer singled out by the ID alone, {semantic}, is {abs(semantic - best)} layers from the best one; its label overlap is "
        f"{trained[semantic] / inner.max():.0%} of the best."
    )
Markdown(text)
