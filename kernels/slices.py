"""Wasserstein distances between the projections of two samples onto lines, by sorting.

Projections are taken from a centre near the data, so that an offset costs no digits. Sizes of blocks
depend on nothing but the shapes, and results are kept per direction: the same digits for any memory
and any number of threads.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import to_device, to_host, twin, uses_gpu
from divmatch.kernels.execution import execution, in_order, steps_of
from divmatch.kernels.quantiles import (
    Cells,
    batched_cells,
    cumulated,
    equal_cells,
    equal_turns,
    forces,
    knots,
    noise,
    potentials,
    sorted_costs,
    weighted_cells,
    weighted_turns,
)
from divmatch.kernels.slicings import LINEAR, Slicing

Array = NDArray[np.float64]
Places = NDArray[Any]  # whole numbers: positions of rows
Keep = Callable[[Hashable, Callable[[], Any]], Any]

BLOCK = 3_200_000  # projections of one sample held at a time by one thread; half with their order
STRIP = 1 << 17  # projections worked on at a time: they stay in the cache
KEPT = 4_000_000  # projections of a reference worth keeping for the next candidate
OPERATIONS = 4.0  # a number of a direction
TOGETHER = 8  # directions whose splits are one task
WALK = 4.0  # elementary operations a number on the way along a line
COMPILED_FROM = 3e8  # operations of all splits from which loading the compiled twin pays


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
    Directions have as many components as ``slicing`` asks for.
    """

    x: Array
    y: Array
    p: float
    weights: tuple[Array, Array] | None = None
    keep: Keep = _afresh
    slicing: Slicing = LINEAR

    @cached_property
    def cells(self) -> Cells | None:
        """Of equal weights."""
        return equal_cells(len(self.x), len(self.y))

    @cached_property
    def centre(self) -> Array:
        """Where the numbers along any direction are counted from."""
        return self.slicing.centre(self.x)

    def costs(self, vectors: Array) -> Array:
        """W_p^p along every direction, shape (L,). O(L (n + m)(d + log(n + m))) time."""
        if self.weights is not None:
            return self._by_weight(vectors, influences=False).costs
        cells, centre = self.cells, self.centre
        work = self._work(vectors)
        if uses_gpu(work):
            return self._on_device(vectors, centre, cells, work)

        def block(part: slice) -> Array:
            x = self._kept(
                "sorted", part, vectors, lambda: self._sorted(self.x, centre, vectors[part])
            )
            y = self._sorted(self.y, centre, vectors[part])
            rows = steps_of(len(x), self._at_once(STRIP))
            return np.concatenate([sorted_costs(x[r], y[r], cells, self.p) for r in rows])

        return np.concatenate(list(in_order(block, self._parts(vectors, BLOCK))))

    def _on_device(self, vectors: Array, centre: Array, cells: Cells | None, work: float) -> Array:
        """The same with all projections and sorts on the GPU, as many directions as there is room for."""
        x, y, centre_, vectors_ = (to_device(v, work) for v in (self.x, self.y, centre, vectors))
        if cells is not None:
            cells = Cells(*(to_device(part, work) for part in cells))
        number = max(1, execution().memory // (48 * (len(x) + len(y))))
        costs = []
        for part in steps_of(len(vectors), number):
            of_x, of_y = (self._sorted(points, centre_, vectors_[part]) for points in (x, y))
            costs.append(to_host(sorted_costs(of_x, of_y, cells, self.p)))
        return np.concatenate(costs)

    def influences(self, vectors: Array) -> Influences:
        """Costs, their noise, and the mean potential of every row."""
        if self.weights is not None:
            return self._by_weight(vectors, influences=True)
        n, m = len(self.x), len(self.y)
        cells, centre = self.cells, self.centre
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

    def slopes(self, vectors: Array) -> tuple[Array, Array]:
        """W_p^p along every direction, and its gradient there, of linear slices; (L,), (L, d)."""
        cells, centre = self.cells, self.centre

        def block(part: slice) -> tuple[Array, Array]:
            if self.weights is not None:
                return self._weighted_slopes(vectors[part], centre)
            x, order_x = self._ranked(self.x, centre, vectors[part])
            y, order_y = self._ranked(self.y, centre, vectors[part])
            costs, onto_x, onto_y = forces(x, y, cells, self.p)
            return costs, self._pulled(onto_x, order_x, onto_y, order_y)

        found = list(in_order(block, self._parts(vectors, BLOCK // 4), work=self._work(vectors)))
        return np.concatenate([c for c, _ in found]), np.concatenate([g for _, g in found])

    def _weighted_slopes(self, vectors: Array, centre: Array) -> tuple[Array, Array]:
        across, down = (self.slicing.numbers(z, centre, vectors) for z in (self.x, self.y))
        a, b = self.weights or (np.empty(0), np.empty(0))
        order_x, order_y = np.argsort(across, axis=1), np.argsort(down, axis=1)
        cells = batched_cells(cumulated(a[order_x]), cumulated(b[order_y]))
        x, y = np.take_along_axis(across, order_x, 1), np.take_along_axis(down, order_y, 1)
        costs, onto_x, onto_y = forces(x, y, cells, self.p)
        return costs, self._pulled(onto_x, order_x, onto_y, order_y)

    def _pulled(self, onto_x: Array, order_x: Places, onto_y: Array, order_y: Places) -> Array:
        """Σᵢ forceᵢ rowᵢ over both samples, from forces in the order of the line; (q, d)."""
        made = np.zeros((len(onto_x), self.x.shape[1]))
        for points, order, along in ((self.x, order_x, onto_x), (self.y, order_y, onto_y)):
            by_row = np.empty(along.shape)
            np.put_along_axis(by_row, order, along, axis=1)
            made += by_row @ points
        return made

    def _by_weight(self, vectors: Array, *, influences: bool) -> Influences:
        """One direction at a time: the weights come in another order along every direction."""
        a, b = self.weights or (np.empty(0), np.empty(0))
        centre, p = self.centre, self.p

        def block(part: slice) -> Influences:
            across, down = (
                self.slicing.numbers(points, centre, vectors[part]) for points in (self.x, self.y)
            )
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

    def _work(self, vectors: Array) -> float:
        return OPERATIONS * float(len(self.x) + len(self.y)) * vectors.size

    def _at_once(self, numbers: int) -> int:
        return max(1, numbers // max(len(self.x), len(self.y)))

    def _parts(self, vectors: Array, numbers: int) -> Iterator[slice]:
        return steps_of(len(vectors), min(64, self._at_once(numbers)))

    def _kept(self, what: str, part: slice, vectors: Array, compute: Callable[[], Any]) -> Any:
        """``compute`` once for the same x and directions, where it is small enough to keep."""
        if vectors.shape[0] * len(self.x) > KEPT:
            return compute()
        return self.keep(("slices", what, self.slicing, vectors[part].tobytes()), compute)

    def _sorted(self, points: Any, centre: Any, vectors: Any) -> Any:
        values = self.slicing.numbers(points, centre, vectors)
        values.sort(axis=1)
        return values

    def _ranked(self, points: Array, centre: Array, vectors: Array) -> tuple[Array, Places]:
        values = self.slicing.numbers(points, centre, vectors)
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

    def __init__(
        self,
        points: Array,
        weights: Array | None,
        vectors: Array,
        shares: Array,
        p: float,
        slicing: Slicing = LINEAR,
    ) -> None:
        self.points, self.weights, self.p, self.slicing = points, weights, p, slicing
        self.centre = slicing.centre(points)
        self.tasks = [(vectors[part], shares[part]) for part in steps_of(len(vectors), TOGETHER)]
        self.count, self.reach = len(vectors), 0.0
        self.engine: ModuleType | None = None  # the same for all splits of a test
        fits = 4 * len(points) * len(vectors) <= execution().memory // 2
        self.orders: dict[int, Places] | None = {} if fits else None

    def _lines(self, task: int) -> tuple[Array, Places]:
        """Sorted numbers along a few directions, and the rows that they are of."""
        values = self.slicing.numbers(self.points, self.centre, self.tasks[task][0])
        order = None if self.orders is None else self.orders.get(task)
        if order is None:
            order = np.argsort(values, axis=1).astype(np.int32)
            if self.orders is not None:
                self.orders[task] = order
        return np.take_along_axis(values, order, axis=1), order

    def costs(self, labels: NDArray[np.bool_]) -> Array:
        """Weighted mean over directions for every column of labels (N, B); shape (B,)."""
        rows = np.ascontiguousarray(labels.T)
        work = walking(len(labels), len(rows) * self.count)
        engine = self.engine = self.engine or twin(work, COMPILED_FROM)
        moved = to_device(rows, work)

        def several(task: int) -> tuple[Array, float]:
            total, reach = np.zeros(len(rows)), 0.0
            lines, orders = self._lines(task)
            for share, line, order in zip(self.tasks[task][1], lines, orders, strict=True):
                total += share * split_costs(line, order, moved, self.weights, self.p, engine, work)
                reach = max(reach, float(line[-1] - line[0]))
            return total, reach

        total = np.zeros(len(rows))
        for part, reach in in_order(several, range(len(self.tasks)), work=work):
            total += part
            self.reach = max(self.reach, reach)
        return total


def walking(rows: int, walks: int) -> float:
    """Elementary operations of so many walks along a line of so many numbers."""
    return WALK * float(rows) * walks


def split_costs(
    line: Array,
    order: Places,
    labels: Any,
    weights: Array | None,
    p: float,
    engine: ModuleType,
    work: float,
) -> Array:
    """W_p^p between marked and other numbers of a sorted line; labels (B, N) are where ``engine`` runs."""
    heavy = np.empty(0) if weights is None else weights[order]
    line, order, heavy = (to_device(part, work) for part in (line, order, heavy))
    made = to_device(np.empty(len(labels)), work)
    engine.split_costs(line, order, labels, heavy, p, made)
    return to_host(made)
