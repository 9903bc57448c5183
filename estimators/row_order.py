"""Rows in a random order that does not depend on the order in which they came."""

from copy import deepcopy
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
    """The same of two samples; the order of each does not depend on the other one.

    Two samples of the same rows are in two orders: no row must meet its copy.
    """
    first = shuffled(x, deepcopy(rng))
    if _alike(x, y):
        rng.integers(2**63)
    return first, shuffled(y, rng)


def _alike(x: Samples, y: Samples) -> bool:
    """Whether the numbers of the rows that carry weight are the same."""
    left, right = (np.sort(s.points[s.masses() > 0], axis=None) for s in (x, y))
    return bool(np.array_equal(left, right))


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
