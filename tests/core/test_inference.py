"""Inference: permutation p-values and intervals against plain formulas, whatever the estimator."""

import math
from dataclasses import replace
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest

import divmatch
from divmatch.errors import DivmatchError, InconclusiveError, SampleError, SettingError
from divmatch.estimator import Estimate, Pooled, influence_se, quantity
from divmatch.inference import in_bits, infer
from divmatch.intervals import (
    Subsampled,
    added,
    extrapolated,
    normal_quantile,
    of_share,
    subsampled,
)
from divmatch.kernels.execution import executing
from divmatch.permutations import permutation_test
from divmatch.record import Interval, Test
from divmatch.samples import Samples, as_samples
from tests.reference import inference as reference
from tests.reference.energy import energy as plain_energy
from tests.reference.mmd import mmd2 as plain_mmd2
from tests.tolerances import LUCK, ROUNDING, SAME

SETTINGS = {"energy": {"power": 1.0}, "mmd": {"kernel": "gaussian", "bandwidth": 1.0}}


def pair(seed, n=6, m=5, d=2, shift=0.5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) + shift


def permuted(name, x, y, method=None, a=None, b=None, **options):
    """The permutation test of a quantity."""
    chosen = quantity(name).chosen(method)
    wanted = SETTINGS.get(name) or chosen.checked({})
    return permutation_test(chosen, as_samples(x, "x", a), as_samples(y, "y", b), wanted, **options)


def watched(estimator):
    """The estimator, and the pools and labels that its plan is given."""
    seen = {"labels": []}

    def plan(pool, **settings):
        made = estimator.plan(pool, **settings)

        def statistic(labels):
            seen["labels"].append(labels.copy())
            return made.statistic(labels)

        seen["pool"] = pool
        return Pooled(statistic, made.rounding)

    return replace(estimator, _plan=[plan]), seen


def all_labels(seen):
    """Observed labels, and the permuted ones one a row."""
    observed, *permuted = np.concatenate(seen["labels"], axis=1).T
    return observed, np.array(permuted)


# ------------------------------------------------------------------------------ permutations


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("method", ["u", "v"])
@pytest.mark.parametrize("name", ["energy", "mmd"])
def test_p_value_is_that_of_the_loops_with_the_same_labels(name, method, weighted):
    x, y = pair(1)
    a, b = ([1, 2, 3, 1, 2, 3], [2, 1, 1, 2, 1]) if weighted else (None, None)
    estimator, seen = watched(quantity(name).chosen(method))
    left, right = as_samples(x, "x", a), as_samples(y, "y", b)
    found = permutation_test(estimator, left, right, SETTINGS[name], permutations=60)
    observed, labels = all_labels(seen)
    rows, masses = seen["pool"].points.tolist(), seen["pool"].masses()
    loops = {"energy": plain_energy, "mmd": plain_mmd2}[name]

    def value(labels):
        parts = [[row for row, inside in zip(rows, labels, strict=True) if inside == side] for side in (True, False)]  # fmt: skip
        shares = [(masses[labels == side] / masses[labels == side].sum()).tolist() for side in (True, False)]  # fmt: skip
        return loops(*parts, *shares, unbiased=method == "u")

    expected = reference.p_value(value(observed), [value(row) for row in labels], ROUNDING(11))
    assert found.p_value == expected


def test_observed_labels_are_those_of_the_two_samples():
    x, y = pair(2)
    estimator, seen = watched(quantity("energy").chosen("u"))
    permutation_test(
        estimator, as_samples(x, "x"), as_samples(y, "y"), SETTINGS["energy"], permutations=1
    )
    observed, _ = all_labels(seen)
    assert sorted(seen["pool"].points[observed].tolist()) == sorted(x.tolist())


def test_pool_is_not_in_the_order_of_the_samples():
    estimator, seen = watched(quantity("energy").chosen("u"))
    x, y = (as_samples(rows, "x") for rows in pair(3, 30, 30))
    permutation_test(estimator, x, y, SETTINGS["energy"], permutations=1)
    assert not SAME(all_labels(seen)[0], np.arange(60) < 30)


