"""Gaussians by their moments, and the optimal transport between two of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.kernels.execution import in_order, steps_of

Array = NDArray[np.float64]
ROWS = 8192  # rows of a block; fixed, so that the digits do not depend on the threads
WHOLE = 32768  # most rows of a block that needs no copy
TELLING = 1024  # rows that tell whether they do
PANEL = 512  # rows of a factor whose leading zeros are left out of its products


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A mean and a factor R, (r, d), of the covariance R'R; r is the smaller of rows and columns."""

    mean: Array
    factor: Array

    @property
    def trace(self) -> float:
        """The trace of the covariance."""
        return float(np.einsum("ij,ij->", self.factor, self.factor))


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
    central = alike and _central(points, mean)

    def product(rows: slice) -> Array:
        part = points[rows]
        if not central:
            part = part - mean
        if not alike:
            part *= scales[rows, None]
        return np.asarray(part.T @ part)

    n, d = points.shape
    size = -(-n // -(-n // WHOLE)) if central else ROWS
    parts = in_order(product, steps_of(n, size), work=n * d * d)
    covariance = next(parts)
    for part in parts:
        covariance += part
    if central:
        covariance -= mean[:, None] * (n * mean)
    if alike:
        covariance *= scales[0] ** 2
    return Gaussian(mean, root(covariance, np.abs(mean)))


def _central(points: Array, mean: Array) -> bool:
    """Whether the columns of many rows lie about zero: then taking the mean off later costs no digit."""
    if len(points) < 2 * ROWS:
        return False
    some = points[:: len(points) // TELLING]
    return bool((mean**2 <= np.mean((some - mean) ** 2, axis=0)).all())


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
    alike = covariance if len(live) == len(spread) else covariance[np.ix_(live, live)]
    alike = alike / scale
    alike /= scale[:, None]
    try:
        lower = np.linalg.cholesky(alike)
        regular = bool(np.diag(lower).min() > 1e-6)
    except np.linalg.LinAlgError:
        regular = False
    if regular and len(live) == len(spread):
        return np.asarray(lower.T * scale)
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
        left, right = _back(self.second.factor, self.right), _back(self.first.factor, self.left)
        left /= s
        right /= s
        return left, right

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
    product = _ahead(first.factor, second.factor.T)
    largest = max(float(product.max(initial=0.0)), -float(product.min(initial=0.0)))
    if not largest > 0:
        return Coupling(first, second, *_nothing(*product.shape))
    product /= largest  # its squares are numbers
    vectors, rows, lengths = _rotated(product, 2.0**-52 * max(product.shape))
    kept = lengths > 2.0**-52 * max(product.shape) * lengths.max()
    if not kept.all():
        vectors, rows, lengths = vectors[:, kept], rows[kept], lengths[kept]
    return Coupling(first, second, vectors, lengths * largest, rows.T / lengths)


def _ahead(factor: Array, other: Array) -> Array:
    """R @ other; most factors have nothing below their diagonal."""
    made = np.empty((len(factor), other.shape[1]))
    for rows in steps_of(len(factor), PANEL):
        first = 0 if factor[rows, : rows.start].any() else rows.start
        np.matmul(factor[rows, first:], other[first:], out=made[rows])
    return made


def _back(factor: Array, other: Array) -> Array:
    """R' @ other, as `_ahead`."""
    made = np.empty((factor.shape[1], other.shape[1]))
    for columns in steps_of(factor.shape[1], PANEL):
        last = None if factor[columns.stop :, columns].any() else columns.stop
        np.matmul(factor[:last, columns].T, other[:last], out=made[columns])
    return made


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
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
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
