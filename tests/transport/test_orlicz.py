"""Orlicz-Wasserstein distances against closed forms, all pairings, POT and the Wasserstein distances."""

import contextlib
import io
import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.stats import norm

import divmatch
from divmatch.errors import SettingError
from divmatch.estimator import quantity
from divmatch.samples import as_samples
from tests.reference import transport as reference
from tests.tolerances import LUCK, ROUNDING, SOLVER

PHI = pytest.mark.parametrize("phi", ["power:3", "exp", "exp2"])
CLOSE = SOLVER(1e-10)  # relative


def pair(n, m, d, seed=0, shift=0.5):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.3 + shift


def masses(n):
    weights = np.random.default_rng(n).random(n)
    weights[n // 2] = 0.0
    return weights / weights.sum()


def distance(x, y, phi, **settings):
    return divmatch.ot(x, y, orlicz=phi, **settings)


def codes(result):
    return [note.code for note in result.warnings]


# --------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("rows", [([0.0], [3.0]), ([[0.0, 0.0]], [[1.8, 2.4]])])
def test_single_points(rows):
    """Φ(3 / k) = 1: 3 / √ln 2 for exp2, 3 / ln 2 for exp, 3 for every power."""
    expected = {"exp2": 3 / math.log(2) ** 0.5, "exp": 3 / math.log(2), "power:5": 3.0}
    for phi, value in expected.items():
        assert distance(*rows, phi).value == pytest.approx(value, rel=1e-14)


def test_a_tenth_of_the_mass_moves():
    found = distance([0.0], [0.0, 1.0], "exp2", weights_y=[0.9, 0.1]).value
    assert found == pytest.approx(1 / math.log(11) ** 0.5, rel=1e-14)
    assert found == pytest.approx(0.6457804514, abs=1e-10)


@pytest.mark.parametrize("phi", ["exp", "exp2"])
def test_stretched_gaussians(phi):
    """N(0, 1) to N(0, 2.5²) moves |Z| by 1.5: E exp(Z²/k²) is (1 − 2/k²)^(−1/2), E exp(|Z|/k) by Φ."""
    u = np.linspace(-14, 14, 4001)
    weights = np.exp(-0.5 * u**2)
    k = (8 / 3) ** 0.5
    if phi == "exp":
        k = brentq(lambda k: 2 * math.exp(0.5 / k**2) * norm.cdf(1 / k) - 2, 0.3, 10)
    found = distance(u, 2.5 * u, phi, weights_x=weights, weights_y=weights).value
    assert found == pytest.approx(1.5 * k, rel=1e-4)  # the grid's own error


# ---------------------------------------------------------------------------------------- others


@PHI
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("cost", ["euclidean", "chebyshev"])
def test_value_is_the_least_of_all_pairings(phi, d, cost):
    x, y = pair(5, 5, d)
    expected = reference.orlicz(
        x.tolist(), y.tolist(), getattr(reference, cost), reference.GROWTHS[phi]
    )
    assert distance(x, y, phi, cost=cost).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("phi", ["exp", "exp2"])
@pytest.mark.parametrize("weighted", [False, True])
def test_pot_costs_one_there(phi, weighted):
    with contextlib.redirect_stdout(io.StringIO()):
        import ot
    x, y = pair(40, 31, 3)
    a, b = (masses(n) if weighted else np.full(n, 1 / n) for n in (40, 31))
    given = {"weights_x": a, "weights_y": b} if weighted else {}
    t = cdist(x, y) / distance(x, y, phi, **given).value
    cost = ot.emd2(a, b, np.expm1(t if phi == "exp" else t**2), numItermax=10**8)
    assert cost == pytest.approx(1.0, abs=CLOSE)


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_powers_are_wasserstein_distances(d, weighted):
    x, y = pair(40, 31, d)
    given = {"weights_x": masses(40), "weights_y": masses(31)} if weighted else {}
    found, expected = distance(x, y, "power:2", **given), divmatch.ot(x, y, p=2, **given)
    assert found.value == pytest.approx(expected.value, rel=CLOSE)
    assert found.se == pytest.approx(expected.se, rel=1e-6)


@PHI
def test_line_is_a_plane_with_a_constant_column(phi):
    x, y = pair(30, 25, 1)
    flat = [np.column_stack([rows, np.ones(len(rows))]) for rows in (x, y)]
    found, expected = distance(*flat, phi), distance(x, y, phi)
    assert found.value == pytest.approx(expected.value, rel=CLOSE)


# ------------------------------------------------------------------------------------ properties


@PHI
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("scale", [1e-30, 7.0])
def test_value_scales_with_the_data(phi, d, scale):
    x, y = pair(30, 25, d)
    expected = scale * distance(x, y, phi).value
    assert distance(scale * x, scale * y, phi).value == pytest.approx(expected, rel=CLOSE)


@PHI
@pytest.mark.parametrize("d", [1, 3])
def test_value_is_symmetric_and_above_that_of_a_smaller_function(phi, d):
    x, y = pair(30, 25, d)
    found = distance(x, y, phi).value
    assert distance(y, x, phi).value == pytest.approx(found, rel=CLOSE)
    smaller = {"power:3": 1, "exp": 1, "exp2": 2}[phi]
    assert found >= divmatch.ot(x, y, p=smaller).value


@pytest.mark.parametrize("d", [1, 2])
def test_equal_samples_are_at_zero(d):
    x, _ = pair(20, 1, d)
    assert distance(x, x[::-1], "exp2").value == 0.0
    assert distance(x, x.copy(), "exp2", permutations=19).test.p_value == 1.0


@pytest.mark.parametrize("phi", ["exp", "exp2"])
@pytest.mark.parametrize("n", [60, 900])
def test_bounds_hold_the_value_and_meet(phi, n):
    params = (found := distance(*pair(n, n - 7, 4), phi)).params
    assert params["lower"] <= found.value == params["upper"]
    assert params["gap"] <= 1e-9
    assert "W18" not in codes(found)


@pytest.mark.parametrize("phi", ["exp", "exp2"])
def test_an_outlier_is_no_obstacle(phi):
    """Its cost overflows at the scale of the others; the value is a logarithm's share of its distance."""
    x, y = pair(60, 50, 3)
    x[0] = 1e4
    found = distance(x, y, phi)
    assert found.params["gap"] <= 1e-6
    farthest = cdist(x[:1], y).min()
    share = math.log(61) ** (1.0 if phi == "exp" else 0.5)
    assert found.value >= farthest / share * (1 - 1e-9)
    assert "W49" in codes(found)


@pytest.mark.parametrize("d", [1, 3])
@PHI
def test_influences_are_derivatives(phi, d):
    x, y = pair(20, 15, d)
    method = quantity("ot").chosen(None, ["orlicz"])
    settings = method.checked({"orlicz": phi})
    samples, other = as_samples(x, "x", masses(20)), as_samples(y, "y")
    found, step = method(samples, other, **settings), 1e-6
    value = {}
    for sign in (1, -1):
        more = samples.masses() * (1 - sign * step)
        more[0] += sign * step
        value[sign] = method(as_samples(x, "x", more), other, **settings).value
    slope = (value[1] - value[-1]) / (2 * step)
    assert slope == pytest.approx(found.terms_x[0], rel=1e-3)
    assert samples.masses() @ found.terms_x == pytest.approx(0.0, abs=ROUNDING(20, scale=10))


def test_clusters_far_apart_have_an_interval_on_the_scale_of_the_moves():
    """Between them the cost is e^(10¹²), of which the mean of two ways has no digits."""
    x, _ = pair(40, 1, 1)
    x = np.concatenate([x, x + 1e6])
    found = distance(x, x + 0.1 * np.random.default_rng(0).normal(size=x.shape), "exp2")
    assert found.se < 100 * found.value


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("d", [1, 2])
def test_plan_is_the_estimate_of_each_split(weighted, d):
    weights = masses(35) if weighted else None
    pool = as_samples(np.concatenate(pair(20, 15, d)), "pool", weights)
    method = quantity("ot").chosen("orlicz")
    checked = method.checked({"orlicz": "exp"})
    labels = np.random.default_rng(0).random((35, 4)) < 0.5
    direct = [method(pool.take(s), pool.take(~s), **checked).value for s in labels.T]
    assert method.plan(pool, **checked).statistic(labels) == pytest.approx(direct, rel=CLOSE)


# --------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize("phi", ["power", "power:0.5", "power:x", "exp3", ""])
def test_unknown_functions_are_refused(phi):
    with pytest.raises(SettingError, match=r"^--orlicz"):
        distance(*pair(5, 5, 2), phi)


def test_names_of_the_field_are_understood():
    x, y = pair(5, 5, 2)
    for alias, name in (("subexponential", "exp"), ("subgaussian", "exp2")):
        found = distance(x, y, alias)
        assert found.params["orlicz"] == name
        assert found.value == distance(x, y, name).value


def test_settings_of_the_powers_do_not_go_with_it():
    with pytest.raises(SettingError, match="no method has all of these settings"):
        distance(*pair(5, 5, 2), "exp", debias=True)


@pytest.mark.slow
def test_interval_covers():
    """N(0, 1) to N(1, 1.5²) on a line: E exp(|1 + Z/2| / k) = 2."""
    z = np.linspace(-12, 12, 200_001)
    weights = norm.pdf(z) * (z[1] - z[0])
    truth = brentq(lambda k: weights @ np.exp(np.abs(1 + z / 2) / k) - 2, 0.5, 10)
    rng, held = np.random.default_rng(7), 0
    for _ in range(1000):
        ci = distance(rng.normal(size=300), rng.normal(1, 1.5, size=300), "exp").ci
        held += ci.low <= truth <= ci.high
    assert held / 1000 == pytest.approx(0.95, abs=LUCK(0.0069, z=4))
