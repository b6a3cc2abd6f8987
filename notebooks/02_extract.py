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
#     after: [01_download]
# ---

# %% [markdown]
# ({{run}}-extract)=
# # Read the representations
#
# In this chapter:
#
# - every sample passes once through the network, and every layer is read;
# - a layer's output is averaged over the sequence, so that each sample is one point a layer;
# - the points are kept together with the recipe that they were made from, so that nothing is
#   computed twice and nothing old is taken for new;
# - we look at the clouds of points for the first time.

# %% tags=["parameters"]
run = "igpt-mini"  # | Name of the run.
model = "igpt"  # | igpt, or a model of the Hugging Face hub: its name, or a folder.
checkpoint = "assets/igpt-mini/trained.safetensors"  # | Weights of an ImageGPT.
model_options = {}  # | Options of the model, such as random_init_seed.
dataset = "fashion-mnist-14"  # | Name of the data set.
split = "test"  # one of train, valid, test | Which part of the data set.
n_per_class = 500  # at least 0 | Samples of each class: the first ones. 0 takes all.
dataset_options = {}  # | Options of the data set, such as the path of its file.
data_dir = "data"  # | Folder of downloads, below the repository.
site = "ln_1"  # one of ln_1, input, attn, mlp | Where a block is read.
pool = "mean"  # one of mean, last, cls | How a sample's tokens become one point.
dtype = "float32"  # one of float32, tf32, bfloat16 | Precision of weights and states.
device = "auto"  # | auto, cpu, cuda, or one GPU of several such as cuda:1.
batch_size = 0  # at least 0 | Most samples of a batch. 0 chooses for the device.
batch_tokens = 0  # at least 0 | Most tokens of a batch. 0 chooses for the device.
control_seed = 0  # at least 0 | Random weights of the first untrained network.
control_seeds = 5  # at least 1 | Untrained networks: this seed and those after it.
untrained_control = True  # | Read an untrained network of the same sizes, too.
n_completions = 10  # at least 0 | Images for the model to complete. 0 for none.
scheduler = ""  # | Here; local; or the address or the file of a Dask scheduler.
resources = {}  # | What a task takes of its worker, such as {"GPU": 1}.
samples_per_task = 5000  # at least 1 | Samples of one task of a scheduler, about.

# %%
from functools import partial

import numpy as np
import pandas as pd
from myst_nb import glue

from georep_utils import clouds, extraction, figures, io, parallel
from georep_utils.data import baselines, datasets, images
from georep_utils.models import likelihood, load

# %% tags=["hide-input"]
figures.use_style()
paths = io.RunPaths(run)
# Workers with a GPU can take larger batches than the machine that starts them would.
if "GPU" in resources and not (batch_size or batch_tokens):
    batch_tokens = extraction.BATCH_TOKENS["cuda"]
how = {"batch_size": batch_size or None, "batch_tokens": batch_tokens or None}
how |= {"scheduler": scheduler, "resources": resources}
how |= {"samples_per_task": samples_per_task}

# %% [markdown]
# ## Model, place and data
#
# A transformer is a stack of $L$ blocks, and each block offers several places where its state can
# be read, its {term}`hook points <hook point>`. We read the place of the paper
# {cite}`valeriani2023`: the output of the *first normalisation of each block*, and behind the last
# block the final norm. So layer $l$ is what block $l$ is about to work on. ImageGPT has one layer
# more, its logits. Hidden states are read as they pass, and the network is in evaluation mode:
# nothing in it is random, and it is not changed.
#
# The model is described by a *source*: which weights, which place, which pooling, which precision.
# A source costs nothing to make. The network itself is loaded when something has to be computed.

# %%
settings = {"device": device, "dtype": dtype, "site": site, "pool": pool}
settings |= {"data_dir": data_dir} | model_options
source = load.source(model, checkpoint or None, **settings)

# %% [markdown]
# The data are those of the chapter before. They, too, are described by a function that makes them,
# because a worker on another machine has to load them for itself.

# %%
n_first = n_per_class or None
load_data = partial(datasets.load, dataset, split, n_first, data_dir, **dataset_options)
data = load_data()
io.note_facts(**data.facts())

# %% [markdown]
# ## The recipe of a cloud
#
# All points of all layers together are called a {term}`cloud` here. It is heavy to make and easy to
# mistake for another: arrays of numbers do not say where they came from. So each cloud carries its
# {term}`recipe`, which is everything that its numbers depend on:

