"""Kullback-Leibler divergence: oracles, closed forms, ties, weights, influence."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma as psi

import divmatch
from divmatch.errors import InconclusiveError, SampleError, SettingError
from divmatch.estimator import quantity
from divmatch.estimators.neighbour_distance import digamma
from divmatch.samples import as_samples
from tests.reference import kl as reference
from tests.tolerances import LUCK, ROUNDING, SAME
from tests.truths import gaussian
from tests.truths.line import PAIRS

MANY = settings(max_examples=40, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 2**32)
NEIGHBOUR_METHODS = pytest.mark.parametrize("method", ["knn", "knn-reduced"])
METHODS = pytest.mark.parametrize("method", ["knn", "knn-reduced", "gaussian"])


def estimate(x, y, method="knn", a=None, b=None, **given):
    chosen = quantity("kl").chosen(method)
    return chosen(as_samples(x, "x", a), as_samples(y, "y", b), **chosen.checked(given))


def kl(*args, **settings):
    return estimate(*args, **settings).value


def codes(found):
    return [note.code for note in found.notes]


def pair(seed, n=12, m=9, d=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.5 + 0.5


def close(value, x, y):
    """The value up to the rounding of means of logarithms below 30 in modulus."""
    return pytest.approx(value, abs=ROUNDING(len(x) + len(y), scale=30 * x.shape[1]))


# ------------------------------------------------------------------------------------ oracle


def test_by_hand():
    """ρ = (1, 1, 2), ν = (.4, .6, 1): (ln .4 + ln .6 + ln .5) / 3 + ln(2 / 2)."""
    by_hand = math.log(0.4 * 0.6 * 0.5) / 3
    assert by_hand == pytest.approx(-0.706755, abs=LUCK(0.0, bias=0.5e-6))
    found = kl([[0.0], [1.0], [3.0]], [[0.4], [2.0]], k=1)
    assert found == pytest.approx(by_hand, abs=ROUNDING(3))


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("k", [1, 3, 5])
@MANY
@given(seed=SEEDS)
def test_knn_equals_the_loops(d, k, seed):
    x, y = pair(seed, d=d)
    assert kl(x, y, k=k) == close(reference.knn(x.tolist(), y.tolist(), k), x, y)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("max_k", [1, 2, 100])
@MANY
@given(seed=SEEDS)
def test_knn_reduced_equals_the_loops(d, max_k, seed):
    x, y = pair(seed, d=d)
    expected = reference.knn_reduced(x.tolist(), y.tolist(), max_k=max_k)
    assert kl(x, y, "knn-reduced", max_k=max_k) == close(expected, x, y)


@MANY
@given(seed=SEEDS)
def test_knn_equals_the_loops_with_weights(seed):
    x, y = pair(seed)
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.full(12, 3.0)), rng.dirichlet(np.full(9, 3.0))
    expected = reference.knn(x.tolist(), y.tolist(), 3, a.tolist(), b.tolist())
    assert kl(x, y, a=a, b=b, k=3) == close(expected, x, y)


@MANY
@given(seed=SEEDS)
def test_knn_reduced_equals_the_loops_with_weights(seed):
    x, y = pair(seed)
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.full(12, 3.0)), rng.dirichlet(np.full(9, 3.0))
    expected = reference.knn_reduced(x.tolist(), y.tolist(), a.tolist(), b.tolist())
    assert kl(x, y, "knn-reduced", a, b) == close(expected, x, y)


@MANY
@given(seed=SEEDS, weighted=st.booleans())
def test_gaussian_equals_the_loops(seed, weighted):
    x, y = pair(seed)
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.full(12, 5.0)), rng.dirichlet(np.full(9, 5.0))
    if not weighted:
        a, b = np.full(12, 1 / 12), np.full(9, 1 / 9)
    expected = reference.gaussian_plane(x.tolist(), y.tolist(), a.tolist(), b.tolist())
    hardness = max(np.linalg.cond(np.cov(s.T, aweights=w)) for s, w in ((x, a), (y, b)))
    tolerance = ROUNDING(21, scale=10 * hardness**2 * (1 + expected))
    found = kl(x, y, "gaussian", a, b, correction="none")
    assert found == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("most", [1, 2, 100])
def test_digamma_of_whole_numbers(most):
    expected = psi(np.arange(1, most + 1))
    assert digamma(most) == pytest.approx(expected, abs=ROUNDING(most, scale=6))


# ------------------------------------------------------------------ published runs, n = m = 5000

# columns, shift, standard deviation of Q, method, settings, published mean, sd of one run
PUBLISHED = [
    (1, 1.0, 2.0, "knn", {"k": 1}, 0.4388, 0.026),
    (1, 1.0, 2.0, "knn", {"k": 5}, 0.4380, 0.019),
    (1, 1.0, 2.0, "knn-reduced", {}, 0.4401, 0.030),
    (3, 1.0, 1.0, "knn", {"k": 1}, 0.4746, 0.03),
    (3, 1.0, 1.0, "knn", {"k": 5}, 0.4585, 0.02),
    (3, 1.0, 1.0, "knn-reduced", {}, 0.4846, 0.03),
]


@pytest.mark.parametrize(("d", "shift", "sd_q", "method", "given", "mean", "sd"), PUBLISHED)
def test_published_means(d, shift, sd_q, method, given, mean, sd):
    runs = 3
    values = []
    for run in range(runs):
        rng = np.random.default_rng([run, d])
        x = rng.normal(size=(5000, d))
        y = rng.normal(size=(5000, d)) * sd_q + shift * np.eye(d)[0]
        values.append(kl(x, y, method, **given))
    assert np.mean(values) == pytest.approx(mean, abs=LUCK(sd / runs**0.5, z=4))


# ------------------------------------------------------------------------------------- truth


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_truth_on_the_line(pair):
    x, y = pair.draw(np.random.default_rng(1), 4000, 4000)
    found = divmatch.kl(x, y, method="knn")
    assert found.value == pytest.approx(pair.kl, abs=LUCK(found.se))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_gaussian_truth(d):
    rng = np.random.default_rng(d)
    problem = gaussian.problem(rng, d)
    found = divmatch.kl(*problem.draw(rng, 5000, 4000), method="gaussian")
    assert found.value == pytest.approx(problem.kl, abs=LUCK(found.se, bias=d * (d + 3) / 8000))


def test_gaussian_takes_the_moments_at_their_word():
    """Means 0 and 1, unbiased variances 1 and 1: KL = 1/2."""
    found = kl([[-1.0], [0.0], [1.0]], [[0.0], [1.0], [2.0]], "gaussian")
    assert found == pytest.approx(0.5, abs=ROUNDING(6))


def test_null_of_knn_is_centred():
    rng = np.random.default_rng(3)
    values = [kl(rng.normal(size=(60, 1)), rng.normal(size=(60, 1))) for _ in range(400)]
    assert np.mean(values) == pytest.approx(0.0, abs=LUCK(np.std(values) / 20, bias=0.03))


def test_negative_estimates_are_not_clipped():
    rng = np.random.default_rng(4)
    values = [kl(rng.normal(size=(60, 1)), rng.normal(size=(60, 1))) for _ in range(40)]
    assert min(values) < 0


def test_reduced_is_less_biased_for_a_large_divergence():
    """True value 4.5: published means 3.68 for k = 5 and 4.27 reduced."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(4000, 1)), rng.normal(3.0, 1.0, size=(4000, 1))
    assert abs(kl(x, y, "knn-reduced") - 4.5) < abs(kl(x, y) - 4.5)


