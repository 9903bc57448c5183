"""Mutual information and Wasserstein dependence against loops, closed forms and POT."""

import math
from dataclasses import replace

import numpy as np
import pytest

import divmatch
from divmatch.errors import InconclusiveError, SampleError, SettingError
from divmatch.estimator import quantity
from divmatch.estimators.column_groups import groups_of
from divmatch.estimators.wasserstein_dependence import Rows, _Problem
from divmatch.randomness import stream
from divmatch.samples import as_samples
from tests.reference import transport as reference
from tests.reference.mutual_information import terms
from tests.tolerances import LUCK, ROUNDING

METHODS = pytest.mark.parametrize("method", ["ksg", "gao", "wasserstein", "wasserstein-gaussian"])
DISTANCES = pytest.mark.parametrize("distance", ["cityblock", "euclidean", "sliced"])


def generator(*seed):
    return np.random.default_rng(seed)


def gaussian(n, rho, *seed):
    """Rows of a bivariate normal with variances 1."""
    x, noise = generator(*seed, n).normal(size=(2, n))
    return np.column_stack([x, rho * x + (1 - rho**2) ** 0.5 * noise])


def information(rho):
    return -0.5 * math.log(1 - rho**2)


def plain(method, rows, weights=None, **given):
    """The estimate without its interval."""
    estimator = quantity("mi").chosen(method)
    return estimator(as_samples(rows, "x", weights), **estimator.checked(given)).value


def codes(found):
    return [note.code for note in found.warnings]


# ------------------------------------------------------------------------------------- neighbours


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize(("method", "digits"), [("ksg", None), ("gao", None), ("gao", 0)])
def test_value_is_the_plain_loop(method, digits, k):
    rows = generator(1).normal(size=(40, 3)) @ [[1, 0.7, 0], [0, 1, 0], [0, 0, 1]]
    rows = rows if digits is None else np.round(rows, digits)
    x, y = rows[:, :1].tolist(), rows[:, 1:].tolist()
    expected = np.mean(terms(x, y, k, mixed=method == "gao"))
    found = divmatch.mi(rows, x="0", y="1,2", k=k, method=method).value
    assert found == pytest.approx(expected, abs=ROUNDING(40, scale=20))


@pytest.mark.parametrize("method", ["ksg", "gao"])
@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_gaussian_columns_have_their_closed_form(method, rho):
    found = [plain(method, gaussian(1000, rho, s)) for s in range(20)]
    assert np.mean(found) == pytest.approx(
        information(rho), abs=LUCK(np.std(found) / 20**0.5, z=4, bias=0.01)
    )


def test_mixture_of_discrete_and_continuous():
    """X on 0 … 4, Y uniform on [X, X + 2]: ln 5 − 4/5 ln 2."""
    rng = generator(2)
    x = rng.integers(0, 5, 2000)
    found = plain("gao", np.column_stack([x, rng.uniform(x, x + 2)]))
    assert found == pytest.approx(math.log(5) - 0.8 * math.log(2), abs=LUCK(0.015))


def test_equal_discrete_columns_have_their_entropy():
    x = generator(3).integers(0, 4, 2000)
    shares = np.bincount(x) / 2000
    found = plain("gao", np.column_stack([x, x]))
    assert found == pytest.approx(-shares @ np.log(shares), abs=0.002)


def test_several_columns_add_what_is_independent():
    """Two pairs that depend in themselves alone: the sum of both."""
    one, other = gaussian(1500, 0.7, 4), gaussian(1500, 0.5, 5)
    found = plain("ksg", np.column_stack([one, other]), x="0,2", y="1,3")
    expected = information(0.7) + information(0.5)
    assert found == pytest.approx(expected, abs=LUCK(0.03, z=3, bias=0.05))


