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
# ({{run}}-download)=
# # Get the model and the data
#
# In this chapter:
#
# - every file that the run needs is fetched, or found, and verified;
# - we look at the samples, as the network will see them, and count the classes.

# %% tags=["parameters"]
run = "igpt-mini"
model = "igpt"
checkpoint = "assets/igpt-mini/trained.safetensors"
checkpoints = {}
dataset = "fashion-mnist-14"
split = "test"
n_per_class = 500
dataset_options = {}
data_dir = "data"
data_source = ""
bundled = ""
released = False
offline = False
hub_revision = "main"
hub_endpoint = ""
openai_url = "https://openaipublic.blob.core.windows.net/image-gpt"
figshare_url = "https://ndownloader.figshare.com"
figshare_api = "https://api.figshare.com"

# %% tags=["hide-input"]
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pooch
from IPython.display import Markdown, display

from georep_utils import figures
from georep_utils.data import datasets, download, fasta as proteins, images as tokens
from georep_utils.io import REPOSITORY, UserError

figures.use_style()
folder = REPOSITORY / data_dir

# %% [markdown]
# ## Files
#
# Bundled files are compared with the checksums that the repository records. Data that have no address of their own must lie
# where the run file says.

# %%
table = []
for name, expected in (
    json.loads(Path(bundled).read_text()) if bundled else {}
).items():
    if not Path(name).is_file() or pooch.file_hash(name) != expected["sha256"]:
        raise UserError(
            f"bundled file {name} is missing or altered; expected the one in the repository: git checkout -- {name}"
        )
    table.append((name, expected["size"], "bundled, verified"))
try:
    own = (
        datasets.existing(dataset_options["path"], folder / "datasets")
        if "path" in dataset_options
        else None
    )
except UserError as error:
    raise UserError(
        f"{error}" + (f". It is {data_source}" if data_source else "")
    ) from None
if own and own.is_file():
    table.append((dataset_options["path"], own.stat().st_size, "yours, found"))

# %% [markdown]
# Others are fetched, with resume, from where their authors put them, unless they are already there. `offline` forbids
# that, and says which file has to be put where. A checkpoint that is named as OpenAI names theirs is one of theirs; a model
# other than `igpt` is a local folder, or comes from the Hugging Face hub.

# %%
wanted, theirs = [], {"imagenet32": "imagenet", "cifar10-32": "cifar10"}
for prefix in [checkpoint, *checkpoints.values()]:
    if named := re.match(r"checkpoints/igpt-(\w+?)(-bert)?/(\d+)/", prefix or ""):
        wanted += download.openai_checkpoint(
            named[1], int(named[3]), bool(named[2]), openai_url
        )
if dataset in theirs:
    wanted += download.openai_dataset(theirs[dataset], split, openai_url)
if dataset in [*theirs, "image-folder"]:
    wanted += download.openai_clusters(openai_url)
if released:
    wanted += download.released_images(figshare_url) + download.released_proteins(
        figshare_api, offline
    )

# %%
for path in download.fetch(dict.fromkeys(wanted), folder, offline):
    table.append(
        (str(path.relative_to(folder)), path.stat().st_size, "fetched, verified")
    )
    if path.suffix == ".zip":
        download.unpack(path, path.with_suffix(""))
if model != "igpt":
    for path in sorted(
        download.hub_model(
            model, folder, offline, hub_endpoint or None, hub_revision
        ).glob("[!.]*")
    ):
        table.append(
            (f"hub/{model}/{path.name}", path.stat().st_size, "fetched, verified")
        )

# %% tags=["hide-input"]
files = pd.DataFrame(table, columns=["file", "bytes", "state"])
print(f"{len(files)} files, {files.bytes.sum() / 1e6:,.1f} MB")
files.head(12)

# %% [markdown]
# ## Samples
#
# The selection is that of the paper: the *first* images of each class, class after class.