# ---------------------------------------------------------------------------------- interval


def warned(x, y, method="knn"):
    return "W13" in [note.code for note in divmatch.kl(x, y, method=method).warnings]


def test_interval_is_moved_to_the_truth():
    """Five columns N(0, 1) against N(0, 1.5²): the value is ten standard errors too large."""
    rng = np.random.default_rng(41)
    x, y = rng.normal(size=(2000, 5)), rng.normal(0.0, 1.5, (2000, 5))
    found = divmatch.kl(x, y, method="knn")
    truth = 5 * gaussian.kl(np.zeros(1), np.eye(1), np.zeros(1), np.eye(1) * 1.5**2)
    assert found.value - 1.96 * found.se > truth
    assert found.ci.low < truth < found.ci.high


def test_value_keeps_its_bias():
    rng = np.random.default_rng(42)
    x, y = rng.normal(size=(100, 5)), rng.normal(0.0, 1.5, (100, 5))
    assert SAME(divmatch.kl(x, y, method="knn").value, kl(x, y))


@NEIGHBOUR_METHODS
def test_interval_of_twenty_columns_is_flagged(method):
    rng = np.random.default_rng(43)
    assert warned(rng.normal(size=(100, 20)), rng.normal(0.5, 1.0, (100, 20)), method)


