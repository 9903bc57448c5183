"""Kernel matrices to solve with: all pairs of few rows, or a factor of low rank for many.

A factor comes from blocks of rows that are drawn in proportion to what is not yet explained of them
(randomly pivoted Cholesky): K = L L' + E with E on the diagonal exact, elsewhere at most its largest entry.
Chen, Epperly, Tropp & Webber 2025, Comm. Pure Appl. Math. 78.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from divmatch.kernels.backend import to_host
from divmatch.kernels.pairwise import Grid, Profile
from divmatch.matcher import Array
from divmatch.randomness import stream

BLOCK = 100  # rows a block of the factor
SMALL = 1000  # rows up to which all pairs are as fast


class Rows:
    """The kernel of rows with each other and with others: sign times a profile, made positive.

    −|x − x'|^R is positive only on vectors of sum 0; with a(x) = |x − o|^R, a(x) + a(x') − |x − x'|^R is so
    everywhere, and weights of sum 1 see the difference as a linear term.
    """

    def __init__(self, profile: Profile, sign: float, points: Array) -> None:
        self.profile, self.sign, self.points = profile, sign, points
        self.offset = np.zeros(len(points))
        if profile.name == "distance":
            self.centre = points.mean(axis=0)[None, :]
            self.offset = self._plain(points, self.centre)[:, 0]

    def _plain(self, x: Array, y: Array) -> Array:
        grid = Grid(self.profile, x, y)
        made = np.empty((len(x), len(y)))
        for rows in grid.rows():
            for columns in grid.columns():
                made[rows, columns] = to_host(grid.tile(rows, columns))
        return made

    def columns(self, which: Any) -> Array:
        """The kernel of all rows with some."""
        made = self._plain(self.points, self.points[which])
        made *= self.sign  # in place: there is room for one matrix
        made += self.offset[:, None]
        made += self.offset[which]
        return made

    def diagonal(self) -> Array:
        """The kernel of every row with itself."""
        return self.sign * self.profile.own(self.points) + 2.0 * self.offset


class Dense:
    """K in one triangle of one array, the factor of K + D in the other."""

    def __init__(self, rows: Rows) -> None:
        self.diagonal = rows.diagonal()
        self.array = rows.columns(slice(None)).T  # symmetric: the same numbers in LAPACK's order

    def times(self, v: Array) -> Array:
        """K v, from the upper triangle."""
        from scipy.linalg.blas import dsymv

        made: Array = dsymv(1.0, self.array, v, lower=0)
        return made + (self.diagonal - self.array.diagonal()) * v

    def solver(self, diagonal: Array) -> Callable[[Array], Array]:
        """Cholesky's factor in the lower triangle."""
        from scipy.linalg.lapack import dpotrf, dpotrs

        n = len(diagonal)
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            self.array[stop:, start:stop] = self.array[start:stop, stop:].T
            block = np.triu(self.array[start:stop, start:stop], 1)
            self.array[start:stop, start:stop] = block + block.T
        self.array[np.diag_indices(n)] = self.diagonal + diagonal
        factor, info = dpotrf(self.array, lower=1, clean=0, overwrite_a=1)
        self.array = factor

        def solve(right: Array) -> Array:
            made: Array = dpotrs(factor, right, lower=1)[0]
            return made if info == 0 else np.full_like(right, np.nan)

        return solve


class LowRank:
    """K = L L' + diag(rest)."""

    def __init__(self, factor: Array, rest: Array) -> None:
        self.factor, self.rest = factor, rest
        self.diagonal = np.einsum("ij,ij->i", factor, factor) + rest

    def times(self, v: Array) -> Array:
        """K v."""
        made: Array = self.factor @ (self.factor.T @ v)
        return made + self.rest * v

    def solver(self, diagonal: Array) -> Callable[[Array], Array]:
        """Woodbury's identity, and one step of refinement."""
        from scipy.linalg import cho_factor, cho_solve

        whole = diagonal + self.rest
        scaled = self.factor / np.sqrt(whole)[:, None]
        inner = scaled.T @ scaled
        inner[np.diag_indices(len(inner))] += 1.0
        small: Any = cho_factor(inner, lower=True, overwrite_a=True, check_finite=False)

        def once(right: Array) -> Array:
            own = right / whole[:, None]
            made: Array = (
                own - (self.factor @ cho_solve(small, self.factor.T @ own)) / whole[:, None]
            )
            return made

        def solve(right: Array) -> Array:
            first = once(right)
            error = right - (self.factor @ (self.factor.T @ first) + whole[:, None] * first)
            return first + once(error)

        return solve


def left_over(rest: Array, masses: Array) -> float:
    """What weights see of the unexplained E at most: w'Ew ≤ (Σ wᵢ √Eᵢᵢ)²."""
    return float(masses @ np.sqrt(rest)) ** 2


def low_rank(
    rows: Rows, error: float, most: int, masses: Array | None = None
) -> tuple[LowRank, float]:
    """A factor with at most ``most`` columns, and what it leaves unexplained: at most ``error`` if it can.

    That is the largest entry or, with ``masses``, what these weights see of it at most.
    """

    def left() -> float:
        return float(rest.max()) if masses is None else left_over(rest, masses)

    from scipy.linalg import solve_triangular
    from scipy.linalg.lapack import dpstrf

    n, rng = len(rows.points), stream(0, "kernel factor")
    rest = rows.diagonal()
    factor = np.empty((n, 0))
    while factor.shape[1] < most and left() > error:
        size = min(BLOCK, most - factor.shape[1])
        drawn = np.unique(rng.choice(n, size, p=rest / rest.sum()))
        columns = rows.columns(drawn) - factor @ factor[drawn].T
        square, order, rank, _ = dpstrf(columns[drawn], lower=1, tol=1e-3 * error)
        kept = order[:rank] - 1
        if not rank:
            break
        triangle = np.tril(square[:rank, :rank])
        part = solve_triangular(triangle, columns[:, kept].T, lower=True, check_finite=False).T
        factor = np.hstack([factor, part])
        rest = np.maximum(rest - np.einsum("ij,ij->i", part, part), 0.0)
        rest[drawn[kept]] = 0.0
    return LowRank(factor, rest), left()