# %%
recipe = clouds.recipe_of(source, data)
listed = pd.json_normalize(recipe).T[0].fillna("not set").astype(str)
listed.sort_index().str[:40].to_frame("value").head(24)

# %% [markdown]
# Weights and samples stand there by the SHA-256 digest of their content, so that another file under
# an old name makes another recipe. `code` is a digest of the code that computes, read as a syntax
# tree: a change of the arithmetic counts, a change of a comment does not. What does *not* stand
# there matters as much. Batches and devices are left out, because they change numbers at most by
# rounding; so is the name of the run, and two runs that ask the same question share one cloud.
#
# A digest of the recipe ends the name of the cloud's folder. Whoever has the same recipe finds the
# same folder; a changed recipe leads to another one beside it. Nothing is overwritten, and a return
# to earlier parameters costs nothing.
#
# ## One pass through the network
#
# For sample $i$ with tokens $t = 1, \dots, T$, the representation at layer $l$ is the mean over the
# sequence,
#
# $$ x_i^{(l)} = \frac{1}{T} \sum_{t=1}^{T} h_{i,t}^{(l)} \in \mathbb{R}^{d_l} , $$
#
# in float32. Layers are numbered $0, \dots, L-1$ for the inputs of the $L$ blocks and $L$ for the
# final norm. With `pool = "last"` the mean is replaced by the state of the last token. The mean is
# what makes one point of a sample, and it has a price: which state stood at which place is
# forgotten. What the point still knows of places, the blocks have written into the states.
#
# A batch of samples passes through the network, and each layer's means go to disk. Memory holds the
# model and a few batches, whatever the number of samples. A pass that was interrupted goes on with
# the batches that are missing, and on a cluster ({ref}`scaling-out`) the batches are shared between
# workers.

# %%
trained = clouds.represent(source, data, load_data, **how)
print(f"{len(trained)} layers; the first has shape {trained[0].shape}")

# %% tags=["hide-input"]
glue("n-samples", len(data), display=False)
glue("n-layers", len(trained), display=False)
glue("speed", float(trained.n_samples / trained.seconds), display=False)
glue("folder", trained.folder.name, display=False)

# %% [markdown]
# {glue:text}`n-samples:,` samples became a cloud of {glue:text}`n-layers` layers. When it was made,
# {glue:text}`speed:,.0f` samples passed in a second. Later chapters read these arrays, and so can
# any other program: each layer is one file. The folder below `data/clouds` is {glue:text}`folder`,
# and this line reads a layer of it:
#
# ```python
# X = np.load(f"data/clouds/{folder}/layer_00.npy", mmap_mode="r")
# ```

# %% [markdown] tags=["only-tokens"]
# ### The same for one sample, by hand
#
# The network is a stack of functions that can be stepped through: `states` gives the hidden states
# of one place after another, from the bottom up. We follow the first sample to the middle of the
# network.

# %% tags=["only-tokens"]
net = parallel.once(source.load)
middle = net.n_blocks // 2
tokens = net.place(data.inputs[:1])
states = net.net.states(tokens)
hidden = next(h for place, layer, h in states if (place, layer) == (site, middle))
print(f"layer {middle}, {site}: {tuple(hidden.shape)}")

# %% tags=["only-tokens", "hide-input"]
io.note_facts(causal=net.net.causal, averaged=pool == "mean")
io.note_facts(completions=net.net.causal and n_completions > 0)

# %% [markdown] tags=["only-tokens", "only-averaged"]
# That is one sample, its tokens, and one vector a token. The mean over the tokens must be the first
# row of the stored array, up to rounding. (The tolerance is that of the precision: with bfloat16,
# sums in another order differ in the third digit.)

# %% tags=["only-tokens", "only-averaged"]
by_hand = hidden[0].float().mean(0).cpu().numpy()
stored = trained[middle][0]
difference = np.linalg.norm(by_hand - stored) / np.linalg.norm(stored)
assert difference < {"float32": 1e-5, "tf32": 1e-2, "bfloat16": 5e-2}[dtype]

# %% tags=["only-tokens", "only-averaged", "hide-input"]
glue("difference", float(difference), display=False)

