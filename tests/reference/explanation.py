"""Parts of an explanation, and the energy witness, in plain loops."""

from tests.reference.pairs import euclidean


def share(value, values, masses, level):
    """Which part of a value's mass lies below a level of the distribution of ``values``."""
    below = sum(m for v, m in zip(values, masses, strict=True) if v < value)
    own = sum(m for v, m in zip(values, masses, strict=True) if v == value)
    return min(max((level - below) / own, 0.0), 1.0)


def levels(bins):
    return [k / bins for k in range(1, bins)]


def mean(values, masses):
    return sum(v * m for v, m in zip(values, masses, strict=True))


def marginal(x, y, a, b, bins):
    """The mean of (F − G)² over levels of ranks in (P + Q)/2."""
    pool = [*x, *y]
    masses = [m / 2 for m in (*a, *b)]
    total = 0.0
    for u in levels(bins):
        f = mean([share(v, pool, masses, u) for v in x], a)
        g = mean([share(v, pool, masses, u) for v in y], b)
        total += (f - g) ** 2
    return total / (bins - 1)


def covariance(x, z, a, u, v):
    """Pr(U ≤ u, V ≤ v) − Pr(U ≤ u) Pr(V ≤ v) for one sample's own ranks."""
    left = [share(value, x, a, u) for value in x]
    right = [share(value, z, a, v) for value in z]
    both = mean([s * t for s, t in zip(left, right, strict=True)], a)
    return both - mean(left, a) * mean(right, a)


def dependence(x, y, a, b, bins):
    """The mean of (C_P − C_Q)² over pairs of levels; x and y hold two columns each."""
    total = 0.0
    for u in levels(bins):
        for v in levels(bins):
            total += (covariance(*x, a, u, v) - covariance(*y, b, u, v)) ** 2
    return total / (bins - 1) ** 2


def of_words(x, y, a, b):
    """Σ (p − q)² / 6 over words."""
    total = 0.0
    for word in {*x, *y}:
        p = mean([v == word for v in x], a)
        q = mean([v == word for v in y], b)
        total += (p - q) ** 2
    return total / 6


def with_words(x, y, a, b, bins):
    """The dependence of a number and a category: x and y hold a line of numbers and one of words."""
    total = 0.0
    for word in {*x[1], *y[1]}:
        for u in levels(bins):
            gap = 0.0
            for (numbers, words), m, sign in ((x, a, 1), (y, b, -1)):
                left = [share(v, numbers, m, u) for v in numbers]
                held = [float(w == word) for w in words]
                both = mean([s * t for s, t in zip(left, held, strict=True)], m)
                gap += sign * (both - mean(left, m) * mean(held, m))
            total += gap**2
    return total / (bins - 1) / 6


def witness(z, x, y, own):
    """E|z − X| − E|z − Y|; of the sample ``own`` ('x' or 'y') the row z itself, once, is left out."""
    to_x = sum(euclidean(z, row) for row in x) / (len(x) - (own == "x"))
    to_y = sum(euclidean(z, row) for row in y) / (len(y) - (own == "y"))
    return to_x - to_y
