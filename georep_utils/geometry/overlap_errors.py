"""Errors of overlaps: joint for all layers where there are enough neighbours, else a bound.

*Joint.* An overlap is computed again in balanced halves of the samples (`resampling`), the same
halves for every layer and network. So there are errors of differences between layers, and each
point counts together with the points that have it as a neighbour. A half holds about half of a
point's neighbours, so about 3 k + 20 have to be stored for k within the half.

*Bound.* A mean of N shares between 0 and 1 with the value p has an error of sqrt(p (1 - p) / N) at
most, if the shares are independent. Those of points that are neighbours of each other are not, so
it is no strict bound; it says nothing about differences between layers, which share their samples.

Where a curve has the bound, there is a reason: too few samples, too few stored neighbours, or
labels that can't be halved. `attempt_over_layers` keeps it, and `kinds` shows it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from georep_utils.geometry.neighbors import Neighbors
from georep_utils.geometry.resampling import Half, groups_of_points, jackknife, replicates
from georep_utils.geometry.resampling import label_overlap_replicates as _label_replicates
from georep_utils.io import UserError
from georep_utils.measurements import kept

NOT_ASKED = "not asked for: it costs 38 more overlaps a layer"


@dataclass(frozen=True)
class Joint:
    """Replicates of a curve, or why there are none.

    halves: (n_groups - 1, 2, L), or None; why: "" where there are replicates, else one sentence.
    """

    halves: np.ndarray | None
    why: str = ""


def deal(n: int, labels: np.ndarray | None = None) -> np.ndarray | None:
    """Groups (n,) as `resampling.groups_of_points`, or None for too few samples."""
    with contextlib.suppress(UserError):
        return groups_of_points(n, labels)
    return None


def attempt_over_layers(tables: Iterable, replicate: Callable[..., np.ndarray]) -> Joint:
    """Replicates of a statistic for several layers, (n_groups - 1, 2, L), or why there are none.

    Parameters
    ----------
    tables
        What `replicate` takes, one for each layer: neighbours, pairs of them, or points.
    replicate
        Gives (n_groups - 1, 2), or raises UserError: one layer with too few stored neighbours is
        enough for none to have replicates, so that no two layers have errors of different kinds.
    """
    found = []
    for place, table in enumerate(tables, start=1):
        try:
            found.append(replicate(table))
        except UserError as error:
            return Joint(None, f"layer {place} of the curve: {error}")
    if not found:
        return Joint(None, "the curve has no layers")
    return Joint(np.stack(found, axis=2))


@kept
def remote_homology_replicates(
    neighbors: Neighbors,
    superfamilies: np.ndarray,
    families: np.ndarray,
    groups: np.ndarray,
    k: int,
    exclude: str = "before",
) -> np.ndarray:
    """Superfamily overlap without the own family in both halves of each division.

    Parameters are those of `overlap.remote_homology` and of `resampling.replicates`.

    Raises
    ------
    UserError
        Too few stored neighbours outside the families.
    """
    family = np.unique(families, return_inverse=True)[1].reshape(-1)
    others = neighbors.indices[:, 1:]
    relatives = family[others] == family[:, None]
    if exclude == "before":
        # As many as every point has. A stable sort leaves them in the order of distance.
        kept = int((~relatives).sum(axis=1).min())
        if kept < k:
            raise UserError(
                f"a point has {kept} stored neighbours outside its family, {k} are needed: search "
                "again with a larger maxk, or lower k"
            )
        order = np.argsort(relatives, axis=1, kind="stable")[:, :kept]
        order = np.hstack([np.zeros((len(order), 1), int), order + 1])
        strangers = replace(
            neighbors,
            indices=np.take_along_axis(neighbors.indices, order, axis=1),
            distances=np.take_along_axis(neighbors.distances, order, axis=1),
        )
        return _label_replicates(strangers, superfamilies, groups, k)
    codes = np.unique(superfamilies, return_inverse=True)[1].reshape(-1)

    def remote(half: Half) -> float:
        own = half.rows[:, None]
        hits = (codes[half.indices] == codes[own]) & (family[half.indices] != family[own])
        of_class = np.bincount(codes[half.rows], hits.mean(axis=1))
        count = np.bincount(codes[half.rows])
        present = count > 0
        return float((of_class[present] / count[present]).mean())

    return replicates(neighbors, groups, k, remote)


def overlap_error(overlap: np.ndarray, n_points: int) -> np.ndarray:
    """The largest standard error that a mean of N fractions between 0 and 1 can have.

    Fractions of mean p vary by at most p (1 - p): the bound is reached where each of them is either
    0 or 1. Points are taken as independent.

    Parameters
    ----------
    overlap
        Overlaps, of any shape.
    n_points
        N, the number of points that each is a mean over.
    """
    overlap = np.asarray(overlap, dtype=float)
    return np.sqrt(overlap * (1 - overlap) / n_points)


def add_errors(
    table: pd.DataFrame, n: int, joint: dict[tuple, np.ndarray | None], by: list[str]
) -> pd.DataFrame:
    """Columns error and joint: the error of each overlap, and whether it is a joint one.

    Parameters
    ----------
    table : DataFrame
        Column overlap; the rows of a curve in the order of its layers.
    n : int
        Number of samples.
    joint : dict
        Replicates of some curves, or a `Joint`, by the values of the columns `by`.
    by : list of str
        What tells one curve from another, such as network and k.
    """
    table = table.assign(error=overlap_error(table.overlap, n), joint=False)
    for curve, rows in table.groupby(by, sort=False):
        again = joint.get(curve)
        if isinstance(again, Joint):
            again = again.halves
        if again is not None:
            table.loc[rows.index, "error"] = jackknife(again)[0]
            table.loc[rows.index, "joint"] = True
    return table


def kinds(table: pd.DataFrame, joint: dict[tuple, Joint], by: list[str]) -> pd.DataFrame:
    """Which curves have joint errors, and why the others have the bound.

    Parameters
    ----------
    table : DataFrame
        Of `add_errors`.
    joint : dict
        What `attempt_over_layers` gave for some curves, by the values of the columns `by`.
    by : list of str
        As for `add_errors`.

    Returns
    -------
    DataFrame
        Index `by`; errors ("joint" or "bound"), why ("" for joint ones).
    """
    rows = []
    for curve, part in table.groupby(by, sort=False):
        if part.joint.all():
            rows.append((*curve, "joint", ""))
        else:
            rows.append((*curve, "bound", joint.get(curve, Joint(None, NOT_ASKED)).why))
    return pd.DataFrame(rows, columns=[*by, "errors", "why"]).set_index(by)
