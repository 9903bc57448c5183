"""Compiled twin of `divmatch.kernels.gpu.neighbours`: a float32 product finds, float64 decides.

With points centred and scaled, ``|x|²/2 + |y|²/2 − x·y`` is half the squared distance. A BLAS product
in float32 gives it for a tile of pairs, with a rounding error below ``g (|x|² + |y|²)`` for
``g = (d + 16) 2⁻²⁴`` (conversion of both points, d + 2 products in any order, the steps after them).
That much is taken off beforehand: an entry is never above the half squared distance, and never
below it by more than the ``room`` 2g |x|² + 2g |y|² of its two points. Points that float32 cannot
hold have the entry −∞ and infinite room, so they are never ruled out.

A query keeps its k least upper bounds. The last of them is its limit: pairs with an entry above are
certainly farther. The others wait; when their place is full and at the end, float64 distances decide.
Each pair is looked at once for both of its points where the queries are the points themselves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.cpu.jit import compiled_exactly, inlined
from divmatch.kernels.execution import execution, in_order

Array = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]
Pair = tuple[int, int]

TILE_ROWS = 512  # with 640 columns the product is fastest, and scanning still reads it from a cache
TILE_COLUMNS = 640
TESTED = 64  # entries of a tile that are tested together
WAITING = 32  # pairs of a query that wait for their float64 distance
PANEL_ROWS = 1024  # fewest rows that one thread pairs with as many others at a time
SAMPLED = 64  # rows that decide centre and scale
LARGEST = 2.0**120  # squared norm above which float32 could overflow
TINY = 2.0**-110  # covers products that underflow, in float32 and (scales end at 2⁴⁸⁰) in float64
ROUNDED = 2.0**-22  # four times what turning a float64 into a float32 loses


@dataclass(frozen=True, eq=False)
class Index:
    """The points, and what the float32 product needs of them."""

    points: Array  # (m, d)
    centre: Array  # (d,)
    scale: float  # a power of two
    factor: Singles  # (d + 2, columns): scaled points, |y|²/2 less its error, 1; ∞ behind the last
    room: Singles  # (m,)


class Lists(NamedTuple):
    """The points, the queries, and what is known of the nearest points of each."""

    points: Array  # (m, d)
    rooms: Singles  # (m,)
    scale: float
    queries: Array  # (q, d)
    own: Integers  # (q,) the row that a list leaves out, or -1
    room: Singles  # (q,)
    limit: Singles  # (q,) no entry of a neighbour is above
    bounds: Singles  # (q, k) least upper bounds of half squared distances, ascending
    held: Integers  # (q,) pairs that wait
    entries: Singles  # (q, WAITING)
    waiting: NDArray[np.int32]  # (q, WAITING) rows
    distances: Array  # (q, k) ascending; NaN marks a free place
    rows: Integers  # (q, k)


def indexed(points: Array) -> Index:
    """See `divmatch.kernels.neighbours`."""
    m, d = points.shape
    sampled = points[:: -(-m // SAMPLED)]
    centre = np.sort(sampled, axis=0)[len(sampled) // 2]
    spread = np.sort(np.abs(sampled - centre).max(axis=1))
    typical = spread[(len(spread) + np.count_nonzero(spread == 0)) // 2] if spread.any() else 1.0
    scale = float(2.0 ** -np.clip(np.frexp(typical)[1], -480, 480))
    factor = np.zeros((d + 2, -(-m // TESTED) * TESTED), dtype=np.float32)
    factor[d], factor[d + 1] = np.inf, 1.0
    room = np.empty(m, dtype=np.float32)
    for start in range(0, m, TILE_COLUMNS):
        tile = slice(start, min(start + TILE_COLUMNS, m))
        single, factor[d, tile], room[tile] = _single(points[tile], centre, scale)
        factor[:d, tile] = single.T
    return Index(points, centre, scale, factor, room)


def rows_at_once(index: Index, memory: int) -> int:
    """See `divmatch.kernels.neighbours`."""
    return int(np.clip(memory // (4 * TILE_COLUMNS + 8 * WAITING), 1, TILE_ROWS))


def nearest(index: Index, queries: Array, k: int, own: Integers) -> tuple[Array, Integers]:
    """See `divmatch.kernels.neighbours`."""
    factor, room = left_factor(index, queries)
    lists = _free(index, queries, own, room, k)
    for first, tile in tiles(index, factor, slice(0, index.factor.shape[1])):
        if first == 0:
            preset(tile, 0, 0, lists)
        insert(tile, 0, first, lists)
    decide(lists, 0, len(queries))
    return lists.distances, lists.rows


def nearest_others(index: Index, k: int) -> tuple[Array, Integers] | None:
    """The lists of all points, each without itself; None where blocks of queries do better."""
    m, d = index.points.shape
    panels = min(4 * execution().threads, m // PANEL_ROWS) // 2 * 2
    if panels == 0 or m * (4 * (d + k + 8) + 8 * WAITING) > execution().memory:
        return None
    step = -(-m // (panels * TESTED)) * TESTED
    factor = np.ones((m, d + 2), dtype=np.float32)
    np.negative(index.factor[:d, :m].T, out=factor[:, :d])
    factor[:, d + 1] = index.factor[d, :m]
    lists = _free(index, index.points, np.arange(m), index.room, k)

    def met(pair: Pair) -> None:
        _meet(index, factor, lists, *(slice(i * step, min((i + 1) * step, m)) for i in pair))

    def decided(panel: int) -> None:
        decide(lists, panel * step, min((panel + 1) * step, m))

    for pairs in _rounds(panels):
        list(in_order(met, pairs))
    list(in_order(decided, range(panels)))
    return lists.distances, lists.rows


def _rounds(panels: int) -> Iterator[list[Pair]]:
    """All pairs of an even number of panels; no panel is twice in a round: threads share no list."""
    yield [(i, i) for i in range(panels)]
    around = panels - 1
    for turn in range(around):
        yield [(around, turn)] + [
            ((turn + i) % around, (turn - i) % around) for i in range(1, panels // 2)
        ]


def _meet(index: Index, factor: Singles, lists: Lists, rows: slice, columns: slice) -> None:
    """Tell the lists of two panels of each other's points, or those of one of its own."""
    for top in range(rows.start, rows.stop, TILE_ROWS):
        part = factor[top : min(top + TILE_ROWS, rows.stop)]
        for first, tile in tiles(index, part, columns):
            if rows == columns:
                if first == columns.start:
                    preset(tile, top, first, lists)
                insert(tile, top, first, lists)
                continue
            limits = np.full(tile.shape[1], np.nan, dtype=np.float32)
            limits[: columns.stop - first] = lists.limit[first : columns.stop][: len(limits)]
            insert_both(tile, top, first, limits, lists)