def test_every_split_has_as_many_rows_of_the_first_sample():
    estimator, seen = watched(quantity("energy").chosen("u"))
    x, y = (as_samples(rows, "x") for rows in pair(4))
    permutation_test(estimator, x, y, SETTINGS["energy"], permutations=50)
    assert (all_labels(seen)[1].sum(axis=1) == 6).all()


def test_every_row_is_in_the_first_sample_equally_often():
    estimator, seen = watched(quantity("energy").chosen("u"))
    x, y = (as_samples(rows, "x") for rows in pair(5))
    permutation_test(estimator, x, y, SETTINGS["energy"], permutations=3000)
    share = all_labels(seen)[1].mean(axis=0)
    se = (6 / 11 * 5 / 11 / 3000) ** 0.5
    assert share == pytest.approx(np.full(11, 6 / 11), abs=LUCK(se))


def test_rows_keep_their_weights():
    x, y = pair(6)
    a, b = [1, 2, 3, 4, 5, 6], [7, 1, 1, 1, 1]
    estimator, seen = watched(quantity("energy").chosen("u"))
    left, right = as_samples(x, "x", a), as_samples(y, "y", b)
    permutation_test(estimator, left, right, SETTINGS["energy"], permutations=1)
    pool = seen["pool"]
    carried = {
        row: mass for (row, _), mass in zip(pool.points.tolist(), pool.masses(), strict=True)
    }
    ratios = [carried[x[i, 0]] / (a[i] / 21 * 6) for i in range(6)]
    ratios += [carried[y[j, 0]] / (b[j] / 11 * 5) for j in range(5)]
    assert ratios == pytest.approx([1 / 11] * 11, abs=ROUNDING(11))


@pytest.mark.parametrize(("n", "m"), [(3, 3), (2, 5), (4, 3)])
@pytest.mark.parametrize("name", ["energy", "mmd"])
def test_many_permutations_approach_the_share_of_all_splits(name, n, m):
    x, y = pair(7, n, m, shift=1.0)
    loops = {"energy": plain_energy, "mmd": plain_mmd2}[name]
    observed = loops(x.tolist(), y.tolist())
    values = list(reference.all_values(loops, [*x.tolist(), *y.tolist()], n))
    exact = sum(value >= observed - ROUNDING(n + m) for value in values) / len(values)
    found = permuted(name, x, y, permutations=4000).p_value
    assert found == pytest.approx(
        exact, abs=LUCK((exact * (1 - exact) / 4000) ** 0.5, bias=1 / 4001)
    )


def test_level_is_exact_over_all_splits():
    """Whichever split of a pool is observed: p <= α for at most a share α of them."""
    rows = np.random.default_rng(8).normal(size=(6, 1))
    p_values = []
    for chosen in combinations(range(6), 3):
        inside = np.isin(np.arange(6), chosen)
        p_values.append(permuted("energy", rows[inside], rows[~inside], permutations=400).p_value)
    assert np.mean(np.array(p_values) <= 0.25) <= 0.25


@pytest.mark.parametrize("permutations", [1, 9, 99])
@pytest.mark.parametrize("seed", range(5))
def test_p_value_is_a_multiple_of_one_over_b_plus_one(permutations, seed):
    count = permuted("energy", *pair(seed), permutations=permutations).p_value * (permutations + 1)
    assert count == pytest.approx(round(count), abs=ROUNDING(1, scale=permutations + 1))


def test_p_value_is_never_zero():
    assert permuted("energy", np.zeros((50, 1)), np.ones((50, 1)), permutations=99).p_value == 0.01


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 / 3])
@pytest.mark.parametrize(("n", "m"), [(5, 7), (20, 20), (2, 30)])
@pytest.mark.parametrize("method", ["u", "v"])
def test_equal_rows_never_reject(method, n, m, value):
    x, y = np.full((n, 3), value), np.full((m, 3), value)
    assert permuted("energy", x, y, method, permutations=49).p_value == 1.0


