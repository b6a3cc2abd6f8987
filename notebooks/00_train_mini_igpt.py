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
# (train-mini-igpt)=
# # Train a small image transformer
#
# In this chapter:
#
# - Fashion-MNIST becomes sequences of colour tokens, as ImageNet does in the paper;
# - a deep and narrow ImageGPT learns to predict each pixel from those before it;
# - five checkpoints are kept, from untrained to fully trained, so that the geometry can be followed
#   over training.
#
# This is how the bundled model was made. Nothing else in the book needs this chapter to be run
# again, and the book shows it without running it. It resumes where it stopped, on a GPU or on a
# CPU; on one core it takes less than two hours.

# %% tags=["parameters"]
data_dir = "data"  # | Folder below which the images are kept, in fashion-mnist.
out_dir = "assets/igpt-mini"  # | Folder of the checkpoints; the data set is written beside it.
work_dir = "data/train-mini-igpt"  # | Folder of the state to go on from.
n_blocks = 24  # at least 1 | Blocks of the network.
d_model = 64  # at least 1 | Width, a multiple of n_heads.
n_heads = 2  # at least 1 | Heads of the attention.
n_colours = 16  # at least 2 | Grey levels, hence tokens.
steps = 4400  # at least 1 | Optimiser steps.
batch_size = 32  # at least 1 | Images a step.
learning_rate = 4e-3  # at least 0 | Highest learning rate, of both optimisers.
warmup_steps = 100  # at least 1 | Steps over which it rises.
decay_from = 0.5  # between 0 and 1 | Share of the training after which it falls.
weight_decay = 0.01  # at least 0 | Weight decay of the matrices.
flip = False  # | Whether half of the training images are mirrored.
bfloat16 = True  # | Whether matrix products are taken in bfloat16.
device = "auto"  # | Where to train: auto, cpu, cuda or cuda:N.
n_threads = 0  # at least 0 | Threads of PyTorch; 0: as many as it takes by itself.
seed = 0  # | Seed of the weights and of the order of the images.
palette_seed = 0  # | Seed of the palette: keep it, and seeds read the same tokens.
save_every = 100  # at least 1 | Steps between two entries of the log.

# %%
import gzip
import hashlib
import time
from pathlib import Path

import numpy as np
import pooch
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from sklearn.cluster import KMeans
from tqdm import tqdm

from georep_utils.io import UserError, atomic, write_json
from georep_utils.models import imagegpt
from georep_utils.precision import find_device

# %%
device = find_device(device).type
out_dir, work_dir = Path(out_dir), Path(work_dir)
if n_threads:
    torch.set_num_threads(n_threads)

# %% [markdown]
# ## Images
#
# Fashion-MNIST {cite}`xiao2017` has 60,000 training and 10,000 test images of ten kinds of
# clothing, 28 x 28 grey pixels each, under the MIT licence. Files that are already in
# `data/fashion-mnist/` are used as they are. Archives of the same data are packed in more than one
# way, so that checksums are of the unpacked bytes.

