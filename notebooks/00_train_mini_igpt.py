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
# - five checkpoints are kept, from untrained to fully trained, so that the geometry can be followed over training.
#
# This is how the bundled model was made. Nothing else in the book needs this chapter to be run again; it resumes where
# it stopped, on a GPU or on a CPU.

# %% tags=["parameters"]
data_dir = "data"
out_dir = "assets/igpt-mini"
work_dir = "data/train-mini-igpt"
n_blocks = 24
d_model = 64
n_heads = 2
n_colours = 16
steps = 4400
batch_size = 32
learning_rate = 4e-3
warmup_steps = 100
decay_from = 0.5
weight_decay = 0.01
flip = False
bfloat16 = True
device = "auto"
n_threads = 0
seed = 0
save_every = 100

# %% tags=["hide-input"]
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

from georep_utils.models import imagegpt as igpt
from georep_utils.io import UserError, atomic, write_json

device = (
    ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
)
torch.set_num_threads(n_threads or torch.get_num_threads())
out_dir, work_dir = Path(out_dir), Path(work_dir)

# %% [markdown]
# ## Images
#
# Fashion-MNIST {cite}`xiao2017` has 60,000 training and 10,000 test images of ten kinds of clothing, 28 x 28 grey
# pixels each, under the MIT licence. Files that are already in `data/fashion-mnist/` are used as they are.

# %%
SHA256 = {  # of the unpacked bytes: archives of the same data are packed in more than one way
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
source = pooch.create(
    Path(data_dir) / "fashion-mnist",
    base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    registry={f"{name}.gz": None for name in SHA256},
)


def read_idx(name):
    """The array in a gzipped IDX file: two zero bytes, a type, the number of dimensions, the sizes, the bytes."""
    with gzip.open(source.fetch(f"{name}.gz")) as stream:
        raw = stream.read()
    if hashlib.sha256(raw).hexdigest() != SHA256[name]:
        raise UserError(
            f"{name}.gz is not the published file; delete it from {source.path} and run again"
        )
    n_dims = raw[3]
    shape = np.frombuffer(raw, ">u4", n_dims, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * n_dims).reshape(shape)


# %% [markdown]
# The image is halved in both directions by averaging 2 x 2 pixels, then each grey value is replaced by the nearest of
# 16 levels. The levels are the k-means centres of the training pixels, sorted from dark to bright, just as ImageGPT's
# 512 colours are k-means centres of ImageNet's.


# %%
def halve(images):
    return images.reshape(-1, 14, 2, 14, 2).mean((2, 4), dtype=np.float32)


train = halve(read_idx("train-images-idx3-ubyte"))
test = halve(read_idx("t10k-images-idx3-ubyte"))
sample = np.random.default_rng(seed).choice(train.reshape(-1, 1), 200_000)
palette = np.sort(
    KMeans(n_colours, n_init=4, random_state=seed).fit(sample).cluster_centers_[:, 0]
).astype(np.float32)
edges = (palette[1:] + palette[:-1]) / 2
train_tokens, test_tokens = (
    np.digitize(x, edges).astype(np.uint8).reshape(len(x), -1) for x in (train, test)
)

# %%
NAMES = [
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
]
with (
    atomic(out_dir.parent / "fashion-mnist-14.npz") as path,
    open(path, "wb") as stream,
):
    np.savez_compressed(
        stream,
        tokens=test_tokens,
        labels=read_idx("t10k-labels-idx1-ubyte"),
        palette=palette,
        label_names=np.array(NAMES),
    )

# %% [markdown]
# ## Model
#
# The start token, the learned positions, the norm and the separate output embedding are those of ImageGPT; see
# `georep_utils/igpt.py`, which is also what runs OpenAI's weights. Only the sizes differ.

# %%
torch.manual_seed(seed)
net = igpt.ImageGPT(n_blocks, d_model, n_heads, n_colours, train_tokens.shape[1])
net = igpt.initialise(net, seed).to(device)
n_parameters = sum(p.numel() for p in net.parameters())
print(f"{n_parameters:,} parameters on {device}")

# %% [markdown]
# On a CPU, matrix products are faster in bfloat16 and attention is faster in float32.


# %%
def attend_in_float32(attention, q, k, v):
    with torch.autocast(device, enabled=False):
        return F.scaled_dot_product_attention(
            q.float(), k.float(), v.float(), is_causal=attention.causal
        )


if device == "cpu":
    igpt.Attention.attend = attend_in_float32

# %% [markdown]
# Matrices inside the blocks are trained with Muon, which suits deep and narrow networks on a small budget; embeddings
# and norms with Adam. The learning rate rises, stays, and falls linearly to zero.

# %%
matrices = [p for p in net.blocks.parameters() if p.ndim == 2]
others = [
    p
    for name, p in net.named_parameters()
    if p.ndim != 2 or not name.startswith("blocks")
]
optimisers = [
    torch.optim.Muon(
        matrices,
        lr=learning_rate,
        weight_decay=weight_decay,
        adjust_lr_fn="match_rms_adamw",
    ),
    torch.optim.AdamW(others, lr=learning_rate, weight_decay=0.0, betas=(0.9, 0.95)),
]


def rate(step):
    return min(
        1, (step + 1) / warmup_steps, (steps - step) / (steps * (1 - decay_from))
    )


def loss_of(tokens):
    tokens = torch.as_tensor(tokens, dtype=torch.long, device=device)
    with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
        logits = net(tokens)
    return F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten())


