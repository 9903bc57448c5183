"""Mixtures reduced and merged: costs and barycentres of loops, closed forms, stored mixtures."""

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError
from divmatch.mixtures import Components, as_mixture
from divmatch.transport.mixture_barycentre import COSTS, costs
from divmatch.transport.mixture_cost import COSTS as MOVES
from divmatch.transport.mixture_cost import transported
from divmatch.transport.mixture_reduction import mixture_w2, reduced
from tests.reference import mixtures as slow
from tests.tolerances import LUCK, ROUNDING, SAME
from tests.truths.mixtures import clusters, parts, random_mixture

EVERY_COST = pytest.mark.parametrize("cost", COSTS)


def line(shares, means, variances):
    """In one column."""
    k = len(shares)
    return Components(
        np.array(shares, dtype=float),
        np.array(means, dtype=float).reshape(k, 1),
        np.array(variances, dtype=float).reshape(k, 1, 1),
    )


def stored(mixture, rows=0, name="mixture"):
    return as_mixture(*parts(mixture), rows, name)


def fewer(mixture, count, cost="kl", starts=10):
    return reduced(
        mixture, count, cost, starts=starts, steps=200, rng=lambda: np.random.default_rng(0)
    )


def in_order(mixture):
    """Components by their first mean."""
    order = np.argsort(mixture.means[:, 0])
    return Components(mixture.shares[order], mixture.means[order], mixture.covariances[order])


def codes(found):
    return {note.code for result in found.results for note in result.warnings}


# ---------------------------------------------------------------------------------------- costs


@EVERY_COST
def test_costs_are_those_of_the_formulas(cost):
    p, q = random_mixture(4, 3, seed=1), random_mixture(3, 3, seed=2)
    found = costs(p, q, cost)
    expected = [
        [slow.COSTS[cost](m1, a, m2, b) for m2, b in zip(q.means, q.covariances, strict=True)]
        for m1, a in zip(p.means, p.covariances, strict=True)
    ]
    assert found == pytest.approx(np.array(expected), rel=1e-9)


@EVERY_COST
def test_costs_are_those_of_the_transport(cost):
    p, q = random_mixture(1, 3, seed=3), random_mixture(1, 3, seed=4)
    one = MOVES[cost](p.means[0], p.covariances[0], q.means[0], q.covariances[0]).cost
    assert costs(p, q, cost)[0, 0] == pytest.approx(one, rel=1e-10)


@EVERY_COST
def test_a_gaussian_costs_nothing_from_itself(cost):
    p = random_mixture(3, 4, seed=5)
    assert np.diag(costs(p, p, cost)) == pytest.approx(np.zeros(3), abs=ROUNDING(16, scale=50))


def test_w2_of_singular_gaussians_is_a_number():
    flat = Components(np.ones(1), np.zeros((1, 2)), np.array([[[4.0, 0.0], [0.0, 0.0]]]))
    turned = Components(np.ones(1), np.zeros((1, 2)), np.array([[[0.0, 0.0], [0.0, 9.0]]]))
    assert costs(flat, turned, "w2")[0, 0] == pytest.approx(13.0, rel=1e-12)


# ------------------------------------------------------------------------------------ reduction


def test_two_gaussians_and_their_moments():
    """½ ln 2 in nats, N(0, 2)."""
    found = fewer(line([0.5, 0.5], [-1, 1], [1, 1]), 1)
    assert found.divergence == pytest.approx(0.5 * np.log(2), rel=1e-12)
    assert found.mixture.covariances.item() == pytest.approx(2.0, rel=1e-12)


def test_one_component_by_kl_has_the_moments_of_the_mixture():
    big = random_mixture(6, 3, seed=6)
    found = fewer(big, 1).mixture
    mean, spread = slow.moments(*parts(big))
    assert found.means[0] == pytest.approx(mean, rel=1e-10)
    assert found.covariances[0] == pytest.approx(spread, rel=1e-10)


def test_one_component_by_w2_is_the_barycentre():
    big = random_mixture(5, 3, seed=7)
    found = fewer(big, 1, "w2").mixture
    expected = slow.wasserstein_barycentre(big.shares, big.covariances)
    assert found.means[0] == pytest.approx(big.shares @ big.means, rel=1e-10)
    assert found.covariances[0] == pytest.approx(expected, rel=1e-6)


