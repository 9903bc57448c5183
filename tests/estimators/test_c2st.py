"""Classifier two-sample test: accuracy, AUC, bounds and exact p-values against SciPy and scikit-learn."""

import numpy as np
import pytest
from scipy.stats import beta, hypergeom, ks_2samp, mannwhitneyu, norm
from sklearn.metrics import roc_auc_score

import divmatch
from divmatch.errors import InconclusiveError
from divmatch.estimators.classifier_test import Held
from tests.reference import network as reference
from tests.tolerances import LUCK, ROUNDING, SAME

CLASSIFIERS = pytest.mark.parametrize(
    "classifier", ["logistic", "knn", "mlp", "hist-gradient-boosting"]
)
BEST = 2 * norm.cdf(0.5) - 1  # total variation of N(0,1) and N(1,1)


def pair(seed, n=1000, m=1000, shift=1.0, d=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(shift, 1.0, (m, d))


def held(seed=0, n=40, m=30, decimals=1):
    """Held-out rows with rounded, hence tied, scores."""
    rng = np.random.default_rng(seed)
    scores = np.round(np.concatenate([rng.normal(0.5, 1, n), rng.normal(-0.5, 1, m)]), decimals)
    return Held(scores, np.repeat([1.0, -1.0], [n, m]), np.repeat([1 / n, 1 / m], [n, m]))


@CLASSIFIERS
def test_value_lies_below_the_total_variation(classifier):
    found = divmatch.c2st(*pair(0), classifier=classifier)
    assert found.value <= BEST + LUCK(found.se, z=4)


@pytest.mark.parametrize("classifier", ["logistic", "mlp"])
def test_smooth_classifiers_reach_the_total_variation(classifier):
    found = divmatch.c2st(*pair(1, 4000, 4000), classifier=classifier)
    assert found.value == pytest.approx(BEST, abs=LUCK(found.se, z=4, bias=0.01))


def test_auc_of_shifted_normals():
    """Φ(1/√2) = .760250."""
    found = divmatch.c2st(*pair(2, 4000, 4000)).params["auc"]
    assert found == pytest.approx(0.760250, abs=LUCK(0.0075, z=4))


def test_proxy_a_distance_is_twice_the_value():
    found = divmatch.c2st(*pair(3, 200, 200))
    assert found.params["proxy_a_distance"] == pytest.approx(2 * found.value, abs=ROUNDING(1))


def test_balanced_accuracy_belongs_to_the_value():
    found = divmatch.c2st(*pair(4, 200, 100))
    expected = 0.5 + 0.5 * found.value
    assert found.params["balanced_accuracy"] == pytest.approx(expected, abs=ROUNDING(1))


def test_auc_is_that_of_scikit_learn():
    found = held()
    assert found.auc() == pytest.approx(roc_auc_score(found.p, found.scores), abs=ROUNDING(70))


def test_auc_is_that_of_mann_whitney():
    found = held(1)
    statistic = mannwhitneyu(found.scores[found.p], found.scores[~found.p]).statistic
    assert found.auc() == pytest.approx(statistic / (40 * 30), abs=ROUNDING(70))


def test_weighted_auc_is_that_of_scikit_learn():
    found = held(2)
    found.mass = np.random.default_rng(2).random(70)
    expected = roc_auc_score(found.p, found.scores, sample_weight=found.mass)
    assert found.auc() == pytest.approx(expected, abs=ROUNDING(70))


@pytest.mark.parametrize("seed", range(4))
def test_p_value_is_that_of_the_hypergeometric_law(seed):
    found = held(seed, 23, 31)
    hits = np.count_nonzero(found.p & found.called_p)
    expected = hypergeom.sf(hits - 1, 54, 23, np.count_nonzero(found.called_p))
    assert found.p_value() == pytest.approx(expected, abs=ROUNDING(54))


def test_p_value_is_never_zero():
    n = 5000
    perfect = Held(np.repeat([1.0, -1.0], n), np.repeat([1.0, -1.0], n), np.full(2 * n, 1 / n))
    assert 0 < perfect.p_value() < 1e-300


def test_bound_is_clopper_and_pearsons():
    found = held(5)
    low = 0.0
    for side, right in ((found.p, found.called_p), (~found.p, ~found.called_p)):
        count, hits = np.count_nonzero(side), np.count_nonzero(side & right)
        low += beta.ppf(0.025, hits, count - hits + 1)
    assert found.tv_lower() == pytest.approx(max(low - 1, 0), abs=ROUNDING(70))


def test_bound_is_zero_without_any_hit():
    wrong = Held(np.repeat([-1.0, 1.0], 5), np.repeat([1.0, -1.0], 5), np.full(10, 0.2))
    assert SAME(wrong.tv_lower(), 0.0)


def test_accuracy_counts_rows():
    found = held(6)
    expected = np.mean(found.p == found.called_p)
    assert found.accuracy() == pytest.approx(expected, abs=ROUNDING(70))


def test_standard_error_is_binomial():
    found = divmatch.c2st(*pair(7, 400, 400))
    share = 0.5 * (1 + found.value)
    expected = 2 * (share * (1 - share) / 400) ** 0.5
    assert found.se == pytest.approx(expected, abs=LUCK(0.0, bias=0.1 * expected))  # unequal shares


@CLASSIFIERS
def test_separate_samples_are_told_apart(classifier):
    found = divmatch.c2st(*pair(8, 200, 200, shift=20.0, d=2), classifier=classifier)
    assert SAME(found.value, 1.0)


@CLASSIFIERS
def test_same_seed_same_digits(classifier):
    x, y = pair(9, 100, 80)
    values = [divmatch.c2st(x, y, classifier=classifier, seed=3).params["auc"] for _ in range(2)]
    assert SAME(*values)


def test_weights_leave_the_bound_undefined():
    x, y = pair(10, 60, 60)
    assert divmatch.c2st(x, y, weights_x=np.linspace(1, 2, 60)).params["tv_lower"] is None


def test_exact_p_value_is_the_test_of_the_result():
    found = divmatch.c2st(*pair(11, 60, 60))
    assert (found.test.method, found.test.permutations) == ("exact-labels", 0)
    assert 0 < found.test.p_value < 0.05


def test_permutations_take_the_place_of_the_exact_test():
    found = divmatch.c2st(*pair(12, 30, 30), classifier="knn", permutations=9)
    assert (found.test.method, found.test.permutations) == ("permutation", 9)


def test_without_an_exact_p_value_there_is_no_test():
    assert divmatch.c2st(*pair(13, 60, 60), weights_y=np.linspace(1, 2, 60)).test is None


@CLASSIFIERS
def test_equal_rows_tell_nothing(classifier):
    found = divmatch.c2st(np.ones((20, 2)), np.ones((20, 2)), classifier=classifier)
    assert (found.value, found.params["auc"], found.test.p_value) == (0.0, 0.5, 1.0)


@pytest.mark.parametrize("n", [7, 100, 1000])
def test_equal_rows_are_at_zero_without_rounding(n):
    assert divmatch.c2st(np.zeros((n, 2)), np.zeros((n, 2))).value == 0.0


def test_one_row_is_inconclusive():
    with pytest.raises(InconclusiveError):
        divmatch.c2st([1.0], [1.0, 2.0])


def test_h_divergence_of_one_column_is_twice_kolmogorov_smirnov():
    x, y = pair(11, 60, 80)
    expected = 2 * ks_2samp(x[:, 0], y[:, 0]).statistic
    found = divmatch.c2st(x, y).params["h_divergence"]
    assert found == pytest.approx(expected, abs=ROUNDING(140))


def test_h_divergence_of_tied_rows_is_the_plain_loop():
    x, y = (np.round(rows, 0) for rows in pair(12, 40, 30))
    found = divmatch.c2st(x, y).params["h_divergence"]
    truth = reference.thresholds(x[:, 0].tolist(), y[:, 0].tolist())
    assert found == pytest.approx(truth, abs=ROUNDING(70))


def test_h_divergence_counts_weights():
    x, y = pair(13, 30, 20)
    counts = np.arange(30) % 3
    found = divmatch.c2st(x, y, weights_x=counts).params["h_divergence"]
    truth = divmatch.c2st(np.repeat(x, counts, axis=0), y).params["h_divergence"]
    assert found == pytest.approx(truth, abs=ROUNDING(50))


def test_h_divergence_and_proxy_are_those_of_shifted_normals():
    """4 Φ(1/2) − 2 = .765850; a threshold is the best classifier."""
    found = divmatch.c2st(*pair(14, 4000, 4000)).params
    assert found["h_divergence"] == pytest.approx(2 * BEST, abs=LUCK(0.022, z=4, bias=0.008))
    assert found["proxy_a_distance"] == pytest.approx(2 * BEST, abs=LUCK(0.025 * 2**0.5, z=4))


def test_h_divergence_needs_one_column():
    assert divmatch.c2st(*pair(15, 20, 20, d=2)).params["h_divergence"] is None


@pytest.mark.slow
def test_bound_and_p_value_keep_their_level_at_the_null():
    """200 runs: at most 5 % + 4 sd of p-values up to .05, and of bounds above the truth 0."""
    made = [divmatch.c2st(*pair(s, 200, 200, shift=0.0), seed=s) for s in range(200)]
    limit = LUCK((0.05 * 0.95 / 200) ** 0.5, z=4, bias=0.05)
    assert np.mean([found.test.p_value <= 0.05 for found in made]) <= limit
    assert np.mean([found.params["tv_lower"] > 0 for found in made]) <= limit
