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
# - the curves of Figs. 1 to 4 of the paper {cite}`valeriani2023` stand beside those of every run of
#   this book, each on its own axis;
# - every panel says whether its numbers were released by the authors, read off their figures, or
#   measured here, and the text says what is not to be had;
# - the paper's advice, to choose a layer by the intrinsic dimension alone, is tried on every model,
#   and counted where it gives no answer.

# %% tags=["parameters"]
run = "paper"  # | Name of the run.
released_dir = "data/released"  # | Folder of the authors' unpacked archives.
results = "book/results"  # | Folder with a folder of tables for each run.
rules = {
    "igpt-small": "igpt_release",
    "igpt-medium": "igpt_release",
    "igpt-large": "igpt_release",
}  # | Scale rule by which a run is read; a run without one is read by its own.
k = 10  # at least 1 | Neighbours of the overlaps.
deeper_k = 30  # at least 1 | A second number of neighbours, for the overlap of layers.
prominence = 0.05  # between 0 and 1 | Least depth of a minimum, over the peak.

# %%
from pathlib import Path

import pandas as pd
from myst_nb import glue

from georep_utils import figures, io
from georep_utils.paper import comparison, findings, published

figures.use_style()

# %% [markdown]
# ## Where the numbers come from
#
# The authors released statistics for two of their four figures. Where their archives are unpacked
# in `released_dir`, the curves are recomputed from them as the authors' plotting script does.
# Otherwise they are this project's readings off the released figures: positions of points,
# calibrated by the ticks of the axes, with an error of .15 in dimension and .005 in overlap. The
# rest was measured here.

# %%
archives = Path(released_dir)
theirs = published.published_curves(archives if archives.is_dir() else None)
theirs["depth"] = theirs.layer / theirs.n_blocks
theirs.groupby(["source", "model", "quantity"], sort=False).size().unstack()

# %% [markdown]
# A layer has its true number everywhere: 0 to $L-1$ are the inputs of the blocks after their first
# norm, $L$ is the final norm and, where they were measured, $L+1$ are the logits, drawn hollow. A
# run that has the name of one of the paper's models is read at the scale that its authors' release
# used, any other at the scale that the run itself chose; without that, a comparison of heights
# would be one of scales.

# %%
ours = comparison.curves(rules, results)
ours["depth"] = ours.layer / ours.n_blocks
runs = comparison.measured_runs(rules, results)
runs

# %% tags=["hide-input"]
sources = ", ".join(theirs.source.unique())
about = [f"{name} (N = {row.N:,}, {row.rule})" for name, row in runs.iterrows()]
made_from = f"The paper: {sources}.\nThis book, measured here: {', '.join(about)}"
io.note_facts(measured=len(ours) > 0)

# %% [markdown]
# ## The advice, applied
#
# The paper's practical conclusion is that the layer with the most meaningful representations can be
# found without labels: it is the first minimum, or the plateau, of the dimension after its first
# peak. `semantic_layer` reads nothing but a profile with its errors and says what it singles out.
# Here it is given the published profiles and ours; `findings.advice` then looks up what labels say
# of its choice.

# %%
of_theirs = findings.advice(theirs, k, prominence).assign(by="the paper")
of_ours = findings.advice(ours, k, prominence).assign(by="this book")
advised = pd.concat([of_theirs, of_ours], ignore_index=True)

# %% [markdown]
# A profile without such a feature, or with one that its errors do not support, singles out no
# layer. That is an answer as well: such models keep their row in the table below, and have no star
# in the figures.

# %%
choosing = advised.dropna(subset="chosen")
chosen = {(row.by, row.model): row.depth for row in choosing.itertuples()}
families = {"ImageGPT": "igpt", "ESM-2": "esm2", "other models": ""}

# %% [markdown]
# ## Figure 1: intrinsic dimension
#
# What to look for: a rise to a peak in the first third, a fall by a large part of it, and for the
# larger ImageGPTs a second, lower peak before the end. The panels have their own axes, each from
# zero: compare shapes across them, and heights only within one. A height also depends on the number
# of samples and on the scale, which the small print names.


