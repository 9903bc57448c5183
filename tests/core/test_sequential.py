"""Sequential Monte Carlo: the stopping rule and its exact p-value against an urn in plain loops."""

import numpy as np
import pytest

from divmatch import sequential
from divmatch.sequential import enough, first_stop, monte_carlo_se, sequential_p_value, stop
from tests.reference import designs as reference
from tests.tolerances import LUCK, ROUNDING

PRECISION = 0.05
ENDS = [end for end, _ in reference.ends(enough(PRECISION), PRECISION)]


@pytest.mark.parametrize(("count", "draws"), [(0, 1), (0, 99), (7, 20), (99, 99)])
def test_error_is_that_of_a_beta_law(count, draws):
    expected = reference.error(count, draws)
    assert monte_carlo_se(count, draws) == pytest.approx(expected, abs=ROUNDING(4))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.97])
def test_stops_as_soon_as_the_error_is_small(share):
    drawn = np.random.default_rng(1).random(400) < share
    assert stop(drawn, 0.03) == reference.stopped(drawn.tolist(), 0.03)


def test_earlier_draws_count():
    drawn = np.random.default_rng(2).random(400) < 0.1
    whole = stop(drawn, 0.03)
    assert stop(drawn[50:], 0.03, int(drawn[:50].sum()), 50) == whole - 50


def test_too_few_draws_do_not_stop():
    assert stop(np.zeros(5, dtype=bool), 0.03) is None


@pytest.mark.parametrize("precision", [0.01, 0.05, 0.1])
def test_enough_is_enough_for_every_count(precision):
    draws = enough(precision)
    assert max(monte_carlo_se(count, draws) for count in range(draws + 1)) <= precision


def test_first_stop_has_no_large_draw():
    assert stop(np.zeros(100, dtype=bool), 0.05) == first_stop(0.05)


@pytest.mark.parametrize(("draws", "count"), ENDS)
def test_p_value_is_that_of_the_urn(draws, count):
    expected = sum_up_to((draws, count))
    found = sequential_p_value(count, draws, PRECISION)
    assert found == pytest.approx(expected, abs=ROUNDING(draws**2))


def sum_up_to(end):
    """The mass of the ends of the whole rule up to this one."""
    total = 0.0
    for other, mass in reference.ends(enough(PRECISION), PRECISION):
        total += mass
        if other == end:
            break
    return total


@pytest.mark.parametrize("count", [0, 3, 20, 37, 40])
def test_a_cap_counts_all_that_is_left(count):
    expected = reference.sequential_p_value(count, 40, 0.01)
    assert sequential_p_value(count, 40, 0.01) == pytest.approx(expected, abs=ROUNDING(1600))


def test_without_a_stop_it_is_the_usual_p_value():
    assert sequential_p_value(4, 19, 0.01) == pytest.approx(5 / 20, abs=ROUNDING(400))


def test_counts_far_from_the_boundary_need_not_be_kept(monkeypatch):
    banded = sequential_p_value(230, 2300, 0.00625)
    monkeypatch.setattr(sequential, "BAND", 1e9)
    whole = sequential_p_value(230, 2300, 0.00625)
    assert banded == pytest.approx(whole, abs=ROUNDING(2300**2))


def test_p_values_are_uniform_under_the_null():
    """P(p <= a) = a at every p-value that can occur: the ends' masses are their steps."""
    ends = reference.ends(enough(PRECISION), PRECISION)
    found = [sequential_p_value(c, b, PRECISION) for (b, c), _ in ends]
    steps = np.diff([0.0, *found])
    masses = [mass for _, mass in ends]
    assert np.abs(steps - masses).max() <= ROUNDING(enough(PRECISION) ** 2)


def test_sequential_p_value_is_near_the_truth():
    drawn = np.random.default_rng(3).random(enough(0.01)) < 0.2
    used = stop(drawn, 0.01)
    found = sequential_p_value(int(drawn[:used].sum()), used, 0.01)
    assert found == pytest.approx(0.2, abs=LUCK(0.01))
