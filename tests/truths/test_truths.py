"""The closed forms against quadrature and against published digits."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate

from tests.tolerances import LUCK, ROUNDING, SOLVER
from tests.truths import gaussian
from tests.truths.line import EXPONENTIALS, GAUSSIANS, PAIRS, SHIFTED, UNIFORMS

QUADRATURE = 1e-9
EVERY_PAIR = pytest.mark.parametrize("pair", [*PAIRS, SHIFTED], ids=lambda pair: pair.name)
SIXTH_DIGIT = 0.5e-6  # half a unit of it: what printing left out


def integral(function, low, high, breaks=()):
    """Adaptive quadrature, cut at the breaks."""
    edges = [low, *(b for b in sorted(breaks) if low < b < high), high]
    parts = (
        integrate.quad(function, a, b, epsabs=QUADRATURE, epsrel=QUADRATURE, limit=200)[0]
        for a, b in pairwise(edges)
    )
    return sum(parts)


def bounds(distribution):
    """The support, cut where nothing is left of it."""
    low, high = distribution.support
    return max(low, -40.0), min(high, 80.0)


def mean_over_pairs(p, q, function):
    """E function(X − Y) as an iterated integral."""
    corners = (*bounds(q), 0.0, 1.0)

    def inner(s):
        return integral(lambda t: q.density(t) * function(s - t), *bounds(q), (*corners, s))

    return integral(lambda s: p.density(s) * inner(s), *bounds(p), corners)


@EVERY_PAIR
def test_kl_is_its_integral(pair):
    def integrand(t):
        p = pair.p.density(t)
        return p * math.log(p / pair.q.density(t)) if p > 0 else 0.0

    low, high = bounds(pair.p)
    low, high = max(low, -15.0), min(high, 60.0)
    assert pair.kl == pytest.approx(
        integral(integrand, low, high, (0.0, 1.0)), abs=SOLVER(QUADRATURE)
    )


@EVERY_PAIR
def test_energy_is_twice_the_squared_gap_of_distribution_functions(pair):
    def below(distribution, t):
        low, _ = bounds(distribution)
        return (
            integral(distribution.density, low, t, (*bounds(distribution), 0.0)) if t > low else 0.0
        )

    low = min(bounds(pair.p)[0], bounds(pair.q)[0], -10.0 if pair.p.support[0] < 0 else 0.0)
    low, high = max(low, -15.0), min(max(bounds(pair.p)[1], bounds(pair.q)[1]), 50.0)
    found = integral(
        lambda t: 2 * (below(pair.p, t) - below(pair.q, t)) ** 2, low, high, (0.0, 1.0, 2.0, 10.0)
    )
    assert pair.energy == pytest.approx(found, abs=SOLVER(1e-8))


@EVERY_PAIR
@pytest.mark.parametrize("s", [0.5, 2.0])
def test_mean_kernel_is_its_integral(pair, s):
    found = mean_over_pairs(pair.p, pair.q, lambda gap: math.exp(-0.5 * (gap / s) ** 2))
    assert pair.p.mean_kernel(pair.q, s) == pytest.approx(found, abs=SOLVER(1e-8))


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 2.0), (1.0, 0.5), (-1.5, 3.0)])
def test_mean_laplace_kernel_is_its_integral(mean, variance):
    sd = math.sqrt(variance)

    def integrand(t):
        return math.exp(-abs(t) - 0.5 * ((t - mean) / sd) ** 2) / (sd * math.sqrt(2 * math.pi))

    found = integral(integrand, -40.0, 40.0, (0.0, mean))
    assert gaussian.mean_laplace(mean, variance) == pytest.approx(found, abs=SOLVER(QUADRATURE))


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5])
def test_mean_power_of_the_distance_is_its_integral(p):
    def integrand(t):
        return abs(t) ** p * math.exp(-0.5 * (t - 0.7) ** 2 / 1.3) / math.sqrt(2 * math.pi * 1.3)

    found = integral(integrand, -30.0, 30.0, (0.0, 0.7))
    assert gaussian.mean_abs_power(0.7, 1.3, p) == pytest.approx(found, abs=SOLVER(1e-8))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_mean_norm_is_its_integral(d):
    """E|Z| = (1/√π) ∫ (1 − E exp(−u²|Z|²)) / u² du over u > 0."""
    gap2, variance = 0.8, 1.7

    def integrand(u):
        t = 2 * u * u * variance
        log = -0.5 * d * math.log1p(t) - u * u * gap2 / (1 + t)
        return -math.expm1(log) / u**2 if u > 0 else 0.5 * d * 2 * variance + gap2

    found = (integral(integrand, 0.0, 1.0) + integral(integrand, 1.0, math.inf)) / math.sqrt(
        math.pi
    )
    assert gaussian.mean_norm(gap2, variance, d) == pytest.approx(found, abs=SOLVER(QUADRATURE))


def test_mean_kernel_in_the_plane_is_its_integral():
    mean, cov = np.array([0.5, -0.3]), np.array([[1.2, 0.4], [0.4, 0.7]])
    inverse, root = np.linalg.inv(cov), math.sqrt(np.linalg.det(cov))

    def integrand(u, v):
        z = np.array([u, v])
        form = (z - mean) @ inverse @ (z - mean)
        return math.exp(-0.5 * form - 0.5 * z @ z / 0.9**2) / (2 * math.pi * root)

    found = integrate.dblquad(integrand, -6, 6, -6, 6, epsabs=1e-8, epsrel=1e-8)[0]
    assert gaussian.mean_kernel(mean, cov, 0.9) == pytest.approx(found, abs=SOLVER(1e-8))


def test_kl_in_many_columns_adds_over_independent_ones():
    means = np.array([0.0, 1.0, -0.5])
    first, second = np.diag([1.0, 4.0, 0.25]), np.diag([2.0, 1.0, 0.5])
    apart = sum(
        gaussian.kl(
            np.zeros(1), first[i : i + 1, i : i + 1], means[i : i + 1], second[i : i + 1, i : i + 1]
        )
        for i in range(3)
    )
    assert gaussian.kl(np.zeros(3), first, means, second) == pytest.approx(
        apart, abs=ROUNDING(3, scale=10)
    )


@pytest.mark.parametrize(
    ("found", "published"),
    [
        (GAUSSIANS.kl, 0.443147),
        (SHIFTED.kl, 0.5),
        (SHIFTED.energy, 0.541807),
        (EXPONENTIALS.kl, math.log(2) - 0.5),
        (EXPONENTIALS.energy, 1 / 3),
        (UNIFORMS.kl, math.log(4)),
        (UNIFORMS.energy, 0.5),
        (gaussian.energy_power(1.0, 1.0, 1.0, 1.0), 0.541807),
        (gaussian.mmd2_laplace(1.0, 1.0, 1.0, 1.0), 0.125216),
        (
            gaussian.mmd2(np.zeros(2), np.eye(2), np.array([0.5, 0]), np.diag([1.0, 2.0]), 1.0),
            0.037744,
        ),
    ],
)
def test_published_digits(found, published):
    assert found == pytest.approx(published, abs=LUCK(0.0, bias=SIXTH_DIGIT))


def test_published_energy_in_five_columns():
    assert gaussian.energy(1.0, 1.0, 1.0, 5) == pytest.approx(0.29567, abs=LUCK(0.0, bias=0.5e-5))
