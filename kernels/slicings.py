"""What samples are sliced by: numbers along a direction from planes, spheres or monomials.

A slice is a level set of one of these functions of a row x and a unit vector θ:

linear     θ·x
circular   |x − R θ|: spheres around a point at the distance R
polynomial Σ θ_α x^α over the monomials of degree K, of which there are (d + K − 1 choose K)
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import steps_of
from divmatch.kernels.gpu.pairwise import array_module

Array = NDArray[np.float64]

CHUNK = 1024  # rows worked on at a time
ON_DEVICE = 1 << 18  # on a GPU
NUMBERS = 1 << 20  # monomials made at a time
CLOSE = 1e-6  # share of its terms below which a squared distance is computed afresh


@dataclass(frozen=True)
class Slicing:
    """One of the functions, with its R or K."""

    name: str = "linear"
    number: float = 1.0

    @property
    def even(self) -> bool:
        """Whether a direction and its opposite give the same slices."""
        return self.name != "circular"

    def columns(self, d: int) -> int:
        """The dimension of the directions for rows of d columns."""
        return comb(d + int(self.number) - 1, int(self.number)) if self.name == "polynomial" else d

    def features(self, points: Any) -> Any:
        """What the function is linear in; the points themselves but for polynomials."""
        if self.name != "polynomial":
            return points
        sets = combinations_with_replacement(range(points.shape[1]), int(self.number))
        made = [points[:, list(some)].prod(axis=1) for some in sets]
        return array_module(points).stack(made, axis=1)

    def centre(self, points: Array) -> Array:
        """Median of up to 101 rows' features."""
        return typical(self.features(points[:: -(-len(points) // 101)]))

    def numbers(self, points: Any, centre: Any, vectors: Any) -> Any:
        """The function of every direction and row, less its value at the centre if it is linear.

        (n, d), (D,), (q, D) to (q, n), arrays of one module, without a copy of the points.
        """
        xp = array_module(points)
        made = xp.empty((len(vectors), len(points)))
        for rows in steps_of(len(points), self._at_once(xp, vectors.shape[1])):
            if self.name == "circular":
                made[:, rows] = _distances(xp, points[rows], self.number * vectors)
            else:
                away = self.features(points[rows]) - centre
                xp.matmul(vectors, away.T, out=made[:, rows])
        return made

    def _at_once(self, xp: Any, columns: int) -> int:
        if xp is not np:
            return ON_DEVICE
        wide = self.name == "polynomial"
        return max(1, min(CHUNK, NUMBERS // columns)) if wide else CHUNK


LINEAR = Slicing()


def typical(points: Array) -> Array:
    """Median of up to 101 rows, a centre made of the data's own numbers; (n, d) to (d,)."""
    some = np.sort(points[:: -(-len(points) // 101)], axis=0)
    middle: Array = some[(len(some) - 1) // 2]
    return middle


def _distances(xp: Any, points: Any, centres: Any) -> Any:
    """|xᵢ − c| for every centre, (q, n); where terms cancel from the differences."""
    squares_x = xp.einsum("ij,ij->i", points, points)
    squares_c = xp.einsum("ij,ij->i", centres, centres)
    size = squares_c[:, None] + squares_x
    squares = size - 2.0 * (centres @ points.T)
    near, rows = xp.nonzero(squares < CLOSE * size)
    away = points[rows] - centres[near]
    squares[near, rows] = xp.einsum("ij,ij->i", away, away)
    return xp.sqrt(squares)
