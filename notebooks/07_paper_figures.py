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
#     after: []
#     reads: [04_intrinsic_dimension, 05_overlaps, 06_training_dynamics]
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
# - the paper's advice, to choose a layer by the intrinsic dimension alone, is tried on every model
#   against choices that cost nothing, and counted where it gives no answer;
# - the plain relation of dimension and labels over the layers stands beside it.

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

# %%
from pathlib import Path

import pandas as pd
from myst_nb import glue

from georep_utils import figures, io
from georep_utils.paper import advice, comparison, evidence, published

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
counted = theirs.groupby(["source", "model", "quantity"], sort=False).size().unstack()
counted.rename_axis(columns="numbers of")

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
# peak. This is the {term}`semantic layer`; the function `semantic_layer` reads nothing but a
# profile with its errors, and reports a layer only where noise alone would give one in at most a
# twentieth of profiles that have none. Runs bring the errors of their layers, and what these share.
# Published curves come without the error of an estimate. For their dimensions it is taken from the
# scatter between neighbouring layers, and a layer counts only if it is found whatever part of their
# errors neighbours may share ({ref}`paper-report`). Their label overlaps have the error of reading
# alone: with the sampling error, best sets would be larger.

# %%
of_paper = evidence.of_paper(theirs)
of_runs, left_out = evidence.of_runs(rules, results)
found = evidence.found_layers(of_paper + of_runs)

# %% tags=["hide-input"]
io.note_facts(judged=len(of_runs) > 0, left_out=len(left_out) > 0)

# %% [markdown]
# A profile without such a feature, or with one that its errors do not support, singles out no
# layer. Then *kind* says none, and *visible* tells what that means: it is the smallest relative
# difference between two layers that these errors would show. Where that is large, the profile is
# too uncertain to say anything. *peak_layer* is the first peak that is more than noise. *low* to
# *high* is the confidence set of the layer, those that can't be told from it. *p_value* is the
# least level at which a layer would be reported; .05 is asked for. The rule is frozen; this is
# *{glue:text}`rule-version`*.

# %% tags=["hide-input"]
layers = ["peak_layer", "layer", "low", "high"]
shown = found.astype(dict.fromkeys(layers, "Int64"))
glue("rule-version", str(found.version.iloc[0]), display=False)
shown = shown.set_index(["by", "model"]).drop(columns=["depth", "version"])
shown.style.format(
    {"p_value": "{:.4f}", "visible": "{:.3f}"}, na_rep="–", escape="html"
)

# %% [markdown] tags=["only-left_out"]
# These runs have curves in the figures below, and are not judged:

# %% tags=["only-left_out"]
pd.Series(left_out, name="why").rename_axis("run").to_frame()

# %%
choosing = found.dropna(subset="layer")
chosen = {(row.by, row.model): row.depth for row in choosing.itertuples()}
families = {"ImageGPT": "igpt", "ESM-2": "esm2", "other models": ""}

# %% [markdown]
# ## The paper's Fig. 1: intrinsic dimension
#
# What to look for in {numref}`{{run}}-fig-id`: a rise to a peak in the first third, a fall by a
# large part of it, and for the larger ImageGPTs a second, lower peak before the end. The panels
# have their own axes, each from zero: compare shapes across them, and heights only within one. A
# height also depends on the number of samples and on the scale, which the small print names.


# %%
def pairs(quantity):
    """The published curves of a quantity, and ours, at the one number of neighbours."""
    return [c[(c.quantity == quantity) & (c.k.fillna(k) == k)] for c in (theirs, ours)]


# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-id", "caption": "The paper's Fig. 1 and this book, each panel on its own axis from zero. Intrinsic dimension against relative depth, with one standard error (for readings, the error of reading). A star is the layer that a profile singles out: the first minimum or plateau after the first peak; a curve without a star singles out none."}, "image": {"alt": "Intrinsic dimension against relative depth: published ImageGPT and ESM-2 models, and runs of this book"}}
dimensions = pairs("intrinsic_dimension")
label = figures.ID_LABEL
figures.theirs_and_ours(*dimensions, families, label, chosen, made_from)

