"""Gaussians by their moments, and the optimal transport between two of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.kernels.execution import in_order, steps_of

Array = NDArray[np.float64]
ROWS = 8192  # rows of a block; fixed, so that the digits do not depend on the threads


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A mean and a factor R, (r, d), of the covariance R'R; r is the smaller of rows and columns."""

    mean: Array
    factor: Array

    @property
    def trace(self) -> float:
        """The trace of the covariance."""
        return float(np.sum(self.factor**2))


def fitted(points: Array, masses: Array, name: str) -> Gaussian:
    """The Gaussian with the weighted mean and unbiased covariance of rows that all carry weight."""
    left = 1.0 - float(masses @ masses)
    if len(points) < 2 or not left > 0:
        raise InconclusiveError(f"{name}: one row has no covariance; more rows are needed")
    mean = masses @ points
    scales = np.sqrt(masses / left)
    if len(points) <= points.shape[1]:
        return Gaussian(mean, (points - mean) * scales[:, None])
    alike = bool((masses == masses[0]).all())  # then the sum is scaled instead of every row

    def product(rows: slice) -> Array:
        part = points[rows] - mean
        if not alike:
            part *= scales[rows, None]
        return np.asarray(part.T @ part)

    n, d = points.shape
    covariance = np.zeros((d, d))
    for part in in_order(product, steps_of(n, ROWS), work=n * d * d):
        covariance += part
    if alike:
        covariance *= scales[0] ** 2
    return Gaussian(mean, root(covariance, np.abs(mean)))


def root(covariance: Array, size: Array) -> Array:
    """R with R'R = the covariance, a row for every direction that is more than rounding.

    Columns are brought to one scale first, so that small ones are not taken for rounding; one that
    varies by less than 1e-13 of its ``size`` is constant.
    """
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    live = np.flatnonzero(spread > 1e-13 * size)
    factor = np.zeros((len(live), len(spread)))
    if not len(live):
        return factor
    scale = spread[live]
    alike = covariance[np.ix_(live, live)] / scale / scale[:, None]
    try:
        lower = np.linalg.cholesky(alike)
        regular = bool(np.diag(lower).min() > 1e-6)
    except np.linalg.LinAlgError:
        regular = False
    if regular:
        factor[:, live] = lower.T * scale
        return factor
    values, vectors = np.linalg.eigh(alike)
    kept = values > 2.0**-52 * len(scale) * values[-1]
    factor = np.zeros((int(kept.sum()), len(spread)))
    factor[:, live] = np.sqrt(values[kept])[:, None] * vectors[:, kept].T * scale
    return factor


@dataclass(frozen=True, eq=False)
class Coupling:
    """Optimal transport between two Gaussians: R₁R₂' = U diag(s) V'.

    Σ s is the trace of (A^½ B A^½)^½. ``left`` is U, (r₁, k), ``right`` V, (r₂, k).
    """

    first: Gaussian
    second: Gaussian
    left: Array
    strengths: Array
    right: Array

    @property
    def gap(self) -> Array:
        """Difference of the means."""
        return self.first.mean - self.second.mean

    def whitening(self) -> tuple[Array, Array]:
        """R₁⁺U and R₂⁺V, (d, k): rows times them have covariance 1 where the other sample's is diag(s²).

        From U = R₁R₂'V/s these are R₂'V/s and R₁'U/s, without an inverse.
        """
        s = self.strengths
        left = self.second.factor.T @ self.right / s
        return np.asarray(left), np.asarray(self.first.factor.T @ self.left / s)

    def squared(self, smooth: float = 0.0) -> float:
        """|m₁ − m₂|² + tr A + tr B − 2 tr(A^½ B A^½ + τ I)^½."""
        traces = self.first.trace + self.second.trace
        gap = self.gap
        return float(gap @ gap) + traces - 2.0 * self._overlap(smooth)

    def _overlap(self, smooth: float) -> float:
        if not smooth:
            return float(self.strengths.sum())
        rest = len(self.gap) - len(self.strengths)  # directions where A^½ B A^½ is zero
        return float(np.hypot(self.strengths, smooth**0.5).sum()) + rest * smooth**0.5


def coupled(first: Gaussian, second: Gaussian) -> Coupling:
    """The singular values and vectors of R₁R₂'."""
    if len(first.factor) > len(second.factor):
        turned = coupled(second, first)
        return Coupling(first, second, turned.right, turned.strengths, turned.left)
    product = first.factor @ second.factor.T
    largest = float(np.abs(product).max(initial=0.0))
    if not largest > 0:
        return Coupling(first, second, *_nothing(*product.shape))
    product /= largest  # its squares are numbers
    vectors, rows, lengths = _rotated(product, 2.0**-52 * max(product.shape))
    kept = lengths > 2.0**-52 * max(product.shape) * lengths.max()
    right = rows[kept].T / lengths[kept]
    return Coupling(first, second, vectors[:, kept], lengths[kept] * largest, right)


def _rotated(product: Array, rounding: float) -> tuple[Array, Array, Array]:
    """U, the rows of U'M and their lengths: the singular values, largest last.

    From symmetric eigendecompositions of MM', at a third of the cost of a singular value
    decomposition. No eigenvalue is rooted: for any orthonormal U the lengths add up to no less than
    the singular values, with equality at the singular vectors, so that errors of the vectors count
    squared. Vectors whose eigenvalues are below 1e-8 of the largest are rotated once more among
    themselves.
    """
    vectors = np.linalg.eigh(product @ product.T)[1]
    rows = vectors.T @ product
    lengths = np.sqrt(np.sum(rows**2, axis=1))
    top = lengths.max()
    small = int(np.count_nonzero(lengths < 1e-4 * top))
    if small > 1 and lengths[:small].max() > rounding * top:
        rest, rounding = rows[:small] / top, rounding / float(lengths[:small].max() / top)
        inner, turned, own = _rotated(rest, rounding)
        vectors[:, :small] = vectors[:, :small] @ inner
        rows[:small], lengths[:small] = turned * top, own * top
    return vectors, rows, lengths


def _nothing(left: int, right: int) -> tuple[Array, Array, Array]:
    return np.zeros((left, 0)), np.zeros(0), np.zeros((right, 0))
