"""Kernels as products of features, k(x, y) ≈ Φ(x)·Φ(y): sums over rows without a matrix of pairs.

Rows are taken in blocks whose size depends on nothing but the shapes, and results of blocks are
added in a fixed order: same digits for any number of threads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.execution import in_order
from divmatch.kernels.pairwise import Profile, product

Array = NDArray[np.float64]

BLOCK = 1 << 20  # features of a block of rows held at a time by one thread
SMALLEST = 1e-12  # eigenvalues, relative to the largest, that are taken for rounding errors


class Features(Protocol):
    """A map Φ of rows to q features."""

    def sums(self, points: Array, v: Array) -> Array:
        """Φᵀ V for V of shape (n, B); shape (q, B)."""

    def products(self, points: Array, vectors: Array) -> Array:
        """Φ(xᵢ)·u for every column u of vectors (q, k); shape (n, k)."""

    def own(self, points: Array) -> Array:
        """|Φ(xᵢ)|², shape (n,)."""


@dataclass(frozen=True, eq=False)
class Fourier:
    """All cosines, then all sines, of w·(x − centre), over the root of their number: |Φ|² = height."""

    frequencies: Array
    centre: Array
    height: float = 1.0

    @property
    def count(self) -> int:
        """Number of frequencies."""
        return len(self.frequencies)

    def sums(self, points: Array, v: Array) -> Array:
        """See `Features`. Time O(n·F·(d + B)), memory O(F·B)."""
        total = np.zeros((2 * self.count, v.shape[1]))
        blocks = self._blocks(len(points))
        for part in in_order(lambda rows: self._of(points[rows]).T @ v[rows], blocks):
            total += part
        return total

    def products(self, points: Array, vectors: Array) -> Array:
        """See `Features`."""
        blocks = self._blocks(len(points))
        parts = in_order(lambda rows: self._of(points[rows]) @ vectors, blocks)
        return np.concatenate(list(parts))

    def own(self, points: Array) -> Array:
        """See `Features`."""
        return np.full(len(points), self.height)

    def _of(self, points: Array) -> Array:
        angles = (points - self.centre) @ self.frequencies.T
        made = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        made *= np.sqrt(self.height / self.count)
        return made

    def _blocks(self, rows: int) -> Iterator[slice]:
        return _steps(rows, max(1, BLOCK // (2 * self.count)))


class Landmarks:
    """Projection onto the span of k(·, zₗ): Φ(x) = Λ^(−1/2) Uᵀ k_z(x) for K_zz = U Λ Uᵀ."""

    def __init__(self, profile: Profile, points: Array) -> None:
        self.profile, self.points = profile, points
        values, vectors = np.linalg.eigh(product(profile, points, points, np.eye(len(points))))
        kept = values > SMALLEST * values[-1]
        self.whitening = vectors[:, kept] / np.sqrt(values[kept])

    def sums(self, points: Array, v: Array) -> Array:
        """See `Features`. Time O(n·L·(d + B)), memory O(L·B)."""
        return np.asarray(self.whitening.T @ product(self.profile, self.points, points, v))

    def products(self, points: Array, vectors: Array) -> Array:
        """See `Features`."""
        return product(self.profile, points, self.points, self.whitening @ vectors)

    def own(self, points: Array) -> Array:
        """See `Features`."""
        parts = []
        for rows in _steps(len(points), max(1, BLOCK // len(self.points))):
            features = product(self.profile, points[rows], self.points, self.whitening)
            parts.append(np.einsum("ij,ij->i", features, features))
        return np.concatenate(parts)


def _steps(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