@pytest.mark.parametrize("method", ["u", "v"])
def test_equal_rows_never_reject_with_weights(method):
    x, y = np.full((6, 1), 0.1), np.full((5, 1), 0.1)
    found = permuted("mmd", x, y, method, [1, 2, 3, 4, 5, 6], [3, 1, 4, 1, 5], permutations=49)
    assert found.p_value == 1.0


def test_the_same_split_counts_as_equal():
    """Two rows: every permutation is the observed split or its mirror image."""
    assert permuted("energy", [[0.1], [0.7]], [[0.3], [0.9]], "v", permutations=300).p_value > 1 / 3


def test_undefined_values_count_against_us():
    estimator = replace(
        quantity("energy").chosen("u"),
        _plan=[lambda pool, **_: Pooled(lambda labels: np.where(np.arange(labels.shape[1]) == 0, 1.0, np.nan))],
    )  # fmt: skip
    x, y = (as_samples(rows, "x") for rows in pair(9))
    with executing(memory=16 << 20):
        found = permutation_test(estimator, x, y, SETTINGS["energy"], permutations=9)
    assert found.p_value == 1.0


def test_undefined_observed_value_is_inconclusive():
    plan = lambda pool, **_: Pooled(lambda labels: np.full(labels.shape[1], np.nan))  # noqa: E731
    estimator = replace(quantity("energy").chosen("u"), _plan=[plan])
    x, y = (as_samples(rows, "x") for rows in pair(10))
    with pytest.raises(InconclusiveError, match="energy: nan cannot be compared in a test"):
        permutation_test(estimator, x, y, SETTINGS["energy"], permutations=9)


def test_infinite_observed_value_is_as_large_as_every_other():
    values = np.array([np.inf, np.inf, 1.0, 2.0, np.inf])
    plan = lambda pool, **_: Pooled(lambda labels: values[: labels.shape[1]])  # noqa: E731
    estimator = replace(quantity("energy").chosen("u"), _plan=[plan])
    x, y = (as_samples(rows, "x") for rows in pair(10))
    found = permutation_test(estimator, x, y, SETTINGS["energy"], permutations=4)
    assert found.p_value == 3 / 5


@pytest.mark.parametrize("name", ["energy", "mmd", "kl"])
def test_block_size_does_not_change_the_p_value(name):
    x, y = pair(11, 20, 15)
    whole = permuted(name, x, y, permutations=40).p_value
    for memory in (1, 40 * 35 * 3, 40 * 35 * 39):
        with executing(memory=memory):
            assert SAME(permuted(name, x, y, permutations=40).p_value, whole)


def test_more_permutations_extend_the_same_splits():
    few, seen_few = watched(quantity("energy").chosen("u"))
    many, seen_many = watched(quantity("energy").chosen("u"))
    x, y = (as_samples(rows, "x") for rows in pair(12))
    permutation_test(few, x, y, SETTINGS["energy"], permutations=10)
    permutation_test(many, x, y, SETTINGS["energy"], permutations=25)
    assert SAME(all_labels(seen_few)[1], all_labels(seen_many)[1][:10])


def test_seed_changes_the_splits():
    one, seen_one = watched(quantity("energy").chosen("u"))
    two, seen_two = watched(quantity("energy").chosen("u"))
    x, y = (as_samples(rows, "x") for rows in pair(13))
    permutation_test(one, x, y, SETTINGS["energy"], permutations=10, seed=0)
    permutation_test(two, x, y, SETTINGS["energy"], permutations=10, seed=1)
    assert not SAME(all_labels(seen_one)[1], all_labels(seen_two)[1])


def test_null_is_that_of_the_permuted_values():
    values = np.linspace(3.0, 7.0, 41)
    parts = iter([np.append(5.0, values)])
    estimator = replace(
        quantity("energy").chosen("u"), _plan=[lambda pool, **_: Pooled(lambda labels: next(parts))]
    )
    x, y = (as_samples(rows, "x") for rows in pair(14))
    null = permutation_test(estimator, x, y, SETTINGS["energy"], permutations=41).null
    sd = reference.standard_deviation(values.tolist())
    expected = {
        "mean": 5.0,
        "sd": sd,
        "q95": 6.8,
        "critical": 6.8,
        "detectable": 6.8 + NormalDist().inv_cdf(0.8) * sd,
    }
    assert null == pytest.approx(expected, abs=ROUNDING(41, scale=10))


