"""Curves of dimension against scale of a cloud, as the tests of scaling and of scale rules ask."""

import pandas as pd

from georep_utils.geometry.neighbors import largest_range, nearest_neighbors
from georep_utils.geometry.scaling import gride_scaling, twonn_scaling


def curves_of(X, layer=0, **options):
    """Both curves of the points X as rows of one table; options are those of `twonn_scaling`."""
    neighbors = nearest_neighbors(X, maxk=2, range_max=largest_range(len(X)))
    both = [gride_scaling(neighbors), twonn_scaling(X, neighbors=neighbors, **options)]
    return pd.concat(both, ignore_index=True).assign(layer=layer)


def at(table, scale, method="twonn"):
    """The row of one method and scale."""
    return table[(table["method"] == method) & (table["scale"] == scale)].iloc[0]
