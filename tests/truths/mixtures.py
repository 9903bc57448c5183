"""Gaussian mixtures, and rows around centres, for tests."""

import numpy as np

from divmatch.mixtures import Components


def clusters(n, d, centres, seed=0, spread=1.0):
    rng = np.random.default_rng([7, seed])
    where = np.sort(rng.integers(0, len(centres), n))
    return np.asarray(centres, dtype=float)[where] + spread * rng.normal(size=(n, d))


def covariance(rng, d):
    root = rng.normal(size=(d, d))
    return root @ root.T + 0.5 * np.eye(d)


def random_mixture(k, d=2, seed=0, spread=3.0):
    rng = np.random.default_rng([8, seed])
    shares = rng.uniform(0.5, 1.5, k)
    return Components(
        shares / shares.sum(),
        spread * rng.normal(size=(k, d)),
        np.array([covariance(rng, d) for _ in range(k)]),
    )


def parts(mixture):
    return mixture.shares, mixture.means, mixture.covariances
