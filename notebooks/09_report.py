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
# ({{run}}-report)=
# # Was the paper reproduced?
#
# In this chapter:
#
# - every published number stands beside ours: it agrees, differs, or was not run here;
# - every statement of the paper is tested, on its own curves and on each run of this book;
# - the four scale rules, the choice of a layer and the number of samples are compared on every run.

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
prominence = 0.05  # between 0 and 1 | Least depth of a minimum, over the peak.
near = 0.1  # between 0 and 1 | What counts as close in relative depth, and as a small loss.

# %%
from pathlib import Path

import numpy as np
import pandas as pd
from myst_nb import glue

from georep_utils import figures, io
from georep_utils.paper import comparison, findings, published

figures.use_style()
pd.set_option("display.max_colwidth", None)  # a statement is shown whole

# %% [markdown]
# ## Model by model
#
# The published curves, and those of every run of this book, in one form: a row a model, quantity,
# layer and $k$.

# %%
archives = Path(released_dir)
theirs = published.published_curves(archives if archives.is_dir() else None)
ours = comparison.curves(rules, results)
runs = comparison.measured_runs(rules, results)
io.note_facts(measured=len(ours) > 0)

# %% [markdown]
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
# differ. The others were not run: they are neither confirmed nor refuted by this book, whatever
# other models show below.
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
paths = io.RunPaths(run)
io.write_table(paths.results / "reproduction.csv", compared)

# %% [markdown]
# ## Statement by statement
#
# What the paper concludes is not a number but a shape: a peak, a minimum after it, labels that are
# best respected near that minimum. `findings.claims` has one test for each statement, and applies
# it to the published curves as to ours. The statements were made from the published curves, which
# can be expected to pass: look at them as a check of the tests, and at ours for what carries over.

# %%
dynamics = comparison.tables("training_dynamics.csv", results)
checkpoints = dict(list(dynamics.groupby("run"))) if len(dynamics) else {}

# %%
tested = {}
for name, curves in theirs.groupby("model", sort=False):
    tested["the paper", name] = findings.claims(curves, None, k, prominence, near)
for name, curves in ours.groupby("model", sort=False):
    steps = checkpoints.get(name)
    tested["this book", name] = findings.claims(curves, steps, k, prominence, near)
claims = pd.DataFrame(tested)

# %% [markdown]
# A dash is what was not measured, or not published. *Near* means at most `near` of the depth from a
# layer whose label overlap can't be told from the highest; *varied* is the range of a profile over
# its mean.

# %%
words = claims.replace({True: "yes", False: "no"}).fillna("–")
wrapped = {"selector": "tbody th", "props": "white-space: normal; min-width: 13rem"}
words.style.format_index(escape="html", axis=1).set_table_styles([wrapped])

# %% [markdown]
# The statements that fail, one by one. Each is worth a look at the run's own chapter: a statement
# can fail because the network is different, because the data are, or because the errors are too
# wide to see a feature.

# %%
failing = claims.T.stack().rename("holds").reset_index()
failing.columns = ["by", "model", "statement", "holds"]
failing[failing.holds.eq(False)].drop(columns="holds").set_index("by")

# %% [markdown] tags=["only-measured"]
# ## The scale rules on every run
#
# A rule changes the height of a profile. If it changed the shape too, the paper's conclusions would
# hang on it. Correlations are over layers 0 to $L$ with the rule that the paper's text names,
# `paper_text`; heights are ratios of the means. A smooth rise and fall over a few dozen layers
# makes correlations high, so look also at the layer of the peak.

# %% tags=["only-measured"]
profiles = comparison.tables("id_profile.csv", results)
ruled = findings.rule_agreement(profiles)
ruled.round(3)

# %% tags=["only-measured"]
mean = profiles.groupby(["run", "rule"]).id.transform("mean")
profiles["relative"] = profiles.id / mean
profiles["relative_err"] = profiles.id_err / mean

# %% tags=["hide-input", "only-measured"] mystnb={"figure": {"name": "{{run}}-fig-rules", "caption": "The four rules on every run: each profile over its own mean, with one standard error, so that only the shape is left. Where the curves of two rules lie apart by more than their bands, the shape depends on the rule."}, "image": {"alt": "ID profiles over their mean under four scale rules, one panel a run"}}
names = ", ".join(f"{name} (N = {row.N:,})" for name, row in runs.iterrows())
figures.rule_shapes(profiles, f"measured here: {names}")

# %%
choices = comparison.tables("layer_choice.csv", results).round(3)
io.note_facts(choices=len(choices) > 0)

# %% [markdown] tags=["only-choices"]
# ## The chosen layer on every run
#
# Label overlap, accuracy of the nearest neighbour and of a linear classifier: at the layer that the
# ID profile chose, where it chose one, at the best layer by labels, in the middle and at the end.
# The choice is worth something where its row is better than that of the middle layer, which costs
# nothing to find.

# %% tags=["only-choices"]
choices = choices.drop(columns=["n_blocks", "scale_rule"])
choices.set_index(["run", "n_samples", "choice"])

# %% [markdown] tags=["only-measured"]
# ## The number of samples
#
# More samples have nearer neighbours, so that the same estimator looks at a smaller scale. TwoNN on
# all of a run's samples and on random halves, quarters and eighths of them, at three layers: the
# first, that of the highest dimension with all samples, and the final norm.

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

# %% tags=["hide-input", "only-measured"] mystnb={"figure": {"name": "{{run}}-fig-number", "caption": "Intrinsic dimension by TwoNN against the number of points, at three layers of every run, with the standard error over disjoint subsets. Where a curve still rises at its right end, the height depends on how many samples there were. Runs of one model with the same number of points should agree."}, "image": {"alt": "Intrinsic dimension against the number of points on a logarithmic axis, a curve for each run and layer"}}
figures.id_against_samples(
    at_places, f"TwoNN, nearest neighbours; measured here: {names}"
)

# %% [markdown] tags=["only-measured"]
# What matters for the paper is whether the shape stays. The correlation over the layers of each
# smaller number of points with all of them:

# %% tags=["only-measured"]
shapes = {}
for name, part in halved.groupby("run"):
    ids = part.pivot(index="layer", columns="n_points", values="id")
    shapes[name] = ids.corr()[ids.columns.max()]
pd.DataFrame(shapes).T.rename_axis(index="run", columns="points").round(3).fillna("–")

# %% tags=["hide-input"]
for by, name in {"the paper": "theirs", "this book": "ours"}.items():
    part = claims.get(by, pd.DataFrame())
    glue(f"{name}-hold", int(part.eq(True).sum().sum()), display=False)
    glue(f"{name}-tested", int(part.notna().sum().sum()), display=False)

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
# - Statements that hold: {glue:text}`theirs-hold` of {glue:text}`theirs-tested` testable ones on
#   the published curves, {glue:text}`ours-hold` of {glue:text}`ours-tested` on the runs of this
#   book. Runs that read the same weights are counted each: they are not independent.

# %% [markdown] tags=["only-measured"]
# - The other scale rules give profiles that correlate with that of `paper_text` at
#   {glue:text}`alike-low:.2f` or more, and read {glue:text}`height-low:.2f` to
#   {glue:text}`height-high:.2f` times its height. A height means nothing without its scale.
