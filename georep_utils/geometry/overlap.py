"""Neighbourhood overlap: how far two views of the same points agree about who is near.

Three questions have the same form, a mean over all points of a share of the k nearest neighbours:

* `data_overlap`: how many neighbours does a point keep from one representation to another? This is
  chi_k^{l,m} of the paper, for layers l and m. It is 1 for equal neighbourhoods. Representations
  that have nothing to do with each other give k / (N - 1).
* `label_overlap`: how many neighbours carry the point's own label? This is chi_k^{l,gt}. Labels at
  random give (n_c - 1) / (N - 1) for a class of n_c points.
* `remote_homology`: as the second, for proteins, where the label is the superfamily. Members of one
  family are close relatives that any representation finds. They are left out, so that only remote
  relatives count.

`knn_accuracy` asks what a classifier makes of it: is the label of most neighbours the point's own?

Overlaps see ranks alone. They change neither when a representation is rotated or enlarged, nor with
the number of its coordinates, which makes layers of any width comparable.
"""

from __future__ import annotations

import numpy as np

from georep_utils.geometry.neighbors import Neighbors
from georep_utils.io import UserError


def data_overlap(a: Neighbors, b: Neighbors, k: int) -> float:
    """Return the mean share of the k nearest neighbours that a point has in both representations.

    Parameters
    ----------
    a, b : Neighbors
        Of the same N points in the same order.
    k : int
        From 1 to what both store.

    Returns
    -------
    float
        Between 0 and 1; k / (N - 1) by chance.

    Raises
    ------
    UserError
        The numbers of points differ; k is not below N, or above the stored neighbours.

    References
    ----------
    Doimo, Glielmo, Ansuini, Laio, "Hierarchical nucleation in deep neural networks", NeurIPS 2020.
    Computed by DADApy's `return_data_overlap`.
    """
    if len(a.indices) != len(b.indices):
        raise UserError(
            f"overlap of {len(a.indices)} with {len(b.indices)} points: "
            "both need the same points in one order"
        )
    _check_k(a, k)
    _check_k(b, k)
    comparison = _comparison(a.distances, a.indices, k)
    return float(comparison.return_data_overlap(dist_indices=b.indices[:, : k + 1], k=k))


def label_overlap(neighbors: Neighbors, labels: np.ndarray, k: int, weighted: bool = True) -> float:
    """Return the mean share of a point's k nearest neighbours that carry its label.

    Parameters
    ----------
    neighbors : Neighbors
        Of N points.
    labels : (N,) array
        Numbers or names of the classes, two or more.
    k : int
        From 1 to what is stored.
    weighted : bool
        Every class counts the same (DADApy's default), else every point does. For classes of one
        size there is no difference.

    Returns
    -------
    float
        Between 0 and 1; (n_c - 1) / (N - 1) by chance, for classes of n_c points.

    Raises
    ------
    UserError
        Labels of another number, or of fewer than two classes; k is not below N, or above the
        stored neighbours.

    References
    ----------
    Doimo, Glielmo, Ansuini, Laio, "Hierarchical nucleation in deep neural networks", NeurIPS 2020.
    Computed by DADApy's `return_label_overlap`.
    """
    _check_k(neighbors, k)
    codes = _codes(neighbors, labels)
    comparison = _comparison(neighbors.distances, neighbors.indices, k)
    return float(comparison.return_label_overlap(codes, k=k, weighted=weighted))


def remote_homology(
    neighbors: Neighbors,
    superfamilies: np.ndarray,
    families: np.ndarray,
    k: int,
    exclude: str = "before",
    weighted: bool = True,
) -> float:
    """Return the superfamily overlap in which members of a point's own family earn nothing.

    Parameters
    ----------
    neighbors : Neighbors
        Of N points.
    superfamilies : (N,) array
        The labels, two or more.
    families : (N,) array
        Subdivisions of the superfamilies.
    k : int
        From 1 to what is stored.
    exclude : {"before", "after"}
        The paper's wording leaves open when the own family is left out. "before" removes its
        members, then takes the k nearest of the rest. "after" takes the k nearest of all and does
        not count its members as hits, still dividing by k.
    weighted : bool
        As in `label_overlap`.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    UserError
        As `label_overlap`; families of another number; or, with "before", a point whose stored
        neighbours hold fewer than k outside its family. It is never served with fewer.
    """
    _check_k(neighbors, k)
    superfamily = _codes(neighbors, superfamilies, "superfamilies")
    family = _codes(neighbors, families, "families", at_least=1)
    others = neighbors.indices[:, 1:]
    same_family = family[others] == family[:, None]
    if exclude == "before":
        counted = _without_relatives(others, same_family, family, k)
    elif exclude == "after":
        counted = _with_relatives_as_misses(others, same_family, superfamily, k)
    else:
        raise UserError(f"exclude = {exclude!r}: expected 'before' or 'after'")
    indices = np.hstack([neighbors.indices[:, :1], counted])
    comparison = _comparison(neighbors.distances, indices, k)
    return float(comparison.return_label_overlap(superfamily, k=k, weighted=weighted))


