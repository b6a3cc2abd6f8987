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
# ({{run}}-listening-places)=
# # Listen in other places
#
# In this chapter:
#
# - the same samples are read at several places of each block, and pooled in more than one way;
# - the ID profile and the label overlap are drawn for each, beside the paper's choice;
# - we count how much of the paper's picture hangs on that choice.

# %% tags=["parameters"]
run = "igpt-mini"
model = "igpt"
checkpoint = "assets/igpt-mini/trained.safetensors"
model_options = {}
dataset = "fashion-mnist-14"
split = "test"
n_per_class = 100
dataset_options = {}
data_dir = "data"
device = "auto"
dtype = "float32"
sites = ["ln_1", "input", "attn", "mlp"]
pools = ["mean", "last"]
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
if not sites or not pools:
    raise UserError(
        "sites and pools name no place to listen; expected one of each, such as ln_1 and mean"
    )
data = datasets.load(dataset, split, n_per_class or None, data_dir, **dataset_options)

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
# Layer $L$ is the final norm for all of them. A sample is then one vector: the `mean` over its sequence, or the `last` place, which in
# an autoregressive model is the only one that has seen the whole sequence. At the first layer that place holds one token and nothing else:
# a layer where more than half of the points are copies of others is left out, and named.


# %%
def measure(site, pool):
    """ID (TwoNN) and label overlap of every layer, read at `site` and pooled by `pool`."""
    net = models.load(
        model,
        checkpoint or None,
        device,
        dtype,
        site,
        pool,
        data_dir=data_dir,
        **model_options,
    )
    folder = paths.representations.with_name("places") / safe_name(f"{site}-{pool}")
    found = extract.extract(net, data, folder, progress=False)
    largest, rows = min(range_max, 2 ** ((len(data) - 1).bit_length() - 1)), []
    for layer in [layer for layer in found.layers if layer <= found.n_blocks]:
        X, at = np.asarray(found[layer]), (layer, layer / found.n_blocks)
        if (distinct := dimension.n_different(X)) < len(X) / 2:
            print(
                f"{site}, {pool}: layer {layer} has {distinct} different points of {len(X)} and is left out"
            )
            rows.append((site, pool, *at, np.nan, np.nan, np.nan))
            continue
        near = neighbors.nearest_neighbors(X, label_k, largest, device)
        twonn = dimension.twonn_scaling(X, (decimation,), seed=seed, device=device)
        shared = (
            np.nan
            if data.labels is None
            else overlap.label_overlap(near, data.labels, label_k)
        )
        rows.append((site, pool, *at, twonn.id[0], twonn.id_err[0], shared))
    return rows


# %%
cases = [(site, pools[0]) for site in sites] + [(sites[0], pool) for pool in pools[1:]]
rows = [row for case in tqdm(cases, mininterval=1) for row in measure(*case)]
columns = ["site", "pool", "layer", "depth", "id", "id_err", "label_overlap"]
places = pd.DataFrame(rows, columns=columns).assign(n_samples=len(data))

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-places", "caption": "Intrinsic dimension (left) and label overlap (right) against relative depth, read at several places of each block (solid) and pooled in another way (dashed)."}, "image": {"alt": "Two panels against relative depth: intrinsic dimension and label overlap, a curve a place and pooling"}}
fig, axes = figures.panels(2, width=9)
shades = ["#00798c", "#d1495b", "#edae49", "#33333b", "#8c6bb1", "#4d9221"]
for i, (site, pool) in enumerate(cases):
    part = places[(places.site == site) & (places.pool == pool)]
    style = {
        "name": site,
        "label": f"{site}, {pool}",
        "color": shades[i % len(shades)],
        "linestyle": "-" if pool == pools[0] else "--",
        "marker": "",
    }
    figures.profile(axes[0], part.depth, part.id, part.id_err, **style)
    figures.profile(axes[1], part.depth, part.label_overlap, **style)
axes[0].set(ylabel="intrinsic dimension", ylim=(0, None))
axes[1].set(ylabel=rf"label overlap  $\chi^{{l,gt}}_{{{label_k}}}$", ylim=(0, 1))
for axis in axes:
    figures.depth_axis(axis, "relative depth")
axes[0].legend(fontsize=8.5)
figures.note(
    fig,
    f"{run}: {model}, {data.name}, N = {len(data):,}; TwoNN, N/n = {decimation}; measured here",
)
plt.show()

# %% [markdown]
# How alike the profiles are: correlation over the layers with the first row, mean height over its mean height, and where the
# highest value is.

# %%
wide = places.pivot(
    index="layer", columns=["site", "pool"], values=["id", "label_overlap"]
)
compared = pd.DataFrame(
    {
        "correlation of ID": wide["id"].corrwith(wide["id"][cases[0]]),
        "height of ID": wide["id"].mean() / wide["id"][cases[0]].mean(),
        "highest ID at layer": wide["id"].idxmax(),
        "correlation of overlap": wide["label_overlap"].corrwith(
            wide["label_overlap"][cases[0]]
        ),
        "best overlap": wide["label_overlap"].max(),
    }
).reindex(cases)
compared.index = compared.index.set_names(["site", "pool"])
compared.round(2)

# %% tags=["hide-input"]
paths.results.mkdir(parents=True, exist_ok=True)
places.to_csv(paths.results / "listening_places.csv", index=False, float_format="%.6g")

# %% [markdown]
# ## What we saw

# %% tags=["hide-input"]
site_rows, pool_rows = compared.iloc[1 : len(sites)], compared.iloc[len(sites) :]


def told(part):
    """Correlations and heights of some rows, in words."""
    parts = [
        f"`{site}` pooled by `{pool}`: profile correlated at {row['correlation of ID']:.2f}, {row['height of ID']:.2f} times as high, highest at layer {row['highest ID at layer']:.0f}"
        for (site, pool), row in part.iterrows()
    ]
    return "; ".join(parts)


lines = [
    f"- The paper's choice (`{cases[0][0]}`, `{cases[0][1]}`) has its highest ID at layer {compared.iloc[0]['highest ID at layer']:.0f}."
]
lines += [f"- Other places: {told(site_rows)}."] * bool(len(site_rows))
lines += [f"- Other pooling: {told(pool_rows)}."] * bool(len(pool_rows))
if data.labels is not None and len(compared) > 1:
    spread = compared["best overlap"]
    lines.append(
        f"- The best label overlap is between {spread.min():.2f} ({', '.join(spread.idxmin())}) and {spread.max():.2f} ({', '.join(spread.idxmax())})."
    )
Markdown("\n".join(lines))
