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
# ({{run}}-figures)=
# # See the paper's four figures beside ours
#
# In this chapter:
#
# - Figs. 1 to 4 of the paper {cite}`valeriani2023` are drawn on the left, every run of this book on the right, on the same axes;
# - each panel says whether its numbers were released, read off a figure, measured here, or are not to be had;
# - the paper's advice, to choose the layer by the ID alone, is tried on every model.

# %% tags=["parameters"]
run = "paper"
released_dir = "data/released"
results = "book/results"
rules = {
    "igpt-small": "igpt_release",
    "igpt-medium": "igpt_release",
    "igpt-large": "igpt_release",
}
k = 10
deeper_k = 30
prominence = 0.05

# %% tags=["hide-input"]
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

from georep_utils import figures
from georep_utils.geometry import scale_rules as dimension
from georep_utils.paper import comparison as report, published as released

figures.use_style()
archives = Path(released_dir)
theirs = released.profiles(archives if archives.is_dir() else None)
ours = report.curves(rules, results)
theirs["depth"], ours["depth"] = (
    theirs.layer / theirs.n_blocks,
    ours.layer / ours.n_blocks,
)
families = {"ImageGPT": "igpt", "ESM-2": "esm2"}
if not ours.model.str.startswith(("igpt", "esm2")).all():
    families["other models"] = ""

samples = report.tables("id_profile.csv", results).drop_duplicates("run")
samples = ", ".join(
    f"{r.run} (N = {r.n_samples:,}, rule {rules.get(r.run, r.scale_rule)})"
    for r in samples.itertuples()
)
sources = "; ".join(
    f"{source} ({', '.join(part.model.unique())})"
    for source, part in theirs.groupby("source")
)
made_from = (
    f"Left: {sources}.\nRight: measured here: {samples or 'no run has finished yet'}"
)

# %% [markdown]
# Layers have their true number: block inputs after the first norm are $0 \ldots L-1$, the final norm is $L$, the logits, where they
# were measured, $L+1$ (hollow). Runs named as a model of the paper are read by the rule its authors' release used, all others by
# their own.
#
# ## The advice, applied
#
# `semantic_layer` reads nothing but an ID profile. It is given the published ones and ours, and its choice is drawn as a star.


# %%
def advice(curves):
    """The layer that each ID profile singles out, beside the layer of highest label overlap."""
    rows = []
    for name, part in curves.groupby("model", sort=False):
        ids = part[part.quantity == "intrinsic_dimension"].rename(
            columns={"value": "id", "error": "id_err"}
        )
        found = dimension.semantic_layer(
            ids.fillna({"id_err": 0}).sort_values("layer"), prominence
        )
        labels = part[
            (part.quantity == "label_overlap") & (part.k == k) & (part.depth <= 1)
        ]
        top, best, off, kept, within = labels.value.max(), "", np.nan, np.nan, None
        if len(labels):
            layers = report.best_layers(labels)
            best = "–".join(map(str, dict.fromkeys([layers.min(), layers.max()])))
        if len(labels) and found.layer is not None:
            off = np.abs(layers - found.layer).min() / part.n_blocks.iloc[0]
            kept = np.interp(found.layer, labels.layer, labels.value) / top
            within = bool(np.any((layers >= found.low) & (layers <= found.high)))
        rows.append(
            (
                name,
                part.n_blocks.iloc[0],
                found.kind,
                found.peak_layer,
                found.layer,
                found.low,
                found.high,
                found.support,
                best,
                kept,
                off,
                within,
            )
        )
    return pd.DataFrame(
        rows,
        columns=[
            "model",
            "blocks",
            "feature",
            "peak",
            "chosen",
            "from",
            "to",
            "support",
            "best by labels",
            "share kept",
            "off by, in depth",
            "best is within",
        ],
    )


advised = (
    pd.concat(
        {"the paper": advice(theirs), "this book": advice(ours)}, names=["measured by"]
    )
    .reset_index(0)
    .reset_index(drop=True)
)
stars = {
    ("theirs" if row["measured by"] == "the paper" else "ours", row.model): row.chosen
    / row.blocks
    for _, row in advised.iterrows()
    if pd.notna(row.chosen)
}

