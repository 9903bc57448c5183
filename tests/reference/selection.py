"""Selection of rows in plain loops."""

import math


def gaussian(p, q, s=1.0):
    return math.exp(-sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) / (2 * s * s))


def mmd2(kernel, whole, masses, rows, weights):
    """Every pair of two weighted sets of points."""
    inner = sum(
        u * v * kernel(p, q)
        for u, p in zip(weights, rows, strict=True)
        for v, q in zip(weights, rows, strict=True)
    )
    outer = sum(
        u * v * kernel(p, q)
        for u, p in zip(weights, rows, strict=True)
        for v, q in zip(masses, whole, strict=True)
    )
    own = sum(
        u * v * kernel(p, q)
        for u, p in zip(masses, whole, strict=True)
        for v, q in zip(masses, whole, strict=True)
    )
    return inner - 2 * outer + own


def greedy_mmd(kernel, candidates, whole, masses, number, unique=False):
    """Each row the one with which the squared MMD is least; all of them tried."""
    chosen = []
    for m in range(1, number + 1):
        values = []
        for i in range(len(candidates)):
            rows = [candidates[j] for j in [*chosen, i]]
            taken = unique and i in chosen
            values.append(math.inf if taken else mmd2(kernel, whole, masses, rows, [1 / m] * m))
        chosen.append(values.index(min(values)))
    return chosen


def halved(kernel, rows):
    """Of each pair the first row if the signed sum is not larger there."""
    kept, signed = [], []

    def psi(z):
        return sum(s * (kernel(z, a) - kernel(z, b)) for s, a, b in signed)

    for k in range(0, len(rows) - 1, 2):
        a, b = rows[k], rows[k + 1]
        sign = 1 if psi(a) - psi(b) <= 0 else -1
        signed.append((sign, a, b))
        kept.append(k if sign > 0 else k + 1)
    return kept


def cover_gain(concave, heights, floor, rows):
    """Mean of a concave function of floor + Σ heights[row], less that of the floor alone."""
    m = len(heights[0])
    total = 0.0
    for j in range(m):
        total += concave(floor + sum(heights[i][j] for i in rows)) - concave(floor)
    return total / m
