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
#     reads: [04_intrinsic_dimension, 05_overlaps]
# ---

# %% [markdown]
# ({{run}}-explore-runs)=
# # Compare runs of your choice
#
# In this chapter:
#
# - any runs of this book, and the curves that were read off the authors' figures, can be laid over
#   each other: dimension, overlap with labels, overlap of consecutive layers.

# %% tags=["parameters"]
run = "paper"  # | Name of the run.
results = "book/results"  # | Folder with a folder of tables for each run.
shown = ["igpt-mini", "igpt-small"]  # | Runs and models that are drawn at first.
k = 10  # at least 1 | Neighbours of the overlaps in the figure on paper.

# %%
import pandas as pd
from myst_nb import glue

from georep_utils import explorers, figures
from georep_utils.paper import comparison, published

figures.use_style()

# %% [markdown]
# Two kinds of curves meet here, and the views keep them apart. Those *measured here* come from the
# tables that each run leaves below `book/results`, read at the scale that the run chose; their
# errors are standard errors. Those *read off the authors' figures* are positions of points on a
# page, and their errors are those of the reading {cite}`valeriani2023`.

# %%
ours = comparison.curves({}, results).assign(measured=True)
theirs = published.published_readings().assign(measured=False)
curves = pd.concat([ours, theirs], ignore_index=True)
kind = curves.measured.map({True: "measured here", False: "read off"}).rename("kind")
counted = curves.groupby([kind, "model", "quantity"], sort=False).size()
counted.unstack(fill_value=0).rename_axis(columns="numbers of")

# %% tags=["hide-input"]
runs = comparison.measured_runs({}, results)
about = {
    name: f"N = {row.N:,}, {row.blocks} blocks, {row.rule}"
    for name, row in runs.iterrows()
}
glue("n-runs", len(runs), display=False)
glue("n-models", theirs.model.nunique(), display=False)

# %% [markdown]
# There are {glue:text}`n-runs` runs and {glue:text}`n-models` models of the paper. Tick what to
# draw. All curves stand over relative depth, the number of the layer over the number of blocks.
# Heights of a dimension can be compared where samples and scales are the same, and heights of an
# overlap where samples, labels and $k$ are the same. Shapes can be compared more freely, as far as
# they do not hang on the scale ({ref}`{{run}}-report` has the scale rules on every run).

# %% tags=["hide-input"]
view = explorers.run_view(curves, about, shown)
explorers.Explorer("runs", "Runs and quantities over relative depth", view)

# %% [markdown]
# On paper, {numref}`{{run}}-fig-chosen-runs` has the first choice. Look at which of them rise and
# fall, and at what relative depth; a curve that was read off a figure has dashes and hollow marks.

# %% mystnb={"figure": {"name": "{{run}}-fig-chosen-runs", "caption": "Runs and models over relative depth. Left: intrinsic dimension. Right: overlap with labels. Solid curves were measured here, with a band of one standard error. Dashed ones with hollow marks were read off the authors' figures, with the error of reading; marks without a line are layers far apart."}, "image": {"alt": "Two panels over relative depth: intrinsic dimension and label overlap, a curve a run or model"}}
some = curves[curves.model.isin(shown) & curves.k.isin([k, float("nan")])]
figures.chosen_runs(some, k, note="Measured here, or read off the authors' figures.")

# %% [markdown]
# ## What we saw
#
# - Two curves may be held against each other number by number only where model, samples, scale and
#   $k$ are the same. {ref}`{{run}}-report` does so for the models of the paper that were run here.
