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
# ---

# %% [markdown]
# ({{run}}-benchmarks)=
# # Count the cost
#
# In this chapter:
#
# - the time that neighbours and representations take stands against what others do, and against
#   what the machine could do;
# - the cost is followed as points and features grow, and as workers share it;
# - the effect of a lower precision on the results is measured, and what has not been measured is
#   named.

# %% tags=["parameters"]
run = "paper"  # | Name of the run.
results = "benchmarks/results"  # | Folder of what `make bench` measured.
lower = "book/results/bfloat16/text.csv"  # | Table of a text model in bfloat16.
largest_n = 10000000  # at least 1 | Most points in the table of modelled times.
rows_per_task = 100000  # at least 1 | Points of a layer in one task of chapter 03.

# %%
from pathlib import Path

import numpy as np
import pandas as pd
from myst_nb import glue
from scipy.optimize import nnls

from georep_utils import figures, io

figures.use_style()
pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## How it was measured
#
# Every comparison here is a ratio of two things that were timed in turn in one session, the median
# of several, because a single time says more about the machine than about the code. `make bench`
# measures them again, and writes one file a subject; `make bench-gpu` does what needs a GPU, and
# `benchmarks/plain_loop.py` what needs the folder of a real model.

# %%
files = [path for path in io.find(Path(results), "*.json") if "-quick" not in path.stem]
measured = {path.stem: io.read_json(path) for path in files}

# %%
parts = []
for name, result in measured.items():
    # What was measured on a GPU lies in one file a row, and belongs together.
    gpu = result["machine"]["gpu"]
    device = "GPU" if gpu else "CPU"
    table = pd.DataFrame(result["rows"]).assign(subject=gpu or name, device=device)
    parts.append(table.assign(**result["machine"], date=result["date"]))
rows = pd.concat(parts, ignore_index=True)

# %% [markdown]
# The machines. *Load before* is the mean number of busy programs in the minute before a measurement
# began, which may include the measurement before it. Other programs that go on running, at more
# than a few tenths a core, disturb even ratios.

# %%
by_subject = rows.groupby("subject", sort=False)
machines = by_subject[["processor", "cores", "gpu"]].first().fillna({"gpu": "none"})
machines["load before"] = by_subject.load.max().round(1)
machines["runs of each"] = by_subject.repeats.min().fillna(1).astype(int)
machines["date"] = by_subject.date.min()
machines

# %% [markdown]
# ## Against others
#
# *scikit-learn's way* is what the authors' code does: distances in chunks, a partition, a sort of
# what is kept. FAISS's flat index is exact too; a bare *matrix product*, block by block, is what
# all of them are built on, and finds no neighbours. The other side of extraction is transformers'
# own ImageGPT class with its eager attention; for other models it is the loop that one writes
# first: batches of 32 in the order of the data, with all hidden states. That side is always in
# float32: where *what* says bfloat16, the row compares two precisions, and part of its ratio is the
# precision.
#
# {numref}`{{run}}-fig-against` shows the ratios. The *floor* is the arithmetic at the rate of a
# large matrix product (or the bytes at the bandwidth of a large copy, where that is longer). These
# rates are measured in turn with the two sides of each comparison, since a machine that others use
# changes its speed within minutes: the floor is that of the median rate. *Floor / ours* is the
# share of our time that it accounts for: what is left is all that a better method with the same
# arithmetic could save.

# %%
SHORT = {
    "scikit-learn chunked distances with partition": "scikit-learn's way",
    "DADApy compute_distances": "DADApy",
    "transformers' ImageGPTModel, eager": "transformers, eager",
}


# %% tags=["hide-input"]
def case(row):
    """What was timed, in words."""
    if row.what == "neighbours":
        named = f"{row.n:,.0f} points, d = {row.d:.0f}, ranks to {row.range_max:.0f}"
        return f"{named}, TF32 halves" if row.get("product") == "halves" else named
    unit = "images" if pd.isna(row.get("unit")) else row.unit
    return f"{row['shape']}, {row.n:,.0f} {unit}, {row['dtype']}"


def way(row):
    """What it was timed against, with the size of a batch where there is one."""
    return row.other if pd.isna(row.batch) else f"{row.other}, {row.batch:.0f} a batch"


# %%
against = rows[rows.what.isin(["neighbours", "extraction"])].copy()
against["other"] = against.against.replace(SHORT)
against["case"] = against.apply(case, axis=1)
against["way"] = against.apply(way, axis=1)
against["of_floor"] = against.floor_seconds / against.ours_seconds

