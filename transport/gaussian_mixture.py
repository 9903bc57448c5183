"""Gaussian mixtures fitted to weighted rows: expectation-maximisation from starts without chance."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, counted
from divmatch.kernels.execution import in_order, steps_of
from divmatch.mixtures import Components

Array = NDArray[np.float64]
T = TypeVar("T")
SHORT, LONG = 10, 150  # iterations of a trial, and of the fit that is kept
TOLERANCE = 1e-6  # of the mean log-likelihood, at which the fit stops
BLOCK = 1 << 17  # numbers of a block; fixed, so that the digits do not depend on the threads


@dataclass(frozen=True, eq=False)
class Prior:
    """What every covariance is drawn towards: ``share`` of the sample's weight with this one.

    One row of the sample's own covariance, divided by K^(2/d) (as in Fraley & Raftery 2007, Journal of
    Classification 24): no component can collapse onto few rows, and many rows outweigh it.
    """

    share: float
    covariance: Array


@dataclass(frozen=True, eq=False)
class Mixture(Components):
    """A Gaussian mixture with the rows that it was fitted to.

    ``own`` is each row's posterior share of each component, (n, K); ``prior`` the weight of the prior in
    each covariance.
    """

    own: Array
    log_likelihood: float
    prior: float
    converged: bool = True


def fit(points: Array, masses: Array, count: int, name: str) -> Mixture:
    """The mixture of ``count`` Gaussians, grown from one.

    Each component in turn is split in two along its widest direction and the mixture improved; the
    split with the largest likelihood is kept, until there are enough (as in greedy EM: Vlassis & Likas
    2002, Neural Processing Letters 15). No start is random, and none depends on the order of the rows.
    """
    rows, centre, scale, whole = scaled(points, masses, name)
    weight = float(masses @ masses)
    if count > 1 and count * weight > 0.5:
        raise InconclusiveError(
            f"{name}: {1.0 / weight:.3g} rows are fewer than two for each of {count} components; give a "
            "smaller --mixture"
        )
    prior = Prior(weight, whole / count ** (2.0 / rows.shape[1]))
    best = maximised(rows, masses, np.ones((len(rows), 1)), Prior(weight, whole))
    for k in range(1, count):
        best = max(
            (
                improved(rows, masses, maximised(rows, masses, own, prior), SHORT, prior)
                for own in _splits(rows, best)
            ),
            key=lambda trial: trial.log_likelihood,
            default=best,
        )
        if len(best.shares) == k:
            raise InconclusiveError(
                f"{name}: {counted(count, 'component')} cannot be told apart; give a smaller --mixture"
            )
    if count > 1:
        best = improved(rows, masses, best, LONG, prior)
    covariances = best.covariances * scale[:, None] * scale
    means = best.means * scale + centre
    return replace(best, means=means, covariances=covariances)


def scaled(points: Array, masses: Array, name: str) -> tuple[Array, Array, Array, Array]:
    """The rows with mean 0 and variance 1 in every column, both of them, and the covariance then."""
    centre = masses @ points
    scale = np.sqrt(masses @ (points - centre) ** 2)
    if not (scale > 1e-13 * np.abs(centre)).all():
        raise InconclusiveError(f"{name}: a constant column has no Gaussian mixture; leave it out")
    rows = (points - centre) / scale
    whole = (rows * masses[:, None]).T @ rows
    if float(np.linalg.eigvalsh(whole)[0]) < 1e-12:
        raise InconclusiveError(
            f"{name}: {counted(len(rows), 'row')} in {counted(rows.shape[1], 'column')} have a singular "
            "covariance and no Gaussian mixture; leave out repeated columns, or give more rows"
        )
    return rows, centre, scale, whole


def _splits(rows: Array, mixture: Mixture) -> Iterator[Array]:
    """Posterior shares with one component cut through its mean, across its widest direction."""
    for k, (mean, covariance) in enumerate(zip(mixture.means, mixture.covariances, strict=True)):
        widest = np.linalg.eigh(covariance)[1][:, -1]
        upper = (rows - mean) @ widest > 0
        mine = mixture.own[:, k]
        parts = mine * upper, mine * ~upper
        if min(float(part.sum()) for part in parts) > 0:
            yield np.column_stack([np.delete(mixture.own, k, axis=1), *parts])


def improved(rows: Array, masses: Array, mixture: Mixture, most: int, prior: Prior) -> Mixture:
    """Expectation and maximisation in turns, until the likelihood stands still."""
    before = -math.inf
    for _ in range(most):
        own, log_likelihood = posterior(rows, masses, mixture)
        mixture = maximised(rows, masses, own, prior, log_likelihood)
        if abs(log_likelihood - before) < TOLERANCE:
            return mixture
        before = log_likelihood
    return replace(mixture, converged=False)


def posterior(rows: Array, masses: Array, mixture: Components) -> tuple[Array, float]:
    """Each row's share of each component, and the mean log-likelihood."""
    own, logs = shared(rows, mixture)
    return own, float(masses @ logs)


def shared(rows: Array, mixture: Components) -> tuple[Array, Array]:
    """Each row's share of each component, (n, K), and its log-density, (n,)."""
    lower = np.linalg.cholesky(mixture.covariances)
    turned = np.linalg.inv(lower).transpose(0, 2, 1)
    volumes = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    d = rows.shape[1]
    heights = np.log(mixture.shares) - volumes - 0.5 * d * math.log(2.0 * math.pi)

    def part(block: slice) -> tuple[Array, Array]:
        white = (rows[block] - mixture.means[:, None, :]) @ turned
        logs = -0.5 * np.einsum("kij,kij->ki", white, white)
        logs += heights[:, None]
        top = logs.max(axis=0)
        weights = np.exp(logs - top)
        totals = weights.sum(axis=0)
        return weights / totals, np.log(totals) + top

    parts = list(_by_blocks(part, rows, len(heights)))
    own = np.concatenate([one for one, _ in parts], axis=1)
    return own.T, np.concatenate([logs for _, logs in parts])


def maximised(
    rows: Array, masses: Array, own: Array, prior: Prior, log_likelihood: float = -math.inf
) -> Mixture:
    """The mixture with the moments that the posterior shares give to its components."""
    weights = own.T * masses
    sums = weights.sum(axis=1)
    means = weights @ rows / sums[:, None]

    def part(block: slice) -> Array:
        centred = rows[block] - means[:, None, :]
        return np.asarray((centred * weights[:, block, None]).transpose(0, 2, 1) @ centred)

    covariances = np.zeros((len(sums), rows.shape[1], rows.shape[1]))
    for seen in _by_blocks(part, rows, len(sums)):
        covariances += seen
    covariances += prior.share * prior.covariance
    covariances /= (sums + prior.share)[:, None, None]
    return Mixture(sums, means, covariances, own, log_likelihood, prior.share)


def _by_blocks(part: Callable[[slice], T], rows: Array, count: int) -> Iterator[T]:
    n, d = rows.shape
    step = max(256, BLOCK // (count * d))
    return in_order(part, steps_of(n, step), work=float(n) * count * d * (d + 8))
