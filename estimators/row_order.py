"""Rows in a random order that does not depend on the order in which they came."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.samples import Samples

Places = NDArray[np.intp]


def lexicographic(points: NDArray[Any], masses: NDArray[Any]) -> Places:
    """Places of the rows that carry weight, by their numbers whatever the order of the columns."""
    kept = np.flatnonzero(masses > 0)
    keys = np.round(masses[kept] * len(masses), 9)  # weights equal but for rounding are equal
    order: Places = kept[np.lexsort((keys, *points[kept].T, *np.sort(points[kept], axis=1).T))]
    return order


def both_shuffled(x: Samples, y: Samples, rng: np.random.Generator) -> tuple[Places, Places]:
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


def shuffled(samples: Samples, rng: np.random.Generator) -> Places:
    """Places of the rows that carry weight, in random order: sorted files are no trap."""
    return rng.permutation(lexicographic(samples.points, samples.masses()))
