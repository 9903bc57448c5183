"""The manifold of a sample: the balls around its rows, each up to its k-th nearest other row.

Balls are closed: a row at exactly the radius is inside. So the order of the rows never decides, and a
row with k copies has a ball of radius zero that holds its copies, wherever they come from.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.neighbour_distance import enough, index
from divmatch.kernels.execution import execution
from divmatch.kernels.neighbours import Crossing
from divmatch.samples import Samples

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Manifold:
    """The balls of a sample's rows; all rows carry weight.

    ``value`` is aᵢ over the mass of the other rows in ball i: 1/k where weights and distances are
    equal and different. ``first`` is the distance to the nearest other row, ``near`` the k others.
    """

    radius: Array  # (n,)
    first: Array  # (n,)
    near: Integers  # (n, k)
    value: Array  # (n,)


def carrying(samples: Samples) -> Samples:
    """The rows that carry weight, once: a row without weight is not there."""
    if samples.weights is None or samples.weights.all():
        return samples
    weights = samples.weights
    return samples.once("carrying", lambda: samples.take(weights > 0))


def manifold(samples: Samples, k: int) -> Manifold:
    """The balls of the rows, found once."""
    return samples.once(("manifold", k), lambda: _manifold(samples, k))


def _manifold(samples: Samples, k: int) -> Manifold:
    enough(samples, k + 1, f" for k = {k}")
    asked = min(k + 1, samples.n - 1)  # one more shows a tie
    far, near = index(samples).nearest(samples.points, asked, exclude_self=True)
    radius = far[:, k - 1].copy()
    tied = np.flatnonzero(far[:, k] <= radius) if asked > k else np.empty(0, np.int64)
    near = near[:, :k].copy()
    return Manifold(radius, far[:, 0].copy(), near, _values(samples, radius, near, tied))


def _values(samples: Samples, radius: Array, near: Integers, tied: Integers) -> Array:
    """The weight of every row over the mass of the other rows in its ball."""
    counts = tied  # as empty as it is without ties
    if len(tied):
        counts = index(samples).count_within(samples.points[tied], radius[tied]) - 1
    if samples.weights is None:
        held = np.full(samples.n, float(near.shape[1]))
        held[tied] = counts
        return 1.0 / held
    held = samples.weights[near].sum(axis=1)
    for part, rows in lists(samples, samples.points[tied], counts + 1):
        held[tied[part]] = samples.weights[rows].sum(axis=1) - samples.weights[tied[part]]
    return samples.weights / held


def lists(
    samples: Samples, queries: Array, counts: Integers
) -> Iterator[tuple[Integers, Integers]]:
    """Groups of queries, and the counts[i] nearest rows of each, for all counts."""
    for count in np.unique(counts):
        asking = np.flatnonzero(counts == count)
        size = max(1, execution().memory // (64 * int(count)))
        for start in range(0, len(asking), size):
            part = asking[start : start + size]
            yield part, index(samples).nearest(queries[part], int(count))[1]


def crossing(x: Samples, y: Samples, k: int) -> Crossing:
    """Who is in whose ball: rows of y are the queries, rows of x the points; found once.

    It is kept with y, the candidate: x may be a reference that sees many. A sample with too few rows
    has no balls.
    """

    def compute() -> tuple[Samples, Crossing]:
        mine, theirs = (_balls(samples, k) for samples in (x, y))
        return x, index(x).crossing(y.points, theirs[0], *mine)

    return y.once(("crossing", k, id(x)), compute)[1]  # x is kept too, so its address is its own


def _balls(samples: Samples, k: int) -> tuple[Array, Array]:
    """Radii and values."""
    if samples.n <= k:
        return np.full(samples.n, -1.0), np.zeros(samples.n)
    found = manifold(samples, k)
    return found.radius, found.value


def authentic(x: Samples, y: Samples, k: int) -> NDArray[np.bool_]:
    """Whether rows of y are farther from their nearest row of x than that is from its nearest other.

    Of several nearest rows the loneliest decides: then the order of the rows does not.
    """
    enough(x, 2, " for authenticity")
    first = manifold(x, min(k, x.n - 1)).first
    far, near = index(x).nearest(y.points, 2)
    lonely = first[near[:, 0]]
    tied = np.flatnonzero(far[:, 0] == far[:, 1])
    counts = index(x).count_within(y.points[tied], far[tied, 0])
    for part, rows in lists(x, y.points[tied], counts):
        lonely[tied[part]] = first[rows].max(axis=1)
    return far[:, 0] > lonely
