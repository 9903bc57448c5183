"""Divergences from the labels of neighbours, in plain loops."""

import math

from scipy.special import digamma, rgamma

from tests.reference.pairs import equal, euclidean


def counts(x, y, k, a=None, b=None):
    """(own, other) around every row of x, then of y: all rows as near as the k-th other one.

    Rows count as their weight times the effective size of their sample.
    """
    weights = [a or equal(x), b or equal(y)]
    sizes = [1 / sum(w * w for w in of) for of in weights]
    pool = [(row, 0, i) for i, row in enumerate(x)] + [(row, 1, j) for j, row in enumerate(y)]
    found = [[], []]
    for at, side, number in pool:
        others = [(euclidean(at, row), s, j) for row, s, j in pool if (s, j) != (side, number)]
        reach = sorted(others)[k - 1][0]
        own = sum(weights[s][j] for r, s, j in others if r <= reach and s == side)
        other = sum(weights[s][j] for r, s, j in others if r <= reach and s != side)
        own *= (sizes[side] - 1) / (1 - weights[side][number])
        found[side].append((own, other * sizes[1 - side]))
    return found[0], found[1], weights[0], weights[1], sizes[0], sizes[1]


def kl(x, y, k, a=None, b=None):
    """Σ aᵢ (ψ(M + 1) − ψ(N + 1)) + ln(m / (n − 1)), at the rows of x."""
    at_x, _, a, _, n, m = counts(x, y, k, a, b)
    terms = [
        w * (digamma(own + 1) - digamma(other + 1)) for w, (own, other) in zip(a, at_x, strict=True)
    ]
    return sum(terms) + math.log(m / (n - 1))


def gamma_quotient(s, above, below):
    """Γ(N + 1) Γ(M + 1) / (Γ(N + 1 − s) Γ(M + 1 + s)), 0 at a pole."""
    top = math.gamma(above + 1) * math.gamma(below + 1)
    return top * rgamma(above + 1 - s) * rgamma(below + 1 + s)


def power(s, x, y, k, a=None, b=None):
    """I_s = (m/n)^s Σ bⱼ G_s(N, M), at the rows of y."""
    _, at_y, _, b, n, m = counts(x, y, k, a, b)
    terms = [w * gamma_quotient(s, other, own) for w, (own, other) in zip(b, at_y, strict=True)]
    return (m / n) ** s * sum(terms)


def paper(f, x, y, k):
    """(1/m) Σ f(η N / (M + 1)), at the rows of y."""
    _, at_y, _, _, n, m = counts(x, y, k)
    return sum(f(m / n * other / (own + 1)) for own, other in at_y) / m


def jensen_shannon(x, y, k):
    """Mean of f(r) − ½ f''(r) η² o (1 + o)² / k, and the unseen share of x at the price ln(2) / 2."""
    at_x, at_y, _, _, n, m = counts(x, y, k)
    total = 0.0
    for own, other in at_y:
        odds = other / (own + 1)
        r = m / n * odds
        if r == 0:
            total += math.log(2) / 2 - 0.25 * (m / n) / (own + other)
            continue
        f = 0.5 * (r * math.log(r) - (r + 1) * math.log((r + 1) / 2))
        bend = 0.5 / (r * (r + 1))
        total += f - 0.5 * bend * (m / n) ** 2 * odds * (1 + odds) ** 2 / (own + other)
    unseen = sum(other == 0 for _, other in at_x) / n
    return total / m + unseen * math.log(2) / 2


def sharp_kl(x, y, k):
    """KL at the rows of x, less E_Q r − 1, where E_Q r lacks the share of x without any y near."""
    at_x, at_y, _, _, n, m = counts(x, y, k)
    ratios = sum(m / n * other / (own + 1) for own, other in at_y) / m
    unseen = sum(other == 0 for _, other in at_x) / n
    return kl(x, y, k) - (ratios + unseen - 1)


def sharp_power(s, x, y, k):
    """s E_P r^(s − 1) + (1 − s) E_Q r^s, each by quotients of gamma functions."""
    at_x, _, _, _, n, m = counts(x, y, k)
    quotients = [gamma_quotient(s - 1, own, other) for own, other in at_x]
    at_p = (m / (n - 1)) ** (s - 1) * sum(quotients) / n
    return s * at_p + (1 - s) * power(s, x, y, k)


def sharp_jensen_shannon(x, y, k):
    """E_P ½ ln(2 r / (1 + r)) + E_Q ½ ln(2 / (1 + r)), both without the noise of the counts."""
    at_x, at_y, _, _, n, m = counts(x, y, k)

    def without_noise(function, above, below, scale):
        values = [
            function(scale * (above + step + 0.5) / (below - step + 0.5))
            if above + step >= 0 and below - step >= 0
            else math.nan
            for step in (-1, 0, 1)
        ]
        if above < 1 or below < 1:
            return values[1]
        share = (above + 0.5) / (above + below + 1)
        variance = (above + below) * share * (1 - share)
        return values[1] - 0.5 * variance * (values[0] - 2 * values[1] + values[2])

    of_x = [
        without_noise(lambda r: 0.5 * math.log(2 * r / (1 + r)), own, other, m / (n - 1))
        for own, other in at_x
    ]
    of_y = [
        without_noise(lambda r: 0.5 * math.log(2 / (1 + r)), other, own, (m - 1) / n)
        for own, other in at_y
    ]
    return sum(of_x) / n + sum(of_y) / m


def ensemble_weights(lengths, powers):
    """The smallest weights with Σ w = 1 and Σ w l^p = 0: A'(A A')⁻¹ e₁ for one power, by hand."""
    (p,) = powers
    one = [value**p for value in lengths]
    count, first, second = len(one), sum(one), sum(v * v for v in one)
    scale = 1 / (count * second - first * first)
    return [scale * (second - first * v) for v in one]
