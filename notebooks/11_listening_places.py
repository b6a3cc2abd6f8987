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
# ({{run}}-listening-places)=
# # Read in other places
#
# In this chapter:
#
# - the same samples are read at several places of each block, and pooled in more than one way;
# - the profile of the dimension and the overlap with labels are drawn for each, beside the paper's
#   choice;
# - we measure how much of the paper's picture depends on that choice.

# %% tags=["parameters"]
run = "igpt-mini"  # | Name of the run.
model = "igpt"  # | igpt, or a model of the Hugging Face hub: its name, or a folder.
checkpoint = "assets/igpt-mini/trained.safetensors"  # | Weights of an ImageGPT.
model_options = {}  # | Options of the model.
dataset = "fashion-mnist-14"  # | Name of the data set.
split = "test"  # one of train, valid, test | Which part of the data set.
n_per_class = 100  # at least 0 | Samples of each class: the first ones. 0 takes all.
dataset_options = {}  # | Options of the data set, such as the path of its file.
data_dir = "data"  # | Folder of downloads, below the repository.
device = "auto"  # | auto, cpu, cuda, or one GPU of several such as cuda:1.
dtype = "float32"  # one of float32, tf32, bfloat16 | Precision of weights and states.
sites = [
    "ln_1",
    "input",
    "attn",
    "mlp",
]  # one of ln_1, input, attn, mlp | Places to read.
pools = ["mean", "last"]  # one of mean, last, cls | Ways to make one point of a sample.
decimation = 4  # at least 1 | TwoNN keeps one point in so many.
label_k = 10  # at least 1 | Neighbours of the label overlap.
range_max = 64  # at least 2 | Largest rank of distance ratios to keep, a power of two.
seed = 0  # at least 0 | Of the random subsets.

# %%
from functools import partial

import pandas as pd
from myst_nb import glue

from georep_utils import clouds, figures, io
from georep_utils.data import baselines, datasets
from georep_utils.geometry import overlap, overlap_errors, resampling
from georep_utils.geometry.neighbors import largest_range
from georep_utils.geometry.quick_profile import dimension_replicates, quick_profile
from georep_utils.models import load
from georep_utils.paper import advice
from georep_utils.places import represent_places

# %% tags=["hide-input"]
figures.use_style()
paths = io.RunPaths(run)
if not sites or not pools:
    raise io.UserError(
        "sites and pools name no place to listen; expected one of each, such as ln_1 "
        "and mean"
    )
io.note_facts(other_sites=len(sites) > 1, other_pools=len(pools) > 1)

# %% [markdown]
# Whoever reads a network makes two choices before anything is measured: *where* in a block to read,
# and how to make *one point* of a whole sequence. The paper reads behind the first norm of each
# block and takes the mean {cite}`valeriani2023`; it reports that other places give similar
# profiles, and that pooling lowers the dimension without changing the shape. Here both are tried.

# %%
n_first = n_per_class or None
data = datasets.load(dataset, split, n_first, data_dir, **dataset_options)
io.note_facts(**data.facts())
n = len(data)

# %% [markdown]
# ## Places and pools
#
# In a block, the residual stream $x$ passes the first norm, the attention and the MLP:
#
# | site | what is read at layer $l$ |
# |---|---|
# | `ln_1` | the output of the block's first norm: the paper's choice |
# | `input` | the stream as it enters the block, before the norm |
# | `attn` | the stream after the attention has been added |
# | `mlp` | the stream after the MLP has been added: the input of the next block |
#
# Layer $L$ is the final norm for all of them. Up to there, `mlp` at one layer is `input` at the
# next: the same curve, moved by one layer. `ln_1` differs from `input` by the
# norm alone, which brings each token's vector to a common scale before the mean is taken.
#
# A sample is then one vector: the `mean` over its sequence, or the `last` place. In an
# autoregressive model the last place is the only one that has seen the whole sequence, but at the
# first layer it holds one token and nothing else. There, samples that end in the same token are
# copies of each other.
#
# Each place is compared under the first pooling, and each other pooling at the first place:

# %%
cases = [(site, pools[0]) for site in sites]
cases += [(sites[0], pool) for pool in pools[1:]]

# %% [markdown]
# A place is part of a cloud's recipe, and so each case has a cloud of its own. The network has to
# read the samples only once for all of them: `represent_places` listens at every place as they
# pass. More neighbours than `label_k` are kept, so that the overlap can be computed again in halves
# of the samples, for its error.

