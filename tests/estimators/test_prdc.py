"""Precision, recall, density, coverage, authenticity: loops, the authors' program, exact averages."""

import importlib.util
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import divmatch
from divmatch.errors import InconclusiveError
from divmatch.estimator import quantity
from divmatch.inference import infer_all
from divmatch.kernels.execution import executing
from divmatch.samples import as_samples
from tests.reference import prdc as reference
from tests.tolerances import LUCK, ROUNDING, SAME

KINDS = list(reference.KINDS)
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def pair(seed=0, n=40, m=30, d=2, shift=0.5, size=1.0):
    rng = np.random.default_rng([seed, n, m, d])
    return rng.normal(size=(n, d)), size * rng.normal(size=(m, d)) + shift


def value(kind, x, y, k=5, a=None, b=None):
    """The figure alone: an interval costs a hundred subsamples."""
    samples = as_samples(x, "x", a), as_samples(y, "y", b)
    return quantity("prdc").chosen(None)(*samples, kind=kind, k=k).value


@EVERY_KIND
@pytest.mark.parametrize("d", [1, 3, 20])
@pytest.mark.parametrize("k", [1, 5])
def test_value_is_that_of_the_loops(kind, d, k):
    x, y = pair(d=d)
    found = reference.KINDS[kind](x.tolist(), y.tolist(), k)
    assert value(kind, x, y, k) == pytest.approx(found, abs=ROUNDING(40, scale=10))


@EVERY_KIND
@pytest.mark.parametrize("d", [1, 6])
def test_weighted_value_is_that_of_the_loops(kind, d):
    x, y = pair(1, d=d)
    a, b = (np.random.default_rng([2, n]).random(n) for n in (40, 30))
    found = reference.KINDS[kind](x.tolist(), y.tolist(), 3, a.tolist(), b.tolist())
    assert value(kind, x, y, 3, a, b) == pytest.approx(found, abs=ROUNDING(40, scale=10))


@EVERY_KIND
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_ties_follow_the_closed_balls_of_the_loops(kind, seed, d, k, weighted):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 3, (12, d)) / 3, rng.integers(0, 3, (9, d)) / 3
    a, b = (rng.random(12), rng.random(9)) if weighted else (None, None)
    lists = [None if w is None else w.tolist() for w in (a, b)]
    found = reference.KINDS[kind](x.tolist(), y.tolist(), k, *lists)
    assert value(kind, x, y, k, a, b) == pytest.approx(found, abs=ROUNDING(40, scale=20))


@pytest.mark.skipif(importlib.util.find_spec("prdc") is None, reason="prdc is not installed")
@pytest.mark.parametrize(("d", "size"), [(2, 1.0), (16, 0.8), (64, 1.2)])
def test_the_authors_program_gives_the_same_values(d, size):
    from prdc import compute_prdc

    x, y = pair(3, 300, 250, d, 0.2, size)
    theirs = compute_prdc(x, y, 5)
    for kind in KINDS[:4]:
        assert value(kind, x, y) == pytest.approx(theirs[kind], abs=ROUNDING(300, scale=20))


def test_swapped_samples_swap_precision_and_recall():
    x, y = pair(4)
    assert SAME(value("precision", x, y), value("recall", y, x))


