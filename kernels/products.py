"""Row sums of products of distance matrices, streamed over tiles: nothing here keeps an n × n matrix.

A *group* is an (n, p) array of columns with the Euclidean distances a_ij = |xᵢ − xⱼ| of its rows. A
centred distance is s (eᵢ + eⱼ − t − a_ij) with edges e, total t and scale s. Results of tiles are
added in a fixed order: same digits for any number of threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import host_twin, to_host
from divmatch.kernels.execution import in_order
from divmatch.kernels.pairwise import Grid, Profile

Array = NDArray[np.float64]
Orders = NDArray[np.int64]

DISTANCE = Profile("distance", 1.0)
COMPILED_FROM = 1e6  # n·log₂ n·sums from which loading the compiled twin pays


@dataclass(frozen=True, eq=False)
class Centred:
    """One group with what its distances are centred by."""

    points: Array
    edges: Array
    total: float
    scale: float = 1.0

    def own(self) -> Array:
        """The centred distance of every row to itself."""
        return self.scale * (2.0 * self.edges - self.total)


def order_of(points: Array) -> Orders | None:
    """The order of a single column, which several sums can share."""
    return np.argsort(points[:, 0], kind="stable") if points.shape[1] == 1 else None


def distance_sums(points: Array, v: Array, order: Orders | None = None) -> Array:
    """Σⱼ a_ij v_jb, shape (n, B). Time O(n·log n) for one column, else O(n²·(p + B))."""
    if points.shape[1] == 1:
        return _line_sums(points[:, 0], v, order_of(points) if order is None else order)
    return _streamed([points], v)


def product_sums(x: Array, y: Array, v: Array, order: Orders | None = None) -> Array:
    """Σⱼ a_ij b_ij v_jb, shape (n, B). Time O(n·log n) for two single columns, else O(n²·(p + q + B))."""
    if x.shape[1] == y.shape[1] == 1:
        plane = Plane(x[:, 0], y[:, 0], order)
        return np.column_stack([plane.sums(v[:, b]) for b in range(v.shape[1])])
    return _streamed([x, y], v)


def permuted_sums(x: Array, y: Array, orders: Orders) -> Array:
    """Σᵢⱼ |xᵢ − xⱼ| |y_σ(i) − y_σ(j)| of two single columns for every column σ of (n, B); shape (B,)."""
    ones = np.ones(len(x))
    first = np.argsort(x, kind="stable")
    calls = orders.shape[1]

    def one(b: int) -> float:
        return float(Plane(x, y[orders[:, b]], first, calls).sums(ones).sum())

    return np.fromiter(in_order(one, range(calls), work=40.0 * len(x) * calls), float, calls)


def centred_products(groups: Sequence[Centred], constant: float, w: Array) -> Array:
    """Σⱼ wⱼ Π_g (U^g_ij + c), then the same products without group g for every g; (n, 1 + k)."""
    n, grids = len(w), [Grid(DISTANCE, g.points, g.points) for g in groups]

    def tile(rows: slice, columns: slice) -> list[Array]:
        factors = [
            _centred(g, grid, rows, columns) + constant
            for g, grid in zip(groups, grids, strict=True)
        ]
        return _with_and_without(factors)

    def panel(rows: slice) -> Array:
        sums = np.zeros((n - rows.start, 1 + len(groups)))
        own = rows.stop - rows.start
        for k, part in enumerate(tile(rows, rows)):
            sums[:own, k] = part @ w[rows]
        for columns in grids[0].columns(rows.stop):
            place = slice(columns.start - rows.start, columns.stop - rows.start)
            for k, part in enumerate(tile(rows, columns)):
                sums[:own, k] += part @ w[columns]
                sums[place, k] += w[rows] @ part
        return sums

    return _gathered(panel, grids, n, 1 + len(groups))


def permuted_products(groups: Sequence[Centred], constant: float, orders: Orders) -> Array:
    """Σᵢⱼ Π_g (U^g at rows σ_g(i), σ_g(j)) + c), the first group as it is; orders (k − 1, n, B)."""
    first, *others = groups
    grid = Grid(DISTANCE, first.points, first.points)
    draws = orders.shape[2]

    def moved(g: Centred, order: Orders, rows: slice, columns: slice) -> Array:
        left, right = order[rows], order[columns]
        tile = to_host(
            grid.twin.tile(
                grid.moved(g.points[left]), grid.moved(g.points[right]), DISTANCE.name, 1.0
            )
        )
        return g.scale * (g.edges[left, None] + g.edges[right] - g.total - tile)

    def panel(rows: slice) -> Array:
        found = np.zeros(draws)
        for columns in [rows, *grid.columns(rows.stop)]:
            own = _centred(first, grid, rows, columns) + constant
            twice = 1.0 if columns == rows else 2.0
            for b in range(draws):
                product = own
                for g, order in zip(others, orders[:, :, b], strict=True):
                    product = product * (moved(g, order, rows, columns) + constant)
                found[b] += twice * float(product.sum())
        return found

    total = np.zeros(draws)
    for part in in_order(panel, grid.rows(), work=grid.work * draws):
        total += part
    return total


def _centred(group: Centred, grid: Grid, rows: slice, columns: slice) -> Array:
    tile = to_host(grid.tile(rows, columns))
    edges = group.edges[rows, None] + (group.edges[columns] - group.total)
    made: Array = group.scale * (edges - tile)
    return made


def _with_and_without(factors: list[Array]) -> list[Array]:
    """The product of all, then the product without each."""
    before, after = [np.ones_like(factors[0])], [np.ones_like(factors[0])]
    for left, right in zip(factors, reversed(factors), strict=True):
        before.append(before[-1] * left)
        after.append(after[-1] * right)
    k = len(factors)
    return [before[k], *(before[g] * after[k - 1 - g] for g in range(k))]


def _streamed(groups: Sequence[Array], v: Array) -> Array:
    """Σⱼ Π_g a^g_ij v_jb over half of the pairs."""
    n, many = v.shape
    grids = [Grid(DISTANCE, points, points, extra=many) for points in groups]

    def tile(rows: slice, columns: slice) -> Any:
        made = grids[0].tile(rows, columns)
        for grid in grids[1:]:
            made = made * grid.tile(rows, columns)
        return made

    vectors = grids[0].moved(v)

    def panel(rows: slice) -> Array:
        sums = np.zeros((n - rows.start, many))
        own = rows.stop - rows.start
        sums[:own] = to_host(tile(rows, rows) @ vectors[rows])
        for columns in grids[0].columns(rows.stop):
            part = tile(rows, columns)
            sums[:own] += to_host(part @ vectors[columns])
            place = slice(columns.start - rows.start, columns.stop - rows.start)
            sums[place] += to_host(part.T @ vectors[rows])
        return sums

    return _gathered(panel, grids, n, many)


def _gathered(panel: Any, grids: Sequence[Grid], n: int, many: int) -> Array:
    total = np.zeros((n, many))
    starts = (rows.start for rows in grids[0].rows())
    work = sum(grid.work for grid in grids)
    for start, sums in zip(starts, in_order(panel, grids[0].rows(), work=work), strict=True):
        total[start:] += sums
    return total


# ------------------------------------------------------------------------------- single columns


def _line_sums(x: Array, v: Array, order: Any) -> Array:
    """Σⱼ |xᵢ − xⱼ| vⱼ: rows in the order of x, masses and moments below and above each."""
    nodes = x[order] - x.mean()
    found = np.empty_like(v)
    for b in range(v.shape[1]):
        masses = v[order, b]
        mass = np.cumsum(masses, dtype=np.longdouble).astype(float)
        moment = np.cumsum(masses * nodes, dtype=np.longdouble).astype(float)
        found[order, b] = nodes * (2.0 * mass - mass[-1]) + (moment[-1] - 2.0 * moment)
    return found


class Plane:
    """Pairs of single columns, for Σⱼ vⱼ |xᵢ − xⱼ| |yᵢ − yⱼ| in O(n·log n).

    The product is (xᵢ − xⱼ)(yᵢ − yⱼ) where both differences have one sign, else its negative: twice
    the sum over the former less the sum over all. Ties add zero, whichever way they are broken.
    """

    def __init__(self, x: Array, y: Array, order: Orders | None = None, calls: int = 1) -> None:
        n = len(x)
        self.order = np.argsort(x, kind="stable") if order is None else order
        self.x, self.y = x[self.order] - x.mean(), y[self.order] - y.mean()
        self.up = np.argsort(self.y, kind="stable")
        self.ranks = np.empty(n, dtype=np.int64)
        self.ranks[self.up] = np.arange(n)
        self.twin = host_twin(n * log2(n + 1) * calls, COMPILED_FROM)

    def sums(self, v: Array) -> Array:
        """Σⱼ vⱼ |xᵢ − xⱼ| |yᵢ − yⱼ| for every i."""
        x, y = self.x, self.y
        masses = v[self.order]
        values = np.column_stack([masses, masses * x, masses * y, masses * x * y])
        total = values.sum(axis=0)
        below = self.twin.dominated(self.ranks, values)
        beside = np.cumsum(values, axis=0)
        beside[self.up] += np.cumsum(values[self.up], axis=0)
        # above both = all − not above in x − not above in y + not above in either
        agreeing = 2.0 * (below + below + values - beside) + total
        terms = agreeing[:, 0] * x * y - agreeing[:, 1] * y - agreeing[:, 2] * x + agreeing[:, 3]
        found = np.empty_like(v)
        found[self.order] = terms
        return found
