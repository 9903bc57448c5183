"""Held-out evidence: which model of ln(p/q) tells rows of P from rows of Q that it has not seen."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimators.folds import folds_of_rows
from divmatch.estimators.gaussian_forms import quadratic
from divmatch.estimators.label_counts import Counts
from divmatch.estimators.moments import moments
from divmatch.samples import Samples

Array = NDArray[np.float64]
Rows = slice | NDArray[np.bool_]
SEEN = 2  # rows of a label from which 1 / (2 k) is the noise of the loss: measured
NO_SKILL = math.log(2.0)  # the loss of a model that knows nothing


@dataclass(frozen=True, eq=False)
class Evidence:
    """The logistic loss of every held-out row under a model of ln(p/q), each sample one half."""

    x: Array
    y: Array
    a: Array
    b: Array

    @property
    def loss(self) -> float:
        """Mean loss in nats; ln 2 for a model without skill, less for one with some."""
        return 0.5 * float(self.a @ self.x + self.b @ self.y)

    def excess(self, other: "Evidence") -> tuple[float, float]:
        """How much larger this loss is than another one's, and the standard error of that."""
        u, v = self.x - other.x, self.y - other.y
        return self.loss - other.loss, 0.5 * math.hypot(_error(u, self.a), _error(v, self.b))

    def without_skill(self) -> bool:
        """Whether guessing would have been better, beyond chance."""
        error = 0.5 * math.hypot(_error(self.x, self.a), _error(self.y, self.b))
        return self.loss - NO_SKILL > 2.0 * error


def _error(terms: Array, weights: Array) -> float:
    centred = terms - weights @ terms
    return math.sqrt(float(np.sum((weights * centred) ** 2)))


def evidence(x: Samples, y: Samples, at_x: Array, at_y: Array) -> Evidence:
    """What the held-out log-ratios of the rows of P and of Q are worth."""
    return Evidence(np.logaddexp(0.0, -at_x), np.logaddexp(0.0, at_y), x.masses(), y.masses())


def of_labels(x: Samples, y: Samples, counts: Counts, rows: tuple[Rows, Rows]) -> Evidence:
    """Of the labels around every row, which do not count the row itself.

    Counts out of k labels make the loss 1 / (2 k) larger than the ratio in the ball would, and about
    half of that where a label is hardly seen. That is taken off: a mean over rows averages it out,
    but not what the ball blurs.
    """
    found = []
    for samples, at, ratio, own, other, sign in (
        (x, rows[0], counts.ratio_x, counts.own_x, counts.other_x, 1.0),
        (y, rows[1], counts.ratio_y, counts.own_y, counts.other_y, -1.0),
    ):
        seen = np.where(np.minimum(own, other) < SEEN, 0.5, 1.0)
        noise = seen * 0.5 / np.maximum(own + other, 1.0)
        losses = np.zeros(samples.n)
        losses[at] = np.logaddexp(0.0, -sign * np.log(ratio)) - noise
        found.append(losses)
    return Evidence(found[0], found[1], x.masses(), y.masses())


def of_gaussians(x: Samples, y: Samples, folds: int, rng: "np.random.Generator") -> Evidence:
    """Of two Gaussians: the mean of the losses of rows held out and of rows seen.

    Held-out losses are too large, by the noise of the moments, about as much as those of seen rows
    are too small. The divergence is freed of its bias by that noise, so it must not count here.
    """
    deal = folds_of_rows(x, y, folds, rng)
    held = np.zeros(x.n), np.zeros(y.n)
    for k in range(folds):
        score = GaussianScore(x.take(deal[0] != k), y.take(deal[1] != k))
        for samples, fold, made in zip((x, y), deal, held, strict=True):
            made[fold == k] = score(samples.points[fold == k])
    score = GaussianScore(x, y)
    unseen, seen = evidence(x, y, *held), evidence(x, y, score(x.points), score(y.points))
    return replace(seen, x=0.5 * (seen.x + unseen.x), y=0.5 * (seen.y + unseen.y))


