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
#     after: [02_extract]
# ---

# %% [markdown]
# ({{run}}-training-dynamics)=
# # Follow the geometry over training
#
# In this chapter:
#
# - the same samples pass through checkpoints of one model, from the first to the last of training;
# - the profile of the intrinsic dimension and the overlap with labels are drawn for each: Fig. 3 of
#   the paper;
# - what is there from the start is told from what training adds.

# %% tags=["parameters"]
run = "igpt-mini"  # | Name of the run.
model = "igpt"  # | The model whose checkpoints these are.
checkpoints = {}  # | Name and file or hub revision of each; untrained: random weights.
model_options = {}  # | Options of the model.
dataset = "fashion-mnist-14"  # | Name of the data set.
split = "test"  # one of train, valid, test | Which part of the data set.
n_per_class = 200  # at least 0 | Samples of each class: the first ones. 0 takes all.
dataset_options = {}  # | Options of the data set, such as the path of its file.
data_dir = "data"  # | Folder of downloads, below the repository.
device = "auto"  # | auto, cpu, cuda, or one GPU of several such as cuda:1.
dtype = "float32"  # one of float32, tf32, bfloat16 | Precision of weights and states.
batch_tokens = 0  # at least 0 | Most tokens of a batch. 0 chooses for the device.
decimation = 4  # at least 1 | TwoNN keeps one point in so many.
label_k = 10  # at least 1 | Neighbours of the label overlap.
range_max = 64  # at least 2 | Largest rank of distance ratios to keep, a power of two.
seed = 0  # at least 0 | Of the random subsets, and of random weights.
other_trainings = []  # | Runs of these checkpoints from trainings with other seeds.

# %%
from functools import partial

import numpy as np
import pandas as pd
from myst_nb import glue

from georep_utils import clouds, figures, io
from georep_utils.data import baselines, datasets
from georep_utils.geometry import overlap_errors, resampling
from georep_utils.geometry.neighbors import largest_range
from georep_utils.geometry.quick_profile import dimension_replicates, quick_profile
from georep_utils.models import likelihood, load
from georep_utils.paper import advice

# %% tags=["hide-input"]
figures.use_style()
paths = io.RunPaths(run)
if len(checkpoints) < 2:
    raise io.UserError(
        f"run {run} names {len(checkpoints)} checkpoints; expected two or more, as "
        "name: file, below training_dynamics"
    )
no_file = (None, load.UNTRAINED)
trained = [file for file in checkpoints.values() if file not in no_file]
if not trained:
    raise io.UserError(
        f"run {run} names no trained checkpoint; expected one at least, from which "
        "sizes are read"
    )

# %% [markdown]
# A trained network has a characteristic {term}`profile`, and an untrained one has another. What
# lies between them? A network that is saved several times while it learns lets us see which
# features of the profile come first, and which of them go with what the network can do.
#
# All checkpoints read the same samples, the first ones of each class, as elsewhere. There may be
# fewer than in the other chapters, because each checkpoint has to read them all.

# %%
n_first = n_per_class or None
data = datasets.load(dataset, split, n_first, data_dir, **dataset_options)
io.note_facts(**data.facts())
n = len(data)

# %% tags=["hide-input"]
others = {}
for name in other_trainings:
    folder = f"book/results/{io.safe_name(name, 'name of a run')}"
    table = io.read_table(io.found(f"{folder}/training_dynamics.csv"))
    if set(table.n_samples) != {n}:
        raise io.UserError(
            f"run {name}, another training, has read {table.n_samples.iloc[0]} samples, and this "
            f"one reads {n}: expected the same; run it again with this n_per_class, or leave it "
            "out of other_trainings"
        )
    others[name] = table
io.note_facts(trainings=len(others) > 0)

# %% [markdown]
# ## One cloud a checkpoint
#
# Each checkpoint is a model of its own, and so has a cloud of its own, with its own recipe. It is a
# file, or a revision of a model of the Hugging Face hub, such as `EleutherAI/pythia-160m@step1000`.
# The name that a run file gives to a checkpoint is a label in tables and figures and nothing else.
# Where the word `untrained` stands in the place of a file, the network of the last checkpoint is
# taken with random weights.

# %%
settings = {"device": device, "dtype": dtype, "data_dir": data_dir} | model_options


