"""Precision, recall, density, coverage and authenticity in plain loops."""

from tests.reference.neighbours import distance


def radii(rows, k):
    """Distance of every row to its k-th nearest other row."""
    return [
        sorted(distance(row, other) for j, other in enumerate(rows) if j != i)[k - 1]
        for i, row in enumerate(rows)
    ]


def masses(weights, n):
    """Weights that sum to 1."""
    total = sum(weights) if weights else n
    return [w / total for w in (weights or [1] * n)]


def precision(x, y, k, a=None, b=None):
    """Mass of y inside the balls of x."""
    reach = radii(x, k)
    return sum(
        mass
        for mass, row in zip(masses(b, len(y)), y, strict=True)
        if any(distance(row, centre) <= r for centre, r in zip(x, reach, strict=True))
    )


def recall(x, y, k, a=None, b=None):
    """Precision with the roles swapped."""
    return precision(y, x, k, b, a)


def density(x, y, k, a=None, b=None):
    """Σᵢ aᵢ Q(ball i) / P(ball i without row i)."""
    a, b = masses(a, len(x)), masses(b, len(y))
    total = 0.0
    for i, (centre, r) in enumerate(zip(x, radii(x, k), strict=True)):
        inside = sum(b[j] for j, row in enumerate(y) if distance(row, centre) <= r)
        own = sum(a[j] for j, row in enumerate(x) if j != i and distance(row, centre) <= r)
        total += a[i] * inside / own
    return total


def coverage(x, y, k, a=None, b=None):
    """Mass of x whose ball holds a row of y."""
    return sum(
        mass
        for mass, centre, r in zip(masses(a, len(x)), x, radii(x, k), strict=True)
        if any(distance(row, centre) <= r for row in y)
    )


def authenticity(x, y, k, a=None, b=None):
    """Mass of y farther from its nearest row of x than that is from its nearest other."""
    first = radii(x, 1)
    total = 0.0
    for mass, row in zip(masses(b, len(y)), y, strict=True):
        far = [distance(row, centre) for centre in x]
        lonely = max(f for f, d in zip(first, far, strict=True) if d == min(far))
        total += mass * (min(far) > lonely)
    return total


KINDS = {
    "precision": precision,
    "recall": recall,
    "density": density,
    "coverage": coverage,
    "authenticity": authenticity,
}
