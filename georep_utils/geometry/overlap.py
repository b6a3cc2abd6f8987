"""Neighbourhood overlap through DADApy: of two layers, of a layer with labels, and for remote homology."""

from __future__ import annotations

import numpy as np

from georep_utils.geometry.neighbors import Neighbors
from georep_utils.io import UserError


def _check_k(neighbors: Neighbors, k: int) -> None:
    n, width = neighbors.indices.shape
    if not 1 <= k < n:
        raise UserError(f"k = {k} neighbours of {n} points: k must be at least 1 and below {n}; choose another k")
    if k > width - 1:
        raise UserError(f"k = {k}, but only {width - 1} neighbours are stored: search again with maxk of at least {k}")


def _check_labels(neighbors: Neighbors, labels: np.ndarray, name: str = "labels", classes: int = 2) -> np.ndarray:
    labels, n = np.asarray(labels), len(neighbors.indices)
    if labels.shape != (n,):
        raise UserError(
            f"{name} of shape {labels.shape} for {n} points: one is needed for each point, in the same order"
        )
    codes = np.unique(labels, return_inverse=True)[1].reshape(-1)
    if codes.max() + 1 < classes:
        raise UserError(
            f"all {n} {name} are {labels[0]!r}: two or more classes are needed; take points of other classes"
        )
    return codes


def _comparison(neighbors: Neighbors, k: int, indices: np.ndarray | None = None):
    from dadapy.metric_comparisons import MetricComparisons

    table = (neighbors.indices if indices is None else indices)[:, : k + 1]
    return MetricComparisons(distances=(neighbors.distances[:, : k + 1], table), maxk=k, n_jobs=1)


def data_overlap(a: Neighbors, b: Neighbors, k: int) -> float:
    """Mean fraction of the k nearest neighbours that a point has in both representations (chi_k^{l,m} of the paper).

    1 for equal neighbourhoods; independent representations of N points give k / (N - 1). Through DADApy's
    return_data_overlap. UserError: another number of points, k not below N, k above the stored neighbours.
    """
    if len(a.indices) != len(b.indices):
        raise UserError(
            f"overlap of {len(a.indices)} with {len(b.indices)} points: both need the same points in one order"
        )
    _check_k(a, k)
    _check_k(b, k)
    return float(_comparison(a, k).return_data_overlap(dist_indices=b.indices[:, : k + 1], k=k))


def label_overlap(neighbors: Neighbors, labels: np.ndarray, k: int, weighted: bool = True) -> float:
    """Mean fraction of a point's k nearest neighbours that carry its label (chi_k^{l,gt} of the paper).

    labels: (N,). weighted: every class counts the same (DADApy's default), else every point; equal for balanced classes.
    Labels at random, n_c points a class, give (n_c - 1) / (N - 1). Through DADApy's return_label_overlap.
    UserError: labels of another length, fewer than two classes, k not below N, k above the stored neighbours.
    """
    _check_k(neighbors, k)
    codes = _check_labels(neighbors, labels)
    return float(_comparison(neighbors, k).return_label_overlap(codes, k=k, weighted=weighted))


def remote_homology(
    neighbors: Neighbors,
    superfamilies: np.ndarray,
    families: np.ndarray,
    k: int,
    exclude: str = "before",
    weighted: bool = True,
) -> float:
    """Superfamily overlap in which members of a point's own family earn nothing: relatives must be remote.

    superfamilies, families: (N,). The paper's wording leaves open when the own family is left out, so both are here:
    exclude="before" (default) removes its members, then takes the k nearest of the rest;
    exclude="after" takes the k nearest of all and does not count its members as hits, still dividing by k.
    A point whose stored neighbours hold fewer than k strangers is an error under "before", never a shorter list.
    Both count through DADApy's return_label_overlap. UserError: as label_overlap, and families of another length.
    """
    _check_k(neighbors, k)
    superfamily = _check_labels(neighbors, superfamilies, "superfamilies")
    family = _check_labels(neighbors, families, "families", classes=1)
    others = neighbors.indices[:, 1:]
    same = family[others] == family[:, None]
    if exclude == "before":
        short = int(((~same).sum(axis=1) < k).sum())
        if short:
            enough = min(len(same) - 1, k + int(np.bincount(family).max()) - 1)
            raise UserError(
                f"{short} of {len(same)} points have fewer than {k} stored neighbours outside their family: "
                f"search again with maxk of {enough}, or lower k"
            )
        order = np.argsort(same, axis=1, kind="stable")[:, :k]
        others = np.take_along_axis(others, order, axis=1)
    elif exclude == "after":
        stranger = np.where(superfamily == superfamily[0], np.argmax(superfamily != superfamily[0]), 0)
        others = np.where(same, stranger[:, None], others)[:, :k]
    else:
        raise UserError(f"exclude = {exclude!r}: expected 'before' or 'after'")
    counted = np.hstack([neighbors.indices[:, :1], others])
    return float(_comparison(neighbors, k, counted).return_label_overlap(superfamily, k=k, weighted=weighted))


def knn_accuracy(neighbors: Neighbors, labels: np.ndarray, k: int = 1) -> float:
    """Leave-one-out accuracy of the majority label of the k nearest neighbours, a tie going to the nearest of the tied.

    labels: (N,). UserError: as label_overlap.
    """
    _check_k(neighbors, k)
    codes = _check_labels(neighbors, labels)
    votes = codes[neighbors.indices[:, 1 : k + 1]]
    counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    return float(np.mean(votes[np.arange(len(votes)), counts.argmax(axis=1)] == codes))
