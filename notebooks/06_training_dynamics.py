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
# ({{run}}-training-dynamics)=
# # Follow the geometry over training
#
# In this chapter:
#
# - the same samples pass through checkpoints of one model, from untrained to fully trained;
# - the ID profile and the label overlap are drawn for each: Fig. 3 of the paper;
# - what is there from the start is told from what training adds.

# %% tags=["parameters"]
run = "igpt-mini"
model = "igpt"
checkpoints = {}
model_options = {}
dataset = "fashion-mnist-14"
split = "test"
n_per_class = 200
dataset_options = {}
data_dir = "data"
device = "auto"
dtype = "float32"
batch_tokens = 0
decimation = 4
label_k = 10
range_max = 64
seed = 0

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from tqdm import tqdm

from georep_utils import clouds as extract, figures
from georep_utils.data import datasets
from georep_utils.geometry import neighbors, overlap, scale_rules as dimension
from georep_utils.models import load as models
from georep_utils.io import RunPaths, UserError, safe_name

figures.use_style()
paths = RunPaths(run)
if len(checkpoints) < 2:
    raise UserError(
        f"run {run} names {len(checkpoints)} checkpoints; expected two or more, as name: file, below training_dynamics"
    )
trained = [
    checkpoint
    for checkpoint in checkpoints.values()
    if checkpoint not in (None, "untrained")
]
if not trained:
    raise UserError(
        f"run {run} names no trained checkpoint; expected one at least, from which sizes are read"
    )
data = datasets.load(dataset, split, n_per_class or None, data_dir, **dataset_options)

# %% [markdown]
# ## One profile a checkpoint
#
# Nothing is new here but the loop: extract, find neighbours, read the ID with TwoNN at $N/4$, count labels among the
# neighbours. A checkpoint that is called `untrained` is the network of the last one with random weights.

# %%
rows, losses, largest = [], {}, min(range_max, 2 ** ((len(data) - 1).bit_length() - 1))
for name, checkpoint in tqdm(checkpoints.items(), mininterval=1):
    start = {} if checkpoint in trained else {"random_init_seed": seed}
    net = models.load(
        model,
        checkpoint if checkpoint in trained else trained[-1],
        device=device,
        dtype=dtype,
        data_dir=data_dir,
        **model_options | start,
    )
    folder = paths.representations.with_name("dynamics") / safe_name(
        name.replace("/", "-"), "checkpoint"
    )
    representations = extract.extract(
        net, data, folder, batch_tokens=batch_tokens or None, progress=False
    )
    if data.kind == "tokens" and net.net.causal:
        losses[name] = np.mean(
            [net.loss(data.inputs[i :: max(5, len(data) // 50)]) for i in range(5)]
        )
    for layer in representations.layers:
        X = np.asarray(representations[layer])
        near = neighbors.nearest_neighbors(X, label_k, largest, device)
        twonn = dimension.twonn_scaling(
            X, (decimation,), seed=seed, device=device
        ).iloc[0]
        shared = (
            np.nan
            if data.labels is None
            else overlap.label_overlap(near, data.labels, label_k)
        )
        rows.append((name, layer, layer / net.n_blocks, twonn.id, twonn.id_err, shared))
dynamics = pd.DataFrame(
    rows, columns=["checkpoint", "layer", "depth", "id", "id_err", "label_overlap"]
)
dynamics["n_samples"] = len(data)

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-dynamics", "caption": "The paper's Fig. 3, for this run: intrinsic dimension (left) and label overlap (right) against relative depth, from the untrained network (dark) to the trained one (bright)."}, "image": {"alt": "Two panels: intrinsic dimension and label overlap against relative depth, a curve a checkpoint"}}
fig, axes = figures.panels(2, width=9)
shades = plt.get_cmap("plasma")(np.linspace(0.05, 0.85, len(checkpoints)))
for (name, part), shade in zip(dynamics.groupby("checkpoint", sort=False), shades):
    figures.profile(
        axes[0], part.depth, part.id, part.id_err, name=name, color=shade, marker=""
    )
    figures.profile(
        axes[1], part.depth, part.label_overlap, name=name, color=shade, marker=""
    )
axes[0].set(ylabel="intrinsic dimension", ylim=(0, None))
axes[1].set(ylabel=rf"label overlap  $\chi^{{l,gt}}_{{{label_k}}}$", ylim=(0, 1))
for axis in axes:
    figures.depth_axis(axis, "relative depth")
axes[0].legend(title="trained for")
figures.note(
    fig,
    f"{run}: {model}, {data.name}, N = {len(data):,}; TwoNN, N/n = {decimation}; measured here",
)
plt.show()

# %% tags=["hide-input"]
summary = (
    dynamics[dynamics.depth <= 1]
    .groupby("checkpoint", sort=False)
    .agg(
        lowest_id=("id", "min"),
        highest_id=("id", "max"),
        best_label_overlap=("label_overlap", "max"),
    )
)
peaks = (
    dynamics[dynamics.depth <= 1].set_index("depth").groupby("checkpoint", sort=False)
)
summary["depth of the highest ID"] = peaks.id.idxmax()
summary["depth of the best overlap"] = (
    peaks.label_overlap.idxmax() if dynamics.label_overlap.notna().all() else np.nan
)
if losses:
    summary["loss, nats a token"] = pd.Series(losses)
paths.results.mkdir(parents=True, exist_ok=True)
dynamics.to_csv(
    paths.results / "training_dynamics.csv", index=False, float_format="%.6g"
)
summary.round(3)

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
first, last = summary.iloc[0], summary.iloc[-1]
Markdown(f"""
- At `{summary.index[0]}` the ID spans {first.lowest_id:.1f} to {first.highest_id:.1f} over the layers; at `{summary.index[-1]}` {last.lowest_id:.1f} to {last.highest_id:.1f}.
- The best label overlap moves from {first.best_label_overlap:.2f} to {last.best_label_overlap:.2f}.
- The highest ID sits at relative depth {", ".join(f"{d:.2f} ({name})" for name, d in summary["depth of the highest ID"].items())}.
""")