def test_rows_without_weight_do_not_break_a_split():
    """Four of six rows carry no weight, so many splits leave a sample without any."""
    x, y = pair(15, 3, 3)
    found = permuted("energy", x, y, "v", [1, 0, 0], [1, 0, 0], permutations=99)
    assert 0 < found.p_value <= 1


@pytest.mark.parametrize("name", ["energy", "mmd", "kl"])
def test_rows_without_weight_give_a_p_value_or_one_line(name):
    x, y = pair(16, 14, 14)
    weights = [1] * 8 + [0] * 6
    try:
        found = permuted(name, x, y, None, weights, weights, permutations=49)
    except DivmatchError:
        return
    assert 0 < found.p_value <= 1


def test_a_split_without_an_answer_counts_against_us():
    """Some splits put three equal rows together, whose covariance is singular."""
    x, y = [[0.0], [0.0], [1.0]], [[0.0], [1.0], [1.0]]
    assert 0 < permuted("kl", x, y, "gaussian", permutations=99).p_value <= 1


# -------------------------------------------------------------------------------- intervals


def test_standard_error_of_a_mean():
    rng = np.random.default_rng(17)
    terms_x, terms_y = rng.normal(size=30), rng.normal(size=20)
    x, y = (as_samples(np.zeros(n), "x") for n in (30, 20))
    expected = math.hypot(
        reference.mean_error(terms_x.tolist()), reference.mean_error(terms_y.tolist())
    )
    found = influence_se(Estimate(0.0, terms_x, terms_y), x, y)
    assert found == pytest.approx(expected, abs=ROUNDING(50, scale=2))


def test_standard_error_with_weights():
    rng = np.random.default_rng(18)
    terms, a, b = rng.normal(size=(2, 9)), rng.dirichlet(np.ones(9)), rng.dirichlet(np.ones(9))
    x, y = as_samples(np.zeros(9), "x", a), as_samples(np.zeros(9), "y", b)
    parts = [
        reference.influence_variance(*pair) for pair in zip(terms.tolist(), (a, b), strict=True)
    ]
    found = influence_se(Estimate(0.0, *terms), x, y)
    assert found == pytest.approx(math.sqrt(sum(parts)), abs=ROUNDING(18, scale=10))


def test_terms_may_have_any_mean():
    terms = np.array([1.0, 2.0, 4.0])
    x = as_samples(np.zeros(3), "x")
    moved = influence_se(Estimate(0.0, terms + 1e3, terms - 1e3), x, x)
    assert moved == pytest.approx(
        influence_se(Estimate(0.0, terms, terms), x, x), abs=ROUNDING(3, scale=1e3)
    )


@pytest.mark.parametrize(
    ("x", "a"),
    [([1.0], None), ([1.0, 2.0], [1, 0])],
    ids=["one row", "one row with all the weight"],
)
def test_too_few_rows_have_no_standard_error(x, a):
    chosen = quantity("energy").chosen("v")
    found = infer(chosen, as_samples(x, "x", a), as_samples([1.0, 2.0, 5.0], "y"), {"power": 1.0})
    assert (found.se, found.ci, [n.code for n in found.warnings if n.code == "W10"]) == (
        None,
        None,
        ["W10"],
    )


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_interval_is_the_value_and_its_normal_quantiles(level):
    found = divmatch.energy(*pair(19, 20, 20, shift=2.0), level=level)
    half = NormalDist().inv_cdf(0.5 + level / 2) * found.se
    expected = (found.value - half, found.value + half)
    assert (found.ci.low, found.ci.high) == pytest.approx(expected, abs=ROUNDING(1, scale=10))


