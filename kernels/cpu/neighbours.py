"""Compiled twin of `divmatch.kernels.gpu.neighbours`: a float32 product finds, float64 decides.

With points centred and scaled, ``t = |y|²/2 − x·y`` equals (|x − y|² − |x|²) / 2. A BLAS product in
float32 gives t for a tile of pairs; its rounding error is below ``g (|x|²/2 + |y|²)`` with
``g = (d + 12) 2⁻²⁴`` (conversion of both points, d + 1 products in any order, the float64 steps).
The part with |y| is taken off t beforehand, the part with |x| is added to the limit: an entry above
the limit is certainly farther than the distance it was made from. All others, and those that are
NaN because float32 cannot hold their points, are decided by the float64 distance.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.jit import compiled_exactly, inlined

Array = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]

TILE_ROWS = 512  # with 320 columns 640 KiB: in the cache of one core
TILE_COLUMNS = 320
TESTED = 64  # entries of a tile that are tested together
SAMPLED = 1024  # rows that decide centre and scale
LARGEST = 2.0**120  # squared norm above which float32 could overflow: such points become NaN
TINY = 2.0**-110  # covers products that underflow, in float32 and (scales end at 2⁴⁸⁰) in float64
ROUNDED = 2.0**-23  # twice what turning a float64 into a float32 loses


@dataclass(frozen=True, eq=False)
class Index:
    """The points, and what the float32 product needs of them."""

    points: Array  # (m, d)
    centre: Array  # (d,)
    scale: float  # a power of two
    lowered: Singles  # (d + 1, columns): scaled points and |y|²/2 − g |y|²; NaN behind the last
    widest: Array  # (tiles,) the largest g |y|² of each tile
    error: float  # g


def indexed(points: Array) -> Index:
    """See `divmatch.kernels.neighbours`."""
    m, d = points.shape
    sampled = points[:: -(-m // SAMPLED)]
    centre = np.median(sampled, axis=0)
    spread = np.abs(sampled - centre).max(axis=1)
    typical = np.median(spread[spread > 0]) if spread.any() else 1.0
    scale = float(2.0 ** -np.clip(np.frexp(typical)[1], -480, 480))
    error = (d + 12) * 2.0**-24
    lowered = np.full((d + 1, -(-m // TESTED) * TESTED), np.nan, dtype=np.float32)
    widest = []
    for start in range(0, m, TILE_COLUMNS):
        tile = slice(start, min(start + TILE_COLUMNS, m))
        single, squared = _single(points[tile], centre, scale)
        lowered[:d, tile] = single.T
        lowered[d, tile] = squared * (0.5 - error)
        widest.append(error * np.max(squared, initial=0.0, where=squared <= LARGEST))
    return Index(points, centre, scale, lowered, np.array(widest), error)


def rows_at_once(index: Index, memory: int) -> int:
    """See `divmatch.kernels.neighbours`."""
    return int(np.clip(memory // (4 * TILE_COLUMNS), 1, TILE_ROWS))


def nearest(index: Index, queries: Array, k: int, own: Integers) -> tuple[Array, Integers]:
    """See `divmatch.kernels.neighbours`."""
    augmented, squared, slack = _augmented(index, queries)
    distances = np.full((len(queries), k), np.nan)
    rows = np.full((len(queries), k), -1)
    for first, tile in _tiles(index, augmented):
        insert(
            tile, first, queries, index.points, squared, slack, index.scale, own, distances, rows
        )
    return distances, rows


def count_within(index: Index, queries: Array, radius: Array) -> Integers:
    """See `divmatch.kernels.neighbours`."""
    augmented, squared, slack = _augmented(index, queries)
    counts = np.zeros(len(queries), dtype=np.int64)
    for number, (first, tile) in enumerate(_tiles(index, augmented)):
        width = 2.0 * float(index.widest[number])
        count(
            tile, first, queries, index.points, squared, slack, index.scale, radius, width, counts
        )
    return counts


def crossing(
    index: Index, queries: Array, reach: Array, radius: Array, values: Array
) -> tuple[Integers, Array, Integers, Integers]:
    """See `divmatch.kernels.neighbours`."""
    augmented, squared, slack = _augmented(index, queries)
    outer, inner = _shifts(index, radius)
    counts, sums = np.zeros(len(queries), dtype=np.int64), np.zeros(len(queries))
    holding, held = np.zeros((2, len(radius)), dtype=np.int64)
    for number, (first, tile) in enumerate(_tiles(index, augmented)):
        width = 2.0 * float(index.widest[number])
        cross(
            tile, first, queries, index.points, squared, slack, index.scale, reach, radius, outer,
            inner, width, values, counts, sums, holding, held,
        )  # fmt: skip
    return counts, sums, holding, held


def _shifts(index: Index, radius: Array) -> tuple[Singles, Singles]:
    """What a point's own radius adds to the limits, rounded away from it and towards it."""
    reach = np.zeros(index.lowered.shape[1])
    reach[: len(radius)] = 0.5 * (radius * index.scale) ** 2
    odd = ~(reach <= LARGEST)  # float32 could overflow: every such pair is decided in float64
    odd[: len(radius)] |= radius < 0  # and so is a ball that holds nothing
    reach[odd] = LARGEST
    outer, inner = reach * (1.0 + 4.0 * ROUNDED), reach * (1.0 - 4.0 * ROUNDED)
    outer[odd], inner[odd] = np.inf, -np.inf
    return outer.astype(np.float32), inner.astype(np.float32)


