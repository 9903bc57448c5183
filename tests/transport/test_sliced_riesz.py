"""Sliced energy distance: against the energy distance, its Monte Carlo error, bias and test."""

import math

import numpy as np
import pytest

import divmatch
from divmatch.estimator import quantity
from divmatch.randomness import stream
from divmatch.samples import as_samples
from divmatch.transport.sliced_riesz import constant
from tests.reference.energy import energy as reference
from tests.tolerances import LUCK, ROUNDING


def pair(n=40, m=30, d=3, seed=0):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.5


@pytest.mark.parametrize(
    ("d", "value"), [(1, 1.0), (2, math.pi / 2), (3, 2.0), (10, 3.865632), (100, 12.501848)]
)
def test_constant(d, value):
    assert constant(d) == pytest.approx(value, abs=5e-7)


def test_one_column_is_the_energy_distance():
    x, y = pair(d=1)
    a = np.arange(1.0, 41.0)
    found = divmatch.sliced(x, y, p="riesz", weights_x=a)
    expected = reference(x.tolist(), y.tolist(), (a / a.sum()).tolist(), None, unbiased=False)
    assert found.value == pytest.approx(expected, abs=ROUNDING(70, scale=20))
    assert found.error is None


@pytest.mark.parametrize("d", [2, 3, 10])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_columns_are_within_the_monte_carlo_error(d, weighted):
    x, y = pair(60, 50, d)
    a = np.random.default_rng(1).random(60) if weighted else None
    found = divmatch.sliced(x, y, p="riesz", weights_x=a)
    whole = divmatch.energy(x, y, method="v", weights_x=a)
    assert found.value == pytest.approx(whole.value, abs=LUCK(found.error["monte_carlo_se"]))


def test_bias_is_what_the_u_statistic_leaves_out():
    x, y = pair(60, 50, 2)
    found = divmatch.sliced(x, y, p="riesz", projections=400)
    apart = divmatch.energy(x, y, method="v").value - divmatch.energy(x, y).value
    assert found.bias["estimate"] == pytest.approx(apart, abs=2e-3 * apart)


def test_influences_are_those_of_the_energy_distance():
    x, y = pair(30, 20, 2)
    chosen = quantity("sliced").chosen(None)
    samples, settings = (as_samples(x, "x"), as_samples(y, "y")), {"p": "riesz", "projections": 800}
    found = chosen(*samples, **chosen.checked(settings), rng=stream(0, "test"))
    whole = divmatch.estimator.quantity("energy").chosen("v")
    expected = whole(*samples, **whole.checked({}))
    assert found.terms_x == pytest.approx(expected.terms_x, abs=5e-3)
    assert found.terms_y == pytest.approx(expected.terms_y, abs=5e-3)


def test_plan_is_the_estimate_at_the_split():
    x, y = pair(9, 7, 3)
    weights = np.random.default_rng(2).random(16)
    chosen = quantity("sliced").chosen(None)
    settings = {**chosen.checked({"p": "riesz"}), "rng": stream(0, "test")}
    samples = as_samples(x, "x", weights[:9]), as_samples(y, "y", weights[9:])
    plan = chosen.plan(as_samples(np.concatenate([x, y]), "pool", weights), **settings)
    value = plan.statistic((np.arange(16) < 9)[:, None])[0]
    assert value == pytest.approx(chosen(*samples, **settings).value, abs=ROUNDING(16, scale=50))


def test_error_asked_for_is_reached():
    x, y = pair(60, 50, 5)
    found = divmatch.sliced(x, y, p="riesz", error=0.02)
    assert found.error["monte_carlo_se"] <= 0.02 * found.value


def test_convention_and_unit_are_recorded():
    found = divmatch.sliced(*pair(), p="riesz")
    assert found.params["convention"] == "2 E|X-Y| - E|X-X'| - E|Y-Y'|"
    assert found.unit == "data unit"


def test_a_difference_is_seen():
    found = divmatch.sliced(*pair(60, 60), p="riesz", permutations=199)
    assert found.test.p_value == 1 / 200
