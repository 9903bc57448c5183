"""Exact Euclidean nearest neighbours: the same rows and the same digits from every engine.

The distance is √Σ (x_c − y_c)² in float64, from differences and never from |x|² + |y|² − 2 x·y, its
terms added in the order of `sum_of_squares`. Neighbours are ordered by (distance, row number).

Three engines find them. All distances of a block of queries, by the array-module twin: small inputs
and the GPU. A k-d tree: few columns. A float32 product that rules out all but a few pairs, by the
compiled twin: the rest. The tree and the product only propose; float64 distances decide.

The twins share five functions: ``indexed(points)``, what they keep of the points;
``rows_at_once(index, memory)``, the queries of a block; ``nearest(index, queries, k, own)``, the lists
of a block without the row ``own`` (-1: none); ``count_within(index, queries, radius)``, its counts;
``crossing(index, queries, reach, radius, values)``, which of its queries and points are in each
other's balls.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SampleError
from divmatch.kernels.backend import to_device, to_host, twin, uses_gpu
from divmatch.kernels.execution import execution, in_order, steps_of

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
EngineName = Literal["blocks", "tree", "product"]

TREE_COLUMNS = 7  # columns up to which a tree visits fewer points than it costs
TREE_FROM = 2e8  # n·m·(d + 8) operations from which loading SciPy (0.35 s) pays
COMPILED_FROM = 3e8  # ... and from which, all questions together, loading the compiled twin pays
LOADED_FROM = 4e6  # ... and from which it pays once it is loaded
TREE_ROWS = 2048  # queries of a block
MARGIN = 1e-13  # relative: far above the rounding of a tree's distances, far below a real gap
MANY = 2000  # rows from which superfluous copies are looked for
LISTED = 128  # most points within a radius that are looked through one by one
FEW_COPIES = 0.9  # share of rows up to which an index without superfluous copies is worth building


def sum_of_squares(square: Callable[[int], Any], columns: int) -> Any:
    """Σ_c square(c), four columns a term: few roundings, and an order that all engines can keep.

    ``square`` gives a new array each time.
    """
    whole = columns - columns % 4
    terms = chain(
        (_sum_of_four(square, c) for c in range(0, whole, 4)),
        (square(c) for c in range(whole, columns)),
    )
    total = next(terms)
    for term in terms:
        total += term
    return total


def _sum_of_four(square: Callable[[int], Any], c: int) -> Any:
    left, right = square(c), square(c + 2)
    left += square(c + 1)
    right += square(c + 3)
    left += right
    return left


@dataclass(frozen=True, eq=False)
class Crossing:
    """Who is in whose ball, counted for the queries and for the points."""

    counts: Integers  # (q,) points whose ball holds the query
    sums: Array  # (q,) and the sum of their values
    holding: Integers  # (m,) queries in the point's ball
    held: Integers  # (m,) queries whose ball holds the point


class Neighbours:
    """The points that can be asked for neighbours: (m, d) finite float64 in C order.

    What an engine needs (a tree, a float32 copy) is built on the first question and kept.
    """

    def __init__(self, points: Array) -> None:
        self._points = points
        self._engines: dict[str, Any] = {}
        self._without_copies: dict[int, tuple[Neighbours, Integers] | None] = {}

    def nearest(
        self, queries: Array, k: int, *, exclude_self: bool = False
    ) -> tuple[Array, Integers]:
        """Distances (q, k), ascending, and row numbers (q, k) of the k points nearest each query.

        Equal distances are in the order of the row numbers. With ``exclude_self`` the queries are
        the points, and row i is left out of its own list by its number; its copies stay.

        Cost: O(q log m) for few columns, else O(q·m·d); memory O(q·k + m·d) and blocks.
        """
        available = len(self._points) - exclude_self
        if k > available:
            others = "other rows are" if exclude_self else "rows are"
            raise SampleError(
                f"k: {k} nearest neighbours were asked for, but {available} {others} there; "
                "choose a smaller k or give more rows"
            )
        numbers = np.arange(len(queries)) if exclude_self else np.full(len(queries), -1)
        with np.errstate(over="ignore"):  # too far for a square: at distance infinity
            return self._nearest(queries, k, numbers)

    def count_within(
        self, queries: Array, radius: Array, *, exclude_self: bool = False
    ) -> Integers:
        """How many points are at a distance <= radius of each query; radius and counts (q,).

        The distance has the digits of `nearest`: a radius taken from there counts its own point.
        With ``exclude_self`` the queries are the points, and no row counts itself.

        Cost: O(q log m + pairs at the radius) for few columns, else O(q·m·d); memory O(m·d + q).
        """
        with np.errstate(over="ignore"):
            counts = self._engine(len(queries)).count_within(queries, np.maximum(radius, 0.0))
        return np.where(radius >= 0.0, counts - exclude_self, 0)

    def crossing(self, queries: Array, reach: Array, radius: Array, values: Array) -> Crossing:
        """Who is in whose ball: queries have balls of radius ``reach``, points of ``radius``.

        A ball holds what is at a distance <= its radius, with the digits of `nearest`; none has a
        negative radius. ``values`` (m,) of the points are summed where their balls hold a query.

        Cost: O(q·m·d); memory O(m·d + q) and two counts a point for each block.
        """
        name: EngineName = "blocks" if self._choice(len(queries)) == "blocks" else "product"
        engine = self._engine(len(queries), name)  # a tree knows nothing of the points' own balls
        with np.errstate(over="ignore"):
            return engine.crossing(queries, reach, radius, values)

    def _nearest(self, queries: Array, k: int, own: Integers) -> tuple[Array, Integers]:
        name = self._choice(len(queries))
        if name != "blocks" and len(self._points) > MANY:
            reduced = self._reduced(k)
            if reduced is not None:
                index, kept = reduced
                distances, rows = index._nearest(queries, k, _places(own, kept))
                return distances, kept[rows]
        return self._engine(len(queries)).nearest(queries, k, own)

    def _choice(self, queries: int) -> EngineName:
        m, d = self._points.shape
        work = float(queries) * m * (d + 8)
        if uses_gpu(work):
            return "blocks"
        if d <= TREE_COLUMNS:
            return "tree" if work >= TREE_FROM else "blocks"
        return "product" if work >= _compiled_from() else "blocks"

    def _engine(self, queries: int, name: EngineName | None = None) -> Any:
        name = name or self._choice(queries)
        if name == "blocks":
            _DONE[0] += float(queries) * len(self._points) * (self._points.shape[1] + 8)
        work = float(queries) * self._points.size
        key = "device" if uses_gpu(work) else name
        if key not in self._engines:
            if name == "tree":
                self._engines[key] = _Tree(self._points, self._exhaustive)
            else:
                compiled_from = 0.0 if name == "product" else np.inf
                package = twin(work, compiled_from).__name__
                self._engines[key] = _Blocks(self._points, package, partial(to_device, work=work))
        return self._engines[key]

    def _exhaustive(self, queries: int) -> "_Blocks | _Tree":
        """What answers the queries that the tree cannot decide."""
        work = float(queries) * self._points.size
        return self._engine(queries, "product" if work >= COMPILED_FROM else "blocks")

    def _reduced(self, k: int) -> "tuple[Neighbours, Integers] | None":
        """The points with at most k + 1 copies each, and their rows; None where few would go.

        A row with more than k earlier copies is in no list of k, so nothing is lost; but copies are
        what makes trees degenerate and float32 products undecided.
        """
        if k not in self._without_copies:
            kept = _kept(self._points, k)
            few = kept is None or len(kept) > FEW_COPIES * len(self._points)
            self._without_copies[k] = (
                None if few or kept is None else (type(self)(self._points[kept]), kept)
            )
        return self._without_copies[k]


class _Blocks:
    """One of the twins over blocks of queries."""

    def __init__(self, points: Array, package: str, move: Callable[[Any], Any]) -> None:
        self._package, self._move = package, move
        self._twin: Any = import_module(package + ".neighbours")
        self._index = self._twin.indexed(move(points))
        self._numbers = np.arange(len(points))

    def nearest(self, queries: Array, k: int, own: Integers) -> tuple[Array, Integers]:
        if hasattr(self._twin, "nearest_others") and np.array_equal(own, self._numbers):
            found = self._twin.nearest_others(self._index, k)
            if found is not None:
                return found

        def block(rows: slice) -> tuple[Array, Integers]:
            found = self._twin.nearest(
                self._index, self._move(queries[rows]), k, self._move(own[rows])
            )
            return to_host(found[0]), to_host(found[1])

        return _joined(in_order(block, self._blocks(len(queries))), k)

    def count_within(self, queries: Array, radius: Array) -> Integers:
        def block(rows: slice) -> Integers:
            counts = self._twin.count_within(
                self._index, self._move(queries[rows]), self._move(radius[rows])
            )
            return to_host(counts)

        parts = list(in_order(block, self._blocks(len(queries))))
        return np.concatenate([np.empty(0, np.int64), *parts])

    def crossing(self, queries: Array, reach: Array, radius: Array, values: Array) -> Crossing:
        twin = import_module(self._package + ".crossing")
        radius, values = self._move(radius), self._move(values)
        counts, sums = np.empty(len(queries), np.int64), np.empty(len(queries))
        holding, held = np.zeros((2, len(radius)), np.int64)

        def block(rows: slice) -> list[Any]:
            asked = self._move(queries[rows]), self._move(reach[rows])
            return [to_host(a) for a in twin.crossing(self._index, *asked, radius, values)]

        blocks = list(self._blocks(len(queries)))
        for rows, found in zip(blocks, in_order(block, blocks), strict=True):
            counts[rows], sums[rows] = found[0], found[1]
            holding += found[2]
            held += found[3]
        return Crossing(counts, sums, holding, held)

    def _blocks(self, queries: int) -> Iterator[slice]:
        threads = execution().threads
        most = self._twin.rows_at_once(self._index, execution().memory // threads)
        return steps_of(queries, max(1, min(most, -(-queries // threads))))


class _Tree:
    """A k-d tree that lists candidates; rows whose list could depend on rounding go elsewhere."""

    def __init__(self, points: Array, exhaustive: Callable[[int], Any]) -> None:
        from scipy.spatial import cKDTree

        self._build = cKDTree
        self._points, self._tree = points, cKDTree(points)
        self._columns = np.ascontiguousarray(points.T)
        self._exhaustive = exhaustive

    def nearest(self, queries: Array, k: int, own: Integers) -> tuple[Array, Integers]:
        def block(part: Integers) -> tuple[Array, Integers]:
            return self._settled(queries[part], k, own[part])

        distances, rows = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
        for part, found in self._by_place(block, queries, 64 * 16 * (k + 2)):
            distances[part], rows[part] = found
        left = np.flatnonzero(rows[:, 0] < 0)
        if len(left):
            engine = self._exhaustive(len(left))
            distances[left], rows[left] = engine.nearest(queries[left], k, own[left])
        return distances, rows

    def count_within(self, queries: Array, radius: Array) -> Integers:
        def block(part: Integers) -> Integers:
            return self._counted(queries[part], radius[part])

        counts = np.empty(len(queries), np.int64)
        for part, found in self._by_place(block, queries, 128 * LISTED):
            counts[part] = found
        left = np.flatnonzero(counts < 0)
        if len(left):
            engine = self._exhaustive(len(left))
            counts[left] = engine.count_within(queries[left], radius[left])
        return counts

    def _by_place(
        self, block: Callable[[Integers], Any], queries: Array, row_bytes: int
    ) -> Iterator[tuple[Integers, Any]]:
        """Blocks of queries that lie together, so that their part of the tree stays in cache."""
        if len(queries) == 0:
            return
        own = queries is self._points
        tree = self._tree if own else self._build(queries, leafsize=32, balanced_tree=False)
        order = tree.indices.astype(np.int64)
        room = execution().memory // execution().threads // row_bytes
        parts = [order[rows] for rows in steps_of(len(order), min(TREE_ROWS, max(room, 1)))]
        yield from zip(parts, in_order(block, parts), strict=True)

    def _settled(self, queries: Array, k: int, own: Integers) -> tuple[Array, Integers]:
        """The lists of a block; rows are -1 where even the longest list of candidates had ties."""
        distances, rows = np.empty((len(queries), k)), np.full((len(queries), k), -1)
        left = np.arange(len(queries))
        for longer in (1, 4, 16):  # a neighbour, itself and one more: that one shows a tie
            asked = min(longer * (k + 2), self._tree.n)
            found, listed, sure = self._listed(queries[left], k, own[left], asked)
            if longer == 1 and sure.all():
                return found, listed
            distances[left[sure]], rows[left[sure]] = found[sure], listed[sure]
            left = left[~sure]
            if len(left) == 0 or asked == self._tree.n:
                break
        return distances, rows

    def _listed(
        self, queries: Array, k: int, own: Integers, asked: int
    ) -> tuple[Array, Integers, NDArray[np.bool_]]:
        """The k first of ``asked`` candidates, and whether no other point can be among them."""
        answer: Any = self._tree.query(queries, asked)
        reach, listed = (part.reshape(-1, asked) for part in answer)
        exact = self._exact(queries[:, None, :], listed)
        itself = listed == own[:, None]
        exact[itself] = -1.0
        first: Any = 1 if itself[:, 0].all() else 0 if not itself.any() else None
        if first is None or not (exact[:, 1:] > exact[:, :-1]).all():
            order = np.lexsort((listed, exact), axis=1)
            places = itself.any(axis=1)[:, None] + np.arange(k)
            order = np.take_along_axis(order, places, axis=1)
            found = np.take_along_axis(exact, order, axis=1)
            listed = np.take_along_axis(listed, order, axis=1)
        else:
            found, listed = exact[:, first : first + k], listed[:, first : first + k]
        sure = found[:, -1] < reach[:, -1] * (1.0 - MARGIN)
        return found, listed, sure | (asked == self._tree.n)

    def _counted(self, queries: Array, radius: Array) -> Integers:
        """The counts of a block; -1 where too many points are near the radius."""
        outer = radius * (1.0 + MARGIN)
        possible = self._tree.query_ball_point(queries, outer, return_length=True)
        counts = np.full(len(queries), -1)
        few = np.flatnonzero(possible <= LISTED)
        lists = self._tree.query_ball_point(queries[few], outer[few], return_sorted=False)
        asking = np.repeat(few, possible[few])
        listed = np.fromiter(chain.from_iterable(lists), np.int64, len(asking))
        inside = self._exact(queries[asking], listed) <= radius[asking]
        counts[few] = np.bincount(asking[inside], minlength=len(queries))[few]
        many = np.flatnonzero(possible > LISTED)
        inner = radius[many] * (1.0 - MARGIN)
        sure = self._tree.query_ball_point(queries[many], inner, return_length=True)
        counts[many] = np.where(sure == possible[many], sure, -1)
        return counts

    def _exact(self, queries: Array, rows: Integers) -> Array:
        """Distances of the points ``rows`` from their queries."""

        def square(column: int) -> Array:
            gap = queries[..., column] - self._columns[column][rows]
            gap *= gap
            return gap

        distances: Array = np.sqrt(sum_of_squares(square, len(self._columns)))
        return distances


_DONE = [0.0]  # operations of blocks so far


def _compiled_from() -> float:
    """Operations from which the compiled twin pays: fewer after others, or once it is loaded."""
    compiled = getattr(sys.modules.get("divmatch.kernels.cpu.neighbours"), "insert", None)
    return LOADED_FROM if hasattr(compiled, "py_func") else COMPILED_FROM - _DONE[0]


def _joined(parts: Iterator[tuple[Array, Integers]], k: int) -> tuple[Array, Integers]:
    """The blocks below one another."""
    pairs = [(np.empty((0, k)), np.empty((0, k), np.int64)), *parts]
    return np.concatenate([d for d, _ in pairs]), np.concatenate([r for _, r in pairs])


def _places(own: Integers, kept: Integers) -> Integers:
    """Where the rows ``own`` are among the rows ``kept``; -1 where they are not."""
    places = np.searchsorted(kept, own)
    places[places == len(kept)] = 0
    return np.where(kept[places] == own, places, -1)


def _kept(points: Array, k: int) -> Integers | None:
    """The rows with at most k earlier copies, ascending; None where copies are rare."""
    m, d = points.shape
    with np.errstate(over="ignore", invalid="ignore"):
        signature = np.sort(points @ np.random.default_rng(0).uniform(1.0, 2.0, d))
        repeated = np.count_nonzero(signature[1:] == signature[:-1])  # a quick first look
    if repeated < (1.0 - FEW_COPIES) * m:
        return None
    order = np.lexsort(points.T)
    fresh = np.ones(m, dtype=bool)
    fresh[1:] = (points[order[1:]] != points[order[:-1]]).any(axis=1)
    starts = np.flatnonzero(fresh)
    copies = np.arange(m) - np.repeat(starts, np.diff(starts, append=m))
    return np.sort(order[copies <= k])
