"""What a fitted ratio leaves over: Q weighted by r = p/q must have the means and covariances of P.

KL(P || Q) = E_P ln r − ln E_Q r + KL(P || r Q / E_Q r): the last term is missing from every value that
is made of r alone, and it is not 0 where the moments of P and of r Q differ. Columns are compared by their
normal scores, which leave divergences as they are and have moments whatever the tails.
"""

import math
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError
from divmatch.estimator import se_of_terms
from divmatch.estimators.evidence import NO_SKILL, evidence, normal_scores, of_gaussians, whitened
from divmatch.record import Note
from divmatch.samples import Samples

Array = NDArray[np.float64]

LEAST = 0.005, 0.02  # nats left over by means and covariances that are worth a warning,
SHARE = 0.02, 0.1  # and their share of what there was before weighting: cells alone blur variances
SURE = 8.0  # standard deviations of what is left over where nothing is
SURE_OF_MEAN = 5.0  # the same where the means alone are compared
ROWS_A_COLUMN = 5.0  # fewer rows say nothing about covariances
WORSE = 0.1  # share of the Gaussians' skill that a ratio may lack
NATS_A_LOSS = 4.0  # a small divergence is four times what the logistic loss gains
FOLDS = 2  # of the Gaussians, whose moments need few rows
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
    left, before = _gaps(u, weighted), _gaps(u, v)
    whole = sum(part.nats for part in before)
    if not any(
        part.nats > max(least, share * whole, SURE * part.chance)
        for part, least, share in zip(left, LEAST, SHARE, strict=True)
    ):
        return ()
    return (_note(f"is still about {sum(part.nats for part in left):.2g} nats from P"),)


def _note(how: str) -> Note:
    return Note(
        "W43",
        f"Q weighted by the fitted ratio {how}: the ratio is too flat for so many columns or rows, and the "
        "value too small; use --method auto or classifier",
    )


@dataclass(frozen=True)
class Part:
    """Nats that moments are apart, free of bias, and the standard deviation by chance alone."""

    nats: float
    chance: float


def _gaps(x: Samples, y: Samples) -> tuple[Part, Part]:
    """By the means, ½ δ' Σ⁻¹ δ, and by the covariances, ¼ |Σ^(-½) (S₁ − S₂) Σ^(-½)|².

    Together KL of near Gaussians; Σ is the mean covariance. Directions in which neither sample varies
    are left out.
    """
    gap, first, second = _moments(x, y)
    total = 0.5 * (first + second) + 0.25 * np.outer(gap, gap)
    variances, axes = np.linalg.eigh(total)
    kept = variances > 1e-9 * max(variances[-1], np.finfo(float).tiny)
    frame = axes[:, kept] / np.sqrt(variances[kept])
    apart = 0.25 * float(np.sum((gap @ frame) ** 2))  # at most 1, where the means are all there is
    change = frame.T @ (first - second) @ frame
    by_means = 2.0 * apart / max(1.0 - apart, 1e-6)
    d, noise = frame.shape[1], 1.0 / x.effective_size() + 1.0 / y.effective_size()

    def part(nats: float, free: float) -> Part:
        return Part(nats - 0.5 * free * noise, 0.5 * noise * math.sqrt(2.0 * free))

    return part(by_means, d), part(0.25 * float(np.sum(change**2)), 0.5 * d * (d + 1))


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
    if excess <= SURE_OF_MEAN * noise * math.sqrt(2.0 * squares):
        return ()
    return (_note("has not the means of P"),)


def outdone(
    x: Samples, y: Samples, scores: tuple[Array, Array], rng: "np.random.Generator"
) -> tuple[Note, ...]:
    """A warning where two Gaussians tell held-out rows apart plainly better than held-out ln(p/q)."""
    found = evidence(x, y, *scores)
    spread = se_of_terms((x, scores[0]), (y, np.exp(scores[1])))
    if spread is None:
        return ()
    for u, v in (whitened(x, y), whitened(*normal_scores(x, y))):
        try:
            rival = of_gaussians(u, v, FOLDS, deepcopy(rng))
        except InconclusiveError:
            continue
        excess, error = found.excess(rival)
        matters = max(WORSE * (NO_SKILL - rival.loss), 3.0 * spread / NATS_A_LOSS)
        if excess > max(3.0 * error, matters):
            message = (
                f"two Gaussians predict held-out rows better than the fitted ratio, by {excess:.2g} nats a "
                "row: the ratio is too flat, and the value as a rule too small; use --method auto"
            )
            return (Note("W43", message),)
    return ()
