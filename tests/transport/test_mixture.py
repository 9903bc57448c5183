"""Mixtures fitted, reduced and merged: scikit-learn, loops, closed forms, what must not change them."""

import doctest

import numpy as np
import pytest

import divmatch
from divmatch import mixing
from divmatch.errors import DivmatchError, InconclusiveError
from divmatch.kernels.execution import executing
from divmatch.matcher import Watch
from divmatch.mixing import Plan, mixed
from divmatch.mixture_figures import drawn
from divmatch.mixtures import Components, as_mixture
from divmatch.samples import as_samples
from divmatch.transport.mixture_barycentre import COSTS, costs
from divmatch.transport.mixture_cost import COSTS as MOVES
from divmatch.transport.mixture_cost import transported
from divmatch.transport.mixture_reduction import mixture_w2, reduced
from tests.reference import mixtures as slow
from tests.tolerances import LUCK, ROUNDING, SAME, SOLVER

STILL = 1e-7  # gain of a mean log-likelihood at which a fit stops
EVERY_COST = pytest.mark.parametrize("cost", COSTS)


def clusters(n, d, centres, seed=0, spread=1.0):
    rng = np.random.default_rng([7, seed])
    where = np.sort(rng.integers(0, len(centres), n))
    return np.asarray(centres, dtype=float)[where] + spread * rng.normal(size=(n, d))


def covariance(rng, d):
    root = rng.normal(size=(d, d))
    return root @ root.T + 0.5 * np.eye(d)


def random_mixture(k, d=2, seed=0, spread=3.0):
    rng = np.random.default_rng([8, seed])
    shares = rng.uniform(0.5, 1.5, k)
    return Components(
        shares / shares.sum(),
        spread * rng.normal(size=(k, d)),
        np.array([covariance(rng, d) for _ in range(k)]),
    )


def line(shares, means, variances):
    """In one column."""
    k = len(shares)
    return Components(
        np.array(shares, dtype=float),
        np.array(means, dtype=float).reshape(k, 1),
        np.array(variances, dtype=float).reshape(k, 1, 1),
    )


def parts(mixture):
    return mixture.shares, mixture.means, mixture.covariances


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


# ----------------------------------------------------------------------------------------- fits


def test_example_of_the_function_runs():
    assert doctest.testmod(mixing).failed == 0
    assert doctest.testmod(mixing).attempted > 0


@pytest.mark.parametrize(("d", "k"), [(1, 2), (3, 3)])
def test_fit_is_as_likely_as_that_of_scikit_learn(d, k):
    from sklearn.mixture import GaussianMixture

    rows = clusters(300, d, 3 * np.random.default_rng(6).normal(size=(k, d)), seed=1)
    peer = GaussianMixture(k, n_init=2, random_state=0, tol=1e-9, max_iter=2000, reg_covar=0)
    found = divmatch.match.mixture(rows, components=k, metric="none")
    expected = peer.fit(rows).score(rows)
    assert found.facts["fit_log_likelihood"] == pytest.approx(expected, abs=300 * SOLVER(STILL))


def test_log_likelihood_is_that_of_the_densities():
    rows = clusters(80, 2, [[-3, 0], [3, 1]], seed=2)
    weights = np.random.default_rng(2).random(80)
    found = divmatch.match.mixture(rows, components=2, weights=weights, metric="none")
    expected = slow.mean_log_likelihood(rows, weights, *parts(found.mixture.components))
    assert found.facts["fit_log_likelihood"] == pytest.approx(expected, abs=ROUNDING(80, scale=10))


def test_one_component_has_the_moments_of_the_rows():
    rows = clusters(50, 3, [[-3, 0, 1], [3, 1, 0]], seed=3)
    found = divmatch.match.mixture(rows, components=1).mixture.components
    assert found.means[0] == pytest.approx(rows.mean(axis=0), abs=ROUNDING(50, scale=5))
    assert found.covariances[0] == pytest.approx(
        np.cov(rows.T, bias=True), abs=ROUNDING(50, scale=50)
    )