class GaussianScore:
    """ln(p/q) of two fitted Gaussians, with unbiased inverses of their covariances."""

    def __init__(self, x: Samples, y: Samples) -> None:
        self._parts = [self._part(samples) for samples in (x, y)]

    @staticmethod
    def _part(samples: Samples) -> tuple[Array, Array, float]:
        mean, _, factor = moments(samples)
        size, d = samples.effective_size(), samples.d
        if size <= d + 3:
            raise InconclusiveError(f"{samples.name}: too few rows for a covariance")
        inverse = np.linalg.inv(factor)
        shrunk = (size - d - 2.0) / (size - 1.0)
        return mean, shrunk * inverse.T @ inverse, 2.0 * float(np.log(np.diag(factor)).sum())

    def __call__(self, rows: Array) -> Array:
        """Scores of any rows."""
        (mean_p, inverse_p, log_p), (mean_q, inverse_q, log_q) = self._parts
        forms = quadratic(rows - mean_q, inverse_q) - quadratic(rows - mean_p, inverse_p)
        scores: Array = 0.5 * (forms + log_q - log_p)
        return scores


# ------------------------------------------------------------------------------ coordinates


def standardised(x: Samples, y: Samples) -> tuple[Samples, Samples]:
    """Every column divided by its spread within the samples; constant columns are left out."""
    spread = np.sqrt(np.diag(_within(x, y)))
    kept = spread > 1e-12 * np.maximum(np.abs(x.points).max(axis=0), np.abs(y.points).max(axis=0))
    return _moved(x, y, np.eye(x.d)[:, kept] / spread[kept])


def whitened(x: Samples, y: Samples) -> tuple[Samples, Samples]:
    """Principal axes of the covariance within the samples, each divided by its spread."""
    scale, correlation = _correlation(x, y)
    variances, axes = np.linalg.eigh(correlation)
    kept = variances > 1e-12 * variances[-1]
    return _moved(x, y, (axes / scale[:, None])[:, kept] / np.sqrt(variances[kept]))


def correlated(x: Samples, y: Samples, least: float = 0.3) -> bool:
    """Whether two columns are so correlated within the samples that whitening moves the rows."""
    correlation = np.abs(_correlation(x, y)[1])
    return bool((correlation - np.diag(np.diag(correlation))).max() > least)


def _correlation(x: Samples, y: Samples) -> tuple[Array, Array]:
    """The spread of every column within the samples, 1 where constant, and the correlations."""
    covariance = _within(x, y)
    scale = np.sqrt(np.diag(covariance))
    scale[scale == 0] = 1.0
    return scale, covariance / np.outer(scale, scale)


def _within(x: Samples, y: Samples) -> Array:
    """The mean of both covariances, found once for a pair of samples."""

    def made() -> tuple[Samples, Array]:
        total = np.zeros((x.d, x.d))
        for samples in (x, y):
            weights = samples.masses()
            centred = samples.points - weights @ samples.points
            total += 0.5 * (centred * weights[:, None]).T @ centred
        return x, total

    return y.once(("covariance within", id(x)), made)[1]


def _moved(x: Samples, y: Samples, matrix: Array) -> tuple[Samples, Samples]:
    if matrix.shape[1] == 0:  # all rows of a sample are one: their differences are all there is
        matrix = np.eye(x.d)
    made = [Samples(np.ascontiguousarray(s.points @ matrix), s.weights, s.name) for s in (x, y)]
    return made[0], made[1]


def normal_scores(x: Samples, y: Samples) -> tuple[Samples, Samples]:
    """Every column by its rank in the pool, each sample one half, on the scale of N(0, 1).

    Divergences with a density ratio do not change under a common monotone map of a column.
    """
    from scipy.special import ndtri

    points = np.concatenate([x.points, y.points])
    masses = 0.5 * np.concatenate([x.masses(), y.masses()])
    scores = np.empty_like(points)
    for j, column in enumerate(points.T):
        _, place = np.unique(column, return_inverse=True)
        held = np.bincount(place, weights=masses)
        middle = np.cumsum(held) - 0.5 * held
        scores[:, j] = ndtri(np.clip(middle, 1e-300, 1.0 - 1e-16))[place]
    return (
        Samples(np.ascontiguousarray(scores[: x.n]), x.weights, x.name),
        Samples(np.ascontiguousarray(scores[x.n :]), y.weights, y.name),
    )
