"""Rules of an explanation: found where they are, tested on other rows, rarely false."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from divmatch.estimators.explanation_rules import ratio_interval, rules
from divmatch.estimators.explanation_search import Condition, grid_of, holds, rounded, searched
from divmatch.randomness import stream
from divmatch.samples import as_samples
from tests.tolerances import LUCK
from tests.truths.columns import correlated, held, planted, region, with_words


def found_in(x, y, **settings):
    return rules(as_samples(x, "x"), as_samples(y, "y"), **settings)


def test_a_planted_rule_is_found_and_its_ratio_covered():
    first = found_in(*planted(np.random.default_rng(18), 2000))[0]
    assert first.columns == ("0", "1")
    assert first.adjusted < 1e-6
    masses = [
        held(first.text, block).mean() for block in planted(np.random.default_rng(0), 200_000)
    ]
    assert first.low <= masses[1] / masses[0] <= first.high
    assert masses[1] / masses[0] > 2.0


def test_masses_are_those_of_the_rows_that_the_text_names():
    """Counted on the half that had no part in the search."""
    pair = planted(np.random.default_rng(19), 800)
    rule = found_in(*pair, seed=3)[0]
    for points, role, mass in zip(pair, "pq", rule.masses, strict=True):
        half = np.array_split(stream(3, "explain", "halves", role).permutation(800), 2)[1]
        assert mass == pytest.approx(held(rule.text, points[half]).mean())


def test_weights_count_in_rules():
    x, y = planted(np.random.default_rng(20), 2000, ratio=1.0)
    first = rules(as_samples(x, "x"), as_samples(y, "y", 1.0 + 3.0 * region(y)))[0]
    assert first.columns == ("0", "1")
    block = planted(np.random.default_rng(0), 200_000, ratio=1.0)[0]
    mass, weights = held(first.text, block), 1.0 + 3.0 * region(block)
    assert first.low <= (mass @ weights / weights.sum()) / mass.mean() <= first.high


def test_words_make_rules():
    rng = np.random.default_rng(21)
    words = [
        rng.choice(["android", "ios", "web"], 600, p=p) for p in ([0.4, 0.2, 0.4], [0.3, 0.5, 0.2])
    ]
    found = rules(*(with_words(rng.normal(size=600), w) for w in words))
    assert found[0].text == "device = ios"


def test_three_conditions_are_found_where_two_do_not_do():
    """Q has more rows where all three columns are large, and nothing else."""
    rng = np.random.default_rng(29)
    x, y = rng.normal(size=(2, 6000, 3))
    corner = rng.random(6000) < 0.06
    y[corner] = 0.8 + rng.random((np.count_nonzero(corner), 3))
    first = found_in(x, y)[0]
    assert sorted(first.columns) == ["0", "1", "2"]
    assert all(" > " in part for part in first.text.split(" and "))
    assert first.ratio > 4.0


def test_the_clearest_rule_is_that_of_all_pairs_in_plain_loops():
    rng = np.random.default_rng(30)
    x, y = (as_samples(np.round(correlated(rng, 300, r)[:, :2]), "x") for r in (0.9, -0.9))
    grid = grid_of(x, y)
    best = 0.0
    for one in conditions_of(grid, 0):
        for other in conditions_of(grid, 1):
            p, q = (holds(codes, (one, other)).mean() for codes in grid.codes)
            pool = (p + q) / 2
            if pool <= 0.5 and pool > 0:
                best = max(best, (q - p) ** 2 / (pool * (1 - pool) * 2 / 300))
    p, q = (holds(codes, searched(grid, 1)[0]).mean() for codes in grid.codes)
    pool = (p + q) / 2
    assert (q - p) ** 2 / (pool * (1 - pool) * 2 / 300) == pytest.approx(best)


def conditions_of(grid, j):
    last = grid.counts[j] - 1
    ends = [(0, k) for k in range(last)] + [(k + 1, last) for k in range(last)]
    return [Condition(j, *pair) for pair in ends]


def test_a_condition_holds_its_codes_from_the_first_to_the_last():
    codes = np.array([[0, 1, 2, 3, 1], [5, 5, 5, 5, 0]])
    kept = holds(codes, (Condition(0, 1, 2), Condition(1, 5, 5)))
    assert kept.tolist() == [False, True, True, False, False]


def test_gaps_make_rules():
    rng = np.random.default_rng(28)
    pair = []
    for share in (0.05, 0.3):
        block = np.column_stack([rng.normal(size=400), rng.random(400) < share])
        origin = {"layout": (None, 1, 2)}
        columns = ("age", "age is missing")
        pair.append(replace(as_samples(block, "x"), columns=columns, origin=origin))
    assert rules(*pair)[0].text == "age is missing"


def test_samples_that_share_no_value_have_a_rule():
    first = found_in(np.ones((50, 2)), np.full((50, 2), 2.0))[0]
    assert (first.masses, first.ratio) in (((1.0, 0.0), 0.0), ((0.0, 1.0), np.inf))
    assert first.adjusted < 1e-6


def test_a_half_without_any_weight_allows_no_rules():
    x = as_samples(np.arange(40.0), "x", np.eye(40)[0])
    assert rules(x, as_samples(np.arange(40.0), "y")) == ()


def test_no_two_rules_hold_the_same_rows():
    found = found_in(*planted(np.random.default_rng(22), 2000), top=4)
    assert len({rule.text for rule in found}) == len(found)
    assert all(rule.p_value <= rule.adjusted for rule in found)


@pytest.mark.parametrize(("a", "b", "n", "m"), [(5, 12, 100, 80), (0, 7, 50, 60), (9, 0, 40, 40)])
def test_the_interval_of_a_ratio_is_that_of_a_binomial(a, b, n, m):
    low, high, p = ratio_interval((a, b), (n, m), 0.9)
    exact = stats.binomtest(b, a + b).proportion_ci(0.9, "exact")
    odds = [t / (1 - t) * n / m if t < 1 else np.inf for t in exact]
    assert [low, high] == pytest.approx(odds)
    tails = [
        stats.binomtest(b, a + b, m / (n + m), alternative=s).pvalue for s in ("less", "greater")
    ]
    assert p == pytest.approx(min(1.0, 2 * min(tails)))


def test_no_row_at_all_says_nothing():
    assert ratio_interval((0, 0), (50, 50), 0.95) == (0.0, np.inf, 1.0)


def test_cuts_are_rounded_as_far_as_they_may():
    assert [rounded(0.8412, 0.05), rounded(-1234.5, 10.0), rounded(0.1, 0.0)] == [0.8, -1230.0, 0.1]


@pytest.mark.slow
def test_false_rules_are_rare():
    false = 0
    for run in range(400):
        rng = np.random.default_rng([run, 23])
        pair = [as_samples(np.round(correlated(rng, 250, 0.5), 1), "x") for _ in "xy"]
        false += any(rule.adjusted <= 0.05 for rule in rules(*pair, seed=run))
    assert false / 400 <= 0.05 + LUCK(np.sqrt(0.05 * 0.95 / 400), z=2)


@pytest.mark.slow
def test_intervals_of_rules_hold_the_ratio():
    """The truth from a million rows, by the words of each rule."""
    pair = planted(np.random.default_rng(24), 1_000_000)
    hits = []
    for run in range(200):
        for rule in found_in(*planted(np.random.default_rng([run, 25]), 600), seed=run)[:1]:
            masses = [held(rule.text, block).mean() for block in pair]
            hits.append(rule.low <= masses[1] / masses[0] <= rule.high)
    assert len(hits) > 150
    assert np.mean(hits) >= 0.95 - LUCK(np.sqrt(0.05 * 0.95 / len(hits)), z=2)
