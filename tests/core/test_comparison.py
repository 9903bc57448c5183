"""Differences with a shared reference: against plain loops, exact tests, level and coverage."""

import numpy as np
import pytest

from divmatch.comparison import difference, standings
from divmatch.errors import SampleError, SettingError
from divmatch.estimator import parse_metric
from divmatch.exchange import exchange_test, larger
from divmatch.record import Test
from divmatch.samples import as_samples
from tests.reference import comparison as reference
from tests.reference.energy import energy
from tests.tolerances import LUCK, ROUNDING
from tests.truths import gaussian

METRICS = ["energy", "energy:method=v", "mmd:bandwidth=1", "kl:method=gaussian", "kl:method=nnr"]


def drawn(seed, sizes=(60, 50, 50), shifts=(0.0, 0.3, 0.6), d=2):
    rng = np.random.default_rng([11, seed])
    return [
        as_samples(rng.normal(shift, 1.0, (n, d)), name)
        for n, shift, name in zip(sizes, shifts, ("ref", "a", "b"), strict=True)
    ]


def compared(metric, samples, *, paired=False, level=0.95, seed=0):
    estimator, settings = parse_metric(metric)
    found = standings(
        estimator, samples[0], samples[1:], settings, level=level, seed=seed, paired=paired
    )
    return difference(*found, level=level, paired=paired), found


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("paired", [False, True])
def test_standard_error_counts_the_reference_once(metric, paired):
    made, (a, b) = compared(metric, drawn(0), paired=paired)
    terms = [(one.estimate.terms_x, one.estimate.terms_y) for one in (a, b)]
    assert made.se == pytest.approx(reference.difference_se(*terms, paired), rel=ROUNDING(200))


@pytest.mark.parametrize("metric", METRICS)
def test_value_is_the_difference_of_both(metric):
    made, (a, b) = compared(metric, drawn(1))
    assert made.value == a.result.value - b.result.value


def test_value_is_that_of_plain_loops():
    samples = drawn(2, sizes=(9, 8, 7))
    made, _ = compared("energy", samples)
    rows = [one.points.tolist() for one in samples]
    weights = [[1 / len(r)] * len(r) for r in rows]
    expected = [
        energy(rows[0], r, weights[0], w) for r, w in zip(rows[1:], weights[1:], strict=True)
    ]
    assert made.value == pytest.approx(expected[0] - expected[1], abs=ROUNDING(81))


@pytest.mark.parametrize("metric", [*METRICS, "kl:method=knn", "sliced"])
def test_exchanging_the_candidates_changes_the_sign(metric):
    samples = drawn(3)
    made, _ = compared(metric, samples)
    other, _ = compared(metric, [samples[0], samples[2], samples[1]])
    assert other.value == -made.value


@pytest.mark.parametrize("metric", [*METRICS, "kl:method=kde"])
def test_paired_rows_that_are_equal_leave_no_difference(metric):
    samples = drawn(4)
    made, _ = compared(metric, [samples[0], samples[1], samples[1]], paired=True)
    assert (made.value, made.se, made.p_value) == (0.0, 0.0, 1.0)


def test_what_the_reference_has_in_common_cancels():
    """Far from the reference, its luck is most of the error of either divergence."""
    samples = drawn(5, sizes=(30, 3000, 3000), shifts=(0.0, 3.0, 3.1))
    made, (a, b) = compared("energy", samples)
    assert made.se < 0.3 * np.hypot(a.result.se, b.result.se)


@pytest.mark.parametrize("metric", ["energy", "kl:method=knn"])
def test_the_interval_lacks_zero_where_the_p_value_is_small(metric):
    for seed in range(4):
        made, _ = compared(metric, drawn(seed))
        level = 1 - made.p_value
        assert 0 < level < 1
        lower, _ = compared(metric, drawn(seed), level=level * 0.999)
        upper, _ = compared(metric, drawn(seed), level=1 - 0.999 * (1 - level))
        assert lower.low * lower.high > 0 > upper.low * upper.high


def test_subsamples_share_the_rows_of_the_reference():
    """Where the candidates are equal and paired, every draw agrees."""
    samples = drawn(6)
    _, (a, b) = compared("kl:method=knn", [samples[0], samples[1], samples[1]], paired=True)
    assert np.array_equal(a.subsamples.values, b.subsamples.values)


def test_settings_left_to_the_data_are_the_same_for_all():
    _, (a, b) = compared("mmd:bandwidth=median", drawn(7, shifts=(0.0, 0.0, 3.0)))
    assert a.result.params["bandwidth"] == b.result.params["bandwidth"]