def count_within(index: Index, queries: Array, radius: Array) -> Integers:
    """See `divmatch.kernels.neighbours`."""
    factor, room = left_factor(index, queries)
    counts = np.zeros(len(queries), dtype=np.int64)
    for first, tile in tiles(index, factor, slice(0, index.factor.shape[1])):
        count(tile, first, queries, room, index.points, index.room, index.scale, radius, counts)
    return counts


def _single(points: Array, centre: Array, scale: float) -> tuple[Singles, Array, Array]:
    """Centred and scaled points, |y|²/2 less its error, room; 0, −∞ and ∞ where float32 cannot."""
    scaled = (points - centre) * scale
    squared = np.einsum("ij,ij->i", scaled, scaled)
    large = ~(squared <= LARGEST)
    scaled[large], squared[large] = 0.0, np.inf
    terms = (points.shape[1] + 16) * 2.0**-24
    error = squared * (terms / (1.0 - terms)) + (points.shape[1] + 2) * TINY
    half = np.where(large, -np.inf, squared * 0.5 - np.where(large, 0.0, error))
    return scaled.astype(np.float32), half, 2.0 * error * (1.0 + ROUNDED)


def left_factor(index: Index, queries: Array) -> tuple[Singles, Singles]:
    """The left factor (−x, 1, |x|²/2) of the product, and the room of each row."""
    single, half, room = _single(queries, index.centre, index.scale)
    factor = np.ones((len(queries), single.shape[1] + 2), dtype=np.float32)
    np.negative(single, out=factor[:, :-2])
    factor[:, -1] = half
    return factor, room.astype(np.float32)


