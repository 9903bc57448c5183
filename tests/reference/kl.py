"""Kullback-Leibler estimators in plain loops."""

import math

from tests.reference.pairs import equal, euclidean


def digamma(k):
    """ψ of a whole number: −γ + 1 + 1/2 + ... + 1/(k − 1)."""
    return -0.5772156649015328606 + sum(1.0 / j for j in range(1, k))


def neighbours(rows, weights, point, own=None):
    """(distance, weight) of the rows by distance; without row ``own``, whose weight the rest share."""
    left = 1.0 - (weights[own] if own is not None else 0.0)
    pairs = zip(rows, weights, strict=True)
    found = [(euclidean(point, r), w / left) for j, (r, w) in enumerate(pairs) if j != own]
    return sorted(found)


def log_mean_mass(near):
    """ln of the mean weight of the neighbours."""
    return math.log(sum(weight for _, weight in near) / len(near))


def knn(x, y, k, a=None, b=None):
    """(d/n) Σ ln(νₖ / ρₖ) + ln(m / (n − 1)); with weights the neighbours' mean mass for 1/m, 1/(n − 1)."""
    a, b = a or equal(x), b or equal(y)
    total = 0.0
    for i, row in enumerate(x):
        of_x = neighbours(x, a, row, own=i)[:k]
        of_y = neighbours(y, b, row)[:k]
        ratio = len(row) * math.log(of_y[-1][0] / of_x[-1][0])
        total += a[i] * (ratio + log_mean_mass(of_x) - log_mean_mass(of_y))
    return total


def knn_reduced(x, y, a=None, b=None, max_k=100):
    """Both neighbour numbers counted in one ball, whose radius reaches the first of each sample."""
    a, b = a or equal(x), b or equal(y)
    total = 0.0
    for i, row in enumerate(x):
        of_x, of_y = neighbours(x, a, row, own=i), neighbours(y, b, row)
        radius = max(of_x[0][0], of_y[0][0])
        of_x = [pair for pair in of_x if pair[0] <= radius][:max_k]
        of_y = [pair for pair in of_y if pair[0] <= radius][:max_k]
        term = len(row) * math.log(of_y[-1][0] / of_x[-1][0])
        term += digamma(len(of_x)) - digamma(len(of_y))
        total += a[i] * (term + log_mean_mass(of_x) - log_mean_mass(of_y))
    return total


def moments(rows, weights):
    """Mean and unbiased covariance as lists."""
    d = len(rows[0])
    pairs = list(zip(rows, weights, strict=True))
    mean = [sum(w * row[c] for row, w in pairs) for c in range(d)]
    left = 1.0 - sum(w * w for w in weights)
    covariance = [
        [
            sum(w * (row[c] - mean[c]) * (row[e] - mean[e]) for row, w in pairs) / left
            for e in range(d)
        ]
        for c in range(d)
    ]
    return mean, covariance


def gaussian_plane(x, y, a=None, b=None):
    """½ [tr(S₂⁻¹S₁) + Δ'S₂⁻¹Δ − 2 + ln(|S₂| / |S₁|)] for two columns, by Cramer's rule."""
    mean_p, p = moments(x, a or equal(x))
    mean_q, q = moments(y, b or equal(y))
    det_p, det_q = (s[0][0] * s[1][1] - s[0][1] * s[1][0] for s in (p, q))
    inverse = [[q[1][1] / det_q, -q[0][1] / det_q], [-q[1][0] / det_q, q[0][0] / det_q]]
    gap = [t - s for s, t in zip(mean_p, mean_q, strict=True)]
    cells = [(i, j) for i in range(2) for j in range(2)]
    trace = sum(inverse[i][j] * p[j][i] for i, j in cells)
    form = sum(gap[i] * inverse[i][j] * gap[j] for i, j in cells)
    return 0.5 * (trace + form - 2 + math.log(det_q / det_p))
