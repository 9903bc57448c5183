"""Neighbours of pairs of rows, and mutual information from them, in plain loops."""

import math


def digamma(n):
    """ψ of a whole number."""
    return -0.5772156649015329 + sum(1.0 / j for j in range(1, n))


def gap(one, other):
    return max(abs(s - t) for s, t in zip(one, other, strict=True))


def terms(x, y, k, mixed=False):
    """Kraskov et al. 2004, eq. (8); with ``mixed`` Gao et al. 2017, Algorithm 1."""
    n, found = len(x), []
    for i in range(n):
        dx, dy = ([gap(z[i], z[j]) for j in range(n)] for z in (x, y))
        both = [max(pair) for pair in zip(dx, dy, strict=True)]
        e = sorted(both)[k]
        if e > 0 or not mixed:
            near_x, near_y = (sum(d < e for d in own) for own in (dx, dy))
            kth = k
        else:
            near_x, near_y = (sum(d == 0 for d in own) for own in (dx, dy))
            kth = sum(d == 0 for d in both)
        first = digamma(kth) + (math.log(n) if mixed else digamma(n))
        found.append(first - digamma(near_x) - digamma(near_y))
    return found
