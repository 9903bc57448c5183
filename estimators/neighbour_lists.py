"""Nearest neighbours of the same rows in two embeddings: who is in whose list."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from divmatch.estimator import Array
from divmatch.kernels.neighbours import Neighbours
from divmatch.randomness import stream

Integers = NDArray[np.int64]
Hits = NDArray[np.bool_]  # (n, k)


@dataclass(frozen=True, eq=False)
class Lists:
    """The neighbours of every row in both embeddings, (n, k), nearest first."""

    a: Integers
    b: Integers
    k: int
    tied: int  # rows whose k-th neighbour is as near as the next

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.a)

    @cached_property
    def common(self) -> Hits:
        """Which neighbours in a are neighbours in b too."""
        return self._hits(np.arange(self.n))

    @cached_property
    def returned(self) -> NDArray[np.bool_]:
        """Which rows are among the a-neighbours of one of their b-neighbours."""
        return self.returns(np.arange(self.n))

    def edges(self, order: Integers) -> tuple[Integers, Integers]:
        """Neighbours in common, as (row, place in a), where row i of a is beside row order[i] of b."""
        rows, places = np.nonzero(self._hits(order))
        return rows.astype(np.int64), places.astype(np.int64)

    def _hits(self, order: Integers) -> Hits:
        moved, lists = order[self.a], self.b[order]
        made = np.zeros(moved.shape, dtype=bool)
        for c in range(self.k):
            made |= moved == lists[:, c : c + 1]
        return made

    def returns(self, order: Integers) -> NDArray[np.bool_]:
        """`returned` where row i of a is beside row order[i] of b."""
        inverse = np.empty_like(order)
        inverse[order] = np.arange(self.n)
        near = inverse[self.b[order]]
        own, made = np.arange(self.n)[:, None], np.zeros(self.n, dtype=bool)
        for c in range(self.k):
            made |= (self.a[near, c] == own).any(axis=1)
        return made


def lists_of(a: Array, b: Array, k: int) -> Lists:
    """Search both embeddings, each in a random order of its own: ties fall independently."""
    rng = stream(0, "align", "ties")
    found = [_searched(rows, k, rng.permutation(len(a))) for rows in (a, b)]
    return Lists(found[0][0], found[1][0], k, int(np.count_nonzero(found[0][1] | found[1][1])))


def _searched(rows: Array, k: int, order: Integers) -> tuple[Integers, NDArray[np.bool_]]:
    mixed = np.ascontiguousarray(rows[order])
    distances, near = Neighbours(mixed).nearest(mixed, k + 1, exclude_self=True)
    made, tied = np.empty((len(rows), k), dtype=np.int64), np.empty(len(rows), dtype=bool)
    made[order] = order[near[:, :k]]
    tied[order] = distances[:, k - 1] == distances[:, k]
    return made, tied