def test_interval_names_its_level_and_method():
    ci = divmatch.energy(*pair(20), level=0.9).ci
    assert (ci.level, ci.method, ci.resamples) == (0.9, "influence", 0)


@pytest.mark.parametrize("probability", [0.5, 0.6, 0.975, 0.999])
def test_normal_quantile(probability):
    expected = NormalDist().inv_cdf(probability)
    assert normal_quantile(probability) == pytest.approx(expected, abs=ROUNDING(1, scale=4))


@pytest.mark.parametrize("level", [0, 1, -0.5, 95, float("nan")])
def test_impossible_level_is_refused(level):
    with pytest.raises(SettingError, match="expected a number above 0, below 1"):
        divmatch.energy(*pair(21), level=level)


@pytest.mark.parametrize("permutations", [-1, -99])
def test_negative_number_of_permutations_is_refused(permutations):
    with pytest.raises(SettingError, match="permutations"):
        divmatch.energy(*pair(22), permutations=permutations)


def test_negative_seed_is_refused():
    with pytest.raises(SettingError, match="seed"):
        divmatch.energy(*pair(23), permutations=9, seed=-1)


def test_monte_carlo_error_is_added_to_the_standard_error():
    estimator = quantity("energy").chosen("u")

    def noisy(x, y, **settings):
        return replace(estimator.function(x, y, **settings), error=0.75)

    x, y = (as_samples(rows, "x") for rows in pair(24))
    exact = infer(estimator, x, y, {"power": 1.0})
    found = infer(replace(estimator, function=noisy), x, y, {"power": 1.0})
    assert found.se == pytest.approx(math.hypot(exact.se, 0.75), abs=ROUNDING(2, scale=2))


def counted(values, x, y):
    """What subsampling finds with an estimator that returns these values, and the sizes that it saw."""
    sizes, left = [], iter(values)

    def function(x, y):
        sizes.append((x.n, y.n))
        return Estimate(next(left))

    estimator = replace(quantity("kl").chosen("knn"), function=function)
    return subsampled(estimator, x, y, [{}], 0)[0], sizes


def test_subsampling_error_is_the_scaled_spread_of_the_values():
    values = np.random.default_rng(25).normal(size=1000).tolist()
    x, y = as_samples(np.zeros(64), "x"), as_samples(np.zeros(125), "y")
    found, sizes = counted(values, x, y)
    q = sizes[0][0] / 64
    expected = reference.standard_deviation(values[: len(sizes)]) * math.sqrt(q / (1 - q))
    assert found.se == pytest.approx(expected, abs=ROUNDING(len(sizes)))


def test_subsampling_tells_the_mean_of_the_values_and_their_share_of_the_rows():
    values = np.random.default_rng(35).normal(size=1000).tolist()
    x, y = as_samples(np.zeros(64), "x"), as_samples(np.zeros(125), "y")
    found, sizes = counted(values, x, y)
    mean = sum(values[: len(sizes)]) / len(sizes)
    assert (found.mean, found.fraction) == pytest.approx((mean, 0.25), abs=ROUNDING(len(sizes)))


@pytest.mark.parametrize("inside", [0, 1, 15, 50])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_interval_of_a_share_of_independent_rows_is_wilsons(inside, level):
    from scipy.stats import binomtest

    p = added(inside / 50, 50)
    found = of_share(inside / 50, math.sqrt(p * (1 - p) / 50), normal_quantile(0.5 + level / 2))
    expected = binomtest(inside, 50).proportion_ci(level, method="wilson")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("se", [1e-9, 0.1, 10.0])
def test_interval_of_a_share_holds_it_and_ends_between_zero_and_one(share, se):
    low, high = of_share(share, se, 1.96)
    assert 0.0 <= low <= share <= high <= 1.0


def test_subsampling_keeps_the_ratio_of_the_samples():
    x, y = as_samples(np.zeros(64), "x"), as_samples(np.zeros(128), "y")
    sizes = counted([0.0, 1.0] * 500, x, y)[1]
    assert {m / n for n, m in sizes} == {2.0}


