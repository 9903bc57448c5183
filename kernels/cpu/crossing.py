"""Compiled twin of `divmatch.kernels.gpu.neighbours.crossing`: who is in whose ball, in one pass.

Entries and rooms are those of `divmatch.kernels.cpu.neighbours`: an entry is never above half the
squared distance, and never below it by more than the room of its two points.
"""

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.jit import compiled_exactly
from divmatch.kernels.cpu.neighbours import (
    LARGEST,
    ROUNDED,
    TESTED,
    Index,
    entry_above,
    exact_distance,
    left_factor,
    tiles,
    widest_of,
)

Array = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]


def crossing(
    index: Index, queries: Array, reach: Array, radius: Array, values: Array
) -> tuple[Integers, Array, Integers, Integers]:
    """See `divmatch.kernels.neighbours`."""
    factor, room = left_factor(index, queries)
    outer, inner = _limits(index, radius)
    counts, sums = np.zeros(len(queries), dtype=np.int64), np.zeros(len(queries))
    holding, held = np.zeros((2, len(radius)), dtype=np.int64)
    for first, tile in tiles(index, factor, slice(0, index.factor.shape[1])):
        cross(
            tile, first, queries, room, index.points, index.room, index.scale, reach, radius, outer,
            inner, values, counts, sums, holding, held,
        )  # fmt: skip
    return counts, sums, holding, held


def _limits(index: Index, radius: Array) -> tuple[Singles, Singles]:
    """Entries above the first are outside a point's ball; with the query's room below the second, inside."""
    outer = np.full(index.factor.shape[1], -np.inf)
    inner = outer.copy()
    m, room = len(radius), index.room.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        reach = 0.5 * (radius * index.scale) ** 2
        outer[:m] = reach * (1.0 + 4.0 * ROUNDED)
        inner[:m] = reach - room - 4.0 * ROUNDED * (reach + room)
    odd = ~(
        reach + room <= LARGEST
    )  # float32 could overflow: every such pair is decided in float64
    outer[:m][odd], inner[:m][odd] = np.inf, -np.inf
    outer[:m][radius < 0] = inner[:m][radius < 0] = -np.inf  # a ball that holds nothing
    return outer.astype(np.float32), inner.astype(np.float32)


@compiled_exactly
def cross(
    tile: Singles,
    first: int,
    queries: Array,
    room: Singles,
    points: Array,
    points_room: Singles,
    scale: float,
    reach: Array,
    radius: Array,
    outer: Singles,
    inner: Singles,
    values: Array,
    counts: Integers,
    sums: Array,
    holding: Integers,
    held: Integers,
) -> None:
    """Add the pairs of a tile where one is in the other's ball."""
    widest = widest_of(points_room, first, tile.shape[1])
    for i in range(tile.shape[0]):
        less = np.float32(-room[i] * (1.0 + 4.0 * ROUNDED))
        own = entry_above(reach[i], scale)
        value = 0.5 * (reach[i] * scale) ** 2 * (1.0 - ROUNDED) - room[i] - widest
        sure = np.float32(min(value * (1.0 - ROUNDED), value * (1.0 + ROUNDED)))
        if reach[i] < 0.0:
            own = sure = np.float32(-np.inf)
        for start in range(0, tile.shape[1], TESTED):
            part = tile[i, start : start + TESTED]
            far = outer[first + start : first + start + TESTED]
            near = inner[first + start : first + start + TESTED]
            possible = np.int32(0)
            for j in range(TESTED):
                possible += np.int32(not (part[j] > far[j] and part[j] > own))
            if possible == 0:
                continue
            for j in range(TESTED):
                row = first + start + j
                if (part[j] > far[j] and part[j] > own) or row >= points.shape[0]:
                    continue
                inside, around = part[j] < near[j] + less, part[j] < sure
                # one that is neither sure nor ruled out needs the distance
                if not (inside or part[j] > far[j]) or not (around or part[j] > own):
                    distance = exact_distance(queries[i], points[row])
                    inside, around = distance <= radius[row], distance <= reach[i]
                if inside:
                    counts[i] += 1
                    sums[i] += values[row]
                    holding[row] += 1
                if around:
                    held[row] += 1