# %% [markdown]
# ## Figure 1: intrinsic dimension


# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-id", "caption": "The paper's Fig. 1 (left) and this book (right). Intrinsic dimension against relative depth. The star is the layer that the profile singles out: the first minimum or plateau after the first peak."}, "image": {"alt": "Intrinsic dimension against relative depth: published ImageGPT and ESM-2 models on the left, runs of this book on the right"}}
def curve(curves, quantity):
    return curves[(curves.quantity == quantity) & (curves.k.isna() | (curves.k == k))]


quantity = "intrinsic_dimension"
fig = figures.theirs_and_ours(
    curve(theirs, quantity),
    curve(ours, quantity),
    families,
    "intrinsic dimension",
    stars,
)
figures.note(fig, made_from)
plt.show()

# %% [markdown]
# ## Figure 2: overlap of consecutive layers

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-consecutive", "caption": "The paper's Fig. 2 (left) and this book (right). Neighbourhood overlap of each layer with the next, for two numbers of neighbours. The inset holds every k that was stored for the first run: k moves the height more than the shape."}, "image": {"alt": "Overlap of consecutive layers against relative depth for the runs of this book"}}
fig, axes = figures.panels(2, width=9, sharex=True, sharey=True)
read, following = (c[c.quantity == "consecutive_overlap"] for c in (theirs, ours))
if read.empty:
    figures.absent(
        axes[0],
        "No numbers are released, and none were read off.\nIts text says: ESM-2 about 0.5 in the first 40 % of\n"
        "the layers, above 0.9 in the plateau; ImageGPT\nfrom 0.7 to 0.9, collapsing in the last layers.",
    )
for axis, curves in zip(axes, (read, following)):
    for (name, number), part in curves[curves.k.isin([k, deeper_k])].groupby(
        ["model", "k"], sort=False
    ):
        figures.profile(
            axis,
            part.depth,
            part.value,
            name=name,
            label=name if number == k else "_",
            linestyle="-" if number == k else "--",
            markersize=3,
        )
if len(following):
    inset, first = (
        axes[1].inset_axes([0.4, 0.12, 0.42, 0.4]),
        following[following.model == following.model.iloc[0]],
    )
    for number, part in first[first.depth < 1].groupby("k"):
        inset.plot(
            part.depth,
            part.value,
            lw=1.2,
            color=plt.get_cmap("cividis")(np.log(number) / np.log(60)),
            label=f"{number:.0f}",
        )
    inset.set_title(f"{first.model.iloc[0]}, by k", fontsize=8)
    inset.tick_params(labelsize=7)
    inset.legend(fontsize=7, ncols=2)
    axes[1].legend(fontsize=8, loc="lower left")
for axis, title in zip(axes, ["the paper", "this book"]):
    axis.set(title=title, ylim=(0, 1.02))
    figures.depth_axis(axis, "relative depth")
axes[0].set_ylabel(r"overlap with the next layer  $\chi^{l,l+1}_k$")
figures.note(fig, f"{made_from.splitlines()[1]}; k = {k} (solid), {deeper_k} (dashed)")
plt.show()

# %% [markdown]
# The paper describes its figure in words: proteins rearrange in the first 40 % of the layers and then hardly at all; images
# settle after the peak, and rearrange again at the very end. The same in our numbers:

# %% tags=["hide-input"]
bands = pd.cut(
    following[following.depth < 1].depth,
    [-0.01, 0.399, 0.899, 1],
    labels=["first 40 %", "next 50 %", "last 10 %"],
)
means = (
    following[following.depth < 1]
    .groupby(["model", "k", bands], observed=True)
    .value.mean()
    .unstack()
)
means.rename_axis(columns="mean overlap with the next layer").round(3)

