"""Array-module twin of `divmatch.kernels.cpu.neighbours`: all distances of a block, then a partition."""

from typing import Any

import numpy as np

from divmatch.kernels.gpu.pairwise import array_module
from divmatch.kernels.neighbours import sum_of_squares

HELD = 6  # arrays of one distance a pair that a block holds at once
CACHED = 1 << 15  # distances of a block on the CPU: what its cache holds


def indexed(points: Any) -> Any:
    """See `divmatch.kernels.neighbours`."""
    return array_module(points).ascontiguousarray(points.T)


def rows_at_once(index: Any, memory: int) -> int:
    """See `divmatch.kernels.neighbours`."""
    pairs = memory // (8 * HELD)
    if array_module(index) is np:
        pairs = min(pairs, CACHED)
    return max(1, pairs // int(index.shape[1]))


def nearest(index: Any, queries: Any, k: int, own: Any) -> tuple[Any, Any]:
    """See `divmatch.kernels.neighbours`."""
    xp = array_module(index)
    distances = distances_to(xp, index, queries)
    owned = xp.flatnonzero(own >= 0)
    distances[owned, own[owned]] = xp.nan  # sorted behind everything, infinity included
    limit = xp.partition(distances, k - 1, axis=1)[:, k - 1 : k]
    chosen = distances <= limit
    if int(xp.count_nonzero(chosen)) > k * chosen.shape[0]:
        tied = distances == limit
        free = k - xp.count_nonzero(distances < limit, axis=1)
        chosen &= ~tied | (xp.cumsum(tied, axis=1) <= free[:, None])
    rows = xp.nonzero(chosen)[1].reshape(-1, k)
    found = xp.take_along_axis(distances, rows, axis=1)
    order = xp.argsort(found, axis=1, kind="stable")  # equals stay in the order of their rows
    return xp.take_along_axis(found, order, axis=1), xp.take_along_axis(rows, order, axis=1)


def count_within(index: Any, queries: Any, radius: Any) -> Any:
    """See `divmatch.kernels.neighbours`."""
    xp = array_module(index)
    return xp.count_nonzero(distances_to(xp, index, queries) <= radius[:, None], axis=1)


def distances_to(xp: Any, index: Any, queries: Any) -> Any:
    """All distances, shape (queries, points), a column at a time."""

    def square(column: int) -> Any:
        gap = queries[:, column, None] - index[column]
        gap *= gap
        return gap

    return xp.sqrt(sum_of_squares(square, index.shape[0]))
