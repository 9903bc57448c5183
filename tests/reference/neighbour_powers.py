"""Powers of the density ratio from neighbour distances, in plain loops."""

import math

from tests.reference.kl import log_mean_mass, neighbours
from tests.reference.pairs import equal


def power(order, x, y, k, a=None, b=None):
    """I_a = B Σ wᵢ ((n − 1) ρᵈ / (m νᵈ))^(1 − a), B = Γ(k)² / (Γ(k − a + 1) Γ(k + a − 1))."""
    a, b = a or equal(x), b or equal(y)
    total = 0.0
    for i, row in enumerate(x):
        of_x = neighbours(x, a, row, own=i)[:k]
        of_y = neighbours(y, b, row)[:k]
        ratio = (of_x[-1][0] / of_y[-1][0]) ** len(row)
        ratio *= math.exp(log_mean_mass(of_y) - log_mean_mass(of_x))
        total += a[i] * ratio ** (1 - order)
    return total * math.gamma(k) ** 2 / (math.gamma(k - order + 1) * math.gamma(k + order - 1))


def monomial(s, t, x, y, k):
    """E_p[p^s q^t] = ((n − 1) c ρᵈ)^−s (m c νᵈ)^−t Γ(k)² / (Γ(k − s) Γ(k − t)), averaged over x."""
    d, n, m = len(x[0]), len(x), len(y)
    ball = math.pi ** (d / 2) / math.gamma(d / 2 + 1)
    total = 0.0
    for i, row in enumerate(x):
        rho = neighbours(x, equal(x), row, own=i)[k - 1][0]
        nu = neighbours(y, equal(y), row)[k - 1][0]
        total += ((n - 1) * ball * rho**d) ** -s * (m * ball * nu**d) ** -t
    return total / n * math.gamma(k) ** 2 / (math.gamma(k - s) * math.gamma(k - t))
