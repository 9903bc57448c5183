"""Divergences of two lists of probabilities, and of counted rows, in plain loops."""

import math


def kl(p, q):
    """Σ p ln(p/q)."""
    return sum(
        (math.inf if b == 0 else a * math.log(a / b)) for a, b in zip(p, q, strict=True) if a > 0
    )


def js(p, q):
    """½ KL(P || M) + ½ KL(Q || M)."""
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return (kl(p, middle) + kl(q, middle)) / 2


def tv(p, q):
    """½ Σ |p − q|."""
    return sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2


def hellinger(p, q):
    """1 − Σ √(p q)."""
    return 1 - sum(math.sqrt(a * b) for a, b in zip(p, q, strict=True))


def chi2(p, q):
    """Σ (p − q)² / q."""
    pairs = [(a, b) for a, b in zip(p, q, strict=True) if a or b]
    return sum(math.inf if b == 0 else (a - b) ** 2 / b for a, b in pairs)


def renyi(a, p, q):
    """ln(Σ p^a q^(1 − a)) / (a − 1)."""
    pairs = zip(p, q, strict=True)
    return math.log(sum(s**a * t ** (1 - a) for s, t in pairs if s > 0)) / (a - 1)


def shares(rows, weights=None):
    """Mass of every distinct row."""
    weights = weights or [1 / len(rows)] * len(rows)
    found = {}
    for row, weight in zip(rows, weights, strict=True):
        found[tuple(row)] = found.get(tuple(row), 0.0) + weight / sum(weights)
    return found


def paired(x, y, a=None, b=None):
    """Masses of both samples over their common cells."""
    p, q = shares(x, a), shares(y, b)
    cells = sorted(set(p) | set(q))
    return [p.get(c, 0.0) for c in cells], [q.get(c, 0.0) for c in cells]


def kl_bias(p, q, n, m):
    """(K − 1) / 2n + Σ p (1 − q) / q / 2m."""
    first = (sum(a > 0 for a in p) - 1) / (2 * n)
    return first + sum(a * (1 - b) / b for a, b in zip(p, q, strict=True) if a > 0) / (2 * m)