# %%
settings = {"device": device, "dtype": dtype, "data_dir": data_dir} | model_options
largest = largest_range(n, range_max)
maxk = min(n - 1, 3 * label_k + 20)
sources = [
    load.source(model, checkpoint or None, site=site, pool=pool, **settings)
    for site, pool in cases
]

# %%
found = {}
for case, cloud in zip(cases, represent_places(sources, data), strict=True):
    found[case] = clouds.find_neighbors(cloud, maxk, largest, device)

# %% [markdown]
# ## One profile a cloud
#
# All clouds are read in the same way: the dimension by TwoNN {cite}`facco2017` on disjoint random
# subsets of $N$ / `decimation` points, and the share of the $k$ nearest neighbours that carry a
# point's own label. A layer where half of the points or more are copies of others has no dimension;
# it is left out, and named. Logits are not compared, because they belong to no block.

# %%
tables = []
for (site, pool), cloud in found.items():
    layers = {d: cloud[d] for d in cloud.layers if d <= cloud.n_blocks}
    near = {layer: cloud.neighbors(layer) for layer in layers}
    table = quick_profile(layers, near, data.labels, decimation, label_k, seed, device)
    table["depth"] = table.layer / cloud.n_blocks
    tables.append(table.assign(site=site, pool=pool, n_samples=n))
places = pd.concat(tables, ignore_index=True)

# %% [markdown]
# The errors are joint: everything is read again in balanced halves of the samples, the same for
# every place and layer ({ref}`{{run}}-overlaps` has the idea). Where the samples are too few for
# that, it is said why; dimensions then keep their errors over the subsets, and overlaps have none.

# %%
groups = overlap_errors.deal(n, data.labels)
halves = {}
refused = set()
for (site, pool), cloud in found.items():
    rows = places[(places.site == site) & (places.pool == pool)].dropna(subset="id")
    points = (cloud[layer] for layer in rows.layer)
    attempt = dimension_replicates(points, groups, decimation, seed, device)
    halves[site, pool] = attempt.halves
    if attempt.halves is None:
        refused.add(attempt.why)
    else:
        places.loc[rows.index, "id_err"] = resampling.jackknife(attempt.halves)[0]
for why in sorted(refused):
    print(f"no joint errors of dimensions: {why}")

# %% tags=["only-labels"]
again = partial(
    resampling.label_overlap_replicates, labels=data.labels, groups=groups, k=label_k
)
for (site, pool), cloud in found.items():
    rows = places[(places.site == site) & (places.pool == pool)]
    near = map(cloud.neighbors, rows.layer)
    attempt = overlap_errors.attempt_over_layers(near, again)
    if attempt.halves is None:
        print(f"{site}, {pool}: no joint errors of overlaps ({attempt.why})")
    else:
        errors = resampling.jackknife(attempt.halves)[0]
        places.loc[rows.index, "label_overlap_err"] = errors

# %% [markdown] tags=["only-labels"]
# And the input itself, before any network: an overlap that it reaches needs no network to explain.

# %% tags=["only-labels"]
given = clouds.represent_input(data, baselines.of(data, sources[0]))
given = clouds.find_neighbors(given, maxk, largest, device)
reached = [
    (name, overlap.label_overlap(given.neighbors(layer), data.labels, label_k))
    for layer, name in zip(given.layers, given.layer_names, strict=True)
]
of_input = pd.DataFrame(reached, columns=["baseline", "overlap"])
of_input.round(3)

# %% tags=["not-labels"]
of_input = None

# %% tags=["hide-input"]
columns = "site pool layer depth id id_err label_overlap label_overlap_err n_samples"
places = places.reindex(columns=columns.split())
io.write_table(paths.results / "listening_places.csv", places)
for row in places[places.id.isna()].itertuples():
    print(f"{row.site}, {row.pool}: layer {row.layer} is mostly copies and is left out")

# %% [markdown]
# In {numref}`{{run}}-fig-places`, look at two things separately. Does a curve have the same *shape*
# as the paper's choice: the same rise, the same layers at the top? And does it have the same
# *height*? A conclusion about which layers matter needs the first only; a statement such as "this
# layer has dimension 7" needs both.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-places", "caption": "Intrinsic dimension and, where there are labels, label overlap against relative depth, read at several places of each block (solid) and pooled in another way (dashed). Dotted, at no depth: what the input itself reaches. Bands are one standard error, where it is known."}, "image": {"alt": "Intrinsic dimension and label overlap against relative depth, a curve a place and pooling"}}
samples = f"{data.name}, N = {n:,}"
called = load.without_place(model)
note = f"{run}: {called}, {samples}; TwoNN, N/n = {decimation}; measured here"
figures.listening_places(places, label_k, note, of_input)