# %% [markdown] tags=["only-tokens", "only-averaged"]
# They differ by {glue:text}`difference:.1g` of the vector's length.

# %% tags=["hide-input"]
io.note_facts(untrained=untrained_control, input=True)
io.note_facts(several_untrained=untrained_control and control_seeds > 1)

# %% [markdown] tags=["only-untrained"]
# ## First control: the same network before training
#
# Even a network of random weights turns samples into points whose neighbours have something in
# common, because the samples do. So a profile means something only beside that of an *untrained*
# network of the same sizes, on the same samples. Whatever both have is due to the architecture and
# the data; only the difference is due to training. One draw of random weights is one accident.
# `control_seeds` says how many draws a run takes; with several, how far they differ says which
# differences from the trained network count.

# %% tags=["only-untrained"]
controls = {}
for number in range(control_seeds):
    random_weights = source.untrained(control_seed + number)
    cloud = clouds.represent(random_weights, data, load_data, **how)
    controls[clouds.untrained_name(number)] = cloud

# %% [markdown] tags=["not-untrained"]
# ## First control: none in this run
#
# This run reads the trained network alone (`untrained_control` is off). A profile means more beside
# that of an untrained network of the same sizes: what both have is not due to training.

# %% tags=["not-untrained"]
controls = {}

# %% [markdown]
# ## Second control: the input itself
#
# Before any network, the samples are points already. If neighbours in the raw input share a class
# as often as neighbours in the best layer do, then the network did not make that order; it kept it.
# So the input is put into a cloud of its own, with a few plain arrays in the place of layers.

# %% [markdown] tags=["only-images", "only-palette"]
# *pixels* are the colours that the tokens stand for, one number a place and channel.

# %% [markdown] tags=["only-images", "not-palette"]
# *pixels* are the central square of each image, reduced to 32 by 32, one number a place and
# channel.

# %% [markdown] tags=["only-images"]
# The *histogram* says how often each colour occurs, and not where. It is what is left of an image
# when places are forgotten, as they are in an average over the tokens alone. So the difference
# between the two says what averaging can throw away, and what the blocks may have to win back.

# %% [markdown] tags=["only-text"]
# *words* counts words, rare ones weighted up, in the 300 directions that vary most at most.
# *embedding* is the mean of the vectors by which the network looks its tokens up, before anything
# passes through a block. Neither knows the order of the words.

# %% [markdown] tags=["only-protein"]
# *residues* are the shares of the twenty amino acids in a sequence. *dipeptides* are the shares of
# the 400 pairs that can follow each other, and so know a little about order.

# %%
given = clouds.represent_input(data, baselines.of(data, source))
shapes = [given[layer].shape for layer in given.layers]
pd.DataFrame(shapes, index=given.layer_names, columns=["samples", "features"])

# %% [markdown]
# Last, we write down which clouds this run uses, by name. The chapters that follow take the clouds
# from there.

# %%
clouds.assign(paths, trained=trained, **controls, input=given)

# %% [markdown] tags=["only-causal"]
# ## Does the model know its data?
#
# Geometry is worth looking at only in a network that has learned something. An autoregressive model
# can be asked directly. At each place it gives a probability to every colour, from the tokens
# before that place. The mean of $-\log p$ over the tokens that are really there is its *loss*, in
# nats a token. For the first sample:

# %% tags=["only-causal"]
log_p = net.net(tokens)[0].float().log_softmax(-1)
by_hand = -log_p.gather(1, tokens[0].long()[:, None]).mean().item()
assert np.isclose(by_hand, net.loss(data.inputs[:1]), rtol=1e-4)
by_hand

# %% [markdown] tags=["only-causal"]
# And for up to 500 samples, drawn at random. Guessing evenly among $K$ colours costs $\log K$.

