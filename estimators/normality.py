"""Normality: how far the rows of a sample are from those of a Gaussian, in nats, and how surely."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimators.moments import moments
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]

LEVEL = 1e-3  # of all tests of one sample together
SURE = 1e-5  # the same for a warning: in small samples K² is far above chi-square's tail
LEAST_ROWS = 20  # fewer say nothing about the shape
MATERIAL = 5e-3  # nats that a shape must cost to be worth a warning, as skewness 0.25 does
MISPLACED = 0.08  # share of rows on the wrong side of a point, the least worth a warning
BLOCK = 8192  # rows
POINTS = np.array([-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0])  # in standard deviations


@dataclass(frozen=True)
class Shape:
    """One direction of the rows: what is unlike a Gaussian, and how sure that is.

    ``nats`` is the divergence from a Gaussian that skewness and kurtosis alone amount to.
    """

    what: str
    nats: float
    p_value: float
    details: str


def looks_normal(samples: Samples, level: float = LEVEL) -> bool:
    """Whether skewness and kurtosis of no column, no principal axis and no radius speak against it.

    D'Agostino & Pearson's K² of every column and every principal axis, Mardia's kurtosis of the
    radius, all at once by Bonferroni. Weighted rows count as 1 / Σ wᵢ².
    """
    found = _shapes(samples)
    if found is None:
        return False
    return not found or min(shape.p_value for shape in found) * len(found) > level


def gaussian_rows(x: Samples, y: Samples, **_: object) -> tuple[Note, ...]:
    """A warning for each sample whose rows are plainly, and by more than rounding, not Gaussian."""
    return tuple(
        Note(
            "W42",
            f"{samples.name}: {worst.what} {worst.details}, which is no Gaussian: the value sees "
            "nothing beyond means and covariances and may be far off; use --method auto",
        )
        for samples in (x, y)
        if (worst := departure(samples)) is not None
    )


def departure(samples: Samples) -> Shape | None:
    """The column, or else the direction, furthest from Gaussian where that is sure and matters."""
    found = _shapes(samples) or []
    sure = [s for s in found if s.p_value * len(found) <= SURE and s.nats > MATERIAL]
    columns = [shape for shape in sure if shape.what.startswith("column")]
    if sure:
        return max(columns or sure, key=lambda shape: shape.nats)
    return _misplaced(samples) if found else None


def _shapes(samples: Samples) -> list[Shape] | None:
    """Columns, principal axes and radius; none where nothing can be said, None without a covariance."""
    return samples.once("shapes", lambda: _measured(samples))


def _measured(samples: Samples) -> list[Shape] | None:
    size, d = samples.effective_size(), samples.d
    if size < LEAST_ROWS or size <= 2 * d:
        return []
    try:
        centred, axes = _directions(samples)
    except InconclusiveError:
        return None
    weights = samples.masses()
    named = [(_label(samples, j), column) for j, column in enumerate(centred)]
    if d > 1:
        named += [("a combination of columns", axis) for axis in axes]
    made = [_shape(what, values, weights, size) for what, values in named]
    return [*made, _radius(axes, weights, size)]


def _directions(samples: Samples) -> tuple[Array, Array]:
    """Centred columns and standardised principal axes, (d, n) each."""
    mean, covariance, _ = moments(samples)
    spread = np.sqrt(np.diag(covariance))
    variances, vectors = np.linalg.eigh(covariance / np.outer(spread, spread))
    centred = np.ascontiguousarray((samples.points - mean).T)
    return centred, (vectors / spread[:, None] / np.sqrt(variances)).T @ centred


def _label(samples: Samples, column: int) -> str:
    return f"column '{samples.columns[column] if samples.columns else column}'"


def _shape(what: str, values: Array, weights: Array, size: float) -> Shape:
    skew, kurtosis = _skewness_and_kurtosis(values, weights)
    scores = _skew_score(skew, size) ** 2 + _kurtosis_score(kurtosis, size) ** 2
    nats = skew**2 / 12.0 + (kurtosis - 3.0) ** 2 / 48.0
    details = f"has skewness {skew:.2g} and excess kurtosis {kurtosis - 3.0:.2g}"
    return Shape(what, nats, math.exp(-0.5 * scores), details)


def _radius(axes: Array, weights: Array, size: float) -> Shape:
    """Mardia's kurtosis: the mean fourth power of the standardised distance from the mean."""
    d = len(axes)
    square = np.einsum("ij,ij->j", axes, axes)
    gap = float(weights @ (square * square)) - d * (d + 2) * (size - 1) / (size + 1)
    ratio = gap / (2.0 * d)  # of the variance of the squared distance to a Gaussian's, less 1
    details = f"have {1.0 + ratio:.2g} times the variance that they should"
    p_value = math.erfc(abs(gap) / math.sqrt(16.0 * d * (d + 2) / size))
    return Shape("the rows' squared distances from their mean", 0.25 * ratio**2, p_value, details)


