"""What samples are sliced by, one row at a time."""

from itertools import combinations_with_replacement
from math import prod


def circular(row, direction, radius):
    """|x − R θ|."""
    return sum((s - radius * t) ** 2 for s, t in zip(row, direction, strict=True)) ** 0.5


def polynomial(row, direction, degree):
    """Σ θ_α x^α over the monomials of one degree."""
    monomials = [prod(some) for some in combinations_with_replacement(row, degree)]
    return sum(s * t for s, t in zip(monomials, direction, strict=True))
