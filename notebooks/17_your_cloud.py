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
#     after: []
# ---

# %% [markdown]
# ({{run}}-your-cloud)=
# # Measure a cloud of your own
#
# In this chapter:
#
# - the dimension of any cloud of up to 5,000 points is estimated on this page, at every scale,
#   beside a Gaussian cloud of its size;
# - the same numbers are computed in Python, for an example that can be tried here.

# %% tags=["parameters"]
run = "paper"  # | Name of the run.
n_points = 2000  # between 100 and 5000 | Points of the example.
noise = 0.4  # at least 0 | Standard deviation of its noise, in each coordinate.
seed = 0  # at least 0 | Of the example.
device = "auto"  # | Where neighbours are searched for.

# %%
import pandas as pd
from myst_nb import glue

from georep_utils import explorers, figures
from georep_utils.geometry import scaling, synthetic
from georep_utils.geometry.neighbors import largest_range, nearest_neighbors

figures.use_style()

# %% [markdown]
# The example is a Swiss roll: a sheet of two dimensions, rolled up in three, turned at random into
# ten, and blurred there by noise. What is its dimension? Near by it is that of the noise, ten.
# Further away the noise is thin, and two dimensions are left. Further still, neighbours come from
# the next turn of the roll.

# %%
X = synthetic.swiss_roll(n_points, 2, ambient=10, noise=noise, seed=seed)
X.shape

# %% [markdown]
# ## In Python
#
# Gride {cite}`denti2022` takes all points, and neighbours of growing rank.


# %%
def gride(X):
    near = nearest_neighbors(X, 2, largest_range(len(X)), device=device)
    return scaling.gride_scaling(near)


# %% [markdown]
# TwoNN {cite}`facco2017` looks further away on parts of the points. The chapters of this book draw
# such parts at random. Here they are drawn by stride, the rows $j, j + s, j + 2s, \dots$ for
# $j = 0, 1, \dots$, up to four of them: so a page can draw the same ones. A file whose rows have a
# period would be served badly by this; shuffle its rows first.


# %%
def twonn(X, s):
    parts = [X[j::s][: len(X) // s] for j in range(min(4, s))]
    read = [scaling.twonn_scaling(part, [1], device=device) for part in parts]
    ids = pd.concat(read).id
    error = ids.std() / len(ids) ** 0.5 if s > 1 else read[0].id_err[0]
    return {"method": "twonn", "scale": s, "id": ids.mean(), "id_err": error}


# %%
def both(X):
    decimations = [s for s in (1, 2, 4, 8, 16, 32) if len(X) // s >= scaling.MIN_POINTS]
    return pd.concat([pd.DataFrame([twonn(X, s) for s in decimations]), gride(X)])


own = both(X)

# %% [markdown]
# A curve says little by itself. Beside it stands a Gaussian cloud with as many points, and with the
# dimension that TwoNN reads on all of them. It has no other dimension at any scale, and still its
# curve falls: that is what finite samples and the thinning of its density do.

# %%
dimension = round(own.id.iloc[0])
beside = both(synthetic.gaussian(n_points, dimension, seed))

# %% [markdown]
# In {numref}`{{run}}-fig-your-cloud`, look for where the cloud falls faster than the Gaussian, and
# where it stays level although the Gaussian falls.

# %% mystnb={"figure": {"name": "{{run}}-fig-your-cloud", "caption": "Dimension against scale: a noisy Swiss roll and a Gaussian cloud with as many points and the dimension that was estimated for the roll. Bars are one standard error."}, "image": {"alt": "Curves of intrinsic dimension against scale for two clouds, each by TwoNN and by Gride"}}
clouds = {"Swiss roll with noise": own, f"Gaussian, {dimension} dimensions": beside}
figures.own_cloud(clouds, note=f"N = {n_points:,}; measured here")

# %% [markdown]
# ## On this page
#
# Save an array with a row for each point, `numpy.save("cloud.npy", X)`, and drop the file on the
# frame, or choose it. It must hold float32 or float64 numbers, at most 5,000 points. The file does
# not leave your machine: nothing is sent anywhere, and the page works without a network. The
# Gaussian cloud is drawn anew on the page, with a seed of its own.

# %% tags=["hide-input"]
torus = synthetic.torus(1000, 3, seed=seed)
examples = {
    "the Swiss roll with noise": X,
    "a torus of 3 dimensions": torus,
}
view = explorers.cloud_view(examples)
explorers.Explorer("cloud", "Dimension of a cloud of your own", view)

# %% [markdown]
# The numbers are those of Python, to within rounding: the same float32 points, the same rounding
# of distances, the same fit of 98 % of the ratios, the same search for the root of the likelihood.
# For the Swiss roll this page must say:

# %%
table = own.pivot(index="scale", columns="method", values="id").astype(float)
table = table.rename(columns={"twonn": "TwoNN", "gride": "Gride"})
table.style.format("{:.4f}", na_rep="–", escape="html").format_index("{:.0f}")

# %% tags=["hide-input"]
ids = own.groupby("method").id
glue("first", float(own.id.iloc[0]), display=False)
glue("least", float(ids.min()["gride"]), display=False)
at = own[own.method == "gride"].set_index("scale").id.idxmin()
glue("least-at", int(at), display=False)

# %% [markdown]
# ## What we saw
#
# - One cloud has many dimensions: TwoNN reads {glue:text}`first:.1f` on all points of the example,
#   and Gride as little as {glue:text}`least:.1f`, at $N/n$ = {glue:text}`least-at`.
# - A Gaussian cloud of the same size is the yardstick: a fall that it has too is no finding.
