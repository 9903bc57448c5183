"""League tables: order, letters that follow from Holm's p-values, the gap to the next."""

from itertools import pairwise

import numpy as np
import pytest

from divmatch.comparison import difference, standings
from divmatch.estimator import parse_metric
from divmatch.league import league
from divmatch.record import Test
from divmatch.samples import as_samples
from tests.reference import comparison as reference
from tests.tolerances import LUCK, ROUNDING


def drawn(seed, shifts, n=200, d=2):
    rng = np.random.default_rng([12, seed])
    rows = [rng.normal(shift, 1.0, (n, d)) for shift in (0.0, *shifts)]
    return [as_samples(block, f"s{k}") for k, block in enumerate(rows)]


def ranked(seed, shifts, metric="energy", **options):
    samples = drawn(seed, shifts)
    estimator, settings = parse_metric(metric)
    found = standings(estimator, samples[0], samples[1:], settings)
    return league(found, **options), found


@pytest.mark.parametrize("metric", ["energy", "mmd", "kl:method=gaussian", "kl:method=knn"])
def test_the_nearest_comes_first(metric):
    made, found = ranked(0, (0.9, 0.1, 0.5), metric)
    assert made.order == (1, 2, 0)
    values = [found[k].result.value for k in made.order]
    assert values == sorted(values)


def test_every_pair_is_compared_as_alone():
    made, found = ranked(1, (0.9, 0.1, 0.5))
    assert len(made.pairs) == 3
    for pair in made.pairs:
        alone = difference(found[pair.one], found[pair.other], level=0.95)
        assert pair.difference == alone
        assert pair.difference.value <= 0


def test_p_values_are_adjusted_for_all_pairs():
    made, _ = ranked(2, (0.2, 0.3, 0.5, 0.6))
    expected = reference.holm([pair.difference.p_value for pair in made.pairs])
    found = [pair.test.adjusted for pair in made.pairs]
    assert found == pytest.approx(expected, rel=ROUNDING(1))


@pytest.mark.parametrize("seed", range(4))
def test_a_letter_is_shared_where_the_adjusted_p_value_is_large(seed):
    made, _ = ranked(seed, (0.2, 0.3, 0.4, 0.6, 0.7))
    place = {k: i for i, k in enumerate(made.order)}
    for pair in made.pairs:
        shared = reference.share_a_letter(made.letters, place[pair.one], place[pair.other])
        assert shared == (pair.test.adjusted > 0.05)


def test_neighbours_are_pairs_of_the_order():
    made, _ = ranked(3, (0.9, 0.1, 0.5))
    assert [(p.one, p.other) for p in made.neighbours()] == list(pairwise(made.order))


def test_permutations_can_only_blur():
    """The larger p-value counts: exchanges that see nothing leave one group."""
    blind = Test(0.9, "permutation", 9, {})
    made, _ = ranked(4, (0.0, 3.0), exchanged=lambda i, j: blind)
    assert made.letters == ("a", "a")


def test_one_candidate_is_a_group():
    made, _ = ranked(5, (0.3,))
    assert (made.order, made.letters, made.pairs) == ((0,), ("a",), ())


@pytest.mark.slow
def test_equal_candidates_are_seldom_told_apart():
    """Any pair of five equal ones: at most one time in twenty."""
    runs = 300
    wrong = sum(len(set(ranked(seed, (0.5,) * 5)[0].letters)) > 1 for seed in range(runs))
    assert wrong / runs <= 0.05 + LUCK((0.05 * 0.95 / runs) ** 0.5, z=3)
