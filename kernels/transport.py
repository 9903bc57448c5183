"""Exact optimal transport between two weighted sets of points, with a certificate, in O(n + m) memory.

A transport simplex on a short list of arcs. The list begins with the best few of every row and column
for duals that come from a quarter of the points, solved the same way; then all n·m arcs are priced
with the duals found, what would gain joins the list, and the simplex goes on from where it stood.
When nothing gains, the duals prove the plan optimal: min cost >= Σ aᵢ minⱼ (cᵢⱼ − gⱼ) + Σ bⱼ gⱼ.

Small problems are solved by the same exchanges in plain Python, on the whole matrix.
"""

import math
from dataclasses import dataclass, replace
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
    return solver(ground, x, y, a, b, often=often).plan()


def solver(
    ground: Ground,
    x: Array,
    y: Array,
    a: Array,
    b: Array,
    *,
    often: int = 1,
    height: float | None = None,
    spare: float = 0.0,
) -> "_Whole | _Growing":
    """What finds the cheapest plan, and goes on from it when the costs change.

    ``height`` is above what any arc of the plan costs; that of the whole box if not given. ``spare``
    mass comes from nowhere at no cost: as much of b is not reached.
    """
    if height is None:
        widest = np.maximum(x.max(0), y.max(0)) - np.minimum(x.min(0), y.min(0))
        height = float(ground.of(widest)) or 1.0
    made = _Whole if len(x) * len(y) * often < COMPILED_FROM else _Growing
    return made(ground, x, y, a, b, height, spare)


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