def test_rows_of_each_that_would_settle_a_gap():
    """At so many rows the gap is 1.96 + 0.84 standard errors."""
    made, _ = compared("energy", drawn(8))
    assert made.growth() == pytest.approx((2.8016 * made.se / made.value) ** 2, rel=1e-4)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("metric", ["energy", "mmd:bandwidth=1", "kl:method=gaussian", "sliced"])
def test_exchanges_are_those_of_plain_loops(metric, paired):
    """Random exchanges come near the share among all of them; so few are all taken, once each."""
    samples = drawn(9, sizes=(8, 5, 5), shifts=(0.0, 0.2, 1.0), d=1)
    estimator, settings = parse_metric(metric)
    fixed = standings(estimator, samples[0], samples[1:], settings)[0].settings

    def statistic(a, b):
        parts = [as_samples(rows, "rows") for rows in (a, b)]
        one, other = standings(estimator, samples[0], parts, fixed)
        return one.result.value - other.result.value

    exact = reference.exchanged_p(statistic, *(s.points.tolist() for s in samples[1:]), paired)
    few = 29 if paired else 199
    for permutations, method in ((few, "permutation"), (999, "exact")):
        test = exchange_test(
            estimator, *samples, fixed, permutations=permutations, seed=1, paired=paired
        )
        luck = LUCK((exact * (1 - exact) / (few + 1)) ** 0.5) + 1 / (few + 1)
        close = 1e-12 if method == "exact" else luck
        assert test.method == method
        assert test.p_value == pytest.approx(exact, abs=close)


def test_exchanges_are_reproducible():
    samples = drawn(10)
    estimator, settings = parse_metric("energy")
    found = [exchange_test(estimator, *samples, settings, permutations=49, seed=3) for _ in "ab"]
    assert found[0] == found[1]


def test_the_larger_p_value_is_reported():
    exchanged = Test(0.01, "permutation", 99, {})
    assert larger(0.2, exchanged).p_value == 0.2
    assert larger(0.001, exchanged).p_value == 0.01
    assert larger(0.2, None).method == "normal"
    assert larger(None, exchanged) is exchanged
    assert larger(None, None) is None


def test_pairs_need_equal_numbers():
    with pytest.raises(SampleError, match="a has 50 rows, b has 40"):
        compared("energy", drawn(0, sizes=(60, 50, 40)), paired=True)


def test_pairs_need_equal_weights():
    samples = drawn(0)
    samples[2] = as_samples(samples[2].points, "b", np.arange(1.0, 51.0))
    with pytest.raises(SettingError, match="different weights"):
        compared("energy", samples, paired=True)


def test_weights_are_repeated_rows():
    """Value with integer weights: that of repeated rows, for the V-statistic."""
    samples = drawn(12)
    weights = np.arange(50) % 3 + 1
    weighted = [*samples[:2], as_samples(samples[2].points, "b", weights)]
    repeated = [*samples[:2], as_samples(np.repeat(samples[2].points, weights, axis=0), "b")]
    found = [compared("energy:method=v", rows)[0].value for rows in (weighted, repeated)]
    assert found[0] == pytest.approx(found[1], abs=ROUNDING(10_000))


def test_different_automatic_choices_are_told():
    rng = np.random.default_rng(0)
    reference_rows = as_samples(np.round(rng.normal(size=(300, 1))), "ref")
    same = as_samples(np.round(rng.normal(size=(300, 1))), "a")
    other = as_samples(rng.normal(4.0, 0.1, size=(300, 1)), "b")
    _, found = compared("kl", [reference_rows, same, other])
    chosen = {one.estimate.params["chosen"] for one in found}
    told = [any(note.code == "W41" for note in one.result.warnings) for one in found]
    assert told == [len(chosen) > 1] * 2


# ------------------------------------------------------------------------ truths, minutes long

RUNS = 400


def shares(metric, draw, truth=0.0, runs=RUNS, paired=False, permutations=0):
    """Share of intervals with the truth, and of p-values up to 5 %."""
    estimator, settings = parse_metric(metric)
    held = rejected = 0
    for run in range(runs):
        samples = [as_samples(rows, "x") for rows in draw(np.random.default_rng([run, 21]))]
        found = standings(estimator, samples[0], samples[1:], settings, seed=run, paired=paired)
        made = difference(*found, level=0.95, paired=paired)
        held += made.low <= truth <= made.high
        test = None
        if permutations:
            test = exchange_test(
                estimator,
                *samples,
                found[0].settings,
                permutations=permutations,
                seed=run,
                paired=paired,
            )
        rejected += larger(made.p_value, test).p_value <= 0.05
    return held / runs, rejected / runs


