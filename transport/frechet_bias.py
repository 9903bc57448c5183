"""How a sample's rows move the Fréchet distance: influences, and the bias of the plug-in."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.kernels.hashing import row_hashes
from divmatch.moments import Moments
from divmatch.samples import Samples
from divmatch.transport.bures import Array, Coupling, Gaussian, coupled, fitted, root

FULL_WORK = 1e9  # rows times columns squared up to which every row's influence is evaluated
ENOUGH = 2048  # rows that stand for all of more than these
NO_ROWS = slice(0)
DECAYS_FROM = 512  # strengths from which a row's bend comes from some 60 decays
STEP = 1.0 / 3.0  # of their logarithms: the curvatures are off by 3e-12 of themselves
LEAST, NEAR = 4, 20  # rows a column: below, no expansion in 1/n; above, its first term is enough


@dataclass(frozen=True, eq=False)
class Side:
    """Influences of rows of one sample, and the bias of the distance that is due to the sample.

    ``rows`` are the places that were evaluated; ``variance`` is that of the weighted mean of the
    influences of all rows.
    """

    rows: slice
    influences: Array
    variance: float
    bias: float

    @property
    def partial(self) -> bool:
        """Whether some rows stand for all."""
        return self.rows not in (slice(None), NO_ROWS)


@dataclass(frozen=True, eq=False)
class Expansion:
    """The plug-in with its derivatives: value, standard error and bias to first order in 1/n."""

    coupling: Coupling
    value: float
    first: Side
    second: Side
    noise: float

    @property
    def bias(self) -> float:
        """What the value is expected to be above that of the distributions."""
        return self.first.bias + self.second.bias

    @property
    def complete(self) -> bool:
        """Whether every row's influence was evaluated."""
        return self.first.rows == self.second.rows == slice(None)

    @property
    def se(self) -> float:
        """Standard error by the delta method."""
        return math.sqrt(self.first.variance + self.second.variance)


def expanded(x: Samples, y: Samples, smooth: float) -> Expansion:
    """The plug-in between the Gaussians of two samples whose rows all carry weight."""
    coupling = coupled_samples(x, y)
    s = coupling.strengths
    roots = np.hypot(s, math.sqrt(smooth))
    curvature = s[:, None] ** 2 * (s**2 / ((roots[:, None] + roots) * roots[:, None] * roots))
    shape = Shape(s * s / roots, roots, curvature)
    white, other = coupling.whitening()
    if isinstance(x, Moments):
        first = _stored(x, coupling.first, coupling.left, coupling.gap, shape)
    else:
        first = _side(x, coupling.first, white, coupling.gap, shape)
    if isinstance(y, Moments):
        second = _stored(y, coupling.second, coupling.right, -coupling.gap, shape)
    else:
        second = _side(y, coupling.second, other, -coupling.gap, shape)
    size = 1.0 / x.effective_size() + 1.0 / y.effective_size()
    spread = np.sum(curvature**2) + np.sum(np.diag(curvature) ** 2) + 2.0 * np.sum(s**2)
    noise = size * math.sqrt(float(spread))
    return Expansion(coupling, coupling.squared(smooth), first, second, noise)


def coupled_samples(x: Samples, y: Samples) -> Coupling:
    """Optimal transport between the Gaussians of two samples."""
    return coupled(_gaussian(x), _gaussian(y))


def _gaussian(of: Samples) -> Gaussian:
    if isinstance(of, Moments):
        return Gaussian(of.mean, root(of.covariance, np.abs(of.mean)))
    return fitted(of.points, of.masses(), of.name)


@dataclass(frozen=True, eq=False)
class Shape:
    """Of r = √(s² + τ): s²/r, r, and Wᵢⱼ = sᵢ² sⱼ² / ((rᵢ + rⱼ) rᵢ rⱼ)."""

    pull: Array
    roots: Array
    curvature: Array

    def bends(self, squares: Array) -> Array:
        """Σᵢⱼ uᵢ² uⱼ² Wᵢⱼ of every row of squares."""
        if len(self.pull) < DECAYS_FROM:
            return np.einsum("ij,ij->i", squares @ self.curvature, squares)
        sums = squares @ (self.pull[:, None] * decays(self.roots))
        return np.einsum("ij,ij->i", sums, sums)


