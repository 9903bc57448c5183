"""Maximum mean discrepancy in plain loops."""

import math

from tests.reference.pairs import contrast, euclidean


def kernel(name, scale):
    """The kernel called ``name`` as a function of two rows."""

    def gaussian(s, t, width):
        return math.exp(-(euclidean(s, t) ** 2) / (2 * width**2))

    def laplace(s, t):
        return math.exp(-sum(abs(u - v) for u, v in zip(s, t, strict=True)) / scale)

    return {
        "gaussian": lambda s, t: gaussian(s, t, scale),
        "laplace": laplace,
        "imq": lambda s, t: 1 / math.sqrt(scale**2 + euclidean(s, t) ** 2),
        "mix": lambda s, t: sum(gaussian(s, t, scale * c) for c in (0.25, 0.5, 1, 2, 4)) / 5,
    }[name]


def mmd2(x, y, a=None, b=None, *, name="gaussian", scale=1.0, unbiased=True):
    """E k(X, X') + E k(Y, Y') − 2 E k(X, Y)."""
    return -contrast(x, y, a, b, kernel(name, scale), unbiased)


def median_distance(rows):
    """Median of the distances of all pairs of rows."""
    pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
    distances = sorted(euclidean(rows[i], rows[j]) for i, j in pairs)
    half = len(distances) // 2
    return distances[half] if len(distances) % 2 else (distances[half - 1] + distances[half]) / 2
