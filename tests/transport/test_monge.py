"""The Monge gap of maps, and the map that is fitted with it."""

import numpy as np
import pytest

import divmatch
from divmatch.matcher import Watch, task
from divmatch.samples import as_samples
from divmatch.transport import map_monge
from divmatch.transport.monge_gap import MOST, monge_gap
from divmatch.transport.problem import Support
from tests.reference.flows import slopes
from tests.tolerances import LUCK, ROUNDING


def fit(x, y, method="monge", **options):
    return divmatch.match.map(x, y, method=method, metric="none", **options)


def rows(n, d, seed=0):
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


def weights(n, seed=0):
    return np.random.default_rng([seed, n]).random(n) + 0.1


# ------------------------------------------------------------------------------------- Monge gap


def gap(x, moved, **options):
    return monge_gap(as_samples(x, "x", **options), moved, "sqeuclidean")


@pytest.mark.parametrize(
    "matrix", [np.eye(2), np.diag([3.0, 0.0]), np.array([[2.0, 0.5], [0.5, 1.0]])]
)
def test_gap_of_the_gradient_of_a_convex_function_is_zero(matrix):
    x = rows(200, 2)
    assert gap(x, x @ matrix + 4).value == 0.0


def test_gap_is_that_of_an_assignment():
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    x = rows(60, 3)
    moved = x[::-1] + rows(60, 3, 1)
    costs = cdist(x, moved) ** 2
    least = costs[linear_sum_assignment(costs)].mean()
    assert gap(x, moved).value == pytest.approx(np.diag(costs).mean() - least, abs=1e-12)


def test_gap_of_weighted_rows_is_that_of_pot():
    import ot

    x, moved, a = rows(30, 2), rows(30, 2, 1) * 2, weights(30)
    costs, a = ot.dist(x, moved), a / a.sum()
    expected = np.diag(costs) @ a - ot.emd2(a, a, costs)
    assert gap(x, moved, weights=a).value == pytest.approx(expected, abs=1e-12)


def test_gap_of_two_rows_that_change_places():
    found = gap([[0.0], [1.0]], np.array([[1.0], [0.0]]), weights=[3.0, 1.0])
    assert found.cost == pytest.approx(1.0)
    assert found.value == pytest.approx(0.5)  # a quarter would have stayed, and half must go


@pytest.mark.slow
def test_gap_of_a_rotation_is_its_closed_form():
    rng = np.random.default_rng(5)
    turn = np.array([[0.5, -np.sqrt(0.75)], [np.sqrt(0.75), 0.5]])
    for root_, truth in (
        ([[1, 0], [0, 1]], 2.0),
        ([[2**0.5, 0], [8**-0.5, 0.875**0.5]], 2.477225575),
    ):
        found = []
        for _ in range(12):
            x = rng.normal(size=(2500, 2)) @ np.array(root_).T
            found.append(gap(x, x @ turn.T).value)
        se = np.std(found) / 12**0.5
        assert abs(np.mean(found) - truth) < LUCK(se, bias=0.03)


def test_gap_of_many_rows_says_what_it_comes_from():
    x = rows(MOST + 100, 1)
    found = divmatch.match.map(x, x + 1, method="quantile", metric="none")
    assert [note.code for note in found.fit.notes] == ["W50"]
    assert found.fit.facts["monge_gap"] == 0.0


def test_map_that_folds_has_a_gap_and_says_so():
    x = rows(100, 1)
    assert gap(x, np.abs(x)).value > 0.1


# ------------------------------------------------------------------------------------------ monge


@pytest.mark.parametrize("penalty", [0.0, 0.5, 1.0])
def test_gradient_of_the_objective_is_its_slope(penalty):
    p, q = (Support.of(as_samples(z, "z")) for z in (rows(5, 2), rows(6, 2, 1) + 0.5))

    def objective():
        return map_monge.Objective(p, q, 0.5, penalty)

    at = rows(5, 2, 2)
    found = objective().at(at)[1]
    expected = slopes(lambda z: objective().at(np.array(z))[0], at.tolist())
    assert found == pytest.approx(np.array(expected), abs=1e-4)


def test_objective_is_the_divergence_and_the_gap():
    x, y, t = rows(20, 2), rows(25, 2, 1), rows(20, 2, 2)
    p, q = (Support.of(as_samples(z, "z")) for z in (x, y))
    value = map_monge.Objective(p, q, 0.5, 0.7).at(t)[0]

    def sinkhorn(u, v):
        return divmatch.sinkhorn(u, v, eps="abs:0.5").value

    expected = sinkhorn(t, y) + 0.7 * (np.sum((t - x) ** 2) / 20 - sinkhorn(t, x))
    assert value == pytest.approx(expected, abs=1e-5)


def test_affine_map_between_gaussians_is_the_closed_form():
    first = np.array([[1.0, 0.3], [0.3, 0.5]])
    x = rows(100, 2)
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    y = x @ first
    found = fit(x, y, "monge", features=0, eps=0.01)  # whose square is what debiasing leaves
    assert found.points == pytest.approx(y, abs=0.01)
    assert found.fit.facts["monge_gap"] == 0.0


def test_penalty_keeps_the_map_from_turning():
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = np.c_[np.cos(angles), np.sin(angles)] + 0.05 * rows(60, 2)
    found = [fit(x, 2 * x, "monge", penalty=p, steps=40).fit.facts["monge_gap"] for p in (0, 1)]
    assert found[1] <= found[0] + 1e-9
    assert found[1] < 1e-3


def test_fit_goes_on_from_what_was_kept():
    class Kept(Watch):
        def __init__(self, state=None):
            super().__init__()
            self.state = state

        def kept(self):
            return self.state

        def keep(self, state):
            self.state = state()

    matcher = task("map").methods["monge"]
    x, y = (as_samples(z, "z") for z in (rows(40, 2), rows(40, 2, 1) ** 2))
    settings = matcher.checked({"steps": 40})
    first, whole = Kept(), Kept()
    rng = np.random.default_rng
    matcher(x, y, **{**settings, "steps": 3}, rng=rng(0), watch=first)
    done = matcher(x, y, **settings, rng=rng(0), watch=whole)
    again = Kept(first.state)
    resumed = matcher(x, y, **settings, rng=rng(0), watch=again)
    assert [row["iteration"] for row in again.curve[:4]] == [1, 2, 3, 4]
    assert again.curve[:3] == whole.curve[:3]
    objectives = [one.facts["objective"] for one in (resumed, done)]
    assert objectives[0] == pytest.approx(objectives[1], rel=0.05)


def test_rounding_is_no_gap_far_from_zero():
    x = rows(50, 2) + 1e8
    assert gap(x, 2 * x).value <= ROUNDING(50, scale=1e16)


@pytest.mark.parametrize("spread", [0.0, 1e-17, 1e-300])
def test_rows_without_a_spread_of_their_own_are_one_place(spread):
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(12, 2)), spread * rng.normal(size=(10, 2))
    found = divmatch.match.map(x, y, method="monge", metric="none")
    assert found.converged
    assert found.points.mean(axis=0) == pytest.approx([0.0, 0.0], abs=1e-3)