@torch.no_grad()
def held_out_loss(n_images=2000):
    return float(
        np.mean(
            [
                loss_of(batch).item()
                for batch in np.split(test_tokens[:n_images], n_images // 100)
            ]
        )
    )


# %% [markdown]
# ## Training
#
# Each epoch is one permutation of the training images, drawn from the seed and the epoch's number, so that an
# interrupted training goes on with the very batches it would have seen.


# %%
def batch_at(step):
    per_epoch = len(train_tokens) // batch_size
    order = np.random.default_rng([seed, step // per_epoch]).permutation(
        len(train_tokens)
    )
    rows = order[step % per_epoch * batch_size :][:batch_size]
    tokens = train_tokens[rows]
    if flip:
        mirrored = tokens.reshape(-1, 14, 14)[:, :, ::-1].reshape(tokens.shape)
        tokens = np.where(
            np.random.default_rng([seed, step, 1]).random((len(tokens), 1)) < 0.5,
            mirrored,
            tokens,
        )
    return tokens


keep = {
    round(steps * part): name
    for name, part in {
        "untrained": 0,
        "1-8": 1 / 8,
        "1-4": 1 / 4,
        "1-2": 1 / 2,
        "trained": 1,
    }.items()
}
state_file, log_file = work_dir / "state.pt", work_dir / "log.json"
start, log, loss = 0, [], None
if state_file.exists():
    state = torch.load(state_file, map_location=device, weights_only=True)
    start, log = state["step"], state["log"]
    net.load_state_dict(state["net"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)


def save_checkpoint(name, step):
    out_dir.mkdir(parents=True, exist_ok=True)
    loss = held_out_loss()
    with atomic(out_dir / f"{name}.safetensors") as path:
        save_file(
            igpt.to_arrays(net, np.float16),
            path,
            {"step": str(step), "held_out_loss": f"{loss:.4f}"},
        )
    log.append({"step": step, "checkpoint": name, "held_out_loss": loss})


# %%
began = time.time() - (log[-1]["seconds"] if log and "seconds" in log[-1] else 0)
for step in tqdm(
    range(start, steps + 1), initial=start, total=steps, mininterval=10, unit="step"
):
    if step in keep and keep[step] not in [entry.get("checkpoint") for entry in log]:
        save_checkpoint(keep[step], step)
    if step > start and (step % save_every == 0 or step == steps):
        log.append(
            {
                "step": step,
                "train_loss": loss.item(),
                "held_out_loss": held_out_loss(500),
                "seconds": time.time() - began,
            }
        )
        with atomic(state_file) as path:
            torch.save(
                {
                    "step": step,
                    "log": log,
                    "net": net.state_dict(),
                    "optimisers": [o.state_dict() for o in optimisers],
                },
                path,
            )
        write_json(log_file, log)
    if step == steps:
        break
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * rate(step)
    loss = loss_of(batch_at(step))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad()

# %% [markdown]
# ## What is bundled
#
# Five checkpoints in half precision, a model card, and the checksums that the first chapter of the run verifies.

# %%
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
    "held_out_loss": next(
        entry["held_out_loss"]
        for entry in reversed(log)
        if entry.get("checkpoint") == "trained"
    ),
    "hours": log[-1].get("seconds", 0) / 3600,
    "hardware": torch.cuda.get_device_name()
    if device == "cuda"
    else f"a CPU ({torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)})",
    "log": log,
}
write_json(out_dir / "log.json", card)
files = [
    out_dir.parent / "fashion-mnist-14.npz",
    *sorted(out_dir.glob("*.safetensors")),
]
write_json(
    out_dir.parent / "manifest.json",
    {str(f): {"size": f.stat().st_size, "sha256": pooch.file_hash(f)} for f in files},
)