# %%
def source_of(checkpoint):
    """The model of a checkpoint, or that of the last one with random weights."""
    if checkpoint in trained:
        return load.source_of_checkpoint(model, checkpoint, **settings)
    last = load.source_of_checkpoint(model, trained[-1], **settings)
    return last.untrained(seed)


# %% [markdown]
# Nothing in the loop is new: every sample passes through the network, and neighbours are found at
# every layer. What was made before is found again. More neighbours are kept than the overlap with
# labels takes, since its error is read from halves of the samples, where a point finds half of
# them.

# %%
largest = largest_range(n, range_max)
maxk = min(3 * label_k + 20, n - 1)
found = {}
for name, checkpoint in checkpoints.items():
    source = source_of(checkpoint)
    cloud = clouds.represent(source, data, batch_tokens=batch_tokens or None)
    found[name] = clouds.find_neighbors(cloud, maxk, largest, device)

# %% [markdown]
# ## One profile a cloud
#
# With several clouds of one model the question is how their profiles differ, not at which scale a
# single one may be read. So all are read in the same way: the dimension by TwoNN {cite}`facco2017`
# on disjoint random subsets of $N$ / `decimation` points, with the standard error over the subsets,
# and the label overlap $\chi^{l,gt}_k$, which is the mean share of the $k$ nearest neighbours that
# carry a point's own label. A layer where half of the points or more are copies of others has no
# dimension and is left out.

# %%
tables = {}
for name, cloud in found.items():
    layers = {layer: cloud[layer] for layer in cloud.layers}
    near = {layer: cloud.neighbors(layer) for layer in cloud.layers}
    table = quick_profile(layers, near, data.labels, decimation, label_k, seed, device)
    table["depth"] = table.layer / cloud.n_blocks
    tables[name] = table.assign(checkpoint=name, n_samples=n)

# %% [markdown]
# And the input itself, before any network, read in the same way, with errors over the subsets: what
# it reaches needs no training to explain it.

# %%
last_source = source_of(list(checkpoints.values())[-1])
given = clouds.represent_input(data, baselines.of(data, last_source))
given = clouds.find_neighbors(given, label_k, largest, device)

# %%
layers = {layer: given[layer] for layer in given.layers}
near = {layer: given.neighbors(layer) for layer in given.layers}
of_input = quick_profile(layers, near, data.labels, decimation, label_k, seed, device)
names = dict(zip(given.layers, given.layer_names, strict=True))
of_input["baseline"] = of_input.layer.map(names)
of_input.set_index("baseline")[["id", "id_err", "label_overlap"]].round(3)

# %% [markdown]
# ### Errors that layers and checkpoints share
#
# The error over four subsets is itself uncertain by four tenths, and it says nothing of
# differences. All layers of all checkpoints are made of the same samples: what is odd in the sample
# moves them together. So each layer is read again in both halves of 19 balanced divisions of the
# samples {cite}`shao1989`, in the same halves at every layer and checkpoint. Half of the difference
# between two halves has the size of the error of the whole, and what two layers have in common goes
# when their halves are subtracted.

# %%
groups = overlap_errors.deal(n, data.labels)
halves = {}
for name, table in tables.items():
    points = (found[name][layer] for layer in table.layer[table.id.notna()])
    halves[name] = dimension_replicates(points, groups, decimation, seed, device)

# %% tags=["hide-input"]
refused = [joint.why for joint in halves.values() if joint.halves is None]
io.note_facts(joint_errors=not refused)

# %% [markdown] tags=["not-joint_errors"]
# This run has too few samples for it ({glue:text}`halves-refused`). The errors of its dimensions
# are those over the subsets. Checkpoints count as independent, and for the tops layers do, too.

# %% tags=["not-joint_errors", "hide-input"]
glue("halves-refused", refused[0], display=False)

# %% tags=["only-joint_errors"]
for name, table in tables.items():
    measured = table.id.notna()
    table.loc[measured, "id_err"] = resampling.jackknife(halves[name].halves)[0]

# %% [markdown] tags=["only-labels"]
# The overlaps with labels have errors from the same halves. Where these can't be had, the error is
# what a mean of $N$ independent shares can have at most, $\sqrt{\chi (1 - \chi) / N}$.

