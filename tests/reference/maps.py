"""Maps between samples, in plain loops."""

import math


def entropic(z, y, b, g, eps):
    """Σⱼ yⱼ wⱼ with wⱼ ∝ bⱼ exp((gⱼ − |z − yⱼ|²) / eps)."""
    costs = [sum((p - q) ** 2 for p, q in zip(z, row, strict=True)) for row in y]
    logs = [math.log(w) + (u - c) / eps for w, u, c in zip(b, g, costs, strict=True)]
    top = max(logs)
    weights = [math.exp(log - top) for log in logs]
    total = sum(weights)
    return [
        sum(w * row[c] for w, row in zip(weights, y, strict=True)) / total for c in range(len(z))
    ]


def quantile_mean(y, b, low, high):
    """The mean of the quantile function of weighted numbers over [low, high]."""
    total, upto = 0.0, 0.0
    for value, mass in sorted(zip(y, b, strict=True)):
        start, upto = upto, upto + mass
        total += value * max(0.0, min(high, upto) - max(low, start))
    return total / (high - low)


def quantiles(x, a, y, b):
    """Where every number of x goes: the mean of Q's quantiles over the mass of all rows of that value."""
    made = []
    for value in x:
        low = sum(mass for other, mass in zip(x, a, strict=True) if other < value)
        own = sum(mass for other, mass in zip(x, a, strict=True) if other == value)
        made.append(quantile_mean(y, b, low, low + own))
    return made


def shrinkage(x):
    """Ledoit & Wolf 2004, lemma 3.2 and section 3.3, of columns with mean 0 and variance 1."""
    n, d = len(x), len(x[0])
    s = [[sum(row[i] * row[j] for row in x) / n for j in range(d)] for i in range(d)]
    apart = sum((s[i][j] - (i == j)) ** 2 for i in range(d) for j in range(d))
    noise = sum((row[i] * row[j] - s[i][j]) ** 2 for row in x for i in range(d) for j in range(d))
    return min(noise / n**2 / apart, 1.0)
