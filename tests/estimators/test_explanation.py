"""Explanations: parts against plain loops, what they add up to, where they are zero."""

import numpy as np
import pytest
from scipy import stats

from divmatch.errors import InconclusiveError
from divmatch.estimators.explanation import explained, marginal_part
from divmatch.estimators.explanation_features import columns_of
from divmatch.estimators.explanation_test import blocks_of, pooled_rows, statistics, whole_test
from divmatch.estimators.explanation_views import quantiles, rank_correlation, typical
from divmatch.kernels.execution import executing
from divmatch.samples import as_samples
from tests.reference import explanation as plain
from tests.tolerances import LUCK, ROUNDING, SAME
from tests.truths.columns import correlated, with_words


def explain(x, y, **settings):
    return explained(as_samples(x, "x"), as_samples(y, "y"), **settings)


def tied(rng, n, m):
    """Columns without ties, with few and with two values; uneven weights."""
    made = []
    for rows, r in ((n, 0.7), (m, -0.3)):
        block = correlated(rng, rows, r, (0.2, 0.0, 0.0))
        block[:, 1] = np.round(block[:, 1] * 2) / 2
        block[:, 2] = block[:, 2] > r
        weights = rng.random(rows) + 0.1
        made.append(as_samples(block, "x", weights))
    return made


# -------------------------------------------------------------------------------------- parts


def test_the_whole_is_the_sum_of_the_parts_in_plain_loops():
    x, y = tied(np.random.default_rng(0), 12, 15)
    a, b = x.weights, y.weights
    columns = list(zip(x.points.T, y.points.T, strict=True))
    expected = sum(plain.marginal(p, q, a, b, 4) for p, q in columns)
    for j in range(3):
        for k in range(j):
            pair = [[columns[c][side] for c in (j, k)] for side in (0, 1)]
            expected += plain.dependence(*pair, a, b, 4)
    assert explained(x, y, bins=4).square == pytest.approx(expected, abs=ROUNDING(1000))


def test_words_are_compared_as_words():
    rng = np.random.default_rng(1)
    numbers, words = rng.normal(size=(2, 12)), [list("aabbbbcccccc"), list("aaaaabbbccca")]
    a = np.full(12, 1 / 12)
    found = explained(*(with_words(n, w) for n, w in zip(numbers, words, strict=True)), bins=5)
    sides = [(n, w) for n, w in zip(numbers, words, strict=True)]
    expected = (
        plain.of_words(*words, a, a)
        + plain.marginal(*numbers, a, a, 5)
        + plain.with_words(*sides, a, a, 5)
    )
    assert found.square == pytest.approx(expected, abs=ROUNDING(1000))
    assert [one.column.name for one in found.effects] == ["amount", "device"]
    assert found.effects[1].column.words == ("a", "b", "c")


def test_the_rarest_of_many_words_are_one_in_the_dependence():
    rng = np.random.default_rng(2)
    words = [f"w{min(k, 11):02}" for k in rng.geometric(0.2, 400)]
    x = with_words(rng.normal(size=400), words)
    found = explained(x.take(np.arange(200)), x.take(np.arange(200, 400)), bins=5)
    assert found.merged == ("device",)
    assert len(columns_of(x)[1].words) > 5


def test_words_by_the_dozen_are_all_in_the_marginal_part():
    rng = np.random.default_rng(31)
    every = [f"w{k:02}" for k in range(40)]
    words = [every + list(rng.choice(every, 60)) for _ in "xy"]
    pair = [with_words(np.arange(100.0), own) for own in words]
    a = np.full(100, 0.01)
    part = marginal_part(columns_of(pair[0])[1], *pair, 10)
    assert part.square == pytest.approx(plain.of_words(*words, a, a), abs=ROUNDING(1000))


def test_values_and_shares_add_up():
    rng = np.random.default_rng(3)
    found = explain(correlated(rng, 300, 0.5), correlated(rng, 200, -0.2, (0.4, 0, 0)))
    parts = [number.value for one in found.effects for number in (one.marginal, one.dependence)]
    assert sum(parts) == pytest.approx(found.whole.value, abs=ROUNDING(100))
    pairs = sum(number.value for *_, number in found.pairs)
    assert pairs == pytest.approx(sum(parts[1::2]), abs=ROUNDING(100))
    assert sum(one.shares[0].value for one in found.effects) == pytest.approx(1.0, abs=1e-12)
    assert sum(number.value for number in found.shares) == pytest.approx(1.0, abs=1e-12)


def test_a_shift_of_one_column_is_that_columns_alone():
    """Also where the columns hang together: their copula stays as it is."""
    rng = np.random.default_rng(4)
    found = explain(correlated(rng, 1500, 0.8), correlated(rng, 1500, 0.8, (0.5, 0, 0)))
    for one, truth in zip(found.effects, (1.0, 0.0, 0.0), strict=True):
        both, alone, together = one.shares
        assert abs(alone.value - truth) < LUCK(alone.se)
        assert abs(together.value) < LUCK(together.se)
        assert abs(both.value - truth) < LUCK(both.se)
    assert found.effects[0].shares[0].se < 0.1