# %%
SHA256 = {
    "train-images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
AXES = {name: 3 if "images" in name else 1 for name in SHA256}
FILES = {name: f"{name}-idx{AXES[name]}-ubyte.gz" for name in SHA256}

# %%
source = pooch.create(
    Path(data_dir) / "fashion-mnist",
    base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    registry=dict.fromkeys(FILES.values()),
)

# %% [markdown]
# The files have the IDX format: two zero bytes, a type, the number of dimensions, the sizes as
# big-endian numbers of four bytes, and then the values.


# %%
def read_idx(name):
    """The array of unsigned bytes in a gzipped IDX file."""
    with gzip.open(source.fetch(FILES[name])) as stream:
        raw = stream.read()
    if hashlib.sha256(raw).hexdigest() != SHA256[name]:
        raise UserError(
            f"{FILES[name]} is not the published file; expected that of Fashion-MNIST; "
            f"delete it from {source.path} and run again"
        )
    n_dims = raw[3]
    shape = np.frombuffer(raw, ">u4", n_dims, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * n_dims).reshape(shape)


# %% [markdown]
# An image is halved in both directions by averaging 2 x 2 pixels: 14 x 14 are left, a sequence of
# 196. At full size the sequence would be four times as long, and attention, which compares every
# position with every earlier one, sixteen times as expensive.


# %%
def halve(images):
    """Images (n, 28, 28) as means (n, 14, 14) of 2 x 2 pixels."""
    return images.reshape(-1, 14, 2, 14, 2).mean((2, 4), dtype=np.float32)


train = halve(read_idx("train-images"))
test = halve(read_idx("t10k-images"))

# %% [markdown]
# ## Tokens
#
# Each grey value is replaced by the nearest of 16 levels. The levels are the $k$-means centres of
# training pixels, sorted from dark to bright, just as ImageGPT's 512 colours are the $k$-means
# centres of ImageNet's {cite}`chen2020`.

# %%
rng = np.random.default_rng(palette_seed)
pixels = rng.choice(train.reshape(-1, 1), 200_000)
clusters = KMeans(n_colours, n_init=4, random_state=palette_seed).fit(pixels)
palette = np.sort(clusters.cluster_centers_[:, 0]).astype(np.float32)

# %% [markdown]
# On a line, the nearest centre is found by the midpoints between neighbouring ones:


# %%
def tokens_of(images):
    """Images (n, 14, 14) of grey values as tokens (n, 196), row by row."""
    midpoints = (palette[1:] + palette[:-1]) / 2
    return np.digitize(images, midpoints).astype(np.uint8).reshape(len(images), -1)


train_tokens, test_tokens = tokens_of(train), tokens_of(test)

# %% [markdown]
# The test images, which no training step sees, are the data set `fashion-mnist-14` of this book.

# %%
NAMES = ["T-shirt", "trouser", "pullover", "dress", "coat"]
NAMES += ["sandal", "shirt", "sneaker", "bag", "ankle boot"]

# %%
bundle = {
    "tokens": test_tokens,
    "labels": read_idx("t10k-labels"),
    "palette": palette,
    "label_names": np.array(NAMES),
}
with atomic(out_dir.parent / "fashion-mnist-14.npz") as path:
    with open(path, "wb") as stream:
        np.savez_compressed(stream, **bundle)

# %% [markdown]
# ## Model
#
# The start token, the learned positions, the norm and the separate output embedding are those of
# ImageGPT; see `georep_utils/models/imagegpt.py`, which is also what runs OpenAI's weights. Only
# the sizes differ: as many blocks as iGPT-S, so that there are as many layers to look at, but an
# eighth of its width.

# %%
torch.manual_seed(seed)
n_positions = train_tokens.shape[1]
net = imagegpt.ImageGPT(n_blocks, d_model, n_heads, n_colours, n_positions)
net = imagegpt.initialise(net, seed).to(device)
n_parameters = sum(p.numel() for p in net.parameters())
print(f"{n_parameters:,} parameters on {device}")

# %% [markdown]
# On a CPU, matrix products are faster in bfloat16, but attention is faster in float32:


# %%
def attend_in_float32(attention, q, k, v):
    """The attention of all heads, outside of automatic mixed precision."""
    q, k, v = q.float(), k.float(), v.float()
    with torch.autocast(device, enabled=False):
        return F.scaled_dot_product_attention(q, k, v, is_causal=attention.causal)


if device == "cpu":
    imagegpt.Attention.attend = attend_in_float32

# %% [markdown]
# ## Optimisers
#
# Matrices inside the blocks are trained with Muon, which makes the update of a matrix orthogonal
# and suits deep and narrow networks on a small budget; embeddings and norms with Adam.


# %%
def by_muon(name, parameter):
    """Whether a parameter is a matrix inside a block."""
    return name.startswith("blocks") and parameter.ndim == 2


named = list(net.named_parameters())
matrices = [p for name, p in named if by_muon(name, p)]
others = [p for name, p in named if not by_muon(name, p)]

# %%
muon = torch.optim.Muon(
    matrices,
    lr=learning_rate,
    weight_decay=weight_decay,
    adjust_lr_fn="match_rms_adamw",  # so that one learning rate serves both
)
adam = torch.optim.AdamW(others, lr=learning_rate, weight_decay=0.0, betas=(0.9, 0.95))
optimisers = [muon, adam]

# %% [markdown]
# The learning rate rises, stays, and falls linearly to zero.


# %%
def rate(step):
    """Share of the learning rate at a step."""
    rise = (step + 1) / warmup_steps
    fall = (steps - step) / (steps * (1 - decay_from))
    return min(1, rise, fall)


# %% [markdown]
# ## Loss
#
# The mean over all positions of minus the logarithm of the probability that the network gave to the
# token that came. Guessing evenly among $n$ colours costs $\log n$.


# %%
def loss_of(tokens):
    """Cross entropy of a batch (images, positions), in nats a token."""
    tokens = torch.as_tensor(tokens, dtype=torch.long, device=device)
    with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
        logits = net(tokens)
    return F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten())


