"""Random orders of rows: by their numbers alone, and without a trace of their ranks."""

import numpy as np
import pytest

from divmatch.estimators.row_order import both_shuffled, shuffled
from divmatch.randomness import stream
from divmatch.samples import as_samples
from tests.tolerances import LUCK


def order(points, seed=0, weights=None):
    return shuffled(as_samples(points, "x", weights), stream(seed, "test"))


def test_every_row_that_carries_weight_is_there_once():
    rows = np.round(np.random.default_rng(0).normal(size=(50, 2)))
    assert sorted(order(rows, weights=[0.0] + [1.0] * 49)) == list(range(1, 50))


def test_order_of_the_file_and_of_its_columns_does_not_matter():
    rows = np.random.default_rng(1).normal(size=(30, 3))
    expected = rows[order(rows)]
    mixed = np.random.default_rng(2).permutation(30)
    assert (rows[mixed][order(rows[mixed])] == expected).all()
    assert (rows[order(rows[:, ::-1])] == expected).all()


@pytest.mark.parametrize("kind", ["numbers", "bits"])
def test_one_seed_puts_no_ranks_together(kind):
    """First in the order are rows of all ranks, and equal rows are not neighbours."""
    rng, first, alike = np.random.default_rng(3), [], []
    for _ in range(400):
        x = rng.normal(size=40) if kind == "numbers" else rng.integers(0, 2, 400).astype(float)
        found = x[order(x)]
        first.append(np.mean(x < found[0]) + 0.5 * np.mean(x == found[0]))
        alike.append(np.mean(found[1:] == found[:-1]))
    assert np.mean(first) == pytest.approx(0.5, abs=LUCK(np.std(first) / 20))
    # samples with as many ones are one sample: some dozens of orders, not 400
    chance, draws = (0.0, 400) if kind == "numbers" else (0.5, 60)
    assert np.mean(alike) == pytest.approx(chance, abs=LUCK(np.std(alike) / draws**0.5))


def test_swapped_samples_are_in_the_same_orders():
    x, y = (as_samples(np.random.default_rng(s).normal(size=20), "x") for s in (4, 5))
    left, right = both_shuffled(x, y, stream(0, "test")), both_shuffled(y, x, stream(0, "test"))
    assert (left[0] == right[1]).all()
    assert (left[1] == right[0]).all()


def test_order_of_the_reference_does_not_depend_on_the_candidate():
    """So that blocks of two candidates hold the same rows of it."""
    x, *others = (as_samples(np.random.default_rng(s).normal(size=20), "x") for s in (4, 5, 6))
    found = [both_shuffled(x, y, stream(0, "test"))[0] for y in others]
    assert (found[0] == found[1]).all()


def test_a_sample_and_its_copy_are_in_two_orders():
    x = as_samples(np.random.default_rng(7).normal(size=20), "x")
    first, second = both_shuffled(x, x, stream(0, "test"))
    assert (first != second).any()