# %% tags=["hide-input"]
columns = {
    "case": "what",
    "device": "on",
    "way": "against",
    "ours_seconds": "ours, s",
    "theirs_seconds": "theirs, s",
    "theirs_over_ours": "theirs / ours",
    "floor_seconds": "floor, s",
    "of_floor": "floor / ours",
}
table = against[list(columns)].rename(columns=columns).style.hide(axis="index")
left = {"text-align": "left", "white-space": "normal", "min-width": "8rem"}
table.format(precision=2, escape="html").set_properties(["what", "against"], **left)

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-against", "caption": "How many times longer another way takes than ours: the median over repetitions, and their range. Points left of the dashed line are faster than ours. A bare matrix product finds no neighbours."}, "image": {"alt": "Ratios of times with their ranges, one row a case, a panel for neighbours and one for extraction"}}
drawn = against.rename(columns={"theirs_over_ours": "ratio"})
drawn[["low", "high"]] = drawn.ratio_range.tolist()
drawn["task"] = drawn.what + ", " + drawn.device
figures.speed_ratios(drawn, "; ".join(machines.processor.unique()) + "; measured here")

# %% [markdown]
# The same, as the range over the cases of each way:

# %%
against["precision"] = against.dtype.fillna("float32")
by_way = ["what", "device", "precision", "other"]
ratios = against.groupby(by_way, sort=False).theirs_over_ours
ratios.agg(["min", "max", "size"]).rename(columns={"size": "cases"}).round(2)

# %% [markdown]
# ## Growth
#
# Exact neighbours cost a product for each pair of points; a selection from $N^2$ distances; and the
# sorting and measuring of what was selected, which grows as $N$. A distance is the same seen from
# either of its ends, so that on a processor the products are $N^2 d$ operations, half of what a
# bare matrix product takes. So the time should be
#
# $$ t = a N^2 d + b N^2 + c N , $$ ({{run}}-eq-growth)
#
# with one constant of each, none negative. Fitted to the sizes that were measured on the processor,
# with relative weights, they say what other sizes would take on that machine;
# {numref}`{{run}}-fig-growth` compares {eq}`{{run}}-eq-growth` with what was measured. The same
# constants stand behind {ref}`the times of all runs <costs>`.


# %%
def terms(n, d):
    """What the three constants are multiplied by."""
    return np.stack([n**2 * d, n**2, n], axis=-1).astype(float)


def fit(design, seconds):
    """The three constants, by least squares of relative errors."""
    constants, _ = nnls(design / seconds[:, None], np.ones(len(seconds)))
    return constants


# %%
growth = rows[(rows.what == "growth") & (rows.device == "CPU")].copy()
seconds = growth.ours_seconds.to_numpy()
design = terms(growth.n.to_numpy(), growth.d.to_numpy())
constants = fit(design, seconds)
growth["modelled"] = design @ constants

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-growth", "caption": "Measured time of a neighbour search against the time that the cost model gives, both axes logarithmic; the dashed line is equality. Points far from it are sizes that the model does not describe."}, "image": {"alt": "Measured time against modelled time on logarithmic axes, a marker for each width"}}
growth = growth.rename(columns={"ours_seconds": "measured"})
figures.growth(growth, "neighbours with ranks to 1024, on a processor; measured here")

# %% [markdown]
# What larger clouds of 512 features would take. The hours are modelled, not measured; the sizes are
# those of the paper's selection of ImageNet, three times more, all of ImageNet, and ten million,
# which is hundreds of times more than what was measured. How far such a step can be trusted shows
# when each measured size is left out of the fit once: *from* and *to* are the least and the most
# hours of these fits, and wider by the largest relative error of the model at a size that was left
# out. A layer of up to {glue:text}`rows-per-task:,` points is a single task of chapter 03. The rows
# of larger ones are shared out, and each part computes its distances for itself: twice the
# products.

# %%
everything = np.arange(len(seconds))
left_out = [everything != i for i in everything]
refits = np.array([fit(design[kept], seconds[kept]) for kept in left_out])
missed = np.abs((design * refits).sum(axis=1) / seconds - 1).max()

# %%
sizes = np.array([90_000, 300_000, 1_281_167, 10_000_000])
sizes = sizes[sizes <= largest_n].astype(float)
wanted = terms(sizes, 512)
wanted[sizes > rows_per_task, 0] *= 2
hours = wanted @ np.vstack([constants, refits]).T / 3600
glue("rows-per-task", rows_per_task, display=False)

# %%
table = pd.DataFrame(index=pd.Index([f"{n:,.0f}" for n in sizes], name="points"))
table["operations"] = [f"{operations:.1e}" for operations in wanted[:, 0]]
table["hours a layer"] = hours[:, 0].round(2)
table["from"] = (hours.min(axis=1) * (1 - missed)).round(2)
table["to"] = (hours.max(axis=1) * (1 + missed)).round(2)