@NEIGHBOUR_METHODS
@pytest.mark.parametrize("d", [1, 5])
def test_intervals_of_equal_distributions_are_seldom_flagged(method, d):
    """Measured for n = 200: none of 60 for one column, 3 of 60 for five."""
    rng = np.random.default_rng(44)
    flagged = [
        warned(rng.normal(size=(100, d)), rng.normal(size=(100, d)), method) for _ in range(10)
    ]
    assert sum(flagged) <= 3


def test_interval_of_strongly_correlated_columns_is_flagged():
    """The truth is .5; neighbours at n = 400 are too far to see the narrow directions."""
    rng = np.random.default_rng(45)
    root = np.linalg.cholesky(np.full((10, 10), 0.999) + 0.001 * np.eye(10))
    x, y = (rng.normal(size=(400, 10)) @ root.T for _ in range(2))
    assert warned(x, y + 1.0)


# ---------------------------------------------------------------------------------- property


@METHODS
@MANY
@given(seed=SEEDS, factor=st.sampled_from([0.01, 3.0, 1000.0]))
def test_scale_changes_nothing(method, seed, factor):
    x, y = pair(seed)
    assert kl(factor * x, factor * y, method) == close(kl(x, y, method), x, y)


@METHODS
@MANY
@given(seed=SEEDS)
def test_translation_changes_nothing(method, seed):
    x, y = pair(seed)
    moved = kl(x + 8.0, y + 8.0, method)
    assert moved == pytest.approx(kl(x, y, method), abs=ROUNDING(21, scale=1e4))


@METHODS
@MANY
@given(seed=SEEDS)
def test_rotation_changes_nothing(method, seed):
    x, y = pair(seed, d=3)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    moved = kl(x @ turn, y @ turn, method)
    assert moved == pytest.approx(kl(x, y, method), abs=ROUNDING(21, scale=1e4))


@MANY
@given(seed=SEEDS)
def test_gaussian_is_the_same_after_any_regular_map(seed):
    x, y = pair(seed, 30, 25)
    stretch = np.array([[2.0, 0.3], [-0.5, 100.0]])
    moved = kl(x @ stretch, y @ stretch, "gaussian")
    assert moved == pytest.approx(kl(x, y, "gaussian"), abs=ROUNDING(55, scale=1e4))


@METHODS
@MANY
@given(seed=SEEDS)
def test_order_of_rows_does_not_matter(method, seed):
    x, y = pair(seed)
    rng = np.random.default_rng(seed)
    found = kl(rng.permutation(x), rng.permutation(y), method)
    assert found == close(kl(x, y, method), x, y)


@METHODS
def test_equal_weights_change_nothing(method):
    x, y = pair(6)
    found = kl(x, y, method, np.full(12, 0.3), np.full(9, 2.0))
    assert found == close(kl(x, y, method), x, y)


@METHODS
def test_rows_without_weight_are_not_there(method):
    x, y = pair(7)
    more_x, more_y = np.vstack([x, x[:1] + 0.1]), np.vstack([y, y[:1] - 0.1])
    found = kl(more_x, more_y, method, [1] * 12 + [0], [1] * 9 + [0])
    assert found == close(kl(x, y, method), x, y)


