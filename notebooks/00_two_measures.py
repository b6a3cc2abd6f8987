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
# ({{run}}-two-measures)=
# # Measure clouds that can be seen
#
# In this chapter:
#
# - four clouds are made that are small enough to draw: a noisy curve, a rolled sheet, the surface
#   of a ring, and a mixture;
# - their dimension is estimated with a few lines of numpy, close up and from further away;
# - neighbourhoods of a cloud are compared with those of its copies: turned, blurred, flattened;
# - classes are given to the points of the sheet, and neighbours are asked for their class.
#
# Nothing here comes from a network. The two measures are the ones that the rest of the book applies
# to layers, where nobody can look.

# %% tags=["parameters"]
run = "paper"  # | Name of the run.
n = 2000  # at least 400 | Points of a cloud.
noise = 0.01  # at least 0 | Deviation of the noise around the curve.
decimations = [1, 2, 4, 8, 16, 32]  # at least 1 | Scales N/n at which TwoNN is read.
k = 10  # at least 1 | Neighbours that are compared.
seed = 0  # at least 0 | Of all clouds.

# %%
import numpy as np
import pandas as pd
from myst_nb import glue
from scipy.spatial.distance import cdist

from georep_utils import figures
from georep_utils.geometry import neighbors, overlap, scaling, synthetic

figures.use_style()
rng = np.random.default_rng(seed)

# %% [markdown]
# ## Four clouds
#
# {numref}`{{run}}-fig-clouds` shows them. The *curve* is a spring in space. Each of its points is
# moved a little at random, in all three directions.

# %%
t = rng.uniform(0, 4 * np.pi, n)
spring = np.stack([np.cos(t), np.sin(t), t / 5], axis=1)
curve = spring + noise * rng.standard_normal((n, 3))

# %% [markdown]
# The *sheet* is flat paper rolled up, the *ring* the surface of a tyre. On both, two numbers say
# where a point is, although it takes three to draw it.

# %%
sheet = synthetic.swiss_roll(n, dimension=2, seed=seed)
sheet = sheet[:, [0, 2, 1]]  # laid on its side
u, v = rng.uniform(0, 2 * np.pi, (2, n))
width = 2 + np.cos(v)
ring = np.stack([width * np.cos(u), width * np.sin(u), np.sin(v)], axis=1)

# %% [markdown]
# The *mixture* is half a line and half a ball. No single number is right for it.

