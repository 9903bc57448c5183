"""Wasserstein distances between the projections of two samples onto lines, by sorting.

Projections are taken from a centre near the data, so that an offset costs no digits. Sizes of blocks
depend on nothing but the shapes, and results are kept per direction: the same digits for any memory
and any number of threads.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import in_order, steps_of
from divmatch.kernels.quantiles import (
    cumulated,
    equal_cells,
    equal_turns,
    knots,
    noise,
    potentials,
    sorted_costs,
    weighted_cells,
    weighted_turns,
)

Array = NDArray[np.float64]
Places = NDArray[Any]  # whole numbers: positions of rows
Keep = Callable[[Hashable, Callable[[], Any]], Any]

BLOCK = 3_200_000  # projections of one sample held at a time by one thread; half with their order
STRIP = 1 << 17  # projections worked on at a time: they stay in the cache
CHUNK = 1024  # rows centred at a time
KEPT = 4_000_000  # projections of a reference worth keeping for the next candidate


def ranked(values: Array) -> Places:
    """Rows of an order that sorts ``values`` but for the last few digits; shape (q, n).

    The number of the row takes the place of the lowest bits, and NumPy sorts numbers twice as fast
    as it sorts positions. 35 bits of the values are left for 100,000 rows: plenty for an influence.
    """
    rows = values.shape[1]
    mask = np.int64((1 << (rows - 1).bit_length()) - 1)
    keys = (values.view(np.int64) & ~mask) | np.arange(rows)
    numbers = keys.view(np.float64)
    numbers.sort(axis=1)
    return keys & mask


def typical(points: Array) -> Array:
    """Median of up to 101 rows, a centre made of the data's own numbers; (n, d) to (d,)."""
    some = np.sort(points[:: -(-len(points) // 101)], axis=0)
    middle: Array = some[(len(some) - 1) // 2]
    return middle


def projected(points: Array, centre: Array, vectors: Array) -> Array:
    """Vectors @ (points − centre)ᵀ without a copy of the points; (q, d), (n, d) to (q, n)."""
    made = np.empty((len(vectors), len(points)))
    for rows in steps_of(len(points), CHUNK):
        np.matmul(vectors, (points[rows] - centre).T, out=made[:, rows])
    return made


# --------------------------------------------------------------------------------- two samples


class Influences(NamedTuple):
    """Per direction W_p^p and its noise, (L,); mean potential of every row, (n,) and (m,)."""

    costs: Array
    noise: Array
    rows_x: Array
    rows_y: Array


def _afresh(_: Hashable, compute: Callable[[], Any]) -> Any:
    return compute()


@dataclass(frozen=True, eq=False)
class Slices:
    """The distances W_p^p between projections of x (n, d) and y (m, d), weights (n,) and (m,).

    Without weights every row counts the same. ``keep`` may hold on to what concerns x alone.
    """

    x: Array
    y: Array
    p: float
    weights: tuple[Array, Array] | None = None
    keep: Keep = _afresh

    def costs(self, vectors: Array) -> Array:
        """W_p^p along every direction, shape (L,). O(L (n + m)(d + log(n + m))) time."""
        if self.weights is not None:
            return self._by_weight(vectors, influences=False).costs
        cells, centre = equal_cells(len(self.x), len(self.y)), typical(self.x)

        def block(part: slice) -> Array:
            x = self._kept(
                "sorted", part, vectors, lambda: self._sorted(self.x, centre, vectors[part])
            )
            y = self._sorted(self.y, centre, vectors[part])
            rows = steps_of(len(x), self._at_once(STRIP))
            return np.concatenate([sorted_costs(x[r], y[r], cells, self.p) for r in rows])

        return np.concatenate(list(in_order(block, self._parts(vectors, BLOCK))))

    def influences(self, vectors: Array) -> Influences:
        """Costs, their noise, and the mean potential of every row."""
        if self.weights is not None:
            return self._by_weight(vectors, influences=True)
        n, m = len(self.x), len(self.y)
        cells, centre = equal_cells(n, m), typical(self.x)
        turns_x, turns_y = equal_turns(n, m), equal_turns(m, n)
        a, b = np.full(n, 1 / n), np.full(m, 1 / m)
        at = knots(a, b, cumulated(a), cumulated(b), self.p)

        def block(part: slice) -> Influences:
            x, order_x = self._kept(
                "ranked", part, vectors, lambda: self._ranked(self.x, centre, vectors[part])
            )
            y, order_y = self._ranked(self.y, centre, vectors[part])
            costs, noises, sums_x, sums_y = [], [], np.zeros(n), np.zeros(m)
            for r in steps_of(len(x), self._at_once(STRIP)):
                costs.append(sorted_costs(x[r], y[r], cells, self.p))
                noises.append(noise(x[r], y[r], at, self.p))
                _scatter(sums_x, order_x[r], potentials(x[r], y[r], turns_x, self.p))
                _scatter(sums_y, order_y[r], potentials(y[r], x[r], turns_y, self.p))
            return Influences(np.concatenate(costs), np.concatenate(noises), sums_x, sums_y)

        return _gathered(in_order(block, self._parts(vectors, BLOCK // 2)), n, m, len(vectors))

    def _by_weight(self, vectors: Array, *, influences: bool) -> Influences:
        """One direction at a time: the weights come in another order along every direction."""
        a, b = self.weights or (np.empty(0), np.empty(0))
        centre, p = typical(self.x), self.p

        def block(part: slice) -> Influences:
            across = projected(self.x, centre, vectors[part])
            down = projected(self.y, centre, vectors[part])
            costs, noises, sums_x, sums_y = [], [], np.zeros(len(a)), np.zeros(len(b))
            for values_x, values_y in zip(across, down, strict=True):
                order_x, order_y = np.argsort(values_x), np.argsort(values_y)
                x, y = values_x[order_x][None], values_y[order_y][None]
                upto_x, upto_y = cumulated(a[order_x]), cumulated(b[order_y])
                costs.append(sorted_costs(x, y, weighted_cells(upto_x, upto_y), p))
                noises.append(noise(x, y, knots(a, b, upto_x, upto_y, p), p))
                if influences:
                    sums_x[order_x] += potentials(x, y, weighted_turns(upto_x, upto_y), p)[0]
                    sums_y[order_y] += potentials(y, x, weighted_turns(upto_y, upto_x), p)[0]
            return Influences(np.concatenate(costs), np.concatenate(noises), sums_x, sums_y)

        return _gathered(
            in_order(block, self._parts(vectors, BLOCK // 2)), len(a), len(b), len(vectors)
        )

    def _at_once(self, numbers: int) -> int:
        return max(1, numbers // max(len(self.x), len(self.y)))

    def _parts(self, vectors: Array, numbers: int) -> Iterator[slice]:
        return steps_of(len(vectors), min(64, self._at_once(numbers)))

    def _kept(self, what: str, part: slice, vectors: Array, compute: Callable[[], Any]) -> Any:
        """``compute`` once for the same x and directions, where it is small enough to keep."""
        if vectors.shape[0] * len(self.x) > KEPT:
            return compute()
        return self.keep(("slices", what, vectors[part].tobytes()), compute)

    def _sorted(self, points: Array, centre: Array, vectors: Array) -> Array:
        values = projected(points, centre, vectors)
        values.sort(axis=1)
        return values

    def _ranked(self, points: Array, centre: Array, vectors: Array) -> tuple[Array, Places]:
        values = projected(points, centre, vectors)
        order = np.empty(values.shape, dtype=np.int32)
        for rows in steps_of(len(values), self._at_once(STRIP)):
            order[rows] = ranked(values[rows])
        values.sort(axis=1)
        return values, order


def _scatter(sums: Array, order: Places, values: Array) -> None:
    for places, row in zip(order, values, strict=True):
        sums[places] += row


def _gathered(blocks: Iterator[Influences], n: int, m: int, count: int) -> Influences:
    costs, noises, total_x, total_y = [], [], np.zeros(n), np.zeros(m)
    for part in blocks:
        costs.append(part.costs)
        noises.append(part.noise)
        total_x += part.rows_x
        total_y += part.rows_y
    return Influences(
        np.concatenate(costs), np.concatenate(noises), total_x / count, total_y / count
    )


# -------------------------------------------------------------------------------- many splits


class Pool:
    """W_p^p between the two parts of any split of a pool, (N, d): sorted once, O(N) per split."""

    def __init__(self, points: Array, weights: Array | None, vectors: Array, p: float) -> None:
        self.points, self.weights, self.p = points, weights, p
        self.centre = typical(points)
        self.vectors = [vectors[part] for part in steps_of(len(vectors), 8)]
        self.count = len(vectors)
        sortings = list(in_order(self._sorting, self.vectors))
        self.orders = [order for order, _ in sortings]
        self.reach = max(reach for _, reach in sortings)

    def _sorting(self, vectors: Array) -> tuple[Places, float]:
        values = projected(self.points, self.centre, vectors)
        reach = float(np.ptp(values, axis=1).max())
        return np.argsort(values, axis=1).astype(np.int32), reach

    def costs(self, labels: NDArray[np.bool_]) -> Array:
        """Mean over directions for every column of labels (N, B); shape (B,)."""
        rows = np.ascontiguousarray(labels.T)

        def several(task: tuple[Array, Places]) -> Array:
            vectors, orders = task
            total = np.zeros(len(rows))
            for values, order in zip(
                projected(self.points, self.centre, vectors), orders, strict=True
            ):
                line, weights = values[order], self._weights(order)
                for some in steps_of(len(rows), max(1, STRIP // len(order))):
                    splits = rows[some].take(order, axis=1)
                    total[some] += split_costs(line, splits, weights, self.p)
            return total

        total = np.zeros(len(rows))
        for part in in_order(several, zip(self.vectors, self.orders, strict=True)):
            total += part
        return total / self.count

    def _weights(self, order: Places) -> Array | None:
        return None if self.weights is None else self.weights[order]


def split_costs(line: Array, splits: NDArray[np.bool_], weights: Array | None, p: float) -> Array:
    """W_p^p between marked and other numbers of a sorted line; (N,), (B, N) to (B,)."""
    if weights is not None:
        if p == 1:
            return _areas(line, splits, weights)
        return np.array([_weighted_split(line, split, weights, p) for split in splits])
    made = np.empty(len(splits))
    marked = splits.sum(axis=1)
    for n in np.unique(marked):  # all the same in a permutation test
        here = marked == n
        x, y = _picked(line, splits[here]), _picked(line, ~splits[here])
        made[here] = sorted_costs(x, y, equal_cells(x.shape[1], y.shape[1]), p)
    return made


def _picked(line: Array, marks: NDArray[np.bool_]) -> Array:
    """``line`` where marked, for rows of equally many marks: many times faster than line[marks]."""
    places = np.flatnonzero(marks).reshape(len(marks), -1)
    places -= len(line) * np.arange(len(marks))[:, None]
    return line.take(places, mode="clip")


def _areas(line: Array, splits: NDArray[np.bool_], weights: Array) -> Array:
    """W₁ = ∫ |F − G|, from the cumulative masses."""
    masses = np.where(splits, weights, 0.0)
    away = cumulated(masses) - cumulated(weights - masses)
    return np.asarray(np.abs(away[:, :-1]) @ np.diff(line))


def _weighted_split(line: Array, split: NDArray[np.bool_], weights: Array, p: float) -> float:
    cells = weighted_cells(cumulated(weights[split]), cumulated(weights[~split]))
    return float(sorted_costs(line[split][None], line[~split][None], cells, p)[0])
