"""The inner loops of the neighbour search on CPU: selection within a block, and measuring what was selected."""

from __future__ import annotations

import numba
import numpy as np

SEGMENT = 512  # columns between two looks at the room left
TINY = 1e-30  # above what float32 loses where numbers of order 1 underflow


def error(d: int) -> float:
    """c such that a float32 approximation of |x - y|^2 is wrong by at most c (|x| + |y|)^2.

    With u = 2^-24 and d < 300,000, a product of d terms summed in any order is wrong by at most 1.02 d u |x| |y|, which
    enters twice; rounding the points, the norm and the sum adds less than 8 u (|x| + |y|)^2.
    """
    return 2.0**-24 * (0.51 * d + 8)


@numba.njit(nogil=True, cache=True)
def margin(c, norm, square):
    """How far from the k-th smallest approximation, `square`, any point that may hold rank k can lie.

    A point at distance r has |y| <= |x| + r, so its error is at most c (8 |x|^2 + 2 r^2). The k-th true square is then
    within e of `square`, e solving e = c (8 |x|^2 + 2 (square + e)), and so is the error of a point that holds it.
    """
    return 2 * c * (8 * norm + 2 * abs(square)) / (1 - 2 * c) + TINY


@numba.njit(nogil=True, cache=True)
def _scratch(room):
    return np.empty(room, np.float32), np.empty(room, np.int32), np.empty(1024, np.int64)


@numba.njit(nogil=True, cache=True)
def _insert(values, places, n, ties):
    """Insertion sort of the first n values; with `ties`, equal ones by place."""
    for i in range(1, n):
        value, place, j = values[i], places[i], i
        while j and (values[j - 1] > value or (ties and values[j - 1] == value and places[j - 1] > place)):
            values[j], places[j] = values[j - 1], places[j - 1]
            j -= 1
        values[j], places[j] = value, place


@numba.njit(nogil=True, cache=True)
def _sort(values, places, n, scratch):
    """Sort the first n values, with their places: counting sort on even bins, then insertion."""
    spare, spare_places, bins = scratch
    low, high = values[:n].min(), values[:n].max()
    width = (len(bins) - 2) / (high - low) if high > low else 0.0
    bins[:] = 0
    for i in range(n):
        spare[i], spare_places[i] = values[i], places[i]
        bins[int((values[i] - low) * width) + 1] += 1
    for b in range(1, len(bins)):
        bins[b] += bins[b - 1]
    for i in range(n):
        b = int((spare[i] - low) * width)
        values[bins[b]], places[bins[b]] = spare[i], spare_places[i]
        bins[b] += 1
    _insert(values, places, n, False)


@numba.njit(nogil=True, cache=True)
def filter_columns(products, norms, first, N, need, values, places, counts, limits):
    """Append what is below a row's limit; lower the limit at columns 512, 2048, 8192, .. and when room gets short.

    Columns come in random order, so `need` survivors of N columns are about need * seen / N of those seen; five
    standard deviations are added. Every column below the last limit is kept, so a limit too low shows in `settle`.
    """
    scratch = _scratch(values.shape[1])
    for row in range(len(products)):
        n, limit, value, place = counts[row], limits[row], values[row], places[row]
        for start in range(0, products.shape[1], SEGMENT):
            for j in range(start, min(start + SEGMENT, products.shape[1])):
                v = norms[first + j] - np.float32(2) * products[row, j]
                value[n], place[n] = v, first + j
                n += v < limit
            seen = first + start + SEGMENT
            if (seen & (seen - 1) == 0 and seen & 0xAAAAAAAAAAAA) or n + SEGMENT > len(value):
                share = need * (seen / N)
                target = int(share + 5 * np.sqrt(share) + 10)
                if target < n:
                    _sort(value, place, n, scratch)
                    n, limit = target, value[target - 1]
        counts[row], limits[row] = n, limit


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _square(x, y):
    total = 0.0
    for t in range(len(x)):
        difference = np.float64(x[t]) - np.float64(y[t])
        total += difference * difference
    return total


@numba.njit(nogil=True, cache=True)
def settle(raw, own, order, norms, c, values, places, counts, limits, wanted, squares, indices, at_ranks):
    """Measure the candidates near every wanted rank; all points where the candidates can't settle it."""
    N, room, maxk, first = len(raw), values.shape[1], wanted[0], at_ranks.shape[1] - len(wanted) + 1
    exact, who, scratch = np.empty(room), np.empty(room, np.int32), _scratch(room)
    for row in range(len(own)):
        value, place, x, n = values[row], places[row], raw[own[row]], counts[row]
        sure = n >= wanted.max()
        if sure:
            _sort(value, place, n, scratch)
        for w in range(len(wanted)):
            if not sure:
                break
            k = wanted[w]
            gap = margin(c, norms[row], value[k - 1] + norms[row])
            low, high = k - 1 if w else 0, k
            while low and value[low - 1] >= value[k - 1] - gap:
                low -= 1
            while high < n and value[high] <= value[k - 1] + gap:
                high += 1
            sure = value[k - 1] + gap < limits[row]
            for i in range(low, high):
                who[i - low] = order[place[i]]
                exact[i - low] = _square(x, raw[who[i - low]])
            if w:
                at_ranks[row, first + w - 1] = np.sort(exact[: high - low])[k - 1 - low]
            else:
                _insert(exact, who, high, True)
                squares[row], indices[row] = exact[:maxk], who[:maxk]
        if not sure:
            every = np.empty(N)
            for j in range(N):
                every[j] = _square(x, raw[j])
            every[own[row]] = np.inf
            by = np.argsort(every, kind="mergesort")
            for k in range(maxk):
                squares[row, k], indices[row, k] = every[by[k]], by[k]
            for w in range(1, len(wanted)):
                at_ranks[row, first + w - 1] = every[by[wanted[w] - 1]]