def _free(index: Index, queries: Array, own: Integers, room: Singles, k: int) -> Lists:
    """Lists that hold nothing yet."""
    q = len(queries)
    given = (index.points, index.room, index.scale, queries, own, room)
    return Lists(
        *given,
        limit=np.full(q, np.inf, dtype=np.float32),
        bounds=np.full((q, k), np.inf, dtype=np.float32),
        held=np.zeros(q, dtype=np.int64),
        entries=np.empty((q, WAITING), dtype=np.float32),
        waiting=np.empty((q, WAITING), dtype=np.int32),
        distances=np.full((q, k), np.nan),
        rows=np.full((q, k), -1),
    )


def tiles(index: Index, factor: Singles, columns: slice) -> Iterator[tuple[int, Singles]]:
    """(first column, tile) from left to right, all tiles in the same memory."""
    stop = -(-columns.stop // TESTED) * TESTED
    widest = max(0, min(TILE_COLUMNS, stop - columns.start))
    room = np.empty(len(factor) * widest, dtype=np.float32)
    for first in range(columns.start, stop, TILE_COLUMNS):
        part = index.factor[:, first : min(first + TILE_COLUMNS, stop)]
        tile = room[: len(factor) * part.shape[1]].reshape(len(factor), part.shape[1])
        with np.errstate(invalid="ignore"):  # −∞ of a query and ∞ behind the last point
            yield first, np.matmul(factor, part, out=tile)


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
def entry_above(distance: float, scale: float) -> np.float32:
    """No entry of a point within ``distance`` is above this."""
    return np.float32(0.5 * (distance * scale) ** 2 * (1.0 + ROUNDED))


@inlined
def widest_of(room: Singles, first: int, columns: int) -> np.float32:
    """The largest room of the points of a tile."""
    widest = np.float32(0.0)
    for row in range(first, min(first + columns, len(room))):
        widest = max(widest, room[row])
    return widest


@compiled_exactly
def preset(tile: Singles, top: int, left: int, lists: Lists) -> None:
    """First limits: of k + 1 points in different lanes of a tile, at least k are not the query."""
    k = lists.bounds.shape[1]
    widest = widest_of(lists.rooms, left, tile.shape[1])
    lanes, least = np.empty(TESTED, np.float32), np.empty(k + 1, np.float32)
    for i in range(tile.shape[0]):
        lanes[:] = np.inf
        least[:] = np.inf
        fold(tile[i], lanes)
        for entry in lanes:
            if entry < least[k]:
                place = k
                while place > 0 and least[place - 1] > entry:
                    least[place] = least[place - 1]
                    place -= 1
                least[place] = entry
        bound = least[k] + (widest + lists.room[top + i])
        if bound < lists.limit[top + i]:  # not where it is NaN
            lists.limit[top + i] = bound


@compiled_exactly
def fold(entries: Singles, lanes: Singles) -> None:
    """The least entry of every TESTED-th."""
    for start in range(0, len(entries), TESTED):
        part = entries[start : start + TESTED]  # a slice: indices from 0 vectorise
        for j in range(TESTED):
            lanes[j] = part[j] if part[j] < lanes[j] else lanes[j]


@compiled_exactly
def insert(tile: Singles, top: int, left: int, lists: Lists) -> None:
    """Offer the points of the columns to the rows."""
    parts = tile.reshape(tile.shape[0], -1, TESTED)  # no slices in the loop: counted references
    m, own = len(lists.points), lists.own
    for i in range(parts.shape[0]):
        query, limit = top + i, lists.limit[top + i]
        for p in range(parts.shape[1]):
            hits = np.uint8(0)
            for j in range(TESTED):
                hits = np.uint8(hits + np.uint8(parts[i, p, j] <= limit))
            if hits == 0:
                continue
            for j in range(TESTED):
                entry, row = parts[i, p, j], left + p * TESTED + j
                if entry <= limit and row < m and row != own[query]:
                    offer(query, row, entry, lists)
                    limit = lists.limit[query]


@compiled_exactly
def insert_both(tile: Singles, top: int, left: int, limits: Singles, lists: Lists) -> None:
    """As `insert`, and the rows to the columns; their limits are NaN where no point is."""
    parts = tile.reshape(tile.shape[0], -1, TESTED)  # no slices in the loop: counted references
    others = limits.reshape(-1, TESTED)
    m, own = len(lists.points), lists.own
    for i in range(parts.shape[0]):
        query, limit = top + i, lists.limit[top + i]
        for p in range(parts.shape[1]):
            hits = np.uint8(0)
            for j in range(TESTED):
                entry = parts[i, p, j]
                hits = np.uint8(hits + np.uint8((entry <= limit) | (entry <= others[p, j])))
            if hits == 0:
                continue
            for j in range(TESTED):
                entry = parts[i, p, j]
                if not (entry <= limit or entry <= others[p, j]):
                    continue
                row = left + p * TESTED + j
                if entry <= limit and row < m and row != own[query]:
                    offer(query, row, entry, lists)
                    limit = lists.limit[query]
                if entry <= others[p, j]:
                    offer(row, query, entry, lists)
                    others[p, j] = lists.limit[row]


@inlined
def offer(query: int, row: int, entry: np.float32, lists: Lists) -> None:
    """Let a point wait for its distance, and lower the limit if it is among the k nearest so far."""
    if lists.held[query] == WAITING:
        decide(lists, query, query + 1)
    held = lists.held[query]
    lists.entries[query, held] = entry
    lists.waiting[query, held] = row
    lists.held[query] = held + 1
    bound = entry + (lists.room[query] + lists.rooms[row])
    place = lists.bounds.shape[1] - 1
    if bound < lists.bounds[query, place]:  # not where it is NaN
        while place > 0 and lists.bounds[query, place - 1] > bound:
            lists.bounds[query, place] = lists.bounds[query, place - 1]
            place -= 1
        lists.bounds[query, place] = bound
        lists.limit[query] = min(lists.limit[query], lists.bounds[query, -1])


@compiled_exactly
def decide(lists: Lists, start: int, stop: int) -> None:
    """Put the points that wait into the lists: by distance, of equals by row."""
    distances, rows = lists.distances, lists.rows
    last = distances.shape[1] - 1
    for i in range(start, stop):
        for h in range(lists.held[i]):
            if lists.entries[i, h] > lists.limit[i]:
                continue
            row = lists.waiting[i, h]
            distance = exact_distance(lists.queries[i], lists.points[row])
            place = last + 1
            while place > 0:
                other = distances[i, place - 1]
                if other < distance or (other == distance and rows[i, place - 1] < row):
                    break
                place -= 1
                if place < last:
                    distances[i, place + 1] = other
                    rows[i, place + 1] = rows[i, place]
            if place <= last:
                distances[i, place] = distance
                rows[i, place] = row
                limit = entry_above(distances[i, last], lists.scale)
                lists.limit[i] = limit if limit < lists.limit[i] else lists.limit[i]
        lists.held[i] = 0


@compiled_exactly
def count(
    tile: Singles,
    first: int,
    queries: Array,
    room: Singles,
    points: Array,
    points_room: Singles,
    scale: float,
    radius: Array,
    counts: Integers,
) -> None:
    """Add the points of a tile that lie within the radius."""
    widest = widest_of(points_room, first, tile.shape[1])
    for i in range(tile.shape[0]):
        limit = entry_above(radius[i], scale)
        value = 0.5 * (radius[i] * scale) ** 2 * (1.0 - ROUNDED) - room[i] - widest
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
