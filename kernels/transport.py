"""Exact optimal transport between two weighted sets of points, with a certificate, in O(n + m) memory.

A transport simplex on a short list of arcs. The list begins with the best few of every row and column
for duals that come from a quarter of the points, solved the same way; then all n·m arcs are priced
with the duals found, what would gain joins the list, and the simplex goes on from where it stood.
When nothing gains, the duals prove the plan optimal: min cost >= Σ aᵢ minⱼ (cᵢⱼ − gⱼ) + Σ bⱼ gⱼ.

Small problems are solved by the same exchanges in plain Python, on the whole matrix.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels import spanning
from divmatch.kernels.ground import Ground
from divmatch.kernels.quantiles import cumulated, weighted_cells

Array = NDArray[np.float64]
Places = NDArray[np.int32]

COMPILED_FROM = 400_000  # pairs of all problems from which loading the compiled parts has paid
WHOLE = 400  # points of the smaller side that need no start from fewer points
SHARE = 4  # one in so many points makes the start
FIRST_ARCS = 10  # arcs a point at the start
MORE_ARCS, MOST_ARCS = 8, 32  # arcs a row that join the list after a pricing, at most
ROUNDING = 1e-14  # of the largest possible cost: what is less is no gain
ROUNDS = 200  # pricings after which it is given up
POWER_STEPS = 4  # towards the direction of most variance
AT_ONCE = 1_000_000  # exchanges between two looks at Ctrl-C


@dataclass(frozen=True, eq=False)
class Plan:
    """Who goes where: masses that sum to 1, potentials, and what bounds the smallest cost.

    ``upper`` is the cost of the plan; no plan costs less than ``lower``.
    """

    rows: Places
    columns: Places
    masses: Array
    f: Array
    g: Array
    lower: float
    upper: float
    proven: bool


def bytes_needed(n: int, m: int, d: int) -> int:
    """Memory of `transported`, at most."""
    if n * m < COMPILED_FROM:
        return 60 * n * m
    return (n + m) * (2000 + 24 * d)


def transported(ground: Ground, x: Array, y: Array, a: Array, b: Array, *, often: int = 1) -> Plan:
    """The cheapest plan that moves masses a (n,) to b (m,), all positive; whole numbers stay exact.

    ``often`` says how many problems of this size there are.
    """
    total = float(a.sum())
    height = (
        float(ground.of(np.maximum(x.max(0), y.max(0)) - np.minimum(x.min(0), y.min(0)))) or 1.0
    )
    if len(x) * len(y) * often < COMPILED_FROM:
        return _small(ground.matrix(x, y), a, b, total, height)
    return _Growing(ground, x, y, a, b, height).plan(total)


def _certified(
    pairs: tuple[Places, Places],
    masses: Array,
    upper: float,
    weights: tuple[Array, Array, float],
    f: Array,
    g: Array,
    lowest: Array,
    proven: bool,
) -> Plan:
    """The plan with a lower bound: minⱼ (cᵢⱼ − gⱼ) >= ``lowest``, and rounding errors are on its side."""
    a, b, total = weights
    shift = float(b @ g - a @ f) / (2.0 * total)  # both halves of the dual are the same size
    f, g, lowest = f + shift, g - shift, np.minimum(f, lowest) + shift
    size = float(a @ np.abs(lowest) + b @ np.abs(g)) / total
    lower = float(a @ lowest + b @ g) / total - 8.0 * 2.0**-52 * size
    return Plan(*pairs, masses, f, g, min(max(lower, 0.0), upper), upper, proven)


# ------------------------------------------------------------------------------- all the arcs


def _small(costs: Array, a: Array, b: Array, total: float, height: float) -> Plan:
    n, m = costs.shape
    least, flat, root = ROUNDING * height, costs.ravel().tolist(), n + m
    parent, arc, depth, first, following, previous = ([0] * (root + 1) for _ in range(6))
    mass, level = [0.0] * (root + 1), [0.0] * (root + 1)
    links = parent, arc, mass, depth, first, following, previous, level
    spanning.hung(n, m, a.tolist(), b.tolist(), height, *links)
    for _ in range(ROUNDS * (n + m)):
        spanning.levelled(n, root, flat, height, parent, arc, first, following, level)
        f, g = np.array(level[:n]), -np.array(level[n:root])
        reduced = costs - f[:, None] - g
        heads = reduced.argmin(axis=1)
        gains = reduced[np.arange(n), heads]
        rows = np.flatnonzero(gains < -least)
        for i in rows[np.argsort(gains[rows], kind="stable")].tolist():
            number = i * m + int(heads[i])
            left = flat[number] - level[i] + level[n + number % m]
            if left < -least:  # still
                spanning.exchanged(n, i, n + number % m, number, left, *links)
        if not len(rows):
            break
    arcs, masses = np.array(arc[:root]), np.array(mass[:root])
    used = (arcs >= 0) & (masses > 0)
    places, moved = arcs[used], masses[used] / total
    pairs = (places // m).astype(np.int32), (places % m).astype(np.int32)
    upper = float(moved @ costs.ravel()[places])
    return _certified(pairs, moved, upper, (a, b, total), f, g, f + gains, not len(rows))


# ------------------------------------------------------------------------------- a list of arcs


class _Growing:
    """The simplex on a list of arcs that grows by what pricing finds."""

    def __init__(
        self, ground: Ground, x: Array, y: Array, a: Array, b: Array, height: float
    ) -> None:
        from divmatch.kernels.cpu.transport import hung

        self.ground, self.x, self.y, self.a, self.b = ground, x, y, a, b
        self.n, self.m, self.height = len(x), len(y), height
        self.least = ROUNDING * height
        nodes = self.n + self.m + 1
        parent, arc, depth, first, following, previous = np.empty((6, nodes), dtype=np.int32)
        mass, level = np.empty(nodes), np.empty(nodes)
        self.links = parent, arc, mass, depth, first, following, previous, level
        hung(self.n, self.m, a, b, height, *self.links)
        self.tails, self.heads = np.empty((2, 0), dtype=np.int32)
        self.costs = np.empty(0)
        self.proven = False

    def plan(self, total: float) -> Plan:
        """Grow the list until nothing gains."""
        self._begin()
        more = MORE_ARCS
        for _ in range(ROUNDS):
            self._improve()
            f, g = self.duals()
            # the limit is above f, so that each row's least is seen, if only its arc in the tree
            places, values = self.ground.best(self.x, self.y, g, f + self.least, more)
            lowest = np.minimum(values[:, 0], f)
            places[values >= (f - self.least)[:, None]] = -1
            self.proven = bool((places[:, 0] < 0).all())
            if self.proven:
                break
            found = _listed(places)
            if len(found[0]) > self.n * more // 2:  # far from the end: take larger steps
                more = min(2 * more, MOST_ARCS)
            self._add(*found)
        _, arc, mass, *_ = self.links
        used = np.flatnonzero((arc[:-1] >= 0) & (mass[:-1] > 0))
        arcs, moved = arc[used], mass[used] / total
        pairs, upper = (self.tails[arcs], self.heads[arcs]), float(moved @ self.costs[arcs])
        weights = self.a, self.b, total
        return _certified(pairs, moved, upper, weights, f, g, lowest, self.proven)

    def duals(self) -> tuple[Array, Array]:
        """The duals f and g of the tree, afresh from its costs."""
        from divmatch.kernels.cpu.transport import levelled

        parent, arc, _, _, first, following, _, level = self.links
        root = self.n + self.m
        levelled(self.n, root, self.costs, self.height, parent, arc, first, following, level)
        return level[: self.n].copy(), -level[self.n : root]

    def _begin(self) -> None:
        """The best arcs of every row and of every column for duals from fewer points.

        And those of one whole plan: before all masses have a place the duals mean little.
        """
        f, g = self._first_duals()
        anything = np.full(max(self.n, self.m), np.inf)
        rows, heads = _listed(
            self.ground.best(self.x, self.y, g, anything[: self.n], FIRST_ARCS)[0]
        )
        columns, tails = _listed(
            self.ground.best(self.y, self.x, f, anything[: self.m], FIRST_ARCS)[0]
        )
        along, across = _comonotone(self.x, self.y, self.a, self.b)
        numbers = np.unique(
            np.concatenate([rows, tails, along]).astype(np.int64) * self.m
            + np.concatenate([heads, columns, across])
        )
        self._add((numbers // self.m).astype(np.int32), (numbers % self.m).astype(np.int32))

    def _first_duals(self) -> tuple[Array, Array]:
        if min(self.n, self.m) <= WHOLE:
            return np.zeros(self.n), np.zeros(self.m)
        rows, a = _spread(self.a)
        columns, b = _spread(self.b)
        common = math.gcd(int(a.sum()), int(b.sum()))
        few = _Growing(
            self.ground,
            self.x[rows],
            self.y[columns],
            a * (b.sum() // common),
            b * (a.sum() // common),
            self.height,
        )
        few.plan(1.0)
        f, g = few.duals()
        anything = np.full(max(self.n, self.m), np.inf)
        _, to_f = self.ground.best(self.x, few.y, g, anything[: self.n], 1)
        _, to_g = self.ground.best(self.y, few.x, f, anything[: self.m], 1)
        return to_f[:, 0], to_g[:, 0]

    def _add(self, tails: Places, heads: Places) -> None:
        self.tails = np.concatenate([self.tails, tails])
        self.heads = np.concatenate([self.heads, heads])
        more = self.ground.pairs(self.x[tails], self.y[heads])
        self.costs = np.concatenate([self.costs, more])

    def _improve(self) -> None:
        from divmatch.kernels.cpu.transport import improved

        done, place = AT_ONCE, 0
        while done == AT_ONCE:
            done, place = improved(
                self.n, self.tails, self.heads, self.costs, self.least, AT_ONCE, place, *self.links
            )


def _listed(places: Places) -> tuple[Places, Places]:
    """Rows and places of what was found."""
    rows, which = np.nonzero(places >= 0)
    return rows.astype(np.int32), places[rows, which]


def _spread(masses: Array) -> tuple[NDArray[np.intp], Array]:
    """A quarter as many points, each drawn as often as its mass says, and how often.

    Equal steps of mass in an order without a pattern: multiples of the golden ratio.
    """
    order = np.argsort(np.arange(len(masses)) * 0.6180339887498949 % 1.0, kind="stable")
    upto = np.cumsum(masses[order])
    count = len(masses) // SHARE
    marks = (np.arange(count) + 0.5) * (upto[-1] / count)
    rows, often = np.unique(order[np.searchsorted(upto, marks)], return_counts=True)
    return rows, often.astype(np.float64)


def _comonotone(x: Array, y: Array, a: Array, b: Array) -> tuple[NDArray[Any], NDArray[Any]]:
    """Arcs of the plan that keeps the order along the direction of most variance, about."""
    centre = x.mean(axis=0)
    pooled = np.concatenate([x, y]) - centre
    direction = pooled.std(axis=0)
    for _ in range(POWER_STEPS):
        direction = pooled.T @ (pooled @ direction)
        direction /= np.abs(direction).max() or 1.0
    order_x, order_y = np.argsort((x - centre) @ direction), np.argsort((y - centre) @ direction)
    cells = weighted_cells(cumulated(a[order_x]), cumulated(b[order_y]))
    return order_x[cells.rows], order_y[cells.columns]
