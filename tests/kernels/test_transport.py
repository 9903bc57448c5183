"""The transport simplex against POT and SciPy: cost, marginals, duals, both ways of running it."""

import contextlib
import io

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from divmatch.kernels import transport
from divmatch.kernels.execution import executing
from divmatch.kernels.ground import Ground
from tests.tolerances import ROUNDING, SAME

SQUARES = Ground("squares")
GROUNDS = {
    "euclidean": (Ground("squares", 0.5), lambda x, y: cdist(x, y)),
    "sqeuclidean": (SQUARES, lambda x, y: cdist(x, y, "sqeuclidean")),
    "cube": (Ground("squares", 1.5), lambda x, y: cdist(x, y) ** 3),
    "exponential": (Ground("squares", 0.5, rate=0.7), lambda x, y: np.expm1(0.7 * cdist(x, y))),
    "cityblock": (Ground("absolute"), lambda x, y: cdist(x, y, "cityblock")),
    "chebyshev": (Ground("largest"), lambda x, y: cdist(x, y, "chebyshev")),
    "lp:3": (Ground("powers", 1 / 3, 3.0), lambda x, y: cdist(x, y, "minkowski", p=3)),
}
RUNS = pytest.mark.parametrize("compiled", [False, True])


def pair(n, m, d, seed=0, shift=0.5):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.3 + shift


def masses(n, seed=0):
    made = np.random.default_rng([seed, n]).exponential(size=n) ** 2
    return made / made.sum()


def clusters(n, d, seed):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(5).normal(size=(8, d)) * 20
    return centres[rng.integers(0, 8, n)] + rng.normal(size=(n, d)) * 0.05


@pytest.fixture(scope="module")
def emd2():
    """POT's cost of the cheapest plan."""
    with contextlib.redirect_stdout(io.StringIO()):
        import ot
    return lambda a, b, costs: float(ot.emd2(a / a.sum(), b / b.sum(), costs, numItermax=10**8))


def solve(x, y, a=None, b=None, *, ground=SQUARES, compiled=True):
    a = np.full(len(x), float(len(y))) if a is None else a
    b = np.full(len(y), float(len(x))) if b is None else b
    often = transport.COMPILED_FROM if compiled else 0
    return transport.transported(ground, x, y, a, b, often=often)


def problems():
    rng = np.random.default_rng(3)
    tied = np.round(rng.normal(size=(90, 2))), np.round(rng.normal(size=(70, 2)) + 0.3)
    return {
        "n = m": pair(70, 70, 3),
        "n != m": pair(70, 45, 3),
        "one row": pair(1, 40, 3),
        "one column": pair(40, 1, 3),
        "one dimension": pair(60, 50, 1),
        "many dimensions": pair(50, 60, 40),
        "clusters": (clusters(120, 2, 1), clusters(100, 2, 2)),
        "ties": tied,
        "constant": (np.ones((20, 2)), np.ones((30, 2))),
        "itself": (tied[0], tied[0][::-1].copy()),
        "far apart": (rng.normal(size=(40, 2)), rng.normal(size=(50, 2)) + 1e6),
        "heavy tails": (rng.standard_cauchy((60, 3)), rng.standard_cauchy((50, 3))),
    }


PROBLEMS = problems()
EVERY_PROBLEM = pytest.mark.parametrize("case", PROBLEMS)


@RUNS
@EVERY_PROBLEM
@pytest.mark.parametrize("weighted", [False, True])
def test_cost_is_that_of_pot(case, compiled, weighted, emd2):
    x, y = PROBLEMS[case]
    a, b = (masses(len(x), 1), masses(len(y), 2)) if weighted else (None, None)
    costs = cdist(x, y, "sqeuclidean")
    expected = emd2(*(np.ones(len(z)) if w is None else w for z, w in ((x, a), (y, b))), costs)
    found = solve(x, y, a, b, compiled=compiled)
    assert found.upper == pytest.approx(expected, abs=ROUNDING(len(x), scale=costs.max()))


