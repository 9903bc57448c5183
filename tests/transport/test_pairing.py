"""Pairs of rows: the cheapest plan, the cheapest partial assignment, the entropic plan's heaviest pairs."""

import math

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

import divmatch
from divmatch.errors import SettingError
from divmatch.kernels import transport
from divmatch.transport import costs, plan
from tests.tolerances import ROUNDING

METRICS = {"sqeuclidean": "sqeuclidean", "euclidean": "euclidean", "chebyshev": "chebyshev"}


def pair(n=40, m=31, d=2, seed=0, shift=0.5):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.3 + shift


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("n", "m"), [(40, 31), (31, 40), (35, 35)])
@pytest.mark.parametrize("d", [1, 3])
def test_one_to_one_is_the_partial_assignment_of_scipy(monkeypatch, compiled, n, m, d):
    monkeypatch.setattr(transport, "COMPILED_FROM", 0 if compiled else math.inf)
    x, y = pair(n, m, d)
    table = cdist(x, y, "sqeuclidean")
    expected = table[linear_sum_assignment(table)].mean()
    found = divmatch.match.plan(x, y, one_to_one=True)
    couples, facts = found.couples, found.fit.facts
    assert found.after.value == pytest.approx(expected, abs=ROUNDING(40, scale=50))
    assert table[couples.rows, couples.columns] == pytest.approx(couples.costs, abs=ROUNDING(3))
    for taken in (couples.rows, couples.columns):
        assert len(taken) == len(set(taken.tolist())) == min(n, m)
    assert couples.masses == pytest.approx(np.full(min(n, m), 1 / min(n, m)), rel=1e-12)
    assert (facts["unmatched_p"], facts["unmatched_q"]) == (max(n - m, 0), max(m - n, 0))
    assert facts["lower"] == pytest.approx(expected, rel=1e-9)


def test_one_to_one_of_many_rows_starts_from_few():
    x, y = pair(1300, 1000, 4)
    table = cdist(x, y)
    expected = table[linear_sum_assignment(table)].mean()
    found = divmatch.match.plan(x, y, one_to_one=True, cost="euclidean", p=1)
    assert found.after.value == pytest.approx(expected, rel=1e-10)
    assert found.converged
    assert found.fit.facts["lower"] == pytest.approx(expected, rel=1e-9)


def test_one_to_one_with_ties_takes_no_row_twice():
    x, y = (np.round(rows) for rows in pair(60, 45))
    couples = divmatch.match.plan(x, y, one_to_one=True).couples
    assert len(set(couples.rows.tolist())) == len(set(couples.columns.tolist())) == 45


def test_weights_cannot_be_kept_one_to_one():
    with pytest.raises(SettingError, match=r"^--one-to-one: .*weights"):
        divmatch.match.plan(*pair(), one_to_one=True, weights_x=np.ones(40))


@pytest.mark.parametrize("cost", METRICS)
def test_figures_are_the_mean_cost_and_that_of_the_plan(cost):
    x, y = pair()
    weights = np.arange(1.0, 41)
    found = divmatch.match.plan(x, y, cost=cost, p=1, weights_x=weights)
    mean = weights / weights.sum() @ cdist(x, y, METRICS[cost]).mean(axis=1)
    assert found.before.value == pytest.approx(mean, rel=1e-12)
    assert found.after.value == pytest.approx(found.couples.masses @ found.couples.costs, rel=1e-12)
    least = divmatch.ot(x, y, cost=cost, p=1, weights_x=weights).value
    assert found.after.value == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize(
    ("cost", "p", "unit"),
    [
        ("euclidean", 2, "data unit^2"),
        ("euclidean", 1, "data unit"),
        ("sqeuclidean", 1.5, "data unit^3"),
        ("cosine", 2, "1"),
    ],
)
def test_unit_is_that_of_the_power(cost, p, unit):
    assert divmatch.match.plan(*pair(), cost=cost, p=p).after.unit == unit


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
@pytest.mark.parametrize("cost", ["euclidean", "sqeuclidean", "cityblock", "chebyshev", "lp:3"])
def test_mean_powers_are_those_of_the_matrix(cost, p):
    x, y = pair()
    a, b = np.full(40, 1 / 40), np.full(31, 1 / 31)
    name, more = ("minkowski", {"p": 3}) if cost == "lp:3" else (cost, {})
    expected = (cdist(x, y, name, **more) ** p).mean()
    assert costs.mean_power(cost, p, x, y, a, b) == pytest.approx(expected, rel=1e-12)


def test_heaviest_pairs_of_the_entropic_plan():
    x, y = pair()
    found = divmatch.match.plan(x, y, method="sinkhorn", eps=0.1, top_k=2)
    whole = plan.entropic(x, y, eps=0.1).matrix()
    expected = np.sort(whole, axis=1)[:, :-3:-1].ravel()
    assert found.couples.masses == pytest.approx(expected, abs=1e-10)
    assert whole[found.couples.rows, found.couples.columns] == pytest.approx(expected, abs=1e-10)
    assert found.fit.facts["left_out"] == pytest.approx(1 - expected.sum(), abs=1e-9)


def test_what_is_not_converged_says_so():
    found = divmatch.match.plan(*pair(), method="sinkhorn", eps=1e-3, max_iter=1, tol=1e-12)
    assert not found.converged
    assert found.after.status == "inconclusive"


def test_entropic_plans_have_three_costs():
    with pytest.raises(SettingError, match="--cost chebyshev has no streamed form"):
        divmatch.match.plan(*pair(), method="sinkhorn", cost="chebyshev")