def _without_relatives(
    others: np.ndarray, same_family: np.ndarray, family: np.ndarray, k: int
) -> np.ndarray:
    """Return the k nearest neighbours (N, k) outside each point's family."""
    short = int(((~same_family).sum(axis=1) < k).sum())
    if short:
        n = len(others)
        # So many neighbours hold k outside the family, even where a whole family is nearest.
        enough = min(n - 1, k + int(np.bincount(family).max()) - 1)
        raise UserError(
            f"{short} of {n} points have fewer than {k} stored neighbours outside their family: "
            f"search again with maxk of {enough}, or lower k"
        )
    # A stable sort of False before True brings the others to the front, in the old order.
    order = np.argsort(same_family, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(others, order, axis=1)


def _with_relatives_as_misses(
    others: np.ndarray, same_family: np.ndarray, superfamily: np.ndarray, k: int
) -> np.ndarray:
    """Return the k nearest neighbours (N, k), relatives replaced by a point that cannot be a hit.

    This lets DADApy count: in the place of a relative stands any point of another superfamily.
    """
    of_the_first = superfamily == superfamily[0]
    stranger_to_the_first = np.argmax(~of_the_first)
    stranger = np.where(of_the_first, stranger_to_the_first, 0)
    return np.where(same_family, stranger[:, None], others)[:, :k]


def knn_accuracy(neighbors: Neighbors, labels: np.ndarray, k: int = 1) -> float:
    """Return the leave-one-out accuracy of the label that most of the k nearest neighbours carry.

    Parameters
    ----------
    neighbors : Neighbors
        Of N points.
    labels : (N,) array
        Numbers or names of the classes, two or more.
    k : int
        From 1 to what is stored. A tie goes to the label of the nearest of those that are tied.

    Returns
    -------
    float
        The share of points whose own label is predicted.

    Raises
    ------
    UserError
        As `label_overlap`.
    """
    _check_k(neighbors, k)
    codes = _codes(neighbors, labels)
    votes = codes[neighbors.indices[:, 1 : k + 1]]
    # For each neighbour, how many of the k carry its label. argmax takes the first, hence the
    # nearest, of those with most.
    agreeing = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    predicted = votes[np.arange(len(votes)), agreeing.argmax(axis=1)]
    return float(np.mean(predicted == codes))


def _check_k(neighbors: Neighbors, k: int) -> None:
    n, width = neighbors.indices.shape
    stored = width - 1
    if not 1 <= k < n:
        raise UserError(
            f"k = {k} neighbours of {n} points: k must be at least 1 and below {n}; "
            "choose another k"
        )
    if k > stored:
        raise UserError(
            f"k = {k}, but only {stored} neighbours are stored: "
            f"search again with maxk of at least {k}"
        )


def _codes(
    neighbors: Neighbors, labels: np.ndarray, name: str = "labels", at_least: int = 2
) -> np.ndarray:
    """Return labels as numbers 0, 1, ..; refuse another number of them, or too few classes."""
    labels = np.asarray(labels)
    n = len(neighbors.indices)
    if labels.shape != (n,):
        raise UserError(
            f"{name} of shape {labels.shape} for {n} points: "
            "one is needed for each point, in the same order"
        )
    _, codes = np.unique(labels, return_inverse=True)
    codes = codes.reshape(-1)
    if codes.max() + 1 < at_least:
        raise UserError(
            f"all {n} {name} are {labels[0]!r}: two or more classes are needed; "
            "take points of other classes"
        )
    return codes


def _comparison(distances: np.ndarray, indices: np.ndarray, k: int):
    """Return DADApy's object for the first k neighbours."""
    # Imported here: it takes a second, which those who import this module need not wait.
    from dadapy.metric_comparisons import MetricComparisons

    table = (distances[:, : k + 1], indices[:, : k + 1])
    return MetricComparisons(distances=table, maxk=k, n_jobs=1)
