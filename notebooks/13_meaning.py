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
#     reads: [02_bring, 02_extract, 03_distances, 04_intrinsic_dimension, 05_overlaps]
# ---

# %% [markdown]
# ({{run}}-meaning)=
# # When does low dimension mean meaning?
#
# In this chapter:
#
# - the correlation of intrinsic dimension and label overlap over the layers is put together for
#   every network and data set, published or measured here;
# - a hypothesis about its sign, and the tests that could refute it, are stated before any result;
# - other labels of the same samples are asked for, because one network has one profile and any
#   number of label overlaps;
# - three choices of a layer stand side by side on every case: highest dimension, least dimension
#   after it, and the middle of the network.

# %% tags=["parameters"]
run = "meaning"  # | Name of the run.
results = "book/results"  # | Folder with a folder of tables for each run.
released_dir = "data/released"  # | Folder of the authors' unpacked archives.
k = 10  # at least 1 | Neighbours of the label overlap.
label_files = {}  # | Run and a csv or npz with other labels of its samples.
alpha = 0.05  # between 0 and 1 | Level of the tests, one-sided.
suggested_by = [
    "smollm2-135m",
    "dinov2-small",
    "dinov2-small-fashion",
]  # | Runs that the hypothesis comes from, which can't test it.
data_titles = {}  # | What samples are called that have no name of their own.
seed = 0  # at least 0 | Of the orders of cases, where there are too many to try all.
device = "auto"  # | auto, cpu, cuda, or one GPU of several such as cuda:1.

# %%
from pathlib import Path

import numpy as np
import pandas as pd
from myst_nb import glue

from georep_utils import clouds, figures, io
from georep_utils.geometry import label_sets
from georep_utils.paper import advice, published, sign

# %% [markdown]
# ## The question
#
# The paper advises to use a layer of low intrinsic dimension (ID), the first minimum or plateau
# after the peak, because labels are respected best there {cite}`valeriani2023`. Over the layers,
# ID and label overlap should then be *negatively* correlated. In its own figures this is so for
# proteins, as far as a number without an interval goes. For images the number is positive: both are
# low at the two ends of the network, and only in between does the one rise where the other falls.
# So the advice may be right on some data and wrong on others, and one would like to know beforehand
# on which.
#
# ## The hypothesis, and what would refute it
#
# This section was written before the tables that it is tested on were complete, and not before all
# of their numbers were known: the curves and pixels of igpt-mini were, and a first reading of
# AntiBERTy. A test is strict only on networks that came later. Three others suggested it:
# SmolLM2 on glosses, DINOv2 on clip art, and DINOv2 on Fashion-MNIST. In the last, pixels alone
# respect the labels about as well as the best layer does, and the correlation is positive; in the
# others the input says little about the labels, and it is negative.
#
# > **H.** The correlation of ID and label overlap over the layers is the higher, the larger the
# > share of the labels that the input already gives.
#
# The *share* is the label overlap among the inputs themselves (pixels, words, residues) over the
# highest label overlap of any layer. A possible reason is that where the labels are plain in the
# input, a network that forgets the input loses them. Whether that is the reason is not tested here.
#
# The tests, each one-sided at the level `alpha`, with the distribution under "no relation" taken
# from all orders of the cases:
#
# 1. **Over data sets.** Rank correlation of correlation and share, one case for each network and
#    data set. Of runs that share weights and data set one counts: the one with most sets of labels,
#    and of those the one with most samples.
# 2. **The same without the networks that suggested it.** A hypothesis can't be tested on what it
#    was made from. This test is as strict as its cases are new.
# 3. **Other labels of the same samples.** The profile stays, and only the labels change. Orders are
#    tried within each network and data set, never across.
# 4. **Chance taken off.** With few classes chance is high, and so is the share. Test 1 again, with
#    what chance gives taken from both overlaps.
# 5. **What follows for the choice of a layer.** If H holds, the layer of highest ID gains over the
#    layer of least ID after it as the share grows: test 1 with that difference in the place of the
#    correlation.
#
# "Supported" means $p \le$ `alpha` in the predicted direction, "contradicted" the same in the other
# one, and "undecided" neither. With so few cases that no order of them could reach the level, the
# answer is "too few cases". The outcome stands whatever it is.
#
# ## Other labels of the same samples
#
# Whoever asks only for tops against shoes asks an easier question than one who asks for shirts
# against coats. Fashion-MNIST {cite}`xiao2017` has ten classes; here they are merged by what is
# worn where, and once more into clothes and the rest.

# %%
fashion = {
    "4 groups": [[0, 2, 4, 6], [1, 3], [5, 7, 9], [8]],  # tops, legs, shoes, bags
    "2 groups": [[0, 1, 2, 3, 4, 6], [5, 7, 8, 9]],  # clothes, and shoes or bags
}


# %% [markdown]
# Of tables, further columns serve (`label_files`). One of them has to divide the samples exactly as
# the run's own classes do: that proves the order of the rows.