def test_weights_turn_draws_from_one_gaussian_into_another():
    """Rows of N(0, 1) weighted by N(.5, 1) / N(0, 1) stand for N(.5, 1)."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(4000, 1)), rng.normal(size=(4000, 1))
    ratio = np.exp(0.5 * x[:, 0] - 0.125)
    assert kl(x, y, a=ratio) == pytest.approx(0.125, abs=LUCK(0.035))


# -------------------------------------------------------------------------------------- ties

TIED = [[0.0], [0.0], [1.0], [3.0], [4.5]]
UNTIED = [[0.4], [2.0], [2.6]]


@NEIGHBOUR_METHODS
def test_tied_rows_are_refused_with_their_number(method):
    with pytest.raises(SampleError, match=r"x: 2 of 5 rows are at distance zero"):
        kl(TIED, UNTIED, method, **({"k": 1} if method == "knn" else {}))


def test_the_first_neighbours_of_a_sample_and_itself_are_tied():
    x, _ = pair(9)
    with pytest.raises(SampleError, match=r"12 of 12 rows .* \(tied rows\)"):
        kl(x, x.copy(), k=1)


@NEIGHBOUR_METHODS
def test_further_neighbours_of_a_sample_and_itself_report_ties(method):
    x, _ = pair(10)
    assert "W03" in codes(estimate(x, x.copy(), method))


def test_dropped_ties_leave_the_mean():
    kept = [1, 3, 4.5]
    terms = []
    for value in kept:
        rho = min(abs(value - other) for other in [0, 0, *kept] if other != value)
        terms.append(math.log(min(abs(value - other[0]) for other in UNTIED) / rho))
    expected = sum(terms) / 3 + math.log(3 / 4)
    assert kl(TIED, UNTIED, ties="drop", k=1) == pytest.approx(expected, abs=ROUNDING(8))


def test_dropped_ties_are_said():
    assert codes(estimate(TIED, UNTIED, ties="drop", k=1)) == ["W12"]


def test_nothing_left_after_dropping_is_refused():
    with pytest.raises(SampleError, match="tied rows"):
        kl([[0.0], [0.0], [0.0]], UNTIED, ties="drop", k=1)


def test_jitter_gives_a_number():
    assert math.isfinite(kl(TIED, UNTIED, ties="jitter", k=1))


def test_jitter_is_said_even_where_nothing_is_tied():
    x, y = pair(11)
    assert codes(estimate(x, y, ties="jitter")) == ["W11"]


def test_jitter_is_the_same_every_time():
    assert SAME(kl(TIED, UNTIED, ties="jitter", k=1), kl(TIED, UNTIED, ties="jitter", k=1))


def test_jitter_hardly_moves_untied_rows():
    x, y = pair(12, 200, 200)
    assert kl(x, y, ties="jitter") == pytest.approx(kl(x, y), abs=LUCK(0.0, bias=1e-6))


def test_jitter_separates_rows_far_from_zero():
    x = np.array(TIED) + 1e9
    assert math.isfinite(kl(x, np.array(UNTIED) + 1e9, ties="jitter", k=1))


def test_ties_below_the_neighbour_asked_for_are_warned_about():
    x = np.vstack([pair(13)[0], pair(13)[0][:1]])
    assert codes(estimate(x, pair(13)[1], k=3)) == ["W03"]


def test_untied_rows_raise_no_warning():
    x, y = pair(14, 100, 100)
    assert codes(estimate(x, y)) == []


def test_unknown_ties_policy_is_refused():
    with pytest.raises(SettingError, match=r"--ties jittr: .*did you mean 'jitter'"):
        divmatch.kl([0.0, 1.0], [2.0, 3.0], ties="jittr")


# ------------------------------------------------------------------------------------- rules


def test_infinite_truth_is_suspected():
    rng = np.random.default_rng(15)
    found = estimate(rng.uniform(0, 2, (5000, 1)), rng.uniform(0, 1, (5000, 1)))
    assert codes(found) == ["W07"]


def test_published_value_where_the_truth_is_infinite():
    values = []
    for run in range(4):
        rng = np.random.default_rng([15, run])
        values.append(kl(rng.uniform(0, 2, (5000, 1)), rng.uniform(0, 1, (5000, 1))))
    se = np.std(values, ddof=1) * (1 / 4 + 1) ** 0.5  # one published run
    assert np.mean(values) == pytest.approx(2.63, abs=LUCK(se))


def test_contained_support_is_not_suspected():
    rng = np.random.default_rng(16)
    found = estimate(rng.uniform(1, 2, (3000, 1)), rng.uniform(0, 4, (3000, 1)))
    assert codes(found) == []


def test_cap_on_the_neighbours_is_said():
    rng = np.random.default_rng(17)
    found = estimate(
        rng.normal(size=(300, 1)), rng.normal(3.0, 1.0, size=(300, 1)), "knn-reduced", max_k=5
    )
    assert codes(found)[0] == "W05"


@pytest.mark.parametrize(
    ("n", "m", "message"), [(5, 9, "x: 5 rows, at least 6 \\(k \\+ 1"), (9, 4, "y: 4 rows.*k = 5")]
)
def test_too_few_rows_are_refused(n, m, message):
    with pytest.raises(InconclusiveError, match=message):
        kl(*pair(18, n, m))


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((9, 2)),
        np.arange(18.0).reshape(9, 2),
        np.column_stack([np.arange(9.0), np.full(9, 1e6)]),
        np.random.default_rng(19).normal(size=(2, 2)),
    ],
    ids=["constant", "dependent", "one constant column", "too few rows"],
)
def test_singular_covariance_is_inconclusive(rows):
    with pytest.raises(InconclusiveError, match=r"covariance of 2 columns from . rows is singular"):
        kl(rows, pair(19)[1], "gaussian")


def test_one_row_has_no_covariance():
    with pytest.raises(InconclusiveError, match="one row has no covariance"):
        kl([[1.0]], [[1.0], [2.0]], "gaussian")


@pytest.mark.parametrize("k", [0, -1, 1.5, "many", True])
def test_impossible_neighbour_is_refused(k):
    with pytest.raises(SettingError, match=r"-k .*expected auto or a whole number at least 1"):
        divmatch.kl([0.0, 1.0], [2.0, 3.0], k=k)


# --------------------------------------------------------------------------------- influence


def complex_kl(m1, s1, m2, s2):
    """KL of Gaussians for complex moments: its imaginary part is a derivative to the last digit."""
    gap, inverse = m2 - m1, np.linalg.inv(s2)
    log_ratio = np.log(np.linalg.det(s2) / np.linalg.det(s1))
    return 0.5 * (np.trace(inverse @ s1) + gap @ inverse @ gap + log_ratio)


def moments(rows):
    return rows.mean(0).astype(complex), np.cov(rows.T).astype(complex)


def slopes(rows, value):
    """d/de of value(moments of (1 − e) P + e δ) for δ at every row."""
    mean, cov = moments(rows)
    made, e = [], 1e-30j
    for row in rows:
        u = row - mean
        made.append((value(mean + e * u, cov + e * (np.outer(u, u) - cov))).imag / e.imag)
    return np.array(made)


@pytest.mark.parametrize("d", [2, 4])
def test_influence_of_the_first_sample_is_the_slope_in_its_weight(d):
    x, y = pair(20, 30, 25, d)
    numeric = slopes(x, lambda mean, cov: complex_kl(mean, cov, *moments(y)))
    terms = estimate(x, y, "gaussian").terms_x
    tolerance = ROUNDING(30, scale=np.abs(terms).sum() * 30)
    assert terms - terms.mean() == pytest.approx(numeric - numeric.mean(), abs=tolerance)


@pytest.mark.parametrize("d", [2, 4])
def test_influence_of_the_second_sample_is_the_slope_in_its_weight(d):
    x, y = pair(21, 30, 25, d)
    numeric = slopes(y, lambda mean, cov: complex_kl(*moments(x), mean, cov))
    terms = estimate(x, y, "gaussian").terms_y
    tolerance = ROUNDING(25, scale=np.abs(terms).sum() * 30)
    assert terms - terms.mean() == pytest.approx(numeric - numeric.mean(), abs=tolerance)


def test_standard_error_is_that_of_repeated_samples():
    rng = np.random.default_rng(22)
    runs = [
        divmatch.kl(
            rng.normal(size=(300, 2)), rng.normal(0.7, 1.3, size=(400, 2)), method="gaussian"
        )
        for _ in range(300)
    ]
    spread = np.std([run.value for run in runs], ddof=1)
    mean = np.mean([run.se for run in runs])
    assert mean == pytest.approx(spread, abs=LUCK(spread / 600**0.5, bias=0.03 * spread))
