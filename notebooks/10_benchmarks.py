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
# - how fast neighbours and representations are found, against what others do;
# - how the cost grows with the number of points and their width;
# - what has not been measured.

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
            "load before": r["machine"]["load"],
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
# index is exact too. The *matrix product alone* is the floor: no method built on it can be faster. The other side of extraction
# is transformers' own ImageGPT class with its eager attention.

# %% tags=["hide-input"]
against = rows[rows.what.isin(["neighbours", "extraction"])].copy()
against["case"] = [
    f"N = {r.n:,.0f}, d = {r.d:.0f}, {r.maxk:.0f} neighbours, ranks to {r.range_max:.0f}"
    if r.what == "neighbours"
    else f"{r['shape']}, {r.dtype}"
    for _, r in against.iterrows()
]
table = against.set_index(["what", "case", "against"])[
    ["ours_seconds", "theirs_seconds", "theirs_over_ours", "repeats"]
]
table.columns = ["ours, s", "theirs, s", "theirs / ours", "repeats"]
table.round(3)

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-against", "caption": "How many times longer the other way takes (ours is 1). Bars left of 1 are floors: a bare matrix product, which does not find neighbours at all."}, "image": {"alt": "Horizontal bars of speed ratios"}}
shown = against[::-1]
fig, axis = figures.panels(height=0.42 * len(shown) + 0.8)
axis.barh(
    [f"{r.case}\nagainst {r.against}" for _, r in shown.iterrows()],
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
# Exact neighbours cost a matrix product, $2 N^2 d$ operations, and a selection that grows as $N^2$ alone. One constant of each,
# fitted to the sizes measured, tells what other sizes would take on that machine.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-growth", "caption": "Time of a neighbour search against the time that the cost model $a N^2 d + b N^2$ gives; the line is equality."}, "image": {"alt": "Measured time against modelled time on logarithmic axes"}}
growth = rows[(rows.what == "growth") & rows.file.str.contains("cpu")]
design = np.stack([growth.n**2 * growth.d, growth.n**2], axis=1).astype(float)
weights = 1 / growth.ours_seconds.to_numpy()
constants = np.maximum(
    np.linalg.lstsq(design * weights[:, None], np.ones(len(growth)), rcond=None)[0], 0
)
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
            f"{(n**2 * 512 * constants[0] + n**2 * constants[1]) / 3600:,.2f}"
            for n in sizes
        ],
        "kept a layer, 50 neighbours and 10 ratios": [
            f"{n * (51 * 8 + 10 * 4 + 11 * 4) / 1e9:.2f} GB" for n in sizes
        ],
    }
).set_index("points")

# %% [markdown]
# The column of hours is modelled, not measured. The work is independent by rows: $W$ equal workers divide it by $W$; see
# {ref}`scaling-out`.
#
# ## Memory

# %% tags=["hide-input"]
memory = rows[rows.what.str.startswith("peak memory")]
columns = [
    c
    for c in ("what", "n", "d", "points_MiB", "added_MiB", "resident_MiB")
    if c in memory
]
memory[columns].round(1).set_index("what").astype(object).where(lambda t: t.notna(), "")

# %% [markdown]
# ## What has not been measured

# %% tags=["hide-input"]
wanted = {
    "neighbours, one H100, N = 90,000, d = 512, ranks to 1024": (
        (rows.what == "neighbours") & (rows.n == 90_000)
    ).any(),
    "neighbours, one H100, N = 20,000, d = 768, first two": (
        (rows.what == "neighbours") & (rows.d == 768)
    ).any(),
    "neighbours, one H100, N = 1,281,167, d = 512": (
        (rows.what == "neighbours") & (rows.n == 1_281_167)
    ).any(),
    "extraction, iGPT-S shape, one H100, float32 and bfloat16": "extract-cuda"
    in measured,
    "effect of tf32 and bfloat16 on ID and overlap, on a GPU": False,
    "90,000 images through all chapters, one H100": False,
}
pd.Series(
    {name: "measured" if done else "not measured yet" for name, done in wanted.items()},
    name="state",
).to_frame()

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
lines = []
for name, part in against[against.file.str.contains("cpu")].groupby(
    ["what", "against"], sort=False
):
    best, worst = part.theirs_over_ours.max(), part.theirs_over_ours.min()
    span = f"{best:.1f}" if len(part) == 1 else f"{worst:.1f} to {best:.1f}"
    lines.append(
        f"- {name[0].capitalize()}: {name[1]} takes {span} times as long as ours."
    )
Markdown(
    "\n".join(
        [
            *lines,
            f"- Of {len(wanted)} measurements that need a GPU, {sum(not d for d in wanted.values())} are still to be made.",
        ]
    )
)
