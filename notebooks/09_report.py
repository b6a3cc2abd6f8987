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
# ({{run}}-report)=
# # Was the paper reproduced?
#
# In this chapter:
#
# - every finding of the paper has a verdict, on its own curves and on each model of this book, with
#   the number it was made from, its interval, and what would overturn it;
# - every published number stands beside ours: it agrees, differs, or was not run here;
# - the scale rules and the number of samples are compared on every run.

# %% tags=["parameters"]
run = "paper"  # | Name of the run.
released_dir = "data/released"  # | Folder of the authors' unpacked archives.
results = "book/results"  # | Folder with a folder of tables for each run.
rules = {
    "igpt-small": "igpt_release",
    "igpt-medium": "igpt_release",
    "igpt-large": "igpt_release",
}  # | Scale rule by which a run is read; a run without one is read by its own.
errors = 3.0  # at least 0 | Standard errors of ours by which a number may be off.
share_to_agree = 0.9  # between 0 and 1 | Share of a model's numbers that must agree.
max_tolerance = 0.1  # between 0 and 1 | Tolerance that proves nothing, over height.
k = 10  # at least 1 | Neighbours of the overlaps.
front = [
    "smollm2-135m",
    "igpt-mini",
]  # | Runs in the first page's figure; without these, the first.

# %%
from pathlib import Path

import numpy as np
import pandas as pd
from myst_nb import glue

from georep_utils import figures, io
from georep_utils.paper import comparison, evidence, findings, published

figures.use_style()
pd.set_option("display.max_colwidth", None)  # a statement is shown whole

# %% [markdown]
# ## The verdicts
#
# What the paper concludes is not a number but a shape: a peak, a minimum after it, labels that are
# best respected near that minimum. Each statement of {ref}`what the paper finds <questions>` is a
# test here, applied to the published curves and to those of every run of this book alike.
#
# - **yes**: the number lies where the paper says, and so does its whole 95 % interval;
# - **no**: the whole interval lies elsewhere, or what the statement speaks of, such as a minimum,
#   is not there;
# - **partly**: the interval reaches both sides, or half of the statement holds;
# - **not testable**: the curve was not measured, the statement is about another kind of network, or
#   the errors are too large to see what it is about. This is no support.
#
# A finding, in bold below, is a *yes* where its first statement and all others that could be tested
# are, *partly* where some are or none is a *no*, *not testable* where none could be tested, and
# else a *no*.

# %%
archives = Path(released_dir)
theirs = published.published_curves(archives if archives.is_dir() else None)
of_runs, left_out = evidence.of_runs(rules, results)
weights_read = {one.model: one.weights for one in of_runs}
networks = evidence.of_paper(theirs, weights_read) + of_runs

# %%
verdicts, not_judged = evidence.judge(networks, k)
of_findings = evidence.together(verdicts)
left_out |= not_judged

# %% tags=["hide-input"]
table = evidence.words(pd.concat([of_findings, verdicts]))

# %% tags=["hide-input"]
io.note_facts(judged=len(of_runs) > 0, left_out=len(left_out) > 0)

# %% [markdown] tags=["only-judged"]
# The networks of this book:

# %% tags=["only-judged"]
evidence.verdict_table(table[evidence.BOOK])

# %% [markdown]
# The paper's own curves:

# %%
evidence.verdict_table(table[evidence.PAPER])

# %% [markdown] tags=["only-left_out"]
# Some runs left tables on which nothing can be judged. Their curves are compared number by number
# below, and nothing else is said of them:

# %% tags=["only-left_out"]
pd.Series(left_out, name="why").rename_axis("run").to_frame()

# %% [markdown]
# Counted over networks. Runs that read the same weights are one network: of those that could test
# the finding, the one with the most samples speaks for it. Published curves and the networks of
# this book together, where a published curve gives way to a run of the same weights:

# %%
findings.tally(of_findings)

# %% [markdown]
# A *yes* on the published curves is a check of the tests more than support for the paper, whose
# sentences were written about these very curves. What speaks for or against it are the models that
# its authors had not seen, and these are the networks of this book, each counted once.

# %% [markdown] tags=["only-judged"]
# These alone:

