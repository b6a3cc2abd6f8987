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
# ({{run}}-extract)=
# # Read the representations
#
# In this chapter:
#
# - every sample passes once through the network, and every layer is listened to;
# - a layer's output is averaged over the sequence, so that each sample is one point a layer;
# - the arrays go to disk as they are made: memory holds one batch, whatever the number of samples.

# %% tags=["parameters"]
run = "igpt-mini"
model = "igpt"
checkpoint = "assets/igpt-mini/trained.safetensors"
model_options = {}
dataset = "fashion-mnist-14"
split = "test"
n_per_class = 500
dataset_options = {}
data_dir = "data"
site = "ln_1"
pool = "mean"
dtype = "float32"
device = "auto"
batch_size = 0
batch_tokens = 0
control_seed = 0
untrained_control = True
n_completions = 10
scheduler = ""
resources = {}
samples_per_task = 5000

# %% tags=["hide-input"]
import shutil
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from georep_utils import clouds as extract, figures, parallel as cluster
from georep_utils.data import datasets, images as tokens
from georep_utils.models import load as models
from georep_utils.io import RunPaths

figures.use_style()
paths = RunPaths(run)

# %% [markdown]
# ## Model and data
#
# The model is put in evaluation mode. The places to listen are those of the paper {cite}`valeriani2023`: the output of
# the *first normalisation of each block*, then the final norm. ImageGPT has one more, its logits.

# %%
how = {
    "device": device,
    "dtype": dtype,
    "site": site,
    "pool": pool,
    "data_dir": data_dir,
} | model_options
load_model = partial(models.load, model, checkpoint or None, **how)
load_data = partial(
    datasets.load, dataset, split, n_per_class or None, data_dir, **dataset_options
)
net, data = cluster.once(load_model), cluster.once(load_data)
net.check(data)
print(
    f"{net.name}: {net.n_blocks} blocks, layers {net.layers[0]}..{net.layers[-1]}, on {net.device}"
)
print(f"{data.name}: {len(data):,} samples of {data.kind}")

# %% [markdown]
# For sample $i$ with tokens $t = 1, \dots, T$, the representation at layer $l$ is the mean over the sequence,
#
# $$ x_i^{(l)} = \frac{1}{T} \sum_{t=1}^{T} h_{i,t}^{(l)} \in \mathbb{R}^{d_l} , $$
#
# in float32. Layers are numbered $0, \dots, L-1$ for the inputs of the $L$ blocks and $L$ for the final norm.

# %% [markdown]
# A task is a run of batches, and needs nothing from any other: all of them here, or some each on the workers of a cluster
# ({ref}`scaling-out`), a model a worker. A batch writes its own rows of the files.


# %%
def do(load_model, target, numbers):
    """Read the samples of some batches; their representations are left in `target`."""
    extract.work(
        cluster.once(load_model),
        cluster.once(load_data),
        target,
        numbers,
        progress=not scheduler,
    )


