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
# - every file that the run needs is found, or fetched, and verified;
# - the samples are chosen as in the paper, and counted;
# - we look at some of them in the form in which the network reads them.

# %% tags=["parameters"]
run = "igpt-mini"  # | Name of the run.
model = "igpt"  # | igpt, or a model of the Hugging Face hub: its name, or a folder.
checkpoint = "assets/igpt-mini/trained.safetensors"  # | Weights of an ImageGPT.
model_options = {}  # | Options of the model, such as the kind of data that it reads.
checkpoints = {}  # | More checkpoints to fetch, by name: those of the training chapter.
dataset = "fashion-mnist-14"  # | Name of the data set.
split = "test"  # one of train, valid, test | Which part of the data set.
n_per_class = 500  # at least 0 | Samples of each class: the first ones. 0 takes all.
dataset_options = {}  # | Options of the data set, such as the path of its file.
data_dir = "data"  # | Folder of downloads, below the repository.
data_source = ""  # | What to say of a file that only you can put in place.
bundled = ""  # | Manifest of files that come with the repository.
released = False  # | Fetch the statistics that the authors released, too.
offline = False  # | Fetch nothing; say which file is missing, and where it goes.
hub_revision = "main"  # | Branch, tag or commit of a model of the hub.
hub_endpoint = ""  # | Address of the hub, if it is another than its own.
openai_url = "https://openaipublic.blob.core.windows.net/image-gpt"  # | OpenAI's files.
figshare_url = "https://ndownloader.figshare.com"  # | The authors' files.
figshare_api = "https://api.figshare.com"  # | The list of the authors' files.

# %%
from pathlib import Path

import numpy as np
import pandas as pd
from myst_nb import glue

from georep_utils import figures, io
from georep_utils.data import (
    archives,
    datasets,
    download,
    images,
    needs,
    previews,
    transfer,
)
from georep_utils.models import load, look

# %% tags=["hide-input"]
figures.use_style()
folder = io.REPOSITORY / data_dir
io.note_facts(hub=model != "igpt")

# %% [markdown]
# ## Files
#
# A result is worth no more than the certainty about what it was computed from. So before anything
# is computed, each file is compared with a checksum, wherever one is known. Files come from several
# places, and we go through them in the order of what they cost.
#
# Some are *bundled* with the repository, which records their sizes and their SHA-256 checksums. A
# single altered bit in one of them ends the chapter here, with the command that restores it.

# %%
files = needs.verify_bundled(bundled)

# %% [markdown]
# Some only *you* can put in place, because they have no address that a program may rely on. The run
# file names them. They are looked for now, before a long download would begin in vain.

# %%
own = needs.own_files(dataset_options, data_dir, data_source)

# %% [markdown]
# Others are *published* at a known address: OpenAI's checkpoints, its tokenised images and its
# palette {cite}`chen2020`, and the statistics that the paper's authors released
# {cite}`valeriani2023`. A checkpoint that is called as OpenAI calls its own is one of OpenAI's.

# %%
addresses = [openai_url, figshare_url, figshare_api]
wanted = needs.needed_files(
    model, checkpoint, checkpoints, dataset, split, released, *addresses, offline
)

# %% [markdown]
# They are fetched from where their owners put them, unless they are here and whole. A download that
# breaks off goes on where it stopped. A file takes its name only when its size and its checksum are
# right; nobody has published checksums of OpenAI's files, so that for these the size must do, and
# what came is recorded, so that a later change is noticed. Archives are unpacked beside themselves.

# %%
arrived = transfer.fetch(wanted, folder, offline)
for archive in [path for path in arrived if path.suffix == ".zip"]:
    archives.unpack(archive, archive.with_suffix(""))

# %% [markdown] tags=["only-hub"]
# The model is one of the *Hugging Face hub*, or a folder of that form. What is brought here is its
# configuration, its tokenizer and its weights, never code: no program from elsewhere is run. Each
# checkpoint of a training is a revision of its model there, and a folder of its own here.

# %% tags=["only-hub"]
model_options = {"revision": hub_revision} | model_options
for name, revision in load.revisions(model, model_options["revision"], checkpoints):
    hub = download.hub_model(name, folder, offline, hub_endpoint or None, revision)
    arrived = [*arrived, *sorted(hub.glob("[!.]*"))]

# %% [markdown]
# Together these are the files of the run, with their sizes in bytes:

# %%
files = pd.concat([files, own, needs.fetched_files(arrived, data_dir)])
files.head(12).style.format({"bytes": "{:,}"}, escape="html").hide()

# %% tags=["hide-input"]
glue("n-files", len(files), display=False)
glue("megabytes", float(files.bytes.sum() / 1e6), display=False)

