"""What a fitted ratio leaves over: Q weighted by r = p/q must have the means and covariances of P.

KL(P || Q) = E_P ln r − ln E_Q r + KL(P || r Q / E_Q r): the last term is missing from every value that
is made of r alone, and it is not 0 where the moments of P and of r Q differ. Columns are compared by their
normal scores, which leave divergences as they are and have moments whatever the tails.
"""

import math

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.evidence import normal_scores
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]

LEAST = 0.02  # nats left over that are worth a warning,
SHARE = 0.1  # and their share of what there was before weighting
SURE = 8.0  # standard deviations of what is left over where nothing is
ROWS_A_COLUMN = 5.0  # fewer rows say nothing about covariances
MOST_ROWS = 500  # of P, for the size of chance in more columns than that


def flat_ratio(x: Samples, y: Samples, ratio: Array) -> tuple[Note, ...]:
    """A warning where Q weighted by ``ratio``, one number for each of its rows, is plainly not P."""
    mass = y.masses() * np.maximum(ratio, 0.0)
    if not mass.sum() > 0:
        return (_note("has no mass where P lies"),)
    u, v = normal_scores(x, y)
    weighted = Samples(v.points, mass / mass.sum(), y.name)
    rows = min(u.effective_size(), weighted.effective_size())
    if rows < ROWS_A_COLUMN * u.d:
        return _far_in_mean(u, weighted)
    left, chance = _gap(u, weighted)
    if left <= max(LEAST, SURE * chance) or left <= SHARE * _gap(u, v)[0]:
        return ()
    return (_note(f"is still about {left:.2g} nats from P"),)


def _note(how: str) -> Note:
    return Note(
        "W43",
        f"Q weighted by the fitted ratio {how}: the ratio is too flat for so many columns or rows, and the "
        "value too small; use --method auto or classifier",
    )


def _gap(x: Samples, y: Samples) -> tuple[float, float]:
    """Nats between two samples by their moments, free of bias, and the standard deviation by chance.

    ½ δ' Σ⁻¹ δ + ¼ |Σ^(-½) (S₁ − S₂) Σ^(-½)|², Σ the mean covariance: KL of near Gaussians. Directions in
    which neither varies are left out.
    """
    gap, first, second = _moments(x, y)
    total = 0.5 * (first + second) + 0.25 * np.outer(gap, gap)
    variances, axes = np.linalg.eigh(total)
    kept = variances > 1e-9 * max(variances[-1], np.finfo(float).tiny)
    frame = axes[:, kept] / np.sqrt(variances[kept])
    apart = 0.25 * float(np.sum((gap @ frame) ** 2))  # at most 1, where the means are all there is
    change = frame.T @ (first - second) @ frame
    by_means = 2.0 * apart / (1.0 - apart) if apart < 1.0 else math.inf
    d, noise = frame.shape[1], 1.0 / x.effective_size() + 1.0 / y.effective_size()
    free = 0.5 * d * (d + 3)
    left = by_means + 0.25 * float(np.sum(change**2)) - 0.5 * free * noise
    return left, 0.5 * noise * math.sqrt(2.0 * free)


def _moments(x: Samples, y: Samples) -> tuple[Array, Array, Array]:
    """The difference of the means, and both covariances."""
    found = []
    for samples in (x, y):
        weights = samples.masses()
        mean = weights @ samples.points
        centred = samples.points - mean
        found.append((mean, (centred * weights[:, None]).T @ centred))
    (mean_p, first), (mean_q, second) = found
    return mean_p - mean_q, first, second


def _far_in_mean(x: Samples, y: Samples) -> tuple[Note, ...]:
    """In many columns the means alone are compared (Bai & Saranadasa 1996, Statistica Sinica 6)."""
    noise = 1.0 / x.effective_size() + 1.0 / y.effective_size()
    weights = x.masses()
    mean = weights @ x.points
    gap = mean - y.masses() @ y.points
    rows = np.linspace(0, x.n - 1, min(x.n, MOST_ROWS)).astype(np.intp)
    some = x.points[rows] - mean
    products = some @ some.T
    trace = float(np.trace(products)) / len(rows)
    apart = products - np.diag(np.diag(products))
    squares = float(np.sum(apart**2)) / max(len(rows) * (len(rows) - 1), 1)
    excess = float(gap @ gap) - trace * noise
    if excess <= SURE * noise * math.sqrt(2.0 * squares):
        return ()
    return (_note("has not the means of P"),)