# %% tags=["only-judged"]
findings.tally(of_findings[of_findings.by == evidence.BOOK])

# %% tags=["hide-input"]
paths = io.RunPaths(run)
io.write_table(paths.results / "verdicts.csv", verdicts)
of_each = evidence.words(of_findings)
of_each.columns = [f"{model}, {by}" for by, model in of_each.columns]
io.write_table(paths.results / "findings.csv", of_each.reset_index())
io.write_table(paths.results / "first_page.csv", evidence.first_page(of_findings))

# %% [markdown]
# The tables `verdicts.csv`, with every statement, and `findings.csv` of this run hold the same.
#
# ## The numbers behind the verdicts
#
# Each verdict is made from one number and its 95 % interval, or from there being none. The last
# column names the reading that would change it. First the runs of this book, then the published
# curves.

# %%
numbers = ["finding", "verdict", "number", "low", "high", "what_would_overturn"]
by_model = verdicts.set_index(["by", "model"])[numbers].round(3)

# %% tags=["hide-input", "only-judged"]
ours_shown = by_model.loc[[evidence.BOOK]].astype(object).fillna("–")
ours_shown.style.format(precision=3, escape="html").set_table_styles(
    [{"selector": "td:last-child", "props": "white-space: normal; min-width: 14rem"}]
)

# %% tags=["hide-input", "hide-output"]
theirs_shown = by_model.loc[[evidence.PAPER]].astype(object).fillna("–")
theirs_shown.style.format(precision=3, escape="html").set_table_styles(
    [{"selector": "td:last-child", "props": "white-space: normal; min-width: 14rem"}]
)

# %% [markdown]
# What makes a statement a *yes*. Where the paper's words leave a range, such as "several times",
# the threshold is the lowest that they can bear.

# %% tags=["hide-input"]
findings.thresholds().style.hide(axis="index").set_table_styles(
    [{"selector": "td", "props": "white-space: normal; min-width: 3rem"}]
)

# %% [markdown]
# ## What was fixed before, and what was not
#
# A test whose thresholds were set by someone who knew the answer proves less. These were fixed by
# the paper's own words: the first third, half and seven tenths of the neighbours, nine tenths. The
# error rate of the rule that finds a layer was set by simulation, on profiles of known shape. The
# following was chosen with results in view:
#
# - what *several times*, *near*, *the middle* and *visible* mean was set knowing the published
#   curves. None of it was moved after the verdicts had come out;
# - four things were mended when they had. Published profiles had counted as if errors of
#   neighbouring layers were independent, and igpt-medium and igpt-large had a layer then (1.5 and
#   3.1, four times *yes* together). Statement 3.1 had not asked for the whole confidence set, as
#   the word *yes* promises. An untrained profile could be too flat to pass 4.1, since the interval
#   of its range reaches below zero; and a finding of which all parts are *partly* had been a *no*
#   (DINOv2 on clip art, finding 4). Statement 2.4 was added: a high overlap afterwards means little
#   unless it was lower before;
# - by how much the overlap must fall again at the end was set knowing the fall in igpt-mini;
# - the wording of statement 3.2, and the way in which statements make up a finding, were set
#   knowing which verdicts a reader of igpt-mini's curves had arrived at by eye;
# - after a first look at the published profiles, the layer reported for a minimum became the middle
#   of the lowest window in place of the lowest single layer. A window has less noise, which is the
#   reason; but it moved igpt-medium from layer 23 to 17, beside its best layer by labels (18), and
#   the curve of labels was known. With layer 23 the advice would have been in the best set
#   for three of the four models that it chose for at the time, in place of four, at p = .065 in
#   place of .010;
# - the interval of statement 4.1 was widened, from that of a range chosen anew in every draw to
#   that of a fixed pair of layers, when igpt-mini's verdict was known; the verdict stayed.
#
# From then on the rule has been frozen: its version stands beside the layers that
# {ref}`it reports <paper-figures>`.
#
# ## What the published layers rest on
#
# Published IDs come without errors. These are read from the scatter between layers, and that takes
# an assumption: how much errors of neighbouring layers have in common. (Published label overlaps
# have the error of reading alone, so that intervals of 3.1 and 3.2 are too short.) Errors that are
# alike make a smooth curve, and the scatter shows only a part of them. Where the correlation is
# $\rho$ between neighbours and $\rho^2$ between the next but one, a second difference has
# $6 - 8\rho + 2\rho^2$ times the variance of one error, where independent ones have 6 times. No
# profile tells its own $\rho$.