@pytest.mark.parametrize("method", ["ksg", "gao"])
def test_weights_make_another_distribution(method):
    """ρ = 0.3 by the density ratio from ρ = 0.6."""
    rows = gaussian(3000, 0.6, 6)

    def log_density(rho):
        x, y = rows.T
        return -(x * x - 2 * rho * x * y + y * y) / (2 * (1 - rho**2)) - 0.5 * math.log(1 - rho**2)

    weights = np.exp(log_density(0.3) - log_density(0.6))
    assert plain(method, rows, weights) == pytest.approx(information(0.3), abs=LUCK(0.02, z=3))
    assert plain(method, rows) == pytest.approx(information(0.6), abs=LUCK(0.012, z=3))


@pytest.mark.parametrize("method", ["ksg", "gao"])
def test_equal_weights_change_nothing(method):
    rows = gaussian(80, 0.5)
    expected = pytest.approx(plain(method, rows), abs=ROUNDING(80, scale=20))
    assert plain(method, rows, np.ones(80)) == expected


def test_copies_are_refused_or_warned_of():
    rows = gaussian(60, 0.5)
    with pytest.raises(SampleError, match=r"6 of 65 rows have 5 copies or more .* --method gao"):
        divmatch.mi(np.vstack([rows, rows[:1].repeat(5, axis=0)]))
    assert "W03" in codes(divmatch.mi(np.vstack([rows, rows[:2]])))


def test_a_function_of_the_other_column_may_be_infinite():
    x = generator(7).normal(size=300)
    assert "W02" in codes(divmatch.mi(np.column_stack([x, 2 * x])))
    assert "W02" not in codes(divmatch.mi(gaussian(300, 0.9)))


@METHODS
def test_constant_group_depends_on_nothing(method):
    rows = gaussian(50, 0.5) * [1.0, 0.0]
    found = divmatch.mi(rows, method=method, permutations=19)
    assert (found.value, found.test.p_value, codes(found)[0]) == (0.0, 1.0, "W33")


@METHODS
def test_weights_have_no_permutations(method):
    with pytest.raises(SettingError, match="mi: rows with weights have no permutations"):
        divmatch.mi(gaussian(30, 0.5), weights=np.arange(1, 31), method=method, permutations=9)


def test_too_few_rows_are_inconclusive():
    with pytest.raises(InconclusiveError, match="at least 6"):
        divmatch.mi(gaussian(5, 0.5))


def test_columns_are_asked_for_by_the_name_of_the_command():
    with pytest.raises(SettingError, match="mi: give --x and --y, x has 3 columns"):
        divmatch.mi(generator(8).normal(size=(30, 3)))
    with pytest.raises(SettingError, match="mi: column '0' is in two groups"):
        divmatch.mi(gaussian(30, 0.5), x="0", y="0")


# ------------------------------------------------------------------------------------- Wasserstein


def value_with(order, rows, distance, **settings):
    """The plan's statistic of one order of y."""
    estimator = quantity("mi").chosen("wasserstein")
    checked = estimator.checked({"distance": distance, **settings}) | {"rng": stream(0, "test")}
    plan = estimator.plan(as_samples(rows, "x"), **checked)
    return plan.statistic(np.asarray(order)[:, None])[0]


@pytest.mark.parametrize("distance", ["cityblock", "euclidean"])
def test_distance_to_a_pairing_is_the_cheapest_of_all(distance):
    """Statistics of two orders differ by the mean distances to the same pairings."""
    rows = gaussian(6, 0.5)
    sample = as_samples(rows, "x")
    held = Rows(sample, groups_of(sample, None, None))
    problem = _Problem(held, distance, 3, 2, generator(1))
    cost = getattr(reference, distance)
    expected = [
        reference.cheapest(rows.tolist(), p.points.tolist(), cost) for p in problem.pairings
    ]
    assert problem.estimate().means == pytest.approx(expected, abs=ROUNDING(6, scale=10))