# %%
line = rng.uniform(1, 4, n // 2)[:, None] * [1.0, 0.3, 0.2]
ball = synthetic.hyperball(n - n // 2, dimension=3, seed=seed)
mixture = np.concatenate([line, ball])
clouds = {"curve": curve, "sheet": sheet, "ring": ring, "mixture": mixture}

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-clouds", "caption": "The four clouds. How many numbers does it take to say where on a cloud a point is? Ask it twice: close up, and from so far away that the noise around the curve can't be seen."}, "image": {"alt": "Four clouds of points in space: a noisy spring, a rolled sheet, the surface of a ring, a line beside a ball"}}
figures.small_clouds(clouds, f"{n:,} points each, every third is drawn; made up")

# %% [markdown]
# ## How many dimensions?
#
# The {term}`intrinsic dimension` can be read from two distances. Take a point, its nearest
# neighbour at $r_1$ and the next one at $r_2$. On a curve the second is often much further away. In
# a space of many directions the room grows so fast with the distance that a little further out the
# next point is found already: the two are almost equally far. {term}`TwoNN` {cite}`facco2017` turns
# the ratios $\mu = r_2/r_1$ of all points into a dimension: it is the slope of $-\log(1 - F)$
# against $\log \mu$, where $F$ is the share of points with a smaller ratio.
# ({ref}`igpt-mini-intrinsic-dimension` derives it.)


# %%
def log_ratios(X):
    """log(r2 / r1) of every point, in ascending order."""
    r = np.partition(cdist(X, X), (1, 2))  # place 0 is the point itself
    return np.sort(np.log(r[:, 2] / r[:, 1]))


# %%
def twonn(X):
    """The slope of a line through the origin; the largest 2 % of the ratios are left out."""
    kept = int(0.98 * len(X))
    x = log_ratios(X)[:kept]
    y = -np.log(1 - np.arange(1, kept + 1) / len(X))
    return (x @ y) / (x @ x)


# %%
twonn(ring)

# %% [markdown]
# It is the estimator of this book, line by line:

# %%
near = neighbors.nearest_neighbors(ring, maxk=k, range_max=2)
assert np.isclose(twonn(ring), scaling.twonn_scaling(ring, (1,), neighbors=near).id[0])

# %% [markdown]
# ### Close up, and from further away
#
# Leave out points at random, and the neighbours that remain are further apart: one looks at the
# same cloud from a greater distance. This is {term}`decimation`, and the number of points over
# those that are kept, $N/n$, is the {term}`scale`. A part is one of $s$ disjoint samples; the
# estimates from all of them are averaged, and their scatter gives the error.


# %%
def at_scale(X, s):
    """TwoNN on each of s disjoint parts of a cloud: the mean, and its standard error."""
    order = np.random.default_rng(seed).permutation(len(X))
    ids = [twonn(X[order[part::s]]) for part in range(s)]
    spread = np.std(ids, ddof=1) if s > 1 else np.nan  # one part has no scatter
    return np.mean(ids), spread / np.sqrt(s)


# %%
rows = [(name, s, *at_scale(X, s)) for name, X in clouds.items() for s in decimations]
read = pd.DataFrame(rows, columns=["cloud", "scale", "id", "id_err"])
table = read.pivot(index="cloud", columns="scale", values="id").loc[list(clouds)]
table.round(2)

# %% [markdown]
# At scale 1 the curve's nearest neighbours lie within its noise, which fills three directions. From
# further away the value comes down towards the one direction along the spring. The sheet and the
# ring have nothing to hide, so that their dimension depends less on the scale. The mixture has a
# value at every scale, and none of them describes it: each lies between one, for the line, and
# three, for the ball. {numref}`{{run}}-fig-cloud-scales` shows why this is dangerous. A level curve
# says that the number does not depend on how closely one looks; it does not say that the cloud has
# one dimension.

# %% tags=["hide-input"] mystnb={"figure": {"name": "{{run}}-fig-cloud-scales", "caption": "TwoNN on the four clouds against the scale, with the standard error over disjoint parts (at scale 1 there is one part, and no error). Dashed lines: one, two and three directions. Look at which curves are level, and ask of each level one whether its number is right."}, "image": {"alt": "Four curves of intrinsic dimension against scale, with dashed lines at one, two and three"}}
figures.cloud_scales(read, f"{n:,} points a cloud; made up")

# %% [markdown]
# The same curves are drawn for the layers of a network later, where it is not known which of these
# clouds one has.
#
# ## Who is near whom?
#
# The second measure does not count directions. It asks whether points that are near each other in
# one cloud are near each other in another one of the same points. The {term}`neighbourhood overlap`
# is the share of the $k$ nearest neighbours that a point has in both, averaged over the points.


# %%
def nearest(X):
    """The k nearest neighbours of every point, in no particular order."""
    distances = cdist(X, X)
    np.fill_diagonal(distances, np.inf)  # no point is a neighbour of its own
    return np.argpartition(distances, k)[:, :k]


# %%
def shared(A, B):
    """Mean share of the k nearest neighbours that a point has in both clouds."""
    same = nearest(A)[:, :, None] == nearest(B)[:, None, :]
    return same.any(axis=2).mean()


# %% [markdown]
# Copies of the sheet, and how many neighbours each of them keeps. A turn and a stretch by a common
# factor leave all distances in proportion; noise moves points past each other; a shadow on the
# floor puts the turns of the roll onto each other; with its rows shuffled, a cloud has the same
# shape and other neighbours altogether.

# %%
turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
copies = {
    "turned, ten times larger": 10 * sheet @ turn,
    "with a little noise": sheet + 0.2 * rng.standard_normal(sheet.shape),
    "with more noise": sheet + 1.0 * rng.standard_normal(sheet.shape),
    "its shadow": sheet[:, :2],
    "rows shuffled": rng.permutation(sheet),
}

# %%
kept = pd.Series({name: shared(sheet, copy) for name, copy in copies.items()})
dimension = pd.Series({name: twonn(copy) for name, copy in copies.items()})
pd.DataFrame({"neighbours kept": kept, "TwoNN": dimension}).round(3)

# %% [markdown]
# The two columns say different things. The shadow has two dimensions as the sheet has, but has
# lost neighbours. The shuffled copy has the same dimension to the last digit, and keeps
# {glue:text}`shuffled:.3f` of the neighbours, where chance alone would give
# $k/(N-1) =$ {glue:text}`chance:.3f`. Again a few lines of numpy find what the book's function
# finds:

# %%
one = neighbors.nearest_neighbors(sheet, maxk=k, range_max=2)
other = neighbors.nearest_neighbors(copies["with more noise"], maxk=k, range_max=2)
assert np.isclose(kept["with more noise"], overlap.data_overlap(one, other, k))

# %% [markdown]
# ### Neighbours and classes
#
# Where points have classes, one can ask how many of a point's neighbours share its own: the
# {term}`label overlap`. Here a class is a stretch of the sheet, a sixth of its length, from the
# innermost turn to the outermost.

# %%
along = np.hypot(sheet[:, 0], sheet[:, 2])  # the distance from the axis of the roll
classes = pd.qcut(along, 6, labels=False)
same = {
    name: np.mean(classes[nearest(copy)] == classes[:, None])
    for name, copy in copies.items()
    if name != "rows shuffled"
}
pd.Series(same).rename("neighbours of the same class").to_frame().round(3)

# %% [markdown]
# A guess would find {glue:text}`guess:.3f`. Points of one class are neighbours on the sheet, and
# fewer of them in its shadow, which has the same dimension. So a low dimension does not put a class
# together by itself. The paper's claim is that in trained networks the two often go together; the
# book tests it.

# %% tags=["hide-input"]
levels = table.loc[["sheet", "ring"]]
glue("near-curve", float(table.loc["curve"].iloc[0]), display=False)
glue("far-curve", float(table.loc["curve"].iloc[-1]), display=False)
glue("lowest", float(levels.min(axis=None)), display=False)
glue("highest", float(levels.max(axis=None)), display=False)
glue("mixture-low", float(table.loc["mixture"].min()), display=False)
glue("mixture-high", float(table.loc["mixture"].max()), display=False)
glue("shuffled", float(kept["rows shuffled"]), display=False)
glue("chance", k / (n - 1), display=False)
glue("guess", 1 / 6, display=False)
glue("sheet-shadow", float(kept["its shadow"]), display=False)
glue("shadow-id", float(dimension["its shadow"]), display=False)
glue("near-scale", min(decimations), display=False)
glue("far-scale", max(decimations), display=False)

# %% [markdown]
# ## What we saw
#
# - **A dimension belongs to a scale.** The noisy curve has dimension {glue:text}`near-curve:.2f` at
#   scale {glue:text}`near-scale` and {glue:text}`far-curve:.2f` at scale {glue:text}`far-scale`.
#   The sheet and the ring lie between {glue:text}`lowest:.2f` and {glue:text}`highest:.2f` at all
#   scales that were tried.
# - **A number comes out in any case.** The mixture is read as {glue:text}`mixture-low:.2f` to
#   {glue:text}`mixture-high:.2f`. {ref}`paper-controls` says how far such numbers can be trusted
#   where nothing can be drawn.
# - **Overlap sees what dimension does not.** The shadow of the sheet has dimension
#   {glue:text}`shadow-id:.2f` and keeps {glue:text}`sheet-shadow:.0%` of the neighbours.
# - **Overlap with classes is a third thing.** It depends on what the classes are, and a guess is
#   not at zero.