# %% [markdown]
# What is kept of a layer grows as $N$ only: 51 distances and indices of four bytes each, ten ratios
# and eleven distances at the ranks between which they are taken.

# %%
table["kept a layer, GB"] = (sizes * (51 * 8 + 10 * 4 + 11 * 4) / 1e9).round(2)
table

# %% [markdown]
# Rows of the result are independent of each other, so that workers can share them
# ({ref}`scaling-out`). What two of them gain, cluster and models being ready, both clusters on one
# machine:

# %%
workers = rows[rows.what == "scale-out"].set_index("task")
columns = {
    "ours_seconds": "two, s",
    "theirs_seconds": "one, s",
    "theirs_over_ours": "one / two",
}
counts = workers[["n", "tasks", "repeats"]].astype(int)
counts.join(workers[list(columns)].rename(columns=columns).round(2))

# %% [markdown]
# ## Lower precision
#
# bfloat16 keeps 8 significant bits of a number; TF32 keeps 11, in matrix products alone. Means over
# a sequence, and everything after extraction, stay in float32. The bundled model reads the same
# images in both; what counts is what changes in the results, and whether that is less than what
# another sample of images would change ({numref}`{{run}}-fig-dtype`): the relative standard error
# of a dimension is at least $1/\sqrt{N}$, the standard error of an overlap $p$ at most
# $\sqrt{p(1-p)/N}$.

# %%
effect = rows[rows.what == "effect of dtype"].copy()
effect["way"] = effect.dtype + ", " + effect.device
effect["id_change"] = effect.id / effect.id_float32 - 1
effect["overlap_change"] = effect.label_overlap - effect.label_overlap_float32

# %%
p = effect.label_overlap_float32
effect["id_error"] = effect.n**-0.5
effect["overlap_error"] = np.sqrt(p * (1 - p) / effect.n)

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-dtype", "caption": "Lower precision against float32, layer by layer of the bundled model: relative change of the intrinsic dimension, and change of the label overlap. The grey band is one standard error: the least that it can be on the left, and the most on the right. Changes well inside it can't be seen in the results."}, "image": {"alt": "Two panels against relative depth: change of intrinsic dimension and of label overlap, each beside its standard error"}}
note = f"igpt-mini, N = {effect.n.max():,.0f}; measured here"
figures.precision_effect(effect, note)

# %% [markdown]
# The largest changes over the layers, and the smallest share of the ten nearest neighbours of a
# point that stay the same, on average over the points of a layer:

# %%
largest = effect.assign(
    dimension=effect.id_change.abs(), overlap=effect.overlap_change.abs()
).groupby("way")
changes = largest[["dimension", "overlap"]].max()
changes.assign(same_neighbours=largest.same_neighbours.min()).style.format("{:.4f}")

# %% [markdown]
# ### A text model in bfloat16
#
# On a processor bfloat16 is off unless `extract.dtype` asks for it; where the processor has no
# instructions for it, a line says so before the work begins. With them it is networks of some width
# that gain time, since the products take most of theirs. A model of 30 blocks has more room for
# errors to grow than the bundled one:
# SmolLM2-135M on 1,000 noun glosses of ten classes, at five depths.

# %%
text = io.read_table(Path(lower))
picked = text.layer.isin(np.linspace(0, text.layer.max(), 5).round())
columns = {
    "layer": "layer",
    "id_float32": "ID, float32",
    "id": "ID, bfloat16",
    "label_overlap_float32": "label overlap, float32",
    "label_overlap": "label overlap, bfloat16",
    "same_neighbours": "same neighbours",
}
table = text.loc[picked, list(columns)].rename(columns=columns)
table.style.hide(axis="index").format(precision=3, escape="html")

# %%
id_change = (text.id / text.id_float32 - 1).abs().max()
overlap_change = (text.label_overlap - text.label_overlap_float32).abs().max()
glue("text-id-change", float(id_change), display=False)
glue("text-overlap-change", float(overlap_change), display=False)
glue("text-same", float(text.same_neighbours.min()), display=False)

# %% [markdown]
# Over all of its layers the dimension changes by at most {glue:text}`text-id-change:.2%` and the
# label overlap by at most {glue:text}`text-overlap-change:.4f`. Of the ten nearest neighbours of a
# point {glue:text}`text-same:.1%` or more stay the same, on average over the points of a layer.

