"""Statistics of single columns: SciPy, closed forms, and data that are hard for bins."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from divmatch.estimators import marginals
from tests.tolerances import ROUNDING

SEEDS = st.integers(0, 2**32)


def draw(seed, n=80, m=60, decimals=None):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), 1.3 * rng.normal(size=m) + 0.3
    return (x, y) if decimals is None else (np.round(x, decimals), np.round(y, decimals))


def found(name, x, y, bins=10):
    return marginals.measure(marginals.numbers(x, y), (name,), bins)[name]


def counts(a, b):
    """Categories with these counts in P and Q."""
    words = tuple(f"w{k:03d}" for k in range(len(a)))
    codes = [np.repeat(np.arange(len(part)), part) for part in (a, b)]
    return marginals.categories(codes[0], words, codes[1], words)


both = pytest.mark.parametrize("decimals", [None, 0, 1], ids=["random", "whole", "tied"])


@both
@pytest.mark.parametrize("seed", range(4))
def test_w1_is_scipys_over_the_interquartile_range(decimals, seed):
    x, y = draw(seed, decimals=decimals)
    expected = stats.wasserstein_distance(x, y) / np.subtract(*np.quantile(x, [0.75, 0.25]))
    assert found("w1", x, y).value == pytest.approx(expected, abs=ROUNDING(140, scale=10))


@both
@pytest.mark.parametrize("sizes", [(80, 60), (5, 9), (1, 3)])
def test_ks_is_scipys(decimals, sizes):
    x, y = draw(1, *sizes, decimals)
    expected, made = stats.ks_2samp(x, y), found("ks", x, y)
    assert made.value == pytest.approx(expected.statistic, abs=ROUNDING(140))
    assert made.p == pytest.approx(expected.pvalue, rel=1e-9)


def test_ks_of_many_rows_is_scipys_asymptotic():
    x, y = draw(2, 12_000, 11_000, 2)
    made = found("ks", x, y)
    expected = stats.ks_2samp(x, y, method="asymp")
    assert made.method == "asymptotic"
    assert math.log(made.p) == pytest.approx(math.log(expected.pvalue), rel=1e-9)


@both
@pytest.mark.parametrize("sizes", [(80, 60), (9, 12), (300, 20)])
def test_cvm_is_scipys(decimals, sizes):
    x, y = draw(3, *sizes, decimals)
    expected, made = stats.cramervonmises_2samp(x, y), found("cvm", x, y)
    assert made.value == pytest.approx(expected.statistic, abs=ROUNDING(140, scale=100))
    assert made.p == pytest.approx(expected.pvalue, abs=1e-7)  # SciPy ends its series there


def test_both_series_of_cvm_meet():
    for x in (2.0, 2.4):
        p = marginals._far_tail(x)
        assert 1e-7 < p < 1e-4
        assert marginals._beyond_limit(x) == pytest.approx(p, rel=1e-6)


def test_cvm_of_an_obvious_difference_is_above_zero():
    assert 0 < found("cvm", *draw(3, 300, 300)).p < 1e-3
    x, _ = draw(3, 3000, 3000)
    assert 0 < found("cvm", x, x + 3).p < 1e-300


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(2, 6))
def test_chi2_is_scipys(seed, wide):
    a, b = np.random.default_rng(seed).integers(1, 40, (2, wide))
    expected = stats.chi2_contingency([a, b], correction=False)
    made = marginals.measure(counts(a, b), ("chi2",), 10)["chi2"]
    assert made.value == pytest.approx(expected.statistic, abs=ROUNDING(wide, scale=1e3))
    assert made.p == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize(("gone_x", "gone_y"), [(30, 50), (0, 12), (2, 1)])
def test_missing_shift_is_tested_as_scipy_tests_two_shares(gone_x, gone_y):
    x, y = draw(4, 200, 300)
    x[:gone_x], y[:gone_y] = np.nan, np.nan
    made = found("missing", x, y)
    table = [[gone_x, 200 - gone_x], [gone_y, 300 - gone_y]]
    rough = np.min(stats.contingency.expected_freq(table)) < 5
    expected = (
        stats.fisher_exact(table)[1]
        if rough
        else stats.chi2_contingency(table, correction=False).pvalue
    )
    assert made.value == pytest.approx(gone_y / 300 - gone_x / 200, abs=ROUNDING(2))
    assert made.p == pytest.approx(expected, rel=1e-9)


def test_no_missing_values_are_no_test():
    assert found("missing", *draw(5)).p is None


def test_w1_of_a_shift_is_the_shift():
    x = np.random.default_rng(6).normal(size=4000)
    unit = np.subtract(*np.quantile(x, [0.75, 0.25]))
    assert found("w1", x, x + 0.7).value == pytest.approx(0.7 / unit, abs=ROUNDING(8000))


def test_w1_without_quartiles_is_in_standard_deviations():
    x = np.array([0.0] * 9 + [10.0])
    made = found("w1", x, x + 3.0)
    assert made.value == pytest.approx(3.0 / x.std(), abs=ROUNDING(20))
    assert made.note[0] == "W20"


def test_w1_of_a_constant_reference_is_in_its_own_unit():
    made = found("w1", np.full(5, 2.0), np.full(4, 5.0))
    assert (made.value, made.note[0]) == (3.0, "W21")


def test_js_and_psi_follow_from_smoothed_counts():
    """Two categories, 30:10 against 10:30; a half is added to each."""
    pair = counts([30, 10], [10, 30])
    p, q = 30.5 / 41, 10.5 / 41
    made = marginals.measure(pair, ("js", "psi"), 10)
    js = math.log(2) + p * math.log(p) + q * math.log(q)
    assert made["psi"].value == pytest.approx(2 * (p - q) * math.log(p / q), abs=ROUNDING(4))
    assert made["js"].value == pytest.approx(js, abs=ROUNDING(4))


def test_quantile_bins_of_equal_samples_have_equal_shares():
    p, q, method = marginals.shares(marginals.numbers(*[np.arange(1000.0)] * 2), 10)
    assert np.allclose(p, 0.1)
    assert np.array_equal(p, q)
    assert method == "quantile-bins:10"


@pytest.mark.parametrize("moved", [-1.0, 1.0])
def test_a_constant_that_moved_is_in_another_bin(moved):
    made = found("psi", np.full(100, 3.0), np.full(100, 3.0 + moved))
    assert made.value > 5


def test_empty_bins_cannot_blow_up():
    x, y = draw(7)
    assert found("psi", x, y + 1e6).value < 2 * math.log(2 * 81 * 10)
    assert found("js", x, y + 1e6).value < math.log(2)


def test_equal_columns_have_no_distance():
    x, _ = draw(8, decimals=1)
    pair = marginals.numbers(x, x.copy())
    made = marginals.measure(pair, ("w1", "ks", "js", "psi"), 10)
    assert [one.value for one in made.values()] == [0, 0, 0, 0]
    assert made["ks"].p == 1.0


def test_categories_that_one_side_lacks_count_as_none():
    x, y = np.array([0, 0, 1, -1]), np.array([0, 1, 1])
    pair = marginals.categories(x, ("a", "b"), y, ("b", "c"))
    assert (pair.x.tolist(), pair.y.tolist(), pair.missing) == ([2, 1, 0], [0, 1, 2], (1, 0))


def test_few_expected_rows_are_said():
    made = marginals.measure(counts([50, 1], [60, 2]), ("chi2",), 10)["chi2"]
    assert made.note[0] == "W36"


def test_a_column_without_values_has_no_number():
    made = marginals.measure(
        marginals.numbers(np.arange(5.0), np.full(4, np.nan)), marginals.OF_NUMBERS, 10
    )
    assert made["ks"].reason == "Q has no value at all"
    assert made["missing"].value == 1.0


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 30))
def test_adjusted_p_values_are_those_of_the_definitions(seed, tests):
    p = np.random.default_rng(seed).random(tests) ** 3
    order = np.sort(p)
    holm = [
        min(1.0, max((tests - j) * order[j] for j in range(tests) if order[j] <= one)) for one in p
    ]
    assert marginals.adjusted(p, "holm") == pytest.approx(holm)
    assert marginals.adjusted(p, "bh") == pytest.approx(stats.false_discovery_control(p))
    assert marginals.adjusted(p, "none") is p


@pytest.mark.parametrize("name", ["w1", "ks", "cvm", "js", "psi"])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_any_scale_gives_the_same_number(name, scale):
    x, y = draw(9)
    expected = found(name, x, y)
    made = found(name, x * scale, y * scale)
    assert made.value == pytest.approx(expected.value, rel=1e-9)


@pytest.mark.parametrize("rows", [20_000, 60_000])
@pytest.mark.parametrize("tail", [2.3, 6.0, 12.0, 17.5])
def test_series_equals_the_sum_of_all_terms(rows, tail):
    d = (tail / rows) ** 0.5
    expected = stats.kstwo.sf(d, rows)
    assert marginals._smirnov_tail(rows, d) * 2 == pytest.approx(expected, rel=0.4 / rows)


@pytest.mark.parametrize("share", [0.25, 0.4, 0.75])
@pytest.mark.parametrize("rows", [1, 2, 5, 1000])
def test_quartiles_are_those_of_numpy(rows, share):
    x = np.sort(np.random.default_rng(rows).normal(size=rows))
    assert marginals.quartile(x, share) == np.quantile(x, share)


def test_missing_values_are_left_out_wherever_they_stand():
    x = np.array([3.0, np.nan, 1.0, 2.0, np.nan])
    pair = marginals.numbers(x, np.array([np.nan, 5.0]))
    assert (pair.x.tolist(), pair.y.tolist(), pair.missing) == ([1.0, 2.0, 3.0], [5.0], (2, 1))
