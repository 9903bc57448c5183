"""Maximum mean discrepancy in plain loops."""

import math

from tests.reference.pairs import contrast, euclidean


def kernel(name, scale):
    """The kernel called ``name`` as a function of two rows."""

    def gaussian(s, t, width):
        return math.exp(-(euclidean(s, t) ** 2) / (2 * width**2))

    def laplace(s, t):
        return math.exp(-sum(abs(u - v) for u, v in zip(s, t, strict=True)) / scale)

    def matern(s, t, nu):
        """From the Bessel function, not from the closed forms of half-integers."""
        from scipy.special import gamma, kv

        u = math.sqrt(2 * nu) * euclidean(s, t) / scale
        return 1.0 if u == 0 else float(2 ** (1 - nu) / gamma(nu) * u**nu * kv(nu, u))

    return {
        **{f"matern:{nu}": lambda s, t, nu=nu: matern(s, t, nu) for nu in (0.5, 1.5, 2.5)},
        "rq": lambda s, t: 1 / (1 + euclidean(s, t) ** 2 / (2 * scale**2)),
        "riesz:1": lambda s, t: -euclidean(s, t),
        "riesz:0.5": lambda s, t: -math.sqrt(euclidean(s, t)),
        "poly": lambda s, t: (sum(u * v for u, v in zip(s, t, strict=True)) / len(s) + 1) ** 3,
        "gaussian": lambda s, t: gaussian(s, t, scale),
        "laplace": laplace,
        "cityblock": lambda s, t: sum(abs(u - v) for u, v in zip(s, t, strict=True)),
        "imq": lambda s, t: 1 / math.sqrt(scale**2 + euclidean(s, t) ** 2),
        "mix": lambda s, t: sum(gaussian(s, t, scale * c) for c in (0.25, 0.5, 1, 2, 4)) / 5,
    }[name]


def mmd2(x, y, a=None, b=None, *, name="gaussian", scale=1.0, unbiased=True):
    """E k(X, X') + E k(Y, Y') − 2 E k(X, Y)."""
    return -contrast(x, y, a, b, kernel(name, scale), unbiased)


def aggregated_p_value(values, first):
    """MMDAgg as published, by bisection at every level k / (B₂ + 1): the smallest that rejects.

    ``values`` holds a list for each kernel: the observed statistic, B₁ reference ones, B₂ others. The
    observed one is counted among the B₂, so that no p-value is zero.
    """
    kernels = len(values)
    others = range(1 + first, len(values[0]))

    def quantile(k, u):
        known = sorted(values[k][: 1 + first])
        return known[max(math.ceil((1 + first) * (1 - u / kernels) - 1e-9), 1) - 1]

    def rejecting(u, column):
        return any(values[k][column] > quantile(k, u) for k in range(kernels))

    steps = [c * kernels / (1 + first) for c in range(first + 1)]  # where quantiles change
    for k in range(1, len(others) + 2):
        allowed = [u for u in steps if 1 + sum(rejecting(u, b) for b in others) <= k]
        if any(rejecting(u, 0) for u in allowed):
            return k / (len(others) + 1)
    return 1.0


def median_distance(rows):
    """Median of the distances of all pairs of rows."""
    pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
    distances = sorted(euclidean(rows[i], rows[j]) for i, j in pairs)
    half = len(distances) // 2
    return distances[half] if len(distances) % 2 else (distances[half - 1] + distances[half]) / 2