# %%
def label_sets_of(name, cloud):
    """All sets of labels of a run's samples, its own first."""
    labels = cloud.side("labels")
    found = {sign.OWN: labels}
    if cloud.dataset.startswith("fashion-mnist"):
        found |= label_sets.merged(labels, fashion)
    if name in label_files:
        path = io.REPOSITORY / label_files[name]
        found |= label_sets.read(path, cloud.side("ids"), labels)
    return found


# %% [markdown]
# Neighbours are known already wherever a run's clouds are here. The label overlap is counted again
# for each set of labels, in every layer of the trained network and, where there is one, in the
# cloud of the input itself. Each run's table is kept with the run's other tables; where the clouds
# are not here, the table that came with the book is read.


# %%
def label_table(name):
    """Overlaps of a run's trained network and of its input with every set of labels."""
    of_run = clouds.of_run(io.RunPaths(name))
    sets = label_sets_of(name, of_run["trained"])
    parts = []
    for role in ("trained", "input"):
        if role in of_run:
            cloud = clouds.find_neighbors(of_run[role], k, 2, device, progress=False)
            near = {layer: cloud.neighbors(layer) for layer in cloud.layers}
            names = dict(zip(cloud.layers, cloud.layer_names, strict=True))
            part = label_sets.overlaps(near, sets, k)
            parts.append(part.assign(cloud=role, layer_name=part.layer.map(names)))
    return pd.concat(parts)


# %%
tables = io.find(io.root() / results, "*/id_profile.csv")
for name in [path.parent.name for path in tables]:
    here = io.read_json(io.RunPaths(name).clouds, {})
    if here and clouds.of_run(io.RunPaths(name))["trained"].side("labels") is not None:
        folder = io.root() / results / name
        io.write_table(folder / "label_sets.csv", label_table(name))

# %% [markdown]
# ## The cases
#
# A case is a network, its samples and one set of labels. Both curves are taken at layers 0 to $L$.
# The interval of the rank correlation $\rho$ is that of curves as smooth as these: neighbouring
# layers are alike, so that thirty layers are worth far fewer independent ones (`n_effective`).
# Where they are worth fewer than {glue:text}`needed:.1f`, the correlation can't be tested, and the
# interval is all of -1 to 1 ({ref}`paper-controls` counts why).

# %%
archives = Path(released_dir)
theirs = published.published_curves(archives if archives.is_dir() else None)
datasets = {"igpt": "ImageNet, 300 classes", "esm2": "SCOPe superfamilies"}
of_paper = sign.published_cases(theirs, datasets)
of_book = sign.measured_cases(k, io.root() / results)
of_book["dataset"] = of_book.dataset.replace(data_titles)

# %%
both = [table for table in (of_paper, of_book) if len(table)]
cases = sign.once(pd.concat(both, ignore_index=True)).reset_index(drop=True)
io.write_table(io.RunPaths(run).results / "meaning.csv", cases)
ends = [
    f"{low:+.2f} to {high:+.2f}"
    for low, high in zip(cases.low, cases.high, strict=True)
]
listed = cases.assign(labels=cases.label_set, interval=ends)
columns = ["model", "dataset", "labels", "rho", "interval", "n_effective", "share"]
shown = listed[columns].style.format(precision=2, na_rep="–", escape="html")
shown.hide()

# %% [markdown]
# What the inputs give was not published for the paper's models, and their inputs are not here.
# Their correlations are shown, but they can't take part in the tests.

# %% tags=["hide-input"]
of_suggested = cases[cases.model.isin(suggested_by) & (cases.label_set == sign.OWN)]
io.note_facts(suggested=bool(of_suggested.share.notna().any()))

# %% tags=["hide-input", "only-suggested"]
glue("least-suggested", float(of_suggested.share.min()), display=False)

# %% [markdown] tags=["only-suggested"]
# What was said to be little of the labels, when the hypothesis was written down, is
# {glue:text}`least-suggested:.2f` of the best layer's overlap or more. It is little beside the
# third of these networks, not by itself.

# %% tags=["hide-input"]
figures.use_style()
named = cases.assign(group=cases.dataset.astype(str))
note = (
    f"{len(of_paper)} published curves, {len(cases) - len(of_paper)} cases measured "
    f"here; label overlap with k = {k}"
)

# %% mystnb={"figure": {"name": "{{run}}-fig-sign", "caption": "Rank correlation of intrinsic dimension and label overlap over the layers, a point a network and set of labels, against the share of the labels that the input gives; above 1 the input respects them better than any layer. Bars are 95 % intervals for curves as smooth as these. Under the hypothesis points rise from the lower left to the upper right. Points in the grey field have no share: their input was not measured."}, "image": {"alt": "Correlation of dimension and label overlap against the share of labels given by the input"}}
sign_figure = figures.meaning(named, note)
kept_in = io.RunPaths(run).results
io.write_figure(kept_in / "meaning.svg", sign_figure)
io.write_figure(kept_in / "meaning-narrow.svg", figures.narrow(sign_figure))
io.write_table(kept_in / "meaning-data.csv", named)
sign_figure

