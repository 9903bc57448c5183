"""Neural-network divergence: plain loops, exact transport distances, closed forms of shifts."""

from copy import deepcopy

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

import divmatch
from divmatch.estimators.classifier_test import trained_scores
from divmatch.estimators.folds import dealt
from divmatch.estimators.network import steepest
from divmatch.randomness import stream
from divmatch.samples import as_samples
from tests.reference import network as reference
from tests.tolerances import LUCK, ROUNDING, SAME

CRITICS = pytest.mark.parametrize("critic", ["linear", "mlp"])
MODES = pytest.mark.parametrize("mode", ["logistic", "wgan"])
JS_OF_SHIFT = 0.1114215  # of N(0, I) and N(e₁, I), by quadrature


def pair(seed, n=300, m=300, d=2, shift=1.0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    y[:, 0] += shift
    return x, y


def found(x, y, **settings):
    return divmatch.c2st(x, y, method="network", **settings)


def fit(x, y, critic):
    """The critic's scores, and the deal with its held-out rows, as the method makes them."""
    rng = deepcopy(stream(0, "c2st", "method"))
    samples = as_samples(x, "x"), as_samples(y, "y")
    deal = dealt(*samples, 2, rng)
    scores = trained_scores(deal, "logistic" if critic == "linear" else "mlp", rng)
    held = deal.fold == 1
    points = np.concatenate([x[deal.rows[0]], y[deal.rows[1]]])[held]
    return samples, deal, rng, points, scores[held], deal.p[held], scores


@CRITICS
def test_logistic_mode_is_the_plain_loop(critic):
    x, y = pair(0, 60, 50)
    *_, scores, of_p, _ = fit(x, y, critic)
    truth = reference.logistic(scores[of_p].tolist(), scores[~of_p].tolist())
    assert found(x, y, critic=critic).value == pytest.approx(truth, abs=ROUNDING(60))


@CRITICS
def test_wgan_mode_is_the_plain_loop(critic):
    x, y = pair(1, 60, 50)
    *_, points, scores, of_p, _ = fit(x, y, critic)
    slope = reference.steepest(points.tolist(), scores.tolist())
    truth = (scores[of_p].mean() - scores[~of_p].mean()) / slope
    assert found(x, y, mode="wgan", critic=critic).value == pytest.approx(truth, abs=ROUNDING(60))


@CRITICS
def test_wgan_is_below_the_transport_distance_of_the_held_out_rows(critic):
    x, y = pair(2, 80, 80, d=3, shift=0.5)
    *_, points, _, of_p, _ = fit(x, y, critic)
    costs = cdist(points[of_p], points[~of_p])
    most = costs[linear_sum_assignment(costs)].mean()
    assert found(x, y, mode="wgan", critic=critic).value <= most


def test_wgan_of_a_shift_in_many_columns_is_its_length():
    """The logarithm of the ratio is linear: the best critic, so W₁ = 1."""
    result = found(*pair(3, 3000, 3000, d=6), mode="wgan")
    assert result.value == pytest.approx(1.0, abs=LUCK(result.se, z=4, bias=0.03))


@CRITICS
def test_logistic_of_a_shift_reaches_the_jensen_shannon_divergence(critic):
    result = found(*pair(4, 3000, 3000), critic=critic)
    assert result.value == pytest.approx(JS_OF_SHIFT, abs=LUCK(result.se, z=4, bias=0.005))


def test_wgan_of_one_column_is_scipys_distance():
    x, y = pair(5, 70, 90, d=1)
    result = found(x, y, mode="wgan")
    truth = wasserstein_distance(x[:, 0], y[:, 0])
    assert result.value == pytest.approx(truth, abs=ROUNDING(160))


def test_weighted_wgan_of_one_column_is_scipys_distance():
    x, y = pair(6, 40, 50, d=1)
    weights = np.random.default_rng(6).random(40)
    result = found(x, y, mode="wgan", weights_x=weights)
    truth = wasserstein_distance(x[:, 0], y[:, 0], weights)
    assert result.value == pytest.approx(truth, abs=ROUNDING(90))


def test_random_part_of_the_pairs_has_at_most_their_slope(monkeypatch):
    x, y = pair(7, 200, 200)
    samples, deal, rng, *_, scores = fit(x, y, "linear")
    whole = steepest(deal, samples, scores, rng)
    monkeypatch.setattr("divmatch.estimators.network.STEEPEST_FROM", 50)
    assert 0 < steepest(deal, samples, scores, rng) <= whole


def test_wgan_has_the_unit_of_the_data():
    x, y = pair(8)
    one, ten = (found(s * x, s * y, mode="wgan") for s in (1.0, 16.0))
    assert ten.value == pytest.approx(16.0 * one.value, abs=ROUNDING(300, scale=16.0 * 300))


def test_units_are_those_of_the_modes():
    x, y = pair(9, 40, 40)
    assert [found(x, y, mode=mode).unit for mode in ("logistic", "wgan")] == ["nats", "data unit"]
    assert divmatch.c2st(x, y).unit == "1"


def test_a_mode_names_the_method():
    assert divmatch.c2st(*pair(10, 40, 40), mode="wgan").method == "network"


@MODES
def test_equal_rows_are_at_zero(mode):
    assert found(np.ones((20, 2)), np.ones((20, 2)), mode=mode).value == pytest.approx(
        0.0, abs=1e-15
    )


@MODES
def test_same_seed_same_digits(mode):
    x, y = pair(11, 60, 60)
    assert SAME(*(found(x, y, mode=mode, seed=3).value for _ in range(2)))


@MODES
def test_permutations_find_a_difference(mode):
    assert found(*pair(12, 60, 60, shift=2.0), mode=mode, permutations=19).test.p_value == 0.05


@MODES
def test_weights_repeat_rows_on_average(mode):
    """Weights that undo a shift of the mixture leave nothing to find."""
    rng = np.random.default_rng(13)
    x, y = rng.normal(size=(2000, 2)), rng.normal(size=(2000, 2))
    left = rng.random(2000) < np.where(y[:, 0] < 0, 1.0, 0.25)
    weights = np.where(y[left, 0] < 0, 1.0, 4.0)
    result = found(x, y[left], mode=mode, weights_y=weights)
    assert result.value <= LUCK(result.se, z=4)
    assert found(x, y[left], mode=mode).value > LUCK(result.se, z=4)


@pytest.mark.slow
@MODES
def test_nothing_is_found_between_equal_distributions(mode):
    """100 runs: on average at most 0, within luck."""
    values = [
        found(*pair(100 + s, 100, 100, shift=0.0), mode=mode, seed=s).value for s in range(100)
    ]
    assert np.mean(values) <= LUCK(np.std(values, ddof=1) / 10)
