"""Cauchy-Schwarz divergence in plain loops, plain and conditional."""

import math

from tests.reference.mmd import kernel
from tests.reference.pairs import between, equal, within


def divergence(x, y, a=None, b=None, *, scale=1.0, unbiased=True, k=None):
    """−2 ln E k(X, Y) + ln E k(X, X') + ln E k(Y, Y')."""
    a, b, k = a or equal(x), b or equal(y), k or kernel("gaussian", scale)
    own = math.log(within(x, a, k, unbiased)) + math.log(within(y, b, k, unbiased))
    return own - 2 * math.log(between(x, y, a, b, k))


def conditional(p, q, a=None, b=None, *, scales=(1.0, 1.0), unbiased=True):
    """Ln t1 + ln t2 − ln c12 − ln c21 of rows (x, y), one number each; ``scales`` of x and of y."""
    a, b = a or equal(p), b or equal(q)
    k_x, k_y = (kernel("gaussian", scale) for scale in scales)

    def means(j, rows, others, masses):
        """Means over the others of K and of K·L; a row leaves itself out where unbiased."""
        own = j if others is rows and unbiased else None
        keep = [i for i in range(len(others)) if i != own]
        mass = sum(masses[i] for i in keep)
        k = [masses[i] * k_x(rows[j][:1], others[i][:1]) / mass for i in keep]
        both = [v * k_y(rows[j][1:], others[i][1:]) for v, i in zip(k, keep, strict=True)]
        return sum(k), sum(both)

    def side(rows, masses, others, other_masses):
        t = c = 0.0
        for j, mass in enumerate(masses):
            b1, a1 = means(j, rows, rows, masses)
            b12, a12 = means(j, rows, others, other_masses)
            t += mass * a1 / b1**2
            c += mass * a12 / (b1 * b12)
        return math.log(t) - math.log(c)

    return side(p, a, q, b) + side(q, b, p, a)