# %% [markdown]
# The run has {glue:text}`n-files` files of {glue:text}`megabytes:,.1f` MB. At most twelve of them
# are listed here.
#
# ## Samples
#
# What the network reads, and what is known about it, is kept together in a `Dataset`: the inputs
# themselves, and, as far as the data have them, a class and a name for each. The selection follows
# the paper: the *first* so many samples of each class, one class after the other. Nothing is drawn
# at random, so that everybody has the same samples.

# %%
data = datasets.load(dataset, split, n_per_class or None, data_dir, **dataset_options)
io.note_facts(**data.facts(), scope=dataset == "fasta" and data.families is not None)
print(f"{data.name}: {len(data):,} samples of {data.kind}")

# %% [markdown] tags=["only-hub"]
# Can the model read them all? Its small files tell without its weights: whether there is a
# tokenizer or an image processor, whether a text is too long, a residue unknown, an image damaged.
# It is asked now, and not after hours of computing.

# %% tags=["only-hub"]
look.check(load.source(model, data_dir=data_dir, **model_options), data)

# %% [markdown]
# From here on samples are known by what they are, not by the name of a file. The digest of a data
# set is a checksum of its inputs and classes in their order: the same for the same samples wherever
# they were read, and another as soon as one token, letter or class differs. Arrays that are
# computed from the samples carry it, and so nothing old is taken for something new.

# %%
data.digest()[:16]

# %% [markdown] tags=["only-labels"]
# Samples of each class. Unequal classes matter later: the overlap of neighbours with classes is
# averaged so that each class counts the same, and a class of few samples adds noise to it.

# %% tags=["only-labels"]
names = previews.class_names(data)
counts = pd.Series(np.bincount(data.labels, minlength=len(names)), index=names)
counts = counts[counts > 0]
counts.rename("samples").to_frame().head(10).T

# %% tags=["only-labels", "hide-input"]
glue("n-classes", len(counts), display=False)
glue("smallest-class", int(counts.min()), display=False)
glue("largest-class", int(counts.max()), display=False)
io.note_facts(even_classes=bool(counts.min() == counts.max()))

# %% [markdown] tags=["only-images", "only-labels"]
# One sample is not like another even within a class. A representation that is worth something puts
# the images of one column of {numref}`{{run}}-fig-samples-shown` near each other, although their
# pixels differ.
# Keep an eye on the classes that look alike to you: they will be each other's nearest neighbours in
# some layers.

# %% tags=["only-images", "only-labels"]
shown = np.unique(data.labels)[:10]
n_rows = min(3, counts.min())
rows = [np.flatnonzero(data.labels == label)[:n_rows] for label in shown]
pictures = previews.pictures(data, np.stack(rows, axis=1).ravel())

# %% tags=["only-images", "only-labels", "hide-input"] mystnb={"figure": {"name": "{{run}}-fig-samples-shown", "caption": "Samples as the network sees them, one class a column: the first of each class, from top to bottom."}, "image": {"alt": "A grid of small images, one class a column"}}
class_names = [names[label] for label in shown]
figures.samples(pictures, n_rows, class_names, f"{run}: {data.name}")

# %% [markdown] tags=["only-text"]
# A few of the texts, with the class of each in brackets where it is known. A text is cut into
# *tokens* by the tokenizer that belongs to the model, and only these are what the network reads.

# %% [markdown] tags=["only-protein"]
# A few of the sequences. Each letter is one amino acid, and one *token* of the network. The number
# of residues says what a sequence costs to compute, and how much an average over it mixes.

# %% tags=["only-text"]
few = np.linspace(0, len(data) - 1, 8).astype(int)
pd.DataFrame({"text": previews.lines(data, few)}, index=data.ids[few])

# %% tags=["only-protein"]
few = np.linspace(0, len(data) - 1, 6).astype(int)
lengths = [len(data.inputs[row]) for row in few]
pd.DataFrame(
    {"residues": lengths, "sequence": previews.lines(data, few)}, data.ids[few]
)

# %% [markdown] tags=["only-scope"]
# In SCOPe a *superfamily* holds proteins with a common ancestor, a *family* those whose sequences
# alone show it. The paper asks whether neighbours share a superfamily without being of one family.
# It keeps 10,256 sequences in 288 superfamilies, by a filter that it does not state in full. So the
# filter of this run is our own. Below is what candidate filters leave of the file, those nearest to
# the paper's two counts first; `distance` is the larger of the two relative differences.

# %% tags=["only-scope"]
from georep_utils.data import fasta
from georep_utils.data.files import existing

path = existing(dataset_options["path"], folder / "datasets")
filters = fasta.scope_filter_table(fasta.read_fasta(path))
filters.drop(columns=["paper_sequences", "paper_superfamilies"]).head(8).round(3)

