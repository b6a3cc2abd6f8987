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
# In this chapter, written by code from the tables that runs leave behind:
#
# - every published number beside ours: agrees, differs, or not run here;
# - every statement of the paper, tested on its own curves and on each run of this book;
# - the four scale rules, and the choice of a layer, on every run.

# %% tags=["parameters"]
run = "paper"
released_dir = "data/released"
results = "book/results"
rules = {
    "igpt-small": "igpt_release",
    "igpt-medium": "igpt_release",
    "igpt-large": "igpt_release",
}
errors = 3.0
share_to_agree = 0.9
max_tolerance = 0.1
k = 10
prominence = 0.05
near = 0.1

# %% tags=["hide-input"]
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from georep_utils import figures
from georep_utils.paper import comparison as report, published as released

figures.use_style()
archives = Path(released_dir)
theirs = released.profiles(archives if archives.is_dir() else None)
ours = report.curves(rules, results)
runs = list(ours.model.unique())

# %% [markdown]
# ## Number by number
#
# A published number agrees with ours of the same model, quantity, layer and $k$ when they differ by less than the published
# error (of our reading, where it was read off a figure) plus `errors` times our standard error. Agreement of a model means a
# share `share_to_agree` of its numbers, because some of many fall outside by chance. A run so small that its tolerance exceeds
# `max_tolerance` of the height of the curve proves nothing, and is said to be too uncertain.

# %%
compared = report.compare(theirs, ours, errors)
counts = (
    compared.groupby(["model", "quantity"], sort=False)
    .verdict.value_counts()
    .unstack(fill_value=0)
)
counts = counts.reindex(columns=["agrees", "differs", "not run here"], fill_value=0)
measured = compared[compared.verdict != "not run here"].assign(
    size=lambda c: c.difference.abs()
)
counts["largest difference"] = measured.groupby(["model", "quantity"])["size"].max()
counts.round(3).astype(object).fillna("–")

# %% tags=["hide-input"]
samples = report.tables("id_profile.csv", results)
samples = {} if samples.empty else samples.groupby("run").n_samples.first().to_dict()
answer = report.verdicts(compared, share_to_agree, max_tolerance)
answer["N here"] = pd.array([samples.get(name) for name in answer.index], dtype="Int64")
answer["rule here"] = [rules.get(name, "the run's own") for name in answer.index]
answer.round(3).astype(object).fillna("–")

# %% tags=["hide-input"]
done = answer[answer.verdict != "not run here"]
if done.empty:
    sentence = f"None of the paper's {len(answer)} models has been run here, so its {len(theirs)} numbers are neither confirmed nor refuted."
else:
    sentence = (
        f"Of the paper's {len(answer)} models {len(done)} were run here: "
        + "; ".join(
            f"{name} {row.verdict} ({row.agrees} of {row.numbers} numbers agree)"
            for name, row in done.iterrows()
        )
        + "."
    )
Markdown(
    f"**{sentence}** A run counts when it has the name of the paper's model ({', '.join(answer.index)})."
)

# %% [markdown]
# All of the numbers:

# %% tags=["hide-input", "hide-output"]
shown = compared[
    [
        "model",
        "quantity",
        "layer",
        "value",
        "error",
        "source",
        "ours",
        "ours_error",
        "difference",
        "tolerance",
        "verdict",
    ]
]
with pd.option_context("display.max_rows", None):
    display(shown.round(3).astype(object).fillna("–"))

# %% [markdown]
# ## Statement by statement
#
# What the paper concludes is not a number but a shape. Each statement is a test on curves (`report.claims`), made on the
# published curves as on ours; a dash is what was not measured or not published.

# %%
dynamics = report.tables("training_dynamics.csv", results)
tested = {}
for who, curves in {"the paper": theirs, "this book": ours}.items():
    for name, part in curves.groupby("model", sort=False):
        steps = (
            dynamics[dynamics.run == name]
            if who == "this book" and len(dynamics)
            else None
        )
        tested[who, name] = report.claims(part, steps, k, prominence, near)
claims = pd.DataFrame(tested)
wrapped = {"selector": "tbody th", "props": "white-space: normal; min-width: 13rem"}
claims.replace({True: "yes", False: "no"}).fillna("–").style.set_table_styles([wrapped])

# %% [markdown]
# ## The scale rules on every run
#
# A rule changes the height of a profile. If it changed the shape, the paper's conclusions would hang on it. Correlations are
# over layers 0 to $L$, against the rule that the paper's text names; heights are ratios of the means.