# %% tags=["only-labels"]
overlap_of_halves = partial(
    resampling.label_overlap_replicates, labels=data.labels, groups=groups, k=label_k
)
overlap_halves = {}
for name, table in tables.items():
    measured = table.id.notna()
    near = map(found[name].neighbors, table.layer[measured])
    joint = overlap_errors.attempt_over_layers(near, overlap_of_halves)
    overlap_halves[name] = joint
    overlaps = table[measured].rename(columns={"label_overlap": "overlap"})
    overlaps = overlap_errors.add_errors(overlaps, n, {(name,): joint}, ["checkpoint"])
    table["label_overlap_err"] = overlaps.error

# %% tags=["hide-input"]
columns = "checkpoint layer depth id id_err label_overlap label_overlap_err n_samples"
dynamics = pd.concat(tables.values()).reindex(columns=columns.split())
io.write_table(paths.results / "training_dynamics.csv", dynamics)
for row in dynamics[dynamics.id.isna()].itertuples():
    print(f"{row.checkpoint}: layer {row.layer} is mostly copies and is left out")

# %% [markdown]
# The paper reports an order of events in its Fig. 3 {cite}`valeriani2023`. Untrained, the profile
# is flat. The first peak forms early in training. The minimum behind it comes later, and later
# still, in ImageGPT, a second peak. In {numref}`{{run}}-fig-dynamics`, look first at the *height*
# of the curves and then at their *shape*; the two need not change together, nor at the same time.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-dynamics", "caption": "The paper's Fig. 3, for this run: intrinsic dimension and, where there are labels, label overlap against relative depth, from the first checkpoint (dark) to the last one (bright). Bands are one standard error. Dotted, at no depth: what the input itself reaches."}, "image": {"alt": "Intrinsic dimension and label overlap against relative depth, a curve a checkpoint"}}
samples = f"{data.name}, N = {n:,}"
called = load.without_place(model)
note = f"{run}: {called}, {samples}; TwoNN, N/n = {decimation}; measured here"
figures.training_dynamics(dynamics, label_k, note, of_input)

# %% [markdown]
# ## What changes
#
# Where is a profile highest? On a flat top the single highest layer is an accident of the sample,
# and it jumps from one end of the top to the other for no reason. So we ask for all layers that
# can't be told from the highest one, the {term}`best set` of {cite}`hsu1984`. The first and the
# last of them bound the top.

# %%
blocks = dynamics[dynamics.depth <= 1].dropna(subset="id")
blocks = blocks.groupby("checkpoint", sort=False)
summary = blocks.id.agg(mean_id="mean", lowest_id="min", highest_id="max")


# %%
def of_blocks(joint, table):
    """The replicates of the layers of a table, the first ones; None without any."""
    return None if joint.halves is None else joint.halves[..., : len(table)]


# %%
tops = {
    name: advice.top_range(t.depth, t.id, t.id_err, of_blocks(halves[name], t))
    for name, t in blocks
}
top = pd.DataFrame.from_dict(tops, "index", columns=["top_from", "top_to"])
summary = summary.join(top)

# %% [markdown] tags=["only-labels"]
# The same for the overlap with labels:

# %% tags=["only-labels"]
summary["best_overlap"] = blocks.label_overlap.max()
tops = {}
for name, t in blocks:
    again = of_blocks(overlap_halves[name], t)
    tops[name] = advice.top_range(t.depth, t.label_overlap, t.label_overlap_err, again)
best = pd.DataFrame.from_dict(tops, "index", columns=["best_from", "best_to"])
summary = summary.join(best)

# %% [markdown] tags=["only-causal"]
# And what each checkpoint can do: its loss on 250 or so of the samples, in nats a token.