def represent(load_model, target):
    """Representations of every sample at every layer, left in `target`."""
    budget = batch_tokens or None
    if "GPU" in resources and not (batch_size or batch_tokens):
        budget = extract.BATCH_TOKENS["cuda"]
    net = cluster.once(load_model)
    todo = extract.prepare(net, data, target, None, batch_size or None, budget)
    parts = -(-len(data) // samples_per_task) if scheduler else 1
    cluster.map(
        partial(do, load_model, target),
        [numbers for numbers in np.array_split(todo, parts) if len(numbers)],
        scheduler,
        resources,
        progress="tasks" if scheduler else "",
        shared=target.parent if scheduler else None,
    )
    return extract.finish(net, data, target)


# %%
representations = represent(load_model, paths.representations)
speed = representations.n_samples / representations.seconds
print(
    f"{len(representations)} layers of {representations[0].shape} in {representations.seconds:.0f} s, {speed:.0f} samples/s"
)

# %% [markdown]
# Everything below this line, and every later chapter, reads these arrays. To use them elsewhere, one line is enough:
# `np.load("data/runs/{{run}}/representations/layer_12.npy", mmap_mode="r")`.

# %% [markdown]
# ## The control: the same network before training
#
# A profile means something only beside that of an untrained network of the same sizes, on the same samples.

# %%
control = paths.representations.with_name("representations-untrained")
if untrained_control:
    represent(partial(load_model, random_init_seed=control_seed), control)
else:
    shutil.rmtree(control, ignore_errors=True)

# %% [markdown]
# ## Does the model know its data?
#
# The loss on samples that it never saw, in nats a token, against guessing evenly among the colours.

# %%
held_out = guess = None
if data.kind == "tokens" and net.net.causal:
    few = np.random.default_rng(0).permutation(len(data))[:500]
    held_out = np.mean(
        [
            net.loss(data.inputs[rows])
            for rows in np.array_split(np.sort(few), -(-len(few) // 50))
        ]
    )
    guess = np.log(net.net.n_vocab)
    print(f"{held_out:.3f} nats a token; an even guess costs {guess:.3f}")


# %% [markdown]
# An autoregressive model can also be asked to continue. It sees the upper half of an image and draws the lower half,
# pixel by pixel.


# %%
def complete(pixels, seed=0):
    """Sample the second half of each image (n, T), given the first."""
    pixels, generator = (
        torch.as_tensor(np.asarray(pixels, np.int64)),
        torch.Generator().manual_seed(seed),
    )
    for place in range(pixels.shape[1] // 2, pixels.shape[1]):
        with torch.inference_mode():
            logits = (
                net.net(pixels[:, : place + 1].to(net.device))[:, place].float().cpu()
            )
        pixels[:, place] = torch.multinomial(
            logits.softmax(-1), 1, generator=generator
        )[:, 0]
    return pixels.numpy()


# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-completions", "caption": "Images that the model never saw (top), their upper halves (middle), and the model's own continuation (bottom)."}, "image": {"alt": "Three rows of small images: originals, upper halves, and completions by the model"}}
if held_out is not None and data.palette is not None and n_completions:
    shown = data.inputs[np.linspace(0, len(data) - 1, n_completions).astype(int)]
    half, whole = (
        tokens.to_pixels(shown, data.palette).copy(),
        tokens.to_pixels(shown, data.palette),
    )
    half[:, half.shape[1] // 2 :] = 235
    drawn = tokens.to_pixels(complete(shown), data.palette)
    figures.images(
        np.concatenate([whole, half, drawn]), 3, side=["image", "seen", "completed"]
    )
    plt.show()

# %% [markdown]
# ## A first look
#
# The size of the points, and how many directions vary, differ widely between layers. The intrinsic dimension does not
# see the first and is far below the second.

# %% tags=["hide-input"]
rows = []
for layer in representations.layers:
    X = np.asarray(representations[layer][: min(2000, len(data))], np.float64)
    variances = np.linalg.svd(X - X.mean(0), compute_uv=False) ** 2
    rows.append(
        (
            layer,
            X.shape[1],
            np.linalg.norm(X, axis=1).mean(),
            variances.sum() ** 2 / (variances**2).sum(),
        )
    )
look = pd.DataFrame(
    rows, columns=["layer", "width", "mean norm", "participation ratio"]
).set_index("layer")
look.iloc[:: max(1, len(look) // 8)].round(2)

# %% [markdown]
# The participation ratio, $(\sum_j \lambda_j)^2 / \sum_j \lambda_j^2$ over the eigenvalues of the covariance, counts the
# linear directions that matter.
#
# ## What we saw

# %% tags=["hide-input"]
learned = (
    ""
    if held_out is None
    else (
        f"- The model predicts unseen pixels at {held_out:.3f} nats a token (an even guess: {guess:.3f}).\n"
    )
)
Markdown(f"""
- {len(data):,} samples became {len(representations)} clouds of {len(data):,} points, at {speed:.0f} samples a second.
{learned}- Linear directions that matter: from {look["participation ratio"].min():.1f} to {look["participation ratio"].max():.1f}, depending on the layer.
""")