# %%
data = datasets.load(dataset, split, n_per_class or None, data_dir, **dataset_options)
counts = None if data.labels is None else np.bincount(data.labels)
names = data.label_names or (
    [] if counts is None else [str(c) for c in range(len(counts))]
)
print(
    f"{data.name}: {len(data):,} samples"
    + ("" if counts is None else f" in {(counts > 0).sum()} classes")
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-samples-shown", "caption": "Samples as the network sees them: colour tokens of the palette, one class a column."}, "image": {"alt": "A grid of small images, one class a column"}}
if data.kind == "tokens" and data.palette is not None and counts is not None:
    present = np.flatnonzero(counts)[:10]
    n_rows = min(3, counts[present].min())
    shown = np.concatenate(
        [
            [np.flatnonzero(data.labels == c)[row] for c in present]
            for row in range(n_rows)
        ]
    )
    figures.images(
        tokens.to_pixels(data.inputs[shown], data.palette),
        n_rows,
        titles=[names[c] for c in present],
    )
    plt.show()
elif data.kind in ("protein", "text"):
    for sample in data.inputs[:5]:
        print(sample[:100] + ("..." if len(sample) > 100 else ""))

# %% [markdown]
# For proteins of SCOPe the paper keeps 10,256 sequences in 288 superfamilies, by a filter that it does not state in full. What
# candidate filters leave of a file, nearest to the paper's counts first:

# %% tags=["hide-input"]
if dataset == "fasta" and data.families is not None:
    source = datasets.existing(dataset_options["path"], folder / "datasets")
    display(proteins.scope_filter_table(proteins.read_fasta(source)).head(8).round(3))
else:
    print("These samples are no proteins of SCOPe.")

# %% [markdown]
# The palette, and how often each of its entries is used. An image becomes a sequence, row by row, of the numbers of these
# entries; that is all the network sees.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-palette", "caption": "The palette, in the order of its tokens (bottom), and the share of tokens of each entry (top)."}, "image": {"alt": "Bar chart of token frequencies over a strip of palette colours"}}
if data.kind == "tokens" and data.palette is not None:
    share = np.bincount(
        data.inputs[np.arange(0, len(data), max(1, len(data) // 2000))].ravel(),
        minlength=len(data.palette),
    )
    strip = np.clip(
        data.palette if data.palette.ndim == 1 else 127.5 * (data.palette + 1), 0, 255
    ).astype(np.uint8)
    fig, (top, bottom) = plt.subplots(
        2,
        1,
        figsize=(7.2, 2.4),
        height_ratios=[4, 1],
        sharex=True,
        layout="constrained",
    )
    top.bar(range(len(share)), share / share.sum(), color=figures.color(run), width=0.9)
    top.set_ylabel("share of tokens")
    bottom.imshow(strip[None], aspect="auto", cmap="gray", vmin=0, vmax=255)
    bottom.set(yticks=[], xlabel="token")
    plt.show()

# %% [markdown]
# ## Where the model comes from

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-loss", "caption": "How the bundled model was trained: loss on training batches and on held-out images against the number of steps; the dots are the checkpoints that are kept."}, "image": {"alt": "Training and held-out loss against training step"}}
log_file = Path(checkpoint).with_name("log.json") if checkpoint else Path("none")
card = ""
if log_file.is_file():
    card = json.loads(log_file.read_text())
    log = pd.DataFrame(card["log"])
    every, kept = log[log.train_loss.notna()], log[log.checkpoint.notna()]
    fig, axis = figures.panels(height=2.8)
    axis.plot(
        every.step,
        every.train_loss,
        color=figures.CONTROL,
        lw=1,
        label="training batch",
    )
    axis.plot(
        every.step, every.held_out_loss, color=figures.color(run), label="held out"
    )
    axis.plot(
        kept.step,
        kept.held_out_loss,
        "o",
        color="black",
        ms=5,
        label="checkpoints kept",
    )
    axis.set(
        xlabel="step",
        ylabel="nats a token",
        ylim=(
            0.98 * every.held_out_loss.min(),
            min(1.5, 1.02 * every.train_loss.max()),
        ),
    )
    axis.legend()
    plt.show()

# %% tags=["hide-input"]
Markdown(
    f"The model is `{model}`"
    + (f", checkpoint `{checkpoint}`." if checkpoint else ".")
    + (
        ""
        if not card
        else f" It has {card['n_parameters']:,} parameters in {card['n_blocks']} blocks of width {card['d_model']} with {card['n_heads']} heads, and saw "
        f"{card['images_seen']:,} images of {card['data']} in {card['hours']:.1f} hours on {card['hardware']}; its loss on images it never saw is "
        f"{card['held_out_loss']:.3f} nats a token. Chapter {{ref}}`train-mini-igpt` has the code."
    )
)

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
Markdown(f"""
- {len(files)} files, {files.bytes.sum() / 1e6:,.1f} MB, all present and verified.
- {len(data):,} samples of {data.kind}{"" if counts is None else f", between {counts[counts > 0].min():,} and {counts.max():,} a class"}.
""")