def test_subsampling_draws_rows_without_replacement():
    drawn = []

    def function(x, y):
        drawn.append(len(set(x.points[:, 0])) == x.n)
        return Estimate(float(x.points[0, 0]))

    x = as_samples(np.arange(100.0), "x")
    subsampled(replace(quantity("kl").chosen("knn"), function=function), x, x, [{}], 0)
    assert all(drawn)


def test_subsampling_error_of_a_mean_is_its_standard_error():
    """Of a mean the subsamples' spread, scaled, is s / √n whatever their size."""
    rows = np.random.default_rng(26).normal(size=(400, 1))
    estimator = replace(
        quantity("kl").chosen("knn"), function=lambda x, y: Estimate(float(x.points.mean()))
    )
    found = subsampled(estimator, as_samples(rows, "x"), as_samples(rows, "y"), [{}], 0)[0].se
    expected = reference.mean_error(rows[:, 0].tolist())
    assert found == pytest.approx(expected, abs=LUCK(expected / 400**0.5))


def test_subsamples_that_are_too_small_have_no_standard_error():
    found = divmatch.kl(*pair(27, 12, 12), method="knn")
    assert (found.se, [note.code for note in found.warnings]) == (None, ["W10"])


@pytest.mark.parametrize("rate", [2.0, 1.0, 0.5, 1 / 6])
@pytest.mark.parametrize("bias", [0.3, -2.0])
def test_a_bias_of_the_rate_given_is_found(bias, rate):
    """On an eighth of the rows a bias that falls like n^(-rate) is 8^rate times as large."""
    found = extrapolated(1.0 + bias, Subsampled(1.0 + bias * 8**rate, 0.1, 1 / 8), rate)
    assert found.bias == pytest.approx(bias, abs=ROUNDING(4, scale=10))


def test_interval_is_moved_by_the_bias_and_widened_by_half_of_it():
    found = divmatch.kl(*pair(36, 60, 60, d=3, shift=0.5), method="knn")
    bias = found.bias["estimate"]
    assert (found.ci.low + found.ci.high) / 2 == pytest.approx(found.value - bias, abs=ROUNDING(9))
    factor = 1 / (60 ** (1 / 3 / 4) - 1)  # one over (d + 1) = 4
    noise = found.se * math.sqrt(1 + 0.3 * (factor**2 + 2 * factor))
    half = NormalDist().inv_cdf(0.975) * noise + abs(bias) / 2
    assert (found.ci.high - found.ci.low) / 2 == pytest.approx(half, abs=ROUNDING(9))


def test_monte_carlo_error_widens_the_interval_of_subsamples():
    estimator = quantity("kl").chosen("knn")

    def noisy(x, y, **settings):
        return replace(estimator.function(x, y, **settings), error=0.75)

    x, y = (as_samples(rows, "x") for rows in pair(24, 40, 40))
    exact, found = (infer(e, x, y, {"k": 3, "ties": "error"}) for e in (estimator, replace(estimator, function=noisy)))  # fmt: skip
    assert found.se == pytest.approx(math.hypot(exact.se, 0.75), abs=ROUNDING(2, scale=2))
    assert found.ci.high - found.ci.low > exact.ci.high - exact.ci.low


def test_without_a_rate_subsampling_leaves_the_interval_where_it_is():
    estimator = replace(quantity("kl").chosen("knn"), rate=None)
    x, y = (as_samples(rows, "x") for rows in pair(37, 60, 60))
    found = infer(estimator, x, y, {"k": 5, "ties": "error"})
    assert (found.ci.low + found.ci.high) / 2 == pytest.approx(found.value, abs=ROUNDING(4))
    assert found.bias is None


@pytest.mark.parametrize(
    ("mean", "rate", "codes"),
    [(1.1, 0.5, []), (3.0, 0.5, ["W13"]), (-1.0, 0.5, ["W13"]), (1.0, 0.05, ["W13"])],
    ids=["small", "far above", "far below", "hardly any growth"],
)
def test_an_interval_that_rests_on_extrapolation_is_flagged(mean, rate, codes):
    """A quarter of the rows, so the factor is 1 and the error of value less bias 1.4 se."""
    notes = extrapolated(1.0, Subsampled(mean, 0.5, 0.25), rate).notes()
    assert [note.code for note in notes] == codes