@RUNS
@EVERY_PROBLEM
@pytest.mark.parametrize("weighted", [False, True])
def test_plan_has_the_marginals(case, compiled, weighted):
    x, y = PROBLEMS[case]
    a, b = (
        (masses(len(x), 1), masses(len(y), 2))
        if weighted
        else (np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y)))
    )
    found = solve(x, y, *((a, b) if weighted else (None, None)), compiled=compiled)
    assert np.bincount(found.rows, found.masses, len(x)) == pytest.approx(a, abs=ROUNDING(4))
    assert np.bincount(found.columns, found.masses, len(y)) == pytest.approx(b, abs=ROUNDING(4))


@RUNS
@EVERY_PROBLEM
def test_potentials_prove_the_plan(case, compiled):
    x, y = PROBLEMS[case]
    found, costs = solve(x, y, compiled=compiled), cdist(x, y, "sqeuclidean")
    room = ROUNDING(len(x), scale=10 * costs.max())
    assert found.proven
    assert (found.f[:, None] + found.g - costs).max() <= room
    assert found.f.mean() + found.g.mean() == pytest.approx(found.upper, abs=room)
    assert found.upper - room <= found.lower <= found.upper


@RUNS
@pytest.mark.parametrize("name", GROUNDS)
def test_every_cost_is_that_of_scipy(name, compiled, emd2):
    ground, table = GROUNDS[name]
    x, y = pair(60, 50, 3)
    expected = emd2(np.ones(60), np.ones(50), table(x, y))
    found = solve(x, y, ground=ground, compiled=compiled)
    assert found.upper == pytest.approx(expected, abs=ROUNDING(60, scale=table(x, y).max()))


def test_growing_list_of_arcs_is_the_assignment_of_scipy():
    x, y = pair(1300, 1300, 6)  # starts from a quarter of the points
    costs = cdist(x, y, "sqeuclidean")
    expected = costs[linear_sum_assignment(costs)].mean()
    found = solve(x, y)
    assert found.upper == pytest.approx(expected, abs=ROUNDING(1300, scale=expected))
    assert found.upper - found.lower <= 1e-10 * found.upper


def test_clusters_of_many_points_are_those_of_pot(emd2):
    x, y = clusters(900, 5, 1), clusters(700, 5, 2)
    expected = emd2(np.ones(900), np.ones(700), cdist(x, y, "sqeuclidean"))
    found = solve(x, y)
    assert found.upper == pytest.approx(expected, abs=ROUNDING(900, scale=expected))
    assert found.upper - found.lower <= 1e-10 * found.upper


def test_threads_change_no_digit():
    x, y = pair(2500, 2500, 8)
    alone = solve(x, y)
    with executing(threads=2):
        together = solve(x, y)
    assert (alone.upper, alone.lower) == (together.upper, together.lower)
    assert SAME(alone.f, together.f)


@pytest.mark.parametrize("family", list(GROUNDS))
def test_best_arcs_are_the_smallest_of_the_matrix(family):
    ground, table = GROUNDS[family]
    x, y = pair(40, 300, 3)
    g = np.random.default_rng(1).normal(size=300)
    places, values = ground.best(x, y, g, np.full(40, np.inf), 7)
    expected = table(x, y) - g
    assert SAME(np.sort(places), np.sort(np.argsort(expected, axis=1)[:, :7].astype(np.int32)))
    assert values == pytest.approx(np.sort(expected, axis=1)[:, :7], abs=ROUNDING(3, scale=100))


def test_best_arcs_stay_below_their_limit():
    x, y = pair(40, 300, 3)
    table = cdist(x, y, "sqeuclidean")
    places, values = SQUARES.best(x, y, np.zeros(300), np.full(40, 1.0), 300)
    assert SAME((places >= 0).sum(axis=1), (table < 1.0).sum(axis=1))
    assert (values[places >= 0] < 1.0).all()


def test_unfinished_search_says_so(monkeypatch):
    monkeypatch.setattr(transport, "ROUNDS", 1)
    x, y = pair(1300, 1300, 6)
    found = solve(x, y)
    assert not found.proven
    assert found.lower < found.upper
