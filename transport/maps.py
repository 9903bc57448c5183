"""Maps: functions of a row, fitted once, that any other row can be put into.

    found = divmatch.match.map(x, y)
    found.map(z)  # where rows z go, (N, d) to (N, d)

Rows are taken in blocks that depend on nothing but their number of columns, so that a file gives the
same digits whether it is read at once or streamed in multiples of a block.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import in_order, steps_of
from divmatch.kernels.neighbours import Neighbours
from divmatch.transport.problem import Support, averaged

Array = NDArray[np.float64]

MOST_ROWS, NUMBERS = 2048, 1 << 20  # of a block


def rows_at_once(d: int) -> int:
    """Rows of a block, a power of two."""
    return int(max(64, min(MOST_ROWS, 1 << (NUMBERS // d).bit_length() - 1)))


@dataclass(frozen=True, eq=False)
class RowMap(ABC):
    """A map of rows; its fields are all that is stored of it.

    Arrays are annotated with their shape in letters, the same letter for the same number.
    """

    kind: ClassVar[str]
    alone: ClassVar[bool] = False  # blocks are not shared out: each is by itself

    def __call__(self, points: Array) -> Array:
        """Where these rows go, (N, d)."""
        size = rows_at_once(points.shape[1])
        work = 0.0 if self.alone else 8.0 * points.size * points.shape[1]
        steps = steps_of(len(points), size)
        parts = list(in_order(lambda rows: self.moved(points[rows]), steps, work=work))
        return np.concatenate(parts) if parts else points.copy()

    @abstractmethod
    def moved(self, points: Array) -> Array:
        """Where the rows of one block go."""


@dataclass(frozen=True, eq=False)
class Affine(RowMap):
    """T(x) = target + F F' (x − mean): the gradient of a convex function."""

    kind = "gaussian"

    mean: Annotated[Array, "d"]
    target: Annotated[Array, "d"]
    factor: Annotated[Array, "d", "k"]

    @cached_property
    def _matrices(self) -> tuple[Array, ...]:
        d, k = self.factor.shape
        return (self.factor @ self.factor.T,) if 2 * k >= d else (self.factor, self.factor.T)

    def moved(self, points: Array) -> Array:
        """See `RowMap`."""
        made = points - self.mean
        for matrix in self._matrices:
            made = made @ matrix
        made += self.target
        return made


@dataclass(frozen=True, eq=False)
class Staircase(RowMap):
    """A rising function of each column: linear between its knots, of slope 1 beyond them.

    ``starts`` (d + 1) says where in ``knots`` and ``values`` each column begins.
    """

    kind = "quantile"

    knots: Annotated[Array, "k"]
    values: Annotated[Array, "k"]
    starts: Annotated[NDArray[np.int64], "e"]

    def __call__(self, points: Array) -> Array:
        """Where these rows go: column by column, for which blocks make no difference."""
        return self.moved(points)

    def moved(self, points: Array) -> Array:
        """See `RowMap`."""
        made = np.empty_like(points)
        columns = in_order(
            lambda c: self._column(c, points[:, c]), range(points.shape[1]), work=40.0 * points.size
        )
        for c, column in enumerate(columns):
            made[:, c] = column
        return made

    def _column(self, c: int, numbers: Array) -> Array:
        own = slice(self.starts[c], self.starts[c + 1])
        knots, order = self.knots[own], np.argsort(numbers)
        rising = numbers[order]  # neighbours are found side by side
        made = np.empty_like(rising)
        found = np.interp(rising, knots, self.values[own])
        found += np.minimum(rising - knots[0], 0.0) + np.maximum(rising - knots[-1], 0.0)
        made[order] = found
        return made


@dataclass(frozen=True, eq=False)
class Nearest(RowMap):
    """A fitted row goes to its target; any other one as far, and in the same direction, as the nearest."""

    kind = "ot"
    alone = True

    rows: Annotated[Array, "n", "d"]
    targets: Annotated[Array, "n", "d"]

    @cached_property
    def _index(self) -> Neighbours:
        return Neighbours(np.ascontiguousarray(self.rows))

    def moved(self, points: Array) -> Array:
        """See `RowMap`."""
        nearest = self._index.nearest(np.ascontiguousarray(points), 1)[1][:, 0]
        return self.targets[nearest] + (points - self.rows[nearest])


@dataclass(frozen=True, eq=False)
class Entropic(RowMap):
    """The mean of y by weights bⱼ exp((gⱼ − c(x, yⱼ)) / eps); ``own`` of P to itself is taken off."""

    kind = "sinkhorn"
    alone = True

    y: Annotated[Array, "m", "d"]
    b: Annotated[Array, "m"]
    g: Annotated[Array, "m"]
    own_x: Annotated[Array, "n", "d"]
    own_a: Annotated[Array, "n"]
    own_f: Annotated[Array, "n"]
    eps: float
    cost: str

    def moved(self, points: Array) -> Array:
        """See `RowMap`."""
        made = self._mean(points, self.y, self.b, self.g)
        if not len(self.own_x):
            return made
        return np.asarray(points + (made - self._mean(points, self.own_x, self.own_a, self.own_f)))

    def _mean(self, points: Array, to: Array, weights: Array, potential: Array) -> Array:
        support = Support(to, weights, np.arange(len(to)))
        return averaged(self.cost, points, support, potential, self.eps)


@dataclass(frozen=True, eq=False)
class Series(RowMap):
    """T(x) = target + (z, cos(Ω z), sin(Ω z)) coefficients, with z = (x − centre) / scale."""

    kind = "monge"

    centre: Annotated[Array, "d"]
    target: Annotated[Array, "d"]
    frequencies: Annotated[Array, "k", "d"]
    coefficients: Annotated[Array, "p", "d"]
    scale: float

    def features(self, points: Array) -> Array:
        """The functions that the map is a combination of, (N, d + 2 k)."""
        near = (points - self.centre) / self.scale
        angles = near @ self.frequencies.T
        return np.concatenate([near, np.cos(angles), np.sin(angles)], axis=1)

    def moved(self, points: Array) -> Array:
        """See `RowMap`."""
        return np.asarray(self.target + self.features(points) @ self.coefficients)


KINDS: dict[str, type[RowMap]] = {
    made.kind: made for made in (Affine, Staircase, Nearest, Entropic, Series)
}
