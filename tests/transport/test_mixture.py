"""Mixtures fitted: scikit-learn, densities in loops, what must not change them, what is refused."""

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
from divmatch.mixtures import Components
from divmatch.samples import as_samples
from tests.reference import mixtures as slow
from tests.tolerances import LUCK, ROUNDING, SAME, SOLVER
from tests.truths.mixtures import clusters, parts, random_mixture

STILL = 1e-7  # gain of a mean log-likelihood at which a fit stops


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


@pytest.mark.slow
def test_interval_of_the_log_likelihood_holds_it():
    """Of the entropy of N(0, 1), less what a fit to so many rows loses."""
    held = 0
    for run in range(200):
        rows = np.random.default_rng([30, run]).normal(size=(400, 1))
        ci = divmatch.match.mixture(as_samples(rows, "x"), components=1).of("after").ci
        held += ci.low <= -1.4189385 - 0.005 <= ci.high
    assert held / 200 == pytest.approx(0.95, abs=LUCK((0.95 * 0.05 / 200) ** 0.5, z=3))
