"""The table of generators: derivatives, conjugates, limits, reversal, and two pairs of Gaussians."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from divmatch.errors import SettingError
from divmatch.estimators.generators import FIXED, from_slope, generator
from tests.tolerances import ROUNDING, SOLVER

NAMES = [
    *FIXED,
    "alpha:0.5",
    "alpha:2",
    "alpha:-1",
    "alpha:3",
    "alpha:0.001",
    "alpha:1",
    "alpha:0",
    "skew-js:0.1",
    "skew-js:0.5",
    "skew-js:0.9",
]
EVERY = pytest.mark.parametrize("kind", NAMES)
SMOOTH = pytest.mark.parametrize("kind", [name for name in NAMES if name != "tv"])
RATIOS = np.array([0.03, 0.3, 0.9, 1.2, 3.0, 20.0])
STEP = 1e-4


@EVERY
def test_f_is_zero_where_nothing_differs(kind):
    assert generator(kind).f(np.ones(1))[0] == pytest.approx(0.0, abs=ROUNDING(1))


@EVERY
def test_slope_is_the_derivative(kind):
    g, h = generator(kind), STEP * RATIOS
    found = (g.f(RATIOS + h) - g.f(RATIOS - h)) / (2 * h)
    scale = np.abs(g.slope(RATIOS)) + RATIOS**2 * np.abs(g.curvature(RATIOS)) + 1
    assert np.abs(found - g.slope(RATIOS)) == pytest.approx(0.0, abs=SOLVER(STEP**2) * scale.max())


@EVERY
def test_curvature_is_the_derivative_of_the_slope(kind):
    g, h = generator(kind), STEP * RATIOS
    found = (g.slope(RATIOS + h) - g.slope(RATIOS - h)) / (2 * h)
    relative = np.abs(found - g.curvature(RATIOS)) / (g.curvature(RATIOS) + 1)
    assert relative.max() <= SOLVER(STEP**2)


@SMOOTH
def test_conjugate_is_the_supremum(kind):
    g = generator(kind)
    for t in g.slope(np.array([0.2, 0.7, 1.5, 4.0])):
        best = minimize_scalar(
            lambda u, t=t: float(g.f(np.array([math.exp(u)]))[0] - t * math.exp(u)),
            bounds=(-12.0, 12.0),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert g.conjugate(np.array([t]))[0] == pytest.approx(-best.fun, abs=SOLVER(1e-7))


@SMOOTH
def test_conjugate_at_the_slope_is_what_a_critic_uses(kind):
    g = generator(kind)
    expected = from_slope(g, RATIOS)
    tolerance = ROUNDING(1, scale=100 * (1 + np.abs(expected).max()))
    assert g.conjugate(g.slope(RATIOS)) == pytest.approx(expected, abs=tolerance)


@SMOOTH
def test_activation_leads_into_the_domain_of_the_conjugate(kind):
    g = generator(kind)
    assert np.isfinite(g.conjugate(g.activation(np.linspace(-6.0, 6.0, 25)))).all()


@EVERY
def test_weight_is_the_curvature_in_the_log_ratio(kind):
    g = generator(kind)
    assert g.weight(RATIOS) == pytest.approx(RATIOS**2 * g.curvature(RATIOS), rel=ROUNDING(1))


@EVERY
def test_limits_are_the_prices_of_unmatched_mass(kind):
    g = generator(kind)
    small, large = g.f(np.array([1e-300]))[0], g.f(np.array([1e100]))[0] / 1e100
    for limit, found in ((g.at_zero, small), (g.at_infinity, large)):
        if kind == "alpha:0.001":
            continue  # r^0.001 reaches its limits beyond all numbers
        assert found > 100 if math.isinf(limit) else found == pytest.approx(limit, abs=1e-6)


@EVERY
def test_reversed_generator_is_that_of_the_swapped_pair(kind):
    g = generator(kind)
    back = g.reversed()
    assert back.f(RATIOS) == pytest.approx(RATIOS * g.f(1 / RATIOS), rel=ROUNDING(1))
    assert (back.at_zero, back.at_infinity) == (g.at_infinity, g.at_zero)


@SMOOTH
def test_weight_of_the_reversed_is_the_curvature_at_the_inverse(kind):
    g = generator(kind)
    expected = g.curvature(1 / RATIOS) / RATIOS
    assert g.reversed().weight(RATIOS) == pytest.approx(expected, rel=ROUNDING(10))


@EVERY
def test_symmetric_generators_are_their_own_reversal_up_to_a_linear_term(kind):
    g = generator(kind)
    if not g.symmetric:
        pytest.skip("it is not symmetric")
    gap = g.reversed().f(RATIOS) - g.f(RATIOS)
    slope = gap[-1] / (RATIOS[-1] - 1)
    scale = 10 * np.abs(g.f(RATIOS)).max()
    assert gap == pytest.approx(slope * (RATIOS - 1), abs=ROUNDING(6, scale=scale))


# name: value on N(0,1) || N(1,4), and on N(0,1) || N(1,1) where it is known
PAIRS = {
    "kl": (0.443147, 0.5),
    "reverse-kl": (1.306853, 0.5),
    "jeffreys": (1.75, 1.0),
    "js": (0.128175, 0.111421),
    "js-gan": (0.256350, 0.222843),
    "hellinger": (0.149195, 0.117503),
    "hellinger-gan": (0.298389, 0.235006),
    "tv": (0.390066, 0.382925),
    "chi2": (0.744026, math.e - 1),
    "le-cam": (0.434965, None),
    "softened-rkl": (1.050503, None),
    "skew-js:0.1": (0.451313, None),
    "skew-js:0.5": (0.512700, None),
    "skew-js:0.9": (0.725226, None),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("which", [0, 1])
def test_integral_over_two_gaussians(kind, which):
    expected = PAIRS[kind][which]
    if expected is None:
        pytest.skip("no closed form is written down")
    p, q = norm(0, 1), norm(1, 2 if which == 0 else 1)
    g = generator(kind)

    def integrand(z):
        ratio = np.array([math.exp(p.logpdf(z) - q.logpdf(z))])
        return q.pdf(z) * g.f(ratio)[0]

    edges = [-12.0, -5.0, -2.0, 0.0, 0.5, 1.0, 2.0, 5.0, 14.0]
    found = sum(quad(integrand, a, b)[0] for a, b in itertools.pairwise(edges))
    assert found == pytest.approx(expected, abs=1e-6)  # six printed digits


@pytest.mark.parametrize("kind", ["alpha", "skew-js", "alpha:x", "skew-js:1", "alpha:inf", "what"])
def test_unknown_names_are_refused(kind):
    with pytest.raises(SettingError, match="--kind"):
        generator(kind)
