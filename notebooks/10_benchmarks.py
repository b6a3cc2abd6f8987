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
# ({{run}}-benchmarks)=
# # Count the cost
#
# In this chapter:
#
# - how fast neighbours and representations are found, against what others do and what the machine could do;
# - how the cost grows with the number of points and their width, and shrinks with workers;
# - what a lower precision changes, and what has not been measured.

# %% tags=["parameters"]
run = "paper"
results = "benchmarks/results"
largest_n = 10000000

# %% tags=["hide-input"]
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from scipy.optimize import nnls

from georep_utils import figures

figures.use_style()
measured = {
    path.stem: json.loads(path.read_text())
    for path in sorted(Path(results).glob("*.json"))
    if not path.stem.endswith("-quick")
}
rows = pd.DataFrame(
    [
        row | {"file": name}
        for name, result in measured.items()
        for row in result["rows"]
    ]
)

# %% [markdown]
# Every figure here is a ratio of two things that were timed in turn in one run, the median of several, because a single
# time says more about the machine than about the code. `make bench` measures them again.

# %% tags=["hide-input"]
machines = pd.DataFrame(
    {
        name: {
            "processor": r["machine"]["processor"],
            "cores": r["machine"]["cores"],
            "GPU": r["machine"]["gpu"] or "none",
            "load before": round(r["machine"]["load"], 1),
            "runs of each": min(
                row["repeats"] for row in r["rows"] if "repeats" in row
            ),
            "measured": r["date"],
        }
        for name, r in measured.items()
    }
).T
machines

# %% [markdown]
# ## Against others
#
# *scikit-learn's way* is what the authors' code does: distances in chunks, a partition, a sort of what is kept. FAISS's flat
# index is exact too; a bare *matrix product*, block by block, is what all of them are built on. The other side of extraction is
# transformers' own ImageGPT class with its eager attention. The *floor* is the arithmetic at the rate of one large matrix product
# (or the bytes at the bandwidth of one large copy, where that is longer), both measured in the same run; *floor / ours* is how much of
# our time it accounts for.

