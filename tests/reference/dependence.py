"""Distance covariance in plain loops over different rows, and centred matrices of the joint form."""

import math
from itertools import permutations, product


def distances(points):
    return [[math.dist(x, y) for y in points] for x in points]


def covariance(a, b, w, unbiased):
    """E a₁₂ b₁₂ − 2 E a₁₂ b₁₃ + E a₁₂ b₃₄ over rows, or over different rows."""
    rows = range(len(w))

    def mean(term, size):
        found = mass = 0.0
        for places in permutations(rows, size) if unbiased else product(rows, repeat=size):
            weight = math.prod(w[p] for p in places)
            found += weight * term(*places)
            mass += weight
        return found / mass

    return (
        mean(lambda i, j: a[i][j] * b[i][j], 2)
        - 2 * mean(lambda i, j, k: a[i][j] * b[i][k], 3)
        + mean(lambda i, j, k, m: a[i][j] * b[k][m], 4)
    )


def correlation(a, b, w, unbiased):
    size = covariance(a, a, w, unbiased) * covariance(b, b, w, unbiased)
    return covariance(a, b, w, unbiased) / math.sqrt(size)


def joint(matrices, c, unbiased, scaled):
    """JdCov² as its authors define it, with equal weights."""
    n, k = len(matrices[0]), len(matrices)
    w = [1 / n] * n
    centred = []
    for a in matrices:
        sums = [sum(row) for row in a]
        p, q = (n - 2, (n - 1) * (n - 2)) if unbiased else (n, n * n)
        scale = covariance(a, a, w, unbiased) ** -0.5 if scaled else 1.0
        centred.append(
            [
                [
                    0.0
                    if unbiased and i == j
                    else scale * (sums[i] / p + sums[j] / p - sum(sums) / q - a[i][j])
                    for j in range(n)
                ]
                for i in range(n)
            ]
        )
    total = sum(math.prod(u[i][j] + c for u in centred) for i in range(n) for j in range(n))
    if unbiased:
        return total / (n * (n - 3)) - c**k * n / (n - 3)
    return total / n**2 - c**k