# %% [markdown] tags=["only-judged"]
# Where errors are known, in the runs of this book, their correlation between neighbouring layers
# is:

# %% tags=["only-judged"]
matrices = {one.model: one.covariance(evidence.IDS) for one in of_runs}
neighbouring = {
    name: float(np.mean(np.diag(c, 1) / np.sqrt(np.diag(c)[1:] * np.diag(c)[:-1])))
    for name, c in matrices.items()
    if c is not None
}
pd.Series(neighbouring, name="correlation of neighbouring errors").round(2).to_frame()

# %% [markdown]
# So a layer counts as found on a published profile only if it is found with each of several
# correlations, from none to {glue:text}`rho-highest`. The layers for each of them (– for none):

# %%
published_networks = [one for one in networks if one.by == evidence.PAPER]
layers = {
    one.model: {rho: found.layer for rho, found in one.profile().alike.items()}
    for one in published_networks
}
layers = pd.DataFrame(layers, dtype=float).T.rename_axis(columns="correlation")
layers.style.format("{:.0f}", na_rep="–", escape="html").format_index("{:g}", axis=1)

# %% tags=["hide-input"]
glue("rho-highest", float(max(findings.CORRELATIONS)), display=False)
before = layers.iloc[:, 0].notna()
glue("n-found-before", int(before.sum()), display=False)
glue("n-found-lost", int((before & layers.isna().any(axis=1)).sum()), display=False)

# %% [markdown]
# If errors were independent, {glue:text}`n-found-before` published profiles would have a layer;
# {glue:text}`n-found-lost` of them lose it to some correlation. For these the tables above say *not
# testable* of what follows the peak and of labels at the minimum: the published material can't
# settle it. {ref}`paper-controls` counts what the rule finds when it is told a wrong correlation.

# %% [markdown]
# ## The profiles
#
# {numref}`fig-first-page`, on the first page, has what findings 1 and 4 are about: the published
# profiles, each panel on its own axis from zero, and runs of this book with their untrained
# networks. This chapter draws it for that page.

# %% tags=["hide-input"]
ours = comparison.curves(rules, results)
runs = comparison.measured_runs(rules, results)
ids_of = {one.model: one for one in of_runs}
in_front = [name for name in front if name in ids_of] or list(ids_of)[:1]
io.note_facts(measured=len(ours) > 0)

# %%
dimensions = pd.concat([theirs, ours]).query("quantity == 'intrinsic_dimension'")
dimensions = dimensions[dimensions.layer <= dimensions.n_blocks]
dimensions["depth"] = dimensions.layer / dimensions.n_blocks
untrained = evidence.untrained_bands([ids_of[name] for name in in_front])

# %%
of_paper = dimensions.source.isin([published.READ, published.RELEASED])
of_book = dimensions[~of_paper & dimensions.model.isin(in_front)]
shown = pd.concat([dimensions[of_paper], of_book])

# %% tags=["hide-input"]
by_whom = f"The paper: {', '.join(theirs.source.unique())}. This book: measured here"
starts = {"ImageGPT": "igpt", "ESM-2": "esm2"}
wide = figures.real_profiles(dimensions[of_paper], of_book, untrained, starts, by_whom)
narrow = figures.narrow(wide)
io.write_figure(paths.results / "first_page.svg", wide)
io.write_figure(paths.results / "first_page-narrow.svg", narrow)
io.write_table(paths.results / "first_page-data.csv", shown)

# %%
baselines = comparison.tables("overlap_baselines.csv", results)
io.note_facts(baselines=len(baselines) > 0)

# %% [markdown] tags=["only-baselines"]
# ## What the input knows
#
# A label overlap that rises through the network may only win back what averaging over the sequence
# threw away. The network's own input is the measure: its pixels or words, compared as they are.
# *Gained* is the best layer's overlap less the input's; hold it against the *error* of the latter.
# Where it is negative, and not small against that, no layer respects labels as well as the input.

