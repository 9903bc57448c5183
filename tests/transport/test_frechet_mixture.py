"""Transport of Gaussian mixtures: hand-made ones, scikit-learn's fits, derivatives, intervals."""

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError
from divmatch.estimator import quantity
from divmatch.samples import as_samples
from divmatch.transport.gaussian_mixture import Mixture, fit
from divmatch.transport.mixture_cost import COSTS, transported
from tests.tolerances import LUCK, ROUNDING


def mixture(shares, means, variances):
    """In one column."""
    k = len(shares)
    return Mixture(
        np.array(shares, dtype=float),
        np.array(means, dtype=float).reshape(k, 1),
        np.array(variances, dtype=float).reshape(k, 1, 1),
        np.empty((0, k)),
        0.0,
        0.0,
    )


def clusters(n, d, centres, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    where = rng.integers(0, len(centres), n)
    return np.asarray(centres, dtype=float)[where] + spread * rng.normal(size=(n, d))


def equal(n):
    return np.full(n, 1.0 / n)


# ------------------------------------------------------------------------------------ distance


def test_hand_made_mixtures():
    p, q = mixture([0.5, 0.5], [-2, 2], [1, 1]), mixture([0.25, 0.75], [-1, 3], [4, 1])
    assert transported(p, q, "w2").value == pytest.approx(7.25, abs=ROUNDING(4, scale=20))


def test_plan_agrees_with_pot():
    ot = pytest.importorskip("ot")
    rng = np.random.default_rng(1)
    a, b = rng.random(4), rng.random(3)
    a, b = a / a.sum(), b / b.sum()
    m1, m2, v1, v2 = rng.normal(size=4), rng.normal(size=3), rng.random(4), rng.random(3)
    costs = (m1[:, None] - m2) ** 2 + (v1[:, None] ** 0.5 - v2**0.5) ** 2
    found = transported(mixture(a, m1, v1), mixture(b, m2, v2), "w2").value
    assert found == pytest.approx(ot.emd2(a, b, costs), rel=1e-9)


def test_plan_of_components_has_the_marginals_and_its_proof():
    x, y = clusters(200, 2, [[0, 0], [6, 0]]), clusters(150, 2, [[0, 1], [6, 1], [9, 9]], seed=1)
    method = quantity("frechet").chosen("mixture")
    found = method(as_samples(x, "x"), as_samples(y, "y"), mixture=3, mixture_cost="w2")
    plan = found.plan()
    held = plan.arrays()
    assert plan.total_cost == pytest.approx(found.value)
    assert plan.lower == pytest.approx(found.value)
    assert plan.costs_of(plan.pairs()) @ held["mass"] == pytest.approx(found.value)
    assert plan.marginals()[0] == pytest.approx(held["weights_p"])
    assert plan.marginals()[1] == pytest.approx(held["weights_q"])
    assert (plan.each - held["f"][:, None] - held["g"]).min() >= -1e-9
    assert held["covariances_q"].shape == (3, 2, 2)


def test_more_components_than_pairs_of_rows_are_refused_at_once():
    with pytest.raises(InconclusiveError, match="fewer than two for each of 400 components"):
        divmatch.frechet(clusters(300, 2, [[0, 0]]), clusters(300, 2, [[0, 0]]), mixture=400)


def test_missing_standard_error_of_components_alike_is_explained_once():
    x, y = (clusters(60, 1, [[0]], seed=seed) for seed in (0, 50))
    found = divmatch.frechet(x, y, mixture=2)
    assert found.se is None
    assert "W10" not in {note.code for note in found.warnings}


def test_jeffreys_cost_of_two_gaussians():
    """½ [(v₁/v₂ + v₂/v₁) − 2 + Δ² (1/v₁ + 1/v₂)]."""
    found = transported(mixture([1], [0], [2]), mixture([1], [3], [5]), "jeffreys").value
    assert found == pytest.approx(0.5 * (0.4 + 2.5 - 2 + 9 * 0.7), abs=ROUNDING(4, scale=20))


@pytest.mark.parametrize("cost", COSTS)
def test_derivatives_are_those_of_finite_differences(cost):
    rng = np.random.default_rng(2)

    def covariance():
        root = rng.normal(size=(3, 3)) + 2 * np.eye(3)
        return root @ root.T

    m1, m2, a, b = rng.normal(size=3), rng.normal(size=3), covariance(), covariance()
    step, move = 1e-5, COSTS[cost](m1, a, m2, b)
    turn = rng.normal(size=(3, 3))
    turn = turn + turn.T
    for of, derivative in (
        (lambda t: COSTS[cost](m1 + t * turn[0], a, m2, b).cost, move.mean @ turn[0]),
        (lambda t: COSTS[cost](m1, a + t * turn, m2, b).cost, np.sum(move.first * turn)),
        (lambda t: COSTS[cost](m1, a, m2, b + t * turn).cost, np.sum(move.second * turn)),
    ):
        assert (of(step) - of(-step)) / (2 * step) == pytest.approx(derivative, rel=1e-6, abs=1e-7)


def test_one_component_is_the_plug_in_with_covariances_over_n():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(50, 2)), rng.normal(size=(40, 2)) * 1.4 + 1
    found = divmatch.frechet(x, y, mixture=1).value
    (m1, a), (m2, b) = ((rows.mean(axis=0), np.cov(rows.T, bias=True)) for rows in (x, y))
    assert found == pytest.approx(COSTS["w2"](m1, a, m2, b).cost, rel=1e-12)


