"""Fréchet distance the slow way: matrix square roots, every pair of rows, finite differences."""

import numpy as np
from scipy.linalg import sqrtm


def moments(rows, weights=None):
    """Weighted mean and unbiased covariance, row by row."""
    rows = np.asarray(rows, dtype=float)
    w = np.full(len(rows), 1 / len(rows)) if weights is None else np.asarray(weights) / sum(weights)
    mean = sum(a * row for a, row in zip(w, rows, strict=True))
    covariance = sum(a * np.outer(row - mean, row - mean) for a, row in zip(w, rows, strict=True))
    return mean, covariance / (1 - sum(a * a for a in w))


def between(m1, a, m2, b):
    """|m₁ − m₂|² + tr A + tr B − 2 tr(A^½ B A^½)^½."""
    half = np.real(sqrtm(a))
    cross = np.real(np.trace(sqrtm(half @ b @ half)))
    return float(np.sum((m1 - m2) ** 2) + np.trace(a) + np.trace(b) - 2 * cross)


def plug_in(x, y, weights_x=None, weights_y=None):
    """The distance between the samples' moments."""
    return between(*moments(x, weights_x), *moments(y, weights_y))


def jackknife_bias(x, y):
    """(n − 1)(mean over rows of the distance without one − distance), for either sample."""
    whole = plug_in(x, y)
    without_x = np.mean([plug_in(np.delete(x, i, axis=0), y) for i in range(len(x))])
    without_y = np.mean([plug_in(x, np.delete(y, j, axis=0)) for j in range(len(y))])
    return (len(x) - 1) * (without_x - whole) + (len(y) - 1) * (without_y - whole)


def influence(x, y, i, step=1e-5):
    """Derivative of the distance by the weight of row i of x, moments with weights that sum to 1."""
    n = len(x)

    def at(t):
        w = np.full(n, (1 - t) / n)
        w[i] += t
        mean = w @ x
        covariance = (x - mean).T @ ((x - mean) * w[:, None])
        m2, b = moments(y)
        return between(mean, covariance * n / (n - 1), m2, b)

    return (at(step) - at(-step)) / (2 * step)