# %% [markdown]
# ## Figure 3: over training

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-training", "caption": "The paper's Fig. 3 (left) and this book (right). Intrinsic dimension against relative depth at checkpoints of one training, dark to bright. The curves of iGPT-L in the paper are not released."}, "image": {"alt": "Intrinsic dimension against relative depth for several checkpoints of a run"}}
dynamics = report.tables("training_dynamics.csv", results)
trained = list(dynamics.run.unique()) if len(dynamics) else []
fig, axes = figures.panels(
    2, max(1, len(trained)), width=9, sharex=True, sharey="row", squeeze=False
)
for row, name in zip(axes, trained or [None]):
    figures.absent(
        row[0],
        "No numbers are released, and none were read off.\nIts text says, of iGPT-L: flat when untrained;\n"
        "the first peak forms early; the minimum, then\nthe second peak, later.",
    )
    row[0].set(title="the paper", ylabel="intrinsic dimension")
    row[1].set_title(f"this book: {name}" if name else "this book")
    if name is None:
        figures.absent(row[1], "not run here")
        continue
    steps = dynamics[dynamics.run == name].groupby("checkpoint", sort=False)
    for (checkpoint, part), shade in zip(
        steps, plt.get_cmap("plasma")(np.linspace(0.05, 0.85, len(steps)))
    ):
        figures.profile(
            row[1],
            part.depth,
            part.id,
            part.id_err,
            name=checkpoint,
            color=shade,
            marker="",
        )
    row[1].legend(title="trained for", title_fontsize=8, fontsize=8)
    row[1].set_ylim(0, None)
for axis in axes[-1]:
    figures.depth_axis(axis, "relative depth")
figures.note(
    fig,
    f"measured here: {', '.join(trained) or 'no run has checkpoints yet'}; N and rule as in the chapter on training dynamics of each run",
)
plt.show()

# %% [markdown]
# ## Figure 4: overlap with the labels

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-labels", "caption": "The paper's Fig. 4 (left) and this book (right). Share of the k nearest neighbours that carry the point's own label, against relative depth. The star is the layer that the ID profile singled out: where it sits on the top of its curve, the advice was good."}, "image": {"alt": "Label overlap against relative depth: published models on the left, runs of this book on the right, with stars at the layers chosen by intrinsic dimension"}}
quantity = "label_overlap"
fig = figures.theirs_and_ours(
    curve(theirs, quantity),
    curve(ours, quantity),
    families,
    rf"label overlap  $\chi^{{l,gt}}_{{{k}}}$",
    stars,
)
figures.note(fig, f"{made_from}; k = {k}")
plt.show()

# %% [markdown]
# ## Was the advice good?
#
# One row a model. "Range" is that of the layers that the profile cannot tell from the chosen one, "support" the share of
# profiles redrawn within their errors that single out any; "best by labels" are the layers whose label overlap cannot be told
# from the highest, "off by" is how far the nearest of them is, in depth; "share kept" is the label overlap at the chosen layer,
# over the highest.

# %% tags=["hide-input"]
found = advised.dropna(subset=["chosen"])
advised["range"] = (
    found["from"].astype(int).astype(str) + "–" + found["to"].astype(int).astype(str)
)
shown = advised.astype({"peak": "Int64", "chosen": "Int64"}).round(2)
shown = shown.drop(columns=["blocks", "from", "to", "best is within"])
shown.insert(5, "range", shown.pop("range"))
shown = shown.rename(columns={"measured by": "by", "off by, in depth": "off by"})
shown.set_index(["by", "model"]).astype(object).fillna("–")

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
judged = advised.dropna(subset=["off by, in depth"])
lines = []
for who, part in judged.groupby("measured by", sort=False):
    of = advised[advised["measured by"] == who]
    lines.append(
        f"- Measured by {who}: {len(part)} of {len(of)} profiles single out a layer; on average it is {part['off by, in depth'].mean():.2f} of "
        f"the depth from the nearest best one by labels, and it keeps at least {part['share kept'].min():.0%} of the best label overlap."
    )
    far = part[part["off by, in depth"] > 0.1]
    inside = ", ".join(far.model[far["best is within"].astype(bool)]) or "none"
    if len(far):
        lines.append(
            f"- More than a tenth of the depth away: {', '.join(far.model)}. The range of layers that the profile can't tell apart holds a "
            f"best one for: {inside}."
        )
lines.append(
    f"- Published numbers to compare with: {len(theirs)}, {sources}; none of them for Figs. 2 and 3."
    if read.empty
    else f"- Published numbers to compare with: {len(theirs)}, {sources}."
)
Markdown("\n".join(lines))
