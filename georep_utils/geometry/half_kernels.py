"""The two inner loops of the resampling, compiled by numba.

An error takes 38 halves of the samples, for every layer, network and number of neighbours. In numpy
each of them would look at all stored neighbours of all its points; compiled, it looks at them until
it has found enough.
"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def first_inside(
    rows: np.ndarray, indices: np.ndarray, inside: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where the first k neighbours of some points stand that lie in a part of the samples.

    Parameters
    ----------
    rows : (m,) int array
        The points.
    indices : (N, stored) int array
        Neighbours of all points, nearest first.
    inside : (N,) bool array
        Whether a point lies in the part.
    k : int
        Neighbours wanted.

    Returns
    -------
    columns : (m, k) int64 array
        Columns of `indices`, in order; zeros where there are no more.
    found : (m,) int64 array
        How many there are, k at most.
    """
    columns = np.zeros((len(rows), k), dtype=np.int64)
    found = np.zeros(len(rows), dtype=np.int64)
    for i in range(len(rows)):
        row = rows[i]
        for column in range(indices.shape[1]):
            if inside[indices[row, column]]:
                columns[i, found[i]] = column
                found[i] += 1
                if found[i] == k:
                    break
    return columns, found


@numba.njit(nogil=True, cache=True)
def count_shared(a: np.ndarray, b: np.ndarray) -> int:
    """How many entries of each row of `a` (m, k) are also in the same row of `b` (m, k), in all."""
    total = 0
    for i in range(len(a)):
        for x in a[i]:
            for y in b[i]:
                if x == y:
                    total += 1
                    break
    return total