# %% tags=["hide-input"]
against = rows[rows.what.isin(["neighbours", "extraction"])].copy()
short = {
    "scikit-learn chunked distances with partition": "scikit-learn's way",
    "DADApy compute_distances": "DADApy",
    "transformers' ImageGPTModel, eager": "transformers, eager",
}
against["way"] = against["against"].replace(short)
against["case"] = [
    f"{r.n:,.0f} points, d = {r.d:.0f}, ranks to {r.range_max:.0f}"
    if r.what == "neighbours"
    else f"{r['shape']}, {r.n:,.0f} images, {r['dtype']}"
    for _, r in against.iterrows()
]
against["other"] = [
    r.way if pd.isna(r.batch) else f"{r.way}, {r.batch:.0f} a batch"
    for _, r in against.iterrows()
]
against["of the floor"] = against.floor_seconds / against.ours_seconds
table = against[
    [
        "case",
        "other",
        "ours_seconds",
        "theirs_seconds",
        "theirs_over_ours",
        "floor_seconds",
        "of the floor",
    ]
]
table.columns = [
    "what",
    "against",
    "ours, s",
    "theirs, s",
    "theirs / ours",
    "floor, s",
    "floor / ours",
]
table.style.hide(axis="index").format(precision=2).set_properties(
    subset=["what", "against"],
    **{"text-align": "left", "white-space": "normal", "min-width": "8rem"},
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-against", "caption": "How many times longer the other way takes (ours is 1). Bars left of 1 are floors: a bare matrix product, which does not find neighbours at all."}, "image": {"alt": "Horizontal bars of speed ratios"}}
shown = against[::-1]
fig, axis = figures.panels(height=0.42 * len(shown) + 0.8)
axis.barh(
    [f"{r.case}\nagainst {r.other}" for _, r in shown.iterrows()],
    shown.theirs_over_ours,
    color=["#00798c" if what == "neighbours" else "#d1495b" for what in shown.what],
)
axis.axvline(1, color="black", lw=0.8)
axis.set_xlabel("their time / ours")
axis.tick_params(axis="y", labelsize=7)
figures.note(
    fig,
    "; ".join(
        f"{name}: {r['machine']['processor']}, {r['machine']['cores']} cores"
        for name, r in measured.items()
    )
    + "; measured here",
)
plt.show()

# %% [markdown]
# ## Growth
#
# Exact neighbours cost a matrix product, $2 N^2 d$ operations, a selection that grows as $N^2$ alone, and the sorting and measuring of
# what was selected, as $N$. One constant of each, none negative, fitted to the sizes measured, tells what other sizes would take on
# that machine.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-growth", "caption": "Time of a neighbour search against the time that the cost model $a N^2 d + b N^2 + c N$ gives; the line is equality."}, "image": {"alt": "Measured time against modelled time on logarithmic axes"}}
growth = rows[(rows.what == "growth") & rows.file.str.contains("cpu")]
design = np.stack([growth.n**2 * growth.d, growth.n**2, growth.n], axis=1).astype(float)
weights = 1 / growth.ours_seconds.to_numpy()
constants = nnls(design * weights[:, None], np.ones(len(growth)))[0]
fig, axis = figures.panels(width=4.6, height=3.6)
axis.loglog(design @ constants, growth.ours_seconds, "o", color="#00798c")
low, high = growth.ours_seconds.min() / 1.5, growth.ours_seconds.max() * 1.5
axis.plot([low, high], [low, high], color="black", lw=0.8)
axis.set(xlabel="modelled, s", ylabel="measured, s")
figures.note(
    fig,
    f"N from {growth.n.min():,.0f} to {growth.n.max():,.0f}, d from {growth.d.min():.0f} to {growth.d.max():.0f}; measured here",
)
plt.show()

# %% tags=["hide-input"]
sizes = [n for n in (90_000, 300_000, 1_281_167, 10_000_000) if n <= largest_n]
pd.DataFrame(
    {
        "points": [f"{n:,}" for n in sizes],
        "operations, d = 512": [f"{2 * n**2 * 512:.1e}" for n in sizes],
        "hours a layer, this machine (modelled)": [
            f"{(np.dot([n**2 * 512, n**2, n], constants)) / 3600:,.2f}" for n in sizes
        ],
        "kept a layer, 50 neighbours and 10 ratios": [
            f"{n * (51 * 8 + 10 * 4 + 11 * 4) / 1e9:.2f} GB" for n in sizes
        ],
    }
).set_index("points")

# %% [markdown]
# The column of hours is modelled, not measured. The work is independent by rows, so that workers share it ({ref}`scaling-out`).
# What two of them gain here, cluster and models being ready, both clusters on this machine:

# %% tags=["hide-input"]
workers = rows[rows.what == "scale-out"]
shared = workers.set_index("task")[
    ["n", "tasks", "ours_seconds", "theirs_seconds", "theirs_over_ours", "repeats"]
]
shared.columns = [
    "samples",
    "tasks",
    "two workers, s",
    "one worker, s",
    "one / two",
    "repeats",
]
shared.round(2).astype({"samples": int, "tasks": int, "repeats": int})

# %% [markdown]
# ## Lower precision
#
# bfloat16 keeps 8 bits of a number, TF32 keeps 11 in matrix products alone. Means over a sequence and everything after
# extraction stay in float32. The bundled model reads the same images in both; what counts is what changes in the results.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-dtype", "caption": "Lower precision against float32, layer by layer of the bundled model: relative change of the intrinsic dimension, change of the label overlap, and the share of the ten nearest neighbours that stay the same."}, "image": {"alt": "Three panels against relative depth: change of intrinsic dimension, change of label overlap, share of the same neighbours"}}
effect = rows[rows.what == "effect of dtype"].assign(
    id_change=lambda e: e.id / e.id_float32 - 1,
    overlap_change=lambda e: e.label_overlap - e.label_overlap_float32,
)
fig, axes = figures.panels(3, width=10.5, height=3.2)
for axis, column, label in zip(
    axes,
    ["id_change", "overlap_change", "same_neighbours"],
    ["relative change of ID", "change of label overlap", "same neighbours"],
):
    for (dtype, device), part in effect.groupby(["dtype", "device"]):
        figures.profile(
            axis, part.depth, part[column], name=dtype, label=f"{dtype}, {device}"
        )
    axis.set_ylabel(label)
    figures.depth_axis(axis, "relative depth")
axes[0].legend(fontsize=8.5)
axes[2].set_ylim(0, 1.02)
figures.note(fig, f"igpt-mini, N = {effect.n.max():,.0f}; measured here")
plt.show()

# %% [markdown]
# ## Memory

# %% tags=["hide-input"]
memory = rows[rows.what.str.startswith("peak memory")]
names = {
    "n": "samples",
    "d": "width",
    "points_MiB": "the points, MiB",
    "added_MiB": "the search adds, MiB",
    "resident_MiB": "the whole process, MiB",
}
memory[["what", *names]].rename(columns=names).style.hide(axis="index").format(
    precision=0, na_rep=""
)

# %% [markdown]
# ## What has not been measured

# %% tags=["hide-input"]
on_gpu = rows[rows.file.str.contains("cuda")]
wanted = {
    "neighbours, one H100, N = 90,000, d = 512, ranks to 1024": (on_gpu.n == 90_000)
    & (on_gpu.what == "neighbours"),
    "neighbours, one H100, N = 20,000, d = 768, first two": on_gpu.d == 768,
    "neighbours, one H100, N = 1,281,167, d = 512": on_gpu.n == 1_281_167,
    "extraction, iGPT-S shape, one H100, float32 and bfloat16": on_gpu.what
    == "extraction",
    "effect of TF32 and bfloat16 on ID and overlap, on a GPU": on_gpu.what
    == "effect of dtype",
    "90,000 images, extraction and 26 layers of neighbours, one H100": on_gpu.what.str.startswith(
        "section 2"
    ),
}
wanted = {name: bool(found.any()) for name, found in wanted.items()}
pd.Series(
    {name: "measured" if done else "not measured yet" for name, done in wanted.items()},
    name="state",
).to_frame()

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
lines = []
for name, part in against[against.file.str.contains("cpu")].groupby(
    ["what", "way", "shape"], sort=False, dropna=False
):
    best, worst = part.theirs_over_ours.max(), part.theirs_over_ours.min()
    span = f"{best:.1f}" if len(part) == 1 else f"{worst:.1f} to {best:.1f}"
    lines.append(
        f"- {name[0].capitalize()}: {name[1]} takes {span} times as long as ours{'' if pd.isna(name[2]) else f' ({name[2]})'}."
    )
for what, part in against.groupby("what", sort=False):
    reached = part["of the floor"]
    lines.append(
        f"- Arithmetic alone accounts for {reached.min():.0%} to {reached.max():.0%} of our time in {what}: no method could be "
        f"{1 / reached.min():.1f} times as fast with the same operations."
    )
for _, r in workers.iterrows():
    lines.append(
        f"- Two workers on two cores are {r.theirs_over_ours:.2f} times as fast as one in {r.task}."
    )
for (dtype, device), part in effect.groupby(["dtype", "device"]):
    worst = part.id_change.abs().max()
    lines.append(
        f"- {dtype} on a {'GPU' if device == 'cuda' else 'CPU'} changes the ID by at most {worst:.1%} and the label overlap by at most "
        f"{part.overlap_change.abs().max():.3f}; {part.same_neighbours.min():.0%} to {part.same_neighbours.max():.0%} of the neighbours stay the same."
    )
missing = [name for name, done in wanted.items() if not done]
lines.append(
    f"- Of {len(wanted)} measurements that need a GPU, {len(missing)} are still to be made."
)
Markdown("\n".join(lines))
