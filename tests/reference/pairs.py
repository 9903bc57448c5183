"""Sums over all pairs in plain loops, on lists of rows."""

import math


def euclidean(x, y):
    """|x − y|."""
    return math.sqrt(sum((s - t) ** 2 for s, t in zip(x, y, strict=True)))


def equal(rows):
    """The weights of rows that count the same."""
    return [1.0 / len(rows)] * len(rows)


def between(x, y, a, b, k):
    """Σᵢⱼ aᵢ bⱼ k(xᵢ, yⱼ)."""
    return sum(
        s * t * k(p, q) for p, s in zip(x, a, strict=True) for q, t in zip(y, b, strict=True)
    )


def within(x, a, k, unbiased):
    """Mean of k over pairs of rows; the pairs of a row with itself left out where unbiased."""
    total = mass = 0.0
    for i, p in enumerate(x):
        for j, q in enumerate(x):
            if i != j or not unbiased:
                total += a[i] * a[j] * k(p, q)
                mass += a[i] * a[j]
    return total / mass


def contrast(x, y, a, b, k, unbiased):
    """2 E k(X, Y) − E k(X, X') − E k(Y, Y')."""
    a, b = a or equal(x), b or equal(y)
    return 2 * between(x, y, a, b, k) - within(x, a, k, unbiased) - within(y, b, k, unbiased)