# %% tags=["only-causal"]
few = np.random.default_rng(0).permutation(len(data))[:500]
batches = np.array_split(np.sort(few), -(-len(few) // 50))
held_out = likelihood.held_out_loss(source, data, batches, trained.folder)

# %% tags=["only-causal", "hide-input"]
glue("held-out", held_out, display=False)
glue("guess", float(np.log(net.net.n_vocab)), display=False)

# %% [markdown] tags=["only-causal"]
# The model needs {glue:text}`held-out:.3f` nats a token, an even guess {glue:text}`guess:.3f`. The
# loss alone does not say what was learned: a model that knew nothing but how often each colour
# occurs would also be better than an even guess.

# %% [markdown] tags=["only-completions", "only-palette"]
# So we let it draw. It sees the upper half of an image, gives probabilities for the next pixel, a
# colour is drawn from these, and so on to the last pixel. In {numref}`{{run}}-fig-completions`,
# look at whether edges go on, whether the two sides match, and whether the lower half belongs to
# the same kind of thing as the upper one. All this the model has to know from pixels alone.

# %% tags=["only-completions", "only-palette"]
rows = np.linspace(0, len(data) - 1, n_completions).astype(int)
drawn = likelihood.completions(source, data, rows, trained.folder)
drawn = images.to_pixels(drawn, data.palette)
whole = images.to_pixels(data.inputs[rows], data.palette)
half = whole.copy()
half[:, half.shape[1] // 2 :] = 235

# %% tags=["only-completions", "only-palette", "hide-input"] mystnb={"figure": {"name": "{{run}}-fig-completions", "caption": "Images of the data set (top), the upper halves that the model is shown (middle), and the model's own continuation (bottom)."}, "image": {"alt": "Three rows of small images: originals, upper halves, and completions by the model"}}
note = f"{run}: {source.name}, {data.name}; computed here"
figures.completions(whole, half, drawn, note)

# %% [markdown]
# ## A first look at the clouds
#
# Before any intrinsic dimension, two plain measures. The *norm* says how large the points are. The
# *participation ratio* says how many directions vary: with the variances $\lambda_j$ along the
# principal directions of a layer,
#
# $$ \mathrm{PR} = \Big(\sum_j \lambda_j\Big)^2 \Big/ \sum_j \lambda_j^2 , $$ ({{run}}-eq-pr)
#
# which is $d$ where $d$ directions vary equally, and close to 1 where a single one dominates.


# %%
def participation_ratio(X):
    """Number of directions in which the rows of X vary, each weighted by its variance."""
    variances = np.linalg.svd(X - X.mean(0), compute_uv=False) ** 2
    return variances.sum() ** 2 / (variances**2).sum()


# %%
# Samples may stand class by class, so that the first ones would be a few classes.
step = -(-len(data) // 2000)
rows = []
for layer in trained.layers:
    X = np.asarray(trained[layer][::step], np.float64)
    norm = np.linalg.norm(X, axis=1).mean()
    rows.append((layer, X.shape[1], norm, participation_ratio(X)))

# %% tags=["hide-input"]
columns = ["layer", "width", "mean norm", "participation ratio"]
look = pd.DataFrame(rows, columns=columns).set_index("layer")
inside = look.loc[: trained.n_blocks, "participation ratio"]
glue("fewest", float(inside.min()), display=False)
glue("most", float(inside.max()), display=False)

# %%
look.iloc[:: max(1, len(look) // 8)].round(2)

# %% [markdown]
# (At most 2,000 samples, taken at equal steps, are used here, and not every layer is listed.) The
# participation ratio is a *linear* count. A sheet of two dimensions that is rolled up varies in
# three directions; a cloud that is long in one direction has a ratio near 1 however many dimensions
# its thickness has. So it is neither an upper nor a lower bound of the intrinsic dimension of the
# next chapters. The two answer different questions: how many axes does the cloud fill as a whole,
# and how many numbers tell a point from its neighbours?
#
# ## What we saw
#
# - {glue:text}`n-samples:,` samples passed through the network, and each left one point in each of
#   {glue:text}`n-layers` layers.
# - The cloud is found again by its recipe: by the content of weights and samples and by the code,
#   not by a name.
# - Beside the network stand its controls: the input itself and, where they were asked for, networks
#   of the same sizes with random weights. What follows is measured on all of them.

# %% [markdown] tags=["only-tokens", "only-averaged"]
# - A stored point is the mean of the hidden states of its sample: computed in both ways, it differs
#   by {glue:text}`difference:.1g` of its length.

# %% [markdown] tags=["only-causal"]
# - The model predicts pixels at {glue:text}`held-out:.3f` nats a token, where an even guess costs
#   {glue:text}`guess:.3f`.

# %% [markdown]
# - The participation ratio lies between {glue:text}`fewest:.1f` and {glue:text}`most:.1f`,
#   depending on the layer; all layers count here.