# %% [markdown]
# ## The tests

# %%
own = cases[cases.label_set == sign.OWN]
fresh = own[~own.model.isin(suggested_by)]
tests = {
    "1 over data sets": sign.permutation_test(own, alpha=alpha, seed=seed),
    "2 without those that suggested it": sign.permutation_test(
        fresh, alpha=alpha, seed=seed
    ),
    "3 other labels, same samples": sign.permutation_test(
        cases, within=sign.NETWORK, alpha=alpha, seed=seed
    ),
    "4 chance taken off": sign.permutation_test(
        own, against="share_above_chance", alpha=alpha, seed=seed
    ),
    "5 gain of the peak": sign.permutation_test(
        own, of="peak_over_minimum", alpha=alpha, seed=seed
    ),
}

# %%
answers = sign.outcomes(tests)
io.write_table(io.RunPaths(run).results / "meaning_tests.csv", answers, index=True)
answers.style.format(precision=3, na_rep="–", escape="html")

# %% [markdown]
# The columns: the rank correlation, the share of orders with one at least as high (`p`) and at most
# as low (`p_below`), the number of cases, and whether all orders were tried.
#
# Two cautions. Data sets that someone chose are no random draw from all data sets, and a $p$ value
# speaks only of the order of those that are here. And the share is measured with one number of
# neighbours and one form of the input; a better description of the input, such as one that ignores
# where in the picture a thing is, would give a larger share.
#
# ## The choices
#
# What a reader wants is a layer. Three choices that need no labels: the layer of highest ID, the
# layer of least ID after it, and the middle of the network, which costs nothing. Each is scored by
# the share of the best label overlap that it keeps.

# %%
ordered = cases.sort_values("share", na_position="first")
names = ordered.model + ", " + ordered.label_set + ordered.share.map(" ({:.2f})".format)
rivals = ordered.assign(case=names.str.replace(" (nan)", "", regex=False))
kept = rivals.melt("case", list(sign.CHOICES), "choice", "kept").dropna()
kept["choice"] = kept.choice.map(sign.CHOICES)

# %% mystnb={"figure": {"name": "{{run}}-fig-choices", "caption": "Share of the best label overlap that three choices of a layer keep. Cases are ordered by the share of the labels that the input gives, in brackets where it is known. Cases without a share stand first. Below them, under the hypothesis, the highest ID is the worse choice above and the better one further down."}, "image": {"alt": "Share of the best label overlap at three choices of a layer, a row a case"}}
figures.rival_choices(kept, note)

# %%
summary = rivals.groupby("source")[list(sign.CHOICES)].agg(["mean", "min"])
summary.rename(columns=sign.CHOICES).round(3)

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
known = cases.share.notna()
numbers = {
    "n-cases": len(cases),
    "n-networks": len(cases.drop_duplicates(sign.NETWORK)),
    "n-known": int(known.sum()),
    "n-negative": int((cases.high < 0).sum()),
    "n-positive": int((cases.low > 0).sum()),
    "level": alpha,
    "needed": advice.MIN_EFFECTIVE,
    "n-untestable": int((cases.n_effective < advice.MIN_EFFECTIVE).sum()),
}
for name, value in numbers.items():
    glue(name, value, display=False)
for name, outcome in tests.items():
    glue(f"verdict-{name[0]}", outcome.verdict, display=False)
    glue(f"cases-{name[0]}", outcome.n, display=False)
for choice in sign.CHOICES:
    glue(f"kept-{choice}", float(np.nanmean(cases[choice])), display=False)

# %% [markdown]
# - **The cases.** {glue:text}`n-cases` cases of {glue:text}`n-networks` pairs of a network and a
#   data set; cases of one pair share a profile and are not independent. The correlation is
#   negative, with its whole interval, in {glue:text}`n-negative` of them and positive in
#   {glue:text}`n-positive`; in {glue:text}`n-untestable` the curves are too smooth for an interval.
#   What the input gives is known for {glue:text}`n-known`.
# - **H over data sets** ({glue:text}`cases-1` cases): *{glue:text}`verdict-1`*; without the
#   networks that suggested it ({glue:text}`cases-2`): *{glue:text}`verdict-2`*; with chance taken
#   off: *{glue:text}`verdict-4`*.
# - **H over labels of the same samples** ({glue:text}`cases-3` cases): *{glue:text}`verdict-3`*.
# - **The gain of the peak over the minimum** ({glue:text}`cases-5` cases):
#   *{glue:text}`verdict-5`*. Over all cases the highest ID keeps {glue:text}`kept-peak:.0%` of the
#   best overlap, the least ID after it {glue:text}`kept-minimum:.0%`, and the middle layer
#   {glue:text}`kept-middle:.0%`.