# %%
def pairs(quantity):
    """The published curves of a quantity, and ours, at the one number of neighbours."""
    return [c[(c.quantity == quantity) & (c.k.fillna(k) == k)] for c in (theirs, ours)]


# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-id", "caption": "The paper's Fig. 1 and this book, each panel on its own axis from zero. Intrinsic dimension against relative depth, with one standard error (for readings, the error of reading). A star is the layer that a profile singles out: the first minimum or plateau after the first peak; a curve without a star singles out none."}, "image": {"alt": "Intrinsic dimension against relative depth: published ImageGPT and ESM-2 models, and runs of this book"}}
dimensions = pairs("intrinsic_dimension")
label = "intrinsic dimension"
figures.theirs_and_ours(*dimensions, families, label, chosen, made_from)

# %% [markdown]
# ## Figure 2: overlap of consecutive layers
#
# The authors released no numbers for this figure, and none were read off it, so the paper has no
# panel here. Its text says what it shows. In ESM-2 consecutive layers share about half of their
# neighbours in the first 40 % of the network, and more than nine tenths in the plateau. In ImageGPT
# the overlap goes from .7 to .9, and collapses in the last layers. A low value means that the
# network is rearranging neighbourhoods there.

# %% tags=["only-measured"]
following = ours[ours.quantity == "consecutive_overlap"]
inner = following[following.depth < 1].astype({"k": int})

# %% tags=["hide-input", "only-measured"] mystnb={"figure": {"name": "{{run}}-fig-consecutive", "caption": "The paper's Fig. 2 for the runs of this book: neighbourhood overlap of each layer with the next against relative depth, with its standard error. Left: every run, for two numbers of neighbours. Right: the first run for every number that was stored; compare the shapes, not the heights."}, "image": {"alt": "Overlap of consecutive layers against relative depth for the runs of this book, and for several numbers of neighbours"}}
figures.consecutive_by_run(following, k, deeper_k, made_from.splitlines()[1])

# %% [markdown] tags=["only-measured"]
# The same as three means a run, over the parts of the network that the text distinguishes:

# %% tags=["only-measured"]
ends = [-0.01, 0.399, 0.899, 1]
parts = pd.cut(inner.depth, ends, labels=["first 40 %", "next 50 %", "last 10 %"])
means = inner.groupby(["model", "k", parts], observed=True).value.mean().unstack()
means.rename_axis(columns="mean overlap with the next layer").round(3)

# %% [markdown]
# ## Figure 3: over training
#
# Here too nothing is released. The text says of iGPT-L that its profile is flat when untrained,
# that the first peak forms early in training, and that the minimum, and then the second peak,
# come later.

# %%
dynamics = comparison.tables("training_dynamics.csv", results)
io.note_facts(dynamics=len(dynamics) > 0)

# %% tags=["hide-input", "only-dynamics"] mystnb={"figure": {"name": "{{run}}-fig-training", "caption": "The paper's Fig. 3 for the runs of this book that kept checkpoints: intrinsic dimension against relative depth, from the untrained network (dark) to the trained one (bright), with one standard error. Look for what is there before training, and for where later curves leave earlier ones."}, "image": {"alt": "Intrinsic dimension against relative depth for several checkpoints of a run"}}
note = "measured here; N and rule as in the chapter on training of each run"
figures.training_by_run(dynamics, note)