def decays(roots: Array) -> Array:
    """D with Σₖ Dᵢₖ Dⱼₖ = 1 / (rᵢ + rⱼ): ∫ e^(−t (rᵢ + rⱼ)) dt by the trapezoidal rule in ln t.

    It ends where the slowest root has decayed. It begins where the fastest one hardly has; all before
    is one more node, of their weight and mean rate.
    """
    low, high = np.log(1e-4 / roots.max()), np.log(15.0 / roots.min())
    rates = np.exp(np.arange(low, high + STEP, STEP))
    weights = STEP * rates
    shrink = np.exp(-STEP)
    weights[0] /= 1.0 - shrink
    rates[0] /= 1.0 + shrink
    return np.asarray(np.sqrt(weights) * np.exp(-roots[:, None] * rates))


def _side(sample: Samples, of: Gaussian, white: Array, gap: Array, shape: Shape) -> Side:
    """With u the whitened row: |v|² − Σ u² s²/r + 2 gap·v, and ½ Σ uᵢ² uⱼ² Wᵢⱼ for the bias."""
    rows = _evaluated(sample)
    masses = sample.masses()
    centred = sample.points[rows] - of.mean
    squares = np.square(_times(centred, white, single=rows != slice(None)), dtype=np.float64)
    influences = np.einsum("ij,ij->i", centred, centred) + centred @ (2.0 * gap)
    influences -= squares @ shape.pull
    bends = shape.bends(squares) - np.trace(shape.curvature)
    own = masses[rows] ** 2 / (1.0 - masses @ masses)
    own *= (masses @ masses) / (masses[rows] @ masses[rows])
    mean = masses[rows] @ influences / masses[rows].sum()
    variance = float(own @ (influences - mean) ** 2)
    return Side(
        rows, influences, variance, float(masses @ masses) * of.trace + 0.5 * float(own @ bends)
    )


def _times(centred: Array, white: Array, *, single: bool) -> NDArray[np.floating]:
    """The product, in single precision where rows stand for others: they are off by more."""
    if not single:
        return np.asarray(centred @ white)
    reach = np.maximum(centred.max(axis=0), -centred.min(axis=0))
    reach[reach == 0] = 1.0
    left, right = centred / reach, white * reach[:, None]
    return np.asarray(left.astype(np.float32) @ right.astype(np.float32))


def _stored(sample: Moments, of: Gaussian, vectors: Array, gap: Array, shape: Shape) -> Side:
    """What the rows behind stored moments would give if they were Gaussian; 0 if there is no n."""
    if not sample.rows:
        return Side(NO_ROWS, np.zeros(0), 0.0, 0.0)
    form = of.factor @ of.factor.T - (vectors * shape.pull) @ vectors.T
    variance = 2.0 * float(np.sum(form**2)) + 4.0 * float(np.sum((of.factor @ gap) ** 2))
    bends = float(np.sum(shape.curvature) + np.trace(shape.curvature))
    bias = of.trace / sample.rows + 0.5 * bends / (sample.rows - 1)
    return Side(NO_ROWS, np.zeros(0), variance / sample.rows, bias)


def _evaluated(sample: Samples) -> slice:
    """All rows, or as many evenly spaced ones as are enough where that takes long."""
    if sample.n <= ENOUGH or sample.n * sample.d**2 <= FULL_WORK:
        return slice(None)
    return slice(None, None, sample.n // ENOUGH)


def enough(x: Samples, y: Samples) -> float:
    """Rows a column of the smaller sample, by their weights."""
    return min(x.effective_size(), y.effective_size()) / x.d


def plug_in(x: Samples, y: Samples, smooth: float) -> float:
    """The distance between the Gaussians of two samples, bias and all."""
    return coupled_samples(x, y).squared(smooth)


def extrapolated(whole: Expansion, x: Samples, y: Samples, smooth: float) -> float:
    """The value without its bias to second order in 1/n.

    g = value − bias is off by c/n² + ...: by 4c/n² on halves, so that g + (g − mean g on halves) / 3
    is off by less. The rows come in the order of `halving`, and every other one is a half.
    """
    found = whole.value - whole.bias
    halves = []
    for start in (0, 1):
        part = slice(start, None, 2)
        half = expanded(_part(x, part), _part(y, part), smooth)
        halves.append(half.value - half.bias)
    return found + (found - sum(halves) / 2.0) / 3.0


def _part(sample: Samples, rows: slice) -> Samples:
    weights = sample.weights
    if weights is not None:
        weights = weights[rows] / weights[rows].sum()
        if not weights.max() < 1.0:
            raise InconclusiveError(f"{sample.name}: one row carries the weight of half of them")
    return Samples(sample.points[rows], weights, sample.name)


def halving(samples: Samples) -> NDArray[np.intp]:
    """Places of the rows that carry weight, in an order that their numbers decide."""
    masses = samples.masses()
    order = np.lexsort((masses, row_hashes(samples.points)))
    return order[masses[order] > 0]