# %% [markdown]
# ## The paper's Fig. 2: overlap of consecutive layers
#
# The authors released no numbers for this figure, and none were read off it, so the paper has no
# panel here. Its text says what it shows. In ESM-2 consecutive layers share about half of their
# neighbours in the first 40 % of the network, and more than nine tenths in the plateau. In ImageGPT
# the overlap goes from .7 to .9, and collapses in the last layers. A low value means that the
# network is rearranging neighbourhoods there.

# %% tags=["only-measured"]
following = ours[ours.quantity == "consecutive_overlap"]
inner = following[following.depth < 1].astype({"k": int})

# %% tags=["hide-input", "only-measured"] mystnb={"figure": {"name": "{{run}}-fig-consecutive", "caption": "The paper's Fig. 2 for the runs of this book: neighbourhood overlap of each layer with the next against relative depth, a panel a run, for every number of neighbours that was stored, with its standard error. Compare the shapes; the height may change with the number of neighbours. Bands are one standard error."}, "image": {"alt": "Overlap of consecutive layers against relative depth for the runs of this book, and for several numbers of neighbours"}}
figures.consecutive_by_run(following, made_from.splitlines()[1])

# %% [markdown] tags=["only-measured"]
# The curves of {numref}`{{run}}-fig-consecutive` as three means a run, over the parts of the
# network that the text distinguishes; a dash where no layer lies in a part:

# %% tags=["only-measured"]
ends = [-0.01, 0.399, 0.899, 1]
parts = pd.cut(inner.depth, ends, labels=["first 40 %", "next 50 %", "last 10 %"])
means = inner.groupby(["model", "k", parts], observed=True).value.mean().unstack()
means = means.rename_axis(columns="mean overlap with the next layer")
means.style.format("{:.3f}", na_rep="–", escape="html")

# %% [markdown]
# ## The paper's Fig. 3: over training
#
# Here too nothing is released. The text says of iGPT-L that its profile is flat when untrained,
# that the first peak forms early in training, and that the minimum, and then the second peak,
# come later.

# %%
dynamics = comparison.tables("training_dynamics.csv", results)
several = len(dynamics) > 0 and dynamics.run.nunique() > 1
io.note_facts(dynamics=several)

# %% [markdown] tags=["not-dynamics"]
# Fewer than two runs of this book kept checkpoints. A single one has its figure in its own chapter
# on training.

# %% tags=["hide-input", "only-dynamics"] mystnb={"figure": {"name": "{{run}}-fig-training", "caption": "The paper's Fig. 3 for the runs of this book that kept checkpoints: intrinsic dimension against relative depth, from the untrained network (dark) to the trained one (bright), with one standard error. Look for what is there before training, and for where later curves leave earlier ones."}, "image": {"alt": "Intrinsic dimension against relative depth for several checkpoints of a run"}}
note = "measured here; N and rule as in the chapter on training of each run"
figures.training_by_run(dynamics, note)

# %% [markdown]
# ## The paper's Fig. 4: overlap with the labels
#
# If the advice is good, a star in {numref}`{{run}}-fig-labels` sits at the top of its curve, and
# not every layer does as well. For the ImageGPTs the authors stored neighbours at every sixth or
# eighth layer only. Those values are drawn as they are, without lines between them; where the
# chosen layer is not one of them, a triangle at the foot shows where it lies.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-labels", "caption": "The paper's Fig. 4 and this book, each panel on its own axis from zero. Share of a point's k nearest neighbours that carry its own label, against relative depth, with one standard error (for readings, the error of reading). A star, or a triangle between two values, is the layer that the ID profile singled out: where it lies below the top of its curve, the advice was good."}, "image": {"alt": "Label overlap against relative depth: published models and runs of this book, with the layers chosen by intrinsic dimension"}}
overlaps = pairs("label_overlap")
label = rf"label overlap  $\chi^{{l,gt}}_{{{k}}}$"
figures.theirs_and_ours(*overlaps, families, label, chosen, f"{made_from}; k = {k}")