@DISTANCES
@pytest.mark.parametrize("weighted", [False, True])
def test_pairings_have_the_marginals_of_the_sample(distance, weighted):
    w = generator(2).random(20) if weighted else None
    sample = as_samples(gaussian(20, 0.5), "x", w)
    problem = _Problem(Rows(sample, groups_of(sample, None, None)), distance, 2, 2, generator(1))
    for one in problem.pairings:
        for places in (one.rows, one.columns):
            masses = np.bincount(places, one.masses, minlength=20)
            assert masses == pytest.approx(sample.masses(), abs=ROUNDING(20))


def test_equal_signs_are_one_apart():
    """X = Y uniform on {−1, 1}, Σ |difference|: half of the mass moves by 2."""
    rows = np.repeat([[-1.0, -1.0], [1.0, 1.0]], 200, axis=0)
    found = divmatch.mi(rows, method="wasserstein", references=20)
    assert found.value == pytest.approx(1.0, abs=LUCK(found.error["monte_carlo_se"], bias=0.03))
    assert found.unit == "data unit"


@DISTANCES
def test_independent_columns_are_at_distance_zero(distance):
    estimator, found = quantity("mi").chosen("wasserstein"), []
    checked = estimator.checked({"distance": distance, "references": 3, "projections": 12})
    for seed in range(20):
        rows = as_samples(gaussian(50, 0.0, seed), "x")
        found.append(estimator(rows, **checked, rng=stream(seed, "test")).value)
    assert np.mean(found) == pytest.approx(0.0, abs=LUCK(np.std(found) / 20**0.5, z=4))


@DISTANCES
def test_plan_is_the_estimate_of_each_order(distance):
    rows = gaussian(40, 0.6)
    for seed in range(3):
        order = generator(seed).permutation(40)
        moved = np.column_stack([rows[:, 0], rows[order, 1]])
        found = value_with(order, rows, distance, projections=8)
        own = value_with(np.arange(40), moved, distance, projections=8)
        assert found == pytest.approx(own, abs=ROUNDING(40, scale=10))


@pytest.mark.parametrize("distance", ["cityblock", "sliced"])
def test_influence_is_the_change_by_a_row(distance):
    """A row's weight moves its mass and that of all pairs it takes part in.

    Masses of pairs add up to those of rows, so that the slopes to both sides differ.
    """
    sample = as_samples(gaussian(25, 0.6), "x", generator(5).random(25))
    groups, a, step = groups_of(sample, None, None), sample.masses(), 1e-6
    problem = _Problem(Rows(sample, groups), distance, 2, 5, generator(1))

    def value(size):
        change = -size * np.ones(25)
        change[3] += size / a[3]
        moved = replace(sample, weights=a * (1 + change), _derived={})
        other = _Problem(Rows(moved, groups), distance, 2, 5, generator(1))
        other.pairings = [
            replace(p, masses=p.masses * (1 + change[p.rows] + change[p.columns]))
            for p in problem.pairings
        ]
        return other.estimate().means.mean()

    slopes = [(value(size) - value(0.0)) / size for size in (step, -step)]
    influence = problem.estimate().influence[3]
    assert min(slopes) - 10 * step <= influence <= max(slopes) + 10 * step
    assert max(slopes) - min(slopes) < 1.0


def test_many_rows_are_sliced_and_said():
    rows = gaussian(1001, 0.5)
    found = divmatch.mi(rows, method="wasserstein", projections=8, references=2)
    assert (found.params["distance"], codes(found)) == ("sliced", ["W54"])
    named = divmatch.mi(rows, method="wasserstein", projections=8, references=2, distance="sliced")
    assert (named.value, codes(named)) == (found.value, [])


# ---------------------------------------------------------------------------------------- Gaussian


@pytest.mark.parametrize("rho", [0.6, 0.8, 1.0])
def test_gaussian_form_of_two_columns(rho):
    """Rows with the covariance [[1, ρ], [ρ, 1]] exactly."""
    root = (
        np.linalg.cholesky([[1.0, rho], [rho, 1.0 + 1e-300]])
        if rho < 1
        else np.ones((2, 1)) @ [[1, 0]]
    )
    circle = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * (3 / 4) ** 0.5
    found = divmatch.mi(circle @ root.T, method="wasserstein-gaussian").value
    expected = 4 - 2 * ((1 + rho) ** 0.5 + (1 - rho) ** 0.5)
    assert found == pytest.approx(expected, abs=ROUNDING(4, scale=10))
    if rho == 0.6:
        assert found == pytest.approx(0.2052668078, abs=1e-9)