def test_weights_count_as_rows_would():
    rows = clusters(60, 2, [[-3, 0], [3, 1]], seed=4)
    counts = np.repeat([1, 2, 0], 20)
    found = divmatch.match.mixture(rows, components=2, weights=counts, metric="none")
    expected = divmatch.match.mixture(np.repeat(rows, counts, axis=0), components=2, metric="none")
    assert found.facts["fit_log_likelihood"] == pytest.approx(
        expected.facts["fit_log_likelihood"], abs=60 * SOLVER(STILL)
    )
    assert (found.mixture.rows, expected.mixture.rows) == (40, 60)


def test_units_of_the_columns_do_not_matter():
    rows = clusters(100, 2, [[-3, 0], [3, 1]], seed=5)
    one, other = (
        in_order(divmatch.match.mixture(x, components=2, metric="none").mixture.components)
        for x in (rows, rows * [1e6, 1e-6] + [0, 5e-6])
    )
    assert other.means == pytest.approx(one.means * [1e6, 1e-6] + [0, 5e-6], rel=1e-7)


def test_digits_do_not_depend_on_the_threads():
    rows = clusters(3000, 4, [[-3, 0, 0, 0], [3, 1, 0, 0]], seed=6)
    found = []
    for threads in (1, 3):
        with executing(threads=threads):
            made = divmatch.match.mixture(rows, components=8, starts=1, steps=2, metric="none")
        found.append(made.mixture.components.covariances)
    assert SAME(*found)


def test_likelihood_never_falls():
    rows = clusters(200, 2, [[-1, 0], [1, 1]], seed=7)
    curve = divmatch.match.mixture(rows, components=3, metric="none").curve
    likelihoods = np.array([row["log_likelihood"] for row in curve])
    assert len(likelihoods) > 3
    assert np.diff(likelihoods).min() >= -ROUNDING(200, scale=10)


def test_held_out_likelihood_tells_that_there_are_clusters():
    found = divmatch.match.mixture(clusters(200, 1, [[-4], [4]], seed=8), components=2)
    assert found.of("gain").ci.low > 0.5
    assert found.of("after").value - found.of("before").value == pytest.approx(
        found.of("gain").value, rel=1e-12
    )


def test_held_out_likelihood_is_near_that_of_the_truth():
    """−½ ln(2πe) for a standard normal; two components can only overfit it."""
    rows = np.random.default_rng(9).normal(size=(800, 1))
    after = divmatch.match.mixture(rows, components=2).of("after")
    assert after.value == pytest.approx(-1.4189385, abs=LUCK(after.se, bias=0.02))


def test_rows_are_measured_under_fits_that_have_not_seen_them():
    """Six Gaussians for forty rows of one: likely where they were fitted, and nowhere else."""
    rows = np.random.default_rng(24).normal(size=(40, 2))
    found = divmatch.match.mixture(rows, components=6)
    assert found.of("after").value < found.facts["fit_log_likelihood"] - 1.0
    assert found.of("gain").value < 0


def test_draws_of_the_fit_are_near_the_rows():
    rows = clusters(200, 1, [[-4], [4]], seed=8)
    found = divmatch.match.mixture(rows, components=2, metric="energy")
    assert found.of("before").ci.low > 0.05
    assert found.of("after").value < 0.05
    assert found.of("gain") is None


def test_draws_have_the_moments_of_the_mixture():
    big = random_mixture(3, 2, seed=23)
    rows = drawn(big, 4000, np.random.default_rng(23))
    mean, spread = slow.moments(*parts(big))
    assert rows.mean(axis=0) == pytest.approx(mean, abs=LUCK((spread.max() / 4000) ** 0.5))
    assert np.cov(rows.T) == pytest.approx(spread, abs=LUCK(2 * spread.max() / 4000**0.5))


def test_rows_of_ones_own_are_measured_under_the_fit_to_all():
    rows, other = clusters(80, 2, [[-3, 0], [3, 1]], seed=10), clusters(30, 2, [[0, 0]], seed=11)
    found = divmatch.match.mixture(rows, components=2, held_out=other)
    expected = slow.mean_log_likelihood(other, np.ones(30), *parts(found.mixture.components))
    assert found.of("after").value == pytest.approx(expected, rel=1e-10)
    assert found.held_out == "file"