def normals(*shifts, n=300, d=2):
    def draw(rng):
        return [rng.normal(size=(n, d)) + shift * np.eye(d)[0] for shift in shifts]

    return draw


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "least"), [("energy", 0.92), ("kl:method=gaussian", 0.92), ("kl:method=knn", 0.92)]
)
def test_coverage(metric, least):
    """N(.5, 1) and N(.9, 1) seen from N(0, 1), in two columns."""
    far = {"energy": lambda s: gaussian.energy(s * s, 1.0, 1.0, 2)}.get(metric, lambda s: s * s / 2)
    runs = RUNS if "knn" not in metric else 100
    held, _ = shares(metric, normals(0.0, 0.5, 0.9), far(0.5) - far(0.9), runs)
    assert held >= least - LUCK((0.95 * 0.05 / runs) ** 0.5, z=1)


@pytest.mark.slow
@pytest.mark.parametrize("shifts", [(0.0, 0.0, 0.0), (0.0, 1.0, 1.0), (0.0, 1.0, -1.0)])
@pytest.mark.parametrize("permutations", [0, 99])
@pytest.mark.parametrize("metric", ["energy", "mmd:bandwidth=1"])
def test_level(shifts, permutations, metric):
    """Equal candidates, at the reference and far from it, and other ones that are equally far."""
    _, rejected = shares(metric, normals(*shifts, n=100), permutations=permutations)
    assert rejected <= 0.05 + LUCK((0.05 * 0.95 / RUNS) ** 0.5, z=3)


ONE_LAW = ["energy", "mmd:bandwidth=1", "kl", "kl:method=knn", "kl:method=nnr", "mmd:method=block"]
ONE_LAW += [f"prdc:kind={kind}" for kind in ("precision", "recall", "density", "coverage")]


@pytest.mark.slow
@pytest.mark.parametrize("metric", ONE_LAW)
def test_level_where_all_are_of_one_law(metric):
    """A, B and the reference: by the interval alone, which most who compare go by."""
    _, rejected = shares(metric, normals(0.0, 0.0, 0.0, n=200), runs=200)
    assert rejected <= 0.05 + LUCK((0.05 * 0.95 / 200) ** 0.5, z=3)


@pytest.mark.slow
@pytest.mark.parametrize("shifts", [(0.0, 1.0, 1.0), (0.0, 1.0, -1.0)])
@pytest.mark.parametrize("metric", ["mmd:method=linear", "mmd:method=block", "prdc:kind=recall"])
def test_level_of_blocks_and_shares_far_from_the_reference(shifts, metric):
    """The same rows of the reference speak for both candidates, or for one and against the other."""
    _, rejected = shares(metric, normals(*shifts, n=200), runs=200)
    assert rejected <= 0.05 + LUCK((0.05 * 0.95 / 200) ** 0.5, z=3)


def blocks_of(samples, one, other):
    return compared("mmd:method=linear,bandwidth=1", [samples[0], one, other])


def test_blocks_of_the_same_rows_are_subtracted():
    samples = drawn(13)
    made, (a, b) = blocks_of(samples, samples[1], samples[2])
    gaps = a.estimate.blocks.influences - b.estimate.blocks.influences
    assert (made.method, len(gaps)) == ("blocks", 25)
    assert made.se == pytest.approx(np.std(gaps, ddof=1) / 5.0, rel=ROUNDING(25))


def test_blocks_of_other_rows_may_be_alike_in_any_way():
    samples = drawn(14, sizes=(60, 50, 40))
    made, (a, b) = blocks_of(samples, samples[1], samples[2])
    assert made.se == a.result.se + b.result.se


def test_error_of_a_difference_is_no_less_than_the_methods_own():
    """Subsamples in which every share is 1 would tell that nothing varies."""
    rng = np.random.default_rng(15)
    points = (
        rng.normal(size=(400, 2)),
        0.1 * rng.normal(size=(90, 2)),
        0.1 * rng.normal(size=(90, 2)),
    )
    made, (a, b) = compared("prdc:kind=precision", [as_samples(rows, "x") for rows in points])
    assert a.result.value == b.result.value == 1.0
    assert made.se == pytest.approx(np.hypot(a.own_se, b.own_se), rel=1e-9)
    assert made.se > 0


@pytest.mark.slow
def test_level_and_coverage_of_pairs():
    """Rows that differ by a little noise: unpaired intervals hold the truth always, these mostly."""

    def draw(rng):
        rows = rng.normal(0.5, 1.0, (300, 2))
        a, b = (rows + 0.3 * rng.normal(size=rows.shape) for _ in "ab")
        return rng.normal(size=(300, 2)), a, b

    held, rejected = shares("energy", draw, paired=True, permutations=99)
    assert 0.92 <= held <= 0.98
    assert rejected <= 0.05 + LUCK((0.05 * 0.95 / RUNS) ** 0.5, z=3)
