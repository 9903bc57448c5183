"""A partition of space into cells of equal mass, by recursive splits at quantiles."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


def cells_of_equal_mass(points: Array, weights: Array, count: int) -> tuple[NDArray[np.intp], int]:
    """The cell of every row, and the number of cells; rows of weight 0 go where they belong.

    A part that is to hold c cells is split where its share ⌊c/2⌋ / c ends, along the column in which
    its weighted rows spread furthest, in units of that column's spread over all; so one column
    gives bins of equal mass. Equal rows stay together: an atom heavier than its cell keeps a cell of
    its own, and a part of equal rows is not split.
    Time O(N d log(count)).
    """
    live = weights > 0
    spread = points[live].std(axis=0)
    unit = np.where(spread > 0, spread, 1.0)
    cell = np.zeros(len(points), dtype=np.intp)
    found = 0
    waiting = [(np.arange(len(points)), count)]
    while waiting:
        rows, wanted = waiting.pop()
        parts = list(_split(points, weights, rows, wanted, unit)) if wanted > 1 else []
        if parts:
            waiting += reversed(parts)
        else:
            cell[rows] = found
            found += 1
    return cell, found


def _split(
    points: Array, weights: Array, rows: Rows, wanted: int, unit: Array
) -> Iterator[tuple[Rows, int]]:
    """The two parts of a part with their numbers of cells; nothing where it cannot be split."""
    live = rows[weights[rows] > 0]
    low, high = points[live].min(axis=0), points[live].max(axis=0)
    column = int(np.argmax((high - low) / unit))
    if not high[column] > low[column]:
        return
    left = wanted // 2
    edge = _quantile(points[live, column], weights[live], left / wanted)
    values = points[rows, column]
    below = values <= edge if edge < high[column] else values < edge
    yield rows[below], left
    yield rows[~below], wanted - left


def _quantile(values: Array, weights: Array, share: float) -> float:
    """The smallest value up to which ``share`` of the mass lies."""
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(weights[order])
    place = int(np.searchsorted(mass, share * mass[-1] * (1.0 - 1e-12)))
    return float(values[order[min(place, len(order) - 1)]])