# %% [markdown]
# ## How alike are the profiles?
#
# Shape and height are told apart by two numbers. The *correlation* over the layers with the first
# case does not see the height; the ratio of the means, *height*, does not see the shape. The top
# reaches from the first to the last layer that can't be told from the highest one: the ends of the
# {term}`best set`.

# %%
by_case = places.groupby(["site", "pool"], sort=False)
tops = {}
for case, rows in by_case:
    t = rows.dropna(subset="id")
    tops[case] = advice.top_range(t.layer, t.id, t.id_err, halves[case])
wide = places.pivot(index="layer", columns=["site", "pool"], values="id")
base = wide[cases[0]]
compared = pd.DataFrame({"correlation": wide.corrwith(base)})
compared["height"] = [
    wide[case].mean() / base[wide[case].notna()].mean() for case in wide
]
compared[["top_from", "top_to"]] = pd.DataFrame(tops).T

# %% [markdown] tags=["only-labels"]
# The same for the overlap with labels, with its highest value over the layers.

# %% tags=["only-labels"]
overlaps = places.pivot(index="layer", columns=["site", "pool"], values="label_overlap")
base = overlaps[cases[0]]
compared["overlap_correlation"] = overlaps.corrwith(base)
compared["best_overlap"] = overlaps.max()

# %% [markdown]
# One row a case, the paper's choice first:

# %%
compared = compared.reindex(cases)
compared.index = compared.index.set_names(["site", "pool"])
compared.round(2)

# %% [markdown]
# A correlation over a few dozen layers is easily high: any two curves that rise and then fall
# together have one. And it falls when a curve is merely moved: `mlp`, which is `input` moved by one
# layer, shows by how much. So it takes a *low* correlation to say something, and the figure to say
# what. Heights differ for a simple reason as well: what is read at the last place belongs to one
# token, and an average over a sequence has lost whatever makes its tokens differ.

# %% tags=["hide-input"]
glue("top-from", float(compared.top_from.iloc[0]), display=False)
glue("top-to", float(compared.top_to.iloc[0]), display=False)


# %% tags=["only-other_sites", "hide-input"]
other_sites = compared.iloc[1 : len(sites)]
glue("sites-correlation", float(other_sites.correlation.min()), display=False)
glue("sites-low", float(other_sites.height.min()), display=False)
glue("sites-high", float(other_sites.height.max()), display=False)

# %% tags=["only-other_pools", "hide-input"]
other_pools = compared.iloc[len(sites) :]
glue("pools-correlation", float(other_pools.correlation.min()), display=False)
glue("pools-low", float(other_pools.height.min()), display=False)
glue("pools-high", float(other_pools.height.max()), display=False)

# %% tags=["only-labels", "hide-input"]
glue("overlap-lowest", float(compared.best_overlap.min()), display=False)
glue("overlap-highest", float(compared.best_overlap.max()), display=False)
glue("input-overlap", float(of_input.overlap.max()), display=False)
glue("input-name", str(of_input.baseline[of_input.overlap.idxmax()]), display=False)

# %% [markdown]
# ## What we saw
#
# - In the paper's choice, the layers that can't be told from the one of highest dimension lie
#   between layers {glue:text}`top-from:.0f` and {glue:text}`top-to:.0f`. The table says where they
#   lie in the other cases.

# %% [markdown] tags=["only-other_sites"]
# - Other places of a block: the profile that agrees least has a correlation of
#   {glue:text}`sites-correlation:.2f` with the paper's choice; the mean dimension, over the layers
#   that both have, is at least {glue:text}`sites-low:.2f` and at most {glue:text}`sites-high:.2f`
#   times as high.

# %% [markdown] tags=["only-other_pools"]
# - Other poolings: the lowest correlation is {glue:text}`pools-correlation:.2f`; the mean dimension
#   is at least {glue:text}`pools-low:.2f` and at most {glue:text}`pools-high:.2f` times that of the
#   paper's choice. Above 1, the paper's choice has the lower dimension.

# %% [markdown] tags=["only-labels"]
# - The best overlap with labels over the layers lies between {glue:text}`overlap-lowest:.2f` and
#   {glue:text}`overlap-highest:.2f`, from the least to the most favourable case. The input itself
#   reaches {glue:text}`input-overlap:.2f` ({glue:text}`input-name`).
