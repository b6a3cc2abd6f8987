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
# ({{run}}-language-controls)=
# # Take the meaning out of the texts
#
# In this chapter:
#
# - the words of each text are shuffled, or replaced by words drawn from all texts, and the profile
#   of the intrinsic dimension is measured again;
# - the first token and the special tokens, which are unlike all others, are counted or left out;
# - we ask how far neighbours are of one length, and how many samples are near-copies of others.

# %% tags=["parameters"]
run = "smollm2-135m"  # | Name of the run.
model = "HuggingFaceTB/SmolLM2-135M-Instruct"  # | A model of the hub, or a folder.
model_options = {}  # | Options of the model.
dataset = "table"  # one of table, text | Name of the data set.
dataset_options = {}  # | Options of the data set, such as the path of its file.
n_samples = 2000  # at least 100 | Samples, spread evenly over the classes.
data_dir = "data"  # | Folder of downloads, below the repository.
device = "auto"  # | auto, cpu, cuda, or one GPU of several such as cuda:1.
dtype = "float32"  # one of float32, tf32, bfloat16 | Precision of weights and states.
decimation = 4  # at least 1 | TwoNN keeps one point in so many.
label_k = 10  # at least 1 | Neighbours of the label overlap.
length_bins = 10  # at least 2 | Groups of texts by length, of equal size.
range_max = 64  # at least 2 | Largest rank of distance ratios to keep, a power of two.
seed = 0  # at least 0 | Of the shuffled and the random words, and of random subsets.

# %%
import numpy as np
import pandas as pd
from myst_nb import glue

from georep_utils import clouds, figures, io
from georep_utils.data import datasets, samples
from georep_utils.geometry.duplicates import near_duplicates
from georep_utils.geometry.neighbors import largest_range
from georep_utils.geometry.overlap import label_overlap
from georep_utils.geometry.quick_profile import quick_profile
from georep_utils.models import load, look

# %% tags=["hide-input"]
figures.use_style()
paths = io.RunPaths(run)

# %% [markdown]
# A profile of the intrinsic dimension over the layers of a language model is easily read as a story
# about meaning: first many directions are needed, then what matters is distilled. But texts differ
# in plainer ways, too. They are long or short, and they are made of rare or frequent words. Where a
# feature of the profile is still there after the meaning is gone, it was not about meaning.
#
# ## Texts with and without order
#
# The same texts are read three times: *as written*; with the words of each text *shuffled*, so that
# it keeps its words and loses their order; and with *random words*, as many as before, drawn from
# all texts together, so that nothing belongs to one text but its length. Language models that are
# read at the last token have been reported to have one peak of the dimension, which shrinks on
# texts without order {cite}`cheng2025`; look whether it does here.


# %%
def texts(words):
    """Some samples of the run, with their words as written, shuffled or random."""
    options = dataset_options | {"words": words, "words_seed": seed}
    data = datasets.load(dataset, data_dir=data_dir, **options)
    return data.take(samples.spread(data.labels, n_samples, len(data)))


# %%
data = texts("as written")
io.note_facts(**data.facts())
ways = ["as written", "shuffled", "random"]
pd.Series({way: texts(way).inputs[0] for way in ways}).to_frame("the first text")

# %% [markdown]
# ## Tokens that are unlike the others
#
# A point is the mean over the tokens of a text. In many language models the *first* token carries,
# from an early layer on, a vector so much longer than all others that it decides the mean, whatever
# the text says: a place for attention to rest on when nothing else calls for it. Some tokenizers
# also put *special* tokens around a text. Here a mean without the first token, a mean with the
# special tokens (where there are any), and the *last* token alone stand beside the mean.

# %%
settings = {"device": device, "dtype": dtype, "data_dir": data_dir} | model_options
reader = look.reader_of(load.source(model, **settings))
n_tokens = reader.lengths(data.inputs)
own_tokens = [counted.sum() for counted in reader.encode(data.inputs)[1]]
n_special = int(np.max(n_tokens - own_tokens))

# %% tags=["hide-input"]
glue("n-samples", len(data), display=False)
glue("shortest", int(n_tokens.min()), display=False)
glue("longest", int(n_tokens.max()), display=False)
glue("n-special", n_special, display=False)

# %% [markdown]
# The {glue:text}`n-samples:,` texts have {glue:text}`shortest` to {glue:text}`longest` tokens, of
# which {glue:text}`n-special` or fewer are special. Each case has a cloud of its own:

# %%
cases = {
    "as written, mean": {},
    "words shuffled": {"words": "shuffled"},
    "random words": {"words": "random"},
    "first token left out": {"skip_first": 1},
    "last token": {"pool": "last"},
}
if n_special:
    cases["special tokens counted"] = {"special_tokens": True}

# %%
largest = largest_range(len(data), range_max)
found = {}
for name, case in cases.items():
    changed = {key: value for key, value in case.items() if key != "words"}
    source = load.source(model, **settings | changed)
    cloud = clouds.represent(source, texts(case.get("words", "as written")))
    found[name] = clouds.find_neighbors(cloud, label_k, largest, device)

# %% [markdown]
# ## One profile a case
#
# All are read in the same way: the dimension by TwoNN {cite}`facco2017` on disjoint random subsets
# of $N$ / `decimation` points, and the share of the $k$ nearest neighbours that carry a point's own
# label. A layer where half of the points or more are copies of others has no dimension and is left
# out. At the last token this happens to the first layer where most texts end in the same token.