def test_row_by_row_copies_are_neither_authentic_nor_outside():
    x, _ = pair(5)
    assert [value(kind, x, x.copy()) for kind in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert value("authenticity", x, x + 1e-9) == 0.0


def test_far_samples_have_nothing_in_common_and_are_authentic():
    x, y = pair(6, shift=100.0)
    assert [value(kind, x, y) for kind in KINDS] == [0, 0, 0, 0, 1]


def test_a_narrow_candidate_is_precise_and_forgets():
    x, y = pair(7, 500, 500, 2, 0.0, 0.1)
    assert value("precision", x, y) == 1.0
    assert value("recall", x, y) < 0.2


def averages(kind, n, m, d, k, runs=200):
    found = [value(kind, *pair(seed, n, m, d, 0.0), k) for seed in range(runs)]
    return np.mean(found), np.std(found) / math.sqrt(runs)


@pytest.mark.parametrize("d", [1, 3])
def test_density_of_equal_distributions_is_one_on_average(d):
    mean, se = averages("density", 60, 40, d, 3)
    assert mean == pytest.approx(1.0, abs=LUCK(se))


@pytest.mark.parametrize("d", [1, 3])
def test_coverage_of_equal_distributions_has_a_closed_form(d):
    """The k rows nearest to a row are all of P with probability Π (n − 1 − i) / (n + m − 1 − i)."""
    n, m, k = 60, 40, 3
    mean, se = averages("coverage", n, m, d, k)
    truth = 1 - math.prod((n - 1 - i) / (n + m - 1 - i) for i in range(k))
    assert mean == pytest.approx(truth, abs=LUCK(se))


@EVERY_KIND
def test_compiled_engine_gives_the_value_of_the_others(kind):
    x, y = pair(8, 1500, 1400, 12, 0.3)
    found = []
    for threads in (1, 2):
        with executing(threads=threads, device="cpu"):
            found.append(value(kind, x, y))
    assert SAME(*found)


def all_kinds(x, y, **options):
    estimator = quantity("prdc").chosen(None)
    several = [estimator.checked({"kind": kind}) for kind in KINDS]
    return infer_all(estimator, as_samples(x, "x"), as_samples(y, "y"), several, **options)


def test_kinds_together_have_the_results_of_each_alone():
    x, y = pair(9)
    for kind, found in zip(KINDS, all_kinds(x, y, permutations=9), strict=True):
        alone = divmatch.prdc(x, y, kind=kind, permutations=9)
        assert (found.value, found.test) == (alone.value, alone.test)
        assert found.se == pytest.approx(alone.se, rel=ROUNDING(100))


@EVERY_KIND
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_splits_from_the_lists_are_those_of_their_samples(kind, weighted, tied):
    x, y = pair(10, 60, 50)
    pool = np.round(np.vstack([x, y])) if tied else np.vstack([x, y])
    weights = np.random.default_rng(0).random(110) if weighted else None
    samples = as_samples(pool, "pool", weights)
    rng = np.random.default_rng(1)
    labels = np.column_stack([rng.permutation(np.arange(110) < 60) for _ in range(8)])
    estimator = quantity("prdc").chosen(None)
    found = estimator.plan(samples, kind=kind, k=3).statistic(labels)
    direct = [
        estimator(samples.take(real), samples.take(~real), kind=kind, k=3).value
        for real in labels.T
    ]
    assert found == pytest.approx(direct, abs=ROUNDING(110, scale=20))


def test_permutations_find_a_narrow_candidate_by_its_recall():
    x, y = pair(11, 200, 200, 3, 0.0, 0.5)
    assert divmatch.prdc(x, y, kind="recall", permutations=99).test.p_value == 0.01


def test_a_precise_candidate_passes_where_its_recall_fails():
    x, y = pair(11, 200, 200, 3, 0.0, 0.5)
    assert divmatch.prdc(x, y, kind="precision", permutations=99).test.p_value > 0.5


def test_larger_is_better():
    assert divmatch.prdc(*pair()).better == "higher"


def test_balls_without_extent_are_counted():
    x = np.repeat(pair(12)[0][:8], 6, axis=0)
    found = divmatch.prdc(x, x.copy(), kind="density")
    assert found.value == pytest.approx(1 / 5 * 6, abs=ROUNDING(48, scale=10))
    assert [note.message for note in found.warnings if note.code == "W34"] == [
        "x: 48 of 48 rows have k = 5 copies or more, and balls of radius zero that hold nothing else"
    ]


def test_too_few_rows_for_the_balls_are_inconclusive():
    x, y = pair()
    with pytest.raises(InconclusiveError, match="y: 4 rows, at least 6 for k = 5 are needed"):
        divmatch.prdc(x, y[:4], kind="recall")


def test_authenticity_needs_two_rows_whatever_k_is():
    x, y = pair()
    assert value("authenticity", x[:3], y, 50) == value("authenticity", x[:3], y, 1)


def test_a_share_of_one_has_an_error():
    x, y = pair(13, 300, 300, 1, 0.0, 0.2)
    found = divmatch.prdc(x, y)
    assert found.value == 1.0
    assert found.se > 0
    assert 0.9 < found.ci.low < found.ci.high == 1.0


def test_no_array_of_all_pairs_is_made():
    x, y = pair(14, 6000, 6000, 16)  # all pairs: 288 MB
    with executing(memory=16 << 20):
        all_kinds(x[:3000], y[:3000])  # what is loaded once is not counted
        tracemalloc.start()
        try:
            all_kinds(x, y)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 40e6