# %% [markdown]
# ## Memory
#
# The search adds to the points themselves a scaled copy of them, the candidates of all rows (while
# they take less than half of the free memory; else those of a few blocks), and what it keeps of
# each point. All of it grows as the number of points; a matrix of all distances would grow as its
# square, and take {glue:text}`matrix-GiB:.0f` GiB for {glue:text}`most-points:,` points. Extraction
# writes to disk what it has read, so that the process does not grow with the samples.

# %%
names = {
    "what": "what",
    "n": "samples",
    "d": "width",
    "points_MiB": "the points, MiB",
    "added_MiB": "the search adds, MiB",
    "resident_MiB": "the whole process, MiB",
}
memory = rows[rows.what.str.startswith("peak memory")]
most = int(memory.n[memory.added_MiB.notna()].max())
glue("most-points", most, display=False)
glue("matrix-GiB", 4 * most**2 / 2**30, display=False)
memory[list(names)].rename(columns=names).style.hide(axis="index").format(
    precision=0, na_rep="", escape="html"
)

# %% [markdown]
# ## What a GPU is asked
#
# The scale of the paper needs a GPU. These measurements belong to its claim of speed, and each has
# a row here whether it was made or not: in seconds where it was.

# %%
extracts = rows.what == "extraction"
searches = (rows.what == "neighbours") & (rows.d == 512)
halves = rows.get("product", rows.what) == "halves"
effects = rows.what == "effect of dtype"
wanted = {
    "neighbours, N = 20,000, d = 768, first two": (rows.n == 20_000) & (rows.d == 768),
    "neighbours, N = 90,000, d = 512": searches & (rows.n == 90_000) & ~halves,
    "the same by products of TF32 halves": searches & (rows.n == 90_000) & halves,
    "neighbours, N = 1,281,167, d = 512": searches & (rows.n == 1_281_167),
    "extraction, iGPT-S shape, float32": extracts & (rows.dtype == "float32"),
    "extraction, iGPT-S shape, bfloat16": extracts & (rows.dtype == "bfloat16"),
    "90,000 images and their neighbours": rows.what.str.startswith("section 2"),
    "effect of TF32 on ID and overlap": effects & (rows.dtype == "tf32"),
    "effect of bfloat16 on ID and overlap": effects & (rows.dtype == "bfloat16"),
}


# %%
def said_of(found):
    """The least time of the rows that were found, in words; or that there is none."""
    if not found.any():
        return "not measured yet"
    seconds = rows.ours_seconds[found].min()
    return "measured" if np.isnan(seconds) else f"{seconds:.3g} s"


# %%
gpus = list(rows.subject[rows.device == "GPU"].unique())
on_gpu = {
    gpu: [said_of(found & (rows.subject == gpu)) for found in wanted.values()]
    for gpu in gpus or ["on a GPU"]
}
made = [bool((found & (rows.device == "GPU")).any()) for found in wanted.values()]
pd.DataFrame(on_gpu, index=wanted)

# %% tags=["hide-input"]
floors = against.groupby("what").of_floor.agg(["min", "max"])
for task, row in floors.iterrows():
    glue(f"{task}-low", float(row["min"]), display=False)
    glue(f"{task}-high", float(row["max"]), display=False)
    glue(f"{task}-room", float(1 / row["min"]), display=False)
glue("workers", float(workers.theirs_over_ours.min()), display=False)
glue("id-change", float(effect.id_change.abs().max()), display=False)
glue("overlap-change", float(effect.overlap_change.abs().max()), display=False)
glue("same-neighbours", float(effect.same_neighbours.min()), display=False)
glue("n-wanted", len(made), display=False)
glue("n-missing", made.count(False), display=False)

# %% [markdown]
# ## What we saw
#
# - Arithmetic alone accounts for {glue:text}`neighbours-low:.0%` to
#   {glue:text}`neighbours-high:.0%` of our time in finding neighbours, so that no method with the
#   same operations could be more than {glue:text}`neighbours-room:.1f` times as fast; in extraction
#   for {glue:text}`extraction-low:.0%` to {glue:text}`extraction-high:.0%`, so that by the same
#   argument none could be more than {glue:text}`extraction-room:.1f` times as fast.
# - How much faster than others that is depends on who they are: {numref}`{{run}}-fig-against` has
#   each of them with its range.
# - Two workers on two cores are at least {glue:text}`workers:.2f` times as fast as one.
# - Lower precision changes the dimension by up to {glue:text}`id-change:.2%` and the label overlap
#   by up to {glue:text}`overlap-change:.4f`; {glue:text}`same-neighbours:.1%` of the neighbours, or
#   more, stay the same, on average over the points of a layer.
# - Of {glue:text}`n-wanted` measurements that need a GPU, {glue:text}`n-missing` are still to be
#   made.
