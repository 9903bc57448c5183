"""The largest classes of rows: a given number of them, or as many as a price for each is worth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.matcher import Array
from divmatch.transport.bregman import Generator, nearest, powered, price, price_of_dropped

Index = NDArray[np.intp]
GROUPS = (
    8  # of a row's numbers, times k: the more, the fewer numbers beside the k largest are looked at
)
FIRST = 64  # largest classes looked at before it is known how many a row keeps


@dataclass(frozen=True, eq=False)
class Kept:
    """The classes that rows keep, (B, k), their new masses, 0 beyond what a row keeps, and the price.

    ``tied`` counts rows in which equal masses stood on both sides of the cut.
    """

    classes: Index
    masses: Array
    counts: Index
    divergence: Array
    tied: int


def top_places(rows: NDArray[np.floating], k: int) -> tuple[Index, NDArray[np.bool_]]:
    """The k largest of every row, in the order of their places, first ones of equals; and who has ties.

    Time: two comparisons of a row, and a partial sort of few of its numbers.
    """
    classes = rows.shape[1]
    places = np.empty((len(rows), k), dtype=np.intp)
    tied = np.zeros(len(rows), dtype=bool)
    if k == classes:
        places[:] = np.arange(classes)
        return places, tied
    for i, row in enumerate(rows):
        likely = likely_places(row, k)
        values = row[likely]
        edge = np.partition(values, len(values) - k)[len(values) - k]
        within = values >= edge
        found = likely[within]
        if len(found) > k:
            above = values[within] > edge
            equals = found[~above][: k - int(above.sum())]
            found = np.sort(np.concatenate([found[above], equals]))
            tied[i] = True
        places[i] = found
    return places, tied


def likely_places(row: NDArray[np.floating], k: int) -> Index:
    """Places with the k largest of a row, and all equals of these, among them: a few more than k.

    The numbers are dealt out to groups; k of their maxima, and so k numbers, reach the k-th largest maximum.
    """
    groups = GROUPS * k
    if len(row) < 4 * groups:
        return np.arange(len(row))
    whole = len(row) - len(row) % groups
    best = row[:whole].reshape(-1, groups).max(axis=0)
    return np.flatnonzero(row >= np.partition(best, groups - k)[groups - k])


def penalised(masses: Array, of: Generator, worth: float) -> Kept:
    """The k with the least D + λ k in every row, λ = ``worth``, and the nearest distributions there.

    The price is convex in k: the least k with price(k + 1) − price(k) + λ ≥ 0, by bisection among the
    largest classes, of which more are taken where all seem worth it.
    """
    counts = np.empty(len(masses), dtype=np.intp)
    ordered: dict[int, tuple[NDArray[np.intp], Array]] = {}
    waiting, size = np.arange(len(masses)), min(FIRST, masses.shape[1])
    while len(waiting):
        places, _ = top_places(masses[waiting], size)
        values = np.take_along_axis(masses[waiting], places, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        values = np.take_along_axis(values, order, axis=1)
        found = best_counts(values, of, worth)
        sure = (found < size) | (size == masses.shape[1])
        counts[waiting[sure]] = found[sure]
        for one in np.flatnonzero(sure):
            ordered[int(waiting[one])] = places[one][order[one]], values[one]
        waiting, size = waiting[~sure], min(4 * size, masses.shape[1])
    most = int(counts.max())
    classes = np.zeros((len(masses), most), dtype=np.intp)
    top = np.zeros((len(masses), most))
    tied = np.zeros(len(masses), dtype=bool)
    for row, (place, sizes) in ordered.items():
        k = int(counts[row])
        classes[row, :k], top[row, :k] = place[:k], sizes[:k]
        tied[row] = k < len(sizes) and sizes[k] == sizes[k - 1]
    return priced(classes, top, tied, of, price_of_all(masses, of, 1.0, sums(masses, of)[1]))


def best_counts(values: Array, of: Generator, worth: float) -> Index:
    """Of rows of masses in falling order: the least k at which one class more is not worth λ."""
    positive = (values > 0).sum(axis=1)
    low, high = np.ones(len(values), dtype=np.intp), positive.copy()
    while (low < high).any():
        middle = (low + high) // 2
        rises = _price_at(values, middle + 1, of) - _price_at(values, middle, of) + worth >= 0
        high, low = np.where(rises, middle, high), np.where(rises, low, middle + 1)
        low = np.minimum(low, high)
    return high


def _price_at(values: Array, k: Index, of: Generator) -> Array:
    """The price of keeping k, less what is the same for all k: all dropped."""
    k = np.minimum(k, values.shape[1])
    inside = np.where(np.arange(values.shape[1]) < k[:, None], values, 0.0)
    if of.power == 1.0:
        return np.asarray(-np.log(inside.sum(axis=1)))
    saved = price_of_dropped(inside, of).sum(axis=1)
    return price(inside, nearest(inside, of), of) - np.asarray(saved)


def sums(rows: NDArray[np.floating], of: Generator) -> tuple[Array, Array]:
    """Σ p of rows of numbers, and Σ p^a where `price_of_all` wants it; else ones.

    One row at a time stays in the cache, and products add up as they are made.
    """
    if of.power == 1.0 or not of.drops:
        return rows.sum(axis=1, dtype=np.float64), np.ones(len(rows))
    totals, powers = np.empty(len(rows)), np.empty(len(rows))
    numbers = np.empty(rows.shape[1])
    for i, row in enumerate(rows):
        np.copyto(numbers, row)
        totals[i] = numbers.sum()
        if of.power > 1.0:
            powers[i] = numbers @ powered(numbers, of.power - 1.0)
        else:
            powers[i] = powered(numbers, of.power).sum()
    return totals, powers


def price_of_all(
    masses: NDArray[np.floating], of: Generator, totals: Array | float, powers: Array
) -> Array:
    """What dropping every class of rows would cost, (B,), of numbers with these `sums`.

    Of a divergence that is infinite for a dropped class, how many there are. With kl it is 1.
    """
    if not of.drops:
        return np.asarray((masses > 0).sum(axis=1), dtype=np.float64)
    if of.power == 1.0:
        return np.ones(len(masses))
    a = of.power
    return np.asarray(powers / totals**a / (a * (a - 1.0) if of.dual else a))


def priced(
    classes: Index, top: Array, tied: NDArray[np.bool_], of: Generator, every: Array
) -> Kept:
    """What rows keep at ``classes``, whose masses are ``top``; ``every`` is `price_of_all`."""
    q = nearest(top, of)
    cost = price(top, q, of)
    if of.power == 1.0 and not of.dual:
        cost = np.maximum(-np.log(np.minimum(top.sum(axis=1), 1.0)), 0.0)
    elif of.drops:
        cost = cost + np.maximum(every - price_of_dropped(top, of).sum(axis=1), 0.0)
    else:
        cost = np.where(every > (top > 0).sum(axis=1), np.inf, cost)
    return Kept(classes, q, (q > 0).sum(axis=1), cost, int(tied.sum()))
