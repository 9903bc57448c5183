"""Lipschitz-regularised f-divergences: closed forms, limits, duality, weights."""

import math

import numpy as np
import pytest

import divmatch
from divmatch.errors import SettingError
from divmatch.estimator import quantity
from divmatch.estimators import families
from divmatch.estimators.generators import generator
from divmatch.estimators.semi_relaxed import solve
from divmatch.kernels.execution import executing
from divmatch.samples import as_samples
from tests.reference import critics as reference
from tests.tolerances import ROUNDING, SOLVER

KINDS = pytest.mark.parametrize("kind", ["kl", "js", "chi2", "hellinger", "reverse-kl", "alpha:2"])

assert families.FDIV is quantity("fdiv")


def estimate(x, y, a=None, b=None, **given):
    chosen = quantity("fdiv").chosen("lipschitz")
    return chosen(as_samples(x, "x", a), as_samples(y, "y", b), **chosen.checked(given))


def value(x, y, **given):
    return estimate(x, y, **given).value


def pair(seed, n=12, m=9, d=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.5


def distances(x, y):
    return np.linalg.norm(x[:, None] - y[None], axis=2)


@pytest.mark.parametrize("slope", [0.5, 2.0, 8.0])
def test_half_of_the_mass_elsewhere(slope):
    """P = δ₀, Q = ½δ₀ + ½δ₁, KL: ln 2 − ln(1 + e^−L)."""
    found = value([0.0], [0.0, 1.0], kind="kl", lipschitz=slope, gap=1e-7)
    expected = math.log(2) - math.log1p(math.exp(-slope))
    assert found == pytest.approx(expected, abs=SOLVER(1e-7))


def test_two_diracs():
    """All mass moves by 3 at the price 2."""
    found = value([0.0], [3.0], kind="kl", lipschitz=2.0)
    assert found == pytest.approx(6.0, abs=ROUNDING(1, scale=6))


def test_js_of_two_diracs_is_at_most_ln_2():
    """Mass may also stay at the price f'(∞) = ln 2 / 2, and Q's then costs f(0) = ln 2 / 2."""
    found = value([0.0], [50.0], kind="js", gap=1e-6)
    assert found == pytest.approx(math.log(2), abs=SOLVER(1e-6))


@KINDS
@pytest.mark.parametrize("slope", [0.3, 1.0, 3.0])
def test_dual_lies_below_primal_by_at_most_the_gap(kind, slope):
    x, y = pair(1)
    p, q = np.full(12, 1 / 12), np.full(9, 1 / 9)
    found = solve(slope * distances(x, y), p, q, generator(kind), 1e-5)
    assert -1e-12 <= found.gap <= 1e-5 * max(1.0, found.dual)


@pytest.mark.parametrize("kind", ["kl", "chi2"])
def test_value_is_the_dual_of_its_potentials(kind):
    x, y = pair(2)
    found = estimate(x, y, kind=kind)
    dual = found.terms_x.mean() + found.terms_y.mean()
    assert found.value == pytest.approx(dual, abs=ROUNDING(21, scale=5))


def test_no_potentials_do_better():
    """Any potentials give a lower bound: random ones near the optimum stay below value and gap."""
    x, y = pair(3)
    p, q = np.full(12, 1 / 12), np.full(9, 1 / 9)
    found = estimate(x, y, kind="kl", gap=1e-5)
    best = 1.0 + np.log(-found.terms_y)  # f*(h) = exp(h − 1)
    rng = np.random.default_rng(3)
    others = [
        reference.lipschitz_dual(x, y, p, q, best + s * rng.normal(size=9), lambda h: math.exp(h - 1), 1.0)
        for s in (0.0, 1e-3, 1e-2, 0.1) for _ in range(5)
    ]  # fmt: skip
    assert max(others) <= found.value + 1e-5 + SOLVER(1e-6)


def test_critic_is_lipschitz():
    x, y = pair(4, 40, 30)
    found = estimate(x, y, kind="kl", lipschitz=1.5)
    rises = np.abs(found.terms_x[:, None] - found.terms_x[None])
    assert (rises <= 1.5 * distances(x, x) + ROUNDING(2, scale=10)).all()


@KINDS
def test_zero_for_equal_samples(kind):
    x, _ = pair(5)
    assert value(x, x[::-1], kind=kind, gap=1e-6) == pytest.approx(0.0, abs=SOLVER(1e-6))


@KINDS
def test_grows_with_the_slope(kind):
    x, y = pair(6)
    found = [value(x, y, kind=kind, lipschitz=s, gap=1e-5) for s in (0.1, 0.5, 1.0, 3.0, 10.0)]
    assert (np.diff(found) > 0).all()


def test_small_slope_gives_wasserstein():
    """The value is L W₁ less a term in L²."""
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(7)
    x, y = rng.normal(size=15), rng.normal(size=15) + 1.0
    slope = 1e-3
    found = value(x, y, kind="kl", lipschitz=slope, gap=1e-8) / slope
    assert found == pytest.approx(wasserstein_distance(x, y), abs=SOLVER(slope))


def test_large_slope_gives_the_divergence_of_the_masses():
    x = np.array([[0.0], [1.0], [2.0]])
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    found = estimate(x, x, a=p, b=q, kind="kl", lipschitz=50.0, gap=1e-6).value
    assert found == pytest.approx(float(p @ np.log(p / q)), abs=SOLVER(1e-6))


def test_weights_are_repeated_rows():
    x, y = pair(8, 6, 5)
    repeated = estimate(np.repeat(x, [3, 1, 1, 1, 1, 1], axis=0), y, kind="kl", gap=1e-6).value
    weighted = estimate(x, y, a=[3, 1, 1, 1, 1, 1], kind="kl", gap=1e-6).value
    assert weighted == pytest.approx(repeated, abs=SOLVER(1e-6))


def test_weightless_rows_are_not_there():
    x, y = pair(9)
    more = np.vstack([y, [[90.0, 90.0]]])
    found = estimate(x, more, b=[1.0] * 9 + [0.0], kind="kl").value
    assert found == pytest.approx(value(x, y, kind="kl"), abs=ROUNDING(21, scale=5))


def test_moving_all_rows_does_not_matter():
    x, y = pair(10)
    found = value(x + 7.0, y + 7.0, kind="js")
    assert found == pytest.approx(value(x, y, kind="js"), abs=SOLVER(1e-3))


def test_gap_is_recorded():
    assert 0 <= divmatch.fdiv(*pair(11), method="lipschitz").params["duality_gap"] <= 1e-3


def test_tv_is_refused():
    with pytest.raises(SettingError, match="--kind tv"):
        value(*pair(12), kind="tv")


def test_too_many_rows_for_the_memory_are_refused():
    with (
        executing(memory=1 << 20),
        pytest.raises(SettingError, match=r"300 x 300 rows need 5 MiB"),
    ):
        value(*pair(13, 300, 300))
