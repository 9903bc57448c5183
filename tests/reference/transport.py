"""Exact transport by trying every assignment."""

import math
from itertools import permutations


def cheapest(x, y, cost):
    """The least mean cost of pairing equally many rows, over all n! pairings."""
    table = [[cost(left, right) for right in y] for left in x]
    return min(
        sum(table[i][j] for i, j in enumerate(order)) for order in permutations(range(len(y)))
    ) / len(x)


def repeated(rows, times):
    """Every row as often as its whole weight says."""
    return [row for row, count in zip(rows, times, strict=True) for _ in range(count)]


def euclidean(left, right):
    return sum((s - t) ** 2 for s, t in zip(left, right, strict=True)) ** 0.5


def cityblock(left, right):
    return sum(abs(s - t) for s, t in zip(left, right, strict=True))


def chebyshev(left, right):
    return max(abs(s - t) for s, t in zip(left, right, strict=True))


def minkowski(left, right, q):
    return sum(abs(s - t) ** q for s, t in zip(left, right, strict=True)) ** (1 / q)


def cosine(left, right):
    dot = sum(s * t for s, t in zip(left, right, strict=True))
    lengths = [sum(s * s for s in row) ** 0.5 for row in (left, right)]
    return 1 - dot / (lengths[0] * lengths[1])


GROWTHS = {
    "power:3": lambda t: t**3,
    "exp": lambda t: math.exp(min(t, 700)) - 1,
    "exp2": lambda t: math.exp(min(t * t, 700)) - 1,
}


def orlicz(x, y, cost, growth):
    """The least scale k at which some pairing's mean Φ(cost / k) is at most 1, by halving."""
    low, high = 0.0, 100.0
    for _ in range(70):
        k = (low + high) / 2
        if cheapest(x, y, lambda s, t, k=k: growth(cost(s, t) / k)) <= 1:
            high = k
        else:
            low = k
    return high