# %% tags=["only-baselines"]
of_labels = (ours.quantity == "label_overlap") & (ours.k == k)
best = ours[of_labels & (ours.layer <= ours.n_blocks)].groupby("model").value.max()
against = baselines[baselines.k == k].assign(best=lambda b: b.run.map(best))
against["gained"] = against.best - against.overlap
columns = ["run", "baseline", "overlap", "error", "best", "gained"]
against[columns].round(3).set_index(["run", "baseline"])

# %% [markdown]
# ## Model by model
#
# A published number is compared with ours of the same model, quantity, layer and $k$. A run counts
# for a model when it has its name. Two numbers agree when they differ by no more than the published
# error (that of our reading, where the number was read off a figure) plus `errors` of our standard
# errors.

# %%
compared = comparison.compare(theirs, ours, errors)

# %% [markdown]
# A model counts as reproduced when a share `share_to_agree` of its numbers agrees: some of many
# fall outside by chance. A run so small that its typical tolerance exceeds `max_tolerance` of the
# height of the curve proves nothing, and is said to be too uncertain.

# %%
answer = comparison.verdicts(compared, share_to_agree, max_tolerance)
answer = answer.join(runs[["N", "rule"]])
answer.round(3).astype(object).fillna("–")

# %% tags=["hide-input"]
totals = answer[["numbers", "agrees", "differs"]].sum()
glue("n-models", len(answer), display=False)
glue("n-run", int((answer.verdict != "not run here").sum()), display=False)
glue(
    "n-reproduced",
    int(answer.verdict.str.startswith("reproduced").sum()),
    display=False,
)
for name, value in totals.items():
    glue(f"n-{name}", int(value), display=False)

# %% [markdown]
# Of the {glue:text}`n-models` models of the paper, {glue:text}`n-run` were run here under their own
# name, and {glue:text}`n-reproduced` are reproduced, wholly or as far as they ran. Of
# {glue:text}`n-numbers` published numbers {glue:text}`n-agrees` agree and {glue:text}`n-differs`
# differ. The others were not run: they are neither confirmed nor refuted by this book.
#
# ## Number by number
#
# The same by quantity, with the largest difference that occurs:

# %%
counts = comparison.agreement(compared)
counts.round(3).astype(object).fillna("–")

# %% [markdown]
# And all of the numbers, one by one. They are also in the table `reproduction.csv` of this run.

# %% tags=["hide-output"]
about = ["model", "quantity", "layer", "value", "error", "source"]
outcome = ["ours", "ours_error", "difference", "tolerance", "verdict"]
shown = compared[about + outcome].style.hide(axis="index")
shown.format(precision=3, na_rep="–", escape="html")

# %%
io.write_table(paths.results / "reproduction.csv", compared)

# %% [markdown] tags=["only-measured"]
# ## The scale rules on every run
#
# A rule changes the height of a profile. If it changed the shape too, the paper's conclusions would
# hang on it; {numref}`{{run}}-fig-rules` compares the shapes. Correlations are over layers 0 to $L$
# with the rule that the paper's text names, `paper_text`; heights are ratios of the means. A smooth
# rise and fall over a few dozen layers makes correlations high, so look also at where the ID is
# highest.

# %% tags=["only-measured"]
profiles = comparison.tables("id_profile.csv", results)
ruled = comparison.rule_agreement(profiles)
ruled.round(3)

# %% tags=["only-measured"]
mean = profiles.groupby(["run", "rule"]).id.transform("mean")
profiles["relative"] = profiles.id / mean
profiles["relative_err"] = profiles.id_err / mean

# %% tags=["hide-input", "only-measured"] mystnb={"figure": {"name": "{{run}}-fig-rules", "caption": "The scale rules on every run: each profile over its own mean, with one standard error, so that only the shape is left. Where the curves of two rules lie apart by more than their bands, the shape depends on the rule."}, "image": {"alt": "ID profiles over their mean under the scale rules, one panel a run"}}
names = ", ".join(f"{name} (N = {row.N:,})" for name, row in runs.iterrows())
figures.rule_shapes(profiles, f"measured here: {names}")