def test_shift_of_all_components_is_the_shift_squared():
    x = clusters(300, 2, [[-3, 0], [3, 1], [0, 5]], seed=4)
    found = divmatch.frechet(x, x + np.array([3.0, 4.0]), mixture=3)
    assert found.value == pytest.approx(25.0, rel=1e-9)


def test_mixture_is_told_from_the_gaussian_of_its_moments():
    rng = np.random.default_rng(5)
    x = clusters(800, 1, [[-2], [2]], seed=5)
    y = rng.normal(size=(800, 1)) * 5**0.5
    assert abs(divmatch.frechet(x, y).value) < 0.1
    assert divmatch.frechet(x, y, mixture=2).value > 0.3


# ----------------------------------------------------------------------------------------- fit


@pytest.mark.parametrize(("d", "k"), [(1, 2), (2, 3), (5, 4)])
def test_fit_is_as_likely_as_that_of_scikit_learn(d, k):
    from sklearn.mixture import GaussianMixture

    centres = 3 * np.random.default_rng(6).normal(size=(k, d))
    rows = clusters(500, d, centres, seed=7)
    rows /= rows.std(axis=0)
    peer = GaussianMixture(k, n_init=3, random_state=0, tol=1e-6, max_iter=500).fit(rows)
    found = fit(rows, equal(500), k, "x").log_likelihood
    assert found == pytest.approx(peer.score(rows), abs=0.01)  # the prior costs a little


def test_weights_count_as_rows_would():
    rows = clusters(60, 2, [[-3, 0], [3, 1]], seed=8)
    weights = np.repeat([1.0, 2.0], 30)
    found = fit(rows, weights / weights.sum(), 2, "x")
    expected = fit(np.concatenate([rows, rows[30:]]), equal(90), 2, "x")
    assert np.sort(found.shares) == pytest.approx(np.sort(expected.shares), abs=1e-3)


def test_scale_of_a_column_does_not_matter_to_the_fit():
    rows = clusters(200, 2, [[-3, 0], [3, 1]], seed=9)
    found, expected = fit(rows * [1e6, 1e-6], equal(200), 2, "x"), fit(rows, equal(200), 2, "x")
    shares, means = (np.sort(f, axis=0) for f in (found.shares, found.means))
    assert shares == pytest.approx(np.sort(expected.shares), rel=1e-9)
    assert means == pytest.approx(np.sort(expected.means, axis=0) * [1e6, 1e-6], rel=1e-9)


def test_few_rows_of_a_component_are_told():
    rows = np.concatenate([clusters(60, 2, [[0, 0]], seed=10), [[50.0, 50.0], [50.1, 50.2]]])
    found = divmatch.frechet(rows, clusters(60, 2, [[0, 0]], seed=11), mixture=2)
    assert "W61" in {note.code for note in found.warnings}


# ---------------------------------------------------------------------------------- influences


@pytest.mark.parametrize("cost", COSTS)
def test_influences_are_derivatives_by_the_weights(cost):
    """Of the refitted number, with one row's weight moved a little."""
    x = clusters(200, 2, [[-3, 0], [3, 1]], seed=12)
    y = clusters(150, 2, [[-2, 0], [3, 3]], seed=13, spread=1.2)
    method = quantity("frechet").methods["mixture"]
    settings = method.checked({"mixture": 2, "mixture_cost": cost})
    terms = method(as_samples(x, "x"), as_samples(y, "y"), **settings).terms_x
    step, found = 2e-3, []
    for i in range(5):
        values = []
        for t in (step, -step):
            weights = np.full(200, (1 - t) / 200)
            weights[i] += t
            values.append(method(as_samples(x, "x", weights), as_samples(y, "y"), **settings).value)
        found.append((values[0] - values[1]) / (2 * step))
    assert found == pytest.approx((terms - terms.mean())[:5], rel=0.05, abs=0.03 * terms.std())


@pytest.mark.slow
def test_interval_holds_the_distance():
    held = 0
    for run in range(200):
        x = clusters(500, 1, [[-2], [2]], seed=[run, 0])
        y = clusters(500, 1, [[-1.5], [3]], seed=[run, 1], spread=1.2)
        ci = divmatch.frechet(x, y, mixture=2).ci
        held += ci.low <= (0.25 + 1.0) / 2 + 0.04 <= ci.high
    assert held / 200 == pytest.approx(0.95, abs=LUCK((0.95 * 0.05 / 200) ** 0.5, z=3))


def test_permutations_see_another_share():
    x = clusters(80, 1, [[-3], [-3], [-3], [3]], seed=14)
    y = clusters(80, 1, [[-3], [3], [3], [3]], seed=15)
    assert divmatch.frechet(x, y, mixture=2, permutations=39).test.p_value <= 0.05


def test_components_that_are_not_there_leave_no_standard_error():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(500, 16)), rng.normal(size=(400, 16)) * 1.1 + 0.1
    found = divmatch.frechet(x, y, mixture=2)
    assert found.se is None
    assert "W18" in {note.code for note in found.warnings}
