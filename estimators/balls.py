"""What lies around every row of two samples: closed balls in the pool of both.

The ball of a row reaches its k-th nearest other row, and holds every row at that distance. So the
order of the rows never decides, and copies of a row are in its ball together: tied and discrete
rows need no noise. Which rows are in a ball does not depend on which sample they came from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.kernels.execution import execution
from divmatch.kernels.neighbours import Neighbours

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

LONGER = 4  # how many times more neighbours are listed where the last one listed was a tie


@dataclass(frozen=True, eq=False)
class Place:
    """The distinct points of a pool, the point of every row, and the rows at every point."""

    points: Array  # (v, d)
    of_row: Integers  # (N,)
    copies: Integers  # (v,)

    def sums(self, values: Array) -> Array:
        """The sum of the values (N,) of the rows at every point; shape (v,)."""
        sums: Array = np.bincount(self.of_row, values, len(self.points)).astype(np.float64)
        return sums


def places(points: Array) -> Place:
    """Put copies of a row together: (N, d) rows, v distinct ones."""
    rows = len(points)
    first = np.sort(points[:, 0])
    if (first[1:] != first[:-1]).all():  # nothing can be a copy
        return Place(points, np.arange(rows), np.ones(rows, np.int64))
    order = np.lexsort(points.T)
    fresh = np.ones(rows, dtype=bool)
    fresh[1:] = (points[order[1:]] != points[order[:-1]]).any(axis=1)
    of_row = np.empty(rows, np.int64)
    of_row[order] = np.cumsum(fresh) - 1
    distinct = np.ascontiguousarray(points[order[fresh]])
    return Place(distinct, of_row, np.bincount(of_row))


def balls(place: Place, ks: Sequence[int]) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Blocks of (points, near, ends): the ball of k = ks[j] around points[i] is near[i, :ends[i, j]].

    ``near`` are points, itself among them. One search with the largest k serves all.
    """
    rows, most = len(place.of_row), max(ks)
    if rows <= most:
        raise InconclusiveError(f"{rows} rows in both samples, more than k = {most} are needed")
    index = Neighbours(place.points)
    waiting, asked = np.arange(len(place.points)), most + 2
    while len(waiting):
        asked = min(asked, len(place.points))
        size = max(1, execution().memory // (64 * asked))
        left = []
        for start in range(0, len(waiting), size):
            part = waiting[start : start + size]
            near, ends = _listed(index, place, part, asked, ks)
            cut = (ends[:, -1] == asked) & (asked < len(place.points))
            left.append(part[cut])
            yield (part[~cut], near[~cut], ends[~cut]) if cut.any() else (part, near, ends)
        waiting, asked = np.concatenate(left), LONGER * asked


def _listed(
    index: Neighbours, place: Place, part: Integers, asked: int, ks: Sequence[int]
) -> tuple[Integers, Integers]:
    """The ``asked`` points nearest to each of ``part``, and where the ball of every k ends."""
    everything = len(part) == len(place.points)
    queries = place.points if everything else place.points[part]
    far, near = index.nearest(queries, asked)
    rows = np.cumsum(place.copies[near], axis=1)  # with the row itself
    ends = np.empty((len(part), len(ks)), np.int64)
    for j, k in enumerate(ks):
        last = np.minimum(np.count_nonzero(rows <= k, axis=1), asked - 1)
        reach = np.take_along_axis(far, last[:, None], axis=1)
        ends[:, j] = np.count_nonzero(far <= reach, axis=1)
    return near, ends


def sums_in_balls(place: Place, ks: Sequence[int], values: Array) -> Array:
    """Sums of the values (v, c) of all points in each ball; shape (v, len(ks), c)."""
    found = np.empty((len(place.points), len(ks), values.shape[1]))
    for points, near, ends in balls(place, ks):
        for c in range(values.shape[1]):
            sums = np.cumsum(values[near, c], axis=1)
            found[points, :, c] = np.take_along_axis(sums, ends - 1, axis=1)
    return found


class Membership:
    """The balls themselves, for many sets of values: one sparse matrix (v, v) for each k."""

    def __init__(self, place: Place, ks: Sequence[int]) -> None:
        from scipy.sparse import csr_array

        self._matrices: list[Any] = []
        parts = list(balls(place, ks))
        size = len(place.points)
        for j in range(len(ks)):
            rows = np.concatenate([np.repeat(points, ends[:, j]) for points, _, ends in parts])
            near = [
                listed[np.arange(listed.shape[1]) < ends[:, j, None]] for _, listed, ends in parts
            ]
            ones = np.ones(len(rows))
            self._matrices.append(
                csr_array((ones, (rows, np.concatenate(near))), shape=(size, size))
            )

    def sums(self, values: Array) -> list[Array]:
        """Sums of the values (v, c) in each ball, one array (v, c) for each k."""
        return [np.asarray(matrix @ values) for matrix in self._matrices]