# %% [markdown]
# ## Figure 4: overlap with the labels
#
# If the advice is good, a star sits at the top of its curve. For the ImageGPTs the authors stored
# neighbours at every sixth or eighth layer only. Those values are drawn as they are, without lines
# between them; where the chosen layer is not one of them, a triangle at the foot shows where it
# lies.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-labels", "caption": "The paper's Fig. 4 and this book, each panel on its own axis from zero. Share of a point's k nearest neighbours that carry its own label, against relative depth, with one standard error (for readings, the error of reading). A star, or a triangle between two values, is the layer that the ID profile singled out: where it lies below the top of its curve, the advice was good."}, "image": {"alt": "Label overlap against relative depth: published models and runs of this book, with the layers chosen by intrinsic dimension"}}
overlaps = pairs("label_overlap")
label = rf"label overlap  $\chi^{{l,gt}}_{{{k}}}$"
figures.theirs_and_ours(*overlaps, families, label, chosen, f"{made_from}; k = {k}")

# %% [markdown]
# ## Was the advice good?
#
# One row a model. *Range* holds the layers that the profile can't tell from the chosen one, and
# *support* is the share of profiles, redrawn within their errors, that have such a feature at all.
# *Best* holds the layers whose label overlap can't be told from the highest, at two standard
# errors. *Off by* is the distance from the chosen layer to the nearest of these, in relative depth,
# and *kept* the label overlap at the chosen layer over the highest.


# %%
def span(low, high):
    """A range of layers as text."""
    if pd.isna(low):
        return "–"
    return f"{low:.0f}" if low == high else f"{low:.0f}–{high:.0f}"


# %% tags=["hide-input"]
table = advised[["by", "model", "feature", "peak", "chosen"]]
table = table.astype({"peak": "Int64", "chosen": "Int64"})
table["range"] = list(map(span, advised.low, advised.high))
table["support"] = advised.support
table["best"] = list(map(span, advised.best_low, advised.best_high))
table["off by"] = advised.off_by
table["kept"] = advised.share_kept
table.round(2).set_index(["by", "model"]).astype(object).fillna("–")

# %% [markdown]
# The same, counted. A chosen layer is called *near* when it is at most a tenth of the depth from a
# best one. Profiles that choose nothing are counted in the first column and can't be near: whoever
# follows the advice on such a model is left without a layer.

# %%
judged = advised.assign(near=advised.off_by <= 0.1, picks=advised.chosen.notna())
of_each = judged.groupby("by", sort=False)
counts = of_each.agg(
    profiles=("model", "size"), choosing=("picks", "sum"), near=("near", "sum")
)
counts["mean distance"] = of_each.off_by.mean()
counts["least kept"] = of_each.share_kept.min()
counts.astype(object).fillna("–")

# %% [markdown]
# Where the chosen layer is further than a tenth of the depth from every best one, the range may
# still hold a best layer: then the profile is too uncertain to choose well, rather than wrong.

# %%
far = choosing[choosing.off_by > 0.1]
far[["by", "model", "off_by", "best_in_range"]].round(2)

# %% tags=["hide-input"]
for by, name in {"the paper": "theirs", "this book": "ours"}.items():
    row = counts.reindex(counts.index.union([by])).fillna(0).loc[by]
    for column in ("profiles", "choosing", "near"):
        glue(f"{name}-{column}", int(row[column]), display=False)
glue("n-published", len(theirs), display=False)
glue("n-runs", len(runs), display=False)

# %% [markdown]
# ## What we saw
#
# - {glue:text}`n-published:,` published numbers could be drawn, all of them of Figs. 1 and 4; of
#   Figs. 2 and 3 nothing is released. {glue:text}`n-runs` runs of this book stand beside them.
# - On the published curves {glue:text}`theirs-choosing` of {glue:text}`theirs-profiles` profiles
#   single out a layer, and {glue:text}`theirs-near` of these layers are near a best one by labels.
# - On the runs of this book {glue:text}`ours-choosing` of {glue:text}`ours-profiles` profiles
#   single out a layer, and {glue:text}`ours-near` of these layers are near a best one.
# - Three cautions. The published profiles carry the error of reading, not that of the estimate, so
#   that their stars look more certain than they are. Being near a best layer is easy where the
#   curve of labels has a broad top. And runs that read the same weights are not independent: they
#   count as two rows above, but as one network.