class _Whole:
    """The simplex on all arcs, in plain Python."""

    def __init__(
        self, ground: Ground, x: Array, y: Array, a: Array, b: Array, height: float, spare: float
    ) -> None:
        self.x, self.y, self.real = x, y, len(x)
        self.a, self.b = _with_spare(a, spare), b
        root = len(self.a) + len(b)
        parent, arc, depth, first, following, previous = ([0] * (root + 1) for _ in range(6))
        mass, level = [0.0] * (root + 1), [0.0] * (root + 1)
        self.links = parent, arc, mass, depth, first, following, previous, level
        spanning.hung(len(self.a), len(b), self.a.tolist(), b.tolist(), height, *self.links)
        self.again(ground, height)

    def again(self, ground: Ground, height: float) -> None:
        """Other costs from now on; what was found is where the next search begins."""
        self.height = height
        self.costs = ground.matrix(self.x, self.y)
        if len(self.a) > self.real:
            self.costs = np.vstack([self.costs, np.zeros(len(self.b))])

    def plan(self) -> Plan:
        """Exchange until nothing gains."""
        costs, links = self.costs, self.links
        parent, arc, mass, _, first, following, _, level = links
        n, m = costs.shape
        least, flat, root = ROUNDING * self.height, costs.ravel().tolist(), n + m
        for _ in range(ROUNDS * (n + m)):
            spanning.levelled(n, root, flat, self.height, parent, arc, first, following, level)
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
        arcs, masses, total = np.array(arc[:root]), np.array(mass[:root]), float(self.b.sum())
        used = (arcs >= 0) & (masses > 0)
        places, moved = arcs[used], masses[used] / total
        pairs = (places // m).astype(np.int32), (places % m).astype(np.int32)
        upper = float(moved @ costs.ravel()[places])
        weights = self.a, self.b, total
        found = _certified(pairs, moved, upper, weights, f, g, f + gains, not len(rows))
        return _without_spare(found, self.real)


def _with_spare(masses: Array, spare: float) -> Array:
    return np.append(masses, spare) if spare > 0 else masses


def _without_spare(found: Plan, real: int) -> Plan:
    """The plan of the real rows."""
    if len(found.f) == real:
        return found
    kept = found.rows < real
    return replace(
        found,
        rows=found.rows[kept],
        columns=found.columns[kept],
        masses=found.masses[kept],
        f=found.f[:real],
    )


# ------------------------------------------------------------------------------- a list of arcs


class _Growing:
    """The simplex on a list of arcs that grows by what pricing finds."""

    def __init__(
        self, ground: Ground, x: Array, y: Array, a: Array, b: Array, height: float, spare: float
    ) -> None:
        from divmatch.kernels.cpu.transport import hung

        self.ground, self.x, self.y, self.a, self.b = ground, x, y, _with_spare(a, spare), b
        self.real, self.n, self.m, self.height = len(x), len(self.a), len(y), height
        nodes = self.n + self.m + 1
        parent, arc, depth, first, following, previous = np.empty((6, nodes), dtype=np.int32)
        mass, level = np.empty(nodes), np.empty(nodes)
        self.links = parent, arc, mass, depth, first, following, previous, level
        hung(self.n, self.m, self.a, b, height, *self.links)
        self.tails, self.heads = np.empty((2, 0), dtype=np.int32)
        self.costs = np.empty(0)

    @property
    def least(self) -> float:
        """What is less is no gain."""
        return ROUNDING * self.height

    def again(self, ground: Ground, height: float) -> None:
        """Other costs from now on; what was found is where the next search begins."""
        self.ground, self.height = ground, height
        self.costs = self._costs(self.tails, self.heads)
        self.duals()

    def plan(self) -> Plan:
        """Grow the list until nothing gains."""
        if not len(self.costs):
            self._begin()
        more, total, proven = MORE_ARCS, float(self.b.sum()), False
        for _ in range(ROUNDS):
            self._improve()
            f, g = self.duals()
            # the limit is above f, so that each row's least is seen, if only its arc in the tree
            real = f[: self.real]
            places, values = self.ground.best(self.x, self.y, g, real + self.least, more)
            lowest = np.minimum(values[:, 0], real)
            if self.n > self.real:  # all its arcs are in the list
                lowest = np.append(lowest, min(f[-1], -g.max()))
            places[values >= (real - self.least)[:, None]] = -1
            proven = bool((places[:, 0] < 0).all())
            if proven:
                break
            found = _listed(places)
            if len(found[0]) > self.real * more // 2:  # far from the end: take larger steps
                more = min(2 * more, MOST_ARCS)
            self._add(*found)
        _, arc, mass, *_ = self.links
        used = np.flatnonzero((arc[:-1] >= 0) & (mass[:-1] > 0))
        arcs, moved = arc[used], mass[used] / total
        pairs, upper = (self.tails[arcs], self.heads[arcs]), float(moved @ self.costs[arcs])
        weights = self.a, self.b, total
        found_plan = _certified(pairs, moved, upper, weights, f, g, lowest, proven)
        return _without_spare(found_plan, self.real)

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
        anything = np.full(max(self.real, self.m), np.inf)
        rows, heads = _listed(
            self.ground.best(self.x, self.y, g, anything[: self.real], FIRST_ARCS)[0]
        )
        columns, tails = _listed(
            self.ground.best(self.y, self.x, f, anything[: self.m], FIRST_ARCS)[0]
        )
        along, across, _ = comonotone(self.x, self.y, self.a[: self.real], self.b)
        numbers = np.unique(
            np.concatenate([rows, tails, along]).astype(np.int64) * self.m
            + np.concatenate([heads, columns, across])
        )
        if self.n > self.real:
            numbers = np.append(numbers, self.real * self.m + np.arange(self.m))
        self._add((numbers // self.m).astype(np.int32), (numbers % self.m).astype(np.int32))

    def _first_duals(self) -> tuple[Array, Array]:
        if min(self.real, self.m) <= WHOLE:
            return np.zeros(self.real), np.zeros(self.m)
        rows, a = _spread(self.a[: self.real])
        columns, b = _spread(self.b)
        if self.n > self.real:
            spare = float(b.sum() - a.sum())
        else:
            common, spare = math.gcd(int(a.sum()), int(b.sum())), 0.0
            a, b = a * (b.sum() // common), b * (a.sum() // common)
        few = _Growing(self.ground, self.x[rows], self.y[columns], a, b, self.height, spare)
        few.plan()
        f, g = few.duals()
        anything = np.full(max(self.real, self.m), np.inf)
        _, to_f = self.ground.best(self.x, few.y, g, anything[: self.real], 1)
        _, to_g = self.ground.best(self.y, few.x, f[: few.real], anything[: self.m], 1)
        if self.n > self.real:  # the spare row's arcs cost nothing
            to_g = np.minimum(to_g, -f[-1])
        return to_f[:, 0], to_g[:, 0]

    def _add(self, tails: Places, heads: Places) -> None:
        self.tails = np.concatenate([self.tails, tails])
        self.heads = np.concatenate([self.heads, heads])
        self.costs = np.concatenate([self.costs, self._costs(tails, heads)])

    def _costs(self, tails: Places, heads: Places) -> Array:
        if self.n == self.real:
            return self.ground.pairs(self.x[tails], self.y[heads])
        made, real = np.zeros(len(tails)), tails < self.real
        made[real] = self.ground.pairs(self.x[tails[real]], self.y[heads[real]])
        return made

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


def comonotone(x: Array, y: Array, a: Array, b: Array) -> tuple[NDArray[Any], NDArray[Any], Array]:
    """The plan that keeps the order along the direction of most variance, about."""
    centre = x.mean(axis=0)
    pooled = np.concatenate([x, y]) - centre
    direction = pooled.std(axis=0)
    for _ in range(POWER_STEPS):
        direction = pooled.T @ (pooled @ direction)
        direction /= np.abs(direction).max() or 1.0
    order_x, order_y = np.argsort((x - centre) @ direction), np.argsort((y - centre) @ direction)
    cells = weighted_cells(cumulated(a[order_x]), cumulated(b[order_y]))
    return order_x[cells.rows], order_y[cells.columns], cells.lengths
