"""Rows in a random order that does not depend on the order in which they came."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.hashing import mixed
from divmatch.samples import Samples

Places = NDArray[np.intp]


def lexicographic(points: NDArray[Any], masses: NDArray[Any]) -> Places:
    """Places of the rows that carry weight, by their numbers whatever the order of the columns."""
    kept = np.flatnonzero(masses > 0)
    keys = np.round(masses[kept] * len(masses), 9)  # weights equal but for rounding are equal
    order: Places = kept[np.lexsort((keys, *points[kept].T, *np.sort(points[kept], axis=1).T))]
    return order


def both_shuffled(x: Samples, y: Samples, rng: "np.random.Generator") -> tuple[Places, Places]:
    """The same of two samples, whichever of them is called x."""
    if _before(y, x):
        second, first = shuffled(y, rng), shuffled(x, rng)
        return first, second
    return shuffled(x, rng), shuffled(y, rng)


def _before(x: Samples, y: Samples) -> bool:
    """An order of two samples by the rows that carry weight: their number, then their numbers."""
    left, right = (np.sort(s.points[s.masses() > 0], axis=None) for s in (x, y))
    if len(left) != len(right):
        return len(left) < len(right)
    apart = np.flatnonzero(left != right)
    return len(apart) > 0 and bool(left[apart[0]] < right[apart[0]])


def shuffled(samples: Samples, rng: "np.random.Generator") -> Places:
    """Places of the rows that carry weight, in an order that ``rng`` and their numbers decide.

    By a hash of the numbers and not by a permutation of the sorted rows: of those, one seed would
    always put the same ranks together. Equal rows are told apart by their count.
    """
    order = lexicographic(samples.points, samples.masses())
    rows = np.sort(samples.points[order], axis=1) + 0.0  # no minus zero
    hashes = np.full(len(order), rng.integers(2**63), dtype=np.uint64)
    for column in np.ascontiguousarray(rows.T):
        hashes = mixed(hashes ^ column.view(np.uint64))
    hashes = mixed(hashes ^ hashes.sum())  # another sample, another order also of rows they share
    grouped = np.argsort(hashes, kind="stable")
    fresh = np.flatnonzero(np.diff(hashes[grouped], prepend=~hashes[grouped[:1]]))
    counts = np.arange(len(order)) - np.repeat(fresh, np.diff(np.append(fresh, len(order))))
    hashes[grouped] = mixed(hashes[grouped] + counts.astype(np.uint64))
    found: Places = order[np.argsort(hashes, kind="stable")]
    return found