def test_two_threads_give_the_same_result():
    x, y = pair(28, 60, 70)
    with executing(threads=1):
        one = divmatch.kl(x, y, permutations=19).as_dict()
    with executing(threads=2):
        assert divmatch.kl(x, y, permutations=19).as_dict() == one


# ------------------------------------------------------------------------------------ results


def test_value_near_zero_of_a_degenerate_quantity_is_flagged():
    found = divmatch.energy(*pair(29, 50, 50, shift=0.0))
    assert "W04" in [note.code for note in found.warnings]


def test_value_far_from_zero_is_not_flagged():
    found = divmatch.energy(*pair(30, 50, 50, shift=5.0))
    assert (found.warnings, found.status) == ((), "ok")


@pytest.mark.parametrize("weights", [[1] * 9 + [2], [1e-9] * 19 + [1]])
def test_few_rows_with_most_of_the_weight_are_flagged(weights):
    rows = np.arange(float(len(weights)))
    found = divmatch.energy(rows, rows + 0.5, weights_x=weights)
    assert "W08" in [note.code for note in found.warnings]


def test_mild_weights_are_not_flagged():
    rows = np.arange(40.0)
    found = divmatch.energy(rows, rows + 50, weights_x=[1, 2] * 20)
    assert "W08" not in [note.code for note in found.warnings]


def test_different_columns_are_refused():
    with pytest.raises(SampleError, match="x has 2 columns, y has 3"):
        divmatch.energy(np.zeros((4, 2)), np.zeros((4, 3)))


def test_samples_may_be_shared_by_many_calls():
    x, y = (Samples(rows) for rows in pair(31, 20, 20))
    chosen = quantity("energy").chosen("u")
    first = infer(chosen, x, y, {"power": 1.0}, permutations=9)
    assert infer(chosen, x, y, {"power": 1.0}, permutations=9) == first


def test_p_value_does_not_depend_on_the_interval():
    x, y = pair(32, 30, 30)
    alone = permuted("kl", x, y, permutations=19)
    assert divmatch.kl(x, y, permutations=19).test.p_value == alone.p_value


# --------------------------------------------------------------------------------------- bits


def in_nats():
    return replace(
        divmatch.kl(*pair(33, 40, 40), method="gaussian"),
        value=2.0,
        se=0.5,
        ci=Interval(0.95, 1.0, 3.0, "influence"),
        test=Test(0.25, "permutation", 3, {"mean": 0.5, "sd": 0.25}),
    )


def test_bits_divide_every_number_by_the_logarithm_of_two():
    found = in_bits(in_nats())
    numbers = [found.value, found.se, found.ci.low, found.ci.high, *found.test.null.values()]
    expected = [v / math.log(2) for v in (2.0, 0.5, 1.0, 3.0, 0.5, 0.25)]
    assert numbers == pytest.approx(expected, abs=ROUNDING(1, scale=5))


def test_bits_of_a_bias():
    found = in_bits(replace(in_nats(), bias={"estimate": 0.5, "corrected": "interval"}))
    expected = pytest.approx(0.5 / math.log(2), abs=ROUNDING(1))
    assert found.bias == {"estimate": expected, "corrected": "interval"}


def test_bits_are_named():
    assert in_bits(in_nats()).unit == "bits"


def test_p_value_has_no_unit():
    assert in_bits(in_nats()).test.p_value == 0.25


def test_bits_of_a_bare_value():
    bare = replace(in_nats(), se=None, ci=None, test=None)
    assert (in_bits(bare).se, in_bits(bare).ci, in_bits(bare).test) == (None, None, None)


def test_only_nats_become_bits():
    with pytest.raises(SettingError, match="--unit bits: energy is not measured in nats"):
        in_bits(divmatch.energy(*pair(34)))