def _misplaced(samples: Samples) -> Shape | None:
    """The direction with most rows on the wrong side of a point: shapes that moments do not see.

    Copies at the point count half, so that rounding does no harm.
    """
    size, weights = samples.effective_size(), samples.masses()
    centred, axes = _directions(samples)
    named = [(_label(samples, j), column) for j, column in enumerate(centred)]
    named += [("a combination of columns", axis) for axis in axes]
    worst: Shape | None = None
    for what, values in named:
        edges = POINTS * math.sqrt(float(weights @ (values * values)))
        for point, below in zip(POINTS, _shares_below(edges, values, weights), strict=True):
            expected = 0.5 * math.erfc(-point / math.sqrt(2.0))
            gap = abs(below - expected)
            p_value = math.erfc(gap / math.sqrt(2.0 * expected * (1.0 - expected) / size))
            sure = p_value * len(named) * len(POINTS) <= SURE
            if sure and gap > max(MISPLACED, worst.nats if worst else 0.0):
                details = f"has {below:.0%} of the rows, not {expected:.0%}, below {point:+g} sd"
                worst = Shape(what, gap, p_value, details)
    return worst


def _shares_below(edges: Array, values: Array, weights: Array) -> Array:
    """Share of the rows below every edge, those on it counted half."""
    total = np.zeros(len(edges) + 1)
    for side in ("left", "right"):
        total += np.bincount(np.searchsorted(edges, values, side), weights, len(total))
    shares: Array = 0.5 * np.cumsum(total)[:-1]
    return shares


def _skewness_and_kurtosis(values: Array, weights: Array) -> tuple[float, float]:
    sums = np.zeros(3)
    for start in range(0, len(values), BLOCK):  # blocks that stay in the cache
        part, mass = values[start : start + BLOCK], weights[start : start + BLOCK]
        square = part * part
        sums += mass @ square, mass @ (square * part), mass @ (square * square)
    second, third, fourth = sums.tolist()
    return third / second**1.5, fourth / second**2


def _skew_score(skew: float, n: float) -> float:
    """D'Agostino 1970: a standard normal score of the skewness of n normal values."""
    y = skew * math.sqrt((n + 1) * (n + 3) / (6.0 * (n - 2)))
    beta = 3.0 * (n * n + 27 * n - 70) * (n + 1) * (n + 3)
    beta /= (n - 2.0) * (n + 5) * (n + 7) * (n + 9)
    w = -1.0 + math.sqrt(2.0 * (beta - 1))
    return math.asinh(y / math.sqrt(2.0 / (w - 1))) / math.sqrt(0.5 * math.log(w))


def _kurtosis_score(kurtosis: float, n: float) -> float:
    """Anscombe & Glynn 1983: a standard normal score of the kurtosis of n normal values."""
    mean = 3.0 * (n - 1) / (n + 1)
    variance = 24.0 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    x = (kurtosis - mean) / math.sqrt(variance)
    beta = 6.0 * (n * n - 5 * n + 2) / ((n + 7) * (n + 9))
    beta *= math.sqrt(6.0 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    a = 6.0 + 8.0 / beta * (2.0 / beta + math.sqrt(1 + 4.0 / beta**2))
    base = (1.0 - 2.0 / a) / (1.0 + x * math.sqrt(2.0 / (a - 4.0)))
    root = math.copysign(abs(base) ** (1 / 3), base)
    return (1.0 - 2.0 / (9.0 * a) - root) / math.sqrt(2.0 / (9.0 * a))