def test_barycentre_in_one_column_has_the_mean_standard_deviation():
    found = fewer(line([0.25, 0.75], [0, 4], [1, 9]), 1, "w2").mixture
    assert (found.means.item(), found.covariances.item()) == pytest.approx((3.0, 2.5**2))


def test_one_component_by_jeffreys_is_the_best_in_its_neighbourhood():
    big = random_mixture(4, 2, seed=8)
    found = fewer(big, 1, "jeffreys").mixture
    rng = np.random.default_rng(8)
    for _ in range(20):
        turn = np.eye(2) + 1e-3 * rng.normal(size=(2, 2))
        other = (
            found.shares,
            found.means + 1e-3 * rng.normal(size=(1, 2)),
            (turn @ found.covariances[0] @ turn.T)[None],
        )
        here = slow.divergence(parts(big), parts(found), "jeffreys")
        assert slow.divergence(parts(big), other, "jeffreys") > here


@EVERY_COST
def test_divergence_is_that_of_the_two_mixtures(cost):
    big = random_mixture(12, 2, seed=9)
    found = fewer(big, 3, cost)
    expected = slow.divergence(parts(big), parts(found.mixture), cost)
    assert found.divergence == pytest.approx(expected, rel=1e-8)


@EVERY_COST
def test_divergence_never_rises(cost):
    curve = np.array(fewer(random_mixture(40, 2, seed=10), 4, cost, starts=1).curve)
    assert len(curve) > 2
    assert np.diff(curve).max() <= ROUNDING(40, scale=curve[0])


@EVERY_COST
def test_as_many_components_as_there_are_change_nothing(cost):
    big = random_mixture(5, 2, seed=11)
    found = fewer(big, 5, cost)
    assert found.divergence == 0.0
    assert all(
        SAME(one, other) for one, other in zip(parts(found.mixture), parts(big), strict=True)
    )


@EVERY_COST
def test_copies_of_components_merge_without_loss(cost):
    big = random_mixture(3, 2, seed=12, spread=6.0)
    twice = Components(*(np.concatenate([one, one]) for one in parts(big)))
    twice = Components(twice.shares / 2, twice.means, twice.covariances)
    found = fewer(twice, 3, cost)
    assert found.divergence == pytest.approx(0.0, abs=ROUNDING(6, scale=50))
    one, other = in_order(found.mixture), in_order(big)
    for left, right in zip(parts(one), parts(other), strict=True):
        assert left == pytest.approx(right, rel=1e-9, abs=1e-9)


def test_shares_are_those_that_came_together():
    big = random_mixture(10, 2, seed=13)
    found = fewer(big, 3)
    expected = [big.shares[found.places == k].sum() for k in range(3)]
    assert found.mixture.shares == pytest.approx(np.array(expected), rel=1e-12)


def test_order_of_the_components_does_not_matter():
    big = random_mixture(20, 2, seed=14)
    places = np.repeat([[-30.0, 0.0], [30.0, 0.0], [0.0, 30.0], [0.0, -30.0]], 5, axis=0)
    big = Components(big.shares, big.means + places, big.covariances)
    turned = Components(*(one[::-1] for one in parts(big)))
    one, other = (fewer(each, 4).divergence for each in (big, turned))
    assert one == pytest.approx(other, rel=1e-9)


@EVERY_COST
def test_mw2_of_a_reduction_is_that_of_the_transport(cost):
    big = random_mixture(12, 2, seed=26)
    small = fewer(big, 4, cost).mixture
    assert mixture_w2(big, small) == pytest.approx(transported(big, small, "w2").value, rel=1e-9)


def test_mw2_of_the_hand_made_mixtures():
    p, q = line([0.5, 0.5], [-2, 2], [1, 1]), line([0.25, 0.75], [-1, 3], [4, 1])
    assert mixture_w2(p, q) == pytest.approx(7.25, rel=1e-12)


# ---------------------------------------------------------------------------------------- merge