# %%
profiles = report.tables("id_profile.csv", results)
rows = []
for name, part in profiles.groupby("run") if len(profiles) else []:
    wide = part[part.depth <= 1].pivot(index="layer", columns="rule", values="id")
    plateau = part.groupby("rule").plateau.mean()
    for rule in wide.columns:
        same, height = (
            np.corrcoef(wide[rule], wide.paper_text)[0, 1],
            wide[rule].mean() / wide.paper_text.mean(),
        )
        rows.append(
            (
                name,
                rule,
                part[part.rule == rule].scale.iloc[0],
                same,
                height,
                wide[rule].idxmax(),
                plateau[rule],
            )
        )
ruled = pd.DataFrame(
    rows,
    columns=[
        "run",
        "rule",
        "N/n",
        "correlation",
        "height",
        "layer of the peak",
        "layers with a plateau",
    ],
)
ruled.round(3).set_index(["run", "rule"])

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-rules", "caption": "The four rules on every run: each profile over its own mean, so that only the shape is left."}, "image": {"alt": "ID profiles over their mean under four scale rules, one panel a run"}}
names = list(profiles.run.unique()) if len(profiles) else []
fig, axes = figures.panels(
    max(1, len(names)), width=max(6, 4 * len(names)), sharey=True, squeeze=False
)
for axis, name in zip(axes[0], names):
    for (rule, part), shade in zip(
        profiles[profiles.run == name].groupby("rule", sort=False),
        ["#00798c", "#d1495b", "#edae49", "#33333b"],
    ):
        figures.profile(
            axis,
            part.depth,
            part.id / part.id.mean(),
            part.id_err / part.id.mean(),
            name=rule,
            color=shade,
            markersize=3,
            linestyle="--" if rule == "auto" else "-",
        )
    axis.set_title(name)
    figures.depth_axis(axis, "relative depth")
if names:
    axes[0, 0].legend(fontsize=8.5)
else:
    figures.absent(axes[0, 0], "no run has finished yet")
axes[0, 0].set_ylabel("ID / its mean over layers")
figures.note(
    fig,
    "measured here: " + ", ".join(f"{name} (N = {samples[name]:,})" for name in names),
)
plt.show()

# %% [markdown]
# ## The chosen layer on every run
#
# Label overlap, accuracy of the nearest neighbour and of a linear classifier, at the layer that the ID profile chose, at the
# best one by labels, in the middle and at the end.

# %% tags=["hide-input"]
choices = report.tables("layer_choice.csv", results)
choices = choices.drop(columns=["n_blocks", "scale_rule"], errors="ignore")
choices.set_index(["run", "n_samples", "choice"]).round(3) if len(choices) else choices

# %% [markdown]
# ## The number of samples
#
# More samples have nearer neighbours, so that the same estimator looks at a smaller scale. TwoNN on all of a run's samples, and
# on random halves, quarters and eighths of them, for the run that has most.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-number", "caption": "The ID profile of one model for several numbers of samples: TwoNN, without further decimation, with the standard error over disjoint subsets. The height moves with the number of samples; compare the shapes."}, "image": {"alt": "ID profiles against relative depth, one curve a number of samples"}}
scaling = report.tables("id_scaling.csv", results)
largest = scaling.loc[scaling.n_points.idxmax(), "run"]
scaling = scaling[scaling.run == largest]
fig = figures.id_by_samples(scaling, scaling.n_blocks.iloc[0])
figures.note(
    fig, f"{largest}, TwoNN at the scale of its nearest neighbours; measured here"
)
plt.show()

# %% [markdown]
# ## What we saw


# %% tags=["hide-input"]
def tally(who):
    part = claims[who] if who in claims else pd.DataFrame()
    return f"{int((part == True).sum().sum())} of {int(part.notna().sum().sum())}"


broken = {
    name: [text for text, holds in claims["this book", name].items() if holds is False]
    for name in runs
}
failures = "".join(
    f"\n- On {name} these do not hold: {'; '.join(texts)}."
    for name, texts in broken.items()
    if texts
)
others = ruled[ruled.rule != "paper_text"]
shapes = (
    ""
    if others.empty
    else f"\n- The other scale rules correlate with `paper_text` at {others.correlation.min():.2f} or more, and read "
    f"{others.height.min():.2f} to {others.height.max():.2f} times its height."
)
Markdown(f"""
- {sentence}
- Statements that hold: {tally("the paper")} testable ones on the published curves, {tally("this book")} on the runs of this book.{failures}{shapes}
""")

# %% tags=["hide-input"]
from georep_utils.io import RunPaths

paths = RunPaths(run)
paths.results.mkdir(parents=True, exist_ok=True)
compared.to_csv(paths.results / "reproduction.csv", index=False, float_format="%.6g")
