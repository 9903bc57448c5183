"""Neighbours in two groups of columns at once, by the largest difference of any column.

The radius of a row is the distance to its k-th neighbour in all columns; counted are the rows that
are nearer than that in one group alone. A difference is |x − y| in float64 whatever finds it, so that
the k-th neighbour itself is never counted by rounding.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import execution, in_order, steps_of

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

TREE_COLUMNS = 7  # columns up to which a tree visits fewer rows than it costs
TREE_FROM = (
    2e6  # n² (d + 8) operations from which SciPy (0.35 s) pays: intervals ask a hundred times
)
WIDEST = 512  # rows of a block


@dataclass(frozen=True, eq=False)
class Near:
    """Radius of every row, and the numbers and mean weights of the rows inside, itself included.

    ``joint`` is the mean weight of the rows inside in all columns; all are 1 without weights. Where
    the radius is 0 the rows inside are the copies, in all columns and in each group.
    """

    radius: Array
    inside_x: Integers
    inside_y: Integers
    copies: Integers
    joint: Array
    weight_x: Array
    weight_y: Array


def near(x: Array, y: Array, k: int, weights: Array | None = None) -> Near:
    """Of the rows of x (n, p) and y (n, q); ``weights`` (n,) have the mean 1.

    Time O(n log n) for few columns, else O(n² (p + q)); memory O(n) and blocks.
    """
    z = np.concatenate([x, y], axis=1)
    n, d = z.shape
    tree = d <= TREE_COLUMNS and float(n) ** 2 * (d + 8) >= TREE_FROM
    radius, joint = (_by_tree if tree else _by_blocks)(z, k, weights)
    copies = np.full(n, k)
    alone = radius == 0
    if alone.any():
        copies[alone], joint[alone] = (part[alone] for part in _copies(z, weights))
    reach = np.where(alone, 0.0, np.nextafter(radius, 0.0))  # a closed ball of copies at 0
    inside_x, mass_x = _within(x, reach, weights, tree)
    inside_y, mass_y = _within(y, reach, weights, tree)
    return Near(radius, inside_x, inside_y, copies, joint, mass_x / inside_x, mass_y / inside_y)


def _by_tree(z: Array, k: int, weights: Array | None) -> tuple[Array, Array]:
    from scipy.spatial import cKDTree

    which = [k + 1] if weights is None else list(range(1, k + 2))
    found, rows = cKDTree(z).query(z, which, p=np.inf, workers=execution().threads)
    radius = np.asarray(found[:, -1])
    if weights is None:
        return radius, np.ones(len(z))
    inside = found < radius[:, None]
    return radius, _mean(np.where(inside, weights[rows], 0.0).sum(axis=1), inside.sum(axis=1))


def _by_blocks(z: Array, k: int, weights: Array | None) -> tuple[Array, Array]:
    def block(rows: slice) -> tuple[Array, Array]:
        gaps = _gaps(z[rows], z)
        radius = np.partition(gaps, k, axis=1)[:, k]
        if weights is None:
            return radius, np.ones(len(radius))
        inside = gaps < radius[:, None]
        return radius, _mean(inside @ weights, inside.sum(axis=1))

    parts = list(in_order(block, _blocks(len(z)), work=float(z.size) * len(z)))
    radius, joint = (np.concatenate(own) for own in zip(*parts, strict=True))
    return radius, joint


def _mean(sums: Array, counts: Integers) -> Array:
    """Of the rows inside; none are inside where the radius is 0."""
    return np.asarray(sums / np.maximum(counts, 1))


def _copies(z: Array, weights: Array | None) -> tuple[Integers, Array]:
    """How many rows are equal to each, and the mean of their weights."""
    places = np.unique(z, axis=0, return_inverse=True)[1].reshape(-1)
    counts = np.bincount(places)
    if weights is None:
        return counts[places], np.ones(len(z))
    return counts[places], (np.bincount(places, weights) / counts)[places]


def _blocks(n: int) -> list[slice]:
    """Blocks of rows whose distances fit the memory."""
    return list(steps_of(n, max(1, min(WIDEST, execution().memory // (64 * n)))))


def _gaps(rows: Array, z: Array) -> Array:
    """The largest |difference| of any column, shape (rows, n)."""
    made = np.abs(rows[:, :1] - z[:, 0])
    for c in range(1, z.shape[1]):
        np.maximum(made, np.abs(rows[:, c : c + 1] - z[:, c]), out=made)
    return made


def _within(z: Array, reach: Array, weights: Array | None, tree: bool) -> tuple[Integers, Array]:
    """How many rows are at most as far away as ``reach``, and the sum of their weights."""
    if z.shape[1] == 1:
        return _on_line(z[:, 0], reach, weights)
    if tree and weights is None:
        from scipy.spatial import cKDTree

        counts = cKDTree(z).query_ball_point(
            z, reach, p=np.inf, return_length=True, workers=execution().threads
        )
        counts = np.asarray(counts, dtype=np.int64)
        return counts, counts.astype(np.float64)

    def block(rows: slice) -> tuple[Integers, Array]:
        held = _gaps(z[rows], z) <= reach[rows, None]
        counts = np.count_nonzero(held, axis=1)
        return counts, counts.astype(np.float64) if weights is None else held @ weights

    parts = list(in_order(block, _blocks(len(z)), work=float(z.size) * len(z)))
    counts, sums = (np.concatenate(own) for own in zip(*parts, strict=True))
    return counts.astype(np.int64), sums


def _on_line(values: Array, reach: Array, weights: Array | None) -> tuple[Integers, Array]:
    """By sorting: the ends are searched for, then moved to where the differences say."""
    order = np.argsort(values, kind="stable")
    line = values[order]
    first = np.searchsorted(line, values - reach)
    last = np.searchsorted(line, values + reach, side="right")
    padded = np.concatenate([[-np.inf], line, [np.inf]])  # line[i] is padded[i + 1]
    while (more := values - padded[first] <= reach).any():
        first -= more
    while (less := values - padded[first + 1] > reach).any():
        first += less
    while (more := padded[last + 1] - values <= reach).any():
        last += more
    while (less := padded[last] - values > reach).any():
        last -= less
    counts = last - first
    if weights is None:
        return counts, counts.astype(np.float64)
    upto = np.concatenate([[0.0], np.cumsum(weights[order])])
    return counts, upto[last] - upto[first]