def test_mixtures_of_shards_become_that_of_the_whole():
    rows = clusters(900, 2, [[-5, 0], [5, 1], [0, 6]], seed=15)
    rows = rows[np.random.default_rng(15).permutation(900)]
    shards = np.split(rows, [200, 500])
    fits = [divmatch.match.mixture(s, components=3, metric="none").mixture for s in shards]
    found = in_order(divmatch.match.mixture(*fits, reduce=3).mixture.components)
    whole = in_order(divmatch.match.mixture(rows, components=3, metric="none").mixture.components)
    assert found.shares == pytest.approx(whole.shares, abs=LUCK(0.01, z=2))
    assert found.means == pytest.approx(whole.means, abs=LUCK(0.02, z=2))
    assert found.covariances == pytest.approx(whole.covariances, abs=LUCK(0.05, z=2))


def test_equal_mixtures_of_shards_come_back():
    big = random_mixture(3, 2, seed=16, spread=6.0)
    found = divmatch.match.mixture(*[stored(big, rows) for rows in (10, 30, 20)], reduce=3)
    assert found.of("divergence").value == pytest.approx(0.0, abs=ROUNDING(9, scale=50))
    assert found.mixture.rows == 60


def test_shards_have_the_shares_of_their_rows():
    one, other = line([1], [0], [1]), line([1], [9], [1])
    found = divmatch.match.mixture(stored(one, 100), stored(other, 300))
    assert found.mixture.components.shares.tolist() == [0.25, 0.75]


def test_shards_without_their_rows_count_the_same_and_that_is_told():
    one, other = line([1], [0], [1]), line([1], [9], [1])
    found = divmatch.match.mixture(stored(one, 100), stored(other))
    assert found.mixture.components.shares.tolist() == [0.5, 0.5]
    assert "W56" in codes(found)


def test_rows_and_mixtures_are_merged():
    rows = clusters(60, 1, [[9]], seed=17)
    found = divmatch.match.mixture(rows, stored(line([1], [0], [1]), 20), components=1)
    assert found.mixture.components.shares.tolist() == [0.75, 0.25]
    assert found.of("after").n == (60,)


def test_singular_components_have_no_cost_in_nats():
    flat = stored(line([0.5, 0.5], [0, 1], [1, 0]))
    with pytest.raises(InconclusiveError, match="singular, and the cost kl"):
        divmatch.match.mixture(flat, reduce=1)
    assert divmatch.match.mixture(flat, reduce=1, cost="w2").of("mw2").value > 0


# ------------------------------------------------------------------------------ stored mixtures


def test_frechet_of_stored_mixtures_is_that_of_their_components():
    p, q = line([0.5, 0.5], [-2, 2], [1, 1]), line([0.25, 0.75], [-1, 3], [4, 1])
    found = divmatch.frechet(stored(p, 9), stored(q, 9), method="mixture")
    assert found.value == pytest.approx(7.25, rel=1e-12)
    assert "W60" in {note.code for note in found.warnings}


def test_a_stored_fit_gives_the_value_of_its_rows_and_no_error_of_theirs():
    x, y = clusters(80, 1, [[-3], [3]], seed=18), clusters(80, 1, [[-2], [4]], seed=19)
    fit = divmatch.match.mixture(x, components=2, metric="none").mixture
    rows, held = (divmatch.frechet(one, y, mixture=2) for one in (x, fit))
    assert held.value == pytest.approx(rows.value, rel=0.05)  # the other fit has a prior
    assert held.se < rows.se


def test_frechet_of_one_gaussian_each_is_kl():
    x, y = (stored(random_mixture(1, 3, seed=seed), 9) for seed in (20, 21))
    found = divmatch.frechet(x, y, method="mixture", mixture_cost="kl")
    p, q = x.components, y.components
    expected = slow.kullback_leibler(p.means[0], p.covariances[0], q.means[0], q.covariances[0])
    assert found.value == pytest.approx(expected, rel=1e-10)
    assert (found.unit, found.direction) == ("nats", "P||Q")


def test_gaussian_of_a_stored_mixture_has_its_moments():
    mixture = stored(random_mixture(4, 2, seed=22), 50)
    mean, spread = slow.moments(*parts(mixture.components))
    assert mixture.mean == pytest.approx(mean, rel=1e-12)
    assert mixture.covariance == pytest.approx(spread, rel=1e-12)