def test_collapse_is_held_back_and_told():
    """Two equal rows far out take a component of their own from every start."""
    rows = np.concatenate([np.random.default_rng(12).normal(size=(40, 2)), [[50.0, 50.0]] * 2])
    found = divmatch.match.mixture(rows, components=2, metric="none")
    assert {"W52", "W61"} <= codes(found)
    assert np.linalg.eigvalsh(found.mixture.components.covariances).min() > 0


class Stopped(Watch):
    """A fit that was stopped in a state."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    def kept(self):
        return self.state


def test_a_stopped_fit_that_collapses_begins_anew():
    rows = clusters(60, 2, [[-9, 0], [9, 1]], seed=25)
    state = {
        "part": np.array(0),
        "shares": np.array([0.5, 0.5]),
        "means": np.array([rows[0], rows[0]]) / rows.std(axis=0),
        "covariances": np.array([np.eye(2), 1e-9 * np.eye(2)]),
        "done": np.array(7),
        "prior": np.array(0.0),
    }
    plan = Plan(components=2)
    sample = [as_samples(rows, "x")]
    found = mixed(sample, plan, metric="none", watch=Stopped(state))
    expected = mixed(sample, plan, metric="none")
    assert SAME(found.mixture.components.means, expected.mixture.components.means)


def test_distinct_clusters_are_not_regularised():
    assert codes(divmatch.match.mixture(clusters(90, 2, [[-9, 0], [9, 1]]), components=2)) == set()


def test_too_few_steps_decide_no_limit():
    rows = clusters(100, 2, [[-1, 0], [1, 1]], seed=13)
    found = divmatch.match.mixture(rows, components=3, steps=2, metric="none")
    assert not found.converged
    assert "W68" in codes(found)


@pytest.mark.parametrize(
    ("rows", "components", "message"),
    [
        (np.ones((1, 2)), 1, "one row has no covariance"),
        (np.column_stack([np.arange(9.0), np.full(9, 3.0)]), 2, "constant column"),
        (np.column_stack([np.arange(9.0), np.arange(9.0)]), 2, "singular"),
        (np.arange(3.0), 5, "3 rows have fewer places than the 5 components"),
        (np.repeat([0.0, 1.0], 50), 3, "2 different rows cannot have 3 components"),
    ],
)
def test_rows_without_a_mixture_are_inconclusive(rows, components, message):
    with pytest.raises(InconclusiveError, match=message):
        divmatch.match.mixture(rows, components=components)


@pytest.mark.parametrize(
    ("inputs", "settings", "message"),
    [
        ([[0.0, np.nan, 1.0]], {"components": 1}, "x: 1 row with NaN"),
        ([[0.0, 1.0]], {}, "--components: x holds rows"),
        ([[0.0, 1.0]], {"components": 0}, "--components 0: expected a whole number"),
        ([np.eye(3)], {"components": 2, "reduce": 3}, "--reduce 3: there are 2 components"),
        ([np.eye(3), np.ones((3, 2))], {"components": 1}, "x1 has 2 columns, x0 has 3"),
        ([[0.0, 1.0]], {"components": 1, "cost": "l2"}, "--cost l2: expected one of"),
        ([[0.0, 1.0]], {"components": 1, "metric": "enrgy"}, "--metric: .*energy"),
    ],
)
def test_what_does_not_go_together_is_refused(inputs, settings, message):
    with pytest.raises(DivmatchError, match=message):
        divmatch.match.mixture(*inputs, **settings)


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
    assert mixture_w2(big, small) == pytest.approx(transported(big, small, "w2")[0], rel=1e-9)


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


@pytest.mark.slow
def test_interval_of_the_log_likelihood_holds_it():
    """Of the entropy of N(0, 1), less what a fit to so many rows loses."""
    held = 0
    for run in range(200):
        rows = np.random.default_rng([30, run]).normal(size=(400, 1))
        ci = divmatch.match.mixture(as_samples(rows, "x"), components=1).of("after").ci
        held += ci.low <= -1.4189385 - 0.005 <= ci.high
    assert held / 200 == pytest.approx(0.95, abs=LUCK((0.95 * 0.05 / 200) ** 0.5, z=3))