# %% tags=["only-causal"]
batches = [np.arange(i, n, max(5, n // 50)) for i in range(5)]
for name, cloud in found.items():
    source = source_of(checkpoints[name])
    loss = likelihood.held_out_loss(source, data, batches, cloud.folder)
    summary.loc[name, "loss"] = loss

# %% [markdown]
# One column a checkpoint. Depths are relative: 0 is the input of the first block, 1 the final norm.
# *Top* is where the dimension is highest, *best* where the overlap is: from the first to the last
# layer of the best set. Layers between them may be lower.

# %%
summary.round(2).T

# %% [markdown]
# Two questions can be put to the first and the last checkpoint alone. Did the mean dimension
# change? A change counts that is larger than two of its standard errors. And did the top move? It
# did if the two tops, each with all layers that can't be told from its highest one, have no depth
# in common; else no movement is shown.

# %%
ends = list(summary.index[[0, -1]])
first = summary.loc[ends[0]]
last = summary.loc[ends[-1]]
moved = last.top_from > first.top_to or last.top_to < first.top_from
change = last.mean_id - first.mean_id

# %% [markdown] tags=["only-joint_errors"]
# The error of the change is read in the halves, too: both checkpoints have read the same ones.

# %% tags=["only-joint_errors"]
means = {name: of_blocks(halves[name], t).mean(axis=2) for name, t in blocks}
error, _ = resampling.jackknife(means[ends[-1]] - means[ends[0]])

# %% [markdown] tags=["not-joint_errors"]
# All layers of a checkpoint are estimated on the same random subsets, so that their errors may well
# be errors of all of them together: the error of the mean is taken as the mean of the errors, which
# is the most that it can be.

# %% tags=["not-joint_errors"]
error = np.hypot(*blocks.id_err.mean()[ends])

# %%
verdict = "lower" if change < 0 else "higher"
if abs(change) <= 2 * error:
    verdict = "not told from that of the first"

# %% tags=["hide-input"]
glue("change", float(change), display=False)
glue("change-error", float(error), display=False)
glue("change-verdict", verdict, display=False)
glue("moved", "yes" if moved else "no", display=False)
glue("lowest-mean", float(summary.mean_id.min()), display=False)
glue("lowest-at", str(summary.mean_id.idxmin()), display=False)
for name in ("mean_id", "lowest_id", "highest_id", "top_from", "top_to"):
    glue(f"first-{name}", float(first[name]), display=False)
    glue(f"last-{name}", float(last[name]), display=False)

# %% tags=["hide-input"]
inputs = of_input.set_index("baseline")
glue("input-id", float(inputs.id.max()), display=False)
glue("input-id-name", str(inputs.id.idxmax()), display=False)

# %% tags=["only-labels", "hide-input"]
glue("input-overlap", float(inputs.label_overlap.max()), display=False)
glue("input-overlap-name", str(inputs.label_overlap.idxmax()), display=False)
glue("first-overlap", float(first.best_overlap), display=False)
glue("last-overlap", float(last.best_overlap), display=False)

# %% [markdown]
# A caution. The dimension of a profile's top and that of its dip are compared at one scale. If the
# clouds become noisier or more curved while the network learns, estimates at one scale move for
# that reason alone.

# %% [markdown] tags=["not-trainings"]
# And one training is one training: nothing here says how much of the difference between two
# checkpoints would be there between two trainings from other random weights.

# %% [markdown] tags=["only-trainings"]
# ## Accidents of a training
#
# One training is one training. Another one, from other random weights and with the images in
# another order, comes to other weights, and perhaps at another profile. What all trainings have in
# common may belong to the task and the network; what only one of them has may be an accident of it.
# {glue:text}`n-trainings` networks were trained in the same way from different seeds, and read the
# same samples. They are compared at the checkpoints that all of them have; of later ones nothing is
# said. {ref}`train-mini-igpt` makes such a training, with another `seed`.

# %% tags=["only-trainings"]
trainings = pd.concat(
    [dynamics.assign(training=run)]
    + [table.assign(training=name) for name, table in others.items()]
)
counts = trainings.groupby("checkpoint", sort=False).training.nunique()
common = trainings[trainings.checkpoint.isin(counts.index[counts == len(others) + 1])]

# %% tags=["only-trainings"] mystnb={"figure": {"name": "{{run}}-fig-trainings", "caption": "The checkpoints that several trainings have in common. Each band goes from the lowest to the highest of the trainings, which differ in their random weights and in the order of the images; the line is their mean. Where two bands overlap, an accident of the training is as large as what the training did between the two."}, "image": {"alt": "Bands of intrinsic dimension and label overlap against relative depth, a band a checkpoint"}}
named = f"{called}, {len(others) + 1} trainings, {samples}"
note = f"{named}; TwoNN, N/n = {decimation}; measured here"
figures.trainings(common, label_k, note)

# %% [markdown] tags=["only-trainings"]
# In numbers, without the logits: the mean over the layers, lowest and highest of the trainings; and
# how far a layer of one training lies from the mean of all (the standard deviation over trainings,
# its root mean square over the layers).

# %% tags=["only-trainings"]
inner = common[common.depth <= 1]
measures = ["id", "label_overlap"] if io.facts().get("labels") else ["id"]
means = inner.groupby(["checkpoint", "training"], sort=False)[measures].mean()
of_layer = inner.groupby(["checkpoint", "layer"], sort=False)[measures].var()
spread = of_layer.groupby("checkpoint", sort=False).mean() ** 0.5
ends = means.groupby("checkpoint", sort=False).agg(["min", "max"])
ends.join(pd.concat({"spread": spread}, axis=1).swaplevel(axis=1))[measures].round(3)

# %% tags=["hide-input", "only-trainings"]
compared = list(spread.index)
levels = means.id.groupby("checkpoint", sort=False).mean()
glue("n-trainings", len(others) + 1, display=False)
glue("last-common", str(compared[-1]), display=False)
glue("common-change", float(levels.iloc[-1] - levels.iloc[0]), display=False)
glue("common-spread", float(spread.id.iloc[-1]), display=False)
glue("common-share", float(spread.id.iloc[-1] / levels.iloc[-1]), display=False)
at_end = inner[inner.checkpoint == compared[-1]].groupby("training")
ranges = [advice.top_range(table.depth, table.id, table.id_err) for _, table in at_end]
glue("tops-from", max(first for first, _ in ranges), display=False)
glue("tops-to", min(last for _, last in ranges), display=False)
io.note_facts(
    tops_meet=max(first for first, _ in ranges) <= min(last for _, last in ranges)
)

# %% [markdown]
# ## What we saw
#
# - The *height* of the dimension: over layers 0 to $L$ its mean is {glue:text}`first-mean_id:.2f`
#   in the first checkpoint and {glue:text}`last-mean_id:.2f` in the last. That is a difference of
#   {glue:text}`change:+.2f`, with a standard error of {glue:text}`change-error:.2f` over samples,
#   for these two networks; other random weights are not in it. By the threshold of two errors the
#   dimension of the last checkpoint is: {glue:text}`change-verdict`.
# - On the way: the lowest mean of all checkpoints is {glue:text}`lowest-mean:.2f`, at checkpoint
#   *{glue:text}`lowest-at`*.
# - How much the layers differ: in the first checkpoint the dimension lies between
#   {glue:text}`first-lowest_id:.2f` and {glue:text}`first-highest_id:.2f`, in the last between
#   {glue:text}`last-lowest_id:.2f` and {glue:text}`last-highest_id:.2f`.
# - The input itself has a dimension of {glue:text}`input-id:.1f` by the same reading
#   (*{glue:text}`input-id-name`*, the highest of those compared).
# - Layers that can't be told from the highest one lie between relative depths
#   {glue:text}`first-top_from:.2f` and {glue:text}`first-top_to:.2f` in the first checkpoint, and
#   between {glue:text}`last-top_from:.2f` and {glue:text}`last-top_to:.2f` in the last. Is a
#   movement of the top shown? By the test above: {glue:text}`moved`.

# %% [markdown] tags=["only-labels"]
# - The best overlap with labels is {glue:text}`first-overlap:.2f` in the first checkpoint and
#   {glue:text}`last-overlap:.2f` in the last. Labels took no part in the training. The input itself
#   ({glue:text}`input-overlap-name`) reaches {glue:text}`input-overlap:.2f` before any of it.

# %% [markdown] tags=["only-trainings"]
# - Between {glue:text}`n-trainings` trainings the dimension of a layer at checkpoint
#   *{glue:text}`last-common`* differs by {glue:text}`common-spread:.2f` (standard deviation), which
#   is {glue:text}`common-share:.0%` of the mean; since the first checkpoint that mean has changed
#   by {glue:text}`common-change:+.2f`.

# %% [markdown] tags=["only-trainings", "only-tops_meet"]
# - In each training the highest layer lies in a range of depths, if the errors of layers count as
#   independent. The ranges have {glue:text}`tops-from:.2f` to {glue:text}`tops-to:.2f` in common,
#   so that no difference between the trainings in the place of the top is shown.

# %% [markdown] tags=["only-trainings", "not-tops_meet"]
# - In each training the highest layer lies in a range of depths. These ranges have no depth in
#   common: the place of the top differs between trainings by more than the errors allow.