def _single(points: Array, centre: Array, scale: float) -> tuple[Singles, Array]:
    """Centred, scaled float32 points and their squared norms; NaN where float32 could overflow."""
    scaled = (points - centre) * scale
    squared = np.einsum("ij,ij->i", scaled, scaled)
    scaled[~(squared <= LARGEST)] = np.nan
    squared[~(squared <= LARGEST)] = np.nan
    return scaled.astype(np.float32), squared


def _augmented(index: Index, queries: Array) -> tuple[Singles, Array, Array]:
    """The factor (−x, 1) of the product, |x|², and what the limits of each row are widened by."""
    single, squared = _single(queries, index.centre, index.scale)
    ones = np.ones((len(queries), 1), dtype=np.float32)
    slack = 0.5 * index.error * squared + len(index.lowered) * TINY
    return np.hstack([-single, ones]), squared, slack


def _tiles(index: Index, augmented: Singles) -> Any:
    """(first column, tile) from left to right, all tiles in the same memory."""
    room = np.empty((len(augmented), TILE_COLUMNS), dtype=np.float32)
    for first in range(0, index.lowered.shape[1], TILE_COLUMNS):
        part = index.lowered[:, first : first + TILE_COLUMNS]
        tile = room if part.shape[1] == TILE_COLUMNS else np.empty_like(room[:, : part.shape[1]])
        yield first, np.matmul(augmented, part, out=tile)


@inlined
def exact_distance(x: Array, y: Array) -> float:
    """|x − y|, summed in the order of `divmatch.kernels.neighbours.sum_of_squares`."""
    d = x.shape[0]
    whole = d - d % 4
    total = 0.0
    for c in range(0, whole, 4):
        g0, g1 = x[c] - y[c], x[c + 1] - y[c + 1]
        g2, g3 = x[c + 2] - y[c + 2], x[c + 3] - y[c + 3]
        total += (g0 * g0 + g1 * g1) + (g2 * g2 + g3 * g3)
    for c in range(whole, d):
        gap = x[c] - y[c]
        total += gap * gap
    return np.sqrt(total)


@inlined
def entry_above(distance: float, scale: float, squared: float, slack: float) -> np.float32:
    """No entry of a point within ``distance`` is above this."""
    value = 0.5 * ((distance * scale) ** 2 - squared) + slack
    return np.float32(value + abs(value) * ROUNDED)