def test_gaussian_form_is_the_bures_distance_of_pot():
    from ot.gaussian import bures_wasserstein_distance

    rows = generator(9).normal(size=(50, 5)) @ generator(10).normal(size=(5, 5))
    whole = np.cov(rows.T)
    parts = whole.copy()
    parts[:2, 2:] = parts[2:, :2] = 0
    expected = bures_wasserstein_distance(np.zeros(5), np.zeros(5), whole, parts) ** 2
    found = divmatch.mi(rows, x="0,1", method="wasserstein-gaussian").value
    assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("wide", [False, True])
def test_gaussian_influence_is_the_change_by_a_row(wide):
    """Of the value with the covariance that divides by the whole mass."""
    rows = generator(11).normal(size=(6 if wide else 40, 8 if wide else 3))
    rows[:, 0] += rows[:, -1]
    estimator = quantity("mi").chosen("wasserstein-gaussian")

    def value(w):
        found = estimator(as_samples(rows, "x", w), x="0,1", y=None)
        return found.value * (1 - w @ w), found

    a = generator(12).random(len(rows)) + 0.5
    a /= a.sum()
    step = 1e-6
    more = a * (1 - step)
    more[2] += step
    before, found = value(a)
    change = (value(more)[0] - before) / step
    assert change == pytest.approx(found.terms_x[2] * (1 - a @ a), rel=1e-3, abs=1e-4)


# ------------------------------------------------------------------------------------------ tests


@METHODS
def test_permutations_find_a_dependence(method):
    given = {"distance": "sliced", "projections": 8} if method == "wasserstein" else {}
    found = divmatch.mi(gaussian(150, 0.8), method=method, permutations=39, **given)
    assert found.test.p_value == 1 / 40


@pytest.mark.slow
@METHODS
def test_p_values_are_uniform_at_independence(method):
    given = {"distance": "sliced", "projections": 8} if method == "wasserstein" else {}
    found = [
        divmatch.mi(gaussian(40, 0.0, s), method=method, permutations=19, seed=s, **given)
        for s in range(300)
    ]
    p = np.array([one.test.p_value for one in found])
    for level in (0.05, 0.25, 0.5):
        se = (level * (1 - level) / 300) ** 0.5
        assert np.mean(p <= level + 1e-9) == pytest.approx(level, abs=LUCK(se, z=4))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "rho", "n"),
    [
        ("ksg", 0.0, 500),
        ("ksg", 0.6, 500),
        ("ksg", 0.9, 500),
        ("gao", 0.6, 500),
        ("wasserstein-gaussian", 0.6, 400),
    ],
)
def test_interval_covers(method, rho, n):
    truth = information(rho)
    if method == "wasserstein-gaussian":
        truth = 4 - 2 * ((1 + rho) ** 0.5 + (1 - rho) ** 0.5)
    held = 0
    for seed in range(300):
        ci = divmatch.mi(gaussian(n, rho, seed), method=method, seed=seed).ci
        held += ci.low <= truth <= ci.high
    assert 0.92 <= held / 300 <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("distance", "n"), [("cityblock", 100), ("sliced", 500)])
def test_interval_of_wasserstein_covers_the_mean(distance, n):
    given = {"method": "wasserstein", "distance": distance, "projections": 20}
    found = [divmatch.mi(gaussian(n, 0.6, s), seed=s, **given) for s in range(200)]
    mean = np.mean([one.value for one in found])
    held = np.mean([one.ci.low <= mean <= one.ci.high for one in found])
    assert 0.91 <= held <= 0.99