# %%
@torch.no_grad()
def held_out_loss(n_images=2000):
    """Loss on the first test images."""
    batches = np.split(test_tokens[:n_images], n_images // 100)
    return float(np.mean([loss_of(batch).item() for batch in batches]))


# %% [markdown]
# ## Training
#
# Each epoch is one permutation of the training images, drawn from the seed and the epoch's number,
# so that an interrupted training goes on with the very batches it would have seen.


# %%
def batch_at(step):
    """The tokens (batch, positions) of one step."""
    per_epoch = len(train_tokens) // batch_size
    epoch, position = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(len(train_tokens))
    rows = order[position * batch_size : (position + 1) * batch_size]
    tokens = train_tokens[rows]
    return mirror_some(tokens, step) if flip else tokens


# %%
def mirror_some(tokens, step):
    """Half of the images of a batch, at random, mirrored left to right."""
    mirrored = tokens.reshape(-1, 14, 14)[:, :, ::-1].reshape(tokens.shape)
    chance = np.random.default_rng([seed, step, 1]).random((len(tokens), 1))
    return np.where(chance < 0.5, mirrored, tokens)


# %% [markdown]
# Five checkpoints are kept: before the first step, after an eighth, a quarter and half of them, and
# at the end. They are written in half precision, which is enough to be read and half the size.

# %%
SHARES = {"untrained": 0, "1-8": 1 / 8, "1-4": 1 / 4, "1-2": 1 / 2, "trained": 1}
keep = {round(steps * share): name for name, share in SHARES.items()}


# %%
def save_checkpoint(name, step):
    """Write the weights as they are, and their held-out loss into the log."""
    loss = held_out_loss()
    about = {"step": str(step), "held_out_loss": f"{loss:.4f}"}
    with atomic(out_dir / f"{name}.safetensors") as path:
        save_file(imagegpt.to_arrays(net, np.float16), path, about)
    log.append({"step": step, "checkpoint": name, "held_out_loss": loss})


# %% [markdown]
# The state of an interrupted training is read where there is one: weights, optimisers, log and the
# number of the step.

# %%
state_file, log_file = work_dir / "state.pt", work_dir / "log.json"
start, log = 0, []
if state_file.exists():
    state = torch.load(state_file, map_location=device, weights_only=True)
    start, log = state["step"], state["log"]
    net.load_state_dict(state["net"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)

# %%
seconds_before = log[-1].get("seconds", 0) if log else 0
began = time.time() - seconds_before


# %%
def save_state(step, train_loss):
    """Write an entry of the log, and all that is needed to go on from here."""
    entry = {
        "step": step,
        "train_loss": float(train_loss),
        "held_out_loss": held_out_loss(500),
    }
    log.append(entry | {"seconds": time.time() - began})
    state = {"step": step, "log": log, "net": net.state_dict()}
    state["optimisers"] = [optimiser.state_dict() for optimiser in optimisers]
    with atomic(state_file) as path:
        torch.save(state, path)
    write_json(log_file, log)


# %% [markdown]
# One step: set the learning rate, take the gradient of the loss on a batch, limit its length, let
# both optimisers move their parameters.


# %%
def train_step(step):
    """Move the parameters once; the loss before."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * rate(step)
    loss = loss_of(batch_at(step))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad()
    return loss.detach()


# %%
loss = None
kept = {entry.get("checkpoint") for entry in log}
bar = tqdm(range(start, steps + 1), initial=start, total=steps, mininterval=10)
for step in bar:
    if step in keep and keep[step] not in kept:
        save_checkpoint(keep[step], step)
    if step > start and (step % save_every == 0 or step == steps):
        save_state(step, loss)
    if step < steps:
        loss = train_step(step)

# %% [markdown]
# ## What is bundled
#
# Five checkpoints, a model card, and the checksums that the first chapter of the run verifies.


# %%
def hardware():
    """What the model was trained on, in words."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    n = torch.get_num_threads()
    return "a CPU (1 thread)" if n == 1 else f"a CPU ({n} threads)"


# %%
trained = [entry for entry in log if entry.get("checkpoint") == "trained"]
timed = [entry["seconds"] for entry in log if "seconds" in entry]
card = {
    "data": "Fashion-MNIST (training set)",
    "licence": "MIT",
    "n_parameters": n_parameters,
    "n_blocks": n_blocks,
    "d_model": d_model,
    "n_heads": n_heads,
    "steps": steps,
    "batch_size": batch_size,
    "images_seen": steps * batch_size,
    "held_out_loss": trained[-1]["held_out_loss"],
    "hours": timed[-1] / 3600,
    "hardware": hardware(),
    "log": log,
}
write_json(out_dir / "log.json", card)

# %%
files = [
    out_dir.parent / "fashion-mnist-14.npz",
    *sorted(out_dir.glob("*.safetensors")),
]
manifest = {
    str(file): {"size": file.stat().st_size, "sha256": pooch.file_hash(file)}
    for file in files
}
write_json(out_dir.parent / "manifest.json", manifest)

# %% [markdown]
# ## What we made
#
# - Fashion-MNIST as 196 tokens of 16 grey levels an image; its test images are a data set of the
#   book, with their palette and the names of their classes.
# - An ImageGPT of 24 blocks and 1.2 million parameters, trained with two optimisers and one
#   learning rate, whose training goes on where it was interrupted.
# - Five checkpoints, from untrained to trained, which the chapter on training dynamics follows.
