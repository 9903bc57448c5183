"""Gaussian mixtures the slow way: densities, KL, barycentres and reductions in plain loops."""

import numpy as np
from scipy.linalg import sqrtm
from scipy.stats import multivariate_normal

from tests.reference.frechet import between


def mean_log_likelihood(rows, weights, shares, means, covariances):
    """Σ w ln Σ π N(x; m, S)."""
    laws = [multivariate_normal(m, s) for m, s in zip(means, covariances, strict=True)]
    densities = sum(
        share * np.atleast_1d(law.pdf(rows)) for share, law in zip(shares, laws, strict=True)
    )
    return float(np.sum(weights / np.sum(weights) * np.log(densities)))


def kullback_leibler(m1, a, m2, b):
    """½ [tr(B⁻¹A) + (m₂ − m₁)'B⁻¹(m₂ − m₁) − d + ln(det B / det A)]."""
    inverse, gap = np.linalg.inv(b), np.asarray(m2) - np.asarray(m1)
    volumes = np.log(np.linalg.det(b) / np.linalg.det(a))
    return float(0.5 * (np.trace(inverse @ a) + gap @ inverse @ gap - len(gap) + volumes))


def jeffreys(m1, a, m2, b):
    """Both directions."""
    return kullback_leibler(m1, a, m2, b) + kullback_leibler(m2, b, m1, a)


COSTS = {"kl": kullback_leibler, "w2": between, "jeffreys": jeffreys}


def divergence(big, small, cost):
    """Σ w_l min_k c(l, k) of (shares, means, covariances)."""
    total = 0.0
    for share, m1, a in zip(*big, strict=True):
        total += share * min(COSTS[cost](m1, a, m2, b) for m2, b in zip(*small[1:], strict=True))
    return total


def wasserstein_barycentre(shares, covariances, rounds=200):
    """The fixed point of S ↦ S^-½ (Σ w (S^½ A S^½)^½)² S^-½."""
    spread = np.eye(len(covariances[0]))
    for _ in range(rounds):
        half = np.real(sqrtm(spread))
        middle = sum(
            w * np.real(sqrtm(half @ a @ half)) for w, a in zip(shares, covariances, strict=True)
        )
        back = np.linalg.inv(half)
        spread = back @ middle @ middle @ back
    return spread


def moments(shares, means, covariances):
    """Mean and covariance of a mixture."""
    mean = sum(w * m for w, m in zip(shares, means, strict=True))
    spread = sum(
        w * (a + np.outer(m - mean, m - mean))
        for w, m, a in zip(shares, means, covariances, strict=True)
    )
    return mean, spread