def test_a_correlation_that_flips_is_dependence_alone():
    rng = np.random.default_rng(5)
    found = explain(correlated(rng, 1500, 0.9), correlated(rng, 1500, -0.9))
    alone, together = found.shares
    assert abs(alone.value) < LUCK(alone.se)
    assert abs(together.value - 1.0) < LUCK(together.se)
    assert [round(one.shares[0].value, 1) for one in found.effects] == [0.5, 0.5, 0.0]
    (first, *_) = sorted(found.pairs, key=lambda pair: -pair[2].value)
    assert first[:2] == (0, 1)


def test_columns_in_another_order_have_their_own_shares():
    rng = np.random.default_rng(6)
    x, y = correlated(rng, 200, 0.5), correlated(rng, 250, 0.0, (0.5, 0, 0.2))
    order = [2, 0, 1]
    found, moved = explain(x, y), explain(x[:, order], y[:, order])
    for place, column in enumerate(order):
        one, other = found.effects[column], moved.effects[place]
        assert other.shares[0].value == pytest.approx(one.shares[0].value, abs=1e-12)
        assert other.shares[0].se == pytest.approx(one.shares[0].se, rel=1e-9)


def test_whole_weights_are_repeated_rows():
    rng = np.random.default_rng(7)
    x, y = correlated(rng, 60, 0.5), correlated(rng, 50, 0.0)
    times = rng.integers(1, 4, 60)
    weighted = explained(as_samples(x, "x", times), as_samples(y, "y"))
    repeated = explain(np.repeat(x, times, axis=0), y)
    assert weighted.square == pytest.approx(repeated.square, abs=ROUNDING(1000))


def test_the_scale_of_weights_changes_nothing():
    rng = np.random.default_rng(8)
    x, y = correlated(rng, 60, 0.5), correlated(rng, 50, 0.0)
    found = explained(as_samples(x, "x", np.full(60, 2.0)), as_samples(y, "y"))
    assert found.whole.value == pytest.approx(explain(x, y).whole.value, abs=ROUNDING(1000))


def test_a_monotone_map_of_a_column_changes_nothing():
    rng = np.random.default_rng(9)
    x, y = correlated(rng, 100, 0.5), correlated(rng, 120, 0.0, (0.5, 0, 0))
    moved = [np.column_stack([np.exp(block[:, 0]), block[:, 1:]]) for block in (x, y)]
    assert SAME(explain(x, y).whole.value, explain(*moved).whole.value)


def test_a_monotone_map_in_one_sample_leaves_the_dependence():
    rng = np.random.default_rng(10)
    x, y = correlated(rng, 100, 0.5), correlated(rng, 120, 0.0)
    moved = np.column_stack([y[:, 0] ** 3 - 9.0, y[:, 1:]])
    found, other = explain(x, y), explain(x, moved)
    assert SAME([p[2].value for p in found.pairs], [p[2].value for p in other.pairs])
    assert other.effects[0].marginal.value > found.effects[0].marginal.value + 0.1


def test_threads_change_no_digit():
    rng = np.random.default_rng(11)
    x, y = rng.normal(size=(4000, 6)), rng.normal(0.1, 1.0, size=(3000, 6))
    found = explain(x, y)
    with executing(threads=3):
        other = explain(x, y)
    assert SAME(found.whole.value, other.whole.value)
    assert SAME(found.effects[2].shares[0].se, other.effects[2].shares[0].se)


def test_panels_of_little_memory_change_nothing():
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=(300, 5)), rng.normal(size=(200, 5))
    found, test = (
        explain(x, y),
        whole_test(as_samples(x, "x"), as_samples(y, "y"), bins=5, permutations=19),
    )
    with executing(memory=1 << 20):
        assert explain(x, y).whole.value == pytest.approx(found.whole.value, abs=ROUNDING(1000))
        other = whole_test(as_samples(x, "x"), as_samples(y, "y"), bins=5, permutations=19)
    assert other.p_value == test.p_value


def test_too_few_rows_are_no_basis():
    with pytest.raises(InconclusiveError, match="x: 5 rows by their weights, expected at least 8"):
        explain(np.zeros((5, 2)), np.zeros((20, 2)))


# ----------------------------------------------------------------------------- test of the whole


