"""Exact transport between samples of numbers, by sorting: W_p^p, potentials and noise of one column."""

from collections.abc import Callable, Hashable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.estimator import Labels
from divmatch.kernels import merging
from divmatch.kernels.backend import to_device, twin
from divmatch.kernels.execution import in_order
from divmatch.kernels.quantiles import equal_cells, equal_knots, noise
from divmatch.kernels.slices import COMPILED_FROM, Slices, split_costs, walking
from divmatch.samples import Samples
from divmatch.transport.exact_costs import Arcs, Moved, joined, scale_of

Array = NDArray[np.float64]

ALONG = np.ones((1, 1))  # the only direction of a line


def moved_on_line(x: Samples, y: Samples, p: float, column: int, scale: float) -> Moved:
    """W_p^p of one column for any p >= 1: the i-th smallest go to the i-th smallest."""
    numbers_x, numbers_y = (samples.points[:, column : column + 1] for samples in (x, y))

    def keep(key: Hashable, compute: Callable[[], Any]) -> Any:
        return x.once((key, column, scale), compute)

    weights = None if x.weights is None and y.weights is None else (x.masses(), y.masses())
    found = Slices(numbers_x / scale, numbers_y / scale, p, weights, keep).influences(ALONG)
    cost = float(found.costs[0])
    if p == 1 and weights is None:
        cost = merged(x, y, column).cost  # the digits of the summary
    chance = float(found.noise[0]) if p in (1, 2) else 0.0
    return Moved(
        cost, cost, found.rows_x, found.rows_y, lambda: keeping_order(x, y, column), noise=chance
    )


def keeping_order(x: Samples, y: Samples, column: int) -> Arcs:
    """The plan that keeps the order: the cheapest for every convex cost of one column."""
    order_x, order_y = (np.argsort(z.points[:, column], kind="stable") for z in (x, y))
    if x.weights is None and y.weights is None:
        cells = equal_cells(x.n, y.n)
        if cells is None:
            return order_x, order_y, np.full(x.n, 1.0 / x.n)
        return order_x[cells.rows], order_y[cells.columns], cells.lengths
    rows, columns, masses = joined(x.masses()[order_x], y.masses()[order_y])
    return order_x[rows], order_y[columns], masses


def largest_move(x: Samples, y: Samples, column: int) -> float:
    """A power of two near the largest move of the plan that keeps the order, 1 where nothing moves."""
    rows, columns, _ = keeping_order(x, y, column)
    moves = x.points[rows, column] - y.points[columns, column]
    return scale_of(moves[:, None], np.zeros((1, 1)))


class Merged(NamedTuple):
    """W₁ of one column, its standard error (None for single rows), and what sampling makes of it."""

    cost: float
    se: float | None
    noise: float


def merged(x: Samples, y: Samples, column: int) -> Merged:
    """W₁ from one merge of the sorted samples of equal weights, without the places of the rows."""
    work = merging.WORK * (x.n + y.n)
    sorted_x, sorted_y = in_order(lambda one: _sorted(one, column), (x, y), work=work)
    cost, *squares = merging.signed_gaps(sorted_x, sorted_y)
    se = None
    if min(x.n, y.n) > 1:
        parts = zip(squares, (x.n, y.n), strict=True)
        se = sum(part / (n * (n - 1.0)) for part, n in parts) ** 0.5
    return Merged(
        cost, se, float(noise(sorted_x[None], sorted_y[None], equal_knots(x.n, y.n, 1), 1)[0])
    )


def _sorted(samples: Samples, column: int) -> Array:
    return samples.once(("sorted", column), lambda: merging.ordered(samples.points[:, column]))


class SortedPool:
    """The mean over columns of W_p between the two parts of any split: sorted once."""

    def __init__(self, pool: Samples, p: float) -> None:
        self.p, self.reach = p, 0.0
        self.engine: ModuleType | None = None  # the same for all splits of a test
        self.lines = []
        for column in range(pool.d):
            values = pool.points[:, column]
            scale = 1.0 if p <= 2 else scale_of(values[:, None])
            order = np.argsort(values, kind="stable").astype(np.int32)
            self.reach += float(np.ptp(values)) / pool.d
            line = (values[order] - values[order[0]]) / scale
            self.lines.append((line, order, scale))
        self.weights = pool.weights

    def statistic(self, labels: Labels) -> Array:
        """One number for every column of labels, shape (N, B) to (B,)."""
        splits = np.ascontiguousarray(labels.T)
        work = walking(len(labels), len(splits) * len(self.lines))
        engine = self.engine = self.engine or twin(work, COMPILED_FROM)
        moved = to_device(splits, work)

        def one(column: tuple[Array, Any, float]) -> Array:
            line, order, scale = column
            costs = split_costs(line, order, moved, self.weights, self.p, engine, work)
            return np.asarray(scale * costs ** (1 / self.p))

        total = np.zeros(len(splits))
        for part in in_order(one, self.lines, work=work):
            total += part
        return total / len(self.lines)