# %% [markdown]
# ## Is the advice better than its rivals?
#
# A layer that keeps most of the best label overlap shows little, if most layers do. So the layer
# that the ID chooses competes with choices that need no ID: the middle of the network, two thirds
# of it, its last layer; and with some that read the ID in a simpler way: the layer of the peak, the
# least ID, the least after the peak. Where no peak stands out, the layer of highest ID counts as
# the peak. A layer drawn at random behind the peak is the rival that knows where the peak is and
# nothing else. Each network counts once, whatever the number of runs that read its weights.

# %%
their_boards, their_rivals = evidence.scoreboards(of_paper, k)
our_boards, our_rivals = evidence.scoreboards(evidence.once(of_runs), k)
boards = [
    board.assign(by=by, model=model)
    for by, part in ((evidence.PAPER, their_boards), (evidence.BOOK, our_boards))
    for model, board in part.items()
]

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-advice", "caption": "What each way to choose a layer keeps of the best label overlap, one mark a model. A model without a mark in a row is one for which that choice takes no layer; the random layer's mark is its expectation. The advice is worth something where its row lies further right than that of the middle, which costs nothing."}, "image": {"alt": "Share of the best label overlap kept by eight ways to choose a layer, one mark a model"}}
shares = pd.concat(boards, ignore_index=True)
figures.advice_shares(shares, f"{made_from}; k = {k}")

# %% [markdown]
# The shares of {numref}`{{run}}-fig-advice`, model by model; a dash where nothing is chosen:

# %%
by_model = shares.pivot(index="choice", columns=["by", "model"], values="share")
order = shares.choice.drop_duplicates()
by_model.reindex(order).style.format("{:.3f}", na_rep="–", escape="html")

# %% [markdown]
# Over the published models. *chooses* counts those for which a choice takes a layer, and *in best
# set* those of them where labels cannot tell it from the best one (the random layer has its
# expectation). *or random* is the mean share if whoever is left without a layer takes a random one
# behind the peak. *p* is exact: the probability that random layers behind the peak lie as near to
# the best sets, on average over the models for which there is a choice.

# %%
in_words = {
    "in_best_set": "in best set",
    "least_share": "least share",
    "mean_share": "mean",
    "mean_share_or_random": "or random",
}
formats = {"models": "{:.0f}", "chooses": "{:.0f}", "in best set": "{:.1f}"}
over = advice.over_models(their_boards, their_rivals).rename(columns=in_words)
over.style.format(formats, precision=3, na_rep="–", escape="html")

# %% [markdown]
# Pair by pair: the share that the chosen layer keeps, less that of each rival, for the models where
# both take a layer. Here *p* is the share of all ways to flip the signs of the differences that
# give a mean as far from zero. With $m$ models it cannot be below $2^{1-m}$.

# %%
pairs_of_paper = advice.paired(their_boards)
pairs_of_paper.style.format(precision=3, na_rep="–", escape="html")

# %% [markdown] tags=["only-judged"]
# And on the runs of this book, each set of weights once. A choice that lies before the peak is none
# of the layers that are drawn, so that its p can be zero.

# %% tags=["only-judged"]
ours_over = advice.over_models(our_boards, our_rivals).rename(columns=in_words)
ours_over.style.format(formats, precision=3, na_rep="–", escape="html")

# %%
scored = comparison.tables("scoreboard.csv", results)
io.note_facts(scored=len(scored) > 0)

# %% [markdown] tags=["only-scored"]
# The runs' own chapters also ask what a choice keeps of the best accuracy of the nearest
# neighbour's label, and of the best accuracy of a linear classifier. These shares, for the choices
# that take a layer; below them, for comparison, those of the input and of untrained networks:

# %% tags=["only-scored"]
measures = {
    "share": "label overlap",
    "accuracy_share": "nearest neighbour",
    "probe_share": "classifier",
}
kept = scored.set_index(["run", "choice"])[list(measures)].dropna(how="all")
kept.rename(columns=measures).style.format(precision=3, na_rep="–", escape="html")

# %% [markdown]
# Three cautions. The three sizes of a family were trained on the same data and are not independent,
# so that every p value here is a lower limit. The overlaps of the published ImageGPTs are known at
# every sixth or eighth layer only, and a choice between two of these counts as the nearest. And a
# model for which nothing is chosen is left out of the p values; it is counted in *models*.
#
# ## Do dimension and labels go together?
#
# The advice looks for one layer. A plainer question is whether layers of low ID have a high label
# overlap at all. {numref}`{{run}}-fig-relation` shows their rank correlation over the layers of
# each model. Both curves are smooth, so that thirty layers are worth a handful of independent ones;
# the thin interval allows for that, and is wide; where the curves are too smooth to test anything,
# it is all of -1 to 1 ({ref}`paper-controls` counts why). The thick one, where there is one, tells
# what other samples would have given for this very network.

# %%
related = evidence.relations(of_paper + of_runs, k)

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-relation", "caption": "Rank correlation of intrinsic dimension and label overlap over the layers of each model, with 95 % intervals: thin, for curves as smooth as these; thick, over samples, where they are known. Left of zero: a low ID goes with a high overlap."}, "image": {"alt": "Rank correlation of intrinsic dimension and label overlap for every model, with intervals"}}
figures.relations(related, f"{made_from}; k = {k}")

# %%
counted = related.set_index(["by", "model"]).astype({"n_layers": int})
counted.style.format(precision=2, na_rep="–", escape="html")

# %% tags=["hide-input"]
rule = over.loc[advice.RULE]
middle = over.loc["middle"]
pair = pairs_of_paper.loc["middle"]
glue("n-published", len(theirs), display=False)
glue("n-runs", len(runs), display=False)
glue("theirs-models", int(rule.models), display=False)
glue("theirs-chooses", int(rule.chooses), display=False)
glue("theirs-best", int(rule["in best set"]), display=False)
glue("theirs-p", float(rule.p), display=False)
glue("middle-best", int(middle["in best set"]), display=False)
glue("middle-models", int(middle.chooses), display=False)
glue("middle-p", float(middle.p), display=False)
glue("pair-difference", float(pair.difference), display=False)
glue("pair-p", float(pair.p), display=False)

# %% tags=["hide-input", "only-judged"]
ours_found = found[found.by == evidence.BOOK]
glue("ours-profiles", len(ours_found), display=False)
glue("ours-chooses", int(ours_found.layer.notna().sum()), display=False)

# %% [markdown]
# ## What we saw
#
# - {glue:text}`n-published:,` published numbers could be drawn, all of them of the paper's Figs. 1
#   and 4; of its Figs. 2 and 3 nothing is released. {glue:text}`n-runs` runs of this book stand
#   beside them.
# - On the published curves the ID singles out a layer in {glue:text}`theirs-chooses` of
#   {glue:text}`theirs-models` models, and labels cannot tell {glue:text}`theirs-best` of these
#   layers from the best one (p = {glue:text}`theirs-p:.3f` against random layers). The middle of
#   the network is always there; it is in the best set for {glue:text}`middle-best` of
#   {glue:text}`middle-models` (p = {glue:text}`middle-p:.3f`).
# - Chosen layer less middle, where both exist: {glue:text}`pair-difference:.3f` of the best
#   overlap (p = {glue:text}`pair-p:.3f`).

# %% [markdown] tags=["only-judged"]
# - On the runs of this book {glue:text}`ours-chooses` of {glue:text}`ours-profiles` profiles single
#   out a layer. On the others the advice names none.