# %% [markdown] tags=["only-tokens"]
# ## From pixels to tokens
#
# A transformer reads sequences of {term}`tokens <token>`, numbers from a fixed vocabulary. To make
# a sequence of an image, ImageGPT replaces each pixel by the number of the nearest entry of a
# palette, and writes the rows of pixels one after the other {cite}`chen2020`. Put back into rows,
# the first sample is:

# %% tags=["only-tokens"]
side = int(data.inputs.shape[1] ** 0.5)
np.reshape(data.inputs[0], (side, side))

# %% [markdown] tags=["only-tokens"]
# These numbers are all that the network is given. Nothing tells it that entry 3 is brighter than
# entry 2, nor that a pixel lies below another: it learns both, as far as they help to predict.

# %% [markdown] tags=["only-palette"]
# How much it can learn of a colour depends on how often it meets the colour.
# {numref}`{{run}}-fig-palette` shows which share of all tokens each entry has. An image of mostly
# one colour is easy to predict and says little, so look at how even the bars are. To bound the
# work, at most some 4,000 samples are counted, taken at equal steps.

# %% tags=["only-palette"]
every = data.inputs[np.arange(0, len(data), max(1, len(data) // 2000))]
share = np.bincount(every.ravel(), minlength=len(data.palette)) / every.size
pd.Series(share).describe()[["min", "50%", "max"]].round(4).to_frame(
    "share of tokens"
).T

# %% tags=["only-palette", "hide-input"] mystnb={"figure": {"name": "{{run}}-fig-palette", "caption": "The palette, in the order of its tokens (bottom), and the share of all tokens that each entry has (top)."}, "image": {"alt": "Bar chart of token frequencies over a strip of palette colours"}}
note = f"{run}: {data.name}, {len(every):,} samples counted"
figures.palette(share, images.palette_levels(data.palette), run, note)

# %% tags=["hide-input"]
log_file = io.REPOSITORY / Path(checkpoint or "none").with_name("log.json")
io.note_read(log_file)
card = io.read_json(log_file)
io.note_facts(training_log=isinstance(card, dict))

# %% [markdown] tags=["only-training_log"]
# ## Where the model comes from
#
# The weights of this run are our own: a small ImageGPT that was trained for this book, so that
# every chapter can be repeated on a laptop. {ref}`train-mini-igpt` has the code. The model learned
# to predict each pixel from those before it, and was never told what an image shows. Whatever we
# find about classes was not asked for. The loss in {numref}`{{run}}-fig-loss` is the mean of
# $-\log p$ over pixels. Look at whether the two curves part: held-out images that cost more than
# training images would mean that the model remembers images instead of learning what they share.

# %% tags=["only-training_log", "hide-input"] mystnb={"figure": {"name": "{{run}}-fig-loss", "caption": "How the bundled model was trained: loss on training batches and on held-out images against the number of steps; the dots are the checkpoints that are kept."}, "image": {"alt": "Training and held-out loss against training step"}}
figures.training_loss(pd.DataFrame(card["log"]), run, f"{run}: {checkpoint}")

# %% tags=["only-training_log", "hide-input"]
for name in sorted(card.keys() - {"log"}):
    glue(name, card[name], display=False)

# %% [markdown] tags=["only-training_log"]
# It has {glue:text}`n_parameters:,` parameters in {glue:text}`n_blocks` blocks of width
# {glue:text}`d_model`, with {glue:text}`n_heads` heads of attention each. In training it was shown
# {glue:text}`images_seen:,` images of {glue:text}`data`, repetitions counted, in
# {glue:text}`hours:.1f` hours on {glue:text}`hardware`. Its loss on images that it never saw is
# {glue:text}`held_out_loss:.3f` nats a token.

# %% [markdown]
# ## What we saw
#
# - All {glue:text}`n-files` files, {glue:text}`megabytes:,.1f` MB, are in their places. Bundled
#   files have the checksums that the repository records, fetched ones the size and, where there is
#   one, the checksum that their owners state.

# %% tags=["hide-input"]
glue("n-samples", len(data), display=False)
glue("kind", data.kind, display=False)

# %% [markdown]
# - The run has {glue:text}`n-samples:,` samples of the kind *{glue:text}`kind`*.

# %% [markdown] tags=["only-labels", "only-even_classes"]
# - They belong to {glue:text}`n-classes` classes of {glue:text}`smallest-class:,` samples each.

# %% [markdown] tags=["only-labels", "not-even_classes"]
# - They belong to {glue:text}`n-classes` classes of {glue:text}`smallest-class:,` to
#   {glue:text}`largest-class:,` samples.

# %% [markdown] tags=["only-labels"]
# - The network never reads the classes. They are used afterwards, to see what neighbours have in
#   common.

# %% [markdown] tags=["only-tokens"]
# - A sample is a sequence of palette numbers. Every later measurement is about what a network makes
#   of these sequences, not about pixels.