# %%
tables = []
for name, cloud in found.items():
    layers = {layer: cloud[layer] for layer in cloud.layers}
    near = {layer: cloud.neighbors(layer) for layer in cloud.layers}
    table = quick_profile(layers, near, data.labels, decimation, label_k, seed, device)
    tables.append(table.assign(control=name))

# %% [markdown]
# Two more curves belong to the texts as written. *Near-copies* have a nearest neighbour that is ten
# times nearer than the tenth one. They bend the estimate of a dimension, so it is repeated without
# all but one of each group of them. And *length*: texts are put into groups of equal size by their
# number of tokens, and the overlap of neighbours with these groups is measured as that with labels
# is. Where it is high, neighbours are neighbours because they are of one length.

# %%
cloud = found["as written, mean"]
ranks = pd.Series(n_tokens).rank(method="first")
by_length = pd.qcut(ranks, length_bins, labels=False).to_numpy()
rows = []
for layer in cloud.layers:
    near = cloud.neighbors(layer)
    alike = near_duplicates(near, k=label_k)
    kept = {layer: np.asarray(cloud[layer])[alike.kept]}
    alone = quick_profile(kept, {}, None, decimation, label_k, seed, device)
    tables.append(alone.assign(control="near-copies left out"))
    rows.append((layer, len(alike.removed), label_overlap(near, by_length, label_k)))

# %% tags=["hide-input"]
length = pd.DataFrame(rows, columns=["layer", "near_copies", "length_overlap"])
same = length.rename(columns={"length_overlap": "label_overlap"})
same = same.assign(id=np.nan, id_err=np.nan, control="length in place of labels")
controls = pd.concat([*tables, same.drop(columns="near_copies")], ignore_index=True)
controls["depth"] = controls.layer / cloud.n_blocks
io.write_table(paths.results / "language_controls.csv", controls)
io.write_table(paths.results / "text_lengths.csv", length)

# %% [markdown]
# In {numref}`{{run}}-fig-controls`, look first at the curve of random words. What it shares with
# the texts as written needs neither order nor content. Then compare the height of each peak with
# and without order, and see whether leaving out the first token makes a feature come or go. The
# curve of length has its chance level at one over the number of groups.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-controls", "caption": "Intrinsic dimension and label overlap against relative depth: the texts as written (solid), and controls (dashed). In the curve of length, groups of texts of like length take the place of the labels. Bands, left only, are one standard error."}, "image": {"alt": "Intrinsic dimension and label overlap against relative depth, a curve a control"}}
called = load.without_place(model)
note = f"{run}: {called}, {data.name}, N = {len(data):,}; measured here"
figures.language_controls(controls, label_k, note)

# %% [markdown]
# ## How much is left?
#
# A row a control. The *correlation* with the texts as written, over the layers, sees the shape of
# the profile and not its height; *highest* and *at* are the largest dimension and its depth.

# %%
wide = controls.pivot(index="depth", columns="control", values="id")
wide = wide[[name for name in controls.control.unique() if wide[name].notna().any()]]
left = pd.DataFrame({"correlation": wide.corrwith(wide["as written, mean"])})
left["highest"] = wide.max()
left["at"] = wide.idxmax()
left.round(2)

# %% [markdown] tags=["only-labels"]
# And the best overlap with labels over the layers. With random words nothing but the length of a
# text can tell its class, so that the overlap should be near chance.

# %% tags=["only-labels"]
best = controls.groupby("control", sort=False).label_overlap.max().dropna()
best.round(3).to_frame("best overlap").T

# %% tags=["hide-input"]
glue("written-highest", float(left.highest["as written, mean"]), display=False)
glue("shuffled-highest", float(left.highest["words shuffled"]), display=False)
glue("random-highest", float(left.highest["random words"]), display=False)
glue(
    "first-correlation", float(left.correlation["first token left out"]), display=False
)
glue("length-highest", float(length.length_overlap.max()), display=False)
glue("length-chance", float(1 / length_bins), display=False)
glue("near-copies", int(length.near_copies.max()), display=False)

# %% tags=["only-labels", "hide-input"]
glue("written-best", float(best["as written, mean"]), display=False)
glue("shuffled-best", float(best["words shuffled"]), display=False)
glue("random-best", float(best["random words"]), display=False)

# %% [markdown]
# ## What we saw
#
# - The highest dimension over the layers is {glue:text}`written-highest:.1f` for the texts as
#   written, {glue:text}`shuffled-highest:.1f` with their words shuffled, and
#   {glue:text}`random-highest:.1f` for random words.
# - Without the first token, the profile has a correlation of {glue:text}`first-correlation:.2f`
#   with the profile of the mean over all tokens.
# - Neighbours share their group of length in at most {glue:text}`length-highest:.2f` of cases, over
#   the layers, where chance gives {glue:text}`length-chance:.2f`.
# - In the layer with most of them, {glue:text}`near-copies` texts are near-copies of others.

# %% [markdown] tags=["only-labels"]
# - The best overlap with labels is {glue:text}`written-best:.2f` for the texts as written,
#   {glue:text}`shuffled-best:.2f` with words shuffled, and {glue:text}`random-best:.2f` for random
#   words, which know nothing of the labels but the length of a text.
