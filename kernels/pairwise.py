"""Sums over all pairs of points, streamed over tiles: nothing here keeps an n × m matrix.

A *profile* is the function of the distance that is summed. With r the Euclidean distance,
r₁ the city-block distance and s the scale:

========== =====================================
distance   r^s (0 < s <= 2)
cityblock  r₁
gaussian   exp(−r² / (2 s²))
laplace    exp(−r₁ / s)
imq        (s² + r²)^(−1/2)
mix        mean of gaussians of s·{1/4, 1/2, 1, 2, 4}
matern12   exp(−u), u = r / s
matern32   (1 + u) exp(−u), u = √3 r / s
matern52   (1 + u + u²/3) exp(−u), u = √5 r / s
rq         (1 + r² / (2 s²))^(−1)
========== =====================================

poly is no function of the distance: (x·y / d + 1)³, without a scale. bundle is the mean of gaussians
and laplaces of several scales, half of them each.

Two profiles take rows that hold a point x and then a score t of the same length: stein-gaussian and
stein-imq are the Stein kernels of k = gaussian and imq,
h = t·t' k + t·∇'k + t'·∇k + tr ∇∇'k, at most 2⁻⁵² of its terms off when points coincide.

Equal rows are at distance zero wherever they lie: squares that |x|² + |y|² − 2 x·y would give with
fewer digits come from differences. Results of tiles are added in a fixed order: same digits for any
number of threads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels import line
from divmatch.kernels.backend import to_device, to_host, twin
from divmatch.kernels.centred import PRODUCT_COLUMNS, Rows, prepared
from divmatch.kernels.execution import in_order, steps_of

Array = NDArray[np.float64]
ProfileName = Literal[
    "distance",
    "cityblock",
    "gaussian",
    "laplace",
    "imq",
    "mix",
    "matern12",
    "matern32",
    "matern52",
    "rq",
    "poly",
    "bundle",
    "stein-gaussian",
    "stein-imq",
]

COMPILED_FROM = (
    4e8  # n·m·(d + 8) operations outside of products from which loading the compiled twin pays
)
MATCHED_ROWS = 64  # rows of a tile of which only the diagonal is wanted
LOWEST = -1e300  # the logarithm of nothing yet: finite, so that differences are numbers


@dataclass(frozen=True)
class Profile:
    """A function of the distance between two points, with its scale s (the power for distance).

    ``scales`` are those of a bundle: of its gaussians, then of its laplaces.
    """

    name: ProfileName
    scale: float
    scales: tuple[float, ...] = ()

    @property
    def of_distance(self) -> bool:
        """Whether it is a function of the Euclidean distance, which others can share."""
        others = ("cityblock", "laplace", "poly", "bundle", "stein-gaussian", "stein-imq")
        return self.name not in others

    @property
    def at_zero(self) -> float:
        """Its value for two equal points; poly has one for every point, see `own`."""
        return {"distance": 0.0, "cityblock": 0.0, "imq": 1.0 / self.scale}.get(self.name, 1.0)

    def own(self, x: Array) -> Array:
        """Its value for every row and itself, shape (n,)."""
        if self.name == "poly":
            made: Array = (np.einsum("ij,ij->i", x, x) / x.shape[1] + 1.0) ** 3
            return made
        return np.full(len(x), self.at_zero)


def cross_sums(profile: Profile, x: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """(K b, Kᵀ a) for K = profile(xᵢ, yⱼ); shapes (n,), (m,). Time O(n·m·d), memory O(n + m)."""
    if on_a_line(profile, x):
        return line.distance_sums(x[:, 0], y[:, 0], b), line.distance_sums(y[:, 0], x[:, 0], a)
    return all_cross_sums((profile,), x, y, a, b)[0]


def all_cross_sums(
    profiles: Sequence[Profile], x: Array, y: Array, a: Array, b: Array
) -> list[tuple[Array, Array]]:
    """`cross_sums` of several profiles that are functions of one distance, which is found once."""
    grid = Grid(profiles[0], x, y)
    weights_x, weights_y = grid.moved(a), grid.moved(b)

    def panel(rows: slice) -> list[tuple[Any, Any]]:
        room = grid.room()
        along: list[Any] = [0.0] * len(profiles)
        down: list[list[Any]] = [[] for _ in profiles]
        for columns in grid.columns():
            sums = grid.sums(profiles, rows, columns, weights_x, weights_y, room)
            for k, (one, other) in enumerate(sums):
                along[k] = along[k] + one
                down[k].append(to_host(other))
        return [
            (to_host(one), np.concatenate(parts)) for one, parts in zip(along, down, strict=True)
        ]

    totals = [np.zeros(len(y)) for _ in profiles]
    found: list[list[Array]] = [[] for _ in profiles]
    for parts in in_order(panel, grid.rows(), work=grid.work):
        for k, (along, down) in enumerate(parts):
            found[k].append(along)
            totals[k] += down
    return [(np.concatenate(one), total) for one, total in zip(found, totals, strict=True)]


def self_sums(profile: Profile, x: Array, a: Array) -> Array:
    """K a for K = profile(xᵢ, xⱼ), the diagonal included; shape (n,). Half the pairs are visited."""
    if on_a_line(profile, x):
        values = x[:, 0]
        return line.distance_sums(values, values, a)
    return all_self_sums((profile,), x, a)[0]


def all_self_sums(profiles: Sequence[Profile], x: Array, a: Array) -> list[Array]:
    """`self_sums` of several profiles that are functions of one distance, which is found once."""
    grid = Grid(profiles[0], x, x)
    weights = grid.moved(a)

    def panel(rows: slice) -> tuple[slice, NDArray[Any]]:
        room = grid.room()
        sums = np.zeros((len(profiles), len(x) - rows.start))
        size = rows.stop - rows.start
        for k, (along, _) in enumerate(grid.sums(profiles, rows, rows, weights, weights, room)):
            sums[k, :size] = to_host(along)
        for columns in grid.columns(rows.stop):
            place = slice(columns.start - rows.start, columns.stop - rows.start)
            found = grid.sums(profiles, rows, columns, weights, weights, room)
            for k, (along, down) in enumerate(found):
                sums[k, :size] += to_host(along)
                sums[k, place] += to_host(down)
        return rows, sums

    total = np.zeros((len(profiles), len(x)))
    for rows, sums in in_order(panel, grid.rows(), work=grid.work):
        total[:, rows.start :] += sums
    return list(total)


def product(profile: Profile, x: Array, y: Array, v: Array) -> Array:
    """K V for K = profile(xᵢ, yⱼ) and V of shape (m, B); shape (n, B). Witness values of rows."""
    grid = Grid(profile, x, y, extra=v.shape[1])
    vectors = grid.moved(v)

    def panel(rows: slice) -> NDArray[Any]:
        total: Any = 0.0
        for columns in grid.columns():
            total = total + grid.tile(rows, columns) @ vectors[columns]
        return to_host(total)

    return np.concatenate(list(in_order(panel, grid.rows(), work=grid.work)))


def matched(profile: Profile, x: Array, y: Array) -> Array:
    """profile(xᵢ, yᵢ), shape (n,): with the digits of the tiles, of which it takes the diagonals."""
    grid = Grid(profile, x, y)
    blocks = steps_of(len(x), MATCHED_ROWS)
    return np.concatenate([to_host(grid.tile(rows, rows).diagonal()) for rows in blocks])


def log_sums(x: Array, y: Array, log_b: Array, own: NDArray[np.int64] | None = None) -> Array:
    """Ln Σⱼ bⱼ exp(−|xᵢ − yⱼ|² / 2) without the row j = ownᵢ (−1: none); shape (n,).

    Never underflows: where a sum of `cross_sums` is too small to be a number, this is its logarithm.
    """
    grid = Grid(Profile("distance", 2.0), x, y, extra=8)
    weights = grid.moved(log_b)

    def panel(rows: slice) -> Array:
        top, total = np.full(rows.stop - rows.start, LOWEST), 0.0
        for columns in grid.columns():
            terms = to_host(weights[columns] - 0.5 * grid.tile(rows, columns))
            if own is not None:
                place = own[rows] - columns.start
                hit = np.flatnonzero((place >= 0) & (place < terms.shape[1]))
                terms[hit, place[hit]] = -np.inf
            highest = np.maximum(top, terms.max(axis=1))
            total = total * np.exp(top - highest) + np.exp(terms - highest[:, None]).sum(axis=1)
            top = highest
        with np.errstate(divide="ignore"):  # no row left: the logarithm of zero
            return top + np.log(total)

    return np.concatenate(list(in_order(panel, grid.rows(), work=grid.work)))


def on_a_line(profile: Profile, x: Array) -> bool:
    """Whether sums of it are sums over sorted numbers."""
    return x.shape[1] == 1 and profile == Profile("distance", 1.0)


class Grid:
    """The tiles of one n × m matrix, made one at a time by the twin that suits its size."""

    def __init__(self, profile: Profile, x: Array, y: Array, extra: int = 0) -> None:
        d = x.shape[1]
        self.work = float(len(x)) * len(y) * (d + 8 + extra)
        self.profile = profile
        loops = (
            min(d, PRODUCT_COLUMNS) if profile.of_distance else d
        )  # products are as fast in both
        self.twin: ModuleType = twin(self.work, COMPILED_FROM * (d + 8 + extra) / (loops + 8))
        self.n, self.m = len(x), len(y)
        self.x = self.moved(x)
        self.y = self.x if y is x else self.moved(y)
        self.tile_rows, self.tile_columns = self.twin.tile_shape(self.x)

    @cached_property
    def prepared(self) -> tuple[Rows, Rows]:
        """What squared distances of some rows need of all."""
        centre = self.y.mean(axis=0)
        right = prepared(self.y, centre)
        return right if self.x is self.y else prepared(self.x, centre), right

    def moved(self, array: Array) -> Any:
        """The array where the tiles are made."""
        return to_device(array, self.work)

    def rows(self) -> Iterator[slice]:
        """Blocks of the rows."""
        return steps_of(self.n, self.tile_rows)

    def columns(self, first: int = 0) -> Iterator[slice]:
        """Blocks of the columns from ``first`` on."""
        return steps_of(self.m, self.tile_columns, first)

    def room(self) -> Array:
        """Memory of one block of squared distances, for `sums` to use again and again."""
        return np.empty(self.tile_rows * self.tile_columns)

    def tile(self, rows: slice, columns: slice) -> Any:
        """The profile of a block of rows with a block of columns."""
        profile = self.profile
        if profile.of_distance:
            squares = self.squares(rows, columns)
            return self.twin.shaped(squares, profile.name, profile.scale)
        return self.twin.tile(
            self.x[rows], self.y[columns], profile.name, profile.scale, profile.scales
        )

    def squares(self, rows: slice, columns: slice, room: Array | None = None) -> Any:
        """The squared distances of a block of rows from a block of columns."""
        left, right = self.prepared
        return self.twin.squared_distances(left[rows], right[columns], room)

    def sums(
        self,
        profiles: Sequence[Profile],
        rows: slice,
        columns: slice,
        a: Any,
        b: Any,
        room: Array,
    ) -> Iterator[tuple[Any, Any]]:
        """K b and Kᵀ a of the block of every profile; several share one block of squared distances."""
        if not profiles[0].of_distance:
            tile = self.tile(rows, columns)
            yield tile @ b[columns], a[rows] @ tile
            return
        squares = self.squares(rows, columns, room)
        for profile in profiles:
            yield self.twin.summed(squares, profile.name, profile.scale, a[rows], b[columns])