# %% [markdown] tags=["only-measured"]
# ## The number of samples
#
# More samples have nearer neighbours, so that the same estimator looks at a smaller scale. TwoNN on
# all of a run's samples and on random halves, quarters and eighths of them, at three layers
# ({numref}`{{run}}-fig-number`): the first, that of the highest dimension with all samples, and the
# final norm.

# %% tags=["only-measured"]
scaling = comparison.tables("id_scaling.csv", results)
halved = scaling[(scaling.method == "twonn") & (scaling.scale <= 8)]
halved = halved[halved.layer <= halved.n_blocks]

# %% tags=["only-measured"]
whole = halved[halved.scale == 1]
peaks = whole.loc[whole.groupby("run").id.idxmax()].set_index("run").layer
places = [
    halved.layer == 0,
    halved.layer == halved.run.map(peaks),
    halved.layer == halved.n_blocks,
]
place = np.select(places, ["first layer", "highest", "final norm"], "other")
at_places = halved.assign(place=place)[place != "other"]

# %% tags=["hide-input", "only-measured"] mystnb={"figure": {"name": "{{run}}-fig-number", "caption": "Intrinsic dimension by TwoNN against the number of points, a panel a run, at three layers (two where the first is the highest). Bars are one standard error: over disjoint subsets, and for all points that of the fit. Where a curve is not level at its right end, the height depends on how many samples there were. Runs of one model on the same data should agree where they have the same number of points."}, "image": {"alt": "Intrinsic dimension against the number of points on a logarithmic axis, a curve for each run and layer"}}
figures.id_against_samples(
    at_places, f"TwoNN, nearest neighbours; measured here: {names}"
)

# %% [markdown] tags=["only-measured"]
# What matters for the paper is whether the shape stays. The correlation over the layers of the
# profile of a half, a quarter and an eighth of the points with that of all of them:

# %% tags=["only-measured"]
shapes = {}
for name, part in halved.groupby("run"):
    ids = part.pivot(index="layer", columns="scale", values="id")
    shapes[name] = ids.corr()[1].drop(1)
shapes = pd.DataFrame(shapes).T.rename(columns="1/{:.0f}".format)
shapes.rename_axis(index="run", columns="points").style.format(
    "{:.3f}", na_rep="–", escape="html"
)

# %% tags=["hide-input"]
for by, name in {evidence.PAPER: "theirs", evidence.BOOK: "ours"}.items():
    words = verdicts.verdict[verdicts.by == by]
    for verdict in findings.VERDICTS:
        key = f"{name}-{verdict.replace(' ', '-')}"
        glue(key, int((words == verdict).sum()), display=False)

# %% tags=["hide-input", "only-measured"]
others = ruled.query("rule != 'paper_text'")
for column, name in {"correlation": "alike", "height": "height"}.items():
    glue(f"{name}-low", float(others[column].min()), display=False)
    glue(f"{name}-high", float(others[column].max()), display=False)

# %% [markdown]
# ## What we saw
#
# - Models of the paper that were run here under their own name: {glue:text}`n-run` of
#   {glue:text}`n-models`; numbers that agree: {glue:text}`n-agrees` of {glue:text}`n-numbers`.
# - Statements on the published curves: {glue:text}`theirs-yes` yes, {glue:text}`theirs-partly`
#   partly, {glue:text}`theirs-no` no, {glue:text}`theirs-not-testable` not testable.
# - Statements on the runs of this book: {glue:text}`ours-yes` yes, {glue:text}`ours-partly` partly,
#   {glue:text}`ours-no` no, {glue:text}`ours-not-testable` not testable. Here runs that read the
#   same weights are counted each; the table of findings above counts them once.

# %% [markdown] tags=["only-measured"]
# - The other scale rules give profiles whose correlation with that of `paper_text` is
#   {glue:text}`alike-low:.2f` for the run where they agree least, and read
#   {glue:text}`height-low:.2f` to {glue:text}`height-high:.2f` times its height. A height means
#   nothing without its scale.