@compiled_exactly
def insert(
    tile: Singles,
    first: int,
    queries: Array,
    points: Array,
    squared: Array,
    slack: Array,
    scale: float,
    own: Integers,
    distances: Array,
    rows: Integers,
) -> None:
    """Put the points of a tile into the sorted lists of nearest points; NaN marks a free place."""
    last = distances.shape[1] - 1
    for i in range(tile.shape[0]):
        limit = entry_above(distances[i, last], scale, squared[i], slack[i])
        for start in range(0, tile.shape[1], TESTED):
            part = tile[i, start : start + TESTED]  # a slice: indices from 0 vectorise
            hits = np.int32(0)
            for j in range(TESTED):
                hits += np.int32(not part[j] > limit)
            if hits == 0:
                continue
            for j in range(TESTED):
                row = first + start + j
                if part[j] > limit or row >= points.shape[0] or row == own[i]:
                    continue
                distance = exact_distance(queries[i], points[row])
                if distance >= distances[i, last]:
                    continue  # rows come in ascending order: of equals the earlier stays
                place = last
                while place > 0 and not distances[i, place - 1] <= distance:
                    distances[i, place] = distances[i, place - 1]
                    rows[i, place] = rows[i, place - 1]
                    place -= 1
                distances[i, place] = distance
                rows[i, place] = row
                limit = entry_above(distances[i, last], scale, squared[i], slack[i])


@compiled_exactly
def count(
    tile: Singles,
    first: int,
    queries: Array,
    points: Array,
    squared: Array,
    slack: Array,
    scale: float,
    radius: Array,
    width: float,
    counts: Integers,
) -> None:
    """Add the points of a tile that lie within the radius; ``width`` bounds how much t is lowered."""
    for i in range(tile.shape[0]):
        limit = entry_above(radius[i], scale, squared[i], slack[i])
        value = 0.5 * ((radius[i] * scale) ** 2 - squared[i]) - slack[i] - width
        sure = np.float32(min(value * (1.0 - ROUNDED), value * (1.0 + ROUNDED)))
        for start in range(0, tile.shape[1], TESTED):
            part = tile[i, start : start + TESTED]
            inside, possible = np.int32(0), np.int32(0)
            for j in range(TESTED):
                inside += np.int32(part[j] < sure)
                possible += np.int32(not part[j] > limit)
            counts[i] += inside
            if possible == inside:
                continue
            for j in range(TESTED):
                row = first + start + j
                if part[j] > limit or part[j] < sure or row >= points.shape[0]:
                    continue
                counts[i] += exact_distance(queries[i], points[row]) <= radius[i]


@compiled_exactly
def cross(
    tile: Singles,
    first: int,
    queries: Array,
    points: Array,
    squared: Array,
    slack: Array,
    scale: float,
    reach: Array,
    radius: Array,
    outer: Singles,
    inner: Singles,
    width: float,
    values: Array,
    counts: Integers,
    sums: Array,
    holding: Integers,
    held: Integers,
) -> None:
    """Add the pairs of a tile where one is in the other's ball; see `count` for ``width``."""
    for i in range(tile.shape[0]):
        limit = slack[i] - 0.5 * squared[i]
        above = np.float32(limit + abs(limit) * 4.0 * ROUNDED)
        limit = -slack[i] - 0.5 * squared[i] - width
        below = np.float32(limit - abs(limit) * 4.0 * ROUNDED)
        own = entry_above(reach[i], scale, squared[i], slack[i])
        value = 0.5 * ((reach[i] * scale) ** 2 - squared[i]) - slack[i] - width
        sure = np.float32(min(value * (1.0 - ROUNDED), value * (1.0 + ROUNDED)))
        if reach[i] < 0.0:
            own = sure = np.float32(-np.inf)
        for start in range(0, tile.shape[1], TESTED):
            part = tile[i, start : start + TESTED]
            far = outer[first + start : first + start + TESTED]
            near = inner[first + start : first + start + TESTED]
            possible = np.int32(0)
            for j in range(TESTED):
                possible += np.int32(not (part[j] > above + far[j] and part[j] > own))
            if possible == 0:
                continue
            for j in range(TESTED):
                row = first + start + j
                if (part[j] > above + far[j] and part[j] > own) or row >= points.shape[0]:
                    continue
                inside, around = part[j] < below + near[j], part[j] < sure
                # one that is neither sure nor ruled out needs the distance
                if not (inside or part[j] > above + far[j]) or not (around or part[j] > own):
                    distance = exact_distance(queries[i], points[row])
                    inside, around = distance <= radius[row], distance <= reach[i]
                if inside:
                    counts[i] += 1
                    sums[i] += values[row]
                    holding[row] += 1
                if around:
                    held[row] += 1