def test_the_statistic_of_a_split_is_that_of_its_rows():
    """At pooled levels both parts are plain means of squared differences."""
    rng = np.random.default_rng(13)
    x, y = tied(rng, 20, 24)
    blocks = blocks_of(20, 24)
    rows, layout = pooled_rows(x, y, blocks.starts, 4)
    labels = np.array([rng.permutation(blocks.labels) for _ in range(3)])
    found = statistics(rows, layout, labels)
    points = np.concatenate([x.points, y.points])
    masses = np.concatenate([x.weights * 20, y.weights * 24]) / 44
    shares = np.array(
        [
            [[plain.share(v, line, masses, u) for v in line] for u in plain.levels(4)]
            for line in points.T
        ]
    )
    for split, value in zip(labels, found, strict=True):
        expected = 0.0
        sides = [masses * kept / (masses @ kept) for kept in (split, ~split)]
        for j in range(3):
            expected += np.mean((shares[j] @ (sides[0] - sides[1])) ** 2)
            for k in range(j):
                c = [
                    (shares[j] * a) @ shares[k].T - np.outer(shares[j] @ a, shares[k] @ a)
                    for a in sides
                ]
                expected += np.mean((c[0] - c[1]) ** 2)
        assert value == pytest.approx(expected, abs=ROUNDING(1000))


def test_blocks_of_one_size_change_labels_and_the_rest_stays():
    blocks = blocks_of(100_000, 500)
    sizes = np.diff(np.append(blocks.starts, 100_500))
    assert set(sizes[blocks.moved]) == {7}
    assert blocks.labels[blocks.starts < 100_000].all()
    assert not blocks.labels[blocks.starts >= 100_000].any()
    assert np.count_nonzero(blocks.moved & ~blocks.labels) == 71


def test_one_file_with_itself_is_no_difference():
    x = as_samples(correlated(np.random.default_rng(14), 150, 0.5), "x")
    assert whole_test(x, x, bins=10, permutations=49).p_value == 1.0
    assert explained(x, x).square == pytest.approx(0.0, abs=1e-28)


def test_constant_columns_are_no_difference():
    x = as_samples(np.ones((40, 2)), "x")
    assert whole_test(x, x, bins=10, permutations=19).p_value == 1.0
    assert explained(x, x).shares is None


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(40, 40), (20, 200)])
def test_p_values_are_uniform(sizes):
    p = []
    for run in range(1000):
        rng = np.random.default_rng([run, 27])
        x, y = (as_samples(np.round(correlated(rng, n, 0.5), 1), "x", rng.random(n)) for n in sizes)
        p.append(whole_test(x, y, bins=4, permutations=19, seed=run).p_value)
    levels = np.array([0.05, 0.1, 0.25, 0.5])
    hits = np.mean(np.array(p)[:, None] <= levels, axis=0)
    assert (np.abs(hits - levels) < LUCK(np.sqrt(levels * (1 - levels) / 1000), z=3)).all()


def drawn(case, rng, n):
    """A correlation that changes and a shift, with ties or without."""
    r, shift = (0.8, 0.0) if case == "null" else (-0.3, 0.3)
    pair = correlated(rng, n, 0.8), correlated(rng, n, r, (0.0, shift, 0.0))
    return [np.round(block) for block in pair] if case == "ties" else pair


def numbers_of(found, case):
    made = [found.whole, found.effects[1].marginal, found.effects[2].dependence]
    if case == "null":
        return made
    return [*made, *found.shares, found.effects[1].shares[0], found.effects[0].shares[2]]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["both", "ties", "null"])
def test_intervals_hold_the_truth(case):
    """In at least 91 of 100 runs; of parts that are 0 in more than 95."""
    truth = [0.0, 0.0, 0.0]
    if case != "null":
        large = explain(*drawn(case, np.random.default_rng(16), 400_000))
        truth = [one.value for one in numbers_of(large, case)]
    held = []
    for run in range(250):
        found = explain(*drawn(case, np.random.default_rng([run, 17]), 2000), seed=run)
        pairs = zip(numbers_of(found, case), truth, strict=True)
        held.append([abs(one.value - t) <= 1.96 * one.se for one, t in pairs])
    assert (np.mean(held, axis=0) >= 0.91).all()
    assert case == "null" or np.mean(held, axis=0)[0] <= 0.98


# -------------------------------------------------------------------------------------- views


def test_quantiles_and_rank_correlations_are_the_usual_ones():
    block = np.round(correlated(np.random.default_rng(26), 100, 0.6), 1)
    x = as_samples(block, "x")
    one, other, _ = columns_of(x)
    levels = (0.1, 0.25, 0.33, 0.5, 0.9)
    expected = np.quantile(block[:, 0], levels, method="averaged_inverted_cdf")
    assert quantiles(block[:, 0], x.masses(), levels) == pytest.approx(expected)
    expected = stats.spearmanr(block[:, 0], block[:, 1]).statistic
    assert rank_correlation(one, other, x) == pytest.approx(expected)


def test_weights_count_in_quantiles():
    assert quantiles(np.array([1.0, 2.0]), np.array([0.3, 0.7]), (0.2, 0.3, 0.5)).tolist() == [
        1,
        1.5,
        2,
    ]


def test_the_quantile_that_moved_is_shown():
    x = np.random.default_rng(32).normal(size=400)
    shown = []
    for y in (x + 1.0, np.where(x > 0.8, 3 * x, x)):
        pair = as_samples(x, "x"), as_samples(y, "y")
        shown.append(typical(columns_of(pair[0])[0], *pair)["level"])
    assert shown == [0.5, 0.9]
