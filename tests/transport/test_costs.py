"""Ground costs: tiles and mean costs against SciPy's matrix."""

from typing import get_args

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from divmatch.transport import costs
from tests.tolerances import ROUNDING

EVERY_COST = pytest.mark.parametrize("cost", costs.PROFILES)


def problem(n=30, m=20, d=3):
    rng = np.random.default_rng(0)
    a, b = rng.random(n), rng.random(m)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 1, a / a.sum(), b / b.sum()


@EVERY_COST
def test_tile_is_the_matrix(cost):
    x, y, _, _ = problem()
    assert costs.tile(cost, x, y) == pytest.approx(cdist(x, y, cost), abs=ROUNDING(3, scale=30))


@EVERY_COST
def test_equal_rows_cost_nothing_far_from_zero(cost):
    x = problem()[0] + 1e8
    assert (np.diag(costs.tile(cost, x, x)) == 0).all()


@EVERY_COST
def test_mean_is_that_of_the_matrix(cost):
    x, y, a, b = problem()
    expected = a @ cdist(x, y, cost) @ b
    assert costs.mean(cost, x, y, a, b) == pytest.approx(expected, abs=ROUNDING(50, scale=10))


def test_costs_of_the_entropic_problem_are_those_with_a_profile():
    assert set(get_args(costs.CostName)) == set(costs.PROFILES)


@EVERY_COST
def test_profile_and_ground_are_one_cost(cost):
    x, y, _, _ = problem()
    assert costs.tile(cost, x, y) == pytest.approx(
        costs.named(cost).ground.matrix(x, y), abs=ROUNDING(3, scale=30)
    )
